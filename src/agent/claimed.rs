//! What is believed of what `serve` claims to have heard of a boot.
//!
//! **Invariant:** pure; claims of another run of the host, or of a time to come, count for nothing, and what was offered to other
//! addresses takes none from a machine.

use crate::boot::{
    assignment::{Claims, RefusalCode, Request},
    table::BootTable,
};
use crate::desired::NetworkMode;
use crate::names::Mono;
use crate::plan::{Prepared, assign::boot_intent};
use crate::site::FetchAddress;
use std::net::{IpAddr, Ipv4Addr};

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
    let offered: Vec<Ipv4Addr> = request.claims.discovers.iter().filter_map(|discover| discover.address).collect();
    let is_refused = contradicts(prepared.desired.policy.fetch_address, table, (own, &offered), request.peer);
    is_refused.then_some(RefusalCode::OtherAddress)
}

/// Whether what is known of a machine's address, which is reserved for it or was offered to it, contradicts the peer.
///
/// Whoever writes in a machine's name has an address offered to it, in another network too where a relay is believed. So an offer takes
/// none of its addresses from a machine, and one beside a reservation of ours counts in the reservation's own network alone: there the
/// machine is given another one only while its own is held.
fn contradicts(policy: FetchAddress, table: &BootTable, (own, offered): (Option<Ipv4Addr>, &[Ipv4Addr]), peer: IpAddr) -> bool {
    let network = |address: Ipv4Addr| table.networks.values().find(|network| network.subnet.contains(&address));
    let is_peer = |address: &Ipv4Addr| IpAddr::V4(*address) == peer;
    let is_offered = offered.iter().any(is_peer);
    match (policy, own) {
        (FetchAddress::Own, Some(own)) => !is_peer(&own),
        (FetchAddress::Own, None) => !is_offered,
        (FetchAddress::NotContradicted, None) => !is_offered && !offered.is_empty(),
        (FetchAddress::NotContradicted, Some(own)) => match network(own).filter(|of| of.mode == NetworkMode::Server) {
            Some(of) => !is_peer(&own) && !offered.iter().any(|address| is_peer(address) && of.subnet.contains(address)),
            // Addresses are another server's there.
            None => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // githedgehog/fabric#1427: option 82 is trusted, whoever put it in; so an address of another network is offered in a seat's name.
    #[test]
    fn an_offer_in_a_seats_name_in_another_network_does_not_outrank_its_reservation() {
        let network = |subnet: &str, mode: &str| {
            serde_json::json!({ "interface": "eno1", "mode": mode, "subnet": subnet, "range": null, "router": null, "dns": [],
                "domain": null, "lease-time": "1h", "relay": [] })
        };
        let text = serde_json::json!({
            "version": 2, "site": "cat", "tftp-address": "10.88.0.1", "http-address": "10.88.0.1", "http-port": 8080, "loaders": null,
            "networks": { "lan": network("10.88.0.0/24", "server"), "second": network("10.77.0.0/24", "server"),
                "routers": network("10.66.0.0/24", "proxy") },
            "machines": {}, "unknown-script": "", "assets": [] });
        let table = BootTable::parse(&text.to_string()).expect("a table");
        let ip = |text: &str| text.parse::<Ipv4Addr>().expect("an address");
        let refused = |policy, own: Option<&str>, offered: &[&str], peer: &str| {
            let offered: Vec<_> = offered.iter().map(|offered| ip(offered)).collect();
            contradicts(policy, &table, (own.map(ip), &offered), IpAddr::V4(ip(peer)))
        };
        let (own, default) = (Some("10.88.0.21"), FetchAddress::NotContradicted);
        assert!(refused(default, own, &["10.88.0.21", "10.77.0.133"], "10.77.0.133"));
        assert!(!refused(default, own, &["10.88.0.21", "10.77.0.133"], "10.88.0.21"), "and takes nothing from the seat");
        assert!(!refused(default, own, &["10.88.0.233"], "10.88.0.233"), "its own is held, and it boots from the range");
        assert!(refused(default, own, &[], "10.88.0.233"));
        assert!(refused(default, None, &["10.88.0.233"], "10.77.0.133") && !refused(default, None, &[], "10.77.0.133"));
        assert!(!refused(default, Some("10.66.0.5"), &[], "10.66.0.9"), "another server gives the addresses there");
        assert!(refused(FetchAddress::Own, own, &["10.88.0.233"], "10.88.0.233"));
        assert!(!refused(FetchAddress::Own, None, &["10.88.0.233"], "10.88.0.233"));
        assert!(refused(FetchAddress::Own, None, &[], "10.88.0.233"));
    }
}
