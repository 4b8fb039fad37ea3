//! Who has which address: a map, and the changes that are made to it.
//!
//! **Invariant:** an address has one holder at most. A machine is its Ethernet address: its ROM, its iPXE and its system send
//! different client identifiers, and must keep one address all the same (C18).

use crate::names::MacAddr;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    ops::Bound,
};

/// What is known of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// Offered to a client that has not yet taken it.
    Offered {
        /// The client.
        mac: MacAddr,
        /// Until when it is kept for it.
        until: Timestamp,
    },
    /// Leased.
    Bound {
        /// The holder.
        mac: MacAddr,
        /// When the lease ends.
        until: Timestamp,
        /// How long it was when it was given last; not known of one that an older version gave.
        lasts: Option<SignedDuration>,
        /// When the client first had it, renewals not counted; not known of one that an older version gave.
        since: Option<Timestamp>,
    },
    /// Declined by the client that had it, and nobody has answered ARP there so far.
    Declined {
        /// The client.
        mac: MacAddr,
        /// Until when nobody else gets it.
        until: Timestamp,
    },
    /// Somebody uses it who did not ask us.
    Quarantined {
        /// Who that is, where it showed.
        by: Option<MacAddr>,
        /// Until when nobody gets it.
        until: Timestamp,
    },
}

impl Holding {
    /// When it ends.
    pub fn until(self) -> Timestamp {
        match self {
            Self::Offered { until, .. }
            | Self::Bound { until, .. }
            | Self::Declined { until, .. }
            | Self::Quarantined { until, .. } => until,
        }
    }

    /// The client it is held for.
    pub fn mac(self) -> Option<MacAddr> {
        match self {
            Self::Offered { mac, .. } | Self::Bound { mac, .. } => Some(mac),
            Self::Declined { .. } | Self::Quarantined { .. } => None,
        }
    }

    /// The client it is held for, that declined it, or that uses it unasked.
    pub fn user(self) -> Option<MacAddr> {
        match self {
            Self::Quarantined { by, .. } => by,
            Self::Declined { mac, .. } => Some(mac),
            Self::Offered { .. } | Self::Bound { .. } => self.mac(),
        }
    }

    /// Since when a leased address is its client's; `None` where that is not known.
    pub fn since(self) -> Option<Timestamp> {
        match self {
            Self::Bound { since: Some(since), .. } => Some(since),
            Self::Bound { until, lasts: Some(lasts), .. } => until.checked_sub(lasts).ok(),
            _ => None,
        }
    }
}

/// One change to the leases: decided in one place, journalled, then applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeaseChange {
    /// An address is offered.
    Offer {
        /// The address.
        ip: Ipv4Addr,
        /// The client.
        mac: MacAddr,
        /// Until when.
        until: Timestamp,
    },
    /// An address is leased.
    Bind {
        /// The address.
        ip: Ipv4Addr,
        /// The client.
        mac: MacAddr,
        /// Until when.
        until: Timestamp,
        /// For how long.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lasts: Option<SignedDuration>,
        /// Since when the client has it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        since: Option<Timestamp>,
    },
    /// A client declined its address, and it is asked after by ARP.
    Decline {
        /// The address.
        ip: Ipv4Addr,
        /// The client.
        mac: MacAddr,
        /// Until when nobody else gets it.
        until: Timestamp,
    },
    /// A client took another server's offer; ours are free again.
    Withdraw {
        /// The client.
        mac: MacAddr,
    },
    /// A client gave its address back.
    Release {
        /// The address.
        ip: Ipv4Addr,
    },
    /// An address is in use by somebody who did not ask us.
    Quarantine {
        /// The address.
        ip: Ipv4Addr,
        /// Who uses it, where that showed; it may have it when it asks.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<MacAddr>,
        /// Until when.
        until: Timestamp,
    },
}

impl LeaseChange {
    /// Whether it must survive a power cut: an offer that is lost costs nothing, and what was declined stays its client's.
    pub fn is_durable(self) -> bool {
        matches!(self, Self::Bind { .. } | Self::Release { .. } | Self::Quarantine { .. })
    }
}

