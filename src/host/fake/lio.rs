//! The target subsystem with the kernel's rules (`drivers/target/target_core_configfs.c`, `target_core_fabric_configfs.c`,
//! `iscsi/iscsi_target_configfs.c`).
//!
//! **Invariant:** refuses what Linux 6.1.192 refuses, with the same errno; the contract suite runs against both.

use super::groups;
use super::lvm::Lvm;
use super::tree::{Directory, Group, Node, split};
use crate::names::Portal;
use crate::observed::{parse_lun_directory, parse_tpg_directory};
use nix::errno::Errno;
use std::collections::{BTreeMap, BTreeSet};

type Result<T> = std::result::Result<T, Errno>;

/// The longest target name (RFC 7143 §4.2.7.1); one byte more is refused.
const LONGEST_NAME: usize = 223;

/// `SE_DEV_ALIAS_LEN` and `SE_UDEV_PATH_LEN` less a terminator.
const LONGEST_ALIAS: usize = 511;

/// `MAX_USER_LEN` and `MAX_PASS_LEN` (`iscsi_target_core.h`) less a terminator.
const LONGEST_AUTH: usize = 254;

/// What a backstore knows beside its attributes.
#[derive(Debug, Clone, Default)]
pub(super) struct Device {
    path: Option<String>,
    readonly: bool,
    pub(super) number: Option<(u32, u32)>,
}

#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) target: String,
    pub(super) initiator: String,
    pub(super) isid: String,
    pub(super) address: String,
}

#[derive(Debug, Clone)]
pub(super) struct Lio {
    pub(super) tree: Directory,
    /// How many links lead to a path.
    linked: BTreeMap<String, u32>,
    pub(super) devices: BTreeMap<String, Device>,
    pub(super) sessions: Vec<Session>,
    /// Maps whose LUN lost its link: relinking the LUN does not bring them back.
    pub(super) dangling: BTreeSet<String>,
    /// Writes that would have crashed a real kernel.
    pub(super) crashes: Vec<String>,
    /// Sessions that a change of the tree ended.
    pub(super) lost: Vec<Session>,
}

impl Lio {
    pub(super) fn new() -> Self {
        Self {
            tree: groups::root(),
            linked: BTreeMap::new(),
            devices: BTreeMap::new(),
            sessions: Vec::new(),
            dangling: BTreeSet::new(),
            crashes: Vec::new(),
            lost: Vec::new(),
        }
    }

    fn is_linked(&self, path: &str) -> bool {
        self.linked.contains_key(path)
    }

    /// Ends sessions because the tree changed.
    fn end_sessions(&mut self, ends: impl Fn(&Session) -> bool) {
        let (lost, left) = std::mem::take(&mut self.sessions).into_iter().partition(ends);
        self.sessions = left;
        self.lost.extend::<Vec<Session>>(lost);
    }

    pub(super) fn mkdir(&mut self, path: &str) -> Result<()> {
        let (parent, name) = split(path);
        let group = self.tree.directory(parent)?.group;
        if self.tree.node(path).is_ok() {
            return Err(Errno::EEXIST);
        }
        let made = match group {
            Group::Root if name == "iscsi" => groups::iscsi(),
            Group::Core if is_hba(name) => groups::hba(),
            Group::Hba => groups::backstore(),
            Group::Iscsi if name.len() <= LONGEST_NAME => groups::target(),
            Group::Target if parse_tpg_directory(name).is_ok() => groups::tpg(),
            Group::Luns if parse_lun_directory(name).is_ok() => groups::lun(),
            Group::Acl if parse_lun_directory(name).is_ok() => groups::mapped_lun(),
            Group::Portals => self.new_portal(parent, name)?,
            Group::Acls => groups::acl(),
            Group::Root | Group::Core | Group::Iscsi | Group::Target | Group::Luns | Group::Acl => return Err(Errno::EINVAL),
            Group::Backstore | Group::Tpg | Group::Lun | Group::Portal | Group::MappedLun | Group::Default => {
                return Err(Errno::EPERM);
            }
        };
        if made.group == Group::Backstore {
            self.devices.insert(path.to_owned(), Device::default());
        }
        self.tree.directory_mut(parent)?.children.insert(name.to_owned(), Node::Directory(made));
        Ok(())
    }

