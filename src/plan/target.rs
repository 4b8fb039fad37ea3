//! The target of a side as it should be, from disks that are there or are to be made.
//!
//! **Invariant:** a backstore that is not ours is never in it: what holds one of our disks and is not ours is a reason to wait.

use super::context::Context;
use super::exports::{Owner, backstore_stands};
use super::view::{Kind, MachineSeen, SideSeen, State, image_of};
use super::{Discards, DiskOp, Hold, LunPlan, Pool, PortalGroup, Standing, TargetPlan};
use crate::desired::{DiskSeat, Login, SeatId};
use crate::names::{DiskId, Iqn, Lun, MachineName, Side, TargetId, backstore_name, serial, target_name, target_tail};
use crate::observed::{Boot, Disk, LvKind, Power};
use std::collections::BTreeMap;

/// A disk that a target is to show, with the one that is there.
pub(super) struct ToShow<'a> {
    pub lun: Lun,
    pub id: DiskId,
    pub disk: Option<&'a Disk>,
}

/// What a target needs to be put up.
pub(super) struct Shape {
    pub plan: TargetPlan,
    /// Has the disks be active.
    pub activate: Vec<DiskOp>,
    /// Backstores of ours that hold one of the disks and are not as they should be.
    pub stale: Vec<String>,
    /// Why it cannot be put up.
    pub hold: Option<Hold>,
}

/// The target of a side that is there, as it should be.
pub(super) fn shape_of<'a>(context: &Context<'a>, seen: &MachineSeen<'a>, side: &SideSeen<'a>, seat: Option<&DiskSeat>) -> Shape {
    let mut shows: Vec<ToShow<'a>> = Vec::new();
    for (at, (id, disk)) in side.own.iter().enumerate() {
        shows.push(ToShow { lun: lun_of(id, disk, seat, at), id: (*id).clone(), disk: Some(disk) });
    }
    if holds_kept(context, seen, side) {
        shows.extend(kept_disks(context, seen, side, seat));
    } else if side.target.is_none() && side.state != State::Fresh {
        // After a start of the server: a disk that another took the place of since, and that was offered with this side.
        let own =
            seen.loose.iter().filter(|(_, disk)| seen.offered_with(context, disk).is_some_and(|with| std::ptr::eq(with, side)));
        shows.extend(own.map(|(id, disk)| ToShow { lun: lun_of(id, disk, seat, 1), id: (*id).clone(), disk: Some(disk) }));
    }
    let portal_group = match side.state {
        // The first disk of every boot waits for nobody: its machine boots it without being assigned anything.
        State::Fresh if side.kind == Kind::Lasting && !seen.is_replacement(side) => PortalGroup::On,
        State::Fresh => PortalGroup::Off,
        State::Named(_) | State::Used => PortalGroup::On,
    };
    let own: Vec<DiskId> = side.own.iter().map(|(id, _)| (*id).clone()).collect();
    let name = match side.target {
        Some(name) => name.parse().ok(),
        None => named(context, side),
    };
    let record = match side.kind {
        Kind::Lasting => Boot::Every,
        Kind::PerBoot => Boot::SeenOn,
    };
    shape(context, &side.seat, &side.named, side.letter, name, own, shows, portal_group, record, seat)
}

/// The name of a side's target while there is none: by the UUIDs of its disks, or the old one for disks that are older than sides.
fn named(context: &Context<'_>, side: &SideSeen<'_>) -> Option<Iqn> {
    let is_legacy = side.own.iter().all(|(_, disk)| disk.marks.epoch.is_none());
    let tail = || target_tail(side.own.iter().map(|(_, disk)| &disk.handle));
    let id = TargetId {
        machine: side.named.machine.clone(),
        image: side.named.image.clone(),
        side: (!is_legacy).then(|| (side.letter, tail())),
    };
    target_name(context.storage.iqn_prefix(), &id).ok()
}

/// The number of a disk on its target: by its mark, else by the site, else by its place.
fn lun_of(id: &DiskId, disk: &Disk, seat: Option<&DiskSeat>, at: usize) -> Lun {
    let by_site = || seat?.disks.iter().position(|wanted| image_of(id) == Some(&wanted.image));
    disk.marks.lun.unwrap_or_else(|| Lun(by_site().unwrap_or(at) as u16))
}

/// Whether the kept disks of its machine are on this side: it was offered last, or it is the one that every boot has.
fn holds_kept<'a>(context: &Context<'a>, seen: &MachineSeen<'a>, side: &SideSeen<'a>) -> bool {
    if side.state == State::Fresh && side.kind == Kind::PerBoot {
        return false;
    }
    let Some(target) = side.target.and_then(|target| context.exports.targets.get(target)) else {
        // After a start of the server: where they were when the machine was last offered anything.
        return match seen.with_kept(context) {
            Some(with_kept) => std::ptr::eq(with_kept, side),
            None => side.kind == Kind::Lasting || seen.sides.len() == 1,
        };
    };
    // They are where they are seen; where nobody shows them, on the side that was offered last.
    let is_kept = |id: &DiskId| seen.loose.iter().any(|(loose, _)| *loose == id);
    target.luns.values().flatten().any(|id| is_kept(id))
        || !is_kept_shown(context, seen)
            && seen.with_kept(context).map_or(side.kind == Kind::Lasting, |with_kept| std::ptr::eq(with_kept, side))
}

fn is_kept_shown(context: &Context<'_>, seen: &MachineSeen<'_>) -> bool {
    seen.loose.iter().any(|(_, disk)| context.shown(disk).is_some_and(|shown| !shown.targets.is_empty()))
}

