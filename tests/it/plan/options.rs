//! DHCP options and loaders on their way from the site into the published table, and what the plan says of them.

use crate::room::{Files, Room, cafe, flat, with};

fn put(files: &Files, path: &str, line: &str) -> Files {
    let mut files = files.clone();
    let text = files.get_mut(path).expect("a file of the site");
    *text = format!("{line}\n{text}");
    files
}

#[test]
fn a_machine_is_told_its_own_options_over_its_default_images_and_those_over_its_networks() {
    let room = Room::new();
    room.settle(&cafe(2));
    let site = put(&cafe(2), "network/lan.toml", "options = { ntp-servers = \"192.168.77.1\", \"224\" = \"lan\" }");
    let site = put(&site, "images/alpha.toml", "options = { \"224\" = \"alpha\", \"225\" = \"alpha\", \"226\" = \"alpha\" }");
    let site = put(&site, "images/beta.toml", "options = { \"226\" = \"beta is nobody's default\" }");
    let site =
        with(&site, "machines/row.toml", "[defaults]\n", "[defaults]\noptions = { \"225\" = \"row\", \"226\" = \"row\" }\n");
    let own = "name = \"pc02\"\noptions = { \"226\" = \"pc02\", ntp-servers = [\"192.168.77.2\"] }\n";
    let site = with(&site, "machines/row.toml", "name = \"pc02\"\n", own);
    let plan = flat(&room.plan(&site));
    for line in [
        "~ boot pc01 its DHCP options",
        "+option ntp-servers 192.168.77.2",
        "+option 224 616c706861",
        "+network lan option ntp-servers 192.168.77.1",
    ] {
        assert!(plan.contains(line), "{line:?} is not in\n{plan}");
    }
    room.settle(&site);
    let table = room.table();
    let told = |machine: &str| -> Vec<(u8, String)> {
        let machine = &table.machines[&machine.parse().expect("a name")];
        let network = table.networks.values().next().expect("a network");
        let options = machine.options.over(&network.options);
        options.iter().map(|(number, data)| (number, String::from_utf8_lossy(data).into_owned())).collect()
    };
    let ntp = |last: u8| (42, String::from_utf8_lossy(&[192, 168, 77, last]).into_owned());
    let texts = |texts: [&str; 3]| [224, 225, 226].into_iter().zip(texts.map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(told("pc01"), [vec![ntp(1)], texts(["alpha", "row", "row"])].concat());
    assert_eq!(told("pc02"), [vec![ntp(2)], texts(["alpha", "row", "pc02"])].concat());
}

#[test]
fn a_loader_and_a_way_reach_the_table_and_the_plan_names_them() {
    let room = Room::new();
    room.settle(&cafe(1));
    let boot = "[boot]\nloader = { uefi-x64 = \"snponly.efi\", bios = \"ipxe.pxe\" }\npxe = { bios = \"menu\" }\n[storage]\n";
    let site = with(&cafe(1), "site.toml", "[storage]\n", boot);
    let site = put(&site, "network/lan.toml", "loader = { bios = \"undionly.kpxe\" }");
    let site =
        with(&site, "machines/row.toml", "name = \"pc01\"\n", "name = \"pc01\"\nloader = \"pxelinux.0\"\npxe = \"plain\"\n");
    let plan = flat(&room.plan(&site));
    for line in [
        "~ boot pc01 its loader",
        "+loader pxelinux.0",
        "+pxe plain",
        "+network lan loader bios undionly.kpxe",
        "+network lan loader uefi-x64 snponly.efi",
        "+network lan pxe bios menu",
    ] {
        assert!(plan.contains(line), "{line:?} is not in\n{plan}");
    }
    room.settle(&site);
}
