//! What booting machines asked for and were told, by machine: the document `serve` keeps and the planner reads.
//!
//! **Invariant:** a record of what happened, never a source of what should be; losing it loses no data, only explanations,
//! and makes every seat count as in use for a while.

use crate::names::MacAddr;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// The version of this document.
pub const VERSION: u32 = 1;

/// Where the transcript lies under the state directory.
pub const PATH: &str = "serve/transcript.json";

/// Events kept per machine; a boot takes about ten.
pub const EVENTS_KEPT: usize = 40;

/// What booting machines asked for and were told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Transcript {
    /// [`VERSION`].
    pub version: u32,
    /// By Ethernet address, known and unknown machines alike.
    pub machines: BTreeMap<MacAddr, MachineTranscript>,
}

/// One machine's part.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct MachineTranscript {
    /// The address it was last seen with.
    pub address: Option<Ipv4Addr>,
    /// When it last fetched its iPXE script.
    #[schemars(with = "Option<String>")]
    pub script_fetched: Option<Timestamp>,
    /// The last [`EVENTS_KEPT`] events, oldest first.
    pub events: Vec<Event>,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Which service saw it: `dhcp`, `proxydhcp`, `tftp`, `http`.
    pub service: String,
    /// One sentence: `DISCOVER from x64 UEFI (PXEClient); offered 192.168.1.101 with ipxe.efi`.
    pub what: String,
}
