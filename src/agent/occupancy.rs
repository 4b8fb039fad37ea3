//! What the agent knows of who is at work, from its looks; and what it tells those who plan beside it.
//!
//! **Invariant:** it lives in the agent alone: another agent, or another boot of the server, begins at nothing. What others read of it
//! is a copy with a moment, and an old one is worth nothing.
#![expect(clippy::disallowed_methods, reason = "effect room: the copy that others read")]

use crate::host::write_atomically;
use crate::names::Mono;
use crate::observed::occupancy::{LONGEST_GAP, Look, Occupancy};
use std::{
    fs,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Where the copy lies under the state directory.
const PATH: &str = "occupancy.json";

/// The agent's knowledge.
#[derive(Debug, Default)]
pub struct OccupancyMemory(Mutex<Occupancy>);

impl OccupancyMemory {
    /// Knows nothing yet of this boot of the server.
    pub fn new(boot_id: &str) -> Self {
        Self(Mutex::new(Occupancy::new(boot_id)))
    }

    /// Takes a look in; `seats` is how many machines the room has.
    pub fn take_in(&self, look: &Look, seats: usize) -> Occupancy {
        let mut known = self.lock();
        *known = std::mem::take(&mut *known).after(look, seats);
        known.clone()
    }

    /// What is known.
    pub fn known(&self) -> Occupancy {
        self.lock().clone()
    }

    /// Leaves a copy for those who plan beside the agent.
    pub fn publish(&self, state: &Path) {
        let text = serde_json::to_string(&*self.lock()).expect("names and numbers always serialise");
        if let Err(error) = write_atomically(&state.join(PATH), &text) {
            tracing::warn!(%error, "what is known of who is at work cannot be left in {}", state.display());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Occupancy> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a running agent knows, by its copy; one that is old, or of another boot, is none.
pub fn read(state: &Path, boot_id: &str, now: Mono) -> Option<Occupancy> {
    let text = fs::read_to_string(state.join(PATH)).ok()?;
    let known: Occupancy = serde_json::from_str(&text).ok()?;
    (known.boot_id == boot_id && now.since(known.at) <= LONGEST_GAP).then_some(known)
}
