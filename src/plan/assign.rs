//! Which side a booting machine gets.
//!
//! A wrong guess costs a spare, never somebody's disk: a boot is given a clean side, or one that no operating system has used, and
//! never touches another. **Invariant:** a side that an operating system may have used is given to no other boot, but where the site
//! accepts leftovers in writing.

use super::context::Context;
use super::target::{ToShow, shape, shape_of};
use super::view::{Kind, MachineSeen, Need, SideSeen, State, awaits_version, image_of, is_clone};
use super::{PortalGroup, Prepared, TargetPlan, stock_of};
use crate::desired::{DiskSeat, Reset, SeatId};
use crate::names::{BootNonce, DiskId, Handle, ImageName, Iqn, Lun, MachineName, Mono, Side};
use crate::observed::{Boot, Lio, Observation, Seen};
use crate::site::StaleBoot;
use std::time::Duration;

/// A boot that asks for a side.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// The machine.
    pub machine: &'a MachineName,
    /// What it boots.
    pub image: &'a ImageName,
    /// Which boot of it.
    pub boot: BootNonce,
    /// How long it has been waiting.
    pub waited: Duration,
}

/// What a boot gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// This side.
    Give(Given),
    /// Nothing yet.
    Wait(Wait),
    /// A disk that an operating system has used under this very boot: the machine has to begin again.
    BeginAgain,
    /// The site has no such seat.
    Unknown,
}

/// A side that a boot gets, and what has to be done for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The side.
    pub side: Side,
    /// Its target.
    pub target: Iqn,
    /// The disks that are put on record: its own, and those that come with it.
    pub disks: Vec<Handle>,
    /// Whether it is clean: then nothing may have reached it.
    pub expects: Expect,
    /// Kept disks that are shown here from now on.
    pub moves: Vec<Move>,
}

/// What a side must still be at the moment it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Off, and without a command.
    Clean,
    /// Offered to another boot, and without a sign of an operating system: no session of one, no write to these devices.
    Untouched(Vec<(u32, u32)>),
    /// As it was seen.
    Known,
}

/// A kept disk that goes from one target to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Its backstore below `core/`.
    pub backstore: String,
    /// What makes that backstore, where nothing shows the disk yet.
    pub make: Option<Box<TargetPlan>>,
    /// The disk.
    pub disk: DiskId,
    /// The target that shows it, with its LUN and the initiators that see it.
    pub from: Option<(Iqn, Lun, Vec<String>)>,
    /// The LUN it gets.
    pub lun: Lun,
    /// Who is to see it.
    pub initiator: Iqn,
}

/// Why a boot waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// No clean side is there, and none can be made before one of the used ones is proven free.
    NoCleanSide,
    /// A clean side is to be made, if the plan can.
    Making,
    /// The version is being filled.
    Filling,
    /// A kept disk is still on the side of the boot before.
    Moving,
    /// Something of the seat is held, or cannot be seen.
    Held,
}

/// Decides what a boot gets.
pub fn decide(prepared: &Prepared, observation: &Observation, ask: &Ask<'_>) -> Decision {
    let desired = &prepared.desired;
    let nothing = Lio::default();
    let Some(storage) = &desired.storage else { return Decision::Unknown };
    let id = SeatId { machine: ask.machine.clone(), image: ask.image.clone() };
    let Some(seat) = storage.seats.get(&id) else { return Decision::Unknown };
    let stock = stock_of(desired, observation);
    let (Some(stock), Seen::Present(vg)) = (&stock, &observation.vg) else { return Decision::Wait(Wait::Held) };
    let lio = match &observation.lio {
        Seen::Present(lio) => lio,
        Seen::Absent => &nothing,
        Seen::Unreadable(_) => return Decision::Wait(Wait::Held),
    };
    let context = Context::new(desired, storage, observation, vg, lio, stock);
    let seen = MachineSeen::new(&context, ask.machine);
    Choice { context: &context, seen: &seen, id: &id, seat, ask }.decide()
}

