//! A wire full of attackers, and one machine of the site that is switched on meanwhile.
//!
//! What they do, all at once: read requests by TFTP that are never acknowledged and ask for the longest time-out, INFORMs in the name
//! of hosts that are not there, DISCOVERs of invented machines where a range of 65,536 addresses is full, kept HTTP connections that
//! ask without end, and ARP answers for a whole range. `BARISTA_SIEGE` says how many seconds it lasts, 15 where it does not.

use crate::serve::netns::named;
use crate::{
    dhcp::wires::{SERVER, Wires, lan, room},
    serve::{
        http_limits::{connect_from, raise_descriptors},
        netns::udhcpc_of,
    },
};
use barista::serve::dhcp::leases::LeaseChange;
use jiff::Timestamp;
use nix::{
    net::if_::if_nametoindex,
    sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType},
};
use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    process::Command,
    thread,
    time::{Duration, Instant},
};

const SECONDS: &str = "BARISTA_SIEGE";
const OUT: &str = "BARISTA_TEST_SIEGE_OUT";
/// The machine of the site.
const PC01: &str = "88:ae:dd:05:08:fa";
/// Switched on amid all that, it has its script within this.
const BOOTS_WITHIN: Duration = Duration::from_secs(30);
/// Resident memory of the service at its most, in KiB: 65,536 leases, a thousand connections and a full transcript.
const MOST_MEMORY: u64 = 256 << 10;

fn lasts() -> Duration {
    Duration::from_secs(env::var(SECONDS).ok().and_then(|text| text.parse().ok()).unwrap_or(15))
}

#[test]
fn a_machine_of_the_site_boots_while_strangers_do_all_they_can() {
    let Some(mut wires) = Wires::of_many("siege", &["s", "c", "m"]) else { return };
    wires.ip("s", &format!("addr del {SERVER}/24 dev s0"));
    wires.ip("s", &format!("addr add {SERVER}/16 dev s0"));
    wires.ip("m", &format!("link set m0 address {PC01}"));
    for last in 1..=64 {
        wires.ip("c", &format!("addr add 10.77.1.{last}/16 dev c0"));
    }
    fill_range(&wires);
    wires.publish(room(|table| {
        let network = lan(table);
        network.subnet = "10.77.0.0/16".parse().expect("a subnet");
        network.range = Some(([10, 77, 2, 0].into(), [10, 77, 255, 254].into()));
    }));
    fs::write(wires.file("loaders/ipxe.efi"), vec![7; 1_000_000]).expect("it is written");
    wires.serve();
    let program = env::current_exe().expect("this binary");
    let mut command = wires.command("c", program.to_str().expect("UTF-8"));
    command.args(["--ignored", "--exact", &named(module_path!(), "the_besiegers_in_a_namespace"), "--nocapture"]);
    command.env(OUT, wires.file("begun")).env(SECONDS, lasts().as_secs().to_string());
    let besiegers = wires.spawn("besiegers", command);
    wires.until("the siege has begun", |wires| wires.file("begun").exists());

    let mut boots = 0;
    let until = Instant::now() + lasts();
    while Instant::now() < until {
        let took = boot(&wires);
        assert!(took < BOOTS_WITHIN, "a boot took {took:?}");
        boots += 1;
    }
    assert!(boots > 0 && wires.runs(besiegers), "{boots} boots:\n{}", wires.read("besiegers.log"));
    let memory = wires.memory_of_service();
    assert!(memory < MOST_MEMORY, "the service had {memory} KiB");
    let said = format!("siege: {boots} boots in {:?}, {memory} KiB at the most\n", lasts());
    std::io::stderr().write_all(said.as_bytes()).expect("stderr");
}

/// What firmware and its iPXE do: an address, a loader of a megabyte, an address again, the scripts.
fn boot(wires: &Wires) -> Duration {
    let begun = Instant::now();
    let firmware = ["-V", "PXEClient:Arch:00007:UNDI:003016", "-x", "0x5d:0007"];
    let ipxe = [&firmware[..], &["-x", "0x4d:69505845"]].concat();
    for (asks, file) in [(&firmware[..], "ipxe.efi"), (&ipxe, "http://10.77.0.1:8080/boot.ipxe")] {
        retried(begun, file, || {
            let told = udhcpc_of(&mut wires.command("m", "busybox"), "m0", wires.state.path(), asks);
            (told.get("ip").map(String::as_str), told.get("boot_file").map(String::as_str)) == (Some("10.77.0.101"), Some(file))
        });
    }
    // udhcpc's script leaves the interface as it is.
    let _ = wires.command("m", "ip").args(["addr", "replace", "10.77.0.101/16", "dev", "m0"]).output().expect("ip runs");
    let loader = wires.file("fetched");
    retried(begun, "the loader", || {
        let mut curl = wires.command("m", "curl");
        curl.args(["--silent", "--max-time", "10", "--tftp-blksize", "1468", "-o"]).arg(&loader);
        run_quietly(curl.arg(format!("tftp://{SERVER}/ipxe.efi")))
            && fs::metadata(&loader).is_ok_and(|file| file.len() == 1_000_000)
    });
    for path in ["boot.ipxe", "machines/88aedd0508fa/boot.ipxe"] {
        retried(begun, path, || {
            let mut curl = wires.command("m", "curl");
            run_quietly(curl.args(["--silent", "--fail", "--max-time", "5", &format!("http://{SERVER}:8080/{path}")]))
        });
    }
    begun.elapsed()
}

fn retried(begun: Instant, what: &str, mut attempt: impl FnMut() -> bool) {
    while !attempt() {
        assert!(begun.elapsed() < BOOTS_WITHIN, "{what} did not come within {:?}", begun.elapsed());
    }
}

fn run_quietly(command: &mut Command) -> bool {
    command.output().expect("it runs").status.success()
}

