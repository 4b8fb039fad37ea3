//! Boots as they go wrong in the field, each told by its events alone.

use super::*;
use crate::boot::assignment::{RefusalCode, WaitCode};
use crate::boot::table::FixedTable;
use crate::transcript::{Asker, DhcpAnswer, DhcpMessage, EventKind, Silence, Source};
use jiff::SignedDuration;

const MAC: &str = "88:ae:dd:05:08:fa";

fn mac() -> MacAddr {
    MAC.parse().expect("an address")
}

fn begun() -> Timestamp {
    "2026-11-21T08:00:00Z".parse().expect("a time")
}

fn ip(text: &str) -> Ipv4Addr {
    text.parse().expect("an address")
}

fn table() -> BootTable {
    let text = serde_json::json!({
        "version": 1, "site": "lucky-cat", "tftp-address": "10.0.0.2", "http-address": "10.0.0.2", "http-port": 8080, "loaders": null,
        "networks": { "lan": { "interface": "lan0", "mode": "server", "subnet": "10.0.0.0/24", "range": null, "router": null,
            "dns": [], "domain": null, "lease-time": "1h", "relay": [] } },
        "machines": { "pc01": { "macs": [MAC, "88:ae:dd:05:08:fb"], "ip": "10.0.0.101", "firmware": null, "default": "win11",
            "script": "#!ipxe\n" } },
        "unknown-script": "#!ipxe\n", "assets": [],
    });
    BootTable::parse(&text.to_string()).expect("a table")
}

fn discover(asker: Asker) -> EventKind {
    dhcp(DhcpMessage::Discover, asker, offered(asker))
}

fn request(asker: Asker) -> EventKind {
    let DhcpAnswer::Offered { address, boot } = offered(asker) else { unreachable!("it is an offer") };
    dhcp(DhcpMessage::Request, asker, DhcpAnswer::Acknowledged { address, boot })
}

fn offered(asker: Asker) -> DhcpAnswer {
    let boot = match asker {
        Asker::System => None,
        Asker::UBoot => Some("the files it asks for itself".to_owned()),
        Asker::Ipxe => Some("http://10.0.0.2:8080/boot.ipxe".to_owned()),
        _ => Some("ipxe.efi".to_owned()),
    };
    DhcpAnswer::Offered { address: Some(ip("10.0.0.101")), boot }
}

fn dhcp(message: DhcpMessage, asker: Asker, answer: DhcpAnswer) -> EventKind {
    EventKind::Dhcp { message, asker, arch: Some(ClientArch::EFI_X64), answer }
}

fn ignored(asker: Asker, because: Silence) -> EventKind {
    dhcp(DhcpMessage::Request, asker, DhcpAnswer::Ignored { because })
}

fn sent() -> EventKind {
    EventKind::LoaderSent { file: "ipxe.efi".into(), bytes: 1_000_000, milliseconds: 800 }
}

fn script() -> EventKind {
    EventKind::Script { machine: Some("pc01".parse().expect("a name")), default: Some("win11".into()) }
}

fn proxied(asker: Asker) -> EventKind {
    let DhcpAnswer::Offered { boot, .. } = offered(asker) else { unreachable!("it is an offer") };
    dhcp(DhcpMessage::Discover, asker, DhcpAnswer::Offered { address: None, boot })
}

/// What is known before the script.
fn good_start() -> Vec<EventKind> {
    use Asker::{Firmware, Ipxe};
    vec![discover(Firmware), request(Firmware), sent(), discover(Ipxe), request(Ipxe), EventKind::FirstScript, script()]
}

/// A transcript with one event each second.
fn transcript(kinds: impl IntoIterator<Item = EventKind>) -> Transcript {
    let mut transcript = Transcript::empty();
    for (second, kind) in kinds.into_iter().enumerate() {
        let at = begun() + SignedDuration::from_secs(second as i64);
        let what = format!("step {second}");
        transcript.record(mac(), wire(), Some(ip("10.0.0.101")), Event { at, service: "dhcp".into(), kind, until: None, what });
    }
    transcript
}

fn wire() -> Source {
    Source::Interface("lan0".into())
}

fn free(last_used: Option<Timestamp>) -> Disk {
    Disk::Free { targets: vec!["iqn.x:pc01.win11".into()], disabled: Vec::new(), last_used }
}

