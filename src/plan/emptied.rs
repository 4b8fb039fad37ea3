//! Whether a site without any machine would take a café's machines away.
//!
//! **Invariant:** what the host knows is asked, never what else the site holds: an image that is left says nothing of the machines.
//! Only the written consent to everything lets the last machine go, and disks that cannot be looked at are not absent. It is a verdict
//! on the host as it is now, which the next look may not share. `tests/it/plan/emptied.rs` shows it.

use super::Prepared;
use crate::boot::table::BootTable;
use crate::diagnostic::{Code, Diagnostic, Place, Severity};
use crate::names::{DiskId, MachineName};
use crate::observed::{Observation, Seen};
use crate::site::Consent;
use std::collections::BTreeSet;

/// Machines that are named; the rest is counted.
const NAMED: usize = 3;

/// The machines that a host knows, by what it publishes and by the disks it has for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownMachines {
    /// These, as far as can be seen.
    Named(BTreeSet<MachineName>),
    /// Nobody can tell, and why.
    Unreadable(String),
}

impl KnownMachines {
    /// Those of a published boot table; `None` where there is none, and the disks must be asked.
    #[must_use]
    pub fn of_table(published: &Seen<String>) -> Option<Self> {
        match published {
            Seen::Absent => None,
            Seen::Unreadable(why) => Some(Self::Unreadable(format!("the published boot table cannot be read: {why}"))),
            Seen::Present(text) => Some(match BootTable::parse(text) {
                Ok(table) => Self::Named(table.machines.into_keys().collect()),
                Err(error) => Self::Unreadable(format!("the published boot table does not read: {error}")),
            }),
        }
    }

    /// Those that have disks.
    #[must_use]
    pub fn of_disks(prepared: &Prepared, observation: &Observation) -> Self {
        if let (Some(_), Seen::Unreadable(why)) = (&prepared.desired.storage, &observation.vg) {
            return Self::Unreadable(format!("the disks cannot be looked at: {why}"));
        }
        let stock = super::stock_of(&prepared.desired, observation);
        let disks = stock.iter().flat_map(|stock| stock.disks.keys());
        Self::Named(
            disks.filter_map(|disk| if let DiskId::Seat { machine, .. } = disk { Some(machine.clone()) } else { None }).collect(),
        )
    }
}

/// Whether a site could take away every machine that a host knows: it has none, and does not consent to that.
#[must_use]
pub fn has_no_machine(prepared: &Prepared) -> bool {
    let desired = &prepared.desired;
    desired.room.machines.is_empty() && !desired.policy.may_destroy.contains(&Consent::Everything)
}

/// The finding that refuses a site which [`has_no_machine`] on a host that knows some.
#[must_use]
pub fn refuse_emptied(known: &KnownMachines) -> Option<Diagnostic> {
    const CONSENT: &str = "To take all machines away, say so in site.toml: below [policy], may-destroy = [\"*\"]";
    let (code, message, hint) = match known {
        KnownMachines::Named(names) if names.is_empty() => return None,
        KnownMachines::Named(names) => {
            let mut shown: Vec<String> = names.iter().take(NAMED).map(ToString::to_string).collect();
            if let Some(more) = names.len().checked_sub(NAMED).filter(|more| *more > 0) {
                shown.push(format!("{more} more"));
            }
            let last = shown.pop().unwrap_or_default();
            let list = if shown.is_empty() { last } else { format!("{} and {last}", shown.join(", ")) };
            (
                "no-machine-left",
                format!("the site has no machine any more, and this host serves {list}"),
                "put the files of machines/ back; in git: git checkout HEAD~1 -- machines".to_owned(),
            )
        }
        KnownMachines::Unreadable(why) => (
            "machines-unknown",
            format!("the site has no machine, and nobody can tell which this host serves: {why}"),
            format!(
                "where {} of the state directory is damaged, remove it on the server: then the disks say which machines there are; \
                 what cannot be read for another reason, make readable; it is judged again at each look",
                crate::boot::table::PATH
            ),
        ),
    };
    Some(Diagnostic {
        place: Place::whole("machines"),
        severity: Severity::Error,
        code: Code::new(code),
        message,
        hint: Some(format!("{hint}. {CONSENT}")),
        also: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(count: usize) -> KnownMachines {
        KnownMachines::Named((1..=count).map(|n| format!("pc{n:02}").parse().expect("legal")).collect())
    }

    #[test]
    fn the_machines_that_would_go_are_named_or_counted() {
        let told = |count| refuse_emptied(&known(count)).map(|finding| finding.message);
        assert_eq!(told(0), None);
        let begin = "the site has no machine any more, and this host serves ";
        assert_eq!(told(1), Some(format!("{begin}pc01")));
        assert_eq!(told(2), Some(format!("{begin}pc01 and pc02")));
        assert_eq!(told(20), Some(format!("{begin}pc01, pc02, pc03 and 17 more")));
    }

    #[test]
    fn a_table_that_cannot_be_read_is_not_a_table_without_machines() {
        for seen in [Seen::Unreadable("permission denied".to_owned()), Seen::Present("{".to_owned())] {
            let known = KnownMachines::of_table(&seen).expect("it is there");
            assert!(refuse_emptied(&known).is_some_and(|finding| finding.message.contains("nobody can tell")), "{seen:?}");
        }
        assert_eq!(KnownMachines::of_table(&Seen::Absent), None);
    }
}
