//! Who is told no, who hears nothing, and what a conflict does.
//!
//! **Invariant:** every test names the client that would lose its address, or keep a wrong one, without it.

use super::*;

/// A machine of the site with two cards, both of pc01.
fn two_cards(room: &mut Room) -> [Request; 2] {
    let cards = [request(MessageKind::Discover, 1), request(MessageKind::Discover, 2)];
    let machine = room.table.machines.values_mut().next().expect("a machine");
    machine.macs = cards.iter().map(|card| card.mac).collect();
    cards
}

fn reboot(last: u8, wanted: Ipv4Addr) -> Request {
    Request { requested: Some(wanted), ..request(MessageKind::Request, last) }
}

/// As a client that renews: to our address, from its own.
fn renew(room: &mut Room, last: u8, held: Ipv4Addr) -> Answer {
    let request = Request { ciaddr: Some(held), ..request(MessageKind::Request, last) };
    let (addresses, source) = ([SERVER], SocketAddrV4::new(held, 68));
    let arrival = Arrival { interface: "eno1", addresses: &addresses, destination: SERVER, source, port: Port::Dhcp };
    let table = room.table.clone().into();
    let offering =
        Offering { table: &table, loaders: &room.loaders, http: HttpState::Open, chainload_loops: &room.chainload_loops };
    let decision = decide(&request, &arrival, offering, &room.leases, Timestamp::from_second(room.now).expect("a time"));
    decision.change.into_iter().for_each(|change| room.leases.apply(change));
    decision.answer
}

#[test]
fn a_stranger_that_asks_for_another_clients_address_is_told_no_and_not_left_waiting() {
    let mut room = Room::with(NetworkMode::Server);
    let held = room.join(1).expect("an address");
    for wanted in [held, PC01_IP] {
        let Answer::Nak(reply, NakReason::NotFree(_)) = room.ask(&reboot(2, wanted)) else { panic!("{wanted}: no refusal") };
        assert_eq!(reply.to, Destination::Broadcast);
        let bytes = encode(&reply);
        assert_eq!(bytes[10..28], [&[0x80, 0][..], &[0; 16]].concat(), "the broadcast bit, and no address at all");
        assert_eq!(bytes[240..249], [53, 1, 6, 54, 4, 10, 88, 0, 1], "DHCPNAK, and who says it");
    }
}

#[test]
fn a_visitor_from_a_subnet_that_is_not_ours_hears_nothing_c20() {
    let mut room = Room::with(NetworkMode::Server);
    let home = Ipv4Addr::new(192, 168, 1, 5);
    assert_eq!(room.ask(&reboot(3, home)), Answer::Ignore(IgnoreReason::UnknownLease(home)));
    // Of a subnet of ours on another interface it is known that it cannot work here.
    let mut other = room.network().clone();
    (other.subnet, other.interface) = ("192.168.1.0/24".parse().expect("a subnet"), "eno2".into());
    room.table.networks.insert("other".parse().expect("a name"), other.clone());
    assert!(matches!(room.ask(&reboot(3, home)), Answer::Nak(_, NakReason::OtherNetwork(_))));
    // Unless its addresses are another server's.
    other.mode = NetworkMode::Proxy;
    room.table.networks.insert("other".parse().expect("a name"), other);
    assert_eq!(room.ask(&reboot(3, home)), Answer::Ignore(IgnoreReason::UnknownLease(home)));
}

#[test]
fn an_ended_lease_is_given_again_to_who_had_it_and_refused_when_another_has_it() {
    let mut room = Room::with(NetworkMode::Server);
    let held = room.join(1).expect("an address");
    room.now += 2 * HOUR;
    assert_eq!(ack(room.ask(&reboot(1, held))).yiaddr, held);
    room.now += 2 * HOUR;
    let took: Vec<_> = (2..=5).filter_map(|mac| room.join(mac)).collect();
    assert!(took.contains(&held), "the range is full");
    assert!(matches!(room.ask(&reboot(1, held)), Answer::Nak(_, NakReason::NotFree(_))));
}

