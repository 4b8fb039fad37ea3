//! Looks whether this host can do what a site asks, before anything is planned.
//!
//! **Invariant:** changes nothing; every problem names the thing and the mend.

use super::{Command, CommandError, System, export::lio, left_suspended, suspended_trouble};
use crate::diagnostic::{Diagnostic, Severity};
use crate::names::{LvName, VgName};
use crate::observed::{LvKind, Seen, Vg};
use crate::site::SourceFormat;
use std::{collections::BTreeSet, time::Duration};

/// All of these only look.
const DEADLINE: Duration = Duration::from_secs(60);

/// The oldest LVM whose reports and activation skip behave as barista expects: JSON reports and `lv_check_needed` are older, and
/// no distribution that is still maintained has less (Debian 11: 2.03.11, RHEL 8: 2.03.14).
const OLDEST_LVM: [u32; 3] = [2, 3, 11];

/// What LVM needs of the kernel; it asks for dm_snapshot before it makes a thin snapshot, too.
const MODULES_OF_LVM: [&str; 2] = ["dm_thin_pool", "dm_snapshot"];

/// What the kernel must be able to load.
fn modules() -> impl Iterator<Item = &'static str> {
    MODULES_OF_LVM.into_iter().chain(lio::MODULES)
}

/// What a site asks of its host.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Needs {
    /// The volume group and thin pool of a site with disks.
    pub pool: Option<(VgName, LvName)>,
    /// Whether it is known that the host's tools are there, from a short while ago.
    pub has_tools: bool,
    /// The formats of source files that versions are filled from.
    pub formats: BTreeSet<SourceFormat>,
}

fn problem(code: &'static str, what: impl Into<String>, mend: impl Into<String>) -> Diagnostic {
    Diagnostic::whole(Severity::Error, code, "host", what, mend)
}

/// Everything that stands in the way, in the order in which it is best mended; empty when nothing does. `seen` is the volume group as it
/// was found.
pub fn preflight(system: &System, needs: &Needs, seen: &Seen<Vg>) -> Vec<Diagnostic> {
    let Some((vg, pool)) = &needs.pool else {
        return Vec::new();
    };
    let mut problems = if needs.has_tools { Vec::new() } else { check_tools(system, needs) };
    // What follows would only say once more what has been said.
    if problems.is_empty() {
        problems.extend(seen.present().and_then(|seen| check_pool(seen, vg, pool)));
        // That dmsetup does not say it is another problem, which has been said.
        if let Seen::Present(devices) = left_suspended(system, Some(vg)) {
            problems.push(suspended_trouble(&devices));
        }
    }
    problems
}

fn check_tools(system: &System, needs: &Needs) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    if !system.kernel.is_root() {
        problems.push(problem("not-root", "this process is not root", "run it with sudo; LVM and LIO are root's only"));
    }
    problems.extend(check_lvm(system));
    problems.extend(check_tool(system, &["dmsetup", "version"], "dmsetup"));
    if !needs.formats.is_empty() {
        problems.extend(check_tool(system, &["qemu-img", "--version"], "qemu-utils"));
    }
    problems.extend(check_modules(system));
    if !system.kernel.has_configfs() {
        let mend = "run `modprobe configfs` and `mount -t configfs configfs /sys/kernel/config`";
        problems.push(problem("configfs-missing", "configfs is not mounted at /sys/kernel/config", mend));
    }
    problems
}

/// Whether a tool can be started; some end with a failure when they are not root, which is another problem.
fn check_tool(system: &System, argv: &[&str], package: &str) -> Option<Diagnostic> {
    match system.commands.run(&Command::new(argv.iter().copied(), DEADLINE)) {
        Err(error @ CommandError::Missing { .. }) => {
            Some(problem("program-missing", error.to_string(), format!("install the package {package}")))
        }
        Err(error) => Some(problem("program-fails", error.to_string(), "see that it runs by hand")),
        Ok(_) => None,
    }
}

fn check_lvm(system: &System) -> Option<Diagnostic> {
    let command = Command::new(["lvm", "version"], DEADLINE);
    let output = match system.commands.run(&command) {
        Ok(output) => output,
        Err(_) => return check_tool(system, &["lvm", "version"], "lvm2"),
    };
    match parse_lvm_version(&output.stdout) {
        Some(version) if version >= OLDEST_LVM => None,
        Some([major, minor, patch]) => {
            Some(problem("lvm-too-old", format!("LVM is version {major}.{minor:02}.{patch}"), "install lvm2 2.03.11 or later"))
        }
        None => Some(problem("program-fails", "`lvm version` does not tell its version", "see that `lvm version` runs by hand")),
    }
}

