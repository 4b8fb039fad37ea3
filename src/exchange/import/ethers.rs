//! `/etc/ethers`: an Ethernet address and a name or an IPv4 address on each line, ethers(5).
//!
//! **Invariant:** a name is never looked up.

use super::{Imported, Reservation, parse_mac};

pub(super) fn parse(text: &str) -> Imported {
    let mut imported = Imported::default();
    for (line, text) in (1..).zip(text.lines()) {
        let words: Vec<&str> = text.split('#').next().unwrap_or_default().split_whitespace().collect();
        match words[..] {
            [] => {}
            [mac, who] => match parse_mac(mac) {
                Some(mac) => {
                    let ip = if who.contains('.') { imported.read_ip(line, who) } else { None };
                    let name = if ip.is_none() { Some(who.to_owned()) } else { None };
                    imported.machines.push(Reservation { line, name, declared: None, macs: vec![mac], ip });
                }
                None => imported.leave(line, format!("{mac:?} is no Ethernet address of a machine")),
            },
            _ => imported.leave(line, format!("{:?} is no Ethernet address with one name or address", words.join(" "))),
        }
    }
    imported
}
