//! Observing a host: what is present, what is absent, what is unreadable.

use barista::host::fake::FakeHost;
use barista::host::{Command, ConfigFs, Depth, Output, Scope, look as look_at_targets, observe, observe_to};
use barista::observed::occupancy::{Initiator, Occupancy, SystemSeen, Watch};
use barista::observed::{Observation, Seen, Settled};
use barista::site::SourceFormat;
use nix::errno::Errno;
use std::{collections::BTreeMap, fs, path::Path, thread, time::Duration};

const TARGET: &str = "iqn.2026-11.example.lucky-cat:pc01.win11";
const INITIATOR: &str = "iqn.2026-11.example.lucky-cat:pc01";

fn scope(state: &Path) -> Scope {
    Scope {
        site: "lucky-cat".parse().expect("legal"),
        vg: Some("cafe".parse().expect("legal")),
        iqn_prefix: Some("iqn.2026-11.example.lucky-cat".parse().expect("legal")),
        image_store: state.join("images"),
        sources: BTreeMap::new(),
        assets_dir: state.join("assets"),
        assets: Default::default(),
        interfaces: [String::from("lan0")].into(),
        state: state.to_owned(),
        chap_secrets: None,
    }
}

fn look(host: &FakeHost) -> Observation {
    let state = tempfile::tempdir().expect("a directory");
    observe(&host.system(), &scope(state.path()))
}

fn host() -> FakeHost {
    let host = FakeHost::new();
    host.load_lio().add_vg("cafe", 8 << 30).add_pool("cafe", "pool", 1 << 30);
    host
}

fn reason<T: std::fmt::Debug>(seen: Seen<T>) -> String {
    match seen {
        Seen::Unreadable(reason) => reason,
        other => panic!("is readable: {other:?}"),
    }
}

/// A seat's disk and target, enabled.
fn export(host: &FakeHost, prefix: &str, backstore: &str, number: u32) {
    let words = format!("lvcreate -y -T -V 64m -n {backstore} --addtag barista cafe/pool");
    let output = host.system().commands.run(&Command::new(words.split(' '), Duration::from_secs(9))).expect("runs");
    assert!(output.is_success(), "{}", output.stderr);
    let (hba, tpg) = (format!("core/iblock_{number}"), format!("iscsi/{prefix}:pc01.win11/tpgt_1"));
    let (disk, lun, acl) = (format!("{hba}/{backstore}"), format!("{tpg}/lun/lun_0"), format!("{tpg}/acls/{prefix}:pc01"));
    if host.list("iscsi").is_err() {
        host.mkdir("iscsi").expect("made");
    }
    for path in [&hba, &disk] {
        host.mkdir(path).expect("made");
    }
    ConfigFs::write(host, &format!("{disk}/control"), &format!("udev_path=/dev/cafe/{backstore}")).expect("written");
    ConfigFs::write(host, &format!("{disk}/enable"), "1").expect("written");
    ConfigFs::write(host, &format!("{disk}/alias"), "a mark").expect("written");
    ConfigFs::write(host, &format!("{disk}/wwn/vpd_unit_serial"), "serial").expect("written");
    for path in [tpg.trim_end_matches("/tpgt_1"), &tpg, &lun, &acl, &format!("{acl}/lun_0"), &format!("{tpg}/np/192.0.2.1:3260")]
    {
        host.mkdir(path).expect("made");
    }
    host.symlink(&disk, &format!("{lun}/disk")).expect("linked");
    host.symlink(&lun, &format!("{acl}/lun_0/map")).expect("linked");
    ConfigFs::write(host, &format!("{tpg}/attrib/authentication"), "0").expect("written");
    ConfigFs::write(host, &format!("{tpg}/enable"), "1").expect("written");
}

fn export_ours(host: &FakeHost) {
    export(host, "iqn.2026-11.example.lucky-cat", "lucky-cat.pc01.win11", 100_000);
}

fn export_foreign(host: &FakeHost) {
    export(host, "iqn.2003-01.org.other", "theirs", 3);
}

#[test]
fn a_site_without_disks_asks_neither_lvm_nor_configfs() {
    let host = FakeHost::new();
    host.become_user();
    host.unmount_configfs();
    host.uninstall("vgs");
    let state = tempfile::tempdir().expect("a directory");
    let seen = observe(&host.system(), &Scope { vg: None, iqn_prefix: None, ..scope(state.path()) });
    assert_eq!((seen.vg, seen.lio, seen.published), (Seen::Absent, Seen::Absent, Seen::Absent));
}

