//! Hosts that are ready, and hosts that are not, each in its own way.

use super::*;
use crate::desired::NetworkMode;
use crate::host::Access;
use crate::names::Bytes;
use crate::observed::{LvKind, Tags};
use crate::plan::{Prepared, prepare};
use crate::site::{Entry, Tree, load};
use std::net::Ipv4Addr;

fn prepared(mode: &str) -> Prepared {
    let files = [
        ("site.toml", "name = \"lucky-cat\"\n[server]\naddress = \"10.0.0.2\"\n[storage]\nvolume-group = \"cafe\"\nthin-pool = \"pool\"\n[iscsi]\niqn-prefix = \"iqn.2026-11.example.cat\"\nchap-secrets = \"/etc/barista/chap.toml\"\n".to_owned()),
        ("network/lan.toml", format!("interface = \"lan0\"\nmode = \"{mode}\"\nsubnet = \"10.0.0.0/24\"\n")),
        ("images/win.toml", "kind = \"disk\"\nsize = \"1GiB\"\ncurrent = \"a\"\n[[version]]\nname = \"a\"\nblank = true\n".to_owned()),
        ("machines/a.toml", "[[machine]]\nname = \"pc01\"\nmac = \"88:ae:dd:05:08:fa\"\nip = \"10.0.0.101\"\nboot = [\"win\"]\nchap = true\n".to_owned()),
    ];
    let mut tree = Tree::default();
    for (path, text) in files {
        tree.entries.insert(path.to_owned(), Entry::File(text.into_bytes()));
    }
    let checked = load(&tree);
    prepare(&checked.site.unwrap_or_else(|| panic!("{:#?}", checked.findings))).expect("it renders")
}

fn ready() -> Facts {
    let pool = serde_json::json!({ "uuid": "x", "kind": { "thin-pool": { "data": null, "metadata": null, "needs_check": false, "health": "",
        "chunk": "64KiB", "discards": "passdown" } }, "size": "4GiB", "tags": [], "active": true, "open": false, "read-only": false,
        "skip-activation": false, "device": null });
    let vg = serde_json::json!({ "name": "cafe", "uuid": "y", "size": "8GiB", "free": "4GiB", "extent": "4MiB",
        "metadata-size": "16MiB", "metadata-free": "15MiB", "lvs": { "pool": pool } });
    let lan = Interface { up: true, loopback: false, addresses: vec!["10.0.0.2/24".parse().expect("a subnet")] };
    let machine = "pc01".parse().expect("a name");
    Facts {
        privilege: Privilege::User,
        listeners: Seen::Present(Vec::new()),
        capabilities: Some(u64::MAX),
        interfaces: [("lan0".to_owned(), lan)].into(),
        firewall: Seen::Present(firewall::Firewall::default()),
        now: moment("2026-11-21T08:00:00Z"),
        synchronised: Seen::Present(true),
        loaders: (["undionly.kpxe".to_owned(), "ipxe.efi".to_owned()].into(), vec!["/usr/lib/ipxe".to_owned()]),
        neighbours: Some(1024),
        clearing_services: Seen::Present(BTreeSet::new()),
        vg: Seen::Present(serde_json::from_value(vg).expect("a volume group")),
        space: vec![
            ("/var/lib/barista".into(), Seen::Present(ROOMY)),
            ("/run/barista".into(), Seen::Present(Space { id: 2, ..ROOMY })),
        ],
        files: SiteFiles {
            thin_check: Seen::Present(()),
            image_store: "/srv/images".to_owned(),
            missing_sources: Seen::Present(BTreeMap::new()),
            secrets: Seen::Present([machine].into()),
            served_secrets: BTreeSet::new(),
        },
        problems: Vec::new(),
    }
}

fn moment(text: &str) -> Zoned {
    text.parse::<jiff::Timestamp>().expect("a time").to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8)))
}

/// The checks that are not well, as `state about: what; mend`.
fn complaints(facts: &Facts, mode: &str) -> Vec<String> {
    let wrong = judge(facts, &prepared(mode)).into_iter().filter(|check| matches!(check, Check::Wrong(_)));
    let told = |check: Check| {
        let (what, mend) = mend(&check);
        format!("{} {}: {what}; {mend}", check.word(), check.about())
    };
    wrong.map(told).collect()
}

/// What is wrong, and the mend.
fn mend(check: &Check) -> (&str, &str) {
    let Check::Wrong(Diagnostic { message, hint, .. }) = check else { panic!("all is well: {check:?}") };
    (message, hint.as_deref().expect("a mend"))
}

