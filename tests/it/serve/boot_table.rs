//! The table of a whole site: which disks its scripts attach, and how each comes by its target.

use crate::room::{Files, cafe, prepare, with};
use barista::boot::{
    ipxe::markers::{target_marker, wait_marker},
    table::{BootDisk, BootTable, VERSION, Way},
};
use std::collections::BTreeMap;

/// One machine that boots a disk that is reset at every boot and has a data disk, one that is kept, and an installer on the first.
fn site() -> Files {
    let mut files = with(&cafe(1), "machines/row.toml", "\"alpha\", \"beta\"", "\"alpha\", \"beta\", \"setup\"");
    let setup = "kind = \"linux\"\nkernel = \"setup/vmlinuz\"\ninitrd = []\nargs = \"quiet\"\nattach = \"alpha\"\n";
    files.insert("images/setup.toml".to_owned(), setup.to_owned());
    files
}

#[test]
fn a_disk_that_is_reset_at_every_boot_is_assigned_and_any_other_is_fixed() {
    let table = prepare(&site()).table;
    let machine = table.machines.values().next().expect("a machine");
    let disk = |way| BootDisk { target: None, way };
    let ways: BTreeMap<&str, _> = machine.disks.iter().map(|(image, disk)| (image.as_str(), disk.clone())).collect();
    assert_eq!(
        ways,
        [("alpha", disk(Way::Assigned)), ("beta", disk(Way::Fixed))].into(),
        "a data disk goes with its system disk"
    );
    assert_eq!(machine.assigned().map(ToString::to_string).collect::<Vec<_>>(), ["alpha"]);
    for image in machine.disks.keys() {
        let (wait, target) = (wait_marker(image), target_marker(image));
        let waits = machine.script.lines().filter(|line| *line == wait).count();
        // The installer attaches the same disk that its own entry boots.
        assert_eq!(waits, if image.as_str() == "alpha" { 2 } else { 1 }, "{}", machine.script);
        assert!(
            machine.script.contains(&target) && !machine.script.contains("iqn.2026-11.example.cat:pc01."),
            "{}",
            machine.script
        );
    }
}

#[test]
fn a_table_is_read_as_it_was_published_and_so_is_one_of_the_version_before() {
    let table = prepare(&site()).table;
    assert_eq!(BootTable::parse(&table.render()).expect("it reads"), table);
    assert_eq!(table.version, VERSION);
    let mut before = table.clone();
    before.version = 1;
    before.machines.values_mut().for_each(|machine| machine.disks.clear());
    assert!(!before.render().contains("disks"));
    assert_eq!(BootTable::parse(&before.render()).expect("it reads"), before);
    before.version = 3;
    let error = BootTable::parse(&before.render()).expect_err("a version that is to come");
    assert!(
        error.to_string().starts_with("a newer barista wrote it: it is version 3, and this one reads up to version 2"),
        "{error}"
    );
}
