//! Adds a machine to a site's text as its operator would: at the end of a row, spelled as its neighbours, with the next name and
//! address of the row.
//!
//! **Invariant:** pure; every byte that was there stays, comments and layout included. What comes out is text to be checked again,
//! never a site.

mod entry;
mod next;

use self::{entry::Row, next::Taken};
use super::{Entry, Site, Tree};
use crate::names::{MacAddr, MachineName};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// A machine to add, and what its operator wants of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMachine {
    /// Its Ethernet address.
    pub mac: MacAddr,
    /// Its name; without one, the next of the row.
    pub name: Option<MachineName>,
    /// Its reserved address; without one, the next of the row.
    pub ip: Option<Ipv4Addr>,
    /// The file it goes into, by its path in the site; without one, where the highest number is.
    pub file: Option<String>,
}

/// A file as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Its path in the site.
    pub file: String,
    /// Its text before.
    pub before: String,
    /// Its text after.
    pub after: String,
    /// The machine's name.
    pub name: MachineName,
    /// The machine's reserved address; none where its neighbours have none.
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

/// The edit that adds a machine.
pub fn add_machine(tree: &Tree, site: &Site, new: &NewMachine) -> Result<Edit, EditError> {
    if let Some(owner) = site.machines.values().find(|machine| machine.macs.contains(&new.mac)) {
        return Err(EditError::Known { mac: new.mac, name: owner.name.clone() });
    }
    let rows = read_rows(tree)?;
    let (file, row) = match &new.file {
        Some(file) => rows.get_key_value(file).ok_or_else(|| EditError::NoFile(file.clone()))?,
        None => rows
            .iter()
            .max_by_key(|(_, row)| row.highest_number())
            .filter(|(_, row)| row.highest_number().is_some())
            .ok_or(EditError::WhichFile)?,
    };
    let taken = Taken::of(site);
    let name = match &new.name {
        Some(name) => name.clone(),
        None => next::name(&row.names(), &taken)?,
    };
    let ip = match new.ip {
        Some(ip) => Some(ip),
        None => next::address(&row.seats(), &name, &taken)?,
    };
    let (before, after) = (row.text().to_owned(), spliced(row.text(), &row.with(new.mac, &name, ip)));
    Ok(Edit { file: file.clone(), before, after, name, ip })
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
