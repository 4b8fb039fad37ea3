//! DHCP on a real link: the service in one network namespace, busybox's udhcpc in another, a veth pair between them.
//!
//! These need root, `ip` and `busybox`. Where one is missing each test says on stderr that it was skipped, uncaptured.

use crate::serve::netns::{Pair, Service, run, skipped, udhcpc};
use crate::serve::service::{DEADLINE, publish, table};
use barista::{
    boot::table::BootTable,
    names::{ClientArch, MacAddr},
    serve::{ServeOptions, serve},
    site::NetworkMode,
    transcript::{self, Asker, DhcpAnswer, DhcpMessage, EventKind, Transcript},
};
use std::{
    collections::BTreeMap,
    env, fs,
    io::Read,
    path::Path,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Where these tests stand.
pub const MODULE: &str = module_path!();
/// Names the state directory to the service that is this binary run again.
pub const STATE: &str = "BARISTA_TEST_STATE";
const SERVER: &str = "10.77.0.1";
const PC01: &str = "88:ae:dd:05:08:fa";

/// The service, when this binary is run again inside a namespace; ends with its standard input.
#[test]
#[ignore = "the other tests of this file run it, in a namespace"]
fn the_service_in_a_namespace() {
    let Some(state) = env::var_os(STATE) else { return };
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).init();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(stop);
    });
    runtime.block_on(serve(ServeOptions::new(state), stopped)).expect("it serves");
}

/// A server and a client namespace, and the service in the first.
struct Link {
    service: Option<Service>,
    spaces: Pair,
    state: TempDir,
}

impl Link {
    /// `None`, and a line on stderr, where there can be no namespaces.
    fn make(test: &str, change: impl FnOnce(&mut BootTable)) -> Option<Self> {
        let (ours, theirs) = (format!("addr add {SERVER}/24 dev s0"), format!("link set c0 address {PC01}"));
        let pair = || Pair::make(&format!("bn-{test}-"), ("s0", &ours), ("c0", &theirs));
        let spaces = run("busybox udhcpc --help").then(pair);
        let Some(spaces) = spaces.flatten() else {
            skipped(&format!("DHCP test `{test}` needs root and network namespaces, and busybox with udhcpc"));
            return None;
        };
        Some(Self { service: None, spaces, state: tempfile::tempdir().expect("a directory") }.serve(change))
    }

    fn serve(mut self, change: impl FnOnce(&mut BootTable)) -> Self {
        let loaders = self.state.path().join("loaders");
        fs::create_dir_all(&loaders).expect("it is made");
        for name in ["undionly.kpxe", "ipxe.efi"] {
            fs::write(loaders.join(name), name).expect("it is written");
        }
        let mut boot = table(&loaders);
        (boot.tftp_address, boot.http_address) = (SERVER.parse().expect("an address"), SERVER.parse().expect("an address"));
        for network in boot.networks.values_mut() {
            network.interface = "s0".into();
            network.mode = NetworkMode::Server;
            network.subnet = "10.77.0.0/24".parse().expect("a subnet");
            network.range = Some(("10.77.0.200".parse().expect("an address"), "10.77.0.202".parse().expect("an address")));
            network.router = Some("10.77.0.254".parse().expect("an address"));
            network.dns = vec!["223.5.5.5".parse().expect("an address")];
        }
        boot.machines.values_mut().for_each(|machine| machine.ip = Some("10.77.0.101".parse().expect("an address")));
        change(&mut boot);
        publish(self.state.path(), &boot);
        self.service = Some(Service::start(&self.spaces.server, self.state.path()));
        self
    }

    fn log(&self) -> String {
        fs::read_to_string(self.state.path().join("log")).unwrap_or_default()
    }

    /// One exchange of udhcpc, and what it was told; empty when nobody answered.
    fn udhcpc(&self, mac: &str, extra: &[&str]) -> BTreeMap<String, String> {
        assert!(run(&format!("ip -n {} link set c0 address {mac}", self.spaces.client)));
        udhcpc(&self.spaces.client, self.state.path(), extra)
    }

    fn transcript(&self) -> Transcript {
        transcript_of(self.state.path())
    }
}

fn transcript_of(state: &Path) -> Transcript {
    Transcript::parse(&fs::read_to_string(state.join(transcript::PATH)).expect("a transcript")).expect("it reads")
}

