//! The two ports to the host: programs and configfs.
//!
//! **Invariant:** nothing else in the house starts a program or touches configfs, so a fake of these two is a whole host.

use std::{io, time::Duration};

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

/// Runs programs.
pub trait Commands: Sync {
    /// Runs a program to its end; any exit status is an `Ok`.
    fn run(&self, command: &Command) -> Result<Output, CommandError>;
}

/// The target subsystem's tree; paths are below `/sys/kernel/config/target`, without a leading slash.
pub trait ConfigFs: Sync {
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
