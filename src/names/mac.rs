//! Ethernet addresses, in every spelling that firmware and people use.
//!
//! **Invariant:** holds a unicast address that is not all zero; a group address never names a machine.

use super::{NameError, string_form};
use std::{fmt, str::FromStr};

/// A machine's Ethernet address; printed as `88:ae:dd:05:08:fa`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MacAddr([u8; 6]);

impl MacAddr {
    /// Takes six octets from the wire; refuses zero and group addresses.
    pub fn from_octets(octets: [u8; 6]) -> Result<Self, NameError> {
        let text = || Self(octets).to_string();
        if octets == [0; 6] {
            return Err(NameError::new("MAC address", &text(), "is all zero"));
        }
        if octets[0] & 1 == 1 {
            return Err(NameError::new("MAC address", &text(), "is a group address; a machine has a unicast one"));
        }
        Ok(Self(octets))
    }

    /// The six octets in wire order.
    pub fn octets(self) -> [u8; 6] {
        self.0
    }

    /// Twelve lower-case hex digits, iPXE's `${net0/mac:hexraw}`.
    pub fn hexraw(self) -> String {
        self.0.iter().map(|octet| format!("{octet:02x}")).collect()
    }
}

impl FromStr for MacAddr {
    type Err = NameError;

    /// Accepts `aa:bb:cc:dd:ee:ff`, `AA-BB-..`, `aabb.ccdd.eeff`, `aabbccddeeff` and PXELINUX's `01-aa-bb-..`.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError::new("MAC address", text, "is not six octets in hex, such as 88:ae:dd:05:08:fa");
        let octet = |part: &str| match part.len() {
            2 if part.bytes().all(|b| b.is_ascii_hexdigit()) => u8::from_str_radix(part, 16).map_err(|_| wrong()),
            _ => Err(wrong()),
        };
        let separator = [':', '-'].into_iter().find(|s| text.contains(*s));
        let parts: Vec<&str> = match separator {
            Some(separator) => text.split(separator).collect(),
            None => {
                let groups: Vec<&str> = text.split('.').collect();
                let even = groups.len() == 1 || (groups.len() == 3 && groups.iter().all(|g| g.len() == 4));
                if !even || !text.is_ascii() || groups.iter().map(|g| g.len()).sum::<usize>() != 12 {
                    return Err(wrong());
                }
                groups.iter().flat_map(|g| (0..g.len()).step_by(2).map(|at| &g[at..at + 2])).collect()
            }
        };
        let octets = parts.iter().map(|part| octet(part)).collect::<Result<Vec<u8>, _>>()?;
        match octets[..] {
            [a, b, c, d, e, f] | [1, a, b, c, d, e, f] => Self::from_octets([a, b, c, d, e, f]),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

string_form!(
    MacAddr,
    "Ethernet address, such as 88:ae:dd:05:08:fa",
    "^([0-9a-fA-F]{2}[:-]){5,6}[0-9a-fA-F]{2}$|^[0-9a-fA-F]{12}$|^([0-9a-fA-F]{4}\\.){2}[0-9a-fA-F]{4}$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_reads_as_one_address() {
        for text in ["88:ae:dd:05:08:fa", "88-AE-DD-05-08-FA", "88ae.dd05.08fa", "88aedd0508fa", "01-88-ae-dd-05-08-fa"] {
            assert_eq!(text.parse::<MacAddr>().map(|m| m.to_string()).as_deref(), Ok("88:ae:dd:05:08:fa"));
        }
    }

    #[test]
    fn what_is_no_machine_is_refused() {
        for text in [
            "",
            "88:ae:dd:05:08",
            "88:ae:dd:05:08:f",
            "00:00:00:00:00:00",
            "ff:ff:ff:ff:ff:ff",
            "01:00:5e:00:00:01",
            "88aedd0508é",
            "+8:ae:dd:05:08:fa",
            "8.8.aedd0508fa",
        ] {
            assert!(text.parse::<MacAddr>().is_err(), "{text:?} passed");
        }
    }
}
