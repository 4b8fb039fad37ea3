//! What others' users reported of their servers, asked of this one.
//!
//! **Invariant:** every test names the report, and fails where this server has the same fault.

use super::*;

/// A request as it stands on the wire, with this behind its options.
fn with_option(bytes: &[u8], option: u8, value: &[u8]) -> Vec<u8> {
    let end = bytes.iter().rposition(|byte| *byte == options::END).expect("an end");
    let length = u8::try_from(value.len()).expect("one option");
    [&bytes[..end], &[option, length], value, &[options::END]].concat()
}

fn reserved(arch: u16, class: &str) -> Request {
    let vendor_class = Some(format!("{class}:Arch:{arch:05}:UNDI:003016").into_bytes());
    let mac = "88:ae:dd:05:08:fa".parse().expect("an address");
    Request { vendor_class, arch: Some(ClientArch(arch)), mac, ..request(MessageKind::Discover, 1) }
}

/// Where an option of a reply stands on the wire.
fn on_wire(reply: &Reply, option: &[u8]) -> usize {
    encode(reply).windows(option.len()).filter(|window| *window == option).count()
}

/// xcat2/xcat-core#7743: the nodes that have a reservation were told a file name where their firmware boots by HTTP alone.
#[test]
fn a_reserved_machine_that_boots_by_http_is_told_a_url_and_its_class() {
    let reply = offer(Room::with(NetworkMode::Server).ask(&reserved(16, "HTTPClient")));
    assert_eq!(reply.yiaddr, PC01_IP);
    assert_eq!(reply.file, "http://10.88.0.1:8080/loaders/ipxe.efi");
    assert_eq!(text(&reply, options::VENDOR_CLASS), "HTTPClient");
    assert!(!reply.options.contains_key(&options::TFTP_SERVER_NAME), "it would be taken for TFTP");
}

/// FOGProject/fog-docs#188: with option 60 and no 43, EDK2 asks port 4011, where nobody was.
#[test]
fn whoever_is_told_that_we_are_a_boot_server_is_told_to_take_the_file_at_once() {
    for mode in [NetworkMode::Server, NetworkMode::Proxy] {
        for arch in [0, 7] {
            let reply = offer(Room::with(mode).ask(&reserved(arch, "PXEClient")));
            assert_eq!(text(&reply, options::VENDOR_CLASS), "PXEClient");
            let information = reply.options.get(&options::VENDOR_INFORMATION).map(Vec::as_slice);
            assert_eq!(information, Some(&[6, 1, 8, 255][..]), "{mode:?} {arch}: discovery control, and the end");
        }
    }
}

/// metal3-io/baremetal-operator#446: a user class without RFC 3004's lengths got no answer at all.
#[test]
fn an_ipxe_whose_user_class_has_no_length_is_answered_with_its_script() {
    for class in [&b"iPXE"[..], b"\x04iPXE"] {
        let bytes = with_option(&fixture!("edk2-discover"), options::USER_CLASS, class);
        let reply = offer(Room::with(NetworkMode::Server).ask(&parse(&bytes).expect("it reads")));
        assert!(matches!(reply.boot, Some(BootInfo::Script(_) | BootInfo::BetterIpxe(_))), "{:?}", reply.boot);
    }
}

/// netbootxyz/netboot.xyz#1198, garybowers/bootimus#117: ROMs of ten years read option 67 as C text and ask for what follows it too.
#[test]
fn a_loaders_name_ends_with_a_zero_where_firmware_reads_it_as_c_text() {
    for (arch, file) in [(0, "undionly.kpxe"), (7, "ipxe.efi")] {
        let reply = offer(Room::with(NetworkMode::Server).ask(&reserved(arch, "PXEClient")));
        let length = u8::try_from(file.len() + 1).expect("short");
        let option = [&[options::BOOT_FILE_NAME, length][..], file.as_bytes(), &[0]].concat();
        assert_eq!(on_wire(&reply, &option), 1, "{file}");
    }
}

/// siderolabs/booter#11: U-Boot reads siaddr of the header alone, beside another server too.
#[test]
fn who_has_the_files_stands_in_the_header_for_those_that_read_no_option() {
    for mode in [NetworkMode::Server, NetworkMode::Proxy] {
        let reply = offer(Room::with(mode).ask(&parse(&fixture!("uboot-arm64-discover")).expect("it reads")));
        assert_eq!(encode(&reply)[20..24], SERVER.octets(), "{mode:?}");
    }
}
