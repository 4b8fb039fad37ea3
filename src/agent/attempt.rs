//! One attempt at a commit whose text has been read: check, plan, apply, prove.
//!
//! **Invariant:** whatever goes wrong comes back as a value: an attempt never ends the agent. Nothing is done of a commit of which it
//! cannot be written down that it is begun.

use super::converge::{ConvergeError, Observer, Reconciliation, done, lock_within, mishaps, on_one_line};
use super::{notify, wakeup::Wakeup};
use crate::diagnostic::{Diagnostic, Severity};
use crate::host::{Allows, Progress, RunDir, System, chain, forgo_paths, judge_paths_by};
use crate::plan::{ChangeId, Hold, Outcome, Plan, Revision, Targets};
use crate::site::{Site, Tree};
use std::{collections::BTreeSet, path::Path, time::Duration};

/// How often a plan is made and carried out in one attempt. The second takes up what was skipped because a seat came into use
/// or free meanwhile; what comes free still later is the next look's.
const ROUNDS: u32 = 2;

/// How long the agent waits for a lock before it does something else.
const PATIENCE: Duration = Duration::from_secs(1);

/// What became of an attempt.
#[derive(Debug)]
pub(super) enum Ended {
    /// The host matches, but for what this plan holds.
    Matches {
        /// How many changes were done.
        done: u32,
        /// What is left.
        after: Box<Plan>,
    },
    /// The commit has findings.
    Refused(Vec<Diagnostic>),
    /// The state of this host is against it, which may be another at the next look; nothing was done.
    Postponed(Vec<Diagnostic>),
    /// It could not be written down that it is begun, and why; nothing was done.
    Unrecorded(String),
    /// Some of it was carried out and failed, or none of it could be.
    Failed {
        /// How many changes were done.
        done: u32,
        /// One sentence for each failure.
        failures: Vec<String>,
        /// What is left, where that is known.
        after: Option<Box<Plan>>,
    },
    /// Nothing failed, and there is more to do: seats came free while others were made.
    Unfinished {
        /// How many changes were done.
        done: u32,
        /// What is still to do, one sentence for each change.
        rest: Vec<String>,
    },
    /// The commit could not be read, and why.
    Unreadable(String),
    /// Somebody else is applying.
    Locked,
}

/// Whether a commit is new to a host. What root allows on it by now judges a new one whole; of another only the paths are left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing of it was ever done here.
    New,
    /// The host was brought to it, or an attempt at that has begun, whatever came of it.
    Before,
}

/// What an attempt is made with.
pub(super) struct Means<'a> {
    /// The host.
    pub system: &'a System,
    /// Its state directory.
    pub state: &'a Path,
    /// Where the host's lock lies.
    pub run_dir: &'a RunDir,
    /// Says when to stop.
    pub wakeup: &'a Wakeup,
    /// Who looks at the host.
    pub observer: Observer<'a>,
    /// What root allows on it.
    pub allows: &'a Allows,
    /// Whether the commit is new to this host.
    pub standing: Standing,
    /// Whether somebody waits for a look at the host.
    pub is_awaited: bool,
}

/// Writes down that the host is about to be changed; why not, where that cannot be written.
pub(super) type Begin<'a> = &'a mut dyn FnMut() -> Result<(), String>;

/// Brings the host to a commit of which this is the text; `begin` is told when the host is this attempt's to change, and may refuse.
/// Beside what became of it, what the site goes on without.
pub(super) fn attempt(tree: &Tree, revision: &Revision, means: &Means<'_>, begin: Begin<'_>) -> (Ended, Vec<Diagnostic>) {
    let checked = crate::site::load(tree);
    let (checked, forgone) = match means.standing {
        Standing::New => (judge_paths_by(checked, means.allows), Vec::new()),
        Standing::Before => forgo_paths(checked, means.allows, means.state),
    };
    let ended = match checked.site {
        None => Ended::Refused(checked.findings),
        Some(site) => bring(&site, revision, means, begin),
    };
    (ended, forgone)
}

fn bring(site: &Site, revision: &Revision, means: &Means<'_>, begin: Begin<'_>) -> Ended {
    let targets = Targets::default();
    let Means { system, state, run_dir, wakeup, observer, allows: _, standing: _, is_awaited } = *means;
    let reconciliation =
        Reconciliation { system, state, site, revision, targets: &targets, observer, forced: &BTreeSet::new(), is_awaited };
    // A look without the lock gets in nobody's way; one with it need not be had twice, where somebody waits.
    let early = if is_awaited { lock_within(run_dir, Duration::ZERO).ok() } else { None };
    let first = match reconciliation.glance() {
        Ok(proposal) => proposal,
        Err(error) => return give_up(error),
    };
    if first.plan.is_converged() {
        return matches(0, first.plan);
    }
    let locked = match early {
        Some(lock) => Ok((lock, first)),
        None => lock_within(run_dir, PATIENCE)
            .map_err(Into::into)
            .and_then(|lock| reconciliation.propose().map(|first| (lock, first))),
    };
    let (lock, mut proposal) = match locked {
        Ok(locked) => locked,
        Err(error) => return give_up(error),
    };
    if let Err(why) = begin() {
        return Ended::Unrecorded(why);
    }
    let mut changed = 0;
    for round in 1.. {
        notify::alive();
        let obstacles = reconciliation.obstacles(&proposal);
        if !obstacles.is_empty() {
            let failures = obstacles.iter().map(Diagnostic::on_one_line).collect();
            return Ended::Failed { done: changed, failures, after: None };
        }
        let applied = reconciliation.carry_out(&proposal, &lock, &mut UntilStopped(wakeup));
        changed += done(&applied.report);
        let (failures, skipped) = mishaps(&applied.report);
        skipped.iter().for_each(|skipped| tracing::debug!("left out: {skipped}"));
        proposal = applied.after;
        if !failures.is_empty() {
            return Ended::Failed { done: changed, failures, after: Some(Box::new(proposal.plan)) };
        }
        if proposal.plan.is_converged() {
            return matches(changed, proposal.plan);
        }
        if round == ROUNDS || wakeup.is_stopping() {
            break;
        }
    }
    let rest = proposal.plan.open().map(|change| format!("{}: is still to do: {}", on_one_line(&change.subject), change.reason));
    Ended::Unfinished { done: changed, rest: rest.collect() }
}

