//! The text of a site, from a directory or from a commit.

use super::{
    elsewhere,
    failure::{Failure, print_wrong},
};
use crate::deploy::{
    directory::{self, DirectoryError},
    patience::{FOR_FILES, Late, within},
    repo::{Repo, RepoError},
};
use crate::host::judge_paths;
use crate::plan::Revision;
use crate::site::{Checked, Tree};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where a site's text is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Source {
    /// A directory, as it lies there.
    Directory(PathBuf),
    /// A commit of a repository.
    Commit {
        /// The repository.
        repo: PathBuf,
        /// The commit, in git's notation.
        revision: String,
    },
}

/// A site's text and which state of it this is.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// Its files.
    pub tree: Tree,
    /// Which state of it.
    pub revision: Revision,
}

impl Source {
    /// Reads the text.
    pub fn read(&self) -> Result<Text, Failure> {
        self.read_from(Repo::open)
    }

    /// The same where git runs a hook, with the objects of the push (git-receive-pack(1), quarantine).
    pub fn read_pushed(&self) -> Result<Text, Failure> {
        self.read_from(Repo::open_for_hook)
    }

    fn read_from(&self, open: fn(&Path) -> Result<Repo, RepoError>) -> Result<Text, Failure> {
        match self {
            Self::Directory(path) => {
                let tree = read_directory(path)?;
                Ok(Text { tree, revision: Revision { id: "uncommitted".to_owned(), subject: String::new() } })
            }
            Self::Commit { repo, revision } => {
                let (path, revision) = (repo.clone(), revision.clone());
                let read = within(repo, FOR_FILES, move || {
                    let repo = open(&path)?;
                    let commit = repo.resolve(&revision)?;
                    let tree = repo.tree(&commit.id)?;
                    Ok((commit, tree))
                });
                let (commit, tree) = read.map_err(explain)?;
                Ok(Text { tree, revision: Revision { id: commit.id.to_string(), subject: commit.subject } })
            }
        }
    }

    /// The same place, whatever directory the program is started in and wherever the branch moves.
    pub fn pinned(&self, text: &Text) -> Self {
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        match self {
            Self::Directory(path) => Self::Directory(absolute(path)),
            Self::Commit { repo, .. } => Self::Commit { repo: absolute(repo), revision: text.revision.id.clone() },
        }
    }
}

/// The site a text stands for; a refusal when it has an error. Warnings go to standard error.
pub(super) fn load(text: &Text) -> Result<crate::site::Site, Failure> {
    accept(crate::site::load(&text.tree))
}

/// The same on the server of this state directory, which does not allow every path.
pub(super) fn load_on_host(text: &Text, state: &Path) -> Result<crate::site::Site, Failure> {
    accept(judge_paths(crate::site::load(&text.tree), state))
}

fn accept(checked: Checked) -> Result<crate::site::Site, Failure> {
    let Checked { site, findings, .. } = checked;
    let Some(site) = site else { return Err(Failure::Findings(findings)) };
    print_wrong(&findings);
    Ok(site)
}

/// The files of a site's directory; a refusal where it is none, with the one that is near.
pub(super) fn read_directory(path: &Path) -> Result<Tree, Failure> {
    directory::expect_site(path).and_then(|()| directory::read(path)).map_err(explain_directory)
}

/// An error of a directory with what to do about it.
pub(super) fn explain_directory(error: DirectoryError) -> Failure {
    if let DirectoryError::List { path, .. } = &error
        && let Err(refused) =
            elsewhere::refuse(path, "a site is a directory of this one", "name a work tree of it here: --site cafe")
    {
        return refused;
    }
    let hint = match &error {
        DirectoryError::Repository { path } => format!("name it with --repo: --repo {}", path.display()),
        DirectoryError::File { path } => match path.parent().filter(|_| path.ends_with("site.toml")) {
            Some(above) if !above.as_os_str().is_empty() => {
                format!("name the directory that it lies in: --site {}", above.display())
            }
            _ => "name the site's directory with --site".to_owned(),
        },
        DirectoryError::NoSite { near: Some(near), .. } => format!("the site is {0}: write --site {0}", near.display()),
        _ => "name the site's directory with --site".to_owned(),
    };
    Failure::hinted(error, hint)
}

/// What to do about a repository of another computer.
const RUN_THERE: &str = "run it there, with the repository's path; or name a work tree of it with --site";

/// An error of a repository with what to do about it.
pub(super) fn explain(error: RepoError) -> Failure {
    if let RepoError::Missing(path) = &error
        && let Err(refused) = elsewhere::refuse(path, "this command reads repositories of this one", RUN_THERE)
    {
        return refused;
    }
    let hint = match &error {
        RepoError::Missing(path) if path.join("site.toml").is_file() => {
            format!("{0} is a site's directory: name it with --site {0}", path.display())
        }
        RepoError::Missing(path) => format!("make it with `barista init {}`", path.display()),
        RepoError::Format { .. } => {
            "make the repository with `git init --bare --ref-format=files --object-format=sha1`, or with `barista init`"
                .to_owned()
        }
        RepoError::NoCommit { .. } => "push a commit, or name one with --rev".to_owned(),
        RepoError::NoBranch(path) => format!("`git -C {} symbolic-ref HEAD refs/heads/main`", path.display()),
        RepoError::Ambiguous { .. } => {
            "name the one that is meant by all 40 digits of its id, or by its full name, such as refs/heads/main".to_owned()
        }
        RepoError::Odd { file, what, .. } => what.mend(file),
        RepoError::Late(Late(path)) => format!("look for the file: find {} ! -type f ! -type d", path.display()),
        RepoError::TooMuch { .. } => "keep images and other large files out of the site's repository".to_owned(),
        RepoError::Git { path, .. } => {
            format!(
                "look with `barista doctor --repo {0}`; or move it away, make it anew with `barista init {0}`, and push again",
                path.display()
            )
        }
    };
    Failure::hinted(error, hint)
}
