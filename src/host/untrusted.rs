//! Opens what somebody else may write: files of `serve`'s user, and files of a repository that others push to.
//!
//! Root may be given a link to `/etc/shadow`, a FIFO that blocks for ever, a device whose opening does something, or a file without
//! end in the place of the file it expects. **Invariant:** below the trusted directory no link is followed; nothing but a regular
//! file is opened for reading, and no more of it is read than the limit; text is cleaned of control characters before it is shown
//! (tests in this file).

use crate::names::clean;
use crate::observed::Seen;
use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, openat, statat, unlinkat},
    io::Errno,
};
use serde::de::DeserializeOwned;
use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Component, Path},
};

/// Reads a file that others may write. `trusted` is a directory whose own path nobody else can change, and links in it are followed;
/// `below` is the path from there, of plain names, and everything on it may be another user's.
pub fn read_untrusted(trusted: &Path, below: impl AsRef<Path>, limit: u64) -> Seen<Vec<u8>> {
    let below = below.as_ref();
    match open_and_read(trusted, below, limit) {
        Ok(bytes) => Seen::Present(bytes),
        Err(Refusal::Io(Errno::NOENT)) => Seen::Absent,
        Err(refusal) => Seen::Unreadable(format!("{}: {refusal}", shown(trusted, below))),
    }
}

/// The same for text: UTF-8.
pub fn read_untrusted_text(trusted: &Path, below: impl AsRef<Path>, limit: u64) -> Seen<String> {
    let below = below.as_ref();
    interpret(read_untrusted(trusted, below, limit), trusted, below, |bytes| {
        String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())
    })
}

/// The same for a JSON document, every string of which is cleaned of control characters.
pub fn read_untrusted_json<T: DeserializeOwned>(trusted: &Path, below: impl AsRef<Path>, limit: u64) -> Seen<T> {
    let below = below.as_ref();
    interpret(read_untrusted(trusted, below, limit), trusted, below, |bytes| {
        let parsed = serde_json::from_slice(&bytes).map(clean_value).and_then(serde_json::from_value);
        parsed.map_err(|error| format!("does not read: {}", clean(&error.to_string())))
    })
}

fn interpret<A, B>(seen: Seen<A>, trusted: &Path, below: &Path, read: impl FnOnce(A) -> Result<B, String>) -> Seen<B> {
    match seen {
        Seen::Absent => Seen::Absent,
        Seen::Unreadable(why) => Seen::Unreadable(why),
        Seen::Present(thing) => match read(thing) {
            Ok(thing) => Seen::Present(thing),
            Err(why) => Seen::Unreadable(format!("{}: {why}", shown(trusted, below))),
        },
    }
}

fn shown(trusted: &Path, below: &Path) -> String {
    clean(&trusted.join(below).to_string_lossy())
}

/// A document, every string of which is cleaned of control characters.
pub(super) fn clean_value(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => Value::String(clean(&text)),
        Value::Array(values) => Value::Array(values.into_iter().map(clean_value).collect()),
        Value::Object(map) => Value::Object(map.into_iter().map(|(key, value)| (clean(&key), clean_value(value))).collect()),
        plain => plain,
    }
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{}", io::Error::from(*.0))]
    Io(Errno),
    #[error("{0}")]
    Read(io::Error),
    #[error("is a link, and links are not followed here")]
    Link,
    #[error("is not a regular file")]
    Kind,
    #[error("is larger than {0} bytes")]
    Large(u64),
    #[error("is not a path of plain names")]
    Path,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Io(errno)
    }
}

/// What only names a file: nothing is read or written through it, and opening it so has no effect on a device or a FIFO.
const NAME: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

fn open_and_read(trusted: &Path, below: &Path, limit: u64) -> Result<Vec<u8>, Refusal> {
    let mut at = openat(CWD, trusted, NAME | OFlags::DIRECTORY, Mode::empty())?;
    let mut names = below.components().peekable();
    while let Some(component) = names.next() {
        let Component::Normal(name) = component else { return Err(Refusal::Path) };
        // Name by name rather than openat2(2), which kernels before 5.6 lack.
        let next = openat(&at, name, NAME | OFlags::NOFOLLOW, Mode::empty())?;
        match (FileType::from_raw_mode(fstat(&next)?.st_mode), names.peek()) {
            (FileType::Symlink, _) => return Err(Refusal::Link),
            (FileType::Directory, Some(_)) | (FileType::RegularFile, None) => at = next,
            (_, Some(_)) => return Err(Refusal::Io(Errno::NOTDIR)),
            (_, None) => return Err(Refusal::Kind),
        }
    }
    read_at_most(&at, limit)
}

/// Opens the very file that was looked at, whatever its name leads to by now.
fn read_at_most(file: &OwnedFd, limit: u64) -> Result<Vec<u8>, Refusal> {
    if FileType::from_raw_mode(fstat(file)?.st_mode) != FileType::RegularFile {
        return Err(Refusal::Kind);
    }
    let this = format!("/proc/self/fd/{}", file.as_raw_fd());
    let open = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(openat(CWD, this, open, Mode::empty())?);
    if file.metadata().map_err(Refusal::Read)?.len() > limit {
        return Err(Refusal::Large(limit));
    }
    let mut bytes = Vec::new();
    // The bound once more: the file may grow while it is read.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(Refusal::Read)?;
    if bytes.len() as u64 > limit { Err(Refusal::Large(limit)) } else { Ok(bytes) }
}

