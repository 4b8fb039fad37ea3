//! Reads commits of a git repository.
//!
//! **Invariant:** reads objects and references only: no hook, filter, attribute or submodule of the repository takes effect, and
//! nothing is ever written. A repository may belong to somebody else, which is the normal case for an agent that runs as root.
#![expect(clippy::disallowed_methods, reason = "effect room: reads git repositories")]

use super::{
    Branch, CommitId, DEEPEST, Gathered, LARGEST_COMMIT, LARGEST_FILE, LARGEST_TREE, LONGEST_PATH, MOST_COMMITS, TooMuch, join,
    odd_files::{self, Oddity},
    patience::Late,
    select::{Ancestry, Head, History},
    too_large,
};
use crate::names::clean;
use crate::site::{Entry, Tree};
use git2::{ConfigLevel, ErrorCode, ObjectType, Odb, Oid, Repository, RepositoryOpenFlags};
use std::{
    collections::BTreeSet,
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Once,
};

/// The reference in which earlier versions of this program recorded the commit applied last.
const APPLIED: &str = "refs/barista/applied";

/// A repository that cannot be read, or does not hold what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    /// There is none.
    #[error("{} is not a git repository", .0.display())]
    Missing(PathBuf),
    /// Its format is newer than this program.
    #[error("{} is kept in a format this program does not read ({reason})", path.display())]
    Format {
        /// Which repository.
        path: PathBuf,
        /// What libgit2 says of it.
        reason: String,
    },
    /// It does not know this revision.
    #[error("{} knows no commit {revision}", path.display())]
    NoCommit {
        /// Which repository.
        path: PathBuf,
        /// What was asked for.
        revision: String,
    },
    /// More than one commit has this name.
    #[error("{revision} has two meanings in {}: {one}; {other}", path.display())]
    Ambiguous {
        /// Which repository.
        path: PathBuf,
        /// What was asked for.
        revision: String,
        /// One meaning.
        one: String,
        /// Another.
        other: String,
    },
    /// Its HEAD does not name a branch that can be followed.
    #[error("{}: HEAD names no branch to follow", .0.display())]
    NoBranch(PathBuf),
    /// A commit is past a bound.
    #[error("commit {commit} {reason} ({at})")]
    TooMuch {
        /// Which.
        commit: String,
        /// Where in it the bound was passed.
        at: String,
        /// The bound.
        reason: TooMuch,
    },
    /// A file of it is not what git makes there.
    #[error("{}: {} {what}", path.display(), file.display())]
    Odd {
        /// Which repository.
        path: PathBuf,
        /// Which file.
        file: PathBuf,
        /// What it is.
        what: Oddity,
    },
    /// It was not read to its end in time: some file of it blocks.
    #[error(transparent)]
    Late(#[from] Late),
    /// Anything else.
    #[error("cannot {doing} of {}", path.display())]
    Git {
        /// Which repository.
        path: PathBuf,
        /// What was done: "read the branch".
        doing: &'static str,
        /// What libgit2 says.
        #[source]
        source: git2::Error,
    },
}

/// An open repository.
pub struct Repo {
    pub(super) inner: Repository,
    pub(super) path: PathBuf,
}

impl Repo {
    /// Opens a repository, bare or not; it may belong to anybody.
    pub fn open(path: &Path) -> Result<Self, RepoError> {
        let odd = |(file, what)| RepoError::Odd { path: path.to_owned(), file, what };
        let root = odd_files::look(path).map_err(odd)?;
        match open_there(&root) {
            // Somebody has put it there since.
            Ok(inner) if inner.path() != inner.commondir() => Err(odd((root.join("commondir"), Oddity::Elsewhere))),
            Ok(inner) => Ok(Self { inner, path: path.to_owned() }),
            Err(error) if error.code() == ErrorCode::NotFound => Err(RepoError::Missing(path.to_owned())),
            Err(error) if is_format(&error) => {
                Err(RepoError::Format { path: path.to_owned(), reason: error.message().to_owned() })
            }
            Err(source) => Err(RepoError::Git { path: path.to_owned(), doing: "open the repository", source }),
        }
    }

