//! Where a reply goes, so that its client hears it.
//!
//! **Invariant:** every test names the client that would wait in vain.

use super::*;

const FOREIGN: Ipv4Addr = Ipv4Addr::new(172, 20, 0, 9);

fn broadcasting(request: Request) -> Request {
    Request { flags: 0x8000, ..request }
}

#[test]
fn a_client_that_names_an_address_of_old_is_answered_where_it_listens() {
    // NetworkManager before 1.58 after its lease ended, and vpcs (GNS3) at every start.
    for old in [ip(150), ip(200), SERVER, FOREIGN, Ipv4Addr::new(10, 89, 0, 60)] {
        let mut room = Room::with(NetworkMode::Server);
        let discover = Request { ciaddr: Some(old), ..request(MessageKind::Discover, 5) };
        let reply = offer(room.ask(&discover));
        assert_eq!(reply.to, Destination::Hardware(discover.mac, reply.yiaddr), "{old}");
        assert_eq!(reply.ciaddr, Ipv4Addr::UNSPECIFIED);
        assert_eq!(offer(room.ask(&broadcasting(discover.clone()))).to, Destination::Broadcast, "{old}");
        let take = Request {
            ciaddr: Some(old),
            requested: Some(reply.yiaddr),
            server_id: Some(SERVER),
            ..request(MessageKind::Request, 5)
        };
        let taken = ack(room.ask(&take));
        assert_eq!((taken.yiaddr, taken.to), (reply.yiaddr, Destination::Hardware(take.mac, reply.yiaddr)), "{old}");
        assert_eq!(ack(room.ask(&broadcasting(take))).to, Destination::Broadcast, "{old}");
        // INIT-REBOOT asks by option 50; what else it says of itself is of old.
        let reboot = Request { ciaddr: Some(old), requested: Some(reply.yiaddr), ..request(MessageKind::Request, 5) };
        assert_eq!(ack(room.ask(&reboot)).to, Destination::Hardware(reboot.mac, reply.yiaddr), "{old}");

        let beside = Room::with(NetworkMode::Proxy);
        for flags in [0, 0x8000] {
            let firmware = Request { ciaddr: Some(old), flags, ..firmware(MessageKind::Discover, 7) };
            let decision = beside.at(Port::Dhcp, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68), &firmware);
            assert_eq!(offer(decision.answer).to, Destination::Broadcast, "{old} {flags:x}");
        }
    }
}

#[test]
fn networkmanagers_own_packet_gets_an_offer_at_its_ethernet_address() {
    let mut room = Room::with(NetworkMode::Server);
    let discover = parse(&fixture!("networkmanager-discover-old-address")).expect("it reads");
    assert_eq!(discover.ciaddr, Some(Ipv4Addr::new(10, 77, 0, 210)));
    let reply = offer(room.ask(&discover));
    assert_eq!(reply.to, Destination::Hardware(discover.mac, reply.yiaddr));
}

#[test]
fn a_client_that_renews_hears_it_at_its_address_whatever_it_flags() {
    let mut room = Room::with(NetworkMode::Server);
    let held = room.join(5).expect("an address");
    for renew in
        [Request { ciaddr: Some(held), ..request(MessageKind::Request, 5) }].map(|plain| [plain.clone(), broadcasting(plain)])
    {
        for renew in renew {
            assert_eq!(ack(room.ask(&renew)).to, Destination::Unicast(SocketAddrV4::new(held, 68)));
        }
    }
}

