//! Public bug reports of peers about disks, targets and machines, each with the outcome that is right here. What the reports are of is
//! named at each; nothing of theirs is copied.

use crate::room::{PC01, Room, cafe, compute, disk, prepare, text, with};
use barista::host::Kind;
use barista::observed::{Hundredths, LvKind, Seen};
use barista::plan::{Action, DiskOp, Gate, Hold, PoolProblem, Step, Subject};

/// The directories below one of configfs.
fn below(room: &Room, path: &str) -> Vec<String> {
    let entries = room.host.system().configfs.list(path).unwrap_or_default();
    entries.into_iter().filter(|(_, kind)| *kind == Kind::Directory).map(|(name, _)| name).collect()
}

/// miroir 490, topolvm 566: a thin snapshot bears the flag that has it passed over, and `lvchange -a y` without `-K` says nothing.
#[test]
fn clones_come_back_after_a_reboot_though_lvm_passes_snapshots_over() {
    let room = Room::new();
    let made = barista::host::render_ops(&room.plan(&cafe(2)));
    let clones: Vec<&str> =
        made.lines().filter(|line| line.starts_with("lvcreate") && line.contains("barista.machine")).collect();
    assert!(!clones.is_empty() && clones.iter().all(|line| line.contains("-k n")), "{clones:?}");
    room.settle(&cafe(2));
    // One that an earlier version, or a person, left with the flag.
    room.run("lvchange -y -k y cafe/seat.pc01.beta.a");
    room.host.reboot();
    room.restart_agent();
    let ops = barista::host::render_ops(&room.plan(&cafe(2)));
    let mut activates = ops.lines().filter(|line| line.contains("-a y"));
    assert!(activates.clone().count() > 0 && activates.all(|line| line.contains("-K")), "{ops}");
    room.settle(&cafe(2));
    for (machine, image) in [("pc01", "alpha"), ("pc01", "beta"), ("pc02", "alpha")] {
        let target = room.boot(&cafe(2), machine, image);
        assert!(room.is_open(&target, machine), "{target}");
    }
}

/// targetcli-fb 5: after a start there were backstores and LUNs, but neither ACLs nor portals, so nobody could log in.
#[test]
fn a_target_without_acls_and_portals_gets_them_back() {
    let room = Room::new();
    room.settle(&cafe(1));
    let target = room.boot(&cafe(1), "pc01", "alpha");
    let (tree, tpg) = (room.host.system().configfs, format!("iscsi/{target}/tpgt_1"));
    for acl in below(&room, &format!("{tpg}/acls")) {
        for lun in below(&room, &format!("{tpg}/acls/{acl}")).into_iter().filter(|name| name.starts_with("lun_")) {
            let lun = format!("{tpg}/acls/{acl}/{lun}");
            for (link, kind) in tree.list(&lun).unwrap() {
                if kind == Kind::Link {
                    tree.unlink(&format!("{lun}/{link}")).unwrap();
                }
            }
            tree.rmdir(&lun).unwrap();
        }
        tree.rmdir(&format!("{tpg}/acls/{acl}")).unwrap();
    }
    for portal in below(&room, &format!("{tpg}/np")) {
        tree.rmdir(&format!("{tpg}/np/{portal}")).unwrap();
    }
    assert!(!room.is_open(&target, "pc01"));
    let before = room.disk(&target, 0);
    room.settle(&cafe(1));
    assert!(room.is_open(&target, "pc01"));
    assert_eq!(room.disk(&target, 0), before);
    assert_eq!(below(&room, &format!("{tpg}/np")).len(), 1);
}

/// rtslib-fb 153: a restore put the first target back and left the others out without a word.
#[test]
fn of_many_targets_that_went_each_comes_back() {
    let room = Room::new();
    room.settle(&cafe(6));
    let names = |room: &Room| below(room, "iscsi").into_iter().filter(|name| name.starts_with("iqn.")).collect::<Vec<_>>();
    let before = names(&room);
    assert!(before.len() >= 12, "{before:?}");
    room.host.clear_targets();
    room.settle(&cafe(6));
    assert_eq!(names(&room), before);
}

