//! `barista fmt`: puts a site's TOML into its usual form.
//!
//! **Invariant:** writes nothing where one file does not parse, and never what says something else than before.

use super::{
    edits::{self, DryRunArgument, FileChange, Written},
    failure::{Exit, Failure},
    output,
};
use crate::deploy::directory;
use crate::diagnostic::{Code, Diagnostic, Place, Severity};
use crate::names::clean;
use crate::site::{Entry, FormatError, format};
use std::path::{Path, PathBuf};

/// Arguments of `fmt`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Files by their paths in the site [default: all of its TOML]
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// The site's directory [default: the current directory]
    #[arg(long, value_name = "DIR")]
    site: Option<PathBuf>,
    /// Write nothing, and end with 1 where a file is not in its usual form
    #[arg(long, conflicts_with = "dry_run")]
    check: bool,
    #[command(flatten)]
    how: DryRunArgument,
}

/// Runs `fmt`.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let root = arguments.site.clone().unwrap_or_else(|| PathBuf::from("."));
    let tree = directory::read(&root).map_err(|error| Failure::hinted(error, "name the site's directory with --site"))?;
    let named: Vec<String> = arguments.files.iter().map(|file| in_site(file, &root)).collect();
    if let Some(missing) = named.iter().find(|file| !tree.entries.contains_key(*file) || !is_of_site(file)) {
        return Err(Failure::Usage(format!("the site has no TOML file {missing}")));
    }
    let wanted = |path: &String| is_of_site(path) && (named.is_empty() || named.contains(path));
    let (mut changes, mut findings, mut count) = (Vec::new(), Vec::new(), 0);
    for (path, entry) in tree.entries.iter().filter(|(path, _)| wanted(path)) {
        count += 1;
        let text = match entry {
            Entry::File(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => text,
                Err(_) => {
                    findings.push(refusal(path, 0, "this is not UTF-8".to_owned(), None));
                    continue;
                }
            },
            Entry::Symlink(_) => {
                findings.push(refusal(path, 0, "this is a link, and links are not followed".to_owned(), None));
                continue;
            }
            Entry::Unreadable(why) => {
                findings.push(refusal(path, 0, format!("this cannot be read: {why}"), None));
                continue;
            }
        };
        match format(path, text) {
            Ok(after) if after == text => {}
            Ok(after) => changes.push(FileChange { path: path.clone(), before: Some(text.to_owned()), after }),
            Err(FormatError::NotToml { line, what }) => {
                let quoted = text.lines().nth((line as usize).saturating_sub(1)).map(|line| clean(&line.replace('\t', " ")));
                findings.push(refusal(path, line, format!("not TOML: {what}"), quoted));
            }
            Err(error @ FormatError::OtherMeaning) => findings.push(refusal(path, 0, error.to_string(), None)),
        }
    }
    if !findings.is_empty() {
        return Err(Failure::Findings(findings));
    }
    let formed = count - changes.len();
    if changes.is_empty() {
        output::note(format!("all {formed} files are in their usual form"));
        return Ok(Exit::Done);
    }
    if arguments.check {
        output::data(&edits::render(&changes))?;
        output::note(format!("{} of {count} files are not in their usual form; `barista fmt` puts them into it", changes.len()));
        return Ok(Exit::Error);
    }
    if edits::carry_out(&root, &changes, arguments.how)? == Written::Yes {
        output::note(format!("{} of {count} files were put into their usual form", changes.len()));
    }
    Ok(Exit::Done)
}

/// Whether a path is of a file that a site reads as TOML.
fn is_of_site(path: &str) -> bool {
    match path.split_once('/') {
        None => path == "site.toml",
        Some((directory, name)) => {
            ["network", "images", "machines"].contains(&directory)
                && !name.contains('/')
                && name.ends_with(".toml")
                && !name.starts_with('.')
        }
    }
}

/// A file as the site names it, however it was typed.
fn in_site(typed: &str, root: &Path) -> String {
    let path = Path::new(typed);
    path.strip_prefix(root).or_else(|_| path.strip_prefix(".")).unwrap_or(path).to_string_lossy().into_owned()
}

fn refusal(path: &str, line: u32, message: String, text: Option<String>) -> Diagnostic {
    let hint = Some("nothing was written; `barista check` says more".to_owned());
    let column = u32::from(line > 0);
    let place = Place { file: path.to_owned(), line, column, width: 0, text };
    Diagnostic { place, severity: Severity::Error, code: Code::new("no-usual-form"), message, hint, also: Vec::new() }
}