/// Nothing is to be done now. What failed a short while ago has failed all the same.
fn matches(done: u32, after: Plan) -> Ended {
    let paused = after.held().filter(|(_, hold)| matches!(hold, Hold::Backoff { .. }));
    let failures: Vec<String> = paused.map(|(change, hold)| format!("{}: {hold}", on_one_line(&change.subject))).collect();
    let after = Box::new(after);
    if failures.is_empty() { Ended::Matches { done, after } } else { Ended::Failed { done, failures, after: Some(after) } }
}

/// Nobody watches, and an agent that is to stop begins no other step and no other program.
struct UntilStopped<'a>(&'a Wakeup);

impl Progress for UntilStopped<'_> {
    fn begin(&mut self, _: Option<ChangeId>, _: &str) {
        goes_on(self.0);
    }
    fn advance(&mut self, _: u64, _: u64) {
        goes_on(self.0);
    }
    fn end(&mut self, _: &Outcome) {
        goes_on(self.0);
    }
    fn is_told_to_stop(&mut self) -> bool {
        goes_on(self.0);
        self.0.is_stopping()
    }
}

/// Tells systemd that the work goes on, also while it waits for the end of it.
pub(super) fn goes_on(wakeup: &Wakeup) {
    notify::alive();
    if wakeup.is_stopping() {
        notify::still_ends();
    }
}

fn give_up(error: ConvergeError) -> Ended {
    match error {
        ConvergeError::Findings(findings) if findings.iter().any(|f| f.severity == Severity::Error) => Ended::Refused(findings),
        ConvergeError::Unsafe(findings) => Ended::Postponed(findings),
        ConvergeError::Lock(crate::host::LockError::Held { .. }) => Ended::Locked,
        other => failed(&chain(&other)),
    }
}

fn failed(why: &str) -> Ended {
    Ended::Failed { done: 0, failures: vec![why.to_owned()], after: None }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make and remove files")]
mod tests {
    use super::*;
    use crate::host::{Kernel, fake::FakeHost};
    use crate::observed::{DiskIo, Seen};
    use crate::site::Entry;
    use jiff::Timestamp;
    use std::{fs, path::PathBuf, sync::Arc};

    /// A host on which somebody takes the boot table away before each look.
    struct Undone(FakeHost, PathBuf);

    impl Kernel for Undone {
        fn now(&self) -> Timestamp {
            drop(fs::remove_file(&self.1));
            self.0.now()
        }
        fn boottime(&self) -> Duration {
            self.0.boottime()
        }
        fn has_carrier(&self, interface: &str) -> bool {
            self.0.has_carrier(interface)
        }
        fn disk_io(&self, device: (u32, u32)) -> Seen<DiskIo> {
            self.0.disk_io(device)
        }
        fn boot_id(&self) -> String {
            self.0.boot_id()
        }
        fn has_configfs(&self) -> bool {
            self.0.has_configfs()
        }
        fn is_root(&self) -> bool {
            self.0.is_root()
        }
    }

    #[test]
    fn what_is_still_to_do_though_nothing_failed_is_no_failure() {
        let files = [
            ("site.toml", "name = \"cat\"\n[server]\naddress = \"192.168.1.2\"\n"),
            ("network/lan.toml", "interface = \"lan0\"\nmode = \"off\"\nsubnet = \"192.168.1.0/24\"\n"),
            ("images/local.toml", "kind = \"local\"\n"),
            ("machines/a.toml", "[[machine]]\nname = \"pc01\"\nmac = \"88:ae:dd:05:08:01\"\nboot = [\"local\"]\n"),
        ];
        let entries = files.map(|(path, text)| (path.to_owned(), Entry::File(text.as_bytes().to_vec()))).into();
        let root = tempfile::tempdir().expect("a directory");
        let host = FakeHost::new();
        let undone = Undone(host.clone(), root.path().join(crate::boot::table::PATH));
        let system = System { kernel: Arc::new(undone), ..host.system() };
        let (wakeup, mut begun) = (Wakeup::default(), 0);
        let run_dir = RunDir::new(root.path().join("run"));
        let means = Means {
            system: &system,
            state: root.path(),
            run_dir: &run_dir,
            wakeup: &wakeup,
            observer: Observer::Visitor,
            allows: &crate::host::HostSettings::read(Path::new("/nonexistent"), root.path()),
            standing: Standing::New,
            is_awaited: false,
        };
        let revision = Revision { id: "a".repeat(40), subject: String::new() };
        let tree = Tree { entries };
        let why = || Err("no space left".to_owned());
        assert!(matches!(attempt(&tree, &revision, &means, &mut { why }).0, Ended::Unrecorded(why) if why == "no space left"));
        assert!(!root.path().join("boot").exists(), "nothing is done that is not written down");
        let mut begin = || {
            begun += 1;
            Ok(())
        };
        match attempt(&tree, &revision, &means, &mut begin).0 {
            Ended::Unfinished { done, rest } => assert!(done > 0 && rest[0].contains("is still to do"), "{done} {rest:?}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(begun, 1);
    }
}
