//! `barista machine`: the machines of a site, those that were seen and are not in it, and how they get into it.
//!
//! **Invariant:** a site that is changed here checks as well as it did before; else nothing is written.

mod accept;
mod add;
mod import;
mod list;
mod seen;

pub(super) use list::MachineList;
pub(super) use seen::{SeenMachines, describe};

use super::{
    check::all_findings,
    failure::{Exit, Failure},
    source::read_directory,
};
use crate::diagnostic::Diagnostic;
use crate::site::{self, Checked, Edit, EditError, Entry, Site, Tree};
use clap::Subcommand;
use std::path::Path;

/// Arguments of `machine`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the machines of a site
    List(list::Arguments),
    /// List machines that tried to boot and are not in the site
    Seen(seen::SeenArguments),
    /// Add machines to a site's directory; without an address, list those that were seen
    Add(Box<add::Arguments>),
    /// Take machines over from another server's file into a site's directory
    Import(import::Arguments),
    /// Take the machine that boots next under this name for the right one, though it is other hardware than before
    Accept(accept::Arguments),
}

/// Runs `machine`.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.command {
        Command::List(arguments) => list::run(arguments),
        Command::Seen(arguments) => seen::run(arguments),
        Command::Add(arguments) => add::run(arguments),
        Command::Import(arguments) => import::run(arguments),
        Command::Accept(arguments) => accept::run(arguments),
    }
}

/// The text of a site's directory and the site in it.
fn load(directory: &Path) -> Result<(Tree, Site), Failure> {
    let tree = read_directory(directory)?;
    let Checked { site, findings, .. } = site::load(&tree);
    let site = site.ok_or(Failure::Findings(findings))?;
    Ok((tree, site))
}

/// A file of machines as the site names it, however it was typed: from the site's directory, from here, or without its ending.
fn in_site(typed: &str, root: &Path) -> Result<String, Failure> {
    let path = Path::new(typed);
    let path = path.strip_prefix(root).or_else(|_| path.strip_prefix(".")).unwrap_or(path);
    let text = path.to_string_lossy().into_owned();
    let text = if text.contains('/') { text } else { format!("machines/{text}") };
    let is_file = text.strip_prefix("machines/").is_some_and(|name| !name.is_empty() && !name.contains('/'));
    if !is_file {
        return Err(Failure::Mistyped {
            message: format!("{typed} is no file that machines are read from"),
            hint: "machines go into a file of machines/: --file machines/room.toml".to_owned(),
        });
    }
    match text.rsplit_once('.') {
        None => Ok(format!("{text}.toml")),
        Some((_, "toml")) => Ok(text),
        Some((name, _)) => Err(Failure::Mistyped {
            message: format!("{typed} is no file that machines are read from: these end in .toml"),
            hint: format!("--file {name}.toml"),
        }),
    }
}

/// The site with edits in it, or what is found in it that was not there before.
fn check(mut tree: Tree, edits: &[Edit]) -> Result<Site, Vec<Diagnostic>> {
    let before = all_findings(site::load(&tree));
    for edit in edits {
        tree.entries.insert(edit.file.clone(), Entry::File(edit.after.clone().into_bytes()));
    }
    let checked = site::load(&tree);
    let site = checked.site.clone();
    // Lines move, so what was there before is known by its words.
    let fresh = |finding: &Diagnostic| {
        before.iter().all(|old| (&old.message, &old.place.file) != (&finding.message, &finding.place.file))
    };
    let found: Vec<_> = all_findings(checked).into_iter().filter(fresh).collect();
    match site {
        Some(site) if found.is_empty() => Ok(site),
        _ => Err(found),
    }
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
