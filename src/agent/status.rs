//! What the agent tells the world: at which commit the café is, what came of the last one, what is held and why.
//!
//! **Invariant:** a record, never a source of what should be; losing it loses explanations only.
#![expect(clippy::disallowed_methods, reason = "effect room: writes and reads the status document")]

use crate::deploy::select::Keep;
use crate::diagnostic::Diagnostic;
use crate::names::{DocumentError, read_document};
use crate::plan::{Action, Plan, Revision, Subject};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// The version of this document; a reader refuses any other.
pub const VERSION: u32 = 2;

/// Where it lies under the state directory.
pub const PATH: &str = "status.json";

/// What the agent tells the world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// [`VERSION`].
    pub version: u32,
    /// When this was written.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Who wrote it.
    pub agent: Agent,
    /// The repository it follows.
    pub repository: String,
    /// The branch it follows, when HEAD names one.
    pub branch: Option<String>,
    /// Where the café is, once it is anywhere.
    pub serving: Option<Serving>,
    /// The last attempt at a commit.
    pub last: Option<Attempt>,
    /// Why the branch's head is not applied, when it is not.
    pub waiting: Option<String>,
    /// What that is about.
    #[serde(default)]
    pub waiting_for: Option<WaitingFor>,
    /// What is held now.
    pub held: Vec<Held>,
    /// What is wrong with the repository or with the host's records, while the last good commit is served on.
    #[serde(default)]
    pub troubles: Vec<Diagnostic>,
}

/// What keeps the branch's head from being applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WaitingFor {
    /// A commit on the branch.
    Commit,
    /// The repository, which cannot be read.
    Repository,
    /// Something about this commit.
    Head(String),
}

impl WaitingFor {
    /// What a reason is about.
    pub fn of(keep: &Keep) -> Self {
        match keep {
            Keep::NoCommit => Self::Commit,
            Keep::Unreadable(_) => Self::Repository,
            Keep::Diverged(head) | Keep::Refused(head) | Keep::Damaged(head) | Keep::Postponed(head) => {
                Self::Head(head.to_string())
            }
        }
    }
}

/// The process that wrote the document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Agent {
    /// Its process id.
    pub pid: u32,
    /// Its version.
    pub version: String,
    /// Since when it runs.
    #[schemars(with = "String")]
    pub since: Timestamp,
}

/// The commit the café is at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Serving {
    /// The commit.
    pub revision: Revision,
    /// Since when, as far as this agent knows.
    #[schemars(with = "String")]
    pub since: Timestamp,
}

/// One attempt at a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Attempt {
    /// The commit.
    pub revision: Revision,
    /// When it began.
    #[schemars(with = "String")]
    pub began: Timestamp,
    /// When it ended; none while it goes on.
    #[schemars(with = "Option<String>")]
    pub ended: Option<Timestamp>,
    /// What came of it.
    pub result: AttemptResult,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AttemptResult {
    /// It goes on.
    Running,
    /// It waits for whoever else is applying on this host.
    Waiting,
    /// The agent stopped while it went on.
    Interrupted,
    /// The host matches the commit, but for what is held.
    Applied {
        /// How many changes were done.
        done: u32,
    },
    /// The commit was refused for these findings.
    Refused {
        /// Each problem of it.
        findings: Vec<Diagnostic>,
    },
    /// It could not be read from the repository, and why.
    Unreadable {
        /// What git says.
        why: String,
    },
    /// It could not be carried out, or not to its end.
    Failed {
        /// How many changes were done.
        done: u32,
        /// One sentence for each failure.
        failures: Vec<String>,
    },
}

/// A change that is held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Held {
    /// What it is about.
    pub subject: Subject,
    /// What would happen to it.
    pub action: Action,
    /// Why it does not happen yet.
    pub reason: String,
    /// Since when it has been held, as far as this agent knows.
    #[schemars(with = "String")]
    pub since: Timestamp,
}

/// A status document that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// There is none: no agent has run here.
    #[error("no agent has run here: there is no {}", .0.display())]
    Absent(PathBuf),
    /// It cannot be read or written.
    #[error("cannot access {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not this document.
    #[error("{} does not read", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: DocumentError,
    },
}

/// What is held in a plan; what was held before keeps the time since when.
pub fn held(plan: &Plan, before: &[Held], now: Timestamp) -> Vec<Held> {
    let since = |subject: &Subject| before.iter().find(|held| held.subject == *subject).map_or(now, |held| held.since);
    let held = plan.held().map(|(change, hold)| Held {
        subject: change.subject.clone(),
        action: change.action,
        reason: hold.to_string(),
        since: since(&change.subject),
    });
    held.collect()
}

/// A commit as people are told of it: `4f2c1e9 "add row B"`.
pub fn describe(revision: &Revision) -> String {
    format!("{} {:?}", revision.id.get(..7).unwrap_or(&revision.id), revision.subject)
}

impl Status {
    /// Writes the document whole and at once; everybody may read it.
    pub fn write(&self, state: &Path) -> Result<(), StatusError> {
        let path = state.join(PATH);
        let failed = |source| StatusError::Io { path: path.clone(), source };
        fs::create_dir_all(state).map_err(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(state).map_err(failed)?;
        file.write_all(self.render().as_bytes()).map_err(failed)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(0o644)).map_err(failed)?;
        file.persist(&path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// Reads the document.
    pub fn read(state: &Path) -> Result<Self, StatusError> {
        let path = state.join(PATH);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StatusError::Absent(path)),
            Err(source) => return Err(StatusError::Io { path, source }),
        };
        read_document(&text, VERSION..=VERSION, |status: &Self| status.version)
            .map_err(|source| StatusError::Malformed { path, source })
    }

    /// What the document of an agent that has stopped says: nothing is being applied any more.
    #[must_use]
    pub fn of_stopped_agent(mut self) -> Self {
        let is_open = |last: &&mut Attempt| matches!(last.result, AttemptResult::Running | AttemptResult::Waiting);
        if let Some(last) = self.last.as_mut().filter(is_open) {
            last.result = AttemptResult::Interrupted;
        }
        self
    }

    /// The document's text.
    pub fn render(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a document of strings and numbers always serialises");
        text.push('\n');
        text
    }
}
