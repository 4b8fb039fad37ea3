//! The agent as it is run here: looks every ten seconds, plans, applies; answers boots; dies and starts again.
//!
//! It is the product's own observer, planner, interpreter and assignment, called in its order. A look at which nothing changed is
//! taken from memory, and many of them at once: what the occupancy makes of equal looks is known.

use crate::bite;
use crate::world::{Event, MINUTE, SECOND, Sim};
use barista::agent::{assign::Assigner, backoff::Backoff, wakeup::Wakeup};
use barista::host::commands::Commands;
use barista::host::{self, ApplyContext, CONFIGFS_DEADLINE, Depth, Fills, RunDir, Scope, Silent, System};
use barista::names::Mono;
use barista::observed::occupancy::{Look, Occupancy, Offering};
use barista::observed::{Observation, Seen};
use barista::plan::{self, Outcome, Plan, Prepared, Report, Revision, Step, Targets};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often it looks.
pub const LOOKS: u64 = 10 * SECOND;

/// What was heard of a machine.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    pub discovers: Vec<Mono>,
    pub fetches: Vec<Mono>,
}

/// The agent.
pub struct Agent {
    pub is_up: bool,
    /// Which of its lives it is in.
    pub life: u32,
    pub since: u64,
    /// What it brings the host to: the last commit it took.
    pub prepared: Arc<Prepared>,
    pub known: Occupancy,
    look: Option<Look>,
    next_look: Option<Look>,
    /// What was observed last, and which changes of the host it has.
    pub observed: Option<Arc<Observation>>,
    seen_changes: (u64, u64),
    /// Looks since anything changed.
    still: u64,
    pub assigner: Arc<Assigner>,
    pub wakeup: Wakeup,
    heard: BTreeMap<usize, Heard>,
    is_applying: bool,
    /// Whether there were looks that the assignment has not heard of yet.
    pub has_looked: bool,
    filling: Option<(Plan, Arc<Prepared>, String)>,
    backoff: Backoff,
    pub last: Option<Plan>,
    pub is_planning_due: bool,
    /// How many looks it means to skip before its next one.
    rests: u64,
}

impl Agent {
    pub fn new(system: &System, state: &Path, prepared: Arc<Prepared>) -> Self {
        let (boot_id, wakeup) = (system.kernel.boot_id(), Wakeup::default());
        let run_dir = RunDir::new(state.join("run"));
        let assigner = Arc::new(Assigner::new(system.clone(), state.to_owned(), run_dir, wakeup.clone()));
        Self {
            is_up: true,
            life: 0,
            since: 0,
            prepared,
            known: Occupancy::new(&boot_id),
            look: None,
            next_look: None,
            observed: None,
            seen_changes: (0, 0),
            still: 0,
            assigner,
            wakeup,
            heard: BTreeMap::new(),
            is_applying: false,
            has_looked: false,
            filling: None,
            backoff: Backoff::default(),
            last: None,
            is_planning_due: true,
            rests: 0,
        }
    }

    pub fn hear(&mut self, card: usize) -> &mut Heard {
        let heard = self.heard.entry(card).or_default();
        for list in [&mut heard.discovers, &mut heard.fetches] {
            if list.len() > 8 {
                list.remove(0);
            }
        }
        heard
    }

    /// `serve` starts anew, or the server does: what it heard is gone.
    pub fn forget_heard(&mut self) {
        self.heard.clear();
    }

    /// Stops it.
    pub fn dies(&mut self) {
        self.is_up = false;
        self.life += 1;
        self.filling = None;
    }
}

/// The server's own time.
pub fn mono(sim: &Sim) -> Mono {
    sim.system.kernel.boottime().into()
}

/// It starts, and knows nothing.
pub fn start(sim: &Sim) {
    let mut inner = sim.lock();
    if !inner.server_up {
        return;
    }
    let prepared = inner.agent.prepared.clone();
    let (heard, life) = (std::mem::take(&mut inner.agent.heard), inner.agent.life + 1);
    inner.agent = Agent { heard, life, ..Agent::new(&sim.system, sim.path(), prepared) };
    inner.agent.since = inner.now;
    let bite = inner.options.bite;
    bite::at_start(bite, &mut inner.agent.known, mono(sim));
    inner.tell(|| "the agent starts".to_owned());
    inner.forget_ticks();
    inner.schedule(0, Event::Tick { life });
}

