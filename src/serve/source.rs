//! Reads the published table and the loaders, and reads them again when they change.
//!
//! **Invariant:** what does not read never replaces what does, and no link below the loaders' directory leads out of it. EFFECTS: reads files; decides nothing but "changed".
#![expect(clippy::disallowed_methods, reason = "effect room: reads the published table and the loaders")]

use crate::{
    boot::{
        assignment::Generation,
        chap::{self, Secrets},
        loaders::{AUTOEXEC, Loaders},
        table::{BootTable, FixedTable, PATH},
    },
    serve::http::script::autoexec_script,
};
use fs_err as fs;
use hyper::body::Bytes;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Where distributions put iPXE: Debian and Ubuntu; Fedora, SUSE and Arch.
const USUAL: [&str; 3] = ["/usr/lib/ipxe", "/usr/share/ipxe", "/usr/share/ipxe/x86_64"];
/// Endings of files that firmware loads; the directory also holds ROM images and ISO files, which nothing asks for.
const ENDINGS: [&str; 6] = ["kpxe", "kkpxe", "pxe", "efi", "lkrn", "ipxe"];
/// A loader is a megabyte or two, a Raspberry Pi's kernel thirty; a larger file is something else.
const LARGEST: u64 = 64 << 20;
/// What all of them may measure together, for they are kept in memory; the files of a Raspberry Pi are a third of it.
const LARGEST_SUM: u64 = 256 << 20;
/// Files that are served: a Raspberry Pi has four hundred.
const MOST_FILES: usize = 4096;
/// Directories below each other.
const DEEPEST: usize = 4;
/// An Ethernet frame's 1500 bytes without the IP, UDP and TFTP headers: what ROMs ask for, and what needs no fragments.
const LARGEST_BLOCK: usize = 1468;
/// IP, UDP and TFTP headers.
const HEADERS: usize = 32;

/// What is served: swapped whole, so that no machine is answered from half of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The table.
    pub table: FixedTable,
    /// Which one it is, by its text.
    pub generation: Generation,
    /// The loaders that are there.
    pub loaders: Loaders,
    /// The CHAP secrets that were published with it.
    pub secrets: Secrets,
    /// The largest TFTP block that no interface has to cut.
    pub largest_block: usize,
}

/// What changes when a file is written or replaced: device, inode, size, time.
type Stamp = (u64, u64, u64, i64, i64);

/// Watches the published table and the loaders it names.
#[derive(Debug)]
pub struct TableSource {
    state: PathBuf,
    path: PathBuf,
    seen: Option<Stamp>,
    table: Option<(BootTable, Generation)>,
    secrets_path: PathBuf,
    secrets: Secrets,
    secrets_seen: Option<Stamp>,
    loaders_seen: BTreeMap<String, Found>,
    too_large: BTreeSet<String>,
    /// Bytes by what they were read from: a file that did not change is not read again, and links share their file's.
    read: BTreeMap<Stamp, Bytes>,
    said: Option<String>,
    left_out: Option<String>,
}

/// A file that may be a loader.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    path: PathBuf,
    stamp: Stamp,
}

impl TableSource {
    /// Of a state directory; nothing is read yet.
    pub fn new(state: &Path) -> Self {
        Self {
            state: state.to_owned(),
            path: state.join(PATH),
            seen: None,
            table: None,
            secrets_path: state.join(chap::PATH),
            secrets: Secrets::new(),
            secrets_seen: None,
            loaders_seen: BTreeMap::new(),
            too_large: BTreeSet::new(),
            read: BTreeMap::new(),
            said: None,
            left_out: None,
        }
    }

