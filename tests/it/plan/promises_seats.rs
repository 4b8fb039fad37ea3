//! A seat is free only by proof: outages, late agents, renames, machines in between, what cannot be read.

use crate::room::{Files, NIGHT, PC01, PREFIX, QUIET, Room, cafe, disk, hasty, machines, text, with};
use barista::host::GiveError;
use barista::host::commands::{Commands, Entry};
use barista::plan::assign::Decision;
use barista::plan::{Hold, Outcome, Reason, Sign, Subject};
use nix::errno::Errno;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// The site in which pc01 is called pc09 from now on; the same machine.
fn renamed(count: usize) -> Files {
    let mut names = vec!["pc09".to_owned()];
    names.extend((2..=count).map(|number| format!("pc{number:02}")));
    let list = machines(&names, "\"alpha\", \"beta\"").replace("00:09", "00:01");
    let mut files = cafe(count);
    files.insert("machines/row.toml".into(), format!("moved = [{{ from = \"pc01\", to = \"pc09\" }}]\n{list}"));
    files
}

/// A machine's firmware has read from its disk and let go of it; its system has not come yet.
fn in_the_gap(room: &Room, files: &Files, machine: &str, image: &str) -> String {
    let (target, initiator) = (room.boot(files, machine, image), format!("{PREFIX}:{machine}"));
    room.host.login_firmware(&target, &initiator).expect("logs in");
    room.host.write(&target, &initiator, 0, 0).expect("reads");
    room.host.logout(&target, &initiator);
    target
}

#[test]
fn a_nothing_is_destroyed_when_a_switch_restarts_under_nine_seats() {
    let room = Room::new();
    room.settle(&cafe(10));
    let names: Vec<String> = (1..=9).map(|number| format!("pc{number:02}")).collect();
    let work: Vec<(String, String)> = names.iter().map(|name| (name.clone(), room.work(&cafe(10), name, "alpha"))).collect();
    room.settle(&cafe(10));
    let disks: Vec<_> = work.iter().map(|(_, target)| room.disk(target, 0)).collect();
    work.iter().for_each(|(name, target)| room.host.logout(target, &format!("{PREFIX}:{name}")));
    for _ in 0..18 {
        room.pass(&cafe(10), 10 * SECOND);
        room.apply(&cafe(10));
    }
    for ((name, target), disk) in work.iter().zip(disks) {
        assert_eq!(room.disk(target, 0), disk, "{name}");
        assert!(room.is_open(target, name), "it logs in again and goes on");
    }
}

#[test]
fn a_system_that_came_since_the_last_look_keeps_its_disk_to_itself() {
    for (writes, ends) in [(1 << 20, true), (1 << 20, false), (0, false)] {
        let room = Room::new();
        room.settle(&cafe(1));
        let target = room.boot(&cafe(1), "pc01", "alpha");
        let Decision::Give(given) = room.ask(&cafe(1), "pc01", "alpha") else { panic!("nothing was on it") };
        assert_eq!(given.target.as_str(), target);
        // Decided by what was seen; and now its system begins.
        room.host.login(&target, PC01).expect("logs in");
        room.host.write(&target, PC01, 0, writes).expect("writes or reads");
        if ends {
            room.host.logout(&target, PC01);
        }
        let refused = room.give("pc01", &given);
        assert!(matches!(refused, Err(GiveError::Changed { .. })), "{writes} {ends}: {refused:?}");
        assert!(!matches!(room.ask(&cafe(1), "pc01", "alpha"), Decision::Give(next) if next.target == given.target));
    }
    let room = Room::new();
    room.settle(&cafe(1));
    let target = in_the_gap(&room, &cafe(1), "pc01", "alpha");
    let Decision::Give(given) = room.ask(&cafe(1), "pc01", "alpha") else { panic!("only a firmware was on it") };
    room.host.login_firmware(&target, PC01).expect("logs in");
    assert_eq!((room.give("pc01", &given), given.target.as_str()), (Ok(()), target.as_str()), "a firmware's session is none");
}

#[test]
fn a_firmware_that_reads_for_ten_minutes_keeps_its_disk() {
    let room = Room::new();
    room.settle(&cafe(1));
    let target = room.boot(&cafe(1), "pc01", "alpha");
    let (disk, _) = room.disk(&target, 0);
    room.host.login_firmware(&target, PC01).expect("logs in");
    for _ in 0..60 {
        room.host.write(&target, PC01, 0, 0).expect("reads");
        room.apply(&cafe(1));
        room.host.advance(10 * SECOND);
    }
    room.host.logout(&target, PC01);
    for _ in 0..30 {
        room.host.advance(10 * SECOND);
        room.apply(&cafe(1));
    }
    room.keep_as_case("a_firmware_read_for_ten_minutes", &cafe(1));
    assert_eq!(room.disk(&target, 0).0, disk);
    assert!(room.is_open(&target, "pc01"), "its system comes late and finds it");
}

