//! The one integration binary: whatever needs the house as a whole, or files beside it.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests make files, start programs and may panic")]

mod agent;
mod cafe;
mod cli;
mod contract;
mod dhcp;
mod host;
mod house;
mod plan;
mod push;
mod room;
mod serve;
mod site;
