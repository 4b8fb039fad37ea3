//! Sites, good and bad, and what is said of them.

pub mod cases;
pub mod injection;
