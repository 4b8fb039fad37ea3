//! A command line that does not parse, in the words of clap, with what was meant where that is plain.
//!
//! **Invariant:** looks only at what a word of the command line names; nothing of it is read or run.
#![expect(clippy::disallowed_methods, reason = "effect room: looks what lies at a path that was typed")]

use super::{failure::Exit, help, output};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::{ffi::OsString, path::Path};

/// Says why a command line does not parse, and ends.
pub(super) fn report(mut error: clap::Error, words: &[OsString]) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // A terminal that went away while help was printed is nobody's loss.
        drop(error.print());
        return Exit::Done;
    }
    if error.get(ContextKind::Usage).is_some() {
        // What the environment says would stand there as if it were required.
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage(words)));
    }
    let meant = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::UnknownArgument, Some(ContextValue::String(word))) => meant(word),
        _ => None,
    };
    drop(error.print());
    if let Some(meant) = meant {
        output::note(format!("\n  hint: {meant}"));
    }
    Exit::Usage
}

/// The usage line of the subcommand that the words name.
fn usage(words: &[OsString]) -> clap::builder::StyledStr {
    let mut command = help::command();
    command.build();
    let mut at = &mut command;
    for word in words.iter().skip(1).map_while(|word| word.to_str()) {
        if at.find_subcommand(word).is_none() {
            break;
        }
        at = at.find_subcommand_mut(word).expect("it was found");
    }
    at.render_usage()
}

/// What the first thing that everybody types was meant to be.
fn meant(word: &str) -> Option<String> {
    let path = Path::new(word);
    let file = word.strip_suffix("site.toml").map(|above| above.trim_end_matches('/'));
    match file {
        _ if path.join("site.toml").is_file() => Some(format!("name a site's directory with --site: --site {word}")),
        _ if path.join("HEAD").is_file() && path.join("objects").is_dir() => {
            Some(format!("name a repository with --repo: --repo {word}"))
        }
        Some(above) if path.is_file() => {
            Some(format!("name the directory of a site: --site {}", if above.is_empty() { "." } else { above }))
        }
        _ => None,
    }
}
