//! How often a machine's iPXE was sent to a loader of ours: one that comes back from it, again and again, loops.
//!
//! **Invariant:** bounded, and forgets after a minute; nothing but the loop is decided from it. Pure.

use crate::names::MacAddr;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// A loader is fetched and asks again within seconds; a person does not restart a machine three times in this time.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// Rounds of asking that are answered within it.
const MOST: usize = 3;
/// Machines that are remembered: more would be a flood of forged addresses.
const MACHINES: usize = 1024;

/// Rounds of asking, each known by its transaction, of machines that were chained to a loader of ours.
#[derive(Debug, Clone, Default)]
pub struct ChainloadLoops(BTreeMap<MacAddr, Vec<(u32, Timestamp)>>);

impl ChainloadLoops {
    /// Whether a machine was chained so often that once more would be a loop.
    pub fn is_looping(&self, mac: MacAddr, xid: u32, now: Timestamp) -> bool {
        let rounds = self.0.get(&mac).into_iter().flatten();
        rounds.filter(|(known, at)| *known != xid && is_recent(*at, now)).count() >= MOST
    }

    /// Takes note that a machine is chained.
    pub fn note(&mut self, mac: MacAddr, xid: u32, now: Timestamp) {
        self.0.retain(|_, rounds| {
            rounds.retain(|(_, at)| is_recent(*at, now));
            !rounds.is_empty()
        });
        if self.0.len() >= MACHINES && !self.0.contains_key(&mac) {
            return;
        }
        let rounds = self.0.entry(mac).or_default();
        if rounds.len() <= MOST && !rounds.iter().any(|(known, _)| *known == xid) {
            rounds.push((xid, now));
        }
    }
}

fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) < WINDOW
}
