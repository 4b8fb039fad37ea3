//! What the agent does next: a state machine over the branch's head, what was tried, and the time.
//!
//! **Invariant:** pure; an attempt is made once for each new commit, once at start, after a pause when a commit could not be read,
//! and every ten seconds at the commit that the host is at or is being brought to, whatever failed of it: looks are slowed by
//! nothing, and no clock that can be set is asked. What the host was brought to is never left for an older commit, refused or not, but
//! by a person; where it cannot be read what that was, nothing is done until the branch can.

use crate::deploy::{
    CommitId,
    select::{Ancestry, BETWEEN_JUDGEMENTS, Head, Keep, Selection, Tried, Verdict, pause_after, select},
};
use crate::names::Mono;
use std::{collections::BTreeMap, time::Duration};

/// How often the host is looked at: a seat that came free should be renewed before its next customer has switched it on, and
/// drift should be put right before anybody notices.
const BETWEEN_LOOKS: Duration = BETWEEN_JUDGEMENTS;

/// How soon an attempt that found the host locked is made again.
const WHILE_LOCKED: Duration = Duration::from_secs(3);

/// How soon after an attempt the host is looked at again when somebody waits for that.
const BETWEEN_CALLS: Duration = Duration::from_millis(250);

/// How often the branch is looked at when nothing else is due; that reads two references.
const BETWEEN_HEADS: Duration = Duration::from_secs(5);

/// Where the process that ended last left the host, and this one once it has brought it anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LeftAt {
    /// No other commit was begun than the one that was applied last.
    #[default]
    LastGood,
    /// At this commit, or on the way to it.
    Commit(CommitId),
    /// It was written down, and does not read any more: it may be newer than the commit that was applied last.
    Unreadable,
}

/// What the agent knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// The commit applied last, by the host's own record.
    pub last_good: Option<CommitId>,
    /// The commit this process has brought the host to, or as far as its failures let it.
    pub brought_to: Option<CommitId>,
    /// Where the host is left.
    pub left_at: LeftAt,
    /// The last attempt at each commit that matters now.
    tried: BTreeMap<CommitId, Tried>,
    /// When the host is looked at again.
    look: Mono,
    /// When the last attempt ended.
    ended: Mono,
    /// Before when nothing is attempted, because somebody else is applying.
    not_before: Mono,
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
    Rest(Mono, Option<Keep>),
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The host matches, but for what is held.
    Good,
    /// Some change failed, or is still to do.
    Failed,
    /// The commit could not be read.
    Unreadable,
    /// The commit has findings.
    Refused,
    /// Nothing of it was done because of the state of the host.
    Postponed,
    /// Somebody else is applying.
    Locked,
}

impl State {
    /// What is known at start.
    pub fn new(last_good: Option<CommitId>, left_at: LeftAt) -> Self {
        Self { last_good, left_at, ..Self::default() }
    }

    /// The commit that the host stays at while a head is not taken.
    fn stays_at(&self) -> Option<&CommitId> {
        match &self.left_at {
            LeftAt::Commit(commit) => Some(commit),
            LeftAt::LastGood => self.last_good.as_ref(),
            LeftAt::Unreadable => None,
        }
    }

