//! From gated intents to the plan: their order, their places, and the operations that carry the open ones out.
//!
//! Targets of disks that are there come first, so that a room comes back before anything is made or filled. New disks are made before
//! old ones go. Filling comes last, and what waits for it after it. **Invariant:** a change comes after everything it waits for.

use super::builder::{Intent, PlanBuilder, Work};
use super::context::Context;
use super::op::{DiskOp, ExportOp, Pool, Step};
use super::{Action, Change, ChangeId, Note, Subject};
use crate::boot::table::{BootMachine, BootTable, Way};
use std::collections::{BTreeMap, BTreeSet};

/// When something is done, within what can be done before anything is filled, and again after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Kernel,
    Pool,
    Protect,
    Activate,
    Show,
    Withdraw,
    Rename,
    Make,
    ShowNew,
    Publish,
    WithdrawOld,
    Remove,
    RemoveVersions,
}

/// The rank of a change in the plan, whatever its name.
fn rank(subject: &Subject, intent: &Intent) -> u8 {
    match (subject, &intent.work) {
        (Subject::Kernel, _) => 0,
        (Subject::Pool { .. }, _) => 1,
        (_, Work::Protect(_)) => 2,
        (_, Work::Version(_)) => 3,
        (_, Work::Rename(..)) => 4,
        (_, Work::Show(..) | Work::Live(_)) => 5,
        (_, Work::ShowAnew(..)) => 6,
        (Subject::Version { .. }, Work::Alter(_)) => 7,
        (_, Work::Alter(_)) => 8,
        (Subject::Disk { .. }, Work::MakeSide(..)) => 9,
        (_, Work::MakeSide(..)) => 10,
        (Subject::Side { .. }, Work::RemoveSide(..)) => 11,
        (_, Work::RemoveSide(..) | Work::Debris(_)) => 12,
        (_, Work::RemoveVersion(..)) => 13,
        (_, Work::Boot(_)) if intent.action == Action::Remove => 15,
        (Subject::Boot { .. }, _) | (_, Work::Boot(_)) => 14,
        (_, Work::Table) => 16,
        (_, Work::Kernel | Work::Pool(_)) => 1,
    }
}

/// Changes in order, notes, and the steps.
pub(super) fn arrange(
    context: Option<&Context<'_>>,
    builder: PlanBuilder,
    table: &BootTable,
    published: Option<&BootTable>,
) -> (Vec<Change>, Vec<Note>, Vec<Step>) {
    let late = late(&builder);
    let mut sorted: Vec<(bool, u8, Subject, Intent)> = builder
        .intents
        .into_iter()
        .map(|(subject, intent)| (late.contains(&subject), rank(&subject, &intent), subject, intent))
        .collect();
    sorted.sort_by(|a, b| (a.1 == 3 || a.0, a.1 != 3 && a.0, a.1, &a.2).cmp(&(b.1 == 3 || b.0, b.1 != 3 && b.0, b.1, &b.2)));
    let places: BTreeMap<Subject, ChangeId> =
        sorted.iter().enumerate().map(|(place, (_, _, subject, _))| (subject.clone(), ChangeId(place as u32))).collect();
    let mut changes = Vec::new();
    let mut works = Vec::new();
    for (is_late, _, subject, intent) in sorted {
        let after = intent.after.iter().filter_map(|subject| places.get(subject).copied()).collect();
        let loses = super::gate::lost(&intent);
        let change = Change {
            subject,
            action: intent.action,
            detail: intent.detail,
            reason: intent.reason,
            disruption: intent.disruption,
            loses,
            purpose: intent.purpose,
            gate: intent.gate,
            after,
            handles: intent.handles.into_iter().collect(),
            diff: intent.diff,
        };
        works.push((is_late, intent.work));
        changes.push(change);
    }
    let steps = lower(context, &changes, works, table, published);
    (changes, builder.notes.into_iter().collect(), steps)
}

/// What waits for something to be filled.
fn late(builder: &PlanBuilder) -> BTreeSet<Subject> {
    let fills = |intent: &Intent| match &intent.work {
        Work::Version(ops) => intent.is_open() && ops.iter().any(|op| matches!(op, DiskOp::Fill { .. })),
        _ => false,
    };
    let mut late: BTreeSet<Subject> =
        builder.intents.iter().filter(|(_, intent)| fills(intent)).map(|(subject, _)| subject.clone()).collect();
    let filling = late.clone();
    loop {
        let more: BTreeSet<Subject> = builder
            .intents
            .iter()
            .filter(|(subject, intent)| !late.contains(*subject) && intent.after.iter().any(|after| late.contains(after)))
            .map(|(subject, _)| subject.clone())
            .collect();
        if more.is_empty() {
            break;
        }
        late.extend(more);
    }
    late.retain(|subject| !filling.contains(subject));
    late
}

