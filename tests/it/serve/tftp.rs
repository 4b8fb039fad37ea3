//! TFTP on the wire: another implementation's client, hostile datagrams, and a network that loses packets.

use crate::serve::service::{DEADLINE, Service};
use std::{
    fs,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tftpd::{Client, ClientConfig, ErrorCode, Packet};

fn bytes(length: usize) -> Vec<u8> {
    (0..length as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Fetches a file with tftpd's own client.
fn fetch(server: SocketAddr, name: &str, blksize: u16, windowsize: u16) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = ClientConfig {
        remote_ip_address: server.ip(),
        port: server.port(),
        receive_directory: directory.path().to_owned(),
        file_path: name.into(),
        ..ClientConfig::default()
    };
    config.opt_common.block_size = blksize;
    config.opt_common.window_size = windowsize;
    config.opt_common.timeout = Duration::from_secs(2);
    Client::new(&config).expect("a client").run().expect("it runs");
    fs::read(directory.path().join(name)).expect("it is there")
}

fn request(name: &str, options: &[(&str, &str)]) -> Vec<u8> {
    let mut packet = vec![0, 1];
    let words = [name, "octet"].into_iter().chain(options.iter().flat_map(|(name, value)| [*name, *value]));
    words.for_each(|word| packet.extend([word.as_bytes(), &[0]].concat()));
    packet
}

fn peer() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    socket
}

fn hear(socket: &UdpSocket) -> (Packet, SocketAddr) {
    let mut datagram = [0; 2048];
    let (length, from) = socket.recv_from(&mut datagram).expect("an answer");
    (Packet::deserialize(&datagram[..length]).expect("a packet"), from)
}

#[test]
fn every_size_arrives_to_the_byte() {
    let sizes = [0, 1, 511, 512, 513, 1468, 2936, 100_000];
    let files: Vec<_> = sizes.iter().map(|size| (format!("f{size}.efi"), bytes(*size))).collect();
    let loaders: Vec<_> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let service = Service::start(&loaders);
    for (name, bytes) in &files {
        for (blksize, windowsize) in [(512, 1), (1468, 1), (1468, 8), (65464, 64)] {
            assert!(fetch(service.tftp, name, blksize, windowsize) == *bytes, "{name} {blksize} {windowsize}");
        }
    }
    service.stop();
}

#[test]
fn block_numbers_wrap_and_the_file_goes_on() {
    let file = bytes(8 * 70_000 + 3);
    let service = Service::start(&[("ipxe.efi", &file)]);
    assert!(fetch(service.tftp, "ipxe.efi", 8, 64) == file);
    service.stop();
}

#[test]
fn what_is_not_there_is_refused_at_once_and_without_a_path() {
    let service = Service::start(&[("ipxe.efi", b"loader")]);
    fs::write(service.state.path().join("secret"), "x").expect("it is written");
    let mut fastest = DEADLINE;
    for name in ["bootsig.bin", "../secret", "/etc/passwd", "..\\secret", "loaders/ipxe.efi", "", "."] {
        let socket = peer();
        let begun = Instant::now();
        socket.send_to(&request(name, &[("tsize", "0")]), service.tftp).expect("it is sent");
        let expected = Packet::Error { code: ErrorCode::FileNotFound, msg: "no such file".into() };
        assert_eq!(hear(&socket).0, expected, "{name}");
        fastest = fastest.min(begun.elapsed());
    }
    // A refusal that waited for something would have waited each time.
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
    let socket = peer();
    socket.send_to(b"\0\x02ipxe.efi\0octet\0", service.tftp).expect("it is sent");
    assert_eq!(hear(&socket).0, Packet::Error { code: ErrorCode::AccessViolation, msg: "this server is read-only".into() });
    socket.send_to(b"\0\x01ipxe.efi\0octet", service.tftp).expect("it is sent");
    assert_eq!(hear(&socket).0, Packet::Error { code: ErrorCode::IllegalOperation, msg: "malformed request".into() });
    service.stop();
}

#[test]
fn firmware_that_asks_for_the_size_first_gets_the_file_from_the_same_port() {
    let file = bytes(5000);
    let service = Service::start(&[("ipxe.efi", &file)]);
    let socket = peer();
    let ask = request("\\IPXE.EFI", &[("tsize", "0"), ("blksize", "1468"), ("windowsize", "4")]);
    socket.send_to(&ask, service.tftp).expect("it is sent");
    let (oack, transfer) = hear(&socket);
    let Packet::Oack(options) = oack else { panic!("{oack:?} is no OACK") };
    assert!(options.iter().any(|option| option.value == 5000));
    socket.send_to(&[0, 5, 0, 8, b'x', 0], transfer).expect("it is sent");
    let begun = Instant::now();
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a time-out");
    let mut datagram = [0; 2048];
    loop {
        socket.send_to(&ask, service.tftp).expect("it is sent");
        // One that comes too long before the end of the first is forgotten, and firmware asks again.
        if let Ok((length, second)) = socket.recv_from(&mut datagram)
            && second != transfer
        {
            assert!(matches!(Packet::deserialize(&datagram[..length]), Ok(Packet::Oack(_))));
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "the ended transfer never made room");
    }
    service.stop();
}

#[test]
fn a_lost_option_answer_comes_again() {
    let service = Service::start(&[("ipxe.efi", &bytes(5000))]);
    let socket = peer();
    socket.send_to(&request("ipxe.efi", &[("blksize", "1468")]), service.tftp).expect("it is sent");
    let (first, from) = hear(&socket);
    let (again, also) = hear(&socket);
    assert_eq!((first, from), (again, also));
    service.stop();
}

#[test]
fn a_request_sent_twice_is_one_transfer() {
    let service = Service::start(&[("ipxe.efi", &bytes(5000))]);
    let socket = peer();
    for _ in 0..5 {
        // Nothing is sent again for want of an answer while this looks.
        let options = [("blksize", "1468"), ("timeout", "255")];
        socket.send_to(&request("ipxe.efi", &options), service.tftp).expect("it is sent");
    }
    let (_, transfer) = hear(&socket);
    socket.send_to(&[0, 4, 0, 0], transfer).expect("it is sent");
    socket.set_read_timeout(Some(Duration::from_millis(700))).expect("a time-out");
    let mut datagram = [0; 2048];
    let (mut others, mut blocks) = (0, 0);
    while let Ok((_, from)) = socket.recv_from(&mut datagram) {
        if from == transfer { blocks += 1 } else { others += 1 }
    }
    assert_eq!((others, blocks), (0, 1), "one block, from one transfer");
    service.stop();
}

#[test]
fn a_greedy_wish_is_cut_and_allocates_nothing() {
    let service = Service::start(&[("ipxe.efi", &bytes(500_000))]);
    let socket = peer();
    let greedy = [("blksize", "65464"), ("windowsize", "65535"), ("tsize", "0"), ("timeout", "255")];
    socket.send_to(&request("ipxe.efi", &greedy), service.tftp).expect("it is sent");
    let (oack, _) = hear(&socket);
    let Packet::Oack(options) = oack else { panic!("{oack:?} is no OACK") };
    let values: Vec<_> = options.iter().map(|option| option.value).collect();
    assert_eq!(values, [1468, 500_000, 255, 64]);
    service.stop();
}

#[test]
fn a_window_that_the_kernel_cuts_arrives_block_by_block() {
    for (blksize, blocks) in [(1468usize, 64u16), (1468, 7), (512, 64), (8, 64)] {
        let file = bytes(blksize * usize::from(blocks) * 2 + 3);
        let service = Service::start(&[("ipxe.efi", &file)]);
        let socket = peer();
        let options = [("blksize", blksize.to_string()), ("windowsize", blocks.to_string())];
        let options = options.each_ref().map(|(name, value)| (*name, value.as_str()));
        socket.send_to(&request("ipxe.efi", &options), service.tftp).expect("it is sent");
        let (oack, transfer) = hear(&socket);
        assert!(matches!(oack, Packet::Oack(_)));
        let mut got = Vec::new();
        for (from, to) in [(1, blocks), (blocks + 1, blocks * 2), (blocks * 2 + 1, blocks * 2 + 1)] {
            socket.send_to(&[&[0, 4], &(from - 1).to_be_bytes()[..]].concat(), transfer).expect("it is sent");
            for expected in from..=to {
                let (Packet::Data { block_num, data }, sender) = hear(&socket) else { panic!("no block") };
                assert_eq!((block_num, sender), (expected, transfer), "blksize {blksize}, window {blocks}");
                got.extend(data);
            }
        }
        assert!(got == file, "blksize {blksize}, window {blocks}");
        service.stop();
    }
}

#[test]
fn a_room_of_machines_fetches_at_once() {
    let file = bytes(300_000);
    let service = Service::start(&[("ipxe.efi", &file)]);
    let server = service.tftp;
    // One address may have sixteen transfers at once, and 127.0.0.0/8 has addresses enough.
    let machines: Vec<_> = (0..12).map(|_| thread::spawn(move || fetch(server, "ipxe.efi", 1468, 4))).collect();
    for machine in machines {
        assert!(machine.join().expect("no panic") == file);
    }
    service.stop();
}

/// Passes datagrams between a client and a server, and drops one in `every` of each direction.
struct LossyLink {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    dropped: Arc<AtomicUsize>,
}

impl LossyLink {
    fn to(server: SocketAddr, every: usize) -> Self {
        let front = peer();
        let address = front.local_addr().expect("an address");
        let (stop, dropped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let link = Self { address, stop: stop.clone(), dropped: dropped.clone() };
        thread::spawn(move || {
            let back = peer();
            for socket in [&front, &back] {
                socket.set_read_timeout(Some(Duration::from_micros(200))).expect("a time-out");
            }
            let (mut client, mut transfer, mut count) = (None, server, 0usize);
            let mut datagram = [0; 2048];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((length, from)) = front.recv_from(&mut datagram) {
                    client = Some(from);
                    count += 1;
                    match count % every {
                        0 => drop(dropped.fetch_add(1, Ordering::Relaxed)),
                        _ => drop(back.send_to(&datagram[..length], transfer)),
                    }
                }
                while let Ok((length, from)) = back.recv_from(&mut datagram) {
                    transfer = from;
                    count += 1;
                    match count % every {
                        0 => drop(dropped.fetch_add(1, Ordering::Relaxed)),
                        _ => drop(client.map(|client| front.send_to(&datagram[..length], client))),
                    }
                }
            }
        });
        link
    }
}

impl Drop for LossyLink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_network_that_loses_one_packet_in_twenty_delivers_the_file() {
    let file = bytes(60_000);
    let service = Service::start(&[("ipxe.efi", &file)]);
    for windowsize in [1, 8] {
        let link = LossyLink::to(service.tftp, 20);
        assert!(fetch(link.address, "ipxe.efi", 1468, windowsize) == file, "windowsize {windowsize}");
        assert!(link.dropped.load(Ordering::Relaxed) >= 2, "the link lost nothing");
    }
    service.stop();
}

#[test]
fn a_machine_that_was_reset_and_asks_again_from_the_same_port_is_served_anew() {
    let service = Service::start(&[("big.efi", &bytes(1_000_000)), ("ipxe.efi", &bytes(2000))]);
    let socket = peer();
    let wishes = request("big.efi", &[("tsize", "0"), ("blksize", "1468")]);
    socket.send_to(&wishes, service.tftp).expect("it is sent");
    let (Packet::Oack(_), old) = hear(&socket) else { panic!("no OACK") };
    for block in 0..40u16 {
        socket.send_to(&[&[0, 4], &block.to_be_bytes()[..]].concat(), old).expect("it is sent");
        let (Packet::Data { .. }, _) = hear(&socket) else { panic!("no DATA") };
    }
    // It was reset: nothing is acknowledged, and its ROM uses the port it used before.
    let begun = Instant::now();
    socket.send_to(&wishes, service.tftp).expect("it is sent");
    let new = loop {
        match hear(&socket) {
            (Packet::Oack(_), from) => break from,
            (packet, from) => assert!(from == old && matches!(packet, Packet::Data { .. }), "{packet:?}"),
        }
    };
    assert!(new != old && begun.elapsed() < Duration::from_secs(2), "after {:?}", begun.elapsed());
    service.stop();
}

#[test]
fn a_machine_that_leaves_its_options_out_the_second_time_gets_the_first_block_at_once() {
    let service = Service::start(&[("ipxe.efi", &bytes(2000))]);
    let socket = peer();
    socket.send_to(&request("ipxe.efi", &[("tsize", "0"), ("blksize", "1468")]), service.tftp).expect("it is sent");
    let (Packet::Oack(_), old) = hear(&socket) else { panic!("no OACK") };
    let begun = Instant::now();
    socket.send_to(&request("ipxe.efi", &[]), service.tftp).expect("it is sent");
    let (packet, from) = hear(&socket);
    assert!(matches!(packet, Packet::Data { block_num: 1, .. }) && from != old, "{packet:?}");
    assert!(begun.elapsed() < Duration::from_millis(900), "after {:?}", begun.elapsed());
    service.stop();
}

#[test]
fn a_file_that_is_too_large_is_refused_and_the_machine_is_told_why() {
    let service = Service::start(&[("ipxe.efi", b"loader")]);
    let large = fs::File::create(service.state.path().join("loaders/initrd.img")).expect("it is made");
    large.set_len((64 << 20) + 1).expect("it is sparse");
    let answer = || {
        let socket = peer();
        socket.send_to(&request("initrd.img", &[]), service.tftp).expect("it is sent");
        match hear(&socket).0 {
            Packet::Error { msg, .. } => msg,
            other => panic!("{other:?}"),
        }
    };
    service.until("it has been looked at", || async { answer().contains("too large") });
    let http = crate::serve::http::get(service.http, "/loaders/initrd.img");
    assert!(String::from_utf8_lossy(&http.body).contains("too large"));
    service.stop();
}