struct Choice<'c, 'a> {
    context: &'c Context<'a>,
    seen: &'c MachineSeen<'a>,
    id: &'c SeatId,
    seat: &'c DiskSeat,
    ask: &'c Ask<'c>,
}

impl<'c, 'a> Choice<'c, 'a> {
    fn decide(&self) -> Decision {
        if !self.seat.is_reset_at_boot() {
            return self.lasting();
        }
        let sides: Vec<&SideSeen<'a>> = self.seen.of(self.id).filter(|side| side.kind == Kind::PerBoot).collect();
        let this = Boot::Nonce(self.ask.boot);
        for side in &sides {
            match side.state {
                State::Named(boot) if boot == this => return self.give(side, Expect::Known),
                State::Used if self.was_offered_to(side, this) => return Decision::BeginAgain,
                _ => {}
            }
        }
        let meantime = self.seen.meantime(self.context, self.id, self.seat);
        let wanted = meantime.as_ref().unwrap_or(self.seat);
        let is_current = |side: &&&SideSeen<'a>| side.is_current(self.context, wanted);
        let named = sides.iter().filter(|side| matches!(side.state, State::Named(_)) && side.target.is_some());
        if let Some(side) = named.filter(is_current).max_by_key(|side| side.sequence) {
            let devices = side.own.iter().filter_map(|(_, disk)| disk.device).collect();
            return self.give(side, Expect::Untouched(devices));
        }
        // One that a former name of the machine may log in to has its target altered first.
        let admits = |side: &SideSeen<'a>| {
            let target = side.target.and_then(|name| self.context.exports.targets.get(name));
            target.is_some_and(|target| target.seen.tpgs.values().any(|tpg| tpg.acls.contains_key(self.seat.initiator.as_str())))
        };
        let clean = || sides.iter().filter(|side| side.state == State::Fresh && admits(side));
        if let Some(side) = clean().find(is_current) {
            return self.give(side, Expect::Clean);
        }
        if awaits_version(self.context, self.seat) {
            // Old clean sides serve until the new version is whole, and further ones are made of the version before.
            match clean().next() {
                Some(side) => return self.give(side, Expect::Clean),
                None if meantime.is_none() => return Decision::Wait(Wait::Filling),
                None => {}
            }
        }
        let is_late = self.ask.waited >= self.context.desired.policy.boot_wait.duration();
        if is_late && let Some(side) = clean().next() {
            // A disk of the new version could not be made in time.
            return self.give(side, Expect::Clean);
        }
        if is_late
            && self.context.desired.policy.stale_boot == StaleBoot::Boot
            && let Some(side) = sides.iter().filter(|side| side.target.is_some()).max_by_key(|side| side.sequence)
            && self.seen.sign(self.context, side) == super::Sign::MayBeOn
        {
            return self.give(side, Expect::Known);
        }
        let at_most = self.context.desired.policy.sides as usize;
        match sides.len() < at_most || sides.iter().any(|side| side.state == State::Fresh) {
            true => Decision::Wait(Wait::Making),
            false => Decision::Wait(Wait::NoCleanSide),
        }
    }

    /// A seat of which every boot has the same disk, where that is to be exchanged or renamed first.
    fn lasting(&self) -> Decision {
        let sides: Vec<&SideSeen<'a>> =
            self.seen.of(self.id).filter(|side| side.kind == Kind::Lasting && side.target.is_some()).collect();
        let fresh = sides.iter().find(|side| side.state == State::Fresh && side.is_current(self.context, self.seat));
        if let Some(side) = fresh {
            return self.give(side, Expect::Clean);
        }
        match sides.iter().max_by_key(|side| (side.place, std::cmp::Reverse(side.letter))) {
            // Renamed at this boot, or booted under its old name: both reach it.
            Some(side) => self.give(side, Expect::Known),
            None => Decision::Wait(Wait::Making),
        }
    }

    fn was_offered_to(&self, side: &SideSeen<'a>, boot: Boot) -> bool {
        side.own.iter().filter_map(|(_, disk)| self.context.offer(disk)).any(|offer| offer.boot == boot)
    }

    fn give(&self, side: &SideSeen<'a>, expects: Expect) -> Decision {
        let Some(target) = side.target.and_then(|name| name.parse::<Iqn>().ok()) else { return Decision::Wait(Wait::Making) };
        let mut disks: Vec<Handle> = side.own.iter().map(|(_, disk)| disk.handle.clone()).collect();
        let mut moves = Vec::new();
        for (at, wanted) in self.seat.disks.iter().enumerate() {
            if wanted.reset == Reset::EveryBoot || side.own.iter().any(|(id, _)| image_of(id) == Some(&wanted.image)) {
                continue;
            }
            // What the side shows already it goes on showing: a disk that takes its place comes with the next side.
            let there = self.context.exports.targets.get(target.as_str()).and_then(|target| *target.luns.get(&Lun(at as u16))?);
            let there = there.and_then(|there| self.seen.loose.iter().find(|(id, _)| *id == there));
            if let Some((_, disk)) = there {
                disks.push(disk.handle.clone());
                continue;
            }
            let Some((id, disk)) = self.kept(wanted) else { return Decision::Wait(Wait::Making) };
            disks.push(disk.handle.clone());
            let shown = self.context.shown(disk);
            let holder = shown.and_then(|shown| shown.targets.first()).copied();
            if holder == Some(target.as_str()) {
                continue;
            }
            let from = match holder {
                None => None,
                Some(holder) => match self.may_leave(holder) {
                    true => self.place_on(holder, id),
                    false => return Decision::Wait(Wait::Moving),
                },
            };
            let (backstore, make) = match shown {
                Some(shown) => (shown.path.to_owned(), None),
                None if disk.device.is_none() => return Decision::Wait(Wait::Making),
                None => {
                    let show = ToShow { lun: Lun(at as u16), id: id.clone(), disk: Some(disk) };
                    let alone = shape(
                        self.context,
                        self.id,
                        self.id,
                        side.letter,
                        Some(target.clone()),
                        Vec::new(),
                        vec![show],
                        PortalGroup::Off,
                        Boot::SeenOn,
                        Some(self.seat),
                    );
                    if alone.hold.is_some() {
                        return Decision::Wait(Wait::Held);
                    }
                    let path = alone.plan.luns.values().next().map(|lun| lun.backstore.clone()).unwrap_or_default();
                    (path, Some(Box::new(alone.plan)))
                }
            };
            moves.push(Move {
                backstore,
                make,
                disk: id.clone(),
                from,
                lun: Lun(at as u16),
                initiator: self.seat.initiator.clone(),
            });
        }
        Decision::Give(Given { side: side.letter, target, disks, expects, moves })
    }

    /// The disk of an image that every boot has: one that was made to take the other's place, else the one offered last.
    fn kept(&self, wanted: &crate::desired::SeatDisk) -> Option<(&'a DiskId, &'a crate::observed::Disk)> {
        let current = self.seen.lasting(self.context, &wanted.image)?;
        if is_clone(self.context, current.0, current.1, wanted) {
            return Some(current);
        }
        let mut made = self.seen.loose.iter().copied();
        Some(made.find(|(id, disk)| is_clone(self.context, id, disk, wanted) && self.context.is_clean(disk)).unwrap_or(current))
    }

    /// Whether the target that shows a kept disk may lose it: its machine is proven to be off it.
    fn may_leave(&self, holder: &str) -> bool {
        let side = self.seen.sides.iter().find(|side| side.target == Some(holder));
        side.is_some_and(|side| match side.state {
            State::Fresh => true,
            State::Named(_) if side.is_untouched(self.context) => true,
            _ => self.seen.proof(self.context, side, Need::Boot).is_some(),
        })
    }

    fn place_on(&self, holder: &str, id: &DiskId) -> Option<(Iqn, Lun, Vec<String>)> {
        let target = self.context.exports.targets.get(holder)?;
        let (lun, _) = target.luns.iter().find(|(_, shown)| **shown == Some(id))?;
        let initiators = target.seen.tpgs.values().flat_map(|tpg| tpg.acls.keys().cloned()).collect();
        Some((holder.parse().ok()?, *lun, initiators))
    }
}

