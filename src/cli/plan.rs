//! `barista plan`: what would change on this host.

use super::{
    arguments::{JsonArgument, SiteArguments, StateArgument},
    failure::{Exit, Failure},
    output,
    saved::SavedPlan,
    source,
};
use crate::agent::converge::{self, Observer, Proposal, Reconciliation};
use crate::host::{LockError, System, render_ops};
use crate::names::MachineName;
use crate::plan::{Detail, Plan, Targets, render, secrets_trouble};
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
    /// Exit with 2 when changes are pending, with 3 when all that are left are held
    #[arg(long)]
    detailed_exitcode: bool,
    /// Show every change on a line of its own, and daily work too
    #[arg(long, short)]
    verbose: bool,
    /// Only what matches: a machine, an image or a subject, such as pc0* [may be repeated]
    #[arg(long, value_name = "GLOB")]
    target: Vec<String>,
    /// A machine that is off for certain, whatever the server saw of it last: what it used may go [may be repeated]
    #[arg(long, value_name = "MACHINE", conflicts_with = "out")]
    force: Vec<MachineName>,
}

/// Runs `plan`.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let source = arguments.site.source();
    let text = source.read()?;
    let site = source::load_on_host(&text, &arguments.state.state)?;
    let targets = parse_targets(&arguments.target)?;
    let system = System::real();
    let reconciliation = Reconciliation {
        system: &system,
        state: &arguments.state.state,
        site: &site,
        revision: &text.revision,
        targets: &targets,
        observer: Observer::Visitor,
        forced: &arguments.force.iter().cloned().collect(),
        is_awaited: false,
    };
    let proposal = reconciliation.propose().map_err(explain)?;
    refuse_unmatched(&targets, &proposal)?;
    refuse_unknown(&arguments.force, &proposal)?;
    warn_of_secrets(&proposal);
    if let Some(path) = &arguments.out {
        let saved = SavedPlan::new(source.pinned(&text), &arguments.state.state, &arguments.target, proposal.plan.clone());
        saved.write(path)?;
        output::note(format!("saved; carry it out with: barista apply {}", path.display()));
    }
    show(arguments, &proposal.plan)?;
    let is_held = proposal.plan.held().next().is_some();
    Ok(match (arguments.detailed_exitcode, proposal.plan.is_converged()) {
        (true, false) => Exit::Pending,
        (true, true) if is_held => Exit::Partial,
        _ => Exit::Done,
    })
}

fn show(arguments: &Arguments, plan: &Plan) -> Result<(), Failure> {
    if arguments.json.json {
        output::json(plan)?;
    } else if arguments.ops {
        output::data(&render_ops(plan))?;
    } else {
        let detail = if arguments.verbose { Detail::Everything } else { Detail::Grouped };
        output::plan(&render(plan, detail))?;
    }
    Ok(())
}

/// Says what it comes to that the file of the CHAP secrets cannot be read.
pub(super) fn warn_of_secrets(proposal: &Proposal) {
    secrets_trouble(&proposal.prepared, &proposal.observation).iter().for_each(output::note_diagnostic);
}

/// A glob of `--target` that names nothing is a slip, and a plan for nothing would pass for one that is done.
pub(super) fn refuse_unmatched(targets: &Targets, proposal: &Proposal) -> Result<(), Failure> {
    let desired = &proposal.prepared.desired;
    let mut known: Vec<String> = desired.room.machines.keys().map(ToString::to_string).collect();
    for seat in desired.storage.iter().flat_map(|storage| storage.seats.keys()) {
        known.extend([seat.to_string(), format!("{seat}.a"), format!("seat.{seat}.a")]);
    }
    for version in desired.storage.iter().flat_map(|storage| storage.versions.keys()) {
        known.extend([version.image.to_string(), version.to_string(), format!("img.{}.{}", version.image, version.version)]);
    }
    known.extend(
        desired.storage.iter().flat_map(|storage| [storage.pool().to_string(), format!("{}/{}", storage.vg(), storage.pool())]),
    );
    match targets.unmatched(&proposal.plan, &known).first() {
        Some(glob) => {
            let message = format!("--target {glob:?} matches no machine, image, version, seat or pool of the site");
            let hint =
                "`barista plan -v` shows what there is; a target is a name such as pc01, win11 or pc01.win11, or a pattern";
            Err(Failure::Mistyped { message, hint: hint.to_owned() })
        }
        None => Ok(()),
    }
}

/// A machine of `--force` that neither the site has nor the plan is about is a slip.
pub(super) fn refuse_unknown(forced: &[MachineName], proposal: &Proposal) -> Result<(), Failure> {
    let is_known = |machine: &MachineName| {
        proposal.prepared.desired.room.machines.contains_key(machine)
            || proposal.plan.changes.iter().any(|change| change.subject.machine() == Some(machine))
    };
    match forced.iter().find(|machine| !is_known(machine)) {
        Some(machine) => {
            let message = format!("--force {machine}: the site has no such machine, and nothing of one is left");
            Err(Failure::Mistyped { message, hint: "`barista machine list` shows the machines of the site".to_owned() })
        }
        None => Ok(()),
    }
}

/// Reads what `--target` names.
pub(super) fn parse_targets(globs: &[String]) -> Result<Targets, Failure> {
    Targets::parse(globs).map_err(|error| Failure::Usage(format!("--target: {error}")))
}

/// An error of looking at the host or applying to it, with what to do about it.
pub(super) fn explain(error: converge::ConvergeError) -> Failure {
    use converge::ConvergeError;
    match error {
        ConvergeError::Findings(findings) | ConvergeError::Unsafe(findings) => Failure::Findings(findings),
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
