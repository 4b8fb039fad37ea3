//! An agent whose repository is damaged or gone, and one whose records are: the café goes on.

use crate::cafe::Cafe;
use crate::push::git::{git, text};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
};

fn table(cafe: &Cafe) -> PathBuf {
    cafe.state.join("boot/table.json")
}

type Damage = fn(&Cafe, &str);

/// What drifts is put right though the repository is what it is by now, and it is said what to do.
fn goes_on(cafe: &Cafe, what: &str, trouble: &str, mend: &str) {
    fs::remove_file(table(cafe)).unwrap();
    cafe.until(&format!("the table is back: {what}"), || table(cafe).exists());
    let told = |troubles: &Value| troubles.to_string().contains(trouble) && troubles.to_string().contains(mend);
    let status = cafe.status_when(&format!("the trouble is told: {what}"), |status| told(&status["troubles"]));
    assert_eq!(status["serving"]["revision"]["subject"], "open the café", "{what}");
    let shown = cafe.barista(&["status"]);
    assert_eq!(shown.status.code(), Some(3), "{what}");
    assert!(text(&shown.stdout).contains(trouble) && text(&shown.stdout).contains("to mend it: "), "{}", text(&shown.stdout));
}

/// Empties the object of a file of the site.
fn empty_blob(cafe: &Cafe, commit: &str, path: &str) {
    let id = text(&git(&cafe.repository, &["rev-parse", &format!("{commit}:{path}")]).stdout).trim().to_owned();
    let object = cafe.repository.join("objects").join(&id[..2]).join(&id[2..]);
    assert!(object.exists(), "the object is loose");
    fs::remove_file(&object).unwrap();
    fs::write(&object, "").unwrap();
}

fn fifo(path: &Path) {
    fs::remove_file(path).unwrap();
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
}

#[test]
fn the_cafe_goes_on_while_its_repository_is_damaged_or_gone_and_takes_the_next_push() {
    let damages: [(&str, Damage, &str, &str); 7] = [
        (
            "the branch is empty",
            |cafe, _| fs::write(cafe.repository.join("refs/heads/main"), "").unwrap(),
            "main",
            "barista init",
        ),
        ("the branch is garbage", |cafe, _| fs::write(cafe.repository.join("refs/heads/main"), "\0\0").unwrap(), "main", "push"),
        ("a blob is empty", |cafe, commit| empty_blob(cafe, commit, "machines/row-a.toml"), "read a file", "barista init"),
        ("HEAD is empty", |cafe, _| fs::write(cafe.repository.join("HEAD"), "").unwrap(), "cafe.git", "barista init"),
        ("the branch is a FIFO", |cafe, _| fifo(&cafe.repository.join("refs/heads/main")), "blocks whoever reads it", "remove "),
        ("no object is left", |cafe, _| fs::remove_dir_all(cafe.repository.join("objects")).unwrap(), "cafe.git", "barista init"),
        ("it is deleted", |cafe, _| fs::remove_dir_all(&cafe.repository).unwrap(), "is not a git repository", "barista init"),
    ];
    // Each of them waits for looks, so all go at once.
    std::thread::scope(|scope| {
        for (what, damage, trouble, mend) in damages {
            scope.spawn(move || damage_and_mend(what, damage, trouble, mend));
        }
    });
}

