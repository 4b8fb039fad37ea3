//! Every kind of machine on a real link: its packet goes to a running service in a network namespace, and the file it is told
//! comes by TFTP or HTTP. Packets are those of `tests/fixtures/dhcp`, which say where they come from.
//!
//! These need root and `ip`. Where one is missing each test says on stderr that it was skipped, uncaptured.

use crate::serve::netns::{Pair, Service, hex, named, skipped};
use crate::serve::service::{DEADLINE, publish, table};
use barista::{boot::table::BootTable, desired::PxeStrategy, names::Platform, site::NetworkMode};
use std::{
    collections::BTreeMap,
    env, fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    process::Command,
    time::{Duration, Instant},
};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 60);
const PLACE: &str = "BARISTA_TEST_CLIENT";

/// What one client was told, as the bytes say it.
struct Response {
    siaddr: Ipv4Addr,
    file: String,
    options: BTreeMap<u8, Vec<u8>>,
}

impl Response {
    fn read(bytes: &[u8]) -> Self {
        let four: [u8; 4] = bytes[20..24].try_into().expect("four octets");
        let name = &bytes[108..236];
        let file = String::from_utf8_lossy(&name[..name.iter().position(|octet| *octet == 0).unwrap_or(128)]).into_owned();
        let (mut options, mut rest) = (BTreeMap::new(), &bytes[240..]);
        while let [code, length, tail @ ..] = rest {
            match *code {
                255 => break,
                0 => rest = &rest[1..],
                code => {
                    let (data, tail) = tail.split_at(usize::from(*length));
                    options.insert(code, data.to_vec());
                    rest = tail;
                }
            }
        }
        Self { siaddr: four.into(), file, options }
    }
}

fn packet(name: &str) -> Vec<u8> {
    let path = crate::site::cases::house().join(format!("tests/fixtures/dhcp/{name}.hex"));
    hex(&fs::read_to_string(path).expect("a fixture"))
}

/// Long enough to believe that no answer comes.
const A_WHILE: Duration = Duration::from_secs(3);

/// Sends a packet from a client's port, each second again as firmware does, and hears the answer to it.
fn exchange(socket: &UdpSocket, bytes: &[u8], to: (Ipv4Addr, u16), patience: Duration) -> Option<Response> {
    let (begun, mut asked) = (Instant::now(), 0);
    let mut answer = [0; 2048];
    while begun.elapsed() < patience {
        if begun.elapsed().as_secs() >= asked {
            socket.send_to(bytes, to).expect("it is sent");
            asked = begun.elapsed().as_secs() + 1;
        }
        let Ok((length, _)) = socket.recv_from(&mut answer) else { continue };
        if length > 240 && answer[0] == 2 && answer[4..8] == bytes[4..8] {
            return Some(Response::read(&answer[..length]));
        }
    }
    None
}

/// A socket of a client on this side of the link.
fn client(port: u16) -> UdpSocket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("a socket");
    socket.set_reuse_address(true).expect("it may");
    socket.bind_device(Some(b"c0")).expect("it may");
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into()).expect("the port is free");
    let socket = UdpSocket::from(socket);
    socket.set_broadcast(true).expect("it may");
    socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a time-out");
    socket
}

fn offered(name: &str) -> Option<Response> {
    offered_within(name, DEADLINE)
}

fn offered_within(name: &str, patience: Duration) -> Option<Response> {
    exchange(&client(68), &packet(name), (Ipv4Addr::BROADCAST, 67), patience)
}

/// Asks the boot server as firmware does that was sent there: from its own port 4011, with an address.
fn boot_server(name: &str, item: &[u8]) -> Option<Response> {
    let mut bytes = packet(name);
    bytes[12..16].copy_from_slice(&CLIENT.octets());
    let end = bytes.len() - 1;
    bytes.truncate(end);
    let kind = bytes[240..].windows(3).position(|three| three == [53, 1, 1]).expect("a DISCOVER") + 240;
    bytes[kind + 2] = 3;
    if !item.is_empty() {
        bytes.extend([&[43, item.len() as u8][..], item].concat());
    }
    bytes.push(255);
    exchange(&client(4011), &bytes, (SERVER, 4011), DEADLINE)
}

