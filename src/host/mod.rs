//! The only room that touches the host: observing it, and applying a plan to it.
//!
//! **Invariant:** apply interprets a plan and chooses nothing; what was not read is said to be unreadable.

mod ports;

pub use ports::{Command, CommandError, Commands, ConfigFs, Kind, Output};
