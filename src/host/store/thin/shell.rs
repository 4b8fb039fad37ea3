//! Carries out many LVM commands through one process, and one command for many volumes.
//!
//! The lvm shell (lvm(8), "commands can be entered interactively") always ends with status 0 and does not say which line a
//! message belongs to. So each command is followed by a word that is no command: the shell's complaint about it on standard error
//! ends what belongs to the command before it. **Invariant:** a command is done only if nothing was complained of, or the state
//! says so; a change's second command waits for the outcome of its first.

use super::command::LvmCommand;
use super::{PROGRAM_DEADLINE, Thin, Volumes};
use crate::host::store::{Advance, left_out};
use crate::host::{Command, Output, chain};
use crate::names::LvName;
use crate::plan::{ChangeId, Outcome};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    time::Duration,
};

/// Commands for one process, volumes for one command: bounds the length of a command line, what one crash leaves undone, and how long
/// whoever wants the agent to stop waits, half a minute by the pace below. The deadline of so many is shorter than the silence that
/// systemd allows (`WatchdogSec=`, a test compares them).
const AT_ONCE: usize = 50;

/// A command's share of a batch's deadline. Two snapshots a second is what emulation does; a deactivation of a volume that is
/// just being probed is tried again for five seconds.
const EACH: Duration = Duration::from_secs(10);

/// What stands between two commands; the number is that of the command before it.
const MARK: &str = "barista-end-of-command-";

/// A command with the place of its op and its change.
type Placed = (usize, ChangeId, LvmCommand);

/// Runs commands: those of one change in order, those of different changes through one process, and one command for many volumes
/// where LVM takes many. What becomes of each goes to its op's place. Where `advance` breaks, no other program begins.
pub(super) fn run(
    thin: &Thin<'_>,
    commands: Vec<Placed>,
    outcomes: &mut [Outcome],
    failed: &mut BTreeMap<ChangeId, String>,
    advance: &mut Advance<'_>,
) -> ControlFlow<()> {
    let total = commands.len() as u64;
    let mut done = 0;
    let mut rest = commands;
    while !rest.is_empty() {
        let (round, later) = next_round(rest);
        done += round.len() as u64;
        let (ready, not): (Vec<Placed>, Vec<Placed>) = round.into_iter().partition(|(_, change, _)| !failed.contains_key(change));
        for (at, change, _) in not {
            outcomes[at] = Outcome::Failed(failed[&change].clone());
        }
        for ((at, change, _), outcome) in ready.iter().zip(run_round(thin, &ready)) {
            if let Outcome::Failed(error) = &outcome {
                failed.entry(*change).or_insert_with(|| error.clone());
                outcomes[*at] = outcome;
            }
        }
        rest = later;
        if advance(done, total).is_break() && !rest.is_empty() {
            rest.iter().for_each(|(at, ..)| outcomes[*at] = left_out());
            return ControlFlow::Break(());
        }
    }
    ControlFlow::Continue(())
}

/// As many commands as can run without knowing what becomes of one another, all of one sort, in order, and those that are left.
fn next_round(commands: Vec<Placed>) -> (Vec<Placed>, Vec<Placed>) {
    let mut seen = BTreeSet::new();
    let mut sort = None;
    let (mut round, mut later) = (Vec::new(), Vec::new());
    for command in commands {
        let its = sort_of(&command.2);
        let fits = seen.insert(command.1) && *sort.get_or_insert(its) == its && round.len() < AT_ONCE;
        if fits { round.push(command) } else { later.push(command) }
    }
    (round, later)
}

/// Commands that one process, or one command line, can take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Activate,
    Remove,
    Other,
}

fn sort_of(command: &LvmCommand) -> Sort {
    match command {
        LvmCommand::Activate { .. } => Sort::Activate,
        LvmCommand::Remove { .. } => Sort::Remove,
        _ => Sort::Other,
    }
}

fn run_round(thin: &Thin<'_>, commands: &[Placed]) -> Vec<Outcome> {
    match commands.first().map(|(_, _, command)| sort_of(command)) {
        None => Vec::new(),
        Some(Sort::Activate) => run_many(thin, commands, |names| LvmCommand::Activate { names }),
        Some(Sort::Remove) => run_many(thin, commands, |names| LvmCommand::Remove { names }),
        Some(Sort::Other) => run_shell(thin, commands),
    }
}

