//! Why a machine did or did not boot: its transcript grouped into boots, each with its outcome.
//!
//! **Invariant:** pure; decides on the kinds of events and never on their sentences, and says what could not be seen instead of
//! guessing it.

mod boots;
mod cause;
mod outcome;
mod render;

pub use boots::{Boot, Step};
pub use cause::{Cause, Finding};
pub use outcome::Outcome;
pub use render::render;

use crate::{
    boot::table::{BootTable, Network},
    transcript::{Event, ServerKind, Transcript},
};
use crate::{
    desired::{Firmware, NetworkMode},
    names::{ClientArch, MacAddr, MachineName, NetworkName},
};
use jiff::Timestamp;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// The version of this document.
pub const VERSION: u32 = 2;

/// Why a machine did or did not boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// [`VERSION`].
    pub version: u32,
    /// When this was asked.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// The machine's Ethernet addresses.
    pub macs: Vec<MacAddr>,
    /// The address it was last seen with.
    pub address: Option<Ipv4Addr>,
    /// What the site says of it; `None` for a machine that is not in the site.
    pub machine: Option<SiteFacts>,
    /// The networks it may be on: the one of its address, or all of them.
    pub networks: BTreeMap<NetworkName, NetworkFacts>,
    /// Its disk, as the host shows it now.
    pub disk: Disk,
    /// Its boots, oldest first.
    pub boots: Vec<Boot>,
    /// Why there are none.
    pub silence: Option<Finding>,
}

/// What the site says of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SiteFacts {
    /// Its name.
    pub name: MachineName,
    /// What it boots by itself.
    pub default: String,
    /// Its reserved address.
    pub ip: Option<Ipv4Addr>,
    /// Its firmware, when the site says.
    pub firmware: Option<Firmware>,
}

/// What the site says of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct NetworkFacts {
    /// How the server takes part in its DHCP.
    pub mode: NetworkMode,
    /// The interface it is reached through.
    pub interface: String,
    /// The subnet.
    pub subnet: String,
}

/// A machine's disk, as the host shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Disk {
    /// The host has no target for this machine.
    NoTarget,
    /// There are targets, and nobody is logged in.
    Free {
        /// The targets.
        targets: Vec<String>,
        /// Those of them that take no logins.
        disabled: Vec<String>,
        /// When the disk was last seen in use.
        #[schemars(with = "Option<String>")]
        last_used: Option<Timestamp>,
    },
    /// Somebody is logged in.
    LoggedIn {
        /// To which target.
        target: String,
        /// From which address.
        from: String,
        /// Who.
        by: Initiator,
    },
    /// It could not be looked at.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// Who is logged in to a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Initiator {
    /// iPXE, before the operating system has taken over.
    Firmware,
    /// An operating system.
    System,
}

/// A machine as somebody names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Its name in the site.
    pub name: Option<MachineName>,
    /// Its Ethernet addresses.
    pub macs: Vec<MacAddr>,
}

/// What everything is explained from.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The published boot table, if there is one.
    pub table: Option<&'a BootTable>,
    /// The transcript.
    pub transcript: &'a Transcript,
    /// The time.
    pub now: Timestamp,
}

/// The machine that a name, an Ethernet address in any spelling or an IP address stands for.
pub fn find(asked: &str, evidence: Evidence<'_>) -> Option<Subject> {
    let machines = || evidence.table.into_iter().flat_map(|table| &table.machines);
    let of_site = |mac: MacAddr| machines().find(|(_, machine)| machine.macs.contains(&mac));
    let subject = |mac: MacAddr| match of_site(mac) {
        Some((name, machine)) => Subject { name: Some(name.clone()), macs: machine.macs.clone() },
        None => Subject { name: None, macs: vec![mac] },
    };
    if let Some((name, machine)) = machines().find(|(name, _)| name.as_str() == asked) {
        return Some(Subject { name: Some(name.clone()), macs: machine.macs.clone() });
    }
    if let Ok(mac) = asked.parse::<MacAddr>() {
        return Some(subject(mac));
    }
    let ip: Ipv4Addr = asked.parse().ok()?;
    if let Some(mac) = evidence.transcript.machine_at(ip) {
        return Some(subject(mac));
    }
    let (name, machine) = machines().find(|(_, machine)| machine.ip == Some(ip))?;
    Some(Subject { name: Some(name.clone()), macs: machine.macs.clone() })
}

