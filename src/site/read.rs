//! TOML text becomes the types of [`super::raw`], with every problem of form found on the way.
//!
//! serde stops at the first problem. So the text is parsed once into a tree that knows its places, and when a type refuses
//! the tree, the finding is recorded, the offending entry is cut out, and the type reads the tree again.
//!
//! **Invariant:** one problem is one finding; an entry that was cut out is remembered, so that it is not called missing too.

use super::{
    raw::Spanned,
    report::{FileId, Problem, Report, error},
    schema, spelling,
};
use serde::de::DeserializeOwned;
use serde_spanned::Spanned as Located;
use std::ops::Range;
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// How often one table is read again before the rest of its problems waits for the next check.
const ATTEMPTS: usize = 50;

/// Parses a file; what is not TOML is reported, the rest of the file is read all the same.
pub(super) fn parse<'a>(report: &mut Report<'a>, file: FileId, text: &'a str) -> DeTable<'a> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut last_line = None;
    for problem in errors {
        let offset = problem.span().map_or(0, |span| span.start);
        // One slip often upsets the parser several times on its line: the first says most.
        let line = text.as_bytes()[..offset.min(text.len())].iter().rposition(|byte| *byte == b'\n');
        if last_line == Some(line) {
            continue;
        }
        last_line = Some(line);
        let hint = syntax_hint(problem.message());
        report.push_syntax(file, offset as u32, format!("not TOML: {}", problem.message()), hint.map(str::to_owned));
    }
    table.into_inner()
}

fn syntax_hint(message: &str) -> Option<&'static str> {
    let hints = [
        ("duplicate key", "a key may stand once in its table; several machines or versions are [[machine]] or [[version]]"),
        ("string values must be quoted", "write the text in double quotes"),
        ("invalid table header", "a table begins with [name], an entry of a list with [[name]]"),
    ];
    hints.into_iter().find(|(part, _)| message.contains(part)).map(|(_, hint)| hint)
}

