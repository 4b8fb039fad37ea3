//! Which transfer gives way where there is no room for another.
//!
//! **Invariant:** pure; one that never acknowledged anything gives way first, whatever address it shows: anybody can write the address of
//! a machine into a request, and only who has the address can acknowledge. Of these it is the oldest, so that one is ended only once as
//! many were begun after it as there is room for, and whoever acknowledges as fast as a network goes is not. Among those that did
//! acknowledge a stranger's gives way to a machine's of the site, and the one of an address that has more than others; a machine is known
//! by the address that is reserved for it or that it leases.

use std::{cmp::Reverse, collections::BTreeMap, net::IpAddr, time::Instant};

/// Transfers at once: a room of 200 machines with some that asked twice, and descriptors to spare.
const MOST_TRANSFERS: usize = 512;
/// Transfers at once for one address: a ROM has one, a test bench behind one address a few.
const MOST_FOR_ONE: usize = 16;

/// Whose an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// No machine's of the site, as far as is known.
    Stranger,
    /// A machine's of the site.
    Machine,
}

/// Whether somebody is at the other end; the least gives way first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    /// Nothing was ever acknowledged.
    Silent,
    /// Something was.
    Heard(Peer),
}

/// A transfer that runs.
#[derive(Debug, Clone, Copy)]
pub struct Running {
    /// Its number.
    pub token: u64,
    /// The address it goes to.
    pub ip: IpAddr,
    /// Whether somebody is there.
    pub life: Life,
    /// When it was begun.
    pub begun: Instant,
}

/// Whether there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// There is.
    Free,
    /// Once this transfer is ended.
    InPlaceOf(u64),
    /// There is none.
    Full,
}