/// Who has which address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leases {
    by_address: BTreeMap<Ipv4Addr, Holding>,
    /// The other way round, so that a client is found without a walk; kept equal by [`Leases::apply`] alone.
    by_mac: BTreeMap<MacAddr, Vec<Ipv4Addr>>,
    /// By their ends, so that one that has ended is found without a walk.
    by_end: BTreeSet<(Timestamp, Ipv4Addr)>,
    /// How many addresses of each 256 something is known of, so that a full range is passed over in steps.
    in_block: BTreeMap<u32, u16>,
    /// Those that are declined, so that they are counted without a walk.
    declined: BTreeMap<Ipv4Addr, MacAddr>,
    /// Addresses that nobody answers ARP for though they are held, and until when that counts.
    silent: BTreeMap<Ipv4Addr, Timestamp>,
}

/// The 256 addresses that an address is one of, unless it is one that no range gives, being refused by clients of old.
fn block(ip: Ipv4Addr) -> Option<u32> {
    (!ends_in_0_or_255(ip)).then_some(u32::from(ip) >> 8)
}

/// Whether an address is one that Windows of old and some ROMs refuse, whatever the mask is.
pub fn ends_in_0_or_255(ip: Ipv4Addr) -> bool {
    matches!(ip.octets()[3], 0 | 255)
}

impl Leases {
    /// How many addresses something is known of.
    pub fn len(&self) -> usize {
        self.by_address.len()
    }

    /// Whether nothing is known of any address.
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// What is known of this address, ended or not.
    pub fn holding(&self, ip: Ipv4Addr) -> Option<Holding> {
        self.by_address.get(&ip).copied()
    }

    /// The addresses whose holding has ended, the one that ended first before the others.
    pub fn ended(&self, now: Timestamp) -> impl Iterator<Item = Ipv4Addr> {
        self.by_end.range(..=(now, Ipv4Addr::BROADCAST)).map(|(_, ip)| *ip)
    }

    /// The holdings that end within a while, the one that ends first before the others.
    pub fn ending_within(&self, now: Timestamp, soon: Timestamp) -> impl Iterator<Item = (Ipv4Addr, Holding)> {
        let ends = self.by_end.range((now, Ipv4Addr::BROADCAST)..=(soon, Ipv4Addr::BROADCAST));
        ends.filter_map(|(_, ip)| Some((*ip, self.holding(*ip)?)))
    }

    /// What is known of the addresses behind one, up to another.
    pub fn behind(&self, ip: Ipv4Addr, last: Ipv4Addr) -> impl Iterator<Item = (Ipv4Addr, Holding)> {
        let behind = (Bound::Excluded(ip.min(last)), Bound::Included(last));
        self.by_address.range(behind).map(|(ip, holding)| (*ip, *holding))
    }

    /// Takes note that nobody answers ARP for this address, which counts until then or until something changes.
    pub fn note_silence(&mut self, ip: Ipv4Addr, now: Timestamp, until: Timestamp) {
        self.silent.retain(|_, until| *until > now);
        self.silent.insert(ip, until);
    }

    /// Takes note that somebody answers ARP for this address.
    pub fn note_sign(&mut self, ip: Ipv4Addr) {
        self.silent.remove(&ip);
    }

    /// The addresses that nobody answers ARP for.
    pub fn silent(&self, now: Timestamp) -> impl Iterator<Item = Ipv4Addr> {
        self.silent.iter().filter(move |(_, until)| **until > now).map(|(ip, _)| *ip)
    }

    /// Whether nobody answers ARP for this address, though it is held.
    pub fn is_silent(&self, ip: Ipv4Addr, now: Timestamp) -> bool {
        self.silent.get(&ip).is_some_and(|until| *until > now)
    }

