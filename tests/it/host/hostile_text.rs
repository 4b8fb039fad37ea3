//! Whatever a pusher, a machine or a client chose as a name reaches no terminal and no log with what steers them.

use crate::cafe::Cafe;
use crate::push::git::text;
use barista::names::is_harmful;
use std::{fs, process::Output};

/// Colours, a title, a forged line, a U+0080–U+009F control, and what reorders and hides.
const EVIL: &str = "a\u{1b}[31m\u{1b}]0;x\u{7}\r\u{9b}2J\u{202e}b\u{200b}\u{2066}c";

fn is_plain(what: &str, output: &Output) {
    for stream in [&output.stdout, &output.stderr] {
        let said = text(stream);
        let harmful: Vec<char> = said.chars().filter(|c| is_harmful(*c) && !"\n\t".contains(*c)).collect();
        assert!(harmful.is_empty(), "{what}: {harmful:?} in {said:?}");
    }
}

/// A transcript of a machine of the site and of a stranger, both of whom chose such names.
fn transcript() -> String {
    let event = serde_json::json!({"at": "2026-11-20T08:00:00Z", "service": EVIL, "what": EVIL,
        "kind": {"is": "loader-missing", "file": EVIL}});
    let machine = serde_json::json!({"address": "192.168.1.203", "script-fetched": null, "events": [event]});
    let server = serde_json::json!({"kind": "dhcp", "interface": EVIL, "first": "2026-11-20T08:00:00Z", "last": "2026-11-20T08:00:00Z", "what": EVIL});
    let machines = serde_json::json!({"88:ae:dd:05:08:01": machine, "02:00:00:00:00:01": machine});
    serde_json::json!({"version": 2, "servers": {"192.168.9.1": server}, "machines": machines}).to_string()
}

#[test]
fn what_others_chose_steers_no_terminal() {
    let cafe = Cafe::new();
    cafe.work.write("machines/row-a.toml", &format!("[[machine]]\nname = \"{}\"\n", EVIL.escape_unicode()));
    cafe.work.write(&format!("images/{}.toml", EVIL.replace('/', "_")), "kind = \"local\"\n");
    let repository = cafe.work.tree.to_str().unwrap().to_owned();
    cafe.work.git(&["add", "-A"]);
    cafe.work.git(&["commit", "-q", "-m", EVIL]);
    for arguments in [&["check"][..], &["check", "--json"], &["plan"], &["plan", "--repo", &repository]] {
        let output = cafe.barista(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        is_plain(&format!("{arguments:?}"), &output);
    }
    let json = cafe.barista(&["check", "--json"]);
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).expect("still a document");
    assert!(!document["findings"].as_array().unwrap().is_empty());
}

#[test]
fn a_subject_and_a_transcript_steer_no_terminal() {
    let cafe = Cafe::new();
    cafe.work.git(&["add", "-A"]);
    cafe.work.git(&["commit", "-q", "-m", EVIL]);
    let repository = cafe.work.tree.to_str().unwrap().to_owned();
    is_plain("plan", &cafe.barista(&["plan", "--repo", &repository]));
    is_plain("plan --json", &cafe.barista(&["plan", "--repo", &repository, "--json"]));
    is_plain("apply", &cafe.barista(&["apply", "--yes", "--repo", &repository]));
    fs::create_dir_all(cafe.state.join("serve")).unwrap();
    fs::write(cafe.state.join("serve/transcript.json"), transcript()).unwrap();
    let explained = text(&cafe.barista(&["explain", "pc01"]).stdout);
    assert!(explained.contains("\u{fffd}[31m"), "the names are shown: {explained}");
    for arguments in [
        &["explain", "pc01"][..],
        &["explain", "pc01", "--json"],
        &["machine", "seen"],
        &["machine", "seen", "--json"],
        &["explain", EVIL],
    ] {
        is_plain(&format!("{arguments:?}"), &cafe.barista(arguments));
    }
}

#[test]
fn one_event_is_one_line_of_the_log_whatever_is_in_it() {
    let cafe = Cafe::with_repository();
    cafe.work.git(&["add", "-A"]);
    cafe.work.git(&["commit", "-q", "-m", EVIL]);
    let log = cafe.work.root.path().join("log");
    for journal in [None, Some("8:1")] {
        let mut command = cafe.command(&["agent", "--repo", cafe.repository.to_str().unwrap()]);
        if let Some(journal) = journal {
            command.env("JOURNAL_STREAM", journal);
        }
        let agent = crate::cafe::Agent(command.stderr(fs::File::create(&log).unwrap()).spawn().unwrap());
        assert!(cafe.work.try_git(&["push", "-q", cafe.repository.to_str().unwrap(), "HEAD:main"]).status.success());
        cafe.until("it has applied the commit", || fs::read_to_string(&log).is_ok_and(|log| log.contains("the host matches")));
        assert_eq!(agent.stop(), Some(0));
        let said = fs::read_to_string(&log).unwrap();
        assert!(said.contains("\u{fffd}[31m"), "the subject is in the log: {said:?}");
        assert!(!said.chars().any(|c| is_harmful(c) && c != '\n'), "{said:?}");
        let begins = |line: &str| journal.map_or(line.starts_with("20"), |_| line.starts_with('<'));
        assert!(said.lines().all(begins), "{said}");
        fs::remove_dir_all(&cafe.state).unwrap();
    }
}