/// One file by TFTP in blocks of 512, or the text of the server's ERROR.
fn tftp(name: &str) -> Result<Vec<u8>, String> {
    let socket = UdpSocket::bind((CLIENT, 0)).expect("a port");
    socket.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    let request = [b"\0\x01", name.as_bytes(), b"\0octet\0"].concat();
    socket.send_to(&request, (SERVER, 69)).expect("it is sent");
    let (mut file, mut datagram) = (Vec::new(), [0; 2048]);
    loop {
        let (length, from) = socket.recv_from(&mut datagram).expect("an answer");
        match &datagram[..length] {
            [0, 3, high, low, data @ ..] => {
                file.extend_from_slice(data);
                socket.send_to(&[0, 4, *high, *low], from).expect("it is sent");
                if data.len() < 512 {
                    return Ok(file);
                }
            }
            [0, 5, _, _, text @ ..] => return Err(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned()),
            other => panic!("neither DATA nor ERROR: {other:?}"),
        }
    }
}

fn http(url: &str) -> Vec<u8> {
    let (host, path) = url.strip_prefix("http://").and_then(|url| url.split_once('/')).expect("a URL");
    let mut stream = TcpStream::connect(host).expect("it connects");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").expect("it is sent");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("it answers");
    assert!(bytes.starts_with(b"HTTP/1.1 200 "), "{url}: {}", String::from_utf8_lossy(&bytes));
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    bytes[end + 4..].to_vec()
}

/// Runs `part` of this file within a client's namespace, beside a service of these loaders and this table.
fn beside(part: &str, loaders: &[&str], change: impl FnOnce(&mut BootTable)) {
    let (ours, theirs) = (format!("addr add {SERVER}/24 dev s0"), format!("addr add {CLIENT}/24 dev c0"));
    let Some(spaces) = Pair::make(&format!("bo-{part}-"), ("s0", &ours), ("c0", &theirs)) else {
        return skipped(&format!("DHCP test `{part}` needs root and ip"));
    };
    let state = tempfile::tempdir().expect("a directory");
    let root = state.path().join("loaders");
    for name in loaders {
        fs::create_dir_all(root.join(name).parent().expect("a parent")).expect("it is made");
        fs::write(root.join(name), format!("this is {name}")).expect("it is written");
    }
    let mut boot = table(&root);
    (boot.tftp_address, boot.http_address) = (SERVER, SERVER);
    for network in boot.networks.values_mut() {
        (network.interface, network.mode) = ("s0".into(), NetworkMode::Proxy);
        network.subnet = "10.77.1.0/24".parse().expect("a subnet");
    }
    change(&mut boot);
    publish(state.path(), &boot);
    let _service = Service::start(&spaces.server, state.path());
    let within = Command::new("ip")
        .args(["netns", "exec", &spaces.client])
        .arg(env::current_exe().expect("this binary"))
        .args(["--ignored", "--exact", &named(module_path!(), part), "--nocapture"])
        .env(PLACE, "a client")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&[within.stdout, within.stderr].concat()).into_owned();
    assert!(
        within.status.success() && said.contains("1 passed"),
        "{said}\n{}",
        fs::read_to_string(state.path().join("log")).unwrap_or_default()
    );
}

#[test]
fn every_kind_of_machine_fetches_the_file_it_is_told() {
    let loaders = ["undionly.kpxe", "ipxe.efi", "i386-efi/ipxe.efi", "arm64-efi/ipxe.efi", "bootcode.bin", "0a1b2c3d/start4.elf"];
    beside("part_every_kind", &loaders, |_| {});
}