#[test]
fn b_an_agent_that_starts_late_after_a_reboot_offers_every_disk_as_it_was() {
    for (image, late) in [("alpha", 660), ("beta", 660), ("alpha", 9 * 3600)] {
        let room = Room::new();
        room.settle(&cafe(1));
        let target = room.work(&cafe(1), "pc01", image);
        let disk = room.disk(&target, 0);
        room.settle(&cafe(1));
        room.host.reboot();
        room.host.advance(late * SECOND);
        room.keep_as_case(&format!("b_{late}_seconds_after_a_reboot_{image}"), &cafe(1));
        for _ in 0..3 {
            room.carry_out(&cafe(1));
            room.host.advance(10 * SECOND);
            room.restart_agent();
        }
        assert_eq!(room.disk(&target, 0), disk, "{image}");
        assert!(room.is_open(&target, "pc01"), "{image}");
    }
}

#[test]
fn c_a_machine_at_work_outlives_a_rename_and_a_removal_that_wait_and_a_reboot() {
    for image in ["alpha", "beta"] {
        let room = Room::new();
        room.settle(&cafe(2));
        let target = room.work(&cafe(2), "pc01", image);
        let disk = room.disk(&target, 0);
        room.carry_out(&renamed(2));
        assert_eq!(room.host.sessions(&target), 1, "{image}");
        room.host.reboot();
        room.host.advance(60 * SECOND);
        room.keep_as_case(&format!("c_a_rename_waits_and_the_server_was_off_{image}"), &renamed(2));
        room.carry_out(&renamed(2));
        assert_eq!(room.disk(&target, 0), disk, "{image}");
        assert!(room.is_open(&target, "pc01"), "{image}: by the name that it has while it runs");
        let again = room.boot(&renamed(2), "pc09", image);
        assert!(room.is_open(&again, "pc09"), "{image}: and by its new one at its next boot");
        if image == "beta" {
            assert_eq!(room.disk(&again, 0), disk, "what is kept comes along");
        }
        let room = Room::new();
        room.settle(&cafe(2));
        let target = room.work(&cafe(2), "pc02", image);
        let disk = room.disk(&target, 0);
        let gone = with(&cafe(1), "site.toml", "may-destroy = []", "may-destroy = [\"*\"]");
        room.carry_out(&gone);
        room.host.reboot();
        room.carry_out(&gone);
        assert_eq!(room.disk(&target, 0), disk, "{image}");
        assert!(room.is_open(&target, "pc02"), "{image}");
        assert!(room.table().machines.keys().any(|name| name.as_str() == "pc02"), "its address and its way back in stay");
    }
}

#[test]
fn c_a_record_that_was_lost_and_a_power_cut_leave_a_kept_disk_where_it_was() {
    let room = Room::new();
    room.settle(&cafe(1));
    let target = room.work(&cafe(1), "pc01", "alpha");
    room.settle(&cafe(1));
    let before = [room.disk(&target, 0), room.disk(&target, 1)];
    room.host.set_file(&room.state.path().join(barista::host::offered::PATH), None);
    room.keep_as_case("c_the_record_is_lost_under_a_kept_disk", &cafe(1));
    room.settle(&cafe(1));
    assert!(room.targets("pc01", "alpha").len() > 1, "another side is there, and on record later");
    room.host.reboot();
    room.restart_agent();
    room.settle(&cafe(1));
    assert_eq!([room.disk(&target, 0), room.disk(&target, 1)], before);
    assert!(room.is_open(&target, "pc01"));
}

