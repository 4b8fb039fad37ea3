//! Fills versions: while somebody waits, or in a thread of its own.
//!
//! **Invariant:** one at a time, and whoever fills a version holds a lock of its name for as long: a run that was cut off holds none,
//! and what it left is garbage. Only who holds such a lock removes its file, and a lock on a file that has no name any more is none;
//! whoever looks takes no lock.
#![expect(clippy::disallowed_methods, reason = "effect room: a thread that fills, and the locks that say so")]

use super::{ApplyContext, Progress, Run, Silent};
use crate::host::store::{Store, thin::Thin};
use crate::host::{FillRequest, System, chain};
use crate::names::DiskId;
use crate::plan::{ChangeId, DiskOp, Outcome, Pool};
use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    libc,
};
use std::{
    collections::BTreeSet,
    fs, io,
    ops::ControlFlow,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Whether versions are filled while somebody waits.
#[derive(Clone, Default)]
pub enum Fills {
    /// They are: the plan goes on once they are whole.
    #[default]
    Wait,
    /// They are not: they go on by themselves, and `then` is called when one has ended.
    Background {
        /// What is filled now.
        running: Running,
        /// Called at the end of each.
        then: Arc<dyn Fn() + Send + Sync>,
    },
}

impl std::fmt::Debug for Fills {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Wait => "Wait",
            Self::Background { .. } => "Background",
        })
    }
}

/// Versions that are being filled by this process, with how the last of each that failed did.
#[derive(Debug, Clone, Default)]
pub struct Running(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    now: BTreeSet<DiskId>,
    failed: Vec<(DiskId, String)>,
}

impl Running {
    fn begin(&self, disk: &DiskId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now.insert(disk.clone())
    }

    fn end(&self, disk: &DiskId, error: Option<String>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.now.remove(disk);
        state.failed.extend(error.map(|error| (disk.clone(), error)));
    }

    /// Takes what failed since it was asked last.
    pub fn take_failures(&self) -> Vec<(DiskId, String)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).failed)
    }
}

impl Run<'_> {
    pub(super) fn fill(&mut self, change: ChangeId, ops: &[DiskOp]) {
        let Some(store) = self.store.filter(|_| self.ledger.may_go_ahead(change)) else { return };
        match &self.context.fills {
            Fills::Wait => {
                self.progress.begin(Some(change), &self.ledger.label(change));
                let outcome =
                    make(self.system, self.context, store, ops, self.progress).err().map_or(Outcome::Done, Outcome::Failed);
                self.progress.end(&outcome);
                self.ledger.settle(change, outcome);
            }
            Fills::Background { running, then } => {
                self.ledger.settle(change, Outcome::Background);
                let Some(disk) = disk_of(ops) else { return };
                if running.begin(&disk) {
                    let (system, context, ops) = (self.system.clone(), self.context.clone(), ops.to_vec());
                    let (pool, running, then) = (store.pool().clone(), running.clone(), then.clone());
                    std::thread::spawn(move || {
                        let store = Thin::new(&system, pool, &context.state);
                        let failed = make(&system, &context, &store, &ops, &mut Silent).err();
                        if let Some(error) = &failed {
                            tracing::error!("{disk} could not be filled: {error}");
                        }
                        running.end(&disk, failed);
                        then();
                    });
                }
            }
        }
    }
}

fn disk_of(ops: &[DiskOp]) -> Option<DiskId> {
    ops.iter().find_map(|op| match op {
        DiskOp::Fill { disk, .. } => Some(disk.clone()),
        _ => None,
    })
}

