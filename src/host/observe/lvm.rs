//! Observes a volume group through vgs(8) and lvs(8).
//!
//! **Invariant:** the group is absent only when `vgs` listed all groups with success and this one was not among them.

use crate::host::{Command, System};
use crate::names::{Mark, SiteName, VgName};
use crate::observed::{LV_FIELDS, REPORT_OPTIONS, Seen, VG_FIELDS, Vg, parse_groups, parse_lvs, parse_vg};
use std::{collections::BTreeMap, error::Error, time::Duration};

/// A report waits for LVM's lock behind other commands; activating a pool with its check can take minutes.
const DEADLINE: Duration = Duration::from_secs(180);

pub(super) fn observe_vg(system: &System, name: &VgName) -> Seen<Vg> {
    match read_vg(system, name) {
        Ok(Some(vg)) => Seen::Present(vg),
        Ok(None) => Seen::Absent,
        Err(reason) => Seen::Unreadable(reason),
    }
}

/// Other groups that hold volumes with the site's mark, with how many. What cannot be asked is not there: the group itself says it.
pub(super) fn observe_elsewhere(system: &System, site: &SiteName, vg: Option<&VgName>) -> BTreeMap<String, u32> {
    let mut elsewhere = BTreeMap::new();
    if !system.kernel.is_root() {
        return elsewhere;
    }
    let select = format!("lv_tags={}", Mark::tag(Mark::SITE, site));
    let argv = ["lvs"].into_iter().chain(REPORT_OPTIONS).chain(["-o", "vg_name,lv_name", "--select", &select]);
    let Ok(output) = system.commands.run(&Command::new(argv, DEADLINE)) else { return elsewhere };
    for name in parse_groups(&output.stdout).unwrap_or_default() {
        if vg.is_none_or(|vg| vg.as_str() != name) {
            *elsewhere.entry(name).or_default() += 1;
        }
    }
    elsewhere
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
    format!("volume group {name}: {}", crate::host::chain(error))
}