    /// The same address may stand on other targets, but on one portal group of a target only.
    fn new_portal(&self, portals: &str, name: &str) -> Result<Directory> {
        name.parse::<Portal>().map_err(|_| Errno::EINVAL)?;
        let target = self.tree.directory(split(split(portals).0).0)?;
        let taken = target.children.keys().any(|tpg| target.node(&format!("{tpg}/np/{name}")).is_ok());
        if taken { Err(Errno::EINVAL) } else { Ok(groups::portal()) }
    }

    pub(super) fn rmdir(&mut self, path: &str, lvm: &mut Lvm) -> Result<()> {
        let directory = self.tree.directory(path)?;
        if !directory.is_user_made() {
            return Err(Errno::EPERM);
        }
        if self.is_linked(path) {
            return Err(Errno::EBUSY);
        }
        if directory.holds_user_items() {
            return Err(Errno::ENOTEMPTY);
        }
        if directory.group == Group::Acl {
            let (target, initiator) = (target_of(path), split(path).1);
            let (target, initiator) = (target.to_owned(), initiator.to_owned());
            self.end_sessions(|session| (&session.target, &session.initiator) == (&target, &initiator));
        }
        if let Some(number) = self.devices.remove(path).and_then(|device| device.number) {
            lvm.release(number);
        }
        let (parent, name) = split(path);
        self.tree.directory_mut(parent)?.children.remove(name);
        self.dangling.remove(path);
        Ok(())
    }

    pub(super) fn symlink(&mut self, target: &str, link: &str) -> Result<()> {
        let destination = self.tree.directory(target)?.group;
        let (parent, name) = split(link);
        let group = self.tree.directory(parent)?.group;
        if self.tree.node(link).is_ok() {
            return Err(Errno::EEXIST);
        }
        let is_linked = self.tree.link_in(parent).is_some();
        match (group, destination) {
            (Group::Lun, Group::Backstore) if self.tree.value(&format!("{target}/enable"))? != "1" => return Err(Errno::ENODEV),
            (Group::Lun, Group::Backstore) if is_linked => return Err(Errno::EEXIST),
            (Group::Lun, Group::Backstore) => {}
            (Group::MappedLun, Group::Lun) if is_linked || self.tree.link_in(target).is_none() => return Err(Errno::EINVAL),
            (Group::MappedLun, Group::Lun) if tpg_of(target) != tpg_of(parent) => return Err(Errno::EINVAL),
            (Group::MappedLun, Group::Lun) => {}
            (Group::Lun | Group::MappedLun, _) => return Err(Errno::EFAULT),
            _ => return Err(Errno::EPERM),
        }
        self.tree.directory_mut(parent)?.children.insert(name.to_owned(), Node::Link(target.to_owned()));
        *self.linked.entry(target.to_owned()).or_default() += 1;
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &str) -> Result<()> {
        let (parent, name) = split(path);
        let target = match self.tree.node(path)? {
            Node::Link(target) => target.clone(),
            Node::Directory(_) => return Err(Errno::EISDIR),
            Node::Attribute(_) => return Err(Errno::EPERM),
        };
        if let Some(links) = self.linked.get_mut(&target) {
            *links -= 1;
        }
        self.linked.retain(|_, links| *links > 0);
        let directory = self.tree.directory_mut(parent)?;
        directory.children.remove(name);
        match directory.group {
            Group::Lun => {
                let maps = self.maps_of(parent);
                self.dangling.extend(maps);
            }
            _ => drop(self.dangling.remove(parent)),
        }
        Ok(())
    }

    /// Mapped LUNs that lead to a LUN.
    fn maps_of(&self, lun: &str) -> Vec<String> {
        let tpg = tpg_of(lun);
        let Ok(acls) = self.tree.directory(&format!("{tpg}/acls")) else {
            return Vec::new();
        };
        let mut maps = Vec::new();
        for (initiator, node) in &acls.children {
            let Node::Directory(acl) = node else { continue };
            for name in acl.children.keys().filter(|name| acl.link_in(name).is_some_and(|(_, to)| to == lun)) {
                maps.push(format!("{tpg}/acls/{initiator}/{name}"));
            }
        }
        maps
    }