fn explained(transcript: &Transcript, disk: Disk, later: i64) -> Explanation {
    let table = table();
    let evidence = Evidence { table: Some(&table), transcript, now: begun() + SignedDuration::from_secs(later) };
    explain(&find("pc01", evidence).expect("it is known"), disk, evidence)
}

fn last(kinds: impl IntoIterator<Item = EventKind>, disk: Disk) -> Outcome {
    explained(&transcript(kinds), disk, 3600).boots.pop().expect("a boot").outcome
}

fn cause(kinds: impl IntoIterator<Item = EventKind>) -> Cause {
    match last(kinds, free(None)) {
        Outcome::Stopped(finding) => finding.cause,
        other => panic!("it did not stop: {other:?}"),
    }
}

#[test]
fn a_boot_that_stopped_is_told_by_the_last_thing_that_happened() {
    use Asker::{Firmware, Ipxe, LackingIpxe};
    let router = Ipv4Addr::new(192, 168, 1, 1);
    let other = || Silence::OtherServer { server: router };
    let loader = || "ipxe.efi".to_owned();
    let url = || "http://10.0.0.2:8080/boot.ipxe".to_owned();
    let no_boot = |arch: u16| EventKind::Dhcp {
        message: DhcpMessage::Discover,
        asker: Firmware,
        arch: Some(ClientArch(arch)),
        answer: DhcpAnswer::Offered { address: Some(ip("10.0.0.101")), boot: None },
    };
    let upto = |n: usize| good_start()[..n].to_vec();
    let with = |mut start: Vec<EventKind>, more: EventKind| {
        start.push(more);
        start
    };
    let cases = [
        (vec![discover(Firmware), discover(Firmware)], Cause::OfferUnanswered { others: vec![] }),
        (with(upto(1), ignored(Firmware, other())), Cause::OtherServer { server: router }),
        (vec![proxied(Firmware)], Cause::NoAddressFromOther),
        (vec![proxied(Firmware), ignored(Firmware, other())], Cause::LoaderNotFetched { file: loader() }),
        (vec![no_boot(27)], Cause::NoLoaderForArch { arch: ClientArch(27) }),
        (vec![no_boot(7)], Cause::LoaderMissing { file: loader() }),
        (vec![ignored(Firmware, Silence::NetworkOff)], Cause::NetworkOff),
        (vec![ignored(Firmware, Silence::NoAddress)], Cause::NoAddress),
        (vec![ignored(Firmware, Silence::NoNetwork)], Cause::NoNetwork),
        (upto(2), Cause::LoaderNotFetched { file: loader() }),
        (with(upto(2), EventKind::LoaderMissing { file: "pxelinux.0".into() }), Cause::StrangeFile { file: "pxelinux.0".into() }),
        (with(upto(2), EventKind::LoaderStalled { file: loader() }), Cause::TransferUnfinished { file: loader() }),
        (with(upto(2), EventKind::LoaderBrokenOff { file: loader() }), Cause::TransferUnfinished { file: loader() }),
        (upto(3), Cause::LoaderSilent { file: loader(), firmware: Some(ClientArch::EFI_X64) }),
        (
            with(upto(3), EventKind::LoaderMissing { file: "autoexec.ipxe".into() }),
            Cause::LoaderSilent { file: loader(), firmware: Some(ClientArch::EFI_X64) },
        ),
        (upto(4), Cause::OfferUnanswered { others: vec![] }),
        (upto(5), Cause::ScriptNotFetched { url: url() }),
        (upto(6), Cause::MachineScriptNotFetched),
        (with(upto(6), EventKind::Script { machine: None, default: None }), Cause::UnknownMachine { mac: mac() }),
        (upto(7), Cause::NoSession { targets: vec!["iqn.x:pc01.win11".into()] }),
        (
            with(upto(7), EventKind::AssetMissing { path: "rescue/vmlinuz".into() }),
            Cause::AssetMissing { path: "rescue/vmlinuz".into() },
        ),
        ([upto(7), vec![script(), script()]].concat(), Cause::ScriptLoop { times: 3 }),
        (
            vec![discover(LackingIpxe), request(LackingIpxe), sent(), discover(LackingIpxe), request(LackingIpxe)],
            Cause::LoaderLoop { file: loader() },
        ),
        (vec![discover(Ipxe), proxied(Ipxe)], Cause::NoAddressFromOther),
    ];
    for (n, (kinds, expected)) in cases.into_iter().enumerate() {
        assert_eq!(cause(kinds), expected, "case {n}");
    }
}

