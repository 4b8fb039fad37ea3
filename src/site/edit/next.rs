//! The next name and the next address of a row.
//!
//! **Invariant:** never one that the site has given away, whatever file gave it.

use super::{EditError, NamePattern};
use crate::names::MachineName;
use crate::site::Site;
use ipnet::Ipv4Net;
use std::{collections::BTreeSet, net::Ipv4Addr};

/// What a site has given away.
pub(super) struct Taken {
    names: BTreeSet<MachineName>,
    addresses: BTreeSet<Ipv4Addr>,
    subnets: Vec<Ipv4Net>,
    ranges: Vec<(Ipv4Addr, Ipv4Addr)>,
}

impl Taken {
    /// By a site.
    pub fn of(site: &Site) -> Self {
        let moved = site.moved_machines.values().flatten();
        let server = [site.server.address, site.server.tftp_address, site.server.http_address, site.server.iscsi_address];
        let networks = || site.networks.values();
        let reserved = site.machines.values().filter_map(|machine| machine.ip);
        let infrastructure = networks().flat_map(|network| network.router.into_iter().chain(network.relay.iter().copied()));
        let name_servers = networks().flat_map(|network| network.dns.iter().copied());
        Self {
            names: site.machines.keys().chain(moved).cloned().collect(),
            addresses: reserved.chain(server).chain(infrastructure).chain(name_servers).collect(),
            subnets: networks().map(|network| network.subnet).collect(),
            ranges: networks().filter_map(|network| network.range).collect(),
        }
    }

    /// Gives more away.
    pub fn take(&mut self, name: &MachineName, ip: Option<Ipv4Addr>) {
        self.names.insert(name.clone());
        self.addresses.extend(ip);
    }

    /// The first name of a pattern behind the highest that is taken.
    pub fn next_of(&self, pattern: &NamePattern) -> Result<MachineName, EditError> {
        let highest = self.names.iter().filter_map(|name| pattern.number(name)).max().unwrap_or(0);
        let next = highest.checked_add(1).and_then(|number| pattern.name(number));
        next.ok_or_else(|| EditError::NoName(pattern.to_string()))
    }

    fn is_free(&self, ip: Ipv4Addr) -> bool {
        let in_subnet = |subnet: &Ipv4Net| subnet.contains(&ip) && ip != subnet.network() && ip != subnet.broadcast();
        self.subnets.iter().any(in_subnet)
            && !self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&ip))
            && !self.addresses.contains(&ip)
    }

    fn subnet_of(&self, ip: Ipv4Addr) -> Option<Ipv4Net> {
        self.subnets.iter().copied().find(|subnet| subnet.contains(&ip))
    }
}

/// A name's part before its number, its number, and how many digits that has.
pub(super) fn split(name: &str) -> Option<(&str, u32, usize)> {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (stem, number) = name.split_at(name.len() - digits);
    Some((stem, number.parse().ok()?, digits))
}

/// The name after the highest number of the row, in the spelling of its last machine.
pub(super) fn name(row: &[MachineName], taken: &Taken) -> Result<MachineName, EditError> {
    let last = row.last().ok_or(EditError::WhichFile)?;
    let (stem, _, width) = split(last.as_str()).ok_or_else(|| EditError::NoNumber(last.to_string()))?;
    let numbers = row.iter().filter_map(|name| split(name.as_str()).filter(|(other, _, _)| *other == stem));
    let highest = numbers.map(|(_, number, _)| number).max().unwrap_or(0);
    // More names than a site has machines are not taken.
    let candidates = (1..=taken.names.len() as u32 + 1).filter_map(|n| highest.checked_add(n));
    candidates
        .filter_map(|number| format!("{stem}{number:0width$}").parse().ok())
        .find(|name| !taken.names.contains(name))
        .ok_or_else(|| EditError::NoName(last.to_string()))
}

/// The address that goes with a name: as far from its number as the row's others are from theirs, or else after the row's highest;
/// none where the row reserves none.
pub(super) fn address(row: &[(MachineName, Ipv4Addr)], name: &MachineName, taken: &Taken) -> Result<Option<Ipv4Addr>, EditError> {
    let Some(highest) = row.iter().map(|(_, ip)| *ip).max() else { return Ok(None) };
    let distance = |(name, ip): &(MachineName, Ipv4Addr)| {
        split(name.as_str()).map(|(stem, number, _)| (stem.to_owned(), i64::from(u32::from(*ip)) - i64::from(number)))
    };
    let distances: BTreeSet<_> = row.iter().filter_map(distance).collect();
    if let (1, Some((stem, distance)), Some((own_stem, number, _))) = (distances.len(), distances.first(), split(name.as_str()))
        && stem == own_stem
        && let Ok(ip) = u32::try_from(i64::from(number) + distance).map(Ipv4Addr::from)
        && taken.is_free(ip)
        && taken.subnet_of(ip) == taken.subnet_of(highest)
    {
        return Ok(Some(ip));
    }
    let subnet = taken.subnet_of(highest).ok_or(EditError::NoAddress { after: highest })?;
    let after = u32::from(highest)..u32::from(subnet.broadcast());
    let free = after.map(Ipv4Addr::from).find(|ip| taken.is_free(*ip));
    free.map(Some).ok_or(EditError::NoAddress { after: highest })
}
