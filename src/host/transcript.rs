//! Reads what `serve` has written down of booting machines.
//!
//! **Invariant:** the file is another user's, so it is opened and cleaned as [`untrusted`](super::untrusted) does.

use super::untrusted::{clean_value, read_untrusted};
use crate::names::DocumentError;
use crate::observed::Seen;
use crate::transcript::{PATH, Transcript};
use std::path::{Path, PathBuf};

/// The most machines with the most events that `serve` keeps of each take less than half of this.
const LARGEST: u64 = 128 << 20;

/// A transcript that is there and is not read.
#[derive(Debug, thiserror::Error)]
pub enum TranscriptError {
    /// The file cannot be opened, or is none that may be opened.
    #[error("{0}")]
    Closed(String),
    /// It is no transcript that this program reads.
    #[error("{} does not read", path.display())]
    Document {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: DocumentError,
    },
}

/// The transcript below a state directory; `None` where there is none.
pub fn read_transcript(state: &Path) -> Result<Option<Transcript>, TranscriptError> {
    let bytes = match read_untrusted(state, PATH, LARGEST) {
        Seen::Absent => return Ok(None),
        Seen::Unreadable(why) => return Err(TranscriptError::Closed(why)),
        Seen::Present(bytes) => bytes,
    };
    // What does not read as JSON at all is told by the text itself.
    let text = match serde_json::from_slice(&bytes).map(clean_value) {
        Ok(document) => document.to_string(),
        Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
    };
    Transcript::parse(&text).map(Some).map_err(|source| TranscriptError::Document { path: state.join(PATH), source })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write files")]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn a_transcript_is_read_and_one_that_leads_elsewhere_is_not() {
        let state = tempfile::tempdir().expect("a directory");
        assert!(matches!(read_transcript(state.path()), Ok(None)));
        fs::create_dir(state.path().join("serve")).expect("made");
        fs::write(state.path().join(PATH), Transcript::empty().render()).expect("written");
        assert_eq!(read_transcript(state.path()).expect("it reads"), Some(Transcript::empty()));
        let cause = |text: &str| {
            fs::write(state.path().join(PATH), text).expect("written");
            match read_transcript(state.path()) {
                Err(TranscriptError::Document { path, source }) if path.ends_with(PATH) => source,
                other => panic!("{other:?}"),
            }
        };
        assert!(matches!(cause("{\"version\": 99}"), DocumentError::Newer { found: 99, .. }));
        assert!(matches!(cause(""), DocumentError::Empty));
        assert!(matches!(cause("{"), DocumentError::Damaged(_)));
        assert!(matches!(cause("\0\0"), DocumentError::Damaged(_)));
        fs::remove_file(state.path().join(PATH)).expect("removed");
        symlink("/dev/zero", state.path().join(PATH)).expect("linked");
        assert!(matches!(read_transcript(state.path()), Err(TranscriptError::Closed(why)) if why.contains("is a link")));
        fs::remove_file(state.path().join(PATH)).expect("removed");
        nix::unistd::mkfifo(&state.path().join(PATH), nix::sys::stat::Mode::S_IRWXU).expect("made");
        assert!(matches!(read_transcript(state.path()), Err(TranscriptError::Closed(why)) if why.contains("not a regular file")));
    }
}