/// A look, and what follows from it.
pub fn tick(sim: &Sim, life: u32) {
    let (prepared, is_new_commit) = {
        let mut inner = sim.lock();
        if !inner.agent.is_up || inner.agent.life != life {
            return;
        }
        let is_new = !Arc::ptr_eq(&inner.agent.prepared, &inner.head);
        let head = inner.head.clone();
        inner.agent.prepared = head.clone();
        if is_new {
            crate::invariants::commit_taken(sim, &mut inner);
        }
        (head, is_new)
    };
    let (all, commands) = sim.host.changes();
    let (is_new_look, has_commands) = {
        let inner = sim.lock();
        (all != inner.agent.seen_changes.0 || is_new_commit || inner.agent.look.is_none(), commands != inner.agent.seen_changes.1)
    };
    let mut observation = None;
    if is_new_look {
        let known = if is_new_commit { Known::Nothing } else { Known::Attributes };
        observation = Some(observe(sim, &prepared, known));
        let mut inner = sim.lock();
        inner.agent.still = 0;
        inner.count("looks");
    } else {
        if has_commands {
            count_commands(sim);
        }
        let mut inner = sim.lock();
        forward(&mut inner.agent, mono(sim), &prepared, has_commands);
        inner.agent.still += 1;
    }
    let plans = {
        let mut inner = sim.lock();
        let agent = &mut inner.agent;
        let is_due = !agent.backoff.is_empty()
            || agent.still == 0
            || agent.still == 7 && may_have_moved(&agent.known)
            || agent.still.is_multiple_of(360)
            || std::mem::take(&mut agent.is_planning_due);
        let waits = !agent.assigner.waiting().is_empty() && agent.still.is_multiple_of(if agent.still < 20 { 1 } else { 6 });
        (is_due || waits) && !agent.is_applying
    };
    if plans {
        let observation = observation.unwrap_or_else(|| again(sim, &prepared));
        converge(sim, &prepared, observation);
    }
    rest(sim, life);
}

/// Whether a machine has a session on one target and none on another, which two looks a minute apart may prove it to have left.
fn may_have_moved(known: &Occupancy) -> bool {
    let machine = |target: &str| target.split([':', '.']).rev().nth(2).map(str::to_owned);
    let (at_work, silent): (Vec<_>, Vec<_>) = known.watches.iter().partition(|(_, watch)| watch.session.is_some());
    let at_work: BTreeSet<Option<String>> = at_work.into_iter().map(|(target, _)| machine(target)).collect();
    silent.into_iter().any(|(target, _)| at_work.contains(&machine(target)))
}

/// When it looks again: in ten seconds, or later where nothing can happen before.
fn rest(sim: &Sim, life: u32) {
    let mut inner = sim.lock();
    if !inner.agent.is_up || inner.agent.life != life {
        return;
    }
    let mut delay = LOOKS;
    if inner.agent.still > 20 && inner.agent.assigner.waiting().is_empty() && inner.agent.backoff.is_empty() {
        let to_plan = (360 - inner.agent.still % 360) * LOOKS;
        let next = inner.next_other().map_or(to_plan, |at| at.saturating_sub(inner.now));
        let looks = next.min(to_plan).div_ceil(LOOKS).max(1);
        inner.agent.rests = looks - 1;
        delay = looks * LOOKS;
    }
    inner.schedule(delay, Event::Tick { life });
}

/// Takes looks in at which nothing had changed, ten seconds apart, up to now; two minutes after a change they only add to what was quiet.
fn forward(agent: &mut Agent, now: Mono, prepared: &Prepared, has_commands: bool) {
    // Until now it was as before.
    catch_up(agent, now);
    agent.rests = 0;
    if has_commands {
        agent.look = agent.next_look.take();
    }
    let Some(look) = agent.look.clone() else { return };
    let known = std::mem::take(&mut agent.known);
    agent.known = known.after(&Look { at: now, ..look }, prepared.desired.room.machines.len());
    agent.has_looked = true;
}

