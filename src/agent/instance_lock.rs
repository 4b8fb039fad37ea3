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
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
};

/// The lock file that everybody may look at, below the state directory.
const PATH: &str = "agent.lock";

/// The one that decides: whoever may open a file may lock it, so nobody else may open this.
const CLAIM: &str = "agent.claim";

/// Held by a running agent.
#[derive(Debug)]
#[expect(dead_code, reason = "holds the locks until it is dropped")]
pub struct Held {
    claim: Flock<File>,
    shown: Option<Flock<File>>,
}

/// Whether an agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// One does.
    Running,
    /// None does.
    Gone,
}

/// Why the lock cannot be taken or looked at.
#[derive(Debug, thiserror::Error)]
pub enum InstanceLockError {
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
pub fn claim(state: &Path, kernel: &dyn Kernel) -> Result<Held, InstanceLockError> {
    let path = state.join(PATH);
    let failed = |source| InstanceLockError::Io { path: path.clone(), source };
    fs::create_dir_all(state).map_err(failed)?;
    let open = |name: &str, mode| {
        OpenOptions::new().write(true).create(true).truncate(false).mode(mode).open(state.join(name)).map_err(failed)
    };
    let claim = match Flock::lock(open(CLAIM, 0o600)?, FlockArg::LockExclusiveNonblock) {
        Ok(claim) => claim,
        Err((_, Errno::EWOULDBLOCK)) => return Err(InstanceLockError::Taken(state.to_owned())),
        Err((_, errno)) => return Err(failed(errno.into())),
    };
    let mut file = open(PATH, 0o644)?;
    let this = format!("{} {}\n", process::id(), kernel.boottime().as_millis());
    file.set_len(0).and_then(|()| file.write_all(this.as_bytes())).map_err(failed)?;
    let shown = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(shown) => Some(shown),
        Err((_, errno)) => {
            tracing::warn!("{} is locked by somebody ({errno}): whoever pushes is told that no agent runs", path.display());
            None
        }
    };
    Ok(Held { claim, shown })
}

/// Which agent claimed a state directory last: another text for every process.
pub fn identity(state: &Path) -> Result<String, InstanceLockError> {
    let path = state.join(PATH);
    fs::read_to_string(&path).map_err(|source| InstanceLockError::Io { path, source })
}

/// Tells whether an agent runs on a state directory; needs to read its lock file only.
pub fn look(state: &Path) -> Result<InstanceState, InstanceLockError> {
    let path = state.join(PATH);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(InstanceState::Gone),
        Err(source) => return Err(InstanceLockError::Io { path, source }),
    };
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(InstanceState::Gone),
        Err((_, Errno::EWOULDBLOCK)) => Ok(InstanceState::Running),
        Err((_, errno)) => Err(InstanceLockError::Io { path, source: errno.into() }),
    }
}
