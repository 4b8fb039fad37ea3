//! Where a target listens, and under which number it shows a disk.

use super::{NameError, string_form};
use serde::{Deserialize, Serialize};
use std::{fmt, net::SocketAddr, str::FromStr};

/// An address and TCP port of a target; printed as configfs spells it, `192.0.2.1:3260` or `[2001:db8::1]:3260`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Portal(pub SocketAddr);

impl FromStr for Portal {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.parse().map(Self).map_err(|_| NameError::new("portal", text, "is not <address>:<port>"))
    }
}

impl fmt::Display for Portal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

string_form!(Portal, "address and TCP port", "^.+:[0-9]+$");

/// A logical unit's number; 0 is the system disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Lun(pub u16);

impl fmt::Display for Lun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
