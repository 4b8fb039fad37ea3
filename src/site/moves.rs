//! Renames that keep the data: `moved = [{ from = "pc1", to = "pc01" }]`.
//!
//! **Invariant:** an old name leads to exactly one new one, which exists; so no data is claimed twice and no chain has a loop.

use super::{
    networks::Whole,
    raw::{Move, Spanned},
    report::{FileId, Place, Report, error},
    table::Table,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

/// The renames of machines or of images, as they were written.
pub(super) struct Moves<N> {
    entries: Vec<(N, Place, N, Place)>,
}

impl<N> Default for Moves<N> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<N: Ord + Clone + Display> Moves<N> {
    /// Takes in the renames of one file.
    pub(super) fn read(&mut self, report: &mut Report<'_>, file: FileId, entries: &[Spanned<Move<N>>]) {
        for entry in entries {
            let owner = Table::at(file, entry.start);
            let hint = "a rename reads { from = \"old-name\", to = \"new-name\" }";
            let from = owner.need(report, &entry.value.from, "from", ("a rename", hint));
            let to = owner.need(report, &entry.value.to, "to", ("a rename", hint));
            if let (Some(from), Some(to)) = (from, to) {
                self.entries.push((from.value.clone(), owner.of(from), to.value.clone(), owner.of(to)));
            }
        }
    }

    /// Judges the renames against the names that exist; `what` is "machine" or "image".
    pub(super) fn judge(
        self,
        report: &mut Report<'_>,
        what: &str,
        exists: impl Fn(&N) -> bool,
        whole: Whole,
    ) -> BTreeMap<N, BTreeSet<N>> {
        let mut old: BTreeMap<N, Place> = BTreeMap::new();
        let mut moved: BTreeMap<N, BTreeSet<N>> = BTreeMap::new();
        let next: BTreeMap<N, N> = self.entries.iter().map(|(from, _, to, _)| (from.clone(), to.clone())).collect();
        for (from, from_place, to, to_place) in self.entries {
            if exists(&from) {
                let hint = match from == to {
                    true => "a name does not move to itself; remove this entry".to_owned(),
                    false => format!("remove this entry, or the {what} {from}: a rename leaves nothing under the old name"),
                };
                report.push(error("moved-but-there", from_place, format!("{what} {from} still exists")).hint(hint));
            } else if let Some(first) = old.get(&from) {
                report.push(
                    error("duplicate-move", from_place, format!("{what} {from} was moved twice")).hint_at("the first is", *first),
                );
            } else if !exists(&to) && whole == Whole::Yes {
                let hint = match next.get(&to) {
                    Some(end) => format!("{to} was itself moved: write to = \"{end}\" here"),
                    None => format!("write the name that {from} has now"),
                };
                report.push(error("moved-to-nothing", to_place, format!("there is no {what} {to}")).hint(hint));
            } else {
                moved.entry(to).or_default().insert(from.clone());
            }
            old.entry(from).or_insert(from_place);
        }
        moved
    }
}
