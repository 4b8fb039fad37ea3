//! Decides as the DHCP server of a network.
//!
//! **Invariant:** a running machine keeps its address while it renews, even when the site gives it another: a machine whose
//! disk is on the network does not survive losing it. Follows RFC 2131 §4.3.

use super::{
    allocate::Allocation,
    boot_info::{add_boot, add_no_proxy, decide_boot},
    leases::{Holding, LeaseChange},
    model::{Answer, CLIENT_PORT, Case, Destination, IgnoreReason, NakReason, Note, Reply, ReplyKind},
    options,
    packet::MessageKind,
};
use crate::names::DhcpOptions;
use jiff::{SignedDuration, Timestamp};
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

/// How long an offer is kept: a PXE ROM repeats its DISCOVER for a minute (C9).
pub(super) const OFFER_KEPT: Duration = Duration::from_secs(60);
/// How long an address that somebody uses unasked is given to nobody else, and one that was declined where nobody can ask who uses it;
/// dnsmasq's figure.
pub(super) const QUARANTINE: Duration = Duration::from_secs(600);
/// The first lease of a stranger: a system renews at the half of it and gets a whole one, and what only took an address for itself
/// and left gives it back soon.
const FIRST_LEASE: Duration = Duration::from_secs(600);
/// A client finds a duplicate before it uses its address (RFC 2131 §3.1): within seconds. Later, it is not the client that declines.
const DECLINED_WITHIN: SignedDuration = SignedDuration::from_secs(60);
/// How long a declined address is given to nobody while it is asked after by ARP, several times. Who uses it answers within milliseconds
/// and is then withheld; an address that nobody answers for is as good as any other.
const DECLINE_ASKED: Duration = Duration::from_secs(10);
/// How long a machine's address is kept for it after it gave it back: long enough to ask by ARP whether it did.
const RELEASED_KEPT: Duration = Duration::from_secs(60);

type Outcome = (Answer, Option<LeaseChange>);

/// Decides what a client of our own network is told.
pub(super) fn decide_server(case: &Case<'_>) -> Outcome {
    match case.request.kind {
        MessageKind::Discover => decide_discover(case),
        MessageKind::Request => decide_request(case),
        MessageKind::Decline => decide_decline(case),
        MessageKind::Release => decide_release(case),
        MessageKind::Inform => decide_inform(case),
        MessageKind::Bootp => decide_bootp(case),
    }
}

fn decide_discover(case: &Case<'_>) -> Outcome {
    match allocation(case).choose(case.request.requested) {
        None => ignore(IgnoreReason::NoAddress(case.name.clone())),
        Some(ip) => {
            // An address it has leased stays leased: the next stage of one boot, or a reboot.
            let is_its_own = |mac| mac == case.request.mac || allocation(case).reservation() == Some(ip);
            let leased = matches!(case.leases.live(ip, case.now), Some(Holding::Bound { mac, .. }) if is_its_own(mac));
            let until = after(case.now, OFFER_KEPT);
            let change = (!leased).then_some(LeaseChange::Offer { ip, mac: case.request.mac, until });
            (Answer::Offer(lease_reply(case, ReplyKind::Offer, ip)), change)
        }
    }
}

/// REQUEST in the four states a client sends it in (RFC 2131 §4.3.2).
fn decide_request(case: &Case<'_>) -> Outcome {
    let request = case.request;
    let allocation = allocation(case);
    let wanted = request.requested.or(request.ciaddr);
    match (case.speaks_to_us(), wanted) {
        (Some(false), _) => {
            let reason = IgnoreReason::OtherServer(request.server_id.unwrap_or(Ipv4Addr::UNSPECIFIED));
            (Answer::Ignore(reason), Some(LeaseChange::Withdraw { mac: request.mac }))
        }
        (_, None) => ignore(IgnoreReason::Unclear),
        // SELECTING
        (Some(true), Some(ip)) => {
            let may_have = allocation.is_promised(ip) && allocation.may_hold(ip);
            match may_have && !allocation.holds_another(ip) && !allocation.has_a_better(ip) {
                true => bind(case, ip),
                false => nak(case, NakReason::NotFree(ip)),
            }
        }
        // INIT-REBOOT, RENEWING, REBINDING, from another subnet: no for an address or a client of ours, and silence for what
        // another server may have given on this wire (C20).
        (None, Some(ip)) if !case.network.subnet.contains(&ip) => {
            match allocation.is_known_anywhere() || allocation.is_of_another_network(ip) {
                true => nak(case, NakReason::OtherNetwork(ip)),
                false => ignore(IgnoreReason::UnknownLease(ip)),
            }
        }
        (None, Some(ip)) if !allocation.is_known() => decide_unknown(case, ip),
        (None, Some(ip)) if request.ciaddr.is_some() => {
            // It is sent from the address it has; whoever only writes in a machine's name has one of its own.
            let has_had = || allocation.has_had(ip) || allocation.is_of_site() && *case.arrival.source.ip() == ip;
            let may_have = || has_had() && allocation.may_hold(ip) && !allocation.holds_another(ip);
            match allocation.has_leased(ip) || allocation.has_declined(ip) || may_have() || allocation.keeps(ip) {
                true => bind(case, ip),
                false => nak(case, NakReason::NotFree(ip)),
            }
        }
        // A machine that starts takes the address the site gives it now.
        (None, Some(ip)) => match allocation.choose(Some(ip)) == Some(ip) {
            true => bind(case, ip),
            false => nak(case, NakReason::NotFree(ip)),
        },
    }
}

