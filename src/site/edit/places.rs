//! Where a site's machines, their Ethernet addresses and reserved addresses stand in its text.
//!
//! **Invariant:** lines count from 1, and are those of the text as it is.

use crate::names::{MacAddr, MachineName};
use crate::site::{Entry, Tree};
use std::{collections::BTreeMap, net::Ipv4Addr};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A line of a site's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextPlace {
    /// The file's path in the site.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
}

/// Where what machines have stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// Their names.
    pub names: BTreeMap<MachineName, TextPlace>,
    /// Their Ethernet addresses.
    pub macs: BTreeMap<MacAddr, TextPlace>,
    /// Their reserved addresses.
    pub ips: BTreeMap<Ipv4Addr, TextPlace>,
}

/// Finds the places in a site's text; what does not read has none.
pub fn places(tree: &Tree) -> Places {
    let mut places = Places::default();
    for (path, entry) in &tree.entries {
        let Entry::File(bytes) = entry else { continue };
        if !path.starts_with("machines/") || !path.ends_with(".toml") {
            continue;
        }
        let Ok(text) = std::str::from_utf8(bytes) else { continue };
        let (table, _) = DeTable::parse_recoverable(text);
        let Some(DeValue::Array(machines)) = table.get_ref().get("machine").map(Spanned::get_ref) else { continue };
        for machine in machines.iter().filter_map(|machine| machine.get_ref().as_table()) {
            read(&mut places, path, text, machine);
        }
    }
    places
}

fn read(places: &mut Places, path: &str, text: &str, machine: &DeTable<'_>) {
    let place = |value: &Spanned<DeValue<'_>>| {
        let before = &text.as_bytes()[..value.span().start.min(text.len())];
        TextPlace { file: path.to_owned(), line: before.iter().filter(|byte| **byte == b'\n').count() as u32 + 1 }
    };
    let string = |value: &Spanned<DeValue<'_>>| value.get_ref().as_str().map(str::to_owned);
    if let Some(value) = machine.get("name")
        && let Some(name) = string(value).and_then(|name| name.parse().ok())
    {
        places.names.insert(name, place(value));
    }
    if let Some(value) = machine.get("ip")
        && let Some(ip) = string(value).and_then(|ip| ip.parse().ok())
    {
        places.ips.insert(ip, place(value));
    }
    let several = machine.get("macs").and_then(|value| value.get_ref().as_array());
    for value in machine.get("mac").into_iter().chain(several.into_iter().flat_map(|list| list.iter())) {
        if let Some(mac) = string(value).and_then(|mac| mac.parse().ok()) {
            places.macs.insert(mac, place(value));
        }
    }
}
