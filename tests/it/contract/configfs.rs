//! What configfs and LIO refuse and allow, asked of the fake and of the real kernel alike.

use crate::contract::host_ground::{Ground, PREFIX, on_each_host};
use nix::errno::Errno::{self, *};

use crate::contract::host_ground::errno;

/// Does each thing in turn and compares the errno.
#[track_caller]
fn check(ground: &Ground, rows: &[(&str, &str, &str, Option<Errno>)]) {
    for (verb, path, argument, expected) in rows {
        let tree = ground.tree();
        let result = match *verb {
            "mkdir" => tree.mkdir(path),
            "rmdir" => tree.rmdir(path),
            "rm" => tree.unlink(path),
            "write" => tree.write(path, argument),
            "ln" => tree.symlink(argument, path),
            "read" => tree.read(path).map(|text| assert_eq!(text, *argument, "{path} on {}", ground.name())),
            other => panic!("no such verb: {other}"),
        };
        assert_eq!(errno(result), *expected, "{verb} {path} {argument} on {}", ground.name());
    }
}

#[test]
fn contract_names_are_checked_when_directories_are_made() {
    on_each_host(|ground| {
        let tpg = ground.target();
        let target = tpg.trim_end_matches("/tpgt_1");
        let longest = format!("iscsi/{PREFIX}:{}", "a".repeat(223 - PREFIX.len() - 1));
        check(
            ground,
            &[
                ("mkdir", "core/iblock_x", "", Some(EINVAL)),
                ("mkdir", "core/nope_1", "", Some(EINVAL)),
                ("mkdir", "core/iblock_900001", "", None),
                ("mkdir", "core/iblock_900001", "", Some(EEXIST)),
                ("mkdir", "core/iblock_900001/contract.a", "", None),
                ("mkdir", "core/iblock_900001/contract.a/sub", "", Some(EPERM)),
                ("mkdir", "nofabric", "", Some(EINVAL)),
                ("mkdir", &longest, "", None),
                ("mkdir", &format!("{longest}a"), "", Some(EINVAL)),
                ("mkdir", target, "", Some(EEXIST)),
                ("mkdir", &format!("{target}/foo"), "", Some(EINVAL)),
                ("mkdir", &format!("{target}/tpgt_x"), "", Some(EINVAL)),
                ("mkdir", &format!("{tpg}/foo"), "", Some(EPERM)),
                ("mkdir", &format!("{tpg}/lun/lun_x"), "", Some(EINVAL)),
                ("mkdir", &format!("{tpg}/lun/lun_0"), "", None),
                ("mkdir", &format!("{tpg}/lun/lun_0/foo"), "", Some(EPERM)),
                ("mkdir", &format!("{tpg}/acls/{PREFIX}:pc01"), "", None),
                ("mkdir", &format!("{tpg}/acls/{PREFIX}:pc01"), "", Some(EEXIST)),
                ("mkdir", &format!("{tpg}/acls/{PREFIX}:pc01/foo"), "", Some(EINVAL)),
                ("mkdir", "iscsi/nothere/tpgt_1", "", Some(ENOENT)),
            ],
        );
    });
}

