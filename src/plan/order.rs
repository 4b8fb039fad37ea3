//! From gathered changes to the plan: their order, their places, and the steps that carry them out.
//!
//! Versions are filled before any seat is touched, for that takes minutes; then what is leaving is withdrawn from the boot
//! table, seats come down, LVM works in batches, seats go up, and the new table is published.
//! **Invariant:** a change comes after everything it waits for.

use super::draft::{Draft, Drafted, Work};
use super::op::Step;
use super::{Action, Change, ChangeId, Note, Subject};
use crate::boot::table::BootTable;
use crate::names::MachineName;
use std::collections::BTreeMap;

/// The rank of a change in the plan, whatever its name.
fn rank(subject: &Subject, change: &Drafted, is_late: bool) -> u8 {
    match (subject, change.action) {
        (Subject::Kernel, _) => 0,
        (Subject::Pool(..), _) => 1,
        (Subject::Volume(..), _) if !change.work.early.is_empty() => 2,
        (Subject::Boot(_), Action::Remove) => 3,
        (Subject::Target(_), Action::Remove) => 4,
        (Subject::Backstore(_), _) => 5,
        (Subject::Volume(..), _) if is_late => 10,
        (Subject::Volume(..), Action::Remove) => 6,
        (Subject::Volume(..), Action::Rename) => 7,
        (Subject::Volume(..), Action::Replace) => 8,
        (Subject::Volume(..), _) => 9,
        (Subject::Target(_), _) => 11,
        (Subject::Boot(_), _) => 12,
        (Subject::Table, _) => 13,
    }
}

/// Changes in order, notes, and the steps.
pub(super) fn arrange(draft: Draft, table: &BootTable, published: Option<&BootTable>) -> (Vec<Change>, Vec<Note>, Vec<Step>) {
    let mut sorted: Vec<(u8, Subject, Drafted)> = draft
        .changes
        .into_iter()
        .map(|(subject, change)| (rank(&subject, &change, !change.work.late_removes.is_empty()), subject, change))
        .collect();
    sorted.sort_by(|(a, left, _), (b, right, _)| (a, left).cmp(&(b, right)));
    let places: BTreeMap<Subject, ChangeId> =
        sorted.iter().enumerate().map(|(place, (_, subject, _))| (subject.clone(), ChangeId(place as u32))).collect();
    let mut changes = Vec::new();
    let mut works = Vec::new();
    for (_, subject, change) in sorted {
        let after = change.after.iter().filter_map(|subject| places.get(subject).copied()).collect();
        let is_open = change.is_open();
        let (change, work) = change.into_change(subject, after);
        works.push(if is_open { work } else { Work { published: work.published, ..Work::default() } });
        changes.push(change);
    }
    let steps = lower(&changes, works, table, published);
    (changes, draft.notes.into_iter().collect(), steps)
}

fn lower(changes: &[Change], mut works: Vec<Work>, table: &BootTable, published: Option<&BootTable>) -> Vec<Step> {
    let mut steps = Vec::new();
    each(&mut steps, &mut works, |work| std::mem::take(&mut work.early));
    steps.extend(withdraw(changes, published));
    batch(&mut steps, &mut works, |work| std::mem::take(&mut work.admits));
    each(&mut steps, &mut works, |work| std::mem::take(&mut work.teardown));
    batch(&mut steps, &mut works, |work| std::mem::take(&mut work.renames));
    many(&mut steps, &mut works, &["lvremove", "-f", "-y"], |work| std::mem::take(&mut work.removes));
    batch(&mut steps, &mut works, |work| std::mem::take(&mut work.creates));
    many(&mut steps, &mut works, &["lvchange", "-y", "-a", "y", "-K"], |work| std::mem::take(&mut work.activates));
    many(&mut steps, &mut works, &["lvremove", "-f", "-y"], |work| std::mem::take(&mut work.late_removes));
    each(&mut steps, &mut works, |work| std::mem::take(&mut work.build));
    steps.extend(publish(changes, works, table, published));
    steps
}

fn ids(works: &mut [Work]) -> impl Iterator<Item = (ChangeId, &mut Work)> {
    works.iter_mut().enumerate().map(|(place, work)| (ChangeId(place as u32), work))
}

fn each(steps: &mut Vec<Step>, works: &mut [Work], take: fn(&mut Work) -> Vec<super::Op>) {
    steps.extend(ids(works).filter_map(|(change, work)| {
        let ops = take(work);
        (!ops.is_empty()).then_some(Step::Ops { change, ops })
    }));
}

fn batch(steps: &mut Vec<Step>, works: &mut [Work], take: fn(&mut Work) -> Vec<Vec<String>>) {
    let commands: Vec<_> =
        ids(works).flat_map(|(change, work)| take(work).into_iter().map(move |words| (change, words))).collect();
    if !commands.is_empty() {
        steps.push(Step::LvmBatch(commands));
    }
}

fn many(steps: &mut Vec<Step>, works: &mut [Work], words: &[&str], take: fn(&mut Work) -> Vec<String>) {
    let volumes: Vec<_> =
        ids(works).flat_map(|(change, work)| take(work).into_iter().map(move |volume| (change, volume))).collect();
    if !volumes.is_empty() {
        steps.push(Step::LvmMany { words: super::version::words(words), volumes });
    }
}

/// The published table without the machines that are leaving: nobody is sent to a target that is about to go.
fn withdraw(changes: &[Change], published: Option<&BootTable>) -> Option<Step> {
    let leaving: Vec<&MachineName> = changes
        .iter()
        .filter(|change| change.is_open() && change.action == Action::Remove)
        .filter_map(|change| match &change.subject {
            Subject::Boot(machine) => Some(machine),
            _ => None,
        })
        .collect();
    let mut table = published.filter(|_| !leaving.is_empty())?.clone();
    table.machines.retain(|machine, _| !leaving.contains(&machine));
    Some(Step::Publish { change: None, table: Box::new(table), otherwise: Vec::new() })
}

fn publish(changes: &[Change], works: Vec<Work>, table: &BootTable, published: Option<&BootTable>) -> Option<Step> {
    let is_told = |change: &Change| change.is_open() && matches!(change.subject, Subject::Table | Subject::Boot(_));
    if !changes.iter().any(is_told) {
        return None;
    }
    let mut table = table.clone();
    let mut otherwise = Vec::new();
    let mut whole = None;
    for (place, (change, work)) in changes.iter().zip(works).enumerate() {
        let id = ChangeId(place as u32);
        match &change.subject {
            Subject::Table if change.is_open() => whole = Some(id),
            Subject::Table => {
                let published = published?;
                table = BootTable { machines: table.machines, ..published.clone() };
            }
            Subject::Boot(machine) if change.is_open() => otherwise.push((id, machine.clone(), work.published)),
            Subject::Boot(machine) => match work.published {
                Some(published) => drop(table.machines.insert(machine.clone(), published)),
                None => drop(table.machines.remove(machine)),
            },
            _ => {}
        }
    }
    Some(Step::Publish { change: whole, table: Box::new(table), otherwise })
}
