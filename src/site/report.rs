//! Collects findings: turns an offset in a file into a line and a column, quotes the line, and keeps the list bounded.
//!
//! **Invariant:** whatever a commit holds, at most [`LISTED`] findings a file and one more that counts the rest; text from
//! the commit never reaches a terminal with control characters in it.

use super::{Finding, Severity, networks::Whole};
use std::collections::{BTreeMap, BTreeSet};

/// Findings listed for one file: more than anyone reads at a time, few enough for a pusher's terminal.
const LISTED: usize = 200;

/// Characters kept of a line, a message or a hint.
const QUOTED: usize = 640;

/// A place in one of the files that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    file: FileId,
    /// Byte offset; `None` is the file as a whole.
    offset: Option<u32>,
}

/// One of the files that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileId(u32);

impl FileId {
    /// The place at a byte offset.
    pub(super) fn at(self, offset: u32) -> Place {
        Place { file: self, offset: Some(offset) }
    }

    /// The file as a whole.
    pub(super) fn whole(self) -> Place {
        Place { file: self, offset: None }
    }
}

/// A problem on its way to become a [`Finding`].
#[derive(Debug, Clone)]
pub(super) struct Problem {
    place: Place,
    severity: Severity,
    message: String,
    hint: Option<String>,
    /// A place the hint ends with.
    other: Option<Place>,
}

/// A problem for which the commit is refused.
pub(super) fn error(place: Place, message: impl Into<String>) -> Problem {
    Problem { place, severity: Severity::Error, message: message.into(), hint: None, other: None }
}

/// A problem the operator is told about.
pub(super) fn warning(place: Place, message: impl Into<String>) -> Problem {
    Problem { place, severity: Severity::Warning, message: message.into(), hint: None, other: None }
}

/// What follows from what is there, for whoever checks.
pub(super) fn note(place: Place, message: impl Into<String>) -> Problem {
    Problem { place, severity: Severity::Note, message: message.into(), hint: None, other: None }
}

impl Problem {
    /// What to do about it.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// What to do about it, ending with another place: "the first is …".
    pub(super) fn hint_at(self, hint: impl Into<String>, other: Place) -> Self {
        Self { other: Some(other), ..self.hint(hint) }
    }
}

struct Source<'a> {
    path: &'a str,
    text: &'a str,
    /// The byte offset at which each line begins.
    lines: Vec<u32>,
    /// Whether the file was read to its end, or given up as having too many problems.
    read: Whole,
    /// Lines on which TOML itself is broken: what such a line seems to say is not judged as well.
    unreadable: BTreeSet<u32>,
    /// Keys that are there but wrong, by their table's offset: such a key is not reported as missing too.
    broken: BTreeSet<(u32, String)>,
}

#[derive(Default)]
struct Rest {
    listed: usize,
    errors: usize,
    warnings: usize,
}

impl Rest {
    fn count(&mut self, severity: Severity) {
        match severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
            Severity::Note => {}
        }
    }
}

/// The findings so far, and the files they are about.
#[derive(Default)]
pub(super) struct Report<'a> {
    sources: Vec<Source<'a>>,
    findings: BTreeSet<Finding>,
    rest: BTreeMap<String, Rest>,
}

impl<'a> Report<'a> {
    /// Takes a file in, so that findings can point into it.
    pub(super) fn open(&mut self, path: &'a str, text: &'a str) -> FileId {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at as u32 + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        let id = FileId(self.sources.len() as u32);
        self.sources.push(Source { path, text, lines, read: Whole::Yes, unreadable: BTreeSet::new(), broken: BTreeSet::new() });
        id
    }

    /// Records a problem.
    pub(super) fn push(&mut self, problem: Problem) {
        let source = &self.sources[problem.place.file.0 as usize];
        // A full list costs nothing more: finding a place in a file of one long line is not cheap.
        if let Some(rest) = self.rest.get_mut(source.path)
            && rest.listed >= LISTED
        {
            rest.count(problem.severity);
            return;
        }
        let (line, column, text) = match problem.place.offset {
            Some(offset) => source.locate(offset),
            None => (0, 0, None),
        };
        if source.unreadable.contains(&line) {
            return;
        }
        let file = source.path.to_owned();
        let Problem { severity, message, hint, other, .. } = problem;
        let hint = match other {
            Some(other) => hint.map(|hint| format!("{hint} {}", self.show(other))),
            None => hint,
        };
        self.keep(Finding { file, line, column, severity, message, text, hint });
    }

