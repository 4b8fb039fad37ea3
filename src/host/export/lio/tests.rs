//! Ops in configfs, one by one: cut off, repeated, refused.

use super::op::ConfigFsOp;
use super::worker::Worker;
use crate::host::fake::FakeHost;
use crate::host::{Command, ConfigFs, Kind};
use crate::plan::Outcome;
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const BACKSTORE: &str = "core/iblock_100000/lucky-cat.pc01.win11.a";
const TARGET: &str = "iqn.2026-11.example.lucky-cat:pc01.win11.a-00000000";
const TPG: &str = "iscsi/iqn.2026-11.example.lucky-cat:pc01.win11.a-00000000/tpgt_1";
const INITIATOR: &str = "iqn.2026-11.example.lucky-cat:pc01";

fn host() -> FakeHost {
    let host = FakeHost::new();
    host.load_lio().add_vg("cafe", 8 << 30).add_pool("cafe", "pool", 1 << 30);
    let volume = ["lvcreate", "-y", "-T", "-V", "64m", "-n", "seat.pc01.win11.a", "cafe/pool"];
    let output = host.system().commands.run(&Command::new(volume, Duration::from_secs(9)));
    assert!(output.is_ok_and(|output| output.is_success()));
    host
}

fn run(host: &FakeHost, ops: Vec<ConfigFsOp>) -> Outcome {
    let mut outcome = Outcome::Done;
    let mut worker = Worker::new(Arc::new(host.clone()), Duration::from_secs(3));
    worker.perform_all(vec![ops], |_, result| outcome = result.err().unwrap_or(Outcome::Done));
    outcome
}

fn mkdir(path: &str) -> ConfigFsOp {
    ConfigFsOp::Mkdir(path.into())
}

fn rmdir(path: &str) -> ConfigFsOp {
    ConfigFsOp::Rmdir(path.into())
}

fn write(path: &str, value: &str) -> ConfigFsOp {
    ConfigFsOp::Write { path: path.into(), value: value.into() }
}

fn link(target: &str, link: &str) -> ConfigFsOp {
    ConfigFsOp::Symlink { target: target.into(), link: link.into() }
}

fn build() -> Vec<ConfigFsOp> {
    let (lun, acl) = (format!("{TPG}/lun/lun_0"), format!("{TPG}/acls/{INITIATOR}"));
    vec![
        mkdir("core/iblock_100000"),
        mkdir(BACKSTORE),
        write(&format!("{BACKSTORE}/control"), "udev_path=/dev/cafe/seat.pc01.win11.a"),
        write(&format!("{BACKSTORE}/enable"), "1"),
        write(&format!("{BACKSTORE}/attrib/emulate_tpu"), "1"),
        mkdir("iscsi"),
        mkdir(TPG.trim_end_matches("/tpgt_1")),
        mkdir(TPG),
        mkdir(&lun),
        link(BACKSTORE, &format!("{lun}/disk")),
        mkdir(&format!("{TPG}/np/192.0.2.1:3260")),
        mkdir(&acl),
        mkdir(&format!("{acl}/lun_0")),
        link(&lun, &format!("{acl}/lun_0/disk")),
        write(&format!("{TPG}/attrib/authentication"), "0"),
        write(&format!("{TPG}/enable"), "1"),
    ]
}

/// What a planner that sees the host would have run again: an open backstore takes no other path, not even its own (EEXIST), for
/// after a rename that path may lead elsewhere.
fn rebuild(host: &FakeHost) -> Vec<ConfigFsOp> {
    let control = format!("{BACKSTORE}/control");
    let is_open = ConfigFs::read(host, &format!("{BACKSTORE}/enable")).is_ok_and(|enabled| enabled == "1");
    let skips = |op: &ConfigFsOp| is_open && matches!(op, ConfigFsOp::Write { path, .. } if *path == control);
    build().into_iter().filter(|op| !skips(op)).collect()
}