    /// Reads an attribute; what the kernel generates is generated here too.
    pub(super) fn read(&self, path: &str) -> Result<String> {
        let (parent, name) = split(path);
        let directory = self.tree.directory(parent)?;
        let (parent_group, stored) = (directory.group, directory.value(name)?);
        match (parent_group, name) {
            (Group::Backstore, "info") => Ok(self.backstore_info(parent)),
            (Group::Backstore, "control") => Err(Errno::EACCES),
            (Group::Acl, "info") => Ok(self.acl_info(parent)),
            (Group::MappedLun, "write_protect") if !self.is_mapped(parent) => Ok(String::new()),
            (Group::Lun, "alua_tg_pt_gp" | "alua_tg_pt_offline") if self.tree.link_in(parent).is_none() => Err(Errno::ENODEV),
            (Group::Lun, "alua_tg_pt_gp") => self.port_group(parent, stored),
            (Group::Default, "in_cmds") if self.tree.link_in(split(split(parent).0).0).is_none() => Err(Errno::ENODEV),
            (Group::Default, "authenticate_target") => {
                let is_set = |name: &str| {
                    self.tree.value(&format!("{parent}/{name}")).is_ok_and(|text| !text.is_empty() && !text.starts_with("NULL"))
                };
                Ok(u8::from(is_set("userid_mutual") && is_set("password_mutual")).to_string())
            }
            (Group::Default, "vpd_unit_serial") => Ok(format!("T10 VPD Unit Serial Number: {stored}")),
            (Group::Default, "sessions") => {
                let target = path.split('/').nth(1).unwrap_or_default();
                Ok(self.sessions.iter().filter(|session| session.target == target).count().to_string())
            }
            (Group::Default, "num_cmds" | "read_mbytes" | "write_mbytes") if parent.ends_with("scsi_auth_intr") => {
                let mapped = split(split(parent).0).0;
                if self.is_mapped(mapped) { Ok(stored.to_owned()) } else { Err(Errno::ENODEV) }
            }
            _ => Ok(stored.to_owned()),
        }
    }

    pub(super) fn is_mapped(&self, mapped: &str) -> bool {
        self.tree.link_in(mapped).is_some() && !self.dangling.contains(mapped)
    }

    /// What the kernel prints of a LUN's port (`core_alua_show_tg_pt_gp_info`).
    fn port_group(&self, lun: &str, name: &str) -> Result<String> {
        let (_, backstore) = self.tree.link_in(lun).ok_or(Errno::ENODEV)?;
        let state = match self.tree.value(&format!("{backstore}/alua/default_tg_pt_gp/alua_access_state"))? {
            "0" => "Active/Optimized",
            "1" => "Active/NonOptimized",
            "2" => "Standby",
            "3" => "Unavailable",
            _ => "Offline",
        };
        let offline = if self.tree.value(&format!("{lun}/alua_tg_pt_offline"))? == "1" { "Offline" } else { "None" };
        Ok(format!(
            "TG Port Alias: {name}\nTG Port Group ID: 0\nTG Port Primary Access State: {state}\nTG Port Primary Access Status: None\n\
             TG Port Secondary Access State: {offline}\nTG Port Secondary Access Status: None"
        ))
    }

    /// Whether the disk behind a mapped LUN answers reads and writes: its port is online and its state is an active one.
    pub(super) fn is_accessible(&self, lun: &str, backstore: &str) -> bool {
        let state = self.tree.value(&format!("{backstore}/alua/default_tg_pt_gp/alua_access_state"));
        state.is_ok_and(|state| ["0", "1"].contains(&state)) && self.tree.value(&format!("{lun}/alua_tg_pt_offline")) == Ok("0")
    }

