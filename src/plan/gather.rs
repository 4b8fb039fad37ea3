//! What is seen and wanted of each machine, brought together.
//!
//! **Invariant:** each list is walked once beside the others, for a host has ten thousand machines and looking each of them up
//! would take longer the more there are.

use super::clone::Fates;
use super::context::Context;
use super::lio::is_our_backstore;
use crate::desired;
use crate::names::{Iqn, MachineName};
use crate::observed::{Backstore, Target};
use std::collections::BTreeMap;

/// What is seen and wanted of one machine.
pub(super) struct Seat<'a> {
    pub machine: MachineName,
    pub wanted: BTreeMap<&'a Iqn, &'a desired::Target>,
    pub targets: BTreeMap<&'a str, &'a Target>,
    pub backstores: BTreeMap<&'a str, &'a Backstore>,
}

/// Things by the machine they belong to, in order.
struct Groups<'a, T>(std::iter::Peekable<std::vec::IntoIter<(&'a str, T)>>);

impl<'a, T> Groups<'a, T> {
    /// Takes them in any order, and is quick where that is nearly theirs.
    fn new(things: impl Iterator<Item = (&'a str, T)>) -> Self {
        let mut things: Vec<_> = things.collect();
        things.sort_by_key(|(machine, _)| *machine);
        Self(things.into_iter().peekable())
    }

    /// The first machine that is left.
    fn first(&mut self) -> Option<&'a str> {
        self.0.peek().map(|(machine, _)| *machine)
    }

    /// What belongs to the first machine, if it is this one.
    fn take(&mut self, machine: &str) -> impl Iterator<Item = T> {
        std::iter::from_fn(move || self.0.next_if(|(of, _)| *of == machine).map(|(_, thing)| thing))
    }
}

/// Hands over every machine that the site, LIO or a clone's fate names, in order, with the fates of its clones.
pub(super) fn for_each_seat<'a>(
    context: &Context<'a>,
    mut fates: BTreeMap<MachineName, Fates>,
    mut plan: impl FnMut(&Seat<'a>, Fates),
) {
    let prefix = format!("{}:", context.storage.iqn_prefix);
    let wanted = context.storage.targets.iter().map(|(name, target)| (target.machine.as_str(), (name, target)));
    let mut wanted = Groups::new(wanted);
    let named = |name: &'a str| name.strip_prefix(&prefix)?.split_once('.').map(|(machine, _)| machine);
    let targets = context.lio.targets.iter().filter_map(|(name, target)| Some((named(name)?, (name.as_str(), target))));
    let mut targets = Groups::new(targets);
    let shown = |path: &'a str| path.split_once('/')?.1.split('.').nth(1);
    let backstores = context.lio.backstores.iter().filter(|(path, seen)| is_our_backstore(context, path, seen));
    let mut backstores = Groups::new(backstores.filter_map(|(path, seen)| Some((shown(path)?, (path.as_str(), seen)))));
    loop {
        let seen = [wanted.first(), targets.first(), backstores.first()].into_iter().flatten().min();
        let fated = fates.first_key_value().map(|(machine, _)| machine);
        let next = match (seen, fated) {
            (Some(seen), fated) if fated.is_none_or(|fated| seen <= fated.as_str()) => seen.to_owned(),
            (_, Some(fated)) => fated.to_string(),
            (_, None) => return,
        };
        let (wanted, targets) = (wanted.take(&next).collect::<BTreeMap<_, _>>(), targets.take(&next).collect());
        let backstores = backstores.take(&next).collect();
        // What bears our mark and no machine's name is nobody's seat.
        let Ok(machine) = next.parse() else { continue };
        let fates = fates.remove(&machine).unwrap_or_default();
        plan(&Seat { machine, wanted, targets, backstores }, fates);
    }
}
