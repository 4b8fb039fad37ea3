//! Keeps the transcript: in memory at once, on disk within a second, in the log as it happens.
//!
//! **Invariant:** the file is always whole (written beside it and renamed). EFFECTS: the clock, and the transcript's file.
#![expect(clippy::disallowed_methods, reason = "effect room: writes the transcript")]

use crate::{
    boot::transcript::{Event, PATH, ServerKind, Transcript},
    names::MacAddr,
};
use fs_err as fs;
use jiff::Timestamp;
use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
};

/// Keeps the transcript of one state directory.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    transcript: Transcript,
    written: bool,
}

impl Recorder {
    /// Reads what was kept before; a transcript that does not read is begun anew, for it explains and decides nothing.
    pub fn open(state: &Path) -> io::Result<Self> {
        let path = state.join(PATH);
        let transcript = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Transcript::empty(),
            Err(error) => return Err(error),
            Ok(text) => Transcript::parse(&text).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "the transcript does not read and begins anew");
                Transcript::empty()
            }),
        };
        Ok(Self { path, kept: Mutex::new(Kept { transcript, written: true }) })
    }

    /// Records an event of a machine, and the address it was seen with.
    pub fn record(&self, mac: MacAddr, address: Option<Ipv4Addr>, service: &str, what: String) {
        tracing::info!(%mac, service, "{what}");
        self.change(|transcript, at| transcript.record(mac, address, Event { at, service: service.to_owned(), what }));
    }

    /// Records that a machine's script was fetched, and from where if that is not where the machine is: anybody can ask for any
    /// script, so an address that DHCP showed is believed before one that HTTP shows.
    pub fn record_script(&self, mac: MacAddr, peer: IpAddr, what: String) {
        tracing::info!(%mac, %peer, service = "http", "{what}");
        self.change(|transcript, at| {
            let known = transcript.machines.get(&mac).and_then(|machine| machine.address).map(IpAddr::V4);
            let (address, what) = match (known, peer) {
                (Some(known), peer) if known != peer => (None, format!("{what}, to {peer}")),
                (None, IpAddr::V4(peer)) => (Some(peer), what),
                _ => (None, what),
            };
            transcript.record(mac, address, Event { at, service: "http".to_owned(), what });
            transcript.record_script(mac, at);
        });
    }

    /// Records an event of the machine that was last seen with this address; of a stranger, only the log says it.
    pub fn record_address(&self, peer: IpAddr, service: &str, what: String) {
        tracing::info!(%peer, service, "{what}");
        let IpAddr::V4(address) = peer else { return };
        self.change(|transcript, at| {
            if let Some(mac) = transcript.machine_at(address) {
                transcript.record(mac, None, Event { at, service: service.to_owned(), what });
            }
        });
    }

    /// Records that a booting machine asked for an address on an interface.
    pub fn record_question(&self, interface: &str) {
        self.change(|transcript, at| transcript.record_question(interface, at));
    }

    /// Records that another server was seen; true when that is news.
    pub fn record_server(&self, address: Ipv4Addr, kind: ServerKind, interface: &str, what: String) -> bool {
        self.change(|transcript, at| transcript.record_server(address, kind, interface, what, at))
    }

    /// Writes the transcript if it changed.
    pub async fn flush(&self) {
        let text = {
            let mut kept = self.lock();
            if std::mem::replace(&mut kept.written, true) {
                return;
            }
            kept.transcript.render()
        };
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || write(&path, &text)).await;
        if let Err(error) = written.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            tracing::warn!(%error, "the transcript cannot be written");
            self.lock().written = false;
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Transcript, Timestamp) -> T) -> T {
        let mut kept = self.lock();
        kept.written = false;
        change(&mut kept.transcript, Timestamp::now())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let mut fresh = tempfile::Builder::new().permissions(world_readable()).tempfile_in(directory)?;
    fresh.write_all(text.as_bytes())?;
    fresh.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// The planner reads it, and may run as another user.
fn world_readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}
