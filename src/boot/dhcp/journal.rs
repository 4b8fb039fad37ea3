//! The leases on disk: one line per change, synced before the client hears of it.
//!
//! **Invariant:** a lease that was acknowledged is found again after a power cut; a line that does not read is set aside, and
//! costs no other line. EFFECTS: owns `serve/leases` under the state directory and nothing else.
#![expect(clippy::disallowed_methods, reason = "effect room: the lease journal")]

use super::leases::{LeaseChange, Leases};
use fs_err as fs;
use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

/// The journal's file in its directory.
const FILE: &str = "leases";
/// Where lines go that do not read.
const DAMAGED: &str = "leases.damaged";
/// A journal this much longer than its leases is written anew; at 100 bytes a line that is a few hundred kilobytes.
const SLACK: usize = 4096;

/// The journal, open at its end.
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    file: fs::File,
    lines: usize,
}

/// What was found when a journal was opened.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub journal: Journal,
    /// The leases it held.
    pub leases: Leases,
    /// How many lines did not read, and where they lie now.
    pub damaged: Option<(usize, PathBuf)>,
}

impl Journal {
    /// Reads the journal in this directory, making both when they are absent.
    pub fn open(directory: &Path) -> io::Result<Opened> {
        fs::create_dir_all(directory)?;
        let path = directory.join(FILE);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let (leases, lines, bad) = replay(&bytes);
        let damaged = match bad.is_empty() {
            true => None,
            false => {
                let aside = directory.join(DAMAGED);
                let mut file = fs::OpenOptions::new().create(true).append(true).open(&aside)?;
                bad.iter().try_for_each(|line| file.write_all(&[line, &b"\n"[..]].concat()))?;
                file.sync_data()?;
                Some((bad.len(), aside))
            }
        };
        let file = fs::OpenOptions::new().create(true).append(true).open(&path)?;
        let mut journal = Self { directory: directory.to_owned(), file, lines };
        // A torn last line would swallow the next one, so damage is mended before anything is written.
        if damaged.is_some() || !bytes.is_empty() && !bytes.ends_with(b"\n") {
            journal.compact(&leases)?;
        }
        sync_directory(directory)?;
        Ok(Opened { journal, leases, damaged })
    }

    /// Writes changes and returns when they are on disk.
    pub fn append(&mut self, changes: &[LeaseChange]) -> io::Result<()> {
        let text: String = changes.iter().filter(|change| change.is_durable()).map(|change| line(*change)).collect();
        if text.is_empty() {
            return Ok(());
        }
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()?;
        self.lines += changes.len();
        Ok(())
    }

    /// Whether it has grown far beyond the leases it describes.
    pub fn is_long(&self, leases: &Leases) -> bool {
        self.lines > leases.len() + SLACK
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
        LeaseChange::Bind { ip: Ipv4Addr::new(10, 0, 0, last), mac, until: Timestamp::MAX }
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
        assert_eq!(again.damaged.as_ref().map(|(lines, _)| *lines), Some(1));
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
        assert!(opened.journal.is_long(&leases));
        opened.journal.compact(&leases).expect("it compacts");
        opened.journal.append(&[bind(8)]).expect("it writes on");
        let text = fs::read_to_string(directory.path().join(FILE)).expect("it reads");
        assert_eq!(text.lines().count(), 2, "{text}");
    }
}
