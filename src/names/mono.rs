//! A moment by the clock that nobody can set.
//!
//! Counts milliseconds since the kernel booted, suspended time included (CLOCK_BOOTTIME, clock_gettime(2)). **Invariant:** arithmetic
//! saturates, so no input makes a moment wrap; two moments compare only within one boot, whose id stands beside them where they are
//! kept.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Milliseconds since the kernel booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, schemars::JsonSchema)]
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

    /// So many milliseconds after the boot.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The moment so long after this one; [`Self::NEVER`] at most.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis(by)))
    }

    /// How long ago `earlier` was at this moment; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// The moment that long after the boot.
impl From<Duration> for Mono {
    fn from(since_boot: Duration) -> Self {
        Self(millis(since_boot))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_never_wraps() {
        let second = Mono::from(Duration::from_secs(1));
        assert_eq!((second.as_millis(), second.after(Duration::from_millis(5))), (1000, Mono::from_millis(1005)));
        assert_eq!(second.since(Mono::BOOT), Duration::from_secs(1));
        assert_eq!(Mono::BOOT.since(second), Duration::ZERO, "what lies ahead is not long ago");
        assert_eq!(second.after(Duration::MAX), Mono::NEVER);
        assert_eq!(Mono::NEVER.after(Duration::from_secs(1)), Mono::NEVER);
        assert_eq!(Mono::from(Duration::MAX), Mono::NEVER);
    }

    #[test]
    fn a_moment_is_a_number_in_a_document() {
        assert_eq!(serde_json::to_string(&Mono::from_millis(7)).expect("serialises"), "7");
        assert_eq!(serde_json::from_str::<Mono>("7").expect("reads"), Mono::from_millis(7));
        assert!(serde_json::from_str::<Mono>("-7").is_err());
    }
}
