//! Receives on an interface what does not come to our own ports: ARP claims, replies of other DHCP servers, and router solicitations.
//!
//! **Invariant:** hears only what is addressed to this host, to everybody or to all routers, and sends nothing. The kernel's filter
//! drops all other packets before they are copied. EFFECTS: packet sockets.
#![expect(clippy::disallowed_methods, reason = "effect room: packet sockets")]

use super::{
    arp::{Claim, parse_claim},
    router_advertisement::{ALL_ROUTERS, ICMPV6, ROUTER_SOLICITATION, Solicitation, parse_solicitation},
    server_reply::{ServerReply, parse_reply},
};
use nix::{
    libc,
    sys::socket::{LinkAddr, MsgFlags, bind, recv},
};
use socket2::{Domain, Protocol, SockFilter, Type};
use std::{io, os::fd::AsRawFd};
use tokio::{io::Interest, net::UdpSocket};

/// Longer than any DHCP reply on an Ethernet.
const LONGEST: usize = 2048;

/// `ip and udp dst port 68 and not a later fragment`, as the kernel's classic filter; it begins at Ethernet's header.
const REPLIES: [SockFilter; 9] = [
    SockFilter::new(0x30, 0, 0, 23),     // A = the protocol
    SockFilter::new(0x15, 0, 6, 17),     // UDP, or drop
    SockFilter::new(0x28, 0, 0, 20),     // A = fragment offset
    SockFilter::new(0x45, 4, 0, 0x1fff), // none, or drop
    SockFilter::new(0xb1, 0, 0, 14),     // X = the IP header's length
    SockFilter::new(0x48, 0, 0, 16),     // A = destination port
    SockFilter::new(0x15, 0, 1, 68),     // a client's, or drop
    SockFilter::new(0x06, 0, 0, u32::MAX),
    SockFilter::new(0x06, 0, 0, 0),
];

/// `icmp6 and ip6[40] == router solicitation`, with no header between, as the kernel's classic filter.
const SOLICITATIONS: [SockFilter; 6] = [
    SockFilter::new(0x30, 0, 0, 20),                         // A = the next header
    SockFilter::new(0x15, 0, 3, ICMPV6 as u32),              // ICMPv6, or drop
    SockFilter::new(0x30, 0, 0, 54),                         // A = the type
    SockFilter::new(0x15, 0, 1, ROUTER_SOLICITATION as u32), // a solicitation, or drop
    SockFilter::new(0x06, 0, 0, u32::MAX),
    SockFilter::new(0x06, 0, 0, 0),
];

/// Packet sockets on one interface.
#[derive(Debug)]
pub struct PacketSocket {
    arp: UdpSocket,
    replies: UdpSocket,
    solicitations: UdpSocket,
    /// Keeps the card listening to what is sent to all routers; none where this kernel has no IPv6.
    _all_routers: Option<socket2::Socket>,
}

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overheard {
    /// Somebody has an address.
    Claim(Claim),
    /// Another server answered somebody.
    Reply(ServerReply),
    /// Somebody looks for an IPv6 router.
    Solicitation(Solicitation),
}

impl PacketSocket {
    /// Listens on the interface with this link address.
    pub fn open(link: &LinkAddr) -> io::Result<Self> {
        Ok(Self {
            arp: listen(link, libc::ETH_P_ARP, &[])?,
            replies: listen(link, libc::ETH_P_IP, &REPLIES)?,
            solicitations: listen(link, libc::ETH_P_IPV6, &SOLICITATIONS)?,
            _all_routers: join_all_routers(link)
                .inspect_err(|error| tracing::debug!(%error, "searches for an IPv6 router may go unheard"))
                .ok(),
        })
    }

    /// Waits for something that reads.
    pub async fn hear(&self) -> io::Result<Overheard> {
        loop {
            let heard = tokio::select! {
                frame = receive(&self.arp) => parse_claim(&frame?).map(Overheard::Claim),
                frame = receive(&self.replies) => parse_reply(&frame?).map(Overheard::Reply),
                frame = receive(&self.solicitations) => parse_solicitation(&frame?).map(Overheard::Solicitation),
            };
            if let Some(heard) = heard {
                return Ok(heard);
            }
        }
    }
}

fn listen(link: &LinkAddr, protocol: i32, filter: &[SockFilter]) -> io::Result<UdpSocket> {
    // The protocol in network order, as packet(7) wants it. One of its own, and not "all": so no tagged frame of another VLAN
    // and none of our own is heard.
    let wire_order = u16::try_from(protocol).unwrap_or_default().to_be();
    let socket = socket2::Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(wire_order))))?;
    if !filter.is_empty() {
        socket.attach_filter(filter)?;
    }
    // getifaddrs gives the address with protocol 0, which keeps the socket's.
    bind(socket.as_raw_fd(), link)?;
    socket.set_nonblocking(true)?;
    // A packet socket is received from as a datagram socket is, and the runtime knows no other type for it.
    UdpSocket::from_std(socket.into())
}

fn join_all_routers(link: &LinkAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.join_multicast_v6(&ALL_ROUTERS, u32::try_from(link.ifindex()).unwrap_or_default())?;
    Ok(socket)
}

async fn receive(socket: &UdpSocket) -> io::Result<Vec<u8>> {
    let received = socket.async_io(Interest::READABLE, || {
        let mut bytes = [0; LONGEST];
        let length = recv(socket.as_raw_fd(), &mut bytes, MsgFlags::empty())?;
        Ok(bytes[..length].to_vec())
    });
    match received.await {
        // The interface was shut; the kernel says so once and gives us its frames again when it is opened.
        Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => Ok(Vec::new()),
        received => received,
    }
}
