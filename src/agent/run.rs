//! The agent's loop: looks at the branch, asks [`step`](super::step) what to do, does it, has `told` write down what came of it.
//!
//! **Invariant:** ends only when it is told to, or when it cannot begin; everything else is a status and another look.
#![expect(clippy::disallowed_methods, reason = "effect room: the agent's clock")]

use super::{
    assign::Assigner,
    attempt::{Ended, Means, Standing, attempt, goes_on},
    converge::{Knowledge, Observer},
    instance_lock,
    last_good::SiteText,
    memory::{Memory, Recorded},
    notify,
    occupancy::OccupancyMemory,
    reader::{Depth, Looked, Reader},
    renew_socket,
    repository::{Record, examine, examine_records, unwritable},
    status::{Attempt, AttemptResult},
    step::{Action, LeftAt, Outcome, State, Why},
    told::{About, Told},
    wakeup::{Wakeup, Woken},
    watch::Watch,
};
use crate::deploy::{
    CommitId,
    patience::{FOR_REFERENCES, within},
    repo::{Repo, RepoError},
    select::Head,
};
use crate::diagnostic::{Diagnostic, Severity};
use crate::host::settings::SettingsError;
use crate::host::{
    Allows, Fills, FollowedSettings, RunDir, Running, System, Trial, examine_space, left_suspended, suspended_trouble,
    while_waiting,
};
use crate::names::Mono;
use crate::observed::Seen;
use crate::plan::Revision;
use crate::site::HostPathKey;
use jiff::Timestamp;
use std::{io, path::PathBuf, rc::Rc, sync::Arc, time::Duration};

/// How often the watch is armed anew: one on a directory that was replaced stays silent for ever.
const REARM: Duration = Duration::from_secs(30);

/// How often the repository is read whole to see whether it is sound.
const BETWEEN_EXAMINATIONS: Duration = Duration::from_secs(20);

/// What the agent works with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The repository it follows.
    pub repo: PathBuf,
    /// The state directory.
    pub state: PathBuf,
    /// Where `serve` asks for disks.
    pub run: PathBuf,
    /// Where the host's locks lie.
    pub run_dir: RunDir,
    /// This program, which looks at the repository and reads each new commit once in a process of its own; none reads it here at once.
    pub program: Option<PathBuf>,
}

/// Why the agent cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// There is no repository to follow.
    #[error(transparent)]
    Repository(#[from] RepoError),
    /// Another agent runs, or the state directory cannot be used.
    #[error(transparent)]
    InstanceState(#[from] instance_lock::InstanceLockError),
}

/// Follows the repository until the wakeup says stop.
pub fn run(options: &Options, system: &System, wakeup: &Wakeup) -> Result<(), AgentError> {
    let _present = instance_lock::claim(&options.state, &*system.kernel)?;
    // A program has a deadline of its own: as long as it runs within that, whoever waits for it is no loop that hangs.
    let waits = wakeup.clone();
    let _told = while_waiting(move || goes_on(&waits));
    let mut agent = Loop::new(options, system, wakeup.clone());
    if !agent.memory.has_text() {
        // Nothing was ever applied here, so there is nothing to go on with.
        let path = options.repo.clone();
        within(&options.repo, FOR_REFERENCES, move || Repo::open(&path).map(drop))?;
    }
    if let Err(error) = renew_socket::listen(&options.run, &options.state.join("serve"), Arc::clone(&agent.knowledge.assigner)) {
        tracing::error!(%error, "no booting machine can be given a disk: {} cannot be opened", options.run.display());
    }
    agent.told.publish();
    notify::ready("looking");
    let now = || Mono::from(system.kernel.boottime());
    let mut armed = now();
    let mut watch = Watch::arm(&options.repo, wakeup);
    while wakeup.wait(Duration::ZERO) != Woken::ToStop {
        notify::alive();
        if now().since(armed) > REARM {
            watch = Watch::arm(&options.repo, wakeup);
            armed = now();
        }
        let head = agent.look();
        if wakeup.take_look_at_host() {
            agent.state.look_soon(now());
            agent.is_awaited = true;
        }
        match agent.state.next(&head, now()) {
            Action::Attempt(commit, why) => agent.attempt(&commit, why, wakeup),
            Action::Rest(until, keep) => {
                agent.told.rest(keep);
                if wakeup.wait(until.since(now())) == Woken::ToStop {
                    break;
                }
            }
        }
    }
    drop(watch);
    notify::stopping();
    tracing::info!("stopped");
    Ok(())
}

/// Whether the followed branch could be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Fine,
    Broken,
}

/// The agent between two steps.
struct Loop<'a> {
    options: &'a Options,
    system: &'a System,
    state: State,
    memory: Memory<'a>,
    reader: Reader,
    /// When the repository is examined again, and what the last look at its branch was.
    examine: Mono,
    reading: Reading,
    /// What root allows on this host, and the file that says so.
    allows: Allows,
    settings: FollowedSettings,
    told: Told,
    /// Whether somebody waits for the next look at the host.
    is_awaited: bool,
    knowledge: Rc<Knowledge>,
}

