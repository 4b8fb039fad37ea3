//! One attempt at a commit: read, check, plan, apply, prove.
//!
//! **Invariant:** whatever goes wrong comes back as a value: an attempt never ends the agent.

use super::converge::{ConvergeError, Errand, done, lock_within, mishaps, on_one_line};
use crate::deploy::{CommitId, repo::Repo};
use crate::host::{Silent, System};
use crate::plan::{Plan, Revision, Targets};
use crate::site::{Finding, Severity, Site};
use std::{path::Path, time::Duration};

/// How often a plan is made and carried out in one attempt. The second takes up what was skipped because a seat came into use
/// or free meanwhile; a third would only help a plan that contradicts itself.
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
    Refused(Vec<Finding>),
    /// It could not be carried out, or not to its end.
    Failed {
        /// How many changes were done.
        done: u32,
        /// One sentence for each failure.
        failures: Vec<String>,
    },
    /// Somebody else is applying.
    Locked,
}

/// Reads the commit's own words; its id stands in for them when they cannot be read.
pub(super) fn revision_of(repository: &Path, commit: &CommitId) -> Revision {
    let found = Repo::open(repository).and_then(|repo| repo.resolve(commit.as_str()));
    Revision { id: commit.to_string(), subject: found.map(|commit| commit.subject).unwrap_or_default() }
}

/// Brings the host to a commit.
pub(super) fn attempt(repository: &Path, commit: &CommitId, revision: &Revision, system: &System, state: &Path) -> Ended {
    let tree = match Repo::open(repository).and_then(|repo| repo.tree(commit)) {
        Ok(tree) => tree,
        Err(error) => return failed(&with_causes(&error)),
    };
    let checked = crate::site::load(&tree);
    match checked.site {
        None => Ended::Refused(checked.findings),
        Some(site) => bring(&site, revision, system, state),
    }
}

fn bring(site: &Site, revision: &Revision, system: &System, state: &Path) -> Ended {
    let targets = Targets::default();
    let errand = Errand { system, state, site, revision, targets: &targets };
    // The first look needs no lock, so that looks do not get in anybody's way.
    let first = match errand.propose() {
        Ok(proposal) => proposal,
        Err(error) => return give_up(error),
    };
    first.remember(state);
    if first.plan.is_converged() {
        return Ended::Matches { done: 0, after: Box::new(first.plan) };
    }
    let lock = match lock_within(state, PATIENCE) {
        Ok(lock) => lock,
        Err(error) => return give_up(error.into()),
    };
    let mut changed = 0;
    let mut after = first.plan;
    for _ in 0..ROUNDS {
        let proposal = match errand.propose() {
            Ok(proposal) => proposal,
            Err(error) => return give_up(error),
        };
        let obstacles = errand.obstacles(&proposal);
        if !obstacles.is_empty() {
            return Ended::Failed { done: changed, failures: obstacles.iter().map(ToString::to_string).collect() };
        }
        let applied = errand.carry_out(&proposal, &lock, &mut Silent);
        changed += done(&applied.report);
        let (failures, skipped) = mishaps(&applied.report);
        skipped.iter().for_each(|skipped| tracing::info!("left out: {skipped}"));
        if !failures.is_empty() {
            return Ended::Failed { done: changed, failures };
        }
        after = applied.after;
        if after.is_converged() {
            return Ended::Matches { done: changed, after: Box::new(after) };
        }
    }
    let failures =
        after.open().map(|change| format!("{}: was done and is still to do: {}", on_one_line(&change.subject), change.reason));
    Ended::Failed { done: changed, failures: failures.collect() }
}

fn give_up(error: ConvergeError) -> Ended {
    match error {
        ConvergeError::Findings(findings) if findings.iter().any(|f| f.severity == Severity::Error) => Ended::Refused(findings),
        ConvergeError::Lock(crate::host::LockError::Held { .. }) => Ended::Locked,
        other => failed(&with_causes(&other)),
    }
}

fn failed(why: &str) -> Ended {
    Ended::Failed { done: 0, failures: vec![why.to_owned()] }
}

/// An error with everything that caused it, on one line.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
