//! What `serve` heard of each machine, and the boots it gave a number: all it can claim when it asks the agent for a disk.
//!
//! **Invariant:** pure; every list has a bound, and when one is full the client with the most entries loses one first, so that
//! no client's flood takes another machine's boot or its signs away. Losing all of it makes machines ask again and nothing else.

use crate::boot::{
    assignment::{CLAIMS_KEPT, Claims, Discover, Fetch, Stamp},
    table::FixedTable,
};
use crate::names::{BootNonce, MachineName};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, Ipv4Addr},
};

/// Boots that are known: a machine takes its script within a second of its number, so this is a room of a thousand that starts
/// four times at once.
const MOST_BOOTS: usize = 4096;

/// Addresses whose fetches of one machine's script are kept: the machine's own two cards, and whoever is curious.
const MOST_PEERS: usize = 8;

/// All that was heard.
#[derive(Debug, Default)]
pub struct Heard {
    boots: Boots,
    machines: BTreeMap<MachineName, HeardOf>,
}

/// The boots that were given a number.
#[derive(Debug, Default)]
struct Boots {
    issued: BTreeMap<BootNonce, Fetch>,
    /// Each client's, oldest first, by their order.
    by_peer: BTreeMap<IpAddr, VecDeque<(u64, BootNonce)>>,
    /// Who loses one first is the last: the most boots, and among equals the oldest.
    losers: BTreeSet<(usize, Reverse<u64>, IpAddr)>,
    order: u64,
}

/// What was heard of one machine.
#[derive(Debug, Default)]
struct HeardOf {
    discovers: VecDeque<Discover>,
    fetches: BTreeMap<IpAddr, VecDeque<Stamp>>,
}

impl Heard {
    /// Takes a boot in that begins with this fetch of the first script.
    pub fn issue(&mut self, boot: BootNonce, first: Fetch) {
        self.boots.insert(boot, Fetch { peer: first.peer.to_canonical(), ..first });
    }

    /// The fetch that a boot began with; `None` for a boot that is not known.
    pub fn issued(&self, boot: BootNonce) -> Option<Fetch> {
        self.boots.issued.get(&boot).copied()
    }

    /// Takes note of a DISCOVER that was answered.
    ///
    /// Whoever writes in the machine's name has other addresses offered to it: what makes room for them is what was said again since, and
    /// never the last word of an address that the machine leases.
    pub fn note_discover(
        &mut self,
        table: &FixedTable,
        machine: &MachineName,
        discover: Discover,
        is_its_own: impl Fn(Ipv4Addr) -> bool,
    ) {
        let heard = &mut self.of(table, machine).discovers;
        if heard.len() >= CLAIMS_KEPT {
            let is_said_again =
                |n: usize| heard.iter().skip(n + 1).chain([&discover]).any(|later| later.address == heard[n].address);
            let is_kept = |n: usize| heard[n].address.is_some_and(&is_its_own);
            let oldest = (0..heard.len()).min_by_key(|n| (!is_said_again(*n), is_kept(*n), *n));
            oldest.map(|n| heard.remove(n));
        }
        heard.push_back(discover);
    }

    /// Takes note of a fetch of a machine's script with a boot that is known.
    pub fn note_fetch(&mut self, table: &FixedTable, machine: &MachineName, Fetch { at, peer }: Fetch) {
        let reserved = table.machines.get(machine).and_then(|machine| machine.ip);
        self.of(table, machine).note_fetch(at, peer.to_canonical(), reserved);
    }

    /// What can be claimed of a machine's boot when this peer asks; `None` for a boot that is not known.
    pub fn claims(&self, machine: &MachineName, boot: BootNonce, peer: IpAddr, boot_id: &str, now: Stamp) -> Option<Claims> {
        let issued = self.issued(boot)?;
        let of = self.machines.get(machine);
        let peer = peer.to_canonical();
        let stamps = of.and_then(|of| of.fetches.get(&peer));
        Some(Claims {
            boot_id: boot_id.to_owned(),
            now,
            discovers: of.map(|of| of.discovers.iter().copied().collect()).unwrap_or_default(),
            issued,
            fetches: stamps.into_iter().flatten().map(|at| Fetch { at: *at, peer }).collect(),
        })
    }

    fn of(&mut self, table: &FixedTable, machine: &MachineName) -> &mut HeardOf {
        if !self.machines.contains_key(machine) {
            // A machine that left the site makes room for the new one.
            self.machines.retain(|known, _| table.machines.contains_key(known));
        }
        self.machines.entry(machine.clone()).or_default()
    }
}