/// Reads `  LVM version:     2.03.16(2) (2022-05-18)`.
fn parse_lvm_version(text: &str) -> Option<[u32; 3]> {
    let (_, rest) = text.split_once("LVM version:")?;
    let mut numbers = rest.trim_start().split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// Modules that are neither loaded nor there to be loaded. The kernel is asked first: containers and small systems have the modules
/// of their host without a modprobe or without its files. modprobe knows `modules.builtin`.
fn check_modules(system: &System) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for module in modules().filter(|module| !system.kernel.has_module(module)) {
        match system.commands.run(&Command::new(["modprobe", "-n", module], DEADLINE)) {
            Err(error @ CommandError::Missing { .. }) => {
                let what = format!("the kernel module {module} is not loaded, and {error}");
                problems.push(problem(
                    "modprobe-missing",
                    what,
                    "install the package kmod; in containers, load the module on the host",
                ));
                return problems;
            }
            Err(error) => problems.push(problem("program-fails", error.to_string(), "see that it runs by hand")),
            Ok(output) if output.is_success() => {}
            Ok(_) => {
                let mend = "load it (systemctl restart systemd-modules-load), or boot a kernel that has it; in containers, load it on the host";
                problems.push(problem("module-missing", format!("this kernel has no module {module}"), mend));
            }
        }
    }
    problems
}

/// A volume group that is not there, or not readable, is the observation's to tell.
fn check_pool(seen: &Vg, vg: &VgName, pool: &LvName) -> Option<Diagnostic> {
    match &seen.lvs.get(pool.as_str())?.kind {
        LvKind::ThinPool { needs_check: true, .. } => Some(problem(
            "thin-pool-needs-check",
            format!("thin pool {vg}/{pool} needs a check"),
            format!("take every seat down, then run `lvchange -an {vg}` and `lvconvert --repair {vg}/{pool}`"),
        )),
        LvKind::ThinPool { health, .. } if health == "metadata_read_only" || health == "failed" => Some(problem(
            "thin-pool-failed",
            format!("thin pool {vg}/{pool} is in state {health}"),
            format!("take every seat down, then run `lvchange -an {vg}` and `lvconvert --repair {vg}/{pool}`"),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Output, fake::FakeHost};

    fn needs() -> Needs {
        let pool = ("cafe".parse().expect("legal"), "pool".parse().expect("legal"));
        Needs { pool: Some(pool), has_tools: false, formats: [SourceFormat::Qcow2].into() }
    }

    fn host() -> FakeHost {
        let host = FakeHost::new();
        host.add_vg("cafe", 8 << 30).add_pool("cafe", "pool", 4 << 30);
        host
    }

    fn told(host: &FakeHost) -> String {
        preflight(&host.system(), &needs(), &Seen::Absent)
            .iter()
            .map(|problem| format!("{}: {}\n", problem.message, problem.hint.as_deref().unwrap_or("no mend")))
            .collect()
    }

    #[test]
    fn a_good_host_has_no_problem_and_a_site_without_disks_asks_nothing() {
        assert_eq!(told(&host()), "");
        let bare = FakeHost::new();
        bare.become_user();
        bare.uninstall("lvm");
        assert_eq!(preflight(&bare.system(), &Needs::default(), &Seen::Absent), []);
    }

    #[test]
    fn every_problem_names_the_thing_and_the_mend() {
        let host = host();
        host.become_user();
        host.unmount_configfs();
        for program in ["lvm", "dmsetup", "qemu-img", "modprobe"] {
            host.uninstall(program);
        }
        let told = told(&host);
        for expected in [
            "this process is not root: run it with sudo",
            "lvm is not installed: install the package lvm2",
            "dmsetup is not installed: install the package dmsetup",
            "qemu-img is not installed: install the package qemu-utils",
            "the kernel module dm_thin_pool is not loaded, and modprobe is not installed: install the package kmod",
            "configfs is not mounted at /sys/kernel/config: run",
        ] {
            assert!(told.contains(expected), "{expected} is not in:\n{told}");
        }
    }

    #[test]
    fn whatever_must_be_loaded_is_loaded_at_boot_as_the_agents_unit_loads_nothing() {
        let listed = include_str!("../cli/units/modules-load.conf");
        for module in modules() {
            assert!(listed.lines().any(|line| line == module), "{module}");
        }
    }

    #[test]
    fn an_old_lvm_and_a_kernel_without_thin_pools_are_told() {
        let host = host();
        let says = |stdout: &str| Output { status: Some(0), stdout: stdout.into(), stderr: String::new() };
        host.answer("lvm", says("  LVM version:     2.02.168(2) (2016-11-30)\n"));
        host.answer("modprobe", Output { status: Some(1), ..Output::default() });
        let told = told(&host);
        assert!(told.contains("LVM is version 2.02.168: install lvm2 2.03.11"), "{told}");
        assert!(told.contains("this kernel has no module dm_thin_pool"), "{told}");
        for module in modules() {
            host.load_module(module);
        }
        assert!(!self::told(&host).contains("module"), "what is loaded is not asked of modprobe");
        host.uninstall("modprobe");
        assert!(!self::told(&host).contains("modprobe"), "nor is modprobe missed");
        host.answer("lvm", says("no"));
        assert!(self::told(&host).contains("`lvm version` does not tell its version"));
    }
}
