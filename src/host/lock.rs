//! One writer per host, and the locks of the tools that share LIO with us.
//!
//! **Invariant:** whatever applies a plan holds [`Lock`]; the kernel lets go of it when the process ends, however it ends.
#![expect(clippy::disallowed_methods, reason = "effect room: lock files")]

use super::store::create_directory;
use nix::fcntl::{Flock, FlockArg};
use std::{
    fs,
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// The lock's file under the state directory.
const FILE: &str = "lock";

/// What rtslib and targetcli lock while they change configfs (rtslib-fb `tcm.py`, targetcli-fb `ui_root.py`).
const FOREIGN_LOCKS: [&str; 2] = ["/var/run/rtslib_backstore.lock", "/var/run/targetcli.lock"];

/// How long a running command of another tool may keep us waiting.
const PATIENCE: Duration = Duration::from_secs(5);

/// The right to apply; given back when it is dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held for its drop")] Flock<fs::File>);

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("{path} is locked by process {pid}, which is applying a plan")]
    Held {
        /// The lock's file.
        path: PathBuf,
        /// Who, as it wrote itself down.
        pid: String,
    },
    /// The file cannot be made or locked.
    #[error("cannot lock {path}")]
    Io {
        /// The lock's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Takes the host's lock, or says at once who holds it.
pub fn lock(state: &Path) -> Result<Lock, LockError> {
    let path = state.join(FILE);
    let broken = |source| LockError::Io { path: path.clone(), source };
    create_directory(state).map_err(broken)?;
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(broken)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0)
                .and_then(|()| lock.rewind())
                .and_then(|()| writeln!(lock, "{}", std::process::id()))
                .map_err(broken)?;
            Ok(Lock(lock))
        }
        Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(broken)?;
            Err(LockError::Held { path, pid: pid.trim().to_owned() })
        }
        Err((_, errno)) => Err(broken(errno.into())),
    }
}

/// Takes the locks of rtslib and targetcli, for as long as the result lives. Where a file cannot be made there is no such tool to
/// keep out; an operator who leaves an interactive targetcli open keeps nobody waiting longer than [`PATIENCE`].
pub(super) fn lock_out_other_tools() -> Vec<Lock> {
    let end = Instant::now() + PATIENCE;
    FOREIGN_LOCKS.iter().filter_map(|path| lock_until(path, end)).collect()
}

fn lock_until(path: &str, end: Instant) -> Option<Lock> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(false).open(path).ok()?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Some(Lock(lock)),
            Err((_, errno)) if errno != nix::errno::Errno::EWOULDBLOCK || Instant::now() >= end => {
                tracing::warn!(target: "barista::host", path, %errno, "going on without another tool's lock");
                return None;
            }
            Err((unlocked, _)) => file = unlocked,
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_to_ask_is_told_who_was_first() {
        let state = tempfile::tempdir().expect("a directory");
        let first = lock(&state.path().join("new")).expect("is free");
        let error = lock(&state.path().join("new")).expect_err("is held").to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        assert!(lock(&state.path().join("new")).is_ok(), "a lock ends with its holder");
    }
}
