//! Names that people give: sites, networks, machines, images, versions.
//!
//! **Invariant:** lower-case letters, digits and `-` only (and `.` in versions), so that the same spelling stands in an
//! IQN, a DNS label, an LVM name, a tag and an iPXE script. A machine's and an image's name hold no `.`, so
//! `seat.<machine>.<image>.a` reads back without doubt.

use super::{NameError, string_form};
use std::{fmt, str::FromStr};

const LONGEST: usize = 63;

fn parse_label(what: &'static str, text: &str, dots: &str) -> Result<String, NameError> {
    let refuse = |rule: &str| Err(NameError::new(what, text, rule));
    if text.is_empty() {
        return refuse("must not be empty");
    }
    if text.len() > LONGEST {
        return refuse("is longer than 63 characters, the length of a DNS label (RFC 1035 §2.3.4)");
    }
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || dots.contains(c);
    if let Some(bad) = text.chars().find(|c| !legal(*c)) {
        let dot = if dots.is_empty() { "" } else { " and '.'" };
        return refuse(&format!("holds {bad:?}; only a-z, 0-9, '-'{dot} are allowed"));
    }
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if !edge(text.chars().next()) || !edge(text.chars().next_back()) {
        return refuse("must begin and end with a letter or a digit");
    }
    if text.contains("..") {
        return refuse("must not hold two dots in a row");
    }
    Ok(text.to_owned())
}

macro_rules! label {
    ($(#[$doc:meta])* $type:ident, $what:literal, $dots:literal, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                parse_label($what, text, $dots).map(Self)
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        string_form!($type, $what, $pattern);
    };
}

label!(
    /// A site's name; part of every tag and backstore name, fixed for the site's life.
    SiteName, "site name", "", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
);
label!(
    /// A network's name: the stem of its file under `network/`.
    NetworkName, "network name", "", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
);
label!(
    /// A machine's name; also its DNS host name.
    MachineName, "machine name", "", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
);
label!(
    /// An image's name: the stem of its file under `images/`.
    ImageName, "image name", "", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
);
label!(
    /// A version of an image, such as `2026-11` or `24.04.1`.
    VersionName, "version name", ".", "^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_dots_belong_to_versions_only() {
        for good in ["pc01", "a", "row-a-1", &"x".repeat(63)] {
            assert_eq!(good.parse::<MachineName>().map(|n| n.to_string()).as_deref(), Ok(good));
        }
        for bad in ["", "PC01", "pc 01", "pc.01", "-a", "a-", "pc${x}", "é", &"x".repeat(64)] {
            assert!(bad.parse::<MachineName>().is_err(), "{bad:?} passed");
        }
        assert!("24.04.1".parse::<VersionName>().is_ok());
        assert!("24..04".parse::<VersionName>().is_err());
        assert!(".hidden".parse::<VersionName>().is_err());
    }
}
