//! The bytes of a request become a [`Request`], or the reason they are none.
//!
//! **Invariant:** any bytes at all give a value; a wrong option costs that option, never the ones behind it (ROMs are sloppy,
//! and the codec's owned form drops all that follows). Follows RFC 2131 §2, RFC 3004, RFC 3396 and RFC 4578.

use super::options::{self, ipxe, pxe, relay};
use crate::names::{ClientArch, MacAddr};
use dhcproto::v4::borrowed::{DhcpOptionIterator, Message};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// The fixed part, the magic cookie included.
pub(super) const FIXED: usize = 240;
/// What stands before the options of a DHCP message (RFC 2131 §3).
pub(super) const MAGIC: [u8; 4] = [0x63, 0x82, 0x53, 0x63];
/// Bit 15 of the flags: answer me by broadcast.
pub const FLAG_BROADCAST: u16 = 0x8000;
/// BOOTREQUEST; a reply of another server is not for us.
const BOOT_REQUEST: u8 = 1;
/// Ethernet, the only hardware whose addresses name our machines.
const ETHERNET: u8 = 1;

/// What a client wants (RFC 2131 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MessageKind {
    /// Who has an address for me?
    Discover,
    /// I take this one, or want to keep it.
    Request,
    /// Somebody else uses the address I was given.
    Decline,
    /// I need my address no longer.
    Release,
    /// I have an address; tell me the rest.
    Inform,
    /// BOOTP's request, which has no message type (RFC 1542 §2): tell me my address and my file.
    Bootp,
}

/// What an iPXE says it can do in option 175.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpxeFeatures {
    /// It fetches scripts over HTTP.
    pub http: bool,
    /// It attaches iSCSI disks.
    pub iscsi: bool,
}

/// A request, read as far as it can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// What it wants.
    pub kind: MessageKind,
    /// Transaction id, echoed.
    pub xid: u32,
    /// Flags, echoed; see [`FLAG_BROADCAST`].
    pub flags: u16,
    /// The address it has and answers ARP for.
    pub ciaddr: Option<Ipv4Addr>,
    /// The relay agent it came through.
    pub giaddr: Option<Ipv4Addr>,
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// The address it asks for.
    pub requested: Option<Ipv4Addr>,
    /// The server it speaks to.
    pub server_id: Option<Ipv4Addr>,
    /// Its client identifier as it came, echoed and otherwise ignored.
    pub client_id: Option<Vec<u8>>,
    /// Its vendor class.
    pub vendor_class: Option<Vec<u8>>,
    /// What its firmware runs on, from option 93 or from the vendor class.
    pub arch: Option<ClientArch>,
    /// Option 97 as it came, echoed.
    pub uuid: Option<Vec<u8>>,
    /// Its user classes, in either encoding.
    pub user_classes: Vec<Vec<u8>>,
    /// What an iPXE can do; `None` when there is no option 175.
    pub ipxe: Option<IpxeFeatures>,
    /// Option 82 as it came, echoed.
    pub relay_information: Option<Vec<u8>>,
    /// The subnet a relay asks for where it is not giaddr's.
    pub link_selection: Option<Ipv4Addr>,
    /// The address a relay wants to stand for the server; counts only beside giaddr, see [`Request::server_override`].
    pub server_id_override: Option<Ipv4Addr>,
    /// The subnet a client asks for by option 118.
    pub subnet_selection: Option<Ipv4Addr>,
    /// The options it wants, in its order.
    pub parameter_list: Vec<u8>,
    /// The longest message it takes.
    pub max_message_size: Option<u16>,
    /// The boot item it chose from a PXE menu, echoed.
    pub boot_item: Option<Vec<u8>>,
    /// Whether its relay listens at the port it sent from, in place of 67 (RFC 8357).
    pub has_relay_port: bool,
    /// The octets of the request: a BOOTP client takes no longer reply than its request.
    pub length: usize,
}

impl Request {
    /// True when it asks for an answer by broadcast.
    pub fn wants_broadcast(&self) -> bool {
        self.flags & FLAG_BROADCAST != 0
    }

    /// The address it works with and answers ARP for: known only while it renews or rebinds its lease, or informs (RFC 2131 §4.3.6,
    /// §4.4.5), or where it speaks BOOTP. Clients leave an old address in `ciaddr` of a DISCOVER, and of a REQUEST that takes an
    /// offer, and hear nothing that is sent there.
    pub fn working_address(&self) -> Option<Ipv4Addr> {
        let is_working = match self.kind {
            MessageKind::Request => self.server_id.is_none() && self.requested.is_none(),
            MessageKind::Inform | MessageKind::Release | MessageKind::Bootp => true,
            MessageKind::Discover | MessageKind::Decline => false,
        };
        self.ciaddr.filter(|_| is_working)
    }

