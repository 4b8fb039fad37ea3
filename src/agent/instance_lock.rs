//! Whether an agent runs: it holds a lock on a file of the state directory for as long as it lives.
//!
//! Every local account may read that file, for the hooks run as whoever pushes. With flock(2) whoever may read a file may lock it, so the
//! lock is a write lock of an open file description (fcntl(2), F_OFD_SETLK), which takes the right to write; and who looks asks whether
//! a read lock would be refused, which only a write lock does. The file is new at each start and is shown only once it is locked, so
//! nobody can have a lock on it before. Where the disk is full it is the one that is there: then, and only then, an account that holds
//! a read lock on it keeps the agent from its start. **Invariant:** two agents never run on one state directory, a dead one is never
//! taken for a live one, nor a live one for a dead one, whatever other accounts lock (tests in this file); a full disk keeps no agent from
//! its start where one has started before.
#![expect(clippy::disallowed_methods, reason = "effect room: the agent's lock file")]

use crate::host::Kernel;
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, Flock, FlockArg, OFlag, fcntl},
    libc,
};
use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process,
};
use tempfile::NamedTempFile;

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
    /// None is there yet, and the disk has no space for one.
    #[error("no space is left on the disk of {} for {PATH}", state.display())]
    Full {
        /// The state directory.
        state: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
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

impl InstanceLockError {
    fn of(state: &Path, path: &Path, source: io::Error) -> Self {
        match is_full(&source) {
            true => Self::Full { state: state.to_owned(), source },
            false => Self::Io { path: path.to_owned(), source },
        }
    }

    /// What the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Taken(_) => Some("`barista status` shows what it does".to_owned()),
            Self::Full { state, .. } => {
                let state = state.display();
                Some(format!("make room on its file system: `df -h {state}`, `df -i {state}`, `du -xh {state}`"))
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("the agent is root's, and so is its state directory: run it as root, or with another --state".to_owned())
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                Some("its file system is read-only, as after an error of the disk: see dmesg".to_owned())
            }
            Self::Io { .. } => None,
        }
    }
}

/// Claims to be the agent of a state directory.
pub fn claim(state: &Path, kernel: &dyn Kernel) -> Result<Held, InstanceLockError> {
    claim_with(state, kernel, |state| tempfile::Builder::new().prefix(".new.").tempfile_in(state))
}

/// The same with a way to make a file that has no name yet.
fn claim_with(
    state: &Path,
    kernel: &dyn Kernel,
    make: impl FnOnce(&Path) -> io::Result<NamedTempFile>,
) -> Result<Held, InstanceLockError> {
    let path = state.join(PATH);
    let failed = |source| InstanceLockError::of(state, &path, source);
    fs::create_dir_all(state).map_err(failed)?;
    let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(state.join(CLAIM));
    let own = |file: File| file.set_permissions(Permissions::from_mode(0o600)).map(|()| file);
    let claim = match Flock::lock(open.and_then(own).map_err(failed)?, FlockArg::LockExclusiveNonblock) {
        Ok(claim) => claim,
        Err((_, Errno::EWOULDBLOCK)) => return Err(InstanceLockError::Taken(state.to_owned())),
        Err((_, errno)) => return Err(failed(errno.into())),
    };
    let this = format!("{} {}\n", process::id(), kernel.boottime().as_millis());
    let shown = match make(state).and_then(|file| show(file, &path, &this)) {
        Err(full) if is_full(&full) => match lock_there(&path, &this) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(full),
            locked => locked,
        },
        shown => shown,
    };
    Ok(Held { claim, shown: shown.map_err(failed)? })
}

/// Whether an error says that there is no space.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Puts a locked file in the place of the one that an earlier agent left; one that has no space for its text stays empty.
fn show(mut file: NamedTempFile, path: &Path, text: &str) -> io::Result<File> {
    match file.write_all(text.as_bytes()) {
        Err(full) if is_full(&full) => file.as_file().set_len(0)?,
        written => written?,
    }
    let lock = whole(libc::F_WRLCK);
    fcntl(file.as_file(), FcntlArg::F_OFD_SETLK(&lock))?;
    file.as_file().set_permissions(Permissions::from_mode(0o644))?;
    file.persist(path).map_err(|error| error.error)
}

