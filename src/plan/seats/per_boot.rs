//! Sides that are made for one boot: one that is clean for the next, and what becomes of those of other versions.

use super::{LETTERS, Planner, describe, differs};
use crate::desired::{DiskSeat, SeatDisk, SeatId};
use crate::names::{DiskId, Lun, Side};
use crate::plan::builder::{Intent, Work};
use crate::plan::target::Shape;
use crate::plan::view::{Kind, Need, SideSeen, State, is_own};
use crate::plan::{Action, PortalGroup, Reason, Subject};

impl<'p, 'a> Planner<'p, 'a> {
    /// Sees to it that a seat has one clean side for its next boot, and that clean sides of other versions go once it has.
    pub(super) fn plan_sides(&mut self, id: &SeatId, seat: &DiskSeat) {
        let unused = |side: &SideSeen<'a>| match side.state {
            State::Fresh => true,
            State::Named(_) => side.is_untouched(self.context),
            State::Used => false,
        };
        let sides: Vec<&SideSeen<'a>> = self.seen.of(id).filter(|side| side.kind == Kind::PerBoot).collect();
        let (ready, mut outdated): (Vec<&SideSeen<'a>>, Vec<&SideSeen<'a>>) =
            sides.iter().copied().filter(|side| unused(side)).partition(|side| side.is_current(self.context, seat));
        // One that a boot was told of goes by proof, as a used one does.
        outdated.retain(|side| side.state == State::Fresh);
        let mut made = None;
        if ready.is_empty() {
            let at_most = self.context.desired.policy.sides as usize;
            // One that is proven free goes with this plan, once the new one is there.
            let goes = |side: &&SideSeen<'a>| {
                side.state == State::Used && !side.is_kept() && self.seen.proof(self.context, side, Need::Nobody).is_some()
            };
            let used = self.seen.of(id).count() - outdated.len() - self.seen.of(id).filter(goes).count();
            // While a new version waits or is being filled, the next boot gets one of the version before, where none is left that is clean.
            let has_clean = |instead: &DiskSeat| sides.iter().any(|side| unused(side) && side.is_current(self.context, instead));
            let is_made_now = |disk: &SeatDisk| {
                is_own(seat, disk, Kind::PerBoot) && self.builder.is_open(&Subject::version(&disk.image, &disk.version))
            };
            let meantime = if outdated.is_empty() { self.seen.meantime(self.context, id, seat) } else { None };
            let meantime = meantime.filter(|instead| !has_clean(instead) && !seat.disks.iter().any(is_made_now));
            // A used side of the same seat under a former name, or of when it was kept, counts: it takes as much space.
            if used < at_most.min(LETTERS) {
                made = self.make_side(id, meantime.as_ref().unwrap_or(seat), &outdated);
                self.made.extend(made.clone().filter(|made| self.builder.is_open(made)).map(|made| (id.clone(), made)));
            }
        }
        if ready.is_empty() && made.as_ref().is_none_or(|made| !self.builder.is_open(made)) {
            self.free_for_boot(id, &sides);
        }
        let is_replaced = !ready.is_empty() || made.as_ref().is_some_and(|subject| self.builder.is_open(subject));
        // Where used sides have all the letters but its own, an old clean one makes room for the new.
        let has_letter = Side::all().take(LETTERS).any(|letter| self.is_letter_free(id, letter));
        let is_in_the_way = ready.is_empty() && made.is_none() && !has_letter;
        // One that nothing shows, as after a power cut, is shown until there is another.
        let is_over = |side: &&SideSeen<'a>| is_in_the_way || is_replaced && (side.target.is_some() || !ready.is_empty());
        for side in outdated.into_iter().filter(is_over) {
            self.remove_side(side, Reason::NeverUsed, made.clone(), true, None);
        }
    }

    /// Removes the used side that was offered longest ago for a boot that waits, where nothing shows that its machine is still on it.
    pub(super) fn free_for_boot(&mut self, id: &SeatId, sides: &[&SideSeen<'a>]) {
        if !self.is_awaited(id) {
            return;
        }
        let used = sides.iter().filter(|side| side.state != State::Fresh && !side.is_kept());
        let proven = used.filter_map(|side| Some((side, self.seen.proof(self.context, side, Need::Boot)?)));
        let oldest = proven.min_by_key(|(side, _)| side.sequence).map(|(side, proof)| (*side, proof));
        if let Some((side, proof)) = oldest {
            self.remove_side(side, Reason::Used { proof: proof.clone() }, None, false, Some(proof));
        }
    }

    fn is_awaited(&self, id: &SeatId) -> bool {
        self.context.observation.is_awaited(self.machine, &id.image)
    }

    /// Makes a clean side; none where no letter is free.
    pub(super) fn make_side(&mut self, id: &SeatId, seat: &DiskSeat, outdated: &[&SideSeen<'a>]) -> Option<Subject> {
        let system = seat.disks.first()?;
        let letter = Side::all().take(LETTERS).find(|letter| self.is_letter_free(id, *letter))?;
        let (mut ops, mut own, mut after, mut hold) = (Vec::new(), Vec::new(), Vec::new(), None);
        for (at, disk) in seat.disks.iter().enumerate().filter(|(_, disk)| is_own(seat, disk, Kind::PerBoot)) {
            let side = self.letter_of(disk, letter, &own)?;
            let made = DiskId::seat(self.machine, &disk.image, side);
            let base = self.base(disk);
            after.extend(base.after);
            hold = hold.or(base.hold);
            ops.extend(self.clone_ops(disk, &made, Some((&id.image, letter)), Lun(at as u16)));
            own.push(made);
        }
        let Shape { plan, hold: no_target, .. } = self.new_target(id, letter, &own, PortalGroup::Off);
        let newest = self.seen.of(id).max_by_key(|side| (side.sequence, side.state == State::Fresh));
        let before = newest.and_then(SideSeen::version);
        let (action, reason, is_upkeep) = match (newest, before) {
            (None, _) => (Action::Create, Reason::Wanted, false),
            (Some(_), before) if before != Some(&system.version) => {
                (Action::Replace, Reason::CurrentChanged { from: before.cloned(), to: system.version.clone() }, false)
            }
            (Some(newest), _) if newest.named != newest.seat => {
                (Action::Replace, Reason::Moved { from: newest.named.to_string() }, false)
            }
            (Some(_), _) if !outdated.is_empty() => (Action::Replace, differs("its clean disks are not as the site says"), false),
            (Some(_), _) => (Action::Create, Reason::NextBoot, true),
        };
        // A seat that has a disk waits without a word for space and for a version, but where somebody waits for it.
        if is_upkeep && (hold.is_some() || self.pool.no_new.is_some()) && !self.is_awaited(id) {
            return None;
        }
        let mut intent = Intent::new(action, describe(system), reason, Work::MakeSide(ops, Some(Box::new(plan))))
            .after(after)
            .held(hold)
            .held(no_target)
            .held(self.pool.no_new.clone());
        if is_upkeep {
            intent = intent.upkeep();
        }
        let subject = Subject::side(self.machine, &id.image, letter);
        self.builder.add(subject.clone(), intent);
        Some(subject)
    }
}
