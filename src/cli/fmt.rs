//! `barista fmt`: puts a site's TOML into its usual form.
//!
//! **Invariant:** writes nothing where one file does not parse, and never what says something else than before.

use super::{
    edits::{self, DryRunArgument, FileChange, Written},
    failure::{Exit, Failure},
    output,
    source::read_directory,
};
use crate::diagnostic::{Code, Diagnostic, Place, Severity};
use crate::names::{NotUtf8, SAVE_AS_UTF8, clean, utf8};
use crate::site::{Entry, FormatError, Tree, format};
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
    let tree = read_directory(&root)?;
    let mut named = Vec::new();
    for typed in &arguments.files {
        let file = in_site(typed, &root);
        if !tree.entries.contains_key(&file) || !is_of_site(&file) {
            return Err(mistyped(typed, &tree));
        }
        named.push(file);
    }
    let wanted = |path: &String| is_of_site(path) && (named.is_empty() || named.contains(path));
    let (mut changes, mut findings, mut count) = (Vec::new(), Vec::new(), 0);
    for (path, entry) in tree.entries.iter().filter(|(path, _)| wanted(path)) {
        count += 1;
        let text = match entry {
            Entry::File(bytes) => match utf8(bytes) {
                Ok(text) => text,
                Err(problem) => {
                    let line = if let NotUtf8::Byte { line, .. } = problem { line } else { 0 };
                    let refusal = refusal(path, line, problem.to_string(), None);
                    findings.push(Diagnostic { hint: Some(SAVE_AS_UTF8.to_owned()), ..refusal });
                    continue;
                }
            },
            Entry::Symlink(_) => {
                findings.push(refusal(path, 0, "this is a link, and links are not followed".to_owned(), None));
                continue;
            }
            Entry::TooLarge(size) => {
                findings.push(refusal(path, 0, format!("this file has {size} bytes, and one of a site has at most 1 MiB"), None));
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
    if count == 0 {
        // What was not looked at is not in its usual form.
        return Err(Failure::hinted(
            anyhow::anyhow!("{} has no TOML file of a site", root.display()),
            "name the site's directory with --site",
        ));
    }
    let formed = count - changes.len();
    if changes.is_empty() {
        output::note(match formed {
            1 => "the file is in its usual form".to_owned(),
            _ => format!("all {formed} files are in their usual form"),
        });
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

/// A file as the site names it, however it was typed: from here, from the site's directory, whole, or as Windows writes paths.
fn in_site(typed: &str, root: &Path) -> String {
    let typed = if typed.contains('/') { typed.to_owned() } else { typed.replace('\\', "/") };
    let path = Path::new(&typed);
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let whole = absolute(path);
    let below = path.strip_prefix(root).or_else(|_| path.strip_prefix("."));
    let below = below.or_else(|error| if path.is_absolute() { whole.strip_prefix(absolute(root)) } else { Err(error) });
    below.unwrap_or(path).to_string_lossy().into_owned()
}

/// A file that the site has not, with the one that was meant.
fn mistyped(typed: &str, tree: &Tree) -> Failure {
    let name = typed.rsplit('/').next().unwrap_or(typed);
    let of_name = |path: &&String| is_of_site(path) && path.rsplit('/').next() == Some(name);
    let hint = match tree.entries.keys().find(of_name) {
        _ if Path::new(typed).join("site.toml").is_file() => format!("it is a site's directory: name it with --site {typed}"),
        Some(meant) => format!("files are named by their paths in the site: {meant}"),
        None => "files are named by their paths in the site, such as machines/room.toml; without any, all are put into form"
            .to_owned(),
    };
    Failure::Mistyped { message: format!("the site has no TOML file {typed}"), hint }
}

fn refusal(path: &str, line: u32, message: String, text: Option<String>) -> Diagnostic {
    let hint = Some("nothing was written; `barista check` says more".to_owned());
    let column = u32::from(line > 0);
    let place = Place { file: path.to_owned(), line, column, width: 0, text };
    Diagnostic { place, severity: Severity::Error, code: Code::new("no-usual-form"), message, hint, also: Vec::new() }
}
