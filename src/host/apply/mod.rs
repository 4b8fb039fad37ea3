//! Carries a plan out.
//!
//! What a power cut interrupted between LVM and the kernel is finished first ([`thin_transaction`]).
//! **Invariant:** an interpreter: it runs the ops it was given in the order it was given them, and chooses nothing; only
//! neighbouring changes in configfs that do not wait for one another go at once. What fails stops its own change and what waits for
//! that, and nothing else; every change that was not held ends with an outcome.

mod configfs;
mod idle;
mod image;
mod ledger;
mod lvm;
mod lvm_effect;
mod publish;
mod thin_transaction;

use super::System;
use crate::plan::{ChangeId, ConfigFsOp, Op, Outcome, Plan, Report, Step, VERSION, render_op};
use configfs::Worker;
use ledger::Ledger;
use std::{collections::BTreeSet, path::PathBuf, time::Duration};

/// How long the kernel may take over one change in configfs. Removing an ACL waits for its client's commands, which a healthy
/// disk answers within seconds; a full pool queues them for a minute (dm-thin `no_space_timeout`), and that is left behind.
pub const CONFIGFS_DEADLINE: Duration = Duration::from_secs(20);

/// How long one program of a plan may run: activating a large pool checks its metadata for minutes.
const PROGRAM_DEADLINE: Duration = Duration::from_secs(600);

/// Where apply finds and leaves files, and its patience.
#[derive(Debug, Clone)]
pub struct ApplyContext {
    /// The state directory.
    pub state: PathBuf,
    /// The directory of image sources.
    pub image_store: PathBuf,
    /// How long the kernel may take over one change in configfs, [`CONFIGFS_DEADLINE`] but for tests.
    pub configfs_deadline: Duration,
}

/// Told of how a plan comes along.
pub trait Progress {
    /// Work begins on a change, or on several at once.
    fn begin(&mut self, change: Option<ChangeId>, label: &str);
    /// So much of the work that began last is done: bytes, or commands.
    fn advance(&mut self, done: u64, total: u64);
    /// The work that began last has ended; of several changes, with the worst that became of one.
    fn end(&mut self, outcome: &Outcome);
    /// Whether no other step is to begin; asked before each.
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
    let touches_configfs = plan.steps.iter().any(|step| match step {
        Step::Ops { ops, .. } => ops.iter().any(|op| matches!(op, Op::ConfigFs(_))),
        Step::LvmBatch(_) | Step::LvmMany { .. } | Step::Publish { .. } => false,
    });
    let _locks = if touches_configfs { system.configfs.lock_out_other_tools() } else { Vec::new() };
    thin_transaction::finish_interrupted(system, plan);
    let mut run = Run {
        system,
        context,
        worker: Worker::new(system.configfs.clone(), context.configfs_deadline),
        ledger: Ledger::new(plan),
        progress,
    };
    let mut steps = plan.steps.as_slice();
    while let Some(step) = steps.first() {
        if run.progress.is_told_to_stop() {
            steps.iter().for_each(|step| run.leave_out(step));
            break;
        }
        let start = system.kernel.now();
        let together = run.together(steps);
        match together {
            0 | 1 => run.step(step),
            _ => run.ops_at_once(&steps[..together]),
        }
        steps = &steps[together.max(1)..];
        let kind = match step {
            Step::Ops { .. } => "ops",
            Step::LvmBatch(_) => "batch",
            Step::LvmMany { .. } => "many",
            Step::Publish { .. } => "publish",
        };
        let millis = system.kernel.now().duration_since(start).as_secs_f64() * 1e3;
        tracing::debug!(target: "barista::timing", "step took {millis:.2} ms: {kind}");
    }
    Report { version: VERSION, revision: plan.revision.clone(), outcomes: run.ledger.into_outcomes() }
}

struct Run<'a> {
    system: &'a System,
    context: &'a ApplyContext,
    worker: Worker,
    ledger: Ledger<'a>,
    progress: &'a mut dyn Progress,
}

