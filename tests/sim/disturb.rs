//! What goes wrong, and what people do: operators, other tools, networks, clocks, power.

use crate::cafe::{ALPHA, BETA, GAMES, Reset, VG, source_name};
use crate::machines::Phase;
use crate::rng::Rng;
use crate::world::{DAY, Event, HOUR, Inner, MINUTE, SECOND, Sim, source};
use crate::{agent, asks};
use barista::host::{self, Command, Scope};
use barista::names::Mono;
use jiff::SignedDuration;
use std::time::Duration;

/// One thing that happens to the café.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disturbance {
    // Operators.
    NewVersion { slot: usize, is_half_copied: bool },
    RemoveMachine(usize),
    AddMachine(usize),
    RenameMachine(usize),
    RenameImage(usize),
    DropBeta,
    AddBeta,
    Policy(usize, Reset),
    Consent,
    NoConsent,
    MaxDestroy(u32),
    Sides(u32),
    ApplyByHand,
    // Other tools.
    ClearTargets,
    RenameVolume,
    CopyTags,
    LoseOffered,
    BackupOffered,
    RestoreOffered,
    LoseCommands,
    // The world.
    Outage { cards: Vec<usize>, time: u64 },
    CarrierLost(u64),
    Clock(i64),
    FailAt(u64),
    CutAt(u64),
    AgentDies(u64),
    ServerPauses(u64),
    Cloned(usize),
    Forged(usize),
    AllBoot,
}

/// What happens in so many days, by a seed.
pub fn draw(seed: u64, days: u64, machines: usize) -> Vec<(u64, Disturbance)> {
    let mut rng = Rng::new(seed, 2);
    let mut all = Vec::new();
    let mut count = 0;
    for day in 0..days {
        // Half of the days are quiet ones.
        let most = if rng.chance(50) { 3 } else { 9 };
        count += rng.below(most);
        for _ in 0..count {
            let at = day * DAY + rng.between(30 * MINUTE, DAY);
            let disturbance = one(&mut rng, machines);
            all.push((at, disturbance));
        }
        count = 0;
    }
    all.sort_by_key(|(at, _)| *at);
    all
}

fn one(rng: &mut Rng, machines: usize) -> Disturbance {
    let card = rng.below(machines as u64) as usize;
    match rng.below(104) {
        0..12 => {
            Disturbance::NewVersion { slot: [ALPHA, ALPHA, BETA, GAMES][rng.below(4) as usize], is_half_copied: rng.chance(40) }
        }
        12..15 => Disturbance::RemoveMachine(card),
        15..18 => Disturbance::AddMachine(card),
        18..22 => Disturbance::RenameMachine(card),
        22..24 => Disturbance::RenameImage(rng.below(3) as usize),
        24..26 => Disturbance::DropBeta,
        26..28 => Disturbance::AddBeta,
        28..34 => {
            let slot = rng.below(3) as usize;
            let reset = [Reset::EveryBoot, Reset::OnUpdate, Reset::Never][rng.below(3) as usize];
            Disturbance::Policy(slot, reset)
        }
        34..36 => Disturbance::Consent,
        36..37 => Disturbance::NoConsent,
        37..39 => Disturbance::MaxDestroy([0, 1, 5, 50][rng.below(4) as usize]),
        39..40 => Disturbance::Sides(2 + rng.below(2) as u32),
        40..44 => Disturbance::ApplyByHand,
        44..48 => Disturbance::ClearTargets,
        48..50 => Disturbance::RenameVolume,
        50..52 => Disturbance::CopyTags,
        52..54 => Disturbance::LoseOffered,
        54..56 => Disturbance::BackupOffered,
        56..58 => Disturbance::RestoreOffered,
        58..59 => Disturbance::LoseCommands,
        59..67 => {
            let cards = match rng.below(3) {
                0 => vec![card],
                1 => (0..machines).filter(|other| other % 3 == card % 3).collect(),
                _ => (0..machines).collect(),
            };
            let time = match rng.below(4) {
                0 => rng.between(MINUTE, 10 * MINUTE),
                1 => rng.between(10 * MINUTE, 3 * HOUR),
                2 => rng.between(3 * HOUR, DAY),
                _ => rng.between(DAY, 3 * DAY),
            };
            Disturbance::Outage { cards, time }
        }
        67..70 => Disturbance::CarrierLost(rng.between(MINUTE, 12 * HOUR)),
        70..74 => Disturbance::Clock([-7200, 7200, 400 * 86_400, -400 * 86_400][rng.below(4) as usize]),
        74..84 => Disturbance::FailAt(rng.between(1, 60)),
        84..92 => Disturbance::CutAt(rng.between(1, 80)),
        92..96 => Disturbance::AgentDies(if rng.chance(50) {
            rng.between(SECOND, 30 * SECOND)
        } else {
            rng.between(MINUTE, 40 * MINUTE)
        }),
        96..98 => Disturbance::ServerPauses(rng.between(MINUTE, 25 * MINUTE)),
        98..99 => Disturbance::Cloned(card),
        99..102 => Disturbance::Forged(card),
        _ => Disturbance::AllBoot,
    }
}

