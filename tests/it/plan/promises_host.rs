//! Wrong content, wrong host state: other tools, cut runs, what LVM and the kernel refuse, a site that looks elsewhere.

use crate::room::{Files, PC01, PREFIX, QUIET, Room, cafe, disk, flat, hasty, machines, prepare, text, with};
use barista::host::{Kind, Output};
use barista::plan::assign::Decision;
use barista::plan::{self, Change, Gate, Hold, Plan, Report, Revision, Subject, Targets};
use std::{fs, time::Duration};

/// Takes a target down by hand with its backstores, as `targetctl clear` does.
pub fn take_down(room: &Room, target: &str) {
    let tree = room.host.system().configfs;
    let tpg = format!("iscsi/{target}/tpgt_1");
    let empty = |directory: &str| {
        for (name, _) in tree.list(directory).expect("readable").into_iter().filter(|(name, _)| name.starts_with("lun_")) {
            let lun = format!("{directory}/{name}");
            for (link, _) in tree.list(&lun).expect("readable").into_iter().filter(|(_, kind)| *kind == Kind::Link) {
                tree.unlink(&format!("{lun}/{link}")).expect("unlinked");
            }
            tree.rmdir(&lun).expect("removed");
        }
    };
    tree.write(&format!("{tpg}/enable"), "0").expect("off");
    for (acl, _) in tree.list(&format!("{tpg}/acls")).expect("readable") {
        empty(&format!("{tpg}/acls/{acl}"));
        tree.rmdir(&format!("{tpg}/acls/{acl}")).expect("removed");
    }
    let backstores: Vec<String> = tree.list("core").expect("readable").into_iter().map(|(name, _)| name).collect();
    empty(&format!("{tpg}/lun"));
    for (portal, _) in tree.list(&format!("{tpg}/np")).expect("readable") {
        tree.rmdir(&format!("{tpg}/np/{portal}")).expect("removed");
    }
    tree.rmdir(&tpg).expect("removed");
    tree.rmdir(&format!("iscsi/{target}")).expect("removed");
    for hba in backstores.iter().filter(|name| name.starts_with("iblock_")) {
        for (name, kind) in tree.list(&format!("core/{hba}")).expect("readable") {
            // Refused where another target shows it.
            if kind == Kind::Directory && tree.rmdir(&format!("core/{hba}/{name}")).is_ok() {
                tree.rmdir(&format!("core/{hba}")).expect("removed");
            }
        }
    }
}

fn apply_part(room: &Room, files: &Files, globs: &[&str]) -> (Plan, Report) {
    let prepared = prepare(files);
    let globs: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
    let revision = Revision { id: "test".into(), subject: String::new() };
    let targets = Targets::parse(&globs).expect("globs");
    let plan = plan::compute(&prepared, &room.observe(&prepared), revision, &targets);
    let report = room.carry(&prepared, &plan);
    (plan, report)
}

#[test]
fn m_a_disk_that_was_used_stays_used_when_another_tool_clears_its_target() {
    for is_asked_again in [false, true] {
        let room = Room::new();
        room.settle(&cafe(1));
        let target = room.work(&cafe(1), "pc01", "alpha");
        let (volume, _) = room.disk(&target, 0);
        room.host.logout(&target, PC01);
        take_down(&room, &target);
        room.restart_agent();
        room.keep_as_case("m_another_tool_cleared_a_used_disks_target", &cafe(1));
        if is_asked_again {
            room.settle(&cafe(1));
        } else {
            room.pass(&cafe(1), Duration::from_secs(600));
            room.settle(&cafe(1));
        }
        assert!(room.is_open(&target, "pc01"), "it is shown again under its own name");
        let next = room.boot(&cafe(1), "pc01", "alpha");
        assert_ne!(room.disk(&next, 0).0, volume);
        assert_eq!(room.disk(&next, 0).1.writes, 0, "the next customer gets nobody's leftovers");
    }
}

