//! Finds devices that an LVM command left suspended when it was killed: whatever reads or writes them waits for ever.
//!
//! LVM suspends devices for milliseconds while it changes their tables, and blocks every signal but the one that nobody can block.
//! **Invariant:** changes nothing, and names no device of which LVM may still be at work: it is suspended in both of two looks.
#![expect(clippy::disallowed_methods, reason = "effect room: waits between two looks")]

use super::{Command, System, chain};
use crate::diagnostic::{Diagnostic, Severity};
use crate::names::VgName;
use crate::observed::Seen;
use std::{collections::BTreeSet, fmt, thread, time::Duration};

/// It only looks, and asks the kernel alone.
const DEADLINE: Duration = Duration::from_secs(20);

/// Between two looks: a table of many segments is loaded within it.
const BETWEEN: Duration = Duration::from_secs(2);

/// What device-mapper calls a device of LVM's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceName(String);

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl DeviceName {
    /// Whether it is of a volume group: device-mapper doubles the hyphens of each part, and joins the parts with one.
    fn is_of(&self, vg: &VgName) -> bool {
        let group = format!("{}-", vg.as_str().replace('-', "--"));
        self.0.strip_prefix(&group).is_some_and(|rest| !rest.starts_with('-'))
    }

    /// Where it stands when they are resumed: a pool's parts, the pool, what lies in it.
    fn order(&self) -> u8 {
        if self.0.ends_with("_tmeta") || self.0.ends_with("_tdata") {
            0
        } else if self.0.ends_with("-tpool") {
            1
        } else {
            2
        }
    }
}

/// LVM's devices that were left suspended; `of` alone, or those of every volume group. Unreadable where dmsetup does not say.
pub fn left_suspended(system: &System, of: Option<&VgName>) -> Seen<Vec<DeviceName>> {
    let look = || -> Result<BTreeSet<DeviceName>, String> {
        let argv = ["dmsetup", "info", "-c", "--noheadings", "--separator", " ", "-o", "suspended,uuid,name"];
        let output = system.commands.succeed(&Command::new(argv, DEADLINE)).map_err(|error| chain(&error))?;
        let found = parse(&output.stdout);
        Ok(found.into_iter().filter(|device| of.is_none_or(|vg| device.is_of(vg))).collect())
    };
    let twice = || -> Result<BTreeSet<DeviceName>, String> {
        let first = look()?;
        if first.is_empty() {
            return Ok(first);
        }
        thread::sleep(BETWEEN);
        Ok(first.intersection(&look()?).cloned().collect())
    };
    match twice() {
        Ok(found) if found.is_empty() => Seen::Absent,
        Ok(found) => {
            let mut found: Vec<DeviceName> = found.into_iter().collect();
            found.sort_by_key(DeviceName::order);
            Seen::Present(found)
        }
        Err(why) => Seen::Unreadable(why),
    }
}

/// What to tell of devices that were left suspended.
pub fn suspended_trouble(devices: &[DeviceName]) -> Diagnostic {
    let names = devices.iter().map(DeviceName::to_string).collect::<Vec<_>>().join(" ");
    let what = format!("suspended, and no LVM command that ended did it: {names}; whatever reads or writes there waits");
    let mend = format!(
        "see that no command of LVM runs (pgrep -a lvm), then give the kernel's own tables back: \
         for d in {names}; do dmsetup clear $d; dmsetup resume $d; done"
    );
    Diagnostic::whole(Severity::Error, "device-suspended", "host", what, mend)
}

/// Reads `Suspended LVM-<uuid>-tpool cafe-pool-tpool`; a device that is not LVM's has no such UUID.
fn parse(text: &str) -> BTreeSet<DeviceName> {
    let suspended = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["Suspended", uuid, name] if uuid.starts_with("LVM-") => Some(DeviceName(name.to_owned())),
            _ => None,
        }
    };
    text.lines().filter_map(suspended).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Output, fake::FakeHost};

    /// lvmteam/lvm2#75: left in the critical section with suspended devices.
    #[test]
    fn a_pool_that_lvm_left_suspended_is_named_with_what_lies_in_it_and_others_are_not() {
        let host = FakeHost::new();
        let says =
            |stdout: &str| host.answer("dmsetup", Output { status: Some(0), stdout: stdout.into(), stderr: String::new() });
        let look = |vg: Option<&str>| left_suspended(&host.system(), vg.map(|vg| vg.parse().expect("legal")).as_ref());
        says("Active LVM-a-pool cafe-pool\nActive LVM-a-tpool cafe-pool-tpool\n");
        assert_eq!(look(Some("cafe")), Seen::Absent);
        says(
            "Suspended LVM-ab cafe-v--win11\nSuspended LVM-a-tpool cafe-pool-tpool\nActive LVM-a-tdata cafe-pool_tdata\n\
             Suspended  luks\nSuspended CRYPT-1 other\nSuspended LVM-x cafe--two-pool\n",
        );
        let Seen::Present(found) = look(Some("cafe")) else { panic!("nothing was found") };
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["cafe-pool-tpool", "cafe-v--win11"]);
        let trouble = suspended_trouble(&found);
        assert!(
            trouble.hint.as_ref().is_some_and(|hint| hint.contains("for d in cafe-pool-tpool cafe-v--win11;")),
            "{trouble:?}"
        );
        let Seen::Present(all) = look(None) else { panic!("nothing was found") };
        assert_eq!(all.len(), 3);
        host.answer("dmsetup", Output { status: Some(1), ..Output::default() });
        assert!(matches!(look(None), Seen::Unreadable(_)), "what cannot be seen is not well");
    }
}
