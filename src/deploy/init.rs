//! Makes the repository that a café is pushed to.
//!
//! **Invariant:** may be run again at any time; never touches a commit or a branch, and replaces no hook that is not its own. When
//! it has ended, what it made survives a power cut, and so does every push that git has taken from then on. Of root it writes into
//! another user's repository with that user's rights alone: libgit2 follows links when it writes, and one led it to replace a device.
#![expect(clippy::disallowed_methods, reason = "effect room: makes a git repository with its hooks")]

use super::{
    Branch,
    odd_files::{self, Oddity},
    patience::Late,
    repo::open_there,
};
use crate::host::untrusted::read_untrusted;
use crate::observed::Seen;
use git2::{ErrorCode, Repository, RepositoryInitOptions};
use nix::unistd::{Gid, Uid, geteuid, setfsgid, setfsuid};
use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// The line by which a hook is known to be ours.
const MARK: &str = "# Written by `barista init`, which replaces it when it is run again.";

/// A hook is a script of a few lines; a compiled one is larger, and not ours.
const LARGEST_HOOK: u64 = 1 << 20;

/// A repository that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// It is there and has a work tree, which a push would leave behind.
    #[error("{} is there and not a bare repository", .0.display())]
    NotBare(PathBuf),
    /// A file of it is not what git makes there.
    #[error("{} {what}", file.display())]
    Odd {
        /// Which file.
        file: PathBuf,
        /// What it is.
        what: Oddity,
    },
    /// It was not read to its end in time.
    #[error(transparent)]
    Late(#[from] Late),
    /// A hook of that name is there and not ours.
    #[error("{} is there and was not written by barista", .0.display())]
    ForeignHook(PathBuf),
    /// A file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Git would not.
    #[error("cannot make {}", path.display())]
    Git {
        /// Which repository.
        path: PathBuf,
        /// What libgit2 says.
        #[source]
        source: git2::Error,
    },
}

/// A hook: its name and the command line it hands over to, each word as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// `pre-receive`, `post-receive`.
    pub name: &'static str,
    /// The program and its arguments.
    pub argv: Vec<String>,
}

/// What [`init`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initialised {
    /// There was nothing.
    New,
    /// There was a bare repository already.
    Existing,
}

/// What [`init`] makes or changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// What is there.
    pub found: Initialised,
    /// The branch that HEAD is to name; none where it stays.
    pub branch: Option<String>,
    /// Settings that are to change: the key, its value now and then.
    pub settings: Vec<(&'static str, Option<String>, &'static str)>,
    /// Hooks that are to change: the name, its text now and then.
    pub hooks: Vec<(&'static str, Option<String>, String)>,
}

/// What every repository that is pushed to has.
const SETTINGS: [(&str, &str); 7] = [
    ("receive.denyNonFastForwards", "true"),
    ("receive.denyDeletes", "true"),
    ("receive.fsckObjects", "true"),
    // A site is text; a push of more than this is a mistake that would fill the host's disk.
    ("receive.maxInputSize", "64m"),
    ("core.logAllRefUpdates", "true"),
    // Git leaves loose objects and references to the file system's own time; a power cut then leaves them empty (git-config(1)).
    ("core.fsync", "all"),
    ("core.fsyncMethod", "fsync"),
];

/// The branch of a new repository, unless another is named.
const FIRST_BRANCH: &str = "main";

/// The bare repository that is there, if there is one.
fn open(path: &Path) -> Result<Option<Repository>, InitError> {
    let root = odd_files::look(path).map_err(|(file, what)| InitError::Odd { file, what })?;
    match open_there(&root) {
        Ok(repository) if repository.is_bare() => Ok(Some(repository)),
        Ok(_) => Err(InitError::NotBare(path.to_owned())),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(source) => Err(InitError::Git { path: path.to_owned(), source }),
    }
}

/// Looks what [`init`] would do, and changes nothing; what it would refuse is refused here too.
pub fn preview(path: &Path, branch: Option<&Branch>, hooks: &[Hook]) -> Result<Preview, InitError> {
    let git = |source| InitError::Git { path: path.to_owned(), source };
    let repository = open(path)?;
    let (head, config) = match &repository {
        None => (None, None),
        Some(repository) => {
            let head = repository.find_reference("HEAD").map_err(git)?;
            let target = head.symbolic_target().ok().flatten().map(str::to_owned);
            (target, Some(repository.config().and_then(|mut config| config.snapshot()).map_err(git)?))
        }
    };
    let wanted = branch.map(Branch::reference).filter(|wanted| head.as_ref() != Some(wanted));
    let first = || format!("refs/heads/{FIRST_BRANCH}");
    let now = |key: &str| config.as_ref().and_then(|config| config.get_string(key).ok());
    let settings =
        SETTINGS.into_iter().map(|(key, value)| (key, now(key), value)).filter(|(_, now, value)| now.as_deref() != Some(value));
    let mut changed = Vec::new();
    for hook in hooks {
        let (before, after) = (existing_hook(&path.join("hooks"), hook)?, hook_text(hook));
        if before.as_ref() != Some(&after) {
            changed.push((hook.name, before, after));
        }
    }
    Ok(Preview {
        found: if repository.is_some() { Initialised::Existing } else { Initialised::New },
        branch: if repository.is_some() { wanted } else { Some(wanted.unwrap_or_else(first)) },
        settings: settings.collect(),
        hooks: changed,
    })
}

