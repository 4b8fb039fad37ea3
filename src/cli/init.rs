//! `barista init`: makes the repository that a café is pushed to, and on request the services; or a site to begin with.
//!
//! **Invariant:** with `--dry-run` nothing is written, and what would be refused is refused.
#![expect(clippy::disallowed_methods, reason = "effect room: asks where this program lies")]

use super::{
    arguments::StateArgument,
    edits::{self, DryRunArgument, FileChange},
    elsewhere, example,
    failure::{Exit, Failure},
    output, source,
    units::{self, Place},
};
use crate::agent::applied;
use crate::deploy::{
    Branch, CommitId,
    init::{Hook, InitError, Initialised, init, preview},
    patience::{FOR_FILES, FOR_REFERENCES, within},
    repo::Repo,
    select::History,
};
use anyhow::Context as _;
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The bare repository to make
    #[arg(value_name = "GITDIR", required_unless_present = "example")]
    repository: Option<PathBuf>,
    /// The branch the café follows [default: main, or what an existing repository has]
    #[arg(long, value_name = "NAME")]
    branch: Option<Branch>,
    #[command(flatten)]
    state: StateArgument,
    /// Have the agent take the branch as it is now, though it does not descend from the commit applied last
    #[arg(long, conflicts_with_all = ["branch", "systemd"])]
    accept_history: bool,
    /// Write systemd's units too, below DIR
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = "/etc")]
    systemd: Option<PathBuf>,
    /// Write a commented site to begin with into DIR, with its schemas, in place of making a repository
    #[arg(long, value_name = "DIR", conflicts_with_all = ["repository", "branch", "systemd", "accept_history"])]
    example: Option<PathBuf>,
    #[command(flatten)]
    how: DryRunArgument,
}

/// Runs `init`; run again it brings hooks and units up to date.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let repository = match (&arguments.example, &arguments.repository) {
        (Some(directory), _) => {
            elsewhere::refuse(
                directory,
                "the example is written into a directory of this one",
                "name a directory here, such as cafe",
            )?;
            return example::write(directory, arguments.how);
        }
        (None, Some(repository)) => repository,
        (None, None) => return Err(Failure::Usage("which repository? name a directory, such as /srv/cafe.git".to_owned())),
    };
    elsewhere::refuse(repository, "init makes a repository of this one", MAKE_THERE)?;
    let absolute = |path: &Path| std::path::absolute(path).with_context(|| format!("cannot make {} absolute", path.display()));
    let place = Place {
        program: env::current_exe().context("cannot tell where this program lies")?,
        repository: absolute(repository)?,
        state: absolute(&arguments.state.state)?,
    };
    refuse_others(&place.repository)?;
    if arguments.accept_history {
        return accept(&place.repository, &place.state, arguments.how);
    }
    let hook = |name: &'static str| {
        let path = |path: &Path| path.display().to_string();
        Hook { name, argv: vec![path(&place.program), "hook".into(), name.into(), "--state".into(), path(&place.state)] }
    };
    let hooks = [hook("pre-receive"), hook("post-receive")];
    if arguments.how.dry_run {
        return show(arguments, &place, &hooks);
    }
    let (path, branch) = (place.repository.clone(), arguments.branch.clone());
    let made = within(&place.repository, FOR_FILES, move || init(&path, branch.as_ref(), &hooks));
    let found = made.map_err(explain)?;
    let shown = place.repository.display();
    output::note(match found {
        Initialised::New => format!("made {shown}"),
        Initialised::Existing => format!("{shown} is up to date"),
    });
    if let Some(directory) = &arguments.systemd {
        for path in units::write(directory, &place)? {
            output::note(format!("wrote {}", path.display()));
        }
        output::note("\nStart the services (on a host with targetcli, first: systemctl mask rtslib-fb-targetctl):");
        output::data(
            "systemd-sysusers barista.conf && systemd-tmpfiles --create barista.conf && systemctl restart systemd-modules-load && systemctl daemon-reload && systemctl enable --now barista-agent barista-serve\n",
        )?;
    }
    let branch = arguments.branch.as_ref().map_or("main", Branch::as_str);
    output::note("\nPush a site to it, from the directory that holds site.toml:");
    output::data(&format!("git remote add cafe {shown}\ngit push cafe HEAD:{branch}\n"))?;
    output::note(format!("\nFrom another computer the remote is root@THIS-HOST:{shown}; only root is shown the plan."));
    Ok(Exit::Done)
}

