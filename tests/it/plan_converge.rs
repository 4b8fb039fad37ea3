//! Plan and apply together on the fake host: whatever the start and wherever it is cut off, the next run finishes.

use crate::room::{ALPHA, BETA, Files, PC01, Room, cafe, disk, empty, machines, text, with};
use barista::host::fake::FakeHost;
use barista::plan::{Disruption, Op, Outcome, Step};
use barista::site::{Entry, Tree, load};
use std::time::Duration;

const CONVERGED: &str = "No changes. The host matches test.\n";

fn names(files: &[&str]) -> Vec<String> {
    files.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_new_café_is_there_after_one_apply() {
    let room = Room::new();
    room.settle(&cafe(3));
    assert_eq!(room.table().machines.len(), 3);
}

#[test]
fn everything_goes_by_an_empty_but_consenting_site_and_comes_back() {
    let room = Room::new();
    room.settle(&cafe(3));
    let before = room.table();
    room.settle(&empty());
    assert!(room.table().machines.is_empty());
    room.settle(&cafe(3));
    assert_eq!(room.table(), before);
}

/// How many effects going from one site to another takes.
fn effects(from: Option<&Files>, to: &Files) -> u64 {
    let room = Room::new();
    from.into_iter().for_each(|files| room.settle(files));
    let before = room.host.effects().len();
    room.settle(to);
    (room.host.effects().len() - before) as u64
}

/// Goes from one site to another with a fault at each effect in turn, and insists that the next run finishes.
fn survive(from: Option<&Files>, to: &Files, fault: fn(&FakeHost, u64)) {
    for n in 1..=effects(from, to) {
        let room = Room::new();
        from.into_iter().for_each(|files| room.settle(files));
        fault(&room.host, n);
        let (_, report) = room.apply(to);
        assert!(!report.outcomes.iter().any(|(_, _, outcome)| matches!(outcome, Outcome::Stuck(_))), "{report:?} at effect {n}");
        room.host.revive();
        let (plan, report) = room.apply(to);
        for (_, subject, outcome) in &report.outcomes {
            assert_eq!(*outcome, Outcome::Done, "{subject} after a fault at effect {n}\n{}", text(&plan));
        }
        assert_eq!(text(&room.plan(to)), CONVERGED, "after a fault at effect {n}");
    }
}

/// A site that is two updates and a rename away from `cafe(2)`.
fn another() -> Files {
    let mut files = cafe(2);
    files.insert("images/alpha.toml".into(), disk("alpha", "every-boot", "2", &["2"], "data-disks = [\"games\"]"));
    let list =
        format!("moved = [{{ from = \"pc02\", to = \"pc03\" }}]\n{}", machines(&names(&["pc01", "pc03"]), "\"beta\", \"alpha\""));
    files.insert("machines/row.toml".into(), list);
    with(&files, "site.toml", "may-destroy = []", "may-destroy = [\"alpha@1\"]")
}

#[test]
fn a_run_that_is_cut_off_at_any_effect_is_finished_by_the_next() {
    survive(None, &cafe(2), FakeHost::crash_at);
}

#[test]
fn a_single_failure_anywhere_is_mended_by_the_next_run() {
    survive(None, &cafe(2), FakeHost::fail_at);
}

#[test]
fn a_removal_that_is_cut_off_at_any_effect_is_finished_by_the_next() {
    survive(Some(&cafe(2)), &empty(), FakeHost::crash_at);
}

#[test]
fn an_update_with_a_rename_that_is_cut_off_at_any_effect_is_finished_by_the_next() {
    survive(Some(&cafe(2)), &another(), FakeHost::crash_at);
    survive(Some(&cafe(2)), &another(), FakeHost::fail_at);
}

#[test]
fn a_seat_with_a_session_is_held_and_changed_when_it_leaves() {
    let room = Room::new();
    room.settle(&cafe(2));
    room.host.login(ALPHA, PC01).expect("logs in");
    let mut update = cafe(2);
    update.insert("images/alpha.toml".into(), disk("alpha", "every-boot", "2", &["1", "2"], "data-disks = [\"games\"]"));
    let (plan, _) = room.apply(&update);
    let held: Vec<String> = plan.held().map(|(change, hold)| format!("{} {hold}", change.subject)).collect();
    assert!(held.iter().any(|line| line.contains("seat.pc01.alpha.a pc01 is in use")), "{held:?}");
    assert_eq!(room.host.sessions(ALPHA), 1, "nobody was cut");
    assert!(!text(&plan).contains("! volume  cafe/seat.pc02"), "{}", text(&plan));
    room.host.logout(ALPHA, PC01);
    room.apply(&update);
    room.host.advance(Duration::from_secs(120));
    room.apply(&update);
    assert_eq!(text(&room.plan(&update)), CONVERGED);
}

#[test]
fn a_machine_between_its_firmware_and_its_system_is_not_disturbed() {
    let room = Room::new();
    room.settle(&cafe(1));
    room.fetch("52:54:00:77:00:01");
    room.host.login_firmware(ALPHA, PC01).expect("logs in");
    room.host.logout(ALPHA, PC01);
    let gone = with(&cafe(1), "machines/row.toml", "\"alpha\", \"beta\"", "\"beta\"");
    let (plan, _) = room.apply(&gone);
    assert!(plan.held().count() >= 2, "{}", text(&plan));
    assert!(text(&plan).contains("fetched its boot script"), "{}", text(&plan));
}

#[test]
fn an_every_boot_clone_that_was_written_is_made_anew_when_the_seat_is_off() {
    let room = Room::new();
    room.settle(&cafe(2));
    room.host.login(ALPHA, PC01).expect("logs in");
    room.host.write(ALPHA, PC01, 0, 1 << 20).expect("writes");
    let plan = room.plan(&cafe(2));
    let due = "  note: reset: pc01.alpha: used, and made anew once the machine is off\nNo changes. The host matches test.\n";
    assert_eq!(text(&plan), due);
    room.host.logout(ALPHA, PC01);
    room.pass(&cafe(2));
    room.settle(&cafe(2));
    assert_eq!(room.host.content("cafe", "seat.pc01.alpha.a").map(|content| content.writes), Some(0));
    assert_eq!(room.host.content("cafe", "seat.pc02.alpha.a").map(|content| content.writes), Some(0));
}

#[test]
fn a_clone_that_is_never_reset_outlives_updates_and_removal_without_consent() {
    let room = Room::new();
    room.settle(&cafe(1));
    room.use_seat(&cafe(1), BETA, PC01);
    let written = room.host.content("cafe", "seat.pc01.beta.a");
    let mut update = cafe(1);
    update.insert("images/beta.toml".into(), disk("beta", "never", "2", &["1", "2"], ""));
    room.apply(&update);
    assert_eq!(room.host.content("cafe", "seat.pc01.beta.a"), written);
    let alone = with(&update, "machines/row.toml", "\"alpha\", \"beta\"", "\"alpha\"");
    let (plan, _) = room.apply(&alone);
    assert!(text(&plan).contains("may-destroy"), "{}", text(&plan));
    assert_eq!(room.host.content("cafe", "seat.pc01.beta.a"), written);
    let consent = with(&alone, "site.toml", "may-destroy = []", "may-destroy = [\"pc01.beta\"]");
    room.apply(&consent);
    assert_eq!(room.host.content("cafe", "seat.pc01.beta.a"), None);
}

#[test]
fn changing_a_policy_does_not_throw_away_what_was_to_be_kept() {
    let room = Room::new();
    room.settle(&cafe(1));
    let loose = with(&cafe(1), "images/beta.toml", "\"never\"", "\"every-boot\"");
    room.use_seat(&loose, BETA, PC01);
    let (plan, _) = room.apply(&loose);
    assert!(text(&plan).contains("\"pc01.beta\" to may-destroy"), "{}", text(&plan));
    assert_ne!(room.host.content("cafe", "seat.pc01.beta.a").map(|content| content.writes), Some(0));
}

#[test]
fn a_version_is_kept_while_it_has_clones_and_goes_only_by_consent() {
    let room = Room::new();
    room.settle(&cafe(1));
    let mut update = cafe(1);
    update.insert("images/beta.toml".into(), disk("beta", "never", "2", &["2"], ""));
    let (plan, _) = room.apply(&update);
    assert!(text(&plan).contains("img.beta.1"), "{}", text(&plan));
    assert!(room.host.content("cafe", "img.beta.1").is_some());
    let consent = with(&update, "site.toml", "may-destroy = []", "may-destroy = [\"beta@1\"]");
    let (plan, _) = room.apply(&consent);
    assert!(text(&plan).contains("1 clones of it remain") || text(&plan).contains("clone"), "{}", text(&plan));
    assert!(room.host.content("cafe", "img.beta.1").is_some(), "a clone of it remains");
    let both = with(&update, "site.toml", "may-destroy = []", "may-destroy = [\"beta@1\", \"pc01.beta\"]");
    room.apply(&both);
    assert!(room.host.content("cafe", "img.beta.1").is_none());
    assert_eq!(text(&room.plan(&both)), CONVERGED);
}

#[test]
fn a_renamed_machine_keeps_its_data() {
    let room = Room::new();
    room.settle(&cafe(1));
    room.use_seat(&cafe(1), BETA, PC01);
    let written = room.host.content("cafe", "seat.pc01.beta.a");
    let mut renamed = cafe(1);
    let list =
        format!("moved = [{{ from = \"pc01\", to = \"seat01\" }}]\n{}", machines(&names(&["seat01"]), "\"alpha\", \"beta\""));
    renamed.insert("machines/row.toml".into(), list);
    room.settle(&renamed);
    assert_eq!(room.host.content("cafe", "seat.seat01.beta.a"), written);
    assert_eq!(room.host.content("cafe", "seat.pc01.beta.a"), None);
}

#[test]
fn a_machine_that_runs_under_its_old_name_is_renamed_when_it_leaves() {
    let room = Room::new();
    room.settle(&cafe(2));
    room.host.login(BETA, PC01).expect("logs in");
    let mut renamed = cafe(2);
    let list =
        format!("moved = [{{ from = \"pc01\", to = \"pc09\" }}]\n{}", machines(&names(&["pc02", "pc09"]), "\"alpha\", \"beta\""));
    renamed.insert("machines/row.toml".into(), list);
    let (plan, _) = room.apply(&renamed);
    assert!(text(&plan).contains("held: pc01 is in use"), "{}", text(&plan));
    assert_eq!(room.host.sessions(BETA), 1);
    assert!(room.host.content("cafe", "seat.pc01.beta.a").is_some(), "nothing moved beneath it");
    assert!(room.table().machines.keys().any(|name| name.as_str() == "pc01"), "its address and its way back in stay");
    room.host.logout(BETA, PC01);
    room.pass(&renamed);
    room.settle(&renamed);
}

#[test]
fn a_renamed_image_keeps_its_volumes() {
    let room = Room::new();
    room.settle(&cafe(1));
    let mut renamed = with(&cafe(1), "machines/row.toml", "\"alpha\", \"beta\"", "\"alpha\", \"gamma\"");
    let beta = renamed.remove("images/beta.toml").expect("is there");
    renamed.insert("images/gamma.toml".into(), format!("moved = [{{ from = \"beta\", to = \"gamma\" }}]\n{beta}"));
    room.settle(&renamed);
    assert!(room.host.content("cafe", "img.gamma.1").is_some_and(|content| content.file.is_some()));
    assert!(room.host.content("cafe", "img.beta.1").is_none());
    assert!(room.host.content("cafe", "seat.pc01.gamma.a").is_some());
}

#[test]
fn an_image_that_grows_grows_its_clones_and_disturbs_nobody() {
    let room = Room::new();
    room.settle(&cafe(1));
    room.host.login(ALPHA, PC01).expect("logs in");
    let grown = with(&cafe(1), "images/alpha.toml", "64MiB", "128MiB");
    let (plan, _) = room.apply(&grown);
    assert_eq!(plan.held().count(), 0, "{}", text(&plan));
    assert_eq!(room.host.sessions(ALPHA), 1);
    assert_eq!(text(&room.plan(&grown)), CONVERGED);
}

#[test]
fn a_plan_that_destroys_too_much_is_held_whole() {
    let room = Room::new();
    room.settle(&cafe(4));
    let few = with(&cafe(1), "site.toml", "max-destroy = 50", "max-destroy = 5");
    let effects = room.host.effects().len();
    let (plan, _) = room.apply(&few);
    assert!(plan.is_converged() && plan.held().count() > 5, "{}", text(&plan));
    assert_eq!(room.host.effects().len(), effects);
}

#[test]
fn no_step_takes_anything_away_that_no_change_admits() {
    let room = Room::new();
    room.settle(&cafe(2));
    let mut update = cafe(2);
    update.insert("images/alpha.toml".into(), disk("alpha", "every-boot", "2", &["2"], "data-disks = [\"games\"]"));
    let update = with(&update, "site.toml", "may-destroy = []", "may-destroy = [\"*\"]");
    for files in [update, empty(), cafe(1)] {
        let plan = room.plan(&files);
        for step in &plan.steps {
            let takes: Vec<_> = match step {
                Step::Ops { change, ops } => ops.iter().filter(|op| takes_away(op)).map(|_| *change).collect(),
                Step::LvmMany { words, volumes } if words[0] == "lvremove" => volumes.iter().map(|(change, _)| *change).collect(),
                Step::LvmBatch(commands) => {
                    commands.iter().filter(|(_, words)| words[0] == "lvremove").map(|(change, _)| *change).collect()
                }
                _ => Vec::new(),
            };
            for id in takes {
                let change = &plan.changes[id.0 as usize];
                assert_ne!(change.disruption, Disruption::None, "{change:?}");
            }
        }
    }
}

fn takes_away(op: &Op) -> bool {
    use barista::plan::ConfigFsOp::{Rmdir, Unlink, Write};
    match op {
        Op::ConfigFs(Rmdir(_) | Unlink(_)) => true,
        Op::ConfigFs(Write { path, value }) => path.ends_with("enable") && value == "0",
        Op::Run(words) => words[0] == "lvremove",
        _ => false,
    }
}

#[test]
fn the_same_site_and_host_give_the_same_plan_to_the_byte() {
    let room = Room::new();
    let once = serde_json::to_string(&room.plan(&cafe(5))).expect("serialises");
    assert_eq!(once, serde_json::to_string(&room.plan(&cafe(5))).expect("serialises"));
}

#[test]
fn every_change_comes_after_what_it_waits_for() {
    let room = Room::new();
    room.settle(&cafe(2));
    let renamed = format!("moved = [{{ from = \"pc01\", to = \"seat01\" }}]\n{}", machines(&names(&["seat01"]), "\"alpha\""));
    let mut files = cafe(2);
    files.insert("machines/row.toml".into(), renamed);
    for plan in [room.plan(&files), room.plan(&empty()), Room::new().plan(&cafe(3))] {
        for (place, change) in plan.changes.iter().enumerate() {
            assert!(change.after.iter().all(|after| (after.0 as usize) < place), "{change:?}");
        }
    }
}

#[test]
fn a_stranger_on_every_address_of_the_port_is_named_before_anything_fails() {
    let room = Room::new();
    room.host.load_lio();
    let tree = room.host.system().configfs;
    for path in ["iscsi", "iscsi/iqn.2001-04.com.stranger:x", "iscsi/iqn.2001-04.com.stranger:x/tpgt_1"] {
        tree.mkdir(path).expect("makes it");
    }
    tree.mkdir("iscsi/iqn.2001-04.com.stranger:x/tpgt_1/np/0.0.0.0:3260").expect("listens");
    let (plan, _) = room.apply(&cafe(1));
    assert!(text(&plan).contains("iqn.2001-04.com.stranger:x, which listens on every address of port 3260"), "{}", text(&plan));
    tree.rmdir("iscsi/iqn.2001-04.com.stranger:x/tpgt_1/np/0.0.0.0:3260").expect("stops");
    room.settle(&cafe(1));
}

#[test]
fn a_pool_below_its_reserve_takes_no_new_seat_and_still_resets_the_old_ones() {
    let room = Room::new();
    room.host.add_pool("cafe", "pool", 128 << 20);
    room.settle(&cafe(1));
    room.use_seat(&cafe(1), ALPHA, PC01);
    room.host.fill_pool("cafe", "seat.pc01.beta.a", 64 << 20);
    room.host.fill_pool("cafe", "seat.pc01.games.a", 56 << 20);
    let (plan, _) = room.apply(&cafe(2));
    assert!(text(&plan).contains("! volume  cafe/seat.pc02.alpha.a"), "{}", text(&plan));
    assert!(text(&plan).contains("the site reserves 10%"), "{}", text(&plan));
    assert!(!room.table().machines.keys().any(|name| name.as_str() == "pc02"), "nobody is sent to a disk that is not there");
    assert_eq!(room.host.content("cafe", "seat.pc01.alpha.a").map(|content| content.writes), Some(0));
}

#[test]
fn a_template_that_names_nothing_known_is_a_finding_with_its_line_and_what_it_may_name() {
    let mut files = cafe(1);
    files.insert("templates/machine.ipxe".into(), "#!ipxe\necho {{ machine.colour }}\n".into());
    let entries = files.into_iter().map(|(path, text)| (path, Entry::File(text.into_bytes()))).collect();
    let site = load(&Tree { entries }).site.expect("its TOML is fine");
    let findings = barista::plan::prepare(&site).expect_err("no such value");
    let shown: String = findings.iter().map(ToString::to_string).collect();
    assert!(shown.starts_with("error: templates/machine.ipxe:2:1: the template does not render"), "{shown}");
    assert!(shown.contains("2 | echo {{ machine.colour }}") && shown.contains("machine.name"), "{shown}");
}
