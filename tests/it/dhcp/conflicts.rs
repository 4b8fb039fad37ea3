//! Who should not be there: squatters on a wire, and another DHCP server.

use crate::dhcp::wires::{Wires, lan, room};
use crate::serve::service::PC01;
use barista::{
    boot::table::{self, BootMachine, BootTable},
    serve::dhcp::rogue_server::{ModeConflict, find_mode_conflicts},
    site::NetworkMode,
    transcript::{ServerKind, ServerSeen},
};
use std::net::Ipv4Addr;

const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);

/// One exchange of udhcpc at `c0`: the address it got.
fn udhcpc(wires: &mut Wires, mac: &str, extra: &[&str]) -> String {
    wires.ip("c", &format!("link set c0 address {mac}"));
    let told = wires.file("once.told");
    let script = wires.script("once", &format!("#!/bin/sh\n[ $1 = bound ] && echo \"$ip\" > {}\nexit 0\n", told.display()));
    let _ = std::fs::remove_file(&told);
    let mut command = wires.command("c", "busybox");
    command.args(["udhcpc", "-f", "-q", "-n", "-t", "6", "-T", "1", "-i", "c0", "-s"]).arg(script).args(extra);
    let pid = wires.spawn("once", command);
    while wires.runs(pid) {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    wires.read("once.told").trim().to_owned()
}

#[test]
fn a_fixed_address_in_the_range_is_found_before_it_is_given_and_one_on_a_reservation_is_said() {
    let Some(mut wires) = Wires::of_many("squat", &["s", "c", "d"]) else { return };
    let squatter = "02:00:00:00:00:99";
    wires.ip("d", &format!("link set d0 address {squatter}"));
    wires.ip("d", "addr add 10.77.0.200/24 dev d0");
    wires.ip("d", "addr add 10.77.0.201/24 dev d0");
    wires.publish(room(|_| {}));
    wires.serve();
    for ip in ["10.77.0.200", "10.77.0.201"] {
        let what = format!("{squatter} uses {ip}, which it was not given");
        wires.until(&what, |wires| wires.events(squatter).iter().any(|event| event.starts_with(&what)));
    }
    assert_eq!(udhcpc(&mut wires, "02:00:00:00:00:01", &[]), "10.77.0.202");
    assert_eq!(udhcpc(&mut wires, "02:00:00:00:00:02", &[]), "", "nothing else is free");
    // It takes pc01's address too, and says so to the wire as every system does.
    wires.ip("d", "addr add 10.77.0.101/24 dev d0");
    let arping = wires.command("d", "busybox").args(["arping", "-U", "-c", "1", "-I", "d0", "10.77.0.101"]).output();
    assert!(arping.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("ARPING")));
    let what = format!("{squatter} uses 10.77.0.101, which is reserved for this machine");
    wires.until(&what, |wires| wires.events(PC01).iter().any(|event| event.starts_with(&what)));
    assert!(wires.read("serve.log").contains(&what));
    assert_eq!(udhcpc(&mut wires, PC01, &[]), "10.77.0.101", "and pc01 is served all the same");
}

#[test]
fn a_machine_of_the_site_gets_an_address_that_strangers_lease_and_do_not_use() {
    let Some(mut wires) = Wires::of_many("crowd", &["s", "c"]) else { return };
    let machine = |n: u8| format!("02:00:00:00:01:{n:02x}");
    wires.publish(room(|table| {
        let pc01 = table.machines.values().next().expect("a machine").clone();
        for n in 0..2 {
            let macs = vec![machine(n).parse().expect("an address")];
            let added = BootMachine { macs, ip: None, ..pc01.clone() };
            table.machines.insert(format!("pc{n}").parse().expect("a name"), added);
        }
    }));
    wires.serve();
    let taken: Vec<_> = (0..4).map(|n| udhcpc(&mut wires, &format!("06:00:00:00:00:{n:02x}"), &[])).collect();
    assert_eq!(taken.iter().filter(|ip| !ip.is_empty()).count(), 2, "{taken:?}: the last address is kept");
    assert_eq!(udhcpc(&mut wires, &machine(0), &[]), "10.77.0.202");
    // A stranger that answers keeps its address; the other one only took it.
    let (used, unused) = (&taken[0], &taken[1]);
    wires.space("d");
    wires.pair(("d", "d0"), ("w", "wd"));
    wires.ip("w", "link set wd master br0");
    wires.ip("d", "link set d0 address 06:00:00:00:00:00");
    wires.ip("d", &format!("addr add {used}/24 dev d0"));
    assert_eq!(udhcpc(&mut wires, &machine(1), &["-t", "20"]), *unused);
    assert_eq!(udhcpc(&mut wires, "06:00:00:00:00:09", &[]), "", "a stranger takes nothing from anybody");
}

