//! The plan as text: one renderer for people, one for the operations.
//!
//! **Invariant:** says nothing the plan does not hold, in the plan's order.

use super::{Action, Change, Gate, Hold, Plan, Step, Subject, render_op};
use std::{collections::BTreeMap, fmt::Write};

/// The plan for people, as `plan` prints it.
pub fn render_text(plan: &Plan) -> String {
    let mut text = String::new();
    let shown: Vec<&Change> = plan.changes.iter().filter(|change| change.gate != Gate::Held(Hold::NotTargeted)).collect();
    let revision = short(plan);
    if shown.is_empty() {
        notes(plan, &mut text);
        _ = writeln!(text, "No changes. The host matches {revision}.");
        return text;
    }
    let subject = if plan.revision.subject.is_empty() { String::new() } else { format!(" {:?}", plan.revision.subject) };
    _ = writeln!(text, "Plan for {} at {revision}{subject}", plan.site);
    let width = shown.iter().map(|change| change.subject.to_string().chars().count()).max().unwrap_or(0).min(72);
    let waiting = waiting(&shown);
    for change in &shown {
        if !matches!(change.gate, Gate::Held(Hold::After { .. })) {
            line(change, width, &mut text);
            followers(waiting.get(&change.subject.to_string()), width, &mut text);
        }
    }
    notes(plan, &mut text);
    _ = writeln!(text, "{}", summary(plan));
    text
}

fn short(plan: &Plan) -> &str {
    plan.revision.id.get(..7).filter(|_| plan.revision.id.len() == 40).unwrap_or(&plan.revision.id)
}

fn line(change: &Change, width: usize, text: &mut String) {
    let (mark, verb) = match change.action {
        Action::Create => ('+', "create"),
        Action::Alter => ('~', "change"),
        Action::Rename => ('~', "rename"),
        Action::Replace => ('~', "replace"),
        Action::Remove => ('-', "remove"),
    };
    let subject = change.subject.to_string();
    match &change.gate {
        Gate::Open => {
            let verb = if change.action == Action::Replace { "replace: " } else { "" };
            _ = writeln!(text, "  {mark} {subject:width$}  {verb}{} ({})", change.detail, change.reason);
        }
        Gate::Held(hold) => _ = writeln!(text, "  ! {subject:width$}  {verb} — held: {hold} ({})", change.reason),
    }
    for line in &change.diff {
        _ = writeln!(text, "        {line}");
    }
}

/// Changes that wait for a held one, by what holds them in the end.
fn waiting<'a>(shown: &[&'a Change]) -> BTreeMap<String, Vec<&'a Change>> {
    let held: BTreeMap<String, &'a Change> =
        shown.iter().filter(|change| !change.is_open()).map(|change| (change.subject.to_string(), *change)).collect();
    let mut waiting: BTreeMap<String, Vec<&'a Change>> = BTreeMap::new();
    for change in held.values() {
        let mut root = *change;
        // A chain of waiting ends at a change that is held for itself; the bound is for a chain that would not.
        for _ in 0..held.len() {
            match &root.gate {
                Gate::Held(Hold::After { subject }) => match held.get(subject) {
                    Some(next) => root = next,
                    None => break,
                },
                _ => break,
            }
        }
        if root.subject != change.subject {
            waiting.entry(root.subject.to_string()).or_default().push(change);
        }
    }
    waiting
}

/// A few that wait are named, many are counted: two hundred seats that wait for one image are one fact.
fn followers(waiting: Option<&Vec<&Change>>, width: usize, text: &mut String) {
    let Some(waiting) = waiting else { return };
    if waiting.len() <= 4 {
        for change in waiting {
            _ = writeln!(text, "  !   {:width$}  waits for it ({})", change.subject.to_string(), change.reason);
        }
        return;
    }
    let nouns = [("volume", "volume"), ("target", "target"), ("boot", "boot entry")];
    let counts: Vec<String> = nouns
        .iter()
        .map(|(word, noun)| (waiting.iter().filter(|change| change.subject.to_string().starts_with(word)).count(), noun))
        .filter(|(count, _)| *count > 0)
        .map(|(count, noun)| counted(count, noun))
        .collect();
    _ = writeln!(text, "  !   {} wait for it", counts.join(", "));
}

/// A number with its noun: `1 network`, `2 networks`, `3 boot entries`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {noun}s"),
    }
}

fn notes(plan: &Plan, text: &mut String) {
    for note in &plan.notes {
        _ = writeln!(text, "  note: {}: {}", note.about, note.message);
    }
}

/// How many changes of each sort: `2 to create, 1 to change, 0 to destroy, 1 held`.
fn summary(plan: &Plan) -> String {
    let count = |actions: &[Action]| plan.open().filter(|change| actions.contains(&change.action)).count();
    format!(
        "Plan: {} to create, {} to change, {} to destroy, {} held.",
        count(&[Action::Create]),
        count(&[Action::Alter, Action::Rename, Action::Replace]),
        count(&[Action::Remove]),
        plan.held().count()
    )
}

/// Exactly what apply would run, one line each, under the change it belongs to.
pub fn render_ops(plan: &Plan) -> String {
    let mut text = String::new();
    let name = |id: super::ChangeId| plan.changes.get(id.0 as usize).map_or_else(String::new, |change| squeeze(&change.subject));
    for step in &plan.steps {
        match step {
            Step::Ops { change, ops } => {
                _ = writeln!(text, "# {}", name(*change));
                for op in ops {
                    _ = writeln!(text, "{}", render_op(op));
                }
            }
            Step::LvmBatch(commands) => {
                text.push_str("# one lvm process\n");
                for (_, words) in commands {
                    _ = writeln!(text, "lvm {}", words.join(" "));
                }
            }
            Step::LvmMany { words, volumes } => {
                text.push_str("# one command\n");
                let volumes: Vec<&str> = volumes.iter().map(|(_, volume)| volume.as_str()).collect();
                _ = writeln!(text, "{} {}", words.join(" "), volumes.join(" "));
            }
            Step::Publish { table, .. } => {
                _ = writeln!(text, "# boot table\npublish {} machines, {} networks", table.machines.len(), table.networks.len());
            }
        }
    }
    text
}

fn squeeze(subject: &Subject) -> String {
    subject.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
