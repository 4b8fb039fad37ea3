//! One DHCP socket on one interface, and the raw one beside it for clients that do not answer ARP yet.
//!
//! **Invariant:** hears and answers on its own interface only (SO_BINDTODEVICE), from the address that was decided (IP_PKTINFO).
//! EFFECTS: sockets and `getifaddrs`; decides nothing.
#![expect(clippy::disallowed_methods, reason = "effect room: DHCP sockets")]

use super::{
    arp,
    frame::{frame, ip_packet},
    model::{CLIENT_PORT, Destination, Port, Reply},
    packet_socket::{Overheard, PacketSocket},
    reply::encode,
    router_advertisement::{self, Solicitation},
};
use crate::names::MacAddr;
use nix::{
    ifaddrs::getifaddrs,
    libc,
    net::if_::if_nametoindex,
    sys::socket::{
        self, AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrIn, setsockopt, sockopt,
    },
};
use socket2::{Domain, Protocol, Type};
use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsRawFd, OwnedFd},
    sync::RwLock,
};
use tokio::{io::Interest, net::UdpSocket};

/// Longer than any DHCP message an Ethernet frame carries.
const LONGEST: usize = 4096;
/// Holds the requests of a room that starts at once: 200 machines with four requests each.
const RECEIVE_BUFFER: usize = 4 << 20;

/// One datagram as it came.
#[derive(Debug)]
pub struct Datagram {
    pub bytes: Vec<u8>,
    pub source: SocketAddrV4,
    pub destination: Ipv4Addr,
}

/// What a port hears.
#[derive(Debug)]
pub enum Received {
    /// A datagram to the port.
    Datagram(Datagram),
    /// Something beside it.
    Overheard(Overheard),
}

/// One open port.
#[derive(Debug)]
pub struct Socket {
    pub interface: String,
    pub port: Port,
    number: u16,
    index: u32,
    udp: UdpSocket,
    addresses: RwLock<Addresses>,
    link: Option<Link>,
}

/// The addresses of this host.
#[derive(Debug, Default)]
struct Addresses {
    /// Of the port's interface.
    here: Vec<Ipv4Addr>,
    /// Of the others, and which of them.
    elsewhere: Vec<(Ipv4Addr, String)>,
}

/// Raw sockets on one interface: one that sends frames, and one that receives them.
#[derive(Debug)]
struct Link {
    socket: OwnedFd,
    /// Sends IP packets as they are, by the kernel's routes.
    routed: OwnedFd,
    packets: PacketSocket,
    mac: [u8; 6],
}

