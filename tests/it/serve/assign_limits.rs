//! Many ask for disks at once: a whole room, one machine, one address.

use crate::serve::{
    assign::{FakeAgent, answers, assigned, get_from, own_path},
    http::get,
    http_limits::raise_descriptors,
    service::{Service, publish, table},
};
use barista::boot::table::BootTable;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const BUSY: &str = " win11 waits: many machines ask for a disk at once\n";

fn mac(machine: usize) -> String {
    format!("020000{machine:06x}")
}

/// A room of so many machines.
fn room(service: &Service, machines: usize) -> BootTable {
    let mut room = table(&service.state.path().join("loaders"));
    let mut one = room.machines.values().next().expect("a machine").clone();
    one.script = "#!ipxe\n%wait:win11%\nsanhook %target:win11%\n".into();
    one.disks = serde_json::from_value(serde_json::json!({ "win11": { "target": null, "way": "assigned" } })).expect("disks");
    let machine = |number: usize| {
        let macs = vec![mac(number).parse().expect("an address")];
        (format!("pc{number}").parse().expect("a name"), barista::boot::table::BootMachine { macs, ..one.clone() })
    };
    room.version = 2;
    room.machines = (0..machines).map(machine).collect();
    room
}

/// Boots machines at once, each from an address; their scripts.
fn boot(service: &Service, machines: impl Iterator<Item = (usize, String)>) -> Vec<String> {
    let http = service.http;
    let threads: Vec<_> = machines
        .map(|(machine, source)| {
            thread::spawn(move || {
                let path = own_path(&get_from(&source, http, "/boot.ipxe"), &mac(machine), "");
                get_from(&source, http, &path)
            })
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().expect("it is answered")).collect()
}

fn served(machines: usize) -> Service {
    raise_descriptors();
    let service = Service::start(&[]);
    publish(service.state.path(), &room(&service, machines));
    let path = format!("/machines/{}/boot.ipxe", mac(machines - 1));
    service.until("the table is served", || async { !get(service.http, &path).body.starts_with(b"#!ipxe\necho unknown") });
    service
}

#[test]
fn a_room_of_two_hundred_that_starts_at_once_is_answered_and_the_agent_is_not_overrun() {
    let service = served(200);
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (running, highest, give) = (now.clone(), most.clone(), answers(assigned()));
    let agent = FakeAgent::listen(service.state.path(), move |request, stream| {
        highest.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(300));
        running.fetch_sub(1, Ordering::SeqCst);
        give(request, stream);
    });
    let begun = Instant::now();
    let scripts = boot(&service, (0..200).map(|n| (n, format!("127.0.1.{}", n + 1))));
    let given = scripts.iter().filter(|script| script.contains("sanhook iqn.2026-11.example.cat")).count();
    let turned_away = scripts.iter().filter(|script| script.contains(BUSY)).count();
    assert_eq!((given + turned_away, given), (200, agent.asked().len()), "each has a disk or is told why not");
    assert!(given >= 64 && most.load(Ordering::SeqCst) <= 64, "{given} given, {most:?} at once");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Whoever was turned away comes again, and has room then.
    assert!(boot(&service, [(199, "127.0.1.200".to_owned())].into_iter())[0].contains("sanhook iqn.2026-11.example.cat"));
    service.stop();
}

#[test]
fn one_machine_and_one_address_take_only_their_share() {
    let service = served(40);
    let agent = FakeAgent::listen(service.state.path(), |_, stream| drop(std::io::Read::read(stream, &mut [0])));
    // One machine from twenty addresses, twenty machines from one, and a machine of its own between them.
    let flood = (0..20).map(|n| (0, format!("127.0.2.{}", n + 1))).chain((1..21).map(|n| (n, "127.0.3.1".to_owned())));
    let scripts = boot(&service, flood.chain([(30, "127.0.4.1".to_owned())]));
    let of = |machine: &str| agent.asked().iter().filter(|request| request.machine.as_str() == machine).count();
    let of_address = agent.asked().iter().filter(|request| request.peer.to_string() == "127.0.3.1").count();
    assert_eq!((of("pc0"), of_address, of("pc30")), (2, 8, 1));
    assert_eq!(scripts.iter().filter(|script| script.contains(BUSY)).count(), 30);
    service.stop();
}
