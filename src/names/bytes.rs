//! Sizes in bytes with their units.

use super::{NameError, string_form};
use std::{fmt, str::FromStr};

/// Units by name and size; the printed form takes the largest binary one that divides evenly.
const UNITS: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

/// A size in bytes, written with a unit: `64GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Bytes(pub u64);

impl Bytes {
    /// For people: in the largest unit that leaves a whole part, with one decimal; not to be read back.
    pub fn rounded(self) -> String {
        let (unit, size) = UNITS[..4].iter().find(|(_, size)| self.0 >= *size).unwrap_or(&("B", 1));
        let tenths = u128::from(self.0) * 10 / u128::from(*size);
        match tenths % 10 {
            0 => format!("{} {unit}", tenths / 10),
            tenth => format!("{}.{tenth} {unit}", tenths / 10),
        }
    }
}

impl FromStr for Bytes {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |rule: &str| Err(NameError::new("size", text, rule));
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit.trim_start()) else {
            return refuse("needs a whole number and a unit: B, KiB, MiB, GiB, TiB (or kB, MB, GB, TB), such as 64GiB");
        };
        match number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor)) {
            Some(bytes) => Ok(Self(bytes)),
            None => refuse("needs a whole number before its unit, below 16 EiB"),
        }
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, size) = UNITS[..4].iter().find(|(_, size)| self.0 != 0 && self.0.is_multiple_of(*size)).unwrap_or(&("B", 1));
        write!(f, "{} {unit}", self.0 / size)
    }
}

string_form!(Bytes, "size with a unit, such as 64GiB", "^[0-9]+ ?([KMGT]iB|[kKMGT]B|B)$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_back_what_they_print() {
        for (text, bytes, shown) in [
            ("64GiB", 64 << 30, "64 GiB"),
            ("1 TiB", 1 << 40, "1 TiB"),
            ("1536MiB", 1536 << 20, "1536 MiB"),
            ("10GB", 10_000_000_000, "9765625 KiB"),
            ("7B", 7, "7 B"),
            ("0B", 0, "0 B"),
        ] {
            let size: Bytes = text.parse().expect("legal");
            assert_eq!((size.0, size.to_string().as_str()), (bytes, shown));
            assert_eq!(shown.parse::<Bytes>(), Ok(size));
        }
        assert_eq!(Bytes(3_958_240_182_272).rounded(), "3.5 TiB");
        assert_eq!((Bytes(64 << 30).rounded(), Bytes(0).rounded()), ("64 GiB".into(), "0 B".into()));
        for bad in ["", "64", "GiB", "6.4GiB", "-1GiB", "64G", "99999999999TiB"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad} passed");
        }
    }
}
