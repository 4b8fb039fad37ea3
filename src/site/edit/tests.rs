//! Rows as operators write them, with one more machine.

use super::*;

fn site(files: &[(&str, &str)]) -> (Tree, Site) {
    let mut tree = Tree::default();
    let base = [
        ("site.toml", "name = \"lucky-cat\"\n[server]\naddress = \"192.168.1.2\"\n"),
        (
            "network/lan.toml",
            "interface = \"lan0\"\nmode = \"server\"\nsubnet = \"192.168.1.0/24\"\nrange = \"192.168.1.200-192.168.1.249\"\nrouter = \"192.168.1.1\"\n",
        ),
        ("images/local.toml", "kind = \"local\"\n"),
    ];
    for (path, text) in base.iter().chain(files) {
        tree.entries.insert((*path).to_owned(), Entry::File(text.as_bytes().to_vec()));
    }
    let checked = crate::site::load(&tree);
    (tree, checked.site.unwrap_or_else(|| panic!("{:#?}", checked.findings)))
}

fn new(mac: &str) -> NewMachine {
    let macs = vec![mac.parse().expect("an address")];
    NewMachine { macs, naming: Naming::Next, addressing: Addressing::Next, file: None }
}

/// The edit for one machine, with its name and address.
fn add_machine(tree: &Tree, site: &Site, new: &NewMachine) -> Result<(Edit, String, Option<Ipv4Addr>), EditError> {
    let mut edits = add_machines(tree, site, std::slice::from_ref(new))?;
    let edit = edits.pop().expect("one file");
    let added = edit.added.last().expect("one machine").clone();
    Ok((edit, added.name.to_string(), added.ip))
}

