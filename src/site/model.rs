//! What a site says, once every rule has passed: names resolved, units read, defaults filled in.
//!
//! **Invariant:** a value of [`Site`] exists only if the commit it was read from has no error.

use crate::names::{
    Bytes, DhcpOptions, ImageName, Interval, Iqn, LvName, MacAddr, MachineName, MenuKey, NetworkName, Percent, Platform,
    PoolSize, SiteName, VersionName, VgName,
};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
};

/// A café as its repository describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The site's name, part of every tag.
    pub name: SiteName,
    /// Where machines reach the server.
    pub server: Server,
    /// Where volumes lie; present when any image is a disk.
    pub storage: Option<Storage>,
    /// How disks are named on the wire; present when any image is a disk.
    pub iscsi: Option<Iscsi>,
    /// What every booting machine gets.
    pub boot: BootDefaults,
    /// What may be destroyed.
    pub policy: Policy,
    /// Subnets by name.
    pub networks: BTreeMap<NetworkName, Network>,
    /// Images by name.
    pub images: BTreeMap<ImageName, Image>,
    /// Machines by name.
    pub machines: BTreeMap<MachineName, Machine>,
    /// Machines that had another name before: new name to old ones.
    pub moved_machines: BTreeMap<MachineName, BTreeSet<MachineName>>,
    /// Images that had another name before: new name to old ones.
    pub moved_images: BTreeMap<ImageName, BTreeSet<ImageName>>,
    /// The site's own templates by file name (`machine.ipxe`), overriding the built-in ones.
    pub templates: BTreeMap<String, String>,
}

/// The server's addresses; all three are `address` unless the site says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The server's own address.
    pub address: Ipv4Addr,
    /// Where loaders are fetched by TFTP.
    pub tftp_address: Ipv4Addr,
    /// Where scripts and assets are fetched by HTTP.
    pub http_address: Ipv4Addr,
    /// Where disks are attached.
    pub iscsi_address: Ipv4Addr,
}

/// The volume group and thin pool that hold the volumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Storage {
    /// The volume group; barista never makes one.
    pub volume_group: VgName,
    /// The thin pool.
    pub thin_pool: LvName,
    /// The pool's size when it may be made, `None` when it must exist.
    pub create_pool: Option<PoolSize>,
    /// Free space of the pool below which no new clone is made.
    pub reserve: Percent,
    /// Where image sources lie, an absolute path; `None` is `images/` under the state directory.
    pub image_store: Option<String>,
}

/// Names and port of the iSCSI targets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Iscsi {
    /// What every target's and initiator's name begins with.
    pub iqn_prefix: Iqn,
    /// The TCP port; 3260 unless the site says otherwise.
    pub port: u16,
    /// The file of the CHAP secrets, an absolute path; present when any machine proves itself.
    pub chap_secrets: Option<String>,
}

/// What every booting machine gets unless it says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootDefaults {
    /// Port of the HTTP service.
    pub http_port: u16,
    /// How long a menu waits before it boots its default.
    pub menu_timeout: Interval,
    /// The directory of undionly.kpxe, snponly.efi and ipxe.efi, an absolute path; `None` is where the distribution puts them.
    pub loaders: Option<String>,
    /// What firmware is told.
    pub loading: Loading,
}

/// What firmware is told to load, and how, where a site says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Loading {
    /// The loader by platform, a file of the loaders' directory.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub loader: BTreeMap<Platform, String>,
    /// The way it is told by platform.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pxe: BTreeMap<Platform, PxeStrategy>,
}

impl Loading {
    /// True when nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// This, and of the other what is not said here.
    pub fn over(mut self, other: &Self) -> Self {
        for (platform, loader) in &other.loader {
            self.loader.entry(*platform).or_insert_with(|| loader.clone());
        }
        for (platform, strategy) in &other.pxe {
            self.pxe.entry(*platform).or_insert(*strategy);
        }
        self
    }
}

