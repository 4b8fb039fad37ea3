//! A part of something: a percentage, or a size of its own.

use super::{Bytes, NameError, string_form};
use std::{fmt, str::FromStr};

/// Whole per cent, 0 to 100, written `10%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u8);

impl Percent {
    /// From a whole number; above 100 it is 100.
    pub const fn new(percent: u8) -> Self {
        Self(if percent > 100 { 100 } else { percent })
    }

    /// The number, 0 to 100.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// This part of a size, rounded down.
    pub fn of(self, whole: Bytes) -> Bytes {
        Bytes((u128::from(whole.0) * u128::from(self.0) / 100) as u64)
    }
}

impl FromStr for Percent {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let number = text.strip_suffix('%').and_then(|n| n.trim_end().parse::<u8>().ok());
        number
            .filter(|n| *n <= 100)
            .map(Self)
            .ok_or_else(|| NameError::new("percentage", text, "needs a whole number from 0 to 100 and '%', such as 10%"))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

string_form!(Percent, "percentage, such as 10%", "^(100|[0-9]{1,2}) ?%$");

/// A part of a volume group's free space, `90%`, or a size, `500GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolSize {
    /// A percentage of what is free.
    Percent(Percent),
    /// So many bytes, however much is free.
    Size(Bytes),
}

impl PoolSize {
    /// What this comes to, of `free`.
    pub fn of(self, free: Bytes) -> Bytes {
        match self {
            Self::Percent(percent) => percent.of(free),
            Self::Size(size) => size,
        }
    }
}

impl FromStr for PoolSize {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.ends_with('%') { text.parse().map(Self::Percent) } else { text.parse().map(Self::Size) }
    }
}

impl fmt::Display for PoolSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => percent.fmt(f),
            Self::Size(size) => size.fmt(f),
        }
    }
}

string_form!(PoolSize, "percentage such as 90%, or size such as 500GiB", "^[0-9]+ ?(%|[KMGT]iB|[kKMGT]B|B)$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_percentage_or_a_size() {
        assert_eq!("90%".parse::<PoolSize>().map(|s| s.of(Bytes(1000))), Ok(Bytes(900)));
        assert_eq!("5GiB".parse::<PoolSize>().map(|s| s.of(Bytes(1000))), Ok(Bytes(5 << 30)));
        assert!("101%".parse::<PoolSize>().is_err());
        assert!("ten".parse::<PoolSize>().is_err());
        assert_eq!(Percent::new(90).of(Bytes(u64::MAX)).0, 16_602_069_666_338_596_453);
    }
}
