//! Collects diagnostics: turns an offset in a file into a line and a column, draws the same mistake on many lines together,
//! and keeps the list bounded.
//!
//! **Invariant:** whatever a commit holds, at most [`LISTED`] problems a file and one diagnostic more that counts the rest.

use super::{
    HostPath, HostPathKey,
    file_text::{FileText, Mend, printable},
    networks::Whole,
};
use crate::diagnostic::{self, Code, Diagnostic, Severity};
use std::collections::{BTreeMap, BTreeSet, btree_map};

/// Problems listed for one file, the same one on another line counted too: more than anyone reads at a time, few enough for
/// a pusher's terminal.
const LISTED: usize = 200;

/// A place in one of the files that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    file: FileId,
    /// Byte offset; `None` is the file as a whole.
    offset: Option<u32>,
}

impl Place {
    /// The file that it is in.
    pub(super) fn file(self) -> FileId {
        self.file
    }
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

/// A problem on its way to become a [`Diagnostic`].
#[derive(Debug, Clone)]
pub(super) struct Problem {
    place: Place,
    severity: Severity,
    code: Code,
    message: String,
    hint: Option<String>,
    /// A place the hint ends with.
    other: Option<Place>,
    /// What the same mistake elsewhere in the file has too; by itself the message and the hint.
    kind: Option<String>,
}

fn problem(severity: Severity, code: &'static str, place: Place, message: String) -> Problem {
    Problem { place, severity, code: Code::new(code), message, hint: None, other: None, kind: None }
}

/// A problem for which the commit is refused.
pub(super) fn error(code: &'static str, place: Place, message: impl Into<String>) -> Problem {
    problem(Severity::Error, code, place, message.into())
}

/// A problem the operator is told about.
pub(super) fn warning(code: &'static str, place: Place, message: impl Into<String>) -> Problem {
    problem(Severity::Warning, code, place, message.into())
}

/// What follows from what is there, for whoever checks.
pub(super) fn note(code: &'static str, place: Place, message: impl Into<String>) -> Problem {
    problem(Severity::Note, code, place, message.into())
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

    /// Counts as the same mistake as others of this code and this word in its file: the first is shown, with the others' lines.
    pub(super) fn alike(self, kind: impl Into<String>) -> Self {
        Self { kind: Some(kind.into()), ..self }
    }
}

/// A mistake that keeps a text from being TOML.
#[derive(Debug, Clone)]
pub(super) struct SyntaxProblem {
    pub(super) code: &'static str,
    /// The offset and the length of what is at fault, in the text as it was written.
    pub(super) offset: usize,
    pub(super) width: Option<usize>,
    /// Where the statement ends that it is in: none of its lines is judged as well.
    pub(super) end: usize,
    pub(super) message: String,
    pub(super) hint: String,
    /// What the same mistake elsewhere has too.
    pub(super) kind: String,
    /// Whether what the statement says was understood all the same.
    pub(super) read: Whole,
}

struct Source<'a> {
    text: FileText<'a>,
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

/// What makes two problems the same mistake: file, severity, code and words.
type Kind = (String, Severity, Code, String);

/// The diagnostics so far, and the files they are about.
#[derive(Default)]
pub(super) struct Report<'a> {
    sources: Vec<Source<'a>>,
    found: BTreeMap<Kind, Diagnostic>,
    rest: BTreeMap<String, Rest>,
}

impl<'a> Report<'a> {
    /// Takes a file in, so that diagnostics can point into it.
    pub(super) fn open(&mut self, path: &'a str, text: &'a str) -> FileId {
        let id = FileId(self.sources.len() as u32);
        let text = FileText::new(path, text);
        self.sources.push(Source { text, read: Whole::Yes, unreadable: BTreeSet::new(), broken: BTreeSet::new() });
        id
    }

