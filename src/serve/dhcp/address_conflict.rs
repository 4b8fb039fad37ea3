//! Duplicate addresses: which are asked after by ARP, and what an answer means.
//!
//! **Invariant:** no offer waits for a probe: addresses are asked after beside the offers, and what shows is in the leases before
//! the next client comes. A reserved address is never withheld, no machine's ARP alone can empty a range (C19), and what is said of
//! one address does not grow with the number of cards that claim it.

use super::{
    allocate::Allocation,
    arp::Claim,
    leases::{Holding, LeaseChange, Leases},
    server,
};
use crate::{boot::table::Network, names::MacAddr, names::NetworkName};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// Addresses of a network asked after in each second: fifty are known in a quarter of a minute, and four small broadcasts are
/// nothing to any wire.
const PROBES: usize = 4;
/// Addresses looked at for them: a walk through a full range must not hold the service up.
const LOOKED_AT: usize = 256;
/// Addresses that one card may keep from others by ARP. A router that answers for everybody (proxy ARP) would take the range.
const BELIEVED: usize = 4;
/// The part of a range that all cards together may keep from others by ARP: whoever invents cards would take the range. What is
/// used beyond it is found by the clients themselves, who decline it.
const BELIEVED_PART: usize = 4;
/// The same conflict is said again after this.
const SAID_FOR: SignedDuration = SignedDuration::from_mins(10);
/// Cards that are named for one address in that time: who makes up cards writes no more than that.
const CARDS_SAID: usize = 3;
/// Conflicts remembered; more than this on one wire is an attack, and said often enough: what is new then is not said.
const REMEMBERED: usize = 256;

/// What an answer to a probe shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A free address of the range is in use by somebody who did not ask us.
    #[error("{} uses {}, which it was not given; nobody else gets it for a while", claim.mac, claim.ip)]
    Unassigned {
        /// Who, and what.
        claim: Claim,
    },
    /// A client uses an address whose lease has ended: it sleeps, or its system does not renew, as one with `ip=ibft`.
    #[error("{} still uses {}, though its lease has ended; nobody else gets it for a while", claim.mac, claim.ip)]
    Overdue {
        /// Who, and what.
        claim: Claim,
    },
    /// A client goes on using an address that is kept from others because it does.
    #[error("{} goes on using {}; nobody else gets it for a while", claim.mac, claim.ip)]
    Lasting {
        /// Who, and what.
        claim: Claim,
    },
    /// A reserved address is in use by another machine.
    #[error("{} uses {}, which is reserved for this machine: find it and give it another", claim.mac, claim.ip)]
    Reservation {
        /// Who, and what.
        claim: Claim,
        /// Whom it is reserved for.
        owner: MacAddr,
    },
    /// Two use one leased address.
    #[error("{} uses {}, which is leased to this machine: one of the two has a fixed address", claim.mac, claim.ip)]
    Lease {
        /// Who, and what.
        claim: Claim,
        /// Whom it is leased to.
        owner: MacAddr,
    },
    /// More addresses of a range are claimed by ARP than are kept from others.
    #[error("{} and many others use addresses they were not given, such as {}: no more are withheld on their word", claim.mac, claim.ip)]
    Many {
        /// Who, and what.
        claim: Claim,
    },
    /// One card answers for more addresses than a card has.
    #[error("{} answers ARP for {} and many others: it is a proxy, and not believed", claim.mac, claim.ip)]
    Proxy {
        /// Who, and what.
        claim: Claim,
    },
}

impl Conflict {
    /// Whose transcript it belongs in.
    pub fn concerns(self) -> MacAddr {
        match self {
            Self::Unassigned { claim }
            | Self::Overdue { claim }
            | Self::Lasting { claim }
            | Self::Proxy { claim }
            | Self::Many { claim } => claim.mac,
            Self::Reservation { owner, .. } | Self::Lease { owner, .. } => owner,
        }
    }

