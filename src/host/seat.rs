//! Looks at one machine's targets, for whoever explains its boot.
//!
//! **Invariant:** changes nothing; configfs that cannot be read is unreadable with its reason, never a machine without a disk.

use super::{System, observe::read_target_now};
use crate::names::MachineName;
use crate::observed::{Seen, Target};
use std::{collections::BTreeMap, io};

/// One machine's disks as the host shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatSeen {
    /// Its targets by name.
    pub targets: Seen<BTreeMap<String, Target>>,
}

/// Looks at one machine's targets: those whose name ends with the machine's and an image's.
pub fn observe_seat(system: &System, machine: &MachineName) -> SeatSeen {
    SeatSeen { targets: targets_of(system, machine) }
}

fn targets_of(system: &System, machine: &MachineName) -> Seen<BTreeMap<String, Target>> {
    let names = match system.configfs.list("iscsi") {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound && system.kernel.has_configfs() => return Seen::Absent,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Seen::Unreadable("configfs is not mounted at /sys/kernel/config".to_owned());
        }
        Err(error) => return Seen::Unreadable(format!("/sys/kernel/config/target: {error}; run as root")),
    };
    let of_machine = |name: &str| {
        let local = name.rsplit(':').next().unwrap_or_default();
        local.split('.').next() == Some(machine.as_str()) && local.contains('.')
    };
    let mut targets = BTreeMap::new();
    for (name, _) in names.into_iter().filter(|(name, _)| of_machine(name)) {
        match read_target_now(system, &name) {
            Ok(Some(target)) => drop(targets.insert(name, target)),
            Ok(None) => {}
            Err(reason) => return Seen::Unreadable(reason),
        }
    }
    if targets.is_empty() { Seen::Absent } else { Seen::Present(targets) }
}