    /// True if no more findings of a place's file are listed: then its hint need not be worked out.
    pub(super) fn is_full(&self, place: Place) -> bool {
        let path = self.sources[place.file.0 as usize].path;
        self.rest.get(path).is_some_and(|rest| rest.listed >= LISTED)
    }

    /// Records that a line is not TOML.
    pub(super) fn push_syntax(&mut self, file: FileId, offset: u32, message: String, hint: Option<String>) {
        let source = &mut self.sources[file.0 as usize];
        let (line, column, text) = source.locate(offset);
        source.unreadable.insert(line);
        let file = source.path.to_owned();
        self.keep(Finding { file, line, column, severity: Severity::Error, message, text, hint });
    }

    /// Records a problem of a path that was not read as a file.
    pub(super) fn push_path(&mut self, path: &str, severity: Severity, message: impl Into<String>, hint: impl Into<String>) {
        let (message, hint) = (message.into(), Some(hint.into()));
        self.keep(Finding { file: printable(path), line: 0, column: 0, severity, message, text: None, hint });
    }

    /// Records a problem at a line and column of a file that is not text.
    pub(super) fn push_spot(&mut self, path: &str, (line, column): (u32, u32), message: String, hint: &str) {
        let (severity, hint) = (Severity::Error, Some(hint.to_owned()));
        self.keep(Finding { file: printable(path), line, column, severity, message, text: None, hint });
    }

    fn keep(&mut self, finding: Finding) {
        let rest = self.rest.entry(finding.file.clone()).or_default();
        if rest.listed >= LISTED {
            rest.count(finding.severity);
            return;
        }
        let message = printable(&finding.message);
        let hint = finding.hint.as_deref().map(printable);
        if self.findings.insert(Finding { message, hint, ..finding }) {
            rest.listed += 1;
        }
    }

    /// Remembers that a table holds a key with a wrong value, or a wrong spelling of it.
    pub(super) fn mark_broken(&mut self, file: FileId, table: u32, key: &str) {
        self.sources[file.0 as usize].broken.insert((table, key.to_owned()));
    }

    /// Remembers that the rest of a file was not read.
    pub(super) fn give_up(&mut self, file: FileId) {
        self.sources[file.0 as usize].read = Whole::No;
    }

    /// True if a key that seems missing is there and was reported already, or may stand on a line that is not TOML.
    pub(super) fn is_excused(&self, file: FileId, table: u32, key: &str) -> bool {
        let source = &self.sources[file.0 as usize];
        self.is_partial(file) || source.broken.contains(&(table, key.to_owned()))
    }

    /// True if some line of the file is not TOML, or was not read, so that something it says may be unknown.
    pub(super) fn is_partial(&self, file: FileId) -> bool {
        let source = &self.sources[file.0 as usize];
        source.read == Whole::No || !source.unreadable.is_empty()
    }

    /// `file:line:column` of a place, for the hint of another finding.
    fn show(&self, place: Place) -> String {
        let source = &self.sources[place.file.0 as usize];
        match place.offset {
            Some(offset) => {
                let (line, column, _) = source.locate(offset);
                format!("{}:{line}:{column}", source.path)
            }
            None => source.path.to_owned(),
        }
    }

    /// The first character of the line a place is on: where the key of a value stands.
    pub(super) fn start_of_line(&self, place: Place) -> Place {
        let source = &self.sources[place.file.0 as usize];
        let Some(offset) = place.offset else { return place };
        let start = source.line_start(offset);
        let blank = source.text[start as usize..].bytes().take_while(|b| matches!(b, b' ' | b'\t')).count() as u32;
        place.file.at((start + blank).min(offset))
    }

