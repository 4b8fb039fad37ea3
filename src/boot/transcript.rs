//! What booting machines asked for and were told, by machine: the document `serve` keeps and the planner reads.
//!
//! **Invariant:** a record of what happened, never a source of what should be; losing it loses no data, only explanations,
//! and makes every seat count as in use for a while.

mod event;

pub use event::{Asker, DhcpAnswer, DhcpMessage, EventKind, Silence};

use crate::names::MacAddr;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv4Addr,
};

/// The version of this document. Version 1 had no [`Event::kind`]; it is still read.
pub const VERSION: u32 = 2;

/// Where the transcript lies under the state directory.
pub const PATH: &str = "serve/transcript.json";

/// Events kept per machine; a boot takes about ten.
pub const EVENTS_KEPT: usize = 40;

/// What booting machines asked for and were told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Transcript {
    /// [`VERSION`].
    pub version: u32,
    /// By Ethernet address, known and unknown machines alike.
    pub machines: BTreeMap<MacAddr, MachineTranscript>,
    /// Other DHCP servers that were seen, by the address they call themselves.
    #[serde(default)]
    pub servers: BTreeMap<Ipv4Addr, ServerSeen>,
    /// When booting machines asked, by the interface they were heard on.
    #[serde(default)]
    pub wires: BTreeMap<String, WireSeen>,
    /// What finds a machine without a walk through all: a room that starts at once is thousands of events.
    #[serde(skip)]
    index: Index,
}

/// Machines by what else they are looked up by; says nothing that `machines` does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Index {
    /// Whoever was last seen with an address.
    holders: BTreeMap<Ipv4Addr, MacAddr>,
    /// Everybody by their last event.
    ages: BTreeSet<(Option<Timestamp>, MacAddr)>,
}

/// Another DHCP server that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ServerSeen {
    /// What it serves.
    pub kind: ServerKind,
    /// The interface it was seen on.
    pub interface: String,
    /// When it was first seen.
    #[schemars(with = "String")]
    pub first: Timestamp,
    /// When it was last seen.
    #[schemars(with = "String")]
    pub last: Timestamp,
    /// What showed it last: `server 192.168.1.1 offered 88:ae:dd:05:08:fa 192.168.1.77`.
    pub what: String,
}

/// What another server serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ServerKind {
    /// Addresses.
    Dhcp,
    /// Boot information alone, beside a server of addresses.
    BootServer,
}

/// When booting machines asked on an interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct WireSeen {
    /// When one last asked for an address.
    #[schemars(with = "String")]
    pub asked: Timestamp,
    /// Since when no other server of addresses was seen, though machines asked.
    #[schemars(with = "Option<String>")]
    pub alone_since: Option<Timestamp>,
}

/// One machine's part.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MachineTranscript {
    /// The address it was last seen with.
    pub address: Option<Ipv4Addr>,
    /// When it last fetched its iPXE script.
    #[schemars(with = "Option<String>")]
    pub script_fetched: Option<Timestamp>,
    /// The last [`EVENTS_KEPT`] events, oldest first.
    pub events: Vec<Event>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Which service saw it: `dhcp`, `proxydhcp`, `tftp`, `http`.
    pub service: String,
    /// What happened, for whatever decides on it.
    #[serde(default)]
    pub kind: EventKind,
    /// The same in one sentence, for people: `DISCOVER from x64 UEFI (PXEClient); offered 192.168.1.101 with ipxe.efi`.
    pub what: String,
}

/// Machines kept: several rooms, and an end to what a host that makes up Ethernet addresses can fill.
pub const MACHINES_KEPT: usize = 4096;

/// Other servers kept: who makes up more of them fills no disk.
pub const SERVERS_KEPT: usize = 64;

/// How long another server is remembered after it was last seen: a room that is open by day sees its router's every day.
pub const SERVER_KEPT: SignedDuration = SignedDuration::from_hours(48);

impl Transcript {
    /// A transcript in which nothing has happened.
    pub fn empty() -> Self {
        Self { version: VERSION, ..Self::default() }
    }

