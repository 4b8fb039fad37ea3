//! What a server that lost power finds, on the fake host: what was half made is made whole, and machines come back to their disks.

use crate::room::{NIGHT, PC01, Room, cafe, disk, flat, text, with};
use barista::plan::{Hold, Outcome, assign::Decision};
use std::time::Duration;

#[test]
fn after_a_reboot_everything_comes_back_as_it_was() {
    let room = Room::new();
    room.settle(&cafe(3));
    let (alpha, beta) = (room.work(&cafe(3), "pc01", "alpha"), room.work(&cafe(3), "pc02", "beta"));
    let (alpha_disk, beta_disk) = (room.disk(&alpha, 0), room.disk(&beta, 0));
    room.settle(&cafe(3));
    room.host.reboot();
    let before = room.host.effects().len();
    room.carry_out(&cafe(3));
    let removed: Vec<String> =
        room.host.effects()[before..].iter().filter(|effect| effect.starts_with("lvremove")).cloned().collect();
    assert_eq!(removed, Vec::<String>::new(), "no clone is touched: machines may still be running");
    assert_eq!((room.disk(&alpha, 0), room.disk(&beta, 0)), (alpha_disk, beta_disk), "under the same names the same disks");
    assert!(room.is_open(&alpha, "pc01") && room.is_open(&beta, "pc02"));
    assert!(room.targets("pc01", "alpha").len() == 2, "and its spare is there, closed");
    room.settle(&cafe(3));
}

#[test]
fn a_pool_that_a_power_cut_left_half_made_is_made_whole_and_one_of_somebody_else_is_not_touched() {
    let room = Room::new();
    room.run("lvcreate -y -L 4m -n pool --addtag barista --addtag barista.site=cat cafe");
    let plan = flat(&room.plan(&cafe(1)));
    assert!(plan.contains("+ pool cafe/pool"), "{plan}");
    assert!(plan.contains("a run was cut off before it was whole"), "{plan}");
    room.settle(&cafe(1));
    for strange in [
        "lvcreate -y -L 4m -n pool cafe",
        "lvcreate -y -L 4m -n pool --addtag barista --addtag barista.site=another cafe",
        "lvcreate -y -L 100g -n pool --addtag barista --addtag barista.site=cat cafe",
    ] {
        let room = Room::new();
        room.run(strange);
        let (plan, _) = room.apply(&cafe(1));
        assert!(plan.held().any(|(_, hold)| matches!(hold, Hold::Foreign { .. })), "{strange}\n{}", text(&plan));
        assert!(room.host.content("cafe", "pool").is_some(), "{strange}");
    }
}

#[test]
fn a_seat_whose_update_waits_gets_its_disk_back_after_a_power_cut() {
    let mut updated = cafe(2);
    updated.insert("images/alpha.toml".into(), disk("alpha", "every-boot", "2", &["1", "2"], "data-disks = [\"games\"]"));
    for is_inactive in [false, true] {
        let room = Room::new();
        room.settle(&cafe(2));
        let target = room.work(&cafe(2), "pc01", "alpha");
        let (volume, written) = room.disk(&target, 0);
        room.apply(&updated);
        room.host.reboot();
        if is_inactive {
            room.run(&format!("lvchange -an cafe/{volume}"));
        }
        let (plan, report) = room.apply(&updated);
        assert!(
            report.outcomes.iter().all(|(_, _, outcome)| !matches!(outcome, Outcome::Failed(_))),
            "{report:?}\n{}",
            text(&plan)
        );
        room.host.login(&target, PC01).expect("its disk is there");
        assert_eq!(room.disk(&target, 0), (volume.clone(), written), "as it left it");
        room.host.logout(&target, PC01);
        room.pass(&updated, Duration::from_secs(3600));
        room.settle(&updated);
        assert!(room.host.content("cafe", &volume).is_some(), "an hour of silence is no proof");
        let next = room.work(&updated, "pc01", "alpha");
        assert_ne!(next, target);
        room.pass(&updated, Duration::from_secs(80));
        room.settle(&updated);
        assert_eq!(room.host.content("cafe", &volume), None, "and it goes when its machine has moved on");
    }
}

