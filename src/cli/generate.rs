//! `barista completions` and `barista man`: what shells and man(1) know of this program.
//!
//! **Invariant:** made from the command line as it is parsed, so that no page names an option that is not there.
#![expect(clippy::disallowed_methods, reason = "effect room: writes man pages where it is told")]

use super::{
    failure::{Exit, Failure},
    help, output,
};
use anyhow::Context as _;
use clap::Command;
use clap_complete::Shell;
use std::{collections::BTreeMap, fs, path::PathBuf};

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub(super) struct ManArguments {
    /// Write every page into a directory, each as barista-NAME.1
    #[arg(long, value_name = "DIR")]
    write: PathBuf,
}

/// Runs `completions`.
pub(super) fn completions(arguments: &CompletionsArguments) -> Result<Exit, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut help::command(), "barista", &mut text);
    output::data(&String::from_utf8(text).context("a completion is no text")?)?;
    Ok(Exit::Done)
}

/// Runs `man`.
pub(super) fn man(arguments: &ManArguments) -> Result<Exit, Failure> {
    let directory = &arguments.write;
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for (name, page) in pages()? {
        let path = directory.join(name);
        fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(Exit::Done)
}

/// The pages by their files' names.
fn pages() -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let mut command = help::command();
    command.build();
    let mut pages = BTreeMap::new();
    add_pages(&mut pages, command, "barista")?;
    Ok(pages)
}

fn add_pages(pages: &mut BTreeMap<String, Vec<u8>>, command: Command, name: &str) -> Result<(), Failure> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help") {
        add_pages(pages, below.clone(), &format!("{name}-{}", below.get_name()))?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command.display_name(name.to_owned())).title(name.to_uppercase()).render(&mut page)?;
    pages.insert(format!("{name}.1"), page);
    Ok(())
}
