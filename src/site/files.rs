//! Sorts the entries of a tree: which file is what, and what does not belong in a site.
//!
//! **Invariant:** nothing is skipped in silence but what every repository has (dot files, README, licences) and `schemas/`; no link is
//! followed and no path leads out of the site.

use super::{
    Entry, Tree,
    networks::Whole,
    report::{FileId, Report},
    spelling,
    strangers::{self, DIRECTORIES, Standing},
};
use crate::diagnostic::Severity;
use crate::names::{NotUtf8, SAVE_AS_UTF8, utf8};
use std::{cell::OnceCell, collections::BTreeSet};

/// Larger than any file a person writes: 1 MiB holds ten thousand machines.
const LARGEST: usize = 1 << 20;
/// Where a site keeps the schemas that its files name for editors; nothing in it is read.
const SCHEMAS: &str = "schemas/";

/// One file of a site, open for findings.
pub(super) struct SiteText<'a> {
    pub(super) file: FileId,
    /// Its name without directory and `.toml`.
    pub(super) stem: &'a str,
    pub(super) text: &'a str,
    /// What is read in its place where TOML itself is broken.
    pub(super) mended: OnceCell<String>,
}

/// The files of one directory.
#[derive(Default)]
pub(super) struct FileGroup<'a> {
    pub(super) files: Vec<SiteText<'a>>,
    /// Whether every file was readable.
    pub(super) whole: Whole,
}

impl FileGroup<'_> {
    /// The names of its files, without directory and `.toml`.
    pub(super) fn stems(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|text| text.stem)
    }
}

/// The files of a site by what they are.
#[derive(Default)]
pub(super) struct Files<'a> {
    pub(super) site: Option<SiteText<'a>>,
    pub(super) images: FileGroup<'a>,
    pub(super) machines: FileGroup<'a>,
    pub(super) networks: FileGroup<'a>,
    pub(super) templates: FileGroup<'a>,
}

/// Sorts a tree's entries, and reports what does not belong.
pub(super) fn sort<'a>(report: &mut Report<'a>, tree: &'a Tree) -> Files<'a> {
    let mut files = Files::default();
    let (mut strangers, mut large) = (BTreeSet::new(), BTreeSet::new());
    let (mut has_settings, mut meant_settings) = (false, false);
    let below = site_below(tree);
    for (path, entry) in &tree.entries {
        if !is_sound(path) {
            let hint = "a path has parts between single '/', none of them '.' or '..', and no control characters";
            let shown = if path.is_empty() { "." } else { path };
            report.push_path("illegal-path", shown, Severity::Error, format!("path {path:?} is not one a site may hold"), hint);
            continue;
        }
        if is_ignored(path) {
            continue;
        }
        let (directory, name) = path.split_once('/').unwrap_or(("", path));
        if !directory.is_empty() && !DIRECTORIES.contains(&directory) {
            if Some(directory) != below && !matches!(entry, Entry::Symlink(_)) && strangers.insert(directory) {
                match strangers::meant_directory(directory) {
                    Some(meant) => {
                        let message = format!("this directory is not read: it must be called {meant}");
                        report.push_path("directory-name", directory, Severity::Error, message, format!("rename it to {meant}"));
                        shelf(&mut files, meant).whole = Whole::No;
                    }
                    None => {
                        let guess = spelling::did_you_mean(directory, DIRECTORIES);
                        let hint = format!("{guess}directories of a site: {}", DIRECTORIES.join(", "));
                        let message = "this directory is not part of a site and is not read";
                        report.push_path("not-read", directory, Severity::Warning, message, hint);
                    }
                }
            }
            if matches!(entry, Entry::Symlink(_)) {
                let _ = read(report, path, entry);
            }
            if let Entry::TooLarge(size) = entry
                && large.insert(directory)
            {
                strangers::warn_of_size(report, path, *size);
            }
            continue;
        }
        has_settings |= path == "site.toml";
        // A link is reported as such wherever it is. A directory that could not be read looks like a file of its name.
        let is_looked_at =
            path == "site.toml" || matches!(entry, Entry::Symlink(_)) || (directory.is_empty() && DIRECTORIES.contains(&name));
        match if is_looked_at { Standing::Read } else { strangers::judge(report, tree, (directory, name), entry) } {
            Standing::Read => {}
            Standing::Stranger => continue,
            Standing::Meant("site.toml") => {
                meant_settings = true;
                continue;
            }
            Standing::Meant(meant) => {
                shelf(&mut files, meant).whole = Whole::No;
                continue;
            }
        }
        let text = read(report, path, entry);
        match (directory, text) {
            ("", Some((file, text))) => files.site = Some(SiteText { file, stem: "site", text, mended: OnceCell::new() }),
            ("", None) if DIRECTORIES.contains(&name) => shelf(&mut files, name).whole = Whole::No,
            ("", None) => {}
            (_, Some((file, text))) => {
                let stem = name.strip_suffix(".toml").unwrap_or(name);
                shelf(&mut files, directory).files.push(SiteText { file, stem, text, mended: OnceCell::new() });
            }
            (_, None) => shelf(&mut files, directory).whole = Whole::No,
        }
    }
    if !has_settings && !meant_settings {
        let (message, hint) = match below {
            Some(below) => (
                format!("there is no site.toml at the top, where a site begins: it lies in {below}/"),
                format!("move the site up: git mv {below}/* . && git commit -am \"Move the site up\""),
            ),
            None => {
                ("the site has no site.toml".to_owned(), "add site.toml with a line such as: name = \"lucky-cat\"".to_owned())
            }
        };
        report.push_path("no-site-file", "site.toml", Severity::Error, message, hint);
    }
    files
}

