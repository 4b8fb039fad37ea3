//! `barista hook`: what git runs in the café's repository at a push.
//!
//! **Invariant:** a commit with findings never gets onto the followed branch, and nothing is applied here: the agent does that.
#![expect(clippy::disallowed_methods, reason = "effect room: git's hooks talk through standard input and the environment")]

use super::{
    agent::THIS_PROGRAM,
    arguments::StateArgument,
    failure::{Exit, Failure, count, print_wrong},
    output,
    plan::explain,
    source::{Source, explain as explain_repo},
    status::{details, render_attempt},
};
use crate::agent::{
    applied,
    converge::{ConvergeError, Observer, Reconciliation, on_one_line},
    instance_lock::{self, InstanceState},
    reader::{Depth, Reader},
    status::{Attempt, AttemptResult, Status, WaitingFor},
};
use crate::deploy::{
    Branch, CommitId,
    hook::{Concern, Deletions, RefUpdate, crowds, fills, kept_out, misshown, parse_updates, undeletable, weigh},
    left_locks,
    patience::{FOR_REFERENCES, within},
    repo::Repo,
    select::{Ancestry, History},
};
use crate::diagnostic::Diagnostic;
use crate::host::{System, Trial, confine, judge_paths};
use crate::plan::{Revision, Targets, render_text};
use crate::site::Checked;
use std::{
    collections::BTreeMap,
    env,
    io::{self, IsTerminal as _, Read as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How often the status document is looked at while somebody waits for it.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// After this a repository that the agent says it cannot read is no passing trouble: it looks at it every five seconds.
const UNREADABLE_FOR: Duration = Duration::from_secs(15);

/// Arguments of `hook`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    hook: Hook,
}

#[derive(Debug, clap::Subcommand)]
enum Hook {
    /// Check what is pushed, show the plan, refuse findings
    PreReceive {
        #[command(flatten)]
        state: StateArgument,
    },
    /// Follow how the agent applies what was pushed
    PostReceive {
        #[command(flatten)]
        state: StateArgument,
        /// How many seconds to wait for it
        #[arg(long, value_name = "SECONDS", default_value_t = 120)]
        wait: u64,
    },
    /// Look at the followed branch with little memory and time, for the agent
    #[command(hide = true)]
    Look {
        #[command(flatten)]
        state: StateArgument,
        /// The repository
        #[arg(long, value_name = "GITDIR")]
        repo: PathBuf,
        /// The commit applied last
        #[arg(long, value_name = "COMMIT")]
        applied: Option<CommitId>,
        /// The commit that somebody accepted
        #[arg(long, value_name = "COMMIT")]
        accepted: Option<CommitId>,
        /// Read every file of the branch's commit too
        #[arg(long)]
        files: bool,
    },
}

/// Runs a hook.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.hook {
        Hook::PreReceive { state } => {
            let (repository, updates) = pushed()?;
            before(&repository, &updates, &state.state)
        }
        Hook::PostReceive { state, wait } => {
            let (repository, updates) = pushed()?;
            after(&repository, &updates, &state.state, Duration::from_secs(*wait))
        }
        Hook::Look { state, repo, applied, accepted, files } => {
            confine()?;
            let reader = Reader { program: None, repository: repo.clone(), state: state.state.clone() };
            let history = History { applied: applied.clone(), accepted: accepted.clone() };
            let depth = if *files { Depth::Files } else { Depth::References };
            output::data(&(reader.answer(&history, depth) + "\n"))?;
            Ok(Exit::Done)
        }
    }
}

