//! Ends the search for an IPv6 router that delays a booting iPXE: a router advertisement says that there is none.
//!
//! iPXE fetches its script once every way to an address has come to an end, and it waits 16 s for a router that is not there.
//! **Invariant:** only an iPXE that has just been told what to boot is answered, it alone, and from an address that no router
//! has. The answer names no router, prefix or server: whatever hears it configures nothing. Follows RFC 4861 §4.1, §4.2, §6.1. Pure.

use super::{frame::checksum, model::Whose};
use crate::names::MacAddr;
use jiff::{SignedDuration, Timestamp};
use std::{collections::BTreeMap, net::Ipv6Addr};

/// Ethernet's header, and IPv6's behind it.
const ETHERNET: usize = 14;
const IPV6: usize = 40;
/// EtherType of IPv6.
const ETHER_TYPE: [u8; 2] = [0x86, 0xdd];
/// Next header: ICMPv6.
pub const ICMPV6: u8 = 58;
/// ICMPv6 types.
pub const ROUTER_SOLICITATION: u8 = 133;
const ROUTER_ADVERTISEMENT: u8 = 134;
/// What proves that a packet crossed no router.
const HOP_LIMIT: u8 = 255;
/// Where routers are asked for.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// iPXE gives up after 16 s by itself.
const WINDOW: SignedDuration = SignedDuration::from_secs(20);
/// Cards that the site does not know and that are remembered: more would be a flood of forged addresses.
const STRANGERS: usize = 1024;

/// Somebody asks for a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Solicitation {
    /// Whose card asks.
    pub mac: MacAddr,
    /// From which address.
    pub ip: Ipv6Addr,
}

/// Machines whose iPXE has just been told what to boot, and when.
#[derive(Debug, Clone, Default)]
pub struct AwaitingRouter {
    /// Of the site: no more than it has cards.
    site: BTreeMap<MacAddr, Timestamp>,
    strangers: BTreeMap<MacAddr, Timestamp>,
}

impl AwaitingRouter {
    /// Takes note that an iPXE has been told.
    pub fn note(&mut self, mac: MacAddr, whose: Whose, now: Timestamp) {
        let (known, most) = match whose {
            Whose::Site => (&mut self.site, usize::MAX),
            Whose::Stranger => (&mut self.strangers, STRANGERS),
        };
        if known.len() >= STRANGERS {
            known.retain(|_, told| is_recent(*told, now));
        }
        if known.len() < most || known.contains_key(&mac) {
            known.insert(mac, now);
        }
    }

    /// Whether this machine may be waiting for a router.
    pub fn contains(&self, mac: MacAddr, now: Timestamp) -> bool {
        [&self.site, &self.strangers].into_iter().filter_map(|known| known.get(&mac)).any(|told| is_recent(*told, now))
    }
}

fn is_recent(told: Timestamp, now: Timestamp) -> bool {
    now.duration_since(told) < WINDOW
}

/// Reads a frame that asks for a router, from an address an answer can reach; whatever else it is, is nothing.
pub fn parse_solicitation(frame: &[u8]) -> Option<Solicitation> {
    let (ethernet, packet) = frame.split_at_checked(ETHERNET)?;
    let (header, rest) = packet.split_at_checked(IPV6)?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let message = rest.get(..length).filter(|message| message.len() >= 8)?;
    let is_asking = ethernet[12..] == ETHER_TYPE
        && header[0] >> 4 == 6
        && header[6..8] == [ICMPV6, HOP_LIMIT]
        && message[..2] == [ROUTER_SOLICITATION, 0]
        && checksum(&[&pseudo_header(&header[8..], length), message]) == 0;
    let mac = MacAddr::from_octets(*ethernet[6..].first_chunk::<6>()?).ok()?;
    let ip = Ipv6Addr::from(*header[8..].first_chunk::<16>()?);
    (is_asking && ip.is_unicast_link_local()).then_some(Solicitation { mac, ip })
}