fn damage_and_mend(what: &str, damage: Damage, trouble: &str, mend: &str) {
    let (cafe, agent, commit) = Cafe::serving();
    damage(&cafe, &commit);
    goes_on(&cafe, what, trouble, mend);
    assert_eq!(agent.stop(), Some(0), "{what}");
    let agent = cafe.agent();
    goes_on(&cafe, &format!("{what}, after a restart"), trouble, mend);
    let doctor = cafe.barista(&["doctor", "--offline", "--repo", cafe.repository.to_str().unwrap()]);
    let said = text(&doctor.stdout);
    assert!(said.contains("problem  repository") && said.contains(trouble) && said.contains(mend), "{what}: {said}");

    // The mend is what was said.
    let moved = cafe.repository.with_extension("damaged");
    assert!(fs::rename(&cafe.repository, moved).is_ok() || what == "it is deleted");
    assert_eq!(cafe.barista(&["init", cafe.repository.to_str().unwrap()]).status.code(), Some(0));
    cafe.seats(2);
    let next = cafe.work.commit("add pc02");
    let (went, told) = cafe.push("HEAD:main");
    assert!(went, "{what}: {told}");
    let status = cafe.status_when("the next push is served", |status| status["serving"]["revision"]["id"] == next.as_str());
    assert_eq!(status["last"]["revision"]["id"], next.as_str(), "{what}");
    cafe.status_when("there is no trouble any more", |status| status["troubles"] == serde_json::json!([]));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_pushed_commit_that_cannot_be_read_is_said_and_leaves_the_last_good_one() {
    let (cafe, agent, good) = Cafe::serving();
    assert_eq!(agent.stop(), Some(0));
    cafe.seats(2);
    let bad = cafe.work.commit("add pc02");
    assert!(cafe.push("HEAD:main").0);
    empty_blob(&cafe, &bad, "machines/row-a.toml");
    let agent = cafe.agent();
    let status = cafe.status_when("it is said", |status| !status["waiting"].is_null());
    assert!(status["waiting"].as_str().unwrap().contains("cannot be read"), "{status}");
    assert!(status["last"]["result"]["unreadable"]["why"].is_string(), "{status}");
    goes_on(&cafe, "the head cannot be read", "read a file", "barista init");
    assert_eq!(cafe.status_when("it is served", |_| true)["serving"]["revision"]["id"], good.as_str());
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_record_that_is_empty_or_garbage_makes_nothing_unreadable() {
    let (cafe, agent, commit) = Cafe::serving();
    assert_eq!(agent.stop(), Some(0));
    for broken in ["", "\0\0\0", "garbage"] {
        for record in ["applied.json", "last-good/site"] {
            fs::write(cafe.state.join(record), broken).unwrap();
            fs::remove_file(table(&cafe)).unwrap();
            let agent = cafe.agent();
            cafe.until("the table is back", || table(&cafe).exists());
            cafe.until("the record is written anew", || {
                let text = fs::read(cafe.state.join(record)).unwrap_or_default();
                String::from_utf8_lossy(&text).contains(&commit)
            });
            assert_eq!(agent.stop(), Some(0));
        }
    }
    // Both at once, and the repository is what is left.
    fs::write(cafe.state.join("applied.json"), "").unwrap();
    fs::write(cafe.state.join("last-good/site"), "").unwrap();
    fs::remove_file(table(&cafe)).unwrap();
    let _agent = cafe.agent();
    cafe.until("the table is back", || table(&cafe).exists());
}

#[test]
fn the_record_that_an_earlier_version_kept_in_the_repository_is_taken_over_once() {
    let (cafe, agent, first) = Cafe::serving();
    cafe.seats(2);
    let second = cafe.work.commit("add pc02");
    assert!(cafe.push("HEAD:main").0);
    assert_eq!(agent.stop(), Some(0));
    // As an earlier version left it: the record says the second commit, and the branch was set back by hand.
    fs::remove_file(cafe.state.join("applied.json")).unwrap();
    fs::remove_dir_all(cafe.state.join("last-good")).unwrap();
    git(&cafe.repository, &["update-ref", "refs/barista/applied", &second]);
    git(&cafe.repository, &["update-ref", "refs/heads/main", &first]);
    let agent = cafe.agent();
    let status = cafe.status_when("the branch is seen", |status| !status["waiting"].is_null());
    assert!(status["waiting"].as_str().unwrap().contains("does not descend"), "{status}");
    cafe.until("the record is the host's own", || {
        fs::read_to_string(cafe.state.join("applied.json")).is_ok_and(|record| record.contains(&second))
    });
    // From then on what the repository says of it does not matter.
    git(&cafe.repository, &["update-ref", "refs/barista/applied", &first]);
    assert_eq!(agent.stop(), Some(0));
    let agent = cafe.agent();
    cafe.status_when("it still does not descend", |status| !status["waiting"].is_null());

    // An operator who means it says so, as the hint has it.
    assert!(status["waiting"].as_str().unwrap().contains("barista init --accept-history"), "{status}");
    let accepted = cafe.barista(&["init", "--accept-history", cafe.repository.to_str().unwrap()]);
    assert_eq!(accepted.status.code(), Some(0), "{}", text(&accepted.stderr));
    cafe.status_when("the first commit is served again", |status| status["serving"]["revision"]["id"] == first.as_str());
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn an_empty_pre_receive_lets_nothing_bad_into_the_cafe_and_is_said() {
    let (cafe, _agent, good) = Cafe::serving();
    fs::write(cafe.repository.join("hooks/pre-receive"), "").unwrap();
    cafe.work.write("images/local.toml", "kind = \"lokal\"\n");
    let bad = cafe.work.commit("a slip");
    let (went, told) = cafe.push("HEAD:main");
    assert!(went, "git takes an empty hook for one that agrees: {told}");
    let status = cafe.status_when("the slip is refused", |status| !status["waiting"].is_null());
    assert_eq!(status["last"]["revision"]["id"], bad.as_str());
    assert_eq!(status["last"]["result"]["refused"]["findings"][0]["place"]["file"], "images/local.toml");
    assert_eq!(status["serving"]["revision"]["id"], good.as_str());
    cafe.work.git(&["checkout", "-q", &good]);
    // From a directory that is no site, it looks at the one that the agent here follows.
    cafe.work.git(&["--git-dir", cafe.repository.to_str().unwrap(), "update-ref", "refs/heads/main", &good]);
    let doctor = cafe.command(&["doctor", "--offline"]).current_dir(cafe.work.root.path()).output().unwrap();
    let said = text(&doctor.stdout);
    assert!(said.contains("reads and checks"), "{said}{}", text(&doctor.stderr));
    assert!(said.contains("hooks/pre-receive is empty") && said.contains("run `barista init "), "{said}");
}
