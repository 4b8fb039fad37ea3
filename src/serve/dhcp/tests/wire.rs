//! Where replies go and what their bytes are.
//!
//! **Invariant:** bytes that real firmware took stay as they are.

use super::*;

#[test]
fn a_client_without_an_address_is_reached_as_it_asks_c15() {
    let mut room = Room::with(NetworkMode::Server);
    let quiet = offer(room.ask(&request(MessageKind::Discover, 1)));
    assert_eq!(quiet.to, Destination::Hardware(quiet.mac, quiet.yiaddr));
    let loud = Request { flags: 0x8000, ..request(MessageKind::Discover, 1) };
    assert_eq!(offer(room.ask(&loud)).to, Destination::Broadcast);
    room.network().relay = [Ipv4Addr::new(10, 88, 0, 9)].into();
    let relayed = Request { giaddr: Some(ip(9)), ..request(MessageKind::Discover, 1) };
    assert_eq!(offer(room.ask(&relayed)).to, Destination::Unicast(SocketAddrV4::new(ip(9), 67)));
    let strange = Request { giaddr: Some(ip(10)), ..request(MessageKind::Discover, 1) };
    assert_eq!(room.ask(&strange), Answer::Ignore(IgnoreReason::UnknownRelay(ip(10))));
}

#[test]
fn relay_information_goes_back_as_it_came_and_last_c17() {
    let information = vec![1, 4, 9, 9, 9, 9, 2, 1, 7, 1, 1, 5];
    let discover =
        Request { giaddr: Some(ip(9)), relay_information: Some(information.clone()), ..request(MessageKind::Discover, 1) };
    let bytes = encode(&offer(Room::with(NetworkMode::Server).ask(&discover)));
    let tail = [&[options::RELAY_INFORMATION, 12][..], &information, &[options::END]].concat();
    let end = bytes.iter().rposition(|byte| *byte == options::END).expect("an end");
    assert_eq!(bytes[..=end][end + 1 - tail.len()..], tail);
    assert_eq!(bytes.iter().filter(|byte| **byte == options::RELAY_INFORMATION).count(), 1, "once");
}

#[test]
fn a_reply_is_at_least_300_bytes_and_no_longer_than_its_client_takes_c16() {
    let mut room = Room::with(NetworkMode::Server);
    let mac = "88:ae:dd:05:08:fa".parse().expect("an address");
    let Answer::Nak(short, _) = room.ask(&Request { mac, requested: Some(ip(9)), ..request(MessageKind::Request, 1) }) else {
        panic!("no refusal")
    };
    assert_eq!(encode(&short).len(), 300);
    room.network().domain = Some("x".repeat(250));
    room.network().dns = vec![SERVER; 16];
    let small = encode(&offer(room.ask(&firmware(MessageKind::Discover, 0))));
    assert!(small.len() <= 548, "{} bytes", small.len());
    let large = Request { max_message_size: Some(1472), ..firmware(MessageKind::Discover, 0) };
    assert!(encode(&offer(room.ask(&large))).len() > 548);
}

/// A client identifier in several options is joined (RFC 3396), and joined it could be longer than a frame.
#[test]
fn what_goes_back_as_it_came_never_splits_the_reply_into_fragments() {
    let with = |option: u8, parts: usize| {
        let mut bytes = fixture!("edk2-discover");
        let end = bytes.iter().rposition(|byte| *byte == options::END).expect("an end");
        bytes.truncate(end);
        (0..parts).for_each(|_| bytes.extend([&[option, 255][..], &[7; 255]].concat()));
        bytes.push(options::END);
        parse(&bytes)
    };
    assert_eq!(with(options::CLIENT_ID, 4), Err(ParseError::Echo { option: options::CLIENT_ID, bytes: 1020, most: 255 }));
    assert!(matches!(with(options::RELAY_INFORMATION, 3), Err(ParseError::Echo { bytes: 765, .. })));
    let relayed = with(options::RELAY_INFORMATION, 2).expect("a relay may fill two");
    let longest = encode(&offer(Room::with(NetworkMode::Server).ask(&relayed)));
    assert!(longest.len() <= 1472, "{} bytes", longest.len());
}

/// What real firmware booted from (EDK2 2022.11, in the run the request was captured from), to the byte.
#[test]
fn the_acknowledgement_that_edk2_boots_from_stays_as_it_is() {
    let mut room = Room::with(NetworkMode::Server);
    (room.network().domain, room.network().dns) = (None, Vec::new());
    let bytes = encode(&ack(room.ask(&parse(&fixture!("edk2-request")).expect("it reads"))));
    assert_eq!(bytes, fixture!("edk2-ack"));
}