impl<'a> Loop<'a> {
    fn new(options: &'a Options, system: &'a System, wakeup: Wakeup) -> Self {
        let mut settings = FollowedSettings::default();
        let assigner = Arc::new(Assigner::new(system.clone(), options.state.clone(), options.run_dir.clone(), wakeup.clone()));
        let fills = Fills::Background { running: Running::default(), then: Arc::new(move || wakeup.look_at_host()) };
        let occupancy = OccupancyMemory::new(&system.kernel.boot_id());
        let memory = Memory::new(&options.repo, &options.state);
        let (program, repository, state) = (options.program.clone(), options.repo.clone(), options.state.clone());
        let reader = Reader { program, repository, state };
        Self {
            options,
            system,
            state: State::new(memory.history().applied.clone(), memory.left().clone()),
            memory,
            reader,
            examine: Mono::BOOT,
            reading: Reading::Fine,
            allows: settings.look(&options.state),
            settings,
            told: Told::new(&options.repo, &options.state),
            is_awaited: false,
            knowledge: Rc::new(Knowledge::new(occupancy, fills, assigner)),
        }
    }

    /// Looks at the branch.
    fn look(&mut self) -> Head {
        self.memory.take_in_record();
        let allows = self.settings.look(&self.options.state);
        // What serve cannot write, it can tell nobody but its log: the leases lie below the state directory.
        self.told.trouble(About::Space, examine_space([&*self.options.state, &self.options.state.join("serve")]));
        self.told.trouble(About::Hardware, self.knowledge.assigner.hardware_trouble().into_iter().collect());
        self.told.trouble(About::HostFile, self.settings.doubt().map(doubted).into_iter().collect());
        if allows != self.allows {
            self.allows = allows;
            self.state.forget_refusals();
        }
        self.state.last_good.clone_from(&self.memory.history().applied);
        if self.state.brought_to.is_none() {
            self.state.left_at.clone_from(self.memory.left());
        }
        let now = Mono::from(self.system.kernel.boottime());
        let looked = self.reader.look(self.memory.history(), Depth::References).map(|Looked { branch, head }| {
            self.told.status.branch = Some(branch.to_string());
            head
        });
        let reading = if looked.is_ok() { Reading::Fine } else { Reading::Broken };
        // Damage, and its mend, show themselves at once.
        if self.examine <= now || reading != self.reading {
            (self.examine, self.reading) = (now + BETWEEN_EXAMINATIONS, reading);
            self.examine_repository(looked.as_ref().err().map(|trouble| &**trouble));
        }
        looked.unwrap_or_else(|trouble| Head::Unreadable(trouble.message))
    }

    fn examine_repository(&mut self, trouble: Option<&Diagnostic>) {
        let mut troubles = examine(&self.reader);
        let records = examine_records(&self.options.state);
        // The branch is compared with commits further back than the examination reads.
        if troubles.is_empty() {
            troubles.extend(trouble.cloned());
        }
        troubles.extend(records);
        self.told.trouble(About::Sound, troubles);
        // At the first look too: what an agent left that was killed keeps every seat waiting.
        if let Seen::Present(devices) = left_suspended(self.system, None) {
            self.told.trouble(About::Suspended, vec![suspended_trouble(&devices)]);
        } else {
            self.told.trouble(About::Suspended, Vec::new());
        }
        self.memory.look_what_is_kept();
    }

    fn attempt(&mut self, commit: &CommitId, why: Why, wakeup: &Wakeup) {
        let began = Timestamp::now();
        if let Err(finding) = self.try_out(commit) {
            let revision = Revision { id: commit.to_string(), subject: String::new() };
            let running = Attempt { revision, began, ended: None, result: AttemptResult::Running };
            return self.end(commit, why, running, Ended::Refused(vec![*finding]));
        }
        let read = self.memory.read(commit);
        let unread = || Revision { id: commit.to_string(), subject: String::new() };
        let revision = read.as_ref().map_or_else(|_| unread(), |text| text.revision());
        let running = Attempt { revision: revision.clone(), began, ended: None, result: AttemptResult::Running };
        // Of one that came to nothing before, it is told that it is being applied once something is done.
        let is_again = self.told.status.last.as_ref().is_some_and(|last| {
            let is_open =
                matches!(last.result, AttemptResult::Waiting | AttemptResult::Refused { .. } | AttemptResult::Failed { .. });
            is_open && last.revision == revision
        });
        if why != Why::Look && read.is_ok() && !is_again {
            self.told.begin(why, &running);
        }
        let ended = match read {
            Err(why) => Ended::Unreadable(why),
            Ok(text) => {
                let Options { state, run_dir, .. } = self.options;
                let knowledge = Rc::clone(&self.knowledge);
                let observer = Observer::Agent(&knowledge);
                let is_awaited = std::mem::take(&mut self.is_awaited) && why == Why::Look;
                let standing = self.standing(commit);
                let allows = self.allows.clone();
                let allows = &allows;
                let means = Means { system: self.system, state, run_dir, wakeup, observer, allows, standing, is_awaited };
                let (ended, forgone) = attempt(&text.tree, &revision, &means, &mut || {
                    self.bring_to(&text)?;
                    if is_again && why != Why::Look {
                        self.told.begin(why, &running);
                    }
                    Ok(())
                });
                let ended = match ended {
                    Ended::Refused(_) | Ended::Postponed(_) | Ended::Unrecorded(_) | Ended::Locked => ended,
                    ended => match self.bring_to(&text) {
                        Ok(()) => {
                            self.tell_of_site(forgone);
                            ended
                        }
                        Err(why) => Ended::Unrecorded(why),
                    },
                };
                self.knowledge.occupancy.publish(&self.options.state);
                ended
            }
        };
        self.end(commit, why, running, ended);
    }

