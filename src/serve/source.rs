//! Reads the published table and the loaders, and reads them again when they change.
//!
//! **Invariant:** what does not read never replaces what does. EFFECTS: reads files; decides nothing but "changed".
#![expect(clippy::disallowed_methods, reason = "effect room: reads the published table")]

use super::TICK;
use super::loader_files::{Found, Listing, Stamp, list, read_loader, stamp, try_loader};
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

/// Whether machines can be sent to our HTTP service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpState {
    /// It is open where the table says.
    Open,
    /// It is not, and whatever answers there is not ours.
    Closed,
}

/// What is served: swapped whole, so that no machine is answered from half of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The table.
    pub table: FixedTable,
    /// Which one it is, by its text.
    pub generation: Generation,
    /// The loaders that are there.
    pub loaders: Loaders,
    /// Whether the HTTP service that the table names is open.
    pub http: HttpState,
    /// The CHAP secrets that were published with it.
    pub secrets: Secrets,
    /// The largest TFTP block that no interface has to cut.
    pub largest_block: usize,
}

impl Served {
    /// The same with HTTP open, and a script at its root for the loaders that look for one, or closed.
    pub fn with_http(mut self, http: HttpState) -> Self {
        self.http = http;
        if http == HttpState::Open {
            self.loaders.add(AUTOEXEC, autoexec_script(&self.table.http_base()).into());
        }
        self
    }
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
    secrets_said: Option<String>,
    loaders_seen: BTreeMap<String, Found>,
    too_large: BTreeSet<String>,
    /// Loaders that are there and could not be read.
    unread: Vec<Found>,
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
            secrets_said: None,
            loaders_seen: BTreeMap::new(),
            too_large: BTreeSet::new(),
            unread: Vec::new(),
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
        let is_read_now = self.unread.iter().any(|found| try_loader(found).is_ok());
        if !table_changed && files == self.loaders_seen && too_large == self.too_large && !is_read_now {
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
        // A disk that fails once may be read the next time.
        self.unread = files
            .iter()
            .filter(|(name, _)| !loaders.names().any(|read| read == name.as_str()))
            .map(|(_, found)| found.clone())
            .collect();
        self.loaders_seen = files;
        let largest_block = largest_block(table);
        Some(Served {
            table: table.clone().into(),
            generation: generation.clone(),
            loaders,
            http: HttpState::Closed,
            secrets: self.secrets.clone(),
            largest_block,
        })
    }

    /// Reads the CHAP secrets if their file changed; true when there are others. A file that cannot be read is not one that is gone: what
    /// it said before counts, and it is read again. What reads and makes no sense leaves none: a machine without its secret is refused
    /// by its target and says so.
    fn read_secrets(&mut self) -> bool {
        let read = fs::metadata(&self.secrets_path).map(|metadata| Some(stamp(&metadata))).and_then(|stamp| {
            let text = if stamp == self.secrets_seen { None } else { Some(fs::read(&self.secrets_path)?) };
            Ok((stamp, text))
        });
        let (stamp, text) = match read {
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.secrets_seen.is_none() => return false,
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, b"{}".to_vec()),
            Err(error) => {
                self.say_of_secrets(format!("{error}; what they were before counts"));
                return false;
            }
            Ok((_, None)) => return false,
            Ok((stamp, Some(text))) => (stamp, text),
        };
        self.secrets_seen = stamp;
        let text = String::from_utf8(text).map_err(|error| error.to_string());
        self.secrets = match text.and_then(|text| chap::parse(&text).map_err(str::to_owned)) {
            Ok(secrets) => {
                self.secrets_said = None;
                secrets
            }
            Err(error) => {
                self.say_of_secrets(error);
                Secrets::new()
            }
        };
        true
    }

    fn say_of_secrets(&mut self, what: String) {
        if self.secrets_said.as_ref() != Some(&what) {
            tracing::warn!(path = %self.secrets_path.display(), "the CHAP secrets cannot be used: {what}");
            self.secrets_said = Some(what);
        }
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
        let read = fs::read(&self.path).map_err(|error| {
            // A disk that fails once may be read the next time.
            self.seen = None;
            error.to_string()
        });
        let read = read.and_then(|bytes| String::from_utf8(bytes).map_err(|error| error.to_string()));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_that_cannot_be_read_are_those_of_before_and_are_read_again() {
        let state = tempfile::tempdir().expect("a directory");
        let path = state.path().join(chap::PATH);
        fs::create_dir_all(path.parent().expect("below")).expect("made");
        let write = |text: &str| {
            let fresh = path.with_extension("new");
            fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path)).expect("written");
        };
        let mut source = TableSource::new(state.path());
        assert!(!source.read_secrets(), "there are none");
        write(r#"{"pc01":["pc01","123456789012"]}"#);
        assert!(source.read_secrets());
        let before = source.secrets.clone();
        assert_eq!(before.len(), 1);
        // What cannot be read, whoever asks: a directory in its place.
        fs::remove_file(&path).and_then(|()| fs::create_dir(&path)).expect("in its place");
        assert!(!source.read_secrets(), "that is not a file that is gone");
        assert_eq!(source.secrets, before);
        fs::remove_dir(&path).expect("gone");
        write(r#"{"pc02":["pc02","123456789012"]}"#);
        assert!(source.read_secrets(), "it is read again");
        assert_ne!(source.secrets, before);
        fs::write(&path, b"\xff").expect("written");
        assert!(source.read_secrets() && source.secrets.is_empty(), "what makes no sense leaves none");
        fs::remove_file(&path).expect("gone");
        assert!(source.read_secrets() && source.secrets.is_empty());
        assert!(!source.read_secrets());
    }
}
