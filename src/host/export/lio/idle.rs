//! Looks whether anybody is on a target, at the last moment before it is taken down.
//!
//! A plan may wait for minutes, and a customer may switch a machine on meanwhile. **Invariant:** changes nothing; what cannot be read
//! counts as use.

use crate::host::System;
use crate::host::observe::read_target_now;
use crate::names::MachineName;
use crate::observed::{Seen, occupancy::commands_of};
use crate::plan::{Outcome, PortalGroup, TargetSeen};

pub(super) fn require_idle(system: &System, machine: &MachineName, target: &TargetSeen) -> Result<(), Outcome> {
    let in_use = |sign: &str| Err(Outcome::Skipped(format!("{machine} came into use: {sign}")));
    let seen = match read_target_now(system, &target.name) {
        Ok(Some(seen)) => seen,
        Ok(None) => return Ok(()),
        Err(reason) => return in_use(&reason),
    };
    for acl in seen.tpgs.values().flat_map(|tpg| tpg.acls.values()) {
        match &acl.session {
            Seen::Present(session) => return in_use(&format!("a session from {}", session.address)),
            Seen::Unreadable(reason) => return in_use(reason),
            Seen::Absent => {}
        }
    }
    let was_off = target.groups.values().all(|group| group.state == PortalGroup::Off);
    if was_off && seen.tpgs.values().any(|tpg| tpg.enabled) {
        return in_use("it was offered to a boot");
    }
    if seen.sessions > 0 {
        return in_use(&format!("{} sessions", seen.sessions));
    }
    match commands_of(&seen) {
        Seen::Present(commands) if commands == target.commands => Ok(()),
        Seen::Present(_) | Seen::Absent => in_use("its counters moved"),
        Seen::Unreadable(reason) => in_use(&reason),
    }
}
