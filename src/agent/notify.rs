//! Tells systemd how the service fares (sd_notify(3)); elsewhere there is nobody to tell.
//!
//! **Invariant:** only the loop that does a service's work says that it is alive, never a thread beside it: a loop that hangs falls
//! silent, and systemd starts the service anew (`WatchdogSec=`).
#![expect(clippy::disallowed_methods, reason = "effect room: the clock that spares systemd a message for each step")]

use sd_notify::NotifyState;
use std::{
    sync::{LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How long systemd is asked to wait for the next word of a service that ends, in microseconds: a minute.
const EXTENSION: u32 = 60_000_000;
/// And how often it is asked.
const BETWEEN_EXTENSIONS: Duration = Duration::from_secs(5);

/// How often systemd is told: four times within the silence that it allows.
static BETWEEN: LazyLock<Option<Duration>> = LazyLock::new(|| sd_notify::watchdog_enabled().map(|longest| longest / 4));

/// When it was told last.
static LAST: Mutex<Option<Instant>> = Mutex::new(None);

/// It is ready, and does this.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It does this now.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Its loop goes round: to be called at each turn and at each step of long work.
pub fn alive() {
    let Some(between) = *BETWEEN else { return };
    if is_due(&LAST, between) {
        tell(&[NotifyState::Watchdog]);
    }
}

/// It ends, and what it has begun goes on within its own bound: systemd is to wait for that, and not only `TimeoutStopSec=`.
pub fn still_ends() {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    if is_due(&LAST, BETWEEN_EXTENSIONS) {
        tell(&[NotifyState::ExtendTimeoutUsec(EXTENSION)]);
    }
}

/// It is about to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Whether so much time has passed since this was true last.
fn is_due(last: &Mutex<Option<Instant>>, between: Duration) -> bool {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let is_due = last.is_none_or(|last| last.elapsed() >= between);
    if is_due {
        *last = Some(Instant::now());
    }
    is_due
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
