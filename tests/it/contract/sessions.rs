//! What a live session sees and survives, asked of the fake and of the real kernel with open-iscsi over loopback.

use crate::contract::host_ground::{Ground, PREFIX, errno, on_each_host};
use barista::observed::{Session, parse_session};
use nix::errno::Errno::EBUSY;
use std::{
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

const TARGET: &str = "iqn.2026-11.example.contract:pc01.win11";
const PORTAL: &str = "127.0.0.1:3269";

/// A target with one disk and one ACL, enabled.
fn seat(ground: &Ground) -> (String, String) {
    ground.volume("contract.v1");
    let (tpg, backstore) = (ground.target(), ground.backstore(900_001, "contract.v1"));
    let (lun, acl) = (format!("{tpg}/lun/lun_0"), format!("{tpg}/acls/{PREFIX}:pc01"));
    let tree = ground.tree();
    for path in [&lun, &acl, &format!("{acl}/lun_0"), &format!("{tpg}/np/{PORTAL}")] {
        tree.mkdir(path).expect("made");
    }
    tree.symlink(&backstore, &format!("{lun}/link")).expect("linked");
    tree.symlink(&lun, &format!("{acl}/lun_0/link")).expect("linked");
    tree.write(&format!("{tpg}/attrib/authentication"), "0").expect("written");
    (tpg, acl)
}

/// Runs open-iscsi for the machine; its name is given in upper case, as some firmware does.
fn initiator(ground: &Ground, action: &str) -> Option<i32> {
    ground.run(&format!("iscsiadm -m node -T {TARGET} -p {PORTAL} -I contract {action}")).status
}

fn login(ground: &Ground) -> bool {
    if let Some(fake) = &ground.fake {
        return fake.login(TARGET, &format!("{PREFIX}:PC01")).is_ok();
    }
    for directory in ["/etc/iscsi", "/run/lock/iscsi"] {
        fs::create_dir_all(directory).expect("made");
    }
    if fs::metadata("/etc/iscsi/initiatorname.iscsi").is_err() {
        fs::write("/etc/iscsi/initiatorname.iscsi", format!("InitiatorName={PREFIX}:nobody\n")).expect("written");
    }
    for module in ["sd_mod", "iscsi_tcp"] {
        ground.works(&format!("modprobe {module}"));
    }
    if ground.run("pidof iscsid").status != Some(0) {
        ground.works("iscsid");
    }
    if ground.run("iscsiadm -m iface -I contract").status != Some(0) {
        ground.works("iscsiadm -m iface -I contract --op=new");
    }
    ground.works("iscsiadm -m iface -I contract --op=update -n iface.transport_name -v tcp");
    ground.works(&format!("iscsiadm -m iface -I contract --op=update -n iface.initiatorname -v {PREFIX}:PC01"));
    initiator(ground, "--op=new");
    initiator(ground, "--op=update -n node.session.initial_login_retry_max -v 1");
    initiator(ground, "--login") == Some(0)
}

/// Ends what the initiator still believes in.
fn forget(ground: &Ground) {
    match &ground.fake {
        Some(fake) => fake.logout(TARGET, &format!("{PREFIX}:pc01")),
        None => {
            initiator(ground, "--logout");
            initiator(ground, "--op=delete");
        }
    }
}

fn session(ground: &Ground, acl: &str) -> Option<Session> {
    parse_session(&ground.tree().read(&format!("{acl}/info")).expect("reads")).expect("reads as a session")
}

fn sessions(ground: &Ground) -> String {
    ground.tree().read(&format!("iscsi/{TARGET}/fabric_statistics/iscsi_instance/sessions")).expect("reads")
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "waited for: {what}");
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn contract_a_session_is_told_by_its_acl_and_counted_by_its_target() {
    on_each_host(|ground| {
        let (tpg, acl) = seat(ground);
        assert!(!login(ground), "a group that is not enabled lets nobody in");
        ground.tree().write(&format!("{tpg}/enable"), "1").expect("written");
        assert_eq!((session(ground, &acl), sessions(ground).as_str()), (None, "0"));
        assert!(login(ground));
        let seen = session(ground, &acl).expect("is logged in");
        assert_eq!((seen.isid.len(), seen.isid.starts_with("00023d")), (12, true), "open-iscsi's own: {}", seen.isid);
        assert!(!seen.address.is_empty() && !seen.address.contains(':'), "{}", seen.address);
        assert_eq!(sessions(ground), "1");
        if let Some(fake) = &ground.fake {
            fake.write(TARGET, &format!("{PREFIX}:pc01"), 0, 512).expect("writes");
        }
        let count = format!("{acl}/lun_0/statistics/scsi_auth_intr/num_cmds");
        wait_until("commands are counted", || ground.tree().read(&count).is_ok_and(|count| count != "0"));
        forget(ground);
        wait_until("the session ends", || session(ground, &acl).is_none() && sessions(ground) == "0");
    });
}

#[test]
fn contract_a_session_outlives_its_portal_and_its_disk_but_not_its_group() {
    on_each_host(|ground| {
        let (tpg, acl) = seat(ground);
        ground.tree().write(&format!("{tpg}/enable"), "1").expect("written");
        assert!(login(ground));
        ground.tree().rmdir(&format!("{tpg}/np/{PORTAL}")).expect("goes");
        assert!(session(ground, &acl).is_some(), "nobody new comes in, nobody is thrown out");
        ground.tree().unlink(&format!("{acl}/lun_0/link")).expect("goes");
        ground.tree().rmdir(&format!("{acl}/lun_0")).expect("goes");
        assert!(session(ground, &acl).is_some(), "the initiator is left with a disk that is none");
        ground.tree().write(&format!("{tpg}/enable"), "0").expect("written");
        assert_eq!(session(ground, &acl), None);
        wait_until("the session is counted out", || sessions(ground) == "0");
        forget(ground);
    });
}

#[test]
fn contract_an_acl_takes_its_session_with_it() {
    on_each_host(|ground| {
        let (tpg, acl) = seat(ground);
        ground.tree().write(&format!("{tpg}/enable"), "1").expect("written");
        assert!(login(ground));
        // So that the initiator cannot come back while we look.
        ground.tree().rmdir(&format!("{tpg}/np/{PORTAL}")).expect("goes");
        ground.tree().unlink(&format!("{tpg}/lun/lun_0/link")).expect("goes, whoever maps it");
        assert_eq!(errno(ground.tree().rmdir(&format!("{tpg}/lun/lun_0"))), Some(EBUSY));
        ground.tree().unlink(&format!("{acl}/lun_0/link")).expect("goes");
        ground.tree().rmdir(&format!("{acl}/lun_0")).expect("goes");
        assert!(session(ground, &acl).is_some());
        ground.tree().rmdir(&acl).expect("goes with its session");
        // The kernel's counter follows a moment later, when the last connection's thread has ended.
        wait_until("the session is counted out", || sessions(ground) == "0");
        forget(ground);
    });
}

#[test]
fn contract_drift_keeps_an_initiator_out_until_it_is_put_back() {
    on_each_host(|ground| {
        let (tpg, acl) = seat(ground);
        ground.tree().write(&format!("{tpg}/enable"), "1").expect("written");
        for (path, by_hand, must) in [
            (format!("{acl}/attrib/authentication"), "1", "-1"),
            (format!("{tpg}/param/HeaderDigest"), "CRC32C", "CRC32C,None"),
            (format!("{tpg}/param/DataDigest"), "CRC32C", "CRC32C,None"),
        ] {
            ground.tree().write(&path, by_hand).expect("written");
            assert!(!login(ground), "{path} {by_hand} lets it in on {}", ground.name());
            forget(ground);
            ground.tree().write(&path, must).expect("put back");
            assert!(login(ground), "{path} {must} keeps it out on {}", ground.name());
            forget(ground);
            wait_until("the session ends", || session(ground, &acl).is_none());
        }
    });
}
