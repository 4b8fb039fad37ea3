//! Judges the facts: which of them are problems, and how each is mended.
//!
//! **Invariant:** pure; every problem names the thing and the mend, and each check says something even when all is well.

use super::{Check, Facts, Interface, Listener, Privilege, files, space};
use crate::boot::table::{BootTable, Network};
use crate::desired::Backing;
use crate::desired::{Firmware, NetworkMode};
use crate::diagnostic::Severity;
use crate::names::NetworkName;
use crate::observed::{LvKind, Seen};
use crate::plan::{Prepared, is_half_made_pool};
use std::{collections::BTreeSet, net::IpAddr};

/// Where this program is called in a list of sockets.
const OURS: &str = "barista";
/// CAP_NET_BIND_SERVICE and CAP_NET_RAW (linux/capability.h).
const WANTED_CAPABILITIES: u64 = 1 << 10 | 1 << 13;
/// barista's first year: a clock before it has lost its battery.
const EARLIEST: i64 = 1_767_225_600;

/// Everything that was looked at.
pub fn judge(facts: &Facts, prepared: &Prepared) -> Vec<Check> {
    let table = &prepared.table;
    let mut checks = Vec::new();
    checks.extend(judge_ports(facts, table));
    checks.push(judge_capabilities(facts));
    checks.extend(facts.problems.iter().cloned().map(Check::Wrong));
    if facts.problems.is_empty() {
        checks.push(Check::ok("host", "the programs and kernel modules that the site needs are there"));
    }
    checks.extend(judge_storage(facts, prepared));
    checks.extend(space::judge(facts));
    checks.extend(files::judge(facts, prepared));
    checks.extend(table.networks.iter().map(|(name, network)| judge_interface(facts, name, network)));
    checks.extend(judge_addresses(facts, prepared));
    checks.extend(judge_firewall(facts, prepared));
    checks.push(judge_clock(facts));
    checks.extend(judge_loaders(facts, table));
    checks.extend(judge_neighbours(facts, table));
    checks.push(judge_services(facts));
    checks
}

/// The ports of the site: protocol, number, and what it is for.
fn ports(table: &BootTable) -> Vec<(&'static str, u16, &'static str)> {
    let mut ports = vec![("udp", 69, "TFTP"), ("tcp", table.http_port, "HTTP")];
    if table.networks.values().any(|network| network.mode != NetworkMode::Off) {
        ports.extend([("udp", 67, "DHCP"), ("udp", 4011, "the PXE boot server")]);
    }
    ports
}

fn judge_ports(facts: &Facts, table: &BootTable) -> Vec<Check> {
    let about = "ports";
    let listeners = match &facts.listeners {
        Seen::Present(listeners) => listeners,
        Seen::Absent => return Vec::new(),
        Seen::Unreadable(reason) => {
            let mend = "install iproute2, or look with another tool which program has ports 67, 69 and 4011";
            return vec![Check::unseen(about, format!("who listens could not be seen: {reason}"), mend)];
        }
    };
    let judge = |(protocol, port, what): (&str, u16, &str)| {
        let holders: Vec<&Listener> =
            listeners.iter().filter(|it| it.protocol == protocol && it.port == port && concerns(it, port, table)).collect();
        let named = |holder: &&Listener| holder.program.clone();
        let programs: BTreeSet<String> = holders.iter().filter_map(named).collect();
        let others: Vec<_> = programs.iter().filter(|program| *program != OURS).cloned().collect();
        match (holders.is_empty(), programs.is_empty(), others.is_empty()) {
            (true, _, _) => Check::ok(about, format!("{protocol} port {port} ({what}) is free")),
            (false, true, _) => Check::warning(
                about,
                "port-taken-by-unseen",
                match facts.privilege {
                    Privilege::User => format!("{protocol} port {port} ({what}) is taken, and by whom only root sees"),
                    Privilege::Root => format!("{protocol} port {port} ({what}) is taken by a program that does not show"),
                },
                facts.privilege.mend("look outside of this container, or for a socket of the kernel: ss -lntup"),
            ),
            (false, false, true) => Check::ok(about, format!("{protocol} port {port} ({what}) is served by {OURS}")),
            (false, false, false) => Check::problem(
                about,
                "port-taken",
                format!("{protocol} port {port} ({what}) is taken by {}", others.join(", ")),
                match port {
                    67 | 4011 => "stop that DHCP server, or set mode = \"off\" and give it what `barista export` prints",
                    69 => "stop that TFTP server (tftpd-hpa, atftpd, dnsmasq)",
                    _ => "stop that program, or set another http-port under [boot]",
                },
            ),
        }
    };
    ports(table).into_iter().map(judge).collect()
}

