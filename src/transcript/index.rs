//! What finds a machine of the transcript without a walk through all: a room that starts at once is thousands of events.
//!
//! **Invariant:** says nothing that the machines themselves do not. Machines of the site are in no list of those that may be
//! forgotten.

use super::{MachineTranscript, Source};
use crate::names::MacAddr;
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// Machines by what else they are looked up by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Index {
    /// Whoever was last seen with an address.
    pub holders: BTreeMap<Ipv4Addr, MacAddr>,
    /// Strangers by where they were first heard, each with its last event.
    strangers: BTreeMap<Option<Source>, BTreeSet<(Option<Timestamp>, MacAddr)>>,
    count: usize,
}

impl Index {
    pub fn of(machines: &BTreeMap<MacAddr, MachineTranscript>, known: &BTreeSet<MacAddr>) -> Self {
        let holders = machines.iter().filter_map(|(mac, machine)| Some((machine.address?, *mac))).collect();
        let mut index = Self { holders, ..Self::default() };
        let strangers = machines.iter().filter(|(mac, _)| !known.contains(mac));
        strangers.for_each(|(mac, machine)| index.enter(*mac, machine));
        index
    }

    /// How many strangers there are.
    pub fn strangers(&self) -> usize {
        self.count
    }

    /// Enters a stranger at its last event.
    pub fn enter(&mut self, mac: MacAddr, machine: &MachineTranscript) {
        let fresh = self.strangers.entry(machine.source.clone()).or_default().insert((machine.last(), mac));
        self.count += usize::from(fresh);
    }

    /// Takes a stranger out, before its events change.
    pub fn leave(&mut self, mac: MacAddr, machine: &MachineTranscript) {
        let Some(of_source) = self.strangers.get_mut(&machine.source) else { return };
        self.count -= usize::from(of_source.remove(&(machine.last(), mac)));
        if of_source.is_empty() {
            self.strangers.remove(&machine.source);
        }
    }

    /// The stranger that is forgotten first: of the source that has most of them the one that was not heard of for longest.
    pub fn first_to_go(&self) -> Option<MacAddr> {
        let largest = self.strangers.values().max_by_key(|strangers| strangers.len())?;
        largest.first().map(|(_, mac)| *mac)
    }
}