/// What Debian's shim and GRUB, PXELINUX and U-Boot were seen to ask for in the lab.
#[test]
fn a_loader_that_asks_for_files_by_name_runs_and_is_not_called_silent() {
    use Asker::{Firmware, UBoot};
    let missing = |file: &str| EventKind::LoaderMissing { file: file.into() };
    let got = |file: &str| EventKind::LoaderSent { file: file.into(), bytes: 1_000, milliseconds: 1 };
    let next = |by: &str, file: &str| Cause::NextFileMissing { by: by.into(), file: file.into() };
    let booting = [discover(Firmware), request(Firmware)];
    let with = |more: &[EventKind]| [&booting, more].concat();
    let shim =
        [got("shimx64.efi"), missing("revocations_sku.efi"), missing("revocations_sbat.efi"), missing("shim_certificate_0.efi")];
    let refused = [&shim[..], &[got("grubx64.efi")]].concat();
    let grub = [&refused[..], &[missing("/grub/x86_64-efi/command.lst"), missing("/grub/grub.cfg")]].concat();
    let over_http =
        [EventKind::HttpLoader { file: "shimx64.efi".into() }, missing("shim_certificate_0.efi"), missing("grubx64.efi")];
    let walk = [got("pxelinux.0"), got("ldlinux.c32"), missing("pxelinux.cfg/C0A84D0C"), missing("pxelinux.cfg/default")];
    let silent = |file: &str| Cause::LoaderSilent { file: file.into(), firmware: Some(ClientArch::EFI_X64) };
    for (kinds, expected) in [
        (with(&shim), silent("shimx64.efi")),
        (with(&[&shim[..], &[missing("grubx64.efi"), missing("grubx64.efi")]].concat()), next("shimx64.efi", "grubx64.efi")),
        (with(&over_http), next("shimx64.efi", "grubx64.efi")),
        // The shim did not start it: it is not signed.
        (with(&refused), silent("grubx64.efi")),
        (with(&grub), next("grubx64.efi", "/grub/grub.cfg")),
        (with(&walk), next("pxelinux.0", "pxelinux.cfg/default")),
        (vec![discover(UBoot), request(UBoot), missing("boot.scr.uimg")], next("U-Boot", "boot.scr.uimg")),
        (with(&[got("ipxe-arm64.efi"), missing("dtb/")]), silent("ipxe-arm64.efi")),
    ] {
        assert_eq!(cause(kinds), expected);
    }
    for (kinds, by) in [
        (with(&[&grub[..], &[got("/grub/grub.cfg")]].concat()), "grubx64.efi"),
        (with(&[&walk[..], &[got("pxelinux.cfg/default"), got("vmlinuz")]].concat()), "pxelinux.0"),
        (vec![discover(UBoot), request(UBoot), got("boot.scr.uimg")], "U-Boot"),
    ] {
        let outcome = last(kinds, free(None));
        assert!(matches!(&outcome, Outcome::HandedOver { because } if because.starts_with(by)), "{outcome:?}");
    }
    let pi = [got("start4.elf"), missing("recovery.elf"), got("kernel8.img"), missing("overlays/none.dtbo")];
    assert_eq!(cause(with(&pi)), next("start4.elf", "overlays/none.dtbo"));
    for kinds in [with(&walk), with(&pi), with(&[&refused[..], &[got("/grub/grub.cfg")]].concat())] {
        let outcome = last([kinds, vec![discover(Asker::System)]].concat(), free(None));
        assert!(matches!(outcome, Outcome::Booted { .. }), "{outcome:?}");
    }
    let both_parts = [&[discover(UBoot), request(UBoot), missing("boot.scr.uimg")][..], &booting, &[sent()]].concat();
    assert_eq!(explained(&transcript(both_parts), free(None), 3600).boots.len(), 1, "its UEFI part is of the same boot");
}

