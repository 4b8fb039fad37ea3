//! Addresses, networks and ranges as other programs write them.
//!
//! **Invariant:** a netmask is never taken for a network.

use super::{AddressRange, is_legal, items, quote, text};
use crate::names::near_ipv4;

/// An Ethernet address in any spelling.
/// An Ethernet address in any spelling.
pub fn mac(raw: &str) -> Option<String> {
    let raw = raw.strip_prefix("0x").unwrap_or(raw);
    // ARP tables of some systems leave zeroes out: 0:1b:21:5:8:fa.
    let parts: Vec<&str> = raw.split([':', '-']).collect();
    let raw = &match parts.len() {
        6 => parts.iter().map(|part| format!("{part:0>2}")).collect::<Vec<_>>().join(":"),
        _ => raw.to_owned(),
    };
    let digits: Vec<char> = raw.chars().filter(char::is_ascii_hexdigit).map(|c| c.to_ascii_lowercase()).collect();
    let others = raw.chars().any(|c| !c.is_ascii_hexdigit() && !":-. _：".contains(c));
    if digits.len() != 12 || others {
        return None;
    }
    Some(digits.chunks(2).map(|pair| pair.iter().collect::<String>()).collect::<Vec<_>>().join(":"))
}

/// One address, without what stands behind it.
pub fn address(raw: &str) -> Option<String> {
    near_ipv4(raw.split(['/', ':', ' ']).next()?).map(|address| address.to_string())
}

/// The prefix length of a netmask: of a text that is one, and no address of a network.
pub fn netmask(raw: &str) -> Option<u8> {
    let (mask, _) = raw.trim().split_once('/').unwrap_or((raw.trim(), ""));
    ipnet::ipv4_mask_to_prefix(mask.parse().ok()?).ok().filter(|prefix| *prefix >= 8)
}

/// A network by its own address and prefix length.
pub fn subnet(raw: &str) -> Option<String> {
    // A netmask is no network: which one it is of stands elsewhere.
    if netmask(raw).is_some() {
        return None;
    }
    let (net, mask) = raw.split_once('/').unwrap_or((raw, "24"));
    let prefix = match mask.trim().parse::<std::net::Ipv4Addr>() {
        Ok(mask) => ipnet::ipv4_mask_to_prefix(mask).ok()?,
        Err(_) => mask.trim().parse::<u8>().ok()?,
    };
    let net = ipnet::Ipv4Net::new(address(net.trim())?.parse().ok()?, prefix).ok()?;
    Some(net.trunc().to_string())
}

/// Two addresses, whatever parts them.
pub fn range(raw: &str) -> Option<String> {
    let raw = raw.trim_matches(['[', ']', '(', ')']);
    let separator = |c: char| "-~–—～,，;；、至到".contains(c) || c.is_whitespace();
    let ends: Vec<&str> =
        raw.split(separator).map(|end| end.trim_matches(['"', '\''])).filter(|end| !end.is_empty() && *end != "to").collect();
    let [first, last] = ends[..] else { return None };
    let first = address(first)?;
    let last = address(last).or_else(|| Some(format!("{}.{}", first.rsplit_once('.')?.0, last.parse::<u8>().ok()?)))?;
    let order = |address: &str| address.parse::<std::net::Ipv4Addr>().ok();
    let (first, last) = if order(&last) < order(&first) { (last, first) } else { (first, last) };
    Some(format!("{first}-{last}"))
}

/// What to write for a range with what dnsmasq has behind it: a netmask, and how long addresses are leased.
pub fn range_and_lease(key: &str, raw: &str) -> Option<String> {
    let parts = items(raw);
    let (ends, rest) = parts.split_at_checked(2).filter(|_| key == "range")?;
    let range = range(&ends.join("-")).filter(|range| is_legal::<AddressRange>(range))?;
    let (masks, times): (Vec<&str>, Vec<&str>) = rest.iter().copied().partition(|part| netmask(part).is_some());
    match (&masks[..], &times[..]) {
        ([] | [_], []) => Some(format!("write range = {}", quote(&range))),
        ([] | [_], [lease]) => {
            let lease = text("Interval", lease)?;
            Some(format!("write range = {}, and on a line of its own lease-time = {}", quote(&range), quote(&lease)))
        }
        _ => None,
    }
}

/// What to write where a network has two ranges, or a list without any.
pub fn two_ranges(key: &str, raw: &str) -> Option<String> {
    let ends = |item: &str| range(item).filter(|range| is_legal::<AddressRange>(range));
    let ranges: Vec<String> =
        items(raw).into_iter().filter(|_| key == "range" && raw.starts_with('[')).filter_map(ends).collect();
    let [first, _, ..] = &ranges[..] else { return None };
    Some(format!("a network has one range: write range = {}, and reserve what is not to be leased", quote(first)))
}
