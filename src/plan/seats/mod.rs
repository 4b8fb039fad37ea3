//! What becomes of each machine's seats: which sides are made, shown, kept and removed.
//!
//! Assignment is cheap and destruction is hard: the plan sees to it that every seat has one clean side for its next boot, that every
//! disk that was ever offered stays reachable under its own name, and that one goes only by proof. **Invariant:** an intent of one
//! seat waits for nothing of another's.

mod lasting;
mod left_over;
mod per_boot;
mod there;

use super::builder::{PlanBuilder, Work};
use super::context::Context;
use super::pool::PoolState;
use super::target::{Shape, ToShow, shape};
use super::view::{MachineSeen, image_of, stamp_text};
use super::{Action, DiskOp, Hold, PortalGroup, Reason, Subject};
use crate::desired::{DiskSeat, SeatDisk, SeatId};
use crate::names::{Bytes, DiskId, Lun, MachineName, Mark, Side};
use crate::observed::{Boot, Disk, Filling, Stamp};
use std::collections::{BTreeMap, BTreeSet};

/// The letters that a seat's own sides may have.
const LETTERS: usize = 3;

/// Plans every machine that the site, the store or the kernel names.
pub(super) fn plan_seats<'a>(context: &Context<'a>, pool: &PoolState, builder: &mut PlanBuilder) -> Machines<'a> {
    let mut machines: BTreeSet<&MachineName> = context.by_machine.keys().copied().collect();
    machines.extend(context.storage.seats.keys().map(|id| &id.machine));
    machines.extend(context.exports.by_machine.keys().map(|machine| context.storage.machine_now(machine)));
    let plan = |machine: &MachineName| {
        let seen = MachineSeen::new(context, machine);
        let mut seat = Planner { context, pool, machine, seen: &seen, builder, made: BTreeMap::new() };
        seat.plan();
        (machine.clone(), seen)
    };
    machines.into_iter().map(plan).collect()
}

/// Every machine as it was seen.
pub(super) type Machines<'a> = BTreeMap<MachineName, MachineSeen<'a>>;

struct Planner<'p, 'a> {
    context: &'p Context<'a>,
    pool: &'p PoolState,
    machine: &'p MachineName,
    seen: &'p MachineSeen<'a>,
    builder: &'p mut PlanBuilder,
    /// The clean sides that this plan makes.
    made: BTreeMap<SeatId, Subject>,
}

/// What stops the making of a disk: another change first, or a reason to wait.
#[derive(Default)]
struct Base {
    after: Vec<Subject>,
    hold: Option<Hold>,
}

impl<'p, 'a> Planner<'p, 'a> {
    fn plan(&mut self) {
        let wanted: Vec<(&SeatId, &DiskSeat)> = self.context.wanted(self.machine).collect();
        for (id, seat) in &wanted {
            self.plan_lasting_disks(id, seat);
            if seat.is_reset_at_boot() { self.plan_sides(id, seat) } else { self.plan_lasting_seat(id, seat) }
        }
        for side in &self.seen.sides {
            let seat = wanted.iter().find(|(id, _)| **id == side.seat).map(|(_, seat)| *seat);
            self.plan_side(side, seat);
        }
        self.plan_unwanted_disks(&wanted);
        for target in &self.seen.bare {
            self.plan_bare_target(target);
        }
    }

    pub(super) fn is_letter_free(&self, id: &SeatId, letter: Side) -> bool {
        let disk = DiskId::seat(self.machine, &id.image, letter);
        let has_target = self.seen.bare.iter().any(|name| {
            let target = &self.context.exports.targets[name].id;
            target.image == id.image && target.side.as_ref().is_some_and(|(side, _)| *side == letter)
        });
        let is_used = self.seen.sides.iter().any(|side| side.named == *id && side.letter == letter);
        !is_used && !has_target && self.is_name_free(&disk)
    }

    pub(super) fn is_name_free(&self, disk: &DiskId) -> bool {
        !self.context.stock.disks.contains_key(disk) && !self.context.stock.taken.contains_key(disk)
    }

    /// The letter of a side's data disk: the side's own where it is free.
    pub(super) fn letter_of(&self, disk: &SeatDisk, letter: Side, own: &[DiskId]) -> Option<Side> {
        let is_free = |side: &Side| {
            let made = DiskId::seat(self.machine, &disk.image, *side);
            self.is_name_free(&made) && !own.contains(&made) && !self.is_in_this_plan(&made)
        };
        std::iter::once(letter).chain(Side::all()).find(is_free)
    }

