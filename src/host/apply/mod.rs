//! Carries a plan out.
//!
//! **Invariant:** an interpreter: it runs the steps it was given in the order it was given them, and chooses nothing. What fails stops
//! its own change and what waits for that, and nothing else; every change that was not held ends with an outcome. Versions are filled
//! in the background where somebody waits for machines meanwhile.

mod fill;
mod ledger;
mod publish;

pub use fill::{Fills, Running, filling};

use super::System;
use super::export::{Exporter, lio::Lio};
use super::store::{Store, left_out, thin::Thin};
use crate::names::{DiskId, Handle};
use crate::plan::{ChangeId, DiskOp, ExportOp, Outcome, Plan, Pool, Report, Step, VERSION};
use ledger::Ledger;
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    path::PathBuf,
    time::Duration,
};

/// How long the kernel may take over one change in configfs. Removing an ACL waits for its client's commands, which a healthy
/// disk answers within seconds; a full pool queues them for a minute (dm-thin `no_space_timeout`), and that is left behind.
pub const CONFIGFS_DEADLINE: Duration = Duration::from_secs(20);

/// Where apply finds and leaves files, and its patience.
#[derive(Debug, Clone)]
pub struct ApplyContext {
    /// The state directory.
    pub state: PathBuf,
    /// The directory of image sources.
    pub image_store: PathBuf,
    /// How long the kernel may take over one change in configfs, [`CONFIGFS_DEADLINE`] but for tests.
    pub configfs_deadline: Duration,
    /// Whether versions are filled while somebody waits, or in the background.
    pub fills: Fills,
}

/// Told of how a plan comes along.
pub trait Progress {
    /// Work begins on a change, or on several at once.
    fn begin(&mut self, change: Option<ChangeId>, label: &str);
    /// So much of the work that began last is done: bytes, or commands.
    fn advance(&mut self, done: u64, total: u64);
    /// The work that began last has ended; of several changes, with the worst that became of one.
    fn end(&mut self, outcome: &Outcome);
    /// Whether no other step is to begin, nor another program of a store within one; asked before each.
    fn is_told_to_stop(&mut self) -> bool {
        false
    }
}

/// Progress that nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&mut self, _: Option<ChangeId>, _: &str) {}
    fn advance(&mut self, _: u64, _: u64) {}
    fn end(&mut self, _: &Outcome) {}
}

/// Carries a plan out, and says what became of each change. The caller holds the host's [`Lock`](super::Lock).
pub fn apply(system: &System, plan: &Plan, context: &ApplyContext, progress: &mut dyn Progress) -> Report {
    let touches_configfs = plan.steps.iter().any(|step| matches!(step, Step::Exports(_)));
    let _locks = if touches_configfs { system.configfs.lock_out_other_tools() } else { Vec::new() };
    let pool = plan.steps.iter().find_map(|step| match step {
        Step::Disks { pool, .. } | Step::Fill { pool, .. } => Some(pool.clone()),
        Step::Exports(_) | Step::Publish { .. } => None,
    });
    let store = pool.or_else(|| plan.steps.iter().find_map(pool_of_targets)).map(|pool| Thin::new(system, pool, &context.state));
    let device = |disk: &DiskId| store.as_ref().map_or_else(String::new, |store| store.device(disk));
    let exporter = Lio::new(system, &context.state, context.configfs_deadline, device);
    let mut run = Run { system, context, store: store.as_ref(), exporter, ledger: Ledger::new(plan), progress };
    for (at, step) in plan.steps.iter().enumerate() {
        if run.progress.is_told_to_stop() {
            plan.steps[at..].iter().for_each(|step| run.leave_out(step));
            break;
        }
        let start = system.kernel.boottime();
        let kind = run.step(step);
        let millis = system.kernel.boottime().saturating_sub(start).as_secs_f64() * 1e3;
        tracing::debug!(target: "barista::timing", "step took {millis:.2} ms: {kind}");
    }
    Report { version: VERSION, revision: plan.revision.clone(), outcomes: run.ledger.into_outcomes() }
}

/// Targets that are built lead to devices of a group, whatever else a plan does.
fn pool_of_targets(step: &Step) -> Option<Pool> {
    let Step::Exports(ops) = step else { return None };
    ops.iter().find_map(|(_, op)| match op {
        ExportOp::Build(plan) => Some(plan.pool.clone()),
        _ => None,
    })
}

struct Run<'a> {
    system: &'a System,
    context: &'a ApplyContext,
    store: Option<&'a Thin<'a>>,
    exporter: Lio<'a>,
    ledger: Ledger<'a>,
    progress: &'a mut dyn Progress,
}

