//! What is left over: disks that no seat lists, targets without disks.

use super::{Planner, rename_ops, retag};
use crate::desired::{DiskSeat, SeatId};
use crate::names::DiskId;
use crate::observed::{Disk, Naming};
use crate::plan::Sign;
use crate::plan::builder::{Intent, Work};
use crate::plan::exports::Owner;
use crate::plan::view::{SideSeen, is_clone};
use crate::plan::{Action, Disruption, Hold, Proof, Reason, Subject};
use crate::site::Consent;

impl<'p, 'a> Planner<'p, 'a> {
    /// Removes kept data disks that no seat of their machine lists any more, once nobody shows them.
    pub(super) fn plan_unwanted_disks(&mut self, wanted: &[(&SeatId, &DiskSeat)]) {
        for (id, disk) in &self.seen.loose {
            let DiskId::Seat { machine, image, side } = id else { continue };
            let now = self.context.storage.image_now(image);
            let listed = wanted.iter().flat_map(|(_, seat)| &seat.disks).find(|disk| disk.image == *now);
            let subject = Subject::Disk { machine: machine.clone(), image: image.clone(), side: *side };
            if self.builder.intents.contains_key(&subject) {
                continue;
            }
            let is_shown = self.context.shown(disk).is_some_and(|shown| !shown.targets.is_empty());
            let current = self.seen.lasting(self.context, now).map(|(current, _)| current);
            let (reason, is_upkeep) = match listed {
                Some(_) if current == Some(id) => {
                    if !is_shown && machine != self.machine && disk.naming == Naming::Settled {
                        self.rename_loose(id, disk, &subject);
                    } else if !is_shown && disk.naming == Naming::Behind {
                        let ops = retag(self.context, id, disk).into_iter().collect();
                        let intent =
                            Intent::new(Action::Alter, "its marks", Reason::CutOff, Work::Protect(ops)).touching([&disk.handle]);
                        self.builder.add(subject, intent);
                    }
                    continue;
                }
                // One that was made to take the other's place and was not offered yet.
                Some(wanted) if is_clone(self.context, id, disk, wanted) && self.context.is_clean(disk) => continue,
                Some(_) if is_shown => continue,
                Some(_) => (Reason::Used { proof: Proof::Moved }, true),
                None => (Reason::Unwanted, false),
            };
            let backstores: Vec<String> = self
                .context
                .shown(disk)
                .filter(|shown| shown.targets.is_empty())
                .map(|shown| shown.path.to_owned())
                .into_iter()
                .collect();
            let work = Work::RemoveSide(None, backstores, vec![((*id).clone(), disk.handle.clone())]);
            let what = disk.marks.version.as_ref().map(|version| format!("{image}@{version}")).unwrap_or_default();
            let mut intent =
                Intent::new(Action::Remove, what, reason, work).disrupting(Disruption::LosesData).touching([&disk.handle]);
            intent = intent.held(self.pool.no_touch.clone());
            if is_upkeep {
                intent = intent.upkeep();
            }
            if disk.marks.reset.is_kept() && !self.context.consents(&Consent::Clone(self.machine.clone(), now.clone())) {
                intent.hold(Hold::NoConsent { consent: format!("{machine}.{image}") });
            }
            // Its machine may be at work on the target that shows it; it goes when that target does.
            let holders: Vec<&SideSeen<'a>> = self.seen.sides.iter().filter(|side| self.is_held_by(id, side)).collect();
            for holder in &holders {
                let holder_goes = Subject::side(&holder.named.machine, &holder.named.image, holder.letter);
                intent.after.insert(holder_goes.clone());
                if !self.builder.intents.contains_key(&holder_goes) {
                    intent.hold(Hold::Occupied { machine: self.machine.clone(), sign: self.seen.sign(self.context, holder) });
                }
            }
            // After a start of the server it is about to be shown again, to a machine that may be at work.
            let comes_back = |intent: &Intent| match &intent.work {
                Work::Show(_, _, plan) | Work::ShowAnew(_, _, _, plan) => plan.luns.values().any(|lun| lun.disk == **id),
                _ => false,
            };
            if self.builder.intents.values().any(comes_back) {
                intent.hold(Hold::Occupied { machine: self.machine.clone(), sign: Sign::MayBeOn });
            }
            if holders.is_empty() && is_shown {
                let what = self
                    .context
                    .shown(disk)
                    .and_then(|shown| shown.targets.first())
                    .map_or_else(String::new, |name| format!("target {name}"));
                intent.hold(Hold::Foreign { what });
            }
            self.builder.add(subject, intent);
        }
    }

    pub(super) fn is_held_by(&self, id: &DiskId, side: &SideSeen<'a>) -> bool {
        let target = side.target.and_then(|name| self.context.exports.targets.get(name));
        target.is_some_and(|target| target.luns.values().any(|shown| *shown == Some(id)))
    }

    /// Gives a data disk that nobody shows the name that the site gives it now.
    pub(super) fn rename_loose(&mut self, id: &DiskId, disk: &Disk, subject: &Subject) {
        let ops = rename_ops(self.context, id, disk);
        if ops.is_empty() {
            return;
        }
        let backstores = self.context.shown(disk).map(|shown| shown.path.to_owned()).into_iter().collect();
        let intent = Intent::new(
            Action::Rename,
            id.to_string(),
            Reason::Moved { from: id.to_string() },
            Work::Rename(None, backstores, ops),
        );
        self.builder.add(subject.clone(), intent.touching([&disk.handle]));
    }

    /// Removes a target of ours without disks: what a run left that was cut off. One that somebody made by hand stays.
    pub(super) fn plan_bare_target(&mut self, name: &str) {
        let target = &self.context.exports.targets[name];
        let links = target.seen.tpgs.values().flat_map(|tpg| tpg.luns.values()).filter_map(|lun| lun.link.as_ref());
        let is_ours = |path: &str| {
            let shown = self.context.exports.paths.get(path).and_then(|device| self.context.exports.shown.get(device));
            shown.map_or_else(|| self.context.exports.idle.contains(&path), |shown| shown.owner == Owner::Ours)
        };
        let mut links = links.map(|(_, path)| path.as_str()).peekable();
        let is_debris = match links.peek() {
            None => {
                target.id.side.is_some()
                    || self
                        .context
                        .storage
                        .seats
                        .keys()
                        .any(|id| (&id.machine, &id.image) == (&target.id.machine, &target.id.image))
            }
            Some(_) => links.all(is_ours),
        };
        let is_a_strays = self.context.stray_of(&target.id.machine, &target.id.image).is_some();
        if !is_debris || is_a_strays || target.seen.sessions > 0 {
            self.builder
                .note(format!("target {name}"), "it bears the site's prefix and shows no disk of the site; it is left alone");
            return;
        }
        let seen = target.as_seen(&self.context.exports);
        let intent =
            Intent::new(Action::Remove, name, Reason::CutOff, Work::RemoveSide(Some(Box::new(seen)), Vec::new(), Vec::new()));
        self.builder.add(Subject::Debris { path: format!("iscsi/{name}") }, intent);
    }
}