/// What stands in the group and is not ours.
pub fn plant_foreign(sim: &Sim) {
    let run = |line: &str| run(sim, line);
    run(&format!("lvcreate -y -L 64m -n homes {VG}"));
    run(&format!(
        "lvcreate -y -L 64m -n img.win.1 --addtag barista --addtag barista.site=dog --addtag barista.image=win --addtag barista.version=1 {VG}"
    ));
    run(&format!(
        "lvcreate -y -L 64m -n seat.pc01.delta.a --addtag barista --addtag barista.site=dog --addtag barista.machine=pc01 --addtag barista.image=delta {VG}"
    ));
    let mut inner = sim.lock();
    for volume in sim.host.volumes() {
        inner.truth.foreign.insert(volume.uuid.clone(), volume);
    }
}

/// Runs a command on the host as somebody else would.
fn run(sim: &Sim, line: &str) {
    let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
    drop(sim.system.commands.run(&Command::new(&argv, Duration::from_secs(1))));
}

impl Inner {
    /// A machine whose connection broke notices within seconds.
    pub fn notice(&mut self, card: usize) {
        let machine = &mut self.machines[card];
        if machine.phase == Phase::Works {
            machine.epoch += 1;
            let epoch = machine.epoch;
            self.schedule(5 * SECOND, Event::Step { card, epoch });
        }
    }

    fn all_notice(&mut self) {
        let now = self.now;
        for card in 0..self.machines.len() {
            let is_alive = self.sessions.iter().any(|session| session.card == card && session.is_alive);
            if let Some(system) = &mut self.machines[card].system
                && is_alive
            {
                system.contact = now;
            }
            self.notice(card);
        }
    }

    fn push(&mut self, change: impl FnOnce(&mut crate::cafe::Cafe)) {
        let before = self.cafe.clone();
        change(&mut self.cafe);
        match self.cafe.prepare() {
            Some(head) => self.head = head,
            None => {
                // A commit with errors is refused at the push.
                let why = self.cafe.findings();
                self.tell(|| format!("the push is refused: {}", why.lines().next().unwrap_or_default()));
                self.cafe = before;
            }
        }
    }
}

/// It happens.
pub fn happen(sim: &Sim, at: usize) {
    let disturbance = sim.lock().options.disturbances[at].1.clone();
    do_it(sim, disturbance);
}

