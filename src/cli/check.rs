//! `barista check`: everything that is wrong with a site, at once.

use super::{
    arguments::{JsonArgument, SiteArguments, StateArgument},
    failure::{Exit, Failure, count},
    output,
};
use crate::diagnostic::{Diagnostic, Severity};
use crate::host::{confine, judge_paths, observe_published, settings};
use crate::plan::{self, KnownMachines};
use crate::site::{Checked, Entry};
use serde::Serialize;
use std::path::Path;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    site: SiteArguments,
    #[command(flatten)]
    state: StateArgument,
    #[command(flatten)]
    json: JsonArgument,
    /// Take little memory and time, and say nothing but where they end
    #[arg(long, hide = true)]
    trial: bool,
}

/// Findings as a document.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Findings {
    /// The version of this document, 2.
    version: u32,
    /// Everything that is wrong, in the order of its places.
    findings: Vec<Diagnostic>,
}

/// Runs `check`. Findings are the data here; how many there are goes to standard error.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    if arguments.trial {
        return try_out(arguments);
    }
    let text = arguments.site.source().read()?;
    let mut checked = crate::site::load(&text.tree);
    let mut left_none = None;
    // Anywhere but on its server nobody knows what that allows, and whom it serves.
    if is_server(&arguments.state.state) {
        checked = judge_paths(checked, &arguments.state.state);
        left_none = refuse_emptied(&checked, &arguments.state.state);
    }
    let mut findings = all_findings(checked);
    if let Some(refused) = left_none {
        // The cause, in place of what it looks like from the site alone.
        findings.retain(|finding| finding.code.as_str() != "no-machine");
        findings.push(refused);
        findings.sort();
    }
    let refused = findings.iter().any(|finding| finding.severity == Severity::Error);
    let summary = if findings.is_empty() { "no findings".to_owned() } else { count(&findings) };
    if arguments.json.json {
        output::json(&Findings { version: 2, findings })?;
    } else {
        output::diagnostics(&findings)?;
    }
    output::note(summary);
    Ok(if refused { Exit::Error } else { Exit::Done })
}

/// Reads and checks a site within the bounds of a trial. Whoever began it learns from the last line that is printed what this was at
/// when the kernel ended it, and finds everything else for himself.
fn try_out(arguments: &Arguments) -> Result<Exit, Failure> {
    confine()?;
    output::data("site.toml\n")?;
    let Ok(text) = arguments.site.source().read_pushed() else { return Ok(Exit::Done) };
    let size = |entry: &Entry| if let Entry::File(bytes) = entry { bytes.len() } else { 0 };
    let largest = text.tree.entries.iter().filter(|(path, _)| path.ends_with(".toml")).max_by_key(|(_, entry)| size(entry));
    let largest = largest.map_or("site.toml", |(path, _)| path.as_str()).to_owned();
    output::data(&format!("{largest}\n"))?;
    let checked = crate::site::load(&text.tree);
    // Scripts are rendered for every machine.
    let template = text.tree.entries.keys().find(|path| path.starts_with("templates/"));
    output::data(&format!("{}\n", template.unwrap_or(&largest)))?;
    drop(all_findings(checked));
    Ok(Exit::Done)
}

/// What a push of this site would be told here, where it has no machine and this host serves some.
fn refuse_emptied(checked: &Checked, state: &Path) -> Option<Diagnostic> {
    plan::prepare(checked.site.as_ref()?).ok().filter(plan::has_no_machine)?;
    plan::refuse_emptied(&KnownMachines::of_table(&observe_published(state))?)
}

/// Whether this host serves a site: it has a state directory, or root has said something of it.
#[expect(clippy::disallowed_methods, reason = "effect: looks whether this host is a server")]
fn is_server(state: &Path) -> bool {
    [state, &settings::place()].into_iter().any(|path| !matches!(path.try_exists(), Ok(false)))
}

/// The findings of a site, and those of its templates, which are rendered only when nothing else is wrong.
pub(super) fn all_findings(checked: Checked) -> Vec<Diagnostic> {
    let Checked { site, mut findings, .. } = checked;
    if let Some(Err(more)) = site.as_ref().map(plan::prepare) {
        findings.extend(more);
        findings.sort();
    }
    findings
}
