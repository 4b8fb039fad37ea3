//! The text of one file: as it was written, as it is read, and how a place of the second is found in the first.
//!
//! Where TOML itself is broken, the text that is read has the mistake mended, so that the rest of the file is understood.
//!
//! **Invariant:** a place that is shown is one of the file as it was written; text of a commit never reaches a terminal with
//! control characters in it.

use crate::{diagnostic, names::is_harmful};
use std::{borrow::Cow, ops::Range};

/// Characters kept of a line, a message or a hint.
const QUOTED: usize = 640;

/// A piece of a text, and what is read in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mend {
    /// The bytes of the text as it was written.
    pub(super) range: Range<usize>,
    /// What is read instead.
    pub(super) text: String,
}

/// A mend's bytes in the text that is read, and in the one that was written.
#[derive(Debug)]
struct Shift {
    read: Range<usize>,
    written: Range<usize>,
}

/// One file's text.
#[derive(Debug)]
pub(super) struct FileText<'a> {
    pub(super) path: &'a str,
    written: &'a str,
    read: Cow<'a, str>,
    shifts: Vec<Shift>,
    /// The byte offset at which each line begins, as it was written.
    lines: Vec<usize>,
}

impl<'a> FileText<'a> {
    /// A file that is read as it was written.
    pub(super) fn new(path: &'a str, text: &'a str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Self { path, written: text, read: Cow::Borrowed(text), shifts: Vec::new(), lines }
    }

    /// Reads the file with these mends, which are in order and do not overlap.
    pub(super) fn mend(&mut self, mends: &[Mend]) {
        let mut read = String::with_capacity(self.written.len());
        let mut done = 0;
        for Mend { range, text } in mends {
            read.push_str(&self.written[done..range.start]);
            let start = read.len();
            read.push_str(text);
            self.shifts.push(Shift { read: start..read.len(), written: range.clone() });
            done = range.end;
        }
        read.push_str(&self.written[done..]);
        self.read = Cow::Owned(read);
    }

    /// The text that is read.
    pub(super) fn as_read(&self) -> &str {
        &self.read
    }

    /// The line (from 1) on which an offset of the written text stands.
    pub(super) fn line(&self, written: usize) -> u32 {
        self.lines.partition_point(|start| *start <= written) as u32
    }

    /// The offset in the written text of one in the text that is read.
    pub(super) fn written(&self, read: usize) -> usize {
        let before = self.shifts.partition_point(|shift| shift.read.start <= read);
        let Some(shift) = before.checked_sub(1).and_then(|at| self.shifts.get(at)) else { return read.min(self.written.len()) };
        let offset = match read.checked_sub(shift.read.end) {
            Some(past) => shift.written.end + past,
            None => (shift.written.start + (read - shift.read.start)).min(shift.written.end),
        };
        let mut offset = offset.min(self.written.len());
        while !self.written.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }

    /// The first character of the line an offset of the read text is on: where the key of a value stands.
    pub(super) fn start_of_line(&self, read: usize) -> usize {
        let bytes = self.read.as_bytes();
        let upto = read.min(bytes.len());
        let start = bytes[..upto].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let blank = bytes[start..upto].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        start + blank
    }

    /// The place of an offset of the written text; `width` is how many bytes are at fault, `None` for the word there.
    pub(super) fn locate(&self, offset: usize, width: Option<usize>) -> diagnostic::Place {
        let offset = offset.min(self.written.len());
        let line = self.line(offset);
        let start = self.lines[line as usize - 1];
        let whole = self.written[start..].split('\n').next().unwrap_or("").trim_end();
        let count = |bytes: &[u8]| bytes.iter().filter(|byte| (**byte & 0xC0) != 0x80).count();
        let column = count(&self.written.as_bytes()[start..offset]) + 1;
        let end = start + whole.len();
        let rest = self.written.get(offset..end).unwrap_or("");
        let width = width.map_or_else(|| word(rest), |width| width.min(rest.len()));
        let width = count(&rest.as_bytes()[..width]).max(1) as u32;
        let text = Some(printable(whole)).filter(|text| !text.is_empty());
        diagnostic::Place { file: self.path.to_owned(), line, column: column as u32, width, text }
    }
}

/// The length of the value, key or header that a text begins with.
fn word(text: &str) -> usize {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(quote @ (b'"' | b'\'')) => bytes[1..].iter().position(|byte| byte == quote).map_or(text.len(), |at| at + 2),
        Some(b'[') => {
            let mut depth = 0_usize;
            for (at, byte) in bytes.iter().enumerate() {
                match byte {
                    b'[' => depth += 1,
                    b']' if depth == 1 => return at + 1,
                    b']' => depth -= 1,
                    _ => {}
                }
            }
            text.len()
        }
        _ => text.find(|c: char| c.is_whitespace() || "=,]}#".contains(c)).unwrap_or(text.len()),
    }
}

/// A text fit for a terminal: no control characters, not longer than a few lines.
pub(super) fn printable(text: &str) -> String {
    let clean = |c: char| if is_harmful(c) { char::REPLACEMENT_CHARACTER } else { c };
    let mut shown: String = text.chars().take(QUOTED).map(|c| if c == '\t' { ' ' } else { clean(c) }).collect();
    if text.chars().nth(QUOTED).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_begin_at_one() {
        let text = FileText::new("a.toml", "x = 1\né = \"ö\" # no\r\n\tlast");
        for (offset, line, column) in [(0, 1, 1), (6, 2, 1), (11, 2, 5), (23, 3, 2), (999, 3, 6)] {
            let place = text.locate(offset, None);
            assert_eq!((place.line, place.column), (line, column), "{offset}");
        }
        assert_eq!(text.locate(11, None).width, 3);
        assert_eq!(text.start_of_line(25), 23);
    }

    #[test]
    fn a_place_behind_a_mend_is_the_one_that_was_written() {
        let mut text = FileText::new("a.toml", "ip = 1.2.3.4\n[machine\nmac = 1");
        let mend = |range, text: &str| Mend { range, text: text.to_owned() };
        text.mend(&[mend(5..12, "\"1.2.3.4\""), mend(13..21, "[[machine]]")]);
        assert_eq!(text.as_read(), "ip = \"1.2.3.4\"\n[[machine]]\nmac = 1");
        for (read, written) in [(0, 0), (5, 5), (6, 6), (14, 12), (15, 13), (16, 14), (26, 21), (27, 22), (33, 28), (99, 29)] {
            assert_eq!(text.written(read), written, "{read}");
        }
    }

    #[test]
    fn a_word_is_a_key_a_value_or_a_header() {
        for (text, length) in
            [("\"a b\" # x", 5), ("[[machine]] # x", 11), ("key = 1", 3), ("192.168.1.1, 2", 11), ("", 0), ("[a", 2)]
        {
            assert_eq!(word(text), length, "{text}");
        }
    }

    #[test]
    fn a_line_of_the_commit_cannot_steer_the_terminal() {
        let text = FileText::new("a.toml", "x = \"\u{1b}[2J\u{202e}\"");
        assert_eq!(text.locate(0, None).text.as_deref(), Some("x = \"\u{fffd}[2J\u{fffd}\""));
    }
}
