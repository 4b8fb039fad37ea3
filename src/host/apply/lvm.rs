//! Carries out many LVM commands through one process, and one command for many volumes.
//!
//! The lvm shell (lvm(8), "commands can be entered interactively") always ends with status 0 and does not say which line a
//! message belongs to. So each command is followed by a word that is no command: the shell's complaint about it on standard error
//! ends what belongs to the command before it. **Invariant:** a command is done only if nothing was complained of, or the state
//! says so; a change's second command waits for the outcome of its first.

use super::lvm_effect::{group_of, is_in_effect, lv_name};
use super::{PROGRAM_DEADLINE, Run, chain};
use crate::host::{Command, Output};
use crate::observed::{LV_FIELDS, Lv, lvs, parse_lvs};
use crate::plan::{ChangeId, Op, Outcome, render_op};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Commands for one process, volumes for one command: bounds the length of a command line and what one crash leaves undone.
const AT_ONCE: usize = 200;

/// A command's share of a batch's deadline. Two snapshots a second is what emulation does; a deactivation of a volume that is
/// just being probed is tried again for five seconds.
const EACH: Duration = Duration::from_secs(10);

/// What stands between two commands; the number is that of the command before it.
const MARK: &str = "barista-end-of-command-";

type Volumes = BTreeMap<String, Lv>;

