//! What every dialect must say. Whether the servers take it, tests/it/cli/export.rs asks the servers.

use super::*;

fn table() -> BootTable {
    let network = |mode: &str, subnet: &str| {
        serde_json::json!({ "interface": "lan0", "mode": mode, "subnet": subnet, "range": null, "router": null, "dns": [], "domain": null,
            "lease-time": "1h", "relay": [] })
    };
    let text = serde_json::json!({
        "version": 1, "site": "lucky-cat", "tftp-address": "10.0.0.2", "http-address": "10.0.0.3", "http-port": 8080, "loaders": null,
        "networks": { "lan": network("off", "10.0.0.0/24"), "office": network("server", "10.0.1.0/24") },
        "machines": {
            "pc01": { "macs": ["88:ae:dd:05:08:fa", "88:ae:dd:05:08:fb"], "ip": "10.0.0.101", "firmware": null, "default": "x", "script": "" },
            "till": { "macs": ["88:ae:dd:05:08:01"], "ip": "10.0.1.9", "firmware": null, "default": "x", "script": "" } },
        "unknown-script": "", "assets": [],
    });
    BootTable::parse(&text.to_string()).expect("a table")
}

#[test]
fn every_dialect_tells_the_script_the_loaders_and_the_reservation() {
    for dialect in [Dialect::Dnsmasq, Dialect::IscDhcp, Dialect::Kea] {
        let text = export(&table(), Which::Off, dialect).expect("lan is off");
        for told in [
            "http://10.0.0.3:8080/boot.ipxe",
            "undionly.kpxe",
            "http://10.0.0.3:8080/loaders/ipxe.efi",
            "10.0.0.2",
            "88:ae:dd:05:08:fb",
            "10.0.0.101",
            "HTTPClient",
        ] {
            assert!(text.contains(told), "{dialect:?} does not tell {told}:\n{text}");
        }
        assert!(
            !text.contains("till") && !text.contains("10.0.1."),
            "{dialect:?}: a network that is served here is not exported"
        );
        let all = export(&table(), Which::All, dialect).expect("there are two");
        assert!(all.contains("till") && all.contains("10.0.1.9"), "{dialect:?}");
    }
}

#[test]
fn a_loader_is_its_networks_and_its_machines_in_every_dialect_that_can_say_so() {
    let mut table = table();
    let mut loader = |network: &str, file: &str| {
        let network = table.networks.get_mut(&network.parse::<NetworkName>().expect("a name")).expect("it is there");
        network.loading.loader.insert(Platform::UefiX64, file.into());
    };
    loader("lan", "snponly.efi");
    loader("office", "office.efi");
    let till = table.machines.get_mut(&"till".parse::<MachineName>().expect("a name")).expect("it is there");
    till.loader = Some("till.efi".into());
    for (dialect, told, never) in [
        (
            Dialect::Dnsmasq,
            &[
                "tag:lan,tag:!barista-ipxe,tag:barista-arch-7,snponly.efi",
                "tag:office,tag:!barista-ipxe,tag:barista-arch-7,office.efi",
                "tag:office,tag:barista-host-till,tag:!barista-ipxe,tag:barista-arch-7,till.efi",
                "88:ae:dd:05:08:01,set:barista-host-till,till,10.0.1.9",
            ][..],
            "tag:barista-host-till,tag:!barista-ipxe,tag:barista-arch-0,",
        ),
        (
            Dialect::IscDhcp,
            &["filename \"snponly.efi\"", "filename \"office.efi\"", "filename \"till.efi\"", "loaders/till.efi"],
            "pc01-till",
        ),
        (
            Dialect::Kea,
            &[
                "\"snponly.efi\"",
                "\"till.efi\"",
                "here it is the one of lan",
                "(pkt4.mac == 0x88aedd050801) and option[93].hex == 0x0007",
            ],
            "office.efi",
        ),
    ] {
        let text = export(&table, Which::All, dialect).expect("there are two");
        for told in told {
            assert!(text.contains(told), "{dialect:?} does not tell {told}:\n{text}");
        }
        assert!(!text.contains(never), "{dialect:?} tells {never}:\n{text}");
        let off = export(&table, Which::Off, dialect).expect("lan is off");
        assert!(!off.contains("till") && !off.contains("88aedd050801"), "{dialect:?}: till is in another network\n{off}");
    }
}

#[test]
fn options_that_are_left_out_are_said() {
    let mut table = table();
    let says = |table: &BootTable| {
        [Dialect::Dnsmasq, Dialect::IscDhcp, Dialect::Kea]
            .map(|dialect| export(table, Which::All, dialect).expect("there are two").contains("are not among this"))
    };
    assert_eq!(says(&table), [false; 3]);
    table.machines.values_mut().for_each(|machine| machine.options.set(42, vec![10, 0, 0, 1]));
    assert_eq!(says(&table), [true; 3]);
}

#[test]
fn a_site_that_serves_all_its_networks_exports_nothing() {
    let mut table = table();
    table.networks.values_mut().for_each(|network| network.mode = NetworkMode::Proxy);
    assert_eq!(export(&table, Which::Off, Dialect::Kea), None);
    assert!(export(&table, Which::All, Dialect::Kea).is_some());
}

#[test]
fn every_architecture_with_a_loader_is_told_it() {
    let text = export(&table(), Which::Off, Dialect::Kea).expect("lan is off");
    let with_loader = ClientArch::KNOWN.into_iter().filter(|arch| arch.platform().is_some());
    let told = with_loader.filter(|arch| text.contains(&format!("option[93].hex == 0x{:04x} and not member", arch.0))).count();
    assert_eq!(told, (0..=u16::MAX).filter(|arch| ClientArch(*arch).platform().is_some()).count());
}
