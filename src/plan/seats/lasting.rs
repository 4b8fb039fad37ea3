//! Disks that every boot of a seat has: kept, or until their image is updated.

use super::{LETTERS, Planner, describe, text_of};
use crate::desired::{DiskSeat, Reset, SeatDisk, SeatId};
use crate::names::{DiskId, Lun, Mark};
use crate::observed::{Boot, Disk, Stamp};
use crate::plan::builder::{Intent, Work};
use crate::plan::view::{Kind, MachineSeen, SideSeen, State, is_clone, stamp, stamp_text};
use crate::plan::{Action, DiskOp, Disruption, Hold, PortalGroup, Reason, Subject};
use crate::site::Consent;

impl<'p, 'a> Planner<'p, 'a> {
    /// Makes, grows, marks the disks that every boot of a seat has.
    pub(super) fn plan_lasting_disks(&mut self, id: &SeatId, seat: &DiskSeat) {
        for (at, disk) in seat.disks.iter().enumerate().filter(|(_, disk)| disk.reset != Reset::EveryBoot) {
            let is_system = at == 0;
            let found = if is_system { self.lasting_system(id) } else { self.seen.lasting(self.context, &disk.image) };
            match found {
                Some((found, own)) => self.keep_lasting(seat, disk, found, own, is_system),
                None if is_system && self.stamp_newest_side(id, disk) => {}
                None => self.make_lasting(id, disk, Lun(at as u16), is_system),
            }
        }
    }

    /// The system disk that every boot of a seat has.
    pub(super) fn lasting_system(&self, id: &SeatId) -> Option<(&'a DiskId, &'a Disk)> {
        self.lasting_side(id).and_then(|side| side.own.first().copied())
    }

    /// The side that every boot of a seat gets: the one offered last, else the first.
    pub(super) fn lasting_side(&self, id: &SeatId) -> Option<&'p SideSeen<'a>> {
        let seen: &'p MachineSeen<'a> = self.seen;
        let sides = seen.of(id).filter(|side| side.kind == Kind::Lasting);
        sides.max_by_key(|side| (side.place, side.state != State::Fresh, std::cmp::Reverse(side.letter)))
    }

