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

    /// The numbers that PCs and ARM machines send.
    pub const KNOWN: [Self; 11] =
        [Self(0), Self(6), Self(7), Self(9), Self(10), Self(11), Self(15), Self(16), Self(18), Self(19), Self(20)];

    /// True for firmware that fetches its loader over HTTP (RFC 5970 §3.3).
    pub fn boots_over_http(self) -> bool {
        matches!(self.0, 15 | 16 | 18 | 19 | 20)
    }

    /// True for x64 UEFI by any of its numbers.
    pub fn is_efi_x64(self) -> bool {
        matches!(self, Self::EFI_X64 | Self::EFI_BC | Self::EFI_X64_HTTP)
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
            20 => "x86 BIOS boot from HTTP",
            other => return write!(f, "architecture {other}"),
        };
        f.write_str(name)
    }
}
