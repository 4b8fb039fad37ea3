//! A command line that does not parse, in the words of clap, with what was meant where that is plain.
//!
//! **Invariant:** looks only at what a word of the command line names; nothing of it is read or run.
#![expect(clippy::disallowed_methods, reason = "effect room: looks what lies at a path that was typed")]

use super::{failure::Exit, help, output};
use crate::exchange::import::mend_name;
use crate::names::{MacAddr, near_ipv4};
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
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.clone()),
        _ => None,
    };
    let commands: Vec<&str> = words.iter().skip(1).filter_map(|word| word.to_str()).take(2).collect();
    let meant = match error.kind() {
        ErrorKind::UnknownArgument => {
            word(ContextKind::InvalidArg).and_then(|word| meant(&word).or_else(|| meant_option(&commands, &word)))
        }
        ErrorKind::InvalidSubcommand => word(ContextKind::InvalidSubcommand).and_then(|word| meant_command(&commands, &word)),
        ErrorKind::ValueValidation => meant_value(word(ContextKind::InvalidArg), word(ContextKind::InvalidValue)),
        _ => None,
    };
    if meant.is_some() {
        // A command that is only spelled alike is not what was meant.
        error.remove(ContextKind::SuggestedSubcommand);
        error.remove(ContextKind::SuggestedArg);
        error.remove(ContextKind::Suggested);
    }
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

/// What a command of another program is called here.
fn meant_command(commands: &[&str], word: &str) -> Option<String> {
    let hint = match (commands, word) {
        (["machine", ..], "remove" | "rm" | "delete" | "del") => {
            "remove its [[machine]] from its file in machines/, and push; the plan says what becomes of its disks"
        }
        (["machine", ..], "rename" | "mv" | "move") => {
            "write its new name in its file in machines/, and there [[moved]] with from and to, so that its disks go with it"
        }
        (["machine", ..], "show" | "info" | "get" | "status") => "barista explain pc01, or barista machine list",
        (["machine", ..], "ls" | "all") => "barista machine list",
        (["machine", ..], "new" | "create") => "barista machine add",
        (_, "validate" | "lint" | "verify" | "test") => "barista check",
        (_, "ls" | "list" | "show" | "machines") => "barista machine list",
        (_, "add" | "import" | "seen") => return Some(format!("barista machine {word}")),
        (_, "image" | "images") => {
            "an image is a file of images/, and its disk lies in the image store: see `barista schema image` and `barista init --example DIR`"
        }
        (_, "version") => "barista --version",
        (_, "start" | "up" | "restart" | "stop" | "enable") => {
            "the services are systemd's: systemctl start barista-agent barista-serve; without systemd: barista run --repo GITDIR"
        }
        (_, "deploy" | "push" | "sync") => "git push origin HEAD:main; or barista apply --site DIR, on the server",
        (_, "diff" | "preview") => "barista plan",
        (_, "log" | "logs" | "history") => "journalctl -u barista-agent -u barista-serve; or barista explain pc01",
        (_, "config" | "edit" | "set") => "a site is files: edit them, then barista check --site DIR",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// What an option or a word of another command was meant to be.
fn meant_option(commands: &[&str], word: &str) -> Option<String> {
    if !word.is_ascii() && word.starts_with(['－', '—', '–', '―']) {
        let plain = word.trim_start_matches(['－', '—', '–', '―']);
        return Some(format!("an option begins with the ASCII sign -: --{plain}"));
    }
    let hint = match (commands, word) {
        (["machine", "add"], word) if word.parse::<MacAddr>().is_ok() => return Some(format!("--mac {word}")),
        (["machine", "add"], "--boot" | "--image") => {
            "what it boots is that of its row, or of [defaults] in its file: edit the file afterwards"
        }
        (["machine", "add"], word) if !word.starts_with('-') => {
            "say what each is: --mac 88:ae:dd:05:08:fa --name pc01 --ip 192.168.1.101"
        }
        (["plan" | "check", ..], "--dry-run" | "-n") => "leave it out: this command changes nothing",
        (["apply", ..], "--dry-run" | "-n") => "barista plan shows what apply would do, and changes nothing",
        (["apply", ..], "-y") => "--yes",
        (["agent" | "run", ..], "--site") => "the agent follows a repository: --repo GITDIR, which barista init makes",
        (["serve" | "agent" | "run", ..], "--port") => "the port of HTTP is http-port below [boot] in site.toml",
        (["check", ..], "-v" | "--verbose") => "leave it out: every finding is shown",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// What to write for a value that its option does not take.
fn meant_value(option: Option<String>, value: Option<String>) -> Option<String> {
    let (option, value) = (option?, value?);
    let (option, _) = option.split_once(' ').unwrap_or((&option, ""));
    Some(match option {
        "--name" if value.contains('{') => "--name 'pc{:02}'".to_owned(),
        "--name" => match mend_name(&value) {
            Some(name) => format!("--name {name}"),
            None => "write letters a-z, digits and '-': --name pc07".to_owned(),
        },
        "--ip" => match near_ipv4(&value) {
            Some(address) => format!("--ip {address}"),
            None => "write four numbers from 0 to 255: --ip 192.168.1.107; without --ip it is the next of its row".to_owned(),
        },
        "--mac" | "--from-seen" => {
            format!("write the six pairs of 0-9 and a-f that the machine's firmware shows: {option} 88:ae:dd:05:08:fa")
        }
        _ => return None,
    })
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
        None if path.is_file() && path.extension().is_some_and(|ending| ending == "toml") => {
            let site = path.ancestors().skip(1).find(|above| above.join("site.toml").is_file())?;
            let shown = if site.as_os_str().is_empty() { Path::new(".") } else { site };
            Some(format!("all files of a site are read together: --site {}", shown.display()))
        }
        Some(above) if path.is_file() => {
            Some(format!("name the directory of a site: --site {}", if above.is_empty() { "." } else { above }))
        }
        _ => None,
    }
}
