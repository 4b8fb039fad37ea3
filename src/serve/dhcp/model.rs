//! The values that the rooms of DHCP pass on: how a request came, what is decided, and the reply.
//!
//! **Invariant:** no decision is taken here, so what decides may use all of it and is used by none of it.

use super::{
    chainload_loop::ChainloadLoops,
    classify::{Client, PiModel},
    leases::{LeaseChange, Leases},
    packet::{MessageKind, Request},
};
use crate::{
    boot::{
        loaders::{Loaders, NoLoader},
        table::{FixedTable, Network},
    },
    desired::PxeStrategy,
    names::{ClientArch, MacAddr, NetworkName},
    serve::HttpState,
};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
};

/// Where a DHCP client listens.
pub const CLIENT_PORT: u16 = 68;
/// Where a DHCP server and a relay agent listen.
pub const SERVER_PORT: u16 = 67;
/// Where a PXE boot server listens.
pub const BOOT_SERVER_PORT: u16 = 4011;

/// Which of our ports a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// Port 67.
    Dhcp,
    /// Port 4011.
    BootServer,
}

/// Whose card it is: what is remembered of cards has a bound, for they can be made up, and those of the site are beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// A machine's of the site.
    Site,
    /// Anybody's.
    Stranger,
}

impl Whose {
    /// Whose a card is by a table.
    pub fn of(table: &FixedTable, mac: MacAddr) -> Self {
        if table.machine(mac).is_some() { Self::Site } else { Self::Stranger }
    }
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
    /// The port.
    pub port: Port,
}

impl Arrival<'_> {
    /// Whether it was sent to an address of ours, and not to everybody.
    pub fn is_to_us(&self) -> bool {
        self.addresses.contains(&self.destination)
    }

    /// Whether the machines of a network are on this wire, where ARP reaches them; those behind a relay are not.
    pub fn is_wire_of(&self, network: &Network) -> bool {
        self.addresses.iter().any(|ip| network.subnet.contains(ip))
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
    /// Its address was given back in its name from behind a relay, where nobody can ask by ARP whether it still runs.
    #[error("gave {0} back from behind a relay; it stays this machine's until its lease ends")]
    ReleasedFar(Ipv4Addr),
    /// It found its address in use.
    #[error("found {0} in use by another; nobody gets it until it was asked after by ARP, nor while somebody answers")]
    Declined(Ipv4Addr),
    /// It found its address in use, from behind a relay, where nobody can ask by ARP who else uses it.
    #[error("found {0} in use by another, behind a relay; nobody else gets it for a while")]
    DeclinedFar(Ipv4Addr),
    /// It found yet another address in use.
    #[error("found {0} in use by another, and is not believed any more: too many addresses are declined")]
    DeclinedTooOften(Ipv4Addr),
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
    /// It names a relay agent, and a host that is none sent it.
    #[error("it names relay {giaddr}, and {from} sent it: if that is the relay's, list it under relay of its network")]
    NotFromRelay {
        /// The relay it names.
        giaddr: Ipv4Addr,
        /// Where it was sent from.
        from: Ipv4Addr,
    },
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
    NoBoot(#[from] NoBoot),
    /// An address is given back from the address itself (RFC 2131 §4.4.4).
    #[error("{from} gives {ip} back, and only {ip} itself may")]
    ForeignRelease {
        /// The address.
        ip: Ipv4Addr,
        /// Where it was sent from.
        from: Ipv4Addr,
    },
    /// It keeps an address we know nothing of; another server may.
    #[error("nothing is known of {0}, so another server may have given it")]
    UnknownLease(Ipv4Addr),
    /// A client declines an address that it does not use, by broadcast (RFC 2131 §4.4.4), and this came from one.
    #[error("{from} declines {ip}: a client declines by broadcast, for it has no address")]
    ForeignDecline {
        /// The address.
        ip: Ipv4Addr,
        /// Where it was sent from.
        from: Ipv4Addr,
    },
    /// A client finds a duplicate before it uses its address, and this one has used it for a while.
    #[error("it declines {0}, which it has had for a while: a client finds a duplicate before it uses an address")]
    LateDecline(Ipv4Addr),
    /// Everything is given away, or there is no range.
    #[error("no address is free on network {0}")]
    NoAddress(NetworkName),
    /// BOOTP from a client that no address is reserved for: an address of the range would be its own for ever.
    #[error("it speaks BOOTP, and no address of this network is reserved for it")]
    NotReserved,
    /// A request that says neither which address nor which server.
    #[error("it names no address")]
    Unclear,
    /// A message this port does not answer.
    #[error("such a message has no answer here")]
    WrongPort,
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
    /// Whether machines can be sent to our HTTP service.
    pub http: HttpState,
    /// Who was chained to them lately.
    pub chainload_loops: &'a ChainloadLoops,
}

/// One request with everything its answer depends on.
#[derive(Clone, Copy)]
pub(super) struct Case<'a> {
    pub request: &'a Request,
    pub client: Client,
    pub arrival: &'a Arrival<'a>,
    pub offering: Offering<'a>,
    pub name: &'a NetworkName,
    pub network: &'a Network,
    pub leases: &'a Leases,
    pub now: Timestamp,
    /// Our address towards this client.
    pub local: Ipv4Addr,
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
        match (self.request.giaddr, self.request.working_address()) {
            // The answer to an INFORM goes to the client, also where a relay passed the question on (RFC 2131 §4.3.5).
            (_, Some(ciaddr)) if self.request.kind == MessageKind::Inform => to(ciaddr, CLIENT_PORT),
            (Some(giaddr), _) if self.request.has_relay_port => to(giaddr, self.arrival.source.port()),
            (Some(giaddr), _) => to(giaddr, SERVER_PORT),
            (None, Some(ciaddr)) => to(ciaddr, CLIENT_PORT),
            (None, None) if self.request.wants_broadcast() || yiaddr.is_unspecified() => Destination::Broadcast,
            (None, None) => Destination::Hardware(self.request.mac, yiaddr),
        }
    }
}

