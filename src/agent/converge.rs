//! One reconciliation: from a site and this host to a plan, through apply, to the proof that nothing is left to do.
//!
//! **Invariant:** the proof is the planner itself, run on a fresh look at the host; nothing is applied without the host's lock.
#![expect(clippy::disallowed_methods, reason = "effect room: waits for the host's lock")]

use super::applied;
use super::assign::Assigner;
use super::backoff::Backoff;
use super::occupancy::{self, OccupancyMemory};
use crate::desired::Source;
use crate::diagnostic::Diagnostic;
use crate::host::commands::{Commands, Entry};
use crate::host::{self, ApplyContext, CONFIGFS_DEADLINE, Depth, Fills, Lock, LockError, Needs, Progress, RunDir, Scope, System};
use crate::names::{DiskId, MachineName, Mono};
use crate::observed::{Observation, Paused, Seen};
use crate::plan::{self, KnownMachines, Outcome, Plan, Prepared, Purpose, Report, Revision, Step, Subject, Targets};
use crate::site::Site;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long somebody at a terminal waits for the lock: the agent holds it for its looks, which take a second.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A site that is to be brought to a host.
#[derive(Clone, Copy)]
pub struct Reconciliation<'a> {
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
    /// Who looks.
    pub observer: Observer<'a>,
    /// Machines that a person says are off, with this.
    pub forced: &'a BTreeSet<MachineName>,
    /// Whether a booting machine may wait for what comes of it: what could not have changed is not read again.
    pub is_awaited: bool,
}

/// Who looks at the host, and so what is known of who is at work.
#[derive(Clone, Copy)]
pub enum Observer<'a> {
    /// The agent.
    Agent(&'a Knowledge),
    /// Anybody else: by the copy that a running agent leaves.
    Visitor,
}

/// What the agent has beside a look.
pub struct Knowledge {
    /// It remembers its looks.
    pub occupancy: OccupancyMemory,
    /// It fills versions in the background.
    pub fills: Fills,
    /// It assigns disks meanwhile.
    pub assigner: Arc<Assigner>,
    between: Mutex<Between>,
}

/// What is kept from look to look.
#[derive(Debug, Default)]
struct Between {
    /// What failed a short while ago.
    backoff: Backoff,
    /// When everything was looked at last, and for which state of the site.
    whole: Option<(Mono, String)>,
}

impl Knowledge {
    /// What is known at start.
    pub fn new(occupancy: OccupancyMemory, fills: Fills, assigner: Arc<Assigner>) -> Self {
        Self { occupancy, fills, assigner, between: Mutex::default() }
    }

    fn between(&self) -> MutexGuard<'_, Between> {
        self.between.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a change by hand of what no seat at work changes may go unseen.
const BETWEEN_WHOLE_LOOKS: Duration = Duration::from_secs(60);

/// How much a look reads.
#[derive(Debug, Clone, Copy)]
enum Reading<'a> {
    /// Everything.
    All,
    /// What changes while seats are at work, and now and then everything.
    Glance,
    /// The same, and what this plan has made.
    After(&'a Plan),
}

/// A plan with what it was made from.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// What follows from the site alone.
    pub prepared: Arc<Prepared>,
    /// How the host was found.
    pub observation: Arc<Observation>,
    /// What is to change.
    pub plan: Plan,
}

/// What became of a plan.
#[derive(Debug, Clone)]
pub struct Applied {
    /// Change by change.
    pub report: Report,
    /// What a second look would still change, and what it saw.
    pub after: Proposal,
}

/// Why a reconciliation came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ConvergeError {
    /// The site's names or templates do not work out.
    #[error("the site has findings")]
    Findings(Vec<Diagnostic>),
    /// On this host, as it is now, the site would take every machine away without consent, or nobody can tell.
    #[error("the site has findings on this host")]
    Unsafe(Vec<Diagnostic>),
    /// The site has disks, and only root can look at them.
    #[error("the site has disks, and only root can look at volumes and targets")]
    NotRoot,
    /// Somebody else is applying, or the lock cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
}

