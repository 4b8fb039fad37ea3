//! The record of what was offered, in its file: read, appended, begun anew.
//!
//! **Invariant:** what this says is offered is on the disk before anybody is told; a file that is damaged or of another store is never
//! appended to. One writer at a time: the file's own lock is held from reading to the end of the sync.

use super::System;
use super::durable::{Held, is_absent};
use crate::names::{Handle, MachineName, Mono};
use crate::observed::{Boot, KnownOffered, Offered, OfferedEntry, Seen, is_space, parse_offered, server_boot};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// Where the record lies under the state directory.
pub const PATH: &str = "offered";

/// The file grows by so many zeroes at a time: an append within them changes no other block of the file system.
const SPACE: usize = 64 << 10;

/// What was read of a record, so that only what came since is taken apart.
#[derive(Debug, Default)]
pub struct ReadBefore(Mutex<Option<KnownOffered>>);

/// The record of one state directory.
pub struct Record<'a> {
    system: &'a System,
    path: PathBuf,
    before: Option<&'a ReadBefore>,
}

/// A record that is to be added to.
struct Loaded {
    offered: Offered,
    /// Where the next record goes, and the whole file's length.
    end: usize,
    length: usize,
    /// Whether nothing stands there.
    has_clean_end: bool,
}

/// Why something could not be put on record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file cannot be read or written.
    #[error("the record of what was offered, {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is none, or it is damaged: a plan begins it anew.
    #[error("there is no record of what was offered that could be added to: {0}")]
    None(String),
}

impl<'a> Record<'a> {
    /// The record of a state directory.
    pub fn new(system: &'a System, state: &Path) -> Self {
        Self { system, path: state.join(PATH), before: None }
    }

    /// The same for one who reads it again and again.
    pub fn read_before(self, before: &'a ReadBefore) -> Self {
        Self { before: Some(before), ..self }
    }

    fn parse(&self, bytes: &[u8]) -> Result<KnownOffered, crate::observed::OfferedError> {
        let Some(before) = self.before else { return parse_offered(bytes, None) };
        let mut before = before.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = parse_offered(bytes, before.take())?;
        *before = Some(known.clone());
        Ok(known)
    }

    /// What it says.
    pub fn read(&self) -> Seen<Offered> {
        match self.system.files.read(&self.path) {
            Err(error) if is_absent(&error) => Seen::Absent,
            Err(error) => Seen::Unreadable(format!("{}: {error}", self.path.display())),
            Ok(bytes) => match self.parse(&bytes) {
                Ok(known) => Seen::Present(known.offered),
                Err(error) => Seen::Unreadable(format!("{}: {error}", self.path.display())),
            },
        }
    }

    /// Begins it anew in an epoch: nothing that is there counts as clean by it.
    pub fn begin(&self, store: &Handle, epoch: u64) -> Result<(), RecordError> {
        let _held = self.lock()?;
        let next = self.read().present().map_or(0, |offered| offered.next);
        let (server_boot, since) = self.moment();
        let head = OfferedEntry::Begun { store: store.clone(), epoch, server_boot, since, next };
        self.replace(head.render())
    }

    /// Raises the epoch to this, and forgets disks that are no more; `exists` tells of every disk of a complete report of the store.
    pub fn raise(&self, epoch: u64, exists: impl Fn(&Handle) -> bool) -> Result<(), RecordError> {
        let _held = self.lock()?;
        let mut offered = self.load()?.offered;
        if offered.epoch >= epoch {
            return Ok(());
        }
        let (server_boot, since) = self.moment();
        let raised = OfferedEntry::Epoch { epoch, server_boot, since };
        offered.take_in(raised).ok_or_else(|| RecordError::None("its epoch cannot be raised".to_owned()))?;
        self.replace(offered.compact(exists))
    }

    /// Puts on record that these disks are offered to a boot of a machine, in one write that is synced.
    pub fn offer(&self, disks: &[Handle], machine: &MachineName, boot: Boot) -> Result<(), RecordError> {
        let _held = self.lock()?;
        let mut loaded = self.load()?;
        let mut text = String::new();
        for disk in disks {
            let entry = loaded.offered.offer(disk, machine, boot);
            text.push_str(&entry.render());
            loaded.offered.take_in(entry).ok_or_else(|| RecordError::None("a record does not follow".to_owned()))?;
        }
        if loaded.has_clean_end && loaded.end + text.len() < loaded.length {
            let at = loaded.end as u64;
            return self.system.files.overwrite(&self.path, at, text.as_bytes()).map_err(|source| self.io(source));
        }
        // Full, or a torn record stands at its end.
        self.replace(loaded.offered.compact(|_| true))
    }

