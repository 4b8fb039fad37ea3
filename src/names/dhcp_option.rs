//! DHCP options a site may set: their names, numbers and forms, in one table.
//!
//! **Invariant:** an option that has a form is set by its form alone, whether it is written by name or by number; one that the
//! server answers by itself is never the site's. RFC 2132, 2563, 3397, 3442, 4833, 5071, 5859, 8910, 8925; names as IANA's
//! registry words them.

use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt};

/// What an option's value is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionForm {
    /// One IPv4 address.
    Address,
    /// One IPv4 address or more.
    Addresses,
    /// Text.
    Text,
    /// DNS names, as RFC 3397 packs them, without compression.
    Domains,
    /// Routes written `10.0.0.0/8 via 192.168.1.1` (RFC 3442).
    Routes,
    /// True or false.
    Flag,
    /// A number of one octet.
    Number8,
    /// A number of two octets.
    Number16,
    /// A number of four octets.
    Number32,
    /// Seconds that may be negative.
    Signed32,
    /// Text, `hex:…`, or numbers of one octet each: for options that no name is known of.
    Octets,
}

/// Whether a site may set an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionOwner {
    /// It may, everywhere.
    Site,
    /// It may for an image or a machine; a network has this key for it.
    NetworkKey(&'static str),
    /// It may not: the server says it, and this is what to write instead.
    Server(&'static str),
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionRule {
    /// The option's number.
    pub number: u8,
    /// Its name; empty where none is known.
    pub name: &'static str,
    /// What its value is made of.
    pub form: OptionForm,
    /// Who says it.
    pub owner: OptionOwner,
}

const fn own(number: u8, name: &'static str, form: OptionForm) -> OptionRule {
    OptionRule { number, name, form, owner: OptionOwner::Site }
}

const fn keyed(number: u8, name: &'static str, form: OptionForm, key: &'static str) -> OptionRule {
    OptionRule { number, name, form, owner: OptionOwner::NetworkKey(key) }
}

const fn server(number: u8, name: &'static str, hint: &'static str) -> OptionRule {
    OptionRule { number, name, form: OptionForm::Octets, owner: OptionOwner::Server(hint) }
}

const NOTHING: &str = "leave it out: the server says it in every reply";
const ECHO: &str = "leave it out: it belongs to requests, or is echoed from them";
const LOADER: &str = "leave it out: what a machine boots is said with loader and pxe, for the site, a network or a machine";

/// Every option that has a name here, by number.
pub const OPTION_RULES: &[OptionRule] = &{
    use OptionForm::{Address, Addresses, Domains, Flag, Number8, Number16, Number32, Octets, Routes, Signed32, Text};
    [
        server(0, "pad", NOTHING),
        server(1, "subnet-mask", "leave it out: it follows from the network's subnet"),
        own(2, "time-offset", Signed32),
        keyed(3, "routers", Addresses, "router"),
        own(4, "time-servers", Addresses),
        keyed(6, "domain-name-servers", Addresses, "dns"),
        own(7, "log-servers", Addresses),
        own(9, "lpr-servers", Addresses),
        server(12, "host-name", "leave it out: a machine's name is its host name"),
        keyed(15, "domain-name", Text, "domain"),
        own(16, "swap-server", Address),
        own(17, "root-path", Text),
        own(18, "extensions-path", Text),
        own(19, "ip-forwarding", Flag),
        own(23, "default-ip-ttl", Number8),
        own(26, "interface-mtu", Number16),
        server(28, "broadcast-address", "leave it out: it follows from the network's subnet"),
        own(31, "router-discovery", Flag),
        own(35, "arp-cache-timeout", Number32),
        own(38, "tcp-keepalive-interval", Number32),
        own(40, "nis-domain", Text),
        own(41, "nis-servers", Addresses),
        own(42, "ntp-servers", Addresses),
        server(43, "vendor-encapsulated-options", LOADER),
        own(44, "netbios-name-servers", Addresses),
        own(45, "netbios-dd-servers", Addresses),
        own(46, "netbios-node-type", Number8),
        own(47, "netbios-scope", Text),
        own(48, "font-servers", Addresses),
        own(49, "x-display-managers", Addresses),
        server(50, "requested-address", ECHO),
        server(51, "lease-time", "leave it out: a network has lease-time for it"),
        server(52, "option-overload", NOTHING),
        server(53, "message-type", NOTHING),
        server(54, "server-identifier", NOTHING),
        server(55, "parameter-request-list", ECHO),
        server(56, "message", NOTHING),
        server(57, "max-message-size", ECHO),
        server(58, "renewal-time", "leave it out: it follows from the network's lease-time"),
        server(59, "rebinding-time", "leave it out: it follows from the network's lease-time"),
        server(60, "vendor-class-identifier", LOADER),
        server(61, "client-identifier", ECHO),
        own(64, "nisplus-domain", Text),
        own(65, "nisplus-servers", Addresses),
        // Phones and switches read it too; a machine that boots is told its loader's server instead.
        own(66, "tftp-server-name", Text),
        server(67, "bootfile-name", LOADER),
        own(69, "smtp-servers", Addresses),
        own(70, "pop3-servers", Addresses),
        own(72, "www-servers", Addresses),
        server(77, "user-class", ECHO),
        server(82, "relay-agent-information", ECHO),
        server(93, "client-architecture", ECHO),
        server(94, "client-network-interface", ECHO),
        server(97, "client-uuid", ECHO),
        own(100, "posix-timezone", Text),
        own(101, "tzdb-timezone", Text),
        own(108, "ipv6-only-preferred", Number32),
        own(114, "captive-portal", Text),
        own(116, "auto-configure", Flag),
        own(119, "domain-search", Domains),
        own(121, "classless-static-routes", Routes),
        own(150, "tftp-server-addresses", Addresses),
        server(175, "ipxe", "leave it out: the server speaks to iPXE by itself"),
        own(208, "pxelinux-magic", Octets),
        own(209, "pxelinux-config-file", Text),
        own(210, "pxelinux-path-prefix", Text),
        own(211, "pxelinux-reboot-time", Number32),
        own(249, "microsoft-classless-static-routes", Routes),
        own(252, "wpad-url", Text),
        server(255, "end", NOTHING),
    ]
};

impl OptionRule {
    /// The rule of an option, by its name or its number; `None` if it is neither a name of the table nor 0 to 255.
    pub fn find(written: &str) -> Option<Self> {
        let by_name = OPTION_RULES.iter().find(|rule| rule.name == written).copied();
        // `+7` and `007` would be further spellings of one option.
        let plain = |number: &u8| number.to_string() == written;
        by_name.or_else(|| written.parse().ok().filter(plain).map(Self::of))
    }

    /// The rule of a number.
    pub fn of(number: u8) -> Self {
        OPTION_RULES.iter().find(|rule| rule.number == number).copied().unwrap_or(own(number, "", OptionForm::Octets))
    }
}

impl OptionRule {
    /// Number and name: `option 42 (ntp-servers)`.
    pub fn title(&self) -> String {
        match self.name {
            "" => format!("option {}", self.number),
            name => format!("option {} ({name})", self.number),
        }
    }

    /// A value as a person reads it: as the site spells it where its form is simple, else hex.
    pub fn show(&self, data: &[u8]) -> String {
        let number = || data.iter().fold(0u64, |number, octet| number << 8 | u64::from(*octet));
        match self.form {
            OptionForm::Address | OptionForm::Addresses if data.len().is_multiple_of(4) => {
                let addresses = data.chunks(4).map(|four| four.iter().map(u8::to_string).collect::<Vec<_>>().join("."));
                addresses.collect::<Vec<_>>().join(" ")
            }
            OptionForm::Number8 | OptionForm::Number16 | OptionForm::Number32 if data.len() <= 4 => number().to_string(),
            OptionForm::Text => String::from_utf8_lossy(data).into_owned(),
            _ => OptionData(data.to_vec()).to_string(),
        }
    }
}

impl fmt::Display for OptionRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            "" => write!(f, "{}", self.number),
            name => f.write_str(name),
        }
    }
}

