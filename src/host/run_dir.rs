//! The directory of what lives as long as the host is up: locks, and the sockets of running services.
//!
//! **Invariant:** belongs to this process's user alone; one that others may write is refused, for a lock in it would keep nobody
//! out.
#![expect(clippy::disallowed_methods, reason = "effect room: makes the run directory")]

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// Root's, one for the host.
const OF_HOST: &str = "/run/barista";

/// Names another directory, for tests and for a second barista on one host.
const VARIABLE: &str = "BARISTA_RUN";

/// A directory for locks and sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// This directory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The one of this process: what `BARISTA_RUN` names, else root's `/run/barista`. Whoever is not root changes neither volumes
    /// nor targets and shares no more than a state directory, so it has one there.
    pub fn of_process(state: &Path) -> Self {
        match env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            Some(path) => Self::new(path),
            None if nix::unistd::Uid::effective().is_root() => Self::new(OF_HOST),
            None => Self::new(state.join("run")),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a directory in it, or the directory itself where `below` is empty, with its parents.
    pub fn make(&self, below: impl AsRef<Path>) -> io::Result<PathBuf> {
        // A trailing slash, which an empty name would add, has a link followed.
        let path: PathBuf = self.0.components().chain(below.as_ref().components()).collect();
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&path)?;
        for directory in path.ancestors().take_while(|directory| directory.starts_with(&self.0)) {
            let metadata = fs::symlink_metadata(directory)?;
            let is_ours = metadata.is_dir() && metadata.uid() == nix::unistd::geteuid().as_raw() && metadata.mode() & 0o022 == 0;
            if !is_ours {
                let why = format!("{} is no directory that this user alone may write", directory.display());
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
            }
        }
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn a_directory_that_others_may_write_is_refused() {
        let root = tempfile::tempdir().expect("a directory");
        let run = RunDir::new(root.path().join("run"));
        assert_eq!(run.make("seats").expect("made"), root.path().join("run/seats"));
        assert_eq!(run.make("").expect("is there"), root.path().join("run"));
        fs::set_permissions(run.path(), fs::Permissions::from_mode(0o777)).expect("its own");
        assert!(run.make("seats").is_err());
        symlink(root.path(), root.path().join("link")).expect("linked");
        assert!(RunDir::new(root.path().join("link")).make("").is_err());
    }
}
