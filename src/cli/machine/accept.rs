//! `barista machine accept`: whatever boots next under a name is that machine.
//!
//! **Invariant:** forgets the hardware of one machine and touches nothing else.

use crate::agent::hardware::{self, Hardware};
use crate::cli::{
    arguments::StateArgument,
    edits::DryRunArgument,
    explain::read_table,
    failure::{Exit, Failure},
    output,
};
use crate::host::System;
use crate::names::MachineName;
use crate::observed::Seen;
use std::{io, path::Path};

/// Arguments of `machine accept`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Its name
    machine: MachineName,
    #[command(flatten)]
    state: StateArgument,
    #[command(flatten)]
    how: DryRunArgument,
}

/// Runs `machine accept`.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let (machine, state) = (&arguments.machine, &arguments.state.state);
    if read_table(state)?.is_some_and(|table| !table.machines.contains_key(machine)) {
        let error = anyhow::anyhow!("the published boot table has no machine {machine}");
        return Err(Failure::hinted(error, "its names are those of machines/*.toml, as they were published last"));
    }
    if arguments.how.dry_run {
        output::note(match Hardware::read(&System::real(), state) {
            Seen::Unreadable(why) => return Err(Failure::hinted(anyhow::anyhow!(why), anew(state))),
            Seen::Present(known) if known.is_known(machine) => {
                format!("what is known of {machine}'s hardware would be forgotten; nothing was written")
            }
            _ => format!("nothing is known of {machine}'s hardware, so nothing would change; nothing was written"),
        });
        return Ok(Exit::Done);
    }
    let was_known = hardware::accept(&System::real(), state, machine).map_err(|error| {
        let is_damaged = error.kind() == io::ErrorKind::InvalidData;
        let what = format!("what is known of {machine}'s hardware cannot be changed in {}", state.display());
        let failure = anyhow::Error::from(error).context(what);
        if is_damaged { Failure::hinted(failure, anew(state)) } else { failure.into() }
    })?;
    output::note(match was_known {
        true => format!("the next machine that boots as {machine} is taken for it, from the agent's next look on"),
        false => format!("nothing is known of {machine}'s hardware: whatever boots as {machine} is taken for it"),
    });
    Ok(Exit::Done)
}

/// What to do where what is known does not read.
fn anew(state: &Path) -> String {
    hardware::trouble(state, "").hint.unwrap_or_default()
}
