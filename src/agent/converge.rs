//! One errand: from a site and this host to a plan, through apply, to the proof that nothing is left to do.
//!
//! **Invariant:** the proof is the planner itself, run on a fresh look at the host; nothing is applied without the host's lock.
#![expect(clippy::disallowed_methods, reason = "effect room: waits for the host's lock")]

use crate::desired::Source;
use crate::host::{self, ApplyContext, CONFIGFS_DEADLINE, Lock, LockError, Needs, Problem, Progress, RunDir, Scope, System};
use crate::observed::Observation;
use crate::plan::{self, Op, Outcome, Plan, Prepared, Report, Revision, Step, Subject, Targets};
use crate::site::{Finding, Site};
use std::{
    collections::BTreeSet,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long somebody at a terminal waits for the lock: the agent holds it for its looks, which take a second.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The pause between two tries at the lock.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// A site that is to be brought to a host.
#[derive(Clone, Copy)]
pub struct Errand<'a> {
    /// The host.
    pub system: &'a System,
    /// Its state directory.
    pub state: &'a Path,
    /// The site.
    pub site: &'a Site,
    /// Which state of it.
    pub revision: &'a Revision,
    /// Which part of it.
    pub targets: &'a Targets,
}

/// A plan with what it was made from.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// What follows from the site alone.
    pub prepared: Prepared,
    /// How the host was found.
    pub observation: Observation,
    /// What is to change.
    pub plan: Plan,
}

/// What became of a plan.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Change by change.
    pub report: Report,
    /// What a second look would still change.
    pub after: Plan,
}

/// Why an errand came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConvergeError {
    /// The site's names or templates do not work out.
    #[error("the site has findings")]
    Findings(Vec<Finding>),
    /// The site has disks, and only root can look at them.
    #[error("the site has disks, and only root can look at volumes and targets")]
    NotRoot,
    /// Somebody else is applying, or the lock cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl Errand<'_> {
    /// Looks at the host and says what would change. Changes nothing and needs no lock.
    pub fn propose(&self) -> Result<Proposal, ConvergeError> {
        if self.site.storage.is_some() && !self.system.kernel.is_root() {
            return Err(ConvergeError::NotRoot);
        }
        let prepared = plan::prepare(self.site).map_err(ConvergeError::Findings)?;
        Ok(self.look(prepared))
    }

    /// What of this host stands in the way of carrying the plan out; nothing when the plan leaves volumes and targets alone.
    pub fn obstacles(&self, proposal: &Proposal) -> Vec<Problem> {
        let Some(storage) = &proposal.prepared.desired.storage else { return Vec::new() };
        if proposal.plan.open().all(|change| matches!(change.subject, Subject::Boot(_) | Subject::Table)) {
            return Vec::new();
        }
        let fills = |step: &Step| matches!(step, Step::Ops { ops, .. } if ops.iter().any(|op| matches!(op, Op::Fill { .. })));
        let mut needs = Needs { pool: Some((storage.vg.clone(), storage.pool.clone())), formats: BTreeSet::new() };
        if proposal.plan.steps.iter().any(fills) {
            needs.formats.extend(storage.versions.values().filter_map(|version| match &version.source {
                Source::File { format, .. } => Some(*format),
                Source::Blank => None,
            }));
        }
        host::preflight(self.system, &needs)
    }

    /// Carries a plan out and looks again. The lock must have been held since before the plan was made.
    pub fn carry_out(&self, proposal: &Proposal, _lock: &Lock, progress: &mut dyn Progress) -> Applied {
        let context = ApplyContext {
            state: self.state.to_owned(),
            image_store: Scope::image_store(&proposal.prepared, self.state),
            configfs_deadline: CONFIGFS_DEADLINE,
        };
        let report = host::apply(self.system, &proposal.plan, &context, progress);
        let after = self.look(proposal.prepared.clone());
        after.remember(self.state);
        Applied { report, after: after.plan }
    }

    fn look(&self, prepared: Prepared) -> Proposal {
        let observation = host::observe(self.system, &Scope::of(&prepared, self.state));
        let plan = plan::compute(&prepared, &observation, self.revision.clone(), self.targets);
        Proposal { prepared, observation, plan }
    }
}

impl Proposal {
    /// Keeps what was seen for the next look, which concludes from both who is in use; losing it makes seats count as in use.
    pub fn remember(&self, state: &Path) {
        if let Err(error) = host::remember(state, &self.observation) {
            tracing::warn!(%error, "what was seen cannot be kept in {}", state.display());
        }
    }
}

/// Whether two plans would do the very same to the host. What is held, and since when, may differ.
pub fn is_same_work(one: &Plan, other: &Plan) -> bool {
    one.revision == other.revision && one.steps == other.steps && one.open().eq(other.open())
}

/// How many changes of a report were done.
pub fn done(report: &Report) -> u32 {
    report.outcomes.iter().filter(|(_, _, outcome)| *outcome == Outcome::Done).count() as u32
}

/// One sentence for each change of a report that failed, and for each that was left out, in that order.
pub fn mishaps(report: &Report) -> (Vec<String>, Vec<String>) {
    let (mut failed, mut skipped) = (Vec::new(), Vec::new());
    for (_, subject, outcome) in &report.outcomes {
        match outcome {
            Outcome::Done => {}
            Outcome::Skipped(because) => skipped.push(format!("{}: {because}", on_one_line(subject))),
            Outcome::Failed(error) => failed.push(format!("{}: {error}", on_one_line(subject))),
            Outcome::Stuck(error) => failed.push(format!("{}: stuck: {error}", on_one_line(subject))),
        }
    }
    (failed, skipped)
}

/// A subject outside the columns of a plan: `volume cafe/seat.pc01.win11.a`.
pub fn on_one_line(subject: &plan::Subject) -> String {
    subject.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Takes the host's lock, which lies in the run directory, waiting this long for whoever has it.
pub fn lock_within(run_dir: &RunDir, patience: Duration) -> Result<Lock, LockError> {
    let deadline = Instant::now() + patience;
    loop {
        match host::lock::lock_in(run_dir) {
            Err(LockError::Held { .. }) if Instant::now() < deadline => thread::sleep(LOCK_PAUSE),
            other => return other,
        }
    }
}
