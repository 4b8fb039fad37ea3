//! Keeps the transcript: on disk within seconds, in the log as it happens.
//!
//! **Invariant:** the file is always whole (written beside it, synced and renamed), and nothing waits for it, neither who records nor
//! the loop that the watchdog looks at: it explains boots and decides none, so whatever is wrong with it or its disk keeps nobody from
//! booting. The longer a write takes, the later is the next. EFFECTS: the clock, and the transcript's file.
#![expect(clippy::disallowed_methods, reason = "effect room: writes the transcript")]

use crate::{
    boot::table::FixedTable,
    names::{MacAddr, is_harmful},
    transcript::{Event, EventKind, PATH, Reservation, ServerKind, Source, Transcript},
};
use fs_err as fs;
use jiff::Timestamp;
use std::{
    collections::BTreeSet,
    fmt,
    io::{self, BufWriter},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

/// Changes that may wait for the next write: ten seconds of the busiest room. A flood beyond it is only counted.
const WAITING: usize = 1 << 16;
/// And so many while strangers have made them: a flood of strangers leaves room for the machines of the site.
const WAITING_OF_STRANGERS: usize = WAITING / 2;

/// How many times as long as a write takes nothing is written after it: what explains a room must not slow its boots.
const PACE: u32 = 100;
/// And how long at most, however slow the disk is.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// After this it is said that a write has not come to its end: its disk hangs, as one does while it is repaired.
const LATE: Duration = Duration::from_secs(10);
/// The operator is told again of a transcript that cannot be written after this.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// Where a transcript goes that does not read, beside it.
const UNREADABLE: &str = "transcript.unreadable";

/// What is rendered before it goes to the file: a transcript of megabytes is never in memory a second time.
const BUFFER: usize = 1 << 16;

/// So much of a loader's name is told.
pub const LONGEST_NAME: usize = 80;

/// Which write it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// One of many: it may be left to the next.
    Regular,
    /// None comes after it.
    Last,
}

/// One change to the transcript, with the time at which it happened.
type Change = Box<dyn FnOnce(&mut Transcript) + Send>;

/// Keeps the transcript of one state directory.
pub struct Recorder {
    path: PathBuf,
    /// The machines of the site.
    known: RwLock<BTreeSet<MacAddr>>,
    waiting: Mutex<Waiting>,
    kept: Arc<Mutex<Kept>>,
    flushing: Mutex<Option<Flushing>>,
}

/// A write that was begun in a task of its own.
struct Flushing {
    begun: Instant,
    task: JoinHandle<()>,
    late: Late,
}

/// Whether it was said that a write is late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Late {
    Unsaid,
    Said,
}

/// What has happened since the last write.
#[derive(Default)]
struct Waiting {
    /// The machines of the site, where there are others since.
    known: Option<BTreeSet<MacAddr>>,
    changes: Vec<Change>,
    lost: usize,
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

/// A name from the wire, so many characters of it, fit for a sentence.
pub fn shown(name: &str, most: usize) -> String {
    name.chars().filter(|c| !is_harmful(*c)).take(most).collect()
}

impl Happening {
    /// Somebody asked for a file that is not among the loaders.
    pub fn loader_missing(service: &'static str, name: &str) -> Self {
        let file = shown(name, LONGEST_NAME);
        let what = format!("asked for {file:?}, which is not among the loaders");
        Self { service, kind: EventKind::LoaderMissing { file }, what }
    }

    /// Somebody asked for a loader that is too large to be served.
    pub fn loader_too_large(service: &'static str, name: &str) -> Self {
        let what = format!("asked for {:?}, which is too large: loaders are kept in memory", shown(name, LONGEST_NAME));
        Self { what, ..Self::loader_missing(service, name) }
    }

    fn at(self, at: Timestamp) -> Event {
        Event { at, service: self.service.to_owned(), kind: self.kind, until: None, what: self.what }
    }
}

struct Kept {
    /// `None` until the first write reads what was kept before.
    transcript: Option<Transcript>,
    on_disk: OnDisk,
    /// Before this it is not written again, but for the last time.
    due: Instant,
    /// When it was said last that it cannot be written.
    said: Option<Instant>,
}

/// Whether the file says what the transcript says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnDisk {
    Current,
    Stale,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Keeps the transcript of a state directory. What was kept before is read by the first write: nobody waits for its disk.
    pub fn new(state: &Path) -> Self {
        let kept = Kept { transcript: None, on_disk: OnDisk::Current, due: Instant::now(), said: None };
        Self {
            path: state.join(PATH),
            known: RwLock::default(),
            waiting: Mutex::default(),
            kept: Arc::new(Mutex::new(kept)),
            flushing: Mutex::default(),
        }
    }

