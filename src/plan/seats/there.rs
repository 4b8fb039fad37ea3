//! Sides that are there: shown, renamed, altered, removed once it is proven that nobody works on them.

use super::{Planner, differs, rename_ops, retag, rounded};
use crate::desired::DiskSeat;
use crate::names::{DiskId, Handle};
use crate::observed::{Naming, Seen};
use crate::plan::Standing;
use crate::plan::builder::{Intent, Work};
use crate::plan::exports::Owner;
use crate::plan::exports::{Fit, fit};
use crate::plan::target::{Shape, shape_of};
use crate::plan::view::{Kind, Need, SideSeen, State, image_of};
use crate::plan::{Action, DiskOp, Disruption, ExportOp, Hold, PortalGroup, Proof, Reason, Subject};
use crate::site::Consent;
use std::collections::BTreeSet;

impl<'p, 'a> Planner<'p, 'a> {
    pub(super) fn plan_side(&mut self, side: &SideSeen<'a>, seat: Option<&DiskSeat>) {
        let subject = Subject::side(&side.named.machine, &side.named.image, side.letter);
        if self.builder.intents.contains_key(&subject) {
            return;
        }
        if self.settle_marks(side, &subject) || self.goes(side, seat) || self.is_renamed(side, seat, &subject) {
            return;
        }
        self.show(side, seat, &subject);
    }

    /// Removes a side that is not wanted, or was used and is proven free; true where nothing else is to be done about it.
    pub(super) fn goes(&mut self, side: &SideSeen<'a>, seat: Option<&DiskSeat>) -> bool {
        let is_lasting_here = seat.is_some_and(|seat| !seat.is_reset_at_boot());
        let is_the_lasting = self.lasting_side(&side.seat).is_some_and(|lasting| std::ptr::eq(lasting, side));
        // Somebody who was told of it may stand at its menu.
        let unused = side.state == State::Fresh;
        if self.is_kept_from_now_on(side) {
            return false;
        }
        match (seat, side.kind) {
            (None, _) => {
                let proof = if unused { None } else { self.seen.proof(self.context, side, Need::Commit) };
                let reason = Reason::Unwanted;
                self.remove_side(side, reason, None, unused, proof)
            }
            // Every boot has the same disk: this one, or one that is made in its place.
            (Some(_), Kind::Lasting) if is_lasting_here && is_the_lasting => false,
            (Some(_), Kind::Lasting) if is_lasting_here && unused => false,
            (Some(_), Kind::PerBoot) if is_lasting_here && unused => self.remove_side(side, Reason::NeverUsed, None, true, None),
            (Some(_), _) if unused => false,
            (Some(_), _) => match self.seen.proof(self.context, side, Need::Nobody) {
                // What is left of a seat is no less than one disk: the next plan makes the clean one, and then the rest goes.
                Some(_) if !self.has_clean(side) && !self.is_first_of_several(side) => false,
                Some(proof) => {
                    let made = self.made.get(&side.seat).cloned();
                    self.remove_side(side, Reason::Used { proof: proof.clone() }, made, false, Some(proof))
                }
                None => false,
            },
        }
    }

    /// Whether a side's seat has a clean one beside it, or gets one in this plan.
    fn has_clean(&self, side: &SideSeen<'a>) -> bool {
        let is_clean = |other: &SideSeen<'a>| other.state == State::Fresh;
        self.made.contains_key(&side.seat) || self.seen.of(&side.seat).any(is_clean)
    }

    /// Whether a side was offered before every other of its seat, and is not the only one.
    fn is_first_of_several(&self, side: &SideSeen<'a>) -> bool {
        let place = |side: &SideSeen<'a>| (side.sequence, side.letter);
        let mut others = self.seen.of(&side.seat).filter(|other| !std::ptr::eq(*other, side)).peekable();
        others.peek().is_some() && others.all(|other| place(other) > place(side))
    }

