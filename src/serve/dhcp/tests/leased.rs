//! Which address a client gets and keeps, in the four states of RFC 2131.
//!
//! **Invariant:** every test names the address that would be lost or given twice without it.

use super::*;

#[test]
fn one_machine_keeps_one_address_whatever_its_stages_call_themselves_c18() {
    let mut room = Room::with(NetworkMode::Server);
    let first = room.join(9);
    for client_id in [None, Some(vec![1, 2, 0, 0, 0, 0, 9]), Some(vec![255, 1, 2, 3, 4, 0, 1])] {
        let discover = Request { client_id: client_id.clone(), ..request(MessageKind::Discover, 9) };
        let reply = offer(room.ask(&discover));
        assert_eq!(
            (Some(reply.yiaddr), reply.options.get(&options::CLIENT_ID)),
            (first, client_id.as_ref()),
            "echoed (RFC 6842)"
        );
    }
    assert_eq!(room.leases.len(), 1);
}

#[test]
fn a_reservation_is_given_to_its_machine_and_to_nobody_else() {
    let mut room = Room::with(NetworkMode::Server);
    room.network().range = Some((ip(100), ip(102)));
    let others: Vec<_> = (1..=3).map(|mac| room.join(mac)).collect();
    assert!(others.iter().flatten().all(|got| *got != PC01_IP), "{others:?}");
    assert_eq!(others.iter().flatten().count(), 2, "two of three are left");
    let edk2 = parse(&fixture!("edk2-discover")).expect("it reads");
    assert_eq!(offer(room.ask(&edk2)).yiaddr, PC01_IP);
}

#[test]
fn the_range_leaves_out_what_is_the_servers_or_the_subnets_c19() {
    let mut room = Room::with(NetworkMode::Server);
    room.network().subnet = "10.88.0.0/23".parse().expect("a subnet");
    room.network().range = Some((Ipv4Addr::new(10, 88, 0, 252), Ipv4Addr::new(10, 88, 1, 2)));
    room.table.tftp_address = Ipv4Addr::new(10, 88, 0, 253);
    let mut got: Vec<_> = (1..=9).filter_map(|mac| room.join(mac)).collect();
    got.sort();
    // .253 is ours, .254 the router, .255 and .0 are refused by old systems whatever the mask is.
    assert_eq!(got, [Ipv4Addr::new(10, 88, 0, 252), Ipv4Addr::new(10, 88, 1, 1), Ipv4Addr::new(10, 88, 1, 2)]);
}

#[test]
fn a_full_range_takes_the_address_whose_lease_ended() {
    let mut room = Room::with(NetworkMode::Server);
    let got: Vec<_> = (1..=4).map(|mac| room.join(mac)).collect();
    assert!(got.iter().all(Option::is_some));
    assert_eq!(
        room.ask(&request(MessageKind::Discover, 5)),
        Answer::Ignore(IgnoreReason::NoAddress("lan".parse().expect("a name")))
    );
    room.now += HOUR;
    assert!(room.join(5).is_some());
}

#[test]
fn a_client_that_chose_another_server_frees_our_offer() {
    let mut room = Room::with(NetworkMode::Server);
    let offered = offer(room.ask(&request(MessageKind::Discover, 3))).yiaddr;
    let other = Request { requested: Some(ip(50)), server_id: Some(ip(254)), ..request(MessageKind::Request, 3) };
    assert_eq!(room.ask(&other), Answer::Ignore(IgnoreReason::OtherServer(ip(254))));
    assert_eq!(room.leases.holding(offered), None);
}

#[test]
fn a_rebooted_machine_is_told_no_when_its_address_is_not_its_own_any_more() {
    let mut room = Room::with(NetworkMode::Server);
    let pc01 = parse(&fixture!("edk2-discover")).expect("it reads");
    let reboot = |ip| Request { kind: MessageKind::Request, requested: Some(ip), ..pc01.clone() };
    assert_eq!(ack(room.ask(&reboot(PC01_IP))).yiaddr, PC01_IP);
    let Answer::Nak(reply, NakReason::NotFree(_)) = room.ask(&reboot(ip(200))) else { panic!("no refusal") };
    assert_eq!((reply.to, reply.yiaddr), (Destination::Broadcast, Ipv4Addr::UNSPECIFIED), "C15");
    let Answer::Nak(_, NakReason::OtherNetwork(_)) = room.ask(&reboot(Ipv4Addr::new(192, 168, 1, 5))) else {
        panic!("no refusal")
    };
    let stranger = Request { requested: Some(ip(201)), ..request(MessageKind::Request, 8) };
    assert_eq!(room.ask(&stranger), Answer::Ignore(IgnoreReason::UnknownLease(ip(201))), "maybe another server's");
}

