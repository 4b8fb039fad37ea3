//! Who is at work on which target, as one observer has seen it over many looks; and what that proves.
//!
//! **Invariant:** absence of evidence proves nothing. A look that failed, a gap between looks, a portal group that was off, a server
//! without its network count nothing; a new observer, another boot of the server begin at nothing. No wall clock is asked.

mod look;

pub use look::{commands_of, session_of};

use super::{Seen, Session};
use crate::names::Mono;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// Looks this far apart still make one watch: the agent looks every ten seconds, and applies in between.
pub const LONGEST_GAP: Duration = Duration::from_secs(30);

/// What must not have moved for so long has not moved between two looks (see [`Occupancy::moved`]). LIO keeps a session of a machine
/// that lost its power for 42 s (nopin_timeout 15 s and nopin_response_timeout 30 s).
pub const TWO_LOOKS: Duration = Duration::from_secs(60);

/// Sessions that are lost within so long of one another were lost by one cause.
const ONE_CAUSE: Duration = Duration::from_secs(60);

/// Losses that are remembered: more than a room has seats are not one cause's.
const LOSSES_KEPT: usize = 4096;

/// How every session of iPXE begins: type "enterprise number" (0x40) and 10019, Fen Systems (ipxe `include/ipxe/iscsi.h`).
const IPXE_ISID: &str = "40002723";

/// Whether a session is iPXE's own and not an operating system's (RFC 7143 §11.12.5).
pub fn is_firmware(session: &Session) -> bool {
    session.isid.starts_with(IPXE_ISID)
}

/// One look at every target of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// When.
    pub at: Mono,
    /// The targets by name.
    pub targets: Seen<BTreeMap<String, TargetLook>>,
    /// Whether the server's own network was there.
    pub network: Network,
}

/// Whether the server's network was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// An interface that machines are reached through has a carrier.
    Up,
    /// None has, or nobody can tell.
    Down,
}

/// One target in one look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetLook {
    /// The machine's name, by the target's.
    pub machine: String,
    /// Whether it lets machines log in.
    pub offering: Offering,
    /// The last session of its ACLs.
    pub session: Seen<Session>,
    /// Sessions by the fabric's own count.
    pub sessions: u32,
    /// Commands on all of its LUNs since they were linked.
    pub commands: Seen<u64>,
    /// Writes to its disks since their devices were made; unreadable is as good as written.
    pub writes: Seen<u64>,
}

/// Whether a target lets machines log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offering {
    /// Its portal group is on.
    On,
    /// It is off, or there is none.
    Off,
}

/// What an observer knows of every target, from its looks.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Occupancy {
    /// The boot of the server it is about.
    pub boot_id: String,
    /// The last look that succeeded.
    pub at: Mono,
    /// The targets by name.
    pub watches: BTreeMap<String, Watch>,
    /// Machines whose operating system's session was lost, and when.
    losses: Vec<(Mono, String)>,
}

/// What an observer knows of one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Watch {
    /// Its machine.
    pub machine: String,
    /// Since when it has been watched without a gap.
    pub since: Mono,
    /// The last look at it.
    pub at: Mono,
    /// When it last showed a sign of life, or the first look at it.
    pub sign: Mono,
    /// For how long, in sum, it has been offered and silent since.
    pub quiet: Duration,
    /// Silent looks since then that lie apart, the newest last.
    #[serde(default)]
    pub silent: Vec<Mono>,
    /// Its commands at the last look.
    pub commands: u64,
    /// Its writes at the last look; none where they could not be read.
    pub writes: Option<u64>,
    /// The session it has.
    pub session: Option<SessionSeen>,
    /// What is known of an operating system on it.
    pub system: SystemSeen,
    /// Whether its last session was lost with those of others.
    pub lost: Lost,
}

/// A session, since when it is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SessionSeen {
    /// The initiator's part of its identifier.
    pub isid: String,
    /// Where it comes from.
    pub address: String,
    /// Since when it has been there at every look.
    pub since: Mono,
    /// Whose it is.
    pub of: Initiator,
}

/// What a session belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Initiator {
    /// iPXE.
    Firmware,
    /// An operating system, or anything else that is not iPXE.
    System,
}

