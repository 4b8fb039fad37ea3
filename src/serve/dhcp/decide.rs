//! Decides what a client is told. Pure: a request, how it came, the table, the leases and the time give one answer.
//!
//! **Invariant:** never blocks, never gives an address twice, never answers for a network that is off.
//! Follows RFC 2131 §4.3 and the PXE 2.1 specification §2.2.

use super::{
    chained::Chained,
    classify::{Client, classify},
    leases::{LeaseChange, Leases},
    packet::Request,
    place::{find_network, local_address},
    proxy,
    reply::{Destination, Reply},
    server,
};
use crate::{
    boot::{
        loaders::Loaders,
        table::{BootNetwork, FixedTable},
    },
    desired::NetworkMode,
    names::NetworkName,
};
use jiff::Timestamp;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Where a DHCP client listens.
pub const CLIENT_PORT: u16 = 68;
/// Where a DHCP server and a relay agent listen.
pub const SERVER_PORT: u16 = 67;
/// Where a PXE boot server listens.
pub const BOOT_SERVER_PORT: u16 = 4011;

/// Which of our doors a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Door {
    /// Port 67.
    Dhcp,
    /// Port 4011.
    BootServer,
}

/// How a request came in.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The interface.
    pub interface: &'a str,
    /// The interface's addresses.
    pub addresses: &'a [Ipv4Addr],
    /// Where it was sent to.
    pub destination: Ipv4Addr,
    /// Where it was sent from.
    pub source: SocketAddrV4,
    /// The door.
    pub door: Door,
}

impl Arrival<'_> {
    /// Whether it was sent to an address of ours, and not to everybody.
    pub fn is_to_us(&self) -> bool {
        self.addresses.contains(&self.destination)
    }
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An offer.
    Offer(Reply),
    /// An acknowledgement.
    Ack(Reply),
    /// A refusal, and why.
    Nak(Reply, NakReason),
    /// Taken note of; RFC 2131 has no answer to it.
    Noted(Note),
    /// Not for us, with the reason the operator sees in the machine's transcript.
    Ignore(IgnoreReason),
}

/// Why a client may not have the address it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NakReason {
    /// It moved here from another subnet.
    #[error("{0} is not an address of this network")]
    OtherNetwork(Ipv4Addr),
    /// Somebody else has it, or it is not for this client.
    #[error("{0} is not free for it")]
    NotFree(Ipv4Addr),
}

/// What was taken note of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// It gave its address back.
    #[error("gave {0} back")]
    Released(Ipv4Addr),
    /// It found its address in use.
    #[error("found {0} in use by another; nobody gets it for a while")]
    Declined(Ipv4Addr),
    /// It found the address that is reserved for it in use.
    #[error("found {0} in use by another, though it is reserved for this machine and stays so: find the other one")]
    DeclinedReservation(Ipv4Addr),
}

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreReason {
    /// No network of the table is reached through this interface.
    #[error("no network of the site is on this interface")]
    NoNetwork,
    /// No network knows this relay agent.
    #[error("relay {0} belongs to no network of the site")]
    UnknownRelay(Ipv4Addr),
    /// The network is off.
    #[error("DHCP is off on network {0}")]
    Off(NetworkName),
    /// Another server was chosen.
    #[error("it speaks to server {0}")]
    OtherServer(Ipv4Addr),
    /// In proxy mode only boot information is ours.
    #[error("addresses are another server's on this network")]
    ProxyOnly,
    /// In proxy mode, a client that does not boot.
    #[error("it does not boot from the network")]
    NotBooting,
    /// There is nothing for it to boot.
    #[error(transparent)]
    NoBoot(#[from] super::boot_info::NoBoot),
    /// It keeps an address we know nothing of; another server may.
    #[error("nothing is known of {0}, so another server may have given it")]
    UnknownLease(Ipv4Addr),
    /// Everything is given away, or there is no range.
    #[error("no address is free on network {0}")]
    NoAddress(NetworkName),
    /// A request that says neither which address nor which server.
    #[error("it names no address")]
    Unclear,
    /// A message this door does not answer.
    #[error("such a message has no answer here")]
    WrongDoor,
}

/// An answer, and what it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is asking.
    pub client: Client,
    /// What it is told.
    pub answer: Answer,
    /// What that changes in the leases; to be on disk before the answer leaves.
    pub change: Option<LeaseChange>,
}

/// What answers are made from.
#[derive(Debug, Clone, Copy)]
pub struct Offering<'a> {
    /// The boot table.
    pub table: &'a FixedTable,
    /// The loaders that are there.
    pub loaders: &'a Loaders,
    /// Who was chained to them lately.
    pub chained: &'a Chained,
}

/// One request with everything its answer depends on.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub request: &'a Request,
    pub client: Client,
    pub arrival: &'a Arrival<'a>,
    pub offering: Offering<'a>,
    pub name: &'a NetworkName,
    pub network: &'a BootNetwork,
    pub leases: &'a Leases,
    pub now: Timestamp,
    /// Our address towards this client.
    pub local: Ipv4Addr,
}

/// Decides what a client is told.
pub fn decide(request: &Request, arrival: &Arrival<'_>, offering: Offering<'_>, leases: &Leases, now: Timestamp) -> Decision {
    let client = classify(request);
    let (answer, change) = match find_network(request, arrival, offering.table) {
        Err(reason) => (Answer::Ignore(reason), None),
        Ok((name, network)) => {
            let local = local_address(arrival, network, offering.table);
            let case = Case { request, client, arrival, offering, name, network, leases, now, local };
            match (network.mode, arrival.door) {
                (NetworkMode::Off, _) => (Answer::Ignore(IgnoreReason::Off(name.clone())), None),
                // Firmware comes to 4011 in every mode, whatever it was told before (C6).
                (_, Door::BootServer) => (proxy::decide_boot_server(&case), None),
                (NetworkMode::Proxy, Door::Dhcp) => (proxy::decide_proxy(&case), None),
                (NetworkMode::Server, Door::Dhcp) => server::decide_server(&case),
            }
        }
    };
    Decision { client, answer, change }
}

impl Case<'_> {
    /// Whether the request speaks to us; `None` when it names no server.
    pub fn speaks_to_us(&self) -> Option<bool> {
        let stands_for_us = self.request.server_override();
        let is_ours = |server| stands_for_us == Some(server) || server == self.local || self.arrival.addresses.contains(&server);
        self.request.server_id.map(is_ours)
    }

    /// Where a reply goes that gives this address (RFC 2131 §4.1, C15).
    pub fn destination(&self, yiaddr: Ipv4Addr) -> Destination {
        let to = |ip, port| Destination::Unicast(SocketAddrV4::new(ip, port));
        match (self.request.giaddr, self.request.ciaddr) {
            (Some(giaddr), _) => to(giaddr, SERVER_PORT),
            (None, Some(ciaddr)) => to(ciaddr, CLIENT_PORT),
            (None, None) if self.request.wants_broadcast() || yiaddr.is_unspecified() => Destination::Broadcast,
            (None, None) => Destination::Hardware(self.request.mac, yiaddr),
        }
    }
}