/// kubernetes 59946, seagate-exos-x-csi 138: a LUN's number that is given to another volume under a session shows it the wrong one.
#[test]
fn a_lun_of_a_machine_at_work_never_becomes_another_disk() {
    let room = Room::new();
    room.settle(&cafe(1));
    let target = room.work(&cafe(1), "pc01", "alpha");
    let games = room.disk(&target, 1);
    let mut other = with(&cafe(1), "images/alpha.toml", "data-disks = [\"games\"]", "data-disks = [\"maps\"]");
    other.insert("images/maps.toml".into(), disk("beta", "on-update", "1", &["1"], "role = \"data\""));
    for _ in 0..3 {
        room.apply(&other);
    }
    assert_eq!(room.disk(&target, 1), games, "the machine at work");
    assert_eq!(room.host.sessions(&target), 1);
    room.host.logout(&target, PC01);
    let next = room.boot(&other, "pc01", "alpha");
    assert_ne!(next, target);
    assert!(room.disk(&next, 1).0.contains("maps"), "{:?}", room.disk(&next, 1));
}

/// glusterfs 546: snapshots went on being made until the pool's metadata was full, and every volume of it failed.
#[test]
fn no_disk_is_made_while_the_pools_metadata_is_nearly_full() {
    let room = Room::new();
    room.settle(&cafe(1));
    let more = prepare(&cafe(2));
    let mut observation = room.observe(&more);
    let Seen::Present(vg) = &mut observation.vg else { panic!("{:?}", observation.vg) };
    let pool = vg.lvs.get_mut("pool").expect("is there");
    let LvKind::ThinPool { metadata, .. } = &mut pool.kind else { panic!("{:?}", pool.kind) };
    *metadata = Some(Hundredths(9_700));
    let plan = compute(&more, &observation);
    let made: Vec<_> =
        plan.changes.iter().filter(|change| matches!(change.subject, Subject::Side { .. } | Subject::Disk { .. })).collect();
    assert!(!made.is_empty());
    for change in made {
        let is_full = matches!(&change.gate, Gate::Held(Hold::Pool { problem: PoolProblem::MetadataFull { .. } }));
        assert!(is_full || matches!(change.gate, Gate::Held(Hold::After { .. })), "{}", text(&plan));
    }
    assert!(text(&plan).contains("metadata"), "{}", text(&plan));
}

/// terraform 30271, opentofu 1060: what forbids to destroy hid the rest of the plan, and with it why anything was to be destroyed.
#[test]
fn what_may_not_be_destroyed_is_shown_with_its_reason_beside_all_the_rest() {
    let room = Room::new();
    room.settle(&cafe(2));
    let gone = cafe(1);
    let plan = room.plan(&gone);
    let held = |change: &&barista::plan::Change| matches!(change.gate, Gate::Held(Hold::NoConsent { .. }));
    let kept = plan.changes.iter().find(held).expect("a kept disk goes by consent");
    assert_eq!(kept.action, Action::Remove);
    let said = text(&plan);
    for word in ["may-destroy", "the site no longer has it", "pc02"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(plan.changes.len() > 1 && plan.changes.iter().any(|change| !held(&change)), "{said}");
}

/// container-storage-setup 169: a pool over all that is free leaves no room for the spare of its metadata, and cannot be made.
#[test]
fn a_pool_leaves_room_for_its_metadata_and_the_spare_of_that() {
    for mebibytes in [96, 200, 1000, 40_000, 3_000_000_u64] {
        let room = Room::empty();
        room.host.add_vg("cafe", mebibytes << 20);
        let prepared = prepare(&cafe(1));
        let observation = room.observe(&prepared);
        let free = observation.vg.present().expect("is there").free;
        let plan = compute(&prepared, &observation);
        let ops = plan.steps.iter().flat_map(|step| match step {
            Step::Disks { ops, .. } => &ops[..],
            _ => &[],
        });
        let mut made = ops.filter_map(|(_, op)| match op {
            DiskOp::MakePool { size, metadata, .. } => Some((*size, *metadata)),
            _ => None,
        });
        match made.next_back() {
            Some((size, metadata)) => {
                assert!(size.0 + 2 * metadata.0 <= free.0, "{mebibytes} MiB: {size} and {metadata} of {free}")
            }
            None => assert!(mebibytes < 300 && plan.held().count() > 0, "{mebibytes} MiB: {}", text(&plan)),
        }
    }
}
