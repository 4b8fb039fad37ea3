//! What is wrong with a site, and where.
//!
//! **Invariant:** a finding names a file, a place in it, the text there and the rule; it never stands for several problems.

use serde::{Deserialize, Serialize};
use std::fmt;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The commit is refused.
    Error,
    /// The commit stands; the operator is told.
    Warning,
    /// Nothing is wrong; `check` says what follows from it.
    Note,
}

/// One problem of a site, with its place; ordered by place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Finding {
    /// The file, relative to the site.
    pub file: String,
    /// The line, from 1; 0 where the finding is about the file as a whole.
    pub line: u32,
    /// The column in characters, from 1; 0 where the finding is about the file as a whole.
    pub column: u32,
    /// How much it weighs.
    pub severity: Severity,
    /// The rule that is broken, and by what.
    pub message: String,
    /// The offending line.
    pub text: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        write!(f, "{severity}: {}", self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(text) = &self.text {
            write!(f, "\n  {} | {text}", self.line)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}