    /// Opens the repository in which git runs a hook, with the objects of the push that is still in quarantine
    /// (git-receive-pack(1)); they are gone if the hook refuses.
    pub fn open_for_hook(path: &Path) -> Result<Self, RepoError> {
        let repo = Self::open(path)?;
        let own = env::var_os("GIT_OBJECT_DIRECTORY").into_iter().map(PathBuf::from);
        let listed = env::var_os("GIT_ALTERNATE_OBJECT_DIRECTORIES");
        let alternates = listed.iter().flat_map(env::split_paths).filter(|p| !p.as_os_str().is_empty());
        let quarantine = env::var_os("GIT_QUARANTINE_PATH").into_iter().map(PathBuf::from);
        let odb = repo.inner.odb().map_err(|e| repo.error("open the objects", e))?;
        for directory in own.chain(quarantine).chain(alternates) {
            let directory = std::path::absolute(&directory).unwrap_or(directory);
            odb.add_disk_alternate(&directory.to_string_lossy()).map_err(|e| repo.error("open the pushed objects", e))?;
        }
        drop(odb);
        Ok(repo)
    }

    /// A repository of these objects and nothing else: no reference and no configuration.
    pub fn of_objects(objects: Odb<'_>) -> Result<Self, RepoError> {
        let path = PathBuf::from("objects");
        match Repository::from_odb(objects) {
            Ok(inner) => Ok(Self { inner, path }),
            Err(source) => Err(RepoError::Git { path, doing: "open the objects", source }),
        }
    }

    /// The branch that HEAD names: the one that is followed. It need not have a commit yet.
    pub fn followed(&self) -> Result<Branch, RepoError> {
        let head = self.inner.find_reference("HEAD").map_err(|e| self.error("read the HEAD", e))?;
        let target = head.symbolic_target().ok().flatten();
        target.and_then(|name| name.parse().ok()).ok_or_else(|| RepoError::NoBranch(self.path.clone()))
    }

    /// Where the branch is, and how that stands to what was applied.
    pub fn head(&self, branch: &Branch, history: &History) -> Result<Head, RepoError> {
        match self.commit_of(branch)? {
            None => Ok(Head::Absent),
            Some(commit) => {
                let ancestry = self.ancestry_in(&commit, history)?;
                Ok(Head::At(commit, ancestry))
            }
        }
    }

    /// The commit a branch is at, if it has one.
    pub fn commit_of(&self, branch: &Branch) -> Result<Option<CommitId>, RepoError> {
        self.reference(&branch.reference())
    }

    /// How many references it has.
    pub fn count_references(&self) -> Result<usize, RepoError> {
        let mut found = self.inner.references().map_err(|e| self.error("list the references", e))?;
        Ok(found.names().count())
    }

    /// How a commit stands to what was applied. What somebody accepted as it is counts as a descendant, and so does what descends
    /// from that; where the empty branch was accepted, whatever comes onto it.
    pub fn ancestry_in(&self, commit: &CommitId, history: &History) -> Result<Ancestry, RepoError> {
        let ancestry = self.ancestry(commit, history.applied.as_ref())?;
        match &history.accepted {
            Some(accepted) if *accepted == CommitId::unborn() && ancestry == Ancestry::Diverged => Ok(Ancestry::Descends),
            Some(accepted) if ancestry == Ancestry::Diverged => match self.ancestry(commit, Some(accepted))? {
                Ancestry::Same | Ancestry::Descends => Ok(Ancestry::Descends),
                Ancestry::First | Ancestry::Diverged => Ok(Ancestry::Diverged),
            },
            _ => Ok(ancestry),
        }
    }

    /// How a commit stands to an older one.
    pub fn ancestry(&self, commit: &CommitId, older: Option<&CommitId>) -> Result<Ancestry, RepoError> {
        let Some(older) = older else { return Ok(Ancestry::First) };
        if older == commit {
            return Ok(Ancestry::Same);
        }
        let find = |commit: &CommitId| self.commit(commit);
        find(commit)?;
        match find(older) {
            // It was never here, as in a repository that was made anew. Damage shows itself in another way.
            Err(RepoError::Git { source, .. }) if source.code() == ErrorCode::NotFound => return Ok(Ancestry::Diverged),
            found => drop(found?),
        }
        match self.is_ancestor(self.oid(older)?, commit)? {
            true => Ok(Ancestry::Descends),
            false => Ok(Ancestry::Diverged),
        }
    }

