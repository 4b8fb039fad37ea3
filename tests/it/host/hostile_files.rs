//! Every file that root opens below a directory which somebody else may write, replaced by each hostile kind: every command ends soon,
//! nothing outside changes, and the agent still stops when it is told to.

use crate::cafe::{Agent, Cafe};
use crate::push::git::text;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    os::unix::{
        fs::{MetadataExt as _, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

/// Whose file it is, and so where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// The serving half's own directory.
    Serve,
    /// The repository of whoever pushes.
    Repository,
    /// A directory that a person names with `--site`.
    Site,
}

/// The files. One that root comes to open must stand here.
const FILES: [(Place, &str); 17] = [
    (Place::Serve, "transcript.json"),
    (Place::Serve, "leases"),
    (Place::Repository, "HEAD"),
    (Place::Repository, "config"),
    (Place::Repository, "packed-refs"),
    (Place::Repository, "refs/heads/main"),
    (Place::Repository, "refs/heads/main.lock"),
    (Place::Repository, "hooks/pre-receive"),
    (Place::Repository, "config.worktree"),
    (Place::Repository, "commondir"),
    (Place::Repository, ".git"),
    (Place::Repository, "objects/info/alternates"),
    (Place::Repository, "objects/info/http-alternates"),
    (Place::Repository, "shallow"),
    (Place::Site, "site.toml"),
    (Place::Site, "machines/row-a.toml"),
    (Place::Site, "templates/machine.ipxe"),
];

const KINDS: [&str; 8] =
    ["fifo", "link to a device", "link outward", "hard link", "sparse", "directory", "socket", "text that leads elsewhere"];

/// Files of the source that open what others may write, all by `host::untrusted`, and what of the list above each opens.
const READERS: [(&str, &str); 7] = [
    ("src/agent/applied.rs", "root's own record, by the same function"),
    ("src/agent/last_good.rs", "root's own record, by the same function"),
    ("src/deploy/directory.rs", "Site"),
    ("src/deploy/init.rs", "Repository: hooks"),
    ("src/deploy/odd_files.rs", "Repository: config"),
    ("src/host/transcript.rs", "Serve: transcript.json"),
    ("src/host/untrusted.rs", "the function itself"),
];

#[test]
fn whatever_opens_files_of_others_stands_in_this_list() {
    let mut found = BTreeSet::new();
    let mut open = vec![PathBuf::from("src")];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if fs::read_to_string(&path).is_ok_and(|text| text.contains("read_untrusted")) {
                found.insert(path.display().to_string());
            }
        }
    }
    let listed: BTreeSet<String> = READERS.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(found, listed, "say here what it opens, and add the file to FILES");
}

/// A café at its first commit, and a file of somebody else beside it.
struct Hostile {
    cafe: Cafe,
    outside: PathBuf,
    /// A device of its own that never ends, as /dev/zero; a FIFO where this user may make none. Never one of the host: root that is
    /// led astray here would break it for everybody.
    device: PathBuf,
    /// Another repository, whose configuration and index of packs nobody comes back from.
    elsewhere: PathBuf,
    commit: String,
}

