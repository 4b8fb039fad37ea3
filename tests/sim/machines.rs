//! Machines and whoever sits at them: firmware, script, operating system; work, sleep, resets.

use crate::agent;
use crate::asks::{self, Answer, Asks};
use crate::invariants;
use crate::rng::Rng;
use crate::systems::*;
use crate::world::{Event, HOUR, Inner, MINUTE, SECOND, Sim};
use barista::boot::table::{BootTable, PATH, Way};
use barista::host::fake::Content;
use barista::names::{ImageName, MachineName};
use std::collections::BTreeMap;

/// A machine.
pub struct Machine {
    /// The card whose address it has: another one's where it was cloned.
    pub seems: usize,
    pub rng: Rng,
    pub is_auto: bool,
    /// Raised whenever its power changes: what was due before is not.
    pub epoch: u32,
    /// How often it was switched on or reset.
    pub boot: u64,
    pub has_link: bool,
    /// Since when.
    pub link_since: u64,
    pub phase: Phase,
    /// The operating system that runs on it, asleep or not.
    pub system: Option<System>,
    /// What it was last told to wait for, and since when.
    pub waits: Option<(u64, String)>,
    /// What the next step does instead of what it likes.
    pub orders: Vec<Order>,
    /// The disks it used last, by image slot.
    pub last_used: BTreeMap<usize, Vec<String>>,
    /// The image it boots next, by its slot.
    pub wants: usize,
    /// Resets that follow one another.
    /// Its last boot that came to a system.
    pub came: u64,
}

/// What a machine does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    Off,
    Firmware,
    Script,
    /// Its menu is open; it was told this target.
    Menu {
        target: String,
        image: String,
        nonce: u64,
    },
    Reads {
        target: String,
        image: String,
        nonce: u64,
        left: u32,
    },
    Gap {
        target: String,
        image: String,
        nonce: u64,
    },
    Works,
    Asleep,
}

/// What somebody at a machine does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    Read,
    Write,
    Idle(u64),
    Sleep(u64),
    HardReset,
    WarmReset,
    PowerOff(u64),
    Browse,
    Menu(u64),
    SlowFirmware(u64),
    SlowGap(u64),
    LateAsk(u64),
}

/// An operating system on a machine.
#[derive(Debug, Clone)]
pub struct System {
    pub slot: usize,
    pub target: String,
    pub initiator: String,
    /// Its disks as it left them: number, UUID, content.
    pub disks: Vec<(u16, String, Content)>,
    /// When the server last had a sign of life of it.
    pub contact: u64,
    pub was_lost_with_others: bool,
    /// Since when it cannot reach its disk.
    pub lost: Option<u64>,
    /// Whether its disk may be gone by what the site says.
    pub is_forfeited: bool,
}

pub const OS_ISID: &str = "00023d000001";
const FIRMWARE_ISID: &str = "40002723a1b2";

impl Machine {
    pub fn new(card: usize, seed: u64, is_auto: bool) -> Self {
        Self {
            seems: card,
            rng: Rng::new(seed, 100 + card as u64),
            is_auto,
            epoch: 0,
            boot: 0,
            has_link: true,
            link_since: 0,
            phase: Phase::Off,
            system: None,
            waits: None,
            orders: Vec::new(),
            last_used: BTreeMap::new(),
            wants: crate::cafe::ALPHA,
            came: 0,
        }
    }

    pub fn address(&self) -> String {
        format!("192.168.77.{}", 101 + self.seems)
    }
}

impl Inner {
    /// A machine's next step comes after so long.
    pub fn then(&mut self, card: usize, delay: u64) {
        let epoch = self.machines[card].epoch;
        self.schedule(delay, Event::Step { card, epoch });
    }

    /// Switches a machine off, hard.
    pub fn cut_power(&mut self, card: usize) {
        let machine = &mut self.machines[card];
        machine.epoch += 1;
        machine.phase = Phase::Off;
        machine.system = None;
        machine.waits = None;
        self.abandon_sessions(card);
    }

    /// Switches a machine on, or resets it.
    pub fn power_on(&mut self, card: usize) {
        self.cut_power(card);
        let machine = &mut self.machines[card];
        machine.boot += 1;
        machine.phase = Phase::Firmware;
        let delay = machine.rng.between(8 * SECOND, 30 * SECOND);
        self.tell(|| format!("machine {card} starts"));
        self.then(card, delay);
    }

    pub fn name_of(&self, card: usize) -> Option<MachineName> {
        self.cafe.machines[self.machines[card].seems].as_ref().map(|name| name.parse().expect("legal"))
    }

    /// A sign that a boot begins, as `serve` hears it.
    pub fn hear_discover(&mut self, sim: &Sim, card: usize) {
        let now = agent::mono(sim);
        self.agent.hear(card).discovers.push(now);
    }
}

