//! Observes a volume group through vgs(8) and lvs(8).
//!
//! **Invariant:** the group is absent only when `vgs` listed all groups with success and this one was not among them.

use crate::host::{Command, System};
use crate::names::VgName;
use crate::observed::{LV_FIELDS, REPORT_OPTIONS, Seen, VG_FIELDS, Vg, parse_lvs, parse_vg};
use std::{error::Error, time::Duration};

/// A report waits for LVM's lock behind other commands; activating a pool with its check can take minutes.
const DEADLINE: Duration = Duration::from_secs(180);

pub(super) fn observe_vg(system: &System, name: &VgName) -> Seen<Vg> {
    match read_vg(system, name) {
        Ok(Some(vg)) => Seen::Present(vg),
        Ok(None) => Seen::Absent,
        Err(reason) => Seen::Unreadable(reason),
    }
}

fn read_vg(system: &System, name: &VgName) -> Result<Option<Vg>, String> {
    if !system.kernel.is_root() {
        return Err(format!("volume group {name}: only root may ask LVM; run as root"));
    }
    let report = run_report(system, name, "vgs", &["-o", VG_FIELDS])?;
    let Some(mut vg) = parse_vg(&report, name.as_str()).map_err(|error| explain(name, &error))? else {
        return Ok(None);
    };
    let report = run_report(system, name, "lvs", &["-o", LV_FIELDS, name.as_str()])?;
    vg.lvs = parse_lvs(&report).map_err(|error| explain(name, &error))?;
    Ok(Some(vg))
}

fn run_report(system: &System, name: &VgName, program: &str, rest: &[&str]) -> Result<String, String> {
    let argv = [program].into_iter().chain(REPORT_OPTIONS).chain(rest.iter().copied());
    let output = system.commands.succeed(&Command::new(argv, DEADLINE));
    output.map(|output| output.stdout).map_err(|error| match &error {
        crate::host::CommandError::Missing { .. } => format!("volume group {name}: {error}; install the package lvm2"),
        _ => explain(name, &error),
    })
}

/// The whole chain of an error on one line, after what it is about.
fn explain(name: &VgName, error: &dyn Error) -> String {
    let mut text = format!("volume group {name}: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
