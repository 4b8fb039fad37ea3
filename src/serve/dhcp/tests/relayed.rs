//! Clients behind relay agents, and several subnets at once.
//!
//! **Invariant:** every test names the client that would get an address of the wrong subnet, or none, without it.

use super::*;

/// The relay's address in the clients' subnet, and the one it shows us.
const RELAY: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 9);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 60);

/// The room, and behind a relay a second one: 10.89.0.0/24 with a range of .60 to .69, on the same interface.
fn two_rooms() -> Room {
    let mut room = Room::with(NetworkMode::Server);
    let mut far = room.network().clone();
    far.subnet = "10.89.0.0/24".parse().expect("a subnet");
    far.range = Some((FAR, Ipv4Addr::new(10, 89, 0, 69)));
    far.router = Some(Ipv4Addr::new(10, 89, 0, 254));
    far.relay = [RELAY].into();
    room.table.networks.insert("far".parse().expect("a name"), far);
    room
}

fn relayed(kind: MessageKind, last: u8) -> Request {
    Request { giaddr: Some(RELAY), ..request(kind, last) }
}

fn is_far(ip: Ipv4Addr) -> bool {
    ip.octets()[1] == 89
}

/// A request sent to our address, not to everybody.
fn to_us(room: &mut Room, request: &Request) -> Answer {
    let from = request.giaddr.or(request.ciaddr).unwrap_or(Ipv4Addr::UNSPECIFIED);
    let (addresses, source) = ([SERVER], SocketAddrV4::new(from, 68));
    let arrival = Arrival { interface: "eno1", addresses: &addresses, destination: SERVER, source, port: Port::Dhcp };
    let table = room.table.clone().into();
    let offering =
        Offering { table: &table, loaders: &room.loaders, http: HttpState::Open, chainload_loops: &room.chainload_loops };
    let at = Timestamp::from_second(room.now).expect("a time");
    let decision = decide(request, &arrival, offering, &room.leases, at);
    decision.change.into_iter().for_each(|change| room.leases.apply(change));
    decision.answer
}

#[test]
fn two_relays_as_they_are_found_in_the_field_get_their_options_back_to_the_byte() {
    for (packet, option) in [
        (fixture!("relayed-dhcrelay-discover"), &[82, 4, 1, 2, b'r', b'0', 255][..]),
        (fixture!("relayed-dnsmasq-discover"), &[255]),
    ] {
        let mut room = Room::with(NetworkMode::Server);
        let reply = offer(room.ask(&parse(&packet).expect("it reads")));
        assert_eq!((reply.yiaddr, reply.to), (PC01_IP, Destination::Unicast(SocketAddrV4::new(ip(9), 67))));
        let bytes = encode(&reply);
        let end = bytes.iter().rposition(|byte| *byte == options::END).expect("an end");
        assert!(bytes[..=end].ends_with(option), "{bytes:x?}");
        // op, htype, hlen, hops; xid; secs, flags; ciaddr; yiaddr; siaddr; giaddr; chaddr
        let head = [&[2, 1, 6, 0][..], &packet[4..8], &[0; 8], &PC01_IP.octets(), &[0; 4], &ip(9).octets(), &packet[28..44]];
        assert_eq!(bytes[..44], head.concat());
    }
}

#[test]
fn a_client_behind_a_relay_gets_an_address_of_its_own_subnet_and_nobody_else_does() {
    let mut room = two_rooms();
    let far = offer(room.ask(&relayed(MessageKind::Discover, 1)));
    assert!(is_far(far.yiaddr), "{}", far.yiaddr);
    assert_eq!(far.options[&options::ROUTER], [10, 89, 0, 254]);
    let near = offer(room.ask(&request(MessageKind::Discover, 2)));
    assert!(!is_far(near.yiaddr), "{}", near.yiaddr);
    // A machine that belongs behind the relay and is carried here does not take its address along.
    let machine = room.table.machines.values_mut().next().expect("a machine");
    machine.ip = Some(Ipv4Addr::new(10, 89, 0, 101));
    let carried = parse(&fixture!("edk2-discover")).expect("it reads");
    assert!(!is_far(offer(room.ask(&carried)).yiaddr));
    let home = Request { giaddr: Some(RELAY), ..carried };
    assert_eq!(offer(room.ask(&home)).yiaddr, Ipv4Addr::new(10, 89, 0, 101));
}

