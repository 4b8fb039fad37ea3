//! HTTP at its bounds: many clients, silent ones, slow ones, and an asset store with holes in it.

use crate::serve::{
    http::{ask, get},
    service::{DEADLINE, Service},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::symlink,
    thread,
    time::Instant,
};

pub fn connect_from(source: &str, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let source: SocketAddr = format!("{source}:0").parse().expect("an address");
    socket.bind(&source.into()).expect("it is bound");
    socket.connect(&server.into()).expect("it connects");
    let stream: TcpStream = socket.into();
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    stream
}

/// Asks on a connection that is kept.
fn request(stream: &mut TcpStream, path: &str) {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("it is sent");
}

/// The body of the next answer on a connection that is kept.
fn body(stream: &mut TcpStream) -> Vec<u8> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert_ne!(reader.read_line(&mut head).expect("a head"), 0, "closed after {head:?}");
    }
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    reader.read_exact(&mut body).expect("a body");
    body
}

pub fn raise_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("up to the hard limit anybody may");
}

#[test]
fn two_hundred_kept_connections_are_all_answered_again_and_again() {
    raise_descriptors();
    let service = Service::start(&[]);
    let mut room: Vec<_> = (0..200).map(|_| connect_from("127.0.0.1", service.http)).collect();
    for _ in 0..3 {
        room.iter_mut().for_each(|stream| request(stream, "/machines/88aedd0508fa/boot.ipxe"));
        for stream in &mut room {
            assert_eq!(body(stream), b"#!ipxe\necho pc01\n");
        }
    }
    service.stop();
}

#[test]
fn a_thousand_silent_connections_keep_no_machine_out() {
    raise_descriptors();
    let service = Service::start(&[]);
    let silent: Vec<_> = (0..1000).map(|n| connect_from(&format!("127.0.1.{}", n % 5 + 1), service.http)).collect();
    let mut machine = connect_from("127.0.0.1", service.http);
    request(&mut machine, "/boot.ipxe");
    assert_eq!(body(&mut machine).len(), get(service.http, "/boot.ipxe").body.len());
    // The very address that holds too many gets in as well, in the place of one of its own.
    let begun = Instant::now();
    let more: Vec<_> = (0..256).map(|_| connect_from("127.0.1.1", service.http)).collect();
    loop {
        let mut stream = connect_from("127.0.1.1", service.http);
        let mut first = [0; 4];
        let asked = write!(stream, "GET /boot.ipxe HTTP/1.1\r\nHost: x\r\n\r\n");
        if asked.is_ok() && stream.read_exact(&mut first).is_ok() && &first == b"HTTP" {
            break;
        }
        assert!(begun.elapsed() < DEADLINE, "the greedy address is locked out");
    }
    drop((silent, more));
    service.stop();
}

#[test]
fn a_head_without_end_and_one_that_never_ends_are_cut_off() {
    let service = Service::start(&[]);
    let mut endless = connect_from("127.0.0.1", service.http);
    let line = [b'a'; 4096];
    let _ = endless.write_all(b"GET /boot.ipxe HTTP/1.1\r\nX: ");
    // Refused by an answer or by a closed connection: either way long before a megabyte is taken.
    let taken = (0..4096).take_while(|_| endless.write_all(&line).is_ok()).count();
    assert!(taken < 4096, "16 MiB of one header were taken");
    let mut half = connect_from("127.0.0.1", service.http);
    half.write_all(b"GET /boot.ipxe HTTP/1.1\r\nHo").expect("it is sent");
    let mut rest = Vec::new();
    half.read_to_end(&mut rest).expect("it is closed within the deadline");
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
    assert_eq!(get(service.http, "/boot.ipxe").status, 200);
    service.stop();
}

