//! Changes while they are being gathered: by subject, in any order, with what each will run.
//!
//! **Invariant:** a subject has at most one change; a change that is held runs nothing.

use super::op::Op;
use super::{Action, Change, Disruption, Gate, Hold, Note, Subject};
use crate::boot::table::BootMachine;
use std::collections::{BTreeMap, BTreeSet};

/// What a change runs, by the stage it belongs to.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Before any seat is touched: the kernel's modules, the pool, the filling of versions.
    pub early: Vec<Op>,
    /// LVM commands that write down on a clone that it was used, before its counters go.
    pub admits: Vec<Vec<String>>,
    /// Takes targets and backstores down.
    pub teardown: Vec<Op>,
    /// LVM commands that give a volume another name.
    pub renames: Vec<Vec<String>>,
    /// Volumes to remove.
    pub removes: Vec<String>,
    /// LVM commands that make or alter volumes.
    pub creates: Vec<Vec<String>>,
    /// Volumes to activate.
    pub activates: Vec<String>,
    /// Volumes to remove when the clones of them are gone.
    pub late_removes: Vec<String>,
    /// Puts targets and backstores up.
    pub build: Vec<Op>,
    /// Whether a clone is made anew for no other reason than that it was used.
    pub is_renewal: bool,
    /// The machine's entry as it was published before, for a boot change.
    pub published: Option<BootMachine>,
}

/// A change with what it runs; its place in the plan is not known yet.
#[derive(Debug)]
pub(super) struct Drafted {
    pub action: Action,
    pub detail: String,
    pub reason: String,
    pub disruption: Disruption,
    pub gate: Gate,
    pub after: BTreeSet<Subject>,
    /// Those of `after` that it does not wait for where they are held.
    pub regardless: BTreeSet<Subject>,
    pub diff: Vec<String>,
    pub work: Work,
}

impl Drafted {
    pub fn new(action: Action, detail: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            action,
            detail: detail.into(),
            reason: reason.into(),
            disruption: Disruption::None,
            gate: Gate::Open,
            after: BTreeSet::new(),
            regardless: BTreeSet::new(),
            diff: Vec::new(),
            work: Work::default(),
        }
    }

    pub fn disrupting(mut self, disruption: Disruption) -> Self {
        self.disruption = disruption;
        self
    }

    /// Holds the change for this reason, unless it is held for another already.
    pub fn hold(&mut self, hold: Hold) {
        if self.is_open() {
            self.gate = Gate::Held(hold);
        }
    }

    pub fn is_open(&self) -> bool {
        self.gate == Gate::Open
    }
}

/// The plan while it is being gathered.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub changes: BTreeMap<Subject, Drafted>,
    pub notes: BTreeSet<Note>,
    /// Clones that were used and are made anew when their machine is off, as `machine.image`.
    pub due: BTreeSet<String>,
}

impl Draft {
    pub fn note(&mut self, about: impl Into<String>, message: impl Into<String>) {
        self.notes.insert(Note { about: about.into(), message: message.into() });
    }

    pub fn add(&mut self, subject: Subject, change: Drafted) {
        let former = self.changes.insert(subject, change);
        debug_assert!(former.is_none(), "two changes of one subject: {former:?}");
    }

    /// Holds everything that waits for something held, until nothing more is.
    pub fn hold_what_waits(&mut self) {
        loop {
            let held: BTreeSet<Subject> = self.changes.iter().filter(|(_, c)| !c.is_open()).map(|(s, _)| s.clone()).collect();
            let mut settled = true;
            for change in self.changes.values_mut().filter(|change| change.is_open()) {
                let Drafted { after, regardless, .. } = &mut *change;
                after.retain(|subject| !(regardless.contains(subject) && held.contains(subject)));
                if let Some(subject) = change.after.intersection(&held).next() {
                    change.gate = Gate::Held(Hold::After { subject: subject.to_string() });
                    settled = false;
                }
            }
            if settled {
                return;
            }
        }
    }
}

impl Drafted {
    /// The change as the plan shows it; its dependencies by their place.
    pub fn into_change(self, subject: Subject, after: Vec<super::ChangeId>) -> (Change, Work) {
        let change = Change {
            subject,
            action: self.action,
            detail: self.detail,
            reason: self.reason,
            disruption: self.disruption,
            gate: self.gate,
            after,
            diff: self.diff,
        };
        (change, self.work)
    }
}
