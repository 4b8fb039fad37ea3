//! What a newcomer types in the words of other programs: commands, options, addresses of other computers.

use crate::cafe::Cafe;
use crate::cli::operator::ended;
use crate::serve::netns::skipped;
use std::fs;

/// The exit code, and all that is said beside the data, of a command in the test's directory.
fn said(cafe: &Cafe, words: &[&str]) -> (Option<i32>, String) {
    let (code, _, beside) = ended(&cafe.command(words).current_dir(cafe.work.root.path()).output().unwrap());
    (code, beside.replace(&*cafe.work.root.path().to_string_lossy(), "/srv"))
}

#[test]
fn init_makes_nothing_where_another_computer_is_named() {
    let cafe = Cafe::new();
    let root = cafe.work.root.path();
    let names = || fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name()).collect::<std::collections::BTreeSet<_>>();
    let before = names();
    let there = "run it there, as root, with the path alone: barista init /srv/cafe.git";
    for (typed, is, hint) in [
        ("root@server:/srv/x.git", "is on another computer", there),
        ("http://server/x.git", "is on another computer", there),
        ("ssh://server/srv/x.git", "is on another computer", there),
        ("git@github.com:cafe/site.git", "is on another computer", there),
        ("server:x.git", "is on another computer", there),
        ("file:///srv/x.git", "is an address", "write the path alone: /srv/x.git"),
        ("C:\\cafe.git", "is a path of Windows", there),
        ("\\\\nas\\cafe.git", "is a path of Windows", there),
    ] {
        for dry in [&[][..], &["--dry-run"]] {
            let expected = format!("error: {typed} {is}, and init makes a repository of this one\n  hint: {hint}\n");
            assert_eq!(said(&cafe, &[&["init", typed][..], dry].concat()), (Some(64), expected));
        }
    }
    assert_eq!(said(&cafe, &["init", "--example", "server:cafe"]).0, Some(64));
    assert_eq!(names(), before);
    // What lies here under such a name, or is called so on purpose, is a path.
    assert_eq!(said(&cafe, &["init", "./server:x.git"]).0, Some(0));
    assert_eq!(said(&cafe, &["init", "server:x.git"]).0, Some(0));
}

#[test]
fn a_file_in_place_of_a_directory_is_told_in_plain_words() {
    let cafe = Cafe::new();
    fs::write(cafe.work.root.path().join("cafe.git"), "").unwrap();
    let expected = "error: /srv/cafe.git is a file, and a repository is a directory\n  \
        hint: name a directory that does not exist yet, such as /srv/cafe.git\n";
    assert_eq!(said(&cafe, &["init", "cafe.git"]), (Some(1), expected.to_owned()));
}

#[test]
fn who_may_not_write_there_is_told_where_he_may() {
    use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};
    if !nix::unistd::Uid::effective().is_root() {
        return skipped("only root can be somebody else");
    }
    let cafe = Cafe::new();
    let root = cafe.work.root.path();
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(said(&cafe, &["init", "--example", "room"]).0, Some(0));
    let add = ["machine", "add", "--site", "room", "--mac", "88:ae:dd:05:0b:01", "--name", "pc77"];
    let output = cafe.command(&add).current_dir(root).uid(65534).gid(65534).output().unwrap();
    let (code, _, beside) = ended(&output);
    assert_eq!(code, Some(1), "{beside}");
    assert!(beside.contains("permission denied\n  hint: do it as the owner of that directory, or in a clone"), "{beside}");
    assert!(!beside.contains(".barista."), "the name of the file that was to take its place: {beside}");
}

