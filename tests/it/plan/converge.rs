//! Plan and apply together on the fake host: whatever the start and wherever it is cut off, the next run finishes.

use crate::room::{Files, NIGHT, PC01, QUIET, Room, cafe, disk, empty, flat, hasty, machines, text, with};
use barista::host::{Output, fake::FakeHost};
use barista::plan::assign::{Decision, Wait};
use barista::plan::{Action, DiskOp, Disruption, ExportOp, Hold, Outcome, Reason, Sign, Step, Subject};
use barista::site::{Entry, Tree, load};

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
fn modules_that_are_loaded_are_not_asked_of_modprobe_which_sees_no_files_within_a_unit() {
    let room = Room::new();
    room.host.load_lio();
    room.host.answer("modprobe", Output { status: Some(1), ..Output::default() });
    room.settle(&cafe(3));
    assert_eq!(room.table().machines.len(), 3);
}

#[test]
fn everything_goes_by_an_empty_but_consenting_site_and_comes_back() {
    let room = Room::new();
    room.settle(&cafe(3));
    let before = room.table();
    let empty = hasty(&empty());
    room.carry_out(&empty);
    assert!(!room.table().machines.is_empty(), "disks of every boot were offered: their machines may be on");
    room.pass(&empty, QUIET);
    room.settle(&empty);
    assert!(room.table().machines.is_empty());
    assert_eq!(room.volumes(&empty), ["pool"]);
    room.settle(&cafe(3));
    let names = |table: &barista::boot::table::BootTable| table.machines.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&room.table()), names(&before));
}

/// How one gets from one site to another: what one apply does, and what is done once machines are known to be off.
fn go(room: &Room, to: &Files) {
    let (plan, _) = room.apply(to);
    if plan.held().next().is_some() {
        room.pass(to, QUIET);
        room.apply(to);
    }
}

/// How many effects going from one site to another takes.
fn effects(from: Option<&Files>, to: &Files) -> u64 {
    let room = Room::new();
    from.into_iter().for_each(|files| room.settle(files));
    let before = room.host.effects().len();
    go(&room, to);
    let count = (room.host.effects().len() - before) as u64;
    room.carry_out(to);
    room.settle(to);
    count
}

