//! A person's or systemd's wish that work ends before its next step.
//!
//! **Invariant:** nothing that runs is cut: whoever works asks between two steps and between two programs, and waits for the end
//! of what it began.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// A wish to stop; clones are the same wish, and it is never taken back.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Asks for it.
    pub fn request(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// Whether it was asked for.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
