//! How a boot comes by its disk: the first script gives it a number, and with that its machine's script names what the agent assigns.
//!
//! The agent is a fake that listens on `renew.sock` in the run directory and writes down what it is asked.

use crate::serve::{
    http::{ask, get},
    http_limits::connect_from,
    service::{PC01, RUN, Service, publish, table, transcript_of},
};
use barista::{
    boot::{
        assignment::{Answer, Assignment, Detail, Generation, LONGEST, RefusalCode, Request, SOCKET, WaitCode},
        table::{BootTable, PATH},
    },
    transcript::EventKind,
};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

const SECOND_CARD: &str = "88:ae:dd:05:08:fb";
pub const TARGET: &str = "iqn.2026-11.example.cat:pc01.win11.a-01234567";
const KEPT: &str = "iqn.2026-11.example.cat:pc01.office.a-89abcdef";
const SCRIPT: &str = "#!ipxe\n%wait:win11%\nsanhook %target:win11%\n%wait:office%\nsanhook %target:office%\nexit\n:failed\n";

/// What the fake agent does with a connection once it has read the request.
pub type Behaviour = dyn Fn(&Request, &mut UnixStream) + Send + Sync;

/// A fake agent, and what it was asked. It ends with the test's process: nobody connects to it any more.
pub struct FakeAgent(Arc<Mutex<Vec<Request>>>);

impl FakeAgent {
    /// Listens in the run directory of this state directory.
    pub fn listen(state: &Path, behaviour: impl Fn(&Request, &mut UnixStream) + Send + Sync + 'static) -> Self {
        let run = state.join(RUN);
        fs::create_dir_all(&run).expect("it is made");
        let listener = UnixListener::bind(run.join(SOCKET)).expect("it listens");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (heard, behaviour): (_, Arc<Behaviour>) = (asked.clone(), Arc::new(behaviour));
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (heard, behaviour) = (heard.clone(), behaviour.clone());
                thread::spawn(move || {
                    let mut line = Vec::new();
                    let mut reader = BufReader::new(stream.try_clone().expect("a descriptor"));
                    reader.read_until(b'\n', &mut line).expect("a line");
                    let request = Request::parse(&line).expect("a request");
                    heard.lock().expect("whole").push(request.clone());
                    behaviour(&request, &mut stream);
                });
            }
        });
        Self(asked)
    }

    pub fn asked(&self) -> Vec<Request> {
        self.0.lock().expect("whole").clone()
    }
}

/// An agent that gives every entry the same.
pub fn answers(assignment: Assignment) -> impl Fn(&Request, &mut UnixStream) + Send + Sync {
    move |request, stream| {
        let entries = request.entries.iter().map(|image| (image.clone(), assignment.clone())).collect();
        stream.write_all(Answer::entries(entries).render().as_bytes()).expect("it is sent");
    }
}

pub fn assigned() -> Assignment {
    Assignment::Assigned { target: TARGET.parse().expect("a target") }
}

/// A table in which pc01 has two cards, a disk that is assigned and one that is kept.
pub fn assigning(service: &Service) -> BootTable {
    let mut table = table(&service.state.path().join("loaders"));
    table.version = 2;
    let machine = table.machines.values_mut().next().expect("a machine");
    machine.macs.push(SECOND_CARD.parse().expect("an address"));
    machine.script = SCRIPT.into();
    let disks = serde_json::json!({
        "win11": { "target": null, "way": "assigned" },
        "office": { "target": KEPT, "way": "fixed" },
    });
    machine.disks = serde_json::from_value(disks).expect("disks");
    table
}

/// A service with that table.
fn service() -> Service {
    let service = Service::start(&[]);
    publish(service.state.path(), &assigning(&service));
    let first = |service: &Service| {
        let text = text(service.http, "/machines/88aedd0508fa/boot.ipxe");
        text.contains("/boot.ipxe ||")
    };
    service.until("the table is served", || async { first(&service) });
    service
}

fn text(server: SocketAddr, path: &str) -> String {
    let answer = get(server, path);
    assert_eq!(answer.status, 200, "{path}");
    String::from_utf8(answer.body).expect("text")
}

/// The path that the first script chains to, as a machine with this card and UUID asks it.
pub fn begin(server: SocketAddr, mac: &str, uuid: &str) -> String {
    own_path(&text(server, "/boot.ipxe"), mac, uuid)
}

