//! Looks whether this host is ready to serve a site, beyond what a plan needs.
//!
//! `look` gathers facts and `judge` decides on them. **Invariant:** changes nothing; what could not be looked at is told as that,
//! never as well.

mod files;
mod firewall;
mod judge;
mod look;
mod network;

pub use files::SiteFiles;
pub use judge::judge;
pub use look::look;
pub use network::{Answer, judge_dhcp};

use crate::observed::{Seen, Vg};
use ipnet::Ipv4Net;
use jiff::Zoned;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// What was looked at: `ports`, `loaders`, …
    pub about: String,
    /// How it is.
    pub state: State,
    /// What was found.
    pub what: String,
    /// What to do about it.
    pub mend: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// It could not be looked at.
    CouldNotLook,
    /// It may become a problem, or is one in some cafés.
    Warning,
    /// Machines will not boot.
    Problem,
}

impl Check {
    /// All is well.
    pub fn ok(about: &str, what: impl Into<String>) -> Self {
        Self { about: about.to_owned(), state: State::Ok, what: what.into(), mend: None }
    }

    /// Something is to be mended.
    pub fn new(state: State, about: &str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { about: about.to_owned(), state, what: what.into(), mend: Some(mend.into()) }
    }
}

/// Who this process is to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// Root.
    Root,
    /// Anybody else.
    User,
}

impl Privilege {
    /// What to do where something could not be looked at: become root, or for root, who has nothing to become, what is said here.
    fn mend(self, of_root: &str) -> String {
        match self {
            Self::Root => of_root.to_owned(),
            Self::User => "run it as root".to_owned(),
        }
    }
}

/// What was found on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Who looked.
    pub privilege: Privilege,
    /// Sockets that listen.
    pub listeners: Seen<Vec<Listener>>,
    /// This process's effective capabilities, as `/proc/self/status` has them.
    pub capabilities: Option<u64>,
    /// Interfaces by name.
    pub interfaces: BTreeMap<String, Interface>,
    /// The firewall's rules.
    pub firewall: Seen<firewall::Firewall>,
    /// The clock, in the time zone of this host.
    pub now: Zoned,
    /// Whether something keeps the clock right.
    pub synchronised: Seen<bool>,
    /// The files in the loaders' directories, and which directories were looked in.
    pub loaders: (BTreeSet<String>, Vec<String>),
    /// `net.ipv4.neigh.default.gc_thresh3`
    pub neighbours: Option<u32>,
    /// Services that clear every target when they stop, which are enabled.
    pub clearing_services: Seen<BTreeSet<String>>,
    /// The site's volume group; absent too for a site without disks.
    pub vg: Seen<Vg>,
    /// What the site needs of files.
    pub files: SiteFiles,
    /// What stands in the way of a plan.
    pub problems: Vec<crate::host::Problem>,
}

/// A socket that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// `udp` or `tcp`.
    pub protocol: String,
    /// The address, `0.0.0.0` and `*` for all; with the interface it is bound to behind `%`.
    pub address: String,
    /// The port.
    pub port: u16,
    /// The program, where it shows: only root sees others' programs.
    pub program: Option<String>,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interface {
    /// Whether it is up and has a link.
    pub up: bool,
    /// Whether it leads to this host alone.
    pub loopback: bool,
    /// Its addresses with their subnets.
    pub addresses: Vec<Ipv4Net>,
}

#[cfg(test)]
mod tests;
