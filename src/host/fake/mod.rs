//! A whole host in memory, with the kernel's and LVM's rules.
//!
//! **Invariant:** never a fake that just says yes: it refuses what Linux 6.1.192 and lvm2 2.03.16 refuse, and the contract suite
//! runs against it and against them. Every change is one effect; a test can make any of them fail, or be the last one.

mod arguments;
mod disks;
mod groups;
mod lio;
mod lvm;
mod lvm_commands;
mod lvm_reports;
mod ports;
mod programs;
mod stage;
mod tree;

pub use lvm::Content;
pub use stage::{Filled, SessionLost, TargetGlance, VolumeGlance};

use super::System;
use jiff::{SignedDuration, Timestamp};
use lio::Lio;
use lvm::{FakeKind, FakeLv, FakeVg, Lvm, Refusal};
use nix::errno::Errno;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

/// The volume groups' extents.
const EXTENT: u64 = 4 << 20;

/// A host in memory; clones are the same host.
#[derive(Clone)]
pub struct FakeHost {
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<World>,
    unblocked: Condvar,
    /// Told of every effect once it is done.
    audience: Mutex<Option<stage::Audience>>,
}

/// When effects fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Fault {
    #[default]
    None,
    /// Only the effect of this number.
    Once(u64),
    /// The effect of this number and all that follow.
    From(u64),
}

struct World {
    lio: Option<Lio>,
    lvm: Lvm,
    fault: Fault,
    effects: Vec<String>,
    /// How many effects the audience was told of.
    told: usize,
    /// Counts whatever changed what an observer could see.
    changes: u64,
    /// Counts commands of initiators.
    commands: u64,
    /// What volumes were filled with, by their UUIDs.
    fills: Vec<Filled>,
    /// What removing or writing waits for.
    blocked: BTreeSet<String>,
    /// Attributes that cannot be read.
    forbidden: BTreeMap<String, Errno>,
    missing_programs: BTreeSet<String>,
    /// Kernel modules that are loaded beside LIO's.
    loaded_modules: BTreeSet<String>,
    answers: BTreeMap<String, super::Output>,
    /// LVM's commands that did not carry our settings.
    bare_lvm: Vec<String>,
    /// How often an attribute or a link was read.
    reads: u64,
    has_odd_lvm_conf: bool,
    now: Timestamp,
    /// Time since the host booted; nobody sets it.
    boottime: Duration,
    boots: u32,
    /// Root's own files.
    files: BTreeMap<PathBuf, Vec<u8>>,
    has_carrier: bool,
    lanes: usize,
    has_configfs: bool,
    is_root: bool,
}

impl World {
    /// Counts one effect, and fails it if it is its turn.
    fn effect(&mut self, what: &str) -> Result<(), Refusal> {
        self.effects.push(what.to_owned());
        self.changes += 1;
        let number = self.effects.len() as u64;
        let fails = match self.fault {
            Fault::None => false,
            Fault::Once(at) => number == at,
            Fault::From(at) => number >= at,
        };
        if fails { Err((5, format!("injected failure of effect {number}: {what}"))) } else { Ok(()) }
    }

    fn tree_effect(&mut self, what: &str) -> Result<(), Errno> {
        self.effect(what).map_err(|_| Errno::EIO)
    }
}

