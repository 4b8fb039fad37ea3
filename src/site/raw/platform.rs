//! Something that firmware is told, by the platform it runs on.
//!
//! **Invariant:** every platform has a key here, so that editors complete them and an unknown one is a finding.

use super::Spanned;
use crate::names::Platform;
use schemars::JsonSchema;
use serde::Deserialize;

/// One value for each platform.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a table")]
pub(in crate::site) struct ByPlatform<T> {
    /// For x86 BIOS.
    bios: Option<Spanned<T>>,
    /// For x86 UEFI of 32 bit.
    uefi_ia32: Option<Spanned<T>>,
    /// For x64 UEFI.
    uefi_x64: Option<Spanned<T>>,
    /// For ARM UEFI of 32 bit.
    uefi_arm32: Option<Spanned<T>>,
    /// For ARM UEFI of 64 bit.
    uefi_arm64: Option<Spanned<T>>,
}

impl<T> ByPlatform<T> {
    /// Those that are there.
    pub(in crate::site) fn entries(&self) -> impl Iterator<Item = (Platform, &Spanned<T>)> {
        let Self { bios, uefi_ia32, uefi_x64, uefi_arm32, uefi_arm64 } = self;
        let all = [
            (Platform::Bios, bios),
            (Platform::UefiIa32, uefi_ia32),
            (Platform::UefiX64, uefi_x64),
            (Platform::UefiArm32, uefi_arm32),
            (Platform::UefiArm64, uefi_arm64),
        ];
        all.into_iter().filter_map(|(platform, value)| Some((platform, value.as_ref()?)))
    }
}
