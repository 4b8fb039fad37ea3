//! What the agent says: the status document and the log.
//!
//! **Invariant:** a trouble is told for as long as it lasts, and logged once; what did not go well with a commit is logged when it
//! changes, and not at every look; the document is written when it says something new.
#![expect(clippy::disallowed_methods, reason = "effect room: the agent's clock and its process id")]

use super::{
    attempt::Ended,
    notify,
    repository::Record,
    status::{self, Agent, Attempt, AttemptResult, Serving, Status, WaitingFor, describe},
    step::Why,
};
use crate::deploy::{CommitId, select::Keep};
use crate::diagnostic::Diagnostic;
use crate::host::chain;
use crate::plan::Revision;
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process,
};

/// Commits of which it is remembered what was last said.
const MOST_SAID: usize = 8;

/// What a trouble is about: what is said of it next takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// Whether the repository and the host's own records are sound.
    Sound,
    /// What the site goes on without.
    Forgone,
    /// A record that could not be written.
    Unwritten(Record),
    /// Whether there is room for the host's own records, and for the leases of `serve`.
    Space,
    /// The file of the CHAP secrets.
    Secrets,
    /// The file of what root allows.
    HostFile,
    /// What is known of the machines' hardware.
    Hardware,
    /// Devices that LVM left suspended.
    Suspended,
}

/// What was said, and what is to be.
#[derive(Debug)]
pub struct Told {
    /// The document, as it is written next.
    pub status: Status,
    state: PathBuf,
    written: Option<Status>,
    troubles: BTreeMap<About, Vec<Diagnostic>>,
    /// What was last said of each commit that did not go well: the same is not said every look.
    said: BTreeMap<CommitId, Vec<String>>,
}

impl Told {
    /// Begins with what an earlier agent wrote.
    pub fn new(repository: &Path, state: &Path) -> Self {
        let now = Timestamp::now();
        // What an earlier agent wrote explains what is there; without it there is only less to read.
        let earlier = Status::read(state).ok().map(Status::of_stopped_agent);
        let status = Status {
            version: status::VERSION,
            at: now,
            agent: Agent { pid: process::id(), version: env!("CARGO_PKG_VERSION").to_owned(), since: now },
            repository: repository.display().to_string(),
            branch: None,
            serving: earlier.as_ref().and_then(|status| status.serving.clone()),
            last: earlier.as_ref().and_then(|status| status.last.clone()),
            waiting: None,
            waiting_for: None,
            held: earlier.map(|status| status.held).unwrap_or_default(),
            troubles: Vec::new(),
        };
        let (written, troubles, said) = (None, BTreeMap::new(), BTreeMap::new());
        Self { status, state: state.to_owned(), written, troubles, said }
    }

    /// Tells what is wrong about something by now; nothing where all is well again.
    pub fn trouble(&mut self, about: About, found: Vec<Diagnostic>) {
        match found.is_empty() {
            true => drop(self.troubles.remove(&about)),
            false => drop(self.troubles.insert(about, found)),
        }
        let troubles: Vec<Diagnostic> = self.troubles.values().flatten().cloned().collect();
        for trouble in troubles.iter().filter(|trouble| !self.status.troubles.contains(trouble)) {
            tracing::warn!("{}", trouble.on_one_line());
        }
        self.status.troubles = troubles;
    }

    /// Tells that nothing is applied for now, and why the branch's head is not.
    pub fn rest(&mut self, keep: Option<Keep>) {
        let waiting = keep.as_ref().map(Keep::to_string);
        self.status.waiting_for = keep.as_ref().map(WaitingFor::of);
        if waiting != self.status.waiting {
            if let Some(why) = &waiting {
                tracing::info!("nothing new is applied: {why}");
            }
            self.status.waiting = waiting;
        }
        self.publish();
    }

