//! What a newcomer types in the wrong place, about the wrong thing or a second time, each with the whole of what is said.

use crate::cafe::Cafe;
use crate::cli::operator::ended;
use std::{fs, process::Output};

/// Exit code, standard output and standard error, with the test's directory called `/srv`.
fn said(cafe: &Cafe, output: &Output) -> String {
    let (code, data, beside) = ended(output);
    let root = cafe.work.root.path().to_string_lossy().into_owned();
    format!("{data}{beside}exit {}\n", code.unwrap()).replace(&root, "/srv")
}

/// Runs the program in a directory of the test's.
fn run(cafe: &Cafe, directory: &str, words: &[&str]) -> String {
    said(cafe, &cafe.command(words).current_dir(cafe.work.root.path().join(directory)).output().unwrap())
}

/// The name of the work tree below the test's directory.
fn tree(cafe: &Cafe) -> String {
    cafe.work.tree.file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn a_site_that_is_named_as_a_repository_is_said_to_be_a_site_and_the_other_way_round() {
    let cafe = Cafe::with_repository();
    let site = tree(&cafe);
    assert_eq!(
        run(&cafe, "", &["check", "--site", "cafe.git"]),
        "error: cafe.git is no site, but a git repository\n  hint: name it with --repo: --repo cafe.git\nexit 1\n"
    );
    let file = format!("{site}/site.toml");
    assert_eq!(
        run(&cafe, "", &["check", "--site", &file]),
        format!(
            "error: {file} is a file, and a site is a directory\n  hint: name the directory that it lies in: --site {site}\nexit 1\n"
        )
    );
    let bare = cafe.work.root.path().join("copy");
    fs::create_dir(&bare).unwrap();
    fs::copy(cafe.work.tree.join("site.toml"), bare.join("site.toml")).unwrap();
    assert_eq!(
        run(&cafe, "", &["check", "--repo", "copy"]),
        "error: copy is not a git repository\n  hint: copy is a site's directory: name it with --site copy\nexit 1\n"
    );
}

#[test]
fn init_puts_no_repository_among_other_files() {
    let cafe = Cafe::new();
    let place = cafe.work.root.path().join("copy");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("site.toml"), "").unwrap();
    for dry in [&[][..], &["--dry-run"]] {
        assert_eq!(
            run(&cafe, "", &[&["init", "copy"][..], dry].concat()),
            "error: /srv/copy is a site, and a repository for it is another directory\n  \
             hint: make one beside it: barista init /srv/cafe.git; then push the site to it\nexit 1\n"
        );
    }
    fs::rename(place.join("site.toml"), place.join("photo.jpg")).unwrap();
    assert_eq!(
        run(&cafe, "", &["init", "copy"]),
        "error: /srv/copy is not empty, and no repository\n  \
         hint: name a directory that does not exist yet, such as /srv/cafe.git\nexit 1\n"
    );
    assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
    // An empty one is taken, and so is one whose making was cut off.
    fs::remove_file(place.join("photo.jpg")).unwrap();
    assert!(run(&cafe, "", &["init", "copy"]).ends_with("exit 0\n"));
    fs::remove_file(place.join("HEAD")).unwrap();
    assert!(run(&cafe, "", &["init", "copy"]).ends_with("exit 0\n"));
    assert!(place.join("HEAD").is_file());
}

