//! What repeats itself in a machine's events, kept short: a machine that waits for its disk asks every few seconds, and anybody may
//! fetch its script.
//!
//! **Invariant:** neither pushes out how a boot began: of a wait the first and the last asking are kept, of other people's
//! fetches the last [`FOREIGN_KEPT`], and as many of what was only overheard.

use super::{Event, EventKind};

/// Fetches by others that are kept of one machine, and overheard words.
pub(super) const FOREIGN_KEPT: usize = 4;

/// Makes room in a machine's events for the next one.
pub(super) fn shorten(events: &mut Vec<Event>, next: &EventKind) {
    match next {
        EventKind::Waiting { .. } | EventKind::Refused { .. } | EventKind::SentBack { .. } => shorten_wait(events, next),
        EventKind::ForeignFetch { .. } => keep_few(events, |kind| matches!(kind, EventKind::ForeignFetch { .. })),
        EventKind::Overheard => keep_few(events, |kind| matches!(kind, EventKind::Overheard)),
        _ => {}
    }
}

/// What anybody can cause gives way to the next of its kind, and to nothing else's cost.
fn keep_few(events: &mut Vec<Event>, is_one: fn(&EventKind) -> bool) {
    if events.iter().filter(|event| is_one(&event.kind)).count() >= FOREIGN_KEPT
        && let Some(oldest) = events.iter().position(|event| is_one(&event.kind))
    {
        events.remove(oldest);
    }
}

/// Where the same wait was said twice already, and nothing but asking again lies between, what is after the first goes.
fn shorten_wait(events: &mut Vec<Event>, next: &EventKind) {
    let mut same = events.iter().enumerate().rev().filter(|(_, event)| event.kind == *next).map(|(n, _)| n);
    let (Some(last), Some(first)) = (same.next(), same.next()) else { return };
    if events[first..].iter().all(|event| is_asking_again(&event.kind)) {
        events[first].until = Some(events[last].at);
        events.drain(first + 1..=last);
    }
}

/// What a waiting script does: it asks for an address, for the first script, for its own, and is told to wait.
fn is_asking_again(kind: &EventKind) -> bool {
    match kind {
        EventKind::Dhcp { asker, .. } => asker.is_ipxe(),
        EventKind::FirstScript
        | EventKind::Script { .. }
        | EventKind::Assigned { .. }
        | EventKind::Waiting { .. }
        | EventKind::Refused { .. }
        | EventKind::SentBack { .. } => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::assignment::WaitCode;

    fn event(kind: EventKind, second: i64) -> Event {
        Event {
            at: jiff::Timestamp::from_second(second).expect("a time"),
            service: "http".into(),
            kind,
            until: None,
            what: second.to_string(),
        }
    }

    fn waiting(image: &str) -> EventKind {
        let (machine, image) = ("pc01".parse().expect("a machine"), image.parse().expect("an image"));
        EventKind::Waiting { machine, image, code: WaitCode::NoCleanSide }
    }

    fn foreign() -> EventKind {
        EventKind::ForeignFetch { peer: [10, 0, 0, 9].into() }
    }

    fn record(events: &mut Vec<Event>, kind: EventKind) {
        shorten(events, &kind);
        let second = events.last().map_or(0, |event| event.at.as_second()) + 1;
        events.push(event(kind, second));
    }

    #[test]
    fn a_wait_of_an_hour_keeps_its_beginning_and_its_last_asking() {
        let mut events = vec![event(EventKind::HttpLoader { file: "ipxe.efi".into() }, 0)];
        for _ in 0..700 {
            for kind in [EventKind::FirstScript, EventKind::Script { machine: None, default: None }, waiting("a"), waiting("b")] {
                record(&mut events, kind);
            }
        }
        assert!(events.len() < 12, "{events:?}");
        assert_eq!(events[0].kind, EventKind::HttpLoader { file: "ipxe.efi".into() });
        assert_eq!((&events[3].kind, events[3].at.as_second()), (&waiting("a"), 3), "since when it waits");
        assert_eq!(events.last().map(|event| event.at.as_second()), Some(2800));
        // A wait of another boot is another wait.
        record(&mut events, EventKind::HttpLoader { file: "ipxe.efi".into() });
        let before = events.len();
        record(&mut events, waiting("a"));
        assert_eq!(events.len(), before + 1);
    }

    #[test]
    fn others_who_fetch_the_script_or_claim_the_address_push_nothing_out() {
        let mut events = vec![event(EventKind::FirstScript, 0)];
        for _ in 0..100 {
            record(&mut events, foreign());
            record(&mut events, EventKind::Overheard);
        }
        assert_eq!((events.len(), events[0].kind.clone()), (1 + 2 * FOREIGN_KEPT, EventKind::FirstScript));
    }
}
