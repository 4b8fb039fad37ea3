//! `barista serve` as the program an operator starts: whom it becomes, what it may, what it holds, what it survives.
//!
//! It runs alone in a network namespace, so that it can have the ports that machines ask. This needs root and `ip`, and the
//! lossy link `nft`; where something is missing each test says on stderr that it was skipped, uncaptured.

use crate::serve::netns::{Killed, ends_within, run, skipped};
use crate::serve::service::{DEADLINE, publish, table};
use rustix::fs::{CWD, Mode, mknodat};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const NOBODY: u32 = 65534;
/// CAP_NET_BIND_SERVICE, bit 10, and CAP_NET_RAW, bit 13.
const TWO_CAPABILITIES: &str = "0000000000002400";

struct Process {
    child: Option<Killed>,
    namespace: String,
    state: TempDir,
}

impl Process {
    /// A namespace with loopback, and a state directory with a table, loaders and assets; `None` where there can be none.
    fn prepare(test: &str, tools: &[&str]) -> Option<Self> {
        let namespace = format!("bp{}{test}", std::process::id());
        let made = tools.iter().all(|tool| run(&format!("which {tool}")))
            && run(&format!("ip netns add {namespace}"))
            && run(&format!("ip -n {namespace} link set lo up"));
        if !made {
            skipped(&format!("test `{test}` of the program needs root, ip and {tools:?}"));
            return None;
        }
        let state = tempfile::tempdir().expect("a directory");
        let process = Self { namespace, state, child: None };
        fs::set_permissions(process.state.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        for directory in ["loaders", "assets"] {
            fs::create_dir(process.path(directory)).expect("it is made");
        }
        fs::write(process.path("loaders/ipxe.efi"), loader()).expect("it is written");
        publish(process.state.path(), &table(&process.path("loaders")));
        Some(process)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.state.path().join(name)
    }

    /// Starts the program, below other ones where a test wants it, and waits until it listens.
    fn start(mut self, before: &[&str], extra: &[&str]) -> Self {
        let child = Command::new("ip")
            .args(["netns", "exec", &self.namespace])
            .args(before)
            .args([env!("CARGO_BIN_EXE_barista"), "serve", "--state"])
            .arg(self.state.path())
            .args(if extra.is_empty() { &["--user", "root"] } else { extra })
            .env("RUST_LOG", "info")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.path("log")).expect("a log"))
            .spawn()
            .expect("it starts");
        self.child = Some(Killed(child));
        self.until("it listens", |process| process.log().contains("listening for HTTP"));
        self
    }

    fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !condition(self) {
            assert!(begun.elapsed() < DEADLINE * 2, "never came to be: {what}\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// A line of the running program's status; `ip netns exec` becomes the program, so the process is the one started.
    fn status(&self, field: &str) -> String {
        let id = self.child.as_ref().expect("it runs").0.id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.expect("the kernel says it").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace]).args(words).current_dir(self.state.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("it runs")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child = None;
        run(&format!("ip netns del {}", self.namespace));
    }
}

