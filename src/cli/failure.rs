//! How the program ends: exit codes, and errors with hints.

use super::output;
use crate::diagnostic::{Diagnostic, Severity};
use std::{fmt, process::ExitCode};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done, or nothing to do.
    Done,
    /// An error.
    Error,
    /// Changes are pending; only where that was asked for.
    Pending,
    /// Applied in part, or changes are held.
    Partial,
    /// The command line makes no sense.
    Usage,
    /// A fault of the program itself.
    Internal,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // 64 and 70 are EX_USAGE and EX_SOFTWARE of sysexits.h.
        Self::from(match exit {
            Exit::Done => 0_u8,
            Exit::Error => 1,
            Exit::Pending => 2,
            Exit::Partial => 3,
            Exit::Usage => 64,
            Exit::Internal => 70,
        })
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// The site has errors.
    Findings(Vec<Diagnostic>),
    /// Something went wrong.
    Error {
        /// What, with everything that caused it.
        error: anyhow::Error,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The command line makes no sense, and why.
    Usage(String),
    /// The same, where it is plain what was meant.
    Mistyped {
        /// Why it makes no sense.
        message: String,
        /// What to write.
        hint: String,
    },
}

impl Failure {
    /// An error with a hint.
    pub fn hinted(error: impl Into<anyhow::Error>, hint: impl Into<String>) -> Self {
        Self::Error { error: error.into(), hint: Some(hint.into()) }
    }

    /// What went wrong as text.
    pub fn to_text(&self) -> String {
        match self {
            Self::Findings(findings) => {
                let wrong = findings.iter().filter(|finding| finding.severity != Severity::Note);
                wrong.map(|finding| format!("{finding}\n")).collect::<String>() + &count(findings)
            }
            Self::Error { error, hint } => Response { error, hint: hint.as_deref() }.to_string(),
            Self::Usage(message) => format!("error: {message}\n  hint: barista help"),
            Self::Mistyped { message, hint } => format!("error: {message}\n  hint: {hint}"),
        }
    }

    /// What went wrong in the midst of a sentence that goes on without it.
    pub fn in_passing(&self) -> String {
        match self {
            Self::Error { error, hint: Some(hint) } => format!("{error:#}; {hint}"),
            Self::Error { error, hint: None } => format!("{error:#}"),
            Self::Findings(_) | Self::Usage(_) | Self::Mistyped { .. } => self.to_text(),
        }
    }

    /// Prints what went wrong to standard error.
    pub fn report(self) -> Exit {
        output::note(self.to_text());
        match self {
            Self::Findings(_) | Self::Error { .. } => Exit::Error,
            Self::Usage(_) | Self::Mistyped { .. } => Exit::Usage,
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error { error: error.into(), hint: None }
    }
}

/// `error: what: why: why\n  hint: what to do`
struct Response<'a> {
    error: &'a anyhow::Error,
    hint: Option<&'a str>,
}

impl fmt::Display for Response<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {:#}", self.error)?;
        if let Some(hint) = self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// Prints what is wrong to standard error; what merely follows is said by `check`.
pub(super) fn print_wrong(findings: &[Diagnostic]) {
    let wrong = findings.iter().filter(|finding| finding.severity != Severity::Note);
    wrong.for_each(output::note_diagnostic);
}

/// `2 errors, 1 warning`
pub(super) fn count(findings: &[Diagnostic]) -> String {
    let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let plural = |n: usize, word: &str| if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") };
    let notes = Some(of(Severity::Note)).filter(|notes| *notes > 0).map(|notes| format!(", {}", plural(notes, "note")));
    let (errors, warnings) = (plural(of(Severity::Error), "error"), plural(of(Severity::Warning), "warning"));
    format!("{errors}, {warnings}{}", notes.unwrap_or_default())
}