    /// The address that stands for the server in this exchange, where a relay names one (RFC 5107).
    pub fn server_override(&self) -> Option<Ipv4Addr> {
        self.server_id_override.filter(|_| self.giaddr.is_some())
    }

    /// True when it wants this option told, or does not say what it wants.
    pub fn wants(&self, option: u8) -> bool {
        self.parameter_list.is_empty() || self.parameter_list.contains(&option)
    }
}

/// Why bytes are no request of a machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Too short for the fixed part.
    #[error("it is {0} bytes, and the fixed part alone is {FIXED}")]
    Short(usize),
    /// A reply, or nothing known.
    #[error("it is not a request (op {0})")]
    NotARequest(u8),
    /// Hardware that is not Ethernet.
    #[error("its hardware is type {htype} with addresses of {hlen} octets, not Ethernet")]
    Hardware {
        /// The hardware type.
        htype: u8,
        /// The length of its addresses.
        hlen: u8,
    },
    /// No machine has such an address.
    #[error(transparent)]
    Mac(#[from] crate::names::NameError),
    /// No message type, or one of a server or of a protocol we do not speak.
    #[error("it has no message type a client sends")]
    Kind,
    /// What goes back as it came would not fit into the reply.
    #[error("it has {bytes} bytes of option {option}, which go back in the reply, and at most {most} fit")]
    Echo {
        /// The option.
        option: u8,
        /// Its length, all parts together.
        bytes: usize,
        /// How many are taken.
        most: usize,
    },
}

/// What is taken of an option that a reply repeats, so that no reply is split into fragments: one option of the client's own, and
/// two of a relay's, which is as much as one full of vendors' sub-options needs.
const ECHOED: [(u8, usize); 3] = [(options::CLIENT_ID, 255), (options::CLIENT_UUID, 255), (options::RELAY_INFORMATION, 510)];

/// Reads a request.
pub fn parse(bytes: &[u8]) -> Result<Request, ParseError> {
    // Every guard stands before the codec sees a byte: it accepts a wrong cookie, and its chaddr() panics where hlen > 16.
    if bytes.len() < FIXED {
        return Err(ParseError::Short(bytes.len()));
    }
    if bytes[0] != BOOT_REQUEST {
        return Err(ParseError::NotARequest(bytes[0]));
    }
    let message = Message::new(bytes).map_err(|_| ParseError::Short(bytes.len()))?;
    let (htype, hlen) = (bytes[1], message.hlen());
    let chaddr: [u8; 6] = match hlen {
        6 if htype == ETHERNET => message.chaddr().try_into().map_err(|_| ParseError::Hardware { htype, hlen })?,
        _ => return Err(ParseError::Hardware { htype, hlen }),
    };
    let mac = MacAddr::from_octets(chaddr)?;
    // Without the magic cookie the vendor area is of BOOTP's older form, and says nothing (RFC 1542 §2).
    let has_options = bytes[FIXED - MAGIC.len()..FIXED] == MAGIC;
    let found = if has_options { gather(bytes, &message) } else { BTreeMap::new() };
    let raw = |option: u8| found.get(&option).filter(|data| !data.is_empty()).cloned();
    let address = |option: u8| found.get(&option).and_then(|data| one_address(data));
    let kind = match found.get(&options::MESSAGE_TYPE).map(Vec::as_slice) {
        Some([1]) => MessageKind::Discover,
        Some([3]) => MessageKind::Request,
        Some([4]) => MessageKind::Decline,
        Some([7]) => MessageKind::Release,
        Some([8]) => MessageKind::Inform,
        None => MessageKind::Bootp,
        Some(_) => return Err(ParseError::Kind),
    };
    for (option, most) in ECHOED {
        let bytes = found.get(&option).map_or(0, Vec::len);
        if bytes > most {
            return Err(ParseError::Echo { option, bytes, most });
        }
    }
    let vendor_class = raw(options::VENDOR_CLASS);
    let arch = found
        .get(&options::CLIENT_ARCH)
        .and_then(|data| data.first_chunk::<2>())
        .map(|first| ClientArch(u16::from_be_bytes(*first)))
        .or_else(|| vendor_class.as_deref().and_then(arch_of_vendor_class));
    let relay_information = raw(options::RELAY_INFORMATION);
    Ok(Request {
        kind,
        xid: message.xid(),
        flags: u16::from_be_bytes([bytes[10], bytes[11]]),
        ciaddr: said(message.ciaddr()),
        giaddr: said(message.giaddr()),
        mac,
        requested: address(options::REQUESTED_ADDRESS),
        server_id: address(options::SERVER_ID),
        client_id: raw(options::CLIENT_ID),
        arch,
        uuid: raw(options::CLIENT_UUID),
        user_classes: found.get(&options::USER_CLASS).map(|data| user_classes(data)).unwrap_or_default(),
        ipxe: found.get(&options::IPXE).map(|data| ipxe_features(data)),
        link_selection: relay_information
            .as_deref()
            .and_then(|data| sub_option(data, relay::LINK_SELECTION))
            .and_then(one_address),
        server_id_override: relay_information
            .as_deref()
            .and_then(|data| sub_option(data, relay::SERVER_ID_OVERRIDE))
            .and_then(one_address),
        subnet_selection: address(options::SUBNET_SELECTION),
        parameter_list: found.get(&options::PARAMETER_LIST).cloned().unwrap_or_default(),
        max_message_size: found
            .get(&options::MAX_MESSAGE_SIZE)
            .and_then(|data| <[u8; 2]>::try_from(data.as_slice()).ok())
            .map(u16::from_be_bytes),
        boot_item: found
            .get(&options::VENDOR_INFORMATION)
            .filter(|_| vendor_class.as_deref().is_some_and(|class| class.starts_with(b"PXEClient")))
            .and_then(|data| sub_option(data, pxe::BOOT_ITEM))
            .map(<[u8]>::to_vec),
        has_relay_port: relay_information.as_deref().and_then(|data| sub_option(data, relay::SOURCE_PORT)).is_some(),
        relay_information,
        length: bytes.len(),
        vendor_class,
    })
}