/// hashicorp/terraform#11504: a plan in a directory without any configuration said that nothing had to change.
#[test]
fn what_looked_at_nothing_does_not_say_that_all_is_well() {
    let cafe = Cafe::new();
    let (site, machines) = (tree(&cafe), format!("{}/machines", tree(&cafe)));
    for words in
        [&["fmt", "--check"][..], &["check"], &["machine", "list"], &["machine", "import", "x.csv"], &["fmt", "row-a.toml"]]
    {
        assert_eq!(
            run(&cafe, &machines, words),
            format!(
                "error: /srv/{machines} is no site: there is no site.toml in it\n  hint: the site is /srv/{site}: write --site /srv/{site}\nexit 1\n"
            ),
            "{words:?}"
        );
        let near = run(&cafe, "", words);
        assert!(near.contains(&format!("hint: the site is /srv/{site}: write --site /srv/{site}\n")), "{words:?}: {near}");
        assert_eq!(near.lines().count(), 3, "{words:?}: {near}");
    }
    fs::create_dir(cafe.work.root.path().join("void")).unwrap();
    fs::write(cafe.work.root.path().join("void/site.yaml"), "").unwrap();
    assert_eq!(
        run(&cafe, "", &["fmt", "--check", "--site", "void"]),
        "error: void has no TOML file of a site\n  hint: name the site's directory with --site\nexit 1\n"
    );
}

#[test]
fn fmt_finds_a_file_however_it_was_typed_and_says_how_files_are_named() {
    let cafe = Cafe::new();
    let (site, row) = (tree(&cafe), cafe.work.tree.join("machines/row-a.toml"));
    let messy = "[defaults]\nboot = [\"local\"]\n[[machine]]\nmac = \"88:ae:dd:05:08:01\"\nname = \"pc01\"\n";
    let whole = row.to_string_lossy().into_owned();
    for typed in ["machines/row-a.toml", "./machines/row-a.toml", "machines\\row-a.toml", &whole] {
        fs::write(&row, messy).unwrap();
        let told = run(&cafe, &site, &["fmt", typed]);
        assert!(told.ends_with("1 of 1 files were put into their usual form\nexit 0\n"), "{typed}: {told}");
    }
    let mistyped = |directory: &str, words: &[&str], hint: &str| {
        let typed = words[1];
        let expected = format!("error: the site has no TOML file {typed}\n  hint: {hint}\nexit 64\n");
        assert_eq!(run(&cafe, directory, words), expected);
    };
    mistyped(&site, &["fmt", "row-a.toml"], "files are named by their paths in the site: machines/row-a.toml");
    let example = "files are named by their paths in the site, such as machines/room.toml; without any, all are put into form";
    mistyped(&site, &["fmt", "machines/row-z.toml"], example);
    mistyped("", &["fmt", &site, "--site", &site], &format!("it is a site's directory: name it with --site {site}"));
}

#[test]
fn the_first_thing_that_everybody_types_is_answered_with_what_it_was_meant_to_be() {
    let cafe = Cafe::with_repository();
    let site = tree(&cafe);
    let expected = |command: &str, word: &str, usage: &str, hint: &str| {
        format!(
            "error: unexpected argument '{word}' found\n\nUsage: barista {command} {usage}\n\nFor more information, try '--help'.\n\n  hint: {hint}\nexit 64\n"
        )
    };
    let file = format!("{site}/site.toml");
    for (word, hint) in [
        (site.as_str(), format!("name a site's directory with --site: --site {site}")),
        (&file, format!("name the directory of a site: --site {site}")),
        ("cafe.git", "name a repository with --repo: --repo cafe.git".to_owned()),
    ] {
        for command in ["check", "plan"] {
            assert_eq!(run(&cafe, "", &[command, word]), expected(command, word, "[OPTIONS]", &hint));
        }
    }
    // What the environment says is not called for in the usage.
    let told = run(&cafe, "", &["init", "--nonsense"]);
    assert!(told.contains("\nUsage: barista init [OPTIONS] [GITDIR]\n") && !told.contains("--state"), "{told}");
}

#[test]
fn where_nobody_listened_nobody_says_that_no_machine_was_seen() {
    let cafe = Cafe::new();
    let nobody = "error: nothing was ever asked of this server: there is no /srv/state/serve/transcript.json\n  \
        hint: start the service: systemctl start barista-serve; or name its --state\nexit 1\n";
    for words in [
        &["machine", "seen"][..],
        &["machine", "seen", "--json"],
        &["machine", "seen", "--site", "."],
        &["machine", "add"],
        &["machine", "add", "--from-seen", "--all"],
        &["machine", "add", "--from-seen", "88:ae:dd:05:08:09"],
        &["explain", "pc01"],
    ] {
        assert_eq!(run(&cafe, &tree(&cafe), words), nobody, "{words:?}");
    }
}

