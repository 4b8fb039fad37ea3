//! The time that leases live by: the server's own, from where its clock stood when it first served in this run of the host.
//!
//! **Invariant:** it never steps while the host runs, whoever sets the wall clock and however often the service is restarted: a clock
//! that NTP moves by years ends no lease and makes none eternal. EFFECTS: the clocks, and one small file beside the leases.
#![expect(clippy::disallowed_methods, reason = "effect room: the clocks, and the file that says where they stood")]

use crate::serve::boots::{boot_id, boottime};
use fs_err as fs;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::{io, path::Path};

/// The file beside the leases.
const FILE: &str = "clock";

/// The time that leases live by.
#[derive(Debug, Clone, Copy)]
pub struct LeaseClock {
    offset: i64,
}

/// What lies on disk.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Anchor {
    /// The kernel's name for the run of the host.
    boot: String,
    /// Milliseconds from the beginning of that run to 1970, as the wall clock had it.
    offset: i64,
}

impl LeaseClock {
    /// The clock of this run of the host, which begins where the wall clock stands if nothing is known of the run.
    pub fn open(directory: &Path) -> Self {
        Self::open_in(directory, &boot_id(), Timestamp::now())
    }

    fn open_in(directory: &Path, boot: &str, wall: Timestamp) -> Self {
        let path = directory.join(FILE);
        let read = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Anchor>(&bytes).ok());
        // A run without a name is no run that one could come back to.
        if let Some(anchor) = read.filter(|anchor| anchor.boot == boot && !boot.is_empty()) {
            return Self { offset: anchor.offset };
        }
        let anchor = Anchor { boot: boot.to_owned(), offset: wall.as_millisecond().saturating_sub(since_start()) };
        if let Err(error) = write(directory, &anchor) {
            tracing::warn!(path = %path.display(), %error, "the clock of the leases cannot be kept over a restart");
        }
        Self { offset: anchor.offset }
    }

    /// The time.
    pub fn now(self) -> Timestamp {
        // Beyond the calendar only where somebody wrote the file.
        Timestamp::from_millisecond(since_start().saturating_add(self.offset)).unwrap_or_else(|_| Timestamp::now())
    }
}

fn since_start() -> i64 {
    i64::try_from(boottime().0).unwrap_or(i64::MAX)
}

fn write(directory: &Path, anchor: &Anchor) -> io::Result<()> {
    let mut fresh = tempfile::NamedTempFile::new_in(directory)?;
    serde_json::to_writer(&mut fresh, anchor)?;
    fresh.persist(directory.join(FILE)).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_that_is_set_moves_no_lease_while_the_host_runs_and_the_next_run_begins_with_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |second: i64| Timestamp::from_second(second).expect("a time");
        let near = |clock: LeaseClock, second: i64| (clock.now().as_second() - second).abs() < 60;
        // The battery of the clock is empty, and NTP sets it before the service is restarted.
        assert!(near(LeaseClock::open_in(directory.path(), "one", at(946_684_800)), 946_684_800));
        assert!(near(LeaseClock::open_in(directory.path(), "one", at(1_800_000_000)), 946_684_800));
        assert!(near(LeaseClock::open_in(directory.path(), "two", at(1_800_000_000)), 1_800_000_000));
        assert!(near(LeaseClock::open_in(directory.path(), "", at(5)), 5));
        assert!(near(LeaseClock::open_in(directory.path(), "", at(1000)), 1000), "without a name no run is the same");
        for rubbish in ["", "{", r#"{"boot":"one"}"#] {
            fs::write(directory.path().join(FILE), rubbish).expect("written");
            assert!(near(LeaseClock::open_in(directory.path(), "one", at(7000)), 7000), "{rubbish:?}");
        }
    }
}
