//! Reading sites out of directories and out of real git repositories.

use crate::git::{Work, git, text};
use barista::deploy::{
    CommitId, LARGEST_FILE, directory,
    init::{Hook, InitError, Initialised, init},
    repo::{Repo, RepoError},
    select::{Ancestry, Head},
};
use barista::site::{Entry, Tree};
use std::{fs, os::unix::fs::symlink, path::Path};

fn id(text: &str) -> CommitId {
    text.parse().expect("a commit id")
}

/// A site with everything that must not be followed or read.
fn awkward(work: &Work) {
    work.write("site.toml", "name = \"lucky-cat\"\n");
    work.write("machines/row-a.toml", "# none yet\n");
    work.write("images/big.toml", &"x".repeat(LARGEST_FILE as usize + 1));
    work.write("images/full.toml", &"x".repeat(LARGEST_FILE as usize));
    symlink("/etc/passwd", work.tree.join("images/link.toml")).unwrap();
    symlink("machines", work.tree.join("rows")).unwrap();
}

fn assert_awkward(tree: &Tree) {
    let paths: Vec<&str> = tree.entries.keys().map(String::as_str).collect();
    assert_eq!(paths, ["images/big.toml", "images/full.toml", "images/link.toml", "machines/row-a.toml", "rows", "site.toml"]);
    assert_eq!(tree.entries["site.toml"], Entry::File(b"name = \"lucky-cat\"\n".to_vec()));
    assert_eq!(tree.entries["images/link.toml"], Entry::Symlink("/etc/passwd".to_owned()));
    assert_eq!(tree.entries["rows"], Entry::Symlink("machines".to_owned()));
    assert!(matches!(&tree.entries["images/big.toml"], Entry::Unreadable(why) if why.contains("at most 1048576 bytes")));
    assert!(matches!(&tree.entries["images/full.toml"], Entry::File(bytes) if bytes.len() as u64 == LARGEST_FILE));
}

#[test]
fn a_directory_and_its_commit_read_as_the_same_tree() {
    let work = Work::new();
    awkward(&work);
    let commit = id(&work.commit("open the café"));
    let repo = Repo::open(&work.tree).unwrap();
    let from_commit = repo.tree(&commit).unwrap();
    let from_directory = directory::read(&work.tree).unwrap();
    assert_awkward(&from_commit);
    assert_eq!(from_commit, from_directory);
    assert_eq!(repo.resolve("main").unwrap().subject, "open the café");
    assert_eq!(repo.resolve("HEAD").unwrap().id, commit);
}

#[test]
fn a_directory_that_cannot_be_listed_is_an_error_and_not_an_empty_site() {
    let work = Work::new();
    assert!(directory::read(&work.tree.join("gone")).is_err());
    work.write("file", "");
    assert!(directory::read(&work.tree.join("file")).is_err());
}

#[test]
fn a_submodule_is_unreadable_and_not_followed() {
    let (inner, outer) = (Work::new(), Work::new());
    inner.commit("inner");
    outer.git(&["submodule", "add", "-q", inner.tree.to_str().unwrap(), "images"]);
    let commit = id(&outer.commit("outer"));
    let tree = Repo::open(&outer.tree).unwrap().tree(&commit).unwrap();
    assert!(matches!(&tree.entries["images"], Entry::Unreadable(why) if why.contains("submodule")));
}

#[test]
fn the_head_is_known_by_how_it_stands_to_the_applied_commit() {
    let work = Work::new();
    let repo = Repo::open(&work.tree).unwrap();
    let main = repo.followed().unwrap();
    assert_eq!(main.as_str(), "main");
    assert_eq!(repo.head(&main).unwrap(), Head::Absent);
    let first = id(&work.commit("first"));
    assert_eq!(repo.head(&main).unwrap(), Head::At(first.clone(), Ancestry::First));
    repo.record_applied(&first).unwrap();
    assert_eq!(repo.head(&main).unwrap(), Head::At(first.clone(), Ancestry::Same));
    let second = id(&work.commit("second"));
    assert_eq!(repo.head(&main).unwrap(), Head::At(second.clone(), Ancestry::Descends));
    repo.record_applied(&second).unwrap();
    work.git(&["reset", "-q", "--hard", first.as_str()]);
    assert_eq!(repo.head(&main).unwrap(), Head::At(first, Ancestry::Diverged));
    assert_eq!(work.git(&["rev-parse", "refs/barista/applied"]), second.as_str());
}

#[test]
fn a_packed_branch_is_read_as_a_loose_one() {
    let work = Work::new();
    work.write("site.toml", "");
    let commit = id(&work.commit("first"));
    work.git(&["gc", "-q"]);
    work.git(&["pack-refs", "--all"]);
    let repo = Repo::open(&work.tree).unwrap();
    assert_eq!(repo.head(&repo.followed().unwrap()).unwrap(), Head::At(commit.clone(), Ancestry::First));
    assert_eq!(repo.tree(&commit).unwrap().entries.len(), 1);
}

#[test]
fn a_repository_in_a_newer_format_says_so() {
    for flag in ["--object-format=sha256", "--ref-format=reftable"] {
        let work = Work::new();
        let made = work.try_git(&["init", "-q", "--bare", flag, "other.git"]);
        if !made.status.success() {
            assert!(text(&made.stderr).contains("ref-format"), "only a git before 2.45 does not know reftable");
            continue;
        }
        let error = Repo::open(&work.tree.join("other.git")).err().expect("not readable");
        assert!(matches!(error, RepoError::Format { .. }), "{flag}: {error:?}");
    }
    let nowhere = Repo::open(Path::new("/nonexistent")).err();
    assert!(matches!(nowhere, Some(RepoError::Missing(_))));
}

fn hooks(program: &str) -> Vec<Hook> {
    vec![Hook { name: "pre-receive", argv: vec![program.to_owned(), "it's me".to_owned()] }]
}

#[test]
fn init_may_be_run_again_and_replaces_no_hook_of_anybody_else() {
    let work = Work::new();
    let path = work.root.path().join("cafe.git");
    assert_eq!(init(&path, None, &hooks("/bin/true")).unwrap(), Initialised::New);
    let other = "shop".parse().unwrap();
    assert_eq!(init(&path, Some(&other), &hooks("/bin/echo")).unwrap(), Initialised::Existing);
    assert_eq!(Repo::open(&path).unwrap().followed().unwrap(), other);
    assert_eq!(init(&path, None, &hooks("/bin/echo")).unwrap(), Initialised::Existing);
    assert_eq!(Repo::open(&path).unwrap().followed().unwrap(), other);

    let commit = work.commit("first");
    let pushed = work.try_git(&["push", path.to_str().unwrap(), "HEAD:shop"]);
    assert!(pushed.status.success() && text(&pushed.stderr).contains("it's me"), "{}", text(&pushed.stderr));
    assert_eq!(text(&git(&path, &["rev-parse", "shop"]).stdout).trim(), commit);

    fs::write(path.join("hooks/pre-receive"), "#!/bin/sh\nexit 0\n").unwrap();
    assert!(matches!(init(&path, None, &hooks("/bin/true")), Err(InitError::ForeignHook(_))));
    assert!(matches!(init(&work.tree, None, &[]), Err(InitError::NotBare(_))));
}
