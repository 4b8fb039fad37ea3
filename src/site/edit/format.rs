//! Puts a site's file into its usual form: keys in the order of the schemas, one blank line between entries, no blanks at the ends of
//! lines.
//!
//! **Invariant:** never changes what a file says, which is compared at the end; every comment stays, above or behind what it was above or
//! behind. What was formatted once is formatted.

use super::order::keys;
use toml_edit::{Array, Decor, DocumentMut, InlineTable, Item, KeyMut, RawString, Table, Value};

/// Why a file is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// It is not TOML.
    #[error("not TOML: {what}")]
    NotToml {
        /// The line, from 1.
        line: u32,
        /// What is wrong.
        what: String,
    },
    /// Its usual form would say something else: a fault of this program.
    #[error("its usual form would not say the same, so it stays as it is")]
    OtherMeaning,
}

/// A site's file in its usual form; `path` is its path in the site.
pub fn format(path: &str, text: &str) -> Result<String, FormatError> {
    let (mark, bare) = text.strip_prefix('\u{feff}').map_or(("", text), |bare| ("\u{feff}", bare));
    let is_windows = bare.split_inclusive('\n').next().is_some_and(|line| line.ends_with("\r\n"));
    let plain = bare.replace("\r\n", "\n");
    let meaning = parse(bare)?;
    let (head, body) = split_head(&plain);
    let mut document: DocumentMut = body.parse().map_err(|error: toml_edit::TomlError| FormatError::NotToml {
        line: line_of(&plain, plain.len() - body.len() + error.span().map_or(0, |span| span.start)),
        what: error.message().to_owned(),
    })?;
    // The last line of a file may lack its end.
    let end = clean_lines(&format!("{}\n", document.trailing().as_str().unwrap_or_default()), Blank::Keep);
    format_table(document.as_table_mut(), path, "", Level::File);
    document.set_trailing(end);
    let body = document.to_string();
    let joined = format!("{}{}", clean_head(head), body.trim_start_matches('\n'));
    let joined = joined.trim_end().to_owned() + "\n";
    let after = mark.to_owned() + &if is_windows { joined.replace('\n', "\r\n") } else { joined };
    match parse(after.trim_start_matches('\u{feff}')) {
        Ok(said) if said == meaning => Ok(after),
        _ => Err(FormatError::OtherMeaning),
    }
}

fn parse(text: &str) -> Result<toml::Table, FormatError> {
    text.parse().map_err(|error: toml::de::Error| FormatError::NotToml {
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        what: error.message().to_owned(),
    })
}

fn line_of(text: &str, offset: usize) -> u32 {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() as u32 + 1
}

/// The comments that are about the file as a whole, and the rest: up to the last blank line before the first key, and in any case the
/// line that names the schema.
fn split_head(text: &str) -> (&str, &str) {
    let (mut at, mut end) = (0, 0);
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        if !trimmed.is_empty() && !trimmed.starts_with('#') {
            break;
        }
        at += line.len();
        if trimmed.is_empty() || trimmed.starts_with("#:schema") {
            end = at;
        }
    }
    text.split_at(end)
}

fn clean_head(head: &str) -> String {
    let lines = clean_lines(head, Blank::Keep);
    lines.trim_start_matches('\n').to_owned()
}

/// Whether an entry has a blank line before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blank {
    /// One where there is any.
    Keep,
    /// One, or the comments before it have one among them.
    Require,
    /// None before its comments.
    Drop,
}

