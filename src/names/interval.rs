//! Lengths of time with their units.

use super::{NameError, string_form};
use jiff::{SpanRelativeTo, Unit};
use std::{fmt, str::FromStr, time::Duration};

/// A length of time of whole milliseconds, written with units: `5s`, `45m`, `12h`, `1h30m`, `7d` (a day is 24 h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval(Duration);

impl Interval {
    /// From whole seconds.
    pub const fn seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The same as the standard library's type.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Interval {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |rule: &str| NameError::new("duration", text, rule);
        let refused = |_| match is_number_with_unit(text) {
            true => wrong(TOO_LONG),
            false => wrong("needs a number and a unit: ms, s, m, h or d, such as 45m"),
        };
        let span: jiff::Span = text.parse().map_err(refused)?;
        let relative = SpanRelativeTo::days_are_24_hours();
        let millis = span.total((Unit::Millisecond, relative)).map_err(refused)?;
        match millis {
            ..0.0 => Err(wrong("lies before now, and must be a length of time")),
            0.0..=315_360_000_000.0 => Ok(Self(Duration::from_millis(millis as u64))),
            _ => Err(wrong(TOO_LONG)),
        }
    }
}

/// What is said of a time that nobody waits for.
const TOO_LONG: &str = "is too long: ten years are the most";

/// True for a number and one of the units, however large the number is.
fn is_number_with_unit(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < text.len() && ["ms", "s", "m", "h", "d"].contains(&unit)
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis() as u64;
        let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)];
        let (unit, size) = units.into_iter().find(|(_, size)| millis != 0 && millis.is_multiple_of(*size)).unwrap_or(("ms", 1));
        write!(f, "{}{unit}", millis / size)
    }
}

string_form!(Interval, "duration with a unit, such as 45m", "[0-9]");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back_what_they_print() {
        for (text, seconds, shown) in
            [("5s", 5, "5s"), ("45m", 2700, "45m"), ("12h", 43_200, "12h"), ("1h30m", 5400, "90m"), ("7d", 604_800, "7d")]
        {
            let read: Interval = text.parse().expect("legal");
            assert_eq!((read, read.to_string().as_str()), (Interval::seconds(seconds), shown));
            assert_eq!(shown.parse::<Interval>(), Ok(read));
        }
        let unit = "needs a number and a unit: ms, s, m, h or d, such as 45m";
        let before = "lies before now, and must be a length of time";
        for (bad, rule) in [
            ("", unit),
            ("5", unit),
            ("s", unit),
            ("5 parsecs", unit),
            ("1mo", unit),
            ("-5s", before),
            ("1h ago", before),
            ("4015d", TOO_LONG),
            ("99999999d", TOO_LONG),
            ("999999999999999999999999d", TOO_LONG),
        ] {
            assert_eq!(bad.parse::<Interval>().map_err(|error| error.rule), Err(rule.to_owned()), "{bad}");
        }
    }
}
