//! The service as a whole, on loopback: what it waits for, what it swaps, what it keeps.

use barista::{
    boot::table::{BootTable, PATH},
    serve::{Listening, ServeError, ServeOptions, serve},
    transcript::{self, EventKind, Transcript},
};
use std::{
    fs,
    future::Future,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::{
    runtime::Runtime,
    sync::oneshot,
    task::JoinHandle,
    time::{sleep, timeout},
};

/// Nothing here takes longer, however busy the machine is.
pub const DEADLINE: Duration = Duration::from_secs(20);
/// The run directory of a test, in its state directory.
pub const RUN: &str = "run";
pub const PC01: &str = "88:ae:dd:05:08:fa";

/// A running service with its state directory and its loaders.
pub struct Service {
    pub state: TempDir,
    pub tftp: SocketAddr,
    pub http: SocketAddr,
    pub runtime: Runtime,
    stop: Option<oneshot::Sender<()>>,
    task: Option<JoinHandle<Result<(), ServeError>>>,
}

pub fn table(loaders: &Path) -> BootTable {
    let text = serde_json::json!({
        "version": 1, "site": "lucky-cat",
        "tftp-address": "127.0.0.1", "http-address": "127.0.0.1", "http-port": 8080,
        "loaders": loaders,
        "networks": { "lan": {
            "interface": "lo", "mode": "off", "subnet": "127.0.0.0/8", "range": null, "router": null,
            "dns": [], "domain": null, "lease-time": "1h", "relay": [] } },
        "machines": { "pc01": {
            "macs": [PC01], "ip": null, "firmware": null, "default": "win11", "script": "#!ipxe\necho pc01\n" } },
        "unknown-script": "#!ipxe\necho unknown\n", "assets": [],
    });
    BootTable::parse(&text.to_string()).expect("the table reads")
}

pub fn publish(state: &Path, table: &BootTable) {
    let path = state.join(PATH);
    fs::create_dir_all(path.parent().expect("a parent")).expect("it is made");
    let fresh = path.with_extension("new");
    fs::write(&fresh, table.render()).expect("it is written");
    fs::rename(fresh, path).expect("it is published");
}

impl Service {
    /// A service that serves these loaders.
    pub fn start(loaders: &[(&str, &[u8])]) -> Self {
        let state = tempfile::tempdir().expect("a directory");
        fs::create_dir(state.path().join("loaders")).expect("it is made");
        for (name, bytes) in loaders {
            fs::write(state.path().join("loaders").join(name), bytes).expect("it is written");
        }
        publish(state.path(), &table(&state.path().join("loaders")));
        let mut options = ServeOptions::new(state.path());
        // Nobody listens there, until a test does.
        options.run = state.path().join(RUN);
        options.sockets.tftp = Some(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"));
        options.sockets.http = Some(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"));
        let (ready, listening) = oneshot::channel();
        options.ready = Some(ready);
        let runtime = Runtime::new().expect("a runtime");
        let (stop, stopped) = oneshot::channel::<()>();
        let task = runtime.spawn(serve(options, stopped));
        let Listening { tftp, http } =
            runtime.block_on(async { timeout(DEADLINE, listening).await }).expect("in time").expect("it listens");
        let (tftp, http) = (tftp.expect("TFTP"), http.expect("HTTP"));
        Self { state, tftp, http, runtime, stop: Some(stop), task: Some(task) }
    }

    pub fn stop(mut self) -> TempDir {
        self.stop.take().expect("it runs").send(()).expect("it listens");
        let task = self.task.take().expect("it runs");
        let ended = self.runtime.block_on(async { timeout(DEADLINE, task).await });
        ended.expect("in time").expect("no panic").expect("no error");
        std::mem::replace(&mut self.state, tempfile::tempdir().expect("a directory"))
    }

    pub fn until<F: Future<Output = bool>>(&self, what: &str, condition: impl FnMut() -> F) {
        self.runtime.block_on(until(what, condition));
    }
}

/// Waits for a condition, with a deadline.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < DEADLINE, "never came to be: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub fn transcript_of(state: &Path) -> Transcript {
    let text = fs::read_to_string(state.join(transcript::PATH)).expect("a transcript");
    Transcript::parse(&text).expect("it reads")
}

#[test]
fn a_service_without_a_table_waits_and_stops_when_told() {
    let state = tempfile::tempdir().expect("a directory");
    let runtime = Runtime::new().expect("a runtime");
    let (stop, stopped) = oneshot::channel::<()>();
    let task = runtime.spawn(serve(ServeOptions::new(state.path()), stopped));
    stop.send(()).expect("it listens");
    runtime.block_on(async { timeout(DEADLINE, task).await }).expect("in time").expect("no panic").expect("no error");
}

#[test]
fn a_new_table_is_served_and_a_broken_one_is_not() {
    let service = Service::start(&[]);
    let (http, state) = (service.http, service.state.path().to_owned());
    let script = || crate::serve::http::get(http, "/machines/88aedd0508fa/boot.ipxe");
    assert_eq!(script().body, b"#!ipxe\necho pc01\n");

    let mut changed = table(&state.join("loaders"));
    changed.machines.values_mut().for_each(|machine| machine.script = "#!ipxe\necho new\n".into());
    publish(&state, &changed);
    service.until("the new script is served", || async { script().body == b"#!ipxe\necho new\n" });

    fs::write(state.join(PATH), "{ \"version\": 1, broken").expect("it is written");
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(script().body, b"#!ipxe\necho new\n", "the last good table serves on");
    service.stop();
}

#[test]
fn a_secret_is_merged_for_the_machines_own_address_alone() {
    use barista::boot::chap::{MARKER, PATH as SECRETS};
    let service = Service::start(&[]);
    let (http, state) = (service.http, service.state.path().to_owned());
    let script = || crate::serve::http::get(http, "/machines/88aedd0508fa/boot.ipxe").body;
    let plain = format!("#!ipxe\n{MARKER}\n");
    let mut guarded = table(&state.join("loaders"));
    guarded.machines.values_mut().for_each(|machine| {
        machine.ip = Some(Ipv4Addr::LOCALHOST);
        machine.script = plain.clone();
    });
    publish(&state, &guarded);
    service.until("the script is served", || async { script() == plain.as_bytes() });
    fs::write(state.join(SECRETS), "{\"pc01\":[\"pc01\",\"correcthorse1\"]}").expect("it is written");
    let own = b"#!ipxe\nset username pc01\nset password correcthorse1\n";
    service.until("the secret is merged", || async { script() == own });

    guarded.machines.values_mut().for_each(|machine| machine.ip = Some(Ipv4Addr::new(127, 0, 0, 2)));
    publish(&state, &guarded);
    service.until("another address has none", || async { script() == plain.as_bytes() });
    let transcript = || fs::read_to_string(state.join(transcript::PATH)).unwrap_or_default();
    service.until("the transcript is on disk", || async { !transcript().is_empty() });
    assert!(!transcript().contains("correcthorse"));
    service.stop();
}

#[test]
fn a_fetched_script_is_in_the_transcript_that_outlives_the_service() {
    let service = Service::start(&[("ipxe.efi", b"loader")]);
    crate::serve::http::get(service.http, "/machines/88-ae-dd-05-08-fa/boot.ipxe");
    crate::serve::http::get(service.http, "/machines/020000000001/boot.ipxe");
    let path = service.state.path().to_owned();
    service.until("the transcript is on disk", || async { path.join(transcript::PATH).exists() });
    let state = service.stop();
    let kept = transcript_of(state.path());
    let pc01 = &kept.machines[&PC01.parse().expect("an address")];
    assert!(pc01.script_fetched.is_some());
    let last = pc01.events.last().expect("an event");
    assert_eq!(last.what, "gave the script of pc01, default win11");
    let kind = EventKind::Script { machine: Some("pc01".parse().expect("a name")), default: Some("win11".into()) };
    assert_eq!(last.kind, kind);
    let unknown = &kept.machines[&"02:00:00:00:00:01".parse().expect("an address")];
    assert_eq!(unknown.events.last().expect("an event").what, "gave the script for unknown machines");
    assert_eq!(unknown.events[0].kind, EventKind::Script { machine: None, default: None });
    assert_eq!(unknown.address, Some(Ipv4Addr::LOCALHOST));
    for (asked, expected) in [(PC01, "gave the script of pc01, default win11"), ("020000000001", "it is in no file of the site")]
    {
        let mut explain = std::process::Command::new(env!("CARGO_BIN_EXE_barista"));
        let output = explain.args(["explain", asked, "--state"]).arg(state.path()).output().expect("it runs");
        let told = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(output.status.success() && told.contains(expected), "{told}");
    }
}

#[test]
fn a_second_stage_that_is_not_there_over_http_is_in_the_transcript() {
    let service = Service::start(&[("shimx64.efi", b"loader")]);
    // From now on this address is the machine's.
    crate::serve::http::get(service.http, "/machines/88-ae-dd-05-08-fa/boot.ipxe");
    assert_eq!(crate::serve::http::get(service.http, "/loaders/shimx64.efi").status, 200);
    assert_eq!(crate::serve::http::get(service.http, "/loaders/grubx64.efi").status, 404);
    let state = service.stop();
    let events = &transcript_of(state.path()).machines[&PC01.parse().expect("an address")].events;
    let last = events.last().expect("an event");
    assert_eq!(last.kind, EventKind::LoaderMissing { file: "grubx64.efi".into() });
    assert_eq!((&*last.service, &*last.what), ("http", "asked for \"grubx64.efi\", which is not among the loaders"));
}

/// A running service without sockets of its own but TFTP's, and what it says it listens at.
fn with_ports_of_the_table(state: &Path, http: Option<u16>) -> (Runtime, oneshot::Sender<()>, Listening) {
    let mut options = ServeOptions::new(state);
    options.sockets.tftp = Some(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port"));
    options.ports.http = http;
    let (ready, listening) = oneshot::channel();
    options.ready = Some(ready);
    let runtime = Runtime::new().expect("a runtime");
    let (stop, stopped) = oneshot::channel::<()>();
    runtime.spawn(serve(options, stopped));
    let listening = runtime.block_on(async { timeout(DEADLINE, listening).await }).expect("in time").expect("it listens");
    (runtime, stop, listening)
}

/// The body at a port, if anybody answers there.
fn fetched(port: u16, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(1))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

// opnsense/core PR 10078 and #9743: one socket that cannot be had costs all the others, or is never tried again.
#[test]
fn a_port_that_another_program_has_costs_no_other_and_is_had_when_it_is_free() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let state = tempfile::tempdir().expect("a directory");
    fs::create_dir(state.path().join("loaders")).expect("it is made");
    publish(state.path(), &table(&state.path().join("loaders")));
    let (runtime, _stop, listening) = with_ports_of_the_table(state.path(), Some(port));
    assert_eq!(listening.http, None);
    let tftp = listening.tftp.expect("TFTP is open all the same");
    // No script that leads to the port is given, for whoever has it would answer.
    let asked = |tftp: SocketAddr| {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        socket.set_read_timeout(Some(DEADLINE)).expect("it is set");
        socket.send_to(b"\0\x01autoexec.ipxe\0octet\0", tftp).expect("it is sent");
        let mut answer = [0; 1024];
        let (length, _) = socket.recv_from(&mut answer).expect("it answers");
        answer[..length].to_vec()
    };
    assert_eq!(asked(tftp)[..2], [0, 5], "no such file");
    drop(taken);
    let script = || fetched(port, "/machines/88aedd0508fa/boot.ipxe");
    runtime.block_on(until("HTTP is open", || async { script().as_deref() == Some("#!ipxe\necho pc01\n") }));
    runtime.block_on(until("the script is given", || async { asked(tftp)[..2] == [0, 3] }));
}

// sky22333/netboot#13: the port was another program's, and machines were sent there.
#[test]
fn a_new_port_is_had_before_the_old_one_is_closed_and_nobody_hears_of_it_before() {
    let free = || {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = socket.local_addr().expect("an address").port();
        (socket, port)
    };
    let ((socket, old), (taken, new)) = (free(), free());
    drop(socket);
    let state = tempfile::tempdir().expect("a directory");
    let mut wanted = table(&state.path().join("loaders"));
    wanted.http_port = old;
    publish(state.path(), &wanted);
    let (runtime, _stop, listening) = with_ports_of_the_table(state.path(), None);
    assert_eq!(listening.http.map(|at| at.port()), Some(old));
    let script = |port| fetched(port, "/machines/88aedd0508fa/boot.ipxe");
    assert_eq!(script(old).as_deref(), Some("#!ipxe\necho pc01\n"));
    wanted.http_port = new;
    wanted.machines.values_mut().for_each(|machine| machine.script = "#!ipxe\necho new\n".into());
    publish(state.path(), &wanted);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(3500) {
        assert_eq!(script(old).as_deref(), Some("#!ipxe\necho pc01\n"), "the last table is served on");
        let first = fetched(old, "/boot.ipxe").expect("it answers");
        assert!(first.contains(&format!("127.0.0.1:{old}/")) && !first.contains(&format!(":{new}")), "{first}");
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(taken);
    runtime.block_on(until("the new port is served", || async { script(new).as_deref() == Some("#!ipxe\necho new\n") }));
    runtime.block_on(until("the old port is closed", || async { script(old).is_none() }));
}