#[test]
fn contract_directories_of_the_kernel_stay_and_used_ones_too() {
    on_each_host(|ground| {
        ground.volume("contract.v1");
        let (tpg, backstore) = (ground.target(), ground.backstore(900_001, "contract.v1"));
        let (lun, acl) = (format!("{tpg}/lun/lun_0"), format!("{tpg}/acls/{PREFIX}:pc01"));
        check(
            ground,
            &[
                ("mkdir", &lun, "", None),
                ("ln", &format!("{lun}/link"), &backstore, None),
                ("mkdir", &acl, "", None),
                ("mkdir", &format!("{acl}/lun_0"), "", None),
                ("rmdir", &lun, "", Some(ENOTEMPTY)),
                ("ln", &format!("{acl}/lun_0/link"), &lun, None),
                // Now refused one by one, from the inside out.
                ("rmdir", "core/alua", "", Some(EPERM)),
                ("rmdir", &format!("{backstore}/attrib"), "", Some(EPERM)),
                ("rmdir", &format!("{tpg}/acls"), "", Some(EPERM)),
                ("rmdir", "core/iblock_999999", "", Some(ENOENT)),
                ("rmdir", &format!("{backstore}/info"), "", Some(ENOTDIR)),
                ("rmdir", &backstore, "", Some(EBUSY)),
                ("rmdir", "core/iblock_900001", "", Some(ENOTEMPTY)),
                ("rmdir", &lun, "", Some(EBUSY)),
                ("rmdir", &format!("{acl}/lun_0"), "", Some(ENOTEMPTY)),
                ("rmdir", &acl, "", Some(ENOTEMPTY)),
                ("rmdir", &tpg, "", Some(ENOTEMPTY)),
                ("rmdir", tpg.trim_end_matches("/tpgt_1"), "", Some(ENOTEMPTY)),
                ("rm", &backstore, "", Some(EISDIR)),
                ("rm", &format!("{backstore}/info"), "", Some(EPERM)),
                ("rm", &format!("{lun}/nolink"), "", Some(ENOENT)),
                // And removed from the outside in.
                ("rm", &format!("{acl}/lun_0/link"), "", None),
                ("rmdir", &format!("{acl}/lun_0"), "", None),
                ("rmdir", &acl, "", None),
                ("rm", &format!("{lun}/link"), "", None),
                ("rmdir", &lun, "", None),
                ("rmdir", &tpg, "", None),
                ("rmdir", tpg.trim_end_matches("/tpgt_1"), "", None),
                ("rmdir", &backstore, "", None),
                ("rmdir", "core/iblock_900001", "", None),
            ],
        );
    });
}

#[test]
fn contract_a_backstore_opens_its_volume_alone_and_once() {
    on_each_host(|ground| {
        for name in ["contract.v1", "contract.ro", "contract.off"] {
            ground.volume(name);
        }
        ground.works("lvchange -pr cafe/contract.ro");
        ground.works("lvchange -an cafe/contract.off");
        let (a, b) = (ground.empty_backstore(900_001), ground.empty_backstore(900_002));
        let (control, enable) = (format!("{a}/control"), format!("{a}/enable"));
        check(
            ground,
            &[
                ("write", &enable, "1", Some(EINVAL)),
                ("write", &control, "udev_path=/dev/cafe/contract.nothere", None),
                ("write", &enable, "1", Some(ENOENT)),
                ("write", &control, "udev_path=/dev/cafe/contract.off", None),
                ("write", &enable, "1", Some(ENOENT)),
                ("write", &control, "udev_path=/dev/cafe/contract.ro", None),
                ("write", &enable, "1", Some(EACCES)),
                ("write", &control, "udev_path=/dev/cafe/contract.v1", None),
                ("write", &enable, "0", Some(EINVAL)),
                ("read", &enable, "0", None),
                ("write", &enable, "1", None),
                ("read", &enable, "1", None),
                ("write", &enable, "1", Some(EEXIST)),
                ("write", &enable, "0", Some(EINVAL)),
                ("write", &control, "udev_path=/dev/cafe/contract.ro", Some(EEXIST)),
                ("write", &format!("{b}/control"), "udev_path=/dev/cafe/contract.v1", None),
                ("write", &format!("{b}/enable"), "1", Some(EBUSY)),
                ("rmdir", &a, "", None),
                ("write", &format!("{b}/enable"), "1", None),
            ],
        );
        let read_only = ground.empty_backstore(900_003);
        check(
            ground,
            &[
                ("write", &format!("{read_only}/control"), "udev_path=/dev/cafe/contract.ro,readonly=1", None),
                ("write", &format!("{read_only}/enable"), "1", None),
            ],
        );
    });
}

