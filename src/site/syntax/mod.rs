//! Text that is not TOML: each mistake is named in the words of who writes a site, mended in memory, and the rest is read.
//!
//! **Invariant:** a file with a mistake is never accepted: whatever is mended was reported as an error first.

mod foreign;
mod header;
mod repair;
mod statement;

use super::{
    file_text::Mend,
    files::SiteText,
    networks::Whole,
    report::{FileId, Report, SyntaxProblem},
    schema::{self, Form},
};
use repair::Repair;
use statement::{Statement, Statements};
use toml::de::{DeTable, DeValue, Error};

/// Parses a file; what is not TOML is reported, the rest of the file is read all the same.
pub(super) fn parse<'f>(report: &mut Report<'_>, site_text: &'f SiteText<'_>) -> DeTable<'f> {
    let SiteText { file, text, mended, .. } = site_text;
    let path = report.path(*file);
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() && !has_wrong_header(path, table.get_ref()) {
        return table.into_inner();
    }
    if let Some(problem) = foreign::recognize(text) {
        report.push_syntax(*file, problem);
        return DeTable::new();
    }
    let mends = find_mistakes(report, *file, text);
    let mended = mended.get_or_init(|| report.mend(*file, &mends).to_owned());
    let (table, errors) = DeTable::parse_recoverable(mended);
    for error in errors {
        report_rest(report, *file, (text, mended), &error);
    }
    table.into_inner()
}

/// True if a table stands there as a list or a list as a table, or under a name that no table has.
fn has_wrong_header(path: &str, table: &DeTable<'_>) -> bool {
    table.iter().any(|(key, value)| {
        let form = schema::form_of_top(path, key.get_ref());
        match value.get_ref() {
            DeValue::Table(_) => !matches!(form, Some(Form::Table | Form::Text(_))),
            DeValue::Array(entries) => form != Some(Form::Tables) && entries.iter().any(|entry| entry.get_ref().is_table()),
            _ => false,
        }
    })
}

/// Reports each statement that is not TOML, and says how to read it.
fn find_mistakes(report: &mut Report<'_>, file: FileId, text: &str) -> Vec<Mend> {
    let path = report.path(file);
    let mut mends = Vec::new();
    let mut entry = Entry::default();
    for Statement { range, .. } in Statements::new(text) {
        let statement = &text[range.clone()];
        let is_header = statement::is_header(statement);
        if let Some(table) = entry.begins_again(path, statement) {
            let problem = header_missing(range.start, table, statement);
            report.push_syntax(file, problem);
            mends.push(Mend { range: range.start..range.start, text: format!("[[{table}]]\n") });
        }
        let found = if is_header { header::judge(path, statement) } else { None };
        if found.is_none() && is_toml(statement) {
            continue;
        }
        if report.is_full(file.whole()) {
            // Nobody reads on; what follows is not read either.
            report.give_up(file);
            mends.push(Mend { range: range.start..text.len(), text: String::new() });
            break;
        }
        let (problem, mend) = match found.or_else(|| repair::find(path, statement)) {
            Some(Repair { code, at, message, text, hint, kind }) => {
                let hint = hint.unwrap_or_else(|| format!("write {}", text.replace('\n', " ")));
                let offset = range.start + at.start;
                let width = Some(at.len());
                let mend = if is_toml(&text) { text } else { String::new() };
                let read = if mend.is_empty() { Whole::No } else { Whole::Yes };
                (SyntaxProblem { code, offset, width, message, hint, kind, read }, mend)
            }
            None => (not_toml(range.start, statement), String::new()),
        };
        report.push_syntax(file, problem);
        mends.push(Mend { range, text: mend });
    }
    mends
}

/// The keys of the entry of a list that statements are read of.
#[derive(Default)]
struct Entry {
    table: Option<&'static str>,
    keys: Vec<String>,
}

