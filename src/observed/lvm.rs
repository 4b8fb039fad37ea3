//! A volume group as LVM reports it.

use super::Tags;
use crate::names::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Hundredths of a per cent, as LVM prints them: 12.34 % is 1234.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hundredths(pub u32);

/// A volume group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Vg {
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// Its size.
    pub size: Bytes,
    /// What no volume holds.
    pub free: Bytes,
    /// The unit it allocates in.
    pub extent: Bytes,
    /// Size of one metadata area; bounds the number of volumes.
    pub metadata_size: Bytes,
    /// What is free of it.
    pub metadata_free: Bytes,
    /// Visible volumes by name.
    pub lvs: BTreeMap<String, Lv>,
}

/// What sort of volume it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LvKind {
    /// A thin volume or thin snapshot.
    Thin {
        /// Its pool.
        pool: String,
        /// The volume it is a snapshot of, while LVM remembers it.
        origin: Option<String>,
    },
    /// A thin pool.
    ThinPool {
        /// How full its data is; unknown while it is inactive.
        data: Option<Hundredths>,
        /// How full its metadata is; unknown while it is inactive.
        metadata: Option<Hundredths>,
        /// True when its metadata must be repaired offline first.
        needs_check: bool,
        /// LVM's word for its health: empty, `out_of_data`, `metadata_read_only`, `failed`.
        health: String,
        /// The unit it allocates in.
        chunk: Bytes,
        /// What it does with discards: `ignore`, `nopassdown`, `passdown`.
        discards: String,
    },
    /// Anything else, by LVM's segment type.
    Other(String),
}

/// A logical volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lv {
    /// Its UUID.
    pub uuid: String,
    /// What sort of volume it is.
    pub kind: LvKind,
    /// Its size.
    pub size: Bytes,
    /// Its tags.
    pub tags: Tags,
    /// Whether the kernel has a device for it.
    pub active: bool,
    /// Whether something holds that device open.
    pub open: bool,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Whether LVM passes it over when it activates all volumes.
    pub skip_activation: bool,
    /// The device's major and minor number while it is active.
    pub device: Option<(u32, u32)>,
}