impl Reconciliation<'_> {
    /// Looks at the host and says what would change. Changes nothing and needs no lock.
    pub fn propose(&self) -> Result<Proposal, ConvergeError> {
        self.propose_from(Reading::All)
    }

    /// The same from a quicker look, where the agent looks: enough to tell that nothing is to be done.
    pub fn glance(&self) -> Result<Proposal, ConvergeError> {
        self.propose_from(Reading::Glance)
    }

    fn propose_from(&self, reading: Reading<'_>) -> Result<Proposal, ConvergeError> {
        let prepared = plan::prepare(self.site).map_err(ConvergeError::Findings)?;
        let may_look = self.site.storage.is_none() || self.system.kernel.is_root();
        if plan::has_no_machine(&prepared) {
            // Before anything learns of this site: a machine that boots meanwhile is answered by the former one.
            let of_disks = || match may_look {
                true => KnownMachines::of_disks(&prepared, &host::observe(self.system, &Scope::of(&prepared, self.state))),
                false => KnownMachines::Named(BTreeSet::new()),
            };
            let known = match KnownMachines::of_table(&host::observe_published(self.state)) {
                None => of_disks(),
                // A site that was applied here without machines put none into the table that does not read now.
                Some(KnownMachines::Unreadable(_)) if self.is_recorded() => of_disks(),
                Some(known) => known,
            };
            if let Some(finding) = plan::refuse_emptied(&known) {
                return Err(ConvergeError::Unsafe(vec![finding]));
            }
        }
        if !may_look {
            return Err(ConvergeError::NotRoot);
        }
        Ok(self.look(Arc::new(prepared), reading))
    }

    /// Whether this commit is the one that was applied here last, by the host's own record.
    fn is_recorded(&self) -> bool {
        let recorded = applied::read(self.state).present().and_then(|history| history.applied.clone());
        recorded.is_some_and(|recorded| recorded.as_str() == self.revision.id)
    }

    /// What of this host stands in the way of carrying the plan out; nothing when the plan leaves volumes and targets alone.
    pub fn obstacles(&self, proposal: &Proposal) -> Vec<Diagnostic> {
        let Some(storage) = &proposal.prepared.desired.storage else { return Vec::new() };
        if proposal.plan.open().all(|change| matches!(change.subject, Subject::Boot { .. } | Subject::Table)) {
            return Vec::new();
        }
        let pool = Some((storage.vg().clone(), storage.pool().clone()));
        let mut needs = Needs { pool, has_tools: self.is_awaited, formats: BTreeSet::new() };
        if proposal.plan.steps.iter().any(|step| matches!(step, Step::Fill { .. })) {
            needs.formats.extend(storage.versions.values().filter_map(|version| match &version.source {
                Source::File { format, .. } => Some(*format),
                Source::Blank => None,
            }));
        }
        host::preflight(self.system, &needs, &proposal.observation.vg)
    }

    /// Carries a plan out and looks again. The lock must have been held since before the plan was made.
    pub fn carry_out(&self, proposal: &Proposal, _lock: &Lock, progress: &mut dyn Progress) -> Applied {
        let context = ApplyContext {
            state: self.state.to_owned(),
            image_store: Scope::image_store(&proposal.prepared, self.state),
            configfs_deadline: CONFIGFS_DEADLINE,
            fills: match self.observer {
                Observer::Agent(agent) => agent.fills.clone(),
                Observer::Visitor => Fills::Wait,
            },
        };
        let commands = Commands::new(self.system, self.state);
        for machine in self.forced {
            let (boot_id, at) = (proposal.observation.boot_id.clone(), proposal.observation.now);
            commands.enter(&Entry::Forced { machine: machine.clone(), boot_id, at });
        }
        let seats = plan::keeps_waiting(&proposal.prepared, &proposal.observation, &proposal.plan);
        let _busy = match self.observer {
            Observer::Agent(agent) => Some(agent.assigner.work_on(seats.clone())),
            Observer::Visitor => None,
        };
        let _locks = lock_seats(self.state, &seats);
        let mut run = || host::apply(self.system, &proposal.plan, &context, progress);
        let report = match &self.site.storage {
            Some(_) => commands.counted(&proposal.plan, proposal.prepared.desired.policy.max_destroy, run),
            None => run(),
        };
        if let Observer::Agent(agent) = self.observer {
            agent.between().backoff.take_in(&report, Mono::from(self.system.kernel.boottime()));
        }
        let reading = if self.is_awaited { Reading::After(&proposal.plan) } else { Reading::All };
        Applied { report, after: self.look(Arc::clone(&proposal.prepared), reading) }
    }

    fn read(&self, scope: &Scope, reading: Reading<'_>) -> Observation {
        let Observer::Agent(agent) = self.observer else { return host::observe(self.system, scope) };
        let now = Mono::from(self.system.kernel.boottime());
        let whole = agent.between().whole.clone();
        let is_recent = whole.is_some_and(|(at, of)| now.since(at) < BETWEEN_WHOLE_LOOKS && of == self.revision.id);
        let before = agent.assigner.last_look().filter(|_| is_recent);
        let before = before.filter(|before| before.vg.present().is_some());
        let known = match (before.as_ref().and_then(|before| before.lio.present()), reading) {
            (None, _) | (_, Reading::All) => None,
            (Some(lio), Reading::Glance) => Some(Cow::Borrowed(lio)),
            (Some(lio), Reading::After(plan)) => plan::untouched(lio, plan).map(Cow::Owned),
        };
        match known {
            Some(lio) => host::observe_to(self.system, scope, Depth::Quick(&lio)),
            None => {
                agent.between().whole = Some((now, self.revision.id.clone()));
                host::observe(self.system, scope)
            }
        }
    }

    fn paused(&self, agent: &Knowledge, observation: &Observation) -> BTreeMap<String, Paused> {
        let backoff = &mut agent.between().backoff;
        backoff.follow(&self.revision.id);
        if let Fills::Background { running, .. } = &agent.fills {
            for (disk, error) in running.take_failures() {
                if let DiskId::Version { image, version } = &disk {
                    backoff.record_failure(&Subject::version(image, version), &error, observation.now);
                }
            }
        }
        backoff.paused(observation.now, observation.waiting.keys())
    }

    fn look(&self, prepared: Arc<Prepared>, reading: Reading<'_>) -> Proposal {
        let scope = Scope::of(&prepared, self.state);
        if let Observer::Agent(agent) = self.observer {
            agent.assigner.begin_look();
        }
        let mut observation = self.read(&scope, reading);
        observation.occupancy = match self.observer {
            Observer::Agent(agent) => {
                observation.waiting = agent.assigner.waiting();
                observation.paused = self.paused(agent, &observation);
                let look = host::look(self.system, &scope, &observation);
                look.map(|look| agent.occupancy.take_in(&look, prepared.desired.room.machines.len()))
            }
            Observer::Visitor => occupancy::read(self.state, &observation.boot_id, observation.now),
        };
        if let Seen::Present(journal) = &mut observation.commands {
            journal.forced.extend(self.forced.iter().map(|machine| (machine.clone(), observation.now)));
        }
        let observation = Arc::new(observation);
        if let Observer::Agent(agent) = self.observer {
            agent.assigner.take_in(&prepared, &observation);
        }
        let plan = plan::compute(&prepared, &observation, self.revision.clone(), self.targets);
        if let Observer::Agent(agent) = self.observer {
            agent.assigner.take_in_plan(&plan);
            agent.between().backoff.retain(&plan, &observation.filling);
        }
        Proposal { prepared, observation, plan }
    }
}

