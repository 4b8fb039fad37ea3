//! Answers `serve`: which target each entry of a booting machine's menu gets, or why it waits.
//!
//! `serve` only claims what it heard; sessions, counters, UUIDs and addresses are looked at here. A boot is answered from the agent's
//! last look, and what it gets is looked at once more before it is told. **Invariant:** no claim alone dooms a disk; nobody is told a
//! target before it is on record; a boot that the agent knows too little of waits.

use super::claimed::{intent, refused_address};
use super::hardware::{self, Hardware};
use super::planned::Planned;
use super::wakeup::Wakeup;
use crate::boot::assignment::{
    AgainCode, Answer, Assignment, ClientUuid, Decided, Generation, RefusalCode, Request, VERSION, WaitCode,
};
use crate::desired::SeatId;
use crate::diagnostic::Diagnostic;
use crate::host::{
    self, GiveError, LockError, RunDir, System, give,
    offered::{ReadBefore, Record},
};
use crate::names::{ImageName, Iqn, MachineName, Mono};
use crate::observed::occupancy::Initiator;
use crate::observed::{Observation, Seen, Waiting};
use crate::plan::assign::{Ask, Decision, Given, Wait, decide, newer_intent};
use crate::plan::{Plan, Prepared, concerning, secrets_trouble};
use crate::site::OtherHardware;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long a machine that waits for a disk is remembered after it asked last.
const FORGET: Duration = Duration::from_secs(120);

/// How soon a machine asks again whose disk is being made.
const MAKING_RETRY: u32 = 2;

/// Answers longer than this are of no use: the machine's own patience is over.
const LONGEST_BUDGET: Duration = Duration::from_secs(10);

/// Kept back of a budget, for the answer's way.
const MARGIN: Duration = Duration::from_millis(200);

/// Assigns disks to boots.
pub struct Assigner {
    system: System,
    state: PathBuf,
    run_dir: RunDir,
    wakeup: Wakeup,
    /// What was on record.
    read_before: ReadBefore,
    shared: Mutex<Shared>,
    changed: Condvar,
}

/// What the agent's loop and those who answer share.
#[derive(Default)]
struct Shared {
    /// The last look, and what was planned by it or the one before.
    seen: Option<Arc<LastLook>>,
    planned: Planned,
    /// The number of that look, and of the one that was begun last.
    looks: u64,
    begun: u64,
    /// Targets that were turned on since look so and so began, and machines of which more was changed.
    on: BTreeMap<Iqn, u64>,
    changed: BTreeMap<MachineName, u64>,
    /// Seats that somebody works on, and those that whoever carries a plan out has next.
    busy: BTreeSet<MachineName>,
    reserved: BTreeSet<MachineName>,
    /// Which hardware each machine's name stands for, and the boots of which that is still to be learned.
    hardware: Hardware,
    hardware_trouble: Option<String>,
    unproven: BTreeMap<MachineName, Unproven>,
    /// Boots that wait.
    waiting: BTreeMap<(MachineName, ImageName), Waiter>,
}

/// A boot that was given a disk, of which it is to be seen whether an operating system comes.
#[derive(Debug)]
struct Unproven {
    target: Iqn,
    uuid: ClientUuid,
    /// Who fetched the script.
    peer: IpAddr,
}

/// A look at the host, and what the site is by it.
struct LastLook {
    prepared: Arc<Prepared>,
    observation: Arc<Observation>,
    generation: Option<Generation>,
}

/// A boot that waits.
#[derive(Debug, Clone)]
struct Waiter {
    since: Mono,
    last: Mono,
    intent: Option<Mono>,
}

/// Seats that nobody else works on, until it is dropped.
pub struct Busy<'a> {
    assigner: &'a Assigner,
    machines: Vec<MachineName>,
    /// The same for other processes.
    locks: Vec<host::Lock>,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.locks.clear();
        let mut shared = self.assigner.lock();
        for machine in &self.machines {
            shared.busy.remove(machine);
        }
        drop(shared);
        self.assigner.changed.notify_all();
    }
}

