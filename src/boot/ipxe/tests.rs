use super::*;
use crate::desired::{Entry, Reset};
use crate::names::{DhcpOptions, Interval};

fn seat(entries: Vec<Entry>, seconds: u64) -> Seat {
    Seat {
        macs: vec!["88:ae:dd:05:08:fa".parse().expect("legal")],
        ip: Some([192, 168, 1, 101].into()),
        firmware: None,
        menu_timeout: Interval::seconds(seconds),
        gateway: Gateway::Keep,
        login: Login::Open,
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
        key: MenuKey::of('w'),
        kind: EntryKind::Disk(attachment(image, 1)),
    }
}

fn attachment(image: &str, disks: u16) -> Attachment {
    Attachment {
        image: image.parse().expect("legal"),
        portal: "192.168.1.2:3260".parse().expect("legal"),
        reset: Reset::EveryBoot,
        luns: (0..disks).map(Lun).collect(),
    }
}

fn linux() -> Entry {
    Entry {
        image: "rescue".parse().expect("legal"),
        title: "Rescue".into(),
        key: MenuKey::of('r'),
        kind: EntryKind::Linux {
            kernel: "rescue/vmlinuz".into(),
            initrd: vec!["rescue/a.img".into(), "rescue/b.img".into()],
            args: "ip=dhcp quiet".into(),
            attach: None,
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
            "#!ipxe\n# pc01 of lucky-cat\n:start\ngoto boot-win11\n\n:boot-win11\necho pc01 ${netX/ip} ${netX/mac}: The win11\n"
        ),
        "{script}"
    );
    let hook = "\n%wait:win11%\nset try:int32 0\nset pause:int32 1\n:try-win11\ninc try\nsanhook --drive 0x80 iscsi:192.168.1.2::3260::%target:win11% || goto wait-win11\n";
    assert!(script.contains(hook) && script.contains("\nsanboot --no-describe --drive 0x80 ||\n"), "{script}");
    assert!(!script.contains("menu "), "{script}");
}

#[test]
fn a_menu_has_its_default_its_timeout_and_a_label_for_every_item() {
    let local = Entry {
        image: "local".parse().expect("legal"),
        title: "This machine's own disk".into(),
        key: None,
        kind: EntryKind::Local,
    };
    let script = render(&[], &seat(vec![disk("win11"), linux(), local], 5)).expect("renders");
    assert!(script.contains("menu lucky-cat: pc01\nitem --gap pc01 ${netX/ip} ${netX/mac}\nitem --key w win11 w The win11\nitem --key r rescue r Rescue\nitem local This machine's own disk\nchoose --timeout 5000 --default win11 selected || goto start\n"), "{script}");
    let own = part(&script, "boot-local");
    assert!(own.contains("\niseq ${platform} efi && exit 1 ||\nsanboot --no-describe --drive 0x80 ||\n"), "{script}");
    for label in ["win11", "rescue", "local"] {
        assert!(script.contains(&format!("\n:boot-{label}\n")), "{script}");
    }
    assert!(script.contains("kernel --name kernel http://192.168.1.2:8080/assets/rescue/vmlinuz initrd=initrd0 initrd=initrd1 ip=dhcp quiet || goto broken-rescue\ninitrd --name initrd0 http://192.168.1.2:8080/assets/rescue/a.img || goto broken-rescue\n"), "{script}");
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

/// The part of a script between a label and the next blank line.
fn part<'s>(script: &'s str, label: &str) -> &'s str {
    let (_, rest) = script.split_once(&format!("\n:{label}\n")).expect("the label is there");
    rest.split("\n\n").next().expect("a part")
}

#[test]
fn every_entry_names_the_initiator_and_forgets_the_router_where_asked() {
    let mut seat = seat(vec![disk("win11"), linux()], 5);
    seat.gateway = Gateway::Clear;
    let script = render(&[], &seat).expect("renders");
    for label in ["boot-win11", "boot-rescue"] {
        assert!(part(&script, label).contains("\nset initiator-iqn iqn.2026-11.example.cat:pc01\n"), "{script}");
    }
    let own = part(&script, "boot-win11");
    assert!(own.contains("\n%wait:win11%\nset netX/gateway 0.0.0.0\n"), "a wait needs the router: {script}");
    assert!(part(&script, "failed").contains("\nclear netX/gateway ||\nchain "), "so does a new beginning: {script}");
    assert!(!part(&script, "boot-rescue").contains("gateway"), "it has no disk: {script}");
}

