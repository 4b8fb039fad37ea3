//! Locks of references that git left behind when the power went: with one of them there, git takes no push any more.
//!
//! **Invariant:** only a lock that is older than this boot of the host is removed: whoever made it is gone for certain. Files bear the
//! time of a clock that may be set, so a lock is older only by both measures: than now less the time since the boot, which a step
//! forward makes too late and a step back makes right, and than what the kernel itself made while it booted, the other way round. No
//! link is followed on the way to it.
#![expect(clippy::disallowed_methods, reason = "effect room: removes files that git left")]

use super::hook::RefUpdate;
use crate::host::untrusted::remove_untrusted;
use rustix::fs::Stat;
use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// How much the clock may have been set since the file was made and still show which is older.
const DOUBT: Duration = Duration::from_secs(5);

/// Devices that the kernel makes before any other program runs, in devtmpfs.
const MADE_AT_BOOT: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/full"];

/// The earliest time that a file made in this boot can bear.
#[derive(Debug, Clone, Copy)]
pub struct Booted {
    /// Now, less the time since the boot.
    by_clock: SystemTime,
    /// When the kernel made its first files.
    by_files: SystemTime,
}

impl Booted {
    /// For this boot, which was so long ago; none where that cannot be told, and then no lock is old.
    pub fn look(since_boot: Duration) -> Option<Self> {
        let made = MADE_AT_BOOT.iter().filter_map(|path| fs::metadata(path).ok()).map(|metadata| seconds(metadata.mtime()));
        Some(Self { by_clock: SystemTime::now().checked_sub(since_boot + DOUBT)?, by_files: made.min()? })
    }
}

/// Removes what keeps these references from being moved; what was removed.
pub fn remove(repository: &Path, updates: &[RefUpdate], booted: Booted) -> Vec<PathBuf> {
    let is_plain = |name: &&str| name.starts_with("refs/") && !name.split('/').any(|part| part.is_empty() || part == "..");
    let names = updates.iter().map(|update| update.name.as_str()).filter(is_plain).chain(["HEAD", "packed-refs"]);
    // Whoever owns the repository may have put a link in the place of a directory, to have root remove a file elsewhere.
    let locks = names.map(|name| format!("{name}.lock"));
    let removed = locks.filter(|lock| remove_untrusted(repository, lock, |stat| is_older(stat, booted)));
    removed.map(|lock| repository.join(lock)).collect()
}

fn is_older(lock: &Stat, booted: Booted) -> bool {
    let made = seconds(lock.st_mtime);
    made < booted.by_clock && made < booted.by_files
}

fn seconds(since_epoch: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(since_epoch).unwrap_or(0))
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
        let now = SystemTime::now();
        let booted = Booted { by_clock: now - hour, by_files: now - hour };
        let spares = |booted, why: &str| {
            assert_eq!(remove(root.path(), std::slice::from_ref(&update), booted), Vec::<PathBuf>::new(), "{why}");
        };
        spares(booted, "a push is under way");
        let day = 24 * hour;
        spares(Booted { by_clock: now + day, ..booted }, "a push is under way, and the clock was set forward meanwhile");
        spares(Booted { by_files: now + day, ..booted }, "a push is under way, and the clock was set back meanwhile");
        let file = fs::File::options().write(true).open(&lock).expect("opens");
        file.set_modified(SystemTime::now() - 2 * hour).expect("set");
        let outside = RefUpdate { old: None, new: None, name: "refs/../../x".into() };
        assert_eq!(remove(&root.path().join("refs"), &[outside], booted), Vec::<PathBuf>::new());
        assert_eq!(remove(root.path(), std::slice::from_ref(&update), booted), std::slice::from_ref(&lock));
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
        let now = SystemTime::now();
        assert_eq!(remove(&repository, &[update], Booted { by_clock: now, by_files: now }), Vec::<PathBuf>::new());
        assert!(lock.exists());
    }
}
