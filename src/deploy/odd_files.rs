//! Looks for what has no place in a git repository and would hold up whoever opens it, fill its memory, or lead it to other files.
//!
//! Who owns a repository may put a FIFO, a socket, a device or a link in the place of any file of it, or a file of a terabyte that takes
//! no space; libgit2 opens what it finds, and reads it whole. Four kinds of file have it read elsewhere too: a `.git` file, `commondir`
//! (gitrepository-layout(5)), `objects/info/alternates`, and a configuration with `[include]`. **Invariant:** reads nothing but the
//! configuration, and of that no more than a bound; what passes is read in the one directory that was looked at. What is exchanged after
//! the look is bounded in time by [`patience`](super::patience), and in memory by the service's own limit alone.
#![expect(clippy::disallowed_methods, reason = "effect room: looks at the files of a repository")]

use crate::host::untrusted::read_untrusted;
use std::{
    fs::{self, FileType},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

/// The most entries of a repository: git packs what is loose long before, by itself (git-gc(1), gc.auto).
const MOST: usize = 100_000;

/// The largest HEAD, configuration or reference; packed references of ten thousand branches are less than the second.
const LARGEST_REFERENCE: u64 = 1 << 20;
const LARGEST_PACKED: u64 = 16 << 20;

/// The largest loose object: `init` has git take no larger push.
const LARGEST_OBJECT: u64 = 64 << 20;

/// What libgit2 reads nothing in that we ask for.
const PASSED_OVER: [&str; 6] = ["hooks", "logs", "worktrees", "modules", "lfs", "branches"];

/// What has no place in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Oddity {
    /// A FIFO.
    #[error("is a FIFO, and blocks whoever reads it")]
    Fifo,
    /// A socket or a device.
    #[error("is a socket or a device")]
    Device,
    /// A symbolic link.
    #[error("is a link, and links are not followed here")]
    Link,
    /// A configuration, HEAD or a loose reference beyond its bound.
    #[error("is larger than {} MiB, and git makes no such file of that size", LARGEST_REFERENCE >> 20)]
    Large,
    /// Packed references beyond their bound: the branches themselves lie there.
    #[error("is larger than {} MiB: the repository has too many references", LARGEST_PACKED >> 20)]
    PackedReferences,
    /// A loose object beyond its bound.
    #[error("is a loose object of more than {} MiB", LARGEST_OBJECT >> 20)]
    Object,
    /// More files than are looked at.
    #[error("holds more than {MOST} files")]
    Many,
    /// A file that says that the repository is in another directory.
    #[error("says that the repository is in another directory")]
    Elsewhere,
    /// A list of other directories with objects.
    #[error("has objects read from other directories")]
    Alternates,
    /// A configuration that has another file read.
    #[error("has other files read, by [include] or [includeIf]")]
    Include,
}

impl Oddity {
    /// What to do about it, as a command or an order. Nothing is to be removed that may hold references or objects.
    pub fn mend(self, file: &Path) -> String {
        let shown = file.display();
        let above = file.ancestors().skip(1);
        let is_objects = |path: &&Path| path.file_name().is_some_and(|name| name == "objects");
        let root = above.clone().find(is_objects).map_or_else(|| file.parent(), Path::parent).unwrap_or(file).display();
        match self {
            Self::Fifo | Self::Device => format!("remove {shown}"),
            Self::Large => format!(
                "move {shown} out of the repository, and look what it was: a reference comes back by a push from a clone, HEAD by \
                 `git symbolic-ref HEAD refs/heads/NAME`, the configuration by `barista init`"
            ),
            Self::PackedReferences => format!(
                "delete the references that nobody needs, never the file: `git -C {root} for-each-ref` lists them, \
                 `git -C {root} update-ref -d NAME` deletes one, and then `git -C {root} pack-refs --all`"
            ),
            Self::Object => format!(
                "`git -C {root} gc --prune=now` packs it or drops it; what git itself cannot read, move out of the repository, and push \
                 the branch again from a clone"
            ),
            Self::Link => format!("put what {shown} leads to in its place"),
            Self::Many => format!("`git -C {shown} gc`, which packs objects and references"),
            Self::Elsewhere => format!("name the repository that {shown} leads to, or remove the file"),
            Self::Alternates => format!("make the repository whole with git repack -a -d, and remove {shown}"),
            Self::Include => format!("take that section out of {shown}"),
        }
    }
}