#[test]
fn a_renewal_that_bypasses_the_relay_is_answered_c17() {
    let mut room = two_rooms();
    let held = offer(room.ask(&relayed(MessageKind::Discover, 1))).yiaddr;
    let take = Request { requested: Some(held), server_id: Some(SERVER), ..relayed(MessageKind::Request, 1) };
    assert_eq!(ack(room.ask(&take)).to, Destination::Unicast(SocketAddrV4::new(RELAY, 67)));
    let renew = Request { ciaddr: Some(held), ..request(MessageKind::Request, 1) };
    let reply = ack(to_us(&mut room, &renew));
    assert_eq!((reply.yiaddr, reply.to), (held, Destination::Unicast(SocketAddrV4::new(held, 68))));
    assert_eq!(reply.options[&options::ROUTER], [10, 89, 0, 254], "of its own subnet");
    let release = Request { ciaddr: Some(held), server_id: Some(SERVER), ..request(MessageKind::Release, 1) };
    assert_eq!(to_us(&mut room, &release), Answer::Noted(Note::Released(held)));
    // The same words by broadcast come from this wire, where that address does not work.
    let moved = Request { ciaddr: Some(held), ..request(MessageKind::Request, 1) };
    assert_eq!(to_us(&mut room, &renew), Answer::Ack(reply), "lost and given anew");
    assert!(matches!(room.ask(&moved), Answer::Nak(_, NakReason::OtherNetwork(_))));
}

#[test]
fn only_listed_relays_are_answered_where_relays_are_listed() {
    let mut room = two_rooms();
    let other = Ipv4Addr::new(10, 89, 0, 8);
    let strange = Request { giaddr: Some(other), ..request(MessageKind::Discover, 1) };
    assert_eq!(room.ask(&strange), Answer::Ignore(IgnoreReason::UnknownRelay(other)));
    let selecting = Request { link_selection: Some(FAR), ..strange };
    assert_eq!(room.ask(&selecting), Answer::Ignore(IgnoreReason::UnknownRelay(other)), "nor by link selection");
    // A network without a list believes a relay that stands in it.
    assert!(!is_far(offer(room.ask(&Request { giaddr: Some(ip(8)), ..request(MessageKind::Discover, 1) })).yiaddr));
}

#[test]
fn link_selection_and_subnet_selection_choose_the_subnet_where_giaddr_does_not() {
    let mut room = two_rooms();
    // The relay shows us an address that is in none of our subnets.
    let shown = Ipv4Addr::new(172, 16, 0, 1);
    for network in room.table.networks.values_mut() {
        network.relay = [shown].into();
    }
    let from = |link: Option<Ipv4Addr>, subnet: Option<Ipv4Addr>| Request {
        giaddr: Some(shown),
        link_selection: link,
        subnet_selection: subnet,
        ..request(MessageKind::Discover, 1)
    };
    let (near_link, far_link) = (Some(ip(0)), Some(Ipv4Addr::new(10, 89, 0, 0)));
    assert!(is_far(offer(room.ask(&from(far_link, None))).yiaddr), "RFC 3527");
    assert!(!is_far(offer(room.ask(&from(near_link, far_link))).yiaddr), "the relay's word goes first");
    let reply = offer(room.ask(&from(None, far_link)));
    assert!(is_far(reply.yiaddr), "RFC 3011");
    assert_eq!(reply.options[&options::SUBNET_SELECTION], [10, 89, 0, 0], "returned as it came");
    let nowhere = from(Some(Ipv4Addr::new(10, 90, 0, 0)), None);
    assert_eq!(room.ask(&nowhere), Answer::Ignore(IgnoreReason::UnknownRelay(shown)));
    // A client that was heard directly is where it was heard, whatever it asks for.
    let direct = Request { giaddr: None, ..from(None, far_link) };
    let reply = offer(room.ask(&direct));
    assert!(!is_far(reply.yiaddr) && !reply.options.contains_key(&options::SUBNET_SELECTION));
}

