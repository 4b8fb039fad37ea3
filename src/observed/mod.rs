//! What the host holds, as facts: parsed from raw tool output and configfs listings, nothing concluded.
//!
//! **Invariant:** what could not be read is [`Seen::Unreadable`], never absent; every map is ordered; no field is a guess.

mod attributes;
mod configfs_text;
mod lio;
pub mod lio_attributes;
mod lvm;
mod lvm_report;
mod qemu_report;
mod tags;
mod thin_transaction;

pub use attributes::Attributes;
pub use configfs_text::{
    TextError, parse_counter, parse_device, parse_disk_writes, parse_flag, parse_lun_directory, parse_port_group,
    parse_portal_directory, parse_session, parse_tpg_directory, parse_unit_serial,
};
pub use lio::{Acl, Backstore, DiskIo, Lio, LoginSeen, MappedLun, Session, Target, Tpg, TpgLun};
pub use lvm::{Hundredths, Lv, LvKind, Vg};
pub use lvm_report::{LV_FIELDS, REPORT_OPTIONS, ReportError, VG_FIELDS, lvs, parse_data_percent, parse_lvs, parse_vg};
pub use qemu_report::{DiskFileError, parse_disk_size};
pub use tags::Tags;
pub use thin_transaction::{NewestVolume, TRANSACTION_FIELDS, parse_newest_volumes, parse_pool_transaction};

use crate::names::{Bytes, MachineName};
use jiff::Timestamp;
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
    /// When the host was looked at.
    pub at: Timestamp,
    /// How long the host has been up, in seconds.
    pub uptime_seconds: u64,
    /// The kernel's boot id: another one means that all counters began anew.
    pub boot_id: String,
    /// The volume group; absent when LVM answered and knows none of that name.
    pub vg: Seen<Vg>,
    /// The target subsystem; absent when the kernel has none loaded and nothing can be exported yet.
    pub lio: Seen<Lio>,
    /// The text of the published boot table.
    pub published: Seen<String>,
    /// Files of the image store that a version could be filled from, by their path in the site, with their size.
    pub sources: BTreeMap<String, Seen<SourceFile>>,
    /// Files of the asset store that scripts name.
    pub assets: BTreeMap<String, Seen<Bytes>>,
    /// What is known of each machine's comings and goings.
    pub activity: BTreeMap<MachineName, Activity>,
    /// The CHAP secrets, by name alone.
    pub secrets: SecretsSeen,
}

/// The site's CHAP secrets, without any of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SecretsSeen {
    /// Machines that have one; absent when the site names no file.
    pub machines: Seen<BTreeSet<MachineName>>,
    /// Whether those that are served are these.
    pub served: ServedSecrets,
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

/// What is known of one machine's comings and goings; empty when nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Activity {
    /// When it last fetched its boot script.
    pub script_fetched: Option<Timestamp>,
    /// Since when it has a session, as far as anybody looked.
    pub session_since: Option<Timestamp>,
    /// When an operating system's session, begun after the last fetch of the script, was seen to have ended.
    pub session_ended: Option<Timestamp>,
    /// When its I/O counters were last seen to move.
    pub counters_moved: Option<Timestamp>,
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
