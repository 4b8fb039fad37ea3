//! A word that was typed where a path of this computer is wanted, and is an address or a path of another.
//!
//! **Invariant:** what lies here under such a name is a path, as it is to git (git-clone(1), "GIT URLS").
#![expect(clippy::disallowed_methods, reason = "effect room: looks what lies at a path that was typed")]

use super::failure::Failure;
use std::path::Path;

/// What a word names that is no path of this computer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Named<'w> {
    /// This computer, in the form of an address: the path in it.
    Here(&'w str),
    /// Another one.
    Elsewhere,
    /// A path of Windows.
    Windows,
}

/// Refuses a word that is no path of this computer; `wants` says what the command takes: `and init makes a repository of this one`.
pub(super) fn refuse(path: &Path, wants: &str, hint: &str) -> Result<(), Failure> {
    let text = path.to_string_lossy();
    let Some(named) = named(&text).filter(|_| path.symlink_metadata().is_err()) else { return Ok(()) };
    let (what, hint) = match named {
        Named::Here(path) => (format!("is an address, and {wants}"), format!("write the path alone: {path}")),
        Named::Elsewhere => (format!("is on another computer, and {wants}"), hint.to_owned()),
        Named::Windows => (format!("is a path of Windows, and {wants}"), hint.to_owned()),
    };
    Err(Failure::Mistyped { message: format!("{text} {what}"), hint })
}

fn named(text: &str) -> Option<Named<'_>> {
    if text.starts_with("\\\\") {
        return Some(Named::Windows);
    }
    // A colon behind a slash is part of a path; before it, git takes what stands there for a computer.
    let (host, rest) = text.split_once(':').filter(|(host, _)| !host.is_empty() && !host.contains('/'))?;
    Some(match host {
        "file" => Named::Here(rest.strip_prefix("//").unwrap_or(rest)),
        drive if drive.len() == 1 => Named::Windows,
        _ => Named::Elsewhere,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_told_from_a_path() {
        for (text, is) in [
            ("root@server:/srv/cafe.git", Some(Named::Elsewhere)),
            ("server:cafe.git", Some(Named::Elsewhere)),
            ("ssh://server/srv/cafe.git", Some(Named::Elsewhere)),
            ("https://example.com/cafe.git", Some(Named::Elsewhere)),
            ("file:///srv/cafe.git", Some(Named::Here("/srv/cafe.git"))),
            ("C:\\cafe.git", Some(Named::Windows)),
            ("D:/cafe.git", Some(Named::Windows)),
            ("\\\\nas\\cafe.git", Some(Named::Windows)),
            ("/srv/cafe.git", None),
            ("./server:cafe.git", None),
            ("/srv/a:b.git", None),
            (":x", None),
            ("cafe", None),
        ] {
            assert_eq!(named(text), is, "{text}");
        }
    }
}