    pub(super) fn free_letter(&self, disk: &SeatDisk) -> Option<Side> {
        Side::all().find(|side| {
            let made = DiskId::seat(self.machine, &disk.image, *side);
            self.is_name_free(&made) && !self.is_in_this_plan(&made)
        })
    }

    pub(super) fn is_in_this_plan(&self, disk: &DiskId) -> bool {
        let makes = |op: &DiskOp| matches!(op, DiskOp::Clone { disk: made, .. } if made == disk);
        self.builder.intents.values().any(|intent| matches!(&intent.work, Work::MakeSide(ops, _) if ops.iter().any(makes)))
    }

    /// The version that a disk is to be a clone of: there, made by this plan, or missing.
    pub(super) fn base(&self, disk: &SeatDisk) -> Base {
        let id = DiskId::version(&disk.image, &disk.version);
        let subject = Subject::version(&disk.image, &disk.version);
        let mut base = Base { after: self.pool.made_by.clone().into_iter().collect(), hold: None };
        // The end of a version waits for what is made of it.
        if self.builder.intents.get(&subject).is_some_and(|intent| intent.action != Action::Remove) {
            base.after.push(subject);
        } else if let Some(name) = self.context.stock.strays.keys().find(|name| DiskId::of_lv(name).as_ref() == Some(&id)) {
            base.hold = Some(Hold::Stray { name: name.clone(), what: "its marks do not agree".to_owned() });
        } else if self.context.ready(&id).is_none() {
            let is_filling = self.context.stock.disks.get(&id).is_some_and(|disk| disk.marks.filling == Filling::Unfinished);
            let (image, version) = (disk.image.clone(), disk.version.clone());
            base.hold = Some(match is_filling {
                true => Hold::Filling { image, version },
                false => Hold::After { subject: Box::new(subject) },
            });
        }
        base.hold = base.hold.or_else(|| self.pool.no_touch.clone());
        base
    }

    /// Makes a clone of a disk's version, with its marks, and as large as the site says.
    pub(super) fn clone_ops(
        &self,
        wanted: &SeatDisk,
        made: &DiskId,
        side: Option<(&crate::names::ImageName, Side)>,
        lun: Lun,
    ) -> Vec<DiskOp> {
        let base = DiskId::version(&wanted.image, &wanted.version);
        let there = self.context.ready(&base);
        let mut marks = vec![
            Mark::OURS.to_owned(),
            Mark::tag(Mark::SITE, &self.context.desired.site),
            Mark::tag(Mark::MACHINE, self.machine),
            Mark::tag(Mark::IMAGE, &wanted.image),
            Mark::tag(Mark::VERSION, &wanted.version),
            Mark::tag(Mark::RESET, stamp_text(wanted.reset)),
            Mark::tag(Mark::LUN, lun),
            Mark::tag(Mark::EPOCH, self.pool.epoch),
            Mark::tag(Mark::AFTER, self.pool.after),
        ];
        marks.extend(side.map(|(image, letter)| Mark::tag(Mark::SIDE, format!("{image}.{letter}"))));
        if let Some(version) = there {
            marks.push(Mark::tag(Mark::BASE, &version.handle));
            marks.extend(version.marks.sha256.as_ref().map(|sha256| Mark::tag(Mark::SHA256, sha256)));
        }
        let base_handle = there.map(|version| version.handle.clone());
        let mut ops = vec![DiskOp::Clone { disk: made.clone(), base, base_handle, marks }];
        // A version that this plan lets grow is larger by then.
        let grows =
            self.builder.intents.get(&Subject::version(&wanted.image, &wanted.version)).is_some_and(|intent| {
                match &intent.work {
                    Work::Alter(ops) => ops.iter().any(|op| matches!(op, DiskOp::Grow { .. })),
                    _ => false,
                }
            });
        let is_smaller = !grows && there.is_some_and(|version| version.size < rounded(self.context, wanted.size));
        if is_smaller {
            ops.push(DiskOp::Grow { disk: made.clone(), handle: None, to: rounded(self.context, wanted.size) });
        }
        ops
    }