impl HeardOf {
    fn note_fetch(&mut self, at: Stamp, peer: IpAddr, reserved: Option<Ipv4Addr>) {
        if !self.fetches.contains_key(&peer) && self.fetches.len() >= MOST_PEERS {
            // What is reserved for the machine, or was offered to it.
            let offered: Vec<Ipv4Addr> = self.discovers.iter().filter_map(|discover| discover.address).collect();
            let is_own = |peer: &IpAddr| reserved.iter().chain(&offered).any(|own| *peer == *own);
            let others = self.fetches.iter().filter(|(peer, _)| !is_own(peer));
            let oldest = others.min_by_key(|(_, stamps)| stamps.back().copied()).map(|(peer, _)| *peer);
            oldest.map(|peer| self.fetches.remove(&peer));
        }
        push(self.fetches.entry(peer).or_default(), at);
    }
}

impl Boots {
    fn insert(&mut self, boot: BootNonce, first: Fetch) {
        if self.issued.insert(boot, first).is_some() {
            // Sixty-four random bits that came twice: it stands already, and the table would lose it by halves.
            return;
        }
        self.order += 1;
        let order = self.order;
        self.of_peer(first.peer, |boots| boots.push_back((order, boot)));
        if self.issued.len() > MOST_BOOTS
            && let Some((_, _, loser)) = self.losers.last().copied()
        {
            let mut lost = None;
            self.of_peer(loser, |boots| lost = boots.pop_front());
            lost.map(|(_, boot)| self.issued.remove(&boot));
        }
    }

    /// Changes one client's boots, and keeps its place among the losers.
    fn of_peer(&mut self, peer: IpAddr, change: impl FnOnce(&mut VecDeque<(u64, BootNonce)>)) {
        let boots = self.by_peer.entry(peer).or_default();
        let place = |boots: &VecDeque<(u64, BootNonce)>| boots.front().map(|(order, _)| (boots.len(), Reverse(*order), peer));
        place(boots).map(|place| self.losers.remove(&place));
        change(boots);
        match place(boots) {
            Some(place) => drop(self.losers.insert(place)),
            None => drop(self.by_peer.remove(&peer)),
        }
    }
}

