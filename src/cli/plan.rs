//! `barista plan`: what would change on this host.

use super::{
    arguments::{JsonArgument, SiteArguments, StateArgument},
    failure::{Exit, Failure},
    output,
    saved::SavedPlan,
    source,
};
use crate::agent::converge::{self, Errand};
use crate::host::{LockError, System};
use crate::plan::{Plan, Targets, render_ops, render_text};
use std::path::PathBuf;

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    site: SiteArguments,
    #[command(flatten)]
    state: StateArgument,
    #[command(flatten)]
    json: JsonArgument,
    /// Print what apply would run, line by line
    #[arg(long, conflicts_with = "json")]
    ops: bool,
    /// Save the plan for `barista apply FILE`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Exit with 2 when changes are pending
    #[arg(long)]
    detailed_exitcode: bool,
    /// Only what matches: a machine, an image or a subject, such as pc0* [may be repeated]
    #[arg(long, value_name = "GLOB")]
    target: Vec<String>,
}

/// Runs `plan`.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let source = arguments.site.source();
    let text = source.read()?;
    let site = source::load(&text)?;
    let targets = parse_targets(&arguments.target)?;
    let system = System::real();
    let errand =
        Errand { system: &system, state: &arguments.state.state, site: &site, revision: &text.revision, targets: &targets };
    let proposal = errand.propose().map_err(explain)?;
    if let Some(path) = &arguments.out {
        let saved = SavedPlan::new(source.pinned(&text), &arguments.state.state, &arguments.target, proposal.plan.clone());
        saved.write(path)?;
        output::note(format!("saved; carry it out with: barista apply {}", path.display()));
    }
    show(arguments, &proposal.plan)?;
    Ok(if arguments.detailed_exitcode && !proposal.plan.is_converged() { Exit::Pending } else { Exit::Done })
}

fn show(arguments: &Arguments, plan: &Plan) -> Result<(), Failure> {
    if arguments.json.json {
        output::json(plan)?;
    } else if arguments.ops {
        output::data(&render_ops(plan))?;
    } else {
        output::data(&output::paint(&render_text(plan)))?;
    }
    Ok(())
}

/// Reads what `--target` names.
pub(super) fn parse_targets(globs: &[String]) -> Result<Targets, Failure> {
    Targets::parse(globs).map_err(|error| Failure::Usage(format!("--target: {error}")))
}

/// An error of looking at the host or applying to it, with what to do about it.
pub(super) fn explain(error: converge::ConvergeError) -> Failure {
    use converge::ConvergeError;
    match error {
        ConvergeError::Findings(findings) => Failure::Findings(findings),
        ConvergeError::NotRoot => Failure::hinted(error, "run it as root, or look at the site alone with `barista check`"),
        ConvergeError::Lock(LockError::Held { .. }) => {
            Failure::hinted(error, "another apply is going on; `barista status` shows what the agent does")
        }
        ConvergeError::Lock(_) => Failure::hinted(
            error,
            "/run/barista (or what BARISTA_RUN names) must be root's alone; whoever is not root needs a --state that he can write",
        ),
    }
}
