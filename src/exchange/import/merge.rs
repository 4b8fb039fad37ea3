//! Reservations of one or more files become machines with legal names.
//!
//! **Invariant:** nothing is decided between two that contradict each other: they are a clash, with both places. The same reservations
//! give the same names each time.

use super::{Place, Reservation};
use crate::names::{MacAddr, MachineName};
use std::{collections::BTreeMap, net::Ipv4Addr};

/// A machine to take over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Where it is named first.
    pub place: Place,
    /// Its name.
    pub name: MachineName,
    /// Whether a file names it; else the name was made of its addresses.
    pub naming: Naming,
    /// Its Ethernet addresses, at least one.
    pub macs: Vec<MacAddr>,
    /// Its reserved address.
    pub ip: Option<Ipv4Addr>,
}

impl Machine {
    /// Its name as its file spells it.
    fn spelled(&self) -> &str {
        match &self.naming {
            Naming::Mended(spelled) => spelled,
            Naming::Given | Naming::Made => self.name.as_str(),
        }
    }
}

/// Where a machine's name comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// From a file, as it is there.
    Given,
    /// From a file, where it is spelled so, which is no legal name.
    Mended(String),
    /// Made of its addresses.
    Made,
}

/// Two reservations that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The later one.
    pub place: Place,
    /// What is there twice.
    pub what: String,
    /// How they contradict each other.
    pub kind: ClashKind,
    /// The earlier one.
    pub other: Place,
}

/// How two reservations contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClashKind {
    /// They say different things of one Ethernet address.
    Contradiction,
    /// They are two machines of one name.
    NameTwice,
    /// They are two machines of one IPv4 address.
    AddressTwice,
    /// They are two machines, whose names became one when they were mended.
    NamesMeet,
}

/// What reservations came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    /// The machines, in the order of the files.
    pub machines: Vec<Machine>,
    /// What contradicts itself.
    pub clashes: Vec<Clash>,
}

/// Merges reservations of files, each with the file's name.
pub fn merge(reservations: &[(String, Reservation)]) -> Merged {
    let mut merged = Merged::default();
    let mut names: BTreeMap<MachineName, usize> = BTreeMap::new();
    let mut macs: BTreeMap<MacAddr, usize> = BTreeMap::new();
    let mut ips: BTreeMap<Ipv4Addr, usize> = BTreeMap::new();
    for (file, reservation) in reservations {
        let place = Place { file: file.clone(), line: reservation.line };
        let (name, naming) = name(reservation);
        let machine = Machine { place, name, naming, macs: reservation.macs.clone(), ip: reservation.ip };
        let known = machine.macs.iter().find_map(|mac| macs.get(mac)).copied();
        let named = names.get(&machine.name).copied();
        let mut kind = ClashKind::Contradiction;
        let (what, other) = match (known, named, machine.ip.and_then(|ip| ips.get(&ip)).copied()) {
            // Nothing of it is there yet.
            (None, None, None) => {
                let at = merged.machines.len();
                names.insert(machine.name.clone(), at);
                macs.extend(machine.macs.iter().map(|mac| (*mac, at)));
                ips.extend(machine.ip.map(|ip| (ip, at)));
                merged.machines.push(machine);
                continue;
            }
            // Said twice, or a further card of the same machine.
            (_, Some(at), _) if is_same(&merged.machines[at], &machine) => {
                if let Some(clash) = known.filter(|other| *other != at) {
                    (format!("{} is there twice", list(&machine.macs)), clash)
                } else {
                    let there = &mut merged.machines[at].macs;
                    there.extend(machine.macs.iter().filter(|mac| !macs.contains_key(mac)));
                    macs.extend(machine.macs.iter().map(|mac| (*mac, at)));
                    continue;
                }
            }
            (Some(at), _, _) => (format!("{} is there twice, and not the same", list(&machine.macs)), at),
            (None, Some(at), _) => {
                let there = &merged.machines[at];
                let (one, two) = (there.spelled(), machine.spelled());
                match one == two {
                    true => {
                        kind = ClashKind::NameTwice;
                        (format!("the machine name {} is there twice", machine.name), at)
                    }
                    false => {
                        kind = ClashKind::NamesMeet;
                        (format!("{one:?} and {two:?} would both become {}", machine.name), at)
                    }
                }
            }
            (None, None, Some(at)) => {
                kind = ClashKind::AddressTwice;
                (format!("{} is there twice", machine.ip.map(|ip| ip.to_string()).unwrap_or_default()), at)
            }
        };
        merged.clashes.push(Clash { place: machine.place, what, kind, other: merged.machines[other].place.clone() });
    }
    merged
}

fn is_same(one: &Machine, other: &Machine) -> bool {
    let spelled = |machine: &Machine| machine.naming.clone();
    // Two names that only became the same when they were mended are two machines.
    one.ip == other.ip && spelled(one) == spelled(other)
}

fn list(macs: &[MacAddr]) -> String {
    macs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A legal name: the file's own, or that with what is not legal taken out, or one made of the addresses.
fn name(reservation: &Reservation) -> (MachineName, Naming) {
    if let Some(spelled) = &reservation.name {
        if let Ok(name) = spelled.parse() {
            return (name, Naming::Given);
        }
        if let Some(name) = mend(spelled) {
            return (name, Naming::Mended(spelled.clone()));
        }
    }
    let made = match (reservation.ip, reservation.macs.first()) {
        (Some(ip), _) => format!("ip-{}", ip.to_string().replace('.', "-")),
        (None, Some(mac)) => format!("mac-{}", mac.hexraw()),
        (None, None) => "machine".to_owned(),
    };
    let name = made.parse().expect("letters, digits and dashes are a legal name");
    (name, reservation.name.clone().map_or(Naming::Made, Naming::Mended))
}

/// A spelling as a legal name: its first label in small letters, with a dash for whatever else there is.
pub fn mend(spelled: &str) -> Option<MachineName> {
    let label = spelled.trim().split('.').next().unwrap_or_default();
    let mut name = String::new();
    for character in label.chars().map(|character| character.to_ascii_lowercase()) {
        if character.is_ascii_lowercase() || character.is_ascii_digit() {
            name.push(character);
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    name.trim_matches('-').chars().take(63).collect::<String>().trim_end_matches('-').parse().ok()
}
