//! What is kept, what is forgotten, and what is believed.

use super::*;

fn mac(last: u16) -> MacAddr {
    let [high, low] = last.to_be_bytes();
    MacAddr::from_octets([2, 0, 0, 0, high, low]).expect("a unicast address")
}

fn wire() -> Source {
    Source::Interface("lan0".into())
}

fn event(second: i64) -> Event {
    let at = Timestamp::from_second(second).expect("a time");
    Event { at, service: "dhcp".into(), kind: EventKind::FirstScript, until: None, what: second.to_string() }
}

#[test]
fn an_address_belongs_to_whoever_was_seen_with_it_last() {
    let mut transcript = Transcript::empty();
    let address = Some(Ipv4Addr::new(10, 0, 0, 9));
    transcript.record(mac(1), wire(), address, event(1));
    transcript.record(mac(2), wire(), address, event(2));
    transcript.record(mac(2), wire(), None, event(3));
    assert_eq!(transcript.machine_at(Ipv4Addr::new(10, 0, 0, 9)), Some(mac(2)));
    assert_eq!(transcript.machines[&mac(1)].address, None);
    transcript.record(mac(2), wire(), Some(Ipv4Addr::new(10, 0, 0, 8)), event(4));
    assert_eq!(transcript.machine_at(Ipv4Addr::new(10, 0, 0, 9)), None, "it has another now");
    assert_eq!(Transcript::parse(&transcript.render()).expect("it reads"), transcript);
}

#[test]
fn a_transcript_without_kinds_and_one_with_newer_kinds_still_read() {
    let text = |version: u32, kind: &str| {
        format!(
            r#"{{"version": {version}, "machines": {{"02:00:00:00:00:01": {{"address": null, "script-fetched": "2026-11-21T08:00:00Z",
            "events": [{{"at": "2026-11-21T08:00:00Z", "service": "http", {kind} "what": "x"}}]}}}}}}"#
        )
    };
    for (version, kind) in [(1, ""), (2, ""), (3, r#""kind": {"is": "tea-served", "cups": 3},"#)] {
        let read = Transcript::parse(&text(version, kind)).expect("it reads");
        let machine = &read.machines[&mac(0x0001)];
        assert_eq!((read.version, &machine.events[0].kind), (VERSION, &EventKind::Other));
        assert!(machine.script_fetched.is_some());
        assert_eq!((machine.shown_by, &machine.source), (ShownBy::Dhcp, &None));
    }
    assert!(Transcript::parse(&text(4, "")).is_err());
}

#[test]
fn a_flood_of_machines_and_events_has_an_end_and_the_newest_are_kept() {
    let mut transcript = Transcript::empty();
    (0..100).for_each(|second| transcript.record(mac(9), wire(), None, event(second)));
    let kept = &transcript.machines[&mac(9)].events;
    assert_eq!((kept.len(), kept[0].what.as_str()), (EVENTS_KEPT, "60"));
    for n in 0..STRANGERS_KEPT as u16 + 10 {
        transcript.record(mac(n), wire(), None, event(1000 + i64::from(n)));
    }
    assert_eq!(transcript.machines.len(), STRANGERS_KEPT);
    assert_eq!(transcript.index, Index::of(&transcript.machines, &transcript.known), "the index says what the machines say");
    assert!(!transcript.machines.contains_key(&mac(0)) && transcript.machines.contains_key(&mac(STRANGERS_KEPT as u16 + 9)));
}

