//! Addresses that are leased and perhaps not used, asked after by ARP for a machine of the site that lacks one: those of strangers, and
//! the one that a machine's other card leases.
//!
//! **Invariant:** an address counts as unused only after it was asked after three times, a second apart, and nobody answered; and
//! nothing is asked but while a machine of the site lacks an address. PURE.

use jiff::{SignedDuration, Timestamp};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// How often an address is asked after: one answer may be lost, and a system that sleeps lightly answers the second question.
const ASKED: u8 = 3;
/// Addresses of a network asked after at the same time; a ROM repeats its question after four seconds (C9), and has one of them.
const AT_ONCE: usize = 16;
/// Questions are a second apart, or nearly: what is answered is heard within milliseconds.
const APART: SignedDuration = SignedDuration::from_millis(800);
/// How long a machine's question is followed: a ROM asks for a minute.
const FOLLOWED: SignedDuration = SignedDuration::from_mins(1);
/// How long silence counts.
pub const COUNTS_FOR: SignedDuration = SignedDuration::from_secs(30);

/// What is asked after, and on which wires.
#[derive(Debug, Default)]
pub struct Silences {
    /// Interfaces on which a machine of the site lacks an address, and when it last said so. No more than there are interfaces.
    lacking: BTreeMap<String, Timestamp>,
    asked: BTreeMap<Ipv4Addr, Asked>,
    /// Addresses that a machine's other card leases, and the interface on which the machine asks. No more than there are reservations.
    awaited: BTreeMap<Ipv4Addr, (String, Asked)>,
    /// Where the walk through the strangers' addresses is, by the last address of the range.
    walked: BTreeMap<Ipv4Addr, Ipv4Addr>,
}

#[derive(Debug, Clone, Copy)]
struct Asked {
    times: u8,
    last: Timestamp,
}

/// What is to be done on a wire now.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Addresses to ask after.
    pub ask: Vec<Ipv4Addr>,
    /// Addresses that nobody uses.
    pub silent: Vec<Ipv4Addr>,
}

impl Silences {
    /// A machine of the site was told on this interface that no address is free.
    pub fn lack(&mut self, interface: &str, now: Timestamp) {
        self.lacking.insert(interface.to_owned(), now);
    }

    /// A machine asks on this interface through another card than the one that leases its address; whether that one is to be asked after
    /// at once, for it is not yet.
    pub fn await_card(&mut self, interface: &str, ip: Ipv4Addr, now: Timestamp) -> bool {
        let is_new = !self.awaited.contains_key(&ip);
        self.awaited.entry(ip).or_insert_with(|| (interface.to_owned(), Asked { times: 1, last: now }));
        is_new
    }

    /// The next questions about the addresses that machines' other cards lease, and what came of those before.
    pub fn ask_cards(&mut self, interface: &str, now: Timestamp) -> Round {
        let mut round = Round::default();
        for (ip, (_, asked)) in self.awaited.iter_mut().filter(|(_, (on, asked))| on == interface && asked.last + APART <= now) {
            match asked.times < ASKED {
                true => {
                    *asked = Asked { times: asked.times + 1, last: now };
                    round.ask.push(*ip);
                }
                false => round.silent.push(*ip),
            }
        }
        self.awaited.retain(|ip, _| !round.silent.contains(ip));
        round
    }

    /// Somebody answers for an address.
    pub fn heard(&mut self, ip: Ipv4Addr) {
        self.asked.remove(&ip);
        self.awaited.remove(&ip);
    }

