//! CHAP from the site's file to LIO, to the script, and nowhere else.

use crate::room::{Files, NIGHT, PC01, Room, cafe, flat, prepare, text, with};
use barista::boot::chap::{MARKER, PATH};
use barista::diagnostic::Severity;
use barista::host::{ConfigFs, HostSettings, forgo_paths, render_ops};
use barista::plan::{Hold, Outcome, Reason, secrets_trouble};
use barista::site::{Entry, Tree, load};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

const SECRET: &str = "correcthorse1";

fn write_secrets(room: &Room, text: &str, mode: u32) -> PathBuf {
    let path = room.state.path().join("chap.toml");
    fs::write(&path, text).expect("writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its own");
    path
}

/// Two machines, of which the first proves itself.
fn guarded(room: &Room, secrets: &str) -> Files {
    let path = write_secrets(room, secrets, 0o600);
    let line = format!("[iscsi]\nchap-secrets = {path:?}\n");
    let files = with(&cafe(2), "site.toml", "[iscsi]\n", &line);
    with(&files, "machines/row.toml", "name = \"pc01\"\n", "name = \"pc01\"\nchap = true\n")
}

fn secrets() -> String {
    format!("[pc01]\nsecret = \"{SECRET}\"\n[pc09]\nuser = \"nobody\"\nsecret = \"correcthorse9\"\n")
}

fn configfs(room: &Room) -> Arc<dyn ConfigFs> {
    room.host.system().configfs
}

fn value(room: &Room, path: &str) -> String {
    let target = &room.targets("pc01", "alpha")[0];
    configfs(room).read(&format!("iscsi/{target}/tpgt_1/{path}")).expect("readable")
}

#[test]
fn one_machine_proves_itself_and_no_word_of_its_secret_is_said() {
    let room = Room::new();
    let files = guarded(&room, &secrets());
    let (plan, report) = room.apply(&files);
    assert!(report.outcomes.iter().all(|(_, _, outcome)| *outcome == Outcome::Done), "{report:?}");
    assert_eq!(text(&room.plan(&files)), "No changes. The host matches test.\n");
    assert_eq!(value(&room, "attrib/authentication"), "1");
    assert_eq!(value(&room, &format!("acls/{PC01}/auth/userid")), "pc01");
    assert_eq!(value(&room, &format!("acls/{PC01}/auth/password")), SECRET, "without a newline, which LIO would count");
    let other = format!("iscsi/{}/tpgt_1/attrib/authentication", room.target("pc02", "alpha"));
    assert_eq!(configfs(&room).read(&other).expect("readable"), "0");

    let table = fs::read_to_string(room.state.path().join(barista::boot::table::PATH)).expect("published");
    let observation = room.observe(&prepare(&files));
    let said = [
        text(&plan),
        render_ops(&plan),
        serde_json::to_string(&plan).expect("serialises"),
        serde_json::to_string(&report).expect("serialises"),
        serde_json::to_string(&observation).expect("serialises"),
        format!("{plan:?} {observation:?}"),
        table.clone(),
    ];
    for said in &said {
        assert!(!said.contains("correcthorse"), "{said}");
    }
    assert!(said[1].contains("auth/password <the secret of pc01 in /"), "{}", said[1]);
    assert_eq!(table.matches(MARKER).count(), 1, "pc01's script alone speaks of a secret");
    let served = room.state.path().join(PATH);
    assert_eq!(fs::metadata(&served).expect("published").permissions().mode() & 0o777, 0o600, "there is no serve here");
    assert!(fs::read_to_string(&served).expect("readable").contains(SECRET));
}

#[test]
fn another_secret_takes_the_seat_down_when_it_is_free() {
    let room = Room::new();
    let files = guarded(&room, &secrets());
    room.settle(&files);
    let target = room.work(&files, "pc01", "alpha");
    write_secrets(&room, "[pc01]\nsecret = \"batterystaple\"\n", 0o600);
    let (plan, _) = room.apply(&files);
    let says = |reason: &Reason| matches!(reason, Reason::Differs { what } if what.contains("the secret of pc01 is another one"));
    let of_target = plan.held().find(|(change, _)| says(&change.reason)).map(|(_, hold)| hold);
    assert!(matches!(of_target, Some(Hold::Occupied { .. })), "{}", text(&plan));
    assert_eq!(value(&room, &format!("acls/{PC01}/auth/password")), SECRET, "held: pc01 is in use");
    room.host.logout(&target, PC01);
    room.pass(&files, NIGHT);
    room.apply(&files);
    room.settle(&files);
    assert_eq!(value(&room, &format!("acls/{PC01}/auth/password")), "batterystaple");
    assert!(!fs::read_to_string(room.state.path().join(PATH)).expect("readable").contains(SECRET));
}

#[test]
fn without_its_secret_a_target_is_held_and_never_open() {
    for (text_of_file, mode, why) in [
        (secrets(), 0o644, "is not its owner's alone"),
        ("[pc02]\nsecret = \"correcthorse2\"\n".to_owned(), 0o600, "has no [pc01]"),
        ("[pc01]\nsecret = \"short\"\n".to_owned(), 0o600, "must measure 12 to 16 bytes"),
    ] {
        let room = Room::new();
        let files = guarded(&room, "");
        write_secrets(&room, &text_of_file, mode);
        let (plan, _) = room.apply(&files);
        assert!(flat(&plan).contains(why), "{why}: {}", text(&plan));
        assert_eq!(room.targets("pc01", "alpha"), Vec::<String>::new(), "it was made: {}", text(&plan));
        assert_eq!(room.targets("pc02", "alpha").len(), 1, "the others are");
    }
    let room = Room::new();
    let files = guarded(&room, &secrets());
    room.settle(&files);
    write_secrets(&room, &secrets(), 0o644);
    room.apply(&files);
    assert_eq!(value(&room, "attrib/authentication"), "1", "what stands stays closed");
    assert_eq!(value(&room, &format!("acls/{PC01}/auth/password")), SECRET);
}