/// What is known of an operating system on a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SystemSeen {
    /// None was seen while it was watched.
    Never,
    /// One showed itself last then: by its session, or by a write.
    At(Mono),
}

/// How a target's last session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lost {
    /// By itself.
    Alone,
    /// Within a minute of others: a switch, a power line.
    WithOthers,
}

impl Occupancy {
    /// What is known before the first look.
    pub fn new(boot_id: impl Into<String>) -> Self {
        Self { boot_id: boot_id.into(), ..Self::default() }
    }

    /// What is known of some targets, by their names.
    #[must_use]
    pub fn of(&self, is_asked: impl Fn(&str) -> bool) -> Self {
        let watches = self.watches.iter().filter(|(name, _)| is_asked(name));
        let watches = watches.map(|(name, watch)| (name.clone(), watch.clone())).collect();
        Self { boot_id: self.boot_id.clone(), at: self.at, watches, losses: Vec::new() }
    }

    /// What is known after a further look; `seats` is how many machines the room has.
    #[must_use]
    pub fn after(mut self, look: &Look, seats: usize) -> Self {
        let Seen::Present(targets) = &look.targets else {
            // Nothing was seen: what was lost meanwhile is not known to have been lost, nor to have been quiet.
            return self;
        };
        let gap = look.at.since(self.at);
        let counted = if gap <= LONGEST_GAP { gap } else { Duration::ZERO };
        self.at = look.at;
        self.losses.retain(|(at, _)| look.at.since(*at) <= 2 * ONE_CAUSE);
        let mut before = std::mem::take(&mut self.watches);
        for (name, seen) in targets {
            let watch = match before.remove(name) {
                None => Watch::first(seen, look.at),
                Some(watch) => {
                    let lost = watch.lost_now(seen);
                    if lost && self.losses.len() < LOSSES_KEPT {
                        self.losses.push((look.at, watch.machine.clone()));
                    }
                    watch.after(seen, look, counted, gap > LONGEST_GAP)
                }
            };
            self.watches.insert(name.clone(), watch);
        }
        self.mark_outages(look.at, seats);
        self
    }

    /// Marks the targets of machines that were lost with others: two of them and a fifth of the room.
    fn mark_outages(&mut self, now: Mono, seats: usize) {
        let recent: std::collections::BTreeSet<&str> =
            self.losses.iter().filter(|(at, _)| now.since(*at) <= ONE_CAUSE).map(|(_, machine)| machine.as_str()).collect();
        if recent.len() < 2 || recent.len() * 5 < seats {
            return;
        }
        for watch in self.watches.values_mut().filter(|watch| watch.session.is_none() && recent.contains(watch.machine.as_str()))
        {
            watch.lost = Lost::WithOthers;
        }
    }

    /// Whether an operating system has been on `later` for long enough, and `target` did not move meanwhile: its machine moved on.
    pub fn moved(&self, target: &str, later: &str) -> bool {
        let (Some(watch), Some(later)) = (self.watches.get(target), self.watches.get(later)) else { return false };
        let lasts = later.session.as_ref().is_some_and(|session| {
            session.of == Initiator::System && later.at == self.at && later.at.since(session.since) >= TWO_LOOKS
        });
        lasts && self.is_still(watch, TWO_LOOKS)
    }

    /// Whether a target was seen without session and with the same counters over so long a time.
    fn is_still(&self, watch: &Watch, time: Duration) -> bool {
        watch.session.is_none()
            && watch.at == self.at
            && watch.at.since(watch.sign) >= time
            && watch.at.since(watch.since) >= time
    }

    /// Whether a target has been silent for at least `alone`, or `outage` where it was lost with others, while it was offered.
    pub fn is_quiet(&self, target: &str, alone: Duration, outage: Duration) -> bool {
        self.watches.get(target).is_some_and(|watch| {
            let needed = match watch.lost {
                Lost::Alone => alone,
                Lost::WithOthers => outage,
            };
            watch.session.is_none() && watch.at == self.at && watch.quiet >= needed
        })
    }