    /// Whether a commit is among those before another. Each is read only when its object is no larger than a commit's is, which
    /// libgit2's own search does not ask: the parent of a commit may unfold to gigabytes as well as the commit itself.
    fn is_ancestor(&self, older: Oid, commit: &CommitId) -> Result<bool, RepoError> {
        // The newest first, by what they say of themselves: the order decides how soon the answer is known, and nothing else.
        let mut open = BTreeSet::from([(0, self.oid(commit)?)]);
        let mut seen = BTreeSet::new();
        while let Some((_, id)) = open.pop_last() {
            if id == older {
                return Ok(true);
            }
            if !seen.insert(id) {
                continue;
            }
            if seen.len() > MOST_COMMITS {
                let (commit, at) = (commit.short().to_owned(), "its history".to_owned());
                return Err(RepoError::TooMuch { commit, at, reason: TooMuch::History });
            }
            self.bound_object(commit, id, LARGEST_COMMIT, "its history", TooMuch::Message)?;
            let found = self.inner.find_commit(id).map_err(|e| self.error("compare commits", e))?;
            // Ids are enough for what has none of its own yet: it is read when its turn comes.
            open.extend(found.parent_ids().map(|parent| (found.time().seconds(), parent)));
        }
        Ok(false)
    }

    /// The commit applied last by an earlier version of this program, which kept its record in the repository.
    pub fn applied_by_earlier_version(&self) -> Result<Option<CommitId>, RepoError> {
        self.reference(APPLIED)
    }

    /// Whether git writes what is pushed through to the disk before it says that it has it.
    pub fn is_durable(&self) -> bool {
        let config = self.inner.config().and_then(|mut config| config.snapshot());
        config.is_ok_and(|config| config.get_str("core.fsync").is_ok_and(|value| value == "all"))
    }

    /// The files of a commit.
    pub fn tree(&self, commit: &CommitId) -> Result<Tree, RepoError> {
        let found = self.commit(commit)?;
        self.bound_object(commit, found.tree_id(), LARGEST_TREE, "its root", TooMuch::Directory)?;
        let root = found.tree().map_err(|e| self.error("read a tree", e))?;
        let mut gathered = Gathered::default();
        self.walk(commit, &root, "", 0, &mut gathered)?;
        Ok(gathered.tree)
    }

    fn walk(
        &self,
        commit: &CommitId,
        tree: &git2::Tree<'_>,
        prefix: &str,
        depth: usize,
        into: &mut Gathered,
    ) -> Result<(), RepoError> {
        let bound = |reason, at: &str| RepoError::TooMuch { commit: commit.short().to_owned(), at: excerpt(at), reason };
        if depth > DEEPEST {
            return Err(bound(TooMuch::Depth, prefix));
        }
        for entry in tree {
            let path = join(prefix, &String::from_utf8_lossy(entry.name_bytes()));
            if entry.kind() == Some(ObjectType::Tree) && entry.name().is_ok() {
                into.count_directory().map_err(|reason| bound(reason, &path))?;
                if path.len() > LONGEST_PATH {
                    return Err(bound(TooMuch::Path, &path));
                }
                self.bound_object(commit, entry.id(), LARGEST_TREE, &path, TooMuch::Directory)?;
                let below = self.inner.find_tree(entry.id()).map_err(|e| self.error("read a tree", e))?;
                self.walk(commit, &below, &path, depth + 1, into)?;
                continue;
            }
            let read =
                if entry.name().is_ok() { self.entry(&entry)? } else { Entry::Unreadable("its name is not UTF-8".to_owned()) };
            let at = path.clone();
            into.add(path, read).map_err(|reason| bound(reason, &at))?;
        }
        Ok(())
    }

