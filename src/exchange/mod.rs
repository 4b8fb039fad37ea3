//! What is exchanged with other boot servers: [`export`] writes their configuration, [`import`] reads it.
//!
//! **Invariant:** pure text from the boot table, and pure values from text; nothing here reaches another server or a file.

pub mod export;
pub mod import;
