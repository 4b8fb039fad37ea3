use super::*;
use crate::desired::Entry;
use crate::names::{DhcpOptions, Interval};

fn seat(entries: Vec<Entry>, seconds: u64) -> Seat {
    Seat {
        macs: vec!["88:ae:dd:05:08:fa".parse().expect("legal")],
        ip: Some([192, 168, 1, 101].into()),
        firmware: None,
        menu_timeout: Interval::seconds(seconds),
        initiator: Some("iqn.2026-11.example.cat:pc01".parse().expect("legal")),
        entries,
        loader: None,
        pxe: None,
        options: DhcpOptions::default(),
    }
}

fn disk(image: &str) -> Entry {
    Entry {
        image: image.parse().expect("legal"),
        title: format!("The {image}"),
        kind: EntryKind::Disk {
            target: format!("iqn.2026-11.example.cat:pc01.{image}").parse().expect("legal"),
            portal: "192.168.1.2:3260".parse().expect("legal"),
        },
    }
}

fn linux() -> Entry {
    Entry {
        image: "rescue".parse().expect("legal"),
        title: "Rescue".into(),
        kind: EntryKind::Linux {
            kernel: "rescue/vmlinuz".into(),
            initrd: vec!["rescue/a.img".into(), "rescue/b.img".into()],
            args: "ip=dhcp quiet".into(),
        },
    }
}

fn render(own: &[(&str, &str)], seat: &Seat) -> Result<String, TemplateError> {
    let site = "lucky-cat".parse().expect("legal");
    let own: BTreeMap<String, String> = own.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let scripts = Scripts::new(&site, "http://192.168.1.2:8080".into(), &own)?;
    scripts.machine(&"pc01".parse().expect("legal"), seat)
}

#[test]
fn a_single_disk_boots_without_a_menu() {
    let script = render(&[], &seat(vec![disk("win11")], 5)).expect("renders");
    assert!(
        script.starts_with(
            "#!ipxe\n# pc01 of lucky-cat\nset initiator-iqn iqn.2026-11.example.cat:pc01\n:start\ngoto boot-win11\n"
        ),
        "{script}"
    );
    assert!(
        script.contains("\nsanboot --drive 0x80 iscsi:192.168.1.2::3260::iqn.2026-11.example.cat:pc01.win11 ||\n"),
        "{script}"
    );
    assert!(!script.contains("menu "), "{script}");
}

#[test]
fn a_menu_has_its_default_its_timeout_and_a_label_for_every_item() {
    let local = Entry { image: "local".parse().expect("legal"), title: "This machine's own disk".into(), kind: EntryKind::Local };
    let script = render(&[], &seat(vec![disk("win11"), linux(), local], 5)).expect("renders");
    assert!(script.contains("menu lucky-cat: pc01 192.168.1.101\nitem win11 The win11\nitem rescue Rescue\nitem local This machine's own disk\nchoose --timeout 5000 --default win11 selected || goto start\n"), "{script}");
    for label in ["win11", "rescue", "local"] {
        assert!(script.contains(&format!("\n:boot-{label}\n")), "{script}");
    }
    assert!(script.contains("kernel --name kernel http://192.168.1.2:8080/assets/rescue/vmlinuz initrd=initrd0 initrd=initrd1 ip=dhcp quiet || goto failed\ninitrd --name initrd0 http://192.168.1.2:8080/assets/rescue/a.img || goto failed\n"), "{script}");
}

#[test]
fn no_wait_means_the_default_at_once() {
    let script = render(&[], &seat(vec![disk("win11"), linux()], 0)).expect("renders");
    assert!(!script.contains("choose"), "iPXE reads a timeout of 0 as for ever: {script}");
}

#[test]
fn a_site_template_that_names_nothing_known_is_an_error_with_its_line() {
    let error = render(&[("machine.ipxe", "#!ipxe\necho {{ machine.colour }}\n")], &seat(vec![disk("win11")], 5))
        .expect_err("no such value");
    assert_eq!((error.file.as_str(), error.line), ("templates/machine.ipxe", 2));
    let endless = "#!ipxe\n{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
    assert!(render(&[("machine.ipxe", endless)], &seat(vec![disk("win11")], 5)).is_err(), "runs out of fuel");
    assert!(render(&[("machine.ipxe", "echo no head\n")], &seat(vec![disk("win11")], 5)).is_err());
}
