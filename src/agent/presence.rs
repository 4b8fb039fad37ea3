//! Whether an agent runs: it holds a lock on a file of the state directory for as long as it lives.
//!
//! **Invariant:** two agents never run on one state directory, and a dead one is never taken for a live one.
#![expect(clippy::disallowed_methods, reason = "effect room: the agent's lock file")]

use crate::host::Kernel;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process,
};

/// The lock file, below the state directory.
const PATH: &str = "agent.lock";

/// Held by a running agent.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "holds the lock until it is dropped")] Flock<File>);

/// Whether an agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// One does.
    Running,
    /// None does.
    Gone,
}

/// Why presence cannot be claimed or told.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// Another agent runs.
    #[error("another agent already runs on {}", .0.display())]
    Taken(PathBuf),
    /// The lock file cannot be used.
    #[error("cannot lock {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Claims to be the agent of a state directory.
pub fn claim(state: &Path, kernel: &dyn Kernel) -> Result<Held, PresenceError> {
    let path = state.join(PATH);
    let failed = |source| PresenceError::Io { path: path.clone(), source };
    fs::create_dir_all(state).map_err(failed)?;
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            let this = format!("{} {}\n", process::id(), kernel.boottime().as_millis());
            lock.set_len(0).and_then(|()| lock.write_all(this.as_bytes())).map_err(failed)?;
            Ok(Held(lock))
        }
        Err((_, Errno::EWOULDBLOCK)) => Err(PresenceError::Taken(state.to_owned())),
        Err((_, errno)) => Err(failed(errno.into())),
    }
}

/// Which agent claimed a state directory last: another text for every process.
pub fn identity(state: &Path) -> Result<String, PresenceError> {
    let path = state.join(PATH);
    fs::read_to_string(&path).map_err(|source| PresenceError::Io { path, source })
}

/// Tells whether an agent runs on a state directory; needs to read its lock file only.
pub fn look(state: &Path) -> Result<Presence, PresenceError> {
    let path = state.join(PATH);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Presence::Gone),
        Err(source) => return Err(PresenceError::Io { path, source }),
    };
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(Presence::Gone),
        Err((_, Errno::EWOULDBLOCK)) => Ok(Presence::Running),
        Err((_, errno)) => Err(PresenceError::Io { path, source: errno.into() }),
    }
}
