//! What an operator asks in the morning: why did it not boot, who is that, is this host ready, what goes into the other server.

use crate::cafe::Cafe;
use crate::push::git::text;
use std::{fs, process::Output};

pub fn ended(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Writes the transcript of an unknown BIOS machine, and of pc01 up to its loader.
fn seen(cafe: &Cafe) {
    let dhcp = |message: &str, told: &str| {
        serde_json::json!({ "is": "dhcp", "message": message, "asker": "firmware", "arch": 0,
            "answer": { "told": told, "address": "192.168.1.203", "boot": "undionly.kpxe" } })
    };
    let event = |second: u32, kind: serde_json::Value| serde_json::json!({ "at": format!("2026-11-20T08:00:{second:02}Z"), "service": "dhcp", "kind": kind, "what": format!("second {second}") });
    let sent = serde_json::json!({ "is": "loader-sent", "file": "undionly.kpxe", "bytes": 70000, "milliseconds": 210 });
    let elsewhere = serde_json::json!({ "is": "dhcp", "message": "request", "asker": "system", "arch": null,
        "answer": { "told": "ignored", "because": { "reason": "other-server", "server": "192.168.9.1" } } });
    let pc01 = [event(0, dhcp("discover", "offered")), event(4, dhcp("request", "acknowledged")), event(5, sent)];
    let machine = |events: &[serde_json::Value]| serde_json::json!({ "address": "192.168.1.203", "script-fetched": null, "events": events });
    let now = jiff::Timestamp::now();
    let server = serde_json::json!({ "kind": "dhcp", "interface": "lan0", "first": now, "last": now, "what": "server 192.168.9.1 refused pc01" });
    let transcript = serde_json::json!({ "version": 2, "servers": { "192.168.9.1": server }, "machines": {
        "02:00:00:00:00:02": machine(&[event(9, elsewhere)]), "88:ae:dd:05:08:01": machine(&pc01), "02:00:00:00:00:01": machine(&pc01[..1]) } });
    fs::create_dir_all(cafe.state.join("serve")).unwrap();
    fs::write(cafe.state.join("serve/transcript.json"), transcript.to_string()).unwrap();
}

#[test]
fn explain_names_the_cause_and_the_mend_and_finds_a_machine_by_any_of_its_names() {
    let cafe = Cafe::new();
    let (code, _, beside) = ended(&cafe.barista(&["explain", "pc01"]));
    assert!(code == Some(1) && beside.contains("nothing was ever asked of this server"), "{beside}");
    assert_eq!(cafe.barista(&["apply", "--yes"]).status.code(), Some(0));
    seen(&cafe);
    for asked in ["pc01", "88AE.DD05.0801"] {
        let (code, told, beside) = ended(&cafe.barista(&["explain", asked]));
        assert_eq!((code, beside.as_str()), (Some(0), ""));
        for part in [
            "pc01  88:ae:dd:05:08:01",
            "network  lan",
            "boot 1 of 1  2026-11-20 16:00:00 +08:00",
            "(+4.000 s)",
            "mend: ",
            "ipxe.pxe",
        ] {
            assert!(told.contains(part), "{part} is not in:\n{told}");
        }
    }
    let (_, told, _) = ended(&cafe.barista(&["explain", "pc01", "--json"]));
    let document: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(document["boots"][0]["outcome"]["cause"]["kind"], "loader-silent", "{told}");
    assert_eq!((&document["version"], &document["boots"][0]["steps"][2]["since-last"]), (&2.into(), &1000.into()));
    let (code, told, beside) = ended(&cafe.barista(&["explain", "pc99"]));
    assert!((code, told.as_str()) == (Some(1), "") && beside.contains("barista machine seen"), "{beside}");
}

#[test]
fn a_machine_that_was_seen_is_listed_and_added_and_the_site_still_checks() {
    let cafe = Cafe::new();
    cafe.seats(2);
    seen(&cafe);
    let (code, told, _) = ended(&cafe.barista(&["machine", "seen", "--site", "."]));
    assert_eq!((code, told.as_str()), (Some(0), "02:00:00:00:00:01  2026-11-20 16:00:00 +08:00  x86 BIOS    192.168.1.203\n"));
    let (_, told, _) = ended(&cafe.barista(&["machine", "add", "--json", "--site", "."]));
    let document: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(document["machines"][0]["mac"], "02:00:00:00:00:01");

    let file = cafe.work.tree.join("machines/row-a.toml");
    let before = fs::read_to_string(&file).unwrap();
    let add = ["machine", "add", "--from-seen", "02-00-00-00-00-01", "--site", "."];
    let (code, shown, _) = ended(&cafe.barista(&[&add[..], &["--dry-run"]].concat()));
    assert!(code == Some(0) && shown.contains("+name = \"pc03\""), "{shown}");
    assert_eq!(fs::read_to_string(&file).unwrap(), before, "nothing was written");
    let (code, _, beside) = ended(&cafe.barista(&add));
    assert!(code == Some(0) && beside.contains("added pc03"), "{beside}");
    let added = "[[machine]]\nname = \"pc03\"\nmac = \"02:00:00:00:00:01\"\n";
    assert_eq!(fs::read_to_string(&file).unwrap(), format!("{before}{added}"));
    assert_eq!(cafe.barista(&["check"]).status.code(), Some(0));
    let (code, told, _) = ended(&cafe.barista(&["machine", "seen", "--site", "."]));
    assert_eq!((code, told.as_str()), (Some(0), ""));
}

#[test]
fn an_edit_that_would_have_findings_is_not_written() {
    let cafe = Cafe::new();
    seen(&cafe);
    let file = cafe.work.tree.join("machines/row-a.toml");
    let before = fs::read_to_string(&file).unwrap();
    for (wrong, expected) in [
        (&["--mac", "02:00:00:00:00:09", "--ip", "192.168.1.2"][..], "error[address-taken]: --ip 192.168.1.2: "),
        (&["--mac", "02:00:00:00:00:09", "--name", "pc01"], "pc01 is there twice"),
        (&["--mac", "88:ae:dd:05:08:01"], "is pc01's already"),
        (&["--from-seen", "02:00:00:00:00:09"], "was not seen to boot here"),
        (&["--mac", "02:00:00:00:00:09", "--file", "row-z"], "the site has no file machines/row-z.toml"),
    ] {
        let (code, told, beside) = ended(&cafe.barista(&[&["machine", "add"][..], wrong].concat()));
        assert!((code, told.as_str()) == (Some(1), "") && beside.contains(expected), "{wrong:?}: {beside}");
        assert_eq!(fs::read_to_string(&file).unwrap(), before, "{wrong:?}");
    }
    for unclear in [&["--name", "pc09"][..], &["--mac", "02:00:00:00:00:09", "--json"]] {
        assert_eq!(cafe.barista(&[&["machine", "add"][..], unclear].concat()).status.code(), Some(64), "{unclear:?}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), before, "and nothing is written");
}

#[test]
fn status_shows_strangers_among_machines_and_servers() {
    let cafe = Cafe::with_repository();
    let range = "range = \"192.168.1.220-192.168.1.229\"";
    cafe.work
        .write("network/lan.toml", &format!("interface = \"lan0\"\nmode = \"server\"\nsubnet = \"192.168.1.0/24\"\n{range}\n"));
    cafe.work.commit("one machine");
    assert!(cafe.push("HEAD:main").0);
    let agent = cafe.agent();
    cafe.status_when("the commit is applied", |status| status["serving"].is_object());
    seen(&cafe);
    let (_, told, beside) = ended(&cafe.barista(&["status"]));
    assert!(told.contains("\nunknown 02:00:00:00:00:01  2026-11-20 16:00:00 +08:00  x86 BIOS"), "{told}{beside}");
    let alarm = "\ndhcp    network lan is mode = \"server\", but another DHCP server answers on lan0: server 192.168.9.1 refused pc01, at ";
    assert!(told.contains(alarm), "{told}");
    assert!(!told.contains("02:00:00:00:00:02"), "an operating system tried to boot nothing");
    assert_eq!(agent.stop(), Some(0));
}