    /// Puts those of these disks on record that no record has yet.
    pub fn offer_unrecorded(&self, disks: &[Handle], machine: &MachineName, boot: Boot) -> Result<(), RecordError> {
        let known = match self.read() {
            Seen::Present(offered) => offered,
            Seen::Absent => return Err(RecordError::None("it is absent".to_owned())),
            Seen::Unreadable(why) => return Err(RecordError::None(why)),
        };
        let fresh: Vec<Handle> = disks.iter().filter(|disk| !known.disks.contains_key(disk)).cloned().collect();
        if fresh.is_empty() { Ok(()) } else { self.offer(&fresh, machine, boot) }
    }

    fn replace(&self, text: String) -> Result<(), RecordError> {
        let mut bytes = text.into_bytes();
        bytes.resize(bytes.len().div_ceil(SPACE) * SPACE + SPACE, 0);
        self.system.files.replace(&self.path, &bytes).map_err(|source| self.io(source))
    }

    fn load(&self) -> Result<Loaded, RecordError> {
        let bytes = match self.system.files.read(&self.path) {
            Err(error) if is_absent(&error) => return Err(RecordError::None("it is absent".to_owned())),
            read => read.map_err(|source| self.io(source))?,
        };
        let known = self.parse(&bytes).map_err(|error| RecordError::None(error.to_string()))?;
        let end = known.length();
        Ok(Loaded { offered: known.offered, end, length: bytes.len(), has_clean_end: is_space(&bytes[end..]) })
    }

    fn lock(&self) -> Result<Held, RecordError> {
        self.system.files.lock(&self.path).map_err(|source| self.io(source))
    }

    fn io(&self, source: io::Error) -> RecordError {
        RecordError::Io { path: self.path.clone(), source }
    }

    /// The boot of the server, as records name it, and the moment in it.
    fn moment(&self) -> (String, Mono) {
        (server_boot(&self.system.kernel.boot_id()), self.system.kernel.boottime().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::FakeHost;

    fn pc01() -> MachineName {
        "pc01".parse().expect("legal")
    }

    #[test]
    fn what_is_offered_is_read_back_and_a_torn_end_is_cut_off() {
        let host = FakeHost::new();
        let system = host.system();
        let record = Record::new(&system, Path::new("/state"));
        assert_eq!(record.read(), Seen::Absent);
        assert!(record.offer(&[Handle::new("d1")], &pc01(), Boot::Every).is_err(), "nothing is recorded where no plan began it");
        record.begin(&Handle::new("vg"), 1).expect("begun");
        record.offer(&[Handle::new("d1"), Handle::new("d2")], &pc01(), Boot::Every).expect("recorded");
        let offered = |record: &Record<'_>| record.read().present().cloned().expect("reads");
        assert_eq!(offered(&record).disks.len(), 2);
        host.tear_file(&Path::new("/state").join(PATH), 7);
        assert_eq!(offered(&record).disks.len(), 1, "its last record was torn, and never shown");
        record.offer(&[Handle::new("d3")], &pc01(), Boot::Every).expect("recorded");
        assert_eq!(offered(&record).disks.keys().map(Handle::as_str).collect::<Vec<_>>(), ["d1", "d3"]);
    }

    #[test]
    fn an_epoch_is_raised_and_disks_that_are_gone_are_forgotten() {
        let host = FakeHost::new();
        let system = host.system();
        let record = Record::new(&system, Path::new("/state"));
        record.begin(&Handle::new("vg"), 1).expect("begun");
        record.offer(&[Handle::new("d1"), Handle::new("d2")], &pc01(), Boot::Every).expect("recorded");
        record.raise(2, |disk| disk.as_str() == "d2").expect("raised");
        let offered = record.read().present().cloned().expect("reads");
        assert_eq!((offered.begun, offered.epoch, offered.disks.len()), (1, 2, 1));
        for _ in 0..2000 {
            record.offer(&[Handle::new("d2")], &pc01(), Boot::Every).expect("recorded");
        }
        assert_eq!(record.read().present().map(|offered| offered.disks.len()), Some(1), "a file that fills is written anew");
    }
}
