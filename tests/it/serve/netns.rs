//! What tests in network namespaces share.

use crate::serve::service::DEADLINE;
use std::{
    collections::BTreeMap,
    env, fs,
    io::Write as _,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How this binary names one of its tests, by `module_path!()` of where it stands.
pub fn named(module: &str, test: &str) -> String {
    let (_, module) = module.split_once("::").expect("a module of this binary");
    format!("{module}::{test}")
}

/// Runs a program of plain words; whether it went well.
pub fn run(words: &str) -> bool {
    let mut words = words.split_whitespace();
    let program = words.next().expect("a program");
    Command::new(program).args(words).stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// A server's and a client's network namespace, joined by a wire; gone with it.
pub struct Pair {
    pub server: String,
    pub client: String,
}

impl Pair {
    /// `None` where there can be no namespaces. Each end is the interface there and what `ip` is told of it: `addr add … dev s0`.
    pub fn make(name: &str, server: (&str, &str), client: (&str, &str)) -> Option<Self> {
        let id = std::process::id();
        let pair = Self { server: format!("{name}s{id}"), client: format!("{name}c{id}") };
        let ((here, said_here), (there, said_there)) = (server, client);
        let (server, client) = (&pair.server, &pair.client);
        let made = run(&format!("ip netns add {server}"))
            && run(&format!("ip netns add {client}"))
            && run(&format!("ip link add {here} netns {server} type veth peer name {there} netns {client}"))
            && run(&format!("ip -n {server} {said_here}"))
            && run(&format!("ip -n {server} link set lo up"))
            && run(&format!("ip -n {server} link set {here} up"))
            && run(&format!("ip -n {client} {said_there}"))
            && run(&format!("ip -n {client} link set {there} up"));
        if made {
            until_carries(server, here);
            until_carries(client, there);
        }
        made.then_some(pair)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        run(&format!("ip netns del {}", self.server));
        run(&format!("ip netns del {}", self.client));
    }
}

/// Waits until a link carries: the kernel works that out by itself, a moment after both ends are up.
pub fn until_carries(space: &str, device: &str) {
    let begun = Instant::now();
    let shown = || Command::new("ip").args(["-n", space, "-o", "link", "show", device]).output().expect("it runs").stdout;
    while !String::from_utf8_lossy(&shown()).contains("state UP") {
        assert!(begun.elapsed() < DEADLINE, "{device} in {space} never carried: {}", String::from_utf8_lossy(&shown()));
        thread::sleep(Duration::from_millis(20));
    }
}

/// A program that is killed with it.
pub struct Killed(pub Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A dnsmasq in a namespace that has said in its log that it serves.
pub fn dnsmasq(namespace: &str, directory: &Path, options: &[&str], serves: &str) -> Killed {
    let log = directory.join("log");
    let dnsmasq = Command::new("ip")
        .args(["netns", "exec", namespace, "dnsmasq", "--keep-in-foreground", "--port=0", "--user=root", "--no-ping"])
        .args(["--log-facility=-", &format!("--dhcp-leasefile={}", directory.join("leases").display())])
        .arg(format!("--pid-file={}", directory.join("pid").display()))
        .args(options)
        .stderr(fs::File::create(&log).expect("a log"))
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let dnsmasq = Killed(dnsmasq);
    until_said(&log, serves);
    dnsmasq
}

/// The service, which is this binary run again in a namespace; told to end, and waited for, with it.
pub struct Service(Child);

impl Service {
    /// Its log is `log` of the state directory.
    pub fn start(namespace: &str, state: &Path) -> Self {
        let log = state.join("log");
        let service = Command::new("ip")
            .args(["netns", "exec", namespace])
            .arg(env::current_exe().expect("this binary"))
            .args([
                "--ignored",
                "--exact",
                &named(crate::serve::in_namespace::MODULE, "the_service_in_a_namespace"),
                "--nocapture",
            ])
            .env(crate::serve::in_namespace::STATE, state)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("it starts");
        let service = Self(service);
        until_said(&log, "listening for HTTP");
        service
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

fn until_said(log: &Path, words: &str) {
    let (begun, said) = (Instant::now(), || fs::read_to_string(log).unwrap_or_default());
    while !said().contains(words) {
        assert!(begun.elapsed() < DEADLINE, "it never said {words:?}:\n{}", said());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for a program; one that takes too long is killed, and false.
pub fn ends_within(mut program: Child, time: Duration) -> bool {
    let begun = Instant::now();
    while program.try_wait().expect("it is ours").is_none() {
        if begun.elapsed() > time {
            drop(Killed(program));
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Says on stderr, uncaptured, that a test could not be run.
pub fn skipped(what: &str) {
    std::io::stderr().write_all(format!("skipped: {what}\n").as_bytes()).expect("stderr");
}

/// What the text of a fixture stands for: its octets in hexadecimal, below lines of `#`.
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.lines().filter(|line| !line.starts_with('#')).flat_map(str::bytes).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("hex")).collect()
}

/// One exchange of busybox's udhcpc on `c0` of a namespace, and what its script was told; empty when nobody answered.
pub fn udhcpc(namespace: &str, directory: &Path, extra: &[&str]) -> BTreeMap<String, String> {
    udhcpc_of(Command::new("ip").args(["netns", "exec", namespace, "busybox"]), "c0", directory, extra)
}

/// The same by a busybox that is about to be started, on any interface.
pub fn udhcpc_of(busybox: &mut Command, interface: &str, directory: &Path, extra: &[&str]) -> BTreeMap<String, String> {
    let (script, out) = (directory.join("script"), directory.join("told"));
    fs::write(&script, format!("#!/bin/sh\n[ \"$1\" = bound ] && env > {}\nexit 0\n", out.display())).expect("it is written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("it may run");
    drop(fs::remove_file(&out));
    busybox
        .args(["udhcpc", "-i", interface, "-n", "-q", "-f", "-t", "6", "-T", "1", "-s"])
        .arg(&script)
        .args(extra)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("it runs");
    let told = fs::read_to_string(&out).unwrap_or_default();
    told.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
