//! Targets and backstores as configfs operations, and whether what is there is what should be.
//!
//! Order and traps: FACTS of `drivers/target` (a LUN's link goes before its backstore, attributes after `enable`, every
//! write without a newline). **Invariant:** a LUN is never swapped under a session: the portal group goes down first.

use super::context::Context;
use super::op::{ConfigFsOp, Op, SecretPart};
use crate::desired::{self, BACKSTORE_RANGE, Login, backstore_number};
use crate::names::{Iqn, Lun};
use crate::observed::{Backstore, LoginSeen, MappedLun, Target, Tpg, TpgLun};
use std::collections::{BTreeMap, BTreeSet};

/// The portal group's tag: one target serves one machine, so one group is enough.
const TPG: u16 = 1;

/// The name of every link we make; configfs accepts any.
const LINK: &str = "barista";

/// What INQUIRY says, fixed so that Windows keeps its disk whatever backs it.
const INQUIRY: [(&str, &str); 3] = [("vendor_id", "barista"), ("product_id", "seat"), ("revision", "1")];

/// Portal group attributes that are set: CHAP or none, and whoever has no ACL does not see the target.
fn tpg_attributes(login: Login) -> [(&'static str, &'static str); 2] {
    let authentication = match login {
        Login::Open => "0",
        Login::Chap => "1",
    };
    [("attrib/authentication", authentication), ("attrib/demo_mode_discovery", "0")]
}

/// What the kernel gives a new portal group, and must stay: only the one ACL logs in.
const TPG_DEFAULTS: [(&str, &str); 1] = [("attrib/generate_node_acls", "0")];

/// What must be there before anything is exported: the modules, and the fabric's directory, which no module makes by itself.
pub(super) fn kernel_ops() -> Vec<Op> {
    let modprobe = ["modprobe", "-a", "target_core_mod", "target_core_iblock", "iscsi_target_mod"];
    vec![Op::Run(modprobe.iter().map(|word| (*word).to_owned()).collect()), mkdir("iscsi".to_owned())]
}

fn mkdir(path: String) -> Op {
    Op::ConfigFs(ConfigFsOp::Mkdir(path))
}

fn rmdir(path: String) -> Op {
    Op::ConfigFs(ConfigFsOp::Rmdir(path))
}

fn write(path: String, value: impl Into<String>) -> Op {
    Op::ConfigFs(ConfigFsOp::Write { path, value: value.into() })
}

fn unlink(path: String) -> Op {
    Op::ConfigFs(ConfigFsOp::Unlink(path))
}

fn symlink(target: String, link: String) -> Op {
    Op::ConfigFs(ConfigFsOp::Symlink { target, link })
}

/// HBA directories that are taken, so that every new backstore gets one of its own, as rtslib expects.
pub(super) struct Numbers(BTreeSet<u32>);

impl Numbers {
    pub fn new(context: &Context<'_>) -> Self {
        let paths = context.lio.backstores.keys().chain(&context.lio.empty_hbas);
        Self(paths.filter_map(|path| path.split('/').next()?.rsplit_once('_')?.1.parse().ok()).collect())
    }

    /// A free number for this backstore, the same one whenever it is free.
    pub fn take(&mut self, name: &str) -> u32 {
        let first = backstore_number(name);
        let mut number = first;
        while !self.0.insert(number) {
            number = if number + 1 < BACKSTORE_RANGE.end { number + 1 } else { BACKSTORE_RANGE.start };
            if number == first {
                break;
            }
        }
        number
    }
}

/// Whether an observed backstore is ours: by its mark, or as the debris of a run that was cut off before the mark.
pub(super) fn is_our_backstore(context: &Context<'_>, path: &str, backstore: &Backstore) -> bool {
    if !backstore.alias.is_empty() {
        return backstore.alias == context.mark;
    }
    let name = path.split_once('/').map_or("", |(_, name)| name);
    is_our_hba(path) && name.starts_with(&format!("{}.", context.desired.site))
}