#[test]
fn a_volume_group_is_absent_only_when_lvm_said_so() {
    let absent = FakeHost::new();
    absent.add_vg("other", 1 << 30);
    assert_eq!(look(&absent).vg, Seen::Absent);
    assert!(look(&host()).vg.present().is_some_and(|vg| vg.lvs.contains_key("pool")));
    let says = |status, stdout: &str, stderr: &str| Output { status: Some(status), stdout: stdout.into(), stderr: stderr.into() };
    for (programs, output, expected) in [
        (&["vgs", "lvs"][..], says(5, "", "  /dev/sdb: open failed\n"), "vgs"),
        (&["vgs", "lvs"], says(0, "{\"report\": [", ""), "does not read as one"),
        (&["lvs"], says(5, "{}", "  Can't get lock for cafe.\n"), "Can't get lock for cafe."),
        (&["lvs"], says(0, r#"{"report":[{"lv":[{"lv_name":"pool"}]}]}"#, ""), "lacks the field"),
    ] {
        let host = host();
        programs.iter().for_each(|program| host.answer(program, output.clone()));
        let reason = reason(look(&host).vg);
        assert!(reason.starts_with("volume group cafe: ") && reason.contains(expected), "{reason}");
    }
    let (user, bare) = (host(), host());
    user.become_user();
    assert!(reason(look(&user).vg).contains("run as root"));
    bare.uninstall("lvs");
    assert!(reason(look(&bare).vg).contains("install the package lvm2"));
}

#[test]
fn volumes_of_the_site_in_other_groups_are_counted_beside_its_own() {
    let host = host();
    host.add_vg("spare", 8 << 30).add_pool("spare", "pool", 1 << 30);
    for (name, tag) in [("seat.pc01.win11.a", "barista.site=lucky-cat"), ("seat.pc02.win11.a", "barista.site=other")] {
        let words = format!("lvcreate -y -T -V 64m -n {name} --addtag {tag} spare/pool");
        host.system().commands.succeed(&Command::new(words.split(' '), Duration::from_secs(9))).expect("made");
    }
    let of = |seen: &Observation| (seen.vg.present().map(|vg| vg.lvs.len()), seen.elsewhere.clone());
    assert_eq!(of(&look(&host)), (Some(1), [("spare".to_owned(), 1)].into()));
    let state = tempfile::tempdir().expect("a directory");
    let lio = look(&host).lio;
    let nothing = barista::observed::Lio::default();
    let known = lio.present().unwrap_or(&nothing);
    host.uninstall("vgs");
    let quick = observe_to(&host.system(), &scope(state.path()), Depth::Quick(known));
    assert_eq!(of(&quick), (Some(1), [("spare".to_owned(), 1)].into()), "one report tells all");
    let bare = observe(&host.system(), &Scope { vg: None, iqn_prefix: None, ..scope(state.path()) });
    assert_eq!(bare.elsewhere, [("spare".to_owned(), 1)].into());
}

#[test]
fn lio_is_absent_while_it_is_not_loaded_and_unreadable_without_configfs() {
    assert_eq!(look(&FakeHost::new()).lio, Seen::Absent);
    let host = host();
    host.unmount_configfs();
    assert!(reason(look(&host).lio).contains("mount -t configfs"));
}

#[test]
fn an_attribute_of_ours_that_cannot_be_read_is_named_and_a_foreign_one_stops_nobody() {
    let ours = [
        "core/iblock_100000/lucky-cat.pc01.win11/alias".to_owned(),
        "core/iblock_100000/lucky-cat.pc01.win11/attrib/emulate_tpu".to_owned(),
        "core/iblock_100000/lucky-cat.pc01.win11/statistics/scsi_lu/num_cmds".to_owned(),
        format!("iscsi/{TARGET}/tpgt_1/enable"),
        format!("iscsi/{TARGET}/tpgt_1/acls/{INITIATOR}/lun_0/write_protect"),
        format!("iscsi/{TARGET}/fabric_statistics/iscsi_instance/sessions"),
    ];
    for path in ours {
        let host = host();
        export_ours(&host);
        host.forbid(&path, Errno::EIO);
        let reason = reason(look(&host).lio);
        assert!(reason.starts_with(&format!("/sys/kernel/config/target/{path}: ")), "{reason}");
    }
    let host = host();
    export_ours(&host);
    export_foreign(&host);
    for attribute in ["alias", "enable", "info", "attrib/emulate_tpu", "wwn/vpd_unit_serial"] {
        host.forbid(&format!("core/iblock_3/theirs/{attribute}"), Errno::EIO);
    }
    host.forbid("iscsi/iqn.2003-01.org.other:pc01.win11/tpgt_1/enable", Errno::EIO);
    assert!(matches!(look(&host).lio, Seen::Present(_)));
}

#[test]
fn an_acl_whose_session_cannot_be_read_is_not_an_acl_without_one() {
    let host = host();
    export_ours(&host);
    host.forbid(&format!("iscsi/{TARGET}/tpgt_1/acls/{INITIATOR}/info"), Errno::EIO);
    let lio = look(&host).lio;
    let lio = lio.present().expect("the rest is readable");
    assert!(matches!(&lio.targets[TARGET].tpgs[&1].acls[INITIATOR].session, Seen::Unreadable(_)));
}

#[test]
fn a_seat_is_read_whole_and_a_neighbour_at_a_glance() {
    let host = host();
    export_ours(&host);
    export_foreign(&host);
    host.mkdir("core/iblock_100009").expect("made");
    host.login(TARGET, INITIATOR).expect("logs in");
    host.write(TARGET, INITIATOR, 0, 4096).expect("writes");
    let seen = look(&host);
    let lio = seen.lio.present().expect("is there");
    assert_eq!(lio.empty_hbas, ["iblock_100009".to_owned()].into());
    let disk = &lio.backstores["iblock_100000/lucky-cat.pc01.win11"];
    let lv = &seen.vg.present().expect("is there").lvs["lucky-cat.pc01.win11"];
    assert!(disk.enabled && lv.open && disk.device.is_some());
    assert_eq!((disk.device, disk.alias.as_str(), disk.serial.as_str(), disk.commands), (lv.device, "a mark", "serial", 1));
    assert_eq!(
        (disk.inquiry.each_ref().map(String::as_str), disk.attributes.get("attrib/emulate_tpu").expect("it is read")),
        (["LIO-ORG", "IBLOCK", "4.0"], "0")
    );
    let theirs = &lio.backstores["iblock_3/theirs"];
    assert!(theirs.enabled && theirs.device.is_some() && theirs.serial.is_empty() && theirs.attributes.is_empty());
    let target = &lio.targets[TARGET];
    let tpg = &target.tpgs[&1];
    assert_eq!((target.sessions, tpg.enabled, tpg.attributes.get("attrib/authentication").expect("it is read")), (1, true, "0"));
    let link = tpg.luns.values().next().expect("one LUN").link.clone();
    assert_eq!(link, Some(("disk".into(), "iblock_100000/lucky-cat.pc01.win11".into())));
    assert_eq!(tpg.portals.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.1:3260"]);
    let acl = &tpg.acls[INITIATOR];
    let session = acl.session.present().expect("is logged in");
    assert_eq!((session.isid.as_str(), session.address.as_str()), ("00023d000001", "192.0.2.101"));
    assert_eq!(session.since, None, "one look tells no age");
    let map = acl.luns.values().next().expect("one map");
    assert_eq!((map.link.as_ref().map(|(name, lun)| (name.as_str(), lun.0)), map.commands), (Some(("map", 0)), 1));
    let other = &lio.targets["iqn.2003-01.org.other:pc01.win11"];
    assert!(other.tpgs[&1].acls.is_empty() && other.tpgs[&1].luns.len() == 1);
}

#[test]
fn a_map_that_has_died_is_a_fact_and_no_failure_to_read() {
    let host = host();
    export_ours(&host);
    host.unlink(&format!("iscsi/{TARGET}/tpgt_1/lun/lun_0/disk")).expect("taken away");
    let seen = look(&host);
    let tpg = &seen.lio.present().expect("is readable").targets[TARGET].tpgs[&1];
    assert_eq!(tpg.luns.values().next().expect("one LUN").link, None);
    assert_eq!(tpg.acls[INITIATOR].luns.values().next().expect("one map").commands, 0);
}

/// Looks and takes it in, then lets ten seconds pass; what is known of our target.
fn follow(host: &FakeHost, known: &mut Occupancy, state: &Path) -> Watch {
    let seen = observe(&host.system(), &scope(state));
    let look = look_at_targets(&host.system(), &scope(state), &seen).expect("the site has disks");
    *known = std::mem::take(known).after(&look, 1);
    host.advance(Duration::from_secs(10));
    known.watches[TARGET].clone()
}

#[test]
fn a_session_is_followed_from_look_to_look() {
    let host = host();
    export_ours(&host);
    let state = tempfile::tempdir().expect("a directory");
    let mut known = Occupancy::new("boot");
    let mut look = || follow(&host, &mut known, state.path());
    assert_eq!((look().session, look().system), (None, SystemSeen::Never));
    host.login_firmware(TARGET, INITIATOR).expect("logs in");
    assert_eq!(look().session.map(|session| session.of), Some(Initiator::Firmware));
    host.logout(TARGET, INITIATOR);
    assert_eq!(look().system, SystemSeen::Never, "the firmware handed over and no system has come");
    host.login(TARGET, INITIATOR).expect("logs in");
    host.write(TARGET, INITIATOR, 0, 4096).expect("writes");
    let watch = look();
    let session = watch.session.expect("is at work");
    assert_eq!((session.of, session.since, watch.sign), (Initiator::System, watch.at, watch.at));
    let later = look();
    assert_eq!(later.session.map(|later| later.since), Some(session.since), "the same session as before");
    host.logout(TARGET, INITIATOR);
    let ended = look();
    assert_eq!((ended.session, ended.sign), (None, later.sign), "its end is silence and no sign of life");
    assert_eq!(look().quiet, Duration::from_secs(20));
}

#[test]
fn a_pulled_cable_of_the_server_is_no_silence_of_machines() {
    let host = host();
    export_ours(&host);
    let state = tempfile::tempdir().expect("a directory");
    let mut known = Occupancy::new("boot");
    let mut look = || follow(&host, &mut known, state.path());
    look();
    host.set_carrier(false);
    assert_eq!((look().quiet, look().quiet), (Duration::ZERO, Duration::ZERO));
    host.set_carrier(true);
    assert_eq!(look().quiet, Duration::from_secs(10));
}

#[test]
fn sources_are_measured_and_those_that_lead_elsewhere_refused() {
    let host = host();
    let state = tempfile::tempdir().expect("a directory");
    let store = state.path().join("images");
    fs::create_dir_all(&store).expect("made");
    let qcow2 = |backing: u8| {
        let mut header = vec![0; 104];
        header[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        header[15] = backing;
        header[24..32].copy_from_slice(&(64_u64 << 30).to_be_bytes());
        header
    };
    fs::write(store.join("plain.raw"), vec![1; 1 << 20]).expect("written");
    fs::write(store.join("whole.qcow2"), qcow2(0)).expect("written");
    fs::write(store.join("backed.qcow2"), qcow2(104)).expect("written");
    fs::write(store.join("named-wrong.qcow2"), b"MZ").expect("written");
    std::os::unix::fs::symlink("/etc/hostname", store.join("out.raw")).expect("linked");
    fs::create_dir(store.join("directory.raw")).expect("made");
    let names = ["plain.raw", "whole.qcow2", "backed.qcow2", "named-wrong.qcow2", "out.raw", "directory.raw", "missing.raw"];
    let format = |name: &str| if name.ends_with("raw") { SourceFormat::Raw } else { SourceFormat::Qcow2 };
    let sources = names.iter().map(|name| ((*name).to_owned(), format(name))).collect();
    let scope_of = Scope { sources, ..scope(state.path()) };
    let mut seen = observe(&host.system(), &scope_of).sources;
    // A test beside this one that starts a program has our descriptors, those too that wrote the files, from its fork to its exec.
    for _ in 0..50 {
        if seen["plain.raw"].present().is_some_and(|file| file.settled == Settled::Yes) {
            break;
        }
        thread::sleep(Duration::from_millis(20));
        seen = observe(&host.system(), &scope_of).sources;
    }
    let disk = |name: &str| seen[name].present().expect("is there").disk_size.clone();
    assert_eq!(disk("plain.raw").present().map(|size| size.0), Some(1 << 20));
    assert_eq!(disk("whole.qcow2").present().map(|size| size.0), Some(64 << 30));
    assert_eq!(seen["plain.raw"].present().map(|file| file.settled), Some(Settled::Yes));
    let writer = fs::OpenOptions::new().append(true).open(store.join("plain.raw")).expect("opens");
    let sources = [("plain.raw".to_owned(), SourceFormat::Raw)].into();
    let meanwhile = observe(&host.system(), &Scope { sources, ..scope(state.path()) }).sources;
    assert_eq!(meanwhile["plain.raw"].present().map(|file| file.settled), Some(Settled::BeingWritten));
    drop(writer);
    assert!(reason(disk("backed.qcow2")).contains("has a backing file"));
    assert!(reason(disk("named-wrong.qcow2")).contains("named-wrong.qcow2"));
    assert!(reason(seen["out.raw"].clone()).contains("leads out of"));
    assert!(reason(seen["directory.raw"].clone()).contains("is not a regular file"));
    assert_eq!(seen["missing.raw"], Seen::Absent);
}

#[test]
fn what_lvm_conf_says_of_output_changes_nothing_that_is_seen() {
    let host = host();
    export_ours(&host);
    let plain = look(&host).vg;
    assert!(plain.present().is_some_and(|vg| vg.lvs.len() == 2));
    host.write_odd_lvm_conf();
    assert_eq!(look(&host).vg, plain);
    assert_eq!(host.bare_lvm_commands(), Vec::<String>::new());
}

#[test]
fn a_quick_look_sees_what_moves_and_takes_the_rest_from_the_look_before() {
    let host = host();
    export_ours(&host);
    let state = tempfile::tempdir().expect("a directory");
    let whole = observe(&host.system(), &scope(state.path()));
    let reads_whole = host.reads();
    host.login(TARGET, INITIATOR).expect("logs in");
    host.write(TARGET, INITIATOR, 0, 4096).expect("writes");
    ConfigFs::write(&host, "core/iblock_100000/lucky-cat.pc01.win11/attrib/emulate_caw", "0").expect("written");
    let before = whole.lio.present().expect("is there");
    let quick = observe_to(&host.system(), &scope(state.path()), Depth::Quick(before));
    let reads_quick = host.reads() - reads_whole;
    assert!(reads_quick * 4 < reads_whole, "{reads_quick} after {reads_whole}");
    let seen = quick.lio.present().expect("is there");
    let disk = |lio: &barista::observed::Lio| lio.backstores["iblock_100000/lucky-cat.pc01.win11"].clone();
    assert_eq!(disk(seen).attributes, disk(before).attributes, "nobody looked");
    assert_eq!((disk(seen).commands, disk(before).commands), (1, 0));
    let tpg = &seen.targets[TARGET].tpgs[&1];
    assert!(tpg.acls[INITIATOR].session.present().is_some());
    assert_eq!(tpg.luns.values().next().expect("one LUN").commands, Seen::Present(1));
    let after = look(&host).lio;
    assert_eq!(disk(after.present().expect("is there")).attributes.get("attrib/emulate_caw"), Some("0"));
}

#[test]
fn a_quick_look_reads_whole_what_was_not_there_before_or_is_another_now() {
    let host = host();
    let state = tempfile::tempdir().expect("a directory");
    let before = observe(&host.system(), &scope(state.path())).lio;
    export_ours(&host);
    let quick = observe_to(&host.system(), &scope(state.path()), Depth::Quick(before.present().expect("is there"))).lio;
    assert_eq!(quick, look(&host).lio);
    for path in ["acls/iqn.2026-11.example.lucky-cat:pc01/lun_0/map", "lun/lun_0/disk"] {
        host.unlink(&format!("iscsi/{TARGET}/tpgt_1/{path}")).expect("unlinked");
    }
    host.rmdir("core/iblock_100000/lucky-cat.pc01.win11").expect("removed");
    host.mkdir("core/iblock_100000/lucky-cat.pc01.win11").expect("made");
    let quick = observe_to(&host.system(), &scope(state.path()), Depth::Quick(quick.present().expect("is there"))).lio;
    assert_eq!(quick, look(&host).lio, "a backstore without its device is not the one of before");
}