    /// Takes note of which machines are of the site.
    pub fn know(&self, table: &FixedTable) {
        let known: BTreeSet<MacAddr> = table.machines.values().flat_map(|machine| machine.macs.iter().copied()).collect();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known.clone();
        lock(&self.waiting).known = Some(known);
    }

    /// Records an event of a machine that was heard there, and the address that DHCP shows it with.
    pub fn record(&self, mac: MacAddr, source: Source, address: Option<Ipv4Addr>, happening: Happening) {
        tracing::info!(%mac, service = happening.service, "{}", happening.what);
        self.change(self.share(mac), move |transcript, at| transcript.record(mac, source, address, happening.at(at)));
    }

    /// Records what was not said to us: anybody may say it in any machine's name, so it takes no more room than strangers do, and tells
    /// nothing of how far a boot came.
    pub fn record_overheard(&self, mac: MacAddr, source: Source, what: String) {
        tracing::debug!(%mac, service = "dhcp", "{what}");
        let happening = Happening { service: "dhcp", kind: EventKind::Overheard, what };
        self.change(WAITING_OF_STRANGERS, move |transcript, at| transcript.record(mac, source, None, happening.at(at)));
    }

    /// Records that a machine's script was fetched and what it was told, the script first.
    pub fn record_fetch(&self, mac: MacAddr, peer: IpAddr, reservation: Reservation, happened: Vec<Happening>) {
        happened.iter().for_each(|happening| tracing::info!(%mac, %peer, service = happening.service, "{}", happening.what));
        self.change(self.share(mac), move |transcript, at| {
            let events = happened.into_iter().map(|happening| happening.at(at)).collect();
            transcript.record_fetch(mac, peer, reservation, events);
        });
    }

    /// Records an event of the machine that was last seen with this address; of a stranger, only the log says it.
    pub fn record_address(&self, peer: IpAddr, happening: Happening) {
        tracing::info!(%peer, service = happening.service, "{}", happening.what);
        let IpAddr::V4(address) = peer else { return };
        self.change(WAITING_OF_STRANGERS, move |transcript, at| {
            if let Some(mac) = transcript.machine_at(address) {
                transcript.record(mac, Source::Address(peer), None, happening.at(at));
            }
        });
    }

    /// How many changes may wait when one of this machine is added.
    fn share(&self, mac: MacAddr) -> usize {
        match self.known.read().unwrap_or_else(PoisonError::into_inner).contains(&mac) {
            true => WAITING,
            false => WAITING_OF_STRANGERS,
        }
    }

    /// Records that a booting machine asked for an address on an interface.
    pub fn record_question(&self, interface: &str) {
        let interface = interface.to_owned();
        self.change(WAITING_OF_STRANGERS, move |transcript, at| transcript.record_question(&interface, at));
    }

    /// Records that another server was seen.
    pub fn record_server(&self, address: Ipv4Addr, kind: ServerKind, interface: &str, what: String) {
        let interface = interface.to_owned();
        self.change(WAITING_OF_STRANGERS, move |transcript, at| transcript.record_server(address, kind, &interface, what, at));
    }

    /// Begins to write in a task of its own; where the write before has not ended, looks only whether that is to be said.
    pub fn begin_flush(self: &Arc<Self>) {
        let mut flushing = lock(&self.flushing);
        match flushing.as_mut().filter(|before| !before.task.is_finished()) {
            Some(before) if before.late == Late::Unsaid && before.begun.elapsed() >= LATE => {
                before.late = Late::Said;
                let waits = before.begun.elapsed().as_secs();
                tracing::warn!(
                    "a write of the transcript has not ended for {waits} s: its disk hangs; machines are answered meanwhile"
                );
            }
            Some(_) => {}
            None => {
                let recorder = Arc::clone(self);
                let task = tokio::spawn(async move { recorder.flush(Flush::Regular).await });
                *flushing = Some(Flushing { begun: Instant::now(), task, late: Late::Unsaid });
            }
        }
    }

