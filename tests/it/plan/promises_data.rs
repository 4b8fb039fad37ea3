//! Data dies only by written consent, and a version holds what its checksum says.

use crate::room::{Files, NIGHT, PC01, QUIET, Room, cafe, disk, flat, hasty, prepare, text, with};
use barista::names::Mark;
use barista::plan::{Hold, Plan, Subject};
use std::time::Duration;

fn consenting(files: &Files, to: &str) -> Files {
    with(files, "site.toml", "may-destroy = []", &format!("may-destroy = [{to}]"))
}

fn hold_of(plan: &Plan, name: &str) -> Option<Hold> {
    plan.held().find(|(change, _)| barista::plan::subject_text(&change.subject).contains(name)).map(|(_, hold)| hold.clone())
}

#[test]
fn f_what_a_commit_that_was_held_says_is_kept_is_kept() {
    let versions = |files: &Files, list: &[&str]| {
        let mut files = files.clone();
        files.insert("images/alpha.toml".into(), disk("alpha", "every-boot", "3", list, "data-disks = [\"games\"]"));
        files
    };
    let room = Room::new();
    let loose = with(&cafe(1), "images/beta.toml", "\"never\"", "\"on-update\"");
    room.settle(&versions(&loose, &["1", "2", "3"]));
    let kept = with(&versions(&cafe(1), &["3"]), "site.toml", "max-destroy = 50", "max-destroy = 1");
    let kept = consenting(&kept, "\"alpha@1\", \"alpha@2\"");
    let (plan, _) = room.apply(&kept);
    assert!(matches!(hold_of(&plan, "version alpha@1"), Some(Hold::TooMuch { destroys: 2, allowed: 1 })), "{}", text(&plan));
    room.use_seat(&kept, "pc01", "beta");
    let written = room.host.content("cafe", "seat.pc01.beta.a");
    let dropped = with(&versions(&loose, &["1", "2", "3"]), "machines/row.toml", "\"alpha\", \"beta\"", "\"alpha\"");
    room.apply(&dropped);
    room.pass(&dropped, NIGHT);
    room.keep_as_case("f_what_was_kept_once_is_kept", &dropped);
    let (plan, _) = room.apply(&dropped);
    assert_eq!(room.host.content("cafe", "seat.pc01.beta.a"), written);
    assert!(matches!(hold_of(&plan, "pc01.beta.a"), Some(Hold::NoConsent { .. })), "{}", text(&plan));
}

#[test]
fn g_a_version_that_does_not_say_whether_it_is_whole_is_no_garbage() {
    let mut files = cafe(1);
    files.insert("images/alpha.toml".into(), disk("alpha", "every-boot", "2", &["1", "2"], "data-disks = [\"games\"]"));
    let room = Room::new();
    room.settle(&files);
    room.run("lvchange -y --deltag barista.state=ready cafe/img.alpha.1");
    let mut one = files.clone();
    one.insert("images/alpha.toml".into(), disk("alpha", "every-boot", "2", &["2"], "data-disks = [\"games\"]"));
    room.keep_as_case("g_a_version_without_its_mark", &one);
    let (plan, _) = room.apply(&one);
    assert!(matches!(hold_of(&plan, "version alpha@1"), Some(Hold::NoConsent { .. })), "{}", text(&plan));
    let content = room.host.content("cafe", "img.alpha.2");
    room.run("lvchange -y --deltag barista.state=ready cafe/img.alpha.2");
    room.source("alpha.raw", &vec![9; 2 << 20]);
    let (plan, _) = room.apply(&one);
    assert!(matches!(hold_of(&plan, "version alpha@2"), Some(Hold::Stray { .. })), "{}", text(&plan));
    assert_eq!(room.host.content("cafe", "img.alpha.2"), content);
    assert!(room.host.content("cafe", "img.alpha.1").is_some());
}

#[test]
fn h_two_values_of_one_mark_hold_and_nobody_chooses() {
    let room = Room::new();
    room.settle(&cafe(1));
    room.use_seat(&cafe(1), "pc01", "beta");
    let written = room.host.content("cafe", "seat.pc01.beta.a");
    room.run("lvchange -y --addtag barista.reset=every-boot cafe/seat.pc01.beta.a");
    let files = consenting(&with(&cafe(1), "images/beta.toml", "\"never\"", "\"every-boot\""), "\"*\"");
    room.keep_as_case("h_two_values_of_one_mark", &cafe(1));
    for files in [&cafe(1), &files, &consenting(&crate::room::cafe(1), "\"*\"")] {
        let (plan, _) = room.apply(files);
        assert!(flat(&plan).contains("barista.reset says both"), "{}", text(&plan));
        assert_eq!(room.host.content("cafe", "seat.pc01.beta.a"), written);
    }
}

