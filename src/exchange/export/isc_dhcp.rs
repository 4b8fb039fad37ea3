//! ISC dhcpd's words, dhcpd.conf(5) and dhcp-eval(5).
//!
//! **Invariant:** every host statement has a name of its own, also for the second card of a machine.

use super::{Export, Loader};
use crate::boot::table::BootMachine;
use crate::names::MachineName;
use std::fmt::Write as _;

pub(super) fn render(export: &Export<'_>) -> String {
    let mut text = export.head("#");
    text.push_str(
        "\noption barista-arch code 93 = unsigned integer 16;\n\
         option space ipxe;\n\
         option ipxe-encap-opts code 175 = encapsulate ipxe;\n\
         option ipxe.no-pxedhcp code 176 = unsigned integer 8;\n",
    );
    for (name, network) in &export.networks {
        let lease = network.lease_time.duration().as_secs();
        let mut line = |line: std::fmt::Arguments<'_>| {
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{line}");
        };
        line(format_args!("\n# Network {name}\nsubnet {} netmask {} {{", network.subnet.network(), network.subnet.netmask()));
        if let Some((first, last)) = network.range {
            line(format_args!("  range {first} {last};"));
        }
        if let Some(router) = network.router {
            line(format_args!("  option routers {router};"));
        }
        if !network.dns.is_empty() {
            let dns = network.dns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            line(format_args!("  option domain-name-servers {dns};"));
        }
        if let Some(domain) = &network.domain {
            line(format_args!("  option domain-name \"{domain}\";"));
        }
        line(format_args!("  default-lease-time {lease};\n  max-lease-time {lease};"));
        line(format_args!("  next-server {};", export.table.tftp_address));
        line(format_args!("{}}}", selection(export, &export.loaders(network), "  ")));
        for (machine, seat) in export.reserved(network) {
            line(format_args!("{}", hosts(export, machine, seat)));
        }
    }
    for (machine, seat) in export.unreserved() {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{}", hosts(export, machine, seat));
    }
    text
}

/// What is told to boot, by what asks.
fn selection(export: &Export<'_>, loaders: &[Loader<'_>], indent: &str) -> String {
    // iPXE sends its class bare, others with a length before it (RFC 3004).
    let mut text = format!(
        "{indent}if option user-class = \"iPXE\" or option user-class = 04:69:50:58:45 {{\n\
         {indent}  filename \"{}\";\n{indent}  option ipxe.no-pxedhcp 1;\n",
        export.script
    );
    for loader in loaders {
        let [high, low] = loader.arch.0.to_be_bytes();
        text += &format!("{indent}}} elsif option barista-arch = {high:02x}:{low:02x} {{\n");
        if loader.url.is_some() {
            text += &format!("{indent}  option vendor-class-identifier \"HTTPClient\";\n");
        }
        text += &format!("{indent}  filename \"{}\";\n", loader.named());
    }
    text + indent + "}\n"
}

fn hosts(export: &Export<'_>, machine: &MachineName, seat: &BootMachine) -> String {
    let address = seat.ip.map(|ip| format!(" fixed-address {ip};")).unwrap_or_default();
    let own = match export.own_loaders(seat).as_slice() {
        [] => String::new(),
        own => format!("\n{}", selection(export, own, "  ")),
    };
    let host = |(n, mac): (usize, &crate::names::MacAddr)| {
        let card = if n == 0 { String::new() } else { format!("-card-{}", n + 1) };
        format!("host {machine}{card} {{ hardware ethernet {mac};{address} option host-name \"{machine}\";{own} }}")
    };
    seat.macs.iter().enumerate().map(host).collect::<Vec<_>>().join("\n")
}
