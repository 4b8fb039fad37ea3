//! Bytes from anybody: random ones, and packets of real firmware with parts changed, through everything that reads the network.
//!
//! The dice are fixed, so a failure comes back; the seed is in the message.

use crate::serve::netns::hex;
use crate::serve::service::table;
use barista::{
    boot::{loaders::Loaders, table::BootTable},
    names::MacAddr,
    serve::{
        HttpState,
        dhcp::{
            arp::parse_claim,
            chainload_loop::ChainloadLoops,
            decide::decide,
            describe::{address_seen, describe, is_worth_recording},
            leases::Leases,
            model::{Answer, Arrival, Offering, Port},
            options,
            packet::{MessageKind, Request, parse},
            reply::encode,
            router_advertisement::parse_solicitation,
            server_reply::parse_reply,
        },
        http::route::{Route, route},
        tftp::{
            request::{Opening, parse_opening},
            session::{Next, Session, Step},
        },
    },
    site::NetworkMode,
};
use hyper::{Method, body::Bytes};
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
    time::Duration,
};

/// xorshift64*: enough to shake a parser, and the same on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides.max(1)
    }

    fn bytes(&mut self, longest: usize) -> Vec<u8> {
        (0..self.roll(longest)).map(|_| self.roll(256) as u8).collect()
    }

    fn mutate(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..1 + self.roll(6) {
            let at = self.roll(bytes.len());
            match self.roll(5) {
                0 if !bytes.is_empty() => bytes[at] = self.roll(256) as u8,
                1 => bytes.truncate(at),
                2 => bytes.splice(at..at, self.bytes(40)).for_each(drop),
                3 if !bytes.is_empty() => bytes[at] = [0, 255, 1, 82, 61, 43][self.roll(6)],
                _ => {
                    let (code, data) = (self.roll(256) as u8, self.bytes(255));
                    bytes.extend([&[code, data.len() as u8][..], &data].concat());
                }
            }
        }
        bytes
    }
}

fn room() -> (BootTable, Loaders) {
    let mut room = table(Path::new("/nonexistent"));
    for network in room.networks.values_mut() {
        network.mode = NetworkMode::Server;
        network.subnet = "10.88.0.0/24".parse().expect("a subnet");
        network.range = Some((Ipv4Addr::new(10, 88, 0, 200), Ipv4Addr::new(10, 88, 0, 209)));
    }
    room.machines.values_mut().for_each(|machine| machine.ip = Some(Ipv4Addr::new(10, 88, 0, 205)));
    let loaders = ["undionly.kpxe", "ipxe.efi"].map(|name| (name.to_owned(), Bytes::from_static(b"x")));
    (room, loaders.into_iter().collect())
}

fn fixtures() -> Vec<Vec<u8>> {
    fixtures_of("dhcp")
}

fn fixtures_of(kind: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(kind);
    let mut names: Vec<_> = fs::read_dir(directory).expect("fixtures").map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    names.into_iter().map(|path| hex(&fs::read_to_string(path).expect("it reads"))).collect()
}

#[test]
fn no_bytes_stop_dhcp_and_every_reply_fits() {
    let (mut table, loaders) = room();
    let fixtures = fixtures();
    let mut parsed = 0;
    for seed in 1..30_000u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let bytes = match dice.roll(10) {
            0 => dice.bytes(700),
            _ => {
                let packet = fixtures[dice.roll(fixtures.len())].clone();
                dice.mutate(packet)
            }
        };
        let Ok(request) = parse(&bytes) else { continue };
        parsed += 1;
        let mode = [NetworkMode::Server, NetworkMode::Proxy, NetworkMode::Off][dice.roll(3)];
        table.networks.values_mut().for_each(|network| network.mode = mode);
        let addresses = [Ipv4Addr::new(10, 88, 0, 1)];
        let arrival = Arrival {
            interface: "lo",
            addresses: &addresses[..dice.roll(2)],
            destination: Ipv4Addr::BROADCAST,
            source: SocketAddrV4::new(Ipv4Addr::new(10, 88, 0, dice.roll(256) as u8), dice.roll(65536) as u16),
            port: [Port::Dhcp, Port::BootServer][dice.roll(2)],
        };
        let fixed = table.clone().into();
        let offering =
            Offering { table: &fixed, loaders: &loaders, http: HttpState::Open, chainload_loops: &ChainloadLoops::default() };
        let decision = decide(&request, &arrival, offering, &Leases::default(), Timestamp::UNIX_EPOCH);
        let _ = (describe(&request, &decision), address_seen(&request, &decision), is_worth_recording(&decision));
        if let Answer::Offer(reply) | Answer::Ack(reply) | Answer::Nak(reply, _) = decision.answer {
            let length = encode(&reply).len();
            assert!(length >= 300, "seed {seed}: {length} bytes");
        }
    }
    assert!(parsed > 1000, "only {parsed} packets read as requests");
}