#[test]
fn a_client_that_renews_with_us_keeps_its_address_though_the_leases_were_lost() {
    let mut room = Room::with(NetworkMode::Server);
    let held = room.join(1).expect("an address");
    room.leases = Leases::default();
    assert_eq!(
        room.ask(&reboot(1, held)),
        Answer::Ignore(IgnoreReason::UnknownLease(held)),
        "RFC 2131 §4.3.2: MUST remain silent"
    );
    assert_eq!(ack(renew(&mut room, 1, held)).yiaddr, held);
    assert_eq!(ack(room.ask(&reboot(1, held))).yiaddr, held, "and is known again");
    // Another's address is refused all the same.
    assert!(matches!(renew(&mut room, 2, held), Answer::Nak(_, NakReason::NotFree(_))));
}

#[test]
fn words_for_another_server_free_nothing_and_quarantine_nothing() {
    let mut room = Room::with(NetworkMode::Server);
    let held = room.join(1).expect("an address");
    let other = Some(ip(254));
    let release = Request { ciaddr: Some(held), server_id: other, ..request(MessageKind::Release, 1) };
    let decline = Request { requested: Some(held), server_id: other, ..request(MessageKind::Decline, 1) };
    for foreign in [release, decline] {
        assert_eq!(room.ask(&foreign), Answer::Ignore(IgnoreReason::OtherServer(ip(254))));
    }
    assert_eq!(ack(renew(&mut room, 1, held)).yiaddr, held);
}

#[test]
fn a_declined_reservation_is_said_loudly_and_stays_the_machines() {
    let mut room = Room::with(NetworkMode::Server);
    let edk2 = parse(&fixture!("edk2-request")).expect("it reads");
    assert_eq!(ack(room.ask(&edk2)).yiaddr, PC01_IP);
    let decline = Request { kind: MessageKind::Decline, requested: Some(PC01_IP), ..edk2.clone() };
    assert_eq!(room.ask(&decline), Answer::Noted(Note::DeclinedReservation(PC01_IP)));
    assert_eq!(ack(room.ask(&edk2)).yiaddr, PC01_IP, "a machine without its address tells nobody why it does not boot");
    // Also where it was quarantined before it was reserved.
    room.leases.apply(LeaseChange::Quarantine { ip: PC01_IP, by: None, until: Timestamp::MAX });
    assert_eq!(ack(room.ask(&edk2)).yiaddr, PC01_IP);
}

impl Room {
    /// Nobody answers ARP for an address.
    fn fall_silent(&mut self, ip: Ipv4Addr) {
        let at = |second| Timestamp::from_second(second).expect("a time");
        self.leases.note_silence(ip, at(self.now), at(self.now + 30));
    }
}

#[test]
fn a_machine_that_boots_through_its_other_card_takes_its_address_along_once_the_first_is_silent() {
    let mut room = Room::with(NetworkMode::Server);
    let [first, second] = two_cards(&mut room);
    assert_eq!(room.join(1), Some(PC01_IP));
    // Its system runs with the first card and brings the second one up: two cards, two addresses.
    let beside = offer(room.ask(&second)).yiaddr;
    assert_ne!(beside, PC01_IP);
    room.ask(&Request { requested: Some(beside), server_id: Some(ip(254)), ..reboot(2, beside) });
    let boots = Request { mac: second.mac, ..firmware(MessageKind::Discover, 7) };
    let meanwhile = offer(room.ask(&boots)).yiaddr;
    assert_ne!(meanwhile, PC01_IP, "the first card may run on");
    // What it was offered it may take, though its own is free by now.
    room.fall_silent(PC01_IP);
    let take = |ip| Request { kind: MessageKind::Request, requested: Some(ip), server_id: Some(SERVER), ..boots.clone() };
    assert_eq!(ack(room.ask(&take(meanwhile))).yiaddr, meanwhile);
    assert_eq!(offer(room.ask(&boots)).yiaddr, PC01_IP);
    assert_eq!(ack(room.ask(&take(PC01_IP))).yiaddr, PC01_IP);
    assert_eq!(offer(room.ask(&second)).yiaddr, PC01_IP, "and its system keeps it");
    assert_ne!(offer(room.ask(&first)).yiaddr, PC01_IP);
    let stranger = Request { mac: request(MessageKind::Discover, 9).mac, ..firmware(MessageKind::Discover, 7) };
    assert_ne!(offer(room.ask(&stranger)).yiaddr, PC01_IP);
}

