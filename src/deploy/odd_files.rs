//! Looks for what has no place in a git repository and would hold up, or fill the memory of, whoever opens it.
//!
//! Who owns a repository may put a FIFO, a socket, a device or a link in the place of any file of it, or a file of a terabyte that takes
//! no space. libgit2 opens what it finds, and reads it whole. **Invariant:** opens nothing; what is exchanged after the look is what
//! [`patience`](super::patience) bounds.
#![expect(clippy::disallowed_methods, reason = "effect room: looks at the files of a repository")]

use std::{
    fs::{self, FileType},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

/// Entries that are looked at; what a repository has beyond is bounded by time alone.
const MOST: usize = 100_000;

/// The largest HEAD, configuration or reference; packed references of ten thousand branches are less than the second.
const LARGEST_REFERENCE: u64 = 1 << 20;
const LARGEST_PACKED: u64 = 16 << 20;

/// The largest loose object: `init` has git take no larger push.
const LARGEST_OBJECT: u64 = 64 << 20;

/// Directories that libgit2 reads nothing in that we ask for.
const PASSED_OVER: [&str; 6] = ["hooks", "logs", "worktrees", "modules", "lfs", "branches"];

/// The first odd file of a repository, and what it is.
pub(super) fn find(repository: &Path) -> Option<(PathBuf, &'static str)> {
    let inner = repository.join(".git");
    let root = if fs::symlink_metadata(&inner).is_ok_and(|metadata| metadata.is_dir()) { inner } else { repository.to_owned() };
    let (mut open, mut seen) = (vec![(root, Part::Top)], 0);
    while let Some((directory, part)) = open.pop() {
        // What cannot be listed, or is not there, is libgit2's to say.
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            seen += 1;
            if seen > MOST {
                return None;
            }
            let (path, name) = (entry.path(), entry.file_name());
            let Ok(kind) = entry.file_type() else { continue };
            if let Some(what) = odd_kind(kind, part, &path) {
                return Some((path, what));
            }
            if kind.is_dir() {
                match part {
                    Part::Top if PASSED_OVER.iter().any(|passed| name == *passed) => {}
                    Part::Top if name == "objects" => open.push((path, Part::Objects)),
                    Part::Top if name == "refs" => open.push((path, Part::References)),
                    Part::Top => {}
                    Part::Objects | Part::References => open.push((path, part)),
                }
                continue;
            }
            let most = match part {
                Part::Top if name == "packed-refs" => LARGEST_PACKED,
                Part::Top | Part::References => LARGEST_REFERENCE,
                // Packs are mapped, not read.
                Part::Objects if path.parent().is_some_and(|parent| parent.ends_with("pack")) => continue,
                Part::Objects => LARGEST_OBJECT,
            };
            // An index of a work tree grows with it, and is not read here.
            if name != "index" && entry.metadata().is_ok_and(|metadata| metadata.len() > most) {
                return Some((path, "is larger than git makes it"));
            }
        }
    }
    None
}

/// Which part of a repository is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Top,
    Objects,
    References,
}

fn odd_kind(kind: FileType, part: Part, path: &Path) -> Option<&'static str> {
    if kind.is_fifo() {
        return Some("is a FIFO, and blocks whoever reads it");
    }
    if kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
        return Some("is a socket or a device");
    }
    // A repository may lie in several places, each behind a link, and git once made HEAD one; a reference is never one.
    let leads_well =
        || fs::metadata(path).is_ok_and(|metadata| metadata.is_dir() || metadata.is_file() && metadata.len() < LARGEST_OBJECT);
    (kind.is_symlink() && (part == Part::References || !leads_well())).then_some("is a link that leads to no file of git's")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn whatever_git_does_not_make_is_found_at_once() {
        let root = tempfile::tempdir().expect("a directory");
        let repository = root.path().join("x.git");
        git2::Repository::init_bare(&repository).expect("made");
        assert_eq!(find(&repository), None);
        // Never a device of this host: whatever goes wrong here, it stays here. A FIFO stands for it where only root can make one.
        let device = root.path().join("device");
        nix::unistd::mkfifo(&device, nix::sys::stat::Mode::S_IRWXU).expect("made");
        for (place, is_reference) in [
            ("HEAD", false),
            ("config", false),
            ("packed-refs", false),
            ("shallow", false),
            ("refs/heads/main", true),
            ("refs/x/y", true),
            ("objects/aa/bb", false),
            ("objects/info/alternates", false),
        ] {
            let path = repository.join(place);
            fs::create_dir_all(path.parent().expect("has one")).expect("made");
            let before = fs::read(&path).ok();
            let is_found = |what: &str| {
                assert_eq!(find(&repository).map(|(path, _)| path), Some(path.clone()), "{place}: {what}");
                fs::remove_file(&path).expect("removed");
            };
            drop(fs::remove_file(&path));
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("made");
            is_found("a FIFO");
            drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
            is_found("a socket");
            symlink(&device, &path).expect("linked");
            is_found("a link to what is no file");
            fs::File::create_new(&path).and_then(|file| file.set_len(1 << 40)).expect("made");
            is_found("a sparse file");
            symlink("/etc/hostname", &path).expect("linked");
            assert_eq!(find(&repository).is_some(), is_reference, "{place}: a link to a file");
            fs::remove_file(&path).expect("removed");
            if let Some(before) = before {
                fs::write(&path, before).expect("put back");
            }
        }
        assert_eq!(find(&repository), None);
    }
}
