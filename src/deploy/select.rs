//! Which commit is to be applied: the branch's head against the last good commit and what was tried before.
//!
//! **Invariant:** pure; never goes back in history by itself: what does not descend from the last good commit is not taken,
//! and a commit that was refused is not tried again.

use super::CommitId;
use jiff::{SignedDuration, Timestamp};

/// How a commit stands to the last good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ancestry {
    /// There is no last good commit yet.
    First,
    /// It is the last good commit.
    Same,
    /// It descends from it: a fast-forward.
    Descends,
    /// It does not.
    Diverged,
}

/// The followed branch, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// It has no commit yet, or was deleted.
    Absent,
    /// The repository could not be read.
    Unreadable(String),
    /// It is at this commit.
    At(CommitId, Ancestry),
}

/// What became of the last attempt at a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The host was brought to it, but for what is held.
    Good,
    /// It has findings: the same text will have them again.
    Refused,
    /// Something failed; it may not the next time.
    Failed,
}

/// The last attempt at a commit, and how many there were in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// What became of it.
    pub verdict: Verdict,
    /// How often it failed in a row; 0 after a good attempt.
    pub failures: u32,
    /// When.
    pub at: Timestamp,
}

/// What to do about the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Apply it: it is new, or its pause after a failure is over.
    Take(CommitId),
    /// It is applied.
    Settled(CommitId),
    /// It failed and gets another attempt then.
    Wait(CommitId, Timestamp),
    /// The last good commit stays, and why.
    Keep(Keep),
}

/// Why the last good commit stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Keep {
    /// There is nothing on the branch.
    #[error("the branch has no commit")]
    NoCommit,
    /// The repository cannot be read.
    #[error("the repository is unreadable: {0}")]
    Unreadable(String),
    /// The head does not descend from the last good commit.
    #[error("{} does not descend from the commit applied last; push a commit that does, or reset refs/barista/applied", .0.short())]
    Diverged(CommitId),
    /// The head was refused.
    #[error("{} was refused", .0.short())]
    Refused(CommitId),
}

/// The pause after the first failure: long enough for a device to settle, short enough for somebody who watches.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(15);

/// The longest pause: an operator who mended the host should not have to restart anything.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// Decides what to do about the head; `tried` is the last attempt at that very commit.
pub fn select(head: &Head, tried: Option<&Tried>, now: Timestamp) -> Selection {
    let (commit, ancestry) = match head {
        Head::Absent => return Selection::Keep(Keep::NoCommit),
        Head::Unreadable(why) => return Selection::Keep(Keep::Unreadable(why.clone())),
        Head::At(commit, ancestry) => (commit.clone(), ancestry),
    };
    if *ancestry == Ancestry::Diverged {
        return Selection::Keep(Keep::Diverged(commit));
    }
    match tried {
        Some(Tried { verdict: Verdict::Refused, .. }) => Selection::Keep(Keep::Refused(commit)),
        Some(Tried { verdict: Verdict::Failed, failures, at }) => {
            let again = after_pause(*at, *failures);
            if again <= now { Selection::Take(commit) } else { Selection::Wait(commit, again) }
        }
        Some(Tried { verdict: Verdict::Good, .. }) => Selection::Settled(commit),
        None if *ancestry == Ancestry::Same => Selection::Settled(commit),
        None => Selection::Take(commit),
    }
}

/// When a commit that failed so often in a row, last at `at`, gets another attempt: pauses double up to ten minutes.
pub fn after_pause(at: Timestamp, failures: u32) -> Timestamp {
    let doubled = FIRST_PAUSE.checked_mul(1_i32 << failures.saturating_sub(1).min(10)).unwrap_or(LONGEST_PAUSE);
    at.checked_add(doubled.min(LONGEST_PAUSE)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit(digit: char) -> CommitId {
        digit.to_string().repeat(40).parse().expect("hex")
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).expect("in range")
    }

    fn tried(verdict: Verdict, failures: u32) -> Tried {
        Tried { verdict, failures, at: at(0) }
    }

    #[test]
    fn each_commit_gets_one_attempt_and_failures_get_pauses() {
        use Ancestry::{Descends, Diverged, First, Same};
        let a = commit('a');
        let take = Selection::Take(a.clone());
        let settled = Selection::Settled(a.clone());
        let refused = Selection::Keep(Keep::Refused(a.clone()));
        let wait = |seconds| Selection::Wait(a.clone(), at(seconds));
        for (ancestry, tried, now, expected) in [
            (First, None, 0, take.clone()),
            (Descends, None, 0, take.clone()),
            (Same, None, 0, settled.clone()),
            (Diverged, None, 0, Selection::Keep(Keep::Diverged(a.clone()))),
            (Diverged, Some(tried(Verdict::Failed, 1)), 9999, Selection::Keep(Keep::Diverged(a.clone()))),
            (Same, Some(tried(Verdict::Good, 0)), 1, settled),
            (Descends, Some(tried(Verdict::Refused, 1)), 99_999, refused.clone()),
            (Same, Some(tried(Verdict::Refused, 1)), 99_999, refused),
            (Descends, Some(tried(Verdict::Failed, 1)), 14, wait(15)),
            (Descends, Some(tried(Verdict::Failed, 1)), 15, take.clone()),
            (Descends, Some(tried(Verdict::Failed, 3)), 15, wait(60)),
            (Same, Some(tried(Verdict::Failed, 4000)), 15, wait(600)),
            (Same, Some(tried(Verdict::Failed, 4000)), 600, take),
        ] {
            let head = Head::At(a.clone(), ancestry);
            assert_eq!(select(&head, tried.as_ref(), at(now)), expected, "{ancestry:?} {tried:?} at {now}");
        }
    }

    #[test]
    fn what_cannot_be_read_keeps_the_last_good_commit() {
        assert_eq!(select(&Head::Absent, None, at(0)), Selection::Keep(Keep::NoCommit));
        let broken = Head::Unreadable("no permission".to_owned());
        assert_eq!(select(&broken, None, at(0)), Selection::Keep(Keep::Unreadable("no permission".to_owned())));
    }
}
