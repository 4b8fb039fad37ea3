//! ARP as far as duplicate addresses need it: the probe, and who says that an address is its own.
//!
//! **Invariant:** any bytes at all give a claim or none; a probe claims nothing, so asking changes nobody's ARP table.
//! Follows RFC 826 and RFC 5227 §2.1.

use crate::names::MacAddr;
use std::net::Ipv4Addr;

/// Ethernet's header: to, from, EtherType.
const HEADER: usize = 14;
/// EtherType of ARP.
const ARP: [u8; 2] = [0x08, 0x06];
/// Ethernet and IPv4, with addresses of six and four octets.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0, 6, 4];

/// Somebody says by ARP that an address is its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The address.
    pub ip: Ipv4Addr,
    /// Who says so.
    pub mac: MacAddr,
}

/// The frame that asks who has an address, from nobody.
pub fn probe(from: [u8; 6], ip: Ipv4Addr) -> Vec<u8> {
    [&[0xff; 6][..], &from, &ARP, &ETHERNET_IPV4, &[0, 1], &from, &[0; 4], &[0; 6], &ip.octets(), &[0; 18]].concat()
}

/// What a frame claims; a probe, which has no sender's address, claims nothing.
pub fn parse_claim(frame: &[u8]) -> Option<Claim> {
    let arp = frame.get(HEADER..HEADER + 28).filter(|_| frame[12..14] == ARP)?;
    if arp[..6] != ETHERNET_IPV4 {
        return None;
    }
    let mac = MacAddr::from_octets(*arp[8..].first_chunk::<6>()?).ok()?;
    let ip = Ipv4Addr::from(*arp[14..].first_chunk::<4>()?);
    (!ip.is_unspecified()).then_some(Claim { ip, mac })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_claims_nothing_and_its_answer_does() {
        let ip = Ipv4Addr::new(10, 77, 0, 200);
        let asked = probe([2, 0, 0, 0, 0, 2], ip);
        assert_eq!(asked.len(), 60, "the shortest frame Ethernet takes, without its checksum");
        assert_eq!(parse_claim(&asked), None);
        let mut answer = crate::serve::dhcp::tests::hex(include_str!("../../../tests/fixtures/frames/arp-answer.hex"));
        let mac = MacAddr::from_octets([2, 0, 0, 0, 0, 0xc8]).expect("a unicast address");
        assert_eq!(parse_claim(&answer), Some(Claim { ip, mac }));
        for cut in 0..42 {
            assert_eq!(parse_claim(&answer[..cut]), None);
        }
        answer[HEADER + 5] = 6;
        assert_eq!(parse_claim(&answer), None);
    }
}
