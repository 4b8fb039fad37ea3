//! A room that asks all at once: a relay's voice for hundreds of machines, in a process of its own inside a namespace.
//!
//! What it is to do stands in the environment; what it was told goes to a file, a line for each machine, written as it is heard.

use crate::dhcp::wires::{SERVER, Wires};
use crate::serve::netns::named;
use std::{
    collections::BTreeMap,
    env,
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::Write as _,
    net::{Ipv4Addr, UdpSocket},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

const OUT: &str = "BARISTA_TEST_LOAD_OUT";
const ASK: &str = "BARISTA_TEST_LOAD_ASK";
const REST: &str = "BARISTA_TEST_LOAD_REST";
/// The relay: the loader's own address.
pub const RELAY: &str = "10.77.0.2";
/// A machine that hears nothing asks again after this.
const PATIENCE: Duration = Duration::from_millis(400);
/// Machines that ask at the same time.
const AT_ONCE: usize = 48;
/// So many DISCOVERs at the most wait for their answers: what a socket takes while its owner waits for a processor.
const ON_THEIR_WAY: u16 = 64;
/// The last machines of [`Ask::Leases`], which ask once the test lets them: until then the load is not over.
const HELD_BACK: usize = 100;

/// What a load does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// DISCOVER and REQUEST of so many machines, each until it has its address; the last hundred once there is `<name>.rest`.
    Leases(usize),
    /// INIT-REBOOT of the machines of a file that an earlier load wrote, each until it is answered.
    Reboots,
    /// So many DISCOVERs at 500 a second, of a thousand machines in turn, each asked once.
    Discovers(usize),
}

/// Starts a load in the client's space; its pid. What it hears goes to `<name>.out`.
pub fn start(wires: &mut Wires, name: &str, ask: Ask, known: &str) -> u32 {
    let program = env::current_exe().expect("this binary");
    let mut command = wires.command("c", program.to_str().expect("UTF-8"));
    command.args(["--ignored", "--exact", &named(module_path!(), "the_load_in_a_namespace"), "--nocapture"]);
    let ask = match ask {
        Ask::Leases(count) => format!("leases {count}"),
        Ask::Reboots => format!("reboots {}", wires.file(&format!("{known}.out")).display()),
        Ask::Discovers(count) => format!("discovers {count}"),
    };
    command.env(ASK, ask).env(OUT, wires.file(&format!("{name}.out"))).env(REST, wires.file(&format!("{name}.rest")));
    wires.spawn(name, command)
}

#[test]
#[ignore = "other tests run it, in a namespace"]
fn the_load_in_a_namespace() {
    let (Ok(ask), Some(out)) = (env::var(ASK), env::var_os(OUT)) else { return };
    let out = OpenOptions::new().create(true).append(true).open(out).expect("a file");
    let socket = UdpSocket::bind((RELAY, 67)).expect("the relay's port");
    socket.connect((SERVER, 67)).expect("the server");
    match ask.split_once(' ').expect("two words") {
        ("leases", count) => {
            let rest = PathBuf::from(env::var_os(REST).expect("a file"));
            let machines = (0..count.parse().expect("a number")).map(|machine| (machine, None)).collect();
            lease(&socket, out, machines, |waiting| waiting > HELD_BACK || rest.exists());
        }
        ("reboots", file) => lease(&socket, out, read_addresses(Path::new(file)), |_| true),
        ("discovers", count) => discover(&socket, out, count.parse().expect("a number")),
        other => panic!("{other:?}"),
    }
}

/// The machines and addresses of a load's file.
pub fn read_addresses(path: &Path) -> BTreeMap<u16, Option<Ipv4Addr>> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(machine, ip)| (machine.parse().expect("a machine"), ip.parse().ok())).collect()
}

/// The Ethernet address of a machine.
pub fn mac(machine: u16) -> [u8; 6] {
    let [high, low] = machine.to_be_bytes();
    [2, 0, 0, 0, high, low]
}

