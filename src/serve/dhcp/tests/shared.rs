//! Several networks of ours on one wire.
//!
//! **Invariant:** every test names the client that would get no address though one is free on its wire.

use super::*;

const SECOND: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 1);

/// The room, and on the same wire a second network with a range of .60 to .62.
fn two_networks() -> Room {
    let mut room = Room::with(NetworkMode::Server);
    let mut second = room.network().clone();
    second.subnet = "10.89.0.0/24".parse().expect("a subnet");
    second.range = Some((Ipv4Addr::new(10, 89, 0, 60), Ipv4Addr::new(10, 89, 0, 62)));
    second.router = Some(Ipv4Addr::new(10, 89, 0, 254));
    room.table.networks.insert("second".parse().expect("a name"), second);
    room
}

/// Asks on the wire, on which the server has an address in each network, and lets the answer change the leases.
fn ask(room: &mut Room, request: &Request) -> Answer {
    let addresses = [SERVER, SECOND];
    let source = SocketAddrV4::new(request.giaddr.unwrap_or(Ipv4Addr::UNSPECIFIED), 68);
    let arrival =
        Arrival { interface: "eno1", addresses: &addresses, destination: Ipv4Addr::BROADCAST, source, port: Port::Dhcp };
    let table = room.table.clone().into();
    let offering =
        Offering { table: &table, loaders: &room.loaders, http: HttpState::Open, chainload_loops: &room.chainload_loops };
    let decision = decide(request, &arrival, offering, &room.leases, Timestamp::from_second(room.now).expect("a time"));
    decision.change.into_iter().for_each(|change| room.leases.apply(change));
    decision.answer
}

/// DISCOVER and REQUEST; the acknowledgement, where there is an offer.
fn join(room: &mut Room, mac: u8, giaddr: Option<Ipv4Addr>) -> Option<Reply> {
    let Answer::Offer(offer) = ask(room, &Request { giaddr, ..request(MessageKind::Discover, mac) }) else { return None };
    let (requested, server_id) = (Some(offer.yiaddr), Some(offer.from));
    Some(ack(ask(room, &Request { giaddr, requested, server_id, ..request(MessageKind::Request, mac) })))
}

fn is_second(reply: &Reply) -> bool {
    reply.yiaddr.octets()[1] == 89
}

/// cohoe/starrs#202: a wire with a second subnet, added when the first was full, needs both as one shared network, or nobody gets an
/// address of the second. openwrt/openwrt#15159: hosts of a second subnet on an interface heard nothing.
#[test]
fn when_one_network_of_a_wire_is_full_the_next_gives_its_addresses() {
    let mut room = two_networks();
    for mac in 1..=4 {
        assert!(join(&mut room, mac, None).is_some_and(|reply| !is_second(&reply)), "{mac}");
    }
    let first = join(&mut room, 5, None).expect("the second network has room");
    assert!(is_second(&first) && first.from == SECOND, "{first:?}");
    assert_eq!(first.options[&options::ROUTER], [10, 89, 0, 254], "of its own network");
    // The first has room again, and the next stage of the same boot keeps its address all the same.
    room.leases.apply(LeaseChange::Release { ip: ip(201) });
    assert_eq!(join(&mut room, 5, None).map(|reply| reply.yiaddr), Some(first.yiaddr));
    let reboot = Request { requested: Some(first.yiaddr), ..request(MessageKind::Request, 5) };
    assert_eq!(ack(ask(&mut room, &reboot)).yiaddr, first.yiaddr);
    assert!(join(&mut room, 6, None).is_some_and(|reply| !is_second(&reply)));
    assert!((7..=8).all(|mac| join(&mut room, mac, None).is_some_and(|reply| is_second(&reply))));
    let full = ask(&mut room, &request(MessageKind::Discover, 9));
    assert_eq!(full, Answer::Ignore(IgnoreReason::NoAddress("lan".parse().expect("a name"))));
}

#[test]
fn a_network_that_is_off_or_anothers_takes_nobody_from_one_that_is_ours_whatever_it_is_called() {
    for mode in [NetworkMode::Off, NetworkMode::Proxy] {
        let mut room = two_networks();
        room.network().mode = mode;
        assert!((1..=3).all(|mac| join(&mut room, mac, None).is_some_and(|reply| is_second(&reply))), "{mode:?}");
        let full = ask(&mut room, &request(MessageKind::Discover, 4));
        assert_eq!(full, Answer::Ignore(IgnoreReason::NoAddress("second".parse().expect("a name"))), "{mode:?}");
    }
}

#[test]
fn behind_a_relay_the_next_network_is_one_that_lists_the_relay_and_no_other() {
    let relay = Some(ip(9));
    let mut room = two_networks();
    room.table.networks.values_mut().for_each(|network| network.relay = [ip(9)].into());
    for mac in 1..=4 {
        assert!(join(&mut room, mac, relay).is_some_and(|reply| !is_second(&reply)), "{mac}");
    }
    let second = join(&mut room, 5, relay).expect("the second network has room");
    assert!(is_second(&second));
    assert_eq!(second.to, Destination::Unicast(SocketAddrV4::new(ip(9), 67)));
    let reboot = Request { giaddr: relay, requested: Some(second.yiaddr), ..request(MessageKind::Request, 5) };
    assert_eq!(ack(ask(&mut room, &reboot)).yiaddr, second.yiaddr);

    let mut room = two_networks();
    room.network().relay = [ip(9)].into();
    assert_eq!((1..=9).filter_map(|mac| join(&mut room, mac, relay)).filter(is_second).count(), 0);
}

/// opnsense/core#7431: a client that asked for its old address at its start kept it for ever, whatever was reserved for it since.
#[test]
fn a_machine_that_the_site_moves_to_another_network_of_its_wire_is_refused_its_old_address_when_it_starts() {
    let mut room = two_networks();
    room.table.machines.values_mut().for_each(|machine| {
        (machine.macs, machine.ip) = (vec![request(MessageKind::Discover, 1).mac], None);
    });
    let old = join(&mut room, 1, None).expect("an address").yiaddr;
    let new = Ipv4Addr::new(10, 89, 0, 11);
    room.table.machines.values_mut().for_each(|machine| machine.ip = Some(new));
    let renew = Request { ciaddr: Some(old), ..request(MessageKind::Request, 1) };
    assert_eq!(ack(ask(&mut room, &renew)).yiaddr, old, "one that runs keeps it");
    let reboot = |wanted| Request { requested: Some(wanted), ..request(MessageKind::Request, 1) };
    for _ in 0..2 {
        assert!(matches!(ask(&mut room, &reboot(old)), Answer::Nak(_, NakReason::OtherNetwork(_))));
        assert_eq!(join(&mut room, 1, None).expect("an address").yiaddr, new);
    }
    assert_eq!(ack(ask(&mut room, &reboot(new))).yiaddr, new);
    // Nor does a card have one address in each network of its wire.
    let held = join(&mut room, 5, None).expect("an address").yiaddr;
    let other = Request { requested: Some(Ipv4Addr::new(10, 89, 0, 61)), ..request(MessageKind::Request, 5) };
    assert!(matches!(ask(&mut room, &other), Answer::Nak(_, NakReason::OtherNetwork(_))));
    assert_eq!(join(&mut room, 5, None).map(|reply| reply.yiaddr), Some(held));
}