/// A client of which nothing is known, and which says that it has an address of this subnet.
fn decide_unknown(case: &Case<'_>, ip: Ipv4Addr) -> Outcome {
    let allocation = allocation(case);
    match (case.request.ciaddr, case.arrival.is_to_us()) {
        _ if allocation.is_anothers(ip) => nak(case, NakReason::NotFree(ip)),
        // RENEWING goes to the server that gave the address, and from it: it was us, and the lease was lost since.
        (Some(_), true) if case.request.giaddr.is_none() && *case.arrival.source.ip() == ip && allocation.may_hold(ip) => {
            bind(case, ip)
        }
        _ => ignore(IgnoreReason::UnknownLease(ip)),
    }
}

fn decide_decline(case: &Case<'_>) -> Outcome {
    let Some(ip) = case.request.requested.or(case.request.ciaddr) else { return ignore(IgnoreReason::Unclear) };
    if case.speaks_to_us() == Some(false) {
        return ignore(IgnoreReason::OtherServer(case.request.server_id.unwrap_or(Ipv4Addr::UNSPECIFIED)));
    }
    // It comes by broadcast from a client that has no address, or by a relay that was looked at.
    let from = *case.arrival.source.ip();
    if case.request.giaddr.is_none() && !from.is_unspecified() {
        return ignore(IgnoreReason::ForeignDecline { ip, from });
    }
    // Only the holder may: else one client could empty the range.
    let mac = case.request.mac;
    let held = case.leases.live(ip, case.now).filter(|holding| holding.mac() == Some(mac));
    // From when it first had the address: whoever writes in its name can have any lease renewed.
    if let Some(bound @ Holding::Bound { .. }) = held
        && bound.since().is_none_or(|since| case.now.duration_since(since) > DECLINED_WITHIN)
    {
        return ignore(IgnoreReason::LateDecline(ip));
    }
    let allocation = allocation(case);
    if allocation.reservation() == Some(ip) {
        // It stays the machine's: there is no better one to give it, and the site says that whoever else has it is wrong.
        return (Answer::Noted(Note::DeclinedReservation(ip)), held.map(|_| LeaseChange::Release { ip }));
    }
    let Some(held) = held else { return ignore(IgnoreReason::UnknownLease(ip)) };
    let is_far = !case.arrival.is_wire_of(case.network);
    let until = match is_far {
        // Whether somebody is there shows at once, or nobody is.
        false => after(case.now, DECLINE_ASKED),
        // A machine at work in whose name it was declined finds its address free when it renews.
        true if allocation.is_of_site() => held.until(),
        true => after(case.now, QUARANTINE),
    };
    match (allocation.may_decline(), is_far) {
        (true, false) => (Answer::Noted(Note::Declined(ip)), Some(LeaseChange::Decline { ip, mac, until })),
        (true, true) => (Answer::Noted(Note::DeclinedFar(ip)), Some(LeaseChange::Decline { ip, mac, until })),
        (false, true) if allocation.is_of_site() => (Answer::Noted(Note::DeclinedTooOften(ip)), None),
        (false, _) => (Answer::Noted(Note::DeclinedTooOften(ip)), Some(LeaseChange::Release { ip })),
    }
}