    /// Whether a target showed nothing since `moment`, and no session in two looks five seconds apart after it: what a boot's intent
    /// needs of the disk it used before.
    pub fn is_still_since(&self, target: &str, moment: Mono) -> bool {
        self.watches.get(target).is_some_and(|watch| {
            watch.session.is_none()
                && watch.at == self.at
                && watch.sign < moment
                && watch.since < moment
                && watch.silent.iter().any(|look| *look >= moment && watch.at.since(*look) >= APART)
        })
    }
}

/// How far two looks at which nobody is there must lie apart.
const APART: Duration = Duration::from_secs(5);

/// So many of them are remembered.
const SILENT_KEPT: usize = 4;

impl Watch {
    /// The first look at a target: nothing is known of what was before.
    fn first(seen: &TargetLook, at: Mono) -> Self {
        Self {
            machine: seen.machine.clone(),
            since: at,
            at,
            sign: at,
            quiet: Duration::ZERO,
            silent: Vec::new(),
            commands: seen.commands.present().copied().unwrap_or(0),
            writes: seen.writes.present().copied(),
            session: session_seen(None, seen, at),
            system: match initiator(seen) {
                Some(Initiator::System) => SystemSeen::At(at),
                Some(Initiator::Firmware) | None => SystemSeen::Never,
            },
            lost: Lost::Alone,
        }
    }

    /// Whether an operating system's session that was there is not there any more.
    fn lost_now(&self, seen: &TargetLook) -> bool {
        let was_system = self.session.as_ref().is_some_and(|session| session.of == Initiator::System);
        was_system && seen.offering == Offering::On && seen.sessions == 0 && seen.session == Seen::Absent
    }

    fn after(&self, seen: &TargetLook, look: &Look, counted: Duration, is_gap: bool) -> Self {
        let at = look.at;
        let commands = seen.commands.present().copied();
        let writes = seen.writes.present().copied();
        let session = session_seen(self.session.as_ref(), seen, at);
        let is_silent = seen.session == Seen::Absent && seen.sessions == 0 && commands == Some(self.commands);
        let wrote = writes.is_none() || self.writes.is_none() || writes != self.writes;
        let is_system = matches!(initiator(seen), Some(Initiator::System)) || matches!(seen.session, Seen::Unreadable(_));
        let mut silent = if is_silent && !is_gap { self.silent.clone() } else { Vec::new() };
        if is_silent && silent.last().is_none_or(|last| at.since(*last) >= APART) {
            silent.push(at);
            if silent.len() > SILENT_KEPT {
                silent.remove(0);
            }
        }
        let counts = is_silent && seen.offering == Offering::On && look.network == Network::Up;
        Self {
            machine: self.machine.clone(),
            since: if is_gap { at } else { self.since },
            at,
            sign: if is_silent { self.sign } else { at },
            quiet: match (is_silent, counts) {
                (false, _) => Duration::ZERO,
                (true, true) => self.quiet.saturating_add(counted),
                (true, false) => self.quiet,
            },
            silent,
            commands: commands.unwrap_or(self.commands),
            writes,
            system: if is_system || wrote { SystemSeen::At(at) } else { self.system },
            lost: if session.is_some() { Lost::Alone } else { self.lost },
            session,
        }
    }
}

fn initiator(seen: &TargetLook) -> Option<Initiator> {
    seen.session.present().map(|session| if is_firmware(session) { Initiator::Firmware } else { Initiator::System })
}

/// The session of a look; one that cannot be read, or is only counted, is an operating system's.
fn session_seen(before: Option<&SessionSeen>, seen: &TargetLook, at: Mono) -> Option<SessionSeen> {
    let (isid, address, of) = match &seen.session {
        Seen::Present(session) => (
            session.isid.as_str(),
            session.address.as_str(),
            if is_firmware(session) { Initiator::Firmware } else { Initiator::System },
        ),
        Seen::Absent if seen.sessions == 0 => return None,
        Seen::Absent | Seen::Unreadable(_) => ("unknown", "", Initiator::System),
    };
    let since = before.filter(|before| before.isid == isid && before.address == address).map_or(at, |before| before.since);
    Some(SessionSeen { isid: isid.to_owned(), address: address.to_owned(), since, of })
}

#[cfg(test)]
mod tests;
