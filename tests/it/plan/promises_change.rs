//! Changes that cannot be carried out yet: what machines had meanwhile goes on.

use crate::room::{Files, NIGHT, Room, cafe, disk, machines, with};
use barista::host::Output;
use barista::plan::assign::Decision;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn without_source(files: &Files) -> Files {
    let newer = with(files, "images/alpha.toml", "\"1\"", "\"2\"");
    with(&newer, "images/alpha.toml", "alpha.raw", "nowhere.raw")
}

fn renamed(files: &Files) -> Files {
    let renamed = with(files, "machines/row.toml", "name = \"pc01\"", "name = \"till01\"");
    with(&renamed, "machines/row.toml", "[defaults]", "moved = [{ from = \"pc01\", to = \"till01\" }]\n[defaults]")
}

#[test]
fn x_the_room_comes_back_while_a_new_version_is_not_there() {
    let room = Room::new();
    room.settle(&cafe(2));
    let used = room.use_seat(&cafe(2), "pc02", "alpha");
    let new = without_source(&cafe(2));
    room.apply(&new);
    room.host.reboot();
    room.restart_agent();
    for _ in 0..3 {
        room.apply(&new);
        room.pass(&new, 60 * SECOND);
    }
    for machine in ["pc01", "pc02"] {
        // Its data disk comes to it from the side that it used.
        room.wait(machine, "alpha");
        room.pass(&new, 120 * SECOND);
        let told = room.ask(&new, machine, "alpha");
        assert!(matches!(&told, Decision::Give(given) if given.target.to_string() != used), "{machine}: {told:?}");
    }
}

#[test]
fn a_renamed_machine_is_given_no_target_that_refuses_its_name() {
    let room = Room::new();
    room.settle(&cafe(1));
    room.use_seat(&cafe(1), "pc01", "alpha");
    room.settle(&cafe(1));
    let new = renamed(&without_source(&cafe(1)));
    for _ in 0..3 {
        room.apply(&new);
        room.pass(&new, 60 * SECOND);
    }
    room.wait("till01", "alpha");
    room.pass(&new, 120 * SECOND);
    room.apply(&new);
    let target = room.boot(&new, "till01", "alpha");
    assert!(room.is_open(&target, "till01"), "{target}");
}

#[test]
fn a_machine_that_is_renamed_keeps_what_it_boots_until_the_new_is_there() {
    let room = Room::new();
    room.settle(&cafe(1));
    let mut files = cafe(1);
    files.insert("images/gamma.toml".into(), disk("nowhere", "every-boot", "1", &["1"], ""));
    files.insert("machines/row.toml".into(), machines(&["pc01".to_owned()], "\"gamma\", \"alpha\", \"beta\""));
    for files in [&files, &renamed(&files)] {
        room.apply(files);
        assert!(room.table().machines.values().all(|machine| machine.default == "alpha"), "{:?}", room.table().machines);
    }
    // What it had is the site's no more: its menu says what the new one waits for, and has the others.
    files.insert("machines/row.toml".into(), machines(&["pc01".to_owned()], "\"gamma\", \"beta\""));
    let room = Room::new();
    room.settle(&cafe(1));
    room.apply(&files);
    assert!(room.table().machines.values().all(|machine| machine.default == "gamma"), "{:?}", room.table().machines);
}

#[test]
fn c_a_machine_that_is_renamed_while_lvm_does_not_answer_keeps_its_way_in() {
    let room = Room::new();
    room.settle(&cafe(1));
    let refusal = Output { status: Some(5), stdout: String::new(), stderr: "  Can't get lock for cafe\n".into() };
    ["vgs", "lvs"].into_iter().for_each(|program| room.host.answer(program, refusal.clone()));
    room.apply(&renamed(&cafe(1)));
    let table = room.table();
    let mut targets = table.machines.values().flat_map(|machine| machine.disks.values()).filter_map(|disk| disk.target.as_ref());
    assert!(targets.next().is_some(), "{:?}", table.machines);
}

/// `moved` is written after the new name has got a disk of its own.
#[test]
fn a_disk_does_not_take_a_name_that_another_has() {
    let room = Room::new();
    room.settle(&cafe(1));
    room.use_seat(&cafe(1), "pc01", "beta");
    let unsaid = with(&cafe(1), "machines/row.toml", "name = \"pc01\"", "name = \"till01\"");
    for _ in 0..3 {
        room.apply(&unsaid);
        room.pass(&unsaid, NIGHT);
    }
    let before = room.host.effects().len();
    for _ in 0..3 {
        room.apply(&renamed(&cafe(1)));
        room.pass(&unsaid, NIGHT);
    }
    let effects = room.host.effects()[before..].to_vec();
    assert!(!effects.iter().any(|effect| effect.starts_with("lvrename")), "{effects:?}");
}

/// Two versions that are published one after the other under a machine at work (ltsp/ltsp#863, #928).
#[test]
fn a_machine_at_work_keeps_its_version_whatever_is_published_and_consented_to() {
    let room = Room::new();
    room.settle(&cafe(1));
    let target = room.work(&cafe(1), "pc01", "alpha");
    let before = room.disk(&target, 0);
    for version in ["2", "3"] {
        let mut files = with(&cafe(1), "site.toml", "may-destroy = []", "may-destroy = [\"*\"]");
        files.insert("images/alpha.toml".into(), disk("alpha", "every-boot", version, &[version], "data-disks = [\"games\"]"));
        for _ in 0..3 {
            room.apply(&files);
            room.pass(&files, 20 * SECOND);
        }
        assert!(room.volumes(&files).contains(&"img.alpha.1".to_owned()));
    }
    assert_eq!((room.disk(&target, 0), room.host.sessions(&target)), (before, 1));
}