impl Default for FakeHost {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeHost {
    /// A host that has just booted: no volume group, LIO not loaded.
    pub fn new() -> Self {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().expect("a timestamp");
        let world = World {
            lio: None,
            lvm: Lvm::default(),
            fault: Fault::None,
            effects: Vec::new(),
            told: 0,
            changes: 0,
            commands: 0,
            fills: Vec::new(),
            blocked: BTreeSet::new(),
            forbidden: BTreeMap::new(),
            missing_programs: BTreeSet::new(),
            loaded_modules: BTreeSet::new(),
            answers: BTreeMap::new(),
            bare_lvm: Vec::new(),
            reads: 0,
            has_odd_lvm_conf: false,
            now,
            boottime: Duration::from_secs(24 * 3600),
            boots: 1,
            files: BTreeMap::new(),
            has_carrier: true,
            lanes: 8,
            has_configfs: true,
            is_root: true,
        };
        Self { shared: Arc::new(Shared { world: Mutex::new(world), unblocked: Condvar::new(), audience: Mutex::new(None) }) }
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The five ports, all of them this host.
    pub fn system(&self) -> System {
        System {
            commands: Arc::new(self.clone()),
            configfs: Arc::new(self.clone()),
            disks: Arc::new(self.clone()),
            kernel: Arc::new(self.clone()),
            files: Arc::new(self.clone()),
        }
    }

    /// Adds an empty volume group with `bytes` of space and a metadata area for about ten thousand volumes.
    pub fn add_vg(&self, name: &str, bytes: u64) -> &Self {
        self.add_vg_with_metadata(name, bytes, 8 << 20)
    }

    /// Adds an empty volume group with a metadata area of a given size.
    pub fn add_vg_with_metadata(&self, name: &str, bytes: u64, metadata: u64) -> &Self {
        let vg = FakeVg { size: bytes / EXTENT * EXTENT, extent: EXTENT, metadata_size: metadata, lvs: BTreeMap::new() };
        self.world().lvm.vgs.insert(name.to_owned(), vg);
        self
    }

    /// Adds a thin pool as an operator would have made it.
    pub fn add_pool(&self, vg: &str, name: &str, bytes: u64) -> &Self {
        let lv = FakeLv {
            uuid: String::new(),
            kind: FakeKind::Pool { data: bytes, metadata: 64 << 20 },
            size: bytes,
            tags: BTreeSet::new(),
            minor: None,
            read_only: false,
            skip: false,
            content: Content::default(),
            mapped: 0,
            io: None,
            is_pending: false,
        };
        let mut world = self.world();
        world.lvm.add(vg, name, lv);
        world.lvm.activate(vg, name);
        drop(world);
        self
    }

    /// Loads LIO, as modprobe does.
    pub fn load_lio(&self) -> &Self {
        self.world().lio.get_or_insert_with(Lio::new);
        self
    }

    /// Logs an initiator in; refused where the kernel would refuse it. The ISID is an operating system's.
    pub fn login(&self, target: &str, initiator: &str) -> Result<(), String> {
        self.login_from(target, initiator, "00023d000001", "192.0.2.101")
    }

    /// Logs iPXE in, as [`Self::login`] does an operating system.
    pub fn login_firmware(&self, target: &str, initiator: &str) -> Result<(), String> {
        self.login_from(target, initiator, "40002723a1b2", "192.0.2.101")
    }

    fn login_from(&self, target: &str, initiator: &str, isid: &str, address: &str) -> Result<(), String> {
        let mut world = self.world();
        world.changes += 1;
        let lio = world.lio.as_mut().ok_or("LIO is not loaded")?;
        let initiator = initiator.to_ascii_lowercase();
        let tpg = format!("iscsi/{target}/tpgt_1");
        let value =
            |path: &str| lio.tree.value(&format!("{tpg}/{path}")).map(str::to_owned).map_err(|errno| format!("{path}: {errno}"));
        if value("enable")? != "1" {
            return Err(format!("{target} is not enabled"));
        }
        let portals = lio.tree.directory(&format!("{tpg}/np")).map_err(|errno| errno.to_string())?;
        if portals.children.is_empty() {
            return Err(format!("{target} has no portal"));
        }
        let pair = ["userid", "password"].map(|name| value(&format!("acls/{initiator}/auth/{name}")));
        let [user, secret] = pair;
        // A value that begins with NULL clears the field.
        let lacks = |text: &str| text.is_empty() || text.starts_with("NULL");
        let asks = match value(&format!("acls/{initiator}/attrib/authentication"))?.as_str() {
            "-1" => value("attrib/authentication")?,
            own => own.to_owned(),
        };
        if asks == "1" && (lacks(&user?) || lacks(&secret?)) {
            return Err(format!("{initiator} has no CHAP secret and {target} asks for one"));
        }
        for digest in ["param/HeaderDigest", "param/DataDigest"] {
            if !value(digest)?.contains("None") {
                return Err(format!("{target} insists on a {digest}"));
            }
        }
        if lio.read(&format!("{tpg}/acls/{initiator}/auth/authenticate_target")) == Ok("1".into()) {
            return Err(format!("{target} insists on being asked for its own secret"));
        }
        lio.sessions.push(lio::Session { target: target.into(), initiator, isid: isid.into(), address: address.into() });
        Ok(())
    }

    /// Ends an initiator's sessions on a target.
    pub fn logout(&self, target: &str, initiator: &str) {
        let mut world = self.world();
        world.changes += 1;
        if let Some(lio) = &mut world.lio {
            lio.sessions.retain(|session| (session.target.as_str(), session.initiator.as_str()) != (target, initiator));
        }
    }

    /// How many sessions there are on a target.
    pub fn sessions(&self, target: &str) -> usize {
        let world = self.world();
        world.lio.iter().flat_map(|lio| &lio.sessions).filter(|session| session.target == target).count()
    }

    /// Lets a logged-in initiator write to its LUN: counters move, and the volume behind it is dirty.
    pub fn write(&self, target: &str, initiator: &str, lun: u16, bytes: u64) -> Result<(), String> {
        self.command(target, initiator, lun, Some(bytes))
    }

    /// Lets a logged-in initiator read from its LUN: counters move, and nothing else.
    pub fn read_disk(&self, target: &str, initiator: &str, lun: u16) -> Result<(), String> {
        self.command(target, initiator, lun, None)
    }

    fn command(&self, target: &str, initiator: &str, lun: u16, writes: Option<u64>) -> Result<(), String> {
        let mut world = self.world();
        world.commands += 1;
        let World { lio: Some(lio), lvm, .. } = &mut *world else { return Err("LIO is not loaded".into()) };
        if !lio.sessions.iter().any(|session| session.target == target && session.initiator == initiator) {
            return Err(format!("{initiator} is not logged in to {target}"));
        }
        let mapped = format!("iscsi/{target}/tpgt_1/acls/{initiator}/lun_{lun}");
        let (_, tpg_lun) = lio.tree.link_in(&mapped).filter(|_| lio.is_mapped(&mapped)).ok_or("no such LUN")?;
        let (_, backstore) = lio.tree.link_in(&tpg_lun).ok_or("the LUN has no backstore")?;
        if !lio.is_accessible(&tpg_lun, &backstore) {
            return Err("the disk is not accessible by this port".into());
        }
        for counter in [
            format!("{mapped}/statistics/scsi_auth_intr/num_cmds"),
            format!("{tpg_lun}/statistics/scsi_tgt_port/in_cmds"),
            format!("{backstore}/statistics/scsi_lu/num_cmds"),
        ] {
            let count = lio.tree.value(&counter).ok().and_then(|count| count.parse::<u64>().ok()).unwrap_or(0) + 1;
            lio.tree.set(&counter, &count.to_string()).map_err(|errno| errno.to_string())?;
        }
        let (vg, name) = lio.volume_of(&backstore, lvm).ok_or("the backstore has no volume")?;
        if let Some(bytes) = writes {
            lvm.write_to(&vg, &name, bytes);
        }
        Ok(())
    }

    /// What a volume holds.
    pub fn content(&self, vg: &str, lv: &str) -> Option<Content> {
        self.world().lvm.lv(vg, lv).map(|lv| lv.content.clone())
    }

    /// The volume that a backstore (its path below `core/`) has open.
    pub fn volume_of(&self, backstore: &str) -> Option<String> {
        let world = self.world();
        let (vg, name) = world.lio.as_ref()?.volume_of(&format!("core/{backstore}"), &world.lvm)?;
        Some(format!("{vg}/{name}"))
    }

    /// Uses up a pool's space, as a volume's guests would.
    pub fn fill_pool(&self, vg: &str, lv: &str, bytes: u64) {
        self.world().lvm.write_to(vg, lv, bytes);
    }

    /// Every effect so far, the failed ones too, in order.
    pub fn effects(&self) -> Vec<String> {
        self.world().effects.clone()
    }

    /// Writes that would have crashed a real kernel.
    pub fn crashes(&self) -> Vec<String> {
        self.world().lio.as_ref().map(|lio| lio.crashes.clone()).unwrap_or_default()
    }

    /// How often configfs was read so far.
    pub fn reads(&self) -> u64 {
        self.world().reads
    }

    /// Makes the n-th effect from now, counted from 1, fail.
    pub fn fail_at(&self, n: u64) {
        let mut world = self.world();
        world.fault = Fault::Once(world.effects.len() as u64 + n);
    }

    /// Makes the n-th effect from now, counted from 1, and all that follow fail, until [`Self::revive`].
    pub fn crash_at(&self, n: u64) {
        let mut world = self.world();
        world.fault = Fault::From(world.effects.len() as u64 + n);
    }

    /// Ends every injected failure.
    pub fn revive(&self) {
        self.world().fault = Fault::None;
    }

    /// Boots the host: configfs and sessions are gone, volumes with the activation skip flag are inactive.
    pub fn reboot(&self) {
        let mut world = self.world();
        world.lio = None;
        world.changes += 1;
        world.lvm.reboot();
        world.boots += 1;
        world.boottime = Duration::from_secs(20);
    }

    /// Lets time pass.
    pub fn advance(&self, time: Duration) {
        let mut world = self.world();
        world.now += SignedDuration::try_from(time).expect("a test's time is short");
        world.boottime += time;
    }

    /// Sets the host's clock; its own time goes on as before.
    pub fn set_clock(&self, by: SignedDuration) {
        self.world().now += by;
    }

    /// Pulls the server's network cable, or puts it back.
    pub fn set_carrier(&self, has_carrier: bool) {
        let mut world = self.world();
        world.changes += 1;
        world.has_carrier = has_carrier;
    }

    /// Has changes of targets go one after another, so that the order of effects is the same each time.
    pub fn one_lane(&self) -> &Self {
        self.world().lanes = 1;
        self
    }

    /// Damages the last bytes of what a file of root's holds before its zeroes, as a torn write does.
    pub fn tear_file(&self, path: &Path, bytes: usize) {
        let mut world = self.world();
        let Some(file) = world.files.get_mut(path) else { return };
        let end = file.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        file[end.saturating_sub(bytes)..end].fill(0);
    }

    /// Removes a file of root's, or puts another text in its place.
    pub fn set_file(&self, path: &Path, text: Option<&[u8]>) {
        let mut world = self.world();
        world.changes += 1;
        match text {
            Some(text) => drop(world.files.insert(path.to_owned(), text.to_vec())),
            None => drop(world.files.remove(path)),
        }
    }

    /// A file of root's.
    pub fn file(&self, path: &Path) -> Option<Vec<u8>> {
        self.world().files.get(path).cloned()
    }

    /// Makes any change below a path of configfs wait until [`Self::unblock`].
    pub fn block(&self, path: &str) {
        self.world().blocked.insert(path.to_owned());
    }

    /// Lets go of everything that waits.
    pub fn unblock(&self) {
        self.world().blocked.clear();
        self.shared.unblocked.notify_all();
    }

    /// Makes an attribute unreadable.
    pub fn forbid(&self, path: &str, errno: Errno) {
        self.world().forbidden.insert(path.to_owned(), errno);
    }

    /// Takes a program off the host.
    pub fn uninstall(&self, program: &str) {
        self.world().missing_programs.insert(program.to_owned());
    }

    /// Loads a kernel module that is not LIO's.
    pub fn load_module(&self, name: &str) {
        self.world().loaded_modules.insert(name.to_owned());
    }

    /// Makes a program answer this from now on, whatever it is asked.
    pub fn answer(&self, program: &str, output: super::Output) {
        self.world().answers.insert(program.to_owned(), output);
    }

    /// LVM's commands so far that did not carry the settings which make its output the same on every host.
    pub fn bare_lvm_commands(&self) -> Vec<String> {
        self.world().bare_lvm.clone()
    }

    /// Writes an lvm.conf that changes what LVM prints.
    pub fn write_odd_lvm_conf(&self) {
        self.world().has_odd_lvm_conf = true;
    }

    /// Unmounts configfs.
    pub fn unmount_configfs(&self) {
        let mut world = self.world();
        world.has_configfs = false;
        world.lio = None;
    }

    /// Runs what follows as an ordinary user.
    pub fn become_user(&self) {
        self.world().is_root = false;
    }
}