#[test]
fn another_server_that_any_machine_chose_is_named_for_the_one_that_says_nothing() {
    let mut transcript = transcript([discover(Asker::Firmware)]);
    let stranger: MacAddr = "02:00:00:00:00:01".parse().expect("an address");
    let kind = ignored(Asker::Firmware, Silence::OtherServer { server: ip("10.0.0.1") });
    transcript.record(
        stranger,
        wire(),
        None,
        Event { at: begun(), service: "dhcp".into(), kind, until: None, what: String::new() },
    );
    let explanation = explained(&transcript, Disk::NoTarget, 3600);
    let Outcome::Stopped(finding) = &explanation.boots[0].outcome else { panic!("{explanation:?}") };
    assert_eq!(finding.cause, Cause::OfferUnanswered { others: vec![ip("10.0.0.1")] });
    assert!(finding.diagnostic.hint.as_deref().expect("a mend").contains("10.0.0.1"), "{finding:?}");
    let mut proxy = table();
    proxy.networks.values_mut().for_each(|network| network.mode = NetworkMode::Proxy);
    assert!(other_servers(&transcript, Some(&proxy)).is_empty(), "beside another server it is expected");
}

#[test]
fn the_disk_tells_what_came_of_a_script() {
    let by = Initiator::System;
    let logged_in = Disk::LoggedIn { target: "iqn.x:pc01.win11".into(), from: "10.0.0.101".into(), by };
    assert!(matches!(last(good_start(), logged_in), Outcome::Booted { .. }));
    let used = |second| free(Some(begun() + SignedDuration::from_secs(second)));
    assert!(matches!(last(good_start(), used(20)), Outcome::Booted { .. }), "it was in use after the script");
    assert!(matches!(last(good_start(), used(-20)), Outcome::Stopped(_)), "that was the boot before");
    assert!(matches!(last(good_start(), Disk::NoTarget), Outcome::HandedOver { .. }));
    let Outcome::HandedOver { because } = last(good_start(), Disk::Unreadable { reason: "run as root".into() }) else {
        panic!("what cannot be seen is no cause")
    };
    assert!(because.contains("run as root"));
    let disabled = Disk::Free { targets: vec!["a".into()], disabled: vec!["a".into()], last_used: None };
    assert!(matches!(last(good_start(), disabled), Outcome::Stopped(Finding { cause: Cause::TargetDisabled { .. }, .. })));
    let system = [good_start(), vec![discover(Asker::System)]].concat();
    assert!(matches!(last(system, free(None)), Outcome::Booted { .. }));
    let kernel = [good_start(), vec![EventKind::AssetSent { path: "vmlinuz".into() }]].concat();
    assert!(matches!(last(kernel, free(None)), Outcome::Booted { .. }));
}

#[test]
fn what_may_still_be_going_on_is_not_called_stopped() {
    let outcome =
        |kinds: Vec<EventKind>, later| explained(&transcript(kinds), free(None), later).boots.pop().expect("one").outcome;
    assert_eq!(outcome(good_start()[..2].to_vec(), 20), Outcome::Underway);
    assert!(matches!(outcome(good_start()[..2].to_vec(), 120), Outcome::Stopped(_)));
    assert_eq!(outcome(good_start(), 100), Outcome::Underway, "a menu may be waiting");
    let unknown = vec![EventKind::Script { machine: None, default: None }];
    assert!(matches!(outcome(unknown, 0), Outcome::Stopped(_)), "waiting will not put it into the site");
}

#[test]
fn a_new_discover_of_the_firmware_begins_a_boot_and_its_repetition_does_not() {
    let twice = [good_start(), vec![discover(Asker::System)], good_start()].concat();
    let explanation = explained(&transcript(twice), free(None), 3600);
    assert_eq!(explanation.boots.iter().map(|boot| boot.steps.len()).collect::<Vec<_>>(), [8, 7]);
    assert!(matches!(explanation.boots[0].outcome, Outcome::Booted { .. }));
    let step = &explanation.boots[1].steps[3];
    assert_eq!((step.since_begin, step.since_last), (3000, 1000));

    let repeated = vec![discover(Asker::Firmware), discover(Asker::Firmware), request(Asker::Firmware)];
    assert_eq!(explained(&transcript(repeated), free(None), 3600).boots.len(), 1);
    let rom = vec![discover(Asker::Ipxe), request(Asker::Ipxe), script(), discover(Asker::Ipxe)];
    assert_eq!(explained(&transcript(rom), free(None), 3600).boots.len(), 2, "an iPXE in a ROM is its own firmware");
    let renewal = vec![request(Asker::System), request(Asker::System), discover(Asker::Firmware)];
    let boots = explained(&transcript(renewal), free(None), 3600).boots;
    assert_eq!((boots.len(), &boots[0].outcome), (2, &Outcome::SystemOnly));
}

