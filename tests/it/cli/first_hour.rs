//! The first hour with barista: an example to begin with, its usual form, help, completions and man pages, and a look without a touch.

use crate::cafe::Cafe;
use crate::cli::operator::ended;
use crate::site::cases::{house, tree_of};
use barista::site::{Entry, Tree, load};
use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

/// Every file below a directory, by its path.
fn files(root: &Path) -> BTreeSet<String> {
    tree_of(root).entries.into_keys().collect()
}

#[test]
fn the_example_is_the_one_of_this_repository_with_its_schemas_and_checks_without_a_warning() {
    let cafe = Cafe::new();
    let place = cafe.work.root.path().join("new/cafe");
    let shown = place.to_str().unwrap();
    let (code, diff, beside) = ended(&cafe.barista(&["init", "--example", shown, "--dry-run"]));
    assert!(
        code == Some(0) && diff.contains("\n+++ b/schemas/site.schema.json\n") && beside == "nothing was written\n",
        "{beside}"
    );
    assert!(!place.exists());
    let (code, next, beside) = ended(&cafe.barista(&["init", "--example", shown]));
    assert_eq!((code, next), (Some(0), format!("barista check --site {shown}\n")), "{beside}");
    let example = house().join("site-example");
    let written = files(&place);
    let schemas: BTreeSet<String> = barista::site::schemas().keys().map(|name| format!("schemas/{name}")).collect();
    assert_eq!(written, files(&example).union(&schemas).cloned().collect());
    for path in &written {
        let text = fs::read_to_string(place.join(path)).unwrap();
        if schemas.contains(path) {
            assert_eq!(text, fs::read_to_string(house().join(path)).unwrap(), "{path}");
            continue;
        }
        let named = text.lines().next().and_then(|line| line.strip_prefix("#:schema ")).expect("a schema");
        assert!(place.join(path).parent().unwrap().join(named).is_file(), "{path} names {named}");
        let rest = |text: &str| text.split_once('\n').map(|(_, rest)| rest.to_owned());
        assert_eq!(rest(&text), rest(&fs::read_to_string(example.join(path)).unwrap()), "{path}");
    }
    let (code, findings, beside) = ended(&cafe.barista(&["check", "--site", shown]));
    assert!(code == Some(0) && beside.starts_with("0 errors, 0 warnings"), "{findings}{beside}");
    let (code, _, beside) = ended(&cafe.barista(&["init", "--example", shown]));
    assert!(code == Some(1) && beside.contains("is not empty"), "{beside}");
    for wrong in [&["init"][..], &["init", "--example", "x", "y.git"]] {
        assert_eq!(cafe.barista(wrong).status.code(), Some(64), "{wrong:?}");
    }
}

#[test]
fn init_shows_what_it_would_make_and_makes_nothing() {
    let cafe = Cafe::new();
    let (repository, etc) = (cafe.repository.to_str().unwrap(), cafe.work.root.path().join("etc"));
    let systemd = format!("--systemd={}", etc.display());
    let (code, shown, beside) = ended(&cafe.barista(&["init", repository, &systemd, "--dry-run"]));
    assert_eq!(code, Some(0), "{beside}");
    for part in
        ["+ HEAD = refs/heads/main\n", "+ core.fsync = all\n", "hooks/pre-receive\n", "systemd/system/barista-agent.service\n"]
    {
        assert!(shown.contains(part), "{part} is not in:\n{shown}");
    }
    assert!(!cafe.repository.exists() && !etc.exists());
    assert_eq!(cafe.barista(&["init", repository, &systemd]).status.code(), Some(0));
    let (code, shown, beside) = ended(&cafe.barista(&["init", repository, &systemd, "--dry-run"]));
    assert_eq!((code, shown.as_str()), (Some(0), ""), "nothing is left to do: {beside}");
    let (_, shown, _) = ended(&cafe.barista(&["init", repository, "--branch", "night", "--dry-run"]));
    assert_eq!(shown, "+ HEAD = refs/heads/night\n");
    let hook = cafe.repository.join("hooks/pre-receive");
    fs::write(&hook, "#!/bin/sh\nexit 0\n").unwrap();
    let (code, _, beside) = ended(&cafe.barista(&["init", repository, "--dry-run"]));
    assert!(code == Some(1) && beside.contains("was not written by barista"), "what would be refused is refused: {beside}");
}

/// The TOML of a site.
fn toml(tree: &Tree) -> Vec<(String, String)> {
    let text = |(path, entry): (&String, &Entry)| match entry {
        Entry::File(bytes) if path.ends_with(".toml") => Some((path.clone(), String::from_utf8(bytes.clone()).ok()?)),
        _ => None,
    };
    tree.entries.iter().filter_map(text).collect()
}

#[test]
fn the_usual_form_of_every_valid_site_says_the_same_and_is_its_own_usual_form() {
    let cases = fs::read_dir(house().join("tests/cases/site/valid")).unwrap().map(|case| case.unwrap().path());
    let mut count = 0;
    for site in cases.chain([house().join("site-example")]) {
        let before = tree_of(&site);
        let mut after = before.clone();
        for (path, text) in toml(&before) {
            let formed = barista::site::format(&path, &text).unwrap_or_else(|error| panic!("{}/{path}: {error}", site.display()));
            assert_eq!(barista::site::format(&path, &formed).as_ref(), Ok(&formed), "{}/{path}", site.display());
            let comments = |text: &str| text.lines().filter(|line| line.contains('#')).count();
            assert_eq!(comments(&formed), comments(&text), "{}/{path}", site.display());
            after.entries.insert(path, Entry::File(formed.into_bytes()));
            count += 1;
        }
        assert_eq!(load(&after).site, load(&before).site, "{}", site.display());
        assert!(load(&after).site.is_some());
    }
    assert!(count > 15, "{count} files");
}

