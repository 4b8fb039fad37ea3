//! Free text that a site puts into an iPXE script.
//!
//! **Invariant:** iPXE has no quoting: it splits at blanks, takes `;`, `||` and `&&` as separators, a word that begins
//! with `#` as a comment, and expands `${…}` again and again (iPXE `core/exec.c`, `image/script.c`, `core/settings.c`).
//! A text that holds any of it is refused, never mended.

use super::text_form;
use crate::names::NameError;
use std::str::FromStr;

fn judge(what: &'static str, text: &str, longest: usize) -> Result<(), NameError> {
    let refuse = |rule: String| Err(NameError::new(what, text, rule));
    if text.len() > longest {
        return refuse(format!("is longer than {longest} bytes"));
    }
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_graphic() || *c == ' ')) {
        return refuse(format!("holds {bad:?}; iPXE's console and script take printable ASCII only"));
    }
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
        judge("args", text, 1900)?;
        Ok(Self(text.to_owned()))
    }
}

text_form!(KernelArgs, "kernel command line: printable ASCII without ${", "^[ -~]*$");

/// What a menu calls an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::site) struct Title(String);

impl FromStr for Title {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |rule: &str| Err(NameError::new("title", text, rule));
        // A menu of 80 columns, less its frame and marks.
        judge("title", text, 72)?;
        if text.trim() != text || text.is_empty() {
            return refuse("must not be empty nor begin or end with a blank");
        }
        if text.starts_with('-') {
            return refuse("begins with '-', which iPXE reads as an option");
        }
        Ok(Self(text.to_owned()))
    }
}

text_form!(Title, "menu title: printable ASCII without ${", "^[!-,.-~]([ -~]{0,70}[!-~])?$");

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
        assert!("Windows 11 (every boot new)".parse::<Title>().is_ok());
        for bad in ["", " a", "a ", "--default x", "游戏", "a ${b}", &"x".repeat(73)] {
            assert!(bad.parse::<Title>().is_err(), "{bad:?} passed");
        }
    }
}