    /// Says what to do next.
    pub fn next(&self, head: &Head, now: Mono) -> Action {
        if self.not_before > now {
            return Action::Rest(self.not_before, None);
        }
        let tried = |commit: &CommitId| self.tried.get(commit);
        let of_head = if let Head::At(commit, _) = head { tried(commit) } else { None };
        let (mut wake, keep) = match select(head, of_head, now) {
            Selection::Take(commit) => return Action::Attempt(commit, Why::Commit),
            Selection::Settled(commit) if self.brought_to.as_ref() != Some(&commit) => {
                return Action::Attempt(commit, Why::Start);
            }
            Selection::Settled(_) => (Mono::NEVER, None),
            Selection::Wait(keep, until) => (until, Some(keep)),
            Selection::Keep(keep) => (Mono::NEVER, Some(keep)),
        };
        if let Some(commit) = &self.brought_to {
            let look = match tried(commit) {
                Some(tried) if tried.verdict == Verdict::Unreadable => tried.at + pause_after(tried.failures),
                _ => self.look,
            };
            if look <= now {
                return Action::Attempt(commit.clone(), Why::Look);
            }
            wake = wake.min(look);
        } else if let Some(left) = self.stays_at() {
            // Refused, postponed or unreadable at start: another attempt only after its pause; a refused one never, nor an older one instead.
            match select(&Head::At(left.clone(), Ancestry::Same), tried(left), now) {
                Selection::Take(commit) | Selection::Settled(commit) => return Action::Attempt(commit, Why::Start),
                Selection::Wait(_, until) => wake = wake.min(until),
                Selection::Keep(_) => {}
            }
        }
        Action::Rest((now + BETWEEN_HEADS).min(wake), keep)
    }

    /// What this host allows has changed: what was refused may not be any more.
    pub fn forget_refusals(&mut self) {
        self.tried.retain(|_, tried| tried.verdict != Verdict::Refused);
    }

    /// Somebody waits for a look at the host.
    pub fn look_soon(&mut self, now: Mono) {
        self.look = self.look.min(now.max(self.ended + BETWEEN_CALLS));
    }