#[test]
fn a_site_that_asks_for_no_secret_any_more_leaves_none() {
    let room = Room::new();
    room.settle(&guarded(&room, &secrets()));
    room.settle(&cafe(2));
    assert_eq!(value(&room, "attrib/authentication"), "0");
    assert_eq!(value(&room, &format!("acls/{PC01}/auth/password")), "NULL", "which is how the kernel is told that there is none");
    assert!(!room.state.path().join(PATH).exists());
}

/// Both machines have a clean side again, and the first one's targets ask for its secret.
fn both_have_clean_sides(room: &Room) {
    for machine in ["pc01", "pc02"] {
        assert_eq!(room.targets(machine, "alpha").len(), 2, "{machine} has a clean side again");
    }
    for target in room.targets("pc01", "alpha") {
        let path = format!("iscsi/{target}/tpgt_1/acls/{PC01}/auth/password");
        assert_eq!(configfs(room).read(&path).expect("readable"), SECRET);
    }
}

#[test]
fn a_file_that_root_withdraws_stops_no_new_side_of_a_machine_whose_secret_is_served_or_that_has_none() {
    let room = Room::new();
    let files = guarded(&room, &secrets());
    room.settle(&files);
    let entries = files.iter().map(|(path, text)| (path.clone(), Entry::File(text.clone().into_bytes()))).collect();
    let nothing = room.state.path().join("host.toml");
    fs::write(&nothing, "[allowed-paths]\nsecrets = []\n").expect("writable");
    let allows = HostSettings::read(&nothing, room.state.path());
    let (checked, forgone) = forgo_paths(load(&Tree { entries }), &allows, room.state.path());
    assert!(forgone.iter().any(|said| said.message.contains("gets no new disk")), "{forgone:?}");
    let served = checked.site.and_then(|site| site.iscsi).and_then(|iscsi| iscsi.chap_secrets).expect("it is named");
    let withdrawn = room.state.path().join("chap.toml");
    fs::remove_file(&withdrawn).expect("is there");
    let files = with(&files, "site.toml", &format!("{withdrawn:?}"), &format!("{served:?}"));
    for machine in ["pc01", "pc02"] {
        room.work(&files, machine, "alpha");
    }
    room.settle(&files);
    both_have_clean_sides(&room);
    let all = with(&files, "machines/row.toml", "name = \"pc02\"\n", "name = \"pc02\"\nchap = true\n");
    let held: Vec<String> = room.plan(&all).held().map(|(_, hold)| hold.to_string()).collect();
    assert!(held.iter().any(|why| why.contains("pc02")), "pc02 has no secret: {held:?}");
}

#[test]
fn a_file_that_is_gone_or_does_not_read_stops_no_new_side_of_a_machine_whose_secret_is_served() {
    let spoil: [fn(&Path); 3] = [
        |path| fs::remove_file(path).expect("is there"),
        |path| fs::write(path, "[pc01").expect("written"),
        |path| fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("its own"),
    ];
    for spoil in spoil {
        let room = Room::new();
        let files = guarded(&room, &secrets());
        room.settle(&files);
        let file = room.state.path().join("chap.toml");
        spoil(&file);
        let said = |files: &Files| {
            let prepared = prepare(files);
            secrets_trouble(&prepared, &room.observe(&prepared)).expect("it is said")
        };
        for machine in ["pc01", "pc02"] {
            room.work(&files, machine, "alpha");
        }
        let ops = render_ops(&room.plan(&files));
        let served = room.state.path().join(PATH);
        assert!(ops.contains(&format!("auth/password <the secret of pc01 in {}>", served.display())), "{ops}");
        room.settle(&files);
        both_have_clean_sides(&room);
        let trouble = said(&files);
        assert!(trouble.message.contains(&*file.to_string_lossy()) && trouble.severity == Severity::Warning, "{trouble:?}");
        // One that was never served has no other secret than the file's, and waits for it.
        let all = with(&files, "machines/row.toml", "name = \"pc02\"\n", "name = \"pc02\"\nchap = true\n");
        let trouble = said(&all);
        let names = |text: &str| (text.contains("pc01"), text.contains("pc02"));
        assert_eq!((names(&trouble.message), trouble.severity), ((false, true), Severity::Error), "{trouble:?}");
        let plan = room.plan(&all);
        let held: Vec<String> = plan.held().map(|(change, hold)| format!("{:?} {hold}", change.subject)).collect();
        assert!(held.iter().any(|held| held.contains("pc02") && held.contains("chap.toml")), "{held:?}");
        // Back again, it counts.
        write_secrets(&room, "[pc01]\nsecret = \"batterystaple\"\n", 0o600);
        let prepared = prepare(&files);
        assert_eq!(secrets_trouble(&prepared, &room.observe(&prepared)), None);
        assert!(flat(&room.plan(&files)).contains("the secret of pc01 is another one"), "{}", text(&room.plan(&files)));
    }
}
