//! Whether a file system has room for what is written to it while a café runs.
//!
//! **Invariant:** looks only; says the same for as long as the same is so, so that it is logged once. Room is what the least of accounts
//! may take, for `serve` is not root, and root's reserve is not there for it.

use crate::diagnostic::{Diagnostic, Severity};
use crate::names::Bytes;
use rustix::fs::{StatVfs, StatVfsMountFlags, statvfs};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

/// Less than this is too little. A boot table of ten thousand machines, its copies, and a journal of as many leases that is written anew
/// beside the old take about a third of it.
pub const LEAST_ROOM: Bytes = Bytes(16 << 20);

/// What a file system has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Which file system it is.
    pub id: u64,
    /// Bytes that anybody may take.
    pub free: Bytes,
    /// Files that anybody may make; none where the file system does not count them.
    pub files: Option<u64>,
    /// Whether anything may be written at all.
    pub access: Access,
}

/// Whether a file system takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It does.
    Writable,
    /// It does not, as after an error of its disk.
    ReadOnly,
}

/// What is wrong with a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// Less than [`LEAST_ROOM`] is left.
    Bytes,
    /// No file can be made.
    Files,
    /// Nothing is written at all.
    ReadOnly,
}

impl Space {
    /// The file system of a path, or of what is there above it.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = path.ancestors().map(|path| if path.as_os_str().is_empty() { Path::new(".") } else { path }).map(statvfs);
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for found in found {
            match found {
                Ok(found) => return Ok(Self::from(found)),
                Err(error) if matches!(error, rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => last = error.into(),
                Err(error) => return Err(error.into()),
            }
        }
        Err(last)
    }

    /// What is wrong with it.
    pub fn shortage(&self) -> Option<Shortage> {
        match self {
            Self { access: Access::ReadOnly, .. } => Some(Shortage::ReadOnly),
            Self { free, .. } if *free < LEAST_ROOM => Some(Shortage::Bytes),
            Self { files: Some(0), .. } => Some(Shortage::Files),
            _ => None,
        }
    }
}

impl From<StatVfs> for Space {
    fn from(found: StatVfs) -> Self {
        Self {
            id: found.f_fsid,
            free: Bytes(found.f_bavail.saturating_mul(found.f_frsize)),
            // btrfs makes them as they are needed, and says that it has none.
            files: Some(found.f_favail).filter(|_| found.f_files > 0),
            access: match found.f_flag.contains(StatVfsMountFlags::RDONLY) {
                true => Access::ReadOnly,
                false => Access::Writable,
            },
        }
    }
}

/// What is wrong with the file systems of these directories, each told once; what cannot be asked for is told by whoever writes there.
pub fn examine_space<'a>(directories: impl IntoIterator<Item = &'a Path>) -> Vec<Diagnostic> {
    let mut seen = BTreeMap::new();
    for directory in directories {
        if let Ok(space) = Space::of(directory) {
            seen.entry(space.id).or_insert_with(|| (directory.to_owned(), space));
        }
    }
    seen.into_values().filter_map(|(directory, space): (PathBuf, Space)| Some(short_of(&directory, space.shortage()?))).collect()
}

/// What a shortage comes to, and what to do about it.
pub fn short_of(directory: &Path, shortage: Shortage) -> Diagnostic {
    let shown = directory.display();
    let comes_to = "commits cannot be recorded, and machines without a reserved address may get none";
    let (code, what, hint) = match shortage {
        Shortage::Bytes => (
            "state-disk-full",
            format!("less than {LEAST_ROOM} is free on the file system of {shown}: {comes_to}"),
            format!("make room there: `df -h {shown}` and `du -xh {shown}` say what takes it"),
        ),
        Shortage::Files => (
            "state-disk-full",
            format!("no file can be made on the file system of {shown}, for it has no free inode: {comes_to}"),
            format!("remove files there: `df -i {shown}` and `du -x --inodes {shown}` say where they are"),
        ),
        Shortage::ReadOnly => (
            "state-disk-read-only",
            format!("the file system of {shown} is read-only: {comes_to}"),
            "`dmesg` says why; mount it writable".to_owned(),
        ),
    };
    Diagnostic::whole(Severity::Error, code, shown.to_string(), what, hint)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make directories")]
mod tests {
    use super::*;

    const ROOMY: Space = Space { id: 1, free: Bytes(1 << 30), files: Some(1000), access: Access::Writable };

    #[test]
    fn a_file_system_is_short_below_its_bounds_and_not_at_them() {
        for (space, short) in [
            (ROOMY, None),
            (Space { free: LEAST_ROOM, ..ROOMY }, None),
            (Space { free: Bytes(LEAST_ROOM.0 - 1), ..ROOMY }, Some(Shortage::Bytes)),
            (Space { files: Some(1), ..ROOMY }, None),
            (Space { files: Some(0), ..ROOMY }, Some(Shortage::Files)),
            (Space { files: None, ..ROOMY }, None),
            (Space { access: Access::ReadOnly, ..ROOMY }, Some(Shortage::ReadOnly)),
        ] {
            assert_eq!(space.shortage(), short, "{space:?}");
        }
    }

    #[test]
    fn what_is_not_there_yet_counts_by_what_is_above_it() {
        let root = tempfile::tempdir().expect("a directory");
        let there = Space::of(root.path()).expect("it is there");
        let below = Space::of(&root.path().join("not/there/yet")).expect("its parents are");
        assert_eq!((there.id, there.access), (below.id, Access::Writable));
        let full = examine_space([Path::new("/proc"), Path::new("/proc/self")]);
        assert_eq!(full.len(), 1, "one file system is told once: {full:?}");
        assert!(full[0].message.contains("/proc") && full[0].code.as_str() == "state-disk-full", "{full:?}");
    }
}
