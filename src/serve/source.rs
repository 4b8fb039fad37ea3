//! Reads the published table and the loaders, and reads them again when they change.
//!
//! **Invariant:** what does not read never replaces what does. EFFECTS: reads files; decides nothing but "changed".
#![expect(clippy::disallowed_methods, reason = "effect room: reads the published table")]

use super::TICK;
use super::loader_files::{Found, Listing, Stamp, list, read_loader, stamp};
use crate::host::settings::FollowedSettings;
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
    panic::resume_unwind,
    path::{Path, PathBuf},
};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

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
    /// What root last allowed.
    host: FollowedSettings,
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
            host: FollowedSettings::default(),
        }
    }

    /// What is to be served from now on, when it is not what was served before.
    pub fn poll(&mut self) -> Option<Served> {
        let table_changed = self.read_table() | self.read_secrets();
        let (table, generation) = self.table.as_ref()?;
        // A file that root is just writing allows what it allowed before.
        let host = self.host.look(&self.state);
        if let Some(error) = self.host.doubt() {
            tracing::debug!(%error, "what root allows cannot be read; it is as it was");
        }
        let Listing { files, left_out, too_large } = list(&host, table.loaders.as_deref());
        if left_out != self.left_out {
            left_out.iter().for_each(|what| tracing::warn!("{what}"));
            self.left_out = left_out;
        }
        if !table_changed && files == self.loaders_seen && too_large == self.too_large {
            return None;
        }
        self.too_large.clone_from(&too_large);
        let before = std::mem::take(&mut self.read);
        let mut read = |found: &Found| {
            let known = self.read.get(&found.stamp).or_else(|| before.get(&found.stamp)).cloned();
            let bytes = known.or_else(|| read_loader(found))?;
            self.read.insert(found.stamp, bytes.clone());
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

/// Polls a source once a second, off the loop's thread: its files may lie on a disk, or beyond a network, that does not answer.
#[derive(Debug)]
pub(super) struct Polls(JoinHandle<(TableSource, Option<Served>)>);

impl Polls {
    /// Begins at once.
    pub fn begin(source: TableSource) -> Self {
        Self(poll_at(source, Instant::now()))
    }

    /// What the next poll finds. Dropped before its end, it has lost nothing.
    pub async fn next(&mut self) -> Option<Served> {
        let (source, served) = match (&mut self.0).await {
            Ok(polled) => polled,
            Err(error) => resume_unwind(error.into_panic()),
        };
        self.0 = poll_at(source, Instant::now() + TICK);
        served
    }
}

impl Drop for Polls {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn poll_at(mut source: TableSource, at: Instant) -> JoinHandle<(TableSource, Option<Served>)> {
    tokio::spawn(async move {
        sleep_until(at).await;
        let polled = spawn_blocking(move || {
            let served = source.poll();
            (source, served)
        });
        polled.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
    })
}

/// The largest block that fits the smallest MTU of the table's interfaces.
fn largest_block(table: &BootTable) -> usize {
    let mtu = |interface: &str| -> Option<usize> {
        fs::read_to_string(format!("/sys/class/net/{interface}/mtu")).ok()?.trim().parse().ok()
    };
    let smallest = table.networks.values().filter_map(|network| mtu(&network.interface)).min();
    smallest.map_or(LARGEST_BLOCK, |mtu| mtu.saturating_sub(HEADERS).clamp(512, LARGEST_BLOCK))
}
