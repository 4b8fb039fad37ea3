//! What is known of each machine's comings and goings, and the cache of the last look.
//!
//! **Invariant:** the cache is only a memory: losing it makes seats count as in use for a while, never as free.
#![expect(clippy::disallowed_methods, reason = "effect room: the memory of the last look")]

mod decide;

pub use decide::{Look, decide_activity, is_firmware};

use super::write_atomically;
use crate::names::{MacAddr, MachineName};
use crate::observed::{Activity, Lio, Observation, Seen, Session};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, io, path::Path};

/// Where the cache lies under the state directory.
pub const PATH: &str = "activity.json";

/// The version of this document.
const VERSION: u32 = 1;

/// The last look at every machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Memory {
    version: u32,
    /// The boot during which it was taken: another boot's sessions and counters are not to be compared.
    boot_id: String,
    machines: BTreeMap<MachineName, Look>,
}

impl Memory {
    /// When a machine's disk was last seen in use: a session that began or ended, or commands that were served.
    pub(super) fn last_used(&self, machine: &MachineName) -> Option<Timestamp> {
        let Activity { session_since, session_ended, counters_moved, .. } = self.machines.get(machine)?.activity;
        session_since.max(session_ended).max(counters_moved)
    }
}

/// Reads the cache; whatever cannot be read was never seen.
pub(super) fn load(state: &Path) -> Memory {
    let text = fs::read_to_string(state.join(PATH)).unwrap_or_default();
    let memory: Memory = serde_json::from_str(&text).unwrap_or_default();
    if memory.version == VERSION { memory } else { Memory::default() }
}

/// Writes the cache from an observation; an observation that could not see sessions keeps what was known of them.
pub fn remember(state: &Path, observation: &Observation) -> io::Result<()> {
    let then = load(state);
    let machines = observation.activity.iter().map(|(machine, activity)| {
        let known = then.machines.get(machine).filter(|_| then.boot_id == observation.boot_id);
        let look = match (&observation.lio, known) {
            (Seen::Unreadable(_), Some(known)) => Look { activity: *activity, ..known.clone() },
            (lio, _) => Look {
                at: observation.at,
                activity: *activity,
                session: session_of(lio, machine).cloned(),
                counters: counters_of(lio, machine),
            },
        };
        (machine.clone(), look)
    });
    let memory = Memory { version: VERSION, boot_id: observation.boot_id.clone(), machines: machines.collect() };
    let text = serde_json::to_string_pretty(&memory).expect("strings and numbers always serialise");
    write_atomically(&state.join(PATH), &text)
}

/// Decides every machine's activity from the last look and this one.
pub(super) fn look(
    then: &Memory,
    machines: &BTreeMap<MachineName, Vec<MacAddr>>,
    fetched: &BTreeMap<MachineName, Timestamp>,
    lio: &Seen<Lio>,
    now: Timestamp,
    boot_id: &str,
) -> BTreeMap<MachineName, Activity> {
    let activity = |machine: &MachineName| {
        let known = then.machines.get(machine);
        let fetched = fetched.get(machine).copied();
        if let Seen::Unreadable(_) = lio {
            return Activity { script_fetched: fetched, ..Activity::default() }.later(known);
        }
        // After a boot of the server every session and counter began anew: what is gone did not end.
        let known = known.map(|known| if then.boot_id == boot_id { known.clone() } else { known.after_boot() });
        decide_activity(known.as_ref(), fetched, session_of(lio, machine), &counters_of(lio, machine), now)
    };
    machines.keys().map(|machine| (machine.clone(), activity(machine))).collect()
}

/// Gives each session the time since when it is known.
pub(super) fn date_sessions(lio: &mut Lio, activity: &BTreeMap<MachineName, Activity>) {
    for (initiator, acl) in lio.targets.values_mut().flat_map(|target| target.tpgs.values_mut()).flat_map(|tpg| &mut tpg.acls) {
        if let Seen::Present(session) = &mut acl.session {
            let known = activity.iter().find(|(machine, _)| is_initiator_of(initiator, machine));
            session.since = known.and_then(|(_, activity)| activity.session_since);
        }
    }
}

/// Of a target that is not ours no ACLs are observed, so every initiator here is `<iqn-prefix>:<machine>`.
fn is_initiator_of(initiator: &str, machine: &MachineName) -> bool {
    initiator.rsplit(':').next() == Some(machine.as_str())
}

/// The machine's session; an operating system's before a firmware's.
fn session_of<'a>(lio: &'a Seen<Lio>, machine: &MachineName) -> Option<&'a Session> {
    let targets = lio.present()?.targets.values();
    let acls = targets.flat_map(|target| target.tpgs.values()).flat_map(|tpg| &tpg.acls);
    let sessions = acls.filter(|(initiator, _)| is_initiator_of(initiator, machine)).filter_map(|(_, acl)| acl.session.present());
    sessions.min_by_key(|session| is_firmware(session))
}

