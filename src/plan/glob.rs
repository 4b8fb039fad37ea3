//! `--target`: a plan for a part of the site.
//!
//! **Invariant:** leaves out whole changes and never what a change that stays in waits for. What a glob names is a machine, a seat, a disk, a version, the pool.

use super::builder::PlanBuilder;
use super::{Hold, Subject};
use glob::Pattern;
use std::collections::BTreeSet;

/// The globs of `--target`; none means everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets(Vec<Pattern>);

impl Targets {
    /// Reads globs; `*` and `?` and `[..]` as in a shell.
    pub fn parse(globs: &[String]) -> Result<Self, glob::PatternError> {
        globs.iter().map(|text| Pattern::new(text)).collect::<Result<_, _>>().map(Self)
    }

    fn matches(&self, subject: &Subject) -> bool {
        let mut handles = Vec::new();
        match subject {
            Subject::Kernel | Subject::Table => {}
            Subject::Pool { name } => {
                handles.extend([name.clone()]);
                handles.extend(name.split_once('/').map(|(_, pool)| pool.to_owned()));
            }
            Subject::Version { image, version } => {
                handles.extend([image.to_string(), format!("{image}@{version}"), format!("img.{image}.{version}")]);
            }
            Subject::Side { machine, image, side } | Subject::Disk { machine, image, side } => handles.extend([
                machine.to_string(),
                format!("{machine}.{image}"),
                format!("{machine}.{image}.{side}"),
                format!("seat.{machine}.{image}.{side}"),
            ]),
            Subject::Debris { path } => handles.push(path.clone()),
            Subject::Boot { machine } => handles.push(machine.to_string()),
        }
        handles.iter().any(|handle| self.0.iter().any(|pattern| pattern.matches(handle)))
    }

    /// Whether a glob names none of a plan's changes, and nothing that the site has.
    pub fn unmatched(&self, plan: &super::Plan, known: &[String]) -> Vec<String> {
        let of_plan = |pattern: &Pattern| {
            let alone = Self(vec![pattern.clone()]);
            plan.changes.iter().any(|change| alone.matches(&change.subject))
        };
        let missing = self.0.iter().filter(|pattern| !of_plan(pattern) && !known.iter().any(|name| pattern.matches(name)));
        missing.map(|pattern| pattern.as_str().to_owned()).collect()
    }
}

/// Leaves out what is not targeted and says how much that is.
pub(super) fn narrow(builder: &mut PlanBuilder, targets: &Targets) {
    if targets.0.is_empty() {
        return;
    }
    // A pool that is held stands for everything that would lie in it.
    let stands_for_all = |subject: &Subject| matches!(subject, Subject::Pool { .. }) && !builder.is_open(subject);
    let is_wanted = |subject: &&Subject| targets.matches(subject) || stands_for_all(subject);
    let mut wanted: BTreeSet<Subject> = builder.intents.keys().filter(is_wanted).cloned().collect();
    loop {
        let more: BTreeSet<Subject> = wanted
            .iter()
            .filter_map(|subject| builder.intents.get(subject))
            .flat_map(|change| change.after.iter().filter(|after| builder.intents.contains_key(after)).cloned())
            .filter(|subject| !wanted.contains(subject))
            .collect();
        if more.is_empty() {
            break;
        }
        wanted.extend(more);
    }
    let mut left_out = 0;
    for (subject, intent) in &mut builder.intents {
        if !wanted.contains(subject) {
            intent.gate = super::Gate::Held(Hold::NotTargeted);
            left_out += 1;
        }
    }
    if left_out > 0 {
        builder.note("--target", format!("{left_out} other changes are left out"));
    }
}
