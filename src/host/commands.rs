//! The journal of commands: what is neither commit nor mark, one line each.
//!
//! **Invariant:** part of the observation; what cannot be read holds destruction and frees nothing. Nothing in it is a source of what
//! should be.

use super::System;
use super::durable::is_absent;
use crate::names::{MachineName, Mono};
use crate::observed::{Journal, Seen};
use crate::plan::{Plan, Purpose, Report};
use serde::{Deserialize, Serialize};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Where it lies under the state directory.
pub const PATH: &str = "commands";

/// Entries that are kept: what an allowance covers, and orders of people; a longer file is drawn together.
const ENTRIES_KEPT: usize = 10_000;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Entry {
    /// The site says that so many kept disks and versions may lose their data from now on.
    Allowance {
        /// How many.
        allowed: u32,
        /// By which commit.
        revision: String,
    },
    /// So many are about to.
    Destroyed {
        /// How many.
        count: u32,
        /// By which commit.
        revision: String,
    },
    /// So many that were about to did not.
    Spared {
        /// How many.
        count: u32,
        /// By which commit.
        revision: String,
    },
    /// A person says that a machine is off.
    Forced {
        /// Which.
        machine: MachineName,
        /// In which boot of the server.
        boot_id: String,
        /// When, by that boot's clock.
        at: Mono,
    },
}

/// What of a long journal still says something: the allowance and what was destroyed since, and the last word on each machine.
fn drawn_together(entries: Vec<Entry>) -> Vec<Entry> {
    let (mut counted, mut forced): (Vec<Entry>, Vec<Entry>) = (Vec::new(), Vec::new());
    for entry in entries {
        match (entry, counted.last_mut()) {
            (entry @ Entry::Allowance { .. }, _) => counted = vec![entry],
            (Entry::Destroyed { count, revision }, Some(Entry::Destroyed { count: sum, revision: last })) => {
                (*sum, *last) = (sum.saturating_add(count), revision);
            }
            (Entry::Spared { count, .. }, Some(Entry::Destroyed { count: sum, .. })) => *sum = sum.saturating_sub(count),
            (Entry::Spared { .. }, _) => {}
            (entry @ Entry::Destroyed { .. }, _) => counted.push(entry),
            (entry @ Entry::Forced { .. }, _) => {
                let of = |entry: &Entry| match entry {
                    Entry::Forced { machine, .. } => Some(machine.clone()),
                    _ => None,
                };
                forced.retain(|other| of(other) != of(&entry));
                forced.push(entry);
            }
        }
    }
    counted.into_iter().chain(forced).collect()
}

/// The journal of one state directory.
pub struct Commands<'a> {
    system: &'a System,
    path: PathBuf,
}

impl<'a> Commands<'a> {
    /// The journal of a state directory.
    pub fn new(system: &'a System, state: &Path) -> Self {
        Self { system, path: state.join(PATH) }
    }

    /// What it says in sum.
    pub fn read(&self) -> Seen<Journal> {
        match self.entries() {
            Ok(entries) => {
                let this = self.system.kernel.boot_id();
                let mut journal = Journal::default();
                for entry in entries {
                    match entry {
                        Entry::Allowance { allowed, .. } => (journal.allowance, journal.destroyed) = (Some(allowed), 0),
                        Entry::Destroyed { count, .. } => journal.destroyed = journal.destroyed.saturating_add(count),
                        Entry::Spared { count, .. } => journal.destroyed = journal.destroyed.saturating_sub(count),
                        Entry::Forced { machine, boot_id, at } if boot_id == this => drop(journal.forced.insert(machine, at)),
                        Entry::Forced { .. } => {}
                    }
                }
                Seen::Present(journal)
            }
            Err(why) => Seen::Unreadable(why),
        }
    }

    /// Adds an entry, synced.
    pub fn add(&self, entry: &Entry) -> io::Result<()> {
        let _held = self.system.files.lock(&self.path)?;
        let mut entries = self.entries().map_err(io::Error::other)?;
        entries.push(entry.clone());
        if entries.len() > ENTRIES_KEPT {
            entries = drawn_together(entries);
        }
        let text: String = entries
            .iter()
            .map(|entry| serde_json::to_string(entry).expect("words and numbers always serialise") + "\n")
            .collect();
        self.system.files.replace(&self.path, text.as_bytes())
    }

    /// Adds an entry; whether it stands.
    pub fn enter(&self, entry: &Entry) -> bool {
        let added = self.add(entry);
        if let Err(error) = &added {
            tracing::error!(%error, "the journal of commands, {}, cannot be written", self.path.display());
        }
        added.is_ok()
    }

    /// Has a plan carried out by `run`, and counts the kept disks and versions that lose their data by it before any of them does:
    /// whoever is killed in between has counted too much, never too little. The count begins anew where another `max-destroy` is
    /// `allowed` than before.
    pub fn counted(&self, plan: &Plan, allowed: u32, run: impl FnOnce() -> Report) -> Report {
        let revision = || plan.revision.id.clone();
        if self.read().present().is_some_and(|known| known.allowance != Some(allowed)) {
            self.enter(&Entry::Allowance { allowed, revision: revision() });
        }
        let count = plan.open().filter(|change| change.purpose == Purpose::Site).map(|change| change.loses).sum();
        if count > 0 && !self.enter(&Entry::Destroyed { count, revision: revision() }) {
            let why = format!("{count} disks and versions would lose their data, and nobody could count them");
            return Report::of_nothing(plan, &why);
        }
        let report = run();
        let spared = count.saturating_sub(report.destroyed(plan));
        if spared > 0 {
            self.enter(&Entry::Spared { count: spared, revision: revision() });
        }
        report
    }

    fn entries(&self) -> Result<Vec<Entry>, String> {
        let said = |error: &dyn std::fmt::Display| format!("{}: {error}", self.path.display());
        let bytes = match self.system.files.read(&self.path) {
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            read => read.map_err(|error| said(&error))?,
        };
        let text = String::from_utf8(bytes).map_err(|error| said(&error))?;
        text.lines().map(|line| serde_json::from_str(line).map_err(|error| said(&error))).collect()
    }
}
