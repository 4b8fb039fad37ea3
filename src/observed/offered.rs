//! The record of which disk was offered to which boot: its text, read and written.
//!
//! A disk is clean only while this record, whole and belonging to the disk's store, does not name it. One line for each record, each
//! with a check of its own; the file is longer than its records, the rest of it zeroes, so that appending needs no new blocks.
//!
//! **Invariant:** what is lost can only make a disk less trusted. A last record that was torn was never shown to anybody and is cut
//! off; any other damage makes the whole record unreadable.

use crate::names::{BootNonce, Handle, MachineName, Mono, NameError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt};

/// The version of this text.
const VERSION: &str = "barista-offered-1";

/// What was offered to which boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Offered {
    /// The store whose disks are meant.
    pub store: Handle,
    /// The epoch in which this record was begun: disks that are older are not known to it.
    pub begun: u64,
    /// The epoch it is in; the store's mark says the same.
    pub epoch: u64,
    /// The boot of the server in which that epoch began.
    pub server_boot: String,
    /// When in that boot.
    pub since: Mono,
    /// The last record of each disk.
    pub disks: BTreeMap<Handle, Offer>,
    /// The number of the next record.
    pub next: u64,
}

/// The last time a disk was offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Offer {
    /// The record's number: a later boot has a higher one.
    pub sequence: u64,
    /// The number of the first record of this disk.
    pub first: u64,
    /// Who booted.
    pub machine: MachineName,
    /// Which boot.
    pub boot: Boot,
    /// The boot of the server in which that was.
    pub server_boot: String,
}

/// Which boot of a machine a disk was offered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Boot {
    /// The boot of this nonce.
    Nonce(BootNonce),
    /// Every boot: the disk is kept, and its target stands in the boot table.
    Every,
    /// Nobody that we know of: its portal group was seen on, or it was written, without our having offered it.
    SeenOn,
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nonce(nonce) => fmt::Display::fmt(nonce, f),
            Self::Every => f.write_str("-every"),
            Self::SeenOn => f.write_str("-seen-on"),
        }
    }
}

impl From<Boot> for String {
    fn from(boot: Boot) -> Self {
        boot.to_string()
    }
}

impl TryFrom<String> for Boot {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        match text.as_str() {
            "-every" => Ok(Self::Every),
            "-seen-on" => Ok(Self::SeenOn),
            nonce => nonce.parse().map(Self::Nonce),
        }
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The first of a file: the store, and the epoch in which the file was begun.
    Begun {
        /// The store.
        store: Handle,
        /// The epoch.
        epoch: u64,
        /// The boot of the server.
        server_boot: String,
        /// When in that boot.
        since: Mono,
        /// The number of the next record.
        next: u64,
    },
    /// The epoch was raised to this, in this boot of the server.
    Epoch {
        /// The epoch.
        epoch: u64,
        /// The boot of the server.
        server_boot: String,
        /// When in that boot.
        since: Mono,
    },
    /// A disk was offered.
    Offered {
        /// The disk.
        disk: Handle,
        /// To whom, and as which record.
        offer: Offer,
    },
}

/// A record that cannot be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfferedError {
    /// It holds nothing, or does not begin as one.
    #[error("does not begin as a record of what was offered")]
    Head,
    /// A line does not read or its check is wrong, and it is no last one that was cut short.
    #[error("line {0} is damaged")]
    Damaged(usize),
}

impl Entry {
    /// The record's line, with its line end.
    pub fn render(&self) -> String {
        let text = match self {
            Self::Begun { store, epoch, server_boot, since, next } => {
                format!("{VERSION} {store} {epoch} {server_boot} {} {next}", since.as_millis())
            }
            Self::Epoch { epoch, server_boot, since } => format!("epoch {epoch} {server_boot} {}", since.as_millis()),
            // In which boot of the server it was stands in the record of the epoch before it.
            Self::Offered { disk, offer: Offer { sequence, first, machine, boot, server_boot: _ } } => {
                format!("offered {sequence} {first} {disk} {machine} {boot}")
            }
        };
        format!("{text} {}\n", check(&text))
    }

