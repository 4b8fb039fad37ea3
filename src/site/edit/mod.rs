//! Changes a site's text as its operator would: adds machines at the end of a row, spelled as their neighbours, with the next names and
//! addresses of the row, and puts files into their usual form.
//!
//! **Invariant:** pure; comments stay, and where machines are added every byte that was there. What comes out is text to be checked
//! again, never a site.

mod entry;
mod format;
mod next;
mod order;
mod pattern;
mod places;

pub use format::{FormatError, format};
pub use pattern::NamePattern;
pub use places::{Places, TextPlace, places};

use self::{entry::Row, next::Taken};
use super::{Entry, Site, Tree};
use crate::names::{ImageName, MacAddr, MachineName};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// A machine to add, and what its operator wants of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMachine {
    /// Its Ethernet addresses, at least one.
    pub macs: Vec<MacAddr>,
    /// What it is called.
    pub naming: Naming,
    /// Which address is reserved for it.
    pub addressing: Addressing,
    /// The file it goes into, by its path in the site; without one, where the highest number is.
    pub file: Option<String>,
}

/// What a new machine is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// The next name of its row.
    Next,
    /// This.
    Given(MachineName),
    /// The next name of a pattern.
    Pattern(NamePattern),
}

/// Which address is reserved for a new machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// The next of its row; none where its neighbours have none.
    Next,
    /// This.
    Given(Ipv4Addr),
    /// None.
    Unreserved,
}

/// A file as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Its path in the site.
    pub file: String,
    /// Its text before; none where it is new.
    pub before: Option<String>,
    /// Its text after.
    pub after: String,
    /// The machines that are added in it.
    pub added: Vec<Added>,
}

/// A machine that is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// Its name.
    pub name: MachineName,
    /// Its Ethernet addresses.
    pub macs: Vec<MacAddr>,
    /// Its reserved address.
    pub ip: Option<Ipv4Addr>,
}

/// Why a machine cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// There is no such file.
    #[error("the site has no file {0}")]
    NoFile(String),
    /// No file is the obvious one.
    #[error("no row has numbered machines, so it is not plain which file the machine belongs to")]
    WhichFile,
    /// A site's file that does not read as TOML; the check says more.
    #[error("{0} does not read as TOML")]
    Unreadable(String),
    /// The row's last name does not end in a number.
    #[error("{0} ends with no number, so it is not plain what comes next")]
    NoNumber(String),
    /// The number after the row's last is no name.
    #[error("no name is left after {0}")]
    NoName(String),
    /// No address is left in the row's pattern.
    #[error("no address is left after {after} that is free, in a subnet of the site and outside its range")]
    NoAddress {
        /// The row's last.
        after: Ipv4Addr,
    },
    /// The site has this Ethernet address already.
    #[error("{mac} is {name}'s already")]
    Known {
        /// The address.
        mac: MacAddr,
        /// Whose.
        name: MachineName,
    },
}

/// The edits that add machines, in their order, by file.
pub fn add_machines(tree: &Tree, site: &Site, machines: &[NewMachine]) -> Result<Vec<Edit>, EditError> {
    let rows = read_rows(tree)?;
    let mut owners: BTreeMap<MacAddr, MachineName> = BTreeMap::new();
    for machine in site.machines.values() {
        owners.extend(machine.macs.iter().map(|mac| (*mac, machine.name.clone())));
    }
    let mut taken = Taken::of(site);
    let mut growing: BTreeMap<&String, Growing<'_, '_>> = BTreeMap::new();
    for new in machines {
        if let Some((mac, owner)) = new.macs.iter().find_map(|mac| Some((*mac, owners.get(mac)?))) {
            return Err(EditError::Known { mac, name: owner.clone() });
        }
        let (file, row) = match &new.file {
            Some(file) => rows.get_key_value(file).ok_or_else(|| EditError::NoFile(file.clone()))?,
            None => rows
                .iter()
                .max_by_key(|(_, row)| row.highest_number())
                .filter(|(_, row)| row.highest_number().is_some())
                .ok_or(EditError::WhichFile)?,
        };
        let growing = growing.entry(file).or_insert_with(|| Growing::new(row));
        let name = match &new.naming {
            Naming::Given(name) => name.clone(),
            Naming::Next => next::name(&growing.names, &taken)?,
            Naming::Pattern(pattern) => taken.next_of(pattern)?,
        };
        let ip = match new.addressing {
            Addressing::Given(ip) => Some(ip),
            Addressing::Next => next::address(&growing.seats, &name, &taken)?,
            Addressing::Unreserved => None,
        };
        taken.take(&name, ip);
        owners.extend(new.macs.iter().map(|mac| (*mac, name.clone())));
        growing.names.push(name.clone());
        growing.seats.extend(ip.map(|ip| (name.clone(), ip)));
        growing.added.push(Added { name, macs: new.macs.clone(), ip });
    }
    let edit = |(file, growing): (&String, Growing<'_, '_>)| {
        let before = growing.row.text().to_owned();
        let after = spliced(&before, &growing.row.with(&growing.added));
        Edit { file: file.clone(), before: Some(before), after, added: growing.added }
    };
    Ok(growing.into_iter().map(edit).collect())
}

