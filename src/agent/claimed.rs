//! What is believed of what `serve` claims to have heard of a boot.
//!
//! **Invariant:** pure; claims of another run of the host, or of a time to come, count for nothing, and what was offered to other
//! addresses takes none from a machine.

use crate::boot::assignment::{Claims, RefusalCode, Request};
use crate::desired::NetworkMode;
use crate::names::Mono;
use crate::plan::{Prepared, assign::boot_intent};
use crate::site::FetchAddress;
use std::net::IpAddr;

/// When the machine's firmware asked for an address before it fetched its script, by claims of this boot of the server.
pub fn intent(claims: &Claims, peer: IpAddr, boot_id: &str, now: Mono) -> Option<Mono> {
    if claims.boot_id != boot_id {
        return None;
    }
    let known = |at: u64| Some(Mono::from_millis(at)).filter(|at| *at <= now);
    // A DISCOVER that was offered another address is another machine's.
    let own = claims.discovers.iter().filter(|discover| discover.address.is_none_or(|address| IpAddr::V4(address) == peer));
    let discovers: Vec<Mono> = own.filter_map(|discover| known(discover.at.0)).collect();
    let fetches: Vec<Mono> =
        claims.fetches.iter().filter(|fetch| fetch.peer == peer).filter_map(|fetch| known(fetch.at.0)).collect();
    boot_intent(&discovers, &fetches)
}

/// Whether a script is fetched from an address that its machine does not have.
pub fn refused_address(prepared: &Prepared, request: &Request) -> Option<RefusalCode> {
    let table = &prepared.table;
    let own = table.machines.get(&request.machine)?.ip;
    // Anybody can have one more address offered to a machine; that takes none of the others from it.
    let offered: Vec<std::net::Ipv4Addr> = request.claims.discovers.iter().filter_map(|discover| discover.address).collect();
    let is_offered = offered.iter().any(|address| IpAddr::V4(*address) == request.peer);
    let contradicts = |address: std::net::Ipv4Addr| IpAddr::V4(address) != request.peer;
    let is_ours = |address: &std::net::Ipv4Addr| {
        let network = table.networks.values().find(|network| network.subnet.contains(address));
        network.is_some_and(|network| network.mode == NetworkMode::Server)
    };
    let refused = match prepared.desired.policy.fetch_address {
        FetchAddress::Own => own.map_or(!is_offered, contradicts),
        FetchAddress::NotContradicted => {
            !is_offered && (own.filter(is_ours).is_some_and(contradicts) || own.is_none() && !offered.is_empty())
        }
    };
    refused.then_some(RefusalCode::OtherAddress)
}
