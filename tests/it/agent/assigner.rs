//! What the agent answers to `serve`: by its last look, by what was given since, and by what it knows of a machine's hardware.

use crate::room::{Files, PC01, Room, cafe, compute, disk, prepare, with};
use barista::agent::{assign::Assigner, hardware, wakeup::Wakeup};
use barista::boot::assignment::{
    Answer, Assignment, Claims, Decided, Discover, Fetch, Generation, RefusalCode, Request, Stamp, VERSION, WaitCode,
};
use barista::host::RunDir;
use barista::names::{BootNonce, ImageName};
use barista::observed::Seen;
use barista::plan::Prepared;
use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

struct Desk {
    room: Room,
    prepared: Arc<Prepared>,
    assigner: Assigner,
    wakeup: Wakeup,
}

impl Desk {
    fn new(files: &Files) -> Self {
        Self::in_room(Room::new(), files)
    }

    fn in_room(room: Room, files: &Files) -> Self {
        let wakeup = Wakeup::default();
        room.settle(files);
        let state = room.state.path().to_owned();
        let assigner = Assigner::new(room.host.system(), state.clone(), RunDir::new(state.join("run")), wakeup.clone());
        let desk = Self { room, prepared: Arc::new(prepare(files)), assigner, wakeup };
        desk.look();
        desk
    }

    /// The agent looks, and hears what waits.
    fn look(&self) {
        self.assigner.begin_look();
        let mut observation = self.room.observe(&self.prepared);
        observation.waiting = self.assigner.waiting();
        let observation = Arc::new(observation);
        self.assigner.take_in(&self.prepared, &observation);
        self.assigner.take_in_plan(&compute(&self.prepared, &observation));
    }

    /// The same of another site.
    fn look_at(&mut self, files: &Files) {
        self.prepared = Arc::new(prepare(files));
        self.look();
    }

    /// What a boot is told that waits.
    fn waits(&self, machine: &str, boot: u64, image: &str) -> WaitCode {
        self.ask_for(machine, boot, None, &[image]);
        self.look();
        match self.ask_for(machine, boot, None, &[image]).into_values().next() {
            Some(Assignment::Wait { code, .. }) => code,
            other => panic!("{machine} is told {other:?}"),
        }
    }

    /// A boot asks; nothing is waited for.
    fn ask(&self, machine: &str, boot: u64, uuid: Option<&str>) -> Assignment {
        self.ask_for(machine, boot, uuid, &["alpha"]).into_values().next().expect("one was asked for")
    }

    /// The same for several images of its menu.
    fn ask_for(&self, machine: &str, boot: u64, uuid: Option<&str>, images: &[&str]) -> BTreeMap<ImageName, Assignment> {
        let kernel = &self.room.host.system().kernel;
        let table = std::fs::read_to_string(self.room.state.path().join(barista::boot::table::PATH)).expect("is published");
        let now = Stamp(u64::try_from(kernel.boottime().as_millis()).expect("a short time"));
        let peer: IpAddr = format!("192.168.77.1{}", &machine[2..]).parse().expect("an address");
        let request = Request {
            version: VERSION,
            machine: machine.parse().expect("a name"),
            boot: BootNonce::from_octets(boot.to_be_bytes()),
            generation: Generation::of(&table),
            peer,
            uuid: uuid.map(|uuid| uuid.parse().expect("a UUID")),
            entries: images.iter().map(|image| image.parse().expect("a name")).collect(),
            claims: Claims {
                boot_id: kernel.boot_id(),
                now,
                discovers: vec![Discover { at: now, address: None }],
                issued: Fetch { at: now, peer },
                fetches: vec![Fetch { at: now, peer }],
            },
            budget: 0,
        };
        match self.assigner.answer(&request) {
            Answer { decided: Decided::Entries(entries), .. } => entries,
            other => panic!("{other:?}"),
        }
    }

    fn given(&self, machine: &str, boot: u64, uuid: Option<&str>) -> String {
        match self.ask(machine, boot, uuid) {
            Assignment::Assigned { target } => target.to_string(),
            other => panic!("{machine} is told {other:?}"),
        }
    }
}

/// Without the kept data disk, which comes along only once its machine has left the disk it had.
fn plain(count: usize) -> Files {
    crate::room::with(&cafe(count), "images/alpha.toml", "data-disks = [\"games\"]", "")
}

#[test]
fn a_system_that_came_between_two_looks_keeps_its_disk_from_the_next_boot() {
    let desk = Desk::new(&plain(1));
    let first = desk.given("pc01", 1, None);
    assert!(desk.wakeup.take_look_at_host(), "its next boot needs another");
    assert_eq!(desk.given("pc01", 2, None), first, "nothing came to it");
    desk.room.host.login(&first, PC01).expect("logs in");
    desk.room.host.write(&first, PC01, 0, 4096).expect("writes");
    assert!(matches!(desk.ask("pc01", 3, None), Assignment::Wait { code: WaitCode::Making, .. }));
    desk.room.settle(&plain(1));
    desk.look();
    let second = desk.given("pc01", 3, None);
    assert_ne!(second, first);
    assert!(desk.room.host.sessions(&first) == 1, "and whoever is on it stays");
}

