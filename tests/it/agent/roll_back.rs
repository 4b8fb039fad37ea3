//! Whether a commit that failed, or that is refused later, is left for an older one. It is not, but by a person.

use crate::cafe::{Agent, Cafe};
use crate::push::git::text;
use std::{fs, os::unix::fs::symlink, path::PathBuf};

/// A café that was brought to its second commit but for its boot table, which cannot be published; the agent has ended. The second
/// commit names a directory of loaders that root allows.
fn left_half_way() -> (Cafe, String, PathBuf) {
    let cafe = Cafe::with_repository();
    let loaders = cafe.work.root.path().join("files");
    fs::write(cafe.host_toml(), format!("[allowed-paths]\nloaders = [{loaders:?}]\n")).unwrap();
    let agent = cafe.agent();
    // The hook is git's child, and would not find this file.
    fs::write(cafe.repository.join("hooks/pre-receive"), "").unwrap();
    cafe.work.commit("open the café");
    assert!(cafe.push("HEAD:main").0);
    cafe.status_when("the first commit is served", |status| !status["serving"].is_null());
    // No directory can be made behind a link that leads nowhere.
    fs::rename(cafe.state.join("boot"), cafe.state.join("away")).unwrap();
    symlink("nowhere", cafe.state.join("boot")).unwrap();
    let site = format!("name = \"lucky-cat\"\n[server]\naddress = \"192.168.1.2\"\n[boot]\nloaders = {loaders:?}\n");
    cafe.work.write("site.toml", &site);
    cafe.seats(2);
    let second = cafe.work.commit("add pc02");
    assert!(cafe.push("HEAD:main").0);
    let of_second = |status: &serde_json::Value| status["last"]["revision"]["id"] == second.as_str();
    cafe.status_when("the second fails", |status| of_second(status) && !status["last"]["result"]["failed"].is_null());
    assert_eq!(agent.stop(), Some(0));
    fs::remove_file(cafe.state.join("boot")).unwrap();
    fs::rename(cafe.state.join("away"), cafe.state.join("boot")).unwrap();
    let table = cafe.state.join("boot/table.json");
    assert!(!fs::read_to_string(&table).unwrap().contains("pc02"));
    (cafe, second, table)
}

/// An agent that is new has brought the café to this commit.
fn comes_to(cafe: &Cafe, commit: &str) -> (Agent, serde_json::Value) {
    let agent = cafe.agent();
    let pid = agent.0.id();
    let status = cafe.status_when("it is served", |status| {
        status["agent"]["pid"] == pid && status["serving"]["revision"]["id"] == commit && status["last"]["result"] != "running"
    });
    (agent, status)
}