    /// Adds the intent that removes a side; true if it is its subject's only one.
    pub(super) fn remove_side(
        &mut self,
        side: &SideSeen<'a>,
        reason: Reason,
        after: Option<Subject>,
        unused: bool,
        proof: Option<Proof>,
    ) -> bool {
        let subject = Subject::side(&side.named.machine, &side.named.image, side.letter);
        if self.builder.intents.contains_key(&subject) {
            return true;
        }
        let target = side.target.map(|name| &self.context.exports.targets[name]);
        let seen = target.map(|target| Box::new(target.as_seen(&self.context.exports)));
        let known: BTreeSet<&str> = seen.iter().flat_map(|seen| seen.backstores.iter().map(String::as_str)).collect();
        let shown = side.own.iter().filter_map(|(_, disk)| self.context.shown(disk)).filter(|shown| !known.contains(shown.path));
        let backstores = shown.clone().filter(|shown| shown.targets.is_empty()).map(|shown| shown.path.to_owned()).collect();
        let foreign = shown.filter(|shown| shown.owner == Owner::Foreign || !shown.targets.is_empty()).map(|shown| {
            Hold::Foreign { what: format!("{}, which shows {}", shown.targets.first().unwrap_or(&shown.path), side.letter) }
        });
        let foreign = foreign.last();
        let is_wanted = matches!(reason, Reason::Used { .. } | Reason::NeverUsed);
        let disks: Vec<(DiskId, Handle)> = side.own.iter().map(|(id, disk)| ((*id).clone(), disk.handle.clone())).collect();
        let is_kept = side.is_kept() && !(unused && side.kind == Kind::PerBoot);
        let disruption = match (unused, is_kept || side.kind == Kind::Lasting) {
            (true, false) => Disruption::None,
            (false, false) => Disruption::Resets,
            // A disk that every boot had goes by its policy where another has taken its place.
            (_, true) if is_wanted && !is_kept => Disruption::Resets,
            (_, true) => Disruption::LosesData,
        };
        let what = side.version().map(|version| format!("{}@{version}", side.named.image)).unwrap_or_default();
        let mut intent = Intent::new(Action::Remove, what, reason, Work::RemoveSide(seen, backstores, disks))
            .disrupting(disruption)
            .touching(side.own.iter().map(|(_, disk)| &disk.handle))
            .after(after)
            .held(self.pool.no_touch.clone());
        // What was kept is never daily work: it is shown, and it counts.
        if is_wanted && disruption != Disruption::LosesData {
            intent = intent.upkeep();
        }
        let image = self.context.storage.image_now(&side.named.image).clone();
        if is_kept && !self.context.consents(&Consent::Clone(self.machine.clone(), image)) {
            if is_wanted {
                // It is only due: a kept disk of a seat that is reset now goes when the site says so.
                return false;
            }
            intent.hold(Hold::NoConsent { consent: format!("{}.{}", side.named.machine, side.named.image) });
        }
        if !unused && proof.is_none() {
            intent.hold(Hold::Occupied { machine: self.machine.clone(), sign: self.seen.sign(self.context, side) });
        }
        if let Some(foreign) = foreign {
            intent.hold(foreign);
        }
        // What may not go yet is shown as long as its machine may be at work: its target comes before its end.
        if !intent.is_open() && self.is_not_shown(side) {
            return false;
        }
        self.builder.add(subject, intent);
        true
    }

    pub(super) fn is_not_shown(&self, side: &SideSeen<'a>) -> bool {
        side.target.is_none()
            || side.target.is_some_and(|target| {
                self.context.exports.targets[target].portal_group == PortalGroup::Off && side.state != State::Fresh
            })
    }

    /// Finishes a rename that was cut off between its two halves; true where that is all that is done now.
    pub(super) fn settle_marks(&mut self, side: &SideSeen<'a>, subject: &Subject) -> bool {
        let behind: Vec<DiskOp> = side
            .own
            .iter()
            .filter(|(_, disk)| disk.naming == Naming::Behind)
            .filter_map(|(id, disk)| retag(self.context, id, disk))
            .collect();
        if behind.is_empty() {
            return false;
        }
        let reason = Reason::CutOff;
        let handles: Vec<&Handle> = side.own.iter().map(|(_, disk)| &disk.handle).collect();
        self.builder
            .add(subject.clone(), Intent::new(Action::Alter, "its marks", reason, Work::Protect(behind)).touching(handles));
        true
    }

