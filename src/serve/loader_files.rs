//! Which files are loaders: the operator's directory, or those of the distribution, as they are now.
//!
//! **Invariant:** no link below the loaders' directory leads out of it, nothing is larger or deeper than the constants here say, and
//! what took a file's place after it was listed is not read. EFFECTS: reads directories and files.
#![expect(clippy::disallowed_methods, reason = "effect room: reads the loaders")]

use crate::host::settings::{HostSettings, Purpose, SettingsError};
use fs_err as fs;
use hyper::body::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read as _},
    os::unix::fs::{MetadataExt, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Where distributions put iPXE: Debian and Ubuntu; Fedora, SUSE and Arch.
const USUAL: [&str; 3] = ["/usr/lib/ipxe", "/usr/share/ipxe", "/usr/share/ipxe/x86_64"];
/// Where the links in those lead to, beside each other.
const LINKED: [&str; 3] = ["/boot", "/usr/lib", "/usr/share"];
/// Endings of files that firmware loads; the directory also holds ROM images and ISO files, which nothing asks for.
const ENDINGS: [&str; 6] = ["kpxe", "kkpxe", "pxe", "efi", "lkrn", "ipxe"];
/// A loader is a megabyte or two, a Raspberry Pi's kernel thirty; a larger file is something else.
pub(super) const LARGEST: u64 = 64 << 20;
/// What all of them may measure together, for they are kept in memory; the files of a Raspberry Pi are a third of it.
const LARGEST_SUM: u64 = 256 << 20;
/// Files that are served: a Raspberry Pi has four hundred.
const MOST_FILES: usize = 4096;
/// Directories below each other.
const DEEPEST: usize = 4;
/// What changes when a file is written or replaced: device, inode, size, time.
pub(super) type Stamp = (u64, u64, u64, i64, i64);

/// A file that may be a loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub path: PathBuf,
    pub stamp: Stamp,
}

/// The files that may be loaders, by name, and what of them is left out.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub files: BTreeMap<String, Found>,
    /// What is left out, and why: the first of it.
    pub left_out: Option<String>,
    /// Names of those that are left out for their size.
    pub too_large: BTreeSet<String>,
}

/// Lists the operator's directory whole, with what lies below it, where root allows it, and of a distribution's what firmware loads.
///
/// Distributions put links in it (Debian's `ipxe.efi` points to `/boot`), so links are followed here, once, and never at a machine's
/// request: to what lies within the directory, and from its top also to where else loaders may lie.
pub(super) fn list(host: &Result<HostSettings, SettingsError>, directory: Option<&str>) -> Listing {
    let mut listing = Listing::default();
    let may_link = |target: &Path| {
        let is_system = LINKED.iter().any(|place| target.starts_with(place));
        is_system || host.as_ref().is_ok_and(|host| host.allow(Purpose::Loaders, target).is_ok())
    };
    let Some(directory) = directory.map(Path::new) else {
        let wanted =
            |path: &Path| path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| ENDINGS.contains(&ending));
        USUAL.iter().for_each(|usual| Walk { root: Path::new(usual), wanted, may_link: &may_link }.walk(&mut listing));
        return listing;
    };
    match host {
        Err(error) => listing.leave_out(directory, &error.to_string()),
        Ok(host) => match host.allow(Purpose::Loaders, directory) {
            // Where it leads to was looked at, so that is what is read.
            Ok(real) => Walk { root: &real, wanted: |_| true, may_link: &may_link }.walk(&mut listing),
            Err(refusal) => listing.leave_out(directory, &format!("{refusal}; see {}", host.path().display())),
        },
    }
    listing
}

/// A walk through one directory of loaders.
struct Walk<'a> {
    root: &'a Path,
    wanted: fn(&Path) -> bool,
    /// Whether a link at its top may lead there, without links.
    may_link: &'a dyn Fn(&Path) -> bool,
}

