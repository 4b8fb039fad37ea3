//! Locks of references that git left behind when the power went: with one of them there, git takes no push any more.
//!
//! **Invariant:** only a lock that is older than this boot of the host is removed: whoever made it is gone for certain.
#![expect(clippy::disallowed_methods, reason = "effect room: removes files that git left")]

use super::hook::RefUpdate;
use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// How much the clock may have been set since the file was made and still show which is older.
const DOUBT: Duration = Duration::from_secs(5);

/// Removes what keeps these references from being moved; what was removed.
pub fn remove(repository: &Path, updates: &[RefUpdate], since_boot: Duration) -> Vec<PathBuf> {
    let Some(booted) = SystemTime::now().checked_sub(since_boot + DOUBT) else { return Vec::new() };
    let is_plain = |name: &&str| name.starts_with("refs/") && !name.split('/').any(|part| part.is_empty() || part == "..");
    let names = updates.iter().map(|update| update.name.as_str()).filter(is_plain).chain(["HEAD", "packed-refs"]);
    let locks = names.map(|name| repository.join(format!("{name}.lock")));
    locks.filter(|lock| is_older(lock, booted) && fs::remove_file(lock).is_ok()).collect()
}

fn is_older(lock: &Path, booted: SystemTime) -> bool {
    let made =
        fs::symlink_metadata(lock).ok().filter(|metadata| metadata.is_file()).and_then(|metadata| metadata.modified().ok());
    made.is_some_and(|made| made < booted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lock_that_is_older_than_the_boot_goes() {
        let root = tempfile::tempdir().expect("a directory");
        let lock = root.path().join("refs/heads/main.lock");
        fs::create_dir_all(lock.parent().expect("has one")).expect("made");
        fs::write(&lock, "").expect("made");
        let update = RefUpdate { old: None, new: None, name: "refs/heads/main".into() };
        let hour = Duration::from_secs(3600);
        assert_eq!(remove(root.path(), std::slice::from_ref(&update), hour), Vec::<PathBuf>::new(), "a push is under way");
        let file = fs::File::options().write(true).open(&lock).expect("opens");
        file.set_modified(SystemTime::now() - 2 * hour).expect("set");
        let outside = RefUpdate { old: None, new: None, name: "refs/../../x".into() };
        assert_eq!(remove(&root.path().join("refs"), &[outside], hour), Vec::<PathBuf>::new());
        assert_eq!(remove(root.path(), std::slice::from_ref(&update), hour), std::slice::from_ref(&lock));
        assert!(!lock.exists());
    }
}