#[test]
#[ignore = "every_kind_of_machine_fetches_the_file_it_is_told runs it, in a namespace"]
fn part_every_kind() {
    if env::var_os(PLACE).is_none() {
        return;
    }
    for (name, file) in [
        ("bios-rom-discover", "undionly.kpxe"),
        ("edk2-discover", "ipxe.efi"),
        ("edk2-ia32-discover", "i386-efi/ipxe.efi"),
        ("edk2-arm64-discover", "arm64-efi/ipxe.efi"),
        ("rpi4-uefi-discover", "arm64-efi/ipxe.efi"),
    ] {
        for told in [offered(name), boot_server(name, &[])] {
            let told = told.unwrap_or_else(|| panic!("{name} was not answered"));
            assert_eq!((told.file.as_str(), told.siaddr), (file, SERVER), "{name}");
            assert_eq!(told.options[&43], [6, 1, 8, 255], "{name}");
            assert_eq!(tftp(&told.file), Ok(format!("this is {file}").into_bytes()), "{name}");
        }
    }
    for (name, file) in [("gpxe-discover", "undionly.kpxe"), ("ipxe-lacking-discover", "undionly.kpxe")] {
        let told = offered(name).expect("an answer");
        assert_eq!(told.file, format!("tftp://{SERVER}/{file}"), "{name}");
    }
    let http_boot = offered("edk2-http-discover").expect("an answer");
    assert_eq!(http_boot.options[&60], b"HTTPClient");
    assert_eq!(http(&http_boot.file), b"this is ipxe.efi");
    for name in ["ipxe-by-features-discover", "ipxe-bios-discover", "ipxe-efi-discover"] {
        let script = offered(name).expect("an answer").file;
        assert!(http(&script).starts_with(b"#!ipxe\n"), "{name}");
    }
    for name in ["rpi3-discover", "rpi4-discover"] {
        let told = offered(name).expect("an answer");
        assert!(told.options[&43].windows(17).any(|part| part == b"Raspberry Pi Boot"), "{name}");
        assert_eq!((told.siaddr, told.file.as_str()), (SERVER, ""));
    }
    assert!(offered_within("rpi5-discover", A_WHILE).is_none(), "its files are not there");
    assert!(offered_within("etherboot-discover", A_WHILE).is_none(), "a proxy cannot tell it");
    // What a Raspberry Pi asks for: its own directory first, and then the root.
    assert_eq!(tftp("bootsig.bin"), Err("no such file".into()));
    assert_eq!(tftp("0a1b2c3d/start4.elf"), Ok(b"this is 0a1b2c3d/start4.elf".to_vec()));
    assert_eq!(tftp("70924600/start.elf"), Err("no such file".into()));
    assert_eq!(tftp("bootcode.bin"), Ok(b"this is bootcode.bin".to_vec()));
}

#[test]
fn a_signed_shim_and_its_second_stage_and_its_script_are_fetched_c36() {
    let loaders = ["undionly.kpxe", "ipxe-shimx64.efi", "ipxe.efi", "arm64-sb/snponly-shim.efi", "arm64-sb/snponly.efi"];
    beside("part_secure_boot", &loaders, |_| {});
}

#[test]
#[ignore = "a_signed_shim_and_its_second_stage_and_its_script_are_fetched_c36 runs it, in a namespace"]
fn part_secure_boot() {
    if env::var_os(PLACE).is_none() {
        return;
    }
    for (name, shim, second, directory) in [
        ("edk2-discover", "ipxe-shimx64.efi", "ipxe.efi", ""),
        ("edk2-arm64-discover", "arm64-sb/snponly-shim.efi", "arm64-sb/snponly.efi", "arm64-sb/"),
    ] {
        assert_eq!(offered(name).expect("an answer").file, shim);
        for file in [shim, second] {
            assert_eq!(tftp(file), Ok(format!("this is {file}").into_bytes()));
        }
        let script = tftp(&format!("{directory}autoexec.ipxe")).expect("a script");
        let script = String::from_utf8(script).expect("text");
        let first = script.split_whitespace().find(|word| word.starts_with("http://")).expect("an address");
        assert!(http(first).starts_with(b"#!ipxe\n"), "{script}");
    }
    let shim = offered("edk2-http-discover").expect("an answer").file;
    assert_eq!(http(&shim), b"this is ipxe-shimx64.efi");
    let base = shim.strip_suffix("loaders/ipxe-shimx64.efi").expect("a path of ours");
    for path in ["loaders/autoexec.ipxe", "loaders/arm64-sb/autoexec.ipxe", "autoexec.ipxe"] {
        assert!(http(&format!("{base}{path}")).starts_with(b"#!ipxe\n:again\ndhcp"), "{path}");
    }
}