pub fn own_path(script: &str, mac: &str, uuid: &str) -> String {
    let chain = script.lines().find(|line| line.starts_with("chain ")).expect("a chain");
    assert!(chain.starts_with("chain --replace --autofree --timeout "), "{chain}");
    let url = chain.split(' ').find(|word| word.starts_with("http://")).expect("an address");
    let path = &url[url.find("/machines/").expect("a path")..];
    path.replace("${netX/mac:hexraw}", &mac.replace(':', "")).replace("${uuid}", uuid)
}

fn nonce(path: &str) -> &str {
    path.split_once("?boot=").and_then(|(_, rest)| rest.split_once('&')).expect("a boot").0
}

/// Fetches with one of this host's loopback addresses.
pub fn get_from(source: &str, server: SocketAddr, path: &str) -> String {
    let mut stream = connect_from(source, server);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer.split_once("\r\n\r\n").expect("a head").1.to_owned()
}

fn is_sent_back(script: &str) -> bool {
    script.contains("\nchain --replace --autofree --timeout 30000 http://127.0.0.1:8080/boot.ipxe || goto failed\n")
}

#[test]
fn a_boot_is_given_the_disk_that_the_agent_assigns_and_the_agent_hears_what_serve_knows() {
    let service = service();
    let agent = FakeAgent::listen(service.state.path(), answers(assigned()));
    let uuid = "4c4c4544-0042-4a10-8051-b3c04f564432";
    let path = begin(service.http, PC01, uuid);
    let expected = format!("#!ipxe\nsanhook {TARGET}\nsanhook {KEPT}\nexit\n:failed\n");
    assert_eq!(text(service.http, &path), expected);
    assert_eq!(text(service.http, &path), expected, "the same boot may ask again");

    let asked = agent.asked();
    let published = fs::read_to_string(service.state.path().join(PATH)).expect("a table");
    let second = &asked[1];
    assert_eq!((second.machine.as_str(), second.boot.to_string().as_str()), ("pc01", nonce(&path)));
    assert_eq!(second.generation, Generation::of(&published));
    assert_eq!((second.peer.to_string().as_str(), second.uuid.map(|uuid| uuid.to_string())), ("127.0.0.1", Some(uuid.into())));
    assert_eq!(second.entries, ["win11".parse().expect("an image")], "the kept disk is in the table");
    let claims = &second.claims;
    assert_eq!((claims.fetches.len(), claims.fetches[1].at, claims.discovers.len()), (2, claims.now, 0));
    assert!(claims.issued.at <= claims.fetches[0].at && claims.fetches[0].at <= claims.now);
    assert_eq!(claims.issued.peer, second.peer);
    assert_eq!(claims.boot_id.len(), 36);
    assert_eq!((asked[0].claims.fetches.len(), asked[0].boot, asked[0].budget), (1, second.boot, 3000));

    let state = service.stop();
    let transcript = transcript_of(state.path());
    let events = &transcript.machines[&PC01.parse().expect("an address")].events;
    let last = events.last().expect("an event");
    assert_eq!(last.what, format!("assigned {TARGET} to this boot of pc01 for win11"));
    assert!(matches!(&last.kind, EventKind::Assigned { image, .. } if image.as_str() == "win11"));
}

#[test]
fn each_fetch_of_the_first_script_begins_another_boot_and_each_card_has_its_own() {
    let service = service();
    let agent = FakeAgent::listen(service.state.path(), answers(assigned()));
    let paths = [begin(service.http, PC01, ""), begin(service.http, SECOND_CARD, ""), begin(service.http, PC01, "")];
    paths.iter().for_each(|path| drop(text(service.http, path)));
    // A menu that was left open: its script was fetched long ago, and what fails in it begins anew.
    drop(text(service.http, &paths[0]));
    let asked: Vec<_> = agent.asked().iter().map(|request| (request.machine.to_string(), request.boot.to_string())).collect();
    let expected: Vec<_> = paths.iter().chain([&paths[0]]).map(|path| ("pc01".to_owned(), nonce(path).to_owned())).collect();
    assert_eq!(asked, expected, "two cards of one machine are two boots of it, and the agent is told so");
    assert_eq!(asked.iter().map(|(_, boot)| boot).collect::<std::collections::BTreeSet<_>>().len(), 3);
    assert_eq!(agent.asked()[0].uuid, None, "a machine that names no UUID");
    service.stop();
}

