//! What the agent does when a booting machine waits for it: the lock first, a quick look, and no more of one afterwards than was changed.

use crate::room::{Files, PC01, Room, cafe, disk, text, with};
use barista::agent::{
    assign::Assigner,
    converge::{Knowledge, Observer, Reconciliation, lock_within},
    occupancy::OccupancyMemory,
    wakeup::Wakeup,
};
use barista::host::{Command, Commands, Ended, Fills, Output, RunDir, Silent, System, Watch};
use barista::names::Mark;
use barista::plan::{Revision, Targets};
use barista::site::{Entry, Tree, load};
use nix::fcntl::{Flock, FlockArg};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

const CONVERGED: &str = "converged";

/// An agent's knowledge of a room.
struct Agent {
    knowledge: Knowledge,
    system: System,
    state: PathBuf,
    run_dir: RunDir,
}

impl Agent {
    fn new(room: &Room, system: System, fills: Fills) -> Self {
        let state = room.state.path().to_owned();
        let run_dir = RunDir::new(state.join("run"));
        let assigner = Arc::new(Assigner::new(system.clone(), state.clone(), run_dir.clone(), Wakeup::default()));
        let knowledge = Knowledge::new(OccupancyMemory::new(&system.kernel.boot_id()), fills, assigner);
        Self { knowledge, system, state, run_dir }
    }

    /// One attempt, awaited or not; what was planned, and `CONVERGED` where nothing was.
    fn attempt(&self, files: &Files, is_awaited: bool) -> String {
        let entries = files.iter().map(|(path, text)| (path.clone(), Entry::File(text.clone().into_bytes()))).collect();
        let site = load(&Tree { entries }).site.expect("reads");
        let (targets, forced) = (Targets::default(), Default::default());
        let revision = Revision { id: "a".repeat(40), subject: String::new() };
        let observer = Observer::Agent(&self.knowledge);
        let (system, state) = (&self.system, &*self.state);
        let reconciliation = Reconciliation {
            system,
            state,
            site: &site,
            revision: &revision,
            targets: &targets,
            observer,
            forced: &forced,
            is_awaited,
        };
        let lock = lock_within(&self.run_dir, Duration::ZERO).expect("free");
        let mut proposal = reconciliation.glance().expect("looks");
        if proposal.plan.is_converged() {
            return CONVERGED.to_owned();
        }
        if !is_awaited {
            proposal = reconciliation.propose().expect("looks");
        }
        let mut planned = String::new();
        for _ in 0..2 {
            planned += &text(&proposal.plan);
            proposal = reconciliation.carry_out(&proposal, &lock, &mut Silent).after;
            if proposal.plan.is_converged() {
                break;
            }
        }
        planned
    }
}

#[test]
fn another_secret_reaches_the_kernel_with_the_table_that_names_it() {
    for is_awaited in [false, true] {
        let room = Room::new();
        let path = room.state.path().join("chap.toml");
        let write = |secret: &str| {
            fs::write(&path, format!("[pc01]\nsecret = \"{secret}\"\n")).expect("writable");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        };
        write("correcthorse1");
        let files = with(&cafe(2), "site.toml", "[iscsi]\n", &format!("[iscsi]\nchap-secrets = {path:?}\n"));
        let files = with(&files, "machines/row.toml", "name = \"pc01\"\n", "name = \"pc01\"\nchap = true\n");
        let agent = Agent::new(&room, room.host.system(), Fills::Wait);
        agent.attempt(&files, false);
        assert_eq!(agent.attempt(&files, false), CONVERGED);
        room.host.advance(Duration::from_secs(5));
        write("batterystaple");
        let planned = agent.attempt(&files, is_awaited);
        let target = &room.targets("pc01", "alpha")[0];
        let kernel = agent.system.configfs.read(&format!("iscsi/{target}/tpgt_1/acls/{PC01}/auth/password")).expect("is there");
        assert_eq!(kernel, "batterystaple", "awaited {is_awaited}: {planned}");
    }
}