/// A row with the machines that are to come.
struct Growing<'r, 't> {
    row: &'r Row<'t>,
    names: Vec<MachineName>,
    seats: Vec<(MachineName, Ipv4Addr)>,
    added: Vec<Added>,
}

impl<'r, 't> Growing<'r, 't> {
    fn new(row: &'r Row<'t>) -> Self {
        Self { row, names: row.names(), seats: row.seats(), added: Vec::new() }
    }
}

/// A new file of machines that boot the same: `title` is its first comment. Its schema is named as the site's other files name theirs.
pub fn new_row(tree: &Tree, file: &str, title: &str, boot: &[ImageName], machines: Vec<Added>) -> Edit {
    let is_row = |path: &str| path.starts_with("machines/") && path.ends_with(".toml");
    let first_line = |entry: &Entry| match entry {
        Entry::File(bytes) => std::str::from_utf8(bytes).ok()?.lines().next().map(str::to_owned),
        Entry::Symlink(_) | Entry::TooLarge(_) | Entry::Unreadable(_) => None,
    };
    let firsts = tree.entries.iter().filter(|(path, _)| is_row(path)).filter_map(|(_, entry)| first_line(entry));
    let schema = firsts.map(|line| line.trim_start_matches('\u{feff}').to_owned()).find(|line| line.starts_with("#:schema "));
    let images = boot.iter().map(|image| format!("\"{image}\"")).collect::<Vec<_>>().join(", ");
    let schema = schema.map(|line| line + "\n").unwrap_or_default();
    let head = format!("{schema}# {title}\n\n[defaults]\nboot = [{images}]\n");
    // The head is TOML: names hold nothing that would have to be escaped.
    let after = Row::parse(&head).map_or_else(|| head.clone(), |row| row.with(&machines));
    Edit { file: file.to_owned(), before: None, after, added: machines }
}

/// The new text with each line that stays as it was, its end and all: a file of Windows keeps its carriage returns.
fn spliced(before: &str, after: &str) -> String {
    let bare = |line: &str| line.trim_start_matches('\u{feff}').trim_end_matches(['\n', '\r']).to_owned();
    let (old, new): (Vec<&str>, Vec<&str>) = (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    let is_same = |(old, new): &(&&str, &&str)| bare(old) == bare(new);
    let first = old.iter().zip(&new).take_while(is_same).count();
    let rest = old[first..].iter().rev().zip(new[first..].iter().rev()).take_while(is_same).count();
    let end = if old.first().is_some_and(|line| line.ends_with("\r\n")) { "\r\n" } else { "\n" };
    let mut lines: Vec<String> = old[..first].iter().map(|line| (*line).to_owned()).collect();
    lines.extend(new[first..new.len() - rest].iter().map(|line| bare(line) + end));
    lines.extend(old[old.len() - rest..].iter().map(|line| (*line).to_owned()));
    let last = lines.len().saturating_sub(1);
    lines[..last].iter_mut().filter(|line| !line.ends_with('\n')).for_each(|line| line.push_str(end));
    lines.concat()
}

fn read_rows(tree: &Tree) -> Result<BTreeMap<String, Row<'_>>, EditError> {
    let mut rows = BTreeMap::new();
    for (path, entry) in &tree.entries {
        let Entry::File(bytes) = entry else { continue };
        if !path.starts_with("machines/") || !path.ends_with(".toml") {
            continue;
        }
        let unreadable = || EditError::Unreadable(path.clone());
        let text = std::str::from_utf8(bytes).map_err(|_| unreadable())?;
        rows.insert(path.clone(), Row::parse(text).ok_or_else(unreadable)?);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests;