/// What a look sees of which nothing but commands has changed.
fn count_commands(sim: &Sim) {
    let mut inner = sim.lock();
    let changes = sim.host.changes();
    inner.agent.seen_changes = changes;
    let Some(mut look) = inner.agent.look.clone() else { return };
    if let Seen::Present(targets) = &mut look.targets {
        for (name, target) in targets {
            let Some((commands, writes)) = sim.host.counters(name) else { continue };
            target.commands = Seen::Present(commands);
            target.writes = writes.map_or_else(|| Seen::Unreadable("a disk without a device".to_owned()), Seen::Present);
        }
    }
    if let Some(observed) = &mut inner.agent.observed {
        let observed = Arc::make_mut(observed);
        observed.written = host_written(sim, &observed.vg);
        if let Seen::Present(lio) = &mut observed.lio {
            for (name, target) in &mut lio.targets {
                for tpg in target.tpgs.values_mut() {
                    for (lun, shown) in &mut tpg.luns {
                        if let Some(count) =
                            sim.host.counter(&format!("iscsi/{name}/tpgt_1/lun/lun_{lun}/statistics/scsi_tgt_port/in_cmds"))
                        {
                            shown.commands = Seen::Present(count);
                        }
                    }
                    for (initiator, acl) in &mut tpg.acls {
                        for (lun, map) in &mut acl.luns {
                            if let Some(count) = sim.host.counter(&format!(
                                "iscsi/{name}/tpgt_1/acls/{initiator}/lun_{lun}/statistics/scsi_auth_intr/num_cmds"
                            )) {
                                map.commands = count;
                            }
                        }
                    }
                }
            }
        }
    }
    inner.agent.next_look = Some(look);
}

fn host_written(sim: &Sim, vg: &Seen<barista::observed::Vg>) -> BTreeMap<String, u64> {
    let devices = vg
        .present()
        .into_iter()
        .flat_map(|vg| vg.lvs.values())
        .filter(|lv| lv.tags.contains(barista::names::Mark::OURS))
        .filter_map(|lv| lv.device);
    devices
        .filter_map(|device| Some((format!("{}:{}", device.0, device.1), sim.system.kernel.disk_io(device).present()?.writes)))
        .collect()
}

/// What was observed last, where nothing changed since but the time and what the agent knows.
fn again(sim: &Sim, prepared: &Arc<Prepared>) -> Arc<Observation> {
    let mut inner = sim.lock();
    let kernel = &sim.system.kernel;
    match inner.agent.observed.clone() {
        Some(observed) if sim.host.changes() == inner.agent.seen_changes => {
            let mut observation = Arc::unwrap_or_clone(observed);
            (observation.at, observation.now) = (kernel.now(), kernel.boottime().into());
            finish(&mut inner, &mut observation);
            let (bite, prepared_of) = (inner.options.bite, inner.agent.prepared.clone());
            let assigner = inner.agent.assigner.clone();
            drop(inner);
            bite::on_observation(bite, sim, prepared, &mut observation);
            assigner.begin_look();
            let observation = Arc::new(observation);
            assigner.take_in(&prepared_of, &observation);
            observation
        }
        _ => {
            drop(inner);
            observe(sim, prepared, Known::Attributes)
        }
    }
}

/// Adds what the agent knows.
pub fn finish(inner: &mut crate::world::Inner, observation: &mut Observation) {
    observation.occupancy = Some(inner.agent.known.clone());
    observation.waiting = inner.agent.assigner.waiting();
    observation.paused = inner.agent.backoff.paused(observation.now, observation.waiting.keys());
    if let Some((_, _, volume)) = &inner.agent.filling {
        observation.filling.insert(volume.clone());
    }
}

/// What so much time of equal looks makes of an occupancy that had several of them already.
pub fn skip(known: &mut Occupancy, look: &Look, time: Duration) {
    known.at = known.at + time;
    let Seen::Present(targets) = &look.targets else { return };
    for (name, watch) in &mut known.watches {
        let Some(seen) = targets.get(name) else { continue };
        watch.at = known.at;
        watch.silent = if watch.session.is_some() { Vec::new() } else { vec![known.at] };
        if watch.session.is_some() {
            watch.sign = known.at;
            if matches!(watch.system, barista::observed::occupancy::SystemSeen::At(_))
                && watch.session.as_ref().is_some_and(|session| session.of == barista::observed::occupancy::Initiator::System)
            {
                watch.system = barista::observed::occupancy::SystemSeen::At(known.at);
            }
        } else if seen.offering == Offering::On && look.network == barista::observed::occupancy::Network::Up {
            watch.quiet += time;
        }
    }
}

