//! Ordinary clients on real links: what they are given, renew, rebind and give back, directly and through relay agents.

use crate::dhcp::wires::{SERVER, Wires, lan, room, signal};
use crate::serve::service::PC01;
use nix::sys::signal::Signal;
use std::path::Path;

const RESERVED: &str = "10.77.0.101";

/// What a client's script writes down: the reason, the address, the server.
fn script(wires: &Wires, reason: &str, ip: &str, server: &str) -> std::path::PathBuf {
    let told = wires.file("client.told");
    let text = format!(
        "#!/bin/sh\n\
         [ -n \"${ip}\" ] && case \"${reason}\" in\n\
         bound|renew|BOUND|RENEW|REBIND|REBOOT) ip addr replace ${ip}/24 dev $interface\n\
         [ -n \"$router$new_routers\" ] && ip route replace default via $router$new_routers ;;\n\
         deconfig|RELEASE|EXPIRE|STOP) ip addr flush dev $interface ;;\n\
         esac\n\
         echo \"${reason} ${ip} ${server}\" >> {}\nexit 0\n",
        told.display()
    );
    wires.script("script", &text)
}

fn told(reason: &str, ip: &str) -> String {
    format!("{reason} {ip} ")
}

fn until_told(wires: &mut Wires, reason: &str, ip: &str) {
    wires.until(&format!("{reason} {ip}"), |wires| wires.read("client.told").contains(&told(reason, ip)));
}

fn dhclient(wires: &mut Wires, name: &str) -> u32 {
    let script = script(wires, "reason", "new_ip_address", "new_dhcp_server_identifier");
    // It asks each second: a short lease leaves two for rebinding.
    let conf = wires.script("dhclient.conf", "initial-interval 1; backoff-cutoff 1;\n");
    let mut command = wires.command("c", "dhclient");
    command.args(["-4", "-d", "-v", "-cf"]).arg(conf).arg("-sf").arg(script);
    command.arg("-lf").arg(wires.file("dhclient.leases")).arg("-pf").arg(wires.file("dhclient.pid")).arg("c0");
    wires.spawn(name, command)
}

/// `dhclient -r`: stops the other one and gives the address back.
fn release(wires: &mut Wires) {
    let mut release = wires.command("c", "dhclient");
    release.args(["-4", "-r", "-v", "-sf"]).arg(wires.file("script")).arg("-cf").arg(wires.file("dhclient.conf"));
    release.arg("-lf").arg(wires.file("dhclient.leases")).arg("-pf").arg(wires.file("dhclient.pid")).arg("c0");
    wires.spawn("release", release);
}

fn lease_of(seconds: u64) -> impl FnOnce(&Path) -> barista::boot::table::BootTable {
    room(move |table| lan(table).lease_time = format!("{seconds}s").parse().expect("an interval"))
}

#[test]
fn udhcpc_gets_renews_and_gives_back_its_address() {
    let Some(mut wires) = Wires::of_two("udhcpc", PC01) else { return };
    wires.publish(lease_of(3600));
    wires.serve();
    let told = wires.file("client.told");
    let text = format!(
        "#!/bin/sh\ncase $1 in bound|renew) ip addr replace $ip/$mask dev $interface ;; deconfig) ip addr flush dev $interface ;; esac\n\
         echo \"$1 $ip $serverid\" >> {}\n",
        told.display()
    );
    let script = wires.script("script", &text);
    let mut command = wires.command("c", "busybox");
    command.args(["udhcpc", "-f", "-i", "c0", "-t", "5", "-T", "1", "-s"]).arg(script);
    let pid = wires.spawn("udhcpc", command);
    until_told(&mut wires, "bound", RESERVED);
    signal(pid, Signal::SIGUSR1);
    until_told(&mut wires, "renew", RESERVED);
    signal(pid, Signal::SIGUSR2);
    wires.until("it is given back", |wires| wires.events(PC01).iter().any(|what| what.contains("gave 10.77.0.101 back")));
    // The journal is written while the transcript is.
    wires.until("the journal has it last", |wires| {
        wires.read("serve/leases").lines().last().is_some_and(|line| line.starts_with("{\"release\""))
    });
}

