//! Targets as changes in configfs.
//!
//! Order and traps: a LUN's link goes before its backstore, a backstore's attributes come after its `enable`, and every write is
//! without a newline (`drivers/target`). **Invariant:** pure; a portal group is turned on last and off first.

use super::op::{ConfigFsOp, SecretPart};
use crate::names::{Iqn, Lun, TargetId, target_name, target_tail};
use crate::plan::{
    GroupSeen, INQUIRY, LunPlan, PortalGroup, Standing, TPG, TargetPlan, TargetSeen, backstore_attributes, tpg_attributes,
};

/// The name of every link we make; configfs accepts any.
pub(super) const LINK: &str = "barista";

fn mkdir(path: String) -> ConfigFsOp {
    ConfigFsOp::Mkdir(path)
}

fn rmdir(path: String) -> ConfigFsOp {
    ConfigFsOp::Rmdir(path)
}

fn write(path: String, value: impl Into<String>) -> ConfigFsOp {
    ConfigFsOp::Write { path, value: value.into() }
}

fn symlink(target: String, link: String) -> ConfigFsOp {
    ConfigFsOp::Symlink { target, link }
}

/// The name of a target, once the UUIDs of its own disks are known.
pub(super) fn name_of<'h>(plan: &TargetPlan, own: impl IntoIterator<Item = &'h crate::names::Handle>) -> Result<Iqn, String> {
    if let Some(name) = &plan.name {
        return Ok(name.clone());
    }
    let (machine, image) = plan.named.clone();
    let id = TargetId { machine, image, side: Some((plan.side, target_tail(own))) };
    target_name(&plan.prefix, &id).map_err(|error| error.to_string())
}

/// Makes and enables the backstores of a target that are not there.
pub(super) fn backstores(plan: &TargetPlan, device: impl Fn(&LunPlan) -> String) -> Vec<ConfigFsOp> {
    let ops = plan.luns.values().flat_map(|lun| match lun.stands {
        Standing::New => backstore(plan, lun, device(lun)),
        // A run that was cut off may have left it before these.
        Standing::Stands => attributes(plan, &lun.backstore).collect(),
    });
    ops.collect()
}

/// What a backstore is told beyond the kernel's defaults.
fn attributes(plan: &TargetPlan, path: &str) -> impl Iterator<Item = ConfigFsOp> {
    backstore_attributes(plan.discards).iter().map(move |(name, value)| write(format!("core/{path}/{name}"), *value))
}

fn backstore(plan: &TargetPlan, lun: &LunPlan, device: String) -> Vec<ConfigFsOp> {
    let path = &lun.backstore;
    let hba = path.split('/').next().unwrap_or(path);
    let at = |attribute: &str| format!("core/{path}/{attribute}");
    let mut ops = vec![
        mkdir(format!("core/{hba}")),
        mkdir(format!("core/{path}")),
        write(at("alias"), plan.mark.clone()),
        write(at("control"), format!("udev_path={device}")),
        write(at("enable"), "1"),
        write(at("udev_path"), device),
        write(at("wwn/vpd_unit_serial"), lun.serial.clone()),
    ];
    ops.extend(INQUIRY.iter().map(|(name, value)| write(at(&format!("wwn/{name}")), *value)));
    ops.extend(attributes(plan, path));
    ops
}

/// Makes a target over backstores that are there, without letting anybody in.
pub(super) fn target(plan: &TargetPlan, name: &str) -> Vec<ConfigFsOp> {
    let tpg = format!("iscsi/{name}/tpgt_{TPG}");
    let mut ops = vec![mkdir(format!("iscsi/{name}")), mkdir(tpg.clone())];
    let attributes = tpg_attributes(plan.secrets.is_some());
    ops.extend(attributes.iter().map(|(attribute, value)| write(format!("{tpg}/attrib/{attribute}"), *value)));
    for (lun, disk) in &plan.luns {
        ops.push(mkdir(format!("{tpg}/lun/lun_{lun}")));
        ops.push(symlink(format!("core/{}", disk.backstore), format!("{tpg}/lun/lun_{lun}/{LINK}")));
    }
    for initiator in &plan.initiators {
        let acl = format!("{tpg}/acls/{initiator}");
        ops.push(mkdir(acl.clone()));
        if let Some(file) = &plan.secrets {
            for (attribute, part) in [("userid", SecretPart::User), ("password", SecretPart::Secret)] {
                let (path, machine) = (format!("{acl}/auth/{attribute}"), plan.machine.clone());
                ops.push(ConfigFsOp::WriteSecret { path, part, machine, file: file.clone() });
            }
        }
        ops.extend(plan.luns.keys().flat_map(|lun| mapped(&tpg, initiator.as_str(), *lun)));
    }
    ops.push(mkdir(format!("{tpg}/np/{}", plan.portal)));
    ops
}

