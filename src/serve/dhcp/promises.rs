//! Which acknowledgements may leave though the journal could not be written.
//!
//! **Invariant:** an address that is new to its client is acknowledged only once its line is on disk. More time for one whose line is
//! there is given all the same: a running machine whose disk is on the network does not survive losing its address, and what a power
//! cut could take back is only the later end. PURE.

use std::{collections::BTreeSet, net::Ipv4Addr};

/// What an acknowledgement promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// An address that was not leased to the client.
    New,
    /// More time for one that is.
    Renewal,
}

/// The leases that are not on disk since a write failed.
#[derive(Debug, Default)]
pub struct Unwritten {
    addresses: BTreeSet<Ipv4Addr>,
}

impl Unwritten {
    /// All leases are on disk: after a write that failed, the next that succeeds writes the whole journal.
    pub fn note_written(&mut self) {
        self.addresses.clear();
    }

    /// A write failed that was to hold these.
    pub fn note_failed(&mut self, promises: impl Iterator<Item = (Promise, Ipv4Addr)>) {
        self.addresses.extend(promises.filter(|(promise, _)| *promise == Promise::New).map(|(_, ip)| ip));
    }

    /// Whether this promise is kept by what was on disk before.
    pub fn is_kept_by_disk(&self, promise: Promise, ip: Ipv4Addr) -> bool {
        promise == Promise::Renewal && !self.addresses.contains(&ip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_full_disk_leases_that_are_on_disk_are_renewed_and_new_ones_wait() {
        let [old, new] = [1, 2].map(|last| Ipv4Addr::new(10, 0, 0, last));
        let mut unwritten = Unwritten::default();
        unwritten.note_failed([(Promise::Renewal, old), (Promise::New, new), (Promise::Renewal, new)].into_iter());
        assert!(unwritten.is_kept_by_disk(Promise::Renewal, old));
        for promise in [Promise::New, Promise::Renewal] {
            assert!(!unwritten.is_kept_by_disk(promise, new), "{promise:?} of what no line on disk gives");
        }
        unwritten.note_written();
        assert!(unwritten.is_kept_by_disk(Promise::Renewal, new));
        assert!(!unwritten.is_kept_by_disk(Promise::New, new));
    }
}
