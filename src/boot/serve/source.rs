//! Reads the published table and the loaders, and reads them again when they change.
//!
//! **Invariant:** what does not read never replaces what does. EFFECTS: reads files; decides nothing but "changed".
#![expect(clippy::disallowed_methods, reason = "effect room: reads the published table and the loaders")]

use crate::boot::{
    chap::{self, Secrets},
    loaders::Loaders,
    table::{BootTable, PATH},
};
use fs_err as fs;
use std::{
    collections::BTreeMap,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

/// Where distributions put iPXE: Debian and Ubuntu; Fedora, SUSE and Arch.
const USUAL: [&str; 3] = ["/usr/lib/ipxe", "/usr/share/ipxe", "/usr/share/ipxe/x86_64"];
/// Endings of files that firmware loads; the directory also holds ROM images and ISO files, which nothing asks for.
const ENDINGS: [&str; 6] = ["kpxe", "kkpxe", "pxe", "efi", "lkrn", "ipxe"];
/// A loader is a megabyte or two; a larger file is something else.
const LARGEST: u64 = 32 << 20;
/// An Ethernet frame's 1500 bytes without the IP, UDP and TFTP headers: what ROMs ask for, and what needs no fragments.
const LARGEST_BLOCK: usize = 1468;
/// IP, UDP and TFTP headers.
const HEADERS: usize = 32;

/// What is served: swapped whole, so that no machine is answered from half of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The table.
    pub table: BootTable,
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
    path: PathBuf,
    seen: Option<Stamp>,
    table: Option<BootTable>,
    secrets_path: PathBuf,
    secrets: Secrets,
    secrets_seen: Option<Stamp>,
    loaders_seen: BTreeMap<PathBuf, Stamp>,
    said: Option<String>,
}

impl TableSource {
    /// Of a state directory; nothing is read yet.
    pub fn new(state: &Path) -> Self {
        Self {
            path: state.join(PATH),
            seen: None,
            table: None,
            secrets_path: state.join(chap::PATH),
            secrets: Secrets::new(),
            secrets_seen: None,
            loaders_seen: BTreeMap::new(),
            said: None,
        }
    }

    /// What is to be served from now on, when it is not what was served before.
    pub fn poll(&mut self) -> Option<Served> {
        let table_changed = self.read_table() | self.read_secrets();
        let table = self.table.as_ref()?;
        let files = list(table.loaders.as_deref());
        if !table_changed && files == self.loaders_seen {
            return None;
        }
        let loaders: Loaders = files.keys().filter_map(|path| read_loader(path)).collect();
        let names: Vec<_> = loaders.names().collect();
        tracing::info!(site = %table.site, machines = table.machines.len(), loaders = names.join(" "), "serving a new boot table");
        self.loaders_seen = files;
        let largest_block = largest_block(table);
        Some(Served { table: table.clone(), loaders, secrets: self.secrets.clone(), largest_block })
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
            BootTable::parse(&text).map_err(|error| match std::error::Error::source(&error) {
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

/// The files that may be loaders, with their stamps.
///
/// The operator vouches for this directory, and distributions put links in it (Debian's `ipxe.efi` points to `/boot`), so
/// links are followed here, once, and never at a machine's request.
fn list(directory: Option<&str>) -> BTreeMap<PathBuf, Stamp> {
    let candidates = match directory {
        Some(directory) => vec![directory],
        None => USUAL.to_vec(),
    };
    let entries = candidates.into_iter().filter_map(|directory| fs::read_dir(directory).ok()).flatten().flatten();
    let mut files: BTreeMap<PathBuf, Stamp> = BTreeMap::new();
    for path in entries.map(|entry| entry.path()) {
        let wanted = path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| ENDINGS.contains(&ending));
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if wanted && metadata.is_file() && metadata.len() <= LARGEST {
            files.insert(path, stamp(&metadata));
        }
    }
    files
}

fn read_loader(path: &Path) -> Option<(String, hyper::body::Bytes)> {
    let name = path.file_name()?.to_str()?.to_owned();
    match fs::read(path) {
        Ok(bytes) => Some((name, bytes.into())),
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
