//! Duplicate addresses and second servers: what is believed, what is done, what is said.
//!
//! **Invariant:** every test names the café that would stand still, or the duplicate that would stay unseen, without it.

use super::*;
use crate::{
    serve::dhcp::{
        address_conflict::{AddressConflicts, Conflict},
        allocate::Allocation,
        arp::Claim,
        leases::Holding,
        rogue_server::{ModeConflict, find_mode_conflicts},
        server_reply::{Said, parse_reply},
    },
    transcript::{SERVERS_KEPT, ServerKind, Transcript},
};
use std::collections::BTreeSet;

fn mac(last: u8) -> MacAddr {
    MacAddr::from_octets([2, 0, 0, 0, 0, last]).expect("a unicast address")
}

impl Room {
    /// Somebody claims an address, and what shows changes the leases.
    fn claim(&mut self, conflicts: &mut AddressConflicts, ip: Ipv4Addr, mac: MacAddr) -> Option<Conflict> {
        let addresses = [SERVER];
        let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let arrival =
            Arrival { interface: "eno1", addresses: &addresses, destination: Ipv4Addr::BROADCAST, source, port: Port::Dhcp };
        let network = self.table.networks.values().next().expect("one network");
        let now = Timestamp::from_second(self.now).expect("a time");
        let table = self.table.clone().into();
        let allocation =
            Allocation { table: &table, network, arrival: &arrival, leases: &self.leases, client: Client::Plain, mac, now };
        let conflict = conflicts.judge(Claim { ip, mac }, &allocation);
        conflict.and_then(|conflict| conflict.change(now)).into_iter().for_each(|change| self.leases.apply(change));
        conflict
    }
}

#[test]
fn a_squatted_address_is_offered_to_nobody_but_who_uses_it() {
    let (mut room, mut conflicts) = (Room::with(NetworkMode::Server), AddressConflicts::default());
    for last in [200, 201] {
        let conflict = room.claim(&mut conflicts, ip(last), mac(90)).expect("a conflict");
        assert!(matches!(conflict, Conflict::Unassigned { .. }) && conflict.concerns() == mac(90), "{conflict}");
        assert_eq!(room.claim(&mut conflicts, ip(last), mac(90)), None, "said once while it is withheld");
    }
    let got: Vec<_> = (1..=4).filter_map(|last| room.join(last)).collect();
    assert_eq!(got.iter().collect::<BTreeSet<_>>(), [ip(202), ip(203)].iter().collect());
    let wanted = Request { requested: Some(ip(200)), ..request(MessageKind::Discover, 90) };
    assert_eq!(offer(room.ask(&wanted)).yiaddr, ip(200), "its own");
    room.now += 601;
    assert!(room.claim(&mut conflicts, ip(201), mac(90)).is_some(), "seen again, said again");
}

#[test]
fn an_offer_that_shows_to_be_a_duplicate_before_it_is_taken_is_refused_and_another_is_found() {
    let (mut room, mut conflicts) = (Room::with(NetworkMode::Server), AddressConflicts::default());
    let offered = offer(room.ask(&request(MessageKind::Discover, 1))).yiaddr;
    assert!(matches!(room.claim(&mut conflicts, offered, mac(90)), Some(Conflict::Unassigned { .. })));
    let take = Request { requested: Some(offered), server_id: Some(SERVER), ..request(MessageKind::Request, 1) };
    assert!(matches!(room.ask(&take), Answer::Nak(_, NakReason::NotFree(_))));
    assert!(room.join(1).is_some_and(|other| other != offered));
}

