//! The loaders: which one a machine is given, and their bytes.
//!
//! **Invariant:** only files that stand directly in the loaders' directory are loaders, and they are served from memory, so no
//! request of a machine ever opens a path.

use crate::names::ClientArch;
use hyper::body::Bytes;
use std::collections::BTreeMap;

/// The loaders by file name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaders(BTreeMap<String, Bytes>);

impl Loaders {
    /// The loader of this name; the case of letters does not matter, for some firmware upper-cases names (C24).
    pub fn find(&self, name: &str) -> Option<(&str, &Bytes)> {
        self.0
            .get_key_value(name)
            .or_else(|| self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)))
            .map(|(name, bytes)| (name.as_str(), bytes))
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl FromIterator<(String, Bytes)> for Loaders {
    fn from_iter<I: IntoIterator<Item = (String, Bytes)>>(loaders: I) -> Self {
        Self(loaders.into_iter().collect())
    }
}

/// The loader for an architecture, whether it comes by TFTP or HTTP; `None` where no iPXE of ours runs.
///
/// ARM64's is what projects call their renamed `bin-arm64-efi/ipxe.efi`: no distribution ships one.
pub fn loader_for(arch: ClientArch) -> Option<&'static str> {
    match arch.0 {
        0 => Some("undionly.kpxe"),
        7 | 9 | 16 => Some("ipxe.efi"),
        11 | 19 => Some("ipxe-arm64.efi"),
        _ => None,
    }
}
