//! How machines get into a site from elsewhere, and how they are listed.

use crate::cafe::Cafe;
use crate::cli::operator::ended;
use std::fs;

/// Every file of the site with its text.
fn site(cafe: &Cafe) -> Vec<(String, String)> {
    let tree = crate::site::cases::tree_of(&cafe.work.tree);
    let text = |entry| match entry {
        barista::site::Entry::File(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        other => format!("{other:?}"),
    };
    tree.entries.into_iter().filter(|(path, _)| !path.starts_with(".git/")).map(|(path, entry)| (path, text(entry))).collect()
}

const DNSMASQ: &str = "\
dhcp-range=192.168.1.200,192.168.1.250,12h
dhcp-host=02:00:00:00:00:11,PC_11,192.168.1.111
dhcp-host=02:00:00:00:00:12,02:00:00:00:00:13,pc12,192.168.1.112
conf-dir=more.d
";

#[test]
fn an_import_adds_what_is_new_says_what_it_leaves_and_is_done_once() {
    let cafe = Cafe::new();
    cafe.work.write("old/dnsmasq.conf", DNSMASQ);
    cafe.work.write("old/more.d/seats.conf", "dhcp-host=02:00:00:00:00:14,pc14\n");
    cafe.work.write("old/more.d/seats.conf~", "dhcp-host=02:00:00:00:00:15,pc15\n");
    let before = site(&cafe);
    let import = ["machine", "import", "old/dnsmasq.conf"];
    let (code, shown, beside) = ended(&cafe.barista(&[&import[..], &["--dry-run"]].concat()));
    assert_eq!(code, Some(0), "{beside}");
    assert!(shown.starts_with("--- /dev/null\n+++ b/machines/imported.toml\n"), "{shown}");
    assert!(beside.ends_with("nothing was written\n"), "{beside}");
    assert_eq!(site(&cafe), before);

    let (code, shown_again, beside) = ended(&cafe.barista(&import));
    assert_eq!((code, shown_again), (Some(0), shown));
    for told in [
        "not taken over: old/dnsmasq.conf:1: dhcp-range=192.168.1.200,192.168.1.250,12h\n",
        "renamed: old/dnsmasq.conf:2: \"PC_11\" is no machine name, and becomes pc-11\n",
        "added 3 machines to machines/imported.toml",
    ] {
        assert!(beside.contains(told), "{told} is not in:\n{beside}");
    }
    let written = fs::read_to_string(cafe.work.tree.join("machines/imported.toml")).unwrap();
    let expected = "# Machines that were taken over from dnsmasq.conf.\n\n[defaults]\nboot = [\"local\"]\n\n\
        [[machine]]\nname = \"pc-11\"\nmac = \"02:00:00:00:00:11\"\nip = \"192.168.1.111\"\n\n\
        [[machine]]\nname = \"pc12\"\nmacs = [\"02:00:00:00:00:12\", \"02:00:00:00:00:13\"]\nip = \"192.168.1.112\"\n\n\
        [[machine]]\nname = \"pc14\"\nmac = \"02:00:00:00:00:14\"\n";
    assert_eq!(written, expected);
    let (code, shown, beside) = ended(&cafe.barista(&import));
    assert_eq!((code, shown.as_str()), (Some(0), ""));
    assert!(beside.ends_with("all 3 machines are there already; nothing was written\n"), "{beside}");

    // A machine more goes to the end of the same file.
    cafe.work.write("seats.csv", "name;mac;ip\npc12;02-00-00-00-00-12;192.168.1.112\npc13;02-00-00-00-01-13;192.168.1.113\n");
    let (code, _, beside) = ended(&cafe.barista(&["machine", "import", "seats.csv"]));
    assert!(code == Some(0) && beside.contains("added 1 machine to machines/imported.toml; 1 were there already"), "{beside}");
    let fourth = "\n[[machine]]\nname = \"pc13\"\nmac = \"02:00:00:00:01:13\"\nip = \"192.168.1.113\"\n";
    assert_eq!(fs::read_to_string(cafe.work.tree.join("machines/imported.toml")).unwrap(), expected.to_owned() + fourth);
    fs::remove_dir_all(cafe.work.tree.join("old")).unwrap();
    fs::remove_file(cafe.work.tree.join("seats.csv")).unwrap();
    assert_eq!(ended(&cafe.barista(&["check"])), (Some(0), String::new(), "no findings\n".to_owned()));
}

#[test]
fn an_import_that_contradicts_the_site_or_itself_writes_nothing_and_names_both_places() {
    let cafe = Cafe::new();
    cafe.work.write(
        "machines/row-a.toml",
        "[defaults]\nboot = [\"local\"]\n[[machine]]\nname = \"pc01\"\nmac = \"88:ae:dd:05:08:01\"\nip = \"192.168.1.101\"\n",
    );
    let hosts = "88:ae:dd:05:08:01,pc09\n02:00:00:00:00:02,pc01\n02:00:00:00:00:03,pc03,192.168.1.101\n\
        02:00:00:00:00:04,pc04,192.168.1.104\n02:00:00:00:00:04,pc05,192.168.1.105\n88:ae:dd:05:08:01,pc01,192.168.1.107\n";
    let file = cafe.work.root.path().join("hosts");
    fs::write(&file, hosts).unwrap();
    let (file, before) = (file.to_str().unwrap(), site(&cafe));
    let import = ["machine", "import", "--format", "dnsmasq-hosts", file];
    let (code, shown, beside) = ended(&cafe.barista(&import));
    assert_eq!((code, shown.as_str()), (Some(1), ""));
    for (line, told, other) in [
        (1, "88:ae:dd:05:08:01 is pc01's in the site, and here it is pc09's", "machines/row-a.toml:5"),
        (2, "the site has a machine pc01 with another Ethernet address", "machines/row-a.toml:4"),
        (3, "192.168.1.101 is pc01's in the site, and here it is pc03's", "machines/row-a.toml:6"),
        (5, "02:00:00:00:00:04 is there twice, and not the same", &format!("{file}:4")),
        (6, "88:ae:dd:05:08:01 is there twice, and not the same", &format!("{file}:1")),
    ] {
        let text = hosts.lines().nth(line - 1).unwrap();
        let expected = format!(
            "error[contradicts-another-machine]: {file}:{line}:1: {told}\n  {line} | {text}\n  hint: the other stands at {other};"
        );
        assert!(beside.contains(&expected), "{expected}\nis not in:\n{beside}");
    }
    assert!(beside.ends_with("5 errors, 0 warnings\n"), "{beside}");
    assert_eq!(site(&cafe), before);
    fs::write(file, "88:ae:dd:05:08:01,pc01,192.168.1.107\n").unwrap();
    let (_, _, beside) = ended(&cafe.barista(&import));
    assert!(beside.contains("pc01 has 192.168.1.101 in the site, and here it has 192.168.1.107"), "{beside}");
    // What the site's own rules refuse stands at the line that it came from.
    fs::write(file, "02:00:00:00:00:02,pc02,192.168.1.102\n02:00:00:00:00:03,pc03,10.9.9.9\n").unwrap();
    let (code, _, beside) = ended(&cafe.barista(&import));
    let expected = format!("error[address-outside-subnets]: {file}:2:1: pc03: ");
    assert!(code == Some(1) && beside.contains(&expected) && beside.contains("2 | 02:00:00:00:00:03,pc03,10.9.9.9"), "{beside}");
    assert_eq!(site(&cafe), before);
    for (content, code) in [("{ \"Dhcp4\": ", Some(1)), ("what is this\n", Some(1))] {
        fs::write(file, content).unwrap();
        assert_eq!(cafe.barista(&["machine", "import", file]).status.code(), code, "{content}");
    }
    assert_eq!(cafe.barista(&["machine", "import", "nowhere.csv"]).status.code(), Some(1));
    assert_eq!(site(&cafe), before);
}

/// The other way of `export`: who tries barista beside another server loses no machine on the way back.
#[test]
fn what_is_exported_for_another_server_is_imported_as_the_same_machines() {
    let cafe = Cafe::new();
    cafe.work.write(
        "machines/row-a.toml",
        "[defaults]\nboot = [\"local\"]\n[[machine]]\nname = \"pc01\"\nmac = \"88:ae:dd:05:08:01\"\nip = \"192.168.1.101\"\n\
         [[machine]]\nname = \"pc02\"\nmacs = [\"88:ae:dd:05:08:02\", \"88:ae:dd:05:08:03\"]\nip = \"192.168.1.102\"\n\
         [[machine]]\nname = \"till\"\nmac = \"88:ae:dd:05:08:04\"\n",
    );
    let file = cafe.work.root.path().join("exported");
    for server in ["dnsmasq", "isc-dhcp", "kea"] {
        let (_, exported, _) = ended(&cafe.barista(&["export", server, "--all"]));
        fs::write(&file, exported).unwrap();
        let (code, shown, beside) = ended(&cafe.barista(&["machine", "import", file.to_str().unwrap(), "--format", server]));
        assert_eq!((code, shown.as_str()), (Some(0), ""), "{server}: {beside}");
        // FOGProject/fogproject#133: an import refused what the same program had exported. Of what barista wrote itself one line is said.
        let (told, rest) = beside.split_once('\n').unwrap();
        assert!(told.starts_with("not taken over: ") && told.ends_with("; the site says these itself"), "{server}: {beside}");
        assert!(
            rest.starts_with("all ") && rest.ends_with("machines are there already; nothing was written\n"),
            "{server}: {beside}"
        );
        assert_eq!(rest.lines().count(), 1, "{server}: {beside}");
    }
    // What somebody added to such a file is told by itself.
    let (_, exported, _) = ended(&cafe.barista(&["export", "dnsmasq", "--all"]));
    fs::write(&file, exported + "server=8.8.8.8\n").unwrap();
    let (_, _, beside) = ended(&cafe.barista(&["machine", "import", file.to_str().unwrap(), "--format", "dnsmasq"]));
    assert!(beside.contains(": server=8.8.8.8\n") && beside.lines().count() == 3, "{beside}");
}

/// The whole of what is said and written where a table is no UTF-8: opnsense/core#8169 (an import of reservations that ignores the
/// encoding), openwisp/openwisp-radius#550 (a table of UTF-16 whose failure does not name the cause).
#[test]
fn a_table_is_read_in_the_encoding_it_says_and_refused_in_one_it_does_not_say() {
    let cafe = Cafe::new();
    let table = "座位\t网卡\tIP\r\n1号\t02-00-00-00-00-11\t192.168.1.111\r\na12\t02-00-00-00-00-12\t192.168.1.112\r\n";
    let unicode: Vec<u8> = [0xFF, 0xFE].into_iter().chain(table.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let import = |bytes: &[u8], name: &str| {
        fs::write(cafe.work.root.path().join(name), bytes).unwrap();
        let path = cafe.work.root.path().join(name);
        let (code, shown, beside) = ended(&cafe.barista(&["machine", "import", path.to_str().unwrap(), "--dry-run"]));
        (code, shown, beside.replace(&*cafe.work.root.path().to_string_lossy(), "/tmp"))
    };
    for (bytes, name) in [(unicode, "unicode.txt"), (table.as_bytes().to_vec(), "seats.tsv")] {
        let (code, shown, beside) = import(&bytes, name);
        let said = format!("renamed: /tmp/{name}:2: \"1号\" is no machine name, and becomes 1\nnothing was written\n");
        assert_eq!((code, beside), (Some(0), said));
        for line in ["+name = \"1\"\n+mac = \"02:00:00:00:00:11\"\n", "+name = \"a12\"\n+mac = \"02:00:00:00:00:12\"\n"] {
            assert!(shown.contains(line), "{shown}");
        }
    }
    // 座位,MAC in GBK.
    let (code, shown, beside) = import(b"\xd7\xf9\xce\xbb,MAC\n1,02-00-00-00-00-11\n", "gbk.csv");
    let said = "error[not-utf8]: /tmp/gbk.csv:1:1: byte 0xd7 is not UTF-8\n  \
        hint: save the table as CSV UTF-8; in Excel: Save as, CSV UTF-8 (comma delimited)\n1 error, 0 warnings\n";
    assert_eq!((code, shown.as_str(), beside.as_str()), (Some(1), "", said));
    for (bytes, name) in [(&b"PK\x03\x04\x14\0"[..], "seats.xlsx"), (b"\xd0\xcf\x11\xe0\xa1\xb1", "seats.xls")] {
        let (code, shown, beside) = import(bytes, name);
        let said = format!(
            "error[workbook]: /tmp/{name}: this is a workbook, which only a spreadsheet program reads\n  \
             hint: save it from the spreadsheet program as CSV UTF-8, and import that file\n1 error, 0 warnings\n"
        );
        assert_eq!((code, shown, beside), (Some(1), String::new(), said));
    }
}

/// hashicorp/terraform#11504: a plan where there was nothing to look at said that all is well.
#[test]
fn an_import_that_finds_no_machine_is_no_success() {
    let cafe = Cafe::new();
    for (text, said) in [
        (
            "",
            "error: these files name no machine that could be taken over; nothing was written\n  hint: they are empty: name the file that has the machines' Ethernet addresses\n",
        ),
        (
            "name,mac\npc01,\n",
            "not taken over: seats.csv:2: \"pc01\": it names no Ethernet address\n\
             error: these files name no machine that could be taken over; nothing was written\n  \
             hint: the lines above say why, each of its own; --format says what a file is\n",
        ),
    ] {
        cafe.work.write("seats.csv", text);
        let (code, shown, beside) = ended(&cafe.barista(&["machine", "import", "seats.csv"]));
        assert_eq!((code, shown.as_str(), beside.as_str()), (Some(1), "", said));
    }
}

#[test]
fn a_migrating_site_without_machines_is_asked_what_they_boot_where_it_is_not_plain() {
    let cafe = Cafe::new();
    fs::remove_dir_all(cafe.work.tree.join("machines")).unwrap();
    cafe.work.write("seats.csv", "pc01,02:00:00:00:00:01\n");
    cafe.work.write("images/rescue.toml", "kind = \"linux\"\nkernel = \"rescue/vmlinuz\"\n");
    let (code, _, beside) = ended(&cafe.barista(&["machine", "import", "seats.csv"]));
    assert!(code == Some(64) && beside.contains("--boot IMAGE; the site has local, rescue"), "{beside}");
    let boot = ["machine", "import", "seats.csv", "--boot", "rescue", "--boot", "local", "--file", "row-a"];
    let (code, _, beside) = ended(&cafe.barista(&boot));
    assert_eq!(code, Some(0), "{beside}");
    let written = fs::read_to_string(cafe.work.tree.join("machines/row-a.toml")).unwrap();
    assert!(written.contains("boot = [\"rescue\", \"local\"]\n"), "{written}");
}

/// Writes down that machines were seen to boot, one a minute.
fn seen(cafe: &Cafe, macs: &[&str]) {
    let event = |minute: usize| {
        let kind = serde_json::json!({ "is": "dhcp", "message": "discover", "asker": "firmware", "arch": 0,
            "answer": { "told": "offered", "address": "192.168.1.203", "boot": "ipxe.pxe" } });
        serde_json::json!({ "at": format!("2026-11-20T08:{minute:02}:00Z"), "service": "dhcp", "kind": kind, "what": "DISCOVER" })
    };
    let machine = |(n, mac): (usize, &&str)| {
        let seen = serde_json::json!({ "address": null, "script-fetched": null, "events": [event(n)] });
        ((*mac).to_owned(), seen)
    };
    let machines: serde_json::Map<_, _> = macs.iter().enumerate().map(machine).collect();
    let transcript = serde_json::json!({ "version": 2, "servers": {}, "machines": machines });
    fs::create_dir_all(cafe.state.join("serve")).unwrap();
    fs::write(cafe.state.join("serve/transcript.json"), transcript.to_string()).unwrap();
}

#[test]
fn all_that_were_seen_are_added_at_once_in_the_order_in_which_they_were_switched_on() {
    let cafe = Cafe::new();
    seen(&cafe, &["02:00:00:00:00:09", "88:ae:dd:05:08:01", "02:00:00:00:00:03", "02:00:00:00:00:05"]);
    let before = site(&cafe);
    let add = ["machine", "add", "--from-seen", "--all", "--name", "guest{:02}"];
    let (code, shown, _) = ended(&cafe.barista(&[&add[..], &["--dry-run"]].concat()));
    assert!(code == Some(0) && shown.contains("+name = \"guest03\"\n+mac = \"02:00:00:00:00:05\"\n"), "{shown}");
    assert_eq!(site(&cafe), before);
    let (code, _, beside) = ended(&cafe.barista(&["machine", "add", "--from-seen", "--all"]));
    assert!(code == Some(0) && beside.contains("added 3 machines: pc02, pc03, pc04;"), "{beside}");
    let row = fs::read_to_string(cafe.work.tree.join("machines/row-a.toml")).unwrap();
    let added = [("pc02", "09"), ("pc03", "03"), ("pc04", "05")]
        .map(|(name, last)| format!("[[machine]]\nname = \"{name}\"\nmac = \"02:00:00:00:00:{last}\"\n"));
    assert!(row.replace("\n\n", "\n").ends_with(&added.concat()), "{row}");
    let (code, shown, beside) = ended(&cafe.barista(&add));
    assert_eq!((code, shown.as_str(), beside.as_str()), (Some(0), "", "no machine was seen that is not in the site\n"));
    for wrong in [
        &["--from-seen"][..],
        &["--all"],
        &["--from-seen", "02:00:00:00:00:09", "--all"],
        &["--from-seen", "--all", "--name", "pc07"],
        &["--from-seen", "--all", "--ip", "192.168.1.9"],
        &["--mac", "02:00:00:00:00:09", "--name", "pc{"],
    ] {
        assert_eq!(cafe.barista(&[&["machine", "add"][..], wrong].concat()).status.code(), Some(64), "{wrong:?}");
    }
}

#[test]
fn the_machines_of_a_site_are_listed_with_what_they_boot_and_when_they_were_seen() {
    let cafe = Cafe::new();
    cafe.work.write(
        "machines/row-a.toml",
        "[defaults]\nboot = [\"local\"]\n[[machine]]\nname = \"pc01\"\nmac = \"88:ae:dd:05:08:01\"\nip = \"192.168.1.101\"\n\
         [[machine]]\nname = \"pc02\"\nmacs = [\"88:ae:dd:05:08:02\", \"88:ae:dd:05:08:03\"]\n",
    );
    seen(&cafe, &["02:00:00:00:00:09", "88:ae:dd:05:08:01"]);
    let (code, table, beside) = ended(&cafe.barista(&["machine", "list"]));
    let expected = "\
NAME  MAC                                  IP             NETWORK  BOOT   LAST SEEN
pc01  88:ae:dd:05:08:01                    192.168.1.101  lan      local  2026-11-20 16:01:00 +08:00
pc02  88:ae:dd:05:08:02 88:ae:dd:05:08:03  -              -        local  -
";
    assert_eq!((code, table.as_str(), beside.as_str()), (Some(0), expected, ""));
    let (_, document, _) = ended(&cafe.barista(&["machine", "list", "--json"]));
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["machines"][0]["last-seen"], "2026-11-20T08:01:00Z");
    assert_eq!((&document["machines"][1]["ip"], &document["version"]), (&serde_json::Value::Null, &1.into()));
    fs::write(cafe.state.join("serve/transcript.json"), "{").unwrap();
    let (code, table, beside) = ended(&cafe.barista(&["machine", "list"]));
    assert!(
        code == Some(0) && table.contains("lan      local  -\n") && beside.contains("when machines were last seen"),
        "{beside}"
    );
}

#[test]
fn what_is_known_of_a_machines_hardware_is_forgotten_only_where_it_is_asked_for() {
    let cafe = Cafe::new();
    fs::create_dir_all(&cafe.state).unwrap();
    let known = "{\"version\":1,\"machines\":{\"pc01\":{\"uuid\":null,\"macs\":[]}}}";
    fs::write(cafe.state.join("hardware.json"), known).unwrap();
    let (code, _, beside) = ended(&cafe.barista(&["machine", "accept", "pc01", "--dry-run"]));
    assert!(code == Some(0) && beside.contains("would be forgotten; nothing was written"), "{beside}");
    assert_eq!(fs::read_to_string(cafe.state.join("hardware.json")).unwrap(), known);
    assert_eq!(cafe.barista(&["machine", "accept", "pc01"]).status.code(), Some(0));
    assert!(!fs::read_to_string(cafe.state.join("hardware.json")).unwrap().contains("pc01"));
}

/// theforeman/smart-proxy#338: what dhcpd's journal takes back was handed out again. The whole of what is said and written.
#[test]
fn a_host_that_dhcpds_journal_deleted_does_not_come_back() {
    let cafe = Cafe::new();
    let place = cafe.work.root.path().join("dhcp");
    fs::create_dir(&place).unwrap();
    let host = |name: &str, n: u8, rest: &str| format!("host {name} {{\n  {rest}hardware ethernet 88:ae:dd:05:09:0{n};\n}}\n");
    fs::write(place.join("dhcpd.conf"), host("fixed", 1, "") + &host("till", 2, "deny booting; ")).unwrap();
    let gone = host("gone", 3, "dynamic; ") + "host gone { dynamic; deleted; }\nhost fixed { deleted; }\n";
    fs::write(place.join("dhcpd.leases"), gone + &host("pc09", 4, "dynamic; ")).unwrap();
    let (conf, leases) = (place.join("dhcpd.conf").display().to_string(), place.join("dhcpd.leases").display().to_string());
    let before = site(&cafe);
    let (code, shown, beside) = ended(&cafe.barista(&["machine", "import", &conf, &leases, "--format", "isc-dhcp", "--dry-run"]));
    assert_eq!(
        (code, beside),
        (
            Some(0),
            format!(
                "not taken over: {conf}:4: host till: dhcpd does not let it boot\n\
                 not taken over: {leases}:4: host gone of line 1: it is deleted\n\
                 not taken over: {leases}:5: host fixed: it is deleted\n\
                 nothing was written\n"
            )
        )
    );
    let names: Vec<&str> = shown.lines().filter(|line| line.starts_with("+name")).collect();
    assert_eq!(names, ["+name = \"pc09\""], "{shown}");
    assert_eq!(site(&cafe), before);
}

/// A table as an old spreadsheet program ends its lines, with addresses as a new one spells them: each at its own line.
#[test]
fn what_is_said_of_a_table_stands_at_its_line_however_lines_end() {
    let cafe = Cafe::new();
    let file = cafe.work.root.path().join("mac.csv");
    let table = "name,mac,ip\rpc31,88:ae:dd:05:09:31,192.168.001.131\rpc32,nonsense,192.168.1.132\rpc_3,88:ae:dd:05:09:33,\r\
        pc-3,88:ae:dd:05:09:34,\r";
    fs::write(&file, table).unwrap();
    let file = file.display().to_string();
    let (code, _, beside) = ended(&cafe.barista(&["machine", "import", &file, "--dry-run"]));
    assert_eq!(
        (code, beside),
        (
            Some(1),
            format!(
                "not taken over: {file}:3: \"pc32, nonsense, 192.168.1.132\": \"nonsense\" is no Ethernet address of a machine\n\
                 mended: {file}:2: \"192.168.001.131\" is read as 192.168.1.131\n\
                 error[contradicts-another-machine]: {file}:5:1: \"pc_3\" and \"pc-3\" would both become pc-3\n  \
                 5 | pc-3,88:ae:dd:05:09:34,\n  \
                 hint: the other stands at {file}:4; give one of them another name: a name has letters a-z, digits and '-' only\n\
                 1 error, 0 warnings\n"
            )
        )
    );
}

/// Byzantium/Byzantium#81, coolsnowwolf/lede#10490: dnsmasq stops at an included file that is not there.
#[test]
fn an_import_of_a_file_whose_parts_are_not_there_writes_nothing() {
    let cafe = Cafe::new();
    for include in ["conf-file=/nowhere/seats.conf", "dhcp-hostsfile=/nowhere/hosts", "conf-dir=/nowhere/dnsmasq.d,*.conf"] {
        let file = cafe.work.root.path().join("dnsmasq.conf");
        fs::write(&file, format!("dhcp-host=88:ae:dd:05:09:01,pc91\n{include}\n")).unwrap();
        let (code, shown, beside) = ended(&cafe.barista(&["machine", "import", file.to_str().unwrap()]));
        assert_eq!((code, shown.as_str()), (Some(1), ""), "{beside}");
        assert!(beside.contains("dnsmasq.conf:2:1: /nowhere/"), "{beside}");
        assert!(beside.contains("copy that file here too, or take this line out of a copy"), "{beside}");
    }
    assert!(!cafe.work.tree.join("machines/imported.toml").exists());
}

/// EasyG0ing1/Migration#10, opnsense/core#10752: one address for two cards of one device.
#[test]
fn two_machines_of_one_address_are_not_told_to_become_the_same() {
    let cafe = Cafe::new();
    let file = cafe.work.root.path().join("seats.csv");
    let import = ["machine", "import", file.to_str().unwrap(), "--boot", "rescue"];
    for (second, mend) in [
        ("pc92,88:ae:dd:05:09:02,192.168.1.191", "give one of them another address; two cards of one PC are one machine"),
        ("pc91,88:ae:dd:05:09:02,192.168.1.192", "give one of them another name; two cards of one PC are one machine"),
    ] {
        fs::write(&file, format!("name,mac,ip\npc91,88:ae:dd:05:09:01,192.168.1.191\n{second}\n")).unwrap();
        let (code, _, beside) = ended(&cafe.barista(&import));
        assert!(code == Some(1) && beside.contains(mend) && !beside.contains("make both the same"), "{beside}");
    }
}

#[test]
fn the_hint_for_a_file_of_no_kind_names_only_kinds_that_fit() {
    let cafe = Cafe::new();
    for (name, text, hint) in [
        (
            "dhcp",
            "config dnsmasq\n\toption domain 'lan'\nconfig host\n\toption mac '88:ae:dd:05:09:01'\n",
            "/tmp/etc/dnsmasq.conf.*",
        ),
        ("scan", "192.168.1.102 dev eth0 lladdr 88:ae:dd:05:09:01 REACHABLE\n", "hint: make a table of it"),
        ("t.md", "| name | mac |\n| pc91 | 88:ae:dd:05:09:01 |\n", "hint: say it with --format csv; or make a table"),
    ] {
        let file = cafe.work.root.path().join(name);
        fs::write(&file, text).unwrap();
        let (code, _, beside) = ended(&cafe.barista(&["machine", "import", file.to_str().unwrap()]));
        assert!(code == Some(1) && beside.contains(hint), "{name}: {beside}");
    }
    cafe.work.write("seats.csv", "pc91,88:ae:dd:05:09:01\n");
    let (code, _, beside) = ended(&cafe.barista(&["machine", "import", "seats.csv", "--file", "seats.csv"]));
    assert!(code == Some(64) && beside.contains("hint: --file machines/seats.toml"), "{beside}");
}