/// Locks the file that an earlier agent left, where the disk has no space for another.
fn lock_there(path: &Path, text: &str) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path)?;
    let lock = whole(libc::F_WRLCK);
    fcntl(&file, FcntlArg::F_OFD_SETLK(&lock))?;
    file.set_len(0)?;
    match file.write_all(text.as_bytes()) {
        Err(full) if is_full(&full) => file.set_len(0)?,
        written => written?,
    }
    // This changes when the file was changed last, which tells agents apart whose files have no text.
    file.set_permissions(Permissions::from_mode(0o644))?;
    Ok(file)
}

/// A lock of this kind on all of a file.
fn whole(kind: libc::c_int) -> libc::flock {
    libc::flock { l_type: kind as libc::c_short, l_whence: libc::SEEK_SET as libc::c_short, l_start: 0, l_len: 0, l_pid: 0 }
}

/// Which agent claimed a state directory last: another text for every process.
pub fn identity(state: &Path) -> Result<String, InstanceLockError> {
    let path = state.join(PATH);
    let read = || {
        let mut file = File::open(&path)?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        if text.is_empty() {
            let metadata = file.metadata()?;
            text = format!("{} {}.{}", metadata.ino(), metadata.ctime(), metadata.ctime_nsec());
        }
        Ok(text)
    };
    read().map_err(|source| InstanceLockError::Io { path: path.clone(), source })
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

    /// As a file system without a free inode or block answers.
    fn full(_: &Path) -> io::Result<NamedTempFile> {
        Err(Errno::ENOSPC.into())
    }

    #[test]
    fn on_a_full_disk_the_agent_locks_the_file_that_is_there_and_is_another_than_the_one_before() {
        let root = tempfile::tempdir().expect("a directory");
        let state = root.path();
        let on_full_disk = || claim_with(state, &*FakeHost::new().system().kernel, full);
        let error = on_full_disk().expect_err("there is none to lock");
        assert!(matches!(&error, InstanceLockError::Full { .. }), "{error:?}");
        let said = crate::host::chain(&error);
        assert!(said.contains("no space is left on the disk of"), "{said}");
        assert!(error.hint().is_some_and(|hint| hint.contains("df -i")), "{:?}", error.hint());
        drop(claimed(state).expect("there is space"));
        fs::write(state.join(PATH), "1 2\n").expect("an earlier agent's");
        let held = on_full_disk().expect("it starts");
        assert_eq!(look(state).expect("looks"), InstanceState::Running);
        assert!(matches!(on_full_disk(), Err(InstanceLockError::Taken(_))));
        assert_ne!(identity(state).expect("reads"), "1 2\n");
        drop(held);
        assert_eq!(look(state).expect("looks"), InstanceState::Gone);
        // Without space for the text either, each start is told from the one before.
        let of_empty = || {
            fs::write(state.join(PATH), "").expect("written");
            identity(state).expect("reads")
        };
        let first = of_empty();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while of_empty() == first {
            assert!(std::time::Instant::now() < until, "two files without text are one agent's");
        }
    }

    #[test]
    fn a_lock_that_somebody_may_not_make_is_no_full_disk() {
        let error = InstanceLockError::of(Path::new("/s"), Path::new("/s/agent.lock"), Errno::EACCES.into());
        assert!(matches!(&error, InstanceLockError::Io { .. }) && error.hint().is_some_and(|hint| hint.contains("root")));
        let error = InstanceLockError::of(Path::new("/s"), Path::new("/s/agent.lock"), Errno::EDQUOT.into());
        assert!(matches!(&error, InstanceLockError::Full { .. }));
    }
}