/// Goes from one site to another with a fault at each effect in turn, and insists that the next run finishes.
fn survive(from: Option<&Files>, to: &Files, fault: fn(&FakeHost, u64)) {
    let to = &hasty(to);
    let count = effects(from, to);
    // Every effect where there are few, and a different share of many for each transition.
    for n in (1 + count % 3..=count).step_by((count as usize).div_ceil(40)) {
        let room = Room::new();
        from.into_iter().for_each(|files| room.settle(files));
        fault(&room.host, n);
        let (_, report) = room.apply(to);
        assert!(!report.outcomes.iter().any(|(_, _, outcome)| matches!(outcome, Outcome::Stuck(_))), "{report:?} at effect {n}");
        let (plan, _) = room.apply(to);
        let waits = plan.held().next().is_some();
        if waits {
            room.pass(to, QUIET);
            room.apply(to);
        }
        room.host.revive();
        if waits {
            // A target that was put up anew has been silent for no time.
            room.apply(to);
            room.pass(to, QUIET);
        }
        let (plan, mut report) = room.apply(to);
        let is_shown_later =
            |change: &barista::plan::Change| change.action == Action::Rename || change.reason == Reason::NotShown;
        if plan.open().any(is_shown_later) {
            // A disk that got another name, or had half a backstore, is shown by the next look.
            report = room.apply(to).1;
        }
        for (_, subject, outcome) in &report.outcomes {
            assert_eq!(*outcome, Outcome::Done, "{subject} after a fault at effect {n}\n{}", text(&plan));
        }
        let after = room.plan(to);
        assert_eq!(room.left(to), CONVERGED, "after a fault at effect {n}, and\n{}", text(&plan));
        assert!(after.is_converged(), "after a fault at effect {n}\n{after:#?}");
        assert_eq!(room.host.crashes(), Vec::<String>::new());
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

/// A minute and two looks: as long as a machine takes to have moved.
const MOVED: std::time::Duration = std::time::Duration::from_secs(80);

#[test]
fn a_seat_with_a_session_is_left_alone_and_gets_the_new_version_at_its_next_boot() {
    let room = Room::new();
    room.settle(&cafe(2));
    let before = room.work(&cafe(2), "pc01", "alpha");
    let mut update = cafe(2);
    update.insert("images/alpha.toml".into(), disk("alpha", "every-boot", "2", &["1", "2"], "data-disks = [\"games\"]"));
    room.settle(&update);
    assert_eq!(room.host.sessions(&before), 1, "nobody was cut");
    room.host.logout(&before, PC01);
    let after = room.work(&update, "pc01", "alpha");
    assert_ne!(after, before);
    room.pass(&update, MOVED);
    room.settle(&update);
    assert_eq!(
        room.targets("pc01", "alpha").iter().filter(|target| **target == before).count(),
        0,
        "it moved, and its old disk went"
    );
    assert_eq!(room.host.sessions(&after), 1);
}

#[test]
fn a_machine_between_its_firmware_and_its_system_is_not_disturbed() {
    let room = Room::new();
    room.settle(&cafe(1));
    let target = room.boot(&cafe(1), "pc01", "alpha");
    room.host.login_firmware(&target, PC01).expect("logs in");
    room.host.write(&target, PC01, 0, 0).expect("reads");
    room.host.logout(&target, PC01);
    let gone = with(&cafe(1), "machines/row.toml", "\"alpha\", \"beta\"", "\"beta\"");
    let (plan, _) = room.apply(&gone);
    let holds: Vec<&Hold> = plan.held().map(|(_, hold)| hold).collect();
    assert!(holds.iter().any(|hold| matches!(hold, Hold::Occupied { sign: Sign::MayBeOn, .. })), "{}", text(&plan));
    assert!(room.is_open(&target, "pc01"), "its system finds the disk");
}

#[test]
fn a_boot_gets_a_clean_disk_whoever_wrote_to_the_last_one() {
    let room = Room::new();
    room.settle(&cafe(2));
    let first = room.work(&cafe(2), "pc01", "alpha");
    assert_eq!(
        text(&room.plan(&cafe(2))),
        format!("{CONVERGED}Daily work: 1 disk for a next boot.\n"),
        "the disk for its next boot is daily work"
    );
    room.settle(&cafe(2));
    room.host.logout(&first, PC01);
    let second = room.boot(&cafe(2), "pc01", "alpha");
    assert_ne!(second, first);
    assert_eq!((room.disk(&first, 0).1.writes > 0, room.disk(&second, 0).1.writes), (true, 0));
    assert_eq!(room.host.content("cafe", "seat.pc02.alpha.a").map(|content| content.writes), Some(0));
}

#[test]
fn a_clone_that_is_never_reset_outlives_updates_and_removal_without_consent() {
    let room = Room::new();
    room.settle(&cafe(1));
    room.use_seat(&cafe(1), "pc01", "beta");
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
    assert_eq!(room.host.content("cafe", "seat.pc01.beta.a"), written, "nothing proves that pc01 is off");
    room.pass(&consent, NIGHT);
    room.apply(&consent);
    assert_eq!(room.host.content("cafe", "seat.pc01.beta.a"), None);
}

#[test]
fn changing_a_policy_does_not_throw_away_what_was_to_be_kept() {
    let room = Room::new();
    room.settle(&cafe(1));
    room.use_seat(&cafe(1), "pc01", "beta");
    let written = room.host.content("cafe", "seat.pc01.beta.a");
    let loose = with(&cafe(1), "images/beta.toml", "\"never\"", "\"every-boot\"");
    room.settle(&loose);
    let next = room.boot(&loose, "pc01", "beta");
    assert_eq!(room.disk(&next, 0).1.writes, 0, "its boots get clean disks from now on");
    room.pass(&loose, NIGHT);
    room.settle(&loose);
    assert_eq!(room.host.content("cafe", "seat.pc01.beta.a"), written, "and what it kept is still there");
}

#[test]
fn a_version_is_kept_while_it_has_clones_and_goes_only_by_consent() {
    let room = Room::new();
    room.settle(&cafe(1));
    let mut update = cafe(1);
    update.insert("images/beta.toml".into(), disk("beta", "never", "2", &["2"], ""));
    let (plan, _) = room.apply(&update);
    let end = |plan: &barista::plan::Plan| {
        let is_it = |subject: &Subject| matches!(subject, Subject::Version { image, version } if image.as_str() == "beta" && version.as_str() == "1");
        plan.held().find(|(change, _)| is_it(&change.subject)).map(|(_, hold)| hold.clone())
    };
    assert!(matches!(end(&plan), Some(Hold::NoConsent { consent }) if consent == "beta@1"), "{}", text(&plan));
    let consent = with(&update, "site.toml", "may-destroy = []", "may-destroy = [\"beta@1\"]");
    let (plan, _) = room.apply(&consent);
    assert!(matches!(end(&plan), Some(Hold::HasClones { count: 1, .. })), "{}", text(&plan));
    assert!(room.host.content("cafe", "img.beta.1").is_some(), "a clone of it remains");
    let both = with(&update, "site.toml", "may-destroy = []", "may-destroy = [\"beta@1\", \"pc01.beta\"]");
    room.carry_out(&both);
    let target = room.boot(&both, "pc01", "beta");
    assert_eq!(room.disk(&target, 0).0, "seat.pc01.beta.b", "the next boot gets the new one");
    room.host.login(&target, PC01).expect("logs in");
    room.pass(&both, MOVED);
    room.settle(&both);
    assert_eq!(room.host.content("cafe", "seat.pc01.beta.a"), None);
    assert!(room.host.content("cafe", "img.beta.1").is_none());
}

fn renamed(count: usize, to: &str) -> Files {
    let mut files = cafe(count);
    let mut list = vec![to.to_owned()];
    list.extend((2..=count).map(|number| format!("pc{number:02}")));
    let list = machines(&list, "\"alpha\", \"beta\"");
    files.insert("machines/row.toml".into(), format!("moved = [{{ from = \"pc01\", to = \"{to}\" }}]\n{list}"));
    files
}

#[test]
fn a_renamed_machine_keeps_its_data() {
    let room = Room::new();
    room.settle(&cafe(1));
    let old = room.use_seat(&cafe(1), "pc01", "beta");
    let written = room.host.content("cafe", "seat.pc01.beta.a");
    let renamed = renamed(1, "seat01");
    room.carry_out(&renamed);
    assert_eq!(room.host.content("cafe", "seat.pc01.beta.a"), written, "nothing proves that it is off");
    assert!(room.is_open(&old, "pc01"), "and it finds its disk under the old name");
    room.pass(&renamed, NIGHT);
    room.carry_out(&renamed);
    room.settle(&renamed);
    assert_eq!(room.host.content("cafe", "seat.seat01.beta.a"), written);
    assert_eq!(room.host.content("cafe", "seat.pc01.beta.a"), None);
    let target = room.fixed("seat01", "beta").expect("a target of every boot").to_string();
    assert!(room.is_open(&target, "seat01"));
}

#[test]
fn a_machine_that_runs_under_its_old_name_is_renamed_when_it_leaves() {
    let room = Room::new();
    room.settle(&cafe(2));
    let target = room.work(&cafe(2), "pc01", "beta");
    let renamed = renamed(2, "pc09");
    let (plan, _) = room.apply(&renamed);
    assert_eq!(room.host.sessions(&target), 1, "{}", text(&plan));
    assert!(room.host.content("cafe", "seat.pc01.beta.a").is_some(), "nothing moved beneath it");
    assert!(room.table().machines.keys().any(|name| name.as_str() == "pc01"), "its address and its way back in stay");
    room.host.logout(&target, PC01);
    room.pass(&renamed, NIGHT);
    room.carry_out(&renamed);
    room.settle(&renamed);
    assert!(room.host.content("cafe", "seat.pc09.beta.a").is_some());
    assert!(!room.table().machines.keys().any(|name| name.as_str() == "pc01"));
}

#[test]
fn a_renamed_image_keeps_its_volumes() {
    let room = Room::new();
    room.settle(&cafe(1));
    let mut renamed = with(&cafe(1), "machines/row.toml", "\"alpha\", \"beta\"", "\"alpha\", \"gamma\"");
    let beta = renamed.remove("images/beta.toml").expect("is there");
    renamed.insert("images/gamma.toml".into(), format!("moved = [{{ from = \"beta\", to = \"gamma\" }}]\n{beta}"));
    room.carry_out(&renamed);
    assert!(room.is_open(&room.target("pc01", "beta"), "pc01"), "its machine may be on it");
    room.pass(&renamed, NIGHT);
    room.carry_out(&renamed);
    // Its target comes with the next look.
    room.settle(&renamed);
    assert!(room.host.content("cafe", "img.gamma.1").is_some_and(|content| content.file.is_some()));
    assert!(room.host.content("cafe", "img.beta.1").is_none());
    assert!(room.host.content("cafe", "seat.pc01.gamma.a").is_some());
}

#[test]
fn an_image_that_grows_grows_its_clones_and_disturbs_nobody() {
    let room = Room::new();
    room.settle(&cafe(1));
    let target = room.work(&cafe(1), "pc01", "alpha");
    let grown = with(&cafe(1), "images/alpha.toml", "64MiB", "128MiB");
    let (plan, _) = room.apply(&grown);
    assert_eq!(plan.held().count(), 0, "{}", text(&plan));
    assert_eq!(room.host.sessions(&target), 1);
    assert_eq!(text(&room.plan(&grown)), CONVERGED);
}

#[test]
fn a_plan_that_destroys_too_much_is_held_whole() {
    let room = Room::new();
    room.settle(&cafe(4));
    let few = with(&cafe(1), "site.toml", "max-destroy = 50", "max-destroy = 2");
    let few = with(&few, "site.toml", "may-destroy = []", "may-destroy = [\"*\"]");
    let effects = room.host.effects().len();
    let (plan, _) = room.apply(&few);
    assert!(plan.is_converged() && plan.held().count() > 5, "{}", text(&plan));
    let made: Vec<String> =
        room.host.effects()[effects..].iter().filter(|effect| !effect.ends_with("/commands")).cloned().collect();
    assert_eq!(made, Vec::<String>::new());
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
                Step::Disks { ops, .. } => {
                    ops.iter().filter(|(_, op)| matches!(op, DiskOp::Remove { .. })).map(|(change, _)| *change).collect()
                }
                Step::Exports(ops) => {
                    ops.iter().filter(|(_, op)| matches!(op, ExportOp::Withdraw { .. })).map(|(change, _)| *change).collect()
                }
                Step::Fill { change, ops, .. } if ops.iter().any(|op| matches!(op, DiskOp::Remove { .. })) => vec![*change],
                Step::Fill { .. } | Step::Publish { .. } => Vec::new(),
            };
            for id in takes {
                let change = &plan.changes[id.0 as usize];
                // A side that was never used is nobody's.
                let is_unused = change.reason == barista::plan::Reason::NeverUsed;
                assert!(
                    change.disruption != Disruption::None || is_unused || change.action == barista::plan::Action::Remove,
                    "{change:?}"
                );
            }
        }
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
            assert!(change.after.iter().all(|after| (after.0 as usize) < place), "{change:?}\n{}", text(&plan));
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
    assert!(flat(&plan).contains("iqn.2001-04.com.stranger:x, which listens on every address of port 3260"), "{}", text(&plan));
    tree.rmdir("iscsi/iqn.2001-04.com.stranger:x/tpgt_1/np/0.0.0.0:3260").expect("stops");
    room.settle(&cafe(1));
}