#[test]
fn q_of_three_used_disks_one_is_left_until_there_is_a_clean_one() {
    let room = Room::new();
    let both = with(&cafe(1), "site.toml", "[policy]", "[policy]\nsides = 3");
    let alone = with(&both, "machines/row.toml", "\"alpha\", \"beta\"", "\"alpha\"");
    room.settle(&alone);
    for _ in 0..3 {
        let target = room.work(&alone, "pc01", "alpha");
        room.settle(&alone);
        room.host.logout(&target, PC01);
        room.observe(&crate::room::prepare(&alone));
    }
    assert_eq!(room.targets("pc01", "alpha").len(), 3);
    // What it boots now was offered after all of them.
    room.settle(&both);
    let beta = room.work(&both, "pc01", "beta");
    room.pass(&both, 120 * SECOND);
    let (plan, _) = room.apply(&both);
    let removed = plan.open().filter(|change| change.action == barista::plan::Action::Remove).count();
    assert_eq!((removed, room.targets("pc01", "alpha").len()), (1, 2), "{}", text(&plan));
    room.settle(&both);
    assert_eq!(room.targets("pc01", "alpha").len(), 1, "a clean one");
    room.host.logout(&beta, PC01);
    room.boot(&both, "pc01", "alpha");
}

#[test]
fn d_a_machine_that_leaves_between_its_firmware_and_its_system_is_not_cut() {
    let room = Room::new();
    room.settle(&cafe(2));
    let target = in_the_gap(&room, &cafe(2), "pc02", "alpha");
    let gone = with(&cafe(1), "site.toml", "may-destroy = []", "may-destroy = [\"*\"]");
    room.keep_as_case("d_a_machine_leaves_between_firmware_and_system", &gone);
    let (plan, _) = room.apply(&gone);
    let is_its = |subject: &Subject| matches!(subject, Subject::Side { machine, image, .. } if machine.as_str() == "pc02" && image.as_str() == "alpha");
    let hold = plan.held().find(|(change, _)| is_its(&change.subject)).map(|(_, hold)| hold);
    assert!(matches!(hold, Some(Hold::Occupied { sign: Sign::MayBeOn, .. })), "{}", text(&plan));
    assert!(room.is_open(&target, "pc02"));
    let room = Room::new();
    room.settle(&cafe(2));
    let target = in_the_gap(&room, &cafe(2), "pc01", "alpha");
    room.apply(&renamed(2));
    assert!(room.is_open(&target, "pc01"));
}

#[test]
fn a_person_who_says_that_a_machine_is_off_is_believed_until_it_shows_itself() {
    let gone = with(&cafe(1), "site.toml", "may-destroy = []", "may-destroy = [\"*\"]");
    let holds = |room: &Room| room.plan(&gone).held().filter(|(_, hold)| matches!(hold, Hold::Occupied { .. })).count();
    let said = |room: &Room| {
        let system = room.host.system();
        let (boot_id, at) = (system.kernel.boot_id(), system.kernel.boottime().into());
        let entry = Entry::Forced { machine: "pc02".parse().expect("legal"), boot_id, at };
        Commands::new(&system, room.state.path()).add(&entry).expect("writable");
    };
    let left = || {
        let room = Room::new();
        room.settle(&cafe(2));
        let target = room.use_seat(&cafe(2), "pc02", "alpha");
        room.pass(&cafe(2), 10 * SECOND);
        (room, target)
    };
    let (room, _) = left();
    assert!(holds(&room) > 0, "nothing proves that it is off");
    said(&room);
    room.keep_as_case("d_a_person_says_that_a_machine_that_leaves_is_off", &gone);
    assert_eq!(holds(&room), 0, "{}", text(&room.plan(&gone)));
    room.settle(&gone);
    assert_eq!(room.targets("pc02", "alpha"), Vec::<String>::new());
    for (shows_itself, reboots) in [(true, false), (false, true)] {
        let (room, target) = left();
        said(&room);
        room.host.advance(SECOND);
        if shows_itself {
            room.host.login(&target, &format!("{PREFIX}:pc02")).expect("logs in");
            assert!(holds(&room) > 0, "it is on");
            room.host.logout(&target, &format!("{PREFIX}:pc02"));
            room.pass(&cafe(2), 60 * SECOND);
        }
        if reboots {
            room.host.reboot();
            room.restart_agent();
            room.settle(&cafe(2));
        }
        assert!(holds(&room) > 0, "it may be on again: {shows_itself} {reboots}");
    }
}

#[test]
fn e_what_cannot_be_read_is_in_use_and_its_entry_stays() {
    let room = Room::new();
    room.settle(&cafe(2));
    let target = room.work(&cafe(2), "pc02", "beta");
    let gone = with(&cafe(1), "site.toml", "may-destroy = []", "may-destroy = [\"*\"]");
    room.host.forbid(&format!("iscsi/{target}/tpgt_1/enable"), Errno::EIO);
    room.keep_as_case("e_a_target_cannot_be_read", &gone);
    let before = room.host.effects().len();
    let (plan, _) = room.apply(&gone);
    let effects = room.host.effects()[before..].to_vec();
    assert!(effects.iter().all(|effect| effect.contains("/commands")), "{effects:?}\n{}", text(&plan));
    assert_eq!(room.table().machines.len(), 2);
}