/// Everything that is to be done, by the wave and the stage it belongs to.
#[derive(Default)]
struct Lowered {
    disks: BTreeMap<(bool, Stage), Vec<(ChangeId, DiskOp)>>,
    exports: BTreeMap<(bool, Stage), Vec<(ChangeId, ExportOp)>>,
    fills: Vec<(ChangeId, Vec<DiskOp>)>,
}

impl Lowered {
    fn disk(&mut self, late: bool, stage: Stage, id: ChangeId, ops: impl IntoIterator<Item = DiskOp>) {
        self.disks.entry((late, stage)).or_default().extend(ops.into_iter().map(|op| (id, op)));
    }

    fn export(&mut self, late: bool, stage: Stage, id: ChangeId, ops: impl IntoIterator<Item = ExportOp>) {
        self.exports.entry((late, stage)).or_default().extend(ops.into_iter().map(|op| (id, op)));
    }

    fn add(&mut self, late: bool, id: ChangeId, change: &Change, work: Work) {
        let backstores = |paths: Vec<String>| paths.into_iter().map(|path| ExportOp::RemoveBackstore { path });
        match work {
            Work::Kernel => self.export(late, Stage::Kernel, id, [ExportOp::LoadKernel]),
            Work::Pool(ops) => self.disk(late, Stage::Pool, id, ops),
            Work::Version(ops) if ops.iter().any(|op| matches!(op, DiskOp::Fill { .. })) => self.fills.push((id, ops)),
            // An empty disk is made at once.
            Work::Version(ops) => self.disk(late, Stage::Pool, id, ops),
            Work::Protect(ops) => self.disk(late, Stage::Protect, id, ops),
            Work::Alter(ops) => {
                let (wake, alter): (Vec<_>, Vec<_>) = ops.into_iter().partition(|op| matches!(op, DiskOp::Activate { .. }));
                self.disk(late, Stage::Activate, id, wake);
                self.disk(late, Stage::Make, id, alter);
            }
            Work::MakeSide(ops, target) => {
                self.disk(late, Stage::Make, id, ops);
                self.export(late, Stage::ShowNew, id, target.map(ExportOp::Build));
            }
            Work::Show(stale, ops, target) => {
                self.disk(late, Stage::Activate, id, ops);
                self.export(late, Stage::Show, id, backstores(stale));
                self.export(late, Stage::Show, id, [ExportOp::Build(target)]);
            }
            Work::ShowAnew(old, stale, ops, target) => {
                let machine = target.machine.clone();
                self.export(late, Stage::Withdraw, id, [ExportOp::Withdraw { machine, target: old }]);
                self.export(late, Stage::Withdraw, id, backstores(stale));
                self.disk(late, Stage::Make, id, ops);
                self.export(late, Stage::ShowNew, id, [ExportOp::Build(target)]);
            }
            Work::Live(ops) => self.export(late, Stage::Show, id, ops),
            Work::RemoveSide(target, paths, disks) => {
                // What another takes the place of serves until that is there.
                let stage = if !change.after.is_empty() { Stage::WithdrawOld } else { Stage::Withdraw };
                self.withdraw(late, stage, id, target, &disks);
                self.export(late, stage, id, backstores(paths));
                self.disk(late, Stage::Remove, id, disks.into_iter().map(|(disk, handle)| DiskOp::Remove { disk, handle }));
            }
            Work::Rename(target, paths, ops) => {
                let disks = ops.iter().filter_map(|op| match op {
                    DiskOp::Rename { from, handle, .. } => Some((from.clone(), handle.clone())),
                    _ => None,
                });
                self.withdraw(late, Stage::Withdraw, id, target, &disks.collect::<Vec<_>>());
                self.export(late, Stage::Withdraw, id, backstores(paths));
                self.disk(late, Stage::Rename, id, ops);
            }
            Work::Debris(op) => self.export(late, Stage::Withdraw, id, [op]),
            Work::RemoveVersion(disk, handle) => self.disk(late, Stage::RemoveVersions, id, [DiskOp::Remove { disk, handle }]),
            Work::Boot(_) | Work::Table => {}
        }
    }

    fn withdraw(
        &mut self,
        late: bool,
        stage: Stage,
        id: ChangeId,
        target: Option<Box<super::TargetSeen>>,
        disks: &[(crate::names::DiskId, crate::names::Handle)],
    ) {
        let Some(target) = target else { return };
        let machine = disks.iter().find_map(|(disk, _)| disk.machine().cloned());
        let machine = machine.unwrap_or_else(|| "unknown".parse().expect("a word is a name"));
        self.export(late, stage, id, [ExportOp::Withdraw { machine, target }]);
    }
}

