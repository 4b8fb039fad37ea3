//! Operating systems at work: they log in, write, sleep, wake, are switched off.

use crate::invariants;
use crate::machines::*;
use crate::world::{Event, HOUR, MINUTE, SECOND, Sim};
use crate::{agent, asks};
use barista::host::fake::Content;
use barista::names::ImageName;

pub fn login_system(sim: &Sim, card: usize, target: &str, initiator: &str) -> Result<(), String> {
    let (can, address) = {
        let inner = sim.lock();
        (inner.server_up && inner.machines[card].has_link, inner.machines[card].address())
    };
    if !can {
        return Err("no network".to_owned());
    }
    sim.host.login_as(target, initiator, OS_ISID, &address)?;
    sim.lock().add_session(card, target, initiator, OS_ISID);
    sim.host.read_disk(target, initiator, 0)
}

pub fn start_system(sim: &Sim, card: usize, target: &str, image: &str, nonce: u64) {
    let name = sim.lock().name_of(card);
    let by_site = name.map(|name| format!("{}:{name}", crate::cafe::PREFIX));
    let candidates: Vec<String> = by_site.into_iter().chain(initiator(target)).collect();
    let found = candidates.into_iter().find(|initiator| login_system(sim, card, target, initiator).is_ok());
    let mut inner = sim.lock();
    let Some(initiator) = found else {
        inner.tell(|| format!("machine {card}: its system does not find {target}"));
        inner.power_on(card);
        return;
    };
    let slot = image.parse().ok().and_then(|image: ImageName| inner.cafe.slot(&image)).unwrap_or_default();
    inner.tell(|| format!("machine {card}: a system of {image} runs on {target} (boot {nonce})"));
    inner.count("boots");
    let boot = inner.machines[card].boot;
    drop(inner);
    let disks = disks_of(sim, target);
    invariants::system_came(sim, card, slot, target, &disks);
    let mut inner = sim.lock();
    let contact = inner.now;
    let own = disks.iter().map(|(_, uuid, _)| uuid.clone()).collect();
    let machine = &mut inner.machines[card];
    machine.last_used.insert(slot, own);
    machine.system = Some(System {
        slot,
        target: target.to_owned(),
        initiator,
        disks,
        contact,
        was_lost_with_others: false,
        lost: None,
        is_forfeited: false,
    });
    machine.phase = Phase::Works;
    machine.came = boot;
    inner.then(card, 5 * SECOND);
}

/// The disks that a target shows: number, UUID, content.
pub fn disks_of(sim: &Sim, target: &str) -> Vec<(u16, String, Content)> {
    let luns = sim.host.target(target).map(|target| target.luns).unwrap_or_default();
    luns.into_iter().filter_map(|(lun, vg, lv)| sim.host.volume(&vg, &lv).map(|(uuid, content)| (lun, uuid, content))).collect()
}

pub fn take_order(machine: &mut Machine, which: impl Fn(&Order) -> bool) -> Option<Order> {
    let at = machine.orders.iter().position(which)?;
    Some(machine.orders.remove(at))
}

/// What somebody at a machine that works does next.
pub fn choose(machine: &mut Machine) -> Order {
    let rng = &mut machine.rng;
    match rng.below(100) {
        0..30 => Order::Read,
        30..62 => Order::Write,
        62..72 => Order::Idle(rng.between(10 * MINUTE, 2 * HOUR)),
        72..80 => {
            Order::Sleep(if rng.chance(50) { rng.between(MINUTE, 30 * MINUTE) } else { rng.between(30 * MINUTE, 12 * HOUR) })
        }
        80..86 => Order::HardReset,
        86..88 => Order::WarmReset,
        88..90 => Order::Browse,
        _ => Order::PowerOff(if rng.chance(60) { rng.between(20 * MINUTE, 3 * HOUR) } else { rng.between(3 * HOUR, 14 * HOUR) }),
    }
}