#[test]
fn i_what_an_operator_put_aside_is_left_alone() {
    let room = Room::new();
    room.settle(&cafe(1));
    let target = room.use_seat(&cafe(1), "pc01", "alpha");
    let (volume, written) = room.disk(&target, 0);
    room.run(&format!("lvrename cafe {volume} evidence"));
    room.keep_as_case("i_a_disk_that_was_put_aside", &cafe(1));
    for _ in 0..3 {
        room.apply(&cafe(1));
        room.pass(&cafe(1), NIGHT);
    }
    assert_eq!(room.host.content("cafe", "evidence"), Some(written));
    let room = Room::new();
    room.settle(&cafe(1));
    room.use_seat(&cafe(1), "pc01", "beta");
    let tags = ["", ".site=cat", ".machine=pc01", ".image=beta", ".version=1", ".reset=never"];
    let tags: String = tags.iter().map(|tag| format!(" --addtag barista{tag}")).collect();
    room.run(&format!("lvcreate -y -s -kn -n backup.pc01.beta{tags} cafe/seat.pc01.beta.a"));
    let backup = room.host.content("cafe", "backup.pc01.beta");
    let gone = consenting(&with(&hasty(&cafe(1)), "machines/row.toml", "\"alpha\", \"beta\"", "\"alpha\""), "\"pc01.beta\"");
    room.apply(&gone);
    room.pass(&gone, QUIET);
    room.apply(&gone);
    assert_eq!(room.host.content("cafe", "seat.pc01.beta.a"), None, "what was consented to goes");
    assert_eq!(room.host.content("cafe", "backup.pc01.beta"), backup, "and nothing else");
}

#[test]
fn j_what_may_be_destroyed_is_not_destroyed_by_and_by() {
    let allowed = |count: usize, most: u32| {
        let files = with(&hasty(&cafe(count)), "site.toml", "max-destroy = 50", &format!("max-destroy = {most}"));
        consenting(&files, "\"*\"")
    };
    let room = Room::new();
    room.settle(&cafe(5));
    let left =
        |room: &Room| (1..=5).filter(|number| room.host.content("cafe", &format!("seat.pc{number:02}.beta.a")).is_some()).count();
    room.apply(&allowed(3, 5));
    room.pass(&allowed(3, 5), QUIET);
    room.apply(&allowed(3, 5));
    assert_eq!(left(&room), 3, "four disks of two machines");
    room.apply(&allowed(1, 5));
    room.pass(&allowed(1, 5), QUIET);
    let (plan, _) = room.apply(&allowed(1, 5));
    assert_eq!(left(&room), 3, "{}", text(&plan));
    assert!(matches!(hold_of(&plan, "pc02.beta"), Some(Hold::TooMuch { destroys: 8, allowed: 5 })), "{}", text(&plan));
    room.apply(&allowed(1, 9));
    assert_eq!(left(&room), 1, "another allowance begins anew");
}

#[test]
fn j_kept_disks_that_are_replaced_are_counted_and_shown() {
    let room = Room::new();
    room.settle(&cafe(8));
    let mut update = cafe(8);
    update.insert("images/beta.toml".into(), disk("beta", "never", "2", &["1", "2"], ""));
    let consents = (1..=8).map(|number| format!("\"pc{number:02}.beta\"")).collect::<Vec<_>>().join(", ");
    let update = consenting(&with(&update, "site.toml", "max-destroy = 50", "max-destroy = 5"), &consents);
    room.keep_as_case("j_eight_kept_disks_are_replaced", &update);
    let (plan, _) = room.apply(&update);
    assert!(matches!(hold_of(&plan, "pc01.beta"), Some(Hold::TooMuch { destroys: 8, allowed: 5 })), "{}", text(&plan));
    assert_eq!(room.volumes(&update).iter().filter(|name| name.contains(".beta.b")).count(), 0);
    let open = with(&update, "site.toml", "max-destroy = 5", "max-destroy = 8");
    let plan = flat(&room.plan(&open));
    assert!(plan.contains("LOSES KEPT DATA") && plan.contains("8 to replace"), "{plan}");
}

