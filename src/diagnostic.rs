//! What is wrong, where, and how to mend it: one type for every room that tells people so.
//!
//! **Invariant:** a diagnostic stands for one problem, and its code stays what it is when its words change. The caret of the
//! printed form stands under the offending text whatever the width of the characters before it.

use owo_colors::Style;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How much a diagnostic weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// What is judged is refused.
    Error,
    /// It stands; the operator is told.
    Warning,
    /// Nothing is wrong; it is said what follows.
    Note,
}

impl Severity {
    /// The word that a printed diagnostic begins with.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// The rule that is broken: a stable word such as `unknown-key`, for programs and for looking it up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Code(#[schemars(regex(pattern = "^[a-z0-9]+(-[a-z0-9]+)*$"))] Cow<'static, str>);

impl Code {
    /// A code of the program's own; lower-case words with '-' between.
    pub const fn new(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&'static str> for Code {
    fn from(code: &'static str) -> Self {
        Self::new(code)
    }
}

/// Where something is wrong; ordered by file, line and column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Place {
    /// The file, relative to the site; or another thing that the problem is about.
    pub file: String,
    /// The line, from 1; 0 where the problem is about the file as a whole.
    pub line: u32,
    /// The column in characters, from 1; 0 where the problem is about the file as a whole.
    pub column: u32,
    /// How many characters are at fault, from that column on.
    #[serde(default)]
    pub width: u32,
    /// The offending line, fit for a terminal.
    pub text: Option<String>,
}

impl Place {
    /// A file, or another thing, as a whole.
    pub fn whole(file: impl Into<String>) -> Self {
        Self { file: file.into(), ..Self::default() }
    }
}

/// One problem; ordered by place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Diagnostic {
    /// Where it is.
    pub place: Place,
    /// How much it weighs.
    pub severity: Severity,
    /// The rule that is broken.
    pub code: Code,
    /// What is wrong, in a sentence.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Further lines of the file with the same mistake.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<u32>,
}

/// Further lines that are named; the rest is counted.
const NAMED: usize = 6;
/// Columns of a quoted line: with its number and frame it fits a terminal of 80.
const QUOTED: usize = 70;

/// The styles of a printed diagnostic's parts; all plain by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Palette {
    /// The word `error`, its code, and the caret of an error.
    pub error: Style,
    /// The same of a warning.
    pub warning: Style,
    /// The same of a note.
    pub note: Style,
    /// Line numbers and the frame beside them.
    pub frame: Style,
    /// The word `hint`.
    pub hint: Style,
}

impl Palette {
    /// The colours of a terminal.
    pub fn colours() -> Self {
        Self {
            error: Style::new().red().bold(),
            warning: Style::new().yellow().bold(),
            note: Style::new().cyan(),
            frame: Style::new().blue(),
            hint: Style::new().green(),
        }
    }
}

impl Diagnostic {
    /// One about a file, or another thing, as a whole.
    pub fn whole(
        severity: Severity,
        code: impl Into<Code>,
        about: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let (place, code, message, hint) = (Place::whole(about), code.into(), message.into(), Some(hint.into()));
        Self { place, severity, code, message, hint, also: Vec::new() }
    }

    /// What is wrong and what to do about it, on one line, for a log.
    pub fn on_one_line(&self) -> String {
        match &self.hint {
            Some(hint) => format!("{}; to mend it: {hint}", self.message),
            None => self.message.clone(),
        }
    }

    /// The printed form in these styles.
    pub fn painted(&self, palette: Palette) -> String {
        let Place { file, line, column, .. } = &self.place;
        let style = match self.severity {
            Severity::Error => palette.error,
            Severity::Warning => palette.warning,
            Severity::Note => palette.note,
        };
        let word = format!("{}[{}]", self.severity.as_str(), self.code.as_str());
        let at = if *line > 0 { format!("{file}:{line}:{column}") } else { file.clone() };
        let mut shown = format!("{}: {at}: {}", style.style(word), self.message);
        if let Some(text) = &self.place.text {
            let number = line.to_string();
            let (text, blank, caret) = caret(text, *column, self.place.width);
            let blanks = " ".repeat(number.len());
            shown += &format!("\n  {} {text}", palette.frame.style(format!("{number} |")));
            if !caret.is_empty() {
                let frame = format!("{blanks} |");
                shown += &format!("\n  {} {}{}", palette.frame.style(frame), " ".repeat(blank), style.style(caret));
            }
        }
        if let Some(also) = self.also_on() {
            shown += &format!("\n  {also}");
        }
        if let Some(hint) = &self.hint {
            shown += &format!("\n  {}: {hint}", palette.hint.style("hint"));
        }
        shown
    }