#[test]
fn init_makes_no_repository_within_a_site() {
    let cafe = Cafe::new();
    let site = tree(&cafe);
    for below in ["cafe.git", "deploy/cafe.git"] {
        for dry in [&[][..], &["--dry-run"]] {
            assert_eq!(
                run(&cafe, &site, &[&["init", below][..], dry].concat()),
                format!(
                    "error: /srv/{site}/{below} lies in the site /srv/{site}, and git add would take it for a part of that\n  \
                     hint: make it beside the site: barista init /srv/cafe.git; then push the site to it\nexit 1\n"
                )
            );
        }
        assert!(!cafe.work.tree.join(below).exists());
    }
}

#[test]
fn init_shows_every_file_that_it_would_write() {
    let cafe = Cafe::new();
    let etc = cafe.work.root.path().join("etc");
    let systemd = format!("--systemd={}", etc.display());
    let (_, shown, _) = ended(&cafe.barista(&["init", cafe.repository.to_str().unwrap(), &systemd, "--dry-run"]));
    let (code, _, beside) = ended(&cafe.barista(&["init", cafe.repository.to_str().unwrap(), &systemd]));
    assert_eq!(code, Some(0));
    let written: Vec<&str> = beside.lines().filter_map(|line| line.strip_prefix("wrote ")).collect();
    assert!(written.len() == 6 && written.iter().any(|path| path.ends_with("/barista/host.toml")), "{written:?}");
    for path in written {
        assert!(shown.contains(&format!("\n+++ b{path}\n")), "{path} is not in:\n{shown}");
    }
    // Root's own file is never written again, and so it is not shown.
    fs::write(etc.join("barista/host.toml"), "# mine\n").unwrap();
    let (_, shown, _) = ended(&cafe.barista(&["init", cafe.repository.to_str().unwrap(), &systemd, "--dry-run"]));
    assert_eq!(shown, "");
}

#[test]
fn a_key_of_the_example_that_is_said_to_have_its_default_may_be_left_out() {
    let whole = crate::site::cases::tree_of(&crate::site::cases::house().join("site-example"));
    let barista::site::Entry::File(bytes) = &whole.entries["site.toml"] else { panic!("a file") };
    let example = String::from_utf8(bytes.clone()).unwrap();
    let (_, said) = example.split_once("or says its default; ").unwrap();
    let said: String = said.split("\n\n").next().unwrap().replace("\n#", "");
    let keys: Vec<&str> =
        said.split(" here have the value").next().unwrap().split([',', ' ']).filter(|word| word.contains('-')).collect();
    assert_eq!(keys, ["thin-pool", "http-port", "menu-timeout", "max-destroy", "may-destroy"], "and reserve");
    let is_default = |line: &&str| keys.iter().chain(&["reserve"]).any(|key| line.starts_with(&format!("{key} = ")));
    assert_eq!(example.lines().filter(is_default).count(), 6);
    let less: String = example.lines().filter(|line| !is_default(line)).map(|line| format!("{line}\n")).collect();
    let mut tree = whole.clone();
    tree.entries.insert("site.toml".to_owned(), barista::site::Entry::File(less.into_bytes()));
    assert_eq!(barista::site::load(&tree).site, barista::site::load(&whole).site);
}

