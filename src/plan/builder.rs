//! Intents while they are gathered and gated: by subject, in any order, with what each is to do.
//!
//! **Invariant:** a subject has at most one intent; nothing is turned into operations before every gate is final, so a held intent
//! leaves nothing of its work in another's.

use super::{Action, DiskOp, Disruption, ExportOp, Gate, Hold, Note, Purpose, Reason, Subject, TargetPlan, TargetSeen};
use crate::boot::table::BootMachine;
use crate::names::{DiskId, Handle};
use std::collections::{BTreeMap, BTreeSet};

/// What an intent does, before it is known whether it may.
#[derive(Debug)]
pub(super) enum Work {
    /// Loads the kernel's modules.
    Kernel,
    /// Brings the pool into order, before anything else.
    Pool(Vec<DiskOp>),
    /// Makes a version, which takes long.
    Version(Vec<DiskOp>),
    /// Writes on disks what protects them or their place; disturbs nobody.
    Protect(Vec<DiskOp>),
    /// Alters disks; disturbs nobody.
    Alter(Vec<DiskOp>),
    /// Makes the disks of a side, and its target.
    MakeSide(Vec<DiskOp>, Option<Box<TargetPlan>>),
    /// Shows disks that are there, once they are active and backstores that hold them and are not as they should be are gone.
    Show(Vec<String>, Vec<DiskOp>, Box<TargetPlan>),
    /// Takes a target down, and shows its disks anew.
    ShowAnew(Box<TargetSeen>, Vec<String>, Vec<DiskOp>, Box<TargetPlan>),
    /// Puts back what can be under a session.
    Live(Vec<ExportOp>),
    /// Takes a target down and removes disks.
    RemoveSide(Option<Box<TargetSeen>>, Vec<String>, Vec<(DiskId, Handle)>),
    /// Takes a target down and gives its disks another name.
    Rename(Option<Box<TargetSeen>>, Vec<String>, Vec<DiskOp>),
    /// Removes what a run left that was cut off.
    Debris(ExportOp),
    /// Removes versions, after everything that was made from them.
    RemoveVersion(DiskId, Handle),
    /// Says something else to a machine; with what it was told before.
    Boot(Option<Box<BootMachine>>),
    /// Says something else about networks.
    Table,
}

/// An intent; its place in the plan is not known yet.
#[derive(Debug)]
pub(super) struct Intent {
    pub action: Action,
    pub detail: String,
    pub reason: Reason,
    pub disruption: Disruption,
    pub purpose: Purpose,
    pub gate: Gate,
    pub after: BTreeSet<Subject>,
    pub handles: BTreeSet<Handle>,
    pub diff: Vec<String>,
    pub work: Work,
}

impl Intent {
    pub fn new(action: Action, detail: impl Into<String>, reason: Reason, work: Work) -> Self {
        Self {
            action,
            detail: detail.into(),
            reason,
            disruption: Disruption::None,
            purpose: Purpose::Site,
            gate: Gate::Open,
            after: BTreeSet::new(),
            handles: BTreeSet::new(),
            diff: Vec::new(),
            work,
        }
    }

    pub fn disrupting(mut self, disruption: Disruption) -> Self {
        self.disruption = disruption;
        self
    }

    pub fn upkeep(mut self) -> Self {
        self.purpose = Purpose::Upkeep;
        self
    }

    pub fn touching<'h>(mut self, handles: impl IntoIterator<Item = &'h Handle>) -> Self {
        self.handles.extend(handles.into_iter().cloned());
        self
    }

    pub fn after(mut self, subjects: impl IntoIterator<Item = Subject>) -> Self {
        self.after.extend(subjects);
        self
    }

    /// Holds the intent for this reason, unless it is held for another already.
    pub fn hold(&mut self, hold: Hold) {
        if self.is_open() {
            self.gate = Gate::Held(hold);
        }
    }

    pub fn held(mut self, hold: Option<Hold>) -> Self {
        if let Some(hold) = hold {
            self.hold(hold);
        }
        self
    }

    pub fn is_open(&self) -> bool {
        self.gate == Gate::Open
    }
}

/// The plan while it is being gathered.
#[derive(Debug, Default)]
pub(super) struct PlanBuilder {
    pub intents: BTreeMap<Subject, Intent>,
    pub notes: BTreeSet<Note>,
}

impl PlanBuilder {
    pub fn note(&mut self, about: impl Into<String>, message: impl Into<String>) {
        self.notes.insert(Note { about: about.into(), message: message.into() });
    }

    /// Adds what is to become of a subject; held where something that it waits for is held by now.
    pub fn add(&mut self, subject: Subject, mut intent: Intent) {
        let held = intent.after.iter().find(|after| self.intents.get(after).is_some_and(|other| !other.is_open()));
        if let (Some(held), true) = (held, intent.is_open()) {
            intent.gate = Gate::Held(Hold::After { subject: Box::new(held.clone()) });
        }
        let former = self.intents.insert(subject, intent);
        debug_assert!(former.is_none(), "two intents of one subject: {former:?}");
    }

    /// Whether there is an open intent of this subject.
    pub fn is_open(&self, subject: &Subject) -> bool {
        self.intents.get(subject).is_some_and(Intent::is_open)
    }

    /// Holds everything that waits for something held, until nothing more is.
    pub fn hold_what_waits(&mut self) {
        loop {
            let held: BTreeSet<Subject> = self.intents.iter().filter(|(_, i)| !i.is_open()).map(|(s, _)| s.clone()).collect();
            let mut settled = true;
            for intent in self.intents.values_mut().filter(|intent| intent.is_open()) {
                if let Some(subject) = intent.after.intersection(&held).next() {
                    intent.gate = Gate::Held(Hold::After { subject: Box::new(subject.clone()) });
                    settled = false;
                }
            }
            if settled {
                return;
            }
        }
    }
}