#[test]
fn holders_and_their_own_addresses_are_no_conflict() {
    let (mut room, mut conflicts) = (Room::with(NetworkMode::Server), AddressConflicts::default());
    let held = room.join(1).expect("an address");
    assert_eq!(room.claim(&mut conflicts, held, mac(1)), None);
    room.now += 2 * HOUR;
    assert!(
        matches!(room.claim(&mut conflicts, held, mac(1)), Some(Conflict::Overdue { .. })),
        "it does not renew, and works on"
    );
    assert!(
        matches!(room.leases.live(held, Timestamp::from_second(room.now).expect("a time")), Some(Holding::Quarantined { by: Some(by), .. }) if by == mac(1))
    );
    let pc01 = "88:ae:dd:05:08:fa".parse().expect("an address");
    for (claimed, by) in
        [(PC01_IP, pc01), (SERVER, mac(9)), (ip(254), mac(9)), (ip(77), mac(9)), (Ipv4Addr::new(1, 2, 3, 4), mac(9))]
    {
        assert_eq!(room.claim(&mut conflicts, claimed, by), None, "{claimed}");
    }
}

#[test]
fn a_leased_or_reserved_address_in_two_hands_is_said_and_never_withheld() {
    let (mut room, mut conflicts) = (Room::with(NetworkMode::Server), AddressConflicts::default());
    let held = room.join(1).expect("an address");
    let conflict = room.claim(&mut conflicts, held, mac(90)).expect("a conflict");
    assert!(matches!(conflict, Conflict::Lease { owner, .. } if owner == mac(1)), "{conflict}");
    let conflict = room.claim(&mut conflicts, PC01_IP, mac(90)).expect("a conflict");
    assert_eq!(
        conflict.to_string(),
        "02:00:00:00:00:5a uses 10.88.0.101, which is reserved for this machine: find it and give it another"
    );
    assert_eq!(conflict.concerns().to_string(), "88:ae:dd:05:08:fa");
    assert!(room.claim(&mut conflicts, PC01_IP, mac(90)).is_none(), "not with every packet");
    room.now += 600;
    assert!(room.claim(&mut conflicts, PC01_IP, mac(90)).is_some(), "but again after a while");
    assert_eq!(room.join(1), Some(held));
    assert_eq!(offer(room.ask(&parse(&fixture!("edk2-discover")).expect("it reads"))).yiaddr, PC01_IP);
}

#[test]
fn cards_by_the_thousand_that_claim_a_machines_address_are_said_of_it_a_few_times() {
    let (mut room, mut conflicts) = (Room::with(NetworkMode::Server), AddressConflicts::default());
    let held = room.join(1).expect("an address");
    let invented = |n: u16| {
        let [a, b] = n.to_be_bytes();
        MacAddr::from_octets([6, 0, 0, 0, a, b]).expect("a unicast address")
    };
    let renew = Request { ciaddr: Some(held), ..request(MessageKind::Request, 1) };
    for _ in 0..2 {
        room.now += 300;
        ack(room.ask(&renew));
        for claimed in [PC01_IP, held] {
            let said = (0..1500).filter_map(|n| room.claim(&mut conflicts, claimed, invented(n))).count();
            assert_eq!(said, 3, "{claimed}");
        }
        room.now += 600;
    }
    // Whoever claims all addresses of a large site does not make what is remembered forget what was said.
    let mut machines = room.table.machines.clone();
    let pc01 = machines.values().next().expect("a machine").clone();
    room.network().subnet = "10.88.0.0/16".parse().expect("a subnet");
    let reserved = |n: u16| Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 88, 4, 0)) + u32::from(n));
    for n in 0..1000 {
        let machine = crate::boot::table::BootMachine { macs: vec![invented(5000 + n)], ip: Some(reserved(n)), ..pc01.clone() };
        machines.insert(format!("m{n}").parse().expect("a name"), machine);
    }
    room.table.machines = machines;
    let said = (0..3000).filter_map(|n| room.claim(&mut conflicts, reserved(n % 1000), invented(n % 7))).count();
    assert!(said <= 3 * 256, "{said}");
}

