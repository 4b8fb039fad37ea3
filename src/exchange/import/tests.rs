//! Files as the servers' own documentation shows them.

use super::*;

/// What a file holds: machines as `line name macs ip`, what is left as `line what`, includes as `line path`.
fn read(format: Format, text: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
    let imported = parse(format, text).unwrap_or_else(|error| panic!("{error}"));
    let machine = |it: &Reservation| {
        let macs = it.macs.iter().map(ToString::to_string).collect::<Vec<_>>().join("+");
        let ip = it.ip.map_or("-".to_owned(), |ip| ip.to_string());
        format!("{} {} {macs} {ip}", it.line, it.name.as_deref().unwrap_or("-"))
    };
    (
        imported.machines.iter().map(machine).collect(),
        imported.left.iter().map(|left| format!("{} {}", left.line, left.what)).collect(),
        imported.includes.iter().map(|include| format!("{} {}", include.line, include.path)).collect(),
    )
}

const DNSMASQ: &str = r#"# Configuration file for dnsmasq.
interface=eth0
dhcp-range=192.168.0.50,192.168.0.150,12h   # the guests
# Always allocate the host with Ethernet address 11:22:33:44:55:66
dhcp-host=10:22:33:44:55:66,192.168.0.60
dhcp-host=10:22:33:44:55:67,fred
dhcp-host=10:22:33:44:55:68,fred2,192.168.0.61,45m
dhcp-host=10:22:33:44:55:69,12:34:56:78:90:12,192.168.0.62
dhcp-host=bert,192.168.0.70,infinite
dhcp-host=id:01:22:22:22:22:22:22,192.168.0.71
dhcp-host=10:22:33:44:55:70,ignore
dhcp-host=10:22:33:*:*:*,set:red
dhcp-host = "1-0:16:3e:1:2:3" , set:blue , "PC 07" , 192.168.0.72 # blue row
dhcp-host=10:22:33:44:55:71,[1234::5],pc08
conf-dir=/etc/dnsmasq.d,*.conf
dhcp-hostsfile=/etc/dnsmasq.hosts
read-ethers
"#;

#[test]
fn dnsmasqs_hosts_are_read_as_it_reads_them() {
    let (machines, left, includes) = read(Format::Dnsmasq, DNSMASQ);
    assert_eq!(
        machines,
        [
            "5 - 10:22:33:44:55:66 192.168.0.60",
            "6 fred 10:22:33:44:55:67 -",
            "7 fred2 10:22:33:44:55:68 192.168.0.61",
            "8 - 10:22:33:44:55:69+12:34:56:78:90:12 192.168.0.62",
            "13 PC 07 00:16:3e:01:02:03 192.168.0.72",
            "14 pc08 10:22:33:44:55:71 -",
        ]
    );
    assert_eq!(
        left,
        [
            "2 interface=eth0",
            "3 dhcp-range=192.168.0.50,192.168.0.150,12h",
            "7 45m of dhcp-host=10:22:33:44:55:68,fred2,192.168.0.61,45m",
            "9 dhcp-host=bert,192.168.0.70,infinite: it names no Ethernet address",
            "10 dhcp-host=id:01:22:22:22:22:22:22,192.168.0.71: it names no Ethernet address",
            "11 dhcp-host=10:22:33:44:55:70,ignore: dnsmasq does not answer it",
            "12 dhcp-host=10:22:33:*:*:*,set:red: it names no Ethernet address",
            "13 set:blue of dhcp-host=1-0:16:3e:1:2:3 , set:blue , PC 07 , 192.168.0.72",
            "14 [1234::5] of dhcp-host=10:22:33:44:55:71,[1234::5],pc08",
        ]
    );
    assert_eq!(includes, ["15 /etc/dnsmasq.d", "16 /etc/dnsmasq.hosts", "17 /etc/ethers"]);
    let (machines, left, _) = read(Format::DnsmasqHosts, "# hosts\r\n10:22:33:44:55:66,pc01,192.168.0.60\r\n\r\n");
    assert_eq!((machines, left), (vec!["2 pc01 10:22:33:44:55:66 192.168.0.60".to_owned()], vec![]));
}

