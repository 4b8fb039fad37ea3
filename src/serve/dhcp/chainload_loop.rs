//! How often a machine's iPXE fetched a loader of ours and came back: one that does so again and again loops.
//!
//! **Invariant:** bounded, and forgets after a minute; nothing but the loop is decided from it. A round counts once the loader was fetched,
//! whole, from the address that the machine was given: what somebody writes in its name is none. Pure.

use super::model::Whose;
use crate::names::MacAddr;
use jiff::{SignedDuration, Timestamp};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// A loader is fetched and asks again within seconds; a person does not restart a machine three times in this time.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// Rounds of asking that are answered within it.
const MOST: usize = 3;
/// Cards that the site does not know and that are remembered: more would be a flood of forged addresses.
const STRANGERS: usize = 1024;

/// Rounds of asking of machines that were chained to a loader of ours.
#[derive(Debug, Clone, Default)]
pub struct ChainloadLoops {
    machines: BTreeMap<MacAddr, Rounds>,
    /// How many of them the site does not know.
    strangers: usize,
}

#[derive(Debug, Clone)]
struct Rounds {
    whose: Whose,
    /// The last that was answered, and what it was fetched from if it was.
    open: Option<Round>,
    /// Those whose loader was fetched, the oldest first.
    fetched: Vec<Round>,
}

#[derive(Debug, Clone, Copy)]
struct Round {
    /// Its transaction.
    xid: u32,
    at: Timestamp,
    /// The address the machine has, once that is known: beside another server it says so when it takes it.
    address: Option<Ipv4Addr>,
}

impl ChainloadLoops {
    /// Whether a machine fetched our loader so often that once more would be a loop.
    pub fn is_looping(&self, mac: MacAddr, xid: u32, now: Timestamp) -> bool {
        let rounds = self.machines.get(&mac).into_iter().flat_map(|rounds| &rounds.fetched);
        rounds.filter(|round| round.xid != xid && is_recent(round.at, now)).count() >= MOST
    }

    /// Takes note that a machine is chained, with the address that it is offered.
    pub fn note(&mut self, mac: MacAddr, whose: Whose, round: (u32, Option<Ipv4Addr>), now: Timestamp) {
        self.forget(now);
        let is_full = whose == Whose::Stranger && self.strangers >= STRANGERS;
        if is_full && !self.machines.contains_key(&mac) {
            return;
        }
        let (xid, address) = round;
        let is_new = !self.machines.contains_key(&mac);
        let rounds = self.machines.entry(mac).or_insert_with(|| Rounds { whose, open: None, fetched: Vec::new() });
        if !rounds.fetched.iter().any(|known| known.xid == xid) {
            rounds.open = Some(Round { xid, at: now, address });
        }
        if is_new && whose == Whose::Stranger {
            self.strangers += 1;
        }
    }

    /// Takes note of the address that a machine took, of another server perhaps.
    pub fn note_address(&mut self, mac: MacAddr, address: Ipv4Addr) {
        if let Some(round) = self.machines.get_mut(&mac).and_then(|rounds| rounds.open.as_mut()) {
            round.address.get_or_insert(address);
        }
    }

    /// Takes note that a loader was fetched whole from an address.
    pub fn note_fetch(&mut self, from: Ipv4Addr, now: Timestamp) {
        for rounds in self.machines.values_mut() {
            let Some(round) = rounds.open.take_if(|round| round.address == Some(from)) else { continue };
            if rounds.fetched.len() > MOST {
                rounds.fetched.remove(0);
            }
            rounds.fetched.push(Round { at: now, ..round });
        }
    }

    fn forget(&mut self, now: Timestamp) {
        self.machines.retain(|_, rounds| {
            rounds.fetched.retain(|round| is_recent(round.at, now));
            rounds.open.take_if(|round| !is_recent(round.at, now));
            !rounds.fetched.is_empty() || rounds.open.is_some()
        });
        self.strangers = self.machines.values().filter(|rounds| rounds.whose == Whose::Stranger).count();
    }
}

fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) < WINDOW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_by_the_thousand_leave_a_machine_of_the_site_its_loop_to_be_found() {
        let (now, ip) = (Timestamp::UNIX_EPOCH, Ipv4Addr::new(10, 0, 0, 9));
        let mac = |n: u16| MacAddr::from_octets([2, 0, 0, 0, (n >> 8) as u8, n as u8]).expect("a unicast address");
        let mut loops = ChainloadLoops::default();
        (0..3000).for_each(|n| loops.note(mac(n), Whose::Stranger, (1, None), now));
        assert_eq!(loops.machines.len(), STRANGERS);
        for xid in 0..3 {
            loops.note(mac(9000), Whose::Site, (xid, Some(ip)), now);
            loops.note_fetch(ip, now);
        }
        assert!(loops.is_looping(mac(9000), 7, now) && !loops.is_looping(mac(0), 7, now));
        loops.note(mac(9001), Whose::Stranger, (1, None), now + WINDOW);
        assert_eq!(loops.machines.len(), 1, "a minute later all is forgotten");
    }
}