    /// A commit, unless its object is larger than a commit's is.
    pub(super) fn commit(&self, commit: &CommitId) -> Result<git2::Commit<'_>, RepoError> {
        let id = self.oid(commit)?;
        self.bound_object(commit, id, LARGEST_COMMIT, "its message", TooMuch::Message)?;
        self.inner.find_commit(id).map_err(|e| self.error("read a commit", e))
    }

    /// Refuses an object that is larger than this, before it is read: a few kilobytes of a pack unfold to any size.
    fn bound_object(&self, commit: &CommitId, id: Oid, most: usize, at: &str, reason: TooMuch) -> Result<(), RepoError> {
        let odb = self.inner.odb().map_err(|e| self.error("open the objects", e))?;
        let (size, _) = odb.read_header(id).map_err(|e| self.error("read an object", e))?;
        match size > most {
            true => Err(RepoError::TooMuch { commit: commit.short().to_owned(), at: excerpt(at), reason }),
            false => Ok(()),
        }
    }

    fn entry(&self, entry: &git2::TreeEntry<'_>) -> Result<Entry, RepoError> {
        if entry.kind() == Some(ObjectType::Commit) {
            return Ok(Entry::Unreadable("a submodule; barista reads the files of the commit itself".to_owned()));
        }
        let odb = self.inner.odb().map_err(|e| self.error("open the objects", e))?;
        let (size, _) = odb.read_header(entry.id()).map_err(|e| self.error("read a file", e))?;
        if size as u64 > LARGEST_FILE {
            return Ok(too_large(size as u64));
        }
        let bytes = odb.read(entry.id()).map_err(|e| self.error("read a file", e))?.data().to_vec();
        // A link is a blob with this mode whose content is where it leads (gitformat-index, "120000").
        const LINK: i32 = 0o120_000;
        Ok(if entry.filemode() == LINK {
            Entry::Symlink(String::from_utf8_lossy(&bytes).into_owned())
        } else {
            Entry::File(bytes)
        })
    }

    fn reference(&self, name: &str) -> Result<Option<CommitId>, RepoError> {
        match self.inner.refname_to_id(name) {
            Ok(id) => Ok(id.to_string().parse().ok()),
            Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
            Err(error) => Err(self.error("read a reference", error)),
        }
    }

    fn oid(&self, commit: &CommitId) -> Result<Oid, RepoError> {
        Oid::from_str(commit.as_str()).map_err(|e| self.error("read a commit id", e))
    }

    fn error(&self, doing: &'static str, source: git2::Error) -> RepoError {
        RepoError::Git { path: self.path.clone(), doing, source }
    }
}

/// Whether nothing in a repository would lead whoever reads it elsewhere, or hold him up.
pub fn is_plain(repository: &Path) -> bool {
    odd_files::look(repository).is_ok()
}

/// The beginning of a path, fit for a sentence.
pub(super) fn excerpt(path: &str) -> String {
    clean(&path.chars().take(120).collect::<String>())
}

/// Whether libgit2 refuses the repository because of how it is kept: reftable, SHA-256, partial clones.
fn is_format(error: &git2::Error) -> bool {
    let message = error.message();
    ["extension", "object format", "objectformat", "repository version", "reftable"].iter().any(|word| message.contains(word))
}

/// Opens the repository in this very directory: neither above it nor below.
pub(super) fn open_there(root: &Path) -> Result<Repository, git2::Error> {
    allow_any_owner();
    Repository::open_ext(root, RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::NO_DOTGIT, std::iter::empty::<&OsStr>())
}

/// Lets libgit2 open repositories of other users, and read no configuration but theirs. Git refuses them because opening one may run
/// what its configuration names; libgit2 runs nothing, and this room reads objects and references only. The configuration of whoever
/// runs this program, such as root's, says nothing of a café, and cannot be read with the rights of a repository's owner.
pub(super) fn allow_any_owner() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[expect(unsafe_code, reason = "globals of libgit2, set once, before any other call of this room")]
        // SAFETY: the settings are plain globals; `Once` keeps writers apart and every reader comes after it.
        let set = unsafe {
            let levels = [ConfigLevel::System, ConfigLevel::XDG, ConfigLevel::Global, ConfigLevel::ProgramData];
            let own = levels.into_iter().try_for_each(|level| git2::opts::set_search_path(level, ""));
            own.and(git2::opts::set_verify_owner_validation(false))
        };
        if let Err(error) = set {
            tracing::warn!(%error, "libgit2 will not open repositories of other users");
        }
    });
}
