//! Which connections are open, and which one makes room for another.
//!
//! **Invariant:** one on which nothing moves makes room first. Where all are busy, one of the address that has the most does, and a
//! stranger's before a machine's of the site: neither a thousand silent clients nor a thousand busy ones of a few addresses keep a
//! machine out, and no address that has one connection loses it to an equal. PURE.

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

/// Whom a connection is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// An address that the site gives to no machine.
    Stranger(IpAddr),
    /// An address of a machine of the site.
    Machine(IpAddr),
}

impl Peer {
    fn is_machine(self) -> bool {
        matches!(self, Self::Machine(_))
    }
}

/// The open connections, by a key of the caller's.
#[derive(Debug)]
pub struct Connections<K>(BTreeMap<K, (Peer, Activity)>);

impl<K: Copy + Ord> Connections<K> {
    /// None.
    pub fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Decides about a new connection.
    pub fn admit(&self, peer: Peer, now: Duration) -> Admission<K> {
        let own = self.0.values().filter(|(known, _)| *known == peer).count();
        let full = if own >= MOST_FOR_ONE {
            Some(self.quietest(Some(peer), now))
        } else {
            (self.0.len() >= MOST).then(|| self.quietest(None, now).or_else(|| self.least(peer, own, now)))
        };
        match full {
            None => Admission::Welcome,
            Some(Some(key)) => Admission::Instead(key),
            Some(None) => Admission::Refused,
        }
    }

    /// Whether somebody could be admitted; while nobody can, new connections had better wait in the kernel.
    pub fn has_room(&self, now: Duration) -> bool {
        let makes_room = || self.counts().into_iter().any(|(peer, count)| count > 1 || !peer.is_machine());
        self.0.len() < MOST || makes_room() || self.quietest(None, now).is_some()
    }

    /// The busy connection that makes room for a newcomer that has so many already: the quietest of the peer with the most.
    fn least(&self, newcomer: Peer, own: usize, now: Duration) -> Option<K> {
        let counts = self.counts();
        let (most, count) = counts.iter().max_by_key(|(peer, count)| (!peer.is_machine(), **count))?;
        let is_worth_less = match (most.is_machine(), newcomer.is_machine()) {
            (false, true) => true,
            (true, false) => false,
            _ => *count > own + 1,
        };
        let of_most = self.0.iter().filter(|(_, (peer, _))| peer == most);
        of_most.max_by_key(|(_, (_, activity))| activity.quiet_for(now)).filter(|_| is_worth_less).map(|(key, _)| *key)
    }

    fn counts(&self) -> BTreeMap<Peer, usize> {
        let mut counts = BTreeMap::new();
        self.0.values().for_each(|(peer, _)| *counts.entry(*peer).or_default() += 1);
        counts
    }

    /// Takes a connection in.
    pub fn open(&mut self, key: K, peer: Peer, activity: Activity) {
        self.0.insert(key, (peer, activity));
    }

    /// Forgets a connection.
    pub fn close(&mut self, key: &K) {
        self.0.remove(key);
    }

    fn quietest(&self, peer: Option<Peer>, now: Duration) -> Option<K> {
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

    fn address(number: usize) -> Peer {
        Peer::Stranger(Ipv4Addr::from(0x0a00_0000 + u32::try_from(number).expect("few")).into())
    }

    /// So many connections of so many addresses; the first moved first.
    fn room(count: usize, addresses: usize) -> Connections<usize> {
        of(count, |key| address(key % addresses))
    }

    /// As many as there may be, one for each machine of a site.
    fn machines() -> Connections<usize> {
        of(MOST, |key| Peer::Machine(Ipv4Addr::from(0x0a00_0000 + key as u32).into()))
    }

    fn of(count: usize, peer: impl Fn(usize) -> Peer) -> Connections<usize> {
        let mut connections = Connections::none();
        for key in 0..count {
            let activity = Activity::default();
            activity.touch(Duration::from_millis(key as u64));
            connections.open(key, peer(key), activity);
        }
        connections
    }

    const LATER: Duration = Duration::from_secs(60);

    #[test]
    fn a_connection_whose_answer_is_being_made_is_not_the_quietest() {
        let connections = machines();
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
    fn busy_clients_of_a_few_addresses_keep_nobody_out_and_a_machine_of_the_site_goes_before_strangers() {
        let now = Duration::from_millis(900);
        let connections = room(MOST, 4);
        assert!(connections.has_room(now), "each of four addresses has many");
        assert!(matches!(connections.admit(address(9), now), Admission::Instead(_)));
        let machine = Peer::Machine(Ipv4Addr::new(192, 168, 1, 101).into());
        assert!(room(MOST, MOST).has_room(now), "for a machine of the site");
        let one_each = room(MOST, MOST);
        assert_eq!(one_each.admit(address(5000), now), Admission::Refused, "all have one, and all are busy");
        assert!(matches!(one_each.admit(machine, now), Admission::Instead(_)));
        let mut machines = Connections::none();
        (0..MOST).for_each(|key| machines.open(key, machine, Activity::default()));
        (0..MOST).for_each(|key| machines.0.values().nth(key).into_iter().for_each(|(_, activity)| activity.touch(now)));
        assert_eq!(machines.admit(address(1), now), Admission::Refused, "a stranger takes nothing of a machine's");
    }

    #[test]
    fn a_full_service_gives_up_the_quietest_of_all_and_nobody_who_is_answered() {
        let connections = room(MOST, MOST);
        assert!(connections.has_room(LATER));
        assert_eq!(connections.admit(address(5000), LATER), Admission::Instead(0));
        assert!(!machines().has_room(Duration::from_millis(900)), "whoever comes, nobody is worth less");
        assert_eq!(connections.admit(address(5000), Duration::from_millis(900)), Admission::Refused);
    }
}
