//! What survives: the process killed amid a load, the boot table swapped under one, and a disk that stands still.

use crate::dhcp::load::{Ask, RELAY, mac, read_addresses, start};
use crate::dhcp::wires::{Wires, lan, room};
use crate::serve::netns::{run, skipped};
use barista::{
    boot::table::{BootMachine, BootTable},
    names::MacAddr,
};
use std::{
    collections::BTreeMap,
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

const MACHINES: usize = 600;

/// 10.77.0.0/16 behind the loader's relay, with a range for a few thousand.
fn wide(change: impl FnOnce(&mut BootTable)) -> impl FnOnce(&Path) -> BootTable {
    room(|table| {
        let network = lan(table);
        network.subnet = "10.77.0.0/16".parse().expect("a subnet");
        network.range = Some(([10, 77, 1, 0].into(), [10, 77, 8, 255].into()));
        change(table);
    })
}

fn lines(wires: &Wires, name: &str) -> usize {
    wires.read(&format!("{name}.out")).lines().count()
}

#[test]
fn whatever_was_acknowledged_is_its_owners_after_the_service_is_killed_amid_a_load() {
    let Some(mut wires) = Wires::of_two("kill", "02:01:00:00:00:01") else { return };
    wires.ip("c", &format!("addr add {RELAY}/24 dev c0"));
    wires.publish(wide(|_| {}));
    wires.serve();
    let load = start(&mut wires, "load", Ask::Leases(MACHINES), "");
    for many in [100, 250, 400] {
        wires.until("some have their address", |wires| lines(wires, "load") >= many);
        wires.kill_service();
        assert!(lines(&wires, "load") < MACHINES, "it was killed amid the load");
        wires.serve();
    }
    fs::write(wires.file("load.rest"), "").expect("it is written");
    wires.until("all have their address", |wires| lines(wires, "load") == MACHINES);
    assert!(wires.runs(load) || lines(&wires, "load") == MACHINES);
    let given = read_addresses(&wires.file("load.out"));
    assert_eq!(given.len(), MACHINES);
    let mut owners = BTreeMap::new();
    for (machine, ip) in &given {
        let ip = ip.expect("an address");
        assert_eq!(owners.insert(ip, machine), None, "{ip} was given twice");
    }
    // Nobody takes a word back: each asks for its address by name, and a server that forgot it would stay silent.
    wires.kill_service();
    let journal = wires.file("serve/leases");
    let mut torn = fs::read(&journal).expect("it reads");
    torn.extend(b"{\"bind\":{\"ip\":\"10.77.1.1\",\"ma");
    fs::write(&journal, torn).expect("it is torn, as a crash of the host leaves it");
    wires.serve();
    assert!(wires.read("serve.log").contains("1 lines of the lease journal did not read"), "{}", wires.read("serve.log"));
    start(&mut wires, "again", Ask::Reboots, "load");
    wires.until("all are answered", |wires| lines(wires, "again") == MACHINES);
    assert_eq!(read_addresses(&wires.file("again.out")), given);
}

#[test]
fn a_journal_of_rubbish_is_set_aside_and_reservations_are_served() {
    let Some(mut wires) = Wires::of_two("rubbish", crate::serve::service::PC01) else { return };
    wires.publish(room(|_| {}));
    fs::create_dir_all(wires.file("serve")).expect("it is made");
    fs::write(wires.file("serve/leases"), b"\0\xff\x07rubbish\n\n{\"bind\":7}\n").expect("it is written");
    wires.serve();
    let log = wires.read("serve.log");
    assert!(log.contains("2 lines of the lease journal did not read and are in") && log.contains("leases.damaged"), "{log}");
    let told = wires.file("once.told");
    let script = wires.script("once", &format!("#!/bin/sh\n[ $1 = bound ] && echo $ip > {}\nexit 0\n", told.display()));
    let mut command = wires.command("c", "busybox");
    command.args(["udhcpc", "-f", "-q", "-n", "-t", "20", "-T", "1", "-i", "c0", "-s"]).arg(script);
    wires.spawn("once", command);
    wires.until("it is served", |wires| wires.read("once.told") == "10.77.0.101\n");
}

/// A thousand machines with reservations; everything they are told differs between old and new.
fn thousand(table: &mut BootTable, generation: u8) {
    let network = lan(table);
    network.range = None;
    network.router = Some([10, 77, 0, generation].into());
    network.dns = vec![[10, 77, 0, generation].into()];
    network.domain = Some(format!("g{generation}.example"));
    network.lease_time = format!("{generation}h").parse().expect("an interval");
    let one: BootMachine = table.machines.values().next().expect("a machine").clone();
    table.machines = (0..1000)
        .map(|number: u16| {
            let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 77, generation, 1)) + u32::from(number));
            let macs = vec![MacAddr::from_octets(mac(number)).expect("a unicast address")];
            (format!("pc{number:04}").parse().expect("a name"), BootMachine { macs, ip: Some(ip), ..one.clone() })
        })
        .collect();
}