#[test]
fn a_pool_below_its_reserve_takes_no_new_seat_and_the_old_ones_boot_from_their_spares() {
    let room = Room::new();
    room.host.add_pool("cafe", "pool", 128 << 20);
    room.settle(&cafe(1));
    let first = room.use_seat(&cafe(1), "pc01", "alpha");
    room.settle(&cafe(1));
    room.host.fill_pool("cafe", "seat.pc01.beta.a", 64 << 20);
    room.host.fill_pool("cafe", "seat.pc01.games.a", 56 << 20);
    let (plan, _) = room.apply(&cafe(2));
    let waits =
        plan.held().any(|(change, _)| matches!(&change.subject, Subject::Side { machine, .. } if machine.as_str() == "pc02"));
    assert!(waits && flat(&plan).contains("the site reserves 10%"), "{}", text(&plan));
    let told = room.ask(&cafe(2), "pc02", "alpha");
    assert!(matches!(told, Decision::Wait(Wait::Making)), "it is known, and told what it waits for: {told:?}");
    assert_eq!(room.fixed("pc02", "beta"), None, "nobody is sent to a disk that is not there");
    let second = room.boot(&cafe(1), "pc01", "alpha");
    assert_ne!(second, first);
    assert_eq!(room.disk(&second, 0).1.writes, 0);
}