pub fn do_it(sim: &Sim, disturbance: Disturbance) {
    {
        let mut inner = sim.lock();
        if inner.is_calm {
            return;
        }
        inner.tell(|| format!("** {disturbance:?}"));
        inner.count("disturbances");
    }
    let needs_server = !matches!(disturbance, Disturbance::Outage { .. } | Disturbance::Cloned(_));
    if needs_server && !sim.lock().server_up {
        return;
    }
    match disturbance {
        Disturbance::NewVersion { slot, is_half_copied } => new_version(sim, slot, is_half_copied),
        Disturbance::RemoveMachine(card) => {
            let count = sim.lock().cafe.machines.iter().flatten().count();
            if count > 2 {
                sim.lock().push(|cafe| cafe.machines[card] = None);
            }
        }
        Disturbance::AddMachine(card) => sim.lock().push(|cafe| {
            if cafe.machines[card].is_none() {
                cafe.former[card].clear();
                cafe.machines[card] = Some(format!("pc{:02}", card + 1));
            }
        }),
        Disturbance::RenameMachine(card) => sim.lock().push(|cafe| {
            if let Some(name) = cafe.machines[card].take() {
                cafe.machines[card] = Some(format!("{}x", name));
                cafe.former[card].push(name);
            }
        }),
        Disturbance::RenameImage(slot) => sim.lock().push(|cafe| {
            let image = &mut cafe.images[slot];
            let name = format!("{}x", image.name);
            let before = std::mem::replace(&mut image.name, name);
            image.former.push(before);
        }),
        Disturbance::DropBeta => sim.lock().push(|cafe| cafe.has_beta = false),
        Disturbance::AddBeta => sim.lock().push(|cafe| cafe.has_beta = true),
        Disturbance::Policy(slot, reset) => sim.lock().push(|cafe| cafe.images[slot].reset = reset),
        Disturbance::Consent => sim.lock().push(|cafe| cafe.may_destroy = vec!["*".to_owned()]),
        Disturbance::NoConsent => sim.lock().push(|cafe| cafe.may_destroy.clear()),
        Disturbance::MaxDestroy(count) => sim.lock().push(|cafe| cafe.max_destroy = count),
        Disturbance::Sides(count) => sim.lock().push(|cafe| cafe.sides = count),
        Disturbance::ApplyByHand => by_hand(sim),
        Disturbance::ClearTargets => {
            sim.host.clear_targets();
            let mut inner = sim.lock();
            inner.sessions.clear();
            inner.all_notice();
            inner.fine_since = inner.now;
        }
        Disturbance::RenameVolume => rename_volume(sim),
        Disturbance::CopyTags => copy_tags(sim),
        Disturbance::LoseOffered => sim.host.set_file(&sim.path().join(host::offered::PATH), None),
        Disturbance::BackupOffered => {
            let file = sim.host.file(&sim.path().join(host::offered::PATH));
            sim.lock().backup = file;
        }
        Disturbance::RestoreOffered => {
            let backup = sim.lock().backup.clone();
            if let Some(backup) = backup {
                sim.host.set_file(&sim.path().join(host::offered::PATH), Some(&backup));
            }
        }
        Disturbance::LoseCommands => sim.host.set_file(&sim.path().join(host::commands::PATH), None),
        Disturbance::Outage { cards, time } => outage(sim, &cards, time),
        Disturbance::CarrierLost(time) => {
            sim.host.set_carrier(false);
            let mut inner = sim.lock();
            inner.has_carrier = false;
            inner.schedule(time, Event::CarrierUp);
            drop(inner);
            let all: Vec<usize> = (0..sim.lock().machines.len()).collect();
            outage(sim, &all, time);
        }
        Disturbance::Clock(seconds) => sim.host.set_clock(SignedDuration::from_secs(seconds)),
        Disturbance::FailAt(n) => sim.host.fail_at(n),
        Disturbance::CutAt(n) => {
            sim.host.crash_at(n);
            sim.lock().schedule(10 * MINUTE, Event::CutAtLast);
        }
        Disturbance::AgentDies(time) => {
            let mut inner = sim.lock();
            inner.agent.dies();
            inner.forget_ticks();
            inner.schedule(time, Event::AgentStarts);
        }
        Disturbance::ServerPauses(time) => server_pauses(sim, time),
        Disturbance::Cloned(card) => {
            let mut inner = sim.lock();
            let other = (card + 1) % inner.machines.len();
            if inner.machines[other].seems == other {
                inner.cut_power(card);
                inner.machines[card].seems = other;
                inner.power_on(card);
            }
        }
        Disturbance::Forged(card) => forged(sim, card),
        Disturbance::AllBoot => {
            let mut inner = sim.lock();
            for card in 0..inner.machines.len() {
                if inner.machines[card].phase == Phase::Off {
                    inner.power_on(card);
                }
            }
        }
    }
}

fn new_version(sim: &Sim, slot: usize, is_half_copied: bool) {
    let mut inner = sim.lock();
    let number = inner.next_source;
    if number >= crate::world::SOURCES {
        return;
    }
    inner.next_source += 1;
    if is_half_copied {
        // Somebody still copies it when the commit comes.
        let whole = source(number);
        let half = whole.len() / 4;
        std::fs::write(sim.path().join("images").join(source_name(number)), &whole[..half]).expect("writable");
        inner.copying.insert(source_name(number));
        let time = inner.rng.between(MINUTE, 30 * MINUTE);
        inner.schedule(time, Event::SourceWhole { number, bytes: half });
    }
    inner.push(|cafe| {
        let image = &mut cafe.images[slot];
        image.versions.push((format!("v{}", image.versions.len() + 1), number));
        image.current = image.versions.len() - 1;
        if image.versions.len() > 4 {
            image.versions.remove(0);
            image.current -= 1;
            // Names do not come back.
            let last = image.versions.len() - 1;
            image.versions[last].0 = format!("n{number}");
        }
    });
}