#[test]
fn a_ready_host_has_no_complaint_and_says_what_was_looked_at() {
    assert_eq!(complaints(&ready(), "server"), Vec::<String>::new());
    let abouts: BTreeSet<String> =
        judge(&ready(), &prepared("server")).into_iter().map(|check| check.about().to_owned()).collect();
    let expected =
        "capabilities clock disk firewall host images interfaces kernel loaders ports programs secrets services storage";
    assert_eq!(abouts.iter().map(String::as_str).collect::<Vec<_>>().join(" "), expected);
}

const ROOMY: Space = Space { id: 1, free: Bytes(1 << 30), files: Some(1000), access: Access::Writable };

type Spoil = fn(&mut Facts);

fn faults() -> Vec<(Spoil, &'static str)> {
    vec![
        (
            |it| it.listeners = udp(67, "0.0.0.0%lan0", Some("dnsmasq")),
            "problem ports: udp port 67 (DHCP) is taken by dnsmasq; stop that DHCP server",
        ),
        (
            |it| it.listeners = udp(69, "10.0.0.2", Some("in.tftpd")),
            "problem ports: udp port 69 (TFTP) is taken by in.tftpd; stop that TFTP server",
        ),
        (|it| it.listeners = udp(4011, "*", None), "warning ports: udp port 4011 (the PXE boot server) is taken, and by whom"),
        (|it| it.listeners = Seen::Unreadable("ss is not installed".into()), "unseen ports: who listens could not be seen: ss"),
        (
            |it| it.space[0].1 = Seen::Present(Space { free: Bytes(16 << 10), ..ROOMY }),
            "problem disk: less than 16 MiB is free on the file system of /var/lib/barista: commits cannot be recorded, and machines without a reserved address may get none; make room there",
        ),
        (
            |it| it.space[1].1 = Seen::Present(Space { files: Some(0), ..ROOMY }),
            "problem disk: no file can be made on the file system of /run/barista, for it has no free inode",
        ),
        (
            |it| it.space[0].1 = Seen::Present(Space { access: Access::ReadOnly, ..ROOMY }),
            "problem disk: the file system of /var/lib/barista is read-only",
        ),
        (
            |it| it.space[0].1 = Seen::Unreadable("denied".into()),
            "unseen disk: how much is free for /var/lib/barista could not be seen: denied",
        ),
        (|it| it.capabilities = Some(0), "warning capabilities: this process may not open low ports"),
        (|it| it.vg = Seen::Absent, "problem storage: there is no volume group cafe; vgcreate"),
        (|it| it.vg = Seen::Unreadable("only root".into()), "unseen storage: only root; run it as root"),
        (|it| plain_pool(&mut it.vg, "another"), "problem storage: cafe/pool is no thin pool; rename that volume"),
        (|it| plain_pool(&mut it.vg, "lucky-cat"), "problem storage: volume group cafe has no thin pool pool; set create-pool"),
        (|it| drop_pool(&mut it.vg), "problem storage: volume group cafe has no thin pool pool; set create-pool"),
        (|it| lan(it).up = false, "problem interfaces: network lan: interface lan0 is down or has no link; plug"),
        (
            |it| lan(it).addresses = vec!["10.0.0.2/16".parse().expect("a subnet")],
            "warning interfaces: network lan: lan0 has 10.0.0.2/16",
        ),
        (|it| it.firewall = Seen::Unreadable("no nft".into()), "unseen firewall: the firewall could not be looked at: no nft"),
        (|it| drop_port(it, 69), "warning firewall: a rule of the firewall names and drops udp 69 (TFTP)"),
        (
            |it| close(it, &[67, 69, 4011]),
            "warning firewall: chain inet filter input drops what no rule accepts, and no rule names tcp 80 (HTTP), tcp 3260",
        ),
        (
            |it| it.now = moment("1970-01-01T00:00:00Z"),
            "problem clock: the clock says 1970-01-01 08:00:00 +08:00, which is past; set it",
        ),
        (|it| it.synchronised = Seen::Present(false), "warning clock: nothing keeps the clock in time"),
        (
            |it| it.loaders.0.retain(|file| file != "ipxe.efi"),
            "problem loaders: ipxe.efi, for x64 UEFI, is not in /usr/lib/ipxe; install the Debian package ipxe",
        ),
        (|it| it.neighbours = Some(0), "warning kernel: the kernel keeps 0 neighbours at most"),
        (
            |it| it.clearing_services = Seen::Present(["target.service".to_owned()].into()),
            "problem services: target.service clears every iSCSI target of everyone when it stops; do not stop it",
        ),
        (|it| it.clearing_services = Seen::Unreadable("no systemctl".into()), "unseen services: which services"),
        (
            |it| it.files.thin_check = Seen::Absent,
            "problem programs: thin_check is not installed: LVM runs it before it activates a thin pool, and activates none without; \
             install the package thin-provisioning-tools",
        ),
        (
            |it| it.files.missing_sources = Seen::Absent,
            "problem images: the image store /srv/images is not there; mkdir -p /srv/images",
        ),
        (
            |it| it.files.missing_sources = Seen::Present([("win@a".to_owned(), "win-a.qcow2".to_owned())].into()),
            "warning images: win@a cannot be filled: /srv/images has no win-a.qcow2; copy it there",
        ),
        (
            |it| it.files.missing_sources = Seen::Unreadable("/srv/images: denied".into()),
            "unseen images: /srv/images: denied; run it as root",
        ),
        (
            |it| it.files.secrets = Seen::Absent,
            "problem secrets: the file of the CHAP secrets, /etc/barista/chap.toml, is not there: no secret is served, and no new disk is made for pc01; install -m 600",
        ),
        (
            |it| it.files.secrets = Seen::Present(BTreeSet::new()),
            "problem secrets: /etc/barista/chap.toml has no secret of pc01; write [pc01]",
        ),
        (|it| it.files.secrets = Seen::Unreadable("denied".into()), "unseen secrets: denied; run it as root"),
    ]
}