const ROW: &str = "\
# Row B.
[defaults]
boot = [\"local\"] # the menu

# By the window.
[[machine]]
name = \"pc09\" # wobbles
mac  = \"88:ae:dd:05:09:10\"
ip   = \"192.168.1.109\"

# In the corner.
[[machine]]
name = \"pc10\" # new fan
mac  = \"88:ae:dd:05:09:11\"
ip   = \"192.168.1.110\"

# Renaming: moved = [...]
";

#[test]
fn a_machine_goes_to_the_end_of_its_row_and_nothing_else_changes() {
    let (tree, site) = site(&[("machines/row-b.toml", ROW)]);
    let (edit, name, _) = add_machine(&tree, &site, &new("02-00-00-00-00-01")).expect("it is added");
    let added = "\n[[machine]]\nname = \"pc11\"\nmac  = \"02:00:00:00:00:01\"\nip   = \"192.168.1.111\"\n";
    assert_eq!(edit.after, ROW.replace("\n# Renaming", &format!("{added}\n# Renaming")));
    assert_eq!((edit.file.as_str(), name.as_str()), ("machines/row-b.toml", "pc11"));
    assert_eq!(edit.before.as_deref(), Some(ROW));
}

#[test]
fn a_file_of_windows_keeps_its_line_ends_and_its_mark() {
    let added = "\n[[machine]]\nname = \"pc11\"\nmac  = \"02:00:00:00:00:01\"\nip   = \"192.168.1.111\"\n";
    let expected = ROW.replace("\n# Renaming", &format!("{added}\n# Renaming"));
    let windows = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let (tree, before) = site(&[("machines/row-b.toml", &windows(ROW))]);
    let (edit, _, _) = add_machine(&tree, &before, &new("02-00-00-00-00-01")).expect("it is added");
    assert_eq!(edit.after, windows(&expected));
    // Some lines of an editor that writes others.
    let mixed = ROW.replace("# wobbles\n", "# wobbles\r\n");
    let (tree, before) = site(&[("machines/row-b.toml", &mixed)]);
    let (edit, _, _) = add_machine(&tree, &before, &new("02-00-00-00-00-01")).expect("it is added");
    assert_eq!(edit.after, expected.replace("# wobbles\n", "# wobbles\r\n"));
}

#[test]
fn names_and_addresses_that_another_row_has_are_passed_over() {
    let corner =
        "[defaults]\nboot = [\"local\"]\n[[machine]]\nname = \"pc11\"\nmac = \"88:ae:dd:05:0a:01\"\nip = \"192.168.1.112\"\n";
    let (tree, site) = site(&[("machines/corner.toml", corner), ("machines/row-b.toml", ROW)]);
    let mut wanted = new("02:00:00:00:00:01");
    wanted.file = Some("machines/row-b.toml".to_owned());
    let (_, name, ip) = add_machine(&tree, &site, &wanted).expect("it is added");
    assert_eq!((name.as_str(), ip.map(|ip| ip.to_string()).as_deref()), ("pc12", Some("192.168.1.111")));
    let (edit, _, _) = add_machine(&tree, &site, &new("02:00:00:00:00:01")).expect("it is added");
    assert_eq!(edit.file, "machines/corner.toml", "the highest number is there");
}

#[test]
fn what_all_neighbours_say_is_said_and_what_one_says_is_not() {
    let row = "\
[[machine]]
name = \"a1\"
macs = [\"88:ae:dd:05:0a:01\", \"88:ae:dd:05:0a:02\"]
boot = [\"local\"]
firmware = \"uefi\"
menu-timeout = \"9s\"
[[machine]]
name = \"a2\"
mac = \"88:ae:dd:05:0a:03\"
firmware = \"uefi\"
boot = [\"local\"] # only this
";
    let (tree, site) = site(&[("machines/a.toml", row)]);
    let (edit, _, ip) = add_machine(&tree, &site, &new("02:00:00:00:00:01")).expect("it is added");
    let added = "[[machine]]\nname = \"a3\"\nmac = \"02:00:00:00:00:01\"\nfirmware = \"uefi\"\nboot = [\"local\"]\n";
    assert_eq!(edit.after, format!("{row}{added}"));
    assert_eq!(ip, None, "its neighbours have none");
}

#[test]
fn a_row_of_inline_tables_grows_by_one() {
    let row = "machine = [\n    { name = \"a1\", mac = \"88:ae:dd:05:0a:01\", boot = [\"local\"] },\n    { name = \"a2\", mac = \"88:ae:dd:05:0a:02\", boot = [\"local\"] },\n]\n";
    let (tree, site) = site(&[("machines/a.toml", row)]);
    let (edit, _, _) = add_machine(&tree, &site, &new("02:00:00:00:00:01")).expect("it is added");
    let third = "    { name = \"a3\", mac = \"02:00:00:00:00:01\", boot = [\"local\"] },\n]";
    assert_eq!(edit.after, row.replace(']', "\u{1}").replace("\u{1}\n", &format!("{third}\n")).replace('\u{1}', "]"));
}

#[test]
fn what_is_not_plain_is_refused_with_its_reason() {
    let odd =
        "[defaults]\nboot = [\"local\"]\n[[machine]]\nname = \"till\"\nmac = \"88:ae:dd:05:0a:01\"\nip = \"192.168.1.199\"\n";
    let (tree, site) = site(&[("machines/office.toml", odd)]);
    let mut wanted = new("02:00:00:00:00:01");
    assert_eq!(add_machine(&tree, &site, &wanted).map(drop), Err(EditError::WhichFile));
    wanted.file = Some("machines/nowhere.toml".into());
    assert_eq!(add_machine(&tree, &site, &wanted).map(drop), Err(EditError::NoFile("machines/nowhere.toml".into())));
    wanted.file = Some("machines/office.toml".into());
    assert_eq!(add_machine(&tree, &site, &wanted).map(drop), Err(EditError::NoNumber("till".into())));
    wanted.naming = Naming::Given("printer".parse().expect("a name"));
    let ip = add_machine(&tree, &site, &wanted).map(|(_, _, ip)| ip);
    assert_eq!(ip, Ok(Some(Ipv4Addr::new(192, 168, 1, 250))), "behind the range");
    let known = add_machine(&tree, &site, &new("88:ae:dd:05:0a:01")).map(drop).map_err(|error| error.to_string());
    assert_eq!(known, Err("88:ae:dd:05:0a:01 is till's already".to_owned()));
}

#[test]
fn a_whole_room_is_added_at_once_and_each_has_a_name_and_an_address_of_its_own() {
    let (tree, before) = site(&[("machines/row-b.toml", ROW)]);
    let room: Vec<NewMachine> = (1..=40).map(|n| new(&format!("02:00:00:00:00:{n:02x}"))).collect();
    let edits = add_machines(&tree, &before, &room).expect("they are added");
    let [edit] = &edits[..] else { panic!("{edits:?}") };
    assert_eq!((edit.added[0].name.as_str(), edit.added[39].name.as_str()), ("pc11", "pc50"));
    assert_eq!(edit.added[39].ip, Some(Ipv4Addr::new(192, 168, 1, 150)));
    let mut tree = tree;
    tree.entries.insert(edit.file.clone(), Entry::File(edit.after.clone().into_bytes()));
    let after = crate::site::load(&tree).site.expect("it checks");
    assert_eq!(after.machines.len(), 42);
    let again = add_machines(&tree, &after, &room[..1]).map(drop).map_err(|error| error.to_string());
    assert_eq!(again, Err("02:00:00:00:00:01 is pc11's already".to_owned()));
    let twice = add_machines(&tree, &after, &[new("02:00:00:00:01:01"), new("02:00:00:00:01:01")]).map(drop);
    assert!(matches!(twice, Err(EditError::Known { .. })), "{twice:?}");
}

#[test]
fn a_pattern_begins_where_its_names_end() {
    let (tree, site) = site(&[("machines/row-b.toml", ROW)]);
    let pattern = |text: &str| Naming::Pattern(text.parse().expect("a pattern"));
    let named = |text: &str| {
        let machine = |mac| NewMachine { naming: pattern(text), addressing: Addressing::Unreserved, ..new(mac) };
        let edits = add_machines(&tree, &site, &[machine("02:00:00:00:00:01"), machine("02:00:00:00:00:02")]);
        edits.expect("they are added")[0].added.iter().map(|added| added.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(named("pc{:02}"), ["pc11", "pc12"]);
    assert_eq!(named("guest-{}"), ["guest-1", "guest-2"]);
}

#[test]
fn a_new_file_says_what_its_machines_boot_and_names_its_schema_as_the_others_do() {
    let other =
        "#:schema ../schemas/machines.schema.json\n[[machine]]\nname = \"a1\"\nmac = \"88:ae:dd:05:0a:01\"\nboot = [\"local\"]\n";
    let (mut tree, _) = site(&[("machines/a.toml", other)]);
    let machine = |name: &str, macs: &[&str], ip: Option<&str>| Added {
        name: name.parse().expect("a name"),
        macs: macs.iter().map(|mac| mac.parse().expect("an address")).collect(),
        ip: ip.map(|ip| ip.parse().expect("an address")),
    };
    let machines = vec![
        machine("pc01", &["02:00:00:00:00:01"], Some("192.168.1.11")),
        machine("pc02", &["02:00:00:00:00:02", "02:00:00:00:00:03"], Some("192.168.1.12")),
        machine("pc03", &["02:00:00:00:00:04"], None),
    ];
    let edit = new_row(&tree, "machines/imported.toml", "Taken over.", &["local".parse().expect("a name")], machines);
    let expected = "#:schema ../schemas/machines.schema.json\n# Taken over.\n\n[defaults]\nboot = [\"local\"]\n\n\
        [[machine]]\nname = \"pc01\"\nmac = \"02:00:00:00:00:01\"\nip = \"192.168.1.11\"\n\n\
        [[machine]]\nname = \"pc02\"\nmacs = [\"02:00:00:00:00:02\", \"02:00:00:00:00:03\"]\nip = \"192.168.1.12\"\n\n\
        [[machine]]\nname = \"pc03\"\nmac = \"02:00:00:00:00:04\"\n";
    assert_eq!(edit.after, expected);
    tree.entries.insert(edit.file.clone(), Entry::File(edit.after.into_bytes()));
    assert!(crate::site::load(&tree).site.is_some());
    let found = places(&tree);
    let line = |place: Option<&TextPlace>| place.map(|place| (place.file.clone(), place.line));
    let file = || "machines/imported.toml".to_owned();
    assert_eq!(line(found.names.get(&"pc02".parse().expect("a name"))), Some((file(), 13)));
    assert_eq!(line(found.macs.get(&"02:00:00:00:00:03".parse().expect("an address"))), Some((file(), 14)));
    assert_eq!(line(found.ips.get(&Ipv4Addr::new(192, 168, 1, 12))), Some((file(), 15)));
}
