//! The asset store: opens files below one directory, and keeps the small ones in memory.
//!
//! A copy of a file in memory is one, whatever path it was asked for by and however many answers send it. **Invariant:** all copies
//! together, those that are kept and those that a slow client still receives, stay below a bound; beyond it a file is sent from where it
//! lies, as a large one is.
//!
//! **Invariant:** the kernel itself keeps every path, and every link on it, below the directory (`openat2(2)`,
//! `RESOLVE_BENEATH`): a link may lead to another asset and nowhere else. What is in memory was opened so once, and is sent while
//! the very same file stands there, so a replaced one is seen at once. EFFECTS: opens and reads files, and the clock.
#![expect(clippy::disallowed_methods, reason = "effect room: opens the assets")]

use super::{
    body::{Buffers, Payload, Store, Stretch},
    select::Facts,
    sendfile::Sendfile,
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
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::task::spawn_blocking;

/// The largest file that is kept in memory: iPXE, wimboot, scripts, answer files.
const LARGEST_KEPT: u64 = 1 << 20;
/// All that is kept.
const MOST_KEPT: u64 = 32 << 20;
/// Files that are kept; those that are empty count in no bytes.
const MOST_FILES: usize = 512;
/// All copies in memory, those included that are not kept and that somebody still receives: a thousand clients that read nothing hold
/// no more. The service's unit leaves it a gigabyte.
const MOST_COPIED: u64 = 64 << 20;
/// A file written this recently may be written again within one tick of the file system's clock, and look the same.
const SETTLED: Duration = Duration::from_secs(1);

/// What changes when a file is written or replaced: device, inode, size, and when it and its entry were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    copied: Arc<AtomicU64>,
    buffers: Buffers,
}

/// A copy of a file in memory, counted for as long as somebody has it.
#[derive(Debug)]
struct Copied {
    bytes: Vec<u8>,
    room: Room,
}

/// Room for a copy, given back when it is dropped.
#[derive(Debug)]
struct Room {
    size: u64,
    of: Arc<AtomicU64>,
}

impl Room {
    /// Room for so many bytes, where there is some.
    fn take(of: &Arc<AtomicU64>, size: u64) -> Option<Self> {
        let more = |copied: u64| copied.checked_add(size).filter(|after| *after <= MOST_COPIED);
        of.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self { size, of: of.clone() })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.of.fetch_sub(self.size, Ordering::Relaxed);
    }
}

impl AsRef<[u8]> for Copied {
    fn as_ref(&self) -> &[u8] {
        debug_assert_eq!(self.bytes.len() as u64, self.room.size, "a copy is as large as the room it took");
        &self.bytes
    }
}

/// Small files by their decoded paths.
#[derive(Debug, Default)]
struct Kept {
    /// When each was last used, and what it was.
    files: BTreeMap<String, (u64, Arc<Stored>)>,
    bytes: u64,
    uses: u64,
}

#[derive(Debug)]
struct Stored {
    identity: Identity,
    facts: Arc<Facts>,
    /// Where it stands, with the directory.
    path: PathBuf,
    bytes: Bytes,
}

