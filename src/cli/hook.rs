//! `barista hook`: what git runs in the café's repository at a push.
//!
//! **Invariant:** a commit with findings never gets onto the followed branch, and nothing is applied here: the agent does that.
#![expect(clippy::disallowed_methods, reason = "effect room: git's hooks talk through standard input and the environment")]

use super::{
    arguments::StateArgument,
    failure::{Exit, Failure, count},
    output,
    plan::explain,
    source::explain as explain_repo,
    status::{details, render_attempt},
};
use crate::agent::{
    converge::{ConvergeError, Errand, on_one_line},
    presence::{self, Presence},
    status::{AttemptResult, Status},
};
use crate::deploy::{
    CommitId,
    hook::{Concern, RefUpdate, parse_updates, weigh},
    repo::Repo,
    select::Ancestry,
};
use crate::host::System;
use crate::plan::{Revision, Targets, render_text};
use crate::site::Checked;
use std::{
    env,
    io::{self, Read as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How often the status document is looked at while somebody waits for it.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Arguments of `hook`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    hook: Hook,
}

#[derive(Debug, clap::Subcommand)]
enum Hook {
    /// Checks what is pushed, shows the plan, refuses findings
    PreReceive {
        #[command(flatten)]
        state: StateArgument,
    },
    /// Follows how the agent applies what was pushed
    PostReceive {
        #[command(flatten)]
        state: StateArgument,
        /// How many seconds to wait for it
        #[arg(long, value_name = "SECONDS", default_value_t = 120)]
        wait: u64,
    },
}

/// Runs a hook.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let repository = env::var_os("GIT_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let updates = parse_updates(&text)?;
    match &arguments.hook {
        Hook::PreReceive { state } => before(&repository, &updates, &state.state),
        Hook::PostReceive { state, wait } => after(&repository, &updates, &state.state, Duration::from_secs(*wait)),
    }
}

fn before(repository: &Path, updates: &[RefUpdate], state: &Path) -> Result<Exit, Failure> {
    let repo = Repo::open_for_hook(repository).map_err(explain_repo)?;
    let followed = repo.followed().map_err(explain_repo)?;
    let mut exit = Exit::Done;
    for update in updates {
        match weigh(update, &followed) {
            Concern::Pass(note) => output::note(note),
            Concern::Refuse(why) => {
                output::note(format!("refused: {why}"));
                exit = Exit::Error;
            }
            Concern::Check(update, commit) => {
                if check(&repo, &update, &commit, state)? == Exit::Error {
                    exit = Exit::Error;
                }
            }
        }
    }
    Ok(exit)
}

/// Checks a commit that is to be on the followed branch.
fn check(repo: &Repo, update: &RefUpdate, commit: &CommitId, state: &Path) -> Result<Exit, Failure> {
    let applied = repo.applied().map_err(explain_repo)?;
    for (older, what) in [(&update.old, "the commit there"), (&applied, "the commit applied last")] {
        if repo.ancestry(commit, older.as_ref()).map_err(explain_repo)? == Ancestry::Diverged {
            output::note(format!("refused: {} does not descend from {what}: pull first; to go back, git revert", commit.short()));
            return Ok(Exit::Error);
        }
    }
    let subject = repo.resolve(commit.as_str()).map_err(explain_repo)?.subject;
    let revision = Revision { id: commit.to_string(), subject };
    let Checked { site, findings } = crate::site::load(&repo.tree(commit).map_err(explain_repo)?);
    findings.iter().for_each(output::note);
    let Some(site) = site else {
        output::note(format!("refused: {}; the café stays as it is", count(&findings)));
        return Ok(Exit::Error);
    };
    let system = System::real();
    let errand = Errand { system: &system, state, site: &site, revision: &revision, targets: &Targets::default() };
    match errand.propose() {
        Ok(proposal) => output::data(&render_text(&proposal.plan))?,
        Err(ConvergeError::NotRoot) => {
            output::note("no findings; the plan is not shown: only root can look at volumes and targets")
        }
        Err(ConvergeError::Findings(findings)) => {
            findings.iter().for_each(output::note);
            output::note(format!("refused: {}; the café stays as it is", count(&findings)));
            return Ok(Exit::Error);
        }
        Err(error) => return Err(explain(error)),
    }
    Ok(Exit::Done)
}

fn after(repository: &Path, updates: &[RefUpdate], state: &Path, patience: Duration) -> Result<Exit, Failure> {
    let followed = Repo::open(repository).and_then(|repo| repo.followed()).map_err(explain_repo)?;
    let pushed = updates.iter().find_map(|update| match weigh(update, &followed) {
        Concern::Check(_, commit) => Some(commit),
        Concern::Pass(_) | Concern::Refuse(_) => None,
    });
    let Some(commit) = pushed else { return Ok(Exit::Done) };
    if presence::look(state)? == Presence::Gone {
        output::note("no agent runs here, so nothing is applied yet: systemctl start barista-agent");
        return Ok(Exit::Partial);
    }
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if let Some(exit) = result(state, &commit)? {
            return Ok(exit);
        }
        thread::sleep(BETWEEN_LOOKS);
    }
    output::note(format!("{} is still being applied; barista status tells how it goes", commit.short()));
    Ok(Exit::Partial)
}

/// Tells what came of a commit, if the status document knows.
fn result(state: &Path, commit: &CommitId) -> Result<Option<Exit>, Failure> {
    let status = Status::read(state)?;
    let Some(last) = status.last.filter(|last| last.revision.id == commit.as_str()) else { return Ok(None) };
    if last.result == AttemptResult::Running {
        return Ok(None);
    }
    output::note(render_attempt(&last));
    details(&last).iter().for_each(output::note);
    for held in &status.held {
        output::note(format!("held: {}: {}", on_one_line(&held.subject), held.reason));
    }
    let applied = matches!(last.result, AttemptResult::Applied { .. });
    Ok(Some(if applied && status.held.is_empty() { Exit::Done } else { Exit::Partial }))
}