#[test]
fn e_a_machine_that_comes_at_the_last_moment_keeps_its_disk_and_its_entry() {
    let alone = |count: usize| with(&hasty(&cafe(count)), "machines/row.toml", "\"alpha\", \"beta\"", "\"alpha\"");
    let room = Room::new();
    room.settle(&alone(2));
    let target = room.use_seat(&alone(2), "pc02", "alpha");
    let gone = with(&alone(1), "site.toml", "may-destroy = []", "may-destroy = [\"*\"]");
    room.pass(&gone, QUIET);
    let prepared = crate::room::prepare(&gone);
    let plan = crate::room::compute(&prepared, &room.observe(&prepared));
    assert_eq!(plan.held().count(), 0, "{}", text(&plan));
    room.host.login(&target, &format!("{PREFIX}:pc02")).expect("comes back");
    let report = room.carry(&prepared, &plan);
    assert!(report.outcomes.iter().any(|(_, _, outcome)| matches!(outcome, Outcome::Skipped(_))), "{report:?}");
    assert_eq!(room.host.sessions(&target), 1);
    assert!(room.table().machines.keys().any(|name| name.as_str() == "pc02"));
}

#[test]
fn t_a_boot_is_told_of_a_data_disk_only_when_its_target_shows_it() {
    let room = Room::new();
    room.settle(&cafe(1));
    let before = room.work(&cafe(1), "pc01", "alpha");
    let mut update = with(&cafe(1), "images/alpha.toml", "data-disks = [\"games\"]", "data-disks = [\"games\", \"extra\"]");
    update.insert("images/extra.toml".into(), crate::room::disk("games", "on-update", "1", &["1"], "role = \"data\""));
    room.keep_as_case("t_an_image_gains_a_data_disk", &update);
    room.settle(&update);
    room.host.logout(&before, PC01);
    let after = room.boot(&update, "pc01", "alpha");
    for lun in 0..3 {
        room.disk(&after, lun);
    }
    assert!(room.is_open(&after, "pc01"));
}

#[test]
fn z_a_clock_that_is_set_ends_and_proves_nothing() {
    for hours in [-2, 24 * 365] {
        let room = Room::new();
        room.settle(&cafe(1));
        let target = room.use_seat(&cafe(1), "pc01", "alpha");
        let disk = room.disk(&target, 0);
        room.settle(&cafe(1));
        room.host.set_clock(jiff::SignedDuration::from_hours(hours));
        room.pass(&cafe(1), 60 * SECOND);
        room.settle(&cafe(1));
        assert_eq!(room.disk(&target, 0), disk, "{hours}");
        room.run(&format!("lvchange -y --deltag barista.reset=never cafe/{}", "seat.pc01.beta.a"));
        room.keep_as_case(&format!("z_the_clock_is_set_by_{hours}_hours"), &cafe(1));
        let (plan, _) = room.apply(&cafe(1));
        assert!(plan.open().any(|change| change.reason == Reason::Kept), "drift is mended: {}", text(&plan));
        let next = room.boot(&cafe(1), "pc01", "alpha");
        assert_eq!(room.disk(&next, 0).1.writes, 0, "and the next boot is clean");
    }
}

#[test]
fn a_long_silence_frees_a_seat_only_where_somebody_needs_it() {
    let room = Room::new();
    room.settle(&cafe(1));
    let target = room.use_seat(&cafe(1), "pc01", "alpha");
    room.settle(&cafe(1));
    room.pass(&cafe(1), NIGHT);
    room.settle(&cafe(1));
    assert!(room.is_open(&target, "pc01"), "nobody needs its disk");
}

#[test]
fn three_resets_without_a_spare_are_over_when_the_machine_boots_the_next_day() {
    let room = Room::new();
    room.settle(&cafe(1));
    let first = room.use_seat(&cafe(1), "pc01", "alpha");
    room.apply(&cafe(1));
    for _ in 0..2 {
        let next = room.boot(&cafe(1), "pc01", "alpha");
        assert_ne!(next, first);
        // It runs for a few seconds, between two looks.
        room.host.login(&next, PC01).expect("logs in");
        room.host.logout(&next, PC01);
        room.apply(&cafe(1));
    }
    room.pass(&cafe(1), NIGHT);
    room.wait("pc01", "alpha");
    for _ in 0..3 {
        room.host.advance(10 * SECOND);
        room.apply(&cafe(1));
    }
    let told = room.ask(&cafe(1), "pc01", "alpha");
    assert!(matches!(told, barista::plan::assign::Decision::Give(_)), "{told:?}\n{}", text(&room.plan(&cafe(1))));
}

