//! One writer per host, one for each seat, and the locks of the tools that share LIO with us.
//!
//! **Invariant:** whatever applies a plan holds [`lock`], wherever its state directory is; whoever works on one seat alone holds
//! [`seat`]. A lock lives as long as its holder *and every program that the holder started meanwhile*: an LVM command that outlives
//! its killed parent still keeps others out (tests/it/host/lock.rs).
#![expect(clippy::disallowed_methods, reason = "effect room: lock files")]

use super::run_dir::RunDir;
use crate::names::MachineName;
use nix::fcntl::{Flock, FlockArg};
use std::{
    fs,
    io::{self, Read, Seek, Write},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

/// The host's lock in the run directory, and the directory of the seats'.
const FILE: &str = "lock";
const SEATS: &str = "seats";

/// What rtslib and targetcli lock while they change configfs (rtslib-fb `tcm.py`, targetcli-fb `ui_root.py`).
const FOREIGN_LOCKS: [&str; 2] = ["/var/run/rtslib_backstore.lock", "/var/run/targetcli.lock"];

/// How long a running command of another tool may keep us waiting.
const PATIENCE: Duration = Duration::from_secs(5);

/// The right to change something; given back when it is dropped.
#[derive(Debug)]
pub struct Lock {
    /// Its place among [`HELD`], if programs are to inherit it.
    number: Option<u64>,
    #[expect(dead_code, reason = "held for its drop, which unlocks whatever programs still have the file open")]
    file: Flock<fs::File>,
}

/// A lock of this process that the programs it starts inherit.
struct Held {
    number: u64,
    thread: ThreadId,
    file: fs::File,
}

/// The locks that this process holds now, oldest first.
static HELD: Mutex<Vec<Held>> = Mutex::new(Vec::new());

impl Lock {
    /// A lock that programs inherit.
    fn inherited(file: Flock<fs::File>) -> io::Result<Self> {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        let number = held.last().map_or(0, |last| last.number + 1);
        held.push(Held { number, thread: thread::current().id(), file: file.try_clone()? });
        Ok(Self { number: Some(number), file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            HELD.lock().unwrap_or_else(PoisonError::into_inner).retain(|held| held.number != number);
        }
    }
}

/// The lock that a program inherits which this thread starts now: the thread's newest, else the process's newest.
pub(super) fn to_inherit() -> Option<fs::File> {
    let held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let own = held.iter().rev().find(|held| held.thread == thread::current().id());
    own.or(held.last())?.file.try_clone().ok()
}

/// The pause between two tries at a lock that somebody has.
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// Takes a lock, waiting this long for whoever has it.
pub fn within(patience: Duration, take: impl Fn() -> Result<Lock, LockError>) -> Result<Lock, LockError> {
    let deadline = Instant::now() + patience;
    loop {
        match take() {
            Err(LockError::Held { .. }) if Instant::now() < deadline => thread::sleep(BETWEEN_TRIES),
            other => return other,
        }
    }
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it, or a program that it started and that outlives it.
    #[error("{path} is locked by process {pid}, which is applying a plan, or by a program that it started")]
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

/// Takes the host's lock, or says at once who holds it; `state` counts only for whoever has no run directory but there.
pub fn lock(state: &Path) -> Result<Lock, LockError> {
    lock_in(&RunDir::of_process(state))
}

/// Takes the host's lock in a run directory.
pub fn lock_in(run: &RunDir) -> Result<Lock, LockError> {
    let (path, lock) = take(run, "", FILE)?;
    Lock::inherited(lock).map_err(|source| LockError::Io { path, source })
}

/// Takes one seat's lock, which is independent of the host's. No program inherits it: whoever applies a plan has the host's beside it,
/// and whoever gives a disk to a boot starts none.
pub fn seat(run: &RunDir, machine: &MachineName) -> Result<Lock, LockError> {
    let (_, file) = take(run, SEATS, machine.as_str())?;
    Ok(Lock { number: None, file })
}

/// Opens a file that is locked, and makes it. Whoever may open it may lock it, if only for reading: nobody else may.
pub(super) fn open_own(path: &Path) -> io::Result<fs::File> {
    let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o600)).map(|()| file)
}

fn take(run: &RunDir, directory: &str, name: &str) -> Result<(PathBuf, Flock<fs::File>), LockError> {
    let path = run.path().join(directory).join(name);
    let broken = |source| LockError::Io { path: path.clone(), source };
    run.make(directory).map_err(broken)?;
    let file = open_own(&path).map_err(broken)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0)
                .and_then(|()| lock.rewind())
                .and_then(|()| writeln!(lock, "{}", std::process::id()))
                .map_err(broken)?;
            Ok((path, lock))
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
    // One that is made here is nobody else's to take.
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).ok()?;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => return Some(Lock { number: None, file }),
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
    fn another_tools_lock_that_is_made_here_is_nobody_elses_to_take() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("targetcli.lock");
        let _lock = lock_until(path.to_str().expect("text"), Instant::now()).expect("is free");
        assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_second_to_ask_is_told_who_was_first() {
        let root = tempfile::tempdir().expect("a directory");
        let run = RunDir::new(root.path().join("new"));
        let first = lock_in(&run).expect("is free");
        let error = lock_in(&run).expect_err("is held").to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        assert!(lock_in(&run).is_ok(), "a lock ends with its holder");
    }

    #[test]
    fn each_seat_has_a_lock_of_its_own() {
        let root = tempfile::tempdir().expect("a directory");
        let run = RunDir::new(root.path().join("run"));
        let machine = |name: &str| name.parse::<MachineName>().expect("a name");
        let _host = lock_in(&run).expect("is free");
        let first = seat(&run, &machine("pc01")).expect("is free");
        assert!(matches!(seat(&run, &machine("pc01")), Err(LockError::Held { .. })));
        assert!(seat(&run, &machine("pc02")).is_ok());
        drop(first);
        assert!(seat(&run, &machine("pc01")).is_ok());
    }

    #[test]
    fn a_program_inherits_the_newest_lock_of_the_thread_that_starts_it() {
        let root = tempfile::tempdir().expect("a directory");
        let run = |name: &str| RunDir::new(root.path().join(name));
        let inode = |file: fs::File| std::os::unix::fs::MetadataExt::ino(&file.metadata().expect("is open"));
        let of = |name: &str| inode(fs::File::open(root.path().join(name).join(FILE)).expect("is there"));
        let first = lock_in(&run("a")).expect("is free");
        let second = lock_in(&run("b")).expect("is free");
        thread::scope(|scope| {
            let other = scope.spawn(|| lock_in(&run("c")).expect("is free"));
            let _third = other.join().expect("ends well");
            assert_eq!(to_inherit().map(inode), Some(of("b")));
            drop(second);
            assert_eq!(to_inherit().map(inode), Some(of("a")));
        });
        drop(first);
    }
}