impl Run<'_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Ops { change, ops } => {
                if !self.ledger.may_go_ahead(*change) {
                    return;
                }
                self.progress.begin(Some(*change), &self.ledger.label(*change));
                let outcome = self.ops(ops).err().unwrap_or(Outcome::Done);
                self.progress.end(&outcome);
                self.ledger.settle(*change, outcome);
            }
            Step::LvmBatch(commands) => self.lvm_batch(commands),
            Step::LvmMany { words, volumes } => self.lvm_many(words, volumes),
            Step::Publish { change, table, otherwise } => self.publish(*change, table, otherwise),
        }
    }

    /// Settles the changes of a step that does not begin any more.
    fn leave_out(&mut self, step: &Step) {
        let changes: Vec<_> = match step {
            Step::Ops { change, .. } => vec![*change],
            Step::LvmBatch(commands) => commands.iter().map(|(change, _)| *change).collect(),
            Step::LvmMany { volumes, .. } => volumes.iter().map(|(change, _)| *change).collect(),
            Step::Publish { change, .. } => self.ledger.boot_changes().chain(*change).collect(),
        };
        for change in changes {
            self.ledger.settle(change, Outcome::Skipped("it was told to stop".to_owned()));
        }
    }

    /// How many of the steps ahead are changes in configfs alone that do not wait for one another.
    fn together(&self, steps: &[Step]) -> usize {
        let mut changes = BTreeSet::new();
        let is_one_of_them = |step: &&Step| match step {
            Step::Ops { change, ops } => {
                ops.iter().all(|op| matches!(op, Op::ConfigFs(_)))
                    && !self.ledger.waits_for_any(*change, &changes)
                    && changes.insert(*change)
            }
            Step::LvmBatch(_) | Step::LvmMany { .. } | Step::Publish { .. } => false,
        };
        steps.iter().take_while(is_one_of_them).count()
    }

    /// Carries out what [`Self::together`] counted.
    fn ops_at_once(&mut self, steps: &[Step]) {
        let mut changes = Vec::new();
        let mut runs = Vec::new();
        for step in steps {
            if let Step::Ops { change, ops } = step
                && self.ledger.may_go_ahead(*change)
            {
                changes.push(*change);
                runs.push(configfs_ops(ops));
            }
        }
        let (ledger, progress) = (&mut self.ledger, &mut self.progress);
        self.worker.perform_all(runs, |at, result| {
            let outcome = result.err().unwrap_or(Outcome::Done);
            progress.begin(Some(changes[at]), &ledger.label(changes[at]));
            progress.end(&outcome);
            ledger.settle(changes[at], outcome);
        });
    }

    /// Runs ops in order; neighbours in configfs go together.
    fn ops(&mut self, ops: &[Op]) -> Result<(), Outcome> {
        let together = |one: &Op, next: &Op| matches!((one, next), (Op::ConfigFs(_), Op::ConfigFs(_)));
        for ops in ops.chunk_by(together) {
            if let Err(outcome) = self.neighbours(ops) {
                tracing::warn!(target: "barista::host", ?outcome, "an op did not go well");
                return Err(outcome);
            }
        }
        Ok(())
    }

    /// Runs one op, or those in configfs that stand beside one another.
    fn neighbours(&mut self, ops: &[Op]) -> Result<(), Outcome> {
        let [op, ..] = ops else { return Ok(()) };
        // Of those in configfs the worker says each as it begins.
        if !matches!(op, Op::ConfigFs(_)) {
            tracing::debug!(target: "barista::host", "op {}", render_op(op));
        }
        match op {
            Op::Run(argv) => {
                let command = super::Command::new(argv, PROGRAM_DEADLINE);
                self.system.commands.succeed(&command).map(drop).map_err(|error| Outcome::Failed(chain(&error)))
            }
            Op::ConfigFs(_) => self.worker.perform(configfs_ops(ops)),
            Op::Verify { path, sha256 } => image::verify(self.context, path, sha256, self.progress).map_err(Outcome::Failed),
            Op::RequireIdle { machine, target, initiator, commands } => {
                idle::require_idle(self.system, machine, target, initiator, *commands)
            }
            Op::Fill { path, format, vg, lv, size, pool, reserve } => {
                let target = image::Target { vg, lv, size: *size, pool, reserve: *reserve };
                image::fill(self.system, self.context, path, format, &target, self.progress).map_err(Outcome::Failed)
            }
        }
    }
}

/// The ops among these that are changes in configfs.
fn configfs_ops(ops: &[Op]) -> Vec<ConfigFsOp> {
    ops.iter().filter_map(|op| if let Op::ConfigFs(op) = op { Some(op.clone()) } else { None }).collect()
}

/// An error with all its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