    /// Takes in what became of an attempt.
    #[must_use]
    pub fn record(mut self, commit: &CommitId, outcome: Outcome, now: Mono) -> Self {
        self.ended = now;
        self.not_before = if outcome == Outcome::Locked { now + WHILE_LOCKED } else { Mono::BOOT };
        let verdict = match outcome {
            Outcome::Locked => return self,
            Outcome::Good => Verdict::Good,
            Outcome::Failed => Verdict::Unfinished,
            Outcome::Unreadable => Verdict::Unreadable,
            Outcome::Refused => Verdict::Refused,
            Outcome::Postponed => Verdict::Postponed,
        };
        // A new head makes older ones forgotten; an attempt at what the host is or was at does not, or a refused head would be new.
        let ours = [self.last_good.clone(), self.stays_at().cloned()];
        let is_ours = |commit: &CommitId| ours.iter().flatten().any(|ours| ours == commit);
        if !is_ours(commit) {
            self.tried.retain(|tried, _| tried == commit || is_ours(tried));
        }
        let before = self.tried.get(commit).map_or(0, |tried| tried.failures);
        let failures = if verdict == Verdict::Unreadable { before.saturating_add(1) } else { 0 };
        self.tried.insert(commit.clone(), Tried { verdict, failures, at: now });
        match verdict {
            Verdict::Good => {
                self.last_good = Some(commit.clone());
                self.brought_to = Some(commit.clone());
            }
            // Most of it may stand by now: going back by ourselves would only add to the disorder.
            Verdict::Unfinished => self.brought_to = Some(commit.clone()),
            Verdict::Unreadable | Verdict::Refused | Verdict::Postponed => {}
        }
        if let Some(commit) = &self.brought_to {
            self.left_at = LeftAt::Commit(commit.clone());
        }
        // An attempt that did nothing, made as often as a look, must not put off the looks at where the host is.
        if verdict != Verdict::Postponed || self.brought_to.as_ref().is_none_or(|at| at == commit) {
            self.look = now + BETWEEN_LOOKS;
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(digit: char) -> CommitId {
        digit.to_string().repeat(40).parse().expect("hex")
    }

    fn at(seconds: u64) -> Mono {
        Mono::from_millis(seconds * 1000)
    }

    fn attempt(digit: char, why: Why) -> Action {
        Action::Attempt(commit(digit), why)
    }

    fn head(digit: char, ancestry: Ancestry) -> Head {
        Head::At(commit(digit), ancestry)
    }

    #[test]
    fn a_new_commit_is_attempted_once_and_then_only_looked_after() {
        let state = State::new(None, LeftAt::LastGood);
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
        let state = State::new(Some(commit('a')), LeftAt::Commit(commit('a')));
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
        let state = State::new(Some(commit('a')), LeftAt::Commit(commit('a')));
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
        let mut state = state;
        state.forget_refusals();
        assert_eq!(state.next(&b, at(99_999)), attempt('b', Why::Commit), "the host allows more than it did");
    }

    #[test]
    fn a_last_good_commit_that_is_refused_now_is_left_alone() {
        let state = State::new(Some(commit('a')), LeftAt::Commit(commit('a'))).record(&commit('a'), Outcome::Refused, at(0));
        assert!(matches!(state.next(&head('a', Ancestry::Same), at(99_999)), Action::Rest(_, Some(Keep::Refused(_)))));
        assert!(matches!(state.next(&Head::Absent, at(99_999)), Action::Rest(_, Some(Keep::NoCommit))));
    }

    #[test]
    fn what_the_state_of_the_host_is_against_is_judged_anew_at_each_look_and_the_host_is_looked_after_meanwhile() {
        let state = State::new(Some(commit('a')), LeftAt::LastGood).record(&commit('a'), Outcome::Good, at(0));
        let mut state = state.record(&commit('b'), Outcome::Postponed, at(0));
        let b = head('b', Ancestry::Descends);
        assert_eq!(state.next(&b, at(1)), Action::Rest(at(6), Some(Keep::Postponed(commit('b')))));
        let (mut tries, mut looks) = (0, 0);
        for second in 1..=600 {
            while let Action::Attempt(tried, why) = state.next(&b, at(second)) {
                let outcome = if why == Why::Look { Outcome::Good } else { Outcome::Postponed };
                *(if why == Why::Look { &mut looks } else { &mut tries }) += 1;
                state = state.record(&tried, outcome, at(second));
            }
        }
        assert!(tries == 60 && looks >= 59, "{tries} {looks}");
        assert_eq!(state.record(&commit('b'), Outcome::Good, at(601)).brought_to, Some(commit('b')));
        // The same of the commit that the host is at since before this process.
        let own = State::new(Some(commit('a')), LeftAt::LastGood).record(&commit('a'), Outcome::Postponed, at(0));
        for head in [Head::Unreadable("torn".into()), head('a', Ancestry::Same)] {
            assert!(matches!(own.next(&head, at(9)), Action::Rest(until, Some(_)) if until == at(10)), "{head:?}");
            assert!(matches!(own.next(&head, at(10)), Action::Attempt(..)), "{head:?}");
        }
    }

    #[test]
    fn nothing_goes_to_the_last_good_commit_where_it_cannot_be_read_what_was_begun() {
        let state = State::new(Some(commit('a')), LeftAt::Unreadable);
        for broken in [Head::Unreadable("torn".into()), Head::Absent, head('d', Ancestry::Diverged)] {
            assert!(matches!(state.next(&broken, at(0)), Action::Rest(_, Some(_))), "{broken:?}");
        }
        let b = head('b', Ancestry::Descends);
        let refused = state.clone().record(&commit('b'), Outcome::Refused, at(0));
        assert!(matches!(refused.next(&b, at(0)), Action::Rest(_, Some(Keep::Refused(_)))));
        // The branch says where to go, once it reads.
        assert_eq!(state.next(&b, at(0)), attempt('b', Why::Commit));
        assert_eq!(state.next(&head('a', Ancestry::Same), at(0)), attempt('a', Why::Start));
        let good = state.record(&commit('b'), Outcome::Good, at(1));
        assert_eq!(good.left_at, LeftAt::Commit(commit('b')));
    }

    /// The seconds between attempts, all of which end so.
    fn gaps(mut state: State, head: &Head, outcome: Outcome, seconds: u64) -> Vec<u64> {
        let (mut last, mut gaps) = (0, Vec::new());
        for second in 1..seconds {
            if let Action::Attempt(commit, _) = state.next(head, at(second)) {
                gaps.push(second - last);
                last = second;
                state = state.record(&commit, outcome, at(second));
            }
        }
        gaps
    }

    #[test]
    fn a_change_that_fails_slows_no_look() {
        let good = State::new(None, LeftAt::LastGood).record(&commit('a'), Outcome::Good, at(0));
        let of_good = gaps(good.clone(), &head('a', Ancestry::Same), Outcome::Failed, 7200);
        assert!(of_good.len() > 700 && of_good.iter().all(|gap| *gap == 10), "{of_good:?}");
        let of_head = gaps(good, &head('b', Ancestry::Descends), Outcome::Failed, 7200);
        assert_eq!(of_head[0], 1, "a new head is not waited for");
        assert!(of_head.len() > 700 && of_head[1..].iter().all(|gap| *gap == 10), "{of_head:?}");
    }

    #[test]
    fn nothing_goes_back_by_itself_after_a_failure() {
        let state = State::new(Some(commit('a')), LeftAt::Commit(commit('a'))).record(&commit('b'), Outcome::Failed, at(0));
        let b = head('b', Ancestry::Descends);
        assert_eq!(state.next(&b, at(0)), Action::Rest(at(5), None));
        assert_eq!(state.next(&b, at(10)), attempt('b', Why::Look));
        let refused = state.clone().record(&commit('c'), Outcome::Refused, at(11));
        assert_eq!(refused.next(&head('c', Ancestry::Descends), at(21)), attempt('b', Why::Look));
        let state = state.record(&commit('b'), Outcome::Good, at(20));
        assert_eq!(state.last_good, Some(commit('b')));
        assert_eq!(state.next(&b, at(30)), attempt('b', Why::Look));
    }

    // fluxcd/flux#3201 and fluxcd/kustomize-controller#756: does a revision that failed or is refused roll back by itself? Never.
    #[test]
    fn nothing_goes_back_by_itself_after_a_restart_or_a_refusal() {
        let b = head('b', Ancestry::Descends);
        // A was good, and B had begun when the agent ended.
        let state = State::new(Some(commit('a')), LeftAt::Commit(commit('b')));
        assert_eq!(state.next(&b, at(0)), attempt('b', Why::Commit));
        let c = head('c', Ancestry::Descends);
        let refused = state.clone().record(&commit('c'), Outcome::Refused, at(0));
        assert_eq!(refused.next(&c, at(0)), attempt('b', Why::Start), "a newer head is refused");
        let later = refused.record(&commit('b'), Outcome::Failed, at(1));
        assert_eq!(later.next(&c, at(1)), Action::Rest(at(6), Some(Keep::Refused(commit('c')))), "and is not tried again");
        assert_eq!(later.next(&c, at(11)), attempt('b', Why::Look));
        for broken in [Head::Unreadable("torn".into()), Head::Absent, head('d', Ancestry::Diverged)] {
            assert_eq!(state.next(&broken, at(0)), attempt('b', Why::Start), "{broken:?}");
        }
        // An upgrade finds fault with B itself: it is left alone, as a good one is.
        let refused = state.clone().record(&commit('b'), Outcome::Refused, at(0));
        for second in [0, 10, 99_999] {
            assert!(matches!(refused.next(&b, at(second)), Action::Rest(_, Some(Keep::Refused(_)))));
        }
        // A person sets the branch back.
        assert_eq!(state.next(&head('a', Ancestry::Same), at(0)), attempt('a', Why::Start));
        let back = state.record(&commit('a'), Outcome::Good, at(1));
        assert_eq!(back.next(&head('a', Ancestry::Same), at(11)), attempt('a', Why::Look));
    }

    #[test]
    fn a_refused_head_is_not_tried_again_beside_one_that_keeps_failing() {
        let state = State::new(Some(commit('a')), LeftAt::LastGood).record(&commit('b'), Outcome::Failed, at(0));
        let mut state = state.record(&commit('c'), Outcome::Refused, at(1));
        let c = head('c', Ancestry::Descends);
        for second in 2..600 {
            if let Action::Attempt(tried, why) = state.next(&c, at(second)) {
                assert_eq!((&tried, why), (&commit('b'), Why::Look));
                state = state.record(&tried, Outcome::Failed, at(second));
            }
        }
    }

    #[test]
    fn a_commit_that_cannot_be_read_is_tried_at_growing_pauses_while_looks_go_on() {
        let state = State::new(None, LeftAt::LastGood).record(&commit('a'), Outcome::Good, at(0)).record(
            &commit('b'),
            Outcome::Unreadable,
            at(0),
        );
        let b = head('b', Ancestry::Descends);
        assert_eq!(state.next(&b, at(1)), Action::Rest(at(6), Some(Keep::Damaged(commit('b')))));
        assert_eq!(state.next(&b, at(10)), attempt('a', Why::Look));
        let state = state.record(&commit('a'), Outcome::Good, at(10));
        assert_eq!(state.next(&b, at(15)), attempt('b', Why::Commit));
        let mut state = state.record(&commit('b'), Outcome::Unreadable, at(15));
        let (mut tries, mut looks) = (Vec::new(), 0);
        for second in 16..7216 {
            match state.next(&b, at(second)) {
                Action::Attempt(tried, _) if tried == commit('b') => {
                    tries.push(second);
                    state = state.record(&tried, Outcome::Unreadable, at(second));
                }
                Action::Attempt(good, Why::Look) => {
                    looks += 1;
                    state = state.record(&good, Outcome::Good, at(second));
                }
                Action::Attempt(..) | Action::Rest(..) => {}
            }
        }
        assert!(tries.len() < 20, "{tries:?}");
        assert!(looks > 690, "{looks}");
    }

    #[test]
    fn a_last_good_commit_that_cannot_be_read_any_more_is_tried_at_growing_pauses_too() {
        let unreadable =
            State::new(Some(commit('a')), LeftAt::Commit(commit('a'))).record(&commit('a'), Outcome::Unreadable, at(0));
        let a = head('a', Ancestry::Same);
        for state in [unreadable, State::new(None, LeftAt::LastGood).record(&commit('a'), Outcome::Good, at(0))] {
            let gaps = gaps(state, &a, Outcome::Unreadable, 7200);
            assert!(gaps.len() < 20, "{gaps:?}");
        }
    }

    #[test]
    fn whoever_waits_is_looked_after_at_once_and_not_without_end() {
        let mut state = State::new(None, LeftAt::LastGood).record(&commit('a'), Outcome::Good, at(0));
        let a = head('a', Ancestry::Same);
        state.look_soon(at(3));
        assert_eq!(state.next(&a, at(3)), attempt('a', Why::Look));
        let mut state = state.record(&commit('a'), Outcome::Failed, at(4));
        state.look_soon(at(4));
        assert_eq!(state.next(&a, at(4)), Action::Rest(Mono::from_millis(4250), None));
        let mut state = state.record(&commit('a'), Outcome::Locked, at(5));
        state.look_soon(at(5));
        assert_eq!(state.next(&a, at(6)), Action::Rest(at(8), None), "nobody's lock is broken for it");
    }

    #[test]
    fn a_locked_host_is_tried_again_soon_and_counts_as_no_attempt() {
        let state = State::new(None, LeftAt::LastGood).record(&commit('a'), Outcome::Locked, at(0));
        assert_eq!(state.next(&head('a', Ancestry::First), at(1)), Action::Rest(at(3), None));
        assert_eq!(state.next(&head('a', Ancestry::First), at(3)), attempt('a', Why::Commit));
    }
}