/// The repository in which git runs a hook, and what is pushed to it.
fn pushed() -> Result<(PathBuf, Vec<RefUpdate>), Failure> {
    // Git runs hooks in the repository and calls it ".", which is another directory to whoever reads what is said of it.
    let repository = env::var_os("GIT_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let repository = repository.canonicalize().unwrap_or(repository);
    if io::stdin().is_terminal() {
        let error = anyhow::anyhow!("git runs this in a repository while somebody pushes, and says what is pushed");
        return Err(Failure::hinted(error, "to try a commit before it is pushed: barista check, and barista plan"));
    }
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    Ok((repository, parse_updates(&text)?))
}

/// What is to be known of a push before it is weighed, and of each commit that is to be on the followed branch.
struct Pushed {
    followed: Branch,
    commits: BTreeMap<CommitId, Standing>,
    /// Why it is refused as a whole: the references that it makes, or its size.
    refused: Option<String>,
    /// Whether git will delete the branches that it deletes.
    deletions: Deletions,
    /// What is to be said of the repository beside.
    note: Option<String>,
}

/// A pushed commit in its repository.
struct Standing {
    /// Against where the branch is.
    of_branch: Ancestry,
    /// Against what this host has applied.
    of_host: Ancestry,
    /// What the host has applied last, where the branch is empty: there is nothing to pull and nothing to revert.
    begun_anew: Option<CommitId>,
    /// Why git cannot have the branch at it.
    kept_out: Option<String>,
    /// The first line of its message.
    subject: String,
}

/// Reads what a push wants, for no longer than somebody who pushes waits.
fn read(repository: &Path, updates: &[RefUpdate], state: &Path) -> Result<Pushed, Failure> {
    // A record that cannot be read refuses nothing, where the copy beside it does not say either: the agent looks for itself.
    let (history, damaged) = applied::recall(state);
    if let Some(why) = damaged {
        output::note(format!("warning: the record of what was applied here does not read: {why}"));
    }
    let (path, updates) = (repository.to_owned(), updates.to_vec());
    let read = within(repository, FOR_REFERENCES, move || {
        let repo = Repo::open_for_hook(&path)?;
        let followed = repo.followed()?;
        let mut commits = BTreeMap::new();
        for update in &updates {
            let Concern::Check(update, commit) = weigh(update, &followed) else { continue };
            let of_branch = repo.ancestry(&commit, update.old.as_ref())?;
            let of_host = repo.ancestry_in(&commit, &history)?;
            let subject = repo.resolve(commit.as_str())?.subject;
            let begun_anew = history.applied.clone().filter(|_| update.old.is_none());
            let in_the_way = if update.old.is_none() { repo.in_the_way_of(&followed)? } else { Vec::new() };
            let kept_out = kept_out(&in_the_way, &followed, &path);
            commits.insert(commit, Standing { of_branch, of_host, begun_anew, kept_out, subject });
        }
        let is_made = updates.iter().any(|update| update.old.is_none() && update.new.is_some());
        let crowds = if is_made { crowds(&updates, &followed, repo.count_references()?, &path) } else { None };
        let refused = crowds.or_else(|| fills(&updates, &followed, repo.bytes_of_objects(), &path));
        let note = misshown(&repo.replacements()?, &path);
        Ok(Pushed { followed, commits, refused, deletions: repo.deletions(), note })
    });
    read.map_err(explain_repo)
}

fn before(repository: &Path, updates: &[RefUpdate], state: &Path) -> Result<Exit, Failure> {
    let Pushed { followed, commits, refused, deletions, note } = read(repository, updates, state)?;
    if let Some(booted) = left_locks::Booted::look(System::real().kernel.boottime()) {
        for lock in left_locks::remove(repository, updates, booted) {
            output::note(format!("removed {}, which a power cut left", lock.display()));
        }
    }
    note.into_iter().for_each(output::note);
    if let Some(why) = refused {
        output::note(format!("refused: {why}"));
        return Ok(Exit::Error);
    }
    let mut exit = Exit::Done;
    for update in updates {
        if let (Concern::Pass(_), Some(why)) = (weigh(update, &followed), undeletable(update, deletions, repository)) {
            output::note(format!("refused: {why}"));
            exit = Exit::Error;
            continue;
        }
        match weigh(update, &followed) {
            Concern::Pass(note) => output::note(note),
            Concern::Refuse(why) => {
                output::note(format!("refused: {why}"));
                exit = Exit::Error;
            }
            Concern::Check(_, commit) => {
                let standing = commits.get(&commit).expect("each commit to check was read");
                if check(repository, &commit, standing, state)? == Exit::Error {
                    exit = Exit::Error;
                }
            }
        }
    }
    Ok(exit)
}

/// Checks a commit that is to be on the followed branch.
fn check(repository: &Path, commit: &CommitId, standing: &Standing, state: &Path) -> Result<Exit, Failure> {
    for (ancestry, what) in [(standing.of_branch, "the commit there"), (standing.of_host, "the commit applied last")] {
        if ancestry == Ancestry::Diverged {
            let short = commit.short();
            output::note(match &standing.begun_anew {
                Some(last) => format!(
                    "refused: this host was last at {}, which {short} does not descend from, and the branch is empty: where the \
                     repository was begun anew, say so on the server and push again: barista init --accept-history {}",
                    last.short(),
                    repository.display()
                ),
                None => format!("refused: {short} does not descend from {what}: pull first; to go back, git revert"),
            });
            return Ok(Exit::Error);
        }
    }
    if let Some(why) = &standing.kept_out {
        output::note(format!("refused: {why}"));
        return Ok(Exit::Error);
    }
    let revision = Revision { id: commit.to_string(), subject: standing.subject.clone() };
    if let Err(finding) = (Trial { program: Path::new(THIS_PROGRAM), repository, revision: commit.as_str(), state }).run() {
        return Ok(refuse(&[*finding]));
    }
    let text = Source::Commit { repo: repository.to_owned(), revision: commit.to_string() }.read_pushed()?;
    let checked = crate::site::load(&text.tree);
    let Checked { site, findings, .. } = judge_paths(checked, state);
    let Some(site) = site else { return Ok(refuse(&findings)) };
    print_wrong(&findings);
    let system = System::real();
    let reconciliation = Reconciliation {
        system: &system,
        state,
        site: &site,
        revision: &revision,
        targets: &Targets::default(),
        observer: Observer::Visitor,
        forced: &std::collections::BTreeSet::new(),
        is_awaited: false,
    };
    match reconciliation.propose() {
        Ok(proposal) => output::data(&render_text(&proposal.plan))?,
        Err(ConvergeError::NotRoot) => {
            output::note("no findings; the plan is not shown: only root can look at volumes and targets")
        }
        Err(ConvergeError::Findings(findings) | ConvergeError::Unsafe(findings)) => {
            return Ok(refuse(&findings));
        }
        Err(error) => return Err(explain(error)),
    }
    Ok(Exit::Done)
}

/// Tells a pusher what is wrong.
fn refuse(findings: &[Diagnostic]) -> Exit {
    print_wrong(findings);
    output::note(format!("refused: {}; the café stays as it is", count(findings)));
    Exit::Error
}

fn after(repository: &Path, updates: &[RefUpdate], state: &Path, patience: Duration) -> Result<Exit, Failure> {
    let path = repository.to_owned();
    let followed = within(repository, FOR_REFERENCES, move || Repo::open(&path)?.followed()).map_err(explain_repo)?;
    let pushed = updates.iter().find_map(|update| match weigh(update, &followed) {
        Concern::Check(_, commit) => Some(commit),
        Concern::Pass(_) | Concern::Refuse(_) => None,
    });
    let Some(commit) = pushed else { return Ok(Exit::Done) };
    if instance_lock::look(state)? == InstanceState::Gone {
        output::note("no agent runs here, so nothing is applied yet: systemctl start barista-agent");
        return Ok(Exit::Partial);
    }
    let agent = instance_lock::identity(state)?;
    let begun = Instant::now();
    let deadline = begun + patience;
    loop {
        // The agent first: what it said before it stopped counts.
        let presence = match instance_lock::look(state)? {
            InstanceState::Running if instance_lock::identity(state)? == agent => AgentSeen::Same,
            InstanceState::Running => AgentSeen::Another,
            InstanceState::Gone => AgentSeen::Gone,
        };
        let (path, branch) = (repository.to_owned(), followed.clone());
        let head = within(repository, FOR_REFERENCES, move || Repo::open(&path)?.commit_of(&branch)).ok().flatten();
        let status = Status::read(state)?;
        match follow(&commit, &status, head.as_ref(), presence, begun.elapsed()) {
            Following::Ended(last) => return Ok(tell(&last, &status)),
            Following::Lost(why) => {
                output::note(why);
                return Ok(Exit::Partial);
            }
            Following::GoesOn(how) if Instant::now() >= deadline => {
                output::note(format!("{} {how}; barista status tells how it goes", commit.short()));
                return Ok(Exit::Partial);
            }
            Following::GoesOn(_) => thread::sleep(BETWEEN_LOOKS),
        }
    }
}

/// The agent, as whoever waits for it finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AgentSeen {
    /// The one that ran when the wait began.
    Same,
    /// Another process.
    Another,
    /// None.
    Gone,
}