/// AdguardTeam/AdGuardHome#6166 and opnsense/core#10869: a server gave away an address that a host on the wire used without having
/// asked for it, since only its own leases were looked at.
#[test]
fn an_address_that_somebody_uses_unasked_is_given_to_nobody_though_it_is_the_last_one() {
    let (mut room, mut conflicts) = (Room::with(NetworkMode::Server), AddressConflicts::default());
    let used = ip(202);
    let full = Answer::Ignore(IgnoreReason::NoAddress("lan".parse().expect("a name")));
    for minute in 0..60 {
        room.claim(&mut conflicts, used, mac(90));
        let got: Vec<_> = (1..=9).filter_map(|card| room.join(card)).collect();
        assert!(got.len() == 3 && !got.contains(&used), "minute {minute}: {got:?}");
        assert_eq!(room.ask(&Request { requested: Some(used), ..request(MessageKind::Discover, 10) }), full);
        room.now += 60;
    }
}

/// systemd/systemd#14610 and xcat2/xcat-core#1972: a system that boots with the address of its initramfs never renews it, its lease
/// ends, and the server gave the address to the next machine while the first worked on with its disk behind it.
#[test]
fn a_system_that_never_renews_keeps_its_address_for_as_long_as_it_answers() {
    let (mut room, mut conflicts) = (Room::with(NetworkMode::Server), AddressConflicts::default());
    room.table.machines.values_mut().for_each(|machine| (machine.macs, machine.ip) = (vec![mac(1)], None));
    let held = [1, 2].map(|card| room.join(card).expect("an address"));
    for minute in 0..24 * 60 {
        for (card, ip) in [1, 2].into_iter().zip(held) {
            room.claim(&mut conflicts, ip, mac(card));
        }
        let newcomer = 10 + (minute % 200) as u8;
        if let Some(got) = room.join(newcomer) {
            assert!(!held.contains(&got), "minute {minute}: {got} is at work");
        }
        room.now += 60;
    }
    // It comes back to it, and when it has left the site and is silent at last, others get it.
    assert_eq!(room.join(1), Some(held[0]));
    room.table.machines.clear();
    room.now += 2 * HOUR;
    let got: Vec<_> = (20..=23).filter_map(|card| room.join(card)).collect();
    assert_eq!(got.len(), 4, "{got:?}");
}

#[test]
fn an_address_that_others_give_back_or_decline_in_a_machines_name_stays_its_own_while_it_answers() {
    let release = |held| Request { ciaddr: Some(held), server_id: Some(SERVER), ..request(MessageKind::Release, 1) };
    let decline = |held| Request { requested: Some(held), server_id: Some(SERVER), ..request(MessageKind::Decline, 1) };
    for (forged, note) in
        [(&release as &dyn Fn(Ipv4Addr) -> Request, Note::Released as fn(Ipv4Addr) -> Note), (&decline, Note::Declined)]
    {
        let (mut room, mut conflicts) = (Room::with(NetworkMode::Server), AddressConflicts::default());
        room.table.machines.values_mut().for_each(|machine| (machine.macs, machine.ip) = (vec![mac(1)], None));
        let held = room.join(1).expect("an address");
        assert_eq!(room.ask(&forged(held)), Answer::Noted(note(held)));
        let thief = Request { requested: Some(held), ..request(MessageKind::Discover, 66) };
        assert_ne!(offer(room.ask(&thief)).yiaddr, held);
        // It is asked after, and answers; and again for as long as it runs.
        for _ in 0..20 {
            room.claim(&mut conflicts, held, mac(1));
            room.now += 50;
            assert_ne!(offer(room.ask(&thief)).yiaddr, held);
        }
        let renew = Request { ciaddr: Some(held), ..request(MessageKind::Request, 1) };
        assert_eq!(ack(room.ask(&renew)).yiaddr, held, "{note:?}", note = note(held));
        assert_eq!(room.join(1), Some(held));
    }
}