/// What a machine is told by one generation of the table, as the load writes it.
fn expected(machine: u16, generation: u8) -> String {
    let ip = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 77, generation, 1)) + u32::from(machine));
    let hex = |bytes: &[u8]| bytes.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    let own = hex(&[10, 77, 0, generation]);
    let domain = hex(format!("g{generation}.example").as_bytes());
    let seconds = hex(&(u32::from(generation) * 3600).to_be_bytes());
    format!("{machine} {ip} {own} {own} {domain} {seconds} {}", hex(b"ipxe.efi\0"))
}

#[test]
fn a_table_that_is_swapped_under_load_drops_no_question_and_mixes_no_answer() {
    const DISCOVERS: usize = 3000;
    let Some(mut wires) = Wires::of_two("swap", "02:01:00:00:00:01") else { return };
    wires.ip("c", &format!("addr add {RELAY}/24 dev c0"));
    let (old, new) = (20, 40);
    wires.publish(wide(|table| thousand(table, old)));
    wires.serve();
    start(&mut wires, "load", Ask::Discovers(DISCOVERS), "");
    let served = |wires: &Wires| wires.read("serve.log").matches("serving a new boot table").count();
    let mut generation = old;
    while lines(&wires, "load") < DISCOVERS {
        generation = if generation == old { new } else { old };
        let (asked, swapped) = (lines(&wires, "load"), served(&wires));
        wires.publish(wide(|table| thousand(table, generation)));
        // Until it is served, and half of the room has asked since the last.
        wires.until("it is served and more have asked", |wires| {
            lines(wires, "load") >= DISCOVERS || (lines(wires, "load") >= asked + 500 && served(wires) > swapped)
        });
    }
    assert_eq!(lines(&wires, "load"), DISCOVERS, "each question has one answer\n{}", wires.read("serve.log").lines().count());
    let mut told = BTreeMap::new();
    for line in wires.read("load.out").lines() {
        let machine = line.split(' ').next().and_then(|word| word.parse().ok()).expect("a machine");
        let of = [old, new].into_iter().find(|generation| line == expected(machine, *generation));
        *told.entry(of.unwrap_or_else(|| panic!("mixed: {line}"))).or_insert(0) += 1;
    }
    assert_eq!(told.len(), 2, "both tables were served: {told:?}");
    assert!(served(&wires) >= 3);
}

/// A file system of its own where the service keeps its leases, which can be made to stand still.
struct Disk(PathBuf);

impl Disk {
    /// `None`, and a line on stderr, where nothing can be mounted.
    fn under(wires: &Wires) -> Option<Self> {
        let (image, place) = (wires.file("disk"), wires.file("serve"));
        fs::File::create(&image).and_then(|file| file.set_len(16 << 20)).expect("an image");
        fs::create_dir(&place).expect("a place");
        let (at, on) = (image.display(), place.display());
        let made = run(&format!("mkfs.ext4 -qF {at}")) && run(&format!("mount -oloop {at} {on}"));
        if !made {
            skipped("a disk that stands still needs mkfs.ext4 and a loop device");
            return None;
        }
        Some(Self(place))
    }

