//! Client system architectures: option 93 of a booting machine (RFC 4578 §2.1, RFC 5970 §3.3, IANA "Processor
//! Architecture Types").
//!
//! **Invariant:** an unknown number stays unknown; it never reads as another architecture.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a machine's firmware says it runs, by IANA's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ClientArch(pub u16);

impl ClientArch {
    /// x86 BIOS.
    pub const BIOS: Self = Self(0);
    /// x86 UEFI, 32 bit.
    pub const EFI_IA32: Self = Self(6);
    /// x64 UEFI; the RFC's text swaps 7 and 9, firmware sends 7.
    pub const EFI_X64: Self = Self(7);
    /// EBC by IANA, x64 UEFI by some firmware: treated as [`Self::EFI_X64`].
    pub const EFI_BC: Self = Self(9);
    /// ARM 64-bit UEFI.
    pub const EFI_ARM64: Self = Self(11);
    /// x64 UEFI boot over HTTP.
    pub const EFI_X64_HTTP: Self = Self(16);
    /// A Raspberry Pi's own loader, where it does not call itself x86 BIOS.
    pub const ARM_RPIBOOT: Self = Self(41);

    /// The numbers that PCs and ARM machines send.
    pub const KNOWN: [Self; 12] =
        [Self(0), Self(6), Self(7), Self(9), Self(10), Self(11), Self(15), Self(16), Self(17), Self(18), Self(19), Self(20)];

    /// True for firmware that fetches its loader over HTTP (RFC 5970 §3.3).
    pub fn boots_over_http(self) -> bool {
        matches!(self.0, 15..=20)
    }

    /// True for x64 UEFI by any of its numbers.
    pub fn is_efi_x64(self) -> bool {
        matches!(self, Self::EFI_X64 | Self::EFI_BC | Self::EFI_X64_HTTP)
    }

    /// The platform whose loaders run there, however they come; `None` where no iPXE runs.
    pub fn platform(self) -> Option<Platform> {
        match self.0 {
            0 | 20 => Some(Platform::Bios),
            6 | 15 => Some(Platform::UefiIa32),
            7 | 9 | 16 | 17 => Some(Platform::UefiX64),
            10 | 18 => Some(Platform::UefiArm32),
            11 | 19 => Some(Platform::UefiArm64),
            _ => None,
        }
    }
}

/// What a loader runs on: the architectures that take the same file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Platform {
    /// x86 BIOS.
    Bios,
    /// x86 UEFI, 32 bit.
    UefiIa32,
    /// x64 UEFI.
    UefiX64,
    /// ARM 32-bit UEFI.
    UefiArm32,
    /// ARM 64-bit UEFI.
    UefiArm64,
}

impl Platform {
    /// The machine number of its programs (PE format, `IMAGE_FILE_MACHINE_*`); BIOS loaders have none.
    pub fn pe_machine(self) -> Option<u16> {
        match self {
            Self::Bios => None,
            Self::UefiIa32 => Some(0x014c),
            Self::UefiX64 => Some(0x8664),
            Self::UefiArm32 => Some(0x01c2),
            Self::UefiArm64 => Some(0xaa64),
        }
    }

    /// Whether a file of this name can be for it: UEFI starts `.efi`, and BIOS anything else.
    pub fn takes(self, file: &str) -> bool {
        file.to_ascii_lowercase().ends_with(".efi") == (self != Self::Bios)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bios => "bios",
            Self::UefiIa32 => "uefi-ia32",
            Self::UefiX64 => "uefi-x64",
            Self::UefiArm32 => "uefi-arm32",
            Self::UefiArm64 => "uefi-arm64",
        })
    }
}

impl fmt::Display for ClientArch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0 => "x86 BIOS",
            6 => "x86 UEFI",
            7 => "x64 UEFI",
            9 => "EBC",
            10 => "ARM 32-bit UEFI",
            11 => "ARM 64-bit UEFI",
            15 => "x86 UEFI boot from HTTP",
            16 => "x64 UEFI boot from HTTP",
            18 => "ARM 32-bit UEFI boot from HTTP",
            19 => "ARM 64-bit UEFI boot from HTTP",
            17 => "EBC boot from HTTP",
            20 => "x86 BIOS boot from HTTP",
            21 => "ARM 32-bit",
            22 => "ARM 64-bit",
            41 => "ARM rpiboot",
            other => return write!(f, "architecture {other}"),
        };
        f.write_str(name)
    }
}
