//! Looks at the followed branch, in a process of its own that may take so much memory and time and no more.
//!
//! A few kilobytes of a repository unfold to gigabytes: an object may be the difference to one of any size, and whoever owns the
//! repository may exchange a file between the look at its size and its opening. libgit2 reads whole what it reads. **Invariant:** the
//! agent reads no object itself but those of a commit that a trial in such a process has read before, or this one. What is wrong has the
//! same code and the same words whichever process found it.

use super::repository::{about, trouble_of};
use crate::deploy::{
    Branch, CommitId,
    patience::{FOR_FILES, FOR_REFERENCES, Late, within},
    repo::{Repo, RepoError},
    select::{Ancestry, Head, History},
};
use crate::diagnostic::Diagnostic;
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
    Failed(Box<Diagnostic>),
}

impl Reader {
    /// Looks where the branch is, and how that stands to what was applied.
    pub fn look(&self, history: &History, depth: Depth) -> Result<Looked, Box<Diagnostic>> {
        let (reader, history) = (self.clone(), history.clone());
        let patience = match depth {
            Depth::References => FOR_REFERENCES,
            Depth::Files => FOR_FILES,
        };
        let looked = within(&self.repository, patience, move || {
            Ok::<_, Late>(match &reader.program {
                None => reader.look_here(&history, depth),
                Some(program) => reader.ask(program, &history, depth, patience + AFTERMATH),
            })
        });
        looked.unwrap_or_else(|late| Err(self.trouble(&late.into())))
    }

    fn look_here(&self, history: &History, depth: Depth) -> Result<Looked, Box<Diagnostic>> {
        look(&self.repository, history, depth).map_err(|error| self.trouble(&error))
    }

    fn trouble(&self, error: &RepoError) -> Box<Diagnostic> {
        Box::new(trouble_of(error, &self.repository, &self.state))
    }

    fn ask(&self, program: &Path, history: &History, depth: Depth, deadline: Duration) -> Result<Looked, Box<Diagnostic>> {
        let path = |path: &Path| path.to_str().map(str::to_owned);
        let words = [path(program), path(&self.repository), path(&self.state)];
        let [Some(program), Some(repository), Some(state)] = words else {
            return self.look_here(history, depth);
        };
        let mut words = vec![program, "hook".into(), "look".into(), "--repo".into(), repository, "--state".into(), state];
        for (flag, commit) in [("--applied", &history.applied), ("--accepted", &history.accepted)] {
            words.extend(commit.iter().flat_map(|commit| [flag.to_owned(), commit.to_string()]));
        }
        words.extend((depth == Depth::Files).then(|| "--files".to_owned()));
        let unreadable =
            |what: String, mend: &str| Box::new(about(&self.repository, "repository-unreadable", what, mend.to_owned()));
        let output = Programs.run(&Command::new(words, deadline)).map_err(|error| match error {
            CommandError::Deadline { .. } => self.trouble(&RepoError::Late(Late(self.repository.clone()))),
            error => unreadable(format!("{}: {}", self.repository.display(), chain(&error)), "none is needed: it is tried again"),
        })?;
        match serde_json::from_str(output.stdout.trim()) {
            Ok(Answer::Looked { branch, head }) => {
                let branch = branch.parse().map_err(|_| self.trouble(&RepoError::NoBranch(self.repository.clone())))?;
                Ok(Looked { branch, head: head.map_or(Head::Absent, |(commit, ancestry)| Head::At(commit, ancestry)) })
            }
            Ok(Answer::Failed(trouble)) => Err(trouble),
            Err(_) => {
                let bound = format!("{} MiB of memory or {TRIAL_SECONDS} s", TRIAL_MEMORY >> 20);
                let what = format!("reading {} takes more than {bound}", self.repository.display());
                Err(unreadable(what, "move it away, make another with barista init, and push again what a person has looked at"))
            }
        }
    }

    /// What such a process answers: one line of JSON.
    pub fn answer(&self, history: &History, depth: Depth) -> String {
        let answer = match self.look_here(history, depth) {
            Ok(Looked { branch, head }) => {
                let head = if let Head::At(commit, ancestry) = head { Some((commit, ancestry)) } else { None };
                Answer::Looked { branch: branch.to_string(), head }
            }
            Err(trouble) => Answer::Failed(trouble),
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
        let said = |script: &str| reader(root.path(), script).look(&History::default(), Depth::References).expect_err("no look");
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
            fs::write(root.path().join("answer"), answer).expect("written");
            let script = format!("cat {}", root.path().join("answer").display());
            reader(root.path(), &script).look(&History::default(), Depth::Files)
        };
        let trouble = relayed().expect_err("there is none");
        assert_eq!(trouble.code.as_str(), "repository-missing");
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

        // Each fault has its own code, and the process that finds it changes nothing of it.
        let (head, config) = (repository.join("HEAD"), repository.join("config"));
        let faults: [(&Path, &str, &str); 4] = [
            (&head, "0123456789012345678901234567890123456789\n", "no-branch"),
            (&config, "[core]\n\tbare = true\n\trepositoryformatversion = 9\n", "repository-format"),
            (&repository.join("commondir"), "..\n", "odd-file"),
            (&repository.join("refs/heads/main"), "\0\0\n", "repository-damaged"),
        ];
        for (file, text, code) in faults {
            let before = fs::read(file).ok();
            fs::write(file, text).expect("written");
            let trouble = relayed().expect_err(code);
            assert_eq!(trouble.code.as_str(), code, "{trouble:?}");
            assert_eq!(own.look(&History::default(), Depth::Files), Err(trouble));
            match before {
                Some(before) => fs::write(file, before).expect("put back"),
                None => fs::remove_file(file).expect("removed"),
            }
        }
    }
}
