//! Datagrams at the ports of DHCP: read, decide, say, encode.
//!
//! The first two bytes choose the port, the mode of the network and the sender; the rest is the datagram, which comes twice, for the
//! second time meets what the first has changed.
#![no_main]

use barista::boot::{loaders::Loaders, table::FixedTable};
use barista::serve::HttpState;
use barista::serve::dhcp::{
    arp::parse_claim,
    chainload_loop::ChainloadLoops,
    decide::decide,
    describe::{address_seen, describe, event_kind, is_worth_recording},
    leases::Leases,
    model::{Answer, Arrival, Offering, Port},
    packet::parse,
    reply::encode,
    router_advertisement::{advertisement, parse_solicitation},
    server_reply::parse_reply,
};
use barista::site::NetworkMode;
use hyper::body::Bytes;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use std::{
    net::{Ipv4Addr, SocketAddrV4},
    path::Path,
    sync::LazyLock,
};

const MODES: [NetworkMode; 3] = [NetworkMode::Server, NetworkMode::Proxy, NetworkMode::Off];
const OURS: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);

static ROOMS: LazyLock<[FixedTable; 3]> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../site-example");
    let tree = barista::deploy::directory::read(&root).expect("the example is there");
    let site = barista::site::load(&tree).site.expect("the example is a site");
    let desired = barista::desired::compute(&site).expect("the example has legal names");
    let table = barista::boot::compute_table(&desired).expect("the example's scripts render");
    MODES.map(|mode| {
        let mut table = table.clone();
        table.networks.values_mut().for_each(|network| network.mode = mode);
        table.into()
    })
});

static LOADERS: LazyLock<Loaders> =
    LazyLock::new(|| ["undionly.kpxe", "ipxe.efi"].map(|name| (name.to_owned(), Bytes::from_static(b"x"))).into_iter().collect());

fuzz_target!(|input: &[u8]| {
    let [control, sender, datagram @ ..] = input else { return };
    let _ = (parse_claim(datagram), parse_reply(datagram));
    let _ = parse_solicitation(datagram).map(|solicitation| advertisement([2; 6], &solicitation));
    let Ok(request) = parse(datagram) else { return };
    let table = &ROOMS[usize::from(control & 3) % 3];
    let interface = table.networks.values().next().expect("the example has a network").interface.clone();
    let arrival = Arrival {
        interface: &interface,
        addresses: &[OURS],
        destination: if control & 4 == 0 { Ipv4Addr::BROADCAST } else { OURS },
        source: SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, *sender), if control & 8 == 0 { 68 } else { 67 }),
        port: if control & 16 == 0 { Port::Dhcp } else { Port::BootServer },
    };
    let chained = ChainloadLoops::default();
    let offering = Offering { table, loaders: &LOADERS, http: HttpState::Open, chainload_loops: &chained };
    let mut leases = Leases::default();
    for second in [0, 7] {
        let now = Timestamp::from_second(second).expect("a time");
        let decision = decide(&request, &arrival, offering, &leases, now);
        let _ = (describe(&request, &decision), event_kind(&request, &decision));
        let _ = (address_seen(&request, &decision), is_worth_recording(&decision));
        decision.change.into_iter().for_each(|change| leases.apply(change));
        if let Answer::Offer(reply) | Answer::Ack(reply) | Answer::Nak(reply, _) = decision.answer {
            let holder = table.machines.values().find(|machine| machine.ip == Some(reply.yiaddr));
            assert!(holder.is_none_or(|machine| machine.macs.contains(&request.mac)), "{} is another's", reply.yiaddr);
            let length = encode(&reply).len();
            assert!((300..=1472).contains(&length), "{length} bytes");
        }
    }
});
