//! The host's own record of which commit was applied last, and which was begun last.
//!
//! It lies in the state directory, where root alone writes; everybody reads it, for the hooks run as whoever pushes. **Invariant:**
//! it never names a commit whose text is not kept beside it ([`last_good`] is written first). Each fact of it stands
//! there too, so that one damaged file loses none; where both are damaged, nobody knows, and that is not the same as none.

use super::last_good;
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
    #[serde(default)]
    begun: Option<CommitId>,
}

/// Reads the record.
pub fn read(state: &Path) -> Seen<History> {
    match read_document(state) {
        Seen::Absent => Seen::Absent,
        Seen::Present(Document { applied, accepted, .. }) => Seen::Present(History { applied, accepted }),
        Seen::Unreadable(why) => Seen::Unreadable(why),
    }
}

/// Reads the record; where it does not read, what the copy of the last good commit says, and why the record does not.
pub fn recall(state: &Path) -> (History, Option<String>) {
    match read(state) {
        Seen::Absent => (History::default(), None),
        Seen::Present(history) => (history, None),
        Seen::Unreadable(why) => {
            let applied = last_good::read(state).present().map(|copy| copy.commit.id.clone());
            (History { applied, accepted: None }, Some(why))
        }
    }
}

/// Reads which commit was begun last, whatever came of it; absent where the record does not say.
pub fn read_begun(state: &Path) -> Seen<CommitId> {
    match read_document(state) {
        Seen::Present(Document { begun: Some(begun), .. }) => Seen::Present(begun),
        Seen::Present(_) | Seen::Absent => Seen::Absent,
        Seen::Unreadable(why) => Seen::Unreadable(why),
    }
}

fn read_document(state: &Path) -> Seen<Document> {
    match read_untrusted_json(state, PATH, LARGEST) {
        Seen::Present(Document { version, .. }) if version != VERSION => {
            Seen::Unreadable(format!("{}: is version {version}", state.join(PATH).display()))
        }
        seen => seen,
    }
}

/// Writes the record, if it says something else; what was begun stands.
pub fn write(state: &Path, history: &History) -> io::Result<()> {
    if read(state).present() == Some(history) {
        return Ok(());
    }
    write_document(state, history, read_begun(state).present().cloned())
}

/// Writes that a commit is begun; `history` is what the record says beside.
pub fn write_begun(state: &Path, history: &History, begun: &CommitId) -> io::Result<()> {
    if read_begun(state).present() == Some(begun) {
        return Ok(());
    }
    write_document(state, history, Some(begun.clone()))
}

fn write_document(state: &Path, history: &History, begun: Option<CommitId>) -> io::Result<()> {
    let History { applied, accepted } = history.clone();
    let document = Document { version: VERSION, applied, accepted, begun };
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

    #[test]
    fn what_was_begun_and_what_was_applied_are_written_without_losing_each_other() {
        let state = tempfile::tempdir().expect("a directory");
        let [old, new]: [CommitId; 2] = ['a', 'b'].map(|digit| digit.to_string().repeat(40).parse().expect("hex"));
        let history = History { applied: Some(old.clone()), accepted: None };
        write(state.path(), &history).expect("written");
        assert_eq!(read_begun(state.path()), Seen::Absent);
        write_begun(state.path(), &history, &new).expect("written");
        assert_eq!((read(state.path()), read_begun(state.path())), (Seen::Present(history), Seen::Present(new.clone())));
        let accepted = History { applied: Some(old.clone()), accepted: Some(old) };
        write(state.path(), &accepted).expect("written");
        assert_eq!((read(state.path()), read_begun(state.path())), (Seen::Present(accepted), Seen::Present(new)));
    }
}
