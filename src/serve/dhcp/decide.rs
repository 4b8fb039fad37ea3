//! Decides what a client is told. Pure: a request, how it came, the table, the leases and the time give one answer.
//!
//! **Invariant:** never blocks, never gives an address twice, never answers for a network that is off, and never says that no address
//! is free while another of our networks on the client's wire has one.
//! Follows RFC 2131 §4.3 and the PXE 2.1 specification §2.2.

use super::{
    classify::classify,
    leases::{LeaseChange, Leases},
    model::{Answer, Arrival, Case, Decision, IgnoreReason, Offering, Port},
    packet::{MessageKind, Request},
    proxy, server,
    subnet_selection::{Found, find_networks, local_address},
};
use crate::desired::NetworkMode;
use jiff::Timestamp;

/// Decides what a client is told.
pub fn decide(request: &Request, arrival: &Arrival<'_>, offering: Offering<'_>, leases: &Leases, now: Timestamp) -> Decision {
    let client = classify(request);
    let on = |(name, network): Found<'_>| {
        let local = local_address(arrival, network, offering.table);
        decide_on(&Case { request, client, arrival, offering, name, network, leases, now, local })
    };
    let (answer, change) = match find_networks(request, arrival, offering.table, leases, now) {
        Err(reason) => (Answer::Ignore(reason), None),
        Ok((first, others)) => {
            let decided = on(first);
            match is_full(&decided) && request.kind == MessageKind::Discover {
                true => others.into_iter().map(on).find(|decided| !is_full(decided)).unwrap_or(decided),
                false => decided,
            }
        }
    };
    Decision { client, answer, change }
}

type Decided = (Answer, Option<LeaseChange>);

fn decide_on(case: &Case<'_>) -> Decided {
    match (case.network.mode, case.arrival.port) {
        (NetworkMode::Off, _) => (Answer::Ignore(IgnoreReason::Off(case.name.clone())), None),
        // Firmware comes to 4011 in every mode, whatever it was told before (C6).
        (_, Port::BootServer) => (proxy::decide_boot_server(case), None),
        (NetworkMode::Proxy, Port::Dhcp) => (proxy::decide_proxy(case), None),
        (NetworkMode::Server, Port::Dhcp) => server::decide_server(case),
    }
}

fn is_full((answer, _): &Decided) -> bool {
    matches!(answer, Answer::Ignore(IgnoreReason::NoAddress(_)))
}