#[test]
fn no_frame_stops_what_listens_beside_the_doors() {
    let (frames, mut read) = (fixtures_of("frames"), 0);
    for seed in 1..30_000u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let frame = match dice.roll(10) {
            0 => dice.bytes(400),
            _ => {
                let frame = frames[dice.roll(frames.len())].clone();
                dice.mutate(frame)
            }
        };
        let is_read = parse_claim(&frame).is_some() || parse_reply(&frame).is_some() || parse_solicitation(&frame).is_some();
        read += usize::from(is_read);
    }
    assert!(read > 1000, "only {read} frames read");
}

#[test]
fn whatever_machines_ask_no_address_has_two_holders() {
    let (table, loaders) = room();
    let table = table.into();
    let pc01: MacAddr = crate::serve::service::PC01.parse().expect("an address");
    let reserved = Ipv4Addr::new(10, 88, 0, 205);
    let template = parse(&fixtures()[1]).or_else(|_| parse(&fixtures()[2])).expect("a request");
    let mut acknowledged = 0;
    for seed in 1..60u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (mut leases, mut now, mut held) = (Leases::default(), 1_000_000, BTreeMap::<Ipv4Addr, (MacAddr, i64)>::new());
        let mut offered = BTreeMap::<MacAddr, Ipv4Addr>::new();
        for step in 0..400 {
            // An offer is kept for a minute, a lease for ten and more.
            let most = if dice.roll(8) == 0 { 3000 } else { 20 };
            now += dice.roll(most) as i64;
            let mac = match dice.roll(14) {
                13 => pc01,
                last => MacAddr::from_octets([2, 0, 0, 0, 0, last as u8]).expect("a unicast address"),
            };
            let any = |dice: &mut Dice| Some(Ipv4Addr::new(10, 88, 0, 198 + dice.roll(14) as u8)).filter(|_| dice.roll(2) == 0);
            let server = [None, Some(Ipv4Addr::new(10, 88, 0, 1)), Some(Ipv4Addr::new(10, 88, 0, 254))];
            let kinds =
                [MessageKind::Discover, MessageKind::Request, MessageKind::Request, MessageKind::Release, MessageKind::Decline];
            let request = Request {
                kind: kinds[dice.roll(5)],
                mac,
                requested: any(&mut dice).or_else(|| offered.get(&mac).copied()),
                ciaddr: any(&mut dice),
                server_id: server[dice.roll(3)],
                giaddr: None,
                ..template.clone()
            };
            let addresses = [Ipv4Addr::new(10, 88, 0, 1)];
            let source = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
            let arrival =
                Arrival { interface: "lo", addresses: &addresses, destination: Ipv4Addr::BROADCAST, source, port: Port::Dhcp };
            let at = Timestamp::from_second(now).expect("a time");
            let offering =
                Offering { table: &table, loaders: &loaders, http: HttpState::Open, chainload_loops: &ChainloadLoops::default() };
            let decision = decide(&request, &arrival, offering, &leases, at);
            decision.change.into_iter().for_each(|change| leases.apply(change));
            match decision.answer {
                Answer::Offer(reply) => {
                    offered.insert(mac, reply.yiaddr);
                }
                Answer::Ack(reply) => {
                    let ip = reply.yiaddr;
                    acknowledged += 1;
                    let other = held.get(&ip).filter(|(holder, until)| *holder != mac && *until > now);
                    assert_eq!(other, None, "seed {seed} step {step}: {ip} has two holders");
                    assert!(ip != reserved || mac == pc01, "seed {seed} step {step}: {mac} got a reservation");
                    let told = reply.options.get(&options::LEASE_TIME).and_then(|time| <[u8; 4]>::try_from(time.as_slice()).ok());
                    held.insert(ip, (mac, now + i64::from(u32::from_be_bytes(told.expect("a lease has an end")))));
                }
                Answer::Noted(_) => {
                    let gone = request.requested.into_iter().chain(request.ciaddr);
                    gone.for_each(|ip| held.retain(|known, (holder, _)| *known != ip || *holder != mac));
                }
                _ => {}
            }
        }
    }
    assert!(acknowledged > 1000, "only {acknowledged} acknowledgements: the dice miss the point");
}

/// The datagrams of a step.
fn sent(session: &Session, step: &Step) -> Vec<Vec<u8>> {
    let mut buffer = Vec::new();
    let datagrams = session.lay_out(step.send, &mut buffer);
    datagrams.bytes.chunks(datagrams.each).map(<[u8]>::to_vec).collect()
}

#[test]
fn no_bytes_stop_tftp_and_no_datagram_sends_more_than_a_window() {
    let file = Bytes::from(vec![7; 5000]);
    for seed in 1..20_000u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let opening = b"\0\x01ipxe.efi\0octet\0blksize\x001468\0windowsize\x008\0tsize\x000\0timeout\x001\0".to_vec();
        let opening = if dice.roll(3) == 0 { dice.bytes(200) } else { dice.mutate(opening) };
        let Opening::Read(request) = parse_opening(&opening) else { continue };
        let (mut session, _) = Session::open(&request, &file, 1468);
        let mut at = Duration::ZERO;
        for _ in 0..200 {
            at += Duration::from_millis(dice.roll(500) as u64);
            let step = match dice.roll(4) {
                0 => session.time_out(at),
                1 => session.hear(&dice.bytes(20), at),
                _ => session.hear(&[0, 4, 0, dice.roll(12) as u8], at),
            };
            let sent = sent(&session, &step);
            assert!(sent.len() <= 64 && sent.iter().all(|packet| packet.len() <= 1472), "seed {seed}");
            if matches!(step.next, Next::Done(_)) {
                break;
            }
        }
    }
}