impl Entry {
    /// Takes a statement in; the list's name if it is the first key of an entry once more, so that a header was forgotten.
    fn begins_again(&mut self, path: &str, statement: &str) -> Option<&'static str> {
        if statement::is_header(statement) {
            let name = statement.split('#').next().unwrap_or("").trim().trim_matches(['[', ']', ' ']);
            self.table = schema::tables(path, Form::Tables).into_iter().find(|table| *table == name);
            self.keys.clear();
            return None;
        }
        let key = statement::pair(statement)?.key.to_owned();
        let again = self.table.filter(|_| self.keys.len() > 1 && self.keys.first() == Some(&key));
        if again.is_some() {
            self.keys.clear();
        }
        self.keys.push(key);
        again
    }
}

fn header_missing(offset: usize, table: &str, statement: &str) -> SyntaxProblem {
    let key = statement.split('=').next().unwrap_or("").trim();
    SyntaxProblem {
        code: "header-missing",
        offset,
        width: Some(key.len()),
        message: format!("{key} is there twice in this {table}: does another {table} begin here?"),
        hint: format!("write [[{table}]] on a line of its own before this line; or remove the second {key}"),
        kind: table.to_owned(),
        read: Whole::Yes,
    }
}

fn is_toml(text: &str) -> bool {
    DeTable::parse_recoverable(text).1.is_empty()
}

fn not_toml(offset: usize, statement: &str) -> SyntaxProblem {
    SyntaxProblem {
        code: "not-toml",
        offset,
        width: Some(statement.lines().next().unwrap_or("").len()),
        message: "this line cannot be read".to_owned(),
        hint: "a line is one of: key = \"value\" · [table] · [[table]] · # a comment".to_owned(),
        kind: String::new(),
        read: Whole::No,
    }
}

/// Reports what is wrong between statements that are right by themselves: a key or a table that is there twice.
fn report_rest(report: &mut Report<'_>, file: FileId, (text, mended): (&str, &str), error: &Error) {
    let span = error.span().unwrap_or(0..0);
    let offset = report.written(file, span.start);
    if report.is_reported(file, offset) {
        return;
    }
    let written = mended.get(span.clone()).unwrap_or("").trim_matches(['[', ']', ' ', '"']);
    let twice = error.message().contains("duplicate") && !written.is_empty();
    let problem = match first_of(text, offset, written).filter(|_| twice) {
        Some((line, is_header)) => {
            let shown = if is_header { format!("[{written}]") } else { written.to_owned() };
            let path = report.path(file);
            let hint = match (is_header, path.split('/').next()) {
                (true, _) => format!("the first is on line {line}: put all its keys below that one"),
                (false, Some("machines")) => {
                    format!("the first is on line {line}: remove one; or, for another machine, write [[machine]] before its keys")
                }
                (false, Some("images")) if written == "name" || written == "source" => {
                    format!("the first is on line {line}: remove one; or, for another version, write [[version]] before its keys")
                }
                (false, _) => format!("the first is on line {line}: remove one of them"),
            };
            SyntaxProblem {
                code: if is_header { "duplicate-table" } else { "duplicate-key" },
                offset,
                width: None,
                message: format!("{shown} is there twice"),
                hint,
                kind: shown,
                read: Whole::No,
            }
        }
        None => not_toml(offset, text.get(offset..).unwrap_or("")),
    };
    report.push_syntax(file, problem);
}

/// The line of the first statement for the key or the table that stands again at an offset, and whether it is a header.
fn first_of(text: &str, offset: usize, written: &str) -> Option<(usize, bool)> {
    let all: Vec<Statement> = Statements::new(text).take_while(|statement| statement.range.start <= offset).collect();
    let again = all.last()?;
    let is_header = statement::is_header(&text[again.range.clone()]);
    let is_it = |statement: &&Statement| {
        let own = &text[statement.range.clone()];
        match is_header {
            true => statement::is_header(own) && own.trim_matches(['[', ']', ' ']).starts_with(written),
            false => {
                let same = statement.section == again.section;
                same && statement::pair(own).is_some_and(|pair| pair.key.trim_matches('"') == written)
            }
        }
    };
    let first = all.iter().find(is_it)?;
    let line = text[..first.range.start].matches('\n').count() + 1;
    Some((line, is_header))
}