#[test]
fn a_machine_gets_its_reservation_its_name_and_its_loader() {
    let Some(link) = Link::make("known", |_| {}) else { return };
    let told = link.udhcpc(PC01, &[]);
    let words = ["ip", "subnet", "router", "dns", "hostname", "lease", "serverid"].map(|word| told.get(word).map(String::as_str));
    let expected = ["10.77.0.101", "255.255.255.0", "10.77.0.254", "223.5.5.5", "pc01", "3600", SERVER].map(Some);
    assert_eq!(words, expected, "{told:?}\n{}", link.log());
    assert_eq!(told.get("boot_file"), None, "an operating system is told nothing to boot");

    let firmware = ["-V", "PXEClient:Arch:00007:UNDI:003016", "-x", "0x5d:0007", "-x", "0x4d:69505845", "-C"];
    let uefi = link.udhcpc(PC01, &firmware[..4]);
    assert_eq!((uefi.get("boot_file").map(String::as_str), uefi["ip"].as_str()), (Some("ipxe.efi"), "10.77.0.101"), "{uefi:?}");
    assert_eq!(uefi["siaddr"], SERVER);
    let ipxe = link.udhcpc(PC01, &firmware);
    assert_eq!(ipxe.get("boot_file").map(String::as_str), Some("http://10.77.0.1:8080/boot.ipxe"), "{ipxe:?}");
    assert_eq!(ipxe["ip"], "10.77.0.101", "another client identifier, the same address (C18)");

    let begun = Instant::now();
    let mac: MacAddr = PC01.parse().expect("an address");
    let wanted = "REQUEST from x64 UEFI (PXEClient); acknowledged 10.77.0.101 with ipxe.efi";
    while !link.state.path().join(transcript::PATH).exists()
        || !link.transcript().machines[&mac].events.iter().any(|event| event.what == wanted)
    {
        assert!(begun.elapsed() < DEADLINE, "{:?}", link.transcript().machines[&mac]);
        thread::sleep(Duration::from_millis(50));
    }
    let transcript = link.transcript();
    let event = transcript.machines[&mac].events.iter().find(|event| event.what == wanted).expect("it was there");
    let answer =
        DhcpAnswer::Acknowledged { address: Some("10.77.0.101".parse().expect("an address")), boot: Some("ipxe.efi".into()) };
    let (message, asker, arch) = (DhcpMessage::Request, Asker::Firmware, Some(ClientArch::EFI_X64));
    assert_eq!(event.kind, EventKind::Dhcp { message, asker, arch, answer });
}

#[test]
fn options_of_the_site_reach_a_system_that_did_not_ask_for_them() {
    let change = |table: &mut BootTable| {
        for network in table.networks.values_mut() {
            network.options.set(42, vec![10, 77, 0, 1]);
            network.options.set(224, vec![1, 2, 255]);
        }
        table.machines.values_mut().for_each(|machine| machine.options.set(42, vec![10, 77, 0, 9]));
    };
    let Some(link) = Link::make("set", change) else { return };
    for (mac, ntp) in [(PC01, "10.77.0.9"), ("02:00:00:00:00:01", "10.77.0.1")] {
        let told = link.udhcpc(mac, &[]);
        let words = ["ntpsrv", "opt224"].map(|word| told.get(word).map(String::as_str));
        assert_eq!(words, [Some(ntp), Some("0102ff")], "{told:?}");
    }
}

#[test]
fn strangers_get_the_range_and_keep_their_address_when_the_service_is_restarted() {
    let Some(mut link) = Link::make("range", |_| {}) else { return };
    let macs = ["02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03", "02:00:00:00:00:04"];
    let ips: Vec<_> = macs.iter().map(|mac| link.udhcpc(mac, &[]).remove("ip")).collect();
    let mut given: Vec<_> = ips.iter().flatten().cloned().collect();
    given.sort();
    assert_eq!(given, ["10.77.0.200", "10.77.0.201", "10.77.0.202"], "{}", link.log());
    assert_eq!(ips[3], None, "the range is full");

    link.service = None;
    let link = link.serve(|_| {});
    for (mac, ip) in macs.iter().zip(&ips).take(3) {
        assert_eq!(link.udhcpc(mac, &[]).get("ip"), ip.as_ref(), "{mac}\n{}", link.log());
    }
}

#[test]
fn beside_another_server_an_operating_system_hears_nothing() {
    let proxy = |table: &mut BootTable| table.networks.values_mut().for_each(|network| network.mode = NetworkMode::Proxy);
    let Some(link) = Link::make("proxy", proxy) else { return };
    assert!(link.udhcpc(PC01, &[]).is_empty());
    assert!(!link.state.path().join(transcript::PATH).exists(), "and leaves no trace");
}
