//! dnsmasq's words, dnsmasq(8).
//!
//! **Invariant:** every line that tells what to boot is bound to a network's tag: dnsmasq may serve others too.

use super::{Export, Loader};
use crate::boot::table::BootMachine;
use crate::names::{ClientArch, MachineName};
use std::fmt::Write as _;

pub(super) fn render(export: &Export<'_>) -> String {
    let mut text = export.head("#");
    let mut line = |line: std::fmt::Arguments<'_>| {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{line}");
    };
    line(format_args!(
        "\n# An iPXE is told its script, firmware its loader: without the difference a machine loads its loader for ever."
    ));
    line(format_args!("dhcp-match=set:barista-ipxe,175"));
    line(format_args!("dhcp-userclass=set:barista-ipxe,iPXE"));
    let firmware = ClientArch::KNOWN.into_iter().filter(|arch| arch.platform().is_some());
    for arch in firmware.clone() {
        line(format_args!("dhcp-match=set:barista-arch-{0},option:client-arch,{0}", arch.0));
    }
    // iPXE then does not wait two seconds for a proxy.
    line(format_args!("dhcp-option=tag:barista-ipxe,encap:175,176,1b"));
    for arch in firmware.filter(|arch| arch.boots_over_http()) {
        line(format_args!("dhcp-option-force=tag:barista-arch-{},tag:!barista-ipxe,option:vendor-class,HTTPClient", arch.0));
    }
    let tftp = export.table.tftp_address;
    for (name, network) in &export.networks {
        let (mask, lease) = (network.subnet.netmask(), network.lease_time.duration().as_secs());
        line(format_args!(
            "\n# Network {name}. Where a dhcp-range for it is there already, put set:{name} into that one and leave this out."
        ));
        match network.range {
            Some((first, last)) => line(format_args!("dhcp-range=set:{name},{first},{last},{mask},{lease}")),
            None => line(format_args!("dhcp-range=set:{name},{},static,{mask},{lease}", network.subnet.network())),
        }
        if let Some(router) = network.router {
            line(format_args!("dhcp-option=tag:{name},option:router,{router}"));
        }
        if !network.dns.is_empty() {
            let dns = network.dns.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            line(format_args!("dhcp-option=tag:{name},option:dns-server,{dns}"));
        }
        if let Some(domain) = &network.domain {
            line(format_args!("dhcp-option=tag:{name},option:domain-name,{domain}"));
        }
        line(format_args!("dhcp-boot=tag:{name},tag:barista-ipxe,{},,{tftp}", export.script));
        let mut boots = |who: &str, loaders: &[Loader<'_>]| {
            for loader in loaders {
                let (arch, file) = (loader.arch.0, loader.named());
                line(format_args!("dhcp-boot=tag:{name},{who}tag:!barista-ipxe,tag:barista-arch-{arch},{file},,{tftp}"));
            }
        };
        boots("", &export.loaders(network));
        // Of lines that fit, dnsmasq goes by the last.
        for (machine, seat) in export.reserved(network).chain(export.unreserved()) {
            boots(&format!("tag:barista-host-{machine},"), &export.own_loaders(seat));
        }
        for (machine, seat) in export.reserved(network) {
            line(format_args!("{}", host(machine, seat)));
        }
    }
    for (machine, seat) in export.unreserved() {
        line(format_args!("{}", host(machine, seat)));
    }
    text
}

fn host(machine: &MachineName, seat: &BootMachine) -> String {
    let macs = seat.macs.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let ip = seat.ip.map(|ip| format!(",{ip}")).unwrap_or_default();
    let set = format!(",set:barista-host-{machine}");
    if is_keyword(machine) {
        return format!("dhcp-host={macs}{set}{ip}\ndhcp-option=tag:barista-host-{machine},12,\"{machine}\"");
    }
    let tag = if seat.loader.is_some() { set } else { String::new() };
    format!("dhcp-host={macs}{tag},{machine}{ip}")
}

/// Whether dnsmasq takes a name for one of its own words, or for a lease time (option.c, `dhcp-host`).
fn is_keyword(machine: &MachineName) -> bool {
    let name = machine.as_str();
    let number = name.strip_suffix(['s', 'm', 'h', 'd', 'w']).unwrap_or(name);
    matches!(name, "ignore" | "infinite") || !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}
