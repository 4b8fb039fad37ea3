//! The plan as a document.
//!
//! **Invariant:** every change says what, why, what it does to people and data, and whether it may go ahead; each reason is a code
//! with its fields, and its words are made from them in one place. The steps do nothing that no change says.

use super::{Gate, Hold, Step};
use crate::names::{Handle, ImageName, MachineName, Side, SiteName, VersionName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the plan document.
pub const VERSION: u32 = 2;

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
    /// What people call the images whose versions change, where it is another thing than their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub titles: BTreeMap<ImageName, String>,
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
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Subject {
    /// The kernel's target subsystem.
    Kernel,
    /// What holds the disks: the thin pool.
    Pool {
        /// Its name in the store: `cafe/pool`.
        name: String,
    },
    /// A version of an image.
    Version {
        /// The image.
        image: ImageName,
        /// The version.
        version: VersionName,
    },
    /// A seat's side: the disks it has for itself, and its target.
    Side {
        /// The machine.
        machine: MachineName,
        /// The image it boots.
        image: ImageName,
        /// Which side.
        side: Side,
    },
    /// A disk that a machine has at every boot.
    Disk {
        /// The machine.
        machine: MachineName,
        /// The image.
        image: ImageName,
        /// Its letter.
        side: Side,
    },
    /// What a run that was cut off left in the target subsystem.
    Debris {
        /// Its path.
        path: String,
    },
    /// A machine's entry in the boot table.
    Boot {
        /// The machine.
        machine: MachineName,
    },
    /// The rest of the boot table: networks and addresses.
    Table,
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
    /// Another takes its place.
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
    /// A session on it would end; it is done only where none can be.
    DropsSession,
    /// What was written to it is gone, as its policy says.
    Resets,
    /// What was kept on it is gone.
    LosesData,
}

/// Whether a change is the operator's, or the daily work that every boot makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// The site asks for it, or somebody changed the host.
    Site,
    /// A used disk goes, a clean one is made.
    Upkeep,
}

/// Why a change is made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "code", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Reason {
    /// The site has it and the host does not.
    Wanted,
    /// The host has it and the site does not.
    Unwanted,
    /// A machine booted, and its next boot needs a clean disk.
    NextBoot,
    /// The image's current version changed: the next boot gets it.
    CurrentChanged {
        /// From this.
        from: Option<VersionName>,
        /// To this.
        to: VersionName,
    },
    /// It was used and its machine has moved on or is off.
    Used {
        /// What proves that.
        proof: Proof,
    },
    /// It was never used and is not needed any more.
    NeverUsed,
    /// A run was cut off before it was whole.
    CutOff,
    /// The kernel shows nothing of it: the server started, or somebody took it down.
    NotShown,
    /// Something of it is not as it should be.
    Differs {
        /// What, as the kernel or the store names it.
        what: String,
    },
    /// The site gave it another name.
    Moved {
        /// The former one.
        from: String,
    },
    /// How it is reset changed: from now on it is kept.
    Kept,
    /// The image grew.
    Grew {
        /// From this size.
        from: String,
        /// To this.
        to: String,
    },
    /// It is inactive.
    Inactive,
    /// There is no record of what was offered that goes with this store.
    NoRecord,
    /// The record of what was offered is in the epoch of an earlier start of the server, or of an earlier day.
    OldEpoch,
    /// LVM keeps something for the pool that was cut off.
    Pending,
    /// The boot table does not say this yet.
    Unpublished {
        /// What is new.
        what: String,
    },
}

/// What proves that nobody is at work on a disk.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "proof", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Proof {
    /// An operating system of its machine runs from a later disk, and this one is still.
    Moved,
    /// The machine's firmware asked for an address after the disk fell silent, and boots again.
    BootIntent,
    /// A power driver says that it is off.
    PoweredOff,
    /// It was offered and silent for as long as the site says.
    Quiet,
    /// A person said so.
    Forced,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// What it is about.
    pub subject: Subject,
    /// What happens to it.
    pub action: Action,
    /// What it is, in the field's units: `48 MiB from alpha.raw`.
    pub detail: String,
    /// Why.
    pub reason: Reason,
    /// What it does to people and data.
    pub disruption: Disruption,
    /// How many kept disks and versions lose their data by it.
    pub loses: u32,
    /// Whether it is the operator's or daily work.
    pub purpose: Purpose,
    /// Whether it may go ahead.
    pub gate: Gate,
    /// Changes that must be done before it.
    pub after: Vec<ChangeId>,
    /// The objects it touches, by their UUIDs: another one under the same name makes a saved plan stale.
    pub handles: Vec<Handle>,
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
    /// It goes on by itself, or waits for what does.
    Background,
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

impl Plan {
    /// Changes that may go ahead.
    pub fn open(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.is_open())
    }

    /// Changes that wait for something, with what they wait for; what `--target` left out is not among them.
    pub fn held(&self) -> impl Iterator<Item = (&Change, &Hold)> {
        self.changes.iter().filter_map(|change| match &change.gate {
            Gate::Held(hold) if *hold != Hold::NotTargeted => Some((change, hold)),
            Gate::Held(_) | Gate::Open => None,
        })
    }

    /// Whether nothing is left to do; held changes may remain.
    pub fn is_converged(&self) -> bool {
        self.open().next().is_none()
    }
}

impl Report {
    /// Of a plan of which nothing was begun, and why.
    pub fn of_nothing(plan: &Plan, why: &str) -> Self {
        let change = |(at, change): (usize, &Change)| {
            change.is_open().then(|| (ChangeId(at as u32), change.subject.clone(), Outcome::Failed(why.to_owned())))
        };
        let outcomes = plan.changes.iter().enumerate().filter_map(change).collect();
        Self { version: VERSION, revision: plan.revision.clone(), outcomes }
    }

    /// How many kept disks and versions of the site lost their data when this plan was carried out.
    pub fn destroyed(&self, plan: &Plan) -> u32 {
        let done = self.outcomes.iter().filter(|(_, _, outcome)| *outcome == Outcome::Done);
        let changes = done.filter_map(|(id, _, _)| plan.changes.get(id.0 as usize));
        changes.filter(|change| change.purpose == Purpose::Site).map(|change| change.loses).sum()
    }
}

impl Change {
    /// Whether it may go ahead.
    pub fn is_open(&self) -> bool {
        self.gate == Gate::Open
    }
}

impl Subject {
    /// A version.
    pub fn version(image: &ImageName, version: &VersionName) -> Self {
        Self::Version { image: image.clone(), version: version.clone() }
    }

    /// A side of a seat.
    pub fn side(machine: &MachineName, image: &ImageName, side: Side) -> Self {
        Self::Side { machine: machine.clone(), image: image.clone(), side }
    }

    /// The machine it concerns, if it is one machine's.
    pub fn machine(&self) -> Option<&MachineName> {
        match self {
            Self::Side { machine, .. } | Self::Disk { machine, .. } | Self::Boot { machine } => Some(machine),
            Self::Kernel | Self::Pool { .. } | Self::Version { .. } | Self::Debris { .. } | Self::Table => None,
        }
    }
}
