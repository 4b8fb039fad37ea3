//! What machines that are added together are called: `pc{:02}` is pc01, pc02, …
//!
//! **Invariant:** whatever number is put in, what comes out is a legal name or none.

use crate::names::{MachineName, NameError};
use std::{fmt, str::FromStr};

/// A name with a place for a number: `{}`, or `{:02}` for two digits at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    before: String,
    digits: usize,
    after: String,
}

impl NamePattern {
    /// The name with a number.
    pub fn name(&self, number: u32) -> Option<MachineName> {
        let Self { before, digits, after } = self;
        format!("{before}{number:0digits$}{after}").parse().ok()
    }

    /// The number in a name of this pattern.
    pub fn number(&self, name: &MachineName) -> Option<u32> {
        let number = name.as_str().strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        number.parse().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))
    }
}

impl FromStr for NamePattern {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = || NameError::new("pattern", text, "is no name with a place for a number, such as pc{:02}");
        let (before, rest) = text.split_once('{').ok_or_else(wrong)?;
        let (form, after) = rest.split_once('}').ok_or_else(wrong)?;
        let digits = match form.strip_prefix(':') {
            None if form.is_empty() => 1,
            // More digits than a number of machines has are a slip.
            Some(digits) => digits.parse().ok().filter(|digits| (1..=9).contains(digits)).ok_or_else(wrong)?,
            None => return Err(wrong()),
        };
        let pattern = Self { before: before.to_owned(), digits, after: after.to_owned() };
        pattern.name(1).map(|_| pattern).ok_or_else(wrong)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{:0{}}}{}", self.before, self.digits, self.after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_gives_names_and_knows_its_own() {
        let named = |text: &str, number| text.parse::<NamePattern>().ok()?.name(number).map(|name| name.to_string());
        assert_eq!(named("pc{:02}", 7).as_deref(), Some("pc07"));
        assert_eq!(named("pc{:02}", 107).as_deref(), Some("pc107"));
        assert_eq!(named("row{}-a", 3).as_deref(), Some("row3-a"));
        for wrong in ["pc", "pc{", "pc{x}", "PC{:02}", "pc{:0}", "pc{:99}", "{}-", "pc{}{}"] {
            assert!(wrong.parse::<NamePattern>().is_err(), "{wrong}");
        }
        let pattern: NamePattern = "pc{:02}".parse().expect("legal");
        let number = |name: &str| pattern.number(&name.parse().expect("legal"));
        assert_eq!((number("pc12"), number("pc-1"), number("till"), number("pc")), (Some(12), None, None, None));
    }
}
