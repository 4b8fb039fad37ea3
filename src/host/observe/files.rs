//! Observes files: image sources, assets, the published boot table, the transcript.
//!
//! **Invariant:** a path of the site never leads out of its store, and no image's format is ever guessed from its content.
#![expect(clippy::disallowed_methods, reason = "effect room: reads the state directory and the image store")]

use super::Scope;
use crate::boot::{
    chap::{self, Secrets},
    table, transcript,
};
use crate::host::{Command, CommandError, System};
use crate::names::{Bytes, MachineName};
use crate::observed::{Seen, ServedSecrets, SourceFile, parse_disk_size};
use crate::site::SourceFormat;
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// qemu-img reads a few kilobytes; the store may be a sleeping disk or a network filesystem.
const DEADLINE: Duration = Duration::from_secs(60);

/// qemu-img's name of a format.
pub(in crate::host) fn qemu_format(format: SourceFormat) -> &'static str {
    match format {
        SourceFormat::Raw => "raw",
        SourceFormat::Qcow2 => "qcow2",
        SourceFormat::Vhdx => "vhdx",
    }
}

/// A file of a store by its path in the site; refuses what a symbolic link or `..` would lead out of the store.
pub(in crate::host) fn resolve_in_store(store: &Path, path: &str) -> io::Result<PathBuf> {
    let store = fs::canonicalize(store)?;
    let file = fs::canonicalize(store.join(path))?;
    match file.starts_with(&store) || Path::new(path).is_absolute() {
        true => Ok(file),
        false => Err(io::Error::other(format!("leads out of {}", store.display()))),
    }
}

fn seen<T>(found: io::Result<T>, what: &Path) -> Seen<T> {
    match found {
        Ok(thing) => Seen::Present(thing),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Seen::Absent,
        Err(error) => Seen::Unreadable(format!("{}: {error}", what.display())),
    }
}

/// The size of a regular file, and what it takes of its file system.
fn file_size(store: &Path, path: &str) -> io::Result<(Bytes, Bytes)> {
    let file = resolve_in_store(store, path)?;
    let metadata = fs::metadata(&file)?;
    // stat(2): blocks are of 512 bytes whatever the file system's own.
    let sizes = (Bytes(metadata.len()), Bytes(metadata.blocks() * 512));
    if metadata.is_file() { Ok(sizes) } else { Err(io::Error::other("is not a regular file")) }
}

/// Whether the secrets that are served are those of the site; where the site's cannot be read, what is served stands.
pub(super) fn observe_served_secrets(state: &Path, secrets: &Seen<Secrets>) -> ServedSecrets {
    let path = state.join(chap::PATH);
    let group = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.gid());
    let readable = || group(&state.join("serve")).is_none_or(|serve| group(&path) == Some(serve));
    let same = match secrets {
        Seen::Absent => !path.exists(),
        Seen::Present(secrets) => fs::read_to_string(&path).is_ok_and(|text| text == chap::render(secrets)) && readable(),
        Seen::Unreadable(_) => true,
    };
    if same { ServedSecrets::Same } else { ServedSecrets::Other }
}

pub(super) fn observe_sources(system: &System, scope: &Scope) -> BTreeMap<String, Seen<SourceFile>> {
    let source = |(path, format): (&String, &SourceFormat)| {
        let seen = match seen(file_size(&scope.image_store, path), &scope.image_store.join(path)) {
            Seen::Present((size, allocated)) => {
                let disk_size = observe_disk_size(system, &scope.image_store, path, *format);
                Seen::Present(SourceFile { size, allocated, disk_size })
            }
            Seen::Absent => Seen::Absent,
            Seen::Unreadable(reason) => Seen::Unreadable(reason),
        };
        (path.clone(), seen)
    };
    scope.sources.iter().map(source).collect()
}

fn observe_disk_size(system: &System, store: &Path, path: &str, format: SourceFormat) -> Seen<Bytes> {
    match read_disk_size(system, store, path, qemu_format(format)) {
        Ok(size) => Seen::Present(size),
        Err(reason) => Seen::Unreadable(format!("{}: {reason}", store.join(path).display())),
    }
}

/// Asks qemu-img for the size of the disk in a file, and refuses a file that leads to others.
pub(in crate::host) fn read_disk_size(system: &System, store: &Path, path: &str, format: &str) -> Result<Bytes, String> {
    let file = resolve_in_store(store, path).map_err(|error| error.to_string())?;
    let file = file.to_string_lossy();
    let command = Command::new(["qemu-img", "info", "--output=json", "-f", format, "--", &*file], DEADLINE);
    let output = system.commands.succeed(&command).map_err(|error| match error {
        CommandError::Missing { .. } => format!("{error}; install the package qemu-utils"),
        _ => error.to_string(),
    })?;
    parse_disk_size(&output.stdout, format).map_err(|error| error.to_string())
}

pub(super) fn observe_assets(scope: &Scope) -> BTreeMap<String, Seen<Bytes>> {
    let asset = |path: &String| {
        (path.clone(), seen(file_size(&scope.assets_dir, path).map(|(size, _)| size), &scope.assets_dir.join(path)))
    };
    scope.assets.iter().map(asset).collect()
}

pub(super) fn observe_published(state: &Path) -> Seen<String> {
    let path = state.join(table::PATH);
    seen(fs::read_to_string(&path), &path)
}

/// When each machine last fetched its script, by the transcript. A transcript that cannot be read says nothing about which machine
/// fetched when, but no fetch in it is later than the file: every machine counts as having fetched then.
pub(super) fn observe_script_fetches(scope: &Scope) -> BTreeMap<MachineName, Timestamp> {
    let path = scope.state.join(transcript::PATH);
    let read = fs::read_to_string(&path).map_err(|error| (error.kind() == io::ErrorKind::NotFound, error.to_string()));
    let transcript = match read.map(|text| serde_json::from_str::<transcript::Transcript>(&text)) {
        Ok(Ok(transcript)) => transcript,
        Err((true, _)) => return BTreeMap::new(),
        Ok(Err(error)) => return all_fetched(scope, &path, &error.to_string()),
        Err((false, error)) => return all_fetched(scope, &path, &error),
    };
    let fetched = |macs: &Vec<_>| macs.iter().filter_map(|mac| transcript.machines.get(mac)?.script_fetched).max();
    scope.macs.iter().filter_map(|(machine, macs)| Some((machine.clone(), fetched(macs)?))).collect()
}

fn all_fetched(scope: &Scope, path: &Path, error: &str) -> BTreeMap<MachineName, Timestamp> {
    tracing::warn!(target: "barista::host", path = %path.display(), error, "the transcript cannot be read");
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let Some(at) = modified.and_then(|modified| Timestamp::try_from(modified).ok()) else {
        return BTreeMap::new();
    };
    scope.macs.keys().map(|machine| (machine.clone(), at)).collect()
}
