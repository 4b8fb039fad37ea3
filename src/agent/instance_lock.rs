//! Whether an agent runs: it holds a lock on a file of the state directory for as long as it lives.
//!
//! Every local account may read that file, for the hooks run as whoever pushes. With flock(2) whoever may read a file may lock it, so the
//! lock is a write lock of an open file description (fcntl(2), F_OFD_SETLK), which takes the right to write; and who looks asks whether
//! a read lock would be refused, which only a write lock does. The file is new at each start and is shown only once it is locked, so
//! nobody can have a lock on it before. **Invariant:** two agents never run on one state directory, a dead one is never taken for a live
//! one, nor a live one for a dead one, whatever other accounts lock (tests in this file).
#![expect(clippy::disallowed_methods, reason = "effect room: the agent's lock file")]

use crate::host::Kernel;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, Flock, FlockArg, fcntl},
    libc,
};
use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process,
};

/// The lock file that everybody may look at, below the state directory.
const PATH: &str = "agent.lock";

/// The one that decides between two agents: nobody else may open it.
const CLAIM: &str = "agent.claim";

/// Held by a running agent.
#[derive(Debug)]
#[expect(dead_code, reason = "holds the locks until it is dropped")]
pub struct Held {
    claim: Flock<File>,
    shown: File,
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
    let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(state.join(CLAIM));
    let own = |file: File| file.set_permissions(Permissions::from_mode(0o600)).map(|()| file);
    let claim = match Flock::lock(open.and_then(own).map_err(failed)?, FlockArg::LockExclusiveNonblock) {
        Ok(claim) => claim,
        Err((_, Errno::EWOULDBLOCK)) => return Err(InstanceLockError::Taken(state.to_owned())),
        Err((_, errno)) => return Err(failed(errno.into())),
    };
    let this = format!("{} {}\n", process::id(), kernel.boottime().as_millis());
    let shown = show(state, &path, &this).map_err(failed)?;
    Ok(Held { claim, shown })
}

/// Puts a locked file in the place of the one that an earlier agent left.
fn show(state: &Path, path: &Path, text: &str) -> io::Result<File> {
    let mut file = tempfile::Builder::new().prefix(".new.").tempfile_in(state)?;
    file.write_all(text.as_bytes())?;
    let lock = whole(libc::F_WRLCK);
    fcntl(file.as_file(), FcntlArg::F_OFD_SETLK(&lock))?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.persist(path).map_err(|error| error.error)
}

/// A lock of this kind on all of a file.
fn whole(kind: libc::c_int) -> libc::flock {
    libc::flock { l_type: kind as libc::c_short, l_whence: libc::SEEK_SET as libc::c_short, l_start: 0, l_len: 0, l_pid: 0 }
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
    let mut lock = whole(libc::F_RDLCK);
    match fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)) {
        Ok(_) if i32::from(lock.l_type) == libc::F_UNLCK => Ok(InstanceState::Gone),
        Ok(_) => Ok(InstanceState::Running),
        Err(errno) => Err(InstanceLockError::Io { path, source: errno.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    fn claimed(state: &Path) -> Result<Held, InstanceLockError> {
        claim(state, &*FakeHost::new().system().kernel)
    }

    #[test]
    fn no_lock_of_whoever_may_only_read_makes_a_dead_agent_live_or_a_live_one_dead() {
        let root = tempfile::tempdir().expect("a directory");
        let state = root.path();
        let look = || look(state).expect("looks");
        assert_eq!(look(), InstanceState::Gone);
        drop(claimed(state).expect("nobody else does"));
        assert_eq!(look(), InstanceState::Gone);
        // What any account may do to a file that it may read.
        let strangers = || {
            let read = || File::open(state.join(PATH)).expect("everybody may");
            let (whole_file, flocked) = (whole(libc::F_RDLCK), read());
            let shared = read();
            fcntl(&shared, FcntlArg::F_OFD_SETLK(&whole_file)).expect("a read lock is had by reading");
            let refused = fcntl(read(), FcntlArg::F_OFD_SETLK(&whole(libc::F_WRLCK)));
            assert_eq!(refused, Err(Errno::EBADF), "a write lock takes the right to write");
            (shared, Flock::lock(flocked, FlockArg::LockExclusiveNonblock).expect("flock(2) asks for no right"))
        };
        let before = strangers();
        assert_eq!(look(), InstanceState::Gone, "a dead one is not taken for a live one");
        let held = claimed(state).expect("no stranger keeps the agent from its start");
        assert_eq!(look(), InstanceState::Running, "nor a live one for a dead one");
        let flocked = Flock::lock(File::open(state.join(PATH)).expect("everybody may"), FlockArg::LockExclusiveNonblock);
        assert_eq!(look(), InstanceState::Running);
        assert!(matches!(claimed(state), Err(InstanceLockError::Taken(_))));
        drop((before, flocked, held));
        assert_eq!(look(), InstanceState::Gone);
        let mode = |name: &str| fs::metadata(state.join(name)).expect("is there").permissions().mode() & 0o777;
        assert_eq!((mode(PATH), mode(CLAIM)), (0o644, 0o600));
    }
}