#[test]
fn of_a_directory_those_files_are_read_that_dnsmasq_reads() {
    let takes = |line: &str, name: &str| parse(Format::Dnsmasq, line).expect("reads").includes[0].takes(name);
    assert!(takes("conf-dir=/etc/dnsmasq.d", "seats"));
    assert!(
        takes("conf-dir=/etc/dnsmasq.d,.bak,.dpkg-old", "seats") && !takes("conf-dir=/etc/dnsmasq.d,.bak,.dpkg-old", "seats.bak")
    );
    assert!(takes("conf-dir=/etc/dnsmasq.d/,*.conf", "seats.conf") && !takes("conf-dir=/etc/dnsmasq.d/,*.conf", "seats"));
}

/// Whatever a file is broken to, it reads or is refused.
#[test]
fn a_file_that_is_cut_anywhere_stops_nothing() {
    let samples = [
        (Format::Dnsmasq, DNSMASQ),
        (Format::DnsmasqHosts, DNSMASQ),
        (Format::Ethers, DNSMASQ),
        (Format::IscDhcp, DHCPD),
        (Format::Kea, KEA),
    ];
    for (format, sample) in samples {
        let whole = parse(format, sample).map_or(0, |imported| imported.machines.len());
        for (at, _) in sample.char_indices() {
            let head = parse(format, &sample[..at]).map_or(0, |imported| imported.machines.len());
            assert!(head <= whole, "{format:?} cut at {at}");
            drop(parse(format, &sample[at..]));
            drop(parse(Format::Csv, &sample[at..]));
        }
    }
}

#[test]
fn ethers_have_a_name_or_an_address() {
    let text = "# MAC  host\n8:0:20:01:02:03\tpc01.cafe.example # by the door\n88:AE:DD:05:08:10 192.168.1.101\nff:ff:ff:ff:ff:ff all\none two three\n";
    let (machines, left, _) = read(Format::Ethers, text);
    assert_eq!(machines, ["2 pc01.cafe.example 08:00:20:01:02:03 -", "3 - 88:ae:dd:05:08:10 192.168.1.101"]);
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(left[0].starts_with("4 ") && left[1].starts_with("5 "), "{left:?}");
}

const DHCPD: &str = r#"# dhcpd.conf
option domain-name "example.org"; # the domain
default-lease-time 600;
include "/etc/dhcp/seats.conf";
class "foo" {
  match if substring (option vendor-class-identifier, 0, 4) = "SUNW";
}
shared-network 224-29 {
  subnet 10.17.224.0 netmask 255.255.255.0 {
    option routers rtr-224.example.org;
    group { filename "pxelinux.0";
      host passacaglia {
        hardware ethernet 0:0:c0:5d:bd:95;
        filename "vmunix.passacaglia";
        server-name "toccata.example.com";
      }
      host "Fantasia-2" { hardware ethernet 08:00:07:26:c0:a5; fixed-address 10.17.224.12; option host-name "fantasia"; }
    }
    pool { range 10.17.224.10 10.17.224.250; }
  }
}
host two { hardware ethernet 08:00:07:26:c0:a6; fixed-address 10.0.0.4, 10.0.1.4; }
host named { fixed-address fantasia.example.com; hardware ethernet 08:00:07:26:c0:a7 ; }
host ring { hardware token-ring 08:00:07:26:c0:a8; }
host gone { hardware ethernet 08:00:07:26:c0:a9; deleted; };
"#;