    /// Tells what the site that the host was brought to goes on without. A file of secrets that root has withdrawn is told of as that.
    fn tell_of_site(&mut self, forgone: Vec<Diagnostic>) {
        let is_withdrawn = forgone.iter().any(|path| path.place.file == HostPathKey::ChapSecrets.to_string());
        let trouble = self.knowledge.assigner.secrets_trouble().filter(|_| !is_withdrawn);
        self.told.trouble(About::Secrets, trouble.into_iter().collect());
        self.told.trouble(About::Forgone, forgone);
    }

    fn standing(&self, commit: &CommitId) -> Standing {
        let is_left = matches!(self.memory.left(), LeftAt::Commit(left) if left == commit);
        let is_applied = self.memory.history().applied.as_ref() == Some(commit);
        if is_left || is_applied { Standing::Before } else { Standing::New }
    }

    /// Keeps the text of a commit of which something is about to be done; why that cannot be, where a start would lead to another.
    fn bring_to(&mut self, text: &Rc<SiteText>) -> Result<(), String> {
        let written = self.memory.bring_to(Rc::clone(text));
        match self.take_in_write(Record::Begun, &written) {
            Some(trouble) if !self.memory.is_at(&text.commit.id) => Err(format!("nothing of it is done: {trouble}")),
            _ => Ok(()),
        }
    }

    /// Keeps among the troubles that a record cannot be written, for as long as that is so.
    fn take_in_write<T>(&mut self, record: Record, written: &io::Result<T>) -> Option<String> {
        let trouble = written.as_ref().err().map(|error| unwritable(&self.options.state, record, error));
        let message = trouble.as_ref().map(|trouble| trouble.message.clone());
        self.told.trouble(About::Unwritten(record), trouble.into_iter().collect());
        message
    }

    /// Records a commit that the host matches; one that cannot be recorded has failed, and is looked at again.
    fn record(&mut self, commit: &CommitId, running: &Attempt, ended: Ended) -> Ended {
        let Ended::Matches { done, after } = ended else { return ended };
        let recorded = self.memory.record(commit);
        if matches!(recorded, Ok(Recorded::Anew)) {
            self.examine = Mono::BOOT;
        }
        self.told.serve(&running.revision);
        match self.take_in_write(Record::Applied, &recorded) {
            None => Ended::Matches { done, after },
            Some(trouble) => {
                let failures = vec![format!("the host matches it, and that cannot be recorded: {trouble}")];
                Ended::Failed { done, failures, after: Some(after) }
            }
        }
    }

    fn end(&mut self, commit: &CommitId, why: Why, running: Attempt, ended: Ended) {
        let ended = self.record(commit, &running, ended);
        let now = Mono::from(self.system.kernel.boottime());
        self.state = std::mem::take(&mut self.state).record(commit, outcome(&ended), now);
        if matches!(ended, Ended::Unreadable(_)) {
            self.examine = Mono::BOOT;
        }
        self.told.take_in(commit, why, running, ended);
        self.told.publish();
    }

    /// Has a commit that is not known yet read by another process first.
    fn try_out(&mut self, commit: &CommitId) -> Result<(), Box<Diagnostic>> {
        let Options { repo, state, program: Some(program), .. } = self.options else { return Ok(()) };
        if self.memory.knows(commit) {
            return Ok(());
        }
        notify::alive();
        Trial { program, repository: repo, revision: commit.as_str(), state }.run()
    }
}

/// What is wrong with the file of what root allows, while what it said before counts.
fn doubted(doubt: &SettingsError) -> Diagnostic {
    let path = doubt.path.display();
    let hint = format!("write the whole file beside it, and rename it: mv {path}.new {path}");
    let what = format!("{doubt}: what it said before counts");
    Diagnostic::whole(Severity::Warning, "host-file-unreadable", path.to_string(), what, hint)
}

fn outcome(ended: &Ended) -> Outcome {
    match ended {
        Ended::Matches { .. } => Outcome::Good,
        Ended::Refused(_) => Outcome::Refused,
        Ended::Postponed(_) | Ended::Unrecorded(_) => Outcome::Postponed,
        Ended::Failed { .. } | Ended::Unfinished { .. } => Outcome::Failed,
        Ended::Unreadable(_) => Outcome::Unreadable,
        Ended::Locked => Outcome::Locked,
    }
}