fn by_hand(sim: &Sim) {
    let prepared = sim.lock().head.clone();
    let scope = Scope::of(&prepared, sim.path());
    let observation = host::observe(&sim.system, &scope);
    let plan = agent::compute(sim, &prepared, &observation);
    let mut plan = plan;
    // It waits for what is filled; here the agent does that.
    if let Some(at) = plan.steps.iter().position(|step| matches!(step, barista::plan::Step::Fill { .. })) {
        plan.steps.truncate(at);
    }
    if !plan.is_converged() {
        agent::apply_plan(sim, &prepared, &plan);
    }
}

fn rename_volume(sim: &Sim) {
    let volumes = sim.host.volumes();
    let mut inner = sim.lock();
    let used: Vec<String> = inner
        .machines
        .iter()
        .filter_map(|machine| machine.system.as_ref())
        .flat_map(|system| system.disks.iter().map(|(_, uuid, _)| uuid.clone()))
        .collect();
    let ours: Vec<_> = volumes
        .into_iter()
        .filter(|volume| {
            volume.name.starts_with("seat.") && !inner.truth.foreign.contains_key(&volume.uuid) && !used.contains(&volume.uuid)
        })
        .collect();
    if ours.is_empty() {
        return;
    }
    let at = inner.rng.below(ours.len() as u64) as usize;
    let volume = ours[at].clone();
    let to = format!("evidence{}", inner.now);
    inner.truth.excused.insert(volume.uuid.clone());
    drop(inner);
    run(sim, &format!("lvrename {} {} {to}", volume.vg, volume.name));
    let mut inner = sim.lock();
    inner.truth.excused.remove(&volume.uuid);
    // From now on it is nobody's business of ours.
    if let Some(is) = sim.host.volumes().into_iter().find(|is| is.uuid == volume.uuid && is.name == to) {
        inner.truth.foreign.insert(is.uuid.clone(), is);
    }
}

fn copy_tags(sim: &Sim) {
    let volumes = sim.host.volumes();
    let seat =
        volumes.iter().find(|volume| volume.name.starts_with("seat.") && volume.tags.iter().any(|tag| tag == "barista.site=cat"));
    let Some(seat) = seat else { return };
    let tags: String = seat.tags.iter().map(|tag| format!(" --addtag {tag}")).collect();
    let name = format!("copy{}", sim.lock().now);
    run(sim, &format!("lvcreate -y -L 4m -n {name}{tags} {VG}"));
    let mut inner = sim.lock();
    if let Some(is) = sim.host.volumes().into_iter().find(|volume| volume.name == name) {
        inner.truth.foreign.insert(is.uuid.clone(), is);
    }
}

fn outage(sim: &Sim, cards: &[usize], time: u64) {
    let mut inner = sim.lock();
    let now = inner.now;
    for card in cards {
        let was_alive = inner.sessions.iter().any(|session| session.card == *card && session.is_alive);
        inner.machines[*card].has_link = false;
        if was_alive && let Some(system) = &mut inner.machines[*card].system {
            system.contact = now;
        }
        inner.abandon_sessions(*card);
    }
    for card in cards {
        inner.notice(*card);
    }
    inner.schedule(time, Event::LinksUp(cards.to_vec()));
}

fn server_pauses(sim: &Sim, time: u64) {
    // Nothing of the server runs; its clock goes on.
    let mut inner = sim.lock();
    inner.agent.life += 1;
    let life = inner.agent.life;
    inner.forget_ticks();
    inner.server_up = false;
    inner.has_paused = true;
    let all: Vec<usize> = (0..inner.machines.len()).collect();
    let now = inner.now;
    for card in all {
        let was_alive = inner.sessions.iter().any(|session| session.card == card && session.is_alive);
        if was_alive && let Some(system) = &mut inner.machines[card].system {
            system.contact = now;
        }
        inner.notice(card);
    }
    inner.schedule(time, Event::ServerStarts);
    inner.schedule(time + SECOND, Event::Tick { life });
}

