//! A machine's name and secret for CHAP (RFC 1994, RFC 7143 §12.1).
//!
//! **Invariant:** a secret is printed by nothing: no `Debug`, no `Display`, and no error that quotes it.

use std::fmt;

/// The shortest and the longest secret: what Microsoft's initiator takes.
const LENGTH: std::ops::RangeInclusive<usize> = 12..=16;
/// The longest user name we take; the kernel takes 255 bytes.
const LONGEST_USER: usize = 63;

/// A CHAP secret: 12 to 16 letters, digits and `. _ - + = @ % / :`, which iPXE's scripts and LIO take as they are.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Reads a secret; the error says which rule it breaks and not what it is.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if !LENGTH.contains(&text.len()) {
            return Err("must measure 12 to 16 bytes: Windows takes no other");
        }
        plain(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The secret itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What a machine proves itself with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    /// The secret.
    pub secret: Secret,
}

impl Credentials {
    /// Reads a user name and a secret; the error names the rule and quotes neither.
    pub fn parse(user: &str, secret: &str) -> Result<Self, String> {
        if user.is_empty() || user.len() > LONGEST_USER {
            return Err(format!("user must measure 1 to {LONGEST_USER} bytes"));
        }
        plain(user).map_err(|rule| format!("user {rule}"))?;
        let secret = Secret::parse(secret).map_err(|rule| format!("secret {rule}"))?;
        Ok(Self { user: user.to_owned(), secret })
    }

    /// The name that goes with the secret.
    pub fn user(&self) -> &str {
        &self.user
    }
}

/// LIO takes a value that begins with `NULL` as none (`iscsi_target_configfs.c`); iPXE splits and expands the others.
fn plain(text: &str) -> Result<(), &'static str> {
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || "._-+=@%/:".contains(c)) {
        return Err("may hold letters, digits and . _ - + = @ % / : only");
    }
    if text.starts_with('-') || text.starts_with("NULL") {
        return Err("must not begin with '-' or NULL");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_what_windows_lio_and_ipxe_all_take_and_print_nothing() {
        for good in ["123456789012", "Abc.def_ghi-123:", "a+b=c@d%e/f:g"] {
            assert!(Secret::parse(good).is_ok(), "{good} refused");
        }
        for bad in [
            "",
            "12345678901",
            "12345678901234567",
            "12345 789012",
            "NULL56789012",
            "-23456789012",
            "12345678901\n",
            "12345678901${",
            "#a b ; c || d",
            "éééééééé",
        ] {
            let rule = Secret::parse(bad).expect_err("refused");
            assert!(bad.is_empty() || !rule.contains(bad), "{rule}");
        }
        let credentials = Credentials::parse("pc01", "123456789012").expect("legal");
        assert!(!format!("{credentials:?}").contains("1234"));
    }
}