// fluxcd/flux#3201 and fluxcd/kustomize-controller#756: does a revision that failed, or is refused afterwards, roll back by itself?
#[test]
fn a_host_that_is_half_way_to_a_commit_goes_on_to_it_though_root_allows_less_by_now() {
    let (cafe, second, table) = left_half_way();
    fs::remove_file(cafe.host_toml()).unwrap();
    let (agent, status) = comes_to(&cafe, &second);
    assert!(fs::read_to_string(&table).unwrap().contains("pc02"));
    assert!(status["waiting"].is_null() && status["last"]["result"]["refused"].is_null(), "{status}");
    let troubles = status["troubles"].to_string();
    assert!(troubles.contains("no loader of it is served") && troubles.contains("[allowed-paths]"), "{troubles}");
    let shown = text(&cafe.barista(&["status"]).stdout);
    assert!(shown.contains("no loader of it is served"), "{shown}");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_host_that_is_half_way_to_a_commit_stays_with_it_while_a_newer_one_is_refused_or_the_repository_is_gone() {
    let (cafe, second, table) = left_half_way();
    cafe.work.write("images/local.toml", "kind = \"lokal\"\n");
    let third = cafe.work.commit("a slip");
    assert!(cafe.push("HEAD:main").0);
    let (agent, _) = comes_to(&cafe, &second);
    assert!(fs::read_to_string(&table).unwrap().contains("pc02"));
    let status = cafe.status_when("the slip is refused", |status| !status["waiting"].is_null());
    assert!(status["waiting"].as_str().unwrap().contains(&third[..7]), "{status}");
    assert_eq!(agent.stop(), Some(0));

    let (cafe, second, table) = left_half_way();
    fs::remove_dir_all(&cafe.repository).unwrap();
    let (agent, status) = comes_to(&cafe, &second);
    assert!(fs::read_to_string(&table).unwrap().contains("pc02"), "its text is kept");
    assert!(status["troubles"].to_string().contains("is not a git repository"), "{status}");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_commit_that_cannot_be_written_down_is_not_begun_and_is_taken_once_it_can_be() {
    let (cafe, agent, first) = Cafe::serving();
    // Nobody writes a file into a file, root neither.
    let (records, away) = (cafe.state.join("last-good"), cafe.state.join("away"));
    fs::rename(&records, &away).unwrap();
    fs::write(&records, "").unwrap();
    cafe.seats(2);
    let second = cafe.work.commit("add pc02");
    let (_, told) = cafe.push("HEAD:main");
    assert!(told.contains("nothing of it is done") && told.contains("brought-to"), "{told}");
    let status = cafe.status_when("the head waits", |status| !status["waiting"].is_null());
    assert_eq!(
        (&status["last"]["revision"]["id"], &status["last"]["result"]["failed"]["done"]),
        (&second.as_str().into(), &0.into())
    );
    assert_eq!(status["serving"]["revision"]["id"], first.as_str(), "{status}");
    assert!(status["waiting"].as_str().unwrap().contains("the state of this host"), "{status}");
    assert!(status["troubles"].to_string().contains("\"record-unwritable\""), "{status}");
    let table = || fs::read_to_string(cafe.state.join("boot/table.json")).unwrap();
    assert!(!table().contains("pc02"), "nothing is done that a restart would not know of");
    // What the host is at is looked after meanwhile.
    fs::remove_file(cafe.state.join("boot/table.json")).unwrap();
    cafe.until("the table is back", || cafe.state.join("boot/table.json").exists());
    assert!(!table().contains("pc02"));
    fs::remove_file(&records).unwrap();
    fs::rename(&away, &records).unwrap();
    cafe.status_when("it is taken", |status| status["serving"]["revision"]["id"] == second.as_str());
    assert!(table().contains("pc02"));
    cafe.status_when("nothing is wrong any more", |status| status["troubles"] == serde_json::json!([]));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_damaged_record_of_what_was_begun_leads_to_no_older_commit() {
    let (cafe, second, table) = left_half_way();
    let (begun, applied) = (cafe.state.join("last-good/brought-to"), cafe.state.join("applied.json"));
    let mut bytes = fs::read(&begun).unwrap();
    bytes[80] ^= 1;
    fs::write(&begun, bytes).unwrap();
    fs::rename(&cafe.repository, cafe.repository.with_extension("away")).unwrap();
    fs::remove_file(&table).unwrap();
    let agent = cafe.agent();
    let since = |status: &serde_json::Value, agent: &Agent| status["agent"]["pid"] == agent.0.id();
    cafe.status_when("the begun commit is tried", |status| {
        let last = &status["last"];
        since(status, &agent) && last["revision"]["id"] == second.as_str() && !last["result"]["unreadable"].is_null()
    });
    assert!(!table.exists(), "the café is not brought to the older commit");
    assert_eq!(agent.stop(), Some(0));

    // The other record of it is damaged too: nobody knows what was begun, and it is said what to do.
    fs::write(&applied, "").unwrap();
    let agent = cafe.agent();
    let status = cafe.status_when("it is said", |status| since(status, &agent) && !status["waiting"].is_null());
    assert!(!table.exists(), "{status}");
    let hint = format!("remove {} and {}", begun.display(), applied.display());
    assert!(status["troubles"].to_string().contains(&hint), "{status}");
    assert_eq!(agent.stop(), Some(0));

    // The repository is back, and with it the commit.
    fs::rename(cafe.repository.with_extension("away"), &cafe.repository).unwrap();
    let (agent, _) = comes_to(&cafe, &second);
    assert!(fs::read_to_string(&table).unwrap().contains("pc02"));
    assert_eq!(agent.stop(), Some(0));
}
