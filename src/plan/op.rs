//! What apply runs: operations as data.
//!
//! **Invariant:** an op says everything about one effect; nothing is decided while it is executed. It speaks of disks and targets;
//! the adapters of the store and of the exporter turn it into commands, each by one renderer. What is expected of an object that is
//! there already is its UUID: an object that was exchanged under its name stops its change.

use super::ChangeId;
use crate::boot::table::{BootMachine, BootTable};
use crate::desired::SourceFormat;
use crate::names::{Bytes, DiskId, Handle, ImageName, Iqn, Lun, LvName, MachineName, Percent, Portal, Side, VgName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One effect on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    /// An effect on disks.
    Disk(DiskOp),
    /// An effect on what is shown of them.
    Export(ExportOp),
}

/// Where the disks are: what every disk op is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Pool {
    /// The volume group.
    pub vg: VgName,
    /// The thin pool.
    pub pool: LvName,
}

/// Disks that one target shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ShownTogether {
    /// Whose.
    pub machine: MachineName,
    /// The disks, those of one boot first.
    pub disks: Vec<Handle>,
}

/// One effect on disks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DiskOp {
    /// Makes the pool.
    MakePool {
        /// Its size.
        size: Bytes,
        /// Its metadata's.
        metadata: Bytes,
        /// The unit it allocates in.
        chunk: Bytes,
        /// Its marks.
        marks: Vec<String>,
    },
    /// Removes what the making of a pool left that was cut off.
    RemoveHalfMadePool {
        /// Its UUID.
        handle: Handle,
    },
    /// Activates the pool.
    ActivatePool,
    /// Has LVM hand the pool what it still keeps for it: makes a volume and removes it again.
    Deliver {
        /// The volume, which an earlier run may have left.
        volume: LvName,
        /// Its size: one extent.
        size: Bytes,
        /// Whether an earlier run left it.
        left: Option<Handle>,
        /// Its marks.
        marks: Vec<String>,
    },
    /// Begins the record of what was offered anew, and writes its epoch on the pool.
    BeginRecord {
        /// The marks on the pool now.
        from: Vec<u64>,
        /// The epoch of the new record.
        to: u64,
        /// The store it is of.
        store: Handle,
        /// The pool's own UUID; none where this plan makes the pool.
        pool: Option<Handle>,
        /// Disks of one boot that are shown with disks of every boot, which follow them: where those are is known by the record alone
        /// after the next start of the server.
        shown: Vec<ShownTogether>,
    },
    /// Raises the epoch of the record of what was offered, there and on the pool, and has it forget disks that are no more.
    RaiseRecord {
        /// The mark on the pool now.
        from: Option<u64>,
        /// The epoch after.
        to: u64,
    },
    /// Makes an empty disk.
    Create {
        /// What it is for.
        disk: DiskId,
        /// Its size.
        size: Bytes,
        /// Its marks.
        marks: Vec<String>,
    },
    /// Fills an empty disk from a source file, in the background, and finds the file's SHA-256 meanwhile.
    Fill {
        /// The disk.
        disk: DiskId,
        /// The file: absolute, or within the image store.
        path: String,
        /// How to read it.
        format: SourceFormat,
        /// The disk's size: the disk in the file must fit.
        size: Bytes,
        /// What its SHA-256 must be, lower-case hex.
        sha256: Option<String>,
        /// Free space of the pool at which filling stops: a full pool fails every seat's writes.
        reserve: Percent,
    },
    /// Makes a filled disk a version: read-only, with the SHA-256 that was found, and marked ready last.
    Seal {
        /// The disk.
        disk: DiskId,
    },
    /// Makes a clone of a version.
    Clone {
        /// What it is for.
        disk: DiskId,
        /// The version.
        base: DiskId,
        /// The version's UUID; none where this plan makes it.
        base_handle: Option<Handle>,
        /// Its marks, but for what is known of the version only when it is made.
        marks: Vec<String>,
    },
    /// Writes marks on a disk and takes others off, at once.
    Mark {
        /// The disk.
        disk: DiskId,
        /// Its UUID; none where this plan makes or renames it.
        handle: Option<Handle>,
        /// Marks that go.
        remove: Vec<String>,
        /// Marks that come.
        add: Vec<String>,
    },
    /// Gives a disk another name.
    Rename {
        /// Its name now.
        from: DiskId,
        /// The new one.
        to: DiskId,
        /// Its UUID.
        handle: Handle,
    },
    /// Makes a disk larger.
    Grow {
        /// The disk.
        disk: DiskId,
        /// Its UUID; none where this plan makes it.
        handle: Option<Handle>,
        /// Its new size.
        to: Bytes,
    },
    /// Has a disk be activated with all others when the host starts.
    KeepActive {
        /// The disk.
        disk: DiskId,
        /// Its UUID.
        handle: Handle,
    },
    /// Makes a disk read-only.
    Protect {
        /// The disk.
        disk: DiskId,
        /// Its UUID.
        handle: Handle,
    },
    /// Gives a disk its device.
    Activate {
        /// The disk.
        disk: DiskId,
        /// Its UUID.
        handle: Handle,
    },
    /// Removes a disk with what is on it.
    Remove {
        /// The disk.
        disk: DiskId,
        /// Its UUID.
        handle: Handle,
    },
}