#[test]
fn a_site_in_a_directory_of_its_repository_is_one_finding_that_says_where_it_lies() {
    let cafe = Cafe::with_repository();
    let inner = cafe.work.tree.join("cafe");
    fs::create_dir(&inner).unwrap();
    for name in ["site.toml", "machines", "images", "network"] {
        fs::rename(cafe.work.tree.join(name), inner.join(name)).unwrap();
    }
    cafe.work.commit("open the café");
    let (went, told) = cafe.push("HEAD:main");
    let told: String =
        told.lines().filter_map(|line| line.strip_prefix("remote: ")).map(|line| format!("{}\n", line.trim_end())).collect();
    let expected = "error[no-site-file]: site.toml: there is no site.toml at the top, where a site begins: it lies in cafe/\n  \
        hint: move the site up: git mv cafe/* . && git commit -am \"Move the site up\"\n\
        refused: 1 error, 0 warnings; the café stays as it is\n";
    assert!(!went && told == expected, "{told}");
}

#[test]
fn status_says_that_a_push_waits_for_an_agent_that_does_not_run() {
    let (cafe, agent, _) = Cafe::serving();
    assert_eq!(agent.stop(), Some(0));
    assert_eq!(cafe.barista(&["status"]).status.code(), Some(0), "nothing waits");
    cafe.seats(2);
    let second = cafe.work.commit("add pc02");
    assert!(cafe.push("HEAD:main").0);
    let (code, told, _) = ended(&cafe.barista(&["status"]));
    let head = format!("head    main is at {}, which is not applied: systemctl start barista-agent\n", &second[..7]);
    assert!(code == Some(3) && told.contains(&head), "{told}");
    assert_eq!(cafe.barista(&["status", "--json"]).status.code(), Some(3));
    fs::rename(&cafe.repository, cafe.work.root.path().join("away")).unwrap();
    let (code, told, _) = ended(&cafe.barista(&["status"]));
    assert!(code == Some(3) && told.contains("head    whether a commit waits cannot be seen: "), "{told}");
}

/// The address of a repository elsewhere was read as a path, and the advice was to make a directory of that name.
#[test]
fn a_repository_on_another_computer_is_not_looked_for_here() {
    let cafe = Cafe::new();
    for address in ["root@server:/srv/cafe.git", "http://server/cafe.git", "server:cafe.git"] {
        assert_eq!(
            run(&cafe, "", &["check", "--repo", address]),
            format!(
                "error: {address} is on another computer, and this command reads repositories of this one\n  \
                 hint: run it there, with the repository's path; or name a work tree of it with --site\nexit 64\n"
            )
        );
    }
}

#[test]
fn what_is_wrong_with_a_machine_to_add_stands_at_what_was_typed() {
    let cafe = Cafe::new();
    let site = tree(&cafe);
    cafe.work.write(
        "machines/room.toml",
        "[defaults]\nboot = [\"local\"]\n\n[[machine]]\nname = \"pc11\"\nmac = \"02:00:00:00:00:11\"\nip = \"192.168.1.111\"\n",
    );
    let add = |more: &[&str]| {
        let words = [&["machine", "add", "--mac", "02:00:00:00:00:12", "--file", "room", "--dry-run"][..], more].concat();
        run(&cafe, &site, &words)
    };
    assert_eq!(
        add(&["--name", "pc11", "--ip", "192.168.1.112"]),
        "error[duplicate]: --name pc11: machine pc11 is there twice\n  \
         hint: the first is machines/room.toml:5:8\n1 error, 0 warnings\nexit 1\n"
    );
    assert_eq!(
        add(&["--ip", "192.168.1.111"]),
        "error[duplicate]: --ip 192.168.1.111: address 192.168.1.111 is there twice\n  \
         hint: the first is machines/room.toml:7:6\n1 error, 0 warnings\nexit 1\n"
    );
    cafe.work.write("machines/office.toml", "# nobody yet\n");
    assert_eq!(
        run(&cafe, &site, &["machine", "add", "--mac", "02:00:00:00:00:13", "--name", "till", "--file", "machines/office.toml"]),
        "error[nothing-to-boot]: machines/office.toml, with till in it: machine till has nothing to boot\n  \
         hint: add boot = [\"…\"] to it, or to [defaults] of its file\n1 error, 0 warnings\nexit 1\n"
    );
    for file in ["network/lan.toml", "machines/", "machines/row/a.toml"] {
        assert_eq!(
            run(&cafe, &site, &["machine", "add", "--mac", "02:00:00:00:00:13", "--name", "till", "--file", file]),
            format!(
                "error: {file} is no file that machines are read from\n  \
                 hint: machines go into a file of machines/: --file machines/room.toml\nexit 64\n"
            )
        );
    }
}