/// Finds room for a transfer of an address.
pub fn find_room(running: &[Running], newcomer: IpAddr, whose: Peer) -> Room {
    let mut of_each: BTreeMap<IpAddr, usize> = BTreeMap::new();
    running.iter().for_each(|transfer| *of_each.entry(transfer.ip).or_default() += 1);
    let count = |ip: IpAddr| of_each.get(&ip).copied().unwrap_or_default();
    let in_place_of = |transfer: Option<&Running>| transfer.map_or(Room::Full, |transfer| Room::InPlaceOf(transfer.token));
    if count(newcomer) >= MOST_FOR_ONE {
        // Its own, and only one that never took anything: what it is being sent it may want.
        let own = running.iter().filter(|transfer| transfer.ip == newcomer && transfer.life == Life::Silent);
        return in_place_of(own.min_by_key(|transfer| (transfer.begun, transfer.token)));
    }
    if running.len() < MOST_TRANSFERS {
        return Room::Free;
    }
    let rank = |transfer: &&Running| {
        // Whoever writes addresses makes up how many each has, too.
        let counted = if transfer.life == Life::Silent { 0 } else { count(transfer.ip) };
        (transfer.life, Reverse(counted), transfer.begun, transfer.token)
    };
    let least = running.iter().min_by_key(rank);
    let is_worth_less = |transfer: &&Running| match transfer.life {
        Life::Silent => true,
        Life::Heard(other) if other == whose => count(transfer.ip) > count(newcomer) + 1,
        Life::Heard(other) => other < whose,
    };
    in_place_of(least.filter(is_worth_less))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs a moment to count from")]
mod tests {
    use super::*;
    use std::{net::Ipv4Addr, time::Duration};

    /// What runs, and who has which address: below 10.0.1.0 all are reserved for machines.
    struct Model {
        running: Vec<Running>,
        now: Instant,
        next: u64,
    }

    fn ip(n: u16) -> IpAddr {
        let [high, low] = n.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(10, 0, high, low))
    }

    fn whose(n: u16) -> Peer {
        if n < 256 { Peer::Machine } else { Peer::Stranger }
    }

    impl Model {
        fn new() -> Self {
            Self { running: Vec::new(), now: Instant::now(), next: 0 }
        }

        /// A request; the number of its transfer, if it is begun.
        fn ask(&mut self, n: u16) -> Option<u64> {
            match find_room(&self.running, ip(n), whose(n)) {
                Room::Free => {}
                Room::InPlaceOf(token) => self.running.retain(|transfer| transfer.token != token),
                Room::Full => return None,
            }
            self.next += 1;
            self.running.push(Running { token: self.next, ip: ip(n), life: Life::Silent, begun: self.now });
            Some(self.next)
        }

        /// A request that nobody goes on with.
        fn flood(&mut self, n: u16) {
            let _ = self.ask(n);
        }

        fn acknowledge(&mut self, n: u16, token: u64) {
            for transfer in self.running.iter_mut().filter(|transfer| transfer.token == token) {
                transfer.life = Life::Heard(whose(n));
            }
        }

        fn runs(&self, token: u64) -> bool {
            self.running.iter().any(|transfer| transfer.token == token)
        }
    }

    #[test]
    fn who_acknowledges_is_served_whatever_addresses_those_show_who_never_do() {
        // The site is in proxy mode, say: nobody knows whose the newcomer's address is.
        let stranger = 0x0200;
        type Forged = fn(u16) -> u16;
        let floods: [(&str, Forged); 4] = [
            ("reserved addresses", |n| n % 256),
            ("nine for each of 57 reserved addresses", |n| n / 9 % 57),
            ("addresses of nobody, each once", |n| 0x0300 + n % 0x8000),
            ("all of these", |n| n.wrapping_mul(31) % 0x8000),
        ];
        for (what, forged) in floods {
            for newcomer in [stranger, 7] {
                let mut model = Model::new();
                for n in 0..520 {
                    model.now += Duration::from_millis(1);
                    model.flood(forged(n));
                }
                let served = (0..2).all(|round| {
                    let token = model.ask(newcomer).unwrap_or_else(|| panic!("{what}: {newcomer:#x} is kept out"));
                    // An acknowledgement takes the time in which a hundred more requests come.
                    (0..100).for_each(|n| model.flood(forged(520 + round * 100 + n)));
                    assert!(model.runs(token), "{what}: {newcomer:#x} was ended before it could acknowledge");
                    model.acknowledge(newcomer, token);
                    (0..300).for_each(|n| model.flood(forged(n)));
                    let is_served = model.runs(token);
                    model.running.retain(|transfer| transfer.token != token);
                    is_served
                });
                assert!(served, "{what}: {newcomer:#x} was ended though it acknowledged");
                assert!(model.running.len() <= MOST_TRANSFERS);
            }
        }
    }

    #[test]
    fn among_those_who_acknowledge_a_machine_of_the_site_comes_before_strangers() {
        let mut model = Model::new();
        for n in 0..MOST_TRANSFERS as u16 {
            let token = model.ask(0x0300 + n / 8).expect("there is room");
            model.acknowledge(0x0300 + n / 8, token);
        }
        let machine = model.ask(7).expect("a machine is let in");
        model.acknowledge(7, machine);
        let other = model.ask(0x0200).expect("a stranger with one is let in before those with eight");
        model.acknowledge(0x0200, other);
        assert!(model.runs(machine));
        let mut full = Model::new();
        for n in 0..MOST_TRANSFERS as u16 {
            let token = full.ask(n / 4).expect("there is room");
            full.acknowledge(n / 4, token);
        }
        assert_eq!(full.ask(0x0200), None, "machines of the site that acknowledge keep their transfers");
        assert!(full.ask(200).is_some(), "but one that has more than another gives one up");
    }

    #[test]
    fn one_address_has_its_share_and_begins_anew_in_place_of_what_it_never_acknowledged() {
        let mut model = Model::new();
        let first = model.ask(7).expect("there is room");
        let second = model.ask(7).expect("there is room");
        model.acknowledge(7, first);
        (2..MOST_FOR_ONE).for_each(|_| assert!(model.ask(7).is_some()));
        assert!(model.ask(7).is_some() && model.runs(first) && !model.runs(second));
        let all: Vec<u64> = model.running.iter().map(|transfer| transfer.token).collect();
        all.into_iter().for_each(|token| model.acknowledge(7, token));
        assert_eq!(model.ask(7), None);
    }
}
