//! The agent as it is run here: looks every ten seconds, plans, applies; answers boots; dies and starts again.
//!
//! It is the product's own observer, planner, interpreter and assignment, called in its order. A look at which nothing changed is
//! taken from memory, and many of them at once: what the occupancy makes of equal looks is known.

use crate::bite;
use crate::world::{Event, MINUTE, SECOND, Sim};
use barista::host::commands::{Commands, Entry};
use barista::host::{self, ApplyContext, CONFIGFS_DEADLINE, Fills, Scope, Silent};
use barista::names::{BootNonce, ImageName, MachineName, Mono};
use barista::observed::occupancy::{Look, Occupancy, Offering};
use barista::observed::{Observation, Seen, Waiting};
use barista::plan::assign::{self, Ask, Decision};
use barista::plan::{self, ChangeId, Disruption, Outcome, Plan, Prepared, Purpose, Report, Revision, Step, Targets};
use std::collections::{BTreeMap, BTreeSet};
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
    observed: Option<Arc<Observation>>,
    seen_changes: (u64, u64),
    /// Looks since anything changed.
    still: u64,
    pub waiting: BTreeMap<MachineName, (Waiting, u64)>,
    heard: BTreeMap<usize, Heard>,
    /// The machines that a plan which is being carried out touches.
    busy: Option<BTreeSet<MachineName>>,
    filling: Option<(Plan, Arc<Prepared>, String)>,
    /// Cards whose systems were seen: another machine of that address is refused.
    learned: BTreeSet<usize>,
    pub not_before: u64,
    pub last: Option<Plan>,
    pub is_planning_due: bool,
    /// How many looks it means to skip before its next one.
    rests: u64,
}

/// What a boot is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Target(String),
    Wait(String),
}