#[test]
fn a_template_that_names_nothing_known_is_a_finding_with_its_line_and_what_it_may_name() {
    let mut files = cafe(1);
    files.insert("templates/machine.ipxe".into(), "#!ipxe\necho {{ machine.colour }}\n".into());
    let entries = files.into_iter().map(|(path, text)| (path, Entry::File(text.into_bytes()))).collect();
    let site = load(&Tree { entries }).site.expect("its TOML is fine");
    let findings = barista::plan::prepare(&site).expect_err("no such value");
    let shown: String = findings.iter().map(ToString::to_string).collect();
    assert!(shown.starts_with("error[template]: templates/machine.ipxe:2:1: the template does not render"), "{shown}");
    assert!(shown.contains("2 | echo {{ machine.colour }}") && shown.contains("machine.name"), "{shown}");
}

#[test]
fn a_consent_that_consents_to_nothing_is_said() {
    let room = Room::new();
    room.settle(&cafe(1));
    let consents = r#"may-destroy = ["alpha@1", "alpha@gone", "pc01.beta", "pc09.beta"]"#;
    let consenting = with(&cafe(1), "site.toml", "may-destroy = []", consents);
    let said: Vec<String> = room.plan(&consenting).notes.iter().map(|note| note.message.clone()).collect();
    let nothing = |what: &str| format!("{what} consents to nothing: there is no such disk");
    assert_eq!(said, [nothing("alpha@gone"), nothing("pc09.beta")]);
}