#[test]
fn an_acknowledgement_said_again_and_again_sends_nothing_by_itself() {
    for window in ["1", "8"] {
        let opening = [b"\0\x01ipxe.efi\0octet\0windowsize\0", window.as_bytes(), b"\0"].concat();
        let Opening::Read(request) = parse_opening(&opening) else { panic!("no request") };
        let (mut session, _) = Session::open(&request, &Bytes::from(vec![7; 100_000]), 1468);
        let mut hear = || {
            let step = session.hear(&[0, 4, 0, 0], Duration::ZERO);
            sent(&session, &step).len()
        };
        let first = hear();
        let again: usize = (0..100).map(|_| hear()).sum();
        assert_eq!((first.to_string().as_str(), again), (window, 0));
        let step = session.time_out(Duration::from_millis(20));
        assert_eq!(sent(&session, &step).len().to_string(), window, "a wait that is over does");
        let repeats: usize = (0..100).map(|_| sent_by(&mut session)).sum();
        assert_eq!(repeats, if window == "1" { 1 } else { 0 });
    }
}

/// What one more acknowledgement of nothing sends.
fn sent_by(session: &mut Session) -> usize {
    let step = session.hear(&[0, 4, 0, 0], Duration::from_millis(20));
    sent(session, &step).len()
}

#[test]
fn after_a_time_out_a_machine_that_asks_again_is_answered_once() {
    let Opening::Read(request) = parse_opening(b"\0\x01ipxe.efi\0octet\0") else { panic!("no request") };
    let (mut session, first) = Session::open(&request, &Bytes::from(vec![7; 2000]), 1468);
    let first = sent(&session, &first);
    let hear = |session: &mut Session, block: u8| {
        let step = session.hear(&[0, 4, 0, block], Duration::ZERO);
        sent(session, &step)
    };
    assert_eq!(first.len(), 1);
    assert_eq!(hear(&mut session, 0).len(), 0, "a duplicate");
    for _ in 0..2 {
        let step = session.time_out(Duration::ZERO);
        assert_eq!(sent(&session, &step), first);
        let again: Vec<_> = (0..10).flat_map(|_| hear(&mut session, 0)).collect();
        assert_eq!(again, first, "once for each time-out");
    }
    assert_eq!(hear(&mut session, 1).len(), 1, "and it goes on");
    assert_eq!(hear(&mut session, 1).len(), 0, "where a duplicate is one again");
}

#[test]
fn a_machine_that_went_silent_is_given_up() {
    let Opening::Read(request) = parse_opening(b"\0\x01ipxe.efi\0octet\0") else { panic!("no request") };
    let (mut session, first) = Session::open(&request, &Bytes::from(vec![7; 1000]), 1468);
    let (mut at, mut next) = (Duration::ZERO, first.next);
    let waits: Vec<_> = (0..7)
        .map(|_| {
            at += if let Next::Wait(wait) = next { wait } else { Duration::ZERO };
            next = session.time_out(at).next;
            next
        })
        .collect();
    let seconds: u64 = waits.iter().map(|next| if let Next::Wait(wait) = next { wait.as_secs() } else { 0 }).sum();
    assert!(matches!(waits.last(), Some(Next::Done(_))), "{waits:?}");
    assert!((20..60).contains(&seconds), "{seconds} s");
}

#[test]
fn no_path_stops_http_or_leads_out() {
    let names = ["cfg", "ipxe/cfg", "ipxe/boot.ipxe", "autoexec.ipxe"];
    let loaders: Loaders = names.iter().map(|name| ((*name).to_owned(), Bytes::new())).collect();
    let mut found = 0;
    for seed in 1..50_000u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let words = [
            "/",
            "machines",
            "assets",
            "boot.ipxe",
            "..",
            "%2e",
            "%",
            "%00",
            "ipxe",
            "cfg",
            "mac-",
            "loaders",
            "88aedd0508fa",
            "é",
            "\\",
        ];
        let path: String =
            (0..dice.roll(9)).map(|_| ["/", ""][dice.roll(2)].to_owned() + words[dice.roll(words.len())]).collect();
        match route(&Method::GET, &path) {
            Route::Loader(name) => {
                let leads_up = name.split(['/', '\\']).any(|part| part == "..");
                let loader = loaders.find(&name);
                assert!(loader.is_none_or(|(loader, _)| names.contains(&loader) && !leads_up), "{path}");
                found += usize::from(loader.is_some());
            }
            Route::Asset(asset) => assert!(asset.starts_with('/') && !asset.starts_with("//"), "{path}"),
            _ => {}
        }
    }
    assert!(found > 10, "the dice never named a loader");
}
