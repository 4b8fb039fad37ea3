//! Gives a side to a boot: looks at it once more, puts it on record, turns its portal group on.
//!
//! **Invariant:** what is given as clean is off and untouched at this moment, and what was another boot's shows no operating system; the record is on the disk before the portal group is on,
//! and the portal group before anybody is told. A kept disk leaves the target that shows it only while nobody is on that.

use super::System;
use super::export::lio;
use super::observe::read_target_now;
use super::offered::Record;
use crate::names::{BootNonce, Iqn, MachineName};
use crate::observed::occupancy::{commands_of, is_firmware, session_of};
use crate::observed::{Boot, Seen, Target};
use crate::plan::TPG;
use crate::plan::assign::{Expect, Given, Move};

/// Why a side could not be given; the boot asks again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GiveError {
    /// It is not what it was when it was chosen.
    #[error("{target} changed: {what}")]
    Changed {
        /// The target.
        target: String,
        /// How.
        what: String,
    },
    /// The record or the kernel refused.
    #[error("{0}")]
    Failed(String),
}

/// Gives a side to a boot. The caller holds the seat's lock.
pub fn give(
    system: &System,
    record: &Record<'_>,
    machine: &MachineName,
    boot: BootNonce,
    given: &Given,
) -> Result<(), GiveError> {
    let changed = |what: &str| GiveError::Changed { target: given.target.to_string(), what: what.to_owned() };
    let seen = look(system, given.target.as_str())?.ok_or_else(|| changed("it is gone"))?;
    match &given.expects {
        Expect::Known => {}
        Expect::Clean => {
            let is_off = seen.tpgs.values().all(|tpg| !tpg.enabled) && seen.sessions == 0;
            if !is_off || commands_of(&seen) != Seen::Present(0) {
                return Err(changed("somebody was on it"));
            }
        }
        // The last look is seconds old, and an operating system begins to write within one.
        Expect::Untouched(devices) => {
            let is_firmwares = match session_of(&seen) {
                Seen::Absent => seen.sessions == 0,
                Seen::Present(session) => is_firmware(&session),
                Seen::Unreadable(_) => false,
            };
            let is_written = |device: &(u32, u32)| system.kernel.disk_io(*device).present().is_none_or(|io| io.writes > 0);
            if !is_firmwares || devices.iter().any(is_written) {
                return Err(changed("an operating system came to it"));
            }
        }
    }
    // Where it is on already, what comes to it is shown at once.
    let is_on = seen.tpgs.values().any(|tpg| tpg.enabled);
    let record_now = || match is_on {
        true => record.offer(&given.disks, machine, Boot::Nonce(boot)).map_err(|error| GiveError::Failed(super::chain(&error))),
        false => Ok(()),
    };
    for kept in &given.moves {
        move_kept(system, &given.target, kept, &record_now)?;
    }
    lio::offer(system, record, &given.target, machine, &given.disks, Boot::Nonce(boot)).map_err(GiveError::Failed)
}

fn look(system: &System, target: &str) -> Result<Option<Target>, GiveError> {
    read_target_now(system, target).map_err(GiveError::Failed)
}

/// Shows a kept disk on this side: the side that has it is turned off, looked at, and turned on again without it.
fn move_kept(system: &System, to: &Iqn, kept: &Move, record: &dyn Fn() -> Result<(), GiveError>) -> Result<(), GiveError> {
    let failed = |error: String| GiveError::Failed(error);
    let backstore = &kept.backstore;
    if let Some(plan) = &kept.make {
        lio::make_backstores(system, plan).map_err(failed)?;
    }
    let Some((from, _, _)) = &kept.from else {
        record()?;
        return lio::move_lun(system, backstore, None, &(to.clone(), kept.lun, kept.initiator.clone())).map_err(failed);
    };
    let before = look(system, from.as_str())?;
    let is_on = before.as_ref().is_some_and(|target| target.tpgs.values().any(|tpg| tpg.enabled));
    let path = format!("iscsi/{from}/tpgt_{TPG}/enable");
    let write = |value: &str| system.configfs.write(&path, value).map_err(|error| failed(format!("{path}: {error}")));
    if before.as_ref().is_some_and(|target| target.sessions > 0) {
        return Err(GiveError::Changed { target: from.to_string(), what: "somebody is on it".to_owned() });
    }
    if is_on {
        write("0")?;
    }
    let after = look(system, from.as_str())?;
    let still = match (&before, &after) {
        (Some(before), Some(after)) => commands_of(before) == commands_of(after),
        (None, None) => true,
        _ => false,
    };
    if !still {
        if is_on {
            write("1")?;
        }
        return Err(GiveError::Changed { target: from.to_string(), what: "its counters moved".to_owned() });
    }
    // Nobody is on it: what refuses from here on is the kernel.
    let recorded = record();
    let moved = recorded.and_then(|()| {
        lio::move_lun(system, backstore, kept.from.as_ref(), &(to.clone(), kept.lun, kept.initiator.clone())).map_err(failed)
    });
    if is_on {
        write("1")?;
    }
    moved
}
