//! `barista init`: makes the repository that a café is pushed to, and on request the services.
#![expect(clippy::disallowed_methods, reason = "effect room: asks where this program lies")]

use super::{
    arguments::StateArgument,
    failure::{Exit, Failure},
    output, source,
    units::{self, Place},
};
use crate::agent::applied;
use crate::deploy::{
    Branch,
    init::{Hook, InitError, Initialised, init},
    repo::Repo,
    select::History,
};
use anyhow::Context as _;
use std::{
    env,
    path::{Path, PathBuf},
};

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The bare repository to make
    #[arg(value_name = "GITDIR")]
    repository: PathBuf,
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
}

/// Runs `init`; run again it brings hooks and units up to date.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let absolute = |path: &Path| std::path::absolute(path).with_context(|| format!("cannot make {} absolute", path.display()));
    let place = Place {
        program: env::current_exe().context("cannot tell where this program lies")?,
        repository: absolute(&arguments.repository)?,
        state: absolute(&arguments.state.state)?,
    };
    if arguments.accept_history {
        return accept(&place.repository, &place.state);
    }
    let hook = |name: &'static str| {
        let path = |path: &Path| path.display().to_string();
        Hook { name, argv: vec![path(&place.program), "hook".into(), name.into(), "--state".into(), path(&place.state)] }
    };
    let found =
        init(&place.repository, arguments.branch.as_ref(), &[hook("pre-receive"), hook("post-receive")]).map_err(explain)?;
    let shown = place.repository.display();
    output::note(match found {
        Initialised::New => format!("made {shown}"),
        Initialised::Existing => format!("{shown} is up to date"),
    });
    if let Some(directory) = &arguments.systemd {
        for path in units::write(directory, &place)? {
            output::note(format!("wrote {}", path.display()));
        }
        output::note("\nStart the services (on a host with targetcli, first: systemctl disable --now rtslib-fb-targetctl):");
        output::data(
            "systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload && systemctl enable --now barista-agent barista-serve\n",
        )?;
    }
    let branch = arguments.branch.as_ref().map_or("main", Branch::as_str);
    output::note("\nPush a site to it, from the directory that holds site.toml:");
    output::data(&format!("git remote add cafe {shown}\ngit push cafe HEAD:{branch}\n"))?;
    output::note(format!("\nFrom another computer the remote is root@THIS-HOST:{shown}; only root is shown the plan."));
    Ok(Exit::Done)
}

/// Writes down that the branch is taken as it is: after a forced push by hand, or in a repository that was made anew.
fn accept(repository: &Path, state: &Path) -> Result<Exit, Failure> {
    let repo = Repo::open(repository).map_err(source::explain)?;
    let branch = repo.followed().map_err(source::explain)?;
    let Some(head) = repo.commit_of(&branch).map_err(source::explain)? else {
        return Err(Failure::hinted(anyhow::anyhow!("{branch} has no commit that could be accepted"), "push one"));
    };
    let commit = repo.resolve(head.as_str()).map_err(source::explain)?;
    let known = applied::read(state).present().cloned().unwrap_or_default();
    applied::write(state, &History { accepted: Some(head), ..known }).map_err(|error| {
        Failure::hinted(error, format!("{} is root's: run it with sudo", state.join(applied::PATH).display()))
    })?;
    output::note(format!("{branch} is accepted at {} {:?}; the agent applies it", commit.id.short(), commit.subject));
    Ok(Exit::Done)
}

fn explain(error: InitError) -> Failure {
    match &error {
        InitError::NotBare(_) => Failure::hinted(error, "name a directory that does not exist yet, such as /srv/cafe.git"),
        InitError::ForeignHook(path) => {
            let hint = format!("move it away, or have it run `barista hook {}`", path.file_name().unwrap_or_default().display());
            Failure::hinted(error, hint)
        }
        InitError::Write { .. } | InitError::Git { .. } => error.into(),
    }
}
