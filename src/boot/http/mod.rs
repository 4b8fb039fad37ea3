//! HTTP: scripts from the boot table, loaders from memory, assets from their directory.
//!
//! **Invariant:** what a path means is decided in [`route`] from the path alone, and what a script says in [`script`];
//! [`serve`] only owns the connections and [`answer`] the bytes.

pub mod answer;
pub mod route;
pub mod script;
pub mod serve;