/// Whether a listener is in our way: it has all addresses, one of ours, or an interface of ours.
fn concerns(listener: &Listener, port: u16, table: &BootTable) -> bool {
    let (address, interface) = match listener.address.split_once('%') {
        Some((address, interface)) => (address, Some(interface)),
        None => (listener.address.as_str(), None),
    };
    if let Some(interface) = interface {
        return table.networks.values().any(|network| network.interface == interface);
    }
    let ours = if port == 69 { table.tftp_address } else { table.http_address };
    matches!(address, "0.0.0.0" | "*" | "[::]") || address == ours.to_string()
}

fn judge_capabilities(facts: &Facts) -> Check {
    let about = "capabilities";
    match facts.capabilities {
        None => Check::unseen(about, "/proc/self/status does not tell this process's capabilities", "mount /proc"),
        Some(has) if has & WANTED_CAPABILITIES == WANTED_CAPABILITIES => {
            Check::ok(about, "this process may open low ports and raw sockets")
        }
        Some(_) => Check::warning(
            about,
            "capabilities-missing",
            "this process may not open low ports and raw sockets, so `barista serve` would not run from here",
            match facts.privilege {
                Privilege::User => {
                    "start the service barista-serve, which has CAP_NET_BIND_SERVICE and CAP_NET_RAW, or run it as root"
                }
                Privilege::Root => "give CAP_NET_BIND_SERVICE and CAP_NET_RAW to the container or unit that this runs in",
            },
        ),
    }
}

fn judge_storage(facts: &Facts, prepared: &Prepared) -> Option<Check> {
    let about = "storage";
    let storage = prepared.desired.storage.as_ref()?;
    let (vg, pool) = (storage.vg(), storage.pool());
    let Backing::Thin { create_pool, .. } = &storage.backing;
    let site = &prepared.desired.site;
    Some(match &facts.vg {
        Seen::Unreadable(reason) => {
            let mend = facts.privilege.mend(&format!("see that `vgs {vg}` runs by hand"));
            Check::unseen(about, reason.clone(), mend)
        }
        Seen::Absent => Check::problem(
            about,
            "volume-group-missing",
            format!("there is no volume group {vg}"),
            format!("vgcreate --metadatasize 16m {vg} /dev/…, or name another volume-group in site.toml"),
        ),
        Seen::Present(group) => match group.lvs.get(pool.as_str()).filter(|lv| !is_half_made_pool(lv, site)).map(|lv| &lv.kind) {
            Some(LvKind::ThinPool { .. }) => Check::ok(about, format!("volume group {vg} has its thin pool {pool}")),
            Some(_) => Check::problem(
                about,
                "thin-pool-not-thin",
                format!("{vg}/{pool} is no thin pool"),
                "rename that volume, or name another thin-pool in site.toml",
            ),
            None if create_pool.is_some() => {
                Check::ok(about, format!("volume group {vg} has {} free for the thin pool that is to be made", group.free))
            }
            None => Check::problem(
                about,
                "thin-pool-missing",
                format!("volume group {vg} has no thin pool {pool}"),
                "set create-pool = true in site.toml, or make it with lvcreate --type thin-pool",
            ),
        },
    })
}