/// Lets an initiator see a LUN.
pub(super) fn mapped(tpg: &str, initiator: &str, lun: Lun) -> [ConfigFsOp; 2] {
    let acl = format!("{tpg}/acls/{initiator}/lun_{lun}");
    [mkdir(acl.clone()), symlink(format!("{tpg}/lun/lun_{lun}"), format!("{acl}/{LINK}"))]
}

/// Takes a LUN from an initiator.
pub(super) fn unmapped(tpg: &str, initiator: &str, lun: Lun) -> [ConfigFsOp; 2] {
    let acl = format!("{tpg}/acls/{initiator}/lun_{lun}");
    [ConfigFsOp::Unlink(format!("{acl}/{LINK}")), rmdir(acl)]
}

/// Turns a portal group on.
pub(super) fn open(name: &str) -> ConfigFsOp {
    write(format!("iscsi/{name}/tpgt_{TPG}/enable"), "1")
}

/// Turns the portal groups of a target off that are on.
pub(super) fn close(target: &TargetSeen) -> Vec<ConfigFsOp> {
    // The kernel refuses to disable a group that is not enabled.
    let on = target.groups.iter().filter(|(_, group)| group.state == PortalGroup::On);
    on.map(|(tag, _)| write(format!("iscsi/{}/tpgt_{tag}/enable", target.name), "0")).collect()
}

/// Turns them on again.
pub(super) fn reopen(target: &TargetSeen) -> Vec<ConfigFsOp> {
    let on = target.groups.iter().filter(|(_, group)| group.state == PortalGroup::On);
    on.map(|(tag, _)| write(format!("iscsi/{}/tpgt_{tag}/enable", target.name), "1")).collect()
}

/// Removes a target that is closed, and the backstores that go with it.
pub(super) fn removal(target: &TargetSeen) -> Vec<ConfigFsOp> {
    let mut ops = Vec::new();
    for (tag, group) in &target.groups {
        ops.extend(group_removal(&format!("iscsi/{}/tpgt_{tag}", target.name), group));
    }
    ops.push(rmdir(format!("iscsi/{}", target.name)));
    ops.extend(target.backstores.iter().flat_map(|path| backstore_removal(path)));
    ops
}

fn group_removal(base: &str, group: &GroupSeen) -> Vec<ConfigFsOp> {
    let mut ops = Vec::new();
    for (initiator, luns) in &group.acls {
        for (lun, link) in luns {
            let mapped = format!("{base}/acls/{initiator}/lun_{lun}");
            ops.extend(link.iter().map(|link| ConfigFsOp::Unlink(format!("{mapped}/{link}"))));
            ops.push(rmdir(mapped));
        }
        ops.push(rmdir(format!("{base}/acls/{initiator}")));
    }
    for (lun, link) in &group.luns {
        let lun = format!("{base}/lun/lun_{lun}");
        ops.extend(link.iter().map(|link| ConfigFsOp::Unlink(format!("{lun}/{link}"))));
        ops.push(rmdir(lun));
    }
    ops.extend(group.portals.iter().map(|portal| rmdir(format!("{base}/np/{portal}"))));
    ops.push(rmdir(base.to_owned()));
    ops
}

/// Removes a backstore and the directory that held it.
pub(super) fn backstore_removal(path: &str) -> [ConfigFsOp; 2] {
    let hba = path.split('/').next().unwrap_or(path);
    [rmdir(format!("core/{path}")), rmdir(format!("core/{hba}"))]
}

/// Takes a disk's LUN from one target and puts it on another.
pub(super) fn moved(backstore: &str, from: Option<&(Iqn, Lun, Vec<String>)>, to: &(Iqn, Lun, Iqn)) -> Vec<ConfigFsOp> {
    let mut ops = Vec::new();
    if let Some((target, lun, initiators)) = from {
        let tpg = format!("iscsi/{target}/tpgt_{TPG}");
        ops.extend(initiators.iter().flat_map(|initiator| unmapped(&tpg, initiator, *lun)));
        ops.push(ConfigFsOp::Unlink(format!("{tpg}/lun/lun_{lun}/{LINK}")));
        ops.push(rmdir(format!("{tpg}/lun/lun_{lun}")));
    }
    let (target, lun, initiator) = to;
    let tpg = format!("iscsi/{target}/tpgt_{TPG}");
    ops.push(mkdir(format!("{tpg}/lun/lun_{lun}")));
    ops.push(symlink(format!("core/{backstore}"), format!("{tpg}/lun/lun_{lun}/{LINK}")));
    ops.extend(mapped(&tpg, initiator.as_str(), *lun));
    ops
}