#[test]
fn a_machine_that_worked_on_another_image_meanwhile_gets_a_clean_disk_when_it_waits_for_one() {
    let room = Room::new();
    room.settle(&cafe(1));
    room.use_seat(&cafe(1), "pc01", "alpha");
    room.apply(&cafe(1));
    let second = room.boot(&cafe(1), "pc01", "alpha");
    room.host.login(&second, PC01).expect("logs in");
    room.host.logout(&second, PC01);
    room.apply(&cafe(1));
    let beta = room.target("pc01", "beta");
    for hours in [1, 30] {
        room.host.login(&beta, PC01).expect("logs in");
        room.host.write(&beta, PC01, 0, 1 << 20).expect("writes");
        room.pass(&cafe(1), hours * 600 * SECOND);
        room.apply(&cafe(1));
        if hours == 1 {
            room.host.logout(&beta, PC01);
            room.pass(&cafe(1), NIGHT);
        }
    }
    room.host.logout(&beta, PC01);
    room.wait("pc01", "alpha");
    for _ in 0..6 {
        room.host.advance(10 * SECOND);
        room.apply(&cafe(1));
    }
    let told = room.ask(&cafe(1), "pc01", "alpha");
    assert!(matches!(told, barista::plan::assign::Decision::Give(_)), "{told:?}\n{}", text(&room.plan(&cafe(1))));
}

#[test]
fn a_side_that_a_machine_at_its_menu_was_told_of_outlives_a_new_version() {
    let room = Room::new();
    room.settle(&cafe(1));
    let told = room.boot(&cafe(1), "pc01", "alpha");
    let update = with(&cafe(1), "images/alpha.toml", "current = \"1\"", "current = \"2\"");
    let second = format!("{}[[version]]\nname = \"2\"\nsource = \"beta.raw\"\n", update["images/alpha.toml"]);
    let update = with(&update, "images/alpha.toml", &update["images/alpha.toml"], &second);
    for _ in 0..3 {
        room.apply(&update);
        room.pass(&update, 60 * SECOND);
    }
    room.host.login(&told, PC01).expect("somebody presses Enter");
    let next = room.targets("pc01", "alpha").into_iter().find(|target| *target != told).expect("a clean one of the new version");
    room.host.logout(&told, PC01);
    assert_eq!(room.boot(&update, "pc01", "alpha"), next);
}

#[test]
fn m_a_clean_target_that_was_turned_on_by_hand_is_used_after_a_power_cut_too() {
    let room = Room::new();
    room.settle(&cafe(1));
    let target = room.target("pc01", "alpha");
    let (volume, _) = room.disk(&target, 0);
    room.host.system().configfs.write(&format!("iscsi/{target}/tpgt_1/enable"), "1").expect("on");
    room.host.login(&target, PC01).expect("logs in");
    room.host.write(&target, PC01, 0, 4096).expect("writes");
    room.host.logout(&target, PC01);
    room.apply(&cafe(1));
    room.host.reboot();
    room.restart_agent();
    room.apply(&cafe(1));
    room.apply(&cafe(1));
    let next = room.boot(&cafe(1), "pc01", "alpha");
    assert_ne!(room.disk(&next, 0).0, volume);
    assert_eq!(room.disk(&next, 0).1.writes, 0);
}

#[test]
fn a_disk_that_another_takes_the_place_of_comes_back_to_whoever_works_on_it() {
    let room = Room::new();
    room.settle(&cafe(1));
    let target = room.work(&cafe(1), "pc01", "alpha");
    let (volume, content) = room.disk(&target, 1);
    let updated = with(
        &cafe(1),
        "images/games.toml",
        &disk("games", "on-update", "1", &["1"], "role = \"data\""),
        &disk("games", "on-update", "2", &["1", "2"], "role = \"data\""),
    );
    room.settle(&updated);
    // Anybody can say that the machine boots; it works on, also through a start of the server.
    let other = room.boot(&updated, "pc01", "alpha");
    assert_ne!(other, target);
    room.host.reboot();
    room.carry_out(&updated);
    assert_eq!(room.disk(&target, 1), (volume, content), "its own disk, as it left it");
}