impl Run<'_> {
    fn step(&mut self, step: &Step) -> &'static str {
        match step {
            Step::Disks { ops, .. } => {
                self.disks(ops);
                "disks"
            }
            Step::Exports(ops) => {
                self.exports(ops);
                "exports"
            }
            Step::Fill { change, ops, .. } => {
                self.fill(*change, ops);
                "fill"
            }
            Step::Publish { change, table, otherwise } => {
                self.publish(*change, table, otherwise);
                "publish"
            }
        }
    }

    /// Settles the changes of a step that does not begin any more.
    fn leave_out(&mut self, step: &Step) {
        let changes: Vec<_> = match step {
            Step::Disks { ops, .. } => ops.iter().map(|(change, _)| *change).collect(),
            Step::Exports(ops) => ops.iter().map(|(change, _)| *change).collect(),
            Step::Fill { change, .. } => vec![*change],
            Step::Publish { change, .. } => self.ledger.boot_changes().chain(*change).collect(),
        };
        for change in changes {
            self.ledger.settle(change, left_out());
        }
    }

    fn disks(&mut self, ops: &[(ChangeId, DiskOp)]) {
        for ops in self.independent(ops) {
            self.disks_at_once(ops);
        }
    }

    fn disks_at_once(&mut self, ops: &[(ChangeId, DiskOp)]) {
        let Some(store) = self.store else { return };
        let ready: Vec<(ChangeId, DiskOp)> =
            ops.iter().filter(|(change, _)| self.ledger.may_go_ahead(*change)).cloned().collect();
        if ready.is_empty() {
            return;
        }
        let label = match &ready[..] {
            [(change, _)] => self.ledger.label(*change),
            many => format!("{} changes of disks", many.len()),
        };
        let only = ready.first().map(|(change, _)| *change).filter(|first| ready.iter().all(|(change, _)| change == first));
        self.progress.begin(only, &label);
        let progress = &mut *self.progress;
        let outcomes = store.perform(&ready, &mut |done, total| {
            progress.advance(done, total);
            if progress.is_told_to_stop() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        self.settle_all(&ready, outcomes);
    }

    fn exports(&mut self, ops: &[(ChangeId, ExportOp)]) {
        for ops in self.independent(ops) {
            self.exports_at_once(ops);
        }
    }

    /// Runs of ops of which none waits for another of the same run.
    fn independent<'o, Op>(&self, ops: &'o [(ChangeId, Op)]) -> Vec<&'o [(ChangeId, Op)]> {
        let (mut runs, mut start, mut changes) = (Vec::new(), 0, BTreeSet::new());
        for (at, (change, _)) in ops.iter().enumerate() {
            if self.ledger.after(*change).iter().any(|before| changes.contains(before)) {
                runs.push(&ops[start..at]);
                (start, changes) = (at, BTreeSet::new());
            }
            changes.insert(*change);
        }
        runs.push(&ops[start..]);
        runs
    }

    fn exports_at_once(&mut self, ops: &[(ChangeId, ExportOp)]) {
        let ready: Vec<(ChangeId, ExportOp)> =
            ops.iter().filter(|(change, _)| self.ledger.may_go_ahead(*change)).cloned().collect();
        if ready.is_empty() {
            return;
        }
        let handles = match self.handles(&ready) {
            Ok(handles) => handles,
            Err(error) => {
                let outcomes = vec![Outcome::Failed(error); ready.len()];
                self.progress.begin(None, "targets");
                return self.settle_all(&ready, outcomes);
            }
        };
        let only = ready.first().map(|(change, _)| *change).filter(|first| ready.iter().all(|(change, _)| change == first));
        let label = only.map_or_else(|| format!("{} changes of targets", ready.len()), |change| self.ledger.label(change));
        self.progress.begin(only, &label);
        let mut outcomes = Vec::new();
        let total = ready.len() as u64;
        let progress = &mut *self.progress;
        self.exporter.perform(&ready, &handles, &mut |at, outcome| {
            progress.advance(at as u64 + 1, total);
            outcomes.push(outcome);
        });
        self.settle_all(&ready, outcomes);
    }

    /// The UUIDs of the disks that targets of this step are to show, as they are now.
    fn handles(&self, ops: &[(ChangeId, ExportOp)]) -> Result<BTreeMap<DiskId, Handle>, String> {
        let shown = ops.iter().flat_map(|(_, op)| match op {
            ExportOp::Build(plan) => plan.luns.values().map(|lun| lun.disk.clone()).chain(plan.own.iter().cloned()).collect(),
            _ => Vec::new(),
        });
        let disks: Vec<DiskId> = shown.collect();
        match self.store {
            Some(store) if !disks.is_empty() => store.handles(&disks),
            _ => Ok(BTreeMap::new()),
        }
    }

    fn settle_all<Op>(&mut self, ops: &[(ChangeId, Op)], outcomes: Vec<Outcome>) {
        let mut worst = Outcome::Done;
        for ((change, _), outcome) in ops.iter().zip(outcomes) {
            if outcome != Outcome::Done {
                tracing::warn!(target: "barista::host", ?outcome, "{} did not go well", self.ledger.label(*change));
                worst = outcome.clone();
            }
            self.ledger.settle(*change, outcome);
        }
        self.progress.end(&worst);
    }
}
