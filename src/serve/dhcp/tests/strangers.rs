//! What clients that are not of the site may have, and what they may not keep from its machines.
//!
//! **Invariant:** every test names the machine of the site that would not boot, or the system that would lose its address, without it.

use super::*;

impl Room {
    /// Takes machines in that no address is reserved for.
    fn take_in(&mut self, cards: impl Iterator<Item = u8>) {
        let pc01 = self.table.machines.values().next().expect("a machine").clone();
        for card in cards {
            let machine = crate::boot::table::BootMachine {
                macs: vec![request(MessageKind::Discover, card).mac],
                ip: None,
                ..pc01.clone()
            };
            self.table.machines.insert(format!("pc{card}").parse().expect("a name"), machine);
        }
    }

    fn leased_until(&self, ip: Ipv4Addr) -> i64 {
        self.leases.holding(ip).expect("it is known").until().as_second() - self.now
    }
}

/// The n-th invented Ethernet address.
fn invented(kind: MessageKind, n: u16) -> Request {
    let [a, b] = n.to_be_bytes();
    Request { mac: MacAddr::from_octets([6, 0, 0, 0, a, b]).expect("a unicast address"), ..request(kind, 0) }
}

/// DISCOVER and REQUEST of an invented card.
fn join_invented(room: &mut Room, n: u16) -> Option<Ipv4Addr> {
    let Answer::Offer(offer) = room.ask(&invented(MessageKind::Discover, n)) else { return None };
    let take = Request { requested: Some(offer.yiaddr), server_id: Some(SERVER), ..invented(MessageKind::Request, n) };
    Some(ack(room.ask(&take)).yiaddr)
}

/// To our address, from another.
fn from(room: &mut Room, source: Ipv4Addr, request: &Request) -> Answer {
    let (addresses, source) = ([SERVER], SocketAddrV4::new(source, 68));
    let arrival = Arrival { interface: "eno1", addresses: &addresses, destination: SERVER, source, port: Port::Dhcp };
    let table = room.table.clone().into();
    let offering =
        Offering { table: &table, loaders: &room.loaders, http: HttpState::Open, chainload_loops: &room.chainload_loops };
    let decision = decide(request, &arrival, offering, &room.leases, Timestamp::from_second(room.now).expect("a time"));
    decision.change.into_iter().for_each(|change| room.leases.apply(change));
    decision.answer
}

fn seconds(reply: &Reply) -> u32 {
    u32::from_be_bytes(reply.options[&options::LEASE_TIME].as_slice().try_into().expect("four octets"))
}

/// GrapheneOS/os-issue-tracker#8552: telephones that invent an Ethernet address for each connection used up the pool of their network,
/// each address for a whole lease.
#[test]
fn cards_that_are_invented_by_the_hundred_leave_every_machine_of_the_site_an_address() {
    let mut room = Room::with(NetworkMode::Server);
    room.network().range = Some((ip(200), ip(219)));
    room.take_in(1..=8);
    let got = (0..300).filter_map(|n| join_invented(&mut room, n)).count();
    assert_eq!(got, 12, "eight are kept for the eight machines");
    let mine: Vec<_> = (1..=8).filter_map(|card| room.join(card)).collect();
    assert_eq!(mine.len(), 8, "{mine:?}");
    assert!((301..400).all(|n| join_invented(&mut room, n).is_none()));
    // Whoever left does not keep its address for an hour.
    room.now += 601;
    assert_eq!((400..500).filter_map(|n| join_invented(&mut room, n)).count(), 12);
    assert!(mine.iter().all(|ip| room.leased_until(*ip) > HOUR / 2), "{:?}", room.leases);
}

#[test]
fn a_range_is_strangers_whole_where_every_machine_has_a_reservation_and_half_of_it_at_least_where_none_has() {
    let mut room = Room::with(NetworkMode::Server);
    assert_eq!((0..9).filter_map(|n| join_invented(&mut room, n)).count(), 4);
    let mut room = Room::with(NetworkMode::Server);
    room.take_in(1..=100);
    assert_eq!((0..9).filter_map(|n| join_invented(&mut room, n)).count(), 2);
}

