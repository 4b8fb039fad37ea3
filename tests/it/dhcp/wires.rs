//! Network namespaces joined by veth pairs, and the real program serving in one of them.
//!
//! Where there can be no namespaces a test says on stderr that it was skipped. A client that is missing is a failure:
//! `tests/run` installs them.

use crate::serve::netns::{run, skipped, until_carries};
use crate::serve::service::{DEADLINE, RUN, publish, table};
use barista::{
    boot::table::{BootTable, Network},
    site::NetworkMode,
    transcript::{self, MachineTranscript, Transcript},
};
use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub const SERVER: &str = "10.77.0.1";

/// Some namespaces and what runs in them; all of it ends with this value.
pub struct Wires {
    prefix: String,
    spaces: Vec<String>,
    children: Vec<Child>,
    service: Option<Child>,
    pub state: TempDir,
}

/// The network every test starts from: 10.77.0.0/24 on `s0`, with a range of .200 to .202.
pub fn room(change: impl FnOnce(&mut BootTable)) -> impl FnOnce(&std::path::Path) -> BootTable {
    |loaders| {
        let mut boot = table(loaders);
        let address: Ipv4Addr = SERVER.parse().expect("an address");
        (boot.tftp_address, boot.http_address) = (address, address);
        for network in boot.networks.values_mut() {
            network.interface = "s0".into();
            network.mode = NetworkMode::Server;
            network.subnet = "10.77.0.0/24".parse().expect("a subnet");
            network.range = Some(([10, 77, 0, 200].into(), [10, 77, 0, 202].into()));
        }
        boot.machines.values_mut().for_each(|machine| machine.ip = Some([10, 77, 0, 101].into()));
        change(&mut boot);
        boot
    }
}

/// The only network of a table.
pub fn lan(table: &mut BootTable) -> &mut Network {
    table.networks.values_mut().next().expect("a network")
}

impl Wires {
    /// No namespace yet; `None`, and a line on stderr, where there can be none.
    pub fn make(test: &str) -> Option<Self> {
        let prefix = format!("bd-{}-{test}-", std::process::id());
        let mut wires = Self {
            prefix,
            spaces: Vec::new(),
            children: Vec::new(),
            service: None,
            state: tempfile::tempdir().expect("a directory"),
        };
        if !run(&format!("ip netns add {}s", wires.prefix)) {
            skipped(&format!("DHCP test `{test}` needs root and network namespaces"));
            return None;
        }
        wires.spaces.push("s".into());
        wires.ip("s", "link set lo up");
        Some(wires)
    }

    /// The server at `s0`, and one client at `c0`.
    pub fn of_two(test: &str, client_mac: &str) -> Option<Self> {
        let mut wires = Self::make(test)?;
        wires.space("c");
        wires.pair(("s", "s0"), ("c", "c0"));
        wires.ip("s", &format!("addr add {SERVER}/24 dev s0"));
        wires.ip("c", &format!("link set c0 address {client_mac}"));
        Some(wires)
    }

    /// Several spaces on one wire: `<name>0` in each, the server's among them.
    pub fn of_many(test: &str, names: &[&str]) -> Option<Self> {
        let mut wires = Self::make(test)?;
        wires.space("w");
        wires.ip("w", "link add br0 type bridge");
        wires.ip("w", "link set br0 up");
        for name in names {
            if *name != "s" {
                wires.space(name);
            }
            wires.pair((name, &format!("{name}0")), ("w", &format!("w{name}")));
            wires.ip("w", &format!("link set w{name} master br0"));
        }
        wires.ip("s", &format!("addr add {SERVER}/24 dev s0"));
        Some(wires)
    }

    fn name(&self, space: &str) -> String {
        format!("{}{space}", self.prefix)
    }

    /// One more namespace.
    pub fn space(&mut self, space: &str) {
        assert!(run(&format!("ip netns add {}", self.name(space))), "namespace {space}");
        self.spaces.push(space.to_owned());
        self.ip(space, "link set lo up");
    }

    /// Joins two spaces; both ends are up.
    pub fn pair(&self, one: (&str, &str), other: (&str, &str)) {
        let (first, second) = (self.name(one.0), self.name(other.0));
        let made = run(&format!("ip link add {} netns {first} type veth peer name {} netns {second}", one.1, other.1));
        assert!(made, "{one:?} to {other:?}");
        for (space, device) in [one, other] {
            self.ip(space, &format!("link set {device} up"));
        }
        until_carries(&first, one.1);
        until_carries(&second, other.1);
    }

    /// `ip` in a space.
    pub fn ip(&self, space: &str, words: &str) {
        assert!(run(&format!("ip -n {} {words}", self.name(space))), "ip {words} in {space}");
    }

