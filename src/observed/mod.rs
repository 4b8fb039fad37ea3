//! What the host holds, as facts: parsed from raw tool output and configfs listings, nothing concluded.
//!
//! **Invariant:** what could not be read is [`Seen::Unreadable`], never absent; every map is ordered; no field is a guess.

mod attributes;
mod configfs_text;
mod lio;
pub mod lio_attributes;
mod lvm;
mod lvm_report;
pub mod occupancy;
mod offered;
mod qemu_report;
mod stock;
mod tags;
mod thin_transaction;

pub use attributes::Attributes;
pub use configfs_text::{
    TextError, parse_counter, parse_device, parse_disk_writes, parse_flag, parse_lun_directory, parse_port_group,
    parse_portal_directory, parse_session, parse_tpg_directory, parse_unit_serial,
};
pub use lio::{Acl, Backstore, DiskIo, Lio, LoginSeen, MappedLun, Session, Target, Tpg, TpgLun};
pub use lvm::{Hundredths, Lv, LvKind, Vg};
pub use lvm_report::{
    LV_FIELDS, REPORT_OPTIONS, ReportError, VG_FIELDS, lvs, parse_data_percent, parse_groups, parse_lvs, parse_vg,
};
pub use offered::{
    Boot, Entry as OfferedEntry, Known as KnownOffered, Offer, Offered, OfferedError, is_space, parse_offered, server_boot,
};
pub use qemu_report::{DiskFileError, parse_disk_size};
pub use stock::{Access, Disk, Filling, HeldOpen, Marks, Naming, Power, Stamp, Stock, Stray, epoch_of, epochs_of, is_newer_than};
pub use tags::{Tags, Values};
pub use thin_transaction::{NewestVolume, TRANSACTION_FIELD, parse_newest_volumes, parse_pool_transaction};

use crate::names::{Bytes, ImageName, MachineName, Mono};
use jiff::Timestamp;
use occupancy::Occupancy;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What looking at something gave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen<T> {
    /// It was looked for and is not there.
    Absent,
    /// It is there.
    Present(T),
    /// It could not be looked at, and why; says nothing about whether it is there.
    Unreadable(String),
}

impl<T> Seen<T> {
    /// The thing, if it is there.
    pub fn present(&self) -> Option<&T> {
        match self {
            Self::Present(thing) => Some(thing),
            Self::Absent | Self::Unreadable(_) => None,
        }
    }
}

/// Everything a plan needs to know of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Observation {
    /// When the host was looked at; shown, and never decided by.
    pub at: Timestamp,
    /// The same by the host's own clock.
    pub now: Mono,
    /// The kernel's boot id: another one means that all counters and that clock began anew.
    pub boot_id: String,
    /// The volume group; absent when LVM answered and knows none of that name.
    pub vg: Seen<Vg>,
    /// Other volume groups that hold volumes with the site's mark, with how many.
    pub elsewhere: BTreeMap<String, u32>,
    /// Whether LVM uses a devices file, which may hide a group.
    pub devices_file: DevicesFile,
    /// The target subsystem; absent when the kernel has none loaded and nothing can be exported yet.
    pub lio: Seen<Lio>,
    /// Writes to the devices of volumes since they were made, by `major:minor`.
    pub written: BTreeMap<String, u64>,
    /// The record of what was offered.
    pub offered: Seen<Offered>,
    /// What an agent knows of who is at work; none where no agent runs.
    pub occupancy: Option<Occupancy>,
    /// Machines whose boot waits for a disk, by what they boot.
    #[serde(default)]
    pub waiting: BTreeMap<MachineName, Waiting>,
    /// Changes that failed and are not to be tried again yet, by the words for what they are about.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paused: BTreeMap<String, Paused>,
    /// The text of the published boot table.
    pub published: Seen<String>,
    /// Files of the image store that a version could be filled from, by their path in the site, with their size.
    pub sources: BTreeMap<String, Seen<SourceFile>>,
    /// Versions that are being filled now, by the names of their volumes.
    pub filling: BTreeSet<String>,
    /// Files of the asset store that scripts name.
    pub assets: BTreeMap<String, Seen<Bytes>>,
    /// The CHAP secrets, by name alone.
    pub secrets: SecretsSeen,
    /// What the journal of commands says.
    pub commands: Seen<Journal>,
}

impl Observation {
    /// Whether a boot of a machine waits for a disk of an image.
    pub fn is_awaited(&self, machine: &MachineName, image: &ImageName) -> bool {
        self.waiting.get(machine).is_some_and(|waiting| waiting.images.contains_key(image))
    }
}

/// A boot that waits for a disk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Waiting {
    /// What it may boot and has no disk for, by when its firmware asked for an address: what showed no sign of life since is what it
    /// used before.
    pub images: BTreeMap<ImageName, Mono>,
}

