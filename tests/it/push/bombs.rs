//! A few kilobytes of a push that ask for gigabytes: each is refused by the hook within ten seconds and 256 MiB, with the file and the
//! limit, and an agent whose hook was passed over refuses it too and goes on.

use crate::cafe::Cafe;
use crate::push::git::text;
use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// What the real program may take, the trial that it starts included.
const MEMORY: u64 = 256 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the hook on a commit with bounded memory; its exit status and what it said.
fn hook(cafe: &Cafe, commit: &str) -> (Option<i32>, String) {
    let updates = cafe.work.root.path().join("updates");
    fs::write(&updates, format!("{} {commit} refs/heads/main\n", "0".repeat(40))).unwrap();
    let begun = Instant::now();
    let output = Command::new("prlimit")
        .arg(format!("--data={MEMORY}"))
        .args([env!("CARGO_BIN_EXE_barista"), "hook", "pre-receive"])
        .env("GIT_DIR", cafe.work.tree.join(".git"))
        .env("BARISTA_STATE", &cafe.state)
        .env("BARISTA_HOST_TOML", cafe.host_toml())
        .env("BARISTA_RUN", cafe.work.root.path().join("run"))
        .stdin(fs::File::open(&updates).unwrap())
        .output()
        .expect("prlimit is there");
    // The tests share the machine's processors.
    assert!(begun.elapsed() < PATIENCE * 2, "{:?}", begun.elapsed());
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

/// The hook refuses what is in the work tree now, for this reason.
fn refused(what: &str, cafe: &Cafe, reasons: &[&str]) {
    let commit = cafe.work.commit(what);
    refused_commit(what, cafe, &commit, reasons);
}

fn refused_commit(what: &str, cafe: &Cafe, commit: &str, reasons: &[&str]) {
    let (status, said) = hook(cafe, commit);
    assert_eq!(status, Some(1), "{what}: {said}");
    for reason in reasons {
        assert!(said.contains(reason), "{what}: {reason:?} is not in: {}", said.chars().take(2000).collect::<String>());
    }
    assert!(said.len() < 1 << 20, "{what}: nobody reads {} bytes", said.len());
}

#[test]
fn the_same_hook_takes_a_good_site_within_the_same_bounds() {
    let cafe = Cafe::new();
    cafe.seats(250);
    let commit = cafe.work.commit("a good site");
    let (status, said) = hook(&cafe, &commit);
    assert!(status == Some(0) && said.contains("boot pc01"), "{said}");
}

#[test]
fn templates_that_grow_without_end_are_refused() {
    let head = "#!ipxe\n:failed\n";
    let doubled = "{% set x = x ~ x %}".repeat(40);
    let templates = [
        ("a text that is doubled", format!("{head}{{% set x = 'aaaaaaaa' %}}{doubled}{{{{ x }}}}")),
        ("and nobody sees", format!("{head}{{% set x = 'aaaaaaaa' %}}{doubled}")),
        ("a product", format!("{head}{{% set x = 'a' * 99999999 %}}{{% set y = x ~ x ~ x ~ x %}}{{{{ y | length }}}}")),
        (
            "a block that is set",
            format!("{head}{{% set x %}}{{% for i in range(100000) %}}{}{{% endfor %}}{{% endset %}}", "x".repeat(9000)),
        ),
        (
            "lists of lists",
            format!("{head}{{% set l = ['aaaaaaaa'] %}}{}{{% set t = l | string %}}", "{% set l = [l, l] %}".repeat(40)),
        ),
        ("a replacement", format!("{head}{{% set x = 'a' * 99999 %}}{{% set y = x | replace('a', x) %}}{{{{ y | length }}}}")),
        (
            "a namespace",
            format!("{head}{{% set n = namespace(x='aa') %}}{{% for i in range(60) %}}{{% set n.x = n.x ~ n.x %}}{{% endfor %}}"),
        ),
        (
            "a macro",
            format!(
                "{head}{{% macro m(x, n) %}}{{% if n > 0 %}}{{{{ m(x ~ x, n - 1) }}}}{{% endif %}}{{% endmacro %}}{{{{ m('aa', 60) }}}}"
            ),
        ),
        ("an output", format!("{head}{{% for i in range(100000) %}}{}{{% endfor %}}", "x".repeat(9000))),
        ("steps", format!("{head}{{% for i in range(100000) %}}{{% for j in range(100000) %}}{{% endfor %}}{{% endfor %}}")),
    ];
    for (what, template) in templates {
        let cafe = Cafe::new();
        cafe.work.write("templates/machine.ipxe", &template);
        refused(what, &cafe, &["templates/machine.ipxe"]);
    }
}

#[test]
fn toml_that_unfolds_is_refused() {
    let nested = |open: &str, close: &str| format!("x = {}{}\n", open.repeat(100_000), close.repeat(100_000));
    let machines: String = (0..40_000).map(|n| format!("[[machine]]\nname=\"m{n}\"\n")).collect();
    let files = [
        ("nested lists", "machines/a.toml", nested("[", "]")),
        ("nested tables", "machines/a.toml", nested("{a=", "}")),
        ("a key of many parts", "images/a.toml", format!("{}b = 1\n", "a.".repeat(200_000))),
        ("a list of numbers", "images/local.toml", format!("kind = \"local\"\nkey = [{}]\n", "1,".repeat(500_000))),
        ("a list of tables", "machines/a.toml", format!("moved = [{}]\n", "{},".repeat(250_000))),
        ("machines without addresses", "machines/a.toml", machines),
        ("empty machines", "machines/a.toml", "[[machine]]\n".repeat(85_000)),
        ("one long line", "site.toml", format!("name = \"{}\"\n", "x".repeat(1_000_000))),
    ];
    for (what, path, file) in files {
        let cafe = Cafe::new();
        cafe.work.write(path, &file);
        refused(what, &cafe, &[path]);
    }
}

#[test]
fn too_many_files_and_too_long_names_are_refused() {
    let cafe = Cafe::new();
    let blob = cafe.work.git(&["hash-object", "-w", "site.toml"]);
    let tree = |lines: String| {
        let path = cafe.work.root.path().join("lines");
        fs::write(&path, lines).unwrap();
        let mut command = Command::new("git");
        command.current_dir(&cafe.work.tree).arg("mktree").stdin(fs::File::open(&path).unwrap()).stderr(Stdio::inherit());
        let made = command.output().unwrap();
        assert!(made.status.success());
        text(&made.stdout).trim().to_owned()
    };
    let commit = |tree: &str| cafe.work.git(&["commit-tree", "-m", "a bomb", tree]);
    let files = |count: u32, width: usize| (0..count).map(|n| format!("100644 blob {blob}\tf{n:0width$}\n")).collect::<String>();
    refused_commit("100,000 files", &cafe, &commit(&tree(files(100_000, 6))), &["its root", "2097152 bytes"]);
    refused_commit("30,000 files", &cafe, &commit(&tree(files(30_000, 6))), &["more than 20000 files", "f0"]);
    refused_commit("long names", &cafe, &commit(&tree(files(3, 4000))), &["longer than 512 bytes"]);
    let mut wide = tree(files(1, 1));
    for _ in 0..25 {
        let inner = wide.clone();
        wide = tree(('a'..='z').map(|name| format!("040000 tree {inner}\t{name}\n")).collect());
    }
    refused_commit("a tree of trees", &cafe, &commit(&wide), &["more than 20000 files", "a/a/a"]);
    let mut deep = tree(files(1, 1));
    for _ in 0..200 {
        deep = tree(format!("040000 tree {deep}\td\n"));
    }
    refused_commit("deep directories", &cafe, &commit(&deep), &["deeper than 32", "d/d/d"]);
    let message = cafe.work.root.path().join("message");
    fs::write(&message, "x".repeat(30 << 20)).unwrap();
    let long = cafe.work.git(&["commit-tree", "-F", message.to_str().unwrap(), &tree(files(1, 1))]);
    refused_commit("a long message", &cafe, &long, &["its message", "1048576 bytes"]);
    let text = "x".repeat(1 << 20);
    let large = |n: u32| format!("photos/{n}.txt");
    (0..20).for_each(|n| cafe.work.write(&large(n), &format!("{n}{}", &text[8..])));
    refused("much text", &cafe, &["more than 16 MiB of text", "photos/"]);
}

#[test]
fn thousands_of_machines_with_huge_menus_are_refused() {
    let cafe = Cafe::new();
    let images: Vec<String> = (0..40).map(|n| format!("local{n}")).collect();
    let title = "x".repeat(60);
    images
        .iter()
        .for_each(|image| cafe.work.write(&format!("images/{image}.toml"), &format!("kind = \"local\"\ntitle = \"{title}\"\n")));
    let boot = images.iter().map(|image| format!("{image:?}")).collect::<Vec<_>>().join(", ");
    for file in 0..10 {
        let machine = |n: u32| format!("[[machine]]\nname = \"m{n}\"\nmac = \"88:ae:dd:06:{:02x}:{:02x}\"\n", n >> 8, n & 255);
        let machines: String = (file * 1000..(file + 1) * 1000).map(machine).collect();
        cafe.work.write(&format!("machines/{file}.toml"), &format!("[defaults]\nboot = [{boot}]\n{machines}"));
    }
    refused("menus", &cafe, &["machine", "more than"]);
}

#[test]
fn an_agent_whose_hook_was_passed_over_refuses_a_bomb_and_goes_on() {
    let cafe = Cafe::with_repository();
    let agent = cafe.agent();
    let good = cafe.work.commit("open the café");
    fs::write(cafe.repository.join("hooks/pre-receive"), "").unwrap();
    assert!(cafe.push("HEAD:main").0);
    cafe.status_when("the café is open", |status| status["serving"]["revision"]["id"] == good.as_str());
    let template = format!("#!ipxe\n{{% set x = 'aaaaaaaa' %}}{}", "{% set x = x ~ x %}".repeat(40));
    cafe.work.write("templates/machine.ipxe", &template);
    let bomb = cafe.work.commit("a bomb");
    assert!(cafe.push("HEAD:main").0);
    let status = cafe
        .status_when("it is refused", |status| status["last"]["revision"]["id"] == bomb.as_str() && !status["waiting"].is_null());
    let finding = &status["last"]["result"]["refused"]["findings"][0];
    assert_eq!(finding["place"]["file"], "templates/machine.ipxe", "{status}");
    assert!(finding["message"].as_str().unwrap().contains("192 MiB of memory"), "{status}");
    assert_eq!(status["serving"]["revision"]["id"], good.as_str());
    // The next good commit is taken by the same agent.
    fs::remove_file(cafe.work.tree.join("templates/machine.ipxe")).unwrap();
    let mended = cafe.work.commit("without it");
    assert!(cafe.push("HEAD:main").0);
    cafe.status_when("the café goes on", |status| status["serving"]["revision"]["id"] == mended.as_str());
    assert_eq!(agent.stop(), Some(0));
}
