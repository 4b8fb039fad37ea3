//! What `serve` asks the agent for a boot, and what the agent answers: which target each entry of the menu gets, or why it waits.
//!
//! One request and one answer for each connection to `renew.sock`, each one line of JSON. `serve` only claims what it heard; the
//! agent decides. **Invariant:** pure; what is longer than [`LONGEST`], of another version or malformed is an error and never an
//! assignment.

use crate::names::{BootNonce, ImageName, Iqn, MachineName};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
    time::Duration,
};

/// The version of both documents.
pub const VERSION: u32 = 1;

/// The socket's name in the run directory.
pub const SOCKET: &str = "renew.sock";

/// The longest request or answer, in bytes with its newline: a menu of 36 entries with the longest names is a fifth of it.
pub const LONGEST: usize = 64 << 10;

/// What a claim holds at most of each kind, the newest.
pub const CLAIMS_KEPT: usize = 8;

/// How long a machine waits before it asks again when the answer does not say, in seconds.
pub const RETRY: u32 = 5;

/// The shortest and the longest wait that an answer may ask for, in seconds.
const RETRIES: (u32, u32) = (1, 60);

/// A moment as milliseconds of `CLOCK_BOOTTIME`: it counts on while the host sleeps and no clock that is set moves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The time from `earlier` to this; zero if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Which table `serve` answers from: the first sixteen hexadecimal digits of the SHA-256 of its text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Generation(String);

impl Generation {
    /// The generation of a published text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text).iter().take(8).map(|octet| format!("{octet:02x}")).collect())
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The UUID that a machine's firmware names, `${uuid}` of iPXE. Many boards share a placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientUuid(uuid::Uuid);

impl ClientUuid {
    /// What board makers leave in place of one, in either order of bytes.
    const PLACEHOLDERS: [u128; 4] = [
        0x03000200_0400_0500_0006_000700080009,
        0x00020003_0004_0005_0006_000700080009,
        0x12345678_1234_5678_90ab_cddeefaabbcc,
        0x78563412_3412_7856_90ab_cddeefaabbcc,
    ];

    /// Whether it tells nothing of the machine.
    pub fn is_placeholder(self) -> bool {
        let bytes = self.0.as_bytes();
        bytes.iter().all(|byte| byte == &bytes[0]) || Self::PLACEHOLDERS.contains(&self.0.as_u128())
    }

    /// The Ethernet address that it ends in, as those that a board makes from its cards do (RFC 9562 §5.1).
    pub fn node(self) -> [u8; 6] {
        let bytes = self.0.as_bytes();
        [bytes[10], bytes[11], bytes[12], bytes[13], bytes[14], bytes[15]]
    }

    /// Whether both are one machine's: SMBIOS stores the first three fields with their bytes in the other order since 2.6, and not
    /// every firmware knows (DMTF DSP0134 §7.2.1).
    pub fn is_same(self, other: Self) -> bool {
        self == other || self.0 == uuid::Uuid::from_bytes_le(*other.0.as_bytes())
    }
}

impl FromStr for ClientUuid {
    type Err = crate::names::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The crate reads three more spellings; iPXE writes this one.
        let is_hyphenated = text.len() == 36;
        let read = uuid::Uuid::try_parse(text).ok().filter(|_| is_hyphenated);
        read.map(Self).ok_or_else(|| crate::names::NameError::new("UUID", text, "is not 32 hexadecimal digits in five groups"))
    }
}

impl fmt::Display for ClientUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

crate::names::string_form!(ClientUuid, "the UUID of a machine's firmware", "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$");