impl Hostile {
    fn new() -> Self {
        let cafe = Cafe::with_repository();
        let commit = cafe.work.commit("open the café");
        let branch = cafe.work.try_git(&["push", "-q", "--no-verify", cafe.repository.to_str().unwrap(), "HEAD:main"]);
        assert!(branch.status.success(), "{}", text(&branch.stderr));
        assert_eq!(cafe.barista(&["apply", "--yes"]).status.code(), Some(0));
        fs::create_dir_all(cafe.state.join("serve")).unwrap();
        fs::write(cafe.state.join("serve/transcript.json"), "{\"version\": 1, \"machines\": {}}").unwrap();
        let outside = cafe.work.root.path().join("outside");
        fs::write(&outside, "nobody's business").unwrap();
        let device = cafe.work.root.path().join("device");
        let (kind, mode) = (FileType::CharacterDevice, Mode::RUSR | Mode::WUSR);
        if mknodat(CWD, &device, kind, mode, makedev(1, 5)).is_err() {
            nix::unistd::mkfifo(&device, nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        let elsewhere = cafe.work.root.path().join("elsewhere.git");
        cafe.work.git(&["clone", "-q", "--bare", ".", elsewhere.to_str().unwrap()]);
        fs::remove_file(elsewhere.join("config")).unwrap();
        for blocks in ["config", "objects/pack/multi-pack-index"] {
            nix::unistd::mkfifo(&elsewhere.join(blocks), nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        Self { cafe, outside, device, elsewhere, commit }
    }

    /// What git would read in another directory, were it in this file.
    fn leads_elsewhere(&self, path: &Path) -> String {
        let elsewhere = self.elsewhere.display();
        match path.file_name().unwrap().to_str().unwrap() {
            "config" | "config.worktree" => format!("[core]\n\tbare = true\n[include]\n\tpath = {elsewhere}/config\n"),
            ".git" => format!("gitdir: {elsewhere}\n"),
            "alternates" | "http-alternates" => format!("{elsewhere}/objects\n"),
            _ => format!("{elsewhere}\n"),
        }
    }

    fn path(&self, place: Place, name: &str) -> PathBuf {
        let directory = match place {
            Place::Serve => self.cafe.state.join("serve"),
            Place::Repository => self.cafe.repository.clone(),
            Place::Site => self.cafe.work.tree.clone(),
        };
        directory.join(name)
    }

    fn put(&self, path: &Path, kind: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        drop(fs::remove_file(path));
        match kind {
            "fifo" => nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            "link to a device" => symlink(&self.device, path).unwrap(),
            "link outward" => symlink(&self.outside, path).unwrap(),
            "hard link" => fs::hard_link(&self.outside, path).unwrap(),
            "sparse" => fs::File::create_new(path).unwrap().set_len(1 << 40).unwrap(),
            "directory" => fs::create_dir(path).unwrap(),
            "text that leads elsewhere" => fs::write(path, self.leads_elsewhere(path)).unwrap(),
            "socket" => drop(UnixListener::bind(path).unwrap()),
            other => panic!("{other} is no kind"),
        }
    }

    fn remove(path: &Path) {
        if fs::remove_file(path).is_err() {
            fs::remove_dir(path).unwrap();
        }
    }

    /// Content of the file that lies outside, and owner, kind, mode, number and time of both.
    fn outside(&self) -> (String, Vec<[u64; 7]>) {
        let facts = |path: &PathBuf| {
            let metadata = fs::symlink_metadata(path).unwrap();
            let (owner, group, mode) = (metadata.uid().into(), metadata.gid().into(), metadata.mode().into());
            let time = metadata.mtime().unsigned_abs() * 1_000_000_000 + metadata.mtime_nsec().unsigned_abs();
            [owner, group, mode, metadata.rdev(), metadata.ino(), metadata.size(), time]
        };
        (fs::read_to_string(&self.outside).unwrap(), vec![facts(&self.outside), facts(&self.device)])
    }

    /// What a person types; the bomb of a second is what a loaded machine needs beyond.
    fn commands(&self, place: Place) -> Vec<Vec<&str>> {
        let repository = self.cafe.repository.to_str().unwrap();
        let mut commands = vec![
            vec!["status"],
            vec!["explain", "pc01"],
            vec!["machine", "seen"],
            vec!["doctor", "--offline", "--repo", repository],
        ];
        match place {
            Place::Serve => commands.push(vec!["plan"]),
            Place::Site => commands.extend([vec!["check"], vec!["plan"], vec!["apply", "--yes"], vec!["export", "dnsmasq"]]),
            Place::Repository => {
                commands.extend([
                    vec!["check", "--repo", repository],
                    vec!["plan", "--repo", repository],
                    vec!["apply", "--yes", "--repo", repository],
                    vec!["init", repository],
                ]);
            }
        }
        commands
    }
}

/// How long a command may take; the tests share the machine's processors.
const SOON: Duration = Duration::from_secs(5);

fn ends_soon(hostile: &Hostile, arguments: &[&str], what: &str) {
    let mut command = hostile.cafe.command(arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > SOON {
            drop(child.kill());
            drop(child.wait());
            panic!("{what}: {arguments:?} does not end within {SOON:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    assert_ne!(child.wait().unwrap().code(), Some(70), "{what}: {arguments:?} is a fault of the program");
}

fn try_all(place: Place) {
    let hostile = Hostile::new();
    let before = hostile.outside();
    for (_, name) in FILES.iter().filter(|(of, _)| *of == place) {
        let path = hostile.path(place, name);
        let good = fs::read(&path).ok();
        for kind in KINDS {
            let what = format!("{name} is a {kind}");
            hostile.put(&path, kind);
            for arguments in hostile.commands(place) {
                ends_soon(&hostile, &arguments, &what);
            }
            if place == Place::Repository {
                let begun = Instant::now();
                let updates = format!("{} {} refs/heads/main\n", "0".repeat(40), hostile.commit);
                hostile.cafe.hook(&updates, &hostile.cafe.repository);
                assert!(begun.elapsed() < SOON, "{what}: the hook takes {:?}", begun.elapsed());
            }
            assert_eq!(hostile.outside(), before, "{what}");
            Hostile::remove(&path);
        }
        if let Some(good) = good {
            put_back(&path, &good);
        }
    }
}

#[test]
fn no_file_of_the_serving_half_holds_up_or_leads_out() {
    try_all(Place::Serve);
}

#[test]
fn no_file_of_a_repository_holds_up_or_leads_out() {
    try_all(Place::Repository);
}

// libgit2/libgit2#6400, GitoxideLabs/gitoxide#460: what a repository of somebody else may have read, and in whose name.
#[test]
fn whatever_leads_out_of_a_repository_is_refused_with_its_name() {
    let hostile = Hostile::new();
    let repository = hostile.cafe.repository.to_str().unwrap().to_owned();
    let config = fs::read(hostile.cafe.repository.join("config")).unwrap();
    let agent = hostile.cafe.agent();
    hostile.cafe.status_when("it is served", |status| !status["serving"].is_null());
    assert_eq!(agent.stop(), Some(0));
    for name in ["config", "config.worktree", "commondir", ".git", "objects/info/alternates", "objects/info/http-alternates"] {
        let path = hostile.cafe.repository.join(name);
        hostile.put(&path, "text that leads elsewhere");
        let shown = path.to_str().unwrap();
        for arguments in [
            &["check", "--repo", &repository][..],
            &["plan", "--repo", &repository],
            &["apply", "--yes", "--repo", &repository],
            &["init", &repository],
            &["init", "--dry-run", &repository],
            &["init", "--accept-history", &repository],
            &["doctor", "--offline", "--repo", &repository],
        ] {
            let output = hostile.cafe.barista(arguments);
            let said = text(&output.stdout) + &text(&output.stderr);
            assert!(output.status.code() == Some(1) && said.contains(shown), "{name} {arguments:?}: {said}");
        }
        let hook =
            hostile.cafe.hook(&format!("{} {} refs/heads/main\n", "0".repeat(40), hostile.commit), &hostile.cafe.repository);
        assert!(hook.status.code() == Some(1) && text(&hook.stderr).contains(shown), "{name}: {}", text(&hook.stderr));
        // The café has its own copy of what was applied, and goes on; its status says what to do.
        let agent = hostile.cafe.command(&["agent", "--repo", &repository]).stderr(Stdio::null()).spawn().unwrap();
        let agent = Agent(agent);
        let pid = agent.0.id();
        let told = |status: &serde_json::Value| status["agent"]["pid"] == pid && status["troubles"].to_string().contains(shown);
        let status = hostile.cafe.status_when("it is said", told);
        assert!(status["troubles"][0]["hint"].as_str().unwrap().contains("or make another repository with"), "{status}");
        assert_eq!(agent.stop(), Some(0), "{name}");
        fs::remove_file(&path).unwrap();
        if name == "config" {
            put_back(&path, &config);
        }
    }
    assert_eq!(hostile.cafe.barista(&["check", "--repo", &repository]).status.code(), Some(0), "nothing is left of it");
}

#[test]
fn no_file_of_a_site_holds_up_or_leads_out() {
    try_all(Place::Site);
}

#[test]
fn an_agent_beside_hostile_files_stops_when_it_is_told_to() {
    let hostile = Hostile::new();
    let before = hostile.outside();
    let files = FILES.iter().filter(|(place, _)| *place != Place::Site);
    for (number, (place, name)) in files.enumerate() {
        let path = hostile.path(*place, name);
        let good = fs::read(&path).ok();
        // Each file meets some of the kinds here, and all of them each kind.
        for kind in [KINDS[number % KINDS.len()], "fifo", "sparse"] {
            drop(fs::remove_file(hostile.cafe.state.join("status.json")));
            hostile.put(&path, kind);
            let repository = hostile.cafe.repository.to_str().unwrap();
            let child = hostile.cafe.command(&["agent", "--repo", repository]).stderr(Stdio::null()).spawn().unwrap();
            let agent = Agent(child);
            hostile.cafe.until("it has looked, or does not begin", || {
                hostile.cafe.state.join("status.json").exists() || is_gone(agent.0.id())
            });
            let begun = Instant::now();
            let code = agent.stop();
            assert!(begun.elapsed() < Duration::from_secs(2), "{name} is a {kind}: it takes {:?} to stop", begun.elapsed());
            assert!(matches!(code, Some(0 | 1)), "{name} is a {kind}: {code:?}");
            assert_eq!(hostile.outside(), before, "{name} is a {kind}");
            Hostile::remove(&path);
        }
        if let Some(good) = good {
            put_back(&path, &good);
        }
    }
}

/// Writes a file that was there before; never through whatever stands in its place.
fn put_back(path: &Path, content: &[u8]) {
    fs::File::create_new(path).unwrap().write_all(content).unwrap();
}

#[test]
fn root_writes_into_somebody_elses_repository_with_his_rights_alone() {
    if !nix::unistd::geteuid().is_root() {
        return crate::serve::netns::skipped("only root can be misled so");
    }
    let hostile = Hostile::new();
    let repository = hostile.cafe.repository.clone();
    let root = hostile.cafe.work.root.path();
    fs::set_permissions(root, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    assert!(std::process::Command::new("chown").args(["-R", "65534:65534"]).arg(&repository).status().unwrap().success());
    // A directory where only root may write, and the configuration is a link into it: libgit2 writes through links.
    let target = root.join("roots");
    fs::create_dir(&target).unwrap();
    // Without what `init` sets, so that there is something to write.
    fs::write(target.join("config"), "[core]\n\tbare = true\n\trepositoryformatversion = 0\n").unwrap();
    fs::remove_file(repository.join("config")).unwrap();
    symlink(target.join("config"), repository.join("config")).unwrap();
    let before = fs::symlink_metadata(target.join("config")).unwrap();
    let misled = hostile.cafe.barista(&["init", repository.to_str().unwrap()]);
    let said = text(&misled.stderr);
    assert!(misled.status.code() == Some(1) && said.contains("config is a link"), "{said}");
    let after = fs::symlink_metadata(target.join("config")).unwrap();
    assert_eq!((before.ino(), before.mtime_nsec()), (after.ino(), after.mtime_nsec()));
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
    fs::remove_file(repository.join("config")).unwrap();
    put_back(&repository.join("config"), &fs::read(target.join("config")).unwrap());
    assert!(std::process::Command::new("chown").args(["-R", "65534:65534"]).arg(&repository).status().unwrap().success());
    fs::remove_file(repository.join("hooks/pre-receive")).unwrap();
    let written = hostile.cafe.barista(&["init", repository.to_str().unwrap()]);
    assert_eq!(written.status.code(), Some(0), "{}", text(&written.stderr));
    let owners: BTreeSet<u32> =
        ["config", "hooks/pre-receive"].map(|name| fs::metadata(repository.join(name)).unwrap().uid()).into();
    assert_eq!(owners, [65534].into(), "what root writes there is its owner's");
}

/// Whether a child has ended; nobody has waited for it yet.
fn is_gone(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}
