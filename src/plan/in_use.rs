//! Whether a seat is in use.
//!
//! "No session" is not "powered off": between the firmware's session and the operating system's there is a gap, and a
//! server that has just come up has seen nothing yet. **Invariant:** what is not known counts as use.

use super::context::Context;
use crate::names::MachineName;
use crate::observed::{Acl, Activity, Seen};
use jiff::{SignedDuration, Timestamp};

/// How long after it fetched its script a machine counts as booting. Windows on a slow disk reaches its own iSCSI session
/// in minutes; ten cover it.
const BOOTING: SignedDuration = SignedDuration::from_mins(10);

/// How long after its counters moved a seat counts as busy; longer than the agent's look every few seconds.
const COUNTERS: SignedDuration = SignedDuration::from_secs(60);

/// How long after the server came up a machine that ran before may still come back: iSCSI initiators retry for minutes.
const SERVER_UP_SECONDS: u64 = 600;

/// The sign by which a seat is in use, as the end of a sentence: "has a session since 10:32".
pub(super) fn sign_of_use(context: &Context<'_>, machine: &MachineName) -> Option<String> {
    let observation = context.observation;
    let activity = observation.activity.get(machine).copied().unwrap_or_default();
    let targets = targets_of(context, machine);
    for (name, target) in targets.clone() {
        for acl in target.tpgs.values().flat_map(|tpg| tpg.acls.values()) {
            if let Some(sign) = session_sign(acl, &activity) {
                return Some(sign);
            }
        }
        if target.sessions > 0 {
            return Some(format!("has {} sessions on {name}", target.sessions));
        }
    }
    if let Some(moved) = activity.counters_moved.filter(|moved| observation.at.duration_since(*moved) < COUNTERS) {
        return Some(format!("was reading or writing at {}", clock(moved)));
    }
    if let Some(fetched) = activity.script_fetched {
        let ended = activity.session_ended.is_some_and(|ended| ended >= fetched);
        if !ended && observation.at.duration_since(fetched) < BOOTING {
            return Some(format!("fetched its boot script at {} and may still be booting", clock(fetched)));
        }
    }
    if context.older.contains(machine.as_str()) && observation.uptime_seconds < SERVER_UP_SECONDS {
        let minutes = observation.uptime_seconds / 60;
        return Some(format!("may come back: the server has been up for {minutes} min only"));
    }
    None
}

/// The targets of a machine, ours by their prefix.
pub(super) fn targets_of<'a>(
    context: &Context<'a>,
    machine: &MachineName,
) -> impl Iterator<Item = (&'a String, &'a crate::observed::Target)> + Clone + use<'a> {
    let prefix = format!("{}:{machine}.", context.storage.iqn_prefix);
    context.lio.targets.range(prefix.clone()..).take_while(move |(name, _)| name.starts_with(&prefix))
}

fn session_sign(acl: &Acl, activity: &Activity) -> Option<String> {
    match &acl.session {
        Seen::Absent => None,
        Seen::Unreadable(why) => Some(format!("may have a session: {why}")),
        Seen::Present(session) => Some(match activity.session_since.or(session.since) {
            Some(since) => format!("is in use since {}", clock(since)),
            None => format!("is in use from {}", session.address),
        }),
    }
}

/// Hours and minutes of a moment, UTC: a pure room knows no other zone.
fn clock(moment: Timestamp) -> String {
    moment.strftime("%H:%M UTC").to_string()
}
