//! barista: a directory of TOML becomes a room of diskless machines.

pub mod agent;
pub mod boot;
pub mod cli;
pub mod deploy;
pub mod desired;
pub mod host;
pub mod names;
pub mod observed;
pub mod plan;
pub mod site;