#[test]
fn what_another_program_calls_it_is_answered_with_what_it_is_called_here() {
    let cafe = Cafe::new();
    for (words, hint) in [
        (&["validate"][..], "barista check"),
        (&["lint"], "barista check"),
        (&["ls"], "barista machine list"),
        (&["version"], "barista --version"),
        (&["diff"], "barista plan"),
        (&["deploy"], "git push origin HEAD:main; or barista apply --site DIR, on the server"),
        (&["machine", "show", "pc01"], "barista explain pc01, or barista machine list"),
        (&["apply", "--dry-run"], "barista plan shows what apply would do, and changes nothing"),
        (&["plan", "--dry-run"], "leave it out: this command changes nothing"),
        (&["apply", "-y"], "--yes"),
        (&["run", "--site", "cafe"], "the agent follows a repository: --repo GITDIR, which barista init makes"),
        (&["check", "－－site", "cafe"], "an option begins with the ASCII sign -: --site"),
        (&["machine", "add", "88:ae:dd:05:0b:01"], "--mac 88:ae:dd:05:0b:01"),
        (&["machine", "add", "--name", "PC 07"], "--name pc-07"),
        (&["machine", "add", "--name", "pc07.cafe.lan"], "--name pc07"),
        (&["machine", "add", "--ip", "192.168.001.107"], "--ip 192.168.1.107"),
        (
            &["machine", "add", "--ip", "auto"],
            "write four numbers from 0 to 255: --ip 192.168.1.107; without --ip it is the next of its row",
        ),
        (&["schema", "machine"], "name one of boot-table, diagnosis,"),
    ] {
        let (code, beside) = said(&cafe, words);
        assert_eq!(code, Some(64), "{words:?}: {beside}");
        assert!(beside.contains(&format!("  hint: {hint}")), "{words:?}: {beside}");
        assert!(!beside.contains("tip: "), "a word that is only spelled alike: {beside}");
    }
    assert_eq!(said(&cafe, &["schema", "machines.json"]), (Some(0), String::new()));
}

#[test]
fn an_import_of_what_is_not_read_says_what_to_make_of_it() {
    let cafe = Cafe::new();
    let site = cafe.work.tree.to_string_lossy().into_owned();
    let table = "make a table of it: the line name,mac,ip, and below it a line for each machine; save it as machines.csv";
    for (name, text, hint) in [
        ("router.html", "<html><td>pc02</td>", format!("a page of the web or XML is not read: {table}")),
        ("arp.txt", "? (192.168.1.102) at 88:ae:dd:05:09:01 [ether] on eno1\n", format!("hint: {table}")),
        ("row.toml", "[[machine]]\nname = \"pc02\"\n", "copy it into the directory machines/".to_owned()),
    ] {
        fs::write(cafe.work.root.path().join(name), text).unwrap();
        let (code, beside) = said(&cafe, &["machine", "import", name, "--site", &site]);
        assert!(code == Some(1) && beside.ends_with(&format!("{hint}\n")), "{name}: {beside}");
    }
    let (code, beside) = said(&cafe, &["machine", "import", "-", "--site", &site]);
    assert!(code == Some(1) && beside.contains("hint: standard input is not read"), "{beside}");
    let (code, beside) = said(&cafe, &["machine", "import", "https://router/list.csv", "--site", &site]);
    assert!(code == Some(64) && beside.contains("hint: download it, and name the file"), "{beside}");
}

#[test]
fn a_chinese_title_stands_beside_the_name_in_a_table_whose_columns_are_straight() {
    let cafe = Cafe::new();
    let image = fs::read_dir(cafe.work.tree.join("images")).unwrap().map(|entry| entry.unwrap().path()).next().unwrap();
    let name = image.file_stem().unwrap().to_string_lossy().into_owned();
    let text: String = fs::read_to_string(&image)
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with("title"))
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&image, format!("title = \"网吧系统\"\n{text}")).unwrap();
    let site = cafe.work.tree.to_string_lossy().into_owned();
    let (_, data, _) = ended(&cafe.barista(&["machine", "list", "--site", &site]));
    let titled = format!("{name} (网吧系统)");
    let (head, row) =
        (data.lines().next().unwrap(), data.lines().find(|line| line.contains(&titled)).unwrap_or_else(|| panic!("{data}")));
    // Each of the four characters takes two columns, and the last cell of a row begins where its head does.
    let (before, _) = row.rsplit_once("  ").unwrap();
    let at = unicode_width::UnicodeWidthStr::width(before) + 2;
    assert_eq!(head.find("LAST SEEN"), Some(at), "{data}");
}
