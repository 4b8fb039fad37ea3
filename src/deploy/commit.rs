//! The names git gives: commits and branches.

use crate::names::NameError;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A commit's full id: 40 hex digits, lower-case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct CommitId(String);

impl CommitId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of no commit, as git writes it where a branch begins.
    pub fn unborn() -> Self {
        Self("0".repeat(40))
    }

    /// Its first seven digits, as git shows it.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

impl FromStr for CommitId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let legal = text.len() == 40 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if legal { Ok(Self(text.to_owned())) } else { Err(NameError::new("commit", text, "needs 40 lower-case hex digits")) }
    }
}

impl TryFrom<String> for CommitId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<CommitId> for String {
    fn from(id: CommitId) -> Self {
        id.0
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A commit and the first line of its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its id.
    pub id: CommitId,
    /// The first line of its message.
    pub subject: String,
}

/// A branch by its short name: `main`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Branch(String);

impl Branch {
    /// The short name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The full name of its reference: `refs/heads/main`.
    pub fn reference(&self) -> String {
        format!("refs/heads/{}", self.0)
    }
}

impl FromStr for Branch {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let short = text.strip_prefix("refs/heads/").unwrap_or(text);
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let odd = short.starts_with(['-', '/', '.']) || short.ends_with(['/', '.']) || short.ends_with(".lock");
        if short.is_empty() || odd || short.contains("..") || short.contains("//") || !short.chars().all(legal) {
            return Err(NameError::new(
                "branch",
                text,
                "needs letters, digits, '-', '_', '.' and '/', as git-check-ref-format has it",
            ));
        }
        Ok(Self(short.to_owned()))
    }
}

impl fmt::Display for Branch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_is_the_same_by_its_short_and_its_full_name() {
        let main = |text: &str| text.parse::<Branch>().map(|b| b.reference());
        assert_eq!(main("main"), Ok("refs/heads/main".to_owned()));
        assert_eq!(main("refs/heads/main"), main("main"));
        for bad in ["", "-x", "a..b", "a b", "x.lock", "/a", "a/", "a\n"] {
            assert!(main(bad).is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn a_commit_is_forty_hex_digits() {
        assert_eq!("4f2c1e9".repeat(6)[..40].parse::<CommitId>().map(|c| c.short().to_owned()).as_deref(), Ok("4f2c1e9"));
        for bad in ["", "4f2c1e9", &"g".repeat(40), &"A".repeat(40), &"0".repeat(64)] {
            assert!(bad.parse::<CommitId>().is_err(), "{bad:?} passed");
        }
    }
}
