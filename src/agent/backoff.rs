//! When a change that failed is tried again: each has its own pause, so that one bad disk slows nothing else.
//!
//! **Invariant:** pure; what is not known here is due, so losing an entry delays nothing; never more than [`MOST`] entries.

use crate::deploy::select::pause_after;
use crate::names::Mono;
use std::collections::BTreeMap;

/// More than any site has changes that fail at once. Past it, the entry that is due first is forgotten.
pub const MOST: usize = 10_000;

/// Pauses of changes, by a key that stays the same from plan to plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backoff {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    failures: u32,
    next: Mono,
}

impl Backoff {
    /// Whether a change may be tried now.
    pub fn is_due(&self, key: &str, now: Mono) -> bool {
        self.next_at(key).is_none_or(|next| next <= now)
    }

    /// When a change that failed may be tried again; none when it has not failed.
    pub fn next_at(&self, key: &str) -> Option<Mono> {
        self.entries.get(key).map(|entry| entry.next)
    }

    /// How often a change has failed in a row.
    pub fn failures(&self, key: &str) -> u32 {
        self.entries.get(key).map_or(0, |entry| entry.failures)
    }

    /// The first moment after `now` at which some change may be tried again.
    pub fn first_due_after(&self, now: Mono) -> Option<Mono> {
        self.entries.values().map(|entry| entry.next).filter(|next| *next > now).min()
    }

    /// Takes in that a change failed: 15 s after the first failure it may be tried again, then after twice as long each time, ten
    /// minutes at most.
    pub fn record_failure(&mut self, key: &str, now: Mono) {
        let failures = self.failures(key).saturating_add(1);
        self.entries.insert(key.to_owned(), Entry { failures, next: now + pause_after(failures) });
        if self.entries.len() > MOST {
            let first = self.entries.iter().min_by_key(|(_, entry)| entry.next).map(|(key, _)| key.clone());
            self.entries.retain(|key, _| Some(key) != first.as_ref());
        }
    }

    /// Takes in that a change was done.
    pub fn record_success(&mut self, key: &str) {
        self.entries.remove(key);
    }

    /// Forgets every change that no plan asks for any more.
    pub fn retain(&mut self, occurs: impl Fn(&str) -> bool) {
        self.entries.retain(|key, _| occurs(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_millis(seconds * 1000)
    }

    #[test]
    fn pauses_double_up_to_ten_minutes_and_end_with_a_success() {
        let mut backoff = Backoff::default();
        assert!(backoff.is_due("seat pc01", at(0)), "what never failed is due");
        let mut now = 0;
        for pause in [15, 30, 60, 120, 240, 480, 600, 600] {
            backoff.record_failure("seat pc01", at(now));
            assert!(!backoff.is_due("seat pc01", at(now + pause - 1)));
            assert_eq!(backoff.next_at("seat pc01"), Some(at(now + pause)));
            now += pause;
            assert!(backoff.is_due("seat pc01", at(now)));
        }
        assert_eq!(backoff.failures("seat pc01"), 8);
        backoff.record_success("seat pc01");
        assert_eq!((backoff.failures("seat pc01"), backoff.next_at("seat pc01")), (0, None));
    }

    #[test]
    fn one_change_that_fails_delays_no_other() {
        let mut backoff = Backoff::default();
        backoff.record_failure("image win11", at(0));
        backoff.record_failure("image win11", at(15));
        backoff.record_failure("seat pc02", at(20));
        assert!(backoff.is_due("seat pc01", at(20)));
        assert_eq!(backoff.first_due_after(at(20)), Some(at(35)));
        assert_eq!(backoff.first_due_after(at(35)), Some(at(45)));
        assert_eq!(backoff.first_due_after(at(45)), None);
    }

    #[test]
    fn what_no_plan_asks_for_is_forgotten() {
        let mut backoff = Backoff::default();
        backoff.record_failure("seat pc01", at(0));
        backoff.record_failure("seat pc02", at(0));
        backoff.retain(|key| key == "seat pc02");
        assert!(backoff.is_due("seat pc01", at(0)) && !backoff.is_due("seat pc02", at(0)));
    }

    #[test]
    fn there_is_a_bound() {
        let mut backoff = Backoff::default();
        for n in 0..MOST + 5 {
            backoff.record_failure(&format!("{n:06}"), at(n as u64));
        }
        assert_eq!(backoff.entries.len(), MOST);
        assert!(backoff.is_due("000000", at(0)), "what is due first is forgotten first");
        assert!(!backoff.is_due("010004", at(10_004)));
    }
}
