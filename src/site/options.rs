//! The rules of `[options]`: which DHCP options a site may set, and the octets of each.
//!
//! **Invariant:** what passes fits its option's form, and all options of a machine fit a reply that every client takes.

use super::{
    NetworkMode,
    images::Images,
    machines::Machines,
    networks::Networks,
    raw::{DomainName, OptionValue, OptionsTable, Spanned},
    report::{FileId, Place, Report, error, warning},
    schema, spelling,
};
use crate::names::{DhcpOptions, OPTION_RULES, OptionData, OptionForm, OptionOwner, OptionRule};
use ipnet::Ipv4Net;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// The octets of one option: its length is one octet, and a split one (RFC 3396) is read wrongly by firmware.
const LONGEST: usize = 255;
/// The numbers that options have: 0 is padding, and 255 ends them (RFC 2132 §3.1, §3.2).
const OPTIONS: std::ops::RangeInclusive<u8> = 1..=254;
/// The octets of all options of one machine: of the 548 that every client takes (RFC 2131 §2), 240 are fixed and an
/// operating system's address, lease, router and name servers take a hundred.
const MOST: usize = 192;

/// Whose options they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// A network with this mode.
    Network(NetworkMode),
    /// An image's, a machine's, or those of a machines file.
    Machine,
}

/// Judges one table; what is wrong with it is left out.
pub(super) fn judge(report: &mut Report<'_>, file: FileId, table: Option<&Spanned<OptionsTable>>, of: Of) -> DhcpOptions {
    let mut options = DhcpOptions::default();
    let Some(table) = table else { return options };
    if matches!(of, Of::Network(NetworkMode::Proxy | NetworkMode::Off)) {
        let problem = warning(
            "options-without-effect",
            file.at(table.start),
            "options have no effect: another DHCP server answers on this network",
        );
        report.push(problem.hint("remove them, or set mode = \"server\""));
    }
    let strays = if matches!(of, Of::Network(_)) { fallen_below(report, file, table) } else { BTreeSet::new() };
    let mut seen: BTreeMap<u8, Place> = BTreeMap::new();
    // A table that was parsed is in the order of its keys; the first is the one that stands first.
    let mut written: Vec<&(Spanned<String>, Spanned<OptionValue>)> = table.value.0.iter().collect();
    written.sort_by_key(|(key, _)| key.start);
    for (key, value) in written.into_iter().filter(|(key, _)| !strays.contains(key.value.as_str())) {
        let place = file.at(key.start);
        let Some(rule) = OptionRule::find(&key.value) else {
            let names = OPTION_RULES.iter().filter(|rule| !matches!(rule.owner, OptionOwner::Server(_))).map(|rule| rule.name);
            // dnsmasq(8) has the word option before a name.
            let asked = key.value.trim_start_matches("option:");
            let guess = spelling::did_you_mean(asked, names);
            let plain = key.value.trim_start_matches('0').parse::<u8>().ok().filter(|number| OPTIONS.contains(number));
            let hint = match plain {
                Some(number) => format!("write \"{number}\""),
                None if !key.value.is_empty() && key.value.bytes().all(|byte| byte.is_ascii_digit()) => {
                    format!("options have the numbers {} to {}", OPTIONS.start(), OPTIONS.end())
                }
                None if ["bootfile", "filename", "boot-file"].contains(&asked) => {
                    "leave it out: what a machine boots is said with loader and pxe, for the site, a network or a machine"
                        .to_owned()
                }
                None => format!("{guess}options without a name here are written by number, in quotes: \"224\""),
            };
            report.push(error("unknown-option", place, format!("there is no DHCP option {:?}", key.value)).hint(hint));
            continue;
        };
        if let Some(first) = seen.insert(rule.number, place) {
            report.push(
                error("duplicate-option", place, format!("{} is there twice", rule.title())).hint_at("the first is", first),
            );
            continue;
        }
        match (rule.owner, of) {
            (OptionOwner::Server(hint), _) => {
                report.push(error("option-of-the-server", place, format!("{} is the server's own", rule.title())).hint(hint));
            }
            (OptionOwner::NetworkKey(other), Of::Network(_)) => {
                let message = format!("{} has a key of its own in a network", rule.title());
                report.push(error("option-has-a-key", place, message).hint(format!("write it as {other}")));
            }
            (OptionOwner::Site | OptionOwner::NetworkKey(_), _) => match encode(rule.form, &value.value) {
                Ok(data) => options.set(rule.number, data),
                Err(broken) => {
                    let message = format!("{} {broken}", rule.title());
                    report.push(error("option-value", file.at(value.start), message).hint(example(rule.form)));
                }
            },
        }
    }
    if options.length() > MOST {
        let message = format!("these DHCP options measure {} octets; {MOST} are the most", options.length());
        report.push(
            error("options-too-long", file.at(table.start), message)
                .hint("every reply must fit the 576 bytes that any client takes"),
        );
        return DhcpOptions::default();
    }
    options
}