/// What to do about a repository that is to be made on another computer.
const MAKE_THERE: &str = "run it there, as root, with the path alone: barista init /srv/cafe.git";

/// What git and `init` put into a bare repository (gitrepository-layout(5)): one whose making was cut off is finished.
const OF_GIT: [&str; 12] = [
    "HEAD",
    "branches",
    "config",
    "description",
    "hooks",
    "info",
    "logs",
    "objects",
    "packed-refs",
    "refs",
    "shallow",
    "worktrees",
];

/// Refuses a directory that holds something else than a repository: git's files would lie among it.
fn refuse_others(repository: &Path) -> Result<(), Failure> {
    if let Ok(metadata) = fs::metadata(repository)
        && !metadata.is_dir()
    {
        let error = anyhow::anyhow!("{} is a file, and a repository is a directory", repository.display());
        return Err(Failure::hinted(error, "name a directory that does not exist yet, such as /srv/cafe.git"));
    }
    let above = repository.ancestors().skip(1).find(|above| above.join("site.toml").is_file());
    if let Some(site) = above.filter(|_| !repository.join("HEAD").exists()) {
        let (shown, site) = (repository.display(), site.display());
        let error = anyhow::anyhow!("{shown} lies in the site {site}, and git add would take it for a part of that");
        return Err(Failure::hinted(error, "make it beside the site: barista init /srv/cafe.git; then push the site to it"));
    }
    let Ok(entries) = fs::read_dir(repository) else { return Ok(()) };
    let names: Vec<String> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let is_repository = names.iter().any(|name| name == "HEAD" || name == ".git");
    if is_repository || names.iter().all(|name| OF_GIT.contains(&name.as_str())) {
        return Ok(());
    }
    let shown = repository.display();
    let (what, hint) = match names.iter().any(|name| name == "site.toml") {
        true => (
            "is a site, and a repository for it is another directory",
            "make one beside it: barista init /srv/cafe.git; then push the site to it",
        ),
        false => ("is not empty, and no repository", "name a directory that does not exist yet, such as /srv/cafe.git"),
    };
    Err(Failure::hinted(anyhow::anyhow!("{shown} {what}"), hint))
}

/// Shows what would be made or changed.
fn show(arguments: &Arguments, place: &Place, hooks: &[Hook]) -> Result<Exit, Failure> {
    let shown = place.repository.display();
    let (path, branch, hooks) = (place.repository.clone(), arguments.branch.clone(), hooks.to_vec());
    let looked = within(&place.repository, FOR_REFERENCES, move || preview(&path, branch.as_ref(), &hooks));
    let preview = looked.map_err(explain)?;
    output::note(match preview.found {
        Initialised::New => format!("{shown} would be made, a bare repository"),
        Initialised::Existing => format!("{shown} is there"),
    });
    let mut text = String::new();
    if let Some(branch) = preview.branch {
        text += &format!("+ HEAD = {branch}\n");
    }
    for (key, before, after) in preview.settings {
        text += &before.map_or(String::new(), |before| format!("- {key} = {before}\n"));
        text += &format!("+ {key} = {after}\n");
    }
    let mut changes: Vec<FileChange> = preview
        .hooks
        .into_iter()
        .map(|(name, before, after)| FileChange { path: below_root(&place.repository.join("hooks").join(name)), before, after })
        .collect();
    if let Some(directory) = &arguments.systemd {
        for (path, after) in units::files(place).into_iter().chain(units::missing_settings(directory)) {
            let path = directory.join(path);
            let before = match fs_err::read_to_string(&path) {
                Ok(text) => Some(text),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => return Err(error.into()),
            };
            changes.push(FileChange { path: below_root(&path), before, after });
        }
    }
    output::data(&(text + &edits::render(&changes)))?;
    output::note("nothing was written");
    Ok(Exit::Done)
}