    fn parse(line: &str) -> Option<Self> {
        let (text, told) = line.rsplit_once(' ')?;
        if told != check(text) {
            return None;
        }
        let mut words = text.split(' ');
        let kind = words.next()?;
        let entry = match kind {
            VERSION => Self::Begun {
                store: Handle::new(words.next()?),
                epoch: words.next()?.parse().ok()?,
                server_boot: words.next()?.to_owned(),
                since: moment(words.next()?)?,
                next: words.next()?.parse().ok()?,
            },
            "epoch" => Self::Epoch {
                epoch: words.next()?.parse().ok()?,
                server_boot: words.next()?.to_owned(),
                since: moment(words.next()?)?,
            },
            "offered" => {
                let (sequence, first) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                let disk = Handle::new(words.next()?);
                let machine = words.next()?.parse().ok()?;
                let boot = words.next()?.to_owned().try_into().ok()?;
                Self::Offered { disk, offer: Offer { sequence, first, machine, boot, server_boot: String::new() } }
            }
            _ => return None,
        };
        words.next().is_none().then_some(entry)
    }
}

fn moment(word: &str) -> Option<Mono> {
    word.parse().ok().map(Mono::from_millis)
}

/// The name that a record has for a boot of the server, by the kernel's id of it.
pub fn server_boot(boot_id: &str) -> String {
    let short: String = boot_id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(36).collect();
    if short.is_empty() { "unknown".to_owned() } else { short }
}

/// Eight hex digits of a text's SHA-256: enough to see a torn write, and nobody who could forge it needs to.
fn check(text: &str) -> String {
    Sha256::digest(text.as_bytes())[..4].iter().map(|octet| format!("{octet:02x}")).collect()
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// What it says.
    pub offered: Offered,
    /// Its text.
    text: Vec<u8>,
}

impl Known {
    /// How many bytes of the file it measures.
    pub fn length(&self) -> usize {
        self.text.len()
    }
}

/// Reads a record. What is known of it from before is not read again where it stands there still.
pub fn parse_offered(bytes: &[u8], before: Option<Known>) -> Result<Known, OfferedError> {
    let before = before.filter(|before| bytes.starts_with(&before.text));
    let mut at = before.as_ref().map_or(0, Known::length);
    let mut number = bytes[..at].iter().filter(|byte| **byte == b'\n').count();
    let known = |offered: Offered, at: usize| Known { offered, text: bytes[..at].to_vec() };
    let mut offered = before.map(|before| before.offered);
    while at < bytes.len() && bytes[at] != 0 {
        number += 1;
        let rest = &bytes[at..];
        let end = rest.iter().position(|byte| *byte == b'\n');
        let entry = end.and_then(|end| std::str::from_utf8(&rest[..end]).ok()).and_then(Entry::parse);
        let (Some(end), Some(entry)) = (end, entry) else {
            // A write that power cut short: whatever of it reached the disk, nothing of ours follows it.
            return match offered {
                Some(offered) if is_torn(rest) => Ok(known(offered, at)),
                Some(_) => Err(OfferedError::Damaged(number)),
                None => Err(OfferedError::Head),
            };
        };
        match (&mut offered, entry) {
            (None, Entry::Begun { store, epoch, server_boot, since, next }) => {
                offered = Some(Offered { since, ..Offered::begin(store, epoch, server_boot, next) });
            }
            (None, _) => return Err(OfferedError::Head),
            (Some(offered), entry) => offered.take_in(entry).ok_or(OfferedError::Damaged(number))?,
        }
        at += end + 1;
    }
    if !is_space(&bytes[at..]) {
        return Err(OfferedError::Damaged(number + 1));
    }
    offered.map(|offered| known(offered, at)).ok_or(OfferedError::Head)
}

/// Whether nothing was written here.
pub fn is_space(bytes: &[u8]) -> bool {
    const ZEROES: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROES.len()).all(|chunk| *chunk == ZEROES[..chunk.len()])
}

/// Whether a line that does not read is a write that power cut short, with nothing of ours after it: its end or a sector of it never
/// reached the disk. A line that is all there and does not read was damaged later, and may have been shown to somebody.
fn is_torn(rest: &[u8]) -> bool {
    let end = rest.iter().position(|byte| *byte == b'\n');
    let (line, after) = end.map_or((rest, &[][..]), |end| (&rest[..end], &rest[end + 1..]));
    let reads = |line: &[u8]| std::str::from_utf8(line).ok().and_then(Entry::parse).is_some();
    // A whole record and then something else than its line end: that was written, and damaged since.
    let written = line.iter().rposition(|byte| *byte != 0).map_or(line, |last| &line[..last]);
    if reads(written) {
        return false;
    }
    (end.is_none() || line.contains(&0)) && !after.split(|byte| *byte == b'\n').any(reads)
}

impl Offered {
    /// A record in which nothing was offered yet.
    pub fn begin(store: Handle, epoch: u64, server_boot: String, next: u64) -> Self {
        Self { store, begun: epoch, epoch, server_boot, since: Mono::BOOT, disks: BTreeMap::new(), next }
    }

