//! The host's own record of which commit was applied last.
//!
//! It lies in the state directory, where root alone writes; everybody reads it, for the hooks run as whoever pushes. **Invariant:**
//! it never names a commit whose text is not kept beside it ([`last_good`](super::last_good) is written first); one that cannot be
//! read is the same as none, and is written anew with the next good commit.

use crate::deploy::{CommitId, select::History};
use crate::host::{untrusted::read_untrusted_json, write_atomically};
use crate::observed::Seen;
use serde::{Deserialize, Serialize};
use std::{io, path::Path};

/// Where it lies under the state directory.
pub const PATH: &str = "applied.json";

/// Two commit ids and their names.
const LARGEST: u64 = 64 << 10;

const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    version: u32,
    applied: Option<CommitId>,
    #[serde(default)]
    accepted: Option<CommitId>,
}

/// Reads the record.
pub fn read(state: &Path) -> Seen<History> {
    let document: Seen<Document> = read_untrusted_json(state, PATH, LARGEST);
    match document {
        Seen::Absent => Seen::Absent,
        Seen::Present(Document { version: VERSION, applied, accepted }) => Seen::Present(History { applied, accepted }),
        Seen::Present(other) => Seen::Unreadable(format!("{}: is version {}", state.join(PATH).display(), other.version)),
        Seen::Unreadable(why) => Seen::Unreadable(why),
    }
}

/// Writes the record, if it says something else.
pub fn write(state: &Path, history: &History) -> io::Result<()> {
    if read(state).present() == Some(history) {
        return Ok(());
    }
    let History { applied, accepted } = history.clone();
    let document = Document { version: VERSION, applied, accepted };
    let text = serde_json::to_string_pretty(&document).expect("a document of strings and numbers always serialises");
    write_atomically(&state.join(PATH), &(text + "\n"))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write files")]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_record_that_a_power_cut_left_empty_is_unreadable_and_can_be_written_anew() {
        let state = tempfile::tempdir().expect("a directory");
        assert_eq!(read(state.path()), Seen::Absent);
        let history = History { applied: "a".repeat(40).parse().ok(), accepted: None };
        for broken in ["", "\0\0\0\0", "garbage", "{\"version\": 1, \"applied\": \"zz\"}", "{\"version\": 2, \"applied\": null}"]
        {
            fs::write(state.path().join(PATH), broken).expect("written");
            assert!(matches!(read(state.path()), Seen::Unreadable(why) if why.contains("applied.json")), "{broken:?}");
            write(state.path(), &history).expect("written");
            assert_eq!(read(state.path()), Seen::Present(history.clone()));
        }
    }
}