#[test]
fn n_a_held_disk_takes_no_target_down() {
    let room = Room::new();
    room.settle(&cafe(1));
    let mut update = cafe(1);
    let games =
        disk("games", "on-update", "2", &["1"], "role = \"data\"") + "[[version]]\nname = \"2\"\nsource = \"games-2.raw\"\n";
    update.insert("images/games.toml".into(), games);
    let used = room.use_seat(&update, "pc01", "alpha");
    room.keep_as_case("n_a_data_disks_source_is_missing", &update);
    room.carry_out(&update);
    assert!(room.is_open(&used, "pc01"));
    room.pass(&update, Duration::from_secs(80));
    let next = room.work(&update, "pc01", "alpha");
    room.pass(&update, Duration::from_secs(80));
    room.carry_out(&update);
    // What has moved on is gone now, and the next look makes a clean disk.
    room.carry_out(&update);
    room.host.logout(&next, PC01);
    room.boot(&update, "pc01", "alpha");
    assert_eq!(room.table().machines.values().next().expect("pc01").default, "alpha");
}

#[test]
fn n_a_part_of_the_site_touches_nothing_else() {
    let room = Room::new();
    room.settle(&cafe(1));
    let beta = room.target("pc01", "beta");
    let moved = with(&cafe(1), "site.toml", "address = \"192.168.77.1\"", "address = \"192.168.77.9\"");
    let before = room.host.effects().len();
    let (plan, _) = apply_part(&room, &moved, &["pc01.alpha"]);
    let effects = room.host.effects()[before..].to_vec();
    assert!(!effects.iter().any(|effect| effect.contains("beta")), "{effects:?}\n{}", text(&plan));
    assert!(plan.changes.iter().any(|change| change.gate == Gate::Held(Hold::NotTargeted)));
    assert!(room.is_open(&beta, "pc01"));
}

#[test]
fn o_targets_of_disks_come_back_after_a_power_cut_while_a_plan_is_held_for_too_much() {
    let versions = |list: &[&str]| {
        let mut files = cafe(2);
        files.insert("images/alpha.toml".into(), disk("alpha", "every-boot", "3", list, "data-disks = [\"games\"]"));
        files
    };
    let room = Room::new();
    room.settle(&versions(&["1", "2", "3"]));
    let beta = room.work(&versions(&["1", "2", "3"]), "pc01", "beta");
    let next = with(&versions(&["3"]), "images/beta.toml", "64MiB", "128MiB");
    let next = with(&next, "site.toml", "max-destroy = 50", "max-destroy = 1");
    let next = with(&next, "site.toml", "may-destroy = []", "may-destroy = [\"alpha@1\", \"alpha@2\"]");
    room.apply(&next);
    room.host.reboot();
    room.keep_as_case("o_a_power_cut_while_too_much_is_held", &next);
    for _ in 0..2 {
        let (plan, _) = room.apply(&next);
        assert!(plan.held().any(|(_, hold)| matches!(hold, Hold::TooMuch { .. })), "{}", text(&plan));
        assert!(room.is_open(&beta, "pc01") && room.is_open(&room.target("pc02", "beta"), "pc02"), "{}", text(&plan));
        room.boot(&next, "pc02", "alpha");
        room.host.advance(Duration::from_secs(86_400));
    }
}

#[test]
fn p_after_a_power_cut_targets_come_before_anything_is_filled() {
    let room = Room::new();
    room.settle(&cafe(2));
    let mut update = cafe(2);
    update.insert("images/alpha.toml".into(), disk("alpha", "every-boot", "2", &["1", "2"], "data-disks = [\"games\"]"));
    room.host.reboot();
    room.keep_as_case("p_a_power_cut_and_a_new_version", &update);
    let before = room.host.effects().len();
    room.carry_out(&update);
    let effects = room.host.effects()[before..].to_vec();
    let fill = effects.iter().position(|effect| effect.starts_with("write /dev/")).expect("is filled");
    let opens = |effect: &&String| effect.contains(".beta") && effect.ends_with("tpgt_1/enable");
    assert_eq!(effects[..fill].iter().filter(opens).count(), 2, "{effects:?}");
    assert_eq!(effects[fill..].iter().filter(opens).count(), 0, "{effects:?}");
}

