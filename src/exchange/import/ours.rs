//! What `barista export` writes beside the machines, in a file that is imported again.
//!
//! **Invariant:** only in a file that says that it was made by `barista export`, and only what that writes; it is told as one line, with
//! all of its places. What somebody added is told by itself.

use super::{Format, Left};
use crate::exchange::export::MADE_BY;

/// Beginnings of what is left of such a file.
fn beginnings(format: Format) -> &'static [&'static str] {
    match format {
        Format::Dnsmasq => &[
            "dhcp-match=set:barista-",
            "dhcp-userclass=set:barista-",
            "dhcp-option=tag:",
            "dhcp-option-force=tag:barista-",
            "dhcp-range=set:",
            "dhcp-boot=tag:",
            "set:barista-host-",
        ],
        Format::IscDhcp => &[
            "option barista-arch code 93",
            "option space ipxe",
            "option ipxe-encap-opts code 175",
            "option ipxe.no-pxedhcp ",
            "range ",
            "option routers ",
            "option domain-name-servers ",
            "option domain-name ",
            "default-lease-time ",
            "max-lease-time ",
            "next-server ",
            "if option user-class = \"iPXE\"",
            "elsif option barista-arch = ",
        ],
        Format::Kea => &[
            "interfaces-config",
            "option-def",
            "ip-reservations-unique",
            "client-classes",
            "subnet",
            "pools",
            "valid-lifetime",
            "option-data",
            "interface",
            "relay",
        ],
        Format::Csv | Format::DnsmasqHosts | Format::Ethers => &[],
    }
}

/// Tells what `barista export` wrote by itself in one line.
pub(super) fn fold(format: Format, text: &str, left: Vec<Left>) -> Vec<Left> {
    if !text.lines().take(3).any(|line| line.trim_start_matches(['#', '/', ' ']).starts_with(MADE_BY)) {
        return left;
    }
    let is_ours = |left: &Left| {
        let what = left.what.strip_prefix("host ").and_then(|rest| rest.split_once(": ")).map_or(&*left.what, |(_, what)| what);
        beginnings(format).iter().any(|beginning| what.starts_with(beginning))
    };
    let (ours, mut others): (Vec<Left>, Vec<Left>) = left.into_iter().partition(is_ours);
    if let (Some(first), Some(last)) = (ours.first(), ours.last()) {
        let lines = match ours.len() {
            1 => "1 line".to_owned(),
            n => format!("{n} lines down to line {}", last.line),
        };
        let what = format!("{lines} that `barista export` wrote of networks and loaders; the site says these itself");
        others.push(Left { line: first.line, what });
        others.sort();
    }
    others
}
