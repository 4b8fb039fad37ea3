//! Asks on an interface which DHCP servers answer there.
//!
//! The question goes out as a frame of its own: the host's own service does not hear what the host sends, so that no address of it
//! is held and nothing enters its transcript. **Invariant:** takes no address: an offer is never requested. EFFECTS: a raw socket.
#![expect(clippy::disallowed_methods, reason = "effect room: a packet socket, randomness and a deadline")]

use super::{
    frame::frame,
    model::{CLIENT_PORT, SERVER_PORT},
    options,
    packet::FLAG_BROADCAST,
    server_reply::{Said, datagram_to_client, parse_message},
};
use dhcproto::{
    Encodable,
    v4::{self, DhcpOption, HType, OptionCode, UnknownOption},
};
use nix::{ifaddrs::getifaddrs, sys::socket};
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Read as _},
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

/// What other servers' logs show of the question.
const CLIENT_ID: &[u8] = b"\0barista doctor";
/// `ETH_P_IP`, in network order as packet(7) wants it.
const IPV4: u16 = 0x0800_u16.to_be();

/// An answer to the question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DhcpOfferSeen {
    /// The server, as it names itself.
    pub server: Ipv4Addr,
    /// The address it offers; `None` from a proxyDHCP.
    pub address: Option<Ipv4Addr>,
    /// The boot file it names.
    pub boot_file: Option<String>,
}

/// Asks once and gathers what is answered within `wait`.
pub fn probe(interface: &str, wait: Duration) -> io::Result<BTreeSet<DhcpOfferSeen>> {
    let link = getifaddrs()?
        .filter(|entry| entry.interface_name == interface)
        .find_map(|entry| entry.address?.as_link_addr().copied())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no interface {interface}")))?;
    let own = link.addr().ok_or(io::ErrorKind::NotFound)?;
    let protocol = socket2::Protocol::from(i32::from(IPV4));
    let packets = socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, Some(protocol))?;
    // Bound without a protocol, it keeps the one it was made with (packet(7)).
    socket::bind(packets.as_raw_fd(), &link)?;
    let (xid, mac) = random()?;
    let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, SERVER_PORT);
    let from = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, CLIENT_PORT);
    let sent = frame(own, [0xff; 6], from, to, &question(xid, mac)).ok_or(io::ErrorKind::InvalidInput)?;
    socket::send(packets.as_raw_fd(), &sent, socket::MsgFlags::empty())?;
    let deadline = Instant::now() + wait;
    let mut heard = BTreeSet::new();
    let mut bytes = vec![0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(heard);
        }
        packets.set_read_timeout(Some(left))?;
        match socket::recv(packets.as_raw_fd(), &mut bytes, socket::MsgFlags::empty()) {
            Ok(length) => {
                heard.extend(datagram_to_client(&bytes[..length]).and_then(|(_, datagram)| parse_answer(datagram, xid, mac)));
            }
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// A transaction id, and an address that no maker of cards gives out (IEEE 802: locally administered, unicast).
fn random() -> io::Result<(u32, [u8; 6])> {
    let mut bytes = [0; 10];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    let [a, b, c, d, first, rest @ ..] = bytes;
    let mut mac = [0; 6];
    mac[0] = (first & 0xfc) | 0x02;
    mac[1..].copy_from_slice(&rest);
    Ok((u32::from_be_bytes([a, b, c, d]), mac))
}

/// The DISCOVER of an x64 firmware: servers of addresses answer it, and servers of boot files too.
fn question(xid: u32, mac: [u8; 6]) -> Vec<u8> {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = v4::Message::new_with_id(xid, none, none, none, none, &mac);
    message.set_htype(HType::Eth).set_flags(v4::Flags::from(FLAG_BROADCAST));
    let mut uuid = vec![0; 17];
    uuid[11..].copy_from_slice(&mac);
    let wanted = [options::SUBNET_MASK, options::ROUTER, options::VENDOR_INFORMATION, options::VENDOR_CLASS];
    let wanted = [&wanted[..], &[options::TFTP_SERVER_NAME, options::BOOT_FILE_NAME]].concat();
    for (option, data) in [
        (options::MESSAGE_TYPE, vec![1]),
        (options::PARAMETER_LIST, wanted),
        (options::VENDOR_CLASS, b"PXEClient:Arch:00007:UNDI:003016".to_vec()),
        (options::CLIENT_ID, CLIENT_ID.to_vec()),
        (options::CLIENT_ARCH, vec![0, 7]),
        (options::CLIENT_UUID, uuid),
    ] {
        message.opts_mut().insert(DhcpOption::Unknown(UnknownOption::new(OptionCode::from(option), data)));
    }
    let mut bytes = message.to_vec().expect("a vector takes any number of bytes");
    bytes.resize(bytes.len().max(300), 0);
    bytes
}

/// Reads an offer that answers this question; whatever else it is, is nothing.
fn parse_answer(bytes: &[u8], xid: u32, mac: [u8; 6]) -> Option<DhcpOfferSeen> {
    let message = parse_message(bytes)?;
    if message.said != Said::Offer || message.xid != xid || message.client.octets() != mac {
        return None;
    }
    let given = |ip: &Ipv4Addr| !ip.is_unspecified();
    let printable = |data: &[u8]| {
        let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
        let text: String = data[..end].iter().map(|byte| char::from(*byte)).filter(|c| c.is_ascii_graphic()).collect();
        (!text.is_empty()).then_some(text)
    };
    let named = message.options.get(&options::BOOT_FILE_NAME).and_then(|data| printable(data));
    Some(DhcpOfferSeen {
        server: message.server_id().filter(given)?,
        address: Some(message.yiaddr).filter(given),
        boot_file: named.or_else(|| printable(&bytes[108..236])),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::dhcp::packet::{MessageKind, parse};

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    #[test]
    fn the_question_is_a_firmwares_discover() {
        let request = parse(&question(7, MAC)).expect("our own reader reads it");
        assert_eq!((request.kind, request.xid, request.mac.octets()), (MessageKind::Discover, 7, MAC));
        assert!(request.wants_broadcast() && request.arch == Some(crate::names::ClientArch::EFI_X64));
        let (_, mac) = random().expect("there is randomness");
        assert_eq!(mac[0] & 3, 2, "locally administered and unicast");
    }

    #[test]
    fn an_offer_to_this_question_is_heard_and_nothing_else() {
        let mut bytes = question(7, MAC);
        assert_eq!(parse_answer(&bytes, 7, MAC), None, "a question is no answer");
        bytes[0] = 2;
        bytes[16..20].copy_from_slice(&[10, 0, 0, 9]);
        bytes[108..113].copy_from_slice(b"x.efi");
        bytes.truncate(240);
        bytes.extend([53, 1, 2, 54, 4, 10, 0, 0, 1, 255]);
        let heard = DhcpOfferSeen {
            server: Ipv4Addr::new(10, 0, 0, 1),
            address: Some(Ipv4Addr::new(10, 0, 0, 9)),
            boot_file: Some("x.efi".into()),
        };
        assert_eq!(parse_answer(&bytes, 7, MAC), Some(heard));
        assert_eq!(parse_answer(&bytes, 8, MAC), None, "another's");
        assert_eq!(parse_answer(&bytes, 7, [2, 0, 0, 0, 0, 2]), None, "another's");
        for length in 0..bytes.len() {
            let _ = parse_answer(&bytes[..length], 7, MAC);
            let _ = datagram_to_client(&bytes[..length]);
        }
    }
}
