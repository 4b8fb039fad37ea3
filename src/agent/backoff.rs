//! When a change that failed is tried again: each has its own pause, so that one bad disk slows nothing else.
//!
//! **Invariant:** pure; what is not known here is due, so losing an entry delays nothing; never more than [`MOST`] entries.

use crate::deploy::select::pause_after;
use crate::names::{DiskId, MachineName, Mono};
use crate::observed::Paused;
use crate::plan::{Outcome, Plan, Report, Subject};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// More than any site has changes that fail at once. Past it, the entry that is due first is forgotten.
pub const MOST: usize = 10_000;

/// The longest pause of a seat whose machine waits for it.
const WHILE_AWAITED: Duration = Duration::from_secs(10);

/// Pauses of changes, by what they are about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backoff {
    /// For which state of the site: another one is tried at once.
    revision: String,
    entries: BTreeMap<Subject, Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    failures: u32,
    failed: Mono,
    error: String,
}

impl Entry {
    fn due(&self, is_awaited: bool) -> Mono {
        let pause = pause_after(self.failures);
        self.failed + if is_awaited { pause.min(WHILE_AWAITED) } else { pause }
    }
}

impl Backoff {
    /// Begins anew for another state of the site.
    pub fn follow(&mut self, revision: &str) {
        if self.revision != revision {
            *self = Self { revision: revision.to_owned(), entries: BTreeMap::new() };
        }
    }

    /// What is not to be tried now, by the words for what it is about; for whom somebody waits it is due sooner.
    pub fn paused<'m>(&self, now: Mono, awaited: impl IntoIterator<Item = &'m MachineName>) -> BTreeMap<String, Paused> {
        let awaited: BTreeSet<&MachineName> = awaited.into_iter().collect();
        let is_paused = |(subject, entry): &(&Subject, &Entry)| {
            entry.due(subject.machine().is_some_and(|machine| awaited.contains(machine))) > now
        };
        let paused = |(subject, entry): (&Subject, &Entry)| {
            (subject.to_string(), Paused { failures: entry.failures, error: entry.error.clone() })
        };
        self.entries.iter().filter(is_paused).map(paused).collect()
    }

    /// Takes in what became of each change of a plan.
    pub fn take_in(&mut self, report: &Report, now: Mono) {
        for (_, subject, outcome) in &report.outcomes {
            match outcome {
                Outcome::Failed(error) | Outcome::Stuck(error) => self.record_failure(subject, error, now),
                Outcome::Done => drop(self.entries.remove(subject)),
                Outcome::Skipped(_) | Outcome::Background => {}
            }
        }
    }

    /// Takes in that a change failed: 15 s after the first failure it may be tried again, then after twice as long each time, ten
    /// minutes at most.
    pub fn record_failure(&mut self, subject: &Subject, error: &str, now: Mono) {
        let failures = self.entries.get(subject).map_or(0, |entry| entry.failures).saturating_add(1);
        self.entries.insert(subject.clone(), Entry { failures, failed: now, error: error.to_owned() });
        if self.entries.len() > MOST {
            let first = self.entries.iter().min_by_key(|(_, entry)| entry.due(false)).map(|(subject, _)| subject.clone());
            self.entries.retain(|subject, _| Some(subject) != first.as_ref());
        }
    }

    /// Whether nothing failed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets every change that this plan does not ask for any more. What is being filled, by its volume's name, is asked for still.
    pub fn retain(&mut self, plan: &Plan, filling: &BTreeSet<String>) {
        if !self.is_empty() {
            let asked: BTreeSet<&Subject> = plan.changes.iter().map(|change| &change.subject).collect();
            let is_filled = |subject: &Subject| match subject {
                Subject::Version { image, version, .. } => {
                    DiskId::version(image, version).lv_name().is_ok_and(|name| filling.contains(name.as_str()))
                }
                _ => false,
            };
            self.entries.retain(|subject, _| asked.contains(subject) || is_filled(subject));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Side;

    fn at(seconds: u64) -> Mono {
        Mono::from_millis(seconds * 1000)
    }

    fn seat(machine: &str) -> Subject {
        Subject::side(&machine.parse().expect("a machine"), &"win11".parse().expect("an image"), Side::A)
    }

    fn is_due(backoff: &Backoff, subject: &Subject, second: u64) -> bool {
        !backoff.paused(at(second), []).contains_key(&subject.to_string())
    }

    #[test]
    fn pauses_double_up_to_ten_minutes_and_end_with_a_success() {
        let (mut backoff, pc01) = (Backoff::default(), seat("pc01"));
        assert!(is_due(&backoff, &pc01, 0), "what never failed is due");
        let mut now = 0;
        for pause in [15, 30, 60, 120, 240, 480, 600, 600] {
            backoff.record_failure(&pc01, "no", at(now));
            assert!(!is_due(&backoff, &pc01, now + pause - 1));
            now += pause;
            assert!(is_due(&backoff, &pc01, now));
        }
        let machine = pc01.machine().expect("a seat's");
        backoff.record_failure(&pc01, "no", at(now));
        assert!(backoff.paused(at(now + 9), [machine]).contains_key(&pc01.to_string()));
        assert!(backoff.paused(at(now + 10), [machine]).is_empty(), "somebody waits for it");
        let outcomes = vec![(crate::plan::ChangeId(0), pc01.clone(), Outcome::Done)];
        let revision = crate::plan::Revision { id: String::new(), subject: String::new() };
        backoff.take_in(&Report { version: crate::plan::VERSION, revision, outcomes }, at(now));
        assert!(is_due(&backoff, &pc01, now));
    }

    #[test]
    fn one_change_that_fails_delays_no_other_and_no_other_commit() {
        let mut backoff = Backoff::default();
        backoff.follow("a");
        backoff.record_failure(&seat("pc02"), "no", at(20));
        backoff.follow("a");
        assert!(is_due(&backoff, &seat("pc01"), 20) && !is_due(&backoff, &seat("pc02"), 20));
        let paused = backoff.paused(at(20), []);
        assert_eq!(paused.values().collect::<Vec<_>>(), [&Paused { failures: 1, error: "no".to_owned() }]);
        backoff.follow("b");
        assert!(is_due(&backoff, &seat("pc02"), 20));
    }

    #[test]
    fn there_is_a_bound() {
        let mut backoff = Backoff::default();
        for n in 0..MOST + 5 {
            backoff.record_failure(&seat(&format!("pc{n:06}")), "no", at(n as u64));
        }
        assert_eq!(backoff.entries.len(), MOST);
        assert!(is_due(&backoff, &seat("pc000000"), 0), "what is due first is forgotten first");
        assert!(!is_due(&backoff, &seat("pc010004"), 10_004));
    }
}