#[test]
fn hosts_of_dhcpd_are_found_in_whatever_block_they_stand() {
    let (machines, left, includes) = read(Format::IscDhcp, DHCPD);
    assert_eq!(
        machines,
        [
            "12 passacaglia 00:00:c0:5d:bd:95 -",
            "17 fantasia 08:00:07:26:c0:a5 10.17.224.12",
            "22 two 08:00:07:26:c0:a6 10.0.0.4",
            "23 named 08:00:07:26:c0:a7 -",
        ]
    );
    assert_eq!(
        left,
        [
            "2 option domain-name \"example.org\"",
            "3 default-lease-time 600",
            "5 class \"foo\" { … }",
            "10 option routers rtr-224.example.org",
            "11 filename \"pxelinux.0\"",
            "14 host passacaglia: filename \"vmunix.passacaglia\"",
            "15 host passacaglia: server-name \"toccata.example.com\"",
            "19 pool { … }",
            "22 host two: fixed-address 10.0.0.4, 10.0.1.4 but its first",
            "23 host named: fixed-address fantasia.example.com",
            "24 host ring: hardware token-ring 08:00:07:26:c0:a8",
            "24 host ring: it has no Ethernet address",
            "25 host gone: it is deleted",
        ]
    );
    assert_eq!(includes, ["4 /etc/dhcp/seats.conf"]);
    for (broken, line) in
        [("host a {\n hardware ethernet 08:00:07:26:c0:a5;\n", 1), ("host a { }\n}\n", 2), ("\noption x \"a;\n", 2)]
    {
        assert_eq!(parse(Format::IscDhcp, broken).map_err(|error| error.line), Err(line), "{broken}");
    }
}

const KEA: &str = r#"// Kea, as its manual shows it.
{
  # The IPv4 server.
  "Dhcp4": {
    "interfaces-config": { "interfaces": [ "eth0" ] }, /* one
       card */
    "reservations": [ { "hw-address": "1a:02:03:04:05:aa", "ip-address": "10.0.0.1", "hostname": "" }, ],
    "subnet4": [ {
        "id": 1, "subnet": "192.0.2.0/24", "pools": [],
        "reservations": [
          {
            "hw-address": "1a:1b:1c:1d:1e:1f", "hostname": "special-snowflake", // not # a comment: "x"
            "ip-address": "192.0.2.202",
            "option-data": [ { "name": "domain-name-servers", "data": "10.1.1.202" } ]
          },
          { "duid": "0a:0b:0c:0d:0e:0f", "ip-address": "192.0.2.201" },
          <?include "/etc/kea/more.json"?>
        ]
      }
    ],
    "shared-networks": [ { "name": "frog", "subnet4": [ { "id": 2, "subnet": "192.0.3.0/24", "reservations": [
        { "hw-address": "1A-1B-1C-1D-1E-20", "hostname": "kermit.frog" } ] } ] } ],
    <?include "/etc/kea/loggers.json"?>
  }
}
"#;

#[test]
fn reservations_of_kea_are_found_at_every_depth_and_its_comments_are_passed_over() {
    let (machines, left, includes) = read(Format::Kea, KEA);
    let mut sorted = machines.clone();
    sorted.sort();
    assert_eq!(
        sorted,
        [
            "11 special-snowflake 1a:1b:1c:1d:1e:1f 192.0.2.202",
            "22 kermit.frog 1a:1b:1c:1d:1e:20 -",
            "7 - 1a:02:03:04:05:aa 10.0.0.1",
        ]
        .map(str::to_owned)
    );
    assert_eq!(left[0], "5 interfaces-config", "{left:?}");
    assert!(left.contains(&"14 special-snowflake: option-data".to_owned()), "{left:?}");
    assert!(left.iter().any(|left| left.starts_with("16 the reservation of \"192.0.2.201\"")), "{left:?}");
    assert_eq!(includes, ["17 /etc/kea/more.json", "23 /etc/kea/loggers.json"]);
}

