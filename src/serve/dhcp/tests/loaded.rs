//! Which loader each kind of firmware is told, and in which way.
//!
//! **Invariant:** every test names the machine that would not boot without it.

use super::*;
use crate::{
    desired::{Loading, PxeStrategy},
    names::Platform,
    serve::dhcp::{classify::PiModel, model::NoBoot},
};

/// Every loader a kind of firmware may need.
const LOADERS: [&str; 10] = [
    "undionly.kpxe",
    "ipxe.efi",
    "snponly.efi",
    "ipxe-i386.efi",
    "arm64-efi/ipxe.efi",
    "pxelinux.0",
    "bootcode.bin",
    "70924600/start4.elf",
    "start4.elf",
    "config.txt",
];

fn room(mode: NetworkMode) -> Room {
    let mut room = Room::with(mode);
    room.loaders = LOADERS.iter().map(|name| ((*name).to_owned(), name.as_bytes().to_vec().into())).collect();
    room
}

fn read(bytes: Vec<u8>) -> Request {
    parse(&bytes).expect("it reads")
}

#[test]
fn every_architecture_is_told_its_own_file_in_every_mode_c3_c13() {
    for (discover, file) in [
        (fixture!("bios-rom-discover"), "undionly.kpxe"),
        (fixture!("edk2-discover"), "ipxe.efi"),
        (fixture!("edk2-ia32-discover"), "ipxe-i386.efi"),
        (fixture!("edk2-arm64-discover"), "arm64-efi/ipxe.efi"),
        (fixture!("rpi4-uefi-discover"), "arm64-efi/ipxe.efi"),
        (fixture!("uboot-arm64-efi-discover"), "arm64-efi/ipxe.efi"),
        (fixture!("edk2-ia32-http-discover"), "http://10.88.0.1:8080/loaders/ipxe-i386.efi"),
        (fixture!("edk2-arm64-http-discover"), "http://10.88.0.1:8080/loaders/arm64-efi/ipxe.efi"),
        (fixture!("edk2-http-discover"), "http://10.88.0.1:8080/loaders/ipxe.efi"),
        (fixture!("gpxe-discover"), "tftp://10.88.0.1/undionly.kpxe"),
        (fixture!("ipxe-lacking-discover"), "tftp://10.88.0.1/undionly.kpxe"),
        (fixture!("ipxe-by-features-discover"), "http://10.88.0.1:8080/boot.ipxe"),
    ] {
        for mode in [NetworkMode::Server, NetworkMode::Proxy] {
            assert_eq!(offer(room(mode).ask(&read(discover.clone()))).file, file, "{mode:?}");
        }
    }
}

#[test]
fn every_http_architecture_is_told_a_whole_address_c14() {
    for (arch, file) in
        [(15, "ipxe-i386.efi"), (16, "ipxe.efi"), (17, "ipxe.efi"), (19, "arm64-efi/ipxe.efi"), (20, "undionly.kpxe")]
    {
        let vendor_class = Some(format!("HTTPClient:Arch:{arch:05}:UNDI:003016").into_bytes());
        let discover = Request { vendor_class, arch: Some(ClientArch(arch)), ..request(MessageKind::Discover, 1) };
        let reply = offer(room(NetworkMode::Proxy).ask(&discover));
        assert_eq!(text(&reply, options::BOOT_FILE_NAME), format!("http://10.88.0.1:8080/loaders/{file}\0"), "{arch}");
        assert_eq!(text(&reply, options::VENDOR_CLASS), "HTTPClient");
    }
}

#[test]
fn an_etherboot_rom_is_told_the_file_alone_and_only_by_the_server_of_its_address() {
    let discover = read(fixture!("etherboot-discover"));
    assert_eq!(classify(&discover), Client::Etherboot);
    let reply = offer(room(NetworkMode::Server).ask(&discover));
    assert_eq!(reply.file, "undionly.kpxe");
    assert!(!reply.options.contains_key(&options::VENDOR_INFORMATION));
    let answer = room(NetworkMode::Proxy).ask(&discover);
    assert!(matches!(answer, Answer::Ignore(IgnoreReason::NoBoot(_))), "{answer:?}");
}

