//! The text of the last good commit, and of the one that the host was brought to last, kept beside the host's other records: with them
//! the café goes on when its repository is damaged or gone, also after a restart.
//!
//! The second is written before anything of a commit is done, so that a host that is half way to it when the agent ends is known to be
//! no longer at the first. One file each: a line with the checksum of the rest, a line of JSON with the commit and its entries, then the files' bytes one after
//! another. **Invariant:** what its checksum does not confirm is never taken for a site; it is replaced whole, when a commit has
//! become good or is begun, and synced.

use crate::deploy::{Commit, CommitId, MOST_BYTES};
use crate::host::{untrusted::read_untrusted, write_private};
use crate::observed::Seen;
use crate::plan::Revision;
use crate::site::{Entry, Tree};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::{io, path::Path};

/// Where the last good commit lies under the state directory.
pub const PATH: &str = "last-good/site";

/// Where the commit lies that the host was brought to last, or is being brought to.
pub const BROUGHT_TO: &str = "last-good/brought-to";

/// What its first line begins with.
const MAGIC: &str = "barista site 1 sha256 ";

/// The most text that a tree holds, and as much for the names.
const LARGEST: u64 = 2 * MOST_BYTES;

/// The text of a site at a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteText {
    /// The commit.
    pub commit: Commit,
    /// Its files.
    pub tree: Tree,
}

impl SiteText {
    /// The commit as a plan names it.
    pub fn revision(&self) -> Revision {
        Revision { id: self.commit.id.to_string(), subject: self.commit.subject.clone() }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Index {
    commit: CommitId,
    subject: String,
    entries: Vec<(String, Kept)>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kept {
    /// A file of so many bytes.
    File(u64),
    Symlink(String),
    Unreadable(String),
}

/// Reads the copy of the last good commit.
pub fn read(state: &Path) -> Seen<SiteText> {
    read_copy(state, PATH)
}

/// Reads the copy at one of the places above.
pub fn read_copy(state: &Path, place: &str) -> Seen<SiteText> {
    match read_untrusted(state, place, LARGEST) {
        Seen::Absent => Seen::Absent,
        Seen::Unreadable(why) => Seen::Unreadable(why),
        Seen::Present(bytes) => match parse(&bytes) {
            Ok(text) => Seen::Present(text),
            Err(why) => Seen::Unreadable(format!("{}: {why}", state.join(place).display())),
        },
    }
}

/// Replaces the copy at one of the places above.
pub fn write(state: &Path, place: &str, text: &SiteText) -> io::Result<()> {
    write_private(&state.join(place), &render(text))
}

fn render(text: &SiteText) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut entries = Vec::new();
    for (path, entry) in &text.tree.entries {
        let kept = match entry {
            Entry::File(content) => {
                bytes.extend_from_slice(content);
                Kept::File(content.len() as u64)
            }
            Entry::Symlink(target) => Kept::Symlink(target.clone()),
            // A site that was applied has such a file among those that are not read only.
            Entry::TooLarge(size) => Kept::Unreadable(format!("{size} bytes are too many for a file of a site")),
            Entry::Unreadable(why) => Kept::Unreadable(why.clone()),
        };
        entries.push((path.clone(), kept));
    }
    let index = Index { commit: text.commit.id.clone(), subject: text.commit.subject.clone(), entries };
    let mut body = serde_json::to_vec(&index).expect("a document of strings and numbers always serialises");
    body.push(b'\n');
    body.extend(bytes);
    let mut whole = format!("{MAGIC}{:x}\n", Sha256::digest(&body)).into_bytes();
    whole.extend(body);
    whole
}

fn parse(bytes: &[u8]) -> Result<SiteText, String> {
    let (header, body) = split_line(bytes).ok_or("is empty or cut off")?;
    let told = std::str::from_utf8(header).ok().and_then(|header| header.strip_prefix(MAGIC)).ok_or("is no copy of a site")?;
    if told != format!("{:x}", Sha256::digest(body)) {
        return Err("is damaged: its checksum is another".to_owned());
    }
    let (index, mut rest) = split_line(body).ok_or("has no index")?;
    let index: Index = serde_json::from_slice(index).map_err(|error| format!("does not read: {error}"))?;
    let mut tree = Tree::default();
    for (path, kept) in index.entries {
        let entry = match kept {
            Kept::File(length) => {
                let at = usize::try_from(length).ok().filter(|at| *at <= rest.len()).ok_or("is shorter than its index says")?;
                let (content, after) = rest.split_at(at);
                rest = after;
                Entry::File(content.to_vec())
            }
            Kept::Symlink(target) => Entry::Symlink(target),
            Kept::Unreadable(why) => Entry::Unreadable(why),
        };
        tree.entries.insert(path, entry);
    }
    Ok(SiteText { commit: Commit { id: index.commit, subject: index.subject }, tree })
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write files")]
mod tests {
    use super::*;
    use std::fs;

    fn text() -> SiteText {
        let entries = [
            ("site.toml", Entry::File(b"name = \"lucky-cat\"\n".to_vec())),
            ("empty", Entry::File(Vec::new())),
            ("binary", Entry::File(vec![0, 255, b'\n', 7])),
            ("link", Entry::Symlink("/etc/passwd".to_owned())),
            ("big", Entry::Unreadable("9 bytes".to_owned())),
        ];
        let entries = entries.map(|(path, entry)| (path.to_owned(), entry)).into();
        let commit = Commit { id: "a".repeat(40).parse().expect("hex"), subject: "open the café".to_owned() };
        SiteText { commit, tree: Tree { entries } }
    }

    #[test]
    fn what_is_kept_reads_back_as_it_was() {
        let state = tempfile::tempdir().expect("a directory");
        assert_eq!(read(state.path()), Seen::Absent);
        write(state.path(), PATH, &text()).expect("written");
        assert_eq!(read(state.path()), Seen::Present(text()));
        let nothing = SiteText { tree: Tree::default(), ..text() };
        write(state.path(), PATH, &nothing).expect("written");
        assert_eq!(read(state.path()), Seen::Present(nothing));
    }

    #[test]
    fn a_copy_with_any_byte_changed_or_cut_off_is_no_site() {
        let whole = render(&text());
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert!(parse(&changed).is_err(), "byte {at}");
            assert!(parse(&whole[..at]).is_err(), "cut at {at}");
        }
        assert!(parse(&[]).is_err() && parse(&[0; 4096]).is_err());
        let state = tempfile::tempdir().expect("a directory");
        fs::create_dir(state.path().join("last-good")).expect("made");
        fs::write(state.path().join(PATH), "").expect("written");
        assert!(matches!(read(state.path()), Seen::Unreadable(why) if why.contains("last-good/site")));
    }
}