    /// Gives the disk that every boot has the name that the site gives it now, once its machine is proven off.
    pub(super) fn is_renamed(&mut self, side: &SideSeen<'a>, seat: Option<&DiskSeat>, subject: &Subject) -> bool {
        if side.named == side.seat || side.kind != Kind::Lasting || seat.is_none_or(DiskSeat::is_reset_at_boot) {
            return false;
        }
        let Some((id, disk)) = side.own.first().copied() else { return false };
        let is_unused = side.state == State::Fresh;
        let proof = self.seen.proof(self.context, side, Need::Rename);
        if !is_unused && proof.is_none() && self.is_not_shown(side) {
            return false;
        }
        let mut ops = Vec::new();
        if let DiskId::Seat { image, side: letter, .. } = id {
            let to = DiskId::seat(self.machine, self.context.storage.image_now(image), *letter);
            if to != *id && !self.is_name_free(&to) {
                self.builder.note(side.named.to_string(), format!("it keeps its name: there is another disk {to} already"));
                return false;
            }
        }
        let data = self.seen.loose.iter().filter(|(id, _)| {
            let DiskId::Seat { image, .. } = id else { return false };
            seat.is_some_and(|seat| seat.disks.iter().any(|disk| disk.image == *self.context.storage.image_now(image)))
        });
        for (id, disk) in std::iter::once(&(id, disk)).chain(data) {
            ops.extend(rename_ops(self.context, id, disk));
        }
        let target = side.target.map(|name| &self.context.exports.targets[name]);
        let seen = target.map(|target| Box::new(target.as_seen(&self.context.exports)));
        let reason = Reason::Moved { from: side.named.to_string() };
        let mut intent = Intent::new(Action::Rename, side.seat.to_string(), reason, Work::Rename(seen, Vec::new(), ops))
            .disrupting(Disruption::DropsSession)
            .touching([&disk.handle])
            .held(self.pool.no_touch.clone());
        if !is_unused && proof.is_none() {
            intent.hold(Hold::Occupied { machine: side.named.machine.clone(), sign: self.seen.sign(self.context, side) });
            // Held, it still is to be reached by its new name.
            let shape = shape_of(self.context, self.seen, side, seat);
            if let Some(Fit::Live(_, ops)) =
                side.target.map(|name| fit(&self.context.exports.targets[name], &shape.plan, &self.context.exports))
            {
                let what = Reason::Moved { from: side.named.to_string() };
                self.builder.add(subject.clone(), Intent::new(Action::Alter, side.seat.to_string(), what, Work::Live(ops)));
                return true;
            }
        }
        self.builder.add(subject.clone(), intent);
        true
    }

