//! `barista status`: where the café is, what came of the last commit, what is held.

use super::{
    arguments::{JsonArgument, StateArgument},
    clock,
    explain::{AS_ROOT, mend_document, read_table, read_transcript},
    failure::{Exit, Failure},
    machine, output, watch,
};
use crate::agent::converge::on_one_line;
use crate::agent::instance_lock;
use crate::agent::status::{Attempt, AttemptResult, Status, StatusError, describe};
use crate::boot::table::FixedTable;
use crate::deploy::{
    patience::{FOR_REFERENCES, within},
    repo::{Repo, RepoError},
};
use crate::diagnose::explain::unknown_machines;
use crate::diagnostic::Diagnostic;
use crate::host::{chain, examine_space};
use crate::serve::dhcp::rogue_server::find_mode_conflicts;
use jiff::Timestamp;
use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
};

/// Unknown machines shown; `machine seen` lists them all.
const STRANGERS_SHOWN: usize = 5;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    state: StateArgument,
    #[command(flatten)]
    json: JsonArgument,
    /// Go on looking, every two seconds, until Ctrl-C: a terminal is drawn anew, elsewhere each change is a line
    #[arg(long, conflicts_with = "json")]
    watch: bool,
}

/// Runs `status`: exit 0 when the café is at the head of its branch, 3 while something is held, refused or failed.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let state = &arguments.state.state;
    if arguments.watch {
        return watch::watch(|| {
            let (status, presence) = read(state)?;
            Ok(render(&status, presence, unseen_head(&status, presence)) + &strangers(state)?)
        });
    }
    let (status, presence) = read(state)?;
    let unseen = unseen_head(&status, presence);
    let is_settled = is_settled(&status) && unseen.is_none();
    if arguments.json.json {
        output::json(&status)?;
    } else {
        output::data(&(render(&status, presence, unseen) + &strangers(state)?))?;
    }
    Ok(if is_settled { Exit::Done } else { Exit::Partial })
}

/// What the followed branch is at, where the agent does not say it: it does not run, or the branch has nothing any more.
fn unseen_head(status: &Status, presence: instance_lock::InstanceState) -> Option<String> {
    let path = PathBuf::from(&status.repository);
    let read = within(&path.clone(), FOR_REFERENCES, move || {
        let repo = Repo::open(&path)?;
        let branch = repo.followed()?;
        let head = repo.commit_of(&branch)?;
        Ok::<_, RepoError>((branch, head))
    });
    let is_gone = presence == instance_lock::InstanceState::Gone;
    let serving = status.serving.as_ref().map(|serving| serving.revision.id.as_str());
    match read {
        Ok((branch, None)) => serving.map(|_| {
            format!(
                "{branch} has no commit: push one; where the repository was begun anew, first: barista init --accept-history {}",
                status.repository
            )
        }),
        // The agent has said why.
        _ if status.waiting.is_some() => None,
        Ok((branch, Some(head))) if is_gone && serving != Some(head.as_str()) => {
            Some(format!("{branch} is at {}, which is not applied: systemctl start barista-agent", head.short()))
        }
        Ok(_) => None,
        Err(error) => is_gone.then(|| format!("whether a commit waits cannot be seen: {}", chain(&error))),
    }
}

/// What the agent says of itself, and whether it still runs.
fn read(state: &Path) -> Result<(Status, instance_lock::InstanceState), Failure> {
    let status = Status::read(state).map_err(|error| match error {
        StatusError::Absent(_) => {
            Failure::hinted(error, "start it: systemctl start barista-agent, or barista agent --repo GITDIR")
        }
        StatusError::Malformed { ref source, .. } => {
            let hint = mend_document(source, "barista-agent");
            Failure::hinted(error, hint)
        }
        StatusError::Io { ref source, .. } if source.kind() == io::ErrorKind::PermissionDenied => Failure::hinted(error, AS_ROOT),
        other => other.into(),
    })?;
    let presence = instance_lock::look(state)?;
    let status = match presence {
        instance_lock::InstanceState::Running => status,
        instance_lock::InstanceState::Gone => status.of_stopped_agent(),
    };
    Ok((with_full_disk(status, examine_space([state, &state.join("serve")])), presence))
}

/// The status with what is wrong with its disk, which keeps the agent from writing just that.
fn with_full_disk(mut status: Status, short: Vec<Diagnostic>) -> Status {
    for trouble in short {
        if !status.troubles.contains(&trouble) {
            status.troubles.push(trouble);
        }
    }
    status
}

