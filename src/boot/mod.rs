//! What a booting machine is told.
//!
//! The pure half ([`table`], [`transcript`], scripts) is what a plan compares and publishes; the serving half answers packets
//! from that table alone; [`explain`] and [`export`] turn what is there into words, for people and for other servers.
//! **Invariant:** serving reads nothing but the published table, its own leases, files it hands out, and what the agent answers to
//! [`assignment`]'s question.

pub mod assignment;
pub mod chap;
pub mod claims;
mod compile;
pub mod dhcp;
pub mod explain;
pub mod export;
pub mod http;
pub mod ipxe;
pub mod loaders;
pub mod serve;
pub mod table;
pub mod tftp;
pub mod transcript;

pub use compile::compute_table;
