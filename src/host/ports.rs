//! The ports to the host: programs, configfs, and a few facts about the running kernel.
//!
//! **Invariant:** nothing else in the house starts a program or touches configfs, so a fake of these is a whole host. They are
//! shared with worker threads, because some effects block in the kernel and must be left behind.

use super::{Lock, lvm_config};
use crate::observed::{DiskIo, Seen};
use jiff::Timestamp;
use std::{io, ops::ControlFlow, time::Duration};

/// A program that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// What it reads from standard input.
    pub stdin: Vec<u8>,
    /// How long it may take.
    pub deadline: Duration,
}

/// What a program left.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Its exit status; `None` when a signal ended it.
    pub status: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// A program that could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// There is no such program in `PATH`.
    #[error("{program} is not installed")]
    Missing {
        /// Which.
        program: String,
    },
    /// It did not end in time and was killed.
    #[error("{argv} did not end within {seconds} s and was killed")]
    Deadline {
        /// The command line.
        argv: String,
        /// The deadline.
        seconds: u64,
    },
    /// Whoever watched it had it killed.
    #[error("{argv} was stopped: {reason}")]
    Stopped {
        /// The command line.
        argv: String,
        /// Why.
        reason: String,
    },
    /// It ended with a failure.
    #[error("{argv} ended with status {status}: {stderr}")]
    Failed {
        /// The command line.
        argv: String,
        /// The exit status, or `signal`.
        status: String,
        /// The tail of its standard error.
        stderr: String,
    },
    /// It could not be started, or its pipes broke.
    #[error("cannot run {program}")]
    Io {
        /// Which.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Output {
    /// Whether the program ended with status 0.
    pub fn is_success(&self) -> bool {
        self.status == Some(0)
    }

    /// The error that a status other than 0 stands for.
    pub fn failure(&self, command: &Command) -> CommandError {
        CommandError::Failed {
            argv: command.argv.join(" "),
            status: self.status.map_or_else(|| "signal".to_owned(), |status| status.to_string()),
            stderr: tail(&self.stderr),
        }
    }
}

/// The last lines of what a program complained of, on one line: warnings stand first and the error last.
fn tail(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let errors: Vec<&str> = lines.iter().copied().filter(|line| !line.starts_with("WARNING:")).collect();
    let told = if errors.is_empty() { lines } else { errors };
    told[told.len().saturating_sub(6)..].join("; ")
}

impl Command {
    /// A command that reads nothing.
    pub fn new(argv: impl IntoIterator<Item = impl Into<String>>, deadline: Duration) -> Self {
        Self { argv: argv.into_iter().map(Into::into).collect(), stdin: Vec::new(), deadline }
    }
}

/// Sees output as it comes, and may have the program stopped for a reason.
pub type Watch<'a> = dyn FnMut(&str) -> ControlFlow<String> + 'a;

/// How a program did not come to its own end.
#[derive(Debug)]
pub enum Ended {
    /// There is none of that name in `PATH`.
    Missing,
    /// It was killed at its deadline.
    Late,
    /// It was killed because its watcher said so, and why.
    Stopped(String),
    /// It could not be started, or its pipes broke.
    Io(io::Error),
}

