//! What the decisions prevent, one sentence each; packets of real firmware come from `tests/fixtures/dhcp`.

mod classified;
mod conflicts;
mod leased;
mod loaded;
mod peers;
mod reachable;
mod refused;
mod relayed;
mod shared;
mod strangers;
mod wire;

use super::{
    chainload_loop::ChainloadLoops,
    classify::{Ability, Client, PiModel, classify},
    decide::decide,
    describe::{offer_to_a_boot, service_name},
    leases::{LeaseChange, Leases},
    model::{Answer, Arrival, BootInfo, Decision, Destination, IgnoreReason, NakReason, Note, Offering, Port, Reply, Whose},
    options,
    packet::{MessageKind, ParseError, Request, parse},
    reply::encode,
};
use crate::{
    boot::{
        loaders::Loaders,
        table::{BootTable, Network},
    },
    names::{ClientArch, MacAddr},
    serve::HttpState,
    site::NetworkMode,
};
use jiff::Timestamp;
use std::net::{Ipv4Addr, SocketAddrV4};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);
const PC01_IP: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 101);
const HOUR: i64 = 3600;

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.lines().filter(|line| !line.starts_with('#')).flat_map(str::bytes).collect();
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex");
    digits.chunks(2).map(octet).collect()
}

macro_rules! fixture {
    ($name:literal) => {
        $crate::serve::dhcp::tests::hex(include_str!(concat!("../../../../tests/fixtures/dhcp/", $name, ".hex")))
    };
}

pub(super) use fixture;

/// A room: the server at .1, pc01 reserved at .101, a range of .200 to .203, and the time.
struct Room {
    table: BootTable,
    loaders: Loaders,
    http: HttpState,
    leases: Leases,
    chainload_loops: ChainloadLoops,
    now: i64,
}

impl Room {
    fn with(mode: NetworkMode) -> Self {
        let text = serde_json::json!({
            "version": 1, "site": "lab", "tftp-address": SERVER, "http-address": SERVER, "http-port": 8080, "loaders": null,
            "networks": { "lan": {
                "interface": "eno1", "mode": mode, "subnet": "10.88.0.0/24", "range": ["10.88.0.200", "10.88.0.203"],
                "router": "10.88.0.254", "dns": ["223.5.5.5", "1.1.1.1"], "domain": "cafe.example", "lease-time": "1h",
                "relay": [] } },
            "machines": { "pc01": { "macs": ["88:ae:dd:05:08:fa"], "ip": PC01_IP, "firmware": null, "default": "x", "script": "" } },
            "unknown-script": "", "assets": [],
        });
        let table = BootTable::parse(&text.to_string()).expect("the table reads");
        let files = ["undionly.kpxe", "ipxe.efi"].map(|name| (name.to_owned(), name.as_bytes().to_vec().into()));
        Self {
            table,
            loaders: files.into_iter().collect(),
            http: HttpState::Open,
            leases: Leases::default(),
            chainload_loops: ChainloadLoops::default(),
            now: 1_000_000,
        }
    }

    fn network(&mut self) -> &mut Network {
        self.table.networks.values_mut().next().expect("one network")
    }

    fn at(&self, port: Port, source: SocketAddrV4, request: &Request) -> Decision {
        let addresses = [SERVER];
        let arrival = Arrival { interface: "eno1", addresses: &addresses, destination: Ipv4Addr::BROADCAST, source, port };
        let table = self.table.clone().into();
        let offering =
            Offering { table: &table, loaders: &self.loaders, http: self.http, chainload_loops: &self.chainload_loops };
        decide(request, &arrival, offering, &self.leases, Timestamp::from_second(self.now).expect("a time"))
    }

    /// Asks on port 67, from where such a packet comes, and lets the answer change the leases.
    fn ask(&mut self, request: &Request) -> Answer {
        let released = request.ciaddr.filter(|_| request.kind == MessageKind::Release);
        self.ask_from(request.giaddr.or(released).unwrap_or(Ipv4Addr::UNSPECIFIED), request)
    }

    /// Asks on port 67 from this address, and lets the answer change the leases.
    fn ask_from(&mut self, source: Ipv4Addr, request: &Request) -> Answer {
        let decision = self.at(Port::Dhcp, SocketAddrV4::new(source, 68), request);
        decision.change.into_iter().for_each(|change| self.leases.apply(change));
        if let Answer::Offer(Reply { boot: Some(BootInfo::BetterIpxe(_)), .. }) = &decision.answer {
            let Answer::Offer(reply) = &decision.answer else { unreachable!("it was matched") };
            let address = Some(reply.yiaddr).filter(|ip| !ip.is_unspecified());
            let now = Timestamp::from_second(self.now).expect("a time");
            self.chainload_loops.note(request.mac, Whose::Site, (request.xid, address), now);
        }
        decision.answer
    }

    /// DISCOVER and REQUEST of a client; the address it got.
    fn join(&mut self, mac: u8) -> Option<Ipv4Addr> {
        let offer = match self.ask(&request(MessageKind::Discover, mac)) {
            Answer::Offer(reply) => reply.yiaddr,
            _ => return None,
        };
        let taken = Request { requested: Some(offer), server_id: Some(SERVER), ..request(MessageKind::Request, mac) };
        Some(ack(self.ask(&taken)).yiaddr)
    }
}

fn request(kind: MessageKind, last: u8) -> Request {
    Request {
        kind,
        xid: 7,
        flags: 0,
        ciaddr: None,
        giaddr: None,
        mac: MacAddr::from_octets([2, 0, 0, 0, 0, last]).expect("a unicast address"),
        requested: None,
        server_id: None,
        client_id: None,
        vendor_class: None,
        arch: None,
        uuid: None,
        user_classes: Vec::new(),
        ipxe: None,
        relay_information: None,
        link_selection: None,
        server_id_override: None,
        subnet_selection: None,
        parameter_list: Vec::new(),
        max_message_size: None,
        boot_item: None,
        has_relay_port: false,
        length: 300,
    }
}

fn firmware(kind: MessageKind, arch: u16) -> Request {
    let vendor_class = Some(format!("PXEClient:Arch:{arch:05}:UNDI:003016").into_bytes());
    Request { vendor_class, arch: Some(ClientArch(arch)), ..request(kind, 1) }
}

fn offer(answer: Answer) -> Reply {
    match answer {
        Answer::Offer(reply) => reply,
        other => panic!("no offer: {other:?}"),
    }
}

fn ack(answer: Answer) -> Reply {
    match answer {
        Answer::Ack(reply) => reply,
        other => panic!("no acknowledgement: {other:?}"),
    }
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 88, 0, last)
}

fn text(reply: &Reply, option: u8) -> String {
    String::from_utf8_lossy(reply.options.get(&option).map(Vec::as_slice).unwrap_or_default()).into_owned()
}
