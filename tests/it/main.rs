//! The one integration binary.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests make files, start programs and may panic")]

mod deploy;
mod git;
mod layering;