    /// Takes a further record in; `None` where it cannot follow what was read so far.
    pub fn take_in(&mut self, entry: Entry) -> Option<()> {
        match entry {
            Entry::Begun { .. } => return None,
            Entry::Epoch { epoch, server_boot, since } if epoch > self.epoch => {
                self.epoch = epoch;
                self.since = since;
                self.server_boot = server_boot;
            }
            Entry::Epoch { .. } => return None,
            Entry::Offered { disk, offer } if offer.sequence >= self.next && offer.first <= offer.sequence => {
                self.next = offer.sequence + 1;
                self.disks.insert(disk, Offer { server_boot: self.server_boot.clone(), ..offer });
            }
            Entry::Offered { .. } => return None,
        }
        Some(())
    }

    /// The record that a disk is offered to a boot.
    pub fn offer(&self, disk: &Handle, machine: &MachineName, boot: Boot) -> Entry {
        let first = self.disks.get(disk).map_or(self.next, |offer| offer.first);
        let server_boot = self.server_boot.clone();
        Entry::Offered {
            disk: disk.clone(),
            offer: Offer { sequence: self.next, first, machine: machine.clone(), boot, server_boot },
        }
    }

    /// The whole file anew, with the records of these disks alone: those that still exist, and the last one, which says how far it
    /// came. What was offered in an earlier boot of the server stands before the epoch of this one, as it did.
    pub fn compact(&self, keep: impl Fn(&Handle) -> bool) -> String {
        let is_last = |offer: &Offer| offer.sequence + 1 == self.next;
        let mut kept: Vec<_> = self.disks.iter().filter(|(disk, offer)| keep(disk) || is_last(offer)).collect();
        kept.sort_by_key(|(_, offer)| offer.sequence);
        let (now, before): (Vec<_>, Vec<_>) = kept.into_iter().partition(|(_, offer)| offer.server_boot == self.server_boot);
        let record = |(disk, offer): (&Handle, &Offer)| Entry::Offered { disk: disk.clone(), offer: offer.clone() };
        let (server_boot, since) =
            if self.epoch == self.begun { (self.server_boot.clone(), self.since) } else { ("earlier".to_owned(), Mono::BOOT) };
        let next = if self.disks.is_empty() { self.next } else { 0 };
        let mut lines = vec![Entry::Begun { store: self.store.clone(), epoch: self.begun, server_boot, since, next }];
        lines.extend(before.into_iter().map(record));
        if self.epoch > self.begun {
            lines.push(Entry::Epoch { epoch: self.epoch, server_boot: self.server_boot.clone(), since: self.since });
        }
        lines.extend(now.into_iter().map(record));
        lines.iter().map(Entry::render).collect()
    }