#[test]
fn nothing_is_assigned_without_a_get_and_the_number_of_a_boot_that_is_known() {
    let service = service();
    let agent = FakeAgent::listen(service.state.path(), answers(assigned()));
    let known = begin(service.http, PC01, "");
    for path in [
        "/machines/88aedd0508fa/boot.ipxe",
        "/ipxe/cfg/mac-88aedd0508fa.ipxe.cfg",
        "/machines/88aedd0508fa/boot.ipxe?boot=0123456789abcdef&uuid=",
        "/machines/88aedd0508fa/boot.ipxe?boot=x",
    ] {
        let script = text(service.http, path);
        assert!(is_sent_back(&script) && !script.contains("san"), "{path}: {script}");
    }
    let head = ask(service.http, "HEAD", &known, &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    let first = ask(service.http, "HEAD", "/boot.ipxe", &[]);
    assert_eq!(first.headers["content-length"], get(service.http, "/boot.ipxe").body.len().to_string());
    assert!(agent.asked().is_empty());
    assert!(text(service.http, &known).contains(TARGET));
    let state = service.stop();
    let events = &transcript_of(state.path()).machines[&PC01.parse().expect("an address")].events;
    let back = "asked for the script of pc01 and named no boot that this service knows: sent to boot.ipxe";
    assert!(events.iter().any(|event| event.what == back), "{events:?}");
}

#[test]
fn a_machine_without_assigned_disks_gets_its_script_at_once_and_without_the_agent() {
    let service = service();
    let mut kept = assigning(&service);
    let machine = kept.machines.values_mut().next().expect("a machine");
    machine.disks.retain(|image, _| image.as_str() == "office");
    machine.script = "#!ipxe\n%wait:office%\nsanhook %target:office%\n".into();
    publish(service.state.path(), &kept);
    let expected = format!("#!ipxe\nsanhook {KEPT}\n");
    for path in ["/machines/88aedd0508fa/boot.ipxe", "/ipxe/cfg/mac-88aedd0508fa.ipxe.cfg"] {
        service.until("the table is served", || async { text(service.http, path) == expected });
    }
    // While it has no target yet, it waits, and says so.
    kept.machines.values_mut().flat_map(|machine| machine.disks.values_mut()).for_each(|disk| disk.target = None);
    publish(service.state.path(), &kept);
    let waits =
        || text(service.http, "/machines/88aedd0508fa/boot.ipxe").contains("echo pc01 office waits: its disk is not made yet\n");
    service.until("it waits", || async { waits() });
    service.stop();
}

#[test]
fn who_waits_or_is_refused_is_told_why_and_asks_again() {
    let wait = Assignment::Wait { code: WaitCode::NoCleanSide, retry: 7, detail: Detail::new() };
    let refused = Assignment::Refused { code: RefusalCode::OtherHardware, detail: Detail::new() };
    for (assignment, words, mend) in [
        (wait, "win11 waits: no clean disk, and the one it used last is not proven off", "leave it on"),
        (refused, "win11 refused: this is not the hardware that had this name before", "barista machine accept"),
    ] {
        let service = service();
        let retry = assignment.retry();
        FakeAgent::listen(service.state.path(), answers(assignment));
        let script = text(service.http, &begin(service.http, PC01, ""));
        let asks_again = format!(
            "#!ipxe\necho\necho pc01 {words}\necho Asking again in {retry} seconds.\nsleep {retry} ||\ndhcp netX ||\n\
             chain --replace --autofree --timeout 30000 http://127.0.0.1:8080/boot.ipxe ||\n"
        );
        assert!(script.starts_with(&asks_again), "{script}");
        assert!(script.contains(&format!("\nsanhook {KEPT}\n")) && !script.contains(TARGET), "{script}");
        let state = service.stop();
        let mut explain = std::process::Command::new(env!("CARGO_BIN_EXE_barista"));
        let output = explain.args(["explain", "pc01", "--state"]).arg(state.path()).output().expect("it runs");
        let told = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(told.contains(&format!("=> it goes on asking: {words}\n     mend: ")) && told.contains(mend), "{told}");
    }
}

/// The script of a fetch in which the agent is of no use, and how long it took.
fn without_an_answer(behaviour: Option<Box<Behaviour>>) -> (String, Duration) {
    let service = service();
    if let Some(behaviour) = behaviour {
        FakeAgent::listen(service.state.path(), behaviour);
    }
    let path = begin(service.http, PC01, "");
    let begun = Instant::now();
    let script = text(service.http, &path);
    let took = begun.elapsed();
    service.stop();
    (script, took)
}

#[test]
fn an_agent_that_is_not_there_or_answers_nothing_that_reads_makes_assigned_entries_wait_and_no_others() {
    let line = |line: &'static str| -> Option<Box<Behaviour>> {
        Some(Box::new(move |_, stream: &mut UnixStream| stream.write_all(line.as_bytes()).expect("it is sent")))
    };
    let endless: Option<Box<Behaviour>> = Some(Box::new(|_, stream: &mut UnixStream| {
        // It is cut off in the middle.
        let _ = stream.write_all(&vec![b' '; LONGEST * 64]);
    }));
    let cases = [
        ("absent", None),
        ("gone", line("")),
        ("garbage", line("tea for two\n")),
        ("another version", line("{\"version\":2,\"entries\":{}}\n")),
        (
            "not what was asked",
            line("{\"version\":1,\"entries\":{\"office\":{\"assigned\":{\"target\":\"iqn.2026-11.example.cat:x\"}}}}\n"),
        ),
        ("endless", endless),
    ];
    for (case, behaviour) in cases {
        let (script, took) = without_an_answer(behaviour);
        assert!(script.contains("\necho pc01 win11 waits: barista agent does not answer on the server\n"), "{case}: {script}");
        assert!(script.contains("\nsleep 5 ||\n") && script.contains(&format!("\nsanhook {KEPT}\n")), "{case}: {script}");
        assert!(took < Duration::from_secs(2), "{case}: it is known at once, not after {took:?}");
    }
}

