//! Addresses, subnets and the names of interfaces and domains.
//!
//! **Invariant:** a subnet has no host bits, a range does not run backwards. RFC 1035 §2.3.1 for domains, `dev_valid_name`
//! of the kernel's `net/core/dev.c` for interfaces.

use super::text_form;
use crate::names::{NameError, string_form};
use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor, value::StrDeserializer},
};
use std::{fmt, net::Ipv4Addr, str::FromStr};

/// An IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::site) struct Address(pub(in crate::site) Ipv4Addr);

impl FromStr for Address {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let rule = "is not an IPv4 address: four numbers from 0 to 255, such as 192.168.1.2";
        text.parse().map(Self).map_err(|_| NameError::new("address", text, rule))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

string_form!(Address, "IPv4 address, such as 192.168.1.2", "^([0-9]{1,3}\\.){3}[0-9]{1,3}$");

/// A subnet with its prefix length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::site) struct Subnet(pub(in crate::site) Ipv4Net);

impl FromStr for Subnet {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |rule: String| NameError::new("subnet", text, rule);
        let net: Ipv4Net =
            text.parse().map_err(|_| wrong("is not an IPv4 address, '/' and a prefix length, such as 192.168.1.0/24".into()))?;
        if net.trunc() != net {
            return Err(wrong(format!("has host bits; the subnet is {}", net.trunc())));
        }
        if !(8..=30).contains(&net.prefix_len()) {
            return Err(wrong("needs a prefix length from 8 to 30, to have room for a server and its machines".into()));
        }
        Ok(Self(net))
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

string_form!(Subnet, "subnet, such as 192.168.1.0/24", "^([0-9]{1,3}\\.){3}[0-9]{1,3}/([89]|[12][0-9]|30)$");

/// First and last address of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::site) struct AddressRange {
    pub(in crate::site) first: Ipv4Addr,
    pub(in crate::site) last: Ipv4Addr,
}

impl AddressRange {
    /// True if the address is one of the range's.
    pub(in crate::site) fn contains(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }
}

impl FromStr for AddressRange {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |rule: &str| NameError::new("range", text, rule);
        let ends = text.split_once('-').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
        let (first, last) =
            ends.ok_or_else(|| wrong("is not two IPv4 addresses with '-' between, such as 192.168.1.200-192.168.1.249"))?;
        if first > last {
            return Err(wrong("ends before it begins"));
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

string_form!(
    AddressRange,
    "first and last address, such as 192.168.1.200-192.168.1.249",
    "^([0-9]{1,3}\\.){3}[0-9]{1,3} ?- ?([0-9]{1,3}\\.){3}[0-9]{1,3}$"
);

/// One address, or a list of them.
#[derive(Debug, Clone, Default, JsonSchema)]
#[schemars(with = "RelaysForm")]
pub(in crate::site) struct Relays(pub(in crate::site) Vec<Address>);

/// How [`Relays`] may be written.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum RelaysForm {
    One(Address),
    Many(Vec<Address>),
}

impl<'de> Deserialize<'de> for Relays {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Relays;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address or an array of addresses")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Relays, E> {
                Address::deserialize(StrDeserializer::new(text)).map(|one| Relays(vec![one]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Relays, A::Error> {
                let mut relays = Vec::new();
                while let Some(item) = items.next_element()? {
                    relays.push(item);
                }
                Ok(Relays(relays))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

/// A network interface's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::site) struct InterfaceName(String);

impl FromStr for InterfaceName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |rule: &str| Err(NameError::new("interface name", text, rule));
        if text.is_empty() || text.len() > 15 {
            return refuse("must measure 1 to 15 characters, as the kernel's do");
        }
        // `ip link` shows a VLAN as eno1.5@eno1: its name is what stands before the @.
        if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "_.-".contains(*c))) {
            return refuse(&format!("holds {bad:?}; only letters, digits and _ . - are allowed"));
        }
        if text.parse::<Ipv4Addr>().is_ok() || ["any", "all"].contains(&text) {
            return refuse("must be the name of one interface");
        }
        if text == "." || text == ".." || text.starts_with('-') {
            return refuse("is not a name the kernel gives to an interface");
        }
        Ok(Self(text.to_owned()))
    }
}

text_form!(InterfaceName, "network interface, such as eno1", "^[A-Za-z0-9_.][A-Za-z0-9_.-]{0,14}$");

/// A DNS domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::site) struct DomainName(String);

impl FromStr for DomainName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let label = |l: &str| !l.is_empty() && l.len() <= 63 && l.chars().all(legal) && !l.starts_with('-') && !l.ends_with('-');
        // 253 octets: 255 on the wire (RFC 1035 §2.3.4) less the first length and the root.
        if text.len() > 253 || !text.split('.').all(label) {
            return Err(NameError::new("domain", text, "is not a lower-case DNS name, such as cafe.example"));
        }
        Ok(Self(text.to_owned()))
    }
}

text_form!(
    DomainName,
    "DNS domain, such as cafe.example",
    "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_has_no_host_bits_and_a_range_runs_forward() {
        assert!("192.168.1.0/24".parse::<Subnet>().is_ok());
        for bad in ["192.168.1.5/24", "192.168.1.0", "192.168.1.0/31", "0.0.0.0/0", "x/24", "192.168.1.0/255.255.255.0"] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad} passed");
        }
        let range: AddressRange = "192.168.1.200 - 192.168.1.249".parse().expect("legal");
        assert_eq!(range.to_string(), "192.168.1.200-192.168.1.249");
        for bad in ["192.168.1.9-192.168.1.3", "192.168.1.9", "192.168.1.9-", "192.168.1.9-20"] {
            assert!(bad.parse::<AddressRange>().is_err(), "{bad} passed");
        }
    }

    #[test]
    fn interfaces_are_named_as_the_kernel_names_them() {
        for good in ["eno1", "enp3s0f0np0", "br-lan", "eth0.100"] {
            assert!(good.parse::<InterfaceName>().is_ok(), "{good} refused");
        }
        for bad in ["", "..", "eno 1", "a/b", "enp0s31f6sixteen", "eth0:1", "é", "br0@if2"] {
            assert!(bad.parse::<InterfaceName>().is_err(), "{bad} passed");
        }
    }

    #[test]
    fn domains_are_lower_case_labels() {
        assert!("cafe.example".parse::<DomainName>().is_ok());
        for bad in ["", ".", "a..b", "-a.b", "Cafe.example", "a b", &"a.".repeat(127)] {
            assert!(bad.parse::<DomainName>().is_err(), "{bad} passed");
        }
    }
}