    /// What is to be served from now on, when it is not what was served before.
    pub fn poll(&mut self) -> Option<Served> {
        let table_changed = self.read_table() | self.read_secrets();
        let (table, generation) = self.table.as_ref()?;
        let Listing { files, left_out, too_large } = list_beside(&self.state, table.loaders.as_deref());
        if left_out != self.left_out {
            left_out.iter().for_each(|what| tracing::warn!("{what}"));
            self.left_out = left_out;
        }
        if !table_changed && files == self.loaders_seen && too_large == self.too_large {
            return None;
        }
        self.too_large.clone_from(&too_large);
        let before = std::mem::take(&mut self.read);
        let mut read = |Found { path, stamp }: &Found| {
            let known = self.read.get(stamp).or_else(|| before.get(stamp)).cloned();
            let bytes = known.or_else(|| read_loader(path))?;
            self.read.insert(*stamp, bytes.clone());
            Some(bytes)
        };
        let mut loaders: Loaders = files.iter().filter_map(|(name, found)| Some((name.clone(), read(found)?))).collect();
        let names: Vec<_> = loaders.names().filter(|name| !name.contains('/')).collect();
        let below = loaders.names().count() - names.len();
        tracing::info!(site = %table.site, machines = table.machines.len(), loaders = names.join(" "), below, "serving a new boot table");
        loaders.leave_out(too_large);
        loaders.add(AUTOEXEC, autoexec_script(&table.http_base()).into());
        self.loaders_seen = files;
        let largest_block = largest_block(table);
        Some(Served {
            table: table.clone().into(),
            generation: generation.clone(),
            loaders,
            secrets: self.secrets.clone(),
            largest_block,
        })
    }

    /// Reads the CHAP secrets if their file changed; true when there are others. What does not read leaves none: a machine
    /// without its secret is refused by its target and says so.
    fn read_secrets(&mut self) -> bool {
        let stamp = fs::metadata(&self.secrets_path).ok().map(|metadata| stamp(&metadata));
        if stamp == self.secrets_seen {
            return false;
        }
        self.secrets_seen = stamp;
        let read = match stamp {
            Some(_) => fs::read_to_string(&self.secrets_path).map_err(|error| error.to_string()),
            None => Ok("{}".to_owned()),
        };
        self.secrets = read.and_then(|text| chap::parse(&text).map_err(str::to_owned)).unwrap_or_else(|error| {
            tracing::warn!(path = %self.secrets_path.display(), error, "the CHAP secrets cannot be used");
            Secrets::new()
        });
        true
    }

    /// Reads the table if its file changed; true when there is a new one.
    fn read_table(&mut self) -> bool {
        let stamp = match fs::metadata(&self.path) {
            Ok(metadata) => stamp(&metadata),
            Err(error) => {
                self.seen = None;
                let waiting = match (error.kind(), &self.table) {
                    (io::ErrorKind::NotFound, None) => {
                        format!("waiting for {}: `barista apply` publishes it", self.path.display())
                    }
                    (io::ErrorKind::NotFound, Some(_)) => format!("{} is gone; the last one is served on", self.path.display()),
                    _ => format!("the boot table cannot be read: {error}"),
                };
                self.say(waiting);
                return false;
            }
        };
        if self.seen == Some(stamp) {
            return false;
        }
        self.seen = Some(stamp);
        let read = fs::read_to_string(&self.path).map_err(|error| error.to_string());
        let parsed = read.and_then(|text| {
            let generation = Generation::of(&text);
            BootTable::parse(&text).map(|table| (table, generation)).map_err(|error| match std::error::Error::source(&error) {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            })
        });
        match parsed {
            Ok(table) => {
                self.said = None;
                let changed = self.table.as_ref() != Some(&table);
                self.table = Some(table);
                changed
            }
            Err(error) => {
                let kept = if self.table.is_some() { "; the last good one is served on" } else { "" };
                self.say(format!("{}: {error}{kept}", self.path.display()));
                false
            }
        }
    }

    /// Says something once, until something else is to be said.
    fn say(&mut self, what: String) {
        if self.said.as_ref() != Some(&what) {
            tracing::warn!("{what}");
            self.said = Some(what);
        }
    }
}

/// The files that may be loaders, by name, and what of them is left out.
#[derive(Debug, Default)]
struct Listing {
    files: BTreeMap<String, Found>,
    left_out: Option<String>,
    /// Names of those that are left out for their size.
    too_large: BTreeSet<String>,
}

