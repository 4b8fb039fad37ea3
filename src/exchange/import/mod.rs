//! Machines that other servers' files name: their Ethernet addresses, reserved addresses and names.
//!
//! **Invariant:** pure; whatever a file says that does not become part of a machine is told with its line, never passed over in silence.

mod csv;
mod dnsmasq;
mod ethers;
mod isc_dhcp;
mod kea;
mod merge;
mod ours;

pub use merge::{Clash, ClashKind, Machine, Merged, Naming, mend as mend_name, merge};

use crate::names::{MacAddr, near_ipv4};
use std::{borrow::Cow, net::Ipv4Addr};

/// The kinds of files that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A table with commas, semicolons or tabs.
    Csv,
    /// dnsmasq's configuration, dnsmasq(8).
    Dnsmasq,
    /// What dnsmasq's `dhcp-hostsfile` names: the values of `dhcp-host` alone.
    DnsmasqHosts,
    /// `/etc/ethers`, ethers(5).
    Ethers,
    /// ISC dhcpd's configuration, dhcpd.conf(5).
    IscDhcp,
    /// Kea's configuration of DHCPv4.
    Kea,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

/// A machine as one file spells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Where it begins.
    pub line: u32,
    /// Its name as it is spelled there, which may be no legal one.
    pub name: Option<String>,
    /// What the file itself calls the entry, where a later one of this name takes its place: dhcpd's declarations.
    pub declared: Option<String>,
    /// Its Ethernet addresses, at least one.
    pub macs: Vec<MacAddr>,
    /// Its reserved address.
    pub ip: Option<Ipv4Addr>,
}

/// Something that is not taken over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// Where it stands.
    pub line: u32,
    /// What it is, and why where that is not plain.
    pub what: String,
}

/// An entry that takes back what was said before it under its name, in this file or in one that was read before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// Where it stands.
    pub line: u32,
    /// The name that the entry was declared by.
    pub declared: String,
}

/// Another file that one names as part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Include {
    /// Where it is named.
    pub line: u32,
    /// Its path as it is spelled.
    pub path: String,
    /// What it holds.
    pub format: Format,
    /// Whether it is one file or all of a directory.
    pub reach: Reach,
    /// Of a directory: the endings of files that are read, with `*` before them, and of files that are not.
    pub endings: Vec<String>,
}

impl Include {
    /// Whether a file of the directory is read: where some endings have a `*`, one that has such an ending, and none that has another.
    pub fn takes(&self, name: &str) -> bool {
        let mut wanted = self.endings.iter().filter_map(|ending| ending.strip_prefix('*')).peekable();
        let is_wanted = wanted.peek().is_none() || wanted.any(|ending| name.ends_with(ending));
        is_wanted && !self.endings.iter().any(|ending| !ending.starts_with('*') && name.ends_with(ending.as_str()))
    }
}

/// Whether an include is one file or all of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// One file.
    File,
    /// Every file of a directory.
    Directory,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Imported {
    /// Its machines, in their order.
    pub machines: Vec<Reservation>,
    /// What is not taken over.
    pub left: Vec<Left>,
    /// What is taken over in another spelling than the file's.
    pub mended: Vec<Left>,
    /// Entries that take back what earlier files say.
    pub deletions: Vec<Deletion>,
    /// Further files.
    pub includes: Vec<Include>,
}

/// A file that does not read as what it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SyntaxError {
    /// Where.
    pub line: u32,
    /// What is wrong.
    pub what: String,
}

impl Imported {
    fn leave(&mut self, line: u32, what: impl Into<String>) {
        self.left.push(Left { line, what: what.into() });
    }

    /// An address as it is meant; one that is spelled otherwise is told.
    fn read_ip(&mut self, line: u32, text: &str) -> Option<Ipv4Addr> {
        let ip = near_ipv4(text)?;
        if ip.to_string() != text.trim() {
            self.mended.push(Left { line, what: format!("{text:?} is read as {ip}") });
        }
        Some(ip)
    }
}