/// Runs commands of different changes through one shell; one outcome for each.
fn run_shell(thin: &Thin<'_>, commands: &[Placed]) -> Vec<Outcome> {
    let lines: Vec<Vec<String>> = commands.iter().map(|(_, _, command)| command.words(&thin.pool.vg)).collect();
    if lines.len() == 1 || lines.iter().flatten().any(|word| !is_plain(word)) {
        return lines.iter().map(|words| run_single(thin, words)).collect();
    }
    let before = match thin.volumes() {
        Ok(before) => before,
        Err(reason) => return vec![Outcome::Failed(reason); commands.len()],
    };
    let mut script = String::new();
    for (at, words) in lines.iter().enumerate() {
        tracing::debug!(target: "barista::host", "op lvm {}", words.join(" "));
        script.push_str(&format!("{}\n{MARK}{at}\n", words.join(" ")));
    }
    let shell = Command { argv: vec!["lvm".into()], stdin: script.into_bytes(), deadline: deadline(lines.len()) };
    let result = thin.system.commands.run(&shell);
    let complaints = result.as_ref().map(|output| complaints(&output.stderr, lines.len())).unwrap_or_default();
    if complaints.len() == lines.len() && complaints.iter().all(String::is_empty) {
        return vec![Outcome::Done; lines.len()];
    }
    let after = thin.volumes();
    let judge = |(at, (_, _, command)): (usize, &Placed)| {
        let complaint = complaints.get(at);
        if complaint.is_some_and(String::is_empty) {
            return Outcome::Done;
        }
        let is_in_effect = after.as_ref().is_ok_and(|after| command.is_in_effect(after));
        // A volume that was there before was not made by us, whatever bears its name now.
        let is_new = !command.makes() || !command.is_in_effect(&before);
        match (is_in_effect && is_new, complaint, &result) {
            (true, _, _) => Outcome::Done,
            (false, Some(complaint), _) => Outcome::Failed(format!("{}: {complaint}", lines[at].join(" "))),
            (false, None, Err(error)) => Outcome::Failed(chain(error)),
            // Not reached: alone it tells its own status.
            (false, None, Ok(_)) => run_single(thin, &lines[at]),
        }
    };
    commands.iter().enumerate().map(judge).collect()
}

fn run_single(thin: &Thin<'_>, words: &[String]) -> Outcome {
    tracing::debug!(target: "barista::host", "op {}", words.join(" "));
    match thin.system.commands.succeed(&Command::new(words, PROGRAM_DEADLINE)) {
        Ok(_) => Outcome::Done,
        Err(error) => Outcome::Failed(chain(&error)),
    }
}

/// Runs one command for the volumes of many.
fn run_many(thin: &Thin<'_>, commands: &[Placed], joined: fn(Vec<LvName>) -> LvmCommand) -> Vec<Outcome> {
    let names = |command: &LvmCommand| match command {
        LvmCommand::Activate { names } | LvmCommand::Remove { names } => names.clone(),
        _ => Vec::new(),
    };
    let all = joined(commands.iter().flat_map(|(_, _, command)| names(command)).collect());
    let words = all.words(&thin.pool.vg);
    tracing::debug!(target: "barista::host", "op {}", words.join(" "));
    let command = Command::new(&words, deadline(commands.len()));
    let error = match thin.system.commands.run(&command) {
        Ok(output) if output.is_success() => return vec![Outcome::Done; commands.len()],
        Ok(output) => Err(output),
        Err(error) => Ok(chain(&error)),
    };
    let after: Result<Volumes, String> = thin.volumes();
    let judge = |(_, _, one): &Placed| {
        let is_in_effect = after.as_ref().is_ok_and(|after| one.is_in_effect(after));
        match &error {
            _ if is_in_effect => Outcome::Done,
            Ok(error) => Outcome::Failed(error.clone()),
            Err(output) => {
                let volume = names(one).first().map_or_else(String::new, |name| format!("{}/{name}", thin.pool.vg));
                Outcome::Failed(blame(output, &command, &one.words(&thin.pool.vg), &volume))
            }
        }
    };
    commands.iter().map(judge).collect()
}

