//! Reads the site's CHAP secrets from their file, which is root's and lies outside the repository.
//!
//! What barista itself publishes for `serve` reads as such a file too, by its place (`boot/chap.json`): a site whose file cannot be read,
//! is gone or was withdrawn by root goes on with it. **Invariant:** a file that others can read is refused; no error quotes what is in
//! it; nothing but what was served before stands for a file. EFFECTS: reads that file.
#![expect(clippy::disallowed_methods, reason = "effect room: reads the file of the CHAP secrets")]

use super::write_shared;
use crate::boot::chap::{self, Secrets};
use crate::names::{Credentials, MachineName};
use crate::observed::{Seen, StandIn};
use nix::fcntl::OFlag;
use std::{
    fs::{self, OpenOptions},
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

/// More than ten thousand machines' secrets take.
const LARGEST: u64 = 4 << 20;

/// Reads the secrets: `[pc01]` with `secret = "…"` and, unless it is the machine's name, `user = "…"`; or the published document, which
/// the group of `serve` may read.
pub fn read_secrets(path: &Path) -> Result<Secrets, String> {
    let said = |problem: String| format!("{}: {problem}", path.display());
    let open = OpenOptions::new().read(true).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits()).open(path);
    let file = open.map_err(|error| said(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| said(error.to_string()))?;
    if !metadata.is_file() {
        return Err(said("is no regular file".to_owned()));
    }
    let is_published = path.ends_with(chap::PATH);
    let of_others = if is_published { 0o027 } else { 0o077 };
    if metadata.mode() & of_others != 0 || metadata.uid() != nix::unistd::geteuid().as_raw() {
        return Err(said("it holds secrets and is not its owner's alone; chown it to root and chmod it to 600".to_owned()));
    }
    let mut text = String::new();
    file.take(LARGEST + 1).read_to_string(&mut text).map_err(|error| said(error.to_string()))?;
    if text.len() as u64 > LARGEST {
        return Err(said(format!("is larger than {LARGEST} bytes")));
    }
    if is_published { chap::parse(&text).map_err(|what| said(what.to_owned())) } else { parse(&text).map_err(said) }
}

/// Reads the secrets of a site, and says what stands for its file where that cannot be read: what is served. Where nothing is served either,
/// why the file cannot be read.
pub(super) fn observe_secrets(source: Option<&Path>, state: &Path) -> (Seen<Secrets>, Option<StandIn>) {
    let Some(source) = source else { return (Seen::Absent, None) };
    let why = match read_secrets(source) {
        Ok(secrets) => return (Seen::Present(secrets), None),
        Err(why) => why,
    };
    let served = state.join(chap::PATH);
    match read_secrets(&served) {
        Ok(secrets) => (Seen::Present(secrets), Some(StandIn { file: served.display().to_string(), why })),
        Err(_) => (Seen::Unreadable(why), None),
    }
}

/// Gives `serve` the secrets, or takes them away when the site names none; a file that cannot be read leaves what is served.
pub(super) fn publish_secrets(state: &Path, source: Option<&str>) -> Result<(), String> {
    let path = state.join(chap::PATH);
    let said = |error: io::Error| format!("{}: {error}", path.display());
    let Some(source) = source else {
        return match fs::remove_file(&path) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Err(said(error)),
            _ => Ok(()),
        };
    };
    let secrets = match read_secrets(Path::new(source)) {
        Ok(secrets) => secrets,
        Err(why) => {
            tracing::warn!(target: "barista::host", "{why}; the CHAP secrets that are served stay as they are");
            return Ok(());
        }
    };
    write_shared(&path, &chap::render(&secrets), &state.join("serve")).map_err(said)
}

fn parse(text: &str) -> Result<Secrets, String> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        format!("line {line} does not read as TOML")
    })?;
    let mut secrets = Secrets::new();
    for (name, entry) in &table {
        let machine: MachineName = name.parse().map_err(|_| "a table is not named after a machine".to_owned())?;
        let said = |problem: &str| format!("[{machine}] {problem}");
        let entry = entry.as_table().ok_or_else(|| said("is no table; write [machine] and below it secret = \"…\""))?;
        if entry.keys().any(|key| !["user", "secret"].contains(&key.as_str())) {
            return Err(said("holds another key than user and secret"));
        }
        let text = |key: &str| {
            entry.get(key).map(|value| value.as_str().ok_or_else(|| said(&format!("{key} is no string")))).transpose()
        };
        let user = text("user")?.unwrap_or(machine.as_str());
        let secret = text("secret")?.ok_or_else(|| said("has no secret"))?;
        let both = Credentials::parse(user, secret).map_err(|rule| said(&rule))?;
        secrets.insert(machine, both);
    }
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("chap.toml");
        std::fs::write(&path, "[pc01]\nsecret = \"correcthorse1\"\n").expect("written");
        for (mode, fine) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("its own");
            let read = read_secrets(&path);
            assert_eq!(read.is_ok(), fine, "{mode:o}");
            assert!(read.is_ok_and(|secrets| secrets.len() == 1) || !fine);
        }
        assert!(read_secrets(&directory.path().join("none")).is_err());
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).expect("made");
        assert!(read_secrets(&fifo).is_err_and(|why| why.contains("regular file")), "and is not waited for");
    }

    #[test]
    fn what_is_published_reads_back_by_its_place_and_serve_may_read_it_too() {
        let state = tempfile::tempdir().expect("a directory");
        let secrets = parse("[pc01]\nsecret = \"correcthorse1\"\n").expect("reads");
        let path = state.path().join(chap::PATH);
        super::super::write_atomically(&path, &chap::render(&secrets)).expect("written");
        for (mode, fine) in [(0o600, true), (0o640, true), (0o644, false), (0o660, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("its own");
            assert_eq!(read_secrets(&path).ok(), fine.then(|| secrets.clone()), "{mode:o}");
        }
    }

    #[test]
    fn no_error_quotes_what_is_in_the_file() {
        for text in [
            "[pc01]\nsecret = \"hunter2\"\n",
            "[pc01]\nsecret = \"hunter2hunter2hunter2\"\n",
            "[pc01]\nsecret = \"hunter2 ${x}\"\n",
            "[pc01]\nsecret = hunter2\n",
            "[pc01]\nhunter2 = 1\n",
            "pc01 = \"hunter2\"\n",
            "hunter2 hunter2",
            "[\"hunter2 !\"]\nsecret = \"hunter2hunter2\"\n",
            "[pc01]\nuser = \"hunter2 hunter2\"\nsecret = \"correcthorse1\"\n",
            "[pc01]\nuser = \"pc01\"\n",
        ] {
            let error = parse(text).expect_err("refused");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
