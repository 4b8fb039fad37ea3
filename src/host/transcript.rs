//! Reads what `serve` has written down of booting machines.
//!
//! **Invariant:** the file is another user's, so it is opened and cleaned as [`untrusted`](super::untrusted) does.

use super::untrusted::read_untrusted_json;
use crate::names::clean;
use crate::observed::Seen;
use crate::transcript::{PATH, Transcript};
use std::path::Path;

/// The most machines with the most events that `serve` keeps of each take less than half of this.
const LARGEST: u64 = 128 << 20;

/// The transcript below a state directory.
pub fn read_transcript(state: &Path) -> Seen<Transcript> {
    let document: Seen<serde_json::Value> = read_untrusted_json(state, PATH, LARGEST);
    match document {
        Seen::Absent => Seen::Absent,
        Seen::Unreadable(why) => Seen::Unreadable(why),
        Seen::Present(document) => match Transcript::parse(&document.to_string()) {
            Ok(transcript) => Seen::Present(transcript),
            Err(error) => {
                Seen::Unreadable(format!("{}: does not read: {}", state.join(PATH).display(), clean(&error.to_string())))
            }
        },
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write files")]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn a_transcript_is_read_and_one_that_leads_elsewhere_is_not() {
        let state = tempfile::tempdir().expect("a directory");
        assert_eq!(read_transcript(state.path()), Seen::Absent);
        fs::create_dir(state.path().join("serve")).expect("made");
        fs::write(state.path().join(PATH), Transcript::empty().render()).expect("written");
        assert_eq!(read_transcript(state.path()), Seen::Present(Transcript::empty()));
        fs::write(state.path().join(PATH), "{\"version\": 99}").expect("written");
        assert!(matches!(read_transcript(state.path()), Seen::Unreadable(why) if why.contains("transcript.json")));
        fs::remove_file(state.path().join(PATH)).expect("removed");
        symlink("/dev/zero", state.path().join(PATH)).expect("linked");
        assert!(matches!(read_transcript(state.path()), Seen::Unreadable(why) if why.contains("is a link")));
        fs::remove_file(state.path().join(PATH)).expect("removed");
        nix::unistd::mkfifo(&state.path().join(PATH), nix::sys::stat::Mode::S_IRWXU).expect("made");
        assert!(matches!(read_transcript(state.path()), Seen::Unreadable(why) if why.contains("not a regular file")));
    }
}
