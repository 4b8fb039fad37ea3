//! One look at the kernel's targets, from what configfs showed.

use super::{Look, Network, Offering, TargetLook};
use crate::names::{Iqn, Mono, parse_target};
use crate::observed::{Lio, Seen, Session, Target};
use std::collections::BTreeMap;

impl Look {
    /// The look that an observation of the kernel's target is. `written` are writes to devices by `major:minor`.
    pub fn of_lio(at: Mono, lio: &Seen<Lio>, prefix: &Iqn, written: &BTreeMap<String, u64>, network: Network) -> Self {
        let targets = match lio {
            Seen::Absent => Seen::Present(BTreeMap::new()),
            Seen::Unreadable(why) => Seen::Unreadable(why.clone()),
            Seen::Present(lio) => {
                let ours = lio.targets.iter().filter_map(|(name, target)| Some((name, target, parse_target(prefix, name)?)));
                let look = |(name, target, id): (&String, &Target, crate::names::TargetId)| {
                    (name.clone(), look_at(target, id.machine.to_string(), lio, written))
                };
                Seen::Present(ours.map(look).collect())
            }
        };
        Self { at, targets, network }
    }
}

fn look_at(target: &Target, machine: String, lio: &Lio, written: &BTreeMap<String, u64>) -> TargetLook {
    let is_on = target.tpgs.values().any(|tpg| tpg.enabled);
    let links = target.tpgs.values().flat_map(|tpg| tpg.luns.values()).filter_map(|lun| lun.link.as_ref());
    let mut writes = Seen::Present(0);
    for (_, path) in links {
        let device = lio.backstores.get(path).and_then(|backstore| backstore.device);
        let of_device = device.and_then(|(major, minor)| written.get(&format!("{major}:{minor}")));
        writes = match (writes, of_device) {
            (Seen::Present(sum), Some(more)) => Seen::Present(sum + more),
            (Seen::Present(_), None) => Seen::Unreadable(format!("writes to {path}")),
            (other, _) => other,
        };
    }
    TargetLook {
        machine,
        offering: if is_on { Offering::On } else { Offering::Off },
        session: session_of(target),
        sessions: target.sessions,
        commands: commands_of(target),
        writes,
    }
}

/// The session of a target, an operating system's before a firmware's; what cannot be read is said to be so.
pub fn session_of(target: &Target) -> Seen<Session> {
    let mut found = Seen::Absent;
    for acl in target.tpgs.values().flat_map(|tpg| tpg.acls.values()) {
        match (&acl.session, &found) {
            (Seen::Unreadable(_), _) => return acl.session.clone(),
            (Seen::Present(session), Seen::Absent) => found = Seen::Present(session.clone()),
            (Seen::Present(session), Seen::Present(_)) if !super::is_firmware(session) => found = Seen::Present(session.clone()),
            (Seen::Present(_) | Seen::Absent, _) => {}
        }
    }
    found
}

/// Commands on a target's LUNs and by its ACLs; they only grow while it stands.
pub fn commands_of(target: &Target) -> Seen<u64> {
    let mut sum = 0;
    for tpg in target.tpgs.values() {
        for lun in tpg.luns.values() {
            match &lun.commands {
                Seen::Present(commands) => sum += commands,
                Seen::Absent => {}
                Seen::Unreadable(why) => return Seen::Unreadable(why.clone()),
            }
        }
        sum += tpg.acls.values().flat_map(|acl| acl.luns.values()).map(|map| map.commands).sum::<u64>();
    }
    Seen::Present(sum)
}
