//! Groups events into boots, and gives each step its place in time.
//!
//! **Invariant:** every event is in exactly one boot, in its order.

use super::outcome::Outcome;
use crate::transcript::{Asker, DhcpMessage, Event, EventKind};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

/// A PXE ROM repeats its DISCOVER after 4, 8, 16 and 32 s (PXE 2.1 §2.2.2): what comes within this is the same try.
const SAME_TRY: SignedDuration = SignedDuration::from_secs(90);

/// One boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Boot {
    /// When it began.
    #[schemars(with = "String")]
    pub began: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
    /// What happened, in order.
    pub steps: Vec<Step>,
}

/// One thing that happened in a boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Milliseconds since the boot began.
    pub since_begin: i64,
    /// Milliseconds since the step before.
    pub since_last: i64,
    /// Which service saw it.
    pub service: String,
    /// What happened.
    pub kind: EventKind,
    /// The same in one sentence.
    pub what: String,
}

/// The boots that these events make, oldest first.
pub(super) fn group(events: &[Event]) -> Vec<Vec<Event>> {
    let mut boots: Vec<Vec<Event>> = Vec::new();
    for event in events {
        match boots.last_mut() {
            Some(boot) if !begins_anew(event, boot) => boot.push(event.clone()),
            _ => boots.push(vec![event.clone()]),
        }
    }
    boots
}

fn begins_anew(event: &Event, boot: &[Event]) -> bool {
    let is_later = boot.last().is_some_and(|last| event.at.duration_since(last.last()) > SAME_TRY);
    let had_script = |event: &Event| matches!(event.kind, EventKind::Script { .. });
    let EventKind::Dhcp { message: DhcpMessage::Discover, asker, .. } = &event.kind else {
        // Where DHCP is another server's, only what is fetched shows that a machine was started again.
        return is_later && is_start_of_a_fetch(&event.kind) && boot.iter().any(had_script);
    };
    if asker.is_firmware() {
        let only_asked = |event: &Event| {
            let EventKind::Dhcp { message, asker, .. } = &event.kind else { return false };
            *message == DhcpMessage::Discover && asker.is_firmware()
        };
        // A U-Boot that found nothing to run asks once more, as UEFI.
        let own_part = |event: &Event| event.kind.asker().is_none_or(|(asker, _)| asker == Asker::UBoot);
        let goes_on = *asker == Asker::Firmware && boot.iter().all(own_part);
        return is_later || !(goes_on || boot.iter().all(only_asked));
    }
    // A script that waits for a disk asks for an address again and again.
    let waits = boot.iter().rev().find(|event| !is_asking(&event.kind)).is_some_and(|event| event.kind.is_of_a_wait());
    if asker.is_ipxe() && waits && !is_later {
        return false;
    }
    // An iPXE in a card's ROM is its own firmware: where one asks again although it had its script, the machine was started again.
    let had_own_script = |event: &Event| matches!(event.kind, EventKind::Script { machine: Some(_), .. });
    let only_system = |event: &Event| event.kind.asker().is_none_or(|(asker, _)| !asker.is_firmware() && !asker.is_ipxe());
    asker.is_ipxe() && (boot.iter().any(had_own_script) || boot.iter().all(only_system))
}

/// Whether it is a word of DHCP with an iPXE.
fn is_asking(kind: &EventKind) -> bool {
    kind.asker().is_some_and(|(asker, _)| asker.is_ipxe())
}

fn is_start_of_a_fetch(kind: &EventKind) -> bool {
    use EventKind::{FirstScript, HttpLoader, LoaderSent, Script};
    matches!(kind, LoaderSent { .. } | HttpLoader { .. } | FirstScript | Script { .. })
}

/// A boot of these events, of which there is at least one.
pub(super) fn boot(events: &[Event], outcome: Outcome) -> Boot {
    let began = events.first().map(|event| event.at).unwrap_or_default();
    let mut last = began;
    let steps = events
        .iter()
        .map(|event| {
            let since = |then: Timestamp| i64::try_from(event.at.duration_since(then).as_millis()).unwrap_or(i64::MAX);
            let step = Step {
                at: event.at,
                since_begin: since(began),
                since_last: since(last),
                service: event.service.clone(),
                kind: event.kind.clone(),
                what: event.what.clone(),
            };
            last = event.at;
            step
        })
        .collect();
    Boot { began, outcome, steps }
}