/// What a machine's boot says of it: that its firmware asked for an address at `discover`, and fetched its script after that.
///
/// Where our DHCP is not asked, three fetches of waiting scripts from one address, twenty seconds apart, stand for the DISCOVER.
pub fn boot_intent(discovers: &[Mono], fetches: &[Mono]) -> Option<Mono> {
    const APART: Duration = Duration::from_secs(20);
    let last = fetches.iter().max()?;
    let asked = discovers.iter().filter(|at| *at <= last).max().copied();
    asked.or_else(|| {
        let mut spaced: Vec<Mono> = Vec::new();
        for at in fetches {
            if spaced.last().is_none_or(|before| at.since(*before) >= APART) {
                spaced.push(*at);
            }
        }
        // The first of the last three.
        (spaced.len() >= 3).then(|| spaced[spaced.len() - 3])
    })
}

/// The intent that counts of a boot that waits: the one that is known, for as long as nothing moved after it on any disk of its machine,
/// and for a while anyhow. A machine that asks for an address at every try would else be taken to have begun only just now each time.
pub fn newer_intent(known: Option<Mono>, heard: Option<Mono>, moved: Option<Mono>) -> Option<Mono> {
    // Longer than the pause between two looks and what a look must lie behind an intent together.
    const STANDS: Duration = Duration::from_secs(15);
    match (known, heard) {
        (Some(known), Some(heard)) if heard.since(known) < STANDS || moved.is_some_and(|moved| moved < known) => Some(known),
        (known, heard) => heard.or(known),
    }
}