/// The directory that libgit2 is to open, once nothing odd was found there; else the odd file.
pub(super) fn look(repository: &Path) -> Result<PathBuf, (PathBuf, Oddity)> {
    let inner = repository.join(".git");
    let root = match fs::symlink_metadata(&inner) {
        Ok(metadata) if metadata.is_dir() => inner,
        Ok(metadata) if metadata.is_file() => return Err((inner, Oddity::Elsewhere)),
        Ok(metadata) => match odd_kind(metadata.file_type()) {
            Some(what) => return Err((inner, what)),
            None => repository.to_owned(),
        },
        Err(_) => repository.to_owned(),
    };
    let (mut open, mut seen) = (vec![(root.clone(), Part::Top)], 0);
    while let Some((directory, part)) = open.pop() {
        // What cannot be listed, or is not there, is libgit2's to say.
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            seen += 1;
            if seen > MOST {
                return Err((root, Oddity::Many));
            }
            let (path, name) = (entry.path(), entry.file_name());
            let Ok(kind) = entry.file_type() else { continue };
            let passed = part == Part::Top && PASSED_OVER.iter().any(|passed| name == *passed);
            if passed && (kind.is_dir() || kind.is_symlink()) {
                continue;
            }
            if let Some(what) = odd_kind(kind) {
                return Err((path, what));
            }
            if kind.is_dir() {
                match part {
                    Part::Top if name == "objects" => open.push((path, Part::Objects)),
                    Part::Top if name == "refs" => open.push((path, Part::References)),
                    Part::Top => {}
                    Part::Objects | Part::References => open.push((path, part)),
                }
                continue;
            }
            let is_larger = |most: u64| entry.metadata().is_ok_and(|metadata| metadata.len() > most);
            let odd = match (part, name.to_str()) {
                (Part::Top, Some("commondir" | "gitdir")) => Some(Oddity::Elsewhere),
                (Part::Objects, Some("alternates" | "http-alternates")) => Some(Oddity::Alternates),
                // An index of a work tree grows with it, and is not read here.
                (Part::Top, Some("index")) => None,
                (Part::Top, Some("packed-refs")) => is_larger(LARGEST_PACKED).then_some(Oddity::PackedReferences),
                (Part::Top | Part::References, _) if is_larger(LARGEST_REFERENCE) => Some(Oddity::Large),
                (Part::Top, Some(name @ ("config" | "config.worktree"))) => {
                    // What does not read here does not read for libgit2 either, which says so.
                    let text = read_untrusted(&root, name, LARGEST_REFERENCE);
                    text.present().is_some_and(|text| includes(text)).then_some(Oddity::Include)
                }
                (Part::Top | Part::References, _) => None,
                // Packs are mapped, not read.
                (Part::Objects, _) if directory.ends_with("pack") => None,
                (Part::Objects, _) => is_larger(LARGEST_OBJECT).then_some(Oddity::Object),
            };
            if let Some(what) = odd {
                return Err((path, what));
            }
        }
    }
    Ok(root)
}

/// Which part of a repository is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Top,
    Objects,
    References,
}

/// A link may lead anywhere, and what it leads to was not looked at.
fn odd_kind(kind: FileType) -> Option<Oddity> {
    if kind.is_fifo() {
        return Some(Oddity::Fifo);
    }
    if kind.is_socket() || kind.is_char_device() || kind.is_block_device() {
        return Some(Oddity::Device);
    }
    kind.is_symlink().then_some(Oddity::Link)
}

