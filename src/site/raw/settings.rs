//! `site.toml` as it is spelled.
//!
//! **Invariant:** says nothing about other files; what depends on them is judged where both are known.

use super::{Address, ByPlatform, Directory, FilePath, LoaderPath, Spanned};
use crate::{
    names::{Interval, Iqn, LvName, Percent, PoolSize, SiteName, VgName},
    site::{Consent, FetchAddress, OtherHardware, PxeStrategy, StaleBoot},
};
use schemars::JsonSchema;
use serde::Deserialize;

/// What the café is called, where its server is reached, and what holds for every machine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
#[schemars(title = "barista: site.toml")]
pub(in crate::site) struct SiteFile {
    /// The site's name. It goes into tags and into the names of disks on the wire, and is fixed for the site's life.
    #[schemars(required)]
    pub(in crate::site) name: Option<Spanned<SiteName>>,
    /// Where machines reach the server.
    #[schemars(required)]
    pub(in crate::site) server: Option<Spanned<ServerTable>>,
    /// Where volumes lie. Needed as soon as an image is a disk.
    pub(in crate::site) storage: Option<Spanned<StorageTable>>,
    /// How disks are named on the wire. Needed as soon as an image is a disk.
    pub(in crate::site) iscsi: Option<Spanned<IscsiTable>>,
    /// What every booting machine gets.
    pub(in crate::site) boot: Option<Spanned<BootTable>>,
    /// What a plan may destroy.
    pub(in crate::site) policy: Option<Spanned<PolicyTable>>,
}

/// Where machines reach the server.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(in crate::site) struct ServerTable {
    /// The server's address; the three others default to it.
    #[schemars(required)]
    pub(in crate::site) address: Option<Spanned<Address>>,
    /// Where loaders are fetched by TFTP. Default: address.
    pub(in crate::site) tftp_address: Option<Spanned<Address>>,
    /// Where scripts and assets are fetched by HTTP. Default: address.
    pub(in crate::site) http_address: Option<Spanned<Address>>,
    /// Where disks are attached by iSCSI. Default: address.
    pub(in crate::site) iscsi_address: Option<Spanned<Address>>,
}

/// Where volumes lie.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(in crate::site) struct StorageTable {
    /// The volume group. It must exist; barista never makes one.
    pub(in crate::site) volume_group: Option<Spanned<VgName>>,
    /// The thin pool within the volume group. Default: "pool".
    pub(in crate::site) thin_pool: Option<Spanned<LvName>>,
    /// Make the pool when it is absent, and only then. Default: false.
    pub(in crate::site) create_pool: Option<Spanned<bool>>,
    /// The pool's size when it is made: of the volume group's free space, or a size. Default: "90%".
    pub(in crate::site) pool_size: Option<Spanned<PoolSize>>,
    /// Free space of the pool below which no new clone is made. Default: "10%".
    pub(in crate::site) reserve: Option<Spanned<Percent>>,
    /// Where image sources lie. Default: images/ under the state directory.
    pub(in crate::site) image_store: Option<Spanned<Directory>>,
}

/// How disks are named on the wire.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(in crate::site) struct IscsiTable {
    /// What the names of targets and initiators begin with: "iqn.", a year and month in which you held the domain, the
    /// domain reversed. Changing it renames every disk.
    pub(in crate::site) iqn_prefix: Option<Spanned<Iqn>>,
    /// The TCP port. Default: 3260.
    pub(in crate::site) port: Option<Spanned<u16>>,
    /// A file of the server, root's alone, with the secrets of the machines that have chap = true: [pc01] and below it
    /// secret = "12 to 16 bytes" and, unless it is the machine's name, user.
    pub(in crate::site) chap_secrets: Option<Spanned<FilePath>>,
}

/// What every booting machine gets.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(in crate::site) struct BootTable {
    /// Port of the HTTP service. Default: 8080.
    pub(in crate::site) http_port: Option<Spanned<u16>>,
    /// How long a menu waits before it boots its default; "0s" shows none. Default: "5s".
    pub(in crate::site) menu_timeout: Option<Spanned<Interval>>,
    /// The directory of undionly.kpxe, snponly.efi and ipxe.efi; with what lies below it, it is served by TFTP. Default: where
    /// the distribution puts them.
    pub(in crate::site) loaders: Option<Spanned<Directory>>,
    /// Which loader firmware is told, by platform; a file of the loaders' directory.
    pub(in crate::site) loader: Option<Spanned<ByPlatform<LoaderPath>>>,
    /// How firmware is told its loader, by platform. Default: "file".
    pub(in crate::site) pxe: Option<Spanned<ByPlatform<PxeStrategy>>>,
}

/// What a plan may destroy.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(in crate::site) struct PolicyTable {
    /// So many kept disks and versions may go until another number stands here; what would go beyond is held. Default: 5.
    pub(in crate::site) max_destroy: Option<Spanned<u32>>,
    /// Written consent, item by item: "win11@2026-10" a version, "pc03.ubuntu" a machine's clone, "*" anything.
    pub(in crate::site) may_destroy: Option<Spanned<Vec<Spanned<Consent>>>>,
    /// What a machine is told whose clean disk cannot be made within boot-wait: "refuse" (it waits and says why), or "boot" (it gets
    /// the disk it used last, with whatever was left on it). Default: "refuse".
    pub(in crate::site) stale_boot: Option<Spanned<StaleBoot>>,
    /// How long a machine waits for a clean disk before stale-boot holds. Default: "60s".
    pub(in crate::site) boot_wait: Option<Spanned<Interval>>,
    /// How long a disk must be without session and command, offered all the time, before its machine counts as off where somebody
    /// needs it. Not below "10m". Default: "8h".
    pub(in crate::site) quiet: Option<Spanned<Interval>>,
    /// The same for machines that were lost with others at once, as when a switch fails. Default: "24h".
    pub(in crate::site) outage_quiet: Option<Spanned<Interval>>,
    /// From which address a machine's script may be fetched: "not-contradicted" (any, unless another is known to be its own), or
    /// "own". Default: "not-contradicted".
    pub(in crate::site) fetch_address: Option<Spanned<FetchAddress>>,
    /// What a machine is told that has the address of another, by its firmware's UUID: "refuse" or "accept". Default: "refuse".
    pub(in crate::site) other_hardware: Option<Spanned<OtherHardware>>,
    /// How many disks a seat may have of an image that is reset: 2, or 3 for rooms that press reset a lot. Default: 2.
    pub(in crate::site) sides: Option<Spanned<u32>>,
}