/// The keys of a network that stand below `[options]`, which every line below it belongs to; they are one mistake.
fn fallen_below<'t>(report: &mut Report<'_>, file: FileId, table: &'t Spanned<OptionsTable>) -> BTreeSet<&'t str> {
    let path = report.path(file).to_owned();
    let is_option = |key: &str| OptionRule::find(key).is_some_and(|rule| !matches!(rule.owner, OptionOwner::Server(_)));
    let is_stray = |key: &str| !is_option(key) && schema::form_of_top(&path, key).is_some();
    let mut strays: Vec<&Spanned<String>> = table.value.0.iter().map(|(key, _)| key).filter(|key| is_stray(&key.value)).collect();
    strays.sort_by_key(|key| key.start);
    let Some(first) = strays.first() else { return BTreeSet::new() };
    let names = strays.iter().map(|key| key.value.as_str()).collect::<Vec<_>>().join(", ");
    let (message, hint) = match strays.len() {
        1 => (format!("{names} is a key of the network, and stands below [options]"), "write it above [options]"),
        _ => (format!("{names} are keys of the network, and stand below [options]"), "write them above [options]"),
    };
    let hint = format!("{hint}: every line below a [table] belongs to it, so that table comes last");
    report.push(error("key-below-options", file.at(first.start), message).hint(hint));
    for key in &strays {
        report.mark_broken(file, 0, &key.value);
    }
    strays.into_iter().map(|key| key.value.as_str()).collect()
}

/// Judges the length of what each machine is told in all.
pub(super) fn judge_together(report: &mut Report<'_>, networks: &Networks, images: &Images, machines: &Machines) {
    let networks: Vec<_> = networks.by_name.values().map(|judged| &judged.network).collect();
    for machine in machines.by_name.values() {
        let image = machine.boot.first().and_then(|name| images.by_name.get(name)).and_then(|judged| judged.image.as_ref());
        let own = image.map_or_else(|| machine.options.clone(), |image| machine.options.over(&image.options));
        let possible = networks.iter().filter(|network| machine.ip.is_none_or(|ip| network.subnet.contains(&ip)));
        let longest = possible.map(|network| own.over(&network.options).length()).max().unwrap_or_else(|| own.length());
        let Some(place) = machines.names.get(&machine.name).filter(|_| longest > MOST) else { continue };
        let message = format!("the DHCP options of machine {} measure {longest} octets; {MOST} are the most", machine.name);
        let hint =
            "every reply must fit the 576 bytes that any client takes; those of its network and its default image count too";
        report.push(error("options-too-long", *place, message).hint(hint));
    }
}

/// The octets of a value, or which rule it breaks, as the end of a sentence.
fn encode(form: OptionForm, value: &OptionValue) -> Result<Vec<u8>, String> {
    let data = match (form, value) {
        (OptionForm::Address, OptionValue::Text(text)) => address(text)?.to_vec(),
        (OptionForm::Addresses, value) => texts(value)?.into_iter().map(address).collect::<Result<Vec<_>, _>>()?.concat(),
        (OptionForm::Text, OptionValue::Text(text)) => plain(text)?,
        (OptionForm::Domains, value) => texts(value)?.into_iter().map(domain).collect::<Result<Vec<_>, _>>()?.concat(),
        (OptionForm::Routes, value) => texts(value)?.into_iter().map(route).collect::<Result<Vec<_>, _>>()?.concat(),
        (OptionForm::Flag, OptionValue::Flag(flag)) => vec![u8::from(*flag)],
        (OptionForm::Number8, OptionValue::Number(number)) => {
            vec![u8::try_from(*number).map_err(|_| outside(*number, "0 to 255"))?]
        }
        (OptionForm::Number16, OptionValue::Number(number)) => {
            u16::try_from(*number).map_err(|_| outside(*number, "0 to 65535"))?.to_be_bytes().to_vec()
        }
        (OptionForm::Number32, OptionValue::Number(number)) => {
            u32::try_from(*number).map_err(|_| outside(*number, "0 to 4294967295"))?.to_be_bytes().to_vec()
        }
        (OptionForm::Signed32, OptionValue::Number(number)) => {
            i32::try_from(*number).map_err(|_| outside(*number, "-2147483648 to 2147483647"))?.to_be_bytes().to_vec()
        }
        (OptionForm::Octets, value) => octets(value)?,
        _ => return Err(format!("takes {}", kind(form))),
    };
    match data.len() {
        0 => Err("has an empty value".to_owned()),
        1..=LONGEST => Ok(data),
        long => Err(format!("measures {long} octets; {LONGEST} are the most")),
    }
}