    /// Whether this is the record of a store whose mark says this epoch. One behind is a raise that was cut off between the two.
    pub fn belongs(&self, store: &Handle, epoch: Option<u64>) -> bool {
        self.store == *store && epoch.is_some_and(|epoch| epoch == self.epoch || epoch + 1 == self.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<(Offered, usize), OfferedError> {
        let known = parse_offered(bytes, None);
        known.map(|known| (known.offered.clone(), known.length()))
    }

    fn offered(disks: &[&str]) -> (Offered, String) {
        let mut offered = Offered::begin(Handle::new("vg"), 3, "b1".into(), 0);
        let mut text =
            Entry::Begun { store: Handle::new("vg"), epoch: 3, server_boot: "b1".into(), since: Mono::BOOT, next: 0 }.render();
        for disk in disks {
            let entry = offered.offer(
                &Handle::new(*disk),
                &"pc01".parse().expect("legal"),
                Boot::Nonce("0123456789abcdef".parse().expect("legal")),
            );
            text.push_str(&entry.render());
            offered.take_in(entry).expect("it follows");
        }
        (offered, text)
    }

    #[test]
    fn what_is_known_is_not_read_again_and_what_was_changed_of_it_is() {
        let (_, text) = offered(&["d1", "d2", "d1", "d3"]);
        let bytes = [text.as_bytes(), &[0; 999]].concat();
        let whole = parse_offered(&bytes, None).expect("reads");
        let lines: Vec<usize> = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1).collect();
        for known in &lines {
            let before = parse_offered(&bytes[..*known], None).expect("reads");
            assert_eq!(parse_offered(&bytes, Some(before)), Ok(whole.clone()));
        }
        let (_, other) = offered(&["d1", "d4"]);
        let anew = parse_offered(other.as_bytes(), Some(whole.clone()));
        assert_eq!(anew, parse_offered(other.as_bytes(), None), "another file took its place");
        let mut damaged = bytes.clone();
        damaged[lines[1] + 3] ^= 1;
        assert_eq!(parse_offered(&damaged, Some(whole.clone())), Err(OfferedError::Damaged(3)), "under what is known");
        damaged = bytes;
        damaged[text.len() + 9] = b'x';
        assert_eq!(parse_offered(&damaged, Some(whole)), Err(OfferedError::Damaged(6)), "after it");
    }

    #[test]
    fn a_record_reads_back_and_the_zeroes_after_it_are_space() {
        let (expected, text) = offered(&["d1", "d2", "d1"]);
        for space in [0, 1, 4096] {
            let mut bytes = text.clone().into_bytes();
            bytes.extend(vec![0; space]);
            assert_eq!(read(&bytes), Ok((expected.clone(), text.len())));
        }
        let again = &expected.disks[&Handle::new("d1")];
        assert_eq!((again.first, again.sequence), (0, 2), "the first offer is remembered beside the last");
    }

    #[test]
    fn a_torn_last_record_was_never_shown_and_is_cut_off_wherever_it_was_torn() {
        let (before, whole) = offered(&["d1"]);
        let (_, text) = offered(&["d1", "d2"]);
        for end in whole.len()..text.len() {
            let mut bytes = text.as_bytes()[..end].to_vec();
            assert_eq!(read(&bytes), Ok((before.clone(), whole.len())), "cut at {end}");
            bytes.extend([0; 64]);
            assert_eq!(read(&bytes), Ok((before.clone(), whole.len())), "cut at {end}, in preallocated space");
        }
        // A sector of the middle of the line that never reached the disk.
        let mut bytes = text.into_bytes();
        let hole = whole.len() + 5;
        bytes[hole..hole + 8].fill(0);
        assert_eq!(read(&bytes).map(|(offered, _)| offered), Ok(before));
    }

    #[test]
    fn any_other_damage_makes_all_of_it_unreadable() {
        let (_, whole) = offered(&[]);
        let (_, text) = offered(&["d1", "d2", "d3"]);
        for at in whole.len()..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            // As it lies in a file, with space behind it.
            bytes.extend([0; 64]);
            let read = read(&bytes);
            assert!(read.is_err(), "a flipped bit at {at} went unnoticed: {read:?}");
        }
        assert_eq!(read(b""), Err(OfferedError::Head));
        assert_eq!(read(&[0; 512]), Err(OfferedError::Head), "an emptied file is not an empty record");
    }

    #[test]
    fn it_belongs_to_one_store_and_one_epoch() {
        let (mut offered, _) = offered(&[]);
        let raised = Entry::Epoch { epoch: 4, server_boot: "b2".into(), since: Mono::BOOT };
        offered.take_in(raised.clone()).expect("it follows");
        let vg = Handle::new("vg");
        assert!(offered.belongs(&vg, Some(4)) && offered.belongs(&vg, Some(3)), "a raise that was cut off");
        assert!(!offered.belongs(&vg, Some(5)), "an older record than the store's: a backup");
        assert!(!offered.belongs(&vg, None) && !offered.belongs(&Handle::new("other"), Some(4)));
        assert_eq!(offered.take_in(raised), None, "an epoch never comes back");
    }

    #[test]
    fn what_no_longer_exists_is_left_out_and_the_order_stays() {
        let (before, _) = offered(&["d1", "d2", "d3"]);
        let text = before.compact(|disk| disk.as_str() != "d2");
        let (after, _) = read(text.as_bytes()).expect("reads");
        assert_eq!(after.disks.keys().map(Handle::as_str).collect::<Vec<_>>(), ["d1", "d3"]);
        assert_eq!(after.disks[&Handle::new("d3")], before.disks[&Handle::new("d3")]);
        assert_eq!((after.epoch, after.begun), (before.epoch, before.begun));
    }

    #[test]
    fn how_far_a_record_came_is_never_forgotten() {
        let (before, _) = offered(&["d1", "d2"]);
        let reread = |offered: &Offered| read(offered.compact(|_| false).as_bytes()).expect("reads").0;
        let after = reread(&before);
        assert_eq!((after.next, after.disks.len()), (2, 1), "the last record stays, though its disk is gone");
        let begun = Offered::begin(Handle::new("vg"), 3, "b1".into(), 7);
        assert_eq!(reread(&begun).next, 7, "nothing was offered since it was begun anew");
    }
}