/// How it stands with a pushed commit.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Following {
    /// This came of it.
    Ended(Attempt),
    /// Nothing that could be waited for will come of it, and why.
    Lost(String),
    /// It goes on, and how.
    GoesOn(&'static str),
}

/// Decides whether there is anything left to wait for.
fn follow(commit: &CommitId, status: &Status, head: Option<&CommitId>, agent: AgentSeen, waited: Duration) -> Following {
    let last = status.last.as_ref().filter(|last| last.revision.id == commit.as_str());
    let is_running = last.is_some_and(|last| last.result == AttemptResult::Running);
    let is_open = |last: &Attempt| is_running || matches!(last.result, AttemptResult::Waiting | AttemptResult::Interrupted);
    if let Some(ended) = last.filter(|last| !is_open(last)) {
        return Following::Ended(ended.clone());
    }
    let short = commit.short();
    match (agent, head) {
        (AgentSeen::Gone, _) => Following::Lost(format!(
            "the agent has stopped before {short} was applied: systemctl start barista-agent; it goes on when it starts"
        )),
        (AgentSeen::Another, _) => {
            Following::Lost(format!("another agent has taken over before {short} was applied; barista status tells how it goes"))
        }
        // An attempt that has begun is carried to its end.
        (AgentSeen::Same, _) if is_running => Following::GoesOn("is still being applied"),
        (AgentSeen::Same, Some(head)) if head != commit => Following::Lost(format!(
            "{short} is superseded: the branch is at {} by now, and that is what is applied; barista status tells how it goes",
            head.short()
        )),
        (AgentSeen::Same, _) => match (&status.waiting, &status.waiting_for) {
            (Some(why), Some(WaitingFor::Head(of))) if of == commit.as_str() => {
                Following::Lost(format!("{short} is not applied: {why}"))
            }
            (Some(why), Some(WaitingFor::Repository)) if waited >= UNREADABLE_FOR => {
                Following::Lost(format!("{short} is not applied: {why}; barista status tells how it goes"))
            }
            _ => Following::GoesOn("waits for the agent, which is at other work"),
        },
    }
}