#[test]
fn a_u_boot_is_told_who_has_its_files_beside_another_server_too() {
    let discover = read(fixture!("uboot-arm64-discover"));
    assert_eq!(classify(&discover), Client::UBoot { arch: Some(ClientArch(22)) });
    let mut room = room(NetworkMode::Server);
    let reply = offer(room.ask(&discover));
    assert_eq!((reply.siaddr, reply.file.as_str()), (Ipv4Addr::new(10, 88, 0, 1), ""), "without it: `serverip' not set");
    assert!(!reply.options.contains_key(&options::VENDOR_CLASS) && !reply.options.contains_key(&options::BOOT_FILE_NAME));
    let machine = room.table.machines.values_mut().next().expect("a machine");
    (machine.macs, machine.loader) = (vec![discover.mac], Some("arm64-efi/ipxe.efi".into()));
    assert_eq!(offer(room.ask(&discover)).file, "", "that is for its UEFI part");
    room.table.machines.values_mut().next().expect("a machine").loader = Some("pxelinux.0".into());
    assert_eq!(offer(room.ask(&discover)).file, "pxelinux.0");
    // New ones take a proxy's word (CONFIG_SERVERIP_FROM_PROXYDHCP); those of old drop an offer without an address.
    let beside = offer(self::room(NetworkMode::Proxy).ask(&discover));
    assert_eq!(
        (beside.siaddr, beside.yiaddr, beside.to),
        (Ipv4Addr::new(10, 88, 0, 1), Ipv4Addr::UNSPECIFIED, Destination::Broadcast)
    );
    assert_eq!(text(&beside, options::VENDOR_CLASS), "PXEClient", "by which it knows a proxy");
}

#[test]
fn an_ipxe_that_our_loader_does_not_help_is_not_chained_forever_c11() {
    let mut room = room(NetworkMode::Proxy);
    let mut discover = read(fixture!("ipxe-lacking-discover"));
    for round in 0..3 {
        discover.xid = round;
        assert_eq!(offer(room.ask(&discover)).file, "tftp://10.88.0.1/undionly.kpxe");
        assert_eq!(offer(room.ask(&discover)).file, "tftp://10.88.0.1/undionly.kpxe", "the same round, repeated");
        // It takes an address of the router, and fetches the loader from there.
        room.chainload_loops.note_address(discover.mac, ip(77));
        room.chainload_loops.note_fetch(ip(77), Timestamp::from_second(room.now).expect("a time"));
        room.now += 5;
    }
    discover.xid = 9;
    let Answer::Ignore(IgnoreReason::NoBoot(reason)) = room.ask(&discover) else { panic!("it loops") };
    assert_eq!(reason.to_string(), "our loader comes back without HTTP or iSCSI: it was loaded several times within a minute");
    room.now += 60;
    assert_eq!(offer(room.ask(&discover)).file, "tftp://10.88.0.1/undionly.kpxe", "after a minute it may be another boot");
}

#[test]
fn a_machines_loader_is_over_its_networks_and_only_where_its_firmware_can_start_it() {
    let mut room = room(NetworkMode::Server);
    room.network().loading.loader = [(Platform::UefiX64, "snponly.efi".to_owned())].into();
    assert_eq!(offer(room.ask(&firmware(MessageKind::Discover, 7))).file, "snponly.efi");
    assert_eq!(offer(room.ask(&firmware(MessageKind::Discover, 0))).file, "undionly.kpxe");
    let mac = firmware(MessageKind::Discover, 0).mac;
    let machine = room.table.machines.values_mut().next().expect("a machine");
    (machine.macs, machine.loader) = (vec![mac], Some("pxelinux.0".into()));
    assert_eq!(offer(room.ask(&firmware(MessageKind::Discover, 0))).file, "pxelinux.0");
    assert_eq!(offer(room.ask(&firmware(MessageKind::Discover, 9))).file, "snponly.efi", "its UEFI cannot start pxelinux.0");
    room.network().loading.loader = [(Platform::UefiX64, "absent.efi".to_owned())].into();
    let reply = offer(room.ask(&firmware(MessageKind::Discover, 7)));
    assert!(reply.file.is_empty() && !reply.options.contains_key(&options::VENDOR_INFORMATION), "never another one");
}