/// How firmware is told its loader (PXE 2.1 specification §2.2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PxeStrategy {
    /// The offer names the file, and its discovery control says to use it.
    #[default]
    File,
    /// The offer names the boot server, and that one, on port 4011, names the file.
    BootServer,
    /// The offer holds a boot menu of one item, and the boot server on port 4011 names the file.
    Menu,
    /// The offer names the file and holds no PXE options, as a BOOTP server would; beside another DHCP server the client's
    /// class goes with it, for an offer without an address is nothing else's.
    Plain,
}

/// What a plan may destroy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// So many kept disks and versions may go until another number stands here; what would go beyond is held.
    pub max_destroy: u32,
    /// Written consent, item by item.
    pub may_destroy: BTreeSet<Consent>,
    /// What a machine is told that waited in vain for a clean disk.
    pub stale_boot: StaleBoot,
    /// How long it waits.
    pub boot_wait: Interval,
    /// How long a disk must be quiet before its machine counts as off.
    pub quiet: Interval,
    /// The same after an outage of several machines.
    pub outage_quiet: Interval,
    /// From which address a machine's script may be fetched.
    pub fetch_address: FetchAddress,
    /// What a machine of another UUID is told.
    pub other_hardware: OtherHardware,
    /// How many sides a seat has at most.
    pub sides: u32,
}

/// What a machine is told whose clean disk cannot be made in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StaleBoot {
    /// To wait on, with the reason.
    Refuse,
    /// To boot the disk it used last, with what was left on it.
    Boot,
}

/// From which address a machine's script may be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FetchAddress {
    /// Any, unless another is known to be its own.
    NotContradicted,
    /// Its own.
    Own,
}

/// What a machine is told whose firmware has another UUID than the machine that booted here before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OtherHardware {
    /// That it is another machine.
    Refuse,
    /// The same as before.
    Accept,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            max_destroy: 5,
            may_destroy: BTreeSet::new(),
            stale_boot: StaleBoot::Refuse,
            boot_wait: Interval::seconds(60),
            quiet: Interval::seconds(8 * 3600),
            outage_quiet: Interval::seconds(24 * 3600),
            fetch_address: FetchAddress::NotContradicted,
            other_hardware: OtherHardware::Refuse,
            sides: 2,
        }
    }
}

/// One written consent to destroy data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consent {
    /// `*`: anything this site owns.
    Everything,
    /// `image@version`.
    Version(ImageName, VersionName),
    /// `machine.image`.
    Clone(MachineName, ImageName),
}

impl std::fmt::Display for PxeStrategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::BootServer => "boot-server",
            Self::Menu => "menu",
            Self::Plain => "plain",
        })
    }
}

/// How the server takes part in a subnet's DHCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkMode {
    /// It is the DHCP server.
    Server,
    /// It adds boot information beside another DHCP server.
    Proxy,
    /// It says nothing; another server hands out the boot information too.
    Off,
}

/// One subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Network {
    /// The interface it is reached through.
    pub interface: String,
    /// How the server takes part in its DHCP.
    pub mode: NetworkMode,
    /// The subnet.
    #[schemars(with = "String")]
    pub subnet: Ipv4Net,
    /// First and last address for machines without a reservation.
    pub range: Option<(Ipv4Addr, Ipv4Addr)>,
    /// The router machines are told.
    pub router: Option<Ipv4Addr>,
    /// The name servers machines are told, in order.
    pub dns: Vec<Ipv4Addr>,
    /// The domain machines are told.
    pub domain: Option<String>,
    /// How long an address is leased.
    pub lease_time: Interval,
    /// Relay agents that forward this subnet's requests.
    pub relay: BTreeSet<Ipv4Addr>,
    /// What firmware is told.
    #[serde(default, skip_serializing_if = "Loading::is_empty")]
    pub loading: Loading,
    /// Further DHCP options machines are told, whether they ask for them or not.
    #[serde(default, skip_serializing_if = "DhcpOptions::is_empty")]
    pub options: DhcpOptions,
}

/// What firmware something boots with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// PC BIOS.
    Bios,
    /// UEFI.
    Uefi,
    /// Either.
    Any,
}

