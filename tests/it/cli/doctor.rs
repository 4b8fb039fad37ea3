//! The doctor on real links: who else answers DHCP, and who has the ports.
//!
//! Needs root, `ip`, `ss` and dnsmasq. Where one is missing the test says so on stderr, uncaptured.

use crate::cafe::Cafe;
use crate::push::git::text;
use crate::serve::netns::{Killed, Pair, dnsmasq, run, skipped};
use std::{fs, process::Command};

/// A server's namespace and a stranger's, both with an interface lan0; gone with it.
struct Net {
    /// First, so that it ends before its namespace.
    dnsmasq: Option<Killed>,
    spaces: Pair,
}

impl Net {
    fn make() -> Option<Self> {
        let spaces = (run("dnsmasq --version") && run("ss --version"))
            .then(|| Pair::make("bp-d", ("lan0", "addr add 10.79.0.2/24 dev lan0"), ("lan0", "addr add 10.79.0.1/24 dev lan0")));
        if let Some(spaces) = spaces.flatten() {
            return Some(Self { dnsmasq: None, spaces });
        }
        skipped("the doctor on a link needs root, ip, ss and dnsmasq");
        None
    }

    /// What the doctor says in a namespace, and how it ends.
    fn doctor(&self, namespace: &str, cafe: &Cafe, more: &[&str]) -> (Option<i32>, String) {
        let output = Command::new("ip")
            .args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_barista"), "doctor", "--site"])
            .arg(&cafe.work.tree)
            .args(more)
            .env("BARISTA_STATE", &cafe.state)
            .output()
            .expect("it runs");
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }
}

fn cafe() -> Cafe {
    let cafe = Cafe::new();
    let loaders = cafe.state.join("loaders");
    fs::create_dir_all(&loaders).expect("it is made");
    for name in ["undionly.kpxe", "ipxe.efi"] {
        fs::write(loaders.join(name), name).expect("it is written");
    }
    let site = format!("name = \"lucky-cat\"\n[server]\naddress = \"10.79.0.2\"\n[boot]\nloaders = \"{}\"\n", loaders.display());
    cafe.work.write("site.toml", &site);
    let network = "interface = \"lan0\"\nmode = \"server\"\nsubnet = \"10.79.0.0/24\"\nrange = \"10.79.0.100-10.79.0.120\"\n";
    cafe.work.write("network/lan.toml", network);
    cafe
}

#[test]
fn another_dhcp_server_is_heard_and_who_has_the_port_is_named() {
    let Some(mut net) = Net::make() else { return };
    let cafe = cafe();
    let (code, told) = net.doctor(&net.spaces.server, &cafe, &[]);
    assert_eq!(code, Some(0), "{told}");
    for line in
        ["nobody else answers DHCP on network lan", "network lan: lan0 is up and has 10.79.0.2/24", "udp port 67 (DHCP) is free"]
    {
        assert!(told.contains(line), "{line} is not in:\n{told}");
    }

    let options = ["--conf-file=/dev/null", "--interface=lan0", "--bind-interfaces", "--dhcp-range=10.79.0.50,10.79.0.60,1h"];
    net.dnsmasq = Some(dnsmasq(&net.spaces.client, cafe.work.root.path(), &options, "DHCP, IP range"));
    let (code, told) = net.doctor(&net.spaces.server, &cafe, &["--json"]);
    assert_eq!(code, Some(1), "{told}");
    let document: serde_json::Value = serde_json::from_str(told.split_once("\n1 problem").expect("one").0).expect("a document");
    assert!(document["well"].as_array().is_some_and(|well| !well.is_empty()), "{told}");
    let findings = document["findings"].as_array().expect("findings");
    let problem = findings.iter().find(|finding| finding["severity"] == "error").expect("one");
    assert_eq!((&problem["code"], &problem["place"]["file"]), (&"other-dhcp-server".into(), &"dhcp".into()), "{told}");
    assert_eq!(problem["message"], "another DHCP server answers on network lan: 10.79.0.1", "{told}");
    // A router that somebody has brought along has its own subnet.
    net.dnsmasq = None;
    assert!(run(&format!("ip -n {} addr replace 192.168.99.1/24 dev lan0", net.spaces.client)));
    let options =
        ["--conf-file=/dev/null", "--interface=lan0", "--bind-interfaces", "--dhcp-range=192.168.99.50,192.168.99.60,1h"];
    net.dnsmasq = Some(dnsmasq(&net.spaces.client, cafe.work.root.path(), &options, "192.168.99.50"));
    let (code, told) = net.doctor(&net.spaces.server, &cafe, &[]);
    assert!(code == Some(1) && told.contains("another DHCP server answers on network lan: 192.168.99.1"), "{told}");
    let (code, told) = net.doctor(&net.spaces.server, &cafe, &["--offline"]);
    assert!(code == Some(0) && !told.contains("another DHCP server"), "nothing is sent: {told}");

    let (code, told) = net.doctor(&net.spaces.client, &cafe, &["--offline"]);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("udp port 67 (DHCP) is taken by dnsmasq"), "{told}");
    assert!(told.contains("no interface of this host has 10.79.0.2 (tftp-address)"), "{told}");
}
