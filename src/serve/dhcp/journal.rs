//! The leases on disk: one line per change, synced before the client hears of it.
//!
//! **Invariant:** a lease that was acknowledged is found again after a power cut; a line that does not read is set aside, and
//! costs no other line; a file that does not read at all is set aside too, for reservations need no journal. EFFECTS: owns what is in the directory `serve` under the state directory and nothing else.
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
    file: fs::File,
    lines: usize,
    end: End,
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
    /// All of it.
    File(io::Error, PathBuf),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lines(count, aside) => {
                write!(f, "{count} lines of the lease journal did not read and are in {} now", aside.display())
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
}

impl Journal {
    /// Reads the journal in this directory, making both when they are absent.
    pub fn open(directory: &Path) -> io::Result<Opened> {
        fs::create_dir_all(directory)?;
        let path = directory.join(FILE);
        let (bytes, unreadable) = match fs::read(&path) {
            Ok(bytes) => (bytes, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), None),
            Err(error) => {
                // Waiting for the operator would keep every machine with a reservation from booting.
                let aside = directory.join(UNREADABLE);
                fs::rename(&path, &aside)?;
                (Vec::new(), Some(Damage::File(error, aside)))
            }
        };
        let (mut leases, lines, bad) = replay(&bytes);
        let clock = LeaseClock::open(directory);
        leases.shorten(clock.now(), SignedDuration::try_from(QUARANTINE).unwrap_or(SignedDuration::MAX));
        let damaged = match bad.is_empty() {
            true => unreadable,
            false => {
                let aside = directory.join(DAMAGED);
                let mut file = fs::OpenOptions::new().create(true).append(true).open(&aside)?;
                bad.iter().try_for_each(|line| file.write_all(&[line, &b"\n"[..]].concat()))?;
                file.sync_data()?;
                Some(Damage::Lines(bad.len(), aside))
            }
        };
        let file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
        let mut journal = Self { directory: directory.to_owned(), file, lines, end: End::Line };
        // A torn last line would swallow the next one, so damage is mended before anything is written.
        if damaged.is_some() || !bytes.is_empty() && !bytes.ends_with(b"\n") {
            journal.compact(&leases)?;
        }
        sync_directory(directory)?;
        Ok(Opened { journal, leases, clock, damaged })
    }

    /// Writes changes and returns when they are on disk.
    pub fn append(&mut self, changes: &[LeaseChange]) -> io::Result<()> {
        let text: String = changes.iter().filter(|change| change.is_durable()).map(|change| line(*change)).collect();
        if text.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
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

    /// Whether the next write needs all leases.
    pub fn must_be_rewritten(&self, leases: &Leases) -> bool {
        self.end == End::Torn || self.lines > leases.len() + SLACK
    }

    /// Writes the journal anew, with one line for each address.
    pub fn compact(&mut self, leases: &Leases) -> io::Result<()> {
        let mut fresh = tempfile::NamedTempFile::new_in(&self.directory)?;
        let text: String = leases.changes().map(line).collect();
        fresh.write_all(text.as_bytes())?;
        fresh.as_file().sync_data()?;
        fresh.persist(self.directory.join(FILE)).map_err(|error| error.error)?;
        sync_directory(&self.directory)?;
        self.file = fs::OpenOptions::new().append(true).open(self.directory.join(FILE))?;
        self.lines = leases.changes().count();
        self.end = End::Line;
        Ok(())
    }
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
        opened.journal.file = fs::File::open(&path).expect("read only");
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