    fn stand_still(&self) {
        assert!(run(&format!("fsfreeze -f {}", self.0.display())), "fsfreeze");
    }

    fn go_on(&self) -> bool {
        run(&format!("fsfreeze -u {}", self.0.display()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.go_on();
        run(&format!("umount -l {}", self.0.display()));
    }
}

#[test]
fn while_the_disk_stands_still_offers_go_out_and_nothing_is_acknowledged() {
    let Some(mut wires) = Wires::of_two("still", "02:01:00:00:00:01") else { return };
    let Some(disk) = Disk::under(&wires) else { return };
    wires.ip("c", &format!("addr add {RELAY}/24 dev c0"));
    wires.publish(wide(|_| {}));
    wires.serve();
    disk.stand_still();
    fs::write(wires.file("load.rest"), "").expect("it is written");
    start(&mut wires, "load", Ask::Leases(200), "");
    // Three times as many as ask at once: they have sent their REQUESTs, heard nothing, and asked again.
    wires.until("offers go out", |wires| wires.read("serve.log").matches("; offered 10.77.").count() > 150);
    assert_eq!(lines(&wires, "load"), 0, "acknowledged before it was on disk");
    assert!(disk.go_on(), "fsfreeze");
    wires.until("all have their address", |wires| lines(wires, "load") == 200);
}

/// A reservation stands in the table, and the transcript explains boots and decides none: neither is worth a machine that does not boot.
#[test]
fn while_the_disk_stands_still_a_reserved_machine_boots_and_a_new_table_is_served() {
    let Some(mut wires) = Wires::of_two("frozen", crate::serve::service::PC01) else { return };
    let Some(disk) = Disk::under(&wires) else { return };
    wires.publish(room(|_| {}));
    wires.serve();
    disk.stand_still();
    let told = wires.file("once.told");
    let script = wires.script("once", &format!("#!/bin/sh\n[ $1 = bound ] && echo $ip > {}\nexit 0\n", told.display()));
    let mut command = wires.command("c", "busybox");
    command.args(["udhcpc", "-f", "-q", "-n", "-t", "20", "-T", "1", "-i", "c0", "-s"]).arg(script);
    wires.spawn("once", command);
    wires.until("it is acknowledged", |wires| wires.read("once.told") == "10.77.0.101\n");
    wires.until("what hangs is said", |wires| wires.read("serve.log").contains("its disk hangs; leases that are on disk"));
    // The transcript has something to say by now, and cannot.
    let served = |wires: &Wires| wires.read("serve.log").matches("serving a new boot table").count();
    let before = served(&wires);
    wires.publish(room(|table| lan(table).domain = Some("new.example".into())));
    wires.until("the loop goes round", |wires| served(wires) > before);
    assert!(disk.go_on(), "fsfreeze");
    wires.until("the line follows", |wires| wires.read("serve/leases").contains("10.77.0.101"));
}

/// An operator's mistake, a failing disk or a power cut: none of it costs a boot.
#[test]
fn a_transcript_that_is_no_text_or_no_file_keeps_no_machine_from_booting() {
    let Some(mut wires) = Wires::of_two("notext", crate::serve::service::PC01) else { return };
    wires.publish(room(|_| {}));
    fs::create_dir_all(wires.file("serve")).expect("it is made");
    let transcript = wires.file("serve/transcript.json");
    fs::write(&transcript, b"{\"version\": \xff").expect("it is written");
    wires.serve();
    wires.until("it begins anew", |wires| wires.read("serve.log").contains("transcript.unreadable"));
    wires.kill_service();
    let _ = fs::remove_file(&transcript);
    fs::create_dir(&transcript).expect("a directory in its place");
    wires.serve();
    wires.until("it begins anew again", |wires| wires.read("serve.log").contains("the transcript begins anew"));
}