// openwrt/odhcpd PR 233, TechnitiumSoftware/DnsServer#717: several cards, one address; who has it while the first still runs?
#[test]
fn a_seat_that_runs_keeps_its_address_whatever_boots_in_the_name_of_its_other_card() {
    let mut room = Room::with(NetworkMode::Server);
    let [_, second] = two_cards(&mut room);
    assert_eq!(room.join(1), Some(PC01_IP));
    let boots = |kind| Request { mac: second.mac, ..firmware(kind, 7) };
    for _ in 0..20 {
        assert_ne!(offer(room.ask(&boots(MessageKind::Discover))).yiaddr, PC01_IP);
        let take = Request { requested: Some(PC01_IP), server_id: Some(SERVER), ..boots(MessageKind::Request) };
        assert!(matches!(room.ask(&take), Answer::Nak(_, NakReason::NotFree(_))));
        room.now += HOUR / 4;
        assert_eq!(ack(renew(&mut room, 1, PC01_IP)).yiaddr, PC01_IP);
    }
    // Though the first slept when it was asked after and the second has the lease: who renews from the address itself runs with it.
    room.fall_silent(PC01_IP);
    assert_eq!(offer(room.ask(&boots(MessageKind::Discover))).yiaddr, PC01_IP);
    let take = Request { requested: Some(PC01_IP), server_id: Some(SERVER), ..boots(MessageKind::Request) };
    assert_eq!(ack(room.ask(&take)).yiaddr, PC01_IP);
    assert_eq!(ack(renew(&mut room, 1, PC01_IP)).yiaddr, PC01_IP);
    assert!(matches!(renew(&mut room, 9, PC01_IP), Answer::Nak(..)), "another machine is refused it");
    // Without a range there is nothing to give meanwhile, and no refusal either: its ROM asks again.
    let mut room = Room::with(NetworkMode::Server);
    two_cards(&mut room);
    room.network().range = None;
    assert_eq!(room.join(1), Some(PC01_IP));
    assert!(matches!(room.ask(&boots(MessageKind::Discover)), Answer::Ignore(IgnoreReason::NoAddress(_))));
    room.fall_silent(PC01_IP);
    assert_eq!(offer(room.ask(&boots(MessageKind::Discover))).yiaddr, PC01_IP);
}

#[test]
fn inform_from_another_subnet_is_not_told_the_mask_of_this_one() {
    let mut room = Room::with(NetworkMode::Server);
    let elsewhere = Ipv4Addr::new(192, 168, 1, 5);
    let inform = Request { ciaddr: Some(elsewhere), ..request(MessageKind::Inform, 1) };
    assert_eq!(room.ask(&inform), Answer::Ignore(IgnoreReason::UnknownLease(elsewhere)));
}

#[test]
fn the_longest_message_a_client_takes_is_kept_to_c16() {
    let mut room = Room::with(NetworkMode::Server);
    room.network().dns = vec![SERVER; 8];
    room.network().domain = Some("x".repeat(200));
    for (said, most) in [(None, 548), (Some(100), 548), (Some(576), 548), (Some(1500), 1472)] {
        let asked = Request { max_message_size: said, ..firmware(MessageKind::Discover, 0) };
        let bytes = encode(&offer(room.ask(&asked)));
        assert!((300..=most).contains(&bytes.len()), "{said:?}: {} bytes", bytes.len());
        assert_eq!(bytes.len() > 548, said == Some(1500), "{said:?}: {} bytes", bytes.len());
    }
}
