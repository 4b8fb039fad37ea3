//! What is exported, before the servers it is for: their own checkers take it, and a dnsmasq that runs with it answers as it says.
//!
//! Each test needs its server (dnsmasq-base, isc-dhcp-server, kea-dhcp4-server); the last needs root, `ip` and busybox too. Where one
//! is missing the test says so on stderr, uncaptured.

use crate::cafe::Cafe;
use crate::push::git::text;
use crate::serve::netns::{Pair, dnsmasq, run, skipped, udhcpc};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A café whose network is another server's, with a machine of two cards, one without an address and one with its own loader.
fn cafe() -> Cafe {
    let cafe = Cafe::new();
    cafe.work.write("site.toml", "name = \"lucky-cat\"\n[server]\naddress = \"10.78.0.2\"\n");
    cafe.work.write(
        "network/lan.toml",
        "interface = \"lo\"\nmode = \"off\"\nsubnet = \"10.78.0.0/24\"\nrouter = \"10.78.0.1\"\ndns = [\"10.78.0.1\"]\n\
         domain = \"cat.example\"\nlease-time = \"45m\"\n",
    );
    let machines = "[defaults]\nboot = [\"local\"]\n\
        [[machine]]\nname = \"pc01\"\nmacs = [\"88:ae:dd:05:08:01\", \"88:ae:dd:05:08:02\"]\nip = \"10.78.0.101\"\n\
        [[machine]]\nname = \"pc02\"\nmac = \"88:ae:dd:05:08:03\"\n\
        [[machine]]\nname = \"pc03\"\nmac = \"88:ae:dd:05:08:04\"\nip = \"10.78.0.103\"\nloader = \"snponly.efi\"\n\
        [[machine]]\nname = \"ignore\"\nmac = \"88:ae:dd:05:08:05\"\nip = \"10.78.0.105\"\n\
        [[machine]]\nname = \"5m\"\nmac = \"88:ae:dd:05:08:06\"\nip = \"10.78.0.106\"\n";
    cafe.work.write("machines/row-a.toml", machines);
    cafe
}

fn exported(cafe: &Cafe, server: &str) -> PathBuf {
    let output = cafe.barista(&["export", server]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let path = cafe.work.root.path().join(format!("exported.{server}"));
    fs::write(&path, &output.stdout).expect("it is written");
    path
}

/// Runs a server's own checker; false where there is none.
fn checks(program: &str, arguments: &[&str]) -> bool {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    match Command::new(program).args(arguments).env("PATH", path).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            skipped(&format!("{program} is not installed"));
            false
        }
        ended => {
            let output = ended.expect("it runs");
            assert!(output.status.success(), "{program}: {}{}", text(&output.stdout), text(&output.stderr));
            true
        }
    }
}

#[test]
fn each_servers_own_checker_takes_what_is_exported_for_it() {
    let cafe = cafe();
    let file = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    checks("dnsmasq", &["--test", &format!("--conf-file={}", file(&exported(&cafe, "dnsmasq")))]);
    let leases = cafe.work.root.path().join("leases");
    fs::write(&leases, "").expect("it is written");
    checks("dhcpd", &["-t", "-cf", &file(&exported(&cafe, "isc-dhcp")), "-lf", &file(&leases)]);
    checks("kea-dhcp4", &["-t", &file(&exported(&cafe, "kea"))]);
}

#[test]
fn a_site_that_serves_its_networks_is_told_of_all() {
    let cafe = Cafe::new();
    cafe.work.write(
        "network/lan.toml",
        "interface = \"lan0\"\nmode = \"server\"\nsubnet = \"192.168.1.0/24\"\nrange = \"192.168.1.200-192.168.1.249\"\n",
    );
    let output = cafe.barista(&["export", "kea"]);
    assert!(output.status.code() == Some(1) && text(&output.stderr).contains("--all"), "{}", text(&output.stderr));
    let output = cafe.barista(&["export", "kea", "--all"]);
    assert!(output.status.success() && text(&output.stdout).contains("192.168.1.200 - 192.168.1.249"));
}

#[test]
fn a_dnsmasq_with_what_is_exported_answers_firmware_ipxe_and_http_boot_as_barista_would() {
    let spaces = (run("busybox udhcpc --help") && run("dnsmasq --version"))
        .then(|| Pair::make("bp-x", ("s0", "addr add 10.78.0.1/24 dev s0"), ("c0", "link set c0 address 88:ae:dd:05:08:02")));
    let Some(spaces) = spaces.flatten() else {
        return skipped("answers of a dnsmasq need root, ip, busybox with udhcpc and dnsmasq");
    };
    let cafe = cafe();
    let directory = cafe.work.root.path();
    let file = format!("--conf-file={}", exported(&cafe, "dnsmasq").display());
    let options = ["--interface=s0", "--dhcp-authoritative", &file];
    let _dnsmasq = dnsmasq(&spaces.server, directory, &options, "DHCP, static leases only on 10.78.0.0");
    let script = "http://10.78.0.2:8080/boot.ipxe";
    let uefi = ["-V", "PXEClient:Arch:00007:UNDI:003016", "-x", "0x5d:0007"];
    let bios = ["-V", "PXEClient:Arch:00000:UNDI:002001", "-x", "0x5d:0000"];
    let http = ["-V", "HTTPClient:Arch:00016:UNDI:003016", "-x", "0x5d:0010"];
    // As iPXE sends it: the class bare, its features, and the firmware's own architecture and class.
    let ipxe = [&uefi[..], &["-x", "0x4d:69505845", "-x", "0xaf:130101110101"]].concat();
    let with_class_alone = [&bios[..], &["-x", "0x4d:0469505845"]].concat();
    let answers = |asked: &[&str]| udhcpc(&spaces.client, directory, asked);
    for (asked, file) in [
        (&uefi[..], "ipxe.efi"),
        (&bios[..], "undionly.kpxe"),
        (&http[..], "http://10.78.0.2:8080/loaders/ipxe.efi"),
        (&ipxe[..], script),
        (&with_class_alone[..], script),
    ] {
        let told = answers(asked);
        let words = ["boot_file", "siaddr", "ip", "hostname", "router", "lease"].map(|word| told.get(word).map(String::as_str));
        let expected = [file, "10.78.0.2", "10.78.0.101", "pc01", "10.78.0.1", "2700"].map(Some);
        assert_eq!(words, expected, "{asked:?}: {told:?}\n{}", fs::read_to_string(directory.join("log")).unwrap_or_default());
    }
    assert!(run(&format!("ip -n {} link set c0 address 88:ae:dd:05:08:04", spaces.client)));
    for (asked, file) in [(&uefi[..], "snponly.efi"), (&bios[..], "undionly.kpxe"), (&ipxe[..], script)] {
        assert_eq!(answers(asked).get("boot_file").map(String::as_str), Some(file), "{asked:?}");
    }
    // Names that are dnsmasq's own words (pi-hole/web#3766).
    for (mac, name) in [("88:ae:dd:05:08:05", "ignore"), ("88:ae:dd:05:08:06", "5m")] {
        assert!(run(&format!("ip -n {} link set c0 address {mac}", spaces.client)));
        let told = answers(&uefi);
        let words = ["ip", "hostname", "lease"].map(|word| told.get(word).map(String::as_str));
        let ip = format!("10.78.0.10{}", &mac[mac.len() - 1..]);
        assert_eq!(words, [ip.as_str(), name, "2700"].map(Some), "{told:?}");
    }
}