impl Site {
    /// What people call images, where it is another thing than their names.
    pub fn titles(&self) -> BTreeMap<ImageName, String> {
        let titled = self.images.values().filter(|image| image.title != image.name.as_str());
        titled.map(|image| (image.name.clone(), image.title.clone())).collect()
    }
}

/// Something a machine can boot or have attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: ImageName,
    /// What people call it; may be of any script.
    pub title: String,
    /// What the boot menu calls it: ASCII.
    pub menu_title: String,
    /// The key that chooses it in a menu, when the site says.
    pub key: Option<MenuKey>,
    /// What firmware can boot it.
    pub firmware: Firmware,
    /// Further DHCP options told to machines whose default it is.
    pub options: DhcpOptions,
    /// What it is.
    pub kind: ImageKind,
}

/// What an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageKind {
    /// A disk that machines get a clone of.
    Disk(Disk),
    /// A kernel with its initial RAM disks, fetched over HTTP.
    Linux(Linux),
    /// The machine's own disk.
    Local,
}

/// A disk image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Whether machines boot from it or have it beside their system disk.
    pub role: Role,
    /// The size of a clone.
    pub size: Bytes,
    /// When a machine's clone is thrown away.
    pub reset: Reset,
    /// The version machines get.
    pub current: VersionName,
    /// Images attached as further LUNs, in order.
    pub data_disks: Vec<ImageName>,
    /// Its versions.
    pub versions: BTreeMap<VersionName, Version>,
}

/// What a disk is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// It is booted from.
    System,
    /// It stands beside a system disk.
    Data,
}

/// When a machine's clone is thrown away and made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reset {
    /// At every boot of the machine.
    EveryBoot,
    /// When the image's current version changes.
    OnUpdate,
    /// Never; it is kept until the site consents to its end.
    Never,
}

/// One version of a disk image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its name.
    pub name: VersionName,
    /// What it is filled from.
    pub source: Source,
}

/// What a version is filled from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Nothing: an empty disk.
    Blank,
    /// A file of the image store.
    File {
        /// Its path within the store.
        path: String,
        /// How it is to be read; never guessed from its content, for a guest can write any content.
        format: SourceFormat,
        /// The SHA-256 of the file, lower-case hex.
        sha256: Option<String>,
    },
}

/// How a source file is to be read, by its ending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceFormat {
    /// `.raw`, `.img`: the bytes of the disk.
    Raw,
    /// `.qcow2`
    Qcow2,
    /// `.vhdx`
    Vhdx,
}

/// As qemu-img names it.
impl fmt::Display for SourceFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vhdx => "vhdx",
        })
    }
}

/// A kernel with its initial RAM disks; paths are within the asset store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linux {
    /// The kernel.
    pub kernel: String,
    /// Initial RAM disks, in order.
    pub initrd: Vec<String>,
    /// The kernel's command line.
    pub args: String,
    /// A disk image that is attached before the kernel starts.
    pub attach: Option<ImageName>,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its name.
    pub name: MachineName,
    /// Its Ethernet addresses, at least one.
    pub macs: Vec<MacAddr>,
    /// Its reserved address.
    pub ip: Option<Ipv4Addr>,
    /// What firmware it boots with, when the site says.
    pub firmware: Option<Firmware>,
    /// What it can boot, at least one; the first is the default.
    pub boot: Vec<ImageName>,
    /// How long its menu waits before it boots its default.
    pub menu_timeout: Interval,
    /// Which loader its firmware is told.
    pub loader: Option<String>,
    /// How its firmware is told the loader.
    pub pxe: Option<PxeStrategy>,
    /// Further DHCP options it is told.
    pub options: DhcpOptions,
    /// Whether it keeps its router when a disk is attached.
    pub gateway: Gateway,
    /// Whether it proves itself before a disk is attached.
    pub login: Login,
}

/// Whether a machine proves itself before a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// Its name is enough.
    Open,
    /// With CHAP.
    Chap,
}

/// Whether a machine keeps its router when a disk is attached; the iBFT hands it on to the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateway {
    /// It does.
    Keep,
    /// It forgets it, so that Windows reaches its disk without it.
    Clear,
}