/// Makes a bare repository that follows `branch` (an existing one keeps its own unless one is given) with these hooks.
pub fn init(path: &Path, branch: Option<&Branch>, hooks: &[Hook]) -> Result<Initialised, InitError> {
    let _rights = OwnersRights::take(path);
    let git = |source| InitError::Git { path: path.to_owned(), source };
    let (repository, found) = match open(path)? {
        Some(repository) => (repository, Initialised::Existing),
        None => {
            let first = branch.map_or(FIRST_BRANCH, Branch::as_str);
            let mut options = RepositoryInitOptions::new();
            options.bare(true).mkpath(true).external_template(false).initial_head(first);
            (Repository::init_opts(path, &options).map_err(git)?, Initialised::New)
        }
    };
    if let Some(branch) = branch {
        repository.set_head(&branch.reference()).map_err(git)?;
    }
    let mut config = repository.config().map_err(git)?;
    for (key, value) in SETTINGS {
        config.set_str(key, value).map_err(git)?;
    }
    for hook in hooks {
        write_hook(&path.join("hooks"), hook)?;
    }
    sync(path, found)?;
    Ok(found)
}

/// The text of a hook of ours that is there; one that is not ours is refused.
fn existing_hook(directory: &Path, hook: &Hook) -> Result<Option<String>, InitError> {
    match read_untrusted(directory, hook.name, LARGEST_HOOK) {
        Seen::Present(there) if is_void(&there) || String::from_utf8_lossy(&there).contains(MARK) => {
            Ok(Some(String::from_utf8_lossy(&there).into_owned()))
        }
        Seen::Absent => Ok(None),
        Seen::Present(_) | Seen::Unreadable(_) => Err(InitError::ForeignHook(directory.join(hook.name))),
    }
}

fn hook_text(hook: &Hook) -> String {
    let words: Vec<String> = hook.argv.iter().map(|word| quote(word)).collect();
    format!("#!/bin/sh\n{MARK}\nexec {}\n", words.join(" "))
}

/// The file system seen with the rights of a repository's owner, by this thread, for as long as this lives (setfsuid(2)).
struct OwnersRights(Option<(Uid, Gid)>);

impl OwnersRights {
    /// Takes them where root works in a repository that is somebody else's.
    fn take(repository: &Path) -> Self {
        let owner = fs::metadata(repository).ok().filter(|metadata| geteuid().is_root() && metadata.uid() != 0);
        Self(owner.map(|owner| {
            // The group first: afterwards this thread may not.
            let group = setfsgid(Gid::from_raw(owner.gid()));
            (setfsuid(Uid::from_raw(owner.uid())), group)
        }))
    }
}

impl Drop for OwnersRights {
    fn drop(&mut self) {
        if let Some((user, group)) = self.0 {
            setfsuid(user);
            setfsgid(group);
        }
    }
}

fn write_hook(directory: &Path, hook: &Hook) -> Result<(), InitError> {
    let path = directory.join(hook.name);
    let failed = |source| InitError::Write { path: path.clone(), source };
    existing_hook(directory, hook)?;
    fs::create_dir_all(directory).map_err(failed)?;
    let text = hook_text(hook);
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o755)).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(&path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Whether a file is what a power cut leaves of one: nothing, or zeroes.
fn is_void(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0 || byte.is_ascii_whitespace())
}

/// Has the disk keep what was made: libgit2 leaves HEAD and config to the file system's own time. Of a repository that was there,
/// what lies deeper is git's.
fn sync(path: &Path, found: Initialised) -> Result<(), InitError> {
    let depth = match found {
        Initialised::New => usize::MAX,
        Initialised::Existing => 1,
    };
    sync_below(path, depth)?;
    sync_below(&path.join("hooks"), 1)?;
    // The directories above may be new too.
    path.ancestors().skip(1).take_while(|above| !above.as_os_str().is_empty()).try_for_each(sync_one)
}

fn sync_below(directory: &Path, depth: usize) -> Result<(), InitError> {
    let failed = |source| InitError::Write { path: directory.to_owned(), source };
    if depth > 0 {
        for entry in fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                sync_below(&entry.path(), depth - 1)?;
            } else if kind.is_file() {
                sync_one(&entry.path())?;
            }
        }
    }
    sync_one(directory)
}

fn sync_one(path: &Path) -> Result<(), InitError> {
    match fs::File::open(path).and_then(|file| file.sync_all()) {
        // What this user may not read was not made by this program.
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
            Err(InitError::Write { path: path.to_owned(), source: error })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether git runs a hook, and what it would find in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookState {
    /// It is there and may be run.
    Runs,
    /// It is not there.
    Missing,
    /// It holds nothing, as a power cut leaves a file that was not synced: git takes that for a hook that agrees.
    Empty,
    /// It may not be executed, so git passes it over.
    NotExecutable,
}

/// Looks at a hook of a repository, which others may write.
pub fn look_at_hook(repository: &Path, name: &str) -> HookState {
    let below = Path::new("hooks").join(name);
    let mode = fs::symlink_metadata(repository.join(&below)).map(|metadata| (metadata.is_symlink(), metadata.mode()));
    match (mode, read_untrusted(repository, &below, LARGEST_HOOK)) {
        (_, Seen::Absent) => HookState::Missing,
        (_, Seen::Present(bytes)) if is_void(&bytes) => HookState::Empty,
        (Ok((false, mode)), _) if mode & 0o111 == 0 => HookState::NotExecutable,
        _ => HookState::Runs,
    }
}

/// One word for the shell.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn a_word_stays_one_word_in_the_shell() {
        assert_eq!(quote("/usr/bin/barista"), "/usr/bin/barista");
        assert_eq!(quote("/srv/a café"), "'/srv/a café'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }
}