#[test]
fn what_a_machine_gave_back_is_others_soon_and_first_of_all_its_own() {
    let mut room = Room::with(NetworkMode::Server);
    room.table.machines.values_mut().for_each(|machine| (machine.macs, machine.ip) = (vec![mac(1)], None));
    let held = room.join(1).expect("an address");
    room.ask(&Request { ciaddr: Some(held), ..request(MessageKind::Release, 1) });
    assert_eq!(room.join(1), Some(held), "it was started again");
    room.ask(&Request { ciaddr: Some(held), ..request(MessageKind::Release, 1) });
    room.now += 61;
    room.table.machines.clear();
    let got: Vec<_> = (10..=19).filter_map(|card| room.join(card)).collect();
    assert!(got.len() == 4 && got.contains(&held), "{got:?}");
}

#[test]
fn a_decline_long_after_the_address_was_taken_is_not_the_clients_own() {
    let mut room = Room::with(NetworkMode::Server);
    let held = room.join(1).expect("an address");
    room.now += 61;
    let decline = Request { requested: Some(held), server_id: Some(SERVER), ..request(MessageKind::Decline, 1) };
    assert_eq!(room.ask(&decline), Answer::Ignore(IgnoreReason::LateDecline(held)));
    // Whoever declines in its name can have its lease renewed, and its address given to it once more.
    let renew = Request { ciaddr: Some(held), ..request(MessageKind::Request, 1) };
    assert_eq!(ack(room.ask(&renew)).yiaddr, held);
    assert_eq!(room.ask(&decline), Answer::Ignore(IgnoreReason::LateDecline(held)));
    assert_eq!(room.join(1), Some(held));
    assert_eq!(room.ask(&decline), Answer::Ignore(IgnoreReason::LateDecline(held)));
    assert_eq!(ack(room.ask(&renew)).yiaddr, held);
    // Of a lease that an older version gave it is not known when it was given.
    for lasts in [None, Some(jiff::SignedDuration::from_secs(600))] {
        let until = Timestamp::from_second(room.now + 500).expect("a time");
        room.leases.apply(LeaseChange::Bind { ip: held, mac: mac(1), until, lasts, since: None });
        assert_eq!(room.ask(&decline), Answer::Ignore(IgnoreReason::LateDecline(held)), "{lasts:?}");
        assert_eq!(ack(room.ask(&renew)).yiaddr, held);
        assert_eq!(room.ask(&decline), Answer::Ignore(IgnoreReason::LateDecline(held)), "{lasts:?}");
    }
}

#[test]
fn a_decline_that_has_a_source_is_another_hosts() {
    let mut room = Room::with(NetworkMode::Server);
    let held = room.join(1).expect("an address");
    let decline = Request { requested: Some(held), server_id: Some(SERVER), ..request(MessageKind::Decline, 1) };
    for from in [ip(9), held] {
        assert_eq!(room.ask_from(from, &decline), Answer::Ignore(IgnoreReason::ForeignDecline { ip: held, from }));
    }
    assert_eq!(room.join(1), Some(held));
}

/// opnsense/core#10285: a client that declined whatever it was given used up 91 addresses, and others found the pool empty.
#[test]
fn a_client_that_declines_all_it_is_given_keeps_four_addresses_from_others_and_for_seconds() {
    let mut room = Room::with(NetworkMode::Server);
    room.network().range = Some((ip(200), ip(239)));
    let decline = |held, card| Request { requested: Some(held), server_id: Some(SERVER), ..request(MessageKind::Decline, card) };
    for _ in 0..60 {
        let held = room.join(1).expect("an address is always free");
        assert!(matches!(room.ask(&decline(held, 1)), Answer::Noted(Note::Declined(_) | Note::DeclinedTooOften(_))));
    }
    let now = |room: &Room| Timestamp::from_second(room.now).expect("a time");
    let withheld = |room: &Room| (200..=239).filter(|last| room.leases.live(ip(*last), now(room)).is_some()).count();
    assert_eq!(withheld(&room), 4);
    // And many cards a quarter of the range.
    for card in 2..=60 {
        let held = room.join(card).expect("an address is always free");
        room.ask(&decline(held, card));
    }
    assert_eq!(withheld(&room), 10);
    assert!((100..130).all(|card| room.join(card).is_some()), "thirty are left");
    room.now += 11;
    assert!((130..140).all(|card| room.join(card).is_some()), "nobody answered for the others");
}