#[test]
fn contract_identity_is_frozen_while_a_lun_leads_to_the_backstore() {
    on_each_host(|ground| {
        ground.volume("contract.v1");
        let (tpg, backstore) = (ground.target(), ground.backstore(900_001, "contract.v1"));
        let serial = "11111111-2222-3333-4444-555555555555";
        let lun = format!("{tpg}/lun/lun_0");
        check(
            ground,
            &[
                ("write", &format!("{backstore}/wwn/vpd_unit_serial"), serial, None),
                ("read", &format!("{backstore}/wwn/vpd_unit_serial"), &format!("T10 VPD Unit Serial Number: {serial}"), None),
                ("read", &format!("{backstore}/wwn/vendor_id"), "LIO-ORG", None),
                ("read", &format!("{backstore}/wwn/product_id"), "IBLOCK", None),
                ("write", &format!("{backstore}/wwn/vendor_id"), "BARISTA", None),
                ("write", &format!("{backstore}/wwn/vendor_id"), "NINECHARS", Some(EOVERFLOW)),
                ("write", &format!("{backstore}/wwn/product_id"), "seat disk", None),
                ("write", &format!("{backstore}/wwn/revision"), "12345", Some(EOVERFLOW)),
                ("read", &format!("{backstore}/wwn/vendor_id"), "BARISTA", None),
                ("read", &format!("{backstore}/wwn/product_id"), "seat disk", None),
                ("mkdir", &lun, "", None),
                ("ln", &format!("{lun}/link"), &backstore, None),
                ("write", &format!("{backstore}/wwn/vpd_unit_serial"), "x", Some(EINVAL)),
                ("write", &format!("{backstore}/wwn/vendor_id"), "x", Some(EINVAL)),
                ("write", &format!("{backstore}/attrib/queue_depth"), "64", Some(EINVAL)),
                ("write", &format!("{backstore}/attrib/block_size"), "512", Some(EINVAL)),
                ("write", &format!("{backstore}/attrib/emulate_tpu"), "1", None),
                ("write", &format!("{backstore}/attrib/emulate_tpu"), "0", None),
                ("write", &format!("{backstore}/alias"), "mark", None),
                ("read", &format!("{backstore}/alias"), "mark", None),
                ("write", &format!("{backstore}/alias"), &"x".repeat(600), Some(EINVAL)),
            ],
        );
    });
}

#[test]
fn contract_attributes_have_their_defaults_and_bounds() {
    on_each_host(|ground| {
        ground.volume("contract.v1");
        let (tpg, backstore) = (ground.target(), ground.backstore(900_001, "contract.v1"));
        let acl = format!("{tpg}/acls/{PREFIX}:pc01");
        check(
            ground,
            &[
                ("read", &format!("{backstore}/attrib/emulate_tpu"), "0", None),
                ("read", &format!("{backstore}/attrib/emulate_tpws"), "0", None),
                ("read", &format!("{backstore}/attrib/emulate_write_cache"), "0", None),
                ("write", &format!("{backstore}/attrib/emulate_write_cache"), "1", Some(EINVAL)),
                ("write", &format!("{backstore}/attrib/emulate_tpu"), "7", Some(EINVAL)),
                ("write", &format!("{backstore}/attrib/emulate_tpu"), "x", Some(EINVAL)),
                ("write", &format!("{backstore}/info"), "x", Some(EACCES)),
                ("read", &format!("{backstore}/control"), "", Some(EACCES)),
                ("read", &format!("{tpg}/attrib/authentication"), "1", None),
                ("read", &format!("{tpg}/attrib/generate_node_acls"), "0", None),
                ("read", &format!("{tpg}/attrib/cache_dynamic_acls"), "0", None),
                ("read", &format!("{tpg}/attrib/demo_mode_write_protect"), "1", None),
                ("read", &format!("{tpg}/attrib/login_timeout"), "15", None),
                ("write", &format!("{tpg}/attrib/authentication"), "2", Some(EINVAL)),
                ("write", &format!("{tpg}/attrib/authentication"), "0", None),
                ("write", &format!("{tpg}/attrib/login_timeout"), "99", Some(EINVAL)),
                ("write", &format!("{tpg}/attrib/login_timeout"), "nonsense", Some(EINVAL)),
                ("write", &format!("{tpg}/attrib/generate_node_acls"), "3", Some(EINVAL)),
                ("read", &format!("{tpg}/enable"), "0", None),
                ("write", &format!("{tpg}/enable"), "2", Some(EINVAL)),
                ("write", &format!("{tpg}/enable"), "1", None),
                ("write", &format!("{tpg}/enable"), "1", None),
                ("write", &format!("{tpg}/enable"), "0", None),
                ("write", &format!("{tpg}/enable"), "0", None),
                ("mkdir", &acl, "", None),
                ("read", &format!("{acl}/info"), &format!("No active iSCSI Session for Initiator Endpoint: {PREFIX}:pc01"), None),
                ("read", &format!("{acl}/tag"), "", None),
                ("read", &format!("{acl}/cmdsn_depth"), "64", None),
                ("write", &format!("{acl}/attrib/authentication"), "2", Some(EINVAL)),
                ("write", &format!("{acl}/attrib/authentication"), "-1", None),
                ("write", &format!("{acl}/auth/userid"), "pc01", None),
            ],
        );
    });
}