fn push<T>(list: &mut VecDeque<T>, newest: T) {
    if list.len() >= CLAIMS_KEPT {
        list.pop_front();
    }
    list.push_back(newest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::table::BootTable;

    fn table(machines: &[&str]) -> FixedTable {
        let machine = |n: usize| {
            serde_json::json!({ "macs": [format!("02:00:00:00:00:{n:02x}")], "ip": format!("10.0.0.{}", n + 1), "firmware": null,
                "default": "win11", "script": "#!ipxe\n" })
        };
        let machines: BTreeMap<_, _> = machines.iter().enumerate().map(|(n, name)| ((*name).to_owned(), machine(n))).collect();
        let text = serde_json::json!({
            "version": 2, "site": "cat", "tftp-address": "10.0.0.2", "http-address": "10.0.0.2", "http-port": 8080, "loaders": null,
            "networks": {}, "machines": machines, "unknown-script": "#!ipxe\n", "assets": [] });
        BootTable::parse(&text.to_string()).expect("a table").into()
    }

    fn nonce(n: u64) -> BootNonce {
        BootNonce::from_octets(n.to_be_bytes())
    }

    fn peer(n: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + n).into()
    }

    fn fetch(at: u64, by: u32) -> Fetch {
        Fetch { at: Stamp(at), peer: peer(by) }
    }

    fn name(name: &str) -> MachineName {
        name.parse().expect("a machine")
    }

    #[test]
    fn a_flood_of_one_client_takes_no_boot_of_another() {
        let mut heard = Heard::default();
        heard.issue(nonce(1), fetch(1, 1));
        (0..10_000).for_each(|n| heard.issue(nonce(1000 + n), fetch(2 + n, 2)));
        assert_eq!(heard.issued(nonce(1)), Some(fetch(1, 1)));
        assert_eq!((heard.boots.issued.len(), heard.boots.by_peer.len(), heard.boots.losers.len()), (MOST_BOOTS, 2, 2));
        assert_eq!((heard.issued(nonce(1000)), heard.issued(nonce(10_999)).is_some()), (None, true), "its oldest goes first");
        // Where each has one, the oldest goes.
        let mut heard = Heard::default();
        (0..MOST_BOOTS as u64 + 3).for_each(|n| heard.issue(nonce(n), fetch(n, u32::try_from(n).expect("few"))));
        assert_eq!((heard.issued(nonce(2)), heard.issued(nonce(3)).is_some()), (None, true));
        assert_eq!(heard.boots.by_peer.len(), MOST_BOOTS);
    }

    #[test]
    fn claims_are_of_the_machine_and_the_peer_that_asks_and_the_newest() {
        let table = table(&["pc01", "pc02"]);
        let mut heard = Heard::default();
        heard.issue(nonce(7), fetch(5, 1));
        for at in 0..20 {
            let discover = Discover { at: Stamp(at), address: Some(Ipv4Addr::new(10, 0, 0, 1)) };
            heard.note_discover(&table, &name("pc01"), discover, |_| false);
            heard.note_fetch(&table, &name("pc01"), fetch(at, 1));
            heard.note_fetch(&table, &name("pc02"), fetch(at, 1));
        }
        heard.note_fetch(&table, &name("pc01"), fetch(99, 2));
        let mapped = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().into();
        let claims = heard.claims(&name("pc01"), nonce(7), mapped, "x", Stamp(100)).expect("a boot that is known");
        assert_eq!((claims.discovers.len(), claims.discovers[0].at, claims.issued), (CLAIMS_KEPT, Stamp(12), fetch(5, 1)));
        assert_eq!(claims.fetches, (12..20).map(|at| fetch(at, 1)).collect::<Vec<_>>());
        assert!(heard.claims(&name("pc01"), nonce(8), peer(1), "x", Stamp(100)).is_none());
        let other = heard.claims(&name("pc02"), nonce(7), peer(9), "x", Stamp(100)).expect("a boot that is known");
        assert!(other.discovers.is_empty() && other.fetches.is_empty());
    }

    #[test]
    fn whoever_fetches_a_script_does_not_push_out_the_machines_own_fetches() {
        let table = table(&["pc01"]);
        let mut heard = Heard::default();
        heard.issue(nonce(7), fetch(5, 1));
        heard.note_fetch(&table, &name("pc01"), fetch(6, 1));
        let discover = Discover { at: Stamp(1), address: Some(Ipv4Addr::new(10, 0, 1, 1)) };
        heard.note_discover(&table, &name("pc01"), discover, |_| false);
        heard.note_fetch(&table, &name("pc01"), fetch(6, 257));
        (2..200).for_each(|n| heard.note_fetch(&table, &name("pc01"), fetch(u64::from(n) + 10, n)));
        let leased = heard.claims(&name("pc01"), nonce(7), peer(257), "x", Stamp(1000)).expect("a boot that is known");
        assert_eq!(leased.fetches, [fetch(6, 257)]);
        let claims = heard.claims(&name("pc01"), nonce(7), peer(1), "x", Stamp(1000)).expect("a boot that is known");
        assert_eq!((claims.fetches, heard.machines[&name("pc01")].fetches.len()), (vec![fetch(6, 1)], MOST_PEERS));
    }

    #[test]
    fn addresses_that_others_have_offered_to_a_machine_do_not_push_out_the_one_it_leases() {
        let table = table(&["pc01"]);
        let mut heard = Heard::default();
        heard.issue(nonce(7), fetch(5, 1));
        let [own, other] = [238, 239].map(|last| Ipv4Addr::new(10, 0, 0, last));
        let mut note = |at, address| {
            let discover = Discover { at: Stamp(at), address: Some(address) };
            heard.note_discover(&table, &name("pc01"), discover, |ip| ip == own);
        };
        note(1, own);
        (2..4).for_each(|at| note(at, other));
        (10..30).for_each(|at| note(u64::from(at), Ipv4Addr::new(10, 0, 0, at)));
        note(40, own);
        (50..70).for_each(|at| note(u64::from(at), Ipv4Addr::new(10, 0, 0, at)));
        let claims = heard.claims(&name("pc01"), nonce(7), peer(1), "x", Stamp(100)).expect("a boot that is known");
        let said: Vec<_> = claims.discovers.iter().map(|discover| discover.at).collect();
        assert_eq!(said, [40, 63, 64, 65, 66, 67, 68, 69].map(Stamp), "in their order");
    }

    #[test]
    fn a_machine_that_left_the_site_is_forgotten_for_the_next() {
        let mut heard = Heard::default();
        let before = table(&["pc01", "pc02"]);
        heard.note_fetch(&before, &name("pc01"), fetch(1, 1));
        heard.note_fetch(&before, &name("pc02"), fetch(1, 1));
        heard.note_fetch(&table(&["pc02", "pc03"]), &name("pc03"), fetch(2, 1));
        assert_eq!(heard.machines.keys().cloned().collect::<Vec<_>>(), [name("pc02"), name("pc03")]);
    }
}