#[test]
fn a_declined_address_that_somebody_answers_for_is_withheld_on() {
    let (mut room, mut conflicts) = (Room::with(NetworkMode::Server), AddressConflicts::default());
    let held = room.join(1).expect("an address");
    room.ask(&Request { requested: Some(held), server_id: Some(SERVER), ..request(MessageKind::Decline, 1) });
    let now = Timestamp::from_second(room.now).expect("a time");
    assert_eq!(AddressConflicts::next_withheld(&room.leases, (ip(200), ip(203)), now), [held], "it is asked after");
    assert!(matches!(room.claim(&mut conflicts, held, mac(90)), Some(Conflict::Unassigned { .. })));
    room.now += 60;
    let got: Vec<_> = (1..=4).filter_map(|card| room.join(card)).collect();
    assert!(got.len() == 3 && !got.contains(&held), "{got:?}");
}

#[test]
fn a_router_that_answers_arp_for_everybody_does_not_take_the_range() {
    let (mut room, mut conflicts) = (Room::with(NetworkMode::Server), AddressConflicts::default());
    room.network().range = Some((ip(200), ip(219)));
    let said: Vec<_> = (200..=219).filter_map(|last| room.claim(&mut conflicts, ip(last), mac(254))).collect();
    let withheld = room.leases.changes().filter(|change| matches!(change, LeaseChange::Quarantine { .. })).count();
    assert_eq!(withheld, 4);
    assert_eq!(said.iter().filter(|conflict| matches!(conflict, Conflict::Proxy { .. })).count(), 1, "{said:?}");
    assert_eq!((1..=16).filter_map(|last| room.join(last)).count(), 16);
}

#[test]
fn invented_cards_that_answer_arp_for_a_range_keep_no_more_than_a_quarter_of_it() {
    let (mut room, mut conflicts) = (Room::with(NetworkMode::Server), AddressConflicts::default());
    room.network().range = Some((ip(2), ip(251)));
    let said: Vec<_> = (2..=251).filter_map(|last| room.claim(&mut conflicts, ip(last), mac(last))).collect();
    let withheld = room.leases.changes().filter(|change| matches!(change, LeaseChange::Quarantine { .. })).count();
    assert_eq!(withheld, 250 / 4 + 1);
    assert_eq!(said.iter().filter(|conflict| matches!(conflict, Conflict::Many { .. })).count(), 1, "said once: {said:?}");
    room.now += 600;
    assert!(room.claim(&mut conflicts, ip(250), mac(250)).is_some_and(|said| matches!(said, Conflict::Unassigned { .. })));
}

#[test]
fn the_walk_asks_after_every_free_address_and_after_nothing_else() {
    let (mut room, mut conflicts) = (Room::with(NetworkMode::Server), AddressConflicts::default());
    room.network().range = Some((ip(200), ip(209)));
    let (name, network) = room.table.networks.iter().next().expect("one network");
    let is_free = |ip: Ipv4Addr| ip.octets()[3].is_multiple_of(2);
    let asked: Vec<_> = (0..5).flat_map(|_| conflicts.next(name, network, is_free)).collect();
    let once: BTreeSet<_> = asked.iter().copied().collect();
    assert_eq!(once.into_iter().collect::<Vec<_>>(), [200, 202, 204, 206, 208].map(ip));
    assert!(asked.len() <= 20, "a few in each second");
    assert!(conflicts.next(name, network, |_| false).is_empty());
}

