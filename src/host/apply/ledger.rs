//! What became of each change so far.
//!
//! **Invariant:** a change is done only if nothing of it failed and everything it waits for was done; an outcome that is not
//! [`Outcome::Done`] is never taken back.

use crate::plan::{Change, ChangeId, Gate, Outcome, Plan, Subject};
use std::collections::BTreeMap;

/// What is said of a change that goes on by itself.
const BACKGROUND: &str = "goes on in the background";

pub(super) struct Ledger<'a> {
    changes: &'a [Change],
    /// What went wrong; a change that is not here has gone well so far.
    troubles: BTreeMap<ChangeId, Outcome>,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self { changes: &plan.changes, troubles: BTreeMap::new() }
    }

    fn change(&self, id: ChangeId) -> Option<&'a Change> {
        self.changes.get(id.0 as usize)
    }

    /// What a change is about, on one line.
    pub(super) fn label(&self, id: ChangeId) -> String {
        self.change(id).map_or_else(|| format!("change {}", id.0), |change| change.subject.to_string())
    }

    /// Changes that must be done before this one.
    pub(super) fn after(&self, id: ChangeId) -> &'a [ChangeId] {
        self.change(id).map_or(&[], |change| &change.after)
    }

    /// Whether work on a change may go on; writes down why not.
    pub(super) fn may_go_ahead(&mut self, id: ChangeId) -> bool {
        if self.is_held(id) || self.troubles.contains_key(&id) {
            return false;
        }
        match self.after(id).iter().find_map(|before| self.obstacle(*before)) {
            Some(because) if because == BACKGROUND => {
                self.troubles.insert(id, Outcome::Background);
                false
            }
            Some(because) => {
                self.troubles.insert(id, Outcome::Skipped(because));
                false
            }
            None => true,
        }
    }

    fn is_held(&self, id: ChangeId) -> bool {
        self.change(id).is_none_or(|change| change.gate != Gate::Open)
    }

    fn obstacle(&self, before: ChangeId) -> Option<String> {
        let subject = self.label(before);
        if self.is_held(before) {
            return Some(format!("waits for {subject}, which is held"));
        }
        // Something further back may have failed without a step in between that would have noticed.
        let deeper = || {
            self.after(before)
                .iter()
                .find_map(|further| self.obstacle(*further))
                .map(|because| if because == BACKGROUND { because } else { format!("{subject} was skipped") })
        };
        match self.troubles.get(&before) {
            None | Some(Outcome::Done) => deeper(),
            Some(Outcome::Failed(_)) => Some(format!("{subject} failed")),
            Some(Outcome::Skipped(_)) => Some(format!("{subject} was skipped")),
            Some(Outcome::Stuck(_)) => Some(format!("{subject} is stuck")),
            Some(Outcome::Background) => Some(BACKGROUND.to_owned()),
        }
    }

    /// Writes down what became of a part of a change.
    pub(super) fn settle(&mut self, id: ChangeId, outcome: Outcome) {
        if outcome != Outcome::Done {
            self.troubles.entry(id).or_insert(outcome);
        }
    }

    /// Changes that only the boot table carries.
    pub(super) fn boot_changes(&self) -> impl Iterator<Item = ChangeId> + use<'a> {
        let is_boot = |change: &Change| matches!(change.subject, Subject::Boot { .. } | Subject::Table);
        self.changes.iter().enumerate().filter(move |(_, change)| is_boot(change)).map(|(at, _)| ChangeId(at as u32))
    }

    /// One entry for each change that was not held, in the plan's order.
    pub(super) fn into_outcomes(mut self) -> Vec<(ChangeId, Subject, Outcome)> {
        let ids: Vec<ChangeId> = (0..self.changes.len() as u32).map(ChangeId).filter(|id| !self.is_held(*id)).collect();
        let outcome = |id| {
            self.may_go_ahead(id);
            (id, self.changes[id.0 as usize].subject.clone(), self.troubles.get(&id).cloned().unwrap_or(Outcome::Done))
        };
        ids.into_iter().map(outcome).collect()
    }
}
