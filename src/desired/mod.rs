//! Everything that should exist on the host, with its final name, and nothing left to choose.
//!
//! **Invariant:** pure; every name here follows from the site alone, so the same site always means the same objects.

mod compute;

pub use crate::site::{
    Firmware, Gateway, Loading, Login, Network, NetworkMode, Policy, PxeStrategy, Reset, Source, SourceFormat,
};
pub use compute::{NamingError, compute};

use crate::names::{
    Bytes, DhcpOptions, DiskId, ImageName, Interval, Iqn, Lun, LvName, MacAddr, MachineName, MenuKey, NetworkName, Percent,
    PoolSize, Portal, SiteName, VersionName, VgName,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
};

/// Everything that should exist on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The site, part of every mark.
    pub site: SiteName,
    /// Disks and targets; absent when the site names no volume group.
    pub storage: Option<Storage>,
    /// What may be destroyed.
    pub policy: Policy,
    /// What machines are told.
    pub room: Room,
    /// What people call images, where it is another thing than their names.
    pub titles: BTreeMap<ImageName, String>,
}

/// Disks, and how they are shown to machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// What holds the disks.
    pub backing: Backing,
    /// What shows them to machines.
    pub export: Export,
    /// Free space below which no new disk is made.
    pub reserve: Percent,
    /// Where image sources lie; `None` is below the state directory.
    pub image_store: Option<String>,
    /// Image versions.
    pub versions: BTreeMap<VersionId, Version>,
    /// What each machine boots from a disk.
    pub seats: BTreeMap<SeatId, DiskSeat>,
    /// Machines that had another name before: new name to old ones.
    pub moved_machines: BTreeMap<MachineName, BTreeSet<MachineName>>,
    /// Images that had another name before: new name to old ones.
    pub moved_images: BTreeMap<ImageName, BTreeSet<ImageName>>,
}

/// What holds the disks; another backing is another variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backing {
    /// Thin volumes of LVM.
    Thin {
        /// The volume group.
        vg: VgName,
        /// The thin pool.
        pool: LvName,
        /// The pool's size when it may be made.
        create_pool: Option<PoolSize>,
    },
}

/// What shows disks to machines; another way is another variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Export {
    /// The kernel's iSCSI target.
    Lio {
        /// What every name of a target and an initiator begins with.
        iqn_prefix: Iqn,
        /// Where targets listen.
        portal: Portal,
        /// The file of the CHAP secrets.
        chap_secrets: Option<String>,
    },
}

/// An image's version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VersionId {
    /// The image.
    pub image: ImageName,
    /// The version.
    pub version: VersionName,
}

/// What a version is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// How large it is.
    pub size: Bytes,
    /// What it is filled from.
    pub source: Source,
}

/// A machine and an image that it boots, or that is attached before it boots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeatId {
    /// The machine.
    pub machine: MachineName,
    /// The image.
    pub image: ImageName,
}

/// The disks of a seat, and who may reach them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSeat {
    /// The one initiator that may log in.
    pub initiator: Iqn,
    /// Whether it proves itself.
    pub login: Login,
    /// Its disks in the order of their LUNs; the first is the system disk.
    pub disks: Vec<SeatDisk>,
}

/// One disk of a seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatDisk {
    /// The image.
    pub image: ImageName,
    /// The version it should be a clone of.
    pub version: VersionName,
    /// How large it is.
    pub size: Bytes,
    /// When it is thrown away.
    pub reset: Reset,
    /// Its unit serial number: the same on every side and backing, so that Windows keeps knowing its disk.
    pub serial: String,
}

impl VersionId {
    /// Its disk.
    pub fn disk(&self) -> DiskId {
        DiskId::version(&self.image, &self.version)
    }
}

impl fmt::Display for VersionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.image, self.version)
    }
}

impl fmt::Display for SeatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.machine, self.image)
    }
}

impl DiskSeat {
    /// Whether each boot gets disks of its own: some of them are reset at every boot.
    pub fn is_reset_at_boot(&self) -> bool {
        self.disks.iter().any(|disk| disk.reset == Reset::EveryBoot)
    }
}

impl Storage {
    /// The volume group.
    pub fn vg(&self) -> &VgName {
        let Backing::Thin { vg, .. } = &self.backing;
        vg
    }

    /// The thin pool.
    pub fn pool(&self) -> &LvName {
        let Backing::Thin { pool, .. } = &self.backing;
        pool
    }

    /// What every name of a target and an initiator begins with.
    pub fn iqn_prefix(&self) -> &Iqn {
        let Export::Lio { iqn_prefix, .. } = &self.export;
        iqn_prefix
    }

    /// Where targets listen.
    pub fn portal(&self) -> &Portal {
        let Export::Lio { portal, .. } = &self.export;
        portal
    }

    /// The file of the CHAP secrets.
    pub fn chap_secrets(&self) -> Option<&str> {
        let Export::Lio { chap_secrets, .. } = &self.export;
        chap_secrets.as_deref()
    }

    /// The name a machine has now that had this one, or has it still.
    pub fn machine_now<'a>(&'a self, name: &'a MachineName) -> &'a MachineName {
        now(&self.moved_machines, name)
    }

    /// The name an image has now that had this one, or has it still.
    pub fn image_now<'a>(&'a self, name: &'a ImageName) -> &'a ImageName {
        now(&self.moved_images, name)
    }
}

fn now<'a, T: Ord>(moved: &'a BTreeMap<T, BTreeSet<T>>, name: &'a T) -> &'a T {
    moved.iter().find(|(_, former)| former.contains(name)).map_or(name, |(now, _)| now)
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

/// Disks that are attached before something boots. Which target shows them is known when the machine boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The image whose disks they are.
    pub image: ImageName,
    /// Where its targets listen.
    pub portal: Portal,
    /// Whether each boot gets disks of its own.
    pub reset: Reset,
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
