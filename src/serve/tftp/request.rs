//! The first datagram of a transfer becomes a request, a refusal, or nothing.
//!
//! **Invariant:** every refusal is an ERROR packet with a fixed text: a machine waits out its timers on silence, and no path of
//! the server leaves it.

use tftpd::{ErrorCode, OptionType, Packet};

/// Opcode of a read request (RFC 1350 §5).
const READ: u8 = 1;
/// Opcode of a write request.
const WRITE: u8 = 2;

/// What a first datagram is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// A read request.
    Read(ReadRequest),
    /// Something to refuse.
    Refuse(Refusal),
    /// Nothing that opens a transfer; an answer could start a loop between two servers.
    Ignore,
}

/// How a file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As it is.
    Octet,
    /// With CR LF for every line end (RFC 764).
    Netascii,
}

/// A read request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadRequest {
    /// The name as it was asked for.
    pub name: String,
    /// How it is sent.
    pub mode: Mode,
    /// The options, as they were asked for.
    pub wishes: Wishes,
}

/// What a machine wishes of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wishes {
    /// Bytes in a block (RFC 2348).
    pub blksize: Option<u64>,
    /// Whether it wants to know the size (RFC 2349).
    pub tsize: Option<u64>,
    /// Seconds before a retransmission (RFC 2349).
    pub timeout: Option<u64>,
    /// Blocks before an acknowledgement (RFC 7440).
    pub windowsize: Option<u64>,
}

/// Why a transfer is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing of this name.
    #[error("no such file")]
    NotFound,
    /// Somebody wants to write.
    #[error("this server is read-only")]
    ReadOnly,
    /// Neither octet nor netascii.
    #[error("unknown transfer mode")]
    Mode,
    /// A request that does not read.
    #[error("malformed request")]
    Malformed,
    /// A file that is there and is too large to be kept in memory.
    #[error("too large: this server sends no file of more than 64 MiB, and no more than 256 MiB of files")]
    TooLarge,
    /// A file that is too large to be sent as a text.
    #[error("too large for netascii: ask for it in octet mode")]
    TooLargeAsText,
}

impl Refusal {
    /// The ERROR packet.
    pub fn packet(self) -> Vec<u8> {
        let code = match self {
            Self::NotFound => ErrorCode::FileNotFound,
            Self::ReadOnly => ErrorCode::AccessViolation,
            Self::Mode | Self::Malformed => ErrorCode::IllegalOperation,
            Self::TooLarge | Self::TooLargeAsText => ErrorCode::NotDefined,
        };
        encode(&Packet::Error { code, msg: self.to_string() })
    }
}

/// Reads the first datagram of a transfer.
///
/// Not through the codec, which refuses all of it for one option it cannot read: RFC 2347 has a server leave such a one out of its
/// answer. What stands behind the last whole option is padding.
pub fn parse_opening(datagram: &[u8]) -> Opening {
    let Some((&[0, opcode @ (READ | WRITE)], rest)) = datagram.split_first_chunk() else { return Opening::Ignore };
    if opcode == WRITE {
        return Opening::Refuse(Refusal::ReadOnly);
    }
    let mut texts = rest.split_inclusive(|byte| *byte == 0).map_while(|text| text.strip_suffix(b"\0"));
    let (Some(name), Some(mode)) = (texts.next(), texts.next()) else { return Opening::Refuse(Refusal::Malformed) };
    // ROMs of ten years take DHCP's option 67 for C text, and the option list's end (255) behind one that has no zero for a part of it
    // (netbootxyz/netboot.xyz#1198, garybowers/bootimus#117). No file's name ends so.
    let name = name.strip_suffix(&[0xff]).unwrap_or(name);
    let mode = match mode.to_ascii_lowercase().as_slice() {
        // BSD's clients have long said `binary` (their mode command), and their servers take it.
        b"octet" | b"binary" => Mode::Octet,
        b"netascii" => Mode::Netascii,
        _ => return Opening::Refuse(Refusal::Mode),
    };
    let mut wishes = Wishes::default();
    while let (Some(option), Some(value)) = (texts.next(), texts.next()) {
        wishes.take(option, value);
    }
    Opening::Read(ReadRequest { name: String::from_utf8_lossy(name).into_owned(), mode, wishes })
}

impl Wishes {
    /// Takes an option that reads; of one that is said twice, the first (RFC 2347).
    fn take(&mut self, option: &[u8], value: &[u8]) {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let Some(value) = text(value).and_then(|value| value.parse().ok()) else { return };
        let wish = match text(option).and_then(|option| option.to_ascii_lowercase().parse().ok()) {
            Some(OptionType::BlockSize) => &mut self.blksize,
            Some(OptionType::TransferSize) => &mut self.tsize,
            Some(OptionType::Timeout) => &mut self.timeout,
            Some(OptionType::WindowSize) => &mut self.windowsize,
            _ => return,
        };
        wish.get_or_insert(value);
    }
}

pub(super) fn encode(packet: &Packet) -> Vec<u8> {
    packet.serialize().expect("the codec writes every packet it can hold")
}