fn forged(sim: &Sim, card: usize) {
    // Somebody sends a DISCOVER with a machine's address and fetches its script from his own.
    let (name, image, nonce) = {
        let mut inner = sim.lock();
        let now: Mono = agent::mono(sim);
        inner.agent.hear(card).discovers.push(now);
        inner.nonces += 1;
        let name = inner.name_of(card);
        let image = inner.cafe.images[ALPHA].name.parse();
        (name, image, inner.nonces)
    };
    if let (Some(name), Ok(image)) = (name, image) {
        let peer = Some(std::net::Ipv4Addr::new(192, 168, 77, 240));
        let answer = asks::ask(sim, card, &asks::Asks { name: &name, image: &image, nonce, peer });
        sim.lock().tell(|| format!("the forger is told {answer:?}"));
    }
}

/// The host lost its power.
pub fn power_cut(sim: &Sim) {
    sim.host.revive();
    sim.host.reboot();
    let mut inner = sim.lock();
    inner.tell(|| "** the server loses its power".to_owned());
    inner.count("power cuts");
    inner.all_notice();
    inner.sessions.clear();
    inner.server_up = false;
    inner.agent.dies();
    inner.agent.forget_heard();
    inner.forget_ticks();
    let time = inner.rng.between(MINUTE, 10 * MINUTE);
    inner.schedule(time, Event::ServerStarts);
    let late = if inner.rng.chance(80) { inner.rng.between(5 * SECOND, MINUTE) } else { inner.rng.between(MINUTE, 30 * MINUTE) };
    inner.schedule(time + late, Event::AgentStarts);
}

pub fn cut_at_last(sim: &Sim) {
    // It may have come already.
    if sim.host.is_armed() {
        power_cut(sim);
    }
}

pub fn server_starts(sim: &Sim) {
    let mut inner = sim.lock();
    inner.server_up = true;
    inner.fine_since = inner.now;
    inner.has_paused = false;
    inner.tell(|| "the server runs".to_owned());
}

/// Everything stops going wrong; machines are switched off.
pub fn calm(sim: &Sim) {
    let mut inner = sim.lock();
    inner.is_calm = true;
    inner.tell(|| "-- nothing goes wrong from now on".to_owned());
    inner.has_carrier = true;
    for card in 0..inner.machines.len() {
        inner.machines[card].has_link = true;
        inner.machines[card].link_since = inner.now;
        inner.machines[card].seems = card;
    }
    if !inner.server_up {
        inner.server_up = true;
    }
    let all: Vec<String> = inner.copying.iter().cloned().collect();
    drop(inner);
    sim.host.set_carrier(true);
    if sim.host.is_armed() {
        sim.host.revive();
    }
    for name in all {
        let number: usize = name.trim_start_matches("source").trim_end_matches(".raw").parse().expect("a number");
        std::fs::write(sim.path().join("images").join(&name), source(number)).expect("writable");
        sim.lock().copying.remove(&name);
    }
    let is_up = sim.lock().agent.is_up;
    if !is_up {
        agent::start(sim);
    }
    // Whose address two machines had, its operator says which is right.
    let names: Vec<String> = sim.lock().cafe.machines.iter().flatten().cloned().collect();
    for name in names {
        drop(barista::agent::hardware::accept(&sim.system, sim.path(), &name.parse().expect("legal")));
    }
    let mut inner = sim.lock();
    inner.fine_since = inner.now;
}

pub fn everything_off(sim: &Sim) {
    let mut inner = sim.lock();
    for card in 0..inner.machines.len() {
        inner.cut_power(card);
        inner.machines[card].is_auto = false;
    }
}

/// Boots every machine of the site once, and sees that each gets a system.
pub fn every_machine_boots(sim: &Sim) {
    let cards: Vec<usize> = {
        let inner = sim.lock();
        (0..inner.machines.len()).filter(|card| inner.cafe.machines[*card].is_some()).collect()
    };
    for card in &cards {
        let mut inner = sim.lock();
        inner.machines[*card].orders.clear();
        inner.machines[*card].wants = ALPHA;
        inner.power_on(*card);
    }
    sim.run_for(5 * MINUTE);
    let mut inner = sim.lock();
    for card in cards {
        if inner.machines[card].came != inner.machines[card].boot {
            let why = inner.machines[card].waits.clone();
            let held =
                inner.agent.last.iter().flat_map(|plan| plan.held().map(|(change, hold)| format!("{}: {hold}", change.subject)));
            let held: Vec<String> = held.collect();
            inner.breaks(format!("at the end machine {card} does not boot: {why:?}; held are {}", held.join("; ")));
        }
    }
}