    /// `also on lines 10, 15 and 20`
    fn also_on(&self) -> Option<String> {
        let named: Vec<String> = self.also.iter().take(NAMED).map(u32::to_string).collect();
        let more = self.also.len() - named.len();
        Some(match (&named[..], more) {
            ([], _) => return None,
            ([one], 0) => format!("also on line {one}"),
            ([first @ .., last], 0) => format!("also on lines {} and {last}", first.join(", ")),
            (_, more) => format!("also on lines {} and {more} more", named.join(", ")),
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.painted(Palette::default()))
    }
}

/// A line as it is quoted, the blanks before its caret, and the caret; a long line is cut to what stands around the caret.
fn caret(text: &str, column: u32, width: u32) -> (String, usize, String) {
    let characters: Vec<char> = text.chars().collect();
    let at = (column.max(1) as usize - 1).min(characters.len());
    let columns = |part: &[char]| part.iter().map(|c| c.width().unwrap_or(0)).sum::<usize>();
    let mut first = 0;
    if text.width() > QUOTED {
        // Half a line of what stands before tells where it is.
        while columns(&characters[first..at]) > QUOTED / 2 {
            first += 1;
        }
    }
    let mut end = first;
    while end < characters.len() && columns(&characters[first..=end]) <= QUOTED {
        end += 1;
    }
    let cut_before = if first > 0 { "…" } else { "" };
    let cut_after = if end < characters.len() { "…" } else { "" };
    let quoted: String = characters[first..end].iter().collect();
    let blank = columns(&characters[first..at]) + cut_before.chars().count();
    let upto = (at + width.max(1) as usize).min(end).max(at);
    let caret = if width == 0 { String::new() } else { "^".repeat(columns(&characters[at..upto]).max(1)) };
    (format!("{cut_before}{quoted}{cut_after}"), blank, caret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(text: &str, column: u32, width: u32) -> Diagnostic {
        Diagnostic {
            place: Place { file: "a.toml".into(), line: 7, column, width, text: Some(text.into()) },
            severity: Severity::Error,
            code: Code::new("unknown-key"),
            message: "no".into(),
            hint: Some("yes".into()),
            also: vec![9, 11],
        }
    }

    #[test]
    fn the_caret_stands_under_the_offending_text_behind_wide_characters() {
        let shown = diagnostic("标题 = x", 6, 1).to_string();
        let expected =
            "error[unknown-key]: a.toml:7:6: no\n  7 | 标题 = x\n    |        ^\n  also on lines 9 and 11\n  hint: yes";
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_long_line_is_cut_to_what_stands_around_the_caret() {
        let text = format!("{}here{}", "x".repeat(300), "y".repeat(300));
        let shown = diagnostic(&text, 301, 4).to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines.iter().all(|line| line.width() <= 80), "{shown}");
        let at = lines[2].chars().position(|c| c == '^').expect("a caret");
        assert_eq!(lines[1].chars().skip(at).take(4).collect::<String>(), "here");
    }

    #[test]
    fn a_place_past_the_end_of_its_line_has_a_caret_behind_it() {
        let shown = diagnostic("ip =", 5, 1).to_string();
        assert!(shown.contains("\n  7 | ip =\n    |     ^\n"), "{shown}");
    }

    #[test]
    fn colours_add_nothing_but_colour() {
        let diagnostic = diagnostic("ip = 1", 6, 1);
        let painted = diagnostic.painted(Palette::colours());
        assert!(painted.contains('\u{1b}') && !diagnostic.to_string().contains('\u{1b}'));
        assert_eq!(anstream::adapter::strip_str(&painted).to_string(), diagnostic.to_string());
    }
}