#[test]
fn contract_a_portal_belongs_to_one_group_of_a_target() {
    on_each_host(|ground| {
        let tpg = ground.target();
        let target = tpg.trim_end_matches("/tpgt_1");
        check(
            ground,
            &[
                ("mkdir", &format!("{tpg}/np/127.0.0.1:3269"), "", None),
                ("mkdir", &format!("{tpg}/np/127.0.0.1:3269"), "", Some(EEXIST)),
                ("mkdir", &format!("{tpg}/np/nonsense"), "", Some(EINVAL)),
                ("mkdir", &format!("{tpg}/np/192.0.2.1"), "", Some(EINVAL)),
                ("mkdir", &format!("{tpg}/np/192.0.2.77:3269"), "", None),
                ("mkdir", &format!("{target}/tpgt_2"), "", None),
                ("mkdir", &format!("{target}/tpgt_2/np/127.0.0.1:3269"), "", Some(EINVAL)),
                ("mkdir", &format!("{target}.b"), "", None),
                ("mkdir", &format!("{target}.b/tpgt_1"), "", None),
                ("mkdir", &format!("{target}.b/tpgt_1/np/127.0.0.1:3269"), "", None),
            ],
        );
    });
}

#[test]
fn contract_a_lun_has_one_link_and_that_to_an_open_backstore() {
    on_each_host(|ground| {
        ground.volume("contract.v1");
        let (tpg, backstore) = (ground.target(), ground.backstore(900_001, "contract.v1"));
        let (closed, target) = (ground.empty_backstore(900_002), tpg.trim_end_matches("/tpgt_1"));
        let (lun, acl) = (format!("{tpg}/lun/lun_0"), format!("{tpg}/acls/{PREFIX}:pc01"));
        let (mapped, other) = (format!("{acl}/lun_0"), format!("{target}/tpgt_2/acls/{PREFIX}:pc01"));
        check(
            ground,
            &[
                ("mkdir", &lun, "", None),
                ("mkdir", &acl, "", None),
                ("mkdir", &mapped, "", None),
                ("ln", &format!("{mapped}/early"), &lun, Some(EINVAL)),
                ("ln", &format!("{lun}/link"), &closed, Some(ENODEV)),
                ("ln", &format!("{lun}/link"), "core/iblock_900001/nothere", Some(ENOENT)),
                ("ln", &format!("{lun}/link"), &tpg, Some(EFAULT)),
                ("ln", &format!("{target}/link"), &backstore, Some(EPERM)),
                ("ln", &format!("{lun}/link"), &backstore, None),
                ("ln", &format!("{lun}/link"), &backstore, Some(EEXIST)),
                ("ln", &format!("{lun}/second"), &backstore, Some(EEXIST)),
                ("ln", &format!("{mapped}/link"), &backstore, Some(EFAULT)),
                ("ln", &format!("{mapped}/link"), &lun, None),
                ("ln", &format!("{mapped}/link"), &lun, Some(EEXIST)),
                ("ln", &format!("{mapped}/second"), &lun, Some(EINVAL)),
                ("mkdir", &format!("{target}/tpgt_2"), "", None),
                ("mkdir", &other, "", None),
                ("mkdir", &format!("{other}/lun_0"), "", None),
                ("ln", &format!("{other}/lun_0/link"), &lun, Some(EINVAL)),
            ],
        );
        assert_eq!(ground.tree().read_link(&format!("{lun}/link")).expect("reads"), backstore);
        assert_eq!(ground.tree().read_link(&format!("{mapped}/link")).expect("reads"), lun);
    });
}