    /// What it changes in the leases.
    pub fn change(self, now: Timestamp) -> Option<LeaseChange> {
        let (Self::Unassigned { claim } | Self::Overdue { claim } | Self::Lasting { claim }) = self else { return None };
        let until = server::after(now, server::QUARANTINE);
        Some(LeaseChange::Quarantine { ip: claim.ip, by: Some(claim.mac), until })
    }
}

/// What is remembered between probes.
#[derive(Debug, Default)]
pub struct AddressConflicts {
    /// Where the walk through each network's range is.
    walked: BTreeMap<NetworkName, Ipv4Addr>,
    /// Until when an address is withheld on a card's word.
    believed: BTreeMap<MacAddr, BTreeMap<Ipv4Addr, Timestamp>>,
    said: BTreeMap<About, Said>,
}

/// What something was said about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    /// Many cards.
    All,
    /// A card that claims many addresses.
    Card(MacAddr),
    /// An address that is another's.
    Address(Ipv4Addr),
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    /// When it was said first, after which it is said anew in a while.
    since: Timestamp,
    /// Of whom.
    cards: BTreeSet<MacAddr>,
}

impl AddressConflicts {
    /// The next free addresses of a network's range that are asked after.
    pub fn next(&mut self, name: &NetworkName, network: &Network, is_free: impl Fn(Ipv4Addr) -> bool) -> Vec<Ipv4Addr> {
        let Some((first, last)) = network.range.map(|(first, last)| (u32::from(first), u32::from(last))) else {
            return Vec::new();
        };
        let walked = self.walked.get(name).map_or(last, |ip| u32::from(*ip)).clamp(first, last);
        let mut found = Vec::new();
        let mut at = walked;
        for _ in 0..LOOKED_AT.min((last - first) as usize + 1) {
            at = if at >= last { first } else { at + 1 };
            let ip = Ipv4Addr::from(at);
            if is_free(ip) {
                found.push(ip);
            }
            if found.len() == PROBES {
                break;
            }
        }
        self.walked.insert(name.clone(), Ipv4Addr::from(at));
        found
    }

    /// Those of the withheld addresses of a range that are asked after now, in turn: what is still used is withheld on, however long
    /// the walk through the range takes.
    pub fn next_withheld(leases: &Leases, (first, last): (Ipv4Addr, Ipv4Addr), now: Timestamp) -> Vec<Ipv4Addr> {
        let ending = leases.ending_within(now, server::after(now, server::QUARANTINE / 2));
        let is_withheld = |ip: &Ipv4Addr, holding| {
            matches!(holding, Holding::Quarantined { .. } | Holding::Declined { .. }) && (first..=last).contains(ip)
        };
        let mut withheld: Vec<_> = ending.filter(|(ip, holding)| is_withheld(ip, *holding)).map(|(ip, _)| ip).collect();
        withheld.sort();
        // One round of them after the other, by the clock: four each second.
        let turns = withheld.len().div_ceil(PROBES).max(1);
        let turn = usize::try_from(now.as_second()).unwrap_or_default() % turns;
        withheld.into_iter().skip(turn * PROBES).take(PROBES).collect()
    }

    /// What a claim on an address shows, where it shows something new. The allocation is that of the claimant.
    pub fn judge(&mut self, claim: Claim, allocation: &Allocation<'_>) -> Option<Conflict> {
        let now = allocation.now;
        let conflict = match find_conflict(claim, allocation)? {
            Conflict::Unassigned { .. } => self.believe(claim, allocation.network, now),
            other => other,
        };
        let about = match conflict {
            // Such a use is reported each time its address is withheld anew.
            Conflict::Unassigned { .. } | Conflict::Overdue { .. } => return Some(conflict),
            Conflict::Lasting { .. } => {
                self.believe_on(claim, now);
                return Some(conflict);
            }
            Conflict::Proxy { .. } => About::Card(claim.mac),
            Conflict::Many { .. } => About::All,
            Conflict::Reservation { .. } | Conflict::Lease { .. } => About::Address(claim.ip),
        };
        self.is_news(about, claim.mac, now).then_some(conflict)
    }