fn outside(number: i64, range: &str) -> String {
    format!("is {number}, which is not within {range}")
}

/// One text, or a list of them.
fn texts(value: &OptionValue) -> Result<Vec<&str>, String> {
    fn text(value: &OptionValue) -> Result<&str, String> {
        match value {
            OptionValue::Text(text) => Ok(text),
            _ => Err("takes a text or a list of texts".to_owned()),
        }
    }
    match value {
        OptionValue::List(list) => list.iter().map(|entry| text(&entry.value)).collect(),
        one => Ok(vec![text(one)?]),
    }
}

fn address(text: &str) -> Result<[u8; 4], String> {
    text.parse::<Ipv4Addr>().map(|address| address.octets()).map_err(|_| format!("holds {text:?}, which is no IPv4 address"))
}

fn plain(text: &str) -> Result<Vec<u8>, String> {
    match text.chars().find(|c| c.is_control()) {
        Some(bad) => Err(format!("holds {bad:?}, a control character")),
        None => Ok(text.as_bytes().to_vec()),
    }
}

/// Labels behind their lengths and an empty one (RFC 1035 §3.1).
fn domain(text: &str) -> Result<Vec<u8>, String> {
    text.parse::<DomainName>().map_err(|error| format!("holds what is no name: {error}"))?;
    let mut data = Vec::with_capacity(text.len() + 2);
    for label in text.split('.') {
        data.push(label.len() as u8);
        data.extend_from_slice(label.as_bytes());
    }
    data.push(0);
    Ok(data)
}

/// The prefix length, its significant octets, and the router (RFC 3442).
fn route(text: &str) -> Result<Vec<u8>, String> {
    let read =
        text.split_once(" via ").and_then(|(net, via)| Some((net.parse::<Ipv4Net>().ok()?, via.parse::<Ipv4Addr>().ok()?)));
    let Some((net, via)) = read.filter(|(net, _)| net.trunc() == *net) else {
        return Err(format!("holds {text:?}, which is no route: a subnet without host bits, \" via \", a router"));
    };
    let significant = usize::from(net.prefix_len().div_ceil(8));
    Ok([&[net.prefix_len()][..], &net.network().octets()[..significant], &via.octets()].concat())
}

fn octets(value: &OptionValue) -> Result<Vec<u8>, String> {
    let octet = |value: &OptionValue| match value {
        OptionValue::Number(number) => u8::try_from(*number).map_err(|_| outside(*number, "0 to 255, one octet")),
        _ => Err(format!("takes {}", kind(OptionForm::Octets))),
    };
    match value {
        OptionValue::Text(text) => match text.strip_prefix("hex:") {
            Some(digits) => {
                let digits: String = digits.chars().filter(|c| !matches!(c, ':' | ' ')).collect();
                digits.parse().map(OptionData::octets).map_err(|_| format!("holds {text:?}, which is not hex"))
            }
            None => plain(text),
        },
        OptionValue::List(list) => list.iter().map(|entry| octet(&entry.value)).collect(),
        one => octet(one).map(|octet| vec![octet]),
    }
}

fn kind(form: OptionForm) -> &'static str {
    match form {
        OptionForm::Address => "one IPv4 address",
        OptionForm::Addresses => "IPv4 addresses",
        OptionForm::Text => "a text",
        OptionForm::Domains => "DNS names",
        OptionForm::Routes => "routes",
        OptionForm::Flag => "true or false",
        OptionForm::Number8 | OptionForm::Number16 | OptionForm::Number32 | OptionForm::Signed32 => "a whole number",
        OptionForm::Octets => "a text, \"hex:…\", or numbers of one octet",
    }
}