    /// A program in a space.
    pub fn command(&self, space: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name(space), program]);
        command
    }

    /// Starts a program that ends with the test, its words in `<name>.log`; its pid.
    pub fn spawn(&mut self, name: &str, mut command: Command) -> u32 {
        let log = fs::File::create(self.file(&format!("{name}.log"))).expect("a log");
        let also = log.try_clone().expect("a log");
        command.stdin(Stdio::null()).stdout(log).stderr(also);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        self.children.push(child);
        self.children.last().expect("it was pushed").id()
    }

    /// Whether a program has not ended.
    pub fn runs(&mut self, pid: u32) -> bool {
        let child = self.children.iter_mut().find(|child| child.id() == pid).expect("started here");
        child.try_wait().expect("it can be asked").is_none()
    }

    /// A file of this test.
    pub fn file(&self, name: &str) -> PathBuf {
        self.state.path().join(name)
    }

    /// What stands in a file; nothing where there is none.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// A script for a client.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        fs::write(&path, text).expect("it is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it may run");
        path
    }

    /// Publishes the room and a second network, 10.79.0.0/24 on `s1`.
    pub fn publish_two(&self) {
        self.ip("s", "addr add 10.79.0.1/24 dev s1");
        self.publish(room(|table| {
            let mut second = lan(table).clone();
            second.interface = "s1".into();
            second.subnet = "10.79.0.0/24".parse().expect("a subnet");
            second.range = Some(([10, 79, 0, 200].into(), [10, 79, 0, 202].into()));
            table.networks.insert("second".parse().expect("a name"), second);
        }));
    }

    /// Publishes a table.
    pub fn publish(&self, make: impl FnOnce(&std::path::Path) -> BootTable) {
        let loaders = self.file("loaders");
        fs::create_dir_all(&loaders).expect("it is made");
        for name in ["undionly.kpxe", "ipxe.efi"] {
            fs::write(loaders.join(name), name).expect("it is written");
        }
        publish(self.state.path(), &make(&loaders));
    }

    /// Starts `barista serve` in the server's space and waits until it listens.
    pub fn serve(&mut self) {
        let log = fs::File::create(self.file("serve.log")).expect("a log");
        let mut command = self.command("s", env!("CARGO_BIN_EXE_barista"));
        command.args(["serve", "--user", "root", "--state"]).arg(self.state.path()).env("RUST_LOG", "info").env("NO_COLOR", "1");
        command.env("BARISTA_RUN", self.state.path().join(RUN));
        self.service = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("it starts"));
        self.until("the service listens", |wires| wires.read("serve.log").contains("listening for HTTP"));
    }

    /// The memory that the service had at its most, in KiB: of the program itself, which is a child of `ip`.
    pub fn memory_of_service(&self) -> u64 {
        let pid = self.service.as_ref().expect("it runs").id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a figure");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Ends the service without a word to it, as a power cut does.
    pub fn kill_service(&mut self) {
        let mut service = self.service.take().expect("it runs");
        service.kill().expect("it can be killed");
        service.wait().expect("it ends");
    }

    /// Waits for a condition, with a deadline.
    pub fn until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        while !condition(self) {
            let ended = self.service.as_mut().is_some_and(|service| service.try_wait().expect("it can be asked").is_some());
            assert!(begun.elapsed() < 2 * DEADLINE && !ended, "never came to be: {what}\n{}", self.logs());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn logs(&self) -> String {
        let mut names: Vec<_> = fs::read_dir(self.state.path()).expect("a directory").flatten().map(|e| e.path()).collect();
        names.sort();
        let logs = names.iter().filter(|path| path.extension().is_some_and(|ending| ending == "log" || ending == "told"));
        logs.map(|path| format!("== {}\n{}", path.display(), fs::read_to_string(path).unwrap_or_default())).collect()
    }

    /// The transcript on disk; an empty one where there is none yet.
    pub fn transcript(&self) -> Transcript {
        fs::read_to_string(self.state.path().join(transcript::PATH))
            .map_or_else(|_| Transcript::empty(), |text| Transcript::parse(&text).expect("it reads"))
    }

    /// What was written down of a machine.
    pub fn events(&self, mac: &str) -> Vec<String> {
        let machine: Option<MachineTranscript> = self.transcript().machines.remove(&mac.parse().expect("an address"));
        machine.map(|machine| machine.events.into_iter().map(|event| event.what).collect()).unwrap_or_default()
    }
}

/// Sends a signal to a program that this test started.
pub fn signal(pid: u32, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"));
    nix::sys::signal::kill(pid, signal).expect("it runs");
}

impl Drop for Wires {
    fn drop(&mut self) {
        for child in self.children.iter_mut().chain(&mut self.service) {
            // One that has ended cannot be killed, and need not be.
            let _ = child.kill();
            let _ = child.wait();
        }
        for space in &self.spaces {
            run(&format!("ip netns del {}", self.name(space)));
        }
    }
}