impl Walk<'_> {
    fn walk(&self, listing: &mut Listing) {
        let Ok(root) = fs::canonicalize(self.root) else { return };
        let (mut sum, mut counted, mut directories) = (0, BTreeSet::new(), 0);
        let mut open = vec![(self.root.to_owned(), 0)];
        while let Some((directory, depth)) = open.pop() {
            directories += 1;
            // Links may lead in circles, and this is walked every second.
            if directories > MOST_FILES {
                listing.leave_out(&directory, "there are more than 4096 directories");
                break;
            }
            let Ok(entries) = fs::read_dir(&directory) else { continue };
            let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths {
                let Some(name) = path.strip_prefix(self.root).ok().and_then(Path::to_str) else { continue };
                let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
                let Ok(metadata) = fs::metadata(&path) else { continue };
                let link = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink());
                let is_from_top = depth == 0 && !metadata.is_dir();
                let may_lead = |target: &Path| target.starts_with(&root) || (is_from_top && (self.may_link)(target));
                if hidden || (link && !fs::canonicalize(&path).is_ok_and(|target| may_lead(&target))) {
                    continue;
                }
                if metadata.is_dir() {
                    match depth < DEEPEST {
                        true => open.push((path, depth + 1)),
                        false => listing.leave_out(&path, "it lies too deep"),
                    }
                } else if metadata.is_file() && (self.wanted)(&path) && !listing.files.contains_key(name) {
                    let stamp = stamp(&metadata);
                    // A link's file is counted once: its bytes are shared.
                    let size = if counted.contains(&stamp) { 0 } else { metadata.len() };
                    match (size <= LARGEST, sum + size <= LARGEST_SUM, listing.files.len() < MOST_FILES) {
                        (true, true, true) => {
                            sum += size;
                            counted.insert(stamp);
                            let name = name.to_owned();
                            listing.files.insert(name, Found { path, stamp });
                        }
                        (false, _, _) => {
                            listing.too_large.insert(name.to_owned());
                            listing.leave_out(&path, "it is larger than 64 MiB");
                        }
                        (_, false, _) => {
                            listing.too_large.insert(name.to_owned());
                            listing.leave_out(&path, "all loaders together are larger than 256 MiB");
                        }
                        (_, _, false) => listing.leave_out(&path, "there are more than 4096 files"),
                    }
                }
            }
        }
    }
}

impl Listing {
    fn leave_out(&mut self, path: &Path, why: &str) {
        self.left_out.get_or_insert_with(|| format!("not served by TFTP: {}: {why}", path.display()));
    }
}

/// Reads the very file that was found; what was put in its place since could block whoever opens it, or have no end.
pub(super) fn read_loader(found: &Found) -> Option<Bytes> {
    let warn = |error: &io::Error| tracing::warn!(path = %found.path.display(), %error, "a loader cannot be read");
    try_loader(found).inspect_err(warn).ok()
}

