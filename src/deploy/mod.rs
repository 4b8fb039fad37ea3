//! Where a site's text comes from: a directory, or the commits of a git repository.
//!
//! [`select`] and [`hook`] decide; [`directory`], [`repo`] and [`init`] do. **Invariant:** nothing of a site is ever executed
//! or followed: no hook of it, no link, no submodule; and no file is read before its size is known to be small.

pub mod directory;
mod ground;
pub mod hook;
pub mod init;
pub mod left_locks;
mod odd_files;
pub mod patience;
pub mod repo;
pub mod resolve;
pub mod select;

mod commit;

pub use commit::{Branch, Commit, CommitId};
pub use odd_files::Oddity;

use crate::site::{Entry, Tree};

/// The largest file read: a site is text, and a thousand machines make about 60 KiB.
pub const LARGEST_FILE: u64 = 1 << 20;

/// The most entries read, so that a checkout of the wrong directory ends soon and says so.
pub const MOST_ENTRIES: usize = 20_000;

/// The most text read in all.
pub const MOST_BYTES: u64 = 16 << 20;

/// The longest path: a file of a site has a name of a few words.
pub const LONGEST_PATH: usize = 512;

/// The largest tree object read: one of [`MOST_ENTRIES`] with names of the usual length.
pub const LARGEST_TREE: usize = 2 << 20;

/// The largest commit object read: its message is shown by its first line.
pub const LARGEST_COMMIT: usize = 1 << 20;

/// The most commits looked through to find whether one descends from another: a push a minute for two months.
pub const MOST_COMMITS: usize = 100_000;

/// The deepest nesting of directories walked.
pub const DEEPEST: usize = 32;

/// A tree that is no site: past one of the bounds of this room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// More than [`MOST_ENTRIES`].
    #[error("holds more than {MOST_ENTRIES} files, so it is not a site")]
    Entries,
    /// More than [`MOST_BYTES`].
    #[error("holds more than {} MiB of text, so it is not a site", MOST_BYTES >> 20)]
    Bytes,
    /// Deeper than [`DEEPEST`].
    #[error("nests directories deeper than {DEEPEST}, so it is not a site")]
    Depth,
    /// A path longer than [`LONGEST_PATH`].
    #[error("has a path longer than {LONGEST_PATH} bytes, so it is not a site")]
    Path,
    /// A directory whose object is larger than [`LARGEST_TREE`].
    #[error("has a directory of more entries than {LARGEST_TREE} bytes hold, so it is not a site")]
    Directory,
    /// More commits than [`MOST_COMMITS`].
    #[error("has more than {MOST_COMMITS} commits before it")]
    History,
    /// A commit object larger than [`LARGEST_COMMIT`].
    #[error("has a message of more than {LARGEST_COMMIT} bytes")]
    Message,
}

/// Gathers a tree within the bounds of this room; both readers fill one.
#[derive(Debug, Default)]
struct Gathered {
    tree: Tree,
    bytes: u64,
    directories: usize,
}

impl Gathered {
    /// Counts a directory: a few objects make a tree of more of them than anybody can walk.
    fn count_directory(&mut self) -> Result<(), TooMuch> {
        self.directories += 1;
        if self.directories > MOST_ENTRIES { Err(TooMuch::Entries) } else { Ok(()) }
    }

    fn add(&mut self, path: String, entry: Entry) -> Result<(), TooMuch> {
        if let Entry::File(bytes) = &entry {
            self.bytes += bytes.len() as u64;
        }
        if self.bytes > MOST_BYTES {
            return Err(TooMuch::Bytes);
        }
        if path.len() > LONGEST_PATH {
            return Err(TooMuch::Path);
        }
        if self.tree.entries.len() >= MOST_ENTRIES {
            return Err(TooMuch::Entries);
        }
        self.tree.entries.insert(path, entry);
        Ok(())
    }
}

/// What stands in the tree for a file past [`LARGEST_FILE`].
fn too_large(size: u64) -> Entry {
    Entry::TooLarge(size)
}

/// The path of `name` in `directory`, `/` between parts, the root being empty.
fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}