#[test]
fn an_ipxe_that_looks_for_an_ipv6_router_is_told_of_none_and_nobody_else_is_answered() {
    let Some(mut wires) = Wires::of_two("routers", PC01) else { return };
    wires.publish(room(|_| {}));
    wires.serve();
    wires.until("its IPv6 address is its own", |wires| {
        let output = wires.command("c", "ip").args(["-6", "addr", "show", "dev", "c0"]).output().expect("it runs");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        shown.contains("inet6 fe80::") && !shown.contains("tentative")
    });
    let ask = |wires: &Wires, attempts: &str| {
        let output = wires.command("c", "rdisc6").args(["-1", "-r", attempts, "c0"]).output().expect("rdisc6 runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let told = ask(&wires, "1");
    assert!(told.contains("No response"), "before it has asked by DHCP\n{told}");
    // Option 77, "iPXE".
    let words = ["udhcpc", "-f", "-q", "-n", "-i", "c0", "-t", "10", "-T", "1", "-s", "/bin/true", "-x", "0x4d:69505845"];
    let leased = wires.command("c", "busybox").args(words).output().expect("udhcpc runs");
    assert!(leased.status.success(), "{}", String::from_utf8_lossy(&leased.stderr));
    let told = ask(&wires, "5");
    for line in ["Router lifetime           :            0", "Stateful address conf.    :           No", "from fe80::ba:"] {
        assert!(told.contains(line), "{line:?} is not in\n{told}");
    }
    let routes = wires.command("c", "ip").args(["-6", "route", "show", "default"]).output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&routes.stdout), "", "its system takes no route from it");
}

#[test]
fn dhclient_gets_renews_rebinds_reboots_and_gives_back_its_address() {
    let Some(mut wires) = Wires::of_two("dhclient", PC01) else { return };
    // Long enough that the new server is up before the lease is over, however late the renewal was.
    wires.publish(lease_of(24));
    wires.serve();
    let pid = dhclient(&mut wires, "dhclient");
    until_told(&mut wires, "BOUND", RESERVED);
    until_told(&mut wires, "RENEW", RESERVED);
    // The server is found at another address: its old one answers no renewal, and a broadcast finds the new one.
    wires.ip("s", &format!("addr del {SERVER}/24 dev s0"));
    wires.ip("s", "addr add 10.77.0.2/24 dev s0");
    wires.until("it rebinds", |wires| wires.read("client.told").contains(" 10.77.0.101 10.77.0.2"));
    assert!(wires.read("dhclient.log").contains("DHCPREQUEST for 10.77.0.101 on c0 to 255.255.255.255"), "by broadcast");
    assert!(!wires.read("client.told").contains("EXPIRE"), "and never without an address");
    // Its lease goes to its file when the script has ended, and the word that it is bound comes after that.
    wires.until("its lease is kept", |wires| {
        wires.read("dhclient.log").split_once("from 10.77.0.2\n").is_some_and(|(_, after)| after.contains("bound to"))
    });
    signal(pid, Signal::SIGKILL);
    // A machine that starts again asks for the address it had.
    let again = dhclient(&mut wires, "again");
    until_told(&mut wires, "REBOOT", RESERVED);
    signal(again, Signal::SIGKILL);
    release(&mut wires);
    wires.until("it is given back", |wires| wires.events(PC01).iter().any(|what| what.contains("gave 10.77.0.101 back")));
}