    /// Makes the changes that wait, and writes the transcript if it changed and is due.
    pub async fn flush(&self, flush: Flush) {
        let Waiting { known, changes, lost } = std::mem::take(&mut *lock(&self.waiting));
        if lost > 0 {
            tracing::warn!(lost, "more happened in a second than is written down");
        }
        let (kept, path) = (self.kept.clone(), self.path.clone());
        let written = tokio::task::spawn_blocking(move || {
            let mut kept = lock(&kept);
            let Kept { transcript, on_disk, due, said } = &mut *kept;
            let transcript = transcript.get_or_insert_with(|| read(&path));
            // Who is of the site is nothing that happened: it is not written by itself.
            known.into_iter().for_each(|known| transcript.know(known));
            if changes.is_empty() && *on_disk == OnDisk::Current {
                return;
            }
            changes.into_iter().for_each(|change| change(transcript));
            *on_disk = OnDisk::Stale;
            let begun = Instant::now();
            if flush == Flush::Regular && begun < *due {
                return;
            }
            match write(&path, transcript) {
                Ok(()) => {
                    *on_disk = OnDisk::Current;
                    *due = begun + (begun.elapsed() * PACE).min(LONGEST_WAIT);
                    if said.take().is_some() {
                        tracing::info!("the transcript is written again");
                    }
                }
                Err(error) if said.is_none_or(|at| at.elapsed() >= SAID_EVERY) => {
                    *said = Some(begun);
                    tracing::warn!(%error, "the transcript cannot be written");
                }
                Err(_) => {}
            }
        });
        if let Err(error) = written.await {
            tracing::error!(%error, "the transcript cannot be kept");
        }
    }

    /// Adds a change if fewer than `most` wait.
    fn change(&self, most: usize, change: impl FnOnce(&mut Transcript, Timestamp) + Send + 'static) {
        let at = Timestamp::now();
        // Made and, where it is too many, dropped outside the lock, which every answer takes.
        let change: Change = Box::new(move |transcript| change(transcript, at));
        let mut waiting = lock(&self.waiting);
        match waiting.changes.len() < most {
            true => waiting.changes.push(change),
            false => waiting.lost += 1,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What was kept before. What does not read, for whatever reason, is set aside, and the transcript begins anew.
fn read(path: &Path) -> Transcript {
    let why = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Transcript::empty(),
        Err(error) => error.to_string(),
        Ok(bytes) => {
            let text = String::from_utf8(bytes).map_err(|error| error.to_string());
            match text.and_then(|text| Transcript::parse(&text).map_err(|error| error.to_string())) {
                Ok(transcript) => return transcript,
                Err(why) => why,
            }
        }
    };
    let aside = path.with_file_name(UNREADABLE);
    match fs::rename(path, &aside) {
        Ok(()) => tracing::warn!(path = %path.display(), "the transcript begins anew, and is {} now: {why}", aside.display()),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the transcript begins anew, and cannot be set aside: {why}")
        }
    }
    Transcript::empty()
}

fn write(path: &Path, transcript: &Transcript) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let fresh = tempfile::Builder::new().permissions(world_readable()).tempfile_in(directory)?;
    let mut buffered = BufWriter::with_capacity(BUFFER, fresh);
    transcript.write(&mut buffered)?;
    let fresh = buffered.into_inner().map_err(io::IntoInnerError::into_error)?;
    // Without it a power cut may leave the new name with nothing in it.
    fresh.as_file().sync_data()?;
    fresh.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Whoever explains a boot reads it, and may be another user.
fn world_readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_of_strangers_leaves_room_for_what_machines_of_the_site_do() {
        let state = tempfile::tempdir().expect("a directory");
        let recorder = Arc::new(Recorder::new(state.path()));
        let mac =
            |n: u32| MacAddr::from_octets([&[2, 0][..], &n.to_be_bytes()].concat().try_into().expect("six")).expect("unicast");
        *recorder.known.write().expect("whole") = [mac(0)].into();
        let record = |n: u32| {
            let happening = Happening { service: "dhcp", kind: EventKind::Other, what: String::new() };
            recorder.record(mac(n), Source::Interface("lan0".into()), None, happening);
        };
        (1..WAITING as u32 * 2).for_each(record);
        assert_eq!(lock(&recorder.waiting).changes.len(), WAITING_OF_STRANGERS);
        // Whatever a forger says in a machine's name or in a server's is a stranger's word.
        recorder.record_overheard(mac(0), Source::Interface("lan0".into()), "uses its address".into());
        recorder.record_server(Ipv4Addr::new(10, 0, 0, 9), ServerKind::Dhcp, "lan0", "offered".into());
        recorder.record_question("lan0");
        assert_eq!(lock(&recorder.waiting).changes.len(), WAITING_OF_STRANGERS);
        record(0);
        recorder.flush(Flush::Last).await;
        let written = Transcript::parse(&fs::read_to_string(state.path().join(PATH)).expect("a file")).expect("it reads");
        assert!(written.machines.contains_key(&mac(0)));
    }

