//! HTTP on the wire: what firmware, iPXE and wget ask.

use crate::serve::service::{DEADLINE, Service};
use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    process::Command,
};

pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

pub fn get(server: SocketAddr, path: &str) -> Answer {
    ask(server, "GET", path, &[])
}

/// The bytes of an answer, as they came.
fn exchange(server: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server).expect("it connects");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    let extra: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{extra}\r\n").expect("it is sent");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("it answers");
    bytes
}

pub fn ask(server: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let bytes = exchange(server, method, path, headers);
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status").parse().expect("a number");
    let headers = lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()));
    Answer { status, headers: headers.collect(), body: bytes[end + 4..].to_vec() }
}

#[test]
fn the_first_script_leads_every_machine_to_its_own() {
    let service = Service::start(&[]);
    for path in ["/boot.ipxe", "/ipxe/boot.ipxe", "/boot.ipxe?x=1"] {
        let answer = get(service.http, path);
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (200, "text/plain; charset=utf-8"));
        let text = String::from_utf8(answer.body).expect("text");
        assert!(text.contains("http://127.0.0.1:8080/machines/${netX/mac:hexraw}/boot.ipxe"), "{text}");
    }
    for path in ["/machines/88aedd0508fa/boot.ipxe", "/ipxe/cfg/mac-88aedd0508fa.ipxe.cfg"] {
        assert_eq!(get(service.http, path).body, b"#!ipxe\necho pc01\n", "{path}");
    }
    let unknown = get(service.http, "/machines/020000000001/boot.ipxe");
    assert_eq!((unknown.status, unknown.body.as_slice()), (200, &b"#!ipxe\necho unknown\n"[..]));
    assert_eq!(get(service.http, "/machines/pc01/boot.ipxe").status, 404);
    assert_eq!(get(service.http, "/healthz").status, 200);
    service.stop();
}

#[test]
fn every_answer_has_a_length_and_head_has_no_body() {
    let service = Service::start(&[("ipxe.efi", &[7; 100_000])]);
    for path in ["/boot.ipxe", "/loaders/ipxe.efi", "/assets/none", "/nothing", "/machines/88aedd0508fa/boot.ipxe"] {
        let (whole, head) = (get(service.http, path), ask(service.http, "HEAD", path, &[]));
        assert_eq!(whole.headers["content-length"], whole.body.len().to_string(), "{path}");
        assert_eq!((head.status, head.body.len()), (whole.status, 0), "{path}");
        assert_eq!(head.headers.get("content-length"), whole.headers.get("content-length"), "{path}");
    }
    assert_eq!(get(service.http, "/loaders/ipxe.efi").headers["content-type"], "application/efi");
    assert_eq!(ask(service.http, "POST", "/boot.ipxe", &[]).status, 405);
    service.stop();
}

#[test]
fn the_length_is_spelt_as_loaders_look_for_it_that_mind_the_case() {
    let service = Service::start(&[("ipxe.efi", b"loader")]);
    fs::create_dir_all(service.state.path().join("assets")).expect("it is made");
    fs::write(service.state.path().join("assets/vmlinuz"), "kernel").expect("it is written");
    for path in ["/boot.ipxe", "/loaders/ipxe.efi", "/assets/vmlinuz"] {
        let answer = String::from_utf8(exchange(service.http, "GET", path, &[])).expect("text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.lines().any(|line| line == format!("Content-Length: {}", body.len())), "{path}: {head}");
    }
    service.stop();
}

#[test]
fn no_proxy_keeps_the_script_of_a_machine() {
    let service = Service::start(&[]);
    for path in ["/boot.ipxe", "/machines/88aedd0508fa/boot.ipxe", "/machines/020000000001/boot.ipxe", "/assets/not-yet"] {
        assert_eq!(get(service.http, path).headers.get("cache-control").map(String::as_str), Some("no-store"), "{path}");
    }
    service.stop();
}

#[test]
fn an_asset_comes_in_parts_and_a_changed_one_comes_whole() {
    let service = Service::start(&[]);
    let assets = service.state.path().join("assets");
    fs::create_dir_all(assets.join("rescue")).expect("it is made");
    let kernel: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    fs::write(assets.join("rescue/vmlinuz"), &kernel).expect("it is written");
    let whole = get(service.http, "/assets/rescue/vmlinuz");
    assert_eq!((whole.status, whole.body.len()), (200, kernel.len()));
    assert!(whole.body == kernel);
    let part = ask(service.http, "GET", "/assets/rescue/vmlinuz", &[("Range", "bytes=1000000-1000009")]);
    assert_eq!((part.status, part.body.as_slice()), (206, &kernel[1_000_000..1_000_010]));
    let tag = whole.headers.get("etag").or(whole.headers.get("last-modified")).expect("a validator");
    let range = ("Range", "bytes=0-9");
    let same = ask(service.http, "GET", "/assets/rescue/vmlinuz", &[range, ("If-Range", tag)]);
    assert_eq!((same.status, same.body.len()), (206, 10));
    let other = ask(service.http, "GET", "/assets/rescue/vmlinuz", &[range, ("If-Range", "\"another\"")]);
    assert_eq!((other.status, other.body.len()), (200, kernel.len()));
    let beyond = ask(service.http, "GET", "/assets/rescue/vmlinuz", &[("Range", "bytes=9000000-")]);
    assert_eq!(beyond.status, 416);
    service.stop();
}

#[test]
fn no_path_leads_out_of_the_assets() {
    let service = Service::start(&[]);
    fs::create_dir_all(service.state.path().join("assets/rescue")).expect("it is made");
    for path in [
        "/assets/../boot/table.json",
        "/assets/%2e%2e/boot/table.json",
        "/assets/..%2fboot%2ftable.json",
        "/assets//etc/passwd",
        "/assets/rescue",
        "/assets/rescue/",
    ] {
        assert_eq!(get(service.http, path).status, 404, "{path}");
    }
    service.stop();
}

#[test]
fn silent_connections_keep_nobody_out() {
    let service = Service::start(&[]);
    let silent: Vec<_> = (0..200).map(|_| TcpStream::connect(service.http).expect("it connects")).collect();
    assert_eq!(get(service.http, "/boot.ipxe").status, 200);
    drop(silent);
    service.stop();
}

#[test]
fn a_client_that_ends_its_own_side_gets_the_whole_answer() {
    let service = Service::start(&[]);
    let body: Vec<u8> = (0..5_000_000u32).map(|n| (n >> 3) as u8).collect();
    fs::create_dir_all(service.state.path().join("assets")).expect("it is made");
    fs::write(service.state.path().join("assets/large"), &body).expect("it is written");
    let mut stream = TcpStream::connect(service.http).expect("it connects");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    stream.write_all(b"GET /assets/large HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is sent");
    stream.shutdown(Shutdown::Write).expect("it has asked");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("the whole answer, and its end");
    assert!(answer.ends_with(&body), "{} bytes", answer.len());

    // busybox nc ends its side as soon as its input ends.
    let (ip, port) = (service.http.ip().to_string(), service.http.port().to_string());
    let request = "printf 'GET //boot.ipxe HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n' | busybox nc \"$0\" \"$1\"";
    let said = Command::new("sh").args(["-c", request, &ip, &port]).output().expect("a shell").stdout;
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("#!ipxe"), "{said}");
    service.stop();
}