fn lower(
    context: Option<&Context<'_>>,
    changes: &[Change],
    works: Vec<(bool, Work)>,
    table: &BootTable,
    published: Option<&BootTable>,
) -> Vec<Step> {
    let mut lowered = Lowered::default();
    let mut told: BTreeMap<ChangeId, Option<BootMachine>> = BTreeMap::new();
    let mut lates = Vec::new();
    for (place, (change, (late, work))) in changes.iter().zip(works).enumerate() {
        let id = ChangeId(place as u32);
        lates.push(late);
        match work {
            Work::Boot(before) => drop(told.insert(id, before.map(|before| *before))),
            work if change.is_open() => lowered.add(late, id, change, work),
            _ => {}
        }
    }
    let mut steps = Vec::new();
    let pool = context.map(|context| Pool { vg: context.storage.vg().clone(), pool: context.storage.pool().clone() });
    let has_late = !lowered.fills.is_empty();
    waves(&mut steps, &mut lowered, false, pool.as_ref(), || publish(changes, &told, &lates, false, table, published));
    for (change, ops) in std::mem::take(&mut lowered.fills) {
        steps.extend(pool.clone().map(|pool| Step::Fill { pool, change, ops }));
    }
    if has_late {
        waves(&mut steps, &mut lowered, true, pool.as_ref(), || publish(changes, &told, &lates, true, table, published));
    }
    steps
}

fn waves(steps: &mut Vec<Step>, lowered: &mut Lowered, late: bool, pool: Option<&Pool>, publish: impl FnOnce() -> Option<Step>) {
    const STAGES: [Stage; 13] = [
        Stage::Kernel,
        Stage::Pool,
        Stage::Protect,
        Stage::Activate,
        Stage::Show,
        Stage::Withdraw,
        Stage::Rename,
        Stage::Make,
        Stage::ShowNew,
        Stage::Publish,
        Stage::WithdrawOld,
        Stage::Remove,
        Stage::RemoveVersions,
    ];
    let mut publish = Some(publish);
    for stage in STAGES {
        if stage == Stage::Publish {
            steps.extend(publish.take().and_then(|publish| publish()));
            continue;
        }
        if let (Some(ops), Some(pool)) = (lowered.disks.remove(&(late, stage)).filter(|ops| !ops.is_empty()), pool) {
            steps.push(Step::Disks { pool: pool.clone(), ops });
        }
        if let Some(ops) = lowered.exports.remove(&(late, stage)).filter(|ops| !ops.is_empty()) {
            steps.push(Step::Exports(ops));
        }
    }
}

/// The boot table as it is to be after the first wave, or after the last.
fn publish(
    changes: &[Change],
    told: &BTreeMap<ChangeId, Option<BootMachine>>,
    lates: &[bool],
    late: bool,
    table: &BootTable,
    published: Option<&BootTable>,
) -> Option<Step> {
    let is_told = |(change, is_late): &(&Change, &bool)| {
        change.is_open() && matches!(change.subject, Subject::Table | Subject::Boot { .. }) && (**is_late == late)
    };
    // The name of a disk that every boot has is known once it is made: then the table says it.
    let is_named_now = |(change, is_late): &(&Change, &bool)| match &change.subject {
        Subject::Disk { machine, image, .. } if change.is_open() && **is_late == late => {
            let disk = table.machines.get(machine).and_then(|machine| machine.disks.get(image));
            disk.is_some_and(|disk| disk.way == Way::Fixed && disk.target.is_none())
        }
        _ => false,
    };
    if !changes.iter().zip(lates).any(|pair| is_told(&pair) || is_named_now(&pair)) {
        return None;
    }
    let mut table = table.clone();
    let mut otherwise = Vec::new();
    let mut whole = None;
    for (place, change) in changes.iter().enumerate() {
        let id = ChangeId(place as u32);
        let waits = !change.is_open() || lates[place] && !late;
        match &change.subject {
            Subject::Table if !waits => whole = Some(id),
            Subject::Table => {
                let published = published?;
                table = BootTable { machines: table.machines, ..published.clone() };
            }
            Subject::Boot { machine } if !waits => otherwise.push((id, machine.clone(), told.get(&id).cloned().flatten())),
            Subject::Boot { machine } => match told.get(&id).cloned().flatten() {
                Some(before) => drop(table.machines.insert(machine.clone(), before)),
                None => drop(table.machines.remove(machine)),
            },
            _ => {}
        }
    }
    debug_assert!(!changes.iter().any(|change| change.action == Action::Rename && matches!(change.subject, Subject::Table)));
    Some(Step::Publish { change: whole, table: Box::new(table), otherwise })
}