fn decide_release(case: &Case<'_>) -> Outcome {
    let Some(ip) = case.request.ciaddr else { return ignore(IgnoreReason::Unclear) };
    if case.speaks_to_us() == Some(false) {
        return ignore(IgnoreReason::OtherServer(case.request.server_id.unwrap_or(Ipv4Addr::UNSPECIFIED)));
    }
    // It is sent from the address that is given back, past a relay too (RFC 2131 §4.4.4): another host gives no running machine's
    // away, whatever it writes in the packet. A lease that nobody gives back ends by itself.
    let from = *case.arrival.source.ip();
    if from != ip {
        return ignore(IgnoreReason::ForeignRelease { ip, from });
    }
    let mac = case.request.mac;
    if case.leases.holder(ip, case.now) != Some(mac) {
        return ignore(IgnoreReason::UnknownLease(ip));
    }
    let allocation = allocation(case);
    let change = match allocation.is_of_site() && allocation.reservation() != Some(ip) {
        // A source can be forged, and nobody could ask the machine.
        true if !case.arrival.is_wire_of(case.network) => return (Answer::Noted(Note::ReleasedFar(ip)), None),
        // Whoever else said it, the machine answers ARP and keeps its address.
        true => LeaseChange::Quarantine { ip, by: Some(mac), until: after(case.now, RELEASED_KEPT) },
        false => LeaseChange::Release { ip },
    };
    (Answer::Noted(Note::Released(ip)), Some(change))
}

fn decide_inform(case: &Case<'_>) -> Outcome {
    // Some clients leave it to the packet's source, which is a relay's own where one passed it on.
    let source = Some(*case.arrival.source.ip()).filter(|ip| case.request.giaddr.is_none() && !ip.is_unspecified());
    let Some(ciaddr) = case.request.ciaddr.or(source) else { return ignore(IgnoreReason::Unclear) };
    if !case.network.subnet.contains(&ciaddr) {
        // A mask and a router of another subnet would be worse than none (RFC 2131 §4.3.5).
        return ignore(IgnoreReason::UnknownLease(ciaddr));
    }
    let to = Destination::Unicast(SocketAddrV4::new(ciaddr, CLIENT_PORT));
    let mut reply = Reply::to(case.request, ReplyKind::Ack, case.local, to);
    reply.ciaddr = ciaddr;
    add_network(&mut reply, case);
    add_boot_information(&mut reply, case);
    (Answer::Ack(reply), None)
}

/// BOOTP gives an address for ever, so it gives only what the site reserves, and writes no lease down (RFC 1534 §2).
fn decide_bootp(case: &Case<'_>) -> Outcome {
    let allocation = allocation(case);
    let Some(ip) = allocation.reservation() else { return ignore(IgnoreReason::NotReserved) };
    if !allocation.may_hold(ip) {
        return ignore(IgnoreReason::NoAddress(case.name.clone()));
    }
    let mut reply = Reply::to(case.request, ReplyKind::Bootp, case.local, case.destination(ip));
    reply.yiaddr = ip;
    reply.ciaddr = case.request.ciaddr.unwrap_or(Ipv4Addr::UNSPECIFIED);
    add_network(&mut reply, case);
    add_boot_information(&mut reply, case);
    (Answer::Ack(reply), None)
}

fn bind(case: &Case<'_>, ip: Ipv4Addr) -> Outcome {
    let lasts = lease_time(case, ip);
    let until = after(case.now, lasts);
    let since = match case.leases.live(ip, case.now) {
        // Of a lease that an older version gave it is not known, but that it was given before.
        Some(held @ Holding::Bound { mac, .. }) if mac == case.request.mac => held.since().unwrap_or(Timestamp::UNIX_EPOCH),
        _ => case.now,
    };
    let lasts = SignedDuration::try_from(lasts).ok();
    let change = LeaseChange::Bind { ip, mac: case.request.mac, until, lasts, since: Some(since) };
    (Answer::Ack(lease_reply(case, ReplyKind::Ack, ip)), Some(change))
}