    fn backstore_info(&self, backstore: &str) -> String {
        let device = self.devices.get(backstore).cloned().unwrap_or_default();
        let status = if self.is_linked(backstore) { "ACTIVATED" } else { "DEACTIVATED" };
        let (sector, most) = if device.number.is_some() { (512, 4_294_967_288_u32) } else { (0, 0) };
        let disk = device.number.map_or("  ".to_owned(), |(_, minor)| format!("iBlock device: dm-{minor}  "));
        let path = device.path.map_or(String::new(), |path| format!("UDEV PATH: {path}  "));
        let numbers = match device.number {
            Some((major, minor)) => format!("Major: {major} Minor: {minor}  CLAIMED: IBLOCK"),
            None => "Major: 0 Minor: 0".to_owned(),
        };
        let readonly = u8::from(device.readonly);
        format!(
            "Status: {status}  Max Queue Depth: 0  SectorSize: {sector}  HwMaxSectors: {most}\n        {disk}{path}readonly: {readonly}\n        {numbers}"
        )
    }

    /// The last session of an ACL, as the kernel prints it.
    fn acl_info(&self, acl: &str) -> String {
        let (target, initiator) = (target_of(acl), split(acl).1);
        let mut sessions = self.sessions.iter().enumerate();
        let last = sessions.rfind(|(_, session)| (session.target.as_str(), session.initiator.as_str()) == (target, initiator));
        let Some((at, session)) = last else {
            return format!("No active iSCSI Session for Initiator Endpoint: {initiator}");
        };
        let isid: Vec<&str> = (0..6).filter_map(|at| session.isid.get(at * 2..at * 2 + 2)).collect();
        format!(
            "InitiatorName: {initiator}\nInitiatorAlias: (none)\nLIO Session ID: {0}   ISID: 0x{1}  TSIH: {0}  SessionType: Normal\n\
             Session State: TARG_SESS_STATE_LOGGED_IN\n---------------------[iSCSI Session Values]-----------------------\n\
             CID: 0  Connection State: TARG_CONN_STATE_LOGGED_IN\n   Address {2} TCP  StatSN: 0x4d490274",
            at + 1,
            isid.join(" "),
            session.address
        )
    }

    pub(super) fn write(&mut self, path: &str, value: &str, lvm: &mut Lvm) -> Result<()> {
        self.tree.value(path)?;
        let (parent, name) = split(path);
        match (self.tree.directory(parent)?.group, name) {
            (Group::Backstore, "control") => self.write_control(parent, value),
            (Group::Backstore, "enable") => self.enable_backstore(parent, value, lvm),
            (Group::Backstore, "alias" | "udev_path") if value.len() > LONGEST_ALIAS => Err(Errno::EINVAL),
            (Group::Backstore, "alias" | "udev_path") | (Group::Acl, "tag") => self.tree.set(path, value),
            (Group::Tpg, "enable") => self.enable_tpg(path, parent, value),
            (Group::Acl, "cmdsn_depth") if !is_within(value, 1, 512) => Err(Errno::EINVAL),
            (Group::Acl, "cmdsn_depth") => {
                if self.tree.value(path)? != value {
                    let (target, initiator) = (target_of(parent).to_owned(), split(parent).1.to_owned());
                    self.end_sessions(|session| (&session.target, &session.initiator) == (&target, &initiator));
                }
                self.tree.set(path, value)
            }
            (Group::MappedLun, "write_protect") => {
                flag(value)?;
                // Without a mapping the kernel takes the value and forgets it.
                if self.is_mapped(parent) { self.tree.set(path, value) } else { Ok(()) }
            }
            (Group::Lun, _) if self.tree.link_in(parent).is_none() => Err(Errno::ENODEV),
            (Group::Lun, "alua_tg_pt_offline") => flag(value).and_then(|()| self.tree.set(path, value)),
            // Into the default group, or into one of that name: this fake has no others.
            (Group::Lun, "alua_tg_pt_gp") if value.starts_with("NULL") => self.tree.set(path, "default_tg_pt_gp"),
            (Group::Lun, "alua_tg_pt_gp") if value != "default_tg_pt_gp" => Err(Errno::ENODEV),
            (Group::Lun, "alua_tg_pt_gp") => Ok(()),
            (Group::Default, _) if parent.ends_with("/default_tg_pt_gp") => self.write_port_group(path, parent, name, value),
            (Group::Default, "authenticate_target") => Err(Errno::EACCES),
            (Group::Default, _) if parent.ends_with("/param") => self.write_param(path, name, value),
            (Group::Default, _) if parent.ends_with("/wwn") => self.write_wwn(path, parent, name, value),
            (Group::Default, _) if parent.ends_with("/attrib") => self.write_attribute(path, parent, name, value),
            (Group::Default, _) if parent.ends_with("/auth") && value.len() > LONGEST_AUTH => Err(Errno::EINVAL),
            (Group::Default, _) if parent.ends_with("/auth") => self.tree.set(path, value),
            _ => Err(Errno::EACCES),
        }
    }

