//! A JSON document of ours that does not read, told apart by its cause: an empty file, a damaged one, another version.
//!
//! **Invariant:** a document of another version is called that, whatever fields it has; only one that says no version is damaged.

use serde::{Deserialize, de::DeserializeOwned};
use std::ops::RangeInclusive;

/// Why a document does not read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Nothing is in it: whoever wrote it was cut off before the file was renamed, or the disk was full.
    #[error("it is empty")]
    Empty,
    /// It is not JSON, or lacks what its version has.
    #[error("it is damaged")]
    Damaged(#[source] serde_json::Error),
    /// It was written by a newer program.
    #[error("a newer barista wrote it: it is version {found}, and this one reads up to version {newest}")]
    Newer {
        /// The version it says.
        found: u32,
        /// The newest that is read.
        newest: u32,
    },
    /// It was written by a program that is too old.
    #[error("an older barista wrote it: it is version {found}, and this one reads from version {oldest} on")]
    Older {
        /// The version it says.
        found: u32,
        /// The oldest that is read.
        oldest: u32,
    },
}

/// Reads a document whose `version` is one of these; `version_of` is the one that it says.
pub fn read_document<T: DeserializeOwned>(
    text: &str,
    versions: RangeInclusive<u32>,
    version_of: fn(&T) -> u32,
) -> Result<T, DocumentError> {
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let error = match serde_json::from_str::<T>(text) {
        Ok(read) if versions.contains(&version_of(&read)) => return Ok(read),
        Ok(read) => return Err(of_version(version_of(&read), &versions)),
        Err(_) if text.trim().is_empty() => return Err(DocumentError::Empty),
        Err(error) => error,
    };
    // Another version may have other fields: what it is comes before what does not read.
    match serde_json::from_str::<Head>(text) {
        Ok(Head { version }) if !versions.contains(&version) => Err(of_version(version, &versions)),
        _ => Err(DocumentError::Damaged(error)),
    }
}

fn of_version(found: u32, versions: &RangeInclusive<u32>) -> DocumentError {
    match found > *versions.end() {
        true => DocumentError::Newer { found, newest: *versions.end() },
        false => DocumentError::Older { found, oldest: *versions.start() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Document {
        version: u32,
        machines: Vec<String>,
    }

    #[test]
    fn a_document_that_does_not_read_says_why() {
        let read = |text: &str| read_document::<Document>(text, 2..=3, |document| document.version);
        assert_eq!(read(r#"{"version":2,"machines":["pc01"]}"#).expect("it reads").machines, ["pc01"]);
        let why = |text: &str| read(text).expect_err("it does not read").to_string();
        for (text, told) in [
            ("", "it is empty"),
            ("\n \n", "it is empty"),
            ("{", "it is damaged"),
            ("[]", "it is damaged"),
            ("{}", "it is damaged"),
            (r#"{"version":"2"}"#, "it is damaged"),
            (r#"{"version":3}"#, "it is damaged"),
            (r#"{"version":99}"#, "a newer barista wrote it: it is version 99, and this one reads up to version 3"),
            (
                r#"{"version":4,"machines":[],"doors":[]}"#,
                "a newer barista wrote it: it is version 4, and this one reads up to version 3",
            ),
            (
                r#"{"version":1,"machines":[]}"#,
                "an older barista wrote it: it is version 1, and this one reads from version 2 on",
            ),
        ] {
            assert_eq!(why(text), told, "{text}");
        }
    }
}