/// Options as they stand in a reply, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct DhcpOptions(BTreeMap<u8, OptionData>);

/// An option's octets; hex in documents.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OptionData(Vec<u8>);

impl DhcpOptions {
    /// True without any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets one.
    pub fn set(&mut self, number: u8, data: Vec<u8>) {
        self.0.insert(number, OptionData(data));
    }

    /// True when this one is set.
    pub fn contains(&self, number: u8) -> bool {
        self.0.contains_key(&number)
    }

    /// These, and of the others those that are not set here.
    pub fn over(&self, others: &Self) -> Self {
        let mut all = others.clone();
        all.0.extend(self.0.clone());
        all
    }

    /// Each with its octets, by number.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.0.iter().map(|(number, data)| (*number, data.0.as_slice()))
    }

    /// What they take of a reply: each its octets, a number and a length.
    pub fn length(&self) -> usize {
        self.iter().map(|(_, data)| data.len() + 2).sum()
    }
}

impl fmt::Display for OptionData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl std::str::FromStr for OptionData {
    type Err = super::NameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |rule: &str| super::NameError::new("option data", text, rule);
        if text.is_empty() || text.len() > 510 || !text.len().is_multiple_of(2) {
            return Err(refuse("must be 1 to 255 octets of two hex digits each"));
        }
        let octet = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => text.as_bytes().chunks(2).map(octet).collect::<Option<_>>().map(Self).ok_or_else(|| refuse("is not hex")),
            false => Err(refuse("holds something that is no hex digit")),
        }
    }
}