#[test]
fn a_strangers_first_lease_is_short_and_the_one_it_renews_is_whole() {
    let mut room = Room::with(NetworkMode::Server);
    let reply = offer(room.ask(&request(MessageKind::Discover, 9)));
    assert_eq!(seconds(&reply), 600);
    let held = room.join(9).expect("an address");
    assert_eq!(room.leased_until(held), 600);
    // The next stage of the same boot, at once.
    room.now += 20;
    assert_eq!((room.join(9), room.leased_until(held)), (Some(held), 600));
    let renew = Request { ciaddr: Some(held), ..request(MessageKind::Request, 9) };
    assert_eq!(seconds(&ack(room.ask(&renew))), 600, "whoever asks twice at once has not stayed");
    room.now += 300;
    let reply = ack(room.ask(&renew));
    assert_eq!((seconds(&reply), room.leased_until(held)), (3600, HOUR));
    room.now += 1800;
    assert_eq!(seconds(&ack(room.ask(&renew))), 3600, "and stays so");
    // A machine of the site is known.
    assert_eq!(seconds(&offer(room.ask(&parse(&fixture!("edk2-discover")).expect("it reads")))), 3600);
}

#[test]
fn a_stranger_takes_only_what_it_was_offered() {
    let mut room = Room::with(NetworkMode::Server);
    for last in 200..=203 {
        let take = Request { requested: Some(ip(last)), server_id: Some(SERVER), ..request(MessageKind::Request, last) };
        assert!(matches!(room.ask(&take), Answer::Nak(_, NakReason::NotFree(_))), "{last}");
        // As if it had held it before the leases were lost: not from that address, and so not true.
        let renew = Request { ciaddr: Some(ip(last)), ..request(MessageKind::Request, last) };
        assert_eq!(from(&mut room, ip(77), &renew), Answer::Ignore(IgnoreReason::UnknownLease(ip(last))));
    }
    assert!(room.leases.is_empty());
    // A machine of the site was offered its address before this service was restarted.
    room.take_in(1..=1);
    let take = Request { requested: Some(ip(203)), server_id: Some(SERVER), ..request(MessageKind::Request, 1) };
    assert_eq!(ack(room.ask(&take)).yiaddr, ip(203));
    // Another's offer is nobody else's.
    let offered = offer(room.ask(&request(MessageKind::Discover, 20))).yiaddr;
    let take = |card| Request { requested: Some(offered), server_id: Some(SERVER), ..request(MessageKind::Request, card) };
    assert!(matches!(room.ask(&take(21)), Answer::Nak(..)));
    assert_eq!(ack(room.ask(&take(20))).yiaddr, offered);
    // Nor does one that is known take a second one by renewing what it never had.
    room.now += 601;
    let free = (200..=202).map(ip).find(|ip| *ip != offered).expect("there are three");
    let renew = |held| Request { ciaddr: Some(held), ..request(MessageKind::Request, 20) };
    assert!(matches!(from(&mut room, free, &renew(free)), Answer::Nak(_, NakReason::NotFree(_))));
    assert_eq!(ack(from(&mut room, offered, &renew(offered))).yiaddr, offered, "but what it had");
}

