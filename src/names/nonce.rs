//! The number by which one boot of a machine is told from its others.
//!
//! **Invariant:** sixteen lower-case hexadecimal digits, spelt in one way only, so that two texts are the same boot or are not.

use super::{NameError, string_form};
use std::{fmt, str::FromStr};

/// A random number that the first script of a boot carries, and that no two boots share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootNonce(u64);

impl BootNonce {
    /// A nonce of eight random octets.
    pub fn from_octets(octets: [u8; 8]) -> Self {
        Self(u64::from_be_bytes(octets))
    }

    /// The eight octets.
    pub fn octets(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }
}

impl FromStr for BootNonce {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let wrong = || NameError::new("boot nonce", text, "is not sixteen lower-case hexadecimal digits");
        match text.len() == 16 && text.bytes().all(is_digit) {
            true => u64::from_str_radix(text, 16).map(Self).map_err(|_| wrong()),
            false => Err(wrong()),
        }
    }
}

impl fmt::Display for BootNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

string_form!(BootNonce, "one boot of a machine", "^[0-9a-f]{16}$");

#[cfg(test)]
mod tests {
    use super::BootNonce;

    #[test]
    fn a_nonce_is_spelt_in_one_way() {
        let nonce = BootNonce::from_octets([0, 0x1f, 0, 0, 0, 0, 0, 0xab]);
        assert_eq!((nonce.to_string().as_str(), nonce.octets()[1]), ("001f0000000000ab", 0x1f));
        assert_eq!(nonce.to_string().parse(), Ok(nonce));
        for text in ["", "1f", "001F0000000000AB", "+01f0000000000ab", "001f0000000000abc", "001f0000000000a "] {
            assert!(text.parse::<BootNonce>().is_err(), "{text:?}");
        }
    }
}