impl Assigner {
    /// For the host of a state directory; the wakeup has the agent look at once.
    pub fn new(system: System, state: PathBuf, run_dir: RunDir, wakeup: Wakeup) -> Self {
        Self {
            system,
            state,
            run_dir,
            wakeup,
            read_before: ReadBefore::default(),
            shared: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self) -> Record<'_> {
        Record::new(&self.system, &self.state).read_before(&self.read_before)
    }

    fn now(&self) -> Mono {
        Mono::from(self.system.kernel.boottime())
    }

    /// Boots that wait now, for the agent's plan.
    pub fn waiting(&self) -> BTreeMap<MachineName, Waiting> {
        let now = self.now();
        let mut shared = self.lock();
        shared.waiting.retain(|_, waiter| now.since(waiter.last) <= FORGET);
        let mut waiting: BTreeMap<MachineName, Waiting> = BTreeMap::new();
        for ((machine, image), waiter) in &shared.waiting {
            if let Some(intent) = waiter.intent {
                waiting.entry(machine.clone()).or_default().images.insert(image.clone(), intent);
            }
        }
        waiting
    }

    /// The last look.
    pub fn last_look(&self) -> Option<Arc<Observation>> {
        self.lock().seen.as_ref().map(|seen| Arc::clone(&seen.observation))
    }

    /// What is wrong by the last look with the file of the CHAP secrets.
    pub fn secrets_trouble(&self) -> Option<Diagnostic> {
        let seen = self.lock().seen.clone()?;
        secrets_trouble(&seen.prepared, &seen.observation)
    }

    /// The agent begins to look.
    pub fn begin_look(&self) {
        self.lock().begun += 1;
    }

    /// Takes in what the agent saw.
    pub fn take_in(&self, prepared: &Arc<Prepared>, observation: &Arc<Observation>) {
        let learned = self.learn(prepared, observation);
        let generation = observation.published.present().map(|text| Generation::of(text));
        let seen = Arc::new(LastLook { prepared: Arc::clone(prepared), observation: Arc::clone(observation), generation });
        let mut shared = self.lock();
        shared.seen = Some(seen);
        shared.hardware_trouble = None;
        match learned {
            Ok(Seen::Present(hardware)) => shared.hardware = hardware,
            Ok(Seen::Absent) => shared.hardware = Hardware::default(),
            // What was known before counts.
            Ok(Seen::Unreadable(why)) => shared.hardware_trouble = Some(why),
            Err(error) => shared.hardware_trouble = Some(error.to_string()),
        }
        let look = shared.begun;
        shared.looks = look;
        // What was changed while it looked, it may not have seen.
        shared.on.retain(|_, begun| *begun >= look);
        shared.changed.retain(|_, begun| *begun >= look);
        drop(shared);
        self.changed.notify_all();
    }

    /// Takes in what is planned by what was taken in.
    pub fn take_in_plan(&self, plan: &Plan) {
        self.lock().planned = Planned::of(plan);
    }

    /// Why a boot waits that has no disk, by the plan.
    fn why_none(&self, seen: &LastLook, machine: &MachineName, image: &ImageName) -> WaitCode {
        let id = SeatId { machine: machine.clone(), image: image.clone() };
        let seat = seen.prepared.desired.storage.as_ref().and_then(|storage| storage.seats.get(&id));
        let images = seat.into_iter().flat_map(|seat| &seat.disks).map(|disk| &disk.image);
        self.lock().planned.why(machine, images)
    }

    /// What is wrong by the last look with what is known of the machines' hardware.
    pub fn hardware_trouble(&self) -> Option<Diagnostic> {
        self.lock().hardware_trouble.as_ref().map(|why| hardware::trouble(&self.state, why))
    }

    /// Learns the hardware of machines to whose disks an operating system came; what is known then.
    fn learn(&self, prepared: &Prepared, observation: &Observation) -> std::io::Result<Seen<Hardware>> {
        let session = |target: &Iqn| {
            let watch = observation.occupancy.as_ref().and_then(|known| known.watches.get(target.as_str()))?;
            watch.session.as_ref().filter(|session| session.of == Initiator::System)
        };
        let mut learned = Vec::new();
        self.lock().unproven.retain(|machine, boot| {
            let Some(session) = session(&boot.target) else { return true };
            // One from elsewhere says nothing of who fetched the script.
            if session.address == boot.peer.to_string()
                && let Some(known) = prepared.table.machines.get(machine)
            {
                learned.push((machine.clone(), known.macs.clone(), boot.uuid));
            }
            false
        });
        hardware::learn(&self.system, &self.state, &learned)
    }