fn is_settled(status: &Status) -> bool {
    let applied = status.last.as_ref().is_none_or(|last| matches!(last.result, AttemptResult::Applied { .. }));
    applied && status.held.is_empty() && status.waiting.is_none() && status.troubles.is_empty()
}

fn render(status: &Status, presence: instance_lock::InstanceState, unseen: Option<String>) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{label:<8}{value}");
    };
    let branch = status.branch.as_deref().unwrap_or("no branch");
    line("follows", format!("{branch} of {}", status.repository));
    line(
        "agent",
        match presence {
            instance_lock::InstanceState::Running => {
                format!("{} runs since {}, process {}", status.agent.version, clock::local(status.agent.since), status.agent.pid)
            }
            instance_lock::InstanceState::Gone => format!("does not run; last word at {}", clock::local(status.at)),
        },
    );
    match &status.serving {
        Some(serving) => line("cafe", format!("at {} since {}", describe(&serving.revision), clock::local(serving.since))),
        None => line("cafe", "at no commit yet".to_owned()),
    }
    if let Some(last) = &status.last {
        line("last", render_attempt(last));
        for detail in details(last) {
            line("", detail);
        }
    }
    if let Some(head) = unseen.or_else(|| status.waiting.clone()) {
        line("head", head);
    }
    for trouble in &status.troubles {
        line("trouble", trouble.message.clone());
        if let Some(hint) = &trouble.hint {
            line("", format!("to mend it: {hint}"));
        }
    }
    for held in &status.held {
        line("held", format!("{}: {} since {}", on_one_line(&held.subject), held.reason, clock::local(held.since)));
    }
    text
}

/// Machines that nobody entered, and networks whose mode does not fit what was heard on them, as far as the transcript knows of any.
fn strangers(state: &Path) -> Result<String, Failure> {
    let transcript = match read_transcript(state) {
        Ok(Some(transcript)) => transcript,
        Ok(None) => return Ok(String::new()),
        // What another user's file says is not needed for all the rest.
        Err(failure) => return Ok(format!("{:<8}{}\n", "unseen", failure.in_passing())),
    };
    let table = read_table(state)?.map(FixedTable::from);
    let is_known = |mac| table.as_ref().is_some_and(|table| table.machine(mac).is_some());
    let unknown = unknown_machines(&transcript, is_known);
    let mut text = String::new();
    for machine in unknown.iter().take(STRANGERS_SHOWN) {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{:<8}{}", "unknown", machine::describe(machine));
    }
    if let Some(more) = unknown.len().checked_sub(STRANGERS_SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "{:<8}and {more} more: barista machine seen", "");
    }
    for alarm in table.iter().flat_map(|table| find_mode_conflicts(table, &transcript, Timestamp::now())) {
        let _ = writeln!(text, "{:<8}{}", "dhcp", alarm.describe(clock::local));
    }
    Ok(text)
}

/// What came of an attempt, in one line.
pub(super) fn render_attempt(attempt: &Attempt) -> String {
    let what = match &attempt.result {
        AttemptResult::Running => "is being applied".to_owned(),
        AttemptResult::Waiting => "waits: somebody else is applying on this host".to_owned(),
        AttemptResult::Interrupted => "was being applied when the agent stopped".to_owned(),
        AttemptResult::Unreadable { .. } => "cannot be read".to_owned(),
        AttemptResult::Applied { done: 0 } => "applied; nothing had to change".to_owned(),
        AttemptResult::Applied { done: 1 } => "applied; 1 change done".to_owned(),
        AttemptResult::Applied { done } => format!("applied; {done} changes done"),
        AttemptResult::Refused { findings } => format!("refused: {}", super::failure::count(findings)),
        AttemptResult::Failed { done, failures } => {
            format!("failed: {} of {} changes", failures.len(), failures.len() as u32 + done)
        }
    };
    let when = clock::local(attempt.ended.unwrap_or(attempt.began));
    format!("{} {what} ({when})", describe(&attempt.revision))
}

/// Findings or failures of an attempt, line by line.
pub(super) fn details(attempt: &Attempt) -> Vec<String> {
    match &attempt.result {
        AttemptResult::Running | AttemptResult::Waiting | AttemptResult::Interrupted | AttemptResult::Applied { .. } => {
            Vec::new()
        }
        AttemptResult::Unreadable { why } => vec![why.clone()],
        AttemptResult::Refused { findings } => {
            findings.iter().flat_map(|f| f.to_string().lines().map(str::to_owned).collect::<Vec<_>>()).collect()
        }
        AttemptResult::Failed { failures, .. } => failures.clone(),
    }
}
