//! What of an observation one machine's boot depends on, so that a decision costs the same in a room of ten and of ten thousand; and
//! whose boots depend on a plan.
//!
//! **Invariant:** pure; what is left out of an observation names neither the machine, by its name of today or a former one, nor one of
//! its disks, nor a version, nor the pool; what cannot be told stays in.

use super::{Action, Change, ExportOp, Plan, Prepared, Reason, Step};
use crate::names::{DiskId, MachineName, Mark, parse_target};
use crate::observed::occupancy::SystemSeen;
use crate::observed::{Backstore, Lio, Lv, Observation, Offered, Seen, Target, Vg, is_newer_than};
use crate::site::StaleBoot;
use std::collections::{BTreeMap, BTreeSet};

/// The observation as far as it concerns a machine, with what the record says by now.
pub fn concerning(prepared: &Prepared, observation: &Observation, machine: &MachineName, offered: Seen<Offered>) -> Observation {
    let Some(storage) = &prepared.desired.storage else { return Observation { offered, ..observation.clone() } };
    let is_others = |name: &str| match DiskId::of_lv(name) {
        Some(DiskId::Seat { machine: of, .. }) => storage.machine_now(&of) != machine,
        _ => false,
    };
    let is_its =
        |name: &str| parse_target(storage.iqn_prefix(), name).is_none_or(|id| storage.machine_now(&id.machine) == machine);
    let vg = match &observation.vg {
        Seen::Present(vg) => {
            // What shows that the record is an older one stays in, whosever it is.
            let shows = |lv: &Lv| offered.present().is_some_and(|offered| is_newer_than(&lv.tags, offered));
            let kept = vg.lvs.iter().filter(|(name, lv)| !is_others(name) || shows(lv));
            let lvs: BTreeMap<String, Lv> = kept.map(|(name, lv)| (name.clone(), lv.clone())).collect();
            let Vg { name, uuid, size, free, extent, metadata_size, metadata_free, .. } = vg;
            Seen::Present(Vg {
                name: name.clone(),
                uuid: uuid.clone(),
                size: *size,
                free: *free,
                extent: *extent,
                metadata_size: *metadata_size,
                metadata_free: *metadata_free,
                lvs,
            })
        }
        other => other.clone(),
    };
    let others: BTreeSet<(u32, u32)> = observation.vg.present().map_or_else(BTreeSet::new, |vg| {
        vg.lvs.iter().filter(|(name, _)| is_others(name)).filter_map(|(_, lv)| lv.device).collect()
    });
    let lio = match &observation.lio {
        Seen::Present(lio) => {
            let is_kept = |backstore: &Backstore| backstore.device.is_none_or(|device| !others.contains(&device));
            let kept = lio.backstores.iter().filter(|(_, backstore)| is_kept(backstore));
            let backstores: BTreeMap<String, Backstore> =
                kept.map(|(path, backstore)| (path.clone(), backstore.clone())).collect();
            let shows = |target: &Target| {
                let mut luns = target.tpgs.values().flat_map(|tpg| tpg.luns.values());
                luns.any(|lun| lun.link.as_ref().is_some_and(|(_, path)| backstores.contains_key(path)))
            };
            let kept = lio.targets.iter().filter(|(name, target)| is_its(name) || shows(target));
            let targets = kept.map(|(name, target)| (name.clone(), target.clone())).collect();
            // Their numbers are taken all the same.
            let hba = |path: &String| path.split('/').next().map(str::to_owned);
            let others = lio.backstores.keys().filter(|path| !backstores.contains_key(*path)).filter_map(hba);
            let empty_hbas = lio.empty_hbas.iter().cloned().chain(others).collect();
            Seen::Present(Lio { backstores, empty_hbas, targets })
        }
        other => other.clone(),
    };
    Observation {
        at: observation.at,
        now: observation.now,
        boot_id: observation.boot_id.clone(),
        vg,
        elsewhere: observation.elsewhere.clone(),
        devices_file: observation.devices_file,
        lio,
        written: observation.written.clone(),
        offered,
        occupancy: observation.occupancy.as_ref().map(|known| known.of(is_its)),
        waiting: observation.waiting.clone(),
        paused: BTreeMap::new(),
        published: Seen::Absent,
        sources: BTreeMap::new(),
        filling: observation.filling.clone(),
        assets: BTreeMap::new(),
        secrets: observation.secrets.clone(),
        commands: observation.commands.clone(),
    }
}

