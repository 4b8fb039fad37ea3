//! Moments of the host's own clock: milliseconds since it booted (`CLOCK_BOOTTIME`), which nobody sets.
//!
//! **Invariant:** arithmetic never wraps; a moment says nothing beside the boot id of the boot it belongs to.

use serde::{Deserialize, Serialize};
use std::{ops::Add, time::Duration};

/// A moment, in milliseconds since the host booted, its sleep included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Mono(u64);

impl Mono {
    /// The boot itself.
    pub const BOOT: Self = Self(0);

    /// Later than any moment that comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// So many milliseconds after the boot.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the boot.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; nothing where it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl From<Duration> for Mono {
    fn from(since_boot: Duration) -> Self {
        Self(u64::try_from(since_boot.as_millis()).unwrap_or(u64::MAX))
    }
}

impl Add<Duration> for Mono {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_never_wrap() {
        let (early, late) = (Mono::from_millis(1_000), Mono::from_millis(61_000));
        assert_eq!((late.since(early), early.since(late)), (Duration::from_secs(60), Duration::ZERO));
        assert_eq!(Mono::NEVER + Duration::from_secs(1), Mono::NEVER);
        assert_eq!(early + Duration::from_secs(60), late);
    }
}