/// Whether an HBA directory has one of the numbers we give out.
pub(super) fn is_our_hba(path: &str) -> bool {
    let hba = path.split('/').next().unwrap_or("");
    hba.strip_prefix("iblock_").and_then(|n| n.parse().ok()).is_some_and(|n: u32| BACKSTORE_RANGE.contains(&n))
}

/// Attributes of a backstore: with them a seat's discards return space to the pool.
fn backstore_attributes(discards: bool) -> &'static [(&'static str, &'static str)] {
    if discards { &[("attrib/emulate_tpu", "1"), ("attrib/emulate_tpws", "1")] } else { &[] }
}

/// Whether a backstore shows this volume in every respect that we set.
pub(super) fn backstore_matches(
    backstore: &Backstore,
    wanted: &desired::Backstore,
    device: Option<(u32, u32)>,
    discards: bool,
    mark: &str,
) -> bool {
    backstore.enabled
        && device.is_some()
        && backstore.device == device
        && backstore.serial == wanted.serial
        && backstore.alias == mark
        && backstore.inquiry.iter().zip(INQUIRY).all(|(is, (_, should))| is.trim() == should)
        && backstore_attributes(discards).iter().all(|(name, value)| backstore.attributes.get(name) == Some(*value))
}

/// Makes and enables a backstore at `core/<path>`.
pub(super) fn backstore_ops(context: &Context<'_>, path: &str, wanted: &desired::Backstore, discards: bool) -> Vec<Op> {
    let hba = path.split('/').next().unwrap_or(path);
    let at = |attribute: &str| format!("core/{path}/{attribute}");
    let device = format!("/dev/{}/{}", context.storage.vg, wanted.volume);
    let mut ops = vec![
        mkdir(format!("core/{hba}")),
        mkdir(format!("core/{path}")),
        write(at("alias"), context.mark.clone()),
        write(at("control"), format!("udev_path={device}")),
        write(at("enable"), "1"),
        write(at("udev_path"), device),
        write(at("wwn/vpd_unit_serial"), wanted.serial.clone()),
    ];
    ops.extend(INQUIRY.iter().map(|(name, value)| write(at(&format!("wwn/{name}")), *value)));
    ops.extend(backstore_attributes(discards).iter().map(|(name, value)| write(at(name), *value)));
    ops
}

/// Removes a backstore and the directory that held it.
pub(super) fn backstore_teardown(path: &str) -> Vec<Op> {
    let hba = path.split('/').next().unwrap_or(path);
    vec![rmdir(format!("core/{path}")), rmdir(format!("core/{hba}"))]
}

/// What is different about a target, or nothing; `paths` are the backstores that stay, by name.
pub(super) fn target_difference(
    context: &Context<'_>,
    target: &Target,
    wanted: &desired::Target,
    paths: &BTreeMap<&str, &str>,
) -> Option<String> {
    let Some(tpg) = target.tpgs.get(&TPG).filter(|_| target.tpgs.len() == 1) else {
        return Some("it has no portal group 1, or others beside it".to_owned());
    };
    let shows = |((lun, backstore), (shown, seen)): ((&Lun, &desired::Backstore), (&Lun, &TpgLun))| {
        let path = seen.link.as_ref().map(|(_, path)| path.as_str());
        lun == shown && path.is_some() && paths.get(backstore.name.as_str()).copied() == path
    };
    if tpg.luns.len() != wanted.luns.len() || !wanted.luns.iter().zip(&tpg.luns).all(shows) {
        return Some("its disks are not the ones it should show".to_owned());
    }
    if !tpg.portals.iter().eq([&context.storage.portal]) {
        return Some(format!("it should listen on {}", context.storage.portal));
    }
    let mapped = |tpg: &Tpg| -> Option<bool> {
        let acl = tpg.acls.get(wanted.initiator.as_str()).filter(|_| tpg.acls.len() == 1)?;
        let same = |(lun, map): (&Lun, &MappedLun)| map.link.as_ref().is_some_and(|(_, to)| to == lun) && !map.write_protect;
        Some(acl.luns.keys().eq(wanted.luns.keys()) && acl.luns.iter().all(same))
    };
    if mapped(tpg) != Some(true) {
        return Some(format!("only {} should reach it, and reach all of it", wanted.initiator));
    }
    if wanted.login == Login::Chap && tpg.acls.values().any(|acl| acl.login != LoginSeen::Same) {
        return Some(format!("the secret of {} is another one", wanted.machine));
    }
    if let Some((name, value)) =
        tpg_attributes(wanted.login).iter().chain(&TPG_DEFAULTS).find(|(name, value)| tpg.attributes.get(name) != Some(*value))
    {
        return Some(format!("its {} should be {value}", name.trim_start_matches("attrib/")));
    }
    (!tpg.enabled).then(|| "it is disabled".to_owned())
}

