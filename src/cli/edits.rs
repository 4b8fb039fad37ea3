//! Files that people own, as a command is about to change them: shown as a difference, then written.
//!
//! **Invariant:** what is written is what was shown; a file is replaced whole or not at all, and keeps its owner and mode.
#![expect(clippy::disallowed_methods, reason = "effect room: rewrites files of a site")]

use super::{failure::Failure, output};
use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

/// Lines of a difference around a change.
const AROUND: usize = 2;

/// Whether a command writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub(super) struct DryRunArgument {
    /// Show what would change, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// A file as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileChange {
    /// Its path below the directory that is changed.
    pub path: String,
    /// Its text before; none where it is new.
    pub before: Option<String>,
    /// Its text after.
    pub after: String,
}

/// The changes as one unified difference; new files are whole in it.
pub(super) fn render(changes: &[FileChange]) -> String {
    let one = |change: &FileChange| {
        let before = change.before.as_deref().unwrap_or_default();
        let from = change.before.as_ref().map_or("/dev/null".to_owned(), |_| format!("a/{}", change.path));
        let diff = similar::TextDiff::from_lines(before, change.after.as_str());
        diff.unified_diff().context_radius(AROUND).header(&from, &format!("b/{}", change.path)).to_string()
    };
    changes.iter().map(one).collect()
}

/// Shows the changes, and writes them unless that was not asked for; whether they were written.
pub(super) fn carry_out(root: &Path, changes: &[FileChange], how: DryRunArgument) -> Result<Written, Failure> {
    output::data(&render(changes))?;
    if how.dry_run {
        output::note("nothing was written");
        return Ok(Written::No);
    }
    write_all(root, changes)?;
    Ok(Written::Yes)
}

/// Writes the changes, one file after the other.
pub(super) fn write_all(root: &Path, changes: &[FileChange]) -> Result<(), Failure> {
    for change in changes {
        let path = root.join(&change.path);
        write(&path, change).map_err(|error| explain(error, &path))?;
    }
    Ok(())
}

fn explain(error: io::Error, path: &Path) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "do it as the owner of that directory, or in a clone of your own",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room on that disk; no file was changed in part",
        io::ErrorKind::ReadOnlyFilesystem => "that disk is mounted read-only; do it in a clone on another",
        _ => return anyhow::Error::from(error).context(format!("cannot write {}", path.display())).into(),
    };
    // Its text would name the file that was to take the other's place.
    let error = anyhow::anyhow!("cannot write {}: {}", path.display(), error.kind());
    Failure::hinted(error, hint)
}

/// Whether changes were written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// They were.
    Yes,
    /// They were only shown.
    No,
}

fn write(path: &Path, change: &FileChange) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let (mode, like) = match &change.before {
        Some(_) => {
            let like = fs::metadata(path)?;
            (like.permissions(), like)
        }
        None => {
            make_directories(directory)?;
            (fs::Permissions::from_mode(0o644), fs::metadata(directory)?)
        }
    };
    let mut fresh = tempfile::Builder::new().prefix(".barista.").tempfile_in(directory)?;
    fresh.write_all(change.after.as_bytes())?;
    fresh.as_file().set_permissions(mode)?;
    if nix::unistd::Uid::effective().is_root() {
        std::os::unix::fs::fchown(fresh.as_file(), Some(like.uid()), Some(like.gid()))?;
    }
    fresh.as_file().sync_all()?;
    match &change.before {
        Some(_) => fresh.persist(path).map(drop).map_err(|error| error.error),
        // Somebody may have made it since it was looked for.
        None => fresh.persist_noclobber(path).map(drop).map_err(|error| error.error),
    }
}

/// Makes the directories that are missing, each with the owner of the one it lies in.
fn make_directories(directory: &Path) -> io::Result<()> {
    match fs::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(_) => return Ok(()),
    }
    let above = match directory.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        _ => Path::new("."),
    };
    make_directories(above)?;
    fs::create_dir(directory)?;
    if nix::unistd::Uid::effective().is_root() {
        let like = fs::metadata(above)?;
        std::os::unix::fs::chown(directory, Some(like.uid()), Some(like.gid()))?;
    }
    Ok(())
}
