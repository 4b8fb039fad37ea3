//! Changes in the kernel's target subsystem as values, and how they are typed.
//!
//! **Invariant:** one line for one op; the same words whether a plan is shown or carried out.

use crate::names::MachineName;

/// One change in configfs; paths are below `/sys/kernel/config/target`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ConfigFsOp {
    /// Makes a directory; one that is already there is fine.
    Mkdir(String),
    /// Removes a directory; one that is not there is fine.
    Rmdir(String),
    /// Writes a value into an attribute, without a newline.
    Write {
        /// The attribute.
        path: String,
        /// The value.
        value: String,
    },
    /// Writes a machine's CHAP name or secret, which is read from the site's file: a plan holds neither.
    WriteSecret {
        /// The attribute.
        path: String,
        /// Which of the two.
        part: SecretPart,
        /// Whose.
        machine: MachineName,
        /// The file.
        file: String,
    },
    /// Makes a link; the same link already there is fine.
    Symlink {
        /// What it leads to.
        target: String,
        /// The link.
        link: String,
    },
    /// Removes a link; one that is not there is fine.
    Unlink(String),
}

/// Half of a machine's CHAP credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretPart {
    /// The name.
    User,
    /// The secret.
    Secret,
}

/// One op as one line, in the spelling of a shell where a shell has one.
pub(crate) fn render(op: &ConfigFsOp) -> String {
    match op {
        ConfigFsOp::Mkdir(path) => format!("mkdir {path}"),
        ConfigFsOp::Rmdir(path) => format!("rmdir {path}"),
        ConfigFsOp::Write { path, value } => format!("write {path} {}", quote(value)),
        ConfigFsOp::WriteSecret { path, part, machine, file } => match part {
            SecretPart::User => format!("write {path} <the user of {machine} in {file}>"),
            SecretPart::Secret => format!("write {path} <the secret of {machine} in {file}>"),
        },
        ConfigFsOp::Symlink { target, link } => format!("ln -s {target} {link}"),
        ConfigFsOp::Unlink(path) => format!("rm {path}"),
    }
}

/// A word as a POSIX shell reads it.
fn quote(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=+@,%[]".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ops_read_like_a_shell_session() {
        let text = |text: &str| text.to_owned();
        for (op, line) in [
            (ConfigFsOp::Mkdir(text("core/iblock_100000")), "mkdir core/iblock_100000"),
            (ConfigFsOp::Rmdir(text("core/iblock_100000")), "rmdir core/iblock_100000"),
            (
                ConfigFsOp::Write { path: text("a/wwn/product_id"), value: text("seat's disk") },
                "write a/wwn/product_id 'seat'\\''s disk'",
            ),
            (ConfigFsOp::Symlink { target: text("core/a/b"), link: text("iscsi/c") }, "ln -s core/a/b iscsi/c"),
            (ConfigFsOp::Unlink(text("iscsi/c")), "rm iscsi/c"),
        ] {
            assert_eq!(render(&op), line);
        }
    }
}
