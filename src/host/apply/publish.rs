//! Publishes the boot table.
//!
//! **Invariant:** the table that is written speaks only of what came to be: a machine whose change did not is told what it was told
//! before.

use super::Run;
use crate::boot::table::{BootMachine, BootTable, PATH, Way};
use crate::host::export::Exporter as _;
use crate::host::{publish_secrets, write_atomically};
use crate::names::MachineName;
use crate::plan::{ChangeId, Outcome};

impl Run<'_> {
    pub(super) fn publish(
        &mut self,
        change: Option<ChangeId>,
        table: &BootTable,
        otherwise: &[(ChangeId, MachineName, Option<BootMachine>)],
    ) {
        if change.is_some_and(|change| !self.ledger.may_go_ahead(change)) {
            return;
        }
        let mut table = self.merge(table, otherwise);
        self.resolve(&mut table);
        self.progress.begin(change, "boot table");
        tracing::debug!(target: "barista::host", "op publish {PATH}, {} machines", table.machines.len());
        let state = &self.context.state;
        // The secrets first: a script that speaks of one must find it.
        let secrets = publish_secrets(state, table.chap_secrets.as_deref());
        let written = secrets.and_then(|()| {
            let path = state.join(PATH);
            write_atomically(&path, &table.render()).map_err(|error| format!("{}: {error}", path.display()))
        });
        let outcome = written.map_or_else(Outcome::Failed, |()| Outcome::Done);
        self.progress.end(&outcome);
        if outcome != Outcome::Done {
            // Nothing of the table stands, so nothing of it may be relied on by what comes after.
            for boot in self.ledger.boot_changes() {
                self.ledger.settle(boot, outcome.clone());
            }
        }
    }

    /// Fills in the targets of kept disks that this run made.
    fn resolve(&self, table: &mut BootTable) {
        let shown = &self.exporter.shown().fixed;
        for (machine, entry) in &mut table.machines {
            for (image, disk) in entry.disks.iter_mut().filter(|(_, disk)| disk.way == Way::Fixed && disk.target.is_none()) {
                disk.target = shown.get(&(machine.clone(), image.clone())).cloned();
            }
        }
    }

    fn merge(&mut self, table: &BootTable, otherwise: &[(ChangeId, MachineName, Option<BootMachine>)]) -> BootTable {
        let mut table = table.clone();
        for (change, name, before) in otherwise {
            if self.ledger.may_go_ahead(*change) {
                continue;
            }
            match before {
                Some(before) => drop(table.machines.insert(name.clone(), before.clone())),
                None => drop(table.machines.remove(name)),
            }
        }
        table
    }
}
