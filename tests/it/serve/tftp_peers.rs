//! TFTP against the clients that operators have: curl, atftp, tftp-hpa and busybox. Where one is missing the test says so.

use crate::serve::netns::{ends_within, skipped};
use crate::serve::service::{DEADLINE, Service};
use std::{
    collections::BTreeSet,
    fs,
    net::UdpSocket,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tftpd::Packet;

fn file() -> Vec<u8> {
    (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Runs a client in a directory of its own; what it fetched, or `None` where the client is missing.
fn fetch(words: &[&str]) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().expect("a directory");
    let started = Command::new(words[0])
        .args(&words[1..])
        .current_dir(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(client) = started else {
        skipped(&format!("{} is not installed", words[0]));
        return None;
    };
    assert!(ends_within(client, DEADLINE * 6), "{words:?} did not end");
    Some(fs::read(directory.path().join("got")).unwrap_or_default())
}

#[test]
fn every_client_gets_the_file_to_the_byte() {
    let file = file();
    let service = Service::start(&[("ipxe.efi", &file)]);
    let port = service.tftp.port().to_string();
    let url = format!("tftp://127.0.0.1:{port}/ipxe.efi");
    let clients: [&[&str]; 5] = [
        &["curl", "-sf", "-o", "got", "--tftp-blksize", "1468", &url],
        &["curl", "-sf", "-o", "got", "--tftp-no-options", &url],
        &[
            "atftp",
            "--option",
            "blksize 1468",
            "--option",
            "windowsize 16",
            "-g",
            "-r",
            "ipxe.efi",
            "-l",
            "got",
            "127.0.0.1",
            &port,
        ],
        &["tftp", "-m", "binary", "127.0.0.1", &port, "-c", "get", "ipxe.efi", "got"],
        &["busybox", "tftp", "-b", "1400", "-g", "-r", "ipxe.efi", "-l", "got", "127.0.0.1", &port],
    ];
    for client in clients {
        if let Some(got) = fetch(client) {
            assert!(got == file, "{client:?}: {} bytes", got.len());
        }
    }
    service.stop();
}

#[test]
fn a_file_of_the_default_blocks_passes_the_sixty_five_thousandth() {
    // As large as a loader may be: block 65,536 of 512 bytes is its last and empty one, and 0 on the wire.
    let file: Vec<u8> = (0..(32u32 << 20) / 4).flat_map(u32::to_be_bytes).collect();
    let service = Service::start(&[("ipxe.efi", &file)]);
    let url = format!("tftp://127.0.0.1:{}/ipxe.efi", service.tftp.port());
    if let Some(got) = fetch(&["curl", "-sf", "-o", "got", "--tftp-no-options", &url]) {
        assert!(got == file, "{} bytes", got.len());
    }
    service.stop();
}

#[test]
fn a_text_comes_with_the_line_ends_of_the_network() {
    let service = Service::start(&[("menu.ipxe", b"#!ipxe\nshell\r\n")]);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    socket.send_to(b"\0\x01menu.ipxe\0NetASCII\0tsize\0\x30\0", service.tftp).expect("it is sent");
    let mut datagram = [0; 2048];
    let (length, transfer) = socket.recv_from(&mut datagram).expect("an answer");
    let Ok(Packet::Oack(options)) = Packet::deserialize(&datagram[..length]) else { panic!("no OACK") };
    let text = b"#!ipxe\r\nshell\r\0\r\n";
    assert_eq!(options[0].value, text.len() as u64, "the size is that of what is sent");
    socket.send_to(&[0, 4, 0, 0], transfer).expect("it is sent");
    let (length, _) = socket.recv_from(&mut datagram).expect("a block");
    assert_eq!(&datagram[4..length], text);
    service.stop();
}

#[test]
fn one_address_has_sixteen_transfers_and_its_neighbour_still_gets_one() {
    let service = Service::start(&[("ipxe.efi", &[7; 50_000])]);
    let ask = |from: &str| {
        let socket = UdpSocket::bind((from, 0)).expect("a port");
        socket.send_to(b"\0\x01ipxe.efi\0octet\0blksize\0\x31468\0", service.tftp).expect("it is sent");
        socket
    };
    let greedy: Vec<_> = (0..20).map(|_| ask("127.0.0.2")).collect();
    let mut datagram = [0; 2048];
    let served = |socket: &UdpSocket, wait: Duration, datagram: &mut [u8]| {
        socket.set_read_timeout(Some(wait)).expect("a time-out");
        socket.recv_from(datagram).is_ok()
    };
    let neighbour = ask("127.0.0.3");
    assert!(served(&neighbour, DEADLINE, &mut datagram));
    // All were answered once; the oldest, which took nothing, made room for the newest. What is sent once more shows who is left.
    let answered = greedy.iter().filter(|socket| served(socket, DEADLINE, &mut datagram)).count();
    assert_eq!(answered, 20);
    let begun = Instant::now();
    let mut left = BTreeSet::new();
    while begun.elapsed() < Duration::from_millis(2500) {
        left.extend((0..greedy.len()).filter(|n| served(&greedy[*n], Duration::from_millis(5), &mut datagram)));
    }
    assert_eq!(left, (4..20).collect(), "sixteen transfers, the newest");
    service.stop();
}
