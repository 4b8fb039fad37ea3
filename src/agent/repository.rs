//! Looks whether the repository that the agent follows is sound, and says what to do where it is not.
//!
//! **Invariant:** changes nothing there: the mend is a person's. What is wrong stops no look at the host.

use super::{
    applied, last_good,
    reader::{Depth, Reader},
};
use crate::deploy::{
    init::{HookState, look_at_hook},
    repo::RepoError,
    select::History,
};
use crate::diagnostic::{Diagnostic, Severity};
use crate::host::chain;
use crate::names::clean;
use crate::observed::Seen;
use std::{io, path::Path};

/// The hooks that `init` writes.
const HOOKS: [&str; 2] = ["pre-receive", "post-receive"];

/// Everything that is wrong with a repository; empty when nothing is.
pub fn examine(reader: &Reader) -> Vec<Diagnostic> {
    let Reader { repository, state, .. } = reader;
    let mut troubles = Vec::new();
    let read = reader.look(&History::default(), Depth::Files);
    troubles.extend(read.err().map(|trouble| *trouble));
    troubles.extend(examine_hooks(repository, state));
    troubles
}

/// Everything that is wrong with this host's own records of what was applied, which only root reads.
pub fn examine_records(state: &Path) -> Vec<Diagnostic> {
    let anew = "none is needed: it is written anew as soon as a commit is applied".to_owned();
    let [begun, applied] = [last_good::BROUGHT_TO, applied::PATH].map(|place| state.join(place).display().to_string());
    let towards = format!(
        "none is needed while the branch can be read: it is written anew as soon as a commit of it is applied. Where the repository \
         is unreadable too, mend that; to go back to the commit that was applied last instead, remove {begun} and {applied}"
    );
    let records = [
        (unreadable(applied::read(state)), anew.clone()),
        (unreadable(last_good::read_copy(state, last_good::PATH)), anew),
        (unreadable(last_good::read_copy(state, last_good::BROUGHT_TO)), towards),
    ];
    let record = |(what, mend): (Option<String>, String)| {
        Some(Diagnostic::whole(Severity::Error, "record-unreadable", state.display().to_string(), what?, mend))
    };
    records.into_iter().filter_map(record).collect()
}

/// A record of this host's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Record {
    /// Which commit is begun, and its text.
    Begun,
    /// Which commit is applied, and its text.
    Applied,
}

/// What to do about a record that cannot be written.
pub fn unwritable(state: &Path, record: Record, error: &io::Error) -> Diagnostic {
    let (about, place) = match record {
        Record::Begun => ("which commit is begun", last_good::BROUGHT_TO),
        Record::Applied => ("which commit is applied", last_good::PATH),
    };
    let shown = state.display();
    let what = format!("{about} cannot be written to {} and {}: {error}", state.join(place).display(), applied::PATH);
    let mend = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            format!("make room on the file system of {shown} (`df -h {shown}`); it is tried again by itself")
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            format!(
                "the file system of {shown} is read-only: `dmesg` says why; mount it writable, and it is tried again by itself"
            )
        }
        _ => {
            format!("see that {shown} and what is in it are root's and writable (`ls -lR {shown}`); it is tried again by itself")
        }
    };
    Diagnostic::whole(Severity::Error, "record-unwritable", shown.to_string(), what, mend)
}

/// What to do about a repository that cannot be read.
pub fn trouble_of(error: &RepoError, repository: &Path, state: &Path) -> Diagnostic {
    let (shown, init) = (repository.display(), init_command(repository, state));
    let again = "push the branch again from a clone";
    let (code, mend) = match error {
        RepoError::Missing(_) => ("repository-missing", format!("make it anew with `{init}`, and {again}")),
        RepoError::NoBranch(_) => {
            ("no-branch", format!("run `git -C {shown} symbolic-ref HEAD refs/heads/main` with the branch's name"))
        }
        RepoError::Format { .. } => ("repository-format", format!("make another one with `{init}`, and {again}")),
        RepoError::Odd { file, what, .. } => {
            ("odd-file", format!("{}; or make another repository with `{init}`", what.mend(file)))
        }
        RepoError::Late(_) => (
            "repository-late",
            format!("look for the file (find {shown} ! -type f ! -type d) and remove it, or make another with `{init}`"),
        ),
        RepoError::TooMuch { .. } => {
            ("repository-too-large", "keep images and other large files out of the site's repository".to_owned())
        }
        RepoError::NoCommit { .. } | RepoError::Ambiguous { .. } | RepoError::Git { .. } => {
            ("repository-damaged", format!("move it away (mv {shown} {shown}.damaged), make it anew with `{init}`, and {again}"))
        }
    };
    about(repository, code, clean(&chain(error)), mend)
}

pub(super) fn about(repository: &Path, code: &'static str, what: String, mend: String) -> Diagnostic {
    Diagnostic::whole(Severity::Error, code, repository.display().to_string(), what, mend)
}

fn init_command(repository: &Path, state: &Path) -> String {
    format!("barista init {} --state {}", repository.display(), state.display())
}

/// Hooks that are there and do nothing. Without any hook the repository is not meant to have them.
fn examine_hooks(repository: &Path, state: &Path) -> Vec<Diagnostic> {
    let hooks = HOOKS.map(|name| (name, look_at_hook(repository, name)));
    let is_wanted = hooks.iter().any(|(_, hook)| *hook != HookState::Missing);
    let trouble = |(name, hook): &(&str, HookState)| {
        let what = match hook {
            HookState::Runs => return None,
            HookState::Missing => "is missing",
            HookState::Empty => "is empty",
            HookState::NotExecutable => "is not executable",
        };
        let what =
            format!("{}/hooks/{name} {what}: pushes are taken unchecked, and only the agent checks them", repository.display());
        Some(about(repository, "hook-missing", what, format!("run `{}`", init_command(repository, state))))
    };
    hooks.iter().filter(|_| is_wanted).filter_map(trouble).collect()
}

fn unreadable<T>(seen: Seen<T>) -> Option<String> {
    match seen {
        Seen::Unreadable(why) => Some(why),
        Seen::Absent | Seen::Present(_) => None,
    }
}