    /// The target of a side that this plan makes.
    pub(super) fn new_target(&self, id: &SeatId, letter: Side, own: &[DiskId], portal_group: PortalGroup) -> Shape {
        let seat = self.context.storage.seats.get(id);
        let number =
            |disk: &DiskId| seat.and_then(|seat| seat.disks.iter().position(|wanted| image_of(disk) == Some(&wanted.image)));
        let mut shows: Vec<ToShow<'a>> =
            own.iter().map(|disk| ToShow { lun: Lun(number(disk).unwrap_or(0) as u16), id: disk.clone(), disk: None }).collect();
        let record = if portal_group == PortalGroup::On { Boot::Every } else { Boot::SeenOn };
        if portal_group == PortalGroup::On {
            // Its data disks are there or are made beside it.
            for (at, disk) in seat.into_iter().flat_map(|seat| seat.disks.iter().enumerate().skip(1)) {
                let found = self.seen.lasting(self.context, &disk.image);
                let id = match found {
                    Some((id, _)) => Some(id.clone()),
                    None => self.free_letter(disk).map(|letter| DiskId::seat(self.machine, &disk.image, letter)),
                };
                shows.extend(id.map(|id| ToShow { lun: Lun(at as u16), id, disk: found.map(|(_, disk)| disk) }));
            }
        }
        shape(self.context, id, id, letter, None, own.to_vec(), shows, portal_group, record, seat)
    }
}

fn differs(what: &str) -> Reason {
    Reason::Differs { what: what.to_owned() }
}

fn describe(disk: &SeatDisk) -> String {
    format!("{}@{}, {}", disk.image, disk.version, disk.size)
}

/// How a stamp that is there is spelt.
fn text_of(stamp: Stamp) -> &'static str {
    match stamp {
        Stamp::EveryBoot => "every-boot",
        Stamp::OnUpdate => "on-update",
        Stamp::Never | Stamp::Unmarked => "never",
    }
}

/// A size in whole extents, the unit LVM rounds up to.
pub(super) fn rounded(context: &Context<'_>, size: Bytes) -> Bytes {
    let extent = context.vg.extent.0.max(1);
    Bytes(size.0.div_ceil(extent) * extent)
}

/// Makes a disk's marks those of its name.
fn retag(context: &Context<'_>, id: &DiskId, disk: &Disk) -> Option<DiskOp> {
    let lv = context.vg.lvs.get(id.lv_name().ok()?.as_str())?;
    let (machine, image) = match id {
        DiskId::Seat { machine, image, .. } => (Some(machine), image),
        DiskId::Version { image, .. } => (None, image),
        _ => return None,
    };
    let (mut remove, mut add) = (Vec::new(), Vec::new());
    let wanted =
        machine.map(|machine| (Mark::MACHINE, machine.to_string())).into_iter().chain([(Mark::IMAGE, image.to_string())]);
    for (key, value) in wanted {
        if let Some(was) = lv.tags.value(key).filter(|was| *was != value) {
            remove.push(Mark::tag(key, was));
            add.push(Mark::tag(key, value));
        }
    }
    (!add.is_empty()).then(|| DiskOp::Mark { disk: id.clone(), handle: Some(disk.handle.clone()), remove, add })
}

/// Gives a seat's disk its name and marks of today.
pub(super) fn rename_ops(context: &Context<'_>, id: &DiskId, disk: &Disk) -> Vec<DiskOp> {
    let DiskId::Seat { machine, image, side } = id else { return Vec::new() };
    let (now, image_now) = (context.storage.machine_now(machine), context.storage.image_now(image));
    if (now, image_now) == (machine, image) {
        return Vec::new();
    }
    let to = DiskId::seat(now, image_now, *side);
    let (mut remove, mut add) = (Vec::new(), Vec::new());
    for (key, was, is) in [(Mark::MACHINE, machine.as_str(), now.as_str()), (Mark::IMAGE, image.as_str(), image_now.as_str())] {
        if was != is {
            remove.push(Mark::tag(key, was));
            add.push(Mark::tag(key, is));
        }
    }
    vec![
        DiskOp::Rename { from: id.clone(), to: to.clone(), handle: disk.handle.clone() },
        DiskOp::Mark { disk: to, handle: Some(disk.handle.clone()), remove, add },
    ]
}
