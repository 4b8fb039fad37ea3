//! Tells systemd how the service fares (sd_notify(3)); elsewhere there is nobody to tell.

use sd_notify::NotifyState;

/// It is ready, and does this.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// It does this now.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// It is about to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd could not be told");
    }
}
