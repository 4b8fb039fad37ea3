//! The agent's loop: looks at the branch, asks [`step`](super::step) what to do, does it, writes down what came of it.
//!
//! **Invariant:** ends only when it is told to, or when it cannot begin; everything else is a status and another look.
#![expect(clippy::disallowed_methods, reason = "effect room: the agent's clock and its process id")]

use super::{
    attempt::{Ended, attempt, revision_of, with_causes},
    bell::{Bell, Woken},
    notify, presence,
    status::{self, Agent, Attempt, AttemptResult, Serving, Status, describe},
    step::{Action, Outcome, State, Why},
    watch::Watch,
};
use crate::deploy::{
    CommitId,
    repo::{Repo, RepoError},
    select::{Head, Keep},
};
use crate::host::System;
use crate::plan::Revision;
use jiff::Timestamp;
use std::{path::PathBuf, process, time::Duration};

/// How often the watch is armed anew: one on a directory that was replaced stays silent for ever.
const REARM: Duration = Duration::from_secs(30);

/// What the agent works with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The repository it follows.
    pub repo: PathBuf,
    /// The state directory.
    pub state: PathBuf,
}

/// Why the agent cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There is no repository to follow.
    #[error(transparent)]
    Repository(#[from] RepoError),
    /// Another agent runs, or the state directory cannot be used.
    #[error(transparent)]
    Presence(#[from] presence::PresenceError),
}

/// Follows the repository until the bell says stop.
pub fn run(options: &Options, system: &System, bell: &Bell) -> Result<(), AgentError> {
    let _present = presence::claim(&options.state)?;
    Repo::open(&options.repo)?;
    let mut agent = Running::new(options, system);
    notify::ready("looking");
    let mut armed = Timestamp::now();
    let mut watch = Watch::arm(&options.repo, bell);
    while bell.wait(Duration::ZERO) != Woken::ToStop {
        let now = Timestamp::now();
        if now.duration_since(armed).unsigned_abs() > REARM {
            watch = Watch::arm(&options.repo, bell);
            armed = now;
        }
        let head = agent.look();
        match agent.state.next(&head, now) {
            Action::Attempt(commit, why) => agent.attempt(&commit, why),
            Action::Rest(until, keep) => {
                agent.rest(keep);
                if bell.wait(until.duration_since(now).unsigned_abs()) == Woken::ToStop {
                    break;
                }
            }
        }
    }
    drop(watch);
    notify::stopping();
    tracing::info!("stopped");
    Ok(())
}

/// The agent between two steps.
struct Running<'a> {
    options: &'a Options,
    system: &'a System,
    state: State,
    /// The applied commit as the repository last recorded it; another one there means that an operator set it.
    recorded: Option<CommitId>,
    status: Status,
    written: Option<Status>,
}

impl<'a> Running<'a> {
    fn new(options: &'a Options, system: &'a System) -> Self {
        let now = Timestamp::now();
        // What an earlier agent wrote explains what is there; without it there is only less to read.
        let earlier = Status::read(&options.state).ok();
        let status = Status {
            version: status::VERSION,
            at: now,
            agent: Agent { pid: process::id(), version: env!("CARGO_PKG_VERSION").to_owned(), since: now },
            repository: options.repo.display().to_string(),
            branch: None,
            serving: earlier.as_ref().and_then(|status| status.serving.clone()),
            last: earlier.as_ref().and_then(|status| status.last.clone()),
            waiting: None,
            held: earlier.map(|status| status.held).unwrap_or_default(),
        };
        Self { options, system, state: State::new(None), recorded: None, status, written: None }
    }

    /// Looks at the branch.
    fn look(&mut self) -> Head {
        let looked = Repo::open(&self.options.repo).and_then(|repo| {
            let applied = repo.applied()?;
            if applied != self.recorded {
                self.state.last_good.clone_from(&applied);
                self.recorded = applied;
            }
            let branch = repo.followed()?;
            self.status.branch = Some(branch.to_string());
            repo.head(&branch)
        });
        looked.unwrap_or_else(|error| Head::Unreadable(with_causes(&error)))
    }