/// A file that was found.
#[derive(Debug)]
pub struct Asset {
    /// What is known of it.
    pub facts: Arc<Facts>,
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
        Self { root, kept: Mutex::default(), copied: Arc::default(), buffers: Buffers::default() }
    }

    /// Finds a file by its decoded path.
    pub async fn find(self: &Arc<Self>, path: &str) -> Result<Asset, AssetError> {
        // Clients begin it with slashes.
        let path = path.trim_start_matches('/');
        let stored = self.kept().find(path);
        if let Some(stored) = stored.filter(|stored| stands(&stored.path) == Some(stored.identity)) {
            return Ok(self.asset(stored.facts.clone(), Found::Memory(stored.bytes.clone())));
        }
        // What the kernel knows already is opened here; only what the disk must be asked for needs a thread.
        let (file, identity) = match open(&self.root, path, ResolveFlags::CACHED) {
            Err(AssetError::Unreadable(error)) if error.raw_os_error() == Some(Errno::AGAIN.raw_os_error()) => {
                let (assets, path) = (self.clone(), path.to_owned());
                let opened = spawn_blocking(move || open(&assets.root, &path, ResolveFlags::empty())).await;
                opened.map_err(|panic| AssetError::Unreadable(io::Error::other(panic)))??
            }
            opened => opened?,
        };
        let found = match self.known(identity) {
            Some(bytes) => Found::Memory(bytes),
            None => self.read(path, file, identity).await?,
        };
        Ok(self.asset(Arc::new(identity.facts()), found))
    }

    /// The copy of a file that is kept under another path.
    fn known(&self, identity: Identity) -> Option<Bytes> {
        let stored = self.kept().find_same(identity)?;
        Some(stored.bytes.clone())
    }

    /// Reads a small file where there is room for a copy, and keeps it.
    async fn read(&self, path: &str, file: File, identity: Identity) -> Result<Found, AssetError> {
        let room = (identity.size <= LARGEST_KEPT).then(|| Room::take(&self.copied, identity.size)).flatten();
        let Some(room) = room else { return Ok(Found::File(file)) };
        let read = spawn_blocking(move || {
            let mut bytes = vec![0; identity.size as usize];
            file.read_exact_at(&mut bytes, 0).map(|()| Bytes::from_owner(Copied { bytes, room }))
        });
        let read = read.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        let bytes = read.map_err(AssetError::Unreadable)?;
        if identity.is_settled(SystemTime::now()) {
            let (facts, at) = (Arc::new(identity.facts()), self.root.join(path));
            self.kept().keep(path, Stored { identity, facts, path: at, bytes: bytes.clone() });
        }
        Ok(Found::Memory(bytes))
    }

    fn asset(&self, facts: Arc<Facts>, found: Found) -> Asset {
        Asset { facts, found, buffers: self.buffers.clone() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn find(&mut self, path: &str) -> Option<Arc<Stored>> {
        let (used, stored) = self.files.get_mut(path)?;
        self.uses += 1;
        *used = self.uses;
        Some(stored.clone())
    }

    /// A file that is kept, by what it is and not by its path, which may be spelled in many ways.
    fn find_same(&mut self, identity: Identity) -> Option<Arc<Stored>> {
        let (used, stored) = self.files.values_mut().find(|(_, stored)| stored.identity == identity)?;
        self.uses += 1;
        *used = self.uses;
        Some(stored.clone())
    }

    /// Keeps a file, and forgets those that were not asked for the longest.
    fn keep(&mut self, path: &str, stored: Stored) {
        // Another reader may have kept it meanwhile, by another path.
        if self.find_same(stored.identity).is_some() {
            return;
        }
        self.uses += 1;
        self.bytes += stored.identity.size;
        if let Some((_, before)) = self.files.insert(path.to_owned(), (self.uses, Arc::new(stored))) {
            self.bytes -= before.identity.size;
        }
        while (self.bytes > MOST_KEPT || self.files.len() > MOST_FILES)
            && let Some(oldest) = self.files.iter().min_by_key(|(_, (used, _))| *used).map(|(path, _)| path.clone())
            && let Some((_, stored)) = self.files.remove(&oldest)
        {
            self.bytes -= stored.identity.size;
        }
    }
}

impl Asset {
    /// So many of its bytes, from one on, on a connection with this way past us.
    pub fn payload(self, from: u64, length: u64, sendfile: &Sendfile) -> Payload {
        match self.found {
            Found::Memory(bytes) => bytes.slice(from as usize..(from + length) as usize).into(),
            Found::File(file) => {
                Payload::File(Stretch::new(file, from, length, Store { buffers: self.buffers, sendfile: sendfile.clone() }))
            }
        }
    }
}

/// What stands at a path now, as far as the kernel knows without asking the disk. Nothing is opened to be read, and a link that
/// leads out leads to another file.
fn stands(path: &Path) -> Option<Identity> {
    let file = openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::CACHED).ok()?;
    Some(Identity::of(&fstat(&file).ok()?))
}