/// A path as a difference shows it, behind `a/` and `b/`.
fn below_root(path: &Path) -> String {
    path.strip_prefix("/").unwrap_or(path).display().to_string()
}

/// Writes down that the branch is taken as it is: after a forced push by hand, or in a repository that was made anew.
fn accept(repository: &Path, state: &Path, how: DryRunArgument) -> Result<Exit, Failure> {
    let path = repository.to_owned();
    let read = within(repository, FOR_REFERENCES, move || {
        let repo = Repo::open(&path)?;
        let branch = repo.followed()?;
        let head = repo.commit_of(&branch)?;
        Ok((branch, head.map(|head| repo.resolve(head.as_str())).transpose()?))
    });
    let (branch, commit) = read.map_err(source::explain)?;
    let Some(commit) = commit else { return accept_empty(&branch, state, how) };
    let known = recall(state);
    if how.dry_run {
        output::note(format!("{branch} would be accepted at {} {:?}; nothing was written", commit.id.short(), commit.subject));
        return Ok(Exit::Done);
    }
    write(state, &History { accepted: Some(commit.id.clone()), ..known.history })?;
    output::note(format!("{branch} is accepted at {} {:?}; the agent applies it", commit.id.short(), commit.subject));
    Ok(Exit::Done)
}

/// Writes down that the empty branch is taken as it is: the repository was made anew, and what comes first has another history.
fn accept_empty(branch: &Branch, state: &Path, how: DryRunArgument) -> Result<Exit, Failure> {
    let Known { history, damaged } = recall(state);
    let until = match (&history.applied, damaged) {
        (Some(last), _) => format!("the café stays at {} until it is pushed", last.short()),
        (None, Some(_)) => "the café stays as it is until it is pushed".to_owned(),
        (None, None) => {
            output::note(format!(
                "{branch} has no commit, and nothing was applied here yet: whatever is pushed first is accepted"
            ));
            return Ok(Exit::Done);
        }
    };
    if how.dry_run {
        output::note(format!(
            "{branch} has no commit; the next one would be accepted, whatever its history; nothing was written"
        ));
        return Ok(Exit::Done);
    }
    write(state, &History { accepted: Some(CommitId::unborn()), ..history })?;
    output::note(format!("{branch} has no commit; the next one is accepted, whatever its history; {until}"));
    Ok(Exit::Done)
}

/// What this host's record says of what it has taken.
struct Known {
    history: History,
    /// Why the record does not read.
    damaged: Option<String>,
}

/// Reads the record, and says so where it does not read: what is known then is what the copy of the last good commit says.
fn recall(state: &Path) -> Known {
    let (history, damaged) = applied::recall(state);
    if let Some(why) = &damaged {
        let last = match &history.applied {
            Some(last) => format!("by the copy beside it this host was last at {}", last.short()),
            None => "and no copy beside it says which commit was applied last".to_owned(),
        };
        output::note(format!("warning: the record of what was applied here does not read ({why}); {last}"));
    }
    Known { history, damaged }
}

fn write(state: &Path, history: &History) -> Result<(), Failure> {
    applied::write(state, history)
        .map_err(|error| Failure::hinted(error, format!("{} is root's: run it with sudo", state.join(applied::PATH).display())))
}

fn explain(error: InitError) -> Failure {
    match &error {
        InitError::NotBare(_) => Failure::hinted(error, "name a directory that does not exist yet, such as /srv/cafe.git"),
        InitError::ForeignHook(path) => {
            let hint = format!("move it away, or have it run `barista hook {}`", path.file_name().unwrap_or_default().display());
            Failure::hinted(error, hint)
        }
        InitError::Odd { file, what } => {
            let hint = what.mend(file);
            Failure::hinted(error, hint)
        }
        InitError::Late(_) | InitError::Write { .. } | InitError::Git { .. } => error.into(),
    }
}