/// One effect on what is shown to machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ExportOp {
    /// Loads the kernel's modules and makes the fabric's directory.
    LoadKernel,
    /// Puts a target up, with the backstores that it needs.
    Build(Box<TargetPlan>),
    /// Lets machines log in, after it is on record that its disks were offered.
    Open {
        /// The target.
        target: Iqn,
        /// Whose it is.
        machine: MachineName,
        /// Its disks by their UUIDs.
        disks: Vec<Handle>,
        /// What is put on record of those that no record has.
        record: String,
    },
    /// Takes a target and its backstores down, if nobody is on it: looks, turns its portal group off, looks again, and turns it on
    /// again where its counters moved.
    Withdraw {
        /// Whose it is.
        machine: MachineName,
        /// The target as it was seen.
        target: Box<TargetSeen>,
    },
    /// Removes a backstore that no target shows.
    RemoveBackstore {
        /// Its path below `core/`.
        path: String,
    },
    /// Removes an empty directory that a run left which was cut off.
    RemoveDebris {
        /// Its path below the target subsystem.
        path: String,
    },
    /// Puts attributes back that can be changed under a session.
    Mend {
        /// Paths below the target subsystem, and their values.
        writes: Vec<(String, String)>,
    },
    /// Lets a further initiator reach a target's LUNs.
    Admit {
        /// The target.
        target: Iqn,
        /// The initiator.
        initiator: Iqn,
        /// Its LUNs.
        luns: Vec<Lun>,
    },
    /// Shows a kept disk on another target than so far; the one that had it is off.
    Move {
        /// The disk's backstore, below `core/`.
        backstore: String,
        /// The target that has it, with the LUN and the initiators that reach it.
        from: Option<(Iqn, Lun, Vec<String>)>,
        /// The target that gets it, with the LUN and the initiator.
        to: (Iqn, Lun, Iqn),
    },
}

/// Whether a portal group lets machines log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PortalGroup {
    /// It does.
    On,
    /// It does not: its disks are clean, and wait for a boot.
    Off,
}

/// A target that is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TargetPlan {
    /// The machine.
    pub machine: MachineName,
    /// The image it boots.
    pub image: ImageName,
    /// Both by the names that its disks still have on the host.
    pub named: (MachineName, ImageName),
    /// Its side.
    pub side: Side,
    /// Its name; none where it follows from the UUIDs of disks that this plan makes.
    pub name: Option<Iqn>,
    /// The disks whose UUIDs tell it from every target that had its name.
    pub own: Vec<DiskId>,
    /// Where its disks are.
    pub pool: Pool,
    /// What every name begins with.
    pub prefix: Iqn,
    /// Whether machines may log in at once.
    pub portal_group: PortalGroup,
    /// What is put on record of its disks before machines may, where no record has them: to which boot they were offered.
    pub record: String,
    /// Where it listens.
    pub portal: Portal,
    /// The initiators that may log in.
    pub initiators: Vec<Iqn>,
    /// The file with the machine's CHAP secret, where it has to prove itself.
    pub secrets: Option<String>,
    /// Its disks by number.
    pub luns: BTreeMap<Lun, LunPlan>,
    /// The mark in the alias of its backstores.
    pub mark: String,
    /// Whether what a machine discards goes back to the pool.
    pub discards: Discards,
}

/// What becomes of a machine's discards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Discards {
    /// They free space of the pool.
    Free,
    /// They are refused.
    Refused,
}

/// A disk of a target that is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct LunPlan {
    /// The disk.
    pub disk: DiskId,
    /// Its UUID; none where this plan makes it.
    pub handle: Option<Handle>,
    /// Its backstore, below `core/`.
    pub backstore: String,
    /// Whether that backstore is there already, as it should be.
    pub stands: Standing,
    /// Its unit serial number.
    pub serial: String,
}

/// Whether something is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It is, as it should be.
    Stands,
    /// It is to be made.
    New,
}

/// A target as it was seen, with all that goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TargetSeen {
    /// Its name.
    pub name: String,
    /// Its portal groups by tag.
    pub groups: BTreeMap<u16, GroupSeen>,
    /// Commands on its LUNs when the plan was made; more mean that somebody came.
    pub commands: u64,
    /// Backstores that no other target shows, below `core/`: they go with it.
    pub backstores: Vec<String>,
}

/// A portal group as it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct GroupSeen {
    /// Whether it let machines log in.
    pub state: PortalGroup,
    /// Its LUNs with their links.
    pub luns: BTreeMap<Lun, Option<String>>,
    /// Its ACLs, with their LUNs and links.
    pub acls: BTreeMap<String, BTreeMap<Lun, Option<String>>>,
    /// Its portals.
    pub portals: Vec<Portal>,
}

/// A piece of the plan, carried out in the order given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Effects on disks of several changes; the store may carry out many at once.
    Disks {
        /// Where.
        pool: Pool,
        /// Each with its change.
        ops: Vec<(ChangeId, DiskOp)>,
    },
    /// Effects on targets of several changes; those of different changes may go at once.
    Exports(Vec<(ChangeId, ExportOp)>),
    /// Makes one version: takes long, holds up nobody, and goes on in the background where somebody waits for machines meanwhile.
    Fill {
        /// Where.
        pool: Pool,
        /// Whose.
        change: ChangeId,
        /// What, in order.
        ops: Vec<DiskOp>,
    },
    /// Writes the boot table for `serve`, whole and at once.
    Publish {
        /// The change that stands for the table as a whole, when there is one.
        change: Option<ChangeId>,
        /// The table, every change of it done. The target of a kept disk that this plan makes is filled in when it is known.
        table: Box<BootTable>,
        /// What stands in it for a machine whose own change did not come to be: what was published before, or nothing.
        otherwise: Vec<(ChangeId, MachineName, Option<BootMachine>)>,
    },
}