/// Opens a regular file below a directory. Not to block: the opening of a FIFO would wait for its other end.
fn open(root: &Path, path: &str, how: ResolveFlags) -> Result<(File, Identity), AssetError> {
    let directory = openat2(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), how)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let beneath = how | ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let file = openat2(&directory, path, flags, Mode::empty(), beneath)?;
    let stat = fstat(&file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok((file.into(), Identity::of(&stat))),
        _ => Err(AssetError::Absent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::symlink, thread::sleep, time::Instant};

    /// Asks for a file until it is kept: one that was just written is read anew each time.
    async fn kept(assets: &Arc<Assets>, path: &str) {
        let begun = Instant::now();
        while assets.kept().find(path).is_none() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{path} is never kept");
            assets.find(path).await.expect("it is there");
            sleep(Duration::from_millis(20));
        }
    }

    async fn found(assets: &Arc<Assets>, path: &str) -> Option<Vec<u8>> {
        match assets.find(path).await.ok()?.found {
            Found::Memory(bytes) => Some(bytes.to_vec()),
            Found::File(_) => None,
        }
    }

    #[tokio::test]
    async fn what_is_in_memory_is_sent_only_while_the_very_same_file_stands_there() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("assets");
        let names = ["written", "renamed", "removed", "led-out", "led-within", "closed/inside"];
        let at = |name: &str| root.join(name);
        fs::create_dir_all(at("closed")).expect("it is made");
        fs::write(at("other"), "another").expect("it is written");
        fs::write(directory.path().join("secret"), "secret").expect("it is written");
        for name in names {
            fs::write(at(name), "before!").expect("it is written");
        }
        let assets = Arc::new(Assets::new(root.clone()));
        for name in names {
            kept(&assets, name).await;
            assert_eq!(found(&assets, name).await.as_deref(), Some(&b"before!"[..]), "{name}");
        }
        // All as long as before, and as old.
        let old = fs::metadata(at("written")).expect("it is there").modified().expect("a time");
        for name in ["written", "fresh"] {
            fs::write(at(name), "after!!").expect("it is written");
            File::options().write(true).open(at(name)).expect("it opens").set_modified(old).expect("it is set");
        }
        fs::rename(at("fresh"), at("renamed")).expect("it is renamed");
        fs::remove_file(at("removed")).expect("it is removed");
        for (name, to) in [("led-out", "../secret"), ("led-within", "other")] {
            fs::remove_file(at(name)).expect("it is removed");
            symlink(to, at(name)).expect("a link");
        }
        fs::rename(at("closed"), at("moved")).expect("it is renamed");
        let expected = [Some(&b"after!!"[..]), Some(b"after!!"), None, None, Some(b"another"), None];
        for (name, expected) in names.into_iter().zip(expected) {
            assert_eq!(found(&assets, name).await.as_deref(), expected, "{name}");
        }
    }

    /// The bytes that so many answers hold at once, each asked for by another path, and how many of them are sent from memory.
    async fn held(assets: &Arc<Assets>, paths: impl Iterator<Item = String>) -> (u64, usize) {
        let mut answers = Vec::new();
        for path in paths {
            answers.push(assets.find(&path).await.expect("it is there"));
        }
        let copies: Vec<&Bytes> = answers
            .iter()
            .filter_map(|asset| match &asset.found {
                Found::Memory(bytes) => Some(bytes),
                Found::File(_) => None,
            })
            .collect();
        // Copies are told apart by where they lie.
        let apart: BTreeMap<_, _> = copies.iter().map(|bytes| (bytes.as_ptr(), bytes.len() as u64)).collect();
        (apart.values().sum(), copies.len())
    }

    // storj/edge#250, mbenkmann/limux-gosa#133: each of many readers of a file had a copy of its own, and the service no memory left.
    #[tokio::test]
    async fn a_thousand_slow_readers_of_one_file_hold_one_copy_however_they_spell_its_path() {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("one.img"), vec![7; LARGEST_KEPT as usize]).expect("it is written");
        let assets = Arc::new(Assets::new(directory.path().to_owned()));
        kept(&assets, "one.img").await;
        let spelled = (0..1000).map(|n| format!("{}one.img", "./".repeat(n % 100)));
        assert_eq!(held(&assets, spelled).await, (LARGEST_KEPT, 1000));
        assert_eq!(assets.kept().files.len(), 1, "other files stay in memory");
    }

    #[tokio::test]
    async fn files_that_cannot_be_kept_are_sent_from_where_they_lie_once_memory_for_copies_is_used_up() {
        let directory = tempfile::tempdir().expect("a directory");
        let assets = Arc::new(Assets::new(directory.path().to_owned()));
        // A hundred files are more than is kept; and a file that was just written is copied for each reader.
        for n in 0..100 {
            fs::write(directory.path().join(n.to_string()), vec![7; LARGEST_KEPT as usize]).expect("it is written");
        }
        let all = || (0..300).map(|n| (n % 100).to_string());
        let (bytes, in_memory) = held(&assets, all()).await;
        assert!(bytes <= MOST_COPIED && in_memory < 300 && in_memory > 0, "{bytes} bytes for {in_memory}");
        // When the answers have left, what is kept is all that takes memory.
        assert_eq!(assets.copied.load(Ordering::Relaxed), assets.kept().bytes);
        assert_eq!(held(&assets, ["99".to_owned()].into_iter()).await.1, 1);
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_and_in_files() {
        let keep = |sizes: &mut dyn Iterator<Item = u64>| {
            let mut kept = Kept::default();
            for (number, size) in sizes.enumerate() {
                let identity = Identity { device: 0, inode: number as u64, size, modified: (0, 0), changed: (0, 0) };
                let path = number.to_string();
                kept.keep(
                    &path,
                    Stored { identity, facts: identity.facts().into(), path: path.clone().into(), bytes: Bytes::new() },
                );
                assert!(kept.find(&path).is_some(), "the newest stays");
            }
            assert_eq!(kept.files.values().map(|(_, stored)| stored.identity.size).sum::<u64>(), kept.bytes);
            kept.files.len()
        };
        assert_eq!(keep(&mut [LARGEST_KEPT].into_iter().cycle().take(100)), 32);
        assert_eq!(keep(&mut [0].into_iter().cycle().take(2000)), MOST_FILES);
    }
}
