//! `barista machine`: lists machines that were seen and are not in the site, and adds one to a site's directory.
#![expect(clippy::disallowed_methods, reason = "effect room: rewrites a file of the site")]

use super::{
    arguments::{JsonArgument, StateArgument},
    check::all_findings,
    explain::{read_table, read_transcript},
    failure::{Exit, Failure},
    output,
};
use crate::agent::hardware;
use crate::deploy::directory;
use crate::diagnostic::Diagnostic;
use crate::host::System;
use crate::names::{ClientArch, MacAddr, MachineName};
use crate::site::{self, Checked, Edit, EditError, Entry, Firmware, NewMachine, Site, Tree};
use crate::{
    diagnose::explain::{UnknownMachine, unknown_machines},
    transcript::Transcript,
};
use anyhow::Context as _;
use clap::Subcommand;
use serde::Serialize;
use std::{
    fs, io,
    io::Write as _,
    net::Ipv4Addr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Arguments of `machine`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists machines that tried to boot and are not in the site
    Seen(Seen),
    /// Adds a machine to a site's directory; without an address, lists those that were seen
    Add(Box<Add>),
    /// Takes the machine that boots next under this name for the right one, though it is other hardware than before
    Accept(Accept),
}

/// Arguments of `machine accept`.
#[derive(Debug, clap::Args)]
struct Accept {
    /// Its name
    machine: MachineName,
    #[command(flatten)]
    state: StateArgument,
}

/// Arguments of `machine seen`.
#[derive(Debug, clap::Args)]
struct Seen {
    /// The site that decides who is known, and that `add` writes to [default: the published boot table; for `add` the current directory]
    #[arg(long, value_name = "DIR")]
    site: Option<PathBuf>,
    #[command(flatten)]
    state: StateArgument,
    #[command(flatten)]
    json: JsonArgument,
}

/// Arguments of `machine add`.
#[derive(Debug, clap::Args)]
struct Add {
    /// The Ethernet address of a machine that was seen, in any spelling
    #[arg(long, value_name = "MAC", conflicts_with = "mac")]
    from_seen: Option<MacAddr>,
    /// The Ethernet address of a machine that need not have been seen
    #[arg(long, value_name = "MAC")]
    mac: Option<MacAddr>,
    /// Its name [default: the next of its row]
    #[arg(long)]
    name: Option<MachineName>,
    /// Its reserved address [default: the next of its row]
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<Ipv4Addr>,
    /// The file it goes into, by its path in the site [default: where the highest number is]
    #[arg(long, value_name = "FILE")]
    file: Option<String>,
    /// Show what would change, and write nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    seen: Seen,
}

/// Machines that were seen, as a document.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct SeenMachines {
    /// The version of this document, 1.
    version: u32,
    /// The last seen first.
    machines: Vec<UnknownMachine>,
}

/// Runs `machine`.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.command {
        Command::Seen(seen) => list(seen),
        Command::Accept(accept) => take(accept),
        Command::Add(add) => match add.from_seen.or(add.mac) {
            Some(_) if add.seen.json.json => {
                Err(Failure::Usage("--json is for the list of machines that were seen: leave it out, or the address".to_owned()))
            }
            Some(mac) => insert(add, mac),
            None if add.name.is_some() || add.ip.is_some() || add.file.is_some() => {
                Err(Failure::Usage("which machine? --from-seen MAC, or --mac MAC".to_owned()))
            }
            None => list(&add.seen),
        },
    }
}

fn take(arguments: &Accept) -> Result<Exit, Failure> {
    let (machine, state) = (&arguments.machine, &arguments.state.state);
    if read_table(state)?.is_some_and(|table| !table.machines.contains_key(machine)) {
        let error = anyhow::anyhow!("the published boot table has no machine {machine}");
        return Err(Failure::hinted(error, "its names are those of machines/*.toml, as they were published last"));
    }
    let was_known = hardware::accept(&System::real(), state, machine)
        .with_context(|| format!("what is known of {machine}'s hardware cannot be changed in {}", state.display()))?;
    output::note(match was_known {
        true => format!("the next machine that boots as {machine} is taken for it, from the agent's next look on"),
        false => format!("nothing is known of {machine}'s hardware: whatever boots as {machine} is taken for it"),
    });
    Ok(Exit::Done)
}

fn list(arguments: &Seen) -> Result<Exit, Failure> {
    let machines = unknown(arguments)?;
    if arguments.json.json {
        output::json(&SeenMachines { version: 1, machines })?;
        return Ok(Exit::Done);
    }
    if machines.is_empty() {
        output::note("no machine was seen that is not in the site");
    }
    output::data(&machines.iter().map(|machine| format!("{}\n", describe(machine))).collect::<String>())?;
    Ok(Exit::Done)
}

/// `02:00:00:00:00:01  2026-11-21 08:00:00 UTC  x64 UEFI  192.168.1.203`
pub(super) fn describe(machine: &UnknownMachine) -> String {
    let when = machine.last_seen.strftime("%Y-%m-%d %H:%M:%S UTC");
    let arch = machine.arch.map_or("-".to_owned(), |arch| arch.to_string());
    let address = machine.address.map_or("-".to_owned(), |address| address.to_string());
    format!("{}  {when}  {arch:<10}  {address}", machine.mac)
}

