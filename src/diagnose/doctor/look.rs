//! Gathers the facts about this host that the judgement needs.
//!
//! **Invariant:** changes nothing, and waits for no program longer than its deadline.
#![expect(clippy::disallowed_methods, reason = "effect room: reads /proc, /sys and directories")]

use super::{Facts, Interface, Listener, Privilege, files, firewall, space};
use crate::desired::Source;
use crate::host::{Command, CommandError, Needs, RunDir, Scope, System, observe, preflight};
use crate::observed::Seen;
use crate::plan::Prepared;
use ipnet::Ipv4Net;
use jiff::tz::TimeZone;
use nix::{ifaddrs::getifaddrs, net::if_::InterfaceFlags};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};

/// All of these only look.
const DEADLINE: Duration = Duration::from_secs(20);
/// Services whose stop action runs `targetctl clear`: Debian's and the others' name of it.
const CLEARING: [&str; 2] = ["rtslib-fb-targetctl.service", "target.service"];
/// Where distributions put iPXE: Debian and Ubuntu; Fedora, SUSE and Arch.
const USUAL_LOADERS: [&str; 3] = ["/usr/lib/ipxe", "/usr/share/ipxe", "/usr/share/ipxe/x86_64"];

/// Looks at this host with a site in mind.
pub fn look(system: &System, prepared: &Prepared, state: &Path) -> Facts {
    let storage = prepared.desired.storage.as_ref();
    let formats = storage.into_iter().flat_map(|storage| storage.versions.values()).filter_map(|version| match &version.source {
        Source::Blank => None,
        Source::File { format, .. } => Some(*format),
    });
    let pool = storage.map(|storage| (storage.vg().clone(), storage.pool().clone()));
    let needs = Needs { pool, has_tools: false, formats: formats.collect() };
    let vg = observe(system, &Scope::of(prepared, state)).vg;
    let proc = |path: &str| fs::read_to_string(path).ok();
    let capabilities = proc("/proc/self/status").and_then(|text| parse_capabilities(&text));
    Facts {
        privilege: if system.kernel.is_root() { Privilege::Root } else { Privilege::User },
        listeners: run(system, &["ss", "-Hlntup"], "the package iproute2 has ss", parse_listeners),
        capabilities,
        interfaces: interfaces(),
        firewall: look_at_firewall(system),
        now: system.kernel.now().to_zoned(TimeZone::system()),
        synchronised: run(
            system,
            &["timedatectl", "show", "-p", "NTPSynchronized", "--value"],
            "the package systemd has timedatectl",
            |text| text.trim() == "yes",
        ),
        loaders: loaders(prepared.table.loaders.as_deref()),
        neighbours: proc("/proc/sys/net/ipv4/neigh/default/gc_thresh3").and_then(|text| text.trim().parse().ok()),
        clearing_services: clearing_services(system),
        space: space::look(&[state, RunDir::of_process(state).path()]),
        files: files::look(system, prepared, state, &vg),
        problems: preflight(system, &needs, &vg),
        vg,
    }
}

/// What is read of what a program prints; unreadable when it is not there or fails.
fn run<T>(system: &System, argv: &[&str], package: &str, read: impl FnOnce(&str) -> T) -> Seen<T> {
    match system.commands.succeed(&Command::new(argv.iter().copied(), DEADLINE)) {
        Ok(output) => Seen::Present(read(&output.stdout)),
        Err(error @ CommandError::Missing { .. }) => Seen::Unreadable(format!("{error}; {package}")),
        Err(error) => Seen::Unreadable(error.to_string()),
    }
}

/// Reads the line `CapEff: 000001ffffffffff`.
fn parse_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Reads `udp UNCONN 0 0 0.0.0.0%s0:67 0.0.0.0:* users:(("dnsmasq",pid=12,fd=4))`.
pub(super) fn parse_listeners(text: &str) -> Vec<Listener> {
    let listener = |line: &str| {
        let mut words = line.split_whitespace();
        let protocol = words.next()?.to_owned();
        let (address, port) = words.nth(3)?.rsplit_once(':')?;
        let program = line.split_once("((\"").and_then(|(_, rest)| rest.split('"').next()).map(str::to_owned);
        Some(Listener { protocol, address: address.to_owned(), port: port.parse().ok()?, program })
    };
    text.lines().filter_map(listener).collect()
}