/// How long an address is leased: a stranger's first lease is short, and its next is whole once a quarter of that is over.
fn lease_time(case: &Case<'_>, ip: Ipv4Addr) -> Duration {
    let whole = case.network.lease_time.duration();
    let first = FIRST_LEASE.min(whole);
    let has_lasted =
        |until: Timestamp| until.duration_since(case.now) <= SignedDuration::try_from(first * 3 / 4).unwrap_or_default();
    match case.leases.live(ip, case.now) {
        _ if allocation(case).is_of_site() => whole,
        Some(Holding::Bound { mac, until, lasts, .. }) if mac == case.request.mac => {
            let is_first = lasts.is_some_and(|lasts| lasts.unsigned_abs() <= first);
            if is_first && !has_lasted(until) { first } else { whole }
        }
        _ => first,
    }
}

/// Always a broadcast: the client's address is the one thing that is wrong (RFC 2131 §4.1, C15).
fn nak(case: &Case<'_>, reason: NakReason) -> Outcome {
    let to = match case.request.giaddr {
        Some(_) => case.destination(Ipv4Addr::UNSPECIFIED),
        None => Destination::Broadcast,
    };
    let mut reply = Reply::to(case.request, ReplyKind::Nak, case.local, to);
    reply.set_broadcast();
    reply.add_text(options::MESSAGE, &reason.to_string());
    (Answer::Nak(reply, reason), None)
}

fn lease_reply(case: &Case<'_>, kind: ReplyKind, ip: Ipv4Addr) -> Reply {
    let mut reply = Reply::to(case.request, kind, case.local, case.destination(ip));
    reply.yiaddr = ip;
    if kind == ReplyKind::Ack {
        reply.ciaddr = case.request.ciaddr.unwrap_or(Ipv4Addr::UNSPECIFIED);
    }
    let seconds = u32::try_from(lease_time(case, ip).as_secs()).unwrap_or(u32::MAX).max(1);
    // T1 and T2 at a half and seven eighths (RFC 2131 §4.4.5).
    let times =
        [(options::LEASE_TIME, seconds), (options::RENEWAL_TIME, seconds / 2), (options::REBINDING_TIME, seconds / 8 * 7)];
    for (option, seconds) in times {
        reply.options.insert(option, seconds.to_be_bytes().to_vec());
    }
    add_network(&mut reply, case);
    add_boot_information(&mut reply, case);
    reply
}

fn add_network(reply: &mut Reply, case: &Case<'_>) {
    let network = case.network;
    reply.add_address(options::SUBNET_MASK, network.subnet.netmask());
    if let Some(router) = network.router {
        reply.add_address(options::ROUTER, router);
    }
    if !network.dns.is_empty() {
        reply.options.insert(options::NAME_SERVER, network.dns.iter().flat_map(Ipv4Addr::octets).collect());
    }
    if case.request.wants(options::BROADCAST_ADDRESS) {
        reply.add_address(options::BROADCAST_ADDRESS, network.subnet.broadcast());
    }
    if let Some(domain) = network.domain.as_deref().filter(|_| case.request.wants(options::DOMAIN_NAME)) {
        reply.add_text(options::DOMAIN_NAME, domain);
    }
    if let Some((name, _)) = case.offering.table.machine(case.request.mac).filter(|_| case.request.wants(options::HOST_NAME)) {
        reply.add_text(options::HOST_NAME, name.as_str());
    }
    add_site_options(reply, case);
}

/// What the site says of its own, asked for or not: an operator sets what clients forget to ask for.
fn add_site_options(reply: &mut Reply, case: &Case<'_>) {
    let machine = case.offering.table.machine(case.request.mac).map(|(_, machine)| &machine.options);
    for (option, data) in [Some(&case.network.options), machine].into_iter().flatten().flat_map(DhcpOptions::iter) {
        reply.options.insert(option, data.to_vec());
        reply.site_options.insert(option);
    }
}

fn add_boot_information(reply: &mut Reply, case: &Case<'_>) {
    add_boot(reply, case, decide_boot(case));
    add_no_proxy(reply, case.client);
}

fn allocation<'a>(case: &Case<'a>) -> Allocation<'a> {
    Allocation {
        table: case.offering.table,
        network: case.network,
        arrival: case.arrival,
        leases: case.leases,
        client: case.client,
        mac: case.request.mac,
        now: case.now,
    }
}

fn ignore(reason: IgnoreReason) -> Outcome {
    (Answer::Ignore(reason), None)
}

/// The time after a while; the end of time where that lies beyond it.
pub(super) fn after(now: Timestamp, while_: Duration) -> Timestamp {
    SignedDuration::try_from(while_).ok().and_then(|span| now.checked_add(span).ok()).unwrap_or(Timestamp::MAX)
}
