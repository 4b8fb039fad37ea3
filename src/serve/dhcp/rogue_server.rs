//! Whether a network's mode fits what is on its wire: two servers of addresses, or none (C20).
//!
//! **Invariant:** pure; judges what was seen, never silence alone: a room in which nobody boots is not reported.

use crate::{
    boot::table::BootTable,
    desired::NetworkMode,
    names::NetworkName,
    transcript::{ServerKind, Transcript},
};
use jiff::{SignedDuration, Timestamp};
use std::net::Ipv4Addr;

/// Another server that was not seen for so long may be gone.
const FRESH: SignedDuration = SignedDuration::from_hours(1);
/// How long a machine may ask before it is alone: firmware repeats its DISCOVER for a minute (C9).
const PATIENCE: SignedDuration = SignedDuration::from_mins(1);

/// A network's mode that does not fit its wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModeConflict {
    /// We give addresses, and so does somebody else.
    OtherServer {
        /// The network.
        network: NetworkName,
        /// Its interface.
        interface: String,
        /// The other server.
        server: Ipv4Addr,
        /// What showed it.
        what: String,
        /// When.
        last: Timestamp,
    },
    /// We give no addresses, and neither does anybody else.
    NoServer {
        /// The network.
        network: NetworkName,
        /// Its interface.
        interface: String,
        /// Since when machines ask.
        since: Timestamp,
    },
}

impl ModeConflict {
    /// The conflict and its mend in one sentence, its time as `moment` shows it.
    pub fn describe(&self, moment: impl Fn(Timestamp) -> String) -> String {
        match self {
            Self::OtherServer { network, interface, what, last, .. } => format!(
                "network {network} is mode = \"server\", but another DHCP server answers on {interface}: {what}, at {}; stop it, or \
                 set mode = \"proxy\"",
                moment(*last)
            ),
            Self::NoServer { network, interface, since } => format!(
                "network {network} is mode = \"proxy\", but machines ask on {interface} since {} and no DHCP server was seen to answer \
                 them; start one, or set mode = \"server\"",
                moment(*since)
            ),
        }
    }
}

/// The networks whose mode does not fit what the transcript saw.
pub fn find_mode_conflicts(table: &BootTable, transcript: &Transcript, now: Timestamp) -> Vec<ModeConflict> {
    let mut conflicts = Vec::new();
    for (name, network) in &table.networks {
        let (network_name, interface) = (name.clone(), network.interface.clone());
        match network.mode {
            NetworkMode::Off => {}
            NetworkMode::Server => {
                let others = transcript
                    .servers
                    .iter()
                    .filter(|(_, seen)| seen.kind == ServerKind::Dhcp && seen.interface == interface && seen.last + FRESH > now);
                conflicts.extend(others.map(|(server, seen)| ModeConflict::OtherServer {
                    network: network_name.clone(),
                    interface: interface.clone(),
                    server: *server,
                    what: seen.what.clone(),
                    last: seen.last,
                }));
            }
            NetworkMode::Proxy => {
                let Some(wire) = transcript.wires.get(&interface).filter(|wire| wire.asked + FRESH > now) else { continue };
                if let Some(since) = wire.alone_since.filter(|since| *since + PATIENCE <= now) {
                    conflicts.push(ModeConflict::NoServer { network: network_name, interface, since });
                }
            }
        }
    }
    conflicts
}
