//! The files of a site, wherever they came from: a commit or a directory.
//!
//! **Invariant:** holds what was there and nothing else; a link is kept as a link and never followed.

use std::collections::BTreeMap;

/// One entry of a site's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file's bytes.
    File(Vec<u8>),
    /// A symbolic link's target, as it is spelled.
    Symlink(String),
    /// A file that was not read because no file of a site is so large, with its size in bytes.
    TooLarge(u64),
    /// A file that is there and was not read, with the reason: no permission, a device.
    Unreadable(String),
}

/// The files of a site by path, `/` between parts, relative to the site.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// Entries by path.
    pub entries: BTreeMap<String, Entry>,
}
