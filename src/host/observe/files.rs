//! Observes files: image sources, assets, the published boot table, the transcript.
//!
//! **Invariant:** a path of the site never leads out of its store, and no image's format is ever guessed from its content.
#![expect(clippy::disallowed_methods, reason = "effect room: reads the state directory and the image store")]

use super::Scope;
use crate::boot::{
    chap::{self, Secrets},
    table,
};
use crate::host::{System, image};
use crate::names::Bytes;
use crate::observed::{Seen, ServedSecrets, SourceFile};
use crate::site::SourceFormat;
use std::{collections::BTreeMap, fs, io, os::unix::fs::MetadataExt, path::Path};

fn seen<T>(found: io::Result<T>, what: &Path) -> Seen<T> {
    match found {
        Ok(thing) => Seen::Present(thing),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Seen::Absent,
        Err(error) => Seen::Unreadable(format!("{}: {error}", what.display())),
    }
}

/// The size of a regular file.
fn file_size(store: &Path, path: &str) -> io::Result<Bytes> {
    let metadata = fs::metadata(image::resolve_in_store(store, path)?)?;
    if metadata.is_file() { Ok(Bytes(metadata.len())) } else { Err(io::Error::other("is not a regular file")) }
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
    let now = system.kernel.now();
    let source = |(path, format): (&String, &SourceFormat)| {
        let seen = match seen(image::SourceFile::open(&scope.image_store, path), &scope.image_store.join(path)) {
            Seen::Present(file) => Seen::Present(SourceFile {
                size: file.stamp.size,
                allocated: file.allocated,
                disk_size: match image::read_disk_size(system, &file, *format) {
                    Ok(size) => Seen::Present(size),
                    Err(reason) => Seen::Unreadable(format!("{}: {reason}", scope.image_store.join(path).display())),
                },
                stamp: file.stamp,
                settled: file.settled(now),
            }),
            Seen::Absent => Seen::Absent,
            Seen::Unreadable(reason) => Seen::Unreadable(reason),
        };
        (path.clone(), seen)
    };
    scope.sources.iter().map(source).collect()
}

pub(super) fn observe_assets(scope: &Scope) -> BTreeMap<String, Seen<Bytes>> {
    let asset = |path: &String| (path.clone(), seen(file_size(&scope.assets_dir, path), &scope.assets_dir.join(path)));
    scope.assets.iter().map(asset).collect()
}

/// The text of the boot table that is published in a state directory.
pub fn observe_published(state: &Path) -> Seen<String> {
    let path = state.join(table::PATH);
    seen(fs::read_to_string(&path), &path)
}