#[test]
fn root_is_never_told_to_become_root_and_loopback_is_never_proposed() {
    for (n, (spoil, _)) in faults().into_iter().enumerate() {
        let mut facts = ready();
        facts.privilege = Privilege::Root;
        spoil(&mut facts);
        let told = complaints(&facts, "server");
        assert!(told.len() == 1 && !told[0].contains("as root"), "case {n}: {told:#?}");
    }
    let heard = judge_dhcp(
        &"lan".parse().expect("a name"),
        (NetworkMode::Server, "10.0.0.0/24".parse().expect("a subnet")),
        &BTreeSet::new(),
        Err("no such device".into()),
        Privilege::Root,
    );
    assert!(!mend(&heard[0]).1.contains("as root"), "{heard:?}");
    let mut facts = ready();
    let lan = facts.interfaces.remove("lan0").expect("it is there");
    let localhost = vec!["127.0.0.1/8".parse().expect("a subnet")];
    facts.interfaces.insert("lo".to_owned(), Interface { up: true, loopback: true, addresses: localhost });
    let proposed =
        |facts: &Facts| complaints(facts, "server").into_iter().find(|told| told.contains("there is no interface lan0"));
    assert!(proposed(&facts).is_some_and(|told| told.contains("put a network card in") && !told.contains("lo,")));
    facts.interfaces.insert("eno1".to_owned(), lan);
    let told = proposed(&facts).expect("it is told");
    assert!(told.ends_with("set interface in network/lan.toml to one of eno1"), "{told}");
}

#[test]
fn each_fault_is_told_by_itself_with_its_mend() {
    for (n, (spoil, expected)) in faults().into_iter().enumerate() {
        let mut facts = ready();
        spoil(&mut facts);
        let told = complaints(&facts, "server");
        let http = prepared("server").table.http_port;
        let expected = expected.replace("tcp 80 ", &format!("tcp {http} "));
        assert!(told.len() == 1 && told[0].starts_with(&expected), "case {n}: {expected}\n{told:#?}");
    }
}

fn udp(port: u16, address: &str, program: Option<&str>) -> Seen<Vec<Listener>> {
    let program = program.map(str::to_owned);
    Seen::Present(vec![Listener { protocol: "udp".into(), address: address.into(), port, program }])
}

fn lan(facts: &mut Facts) -> &mut Interface {
    facts.interfaces.get_mut("lan0").expect("it is there")
}

fn drop_pool(vg: &mut Seen<Vg>) {
    if let Seen::Present(vg) = vg {
        vg.lvs.clear();
    }
}

/// What a pool is while it is being made: a plain volume of its name, with the marks of a site.
fn plain_pool(vg: &mut Seen<Vg>, site: &str) {
    if let Seen::Present(vg) = vg {
        let lv = vg.lvs.get_mut("pool").expect("has one");
        lv.kind = LvKind::Other("linear".into());
        lv.tags = Tags::parse(&format!("barista,barista.site={site}"));
    }
}

fn drop_port(facts: &mut Facts, port: u16) {
    facts.firewall = Seen::Present(firewall::Firewall { dropped: [port].into(), ..Default::default() });
}