#[test]
fn a_client_that_takes_nothing_is_cut_off() {
    let service = Service::start(&[]);
    fs::create_dir_all(service.state.path().join("assets")).expect("it is made");
    let size = 1u64 << 30;
    fs::File::create(service.state.path().join("assets/disk.img")).expect("it is made").set_len(size).expect("sparse");
    let mut stream = connect_from("127.0.0.1", service.http);
    stream.write_all(b"GET /assets/disk.img HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is sent");
    // Nothing is read until the other side has given up; the kernel tells of that without a byte being taken.
    let begun = Instant::now();
    let socket = Socket::from(stream.try_clone().expect("a second handle"));
    while socket.take_error().expect("it can be asked").is_none() {
        assert!(begun.elapsed() < DEADLINE * 3, "it still waits for a client that reads nothing");
        // A byte to a closed connection is answered by a reset.
        if stream.write_all(b" ").is_err() {
            break;
        }
        thread::sleep(std::time::Duration::from_millis(100));
    }
    service.stop();
}

#[test]
fn a_large_file_is_what_it_is_in_whole_and_in_parts() {
    let service = Service::start(&[]);
    let assets = service.state.path().join("assets");
    fs::create_dir_all(&assets).expect("it is made");
    let file: Vec<u8> = (0..5_000_001u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(assets.join("disk.img"), &file).expect("it is written");
    assert!(get(service.http, "/assets/disk.img").body == file);
    for (from, to) in [(0, 0), (262_143, 262_144), (4_999_999, 5_000_000), (1, 4_999_999)] {
        let part = ask(service.http, "GET", "/assets/disk.img", &[("Range", &format!("bytes={from}-{to}"))]);
        assert!(part.status == 206 && part.body == file[from..=to], "{from}-{to}");
    }
    // Several answers on one connection, large and small in turn: each has its own bytes.
    let mut stream = connect_from("127.0.0.1", service.http);
    for _ in 0..2 {
        request(&mut stream, "/assets/disk.img");
        assert!(body(&mut stream) == file);
        request(&mut stream, "/machines/88aedd0508fa/boot.ipxe");
        assert_eq!(body(&mut stream), b"#!ipxe\necho pc01\n");
    }
    service.stop();
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_breaks_the_connection() {
    let service = Service::start(&[]);
    let assets = service.state.path().join("assets");
    fs::create_dir_all(&assets).expect("it is made");
    let (path, size) = (assets.join("disk.img"), 64 << 20);
    fs::write(&path, vec![7; size]).expect("it is written");
    let mut stream = connect_from("127.0.0.1", service.http);
    request(&mut stream, "/assets/disk.img");
    stream.read_exact(&mut [0; 64]).expect("it begins");
    fs::File::options().write(true).open(&path).expect("it opens").set_len(1 << 20).expect("it shrinks");
    let mut rest = Vec::new();
    // A reset or an end: what matters is that it is short, and that nothing was made up.
    let _ = stream.read_to_end(&mut rest);
    assert!(rest.len() < size, "{} bytes", rest.len());
    assert_eq!(get(service.http, "/boot.ipxe").status, 200);
    service.stop();
}

#[test]
fn an_answer_that_runs_is_carried_to_its_end_when_the_service_stops() {
    let service = Service::start(&[]);
    fs::create_dir_all(service.state.path().join("assets")).expect("it is made");
    // More than sockets hold, and little enough for the five seconds that a service takes to end.
    let size = 12_000_000;
    fs::write(service.state.path().join("assets/big"), vec![7; size]).expect("it is written");
    let mut stream = connect_from("127.0.0.1", service.http);
    stream.write_all(b"GET /assets/big HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is sent");
    let mut first = [0; 64];
    stream.read_exact(&mut first).expect("it begins");
    let rest = thread::spawn(move || {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("it ends");
        rest.len()
    });
    service.stop();
    assert!(rest.join().expect("no panic") >= size);
}

#[test]
fn a_link_within_the_assets_is_followed_and_none_leads_out() {
    let service = Service::start(&[]);
    let state = service.state.path();
    let assets = state.join("assets");
    fs::create_dir_all(assets.join("rescue/deep")).expect("it is made");
    fs::write(assets.join("rescue/vmlinuz-6.1"), "kernel").expect("it is written");
    fs::write(state.join("secret"), "secret").expect("it is written");
    symlink("vmlinuz-6.1", assets.join("rescue/vmlinuz")).expect("a link");
    symlink("../vmlinuz-6.1", assets.join("rescue/deep/up")).expect("a link");
    symlink("rescue", assets.join("current")).expect("a link");
    symlink("../secret", assets.join("out")).expect("a link");
    symlink(state.join("secret"), assets.join("absolute")).expect("a link");
    symlink("../..", assets.join("rescue/parent")).expect("a link");
    symlink("loop", assets.join("loop")).expect("a link");
    symlink("/proc/self", assets.join("proc")).expect("a link");
    for path in ["rescue/vmlinuz", "rescue/deep/up", "current/vmlinuz", "rescue/deep/../vmlinuz", "rescue//vmlinuz"] {
        assert_eq!(get(service.http, &format!("/assets/{path}")).body, b"kernel", "{path}");
    }
    for path in
        ["out", "absolute", "rescue/parent/secret", "loop", "proc/status", "rescue/vmlinuz/x", "rescue\\vmlinuz", "..%2fsecret"]
    {
        assert_eq!(get(service.http, &format!("/assets/{path}")).status, 404, "{path}");
    }
    service.stop();
}

#[test]
fn a_replaced_asset_is_seen_at_once() {
    let service = Service::start(&[]);
    let assets = service.state.path().join("assets");
    fs::create_dir_all(&assets).expect("it is made");
    let body = || get(service.http, "/assets/user-data").body;
    fs::write(assets.join("user-data"), "one").expect("it is written");
    // Old enough to be kept in memory.
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    for round in 0..3 {
        let text = format!("{round:03}");
        fs::write(assets.join("fresh"), &text).expect("it is written");
        fs::File::options().write(true).open(assets.join("fresh")).expect("it opens").set_modified(old).expect("it is set");
        fs::rename(assets.join("fresh"), assets.join("user-data")).expect("it is renamed");
        assert_eq!((body(), body()), (text.clone().into_bytes(), text.into_bytes()), "renamed over");
        let text = format!("{round:02}x");
        fs::write(assets.join("user-data"), &text).expect("it is written");
        assert_eq!(body(), text.as_bytes(), "written over");
    }
    fs::rename(&assets, service.state.path().join("old")).expect("it is renamed");
    assert_eq!(get(service.http, "/assets/user-data").status, 404);
    service.stop();
}

#[test]
fn what_a_client_has_is_not_sent_again_and_types_are_what_firmware_goes_by() {
    let service = Service::start(&[]);
    let assets = service.state.path().join("assets");
    fs::create_dir_all(&assets).expect("it is made");
    for (name, expected) in [
        ("shim.EFI", "application/efi"),
        ("netboot.iso", "application/vnd.efi-iso"),
        ("disk.img", "application/vnd.efi-img"),
        ("menu.ipxe", "text/plain; charset=utf-8"),
        ("vmlinuz", "application/octet-stream"),
        ("empty", "application/octet-stream"),
    ] {
        fs::write(assets.join(name), if name == "empty" { "" } else { "content" }).expect("it is written");
        let path = format!("/assets/{name}");
        let first = get(service.http, &path);
        assert_eq!((first.status, first.headers["content-type"].as_str()), (200, expected), "{name}");
        let known = ask(service.http, "GET", &path, &[("If-None-Match", &first.headers["etag"])]);
        assert_eq!((known.status, known.body.len()), (304, 0), "{name}");
        let head = ask(service.http, "HEAD", &path, &[]);
        assert_eq!((head.body.len(), &head.headers["content-length"]), (0, &first.headers["content-length"]), "{name}");
    }
    let whole = ask(service.http, "HEAD", "/assets/vmlinuz", &[("Range", "bytes=-3")]);
    assert_eq!((whole.status, whole.headers["content-length"].as_str()), (200, "7"), "a part is GET's alone");
    service.stop();
}