#[test]
fn a_part_of_keas_configuration_is_read_by_itself() {
    let host = "{ \"hw-address\": \"1a:1b:1c:1d:1e:1f\", \"ip-address\": \"192.0.2.202\" }";
    for text in [
        host.to_owned(),
        format!("[\n{host}]"),
        format!("{host},\n{{ \"hw-address\": \"1a:1b:1c:1d:1e:20\" }}"),
        format!("\"reservations\": [ {host} ]"),
        format!("\"subnet4\": [ {{ \"subnet\": \"192.0.2.0/24\", \"reservations\": [ {host} ] }} ],"),
    ] {
        let (machines, _, _) = read(Format::Kea, &text);
        assert!(machines[0].ends_with("1a:1b:1c:1d:1e:1f 192.0.2.202"), "{text}: {machines:?}");
    }
    let broken = parse(Format::Kea, "{\n \"Dhcp4\": { \"reservations\": [ }\n}\n");
    assert_eq!(broken.map_err(|error| error.line), Err(2));
    assert_eq!(parse(Format::Kea, "{\n \"a\": \"b\n").map_err(|error| error.line), Err(2));
}

#[test]
fn a_table_is_read_by_its_heads_or_by_the_shape_of_its_fields() {
    let expected = ["2 PC 1 88:ae:dd:05:08:10 192.168.1.101", "3 pc02 88:ae:dd:05:08:11+88:ae:dd:05:08:12 -"];
    let text = "\u{feff}Room;Host Name;MAC-Address;IP address\r\nA;\"PC 1\";88-AE-DD-05-08-10;192.168.1.101\r\nA;pc02;\"88aedd050811 88aedd050812\";\r\n";
    let (machines, left, _) = read(Format::Csv, text);
    assert_eq!((machines.as_slice(), left), (expected.map(str::to_owned).as_slice(), vec!["1 the column \"Room\"".to_owned()]));
    for text in [
        "# seats\nPC 1,88:ae:dd:05:08:10,192.168.1.101\n88:ae:dd:05:08:11/88:ae:dd:05:08:12,pc02\n",
        "\n192.168.1.101\t88:ae:dd:05:08:10\tPC 1\npc02\t88:ae:dd:05:08:11 88:ae:dd:05:08:12\n",
    ] {
        let (machines, left, _) = read(Format::Csv, text);
        assert_eq!((machines.as_slice(), left), (expected.map(str::to_owned).as_slice(), vec![]), "{text}");
    }
    let (machines, left, _) =
        read(Format::Csv, "name,mac,ip\npc01,88:ae:dd:05:08:10,dhcp\npc02,,10.0.0.1\npc03,ff:ff:ff:ff:ff:ff,\n");
    assert_eq!(machines, ["2 pc01 88:ae:dd:05:08:10 -"]);
    assert_eq!(
        left,
        [
            "2 \"dhcp\" is no IPv4 address; the machine is taken over without a reserved address",
            "3 \"pc02, 10.0.0.1\": it names no Ethernet address",
            "4 \"pc03, ff:ff:ff:ff:ff:ff\": \"ff:ff:ff:ff:ff:ff\" is no Ethernet address of a machine",
        ]
    );
}

