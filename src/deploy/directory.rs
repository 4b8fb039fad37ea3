//! Reads a site from a directory, as it lies there.
//!
//! **Invariant:** follows no link and leaves the directory by no path; what cannot be read is in the tree as unreadable, and
//! a directory that cannot be listed is an error, for an empty tree would look like an empty café.
#![expect(clippy::disallowed_methods, reason = "effect room: reads a site's directory")]

use super::{DEEPEST, Gathered, LARGEST_FILE, TooMuch, join, too_large};
use crate::host::untrusted::read_untrusted;
use crate::observed::Seen;
use crate::site::{Entry, Tree};
use std::{
    collections::BTreeSet,
    fs::{self, Metadata},
    io,
    path::{Path, PathBuf},
};

/// Directories of one directory that are looked into for a site.
const MOST_BELOW: usize = 1000;

/// A directory that cannot be read as a site.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be listed.
    #[error("cannot list {}", path.display())]
    List {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is past a bound.
    #[error("{} {reason}", path.display())]
    TooMuch {
        /// Which.
        path: PathBuf,
        /// The bound.
        reason: TooMuch,
    },
    /// It is a file of one.
    #[error("{} is a file, and a site is a directory", path.display())]
    File {
        /// Which.
        path: PathBuf,
    },
    /// It is a repository, which holds sites as commits.
    #[error("{} is no site, but a git repository", path.display())]
    Repository {
        /// Which.
        path: PathBuf,
    },
    /// It is no site.
    #[error("{} is no site: there is no site.toml in it", path.display())]
    NoSite {
        /// Which.
        path: PathBuf,
        /// A directory above or below it that is one.
        near: Option<PathBuf>,
    },
}

/// Refuses a directory that is clearly no site, so that a home directory is not read to its end; what may be a site with a
/// mistake, or cannot be listed, passes.
pub fn expect_site(root: &Path) -> Result<(), DirectoryError> {
    if fs::metadata(root).is_ok_and(|metadata| metadata.is_file()) {
        return Err(DirectoryError::File { path: root.to_owned() });
    }
    let Ok(entries) = fs::read_dir(root) else { return Ok(()) };
    let names: BTreeSet<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().to_lowercase()).collect();
    let parts = ["machines", "images", "network"].iter().filter(|part| names.contains(**part)).count();
    if parts > 1 || names.iter().any(|name| name.starts_with("site.")) {
        return Ok(());
    }
    // gitrepository-layout(5): what git itself looks for.
    if ["head", "objects", "refs"].iter().all(|part| names.contains(*part)) {
        return Err(DirectoryError::Repository { path: root.to_owned() });
    }
    let holds_site = |directory: &&Path| fs::symlink_metadata(directory.join("site.toml")).is_ok();
    let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let above = absolute.ancestors().skip(1).find(holds_site).map(Path::to_owned);
    // A directory of thousands is no place to look for a site in.
    let below = || names.iter().take(MOST_BELOW).map(|name| absolute.join(name)).find(|path| holds_site(&path.as_path()));
    Err(DirectoryError::NoSite { near: above.or_else(below), path: absolute })
}

/// Reads every file below `root`, except what lies in a `.git` there.
pub fn read(root: &Path) -> Result<Tree, DirectoryError> {
    let mut gathered = Gathered::default();
    walk(root, root, "", 0, &mut gathered)?;
    Ok(gathered.tree)
}

fn walk(root: &Path, directory: &Path, prefix: &str, depth: usize, gathered: &mut Gathered) -> Result<(), DirectoryError> {
    let list_error = |source| DirectoryError::List { path: directory.to_owned(), source };
    let bound = |reason| DirectoryError::TooMuch { path: directory.to_owned(), reason };
    if depth > DEEPEST {
        return Err(bound(TooMuch::Depth));
    }
    for entry in fs::read_dir(directory).map_err(list_error)? {
        let entry = entry.map_err(list_error)?;
        let (path, name) = (entry.path(), entry.file_name());
        if name == ".git" {
            continue;
        }
        let shown = join(prefix, &name.to_string_lossy());
        let metadata = entry.metadata().map_err(list_error)?;
        if metadata.is_dir() && name.to_str().is_some() {
            gathered.count_directory().map_err(bound)?;
            walk(root, &path, &shown, depth + 1, gathered)?;
            continue;
        }
        let read = if name.to_str().is_none() {
            Entry::Unreadable("its name is not UTF-8".to_owned())
        } else {
            read_entry(root, &shown, &path, &metadata).unwrap_or_else(|error| Entry::Unreadable(error.to_string()))
        };
        gathered.add(shown, read).map_err(bound)?;
    }
    Ok(())
}

/// Reads one entry that is no directory. The metadata is of the entry itself, not of what a link leads to; who may write the
/// directory may exchange the entry meanwhile.
fn read_entry(root: &Path, shown: &str, path: &Path, metadata: &Metadata) -> io::Result<Entry> {
    if metadata.is_symlink() {
        return Ok(Entry::Symlink(fs::read_link(path)?.to_string_lossy().into_owned()));
    }
    if !metadata.is_file() {
        return Ok(Entry::Unreadable("neither a file nor a directory".to_owned()));
    }
    if metadata.len() > LARGEST_FILE {
        return Ok(too_large(metadata.len()));
    }
    Ok(match read_untrusted(root, shown, LARGEST_FILE) {
        Seen::Present(bytes) => Entry::File(bytes),
        Seen::Absent => Entry::Unreadable("it was removed while it was read".to_owned()),
        Seen::Unreadable(why) => Entry::Unreadable(why),
    })
}
