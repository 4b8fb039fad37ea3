//! What of a repository decides whether a push fits into it.
//!
//! **Invariant:** reads names, sizes and the configuration, and no object; what it walks was bounded when the repository was opened.
#![expect(clippy::disallowed_methods, reason = "effect room: looks at the sizes of a repository's files")]

use super::{
    Branch,
    hook::{Deletions, REPLACEMENTS, stands_in_the_way},
    repo::{Repo, RepoError},
};
use git2::ErrorCode;
use std::{fs, path::PathBuf};

/// References that are named to somebody; the others are like them.
const NAMED: usize = 3;

impl Repo {
    /// Whether git takes the deletion of a branch here (git-config(1), `receive.denyDeletes`).
    pub fn deletions(&self) -> Deletions {
        let config = self.inner.config().and_then(|mut config| config.snapshot());
        match config.is_ok_and(|config| config.get_bool("receive.denyDeletes").unwrap_or(false)) {
            true => Deletions::Refused,
            false => Deletions::Taken,
        }
    }

    /// References by which git shows another object in the place of one (git-replace(1)). They are not followed here.
    pub fn replacements(&self) -> Result<Vec<String>, RepoError> {
        self.named(|name| name.starts_with(REPLACEMENTS))
    }

    /// References that keep git from making the followed branch: a name cannot be a file and a directory.
    pub fn in_the_way_of(&self, followed: &Branch) -> Result<Vec<String>, RepoError> {
        self.named(|name| stands_in_the_way(name, followed))
    }

    fn named(&self, is_meant: impl Fn(&str) -> bool) -> Result<Vec<String>, RepoError> {
        let failed = |source| RepoError::Git { path: self.path.clone(), doing: "list the references", source };
        let mut references = self.inner.references().map_err(failed)?;
        let mut found = Vec::new();
        for name in references.names() {
            match name {
                Ok(name) if is_meant(name) => found.push(name.to_owned()),
                Ok(_) => {}
                // Its name is not UTF-8, which no name that is meant here is.
                Err(error) if error.code() == ErrorCode::GenericError => {}
                Err(error) => return Err(failed(error)),
            }
            if found.len() == NAMED {
                break;
            }
        }
        Ok(found)
    }

    /// How many bytes its objects take, those of the push that is being looked at included: git keeps these below the others until the
    /// push is taken (git-receive-pack(1), "quarantine").
    pub fn bytes_of_objects(&self) -> u64 {
        let (mut open, mut bytes) = (vec![self.objects()], 0_u64);
        while let Some(directory) = open.pop() {
            // What goes away meanwhile is a push that has ended.
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => open.push(entry.path()),
                    Ok(kind) if kind.is_file() => bytes = bytes.saturating_add(entry.metadata().map_or(0, |file| file.len())),
                    _ => {}
                }
            }
        }
        bytes
    }

    fn objects(&self) -> PathBuf {
        self.inner.path().join("objects")
    }
}
