//! dnsmasq's words, dnsmasq(8).
//!
//! **Invariant:** every line that tells what to boot is bound to a network's tag: dnsmasq may serve others too.

use super::Export;
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
    for loader in &export.loaders {
        line(format_args!("dhcp-match=set:barista-arch-{0},option:client-arch,{0}", loader.arch.0));
    }
    // iPXE then does not wait two seconds for a proxy.
    line(format_args!("dhcp-option=tag:barista-ipxe,encap:175,176,1b"));
    for loader in export.loaders.iter().filter(|loader| loader.url.is_some()) {
        line(format_args!(
            "dhcp-option-force=tag:barista-arch-{},tag:!barista-ipxe,option:vendor-class,HTTPClient",
            loader.arch.0
        ));
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
        for loader in &export.loaders {
            let file = loader.url.as_deref().unwrap_or(loader.file);
            line(format_args!("dhcp-boot=tag:{name},tag:!barista-ipxe,tag:barista-arch-{},{file},,{tftp}", loader.arch.0));
        }
        for (machine, seat) in export.reserved(network) {
            let (macs, ip) = (macs(&seat.macs), seat.ip.map(|ip| ip.to_string()).unwrap_or_default());
            line(format_args!("dhcp-host={macs},{machine},{ip}"));
        }
    }
    for (machine, seat) in export.unreserved() {
        line(format_args!("dhcp-host={},{machine}", macs(&seat.macs)));
    }
    text
}

fn macs(macs: &[crate::names::MacAddr]) -> String {
    macs.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