/// A text whose lines end with LF, whatever ended them: an old spreadsheet program's "CSV (Macintosh)" has CR alone.
pub fn with_line_feeds(text: &str) -> Cow<'_, str> {
    match text.contains('\r') {
        true => Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n")),
        false => Cow::Borrowed(text),
    }
}

/// Reads a file's text.
pub fn parse(format: Format, text: &str) -> Result<Imported, SyntaxError> {
    let text = with_line_feeds(text.strip_prefix('\u{feff}').unwrap_or(text));
    let text = text.as_ref();
    let mut imported = match format {
        Format::Csv => csv::parse(text)?,
        Format::Dnsmasq => dnsmasq::parse(text),
        Format::DnsmasqHosts => dnsmasq::parse_hosts(text),
        Format::Ethers => ethers::parse(text),
        Format::IscDhcp => isc_dhcp::parse(text)?,
        Format::Kea => kea::parse(text)?,
    };
    imported.left.sort();
    imported.left = ours::fold(format, text, imported.left);
    Ok(imported)
}

/// What a file is, by its name or else by what it holds; `None` where neither tells.
pub fn recognise(name: &str, text: &str) -> Option<Format> {
    let name = name.to_ascii_lowercase();
    let ends = |ending: &str| name.ends_with(ending);
    match () {
        () if ends(".csv") || ends(".tsv") => return Some(Format::Csv),
        () if ends(".json") => return Some(Format::Kea),
        () if name == "ethers" => return Some(Format::Ethers),
        () if ends("dhcpd.conf") => return Some(Format::IscDhcp),
        () if ends("dnsmasq.conf") => return Some(Format::Dnsmasq),
        () => {}
    }
    let mut lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    let first = lines.clone().find(|line| !line.is_empty() && !["#", "//", "/*"].iter().any(|mark| line.starts_with(mark)))?;
    let is_host_block = |line: &str| {
        let mut words = line.split_whitespace();
        matches!(words.next(), Some("host" | "subnet" | "group" | "shared-network")) && line.contains('{')
    };
    let is_ethers = |line: &str| matches!(ethers::words(line)[..], [mac, _] if parse_mac(mac).is_some());
    match () {
        () if first.starts_with('{') => Some(Format::Kea),
        () if lines.clone().any(|line| line.starts_with("dhcp-host=") || line.starts_with("dhcp-range=")) => {
            Some(Format::Dnsmasq)
        }
        () if lines.any(is_host_block) => Some(Format::IscDhcp),
        () if is_ethers(first) => Some(Format::Ethers),
        () if first.contains([',', ';', '\t']) => Some(Format::Csv),
        () => None,
    }
}

/// The kinds that a file whose kind is not told would be read as with a machine in it.
pub fn possible(text: &str) -> Vec<Format> {
    let all = [Format::Csv, Format::Dnsmasq, Format::DnsmasqHosts, Format::Ethers, Format::IscDhcp, Format::Kea];
    all.into_iter().filter(|format| parse(*format, text).is_ok_and(|imported| !imported.machines.is_empty())).collect()
}

/// An Ethernet address as these files spell it: also with octets of one digit, and with the number of Ethernet before it, as dnsmasq
/// has it (`01-` or `1-`).
fn parse_mac(text: &str) -> Option<MacAddr> {
    let text = text.trim();
    if let Ok(mac) = text.parse() {
        return Some(mac);
    }
    let colons = text.strip_prefix("01-").or_else(|| text.strip_prefix("1-")).filter(|rest| rest.contains(':')).unwrap_or(text);
    let separator = [':', '-'].into_iter().find(|separator| colons.contains(*separator))?;
    let octets: Vec<String> = colons.split(separator).map(|octet| format!("{octet:0>2}")).collect();
    octets.join(":").parse().ok()
}

/// The line of a byte offset.
fn line_of(text: &str, offset: usize) -> u32 {
    let before = &text.as_bytes()[..offset.min(text.len())];
    before.iter().filter(|byte| **byte == b'\n').count() as u32 + 1
}

#[cfg(test)]
mod tests;
