//! What a client is recognised as, and what it is told to boot.
//!
//! **Invariant:** every test names the machine that would not boot without it.

use super::*;

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
    assert_eq!(with(2, 255), Err(ParseError::Hardware { htype: 1, hlen: 255 }));
    assert_eq!(with(1, 32), Err(ParseError::Hardware { htype: 32, hlen: 6 }));
    assert!(matches!(with(28, 0x89), Err(ParseError::Mac(_))));
    assert_eq!(with(242, 9), Err(ParseError::Kind));
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
fn a_proxy_gives_no_address_refuses_none_and_is_silent_to_systems_c4() {
    let mut room = Room::with(NetworkMode::Proxy);
    let answer = room.ask(&firmware(MessageKind::Discover, 7));
    assert_eq!(service_name(&answer, Port::Dhcp), "proxydhcp");
    let reply = offer(answer);
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
        let decision = room.at(Port::BootServer, source, &ask);
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
fn a_raspberry_pi_is_known_by_its_guid_whatever_its_ethernet_address() {
    for (packet, model) in
        [(fixture!("rpi4-own-address-discover"), PiModel::Pi4), (fixture!("rpi5-rpiboot-discover"), PiModel::Pi5)]
    {
        assert_eq!(classify(&parse(&packet).expect("it reads")), Client::RaspberryPi(model));
    }
    let guid = |guid: [u8; 16]| Some([&[0][..], &guid].concat());
    let named = |name: &[u8; 4]| {
        guid([&name[..], &[0, 0xc0, 0x31, 0x11, 0, 0, 0, 0x11, 0x1a, 0x2b, 0x3c, 0x4d]].concat().try_into().expect("16"))
    };
    let serial = guid([0x1a, 0x2b, 0x3c, 0x4d].repeat(4).try_into().expect("16"));
    let other = Client::PxeFirmware { arch: ClientArch::BIOS };
    for (arch, uuid, expected) in [
        (0, named(b"RPi4"), Client::RaspberryPi(PiModel::Pi4)),
        (0, named(b"RPi5"), Client::RaspberryPi(PiModel::Pi5)),
        (41, named(b"RPi4"), Client::RaspberryPi(PiModel::Pi4)),
        (41, None, Client::RaspberryPi(PiModel::Pi5)),
        (0, serial.clone(), Client::RaspberryPi(PiModel::Pi4)),
        // Boards whose maker left the field as it was.
        (0, guid([0; 16]), other),
        (0, guid([0xff; 16]), other),
        (0, guid(*b"xRPi4xxxxxxxxxxx"), other),
        (0, None, other),
        // Its UEFI says ARM, and is UEFI like any other.
        (11, named(b"RPi4"), Client::PxeFirmware { arch: ClientArch(11) }),
    ] {
        let asks = Request { uuid: uuid.clone(), ..firmware(MessageKind::Discover, arch) };
        assert_eq!(classify(&asks), expected, "{arch} {uuid:x?}");
    }
    let older = Request {
        mac: MacAddr::from_octets([0xb8, 0x27, 0xeb, 0, 0, 0x21]).expect("a unicast address"),
        uuid: guid([0x44; 16]),
        ..firmware(MessageKind::Discover, 0)
    };
    assert_eq!(classify(&older), Client::RaspberryPi(PiModel::Pi3));
}