fn loader() -> Vec<u8> {
    (0..60_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[test]
fn started_as_root_it_becomes_another_and_keeps_two_capabilities() {
    let Some(process) = Process::prepare("user", &["curl"]) else { return };
    // What it kept when it ran as root is still its own.
    fs::create_dir(process.path("serve")).expect("it is made");
    fs::write(process.path("serve/transcript.json"), "{}").expect("it is written");
    let process = process.start(&[], &["--user", "nobody"]);
    let nobody = [NOBODY; 4].map(|id| id.to_string()).join(" ");
    for (field, expected) in [
        ("Uid", nobody.as_str()),
        ("Gid", nobody.as_str()),
        ("Groups", &NOBODY.to_string()),
        ("CapEff", TWO_CAPABILITIES),
        ("CapPrm", TWO_CAPABILITIES),
        ("CapBnd", TWO_CAPABILITIES),
        ("CapInh", "0000000000000000"),
        ("CapAmb", "0000000000000000"),
        ("NoNewPrivs", "1"),
    ] {
        assert_eq!(process.status(field), expected, "{field}\n{}", process.log());
    }
    let fetched = process.run(&["curl", "-sf", "tftp://127.0.0.1/ipxe.efi"]);
    assert!(fetched.stdout == loader(), "port 69 is open: {}", process.log());
    let script = process.run(&["curl", "-sf", "http://127.0.0.1:8080/machines/88aedd0508fa/boot.ipxe"]);
    assert_eq!(script.stdout, b"#!ipxe\necho pc01\n");
    let kept = process.path("serve/transcript.json");
    process.until("the transcript is kept", |_| fs::read_to_string(&kept).is_ok_and(|text| text.contains("pc01")));
    assert_eq!(fs::metadata(&kept).expect("it is there").uid(), NOBODY);
}

#[test]
fn a_user_that_is_not_there_is_said_before_anything_is_opened() {
    let Some(process) = Process::prepare("nouser", &[]) else { return };
    let state = process.state.path().to_str().expect("text").to_owned();
    let refused = process.run(&[env!("CARGO_BIN_EXE_barista"), "serve", "--state", &state, "--user", "nosuchuser"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    assert!(said.contains("there is no user nosuchuser") && said.contains("systemd-sysusers"), "{said}");
}

#[test]
fn root_without_a_user_to_become_serves_only_when_it_is_told_to_stay_root() {
    if nix::unistd::User::from_name("barista").is_ok_and(|user| user.is_some()) {
        return skipped("there is a user barista on this host, whom root would become");
    }
    let Some(process) = Process::prepare("asroot", &[]) else { return };
    let state = process.state.path().to_str().expect("text").to_owned();
    let refused = process.run(&[env!("CARGO_BIN_EXE_barista"), "serve", "--state", &state]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1));
    assert!(said.contains("there is no user barista to become") && said.contains("--user root"), "{said}");
    let process = process.start(&[], &["--user", "root"]);
    assert_eq!(process.status("CapEff"), TWO_CAPABILITIES, "without its powers");
}

#[test]
fn hard_links_and_files_of_others_are_not_given_to_the_serving_user() {
    let Some(process) = Process::prepare("chown", &[]) else { return };
    fs::create_dir(process.path("serve")).expect("it is made");
    let assets = process.path("assets");
    let outside = |name: &str| assets.join(name);
    for name in ["linked", "target"] {
        fs::write(outside(name), "root's own").expect("it is written");
    }
    fs::write(process.path("serve/transcript.json"), "{}").expect("it is written");
    fs::hard_link(outside("linked"), process.path("serve/leases.old")).expect("it is linked");
    std::os::unix::fs::symlink(outside("target"), process.path("serve/symlink")).expect("it is linked");
    fs::create_dir(process.path("serve/directory")).expect("it is made");
    fs::write(process.path("serve/daemons"), "").expect("it is written");
    std::os::unix::fs::chown(process.path("serve/daemons"), Some(1), Some(1)).expect("it is given");
    let before = ["linked", "target"].map(|name| fs::metadata(outside(name)).expect("there").uid());
    let process = process.start(&[], &["--user", "nobody"]);
    assert_eq!(["linked", "target"].map(|name| fs::metadata(outside(name)).expect("there").uid()), before);
    let owner = |name: &str| fs::symlink_metadata(process.path(name)).expect("there").uid();
    assert_eq!([owner("serve"), owner("serve/daemons"), owner("serve/directory")], [NOBODY, 1, 0]);
}

#[test]
fn a_large_file_is_not_in_memory_however_many_fetch_it_slowly() {
    let Some(process) = Process::prepare("large", &["curl"]) else { return };
    fs::File::create(process.path("assets/disk.img")).expect("it is made").set_len(1 << 30).expect("sparse");
    let process = process.start(&[], &["--user", "nobody"]);
    let url = "http://127.0.0.1:8080/assets/disk.img";
    let mut slow: Vec<_> = (0..16)
        .map(|n| {
            let into = format!("part{n}");
            process.command(&["curl", "-s", "--limit-rate", "100k", "-o", &into, url]).spawn().expect("it starts")
        })
        .collect();
    process.until("each has a part", |process| {
        (0..16).all(|n| fs::metadata(process.path(&format!("part{n}"))).is_ok_and(|part| part.len() > 100_000))
    });
    let whole = process.run(&["curl", "-s", "-o", "/dev/null", "-w", "%{size_download}", url]);
    assert_eq!(whole.stdout, (1u64 << 30).to_string().as_bytes());
    let peak: u64 = process.status("VmHWM").trim_end_matches(" kB").parse().expect("a number");
    assert!(peak < 64 << 10, "{peak} KiB");
    slow.iter_mut().for_each(|client| {
        client.kill().expect("it runs");
        client.wait().expect("it ends");
    });
}

#[test]
fn when_descriptors_run_out_it_serves_again_once_there_are_some() {
    let Some(process) = Process::prepare("files", &["curl", "prlimit", "busybox"]) else { return };
    fs::write(process.path("assets/small"), "small").expect("it is written");
    let process = process.start(&["prlimit", "--nofile=40:40"], &[]);
    // Sixty connections that say nothing, from one program that holds them until its input ends.
    let holders: Vec<_> = (0..60)
        .map(|_| process.command(&["busybox", "nc", "127.0.0.1", "8080"]).stdin(Stdio::piped()).spawn().expect("it starts"))
        .collect();
    process.until("none is left", |process| process.log().contains("could not be accepted"));
    for mut holder in holders {
        drop(holder.stdin.take());
        holder.kill().expect("it is ours");
        holder.wait().expect("it ends");
    }
    process.until("it serves again", |process| {
        process.run(&["curl", "-sf", "http://127.0.0.1:8080/assets/small"]).stdout == b"small"
    });
    assert!(process.run(&["curl", "-sf", "tftp://127.0.0.1/ipxe.efi"]).stdout == loader());
}

#[test]
fn a_pipe_among_the_assets_holds_nobody_up() {
    let Some(process) = Process::prepare("pipe", &["curl"]) else { return };
    mknodat(CWD, process.path("assets/pipe"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).expect("it is made");
    fs::write(process.path("loaders/x.efi"), "x").expect("it is written");
    let process = process.start(&[], &[]);
    let asked = process.run(&["curl", "-s", "-m", "20", "-w", "%{http_code}", "http://127.0.0.1:8080/assets/pipe"]);
    assert_eq!(String::from_utf8_lossy(&asked.stdout), "no such asset\n404");
}

#[test]
fn a_window_arrives_where_the_kernel_does_not_cut_it() {
    let Some(process) = Process::prepare("cut", &["atftp"]) else { return };
    let process = process.start(&[], &[]);
    // The kernel cuts no window into datagrams that must be cut again.
    assert!(process.run(&["ip", "link", "set", "lo", "mtu", "1280"]).status.success());
    let into = process.path("got");
    let into = into.to_str().expect("a path");
    let words =
        ["atftp", "--option", "blksize 1468", "--option", "windowsize 8", "-g", "-r", "ipxe.efi", "-l", into, "127.0.0.1"];
    assert!(process.run(&words).status.success(), "{}", process.log());
    assert!(fs::read(into).is_ok_and(|got| got == loader()));
}

#[test]
fn every_client_gets_its_file_through_a_link_that_loses_one_packet_in_twenty() {
    let Some(process) = Process::prepare("lossy", &["nft", "atftp", "curl"]) else { return };
    let process = process.start(&[], &[]);
    let rule = "add table inet t; add chain inet t i { type filter hook input priority 0; }; \
                add rule inet t i meta l4proto udp numgen random mod 20 == 0 counter drop";
    if !process.run(&["nft", rule]).status.success() {
        return skipped("this kernel's nftables cannot lose packets");
    }
    let window = ["atftp", "--option", "blksize 1468", "--option", "windowsize 8", "-g", "-r", "ipxe.efi", "127.0.0.1", "-l"];
    let lockstep = ["curl", "-sf", "--tftp-blksize", "1468", "tftp://127.0.0.1/ipxe.efi", "-o"];
    // atftp takes an OACK once: where its acknowledgement is the packet that is lost, the next OACK ends it with an ERROR.
    // Whoever runs it, runs it again.
    let clients = [(window.as_slice(), 6), (lockstep.as_slice(), 1), (window.as_slice(), 6), (lockstep.as_slice(), 1)];
    let fetch = |into: &str, (words, tries): (&[&str], usize)| {
        let words: Vec<_> = words.iter().copied().chain([into]).collect();
        (0..tries).any(|_| {
            let client = process.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
            assert!(ends_within(client, DEADLINE * 6), "{words:?} did not end\n{}", process.log());
            fs::read(process.path(into)).is_ok_and(|got| got == loader())
        })
    };
    thread::scope(|scope| {
        for (n, client) in clients.into_iter().enumerate() {
            let (fetch, log) = (&fetch, || process.log());
            scope.spawn(move || assert!(fetch(&format!("got{n}"), client), "{client:?}\n{}", log()));
        }
    });
    let lost = String::from_utf8_lossy(&process.run(&["nft", "list", "chain", "inet", "t", "i"]).stdout).into_owned();
    assert!(lost.contains("counter packets") && !lost.contains("counter packets 0 "), "nothing was lost: {lost}");
}