    /// A file's path in the site.
    pub(super) fn path(&self, file: FileId) -> &'a str {
        self.sources[file.0 as usize].path
    }

    /// The bytes of a file between two offsets; empty where they are not on character boundaries.
    pub(super) fn slice(&self, file: FileId, start: usize, end: usize) -> &'a str {
        self.sources[file.0 as usize].text.get(start..end).unwrap_or("")
    }

    /// True if nothing so far refuses the commit.
    pub(super) fn is_clean(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity != Severity::Error)
    }

    /// All findings in the order of their places.
    pub(super) fn finish(self) -> Vec<Finding> {
        let mut findings = self.findings;
        for (file, Rest { errors, warnings, .. }) in self.rest {
            if errors + warnings > 0 {
                let severity = if errors > 0 { Severity::Error } else { Severity::Warning };
                let message = format!("{} more problems of this file are not listed", errors + warnings);
                let hint = Some("mend the ones above and check again".to_owned());
                findings.insert(Finding { file, line: 0, column: 0, severity, message, text: None, hint });
            }
        }
        findings.into_iter().collect()
    }
}

impl Source<'_> {
    fn line_start(&self, offset: u32) -> u32 {
        let after = self.lines.partition_point(|start| *start <= offset);
        self.lines[after - 1]
    }

    /// The line and column (in characters, from 1) of a byte offset, and the line's text.
    fn locate(&self, offset: u32) -> (u32, u32, Option<String>) {
        let offset = (offset as usize).min(self.text.len());
        let line = self.lines.partition_point(|start| *start as usize <= offset);
        let start = self.lines[line - 1] as usize;
        let text = self.text[start..].split('\n').next().unwrap_or("");
        let column = self.text.as_bytes()[start..offset].iter().filter(|byte| (**byte & 0xC0) != 0x80).count() + 1;
        let shown = Some(printable(text.trim_end())).filter(|text| !text.is_empty());
        (line as u32, column as u32, shown)
    }
}

/// A text fit for a terminal: no control characters, not longer than a few lines.
fn printable(text: &str) -> String {
    let clean = |c: char| if c.is_control() || is_invisible(c) { '\u{fffd}' } else { c };
    let mut shown: String = text.chars().take(QUOTED).map(|c| if c == '\t' { ' ' } else { clean(c) }).collect();
    if text.chars().nth(QUOTED).is_some() {
        shown.push('…');
    }
    shown
}

/// Characters that reorder or hide what stands around them (Unicode bidirectional controls, zero-width ones).
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_begin_at_one() {
        let mut report = Report::default();
        let file = report.open("a.toml", "x = 1\né = \"ö\" # no\r\n\tlast");
        for (offset, shown) in [(0, "a.toml:1:1"), (6, "a.toml:2:1"), (11, "a.toml:2:5"), (23, "a.toml:3:2"), (999, "a.toml:3:6")]
        {
            assert_eq!(report.show(file.at(offset)), shown, "{offset}");
        }
        assert_eq!(report.show(report.start_of_line(file.at(25))), "a.toml:3:2");
    }

    #[test]
    fn the_list_is_bounded_and_still_refuses() {
        let text = "\n".repeat(1000);
        let mut report = Report::default();
        let file = report.open("a.toml", &text);
        for line in 0..LISTED as u32 {
            report.push(warning(file.at(line), "small"));
        }
        report.push(error(file.at(900), "large"));
        let findings = report.finish();
        assert_eq!(findings.len(), LISTED + 1);
        assert_eq!(findings[0].severity, Severity::Error);
        assert_eq!(findings[0].message, "1 more problems of this file are not listed");
    }

    #[test]
    fn a_line_of_the_commit_cannot_steer_the_terminal() {
        let mut report = Report::default();
        let file = report.open("a.toml", "x = \"\u{1b}[2J\u{202e}\"");
        report.push(error(file.at(0), "bad"));
        assert_eq!(report.finish()[0].text.as_deref(), Some("x = \"\u{fffd}[2J\u{fffd}\""));
    }
}