#[test]
fn what_is_withheld_is_asked_after_again_before_it_is_given_to_others_however_large_the_range_is() {
    let mut room = Room::with(NetworkMode::Server);
    let range = (ip(1), ip(254));
    let until = Timestamp::from_second(room.now + 600).expect("a time");
    (1..=200).for_each(|last| room.leases.apply(LeaseChange::Quarantine { ip: ip(last), by: Some(mac(last)), until }));
    let asked = |room: &Room, range| {
        AddressConflicts::next_withheld(&room.leases, range, Timestamp::from_second(room.now).expect("a time"))
    };
    assert!(asked(&room, range).is_empty(), "they have just been heard");
    room.now += 300;
    let mut all = BTreeSet::new();
    for _ in 0..60 {
        let some = asked(&room, range);
        assert!(some.len() <= 4, "{some:?}");
        all.extend(some);
        room.now += 1;
    }
    assert_eq!(all.len(), 200);
    assert!(asked(&room, (ip(201), ip(254))).is_empty(), "those of another range are asked after on its wire");
}

#[test]
fn no_cards_word_for_it_withholds_more_than_a_card_may_though_it_is_a_machines_and_patient() {
    let (mut room, mut conflicts) = (Room::with(NetworkMode::Server), AddressConflicts::default());
    room.network().range = Some((ip(2), ip(251)));
    room.table.machines.values_mut().for_each(|machine| machine.ip = None);
    let pc01 = "88:ae:dd:05:08:fa".parse().expect("an address");
    for _ in 0..20 {
        for last in 2..=251 {
            room.claim(&mut conflicts, ip(last), pc01);
        }
        let now = Timestamp::from_second(room.now).expect("a time");
        let withheld = (2..=251).filter(|last| room.leases.live(ip(*last), now).is_some()).count();
        assert!(withheld <= 4, "{withheld}");
        room.now += 301;
    }
}

