//! barista: a directory of TOML becomes a room of diskless machines.

pub mod boot;
pub mod names;
pub mod site;
