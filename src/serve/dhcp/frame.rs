//! A reply as an Ethernet frame, for a client that does not answer ARP yet (RFC 2131 §4.1).
//!
//! **Invariant:** checksums are right: a ROM drops a frame whose checksums are not, and says nothing.
//! Follows RFC 791 §3.1 and RFC 768.

use std::net::SocketAddrV4;

/// EtherType of IPv4.
const IPV4: [u8; 2] = [0x08, 0x00];
/// Protocol number of UDP.
const UDP: u8 = 17;
/// Hops a reply may take; it takes none.
const TIME_TO_LIVE: u8 = 64;

/// The frame; `None` when the payload does not fit an IP packet.
pub fn frame(from_mac: [u8; 6], to_mac: [u8; 6], from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Option<Vec<u8>> {
    Some([&to_mac[..], &from_mac[..], &IPV4[..], &ip_packet(from, to, payload)?].concat())
}

/// The IP packet; `None` when the payload does not fit one.
pub fn ip_packet(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Option<Vec<u8>> {
    let udp_length = u16::try_from(payload.len() + 8).ok()?;
    let ip_length = udp_length.checked_add(20)?;
    let mut ip = vec![0x45, 0];
    ip.extend(ip_length.to_be_bytes());
    ip.extend([0, 0, 0, 0, TIME_TO_LIVE, UDP, 0, 0]);
    ip.extend(from.ip().octets());
    ip.extend(to.ip().octets());
    let header_sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&header_sum.to_be_bytes());

    let mut udp = Vec::with_capacity(payload.len() + 8);
    udp.extend(from.port().to_be_bytes());
    udp.extend(to.port().to_be_bytes());
    udp.extend(udp_length.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend_from_slice(payload);
    let pseudo = [&from.ip().octets()[..], &to.ip().octets()[..], &[0, UDP], &udp_length.to_be_bytes()[..]].concat();
    // Zero would say "no checksum" (RFC 768).
    let udp_sum = match checksum(&[&pseudo, &udp]) {
        0 => u16::MAX,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&udp_sum.to_be_bytes());
    Some([ip, udp].concat())
}

/// The Internet checksum (RFC 1071) over parts, each of even length but the last.
pub(super) fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum = words.fold(0u32, |sum, word| sum + u32::from(u16::from_be_bytes([word[0], word.get(1).copied().unwrap_or(0)])));
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_receiver_that_sums_a_frame_finds_it_whole() {
        let from = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 67);
        let to = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 101), 68);
        for payload in [&b"odd"[..], b"even", &[0xff; 301]] {
            let bytes = frame([2; 6], [4; 6], from, to, payload).expect("it fits");
            assert_eq!(bytes[..14], [4, 4, 4, 4, 4, 4, 2, 2, 2, 2, 2, 2, 8, 0]);
            assert_eq!(checksum(&[&bytes[14..34]]), 0, "IP header");
            let pseudo = [&bytes[26..34], &[0, 17], &bytes[38..40]].concat();
            assert_eq!(checksum(&[&pseudo, &bytes[34..]]), 0, "UDP");
            assert_eq!(&bytes[42..], payload);
        }
        assert_eq!(frame([2; 6], [4; 6], from, to, &[0; 65_600]), None);
    }
}
