//! What a booting machine is told: the boot table, scripts, loaders, and what is asked of the agent about a disk.
//!
//! **Invariant:** pure. A plan compares and publishes what is computed here; `serve` answers from it.

pub mod assignment;
pub mod chap;
mod compile;
pub mod ipxe;
pub mod loaders;
pub mod table;

pub use compile::compute_table;
