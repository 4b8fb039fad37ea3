//! A reply as a value, and its bytes.
//!
//! **Invariant:** at least 300 bytes, never longer than the client takes, option 82 last and as it came.
//! Follows RFC 2131 §4.1, RFC 3046 §2.2, RFC 6842 and RFC 4578.

use super::{
    model::{Destination, Reply, ReplyKind},
    options,
    packet::{FLAG_BROADCAST, Request},
};
use dhcproto::{
    Encodable, Encoder,
    v4::{Flags, HType, Message, Opcode},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// Replies are padded to this: the BOOTP minimum, and some ROMs and relays drop shorter ones.
const SHORTEST: usize = 300;
/// What every client takes, IP and UDP headers included (RFC 2131 §2).
const SMALLEST_LIMIT: u16 = 576;
/// IP and UDP headers, which option 57 counts.
const HEADERS: usize = 28;
/// `file` is 128 bytes, and old ROMs want its last one zero.
const FILE: usize = 127;
/// `sname` is 64 bytes.
const SNAME: usize = 63;
/// What is left out, in this order, when a reply is longer than its client takes.
const EXPENDABLE: [u8; 5] =
    [options::DOMAIN_NAME, options::BROADCAST_ADDRESS, options::HOST_NAME, options::TFTP_SERVER_NAME, options::MESSAGE];

impl Reply {
    /// A reply that echoes what every reply echoes and says who we are; the rest is for the caller to add.
    pub fn to(request: &Request, kind: ReplyKind, from: Ipv4Addr, to: Destination) -> Self {
        let mut options = BTreeMap::new();
        let code = match kind {
            ReplyKind::Offer => Some(2),
            ReplyKind::Ack => Some(5),
            ReplyKind::Nak => Some(6),
            ReplyKind::Bootp => None,
        };
        if let Some(code) = code {
            options.insert(options::MESSAGE_TYPE, vec![code]);
            // A relay that stands for the server hears the renewals, and passes them on (RFC 5107 §4).
            options.insert(options::SERVER_ID, request.server_override().unwrap_or(from).octets().to_vec());
        }
        for (option, echo) in [(options::CLIENT_ID, &request.client_id), (options::CLIENT_UUID, &request.uuid)] {
            if let Some(echo) = echo {
                options.insert(option, echo.clone());
            }
        }
        if let Some(subnet) = request.subnet_selection.filter(|_| request.giaddr.is_some()) {
            // RFC 3011 §2: a server that goes by the option returns it.
            options.insert(options::SUBNET_SELECTION, subnet.octets().to_vec());
        }
        Self {
            kind,
            to,
            from,
            xid: request.xid,
            flags: request.flags,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: request.giaddr.unwrap_or(Ipv4Addr::UNSPECIFIED),
            mac: request.mac,
            sname: String::new(),
            file: String::new(),
            options,
            relay_information: request.relay_information.clone(),
            site_options: BTreeSet::new(),
            boot: None,
            longest: match kind {
                // As long as the request, for a client that knows of no options beyond its vendor area (RFC 1542 §2.1).
                ReplyKind::Bootp => request.length.max(SHORTEST),
                _ => usize::from(request.max_message_size.unwrap_or(SMALLEST_LIMIT).max(SMALLEST_LIMIT)) - HEADERS,
            },
        }
    }

    /// Marks it as a broadcast, so that a relay agent does the same.
    pub fn set_broadcast(&mut self) {
        self.flags |= FLAG_BROADCAST;
    }

    /// Adds an address option.
    pub fn add_address(&mut self, option: u8, address: Ipv4Addr) {
        self.options.insert(option, address.octets().to_vec());
    }

    /// Adds a text option; the old ROMs need the zero behind names.
    pub fn add_text(&mut self, option: u8, text: &str) {
        let mut data = text.as_bytes().to_vec();
        if matches!(option, options::TFTP_SERVER_NAME | options::BOOT_FILE_NAME) {
            data.push(0);
        }
        self.options.insert(option, data);
    }

    /// Names the server that has the boot file.
    pub fn set_boot_server(&mut self, siaddr: Ipv4Addr) {
        self.siaddr = siaddr;
        self.sname = siaddr.to_string();
        self.add_text(options::TFTP_SERVER_NAME, &siaddr.to_string());
    }

    /// Names the boot file: in `file` where it fits, and in option 67 always.
    pub fn set_boot_file(&mut self, siaddr: Ipv4Addr, file: &str) {
        self.set_boot_server(siaddr);
        if file.len() <= FILE {
            self.file = file.to_owned();
        }
        self.add_text(options::BOOT_FILE_NAME, file);
    }
}

/// The bytes of a reply.
pub fn encode(reply: &Reply) -> Vec<u8> {
    let mut bytes = encode_with(reply, reply.options.iter());
    let mut left_out = BTreeSet::new();
    for expendable in EXPENDABLE.into_iter().chain(reply.site_options.iter().rev().copied()) {
        if bytes.len() <= reply.longest {
            break;
        }
        if reply.options.contains_key(&expendable) && left_out.insert(expendable) {
            bytes = encode_with(reply, reply.options.iter().filter(|(option, _)| !left_out.contains(option)));
        }
    }
    if bytes.len() < SHORTEST {
        bytes.resize(SHORTEST, 0);
    }
    bytes
}

fn encode_with<'a>(reply: &'a Reply, told: impl Iterator<Item = (&'a u8, &'a Vec<u8>)>) -> Vec<u8> {
    let mut message =
        Message::new_with_id(reply.xid, reply.ciaddr, reply.yiaddr, reply.siaddr, reply.giaddr, &reply.mac.octets());
    message.set_opcode(Opcode::BootReply).set_htype(HType::Eth).set_flags(Flags::from(reply.flags));
    // The codec panics above 128 and 64 bytes; both are cut one short, for the zero that ends them.
    message.set_fname(&reply.file.as_bytes()[..reply.file.len().min(FILE)]);
    message.set_sname(&reply.sname.as_bytes()[..reply.sname.len().min(SNAME)]);
    let mut bytes = Vec::with_capacity(SHORTEST * 2);
    message.encode(&mut Encoder::new(&mut bytes)).expect("a vector takes any number of bytes");
    // Not through the codec: it reorders and drops sub-options of 82, and RFC 3046 §2.2 wants them back as they came.
    let relay = reply.relay_information.iter().map(|data| (&options::RELAY_INFORMATION, data));
    for (option, data) in told.chain(relay) {
        // A long one in parts (RFC 3396 §5).
        for part in data.chunks(255) {
            bytes.extend([*option, part.len() as u8]);
            bytes.extend_from_slice(part);
        }
    }
    bytes.push(options::END);
    bytes
}