    /// Of how many of the 256 addresses that this is one of something is known, those left out that end in 0 or 255.
    pub fn known_around(&self, ip: Ipv4Addr) -> u16 {
        self.in_block.get(&(u32::from(ip) >> 8)).copied().unwrap_or_default()
    }

    /// What keeps this address from being given away now.
    pub fn live(&self, ip: Ipv4Addr, now: Timestamp) -> Option<Holding> {
        self.holding(ip).filter(|holding| holding.until() > now)
    }

    /// The addresses this client holds, held, or uses unasked, the one that lasts longest first.
    pub fn of(&self, mac: MacAddr) -> Vec<(Ipv4Addr, Holding)> {
        let addresses = self.by_mac.get(&mac).map(Vec::as_slice).unwrap_or_default();
        let mut held: Vec<_> = addresses.iter().filter_map(|ip| Some((*ip, self.holding(*ip)?))).collect();
        held.sort_by_key(|(ip, holding)| (std::cmp::Reverse(holding.until()), *ip));
        held
    }

    /// Who has this address now.
    pub fn holder(&self, ip: Ipv4Addr, now: Timestamp) -> Option<MacAddr> {
        self.live(ip, now).and_then(Holding::mac)
    }

    /// Makes one change.
    pub fn apply(&mut self, change: LeaseChange) {
        match change {
            LeaseChange::Offer { ip, mac, until } => self.set(ip, Some(Holding::Offered { mac, until })),
            LeaseChange::Bind { ip, mac, until, lasts, since } => {
                self.set(ip, Some(Holding::Bound { mac, until, lasts, since }));
            }
            LeaseChange::Decline { ip, mac, until } => self.set(ip, Some(Holding::Declined { mac, until })),
            LeaseChange::Quarantine { ip, by, until } => self.set(ip, Some(Holding::Quarantined { by, until })),
            LeaseChange::Release { ip } => self.set(ip, None),
            LeaseChange::Withdraw { mac } => {
                let offered = self.of(mac).into_iter().filter(|(_, holding)| matches!(holding, Holding::Offered { .. }));
                for (ip, _) in offered.collect::<Vec<_>>() {
                    self.set(ip, None);
                }
            }
        }
    }

    /// Ends what lasts longer than it was given for: the clock was ahead when it was given.
    pub fn shorten(&mut self, now: Timestamp, quarantine: SignedDuration) {
        let end = |lasts: SignedDuration| now.checked_add(lasts).unwrap_or(Timestamp::MAX);
        let shorter = |(ip, holding): (&Ipv4Addr, &Holding)| match *holding {
            Holding::Bound { mac, until, lasts: Some(lasts), since } if until > end(lasts) => {
                let since = since.map(|since| since.min(now));
                Some(LeaseChange::Bind { ip: *ip, mac, until: end(lasts), lasts: Some(lasts), since })
            }
            Holding::Quarantined { by, until } if until > end(quarantine) => {
                Some(LeaseChange::Quarantine { ip: *ip, by, until: end(quarantine) })
            }
            _ => None,
        };
        let changes: Vec<_> = self.by_address.iter().filter_map(shorter).collect();
        changes.into_iter().for_each(|change| self.apply(change));
    }

    /// The changes that make these leases from nothing: what a compacted journal holds.
    pub fn changes(&self) -> impl Iterator<Item = LeaseChange> {
        self.by_address.iter().filter_map(|(ip, holding)| match *holding {
            Holding::Bound { mac, until, lasts, since } => Some(LeaseChange::Bind { ip: *ip, mac, until, lasts, since }),
            Holding::Quarantined { by, until } => Some(LeaseChange::Quarantine { ip: *ip, by, until }),
            Holding::Offered { .. } | Holding::Declined { .. } => None,
        })
    }

    /// Which addresses of a range are declined now, and by whom.
    pub fn declined(&self, (first, last): (Ipv4Addr, Ipv4Addr), now: Timestamp) -> impl Iterator<Item = (Ipv4Addr, MacAddr)> {
        self.declined.range(first..=last).map(|(ip, mac)| (*ip, *mac)).filter(move |(ip, _)| self.live(*ip, now).is_some())
    }

