//! Which connections are open, and which one makes room for another.
//!
//! **Invariant:** a connection that is being answered is never closed for another; one on which nothing moves always is, so
//! neither a thousand silent clients nor one greedy address keep a machine out. PURE.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Connections at once: a room of 200 machines with a few each.
pub const MOST: usize = 1024;
/// Connections at once for one address: a machine has one or two, a load test or a proxy some.
pub const MOST_FOR_ONE: usize = 256;
/// After so long without a request or a byte taken, a connection may be closed to make room for another.
const QUIET: Duration = Duration::from_secs(1);

/// When something last moved on a connection, in milliseconds of whatever clock the caller has: a request came, or bytes left.
#[derive(Debug, Clone, Default)]
pub struct Activity(Arc<AtomicU64>);

impl Activity {
    /// Something moved.
    pub fn touch(&self, now: Duration) {
        self.0.store(millis(now), Ordering::Relaxed);
    }

    fn quiet_for(&self, now: Duration) -> Duration {
        Duration::from_millis(millis(now).saturating_sub(self.0.load(Ordering::Relaxed)))
    }
}

/// The mark of a connection that is being answered, and when it is.
#[derive(Debug, Clone, Copy)]
pub struct Busy<'a> {
    /// The mark.
    pub activity: &'a Activity,
    /// The time now.
    pub now: Duration,
}

impl Busy<'_> {
    /// Nothing will move for so long, because the answer is being made.
    pub fn touch_for(&self, time: Duration) {
        self.activity.touch(self.now + time);
    }
}

/// What is to be done with a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission<K> {
    /// It is welcome.
    Welcome,
    /// It is welcome when this one is closed.
    Instead(K),
    /// It is closed.
    Refused,
}

/// The open connections, by a key of the caller's.
#[derive(Debug)]
pub struct Connections<K>(BTreeMap<K, (IpAddr, Activity)>);

impl<K: Copy + Ord> Connections<K> {
    /// None.
    pub fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Decides about a new connection.
    pub fn admit(&self, peer: IpAddr, now: Duration) -> Admission<K> {
        let full = if self.0.values().filter(|(known, _)| *known == peer).count() >= MOST_FOR_ONE {
            Some(self.quietest(Some(peer), now))
        } else {
            (self.0.len() >= MOST).then(|| self.quietest(None, now))
        };
        match full {
            None => Admission::Welcome,
            Some(Some(quietest)) => Admission::Instead(quietest),
            Some(None) => Admission::Refused,
        }
    }

    /// Whether somebody could be admitted; while nobody can, new connections had better wait in the kernel.
    pub fn has_room(&self, now: Duration) -> bool {
        self.0.len() < MOST || self.quietest(None, now).is_some()
    }

    /// Takes a connection in.
    pub fn open(&mut self, key: K, peer: IpAddr, activity: Activity) {
        self.0.insert(key, (peer, activity));
    }

    /// Forgets a connection.
    pub fn close(&mut self, key: &K) {
        self.0.remove(key);
    }

    fn quietest(&self, peer: Option<IpAddr>, now: Duration) -> Option<K> {
        let candidates = self.0.iter().filter(|(_, (known, _))| peer.is_none_or(|peer| *known == peer));
        let quiet = candidates.map(|(key, (_, activity))| (activity.quiet_for(now), *key)).filter(|(quiet, _)| *quiet >= QUIET);
        quiet.max_by_key(|(quiet, _)| *quiet).map(|(_, key)| key)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn address(number: usize) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + u32::try_from(number).expect("few")).into()
    }

    /// So many connections of so many addresses; the first moved first.
    fn room(count: usize, addresses: usize) -> Connections<usize> {
        let mut connections = Connections::none();
        for key in 0..count {
            let activity = Activity::default();
            activity.touch(Duration::from_millis(key as u64));
            connections.open(key, address(key % addresses), activity);
        }
        connections
    }

    const LATER: Duration = Duration::from_secs(60);

    #[test]
    fn a_connection_whose_answer_is_being_made_is_not_the_quietest() {
        let connections = room(MOST, MOST);
        connections.0.values().for_each(|(_, activity)| {
            Busy { activity, now: Duration::from_secs(10) }.touch_for(Duration::from_secs(3));
        });
        assert!(!connections.has_room(Duration::from_secs(13)), "they are being answered");
        assert!(connections.has_room(Duration::from_secs(14)), "that took too long");
    }

    #[test]
    fn an_address_that_has_enough_gives_up_its_own_quietest() {
        let mut connections = room(MOST_FOR_ONE * 2, 2);
        assert_eq!(connections.admit(address(1), LATER), Admission::Instead(1));
        assert_eq!(connections.admit(address(2), LATER), Admission::Welcome);
        assert_eq!(connections.admit(address(1), Duration::from_millis(900)), Admission::Refused, "all of it just moved");
        connections.close(&1);
        assert_eq!(connections.admit(address(1), LATER), Admission::Welcome);
    }

    #[test]
    fn a_full_service_gives_up_the_quietest_of_all_and_nobody_who_is_answered() {
        let connections = room(MOST, MOST);
        assert!(connections.has_room(LATER));
        assert_eq!(connections.admit(address(5000), LATER), Admission::Instead(0));
        assert!(!connections.has_room(Duration::from_millis(900)));
        assert_eq!(connections.admit(address(5000), Duration::from_millis(900)), Admission::Refused);
    }
}