/// What `serve` asks for one fetch of a machine's script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// The machine, by the table.
    pub machine: MachineName,
    /// Which boot of it.
    pub boot: BootNonce,
    /// The table that the machine's script comes from.
    pub generation: Generation,
    /// Who fetches the script.
    pub peer: IpAddr,
    /// What the machine says its firmware's UUID is; `None` when it says none.
    pub uuid: Option<ClientUuid>,
    /// The images whose disks the script needs and the table does not name.
    pub entries: Vec<ImageName>,
    /// What `serve` heard.
    pub claims: Claims,
    /// How many milliseconds `serve` waits for the answer.
    pub budget: u64,
}

/// What `serve` heard of a machine. Nobody has to believe it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Claims {
    /// The kernel's name for this run of the host: stamps of another mean nothing.
    pub boot_id: String,
    /// When the request was made.
    pub now: Stamp,
    /// DISCOVERs of the machine's firmware or iPXE that were answered, oldest first.
    pub discovers: Vec<Discover>,
    /// The fetch of the first script that gave the nonce.
    pub issued: Fetch,
    /// Fetches of the machine's script by this peer with a nonce that was known, oldest first; this one is the last.
    pub fetches: Vec<Fetch>,
}

/// A DISCOVER that was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Discover {
    /// When.
    pub at: Stamp,
    /// The address that was offered; `None` where another server gives the addresses.
    pub address: Option<Ipv4Addr>,
}

/// A fetch over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Fetch {
    /// When.
    pub at: Stamp,
    /// By whom.
    pub peer: IpAddr,
}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Answer {
    /// [`VERSION`].
    pub version: u32,
    /// What was decided.
    #[serde(flatten)]
    pub decided: Decided,
}

/// What the agent decided of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Decided {
    /// What each entry gets.
    Entries(BTreeMap<ImageName, Assignment>),
    /// The machine is to begin again.
    Again {
        /// Why.
        code: AgainCode,
    },
}

/// Why a machine is to begin again at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AgainCode {
    /// The table that `serve` answered from is not the published one.
    Generation,
    /// A reason that this version does not know.
    #[serde(other)]
    Other,
}

/// Fields that say more of a code.
pub type Detail = BTreeMap<String, serde_json::Value>;

/// What one entry gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Assignment {
    /// A disk.
    Assigned {
        /// Its target.
        target: Iqn,
    },
    /// None yet.
    Wait {
        /// Why.
        code: WaitCode,
        /// After how many seconds it asks again.
        #[serde(default = "retry")]
        retry: u32,
        /// More of that.
        #[serde(default, skip_serializing_if = "Detail::is_empty")]
        detail: Detail,
    },
    /// None, until a person does something.
    Refused {
        /// Why.
        code: RefusalCode,
        /// More of that.
        #[serde(default, skip_serializing_if = "Detail::is_empty")]
        detail: Detail,
    },
}

fn retry() -> u32 {
    RETRY
}

/// Why an entry has to wait for its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WaitCode {
    /// The agent does not answer.
    NoAgent,
    /// No disk is clean, and no used one is proven off.
    NoCleanSide,
    /// A clean disk is being made.
    Making,
    /// There is no space for a new disk.
    NoSpace,
    /// The image is still being filled.
    Filling,
    /// A kept data disk is still with the disk that was used before.
    Moving,
    /// More machines ask at once than are answered.
    TooMany,
    /// A change of the disk is held.
    Held,
    /// A reason that this version does not know.
    #[serde(other)]
    Other,
}

/// Why an entry is refused its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// The firmware's UUID is not that of the machine that had the disk before.
    OtherHardware,
    /// The script is fetched by an address that is not the machine's.
    OtherAddress,
    /// The site has no such machine or image any more; what it leaves behind waits for its end.
    NotInSite,
    /// A reason that this version does not know.
    #[serde(other)]
    Other,
}

/// A request or an answer that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It is too long.
    #[error("it is longer than {LONGEST} bytes")]
    TooLong,
    /// Not JSON, or not this document.
    #[error("it does not read as one")]
    Malformed(#[source] serde_json::Error),
    /// Another version.
    #[error("it is version {0}, and this program speaks version {VERSION}")]
    Version(u32),
}

