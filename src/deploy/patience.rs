//! Reads a repository for no longer than a given time.
//!
//! Who owns a repository may put a FIFO in the place of any file of it, and libgit2 would wait for its writer for ever.
//! **Invariant:** the caller waits no longer than its patience; readers that never come back are left behind, a bounded number of them.
#![expect(clippy::disallowed_methods, reason = "effect room: starts threads that may be left behind")]

use super::select::pause_after;
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, mpsc::channel},
    thread,
    time::{Duration, Instant},
};

/// Enough for the references and a few commits, cold and on a busy disk.
pub const FOR_REFERENCES: Duration = Duration::from_secs(10);

/// Enough for every file of a site.
pub const FOR_FILES: Duration = Duration::from_secs(60);

/// A repository that was not read to its end in time: some file of it blocks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} blocks whoever reads it: some file of it is a FIFO, or its disk hangs", .0.display())]
pub struct Late(pub PathBuf);

/// Readers left behind before no other is started, after hours of trying: only a new process reads again.
const MOST: usize = 64;

/// The readers that are left behind, and since when the last one is.
struct Stuck {
    count: usize,
    since: Option<Instant>,
}

static STUCK: Mutex<Stuck> = Mutex::new(Stuck { count: 0, since: None });

/// Reads a repository in a thread of its own; [`Late`] when that takes too long, or took too long a moment ago.
pub fn within<T: Send + 'static, E: From<Late> + Send + 'static>(
    repository: &Path,
    patience: Duration,
    read: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let stuck = || STUCK.lock().unwrap_or_else(PoisonError::into_inner);
    let late = || E::from(Late(repository.to_owned()));
    {
        let stuck = stuck();
        // Somebody may have mended it, but whoever tries too often waits more than works.
        let pause = pause_after(u32::try_from(stuck.count).unwrap_or(u32::MAX));
        let is_fresh = stuck.since.is_some_and(|since| since.elapsed() < pause);
        if stuck.count >= MOST || (stuck.count > 0 && is_fresh) {
            return Err(late());
        }
    }
    let (answer, answered) = channel();
    thread::spawn(move || {
        let read = read();
        // Under the lock, so that an answer is either taken or counted as late.
        let mut stuck = STUCK.lock().unwrap_or_else(PoisonError::into_inner);
        if answer.send(read).is_err() {
            stuck.count -= 1;
        }
    });
    if let Ok(read) = answered.recv_timeout(patience) {
        return read;
    }
    let mut stuck = stuck();
    if let Ok(read) = answered.try_recv() {
        return read;
    }
    (stuck.count, stuck.since) = (stuck.count + 1, Some(Instant::now()));
    drop(answered);
    Err(late())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deploy::repo::RepoError;

    #[test]
    fn whoever_waits_is_not_held_and_the_next_is_told_at_once() {
        let path = Path::new("/srv/cafe.git");
        let second = Duration::from_secs(1);
        let seven = || Ok::<_, RepoError>(7);
        assert!(matches!(within(path, second * 20, seven), Ok(7)));
        let (release, released) = channel::<()>();
        let begun = Instant::now();
        let hangs = within(path, second / 10, move || {
            released.recv().unwrap_or(());
            Ok(())
        });
        assert!(matches!(hangs, Err(RepoError::Late(_))));
        assert!(matches!(within(path, second * 20, seven), Err(RepoError::Late(_))));
        assert!(begun.elapsed() < second * 10);
        drop(release);
        let deadline = Instant::now() + second * 20;
        while within(path, second * 20, seven).is_err() {
            assert!(Instant::now() < deadline, "a reader that came back is not forgotten");
            thread::yield_now();
        }
    }
}