/// What a machine is told to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootInfo {
    /// The script at this address.
    Script(String),
    /// This loader by TFTP, as firmware reads it.
    Loader {
        /// The file.
        file: String,
        /// How it is told.
        strategy: PxeStrategy,
    },
    /// A loader of ours at this TFTP address, for an iPXE that cannot do what the scripts need.
    BetterIpxe(String),
    /// The loader at this address, for firmware that boots over HTTP.
    HttpLoader(String),
    /// Where the files are, for a boot loader that names them itself.
    OwnFiles,
    /// The menu that a Raspberry Pi looks for before it fetches its own files.
    PiMenu(PiModel),
    /// Nothing, and why.
    Nothing(NoBoot),
}

/// Why a client is told nothing to boot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoBoot {
    /// It is not booting.
    #[error("it does not boot from the network")]
    Plain,
    /// No loader of ours runs there.
    #[error("no loader is for {0}")]
    Arch(ClientArch),
    /// Our HTTP service is not open, and whatever answers at its port is not ours.
    #[error(
        "our HTTP port is not open: another program has it, or its address is not on this host (journalctl -u barista-serve)"
    )]
    NoHttp,
    /// There is no loader for it.
    #[error(transparent)]
    Loader(#[from] NoLoader),
    /// The files of a Raspberry Pi are the operator's.
    #[error("{0} is not among the loaders, neither at their root nor in a directory there")]
    PiFiles(&'static str),
    /// Beside another DHCP server there is no way to tell it.
    #[error("it takes its file from the server of its address alone")]
    NotByProxy,
    /// It was chained to our loader and came back, several times within a minute.
    #[error("our loader comes back without HTTP or iSCSI: it was loaded several times within a minute")]
    Loop,
}

impl fmt::Display for BootInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script(url) | Self::BetterIpxe(url) | Self::HttpLoader(url) => f.write_str(url),
            Self::Loader { file, strategy: PxeStrategy::File | PxeStrategy::Plain } => f.write_str(file),
            Self::Loader { file, strategy: PxeStrategy::BootServer } => write!(f, "the boot server, for {file}"),
            Self::Loader { file, strategy: PxeStrategy::Menu } => write!(f, "a menu, for {file}"),
            Self::OwnFiles => f.write_str("the files it asks for itself"),
            Self::PiMenu(_) => f.write_str("the Raspberry Pi menu"),
            Self::Nothing(reason) => write!(f, "nothing to boot: {reason}"),
        }
    }
}

/// The kinds of reply (RFC 2131 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyKind {
    /// DHCPOFFER
    Offer,
    /// DHCPACK
    Ack,
    /// DHCPNAK
    Nak,
    /// BOOTREPLY, which has no message type
    Bootp,
}

/// Where a reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// To this address and port.
    Unicast(SocketAddrV4),
    /// To 255.255.255.255 on the interface it came through.
    Broadcast,
    /// To this Ethernet address, for a client that does not yet answer ARP for the address it is given.
    Hardware(MacAddr, Ipv4Addr),
}

/// A reply, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// What it is.
    pub kind: ReplyKind,
    /// Where it goes.
    pub to: Destination,
    /// The address it is sent from, which is its server identifier too unless a relay stands for the server.
    pub from: Ipv4Addr,
    /// Transaction id.
    pub xid: u32,
    /// Flags.
    pub flags: u16,
    /// The address the client has.
    pub ciaddr: Ipv4Addr,
    /// The address the client is given.
    pub yiaddr: Ipv4Addr,
    /// Where the boot file is fetched.
    pub siaddr: Ipv4Addr,
    /// The relay agent.
    pub giaddr: Ipv4Addr,
    /// The client.
    pub mac: MacAddr,
    /// The boot server's name.
    pub sname: String,
    /// The boot file.
    pub file: String,
    /// Options but 82, by number.
    pub options: BTreeMap<u8, Vec<u8>>,
    /// Option 82 as it came.
    pub relay_information: Option<Vec<u8>>,
    /// Those of the options that are the site's own: left out before a reply grows longer than its client takes.
    pub site_options: BTreeSet<u8>,
    /// What it says to boot, for the transcript.
    pub boot: Option<BootInfo>,
    /// The longest message the client takes, IP and UDP headers not counted.
    pub longest: usize,
}
