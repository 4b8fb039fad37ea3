//! A text that is not TOML, cut into statements: headers, and keys with their values.
//!
//! **Invariant:** a value that is not closed ends where the next statement seems to begin, so that one mistake costs one
//! statement.

use std::ops::Range;

/// A value that is longer is not closed: lists of a site have hundreds of entries at most.
const LONGEST: usize = 1 << 16;

/// What TOML takes as a blank: of a line that begins with any other, that one is what is wrong.
pub(super) const BLANKS: &[char] = &[' ', '\t', '\r'];

/// A header, or a key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Statement {
    /// Its bytes, without the end of its last line.
    pub(super) range: Range<usize>,
    /// Which header stands before it, counted from 1; 0 for none.
    pub(super) section: usize,
}

/// The parts of `key = value # comment`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair<'s> {
    pub(super) key: &'s str,
    /// Without blanks around it and without its comment.
    pub(super) value: &'s str,
    /// Where the value begins in the statement.
    pub(super) at: usize,
}

/// Takes a statement apart at its first `=`.
pub(super) fn pair(statement: &str) -> Option<Pair<'_>> {
    let equals = statement.find('=')?;
    let key = statement[..equals].trim();
    let rest = &statement[equals + 1..];
    let body = &rest[..end_of_value(rest).1];
    let at = equals + 1 + (body.len() - body.trim_start().len());
    Some(Pair { key, value: body.trim(), at })
}

/// True if a line begins with a header.
pub(super) fn is_header(line: &str) -> bool {
    line.trim_start().starts_with(['[', '［', '【'])
}

/// The statements of a text, one after the other.
pub(super) struct Statements<'t> {
    text: &'t str,
    at: usize,
    section: usize,
}

impl<'t> Statements<'t> {
    /// Those of a whole file.
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, at: 0, section: 0 }
    }
}

impl Iterator for Statements<'_> {
    type Item = Statement;

    fn next(&mut self) -> Option<Statement> {
        while self.at < self.text.len() {
            let (text, at) = (self.text, self.at);
            let line = text[at..].split('\n').next().unwrap_or("");
            // The mark of byte order is skipped at the beginning of a file alone.
            let mark = if at == 0 && line.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
            let (line, at) = (&line[mark..], at + mark);
            let trimmed = line.trim_matches(BLANKS);
            if trimmed.is_empty() || trimmed.starts_with('#') {
                self.at = at + line.len() + 1;
                continue;
            }
            let start = at + line.find(trimmed).unwrap_or(0);
            let end = if is_header(line) {
                self.section += 1;
                at + line.len()
            } else {
                let value = line.find('=').map_or(line.len(), |equals| equals + 1);
                at + value + end_of_value(&text[at + value..]).0
            };
            self.at = end + 1;
            return Some(Statement {
                range: start..start + text[start..end].trim_end_matches([' ', '\t', '\r', '\n']).len(),
                section: self.section,
            });
        }
        None
    }
}

/// Where a value and the rest of its line end, and where its comment begins.
fn end_of_value(text: &str) -> (usize, usize) {
    let first_line = text.find('\n').unwrap_or(text.len());
    let bytes = text.as_bytes();
    let (mut at, mut brackets, mut braces) = (0, 0_usize, 0_usize);
    let mut comment = None;
    while at < bytes.len() && at < LONGEST {
        match bytes[at] {
            b'\n' if brackets + braces == 0 => return (at, comment.unwrap_or(at)),
            b'\n' => {
                let next = text[at + 1..].split('\n').next().unwrap_or("").trim();
                let is_pair = braces == 0 && begins_pair(next);
                if is_pair || begins_table(next) {
                    return (at, comment.unwrap_or(at));
                }
                comment = None;
            }
            b'#' => {
                comment.get_or_insert(at);
                at += text[at..].find('\n').unwrap_or(text.len() - at);
                continue;
            }
            quote @ (b'"' | b'\'') => match end_of_string(&text[at..], quote) {
                Some(length) => {
                    at += length;
                    continue;
                }
                None => return (first_line, first_line),
            },
            b'[' => brackets += 1,
            b']' => brackets = brackets.saturating_sub(1),
            b'{' => braces += 1,
            b'}' => braces = braces.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    if at < bytes.len() {
        return (first_line, first_comment(&text[..first_line]));
    }
    (text.len(), comment.unwrap_or(text.len()))
}

fn first_comment(line: &str) -> usize {
    line.find(" #").unwrap_or(line.len())
}

/// The length of a string with its quotes; `None` if it is not closed.
fn end_of_string(text: &str, quote: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let triple = [quote; 3];
    if bytes.starts_with(&triple) {
        let closing = if quote == b'"' { "\"\"\"" } else { "'''" };
        return text[3..].find(closing).map(|at| at + 6);
    }
    let mut at = 1;
    while let Some(byte) = bytes.get(at) {
        match *byte {
            b'\n' => return None,
            b'\\' if quote == b'"' => at += 1,
            byte if byte == quote => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
    None
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// True for `word =`.
fn begins_pair(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, _)| is_word(key.trim()))
}

/// True for `[word]` and `[[word]]`.
fn begins_table(line: &str) -> bool {
    let inner = line.strip_prefix("[[").and_then(|rest| rest.split_once("]]"));
    let inner = inner.or_else(|| line.strip_prefix('[').and_then(|rest| rest.split_once(']')));
    inner.is_some_and(|(word, rest)| is_word(word) && !word.bytes().all(|b| b.is_ascii_digit()) && !rest.starts_with(','))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(&str, usize)> {
        Statements::new(text).map(|statement| (&text[statement.range], statement.section)).collect()
    }

    #[test]
    fn a_value_that_is_not_closed_costs_one_statement() {
        let text = "# x\nname = \"a\n[defaults]\nboot = [\"win11\"\nmac = \"#\" # y\n\n[[machine]]\ndns = [\n  \"1\", # one\n  \"2\",\n]\nx = \"\"\"\na\n\"\"\"\n";
        assert_eq!(
            cut(text),
            [
                ("name = \"a", 0),
                ("[defaults]", 1),
                ("boot = [\"win11\"", 1),
                ("mac = \"#\" # y", 1),
                ("[[machine]]", 2),
                ("dns = [\n  \"1\", # one\n  \"2\",\n]", 2),
                ("x = \"\"\"\na\n\"\"\"", 2),
            ]
        );
    }

    #[test]
    fn a_blank_that_is_none_to_toml_belongs_to_its_statement() {
        assert_eq!(
            cut("\u{feff}a = 1\n\u{3000}b = 2\n \u{a0}# c\n\u{3000}\n"),
            [("a = 1", 0), ("\u{3000}b = 2", 0), ("\u{a0}# c", 0), ("\u{3000}", 0),]
        );
    }

    #[test]
    fn a_pair_is_key_and_value_without_comment() {
        let found = pair("ip  = 192.168.1.1  # till");
        assert_eq!(found, Some(Pair { key: "ip", value: "192.168.1.1", at: 6 }));
        assert_eq!(pair("a = \"#\"").map(|pair| pair.value), Some("\"#\""));
        assert_eq!(pair("ip"), None);
    }
}
