//! `barista machine seen`: machines that tried to boot and are not in the site.
//!
//! **Invariant:** writes nothing; a machine is known if the site that is asked, or else the published boot table, has its address.

use super::load;
use crate::cli::{
    arguments::{JsonArgument, StateArgument},
    clock,
    explain::{need_transcript, read_table},
    failure::{Exit, Failure},
    output,
};
use crate::diagnose::explain::{UnknownMachine, unknown_machines};
use crate::names::MacAddr;
use serde::Serialize;
use std::{collections::BTreeSet, path::PathBuf};

/// Arguments of `machine seen`.
#[derive(Debug, clap::Args)]
pub(super) struct SeenArguments {
    /// The site that decides who is known, and that `add` writes to [default: the published boot table; for `add` the current directory]
    #[arg(long, value_name = "DIR")]
    pub site: Option<PathBuf>,
    #[command(flatten)]
    pub state: StateArgument,
    #[command(flatten)]
    pub json: JsonArgument,
}

/// Machines that were seen, as a document.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) struct SeenMachines {
    /// The version of this document, 1.
    version: u32,
    /// The last seen first.
    machines: Vec<UnknownMachine>,
}

/// Runs `machine seen`.
pub(super) fn run(arguments: &SeenArguments) -> Result<Exit, Failure> {
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

/// `02:00:00:00:00:01  2026-11-21 16:00:00 +08:00  x64 UEFI  192.168.1.203`
pub(in crate::cli) fn describe(machine: &UnknownMachine) -> String {
    let when = clock::local(machine.last_seen);
    let arch = machine.arch.map_or("-".to_owned(), |arch| arch.to_string());
    let address = machine.address.map_or("-".to_owned(), |address| address.to_string());
    format!("{}  {when}  {arch:<10}  {address}", machine.mac)
}

fn unknown(arguments: &SeenArguments) -> Result<Vec<UnknownMachine>, Failure> {
    let known: BTreeSet<MacAddr> = match &arguments.site {
        Some(directory) => {
            let (_, site) = load(directory)?;
            site.machines.into_values().flat_map(|machine| machine.macs).collect()
        }
        None => {
            let table = read_table(&arguments.state.state)?;
            table.into_iter().flat_map(|table| table.machines.into_values()).flat_map(|it| it.macs).collect()
        }
    };
    unknown_but(arguments, &known)
}

/// Machines that tried to boot and have none of these addresses, the last seen first.
pub(super) fn unknown_but(arguments: &SeenArguments, known: &BTreeSet<MacAddr>) -> Result<Vec<UnknownMachine>, Failure> {
    let transcript = need_transcript(&arguments.state.state)?;
    Ok(unknown_machines(&transcript, |mac| known.contains(&mac)))
}
