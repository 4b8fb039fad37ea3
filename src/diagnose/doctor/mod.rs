//! Looks whether this host is ready to serve a site, beyond what a plan needs.
//!
//! `look` gathers facts and `judge` decides on them. **Invariant:** changes nothing; what could not be looked at is told as that,
//! never as well.

mod files;
mod firewall;
mod judge;
mod look;
mod network;
mod space;

pub use files::SiteFiles;
pub use judge::judge;
pub use look::look;
pub use network::{Answer, judge_dhcp};

use crate::{
    diagnostic::{Code, Diagnostic, Severity},
    host::Space,
    observed::{Seen, Vg},
};
use ipnet::Ipv4Net;
use jiff::Zoned;
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// The code of what could not be looked at.
const NOT_LOOKED_AT: Code = Code::new("not-looked-at");

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// All is well.
    Ok(Fact),
    /// Something is wrong, or could not be looked at; its place is what was looked at: `ports`, `loaders`, …
    Wrong(Diagnostic),
}

/// How something is that is as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Fact {
    /// What was looked at: `ports`, `loaders`, …
    pub about: String,
    /// What was found.
    pub what: String,
}

impl Check {
    /// All is well.
    pub fn ok(about: &str, what: impl Into<String>) -> Self {
        Self::Ok(Fact { about: about.to_owned(), what: what.into() })
    }

    /// Machines will not boot.
    pub fn problem(about: &str, code: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::wrong(Severity::Error, about, code, what, mend)
    }

    /// It may become a problem, or is one in some cafés.
    pub fn warning(about: &str, code: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::wrong(Severity::Warning, about, code, what, mend)
    }

    /// It could not be looked at.
    pub fn unseen(about: &str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Wrong(Diagnostic::whole(Severity::Warning, NOT_LOOKED_AT, about, what, mend))
    }

    fn wrong(severity: Severity, about: &str, code: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::Wrong(Diagnostic::whole(severity, code, about, what, mend))
    }

    /// What was looked at.
    pub fn about(&self) -> &str {
        match self {
            Self::Ok(fact) => &fact.about,
            Self::Wrong(diagnostic) => &diagnostic.place.file,
        }
    }

    /// Whether it keeps machines from booting.
    pub fn is_problem(&self) -> bool {
        matches!(self, Self::Wrong(diagnostic) if diagnostic.severity == Severity::Error)
    }

    /// The word for how it is.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Ok(_) => "ok",
            Self::Wrong(diagnostic) if diagnostic.code == NOT_LOOKED_AT => "unseen",
            Self::Wrong(diagnostic) if diagnostic.severity == Severity::Error => "problem",
            Self::Wrong(_) => "warning",
        }
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
    /// What is free where barista keeps its own files.
    pub space: Vec<(PathBuf, Seen<Space>)>,
    /// What the site needs of files.
    pub files: SiteFiles,
    /// What stands in the way of a plan.
    pub problems: Vec<Diagnostic>,
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