impl Socket {
    /// Opens a port on an interface.
    pub fn open(interface: &str, number: u16, port: Port) -> io::Result<Self> {
        let index = if_nametoindex(interface)?;
        let udp = socket2::Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        udp.bind_device(Some(interface.as_bytes()))?;
        // No SO_REUSEADDR: the device already keeps our ports apart, and with it another DHCP server of this host would stay
        // unnoticed beside us.
        udp.set_broadcast(true)?;
        udp.set_nonblocking(true)?;
        // Beyond the system's limit (net.core.rmem_max) where that is permitted, and up to it where it is not.
        if setsockopt(&udp, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            udp.set_recv_buffer_size(RECEIVE_BUFFER)?;
        }
        setsockopt(&udp, sockopt::Ipv4PacketInfo, &true)?;
        udp.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, number).into())?;
        let link = match port {
            Port::BootServer => None,
            Port::Dhcp => Link::open(interface)
                .inspect_err(|error| {
                    tracing::info!(interface, %error, "no raw socket (CAP_NET_RAW): offers go out by broadcast, duplicate addresses go unseen");
                })
                .ok(),
        };
        let socket = Self {
            interface: interface.to_owned(),
            port,
            number,
            index,
            udp: UdpSocket::from_std(udp.into())?,
            addresses: RwLock::default(),
            link,
        };
        socket.refresh();
        Ok(socket)
    }

    /// Whether the interface it was opened on is still there: a new one of the same name is another interface.
    pub fn is_alive(&self) -> bool {
        if_nametoindex(self.interface.as_str()) == Ok(self.index)
    }

    /// Reads the host's addresses anew.
    pub fn refresh(&self) {
        let Ok(all) = getifaddrs() else { return };
        let mut found = Addresses::default();
        for entry in all {
            match entry.address.and_then(|address| Some(address.as_sockaddr_in()?.ip())) {
                Some(ip) if entry.interface_name == self.interface => found.here.push(ip),
                Some(ip) => found.elsewhere.push((ip, entry.interface_name)),
                None => {}
            }
        }
        *self.addresses.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = found;
    }

    /// The interface's addresses.
    pub fn addresses(&self) -> Vec<Ipv4Addr> {
        self.addresses.read().unwrap_or_else(|poisoned| poisoned.into_inner()).here.clone()
    }

    /// The other interface of this host that has an address.
    pub fn elsewhere(&self, ip: Ipv4Addr) -> Option<String> {
        let addresses = self.addresses.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        addresses.elsewhere.iter().find(|(known, _)| *known == ip).map(|(_, interface)| interface.clone())
    }

    /// Waits for a datagram, or for something beside the port.
    pub async fn receive(&self) -> io::Result<Received> {
        let datagram = self.udp.async_io(Interest::READABLE, || receive(&self.udp));
        let Some(link) = &self.link else { return datagram.await.map(Received::Datagram) };
        tokio::select! {
            // Machines first: what is overheard can wait.
            biased;
            datagram = datagram => datagram.map(Received::Datagram),
            overheard = link.packets.hear() => overheard.map(Received::Overheard),
        }
    }

    /// Whether this is the card the port is on.
    pub fn is_own(&self, mac: MacAddr) -> bool {
        self.link.as_ref().is_some_and(|link| link.mac == mac.octets())
    }

    /// Asks by ARP who has an address; the answer is overheard.
    pub fn probe(&self, ip: Ipv4Addr) {
        let Some(link) = &self.link else { return };
        // A probe that cannot be sent is one that is not answered.
        let sent = socket::send(link.socket.as_raw_fd(), &arp::probe(link.mac, ip), MsgFlags::empty());
        if let Err(error) = sent {
            tracing::debug!(interface = self.interface, %ip, %error, "an ARP probe could not be sent");
        }
    }

    /// Tells a machine that looks for an IPv6 router of none.
    pub fn end_router_search(&self, solicitation: &Solicitation) {
        let Some(link) = &self.link else { return };
        let mac = solicitation.mac;
        match socket::send(
            link.socket.as_raw_fd(),
            &router_advertisement::advertisement(link.mac, solicitation),
            MsgFlags::empty(),
        ) {
            Ok(_) => tracing::debug!(interface = self.interface, %mac, "told that there is no IPv6 router"),
            Err(error) => tracing::debug!(interface = self.interface, %mac, %error, "a router advertisement could not be sent"),
        }
    }

    /// Sends a reply where it is to go.
    pub fn send(&self, reply: &Reply) -> io::Result<()> {
        let bytes = encode(reply);
        let broadcast = SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT);
        match reply.to {
            Destination::Unicast(to) => self.send_routed(reply, to, &bytes),
            Destination::Broadcast => self.send_udp(reply.from, broadcast, &bytes),
            Destination::Hardware(mac, ip) => {
                let to = SocketAddrV4::new(ip, CLIENT_PORT);
                let from = SocketAddrV4::new(reply.from, self.number);
                let sent = match &self.link {
                    Some(link) => link.send(mac.octets(), from, to, &bytes),
                    None => Err(io::ErrorKind::Unsupported.into()),
                };
                // Harmless where the raw socket fails: every client hears a broadcast (RFC 2131 §4.1).
                sent.or_else(|_| self.send_udp(reply.from, broadcast, &bytes))
            }
        }
    }

    /// Sends to an address, which the kernel asks after by ARP where it must. What waits for an answer fills a buffer, and anybody can
    /// name hosts that are not there: so it is not the buffer that broadcasts need. Where even this one is full, a client of this wire
    /// is reached by its Ethernet address.
    fn send_routed(&self, reply: &Reply, to: SocketAddrV4, bytes: &[u8]) -> io::Result<()> {
        let Some(link) = &self.link else { return self.send_udp(reply.from, to, bytes) };
        let from = SocketAddrV4::new(reply.from, self.number);
        match link.send_routed(from, to, bytes) {
            Err(error) if is_full(&error) && reply.giaddr.is_unspecified() => link.send(reply.mac.octets(), from, to, bytes),
            Err(error) if is_full(&error) => Err(error),
            // Longer than a frame: the other socket cuts it.
            Err(_) => self.send_udp(reply.from, to, bytes),
            Ok(()) => Ok(()),
        }
    }

    fn send_udp(&self, from: Ipv4Addr, to: SocketAddrV4, bytes: &[u8]) -> io::Result<()> {
        let info = libc::in_pktinfo {
            ipi_ifindex: i32::try_from(self.index).unwrap_or(0),
            ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(from.octets()) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        let udp = self.udp.as_raw_fd();
        socket::sendmsg(udp, &[IoSlice::new(bytes)], &control, MsgFlags::empty(), Some(&SockaddrIn::from(to)))?;
        Ok(())
    }
}

/// Whether a send failed because the socket's buffer is full.
fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ENOBUFS)
}

fn receive(udp: &UdpSocket) -> io::Result<Datagram> {
    let mut bytes = [0; LONGEST];
    let mut control = nix::cmsg_space!(libc::in_pktinfo);
    let (length, source, destination) = {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let message = socket::recvmsg::<SockaddrIn>(udp.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty())?;
        let destination = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes())),
            _ => None,
        });
        (message.bytes, message.address, destination.unwrap_or(Ipv4Addr::BROADCAST))
    };
    let source = source.map_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), SocketAddrV4::from);
    Ok(Datagram { bytes: bytes[..length].to_vec(), source, destination })
}

impl Link {
    fn open(interface: &str) -> io::Result<Self> {
        let address = getifaddrs()?
            .filter(|entry| entry.interface_name == interface)
            .find_map(|entry| entry.address?.as_link_addr().copied())
            .ok_or(io::ErrorKind::NotFound)?;
        let mac = address.addr().ok_or(io::ErrorKind::NotFound)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket::socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
        // Protocol 0, as getifaddrs gives it: the socket sends on this interface and hears nothing.
        socket::bind(socket.as_raw_fd(), &address)?;
        let routed = socket::socket(AddressFamily::Inet, SockType::Raw, flags, socket::SockProtocol::Raw)?;
        setsockopt(&routed, sockopt::BindToDevice, &interface.into())?;
        Ok(Self { socket, routed, packets: PacketSocket::open(&address)?, mac })
    }

    fn send_routed(&self, from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> io::Result<()> {
        let packet = ip_packet(from, to, payload).ok_or(io::ErrorKind::InvalidInput)?;
        // The packet's own header has the port.
        let to = SockaddrIn::from(SocketAddrV4::new(*to.ip(), 0));
        socket::sendto(self.routed.as_raw_fd(), &packet, &to, MsgFlags::empty())?;
        Ok(())
    }

    fn send(&self, to_mac: [u8; 6], from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> io::Result<()> {
        let frame = frame(self.mac, to_mac, from, to, payload).ok_or(io::ErrorKind::InvalidInput)?;
        socket::send(self.socket.as_raw_fd(), &frame, MsgFlags::empty())?;
        Ok(())
    }
}
