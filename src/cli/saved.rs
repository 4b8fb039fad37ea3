//! A plan that was saved to be carried out later, and only if nothing has changed since.
//!
//! **Invariant:** a saved plan is never carried out itself: the site is read and the host observed again, and only if that
//! gives the very same plan does apply go ahead with it.
#![expect(clippy::disallowed_methods, reason = "effect room: saved plans")]

use super::{failure::Failure, source::Source};
use crate::plan::Plan;
use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// The version of this document.
const VERSION: u32 = 1;

/// A saved plan with all it takes to make it again.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct SavedPlan {
    /// The version of this document, 1.
    version: u32,
    /// Where the site was read from.
    pub source: Source,
    /// The state directory.
    pub state: PathBuf,
    /// What it was narrowed to.
    pub targets: Vec<String>,
    /// The plan.
    pub plan: Plan,
}

impl SavedPlan {
    /// A plan with where it came from.
    pub fn new(source: Source, state: &Path, targets: &[String], plan: Plan) -> Self {
        let state = std::path::absolute(state).unwrap_or_else(|_| state.to_owned());
        Self { version: VERSION, source, state, targets: targets.to_vec(), plan }
    }

    /// Writes it whole and at once.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let failed = || format!("cannot write {}", path.display());
        // The library's own words name a file that nobody asked for, and a cause twice.
        let refuse = |error: io::Error| {
            let hint = match path.is_dir() {
                true => format!("name a file in it: --out {}", path.join("plan.json").display()),
                false => {
                    format!("name a file in a directory that is there, and that you may write: {} is not", directory.display())
                }
            };
            Failure::hinted(anyhow::Error::from(io::Error::from(error.kind())).context(failed()), hint)
        };
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(refuse)?;
        serde_json::to_writer_pretty(&mut file, self).with_context(failed)?;
        file.write_all(b"\n").with_context(failed)?;
        file.persist(path).map_err(|error| refuse(error.error))?;
        Ok(())
    }

    /// Reads one.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path).map_err(|error| {
            let error = anyhow::Error::from(error).context(format!("cannot read {}", path.display()));
            Failure::hinted(
                error,
                "save a plan with `barista plan --out FILE`, and name that file; without one, apply makes its own",
            )
        })?;
        let saved: Self = serde_json::from_str(&text).map_err(|error| {
            let error = anyhow::Error::from(error).context(format!("{} does not read as a saved plan", path.display()));
            Failure::hinted(error, "save one with `barista plan --out FILE`")
        })?;
        if saved.version != VERSION {
            let error =
                anyhow::anyhow!("{} is version {}, and this program reads version {VERSION}", path.display(), saved.version);
            return Err(Failure::hinted(error, "save it again with this barista: barista plan --out FILE"));
        }
        Ok(saved)
    }
}
