//! What a new object says of itself, and how it comes to say so again, asked of the fake and of the real kernel alike.

use crate::contract::host_ground::{Ground, PREFIX, errno, on_each_host};
use barista::observed::lio_attributes::{
    ACL_ATTRIBUTES, Attribute, BACKSTORE_ATTRIBUTES, LUN_ATTRIBUTES, PutBack, TPG_ATTRIBUTES, drift, paths,
};
use barista::observed::{Attributes, DiskIo, Seen, parse_port_group};
use nix::errno::Errno::{EACCES, EINVAL, ENODEV};

/// An object, its table, and what somebody writes into it by hand.
type Changes<'a> = (&'a str, &'a [Attribute], &'a [(&'a str, &'a str)]);

/// A seat as it is after all its parts were made and nothing was set.
struct Seat {
    backstore: String,
    tpg: String,
    lun: String,
    acl: String,
}

fn seat(ground: &Ground) -> Seat {
    ground.volume("contract.v1");
    let (tpg, backstore) = (ground.target(), ground.backstore(900_001, "contract.v1"));
    let (lun, acl) = (format!("{tpg}/lun/lun_0"), format!("{tpg}/acls/{PREFIX}:pc01"));
    for path in [&lun, &acl, &format!("{acl}/lun_0")] {
        ground.tree().mkdir(path).expect("made");
    }
    ground.tree().symlink(&backstore, &format!("{lun}/link")).expect("linked");
    ground.tree().symlink(&lun, &format!("{acl}/lun_0/link")).expect("linked");
    Seat { backstore, tpg, lun, acl }
}

/// What an object says, without what this kernel does not have.
fn read(ground: &Ground, object: &str, table: &[Attribute]) -> Attributes {
    let read = |path: &'static str| Some((path.to_owned(), ground.tree().read(&format!("{object}/{path}")).ok()?));
    paths(table).filter_map(read).collect()
}

fn read_lun(ground: &Ground, lun: &str) -> Attributes {
    parse_port_group(&ground.tree().read(&format!("{lun}/alua_tg_pt_gp")).expect("reads")).expect("reads as a group")
}

#[track_caller]
fn says(ground: &Ground, object: &str, table: &[Attribute], expected: &[(&str, &str)]) {
    let seen = if table == LUN_ATTRIBUTES { read_lun(ground, object) } else { read(ground, object, table) };
    let found = drift(&seen, table, &[]);
    let found: Vec<(&str, &str)> = found.iter().map(|drift| (drift.path, drift.is.as_str())).collect();
    assert_eq!(found, expected, "{object} on {}", ground.name());
}

#[test]
fn contract_new_objects_say_what_they_must() {
    on_each_host(|ground| {
        let seat = seat(ground);
        says(ground, &seat.backstore, &BACKSTORE_ATTRIBUTES, &[]);
        says(ground, &seat.acl, &ACL_ATTRIBUTES, &[]);
        says(ground, &seat.lun, &LUN_ATTRIBUTES, &[]);
        // The one that is ours to set.
        says(ground, &seat.tpg, &TPG_ATTRIBUTES, &[("attrib/demo_mode_discovery", "1")]);
        let tables: [(&str, &[Attribute]); 3] =
            [(&seat.backstore, &BACKSTORE_ATTRIBUTES), (&seat.tpg, &TPG_ATTRIBUTES), (&seat.acl, &ACL_ATTRIBUTES)];
        for (object, table) in tables {
            for path in paths(table) {
                assert!(ground.tree().read(&format!("{object}/{path}")).is_ok(), "{path} on {}", ground.name());
            }
        }
    });
}

