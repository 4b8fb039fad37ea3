//! The first datagram of a transfer becomes a request, a refusal, or nothing.
//!
//! **Invariant:** every refusal is an ERROR packet with a fixed text: a machine waits out its timers on silence, and no path of
//! the server leaves it.

use tftpd::{ErrorCode, OptionType, Packet, TransferOption};

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
}

impl Refusal {
    /// The ERROR packet.
    pub fn packet(self) -> Vec<u8> {
        let code = match self {
            Self::NotFound => ErrorCode::FileNotFound,
            Self::ReadOnly => ErrorCode::AccessViolation,
            Self::Mode | Self::Malformed => ErrorCode::IllegalOperation,
        };
        encode(&Packet::Error { code, msg: self.to_string() })
    }
}

/// Reads the first datagram of a transfer.
pub fn parse_opening(datagram: &[u8]) -> Opening {
    let opcode = datagram.first_chunk::<2>().map(|code| u16::from_be_bytes(*code));
    if !matches!(opcode, Some(1 | 2)) {
        return Opening::Ignore;
    }
    match Packet::deserialize(datagram) {
        Ok(Packet::Rrq { filename, mode, options }) => match mode.to_ascii_lowercase().as_str() {
            "octet" => Opening::Read(ReadRequest { name: filename, mode: Mode::Octet, wishes: wishes(&options) }),
            "netascii" => Opening::Read(ReadRequest { name: filename, mode: Mode::Netascii, wishes: wishes(&options) }),
            _ => Opening::Refuse(Refusal::Mode),
        },
        Ok(Packet::Wrq { .. }) => Opening::Refuse(Refusal::ReadOnly),
        _ => Opening::Refuse(Refusal::Malformed),
    }
}

fn wishes(options: &[TransferOption]) -> Wishes {
    let find = |wanted: OptionType| options.iter().find(|option| option.option == wanted).map(|option| option.value);
    Wishes {
        blksize: find(OptionType::BlockSize),
        tsize: find(OptionType::TransferSize),
        timeout: find(OptionType::Timeout),
        windowsize: find(OptionType::WindowSize),
    }
}

pub(super) fn encode(packet: &Packet) -> Vec<u8> {
    packet.serialize().expect("the codec writes every packet it can hold")
}