fn close(facts: &mut Facts, but: &[u16]) {
    let closed = ["inet filter input".to_owned()].into();
    facts.firewall =
        Seen::Present(firewall::Firewall { closed, accepted: but.iter().copied().collect(), dropped: BTreeSet::new() });
}

#[test]
fn ports_that_are_elsewhere_or_our_own_are_in_nobodys_way() {
    let mut facts = ready();
    facts.listeners = udp(67, "0.0.0.0%docker0", Some("dnsmasq"));
    assert_eq!(complaints(&facts, "server"), Vec::<String>::new(), "another interface");
    facts.listeners = udp(69, "127.0.0.1", Some("in.tftpd"));
    assert_eq!(complaints(&facts, "server"), Vec::<String>::new(), "another address");
    facts.listeners = udp(67, "0.0.0.0%lan0", Some("barista"));
    assert_eq!(complaints(&facts, "server"), Vec::<String>::new(), "ourselves");
    facts.listeners = udp(67, "0.0.0.0", Some("dhcpd"));
    assert_eq!(complaints(&facts, "off"), Vec::<String>::new(), "DHCP is the other one's there");
    facts.interfaces.clear();
    let told = complaints(&facts, "off");
    assert!(
        told.iter().any(|line| line.starts_with("problem addresses: no interface of this host has 10.0.0.2 (tftp-address)")),
        "{told:#?}"
    );
}

#[test]
fn sockets_are_read_as_ss_lists_them() {
    let text = "udp   UNCONN 0      0        0.0.0.0%s0:67        0.0.0.0:*    users:((\"dnsmasq\",pid=12,fd=4))\n\
        tcp   LISTEN 0      4096           [::]:8080         [::]:*\nnonsense\n";
    let read = look::parse_listeners(text);
    let listener = |protocol: &str, address: &str, port, program: Option<&str>| Listener {
        protocol: protocol.into(),
        address: address.into(),
        port,
        program: program.map(str::to_owned),
    };
    assert_eq!(read, [listener("udp", "0.0.0.0%s0", 67, Some("dnsmasq")), listener("tcp", "[::]", 8080, None)]);
}

#[test]
fn who_answers_dhcp_is_judged_by_the_networks_mode() {
    let ours = [Ipv4Addr::new(10, 0, 0, 2)].into();
    let router = Answer { server: Ipv4Addr::new(10, 0, 0, 1), address: Some(Ipv4Addr::new(10, 0, 0, 77)), boot_file: None };
    let own = Answer { server: Ipv4Addr::new(10, 0, 0, 2), ..router.clone() };
    let booting = Answer { boot_file: Some("pxelinux.0".into()), ..router.clone() };
    let stray = Answer { server: Ipv4Addr::new(192, 168, 0, 1), address: Some(Ipv4Addr::new(192, 168, 0, 77)), boot_file: None };
    let (name, subnet) = ("lan".parse().expect("a name"), "10.0.0.0/24".parse().expect("a subnet"));
    let judge = |mode, heard: &[Answer]| {
        judge_dhcp(&name, (mode, subnet), &ours, Ok(heard.to_vec()), Privilege::User)
            .into_iter()
            .map(|check| check.word())
            .collect::<Vec<_>>()
    };
    assert_eq!(judge(NetworkMode::Server, &[]), ["ok"]);
    assert_eq!(judge(NetworkMode::Server, std::slice::from_ref(&own)), ["ok"], "this is us");
    assert_eq!(judge(NetworkMode::Server, &[own, router.clone()]), ["problem"]);
    assert_eq!(judge(NetworkMode::Proxy, std::slice::from_ref(&router)), ["ok"]);
    assert_eq!(judge(NetworkMode::Proxy, &[]), ["problem"]);
    assert_eq!(judge(NetworkMode::Proxy, std::slice::from_ref(&booting)), ["ok", "warning"]);
    assert_eq!(judge(NetworkMode::Off, &[booting]), ["ok"]);
    assert_eq!(judge(NetworkMode::Server, std::slice::from_ref(&stray)), ["problem"], "of whatever subnet");
    assert_eq!(judge(NetworkMode::Proxy, std::slice::from_ref(&stray)), ["problem"; 2], "and nobody gives out this one");
    assert_eq!(judge(NetworkMode::Proxy, &[router, stray]), ["ok", "problem"]);
    let blind = judge_dhcp(&name, (NetworkMode::Server, subnet), &ours, Err("not permitted".into()), Privilege::User);
    assert!(blind[0].word() == "unseen" && mend(&blind[0]).0.contains("not permitted"));
}
