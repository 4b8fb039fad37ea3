//! `barista machine add`: puts machines into a site's directory, one or all that were seen.
//!
//! **Invariant:** shows what it writes; a machine that the site knows already is never added again.

use super::{check, explain, in_site, load, seen};
use crate::cli::{
    edits::{self, DryRunArgument, FileChange, Written},
    explain::need_transcript,
    failure::{Exit, Failure},
    output,
};
use crate::diagnose::explain::{UnknownMachine, unknown_machines};
use crate::diagnostic::{Diagnostic, Place};
use crate::names::{ClientArch, MacAddr};
use crate::site::{self, Added, Addressing, Edit, Firmware, NamePattern, Naming, NewMachine, Site};
use similar::TextDiff;
use std::{net::Ipv4Addr, path::PathBuf, str::FromStr};

/// Arguments of `machine add`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The Ethernet address of a machine that was seen, in any spelling; none with --all
    #[arg(long, value_name = "MAC", conflicts_with = "mac", num_args = 0..=1)]
    from_seen: Option<Option<MacAddr>>,
    /// All machines that were seen to boot and are not in the site, in the order in which they were seen
    #[arg(long, requires = "from_seen", conflicts_with = "ip")]
    all: bool,
    /// The Ethernet address of a machine that need not have been seen
    #[arg(long, value_name = "MAC")]
    mac: Option<MacAddr>,
    /// Its name, or with --all a pattern such as 'pc{:02}' [default: the next of its row]
    #[arg(long)]
    name: Option<Name>,
    /// Its reserved address [default: the next of its row]
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// The file it goes into, by its path in the site [default: where the highest number is]
    #[arg(long, value_name = "FILE")]
    file: Option<String>,
    #[command(flatten)]
    how: DryRunArgument,
    #[command(flatten)]
    seen: seen::SeenArguments,
}

/// A name, or a pattern of names.
#[derive(Debug, Clone)]
struct Name(Naming);

impl FromStr for Name {
    type Err = crate::names::NameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(match text.contains('{') {
            true => Naming::Pattern(text.parse::<NamePattern>()?),
            false => Naming::Given(text.parse()?),
        }))
    }
}

/// Which machines are to be added.
enum Wanted {
    /// One, and how its firmware was seen to boot.
    One(MacAddr, Option<UnknownMachine>),
    /// All that were seen.
    All,
}

/// Runs `machine add`.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let usage = |message: &str| Err(Failure::Usage(message.to_owned()));
    let wanted = match (arguments.from_seen, arguments.mac, arguments.all) {
        (Some(Some(_)), _, true) => return usage("--all takes every machine that was seen: leave the address out"),
        (Some(None), _, false) => return usage("which machine? --from-seen MAC, or --from-seen --all"),
        (_, _, true) if matches!(arguments.name, Some(Name(Naming::Given(_)))) => {
            return Err(Failure::Mistyped {
                message: "one name is not enough for all of them".to_owned(),
                hint: "give a pattern, such as --name 'pc{:02}'".to_owned(),
            });
        }
        (None, None, false) if arguments.name.is_some() || arguments.ip.is_some() || arguments.file.is_some() => {
            return usage("which machine? --from-seen MAC, or --mac MAC");
        }
        (None, None, false) => return seen::run(&arguments.seen),
        _ if arguments.seen.json.json => {
            return usage("--json is for the list of machines that were seen: leave it out, or the address");
        }
        (_, _, true) => Wanted::All,
        (Some(Some(mac)), _, false) => Wanted::One(mac, Some(last_look(arguments, mac)?)),
        (None, Some(mac), false) => Wanted::One(mac, None),
    };
    insert(arguments, wanted)
}