#[test]
fn k_a_version_holds_what_it_was_filled_with_and_the_site_is_told_where_it_says_otherwise() {
    let room = Room::new();
    room.settle(&cafe(1));
    let content = room.host.content("cafe", "img.beta.1");
    let sha256 = format!("source = \"beta.raw\"\nsha256 = \"{}\"", "ab".repeat(32));
    for (say, expected) in [(sha256.as_str(), "it was filled with"), ("source = \"games.raw\"", "it was filled from")] {
        let other = with(&cafe(1), "images/beta.toml", "source = \"beta.raw\"", say);
        let (plan, _) = room.apply(&other);
        assert!(flat(&plan).contains(expected), "{}", text(&plan));
        assert_eq!(room.host.content("cafe", "img.beta.1"), content);
    }
    let vg = room.observe(&prepare(&cafe(1))).vg;
    let tags = &vg.present().expect("is there").lvs["img.beta.1"].tags;
    assert!(tags.value("barista.sha256").is_some(), "its checksum is recorded though the site names none");
}

#[test]
fn k_a_versions_name_does_not_come_back_with_other_content() {
    let room = Room::new();
    room.settle(&cafe(1));
    room.use_seat(&cafe(1), "pc01", "beta");
    let mut gone = with(&cafe(1), "machines/row.toml", "\"alpha\", \"beta\"", "\"alpha\"");
    gone.remove("images/beta.toml");
    // The version alone goes, by hand; its kept clone stays.
    room.apply(&gone);
    room.run("lvremove -f -y cafe/img.beta.1");
    room.source("beta-new.raw", &vec![9; 2 << 20]);
    let back = with(&cafe(1), "images/beta.toml", "beta.raw", "beta-new.raw");
    let (_, report) = room.apply(&back);
    let failed = report.outcomes.iter().any(|(_, subject, outcome)| {
        matches!(subject, Subject::Version { image, .. } if image.as_str() == "beta")
            && format!("{outcome:?}").contains("SHA-256")
    });
    assert!(failed, "{report:?}");
    let named = "source = \"beta-new.raw\"\nsha256 = \"".to_owned() + &"cd".repeat(32) + "\"";
    let named = with(&cafe(1), "images/beta.toml", "source = \"beta.raw\"", &named);
    let plan = room.plan(&named);
    assert!(matches!(hold_of(&plan, "version beta@1"), Some(Hold::OtherContent { .. })), "{}", text(&plan));
}

#[test]
fn l_an_images_rename_that_is_cut_anywhere_comes_to_its_end() {
    let mut renamed = hasty(&with(&cafe(1), "machines/row.toml", "\"alpha\", \"beta\"", "\"alpha\", \"gamma\""));
    let beta = renamed.remove("images/beta.toml").expect("is there");
    renamed.insert("images/gamma.toml".into(), format!("moved = [{{ from = \"beta\", to = \"gamma\" }}]\n{beta}"));
    for n in 1..40 {
        let room = Room::new();
        room.settle(&cafe(1));
        room.use_seat(&cafe(1), "pc01", "beta");
        let written = room.host.content("cafe", "seat.pc01.beta.a");
        room.apply(&cafe(1));
        room.pass(&renamed, QUIET);
        let before = room.host.effects().len();
        room.host.crash_at(n);
        room.apply(&renamed);
        room.host.revive();
        if room.host.effects().len() - before < n as usize {
            assert!(n > 5);
            return;
        }
        for _ in 0..3 {
            room.apply(&renamed);
            room.pass(&renamed, QUIET);
        }
        room.settle(&renamed);
        assert_eq!(room.host.content("cafe", "seat.pc01.gamma.a"), written, "after effect {n}");
        let vg = room.observe(&prepare(&renamed)).vg;
        let lvs = &vg.present().expect("is there").lvs;
        for volume in ["img.gamma.1", "seat.pc01.gamma.a"] {
            assert_eq!(lvs[volume].tags.value("barista.image"), Some("gamma"), "{volume} after effect {n}");
        }
    }
}

#[test]
fn j_kept_disks_that_a_change_of_policy_lets_go_are_shown_and_counted() {
    let room = Room::new();
    let consent = |files: &Files| with(files, "site.toml", "may-destroy = []", "may-destroy = [\"*\"]");
    let few = consent(&with(&cafe(3), "site.toml", "max-destroy = 50", "max-destroy = 1"));
    room.settle(&few);
    let names = ["pc01", "pc02", "pc03"];
    for name in names {
        room.use_seat(&few, name, "beta");
    }
    let loose = with(&few, "images/beta.toml", "\"never\"", "\"every-boot\"");
    room.carry_out(&loose);
    for name in names {
        room.work(&loose, name, "beta");
    }
    room.pass(&loose, std::time::Duration::from_secs(120));
    let plan = room.plan(&loose);
    let said = text(&plan);
    assert!(said.contains("3 kept disks"), "{said}");
    assert!(plan.held().any(|(_, hold)| matches!(hold, Hold::TooMuch { destroys: 3, allowed: 1 })), "{said}");
    room.apply(&loose);
    for name in names {
        assert!(room.host.content("cafe", &format!("seat.{name}.beta.a")).is_some_and(|content| content.writes > 0), "{name}");
    }
}

