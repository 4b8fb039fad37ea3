//! What an operator's name for a commit means, where whoever pushes may make names too.
//!
//! Follows gitrevisions(7), but for one thing: where git takes the first of several meanings and warns, nothing is taken. **Invariant:**
//! a name has one meaning or is refused with both, so that no branch or tag that somebody pushes changes what `main`, or an abbreviated
//! id that was shown, stands for. A full id, a full reference name and HEAD have one meaning always.

use super::{
    Commit, LARGEST_COMMIT,
    repo::{Repo, RepoError, excerpt},
};
use git2::{ErrorCode, ObjectType, Oid};
use std::collections::BTreeMap;

/// Where git looks for a name, in its order (gitrevisions(7), "refname"): what stands before it, and after it. What is refused at a push
/// follows from the same list.
const PLACES: [(&str, &str); 6] =
    [("", ""), ("refs/", ""), ("refs/tags/", ""), ("refs/heads/", ""), ("refs/remotes/", ""), ("refs/remotes/", "/HEAD")];

/// The shortest abbreviation of an id that git takes, and the length of a whole one.
const SHORTEST_ID: usize = 4;
const WHOLE_ID: usize = 40;

/// Tags of tags that are followed.
const MOST_TAGS: usize = 8;

/// The short names by which a reference is found, each with what stands before it in the full name.
pub(super) fn short_names(full: &str) -> impl Iterator<Item = (&'static str, &str)> {
    let named = PLACES.iter().filter(|(before, _)| !before.is_empty());
    named.filter_map(move |(before, after)| Some((*before, full.strip_prefix(before)?.strip_suffix(after)?)))
}

/// Whether a short name reads as the longer name of a reference elsewhere: `heads/main`, `refs/tags/v1`.
pub(super) fn reads_as_place(short: &str) -> bool {
    let places = PLACES.iter().filter(|(before, _)| !before.is_empty());
    places.into_iter().any(|(before, _)| {
        let within = before.strip_prefix("refs/").filter(|within| !within.is_empty());
        short.starts_with(before) || within.is_some_and(|within| short.starts_with(within))
    })
}

/// Whether a name reads as the id of a commit, whole or abbreviated.
pub fn reads_as_id(name: &str) -> bool {
    (SHORTEST_ID..=WHOLE_ID).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Repo {
    /// The commit a revision names, in git's own notation: `main`, `HEAD~1`, `4f2c1e9`.
    pub fn resolve(&self, revision: &str) -> Result<Commit, RepoError> {
        let missing = || RepoError::NoCommit { path: self.path.clone(), revision: excerpt(revision) };
        let (name, rest) = revision.split_at(revision.find(['~', '^', '@', ':']).unwrap_or(revision.len()));
        let meant = match self.meaning(name)? {
            Some(meant) => meant + rest,
            None => revision.to_owned(),
        };
        let id = match Oid::from_str(&meant) {
            Ok(id) if meant.len() == WHOLE_ID => id,
            _ => self.inner.revparse_single(&meant).map_err(|_| missing())?.id(),
        };
        let id = self.peel(id).ok_or_else(missing)?.to_string().parse().map_err(|_| missing())?;
        let commit = self.commit(&id)?;
        let subject = excerpt(&String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default()));
        Ok(Commit { id, subject })
    }

    /// The one full name, or whole id, that a short name stands for; none where only libgit2 may know a meaning.
    fn meaning(&self, name: &str) -> Result<Option<String>, RepoError> {
        if name.is_empty() || name == "HEAD" || name.starts_with("refs/") || (name.len() == WHOLE_ID && reads_as_id(name)) {
            return Ok(None);
        }
        let ambiguous =
            |one: String, other: String| RepoError::Ambiguous { path: self.path.clone(), revision: excerpt(name), one, other };
        // Each commit that it may mean, by the first name of it that git would try.
        let mut meanings: BTreeMap<Oid, String> = BTreeMap::new();
        if reads_as_id(name) {
            match self.inner.find_object_by_prefix(name, None) {
                Ok(object) => meanings.extend(self.peel(object.id()).map(|id| (id, id.to_string()))),
                Err(error) if error.code() == ErrorCode::Ambiguous => {
                    return Err(ambiguous("one object".to_owned(), "another whose id begins so".to_owned()));
                }
                Err(_) => {}
            }
        }
        for (before, after) in PLACES {
            let full = format!("{before}{name}{after}");
            let target = self.inner.refname_to_id(&full).ok().and_then(|id| self.peel(id));
            if let Some(id) = target {
                meanings.entry(id).or_insert(full);
            }
        }
        let shown = |(id, name): (&Oid, &String)| {
            let id = id.to_string();
            if *name == id { format!("the commit {id}") } else { format!("{name}, which is at {id}") }
        };
        let mut each = meanings.iter();
        match (each.next(), each.next()) {
            (Some(one), Some(other)) => Err(ambiguous(shown(one), shown(other))),
            (one, _) => Ok(one.map(|(_, name)| name.clone())),
        }
    }

    /// The commit that an object is, or that a tag leads to.
    fn peel(&self, id: Oid) -> Option<Oid> {
        let odb = self.inner.odb().ok()?;
        let mut id = id;
        for _ in 0..MOST_TAGS {
            match odb.read_header(id).ok()? {
                (_, ObjectType::Commit) => return Some(id),
                (size, ObjectType::Tag) if size <= LARGEST_COMMIT => id = self.inner.find_tag(id).ok()?.target_id(),
                _ => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_to_forty_hex_digits_read_as_an_id() {
        for (name, is) in [("951b1ff", true), ("CAFE", true), ("caf", false), ("main", false), ("v1.0", false), ("", false)] {
            assert_eq!(reads_as_id(name), is, "{name}");
        }
        assert!(reads_as_id(&"a".repeat(40)) && !reads_as_id(&"a".repeat(41)));
    }
}