    fn rest(&mut self, keep: Option<Keep>) {
        let waiting = keep.map(|keep| keep.to_string());
        if waiting != self.status.waiting {
            if let Some(why) = &waiting {
                tracing::info!("nothing new is applied: {why}");
            }
            self.status.waiting = waiting;
        }
        self.publish();
    }

    fn attempt(&mut self, commit: &CommitId, why: Why) {
        let began = Timestamp::now();
        let Options { repo, state } = self.options;
        let revision = revision_of(repo, commit);
        let running = Attempt { revision: revision.clone(), began, ended: None, result: AttemptResult::Running };
        if why != Why::Look {
            tracing::info!("applying {}", describe(&revision));
            notify::status(&format!("applying {}", describe(&revision)));
            self.set_last(why, running.clone());
            self.publish();
        }
        let ended = attempt(repo, commit, &revision, self.system, state);
        let now = Timestamp::now();
        self.state = std::mem::take(&mut self.state).record(commit, outcome(&ended), now);
        self.take_in(why, running, ended, now);
        self.publish();
    }

    fn take_in(&mut self, why: Why, running: Attempt, ended: Ended, now: Timestamp) {
        let name = describe(&running.revision);
        let result = match ended {
            Ended::Locked => {
                tracing::info!("{name} waits: somebody else is applying");
                return;
            }
            Ended::Matches { done, after } => {
                self.record(&running.revision);
                self.status.waiting = None;
                let before = self.status.serving.take().filter(|serving| serving.revision == running.revision);
                self.status.serving = before.or_else(|| Some(Serving { revision: running.revision.clone(), since: now }));
                self.status.held = status::held(&after, &self.status.held, now);
                let held = self.status.held.len();
                if why != Why::Look || done > 0 {
                    tracing::info!("the host matches {name}: {done} changes done, {held} held");
                }
                notify::status(&format!("at {name}, {held} held"));
                if why == Why::Look && done == 0 {
                    return;
                }
                AttemptResult::Applied { done }
            }
            Ended::Refused(findings) => {
                tracing::warn!("{name} is refused");
                findings.iter().for_each(|finding| tracing::warn!("{finding}"));
                AttemptResult::Refused { findings }
            }
            Ended::Failed { done, failures } => {
                failures.iter().for_each(|failure| tracing::error!("{name}: {failure}"));
                AttemptResult::Failed { done, failures }
            }
        };
        self.set_last(why, Attempt { ended: Some(now), result, ..running });
    }

    /// The last attempt shown is the head's: what is done for the last good commit meanwhile must not hide why a newer one
    /// was refused.
    fn set_last(&mut self, why: Why, attempt: Attempt) {
        let same = self.status.last.as_ref().is_none_or(|last| last.revision.id == attempt.revision.id);
        if same || why == Why::Commit {
            self.status.last = Some(attempt);
        }
    }

    /// Records the commit in the repository, where a host that lost its state directory finds it again.
    fn record(&self, revision: &Revision) {
        let recorded = Repo::open(&self.options.repo).and_then(|repo| {
            let commit = repo.resolve(&revision.id)?;
            repo.record_applied(&commit.id)
        });
        if let Err(error) = recorded {
            tracing::warn!("{} is applied and cannot be recorded: {}", describe(revision), with_causes(&error));
        }
    }

    /// Writes the status document when it says something new.
    fn publish(&mut self) {
        if self.written.as_ref() == Some(&self.status) {
            return;
        }
        self.status.at = Timestamp::now();
        match self.status.write(&self.options.state) {
            Ok(()) => self.written = Some(self.status.clone()),
            Err(error) => tracing::warn!("{}", with_causes(&error)),
        }
    }
}

fn outcome(ended: &Ended) -> Outcome {
    match ended {
        Ended::Matches { .. } => Outcome::Good,
        Ended::Refused(_) => Outcome::Refused,
        Ended::Failed { .. } => Outcome::Failed,
        Ended::Locked => Outcome::Locked,
    }
}
