//! How written consent to destroy data is spelled.
//!
//! **Invariant:** each form names exactly one object, or everything; nothing is matched by a pattern.

use crate::{
    names::{NameError, string_form},
    site::Consent,
};
use std::{fmt, str::FromStr};

impl FromStr for Consent {
    type Err = NameError;

    /// Reads `image@version`, `machine.image` or `*`.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text == "*" {
            return Ok(Self::Everything);
        }
        if let Some((image, version)) = text.split_once('@') {
            return Ok(Self::Version(image.parse()?, version.parse()?));
        }
        if let Some((machine, image)) = text.split_once('.') {
            return Ok(Self::Clone(machine.parse()?, image.parse()?));
        }
        let rule = "is not \"image@version\", \"machine.image\" or \"*\"";
        Err(NameError::new("consent", text, rule))
    }
}

impl fmt::Display for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("*"),
            Self::Version(image, version) => write!(f, "{image}@{version}"),
            Self::Clone(machine, image) => write!(f, "{machine}.{image}"),
        }
    }
}

string_form!(
    Consent,
    "what may be destroyed: image@version, machine.image, or * for anything",
    "^(\\*|[a-z0-9-]+@[a-z0-9.-]+|[a-z0-9-]+\\.[a-z0-9-]+)$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consent_reads_back_what_it_prints() {
        for text in ["*", "win11@2026-10", "ubuntu@24.04.1", "pc03.ubuntu"] {
            assert_eq!(text.parse::<Consent>().map(|c| c.to_string()).as_deref(), Ok(text));
        }
        for bad in ["", "win11", "win11@", "@2026", "pc*.ubuntu", "pc03.ubuntu.a", "win11@*"] {
            assert!(bad.parse::<Consent>().is_err(), "{bad} passed");
        }
    }
}