    fn write_control(&mut self, backstore: &str, value: &str) -> Result<()> {
        let device = self.devices.get_mut(backstore).ok_or(Errno::ENODEV)?;
        for part in value.split(',') {
            match part.split_once('=') {
                Some(("udev_path", _)) if device.number.is_some() => return Err(Errno::EEXIST),
                Some(("udev_path", path)) => device.path = Some(path.to_owned()),
                Some(("readonly", readonly)) => device.readonly = readonly == "1",
                // Unknown words are passed over (iblock_set_configfs_dev_params).
                _ => {}
            }
        }
        Ok(())
    }

    fn enable_backstore(&mut self, backstore: &str, value: &str, lvm: &mut Lvm) -> Result<()> {
        if value != "1" {
            return Err(Errno::EINVAL);
        }
        let device = self.devices.get_mut(backstore).ok_or(Errno::ENODEV)?;
        if device.number.is_some() {
            return Err(Errno::EEXIST);
        }
        let path = device.path.as_deref().ok_or(Errno::EINVAL)?;
        device.number = Some(lvm.claim(path, device.readonly)?);
        self.tree.set(&format!("{backstore}/enable"), "1")
    }

    fn enable_tpg(&mut self, path: &str, tpg: &str, value: &str) -> Result<()> {
        flag(value)?;
        if value == "0" {
            let target = target_of(tpg).to_owned();
            self.end_sessions(|session| session.target == target);
        }
        self.tree.set(path, value)
    }

    fn write_wwn(&mut self, path: &str, parent: &str, name: &str, value: &str) -> Result<()> {
        let longest = match name {
            "vendor_id" => 8,
            "product_id" => 16,
            "revision" => 4,
            _ => 253,
        };
        if value.len() > longest {
            return Err(Errno::EOVERFLOW);
        }
        if self.is_linked(split(parent).0) { Err(Errno::EINVAL) } else { self.tree.set(path, value) }
    }

    /// A backstore's ALUA group (`target_tg_pt_gp_*_store`).
    fn write_port_group(&mut self, path: &str, group: &str, name: &str, value: &str) -> Result<()> {
        let says = |name: &str| self.tree.value(&format!("{group}/{name}")).map(str::to_owned);
        let backstore = split(split(group).0).0;
        let shown = match name {
            "alua_access_type" => match value {
                "0" => "None",
                "1" => "Implicit",
                "2" => "Explicit",
                "3" => "Implicit and Explicit",
                _ => return Err(Errno::EINVAL),
            },
            "alua_access_state" if self.devices.get(backstore).is_none_or(|device| device.number.is_none()) => {
                return Err(Errno::ENODEV);
            }
            "alua_access_state" if !says("alua_access_type")?.starts_with("Implicit") => return Err(Errno::EINVAL),
            "alua_access_state" if value == "0" && says("alua_support_active_optimized")? == "0" => return Err(Errno::EINVAL),
            "alua_access_state" if !["0", "1", "2", "3", "14"].contains(&value) => return Err(Errno::EINVAL),
            "alua_access_state" => value,
            _ => flag(value).map(|()| value)?,
        };
        self.tree.set(path, shown)
    }

    /// What a portal group offers at login (`iscsi_check_value`): a name and a number are of different kinds.
    fn write_param(&mut self, path: &str, name: &str, value: &str) -> Result<()> {
        let is_legal = match name {
            "AuthMethod" => value.split(',').all(|word| ["CHAP", "None"].contains(&word)),
            "HeaderDigest" | "DataDigest" => value.split(',').all(|word| ["CRC32C", "None"].contains(&word)),
            "ErrorRecoveryLevel" => is_within(value, 0, 2),
            "MaxConnections" => is_within(value, 1, 65535),
            "FirstBurstLength" | "MaxBurstLength" => is_within(value, 512, 16_777_215),
            _ => ["Yes", "No"].contains(&value),
        };
        if is_legal { self.tree.set(path, value) } else { Err(Errno::EINVAL) }
    }

