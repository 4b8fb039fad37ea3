//! `barista apply`: makes this host what the site says, and proves it.
//!
//! **Invariant:** what is carried out is the plan that was shown: when the host or the site changed in between, nothing is.

use super::{
    arguments::{JsonArgument, SiteArguments, StateArgument, refuse_both},
    failure::{Exit, Failure},
    output::{self, Answer},
    plan::{explain, parse_targets, refuse_unknown, refuse_unmatched, warn_of_secrets},
    progress,
    saved::SavedPlan,
    signals, source,
};
use crate::agent::converge::{self, Applied, Observer, Proposal, Reconciliation};
use crate::host::{Interrupt, RunDir, System};
use crate::names::MachineName;
use crate::plan::{Plan, render_text};
use std::path::PathBuf;

/// Arguments of `apply`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A plan saved with `barista plan --out`, refused when anything has changed since
    #[arg(value_name = "PLANFILE")]
    saved: Option<PathBuf>,
    #[command(flatten)]
    site: SiteArguments,
    #[command(flatten)]
    state: StateArgument,
    #[command(flatten)]
    json: JsonArgument,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Only what matches: a machine, an image or a subject, such as pc0* [may be repeated]
    #[arg(long, value_name = "GLOB", conflicts_with = "saved")]
    target: Vec<String>,
    /// A machine that is off for certain, whatever the server saw of it last: what it used may go [may be repeated]
    #[arg(long, value_name = "MACHINE", conflicts_with = "saved")]
    force: Vec<MachineName>,
}

/// Runs `apply`.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let saved = match &arguments.saved {
        None => None,
        Some(path) => {
            refuse_both(&arguments.site)?;
            Some(SavedPlan::read(path)?)
        }
    };
    let source = saved.as_ref().map_or_else(|| arguments.site.source(), |saved| saved.source.clone());
    let globs = saved.as_ref().map_or(&arguments.target, |saved| &saved.targets);
    let state = saved.as_ref().map_or(&arguments.state.state, |saved| &saved.state);

    let text = source.read()?;
    let site = source::load_on_host(&text, state)?;
    let targets = parse_targets(globs)?;
    let system = System::real();
    let forced = &arguments.force.iter().cloned().collect();
    let (revision, targets, observer) = (&text.revision, &targets, Observer::Visitor);
    let reconciliation =
        Reconciliation { system: &system, state, site: &site, revision, targets, observer, forced, is_awaited: false };
    let proposal = reconciliation.propose().map_err(explain)?;
    refuse_unmatched(targets, &proposal)?;
    refuse_unknown(&arguments.force, &proposal)?;
    warn_of_secrets(&proposal);
    if let Some(saved) = &saved {
        refuse_stale(saved, &proposal.plan)?;
    }
    show(arguments, &proposal.plan)?;
    if proposal.plan.is_converged() {
        return finish(arguments, None, &proposal.plan);
    }
    consent(arguments)?;
    let applied = carry_out(&reconciliation, &proposal)?;
    finish(arguments, Some(&applied), &applied.after.plan)
}

fn refuse_stale(saved: &SavedPlan, now: &Plan) -> Result<(), Failure> {
    if saved.plan.revision != now.revision {
        let error = anyhow::anyhow!(
            "the saved plan is stale: it is for {}, and the site is at {}",
            saved.plan.revision.id,
            now.revision.id
        );
        return Err(Failure::hinted(error, "make a new one with `barista plan --out FILE`"));
    }
    if !converge::is_same_work(&saved.plan, now) {
        let error = anyhow::anyhow!("the saved plan is stale: the site or the host has changed since it was made");
        return Err(Failure::hinted(error, "make a new one with `barista plan --out FILE`"));
    }
    Ok(())
}

/// Shows the plan: on standard output, unless a document is wanted there.
fn show(arguments: &Arguments, plan: &Plan) -> Result<(), Failure> {
    let text = render_text(plan);
    if arguments.json.json {
        output::note_plan(&text);
    } else {
        output::plan(&text)?;
    }
    Ok(())
}

fn consent(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.yes {
        return Ok(());
    }
    if !output::is_interactive() {
        return Err(anyhow::anyhow!("not a terminal: pass --yes; nothing was changed").into());
    }
    match output::confirm("Apply these changes?")? {
        Answer::Yes => Ok(()),
        Answer::No => Err(anyhow::anyhow!("not confirmed, so nothing was changed").into()),
    }
}

/// Carries the plan out under the host's lock, if it is still the plan.
fn carry_out(reconciliation: &Reconciliation<'_>, shown: &Proposal) -> Result<Applied, Failure> {
    let lock = converge::lock_within(&RunDir::of_process(reconciliation.state), converge::PATIENCE)
        .map_err(|error| explain(error.into()))?;
    let fresh = reconciliation.propose().map_err(explain)?;
    if !converge::is_same_work(&fresh.plan, &shown.plan) {
        let error = anyhow::anyhow!("the host changed while the plan was shown, so nothing was changed");
        return Err(Failure::hinted(error, "run it again"));
    }
    let obstacles = reconciliation.obstacles(&fresh);
    if !obstacles.is_empty() {
        obstacles.iter().for_each(output::note_diagnostic);
        return Err(Failure::hinted(anyhow::anyhow!("this host is not ready for the plan, so nothing was changed"), "see above"));
    }
    let interrupt = Interrupt::default();
    signals::watch(interrupt.clone());
    let mut progress = progress::Shown::new(interrupt);
    Ok(reconciliation.carry_out(&fresh, &lock, &mut progress))
}

/// Says what the second look gave. Exit 3 when something failed, is held, or is still to do.
fn finish(arguments: &Arguments, applied: Option<&Applied>, after: &Plan) -> Result<Exit, Failure> {
    let (failed, skipped) = applied.map(|applied| converge::mishaps(&applied.report)).unwrap_or_default();
    failed.iter().for_each(|failure| output::note(format!("failed: {failure}")));
    skipped.iter().for_each(|skipped| output::note(format!("left out: {skipped}")));
    if let Some(applied) = applied {
        if arguments.json.json {
            output::json(&applied.report)?;
        } else {
            output::plan(&render_text(after))?;
        }
    }
    Ok(if failed.is_empty() && after.is_converged() && after.held().next().is_none() { Exit::Done } else { Exit::Partial })
}