/// Tells what came of a commit.
fn tell(last: &Attempt, status: &Status) -> Exit {
    output::note(render_attempt(last));
    details(last).iter().for_each(output::note);
    for held in &status.held {
        output::note(format!("held: {}: {}", on_one_line(&held.subject), held.reason));
    }
    let applied = matches!(last.result, AttemptResult::Applied { .. });
    if applied && status.held.is_empty() { Exit::Done } else { Exit::Partial }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::status::{Agent, VERSION};
    use jiff::Timestamp;

    fn commit(digit: char) -> CommitId {
        digit.to_string().repeat(40).parse().expect("hex")
    }

    fn attempt(digit: char, result: AttemptResult) -> Attempt {
        let revision = Revision { id: commit(digit).to_string(), subject: String::new() };
        Attempt { revision, began: Timestamp::UNIX_EPOCH, ended: None, result }
    }

    fn status(last: Option<Attempt>) -> Status {
        let at = Timestamp::UNIX_EPOCH;
        Status {
            version: VERSION,
            at,
            agent: Agent { pid: 1, version: String::new(), since: at },
            repository: String::new(),
            branch: None,
            serving: None,
            last,
            waiting: None,
            waiting_for: None,
            held: Vec::new(),
            troubles: Vec::new(),
        }
    }

    #[test]
    fn whoever_waits_is_told_as_soon_as_there_is_nothing_to_wait_for() {
        use AgentSeen::{Another, Gone, Same};
        let (a, b) = (commit('a'), commit('b'));
        let lost = |last: Option<Attempt>, head: &CommitId, agent, why: &str| match follow(
            &a,
            &status(last),
            Some(head),
            agent,
            Duration::ZERO,
        ) {
            Following::Lost(told) => assert!(told.contains(why), "{told}"),
            other => panic!("{other:?} where {why:?} was expected"),
        };
        let running = || Some(attempt('a', AttemptResult::Running));
        let of_other = || Some(attempt('b', AttemptResult::Applied { done: 1 }));
        lost(None, &a, Gone, "has stopped");
        lost(running(), &a, Gone, "has stopped");
        lost(running(), &a, Another, "another agent");
        lost(Some(attempt('a', AttemptResult::Interrupted)), &a, Another, "another agent");
        lost(None, &b, Same, "is superseded: the branch is at bbbbbbb");
        lost(of_other(), &b, Same, "is superseded");
        lost(Some(attempt('a', AttemptResult::Waiting)), &b, Same, "is superseded");

        let goes_on = |last, head| follow(&a, &status(last), Some(head), Same, Duration::from_secs(99));
        assert_eq!(goes_on(running(), &b), Following::GoesOn("is still being applied"), "what has begun is carried to its end");
        assert_eq!(goes_on(of_other(), &a), Following::GoesOn("waits for the agent, which is at other work"));

        for result in [AttemptResult::Applied { done: 1 }, AttemptResult::Unreadable { why: String::new() }] {
            let ended = attempt('a', result);
            for agent in [Same, Another, Gone] {
                let followed = follow(&a, &status(Some(ended.clone())), Some(&b), agent, Duration::ZERO);
                assert_eq!(followed, Following::Ended(ended.clone()));
            }
        }
    }

    #[test]
    fn whoever_waits_is_told_why_the_agent_keeps_a_commit_off() {
        let a = commit('a');
        let said = |waiting_for, waited| {
            let status = Status { waiting: Some("it is odd".to_owned()), waiting_for: Some(waiting_for), ..status(None) };
            follow(&a, &status, Some(&a), AgentSeen::Same, waited)
        };
        let lost = |following| matches!(following, Following::Lost(why) if why.contains("aaaaaaa is not applied: it is odd"));
        let (at_once, later) = (Duration::ZERO, UNREADABLE_FOR);
        assert!(lost(said(WaitingFor::Head(a.to_string()), at_once)));
        assert!(!lost(said(WaitingFor::Head(commit('b').to_string()), later)), "that is an earlier push");
        assert!(!lost(said(WaitingFor::Repository, at_once)), "the agent is about to look again");
        assert!(lost(said(WaitingFor::Repository, later)));
        assert!(!lost(said(WaitingFor::Commit, later)), "by now the branch has one");
    }
}