fn waiting(code: WaitCode) -> EventKind {
    EventKind::Waiting { machine: "pc01".parse().expect("a name"), image: "win11".parse().expect("an image"), code }
}

/// What a waiting script does every few seconds.
fn asks_again(code: WaitCode) -> Vec<EventKind> {
    vec![discover(Asker::Ipxe), request(Asker::Ipxe), EventKind::FirstScript, script(), waiting(code)]
}

#[test]
fn a_machine_that_waits_for_its_disk_is_one_boot_with_the_cause_and_the_mend() {
    let mut kinds = good_start();
    kinds.push(waiting(WaitCode::NoCleanSide));
    (0..40).for_each(|_| kinds.extend(asks_again(WaitCode::NoCleanSide)));
    let told = explained(&transcript(kinds.clone()), free(None), 7 + 200);
    assert_eq!(told.boots.len(), 1, "the same boot asks again, and how it began is kept: {told:?}");
    assert!(told.boots[0].steps.len() < 20);
    let Outcome::Waits(finding) = &told.boots[0].outcome else { panic!("it waits: {told:?}") };
    assert_eq!(finding.diagnostic.message, "win11 waits: no clean disk, and the one it used last is not proven off");
    let text = render(&told, 5, &jiff::tz::TimeZone::UTC);
    assert!(text.contains("=> it goes on asking: win11 waits: no clean disk") && text.contains("mend: leave it on: "), "{text}");
    let image = || "win11".parse().expect("an image");
    assert_eq!(
        cause(kinds.clone()),
        Cause::NoDisk { image: image(), code: WaitCode::NoCleanSide },
        "an hour later it has stopped"
    );
    let machine = || "pc01".parse().expect("a name");
    let target = "iqn.2026-11.example.cat:pc01.win11.a-01234567".parse().expect("legal");
    kinds.extend([EventKind::FirstScript, script(), EventKind::Assigned { machine: machine(), image: image(), target }]);
    assert!(matches!(cause(kinds.clone()), Cause::NoSession { .. }), "that it asked often is no loop");
    kinds.extend([EventKind::FirstScript, script()]);
    kinds.push(EventKind::Refused { machine: machine(), image: image(), code: RefusalCode::OtherHardware });
    assert_eq!(cause(kinds), Cause::DiskRefused { image: image(), code: RefusalCode::OtherHardware });
}

#[test]
fn an_entry_that_nobody_chose_waits_without_stopping_the_boot() {
    let mut kinds = good_start();
    let (machine, image) = ("pc01".parse().expect("a name"), "ubuntu".parse().expect("an image"));
    let target = "iqn.2026-11.example.cat:pc01.win11.a-01234567".parse().expect("legal");
    let default =
        EventKind::Assigned { machine: "pc01".parse().expect("a name"), image: "win11".parse().expect("an image"), target };
    kinds.extend([EventKind::Waiting { machine, image, code: WaitCode::Filling }, default]);
    assert!(matches!(cause(kinds), Cause::NoSession { .. }));
}

#[test]
fn what_others_fetch_is_no_boot() {
    let foreign = EventKind::ForeignFetch { peer: [10, 0, 0, 9].into() };
    assert!(!matches!(last([foreign], free(None)), Outcome::Stopped(_)));
}

#[test]
fn where_dhcp_is_another_servers_a_boot_begins_with_what_is_fetched() {
    let mut seen = Transcript::empty();
    for minute in [0, 5, 600, 1200] {
        for (second, kind) in [(0, EventKind::FirstScript), (1, script())] {
            let at = begun() + SignedDuration::from_secs(minute * 60 + second);
            seen.record(
                mac(),
                wire(),
                Some(ip("10.0.0.101")),
                Event { at, service: "http".into(), kind, until: None, what: String::new() },
            );
        }
    }
    let boots = explained(&seen, free(None), 90_000).boots;
    assert_eq!(boots.iter().map(|boot| boot.steps.len()).collect::<Vec<_>>(), [2, 2, 2, 2]);
    assert!(matches!(&boots[3].outcome, Outcome::Stopped(Finding { cause: Cause::NoSession { .. }, .. })), "and is no loop");
}