/// The target that a side of a seat has or gets; for whoever shows it.
#[must_use]
pub fn target_of(prepared: &Prepared, observation: &Observation, machine: &MachineName, image: &ImageName) -> Option<Iqn> {
    let desired = &prepared.desired;
    let (storage, stock) = (desired.storage.as_ref()?, stock_of(desired, observation)?);
    let (vg, lio) = (observation.vg.present()?, observation.lio.present()?);
    let context = Context::new(desired, storage, observation, vg, lio, &stock);
    let seen = MachineSeen::new(&context, machine);
    let id = SeatId { machine: machine.clone(), image: image.clone() };
    let side = seen.of(&id).max_by_key(|side| side.sequence)?;
    shape_of(&context, &seen, side, storage.seats.get(&id)).plan.name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: &[u64]) -> Vec<Mono> {
        seconds.iter().map(|second| Mono::from_millis(second * 1000)).collect()
    }

    #[test]
    fn the_intent_of_a_boot_is_its_discover_or_three_fetches_apart() {
        let second = |second: u64| Some(Mono::from_millis(second * 1000));
        assert_eq!(boot_intent(&at(&[100]), &at(&[110])), second(100));
        assert_eq!(boot_intent(&at(&[120]), &at(&[110])), None, "it must be older than the fetch");
        assert_eq!(boot_intent(&[], &at(&[0, 5, 10, 15])), None);
        assert_eq!(boot_intent(&[], &at(&[0, 5, 20, 25, 40])), second(0));
        assert_eq!(boot_intent(&at(&[100]), &[]), None, "a DISCOVER alone is no boot of ours");
    }

    #[test]
    fn a_boot_that_asks_seldom_is_not_taken_to_have_begun_only_now() {
        let second = |second: u64| Some(Mono::from_millis(second * 1000));
        assert_eq!(newer_intent(second(100), second(110), None), second(100));
        assert_eq!(newer_intent(second(100), second(140), None), second(140), "nobody watches");
        assert_eq!(newer_intent(second(100), second(140), second(90)), second(100), "nothing moved since it began");
        assert_eq!(newer_intent(second(100), second(140), second(120)), second(140), "its old system still ran by then");
    }
}