/// What a spreadsheet calls a column is a person's word: the fields tell what it holds, and the first column that is left is the name.
#[test]
fn columns_with_names_of_any_language_are_judged_by_their_fields() {
    let expected = ["2 1号 88:ae:dd:05:08:01 192.168.1.111", "3 2号 88:ae:dd:05:08:02 192.168.1.112"];
    for (heads, told) in [
        ("座位,网卡,IP", None),
        ("电脑名,物理地址,IP", None),
        ("主机名,MAC地址,IP地址", None),
        ("PC,LAN card,Address", None),
        ("Platz,Karte,Netz", Some("1 \"Platz, Karte, Netz\": it is taken for the names of the columns")),
        ("Sitz;MAC;IP", None),
    ] {
        let text = format!("{heads}\n1号,88-AE-DD-05-08-01,192.168.1.111\n2号,88AEDD050802,192.168.1.112\n");
        let text = if heads.contains(';') { text.replace(',', ";") } else { text };
        let (machines, left, _) = read(Format::Csv, &text);
        assert_eq!(
            (machines.as_slice(), left),
            (expected.map(str::to_owned).as_slice(), told.into_iter().map(str::to_owned).collect()),
            "{heads}"
        );
    }
    // A title above, the number of the row, a room that is the same in each, and remarks.
    let text = "网吧座位表 2026\n\n序号,区域,机号,MAC,备注\n1,A,a01,88:ae:dd:05:08:01,new\n2,A,a02,88:ae:dd:05:08:02,\n";
    let (machines, left, _) = read(Format::Csv, text);
    assert_eq!(machines, ["4 a01 88:ae:dd:05:08:01 -", "5 a02 88:ae:dd:05:08:02 -"]);
    let column = |name: &str| format!("3 the column {name:?}");
    assert_eq!(left, ["1 \"网吧座位表 2026\" above the table".to_owned(), column("区域"), column("备注"), column("序号")]);
    // Of unknown columns the first that differs from row to row is the name; a number is one where there is nothing else.
    let (machines, _, _) = read(Format::Csv, "Zone,Label,MAC\nA,x,88:ae:dd:05:08:01\nA,y,88:ae:dd:05:08:02\n");
    assert_eq!(machines, ["2 x 88:ae:dd:05:08:01 -", "3 y 88:ae:dd:05:08:02 -"]);
    let (machines, _, _) = read(Format::Csv, "No,MAC\n7,88:ae:dd:05:08:01\n8,88:ae:dd:05:08:02\n");
    assert_eq!(machines, ["2 7 88:ae:dd:05:08:01 -", "3 8 88:ae:dd:05:08:02 -"]);
    // A row whose cells slipped has its Ethernet address all the same, and a name that looks like one stays a name.
    let (machines, left, _) = read(Format::Csv, "name,note,mac\npc01,88:ae:dd:05:08:01,\n88aedd050802,x,88:ae:dd:05:08:02\n");
    assert_eq!(machines, ["2 pc01 88:ae:dd:05:08:01 -", "3 88aedd050802 88:ae:dd:05:08:02 -"]);
    assert_eq!(left, ["1 the column \"note\""]);
}

#[test]
fn a_file_is_known_by_its_name_or_by_what_it_holds() {
    for (name, text, format) in [
        ("seats.csv", "", Some(Format::Csv)),
        ("hosts", "pc01;88:ae:dd:05:08:10;10.0.0.1\n", Some(Format::Csv)),
        ("ethers", "", Some(Format::Ethers)),
        ("list.txt", "# x\n88:ae:dd:05:08:10 pc01\n", Some(Format::Ethers)),
        ("00-seats.conf", "# x\ndhcp-host=88:ae:dd:05:08:10,pc01\n", Some(Format::Dnsmasq)),
        ("seats.conf", "host pc01 {\n", Some(Format::IscDhcp)),
        ("kea-dhcp4.conf", "// Kea\n{ \"Dhcp4\": {} }\n", Some(Format::Kea)),
        ("notes.txt", "hello\n", None),
    ] {
        assert_eq!(recognise(name, text), format, "{name}");
    }
}

fn reservation(line: u32, name: &str, mac: &str, ip: &str) -> (String, Reservation) {
    let name = Some(name.to_owned()).filter(|name| !name.is_empty());
    let macs = vec![mac.parse().expect("an address")];
    ("f".to_owned(), Reservation { line, name, declared: None, macs, ip: ip.parse().ok() })
}

#[test]
fn names_that_are_not_legal_are_mended_the_same_each_time() {
    let spelled = ["PC_01.cafe.example", "Büro Ost", "--", "", "x".repeat(70).as_str()].map(str::to_owned);
    let reservations: Vec<_> =
        (1..).zip(&spelled).map(|(n, name)| reservation(n, name, &format!("02:00:00:00:00:{n:02x}"), "")).collect();
    let merged = merge(&reservations);
    let names: Vec<&str> = merged.machines.iter().map(|machine| machine.name.as_str()).collect();
    assert_eq!(names, ["pc-01", "b-ro-ost", "mac-020000000003", "mac-020000000004", &"x".repeat(63)]);
    assert_eq!(merged.machines[0].naming, Naming::Mended("PC_01.cafe.example".to_owned()));
    assert_eq!(merged.machines[3].naming, Naming::Made);
    assert_eq!(merge(&reservations), merged);
    let by_address = merge(&[reservation(1, "", "02:00:00:00:00:01", "10.0.0.7")]);
    assert_eq!(by_address.machines[0].name.as_str(), "ip-10-0-0-7");
}

