//! The leases on disk: one line per change, synced before the client hears of it.
//!
//! **Invariant:** a lease that was acknowledged is found again after a power cut; a line that does not read is set aside, and
//! costs no other line; a file that does not read at all is set aside too, for reservations need no journal. A disk that is full or fails
//! keeps the service neither from starting nor from what is on disk: the journal is mended when it takes a write again. EFFECTS: owns what is in the directory `serve` under the state directory and nothing else.
#![expect(clippy::disallowed_methods, reason = "effect room: the lease journal")]

use super::{
    clock::LeaseClock,
    leases::{LeaseChange, Leases},
    server::QUARANTINE,
};
use fs_err as fs;
use jiff::SignedDuration;
use std::{
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The journal's file in its directory.
const FILE: &str = "leases";
/// Where lines go that do not read.
const DAMAGED: &str = "leases.damaged";
/// Where a journal goes that cannot be read at all.
const UNREADABLE: &str = "leases.unreadable";
/// A journal this much longer than its leases is written anew; at 100 bytes a line that is a few hundred kilobytes.
const SLACK: usize = 4096;

/// The journal, open at its end.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    /// `None` while it could not be opened.
    file: Option<fs::File>,
    lines: usize,
    end: End,
    /// Lines that did not read and are not set aside yet.
    unread: Vec<u8>,
}

/// What stands at the journal's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// A whole line.
    Line,
    /// Perhaps part of one: a write failed, and the next line would be swallowed by it.
    Torn,
}

/// What did not read, and where it lies now.
#[derive(Debug)]
pub enum Damage {
    /// Lines.
    Lines(usize, PathBuf),
    /// Lines that could not be set aside so far.
    Left(usize),
    /// All of it.
    File(io::Error, PathBuf),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lines(count, aside) => {
                write!(f, "{count} lines of the lease journal did not read and are in {} now", aside.display())
            }
            Self::Left(count) => {
                write!(f, "{count} lines of the lease journal did not read, and are set aside when that is possible")
            }
            Self::File(error, aside) => {
                write!(f, "the lease journal cannot be read ({error}) and is {} now; leases begin anew", aside.display())
            }
        }
    }
}

/// What was found when a journal was opened.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub journal: Journal,
    /// The leases it held.
    pub leases: Leases,
    /// The time they live by.
    pub clock: LeaseClock,
    /// What of it did not read.
    pub damaged: Option<Damage>,
    /// What keeps it from being written, as a full disk does; it is tried again with each lease.
    pub trouble: Option<io::Error>,
}

