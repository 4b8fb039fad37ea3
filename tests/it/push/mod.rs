//! From `git push` to the host: repositories, hooks, bombs.

pub mod begun_anew;
pub mod bombs;
pub mod deploy;
pub mod git;
pub mod hook;