/// What a machine does when its turn comes.
pub fn step(sim: &Sim, card: usize, epoch: u32) {
    let phase = {
        let mut inner = sim.lock();
        let machine = &inner.machines[card];
        if machine.epoch != epoch || inner.broken.is_some() {
            return;
        }
        if inner.is_calm && machine.phase == Phase::Off && machine.is_auto {
            return;
        }
        let phase = machine.phase.clone();
        if phase == Phase::Off {
            inner.power_on(card);
            return;
        }
        phase
    };
    match phase {
        Phase::Off => {}
        Phase::Firmware => firmware(sim, card),
        Phase::Script => script(sim, card),
        Phase::Menu { target, image, nonce } => hook(sim, card, target, image, nonce),
        Phase::Reads { target, image, nonce, left } => reads(sim, card, target, image, nonce, left),
        Phase::Gap { target, image, nonce } => start_system(sim, card, &target, &image, nonce),
        Phase::Works => works(sim, card),
        Phase::Asleep => wakes(sim, card),
    }
}

/// Asks for an address, and then for the script.
pub fn firmware(sim: &Sim, card: usize) {
    let mut inner = sim.lock();
    let is_heard = inner.server_up && inner.machines[card].has_link;
    if is_heard {
        let seems = inner.machines[card].seems;
        inner.hear_discover(sim, seems);
        inner.machines[card].phase = Phase::Script;
        inner.then(card, 2 * SECOND);
    } else {
        // It tries its network card again, and in the end starts anew.
        inner.then(card, 30 * SECOND);
    }
}

pub fn table(sim: &Sim) -> Option<BootTable> {
    let text = std::fs::read_to_string(sim.path().join(PATH)).ok()?;
    BootTable::parse(&text).ok()
}

/// Fetches its script: what it is told to attach, or to wait for.
pub fn script(sim: &Sim, card: usize) {
    let mut inner = sim.lock();
    if !inner.server_up || !inner.machines[card].has_link {
        inner.machines[card].phase = Phase::Firmware;
        inner.then(card, 20 * SECOND);
        return;
    }
    inner.nonces += 1;
    let nonce = inner.nonces;
    let now = agent::mono(sim);
    let seems = inner.machines[card].seems;
    inner.agent.hear(seems).fetches.push(now);
    drop(inner);
    let table = table(sim);
    let mut inner = sim.lock();
    let mac = format!("52:54:00:77:00:{:02x}", seems + 1);
    let entry = table
        .as_ref()
        .and_then(|table| table.machines.iter().find(|(_, entry)| entry.macs.iter().any(|has| has.to_string() == mac)));
    let wanted = inner.machines[card].wants;
    let slot_of = |inner: &Inner, image: &ImageName| inner.cafe.slot(image);
    let found = entry.and_then(|(name, entry)| {
        let disk =
            entry.disks.iter().find(|(image, _)| slot_of(&inner, image) == Some(wanted)).or_else(|| entry.disks.iter().next());
        disk.map(|(image, disk)| (name.clone(), image.clone(), disk.clone()))
    });
    let Some((name, image, disk)) = found else {
        inner.machines[card].phase = Phase::Firmware;
        let delay = inner.machines[card].rng.between(MINUTE, 5 * MINUTE);
        inner.then(card, delay);
        return;
    };
    let late = take_order(&mut inner.machines[card], |order| matches!(order, Order::LateAsk(_)));
    let late = match late {
        Some(Order::LateAsk(delay)) => Some(delay),
        _ if inner.machines[card].is_auto && inner.machines[card].rng.chance(2) => {
            Some(inner.machines[card].rng.between(SECOND, 40 * SECOND))
        }
        _ => None,
    };
    if let (Some(delay), Way::Assigned) = (late, disk.way) {
        // The answer comes too late for this fetch; the machine asks again meanwhile.
        inner.schedule(delay, Event::LateAsk { card, image: image.to_string(), nonce });
        inner.tell(|| format!("machine {card}: an assignment for boot {nonce} is late by {} s", delay / SECOND));
        inner.machines[card].phase = Phase::Script;
        inner.then(card, 5 * SECOND);
        return;
    }
    drop(inner);
    let answer = match (disk.way, disk.target) {
        (Way::Fixed, Some(target)) => Answer::Target(target.to_string()),
        (Way::Fixed, None) => Answer::Wait("its target is not there yet".to_owned()),
        (Way::Assigned, _) => asks::ask(sim, card, &Asks { name: &name, image: &image, nonce, peer: None }),
    };
    let mut inner = sim.lock();
    match answer {
        Answer::Target(target) => {
            inner.machines[card].waits = None;
            inner.tell(|| format!("machine {card} ({name}) boot {nonce} is told {target}"));
            let order = take_order(&mut inner.machines[card], |order| matches!(order, Order::Menu(_)));
            let machine = &mut inner.machines[card];
            let open = match order {
                Some(Order::Menu(time)) => time,
                _ if machine.is_auto && machine.rng.chance(3) => machine.rng.between(MINUTE, HOUR),
                _ => SECOND,
            };
            machine.phase = Phase::Menu { target, image: image.to_string(), nonce };
            inner.then(card, open);
        }
        Answer::Wait(why) => {
            let before = inner.machines[card].waits.as_ref().filter(|(_, why)| !why.starts_with("refused"));
            let since = before.map_or(inner.now, |(since, _)| *since);
            if inner.machines[card].waits.as_ref().is_none_or(|(_, before)| *before != why) {
                inner.tell(|| format!("machine {card} ({name}) waits: {why}"));
            }
            inner.machines[card].waits = Some((since, why));
            invariants::waits(&mut inner, card, since);
            // A waiting script repeats `dhcp`; one that was refused waits for a key, and somebody presses one now and then.
            let pause = match &inner.machines[card].waits {
                Some((_, why)) if why.starts_with("refused") => 10 * MINUTE,
                Some((since, _)) if inner.now - since > 2 * MINUTE => 20 * SECOND,
                _ => 5 * SECOND,
            };
            inner.machines[card].phase = Phase::Firmware;
            inner.then(card, pause);
        }
    }
}