impl Journal {
    /// Reads the journal in this directory, making both when they are absent.
    ///
    /// Fails only for what the operator set wrongly, as a directory that this user may not write.
    pub fn open(directory: &Path) -> io::Result<Opened> {
        let mut trouble = None;
        let mut attempt = |attempted: io::Result<()>| match attempted {
            Err(error) if is_set_wrongly(&error) => Err(error),
            attempted => {
                trouble = trouble.take().or(attempted.err());
                Ok(())
            }
        };
        attempt(fs::create_dir_all(directory))?;
        let path = directory.join(FILE);
        let (bytes, unreadable) = match fs::read(&path) {
            Ok(bytes) => (bytes, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), None),
            Err(error) => {
                // Waiting for the operator would keep every machine with a reservation from booting.
                let aside = directory.join(UNREADABLE);
                attempt(fs::rename(&path, &aside))?;
                (Vec::new(), Some(Damage::File(error, aside)))
            }
        };
        let (mut leases, lines, bad) = replay(&bytes);
        let clock = LeaseClock::open(directory);
        leases.shorten(clock.now(), SignedDuration::try_from(QUARANTINE).unwrap_or(SignedDuration::MAX));
        let unread = bad.iter().flat_map(|line| line.iter().chain(b"\n")).copied().collect();
        let mut journal = Self { directory: directory.to_owned(), file: None, lines, end: End::Torn, unread };
        attempt(fs::OpenOptions::new().create(true).append(true).open(&path).map(|file| journal.file = Some(file)))?;
        // A torn last line would swallow the next one, so damage is mended before anything is written.
        if journal.file.is_some() && bad.is_empty() && unreadable.is_none() && (bytes.is_empty() || bytes.ends_with(b"\n")) {
            journal.end = End::Line;
        } else {
            attempt(journal.compact(&leases))?;
        }
        attempt(sync_directory(directory))?;
        let damaged = match (bad.len(), journal.unread.is_empty()) {
            (0, _) => unreadable,
            (count, true) => Some(Damage::Lines(count, directory.join(DAMAGED))),
            (count, false) => Some(Damage::Left(count)),
        };
        Ok(Opened { journal, leases, clock, damaged, trouble })
    }

    /// Writes changes and returns when they are on disk.
    pub fn append(&mut self, changes: &[LeaseChange]) -> io::Result<()> {
        let text: String = changes.iter().filter(|change| change.is_durable()).map(|change| line(*change)).collect();
        if text.is_empty() {
            return Ok(());
        }
        let Some(file) = &mut self.file else { return Err(io::Error::other("the lease journal is not open")) };
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // What did reach the disk is unknown, and after a failed sync the kernel may count lost pages as written.
            self.end = End::Torn;
            return Err(error);
        }
        self.lines += changes.len();
        Ok(())
    }

    /// Writes changes that these leases already hold, and returns when they are on disk.
    ///
    /// A journal that was torn or that has grown far beyond its leases is written anew; see [`Journal::must_be_rewritten`].
    pub fn write(&mut self, changes: &[LeaseChange], whole: Option<&Leases>) -> io::Result<()> {
        let Some(leases) = whole else { return self.append(changes) };
        match self.compact(leases) {
            Err(error) if self.end == End::Line => {
                tracing::warn!(%error, "the lease journal cannot be written anew; it grows on");
                self.append(changes)
            }
            written => written,
        }
    }

    /// Keeps the lines that did not read, beside the journal.
    fn set_aside(&mut self) -> io::Result<()> {
        if self.unread.is_empty() {
            return Ok(());
        }
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.directory.join(DAMAGED))?;
        file.write_all(&self.unread)?;
        file.sync_data()?;
        self.unread.clear();
        Ok(())
    }

    /// Whether the next write needs all leases.
    pub fn must_be_rewritten(&self, leases: &Leases) -> bool {
        self.end == End::Torn || self.lines > leases.len() + SLACK
    }

    /// Writes the journal anew, with one line for each address.
    pub fn compact(&mut self, leases: &Leases) -> io::Result<()> {
        self.set_aside()?;
        self.replace(leases)?;
        sync_directory(&self.directory)?;
        self.file = Some(fs::OpenOptions::new().append(true).open(self.directory.join(FILE))?);
        self.lines = leases.changes().count();
        self.end = End::Line;
        Ok(())
    }

    /// Puts a journal of these leases in the place of the one that is open, which has no name from then on and takes nothing more.
    fn replace(&mut self, leases: &Leases) -> io::Result<()> {
        let mut fresh = tempfile::NamedTempFile::new_in(&self.directory)?;
        let text: String = leases.changes().map(line).collect();
        fresh.write_all(text.as_bytes())?;
        fresh.as_file().sync_data()?;
        fresh.persist(self.directory.join(FILE)).map_err(|error| error.error)?;
        (self.file, self.end) = (None, End::Torn);
        Ok(())
    }
}

/// Why a journal cannot be written, in the operator's words.
pub fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("no space is left on its disk ({error})"),
        _ => error.to_string(),
    }
}

/// Whether an error is none of the disk's: it will be the same until the operator mends it, and is seen at the first start.
fn is_set_wrongly(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Makes the leases from the journal's lines: leases, lines read, lines that do not read.
fn replay(bytes: &[u8]) -> (Leases, usize, Vec<&[u8]>) {
    let (mut leases, mut lines, mut bad) = (Leases::default(), 0, Vec::new());
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match serde_json::from_slice::<LeaseChange>(line) {
            Ok(change) => {
                leases.apply(change);
                lines += 1;
            }
            Err(_) => bad.push(line),
        }
    }
    (leases, lines, bad)
}

