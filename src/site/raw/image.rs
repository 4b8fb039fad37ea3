//! `images/<name>.toml` as it is spelled.
//!
//! **Invariant:** holds the keys of every kind; which of them a kind takes is in [`Kind`]'s tables.

use super::{AssetPath, KernelArgs, MenuTitle, Move, OptionsTable, Sha256, SourcePath, Spanned, Title};
use crate::{
    names::{Bytes, ImageName, MenuKey, VersionName},
    site::{Firmware, Reset, Role},
};
use schemars::JsonSchema;
use serde::Deserialize;

/// Something machines can boot or have attached. The file's name is the image's.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
#[schemars(title = "barista: images/<name>.toml")]
#[schemars(extend("allOf" = [
    { "if": { "properties": { "kind": { "const": "disk" } } },
      "then": { "required": ["size", "current", "version"] },
      "else": { "not": { "anyOf": [
          { "required": ["role"] }, { "required": ["size"] }, { "required": ["reset"] }, { "required": ["current"] },
          { "required": ["data-disks"] }, { "required": ["version"] }] } } },
    { "if": { "properties": { "kind": { "const": "linux" } } },
      "then": { "required": ["kernel"] },
      "else": { "not": { "anyOf": [
          { "required": ["kernel"] }, { "required": ["initrd"] }, { "required": ["args"] }, { "required": ["attach"] }] } } }
]))]
pub(in crate::site) struct ImageFile {
    /// What it is; the keys it takes depend on it.
    #[schemars(required)]
    pub(in crate::site) kind: Option<Spanned<Kind>>,
    /// What people call it, in any language. Default: the image's name.
    pub(in crate::site) title: Option<Spanned<Title>>,
    /// What the boot menu calls it, which shows ASCII only. Default: the title if it is ASCII, else the image's name.
    pub(in crate::site) menu_title: Option<Spanned<MenuTitle>>,
    /// The key that chooses it in a menu. Default: the first letter of its name that no entry before it has.
    pub(in crate::site) key: Option<Spanned<MenuKey>>,
    /// What firmware can boot it. Default: "any".
    pub(in crate::site) firmware: Option<Spanned<Firmware>>,
    /// Further DHCP options told to machines whose default it is.
    pub(in crate::site) options: Option<Spanned<OptionsTable>>,
    /// disk: whether machines boot from it or have it beside their system disk. Default: "system".
    pub(in crate::site) role: Option<Spanned<Role>>,
    /// disk: the size of the disk; volumes round it up to LVM's extents.
    pub(in crate::site) size: Option<Spanned<Bytes>>,
    /// disk: when a machine's clone is thrown away and made anew. Default: "every-boot".
    pub(in crate::site) reset: Option<Spanned<Reset>>,
    /// disk: the version machines get.
    pub(in crate::site) current: Option<Spanned<VersionName>>,
    /// disk: images with role = "data" attached as further LUNs, in order.
    pub(in crate::site) data_disks: Option<Spanned<Vec<Spanned<ImageName>>>>,
    /// disk: its versions.
    #[serde(default)]
    pub(in crate::site) version: Vec<Spanned<VersionTable>>,
    /// linux: the kernel, a file of the asset store.
    pub(in crate::site) kernel: Option<Spanned<AssetPath>>,
    /// linux: initial RAM disks, files of the asset store, in order.
    pub(in crate::site) initrd: Option<Spanned<Vec<Spanned<AssetPath>>>>,
    /// linux: the kernel's command line.
    pub(in crate::site) args: Option<Spanned<KernelArgs>>,
    /// linux: a disk image whose clone is attached before the kernel starts, and stays: for an installer. A machine with this
    /// entry needs one for that image too.
    pub(in crate::site) attach: Option<Spanned<ImageName>>,
    /// Images that had another name before: keeps their data.
    #[serde(default)]
    pub(in crate::site) moved: Vec<Spanned<Move<ImageName>>>,
}

/// What an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::site) enum Kind {
    /// A disk that machines get a clone of.
    Disk,
    /// A kernel with its initial RAM disks, fetched over HTTP.
    Linux,
    /// The machine's own disk.
    Local,
}

impl Kind {
    /// How the kind is spelled.
    pub(in crate::site) fn as_str(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Linux => "linux",
            Self::Local => "local",
        }
    }

    /// The keys of this kind beside those of every kind.
    pub(in crate::site) fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Disk => &["role", "size", "reset", "current", "data-disks", "version"],
            Self::Linux => &["kernel", "initrd", "args", "attach"],
            Self::Local => &[],
        }
    }
}

/// One version of a disk image.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
#[schemars(extend("anyOf" = [{ "required": ["source"] }, { "required": ["blank"] }]))]
pub(in crate::site) struct VersionTable {
    /// The version's name, such as "2026-11".
    #[schemars(required)]
    pub(in crate::site) name: Option<Spanned<VersionName>>,
    /// The file of the image store it is filled from: .raw or .img, .qcow2, .vhdx.
    pub(in crate::site) source: Option<Spanned<SourcePath>>,
    /// Fill it from nothing: an empty disk. In place of source.
    pub(in crate::site) blank: Option<Spanned<bool>>,
    /// The SHA-256 of the source, checked before it is used.
    pub(in crate::site) sha256: Option<Spanned<Sha256>>,
}