#[test]
fn a_kept_disk_that_moves_keeps_nobody_else_waiting() {
    let desk = Desk::new(&cafe(2));
    desk.given("pc01", 1, None);
    let second = desk.given("pc02", 1, None);
    let told = desk.ask("pc02", 1, None);
    assert!(matches!(told, Assignment::Wait { code: WaitCode::Moving, .. }), "its own is looked at first: {told:?}");
    desk.look();
    assert_eq!(desk.given("pc02", 1, None), second);
}

#[test]
fn another_machine_with_the_same_address_is_refused_until_a_person_accepts_it() {
    const ITS_OWN: &str = "4c4c4544-0042-3510-8054-b2c04f4d3132";
    const ANOTHER: &str = "4c4c4544-0042-3510-8054-b2c04f4d3133";
    let desk = Desk::new(&plain(1));
    let work = |boot, uuid| {
        let target = desk.given("pc01", boot, Some(uuid));
        desk.room.host.login_as(&target, PC01, "00023d000001", "192.168.77.101").expect("logs in");
        desk.room.host.write(&target, PC01, 0, 4096).expect("writes");
        desk.look();
        desk.room.settle(&plain(1));
        desk.look();
        target
    };
    let first = desk.given("pc01", 1, Some(ITS_OWN));
    assert_eq!(desk.given("pc01", 2, Some(ANOTHER)), first, "no operating system came, so nothing is known");
    let at_work = work(3, ITS_OWN);
    let refused = |told: &Assignment| matches!(told, Assignment::Refused { code: RefusalCode::OtherHardware, .. });
    assert!(refused(&desk.ask("pc01", 4, Some(ANOTHER))));
    assert_eq!(desk.room.host.sessions(&at_work), 1);
    assert_ne!(desk.given("pc01", 5, Some(ITS_OWN)), at_work, "the machine itself is not");
    let system = desk.room.host.system();
    assert!(hardware::accept(&system, desk.room.state.path(), &"pc01".parse().expect("a name")).expect("writable"));
    desk.look();
    desk.given("pc01", 6, Some(ANOTHER));
    system.files.replace(&desk.room.state.path().join("hardware.json"), b"garbage").expect("writable");
    desk.look();
    desk.given("pc01", 7, Some(ITS_OWN));
    assert!(matches!(desk.room.observe(&desk.prepared).offered, Seen::Present(_)));
}

#[test]
fn a_boot_that_asks_for_two_images_waits_for_each_by_itself() {
    let both = crate::room::with(&plain(1), "images/beta.toml", "\"never\"", "\"every-boot\"");
    let desk = Desk::new(&both);
    for boot in 1..3 {
        let target = desk.given("pc01", boot, None);
        desk.room.host.login(&target, PC01).expect("logs in");
        desk.room.host.write(&target, PC01, 0, 4096).expect("writes");
        desk.room.host.logout(&target, PC01);
        desk.look();
        desk.room.apply(&both);
        desk.look();
    }
    let told = |boot| desk.ask_for("pc01", boot, None, &["alpha", "beta"]);
    let is_given = |told: &Assignment| matches!(told, Assignment::Assigned { .. });
    let (alpha, beta): (ImageName, ImageName) = ("alpha".parse().expect("a name"), "beta".parse().expect("a name"));
    let first = told(9);
    assert!(!is_given(&first[&alpha]) && is_given(&first[&beta]), "{first:?}");
    let waits = desk.assigner.waiting();
    let images: Vec<String> = waits.values().flat_map(|waiting| waiting.images.keys().map(ToString::to_string)).collect();
    assert_eq!(images, ["alpha"], "the disk that it was given ends no other wait");
    desk.room.host.advance(std::time::Duration::from_secs(5));
    told(9);
    assert_eq!(desk.assigner.waiting(), waits, "and the wait goes on from when it began");
}

#[test]
fn a_machine_that_the_site_does_not_have_costs_nothing() {
    let desk = Desk::new(&plain(1));
    for number in 2..40 {
        let told = desk.ask(&format!("pc{number:02}"), 1, None);
        assert!(matches!(told, Assignment::Refused { code: RefusalCode::NotInSite, .. }), "{told:?}");
    }
    let seats = desk.room.state.path().join("run/seats");
    assert_eq!(std::fs::read_dir(&seats).map_or(0, Iterator::count), 0);
    assert!(desk.assigner.waiting().is_empty());
    desk.given("pc01", 1, None);
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(seats.join("pc01")).expect("its lock"));
    assert_eq!(mode & 0o777, 0o600, "whoever may open it may lock it");
}

