//! Files of root's own that must survive a power cut: the port, and the real one.
//!
//! **Invariant:** when a write has returned, it is on the disk; a file that is replaced is the old one or the new one, whole.
#![expect(clippy::disallowed_methods, reason = "effect room: root's own records")]

use nix::fcntl::{Flock, FlockArg};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

/// A lock on a file, given back when it is dropped.
pub struct Held(#[expect(dead_code, reason = "held for its drop")] Option<Box<dyn Send>>);

impl Held {
    /// A lock that something else stands for.
    pub fn of(lock: impl Send + 'static) -> Self {
        Self(Some(Box::new(lock)))
    }

    /// No lock, where there is one process only.
    pub fn none() -> Self {
        Self(None)
    }
}

/// Files of root's own.
pub trait DurableFiles: Send + Sync {
    /// Reads a file whole.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Overwrites bytes within a file, and syncs it.
    fn overwrite(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Replaces a file, or makes it, and syncs it and its directory.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Keeps other writers of a file away, and waits for them.
    fn lock(&self, path: &Path) -> io::Result<Held>;
}

/// Whether an error says that there is no such file.
pub(super) fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

/// The file system's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealFiles;

impl DurableFiles for RealFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn overwrite(&self, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.write_all_at(bytes, at)?;
        file.sync_data()
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        use std::io::Write as _;
        let directory = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        fs::create_dir_all(directory)?;
        let mut file = tempfile::Builder::new().prefix(".new.").tempfile_in(directory)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        File::open(directory)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Held> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(name)?;
        Flock::lock(file, FlockArg::LockExclusive).map(Held::of).map_err(|(_, errno)| errno.into())
    }
}