#[test]
fn a_relay_that_stands_for_the_server_is_named_and_renewals_through_it_are_ours() {
    let mut room = two_rooms();
    // Option 82 as a switch sends it: circuit, link selection, server identifier override.
    let mut packet = fixture!("relayed-dhcrelay-discover");
    let at = packet.windows(3).position(|bytes| bytes == [82, 4, 1]).expect("option 82");
    let information = [&[1, 2, b'r', b'0', 5, 4][..], &[10, 89, 0, 0], &[11, 4], &RELAY.octets()].concat();
    packet.truncate(at);
    packet.extend([82, information.len() as u8]);
    packet.extend_from_slice(&information);
    packet.push(255);
    packet[24..28].copy_from_slice(&RELAY.octets());
    let discover = parse(&packet).expect("it reads");
    assert_eq!((discover.link_selection, discover.server_override()), (Some(Ipv4Addr::new(10, 89, 0, 0)), Some(RELAY)));
    let reply = offer(room.ask(&discover));
    assert_eq!((&reply.options[&options::SERVER_ID][..], reply.from), (&RELAY.octets()[..], SERVER), "RFC 5107");
    assert_eq!(reply.relay_information.as_deref(), Some(&information[..]), "as it came");
    let held = reply.yiaddr;
    let take = Request { kind: MessageKind::Request, requested: Some(held), server_id: Some(RELAY), ..discover.clone() };
    assert_eq!(ack(room.ask(&take)).yiaddr, held);
    let renew = Request { kind: MessageKind::Request, ciaddr: Some(held), ..discover.clone() };
    assert_eq!(ack(to_us(&mut room, &renew)).to, Destination::Unicast(SocketAddrV4::new(RELAY, 67)), "back through the relay");
    // Without giaddr nobody stands for us: a client cannot make another server's REQUEST ours.
    let forged = Request { giaddr: None, ..take };
    assert_eq!(room.ask(&forged), Answer::Ignore(IgnoreReason::OtherServer(RELAY)));
}

#[test]
fn a_refusal_through_a_relay_asks_it_to_broadcast_c15() {
    let mut room = two_rooms();
    let held = offer(room.ask(&relayed(MessageKind::Discover, 1))).yiaddr;
    let theirs = Request { requested: Some(held), ..relayed(MessageKind::Request, 2) };
    let Answer::Nak(reply, NakReason::NotFree(_)) = room.ask(&theirs) else { panic!("no refusal") };
    assert_eq!((reply.to, reply.flags & 0x8000), (Destination::Unicast(SocketAddrV4::new(RELAY, 67)), 0x8000));
    assert_eq!(&encode(&reply)[10..28], [&[0x80, 0][..], &[0; 12], &RELAY.octets()].concat(), "no address in it but giaddr");
}

#[test]
fn a_client_asks_to_keep_an_address_of_the_second_subnet_on_its_wire() {
    let mut room = two_rooms();
    let second = room.table.networks.values_mut().next().expect("far sorts first");
    second.relay.clear();
    let addresses = [SERVER, Ipv4Addr::new(10, 89, 0, 1)];
    let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
    let arrival =
        Arrival { interface: "eno1", addresses: &addresses, destination: Ipv4Addr::BROADCAST, source, port: Port::Dhcp };
    let table = room.table.clone().into();
    let offering =
        Offering { table: &table, loaders: &room.loaders, http: HttpState::Open, chainload_loops: &room.chainload_loops };
    let at = Timestamp::from_second(room.now).expect("a time");
    for held in [ip(200), FAR] {
        let mut leases = Leases::default();
        leases.apply(LeaseChange::Bind {
            ip: held,
            mac: request(MessageKind::Request, 1).mac,
            until: Timestamp::MAX,
            lasts: None,
            since: None,
        });
        let reboot = Request { requested: Some(held), ..request(MessageKind::Request, 1) };
        let reply = ack(decide(&reboot, &arrival, offering, &leases, at).answer);
        assert_eq!(reply.yiaddr, held);
        let ours = if is_far(held) { addresses[1] } else { SERVER };
        assert_eq!(reply.from, ours, "from our address in its subnet");
    }
}

