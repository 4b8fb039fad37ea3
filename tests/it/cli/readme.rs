//! README's own commands, typed as it shows them: from nothing to a boot table that has the first PC.
//!
//! What would change this machine is passed over by name: packages, the build, users and services, which the lab's machines have. Paths of
//! the server lie in a directory of the test's own.

use crate::serve::service::DEADLINE;
use barista::boot::table::{BootTable, PATH};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Instant,
};

/// Commands that are not run here; each is a program of README's, and does nothing.
const PASSED_OVER: [&str; 6] = ["apt-get", "cargo", "install", "systemd-sysusers", "systemd-tmpfiles", "systemctl"];

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("it is there")
}

/// The commands of a section, a block after the other.
fn blocks(section: &str) -> Vec<String> {
    let text = readme();
    let (_, rest) = text.split_once(&format!("\n## {section}\n")).unwrap_or_else(|| panic!("no section {section:?}"));
    let section = rest.split("\n## ").next().expect("a section");
    section.split("```sh\n").skip(1).map(|block| block.split("```").next().expect("an end").to_owned()).collect()
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn whoever_types_what_readme_shows_has_a_cafe_of_one_machine() {
    let place = tempfile::tempdir().expect("a directory");
    let root = place.path();
    for directory in ["bin", "srv", "state", "run", "usr"] {
        fs::create_dir(root.join(directory)).expect("it is made");
    }
    for program in PASSED_OVER {
        script(&root.join("bin").join(program), "#!/bin/sh\nexit 0\n");
    }
    // Units and settings are the host's, so they go elsewhere.
    let barista = env!("CARGO_BIN_EXE_barista");
    script(
        &root.join("bin/barista"),
        &format!(
            "#!/bin/sh\nfor word; do shift; [ \"$word\" != --systemd ] || word=--systemd={}; set -- \"$@\" \"$word\"; done\nexec {barista} \"$@\"\n",
            root.join("etc").display()
        ),
    );
    let installer = root.join("usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64");
    fs::create_dir_all(&installer).expect("it is made");
    for file in ["linux", "initrd.gz"] {
        fs::write(installer.join(file), file).expect("it is written");
    }
    let run = |words: &str| {
        let placed = ["/srv/", "/usr/lib/debian-installer/"]
            .iter()
            .fold(words.to_owned(), |text, path| text.replace(&format!(" {path}"), &format!(" {}{path}", root.display())));
        let placed = placed.replace("/var/lib/barista", &root.join("state").display().to_string());
        let mut shell = Command::new("sh");
        shell.args(["-euc", &placed]).current_dir(root).stdin(Stdio::null()).env_remove("RUST_LOG");
        shell.env("PATH", format!("{}:{}", root.join("bin").display(), std::env::var("PATH").expect("a path")));
        shell.env("BARISTA_STATE", root.join("state")).env("BARISTA_RUN", root.join("run"));
        shell.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        // As on a fresh server: git knows nobody, and makes no name up of the host's.
        shell.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "user.useConfigOnly").env("GIT_CONFIG_VALUE_0", "true");
        for known in ["GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "EMAIL"] {
            shell.env_remove(known);
        }
        shell
    };
    let said = |words: &str| {
        let output = run(words).output().expect("a shell");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{words}\n{said}");
        said
    };

    let blocks = blocks("From nothing to a booted PC");
    let [install, services, site, push] = &blocks[..] else { panic!("four blocks: {blocks:#?}") };
    said(install);
    assert!(said("barista --version").starts_with("barista "), "README says so");
    said(services);
    let mut agent = run(&format!("exec barista agent --repo {}", root.join("srv/cafe.git").display()));
    let _agent = Running(agent.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell"));
    let begun = Instant::now();
    let status = || String::from_utf8_lossy(&run("barista status").output().expect("a shell").stdout).into_owned();
    while !(status().contains("runs since") && status().contains("no commit")) {
        assert!(begun.elapsed() < DEADLINE, "the agent never ran");
        thread::sleep(std::time::Duration::from_millis(50));
    }
    let checked = said(site);
    assert!(checked.contains("no findings"), "README says so: {checked}");
    said("barista fmt --check --site cafe");
    let pushed = said(push);
    assert!(pushed.contains("Plan") && pushed.contains("pc01"), "README says that the plan shows: {pushed}");

    let table = fs::read_to_string(root.join("state").join(PATH)).expect("the boot table is published");
    let table = BootTable::parse(&table).expect("it reads");
    let pc01 = &table.machines[&"pc01".parse().expect("a name")];
    assert!(pc01.script.contains("debian/linux") && pc01.script.contains("debian/initrd.gz"), "{}", pc01.script);
}

fn script(path: &Path, text: &str) {
    fs::write(path, text).expect("it is written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it may run");
}

#[test]
fn every_command_of_barista_that_readme_and_the_book_show_is_one() {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/book");
    let pages = fs::read_dir(book).expect("it is there").map(|entry| entry.expect("readable").path());
    let texts = pages.filter(|page| page.extension().is_some_and(|ending| ending == "md"));
    let texts = texts.map(|page| fs::read_to_string(page).expect("UTF-8")).chain([readme()]);
    let mut asked = 0;
    for text in texts {
        let of_blocks = text.split("```sh\n").skip(1).flat_map(|block| block.split("```").next().unwrap_or_default().lines());
        let in_prose = text.split('`').skip(1).step_by(2);
        for line in of_blocks.chain(in_prose).filter_map(|line| line.trim().strip_prefix("barista ")) {
            let words = line.split('#').next().unwrap_or_default().split(" && ").next().unwrap_or_default();
            let words: Vec<&str> = words.split_whitespace().take_while(|word| !word.starts_with(['-', '/', '['])).collect();
            let Some(first) = words.first().filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase())) else { continue };
            let nested = ["machine", "hook"].contains(first).then(|| words.get(1)).flatten().copied();
            let help =
                Command::new(env!("CARGO_BIN_EXE_barista")).arg(first).args(nested).arg("--help").output().expect("it runs");
            assert!(help.status.success(), "barista {line}: {}", String::from_utf8_lossy(&help.stderr));
            let known = String::from_utf8_lossy(&help.stdout).into_owned();
            for option in line.split('#').next().unwrap_or_default().split_whitespace().filter(|word| word.starts_with("--")) {
                let option = option.split(['=', ',', ';', ')']).next().expect("a word");
                assert!(known.contains(option), "barista {line}: there is no {option}");
            }
            asked += 1;
        }
    }
    assert!(asked > 15, "{asked} commands");
}
