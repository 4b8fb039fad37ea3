//! Free text that a site puts into an iPXE script.
//!
//! **Invariant:** iPXE has no quoting: it splits at blanks, takes `;`, `||` and `&&` as separators, a word that begins
//! with `#` as a comment, and expands `${…}` again and again (iPXE `core/exec.c`, `image/script.c`, `core/settings.c`).
//! A text that holds any of it is refused, never mended.

use super::text_form;
use crate::names::{NameError, is_harmful};
use std::str::FromStr;
use unicode_width::UnicodeWidthStr as _;

/// Judges a text that goes into a script as it is.
fn judge_script(what: &'static str, text: &str, longest: usize) -> Result<(), NameError> {
    if text.len() > longest {
        return Err(NameError::new(what, text, format!("is longer than {longest} bytes")));
    }
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_graphic() || *c == ' ')) {
        let rule = format!("holds {bad:?}; iPXE's console and script take printable ASCII only");
        return Err(NameError::new(what, text, rule));
    }
    judge_words(what, text)
}

/// Judges what iPXE would read as script.
fn judge_words(what: &'static str, text: &str) -> Result<(), NameError> {
    let refuse = |rule: String| Err(NameError::new(what, text, rule));
    if text.contains("${") || text.ends_with('$') {
        return refuse("holds \"${\", which iPXE would expand".into());
    }
    if text.ends_with('\\') {
        return refuse("ends in '\\', which joins it to the script's next line".into());
    }
    for word in text.split(' ') {
        if matches!(word, ";" | "||" | "&&") {
            return refuse(format!("holds the word {word:?}, which ends a command of iPXE"));
        }
        if word.starts_with('#') {
            return refuse(format!("holds the word {word:?}: iPXE takes what begins with '#' as a comment"));
        }
    }
    Ok(())
}

/// A kernel's command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::site) struct KernelArgs(String);

impl FromStr for KernelArgs {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        // COMMAND_LINE_SIZE of x86 is 2048 with its terminator; the script adds initrd= and BOOTIF= to it.
        judge_script("args", text, 1900)?;
        Ok(Self(text.to_owned()))
    }
}

text_form!(KernelArgs, "kernel command line: printable ASCII without ${", "^[ -~]*$");

/// Columns of a title: a menu of 80 columns, less its frame and marks.
const WIDEST: usize = 72;

/// What people call an image: in any script, on one line of a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::site) struct Title(String);

impl FromStr for Title {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |rule: String| Err(NameError::new("title", text, rule));
        if let Some(bad) = text.chars().find(|c| is_harmful(*c)) {
            return refuse(format!("holds {bad:?}, a character that is not printed or that turns what stands around it"));
        }
        if text.width() > WIDEST {
            return refuse(format!("is wider than {WIDEST} columns"));
        }
        if text.trim() != text || text.is_empty() {
            return refuse("must not be empty nor begin or end with a blank".into());
        }
        if text.starts_with('-') {
            return refuse("begins with '-', which iPXE reads as an option".into());
        }
        judge_words("title", text)?;
        Ok(Self(text.to_owned()))
    }
}

text_form!(Title, "title: one line of printable characters without ${", "^[^\\s-](.*\\S)?$");

/// What the menu of iPXE calls an image: its console has no letters but those of ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::site) struct MenuTitle(String);

impl FromStr for MenuTitle {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        judge_script("menu title", text, WIDEST)?;
        let Title(text) = text.parse().map_err(|error| NameError { what: "menu title", ..error })?;
        Ok(Self(text))
    }
}

text_form!(MenuTitle, "menu title: printable ASCII without ${", "^[!-,.-~]([ -~]{0,70}[!-~])?$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ipxe_would_read_as_script_is_refused() {
        for good in ["ip=dhcp quiet", "", "ds=nocloud;s=http://x/", "a=$1", "--- quiet", "x#y", "a&&b"] {
            assert!(good.parse::<KernelArgs>().is_ok(), "{good:?} refused");
        }
        for bad in ["a ; b", "a || b", "a && b", "a #b", "#a", "${net0/mac}", "a\nb", "a\tb", "é", "a\\", "a$", &"x".repeat(1901)]
        {
            assert!(bad.parse::<KernelArgs>().is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn titles_are_one_plain_line() {
        for good in ["Windows 11 (every boot new)", "英雄联盟 · Windows 11", "Игры", "ゲーム", &"游".repeat(36)] {
            assert!(good.parse::<Title>().is_ok(), "{good:?} refused");
            assert_eq!(good.parse::<MenuTitle>().is_ok(), good.is_ascii(), "{good:?}");
        }
        let steering =
            ["a\u{1b}[2Jb", "a\u{7}b", "a\u{202e}b", "a\u{2066}b", "a\u{200b}b", "a\u{feff}b", "a\nb", "a\u{85}b", "a\u{2028}b"];
        for bad in ["", " a", "a ", "--default x", "a ${b}", "游戏 ${b}", "游戏 ; shell", &"x".repeat(73), &"游".repeat(37)]
        {
            assert!(bad.parse::<Title>().is_err(), "{bad:?} passed");
        }
        for bad in steering {
            assert!(bad.parse::<Title>().is_err() && bad.parse::<MenuTitle>().is_err(), "{bad:?} passed");
        }
    }
}
