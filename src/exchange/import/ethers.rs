//! `/etc/ethers`: an Ethernet address and a name or an IPv4 address on each line, ethers(5).
//!
//! **Invariant:** a name is never looked up.

use super::{Imported, Reservation, parse_mac};

pub(super) fn parse(text: &str) -> Imported {
    let mut imported = Imported::default();
    for (line, text) in (1..).zip(text.lines()) {
        match words(text)[..] {
            [] => {}
            [mac, who] => match parse_mac(mac) {
                Some(mac) => {
                    let ip = if who.contains('.') { imported.read_ip(line, who) } else { None };
                    let name = if ip.is_none() { Some(who.to_owned()) } else { None };
                    imported.machines.push(Reservation { line, name, declared: None, macs: vec![mac], ip });
                }
                None => imported.leave(line, format!("{mac:?} is no Ethernet address of a machine")),
            },
            _ => imported.leave(line, format!("{:?} is no Ethernet address with one name or address", text.trim())),
        }
    }
    imported
}

/// The words of a line. Where one stands alone, the one word of its comment belongs to it: no server has a use for such a line, and
/// lists of inventories are written so.
pub(super) fn words(line: &str) -> Vec<&str> {
    let (said, comment) = line.split_once('#').unwrap_or((line, ""));
    let (mut words, comment): (Vec<&str>, Vec<&str>) = (said.split_whitespace().collect(), comment.split_whitespace().collect());
    if let ([_], [name]) = (&words[..], &comment[..]) {
        words.push(name);
    }
    words
}
