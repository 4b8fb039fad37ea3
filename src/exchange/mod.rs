//! What is exchanged with other boot servers: [`export`] writes their configuration.
//!
//! **Invariant:** pure text from the boot table; nothing here reaches another server.

pub mod export;