/// The same, and why not.
pub(super) fn try_loader(found: &Found) -> io::Result<Bytes> {
    let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOCTTY;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(&found.path)?;
    if stamp(&file.metadata()?) != found.stamp {
        return Err(io::Error::other("it was exchanged while it was read"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// What changes when a file is written or replaced.
pub(super) fn stamp(metadata: &std::fs::Metadata) -> Stamp {
    (metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_directory_with_the_secrets_in_it_is_not_served() {
        let root = tempfile::tempdir().expect("a directory");
        let state = root.path().join("barista");
        let host = allowing(root.path(), &state);
        fs::create_dir_all(state.join("loaders")).expect("made");
        fs::create_dir_all(state.join("boot")).expect("made");
        fs::create_dir_all(root.path().join("loaders")).expect("made");
        for directory in [state.clone(), root.path().to_owned(), state.join("boot")] {
            fs::write(directory.join("ipxe.efi"), "a loader").expect("written");
            let listing = list(&host, directory.to_str());
            assert!(listing.files.is_empty() && listing.left_out.is_some_and(|what| what.contains("its own")), "{directory:?}");
        }
        for directory in [root.path().join("loaders"), state.join("loaders")] {
            fs::write(directory.join("ipxe.efi"), "a loader").expect("written");
            assert_eq!(list(&host, directory.to_str()).files.len(), 1, "{directory:?}");
        }
    }

    /// A host that allows what lies below a directory.
    fn allowing(directory: &Path, state: &Path) -> Result<HostSettings, SettingsError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), format!("[allowed-paths]\nloaders = [{directory:?}]\n")).expect("written");
        HostSettings::read(file.path(), state)
    }

    fn listed(directory: &Path) -> Listing {
        list(&allowing(directory, Path::new("/nowhere")), directory.to_str())
    }

    fn names(directory: &Path) -> Vec<String> {
        listed(directory).files.into_keys().collect()
    }

    #[test]
    fn a_directory_that_this_host_does_not_allow_is_not_served_c24() {
        let host = allowing(Path::new("/srv/loaders"), Path::new("/nowhere"));
        for directory in ["/etc", "/proc/self", "/root", "/usr/lib/ipxe/../../../etc"] {
            let listing = list(&host, Some(directory));
            assert!(
                listing.files.is_empty() && listing.left_out.is_some_and(|what| what.contains("does not allow")),
                "{directory}"
            );
        }
        let broken = Err(SettingsError { path: "host.toml".into(), what: "line 1".into() });
        assert!(list(&broken, Some("/usr/lib/ipxe")).files.is_empty(), "a file that does not read allows nothing");
    }

    #[test]
    fn what_takes_a_loaders_place_after_it_was_found_is_not_read() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("ipxe.efi");
        for exchange in [
            |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("made"),
            |path: &Path| symlink("/etc/passwd", path).expect("linked"),
        ] {
            fs::write(&path, "a loader").expect("written");
            let found = listed(root.path()).files.remove("ipxe.efi").expect("found");
            assert!(read_loader(&found).is_some());
            fs::remove_file(&path).expect("removed");
            exchange(&path);
            assert!(read_loader(&found).is_none());
            fs::remove_file(&path).expect("removed");
        }
    }

    #[test]
    fn no_link_below_the_loaders_leads_out_and_those_within_are_served_c24() {
        let all = tempfile::tempdir().expect("a directory");
        let root = all.path().join("loaders");
        fs::create_dir_all(root.join("rpi/overlays")).expect("it is made");
        for file in ["../secret", "ipxe.efi", "rpi/start4.elf", "rpi/overlays/a.dtbo", ".git"] {
            fs::write(root.join(file), file).expect("it is written");
        }
        // As Debian has it, and as those who serve several Raspberry Pi do.
        symlink("/usr/share/common-licenses", root.join("licences")).expect("a link");
        symlink("/usr/lib/os-release", root.join("linked.efi")).expect("a link");
        symlink("../secret", root.join("leads-out.efi")).expect("a link");
        symlink("rpi", root.join("0a1b2c3d")).expect("a link");
        for (target, name) in [("..", "up"), ("/etc", "etc"), ("../../secret", "rpi/secret"), ("nowhere", "dangling")] {
            symlink(target, root.join(name)).expect("a link");
        }
        symlink(".", root.join("rpi/circle")).expect("a link");
        let found = names(&root);
        let plain: Vec<_> = found.iter().filter(|name| !name.contains("circle")).map(String::as_str).collect();
        let pi = ["rpi/overlays/a.dtbo", "rpi/start4.elf"];
        assert_eq!(plain, [&["0a1b2c3d/overlays/a.dtbo", "0a1b2c3d/start4.elf", "ipxe.efi", "linked.efi"][..], &pi].concat());
        assert!(found.len() < 40, "a circle ends: {found:?}");
    }

    #[test]
    fn a_file_that_is_too_large_is_left_out_and_said_and_links_to_one_file_count_once() {
        let root = tempfile::tempdir().expect("a directory");
        let sparse = |name: &str, size: u64| {
            fs::File::create(root.path().join(name)).and_then(|file| file.set_len(size)).expect("it is made");
        };
        sparse("a.img", LARGEST);
        sparse("huge.img", LARGEST + 1);
        fs::create_dir(root.path().join("z")).expect("it is made");
        for link in 0..8 {
            symlink("../a.img", root.path().join(format!("z/{link}"))).expect("a link");
        }
        let listing = listed(root.path());
        assert_eq!(listing.files.len(), 9);
        assert!(listing.left_out.is_some_and(|what| what.ends_with("huge.img: it is larger than 64 MiB")));
        ["b.img", "c.img", "d.img", "e.img"].iter().for_each(|name| sparse(name, LARGEST));
        let listing = listed(root.path());
        assert!(!listing.files.contains_key("e.img") && listing.files.contains_key("d.img"), "256 MiB are the most");
    }
}