#[test]
fn while_a_new_version_is_not_there_every_boot_gets_a_clean_disk_of_the_one_before() {
    let room = Room::new();
    room.settle(&cafe(1));
    let mut update = cafe(1);
    update.insert("images/alpha.toml".into(), disk("newer", "every-boot", "2", &["1", "2"], "data-disks = [\"games\"]"));
    let alpha = disk("newer", "every-boot", "2", &["2"], "data-disks = [\"games\"]");
    let without_the_old = with(&update, "images/alpha.toml", &update["images/alpha.toml"], &alpha);
    let version = |target: &str| {
        let observation = room.observe(&prepare(&update));
        let name = room.disk(target, 0).0;
        observation.vg.present().expect("is there").lvs[&name].tags.value(Mark::VERSION).expect("says it").to_owned()
    };
    let mut seen = Vec::new();
    // The old version may be gone from the site: what it is needed for keeps it.
    for files in [&update, &update, &without_the_old, &without_the_old] {
        let target = room.work(files, "pc01", "alpha");
        assert!(!seen.contains(&target), "a used disk is given again: {target}");
        assert_eq!(version(&target), "1");
        for _ in 0..3 {
            room.pass(files, Duration::from_secs(120));
            room.apply(files);
        }
        room.host.logout(&target, PC01);
        seen.push(target);
    }
    room.source("newer.raw", &vec![9; 256 << 10]);
    for _ in 0..2 {
        room.apply(&without_the_old);
        room.pass(&without_the_old, Duration::from_secs(20));
    }
    assert_eq!(version(&room.boot(&without_the_old, "pc01", "alpha")), "2");
}

#[test]
fn f_a_disk_that_is_kept_from_now_on_does_not_go_in_the_plan_that_says_so() {
    let room = Room::new();
    room.settle(&cafe(1));
    let used = room.use_seat(&cafe(1), "pc01", "alpha");
    room.settle(&cafe(1));
    // Its machine works on another image, which proves that it left this one.
    room.work(&cafe(1), "pc01", "beta");
    let kept = with(&cafe(1), "images/alpha.toml", "reset = \"every-boot\"", "reset = \"never\"");
    room.pass(&kept, Duration::from_secs(120));
    let (volume, _) = room.disk(&used, 0);
    for _ in 0..3 {
        let (plan, _) = room.apply(&kept);
        assert!(room.volumes(&kept).contains(&volume), "{volume} is gone: {}", text(&plan));
        room.pass(&kept, Duration::from_secs(120));
    }
    room.host.logout(&room.target("pc01", "beta"), PC01);
    let fixed = room.fixed("pc01", "alpha").expect("every boot has it");
    assert_eq!(room.disk(fixed.as_str(), 0).0, volume);
}

#[test]
fn f_where_no_record_tells_which_disk_was_used_last_all_are_kept_and_the_used_one_is_booted() {
    let room = Room::new();
    room.settle(&cafe(1));
    let used = room.work(&cafe(1), "pc01", "alpha");
    room.settle(&cafe(1));
    room.host.set_file(&room.state.path().join(barista::host::offered::PATH), None);
    // What was clean counts as used, and is shown and put on record after the one that is.
    room.settle(&cafe(1));
    let kept = with(&cafe(1), "images/alpha.toml", "reset = \"every-boot\"", "reset = \"never\"");
    let volumes = room.targets("pc01", "alpha").iter().map(|target| room.disk(target, 0).0).collect::<Vec<_>>();
    let (volume, _) = room.disk(&used, 0);
    for _ in 0..3 {
        let (plan, _) = room.apply(&kept);
        let left = room.volumes(&kept);
        assert!(volumes.iter().all(|volume| left.contains(volume)), "{volumes:?}: {}", text(&plan));
        room.pass(&kept, Duration::from_secs(120));
    }
    room.host.logout(&used, PC01);
    assert_eq!(room.disk(room.fixed("pc01", "alpha").expect("every boot has it").as_str(), 0).0, volume);
}