    /// Whether a boot comes from other hardware than had the machine's name, and the site wants that refused.
    fn is_other_hardware(&self, request: &Request, prepared: &Prepared) -> bool {
        let (desired, table) = (&prepared.desired, &prepared.table);
        if desired.policy.other_hardware == OtherHardware::Accept {
            return false;
        }
        let Some(machine) = table.machines.get(&request.machine) else { return false };
        let moved = desired.storage.as_ref().and_then(|storage| storage.moved_machines.get(&request.machine));
        let names = std::iter::once(&request.machine).chain(moved.into_iter().flatten());
        self.lock().hardware.is_other(names, &machine.macs, request.uuid)
    }

    /// Keeps every other thread off these seats, and waits for whoever works on one.
    pub fn work_on(&self, machines: BTreeSet<MachineName>) -> Busy<'_> {
        let is_none = |seats: &BTreeSet<MachineName>| machines.iter().all(|machine| !seats.contains(machine));
        let wait = |shared| self.changed.wait(shared).unwrap_or_else(PoisonError::into_inner);
        let mut shared = self.lock();
        while !is_none(&shared.reserved) {
            shared = wait(shared);
        }
        // From here on no boot is answered anew, however many ask.
        shared.reserved.extend(machines.iter().cloned());
        while !is_none(&shared.busy) {
            shared = wait(shared);
        }
        shared.reserved.retain(|machine| !machines.contains(machine));
        shared.busy.extend(machines.iter().cloned());
        drop(shared);
        Busy { assigner: self, machines: machines.into_iter().collect(), locks: Vec::new() }
    }

    /// Answers a request within its budget.
    pub fn answer(&self, request: &Request) -> Answer {
        let seen = self.lock().seen.clone();
        if seen.as_ref().is_some_and(|seen| is_outdated(request, seen)) {
            return Answer { version: VERSION, decided: Decided::Again { code: AgainCode::Generation } };
        }
        // Nothing is locked, made or remembered for a machine that the site does not have.
        if seen.is_some_and(|seen| !seen.prepared.desired.room.machines.contains_key(&request.machine)) {
            return Answer::entries(request.entries.iter().map(|image| (image.clone(), not_in_site())).collect());
        }
        let began = self.now();
        let budget = Duration::from_millis(request.budget).min(LONGEST_BUDGET).saturating_sub(MARGIN);
        let deadline = began + budget;
        let mut entries = BTreeMap::new();
        for image in &request.entries {
            match self.entry(request, image, deadline) {
                Response::Entry(assignment) => drop(entries.insert(image.clone(), assignment)),
                Response::Again => return Answer { version: VERSION, decided: Decided::Again { code: AgainCode::Generation } },
            }
        }
        Answer::entries(entries)
    }

    fn entry(&self, request: &Request, image: &ImageName, deadline: Mono) -> Response {
        // By the first look nobody may have known yet that it waits.
        let mut has_looked = false;
        loop {
            let (busy, seen, looks) = match self.seat(&request.machine, deadline) {
                Ok(taken) => taken,
                Err(code) => return Response::Entry(Assignment::wait(code)),
            };
            let step = self.step(request, image, &seen);
            drop(busy);
            match step {
                Step::Response(told) => return told,
                Step::Look(code) => {
                    let is_known = has_looked || knows(&seen, request, image);
                    if is_known && matches!(code, WaitCode::NoSpace | WaitCode::Filling | WaitCode::Held) {
                        // The next look comes anyhow, and finds what changed.
                        return Response::Entry(Assignment::wait(code));
                    }
                    self.wakeup.look_at_host();
                    let is_hopeless = has_looked && code != WaitCode::Making;
                    has_looked = true;
                    if is_hopeless || !self.wait_for_look(looks, deadline) {
                        return Response::Entry(Assignment::Wait { code, retry: MAKING_RETRY, detail: BTreeMap::new() });
                    }
                }
            }
        }
    }

    /// Takes a seat, with the last look at the host; where that is not to be had in time, why.
    fn seat(&self, machine: &MachineName, deadline: Mono) -> Result<(Busy<'_>, Arc<LastLook>, u64), WaitCode> {
        let mut shared = self.lock();
        loop {
            if !shared.busy.contains(machine)
                && !shared.reserved.contains(machine)
                && !shared.changed.contains_key(machine)
                && let Some(seen) = shared.seen.clone()
            {
                shared.busy.insert(machine.clone());
                let looks = shared.looks;
                drop(shared);
                let mut busy = Busy { assigner: self, machines: vec![machine.clone()], locks: Vec::new() };
                busy.locks.extend(self.lock_out_processes(machine, deadline).ok_or(WaitCode::Held)?);
                return Ok((busy, seen, looks));
            }
            let left = deadline.since(self.now());
            if left.is_zero() {
                let is_moving = shared.changed.contains_key(machine);
                return Err(if is_moving { WaitCode::Moving } else { WaitCode::Held });
            }
            shared = self.changed.wait_timeout(shared, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes a seat's lock among processes; none where another has it till the deadline. Where no lock can be made at all, this
    /// process's own must do: a seat without a disk is worse.
    fn lock_out_processes(&self, machine: &MachineName, deadline: Mono) -> Option<Option<host::Lock>> {
        match host::lock::within(deadline.since(self.now()), || host::lock::seat(&self.run_dir, machine)) {
            Ok(lock) => Some(Some(lock)),
            Err(LockError::Held { .. }) => None,
            Err(error) => {
                tracing::error!(%machine, error = host::chain(&error), "going on without the seat's lock");
                Some(None)
            }
        }
    }

    fn wait_for_look(&self, looks: u64, deadline: Mono) -> bool {
        let mut shared = self.lock();
        while shared.looks <= looks {
            let left = deadline.since(self.now());
            if left.is_zero() {
                return false;
            }
            shared = self.changed.wait_timeout(shared, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn step(&self, request: &Request, image: &ImageName, seen: &LastLook) -> Step {
        if is_outdated(request, seen) {
            return Step::Response(Response::Again);
        }
        if let Some(refusal) = refused_address(&seen.prepared, request) {
            let detail = BTreeMap::from([("peer".to_owned(), request.peer.to_string().into())]);
            return Step::Response(Response::Entry(Assignment::Refused { code: refusal, detail }));
        }
        if self.is_other_hardware(request, &seen.prepared) {
            let detail = request.uuid.map(|uuid| ("uuid".to_owned(), uuid.to_string().into())).into_iter().collect();
            tracing::warn!(machine = %request.machine, uuid = ?request.uuid, "refused: other hardware than had this name before");
            return Step::Response(Response::Entry(Assignment::Refused { code: RefusalCode::OtherHardware, detail }));
        }
        // What was put on record since the look is what counts.
        let offered = self.record().read();
        let mut observation = concerning(&seen.prepared, &seen.observation, &request.machine, offered);
        if let Seen::Present(lio) = &mut observation.lio {
            for on in self.lock().on.keys() {
                let groups = lio.targets.get_mut(on.as_str()).into_iter().flat_map(|target| target.tpgs.values_mut());
                groups.for_each(|tpg| tpg.enabled = true);
            }
        }
        let intent = self.note_waiting(request, image, &observation);
        if let Some(intent) = intent {
            observation.waiting.entry(request.machine.clone()).or_default().images.insert(image.clone(), intent);
        }
        let ask = Ask { machine: &request.machine, image, boot: request.boot, waited: self.waited(&request.machine, image) };
        let wait = |code| Step::Response(Response::Entry(Assignment::wait(code)));
        match decide(&seen.prepared, &observation, &ask) {
            Decision::Give(given) => self.give(request, image, &given),
            Decision::BeginAgain => Step::Response(Response::Again),
            Decision::Unknown => Step::Response(Response::Entry(not_in_site())),
            Decision::Wait(Wait::Making) => Step::Look(self.why_none(seen, &request.machine, image)),
            Decision::Wait(Wait::NoCleanSide) => {
                self.wakeup.look_at_host();
                wait(WaitCode::NoCleanSide)
            }
            Decision::Wait(Wait::Moving) => {
                self.wakeup.look_at_host();
                wait(WaitCode::Moving)
            }
            Decision::Wait(Wait::Filling) => wait(WaitCode::Filling),
            Decision::Wait(Wait::Held) => wait(WaitCode::Held),
        }
    }

    fn give(&self, request: &Request, image: &ImageName, given: &Given) -> Step {
        let began = self.system.kernel.boottime();
        match give(&self.system, &self.record(), &request.machine, request.boot, given) {
            Ok(()) => {
                let millis = self.system.kernel.boottime().saturating_sub(began).as_secs_f64() * 1e3;
                tracing::debug!(target: "barista::timing", "an assignment took {millis:.2} ms");
                tracing::info!(machine = %request.machine, boot = %request.boot, target = %given.target, "a boot got its disk");
                let mut shared = self.lock();
                shared.waiting.remove(&(request.machine.clone(), image.clone()));
                if let Some(uuid) = request.uuid {
                    let boot = Unproven { target: given.target.clone(), uuid, peer: request.peer };
                    shared.unproven.insert(request.machine.clone(), boot);
                }
                // The next who asks finds it on; a kept disk that moved is seen by the next look only.
                let begun = shared.begun;
                shared.on.insert(given.target.clone(), begun);
                if !given.moves.is_empty() {
                    shared.changed.insert(request.machine.clone(), begun);
                }
                drop(shared);
                // Its next boot needs another one.
                self.wakeup.look_at_host();
                Step::Response(Response::Entry(Assignment::Assigned { target: given.target.clone() }))
            }
            Err(GiveError::Changed { target, what }) => {
                tracing::info!(machine = %request.machine, target, what, "a disk that was to be given changed; looking again");
                Step::Look(WaitCode::Making)
            }
            Err(GiveError::Failed(error)) => {
                tracing::error!(machine = %request.machine, error, "a disk could not be given");
                Step::Look(WaitCode::Held)
            }
        }
    }

    /// Takes down that a boot asks, and says what its firmware's intent is by the claims.
    fn note_waiting(&self, request: &Request, image: &ImageName, observation: &Observation) -> Option<Mono> {
        let now = self.now();
        let intent = intent(&request.claims, request.peer, &observation.boot_id, now);
        // When anything last moved on its disks, as far as anybody watched.
        let watches = observation.occupancy.iter().flat_map(|known| known.watches.values());
        let moved = watches.map(|watch| watch.sign.max(watch.since)).max();
        let mut shared = self.lock();
        let key = (request.machine.clone(), image.clone());
        let waiter = shared.waiting.entry(key).or_insert(Waiter { since: now, last: now, intent });
        waiter.last = now;
        waiter.intent = newer_intent(waiter.intent, intent, moved);
        waiter.intent
    }

    fn waited(&self, machine: &MachineName, image: &ImageName) -> Duration {
        let now = self.now();
        self.lock().waiting.get(&(machine.clone(), image.clone())).map_or(Duration::ZERO, |waiter| now.since(waiter.since))
    }
}

fn not_in_site() -> Assignment {
    Assignment::Refused { code: RefusalCode::NotInSite, detail: BTreeMap::new() }
}

/// Whether a look knew that a boot waits, so that what was planned by it says why.
fn knows(seen: &LastLook, request: &Request, image: &ImageName) -> bool {
    seen.observation.is_awaited(&request.machine, image)
}

/// Whether a request comes from another table than the published one.
fn is_outdated(request: &Request, seen: &LastLook) -> bool {
    seen.generation.as_ref().is_some_and(|generation| *generation != request.generation)
}

/// What an entry is told.
enum Response {
    Entry(Assignment),
    Again,
}

/// What comes of one try.
enum Step {
    Response(Response),
    /// Nothing, before the agent has looked again; else this is why.
    Look(WaitCode),
}