/// Whether a configuration may have another file read. A section may begin anywhere in a line (`[core] [include]`), in any case, and
/// what merely looks like one in a value is taken for one: nobody writes that.
fn includes(text: &[u8]) -> bool {
    let is_comment = |line: &[u8]| line.trim_ascii_start().first().is_some_and(|byte| b"#;".contains(byte));
    let begins = |section: &[u8]| {
        let name = section.trim_ascii_start();
        name.get(..7).is_some_and(|name| name.eq_ignore_ascii_case(b"include"))
    };
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !is_comment(line));
    lines.flat_map(|line| line.split(|byte| *byte == b'[').skip(1)).any(begins)
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
        assert_eq!(look(&repository), Ok(repository.clone()));
        // Never a device of this host: whatever goes wrong here, it stays here. A FIFO stands for it where only root can make one.
        let device = root.path().join("device");
        nix::unistd::mkfifo(&device, nix::sys::stat::Mode::S_IRWXU).expect("made");
        for place in [
            "HEAD",
            "config",
            "packed-refs",
            "shallow",
            "refs/heads/main",
            "refs/x/y",
            "objects/aa/bb",
            "objects/info/alternates",
        ] {
            let path = repository.join(place);
            fs::create_dir_all(path.parent().expect("has one")).expect("made");
            let before = fs::read(&path).ok();
            let is_found = |what: Oddity| {
                assert_eq!(look(&repository), Err((path.clone(), what)), "{place}");
                fs::remove_file(&path).expect("removed");
            };
            drop(fs::remove_file(&path));
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("made");
            is_found(Oddity::Fifo);
            drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
            is_found(Oddity::Device);
            for target in [device.as_path(), Path::new("/etc/hostname"), Path::new("refs/heads/main"), root.path()] {
                symlink(target, &path).expect("linked");
                is_found(Oddity::Link);
            }
            fs::File::create_new(&path).and_then(|file| file.set_len(1 << 40)).expect("made");
            is_found(match place {
                "objects/info/alternates" => Oddity::Alternates,
                "objects/aa/bb" => Oddity::Object,
                "packed-refs" => Oddity::PackedReferences,
                _ => Oddity::Large,
            });
            if let Some(before) = before {
                fs::write(&path, before).expect("put back");
            }
        }
        assert_eq!(look(&repository), Ok(repository));
    }

    #[test]
    fn no_advice_has_references_or_objects_removed() {
        let repository = Path::new("/srv/cafe.git");
        let packed = Oddity::PackedReferences.mend(&repository.join("packed-refs"));
        assert!(packed.contains("git -C /srv/cafe.git for-each-ref") && packed.contains("never the file"), "{packed}");
        let object = Oddity::Object.mend(&repository.join("objects/aa/bb"));
        assert!(object.contains("git -C /srv/cafe.git gc"), "{object}");
        let large = Oddity::Large.mend(&repository.join("refs/heads/main"));
        for advice in [packed, object, large] {
            assert!(!advice.contains("remove ") && !advice.contains("rm "), "{advice}");
        }
    }

    // libgit2/libgit2#6400 and GitoxideLabs/gitoxide#460: whose configuration and paths of a repository count for whoever opens it.
    // Git asks who the owner is; here it is always somebody else, so nothing that leads out of the directory counts.
    #[test]
    fn nothing_leads_from_a_repository_to_another_directory() {
        let root = tempfile::tempdir().expect("a directory");
        let (repository, other) = (root.path().join("x.git"), root.path().join("other.git"));
        for path in [&repository, &other] {
            git2::Repository::init_bare(path).expect("made");
        }
        let to_other = other.display();
        for (file, text, what) in [
            (".git", format!("gitdir: {to_other}\n"), Oddity::Elsewhere),
            ("commondir", format!("{to_other}\n"), Oddity::Elsewhere),
            ("gitdir", format!("{to_other}\n"), Oddity::Elsewhere),
            ("objects/info/alternates", format!("{to_other}/objects\n"), Oddity::Alternates),
            ("objects/info/http-alternates", "https://example.org/objects\n".to_owned(), Oddity::Alternates),
            ("config.worktree", format!("[include]\n\tpath = {to_other}/config\n"), Oddity::Include),
        ] {
            let path = repository.join(file);
            fs::create_dir_all(path.parent().expect("has one")).expect("made");
            fs::write(&path, text).expect("written");
            assert_eq!(look(&repository), Err((path.clone(), what)), "{file}");
            assert!(what.mend(&path).contains(file), "{file}");
            fs::remove_file(&path).expect("removed");
        }
        symlink(&other, repository.join(".git")).expect("linked");
        assert_eq!(look(&repository), Err((repository.join(".git"), Oddity::Link)));
        fs::remove_file(repository.join(".git")).expect("removed");
        for directory in ["objects", "refs", "objects/pack"] {
            let path = repository.join(directory);
            fs::rename(&path, root.path().join("away")).expect("moved");
            symlink(root.path().join("away"), &path).expect("linked");
            assert_eq!(look(&repository), Err((path.clone(), Oddity::Link)), "{directory}");
            fs::remove_file(&path).expect("removed");
            fs::rename(root.path().join("away"), &path).expect("moved back");
        }
        // Hooks are git's alone, and may be kept elsewhere.
        fs::remove_dir_all(repository.join("hooks")).expect("removed");
        symlink(&other, repository.join("hooks")).expect("linked");
        assert_eq!(look(&repository), Ok(repository.clone()));
    }

    #[test]
    fn a_configuration_that_includes_another_is_known_however_it_is_written() {
        for text in [
            "[include]\npath = /tmp/x\n",
            "[core]\n\tbare = true\n\t[InClude] path = x",
            "[core] [include] path = x\n",
            "\u{feff}[includeIf \"gitdir:/\"]\n",
            "[include.x]\n",
            "\r[include]\r\npath = x\r\n",
        ] {
            assert!(includes(text.as_bytes()), "{text:?}");
        }
        let plain =
            "[core]\n\tbare = true\n# [include]\n  ; [includeIf]\n[receive]\n\tinclude = x\n[remote \"a\"]\n\turl = x[1]\n";
        assert!(!includes(plain.as_bytes()));
    }
}