    /// Tells that the host matches a commit.
    pub fn serve(&mut self, revision: &Revision) {
        (self.status.waiting, self.status.waiting_for) = (None, None);
        let before = self.status.serving.take().filter(|serving| serving.revision == *revision);
        self.status.serving = before.or_else(|| Some(Serving { revision: revision.clone(), since: Timestamp::now() }));
    }

    /// Tells that a commit is being applied.
    pub fn begin(&mut self, why: Why, running: &Attempt) {
        let name = describe(&running.revision);
        tracing::info!("applying {name}");
        notify::status(&format!("applying {name}"));
        self.set_last(why, running.clone());
        self.publish();
    }

    /// Takes in how an attempt ended.
    pub fn take_in(&mut self, commit: &CommitId, why: Why, running: Attempt, ended: Ended) {
        let now = Timestamp::now();
        let name = describe(&running.revision);
        let result = match ended {
            Ended::Locked => {
                self.say(commit, vec!["waits: somebody else is applying".to_owned()]);
                if why != Why::Look {
                    self.set_last(why, Attempt { result: AttemptResult::Waiting, ..running });
                }
                return;
            }
            Ended::Matches { done, after } => {
                self.said.remove(commit);
                self.status.held = status::held(&after, &self.status.held, now);
                let held = self.status.held.len();
                if why != Why::Look || done > 0 {
                    tracing::info!("the host matches {name}: {done} changes done, {held} held");
                }
                notify::status(&format!("at {name}, {held} held"));
                let is_told = self.status.last.as_ref().is_some_and(|last| matches!(last.result, AttemptResult::Applied { .. }));
                if why == Why::Look && done == 0 && is_told {
                    return;
                }
                AttemptResult::Applied { done }
            }
            Ended::Refused(findings) | Ended::Postponed(findings) => {
                let told = findings.iter().map(ToString::to_string);
                self.say(commit, std::iter::once("is refused".to_owned()).chain(told).collect());
                AttemptResult::Refused { findings }
            }
            Ended::Failed { done, failures, after } => {
                if let Some(after) = after {
                    self.status.held = status::held(&after, &self.status.held, now);
                }
                self.say(commit, failures.clone());
                AttemptResult::Failed { done, failures }
            }
            Ended::Unrecorded(failure) => {
                self.say(commit, vec![failure.clone()]);
                AttemptResult::Failed { done: 0, failures: vec![failure] }
            }
            Ended::Unfinished { done, rest } => {
                tracing::info!("{name}: {done} changes done, {} still to do", rest.len());
                rest.iter().for_each(|rest| tracing::debug!("{name}: {rest}"));
                self.set_last(why, running);
                return;
            }
            Ended::Unreadable(cause) => {
                self.say(commit, vec![cause.clone()]);
                AttemptResult::Unreadable { why: cause }
            }
        };
        self.set_last(why, Attempt { ended: Some(now), result, ..running });
    }

    /// Logs what did not go well with a commit, unless it is what was said of it before.
    fn say(&mut self, commit: &CommitId, lines: Vec<String>) {
        if self.said.get(commit) == Some(&lines) {
            return;
        }
        lines.iter().for_each(|line| tracing::warn!("{}: {line}", commit.short()));
        if self.said.len() >= MOST_SAID {
            self.said.clear();
        }
        self.said.insert(commit.clone(), lines);
    }

    /// The last attempt shown is the head's: what is done for the last good commit meanwhile must not hide why a newer one
    /// was refused.
    fn set_last(&mut self, why: Why, attempt: Attempt) {
        let same = self.status.last.as_ref().is_none_or(|last| last.revision.id == attempt.revision.id);
        if same || why == Why::Commit {
            self.status.last = Some(attempt);
        }
    }

    /// Writes the status document when it says something new.
    pub fn publish(&mut self) {
        if self.written.as_ref() == Some(&self.status) {
            return;
        }
        self.status.at = Timestamp::now();
        match self.status.write(&self.state) {
            Ok(()) => self.written = Some(self.status.clone()),
            Err(error) => tracing::warn!("{}", chain(&error)),
        }
    }
}
