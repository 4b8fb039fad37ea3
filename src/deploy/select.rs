//! Which commit is to be applied: the branch's head against the last good commit and what was tried before.
//!
//! **Invariant:** pure; never goes back in history by itself: what does not descend from the last good commit is not taken,
//! and a commit that was refused is not tried again.

use super::CommitId;
use crate::names::Mono;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What of a branch's history this host has taken.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// The commit applied last, if any was.
    pub applied: Option<CommitId>,
    /// A commit that somebody accepted though it does not descend from that one.
    pub accepted: Option<CommitId>,
}

/// How a commit stands to the last good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
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
    /// It was read, and the host is being brought to it: some change failed or is still to do.
    Unfinished,
    /// It could not be read; it may be the next time.
    Unreadable,
    /// Nothing of it was done because of the state of the host, which may be another soon.
    Postponed,
}

/// The last attempt at a commit, and how many there were in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// What became of it.
    pub verdict: Verdict,
    /// How often in a row it could not be read.
    pub failures: u32,
    /// When, by the clock that nobody can set.
    pub at: Mono,
}

/// What to do about the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Apply it: it is new, or the pause since it could not be read is over.
    Take(CommitId),
    /// It is what the host is at, or is being brought to.
    Settled(CommitId),
    /// It gets another attempt then, and why not now.
    Wait(Keep, Mono),
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
    #[error(
        "{} does not descend from the commit applied last; push a commit that does, or have it accepted as it is: \
         barista init --accept-history GITDIR",
        .0.short()
    )]
    Diverged(CommitId),
    /// The head was refused.
    #[error("{} was refused", .0.short())]
    Refused(CommitId),
    /// The head cannot be read and is tried again now and then.
    #[error("{} cannot be read from the repository; it is tried again now and then", .0.short())]
    Damaged(CommitId),
    /// Something of the host is against it, which is judged again and again.
    #[error("{} is not applied because of the state of this host, and is tried again every 10 s", .0.short())]
    Postponed(CommitId),
}

/// The pause after the first failure: long enough for a device to settle, short enough for somebody who watches.
const FIRST_PAUSE: Duration = Duration::from_secs(15);

/// The longest pause: an operator who mended the host should not have to restart anything.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The pause after an attempt that the state of the host stood against: as between looks at it (`agent::step`).
pub const BETWEEN_JUDGEMENTS: Duration = Duration::from_secs(10);

/// Decides what to do about the head; `tried` is the last attempt at that very commit.
pub fn select(head: &Head, tried: Option<&Tried>, now: Mono) -> Selection {
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
        Some(Tried { verdict: Verdict::Unreadable, failures, at }) => {
            take_or_wait(commit, *at + pause_after(*failures), now, Keep::Damaged)
        }
        Some(Tried { verdict: Verdict::Postponed, at, .. }) => {
            take_or_wait(commit, *at + BETWEEN_JUDGEMENTS, now, Keep::Postponed)
        }
        Some(Tried { verdict: Verdict::Good | Verdict::Unfinished, .. }) => Selection::Settled(commit),
        None if *ancestry == Ancestry::Same => Selection::Settled(commit),
        None => Selection::Take(commit),
    }
}

fn take_or_wait(commit: CommitId, again: Mono, now: Mono, why: fn(CommitId) -> Keep) -> Selection {
    if again <= now { Selection::Take(commit) } else { Selection::Wait(why(commit), again) }
}

/// How long after so many failures in a row, one at least, something is tried again: 15 s, doubled each time, ten minutes at most.
pub fn pause_after(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE)
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

    fn tried(verdict: Verdict, failures: u32) -> Tried {
        Tried { verdict, failures, at: at(0) }
    }

    #[test]
    fn each_commit_gets_one_attempt_and_one_that_cannot_be_read_gets_pauses() {
        use Ancestry::{Descends, Diverged, First, Same};
        let a = commit('a');
        let take = Selection::Take(a.clone());
        let settled = Selection::Settled(a.clone());
        let refused = Selection::Keep(Keep::Refused(a.clone()));
        let wait = |seconds| Selection::Wait(Keep::Damaged(a.clone()), at(seconds));
        for (ancestry, tried, now, expected) in [
            (First, None, 0, take.clone()),
            (Descends, None, 0, take.clone()),
            (Same, None, 0, settled.clone()),
            (Diverged, None, 0, Selection::Keep(Keep::Diverged(a.clone()))),
            (Diverged, Some(tried(Verdict::Unreadable, 1)), 9999, Selection::Keep(Keep::Diverged(a.clone()))),
            (Same, Some(tried(Verdict::Good, 0)), 1, settled.clone()),
            (Descends, Some(tried(Verdict::Unfinished, 0)), 1, settled),
            (Descends, Some(tried(Verdict::Refused, 1)), 99_999, refused.clone()),
            (Same, Some(tried(Verdict::Refused, 1)), 99_999, refused),
            (Descends, Some(tried(Verdict::Unreadable, 1)), 14, wait(15)),
            (Descends, Some(tried(Verdict::Unreadable, 1)), 15, take.clone()),
            (Descends, Some(tried(Verdict::Unreadable, 3)), 15, wait(60)),
            (Same, Some(tried(Verdict::Unreadable, 4000)), 15, wait(600)),
            (Same, Some(tried(Verdict::Unreadable, 4000)), 600, take.clone()),
            (Descends, Some(tried(Verdict::Postponed, 0)), 9, Selection::Wait(Keep::Postponed(a.clone()), at(10))),
            (Same, Some(tried(Verdict::Postponed, 0)), 10, take),
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