/// The frame that tells a machine of no router: one whose time as a router is nought, and nothing more.
pub fn advertisement(own: [u8; 6], to: &Solicitation) -> Vec<u8> {
    let mut message = [0; 16];
    message[0] = ROUTER_ADVERTISEMENT;
    // Not the address the kernel makes of the card: this host may be an IPv6 router, and its word is not to be taken back.
    let [a, b, c, d, e, f] = own.map(u16::from);
    let from = Ipv6Addr::new(0xfe80, 0, 0, 0, 0xba, a << 8 | b, c << 8 | d, e << 8 | f);
    let addresses = [from.octets(), to.ip.octets()].concat();
    let sum = checksum(&[&pseudo_header(&addresses, message.len()), &message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let header = [0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, HOP_LIMIT];
    [&to.mac.octets()[..], &own, &ETHER_TYPE, &header, &addresses, &message].concat()
}

/// What ICMPv6 sums beside its message (RFC 8200 §8.1).
fn pseudo_header(addresses: &[u8], length: usize) -> Vec<u8> {
    [addresses, &(length as u32).to_be_bytes(), &[0, 0, 0, ICMPV6]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solicitation() -> Vec<u8> {
        crate::serve::dhcp::tests::hex(include_str!("../../../tests/fixtures/frames/router-solicitation.hex"))
    }

    fn pc01() -> Solicitation {
        Solicitation {
            mac: MacAddr::from_octets([0x52, 0x54, 0, 0x77, 0, 1]).expect("a unicast address"),
            ip: "fe80::5054:ff:fe77:1".parse().expect("an address"),
        }
    }

    #[test]
    fn an_ipxes_question_is_read_and_what_is_cut_or_spoilt_is_not() {
        let frame = solicitation();
        assert_eq!(parse_solicitation(&frame), Some(pc01()));
        for length in 0..frame.len() {
            assert_eq!(parse_solicitation(&frame[..length]), None, "{length} octets of it");
        }
        // The sender's card is no part of what is summed.
        for at in (12..frame.len()).filter(|at| ![15, 16, 17].contains(at)) {
            let mut spoilt = frame.clone();
            spoilt[at] ^= 0x41;
            assert_eq!(parse_solicitation(&spoilt), None, "octet {at}");
        }
    }

    #[test]
    fn the_answer_is_for_one_machine_and_says_nothing_of_use() {
        let own = [2, 0, 0, 0, 0, 9];
        let frame = advertisement(own, &pc01());
        assert_eq!(frame[..12], [0x52, 0x54, 0, 0x77, 0, 1, 2, 0, 0, 0, 0, 9]);
        assert_eq!(frame.len(), ETHERNET + IPV6 + 16, "no option is in it");
        assert_eq!(checksum(&[&pseudo_header(&frame[22..54], 16), &frame[54..]]), 0);
        assert_eq!(frame[22..38], "fe80::ba:200:0:9".parse::<Ipv6Addr>().expect("an address").octets());
        assert_eq!(frame[54..56], [134, 0]);
        assert_eq!(frame[58..], [0; 12], "no hop limit, no flag, no lifetime, no timer");
    }

    #[test]
    fn a_machine_waits_for_some_seconds_and_a_flood_is_not_remembered() {
        let (now, mut waiting) = (Timestamp::UNIX_EPOCH, AwaitingRouter::default());
        let machine = |n: usize| MacAddr::from_octets([2, 0, 0, 0, (n >> 8) as u8, n as u8]).expect("a unicast address");
        assert!(!waiting.contains(machine(0), now));
        (0..2000).for_each(|n| waiting.note(machine(n), Whose::Stranger, now));
        waiting.note(machine(5000), Whose::Site, now);
        assert!(waiting.contains(machine(5000), now), "a machine of the site beside the flood");
        assert!(waiting.contains(machine(0), now) && !waiting.contains(machine(1999), now));
        let later = now + SignedDuration::from_secs(21);
        assert!(!waiting.contains(machine(0), later));
        waiting.note(machine(1999), Whose::Stranger, later);
        assert!(waiting.contains(machine(1999), later) && waiting.strangers.len() == 1);
    }
}