#[test]
fn firmware_is_told_by_the_way_that_the_site_says_and_the_boot_server_names_the_file_c6() {
    let asked = [options::VENDOR_CLASS, options::VENDOR_INFORMATION, options::BOOT_FILE_NAME];
    let item = b"\x06\x01\x03\x08\x07\x80\x00\x01\x0a\x58\x00\x01\x09\x0b\x80\x00\x08ipxe.efi\x0a\x04\0PXE\xff";
    for (strategy, class, information, file) in [
        (PxeStrategy::File, true, Some(&[6, 1, 8, 255][..]), "ipxe.efi"),
        (PxeStrategy::BootServer, true, None, ""),
        (PxeStrategy::Menu, true, Some(item), ""),
        (PxeStrategy::Plain, false, None, "ipxe.efi"),
    ] {
        for mode in [NetworkMode::Server, NetworkMode::Proxy] {
            let mut room = room(mode);
            room.network().loading = Loading { pxe: [(Platform::UefiX64, strategy)].into(), ..Loading::default() };
            let reply = offer(room.ask(&firmware(MessageKind::Discover, 7)));
            let told = asked.map(|option| reply.options.contains_key(&option));
            let proxy = mode == NetworkMode::Proxy;
            assert_eq!(told, [class || proxy, information.is_some(), !file.is_empty()], "{mode:?} {strategy:?}");
            assert_eq!((reply.file.as_str(), reply.siaddr), (file, SERVER), "{mode:?} {strategy:?}");
            assert_eq!(reply.options.get(&options::VENDOR_INFORMATION).map(Vec::as_slice), information, "{strategy:?}");

            let boot_item = (strategy == PxeStrategy::Menu).then(|| vec![0x80, 0, 0, 0]);
            let ask = Request { ciaddr: Some(ip(60)), boot_item, ..firmware(MessageKind::Request, 7) };
            let reply = ack(room.at(Port::BootServer, SocketAddrV4::new(ip(60), 4011), &ask).answer);
            assert_eq!((reply.file.as_str(), reply.siaddr), ("ipxe.efi", SERVER), "{mode:?} {strategy:?}");
            assert!(reply.options.contains_key(&options::BOOT_FILE_NAME));
        }
    }
}

#[test]
fn what_real_firmware_chose_from_our_menu_is_answered_with_the_file_and_the_choice_c6() {
    let chosen = read(fixture!("edk2-menu-request"));
    let mut room = room(NetworkMode::Server);
    room.network().loading.pxe = [(Platform::UefiX64, PxeStrategy::Menu)].into();
    let source = SocketAddrV4::new(chosen.ciaddr.expect("it has an address"), 4011);
    let reply = ack(room.at(Port::BootServer, source, &chosen).answer);
    assert_eq!((reply.file.as_str(), reply.to), ("ipxe.efi", Destination::Unicast(source)));
    assert_eq!(reply.options[&options::VENDOR_INFORMATION], [6, 1, 8, 71, 4, 0x80, 0, 0, 0, 255]);
}

#[test]
fn a_machines_way_is_over_its_networks() {
    let mut room = room(NetworkMode::Server);
    let mac = firmware(MessageKind::Discover, 0).mac;
    let machine = room.table.machines.values_mut().next().expect("a machine");
    (machine.macs, machine.pxe) = (vec![mac], Some(PxeStrategy::Plain));
    let reply = offer(room.ask(&firmware(MessageKind::Discover, 7)));
    assert!(reply.file == "ipxe.efi" && !reply.options.contains_key(&options::VENDOR_CLASS));
}

#[test]
fn a_raspberry_pi_is_told_the_menu_it_looks_for_and_no_file_c27() {
    let padded = b"\x06\x01\x03\x0a\x04\0PXE\x09\x17\0\0\x14Raspberry Pi Boot   \xff".as_slice();
    let exact = b"\x06\x01\x03\x0a\x04\0PXE\x09\x14\0\0\x11Raspberry Pi Boot\xff".as_slice();
    for (discover, model, menu) in [
        (fixture!("rpi3-discover"), PiModel::Pi3, padded),
        (fixture!("rpi4-discover"), PiModel::Pi4, exact),
        (fixture!("rpi5-discover"), PiModel::Pi5, exact),
    ] {
        let discover = read(discover);
        assert_eq!(classify(&discover), Client::RaspberryPi(model));
        for mode in [NetworkMode::Server, NetworkMode::Proxy] {
            let reply = offer(room(mode).ask(&discover));
            assert_eq!(reply.options[&options::VENDOR_INFORMATION], menu, "{model:?} {mode:?}");
            assert_eq!(text(&reply, options::VENDOR_CLASS), "PXEClient");
            assert_eq!((reply.siaddr, reply.file.as_str()), (SERVER, ""));
            assert_eq!(text(&reply, options::TFTP_SERVER_NAME), "10.88.0.1\0");
            assert!(!reply.options.contains_key(&options::BOOT_FILE_NAME));
        }
    }
}