/// What need not be read of targets, because the last look saw it.
#[derive(Debug, Clone, Copy)]
pub enum Known<'a> {
    Nothing,
    Attributes,
    /// But of what this plan made since.
    AttributesBut(&'a Plan),
}

/// Looks at the host as the agent does.
pub fn observe(sim: &Sim, prepared: &Arc<Prepared>, known: Known<'_>) -> Arc<Observation> {
    let scope = Scope::of(prepared, sim.path());
    let (assigner, before) = {
        let inner = sim.lock();
        (inner.agent.assigner.clone(), inner.agent.observed.clone())
    };
    assigner.begin_look();
    let before = before.as_ref().and_then(|before| before.lio.present());
    let known = match (before, known) {
        (None, _) | (_, Known::Nothing) => None,
        (Some(lio), Known::Attributes) => Some(Cow::Borrowed(lio)),
        (Some(lio), Known::AttributesBut(plan)) => plan::untouched(lio, plan).map(Cow::Owned),
    };
    let mut observation = host::observe_to(&sim.system, &scope, known.as_deref().map_or(Depth::Whole, Depth::Quick));
    let look = host::look(&sim.system, &scope, &observation);
    let mut inner = sim.lock();
    let seats = prepared.desired.room.machines.len();
    catch_up(&mut inner.agent, observation.now);
    if let Some(look) = look {
        let known = std::mem::take(&mut inner.agent.known);
        inner.agent.known = known.after(&look, seats);
        inner.agent.look = Some(look);
    }
    inner.agent.seen_changes = sim.host.changes();
    inner.count("observations");
    finish(&mut inner, &mut observation);
    let bite = inner.options.bite;
    drop(inner);
    bite::on_observation(bite, sim, prepared, &mut observation);
    let observation = Arc::new(observation);
    sim.lock().agent.observed = Some(observation.clone());
    assigner.take_in(prepared, &observation);
    observation
}

/// The looks that would have been before this moment, at which all was as at the last, have been.
pub fn catch_up(agent: &mut Agent, now: Mono) {
    let skipped = (now.since(agent.known.at).as_millis() as u64 / LOOKS).saturating_sub(1).min(agent.rests);
    if skipped > 0
        && let Some(before) = agent.look.clone()
    {
        skip(&mut agent.known, &before, Duration::from_millis(skipped * LOOKS));
        agent.rests -= skipped;
        agent.still += skipped;
        agent.has_looked = true;
    }
}

pub fn compute(sim: &Sim, prepared: &Prepared, observation: &Observation) -> Plan {
    let revision = Revision { id: "sim".into(), subject: String::new() };
    let mut plan = plan::compute(prepared, observation, revision.clone(), &Targets::default());
    sim.lock().count("plans");
    let bite = sim.lock().options.bite;
    bite::on_plan(bite, prepared, observation, revision, &mut plan);
    plan
}

/// Plans and applies until nothing is left, twice at most; a first plan, from a quick look, only tells that something is to be done, but
/// where somebody waits.
fn converge(sim: &Sim, prepared: &Arc<Prepared>, mut observation: Arc<Observation>) {
    let is_awaited = !sim.lock().agent.assigner.waiting().is_empty();
    for round in if is_awaited { 1..3 } else { 0..3 } {
        let plan = compute(sim, prepared, &observation);
        crate::invariants::planned(sim, prepared, &observation, &plan);
        sim.lock().agent.assigner.take_in_plan(&plan);
        sim.lock().agent.backoff.retain(&plan, &observation.filling);
        if plan.is_converged() {
            sim.lock().agent.last = Some(plan);
            return;
        }
        sim.lock().agent.last = Some(plan.clone());
        let waits_for_fill =
            sim.lock().agent.filling.is_some() && plan.steps.first().is_none_or(|step| matches!(step, Step::Fill { .. }));
        if waits_for_fill {
            return;
        }
        if round > 0 {
            let report = carry(sim, prepared, plan.clone());
            if !sim.lock().agent.is_up || sim.host.is_down() || sim.lock().broken.is_some() {
                return;
            }
            let mut inner = sim.lock();
            inner.agent.backoff.take_in(&report, mono(sim));
            for (_, subject, outcome) in &report.outcomes {
                if let Outcome::Failed(why) | Outcome::Stuck(why) = outcome {
                    inner.agent.is_planning_due = true;
                    inner.tell(|| format!("failed: {subject}: {why}"));
                }
            }
        }
        let known = if is_awaited { Known::AttributesBut(&plan) } else { Known::Nothing };
        observation = observe(sim, prepared, known);
    }
    sim.lock().agent.is_planning_due = true;
}

