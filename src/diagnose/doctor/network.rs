//! Whether DHCP on a network is as its mode says: who else answers there.
//!
//! **Invariant:** a server that names an address of this host is this host.

use super::{Check, Privilege};
use crate::desired::NetworkMode;
use crate::names::NetworkName;
use ipnet::Ipv4Net;
use std::{collections::BTreeSet, net::Ipv4Addr};

const ABOUT: &str = "dhcp";

/// An answer to a DISCOVER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The server, as it names itself.
    pub server: Ipv4Addr,
    /// The address it offers; `None` from a proxyDHCP.
    pub address: Option<Ipv4Addr>,
    /// The boot file it names.
    pub boot_file: Option<String>,
}

/// Judges who answered on a network.
pub fn judge_dhcp(
    name: &NetworkName,
    (mode, subnet): (NetworkMode, Ipv4Net),
    ours: &BTreeSet<Ipv4Addr>,
    heard: Result<Vec<Answer>, String>,
    privilege: Privilege,
) -> Vec<Check> {
    let answers = match heard {
        Ok(answers) => answers,
        Err(error) => {
            let what = format!("who answers DHCP on network {name} could not be asked: {error}");
            let mend = privilege.mend("see that the interface is there and up");
            return vec![Check::unseen(ABOUT, what, format!("{mend}, or leave this out with --offline"))];
        }
    };
    let others = || answers.iter().filter(|answer| !ours.contains(&answer.server));
    // A router that somebody has brought along gives out its own subnet, which is as wrong.
    let is_expected = |ip: &Ipv4Addr| mode == NetworkMode::Server || subnet.contains(ip);
    let servers = others().filter(|answer| answer.address.as_ref().is_some_and(is_expected));
    let servers: BTreeSet<String> = servers.map(|answer| answer.server.to_string()).collect();
    let strays = others().filter_map(|answer| Some((answer.server, answer.address.filter(|ip| !is_expected(ip))?)));
    let booting = others().filter_map(|answer| Some((answer.server, answer.boot_file.as_ref()?)));
    let told = servers.iter().cloned().collect::<Vec<_>>().join(", ");
    let mut checks = match (mode, servers.is_empty()) {
        (NetworkMode::Server, true) => vec![Check::ok(ABOUT, format!("nobody else answers DHCP on network {name}"))],
        (NetworkMode::Server, false) => vec![Check::problem(
            ABOUT,
            "other-dhcp-server",
            format!("another DHCP server answers on network {name}: {told}"),
            format!("switch DHCP off there, or set mode = \"proxy\" in network/{name}.toml"),
        )],
        (NetworkMode::Proxy | NetworkMode::Off, true) => vec![Check::problem(
            ABOUT,
            "no-dhcp-server",
            format!("no DHCP server gives out addresses on network {name}"),
            format!("start the one that should, or set mode = \"server\" in network/{name}.toml"),
        )],
        (NetworkMode::Proxy | NetworkMode::Off, false) => {
            vec![Check::ok(ABOUT, format!("addresses on network {name} come from {told}"))]
        }
    };
    checks.extend(strays.map(|(server, ip)| {
        let what = format!("{server} gives out {ip} on network {name}, which is not in its subnet {subnet}");
        Check::problem(
            ABOUT,
            "foreign-subnet-offered",
            what,
            format!("switch DHCP off there, or correct subnet in network/{name}.toml"),
        )
    }));
    if mode == NetworkMode::Proxy {
        checks.extend(booting.map(|(server, file)| {
            let what = format!("{server} tells machines on network {name} to boot {file:?}");
            Check::warning(
                ABOUT,
                "other-boot-file",
                what,
                "remove its boot file (options 66 and 67): firmware may take it instead of ours",
            )
        }));
    }
    checks
}