#[test]
fn a_raspberry_pi_without_files_is_told_nothing_and_the_reason_is_kept_c28() {
    for (discover, file) in [
        (fixture!("rpi3-discover"), "bootcode.bin"),
        (fixture!("rpi4-discover"), "start4.elf"),
        (fixture!("rpi5-discover"), "config.txt"),
    ] {
        let discover = read(discover);
        let Answer::Ignore(IgnoreReason::NoBoot(reason)) = Room::with(NetworkMode::Proxy).ask(&discover) else {
            panic!("{file} is not there")
        };
        assert_eq!(
            reason.to_string(),
            format!("{file} is not among the loaders, neither at their root nor in a directory there")
        );
        let reply = offer(Room::with(NetworkMode::Server).ask(&discover));
        assert!(!reply.options.contains_key(&options::VENDOR_INFORMATION), "it gets an address all the same");
    }
}

#[test]
fn the_options_of_the_site_are_sent_unasked_and_the_machines_are_over_its_networks() {
    let mut room = Room::with(NetworkMode::Server);
    let client = Request { parameter_list: vec![options::ROUTER], ..request(MessageKind::Discover, 1) };
    room.network().options.set(42, vec![10, 0, 0, 1]);
    room.network().options.set(224, vec![1]);
    let machine = room.table.machines.values_mut().next().expect("a machine");
    machine.macs = vec![client.mac];
    machine.options.set(42, vec![10, 0, 0, 2]);
    machine.options.set(options::ROUTER, vec![10, 88, 0, 9]);
    let reply = offer(room.ask(&client));
    assert_eq!((&reply.options[&42], &reply.options[&224]), (&vec![10, 0, 0, 2], &vec![1]));
    assert_eq!(reply.options[&options::ROUTER], [10, 88, 0, 9]);
    let stranger = offer(room.ask(&request(MessageKind::Discover, 2)));
    assert_eq!(stranger.options[&42], [10, 0, 0, 1]);
    assert_eq!(stranger.options[&options::ROUTER], [10, 88, 0, 254]);
}

#[test]
fn no_option_of_the_site_takes_the_place_of_what_boots() {
    let mut room = Room::with(NetworkMode::Server);
    room.network().options.set(options::TFTP_SERVER_NAME, b"phones.example".to_vec());
    assert_eq!(text(&offer(room.ask(&request(MessageKind::Discover, 1))), options::TFTP_SERVER_NAME), "phones.example");
    let booting = offer(room.ask(&firmware(MessageKind::Discover, 7)));
    assert_eq!(text(&booting, options::TFTP_SERVER_NAME), "10.88.0.1\0");
}

#[test]
fn options_of_the_site_are_left_out_before_a_reply_outgrows_its_client_c16() {
    let mut room = Room::with(NetworkMode::Server);
    room.network().dns = vec![SERVER; 8];
    for number in [224, 225] {
        room.network().options.set(number, vec![7; 94]);
    }
    let uuid = Some(vec![0; 17]);
    let small = Request { uuid: uuid.clone(), client_id: Some(vec![1; 60]), ..firmware(MessageKind::Discover, 7) };
    let bytes = encode(&offer(room.ask(&small)));
    assert!(bytes.len() <= 548, "{} bytes", bytes.len());
    let sent = String::from_utf8_lossy(&bytes).into_owned();
    assert!(sent.contains("ipxe.efi") && sent.contains("PXEClient"), "what boots stays");
    let large = encode(&offer(room.ask(&Request { max_message_size: Some(1472), ..small })));
    assert!(large.windows(96).filter(|part| part[2..].iter().all(|octet| *octet == 7) && part[1] == 94).count() == 2);
}