#[test]
fn networkd_gets_renews_rebinds_reboots_and_gives_back_its_address_by_a_client_identifier_of_its_own() {
    let Some(mut wires) = Wires::of_two("networkd", PC01) else { return };
    wires.publish(lease_of(16));
    wires.serve();
    // Its files are its own, below /run. Where /sys cannot be written it does not wait for udev, which no namespace has.
    let text = "#!/bin/sh\nset -e\nmount -t tmpfs none /run\nmkdir -p /run/systemd/network /run/systemd/netif/leases\n\
         printf '[Match]\\nName=c0\\n[Network]\\nDHCP=ipv4\\nLinkLocalAddressing=no\\nIPv6AcceptRA=no\\n' >/run/systemd/network/c0.network\n\
         chown -R systemd-network: /run/systemd/netif\nmount -o remount,ro /sys\n\
         SYSTEMD_LOG_LEVEL=debug SYSTEMD_LOG_TARGET=console exec /usr/lib/systemd/systemd-networkd\n";
    let script = wires.script("start", text);
    let mut command = wires.command("c", "unshare");
    command.arg("--mount").arg(script);
    let pid = wires.spawn("networkd", command);
    let acknowledged = |wires: &mut Wires, state: &str| {
        let asked = format!("REQUEST ({state})");
        wires.until(&format!("an answer while {state}"), |wires| {
            wires.read("networkd.log").split_once(&asked).is_some_and(|(_, after)| after.contains("DHCPv4 client: ACK"))
        });
    };
    acknowledged(&mut wires, "requesting");
    wires.ip("s", "link set s0 down");
    wires.until("its carrier is lost", |wires| wires.read("networkd.log").contains("c0: Lost carrier"));
    wires.ip("s", "link set s0 up");
    acknowledged(&mut wires, "init-reboot");
    acknowledged(&mut wires, "renewing");
    wires.ip("s", &format!("addr del {SERVER}/24 dev s0"));
    wires.ip("s", "addr add 10.77.0.2/24 dev s0");
    acknowledged(&mut wires, "rebinding");
    signal(pid, Signal::SIGTERM);
    wires.until("it is given back", |wires| wires.events(PC01).iter().any(|what| what.contains("gave 10.77.0.101 back")));
    let log = wires.read("networkd.log");
    assert_eq!(log.matches("client: DISCOVER").count(), 1, "it never lost its address: {log}");
    assert!(log.contains("DHCPv4 address 10.77.0.101/24") && log.contains("Setting transient hostname: 'pc01'"), "{log}");
}

#[test]
fn dhcpcd_gets_rebinds_and_gives_back_an_address_it_has_checked_itself() {
    let Some(mut wires) = Wires::of_two("dhcpcd", "02:00:00:00:00:05") else { return };
    wires.publish(lease_of(3600));
    wires.serve();
    let script = script(&wires, "reason", "new_ip_address", "new_dhcp_server_identifier");
    // Its files lie where the system's are, by interface: a name of its own.
    let device = format!("bd{}", std::process::id());
    wires.ip("c", "link set c0 down");
    wires.ip("c", &format!("link set c0 name {device}"));
    wires.ip("c", &format!("link set {device} up"));
    let mut command = wires.command("c", "dhcpcd");
    command.args(["-4", "-B", "-d", "--noipv6rs", "--nolink", "-f", "/dev/null", "-c"]).arg(script).arg(&device);
    let pid = wires.spawn("dhcpcd", command);
    wires.until("BOUND", |wires| wires.read("client.told").contains("BOUND 10.77.0.20"));
    signal(pid, Signal::SIGHUP);
    // It asks by broadcast to keep its address, and calls the answer a renewal.
    wires.until("RENEW", |wires| wires.read("client.told").contains("RENEW 10.77.0.20"));
    signal(pid, Signal::SIGALRM);
    let back = |wires: &Wires| wires.events("02:00:00:00:00:05").iter().any(|what| what.contains(" back"));
    wires.until("it is given back", back);
    let _ = std::fs::remove_file(format!("/var/lib/dhcpcd/{device}.lease"));
}

