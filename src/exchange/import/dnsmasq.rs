//! dnsmasq's configuration: `dhcp-host` and the files that hold more of them, dnsmasq(8).
//!
//! **Invariant:** a word of `dhcp-host` means what it means to dnsmasq (its option.c): what looks like a lease time is one, also where
//! it was meant as a name.

use super::{Format, Imported, Include, Reach, Reservation, parse_mac};
use crate::names::near_ipv4;

/// Options that name further files, what these hold, and whether a directory is named.
const INCLUDES: [(&str, Format, Reach); 4] = [
    ("conf-file", Format::Dnsmasq, Reach::File),
    ("conf-dir", Format::Dnsmasq, Reach::Directory),
    ("dhcp-hostsfile", Format::DnsmasqHosts, Reach::File),
    ("dhcp-hostsdir", Format::DnsmasqHosts, Reach::Directory),
];

/// Reads a file of options.
pub(super) fn parse(text: &str) -> Imported {
    let mut imported = Imported::default();
    for (line, text) in (1..).zip(text.lines()) {
        let text = without_comment(text);
        let (option, value) = text.split_once('=').map_or((text.as_str(), ""), |(option, value)| (option.trim(), value.trim()));
        let option = option.trim_start_matches("--");
        let include = INCLUDES.iter().find(|(name, _, _)| *name == option);
        match (option, include) {
            ("", _) => {}
            ("dhcp-host", _) => read_host(&mut imported, line, value),
            ("read-ethers", _) => {
                let path = "/etc/ethers".to_owned();
                imported.includes.push(Include { line, path, format: Format::Ethers, reach: Reach::File, endings: Vec::new() });
            }
            (_, Some((_, format, reach))) => {
                let mut words = value.split(',').map(|word| word.trim().to_owned());
                let path = words.next().unwrap_or_default();
                let endings = words.filter(|word| !word.is_empty()).collect();
                imported.includes.push(Include { line, path, format: *format, reach: *reach, endings });
            }
            _ => imported.leave(line, text),
        }
    }
    imported
}

/// Reads a file of values of `dhcp-host`.
pub(super) fn parse_hosts(text: &str) -> Imported {
    let mut imported = Imported::default();
    for (line, text) in (1..).zip(text.lines()) {
        let text = without_comment(text);
        if !text.is_empty() {
            read_host(&mut imported, line, &text);
        }
    }
    imported
}

/// A line without its comment and its quotes: `#` begins one at the beginning and after a blank.
fn without_comment(line: &str) -> String {
    let mut kept = String::new();
    let (mut is_quoted, mut before) = (false, ' ');
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => is_quoted = !is_quoted,
            '\\' if is_quoted => kept.extend(characters.next()),
            '#' if !is_quoted && before.is_whitespace() => break,
            other => kept.push(other),
        }
        before = character;
    }
    kept.trim().to_owned()
}

fn read_host(imported: &mut Imported, line: u32, value: &str) {
    let mut host = Reservation { line, name: None, declared: None, macs: Vec::new(), ip: None };
    let mut left = Vec::new();
    for word in value.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        if word.eq_ignore_ascii_case("ignore") {
            return imported.leave(line, format!("dhcp-host={value}: dnsmasq does not answer it"));
        }
        if let Some(mac) = parse_mac(word).filter(|_| word.contains([':', '-'])) {
            host.macs.push(mac);
        } else if word.contains('.') && near_ipv4(word).is_some() {
            match host.ip {
                None => host.ip = imported.read_ip(line, word),
                Some(_) => left.push(word),
            }
        } else if word.contains([':', '[', '*']) || is_lease_time(word) || host.name.is_some() {
            left.push(word);
        } else {
            host.name = Some(word.to_owned());
        }
    }
    if host.macs.is_empty() {
        return imported.leave(line, format!("dhcp-host={value}: it names no Ethernet address"));
    }
    if !left.is_empty() {
        imported.leave(line, format!("{} of dhcp-host={value}", left.join(", ")));
    }
    imported.machines.push(host);
}

/// Whether dnsmasq takes a word for a lease time.
fn is_lease_time(word: &str) -> bool {
    let number = word.strip_suffix(['s', 'm', 'h', 'd', 'w']).unwrap_or(word);
    word == "infinite" || !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}