#[test]
fn contract_whatever_is_changed_by_hand_is_seen_and_put_back() {
    on_each_host(|ground| {
        let seat = seat(ground);
        let write = |path: String, value: &str| ground.tree().write(&path, value);
        write(format!("{}/attrib/demo_mode_discovery", seat.tpg), "0").expect("written");
        let group = "alua/default_tg_pt_gp";
        let tables: [Changes<'_>; 3] = [
            (
                &seat.backstore,
                &BACKSTORE_ATTRIBUTES,
                &[
                    ("attrib/emulate_3pc", "0"),
                    ("attrib/emulate_caw", "0"),
                    ("attrib/emulate_fua_write", "0"),
                    ("attrib/emulate_pr", "0"),
                    ("attrib/enforce_pr_isids", "0"),
                    ("alua/default_tg_pt_gp/alua_access_state", "2"),
                    ("alua/default_tg_pt_gp/alua_access_type", "2"),
                    ("alua/default_tg_pt_gp/alua_support_active_optimized", "0"),
                ],
            ),
            (
                &seat.tpg,
                &TPG_ATTRIBUTES,
                &[
                    ("attrib/generate_node_acls", "1"),
                    ("attrib/cache_dynamic_acls", "1"),
                    ("attrib/default_cmdsn_depth", "1"),
                    ("attrib/default_erl", "2"),
                    ("attrib/demo_mode_discovery", "1"),
                    ("attrib/demo_mode_write_protect", "0"),
                    ("attrib/fabric_prot_type", "1"),
                    ("attrib/login_keys_workaround", "0"),
                    ("attrib/prod_mode_write_protect", "1"),
                    ("attrib/t10_pi", "1"),
                    ("param/DataDigest", "CRC32C"),
                    ("param/DataPDUInOrder", "No"),
                    ("param/DataSequenceInOrder", "No"),
                    ("param/ErrorRecoveryLevel", "2"),
                    ("param/HeaderDigest", "CRC32C"),
                    ("param/MaxConnections", "4"),
                ],
            ),
            (
                &seat.acl,
                &ACL_ATTRIBUTES,
                &[
                    ("attrib/authentication", "1"),
                    ("attrib/default_erl", "1"),
                    ("auth/userid_mutual", "target"),
                    ("auth/password_mutual", "correcthorse2"),
                    ("cmdsn_depth", "1"),
                ],
            ),
        ];
        for (object, table, changes) in tables {
            for (path, value) in changes {
                write(format!("{object}/{path}"), value).unwrap_or_else(|error| panic!("{path} on {}: {error}", ground.name()));
            }
            let found = drift(&read(ground, object, table), table, &[]);
            // Two fields make one target that proves itself.
            let expected = changes.iter().filter(|(path, _)| *path != "auth/password_mutual").count();
            assert_eq!(found.len(), expected, "{found:?} on {}", ground.name());
            for drift in &found {
                assert_ne!(drift.put_back, PutBack::NeedsRebuild, "{drift:?}");
                let path = format!("{object}/{}", drift.write_path);
                write(path, &drift.write).unwrap_or_else(|error| panic!("{drift:?} on {}: {error}", ground.name()));
            }
            says(ground, object, table, &[]);
        }
        assert_eq!(errno(write(format!("{}/{group}/alua_access_state", seat.backstore), "9")), Some(EINVAL));
    });
}

#[test]
fn contract_what_needs_a_rebuild_is_refused_while_a_lun_is_linked() {
    on_each_host(|ground| {
        let seat = seat(ground);
        let needing: Vec<_> = BACKSTORE_ATTRIBUTES.iter().filter(|row| row.put_back == PutBack::NeedsRebuild).collect();
        assert_eq!(needing.len(), 5);
        let other = |path: &str| if path == "attrib/block_size" { "4096" } else { "1" };
        for row in &needing {
            let path = format!("{}/{}", seat.backstore, row.path);
            assert_eq!(errno(ground.tree().write(&path, other(row.path))), Some(EINVAL), "{path} on {}", ground.name());
        }
        ground.tree().unlink(&format!("{}/lun_0/link", seat.acl)).expect("unlinked");
        ground.tree().unlink(&format!("{}/link", seat.lun)).expect("unlinked");
        for row in needing.iter().filter(|row| row.path != "attrib/emulate_tas") {
            let path = format!("{}/{}", seat.backstore, row.path);
            assert_eq!(errno(ground.tree().write(&path, other(row.path))), None, "{path} on {}", ground.name());
        }
        let found = drift(&read(ground, &seat.backstore, &BACKSTORE_ATTRIBUTES), &BACKSTORE_ATTRIBUTES, &[]);
        assert_eq!(found.len(), 4, "{found:?} on {}", ground.name());
        for drift in found {
            ground.tree().write(&format!("{}/{}", seat.backstore, drift.write_path), &drift.write).expect("put back");
        }
        says(ground, &seat.backstore, &BACKSTORE_ATTRIBUTES, &[]);
    });
}