/// dnsmasq as the DHCP server of the wire, at [`OTHER`].
fn dnsmasq(wires: &mut Wires) {
    wires.ip("d", &format!("addr add {OTHER}/24 dev d0"));
    let mut command = wires.command("d", "dnsmasq");
    command.args(["-d", "--conf-file=/dev/null", "--port=0", "--user=root", "--interface=d0", "--no-ping"]);
    command.arg("--dhcp-range=10.77.0.60,10.77.0.69,255.255.255.0,1h");
    command.arg(format!("--dhcp-leasefile={}", wires.file("dnsmasq.leases").display()));
    wires.spawn("dnsmasq", command);
    wires.until("dnsmasq listens", |wires| wires.read("dnsmasq.log").contains("DHCP, IP range"));
}

fn published(wires: &Wires) -> BootTable {
    BootTable::parse(&wires.read(table::PATH)).expect("it reads")
}

fn seen(wires: &Wires) -> Option<ServerSeen> {
    wires.transcript().servers.remove(&OTHER)
}

#[test]
fn a_second_dhcp_server_is_seen_and_said_c20() {
    let Some(mut wires) = Wires::of_many("rival", &["s", "c", "d"]) else { return };
    wires.publish(room(|_| {}));
    wires.serve();
    assert!(!udhcpc(&mut wires, "02:00:00:00:00:01", &["-B"]).is_empty());
    wires.until("it is written down", |wires| !wires.events("02:00:00:00:00:01").is_empty());
    assert_eq!(find_mode_conflicts(&published(&wires), &wires.transcript(), jiff::Timestamp::now()), []);
    // An interface that was shut and opened again is heard as before.
    wires.ip("s", "link set s0 down");
    wires.ip("s", "link set s0 up");
    dnsmasq(&mut wires);
    let client = "02:00:00:00:00:02";
    assert!(!udhcpc(&mut wires, client, &["-B"]).is_empty());
    wires.until("the other one is seen", |wires| seen(wires).is_some());
    let other = seen(&wires).expect("it was seen");
    assert_eq!((other.kind, other.interface.as_str()), (ServerKind::Dhcp, "s0"));
    wires.until("the machine's own record says so", |wires| {
        wires.events(client).iter().any(|what| what.contains("server 10.77.0.9"))
    });
    let log = wires.read("serve.log");
    assert!(log.contains("another DHCP server answers here") && !log.contains("a DHCP socket failed"), "{log}");
    let alarms = find_mode_conflicts(&published(&wires), &wires.transcript(), jiff::Timestamp::now());
    assert!(matches!(&alarms[..], [ModeConflict::OtherServer { server: OTHER, .. }]), "{alarms:?}");
}

#[test]
fn two_interfaces_of_the_server_on_one_wire_are_no_other_server() {
    let Some(mut wires) = Wires::of_many("twice", &["s", "c"]) else { return };
    wires.pair(("s", "s1"), ("w", "ws1"));
    wires.ip("w", "link set ws1 master br0");
    wires.publish_two();
    wires.serve();
    let client = "02:00:00:00:00:01";
    assert!(!udhcpc(&mut wires, client, &["-B"]).is_empty());
    wires.until("it is said", |wires| wires.read("serve.log").contains("two interfaces of this server are on one wire"));
    wires.until("both interfaces have heard whom it chose", |wires| {
        let heard = wires.events(client).into_iter().filter(|what| what.starts_with("REQUEST")).count();
        heard >= 2 && wires.events(client).iter().any(|what| what.contains("it speaks to server"))
    });
    assert!(!wires.read("serve.log").contains("another DHCP server"), "{}", wires.read("serve.log"));
    assert!(wires.transcript().servers.is_empty() && !wires.events(client).iter().any(|what| what.starts_with("server ")));
    assert_eq!(find_mode_conflicts(&published(&wires), &wires.transcript(), jiff::Timestamp::now()), []);
}

#[test]
fn beside_another_server_in_proxy_mode_that_server_is_known_and_no_alarm_is_raised() {
    let Some(mut wires) = Wires::of_many("proxy", &["s", "c", "d"]) else { return };
    wires.publish(room(|table| lan(table).mode = NetworkMode::Proxy));
    wires.serve();
    dnsmasq(&mut wires);
    let got = udhcpc(&mut wires, PC01, &["-B"]);
    assert!(got.starts_with("10.77.0.6"), "{got:?}");
    wires.until("the other one is known", |wires| seen(wires).is_some());
    let gave = format!("server {OTHER} gave {PC01} {got}");
    wires.until("and what it gave", |wires| wires.events(PC01).contains(&gave));
    assert_eq!(find_mode_conflicts(&published(&wires), &wires.transcript(), jiff::Timestamp::now()), []);
    // A telephone beside the machines leaves no trace of its own.
    assert!(!udhcpc(&mut wires, "02:00:00:00:00:07", &["-B"]).is_empty());
    wires.until("its server was seen again", |wires| seen(wires).is_some_and(|seen| seen.what.contains("02:00:00:00:00:07")));
    assert_eq!(wires.events("02:00:00:00:00:07"), Vec::<String>::new());
    assert!(!wires.read("serve.log").contains("another DHCP server answers here"), "as it should be");
}
