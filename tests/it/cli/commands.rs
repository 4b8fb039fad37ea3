//! The command line as a user meets it: streams, exit codes, hints.

use crate::cafe::Cafe;
use crate::push::git::text;
use std::{fs, process::Output};

fn ended(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn check_prints_findings_as_data_and_their_number_beside_it() {
    let cafe = Cafe::new();
    assert_eq!(ended(&cafe.barista(&["check"])), (Some(0), String::new(), "no findings\n".to_owned()));

    cafe.work.write("images/local.toml", "kind = \"lokal\"\n");
    let (code, data, beside) = ended(&cafe.barista(&["check"]));
    assert_eq!((code, beside.as_str()), (Some(1), "1 error, 0 warnings\n"));
    assert!(data.starts_with("error[unknown-value]: images/local.toml:1:8: "), "{data}");
    let (_, data, _) = ended(&cafe.barista(&["check", "--json"]));
    let document: serde_json::Value = serde_json::from_str(&data).unwrap();
    assert_eq!((&document["version"], &document["findings"][0]["place"]["line"]), (&2.into(), &1.into()));
}

#[test]
fn nonsense_on_the_command_line_ends_with_64_and_help_with_0() {
    let cafe = Cafe::new();
    for wrong in
        [&["brew"] as &[&str], &[], &["plan", "--site", ".", "--repo", "."], &["schema", "coffee"], &["plan", "--target", "[x"]]
    {
        let (code, data, beside) = ended(&cafe.barista(wrong));
        assert_eq!((code, data.as_str()), (Some(64), ""), "{wrong:?}");
        assert!(!beside.is_empty());
    }
    for asked in [&["--help"] as &[&str], &["--version"], &["plan", "--help"]] {
        assert_eq!(cafe.barista(asked).status.code(), Some(0));
    }
}

#[test]
fn what_is_missing_is_named_with_what_to_do() {
    let cafe = Cafe::new();
    for (arguments, object, hint) in [
        (&["plan", "--site", "nowhere"] as &[&str], "cannot list nowhere", "--site"),
        (&["plan", "--repo", "nowhere"], "nowhere is not a git repository", "barista init"),
        (&["plan", "--repo", "."], "knows no commit HEAD", "push a commit"),
        (&["apply", "nowhere.json"], "cannot read nowhere.json", ""),
        (&["apply", "site.toml"], "site.toml does not read as a saved plan", "--out"),
        (&["status"], "no agent has run here", "barista agent"),
        (&["agent", "--repo", "nowhere"], "nowhere is not a git repository", "barista init"),
    ] {
        let (code, data, beside) = ended(&cafe.barista(arguments));
        assert_eq!((code, data.as_str()), (Some(1), ""), "{arguments:?}");
        assert!(beside.starts_with("error: ") && beside.contains(object) && beside.contains(hint), "{arguments:?}: {beside}");
    }
}

#[test]
fn a_site_with_findings_is_neither_planned_nor_applied() {
    let cafe = Cafe::new();
    cafe.work.write("machines/row-a.toml", "[[machine]]\nname = \"PC01\"\n");
    for command in [&["plan"] as &[&str], &["apply", "--yes"]] {
        let (code, data, beside) = ended(&cafe.barista(command));
        assert_eq!((code, data.as_str()), (Some(1), ""));
        assert!(beside.contains("]: machines/row-a.toml:2:"), "{beside}");
    }
    assert!(!cafe.state.exists());
}

#[test]
fn plan_apply_plan_ends_with_no_changes() {
    let cafe = Cafe::new();
    let (code, shown, beside) = ended(&cafe.barista(&["plan", "--detailed-exitcode"]));
    assert_eq!((code, beside.as_str()), (Some(2), ""));
    assert!(shown.contains("Plan for lucky-cat at uncommitted") && shown.contains("+   boot pc01"), "{shown}");
    assert!(!cafe.state.exists(), "a plan writes nothing");
    assert_eq!(cafe.barista(&["plan"]).status.code(), Some(0), "without the flag pending changes are no news");

    let (code, shown, beside) = ended(&cafe.barista(&["apply"]));
    assert_eq!(code, Some(1), "nobody can be asked");
    assert!(shown.contains("+   boot pc01") && beside.contains("not a terminal: pass --yes"), "{beside}");
    assert!(!cafe.state.exists());

    let (code, shown, beside) = ended(&cafe.barista(&["apply", "--yes"]));
    assert_eq!(code, Some(0), "{beside}");
    assert!(shown.ends_with("No changes. The host matches uncommitted.\n"), "{shown}");
    assert!(beside.contains("done "), "{beside}");
    let (code, shown, _) = ended(&cafe.barista(&["plan", "--detailed-exitcode"]));
    assert_eq!((code, shown.as_str()), (Some(0), "No changes. The host matches uncommitted.\n"));
}

#[test]
fn a_document_is_all_that_stands_on_standard_output() {
    let cafe = Cafe::new();
    let (_, data, _) = ended(&cafe.barista(&["plan", "--json"]));
    let plan: serde_json::Value = serde_json::from_str(&data).unwrap();
    assert_eq!((&plan["version"], &plan["site"]), (&2.into(), &"lucky-cat".into()));
    let (code, data, beside) = ended(&cafe.barista(&["apply", "--yes", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&data).unwrap();
    assert_eq!((code, &report["outcomes"][0][2]), (Some(0), &"done".into()), "{report}");
    assert!(beside.contains("Plan for lucky-cat"), "{beside}");
}

#[test]
fn a_saved_plan_is_applied_once_and_refused_when_anything_has_changed() {
    let cafe = Cafe::new();
    let save = || assert_eq!(cafe.barista(&["plan", "--out", "saved.json"]).status.code(), Some(0));
    let apply = || ended(&cafe.barista(&["apply", "saved.json", "--yes"]));
    save();
    cafe.seats(2);
    let (code, _, beside) = apply();
    assert!(code == Some(1) && beside.contains("stale"), "the site changed: {beside}");
    cafe.seats(1);
    assert_eq!(apply().0, Some(0), "it is the same plan again");
    let (code, _, beside) = apply();
    assert!(code == Some(1) && beside.contains("stale"), "the host changed: {beside}");
    assert_eq!(cafe.barista(&["apply", "saved.json", "--site", "."]).status.code(), Some(64));
}

#[test]
fn a_saved_plan_of_a_commit_stays_with_that_commit() {
    let cafe = Cafe::new();
    cafe.work.commit("one machine");
    assert_eq!(cafe.barista(&["plan", "--repo", ".", "--out", "saved.json"]).status.code(), Some(0));
    cafe.seats(2);
    let second = cafe.work.commit("two machines");
    let (code, shown, _) = ended(&cafe.barista(&["apply", "saved.json", "--yes"]));
    assert_eq!(code, Some(0));
    assert!(shown.contains("one machine") && !shown.contains("pc02"), "{shown}");
    let (_, shown, _) = ended(&cafe.barista(&["plan", "--repo", ".", "--rev", &second[..9]]));
    assert!(shown.contains("+   boot pc02") && shown.contains("two machines"), "{shown}");
}

#[test]
fn schemas_are_printed_and_written() {
    let cafe = Cafe::new();
    let (_, names, _) = ended(&cafe.barista(&["schema"]));
    let out = cafe.work.root.path().join("schemas");
    assert_eq!(cafe.barista(&["schema", "--write", out.to_str().unwrap()]).status.code(), Some(0));
    assert!(names.lines().any(|name| name == "status") && names.lines().any(|name| name == "site"), "{names}");
    for name in names.lines() {
        let (code, printed, _) = ended(&cafe.barista(&["schema", name]));
        assert_eq!(code, Some(0), "{name}");
        assert_eq!(fs::read_to_string(out.join(format!("{name}.schema.json"))).unwrap(), printed);
    }
}

#[test]
fn init_writes_the_services_where_it_is_told() {
    let cafe = Cafe::new();
    let etc = cafe.work.root.path().join("etc");
    let flag = format!("--systemd={}", etc.display());
    let arguments = ["init", cafe.repository.to_str().unwrap(), &flag];
    let (code, commands, _) = ended(&cafe.barista(&arguments));
    assert_eq!(code, Some(0));
    assert!(
        commands.contains("systemctl enable --now barista-agent barista-serve") && commands.contains("git push cafe HEAD:main")
    );
    let unit = fs::read_to_string(etc.join("systemd/system/barista-agent.service")).unwrap();
    assert!(unit.contains(&format!("agent --repo {} --state {}", cafe.repository.display(), cafe.state.display())), "{unit}");
    assert_eq!(cafe.barista(&arguments).status.code(), Some(0), "it may be run again");
}

#[test]
fn what_is_held_is_told_by_the_exit_status_where_that_is_asked_for() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let cafe = Cafe::new();
    let site = "name = \"lucky-cat\"\n[server]\naddress = \"192.168.1.2\"\n[storage]\nvolume-group = \"no-such-group\"\n[iscsi]\niqn-prefix = \"iqn.2026-11.example.cat\"\n";
    cafe.work.write("site.toml", site);
    cafe.work.write(
        "images/blank.toml",
        "kind = \"disk\"\nsize = \"64MiB\"\ncurrent = \"1\"\n[[version]]\nname = \"1\"\nblank = true\n",
    );
    cafe.work.write(
        "machines/row-a.toml",
        "[defaults]\nboot = [\"blank\"]\n[[machine]]\nname = \"pc01\"\nmac = \"88:ae:dd:05:08:01\"\n",
    );
    let ends = |arguments: &[&str]| cafe.barista(arguments).status.code();
    let first = cafe.barista(&["plan", "--detailed-exitcode"]);
    assert_eq!(first.status.code(), Some(2), "the boot table is pending: {}", text(&first.stderr));
    assert_eq!(ends(&["apply", "--yes"]), Some(3));
    assert_eq!(ends(&["plan", "--detailed-exitcode"]), Some(3), "the disks are held");
    assert_eq!(ends(&["plan"]), Some(0));
    // Its machine is known as itself all the same.
    let table = std::fs::read_to_string(cafe.state.join("boot/table.json")).expect("published");
    assert!(
        barista::boot::table::BootTable::parse(&table).expect("reads").machines.contains_key(&"pc01".parse().expect("legal"))
    );
    let explained = cafe.barista(&["explain", "pc01"]);
    assert!(!text(&explained.stdout).contains("no file of the site"), "{}", text(&explained.stdout));
}