/// Removes a plain file that others may have made, if `may_go` is true of it; no link on the way is followed. Whether it is gone now.
pub fn remove_untrusted(trusted: &Path, below: impl AsRef<Path>, may_go: impl FnOnce(&Stat) -> bool) -> bool {
    let below = below.as_ref();
    let remove = || -> Result<bool, Refusal> {
        let mut at = openat(CWD, trusted, NAME | OFlags::DIRECTORY, Mode::empty())?;
        let mut names = below.components().peekable();
        while let Some(component) = names.next() {
            let Component::Normal(name) = component else { return Err(Refusal::Path) };
            if names.peek().is_some() {
                at = openat(&at, name, NAME | OFlags::DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
                continue;
            }
            let stat = statat(&at, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || !may_go(&stat) {
                return Ok(false);
            }
            unlinkat(&at, name, AtFlags::empty())?;
            return Ok(true);
        }
        Err(Refusal::Path)
    };
    remove().unwrap_or(false)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make what must be refused")]
mod tests {
    use super::*;
    use std::{
        fs,
        os::unix::fs::symlink,
        time::{Duration, Instant},
    };

    fn refusal(seen: Seen<Vec<u8>>) -> String {
        match seen {
            Seen::Unreadable(why) => why,
            other => panic!("{other:?} is no refusal"),
        }
    }

    #[test]
    fn a_regular_file_is_read_up_to_the_limit() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("serve")).expect("made");
        fs::write(root.path().join("serve/transcript.json"), "12345").expect("written");
        let read = |limit| read_untrusted(root.path(), "serve/transcript.json", limit);
        assert_eq!(read(5), Seen::Present(b"12345".to_vec()));
        assert!(refusal(read(4)).contains("is larger than 4 bytes"));
        assert_eq!(read_untrusted(root.path(), "serve/none", 5), Seen::Absent);
        assert_eq!(read_untrusted(root.path(), "none/none", 5), Seen::Absent);
        assert_eq!(read_untrusted(&root.path().join("none"), "none", 5), Seen::Absent);
    }

    #[test]
    fn whatever_is_no_regular_file_is_refused_at_once() {
        let root = tempfile::tempdir().expect("a directory");
        let path = |name: &str| root.path().join(name);
        fs::create_dir(path("real")).expect("made");
        fs::write(path("real/file"), "secret").expect("written");
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("made");
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).expect("bound");
        for (link, target) in
            [("zero", "/dev/zero"), ("link", "real/file"), ("linked", "real"), ("gone", "nowhere"), ("self", "self")]
        {
            symlink(target, path(link)).expect("linked");
        }
        let begun = Instant::now();
        for (below, why) in [
            ("fifo", "is not a regular file"),
            ("socket", "is not a regular file"),
            ("real", "is not a regular file"),
            ("zero", "is a link"),
            ("link", "is a link"),
            ("linked/file", "is a link"),
            ("gone", "is a link"),
            ("self", "is a link"),
            ("real/file/more", "Not a directory"),
            ("../etc/passwd", "plain names"),
            ("/etc/passwd", "plain names"),
        ] {
            let told = refusal(read_untrusted(root.path(), below, 1 << 20));
            assert!(told.contains(why), "{below}: {told}");
        }
        assert!(refusal(read_untrusted(Path::new("/dev"), "null", 1)).contains("is not a regular file"));
        assert!(begun.elapsed() < Duration::from_secs(5), "nothing waited for a writer");
    }

    #[test]
    fn the_directory_itself_may_be_reached_by_a_link() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir(root.path().join("data")).expect("made");
        fs::write(root.path().join("data/file"), "x").expect("written");
        symlink("data", root.path().join("state")).expect("linked");
        assert_eq!(read_untrusted(&root.path().join("state"), "file", 9), Seen::Present(b"x".to_vec()));
    }

    #[test]
    fn a_huge_sparse_file_costs_nothing() {
        let root = tempfile::tempdir().expect("a directory");
        File::create(root.path().join("huge")).and_then(|file| file.set_len(1 << 40)).expect("made");
        assert!(refusal(read_untrusted(root.path(), "huge", 1 << 20)).contains("is larger than"));
    }

    #[test]
    fn a_file_whose_size_lies_is_still_bounded() {
        // Files of /proc are regular and claim to be empty.
        let told = read_untrusted(Path::new("/proc/self"), "mountinfo", 3);
        assert!(refusal(told).contains("is larger than 3 bytes"));
    }

    #[test]
    fn text_is_utf8_and_shown_without_control_characters() {
        let root = tempfile::tempdir().expect("a directory");
        fs::write(root.path().join("bad"), [0xff, 0xfe]).expect("written");
        assert!(matches!(read_untrusted_text(root.path(), "bad", 9), Seen::Unreadable(why) if why.contains("not UTF-8")));
        fs::write(root.path().join("good"), "a\nb").expect("written");
        assert_eq!(read_untrusted_text(root.path(), "good", 9), Seen::Present("a\nb".to_owned()));
        assert_eq!(clean("a\u{1b}[31mb\r\u{9b}c\u{202e}d é 咖啡"), "a\u{fffd}[31mb\u{fffd}\u{fffd}c\u{fffd}d é 咖啡");
        fs::write(root.path().join("json"), "{\"na\\u001bme\": [\"x\\u001b]0;y\\u0007\", 1]}").expect("written");
        let read: Seen<serde_json::Value> = read_untrusted_json(root.path(), "json", 99);
        assert_eq!(read, Seen::Present(serde_json::json!({"na\u{fffd}me": ["x\u{fffd}]0;y\u{fffd}", 1]})));
        fs::write(root.path().join("json"), "{").expect("written");
        let read: Seen<serde_json::Value> = read_untrusted_json(root.path(), "json", 99);
        assert!(matches!(read, Seen::Unreadable(why) if why.contains("does not read")));
    }
}