#[test]
fn an_old_address_of_a_discover_chooses_no_subnet() {
    let mut room = Room::with(NetworkMode::Server);
    let mut second = room.network().clone();
    second.subnet = "10.89.0.0/24".parse().expect("a subnet");
    second.range = Some((Ipv4Addr::new(10, 89, 0, 60), Ipv4Addr::new(10, 89, 0, 69)));
    room.table.networks.insert("second".parse().expect("a name"), second);
    let addresses = [SERVER, Ipv4Addr::new(10, 89, 0, 1)];
    let (table, leases) = (room.table.clone().into(), Leases::default());
    let offering =
        Offering { table: &table, loaders: &room.loaders, http: HttpState::Open, chainload_loops: &room.chainload_loops };
    let discover = Request { ciaddr: Some(Ipv4Addr::new(10, 89, 0, 7)), ..request(MessageKind::Discover, 5) };
    for destination in [Ipv4Addr::BROADCAST, SERVER] {
        let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
        let arrival = Arrival { interface: "eno1", addresses: &addresses, destination, source, port: Port::Dhcp };
        let reply =
            offer(decide(&discover, &arrival, offering, &leases, Timestamp::from_second(room.now).expect("a time")).answer);
        assert_eq!(reply.yiaddr.octets()[1], 88, "{destination}");
    }
}

#[test]
fn an_inform_that_a_relay_passed_on_is_answered_to_its_client() {
    let mut room = Room::with(NetworkMode::Server);
    let relay = ip(254);
    let inform = Request { giaddr: Some(relay), ciaddr: Some(ip(101)), ..request(MessageKind::Inform, 5) };
    let reply = ack(room.ask(&inform));
    assert_eq!((reply.to, reply.giaddr), (Destination::Unicast(SocketAddrV4::new(ip(101), 68)), relay), "RFC 2131 §4.3.5");
    // Without an address of its own: the packet's is the relay's.
    let nameless = Request { ciaddr: None, ..inform };
    let decision = room.at(Port::Dhcp, SocketAddrV4::new(relay, 67), &nameless);
    assert_eq!(decision.answer, Answer::Ignore(IgnoreReason::Unclear));

    let mut room = Room::with(NetworkMode::Server);
    room.network().subnet = "10.78.0.0/24".parse().expect("a subnet");
    room.network().relay = [Ipv4Addr::new(10, 78, 0, 254)].into();
    let windows = parse(&fixture!("windows-inform-relayed")).expect("it reads");
    assert_eq!(ack(room.ask(&windows)).to, Destination::Unicast(SocketAddrV4::new(Ipv4Addr::new(10, 78, 0, 101), 68)));
}

#[test]
fn a_proxys_acknowledgement_of_an_inform_goes_to_its_client_too() {
    let room = Room::with(NetworkMode::Proxy);
    let chosen = Request { boot_item: Some(vec![0x80, 0, 0, 0]), ciaddr: Some(ip(101)), ..firmware(MessageKind::Inform, 7) };
    let through = Request { giaddr: Some(ip(254)), ..chosen.clone() };
    for (port, source, request, to) in [
        (Port::Dhcp, SocketAddrV4::new(ip(101), 68), &chosen, SocketAddrV4::new(ip(101), 68)),
        (Port::Dhcp, SocketAddrV4::new(ip(254), 67), &through, SocketAddrV4::new(ip(101), 68)),
        (Port::BootServer, SocketAddrV4::new(ip(101), 4011), &chosen, SocketAddrV4::new(ip(101), 4011)),
        (Port::BootServer, SocketAddrV4::new(ip(254), 67), &through, SocketAddrV4::new(ip(101), 68)),
    ] {
        assert_eq!(ack(room.at(port, source, request).answer).to, Destination::Unicast(to), "{port:?} {source}");
    }
}

#[test]
fn a_relay_with_a_port_of_its_own_is_answered_there() {
    let mut packet = fixture!("relayed-dhcrelay-discover");
    let at = packet.windows(3).position(|bytes| bytes == [82, 4, 1]).expect("option 82");
    packet.truncate(at);
    packet.extend([82, 6, 1, 2, b'r', b'0', 19, 0, 255]);
    let discover = parse(&packet).expect("it reads");
    let room = Room::with(NetworkMode::Server);
    let from = SocketAddrV4::new(ip(9), 40_123);
    let reply = offer(room.at(Port::Dhcp, from, &discover).answer);
    assert_eq!(reply.to, Destination::Unicast(from), "RFC 8357");
    let usual = parse(&fixture!("relayed-dhcrelay-discover")).expect("it reads");
    assert_eq!(offer(room.at(Port::Dhcp, from, &usual).answer).to, Destination::Unicast(SocketAddrV4::new(ip(9), 67)));
}

