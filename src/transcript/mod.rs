//! What booting machines asked for and were told, by machine: the document that `serve` keeps and people read.
//!
//! Machines of the site and strangers are kept apart: however many strangers there are, no machine of the site is forgotten.
//! **Invariant:** a record of what happened, never a source of what should be, and nothing that decides about a disk reads it: losing
//! it loses explanations and nothing else.

mod event;
mod index;
mod repeats;

pub use event::{Asker, DhcpAnswer, DhcpMessage, EventKind, Silence};

use self::index::Index;
use crate::names::{DocumentError, MacAddr, read_document};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr},
};

/// The version of this document. Version 1 had no [`Event::kind`] and version 2 no [`MachineTranscript::source`]; both are still
/// read.
pub const VERSION: u32 = 3;

/// The oldest version that is still read.
const OLDEST: u32 = 1;

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
    /// The machines of the site, as whoever keeps this was last told.
    #[serde(skip)]
    known: BTreeSet<MacAddr>,
    #[serde(skip)]
    index: Index,
}

/// Where a machine was heard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// On an interface of this host.
    Interface(String),
    /// Behind a relay agent.
    Relay(Ipv4Addr),
    /// Over HTTP, by an address.
    Address(IpAddr),
}

/// What showed a machine's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ShownBy {
    /// DHCP.
    #[default]
    Dhcp,
    /// A fetch over HTTP alone, which anybody can make.
    Http,
}

/// What the site's reservations say of an address that fetches a machine's script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reservation {
    /// It is the machine's.
    Own,
    /// It is another machine's, or the machine has another.
    Other,
    /// Nothing.
    Unsaid,
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
    /// What showed that address.
    #[serde(default)]
    pub shown_by: ShownBy,
    /// Where it was heard first.
    #[serde(default)]
    pub source: Option<Source>,
    /// When it last fetched its iPXE script, by an address of its own.
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
    /// When it happened last, where it happened again and again and only the first and the last time are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    /// The same in one sentence, for people: `DISCOVER from x64 UEFI (PXEClient); offered 192.168.1.101 with ipxe.efi`.
    pub what: String,
}

/// Machines kept that are not of the site: several rooms that are being taken in, and an end to what a host that makes up Ethernet
/// addresses can fill.
pub const STRANGERS_KEPT: usize = 1024;

/// Other servers kept: who makes up more of them fills no disk.
pub const SERVERS_KEPT: usize = 64;

/// How long another server is remembered after it was last seen: a room that is open by day sees its router's every day.
pub const SERVER_KEPT: SignedDuration = SignedDuration::from_hours(48);

impl Transcript {
    /// A transcript in which nothing has happened.
    pub fn empty() -> Self {
        Self { version: VERSION, ..Self::default() }
    }