/// A client behind a router that relays, and the server on the router's other side.
fn behind_a_router(test: &str) -> Option<Wires> {
    let mut wires = Wires::make(test)?;
    wires.space("r");
    wires.space("c");
    wires.pair(("s", "s0"), ("r", "r1"));
    wires.pair(("r", "r0"), ("c", "c0"));
    wires.ip("s", &format!("addr add {SERVER}/24 dev s0"));
    wires.ip("r", "addr add 10.77.0.254/24 dev r1");
    wires.ip("r", "addr add 10.78.0.254/24 dev r0");
    wires.ip("s", "route add 10.78.0.0/24 via 10.77.0.254");
    let forward = wires.command("r", "sh").args(["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]).status();
    assert!(forward.is_ok_and(|status| status.success()));
    wires.publish(room(|table| {
        let mut far = lan(table).clone();
        far.subnet = "10.78.0.0/24".parse().expect("a subnet");
        far.range = Some(([10, 78, 0, 200].into(), [10, 78, 0, 202].into()));
        far.router = Some([10, 78, 0, 254].into());
        far.relay = [[10, 78, 0, 254].into()].into();
        far.lease_time = "20s".parse().expect("an interval");
        table.networks.insert("far".parse().expect("a name"), far);
    }));
    wires.serve();
    Some(wires)
}

#[test]
fn a_client_behind_dhcrelay_gets_an_address_of_its_subnet_and_renews_past_the_relay() {
    let Some(mut wires) = behind_a_router("dhcrelay") else { return };
    wires.ip("c", "link set c0 address 02:00:00:00:00:06");
    let mut relay = wires.command("r", "dhcrelay");
    relay.args(["-4", "-d", "-a", "-id", "r0", "-iu", "r1", SERVER]);
    let relay = wires.spawn("relay", relay);
    wires.until("the relay listens", |wires| wires.read("relay.log").contains("Sending on"));
    dhclient(&mut wires, "dhclient");
    wires.until("BOUND", |wires| wires.read("client.told").contains("BOUND 10.78.0.20"));
    // Without the relay only a renewal past it can succeed.
    signal(relay, Signal::SIGKILL);
    wires.until("RENEW", |wires| wires.read("client.told").contains("RENEW 10.78.0.20"));
    assert!(wires.read("client.told").contains(SERVER), "{}", wires.read("client.told"));
}

#[test]
fn a_client_behind_dnsmasqs_relay_gets_its_reservation_and_gives_it_back_past_the_relay() {
    let Some(mut wires) = behind_a_router("dnsrelay") else { return };
    wires.ip("c", &format!("link set c0 address {PC01}"));
    let make = room(|table| {
        let mut far = lan(table).clone();
        far.subnet = "10.78.0.0/24".parse().expect("a subnet");
        far.range = None;
        far.router = Some([10, 78, 0, 254].into());
        table.networks.insert("far".parse().expect("a name"), far);
        table.machines.values_mut().for_each(|machine| machine.ip = Some([10, 78, 0, 101].into()));
    });
    wires.publish(make);
    wires.until("the new table is served", |wires| wires.read("serve.log").matches("serving a new boot table").count() == 2);
    let mut relay = wires.command("r", "dnsmasq");
    relay.args(["-d", "--conf-file=/dev/null", "--port=0", "--user=root", "--dhcp-relay=10.78.0.254,10.77.0.1"]);
    wires.spawn("relay", relay);
    wires.until("the relay listens", |wires| wires.read("relay.log").contains("DHCP relay from"));
    dhclient(&mut wires, "dhclient");
    until_told(&mut wires, "BOUND", "10.78.0.101");
    release(&mut wires);
    wires.until("it is given back", |wires| wires.events(PC01).iter().any(|what| what.contains("gave 10.78.0.101 back")));
}

#[test]
fn two_interfaces_serve_two_networks_and_each_answers_on_its_own() {
    let Some(mut wires) = Wires::of_two("two", PC01) else { return };
    wires.space("d");
    wires.pair(("s", "s1"), ("d", "d0"));
    wires.publish_two();
    wires.serve();
    // With and without the broadcast flag: to everybody, and to its card alone before it has the address.
    for (space, extra, ip) in
        [("c", &[][..], RESERVED), ("c", &["-B"][..], RESERVED), ("d", &[][..], "10.79.0.20"), ("d", &["-B"][..], "10.79.0.20")]
    {
        let told = wires.file("once.told");
        let script =
            wires.script("once", &format!("#!/bin/sh\n[ $1 = bound ] && echo \"$ip $serverid\" > {}\nexit 0\n", told.display()));
        let _ = std::fs::remove_file(&told);
        let mut command = wires.command(space, "busybox");
        command
            .args(["udhcpc", "-f", "-q", "-n", "-t", "20", "-T", "1", "-i", &format!("{space}0"), "-s"])
            .arg(script)
            .args(extra);
        wires.spawn("once", command);
        wires.until(ip, |wires| wires.read("once.told").starts_with(ip));
        let server = if space == "c" { SERVER } else { "10.79.0.1" };
        assert!(wires.read("once.told").trim_end().ends_with(server), "{}", wires.read("once.told"));
    }
}
