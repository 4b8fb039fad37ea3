//! Reads and checks a commit once in a process of its own that may take so much memory and time and no more, before this one does.
//!
//! A few kilobytes of a site can ask for gigabytes: a template that doubles a text thirty times, a tree of trees, a list of lists. No
//! count of ours foresees them all, so the kernel bounds the trial. **Invariant:** what the trial did not survive is not read here; a
//! trial that could not be begun decides nothing.

use super::{Command, CommandError, Commands as _, Programs};
use crate::diagnostic::{Code, Diagnostic, Place, Severity};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{ffi::OsStr, io, path::Path, time::Duration};

/// The memory that a trial may take, twice what ten thousand machines do, and its processor time.
pub const MEMORY: u64 = 192 << 20;
/// See [`MEMORY`].
pub const SECONDS: u64 = 4;

/// How long it may take in all, on a busy host.
const DEADLINE: Duration = Duration::from_secs(20);

/// Bounds this process, and what it starts, as a trial is.
pub fn confine() -> io::Result<()> {
    let lower = |resource, most| {
        let Rlimit { maximum, .. } = getrlimit(resource);
        let most = maximum.map_or(most, |maximum| maximum.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
    };
    lower(Resource::Data, MEMORY)?;
    lower(Resource::Cpu, SECONDS)?;
    Ok(lower(Resource::Core, 0)?)
}

/// What of a commit is tried.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    /// This program.
    pub program: &'a Path,
    /// The repository.
    pub repository: &'a Path,
    /// The commit.
    pub revision: &'a str,
    /// The state directory.
    pub state: &'a Path,
}

impl Trial<'_> {
    /// Tries it; a finding where it takes too much.
    pub fn run(&self) -> Result<(), Box<Diagnostic>> {
        let words = [
            self.program.as_os_str(),
            OsStr::new("check"),
            OsStr::new("--trial"),
            OsStr::new("--repo"),
            self.repository.as_os_str(),
            OsStr::new("--rev"),
            OsStr::new(self.revision),
            OsStr::new("--state"),
            self.state.as_os_str(),
        ];
        let Some(words) = words.iter().map(|word| word.to_str()).collect::<Option<Vec<_>>>() else { return Ok(()) };
        let (at, what) = match Programs.run(&Command::new(words, DEADLINE)) {
            // Whatever it found, this process finds too.
            Ok(output) if output.status.is_some_and(|status| status < 100) => return Ok(()),
            Ok(output) => (last_line(&output.stdout), format!("{} MiB of memory or {SECONDS} s", MEMORY >> 20)),
            Err(CommandError::Deadline { .. }) => (String::new(), format!("{} s", DEADLINE.as_secs())),
            Err(error) => {
                tracing::warn!(target: "barista::host", "a commit is read without a trial: {}", super::chain(&error));
                return Ok(());
            }
        };
        let file = if at.is_empty() { "site.toml".to_owned() } else { at };
        let message = format!("reading and checking this takes more than {what}");
        let hint = "a site is a few hundred kilobytes of text: look for a template or a list that grows without end, and for files \
                    that are no part of it";
        let hint = Some(hint.to_owned());
        let (place, code, also) = (Place::whole(file), Code::new("takes-too-much"), Vec::new());
        Err(Box::new(Diagnostic { place, severity: Severity::Error, code, message, hint, also }))
    }
}

/// What the trial was at when it ended.
fn last_line(stdout: &str) -> String {
    crate::names::clean(stdout.lines().next_back().unwrap_or_default())
}
