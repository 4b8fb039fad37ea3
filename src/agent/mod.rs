//! Keeps the host at the followed branch: looks, decides, applies, says what came of it.
//!
//! [`step`] decides and [`status`] is what the world is told; [`run`] is the loop around them and [`converge`] one attempt.
//! **Invariant:** a commit that cannot be read, checked or planned changes nothing: the last good one stays, from the copy of its
//! text that [`last_good`] keeps, whatever becomes of the repository.

pub mod applied;
pub mod assign;
pub mod backoff;
pub mod converge;
pub mod hardware;
pub mod instance_lock;
pub mod last_good;
pub mod notify;
pub mod occupancy;
pub mod reader;
pub mod repository;
pub mod run;
pub mod status;
pub mod step;
pub mod wakeup;

mod attempt;
mod claimed;
mod memory;
mod planned;
mod renew_socket;
mod told;
mod watch;
