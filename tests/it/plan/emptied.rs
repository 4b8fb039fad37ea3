//! A commit that loses every machine takes none away, whatever else it holds (promises 6 and 7).
//!
//! argoproj/argo-cd#23645: the guard against an empty repository was passed because of one unrelated object, and the rest was pruned.
//! Here an image file that was left passed it, and every seat was without an entry at its next start.

use crate::cafe::Cafe;
use crate::cli::operator::ended;
use crate::push::git::{git, text};
use crate::room::{Files, Room, cafe, prepare};
use barista::{
    agent::converge::{ConvergeError, Observer, Reconciliation},
    plan::{Revision, Targets},
    site::{Entry, Tree, load},
};
use std::fs;

const REFUSED: &str = "\
error[no-machine-left]: machines: the site has no machine any more, and this host serves pc01
  hint: put the files of machines/ back; in git: git checkout HEAD~1 -- machines. To take all machines away, say so in site.toml: \
  below [policy], may-destroy = [\"*\"]
";

/// What a pusher reads, without the words of git before each line.
fn told(told: &str) -> String {
    told.lines().filter_map(|line| line.strip_prefix("remote: ")).map(|line| format!("{}\n", line.trim_end())).collect()
}

#[test]
fn a_push_that_loses_its_machines_is_refused_though_an_image_is_left() {
    let (cafe, _agent, good) = Cafe::serving();
    let table = fs::read_to_string(cafe.state.join("boot/table.json")).unwrap();
    let lost: [&dyn Fn(); 2] = [
        &|| fs::remove_dir_all(cafe.work.tree.join("machines")).unwrap(),
        // An editor that ran out of disk.
        &|| cafe.work.write("machines/row-a.toml", ""),
    ];
    for lose in lost {
        lose();
        cafe.work.commit("oops");
        let (went, said) = cafe.push("HEAD:main");
        let said = told(&said);
        assert!(!went && said.contains(REFUSED), "{said}");
        assert!(said.ends_with("refused: 1 error, 0 warnings; the café stays as it is\n"), "{said}");
        cafe.work.git(&["reset", "-q", "--hard", &good]);
    }
    assert_eq!(text(&git(&cafe.repository, &["rev-parse", "main"]).stdout).trim(), good);
    assert_eq!(fs::read_to_string(cafe.state.join("boot/table.json")).unwrap(), table);
    fs::remove_dir_all(cafe.work.tree.join("machines")).unwrap();
    assert_eq!(ended(&cafe.barista(&["check"])), (Some(1), REFUSED.to_owned(), "1 error, 0 warnings\n".to_owned()));
    for by_hand in [&["plan"][..], &["apply", "--yes"]] {
        let (code, data, beside) = ended(&cafe.barista(by_hand));
        assert!((code, data.as_str()) == (Some(1), "") && beside.contains(REFUSED), "{data}{beside}");
    }
}

#[test]
fn an_agent_that_no_hook_protects_refuses_it_too() {
    let (cafe, _agent, good) = Cafe::serving();
    fs::remove_file(cafe.repository.join("hooks/pre-receive")).unwrap();
    fs::remove_dir_all(cafe.work.tree.join("machines")).unwrap();
    let bad = cafe.work.commit("oops");
    assert!(cafe.push("HEAD:main").0);
    let status = cafe.status_when("it is refused", |status| !status["waiting"].is_null());
    assert_eq!(status["last"]["revision"]["id"], bad.as_str());
    assert_eq!(status["last"]["result"]["refused"]["findings"][0]["code"], "no-machine-left");
    assert_eq!(status["serving"]["revision"]["id"], good.as_str());
    assert!(fs::read_to_string(cafe.state.join("boot/table.json")).unwrap().contains("pc01"));
}

#[test]
fn the_last_machine_goes_by_written_consent() {
    let (cafe, _agent, _) = Cafe::serving();
    fs::remove_dir_all(cafe.work.tree.join("machines")).unwrap();
    let site = fs::read_to_string(cafe.work.tree.join("site.toml")).unwrap();
    cafe.work.write("site.toml", &format!("{site}[policy]\nmay-destroy = [\"*\"]\n"));
    cafe.work.commit("close the café");
    let (went, said) = cafe.push("HEAD:main");
    assert!(went && said.contains("-   boot pc01") && said.contains("applied; "), "{said}");
    assert!(!fs::read_to_string(cafe.state.join("boot/table.json")).unwrap().contains("pc01"));
    // Nobody is left to lose: the consent may go.
    cafe.work.write("site.toml", &site);
    cafe.work.commit("take the consent out");
    let (went, said) = cafe.push("HEAD:main");
    assert!(went && said.contains("warning[no-machine]: site.toml: the site has no machine"), "{said}");
}

#[test]
fn a_cafe_may_begin_without_a_machine() {
    let cafe = Cafe::with_repository();
    fs::remove_dir_all(cafe.work.tree.join("machines")).unwrap();
    cafe.work.commit("machines come later");
    let (went, said) = cafe.push("HEAD:main");
    assert!(went && said.contains("warning[no-machine]: "), "{said}");
}

#[test]
fn disks_speak_for_machines_where_no_table_is_published() {
    let room = Room::new();
    let whole = cafe(2);
    room.settle(&whole);
    fs::remove_file(room.state.path().join(barista::boot::table::PATH)).unwrap();
    let mut lost: Files = whole.clone();
    lost.remove("machines/row.toml");
    prepare(&lost);
    let entries = lost.iter().map(|(path, text)| (path.clone(), Entry::File(text.clone().into_bytes()))).collect();
    let site = load(&Tree { entries }).site.unwrap();
    let system = room.host.system();
    let reconciliation = Reconciliation {
        system: &system,
        state: room.state.path(),
        site: &site,
        revision: &Revision { id: "lost".into(), subject: String::new() },
        targets: &Targets::default(),
        observer: Observer::Visitor,
        forced: &Default::default(),
        is_awaited: false,
    };
    match reconciliation.propose() {
        Err(ConvergeError::Unsafe(findings)) => {
            assert_eq!(findings[0].message, "the site has no machine any more, and this host serves pc01 and pc02");
        }
        other => panic!("{:?}", other.map(|proposal| proposal.plan)),
    }
}

#[test]
fn a_cafe_without_machines_gets_its_damaged_table_back_and_takes_the_next_commit() {
    let cafe = Cafe::with_repository();
    let agent = cafe.agent();
    fs::remove_dir_all(cafe.work.tree.join("machines")).unwrap();
    let first = cafe.work.commit("machines come later");
    assert!(cafe.push("HEAD:main").0);
    cafe.status_when("it is served", |status| status["serving"]["revision"]["id"] == first.as_str());
    assert_eq!(agent.stop(), Some(0));
    let table = cafe.state.join("boot/table.json");
    fs::write(&table, "").unwrap();
    // A visitor is told what the host lacks, and what to do about it there.
    cafe.work.write("images/local.toml", "kind = \"local\"\ntitle = \"Local disk\"\n");
    let second = cafe.work.commit("a title");
    let (went, said) = cafe.push("HEAD:main");
    let said = told(&said);
    assert!(!went && said.contains("error[machines-unknown]: ") && said.contains("boot/table.json"), "{said}");
    assert!(!said.contains("git checkout"), "there never was a machine to put back: {said}");
    fs::write(cafe.repository.join("hooks/pre-receive"), "").unwrap();
    assert!(cafe.push("HEAD:main").0);
    // The commit that was applied is no less good for what the host lost; the next is judged again once the table reads.
    let agent = cafe.agent();
    cafe.until("the table is back", || !fs::read_to_string(&table).unwrap_or_default().is_empty());
    cafe.status_when("the next commit is taken", |status| status["serving"]["revision"]["id"] == second.as_str());
    assert_eq!(agent.stop(), Some(0));
}
