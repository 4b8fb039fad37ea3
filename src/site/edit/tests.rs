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
    NewMachine { mac: mac.parse().expect("an address"), name: None, ip: None, file: None }
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
    let edit = add_machine(&tree, &site, &new("02-00-00-00-00-01")).expect("it is added");
    let added = "\n[[machine]]\nname = \"pc11\"\nmac  = \"02:00:00:00:00:01\"\nip   = \"192.168.1.111\"\n";
    assert_eq!(edit.after, ROW.replace("\n# Renaming", &format!("{added}\n# Renaming")));
    assert_eq!((edit.file.as_str(), edit.name.as_str()), ("machines/row-b.toml", "pc11"));
    assert_eq!(edit.before, ROW);
}

#[test]
fn a_file_of_windows_keeps_its_line_ends_and_its_mark() {
    let added = "\n[[machine]]\nname = \"pc11\"\nmac  = \"02:00:00:00:00:01\"\nip   = \"192.168.1.111\"\n";
    let expected = ROW.replace("\n# Renaming", &format!("{added}\n# Renaming"));
    let windows = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let (tree, before) = site(&[("machines/row-b.toml", &windows(ROW))]);
    let edit = add_machine(&tree, &before, &new("02-00-00-00-00-01")).expect("it is added");
    assert_eq!(edit.after, windows(&expected));
    // Some lines of an editor that writes others.
    let mixed = ROW.replace("# wobbles\n", "# wobbles\r\n");
    let (tree, before) = site(&[("machines/row-b.toml", &mixed)]);
    let edit = add_machine(&tree, &before, &new("02-00-00-00-00-01")).expect("it is added");
    assert_eq!(edit.after, expected.replace("# wobbles\n", "# wobbles\r\n"));
}

#[test]
fn names_and_addresses_that_another_row_has_are_passed_over() {
    let corner =
        "[defaults]\nboot = [\"local\"]\n[[machine]]\nname = \"pc11\"\nmac = \"88:ae:dd:05:0a:01\"\nip = \"192.168.1.112\"\n";
    let (tree, site) = site(&[("machines/corner.toml", corner), ("machines/row-b.toml", ROW)]);
    let mut wanted = new("02:00:00:00:00:01");
    wanted.file = Some("machines/row-b.toml".to_owned());
    let edit = add_machine(&tree, &site, &wanted).expect("it is added");
    assert_eq!((edit.name.as_str(), edit.ip.map(|ip| ip.to_string()).as_deref()), ("pc12", Some("192.168.1.111")));
    let edit = add_machine(&tree, &site, &new("02:00:00:00:00:01")).expect("it is added");
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
    let edit = add_machine(&tree, &site, &new("02:00:00:00:00:01")).expect("it is added");
    let added = "[[machine]]\nname = \"a3\"\nmac = \"02:00:00:00:00:01\"\nfirmware = \"uefi\"\nboot = [\"local\"]\n";
    assert_eq!(edit.after, format!("{row}{added}"));
    assert_eq!(edit.ip, None, "its neighbours have none");
}

#[test]
fn a_row_of_inline_tables_grows_by_one() {
    let row = "machine = [\n    { name = \"a1\", mac = \"88:ae:dd:05:0a:01\", boot = [\"local\"] },\n    { name = \"a2\", mac = \"88:ae:dd:05:0a:02\", boot = [\"local\"] },\n]\n";
    let (tree, site) = site(&[("machines/a.toml", row)]);
    let edit = add_machine(&tree, &site, &new("02:00:00:00:00:01")).expect("it is added");
    let third = "    { name = \"a3\", mac = \"02:00:00:00:00:01\", boot = [\"local\"] },\n]";
    assert_eq!(edit.after, row.replace(']', "\u{1}").replace("\u{1}\n", &format!("{third}\n")).replace('\u{1}', "]"));
}

#[test]
fn what_is_not_plain_is_refused_with_its_reason() {
    let odd =
        "[defaults]\nboot = [\"local\"]\n[[machine]]\nname = \"till\"\nmac = \"88:ae:dd:05:0a:01\"\nip = \"192.168.1.199\"\n";
    let (tree, site) = site(&[("machines/office.toml", odd)]);
    let mut wanted = new("02:00:00:00:00:01");
    assert_eq!(add_machine(&tree, &site, &wanted), Err(EditError::WhichFile));
    wanted.file = Some("machines/nowhere.toml".into());
    assert_eq!(add_machine(&tree, &site, &wanted), Err(EditError::NoFile("machines/nowhere.toml".into())));
    wanted.file = Some("machines/office.toml".into());
    assert_eq!(add_machine(&tree, &site, &wanted), Err(EditError::NoNumber("till".into())));
    wanted.name = Some("printer".parse().expect("a name"));
    let ip = add_machine(&tree, &site, &wanted).map(|edit| edit.ip);
    assert_eq!(ip, Ok(Some(Ipv4Addr::new(192, 168, 1, 250))), "behind the range");
    let known = add_machine(&tree, &site, &new("88:ae:dd:05:0a:01")).map_err(|error| error.to_string());
    assert_eq!(known, Err("88:ae:dd:05:0a:01 is till's already".to_owned()));
}
