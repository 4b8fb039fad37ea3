//! What the agent does next: a state machine over the branch's head, what was tried, and the time.
//!
//! **Invariant:** pure; an attempt is made once for each new commit, once at start, after a pause when one failed, and every
//! few seconds at the last good commit: seats come free, and are reset when they do. It starts from the repository alone:
//! nothing of an earlier life is needed.

use crate::deploy::{
    CommitId,
    select::{Head, Keep, Selection, Tried, Verdict, after_pause, select},
};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// How often the host is looked at: a seat that came free should be renewed before its next customer has switched it on, and
/// a seat counts as busy for a minute after its counters were last seen to move, so a look must come well within one.
const BETWEEN_LOOKS: SignedDuration = SignedDuration::from_secs(10);

/// How soon an attempt that found the host locked is made again.
const WHILE_LOCKED: SignedDuration = SignedDuration::from_secs(3);

/// How often the branch is looked at when nothing else is due; that reads two references.
const BETWEEN_HEADS: SignedDuration = SignedDuration::from_secs(5);

/// What the agent knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// The commit applied last, by the repository's own record.
    pub last_good: Option<CommitId>,
    /// The commit this process has brought the host to.
    pub brought_to: Option<CommitId>,
    /// The last attempt at each commit that matters now.
    tried: BTreeMap<CommitId, Tried>,
    /// When the host is looked at again.
    look: Option<Timestamp>,
    /// Before when nothing is attempted, because somebody else is applying.
    not_before: Option<Timestamp>,
}

/// Why an attempt is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The commit is new, or its pause is over.
    Commit,
    /// The process has just started: the kernel may have forgotten every target.
    Start,
    /// It is time to look whether the host still matches, and whether what was held is free.
    Look,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Bring the host to this commit.
    Attempt(CommitId, Why),
    /// Look again then; with the reason why the head is not applied, when it is not.
    Rest(Timestamp, Option<Keep>),
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The host matches, but for what is held.
    Good,
    /// Something failed.
    Failed,
    /// The commit has findings, or is unreadable.
    Refused,
    /// Somebody else is applying.
    Locked,
}

impl State {
    /// What is known at start.
    pub fn new(last_good: Option<CommitId>) -> Self {
        Self { last_good, ..Self::default() }
    }

    /// Says what to do next.
    pub fn next(&self, head: &Head, now: Timestamp) -> Action {
        if let Some(until) = self.not_before.filter(|until| *until > now) {
            return Action::Rest(until, None);
        }
        let tried = |commit: &CommitId| self.tried.get(commit);
        let of_head = if let Head::At(commit, _) = head { tried(commit) } else { None };
        let (mut wake, keep) = match select(head, of_head, now) {
            Selection::Take(commit) => return Action::Attempt(commit, Why::Commit),
            Selection::Settled(commit) if self.brought_to.as_ref() != Some(&commit) => {
                return Action::Attempt(commit, Why::Start);
            }
            Selection::Settled(_) => (Timestamp::MAX, None),
            // A failed head may have brought the host half way; going back by ourselves would only add to the disorder.
            Selection::Wait(_, until) => return Action::Rest(self.soon(now).min(until), None),
            Selection::Keep(keep) => (Timestamp::MAX, Some(keep)),
        };
        if let Some(good) = &self.last_good {
            if self.brought_to.as_ref() != Some(good) {
                // Refused or failed: another attempt only after its pause; a refused one never.
                match select(&Head::At(good.clone(), crate::deploy::select::Ancestry::Same), tried(good), now) {
                    Selection::Take(commit) | Selection::Settled(commit) => return Action::Attempt(commit, Why::Start),
                    Selection::Wait(_, until) => wake = wake.min(until),
                    Selection::Keep(_) => {}
                }
            } else if let Some(look) = self.look {
                if look <= now {
                    return Action::Attempt(good.clone(), Why::Look);
                }
                wake = wake.min(look);
            }
        }
        Action::Rest(self.soon(now).min(wake), keep)
    }

    fn soon(&self, now: Timestamp) -> Timestamp {
        later(now, BETWEEN_HEADS)
    }

    /// Takes in what became of an attempt.
    #[must_use]
    pub fn record(mut self, commit: &CommitId, outcome: Outcome, now: Timestamp) -> Self {
        self.not_before = (outcome == Outcome::Locked).then(|| later(now, WHILE_LOCKED));
        let verdict = match outcome {
            Outcome::Locked => return self,
            Outcome::Good => Verdict::Good,
            Outcome::Failed => Verdict::Failed,
            Outcome::Refused => Verdict::Refused,
        };
        // A new head makes older ones forgotten; an attempt at the last good commit does not, or a refused head would be new.
        let good = self.last_good.clone();
        if good.as_ref() != Some(commit) {
            self.tried.retain(|tried, _| tried == commit || good.as_ref() == Some(tried));
        }
        let before = self.tried.get(commit).map_or(0, |tried| tried.failures);
        let failures = if verdict == Verdict::Good { 0 } else { before.saturating_add(1) };
        self.tried.insert(commit.clone(), Tried { verdict, failures, at: now });
        if verdict == Verdict::Good {
            self.last_good = Some(commit.clone());
            self.brought_to = Some(commit.clone());
            self.look = Some(later(now, BETWEEN_LOOKS));
        } else if verdict == Verdict::Failed && self.brought_to.as_ref() == Some(commit) {
            // The host was at this commit already and most of it stands, so the next look only waits longer.
            self.look = Some(after_pause(now, failures));
            self.tried.insert(commit.clone(), Tried { verdict: Verdict::Good, failures, at: now });
        }
        self
    }
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::select::Ancestry;

