use super::*;

const SYSTEM: &str = "00023d000001";
const FIRMWARE: &str = "40002723a1b2";
const A: &str = "iqn:pc01.alpha.a-00000000";
const B: &str = "iqn:pc01.alpha.b-00000001";

fn target(machine: &str, isid: Option<&str>, commands: u64) -> TargetLook {
    let session = match isid {
        Some(isid) => Seen::Present(Session { isid: isid.into(), address: "192.0.2.1".into(), since: None }),
        None => Seen::Absent,
    };
    TargetLook {
        machine: machine.into(),
        offering: Offering::On,
        sessions: u32::from(isid.is_some()),
        session,
        commands: Seen::Present(commands),
        writes: Seen::Present(0),
    }
}

/// Looks every ten seconds from a second on until another, at the same targets.
fn watch(mut known: Occupancy, from: u64, until: u64, targets: &[(&str, TargetLook)]) -> Occupancy {
    for second in (from..=until).step_by(10) {
        let targets = targets.iter().map(|(name, target)| ((*name).to_owned(), target.clone())).collect();
        let look = Look { at: Mono::from_millis(second * 1000), targets: Seen::Present(targets), network: Network::Up };
        known = known.after(&look, 10);
    }
    known
}

fn new() -> Occupancy {
    Occupancy::new("boot")
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_minute_of_silence_proves_nothing_a() {
    let known = watch(new(), 0, 100, &[(A, target("pc01", Some(SYSTEM), 5))]);
    let known = watch(known, 110, 300, &[(A, target("pc01", None, 5))]);
    assert!(!known.is_quiet(A, HOUR, HOUR));
    assert!(known.is_quiet(A, Duration::from_secs(180), HOUR));
}

#[test]
fn a_machine_moved_when_a_system_lasts_on_a_later_side_and_the_old_one_is_still() {
    let known = watch(new(), 0, 50, &[(A, target("pc01", Some(SYSTEM), 5)), (B, target("pc01", None, 0))]);
    let known = watch(known, 60, 100, &[(A, target("pc01", None, 5)), (B, target("pc01", Some(SYSTEM), 9))]);
    assert!(!known.moved(A, B), "not for a minute yet");
    let known = watch(known, 110, 130, &[(A, target("pc01", None, 5)), (B, target("pc01", Some(SYSTEM), 19))]);
    assert!(known.moved(A, B) && !known.moved(B, A));
    let known = watch(known, 140, 140, &[(A, target("pc01", None, 6)), (B, target("pc01", Some(SYSTEM), 29))]);
    assert!(!known.moved(A, B), "its counters moved");
}

#[test]
fn firmware_on_a_later_side_proves_nothing() {
    let known = watch(new(), 0, 200, &[(A, target("pc01", None, 5)), (B, target("pc01", Some(FIRMWARE), 9))]);
    assert!(!known.moved(A, B));
}

#[test]
fn what_was_lost_with_others_must_be_quiet_for_longer() {
    let at_work: Vec<_> = (1..=3).map(|n| (format!("iqn:pc0{n}.alpha.a"), target(&format!("pc0{n}"), Some(SYSTEM), 1))).collect();
    let gone: Vec<_> = at_work.iter().map(|(name, seen)| (name.clone(), target(&seen.machine, None, 1))).collect();
    let named = |list: &[(String, TargetLook)]| -> Vec<(String, TargetLook)> { list.to_vec() };
    let mut known = new();
    for (targets, from, until) in [(named(&at_work), 0, 50), (named(&gone), 60, 4000)] {
        let targets: Vec<(&str, TargetLook)> = targets.iter().map(|(name, seen)| (name.as_str(), seen.clone())).collect();
        known = watch(known, from, until, &targets);
    }
    assert!(!known.is_quiet("iqn:pc01.alpha.a", HOUR, 2 * HOUR), "three of ten were lost at once");
    let alone = watch(new(), 0, 50, &[(A, target("pc01", Some(SYSTEM), 1))]);
    let alone = watch(alone, 60, 4000, &[(A, target("pc01", None, 1))]);
    assert!(alone.is_quiet(A, HOUR, 2 * HOUR));
}

#[test]
fn gaps_a_closed_portal_group_a_dead_network_and_failed_looks_count_nothing() {
    let base = watch(new(), 0, 0, &[(A, target("pc01", None, 1))]);
    let mut gap = base.clone();
    for second in [3600, 7200, 10_800] {
        gap = watch(gap, second, second, &[(A, target("pc01", None, 1))]);
    }
    assert_eq!(gap.watches[A].quiet, Duration::ZERO);
    let off = TargetLook { offering: Offering::Off, ..target("pc01", None, 1) };
    assert_eq!(watch(base.clone(), 10, 3600, &[(A, off)]).watches[A].quiet, Duration::ZERO);
    let mut dead = base.clone();
    let mut failed = base;
    for second in (10..3600).step_by(10) {
        let at = Mono::from_millis(second * 1000);
        let seen = Seen::Present([(A.to_owned(), target("pc01", None, 1))].into());
        dead = dead.after(&Look { at, targets: seen, network: Network::Down }, 10);
        failed = failed.after(&Look { at, targets: Seen::Unreadable("EIO".into()), network: Network::Up }, 10);
    }
    assert_eq!(dead.watches[A].quiet, Duration::ZERO);
    assert_eq!(failed.watches[A].quiet, Duration::ZERO);
    assert!(!failed.is_quiet(A, Duration::from_secs(1), HOUR));
}

#[test]
fn what_cannot_be_read_is_an_operating_system_at_work() {
    let unreadable = TargetLook { session: Seen::Unreadable("EIO".into()), ..target("pc01", None, 1) };
    let known = watch(new(), 0, 600, &[(A, unreadable)]);
    assert_eq!(known.watches[A].quiet, Duration::ZERO);
    assert!(matches!(known.watches[A].system, SystemSeen::At(_)));
    let counted = TargetLook { sessions: 1, ..target("pc01", None, 1) };
    let known = watch(new(), 0, 600, &[(A, counted)]);
    assert!(known.watches[A].session.is_some());
}

#[test]
fn a_boots_intent_needs_silence_since_its_discover_and_two_looks_apart() {
    let at = |second: u64| Mono::from_millis(second * 1000);
    let known = watch(new(), 0, 50, &[(A, target("pc01", Some(SYSTEM), 5))]);
    let known = watch(known, 60, 100, &[(A, target("pc01", None, 5))]);
    assert!(!known.is_still_since(A, at(40)), "the system was there after it");
    assert!(known.is_still_since(A, at(55)));
    assert!(!known.is_still_since(A, at(98)), "no two looks since");
    assert!(!known.is_still_since(B, at(55)), "never looked at");
}
