//! Follows `host.toml` while a process runs, and takes a change for root's word only once the file is whole.
//!
//! `cp`, a shell's `>` and some editors write a file in place: for a moment it is empty, or ends at any line, and reads as if root had
//! said less. **Invariant:** what was known counts until the same file was there for a second, reads, and is not empty where it listed
//! directories; a process that knows nothing yet, or that looks once, waits until the file has been the same for a second, by when it
//! was changed or by its own watch, and takes none that goes on changing.
#![expect(clippy::disallowed_methods, reason = "effect room: looks at root's file about this host, and how long it is the same")]

use super::{HostSettings, SettingsError, place, read};
use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

/// How long a file is the same before it counts as written to its end: a page of text is written in a millisecond.
const SETTLED: Duration = Duration::from_secs(1);

/// Which file it is and when it was changed last; nothing where there is none.
type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;

/// What root allows, as a process that goes on knows it.
#[derive(Debug, Default)]
pub struct FollowedSettings {
    known: Option<HostSettings>,
    /// The file as it was found last, and since when it is the same.
    seen: Option<(Stamp, Instant)>,
    doubt: Option<SettingsError>,
}

impl FollowedSettings {
    /// What root allows by now; `state` is the state directory.
    pub fn look(&mut self, state: &Path) -> Result<HostSettings, SettingsError> {
        if self.known.is_none() {
            // Whatever was settled at is what is read next, or changes once more and counts a second later.
            drop(HostSettings::read_settled(&place(), state));
        }
        self.look_at(&place(), state, Instant::now())
    }

    /// Why what was known before counts, where the file says nothing that does.
    pub fn doubt(&self) -> Option<&SettingsError> {
        self.doubt.as_ref()
    }

    fn look_at(&mut self, path: &Path, state: &Path, now: Instant) -> Result<HostSettings, SettingsError> {
        let before = stamp(path);
        let text = match read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        };
        let is_same = self.seen.as_ref().is_some_and(|(stamp, _)| *stamp == before);
        let since = self.seen.as_ref().filter(|_| is_same && stamp(path) == before).map_or(now, |(_, since)| *since);
        self.seen = Some((before, since));
        let is_blank = matches!(&text, Ok(Some(text)) if text.trim().is_empty());
        let said = HostSettings::of_text(text, path, state);
        let Some(known) = &self.known else {
            self.known = said.as_ref().ok().cloned();
            return said;
        };
        self.doubt = match said {
            Err(error) => Some(error),
            Ok(_) if is_blank && known.lists_any() => {
                Some(SettingsError { path: path.to_owned(), what: "is empty, and listed directories before".to_owned() })
            }
            Ok(said) if now.saturating_duration_since(since) >= SETTLED => {
                self.known = Some(said);
                None
            }
            Ok(_) => None,
        };
        Ok(self.known.clone().expect("it was known before this look"))
    }
}

/// How long one who looks once waits for a file that goes on changing.
const PATIENCE: Duration = Duration::from_secs(3);

/// The pause between two looks at it.
const PAUSE: Duration = Duration::from_millis(50);