/// Keeps other processes from giving disks of these seats to anybody; what cannot be locked in time goes without: whoever gives a disk
/// looks at it once more, and so does whoever takes it away.
fn lock_seats(state: &Path, machines: &BTreeSet<MachineName>) -> Vec<Lock> {
    let run_dir = RunDir::of_process(state);
    let deadline = Instant::now() + PATIENCE;
    let lock = |machine: &MachineName| {
        let left = deadline.saturating_duration_since(Instant::now());
        let lock = host::lock::within(left, || host::lock::seat(&run_dir, machine));
        lock.inspect_err(|error| tracing::warn!(%machine, error = host::chain(error), "going on without the seat's lock")).ok()
    };
    machines.iter().filter_map(lock).collect()
}

/// Whether two plans would do the very same to the host. What is held, and since when, may differ.
pub fn is_same_work(one: &Plan, other: &Plan) -> bool {
    // What daily work comes to, and which handles it touches, changes with every boot.
    let site = |plan: &Plan| {
        plan.open()
            .filter(|change| change.purpose == Purpose::Site)
            .cloned()
            .map(|change| plan::Change { after: Vec::new(), ..change })
            .collect::<Vec<_>>()
    };
    one.revision == other.revision && site(one) == site(other)
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
            Outcome::Done | Outcome::Background => {}
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
    host::lock::within(patience, || host::lock::lock_in(run_dir))
}