/// Makes a version: removes what an earlier run left, makes the disk, fills it, seals it.
fn make(
    system: &System,
    context: &ApplyContext,
    store: &Thin<'_>,
    ops: &[DiskOp],
    progress: &mut dyn Progress,
) -> Result<(), String> {
    let disk = disk_of(ops);
    let _lock = disk.as_ref().map(|disk| claim(&context.state, disk)).transpose()?;
    for op in ops {
        match op {
            DiskOp::Fill { disk, path, format, size, sha256, reserve } => {
                let lv = disk.lv_name().map_err(|error| error.to_string())?;
                let Pool { vg, pool } = store.pool();
                let request = FillRequest {
                    source: path,
                    format: *format,
                    vg,
                    lv: &lv,
                    device: &format!("/dev/{vg}/{lv}"),
                    size: *size,
                    sha256: sha256.as_deref(),
                    pool,
                    reserve: *reserve,
                };
                let filled =
                    crate::host::fill(system, &context.image_store, &request, progress).map_err(|error| chain(&error))?;
                store.remember_filled(disk, filled.sha256);
            }
            op => {
                let outcome = store.perform(&[(ChangeId(0), op.clone())], &mut |_, _| ControlFlow::Continue(())).pop();
                if let Some(Outcome::Failed(error) | Outcome::Stuck(error) | Outcome::Skipped(error)) = outcome {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

/// Where locks of versions that are being filled lie under the state directory.
const LOCKS: &str = "filling";

fn lock_path(state: &Path, disk: &DiskId) -> Option<PathBuf> {
    Some(state.join(LOCKS).join(disk.lv_name().ok()?.as_str()))
}

/// The right to fill a version; given back, with its file, when it is dropped.
#[derive(Debug)]
struct Claim {
    path: PathBuf,
    #[expect(dead_code, reason = "held for its drop, which unlocks it")]
    file: fs::File,
}

impl Drop for Claim {
    fn drop(&mut self) {
        // The lock is still held: whoever opened the file meanwhile sees that it has no name, and makes another. One that stays says nothing.
        let _ = fs::remove_file(&self.path);
    }
}

/// Claims to be the one who fills a version.
fn claim(state: &Path, disk: &DiskId) -> Result<Claim, String> {
    let path = lock_path(state, disk).ok_or_else(|| format!("{disk} has no name"))?;
    let failed = |error: &dyn std::error::Error| format!("{}: {}", path.display(), chain(error));
    let open = || {
        fs::create_dir_all(state.join(LOCKS))?;
        fs::set_permissions(state.join(LOCKS), fs::Permissions::from_mode(0o700))?;
        crate::host::lock::open_own(&path)
    };
    loop {
        let file = open().map_err(|error| failed(&error))?;
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole())) {
            Ok(_) => {}
            Err(Errno::EAGAIN | Errno::EACCES) => return Err(format!("{disk} is being filled by another process")),
            Err(errno) => return Err(failed(&errno)),
        }
        if has_its_name(&file, &path).map_err(|error| failed(&error))? {
            return Ok(Claim { path, file });
        }
    }
}

/// Whether a file is the one at its path: who held it before may have removed it before it was locked here.
fn has_its_name(file: &fs::File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A write lock on all of a file, which belongs to the open file and not to the process.
fn whole() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

/// Versions that are being filled now, by the names of their volumes. A lock that cannot be looked at counts as held.
pub fn filling(state: &Path) -> BTreeSet<String> {
    let is_free = |path: &Path| match fs::File::open(path) {
        Ok(file) => {
            let mut lock = whole();
            fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).is_ok() && i32::from(lock.l_type) == libc::F_UNLCK
        }
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    let entries = fs::read_dir(state.join(LOCKS)).into_iter().flatten().flatten();
    let held = entries.filter(|entry| !is_free(&entry.path()));
    held.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> DiskId {
        DiskId::Version { image: "win11".parse().expect("legal"), version: "24h2".parse().expect("legal") }
    }

    /// cashapp/hermit#423 and dotdevdotdev/agentwire-dev#508: a lock file that another removes, and both have the lock.
    #[test]
    fn a_version_has_one_filler_however_often_somebody_looks_who_it_is() {
        let state = tempfile::tempdir().expect("a directory");
        let path = lock_path(state.path(), &disk()).expect("it has a name");
        let name = path.file_name().expect("it has one").to_string_lossy().into_owned();
        let first = claim(state.path(), &disk()).expect("nobody fills it");
        assert_eq!(filling(state.path()), [name.clone()].into());
        assert!(claim(state.path(), &disk()).expect_err("it is held").contains("by another process"));
        drop(first);
        assert_eq!(filling(state.path()), BTreeSet::new());
        assert!(!path.exists(), "who held it removed it");
        // What a killed run leaves: whoever looks removes nothing, and it keeps nobody from the next claim.
        fs::write(&path, "").expect("left");
        assert_eq!(filling(state.path()), BTreeSet::new());
        assert!(path.exists(), "a look changes nothing");
        // A claim that opened the file before its holder removed it has a lock on nothing.
        let opened = fs::File::open(&path).expect("opened");
        drop(claim(state.path(), &disk()).expect("it is free"));
        assert!(!has_its_name(&opened, &path).expect("looks"));
        let again = claim(state.path(), &disk()).expect("it is free");
        assert!(!has_its_name(&opened, &path).expect("looks"), "nor on another that came to its place");
        assert_eq!(filling(state.path()), [name].into());
        drop(again);
    }

    #[test]
    fn many_claims_and_looks_at_once_never_make_two_fillers() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let state = tempfile::tempdir().expect("a directory");
        let (fillers, claims) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let Ok(claim) = claim(state.path(), &disk()) else { continue };
                        assert_eq!(fillers.fetch_add(1, Ordering::SeqCst), 0, "two fill one version");
                        claims.fetch_add(1, Ordering::SeqCst);
                        assert_eq!(filling(state.path()).len(), 1, "whoever fills is seen");
                        fillers.fetch_sub(1, Ordering::SeqCst);
                        drop(claim);
                    }
                });
            }
            scope.spawn(|| (0..4000).for_each(|_| drop(filling(state.path()))));
        });
        assert!(claims.load(Ordering::SeqCst) > 0);
    }
}