#[test]
fn five_thousand_invented_machines_push_no_machine_of_the_site_out() {
    let mut transcript = Transcript::empty();
    transcript.know([mac(1), mac(2)].into());
    transcript.record(mac(1), wire(), Some(Ipv4Addr::new(10, 0, 0, 9)), event(0));
    transcript.record_fetch(mac(2), IpAddr::from([10, 0, 0, 8]), Reservation::Own, vec![script(1)]);
    let quiet = Source::Interface("lan1".into());
    transcript.record(mac(3), quiet, None, event(0));
    for n in 100..5100 {
        // Each says that it has the machine's address.
        transcript.record(mac(n), wire(), Some(Ipv4Addr::new(10, 0, 0, 9)), event(i64::from(n)));
    }
    assert_eq!(transcript.machines.len(), 2 + STRANGERS_KEPT);
    assert_eq!(transcript.machine_at(Ipv4Addr::new(10, 0, 0, 9)), Some(mac(1)));
    assert!(transcript.machines[&mac(2)].script_fetched.is_some());
    assert!(transcript.machines.contains_key(&mac(3)), "the flood is on another wire");
    assert_eq!(transcript.index, Index::of(&transcript.machines, &transcript.known));
    // What left the site is a stranger, and what is read again is as it was.
    let mut again = Transcript::parse(&transcript.render()).expect("it reads");
    assert_eq!(again.machines, transcript.machines, "nobody is forgotten before it is told who is of the site");
    again.know([mac(2)].into());
    assert!(!again.machines.contains_key(&mac(1)) && again.machines.contains_key(&mac(2)));
    assert_eq!(again.machines.len(), 1 + STRANGERS_KEPT);
}

fn script(second: i64) -> Event {
    Event { kind: EventKind::Script { machine: None, default: None }, ..event(second) }
}

fn fetch(transcript: &mut Transcript, peer: [u8; 4], reservation: Reservation, second: i64) {
    transcript.record_fetch(mac(1), IpAddr::from(peer), reservation, vec![script(second)]);
}

#[test]
fn a_fetch_by_another_address_is_told_and_is_no_fetch_of_the_machine() {
    let fetched = |transcript: &Transcript| transcript.machines[&mac(1)].script_fetched.map(Timestamp::as_second);
    let mut transcript = Transcript::empty();
    transcript.record(mac(1), wire(), Some(Ipv4Addr::new(10, 0, 0, 9)), event(0));
    for (second, reservation) in [(1, Reservation::Unsaid), (2, Reservation::Other)] {
        fetch(&mut transcript, [10, 0, 0, 7], reservation, second);
    }
    assert_eq!(fetched(&transcript), None);
    let last = transcript.machines[&mac(1)].events.last().expect("an event");
    assert_eq!(last.kind, EventKind::ForeignFetch { peer: [10, 0, 0, 7].into() });
    assert_eq!(last.what, "2, to 10.0.0.7, which is not its address");
    fetch(&mut transcript, [10, 0, 0, 9], Reservation::Unsaid, 3);
    assert_eq!(fetched(&transcript), Some(3), "DHCP has shown it");
    fetch(&mut transcript, [10, 0, 0, 5], Reservation::Own, 4);
    assert_eq!(fetched(&transcript), Some(4), "the site says it");
    assert_eq!(transcript.machines[&mac(1)].address, Some(Ipv4Addr::new(10, 0, 0, 9)));
}

#[test]
fn where_no_address_was_shown_the_one_that_fetches_is_the_machines_until_dhcp_shows_another() {
    let mut transcript = Transcript::empty();
    transcript.record(mac(2), wire(), Some(Ipv4Addr::new(10, 0, 0, 2)), event(0));
    fetch(&mut transcript, [10, 0, 0, 2], Reservation::Unsaid, 1);
    assert_eq!(transcript.machines[&mac(1)].script_fetched, None, "DHCP has shown it with another machine");
    fetch(&mut transcript, [10, 0, 0, 7], Reservation::Other, 2);
    assert_eq!(transcript.machines[&mac(1)].script_fetched, None);
    for (second, last) in [(3, 7), (4, 8)] {
        fetch(&mut transcript, [10, 0, 0, last], Reservation::Unsaid, second);
        let machine = &transcript.machines[&mac(1)];
        assert_eq!((machine.address, machine.shown_by), (Some(Ipv4Addr::new(10, 0, 0, last)), ShownBy::Http));
        assert_eq!(machine.script_fetched.map(Timestamp::as_second), Some(second));
    }
    transcript.record(mac(1), wire(), Some(Ipv4Addr::new(10, 0, 0, 9)), event(5));
    fetch(&mut transcript, [10, 0, 0, 8], Reservation::Unsaid, 6);
    assert_eq!(transcript.machines[&mac(1)].script_fetched.map(Timestamp::as_second), Some(4));
    assert_eq!(transcript.index, Index::of(&transcript.machines, &transcript.known));
}
