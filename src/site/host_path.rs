//! A path of the server that a site names: where it stands, and what it is for.
//!
//! **Invariant:** says nothing of what is there: only the server knows whether it allows the path.

use crate::diagnostic::{Code, Diagnostic, Place, Severity};
use std::fmt;

/// The key that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostPathKey {
    /// `[boot] loaders`
    Loaders,
    /// `[storage] image-store`
    ImageStore,
    /// `[iscsi] chap-secrets`
    ChapSecrets,
}

impl fmt::Display for HostPathKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Loaders => "loaders",
            Self::ImageStore => "image-store",
            Self::ChapSecrets => "chap-secrets",
        })
    }
}

/// A path of the server, with its place in the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPath {
    /// The key.
    pub key: HostPathKey,
    /// The path, absolute.
    pub path: String,
    pub(super) place: Place,
}

impl HostPath {
    /// The finding that it is not allowed.
    pub fn refuse(&self, message: String, hint: String) -> Diagnostic {
        let (place, code) = (self.place.clone(), Code::new("path-not-allowed"));
        Diagnostic { place, severity: Severity::Error, code, message, hint: Some(hint), also: Vec::new() }
    }
}
