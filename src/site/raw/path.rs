//! Paths that a site names, and digests of what lies there.
//!
//! **Invariant:** a relative path stays within its store; a path that a script will hold has nothing iPXE would split,
//! expand or read as an option, and nothing a URL would decode.

use super::text_form;
use crate::names::NameError;
use std::str::FromStr;

/// The longest path accepted, in bytes: Linux's own limit is 4096, iPXE's URIs and people's patience are shorter.
const LONGEST: usize = 255;

/// Judges what every path must obey; `legal` says which characters it may hold beside letters and digits.
fn judge(what: &'static str, text: &str, legal: impl Fn(char) -> bool) -> Result<(), NameError> {
    let refuse = |rule: String| Err(NameError::new(what, text, rule));
    if text.is_empty() || text.len() > LONGEST {
        return refuse(format!("must measure 1 to {LONGEST} bytes"));
    }
    if let Some(bad) = text.chars().find(|c| *c != '/' && !legal(*c)) {
        return refuse(format!("holds {bad:?}, which is not allowed there"));
    }
    Ok(())
}

fn judge_relative(what: &'static str, text: &str) -> Result<(), NameError> {
    let refuse = |rule: &str| Err(NameError::new(what, text, rule));
    if text.starts_with('/') {
        return refuse("begins with '/'; it must be relative to its store");
    }
    for part in text.split('/') {
        match part {
            "" => return refuse("holds an empty part"),
            "." | ".." => return refuse("must not hold '.' or '..' as a part: it must not leave its store"),
            part if part.starts_with('-') => return refuse("has a part that begins with '-', which tools read as an option"),
            _ => {}
        }
    }
    Ok(())
}

/// A file of the asset store; it will stand in a script and in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::site) struct AssetPath(String);

impl FromStr for AssetPath {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let what = "asset path";
        judge(what, text, |c| c.is_ascii_alphanumeric() || "._@+=,~-".contains(c))?;
        judge_relative(what, text)?;
        Ok(Self(text.to_owned()))
    }
}

text_form!(
    AssetPath,
    "path within the asset store, such as rescue/vmlinuz",
    "^[A-Za-z0-9._@+=,~][A-Za-z0-9._@+=,~-]*(/[A-Za-z0-9._@+=,~][A-Za-z0-9._@+=,~-]*)*$"
);

/// A loader: a file of the loaders' directory; it will stand in a reply's `file` and in a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::site) struct LoaderPath(String);

impl FromStr for LoaderPath {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let what = "loader";
        judge(what, text, |c| c.is_ascii_alphanumeric() || "._+-".contains(c))?;
        judge_relative(what, text)?;
        // `file` of a reply holds 128 bytes with the zero that ends it (RFC 2131 §2).
        if text.len() > 127 {
            return Err(NameError::new(what, text, "must measure 127 bytes at most: a reply has no room for more"));
        }
        Ok(Self(text.to_owned()))
    }
}

text_form!(
    LoaderPath,
    "file of the loaders' directory, such as snponly.efi or arm64-efi/ipxe.efi",
    "^[A-Za-z0-9._+][A-Za-z0-9._+-]*(/[A-Za-z0-9._+][A-Za-z0-9._+-]*)*$"
);

/// A file of the image store; it goes to tools as an argument, never into a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::site) struct SourcePath(String);

impl FromStr for SourcePath {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let what = "source";
        // ':' would let qemu-img read a protocol into the name (`nbd:`, `json:`).
        judge(what, text, |c| !c.is_control() && !":\\".contains(c))?;
        judge_relative(what, text)?;
        Ok(Self(text.to_owned()))
    }
}

text_form!(SourcePath, "path within the image store, such as win11-2026-11.raw", "^[^/:\\\\-][^:\\\\]*$");

/// A directory of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::site) struct Directory(String);

impl FromStr for Directory {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |rule: &str| Err(NameError::new("directory", text, rule));
        judge("directory", text, |c| !c.is_control())?;
        let Some(rest) = text.strip_prefix('/') else {
            return refuse("must begin with '/': the server's programs run in no directory of yours");
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.is_empty() || rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return refuse("must not be '/' nor hold '.', '..' or an empty part");
        }
        Ok(Self(format!("/{rest}")))
    }
}

text_form!(Directory, "absolute path of a directory, such as /srv/images", "^/[^/].*$");

/// A file of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::site) struct FilePath(String);

impl FromStr for FilePath {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.ends_with('/') {
            return Err(NameError::new("file", text, "ends in '/': it must be a file"));
        }
        Ok(Self(text.parse::<Directory>().map_err(|error| NameError { what: "file", ..error })?.0))
    }
}

text_form!(FilePath, "absolute path of a file, such as /etc/barista/chap.toml", "^/[^/].*[^/]$");

/// A SHA-256 digest in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::site) struct Sha256(String);

impl FromStr for Sha256 {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(NameError::new("sha256", text, "is not 64 hex digits, as sha256sum prints them"));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

text_form!(Sha256, "SHA-256 of the file in hex, as sha256sum prints it", "^[0-9a-fA-F]{64}$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_stays_within_its_store() {
        for good in ["win11.raw", "2026/win11-2026-11.qcow2", "网吧 win11.raw", "a..b.raw"] {
            assert!(good.parse::<SourcePath>().is_ok(), "{good} refused");
        }
        for bad in
            ["", "/etc/shadow", "../x.raw", "a/../b.raw", "a//b.raw", "-o.raw", "a/-o.raw", "nbd:x.raw", "a\nb.raw", "a\\b"]
        {
            assert!(bad.parse::<SourcePath>().is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn an_asset_path_holds_nothing_that_ipxe_or_a_url_reads() {
        for good in ["rescue/vmlinuz-6.1_amd64", "rescue/initrd.img-6.1.0-56", "a@b+c=d,e~"] {
            assert!(good.parse::<AssetPath>().is_ok(), "{good} refused");
        }
        for bad in ["a b", "a${x}", "#a", "a;b", "a%2e", "a?b", "a&b", "a:b", "é", "a\\", "-a", "/a", "..", "a/."] {
            assert!(bad.parse::<AssetPath>().is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn a_loader_is_a_plain_file_of_its_directory() {
        for good in ["ipxe.efi", "pxelinux.0", "arm64-efi/snponly.efi", "x86_64-sb/ipxe-shim.efi"] {
            assert!(good.parse::<LoaderPath>().is_ok(), "{good} refused");
        }
        for bad in ["", "/ipxe.efi", "../ipxe.efi", "a\\b", "a b", "http://x/y", "a%2fb", "é", &"x".repeat(128)] {
            assert!(bad.parse::<LoaderPath>().is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn directories_are_absolute() {
        assert_eq!("/srv/images/".parse::<Directory>().map(|d| d.to_string()).as_deref(), Ok("/srv/images"));
        for bad in ["", "/", "srv", "/srv/../etc", "//srv", "/srv\n"] {
            assert!(bad.parse::<Directory>().is_err(), "{bad:?} passed");
        }
    }
}