#[test]
fn an_offer_to_firmware_or_ipxe_is_a_sign_of_a_boot_also_through_a_relay_and_one_to_a_system_is_none() {
    let sign = |room: &Room, request: &Request| {
        let source = request.giaddr.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let decision = room.at(Port::Dhcp, SocketAddrV4::new(source, 68), request);
        offer_to_a_boot(request, &decision).map(|offer| offer.yiaddr)
    };
    let room = two_rooms();
    let far = |request: Request| Request { giaddr: Some(RELAY), ..request };
    assert_eq!(sign(&room, &far(firmware(MessageKind::Discover, 7))), Some(FAR));
    let ipxe = parse(&fixture!("ipxe-efi-discover")).expect("it reads");
    assert_eq!(sign(&room, &ipxe), Some(PC01_IP));
    for none in [relayed(MessageKind::Discover, 1), far(firmware(MessageKind::Request, 7)), request(MessageKind::Discover, 1)] {
        assert_eq!(sign(&room, &none), None, "{none:?}");
    }
    let stranger = Request { giaddr: Some(Ipv4Addr::new(10, 90, 0, 1)), ..firmware(MessageKind::Discover, 7) };
    assert_eq!(sign(&room, &stranger), None, "it was not answered");
    let beside = Room::with(NetworkMode::Proxy);
    assert_eq!(sign(&beside, &ipxe), Some(Ipv4Addr::UNSPECIFIED), "the address is another server's");
    assert_eq!(sign(&Room::with(NetworkMode::Off), &ipxe), None);
}

/// An attacker on the server's wire, from its own address or from none, gives the address of a seat behind the relay back and has it
/// given to another (RELEASE has no answer, so one packet was enough).
#[test]
fn nobody_gives_an_address_back_but_from_that_address_whatever_relay_the_packet_names() {
    let mut room = two_rooms();
    room.table.machines.values_mut().for_each(|machine| {
        (machine.macs, machine.ip) = (vec![request(MessageKind::Discover, 1).mac], None);
    });
    let take = |room: &mut Room, giaddr: Option<Ipv4Addr>, card| {
        let held = offer(room.ask(&Request { giaddr, ..request(MessageKind::Discover, card) })).yiaddr;
        let wanted = Request { giaddr, requested: Some(held), server_id: Some(SERVER), ..request(MessageKind::Request, card) };
        ack(room.ask(&wanted)).yiaddr
    };
    let (seat, stranger) = (take(&mut room, Some(RELAY), 1), take(&mut room, None, 2));
    let before = room.leases.clone();
    for (card, held) in [(1, seat), (2, stranger)] {
        for giaddr in [None, Some(RELAY), Some(ip(9)), Some(held)] {
            for source in [ip(9), RELAY, Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(10, 90, 0, 7)] {
                let forged = Request { giaddr, ciaddr: Some(held), ..request(MessageKind::Release, card) };
                let answer = room.ask_from(source, &forged);
                assert!(matches!(answer, Answer::Ignore(_)), "{held} by {giaddr:?} from {source}: {answer:?}");
            }
        }
    }
    assert_eq!(room.leases, before);
    // From the address itself, which a forger can write too: of a seat that nobody can ask by ARP it frees nothing before its end.
    let release = Request { ciaddr: Some(seat), server_id: Some(SERVER), ..request(MessageKind::Release, 1) };
    assert_eq!(to_us(&mut room, &release), Answer::Noted(Note::ReleasedFar(seat)));
    assert_eq!(room.leases, before);
    let renew = Request { ciaddr: Some(seat), ..request(MessageKind::Request, 1) };
    assert_eq!(ack(to_us(&mut room, &renew)).yiaddr, seat);
}