#[test]
fn a_silent_agent_is_waited_for_no_longer_than_the_budget_and_keeps_nobody_else_waiting() {
    let service = service();
    let agent = FakeAgent::listen(service.state.path(), |_, stream| drop(stream.read(&mut [0])));
    let (http, path) = (service.http, begin(service.http, PC01, ""));
    let begun = Instant::now();
    let slow = thread::spawn(move || text(http, &path));
    service.until("it is asked", || async { !agent.asked().is_empty() });
    assert!(text(service.http, "/machines/020000000001/boot.ipxe").contains("echo unknown"));
    assert!(text(service.http, "/boot.ipxe").contains("?boot="));
    assert!(begun.elapsed() < Duration::from_secs(3) && !slow.is_finished(), "others are answered meanwhile");
    let script = slow.join().expect("it is answered");
    assert!(script.contains("\necho pc01 win11 waits: barista agent does not answer on the server\n"), "{script}");
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(2900) && took < Duration::from_secs(10), "{took:?}");
    service.stop();
}

#[test]
fn a_table_that_changed_since_sends_the_machine_back() {
    let service = service();
    FakeAgent::listen(service.state.path(), |_, stream| {
        stream.write_all(b"{\"version\":1,\"again\":{\"code\":\"generation\"}}\n").expect("it is sent");
    });
    let script = text(service.http, &begin(service.http, PC01, ""));
    assert!(is_sent_back(&script), "{script}");
    service.stop();
}

#[test]
fn a_script_that_another_address_fetches_is_no_fetch_of_the_machine() {
    let service = service();
    let mut reserved = assigning(&service);
    reserved.machines.values_mut().for_each(|machine| machine.ip = Some([127, 0, 0, 1].into()));
    publish(service.state.path(), &reserved);
    let agent = FakeAgent::listen(service.state.path(), answers(assigned()));
    let path = own_path(&get_from("127.0.0.9", service.http, "/boot.ipxe"), PC01, "");
    let generation = Generation::of(&reserved.render());
    service.until("the reservation is served", || async {
        drop(get_from("127.0.0.9", service.http, &path));
        agent.asked().last().is_some_and(|asked| asked.generation == generation)
    });
    let last = agent.asked().pop().expect("a question");
    assert_eq!(
        (last.peer.to_string(), last.claims.issued.peer),
        ("127.0.0.9".to_owned(), last.peer),
        "the agent is told who asks"
    );
    let state = service.stop();
    let machine = &transcript_of(state.path()).machines[&PC01.parse().expect("an address")];
    let last = machine.events.last().expect("an event");
    assert_eq!(last.kind, EventKind::ForeignFetch { peer: [127, 0, 0, 9].into() });
    let what = format!(
        "gave the script of pc01, default win11, assigned {TARGET} to this boot of pc01 for win11, to 127.0.0.9, which is not its address"
    );
    assert_eq!(last.what, what);
}

#[test]
fn a_table_of_the_version_before_is_served_as_it_is() {
    let service = Service::start(&[]);
    let text_of = |script: &str| {
        let mut table = table(&service.state.path().join("loaders"));
        table.machines.values_mut().for_each(|machine| machine.script = script.into());
        table
    };
    let old = "#!ipxe\nsanhook iscsi:127.0.0.1::3260::iqn.2026-11.example.cat:pc01.win11 || goto %wait:x%\n";
    let before = text_of(old);
    assert_eq!((before.version, before.render().contains("disks")), (1, false));
    publish(service.state.path(), &before);
    service.until("it is served", || async { text(service.http, "/machines/88aedd0508fa/boot.ipxe") == old });
    service.stop();
}