pub fn works(sim: &Sim, card: usize) {
    // Whether its disk is still there comes first.
    if !reaches(sim, card) {
        return;
    }
    let mut inner = sim.lock();
    let is_calm = inner.is_calm;
    let machine = &mut inner.machines[card];
    let order = match take_order(machine, |order| {
        !matches!(order, Order::Menu(_) | Order::SlowFirmware(_) | Order::SlowGap(_) | Order::LateAsk(_))
    }) {
        Some(order) => order,
        None if is_calm => Order::PowerOff(0),
        None if machine.is_auto => choose(machine),
        None => {
            // Nobody is there: its session is kept up, and nothing else.
            inner.then(card, 10 * MINUTE);
            return;
        }
    };
    drop(inner);
    match order {
        Order::Read => io(sim, card, false),
        Order::Write => io(sim, card, true),
        Order::Idle(time) => {
            sim.lock().then(card, time);
        }
        Order::Sleep(time) => {
            let mut inner = sim.lock();
            inner.tell(|| format!("machine {card} sleeps for {} min", time / MINUTE));
            inner.abandon_sessions(card);
            inner.machines[card].phase = Phase::Asleep;
            inner.then(card, time);
        }
        Order::HardReset => {
            let mut inner = sim.lock();
            inner.tell(|| format!("machine {card} is reset"));
            inner.power_on(card);
            if inner.machines[card].is_auto && inner.machines[card].rng.chance(20) {
                // Three resets in a minute.
                for at in 1..3 {
                    inner.schedule(at * 20 * SECOND, Event::Reset(card));
                }
            }
        }
        Order::WarmReset => {
            let mut inner = sim.lock();
            inner.tell(|| format!("machine {card} restarts its system"));
            let ends: Vec<_> = inner.sessions.iter().filter(|session| session.card == card).cloned().collect();
            inner.sessions.retain(|session| session.card != card);
            drop(inner);
            ends.iter().for_each(|session| sim.host.end_session(&session.target, &session.initiator, &session.isid));
            sim.lock().power_on(card);
        }
        Order::PowerOff(time) => {
            let mut inner = sim.lock();
            inner.tell(|| format!("machine {card} is switched off"));
            let ends: Vec<_> = inner.sessions.iter().filter(|session| session.card == card).cloned().collect();
            inner.sessions.retain(|session| session.card != card);
            drop(inner);
            ends.iter().for_each(|session| sim.host.end_session(&session.target, &session.initiator, &session.isid));
            let mut inner = sim.lock();
            inner.cut_power(card);
            let machine = &mut inner.machines[card];
            machine.wants = if machine.is_auto && machine.rng.chance(25) { crate::cafe::BETA } else { machine.wants };
            if machine.is_auto && machine.wants == crate::cafe::BETA && machine.rng.chance(50) {
                machine.wants = crate::cafe::ALPHA;
            }
            if inner.machines[card].is_auto {
                inner.then(card, time);
            }
        }
        Order::Browse => {
            let name = {
                let mut inner = sim.lock();
                inner.nonces += 1;
                let now = agent::mono(sim);
                inner.agent.hear(card).fetches.push(now);
                inner.tell(|| format!("a browser on machine {card} fetches its script"));
                inner.name_of(card).map(|name| (name, inner.nonces))
            };
            if let Some((name, nonce)) = name
                && let Some(image) = image_of(sim, card)
            {
                let answer = asks::ask(sim, card, &asks::Asks { name: &name, image: &image, nonce, peer: None });
                sim.lock().tell(|| format!("it reads {answer:?}"));
            }
            sim.lock().then(card, MINUTE);
        }
        _ => sim.lock().then(card, MINUTE),
    }
}

pub fn image_of(sim: &Sim, card: usize) -> Option<ImageName> {
    let inner = sim.lock();
    let slot = inner.machines[card].system.as_ref()?.slot;
    inner.cafe.images[slot].name.parse().ok()
}

/// Whether a system reaches its disk; where it does not it logs in again, to its old target.
pub fn reaches(sim: &Sim, card: usize) -> bool {
    let (target, initiator, has_session, can) = {
        let inner = sim.lock();
        let Some(system) = &inner.machines[card].system else { return false };
        let has = inner.sessions.iter().any(|session| {
            session.card == card && session.is_alive && session.target == system.target && session.isid == OS_ISID
        });
        (system.target.clone(), system.initiator.clone(), has, inner.server_up && inner.machines[card].has_link)
    };
    let mut works = Err("no network".to_owned());
    if can && has_session {
        works = sim.host.read_disk(&target, &initiator, 0);
    }
    if can && works.is_err() {
        works = login_system(sim, card, &target, &initiator);
    }
    if works.is_ok() {
        invariants::system_is_back(sim, card);
    }
    let mut inner = sim.lock();
    let now = inner.now;
    let Some(system) = &mut inner.machines[card].system else { return false };
    match works {
        Ok(()) => {
            system.lost = None;
            system.contact = now;
            system.was_lost_with_others = false;
            true
        }
        Err(why) => {
            if system.lost.is_none() {
                system.lost = Some(now);
                inner.tell(|| format!("machine {card} does not reach {target}: {why}"));
            }
            invariants::system_is_lost(sim, &mut inner, card, &why);
            let is_over = inner.machines[card].system.as_ref().is_some_and(|system| system.is_forfeited);
            if is_over {
                // Somebody sees a frozen machine and resets it.
                inner.power_on(card);
            } else {
                inner.then(card, 10 * SECOND);
            }
            false
        }
    }
}

pub fn io(sim: &Sim, card: usize, writes: bool) {
    let (target, initiator, lun) = {
        let mut inner = sim.lock();
        let machine = &mut inner.machines[card];
        let Some(system) = &machine.system else { return };
        let numbers: Vec<u16> = system.disks.iter().map(|(lun, _, _)| *lun).collect();
        let lun = if machine.rng.chance(70) { 0 } else { numbers[machine.rng.below(numbers.len() as u64) as usize] };
        (system.target.clone(), system.initiator.clone(), lun)
    };
    let done = match writes {
        true => sim.host.write(&target, &initiator, lun, 300 << 10),
        false => sim.host.read_disk(&target, &initiator, lun),
    };
    let disks = disks_of(sim, &target);
    let mut inner = sim.lock();
    let now = inner.now;
    let is_auto = inner.machines[card].is_auto;
    if let Some(system) = &mut inner.machines[card].system
        && done.is_ok()
    {
        system.contact = now;
        if writes {
            for (lun_of, uuid, content) in &mut system.disks {
                if *lun_of == lun
                    && let Some((_, is, now)) = disks.iter().find(|(number, _, _)| *number == lun)
                    && is == uuid
                {
                    content.clone_from(now);
                }
            }
        }
    }
    let delay = if is_auto { inner.machines[card].rng.between(5 * MINUTE, 50 * MINUTE) } else { 5 * SECOND };
    inner.then(card, delay);
}

pub fn wakes(sim: &Sim, card: usize) {
    let mut inner = sim.lock();
    inner.tell(|| format!("machine {card} wakes"));
    inner.machines[card].phase = Phase::Works;
    inner.then(card, SECOND);
}
