//! The plan as a document.
//!
//! **Invariant:** every change says what, why, what it disrupts, and whether it may go ahead; the steps do nothing that no
//! change says.

use super::Step;
use crate::names::{LvName, MachineName, SiteName, VgName};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The version of the plan document.
pub const VERSION: u32 = 1;

/// A change's place in [`Plan::changes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ChangeId(pub u32);

/// Ordered changes that make the host what the site says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// [`VERSION`].
    pub version: u32,
    /// The site.
    pub site: SiteName,
    /// The commit, or `uncommitted`, with its subject line.
    pub revision: Revision,
    /// What is to change, in the order it is done.
    pub changes: Vec<Change>,
    /// What the operator should know though nothing changes because of it.
    pub notes: Vec<Note>,
    /// What apply runs; nothing of a held change.
    pub steps: Vec<Step>,
}

/// Which state of the site a plan is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Revision {
    /// The commit's full id, or `uncommitted`.
    pub id: String,
    /// The first line of its message; empty when uncommitted.
    pub subject: String,
}

/// What a change is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The kernel's target subsystem.
    Kernel,
    /// The thin pool.
    Pool(VgName, LvName),
    /// A volume, ours by its tags.
    Volume(VgName, LvName),
    /// A backstore by its path below `core/`.
    Backstore(String),
    /// A target by its name.
    Target(String),
    /// A machine's entry in the boot table.
    Boot(MachineName),
    /// The rest of the boot table: networks and addresses.
    Table,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel => f.write_str("kernel  target subsystem"),
            Self::Pool(vg, lv) => write!(f, "pool    {vg}/{lv}"),
            Self::Volume(vg, lv) => write!(f, "volume  {vg}/{lv}"),
            Self::Backstore(name) => write!(f, "disk    {name}"),
            Self::Target(name) => write!(f, "target  {name}"),
            Self::Boot(machine) => write!(f, "boot    {machine}"),
            Self::Table => write!(f, "boot    table"),
        }
    }
}

/// What happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is made.
    Create,
    /// It is altered where it stands.
    Alter,
    /// It gets another name and keeps its data.
    Rename,
    /// It is removed and made anew.
    Replace,
    /// It is removed.
    Remove,
}

/// What a change does to people and data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Disruption {
    /// Nothing.
    None,
    /// A session on it would end; it is done only while there is none.
    DropsSession,
    /// What was written to it is gone.
    DestroysData,
}

/// Whether a change may go ahead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// It may.
    Open,
    /// It may not yet.
    Held(Hold),
}

/// Why a change does not go ahead, as data.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// The seat is in use.
    InUse {
        /// Whose seat.
        machine: MachineName,
        /// The sign of use: "has a session since 10:32".
        sign: String,
    },
    /// It would destroy data and the site does not consent.
    NoConsent {
        /// What to write into `policy.may-destroy`.
        consent: String,
    },
    /// The plan destroys more than the site allows at once.
    TooMuch {
        /// How many it destroys.
        destroys: u32,
        /// How many it may.
        allowed: u32,
    },
    /// Clones of it are still there.
    HasClones {
        /// One of them, and how many in all.
        clone: String,
        /// How many.
        count: u32,
    },
    /// The pool has too little free space, or is in bad health.
    Pool {
        /// What is the matter with it and the mend.
        reason: String,
    },
    /// Something of that name stands there and is not ours.
    Foreign {
        /// What it is.
        what: String,
    },
    /// Something could not be read, so nothing may be concluded from it.
    Unreadable {
        /// What, and why.
        what: String,
    },
    /// A source file is missing or does not fit.
    Source {
        /// What is the matter with it.
        reason: String,
    },
    /// It waits for another change that is held.
    After {
        /// What that one is about.
        subject: String,
    },
    /// It was left out by `--target`.
    NotTargeted,
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { machine, sign } => write!(f, "{machine} {sign}"),
            Self::NoConsent { consent } => {
                write!(f, "destroys data; to consent, add {consent:?} to may-destroy under [policy] in site.toml")
            }
            Self::TooMuch { destroys, allowed } => {
                write!(f, "the plan destroys {destroys} volumes and max-destroy under [policy] allows {allowed}")
            }
            Self::HasClones { clone, count } => write!(f, "{count} clones of it remain, {clone} among them"),
            Self::Pool { reason } | Self::Source { reason } => f.write_str(reason),
            Self::Foreign { what } => write!(f, "{what} is there and not ours"),
            Self::Unreadable { what } => write!(f, "unreadable: {what}"),
            Self::After { subject } => write!(f, "waits for {subject}"),
            Self::NotTargeted => f.write_str("not targeted"),
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// What it is about.
    pub subject: Subject,
    /// What happens to it.
    pub action: Action,
    /// What it is, in the plan's third column: `clone of win11@2026-11, 64 GiB`.
    pub detail: String,
    /// Why.
    pub reason: String,
    /// What it does to people and data.
    pub disruption: Disruption,
    /// Whether it may go ahead.
    pub gate: Gate,
    /// Changes that must be done before it.
    pub after: Vec<ChangeId>,
    /// A text diff, line by line, where there is one.
    pub diff: Vec<String>,
}

/// What the operator should know though nothing changes because of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Note {
    /// What it is about.
    pub about: String,
    /// What to know, and the mend.
    pub message: String,
}

/// What became of one change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is done.
    Done,
    /// It was not tried, because of this.
    Skipped(String),
    /// It failed, with this error.
    Failed(String),
    /// The kernel has not let go of it within the deadline; it may yet come to be.
    Stuck(String),
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// The version of this document.
    pub version: u32,
    /// The revision that was applied.
    pub revision: Revision,
    /// One entry for each change that was not held, in the plan's order.
    pub outcomes: Vec<(ChangeId, Subject, Outcome)>,
}