fn teardown() -> Vec<ConfigFsOp> {
    let (lun, acl) = (format!("{TPG}/lun/lun_0"), format!("{TPG}/acls/{INITIATOR}"));
    vec![
        ConfigFsOp::Unlink(format!("{acl}/lun_0/disk")),
        rmdir(&format!("{acl}/lun_0")),
        rmdir(&acl),
        ConfigFsOp::Unlink(format!("{lun}/disk")),
        rmdir(&lun),
        rmdir(&format!("{TPG}/np/192.0.2.1:3260")),
        rmdir(TPG),
        rmdir(TPG.trim_end_matches("/tpgt_1")),
        rmdir(BACKSTORE),
        rmdir("core/iblock_100000"),
    ]
}

/// Everything there is in configfs, by path.
fn tree(host: &FakeHost, path: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, kind) in host.list(path).unwrap_or_default() {
        let path = if path.is_empty() { name } else { format!("{path}/{name}") };
        match kind {
            Kind::Directory => found.extend(tree(host, &path)),
            Kind::Attribute => drop(found.insert(path.clone(), ConfigFs::read(host, &path).unwrap_or_default())),
            Kind::Link => drop(found.insert(path.clone(), host.read_link(&path).expect("a link"))),
        }
        found.entry(path).or_default();
    }
    found
}

#[test]
fn ops_that_are_cut_off_anywhere_come_to_the_same_end_when_run_again() {
    let whole = host();
    assert_eq!(run(&whole, build()), Outcome::Done);
    let built = tree(&whole, "");
    assert_eq!(run(&whole, rebuild(&whole)), Outcome::Done, "what is done already is fine");
    assert_eq!(tree(&whole, ""), built);
    assert_eq!(run(&whole, teardown()), Outcome::Done);
    let bare = tree(&whole, "");
    for n in 1..=build().len() as u64 {
        let host = host();
        host.crash_at(n);
        assert!(matches!(run(&host, build()), Outcome::Failed(why) if why.contains("os error")), "effect {n}");
        host.revive();
        assert_eq!(run(&host, rebuild(&host)), Outcome::Done, "after effect {n}");
        assert_eq!(tree(&host, ""), built, "after effect {n}");
        if n <= teardown().len() as u64 {
            host.crash_at(n);
            assert!(matches!(run(&host, teardown()), Outcome::Failed(_)), "effect {n}");
            host.revive();
            assert_eq!(run(&host, teardown()), Outcome::Done, "after effect {n}");
            assert_eq!(tree(&host, ""), bare, "after effect {n}");
        }
        assert!(host.crashes().is_empty());
    }
}

#[test]
fn a_link_to_something_else_is_not_taken_for_ours() {
    let host = host();
    assert_eq!(run(&host, build()), Outcome::Done);
    let other = run(&host, vec![link("core/iblock_100000", &format!("{TPG}/lun/lun_0/disk"))]);
    assert!(matches!(&other, Outcome::Failed(why) if why.contains("another link is there")), "{other:?}");
}

#[test]
fn a_map_that_has_died_is_made_anew() {
    let host = host();
    assert_eq!(run(&host, build()), Outcome::Done);
    host.unlink(&format!("{TPG}/lun/lun_0/disk")).expect("another tool took it away");
    assert_eq!(run(&host, rebuild(&host)), Outcome::Done);
    host.login(TARGET, INITIATOR).expect("logs in");
    assert_eq!(host.write(TARGET, INITIATOR, 0, 512), Ok(()), "the map works again");
}

#[test]
fn a_write_that_would_crash_the_kernel_is_refused() {
    let host = host();
    let ops = vec![mkdir("core/iblock_100000"), mkdir(BACKSTORE), write(&format!("{BACKSTORE}/attrib/emulate_tpu"), "1")];
    let outcome = run(&host, ops);
    assert!(matches!(&outcome, Outcome::Failed(why) if why.contains("would crash the kernel")), "{outcome:?}");
    assert!(host.crashes().is_empty());
}