#[test]
fn the_example_is_in_its_usual_form() {
    for (path, text) in toml(&tree_of(&house().join("site-example"))) {
        assert_eq!(barista::site::format(&path, &text).as_deref(), Ok(text.as_str()), "{path}");
    }
}

#[test]
fn fmt_shows_and_writes_the_usual_form_and_nothing_where_one_file_does_not_parse() {
    let cafe = Cafe::new();
    let row = cafe.work.tree.join("machines/row-a.toml");
    let text = "[defaults]\nboot = [\"local\"]\n[[machine]]\nmac = \"88:ae:dd:05:08:01\"  \nname = \"pc01\"\n";
    let formed = "[defaults]\nboot = [\"local\"]\n\n[[machine]]\nname = \"pc01\"\nmac = \"88:ae:dd:05:08:01\"\n";
    cafe.work.write("machines/row-a.toml", text);
    cafe.work.write("site.toml", "name = \"lucky-cat\"\n\n[server]\naddress = \"192.168.1.2\"\n");
    let (code, shown, beside) = ended(&cafe.barista(&["fmt", "--check"]));
    assert!(
        code == Some(1) && shown.contains("+mac = \"88:ae:dd:05:08:01\"\n") && beside.starts_with("1 of 4 files"),
        "{shown}{beside}"
    );
    assert_eq!(cafe.barista(&["fmt", "--dry-run"]).status.code(), Some(0));
    assert_eq!(cafe.barista(&["fmt", "site.toml"]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&row).unwrap(), text);
    cafe.work.write("images/local.toml", "kind = \n");
    let (code, _, beside) = ended(&cafe.barista(&["fmt"]));
    assert!(code == Some(1) && beside.contains("error[no-usual-form]: images/local.toml:1:1: not TOML"), "{beside}");
    assert_eq!(fs::read_to_string(&row).unwrap(), text);
    cafe.work.write("images/local.toml", "kind = \"local\"\n");
    assert_eq!(cafe.barista(&["fmt"]).status.code(), Some(0));
    assert_eq!(fs::read_to_string(&row).unwrap(), formed);
    let (code, shown, beside) = ended(&cafe.barista(&["fmt", "--check"]));
    assert_eq!((code, shown.as_str(), beside.as_str()), (Some(0), "", "all 4 files are in their usual form\n"));
    assert_eq!(cafe.barista(&["fmt", "machines/row-z.toml"]).status.code(), Some(64));
}

#[test]
fn every_subcommand_has_a_man_page_and_shells_complete_it() {
    let cafe = Cafe::new();
    let pages = cafe.work.root.path().join("man");
    assert_eq!(cafe.barista(&["man", "--write", pages.to_str().unwrap()]).status.code(), Some(0));
    let (_, help, _) = ended(&cafe.barista(&["--help"]));
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names: Vec<&str> =
        commands.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    assert!(names.len() > 12 && names.contains(&"machine") && !names.contains(&"man"), "{names:?}");
    let (_, completions, _) = ended(&cafe.barista(&["completions", "bash"]));
    for name in &names {
        let page = fs::read_to_string(pages.join(format!("barista-{name}.1"))).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(page.contains("Exit status:") && page.contains(&format!("barista {name}").replace('-', "\\-")), "{name}: {page}");
        assert!(completions.contains(&format!("barista__subcmd__{name}")) || completions.contains(name), "{name}");
    }
    for nested in ["barista.1", "barista-machine-import.1", "barista-hook-pre-receive.1"] {
        assert!(pages.join(nested).is_file(), "{nested}");
    }
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let (code, text, _) = ended(&cafe.barista(&["completions", shell]));
        assert!(code == Some(0) && text.contains("import"), "{shell}");
    }
}

#[test]
fn status_goes_on_until_it_is_told_to_stop_and_says_only_what_changes() {
    let cafe = Cafe::with_repository();
    let watching = cafe.watch_status();
    cafe.until("it has looked", || fs::read_to_string(&watching.told).is_ok_and(|told| told.contains("no agent has run here")));
    let agent = cafe.agent();
    cafe.until("it has seen the agent", || {
        fs::read_to_string(&watching.told)
            .is_ok_and(|told| told.contains(" +08:00 + agent ") && told.contains(" +08:00 - error: "))
    });
    let told = watching.told.clone();
    assert_eq!(watching.agent.stop(), Some(0));
    let told = fs::read_to_string(told).unwrap();
    assert_eq!(told.matches("follows").count(), 1, "{told}");
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn status_ends_when_nobody_reads_it_any_more() {
    let cafe = Cafe::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_barista"));
    command.args(["status", "--watch", "--state"]).arg(&cafe.state).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("readable");
    assert!(line.contains("no agent has run here"), "{line}");
    cafe.until("it has ended", || child.try_wait().expect("it is ours").is_some());
    assert_eq!(child.wait().expect("it has ended").code(), Some(0));
}