    /// Where an image was reset at every boot and is kept from now on, the disk that was used last is the one that is kept: its mark
    /// says so before anything else is done. True where there is such a disk. Where no record tells which of several was used last, as
    /// after its loss, every one of them is kept, and every boot has the one on which something was seen.
    pub(super) fn stamp_newest_side(&mut self, id: &SeatId, wanted: &SeatDisk) -> bool {
        let seen: &'p MachineSeen<'a> = self.seen;
        let used = seen.of(id).filter(|side| side.kind == Kind::PerBoot && side.state == State::Used);
        let used: Vec<&SideSeen<'a>> = used.collect();
        let told = |side: &&SideSeen<'a>| side.own.iter().any(|(_, disk)| self.was_told(disk));
        let last_told = used.iter().copied().filter(told).max_by_key(|side| side.sequence);
        // What was used before the record began is on it later than that only because it was shown again.
        let may_be_last = |side: &&SideSeen<'a>| match last_told {
            Some(last) => std::ptr::eq(*side, last) || !told(side) && side.sequence > last.sequence,
            None => true,
        };
        let last: Vec<&SideSeen<'a>> = used.iter().copied().filter(may_be_last).collect();
        let shows_use = |side: &SideSeen<'a>| {
            !side.is_untouched(self.context) || side.own.iter().any(|(_, disk)| self.context.is_written(disk))
        };
        let chosen = last.iter().copied().max_by_key(|side| (shows_use(side), side.place, std::cmp::Reverse(side.letter)));
        for side in &last {
            let is_chosen = chosen.is_some_and(|chosen| std::ptr::eq(*side, chosen));
            side.own.iter().for_each(|(disk, own)| self.stamp(wanted, disk, own, is_chosen));
        }
        chosen.is_some()
    }

    /// Whether a boot was told of a disk, by the record.
    fn was_told(&self, disk: &Disk) -> bool {
        self.context.offered.and_then(|offered| offered.disks.get(&disk.handle)).is_some_and(|offer| offer.boot != Boot::SeenOn)
    }

    /// Marks a disk of a side as the site says that it is kept from now on; the one that every boot gets is no side's any more.
    fn stamp(&mut self, wanted: &SeatDisk, disk: &DiskId, own: &Disk, is_lasting: bool) {
        let DiskId::Seat { image, side: letter, .. } = disk else { return };
        let Some((system, was)) = &own.marks.side else { return };
        let mut remove = vec![Mark::tag(Mark::RESET, text_of(own.marks.reset))];
        if is_lasting {
            remove.insert(0, Mark::tag(Mark::SIDE, format!("{system}.{was}")));
        } else if own.marks.reset == stamp(wanted.reset) {
            return;
        }
        let add = vec![Mark::tag(Mark::RESET, stamp_text(wanted.reset))];
        let op = DiskOp::Mark { disk: disk.clone(), handle: Some(own.handle.clone()), remove, add };
        let intent = Intent::new(Action::Alter, describe(wanted), Reason::Kept, Work::Protect(vec![op])).touching([&own.handle]);
        self.builder.add(Subject::Disk { machine: self.machine.clone(), image: image.clone(), side: *letter }, intent);
    }

    /// Whether a side has a disk that this plan marks as kept.
    pub(super) fn is_kept_from_now_on(&self, side: &SideSeen<'a>) -> bool {
        side.own.iter().any(|(disk, _)| {
            let DiskId::Seat { image, side, .. } = disk else { return false };
            let subject = Subject::Disk { machine: self.machine.clone(), image: image.clone(), side: *side };
            self.builder.intents.get(&subject).is_some_and(|intent| intent.reason == Reason::Kept)
        })
    }

    pub(super) fn make_lasting(&mut self, id: &SeatId, disk: &SeatDisk, lun: Lun, is_system: bool) {
        let Some(letter) = self.free_letter(disk) else { return };
        let subject = Subject::Disk { machine: self.machine.clone(), image: disk.image.clone(), side: letter };
        if self.builder.intents.contains_key(&subject) {
            return;
        }
        let made = DiskId::seat(self.machine, &disk.image, letter);
        let base = self.base(disk);
        let clone = self.clone_ops(disk, &made, None, lun);
        // A system disk of every boot comes with its target; a data disk is shown where its machine's boot puts it.
        let target = is_system.then(|| self.new_target(id, letter, std::slice::from_ref(&made), PortalGroup::On));
        let hold = target.as_ref().and_then(|shape| shape.hold.clone());
        let target = target.map(|shape| Box::new(shape.plan));
        let intent = Intent::new(Action::Create, describe(disk), Reason::Wanted, Work::MakeSide(clone, target));
        // Another disk in its place would hide what is on the one that is there.
        let stray = self.context.stray_of(self.machine, &disk.image);
        self.builder.add(subject, intent.after(base.after).held(stray).held(base.hold).held(hold).held(self.pool.no_new.clone()));
    }

    pub(super) fn keep_lasting(&mut self, seat: &DiskSeat, wanted: &SeatDisk, id: &DiskId, disk: &Disk, is_system: bool) {
        let DiskId::Seat { image, side, .. } = id else { return };
        let subject = Subject::Disk { machine: self.machine.clone(), image: image.clone(), side: *side };
        if self.builder.intents.contains_key(&subject) {
            return;
        }
        let protect = self.protection(wanted, id, disk);
        if !protect.is_empty() {
            let intent =
                Intent::new(Action::Alter, describe(wanted), Reason::Kept, Work::Protect(protect)).touching([&disk.handle]);
            self.builder.add(subject, intent);
            return;
        }
        if !is_clone(self.context, id, disk, wanted) {
            self.replace_lasting(seat, wanted, id, disk, is_system);
        }
    }

    /// What a disk's marks have to say so that it is kept as the site says, whatever the next commit says.
    pub(super) fn protection(&self, wanted: &SeatDisk, id: &DiskId, disk: &Disk) -> Vec<DiskOp> {
        let should = stamp(wanted.reset);
        // What was kept once stays kept until its end is consented to.
        if disk.marks.reset == should || disk.marks.reset == Stamp::Never {
            return Vec::new();
        }
        let remove = match disk.marks.reset {
            Stamp::Unmarked => Vec::new(),
            known => vec![Mark::tag(Mark::RESET, text_of(known))],
        };
        let add = vec![Mark::tag(Mark::RESET, stamp_text(wanted.reset))];
        vec![DiskOp::Mark { disk: id.clone(), handle: Some(disk.handle.clone()), remove, add }]
    }

    /// Makes what takes the place of a disk that is of another version, if its policy or the site's consent says so. The next boot
    /// gets it, and only then the old one goes.
    pub(super) fn replace_lasting(&mut self, seat: &DiskSeat, wanted: &SeatDisk, id: &DiskId, disk: &Disk, is_system: bool) {
        let consent = Consent::Clone(self.machine.clone(), wanted.image.clone());
        let is_kept = disk.marks.reset.is_kept();
        if wanted.reset == Reset::Never && !self.context.desired.policy.may_destroy.contains(&consent) {
            return;
        }
        let is_made = self
            .context
            .by_machine
            .get(self.machine)
            .into_iter()
            .flatten()
            .any(|(other, found)| *other != id && found.marks.side.is_none() && is_clone(self.context, other, found, wanted));
        if is_made {
            return;
        }
        let Some(letter) = self.free_letter(wanted) else { return };
        let made = DiskId::seat(self.machine, &wanted.image, letter);
        let (base, at) = (self.base(wanted), seat.disks.iter().position(|disk| disk.image == wanted.image).unwrap_or(0));
        let clone = self.clone_ops(wanted, &made, None, Lun(at as u16));
        let seat_id = SeatId { machine: self.machine.clone(), image: wanted.image.clone() };
        let target = is_system.then(|| self.new_target(&seat_id, letter, std::slice::from_ref(&made), PortalGroup::Off).plan);
        let reason = Reason::CurrentChanged { from: disk.marks.version.clone(), to: wanted.version.clone() };
        let disruption = if is_kept { Disruption::LosesData } else { Disruption::Resets };
        let mut intent = Intent::new(Action::Replace, describe(wanted), reason, Work::MakeSide(clone, target.map(Box::new)))
            .disrupting(disruption)
            .after(base.after)
            .held(base.hold)
            .held(self.pool.no_new.clone());
        if is_kept && !self.context.consents(&consent) {
            intent.hold(Hold::NoConsent { consent: format!("{}.{}", self.machine, wanted.image) });
        }
        self.builder.add(Subject::Disk { machine: self.machine.clone(), image: wanted.image.clone(), side: letter }, intent);
    }

    /// A seat of which every boot has the same disks: its target stands and lets the machine in.
    pub(super) fn plan_lasting_seat(&mut self, id: &SeatId, _seat: &DiskSeat) {
        // Sides of boots, from when it was reset: they go as any used side does.
        let count = self.seen.of(id).filter(|side| side.kind == Kind::PerBoot && side.state == State::Fresh).count();
        debug_assert!(count <= LETTERS);
    }
}