/// All options, the parts of a split one joined (RFC 3396 §7), those in `file` and `sname` included where 52 says so.
pub(super) fn gather(bytes: &[u8], message: &Message<'_>) -> BTreeMap<u8, Vec<u8>> {
    let mut found: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
    let mut join = |options: DhcpOptionIterator<'_>| {
        for option in options {
            found.entry(option.code().into()).or_default().extend_from_slice(option.data());
        }
        found.get(&options::OVERLOAD).and_then(|data| data.first().copied()).unwrap_or(0)
    };
    let overload = join(message.opts());
    if overload & 1 != 0 {
        join(DhcpOptionIterator::new(&bytes[108..236]));
    }
    if overload & 2 != 0 {
        join(DhcpOptionIterator::new(&bytes[44..108]));
    }
    found
}

fn said(address: Ipv4Addr) -> Option<Ipv4Addr> {
    (!address.is_unspecified()).then_some(address)
}

fn one_address(data: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(data).ok().map(Ipv4Addr::from).and_then(said)
}

/// `Arch:xxxxx` of `PXEClient:Arch:00007:UNDI:003016`, for firmware that leaves option 93 out (C2).
fn arch_of_vendor_class(class: &[u8]) -> Option<ClientArch> {
    let text = std::str::from_utf8(class).ok()?;
    let digits = text.split_once(":Arch:")?.1.split(':').next()?.trim_end_matches('\0');
    digits.parse().ok().map(ClientArch)
}

/// User classes as RFC 3004 writes them, each behind its length, or as iPXE writes one: bare (C12).
fn user_classes(data: &[u8]) -> Vec<Vec<u8>> {
    let mut classes = Vec::new();
    let mut rest = data;
    while let Some((&length, tail)) = rest.split_first() {
        match tail.split_at_checked(usize::from(length)) {
            Some((class, tail)) if length > 0 => {
                classes.push(class.to_vec());
                rest = tail;
            }
            _ => return vec![data.to_vec()],
        }
    }
    classes
}

/// The first sub-option with this code in a list of code, length and data.
fn sub_option(data: &[u8], code: u8) -> Option<&[u8]> {
    sub_options(data).find(|(found, _)| *found == code).map(|(_, data)| data)
}

fn sub_options(mut data: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        while let Some((0, tail)) = data.split_first() {
            data = tail;
        }
        let (&[code, length], tail) = data.split_first_chunk::<2>()?;
        if code == options::END {
            return None;
        }
        let (value, tail) = tail.split_at_checked(usize::from(length))?;
        data = tail;
        Some((code, value))
    })
}

fn ipxe_features(data: &[u8]) -> IpxeFeatures {
    let has = |feature: u8| sub_option(data, feature).is_some_and(|value| value.iter().any(|octet| *octet != 0));
    IpxeFeatures { http: has(ipxe::FEATURE_HTTP), iscsi: has(ipxe::FEATURE_ISCSI) }
}
