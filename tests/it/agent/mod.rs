//! The loop: when it looks, what it tries again, what it survives.

pub mod assigner;
pub mod awaited;
pub mod backoff;
pub mod converge;
pub mod full_disk;
pub mod interrupt;
pub mod roll_back;
pub mod survival;
pub mod time;