#[test]
fn a_bootp_rom_gets_its_reservation_for_ever_and_nobody_else_does() {
    let mut room = Room::with(NetworkMode::Server);
    let mut bytes = fixture!("edk2-discover");
    bytes.truncate(240);
    bytes.push(255);
    bytes.resize(300, 0);
    let mut without_cookie = bytes.clone();
    without_cookie[236..].fill(0);
    for packet in [&bytes, &without_cookie] {
        let asks = parse(packet).expect("it reads");
        assert_eq!((asks.kind, classify(&asks)), (MessageKind::Bootp, Client::Bootp));
        let reply = ack(room.ask(&asks));
        assert_eq!((reply.yiaddr, reply.file.as_str(), reply.siaddr), (PC01_IP, "undionly.kpxe", SERVER));
        let sent = encode(&reply);
        assert_eq!((sent.len(), sent[0]), (300, 2), "a BOOTP client takes no more");
        for none in [options::MESSAGE_TYPE, options::SERVER_ID, options::LEASE_TIME] {
            assert!(!reply.options.contains_key(&none), "{none}");
        }
        assert_eq!(reply.options[&options::ROUTER], [10, 88, 0, 254]);
        assert_eq!(room.leases, Leases::default(), "what the site reserves needs no lease");
    }
    let stranger = Request { kind: MessageKind::Bootp, ..request(MessageKind::Discover, 9) };
    assert_eq!(room.ask(&stranger), Answer::Ignore(IgnoreReason::NotReserved));
    let beside = Room::with(NetworkMode::Proxy);
    let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
    let decision = beside.at(Port::Dhcp, source, &parse(&bytes).expect("it reads"));
    assert!(matches!(decision.answer, Answer::Ignore(_)), "{decision:?}");
}

#[test]
fn a_full_range_of_65536_costs_a_stranger_little_and_an_ended_lease_is_found() {
    let mut room = Room::with(NetworkMode::Server);
    room.network().subnet = "10.88.0.0/16".parse().expect("a subnet");
    room.network().range = Some((Ipv4Addr::new(10, 88, 0, 2), Ipv4Addr::new(10, 88, 255, 254)));
    let (first, last) = (u32::from(Ipv4Addr::new(10, 88, 0, 2)), u32::from(Ipv4Addr::new(10, 88, 255, 254)));
    let mac = |n: u32| MacAddr::from_octets([6, 0, 0, 0, (n >> 8) as u8, n as u8]).expect("a unicast address");
    for (n, ip) in (first..=last).map(Ipv4Addr::from).enumerate().filter(|(_, ip)| !matches!(ip.octets()[3], 0 | 255)) {
        room.leases.apply(LeaseChange::Bind { ip, mac: mac(n as u32), until: Timestamp::MAX, lasts: None, since: None });
    }
    let stranger = request(MessageKind::Discover, 9);
    assert!(matches!(room.ask(&stranger), Answer::Ignore(IgnoreReason::NoAddress(_))));
    let freed = Ipv4Addr::new(10, 88, 131, 77);
    room.leases.apply(LeaseChange::Release { ip: freed });
    // Reserved ones of its neighbours that a range never gives, and that a machine has.
    for last in [0, 255] {
        let ip = Ipv4Addr::new(10, 88, 131, last);
        room.leases.apply(LeaseChange::Bind { ip, mac: mac(u32::from(last)), until: Timestamp::MAX, lasts: None, since: None });
    }
    assert_eq!(offer(room.ask(&stranger)).yiaddr, freed, "never had before");
    let ended = Ipv4Addr::new(10, 88, 200, 3);
    let until = Timestamp::from_second(room.now - 1).expect("a time");
    room.leases.apply(LeaseChange::Bind { ip: ended, mac: mac(1), until, lasts: None, since: None });
    assert_eq!(offer(room.ask(&request(MessageKind::Discover, 10))).yiaddr, ended);
}
