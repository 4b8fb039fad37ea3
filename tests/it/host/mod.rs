//! The effects on the host: applying, locks, what root reads of others.

pub mod apply;
pub mod hostile_files;
pub mod hostile_text;
pub mod lock;
pub mod observe;
pub mod settings;
pub mod units;
