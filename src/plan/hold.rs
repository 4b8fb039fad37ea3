//! Why a change does not go ahead, as codes with their fields.
//!
//! **Invariant:** pure data; a reason's words are made from it in one place ([`hold_text`](super::hold_text)), and none is parsed again.

use super::Subject;
use crate::names::{DiskId, ImageName, MachineName, VersionName};
use serde::{Deserialize, Serialize};

/// Whether a change may go ahead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// It may.
    Open,
    /// It may not yet.
    Held(Hold),
}

/// Why a change does not go ahead.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "code", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Hold {
    /// Nothing proves that the machine is off.
    Occupied {
        /// Whose seat.
        machine: MachineName,
        /// What is known of it.
        sign: Sign,
    },
    /// It would lose data and the site does not consent.
    NoConsent {
        /// What to write into `policy.may-destroy`.
        consent: String,
    },
    /// More would lose data than the site allows.
    TooMuch {
        /// How many would, with those that have since the allowance was given.
        destroys: u32,
        /// How many may.
        allowed: u32,
    },
    /// Disks that were made from it are still there.
    HasClones {
        /// One of them.
        clone: DiskId,
        /// How many.
        count: u32,
    },
    /// The store has too little free space, or is in bad health.
    Pool {
        /// What is the matter with it.
        problem: PoolProblem,
    },
    /// Something of that name stands there and is not ours, or something that is not ours holds it.
    Foreign {
        /// What it is.
        what: String,
    },
    /// Something with our mark is not what its marks say.
    Stray {
        /// Its name in the store.
        name: String,
        /// What is wrong, in a phrase.
        what: String,
    },
    /// Something could not be read, so nothing may be concluded from it.
    Unreadable {
        /// What, and why.
        what: String,
    },
    /// A source file is missing or does not fit.
    Source {
        /// Which.
        path: String,
        /// What is the matter with it.
        problem: SourceProblem,
    },
    /// A machine's secret is missing.
    Secret {
        /// Whose.
        machine: MachineName,
        /// The file that should have it.
        file: String,
    },
    /// The version's name stood for other content before.
    OtherContent {
        /// What bears witness.
        witness: DiskId,
        /// Its SHA-256 or source.
        was: String,
        /// What the site says.
        is: String,
    },
    /// Objects of another backing, group, pool or prefix carry our mark; they would be left behind.
    LeftBehind {
        /// What, and where.
        what: String,
        /// How many.
        count: u32,
    },
    /// The version is being filled.
    Filling {
        /// Which.
        image: ImageName,
        /// Of the image.
        version: VersionName,
    },
    /// It failed and gets another attempt.
    Backoff {
        /// How often it failed in a row.
        failures: u32,
        /// With what, the last time.
        error: String,
    },
    /// It waits for another change that is held.
    After {
        /// What that one is about.
        subject: Box<Subject>,
    },
    /// It was left out by `--target`.
    NotTargeted,
}

/// What is known of a machine that may be at work.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "sign", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Sign {
    /// It has a session.
    Session {
        /// From this address.
        address: String,
    },
    /// It used the disk, and nothing proves that it is off now.
    MayBeOn,
    /// It cannot be told.
    Unreadable {
        /// Why.
        what: String,
    },
}

/// What is the matter with the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "problem", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum PoolProblem {
    /// There is no such volume group.
    NoGroup {
        /// Its name.
        group: String,
        /// Whether a devices file may hide it from LVM.
        hidden: Hidden,
    },
    /// There is no such thin pool, and none may be made.
    NoPool {
        /// Its name.
        pool: String,
    },
    /// There is no room for a pool.
    NoRoom {
        /// The group.
        group: String,
        /// What is free of it.
        free: String,
    },
    /// It must be repaired.
    Sick {
        /// The pool.
        pool: String,
        /// In which state it is.
        state: String,
    },
    /// It is as full as the site allows.
    Full {
        /// The pool.
        pool: String,
        /// How full, in hundredths of a per cent.
        data: u32,
        /// The reserve, in per cent.
        reserve: u8,
    },
    /// Its metadata is nearly full.
    MetadataFull {
        /// The pool.
        pool: String,
        /// How full, in per cent.
        metadata: u32,
    },
    /// It was inactive: how full it is shows once it is active.
    WasInactive {
        /// The pool.
        pool: String,
    },
    /// The group's metadata area will not hold so many volumes.
    MetadataArea {
        /// The group.
        group: String,
        /// What is free of it.
        free: String,
        /// For how many more volumes.
        volumes: u64,
    },
}

/// Whether a devices file may hide a volume group (lvmdevices(8)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hidden {
    /// No devices file is in use.
    No,
    /// One is.
    Possibly,
}

/// What is the matter with a source file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "problem", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum SourceProblem {
    /// It is not in the image store.
    Absent,
    /// It is still being written.
    Unsettled,
    /// It cannot be read.
    Unreadable {
        /// Why.
        what: String,
    },
    /// It holds no disk, or an empty one.
    Empty,
    /// The disk in it is larger than the image says.
    TooLarge {
        /// The disk's size.
        disk: String,
        /// The image's.
        size: String,
    },
    /// The store has no room for it.
    NoRoom {
        /// What it takes.
        takes: String,
        /// What there is above the reserve.
        spare: String,
    },
}
