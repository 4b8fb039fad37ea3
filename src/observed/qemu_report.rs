//! Reads what `qemu-img info --output=json` says of a source file (qemu `qapi/block-core.json`, `ImageInfo`).
//!
//! **Invariant:** pure; a file that leads to another file is refused, because a disk image someone uploaded could name any file
//! of the host as its backing or data file and so copy it into a volume.

use crate::names::Bytes;
use serde::Deserialize;

/// A source file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskFileError {
    /// Not the report of `qemu-img info`.
    #[error("qemu-img's report does not read as one")]
    Malformed(#[source] serde_json::Error),
    /// It is not of the format its name says.
    #[error("is {found}, and its name says {expected}")]
    Format {
        /// What qemu-img took it for.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// It needs another file.
    #[error("has a backing file, {0:?}: flatten it with `qemu-img convert`")]
    Backed(String),
    /// Its data lies in another file.
    #[error("has a data file, {0:?}: flatten it with `qemu-img convert`")]
    DataFile(String),
    /// Its content is encrypted.
    #[error("is encrypted")]
    Encrypted,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    format: String,
    virtual_size: u64,
    backing_filename: Option<String>,
    full_backing_filename: Option<String>,
    encrypted: Option<bool>,
    format_specific: Option<FormatSpecific>,
}

#[derive(Deserialize)]
struct FormatSpecific {
    data: Option<Specifics>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Specifics {
    data_file: Option<String>,
}

/// The size of the disk in a file of the format `expected`, which is whole in itself.
pub fn parse_disk_size(report: &str, expected: &str) -> Result<Bytes, DiskFileError> {
    let info: Info = serde_json::from_str(report).map_err(DiskFileError::Malformed)?;
    if info.format != expected {
        return Err(DiskFileError::Format { found: info.format, expected: expected.to_owned() });
    }
    if let Some(backing) = info.backing_filename.or(info.full_backing_filename) {
        return Err(DiskFileError::Backed(backing));
    }
    if let Some(data) = info.format_specific.and_then(|specific| specific.data?.data_file) {
        return Err(DiskFileError::DataFile(data));
    }
    if info.encrypted == Some(true) {
        return Err(DiskFileError::Encrypted);
    }
    Ok(Bytes(info.virtual_size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_leads_to_another_is_refused() {
        let plain =
            r#"{"virtual-size": 1048576, "format": "qcow2", "format-specific": {"type": "qcow2", "data": {"compat": "1.1"}}}"#;
        assert_eq!(parse_disk_size(plain, "qcow2").expect("is whole"), Bytes(1 << 20));
        for (report, reason) in [
            (r#"{"virtual-size": 1, "format": "qcow2", "backing-filename": "/etc/shadow"}"#, "has a backing file"),
            (
                r#"{"virtual-size": 1, "format": "qcow2", "format-specific": {"data": {"data-file": "/dev/sda"}}}"#,
                "has a data file",
            ),
            (r#"{"virtual-size": 1, "format": "raw"}"#, "is raw, and its name says qcow2"),
            (r#"{"virtual-size": 1, "format": "qcow2", "encrypted": true}"#, "is encrypted"),
            ("{", "does not read"),
        ] {
            let error = parse_disk_size(report, "qcow2").expect_err("must be refused").to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