/// Commands on each of the machine's LUNs, by target, portal group and LUN.
fn counters_of(lio: &Seen<Lio>, machine: &MachineName) -> BTreeMap<String, u64> {
    let mut counters = BTreeMap::new();
    for (name, target) in lio.present().iter().flat_map(|lio| &lio.targets) {
        for (tag, tpg) in &target.tpgs {
            for (_, acl) in tpg.acls.iter().filter(|(initiator, _)| is_initiator_of(initiator, machine)) {
                counters.extend(acl.luns.iter().map(|(lun, mapped)| (format!("{name}/{tag}/{lun}"), mapped.commands)));
            }
        }
    }
    counters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Lun;
    use crate::observed::{Acl, LoginSeen, MappedLun, SecretsSeen, ServedSecrets, Target, Tpg};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn lio(isid: Option<&str>, commands: u64) -> Lio {
        let session = match isid {
            Some(isid) => Seen::Present(Session { isid: isid.into(), address: "192.0.2.1".into(), since: None }),
            None => Seen::Absent,
        };
        let luns = [(Lun(0), MappedLun { commands, ..MappedLun::default() })].into();
        let tpg = Tpg {
            acls: [(
                "iqn.2026-11.x:pc01".to_owned(),
                Acl { luns, session, login: LoginSeen::Unknown, attributes: Default::default() },
            )]
            .into(),
            ..Tpg::default()
        };
        let target = Target { tpgs: [(1, tpg)].into(), sessions: 0 };
        Lio { targets: [("iqn.2026-11.x:pc01.win11".to_owned(), target)].into(), ..Lio::default() }
    }

    fn observation(state: &Path, lio: Seen<Lio>, second: i64, boot_id: &str) -> Observation {
        let machines = [("pc01".parse().expect("a name"), Vec::new())].into();
        let activity = look(&load(state), &machines, &BTreeMap::new(), &lio, at(second), boot_id);
        let observation = Observation {
            at: at(second),
            uptime_seconds: 1,
            boot_id: boot_id.into(),
            vg: Seen::Absent,
            lio,
            published: Seen::Absent,
            sources: BTreeMap::new(),
            assets: BTreeMap::new(),
            activity,
            secrets: SecretsSeen { machines: Seen::Absent, served: ServedSecrets::Same },
        };
        remember(state, &observation).expect("written");
        observation
    }

    fn pc01(observation: &Observation) -> Activity {
        *observation.activity.values().next().expect("one machine")
    }

    const OS: Option<&str> = Some("00023d000001");

    #[test]
    fn without_a_memory_counters_that_have_counted_count_as_moved() {
        let state = tempfile::tempdir().expect("a directory");
        assert_eq!(pc01(&observation(state.path(), Seen::Present(lio(None, 0)), 0, "a")).counters_moved, None);
        let state = tempfile::tempdir().expect("a directory");
        assert_eq!(pc01(&observation(state.path(), Seen::Present(lio(None, 7)), 0, "a")).counters_moved, Some(at(0)));
        assert_eq!(pc01(&observation(state.path(), Seen::Present(lio(None, 7)), 9, "a")).counters_moved, Some(at(0)));
        assert_eq!(pc01(&observation(state.path(), Seen::Present(lio(None, 8)), 20, "a")).counters_moved, Some(at(20)));
        fs::write(state.path().join(PATH), "{").expect("written");
        assert_eq!(pc01(&observation(state.path(), Seen::Present(lio(None, 8)), 30, "a")).counters_moved, Some(at(30)));
    }

    #[test]
    fn a_session_that_a_boot_of_the_server_cut_has_not_ended() {
        let state = tempfile::tempdir().expect("a directory");
        observation(state.path(), Seen::Present(lio(OS, 7)), 0, "a");
        assert_eq!(pc01(&observation(state.path(), Seen::Absent, 100, "b")).session_ended, None);
        let state = tempfile::tempdir().expect("a directory");
        observation(state.path(), Seen::Present(lio(OS, 7)), 0, "a");
        assert_eq!(pc01(&observation(state.path(), Seen::Present(lio(None, 7)), 100, "a")).session_ended, Some(at(100)));
    }

    #[test]
    fn a_look_that_saw_no_sessions_because_it_saw_nothing_ends_none() {
        let state = tempfile::tempdir().expect("a directory");
        observation(state.path(), Seen::Present(lio(OS, 7)), 0, "a");
        let blind = pc01(&observation(state.path(), Seen::Unreadable("no".into()), 50, "a"));
        assert_eq!((blind.session_since, blind.session_ended), (Some(at(0)), None));
        assert_eq!(pc01(&observation(state.path(), Seen::Present(lio(OS, 7)), 100, "a")).session_since, Some(at(0)));
    }
}
