//! The units that `init` writes: what systemd says of them, and that the services say that they are alive.

use crate::cafe::{Agent, Cafe};
use crate::serve::netns::skipped;
use std::{
    fs,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

fn written(cafe: &Cafe) -> PathBuf {
    let etc = cafe.work.root.path().join("etc");
    let flag = format!("--systemd={}", etc.display());
    let made = cafe.barista(&["init", cafe.repository.to_str().unwrap(), &flag]);
    assert_eq!(made.status.code(), Some(0), "{}", String::from_utf8_lossy(&made.stderr));
    etc
}

/// The exposure that systemd finds, in tenths; `None` where it is not installed.
fn exposure(unit: &Path) -> Option<u32> {
    let output = Command::new("systemd-analyze").args(["security", "--offline=true", "--no-pager"]).arg(unit).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, rest) = said.split_once("Overall exposure level for ").unwrap_or_else(|| panic!("{output:?}"));
    let (whole, tenths) = rest.split_whitespace().nth(1).and_then(|level| level.split_once('.')).expect("a level");
    let number = |text: &str| text.parse::<u32>().expect("digits");
    Some(number(whole) * 10 + number(tenths))
}

#[test]
fn the_services_are_exposed_no_more_than_their_work_asks() {
    let cafe = Cafe::new();
    let etc = written(&cafe);
    // Of serve's 16, 13 are the network itself: addresses of any kind, packet sockets, low ports, the list of interfaces.
    for (unit, most) in [("barista-serve.service", 16), ("barista-agent.service", 40)] {
        let path = etc.join("systemd/system").join(unit);
        match exposure(&path) {
            Some(found) => assert!(found <= most, "{unit}: {found} tenths, more than {most}"),
            None => skipped("there is no systemd-analyze"),
        }
    }
}

#[test]
fn systemd_finds_no_fault_in_the_units() {
    let cafe = Cafe::new();
    let etc = written(&cafe);
    for unit in ["barista-serve.service", "barista-agent.service"] {
        let path = etc.join("systemd/system").join(unit);
        let Ok(output) = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output() else {
            return skipped("there is no systemd-analyze");
        };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let of_ours: Vec<&str> = said.lines().filter(|line| line.contains(unit)).collect();
        assert!(of_ours.is_empty(), "{of_ours:#?}");
    }
}

#[test]
fn modules_are_loaded_at_boot_and_not_by_the_agent() {
    let cafe = Cafe::new();
    let etc = written(&cafe);
    let modules = fs::read_to_string(etc.join("modules-load.d/barista.conf")).unwrap();
    for module in ["dm_thin_pool", "target_core_mod", "target_core_iblock", "iscsi_target_mod"] {
        assert!(modules.lines().any(|line| line == module), "{modules}");
    }
    let agent = fs::read_to_string(etc.join("systemd/system/barista-agent.service")).unwrap();
    assert!(agent.contains("ProtectKernelModules=yes") && !agent.contains("CAP_SYS_MODULE"), "{agent}");
    let settings = agent.lines().filter(|line| !line.starts_with('#'));
    assert!(settings.clone().count() > 20 && !settings.clone().any(|line| line.starts_with("ProtectKernelTunables")), "configfs");
}

#[test]
fn both_services_tell_systemd_that_their_loops_go_round() {
    let cafe = Cafe::with_repository();
    let repository = cafe.repository.to_str().unwrap().to_owned();
    let root = nix::unistd::geteuid().is_root();
    let serve: &[&str] = if root { &["serve", "--user", "root"] } else { &["serve"] };
    for arguments in [&["agent", "--repo", &repository][..], serve] {
        let path = cafe.work.root.path().join(arguments[0]);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut command = cafe.command(arguments);
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000").stderr(Stdio::null());
        let _service = Agent(command.spawn().unwrap());
        let (mut alive, mut is_ready) = (0, false);
        while alive < 3 || !is_ready {
            let mut message = [0; 4096];
            let length = socket.recv(&mut message).unwrap_or_else(|error| panic!("{arguments:?} falls silent: {error}"));
            let said = String::from_utf8_lossy(&message[..length]).into_owned();
            is_ready |= said.contains("READY=1");
            alive += u32::from(said.contains("WATCHDOG=1"));
        }
    }
}
