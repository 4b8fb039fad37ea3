//! `barista init --example`: a site to begin with, commented for a first reader, with the schemas that its files name.
//!
//! **Invariant:** the site is `site-example/`, byte for byte but for where its files find their schemas; a directory that holds anything is
//! left alone.
#![expect(clippy::disallowed_methods, reason = "effect room: looks whether a directory is empty")]

use super::{
    edits::{self, DryRunArgument, FileChange},
    failure::{Exit, Failure},
    output,
};
use anyhow::Context as _;
use std::{fs, io, path::Path};

/// The files of the example.
const FILES: [(&str, &str); 11] = [
    ("images/games.toml", include_str!("../../site-example/images/games.toml")),
    ("images/installer.toml", include_str!("../../site-example/images/installer.toml")),
    ("images/local.toml", include_str!("../../site-example/images/local.toml")),
    ("images/ubuntu.toml", include_str!("../../site-example/images/ubuntu.toml")),
    ("images/win11-author.toml", include_str!("../../site-example/images/win11-author.toml")),
    ("images/win11.toml", include_str!("../../site-example/images/win11.toml")),
    ("machines/office.toml", include_str!("../../site-example/machines/office.toml")),
    ("machines/row-a.toml", include_str!("../../site-example/machines/row-a.toml")),
    ("machines/row-b.toml", include_str!("../../site-example/machines/row-b.toml")),
    ("network/lan.toml", include_str!("../../site-example/network/lan.toml")),
    ("site.toml", include_str!("../../site-example/site.toml")),
];

/// Writes the example into a directory that is empty or not there.
pub(super) fn write(directory: &Path, how: DryRunArgument) -> Result<Exit, Failure> {
    let shown = directory.display();
    match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(anyhow::Error::from(error).context(format!("cannot list {shown}")).into()),
        Ok(entries) => {
            let names: Vec<_> = entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<Result<_, _>>()?;
            // A clone of a new repository has nothing else.
            if names.iter().any(|name| name != ".git") {
                let error = anyhow::anyhow!("{shown} is not empty");
                return Err(Failure::hinted(error, "name a directory that is empty or not there yet"));
            }
        }
    }
    let files = files()?;
    if how.dry_run {
        output::data(&edits::render(&files))?;
        output::note("nothing was written");
        return Ok(Exit::Done);
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {shown}"))?;
    edits::write_all(directory, &files)?;
    output::note(format!("wrote {} files to {shown}", files.len()));
    output::note("\nLook at site.toml, network/lan.toml and machines/, put in your own addresses, and check them:");
    output::data(&format!("barista check --site {shown}\n"))?;
    Ok(Exit::Done)
}

/// The example's files and its schemas.
fn files() -> Result<Vec<FileChange>, Failure> {
    let new = |path: String, after: String| FileChange { path, before: None, after };
    let mut files: Vec<FileChange> =
        FILES.into_iter().map(|(path, text)| new(path.to_owned(), with_own_schemas(path, text))).collect();
    for (name, schema) in crate::site::schemas() {
        files.push(new(format!("schemas/{name}"), serde_json::to_string_pretty(&schema)? + "\n"));
    }
    Ok(files)
}

/// The text with its first line naming the schema below the site's own directory, in place of beside it.
fn with_own_schemas(path: &str, text: &str) -> String {
    let up = if path.contains('/') { "../" } else { "./" };
    match text.strip_prefix("#:schema ").and_then(|rest| rest.split_once("schemas/")) {
        Some((_, rest)) => format!("#:schema {up}schemas/{rest}"),
        None => text.to_owned(),
    }
}