/// Does something once, right after LVM was asked for a report of all groups.
struct AfterReport {
    inner: Arc<dyn Commands>,
    then: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Commands for AfterReport {
    fn execute(&self, command: &Command, watch: &mut Watch<'_>) -> Result<Output, Ended> {
        let ended = self.inner.execute(command, watch);
        if command.argv.iter().any(|word| word == "--select") {
            self.then.lock().expect("nobody panics").take().into_iter().for_each(|then| then());
        }
        ended
    }
}

/// An incomplete look destroys nothing (argoproj/argo-cd#28630).
#[test]
fn a_version_that_becomes_whole_while_it_is_looked_at_is_no_garbage() {
    for is_awaited in [false, true] {
        let room = Room::new();
        room.settle(&cafe(1));
        room.source("newer.raw", &vec![9; 256 << 10]);
        let mut new = cafe(1);
        new.insert("images/alpha.toml".into(), disk("newer", "every-boot", "2", &["1", "2"], "data-disks = [\"games\"]"));
        room.apply(&new);
        // As it is while somebody fills it.
        room.run(&format!("lvchange --deltag {} --addtag {} cafe/img.alpha.2", Mark::READY, Mark::FILLING));
        let locks = room.state.path().join("filling");
        fs::create_dir_all(&locks).expect("writable");
        let file = fs::File::create(locks.join("img.alpha.2")).expect("writable");
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error).expect("free");
        let host = room.host.system();
        let commands = Arc::new(AfterReport { inner: host.commands.clone(), then: Mutex::default() });
        let agent = Agent::new(&room, System { commands: commands.clone(), ..host.clone() }, Fills::Wait);
        agent.attempt(&new, false);
        let seal = move || {
            let line = format!("lvchange --deltag {} --addtag {} cafe/img.alpha.2", Mark::FILLING, Mark::READY);
            host.commands.succeed(&Command::new(line.split(' '), Duration::from_secs(1))).expect("is sealed");
            drop(lock);
        };
        *commands.then.lock().expect("nobody panics") = Some(Box::new(seal));
        let before = room.host.effects().len();
        let planned = agent.attempt(&new, is_awaited);
        let effects = room.host.effects()[before..].to_vec();
        let removes = effects.iter().any(|effect| effect.contains("lvremove") && effect.contains("img.alpha.2"));
        assert!(!removes, "awaited {is_awaited}: {planned}\n{effects:?}");
    }
}

/// Commands on a version take a while, so that the agent looks while it is filled, as it does where that takes an hour.
struct Slow(Arc<dyn Commands>);

impl Commands for Slow {
    fn execute(&self, command: &Command, watch: &mut Watch<'_>) -> Result<Output, Ended> {
        if command.argv.iter().any(|word| word == "cafe/img.alpha.2") {
            std::thread::sleep(Duration::from_millis(60));
        }
        self.0.execute(command, watch)
    }
}

#[test]
fn a_fill_that_fails_is_tried_ever_more_seldom_though_looks_fall_into_it() {
    let room = Room::new();
    room.settle(&cafe(1));
    room.source("newer.raw", &vec![9; 256 << 10]);
    let mut new = cafe(1);
    let other = format!("[[version]]\nname = \"2\"\nsource = \"newer.raw\"\nsha256 = \"{}\"\n", "ab".repeat(32));
    new.insert("images/alpha.toml".into(), disk("newer", "every-boot", "2", &["1"], "data-disks = [\"games\"]") + &other);
    let host = room.host.system();
    let system = System { commands: Arc::new(Slow(host.commands.clone())), ..host };
    let agent = Agent::new(&room, system, Fills::Background { running: Default::default(), then: Arc::new(|| {}) });
    for _ in 0..360 {
        agent.attempt(&new, false);
        std::thread::sleep(Duration::from_millis(10));
        room.host.advance(Duration::from_secs(10));
    }
    let tries = room.host.effects().iter().filter(|effect| effect.contains("lvcreate") && effect.contains("img.alpha.2")).count();
    assert!((5..20).contains(&tries), "{tries} tries in an hour");
}

/// Sees which rights the locks of what is being filled have.
struct Rights(Arc<dyn Commands>, PathBuf, Mutex<Vec<u32>>);

impl Commands for Rights {
    fn execute(&self, command: &Command, watch: &mut Watch<'_>) -> Result<Output, Ended> {
        for lock in fs::read_dir(&self.1).into_iter().flatten().flatten() {
            self.2.lock().expect("nobody panics").push(lock.metadata().expect("is there").permissions().mode() & 0o777);
        }
        self.0.execute(command, watch)
    }
}

/// Whoever may open a lock may take it, if only for reading (open-iscsi/targetcli-fb#162 is of that kind).
#[test]
fn nobody_else_can_take_the_lock_of_what_is_being_filled() {
    let room = Room::new();
    let host = room.host.system();
    let rights = Arc::new(Rights(host.commands.clone(), room.state.path().join("filling"), Mutex::default()));
    let agent = Agent::new(&room, System { commands: rights.clone(), ..host }, Fills::Wait);
    agent.attempt(&cafe(1), false);
    let seen = rights.2.lock().expect("nobody panics").clone();
    assert!(!seen.is_empty() && seen.iter().all(|mode| *mode == 0o600), "{seen:?}");
}
