//! The kernel's iSCSI targets and backstores as configfs shows them.

use super::{Attributes, Seen};
use crate::names::{Lun, Portal};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The target subsystem.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lio {
    /// Backstores by their path below `core/`: `iblock_100000/lucky-cat.pc01.win11`.
    pub backstores: BTreeMap<String, Backstore>,
    /// HBA directories that hold no backstore: debris of a half-made or half-removed one.
    pub empty_hbas: BTreeSet<String>,
    /// iSCSI targets by name. Of a target that is not ours only its LUNs and portals are read.
    pub targets: BTreeMap<String, Target>,
}

impl Lio {
    /// Has objects whose attributes are the same share the memory of them.
    pub fn share_attributes(&mut self) {
        const DISTINCT: usize = 16;
        let mut known: Vec<Attributes> = Vec::new();
        let tpgs = self.targets.values_mut().flat_map(|target| target.tpgs.values_mut());
        let of_targets = tpgs.flat_map(|tpg| {
            let of_acls = tpg.acls.values_mut().map(|acl| &mut acl.attributes);
            std::iter::once(&mut tpg.attributes).chain(tpg.luns.values_mut().map(|lun| &mut lun.attributes)).chain(of_acls)
        });
        for attributes in self.backstores.values_mut().map(|backstore| &mut backstore.attributes).chain(of_targets) {
            match known.iter().find(|known| *known == attributes) {
                Some(same) => attributes.clone_from(same),
                None if known.len() < DISTINCT => known.push(attributes.clone()),
                None => {}
            }
        }
    }
}

/// A backstore (storage object).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Backstore {
    /// Whether it is enabled: has opened its device.
    pub enabled: bool,
    /// The free text in which ours carry our mark.
    pub alias: String,
    /// Its unit serial number.
    pub serial: String,
    /// The device's major and minor number, from `info`.
    pub device: Option<(u32, u32)>,
    /// The informational path.
    pub udev_path: String,
    /// Vendor, product and revision as they stand in INQUIRY.
    pub inquiry: [String; 3],
    /// What stands in [`BACKSTORE_ATTRIBUTES`](super::lio_attributes::BACKSTORE_ATTRIBUTES), by path.
    pub attributes: Attributes,
    /// SCSI commands it has served since it was made.
    pub commands: u64,
}

/// An iSCSI target.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// Its portal groups by tag.
    pub tpgs: BTreeMap<u16, Tpg>,
    /// Sessions on it, by the fabric's own count.
    pub sessions: u32,
}

/// A target portal group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tpg {
    /// Whether it accepts logins.
    pub enabled: bool,
    /// What stands in [`TPG_ATTRIBUTES`](super::lio_attributes::TPG_ATTRIBUTES), by path.
    pub attributes: Attributes,
    /// LUNs by number.
    pub luns: BTreeMap<Lun, TpgLun>,
    /// Portals.
    pub portals: BTreeSet<Portal>,
    /// ACLs by initiator name.
    pub acls: BTreeMap<String, Acl>,
}

/// A LUN of a portal group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TpgLun {
    /// Link name and the backstore it leads to (its path below `core/`); none in a half-made LUN.
    pub link: Option<(String, String)>,
    /// What stands in [`LUN_ATTRIBUTES`](super::lio_attributes::LUN_ATTRIBUTES), by path; empty without a link.
    pub attributes: Attributes,
    /// SCSI commands on it, whoever gave them, since its directory was made; absent without a link and where it is not ours.
    pub commands: Seen<u64>,
}

/// What a disk has done since the kernel made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DiskIo {
    /// The kernel's number of the disk, which no other gets before the next boot: another one means that `writes` began anew.
    pub diskseq: u64,
    /// Sectors written and discarded. Requests that only flush do not count, nor do those that are still on their way.
    pub writes: u64,
}

/// An access control list: one initiator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Acl {
    /// Mapped LUNs by the number the initiator sees.
    pub luns: BTreeMap<Lun, MappedLun>,
    /// Its session, if it has one.
    pub session: Seen<Session>,
    /// Its CHAP name and secret, compared and not shown.
    pub login: LoginSeen,
    /// What stands in [`ACL_ATTRIBUTES`](super::lio_attributes::ACL_ATTRIBUTES), by path.
    pub attributes: Attributes,
}

/// What an ACL asks of its initiator, against the site's secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoginSeen {
    /// Not looked at, for the site has no secrets or none of that machine.
    #[default]
    Unknown,
    /// Name and secret are those of the site.
    Same,
    /// They are others, or not there.
    Other,
}

/// A LUN as one initiator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct MappedLun {
    /// Link name and the number of the portal group's LUN it leads to; none in a half-made one.
    pub link: Option<(String, Lun)>,
    /// Whether the initiator may only read it.
    pub write_protect: bool,
    /// SCSI commands on it since the ACL was made.
    pub commands: u64,
}

/// A live session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Session {
    /// The initiator's part of the session identifier, twelve hex digits; iPXE's begin with `400027 23` (RFC 7143 §11.12.5,
    /// enterprise number 10019).
    pub isid: String,
    /// Where it comes from.
    pub address: String,
    /// Since when it is known.
    pub since: Option<Timestamp>,
}
