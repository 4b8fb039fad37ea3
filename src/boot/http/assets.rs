//! The asset store: opens files below one directory, and keeps the small ones in memory.
//!
//! **Invariant:** the kernel itself keeps every path, and every link on it, below the directory (`openat2(2)`,
//! `RESOLVE_BENEATH`): a link may lead to another asset and nowhere else. What is in memory is found by the identity of the file
//! that stands there now, so a replaced file is seen at once. EFFECTS: opens and reads files, and the clock.
#![expect(clippy::disallowed_methods, reason = "effect room: opens the assets")]

use super::{
    body::{Buffers, Payload, Store, Stretch},
    select::Facts,
    shortcut::Shortcut,
};
use hyper::body::Bytes;
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2},
    io::Errno,
};
use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::task::spawn_blocking;

/// The largest file that is kept in memory: iPXE, wimboot, scripts, answer files.
const LARGEST_KEPT: u64 = 1 << 20;
/// All that is kept.
const MOST_KEPT: u64 = 32 << 20;
/// A file written this recently may be written again within one tick of the file system's clock, and look the same.
const SETTLED: Duration = Duration::from_secs(1);

/// What changes when a file is written or replaced: device, inode, size, and when it and its entry were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: stat.st_size.try_into().unwrap_or(0),
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
        }
    }

    fn facts(&self) -> Facts {
        let (seconds, nanoseconds) = self.modified;
        let modified = UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        Facts { size: self.size, modified, tag: format!("\"{:x}-{:x}-{seconds:x}.{nanoseconds:x}\"", self.inode, self.size) }
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        let (seconds, _) = self.changed.max(self.modified);
        let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)) + Duration::from_secs(1);
        now.duration_since(changed).is_ok_and(|age| age > SETTLED)
    }
}

/// The files below one directory.
#[derive(Debug)]
pub struct Assets {
    root: PathBuf,
    kept: Mutex<Kept>,
    buffers: Buffers,
}

#[derive(Debug, Default)]
struct Kept {
    files: BTreeMap<Identity, (u64, Bytes)>,
    bytes: u64,
    uses: u64,
}

/// A file that was found.
#[derive(Debug)]
pub struct Asset {
    /// What is known of it.
    pub facts: Facts,
    found: Found,
    buffers: Buffers,
}

#[derive(Debug)]
enum Found {
    Memory(Bytes),
    File(File),
}

/// Why an asset cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum AssetError {
    /// Nothing of this name that can be sent: no regular file, or a way out of the directory.
    #[error("no such asset")]
    Absent,
    /// No descriptor is left; there will be one when a connection ends.
    #[error("no descriptor is left")]
    Exhausted,
    /// It is there and cannot be read.
    #[error("the asset cannot be read")]
    Unreadable(#[source] io::Error),
}

impl From<Errno> for AssetError {
    fn from(error: Errno) -> Self {
        match error {
            // XDEV and LOOP: a link that leads out, or that the kernel makes up (/proc). NXIO: a socket.
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::ISDIR
            | Errno::XDEV
            | Errno::LOOP
            | Errno::NAMETOOLONG
            | Errno::INVAL
            | Errno::NXIO => Self::Absent,
            Errno::MFILE | Errno::NFILE => Self::Exhausted,
            error => Self::Unreadable(error.into()),
        }
    }
}

impl Assets {
    /// The files below this directory, which need not be there yet.
    pub fn new(root: PathBuf) -> Self {
        Self { root, kept: Mutex::default(), buffers: Buffers::default() }
    }

    /// Finds a file by its decoded path.
    pub async fn find(self: &Arc<Self>, path: &str) -> Result<Asset, AssetError> {
        // What the kernel knows already is opened here; only what the disk must be asked for needs a thread.
        let (file, identity) = match open(&self.root, path, ResolveFlags::CACHED) {
            Err(AssetError::Unreadable(error)) if error.raw_os_error() == Some(Errno::AGAIN.raw_os_error()) => {
                let (assets, path) = (self.clone(), path.to_owned());
                let opened = spawn_blocking(move || open(&assets.root, &path, ResolveFlags::empty())).await;
                opened.map_err(|panic| AssetError::Unreadable(io::Error::other(panic)))??
            }
            opened => opened?,
        };
        let found = match identity.size <= LARGEST_KEPT {
            true => Found::Memory(self.remember(file, identity).await?),
            false => Found::File(file),
        };
        Ok(Asset { facts: identity.facts(), found, buffers: self.buffers.clone() })
    }

    /// The bytes of a small file, read at most once while it does not change.
    async fn remember(&self, file: File, identity: Identity) -> Result<Bytes, AssetError> {
        if let Some(bytes) = self.kept().find(identity) {
            return Ok(bytes);
        }
        let read = spawn_blocking(move || {
            let mut bytes = vec![0; identity.size as usize];
            file.read_exact_at(&mut bytes, 0).map(|()| Bytes::from(bytes))
        });
        let read = read.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        let bytes = read.map_err(AssetError::Unreadable)?;
        if identity.is_settled(SystemTime::now()) {
            self.kept().keep(identity, bytes.clone());
        }
        Ok(bytes)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn find(&mut self, identity: Identity) -> Option<Bytes> {
        let (used, bytes) = self.files.get_mut(&identity)?;
        self.uses += 1;
        *used = self.uses;
        Some(bytes.clone())
    }

    /// Keeps a file, and forgets those that were not asked for the longest.
    fn keep(&mut self, identity: Identity, bytes: Bytes) {
        self.uses += 1;
        self.bytes += identity.size;
        if self.files.insert(identity, (self.uses, bytes)).is_some() {
            self.bytes -= identity.size;
        }
        while self.bytes > MOST_KEPT
            && let Some(oldest) = self.files.iter().min_by_key(|(_, (used, _))| *used).map(|(identity, _)| *identity)
        {
            self.files.remove(&oldest);
            self.bytes -= oldest.size;
        }
    }
}

impl Asset {
    /// So many of its bytes, from one on, on a connection with this way past us.
    pub fn payload(self, from: u64, length: u64, shortcut: &Shortcut) -> Payload {
        match self.found {
            Found::Memory(bytes) => bytes.slice(from as usize..(from + length) as usize).into(),
            Found::File(file) => {
                Payload::File(Stretch::new(file, from, length, Store { buffers: self.buffers, shortcut: shortcut.clone() }))
            }
        }
    }
}

/// Opens a regular file below a directory. Not to block: the opening of a FIFO would wait for its other end.
fn open(root: &Path, path: &str, how: ResolveFlags) -> Result<(File, Identity), AssetError> {
    let directory = openat2(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), how)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let beneath = how | ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(&directory, path.trim_start_matches('/'), flags, Mode::empty(), beneath)?;
    let stat = fstat(&file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok((file.into(), Identity::of(&stat))),
        _ => Err(AssetError::Absent),
    }
}
