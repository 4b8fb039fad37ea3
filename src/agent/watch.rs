//! Watches the repository for pushes (inotify), and wakes the agent at each.
//!
//! What the file system tells is a hint only: directories that are replaced go silent without an error, and some file systems
//! tell nothing. **Invariant:** nothing depends on it: the agent looks by itself every few seconds, and arms a new watch now
//! and then, of no more directories than a repository has, and behind no link. Reading is not news, or the agent's own looks would wake
//! it.

use super::wakeup::Wakeup;
use crate::deploy::repo::is_plain;
use notify::{Config, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::path::Path;

/// Wakes the agent at each change, until it is dropped.
pub(super) struct Watch {
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Watches the references of a repository: `refs/` and, for HEAD and packed-refs, the directory above it.
    pub fn arm(repository: &Path, wakeup: &Wakeup) -> Self {
        if !is_plain(repository) {
            return Self { _watcher: None };
        }
        let watcher = arm(repository, wakeup.clone());
        if let Err(error) = &watcher {
            tracing::debug!(%error, "pushes are seen by looking only");
        }
        Self { _watcher: watcher.ok() }
    }
}

fn arm(repository: &Path, wakeup: Wakeup) -> notify::Result<RecommendedWatcher> {
    let heard = move |event: notify::Result<notify::Event>| {
        let reading = matches!(&event, Ok(event) if matches!(event.kind, EventKind::Access(_)));
        if !reading {
            wakeup.look();
        }
    };
    // A link in the place of `refs` would have every directory of the host watched.
    let mut watcher = RecommendedWatcher::new(heard, Config::default().with_follow_symlinks(false))?;
    watcher.watch(repository, RecursiveMode::NonRecursive)?;
    watcher.watch(&repository.join("refs"), RecursiveMode::Recursive)?;
    Ok(watcher)
}