    /// Whether something was not said lately, of this card or of enough others; it counts as said from now on.
    fn is_news(&mut self, about: About, card: MacAddr, now: Timestamp) -> bool {
        if self.said.len() >= REMEMBERED || self.said.get(&about).is_some_and(|said| said.since + SAID_FOR <= now) {
            self.said.retain(|_, said| said.since + SAID_FOR > now);
        }
        if self.said.len() >= REMEMBERED && !self.said.contains_key(&about) {
            return false;
        }
        let most = if matches!(about, About::Address(_)) { CARDS_SAID } else { 1 };
        let said = self.said.entry(about).or_insert_with(|| Said { since: now, cards: BTreeSet::new() });
        said.cards.len() < most && said.cards.insert(card)
    }

    /// An address that is withheld on a card's word stays so.
    fn believe_on(&mut self, claim: Claim, now: Timestamp) {
        if let Some(until) = self.believed.get_mut(&claim.mac).and_then(|held| held.get_mut(&claim.ip)) {
            *until = server::after(now, server::QUARANTINE);
        }
    }

    fn believe(&mut self, claim: Claim, network: &Network, now: Timestamp) -> Conflict {
        self.believed.retain(|_, held| {
            held.retain(|_, until| *until > now);
            !held.is_empty()
        });
        if self.believed.get(&claim.mac).is_some_and(|held| held.len() >= BELIEVED) {
            return Conflict::Proxy { claim };
        }
        let (first, last) = network.range.unwrap_or((claim.ip, claim.ip));
        let withheld = self.believed.values().flat_map(BTreeMap::keys).filter(|ip| (first..=last).contains(*ip)).count();
        let most = (u32::from(last) - u32::from(first)) as usize / BELIEVED_PART + 1;
        if withheld >= most.max(BELIEVED) {
            return Conflict::Many { claim };
        }
        let held = self.believed.entry(claim.mac).or_default();
        held.insert(claim.ip, server::after(now, server::QUARANTINE));
        Conflict::Unassigned { claim }
    }
}

fn find_conflict(claim: Claim, allocation: &Allocation<'_>) -> Option<Conflict> {
    if allocation.table.is_reserved(claim.ip) {
        let machines = allocation.table.machines.values();
        let owners: BTreeSet<_> = machines.filter(|machine| machine.ip == Some(claim.ip)).flat_map(|m| &m.macs).collect();
        let owner = **owners.first()?;
        return (!owners.contains(&claim.mac)).then_some(Conflict::Reservation { claim, owner });
    }
    if !allocation.is_dynamic(claim.ip) {
        return None;
    }
    match allocation.leases.live(claim.ip, allocation.now) {
        // Declined: who uses it shows now, be it the one in whose name it was.
        Some(Holding::Declined { .. } | Holding::Quarantined { by: None, .. }) => Some(Conflict::Unassigned { claim }),
        Some(Holding::Quarantined { by: Some(by), until }) if by == claim.mac => {
            (until <= server::after(allocation.now, server::QUARANTINE / 2)).then_some(Conflict::Lasting { claim })
        }
        Some(Holding::Quarantined { .. }) => None,
        Some(Holding::Bound { mac: owner, .. }) => (owner != claim.mac).then_some(Conflict::Lease { claim, owner }),
        Some(Holding::Offered { mac, .. }) => (mac != claim.mac).then_some(Conflict::Unassigned { claim }),
        None => match allocation.leases.holding(claim.ip).and_then(Holding::mac) {
            // A machine at work must not lose its address because its system does not renew.
            Some(had) if had == claim.mac => Some(Conflict::Overdue { claim }),
            _ => Some(Conflict::Unassigned { claim }),
        },
    }
}