/// The same, unless what is barista's own lies in that directory: secrets, leases, what machines did.
fn list_beside(state: &Path, directory: Option<&str>) -> Listing {
    let own = fs::canonicalize(state).ok();
    let named = directory.and_then(|directory| fs::canonicalize(directory).ok());
    match (own, named) {
        (Some(own), Some(named))
            if own.starts_with(&named) || named.starts_with(&own) && !named.starts_with(own.join("loaders")) =>
        {
            let mut listing = Listing::default();
            listing.leave_out(&named, "barista keeps its own there; of its state directory only loaders/ may be served");
            listing
        }
        _ => list(directory),
    }
}

/// Lists the operator's directory whole, with what lies below it, and of a distribution's what firmware loads.
///
/// The operator vouches for this directory, and distributions put links in it (Debian's `ipxe.efi` points to `/boot`), so
/// links are followed here, once, and never at a machine's request; below the directory itself only to what lies within it.
fn list(directory: Option<&str>) -> Listing {
    let mut listing = Listing::default();
    match directory {
        Some(directory) => Walk { root: Path::new(directory), wanted: |_| true }.walk(&mut listing),
        None => {
            let wanted =
                |path: &Path| path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| ENDINGS.contains(&ending));
            USUAL.iter().for_each(|usual| Walk { root: Path::new(usual), wanted }.walk(&mut listing));
        }
    }
    listing
}

/// A walk through one directory of loaders.
struct Walk<'a> {
    root: &'a Path,
    wanted: fn(&Path) -> bool,
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
                let inside = || fs::canonicalize(&path).is_ok_and(|target| target.starts_with(&root));
                if hidden || (link && (depth > 0 || metadata.is_dir()) && !inside()) {
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

fn read_loader(path: &Path) -> Option<Bytes> {
    match fs::read(path) {
        Ok(bytes) => Some(bytes.into()),
        Err(error) => {
            tracing::warn!(%error, "a loader cannot be read");
            None
        }
    }
}

fn stamp(metadata: &std::fs::Metadata) -> Stamp {
    (metadata.dev(), metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec())
}

/// The largest block that fits the smallest MTU of the table's interfaces.
fn largest_block(table: &BootTable) -> usize {
    let mtu = |interface: &str| -> Option<usize> {
        fs::read_to_string(format!("/sys/class/net/{interface}/mtu")).ok()?.trim().parse().ok()
    };
    let smallest = table.networks.values().filter_map(|network| mtu(&network.interface)).min();
    smallest.map_or(LARGEST_BLOCK, |mtu| mtu.saturating_sub(HEADERS).clamp(512, LARGEST_BLOCK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_directory_with_the_secrets_in_it_is_not_served() {
        let root = tempfile::tempdir().expect("a directory");
        let state = root.path().join("barista");
        fs::create_dir_all(state.join("loaders")).expect("made");
        fs::create_dir_all(state.join("boot")).expect("made");
        fs::create_dir_all(root.path().join("loaders")).expect("made");
        for directory in [state.clone(), root.path().to_owned(), state.join("boot")] {
            fs::write(directory.join("ipxe.efi"), "a loader").expect("written");
            let listing = list_beside(&state, directory.to_str());
            assert!(listing.files.is_empty() && listing.left_out.is_some_and(|what| what.contains("its own")), "{directory:?}");
        }
        for directory in [root.path().join("loaders"), state.join("loaders")] {
            fs::write(directory.join("ipxe.efi"), "a loader").expect("written");
            assert_eq!(list_beside(&state, directory.to_str()).files.len(), 1, "{directory:?}");
        }
    }

    fn names(directory: &Path) -> Vec<String> {
        list(directory.to_str()).files.into_keys().collect()
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
        symlink("../secret", root.join("linked.efi")).expect("a link");
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
        let listing = list(root.path().to_str());
        assert_eq!(listing.files.len(), 9);
        assert!(listing.left_out.is_some_and(|what| what.ends_with("huge.img: it is larger than 64 MiB")));
        ["b.img", "c.img", "d.img", "e.img"].iter().for_each(|name| sparse(name, LARGEST));
        let listing = list(root.path().to_str());
        assert!(!listing.files.contains_key("e.img") && listing.files.contains_key("d.img"), "256 MiB are the most");
    }
}
