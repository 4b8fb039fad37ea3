//! Writes files of the state directory.
//!
//! **Invariant:** a reader sees the old file or the new one, whole, whatever happens to us or to the power.
#![expect(clippy::disallowed_methods, reason = "effect room: writes files of the state directory")]

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

/// `serve` reads what we write and is not root.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;

/// Replaces a file: written beside it, flushed, renamed over it, and the directory flushed too.
pub fn write_atomically(path: &Path, text: &str) -> io::Result<()> {
    write_prepared(path, text.as_bytes(), |file| file.set_permissions(fs::Permissions::from_mode(FILE_MODE)))
}

/// The same for its owner alone, and any bytes.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write_prepared(path, bytes, |file| file.set_permissions(fs::Permissions::from_mode(0o600)))
}

/// The same for its owner and the group of `like` alone; where that is not there, for its owner alone.
pub(super) fn write_shared(path: &Path, text: &str, like: &Path) -> io::Result<()> {
    write_prepared(path, text.as_bytes(), |file| {
        let group = fs::metadata(like).map(|metadata| metadata.gid()).ok();
        // The mode last: until the group is right nobody else reads it.
        std::os::unix::fs::fchown(file, None, group)?;
        file.set_permissions(fs::Permissions::from_mode(if group.is_some() { 0o640 } else { 0o600 }))
    })
}

fn write_prepared(path: &Path, bytes: &[u8], prepare: impl Fn(&fs::File) -> io::Result<()>) -> io::Result<()> {
    let directory = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    create_directory(directory)?;
    let mut file = tempfile::Builder::new().prefix(".new.").tempfile_in(directory)?;
    file.write_all(bytes)?;
    prepare(file.as_file())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    fs::File::open(directory)?.sync_all()
}

/// Makes a directory of the state with its parents; one that is there keeps its mode.
pub fn create_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(directory)?;
    fs::set_permissions(directory, fs::Permissions::from_mode(DIRECTORY_MODE))?;
    // Its name in the directory above must be on disk too before a file in it counts as kept.
    directory.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_readable_by_all() {
        let state = tempfile::tempdir().expect("a directory");
        let path = state.path().join("boot/table.json");
        write_atomically(&path, "one").expect("written");
        write_atomically(&path, "two").expect("written");
        assert_eq!(fs::read_to_string(&path).expect("reads"), "two");
        assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::metadata(state.path().join("boot")).expect("is there").permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(state.path().join("boot")).expect("lists").count(), 1, "nothing is left beside it");
    }
}
