//! Who has which address: a map, and the changes that are made to it.
//!
//! **Invariant:** an address has one holder at most. A machine is its Ethernet address: its ROM, its iPXE and its system send
//! different client identifiers, and must keep one address all the same (C18).

use crate::names::MacAddr;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
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
            Self::Offered { until, .. } | Self::Bound { until, .. } | Self::Quarantined { until, .. } => until,
        }
    }

    /// The client it is held for.
    pub fn mac(self) -> Option<MacAddr> {
        match self {
            Self::Offered { mac, .. } | Self::Bound { mac, .. } => Some(mac),
            Self::Quarantined { .. } => None,
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
    /// Whether it must survive a power cut: an offer that is lost costs nothing.
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
}

/// The 256 addresses that an address is one of.
fn block(ip: Ipv4Addr) -> u32 {
    u32::from(ip) >> 8
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

    /// Of how many of the 256 addresses that this is one of something is known.
    pub fn known_around(&self, ip: Ipv4Addr) -> u16 {
        self.in_block.get(&block(ip)).copied().unwrap_or_default()
    }

    /// What keeps this address from being given away now.
    pub fn live(&self, ip: Ipv4Addr, now: Timestamp) -> Option<Holding> {
        self.holding(ip).filter(|holding| holding.until() > now)
    }

    /// The addresses this client holds or held, the one that lasts longest first.
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
            LeaseChange::Bind { ip, mac, until } => self.set(ip, Some(Holding::Bound { mac, until })),
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

    /// The changes that make these leases from nothing: what a compacted journal holds.
    pub fn changes(&self) -> impl Iterator<Item = LeaseChange> {
        self.by_address.iter().filter_map(|(ip, holding)| match *holding {
            Holding::Bound { mac, until } => Some(LeaseChange::Bind { ip: *ip, mac, until }),
            Holding::Quarantined { by, until } => Some(LeaseChange::Quarantine { ip: *ip, by, until }),
            Holding::Offered { .. } => None,
        })
    }

    fn set(&mut self, ip: Ipv4Addr, holding: Option<Holding>) {
        let before = self.by_address.remove(&ip);
        if let Some(before) = before {
            self.by_end.remove(&(before.until(), ip));
            if let Some(known) = self.in_block.get_mut(&block(ip)) {
                *known -= 1;
            }
        }
        if let Some(mac) = before.and_then(Holding::mac)
            && let Some(addresses) = self.by_mac.get_mut(&mac)
        {
            addresses.retain(|known| *known != ip);
            if addresses.is_empty() {
                self.by_mac.remove(&mac);
            }
        }
        let Some(holding) = holding else { return };
        self.by_address.insert(ip, holding);
        self.by_end.insert((holding.until(), ip));
        *self.in_block.entry(block(ip)).or_default() += 1;
        if let Some(mac) = holding.mac() {
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
        leases.apply(LeaseChange::Bind { ip: IP, mac: mac(1), until: at(100) });
        leases.apply(LeaseChange::Bind { ip: IP, mac: mac(2), until: at(200) });
        assert_eq!(leases.holder(IP, at(50)), Some(mac(2)));
        assert!(leases.of(mac(1)).is_empty());
        assert_eq!(leases.holder(IP, at(200)), None, "a lease ends at its end");
    }

    #[test]
    fn the_changes_of_a_map_make_the_same_map() {
        let mut leases = Leases::default();
        for last in 1..20 {
            let ip = Ipv4Addr::new(10, 0, 0, last);
            leases.apply(LeaseChange::Bind { ip, mac: mac(last), until: at(i64::from(last)) });
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
}