#[test]
fn what_is_said_twice_is_one_machine_and_what_contradicts_itself_a_clash() {
    let merged = merge(&[
        reservation(1, "pc01", "02:00:00:00:00:01", "10.0.0.1"),
        reservation(2, "pc01", "02:00:00:00:00:01", "10.0.0.1"),
        reservation(3, "pc01", "02:00:00:00:00:02", "10.0.0.1"),
        reservation(4, "pc02", "02:00:00:00:00:03", "10.0.0.2"),
        reservation(5, "pc03", "02:00:00:00:00:03", "10.0.0.3"),
        reservation(6, "pc02", "02:00:00:00:00:04", "10.0.0.4"),
        reservation(7, "pc05", "02:00:00:00:00:05", "10.0.0.2"),
        reservation(8, "pc02", "02:00:00:00:00:01", "10.0.0.2"),
        reservation(9, "pc_02", "02:00:00:00:00:09", ""),
        reservation(10, "PC_02", "02:00:00:00:00:0a", ""),
    ]);
    assert_eq!(merged.machines.len(), 3, "{merged:#?}");
    assert_eq!(merged.machines[0].macs.len(), 2, "a further card");
    let clashes: Vec<_> = merged.clashes.iter().map(|clash| (clash.place.line, clash.other.line, clash.what.as_str())).collect();
    assert_eq!(
        clashes,
        [
            (5, 4, "02:00:00:00:00:03 is there twice, and not the same"),
            (6, 4, "the machine name pc02 is there twice"),
            (7, 4, "10.0.0.2 is there twice"),
            (8, 1, "02:00:00:00:00:01 is there twice"),
            (10, 9, "\"pc_02\" and \"PC_02\" would both become pc-02"),
        ]
    );
}

const LEASES: &str = "\
# dhcpd.leases
host gone {
  dynamic;
  hardware ethernet 88:ae:dd:05:09:01;
  fixed-address 192.168.1.102;
}
host moved {
  dynamic;
  hardware ethernet 88:ae:dd:05:09:02;
  fixed-address 192.168.1.103;
}
host back { dynamic; hardware ethernet 88:ae:dd:05:09:03; }
lease 192.168.1.200 { starts 5 2026/11/27 10:00:00; }
host gone { dynamic; deleted; }
host moved { dynamic; hardware ethernet 88:ae:dd:05:09:04; fixed-address 192.168.1.104; }
host back { dynamic; deleted; }
host back { dynamic; hardware ethernet 88:ae:dd:05:09:05; }
";

/// theforeman/smart-proxy#338: a later `deleted` host of dhcpd.leases was not honoured.
#[test]
fn the_last_block_of_a_host_in_dhcpds_journal_is_what_holds() {
    let (machines, left, _) = read(Format::IscDhcp, LEASES);
    assert_eq!(machines, ["15 moved 88:ae:dd:05:09:04 192.168.1.104", "17 back 88:ae:dd:05:09:05 -"]);
    assert_eq!(
        left,
        [
            "7 host moved: line 15 says later what it is",
            "13 lease 192.168.1.200 { … }",
            "14 host gone of line 2: it is deleted",
            "16 host back of line 12: it is deleted",
        ]
    );
}

