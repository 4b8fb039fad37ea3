//! What a server that lost power finds, on the fake host: what was half made is made whole, and machines come back to their disks.

use crate::room::{ALPHA, BETA, PC01, Room, cafe, disk, text, with};
use barista::host::fake::Content;
use barista::plan::Outcome;
use std::time::Duration;

/// pc01 logs in and writes a MiB; what its disk holds then.
fn put_to_work(room: &Room, target: &str, volume: &str) -> Option<Content> {
    room.host.login(target, PC01).expect("logs in");
    room.host.write(target, PC01, 0, 1 << 20).expect("writes");
    room.host.content("cafe", volume)
}

#[test]
fn after_a_reboot_everything_comes_back_as_it_was() {
    let room = Room::new();
    room.settle(&cafe(3));
    let written = put_to_work(&room, BETA, "seat.pc01.beta.a");
    room.host.reboot();
    let plan = room.carry_out(&cafe(3));
    assert!(!plan.contains("volume"), "no clone is touched: machines may still be running\n{plan}");
    assert_eq!(room.host.content("cafe", "seat.pc01.beta.a"), written);
}

#[test]
fn a_pool_that_a_power_cut_left_half_made_is_made_whole_and_one_of_somebody_else_is_not_touched() {
    let room = Room::new();
    room.run("lvcreate -y -L 4m -n pool --addtag barista --addtag barista.site=cat cafe");
    let plan = text(&room.plan(&cafe(1)));
    assert!(plan.contains("+ pool    cafe/pool"), "{plan}");
    assert!(plan.contains("making it was cut off before there was anything in it"), "{plan}");
    room.settle(&cafe(1));
    for strange in [
        "lvcreate -y -L 4m -n pool cafe",
        "lvcreate -y -L 4m -n pool --addtag barista --addtag barista.site=another cafe",
        "lvcreate -y -L 100g -n pool --addtag barista --addtag barista.site=cat cafe",
    ] {
        let room = Room::new();
        room.run(strange);
        let (plan, _) = room.apply(&cafe(1));
        assert!(
            text(&plan).contains("a volume cafe/pool that is no thin pool is there and not ours"),
            "{strange}\n{}",
            text(&plan)
        );
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
        let written = put_to_work(&room, ALPHA, "seat.pc01.alpha.a");
        room.apply(&updated);
        room.host.reboot();
        if is_inactive {
            room.run("lvchange -an cafe/seat.pc01.alpha.a");
        }
        let (plan, report) = room.apply(&updated);
        let plan = text(&plan);
        assert!(plan.contains("! volume  cafe/seat.pc01.alpha.a"), "its update waits\n{plan}");
        assert!(plan.contains("+ target  iqn.2026-11.example.cat:pc01.alpha"), "{plan}");
        assert!(report.outcomes.iter().all(|(_, _, outcome)| !matches!(outcome, Outcome::Failed(_))), "{report:?}");
        room.host.login(ALPHA, PC01).expect("its disk is there");
        assert_eq!(room.host.content("cafe", "seat.pc01.alpha.a"), written, "as it left it");
        room.host.logout(ALPHA, PC01);
        room.host.advance(Duration::from_secs(3600));
        room.pass(&updated);
        room.settle(&updated);
        assert_ne!(room.host.content("cafe", "seat.pc01.alpha.a"), written, "and is made anew when it is off");
    }
}

#[test]
fn a_used_seat_that_is_inactive_after_a_power_cut_is_offered_as_it_was() {
    let room = Room::new();
    room.settle(&cafe(1));
    let written = put_to_work(&room, ALPHA, "seat.pc01.alpha.a");
    room.host.reboot();
    for volume in ["seat.pc01.alpha.a", "seat.pc01.beta.a", "img.alpha.1"] {
        room.run(&format!("lvchange -an cafe/{volume}"));
    }
    room.carry_out(&cafe(1));
    room.host.login(ALPHA, PC01).expect("its disk is there");
    assert_eq!(room.host.content("cafe", "seat.pc01.alpha.a"), written, "as it left it");
}

#[test]
fn a_plan_that_destroys_too_much_does_not_keep_the_room_down_after_a_power_cut() {
    let room = Room::new();
    room.settle(&cafe(3));
    room.host.reboot();
    room.host.advance(Duration::from_secs(3600));
    let fewer = with(
        &with(&cafe(1), "site.toml", "max-destroy = 50", "max-destroy = 1"),
        "site.toml",
        "may-destroy = []",
        "may-destroy = [\"*\"]",
    );
    let plan = room.carry_out(&fewer);
    assert!(plan.contains("held: the plan destroys"), "{plan}");
    room.host.login(ALPHA, PC01).expect("its disk is there");
}