/// Comments and blank lines before an entry: without indentation, no two blank lines in a row.
fn clean_lines(text: &str, blank: Blank) -> String {
    let mut lines: Vec<&str> = text.split('\n').map(str::trim).collect();
    // What stands before the entry on its own line.
    lines.pop();
    lines.dedup_by(|line, before| line.is_empty() && before.is_empty());
    match blank {
        Blank::Keep => {}
        Blank::Drop => {
            let leading = lines.iter().take_while(|line| line.is_empty()).count();
            drop(lines.drain(..leading));
        }
        Blank::Require if lines.iter().any(|line| line.is_empty()) => {}
        Blank::Require => lines.insert(0, ""),
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Whether a table is the file itself, or stands under a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    File,
    Header,
}

fn format_table(table: &mut Table, path: &str, name: &str, level: Level) {
    if let Some(order) = keys(path, name) {
        let rank = |key: &str| order.iter().position(|known| *known == key).unwrap_or(order.len());
        table.sort_values_by(|one, _, other, _| rank(one.get()).cmp(&rank(other.get())));
    }
    if level == Level::Header && !table.is_dotted() && !table.is_implicit() {
        let (before, behind) = (prefix(table.decor()), suffix(table.decor()));
        *table.decor_mut() = Decor::new(clean_lines(&before, Blank::Require), clean_end(&behind));
    }
    let mut is_first = true;
    for (mut key, item) in table.iter_mut() {
        // The tables of a file have their names; what lies in those has no order of its own.
        let inner = if name.is_empty() { key.get().to_owned() } else { "*".to_owned() };
        match item {
            Item::Value(value) => {
                format_pair(&mut key, value, if is_first { Blank::Drop } else { Blank::Keep });
                format_value(value, path, &inner);
                is_first = false;
            }
            Item::Table(table) => format_table(table, path, &inner, Level::Header),
            Item::ArrayOfTables(tables) => tables.iter_mut().for_each(|table| format_table(table, path, &inner, Level::Header)),
            Item::None => {}
        }
    }
}

/// `key = value # comment`
fn format_pair(key: &mut KeyMut<'_>, value: &mut Value, blank: Blank) {
    let before = key.leaf_decor().prefix().and_then(RawString::as_str).unwrap_or_default().to_owned();
    *key.leaf_decor_mut() = Decor::new(clean_lines(&before, blank), " ");
    let behind = suffix(value.decor());
    *value.decor_mut() = Decor::new(" ", clean_end(&behind));
}

fn format_value(value: &mut Value, path: &str, name: &str) {
    match value {
        Value::Array(array) => format_array(array, path, name),
        Value::InlineTable(table) => format_inline(table, path, name),
        _ => {}
    }
}

fn format_array(array: &mut Array, path: &str, name: &str) {
    let trailing = trim_ends(array.trailing().as_str().unwrap_or_default());
    array.set_trailing(trailing);
    for element in array.iter_mut() {
        let decor = element.decor_mut();
        *decor = Decor::new(trim_ends(&prefix(decor)), trim_ends(&suffix(decor)));
        format_value(element, path, name);
    }
}

/// `{ key = value, key = value }`; one of several lines or with comments stays as it is.
fn format_inline(table: &mut InlineTable, path: &str, name: &str) {
    if table.to_string().contains(['\n', '#']) {
        return;
    }
    if let Some(order) = keys(path, name) {
        let rank = |key: &str| order.iter().position(|known| *known == key).unwrap_or(order.len());
        table.sort_values_by(|one, _, other, _| rank(one.get()).cmp(&rank(other.get())));
    }
    let last = table.len().saturating_sub(1);
    for (at, (mut key, value)) in table.iter_mut().enumerate() {
        *key.leaf_decor_mut() = Decor::new(" ", " ");
        *value.decor_mut() = Decor::new(" ", if at == last { " " } else { "" });
        format_value(value, path, "*");
    }
}

fn prefix(decor: &Decor) -> String {
    decor.prefix().and_then(RawString::as_str).unwrap_or_default().to_owned()
}

fn suffix(decor: &Decor) -> String {
    decor.suffix().and_then(RawString::as_str).unwrap_or_default().to_owned()
}

/// What stands behind a value on its line: a comment with a blank before it, which people align, or nothing.
fn clean_end(text: &str) -> String {
    match text.trim_end() {
        "" => String::new(),
        comment if comment.starts_with('#') => format!(" {comment}"),
        comment => comment.to_owned(),
    }
}

/// A text of several lines without the blanks at their ends; the last goes on behind it.
fn trim_ends(text: &str) -> String {
    let mut lines: Vec<&str> = text.split('\n').collect();
    let last = lines.pop().unwrap_or_default();
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect::<String>() + last
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "#:schema ../schemas/machines.schema.json
# Row A.  \n
[defaults]
  firmware = \"uefi\"   # all of them
boot=[ \"local\",  \n   # the menu\n  \"win11\"\t\n]


# By the window.
[[machine]] # wobbles

# Its card.
mac   = \"88:ae:dd:05:08:10\"
name = \"pc01\"    # first
# ip = \"192.168.1.101\"
[[machine]]
macs = [\"88:ae:dd:05:08:11\"]
options = {  \"224\"=\"hex:01\",ntp-servers = [\"192.168.1.1\"] }
name = \"pc02\"
# The end.\n\n\n";

    const AFTER: &str = "#:schema ../schemas/machines.schema.json
# Row A.

[defaults]
boot = [ \"local\",
   # the menu
  \"win11\"
]
firmware = \"uefi\"   # all of them

# By the window.
[[machine]] # wobbles
name = \"pc01\"    # first

# Its card.
mac = \"88:ae:dd:05:08:10\"

# ip = \"192.168.1.101\"
[[machine]]
name = \"pc02\"
macs = [\"88:ae:dd:05:08:11\"]
options = { \"224\" = \"hex:01\", ntp-servers = [\"192.168.1.1\"] }
# The end.
";

    #[test]
    fn keys_have_their_order_and_comments_stay_where_they_belong() {
        assert_eq!(format("machines/row-a.toml", BEFORE).as_deref(), Ok(AFTER));
        assert_eq!(format("machines/row-a.toml", AFTER).as_deref(), Ok(AFTER), "once is enough");
    }

    #[test]
    fn a_file_of_windows_stays_one() {
        let windows = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
        assert_eq!(format("machines/row-a.toml", &windows(BEFORE)), Ok(windows(AFTER)));
    }

    #[test]
    fn what_stands_in_a_string_is_nobodys_to_trim() {
        let text = "kind = \"linux\"\nargs = \"\"\"a  \n  b \"\"\"\n";
        assert_eq!(format("images/a.toml", text).as_deref(), Ok(text));
    }

    #[test]
    fn what_does_not_parse_is_refused_with_its_line() {
        let refused = format("site.toml", "# x\n\nname = \"a\"\nname = \"b\"\n");
        assert!(matches!(refused, Err(FormatError::NotToml { line: 4, .. })), "{refused:?}");
        let refused = format("site.toml", "name = \n");
        assert!(matches!(refused, Err(FormatError::NotToml { line: 1, .. })), "{refused:?}");
    }

    #[test]
    fn empty_files_and_files_of_comments_are_left_alone() {
        for text in ["\n", "# nothing yet\n", "#:schema x\n"] {
            assert_eq!(format("machines/a.toml", text).as_deref(), Ok(text));
        }
    }
}