fn example(form: OptionForm) -> &'static str {
    match form {
        OptionForm::Address => "such as \"192.168.1.2\"",
        OptionForm::Addresses => "such as [\"192.168.1.2\"]",
        OptionForm::Text => "write it in double quotes",
        OptionForm::Domains => "such as [\"cafe.example\", \"example\"]",
        OptionForm::Routes => "such as [\"10.0.0.0/8 via 192.168.1.1\"]",
        OptionForm::Flag => "write true or false, without quotes",
        OptionForm::Number8 | OptionForm::Number16 | OptionForm::Number32 | OptionForm::Signed32 => {
            "write a whole number, without quotes"
        }
        OptionForm::Octets => "such as \"some text\", \"hex:01:02:ff\" or [1, 2, 255]",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> OptionValue {
        OptionValue::Text(text.to_owned())
    }

    fn list(entries: &[OptionValue]) -> OptionValue {
        OptionValue::List(entries.iter().map(|value| Spanned { value: value.clone(), start: 0 }).collect())
    }

    #[test]
    fn every_form_has_the_octets_of_its_rfc() {
        use OptionValue::{Flag, Number};
        for (form, value, expected) in [
            (OptionForm::Address, text("10.0.0.1"), &[10, 0, 0, 1][..]),
            (OptionForm::Addresses, list(&[text("10.0.0.1"), text("10.0.0.2")]), &[10, 0, 0, 1, 10, 0, 0, 2]),
            (OptionForm::Addresses, text("10.0.0.1"), &[10, 0, 0, 1]),
            (OptionForm::Text, text("UTC0"), b"UTC0"),
            (OptionForm::Domains, list(&[text("a.example"), text("b")]), b"\x01a\x07example\0\x01b\0"),
            (OptionForm::Routes, text("10.17.0.0/16 via 10.0.0.1"), &[16, 10, 17, 10, 0, 0, 1]),
            (OptionForm::Routes, text("0.0.0.0/0 via 10.0.0.1"), &[0, 10, 0, 0, 1]),
            (OptionForm::Routes, text("10.229.0.128/25 via 10.0.0.1"), &[25, 10, 229, 0, 128, 10, 0, 0, 1]),
            (OptionForm::Flag, Flag(true), &[1]),
            (OptionForm::Number8, Number(255), &[255]),
            (OptionForm::Number16, Number(9000), &[0x23, 0x28]),
            (OptionForm::Number32, Number(65536), &[0, 1, 0, 0]),
            (OptionForm::Signed32, Number(-3600), &[0xff, 0xff, 0xf1, 0xf0]),
            (OptionForm::Octets, text("hex:01:02 fF"), &[1, 2, 255]),
            (OptionForm::Octets, text("abc"), b"abc"),
            (OptionForm::Octets, list(&[Number(1), Number(255)]), &[1, 255]),
        ] {
            assert_eq!(encode(form, &value).as_deref(), Ok(expected), "{form:?} {value:?}");
        }
    }

    #[test]
    fn what_does_not_fit_its_form_is_refused() {
        use OptionValue::{Flag, Number};
        for (form, value) in [
            (OptionForm::Address, text("10.0.0.256")),
            (OptionForm::Address, list(&[text("10.0.0.1")])),
            (OptionForm::Addresses, list(&[])),
            (OptionForm::Addresses, list(&[Number(1)])),
            (OptionForm::Text, text("")),
            (OptionForm::Text, text("a\nb")),
            (OptionForm::Text, Number(1)),
            (OptionForm::Text, text(&"x".repeat(256))),
            (OptionForm::Domains, text("a..b")),
            (OptionForm::Routes, text("10.0.0.1/8 via 10.0.0.1")),
            (OptionForm::Routes, text("10.0.0.0/8")),
            (OptionForm::Flag, Number(1)),
            (OptionForm::Number8, Number(256)),
            (OptionForm::Number16, Number(-1)),
            (OptionForm::Number32, Number(1 << 32)),
            (OptionForm::Signed32, text("1")),
            (OptionForm::Octets, text("hex:0")),
            (OptionForm::Octets, text("hex:zz")),
            (OptionForm::Octets, list(&[Number(256)])),
            (OptionForm::Octets, Flag(true)),
        ] {
            assert!(encode(form, &value).is_err(), "{form:?} {value:?} passed");
        }
    }
}