impl Request {
    /// Reads a request.
    pub fn parse(line: &[u8]) -> Result<Self, DocumentError> {
        read(line)
    }

    /// The line that is sent.
    pub fn render(&self) -> String {
        line(self)
    }
}

impl Answer {
    /// An answer that says what each entry gets.
    pub fn entries(entries: BTreeMap<ImageName, Assignment>) -> Self {
        Self { version: VERSION, decided: Decided::Entries(entries) }
    }

    /// Reads an answer.
    pub fn parse(line: &[u8]) -> Result<Self, DocumentError> {
        read(line)
    }

    /// The line that is sent.
    pub fn render(&self) -> String {
        line(self)
    }
}

impl Assignment {
    /// A wait without further fields, of the usual length.
    pub fn wait(code: WaitCode) -> Self {
        Self::Wait { code, retry: RETRY, detail: Detail::new() }
    }

    /// How many seconds the machine waits; zero where it has its disk.
    pub fn retry(&self) -> u32 {
        match self {
            Self::Assigned { .. } => 0,
            Self::Wait { retry, .. } => (*retry).clamp(RETRIES.0, RETRIES.1),
            // Somebody has to come and do something.
            Self::Refused { .. } => RETRY * 3,
        }
    }

    /// Why the machine has no disk, in words that an iPXE script may hold.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Assigned { .. } => None,
            Self::Wait { code, .. } => Some(code.words()),
            Self::Refused { code, .. } => Some(code.words()),
        }
    }
}

impl WaitCode {
    /// What the person at the machine reads: ASCII, no word that iPXE takes for a command's end, a comment or a setting.
    pub fn words(self) -> &'static str {
        match self {
            Self::NoAgent => "waits: barista agent does not answer on the server",
            Self::NoCleanSide => "waits: no clean disk, and the one it used last is not proven off",
            Self::Making => "waits: a clean disk is being made",
            Self::NoSpace => "waits: the server has no space for a new disk",
            Self::Filling => "waits: its image is still being filled",
            Self::Moving => "waits: its data disk is still with the disk it used last",
            Self::TooMany => "waits: many machines ask for a disk at once",
            Self::Held => "waits: its disk is not made yet",
            Self::Other => "waits: the agent gives a reason that this version of barista serve does not know",
        }
    }
}

impl RefusalCode {
    /// What the person at the machine reads, as [`WaitCode::words`].
    pub fn words(self) -> &'static str {
        match self {
            Self::OtherHardware => "refused: this is not the hardware that had this name before",
            Self::OtherAddress => "refused: it asks with an address that is not its own",
            Self::NotInSite => "refused: the site does not have this machine with this image any more",
            Self::Other => "refused: for a reason that this version of barista serve does not know",
        }
    }
}

/// A document that says its version before anything else.
trait Versioned {
    fn version(&self) -> u32;
}

impl Versioned for Request {
    fn version(&self) -> u32 {
        self.version
    }
}

impl Versioned for Answer {
    fn version(&self) -> u32 {
        self.version
    }
}

fn read<T: serde::de::DeserializeOwned + Versioned>(line: &[u8]) -> Result<T, DocumentError> {
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    if line.len() > LONGEST {
        return Err(DocumentError::TooLong);
    }
    let read = serde_json::from_slice::<T>(line).map_err(DocumentError::Malformed);
    match &read {
        Ok(document) if document.version() == VERSION => read,
        Ok(document) => Err(DocumentError::Version(document.version())),
        // Another version may have other fields: what it is comes before what does not read.
        Err(_) => match serde_json::from_slice::<Head>(line) {
            Ok(Head { version }) if version != VERSION => Err(DocumentError::Version(version)),
            _ => read,
        },
    }
}

fn line(document: &impl Serialize) -> String {
    let mut text = serde_json::to_string(document).expect("strings, numbers and addresses always serialise");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
