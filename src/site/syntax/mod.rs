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
use header::{Around, Below};
use repair::Repair;
use statement::{Statement, Statements};
use std::{collections::BTreeMap, ops::Range};
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
    if !errors.is_empty() {
        let firsts = Firsts::of(text);
        for error in errors {
            report_rest(report, *file, (text, mended), &firsts, &error);
        }
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
    let mut before = None;
    for Statement { range, .. } in Statements::new(text) {
        let statement = &text[range.clone()];
        let is_header = statement::is_header(statement);
        if let Some(table) = entry.begins_again(path, statement) {
            let problem = header_missing(range.start, table, statement);
            report.push_syntax(file, problem);
            mends.push(Mend { range: range.start..range.start, text: format!("[[{table}]]\n") });
        }
        let found = if is_header {
            let judge = |below| header::judge(path, Around { before, below }, statement);
            // What stands below is looked at for a header that is wrong, of which there are few that are listed.
            let found = judge(Below::Unnamed).and_then(|_| judge(below(text, range.end)));
            before = Some(statement.split('#').next().unwrap_or("").trim().trim_matches(['[', ']', ' ']));
            found
        } else {
            None
        };
        if found.is_none() && is_toml(statement) {
            continue;
        }
        if report.is_full(file.whole()) {
            // Nobody reads on; what follows is not read either.
            report.give_up(file);
            mends.push(Mend { range: range.start..text.len(), text: String::new() });
            break;
        }
        let (problem, mend) =
            match found.or_else(|| header::judge_bare(path, statement)).or_else(|| repair::find(path, statement)) {
                Some(Repair { code, at, message, text, hint, kind }) => {
                    let hint = hint.unwrap_or_else(|| format!("write {}", text.replace('\n', " ")));
                    let offset = range.start + at.start;
                    let width = Some(at.len());
                    let mend = if is_toml(&text) { text } else { String::new() };
                    let read = if mend.is_empty() { Whole::No } else { Whole::Yes };
                    (SyntaxProblem { code, offset, width, end: range.end, message, hint, kind, read }, mend)
                }
                None => (not_toml(range.clone(), text), String::new()),
            };
        report.push_syntax(file, problem);
        mends.push(Mend { range, text: mend });
    }
    mends
}

/// Whether a name stands below the header that ends at an offset.
fn below(text: &str, header: usize) -> Below {
    let rest = text.get(header..).unwrap_or("");
    let own = Statements::new(rest).map(|statement| &rest[statement.range]).take_while(|own| !statement::is_header(own));
    let is_name = |own: &str| statement::pair(own).is_some_and(|pair| pair.key == "name");
    // An entry has some dozen keys.
    if own.take(32).any(is_name) { Below::Named } else { Below::Unnamed }
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
        end: offset,
        message: format!("{key} is there twice in this {table}: does another {table} begin here?"),
        hint: format!("write [[{table}]] on a line of its own before this line; or remove the second {key}"),
        kind: table.to_owned(),
        read: Whole::Yes,
    }
}

fn is_toml(text: &str) -> bool {
    DeTable::parse_recoverable(text).1.is_empty()
}

/// A statement of which no rule knows what is wrong with it; its place is the line where the parser stumbles.
fn not_toml(range: Range<usize>, text: &str) -> SyntaxProblem {
    let statement = text.get(range.clone()).unwrap_or("");
    let errors = DeTable::parse_recoverable(statement).1;
    let stumble = errors.first().and_then(|error| error.span()).map_or(0, |span| span.start);
    let before = statement.get(..stumble).unwrap_or("");
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = statement.get(start..).unwrap_or("").lines().next().unwrap_or("");
    let blank = line.len() - line.trim_start_matches(statement::BLANKS).len();
    SyntaxProblem {
        code: "not-toml",
        offset: range.start + start + blank,
        width: Some(line.trim().len()),
        end: range.end,
        message: "this line cannot be read".to_owned(),
        hint: "a line is one of: key = \"value\" · [table] · [[table]] · # a comment".to_owned(),
        kind: String::new(),
        read: Whole::No,
    }
}

/// Reports what is wrong between statements that are right by themselves: a key or a table that is there twice.
fn report_rest(report: &mut Report<'_>, file: FileId, (text, mended): (&str, &str), firsts: &Firsts, error: &Error) {
    let span = error.span().unwrap_or(0..0);
    let offset = report.written(file, span.start);
    if report.is_reported(file, offset) {
        return;
    }
    let written = mended.get(span.clone()).unwrap_or("").trim_matches(['[', ']', ' ', '"']);
    let twice = error.message().contains("duplicate") && !written.is_empty();
    let problem = match firsts.line(offset, written).filter(|_| twice) {
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
                end: offset,
                message: format!("{shown} is there twice"),
                hint,
                kind: shown,
                read: Whole::No,
            }
        }
        None => not_toml(offset..offset + text.get(offset..).and_then(|rest| rest.find('\n')).unwrap_or(0), text),
    };
    report.push_syntax(file, problem);
}

/// Where each key of each section, and each table, stands first.
struct Firsts {
    /// The beginning of every statement, its section, and its name if it is a header.
    all: Vec<(usize, usize, Option<String>)>,
    keys: BTreeMap<(usize, String), u32>,
    tables: BTreeMap<String, u32>,
}

impl Firsts {
    /// Those of a whole file.
    fn of(text: &str) -> Self {
        let mut firsts = Self { all: Vec::new(), keys: BTreeMap::new(), tables: BTreeMap::new() };
        let (mut line, mut counted) = (1, 0);
        for Statement { range, section } in Statements::new(text) {
            let own = &text[range.clone()];
            line += text[counted..range.start].matches('\n').count() as u32;
            counted = range.start;
            let name = statement::is_header(own)
                .then(|| own.split('#').next().unwrap_or("").trim().trim_matches(['[', ']', ' ']).to_owned());
            match (&name, statement::pair(own)) {
                (Some(table), _) => drop(firsts.tables.entry(table.clone()).or_insert(line)),
                (None, Some(pair)) => {
                    firsts.keys.entry((section, pair.key.trim_matches('"').to_owned())).or_insert(line);
                }
                (None, None) => {}
            }
            firsts.all.push((range.start, section, name));
        }
        firsts
    }

    /// The line of the first statement for the key or the table that stands again at an offset, and whether it is a header.
    fn line(&self, offset: usize, written: &str) -> Option<(u32, bool)> {
        let at = self.all.partition_point(|(start, ..)| *start <= offset).checked_sub(1)?;
        let (_, section, header) = self.all.get(at)?;
        match header {
            Some(table) => self.tables.get(table).map(|line| (*line, true)),
            None => self.keys.get(&(*section, written.to_owned())).map(|line| (*line, false)),
        }
    }
}
