//! Locks of references that git left behind when the power went: with one of them there, git takes no push any more.
//!
//! **Invariant:** only a lock that is older than this boot of the host is removed: whoever made it is gone for certain. No link is
//! followed on the way to it.
#![expect(clippy::disallowed_methods, reason = "effect room: removes files that git left")]

use super::hook::RefUpdate;
use crate::host::untrusted::remove_untrusted;
use rustix::fs::Stat;
use std::{
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
    // Whoever owns the repository may have put a link in the place of a directory, to have root remove a file elsewhere.
    let locks = names.map(|name| format!("{name}.lock"));
    let removed = locks.filter(|lock| remove_untrusted(repository, lock, |stat| is_older(stat, booted)));
    removed.map(|lock| repository.join(lock)).collect()
}

fn is_older(lock: &Stat, booted: SystemTime) -> bool {
    let seconds = u64::try_from(lock.st_mtime).unwrap_or(0);
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) < booted
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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

    #[test]
    fn no_link_leads_the_removal_out_of_the_repository() {
        let root = tempfile::tempdir().expect("a directory");
        let (repository, outside) = (root.path().join("x.git"), root.path().join("outside"));
        for directory in [repository.join("refs"), outside.clone()] {
            fs::create_dir_all(directory).expect("made");
        }
        std::os::unix::fs::symlink(&outside, repository.join("refs/heads")).expect("linked");
        let lock = outside.join("main.lock");
        let file = fs::File::create(&lock).expect("made");
        file.set_modified(SystemTime::now() - Duration::from_secs(7200)).expect("set");
        let update = RefUpdate { old: None, new: None, name: "refs/heads/main".into() };
        assert_eq!(remove(&repository, &[update], Duration::from_secs(3600)), Vec::<PathBuf>::new());
        assert!(lock.exists());
    }
}
