//! Which acknowledgements may leave before the journal has their lines, and when.
//!
//! **Invariant:** an address that is new to its client is acknowledged only once its line is on disk. A reservation stands in the
//! table and needs none. More time for a lease whose line is there waits for the disk a while, and leaves all the same, whether the
//! disk fails or does not answer: a running machine whose disk is on the network does not survive losing its address, and what a
//! power cut could take back is only the later end. PURE.

use std::{collections::BTreeSet, net::Ipv4Addr, time::Duration};

/// How long a renewal waits for the disk. A healthy one takes milliseconds; a ROM asks again after four seconds.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// What an acknowledgement promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// What the table itself says.
    Reservation,
    /// An address that was not leased to the client.
    New,
    /// More time for one that is.
    Renewal,
}

/// How the disk of the journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disk {
    /// What was written last it took, or it may still take in time.
    Answers,
    /// It has not taken a write for longer than [`PATIENCE`].
    Hangs,
}

/// When an acknowledgement leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// At once; its line follows.
    Now,
    /// When its line is on disk.
    OnceWritten,
}

/// The leases that are not on disk: those that wait for it, and those of writes that failed.
#[derive(Debug, Default)]
pub struct Unwritten {
    addresses: BTreeSet<Ipv4Addr>,
}

impl Unwritten {
    /// When this promise leaves; an address that is new counts as not on disk from here on.
    pub fn promise(&mut self, promise: Promise, ip: Ipv4Addr, disk: Disk) -> Departure {
        if promise == Promise::New {
            self.addresses.insert(ip);
        }
        match (promise, disk) {
            (Promise::Reservation, _) => Departure::Now,
            (_, Disk::Hangs) if self.is_kept_by_disk(promise, ip) => Departure::Now,
            _ => Departure::OnceWritten,
        }
    }

    /// A write has succeeded, so all leases are on disk but those of which a line waits for the next: after one that failed, the whole
    /// journal is written.
    pub fn note_written(&mut self, waits: impl Fn(Ipv4Addr) -> bool) {
        self.addresses.retain(|ip| waits(*ip));
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
    fn on_a_disk_that_fails_or_hangs_leases_that_are_on_disk_are_renewed_and_new_ones_wait() {
        let [old, new, third] = [1, 2, 3].map(|last| Ipv4Addr::new(10, 0, 0, last));
        let mut unwritten = Unwritten::default();
        assert_eq!(unwritten.promise(Promise::Renewal, old, Disk::Answers), Departure::OnceWritten);
        assert_eq!(unwritten.promise(Promise::New, new, Disk::Answers), Departure::OnceWritten);
        assert_eq!(unwritten.promise(Promise::Renewal, old, Disk::Hangs), Departure::Now);
        // A client that asks again holds its lease in memory by then, and on no disk.
        for promise in [Promise::New, Promise::Renewal] {
            assert_eq!(unwritten.promise(promise, new, Disk::Hangs), Departure::OnceWritten, "{promise:?}");
            assert!(!unwritten.is_kept_by_disk(promise, new), "{promise:?} of what no line on disk gives");
        }
        unwritten.promise(Promise::New, third, Disk::Answers);
        unwritten.note_written(|ip| ip == third || ip == old);
        assert!(unwritten.is_kept_by_disk(Promise::Renewal, new));
        assert!(!unwritten.is_kept_by_disk(Promise::New, new));
        assert!(!unwritten.is_kept_by_disk(Promise::Renewal, third), "its line waits for the next write");
    }

    #[test]
    fn a_reservation_waits_for_no_disk() {
        let ip = Ipv4Addr::new(10, 0, 0, 20);
        for disk in [Disk::Answers, Disk::Hangs] {
            assert_eq!(Unwritten::default().promise(Promise::Reservation, ip, disk), Departure::Now);
        }
    }
}