super::string_form!(OptionData, "an option's octets in hex", "^([0-9a-fA-F]{2}){1,255}$");

impl OptionData {
    /// The octets.
    pub fn octets(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_or_a_name_stands_for_one_option_only() {
        for pair in OPTION_RULES.windows(2) {
            assert!(pair[0].number < pair[1].number, "{} and {}", pair[0], pair[1]);
        }
        let names: std::collections::BTreeSet<_> = OPTION_RULES.iter().map(|rule| rule.name).collect();
        assert_eq!(names.len(), OPTION_RULES.len());
        assert_eq!(OptionRule::find("42"), OptionRule::find("ntp-servers"));
        for unknown in ["256", "-1", "+7", "042", "ntp", ""] {
            assert_eq!(OptionRule::find(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn a_value_is_shown_as_it_is_spelled() {
        for (name, data, shown) in [
            ("ntp-servers", &[10, 0, 0, 1, 10, 0, 0, 2][..], "10.0.0.1 10.0.0.2"),
            ("interface-mtu", &[0x23, 0x28], "9000"),
            ("wpad-url", b"http://x/", "http://x/"),
            ("224", &[1, 0xff], "01ff"),
        ] {
            assert_eq!(OptionRule::find(name).expect("it is one").show(data), shown, "{name}");
        }
    }

    #[test]
    fn octets_are_hex_in_a_document_and_read_back() {
        let mut options = DhcpOptions::default();
        options.set(42, vec![10, 0, 0, 1]);
        let text = serde_json::to_string(&options).expect("it serialises");
        assert_eq!(text, r#"{"42":"0a000001"}"#);
        assert_eq!(serde_json::from_str::<DhcpOptions>(&text).expect("it reads"), options);
        assert!(serde_json::from_str::<DhcpOptions>(r#"{"42":"0a0"}"#).is_err());
        assert!(serde_json::from_str::<DhcpOptions>(r#"{"256":"0a"}"#).is_err());
    }
}
