//! What the decisions prevent, one sentence each; packets of real firmware come from `tests/fixtures/dhcp`.

use super::{
    classify::{Ability, Client, classify},
    decide::{Answer, Arrival, Decision, Door, IgnoreReason, NakReason, Note, Offering, decide},
    leases::{LeaseChange, Leases},
    options,
    packet::{MessageKind, ParseError, Request, parse},
    reply::{Destination, Reply, encode},
};
use crate::{
    boot::{
        loaders::Loaders,
        table::{BootNetwork, BootTable},
    },
    names::{ClientArch, MacAddr},
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
        hex(include_str!(concat!("../../../tests/fixtures/dhcp/", $name, ".hex")))
    };
}

/// A room: the server at .1, pc01 reserved at .101, a range of .200 to .203, and the time.
struct Room {
    table: BootTable,
    loaders: Loaders,
    leases: Leases,
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
        Self { table, loaders: files.into_iter().collect(), leases: Leases::default(), now: 1_000_000 }
    }

    fn network(&mut self) -> &mut BootNetwork {
        self.table.networks.values_mut().next().expect("one network")
    }

    fn at(&self, door: Door, source: SocketAddrV4, request: &Request) -> Decision {
        let addresses = [SERVER];
        let arrival = Arrival { interface: "eno1", addresses: &addresses, destination: Ipv4Addr::BROADCAST, source, door };
        let offering = Offering { table: &self.table, loaders: &self.loaders };
        decide(request, &arrival, offering, &self.leases, Timestamp::from_second(self.now).expect("a time"))
    }

    /// Asks on port 67 and lets the answer change the leases.
    fn ask(&mut self, request: &Request) -> Answer {
        let decision = self.at(Door::Dhcp, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68), request);
        decision.change.into_iter().for_each(|change| self.leases.apply(change));
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
        parameter_list: Vec::new(),
        max_message_size: None,
        boot_item: None,
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

#[test]
fn real_firmware_is_recognised() {
    let discover = parse(&fixture!("edk2-discover")).expect("it reads");
    assert_eq!(classify(&discover), Client::PxeFirmware { arch: ClientArch::EFI_X64 });
    assert!(discover.wants_broadcast() && discover.uuid.is_some());
    let bios = parse(&fixture!("ipxe-bios-discover")).expect("it reads");
    assert_eq!(classify(&bios), Client::Ipxe { arch: Some(ClientArch::BIOS), ability: Ability::Able });
    let efi = parse(&fixture!("ipxe-efi-discover")).expect("it reads");
    assert_eq!(classify(&efi), Client::Ipxe { arch: Some(ClientArch::EFI_X64), ability: Ability::Able });
    assert_eq!(bios.client_id, Some(vec![1, 0x88, 0xae, 0xdd, 5, 8, 0xfa]));
}

#[test]
fn both_encodings_of_the_user_class_are_ipxe_c12() {
    for (class, known) in
        [(&b"iPXE"[..], true), (b"\x04iPXE", true), (b"\x03abc\x04iPXE", true), (b"iPXE2", false), (b"\x05iPXE2", false)]
    {
        let mut bytes = fixture!("ipxe-bios-discover");
        bytes.truncate(240);
        bytes.extend([53, 1, 1, 77, class.len() as u8]);
        bytes.extend_from_slice(class);
        let client = classify(&parse(&bytes).expect("it reads"));
        assert_eq!(matches!(client, Client::Ipxe { .. }), known, "{class:?}");
    }
}

#[test]
fn the_architecture_is_read_from_the_vendor_class_where_option_93_is_missing_c2() {
    let mut bytes = fixture!("edk2-discover");
    bytes.truncate(240);
    bytes.extend([&[53, 1, 1, 60, 32][..], b"PXEClient:Arch:00011:UNDI:003000"].concat());
    assert_eq!(classify(&parse(&bytes).expect("it reads")), Client::PxeFirmware { arch: ClientArch::EFI_ARM64 });
}

#[test]
fn a_wrong_option_costs_no_option_behind_it() {
    let mut bytes = fixture!("edk2-discover");
    bytes.truncate(240);
    bytes.extend([93, 1, 0, 12, 2, 0xff, 0xfe, 57, 1, 9, 116, 1, 7, 53, 1, 1, 60, 9]);
    bytes.extend(b"PXEClient");
    let request = parse(&bytes).expect("it reads");
    assert_eq!((request.kind, request.max_message_size), (MessageKind::Discover, None));
    assert_eq!(classify(&request), Client::PxeFirmware { arch: ClientArch::BIOS });
}