#[test]
fn contract_a_luns_port_goes_offline_and_comes_back_and_is_none_without_a_link() {
    on_each_host(|ground| {
        let seat = seat(ground);
        let (offline, commands) =
            (format!("{}/alua_tg_pt_offline", seat.lun), format!("{}/statistics/scsi_tgt_port/in_cmds", seat.lun));
        assert_eq!(ground.tree().read(&commands).expect("reads"), "0");
        ground.tree().write(&offline, "1").expect("written");
        let found = drift(&read_lun(ground, &seat.lun), &LUN_ATTRIBUTES, &[]);
        let [one] = &found[..] else { panic!("{found:?} on {}", ground.name()) };
        assert_eq!((one.path, one.is.as_str(), one.put_back), ("alua_tg_pt_offline", "Offline", PutBack::Live));
        ground.tree().write(&format!("{}/{}", seat.lun, one.write_path), &one.write).expect("put back");
        says(ground, &seat.lun, &LUN_ATTRIBUTES, &[]);
        ground.tree().write(&format!("{}/alua_tg_pt_gp", seat.lun), "NULL").expect("written");
        says(ground, &seat.lun, &LUN_ATTRIBUTES, &[]);
        ground.tree().unlink(&format!("{}/lun_0/link", seat.acl)).expect("unlinked");
        ground.tree().unlink(&format!("{}/link", seat.lun)).expect("unlinked");
        for path in [&commands, &offline, &format!("{}/alua_tg_pt_gp", seat.lun)] {
            assert_eq!(errno(ground.tree().read(path).map(drop)), Some(ENODEV), "{path} on {}", ground.name());
        }
    });
}

#[test]
fn contract_the_login_method_follows_the_groups_authentication() {
    on_each_host(|ground| {
        let tpg = ground.target();
        let method = || ground.tree().read(&format!("{tpg}/param/AuthMethod")).expect("reads");
        for (authentication, expected) in [("0", "CHAP,None"), ("1", "CHAP"), ("0", "CHAP,None")] {
            ground.tree().write(&format!("{tpg}/attrib/authentication"), authentication).expect("written");
            assert_eq!(method(), expected, "on {}", ground.name());
        }
        ground.tree().write(&format!("{tpg}/param/AuthMethod"), "CHAP").expect("written");
        let seen = read(ground, &tpg, &TPG_ATTRIBUTES);
        let given = [("param/AuthMethod", "CHAP,None"), ("attrib/authentication", "0")];
        let found = drift(&seen, &TPG_ATTRIBUTES, &given);
        assert_eq!((found[0].path, found[0].write.as_str()), ("param/AuthMethod", "CHAP,None"));
        ground.tree().write(&format!("{tpg}/{}", found[0].write_path), &found[0].write).expect("put back");
        assert_eq!(method(), "CHAP,None");
    });
}

#[test]
fn contract_a_volumes_device_has_a_number_of_its_own_and_counts_what_is_written() {
    on_each_host(|ground| {
        ground.volume("contract.v1");
        let device = || {
            let number = |field| ground.field("contract.v1", field).parse().expect("a number");
            (number("lv_kernel_major"), number("lv_kernel_minor"))
        };
        let look = || match ground.system.kernel.disk_io(device()) {
            Seen::Present(io) => io,
            other => panic!("{other:?} on {}", ground.name()),
        };
        let first: DiskIo = look();
        ground.works("blkdiscard -f /dev/cafe/contract.v1");
        let second = look();
        assert_eq!(second.diskseq, first.diskseq);
        assert!(second.writes > first.writes, "{second:?} after {first:?} on {}", ground.name());
        let before = device();
        ground.works("lvchange -an cafe/contract.v1");
        assert_eq!(ground.system.kernel.disk_io(before), Seen::Absent);
        ground.works("lvchange -ay cafe/contract.v1");
        assert!(look().diskseq > first.diskseq, "on {}", ground.name());
    });
}

#[test]
fn contract_what_the_kernel_computes_is_not_written() {
    on_each_host(|ground| {
        let seat = seat(ground);
        for path in [format!("{}/auth/authenticate_target", seat.acl), format!("{}/attrib/hw_block_size", seat.backstore)] {
            assert_eq!(errno(ground.tree().write(&path, "1")), Some(EACCES), "{path} on {}", ground.name());
        }
    });
}