/// Carries a plan out; what is filled comes later, by itself.
fn carry(sim: &Sim, prepared: &Arc<Prepared>, mut plan: Plan) -> Report {
    let first_fill = plan.steps.iter().position(|step| matches!(step, Step::Fill { .. }));
    let mut fill = None;
    if let Some(at) = first_fill {
        let mut rest = plan.steps.split_off(at);
        rest.truncate(1);
        if sim.lock().agent.filling.is_none() {
            fill = Some(Plan { steps: rest, ..plan.clone() });
        }
    }
    let report = apply_plan(sim, prepared, &plan);
    let mut inner = sim.lock();
    if let Some(fill) = fill.filter(|_| inner.agent.is_up && !sim.host.is_down()) {
        let volume = fill.steps.iter().find_map(|step| match step {
            Step::Fill { change, .. } => match &fill.changes[change.0 as usize].subject {
                plan::Subject::Version { image, version, .. } => Some(format!("img.{image}.{version}")),
                _ => None,
            },
            _ => None,
        });
        inner.tell(|| format!("fills {volume:?}"));
        inner.agent.filling = Some((fill, prepared.clone(), volume.unwrap_or_default()));
        let (life, time) = (inner.agent.life, inner.rng.between(5 * SECOND, 10 * MINUTE));
        inner.schedule(time, Event::FillEnds { life });
    }
    report
}

pub fn fill_ends(sim: &Sim, life: u32) {
    let filling = {
        let mut inner = sim.lock();
        if !inner.agent.is_up || inner.agent.life != life {
            return;
        }
        inner.agent.filling.take()
    };
    let Some((plan, prepared, volume)) = filling else { return };
    let report = apply_plan(sim, &prepared, &plan);
    let mut inner = sim.lock();
    inner.tell(|| {
        format!(
            "filled {volume}: {:?}",
            report.outcomes.iter().map(|(_, _, outcome)| outcome).find(|outcome| **outcome != Outcome::Done)
        )
    });
    inner.agent.is_planning_due = true;
}

/// Has the product carry a plan out, and journals what it destroyed as the product does.
pub fn apply_plan(sim: &Sim, prepared: &Prepared, plan: &Plan) -> Report {
    let scope = Scope::of(prepared, sim.path());
    let (assigner, observed) = {
        let inner = sim.lock();
        (inner.agent.assigner.clone(), inner.agent.observed.clone())
    };
    let machines = observed.map(|observed| plan::keeps_waiting(prepared, &observed, plan)).unwrap_or_default();
    let _busy = assigner.work_on(machines);
    {
        let mut inner = sim.lock();
        inner.agent.is_applying = true;
        inner.truth.apply_began = Some(inner.now);
        inner.count("applies");
        let changes: Vec<String> = plan
            .changes
            .iter()
            .filter(|change| change.is_open())
            .map(|change| {
                format!("{:?} {} ({})", change.action, change.subject, plan::reason_text(&change.reason))
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        inner.tell(|| format!("applies: {}", changes.join("; ")));
    }
    let context = ApplyContext {
        state: sim.path().to_owned(),
        image_store: scope.image_store.clone(),
        configfs_deadline: CONFIGFS_DEADLINE,
        fills: Fills::Wait,
    };
    let run = || host::apply(&sim.system, plan, &context, &mut Silent);
    let report = Commands::new(&sim.system, sim.path()).counted(plan, prepared.desired.policy.max_destroy, run);
    let mut inner = sim.lock();
    inner.agent.is_applying = false;
    inner.truth.apply_began = None;
    // The table is no effect that is counted.
    inner.agent.seen_changes = (0, 0);
    drop(inner);
    crate::invariants::after_apply(sim);
    report
}
