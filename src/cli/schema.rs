//! `barista schema`: the JSON Schemas of the site's files and of barista's documents.
#![expect(clippy::disallowed_methods, reason = "effect room: writes schemas where it is told")]

use super::{
    check::Findings,
    doctor::Diagnosis,
    failure::{Exit, Failure},
    machine::{MachineList, SeenMachines},
    output,
    saved::SavedPlan,
};
use crate::agent::status::Status;
use crate::host::settings::HostFile;
use crate::plan::{Plan, Report};
use crate::{boot::table::BootTable, diagnose::explain::Explanation, transcript::Transcript};
use anyhow::Context as _;
use schemars::schema_for;
use serde_json::Value;
use std::{collections::BTreeMap, fs, path::PathBuf};

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Which [default: their names]
    #[arg(value_name = "NAME", conflicts_with = "write")]
    name: Option<String>,
    /// Write them all into a directory, each as NAME.schema.json
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

/// Runs `schema`.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let schemas = schemas();
    if let Some(directory) = &arguments.write {
        fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        for (name, schema) in &schemas {
            let path = directory.join(name);
            let text = serde_json::to_string_pretty(schema)? + "\n";
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        return Ok(Exit::Done);
    }
    match &arguments.name {
        None => output::data(&schemas.keys().map(|name| format!("{}\n", stem(name))).collect::<String>())?,
        Some(asked) => {
            let known = schemas.keys().map(|name| stem(name)).collect::<Vec<_>>().join(", ");
            let found = schemas.iter().find(|(name, _)| stem(name) == stem(asked));
            let (_, schema) = found.ok_or_else(|| Failure::Mistyped {
                message: format!("there is no schema {asked:?}"),
                hint: format!("name one of {known}"),
            })?;
            output::json(schema)?;
        }
    }
    Ok(Exit::Done)
}

/// `site` of `site.schema.json`.
fn stem(file: &str) -> &str {
    [".schema.json", ".json", ".toml"].iter().find_map(|ending| file.strip_suffix(ending)).unwrap_or(file)
}

/// Every schema by its file's name: those of a site's files, and those of the documents.
fn schemas() -> BTreeMap<&'static str, Value> {
    let mut schemas = crate::site::schemas();
    let documents = [
        ("host.schema.json", schema_for!(HostFile)),
        ("findings.schema.json", schema_for!(Findings)),
        ("plan.schema.json", schema_for!(Plan)),
        ("saved-plan.schema.json", schema_for!(SavedPlan)),
        ("report.schema.json", schema_for!(Report)),
        ("status.schema.json", schema_for!(Status)),
        ("explanation.schema.json", schema_for!(Explanation)),
        ("seen-machines.schema.json", schema_for!(SeenMachines)),
        ("machine-list.schema.json", schema_for!(MachineList)),
        ("diagnosis.schema.json", schema_for!(Diagnosis)),
        ("boot-table.schema.json", schema_for!(BootTable)),
        ("transcript.schema.json", schema_for!(Transcript)),
    ];
    schemas.extend(documents.map(|(name, schema)| (name, schema.to_value())));
    schemas
}