    #[tokio::test]
    async fn what_is_not_due_waits_for_a_later_write_or_the_last() {
        let state = tempfile::tempdir().expect("a directory");
        let recorder = Arc::new(Recorder::new(state.path()));
        let knows = |wire: &str| fs::read_to_string(state.path().join(PATH)).is_ok_and(|text| text.contains(wire));
        let hour = Duration::from_secs(3600);
        recorder.record_question("first0");
        recorder.flush(Flush::Regular).await;
        assert!(knows("first0"));
        recorder.record_question("second0");
        lock(&recorder.kept).due = Instant::now() + hour;
        recorder.flush(Flush::Regular).await;
        assert!(!knows("second0"));
        lock(&recorder.kept).due = Instant::now();
        recorder.flush(Flush::Regular).await;
        assert!(knows("second0"), "though nothing has happened since");
        recorder.record_question("third0");
        lock(&recorder.kept).due = Instant::now() + hour;
        recorder.flush(Flush::Last).await;
        assert!(knows("third0"));
    }

    /// AdGuardTeam/AdGuardHome#7196, and what a failing disk does: the file is no text, or a directory stands in its place.
    #[tokio::test]
    async fn a_transcript_that_cannot_be_read_is_set_aside_and_begins_anew() {
        for spoil in [
            (|path: &Path| fs::write(path, b"\0\0\0\0")) as fn(&Path) -> io::Result<()>,
            |path| fs::write(path, b"{\"version\": \xff"),
            |path| fs::write(path, b""),
            |path| fs::create_dir(path).and_then(|()| fs::write(path.join("x"), "")),
        ] {
            let state = tempfile::tempdir().expect("a directory");
            let path = state.path().join(PATH);
            fs::create_dir(path.parent().expect("below")).expect("made");
            spoil(&path).expect("spoiled");
            let recorder = Recorder::new(state.path());
            recorder.record_question("lan0");
            recorder.flush(Flush::Last).await;
            let written = Transcript::parse(&fs::read_to_string(&path).expect("a file")).expect("it reads");
            assert!(fs::read_to_string(&path).is_ok_and(|text| text.contains("lan0")), "{written:?}");
            assert!(fs::metadata(path.with_file_name(UNREADABLE)).is_ok(), "it is set aside");
        }
    }

    /// systemd/systemd#20473 and 2010: a daemon that waits for a slow disk does not answer the watchdog, and is killed at its work.
    #[tokio::test]
    async fn whoever_looks_after_the_transcript_does_not_wait_for_a_disk_that_hangs() {
        let state = tempfile::tempdir().expect("a directory");
        let path = state.path().join(PATH);
        fs::create_dir(path.parent().expect("below")).expect("made");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("whoever opens it waits");
        let recorder = Arc::new(Recorder::new(state.path()));
        recorder.record_question("lan0");
        for _ in 0..3 {
            recorder.begin_flush();
            tokio::task::yield_now().await;
        }
        let begun = |recorder: &Recorder| lock(&recorder.flushing).as_ref().map(|flushing| flushing.begun);
        let first = begun(&recorder);
        lock(&recorder.flushing).as_mut().expect("begun").begun -= LATE;
        recorder.begin_flush();
        assert_eq!(begun(&recorder), first.map(|first| first - LATE), "no other is begun beside it");
        assert_eq!(lock(&recorder.flushing).as_ref().map(|flushing| flushing.late), Some(Late::Said));
        // The disk answers: what waited is written.
        drop(fs::OpenOptions::new().write(true).open(&path).expect("a reader waits"));
        let begun = lock(&recorder.flushing).take();
        begun.expect("begun").task.await.expect("it ends");
        recorder.flush(Flush::Last).await;
        assert!(fs::read_to_string(&path).is_ok_and(|text| text.contains("lan0")));
    }
}