    /// Reads a transcript of this version or one of the two before; any other is an error. Until [`Transcript::know`] is told, every
    /// machine in it is a stranger.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let transcript: Self = read_document(text, OLDEST..=VERSION, |transcript: &Self| transcript.version)?;
        let index = Index::of(&transcript.machines, &transcript.known);
        Ok(Self { version: VERSION, index, ..transcript })
    }

    /// Takes note of which machines are of the site; only the others may be forgotten.
    pub fn know(&mut self, known: BTreeSet<MacAddr>) {
        self.index = Index::of(&self.machines, &known);
        self.known = known;
        while self.index.strangers() > STRANGERS_KEPT {
            self.forget_a_stranger();
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

    /// Adds an event of a machine that was heard there, and forgets its oldest ones; an address that DHCP shows it with is no longer
    /// another's.
    pub fn record(&mut self, mac: MacAddr, source: Source, address: Option<Ipv4Addr>, event: Event) {
        // A stranger may say anything, also that it has the address of a machine of the site.
        let is_taken = |address: &Ipv4Addr| {
            let holder = self.index.holders.get(address).filter(|holder| **holder != mac);
            holder.is_some_and(|holder| self.known.contains(holder)) && !self.known.contains(&mac)
        };
        if let Some(address) = address.filter(|address| !is_taken(address)) {
            self.enter(mac, source.clone());
            self.give_address(mac, address, ShownBy::Dhcp);
        }
        self.add(mac, source, event);
    }

    /// Adds that a machine's script was fetched, with what it was told, the script itself first.
    ///
    /// Anybody can ask for any script. What an address that is not the machine's fetches is told in one event, and says nothing of
    /// what the machine did; where neither the site nor DHCP has shown any address, the one that fetches is taken for the machine's.
    pub fn record_fetch(&mut self, mac: MacAddr, peer: IpAddr, reservation: Reservation, events: Vec<Event>) {
        let source = Source::Address(peer.to_canonical());
        let Some(first) = events.first().cloned() else { return };
        let Some(address) = self.own_address(mac, peer, reservation) else {
            let said: Vec<String> = events.into_iter().map(|event| event.what).collect();
            let what = format!("{}, to {peer}, which is not its address", said.join(", "));
            let kind = EventKind::ForeignFetch { peer: peer.to_canonical() };
            return self.add(mac, source, Event { kind, what, ..first });
        };
        self.enter(mac, source.clone());
        if self.machines.get(&mac).is_some_and(|machine| machine.address.is_none() || machine.shown_by == ShownBy::Http) {
            self.give_address(mac, address, ShownBy::Http);
        }
        events.into_iter().for_each(|event| self.add(mac, source.clone(), event));
        if let (EventKind::Script { .. }, Some(machine)) = (&first.kind, self.machines.get_mut(&mac)) {
            machine.script_fetched = Some(first.at);
        }
    }

    /// The address of a fetch, if it is the machine's.
    fn own_address(&self, mac: MacAddr, peer: IpAddr, reservation: Reservation) -> Option<Ipv4Addr> {
        let IpAddr::V4(peer) = peer.to_canonical() else { return None };
        let by_dhcp = |mac: &MacAddr| {
            let machine = self.machines.get(mac).filter(|machine| machine.shown_by == ShownBy::Dhcp);
            machine.and_then(|machine| machine.address)
        };
        let is_own = match (reservation, by_dhcp(&mac)) {
            (Reservation::Own, _) => true,
            (_, Some(shown)) => shown == peer,
            (Reservation::Other, None) => false,
            (Reservation::Unsaid, None) => {
                let holder = self.index.holders.get(&peer).filter(|holder| **holder != mac);
                holder.and_then(by_dhcp).is_none()
            }
        };
        is_own.then_some(peer)
    }

    /// Makes sure that a machine has its part.
    fn enter(&mut self, mac: MacAddr, source: Source) {
        if self.machines.contains_key(&mac) {
            return;
        }
        let is_stranger = !self.known.contains(&mac);
        if is_stranger && self.index.strangers() >= STRANGERS_KEPT {
            self.forget_a_stranger();
        }
        let machine = MachineTranscript { source: Some(source), ..MachineTranscript::default() };
        if is_stranger {
            self.index.enter(mac, &machine);
        }
        self.machines.insert(mac, machine);
    }

    fn give_address(&mut self, mac: MacAddr, address: Ipv4Addr, shown_by: ShownBy) {
        let other = self.index.holders.get(&address).filter(|other| **other != mac);
        if let Some(other) = other.and_then(|other| self.machines.get_mut(other)) {
            other.address = None;
        }
        let Some(machine) = self.machines.get_mut(&mac) else { return };
        machine.shown_by = shown_by;
        machine.address.replace(address).map(|left| self.index.holders.remove(&left));
        self.index.holders.insert(address, mac);
    }

    fn add(&mut self, mac: MacAddr, source: Source, event: Event) {
        self.enter(mac, source);
        let is_stranger = !self.known.contains(&mac);
        let Some(machine) = self.machines.get_mut(&mac) else { return };
        if is_stranger {
            self.index.leave(mac, machine);
        }
        repeats::shorten(&mut machine.events, &event.kind);
        let excess = (machine.events.len() + 1).saturating_sub(EVENTS_KEPT);
        machine.events.drain(..excess);
        machine.events.push(event);
        if is_stranger {
            self.index.enter(mac, machine);
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

    fn forget_a_stranger(&mut self) {
        let Some(mac) = self.index.first_to_go() else { return };
        let Some(machine) = self.machines.remove(&mac) else { return };
        self.index.leave(mac, &machine);
        machine.address.map(|address| self.index.holders.remove(&address));
    }
}

impl Event {
    /// When it happened last.
    pub fn last(&self) -> Timestamp {
        self.until.unwrap_or(self.at)
    }
}

impl MachineTranscript {
    /// When it was last heard of.
    fn last(&self) -> Option<Timestamp> {
        self.events.last().map(|event| event.at)
    }
}

#[cfg(test)]
mod tests;
