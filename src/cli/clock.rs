//! Times as people read them: the clock of this host, with its offset.
//!
//! **Invariant:** for text alone; documents keep UTC.

use jiff::{Timestamp, tz::TimeZone};

/// How a moment is shown.
const FORM: &str = "%Y-%m-%d %H:%M:%S %:z";

/// A moment to the second, in the time zone of this host (`TZ`, else /etc/localtime).
pub(super) fn local(at: Timestamp) -> String {
    at.to_zoned(TimeZone::system()).strftime(FORM).to_string()
}
