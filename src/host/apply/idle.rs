//! Looks once more whether a seat is free, at the last moment before it is taken down.
//!
//! A plan may wait for minutes while an image is filled, and a customer may switch a machine on meanwhile.
//! **Invariant:** changes nothing; what cannot be read counts as use.

use crate::host::System;
use crate::host::observe::read_target_now;
use crate::names::MachineName;
use crate::observed::Seen;
use crate::plan::Outcome;

pub(super) fn require_idle(
    system: &System,
    machine: &MachineName,
    target: &str,
    initiator: &str,
    commands: u64,
) -> Result<(), Outcome> {
    let in_use = |sign: &str| Err(Outcome::Skipped(format!("{machine} came into use: {sign}")));
    let seen = match read_target_now(system, target) {
        Ok(Some(seen)) => seen,
        Ok(None) => return Ok(()),
        Err(reason) => return in_use(&reason),
    };
    let Some(acl) = seen.tpgs.values().find_map(|tpg| tpg.acls.get(initiator)) else { return Ok(()) };
    match &acl.session {
        Seen::Present(session) => return in_use(&format!("a session from {}", session.address)),
        Seen::Unreadable(reason) => return in_use(reason),
        Seen::Absent => {}
    }
    let served: u64 = acl.luns.values().map(|map| map.commands).sum();
    if served == commands { Ok(()) } else { in_use("its counters moved") }
}