/// Asks for these machines, one after the other while there is `leave` to with so many that wait.
fn lease(socket: &UdpSocket, mut out: File, machines: BTreeMap<u16, Option<Ipv4Addr>>, leave: impl Fn(usize) -> bool) {
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
    let (mut waiting, mut asking) = (machines.clone(), BTreeMap::<u16, Instant>::new());
    while !waiting.is_empty() || !asking.is_empty() {
        let now = Instant::now();
        let late: Vec<_> = asking.iter().filter(|(_, since)| now - **since > PATIENCE).map(|(machine, _)| *machine).collect();
        for machine in late {
            asking.remove(&machine);
            waiting.insert(machine, machines[&machine]);
        }
        while asking.len() < AT_ONCE
            && leave(waiting.len())
            && let Some((machine, known)) = waiting.pop_first()
        {
            // A send that meets no server is a lost packet.
            let _ = match known {
                Some(ip) => socket.send(&packet(3, machine, &[(50, &ip.octets())])),
                None => socket.send(&packet(1, machine, &[])),
            };
            asking.insert(machine, now);
        }
        let Some(reply) = receive(socket) else { continue };
        match reply.kind() {
            2 if asking.contains_key(&reply.machine) => {
                let server = SERVER.parse::<Ipv4Addr>().expect("an address").octets();
                let _ = socket.send(&packet(3, reply.machine, &[(50, &reply.yiaddr.octets()), (54, &server)]));
            }
            5 if asking.remove(&reply.machine).is_some() => {
                write_line(&mut out, &format!("{} {}", reply.machine, reply.yiaddr));
            }
            6 if asking.remove(&reply.machine).is_some() && machines[&reply.machine].is_some() => {
                write_line(&mut out, &format!("{} refused", reply.machine));
            }
            _ => {}
        }
    }
}

fn discover(socket: &UdpSocket, mut out: File, count: u16) {
    socket.set_read_timeout(Some(Duration::from_millis(1))).expect("a socket");
    let (begun, mut sent, mut heard) = (Instant::now(), 0, 0);
    while heard < count && begun.elapsed() < Duration::from_secs(120) {
        while sent < count && sent < heard + ON_THEIR_WAY && begun.elapsed() >= Duration::from_millis(2) * u32::from(sent) {
            socket.send(&packet(1, sent % 1000, &[])).expect("it is sent");
            sent += 1;
        }
        let Some(reply) = receive(socket) else { continue };
        heard += 1;
        let mut line = format!("{} {}", reply.machine, reply.yiaddr);
        for option in [3, 6, 15, 51, 67] {
            let value: String = reply.options.get(&option).into_iter().flatten().map(|octet| format!("{octet:02x}")).collect();
            write!(line, " {value}").expect("a string");
        }
        write_line(&mut out, &line);
    }
}

/// In one piece: the test reads meanwhile, and counts lines.
fn write_line(out: &mut File, line: &str) {
    out.write_all(format!("{line}\n").as_bytes()).expect("it is written");
}

/// A request as a relay passes it on.
fn packet(kind: u8, machine: u16, options: &[(u8, &[u8])]) -> Vec<u8> {
    let relay: Ipv4Addr = RELAY.parse().expect("an address");
    let mut bytes =
        [&[1, 1, 6, 1][..], &u32::from(machine).to_be_bytes(), &[0; 16], &relay.octets(), &mac(machine), &[0; 202]].concat();
    bytes.extend([0x63, 0x82, 0x53, 0x63, 53, 1, kind]);
    // Firmware, so that it is told a boot file too.
    bytes.extend([&[60, 32][..], b"PXEClient:Arch:00007:UNDI:003016"].concat());
    for (option, data) in options {
        bytes.extend([*option, data.len() as u8]);
        bytes.extend_from_slice(data);
    }
    bytes.push(255);
    bytes
}

struct Reply {
    machine: u16,
    yiaddr: Ipv4Addr,
    options: BTreeMap<u8, Vec<u8>>,
}

impl Reply {
    fn kind(&self) -> u8 {
        self.options[&53][0]
    }
}

fn receive(socket: &UdpSocket) -> Option<Reply> {
    let mut bytes = [0; 2048];
    let length = socket.recv(&mut bytes).ok()?;
    let octets = |at: usize| -> [u8; 4] { bytes[at..at + 4].try_into().expect("four") };
    let (mut options, mut rest) = (BTreeMap::new(), &bytes[240..length]);
    while let [code, size, tail @ ..] = rest
        && *code != 255
    {
        options.insert(*code, tail[..usize::from(*size)].to_vec());
        rest = &tail[usize::from(*size)..];
    }
    Some(Reply { machine: u16::from_be_bytes([bytes[32], bytes[33]]), yiaddr: octets(16).into(), options })
}
