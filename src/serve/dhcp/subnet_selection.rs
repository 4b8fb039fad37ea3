//! Which network a client is on, and by which of our addresses it knows us.
//!
//! **Invariant:** a request that came through a relay is on a network of that relay, one that was heard directly is on a network
//! of that wire, and neither ever gets an address of the other. That a relay sent it shows by where it came from and not by what
//! stands in it alone. Follows RFC 2131 §4.3.1, RFC 3011 and RFC 3527.

use super::{
    leases::{Holding, Leases},
    model::{Arrival, IgnoreReason},
    packet::{MessageKind, Request},
};
use crate::{
    boot::table::{BootTable, FixedTable, Network},
    desired::NetworkMode,
    names::NetworkName,
};
use jiff::Timestamp;
use std::net::Ipv4Addr;

pub(super) type Found<'a> = (&'a NetworkName, &'a Network);

/// The network a client is on, which is its relay's or one of the interface it was heard on, and the other networks of ours that
/// share its wire and have addresses to give.
pub(super) fn find_networks<'a>(
    request: &Request,
    arrival: &Arrival<'_>,
    table: &'a FixedTable,
    leases: &Leases,
    now: Timestamp,
) -> Result<(Found<'a>, Vec<Found<'a>>), IgnoreReason> {
    let here: Vec<_> = table.networks.iter().filter(|(_, network)| network.interface == arrival.interface).collect();
    let mut found = match request.giaddr {
        Some(giaddr) => {
            check_relay(giaddr, arrival, table, leases, now, &here)?;
            relayed(giaddr, request, &here)?
        }
        None => direct(request, arrival, &here)?,
    };
    // The client's own word goes first, and only when it asks to keep an address; then what is known of it.
    let [held, asked] = [request.ciaddr, request.requested].map(|ip| ip.filter(|_| request.kind != MessageKind::Discover));
    let reserved = table.machine(request.mac).and_then(|(_, machine)| machine.ip);
    let leased = leases.of(request.mac).into_iter().find(|(_, holding)| holding.until() > now && is_given(*holding));
    let place = |ip| found.iter().position(|(_, network)| network.subnet.contains(&ip));
    let leased = leased.map(|(ip, _)| ip);
    // A machine that starts and asks for the address it had (INIT-REBOOT) is on the network where the site wants it now, or where it has
    // a lease: what it asks for in another is refused there. One that runs keeps what it has.
    let is_starting = request.kind == MessageKind::Request && request.server_id.is_none() && request.working_address().is_none();
    let order = match is_starting {
        true => [reserved, leased, asked, held],
        false => [asked, held, reserved, leased],
    };
    let first = order.into_iter().flatten().find_map(place).unwrap_or(0);
    let first = found.remove(first);
    found.retain(|(_, network)| network.mode == NetworkMode::Server);
    Ok((first, found))
}

fn is_given(holding: Holding) -> bool {
    holding.mac().is_some()
}

/// Refuses a packet that names a relay and was sent by a host that is none: one that has no address, one that is a client here, or one
/// of this wire that is neither the relay, nor listed, nor the router through which a relay's packets come.
///
/// Many relays send from the address of the interface that leads here and not from giaddr, so whoever comes from beyond this wire may
/// be one.
fn check_relay(
    giaddr: Ipv4Addr,
    arrival: &Arrival<'_>,
    table: &FixedTable,
    leases: &Leases,
    now: Timestamp,
    here: &[Found<'_>],
) -> Result<(), IgnoreReason> {
    let from = *arrival.source.ip();
    let is_named =
        from == giaddr || here.iter().any(|(_, network)| network.relay.contains(&from) || network.router == Some(from));
    let is_client = || from.is_unspecified() || table.is_reserved(from) || leases.holder(from, now).is_some();
    let is_beside_giaddr = || here.iter().any(|(_, network)| network.subnet.contains(&giaddr) && network.subnet.contains(&from));
    // Where no router is known, the relay may be any host of the wire.
    let is_host_of_wire = || {
        let mut wire = here.iter().filter(|(_, network)| arrival.is_wire_of(network) && network.subnet.contains(&from));
        wire.any(|(_, network)| network.router.is_some())
    };
    match is_named || !is_client() && (is_beside_giaddr() || !is_host_of_wire()) {
        true => Ok(()),
        false => Err(IgnoreReason::NotFromRelay { giaddr, from }),
    }
}

/// A relay is believed when the network lists it; a network that lists none believes those in the subnets of this interface.
fn relayed<'a>(giaddr: Ipv4Addr, request: &Request, here: &[Found<'a>]) -> Result<Vec<Found<'a>>, IgnoreReason> {
    let is_listed = |network: &Network| network.relay.contains(&giaddr);
    let is_near = |network: &Network| network.relay.is_empty() && network.subnet.contains(&giaddr);
    // Any host of a wire can name itself as a relay, so one that no network lists speaks for the subnet it stands in and for no other.
    let is_known = here.iter().any(|(_, network)| is_listed(network));
    // The relay knows better than the client where the client is (RFC 3527 §3).
    let chosen = request.link_selection.or(request.subnet_selection);
    let is_wanted = |network: &Network| match chosen {
        Some(subnet) => {
            let is_believed = is_listed(network) || is_near(network) || network.relay.is_empty() && is_known;
            network.subnet.contains(&subnet) && is_believed
        }
        // A relay may show us another of its addresses than the one in its clients' subnet.
        None => is_listed(network) || is_near(network),
    };
    let mut found: Vec<_> = here.iter().filter(|(_, network)| is_wanted(network)).copied().collect();
    found.sort_by_key(|(_, network)| !network.subnet.contains(&giaddr));
    if found.is_empty() { Err(IgnoreReason::UnknownRelay(giaddr)) } else { Ok(found) }
}

fn direct<'a>(request: &Request, arrival: &Arrival<'_>, here: &[Found<'a>]) -> Result<Vec<Found<'a>>, IgnoreReason> {
    let of = |ip: Ipv4Addr, among: &[Found<'a>]| among.iter().find(|(_, network)| network.subnet.contains(&ip)).copied();
    // A client behind a relay renews, releases and informs past it, from the address it has (RFC 2131 §4.3.2, C17).
    if arrival.is_to_us()
        && let Some(found) = request.working_address().and_then(|ip| of(ip, here))
    {
        return Ok(vec![found]);
    }
    let mut wire: Vec<_> = here.iter().filter(|(_, network)| arrival.is_wire_of(network)).copied().collect();
    if wire.is_empty() {
        wire = here.iter().filter(|(_, network)| network.relay.is_empty()).copied().collect();
    }
    // Several subnets may share a wire. One that gives addresses goes before one that only adds to what another server says, and what
    // is off is nobody's but where nothing else is there.
    wire.sort_by_key(|(_, network)| match network.mode {
        NetworkMode::Server => 0,
        NetworkMode::Proxy => 1,
        NetworkMode::Off => 2,
    });
    if wire.is_empty() { Err(IgnoreReason::NoNetwork) } else { Ok(wire) }
}

/// Our address towards a client: the one it spoke to, else the interface's in its subnet, else the interface's first.
pub(super) fn local_address(arrival: &Arrival<'_>, network: &Network, table: &BootTable) -> Ipv4Addr {
    let spoken_to = arrival.is_to_us().then_some(&arrival.destination);
    let in_subnet = || arrival.addresses.iter().find(|ip| network.subnet.contains(*ip));
    spoken_to.or_else(in_subnet).or(arrival.addresses.first()).copied().unwrap_or(table.tftp_address)
}