#[test]
fn a_used_seat_that_is_inactive_after_a_power_cut_is_offered_as_it_was() {
    let room = Room::new();
    room.settle(&cafe(1));
    let target = room.work(&cafe(1), "pc01", "alpha");
    let (volume, written) = room.disk(&target, 0);
    room.host.reboot();
    for volume in [volume.as_str(), "seat.pc01.beta.a", "img.alpha.1"] {
        room.run(&format!("lvchange -an cafe/{volume}"));
    }
    room.carry_out(&cafe(1));
    room.host.login(&target, PC01).expect("its disk is there");
    assert_eq!(room.disk(&target, 0), (volume, written), "as it left it");
}

#[test]
fn a_plan_that_destroys_too_much_does_not_keep_the_room_down_after_a_power_cut() {
    let room = Room::new();
    room.settle(&cafe(3));
    let target = room.use_seat(&cafe(3), "pc01", "alpha");
    room.host.reboot();
    let fewer = with(
        &with(&cafe(1), "site.toml", "max-destroy = 50", "max-destroy = 1"),
        "site.toml",
        "may-destroy = []",
        "may-destroy = [\"*\"]",
    );
    room.pass(&fewer, NIGHT);
    let (plan, _) = room.apply(&fewer);
    assert!(plan.held().any(|(_, hold)| matches!(hold, Hold::TooMuch { .. })), "{}", text(&plan));
    room.host.login(&target, PC01).expect("its disk is there");
    assert!(room.is_open(&room.target("pc03", "beta"), "pc03"), "and those of machines that leave");
}

#[test]
fn a_record_that_is_put_back_from_an_hour_ago_makes_no_used_disk_clean() {
    let room = Room::new();
    room.settle(&cafe(2));
    let path = room.state.path().join(barista::host::offered::PATH);
    let backup = room.host.file(&path).expect("a record");
    let target = room.work(&cafe(2), "pc01", "alpha");
    let used = room.disk(&target, 0);
    room.settle(&cafe(2));
    room.host.set_file(&path, Some(&backup));
    room.host.reboot();
    // What was written to the disk is not to be seen in this boot of the server, and the epoch is the same.
    room.carry_out(&cafe(2));
    room.settle(&cafe(2));
    assert_eq!(room.disk(&target, 0), used, "under its name, as it was left");
    let told = room.ask(&cafe(2), "pc01", "alpha");
    assert!(matches!(told, Decision::Wait(_)), "nobody can say which of its disks is clean: {told:?}");
}

#[test]
fn a_record_begins_in_an_epoch_that_no_disk_is_of() {
    let room = Room::new();
    room.settle(&cafe(1));
    // An old disk, as a machine that was put away for a year has it.
    let uuid = room.volumes(&cafe(1)).into_iter().find(|name| name.starts_with("seat.pc01.alpha")).expect("a side");
    let tags = |name: &str| room.host.volumes().into_iter().find(|lv| lv.name == name).expect("is there").tags;
    let epoch = |name: &str| tags(name).iter().find_map(|tag| tag.strip_prefix("barista.epoch=")?.parse::<u64>().ok());
    let was = epoch(&uuid).expect("marked");
    room.run(&format!("lvchange --deltag barista.epoch={was} --addtag barista.epoch=400 cafe/{uuid}"));
    room.run("lvchange --addtag barista.epoch=9 cafe/pool");
    room.host.set_file(&room.state.path().join(barista::host::offered::PATH), None);
    room.settle(&cafe(1));
    let marks: Vec<String> = tags("pool").into_iter().filter(|tag| tag.starts_with("barista.epoch=")).collect();
    assert_eq!(marks, ["barista.epoch=401"], "one mark, later than that of any disk");
}

#[test]
fn a_raise_that_was_cut_off_is_finished_before_there_is_another() {
    let room = Room::new();
    room.settle(&cafe(1));
    let mark = || {
        let pool = room.host.volumes().into_iter().find(|lv| lv.name == "pool").expect("a pool");
        pool.tags.iter().find_map(|tag| tag.strip_prefix("barista.epoch=")?.parse::<u64>().ok()).expect("marked")
    };
    let before = mark();
    room.host.reboot();
    room.settle(&cafe(1));
    assert_eq!(mark(), before + 1, "each start of the server has its own");
    room.run(&format!("lvchange --deltag barista.epoch={} --addtag barista.epoch={before} cafe/pool", before + 1));
    let plan = room.plan(&cafe(1));
    assert!(plan.open().any(|change| change.subject.to_string().contains("pool")), "{}", text(&plan));
    room.settle(&cafe(1));
    assert_eq!(mark(), before + 1, "the mark follows the record");
}