#[test]
fn data_disks_are_drives_of_their_own_and_let_go_again() {
    let entry = Entry { kind: EntryKind::Disk(attachment("win11", 3)), ..disk("win11") };
    let script = render(&[], &seat(vec![entry], 5)).expect("renders");
    let boot = part(&script, "boot-win11");
    for (drive, lun) in [("0x81", "1"), ("0x82", "2")] {
        let hook =
            format!("\nsanhook --no-describe --drive {drive} iscsi:192.168.1.2::3260:{lun}:%target:win11% || goto wait-win11\n");
        assert!(boot.contains(&hook), "{script}");
        assert_eq!(boot.matches(&format!("\nsanunhook --drive {drive} ||\n")).count(), 2, "{script}");
    }
}

#[test]
fn what_an_installer_installs_on_stays_attached() {
    let mut entry = linux();
    if let EntryKind::Linux { attach, .. } = &mut entry.kind {
        *attach = Some(attachment("blank", 1));
    }
    let script = render(&[], &seat(vec![disk("blank"), entry], 5)).expect("renders");
    let boot = part(&script, "boot-rescue");
    assert!(boot.find("\n%wait:blank%\n") < boot.find("\nsanhook "), "it is the same disk that its own entry boots: {script}");
    let hook = boot.find("sanhook --drive 0x80 iscsi:192.168.1.2::3260::%target:blank% ||").expect("hooked");
    let keep = boot.find("\nset keep-san 1\n").expect("kept");
    assert!(hook < keep && keep < boot.find("\nboot ||\n").expect("booted"), "{script}");
}

/// What was given for one boot is not given again: only the first script leads to a new answer.
#[test]
fn every_failure_goes_to_the_first_script_and_a_dead_server_leaves_the_menu() {
    let script = render(&[], &seat(vec![disk("win11"), linux()], 5)).expect("renders");
    let failed = part(&script, "failed");
    let chain =
        failed.find("\nchain --replace --autofree --timeout 30000 http://192.168.1.2:8080/boot.ipxe ||\n").expect("chained");
    assert!(failed.find("&& shell ||\n") < Some(chain) && failed.ends_with("\nsleep 5 ||\ngoto start\n"), "{failed}");
    let starts = script.matches("goto start\n").count();
    assert_eq!((starts, script.matches("|| goto start\n").count()), (2, 1), "the menu's own and the last resort: {script}");
}

/// A site's own template gets the same markers.
#[test]
fn a_site_template_may_name_the_wait_and_the_target() {
    let own = "#!ipxe\n{% for entry in entries %}{{ entry.wait }} {{ entry.target }} {{ entry.root_path }} {{ entry.disks[0].root_path }}\n{% endfor %}";
    let script = render(&[("machine.ipxe", own)], &seat(vec![disk("win11")], 5)).expect("renders");
    let path = "iscsi:192.168.1.2::3260::%target:win11%";
    assert_eq!(script, format!("#!ipxe\n%wait:win11% %target:win11% {path} {path}\n"));
    let waits = "#!ipxe\n{{ entries[0].wait }}\nsanboot {{ entries[0].root_path }}\n";
    let error = render(&[("machine.ipxe", waits)], &seat(vec![disk("win11")], 5)).expect_err("its wait leads nowhere");
    assert!(error.message.contains("no label \":failed\""), "{error}");
    assert!(render(&[("machine.ipxe", &format!("{waits}:failed\nshell\n"))], &seat(vec![disk("win11")], 5)).is_ok());
}

/// Every `goto` leads to a label that is there once.
#[test]
fn no_label_is_missing_or_there_twice() {
    let script = render(&[], &seat(vec![disk("win11"), disk("ubuntu"), linux()], 5)).expect("renders");
    let labels: Vec<&str> = script.lines().filter_map(|line| line.strip_prefix(':')).collect();
    for word in script.split("goto ").skip(1).filter_map(|rest| rest.split_whitespace().next()) {
        let word = word.replace("${selected}", "win11");
        assert_eq!(labels.iter().filter(|label| **label == word).count(), 1, "{word} in {script}");
    }
}
