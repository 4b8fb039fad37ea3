//! Retransmission: how long an acknowledgement is waited for before the same is sent again, and when a silent machine counts as gone.
//!
//! **Invariant:** only what was sent once is measured (Karn's rule), no measured wait is shorter than its [`Pace`] allows, and what
//! the machine asked for itself is not corrected. PURE. Follows RFC 1123 §4.2.3.2, RFC 2349 and RFC 6298.

use std::time::Duration;

/// The first wait while nothing is measured.
const FIRST: Duration = Duration::from_secs(1);
/// A measured wait for a window is no shorter: a machine that hashes or writes what it has now and then must draw no duplicates, and
/// one that knows windows knows what to do with them.
const LEAST: Duration = Duration::from_millis(200);
/// And one for a single block (RFC 6298 §2.4): the loaders of ROMs pause longer than that, and some take a second copy of a block
/// for the next one and hang, as a Raspberry Pi 4's.
const LEAST_OF_A_BLOCK: Duration = Duration::from_secs(1);
/// How long a block that a machine misses is waited for where nothing is measured, and the bounds of it where something is.
const SOON: Duration = Duration::from_millis(20);
const SOONEST: Duration = Duration::from_millis(5);
const LATEST_SOON: Duration = Duration::from_millis(100);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(8);
/// A machine that was silent for so long counts as gone: 1 + 2 + 4 + 8 + 8 + 8 seconds.
const PATIENCE: Duration = Duration::from_secs(31);

/// The waits of one transfer.
#[derive(Debug, Clone)]
pub struct Retransmit {
    /// What the machine asked for.
    asked: Option<Duration>,
    pace: Pace,
    measured: Option<RoundTrip>,
    /// When what is measured was sent.
    sent: Option<Duration>,
    /// When the transfer last went on.
    heard: Duration,
    /// Time-outs since then.
    time_outs: u32,
    /// Time-outs since a round trip was measured: where none can be, each was too short.
    unmeasured: u32,
}

/// How a machine takes its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Block after block, each acknowledged (RFC 1350).
    Blocks,
    /// In windows (RFC 7440).
    Windows,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// Blocks that were not sent before: how soon they are acknowledged is measured.
    New,
    /// Blocks of which some were, or the options: the answer may be to the ones before, or took the time a ROM prepares itself.
    Other,
}

/// The smoothed round trip (RFC 6298 §2).
#[derive(Debug, Clone, Copy)]
struct RoundTrip {
    smoothed: Duration,
    variation: Duration,
}

impl Retransmit {
    /// Of a transfer that begins; `asked` is its option.
    pub fn new(asked: Option<Duration>, pace: Pace) -> Self {
        Self { asked, pace, measured: None, sent: None, heard: Duration::ZERO, time_outs: 0, unmeasured: 0 }
    }

    /// Something is sent now; how long its answer is waited for.
    pub fn begin(&mut self, what: Sent, at: Duration) -> Duration {
        self.sent = match what {
            Sent::New => Some(at),
            Sent::Other => None,
        };
        let wait = match self.time_outs {
            0 => self.first(),
            // A ROM that drops a duplicate may begin its own second of silence with it, and must come to its end to speak: what
            // is measured makes the first wait short, and no other.
            time_outs => self.first().max(doubled(self.asked.unwrap_or(FIRST), time_outs)),
        };
        wait.min(self.longest()).min((self.heard + self.patience()).saturating_sub(at))
    }

    /// How long the rest of a window is waited for whose machine says that it misses a block: as long as two windows took, which is
    /// long enough for what is on its way, and much shorter than for a machine that says nothing.
    pub fn begin_soon(&mut self, at: Duration) -> Duration {
        self.sent = None;
        let window = self.measured.map_or(SOON / 2, |measured| measured.smoothed);
        (window * 2).clamp(SOONEST, LATEST_SOON).min((self.heard + self.patience()).saturating_sub(at))
    }

    /// The transfer went on.
    pub fn heard(&mut self, at: Duration) {
        if let Some(round_trip) = self.sent.take().and_then(|sent| at.checked_sub(sent)) {
            self.measured = Some(RoundTrip::with(self.measured, round_trip));
            self.unmeasured = 0;
        }
        self.heard = at;
        self.time_outs = 0;
    }

    /// A wait is over; whether the machine may still be there.
    pub fn time_out(&mut self, at: Duration) -> bool {
        self.time_outs = self.time_outs.saturating_add(1);
        self.unmeasured = self.unmeasured.saturating_add(1);
        at < self.heard + self.patience()
    }

    /// Whether a wait ended since the transfer last went on.
    pub fn is_overdue(&self) -> bool {
        self.time_outs > 0
    }

    /// The wait after something new: RFC 6298 §5.5 keeps it doubled until a round trip is measured again.
    fn first(&self) -> Duration {
        match (self.asked, self.measured) {
            (Some(asked), _) => asked,
            (None, Some(measured)) => doubled(measured.wait(self.pace), self.unmeasured),
            (None, None) => doubled(FIRST, self.unmeasured),
        }
    }

    fn longest(&self) -> Duration {
        LONGEST.max(self.asked.unwrap_or_default())
    }

    /// A machine that asked for long waits is sent everything twice at least.
    fn patience(&self) -> Duration {
        PATIENCE.max(self.asked.unwrap_or_default() * 2)
    }
}

impl RoundTrip {
    fn with(before: Option<Self>, round_trip: Duration) -> Self {
        match before {
            None => Self { smoothed: round_trip, variation: round_trip / 2 },
            Some(Self { smoothed, variation }) => {
                Self { smoothed: (smoothed * 7 + round_trip) / 8, variation: (variation * 3 + smoothed.abs_diff(round_trip)) / 4 }
            }
        }
    }

    fn wait(self, pace: Pace) -> Duration {
        let least = match pace {
            Pace::Blocks => LEAST_OF_A_BLOCK,
            Pace::Windows => LEAST,
        };
        (self.smoothed + self.variation * 4).max(least)
    }
}

fn doubled(wait: Duration, times: u32) -> Duration {
    wait.saturating_mul(2u32.saturating_pow(times))
}
