//! What another DHCP server must be told, so that machines boot from this one: reservations, loaders by architecture, and the rule
//! that ends the loop of loaders.
//!
//! **Invariant:** pure; every server is told the same of what boots, and the same as `serve` would answer. The rule for an iPXE always
//! comes before the one for its firmware, which sends the same architecture.

mod dnsmasq;
mod isc_dhcp;
mod kea;

use crate::boot::{
    loaders::usual_loader,
    table::{BootMachine, BootTable, Network},
};
use crate::{
    desired::NetworkMode,
    names::{ClientArch, MachineName, NetworkName, Platform},
};

/// What every export says of itself, in a comment on its second line.
pub const MADE_BY: &str = "Made by `barista export`";

/// The servers that this room speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// dnsmasq: a file for `conf-dir`.
    Dnsmasq,
    /// ISC dhcpd: a file for `include`.
    IscDhcp,
    /// Kea: a whole configuration to take parts from.
    Kea,
}

/// Which networks are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those with `mode = "off"`.
    Off,
    /// All of them.
    All,
}

/// Firmware and the loader for it.
#[derive(PartialEq)]
struct Loader<'a> {
    arch: ClientArch,
    file: &'a str,
    /// Its address, for firmware that boots over HTTP.
    url: Option<String>,
}

impl Loader<'_> {
    /// What a reply names: the file, or its address for firmware that boots over HTTP.
    fn named(&self) -> &str {
        self.url.as_deref().unwrap_or(self.file)
    }
}

/// What is exported.
struct Export<'a> {
    table: &'a BootTable,
    networks: Vec<(&'a NetworkName, &'a Network)>,
    script: String,
}

/// The text for another server; `None` when no network is to be exported.
pub fn export(table: &BootTable, which: Which, dialect: Dialect) -> Option<String> {
    let is_wanted = |network: &Network| which == Which::All || network.mode == NetworkMode::Off;
    let networks: Vec<_> = table.networks.iter().filter(|(_, network)| is_wanted(network)).collect();
    if networks.is_empty() {
        return None;
    }
    let export = Export { table, networks, script: format!("{}/boot.ipxe", table.http_base()) };
    Some(match dialect {
        Dialect::Dnsmasq => dnsmasq::render(&export),
        Dialect::IscDhcp => isc_dhcp::render(&export),
        Dialect::Kea => kea::render(&export),
    })
}

impl<'a> Export<'a> {
    /// The loaders that firmware is told in a network.
    fn loaders(&self, network: &'a Network) -> Vec<Loader<'a>> {
        self.loaders_of(|platform| {
            Some(network.loading.loader.get(&platform).map_or_else(|| usual_loader(platform), String::as_str))
        })
    }

    /// The loaders that a machine's firmware is told over its network's.
    fn own_loaders(&self, machine: &'a BootMachine) -> Vec<Loader<'a>> {
        self.loaders_of(|platform| machine.loader.as_deref().filter(|file| platform.takes(file)))
    }

    fn loaders_of(&self, file: impl Fn(Platform) -> Option<&'a str>) -> Vec<Loader<'a>> {
        let base = self.table.http_base();
        let loader = |arch: ClientArch| {
            let file = file(arch.platform()?)?;
            Some(Loader { arch, file, url: arch.boots_over_http().then(|| format!("{base}/loaders/{file}")) })
        };
        ClientArch::KNOWN.into_iter().filter_map(loader).collect()
    }

    /// The machines that have their reserved address in a network.
    fn reserved(&self, network: &Network) -> impl Iterator<Item = (&'a MachineName, &'a BootMachine)> {
        let subnet = network.subnet;
        self.table.machines.iter().filter(move |(_, machine)| machine.ip.is_some_and(|ip| subnet.contains(&ip)))
    }

    /// The machines that have no reserved address, and only a name to be told.
    fn unreserved(&self) -> impl Iterator<Item = (&'a MachineName, &'a BootMachine)> {
        self.table.machines.iter().filter(|(_, machine)| machine.ip.is_none())
    }

    /// All that are exported.
    fn machines(&self) -> impl Iterator<Item = (&'a MachineName, &'a BootMachine)> {
        self.networks.iter().flat_map(|(_, network)| self.reserved(network)).chain(self.unreserved())
    }

    /// What every dialect says first, as comment lines.
    fn head(&self, comment: &str) -> String {
        let names = self.networks.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        let mut text = format!(
            "{comment} From the site {}, network {names}. Loaders come from TFTP at {}, scripts from {}.\n\
             {comment} {MADE_BY}; make it again after the site has changed.\n",
            self.table.site,
            self.table.tftp_address,
            self.table.http_base()
        );
        let has_options = self.networks.iter().any(|(_, network)| !network.options.is_empty())
            || self.machines().any(|(_, machine)| !machine.options.is_empty());
        if has_options {
            text += &format!("{comment} The `options` of its networks, images and machines are not among this.\n");
        }
        text
    }
}

#[cfg(test)]
mod tests;