    fn set(&mut self, ip: Ipv4Addr, holding: Option<Holding>) {
        let before = self.by_address.remove(&ip);
        self.silent.remove(&ip);
        self.declined.remove(&ip);
        if let Some(before) = before {
            self.by_end.remove(&(before.until(), ip));
            if let Some(known) = block(ip).and_then(|block| self.in_block.get_mut(&block)) {
                *known -= 1;
            }
        }
        if let Some(mac) = before.and_then(Holding::user)
            && let Some(addresses) = self.by_mac.get_mut(&mac)
        {
            addresses.retain(|known| *known != ip);
            if addresses.is_empty() {
                self.by_mac.remove(&mac);
            }
        }
        let Some(holding) = holding else { return };
        if let Holding::Declined { mac, .. } = holding {
            self.declined.insert(ip, mac);
        }
        self.by_address.insert(ip, holding);
        self.by_end.insert((holding.until(), ip));
        if let Some(block) = block(ip) {
            *self.in_block.entry(block).or_default() += 1;
        }
        if let Some(mac) = holding.user() {
            self.by_mac.entry(mac).or_default().push(ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mac(last: u8) -> MacAddr {
        MacAddr::from_octets([2, 0, 0, 0, 0, last]).expect("a unicast address")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a second of this era")
    }

    const IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

    #[test]
    fn an_address_never_has_two_holders() {
        let mut leases = Leases::default();
        leases.apply(LeaseChange::Bind { ip: IP, mac: mac(1), until: at(100), lasts: None, since: None });
        leases.apply(LeaseChange::Bind { ip: IP, mac: mac(2), until: at(200), lasts: None, since: None });
        assert_eq!(leases.holder(IP, at(50)), Some(mac(2)));
        assert!(leases.of(mac(1)).is_empty());
        assert_eq!(leases.holder(IP, at(200)), None, "a lease ends at its end");
    }

    #[test]
    fn the_changes_of_a_map_make_the_same_map() {
        let mut leases = Leases::default();
        for last in 1..20 {
            let ip = Ipv4Addr::new(10, 0, 0, last);
            leases.apply(LeaseChange::Bind { ip, mac: mac(last), until: at(i64::from(last)), lasts: None, since: None });
        }
        leases.apply(LeaseChange::Release { ip: Ipv4Addr::new(10, 0, 0, 3) });
        leases.apply(LeaseChange::Quarantine { ip: Ipv4Addr::new(10, 0, 0, 4), by: None, until: at(9) });
        let mut again = Leases::default();
        leases.changes().for_each(|change| again.apply(change));
        assert_eq!(leases, again);
        leases.apply(LeaseChange::Offer { ip: IP, mac: mac(99), until: at(9) });
        leases.apply(LeaseChange::Withdraw { mac: mac(99) });
        assert_eq!(leases.holding(IP), None);
    }

    #[test]
    fn what_a_clock_that_was_ahead_gave_ends_when_its_time_is_over() {
        let mut leases = Leases::default();
        let [hour, minute] = [SignedDuration::from_hours(1), SignedDuration::from_mins(1)];
        let ip = |last| Ipv4Addr::new(10, 0, 0, last);
        // Given in the year 2100, and a moment ago.
        for (last, until) in [(1, at(4_102_444_800)), (2, at(3000))] {
            leases.apply(LeaseChange::Bind { ip: ip(last), mac: mac(last), until, lasts: Some(hour), since: None });
            leases.apply(LeaseChange::Quarantine { ip: ip(last + 10), by: Some(mac(last)), until });
        }
        leases.shorten(at(1000), minute);
        let ends = |last| leases.holding(ip(last)).map(Holding::until);
        assert_eq!([1, 2, 11, 12].map(ends), [at(4600), at(3000), at(1060), at(1060)].map(Some));
        assert_eq!(leases.ended(at(4600)).count(), 4, "the order of ends is kept");
    }
}