/// An assignment whose machine has long asked again is made all the same.
pub fn late_ask(sim: &Sim, card: usize, image: &str, nonce: u64) {
    let name = {
        let inner = sim.lock();
        if !inner.server_up {
            return;
        }
        inner.name_of(card)
    };
    let (Some(name), Ok(image)) = (name, image.parse()) else { return };
    let answer = asks::ask(sim, card, &Asks { name: &name, image: &image, nonce, peer: None });
    sim.lock().tell(|| format!("the late assignment for boot {nonce} of {name}: {answer:?}; nobody is told"));
}

pub fn initiator(target: &str) -> Option<String> {
    // The script names the initiator that the site of that moment says.
    let rest = target.split_once(':')?.1;
    Some(format!("{}:{}", crate::cafe::PREFIX, rest.split('.').next()?))
}

/// iPXE attaches the target it was told.
pub fn hook(sim: &Sim, card: usize, target: String, image: String, nonce: u64) {
    let (can, address, name) = {
        let inner = sim.lock();
        (inner.server_up && inner.machines[card].has_link, inner.machines[card].address(), inner.name_of(card))
    };
    let by_site = name.map(|name| format!("{}:{name}", crate::cafe::PREFIX));
    let by_target = initiator(&target);
    let mut done = None;
    if can {
        for initiator in by_site.into_iter().chain(by_target) {
            if sim.host.login_as(&target, &initiator, FIRMWARE_ISID, &address).is_ok() {
                done = Some(initiator);
                break;
            }
        }
    }
    let mut inner = sim.lock();
    let Some(initiator) = done else {
        inner.tell(|| format!("machine {card} cannot attach {target}"));
        // Every failure in a script begins again.
        inner.machines[card].phase = Phase::Firmware;
        inner.then(card, 5 * SECOND);
        return;
    };
    inner.add_session(card, &target, &initiator, FIRMWARE_ISID);
    drop(inner);
    drop(sim.host.read_disk(&target, &initiator, 0));
    invariants::firmware_came(sim, card, &target);
    let mut inner = sim.lock();
    let order = take_order(&mut inner.machines[card], |order| matches!(order, Order::SlowFirmware(_)));
    let machine = &mut inner.machines[card];
    let left = match order {
        Some(Order::SlowFirmware(time)) => (time / (15 * SECOND)) as u32,
        _ if machine.is_auto && machine.rng.chance(3) => 40,
        _ => 2,
    };
    machine.phase = Phase::Reads { target, image, nonce, left };
    inner.then(card, 3 * SECOND);
}

pub fn reads(sim: &Sim, card: usize, target: String, image: String, nonce: u64, left: u32) {
    let mut inner = sim.lock();
    let initiator = inner
        .sessions
        .iter()
        .find(|session| session.card == card && session.target == target && session.is_alive)
        .map(|session| session.initiator.clone());
    let can = inner.server_up && inner.machines[card].has_link;
    drop(inner);
    let read = initiator.filter(|_| can).is_some_and(|initiator| sim.host.read_disk(&target, &initiator, 0).is_ok());
    inner = sim.lock();
    if !read {
        // The loader lost its disk: somebody resets it.
        inner.tell(|| format!("machine {card} lost {target} while it loads"));
        inner.power_on(card);
        return;
    }
    if left > 0 {
        inner.machines[card].phase = Phase::Reads { target, image, nonce, left: left - 1 };
        let delay = inner.machines[card].rng.between(SECOND, 20 * SECOND);
        inner.then(card, delay);
        return;
    }
    // The loader ends, its connection with it; the kernel starts.
    inner.abandon_sessions(card);
    let order = take_order(&mut inner.machines[card], |order| matches!(order, Order::SlowGap(_)));
    let gap = match order {
        Some(Order::SlowGap(time)) => time,
        _ => inner.machines[card].rng.between(4 * SECOND, 40 * SECOND),
    };
    inner.machines[card].phase = Phase::Gap { target, image, nonce };
    inner.then(card, gap);
}