fn interfaces() -> BTreeMap<String, Interface> {
    let mut interfaces: BTreeMap<String, Interface> = BTreeMap::new();
    for entry in getifaddrs().into_iter().flatten() {
        let interface = interfaces.entry(entry.interface_name).or_default();
        // IFF_RUNNING is the link: a cable that is plugged in at both ends.
        interface.up |= entry.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
        interface.loopback |= entry.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let ip = entry.address.as_ref().and_then(|address| Some(address.as_sockaddr_in()?.ip()));
        let mask = entry.netmask.as_ref().and_then(|mask| Some(mask.as_sockaddr_in()?.ip()));
        if let (Some(ip), Some(mask)) = (ip, mask) {
            interface.addresses.extend(Ipv4Net::with_netmask(ip, mask).ok());
        }
    }
    interfaces
}

fn look_at_firewall(system: &System) -> Seen<firewall::Firewall> {
    let seen = run(system, &["nft", "list", "ruleset"], "the package nftables has nft", firewall::parse_nft);
    if seen.present().is_some() {
        return seen;
    }
    // An older host filters by iptables alone.
    match run(system, &["iptables", "-S", "INPUT"], "the package iptables has iptables", firewall::parse_iptables) {
        Seen::Unreadable(_) => seen,
        rules => rules,
    }
}

fn loaders(directory: Option<&str>) -> (BTreeSet<String>, Vec<String>) {
    let directories = directory.map_or_else(|| USUAL_LOADERS.map(str::to_owned).to_vec(), |one| vec![one.to_owned()]);
    let entries = directories.iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten();
    // Debian's ipxe.efi is a link to /boot: a link that leads nowhere is no loader.
    let files = entries.filter(|entry| fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file()));
    (files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect(), directories)
}

/// The services that would clear the targets: those that start with the host, and those that are up whether or not they do.
fn clearing_services(system: &System) -> Seen<BTreeSet<String>> {
    // sd_booted(3): without systemd there is nobody who would stop them.
    if !Path::new("/run/systemd/system").is_dir() {
        return Seen::Absent;
    }
    let ask = ["systemctl", "show", "-p", "Id", "-p", "LoadState", "-p", "ActiveState", "-p", "UnitFileState"];
    match system.commands.run(&Command::new(ask.into_iter().chain(CLEARING), DEADLINE)) {
        Ok(output) if output.is_success() => Seen::Present(parse_clearing(&output.stdout)),
        Ok(output) => Seen::Unreadable(format!("systemctl show ended with {:?}: {}", output.status, output.stderr.trim())),
        Err(error) => Seen::Unreadable(error.to_string()),
    }
}

/// Reads a block of properties for each unit, with an empty line between them. Two names of one unit have one id; a unit that is masked
/// has no stop action any more, also while it is up.
fn parse_clearing(shown: &str) -> BTreeSet<String> {
    let value = |block: &str, name: &str| {
        block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned)).unwrap_or_default()
    };
    let clears = |block: &&str| {
        value(block, "LoadState") == "loaded"
            && (value(block, "ActiveState") != "inactive" || value(block, "UnitFileState").starts_with("enabled"))
    };
    shown.split("\n\n").filter(clears).map(|block| value(block, "Id")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_that_clears_targets_is_one_that_is_up_or_will_be_and_was_not_masked() {
        let unit = |id: &str, load: &str, active: &str, file: &str| {
            format!("Id={id}.service\nLoadState={load}\nActiveState={active}\nUnitFileState={file}\n")
        };
        let clearing = |units: &[String]| parse_clearing(&units.join("\n")).into_iter().collect::<Vec<_>>().join(" ");
        let absent = unit("target", "not-found", "inactive", "");
        assert_eq!(clearing(&[unit("a", "loaded", "active", "enabled"), absent.clone()]), "a.service");
        assert_eq!(clearing(&[unit("a", "loaded", "active", "disabled"), absent.clone()]), "a.service", "its stop clears all");
        assert_eq!(
            clearing(&[unit("a", "loaded", "inactive", "enabled"), unit("a", "loaded", "inactive", "enabled")]),
            "a.service"
        );
        for quiet in [unit("a", "loaded", "inactive", "disabled"), unit("a", "masked", "active", "masked"), absent] {
            assert_eq!(clearing(std::slice::from_ref(&quiet)), "", "{quiet}");
        }
    }
}