#[test]
fn a_machine_is_not_called_unknown_before_any_site_was_applied() {
    let cafe = Cafe::new();
    let place = cafe.state.join("serve");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("transcript.json"), r#"{"version":2,"servers":{},"machines":{}}"#).unwrap();
    for asked in ["pc01", "192.168.1.101"] {
        assert_eq!(
            run(&cafe, "", &["explain", asked]),
            format!(
                "error: no site was applied here yet, so {asked:?} is not known by this name\n  \
                 hint: `barista status` says what was pushed and why it is not applied; an Ethernet address is explained at once\nexit 1\n"
            )
        );
    }
    // An address that nobody knows is explained, and is no success.
    let said = run(&cafe, "", &["explain", "88:ae:dd:05:0b:77"]);
    assert!(said.ends_with("exit 1\n") && said.contains("88:ae:dd:05:0b:77"), "{said}");
}

#[test]
fn a_document_that_does_not_read_is_told_with_its_cause_and_what_mends_that() {
    let cafe = Cafe::new();
    for directory in ["serve", "boot"] {
        fs::create_dir_all(cafe.state.join(directory)).unwrap();
    }
    let cause = |text: &str, newest: u32| match text {
        "" => "it is empty".to_owned(),
        "{" => "it is damaged: EOF while parsing an object at line 1 column 1".to_owned(),
        _ => format!("a newer barista wrote it: it is version 99, and this one reads up to version {newest}"),
    };
    let hint = |text: &str, service: &str| match text.contains("99") {
        true => "this is an older barista than the one that runs: `type -a barista` shows which there are".to_owned(),
        false => format!("systemctl restart {service}, which writes it anew"),
    };
    let tree = cafe.work.tree.to_string_lossy().into_owned();
    for text in ["{", "", r#"{"version":99}"#] {
        let refused = |file: &str, newest: u32, service: &str| {
            let (cause, hint) = (cause(text, newest), hint(text, service));
            format!("error: /srv/state/{file} does not read: {cause}\n  hint: {hint}\nexit 1\n")
        };
        let transcript = cafe.state.join("serve/transcript.json");
        fs::write(&transcript, text).unwrap();
        for words in [&["explain", "pc01"][..], &["machine", "seen"], &["machine", "add"]] {
            let said = run(&cafe, &self::tree(&cafe), words);
            assert_eq!(said, refused("serve/transcript.json", 3, "barista-serve"), "{words:?} {text:?}");
        }
        // What is in the site is listed all the same.
        let said = run(&cafe, "", &["machine", "list", "--site", &tree]);
        let (cause, hint) = (cause(text, 3), hint(text, "barista-serve"));
        let aside = format!(
            "when machines were last seen is not known: /srv/state/serve/transcript.json does not read: {cause}; {hint}\nexit 0\n"
        );
        assert!(said.contains("pc01") && said.ends_with(&aside), "{text:?}: {said}");
        fs::remove_file(&transcript).unwrap();
        fs::write(cafe.state.join("status.json"), text).unwrap();
        assert_eq!(run(&cafe, "", &["status"]), refused("status.json", 2, "barista-agent"), "{text:?}");
        fs::write(cafe.state.join("boot/table.json"), text).unwrap();
        assert_eq!(run(&cafe, "", &["explain", "pc01"]), refused("boot/table.json", 2, "barista-agent"), "{text:?}");
        fs::remove_file(cafe.state.join("boot/table.json")).unwrap();
    }
}
