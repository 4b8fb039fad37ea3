//! What is asking: firmware, a boot loader, or an operating system.
//!
//! **Invariant:** whatever is not recognised is a plain client, and a plain client is never told boot fields.

use super::packet::{IpxeFeatures, Request};
use crate::names::ClientArch;
use std::fmt;

/// What is asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// An iPXE, from us or from a ROM: it takes scripts.
    Ipxe {
        /// What it runs on.
        arch: Option<ClientArch>,
        /// What it says it can do.
        ability: Ability,
    },
    /// Firmware that fetches a loader by TFTP.
    PxeFirmware {
        /// What it runs on; BIOS when it does not say, as the ROMs before RFC 4578 did.
        arch: ClientArch,
    },
    /// Firmware that fetches a loader over HTTP.
    HttpBoot {
        /// What it runs on.
        arch: ClientArch,
    },
    /// Anything else: an operating system.
    Plain,
}

/// Whether an iPXE can run our scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// It says nothing, or says that it can.
    Able,
    /// It says what it can do, and HTTP or iSCSI is not there (C11).
    Lacking,
}

/// Tells what is asking from its user class, vendor class and architecture.
pub fn classify(request: &Request) -> Client {
    let vendor = request.vendor_class.as_deref().unwrap_or_default();
    if request.user_classes.iter().any(|class| class == b"iPXE") {
        let ability = match request.ipxe {
            Some(IpxeFeatures { http: true, iscsi: true }) | None => Ability::Able,
            Some(_) => Ability::Lacking,
        };
        return Client::Ipxe { arch: request.arch, ability };
    }
    if vendor.starts_with(b"HTTPClient") {
        return request.arch.map_or(Client::Plain, |arch| Client::HttpBoot { arch });
    }
    if vendor.starts_with(b"PXEClient") {
        return Client::PxeFirmware { arch: request.arch.unwrap_or(ClientArch::BIOS) };
    }
    Client::Plain
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipxe { arch: Some(arch), ability: Ability::Able } => write!(f, "iPXE on {arch}"),
            Self::Ipxe { arch: None, ability: Ability::Able } => f.write_str("iPXE"),
            Self::Ipxe { arch: Some(arch), ability: Ability::Lacking } => write!(f, "iPXE without HTTP or iSCSI on {arch}"),
            Self::Ipxe { arch: None, ability: Ability::Lacking } => f.write_str("iPXE without HTTP or iSCSI"),
            Self::PxeFirmware { arch } => write!(f, "{arch} (PXEClient)"),
            Self::HttpBoot { arch } => write!(f, "{arch} (HTTPClient)"),
            Self::Plain => f.write_str("an operating system"),
        }
    }
}
