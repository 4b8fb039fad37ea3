//! Keeps the transcript: in memory at once, on disk within a second, in the log as it happens.
//!
//! **Invariant:** the file is always whole (written beside it and renamed). EFFECTS: the clock, and the transcript's file.
#![expect(clippy::disallowed_methods, reason = "effect room: writes the transcript")]

use crate::{
    boot::transcript::{Event, EventKind, PATH, Transcript},
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

/// Something that happened, before it has a time.
#[derive(Debug)]
pub struct Happening {
    /// Which service saw it.
    pub service: &'static str,
    /// What, as a value.
    pub kind: EventKind,
    /// The same in one sentence.
    pub what: String,
}

impl Happening {
    fn at(self, at: Timestamp) -> Event {
        Event { at, service: self.service.to_owned(), kind: self.kind, what: self.what }
    }
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
    pub fn record(&self, mac: MacAddr, address: Option<Ipv4Addr>, happening: Happening) {
        tracing::info!(%mac, service = happening.service, "{}", happening.what);
        self.change(|transcript, at| transcript.record(mac, address, happening.at(at)));
    }

    /// Records that a machine's script was fetched, and from where if that is not where the machine is: anybody can ask for any
    /// script, so an address that DHCP showed is believed before one that HTTP shows.
    pub fn record_script(&self, mac: MacAddr, peer: IpAddr, mut happening: Happening) {
        tracing::info!(%mac, %peer, service = happening.service, "{}", happening.what);
        self.change(|transcript, at| {
            let known = transcript.machines.get(&mac).and_then(|machine| machine.address).map(IpAddr::V4);
            let address = match (known, peer) {
                (Some(known), peer) if known != peer => {
                    happening.what.push_str(&format!(", to {peer}"));
                    None
                }
                (None, IpAddr::V4(peer)) => Some(peer),
                _ => None,
            };
            transcript.record(mac, address, happening.at(at));
            transcript.record_script(mac, at);
        });
    }

    /// Records an event of the machine that was last seen with this address; of a stranger, only the log says it.
    pub fn record_address(&self, peer: IpAddr, happening: Happening) {
        tracing::info!(%peer, service = happening.service, "{}", happening.what);
        let IpAddr::V4(address) = peer else { return };
        self.change(|transcript, at| {
            if let Some(mac) = transcript.machine_at(address) {
                transcript.record(mac, None, happening.at(at));
            }
        });
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

    fn change(&self, change: impl FnOnce(&mut Transcript, Timestamp)) {
        let mut kept = self.lock();
        change(&mut kept.transcript, Timestamp::now());
        kept.written = false;
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