/// The directory that holds the site, where the top does not.
fn site_below(tree: &Tree) -> Option<&str> {
    let of_site = |path: &String| path.matches('/').count() == 1 && path.ends_with("/site.toml");
    let mut below = tree.entries.keys().filter(|path| of_site(path)).filter_map(|path| path.split('/').next());
    below.find(|directory| !DIRECTORIES.contains(directory)).filter(|_| !tree.entries.contains_key("site.toml"))
}

fn shelf<'f, 'a>(files: &'f mut Files<'a>, directory: &str) -> &'f mut FileGroup<'a> {
    match directory {
        "images" => &mut files.images,
        "machines" => &mut files.machines,
        "network" => &mut files.networks,
        _ => &mut files.templates,
    }
}

fn is_sound(path: &str) -> bool {
    !path.chars().any(char::is_control) && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// What every repository has and no site means: dot files, and prose; and the schemas for editors.
fn is_ignored(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let hidden = path.split('/').any(|part| part.starts_with('.'));
    hidden
        || path.starts_with(SCHEMAS)
        || ["README", "LICENSE", "CHANGELOG", "CODEOWNERS"].iter().any(|prose| name.starts_with(prose))
        || name.ends_with(".md")
}

fn report_too_large(report: &mut Report<'_>, path: &str, size: u64) {
    let message = format!("this file has {size} bytes and is larger than 1 MiB");
    let hint = "split it: there may be any number of files in machines/";
    report.push_path("file-too-large", path, Severity::Error, message, hint);
}

/// A file's text; `None`, and a finding, if it has none that can be used.
fn read<'a>(report: &mut Report<'a>, path: &'a str, entry: &'a Entry) -> Option<(FileId, &'a str)> {
    let bytes = match entry {
        Entry::File(_) if DIRECTORIES.contains(&path) => {
            report.push_path(
                "not-a-directory",
                path,
                Severity::Error,
                "this is a file, and must be a directory",
                "move it into a directory of this name",
            );
            return None;
        }
        Entry::File(bytes) => bytes,
        Entry::Symlink(target) => {
            let message = match leads_out(path, target) {
                true => format!("this is a link that leads out of the site, to {target:?}"),
                false => format!("this is a link to {target:?}, and links are not followed"),
            };
            report.push_path("link", path, Severity::Error, message, "put the file itself here");
            return None;
        }
        Entry::TooLarge(size) => {
            report_too_large(report, path, *size);
            return None;
        }
        Entry::Unreadable(reason) => {
            let hint = "what cannot be read is not taken as absent; make it readable, or remove it";
            report.push_path("unreadable", path, Severity::Error, format!("this cannot be read: {reason}"), hint);
            return None;
        }
    };
    if bytes.len() > LARGEST {
        report_too_large(report, path, bytes.len() as u64);
        return None;
    }
    match utf8(bytes) {
        Ok(text) => Some((report.open(path, text), text)),
        Err(problem) => {
            let place = if let NotUtf8::Byte { line, column, .. } = problem { (line, column) } else { (0, 0) };
            report.push_spot(("not-utf8", Severity::Error), path, place, problem.to_string(), SAVE_AS_UTF8);
            None
        }
    }
}

/// True if a link at `path` to `target` points above the site's root.
fn leads_out(path: &str, target: &str) -> bool {
    if target.starts_with('/') {
        return true;
    }
    let mut depth = path.matches('/').count() as i64;
    target.split('/').any(|part| {
        depth += match part {
            ".." => -1,
            "" | "." => 0,
            _ => 1,
        };
        depth < 0
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_followed_on_paper_only() {
        for (path, target, out) in [
            ("images/a.toml", "b.toml", false),
            ("images/a.toml", "../machines/b.toml", false),
            ("images/a.toml", "../../b.toml", true),
            ("images/a.toml", "x/../../../b", true),
            ("a.toml", "../a.toml", true),
            ("a.toml", "/etc/passwd", true),
        ] {
            assert_eq!(leads_out(path, target), out, "{path} -> {target}");
        }
    }
}
