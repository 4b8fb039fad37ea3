//! Real git repositories in temporary directories, made with the git program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

/// A work tree in a directory of its own, with nobody's configuration but its own.
pub struct Work {
    pub root: TempDir,
    pub tree: PathBuf,
}

impl Work {
    /// An empty repository on branch `main`.
    pub fn new() -> Self {
        let root = TempDir::new().expect("a temporary directory");
        let tree = root.path().join("work");
        fs::create_dir(&tree).expect("a directory");
        let work = Self { root, tree };
        work.git(&["init", "-q", "-b", "main"]);
        work
    }

    /// Writes a file, directories and all.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.tree.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    /// Commits everything and returns the commit's id.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git, which must succeed, and returns its output.
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = self.try_git(arguments);
        assert!(output.status.success(), "git {arguments:?}: {}", text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    }

    /// Runs git, whatever becomes of it.
    pub fn try_git(&self, arguments: &[&str]) -> Output {
        git(&self.tree, arguments)
    }
}

/// Runs git in a directory, unaffected by the configuration of whoever runs the tests.
pub fn git(directory: &Path, arguments: &[&str]) -> Output {
    Command::new("git")
        .current_dir(directory)
        .args(["-c", "user.name=tester", "-c", "user.email=tester@example.org", "-c", "protocol.file.allow=always"])
        .args(["-c", "commit.gpgsign=false"])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .expect("git runs")
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