/// Whether the lvm shell reads a word as it stands, without quotes; names, tags and sizes of ours are.
fn is_plain(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./:=+@&!%".contains(&b))
}

fn deadline(commands: usize) -> Duration {
    PROGRAM_DEADLINE + EACH * commands as u32
}

/// What the shell complained of for each command, up to the last whose mark was reached. Warnings are no complaints.
fn complaints(stderr: &str, commands: usize) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut lines = Vec::new();
    for line in stderr.lines().map(str::trim) {
        if complaints.len() < commands && mentions_mark(line, complaints.len()) {
            complaints.push(std::mem::take(&mut lines).join("; "));
        } else if !line.is_empty() && !line.starts_with("WARNING:") {
            lines.push(line);
        }
    }
    complaints
}

fn mentions_mark(line: &str, number: usize) -> bool {
    let after = line.split_once(MARK).map(|(_, after)| after);
    after.is_some_and(|after| after.split(|c: char| !c.is_ascii_digit()).next() == Some(&number.to_string()))
}

/// The lines that name the volume, or all of them.
fn blame(output: &Output, command: &Command, words: &[String], volume: &str) -> String {
    let quoted = format!("\"{}\"", volume.rsplit('/').next().unwrap_or(volume));
    let names = |line: &&str| {
        line.split_whitespace().any(|word| word.trim_matches(['"', ':', ',', '.']) == volume) || line.contains(&quoted)
    };
    let lines: Vec<&str> = output.stderr.lines().map(str::trim).filter(names).collect();
    if lines.is_empty() {
        return chain(&output.failure(&Command { argv: words.to_vec(), ..command.clone() }));
    }
    format!("{}: {}", words.join(" "), lines.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number of seconds in a unit: `WatchdogSec=20min`.
    fn seconds(unit: &str, key: &str) -> u64 {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("no {key}"));
        match line.strip_suffix("min") {
            Some(minutes) => 60 * minutes.parse::<u64>().expect("a number"),
            None => line.parse().expect("a number"),
        }
    }

    /// rhoopr/kei#574: a watchdog that is shorter than one unit of work kills whoever does it.
    #[test]
    fn no_program_of_lvm_may_take_longer_than_the_silence_that_systemd_allows() {
        let unit = include_str!("../../../cli/units/barista-agent.service");
        assert!(deadline(AT_ONCE).as_secs() < seconds(unit, "WatchdogSec="), "{:?}", deadline(AT_ONCE));
        // At the pace of emulation, two commands a second, one round ends before a stop becomes a kill, though nobody extends it.
        assert!(AT_ONCE as u64 / 2 < seconds(unit, "TimeoutStopSec="));
    }

    /// lvm2 2.03.16 was fed: a good lvcreate, the same again, an lvremove that works, and a bad name.
    const SHELL: &str = r#"  No such command 'barista-end-of-command-0'.  Try 'help'.
  Logical Volume "m1" already exists in volume group "cafe"
  No such command 'barista-end-of-command-1'.  Try 'help'.
  WARNING: Sum of all thin volume sizes (5.00 GiB) exceeds the size of thin pool cafe/pool.
  No such command 'barista-end-of-command-2'.  Try 'help'.
  Logical volume name "m 2" is invalid.
"#;

    #[test]
    fn complaints_are_told_apart_by_the_marks_between_them() {
        let expected = ["", "Logical Volume \"m1\" already exists in volume group \"cafe\"", ""];
        assert_eq!(complaints(SHELL, 4), expected, "the fourth was not reached");
        assert!(complaints("", 2).is_empty());
    }

    #[test]
    fn a_volume_is_blamed_with_its_own_lines() {
        let stderr = "  Logical volume cafe/v2 contains a filesystem in use.\n  Failed to find logical volume \"cafe/v22\"\n";
        let output = Output { status: Some(5), stdout: String::new(), stderr: stderr.into() };
        let words: Vec<String> = ["lvremove", "-f", "-y", "cafe/v2"].map(str::to_owned).into();
        let command = Command::new(&words, Duration::from_secs(1));
        let blamed = blame(&output, &command, &words, "cafe/v2");
        assert_eq!(blamed, "lvremove -f -y cafe/v2: Logical volume cafe/v2 contains a filesystem in use.");
        assert!(blame(&output, &command, &words, "cafe/v9").contains("status 5"));
    }
}
