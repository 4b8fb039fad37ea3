//! Fills versions: while somebody waits, or in a thread of its own.
//!
//! **Invariant:** one at a time, and whoever fills a version holds a lock of its name for as long: a run that was cut off holds none,
//! and what it left is garbage.
#![expect(clippy::disallowed_methods, reason = "effect room: a thread that fills, and the locks that say so")]

use super::{ApplyContext, Progress, Run, Silent};
use crate::host::store::{Store, thin::Thin};
use crate::host::{FillRequest, System, chain};
use crate::names::DiskId;
use crate::plan::{ChangeId, DiskOp, Outcome, Pool};
use nix::fcntl::{Flock, FlockArg};
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt,
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
                let outcome = store.perform(&[(ChangeId(0), op.clone())], &mut |_, _| {}).pop();
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

/// Claims to be the one who fills a version.
fn claim(state: &Path, disk: &DiskId) -> Result<Flock<fs::File>, String> {
    let path = lock_path(state, disk).ok_or_else(|| format!("{disk} has no name"))?;
    let failed = |error: &dyn std::error::Error| format!("{}: {}", path.display(), chain(error));
    fs::create_dir_all(state.join(LOCKS)).map_err(|error| failed(&error))?;
    let open = || {
        fs::set_permissions(state.join(LOCKS), fs::Permissions::from_mode(0o700))?;
        crate::host::lock::open_own(&path)
    };
    let file = open().map_err(|error| failed(&error))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| format!("{disk} is being filled by another process"))
}

/// Versions that are being filled now, by the names of their volumes.
pub fn filling(state: &Path) -> BTreeSet<String> {
    let mut filling = BTreeSet::new();
    for entry in fs::read_dir(state.join(LOCKS)).into_iter().flatten().flatten() {
        let Ok(file) = fs::OpenOptions::new().write(true).open(entry.path()) else { continue };
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            // Whoever made it is gone; the file says nothing.
            Ok(_) => drop(fs::remove_file(entry.path())),
            Err(_) => drop(filling.insert(entry.file_name().to_string_lossy().into_owned())),
        }
    }
    filling
}