fn line(change: LeaseChange) -> String {
    let mut text = serde_json::to_string(&change).expect("addresses and times always serialise");
    text.push('\n');
    text
}

/// Makes a rename or a new file in a directory survive a power cut.
fn sync_directory(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use std::net::Ipv4Addr;

    fn bind(last: u8) -> LeaseChange {
        let mac = format!("02:00:00:00:00:{last:02x}").parse().expect("an address");
        LeaseChange::Bind { ip: Ipv4Addr::new(10, 0, 0, last), mac, until: Timestamp::MAX, lasts: None, since: None }
    }

    #[test]
    fn a_lease_is_found_again_after_a_restart() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut opened = Journal::open(directory.path()).expect("it opens");
        opened.journal.append(&[bind(1), bind(2)]).expect("it writes");
        opened.journal.append(&[LeaseChange::Release { ip: Ipv4Addr::new(10, 0, 0, 1) }]).expect("it writes");
        let again = Journal::open(directory.path()).expect("it opens again");
        assert_eq!(again.leases.changes().collect::<Vec<_>>(), [bind(2)]);
        assert!(again.damaged.is_none());
    }

    #[test]
    fn a_torn_line_is_set_aside_and_costs_no_other() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut opened = Journal::open(directory.path()).expect("it opens");
        opened.journal.append(&[bind(1), bind(2)]).expect("it writes");
        let path = directory.path().join(FILE);
        let mut torn = fs::read(&path).expect("it reads");
        torn.truncate(torn.len() - 9);
        fs::write(&path, &torn).expect("it writes");
        let mut again = Journal::open(directory.path()).expect("it opens torn");
        assert!(matches!(again.damaged, Some(Damage::Lines(1, _))), "{:?}", again.damaged);
        again.journal.append(&[bind(3)]).expect("it writes on");
        let last = Journal::open(directory.path()).expect("it opens mended");
        assert!(last.damaged.is_none());
        assert_eq!(last.leases.changes().collect::<Vec<_>>(), [bind(1), bind(3)]);
    }

    #[test]
    fn a_journal_that_grew_is_written_anew_and_loses_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut opened = Journal::open(directory.path()).expect("it opens");
        let many: Vec<_> = (0..SLACK + 10).map(|_| bind(7)).collect();
        opened.journal.append(&many).expect("it writes");
        let leases = Journal::open(directory.path()).expect("it opens").leases;
        assert!(opened.journal.must_be_rewritten(&leases));
        opened.journal.write(&[bind(7)], Some(&leases)).expect("it compacts");
        opened.journal.append(&[bind(8)]).expect("it writes on");
        let text = fs::read_to_string(directory.path().join(FILE)).expect("it reads");
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    /// The directory cannot be synced, or the file not be opened again: a write to the one that was open succeeds, and is lost.
    #[test]
    fn a_journal_that_was_renamed_and_not_opened_again_acknowledges_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut opened = Journal::open(directory.path()).expect("it opens");
        opened.journal.append(&[bind(1)]).expect("it writes");
        opened.leases.apply(bind(1));
        opened.journal.replace(&opened.leases).expect("it is renamed");
        opened.journal.append(&[bind(2)]).expect_err("it stands in no file that has a name");
        opened.leases.apply(bind(2));
        assert!(opened.journal.must_be_rewritten(&opened.leases));
        opened.journal.write(&[bind(2)], Some(&opened.leases)).expect("it is mended");
        let found = Journal::open(directory.path()).expect("it opens").leases;
        assert_eq!(found.changes().collect::<Vec<_>>(), [bind(1), bind(2)]);
    }

    #[test]
    fn a_line_after_a_failed_write_is_not_swallowed_by_what_was_left_of_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut opened = Journal::open(directory.path()).expect("it opens");
        opened.journal.append(&[bind(1)]).expect("it writes");
        opened.leases.apply(bind(1));
        // A full disk takes part of a line.
        let path = directory.path().join(FILE);
        let part = fs::OpenOptions::new().append(true).open(&path).and_then(|mut file| file.write_all(b"{\"bind\":{\"ip"));
        part.expect("it writes");
        opened.journal.file = Some(fs::File::open(&path).expect("read only"));
        opened.journal.append(&[bind(2)]).expect_err("a file that cannot be written");
        opened.leases.apply(bind(2));
        assert!(opened.journal.must_be_rewritten(&opened.leases));
        opened.leases.apply(bind(3));
        opened.journal.write(&[bind(3)], Some(&opened.leases)).expect("it is written anew");
        assert!(!opened.journal.must_be_rewritten(&opened.leases));
        let again = Journal::open(directory.path()).expect("it opens");
        assert!(again.damaged.is_none(), "{:?}", again.damaged);
        assert_eq!(again.leases.changes().collect::<Vec<_>>(), [bind(1), bind(2), bind(3)]);
    }

    /// A full disk tears the journal by the very write that it does not take, and is still full when the service is started again.
    #[test]
    fn a_torn_journal_on_a_full_disk_is_read_and_mended_when_there_is_space() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(FILE);
        let torn = b"{\"bind\":{\"ip\":\"10.0.0.2\",\"mac\":";
        fs::write(&path, [line(bind(1)).as_bytes(), torn].concat()).expect("it writes");
        // Whatever is written there finds no space.
        let aside = directory.path().join(DAMAGED);
        std::os::unix::fs::symlink("/dev/full", &aside).expect("a link");
        let mut opened = Journal::open(directory.path()).expect("the service starts");
        assert_eq!(opened.leases.changes().collect::<Vec<_>>(), [bind(1)]);
        assert!(matches!(opened.damaged, Some(Damage::Left(1))), "{:?}", opened.damaged);
        let trouble = opened.trouble.expect("it is said");
        assert!(why(&trouble).contains("no space is left"), "{}", why(&trouble));
        assert!(opened.journal.must_be_rewritten(&opened.leases));
        opened.leases.apply(bind(3));
        opened.journal.write(&[bind(3)], Some(&opened.leases)).expect_err("there is no space");
        fs::remove_file(&aside).expect("there is space again");
        opened.journal.write(&[bind(3)], Some(&opened.leases)).expect("it is mended");
        assert_eq!(fs::read(&aside).expect("it is set aside"), [&torn[..], b"\n"].concat());
        let again = Journal::open(directory.path()).expect("it opens");
        assert!(again.damaged.is_none() && again.trouble.is_none());
        assert_eq!(again.leases.changes().collect::<Vec<_>>(), [bind(1), bind(3)]);
    }

    #[test]
    fn a_directory_that_cannot_be_is_an_error_of_the_operators() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        fs::write(&file, "").expect("it writes");
        let error = Journal::open(&file.join("serve")).expect_err("a file has no directory in it");
        assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn a_journal_of_rubbish_or_that_cannot_be_read_does_not_keep_the_room_from_booting() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(FILE);
        fs::write(&path, b"\0\xff\xfe rubbish\n[1,2]\n{}").expect("it writes");
        let mut opened = Journal::open(directory.path()).expect("it opens");
        assert!(matches!(opened.damaged, Some(Damage::Lines(3, _))), "{:?}", opened.damaged);
        opened.journal.append(&[bind(1)]).expect("it writes");
        assert_eq!(Journal::open(directory.path()).expect("it opens").leases.changes().collect::<Vec<_>>(), [bind(1)]);
        fs::remove_file(&path).expect("it goes");
        fs::create_dir(&path).expect("a directory does not read as a file");
        let mut opened = Journal::open(directory.path()).expect("it opens");
        let said = opened.damaged.expect("damage").to_string();
        assert!(said.contains("cannot be read") && said.contains("leases.unreadable"), "{said}");
        opened.journal.append(&[bind(2)]).expect("it writes");
    }
}
