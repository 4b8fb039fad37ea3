//! Everything that should exist on the host, with its final name, and nothing left to choose.
//!
//! **Invariant:** pure; every name here follows from the site alone, so the same site always means the same objects.

mod compute;
mod name;

pub use crate::site::{
    Firmware, Gateway, Loading, Login, Network, NetworkMode, Policy, PxeStrategy, Reset, Source, SourceFormat,
};
pub use compute::{NamingError, compute};
pub use name::{BACKSTORE_RANGE, Mark, backstore_name, backstore_number, clone_name, serial, version_name};

use crate::names::{
    Bytes, DhcpOptions, ImageName, Interval, Iqn, Lun, LvName, MacAddr, MachineName, MenuKey, NetworkName, Percent, Portal,
    Share, SiteName, VersionName, VgName,
};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// Everything that should exist on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The site, part of every mark.
    pub site: SiteName,
    /// Volumes and targets; absent when the site names no volume group.
    pub storage: Option<Storage>,
    /// What may be destroyed.
    pub policy: Policy,
    /// What machines are told.
    pub room: Room,
}

/// Volumes and targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The volume group.
    pub vg: VgName,
    /// The thin pool.
    pub pool: LvName,
    /// The pool's size when it may be made.
    pub create_pool: Option<Share>,
    /// Free space of the pool below which no new clone is made.
    pub reserve: Percent,
    /// Where image sources lie; `None` is below the state directory.
    pub image_store: Option<String>,
    /// What every name of a target and an initiator begins with.
    pub iqn_prefix: Iqn,
    /// Where targets listen.
    pub portal: Portal,
    /// The file of the CHAP secrets.
    pub chap_secrets: Option<String>,
    /// Image versions by volume.
    pub versions: BTreeMap<LvName, BaseVolume>,
    /// Clones by volume.
    pub clones: BTreeMap<LvName, CloneVolume>,
    /// Targets by name.
    pub targets: BTreeMap<Iqn, Target>,
}

/// An image version's volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseVolume {
    /// The image.
    pub image: ImageName,
    /// The version.
    pub version: VersionName,
    /// How large it is.
    pub size: Bytes,
    /// What it is filled from.
    pub source: Source,
    /// Names it may have had.
    pub formerly: Vec<LvName>,
}

/// A machine's clone of an image version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloneVolume {
    /// The machine.
    pub machine: MachineName,
    /// The image.
    pub image: ImageName,
    /// The version it should be a clone of.
    pub version: VersionName,
    /// That version's volume.
    pub base: LvName,
    /// How large it is.
    pub size: Bytes,
    /// When it is thrown away.
    pub reset: Reset,
    /// Names it may have had.
    pub formerly: Vec<LvName>,
}

/// What one entry of one machine's menu attaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The machine.
    pub machine: MachineName,
    /// The image it boots.
    pub image: ImageName,
    /// The one initiator that may log in.
    pub initiator: Iqn,
    /// Whether it proves itself.
    pub login: Login,
    /// Its disks by number; 0 is the system disk.
    pub luns: BTreeMap<Lun, Backstore>,
}

/// A disk as LIO sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backstore {
    /// Its name: `<site>.<machine>.<image>`.
    pub name: String,
    /// The clone it shows.
    pub volume: LvName,
    /// Its unit serial number, the same through every renewal of the clone.
    pub serial: String,
}

/// What machines are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Where loaders are fetched.
    pub tftp_address: Ipv4Addr,
    /// Where scripts and assets are fetched.
    pub http_address: Ipv4Addr,
    /// The port of that.
    pub http_port: u16,
    /// The directory of the loaders.
    pub loaders: Option<String>,
    /// Subnets.
    pub networks: BTreeMap<NetworkName, Network>,
    /// Machines.
    pub machines: BTreeMap<MachineName, Seat>,
    /// The site's own templates.
    pub templates: BTreeMap<String, String>,
}

/// A machine as it boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seat {
    /// Its Ethernet addresses.
    pub macs: Vec<MacAddr>,
    /// Its reserved address.
    pub ip: Option<Ipv4Addr>,
    /// Its firmware, when the site says.
    pub firmware: Option<Firmware>,
    /// How long its menu waits.
    pub menu_timeout: Interval,
    /// Whether it keeps its router when a disk is attached.
    pub gateway: Gateway,
    /// Whether it proves itself before a disk is attached.
    pub login: Login,
    /// The name its disks know it by; only needed when it has any.
    pub initiator: Option<Iqn>,
    /// What it can boot, the default first.
    pub entries: Vec<Entry>,
    /// Which loader its firmware is told.
    pub loader: Option<String>,
    /// How its firmware is told the loader.
    pub pxe: Option<PxeStrategy>,
    /// DHCP options it is told over its network's: its own over those of its default image.
    pub options: DhcpOptions,
}

/// One thing a machine can boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The image.
    pub image: ImageName,
    /// What a menu calls it.
    pub title: String,
    /// The key that chooses it; no other entry of the menu has it. None when there are more entries than keys.
    pub key: Option<MenuKey>,
    /// How it boots.
    pub kind: EntryKind,
}

/// How something boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// From a disk over iSCSI.
    Disk(Attachment),
    /// A kernel over HTTP; paths are within the asset store.
    Linux {
        /// The kernel.
        kernel: String,
        /// Initial RAM disks, in order.
        initrd: Vec<String>,
        /// The command line.
        args: String,
        /// What is attached before it starts.
        attach: Option<Attachment>,
    },
    /// From the machine's own disk.
    Local,
}

/// Disks that are attached before something boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The target.
    pub target: Iqn,
    /// Where it listens.
    pub portal: Portal,
    /// Its disks, the system disk first.
    pub luns: Vec<Lun>,
}

impl EntryKind {
    /// What it attaches.
    pub fn attachment(&self) -> Option<&Attachment> {
        match self {
            Self::Disk(attachment) => Some(attachment),
            Self::Linux { attach, .. } => attach.as_ref(),
            Self::Local => None,
        }
    }
}