impl Waiting {
    /// When its firmware asked last.
    pub fn intent(&self) -> Option<Mono> {
        self.images.values().max().copied()
    }
}

/// A change that failed and is not to be tried again yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Paused {
    /// How often it failed in a row.
    pub failures: u32,
    /// With what, the last time.
    pub error: String,
}

/// Whether LVM uses a devices file (lvmdevices(8)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DevicesFile {
    /// It does.
    InUse,
    /// It does not.
    None,
}

/// What is neither commit nor mark: orders of people, and what was destroyed since the site last said how much may be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Journal {
    /// The `max-destroy` that the counting goes with.
    pub allowance: Option<u32>,
    /// How many kept disks and versions lost their data since it was given.
    pub destroyed: u32,
    /// Machines that a person declared to be off in this boot of the server, and when: what shows itself later is on again.
    pub forced: BTreeMap<MachineName, Mono>,
}

/// The site's CHAP secrets, without any of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SecretsSeen {
    /// Machines that have one; absent when the site names no file.
    pub machines: Seen<BTreeSet<MachineName>>,
    /// What they were read from, where the site's own file cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stand_in: Option<StandIn>,
    /// Whether those that are served are these.
    pub served: ServedSecrets,
}

/// The secrets that are served, in place of a file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StandIn {
    /// Where they lie.
    pub file: String,
    /// Why the site's own file cannot be read.
    pub why: String,
}

/// The secrets that are served, against those of the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServedSecrets {
    /// The same, or neither is there.
    Same,
    /// Others, or they cannot be read.
    Other,
}

/// A file of the image store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SourceFile {
    /// Its own size.
    pub size: Bytes,
    /// What it takes of its file system: less than its size where it is sparse.
    pub allocated: Bytes,
    /// The size of the disk in it; the same for raw files.
    pub disk_size: Seen<Bytes>,
    /// Which file it is, and when it changed last.
    pub stamp: FileStamp,
    /// Whether it is whole, as far as one look can tell.
    pub settled: Settled,
}

impl SourceFile {
    /// Whether it is whole, by this look and an earlier one so long before: where the kernel cannot tell who writes, a file that did
    /// not change from one look to another counts as whole, whatever the clocks say.
    pub fn settled_since(&self, before: &Self, apart: Duration) -> Settled {
        match self.settled {
            Settled::Changed if self.stamp == before.stamp && apart >= BETWEEN_LOOKS => Settled::Yes,
            settled => settled,
        }
    }
}

/// How far apart two looks at a file must be to tell that nobody writes it.
const BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// One file in one state: two that are equal held the same bytes, as far as the file system tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileStamp {
    /// Its file system.
    pub device: u64,
    /// Its inode there.
    pub inode: u64,
    /// Its size.
    pub size: Bytes,
    /// When its content was last changed, which anybody can set.
    pub modified: Timestamp,
    /// When anything about it was last changed, which nobody can set but by the clock.
    pub status_changed: Timestamp,
}

impl FileStamp {
    /// When it was last changed, however it says so.
    pub fn changed(&self) -> Timestamp {
        self.modified.max(self.status_changed)
    }
}

/// Who has a file open for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Writers {
    /// Nobody.
    None,
    /// Somebody.
    Some,
    /// This file system cannot tell.
    Unknown,
}

/// Whether a file is whole, or still being copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Settled {
    /// Nobody writes it.
    Yes,
    /// Somebody has it open for writing.
    BeingWritten,
    /// It changed a moment ago, and nobody can tell whether more comes.
    Changed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_did_not_change_from_look_to_look_is_whole_unless_somebody_writes_it() {
        let stamp = FileStamp {
            device: 1,
            inode: 2,
            size: Bytes(3),
            modified: Timestamp::UNIX_EPOCH,
            status_changed: Timestamp::UNIX_EPOCH,
        };
        let seen = |settled, size| SourceFile {
            size: Bytes(size),
            allocated: Bytes(size),
            disk_size: Seen::Present(Bytes(size)),
            stamp: FileStamp { size: Bytes(size), ..stamp },
            settled,
        };
        let (before, long, short) = (seen(Settled::Changed, 3), Duration::from_secs(5), Duration::from_secs(4));
        assert_eq!(seen(Settled::Changed, 3).settled_since(&before, long), Settled::Yes);
        assert_eq!(seen(Settled::Changed, 3).settled_since(&before, short), Settled::Changed);
        assert_eq!(seen(Settled::Changed, 4).settled_since(&before, long), Settled::Changed);
        assert_eq!(seen(Settled::BeingWritten, 3).settled_since(&before, long), Settled::BeingWritten);
        assert_eq!(seen(Settled::Yes, 4).settled_since(&before, short), Settled::Yes);
    }
}