    /// Shows a side's disks as they should be shown.
    pub(super) fn show(&mut self, side: &SideSeen<'a>, seat: Option<&DiskSeat>, subject: &Subject) {
        if let Some(hold) = &self.pool.no_touch {
            if side.target.is_none() {
                let intent = Intent::new(Action::Create, "its target", Reason::NotShown, Work::Live(Vec::new()));
                self.builder.add(subject.clone(), intent.held(Some(hold.clone())));
            }
            return;
        }
        let Shape { plan, activate, stale, hold } = shape_of(self.context, self.seen, side, seat);
        let mut alter = self.alterations(side, seat);
        let handles: Vec<&Handle> = side.own.iter().map(|(_, disk)| &disk.handle).collect();
        let Some(target) = side.target.and_then(|name| self.context.exports.targets.get(name)) else {
            alter.extend(activate);
            let work = Work::Show(stale, alter, Box::new(plan));
            let intent = Intent::new(Action::Create, "its target", Reason::NotShown, work);
            self.builder.add(subject.clone(), intent.touching(handles).held(hold));
            return;
        };
        let is_off = target.portal_group == PortalGroup::Off;
        let is_unrecorded = side.kind == Kind::PerBoot && side.is_unrecorded(self.context);
        let open = (plan.portal_group == PortalGroup::On && (is_off || is_unrecorded)).then(|| ExportOp::Open {
            target: plan.name.clone().unwrap_or_else(|| target.name.parse().expect("a target of ours has a legal name")),
            machine: self.machine.clone(),
            disks: plan.luns.values().filter_map(|lun| lun.handle.clone()).collect(),
            record: plan.record.clone(),
        });
        let unused = side.state == State::Fresh;
        let intent = match fit(target, &plan, &self.context.exports) {
            Fit::Fits if open.is_none() && alter.is_empty() && activate.is_empty() => return,
            Fit::Fits if open.is_none() => {
                alter.extend(activate);
                Intent::new(Action::Alter, "its disks", self.alter_reason(side, seat), Work::Alter(alter))
            }
            Fit::Fits => Intent::new(
                Action::Alter,
                "its target",
                differs(if is_off { "its portal group is off" } else { "no record says that its disks were offered" }),
                Work::Live(open.into_iter().collect()),
            ),
            Fit::Live(what, mut ops) => {
                ops.extend(open);
                Intent::new(Action::Alter, "its target", differs(&what), Work::Live(ops))
            }
            Fit::Rebuild(what) => {
                let old = Box::new(target.as_seen(&self.context.exports));
                alter.extend(activate);
                let stale = stale.into_iter().filter(|path| !old.backstores.contains(path)).collect();
                let mut plan = plan;
                // What goes with the old target is made again.
                for lun in plan.luns.values_mut().filter(|lun| old.backstores.contains(&lun.backstore)) {
                    lun.stands = Standing::New;
                }
                let mut intent =
                    Intent::new(Action::Replace, "its target", differs(&what), Work::ShowAnew(old, stale, alter, Box::new(plan)))
                        .disrupting(Disruption::DropsSession);
                // One that lets nobody in, or listens nowhere, and has nobody has no session to lose.
                let is_deaf = target.seen.tpgs.values().all(|tpg| tpg.portals.is_empty());
                let is_empty = (target.portal_group == PortalGroup::Off || is_deaf)
                    && target.seen.sessions == 0
                    && target.session() == Seen::Absent;
                if !unused && !is_empty && self.seen.proof(self.context, side, Need::Rename).is_none() {
                    intent.hold(Hold::Occupied { machine: self.machine.clone(), sign: self.seen.sign(self.context, side) });
                }
                intent
            }
        };
        self.builder.add(subject.clone(), intent.touching(handles).held(hold));
    }

    /// What the disks of a side need that disturbs nobody.
    pub(super) fn alterations(&self, side: &SideSeen<'a>, seat: Option<&DiskSeat>) -> Vec<DiskOp> {
        let mut ops = Vec::new();
        let kept = self.seen.loose.iter();
        for (id, disk) in side.own.iter().chain(kept.filter(|_| side.state != State::Fresh)) {
            if matches!(disk.power, crate::observed::Power::ActiveOnce | crate::observed::Power::PassedOver) {
                ops.push(DiskOp::KeepActive { disk: (*id).clone(), handle: disk.handle.clone() });
            }
            let wanted = seat.and_then(|seat| {
                let image = self.context.storage.image_now(image_of(id)?);
                seat.disks.iter().find(|wanted| wanted.image == *image)
            });
            if let Some(to) = wanted.map(|wanted| rounded(self.context, wanted.size)).filter(|to| disk.size < *to) {
                ops.push(DiskOp::Grow { disk: (*id).clone(), handle: Some(disk.handle.clone()), to });
            }
        }
        ops
    }

    pub(super) fn alter_reason(&self, side: &SideSeen<'a>, seat: Option<&DiskSeat>) -> Reason {
        let grew = side.own.iter().find_map(|(id, disk)| {
            let wanted = seat?.disks.iter().find(|wanted| image_of(id) == Some(&wanted.image))?;
            (disk.size < rounded(self.context, wanted.size))
                .then(|| Reason::Grew { from: disk.size.to_string(), to: rounded(self.context, wanted.size).to_string() })
        });
        grew.unwrap_or(Reason::Inactive)
    }
}
