//! iSCSI qualified names (RFC 7143 §4.2.7, RFC 3722).
//!
//! **Invariant:** lower case and at most 223 bytes: LIO lower-cases an initiator's name before it looks for the ACL, and
//! `mkdir` in configfs accepts any target name at all, so nobody below us would refuse a wrong one.

use super::{NameError, string_form};
use std::{fmt, str::FromStr};

/// The longest name RFC 7143 §4.2.7.1 allows, in bytes.
const LONGEST: usize = 223;

/// The name of a target, an initiator, or the prefix of both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Iqn(String);

impl Iqn {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// This name, `:` and `rest`: how targets and initiators are named from a site's prefix.
    pub fn join(&self, rest: &str) -> Result<Self, NameError> {
        format!("{}:{rest}", self.0).parse()
    }
}

impl FromStr for Iqn {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |rule: &str| Err(NameError::new("IQN", text, rule));
        if text.len() > LONGEST {
            return refuse("is longer than 223 bytes (RFC 7143 §4.2.7.1)");
        }
        if let Some(bad) = text.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:".contains(*c))) {
            return refuse(&format!("holds {bad:?}; only a-z, 0-9, '-', '.' and ':' are allowed"));
        }
        let Some(rest) = text.strip_prefix("iqn.") else {
            return refuse("must begin with \"iqn.\"");
        };
        let (date, domain) = rest.split_at_checked(7).unwrap_or((rest, ""));
        let date = date.as_bytes();
        let dated = matches!(date, [y1, y2, y3, y4, b'-', m1, m2]
            if [y1, y2, y3, y4, m1, m2].iter().all(|d| d.is_ascii_digit()) && matches!((m1, m2), (b'0', b'1'..=b'9') | (b'1', b'0'..=b'2')));
        let authority = domain.split(':').next().unwrap_or("");
        let named = authority.strip_prefix('.').is_some_and(|d| !d.is_empty() && d.split('.').all(|label| !label.is_empty()));
        if !dated || !named {
            return refuse("must read iqn.<year>-<month>.<reversed domain>, such as iqn.2026-11.example.lucky-cat");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Iqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

string_form!(
    Iqn,
    "iSCSI qualified name, lower case",
    "^iqn\\.[0-9]{4}-(0[1-9]|1[0-2])\\.[a-z0-9-]+(\\.[a-z0-9-]+)*(:[a-z0-9.:-]+)?$"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rfc_and_stay_lower_case() {
        for good in ["iqn.2026-11.example.lucky-cat", "iqn.2026-11.example.lucky-cat:pc01.win11", "iqn.2001-04.com:x:y"] {
            assert!(good.parse::<Iqn>().is_ok(), "{good} refused");
        }
        for bad in [
            "",
            "NotAnIqn",
            "iqn.2026-13.example.x",
            "iqn.2026-11",
            "iqn.2026-11.",
            "iqn.2026-11:x",
            "iqn.2026-11.Example.x",
            "iqn.2026-11.a b",
            "iqn.20a6-11.example.x",
            "iqn.2026-11..x",
        ] {
            assert!(bad.parse::<Iqn>().is_err(), "{bad} passed");
        }
        assert!(format!("iqn.2026-11.{}", "x".repeat(211)).parse::<Iqn>().is_ok());
        assert!(format!("iqn.2026-11.{}", "x".repeat(212)).parse::<Iqn>().is_err());
    }
}
