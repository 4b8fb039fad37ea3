//! What happened, as a value: whatever decides on a transcript reads these, and its sentences are for people alone.
//!
//! **Invariant:** a kind that this version does not know reads as [`EventKind::Other`], so a newer transcript explains less and
//! breaks nothing.

use crate::{
    boot::assignment::{RefusalCode, WaitCode},
    names::{ClientArch, ImageName, Iqn, MachineName},
};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum EventKind {
    /// A DHCP message of the machine, and what came of it.
    Dhcp {
        /// What it wanted.
        message: DhcpMessage,
        /// What was asking.
        asker: Asker,
        /// What it said it runs on.
        arch: Option<ClientArch>,
        /// What it was told.
        answer: DhcpAnswer,
    },
    /// A loader went out whole by TFTP.
    LoaderSent {
        /// Which.
        file: String,
        /// Its size.
        bytes: u64,
        /// How long it took.
        milliseconds: u64,
    },
    /// The machine ended a transfer before its end.
    LoaderBrokenOff {
        /// Which.
        file: String,
    },
    /// The machine said nothing more in the middle of a transfer.
    LoaderStalled {
        /// Which.
        file: String,
    },
    /// The machine asked by TFTP or HTTP for a file that is not among the loaders.
    LoaderMissing {
        /// Which.
        file: String,
    },
    /// Firmware that boots over HTTP asked for a loader.
    HttpLoader {
        /// Which.
        file: String,
    },
    /// An iPXE fetched the first script, the same for every machine.
    FirstScript,
    /// The machine's own script was fetched.
    Script {
        /// Whose it is, by the site; `None` for the script of unknown machines.
        machine: Option<MachineName>,
        /// What it boots by itself.
        default: Option<String>,
    },
    /// The machine's own script was fetched by an address that is not the machine's.
    ForeignFetch {
        /// Which.
        peer: IpAddr,
    },
    /// The machine's own script was asked for without a boot that this service knows, and the machine sent to the first script.
    SentBack {
        /// Whose script it is.
        machine: MachineName,
    },
    /// This boot was given a disk.
    Assigned {
        /// Whose.
        machine: MachineName,
        /// Of which image.
        image: ImageName,
        /// Its target.
        target: Iqn,
    },
    /// This boot has to wait for a disk.
    Waiting {
        /// Whose.
        machine: MachineName,
        /// Of which image.
        image: ImageName,
        /// Why.
        code: WaitCode,
    },
    /// This boot was refused a disk.
    Refused {
        /// Whose.
        machine: MachineName,
        /// Of which image.
        image: ImageName,
        /// Why.
        code: RefusalCode,
    },
    /// A file of the asset store went out.
    AssetSent {
        /// Its path in the store.
        path: String,
    },
    /// A file was asked for that is not in the asset store.
    AssetMissing {
        /// Its path in the store.
        path: String,
    },
    /// Something that was not said to this server, as an address that another claims too, or another server's answer.
    Overheard,
    /// Anything else, or of a version that says more than this one knows.
    #[default]
    #[serde(other)]
    Other,
}

/// The messages of a DHCP client (RFC 2131 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DhcpMessage {
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
    /// BOOTP: tell me my address and my file.
    Bootp,
}

/// What was asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Asker {
    /// Firmware that fetches a loader by TFTP.
    Firmware,
    /// Firmware that fetches a loader over HTTP.
    HttpFirmware,
    /// A U-Boot, which names the files it wants itself.
    UBoot,
    /// An iPXE.
    Ipxe,
    /// An iPXE that lacks HTTP or iSCSI.
    LackingIpxe,
    /// Anything else: an operating system.
    System,
}

/// What a DHCP client was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "told", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum DhcpAnswer {
    /// An offer.
    Offered {
        /// The address; `None` from a proxy.
        address: Option<Ipv4Addr>,
        /// The loader or script, where there is one for it.
        boot: Option<String>,
    },
    /// An acknowledgement.
    Acknowledged {
        /// The address; `None` from a proxy.
        address: Option<Ipv4Addr>,
        /// The loader or script, where there is one for it.
        boot: Option<String>,
    },
    /// It may not have the address it wants.
    Refused,
    /// Taken note of; there is no answer to it.
    Noted,
    /// Not answered.
    Ignored {
        /// Why.
        because: Silence,
    },
}

/// Why a DHCP client was not answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "reason", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Silence {
    /// No network of the site is on the interface, or none behind the relay.
    NoNetwork,
    /// The network's DHCP is off.
    NetworkOff,
    /// It took another server's offer.
    OtherServer {
        /// Whose.
        server: Ipv4Addr,
    },
    /// No loader of ours runs on it.
    NoLoaderForArch,
    /// Its loader's file is not there.
    LoaderMissing {
        /// Which.
        file: String,
    },
    /// Every address is given away, or there is no range.
    NoAddress,
    /// Anything else; the sentence says it.
    #[serde(other)]
    Other,
}

impl EventKind {
    /// The asker and the architecture it named, where this is a DHCP message.
    pub fn asker(&self) -> Option<(Asker, Option<ClientArch>)> {
        match self {
            Self::Dhcp { asker, arch, .. } => Some((*asker, *arch)),
            _ => None,
        }
    }

    /// Whether it belongs to a machine that boots from the network.
    pub fn is_of_a_boot(&self) -> bool {
        match self {
            Self::Dhcp { asker, .. } => *asker != Asker::System,
            Self::ForeignFetch { .. } | Self::Other => false,
            _ => true,
        }
    }

    /// Whether it says that a boot has no disk yet.
    pub fn is_of_a_wait(&self) -> bool {
        matches!(self, Self::Waiting { .. } | Self::Refused { .. })
    }

    /// The other DHCP server that the machine chose.
    pub fn other_server(&self) -> Option<Ipv4Addr> {
        match self {
            Self::Dhcp { answer: DhcpAnswer::Ignored { because: Silence::OtherServer { server } }, .. } => Some(*server),
            _ => None,
        }
    }
}

impl Asker {
    /// Whether it is firmware, with which a boot begins.
    pub fn is_firmware(self) -> bool {
        matches!(self, Self::Firmware | Self::HttpFirmware | Self::UBoot)
    }

    /// Whether it is an iPXE.
    pub fn is_ipxe(self) -> bool {
        matches!(self, Self::Ipxe | Self::LackingIpxe)
    }
}