    fn source(&self, file: FileId) -> &Source<'a> {
        &self.sources[file.0 as usize]
    }

    fn source_mut(&mut self, file: FileId) -> &mut Source<'a> {
        &mut self.sources[file.0 as usize]
    }

    /// Reads a file with these mends from now on: offsets are those of the mended text.
    pub(super) fn mend(&mut self, file: FileId, mends: &[Mend]) -> &str {
        let text = &mut self.source_mut(file).text;
        text.mend(mends);
        text.as_read()
    }

    /// The offset in a file as it was written of one in the file as it is read.
    pub(super) fn written(&self, file: FileId, offset: usize) -> usize {
        self.source(file).text.written(offset)
    }

    /// True if the line of a written offset was reported as no TOML.
    pub(super) fn is_reported(&self, file: FileId, written: usize) -> bool {
        let source = self.source(file);
        source.unreadable.contains(&source.text.line(written))
    }

    /// Records a problem.
    pub(super) fn push(&mut self, problem: Problem) {
        let source = &self.sources[problem.place.file.0 as usize];
        // A full list costs nothing more: finding a place in a file of one long line is not cheap.
        if let Some(rest) = self.rest.get_mut(source.text.path)
            && rest.listed >= LISTED
        {
            rest.count(problem.severity);
            return;
        }
        let place = match problem.place.offset {
            Some(offset) => source.text.locate(source.text.written(offset as usize), None),
            None => diagnostic::Place::whole(source.text.path),
        };
        if source.unreadable.contains(&place.line) {
            return;
        }
        let Problem { severity, code, message, hint, other, kind, .. } = problem;
        let hint = match other {
            Some(other) => hint.map(|hint| format!("{hint} {}", self.show(other))),
            None => hint,
        };
        self.keep(Diagnostic { place, severity, code, message, hint, also: Vec::new() }, kind);
    }

    /// True if no more problems of a place's file are listed: then its hint need not be worked out.
    pub(super) fn is_full(&self, place: Place) -> bool {
        self.rest.get(self.path(place.file)).is_some_and(|rest| rest.listed >= LISTED)
    }

    /// Records that a statement is not TOML.
    pub(super) fn push_syntax(&mut self, file: FileId, problem: SyntaxProblem) {
        let SyntaxProblem { code, offset, width, end, message, hint, kind, read } = problem;
        let source = self.source_mut(file);
        let lines = source.text.line(offset)..=source.text.line(end.max(offset));
        source.unreadable.extend(lines);
        if read == Whole::No {
            source.read = Whole::No;
        }
        if self.is_full(file.whole()) {
            self.rest.entry(self.path(file).to_owned()).or_default().count(Severity::Error);
            return;
        }
        let place = self.source(file).text.locate(offset, width);
        let (severity, code, hint) = (Severity::Error, Code::new(code), Some(hint));
        self.keep(Diagnostic { place, severity, code, message, hint, also: Vec::new() }, Some(kind));
    }

    /// Records a problem of a path that was not read as a file.
    pub(super) fn push_path(
        &mut self,
        code: &'static str,
        path: &str,
        severity: Severity,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push_spot((code, severity), path, (0, 0), message.into(), &hint.into());
    }

    /// Records a problem at a line and column of a file that is not text; 0 for the file as a whole.
    pub(super) fn push_spot(
        &mut self,
        (code, severity): (&'static str, Severity),
        path: &str,
        (line, column): (u32, u32),
        message: String,
        hint: &str,
    ) {
        let place = diagnostic::Place { line, column, ..diagnostic::Place::whole(printable(path)) };
        let (code, hint) = (Code::new(code), Some(hint.to_owned()));
        self.keep(Diagnostic { place, severity, code, message, hint, also: Vec::new() }, None);
    }

    fn keep(&mut self, found: Diagnostic, kind: Option<String>) {
        let rest = self.rest.entry(found.place.file.clone()).or_default();
        if rest.listed >= LISTED {
            rest.count(found.severity);
            return;
        }
        let (message, hint) = (printable(&found.message), found.hint.as_deref().map(printable));
        let words = kind.unwrap_or_else(|| format!("{message}\n{}", hint.as_deref().unwrap_or_default()));
        let found = Diagnostic { message, hint, ..found };
        let kind = (found.place.file.clone(), found.severity, found.code.clone(), words);
        let first = match self.found.entry(kind) {
            btree_map::Entry::Vacant(free) => {
                rest.listed += 1;
                free.insert(found);
                return;
            }
            btree_map::Entry::Occupied(first) => first.into_mut(),
        };
        let later = if found.place < first.place { std::mem::replace(first, found) } else { found };
        let line = later.place.line;
        if later.place != first.place {
            first.also.extend(later.also);
            if line != first.place.line && !first.also.contains(&line) {
                rest.listed += 1;
                first.also.push(line);
            }
            first.also.sort_unstable();
        }
    }

    /// Remembers that a table holds a key with a wrong value, or a wrong spelling of it.
    pub(super) fn mark_broken(&mut self, file: FileId, table: u32, key: &str) {
        self.source_mut(file).broken.insert((table, key.to_owned()));
    }

    /// Remembers that the rest of a file was not read.
    pub(super) fn give_up(&mut self, file: FileId) {
        self.source_mut(file).read = Whole::No;
    }

    /// True if a key that seems missing is there and was reported already, or may stand on a line that is not TOML.
    pub(super) fn is_excused(&self, file: FileId, table: u32, key: &str) -> bool {
        self.is_partial(file) || self.source(file).broken.contains(&(table, key.to_owned()))
    }

    /// True if something of the file was not understood or not read, so that what it says may be unknown.
    pub(super) fn is_partial(&self, file: FileId) -> bool {
        self.source(file).read == Whole::No
    }

    /// A path of the server that stands at a place.
    pub(super) fn host_path(&self, place: Place, key: HostPathKey, path: String) -> HostPath {
        let text = &self.source(place.file).text;
        let place = match place.offset {
            Some(offset) => text.locate(text.written(offset as usize), None),
            None => diagnostic::Place::whole(text.path),
        };
        HostPath { key, path, place }
    }

    /// `file:line:column` of a place, for the hint of another diagnostic.
    fn show(&self, place: Place) -> String {
        let text = &self.source(place.file).text;
        match place.offset {
            Some(offset) => {
                let diagnostic::Place { line, column, .. } = text.locate(text.written(offset as usize), None);
                format!("{}:{line}:{column}", text.path)
            }
            None => text.path.to_owned(),
        }
    }

    /// The first character of the line a place is on: where the key of a value stands.
    pub(super) fn start_of_line(&self, place: Place) -> Place {
        let Some(offset) = place.offset else { return place };
        place.file.at(self.source(place.file).text.start_of_line(offset as usize) as u32)
    }

    /// A file's path in the site.
    pub(super) fn path(&self, file: FileId) -> &'a str {
        self.source(file).text.path
    }

    /// The table whose header stands last before an offset of a file as it is read.
    pub(super) fn header_before(&self, file: FileId, offset: usize) -> Option<&str> {
        let before = self.source(file).text.as_read().get(..offset)?;
        let line = before.lines().rev().map(str::trim_start).find(|line| {
            // A list that goes over several lines may have lines that begin so, but with a quote in them.
            line.starts_with('[') && !line.contains(['"', ','])
        })?;
        line.trim_start_matches('[').split(']').next().map(str::trim)
    }

    /// The bytes of a file as it is read between two offsets; empty where they are not on character boundaries.
    pub(super) fn slice(&self, file: FileId, start: usize, end: usize) -> &str {
        let text = self.source(file).text.as_read();
        text.get(start..end.min(text.len())).unwrap_or("")
    }

    /// True if nothing so far refuses the commit.
    pub(super) fn is_clean(&self) -> bool {
        self.found.values().all(|found| found.severity != Severity::Error)
    }

    /// All diagnostics in the order of their places.
    pub(super) fn finish(self) -> Vec<Diagnostic> {
        let mut all: Vec<Diagnostic> = self.found.into_values().collect();
        for (file, Rest { errors, warnings, .. }) in self.rest {
            if errors + warnings > 0 {
                let severity = if errors > 0 { Severity::Error } else { Severity::Warning };
                let message = format!("{} more problems of this file are not listed", errors + warnings);
                let (code, hint) = (Code::new("not-listed"), Some("mend the ones above and check again".to_owned()));
                let place = diagnostic::Place::whole(file);
                all.push(Diagnostic { place, severity, code, message, hint, also: Vec::new() });
            }
        }
        all.sort();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_still_refuses() {
        let text = "\n".repeat(1000);
        let mut report = Report::default();
        let file = report.open("a.toml", &text);
        for line in 0..LISTED as u32 {
            report.push(warning("small", file.at(line), format!("small {line}")));
        }
        report.push(error("large", file.at(900), "large"));
        let found = report.finish();
        assert_eq!(found.len(), LISTED + 1);
        assert_eq!(found[0].severity, Severity::Error);
        assert_eq!(found[0].message, "1 more problems of this file are not listed");
    }

    #[test]
    fn the_same_mistake_on_many_lines_is_one_diagnostic_at_the_first() {
        let mut report = Report::default();
        let file = report.open("a.toml", "a\nb\nc\nd\n");
        for at in [4, 2, 0, 2] {
            report.push(error("same", file.at(at), "the same"));
        }
        report.push(error("same", file.at(6), "not the same"));
        let found = report.finish();
        assert_eq!(
            found.iter().map(|one| (one.place.line, one.also.clone())).collect::<Vec<_>>(),
            [(1, vec![2, 3]), (4, vec![])]
        );
    }
}