/// Runs programs.
pub trait Commands: Send + Sync {
    /// Starts a program with exactly these words and sees it to its end; any exit status is an `Ok`. Hands on standard output as it
    /// comes; what breaks out of `watch` kills the program.
    fn execute(&self, command: &Command, watch: &mut Watch<'_>) -> Result<Output, Ended>;

    /// Runs a program to its end; any exit status is an `Ok`.
    fn run(&self, command: &Command) -> Result<Output, CommandError> {
        self.run_watched(command, &mut |_| ControlFlow::Continue(()))
    }

    /// The same, watched as [`Self::execute`] says. LVM's commands get the settings of `lvm_config`, of which no error speaks.
    fn run_watched(&self, command: &Command, watch: &mut Watch<'_>) -> Result<Output, CommandError> {
        let program = || command.argv.first().cloned().unwrap_or_default();
        let argv = || command.argv.join(" ");
        self.execute(&lvm_config::with_settings(command), watch).map_err(|ended| match ended {
            Ended::Missing => CommandError::Missing { program: program() },
            Ended::Late => CommandError::Deadline { argv: argv(), seconds: command.deadline.as_secs() },
            Ended::Stopped(reason) => CommandError::Stopped { argv: argv(), reason },
            Ended::Io(source) => CommandError::Io { program: program(), source },
        })
    }

    /// Runs a program to its end; any exit status but 0 is an error.
    fn succeed(&self, command: &Command) -> Result<Output, CommandError> {
        let output = self.run(command)?;
        if output.is_success() { Ok(output) } else { Err(output.failure(command)) }
    }
}

/// Filling writes whole blocks of this size at multiples of it, from memory at a multiple of it, as `O_DIRECT` wants; no disk has
/// larger sectors.
pub const BLOCK: usize = 4096;

/// What a disk is filled from, for messages and for fakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FillSource<'a> {
    /// The file's path in the site.
    pub path: &'a str,
    /// How many bytes will be written at most, without what pads the last block.
    pub size: u64,
}

/// Opens disks for filling.
pub trait Disks: Send + Sync {
    /// Opens a disk that nobody else holds. What is not written of it stays as it is.
    fn open_for_fill(&self, device: &str, source: &FillSource<'_>) -> io::Result<Box<dyn FillDisk>>;
}

/// A disk that is being filled.
pub trait FillDisk: Send {
    /// Writes whole blocks.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Flushes everything to the disk and lets go of it; until then nothing is known to be written.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// Facts about the running kernel and this process.
pub trait Kernel: Send + Sync {
    /// The time.
    fn now(&self) -> Timestamp;
    /// How long ago the host booted by the clock that nobody can set, suspended time included (CLOCK_BOOTTIME): what decisions are
    /// timed by. The wall clock is for display only.
    fn boottime(&self) -> Duration;
    /// Whether an interface has a carrier.
    fn has_carrier(&self, interface: &str) -> bool;
    /// Whether a kernel module is seen to be loaded or built in.
    fn has_module(&self, _name: &str) -> bool {
        false
    }
    /// Another one after every boot.
    fn boot_id(&self) -> String;
    /// Whether a filesystem of type configfs is mounted at `/sys/kernel/config`.
    fn has_configfs(&self) -> bool;
    /// What a disk has done since the kernel made it, by its major and minor number.
    fn disk_io(&self, device: (u32, u32)) -> Seen<DiskIo>;
    /// Whether this process runs as root.
    fn is_root(&self) -> bool;
}

/// The target subsystem's tree; paths are below `/sys/kernel/config/target`, without a leading slash.
pub trait ConfigFs: Send + Sync {
    /// Names in a directory, sorted, with what they are.
    fn list(&self, path: &str) -> io::Result<Vec<(String, Kind)>>;
    /// An attribute's text, without its final newline.
    fn read(&self, path: &str) -> io::Result<String>;
    /// Where a link leads, as a path below the root.
    fn read_link(&self, path: &str) -> io::Result<String>;
    /// Makes a directory.
    fn mkdir(&self, path: &str) -> io::Result<()>;
    /// Removes a directory.
    fn rmdir(&self, path: &str) -> io::Result<()>;
    /// Writes an attribute in one call, without a newline.
    fn write(&self, path: &str, value: &str) -> io::Result<()>;
    /// Makes a link to `target`, which is below the root too.
    fn symlink(&self, target: &str, link: &str) -> io::Result<()>;
    /// Removes a link.
    fn unlink(&self, path: &str) -> io::Result<()>;

    /// How many runs of changes may go at once. A link from a LUN to its backstore waits out a grace period of the kernel's RCU with a
    /// lock of its own target alone, so several targets can wait it out together.
    fn lanes(&self) -> usize {
        8
    }

    /// Keeps other tools away from the tree for as long as the result lives.
    fn lock_out_other_tools(&self) -> Vec<Lock>;
}

/// What a name in configfs is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A directory.
    Directory,
    /// An attribute.
    Attribute,
    /// A link.
    Link,
}
