//! What another DHCP server must be told, so that machines boot from this one: reservations, loaders by architecture, and the rule
//! that ends the loop of loaders.
//!
//! **Invariant:** pure; every server is told the same, and the same as `serve` would answer. The rule for an iPXE always comes
//! before the one for its firmware, which sends the same architecture.

mod dnsmasq;
mod isc_dhcp;
mod kea;

use super::{
    loaders::usual_loader,
    table::{BootMachine, BootNetwork, BootTable},
};
use crate::{
    desired::NetworkMode,
    names::{ClientArch, MachineName, NetworkName},
};

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
struct Loader<'a> {
    arch: ClientArch,
    file: &'a str,
    /// Its address, for firmware that boots over HTTP.
    url: Option<String>,
}

/// What is exported.
struct Export<'a> {
    table: &'a BootTable,
    networks: Vec<(&'a NetworkName, &'a BootNetwork)>,
    loaders: Vec<Loader<'a>>,
    script: String,
}

/// The text for another server; `None` when no network is to be exported.
pub fn export(table: &BootTable, which: Which, dialect: Dialect) -> Option<String> {
    let is_wanted = |network: &BootNetwork| which == Which::All || network.mode == NetworkMode::Off;
    let networks: Vec<_> = table.networks.iter().filter(|(_, network)| is_wanted(network)).collect();
    if networks.is_empty() {
        return None;
    }
    let base = table.http_base();
    let loader = |arch: ClientArch| {
        let platform = arch.platform()?;
        // These servers have one list for all networks, so the first network that names a loader decides.
        let named = networks.iter().find_map(|(_, network)| network.loading.loader.get(&platform));
        let file = named.map_or(usual_loader(platform), String::as_str);
        let url = arch.boots_over_http().then(|| format!("{base}/loaders/{file}"));
        Some(Loader { arch, file, url })
    };
    let loaders = ClientArch::KNOWN.into_iter().filter_map(loader).collect();
    let export = Export { table, networks, loaders, script: format!("{base}/boot.ipxe") };
    Some(match dialect {
        Dialect::Dnsmasq => dnsmasq::render(&export),
        Dialect::IscDhcp => isc_dhcp::render(&export),
        Dialect::Kea => kea::render(&export),
    })
}

impl<'a> Export<'a> {
    /// The machines that have their reserved address in a network.
    fn reserved(&self, network: &BootNetwork) -> impl Iterator<Item = (&'a MachineName, &'a BootMachine)> {
        let subnet = network.subnet;
        self.table.machines.iter().filter(move |(_, machine)| machine.ip.is_some_and(|ip| subnet.contains(&ip)))
    }

    /// The machines that have no reserved address, and only a name to be told.
    fn unreserved(&self) -> impl Iterator<Item = (&'a MachineName, &'a BootMachine)> {
        self.table.machines.iter().filter(|(_, machine)| machine.ip.is_none())
    }

    /// What every dialect says first, as comment lines.
    fn head(&self, comment: &str) -> String {
        let names = self.networks.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
        format!(
            "{comment} From the site {}, network {names}. Loaders come from TFTP at {}, scripts from {}.\n\
             {comment} Made by `barista export`; make it again after the site has changed.\n",
            self.table.site,
            self.table.tftp_address,
            self.table.http_base()
        )
    }
}

#[cfg(test)]
mod tests;