#[test]
fn a_machine_of_the_site_takes_what_a_stranger_was_offered_or_does_not_use_and_nothing_else() {
    let mut room = Room::with(NetworkMode::Server);
    room.take_in(1..=5);
    let leased = room.join(50).expect("an address");
    let offered = offer(room.ask(&request(MessageKind::Discover, 51))).yiaddr;
    assert!((1..=2).all(|card| room.join(card).is_some()), "what is kept for them");
    let no_address = Answer::Ignore(IgnoreReason::NoAddress("lan".parse().expect("a name")));
    assert_eq!(room.ask(&request(MessageKind::Discover, 52)), no_address, "a stranger takes nothing from another");
    assert_eq!(room.join(3), Some(offered));
    let take = Request { requested: Some(offered), server_id: Some(SERVER), ..request(MessageKind::Request, 51) };
    assert!(matches!(room.ask(&take), Answer::Nak(_, NakReason::NotFree(_))), "and asks again");
    // Whether the stranger uses what it leases only ARP can tell.
    let discover = request(MessageKind::Discover, 4);
    assert_eq!(room.ask(&discover), no_address);
    let silent = |room: &mut Room, ip| {
        let [now, soon] = [0, 30].map(|later| Timestamp::from_second(room.now + later).expect("a time"));
        room.leases.note_silence(ip, now, soon);
    };
    silent(&mut room, leased);
    assert_eq!(room.ask(&request(MessageKind::Discover, 52)), no_address, "nor by its silence");
    room.leases.note_sign(leased);
    assert_eq!(room.ask(&discover), no_address, "it answers after all");
    silent(&mut room, leased);
    room.now += 31;
    assert_eq!(room.ask(&discover), no_address, "that was long ago");
    silent(&mut room, leased);
    assert_eq!(room.join(4), Some(leased));
    let renew = Request { ciaddr: Some(leased), ..request(MessageKind::Request, 50) };
    assert!(matches!(room.ask(&renew), Answer::Nak(_, NakReason::NotFree(_))));
    // What another machine of the site has leased stays its own, however silent it is.
    [leased, offered].into_iter().for_each(|ip| silent(&mut room, ip));
    assert_eq!(room.ask(&request(MessageKind::Discover, 5)), no_address);
}

#[test]
fn a_stranger_that_runs_keeps_its_address_when_machines_are_taken_in_later() {
    let mut room = Room::with(NetworkMode::Server);
    let held: Vec<_> = (50..54).map(|card| room.join(card).expect("an address")).collect();
    room.take_in(1..=4);
    room.now += 300;
    for (card, held) in (50..54).zip(&held) {
        let renew = Request { ciaddr: Some(*held), ..request(MessageKind::Request, card) };
        assert_eq!(ack(room.ask(&renew)).yiaddr, *held);
        assert_eq!(room.join(card), Some(*held), "nor does it lose it by a reboot");
    }
}

/// The Ethernet addresses of machines that have a reservation show in every ARP request of the room; in their names somebody took the
/// range for twelve hours.
#[test]
fn nobody_takes_the_range_in_the_names_of_machines_that_have_an_address_of_their_own() {
    let mut room = Room::with(NetworkMode::Server);
    room.take_in(1..=4);
    for (card, last) in (1..=4).zip(110..) {
        let name = format!("pc{card}").parse().expect("a name");
        room.table.machines.get_mut(&name).expect("it was taken in").ip = Some(ip(last));
    }
    room.take_in(5..=6);
    for (card, last) in (1..=4).zip(200..) {
        let take = Request { requested: Some(ip(last)), server_id: Some(SERVER), ..request(MessageKind::Request, card) };
        assert!(matches!(room.ask(&take), Answer::Nak(_, NakReason::NotFree(_))), "{last}");
        let reboot = Request { requested: Some(ip(last)), ..request(MessageKind::Request, card) };
        assert!(matches!(room.ask(&reboot), Answer::Nak(_, NakReason::NotFree(_))), "{last}");
        let renew = Request { ciaddr: Some(ip(last)), ..request(MessageKind::Request, card) };
        assert!(matches!(from(&mut room, ip(77), &renew), Answer::Nak(_, NakReason::NotFree(_))), "{last}");
    }
    assert!(room.leases.is_empty(), "{:?}", room.leases);
    assert!((5..=6).all(|card| room.join(card).is_some()));
    // One that runs with an address of the range from before keeps it, though its lease was lost; and while it answers ARP.
    let running = (200..=203).map(ip).find(|ip| room.leases.holding(*ip).is_none()).expect("two are left");
    let renew = Request { ciaddr: Some(running), ..request(MessageKind::Request, 1) };
    assert_eq!(ack(from(&mut room, running, &renew)).yiaddr, running);
    assert!(room.join(50).is_some(), "a stranger has the last one");
    room.take_in(7..=7);
    let discover = request(MessageKind::Discover, 7);
    assert!(matches!(room.ask(&discover), Answer::Ignore(IgnoreReason::NoAddress(_))));
    let [now, soon] = [0, 30].map(|later| Timestamp::from_second(room.now + later).expect("a time"));
    room.leases.note_silence(running, now, soon);
    assert_eq!(offer(room.ask(&discover)).yiaddr, running, "which nobody uses");
}