#[test]
fn q_a_renewal_that_fails_leaves_no_seat_without_a_disk() {
    let mut update = cafe(1);
    update.insert("images/alpha.toml".into(), disk("alpha", "every-boot", "2", &["1", "2"], "data-disks = [\"games\"]"));
    for n in (1..60).step_by(2) {
        let room = Room::new();
        room.settle(&cafe(1));
        let before = room.host.effects().len();
        room.host.fail_at(n);
        room.apply(&update);
        let is_over = room.host.effects().len() - before < n as usize;
        room.host.revive();
        let told = room.ask_after(&update, "pc01", "alpha", Duration::from_secs(60));
        assert!(matches!(told, Decision::Give(_)), "after a failure of effect {n}: {told:?}");
        if is_over {
            assert!(n > 10);
            return;
        }
    }
}

#[test]
fn q_a_disk_that_lvm_does_not_remove_keeps_nobody_from_booting() {
    let room = Room::new();
    room.settle(&cafe(2));
    room.use_seat(&cafe(2), "pc01", "alpha");
    room.settle(&cafe(2));
    let second = room.work(&cafe(2), "pc01", "alpha");
    room.pass(&cafe(2), Duration::from_secs(80));
    let refused = Output { status: Some(5), stdout: String::new(), stderr: "  Manual intervention may be required\n".into() };
    room.host.answer("lvremove", refused);
    for _ in 0..3 {
        room.apply(&cafe(2));
        room.host.advance(Duration::from_secs(10));
    }
    assert_eq!(room.host.sessions(&second), 1);
    assert!(room.is_open(&room.boot(&cafe(2), "pc02", "alpha"), "pc02"), "the others go on");
}

#[test]
fn q_a_disk_that_a_strangers_target_shows_is_held_and_its_seat_boots_another() {
    let room = Room::new();
    room.settle(&cafe(1));
    let first = room.work(&cafe(1), "pc01", "alpha");
    let (volume, _) = room.disk(&first, 0);
    let tree = room.host.system().configfs;
    let lun = "iscsi/iqn.2001-04.com.op:x/tpgt_1/lun/lun_0";
    for path in ["iscsi/iqn.2001-04.com.op:x", "iscsi/iqn.2001-04.com.op:x/tpgt_1", lun] {
        tree.mkdir(path).expect("made");
    }
    let directory = format!("iscsi/{first}/tpgt_1/lun/lun_0");
    let link = tree.list(&directory).expect("readable").into_iter().find(|(_, kind)| *kind == Kind::Link).expect("a link").0;
    let backstore = tree.read_link(&format!("{directory}/{link}")).expect("a link");
    tree.symlink(&backstore, &format!("{lun}/x")).expect("linked");
    room.settle(&cafe(1));
    room.host.logout(&first, PC01);
    let second = room.work(&cafe(1), "pc01", "alpha");
    room.pass(&cafe(1), Duration::from_secs(80));
    room.keep_as_case("q_a_strangers_target_shows_a_used_disk", &cafe(1));
    for _ in 0..2 {
        let (plan, _) = room.apply(&cafe(1));
        assert!(plan.changes.iter().any(|change| matches!(change.gate, Gate::Held(Hold::Foreign { .. }))), "{}", text(&plan));
    }
    assert!(room.host.content("cafe", &volume).is_some() && room.host.sessions(&second) == 1);
}

#[test]
fn u_nothing_is_published_anew_while_neither_the_table_nor_the_disks_can_be_read() {
    let room = Room::new();
    room.settle(&cafe(2));
    let path = room.state.path().join(barista::boot::table::PATH);
    let published = fs::read_to_string(&path).expect("published");
    let (before, after) = published.split_once("\"version\"").expect("a version");
    let newer = format!("{before}\"version\": 99,{}", after.split_once(',').expect("more").1);
    fs::write(&path, &newer).expect("written");
    let refusal = Output { status: Some(5), stdout: String::new(), stderr: "  Can't get lock for cafe\n".into() };
    ["vgs", "lvs"].into_iter().for_each(|program| room.host.answer(program, refusal.clone()));
    room.keep_as_case("u_a_newer_table_and_a_group_that_cannot_be_read", &cafe(2));
    let (plan, _) = room.apply(&cafe(2));
    assert_eq!(fs::read_to_string(&path).expect("there"), newer, "{}", text(&plan));
}

