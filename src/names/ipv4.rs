//! IPv4 addresses as people and spreadsheets write them.
//!
//! **Invariant:** what is read as an address has four octets and nothing else but a prefix length; whatever is left over makes it none.

use std::net::Ipv4Addr;

/// Reads an address that may have zeroes before its octets (`192.168.001.102`), a prefix length behind it (`192.168.1.102/24`), or no
/// dots because a spreadsheet took it for a number (`192168001102`). Zeroes never mean octal numbers here: nobody writes those by hand.
pub fn near_ipv4(text: &str) -> Option<Ipv4Addr> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
    prefix.trim().parse::<u8>().ok().filter(|prefix| *prefix <= 32)?;
    let address = address.trim();
    let is_number = address.len() == 12 && address.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = match is_number {
        true => (0..4).filter_map(|at| address.get(at * 3..at * 3 + 3)).collect(),
        false => address.split('.').collect(),
    };
    let octet = |part: &&str| part.parse::<u8>().ok().filter(|_| part.bytes().all(|byte| byte.is_ascii_digit()));
    let octets: Vec<u8> = parts.iter().map(octet).collect::<Option<_>>()?;
    <[u8; 4]>::try_from(octets).ok().map(Ipv4Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_meant_and_nothing_is_left_over() {
        let meant = Some(Ipv4Addr::new(192, 168, 1, 102));
        for text in ["192.168.1.102", "192.168.001.102", "192.168.1.102/24", " 192.168.001.102 / 24 ", "192168001102"] {
            assert_eq!(near_ipv4(text), meant, "{text}");
        }
        for text in [
            "",
            "192.168.1",
            "192.168.1.102.1",
            "192.168.1.300",
            "192.168.1.102/33",
            "192.168.1.102-110",
            "999168001102",
            "+1.2.3.4",
        ] {
            assert_eq!(near_ipv4(text), None, "{text}");
        }
    }
}
