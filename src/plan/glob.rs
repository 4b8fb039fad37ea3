//! `--target`: a plan for a part of the site.
//!
//! **Invariant:** leaves out whole changes and never what a change that stays in waits for.

use super::draft::Draft;
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
            Subject::Pool(vg, lv) => handles.extend([lv.to_string(), format!("{vg}/{lv}")]),
            Subject::Volume(vg, lv) => {
                handles.extend([lv.to_string(), format!("{vg}/{lv}")]);
                handles.extend(lv.as_str().split('.').nth(1).map(str::to_owned));
            }
            Subject::Backstore(path) => handles.push(path.clone()),
            Subject::Target(name) => {
                handles.push(name.clone());
                let last = name.rsplit(':').next().unwrap_or(name);
                handles.extend([last.to_owned(), last.split('.').next().unwrap_or(last).to_owned()]);
            }
            Subject::Boot(machine) => handles.push(machine.to_string()),
        }
        handles.iter().any(|handle| self.0.iter().any(|pattern| pattern.matches(handle)))
    }
}

/// Leaves out what is not targeted and says how much that is.
pub(super) fn narrow(draft: &mut Draft, targets: &Targets) {
    if targets.0.is_empty() {
        return;
    }
    let mut wanted: BTreeSet<Subject> = draft.changes.keys().filter(|subject| targets.matches(subject)).cloned().collect();
    loop {
        let more: BTreeSet<Subject> = wanted
            .iter()
            .filter_map(|subject| draft.changes.get(subject))
            .flat_map(|change| change.after.iter().filter(|after| draft.changes.contains_key(after)).cloned())
            .filter(|subject| !wanted.contains(subject))
            .collect();
        if more.is_empty() {
            break;
        }
        wanted.extend(more);
    }
    let mut left_out = 0;
    for (subject, change) in &mut draft.changes {
        if !wanted.contains(subject) {
            change.gate = super::Gate::Held(Hold::NotTargeted);
            left_out += 1;
        }
    }
    if left_out > 0 {
        draft.note("--target", format!("{left_out} other changes are left out"));
    }
}