/// The disks that every boot of the machine has, beside this side's own.
fn kept_disks<'a>(
    context: &Context<'a>,
    seen: &MachineSeen<'a>,
    side: &SideSeen<'a>,
    seat: Option<&DiskSeat>,
) -> Vec<ToShow<'a>> {
    let mut shows: BTreeMap<Lun, ToShow<'a>> = BTreeMap::new();
    // What it shows now it goes on showing: a machine may be at work on it.
    let target = side.target.and_then(|target| context.exports.targets.get(target));
    for (lun, id) in target.into_iter().flat_map(|target| &target.luns) {
        if let Some((id, disk)) = id.and_then(|id| seen.loose.iter().find(|(loose, _)| *loose == id)) {
            shows.insert(*lun, ToShow { lun: *lun, id: (*id).clone(), disk: Some(disk) });
        }
    }
    let wanted = seat.into_iter().flat_map(|seat| seat.disks.iter().enumerate().skip(1));
    for (at, disk) in wanted {
        let Some((id, found)) = seen.lasting(context, &disk.image) else { continue };
        // A side of one boot shows what that boot was told of; the next boot is told of more, on a side of its own.
        if side.kind == Kind::PerBoot && target.is_some() {
            continue;
        }
        let is_shown =
            shows.values().any(|show| image_of(&show.id).map(|image| context.storage.image_now(image)) == Some(&disk.image));
        if !is_shown && !side.has(id) {
            let lun = Lun(at as u16);
            shows.entry(lun).or_insert(ToShow { lun, id: id.clone(), disk: Some(found) });
        }
    }
    if seat.is_none() && target.is_none() {
        for (id, disk) in &seen.loose {
            let lun = disk.marks.lun.unwrap_or(Lun(shows.len() as u16 + 1));
            shows.entry(lun).or_insert(ToShow { lun, id: (*id).clone(), disk: Some(disk) });
        }
    }
    shows.into_values().collect()
}

/// A target over these disks.
#[expect(clippy::too_many_arguments, reason = "each is one fact of a target, and all callers have all of them")]
pub(super) fn shape<'a>(
    context: &Context<'a>,
    seat: &SeatId,
    named: &SeatId,
    side: Side,
    name: Option<Iqn>,
    own: Vec<DiskId>,
    shows: Vec<ToShow<'a>>,
    portal_group: PortalGroup,
    record: Boot,
    wanted: Option<&DiskSeat>,
) -> Shape {
    let storage = context.storage;
    let discards = discards(context);
    let prefix = storage.iqn_prefix().clone();
    let initiator = |machine: &MachineName| prefix.join(machine.as_str()).ok();
    // A machine that was renamed reaches its old disk by its new name, and by the old one while it may be at work.
    let mut initiators: Vec<Iqn> = [&seat.machine, &named.machine].into_iter().filter_map(initiator).collect();
    initiators.dedup();
    let mut luns = BTreeMap::new();
    let (mut activate, mut stale, mut hold) = (Vec::new(), Vec::new(), None);
    for ToShow { lun, id, disk } in shows {
        let (machine, image) = match &id {
            DiskId::Seat { machine, image, .. } => (machine, image),
            _ => continue,
        };
        let letter = if let DiskId::Seat { side, .. } = &id { *side } else { side };
        let serial = serial(&context.desired.site, machine, image);
        let name = backstore_name(&context.desired.site, machine, image, letter);
        let (mut stands, mut path) = (Standing::New, None);
        if let Some(disk) = disk {
            if disk.power == Power::Inactive || disk.power == Power::PassedOver {
                activate.push(DiskOp::Activate { disk: id.clone(), handle: disk.handle.clone() });
            }
            match context.shown(disk) {
                Some(shown) if shown.owner == Owner::Foreign => {
                    hold = Some(Hold::Foreign { what: format!("backstore {}, which shows {id},", shown.path) });
                }
                Some(shown) => match backstore_stands(&context.exports, shown, &serial, discards) {
                    Ok(()) => (stands, path) = (Standing::Stands, Some(shown.path.to_owned())),
                    Err(_) => stale.push(shown.path.to_owned()),
                },
                None if disk.held == crate::observed::HeldOpen::Open => {
                    hold = Some(Hold::Foreign { what: format!("something on this host that holds {id} open") });
                }
                None => {}
            }
        }
        let backstore = path.unwrap_or_else(|| format!("iblock_{}/{name}", context.exports.take_number(&name)));
        luns.insert(lun, LunPlan { disk: id, handle: disk.map(|disk| disk.handle.clone()), backstore, stands, serial });
    }
    if let Some(stranger) = context.exports.stranger {
        let port = storage.portal().0.port();
        hold = Some(Hold::Foreign { what: format!("target {stranger}, which listens on every address of port {port},") });
    }
    let missing = wanted.and_then(|wanted| context.secret_missing(&seat.machine, wanted));
    let secrets = wanted.filter(|wanted| wanted.login == Login::Chap).and_then(|_| context.secrets_file());
    let plan = TargetPlan {
        machine: seat.machine.clone(),
        image: seat.image.clone(),
        named: (named.machine.clone(), named.image.clone()),
        side,
        name,
        own,
        pool: Pool { vg: storage.vg().clone(), pool: storage.pool().clone() },
        prefix,
        portal_group,
        record: record.to_string(),
        portal: *storage.portal(),
        initiators,
        secrets,
        luns,
        mark: context.mark.clone(),
        discards,
    };
    Shape { plan, activate, stale, hold: hold.or(missing) }
}

/// What becomes of discards, as the pool has it.
pub(super) fn discards(context: &Context<'_>) -> Discards {
    match context.vg.lvs.get(context.storage.pool().as_str()).map(|lv| &lv.kind) {
        Some(LvKind::ThinPool { discards, .. }) if discards == "ignore" => Discards::Refused,
        _ => Discards::Free,
    }
}
