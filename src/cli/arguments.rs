//! Arguments that several subcommands take.

use super::{failure::Failure, source::Source};
use crate::serve::USUAL_RUN;
use clap::Args;
use std::path::{Path, PathBuf};

/// Where barista keeps what it may lose.
pub(super) const STATE: &str = "/var/lib/barista";

/// Where the site is.
#[derive(Debug, Args)]
pub(super) struct SiteArguments {
    /// A directory that holds the site [default: the current directory]
    #[arg(long, value_name = "DIR", conflicts_with = "repo")]
    site: Option<PathBuf>,
    /// A git repository that holds it
    #[arg(long, value_name = "GITDIR")]
    repo: Option<PathBuf>,
    /// Which commit of the repository
    #[arg(long, value_name = "REV", requires = "repo", default_value = "HEAD")]
    rev: String,
}

impl SiteArguments {
    /// The repository, if these arguments name one.
    pub fn repository(&self) -> Option<&Path> {
        self.repo.as_deref()
    }

    /// Whether these arguments name a place at all.
    pub fn names_a_place(&self) -> bool {
        self.repo.is_some() || self.site.is_some()
    }

    /// The commit of another repository.
    pub fn source_of(&self, repository: &Path) -> Source {
        Source::Commit { repo: repository.to_owned(), revision: self.rev.clone() }
    }

    /// The place these arguments name.
    pub fn source(&self) -> Source {
        match (&self.repo, &self.site) {
            (Some(repo), _) => Source::Commit { repo: repo.clone(), revision: self.rev.clone() },
            (None, Some(site)) => Source::Directory(site.clone()),
            (None, None) => Source::Directory(PathBuf::from(".")),
        }
    }
}

/// Where barista keeps what it may lose.
#[derive(Debug, Clone, Args)]
pub(super) struct StateArgument {
    /// Where barista keeps the boot table, leases, transcripts and image sources
    #[arg(long, value_name = "DIR", env = "BARISTA_STATE", default_value = STATE)]
    pub state: PathBuf,
}

/// Where the services of this host meet while they run.
#[derive(Debug, Clone, Args)]
pub(super) struct RunArgument {
    /// Where the agent's sockets are
    #[arg(long, value_name = "DIR", env = "BARISTA_RUN", default_value = USUAL_RUN, hide = true)]
    pub run: PathBuf,
}

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub(super) struct JsonArgument {
    /// Print a document instead of text
    #[arg(long)]
    pub json: bool,
}

/// The arguments of a saved plan, which brings its own site, do not go with those that name one.
pub(super) fn refuse_both(site: &SiteArguments) -> Result<(), Failure> {
    if site.repo.is_some() || site.site.is_some() {
        return Err(Failure::Usage("a saved plan names its own site: leave out --site and --repo".to_owned()));
    }
    Ok(())
}
