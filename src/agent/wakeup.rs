//! Wakes the agent before its next look is due: to look again, or to stop.
//!
//! **Invariant:** no wakeup is lost: one that comes while nobody waits ends the next wait at once.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Wakes the agent, to look again or to stop; clones wake the same one.
#[derive(Debug, Clone, Default)]
pub struct Wakeup(Arc<(Mutex<Pending>, Condvar)>);

#[derive(Debug, Default)]
struct Pending {
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

impl Wakeup {
    /// Asks for a look: there may be something new.
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

    /// Asks the agent to stop; every later wait ends at once.
    pub fn stop(&self) {
        self.lock().stop = Some(());
        self.0.1.notify_all();
    }

    /// Whether it was told to stop.
    pub fn is_stopping(&self) -> bool {
        self.lock().stop.is_some()
    }

    /// Waits for a wakeup, but no longer than this; zero only asks.
    pub fn wait(&self, longest: Duration) -> Woken {
        let silent = |pending: &mut Pending| pending.look.is_none() && pending.stop.is_none();
        let waited = self.0.1.wait_timeout_while(self.lock(), longest, silent);
        let (mut pending, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match (pending.stop, pending.look.take()) {
            (Some(()), _) => Woken::ToStop,
            (None, Some(())) => Woken::ToLook,
            (None, None) => Woken::ByTime,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Every field is valid whatever a panicking thread did.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_heard_once_and_a_stop_for_ever() {
        let wakeup = Wakeup::default();
        let none = Duration::ZERO;
        assert_eq!(wakeup.wait(none), Woken::ByTime);
        wakeup.clone().look();
        wakeup.look();
        assert_eq!((wakeup.wait(Duration::from_secs(9)), wakeup.wait(none)), (Woken::ToLook, Woken::ByTime));
        wakeup.look();
        wakeup.stop();
        assert_eq!((wakeup.wait(none), wakeup.wait(Duration::from_secs(9))), (Woken::ToStop, Woken::ToStop));
    }
}