#[test]
fn what_a_boot_waits_for_is_what_the_plan_says_of_its_disk() {
    let used = |desk: &Desk| {
        let target = desk.given("pc01", 1, None);
        desk.room.host.login(&target, PC01).expect("logs in");
        desk.room.host.write(&target, PC01, 0, 4096).expect("writes");
        desk.look();
    };
    let room = Room::new();
    room.host.add_pool("cafe", "pool", 128 << 20);
    let desk = Desk::in_room(room, &plain(1));
    used(&desk);
    assert_eq!(desk.waits("pc01", 2, "alpha"), WaitCode::Making);
    for volume in ["seat.pc01.alpha.a", "seat.pc01.beta.a"] {
        desk.room.host.fill_pool("cafe", volume, 60 << 20);
    }
    assert_eq!(desk.waits("pc01", 2, "alpha"), WaitCode::NoSpace);
    // Its other disk is a clone of what is not there.
    let mut desk = Desk::new(&plain(1));
    used(&desk);
    let mut files = with(&plain(1), "images/alpha.toml", "current", "data-disks = [\"other\"]\ncurrent");
    files.insert("images/other.toml".into(), disk("nowhere", "on-update", "1", &["1"], "role = \"data\""));
    desk.look_at(&files);
    assert_eq!(desk.waits("pc01", 2, "alpha"), WaitCode::Filling);
    // The site's disks lie in another group too, so that nothing is made.
    let desk = Desk::new(&plain(1));
    used(&desk);
    desk.room.host.add_vg("spare", 1 << 40).add_pool("spare", "pool", 1 << 30);
    desk.room.run("lvcreate -y -T -V 64m -n seat.pc01.old.a --addtag barista --addtag barista.site=cat spare/pool");
    assert_eq!(desk.waits("pc01", 2, "alpha"), WaitCode::Held);
}

#[test]
fn asks_that_take_turns_do_not_keep_the_agent_from_the_seats_it_works_on() {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};
    let desk = Desk::new(&plain(2));
    let (taken, is_over) = ([AtomicBool::new(false), AtomicBool::new(false)], AtomicBool::new(false));
    let seats =
        |names: &[&str]| names.iter().map(|name| name.parse().expect("a name")).collect::<std::collections::BTreeSet<_>>();
    let both = std::thread::scope(|scope| {
        for (own, name) in ["pc01", "pc02"].into_iter().enumerate() {
            let (assigner, taken, is_over) = (&desk.assigner, &taken, &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    let busy = assigner.work_on(seats(&[name]));
                    taken[own].store(true, Ordering::SeqCst);
                    // Its seat is free again once the other is taken.
                    let until = Instant::now() + Duration::from_millis(200);
                    while !taken[1 - own].load(Ordering::SeqCst) && Instant::now() < until && !is_over.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    taken[own].store(false, Ordering::SeqCst);
                    drop(busy);
                }
            });
        }
        std::thread::sleep(Duration::from_millis(50));
        let (begun, both) = std::sync::mpsc::channel();
        let assigner = &desk.assigner;
        scope.spawn(move || {
            let _busy = assigner.work_on(seats(&["pc01", "pc02"]));
            begun.send(()).ok()
        });
        let both = both.recv_timeout(Duration::from_secs(5));
        is_over.store(true, Ordering::SeqCst);
        both
    });
    assert!(both.is_ok(), "it waited five seconds for two seats, each of which came free all the time");
}

/// Reconciling without end for what cannot be helped (argoproj/argo-cd#9438).
#[test]
fn a_boot_that_nothing_can_be_done_for_does_not_have_the_host_looked_at_again_and_again() {
    let room = Room::new();
    room.host.add_pool("cafe", "pool", 128 << 20);
    let desk = Desk::in_room(room, &plain(1));
    let target = desk.given("pc01", 1, None);
    desk.room.host.login(&target, PC01).expect("logs in");
    desk.room.host.write(&target, PC01, 0, 4096).expect("writes");
    desk.look();
    for volume in ["seat.pc01.alpha.a", "seat.pc01.beta.a"] {
        desk.room.host.fill_pool("cafe", volume, 60 << 20);
    }
    assert_eq!(desk.waits("pc01", 2, "alpha"), WaitCode::NoSpace);
    desk.look();
    desk.wakeup.take_look_at_host();
    for _ in 0..5 {
        assert!(matches!(desk.ask("pc01", 2, None), Assignment::Wait { code: WaitCode::NoSpace, .. }));
        assert!(!desk.wakeup.take_look_at_host(), "the last look saw that there is no space, a moment ago");
    }
}