impl Agent {
    pub fn new(boot_id: &str, prepared: Arc<Prepared>) -> Self {
        Self {
            is_up: true,
            life: 0,
            since: 0,
            prepared,
            known: Occupancy::new(boot_id),
            look: None,
            next_look: None,
            observed: None,
            seen_changes: (0, 0),
            still: 0,
            waiting: BTreeMap::new(),
            heard: BTreeMap::new(),
            busy: None,
            filling: None,
            learned: BTreeSet::new(),
            not_before: 0,
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

    pub fn learn(&mut self, card: usize) {
        self.learned.insert(card);
    }

    /// `serve` starts anew, or the server does: what it heard is gone.
    pub fn forget_heard(&mut self) {
        self.heard.clear();
    }

    /// Stops it.
    pub fn dies(&mut self) {
        self.is_up = false;
        self.life += 1;
        self.waiting.clear();
        self.filling = None;
        self.busy = None;
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
    let boot_id = sim.system.kernel.boot_id();
    let prepared = inner.agent.prepared.clone();
    let (heard, learned, life) = (std::mem::take(&mut inner.agent.heard), inner.agent.learned.clone(), inner.agent.life + 1);
    inner.agent = Agent { heard, learned, life, ..Agent::new(&boot_id, prepared) };
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
        observation = Some(observe(sim, &prepared, true));
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
        let now = inner.now;
        let agent = &mut inner.agent;
        agent.waiting.retain(|_, (_, at)| now.saturating_sub(*at) < 3 * MINUTE);
        let is_due =
            matches!(agent.still, 0 | 7) || agent.still.is_multiple_of(360) || std::mem::take(&mut agent.is_planning_due);
        let waits = !agent.waiting.is_empty() && agent.still.is_multiple_of(if agent.still < 20 { 1 } else { 6 });
        (is_due || waits) && agent.not_before <= now && agent.busy.is_none()
    };
    if plans {
        let observation = observation.unwrap_or_else(|| again(sim, &prepared));
        converge(sim, &prepared, observation);
    }
    rest(sim, life);
}

/// When it looks again: in ten seconds, or later where nothing can happen before.
fn rest(sim: &Sim, life: u32) {
    let mut inner = sim.lock();
    if !inner.agent.is_up || inner.agent.life != life {
        return;
    }
    let mut delay = LOOKS;
    if inner.agent.still > 20 && inner.agent.waiting.is_empty() {
        let to_plan = (360 - inner.agent.still % 360) * LOOKS;
        let next = inner.next_other().map_or(to_plan, |at| at.saturating_sub(inner.now));
        let looks = next.min(to_plan).div_ceil(LOOKS).max(1);
        inner.agent.rests = looks - 1;
        delay = looks * LOOKS;
    }
    inner.schedule(delay, Event::Tick { life });
}

/// Takes looks in at which nothing had changed, ten seconds apart, up to now.
fn forward(agent: &mut Agent, now: Mono, prepared: &Prepared, has_commands: bool) {
    let Some(mut look) = agent.look.clone() else { return };
    if has_commands {
        agent.look = agent.next_look.take();
        if agent.rests > 0 {
            // Until now it was as before.
            skip(&mut agent.known, &look, Duration::from_millis(agent.rests * LOOKS));
            agent.still += std::mem::take(&mut agent.rests);
        }
        look = agent.look.clone().unwrap_or(look);
    }
    let seats = prepared.desired.room.machines.len();
    // Two minutes after a change equal looks only add to what was quiet.
    let skipped = std::mem::take(&mut agent.rests);
    if skipped > 0 {
        skip(&mut agent.known, &look, Duration::from_millis(skipped * LOOKS));
        agent.still += skipped;
    }
    let known = std::mem::take(&mut agent.known);
    agent.known = known.after(&Look { at: now, ..look }, seats);
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
                for (tag, tpg) in &mut target.tpgs {
                    let _ = tag;
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
fn again(sim: &Sim, prepared: &Prepared) -> Observation {
    let mut inner = sim.lock();
    let kernel = &sim.system.kernel;
    match inner.agent.observed.clone() {
        Some(observed) if sim.host.changes() == inner.agent.seen_changes => {
            let mut observation = Arc::unwrap_or_clone(observed);
            (observation.at, observation.now) = (kernel.now(), kernel.boottime().into());
            finish(&mut inner, &mut observation);
            let bite = inner.options.bite;
            drop(inner);
            bite::on_observation(bite, sim, prepared, &mut observation);
            observation
        }
        _ => {
            drop(inner);
            observe(sim, prepared, false)
        }
    }
}

/// Adds what the agent knows.
fn finish(inner: &mut crate::world::Inner, observation: &mut Observation) {
    observation.occupancy = Some(inner.agent.known.clone());
    observation.waiting = inner.agent.waiting.iter().map(|(name, (waiting, _))| (name.clone(), waiting.clone())).collect();
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

/// Looks at the host as the agent does.
pub fn observe(sim: &Sim, prepared: &Prepared, is_look: bool) -> Observation {
    let scope = Scope::of(prepared, sim.path());
    let mut observation = host::observe(&sim.system, &scope);
    let look = host::look(&sim.system, &scope, &observation);
    let mut inner = sim.lock();
    let seats = prepared.desired.room.machines.len();
    // A look out of turn: those that would have been before it have been.
    let skipped =
        (observation.now.since(inner.agent.known.at).as_millis() as u64 / LOOKS).saturating_sub(1).min(inner.agent.rests);
    if skipped > 0
        && let Some(before) = inner.agent.look.clone()
    {
        skip(&mut inner.agent.known, &before, Duration::from_millis(skipped * LOOKS));
        inner.agent.rests -= skipped;
    }
    if let Some(look) = look
        && (is_look || look.at > inner.agent.known.at)
    {
        let known = std::mem::take(&mut inner.agent.known);
        inner.agent.known = known.after(&look, seats);
        inner.agent.look = Some(look);
    }
    inner.agent.seen_changes = sim.host.changes();
    inner.count("observations");
    inner.agent.observed = Some(Arc::new(observation.clone()));
    finish(&mut inner, &mut observation);
    let bite = inner.options.bite;
    drop(inner);
    bite::on_observation(bite, sim, prepared, &mut observation);
    observation
}

pub fn compute(sim: &Sim, prepared: &Prepared, observation: &Observation) -> Plan {
    let revision = Revision { id: "sim".into(), subject: String::new() };
    let mut plan = plan::compute(prepared, observation, revision.clone(), &Targets::default());
    sim.lock().count("plans");
    let bite = sim.lock().options.bite;
    bite::on_plan(bite, prepared, observation, revision, &mut plan);
    plan
}

/// Plans and applies until nothing is left, twice at most.
fn converge(sim: &Sim, prepared: &Arc<Prepared>, mut observation: Observation) {
    for round in 0..2 {
        let plan = compute(sim, prepared, &observation);
        let is_done = plan.is_converged();
        crate::invariants::planned(sim, prepared, &observation, &plan);
        sim.lock().agent.last = Some(plan.clone());
        if is_done {
            return;
        }
        let waits_for_fill =
            sim.lock().agent.filling.is_some() && plan.steps.first().is_none_or(|step| matches!(step, Step::Fill { .. }));
        if waits_for_fill {
            return;
        }
        let report = carry(sim, prepared, plan);
        if !sim.lock().agent.is_up || sim.host.is_down() || sim.lock().broken.is_some() {
            return;
        }
        let failed = report.outcomes.iter().any(|(_, _, outcome)| matches!(outcome, Outcome::Failed(_) | Outcome::Stuck(_)));
        let mut inner = sim.lock();
        if failed {
            // As the agent does: what failed is tried again at the next look.
            inner.agent.is_planning_due = true;
            inner.agent.not_before = inner.now + LOOKS;
            for (_, subject, outcome) in &report.outcomes {
                if let Outcome::Failed(why) = outcome {
                    inner.tell(|| format!("failed: {subject}: {why}"));
                }
            }
            return;
        }
        drop(inner);
        if round == 0 {
            observation = observe(sim, prepared, true);
        } else {
            sim.lock().agent.is_planning_due = true;
        }
    }
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
    let machines =
        plan.changes.iter().filter(|change| change.is_open()).filter_map(|change| change.subject.machine().cloned()).collect();
    {
        let mut inner = sim.lock();
        inner.agent.busy = Some(machines);
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
    let commands = Commands::new(&sim.system, sim.path());
    let allowed = prepared.desired.policy.max_destroy;
    if commands.read().present().is_some_and(|journal| journal.allowance != Some(allowed)) {
        drop(commands.add(&Entry::Allowance { allowed, revision: "sim".into() }));
    }
    let context = ApplyContext {
        state: sim.path().to_owned(),
        image_store: scope.image_store.clone(),
        configfs_deadline: CONFIGFS_DEADLINE,
        fills: Fills::Wait,
    };
    let report = host::apply(&sim.system, plan, &context, &mut Silent);
    let lost = |(id, _, outcome): &&(ChangeId, plan::Subject, Outcome)| {
        let change = &plan.changes[id.0 as usize];
        *outcome == Outcome::Done && change.disruption == Disruption::LosesData && change.purpose == Purpose::Site
    };
    let count = report.outcomes.iter().filter(lost).count() as u32;
    if count > 0 {
        drop(commands.add(&Entry::Destroyed { count, revision: "sim".into() }));
    }
    let mut inner = sim.lock();
    inner.agent.busy = None;
    inner.truth.apply_began = None;
    // The table is no effect that is counted.
    inner.agent.seen_changes = (0, 0);
    drop(inner);
    crate::invariants::after_apply(sim);
    report
}

/// Somebody who is not the machine asks in its name: his fetches say nothing of its intent.
pub fn ask_from_elsewhere(sim: &Sim, card: usize, name: &MachineName, image: &ImageName, nonce: u64) -> Answer {
    let heard = sim.lock().agent.hear(card).clone();
    let waiting = sim.lock().agent.waiting.clone();
    let answer = ask(sim, card, name, image, nonce);
    let mut inner = sim.lock();
    *inner.agent.hear(card) = heard;
    inner.agent.waiting = waiting;
    answer
}

/// A boot asks which target it gets.
pub fn ask(sim: &Sim, card: usize, name: &MachineName, image: &ImageName, nonce: u64) -> Answer {
    let (prepared, waited) = {
        let inner = sim.lock();
        if !inner.agent.is_up {
            return Answer::Wait("no-agent".to_owned());
        }
        if inner.agent.busy.as_ref().is_some_and(|busy| busy.contains(name)) {
            return Answer::Wait("its seat is being worked on".to_owned());
        }
        let machine = &inner.machines[card];
        if machine.seems != card && inner.agent.learned.contains(&machine.seems) {
            return Answer::Wait("other-hardware".to_owned());
        }
        let waited = machine.waits.as_ref().map_or(0, |(since, _)| inner.now - since);
        (inner.agent.prepared.clone(), Duration::from_millis(waited))
    };
    let observation = observe(sim, &prepared, true);
    let boot = BootNonce::from_octets(nonce.to_be_bytes());
    let mut decision = assign::decide(&prepared, &observation, &Ask { machine: name, image, boot, waited });
    let bite = sim.lock().options.bite;
    bite::on_decision(bite, &mut decision);
    sim.lock().count("asks");
    match decision {
        Decision::Give(given) => {
            let done = host::give(&sim.system, sim.path(), name, boot, &given);
            match done {
                Ok(()) => {
                    sim.lock().agent.waiting.remove(name);
                    Answer::Target(given.target.to_string())
                }
                Err(error) => Answer::Wait(format!("again: {error}")),
            }
        }
        Decision::Wait(wait) => {
            let mut inner = sim.lock();
            let now = inner.now;
            let heard = inner.agent.hear(card).clone();
            if let Some(intent) = assign::boot_intent(&heard.discovers, &heard.fetches) {
                let known = inner.agent.waiting.get(name).filter(|(known, _)| known.image == *image);
                let intent = assign::newer_intent(known.map(|(known, _)| known.intent), Some(intent)).unwrap_or(intent);
                inner.agent.waiting.insert(name.clone(), (assign::waiting(image, intent), now));
                inner.agent.is_planning_due = true;
            }
            let known = inner.agent.waiting.get(name).map(|(waiting, _)| waiting.intent);
            inner.tell(|| {
                format!("{name} asks for {image} and waits: {wait:?}, with the intent {known:?} of {:?}", heard.discovers.len())
            });
            Answer::Wait(format!("{wait:?}"))
        }
        Decision::BeginAgain => Answer::Wait("begin-again".to_owned()),
        Decision::Unknown => Answer::Wait("unknown".to_owned()),
    }
}
