//! Makes the repository that a café is pushed to.
//!
//! **Invariant:** may be run again at any time; never touches a commit or a branch, and replaces no hook that is not its own.
#![expect(clippy::disallowed_methods, reason = "effect room: makes a git repository with its hooks")]

use super::{Branch, repo::allow_any_owner};
use git2::{ErrorCode, Repository, RepositoryInitOptions};
use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// The line by which a hook is known to be ours.
const MARK: &str = "# Written by `barista init`, which replaces it when it is run again.";

/// A repository that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// It is there and has a work tree, which a push would leave behind.
    #[error("{} is there and not a bare repository", .0.display())]
    NotBare(PathBuf),
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

/// Makes a bare repository that follows `branch` (an existing one keeps its own unless one is given) with these hooks.
pub fn init(path: &Path, branch: Option<&Branch>, hooks: &[Hook]) -> Result<Initialised, InitError> {
    allow_any_owner();
    let git = |source| InitError::Git { path: path.to_owned(), source };
    let (repository, found) = match Repository::open(path) {
        Ok(repository) if repository.is_bare() => (repository, Initialised::Existing),
        Ok(_) => return Err(InitError::NotBare(path.to_owned())),
        Err(error) if error.code() == ErrorCode::NotFound => {
            let first = branch.map_or("main", Branch::as_str);
            let mut options = RepositoryInitOptions::new();
            options.bare(true).mkpath(true).external_template(false).initial_head(first);
            (Repository::init_opts(path, &options).map_err(git)?, Initialised::New)
        }
        Err(error) => return Err(git(error)),
    };
    if let Some(branch) = branch {
        repository.set_head(&branch.reference()).map_err(git)?;
    }
    let mut config = repository.config().map_err(git)?;
    for (key, value) in [
        ("receive.denyNonFastForwards", "true"),
        ("receive.denyDeletes", "true"),
        ("receive.fsckObjects", "true"),
        // A site is text; a push of more than this is a mistake that would fill the host's disk.
        ("receive.maxInputSize", "64m"),
        ("core.logAllRefUpdates", "true"),
    ] {
        config.set_str(key, value).map_err(git)?;
    }
    // Made here, so that the record written into it by root lies in a directory of whoever owns the repository, and their
    // own `git gc` can pack it.
    let records = path.join("refs/barista");
    fs::create_dir_all(&records).map_err(|source| InitError::Write { path: records, source })?;
    for hook in hooks {
        write_hook(&path.join("hooks"), hook)?;
    }
    Ok(found)
}

fn write_hook(directory: &Path, hook: &Hook) -> Result<(), InitError> {
    let path = directory.join(hook.name);
    let failed = |source| InitError::Write { path: path.clone(), source };
    match fs::read(&path) {
        Ok(there) if !String::from_utf8_lossy(&there).contains(MARK) => return Err(InitError::ForeignHook(path)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(_) | Err(_) => {}
    }
    fs::create_dir_all(directory).map_err(failed)?;
    let words: Vec<String> = hook.argv.iter().map(|word| quote(word)).collect();
    let text = format!("#!/bin/sh\n{MARK}\nexec {}\n", words.join(" "));
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o755)).map_err(failed)?;
    file.persist(&path).map_err(|error| failed(error.error))?;
    Ok(())
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