/// What of this is still as it was after a plan was carried out, objects that it made or took away left out; nothing where it mended
/// what objects say of themselves.
pub fn untouched(lio: &Lio, plan: &Plan) -> Option<Lio> {
    let mut lio = lio.clone();
    let ops = plan.steps.iter().filter_map(|step| if let Step::Exports(ops) = step { Some(ops) } else { None });
    for (_, op) in ops.flatten() {
        match op {
            ExportOp::Mend { .. } => return None,
            ExportOp::Build(target) => {
                lio.targets.retain(|name, _| target.name.as_ref().is_none_or(|built| built.as_str() != name));
                target.luns.values().for_each(|lun| drop(lio.backstores.remove(&lun.backstore)));
            }
            ExportOp::Withdraw { target, .. } => {
                lio.targets.remove(&target.name);
                target.backstores.iter().for_each(|path| drop(lio.backstores.remove(path)));
            }
            ExportOp::RemoveBackstore { path } => drop(lio.backstores.remove(path)),
            // These make directories, or links, which every look reads.
            ExportOp::LoadKernel
            | ExportOp::RemoveDebris { .. }
            | ExportOp::Open { .. }
            | ExportOp::Admit { .. }
            | ExportOp::Move { .. } => {}
        }
    }
    Some(lio)
}

/// Machines whose boots wait while a plan is carried out, because it takes something away that such a boot could be given. One whose
/// used sides go, and that has nothing else, is given its clean side meanwhile.
pub fn keeps_waiting(prepared: &Prepared, observation: &Observation, plan: &Plan) -> BTreeSet<MachineName> {
    let Some(storage) = &prepared.desired.storage else { return BTreeSet::new() };
    let volumes = observation.vg.present().into_iter().flat_map(|vg| &vg.lvs);
    let lasting =
        volumes.filter(|(_, lv)| lv.tags.value(Mark::SIDE).is_none()).filter_map(|(name, _)| match DiskId::of_lv(name) {
            Some(DiskId::Seat { machine, .. }) => Some(storage.machine_now(&machine).clone()),
            _ => None,
        });
    let lasting: BTreeSet<MachineName> = lasting.collect();
    // One that only firmware came to is given to the next boot again.
    let is_used = |target: &str| {
        let watch = observation.occupancy.as_ref().and_then(|known| known.watches.get(target));
        watch.is_some_and(|watch| watch.system != SystemSeen::Never)
    };
    let is_past = |op: &ExportOp, change: &Change, machine: &MachineName| {
        matches!(op, ExportOp::Withdraw { target, .. } if is_used(&target.name))
            && (change.action == Action::Remove && matches!(change.reason, Reason::Used { .. }))
            && prepared.desired.policy.stale_boot == StaleBoot::Refuse
            && !lasting.contains(machine)
    };
    let takes =
        |op: &ExportOp| matches!(op, ExportOp::Withdraw { .. } | ExportOp::RemoveBackstore { .. } | ExportOp::Move { .. });
    let ops = plan.steps.iter().filter_map(|step| if let Step::Exports(ops) = step { Some(ops) } else { None });
    let taken = ops.flatten().filter(|(_, op)| takes(op));
    let machines = taken.filter_map(|(id, op)| {
        let change = plan.changes.get(id.0 as usize)?;
        let machine = storage.machine_now(change.subject.machine()?);
        (!is_past(op, change, machine)).then(|| machine.clone())
    });
    machines.collect()
}