#[test]
fn what_is_no_request_of_an_ethernet_machine_is_refused() {
    let whole = fixture!("edk2-discover");
    let with = |at: usize, value: u8| {
        let mut bytes = whole.clone();
        bytes[at] = value;
        parse(&bytes)
    };
    assert_eq!(parse(&whole[..239]), Err(ParseError::Short(239)));
    assert_eq!(with(0, 2), Err(ParseError::NotARequest(2)));
    assert_eq!(with(236, 0), Err(ParseError::NoCookie));
    assert_eq!(with(2, 255), Err(ParseError::Hardware { htype: 1, hlen: 255 }));
    assert_eq!(with(1, 32), Err(ParseError::Hardware { htype: 32, hlen: 6 }));
    assert!(matches!(with(28, 0x89), Err(ParseError::Mac(_))));
    assert_eq!(parse(&whole[..240]), Err(ParseError::Kind));
}

#[test]
fn each_architecture_gets_its_own_loader_in_both_modes_c3_c13() {
    for mode in [NetworkMode::Server, NetworkMode::Proxy] {
        let mut room = Room::with(mode);
        for (arch, file) in [(0, "undionly.kpxe"), (7, "ipxe.efi"), (9, "ipxe.efi")] {
            let reply = offer(room.ask(&firmware(MessageKind::Discover, arch)));
            assert_eq!((reply.file.as_str(), reply.siaddr), (file, SERVER), "{mode:?} {arch}");
            assert_eq!(text(&reply, options::BOOT_FILE_NAME), format!("{file}\0"));
            assert_eq!(text(&reply, options::TFTP_SERVER_NAME), "10.88.0.1\0");
            assert_eq!(text(&reply, options::VENDOR_CLASS), "PXEClient");
            assert_eq!(reply.options[&options::VENDOR_INFORMATION], [6, 1, 8, 255], "C5");
        }
    }
}

#[test]
fn arm_is_never_sent_x64_code_c3() {
    let arch = ClientArch::EFI_ARM64;
    let mut room = Room::with(NetworkMode::Proxy);
    let answer = room.ask(&firmware(MessageKind::Discover, 11));
    assert!(matches!(answer, Answer::Ignore(IgnoreReason::NoBoot(_))), "{answer:?}");
    let mut room = Room::with(NetworkMode::Server);
    for unknown in [2, 6, 10, 11, 27, 41] {
        let reply = offer(room.ask(&firmware(MessageKind::Discover, unknown)));
        assert!(reply.file.is_empty() && !reply.options.contains_key(&options::BOOT_FILE_NAME), "{unknown}");
    }
    room.loaders = [("ipxe-arm64.efi".to_owned(), b"x".to_vec().into())].into_iter().collect();
    assert_eq!(offer(room.ask(&firmware(MessageKind::Discover, arch.0))).file, "ipxe-arm64.efi");
}

#[test]
fn ipxe_is_sent_to_the_script_and_never_back_to_a_loader() {
    for mode in [NetworkMode::Server, NetworkMode::Proxy] {
        for discover in [fixture!("ipxe-bios-discover"), fixture!("ipxe-efi-discover")] {
            let reply = offer(Room::with(mode).ask(&parse(&discover).expect("it reads")));
            assert_eq!(reply.file, "http://10.88.0.1:8080/boot.ipxe");
            assert_eq!(reply.siaddr, SERVER, "iPXE goes to 4011 without it");
            let no_proxy = reply.options.get(&options::IPXE).map(Vec::as_slice);
            let expected: Option<&[u8]> = (mode == NetworkMode::Server).then_some(&[0xb0, 1, 1]);
            assert_eq!(no_proxy, expected, "only the DHCP server may say that no proxy follows (C10)");
        }
    }
}

#[test]
fn an_ipxe_without_http_or_iscsi_is_chained_to_ours_c11() {
    let mut bytes = fixture!("ipxe-bios-discover");
    bytes.truncate(240);
    bytes.extend([53, 1, 1, 77, 4, b'i', b'P', b'X', b'E', 175, 3, 0x13, 1, 1]);
    let reply = offer(Room::with(NetworkMode::Server).ask(&parse(&bytes).expect("it reads")));
    assert_eq!(reply.file, "tftp://10.88.0.1/undionly.kpxe", "a whole address (C12)");
}