/// Takes the entries of an array of tables out of a table, to be read one by one; leaves anything else there.
pub(super) fn take_entries<'a>(table: &mut DeTable<'a>, key: &str) -> Vec<Located<DeValue<'a>>> {
    match table.get(key).map(Located::get_ref) {
        Some(DeValue::Array(_)) => match table.remove(key).map(Located::into_inner) {
            Some(DeValue::Array(entries)) => entries.into_iter().collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Reads a file's table; `T::default()` if nothing of it can be read. `sections` are its keys that are tables.
pub(super) fn read_file<T: DeserializeOwned + Default>(
    report: &mut Report<'_>,
    file: FileId,
    mut table: DeTable<'_>,
    sections: &[&str],
) -> T {
    // serde's derived types would take an array for a table, its values by position.
    for section in sections {
        let Some(value) = table.get(*section).filter(|value| !value.get_ref().is_table()) else { continue };
        let problem = error(file.at(value.span().start as u32), format!("{section} must be a table"));
        report.push(problem.hint(format!("write [{section}] in single brackets, and its keys below it")));
        report.mark_broken(file, 0, section);
        table.remove(*section);
    }
    read(report, file, Located::new(0..0, DeValue::Table(table))).unwrap_or_default()
}

/// Reads the entries of an array of tables, each for itself, so that a problem costs one entry and not the file.
pub(super) fn read_entries<T: DeserializeOwned>(
    report: &mut Report<'_>,
    file: FileId,
    entries: Vec<Located<DeValue<'_>>>,
) -> Vec<Spanned<T>> {
    entries
        .into_iter()
        .filter_map(|entry| {
            let start = entry.span().start as u32;
            if !entry.get_ref().is_table() {
                report.push(
                    error(file.at(start), "each entry of this list must be a table").hint("write [[name]] in double brackets"),
                );
                return None;
            }
            read(report, file, entry).map(|value| Spanned { value, start })
        })
        .collect()
}

/// Reads a value as a type, cutting out what the type refuses; `None` if it refuses the whole.
fn read<T: DeserializeOwned>(report: &mut Report<'_>, file: FileId, mut value: Located<DeValue<'_>>) -> Option<T> {
    for _ in 0..ATTEMPTS {
        let refusal = match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(read) => return Some(read),
            Err(refusal) => refusal,
        };
        let span = refusal.span().unwrap_or_else(|| value.span());
        let (problem, meant) = explain(report, file, refusal.message(), &span);
        report.push(problem);
        let start = value.span().start as u32;
        let Cut::Entry { table, key } = cut(value.get_mut(), start, &span) else {
            report.give_up(file);
            return None;
        };
        report.mark_broken(file, table, &key);
        if let Some(meant) = meant {
            report.mark_broken(file, table, &meant);
        }
    }
    let rule = format!("more than {ATTEMPTS} problems in one table; the rest is not listed");
    report.push(error(file.at(value.span().start as u32), rule).hint("mend the ones listed and check again"));
    report.give_up(file);
    None
}

/// What became of an attempt to cut an entry out.
enum Cut {
    /// It was this key of the table that begins there.
    Entry { table: u32, key: String },
    /// It was an element of this array itself.
    Element,
    /// It is not in here.
    Nothing,
}

/// Cuts out the smallest entry that stands at `span`.
fn cut(value: &mut DeValue<'_>, start: u32, span: &Range<usize>) -> Cut {
    match value {
        DeValue::Table(table) => cut_table(table, start, span),
        DeValue::Array(array) => {
            let mut here = None;
            for (at, entry) in array.as_mut().iter_mut().enumerate() {
                let own = entry.span();
                match cut(entry.get_mut(), own.start as u32, span) {
                    Cut::Nothing if covers(&own, span) => here = Some(at),
                    Cut::Nothing => {}
                    done => return done,
                }
            }
            if let Some(here) = here {
                let entries = array.iter().enumerate();
                *array = entries.filter(|(at, _)| *at != here).map(|(_, entry)| entry.clone()).collect();
                return Cut::Element;
            }
            Cut::Nothing
        }
        _ => Cut::Nothing,
    }
}

fn cut_table(table: &mut DeTable<'_>, start: u32, span: &Range<usize>) -> Cut {
    let mut found = None;
    for (key, value) in table.iter_mut() {
        let own = value.span();
        let here = || Cut::Entry { table: start, key: key.get_ref().to_string() };
        match cut(value.get_mut(), own.start as u32, span) {
            Cut::Nothing if covers(&key.span(), span) || covers(&own, span) => found = Some(key.get_ref().to_string()),
            Cut::Nothing => {}
            Cut::Element => return here(),
            done => return done,
        }
    }
    let Some(key) = found else { return Cut::Nothing };
    table.remove(key.as_str());
    Cut::Entry { table: start, key }
}

fn covers(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Says a refusal in our words; also which key was meant by an unknown one.
fn explain(report: &Report<'_>, file: FileId, message: &str, span: &Range<usize>) -> (Problem, Option<String>) {
    let place = file.at(span.start as u32);
    let written = report.slice(file, span.start, span.end).trim_matches(['"', '\'']);
    let legal = legal_words(message);
    if message.starts_with("unknown field") {
        let meant = spelling::nearest(written, legal.iter().copied()).map(str::to_owned);
        let guess = spelling::did_you_mean(written, legal.iter().copied());
        let other = schema::elsewhere(report.path(file), written).map(|other| other + "; ").filter(|_| guess.is_empty());
        let hint = format!("{guess}{}legal here: {}", other.unwrap_or_default(), legal.join(", "));
        return (error(place, format!("unknown key {written:?}")).hint(hint), meant);
    }
    if message.starts_with("unknown variant") {
        let guess = spelling::did_you_mean(written, legal.iter().copied());
        let quoted: Vec<String> = legal.iter().map(|word| format!("\"{word}\"")).collect();
        let hint = format!("{guess}legal here: {}", quoted.join(", "));
        return (error(place, format!("unknown value {written:?}")).hint(hint), None);
    }
    let problem = error(place, in_tomls_words(message));
    match type_hint(message) {
        Some(hint) => (problem.hint(hint), None),
        None => (problem, None),
    }
}

/// serde speaks of Rust's types; people who write TOML do not.
fn in_tomls_words(message: &str) -> String {
    let words = [
        ("a sequence", "an array"),
        (": sequence", ": array"),
        (": map", ": table"),
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected u32", "expected a whole number from 0 to 4294967295"),
    ];
    words.into_iter().fold(message.to_owned(), |text, (word, ours)| match text.strip_suffix(word) {
        Some(before) => format!("{before}{ours}"),
        None if word.starts_with(':') => text.replacen(&format!("invalid type{word},"), &format!("invalid type{ours},"), 1),
        None => text,
    })
}

fn type_hint(message: &str) -> Option<&'static str> {
    let found = message.strip_prefix("invalid type: ")?;
    if found.ends_with("expected a string") || found.ends_with("expected string") {
        return Some("write it in double quotes");
    }
    if found.ends_with("expected a sequence") {
        return Some(if found.starts_with("map") { "write [[name]] in double brackets" } else { "write a list: [\"…\"]" });
    }
    if found.ends_with("expected a boolean") {
        return Some("write true or false, without quotes");
    }
    if found.contains("expected u") {
        return Some("write a whole number, without quotes");
    }
    None
}

/// The words that serde lists after "expected", each in backquotes. All of them are ours; the word before may be anything.
fn legal_words(message: &str) -> Vec<&str> {
    let list = message.rfind(", expected ").map_or("", |at| &message[at..]);
    list.split('`').skip(1).step_by(2).collect()
}
