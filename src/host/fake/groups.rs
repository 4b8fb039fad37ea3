//! What the kernel puts into a new directory: LIO's default groups and attributes with their values.
//!
//! **Invariant:** copied from configfs of Linux 6.1.192. Attributes that barista neither reads nor writes are left out; a write to
//! one fails here with ENOENT and so shows that the list must grow.

use super::tree::{Directory, Group};

pub(super) fn root() -> Directory {
    let core = Directory::new(Group::Core).with("alua", Directory::new(Group::Default));
    Directory::new(Group::Root).attributes(&[("dbroot", "/var/target"), ("version", "fake")]).with("core", core)
}

pub(super) fn iscsi() -> Directory {
    let attributes = [("cpus_allowed_list", ""), ("lio_version", "fake")];
    Directory::new(Group::Iscsi).attributes(&attributes).with("discovery_auth", Directory::new(Group::Default))
}

pub(super) fn hba() -> Directory {
    Directory::new(Group::Hba).attributes(&[("hba_info", ""), ("hba_mode", "0")])
}

pub(super) fn backstore() -> Directory {
    let attrib = [
        ("block_size", "512"),
        ("emulate_3pc", "1"),
        ("emulate_caw", "1"),
        ("emulate_fua_write", "1"),
        ("emulate_model_alias", "0"),
        ("emulate_pr", "1"),
        ("emulate_tas", "1"),
        ("emulate_tpu", "0"),
        ("emulate_tpws", "0"),
        ("emulate_ua_intlck_ctrl", "0"),
        ("emulate_write_cache", "0"),
        ("enforce_pr_isids", "1"),
        ("force_pr_aptpl", "0"),
        ("hw_block_size", "512"),
        ("is_nonrot", "0"),
        ("queue_depth", "128"),
        ("unmap_zeroes_data", "0"),
    ];
    let wwn = [("vpd_unit_serial", ""), ("vendor_id", "LIO-ORG"), ("product_id", "IBLOCK"), ("revision", "4.0")];
    let lu = Directory::new(Group::Default).attributes(&[("num_cmds", "0")]);
    let port_group = [
        ("alua_access_state", "0"),
        ("alua_access_type", "Implicit and Explicit"),
        ("alua_support_active_optimized", "1"),
        ("alua_support_offline", "1"),
    ];
    let port_group = Directory::new(Group::Default).attributes(&port_group);
    Directory::new(Group::Backstore)
        .attributes(&[("alias", ""), ("control", ""), ("enable", "0"), ("info", ""), ("udev_path", "")])
        .with("attrib", Directory::new(Group::Default).attributes(&attrib))
        .with("wwn", Directory::new(Group::Default).attributes(&wwn))
        .with("statistics", Directory::new(Group::Default).with("scsi_lu", lu))
        .with("alua", Directory::new(Group::Default).with("default_tg_pt_gp", port_group))
}

pub(super) fn target() -> Directory {
    let instance = Directory::new(Group::Default).attributes(&[("sessions", "0")]);
    Directory::new(Group::Target)
        .with("fabric_statistics", Directory::new(Group::Default).with("iscsi_instance", instance))
        .with("param", Directory::new(Group::Default))
}

pub(super) fn tpg() -> Directory {
    let attrib = [
        ("authentication", "1"),
        ("cache_dynamic_acls", "0"),
        ("default_cmdsn_depth", "64"),
        ("default_erl", "0"),
        ("demo_mode_discovery", "1"),
        ("demo_mode_write_protect", "1"),
        ("fabric_prot_type", "0"),
        ("generate_node_acls", "0"),
        ("login_keys_workaround", "1"),
        ("login_timeout", "15"),
        ("netif_timeout", "2"),
        ("prod_mode_write_protect", "0"),
        ("t10_pi", "0"),
        ("tpg_enabled_sendtargets", "1"),
    ];
    let param = [
        ("AuthMethod", "CHAP"),
        ("DataDigest", "CRC32C,None"),
        ("DataPDUInOrder", "Yes"),
        ("DataSequenceInOrder", "Yes"),
        ("ErrorRecoveryLevel", "0"),
        ("FirstBurstLength", "65536"),
        ("HeaderDigest", "CRC32C,None"),
        ("IFMarker", "No"),
        ("ImmediateData", "Yes"),
        ("InitialR2T", "Yes"),
        ("MaxBurstLength", "262144"),
        ("MaxConnections", "1"),
        ("OFMarker", "No"),
    ];
    Directory::new(Group::Tpg)
        .attributes(&[("enable", "0"), ("dynamic_sessions", "")])
        .with("attrib", Directory::new(Group::Default).attributes(&attrib))
        .with("auth", auth())
        .with("param", Directory::new(Group::Default).attributes(&param))
        .with("lun", Directory::new(Group::Luns))
        .with("np", Directory::new(Group::Portals))
        .with("acls", Directory::new(Group::Acls))
}

fn auth() -> Directory {
    let names = [("userid", ""), ("password", ""), ("userid_mutual", ""), ("password_mutual", ""), ("authenticate_target", "0")];
    Directory::new(Group::Default).attributes(&names)
}

pub(super) fn lun() -> Directory {
    let port = Directory::new(Group::Default).attributes(&[("in_cmds", "0")]);
    let statistics = Directory::new(Group::Default).with("scsi_tgt_port", port);
    Directory::new(Group::Lun)
        .attributes(&[("alua_tg_pt_gp", "default_tg_pt_gp"), ("alua_tg_pt_offline", "0")])
        .with("statistics", statistics)
}

pub(super) fn portal() -> Directory {
    Directory::new(Group::Portal).attributes(&[("iser", "0")])
}

pub(super) fn acl() -> Directory {
    let attrib = [("authentication", "-1"), ("default_erl", "0"), ("nopin_timeout", "15"), ("nopin_response_timeout", "30")];
    Directory::new(Group::Acl)
        .attributes(&[("cmdsn_depth", "64"), ("info", ""), ("tag", "")])
        .with("attrib", Directory::new(Group::Default).attributes(&attrib))
        .with("auth", auth())
}

pub(super) fn mapped_lun() -> Directory {
    let interface = Directory::new(Group::Default).attributes(&[("num_cmds", "0"), ("read_mbytes", "0"), ("write_mbytes", "0")]);
    let statistics = Directory::new(Group::Default).with("scsi_auth_intr", interface);
    Directory::new(Group::MappedLun).attributes(&[("write_protect", "0")]).with("statistics", statistics)
}