#[test]
fn contract_a_map_dies_with_its_luns_link_and_is_not_revived() {
    on_each_host(|ground| {
        ground.volume("contract.v1");
        let (tpg, backstore) = (ground.target(), ground.backstore(900_001, "contract.v1"));
        let (lun, acl) = (format!("{tpg}/lun/lun_0"), format!("{tpg}/acls/{PREFIX}:pc01"));
        let mapped = format!("{acl}/lun_0");
        let (protect, commands) = (format!("{mapped}/write_protect"), format!("{mapped}/statistics/scsi_auth_intr/num_cmds"));
        check(
            ground,
            &[
                ("mkdir", &lun, "", None),
                ("mkdir", &acl, "", None),
                ("mkdir", &mapped, "", None),
                ("read", &protect, "", None),
                ("write", &protect, "1", None),
                ("read", &commands, "", Some(ENODEV)),
                ("ln", &format!("{lun}/link"), &backstore, None),
                ("ln", &format!("{mapped}/link"), &lun, None),
                ("read", &protect, "0", None),
                ("read", &commands, "0", None),
                ("write", &protect, "1", None),
                ("read", &protect, "1", None),
                ("rm", &format!("{lun}/link"), "", None),
                ("read", &protect, "", None),
                ("read", &commands, "", Some(ENODEV)),
                ("ln", &format!("{lun}/link"), &backstore, None),
                ("read", &commands, "", Some(ENODEV)),
                ("rm", &format!("{mapped}/link"), "", None),
                ("ln", &format!("{mapped}/link"), &lun, None),
                ("read", &commands, "0", None),
            ],
        );
    });
}

#[test]
fn contract_names_and_secrets_for_chap_are_kept_to_the_byte() {
    on_each_host(|ground| {
        let tpg = ground.target();
        let acl = format!("{tpg}/acls/{PREFIX}:pc01");
        let (user, secret) = (format!("{acl}/auth/userid"), format!("{acl}/auth/password"));
        let longest = "a".repeat(254);
        check(
            ground,
            &[
                ("mkdir", &acl, "", None),
                ("read", &user, "", None),
                ("read", &secret, "", None),
                ("write", &user, "pc01", None),
                ("write", &secret, "correcthorse1", None),
                ("read", &user, "pc01", None),
                ("read", &secret, "correcthorse1", None),
                // A newline becomes part of the secret.
                ("write", &secret, "correcthorse1\n", None),
                ("read", &secret, "correcthorse1\n", None),
                ("write", &secret, &longest, None),
                ("read", &secret, &longest, None),
                ("write", &secret, &"a".repeat(256), Some(EINVAL)),
                ("read", &secret, &longest, None),
                ("write", &format!("{tpg}/attrib/authentication"), "0", None),
                ("write", &format!("{tpg}/attrib/authentication"), "1", None),
                ("write", &format!("{tpg}/attrib/authentication"), "2", Some(EINVAL)),
                ("read", &format!("{tpg}/attrib/authentication"), "1", None),
            ],
        );
    });
}