#[test]
fn a_running_machine_keeps_its_address_when_the_site_gives_it_another() {
    let mut room = Room::with(NetworkMode::Server);
    let before = room.join(6).expect("an address");
    let mac = request(MessageKind::Request, 6).mac;
    let machine = room.table.machines.values_mut().next().expect("a machine");
    (machine.macs, machine.ip) = (vec![mac], Some(ip(150)));
    room.now += HOUR / 2;
    let renew = Request { ciaddr: Some(before), ..request(MessageKind::Request, 6) };
    let reply = ack(room.ask(&renew));
    assert_eq!((reply.yiaddr, reply.to), (before, Destination::Unicast(SocketAddrV4::new(before, 68))));
    assert_eq!(room.join(6), Some(ip(150)), "and starts with the new one");
}

#[test]
fn a_renewal_of_what_another_holds_is_refused() {
    let mut room = Room::with(NetworkMode::Server);
    let (first, second) = (room.join(1).expect("an address"), room.join(2).expect("an address"));
    let renew = Request { ciaddr: Some(second), ..request(MessageKind::Request, 1) };
    assert!(matches!(room.ask(&renew), Answer::Nak(_, NakReason::NotFree(_))));
    assert_ne!(first, second);
}

#[test]
fn only_the_holder_may_give_back_or_decline() {
    let mut room = Room::with(NetworkMode::Server);
    let held = room.join(1).expect("an address");
    for (kind, thief) in [(MessageKind::Release, Some(held)), (MessageKind::Decline, None)] {
        let from_other = Request { ciaddr: thief, requested: Some(held), ..request(kind, 2) };
        assert_eq!(room.ask(&from_other), Answer::Ignore(IgnoreReason::UnknownLease(held)));
    }
    let decline = Request { requested: Some(held), server_id: Some(SERVER), ..request(MessageKind::Decline, 1) };
    assert_eq!(room.ask(&decline), Answer::Noted(Note::Declined(held)));
    let mut given: Vec<_> = (1..=9).filter_map(|mac| room.join(mac)).collect();
    assert!(!given.contains(&held), "an address somebody else uses is given to nobody (C19)");
    room.now += 2 * HOUR;
    given = (20..=23).filter_map(|mac| room.join(mac)).collect();
    assert!(given.contains(&held), "for a while");
    let release = Request { ciaddr: Some(given[0]), ..request(MessageKind::Release, 20) };
    assert_eq!(room.ask(&release), Answer::Noted(Note::Released(given[0])));
    assert_eq!(room.leases.holding(given[0]), None);
}

#[test]
fn inform_is_answered_without_a_lease() {
    let mut room = Room::with(NetworkMode::Server);
    let answer = room.ask(&Request { ciaddr: Some(ip(77)), ..request(MessageKind::Inform, 1) });
    assert_eq!(service_name(&answer, Port::Dhcp), "dhcp", "not a proxy's, though it gives no address");
    let reply = ack(answer);
    assert_eq!((reply.yiaddr, reply.to), (Ipv4Addr::UNSPECIFIED, Destination::Unicast(SocketAddrV4::new(ip(77), 68))));
    assert!(!reply.options.contains_key(&options::LEASE_TIME));
    assert!(room.leases.is_empty());
}

#[test]
fn an_offer_is_not_journalled_and_a_lease_is() {
    let mut room = Room::with(NetworkMode::Server);
    let discover = room.at(Port::Dhcp, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68), &request(MessageKind::Discover, 1));
    assert!(matches!(discover.change, Some(change @ LeaseChange::Offer { .. }) if !change.is_durable()));
    room.join(1);
    assert_eq!(room.leases.changes().count(), 1);
    assert!(room.leases.changes().all(LeaseChange::is_durable));
}
