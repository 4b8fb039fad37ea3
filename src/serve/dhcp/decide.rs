//! Decides what a client is told. Pure: a request, how it came, the table, the leases and the time give one answer.
//!
//! **Invariant:** never blocks, never gives an address twice, never answers for a network that is off.
//! Follows RFC 2131 §4.3 and the PXE 2.1 specification §2.2.

use super::{
    classify::classify,
    leases::Leases,
    model::{Answer, Arrival, Case, Decision, IgnoreReason, Offering, Port},
    packet::Request,
    proxy, server,
    subnet_selection::{find_network, local_address},
};
use crate::desired::NetworkMode;
use jiff::Timestamp;

/// Decides what a client is told.
pub fn decide(request: &Request, arrival: &Arrival<'_>, offering: Offering<'_>, leases: &Leases, now: Timestamp) -> Decision {
    let client = classify(request);
    let (answer, change) = match find_network(request, arrival, offering.table) {
        Err(reason) => (Answer::Ignore(reason), None),
        Ok((name, network)) => {
            let local = local_address(arrival, network, offering.table);
            let case = Case { request, client, arrival, offering, name, network, leases, now, local };
            match (network.mode, arrival.port) {
                (NetworkMode::Off, _) => (Answer::Ignore(IgnoreReason::Off(name.clone())), None),
                // Firmware comes to 4011 in every mode, whatever it was told before (C6).
                (_, Port::BootServer) => (proxy::decide_boot_server(&case), None),
                (NetworkMode::Proxy, Port::Dhcp) => (proxy::decide_proxy(&case), None),
                (NetworkMode::Server, Port::Dhcp) => server::decide_server(&case),
            }
        }
    };
    Decision { client, answer, change }
}
