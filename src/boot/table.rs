//! The boot table: everything `serve` needs to answer every booting machine, in one document.
//!
//! Apply publishes it whole and `serve` swaps it whole, so no machine is ever answered from half of an old and half of a
//! new site. **Invariant:** pure data; complete but for the disks that are assigned to each boot, so that serving never waits on git
//! or LVM, and on the agent for nothing else.

pub use crate::desired::Network;

use crate::desired::{Firmware, PxeStrategy};
use crate::names::{DhcpOptions, DocumentError, ImageName, Iqn, MacAddr, MachineName, NetworkName, SiteName, read_document};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr},
    ops::Deref,
};

/// The version of this document.
pub const VERSION: u32 = 2;

/// The version before, whose scripts name every target: it is served as it is, so that a room boots on while a host is upgraded.
const BEFORE: u32 = 1;

/// Where the table lies under the state directory.
pub const PATH: &str = "boot/table.json";

/// Everything `serve` needs to answer every booting machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BootTable {
    /// [`VERSION`], or the one before.
    pub version: u32,
    /// The site this table belongs to.
    pub site: SiteName,
    /// Where machines fetch loaders by TFTP.
    pub tftp_address: Ipv4Addr,
    /// Where machines fetch scripts and assets by HTTP.
    pub http_address: Ipv4Addr,
    /// The port of both addresses' HTTP service.
    pub http_port: u16,
    /// The directory of the loaders; `None` is where the distribution puts them.
    pub loaders: Option<String>,
    /// The file that the CHAP secrets come from; they lie beside this table, never in it.
    #[serde(default)]
    pub chap_secrets: Option<String>,
    /// Subnets by name.
    pub networks: BTreeMap<NetworkName, Network>,
    /// Machines by name.
    pub machines: BTreeMap<MachineName, BootMachine>,
    /// The script a machine gets that no entry of `machines` names.
    pub unknown_script: String,
    /// Files of the asset store that the scripts name.
    pub assets: BTreeSet<String>,
}

/// One machine, as the boot services see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BootMachine {
    /// Its Ethernet addresses.
    pub macs: Vec<MacAddr>,
    /// Its reserved address.
    pub ip: Option<Ipv4Addr>,
    /// What firmware the site says it has.
    pub firmware: Option<Firmware>,
    /// What it boots when nobody chooses: the name of an image.
    pub default: String,
    /// Its iPXE script. Where a disk is attached it holds the markers of [`super::ipxe::markers`].
    pub script: String,
    /// The disks that its script attaches, by image.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub disks: BTreeMap<ImageName, BootDisk>,
    /// Which loader its firmware is told, over its network's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loader: Option<String>,
    /// How its firmware is told the loader, over its network's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pxe: Option<PxeStrategy>,
    /// DHCP options it is told, over its network's.
    #[serde(default, skip_serializing_if = "DhcpOptions::is_empty")]
    pub options: DhcpOptions,
}

/// A disk, and its resettable or kept data disks, that a machine's script attaches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BootDisk {
    /// The target of a fixed disk; `None` while there is none, and for an assigned one.
    pub target: Option<Iqn>,
    /// How it comes by its target.
    pub way: Way,
}

/// How a disk of a script comes by its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Every boot has the same, and the table names it.
    Fixed,
    /// The agent assigns one to each boot.
    Assigned,
}

/// Takes what is written as long as it is what comes next.
struct Same<'a>(&'a [u8]);

impl io::Write for Same<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BootTable {
    /// Reads a published table.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        read_document(text, BEFORE..=VERSION, |table: &Self| table.version)
    }

    /// The text that is published: stable to the byte for the same table.
    pub fn render(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a table of strings and numbers always serialises");
        text.push('\n');
        text
    }

    /// Whether this is the text that [`BootTable::render`] gives, without making it.
    pub fn is_rendered_as(&self, text: &str) -> bool {
        let mut rest = Same(text.as_bytes());
        serde_json::to_writer_pretty(&mut rest, self).is_ok() && rest.0 == b"\n"
    }

    /// The base of every HTTP address in a script: `http://192.168.1.2:8080`.
    pub fn http_base(&self) -> String {
        format!("http://{}:{}", self.http_address, self.http_port)
    }
}

impl BootMachine {
    /// The images whose disks the agent assigns to each boot.
    pub fn assigned(&self) -> impl Iterator<Item = &ImageName> {
        self.disks.iter().filter(|(_, disk)| disk.way == Way::Assigned).map(|(image, _)| image)
    }
}

/// A table that changes no more, in which machines are found by their addresses at once: a service asks several times for each
/// datagram, and a room has a thousand of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FixedTable {
    table: BootTable,
    by_mac: BTreeMap<MacAddr, MachineName>,
    reserved: BTreeSet<Ipv4Addr>,
    unreserved_cards: u32,
}

impl From<BootTable> for FixedTable {
    fn from(table: BootTable) -> Self {
        let mut by_mac = BTreeMap::new();
        for (name, machine) in &table.machines {
            for mac in &machine.macs {
                by_mac.entry(*mac).or_insert_with(|| name.clone());
            }
        }
        let reserved = table.machines.values().filter_map(|machine| machine.ip).collect();
        let cards =
            table.machines.values().filter(|machine| machine.ip.is_none()).map(|machine| machine.macs.len()).sum::<usize>();
        Self { by_mac, reserved, unreserved_cards: u32::try_from(cards).unwrap_or(u32::MAX), table }
    }
}

impl Deref for FixedTable {
    type Target = BootTable;

    fn deref(&self) -> &BootTable {
        &self.table
    }
}

impl FixedTable {
    /// The machine that has this Ethernet address.
    pub fn machine(&self, mac: MacAddr) -> Option<(&MachineName, &BootMachine)> {
        self.table.machines.get_key_value(self.by_mac.get(&mac)?)
    }

    /// How many Ethernet addresses the machines have that no address is reserved for: each may need one of a range.
    pub fn unreserved_cards(&self) -> u32 {
        self.unreserved_cards
    }

    /// Whether this address is some machine's.
    pub fn is_reserved(&self, ip: Ipv4Addr) -> bool {
        self.reserved.contains(&ip)
    }

    /// Whether a peer of a socket has the address of some machine, in either spelling of it.
    pub fn is_machine(&self, peer: IpAddr) -> bool {
        matches!(peer.to_canonical(), IpAddr::V4(ip) if self.is_reserved(ip))
    }
}
