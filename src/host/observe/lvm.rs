//! Observes a volume group through vgs(8) and lvs(8).
//!
//! **Invariant:** the group is absent only when `vgs` listed all groups with success and this one was not among them.

use super::Depth;
use crate::host::{Command, System};
use crate::names::{Mark, SiteName, VgName};
use crate::observed::{LV_FIELDS, REPORT_OPTIONS, Seen, VG_FIELDS, Vg, parse_groups, parse_lvs, parse_vg};
use std::{collections::BTreeMap, error::Error, time::Duration};

/// A report waits for LVM's lock behind other commands; activating a pool with its check can take minutes.
const DEADLINE: Duration = Duration::from_secs(180);

/// The site's group, and other groups that hold volumes with the site's mark, with how many.
pub(super) fn observe_groups(
    system: &System,
    site: &SiteName,
    vg: Option<&VgName>,
    depth: Depth<'_>,
) -> (Seen<Vg>, BTreeMap<String, u32>) {
    let tag = Mark::tag(Mark::SITE, site);
    let Some(name) = vg else { return (Seen::Absent, observe_elsewhere(system, "", &tag)) };
    if let Depth::Quick(_) = depth
        && let Some((vg, elsewhere)) = read_at_once(system, name, &tag)
    {
        return (Seen::Present(vg), elsewhere);
    }
    let vg = match read_vg(system, name) {
        Ok(Some(vg)) => Seen::Present(vg),
        Ok(None) => Seen::Absent,
        Err(reason) => Seen::Unreadable(reason),
    };
    (vg, observe_elsewhere(system, name.as_str(), &tag))
}

/// Everything from one report, which costs a look half of its time; nothing where that does not tell all. A group without volumes has
/// no line in it, also where it has the name of one with some, and another group's trouble fails it: a whole look asks about each.
fn read_at_once(system: &System, name: &VgName, tag: &str) -> Option<(Vg, BTreeMap<String, u32>)> {
    if !system.kernel.is_root() {
        return None;
    }
    let fields = format!("{VG_FIELDS},{LV_FIELDS}");
    let select = format!("vg_name=\"{name}\" || lv_tags=\"{tag}\"");
    let output = system.commands.succeed(&report("lvs", &["-o", &fields, "--select", &select])).ok()?;
    let (vg, elsewhere) = parse_groups(&output.stdout, name.as_str(), tag).ok()?;
    vg.map(|vg| (vg, elsewhere))
}

/// What cannot be asked is not there: the group itself says it.
fn observe_elsewhere(system: &System, name: &str, tag: &str) -> BTreeMap<String, u32> {
    if !system.kernel.is_root() {
        return BTreeMap::new();
    }
    let select = format!("lv_tags=\"{tag}\"");
    let output = system.commands.run(&report("lvs", &["-o", "vg_name,lv_name,lv_tags", "--select", &select]));
    // No group is named so: of each is counted alone.
    let groups = output.ok().and_then(|output| parse_groups(&output.stdout, "", tag).ok());
    let mut elsewhere = groups.unwrap_or_default().1;
    elsewhere.remove(name);
    elsewhere
}

fn report(program: &str, rest: &[&str]) -> Command {
    Command::new([program].into_iter().chain(REPORT_OPTIONS).chain(rest.iter().copied()), DEADLINE)
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
    let output = system.commands.succeed(&report(program, rest));
    output.map(|output| output.stdout).map_err(|error| match &error {
        crate::host::CommandError::Missing { .. } => format!("volume group {name}: {error}; install the package lvm2"),
        _ => explain(name, &error),
    })
}

/// The whole chain of an error on one line, after what it is about.
fn explain(name: &VgName, error: &dyn Error) -> String {
    format!("volume group {name}: {}", crate::host::chain(error))
}
