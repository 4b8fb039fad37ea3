//! What is asking: firmware, a boot loader, or an operating system.
//!
//! **Invariant:** whatever is not recognised is a plain client, and a plain client is never told boot fields.

use super::packet::{IpxeFeatures, MessageKind, Request};
use crate::names::ClientArch;
use std::fmt;

/// What Raspberry Pi's makers have registered (C27): for the chip's ROM of the older ones, whose GUID is one octet repeated.
const RASPBERRY_PI: [[u8; 3]; 7] = [
    [0xb8, 0x27, 0xeb],
    [0xdc, 0xa6, 0x32],
    [0xe4, 0x5f, 0x01],
    [0x28, 0xcd, 0xc1],
    [0xd8, 0x3a, 0xdd],
    [0x2c, 0xcf, 0x67],
    [0x88, 0xa2, 0x9e],
];

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
    /// iPXE's ancestor, in a ROM: it loads ours.
    Gpxe {
        /// What it runs on.
        arch: Option<ClientArch>,
    },
    /// The ancestor of both, in a ROM: it takes a BOOTP file.
    Etherboot,
    /// A ROM that speaks BOOTP and says nothing of itself.
    Bootp,
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
    /// A U-Boot, which names the files it wants itself and needs to know who has them.
    UBoot {
        /// What it runs on.
        arch: Option<ClientArch>,
    },
    /// The first stage of a Raspberry Pi, which calls itself x86 BIOS and is none.
    RaspberryPi(PiModel),
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

/// Models of a Raspberry Pi that boot in different ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PiModel {
    /// Those whose loader is in the chip's ROM.
    Pi3,
    /// Raspberry Pi 4, with its loader in an EEPROM.
    Pi4,
    /// Raspberry Pi 5, with all of its firmware in an EEPROM.
    Pi5,
}

impl PiModel {
    /// A file without which it does not start, wherever its prefix leads it (C28).
    pub fn needed_file(self) -> &'static str {
        match self {
            Self::Pi3 => "bootcode.bin",
            Self::Pi4 => "start4.elf",
            Self::Pi5 => "config.txt",
        }
    }
}

/// Tells what is asking from its classes, its architecture and its Ethernet address.
pub fn classify(request: &Request) -> Client {
    let vendor = request.vendor_class.as_deref().unwrap_or_default();
    let calls_itself = |name: &[u8]| request.user_classes.iter().any(|class| class == name);
    if calls_itself(b"gPXE") {
        return Client::Gpxe { arch: request.arch };
    }
    // Without the class its features tell: of those who use option 175, only iPXE lists HTTP or iSCSI there.
    let lists_features = matches!(request.ipxe, Some(features) if features.http || features.iscsi);
    if calls_itself(b"iPXE") || lists_features {
        let ability = match request.ipxe {
            Some(IpxeFeatures { http: true, iscsi: true }) | None => Ability::Able,
            Some(_) => Ability::Lacking,
        };
        return Client::Ipxe { arch: request.arch, ability };
    }
    if vendor.starts_with(b"Etherboot") {
        return Client::Etherboot;
    }
    // Its UEFI part calls itself PXEClient later, and is UEFI like any other.
    if vendor.starts_with(b"U-Boot") {
        return Client::UBoot { arch: request.arch };
    }
    if vendor.starts_with(b"HTTPClient") {
        return request.arch.map_or(Client::Plain, |arch| Client::HttpBoot { arch });
    }
    if !vendor.starts_with(b"PXEClient") {
        return if request.kind == MessageKind::Bootp { Client::Bootp } else { Client::Plain };
    }
    let arch = request.arch.unwrap_or(ClientArch::BIOS);
    raspberry_pi(arch, request).map_or(Client::PxeFirmware { arch }, Client::RaspberryPi)
}

/// Which Raspberry Pi asks, if one does: its loader says so in its GUID or its architecture, whatever its Ethernet address, which an
/// owner or the maker of a carrier board may have set. A UEFI that runs on one says ARM, and is UEFI like any other.
fn raspberry_pi(arch: ClientArch, request: &Request) -> Option<PiModel> {
    if !matches!(arch, ClientArch::BIOS | ClientArch::ARM_RPIBOOT) {
        return None;
    }
    let guid = request.uuid.as_deref().and_then(|uuid| uuid.get(1..17)).unwrap_or_default();
    match guid.strip_prefix(b"RPi") {
        Some([b'4', ..]) => return Some(PiModel::Pi4),
        Some(_) => return Some(PiModel::Pi5),
        None => {}
    }
    if arch == ClientArch::ARM_RPIBOOT {
        return Some(PiModel::Pi5);
    }
    // Its serial number four times (DHCP_OPTION97=0). One octet sixteen times is the ROM of an older one, and many a PC.
    let is_serial =
        guid.len() == 16 && guid.chunks(4).all(|part| part == &guid[..4]) && guid.iter().any(|octet| *octet != guid[0]);
    let is_registered = RASPBERRY_PI.iter().any(|prefix| request.mac.octets().starts_with(prefix));
    match (is_serial, is_registered) {
        (true, _) => Some(PiModel::Pi4),
        (false, true) => Some(PiModel::Pi3),
        (false, false) => None,
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ipxe { arch: Some(arch), ability: Ability::Able } => write!(f, "iPXE on {arch}"),
            Self::Ipxe { arch: None, ability: Ability::Able } => f.write_str("iPXE"),
            Self::Ipxe { arch: Some(arch), ability: Ability::Lacking } => write!(f, "iPXE without HTTP or iSCSI on {arch}"),
            Self::Ipxe { arch: None, ability: Ability::Lacking } => f.write_str("iPXE without HTTP or iSCSI"),
            Self::Gpxe { arch: Some(arch) } => write!(f, "gPXE on {arch}"),
            Self::Gpxe { arch: None } => f.write_str("gPXE"),
            Self::Etherboot => f.write_str("an Etherboot ROM"),
            Self::Bootp => f.write_str("a BOOTP client"),
            Self::PxeFirmware { arch } => write!(f, "{arch} (PXEClient)"),
            Self::HttpBoot { arch } => write!(f, "{arch} (HTTPClient)"),
            Self::UBoot { arch: Some(arch) } => write!(f, "U-Boot on {arch}"),
            Self::UBoot { arch: None } => f.write_str("U-Boot"),
            Self::RaspberryPi(PiModel::Pi3) => f.write_str("a Raspberry Pi's ROM"),
            Self::RaspberryPi(PiModel::Pi4) => f.write_str("a Raspberry Pi 4"),
            Self::RaspberryPi(PiModel::Pi5) => f.write_str("a Raspberry Pi 5"),
            Self::Plain => f.write_str("an operating system"),
        }
    }
}
