//! Replies of other DHCP servers, as they pass on the wire.
//!
//! **Invariant:** any bytes at all give a reply or none; nothing here answers.
//! Follows RFC 791 §3.1, RFC 768 and RFC 2131 §2.

use super::{
    model::CLIENT_PORT,
    options,
    packet::{FIXED, MAGIC, gather},
};
use crate::{names::MacAddr, transcript::ServerKind};
use dhcproto::v4::borrowed::Message;
use std::{collections::BTreeMap, fmt, net::Ipv4Addr};

/// Ethernet's header.
const ETHERNET: usize = 14;
/// BOOTREPLY.
const BOOT_REPLY: u8 = 2;

/// A reply of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerReply {
    /// The server's identifier, or where the packet came from.
    pub server: Ipv4Addr,
    /// The client it is for.
    pub client: MacAddr,
    /// The address it gives; zero in the reply of a proxy.
    pub yiaddr: Ipv4Addr,
    /// What it says.
    pub said: Said,
}

/// What a server says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// DHCPOFFER
    Offer,
    /// DHCPACK
    Ack,
    /// DHCPNAK
    Nak,
}

impl ServerReply {
    /// What kind of server says such a thing.
    pub fn kind(&self) -> ServerKind {
        match self.said {
            Said::Offer | Said::Ack if self.yiaddr.is_unspecified() => ServerKind::BootServer,
            _ => ServerKind::Dhcp,
        }
    }
}

impl fmt::Display for ServerReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { server, client, yiaddr, said } = self;
        match said {
            Said::Nak => write!(f, "server {server} refused {client}"),
            _ if yiaddr.is_unspecified() => write!(f, "server {server} told {client} what to boot"),
            Said::Offer => write!(f, "server {server} offered {client} {yiaddr}"),
            Said::Ack => write!(f, "server {server} gave {client} {yiaddr}"),
        }
    }
}

/// A server's message, past the guards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerMessage {
    pub xid: u32,
    pub client: MacAddr,
    pub yiaddr: Ipv4Addr,
    pub said: Said,
    /// All options, the parts of a split one joined.
    pub options: BTreeMap<u8, Vec<u8>>,
}

impl ServerMessage {
    /// The server, as it names itself.
    pub fn server_id(&self) -> Option<Ipv4Addr> {
        let id = self.options.get(&options::SERVER_ID)?;
        <[u8; 4]>::try_from(id.as_slice()).ok().map(Ipv4Addr::from)
    }
}

/// Reads a frame with a server's reply to a client.
pub fn parse_reply(frame: &[u8]) -> Option<ServerReply> {
    let (source, bytes) = datagram_to_client(frame)?;
    let message = parse_message(bytes)?;
    let server = message.server_id().unwrap_or(source);
    Some(ServerReply { server, client: message.client, yiaddr: message.yiaddr, said: message.said })
}

/// Where a frame's UDP datagram to the client's port comes from, and what it carries.
pub(super) fn datagram_to_client(frame: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let ip = frame.get(ETHERNET..).filter(|ip| ip.len() >= 20 && ip[0] >> 4 == 4 && ip[9] == 17)?;
    let source = Ipv4Addr::from(*ip[12..].first_chunk::<4>()?);
    let udp = ip.get(usize::from(ip[0] & 15) * 4..)?;
    let is_to_client = udp.get(2..4)? == CLIENT_PORT.to_be_bytes();
    is_to_client.then_some((source, udp.get(8..)?))
}

/// Reads what a server says.
pub(super) fn parse_message(bytes: &[u8]) -> Option<ServerMessage> {
    // The guards of a request hold for a reply too: the codec trusts what it is given.
    if bytes.len() < FIXED || bytes[0] != BOOT_REPLY || bytes[FIXED - MAGIC.len()..FIXED] != MAGIC || bytes[1..3] != [1, 6] {
        return None;
    }
    let message = Message::new(bytes).ok()?;
    let client = MacAddr::from_octets(message.chaddr().try_into().ok()?).ok()?;
    let options = gather(bytes, &message);
    let said = match options.get(&options::MESSAGE_TYPE)?.as_slice() {
        [2] => Said::Offer,
        [5] => Said::Ack,
        [6] => Said::Nak,
        _ => return None,
    };
    Some(ServerMessage { xid: message.xid(), client, yiaddr: message.yiaddr(), said, options })
}