/// Explains a machine's boots.
pub fn explain(subject: &Subject, disk: Disk, evidence: Evidence<'_>) -> Explanation {
    let Evidence { table, transcript, now } = evidence;
    let seen: Vec<_> = subject.macs.iter().filter_map(|mac| transcript.machines.get(mac)).collect();
    let mut events: Vec<Event> = seen.iter().flat_map(|machine| machine.events.iter().cloned()).collect();
    // A machine with several cards may ask with each of them.
    events.sort_by_key(|event| event.at);
    let machine = subject.name.as_ref().and_then(|name| table?.machines.get_key_value(name));
    let machine = machine.map(|(name, machine)| SiteFacts {
        name: name.clone(),
        default: machine.default.clone(),
        ip: machine.ip,
        firmware: machine.firmware,
    });
    let address = seen.iter().find_map(|machine| machine.address);
    let networks = networks_of(address.or(machine.as_ref().and_then(|machine| machine.ip)), table);
    let around =
        outcome::Around { disk: &disk, now, others: &other_servers(transcript, table), mac: subject.macs.first().copied() };
    let boots = boots::group(&events);
    let last = boots.len().saturating_sub(1);
    let boots: Vec<Boot> = boots
        .iter()
        .enumerate()
        .map(|(n, events)| {
            let place = if n == last { outcome::Place::Last } else { outcome::Place::Earlier };
            boots::boot(events, outcome::decide(events, place, &around))
        })
        .collect();
    let silence = boots.is_empty().then(|| Cause::NeverHeard.finding());
    Explanation { version: VERSION, at: now, macs: subject.macs.clone(), address, machine, networks, disk, boots, silence }
}

fn networks_of(address: Option<Ipv4Addr>, table: Option<&BootTable>) -> BTreeMap<NetworkName, NetworkFacts> {
    let facts = |network: &Network| NetworkFacts {
        mode: network.mode,
        interface: network.interface.clone(),
        subnet: network.subnet.to_string(),
    };
    let all = table.into_iter().flat_map(|table| &table.networks);
    let of_address = |network: &Network| address.is_none_or(|address| network.subnet.contains(&address));
    all.filter(|(_, network)| of_address(network)).map(|(name, network)| (name.clone(), facts(network))).collect()
}

/// DHCP servers that machines chose before us, or that were heard, on networks where this server hands out the addresses: nobody
/// else should.
pub fn other_servers(transcript: &Transcript, table: Option<&BootTable>) -> BTreeSet<Ipv4Addr> {
    let chosen = transcript.machines.values().flat_map(|machine| &machine.events).filter_map(|event| event.kind.other_server());
    let is_expected = |server: &Ipv4Addr| {
        let networks = table.into_iter().flat_map(|table| table.networks.values());
        networks.into_iter().any(|network| network.mode == NetworkMode::Proxy && network.subnet.contains(server))
    };
    let heard = transcript.servers.iter().filter(|(_, seen)| seen.kind == ServerKind::Dhcp).map(|(server, _)| *server);
    chosen.chain(heard).filter(|server| !is_expected(server)).collect()
}

/// A machine that was seen and is in no file of the site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UnknownMachine {
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// When it was last seen.
    #[schemars(with = "String")]
    pub last_seen: Timestamp,
    /// What its firmware runs on, where it said so.
    pub arch: Option<ClientArch>,
    /// The address it was last seen with.
    pub address: Option<Ipv4Addr>,
}

/// Machines that tried to boot and are not in the site, the last seen first. What never asked to boot (a phone) is none.
pub fn unknown_machines(transcript: &Transcript, is_known: impl Fn(MacAddr) -> bool) -> Vec<UnknownMachine> {
    let mut found: Vec<UnknownMachine> = transcript
        .machines
        .iter()
        .filter(|(mac, machine)| !is_known(**mac) && machine.events.iter().any(|event| event.kind.is_of_a_boot()))
        .filter_map(|(mac, machine)| {
            let arch = machine.events.iter().rev().find_map(|event| event.kind.asker()?.1);
            Some(UnknownMachine { mac: *mac, last_seen: machine.events.last()?.at, arch, address: machine.address })
        })
        .collect();
    found.sort_by_key(|machine| (std::cmp::Reverse(machine.last_seen), machine.mac));
    found
}

#[cfg(test)]
mod tests;