#[test]
fn firmware_is_led_by_menu_and_boot_server_where_the_site_says_so_and_pxelinux_finds_its_files_c6() {
    let loaders = [
        "lab/pxelinux.0",
        "lab/ldlinux.c32",
        "lab/pxelinux.cfg/01-88-ae-dd-05-08-b0",
        "lab/pxelinux.cfg/0A4D",
        "ipxe.efi",
        "snponly.efi",
    ];
    beside("part_ways", &loaders, |table| {
        for network in table.networks.values_mut() {
            network.loading.loader =
                [(Platform::Bios, "lab/pxelinux.0".to_owned()), (Platform::UefiX64, "snponly.efi".to_owned())].into();
            network.loading.pxe = [(Platform::Bios, PxeStrategy::Menu), (Platform::UefiX64, PxeStrategy::BootServer)].into();
        }
    });
}

#[test]
#[ignore = "firmware_is_led_by_menu_and_boot_server_where_the_site_says_so_and_pxelinux_finds_its_files_c6 runs it, in a namespace"]
fn part_ways() {
    if env::var_os(PLACE).is_none() {
        return;
    }
    let offer = offered("edk2-discover").expect("an answer");
    assert_eq!((offer.file.as_str(), offer.siaddr, offer.options.get(&43)), ("", SERVER, None));
    assert_eq!(offer.options[&60], b"PXEClient");
    assert_eq!(boot_server("edk2-discover", &[]).expect("an answer").file, "snponly.efi");

    let offer = offered("bios-rom-discover").expect("an answer");
    assert_eq!(offer.file, "");
    let menu = &offer.options[&43];
    let servers = [&[8, 7, 0x80, 0, 1][..], &SERVER.octets()].concat();
    assert!(menu.windows(servers.len()).any(|part| part == servers), "{menu:?}");
    let told = boot_server("bios-rom-discover", &[71, 4, 0x80, 0, 0, 0, 255]).expect("an answer");
    assert_eq!(told.file, "lab/pxelinux.0");
    assert_eq!(told.options[&43], [6, 1, 8, 71, 4, 0x80, 0, 0, 0, 255], "the chosen item comes back");

    // What PXELINUX asks for, beside its own file: misses are errors at once, and the nearest name wins.
    assert_eq!(tftp("lab/pxelinux.0"), Ok(b"this is lab/pxelinux.0".to_vec()));
    assert_eq!(tftp("/lab/ldlinux.c32"), Ok(b"this is lab/ldlinux.c32".to_vec()));
    assert_eq!(tftp("lab/pxelinux.cfg/00000000-0000-0000-0000-000000000000"), Err("no such file".into()));
    assert!(tftp("lab/pxelinux.cfg/01-88-ae-dd-05-08-b0").is_ok());
    for (name, there) in [("0A4D013C", false), ("0A4D01", false), ("0A4D", true), ("default", false)] {
        assert_eq!(tftp(&format!("lab/pxelinux.cfg/{name}")).is_ok(), there, "{name}");
    }
    for name in ["../boot/table.json", "lab/../../boot/table.json", "lab\\..\\..\\boot\\table.json", "/etc/passwd", "lab"] {
        assert_eq!(tftp(name), Err("no such file".into()), "{name}");
    }
}