fn judge_interface(facts: &Facts, name: &NetworkName, network: &Network) -> Check {
    let about = "interfaces";
    let interface = &network.interface;
    let Some(Interface { up, addresses, .. }) = facts.interfaces.get(interface) else {
        let real = facts.interfaces.iter().filter(|(_, interface)| !interface.loopback);
        let there = real.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        let what = format!("network {name}: there is no interface {interface}");
        let mend = match there.as_str() {
            "" => "put a network card in, or load its driver: this host has no interface that leads to machines".to_owned(),
            there => format!("set interface in network/{name}.toml to one of {there}"),
        };
        return Check::problem(about, "interface-missing", what, mend);
    };
    let in_subnet = addresses.iter().find(|address| network.subnet.contains(&address.addr()));
    match (up, in_subnet) {
        (false, _) => Check::problem(
            about,
            "interface-down",
            format!("network {name}: interface {interface} is down or has no link"),
            format!("plug the cable in, and run `ip link set {interface} up`"),
        ),
        (true, None) if !network.relay.is_empty() => {
            Check::ok(about, format!("network {name}: interface {interface} is up; its machines come through a relay agent"))
        }
        (true, None) => Check::problem(
            about,
            "interface-without-address",
            format!("network {name}: interface {interface} has no address in {}", network.subnet),
            format!(
                "give it one (ip address add …/{} dev {interface}), or mend subnet or interface in network/{name}.toml",
                network.subnet.prefix_len()
            ),
        ),
        (true, Some(address)) if address.prefix_len() != network.subnet.prefix_len() => Check::warning(
            about,
            "prefix-length-differs",
            format!("network {name}: {interface} has {address}, and the site says {}", network.subnet),
            "give both the same prefix length: machines take the site's",
        ),
        (true, Some(address)) => Check::ok(about, format!("network {name}: {interface} is up and has {address}")),
    }
}

fn judge_addresses(facts: &Facts, prepared: &Prepared) -> Vec<Check> {
    let has = |wanted| facts.interfaces.values().flat_map(|it| &it.addresses).any(|address| address.addr() == wanted);
    let table = &prepared.table;
    let mut named = vec![("tftp-address", IpAddr::V4(table.tftp_address)), ("http-address", IpAddr::V4(table.http_address))];
    named.extend(prepared.desired.storage.as_ref().map(|storage| ("iscsi-address", storage.portal().0.ip())));
    let missing = named.into_iter().filter(|(_, address)| !has(*address));
    let told = missing.map(|(key, address)| {
        let what = format!("no interface of this host has {address} ({key})");
        Check::problem("addresses", "address-missing", what, "give it to the interface, or mend [server] in site.toml")
    });
    told.collect()
}

fn judge_firewall(facts: &Facts, prepared: &Prepared) -> Vec<Check> {
    let about = "firewall";
    let firewall = match &facts.firewall {
        Seen::Present(firewall) => firewall,
        Seen::Absent => return Vec::new(),
        Seen::Unreadable(reason) => {
            let what = format!("the firewall could not be looked at: {reason}");
            let mend = facts.privilege.mend("see that the ports of the site are open");
            return vec![Check::unseen(about, what, mend)];
        }
    };
    let mut wanted: Vec<(&str, u16, &str)> = ports(&prepared.table);
    wanted.extend(prepared.desired.storage.as_ref().map(|storage| ("tcp", storage.portal().0.port(), "iSCSI")));
    let listed = |ports: Vec<&(&str, u16, &str)>| {
        ports.iter().map(|(protocol, port, what)| format!("{protocol} {port} ({what})")).collect::<Vec<_>>().join(", ")
    };
    let dropped: Vec<_> = wanted.iter().filter(|(_, port, _)| firewall.dropped.contains(port)).collect();
    let closed: Vec<_> = wanted.iter().filter(|(_, port, _)| !firewall.accepted.contains(port)).collect();
    let mut checks = Vec::new();
    if !dropped.is_empty() {
        let what = format!("a rule of the firewall names and drops {}", listed(dropped));
        checks.push(Check::warning(about, "firewall-drops", what, "see that the rule is not for the machines' network"));
    }
    if !firewall.closed.is_empty() && !closed.is_empty() {
        let chains = firewall.closed.iter().cloned().collect::<Vec<_>>().join(", ");
        let what = format!("chain {chains} drops what no rule accepts, and no rule names {}", listed(closed));
        checks.push(Check::warning(
            about,
            "firewall-closed",
            what,
            "accept what comes in through the machines' interface, or these ports",
        ));
    }
    if checks.is_empty() {
        checks.push(Check::ok(about, "no rule is seen that drops what machines send"));
    }
    checks
}