    /// The next questions about one range, and what came of those before. `strangers` are the addresses that strangers lease, behind
    /// the one it is given.
    pub fn ask<I>(
        &mut self,
        interface: &str,
        (first, last): (Ipv4Addr, Ipv4Addr),
        now: Timestamp,
        strangers: impl Fn(Ipv4Addr) -> I,
    ) -> Round
    where
        I: Iterator<Item = Ipv4Addr>,
    {
        let mut round = Round::default();
        if self.lacking.get(interface).is_none_or(|since| *since + FOLLOWED <= now) {
            self.lacking.remove(interface);
            self.asked.retain(|ip, _| !(first..=last).contains(ip));
            return round;
        }
        for (ip, asked) in self.asked.range_mut(first..=last).filter(|(_, asked)| asked.last + APART <= now) {
            match asked.times < ASKED {
                true => {
                    *asked = Asked { times: asked.times + 1, last: now };
                    round.ask.push(*ip);
                }
                false => round.silent.push(*ip),
            }
        }
        self.asked.retain(|ip, _| !round.silent.contains(ip));
        let room = AT_ONCE.saturating_sub(self.asked.range(first..=last).count());
        let start = self.walked.get(&last).copied().unwrap_or(last);
        let before = |ip: Ipv4Addr| Ipv4Addr::from(u32::from(ip).saturating_sub(1));
        // From where the last round ended, and then from the beginning.
        let is_next = |ip: &Ipv4Addr| !self.asked.contains_key(ip) && !round.silent.contains(ip);
        let found: Vec<_> = strangers(start).chain(strangers(before(first))).filter(is_next).take(room).collect();
        for ip in found {
            // The walk may come round to where it began.
            if self.asked.insert(ip, Asked { times: 1, last: now }).is_none() {
                self.walked.insert(last, ip);
                round.ask.push(ip);
            }
        }
        round
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const RANGE: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 100));

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    /// Strangers lease .1 to .40.
    fn strangers(behind: Ipv4Addr) -> impl Iterator<Item = Ipv4Addr> {
        (1..=40).map(|last| Ipv4Addr::new(10, 0, 0, last)).filter(move |ip| *ip > behind)
    }

    #[test]
    fn nothing_is_asked_while_no_machine_lacks_an_address() {
        let mut silences = Silences::default();
        assert_eq!(silences.ask("eno1", RANGE, at(0), strangers), Round::default());
        silences.lack("eno1", at(0));
        assert_eq!(silences.ask("eno2", RANGE, at(0), strangers), Round::default(), "another wire");
        assert_eq!(silences.ask("eno1", RANGE, at(0), strangers).ask.len(), AT_ONCE);
        assert_eq!(silences.ask("eno1", RANGE, at(61), strangers), Round::default(), "it has gone");
        assert!(silences.asked.is_empty() && silences.lacking.is_empty());
    }

    #[test]
    fn a_machines_other_card_is_silent_after_three_questions_and_one_answer_ends_them() {
        let (mut silences, ip) = (Silences::default(), Ipv4Addr::new(10, 0, 0, 77));
        assert!(silences.await_card("eno1", ip, at(0)) && !silences.await_card("eno1", ip, at(0)));
        assert_eq!(silences.ask_cards("eno2", at(1)), Round::default(), "another wire");
        for second in [1, 2] {
            assert_eq!(silences.ask_cards("eno1", at(second)), Round { ask: vec![ip], silent: vec![] });
            assert_eq!(silences.ask_cards("eno1", at(second)), Round::default(), "not twice in a second");
        }
        assert_eq!(silences.ask_cards("eno1", at(3)), Round { ask: vec![], silent: vec![ip] });
        assert_eq!(silences.ask_cards("eno1", at(4)), Round::default());
        assert!(silences.await_card("eno1", ip, at(5)), "asked anew");
        silences.heard(ip);
        assert!((6..20).all(|second| silences.ask_cards("eno1", at(second)) == Round::default()));
    }

    #[test]
    fn only_who_says_nothing_to_three_questions_is_silent_and_all_are_asked_in_turn() {
        let mut silences = Silences::default();
        let answers = |ip: &Ipv4Addr| ip.octets()[3].is_multiple_of(3);
        let (mut silent, mut asked) = (BTreeSet::new(), BTreeMap::<_, u8>::new());
        for second in 0..30 {
            silences.lack("eno1", at(second));
            let round = silences.ask("eno1", RANGE, at(second), strangers);
            assert!(round.silent.iter().all(|ip| asked[ip] >= ASKED), "{round:?}");
            assert!(round.ask.len() <= AT_ONCE);
            round.ask.iter().for_each(|ip| *asked.entry(*ip).or_default() += 1);
            round.ask.iter().filter(|ip| answers(ip)).for_each(|ip| silences.heard(*ip));
            let again = silences.ask("eno1", RANGE, at(second), |_| std::iter::empty::<Ipv4Addr>());
            assert!(again.ask.is_empty(), "not twice in a second");
            silent.extend(round.silent);
        }
        assert_eq!(silent.len(), 40 - 40 / 3);
        assert!(!silent.iter().any(answers));
    }
}
