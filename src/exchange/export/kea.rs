//! Kea's words, its administrator's reference manual, chapter 8.
//!
//! **Invariant:** a class of firmware always excludes the class of iPXE, for Kea gives a client every class whose test is true.
//! It has one list of them for all networks, and the text says so where that matters.

use super::{Export, Loader};
use crate::boot::table::{BootMachine, Network};
use crate::names::{MacAddr, MachineName};
use serde_json::{Value, json};

pub(super) fn render(export: &Export<'_>) -> String {
    let subnets: Vec<Value> =
        export.networks.iter().enumerate().map(|(n, (_, network))| subnet(export, n + 1, network)).collect();
    let mut interfaces: Vec<&str> = export.networks.iter().map(|(_, network)| network.interface.as_str()).collect();
    interfaces.sort_unstable();
    interfaces.dedup();
    let configuration = json!({ "Dhcp4": {
        "interfaces-config": { "interfaces": interfaces },
        "option-def": [
            { "name": "barista-ipxe", "code": 175, "type": "empty", "encapsulate": "ipxe" },
            { "name": "no-pxedhcp", "code": 176, "type": "uint8", "space": "ipxe" },
        ],
        // A machine with two cards has one reserved address.
        "ip-reservations-unique": false,
        "client-classes": classes(export),
        "subnet4": subnets,
    } });
    let text = serde_json::to_string_pretty(&configuration).expect("strings and numbers always serialise");
    let mut head = export.head("//");
    let mut loaders = export.networks.iter().map(|(_, network)| export.loaders(network));
    let first = loaders.next();
    if loaders.any(|other| first.as_ref() != Some(&other)) {
        let name = export.networks[0].0;
        head += &format!(
            "// The networks have different loaders, and a Kea has one list for all of them: here it is the one of {name}.\n"
        );
    }
    format!(
        "{head}// A whole configuration for a Kea that serves nothing else; into one that does, take client-classes, option-def,\n\
         // ip-reservations-unique and each subnet, and give the subnets ids that are free there.\n{text}\n"
    )
}

fn classes(export: &Export<'_>) -> Vec<Value> {
    let tftp = export.table.tftp_address;
    let ipxe = json!({
        "name": "barista-ipxe",
        // iPXE sends its class bare, others with a length before it (RFC 3004).
        "test": "option[77].hex == 0x69505845 or option[77].hex == 0x0469505845",
        "next-server": tftp,
        "boot-file-name": export.script,
        "option-data": [{ "name": "barista-ipxe", "always-send": true }, { "name": "no-pxedhcp", "space": "ipxe", "data": "1", "always-send": true }],
    });
    let own = export.machines().flat_map(|(name, machine)| {
        let macs: Vec<_> = machine.macs.iter().map(|mac| format!("pkt4.mac == 0x{}", mac.hexraw())).collect();
        let is_it = format!("({}) and ", macs.join(" or "));
        let class = move |loader| class(export, &format!("-host-{name}"), &is_it, &loader);
        export.own_loaders(machine).into_iter().map(class).collect::<Vec<_>>()
    });
    let usual = export.networks.first().into_iter().flat_map(|(_, network)| export.loaders(network));
    // Of classes that fit, Kea takes the file of the first.
    [ipxe].into_iter().chain(own).chain(usual.map(|loader| class(export, "", "", &loader))).collect()
}

fn class(export: &Export<'_>, whose: &str, is_it: &str, loader: &Loader<'_>) -> Value {
    let arch = loader.arch.0;
    let mut class = json!({
        "name": format!("barista{whose}-arch-{arch}"),
        "test": format!("{is_it}option[93].hex == 0x{arch:04x} and not member('barista-ipxe')"),
        "next-server": export.table.tftp_address,
        "boot-file-name": loader.named(),
    });
    if loader.url.is_some() {
        class["option-data"] = json!([{ "name": "vendor-class-identifier", "data": "HTTPClient", "always-send": true }]);
    }
    class
}

fn subnet(export: &Export<'_>, id: usize, network: &Network) -> Value {
    let option = |name: &str, data: String| json!({ "name": name, "data": data });
    let dns = network.dns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut options: Vec<Value> = network.router.iter().map(|router| option("routers", router.to_string())).collect();
    options.extend((!dns.is_empty()).then(|| option("domain-name-servers", dns)));
    options.extend(network.domain.iter().map(|domain| option("domain-name", domain.clone())));
    let machines = export.reserved(network).chain(export.unreserved());
    let reservations: Vec<Value> =
        machines.flat_map(|(name, seat)| seat.macs.iter().map(move |mac| reservation(name, seat, *mac))).collect();
    let mut subnet = json!({
        "id": id,
        "subnet": network.subnet.to_string(),
        "pools": network.range.iter().map(|(first, last)| json!({ "pool": format!("{first} - {last}") })).collect::<Vec<_>>(),
        "valid-lifetime": network.lease_time.duration().as_secs(),
        "option-data": options,
        "reservations": reservations,
    });
    match network.relay.is_empty() {
        true => subnet["interface"] = json!(network.interface),
        false => subnet["relay"] = json!({ "ip-addresses": network.relay }),
    }
    subnet
}

fn reservation(name: &MachineName, seat: &BootMachine, mac: MacAddr) -> Value {
    let mut reservation = json!({ "hw-address": mac, "hostname": name });
    if let Some(ip) = seat.ip {
        reservation["ip-address"] = json!(ip);
    }
    reservation
}
