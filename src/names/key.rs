//! The key that chooses an entry of a boot menu.
//!
//! **Invariant:** one lower-case letter or digit: iPXE reads a longer text as a number, and leaves case to the keyboard
//! (`hci/commands/menu_cmd.c`, `core/parseopt.c`).

use super::{NameError, string_form};
use std::{fmt, str::FromStr};

/// A key of a menu: one of `a` to `z` and `0` to `9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MenuKey(char);

impl MenuKey {
    /// Every key there is, letters first.
    pub fn all() -> impl Iterator<Item = Self> {
        ('a'..='z').chain('0'..='9').map(Self)
    }

    /// The key of this character, if it is one.
    pub fn of(c: char) -> Option<Self> {
        (c.is_ascii_lowercase() || c.is_ascii_digit()).then_some(Self(c))
    }
}

impl FromStr for MenuKey {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut chars = text.chars();
        let key = chars.next().and_then(Self::of).filter(|_| chars.next().is_none());
        key.ok_or_else(|| NameError::new("key", text, "is not one lower-case letter or digit"))
    }
}

impl fmt::Display for MenuKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

string_form!(MenuKey, "key of a menu, such as w", "^[a-z0-9]$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_one_letter_or_digit() {
        assert_eq!("w".parse::<MenuKey>().map(|key| key.to_string()).as_deref(), Ok("w"));
        for bad in ["", "W", "ww", " ", "-", "$", "é", "0x1b", "\n"] {
            assert!(bad.parse::<MenuKey>().is_err(), "{bad:?} passed");
        }
        assert_eq!(MenuKey::all().count(), 36);
    }
}