impl HostSettings {
    /// Reads a file for a process that looks once, as soon as the file has been the same for a second. A push is judged by it: while
    /// root writes, it would be refused for a path that is allowed, or accepted for one that never was.
    pub(super) fn read_settled(path: &Path, state: &Path) -> Result<Self, SettingsError> {
        let begun = Instant::now();
        let mut same = (stamp(path), begun);
        loop {
            let (before, since) = same;
            let said = Self::read(path, state);
            let after = stamp(path);
            if after != before {
                same = (after, Instant::now());
            } else if since.elapsed() >= SETTLED || age(path).is_none_or(|age| age >= SETTLED) {
                return said;
            }
            if begun.elapsed() >= PATIENCE {
                let what = "is being written all the time: try again once it is whole".to_owned();
                return Err(SettingsError { path: path.to_owned(), what });
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// How long ago a file was changed, or where there is none, the directory that it would be in; nothing where neither is there. By the wall
/// clock, as the file system has it: one that was set may have a settled file waited for, and no longer than a second.
fn age(path: &Path) -> Option<Duration> {
    let found = fs::metadata(path).ok().or_else(|| fs::metadata(path.parent()?).ok())?;
    let changed = |seconds: i64, nanoseconds: i64| {
        let since = Duration::new(u64::try_from(seconds).unwrap_or_default(), u32::try_from(nanoseconds).unwrap_or_default());
        SystemTime::UNIX_EPOCH + since
    };
    let last = changed(found.mtime(), found.mtime_nsec()).max(changed(found.ctime(), found.ctime_nsec()));
    // Later than now is as good as now.
    Some(SystemTime::now().duration_since(last).unwrap_or_default())
}

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::super::Purpose;
    use super::*;

    const OLD: &str = "[allowed-paths]\nloaders = [\"/data/loaders\"]\nsecrets = []\n";
    const NEW: &str = "# more\n[allowed-paths]\nloaders = [\"/data/loaders\"]\nimage-store = [\"/data/images\"]\nsecrets = []\n";

    #[test]
    fn a_file_that_is_being_written_says_what_it_said_before_and_counts_once_it_is_whole() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("host.toml");
        let mut now = Instant::now();
        let mut followed = FollowedSettings::default();
        let look = |followed: &mut FollowedSettings, now| {
            let host = followed.look_at(&path, root.path(), now).expect("something is known");
            [Purpose::Loaders, Purpose::ImageStore, Purpose::Secrets].map(|purpose| host.listed(purpose))
        };
        fs::write(&path, OLD).expect("written");
        let old = look(&mut followed, now);
        for cut in (0..NEW.len()).chain([0]) {
            fs::write(&path, &NEW[..cut]).expect("written");
            now += SETTLED / 2;
            assert_eq!(look(&mut followed, now), old, "cut at {cut}");
        }
        // A writer that ended there leaves nothing that counts.
        for (cut, why) in [(0, "is empty"), (NEW.len() - 1, "no end"), (NEW.find("loaders").expect("is there"), "says nothing")] {
            fs::write(&path, &NEW[..cut]).expect("written");
            for _ in 0..4 {
                now += SETTLED;
                assert_eq!(look(&mut followed, now), old, "cut at {cut}");
            }
            assert!(followed.doubt().is_some_and(|doubt| doubt.what.contains(why)), "{cut}: {:?}", followed.doubt());
        }
        let beside = root.path().join("host.toml.new");
        fs::write(&beside, NEW).expect("written");
        fs::rename(&beside, &path).expect("renamed");
        assert_eq!(look(&mut followed, now), old);
        now += SETTLED;
        let new = look(&mut followed, now);
        assert!(new != old && followed.doubt().is_none());
        // One that root removed is the defaults again.
        fs::remove_file(&path).expect("removed");
        assert_eq!(look(&mut followed, now), new);
        now += SETTLED;
        assert!(look(&mut followed, now)[2].iter().any(|path| path.ends_with("etc/barista")));
    }

    #[test]
    fn one_who_looks_once_while_the_file_is_written_waits_until_it_is_whole() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("host.toml");
        fs::write(&path, "").expect("it is cut off first, as by a shell's >");
        let loaders = |host: &HostSettings| host.listed(Purpose::Loaders);
        let early = HostSettings::read(&path, root.path()).expect("an empty file reads");
        assert!(loaders(&early).iter().any(|path| path.ends_with("usr/lib/ipxe")), "as if root had said nothing: {early:?}");
        let begun = Instant::now();
        let read = std::thread::scope(|scope| {
            let read = scope.spawn(|| HostSettings::read_settled(&path, root.path()));
            for cut in [0, NEW.find("image").expect("is there"), NEW.len()] {
                std::thread::sleep(SETTLED / 4);
                fs::write(&path, &NEW[..cut]).expect("written");
            }
            read.join().expect("it ends")
        });
        let whole = HostSettings::read(&path, root.path()).expect("reads");
        assert_eq!(read, Ok(whole));
        assert!(begun.elapsed() >= SETTLED, "it was taken before it could be known to be whole");
        // One that has long been there is not waited for.
        let long_ago = SystemTime::now() - Duration::from_secs(60);
        assert!(age(&path).is_some_and(|age| age < PATIENCE) && age(&root.path().join("none/there")).is_none());
        fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(long_ago)).expect("set");
        assert!(age(&path).is_some_and(|age| age < PATIENCE), "a copy that keeps its time has changed all the same");
    }

    #[test]
    fn a_file_that_never_rests_is_no_word_of_roots() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("host.toml");
        fs::write(&path, NEW).expect("written");
        let read = std::thread::scope(|scope| {
            let read = scope.spawn(|| HostSettings::read_settled(&path, root.path()));
            while !read.is_finished() {
                fs::write(&path, NEW).expect("written");
                std::thread::sleep(PAUSE);
            }
            read.join().expect("it ends")
        });
        assert!(read.is_err_and(|error| error.what.contains("being written")));
    }
}