#[test]
fn a_quarantine_outlives_a_restart_and_old_journals_read_on() {
    let change: LeaseChange =
        serde_json::from_str(r#"{"quarantine":{"ip":"10.88.0.9","until":"2026-11-21T10:00:00Z"}}"#).expect("it reads");
    let mut leases = Leases::default();
    leases.apply(change);
    assert!(matches!(leases.holding(ip(9)), Some(Holding::Quarantined { by: None, .. })));
    let known = LeaseChange::Quarantine { ip: ip(9), by: Some(mac(90)), until: Timestamp::MAX };
    let text = serde_json::to_string(&known).expect("it is written");
    assert_eq!(serde_json::from_str::<LeaseChange>(&text).expect("it reads"), known);
}

#[test]
fn another_servers_offer_is_read_from_the_frame_as_it_passes() {
    let frame = hex(include_str!("../../../../tests/fixtures/frames/dnsmasq-offer.hex"));
    let heard = parse_reply(&frame).expect("it reads");
    assert_eq!((heard.server, heard.client, heard.yiaddr), (Ipv4Addr::new(10, 77, 0, 200), mac(2), Ipv4Addr::new(10, 77, 0, 60)));
    assert_eq!((heard.said, heard.kind()), (Said::Offer, ServerKind::Dhcp));
    assert_eq!(heard.to_string(), "server 10.77.0.200 offered 02:00:00:00:00:02 10.77.0.60");
    // Up to the message type, behind which nothing is needed.
    for cut in 0..285 {
        assert_eq!(parse_reply(&frame[..cut]), None, "{cut} bytes");
    }
    let mut request = frame;
    request[42] = 1;
    assert_eq!(parse_reply(&request), None, "what a client says is no server's word");
}

#[test]
fn a_mode_that_does_not_fit_its_wire_raises_an_alarm_c20() {
    let other = Ipv4Addr::new(10, 88, 0, 254);
    let at = |second: i64| Timestamp::from_second(second).expect("a time");
    let conflicts = |mode, transcript: &Transcript, second| find_mode_conflicts(&Room::with(mode).table, transcript, at(second));
    let mut transcript = Transcript::empty();
    for mode in [NetworkMode::Server, NetworkMode::Proxy, NetworkMode::Off] {
        assert_eq!(conflicts(mode, &transcript, 0), [], "silence alone says nothing");
    }
    transcript.record_question("eno1", at(100));
    assert_eq!(conflicts(NetworkMode::Proxy, &transcript, 150), [], "firmware asks for a minute");
    let alone = conflicts(NetworkMode::Proxy, &transcript, 160);
    assert!(matches!(&alone[..], [ModeConflict::NoServer { since, .. }] if *since == at(100)), "{alone:?}");
    transcript.record_server(other, ServerKind::BootServer, "eno1", "x".into(), at(161));
    assert_eq!(conflicts(NetworkMode::Proxy, &transcript, 170).len(), 1, "a boot server gives no addresses");
    assert_eq!(conflicts(NetworkMode::Server, &transcript, 170), []);
    transcript.record_server(other, ServerKind::Dhcp, "eno1", "server 10.88.0.254 …".into(), at(171));
    assert_eq!(conflicts(NetworkMode::Proxy, &transcript, 180), []);
    let two = conflicts(NetworkMode::Server, &transcript, 180);
    assert!(matches!(&two[..], [ModeConflict::OtherServer { server, .. }] if *server == other), "{two:?}");
    let told = two[0].describe(|at| at.to_string());
    assert!(told.contains("stop it, or set mode = \"proxy\""), "{told}");
    assert_eq!(conflicts(NetworkMode::Server, &transcript, 171 + 3600), [], "it may be gone");
    assert_eq!(Transcript::parse(&transcript.render()).expect("it reads"), transcript);
    let old = Transcript::parse(r#"{"version":1,"machines":{}}"#).expect("written before servers were seen");
    assert_eq!(old, Transcript::empty());
    for last in 0..200 {
        transcript.record_server(ip(last), ServerKind::Dhcp, "eno1", "x".into(), at(200));
    }
    assert_eq!(transcript.servers.len(), SERVERS_KEPT);
}

// sonic-net/SONiC#1575, opnsense/core PR 10401: made-up clients leave the known ones no address; and what they say by ARP takes the rest.
#[test]
fn strangers_who_lease_their_half_and_claim_the_other_by_arp_keep_no_machine_of_the_site_from_booting() {
    let (mut room, mut conflicts) = (Room::with(NetworkMode::Server), AddressConflicts::default());
    room.network().range = Some((ip(200), ip(239)));
    let seats: Vec<_> = (1..=20).collect();
    room.table.machines.values_mut().for_each(|machine| {
        (machine.macs, machine.ip) = (seats.iter().map(|card| mac(*card)).collect(), None);
    });
    let strangers: Vec<_> = (100..=140).filter_map(|card| room.join(card)).collect();
    assert_eq!(strangers.len(), 20);
    let claims = [(90, 228..=231), (91, 232..=235), (92, 236..=239)];
    for round in 0..3 {
        let claim = |room: &mut Room, conflicts: &mut AddressConflicts| {
            for (card, claimed) in claims.clone() {
                for last in claimed {
                    room.claim(conflicts, ip(last), mac(card));
                }
            }
        };
        claim(&mut room, &mut conflicts);
        let got: BTreeSet<_> = seats
            .iter()
            .filter_map(|card| {
                let offered = offer(room.ask(&request(MessageKind::Discover, *card))).yiaddr;
                // They claim it once more before it is taken.
                claim(&mut room, &mut conflicts);
                let take = Request { requested: Some(offered), server_id: Some(SERVER), ..request(MessageKind::Request, *card) };
                matches!(room.ask(&take), Answer::Ack(_)).then_some(offered)
            })
            .collect();
        assert_eq!(got.len(), 20, "round {round}: {got:?}");
        room.now += 60;
    }
    // While another is free, what somebody uses is nobody's.
    let (mut room, mut conflicts) = (Room::with(NetworkMode::Server), AddressConflicts::default());
    room.table.machines.values_mut().for_each(|machine| (machine.macs, machine.ip) = (vec![mac(1)], None));
    room.claim(&mut conflicts, ip(203), mac(90));
    assert!(room.join(1).is_some_and(|got| got != ip(203)));
}