#[test]
fn a_machine_is_found_by_its_name_its_addresses_and_in_any_spelling() {
    let (table, transcript) = (table(), transcript([discover(Asker::Firmware)]));
    let evidence = Evidence { table: Some(&table), transcript: &transcript, now: begun() };
    let pc01 = find("pc01", evidence).expect("by name");
    assert_eq!(pc01.macs.len(), 2);
    for asked in [MAC, "88AEDD0508FA", "88-ae-dd-05-08-fb", "10.0.0.101"] {
        assert_eq!(find(asked, evidence).as_ref(), Some(&pc01), "{asked}");
    }
    let stranger = find("02:00:00:00:00:07", evidence).expect("any address may be asked for");
    assert_eq!(explain(&stranger, Disk::NoTarget, evidence).silence.map(|finding| finding.cause), Some(Cause::NeverHeard));
    assert_eq!(find("pc99", evidence), None);
    assert_eq!(find("10.0.0.9", evidence), None);
}

#[test]
fn unknown_machines_are_those_that_tried_to_boot() {
    let mut seen = transcript([]);
    let mut record = |mac: &str, second: i64, kind: EventKind| {
        let at = begun() + SignedDuration::from_secs(second);
        seen.record(
            mac.parse().expect("an address"),
            wire(),
            None,
            Event { at, service: "dhcp".into(), kind, until: None, what: String::new() },
        );
    };
    record("02:00:00:00:00:01", 1, discover(Asker::Firmware));
    record("02:00:00:00:00:01", 9, EventKind::Script { machine: None, default: None });
    record("02:00:00:00:00:02", 20, discover(Asker::System));
    record("02:00:00:00:00:03", 30, discover(Asker::Ipxe));
    record(MAC, 40, discover(Asker::Firmware));
    let table = FixedTable::from(table());
    let found = unknown_machines(&seen, |mac| table.machine(mac).is_some());
    let found: Vec<_> = found.iter().map(|machine| (machine.mac.to_string(), machine.arch)).collect();
    let x64 = Some(ClientArch::EFI_X64);
    assert_eq!(found, [("02:00:00:00:00:03".to_owned(), x64), ("02:00:00:00:00:01".to_owned(), x64)]);
}

#[test]
fn the_text_shows_steps_with_both_times_and_folds_what_repeats() {
    let mut seen = transcript([discover(Asker::Firmware), request(Asker::Firmware), sent()]);
    let events = &mut seen.machines.values_mut().next().expect("one").events;
    for second in 10..14 {
        let at = begun() + SignedDuration::from_millis(second * 1000 + 5);
        events.push(Event { at, service: "tftp".into(), kind: sent(), until: None, what: "fetched ipxe.efi".into() });
    }
    let text = render(&explained(&seen, free(None), 7000), 3, &jiff::tz::TimeZone::fixed(jiff::tz::offset(8)));
    let expected = "\
pc01  88:ae:dd:05:08:fa 88:ae:dd:05:08:fb  10.0.0.101
  site     boots win11 by itself, reserved 10.0.0.101
  network  lan 10.0.0.0/24 on lan0: this server hands out addresses
  disk     iqn.x:pc01.win11: nobody is logged in now

boot 1 of 1  2026-11-21 16:00:00 +08:00  (116 min ago)
  16:00:00     0.000 s               dhcp      step 0
  16:00:01     1.000 s    (+1.000 s) dhcp      step 1
  16:00:02     2.000 s    (+1.000 s) dhcp      step 2
  16:00:10    10.005 s    (+8.005 s) tftp      fetched ipxe.efi  [4 times in 3.000 s]
  => it stopped: it has ipxe.efi, and that never asked for an address: it does not run, or does not drive this network card
     mend: switch Secure Boot off in the firmware (it refuses a loader that is not signed); if it is off, give it another loader: \
snponly.efi, which uses the firmware's driver
";
    assert_eq!(text, expected);
}