/// Leases for every address of the range but none that a machine of the site has.
fn fill_range(wires: &Wires) {
    let (first, last) = (u32::from(Ipv4Addr::new(10, 77, 2, 0)), u32::from(Ipv4Addr::new(10, 77, 255, 254)));
    let until = Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let mut text = String::new();
    for (n, ip) in (first..=last).map(Ipv4Addr::from).enumerate() {
        let [a, b, c, d] = (n as u32).to_be_bytes();
        let mac = barista::names::MacAddr::from_octets([6, 0, a, b, c, d]).expect("a unicast address");
        text += &serde_json::to_string(&LeaseChange::Bind { ip, mac, until, lasts: None, since: None }).expect("it serialises");
        text.push('\n');
    }
    let directory = wires.file("serve");
    fs::create_dir_all(&directory).expect("it is made");
    fs::write(directory.join("leases"), text).expect("it is written");
}

#[test]
#[ignore = "the siege runs it, in a namespace"]
fn the_besiegers_in_a_namespace() {
    let Some(out) = env::var_os(OUT) else { return };
    raise_descriptors();
    let until = Instant::now() + lasts() + BOOTS_WITHIN;
    let attacks: [fn(Instant); 5] =
        [hold_transfers, inform_for_absent_hosts, discover_as_invented_machines, keep_connections, claim_addresses];
    thread::scope(|scope| {
        for attack in attacks {
            scope.spawn(move || attack(until));
        }
        thread::sleep(Duration::from_millis(500));
        fs::write(out, "").expect("it is written");
    });
}

/// Sends about so many each second, until the end.
fn paced(until: Instant, each_second: u32, mut send: impl FnMut(u32)) {
    let (begun, mut sent) = (Instant::now(), 0);
    while Instant::now() < until {
        while f64::from(sent) < begun.elapsed().as_secs_f64() * f64::from(each_second) {
            send(sent);
            sent += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn hold_transfers(until: Instant) {
    let from = |n: u32| UdpSocket::bind((Ipv4Addr::new(10, 77, 1, (n % 64) as u8 + 1), 0)).expect("a port");
    let sockets: Vec<_> = (0..512).map(from).collect();
    paced(until, 1000, |n| {
        // A full buffer is a lost packet.
        let _ = sockets[n as usize % sockets.len()]
            .send_to(b"\0\x01ipxe.efi\0octet\0timeout\0\x32\x35\x35\0windowsize\0\x36\x34\0", (SERVER, 69));
    });
}

/// A BOOTREQUEST of a machine that nobody has.
fn request(n: u32, kind: u8, ciaddr: Ipv4Addr) -> Vec<u8> {
    let mut packet = vec![0; 240];
    packet[..3].copy_from_slice(&[1, 1, 6]);
    packet[4..8].copy_from_slice(&n.to_be_bytes());
    packet[12..16].copy_from_slice(&ciaddr.octets());
    packet[28..34].copy_from_slice(&[[2, 1].as_slice(), &n.to_be_bytes()].concat());
    packet[236..240].copy_from_slice(&[0x63, 0x82, 0x53, 0x63]);
    packet.extend([53, 1, kind, 255]);
    packet.resize(300, 0);
    packet
}

fn inform_for_absent_hosts(until: Instant) {
    let socket = UdpSocket::bind(("10.77.1.1", 68)).expect("the client's port");
    paced(until, 2000, |n| {
        let [_, _, high, low] = n.to_be_bytes();
        let _ = socket.send_to(&request(n, 8, Ipv4Addr::new(10, 77, high | 0x80, low)), (SERVER, 67));
    });
}

fn discover_as_invented_machines(until: Instant) {
    let socket = UdpSocket::bind(("10.77.1.2", 68)).expect("the client's port");
    paced(until, 1000, |n| {
        let _ = socket.send_to(&request(n, 1, Ipv4Addr::UNSPECIFIED), (SERVER, 67));
    });
}

fn keep_connections(until: Instant) {
    let server: SocketAddr = format!("{SERVER}:8080").parse().expect("an address");
    let mut streams: Vec<_> = (0..1024).map(|n| connect_from(&format!("10.77.1.{}", n % 8 + 1), server)).collect();
    while Instant::now() < until {
        for stream in &mut streams {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(1)));
            let asked = stream.write_all(b"GET /boot.ipxe HTTP/1.1\r\nHost: x\r\n\r\n");
            if asked.is_err() || matches!(stream.read(&mut [0; 4096]), Ok(0)) {
                // It was closed for somebody else: once more.
                let Ok(again) = std::net::TcpStream::connect_timeout(&server, Duration::from_millis(100)) else { continue };
                *stream = again;
            }
        }
    }
}

fn claim_addresses(until: Instant) {
    let socket = socket::socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None).expect("a packet socket");
    let index = if_nametoindex("c0").expect("the interface");
    let address = nix::ifaddrs::getifaddrs().expect("interfaces").find_map(|entry| {
        entry.address.filter(|_| entry.interface_name == "c0").and_then(|address| address.as_link_addr().copied())
    });
    let address = address.expect("its Ethernet address");
    assert_eq!(address.ifindex(), index as usize);
    socket::bind(socket.as_raw_fd(), &address).expect("it is bound");
    paced(until, 500, |n| {
        let mac = [2, 2, (n >> 24) as u8, (n >> 16) as u8, (n >> 8) as u8, n as u8];
        let ip = [10, 77, 200, (n % 250) as u8 + 2];
        // An ARP answer to everybody: this card has that address.
        let frame = [&[0xff; 6][..], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &mac, &ip, &[0xff; 6], &ip].concat();
        let _ = socket::send(socket.as_raw_fd(), &frame, MsgFlags::empty());
    });
}