#[test]
fn http_boot_gets_an_address_and_its_own_class_c14() {
    let vendor_class = Some(b"HTTPClient:Arch:00016:UNDI:003000".to_vec());
    let discover = Request { vendor_class, arch: Some(ClientArch(16)), ..request(MessageKind::Discover, 1) };
    for mode in [NetworkMode::Server, NetworkMode::Proxy] {
        let reply = offer(Room::with(mode).ask(&discover));
        assert_eq!(text(&reply, options::VENDOR_CLASS), "HTTPClient");
        assert_eq!(text(&reply, options::BOOT_FILE_NAME), "http://10.88.0.1:8080/loaders/ipxe.efi\0");
        assert!(!reply.options.contains_key(&options::VENDOR_INFORMATION));
    }
}

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
    let reply = ack(room.ask(&Request { ciaddr: Some(ip(77)), ..request(MessageKind::Inform, 1) }));
    assert_eq!((reply.yiaddr, reply.to), (Ipv4Addr::UNSPECIFIED, Destination::Unicast(SocketAddrV4::new(ip(77), 68))));
    assert!(!reply.options.contains_key(&options::LEASE_TIME));
    assert!(room.leases.is_empty());
}

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

#[test]
fn a_proxy_gives_no_address_refuses_none_and_is_silent_to_systems_c4() {
    let mut room = Room::with(NetworkMode::Proxy);
    let reply = offer(room.ask(&firmware(MessageKind::Discover, 7)));
    assert_eq!((reply.yiaddr, reply.flags, reply.to), (Ipv4Addr::UNSPECIFIED, 0x8000, Destination::Broadcast));
    for absent in [options::LEASE_TIME, options::SUBNET_MASK, options::ROUTER, options::HOST_NAME] {
        assert!(!reply.options.contains_key(&absent), "option {absent}");
    }
    assert_eq!(room.ask(&request(MessageKind::Discover, 1)), Answer::Ignore(IgnoreReason::NotBooting));
    let taken = parse(&fixture!("ipxe-bios-request-other-server")).expect("it reads");
    assert_eq!(room.ask(&taken), Answer::Ignore(IgnoreReason::OtherServer(ip(254))));
    let reboot = Request { requested: Some(Ipv4Addr::new(1, 2, 3, 4)), ..firmware(MessageKind::Request, 7) };
    assert_eq!(room.ask(&reboot), Answer::Ignore(IgnoreReason::ProxyOnly));
    assert!(room.leases.is_empty());
}

#[test]
fn the_boot_server_answers_the_port_it_was_asked_from_in_every_mode_c8() {
    for mode in [NetworkMode::Server, NetworkMode::Proxy] {
        let room = Room::with(mode);
        let source = SocketAddrV4::new(ip(60), 4011);
        let boot_item = Some(vec![0, 0, 0, 0]);
        let ask = Request { ciaddr: Some(ip(60)), uuid: Some(vec![0; 17]), boot_item, ..firmware(MessageKind::Request, 7) };
        let decision = room.at(Door::BootServer, source, &ask);
        let reply = ack(decision.answer);
        assert_eq!((reply.to, reply.yiaddr, reply.ciaddr), (Destination::Unicast(source), Ipv4Addr::UNSPECIFIED, ip(60)));
        assert_eq!((reply.file.as_str(), reply.options[&options::CLIENT_UUID].len()), ("ipxe.efi", 17));
        assert_eq!(reply.options[&options::VENDOR_INFORMATION], [6, 1, 8, 71, 4, 0, 0, 0, 0, 255], "the chosen item comes back");
        assert_eq!(decision.change, None);
    }
}

#[test]
fn a_network_that_is_off_and_an_interface_that_is_none_are_silent() {
    let mut room = Room::with(NetworkMode::Off);
    assert!(matches!(room.ask(&firmware(MessageKind::Discover, 7)), Answer::Ignore(IgnoreReason::Off(_))));
    room.network().interface = "eno2".into();
    assert_eq!(room.ask(&firmware(MessageKind::Discover, 7)), Answer::Ignore(IgnoreReason::NoNetwork));
}

#[test]
fn an_offer_is_not_journalled_and_a_lease_is() {
    let mut room = Room::with(NetworkMode::Server);
    let discover = room.at(Door::Dhcp, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68), &request(MessageKind::Discover, 1));
    assert!(matches!(discover.change, Some(change @ LeaseChange::Offer { .. }) if !change.is_durable()));
    room.join(1);
    assert_eq!(room.leases.changes().count(), 1);
    assert!(room.leases.changes().all(LeaseChange::is_durable));
}

/// What real firmware booted from (EDK2 2022.11, in the run the request was captured from), to the byte.
#[test]
fn the_acknowledgement_that_edk2_boots_from_stays_as_it_is() {
    let mut room = Room::with(NetworkMode::Server);
    (room.network().domain, room.network().dns) = (None, Vec::new());
    let bytes = encode(&ack(room.ask(&parse(&fixture!("edk2-request")).expect("it reads"))));
    assert_eq!(bytes, fixture!("edk2-ack"));
}