#[test]
fn a_packet_that_names_a_relay_and_was_sent_by_a_client_or_another_host_of_the_wire_is_no_relays() {
    let mut room = two_rooms();
    let held = room.join(7).expect("an address");
    let relayed = relayed(MessageKind::Discover, 1);
    for from in [ip(9), held, PC01_IP, Ipv4Addr::UNSPECIFIED] {
        assert_eq!(room.ask_from(from, &relayed), Answer::Ignore(IgnoreReason::NotFromRelay { giaddr: RELAY, from }));
    }
    // The relay itself, the router it stands behind, another of its own addresses, and one that is beyond this wire.
    for from in [RELAY, ip(254), Ipv4Addr::new(10, 89, 0, 254), Ipv4Addr::new(172, 16, 0, 1)] {
        assert!(is_far(offer(room.ask_from(from, &relayed)).yiaddr), "{from}");
    }
    for network in room.table.networks.values_mut() {
        network.relay.insert(ip(9));
    }
    assert!(is_far(offer(room.ask_from(ip(9), &relayed)).yiaddr), "it is listed");
}

/// Nobody can ask by ARP who is behind a relay, so what is declined in a seat's name stays the seat's, and a client that did find a
/// duplicate has another address.
#[test]
fn what_is_declined_behind_a_relay_in_a_seats_name_is_nobody_elses_while_its_lease_lasts() {
    let mut room = two_rooms();
    room.table.machines.values_mut().for_each(|machine| {
        (machine.macs, machine.ip) = (vec![request(MessageKind::Discover, 1).mac], None);
    });
    let held = offer(room.ask(&relayed(MessageKind::Discover, 1))).yiaddr;
    let take = |held| Request { requested: Some(held), server_id: Some(SERVER), ..relayed(MessageKind::Request, 1) };
    ack(room.ask(&take(held)));
    let decline = Request { kind: MessageKind::Decline, ..take(held) };
    assert_eq!(room.ask(&decline), Answer::Noted(Note::DeclinedFar(held)));
    let other = offer(room.ask(&relayed(MessageKind::Discover, 1))).yiaddr;
    assert_ne!(other, held);
    for minutes in [1, 15, 50] {
        room.now = 1_000_000 + minutes * 60;
        let wanted = Request { requested: Some(held), ..relayed(MessageKind::Discover, 2) };
        assert_ne!(offer(room.ask(&wanted)).yiaddr, held, "after {minutes} minutes");
    }
    let renew = Request { ciaddr: Some(held), ..request(MessageKind::Request, 1) };
    assert_eq!(ack(to_us(&mut room, &renew)).yiaddr, held, "it runs, and did not decline it");
}

// githedgehog/fabric#1427: option 82 is trusted without a look at who put it in.
#[test]
fn a_host_that_names_itself_as_a_relay_speaks_for_its_own_subnet_and_no_other() {
    let mut room = two_rooms();
    room.table.networks.values_mut().for_each(|network| network.relay.clear());
    let seat = firmware(MessageKind::Discover, 7);
    room.table.machines.values_mut().for_each(|machine| machine.macs = vec![seat.mac]);
    let itself = Request { giaddr: Some(ip(9)), link_selection: Some(FAR), ..seat.clone() };
    assert_eq!(room.ask(&itself), Answer::Ignore(IgnoreReason::UnknownRelay(ip(9))));
    let asked_by_client = Request { link_selection: None, subnet_selection: Some(FAR), ..itself.clone() };
    assert_eq!(room.ask(&asked_by_client), Answer::Ignore(IgnoreReason::UnknownRelay(ip(9))));
    assert_eq!(offer(room.ask(&Request { link_selection: Some(ip(0)), ..itself.clone() })).yiaddr, PC01_IP, "its own subnet");
    // One that the site lists is believed of networks that list none.
    room.table
        .networks
        .values_mut()
        .filter(|network| network.subnet.contains(&ip(9)))
        .for_each(|near| near.relay = [ip(9)].into());
    assert!(is_far(offer(room.ask(&itself)).yiaddr));
}