fn insert(arguments: &Arguments, wanted: Wanted) -> Result<Exit, Failure> {
    let root = arguments.seen.site.clone().unwrap_or_else(|| PathBuf::from("."));
    let (tree, site) = load(&root)?;
    let machines: Vec<(MacAddr, Option<UnknownMachine>)> = match wanted {
        Wanted::One(mac, seen) => vec![(mac, seen)],
        Wanted::All => {
            let known = site.machines.values().flat_map(|machine| machine.macs.iter().copied()).collect();
            // Whoever was switched on first gets the first number.
            let seen = seen::unknown_but(&arguments.seen, &known)?.into_iter().rev();
            seen.map(|machine| (machine.mac, Some(machine))).collect()
        }
    };
    if machines.is_empty() {
        output::note("no machine was seen that is not in the site");
        return Ok(Exit::Done);
    }
    let file = arguments.file.as_deref().map(|file| in_site(file, &root)).transpose()?;
    let new = |(mac, _): &(MacAddr, Option<UnknownMachine>)| NewMachine {
        macs: vec![*mac],
        naming: arguments.name.clone().map_or(Naming::Next, |Name(naming)| naming),
        addressing: arguments.ip.map_or(Addressing::Next, Addressing::Given),
        file: file.clone(),
    };
    let edits = site::add_machines(&tree, &site, &machines.iter().map(new).collect::<Vec<_>>()).map_err(explain)?;
    let typed = |found: Vec<Diagnostic>| found.into_iter().map(|finding| as_typed(finding, &edits)).collect();
    let after = check(tree, &edits).map_err(|found| Failure::Findings(typed(found)))?;
    let changes: Vec<FileChange> = edits
        .iter()
        .map(|edit| FileChange { path: edit.file.clone(), before: edit.before.clone(), after: edit.after.clone() })
        .collect();
    let written = edits::carry_out(&root, &changes, arguments.how)?;
    let added: Vec<(&str, &Added)> =
        edits.iter().flat_map(|edit| edit.added.iter().map(|added| (edit.file.as_str(), added))).collect();
    for (_, added) in &added {
        let seen = machines.iter().find(|(mac, _)| added.macs.contains(mac)).and_then(|(_, seen)| seen.as_ref());
        warn_of_firmware(&after, added, seen);
    }
    if written == Written::Yes {
        output::note(summary(&added));
    }
    Ok(Exit::Done)
}

/// A finding of a text that was not written: at the argument that it comes from, or at the line that is in the file.
fn as_typed(finding: Diagnostic, edits: &[Edit]) -> Diagnostic {
    let Some(edit) = edits.iter().find(|edit| edit.file == finding.place.file) else { return finding };
    let before = edit.before.as_deref().unwrap_or_default();
    let diff = TextDiff::from_lines(before, edit.after.as_str());
    let line = (finding.place.line as usize).checked_sub(1);
    let written = diff.iter_all_changes().find(|change| line.is_some() && change.new_index() == line);
    let Some(written) = written else { return finding };
    let place = match written.old_index() {
        Some(at) => Place { line: at as u32 + 1, ..finding.place },
        None => Place::whole(argument(written.value(), edit)),
    };
    Diagnostic { place, also: Vec::new(), ..finding }
}

/// What a line that is added comes from, in the words of the command line.
fn argument(line: &str, edit: &Edit) -> String {
    let value = line.split_once('=').map(|(_, value)| value.trim().trim_matches(['"', '[', ']'])).unwrap_or_default();
    let key = line.split('=').next().unwrap_or_default().trim();
    match key {
        "name" | "mac" | "ip" => format!("--{key} {value}"),
        _ => {
            let names: Vec<&str> = edit.added.iter().map(|added| added.name.as_str()).collect();
            format!("{}, with {} in it", edit.file, names.join(", "))
        }
    }
}

/// What was added, and what comes next.
fn summary(added: &[(&str, &Added)]) -> String {
    match added {
        [(file, one)] => {
            let ip = one.ip.map_or(String::new(), |ip| format!(" at {ip}"));
            format!("added {0}{ip} to {file}; commit and push it: git commit -am \"Add {0}\" && git push", one.name)
        }
        several => {
            let names = several.iter().map(|(_, one)| one.name.as_str()).collect::<Vec<_>>().join(", ");
            let n = several.len();
            format!("added {n} machines: {names}; commit and push them: git commit -am \"Add {n} machines\" && git push")
        }
    }
}

fn warn_of_firmware(site: &Site, added: &Added, seen: Option<&UnknownMachine>) {
    let says = site.machines.get(&added.name).and_then(|machine| machine.firmware);
    if let (Some(says), Some(arch)) = (says, seen.and_then(|machine| machine.arch)) {
        let is_bios = arch == ClientArch::BIOS;
        if (is_bios && says == Firmware::Uefi) || (!is_bios && says == Firmware::Bios) {
            output::note(format!(
                "warning: {} was seen to boot by {arch}, and its row says otherwise\n  hint: give it a firmware of its own, or change its setup",
                added.name
            ));
        }
    }
}

fn last_look(arguments: &Arguments, mac: MacAddr) -> Result<UnknownMachine, Failure> {
    let transcript = need_transcript(&arguments.seen.state.state)?;
    let mut found = unknown_machines(&transcript, |other| other != mac);
    found.pop().ok_or_else(|| {
        let error = anyhow::anyhow!("{mac} was not seen to boot here");
        Failure::hinted(error, "`barista machine seen` lists those that were; --mac adds one that was not")
    })
}
