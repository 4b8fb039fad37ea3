//! Wakes the agent before its time: somebody pushed, or it is to stop.
//!
//! **Invariant:** a ring is never lost: one that comes while nobody waits ends the next wait at once.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Wakes the agent, to look again or to stop; clones wake the same one.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<(Mutex<Rung>, Condvar)>);

#[derive(Debug, Default)]
struct Rung {
    look: Option<()>,
    host: Option<()>,
    stop: Option<()>,
}

/// What ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Time has passed.
    ByTime,
    /// There may be something new.
    ToLook,
    /// It is to stop.
    ToStop,
}

impl Bell {
    /// There may be something new.
    pub fn look(&self) {
        self.lock().look = Some(());
        self.0.1.notify_all();
    }

    /// The host is to be looked at before its time: somebody waits for a disk, or one was given.
    pub fn look_at_host(&self) {
        self.lock().host = Some(());
        self.look();
    }

    /// Whether the host is to be looked at, since this was asked last.
    pub fn take_look_at_host(&self) -> bool {
        self.lock().host.take().is_some()
    }

    /// Stop, now and for good.
    pub fn stop(&self) {
        self.lock().stop = Some(());
        self.0.1.notify_all();
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.lock().stop.is_some()
    }

    /// Waits for a ring, but no longer than this; zero only asks.
    pub fn wait(&self, longest: Duration) -> Woken {
        let silent = |rung: &mut Rung| rung.look.is_none() && rung.stop.is_none();
        let waited = self.0.1.wait_timeout_while(self.lock(), longest, silent);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match (rung.stop, rung.look.take()) {
            (Some(()), _) => Woken::ToStop,
            (None, Some(())) => Woken::ToLook,
            (None, None) => Woken::ByTime,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Rung> {
        // Every field is valid whatever a panicking thread did.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_heard_once_and_a_stop_for_ever() {
        let bell = Bell::default();
        let none = Duration::ZERO;
        assert_eq!(bell.wait(none), Woken::ByTime);
        bell.clone().look();
        bell.look();
        assert_eq!((bell.wait(Duration::from_secs(9)), bell.wait(none)), (Woken::ToLook, Woken::ByTime));
        bell.look();
        bell.stop();
        assert_eq!((bell.wait(none), bell.wait(Duration::from_secs(9))), (Woken::ToStop, Woken::ToStop));
    }
}
