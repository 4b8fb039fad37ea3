//! What a reconciliation does before it touches the host.

use crate::room::cafe;
use barista::{
    agent::converge::{ConvergeError, Observer, Reconciliation},
    deploy::directory,
    host::{
        Command, Commands, ConfigFs, Disks, DurableFiles, Ended, FillDisk, FillSource, Held, Kernel, Kind, Lock, Output, System,
        Watch, fake::FakeHost,
    },
    observed::{DiskIo, Seen},
    plan::{Revision, Targets},
    site,
};
use jiff::Timestamp;
use std::{io, path::Path, sync::Arc, time::Duration};

/// A host on which every touch is a failure of the test, looked at by somebody who is not root.
struct Untouchable;

impl Commands for Untouchable {
    fn execute(&self, command: &Command, _: &mut Watch<'_>) -> Result<Output, Ended> {
        panic!("{:?} was run", command.argv)
    }
}

impl Disks for Untouchable {
    fn open_for_fill(&self, device: &str, _: &FillSource<'_>) -> io::Result<Box<dyn FillDisk>> {
        panic!("{device} was opened")
    }
}

impl Kernel for Untouchable {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
    fn boottime(&self) -> Duration {
        Duration::ZERO
    }
    fn has_carrier(&self, interface: &str) -> bool {
        panic!("{interface} was looked at")
    }
    fn boot_id(&self) -> String {
        String::new()
    }
    fn has_module(&self, name: &str) -> bool {
        panic!("the kernel was asked for {name}")
    }
    fn has_configfs(&self) -> bool {
        panic!("the kernel was asked for configfs")
    }
    fn disk_io(&self, device: (u32, u32)) -> Seen<DiskIo> {
        panic!("disk {device:?} was looked at")
    }
    fn is_root(&self) -> bool {
        false
    }
}

impl ConfigFs for Untouchable {
    fn list(&self, path: &str) -> io::Result<Vec<(String, Kind)>> {
        panic!("{path} was listed")
    }
    fn read(&self, path: &str) -> io::Result<String> {
        panic!("{path} was read")
    }
    fn read_link(&self, path: &str) -> io::Result<String> {
        panic!("{path} was read")
    }
    fn mkdir(&self, path: &str) -> io::Result<()> {
        panic!("{path} was made")
    }
    fn rmdir(&self, path: &str) -> io::Result<()> {
        panic!("{path} was removed")
    }
    fn write(&self, path: &str, _: &str) -> io::Result<()> {
        panic!("{path} was written")
    }
    fn symlink(&self, _: &str, link: &str) -> io::Result<()> {
        panic!("{link} was made")
    }
    fn unlink(&self, path: &str) -> io::Result<()> {
        panic!("{path} was removed")
    }
    fn lock_out_other_tools(&self) -> Vec<Lock> {
        panic!("others were locked out")
    }
}

impl DurableFiles for Untouchable {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        panic!("{} was read", path.display())
    }
    fn overwrite(&self, path: &Path, _: u64, _: &[u8]) -> io::Result<()> {
        panic!("{} was written", path.display())
    }
    fn replace(&self, path: &Path, _: &[u8]) -> io::Result<()> {
        panic!("{} was written", path.display())
    }
    fn lock(&self, path: &Path) -> io::Result<Held> {
        panic!("{} was locked", path.display())
    }
}

#[test]
fn a_site_with_disks_is_not_looked_at_without_root() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("site-example");
    let site = site::load(&directory::read(&example).unwrap()).site.expect("the example is a site");
    let untouchable = Arc::new(Untouchable);
    let system = System {
        commands: untouchable.clone(),
        configfs: untouchable.clone(),
        disks: untouchable.clone(),
        kernel: untouchable.clone(),
        files: untouchable,
    };
    let revision = Revision { id: "uncommitted".to_owned(), subject: String::new() };
    let reconciliation = Reconciliation {
        system: &system,
        state: Path::new("/nonexistent"),
        site: &site,
        revision: &revision,
        targets: &Targets::default(),
        observer: Observer::Visitor,
        forced: &std::collections::BTreeSet::new(),
        is_awaited: false,
    };
    assert!(matches!(reconciliation.propose(), Err(ConvergeError::NotRoot)));
}

#[test]
fn a_host_that_is_not_ready_is_told_so_before_anything_is_done() {
    let host = FakeHost::new();
    host.add_vg("cafe", 1 << 40);
    let state = tempfile::tempdir().unwrap();
    let entries = cafe(1).into_iter().map(|(path, text)| (path, site::Entry::File(text.into_bytes()))).collect();
    let site = site::load(&site::Tree { entries }).site.expect("a site");
    let (revision, targets) = (Revision { id: "test".into(), subject: String::new() }, Targets::default());
    let system = host.system();
    let reconciliation = Reconciliation {
        system: &system,
        state: state.path(),
        site: &site,
        revision: &revision,
        targets: &targets,
        observer: Observer::Visitor,
        forced: &std::collections::BTreeSet::new(),
        is_awaited: false,
    };
    assert_eq!(reconciliation.obstacles(&reconciliation.propose().unwrap()), []);
    host.answer("modprobe", Output { status: Some(1), ..Output::default() });
    let told: Vec<String> =
        reconciliation.obstacles(&reconciliation.propose().unwrap()).iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|problem| problem.contains("dm_thin_pool")), "{told:?}");
}
