//! Keeps the host at the followed branch: looks, decides, applies, says what came of it.
//!
//! [`step`] decides and [`status`] is what the world is told; [`run`] is the loop around them and [`converge`] one attempt.
//! **Invariant:** a commit that cannot be read, checked or planned changes nothing: the last good one stays.

pub mod bell;
pub mod converge;
pub mod notify;
pub mod presence;
pub mod run;
pub mod status;
pub mod step;

mod attempt;
mod watch;