impl Run<'_> {
    pub(super) fn lvm_batch(&mut self, commands: &[(ChangeId, Vec<String>)]) {
        let total = commands.len() as u64;
        self.progress.begin(None, &format!("{total} LVM commands"));
        let mut done = 0;
        let mut worst = Outcome::Done;
        let mut rest: Vec<&(ChangeId, Vec<String>)> = commands.iter().collect();
        while !rest.is_empty() {
            let (round, later) = self.next_round(rest);
            done += round.len() as u64;
            let ready: Vec<_> = round.into_iter().filter(|(change, _)| self.ledger.may_go_ahead(*change)).collect();
            for ((change, _), outcome) in ready.iter().zip(self.run_round(&ready)) {
                if outcome != Outcome::Done {
                    worst = outcome.clone();
                }
                self.ledger.settle(*change, outcome);
            }
            self.progress.advance(done, total);
            rest = later;
        }
        self.progress.end(&worst);
    }

    /// As many commands as can run without knowing what becomes of one another, in order, and those that are left.
    #[expect(clippy::type_complexity, reason = "two lists of the same thing")]
    fn next_round<'a>(
        &self,
        commands: Vec<&'a (ChangeId, Vec<String>)>,
    ) -> (Vec<&'a (ChangeId, Vec<String>)>, Vec<&'a (ChangeId, Vec<String>)>) {
        let mut seen = BTreeSet::new();
        let (mut round, mut later) = (Vec::new(), Vec::new());
        for command in commands {
            let waits = seen.contains(&command.0) || self.ledger.after(command.0).iter().any(|before| seen.contains(before));
            seen.insert(command.0);
            if waits || round.len() == AT_ONCE { later.push(command) } else { round.push(command) }
        }
        (round, later)
    }

    /// Runs commands of different changes through one shell; one outcome for each.
    fn run_round(&self, commands: &[&(ChangeId, Vec<String>)]) -> Vec<Outcome> {
        if commands.len() == 1 || commands.iter().any(|(_, words)| words.iter().any(|word| !is_plain(word))) {
            return commands.iter().map(|(_, words)| self.run_single(words)).collect();
        }
        let Some(group) = commands.first().and_then(|(_, words)| group_of(words)) else {
            return Vec::new();
        };
        let before = match self.volumes(group) {
            Ok(before) => before,
            Err(reason) => return vec![Outcome::Failed(reason); commands.len()],
        };
        let mut script = String::new();
        for (at, (_, words)) in commands.iter().enumerate() {
            tracing::debug!(target: "barista::host", "op lvm {}", words.join(" "));
            script.push_str(&format!("{}\n{MARK}{at}\n", words.join(" ")));
        }
        let shell = Command { argv: vec!["lvm".into()], stdin: script.into_bytes(), deadline: deadline(commands.len()) };
        let result = self.system.commands.run(&shell);
        let complaints = result.as_ref().map(|output| complaints(&output.stderr, commands.len())).unwrap_or_default();
        if complaints.len() == commands.len() && complaints.iter().all(String::is_empty) {
            return vec![Outcome::Done; commands.len()];
        }
        let after = self.volumes(group);
        let judge = |(at, (_, words)): (usize, &&(ChangeId, Vec<String>))| {
            let complaint = complaints.get(at);
            if complaint.is_some_and(String::is_empty) {
                return Outcome::Done;
            }
            let effect = after.as_ref().ok().and_then(|after| is_in_effect(words, None, after));
            // A volume that was there before was not made by us, whatever bears its name now.
            let is_new = words[0] != "lvcreate" || is_in_effect(words, None, &before) == Some(false);
            match (effect, complaint, &result) {
                (Some(true), _, _) if is_new => Outcome::Done,
                (Some(_), Some(complaint), _) => Outcome::Failed(format!("{}: {complaint}", words.join(" "))),
                (_, _, Err(error)) => Outcome::Failed(chain(error)),
                // Not reached, or of no known effect: alone it tells its own status.
                (_, _, Ok(_)) => self.run_single(words),
            }
        };
        commands.iter().enumerate().map(judge).collect()
    }

    fn run_single(&self, words: &[String]) -> Outcome {
        tracing::debug!(target: "barista::host", "op {}", render_op(&Op::Run(words.to_vec())));
        match self.system.commands.succeed(&Command::new(words, PROGRAM_DEADLINE)) {
            Ok(_) => Outcome::Done,
            Err(error) => Outcome::Failed(chain(&error)),
        }
    }

    pub(super) fn lvm_many(&mut self, words: &[String], volumes: &[(ChangeId, String)]) {
        let total = volumes.len() as u64;
        self.progress.begin(None, &format!("{} {total} volumes", words.join(" ")));
        let ready: Vec<_> = volumes.iter().filter(|(change, _)| self.ledger.may_go_ahead(*change)).collect();
        let mut done = 0;
        let mut worst = Outcome::Done;
        for part in ready.chunks(AT_ONCE) {
            for ((change, _), outcome) in part.iter().zip(self.run_many(words, part)) {
                if outcome != Outcome::Done {
                    worst = outcome.clone();
                }
                self.ledger.settle(*change, outcome);
            }
            done += part.len() as u64;
            self.progress.advance(done, total);
        }
        self.progress.end(&worst);
    }

    fn run_many(&self, words: &[String], volumes: &[&(ChangeId, String)]) -> Vec<Outcome> {
        let argv: Vec<String> = words.iter().chain(volumes.iter().map(|(_, volume)| volume)).cloned().collect();
        tracing::debug!(target: "barista::host", "op {}", render_op(&Op::Run(argv.clone())));
        let command = Command::new(argv, deadline(volumes.len()));
        let error = match self.system.commands.run(&command) {
            Ok(output) if output.is_success() => return vec![Outcome::Done; volumes.len()],
            Ok(output) => Err(output),
            Err(error) => Ok(chain(&error)),
        };
        let group = volumes.first().and_then(|(_, volume)| volume.split_once('/')).map_or("", |(vg, _)| vg);
        let after = self.volumes(group);
        let judge = |(_, volume): &&(ChangeId, String)| {
            let effect = after.as_ref().ok().and_then(|after| is_in_effect(words, Some(volume), after));
            match (&error, effect) {
                (_, Some(true)) => Outcome::Done,
                (Ok(error), _) => Outcome::Failed(error.clone()),
                (Err(output), _) => Outcome::Failed(blame(output, &command, words, volume)),
            }
        };
        volumes.iter().map(judge).collect()
    }

    fn volumes(&self, group: &str) -> Result<Volumes, String> {
        let output = self
            .system
            .commands
            .succeed(&Command::new(lvs(LV_FIELDS, group), PROGRAM_DEADLINE))
            .map_err(|error| chain(&error))?;
        parse_lvs(&output.stdout).map_err(|error| chain(&error))
    }
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
    // From the end: what a host puts before its messages may begin with the mark and a digit.
    let after = line.rsplit_once(MARK).map(|(_, after)| after);
    after.is_some_and(|after| after.split(|c: char| !c.is_ascii_digit()).next() == Some(&number.to_string()))
}

/// The lines that name the volume, or all of them.
fn blame(output: &Output, command: &Command, words: &[String], volume: &str) -> String {
    let quoted = format!("\"{}\"", lv_name(volume));
    let names = |line: &&str| {
        line.split_whitespace().any(|word| word.trim_matches(['"', ':', ',', '.']) == volume) || line.contains(&quoted)
    };
    let lines: Vec<&str> = output.stderr.lines().map(str::trim).filter(names).collect();
    if lines.is_empty() {
        return chain(&output.failure(&Command { argv: words.to_vec(), ..command.clone() }));
    }
    format!("{} {volume}: {}", words.join(" "), lines.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let words: Vec<String> = ["lvremove", "-f", "-y"].map(str::to_owned).into();
        let command = Command::new(&words, Duration::from_secs(1));
        let blamed = blame(&output, &command, &words, "cafe/v2");
        assert_eq!(blamed, "lvremove -f -y cafe/v2: Logical volume cafe/v2 contains a filesystem in use.");
        assert!(blame(&output, &command, &words, "cafe/v9").contains("status 5"));
    }
}