#[test]
fn v_a_site_that_looks_elsewhere_is_held_and_leaves_nothing_behind_in_silence() {
    let other_group = with(&cafe(1), "site.toml", "volume-group = \"cafe\"", "volume-group = \"other\"");
    let other_pool = with(&cafe(1), "site.toml", "create-pool = true", "create-pool = true\nthin-pool = \"another\"");
    let other_prefix = with(&cafe(1), "site.toml", "iqn.2026-11.example.cat", "iqn.2026-11.example.cats");
    let mut no_disks = cafe(1);
    for file in ["images/alpha.toml", "images/beta.toml", "images/games.toml"] {
        no_disks.remove(file);
    }
    no_disks.insert("images/hd.toml".into(), "kind = \"local\"\n".into());
    no_disks.insert("machines/row.toml".into(), machines(&["pc01".to_owned()], "\"hd\""));
    let no_disks = with(&no_disks, "site.toml", "[storage]\nvolume-group = \"cafe\"\ncreate-pool = true\n", "");
    let no_disks = with(&no_disks, "site.toml", "[iscsi]\niqn-prefix = \"iqn.2026-11.example.cat\"\n", "");
    for (files, what) in [(other_group, "group"), (other_pool, "pool"), (other_prefix, "prefix"), (no_disks, "none")] {
        let room = Room::new();
        room.host.add_vg("other", 1 << 40);
        room.settle(&cafe(1));
        let target = room.work(&cafe(1), "pc01", "beta");
        let written = room.host.content("cafe", "seat.pc01.beta.a");
        room.keep_as_case(&format!("v_the_site_looks_elsewhere_{what}"), &files);
        let before = room.host.effects().len();
        for _ in 0..2 {
            let (plan, _) = room.apply(&files);
            assert!(plan.held().any(|(_, hold)| matches!(hold, Hold::LeftBehind { .. })), "{what}: {}", text(&plan));
            // What machines are told stays, but for what the commit itself says of them.
            let is_told = |change: &Change| matches!(change.subject, Subject::Boot { .. } | Subject::Table);
            assert!(!plan.open().any(is_told) || matches!(what, "prefix" | "none"), "{what}: {}", text(&plan));
        }
        let effects: Vec<String> =
            room.host.effects()[before..].iter().filter(|effect| !effect.ends_with("/commands")).cloned().collect();
        assert_eq!(effects, Vec::<String>::new(), "{what}");
        assert_eq!((room.host.sessions(&target), room.host.content("cafe", "seat.pc01.beta.a")), (1, written), "{what}");
        room.settle(&cafe(1));
    }
}

#[test]
fn x_a_rebuild_that_was_cut_anywhere_by_a_power_cut_or_a_kill_is_finished() {
    let moved = with(&hasty(&cafe(1)), "site.toml", "address = \"192.168.77.1\"", "address = \"192.168.77.9\"");
    for n in (1..80).step_by(3) {
        for is_power_cut in [false, true] {
            let room = Room::new();
            room.settle(&cafe(1));
            let target = room.use_seat(&cafe(1), "pc01", "beta");
            let disk = room.disk(&target, 0);
            room.pass(&moved, QUIET);
            let before = room.host.effects().len();
            room.host.crash_at(n);
            room.apply(&moved);
            room.host.revive();
            if room.host.effects().len() - before < n as usize {
                assert!(n > 10);
                return;
            }
            if is_power_cut {
                room.host.reboot();
            }
            if n == 19 && is_power_cut {
                room.keep_as_case("x_a_rebuild_was_cut_by_a_power_cut", &moved);
            }
            room.apply(&moved);
            room.apply(&moved);
            let target = room.boot(&moved, "pc01", "beta");
            assert!(room.is_open(&target, "pc01"), "after effect {n}: {}", flat(&room.plan(&moved)));
            assert_eq!(room.disk(&target, 0), disk, "after effect {n}");
            assert!(room.host.login(&target, &format!("{PREFIX}:pc02")).is_err());
        }
    }
}