    fn commit(digit: char) -> CommitId {
        digit.to_string().repeat(40).parse().expect("hex")
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).expect("in range")
    }

    fn attempt(digit: char, why: Why) -> Action {
        Action::Attempt(commit(digit), why)
    }

    fn head(digit: char, ancestry: Ancestry) -> Head {
        Head::At(commit(digit), ancestry)
    }

    #[test]
    fn a_new_commit_is_attempted_once_and_then_only_looked_after() {
        let state = State::new(None);
        assert_eq!(state.next(&Head::Absent, at(0)), Action::Rest(at(5), Some(Keep::NoCommit)));
        assert_eq!(state.next(&head('a', Ancestry::First), at(5)), attempt('a', Why::Commit));
        let state = state.record(&commit('a'), Outcome::Good, at(6));
        let a = head('a', Ancestry::Same);
        assert_eq!(state.next(&a, at(6)), Action::Rest(at(11), None));
        assert_eq!(state.next(&a, at(13)), Action::Rest(at(16), None));
        assert_eq!(state.next(&a, at(16)), attempt('a', Why::Look));
        assert_eq!(state.next(&head('b', Ancestry::Descends), at(7)), attempt('b', Why::Commit));
    }

    #[test]
    fn a_start_rebuilds_what_the_kernel_forgot() {
        let state = State::new(Some(commit('a')));
        assert_eq!(state.next(&head('a', Ancestry::Same), at(0)), attempt('a', Why::Start));
        assert_eq!(
            state.next(&Head::Unreadable("torn".into()), at(0)),
            attempt('a', Why::Start),
            "without a readable branch too"
        );
        assert_eq!(state.next(&head('b', Ancestry::Diverged), at(0)), attempt('a', Why::Start), "and beside a diverged one");
    }

    #[test]
    fn a_refused_commit_leaves_the_last_good_one_and_is_not_tried_again() {
        let state = State::new(Some(commit('a')));
        let b = head('b', Ancestry::Descends);
        assert_eq!(state.next(&b, at(0)), attempt('b', Why::Commit));
        let state = state.record(&commit('b'), Outcome::Refused, at(1));
        assert_eq!(state.next(&b, at(1)), attempt('a', Why::Start));
        let state = state.record(&commit('a'), Outcome::Good, at(2));
        assert_eq!(state.next(&b, at(9)), Action::Rest(at(12), Some(Keep::Refused(commit('b')))));
        assert_eq!(state.next(&b, at(12)), attempt('a', Why::Look));
        let state = state.record(&commit('a'), Outcome::Good, at(99_999));
        assert!(matches!(state.next(&b, at(99_999)), Action::Rest(_, Some(Keep::Refused(_)))));
        assert_eq!(state.next(&head('c', Ancestry::Descends), at(99_999)), attempt('c', Why::Commit));
    }

    #[test]
    fn a_last_good_commit_that_is_refused_now_is_left_alone() {
        let state = State::new(Some(commit('a'))).record(&commit('a'), Outcome::Refused, at(0));
        assert!(matches!(state.next(&head('a', Ancestry::Same), at(99_999)), Action::Rest(_, Some(Keep::Refused(_)))));
        assert!(matches!(state.next(&Head::Absent, at(99_999)), Action::Rest(_, Some(Keep::NoCommit))));
    }

    #[test]
    fn a_failed_commit_waits_and_nothing_goes_back_by_itself() {
        let state = State::new(Some(commit('a'))).record(&commit('b'), Outcome::Failed, at(0));
        let b = head('b', Ancestry::Descends);
        assert_eq!(state.next(&b, at(0)), Action::Rest(at(5), None));
        assert_eq!(state.next(&b, at(12)), Action::Rest(at(15), None));
        assert_eq!(state.next(&b, at(15)), attempt('b', Why::Commit));
        let state = state.record(&commit('b'), Outcome::Failed, at(16));
        assert_eq!(state.next(&b, at(45)), Action::Rest(at(46), None), "the pause doubled");
        let state = state.record(&commit('b'), Outcome::Good, at(46));
        assert_eq!(state.last_good, Some(commit('b')));
    }

    #[test]
    fn a_failure_at_a_commit_the_host_is_at_only_slows_the_looks() {
        let a = head('a', Ancestry::Same);
        let state = State::new(None).record(&commit('a'), Outcome::Good, at(0)).record(&commit('a'), Outcome::Failed, at(11));
        assert_eq!(state.next(&a, at(22)), Action::Rest(at(26), None));
        assert_eq!(state.next(&a, at(26)), attempt('a', Why::Look));
        let state = state.record(&commit('a'), Outcome::Failed, at(26));
        assert_eq!(state.next(&a, at(55)), Action::Rest(at(56), None));
        let state = state.record(&commit('a'), Outcome::Good, at(56));
        assert_eq!(state.next(&a, at(66)), attempt('a', Why::Look));
    }

    #[test]
    fn a_locked_host_is_tried_again_soon_and_counts_as_no_attempt() {
        let state = State::new(None).record(&commit('a'), Outcome::Locked, at(0));
        assert_eq!(state.next(&head('a', Ancestry::First), at(1)), Action::Rest(at(3), None));
        assert_eq!(state.next(&head('a', Ancestry::First), at(3)), attempt('a', Why::Commit));
    }
}