/// Makes a target over backstores that are there, and opens it last.
pub(super) fn target_ops(
    context: &Context<'_>,
    name: &Iqn,
    wanted: &desired::Target,
    paths: &BTreeMap<String, String>,
) -> Vec<Op> {
    let tpg = format!("iscsi/{name}/tpgt_{TPG}");
    let acl = format!("{tpg}/acls/{}", wanted.initiator);
    let mut ops = vec![mkdir(format!("iscsi/{name}")), mkdir(tpg.clone())];
    let attributes = tpg_attributes(wanted.login);
    ops.extend(attributes.iter().map(|(attribute, value)| write(format!("{tpg}/{attribute}"), *value)));
    for (lun, backstore) in &wanted.luns {
        let path = paths.get(&backstore.name).expect("every backstore of a target that is built stays or is built before it");
        ops.push(mkdir(format!("{tpg}/lun/lun_{lun}")));
        ops.push(symlink(format!("core/{path}"), format!("{tpg}/lun/lun_{lun}/{LINK}")));
    }
    ops.push(mkdir(acl.clone()));
    if let (Login::Chap, Some(file)) = (wanted.login, &context.storage.chap_secrets) {
        for (attribute, part) in [("userid", SecretPart::User), ("password", SecretPart::Secret)] {
            let (path, machine) = (format!("{acl}/auth/{attribute}"), wanted.machine.clone());
            ops.push(Op::ConfigFs(ConfigFsOp::WriteSecret { path, part, machine, file: file.clone() }));
        }
    }
    for lun in wanted.luns.keys() {
        ops.push(mkdir(format!("{acl}/lun_{lun}")));
        ops.push(symlink(format!("{tpg}/lun/lun_{lun}"), format!("{acl}/lun_{lun}/{LINK}")));
    }
    ops.push(mkdir(format!("{tpg}/np/{}", context.storage.portal)));
    ops.push(write(format!("{tpg}/enable"), "1"));
    ops
}

/// Closes a target and removes all of it, from what was seen of it.
pub(super) fn target_teardown(name: &str, target: &Target) -> Vec<Op> {
    let mut ops = Vec::new();
    for (tag, tpg) in &target.tpgs {
        let base = format!("iscsi/{name}/tpgt_{tag}");
        // The kernel refuses to disable a group that is not enabled.
        if tpg.enabled {
            ops.push(write(format!("{base}/enable"), "0"));
        }
        for (initiator, acl) in &tpg.acls {
            for (lun, map) in &acl.luns {
                let mapped = format!("{base}/acls/{initiator}/lun_{lun}");
                ops.extend(map.link.iter().map(|(link, _)| unlink(format!("{mapped}/{link}"))));
                ops.push(rmdir(mapped));
            }
            ops.push(rmdir(format!("{base}/acls/{initiator}")));
        }
        for (lun, seen) in &tpg.luns {
            let lun = format!("{base}/lun/lun_{lun}");
            ops.extend(seen.link.iter().map(|(link, _)| unlink(format!("{lun}/{link}"))));
            ops.push(rmdir(lun));
        }
        ops.extend(tpg.portals.iter().map(|portal| rmdir(format!("{base}/np/{portal}"))));
        ops.push(rmdir(base));
    }
    ops.push(rmdir(format!("iscsi/{name}")));
    ops
}
