//! Looks at the followed branch, in a process of its own that may take so much memory and time and no more.
//!
//! A few kilobytes of a repository unfold to gigabytes: an object may be the difference to one of any size, and whoever owns the
//! repository may exchange a file between the look at its size and its opening. libgit2 reads whole what it reads. **Invariant:** the
//! agent reads no object itself but those of a commit that a trial in such a process has read before, or this one.

use super::repository::trouble_of;
use crate::deploy::{
    Branch, CommitId,
    patience::{FOR_FILES, FOR_REFERENCES, Late, within},
    repo::{Repo, RepoError},
    select::{Ancestry, Head, History},
};
use crate::host::{Command, CommandError, Commands as _, Programs, TRIAL_MEMORY, TRIAL_SECONDS, chain};
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// How much longer the process may take than anybody waits for it, before it is killed.
const AFTERMATH: Duration = Duration::from_secs(5);

/// How far a look goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The references, and the commits before the branch's as far as they are asked for.
    References,
    /// Every file of the branch's commit too.
    Files,
}

/// The followed branch, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// Its name.
    pub branch: Branch,
    /// Its commit.
    pub head: Head,
}

/// Looks at a repository, by this program where one is named and else in this process.
#[derive(Debug, Clone)]
pub struct Reader {
    /// The program.
    pub program: Option<PathBuf>,
    /// The repository.
    pub repository: PathBuf,
    /// The state directory, which messages name.
    pub state: PathBuf,
}

/// What such a process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Looked { branch: String, head: Option<(CommitId, Ancestry)> },
    Failed { what: String, mend: String },
}

impl Reader {
    /// Looks where the branch is, and how that stands to what was applied.
    pub fn look(&self, history: &History, depth: Depth) -> Result<Looked, RepoError> {
        let (reader, history) = (self.clone(), history.clone());
        let patience = match depth {
            Depth::References => FOR_REFERENCES,
            Depth::Files => FOR_FILES,
        };
        within(&self.repository, patience, move || match &reader.program {
            None => look(&reader.repository, &history, depth),
            Some(program) => reader.ask(program, &history, depth, patience + AFTERMATH),
        })
    }

    fn ask(&self, program: &Path, history: &History, depth: Depth, deadline: Duration) -> Result<Looked, RepoError> {
        let path = |path: &Path| path.to_str().map(str::to_owned);
        let words = [path(program), path(&self.repository), path(&self.state)];
        let [Some(program), Some(repository), Some(state)] = words else {
            return look(&self.repository, history, depth);
        };
        let mut words = vec![program, "hook".into(), "look".into(), "--repo".into(), repository, "--state".into(), state];
        for (flag, commit) in [("--applied", &history.applied), ("--accepted", &history.accepted)] {
            words.extend(commit.iter().flat_map(|commit| [flag.to_owned(), commit.to_string()]));
        }
        words.extend((depth == Depth::Files).then(|| "--files".to_owned()));
        let relayed = |what: String, mend: &str| RepoError::Relayed { what, mend: mend.to_owned() };
        let output = Programs.run(&Command::new(words, deadline)).map_err(|error| match error {
            CommandError::Deadline { .. } => RepoError::Late(Late(self.repository.clone())),
            error => relayed(format!("{}: {}", self.repository.display(), chain(&error)), "none is needed: it is tried again"),
        })?;
        match serde_json::from_str(output.stdout.trim()) {
            Ok(Answer::Looked { branch, head }) => {
                let branch = branch.parse().map_err(|_| RepoError::NoBranch(self.repository.clone()))?;
                Ok(Looked { branch, head: head.map_or(Head::Absent, |(commit, ancestry)| Head::At(commit, ancestry)) })
            }
            Ok(Answer::Failed { what, mend }) => Err(RepoError::Relayed { what, mend }),
            Err(_) => {
                let bound = format!("{} MiB of memory or {TRIAL_SECONDS} s", TRIAL_MEMORY >> 20);
                let what = format!("reading {} takes more than {bound}", self.repository.display());
                Err(relayed(what, "move it away, make another with barista init, and push again what a person has looked at"))
            }
        }
    }

    /// What such a process answers: one line of JSON.
    pub fn answer(&self, history: &History, depth: Depth) -> String {
        let answer = match look(&self.repository, history, depth) {
            Ok(Looked { branch, head }) => {
                let head = if let Head::At(commit, ancestry) = head { Some((commit, ancestry)) } else { None };
                Answer::Looked { branch: branch.to_string(), head }
            }
            Err(error) => {
                let trouble = trouble_of(&error, &self.repository, &self.state);
                Answer::Failed { what: trouble.message, mend: trouble.hint.unwrap_or_default() }
            }
        };
        serde_json::to_string(&answer).expect("a document of strings always serialises")
    }
}

fn look(repository: &Path, history: &History, depth: Depth) -> Result<Looked, RepoError> {
    let repo = Repo::open(repository)?;
    let branch = repo.followed()?;
    let head = repo.head(&branch, history)?;
    if let (Depth::Files, Head::At(commit, _)) = (depth, &head) {
        repo.tree(commit)?;
    }
    Ok(Looked { branch, head })
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests make a program")]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    /// A program that does this in the place of a look.
    fn reader(root: &Path, script: &str) -> Reader {
        let program = root.join("program");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("its own");
        Reader { program: Some(program), repository: root.join("x.git"), state: root.join("state") }
    }

    #[test]
    fn a_look_that_takes_too_much_ends_that_process_alone_and_is_said() {
        let root = tempfile::tempdir().expect("a directory");
        let said = |script: &str| {
            let error = reader(root.path(), script).look(&History::default(), Depth::References).expect_err("no look");
            trouble_of(&error, Path::new("x.git"), Path::new("state"))
        };
        for script in ["kill -9 $$", "exit 101", "echo '{'"] {
            let trouble = said(script);
            assert!(trouble.message.contains("takes more than 192 MiB of memory or 4 s"), "{script}: {trouble:?}");
            assert!(
                trouble.message.contains("x.git") && trouble.hint.as_deref().is_some_and(|hint| hint.contains("barista init")),
                "{script}: {trouble:?}"
            );
        }
    }

    #[test]
    fn what_the_process_answers_is_what_it_saw() {
        let root = tempfile::tempdir().expect("a directory");
        let repository = root.path().join("x.git");
        let own = Reader { program: None, repository: repository.clone(), state: root.path().join("state") };
        let relayed = || {
            let answer = own.answer(&History::default(), Depth::Files);
            reader(root.path(), &format!("echo '{answer}'")).look(&History::default(), Depth::Files)
        };
        let missing = relayed().expect_err("there is none");
        let trouble = trouble_of(&missing, &repository, &own.state);
        assert!(
            trouble.message.contains("is not a git repository")
                && trouble.hint.as_deref().is_some_and(|hint| hint.contains("barista init")),
            "{trouble:?}"
        );

        let made = git2::Repository::init_bare(&repository).expect("made");
        made.set_head("refs/heads/main").expect("set");
        let main: Branch = "main".parse().expect("legal");
        assert_eq!(relayed().expect("reads"), Looked { branch: main.clone(), head: Head::Absent });
        let tree = made.find_tree(made.treebuilder(None).and_then(|tree| tree.write()).expect("written")).expect("is there");
        let person = git2::Signature::now("a", "a@b").expect("legal");
        let id = made.commit(Some("refs/heads/main"), &person, &person, "first", &tree, &[]).expect("made");
        let head = Head::At(id.to_string().parse().expect("hex"), Ancestry::First);
        assert_eq!(relayed().expect("reads"), Looked { branch: main, head });
    }
}