/// The table of the site and the constants of this room stand apart, for the site knows no packets.
#[test]
fn both_tables_of_options_mean_the_same_numbers() {
    use crate::names::OptionRule;
    for (number, name) in [
        (options::SUBNET_MASK, "subnet-mask"),
        (options::ROUTER, "routers"),
        (options::NAME_SERVER, "domain-name-servers"),
        (options::HOST_NAME, "host-name"),
        (options::DOMAIN_NAME, "domain-name"),
        (options::BROADCAST_ADDRESS, "broadcast-address"),
        (options::VENDOR_INFORMATION, "vendor-encapsulated-options"),
        (options::REQUESTED_ADDRESS, "requested-address"),
        (options::LEASE_TIME, "lease-time"),
        (options::OVERLOAD, "option-overload"),
        (options::MESSAGE_TYPE, "message-type"),
        (options::SERVER_ID, "server-identifier"),
        (options::PARAMETER_LIST, "parameter-request-list"),
        (options::MESSAGE, "message"),
        (options::MAX_MESSAGE_SIZE, "max-message-size"),
        (options::RENEWAL_TIME, "renewal-time"),
        (options::REBINDING_TIME, "rebinding-time"),
        (options::VENDOR_CLASS, "vendor-class-identifier"),
        (options::CLIENT_ID, "client-identifier"),
        (options::TFTP_SERVER_NAME, "tftp-server-name"),
        (options::BOOT_FILE_NAME, "bootfile-name"),
        (options::USER_CLASS, "user-class"),
        (options::RELAY_INFORMATION, "relay-agent-information"),
        (options::CLIENT_ARCH, "client-architecture"),
        (options::CLIENT_UUID, "client-uuid"),
        (options::IPXE, "ipxe"),
        (options::END, "end"),
    ] {
        assert_eq!(OptionRule::of(number).name, name, "{number}");
    }
}

// warewulf/warewulf3#104: FlexBoot and VirtualBox have an iPXE without the abilities. What keeps it from loading itself for ever (ipxe/ipxe#913)
// must be no switch for whoever writes its name.
#[test]
fn who_asks_in_a_machines_name_and_fetches_no_loader_does_not_keep_it_from_booting() {
    let mut room = room(NetworkMode::Server);
    let mut discover = read(fixture!("ipxe-lacking-discover"));
    for forged in 100..120 {
        discover.xid = forged;
        assert_eq!(offer(room.ask(&discover)).file, "tftp://10.88.0.1/undionly.kpxe");
        // Somebody fetches it, from an address of its own.
        room.chainload_loops.note_fetch(ip(9), Timestamp::from_second(room.now).expect("a time"));
    }
    discover.xid = 1;
    let own = offer(room.ask(&discover));
    assert_eq!(own.file, "tftp://10.88.0.1/undionly.kpxe");
    // And the loop itself is found as before.
    for round in 2..5 {
        room.chainload_loops.note_fetch(own.yiaddr, Timestamp::from_second(room.now).expect("a time"));
        discover.xid = round;
        let is_last = round == 4;
        assert_eq!(offer(room.ask(&discover)).file.is_empty(), is_last, "round {round}");
    }
}

// sky22333/netboot#13: the HTTP port was taken, and clients were sent to it all the same.
#[test]
fn while_our_http_is_not_open_nobody_is_sent_to_whoever_answers_there() {
    let mut room = Room::with(NetworkMode::Server);
    room.http = HttpState::Closed;
    let ipxe = read(fixture!("ipxe-bios-discover"));
    let answered = offer(room.ask(&ipxe));
    assert_eq!(answered.boot, Some(BootInfo::Nothing(NoBoot::NoHttp)));
    assert!(answered.file.is_empty() && !text(&answered, options::BOOT_FILE_NAME).contains("http"), "{answered:?}");
    let http_boot =
        Request { vendor_class: Some(b"HTTPClient:Arch:00016:UNDI:003016".to_vec()), ..firmware(MessageKind::Discover, 16) };
    assert_eq!(offer(room.ask(&http_boot)).boot, Some(BootInfo::Nothing(NoBoot::NoHttp)));
    // What needs no HTTP goes on: loaders by TFTP, and addresses.
    assert!(matches!(offer(room.ask(&firmware(MessageKind::Discover, 7))).boot, Some(BootInfo::Loader { .. })));
    assert!(room.join(9).is_some());
    room.http = HttpState::Open;
    assert!(matches!(offer(room.ask(&ipxe)).boot, Some(BootInfo::Script(_))));
}