fn unknown(arguments: &Seen) -> Result<Vec<UnknownMachine>, Failure> {
    let state = &arguments.state.state;
    let transcript = read_transcript(state)?.unwrap_or_else(Transcript::empty);
    let known: Vec<MacAddr> = match &arguments.site {
        Some(directory) => {
            let (_, site) = load(directory)?;
            site.machines.into_values().flat_map(|machine| machine.macs).collect()
        }
        None => read_table(state)?.into_iter().flat_map(|table| table.machines.into_values()).flat_map(|it| it.macs).collect(),
    };
    Ok(unknown_machines(&transcript, |mac| known.contains(&mac)))
}

fn insert(arguments: &Add, mac: MacAddr) -> Result<Exit, Failure> {
    let seen = match arguments.from_seen {
        Some(mac) => Some(last_look(arguments, mac)?),
        None => None,
    };
    let root = arguments.seen.site.clone().unwrap_or_else(|| PathBuf::from("."));
    let (tree, site) = load(&root)?;
    let file = arguments.file.as_deref().map(|file| in_site(file, &root));
    let new = NewMachine { mac, name: arguments.name.clone(), ip: arguments.ip, file };
    let edit = site::add_machine(&tree, &site, &new).map_err(explain)?;
    let added = check(tree, &edit)?;
    let path = root.join(&edit.file);
    let diff = similar::TextDiff::from_lines(&edit.before, &edit.after);
    let file = &edit.file;
    output::data(&diff.unified_diff().context_radius(2).header(&format!("a/{file}"), &format!("b/{file}")).to_string())?;
    if let (Some(says), Some(Some(arch))) = (firmware_of(&added, &edit.name), seen.map(|machine| machine.arch)) {
        let is_bios = arch == ClientArch::BIOS;
        if (is_bios && says == Firmware::Uefi) || (!is_bios && says == Firmware::Bios) {
            output::note(format!(
                "warning: it was seen to boot by {arch}, and its row says otherwise\n  hint: give it a firmware of its own, or change its setup"
            ));
        }
    }
    if arguments.dry_run {
        output::note("nothing was written");
        return Ok(Exit::Done);
    }
    replace(&path, &edit.after).with_context(|| format!("cannot write {}", path.display()))?;
    let ip = edit.ip.map_or(String::new(), |ip| format!(" at {ip}"));
    output::note(format!(
        "added {}{ip} to {}; commit and push it: git commit -am \"Add {}\" && git push",
        edit.name, edit.file, edit.name
    ));
    Ok(Exit::Done)
}

fn last_look(arguments: &Add, mac: MacAddr) -> Result<UnknownMachine, Failure> {
    let transcript = read_transcript(&arguments.seen.state.state)?.unwrap_or_else(Transcript::empty);
    let mut found = unknown_machines(&transcript, |other| other != mac);
    found.pop().ok_or_else(|| {
        let error = anyhow::anyhow!("{mac} was not seen to boot here");
        Failure::hinted(error, "`barista machine seen` lists those that were; --mac adds one that was not")
    })
}

fn load(directory: &Path) -> Result<(Tree, Site), Failure> {
    let tree = directory::read(directory).map_err(|error| Failure::hinted(error, "name the site's directory with --site"))?;
    let Checked { site, findings } = site::load(&tree);
    let site = site.ok_or(Failure::Findings(findings))?;
    Ok((tree, site))
}

/// A file as the site names it, however it was typed: from the site's directory, from here, or without its ending.
fn in_site(typed: &str, root: &Path) -> String {
    let path = Path::new(typed);
    let path = path.strip_prefix(root).or_else(|_| path.strip_prefix(".")).unwrap_or(path);
    let text = path.to_string_lossy().into_owned();
    let text = if text.contains('/') { text } else { format!("machines/{text}") };
    if text.ends_with(".toml") { text } else { format!("{text}.toml") }
}

/// The site with the edit in it; what it finds that was not there before refuses the edit.
fn check(mut tree: Tree, edit: &Edit) -> Result<Site, Failure> {
    let before = all_findings(site::load(&tree));
    tree.entries.insert(edit.file.clone(), Entry::File(edit.after.clone().into_bytes()));
    let checked = site::load(&tree);
    let site = checked.site.clone();
    // Lines move, so what was there before is known by its words.
    let fresh = |finding: &Diagnostic| {
        before.iter().all(|old| (&old.message, &old.place.file) != (&finding.message, &finding.place.file))
    };
    let found: Vec<_> = all_findings(checked).into_iter().filter(fresh).collect();
    match site {
        Some(site) if found.is_empty() => Ok(site),
        _ => Err(Failure::Findings(found)),
    }
}

fn firmware_of(site: &Site, name: &MachineName) -> Option<Firmware> {
    site.machines.get(name)?.firmware
}

/// Replaces a file that people own: whole or not at all, with the owner and the mode it had.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let was = fs::metadata(path)?;
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut fresh = tempfile::Builder::new().prefix(".barista.").tempfile_in(directory)?;
    fresh.write_all(text.as_bytes())?;
    fresh.as_file().set_permissions(was.permissions())?;
    if nix::unistd::Uid::effective().is_root() {
        std::os::unix::fs::fchown(fresh.as_file(), Some(was.uid()), Some(was.gid()))?;
    }
    fresh.as_file().sync_all()?;
    fresh.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn explain(error: EditError) -> Failure {
    let hint = match &error {
        EditError::NoFile(_) => "files with machines lie in machines/; make the file first",
        EditError::WhichFile => "name one with --file, and the machine with --name",
        EditError::NoNumber(_) | EditError::NoName(_) => "name the machine with --name",
        EditError::NoAddress { .. } => "give it one with --ip",
        EditError::Unreadable(_) | EditError::Known { .. } => return error.into(),
    };
    Failure::hinted(error, hint)
}