    fn write_attribute(&mut self, path: &str, parent: &str, name: &str, value: &str) -> Result<()> {
        let owner = split(parent).0;
        let is_backstore = self.tree.directory(owner)?.group == Group::Backstore;
        match name {
            "emulate_tpu" | "emulate_tpws" if self.devices.get(owner).is_none_or(|device| device.number.is_none()) => {
                self.crashes.push(format!("write {path} {value}"));
                return Err(Errno::EIO);
            }
            "emulate_write_cache" if value == "1" => return Err(Errno::EINVAL),
            _ if name.starts_with("hw_") => return Err(Errno::EACCES),
            "block_size"
            | "queue_depth"
            | "optimal_sectors"
            | "emulate_tas"
            | "unmap_zeroes_data"
            | "emulate_model_alias"
            | "emulate_ua_intlck_ctrl"
            | "force_pr_aptpl"
                if is_backstore && self.is_linked(owner) =>
            {
                return Err(Errno::EINVAL);
            }
            "generate_node_acls" => {
                flag(value)?;
                if value == "1" {
                    self.tree.set(&format!("{parent}/cache_dynamic_acls"), "1")?;
                }
            }
            "login_timeout" if !value.parse::<u32>().is_ok_and(|seconds| (5..=30).contains(&seconds)) => {
                return Err(Errno::EINVAL);
            }
            "netif_timeout" if !value.parse::<u32>().is_ok_and(|seconds| (2..=15).contains(&seconds)) => {
                return Err(Errno::EINVAL);
            }
            "authentication" if self.tree.directory(owner)?.group == Group::Acl => {
                return if ["-1", "0", "1"].contains(&value) { self.tree.set(path, value) } else { Err(Errno::EINVAL) };
            }
            "authentication" if flag(value).is_ok() => {
                let method = if value == "1" { "CHAP" } else { "CHAP,None" };
                self.tree.set(&format!("{owner}/param/AuthMethod"), method)?;
            }
            "block_size" if !["512", "1024", "2048", "4096"].contains(&value) => return Err(Errno::EINVAL),
            "default_cmdsn_depth" => {
                return if is_within(value, 1, 512) { self.tree.set(path, value) } else { Err(Errno::EINVAL) };
            }
            "default_erl" | "emulate_ua_intlck_ctrl" => {
                return if is_within(value, 0, 2) { self.tree.set(path, value) } else { Err(Errno::EINVAL) };
            }
            "fabric_prot_type" => {
                return if ["0", "1", "3"].contains(&value) { self.tree.set(path, value) } else { Err(Errno::EINVAL) };
            }
            _ if value.parse::<u32>().is_err() => return Err(Errno::EINVAL),
            _ if ["0", "1"].contains(&self.tree.value(path)?) => flag(value)?,
            _ => {}
        }
        self.tree.set(path, value)
    }
}

fn is_within(value: &str, least: u32, most: u32) -> bool {
    value.parse::<u32>().is_ok_and(|number| (least..=most).contains(&number))
}

fn flag(value: &str) -> Result<()> {
    if ["0", "1"].contains(&value) { Ok(()) } else { Err(Errno::EINVAL) }
}

fn is_hba(name: &str) -> bool {
    let plugin = ["iblock_", "fileio_", "pscsi_", "rd_mcp_", "user_"].iter().find_map(|plugin| name.strip_prefix(plugin));
    plugin.is_some_and(|number| number.parse::<u32>().is_ok())
}

/// `iqn…` of `iscsi/iqn…/tpgt_1/acls/…`.
fn target_of(path: &str) -> &str {
    path.split('/').nth(1).unwrap_or_default()
}

/// `iscsi/iqn…/tpgt_1` of what lies in it.
fn tpg_of(path: &str) -> String {
    path.split('/').take(3).collect::<Vec<_>>().join("/")
}