fn judge_clock(facts: &Facts) -> Check {
    let about = "clock";
    if facts.now.timestamp().as_second() < EARLIEST {
        let what = format!("the clock says {}, which is past", facts.now.strftime("%Y-%m-%d %H:%M:%S %:z"));
        return Check::problem(
            about,
            "clock-wrong",
            what,
            "set it (timedatectl set-time), and have it kept: timedatectl set-ntp true",
        );
    }
    match &facts.synchronised {
        Seen::Present(true) => Check::ok(about, "it is kept in time"),
        Seen::Present(false) => Check::warning(
            about,
            "clock-not-kept",
            "nothing keeps the clock in time: the times in the transcript, in the log and in `barista status` may be wrong, and a lease \
             may end early or late after this host was switched off; while it is up, leases do not go by it",
            "timedatectl set-ntp true, or install chrony",
        ),
        Seen::Absent => Check::ok(about, "it is past barista's own date"),
        Seen::Unreadable(reason) => {
            let what = format!("whether it is kept in time could not be seen: {reason}");
            Check::unseen(about, what, "see that an NTP service runs")
        }
    }
}

fn judge_loaders(facts: &Facts, table: &BootTable) -> Vec<Check> {
    let (files, directories) = &facts.loaders;
    let is_there = |file: &str| files.iter().any(|known| known.eq_ignore_ascii_case(file));
    let firmware = || table.machines.values().map(|machine| machine.firmware);
    let no_bios = !table.machines.is_empty() && firmware().all(|firmware| firmware == Some(Firmware::Uefi));
    let no_uefi = !table.machines.is_empty() && firmware().all(|firmware| firmware == Some(Firmware::Bios));
    let judge = |(file, kind, unused): (&str, &str, bool)| match (is_there(file), unused) {
        (true, _) => Check::ok("loaders", format!("{file} is there, for {kind}")),
        (false, unused) => Check::wrong(
            if unused { Severity::Warning } else { Severity::Error },
            "loaders",
            "loader-missing",
            format!("{file}, for {kind}, is not in {}", directories.join(", ")),
            "install the Debian package ipxe, or put the file where `loaders` under [boot] points",
        ),
    };
    [("undionly.kpxe", "BIOS", no_bios), ("ipxe.efi", "x64 UEFI", no_uefi)].into_iter().map(judge).collect()
}

/// Linux forgets neighbours above this number, and then says "neighbour table overflow" while machines hang (C22).
fn judge_neighbours(facts: &Facts, table: &BootTable) -> Option<Check> {
    let most = facts.neighbours?;
    let machines = u32::try_from(table.machines.len()).unwrap_or(u32::MAX);
    Some(match machines.saturating_mul(5) / 4 > most {
        true => Check::warning(
            "kernel",
            "neighbour-table-small",
            format!("the kernel keeps {most} neighbours at most, and the site has {machines} machines"),
            format!("sysctl -w net.ipv4.neigh.default.gc_thresh3={} (and gc_thresh2 half of it)", machines.saturating_mul(4)),
        ),
        false => Check::ok("kernel", format!("the kernel keeps {most} neighbours, enough for {machines} machines")),
    })
}

fn judge_services(facts: &Facts) -> Check {
    let about = "services";
    match &facts.clearing_services {
        Seen::Present(enabled) if !enabled.is_empty() => {
            let names = enabled.iter().cloned().collect::<Vec<_>>().join(" ");
            let what = format!("{names} clears every iSCSI target of everyone when it stops");
            let mend = format!("do not stop it; take its stop action away, which stops nothing: systemctl mask {names}");
            Check::problem(about, "clearing-service-enabled", what, mend)
        }
        Seen::Present(_) | Seen::Absent => Check::ok(about, "no service would clear the targets"),
        Seen::Unreadable(reason) => {
            let what = format!("which services are enabled could not be seen: {reason}");
            Check::unseen(about, what, "systemctl mask rtslib-fb-targetctl target, if they are there")
        }
    }
}