    /// Reads a transcript of this version or the one before; any other is an error.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let transcript: Self = serde_json::from_str(text)?;
        match transcript.version {
            1 | VERSION => {
                let index = Index::of(&transcript.machines);
                Ok(Self { version: VERSION, index, ..transcript })
            }
            other => Err(serde::de::Error::custom(format_args!("version {other} is not {VERSION}"))),
        }
    }

    /// The text that is kept.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        self.write(&mut text).expect("a vector takes any number of bytes");
        String::from_utf8(text).expect("JSON is UTF-8")
    }

    /// Writes the text that is kept, without ever having all of it.
    pub fn write(&self, mut out: impl io::Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut out, self)?;
        out.write_all(b"\n")
    }

    /// Adds an event of a machine and forgets its oldest ones; an address it is seen with is no longer another's.
    pub fn record(&mut self, mac: MacAddr, address: Option<Ipv4Addr>, event: Event) {
        if let Some(other) = address.and_then(|address| self.index.holders.get(&address)).filter(|other| **other != mac)
            && let Some(other) = self.machines.get_mut(other)
        {
            other.address = None;
        }
        if !self.machines.contains_key(&mac) && self.machines.len() >= MACHINES_KEPT {
            self.forget_oldest();
        }
        let machine = self.machines.entry(mac).or_default();
        if let Some(address) = address {
            machine.address.replace(address).map(|left| self.index.holders.remove(&left));
            self.index.holders.insert(address, mac);
        }
        self.index.ages.remove(&(machine.last(), mac));
        self.index.ages.insert((Some(event.at), mac));
        let excess = (machine.events.len() + 1).saturating_sub(EVENTS_KEPT);
        machine.events.drain(..excess);
        machine.events.push(event);
    }

    /// Adds that a machine, of which an event tells already, fetched its script.
    pub fn record_script(&mut self, mac: MacAddr, at: Timestamp) {
        if let Some(machine) = self.machines.get_mut(&mac) {
            machine.script_fetched = Some(at);
        }
    }

    /// Adds that a booting machine asked for an address on an interface.
    pub fn record_question(&mut self, interface: &str, at: Timestamp) {
        let wire = self.wires.entry(interface.to_owned()).or_insert(WireSeen { asked: at, alone_since: None });
        wire.asked = at;
        wire.alone_since.get_or_insert(at);
    }

    /// Adds that another server was seen, and forgets those that were not for [`SERVER_KEPT`].
    pub fn record_server(&mut self, address: Ipv4Addr, kind: ServerKind, interface: &str, what: String, at: Timestamp) {
        self.servers.retain(|_, server| server.last + SERVER_KEPT > at);
        if kind == ServerKind::Dhcp
            && let Some(wire) = self.wires.get_mut(interface)
        {
            wire.alone_since = None;
        }
        if !self.servers.contains_key(&address) && self.servers.len() >= SERVERS_KEPT {
            let oldest = self.servers.iter().min_by_key(|(_, server)| server.last).map(|(address, _)| *address);
            oldest.map(|address| self.servers.remove(&address));
        }
        let first = self.servers.get(&address).map(|server| server.first);
        let seen = ServerSeen { kind, interface: interface.to_owned(), first: first.unwrap_or(at), last: at, what };
        self.servers.insert(address, seen);
    }

    /// The machine that was last seen with this address.
    pub fn machine_at(&self, address: Ipv4Addr) -> Option<MacAddr> {
        self.index.holders.get(&address).copied()
    }

    fn forget_oldest(&mut self) {
        let Some((_, oldest)) = self.index.ages.pop_first() else { return };
        let address = self.machines.remove(&oldest).and_then(|machine| machine.address);
        address.map(|address| self.index.holders.remove(&address));
    }
}

impl MachineTranscript {
    /// When it was last heard of.
    fn last(&self) -> Option<Timestamp> {
        self.events.last().map(|event| event.at)
    }
}

impl Index {
    fn of(machines: &BTreeMap<MacAddr, MachineTranscript>) -> Self {
        Self {
            holders: machines.iter().filter_map(|(mac, machine)| Some((machine.address?, *mac))).collect(),
            ages: machines.iter().map(|(mac, machine)| (machine.last(), *mac)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(last: u16) -> MacAddr {
        let [high, low] = last.to_be_bytes();
        MacAddr::from_octets([2, 0, 0, 0, high, low]).expect("a unicast address")
    }

    fn event(second: i64) -> Event {
        let at = Timestamp::from_second(second).expect("a time");
        Event { at, service: "dhcp".into(), kind: EventKind::FirstScript, what: second.to_string() }
    }

    #[test]
    fn an_address_belongs_to_whoever_was_seen_with_it_last() {
        let mut transcript = Transcript::empty();
        let address = Some(Ipv4Addr::new(10, 0, 0, 9));
        transcript.record(mac(1), address, event(1));
        transcript.record(mac(2), address, event(2));
        transcript.record(mac(2), None, event(3));
        assert_eq!(transcript.machine_at(Ipv4Addr::new(10, 0, 0, 9)), Some(mac(2)));
        assert_eq!(transcript.machines[&mac(1)].address, None);
        transcript.record(mac(2), Some(Ipv4Addr::new(10, 0, 0, 8)), event(4));
        assert_eq!(transcript.machine_at(Ipv4Addr::new(10, 0, 0, 9)), None, "it has another now");
        assert_eq!(Transcript::parse(&transcript.render()).expect("it reads"), transcript);
    }

    #[test]
    fn a_transcript_without_kinds_and_one_with_newer_kinds_still_read() {
        let text = |version: u32, kind: &str| {
            format!(
                r#"{{"version": {version}, "machines": {{"02:00:00:00:00:01": {{"address": null, "script-fetched": "2026-11-21T08:00:00Z",
                "events": [{{"at": "2026-11-21T08:00:00Z", "service": "http", {kind} "what": "x"}}]}}}}}}"#
            )
        };
        for (version, kind) in [(1, ""), (2, r#""kind": {"is": "tea-served", "cups": 3},"#)] {
            let read = Transcript::parse(&text(version, kind)).expect("it reads");
            let machine = &read.machines[&mac(0x0001)];
            assert_eq!((read.version, &machine.events[0].kind), (VERSION, &EventKind::Other));
            assert!(machine.script_fetched.is_some(), "the planner needs it");
        }
        assert!(Transcript::parse(&text(3, "")).is_err());
    }

    #[test]
    fn a_flood_of_machines_and_events_has_an_end_and_the_newest_are_kept() {
        let mut transcript = Transcript::empty();
        (0..100).for_each(|second| transcript.record(mac(9), None, event(second)));
        let kept = &transcript.machines[&mac(9)].events;
        assert_eq!((kept.len(), kept[0].what.as_str()), (EVENTS_KEPT, "60"));
        for n in 0..MACHINES_KEPT as u16 + 10 {
            transcript.record(mac(n), None, event(1000 + i64::from(n)));
        }
        assert_eq!(transcript.machines.len(), MACHINES_KEPT);
        assert_eq!(transcript.index, Index::of(&transcript.machines), "the index says what the machines say");
        assert!(!transcript.machines.contains_key(&mac(0)) && transcript.machines.contains_key(&mac(MACHINES_KEPT as u16 + 9)));
    }
}
