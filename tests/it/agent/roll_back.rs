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