#[test]
fn a_host_that_its_server_does_not_let_boot_is_left_out_whatever_server_that_is() {
    let text = "host a { hardware ethernet 88:ae:dd:05:09:01; deny booting; }\n\
        group { host b { hardware ethernet 88:ae:dd:05:09:02; } ignore booting; }\n\
        group { host c { hardware ethernet 88:ae:dd:05:09:03; } }\n";
    let (machines, left, _) = read(Format::IscDhcp, text);
    assert_eq!(machines, ["3 c 88:ae:dd:05:09:03 -"]);
    assert_eq!(left, ["1 host a: dhcpd does not let it boot", "2 host b: dhcpd does not let it boot"]);
}

/// inverse-inc/packetfence#4602, FOGProject/fogproject#133: a table took one spelling only.
#[test]
fn an_address_is_taken_over_as_it_is_meant_and_the_spelling_is_told() {
    let mended = |format: Format, text: &str| {
        let imported = parse(format, text).unwrap_or_else(|error| panic!("{error}"));
        let told: Vec<String> = imported.mended.iter().map(|it| format!("{} {}", it.line, it.what)).collect();
        (imported.machines.first().and_then(|machine| machine.ip).map(|ip| ip.to_string()), told)
    };
    for (format, text, told) in [
        (Format::Csv, "name,mac,ip\npc02,88:ae:dd:05:09:01,192.168.001.102\n", "2 \"192.168.001.102\""),
        (Format::Csv, "pc02,88:ae:dd:05:09:01,192.168.1.102/24\n", "1 \"192.168.1.102/24\""),
        (Format::Csv, "pc02,88:ae:dd:05:09:01,192168001102\n", "1 \"192168001102\""),
        (Format::Dnsmasq, "dhcp-host=88:ae:dd:05:09:01,pc02,192.168.001.102\n", "1 \"192.168.001.102\""),
        (Format::Ethers, "88:ae:dd:05:09:01 192.168.001.102\n", "1 \"192.168.001.102\""),
        (
            Format::IscDhcp,
            "host a { hardware ethernet 88:ae:dd:05:09:01; fixed-address 192.168.001.102; }",
            "1 \"192.168.001.102\"",
        ),
        (Format::Kea, "{ \"hw-address\": \"88:ae:dd:05:09:01\", \"ip-address\": \"192.168.001.102\" }", "1 \"192.168.001.102\""),
    ] {
        assert_eq!(
            mended(format, text),
            (Some("192.168.1.102".to_owned()), vec![format!("{told} is read as 192.168.1.102")]),
            "{text}"
        );
    }
    assert_eq!(mended(Format::Csv, "pc02,88:ae:dd:05:09:01,192.168.1.102\n").1, Vec::<String>::new());
}

mod tables;

#[test]
fn a_table_whose_lines_end_with_carriage_returns_has_lines() {
    let (machines, left, _) = read(Format::Csv, "name,mac,ip\rpc01,88:ae:dd:05:08:10,192.168.1.101\rpc02,nonsense,\r");
    assert_eq!(machines, ["2 pc01 88:ae:dd:05:08:10 192.168.1.101"]);
    assert_eq!(left, ["3 \"pc02, nonsense\": \"nonsense\" is no Ethernet address of a machine"]);
}

#[test]
fn a_table_without_rows_says_so_and_empty_rows_are_nothing() {
    let (machines, left, _) = read(Format::Csv, "name,mac,ip\n");
    assert_eq!((machines.len(), left), (0, vec!["1 \"name, mac, ip\" names columns, and no row stands below it".to_owned()]));
    for empty in [",,", ";;", "\t\t"] {
        let (machines, left, _) = read(Format::Csv, &format!("name,mac,ip\n{empty}\npc01,88:ae:dd:05:08:10,\n"));
        assert_eq!((machines.len(), left), (1, vec![]), "{empty:?}");
    }
    let leases = "address,hwaddr,client_id,valid_lifetime,expire\n10.0.0.1,88:ae:dd:05:08:10,,0,1700000000\n";
    assert_eq!(parse(Format::Csv, leases).map_err(|error| error.line), Err(1), "Kea's journal of leases");
}
