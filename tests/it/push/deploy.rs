//! Reading sites out of directories and out of real git repositories.

use crate::cafe::Cafe;
use crate::push::git::{Work, git, text};
use barista::deploy::{
    CommitId, LARGEST_FILE, directory,
    init::{Hook, HookState, InitError, Initialised, init, look_at_hook},
    repo::{Repo, RepoError},
    select::{Ancestry, Head, History},
};
use barista::site::{Entry, Tree};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

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
    assert!(matches!(&tree.entries["images/big.toml"], Entry::TooLarge(size) if *size > 1 << 20));
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

fn applied(commit: &CommitId) -> History {
    History { applied: Some(commit.clone()), accepted: None }
}

#[test]
fn the_head_is_known_by_how_it_stands_to_the_applied_commit() {
    let work = Work::new();
    let repo = Repo::open(&work.tree).unwrap();
    let main = repo.followed().unwrap();
    assert_eq!(main.as_str(), "main");
    let none = History::default();
    assert_eq!(repo.head(&main, &none).unwrap(), Head::Absent);
    let first = id(&work.commit("first"));
    assert_eq!(repo.head(&main, &none).unwrap(), Head::At(first.clone(), Ancestry::First));
    assert_eq!(repo.head(&main, &applied(&first)).unwrap(), Head::At(first.clone(), Ancestry::Same));
    let second = id(&work.commit("second"));
    assert_eq!(repo.head(&main, &applied(&first)).unwrap(), Head::At(second.clone(), Ancestry::Descends));
    work.git(&["reset", "-q", "--hard", first.as_str()]);
    assert_eq!(repo.head(&main, &applied(&second)).unwrap(), Head::At(first.clone(), Ancestry::Diverged));
    let elsewhere = id(&"5".repeat(40));
    assert_eq!(repo.head(&main, &applied(&elsewhere)).unwrap(), Head::At(first.clone(), Ancestry::Diverged));

    // Somebody accepts it as it is, and with it whatever is built on it.
    let accepted = History { applied: Some(second), accepted: Some(first.clone()) };
    assert_eq!(repo.head(&main, &accepted).unwrap(), Head::At(first, Ancestry::Descends));
    let third = id(&work.commit("third"));
    assert_eq!(repo.head(&main, &accepted).unwrap(), Head::At(third, Ancestry::Descends));
}

// argoproj/argo-cd#25599: a branch and a tag of one name, and whichever comes first is deployed. libgit2 and git take the tag.
#[test]
fn a_name_with_two_meanings_is_refused_with_both_and_a_full_one_has_one() {
    let work = Work::new();
    let first = work.commit("first");
    let second = work.commit("second");
    let short = &first[..7];
    for (name, at) in [
        ("refs/tags/main", &first),
        ("refs/tags/only-a-tag", &first),
        ("refs/tags/same", &second),
        ("refs/heads/same", &second),
        ("refs/heads/topic/x", &first),
        (&format!("refs/heads/{short}"), &second),
        (&format!("refs/tags/{}", &first[..9]), &second),
        (&format!("refs/heads/{}", &first[..8]), &first),
        (&format!("refs/heads/{first}"), &second),
        ("refs/heads/beef", &first),
        ("refs/heads/heads/main", &first),
        ("refs/heads/refs/heads/main", &first),
        ("refs/tags/HEAD", &first),
    ] {
        work.git(&["update-ref", name, at]);
    }
    work.git(&["tag", "-a", "-m", "a tag of another commit", "topic/x", &second]);
    let repo = Repo::open(&work.tree).unwrap();
    let resolved = |revision: &str| repo.resolve(revision).map(|commit| commit.id.to_string());
    for (revision, expected) in [
        ("HEAD", &second),
        ("HEAD~1", &first),
        ("@", &second),
        ("only-a-tag", &first),
        ("same", &second),
        ("same^", &first),
        ("same@{0}", &second),
        ("beef", &first),
        ("refs/tags/main", &first),
        ("tags/main", &first),
        ("refs/heads/main", &second),
        ("refs/heads/main~1", &first),
        ("refs/heads/main@{0}", &second),
        (&first[..8], &first),
        (&first[..12], &first),
        (&second[..7], &second),
        (&second[..7].to_uppercase(), &second),
        (&first, &first),
        (&second, &second),
        (&format!("{second}~1"), &first),
    ] {
        assert_eq!(resolved(revision).as_ref().ok(), Some(expected), "{revision}");
    }
    for revision in ["main", "main~1", "main@{0}", "topic/x", "heads/main", short, &format!("{short}~1"), &first[..9]] {
        let said = resolved(revision).expect_err("two commits are meant").to_string();
        assert!(said.contains("has two meanings") && said.contains(&first) && said.contains(&second), "{revision}: {said}");
    }
    for revision in ["nothing", "dead", "", ":/nothing"] {
        assert!(matches!(repo.resolve(revision), Err(RepoError::NoCommit { .. })), "{revision}");
    }
}

// A person reads seven digits in a plan, and goes back to them at night.
#[test]
fn a_branch_that_is_named_like_a_shown_id_brings_nobody_another_commit() {
    let cafe = Cafe::with_repository();
    let good = cafe.work.commit("open the café");
    assert!(cafe.push("HEAD:main").0);
    cafe.seats(2);
    let evil = cafe.work.commit("everything else");
    let short = &good[..7];
    for name in [format!("HEAD:refs/heads/{short}"), format!("HEAD:refs/tags/{short}"), "HEAD:refs/tags/main".to_owned()] {
        let (went, told) = cafe.push(&name);
        assert!(!went && told.contains("give it another name"), "{name}: {told}");
    }
    // Whoever may write the repository needs no hook.
    git(&cafe.work.tree, &["push", "-q", "cafe", "HEAD:refs/heads/idea"]);
    git(&cafe.repository, &["update-ref", &format!("refs/heads/{short}"), &evil]);
    let plan = cafe.barista(&["plan", "--repo", cafe.repository.to_str().unwrap(), "--rev", short]);
    let said = text(&plan.stderr);
    assert_eq!(plan.status.code(), Some(1), "{}", text(&plan.stdout));
    assert!(said.contains(&good) && said.contains(&evil) && said.contains("all 40 digits"), "{said}");
    let plan = cafe.barista(&["plan", "--repo", cafe.repository.to_str().unwrap(), "--rev", &good]);
    assert!(text(&plan.stdout).contains("open the café"), "{}", text(&plan.stderr));
}

#[test]
fn a_commit_whose_history_unfolds_to_gigabytes_is_compared_with_nothing() {
    let work = Work::new();
    let first = id(&work.commit("first"));
    let tree = work.git(&["rev-parse", "HEAD^{tree}"]);
    // Past the bound, and no more: a test need not fill the memory to show that nobody reads it.
    let message = work.root.path().join("message");
    fs::write(&message, "x".repeat(barista::deploy::LARGEST_COMMIT + 1)).unwrap();
    let bomb = work.git(&["commit-tree", "-p", first.as_str(), "-F", message.to_str().unwrap(), &tree]);
    let head = id(&work.git(&["commit-tree", "-p", &bomb, "-m", "harmless", &tree]));
    let repo = Repo::open(&work.tree).unwrap();
    let error = repo.ancestry(&head, Some(&first)).expect_err("it is not read");
    assert!(matches!(&error, RepoError::TooMuch { .. }) && error.to_string().contains("its history"), "{error}");
}

#[test]
fn what_merges_two_lines_descends_from_both_whatever_its_dates_say() {
    let work = Work::new();
    let first = id(&work.commit("first"));
    work.git(&["checkout", "-q", "-b", "other"]);
    let other = id(&work.commit("on another line"));
    work.git(&["checkout", "-q", "main"]);
    let third = id(&work.commit("third"));
    work.git(&["merge", "-q", "--no-ff", "-m", "both", "other"]);
    let both = id(&work.git(&["rev-parse", "HEAD"]));
    let tree = work.git(&["rev-parse", "HEAD^{tree}"]);
    let of_1980 = std::process::Command::new("git")
        .current_dir(&work.tree)
        .args(["-c", "user.name=a", "-c", "user.email=a@b", "commit-tree", "-p", both.as_str(), "-m", "an odd clock", &tree])
        .env("GIT_COMMITTER_DATE", "1980-01-01T00:00:00Z")
        .env("GIT_AUTHOR_DATE", "1980-01-01T00:00:00Z")
        .output()
        .unwrap();
    let newest = id(text(&of_1980.stdout).trim());
    let repo = Repo::open(&work.tree).unwrap();
    for older in [&first, &other, &third, &both] {
        assert_eq!(repo.ancestry(&newest, Some(older)).unwrap(), Ancestry::Descends);
        assert_eq!(repo.ancestry(older, Some(&newest)).unwrap(), Ancestry::Diverged);
    }
    assert_eq!(repo.ancestry(&third, Some(&other)).unwrap(), Ancestry::Diverged);
}

#[test]
fn a_packed_branch_is_read_as_a_loose_one() {
    let work = Work::new();
    work.write("site.toml", "");
    let commit = id(&work.commit("first"));
    work.git(&["gc", "-q"]);
    work.git(&["pack-refs", "--all"]);
    let repo = Repo::open(&work.tree).unwrap();
    assert_eq!(repo.head(&repo.followed().unwrap(), &History::default()).unwrap(), Head::At(commit.clone(), Ancestry::First));
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

#[test]
fn init_makes_pushes_durable_in_a_new_and_in_an_existing_repository() {
    let work = Work::new();
    let path = work.root.path().join("cafe.git");
    let setting = |key: &str| text(&git(&path, &["config", "--get", key]).stdout).trim().to_owned();
    init(&path, None, &hooks("/bin/true")).unwrap();
    assert_eq!((setting("core.fsync"), setting("core.fsyncMethod")), ("all".to_owned(), "fsync".to_owned()));
    git(&path, &["config", "core.fsync", "none"]);
    git(&path, &["config", "core.fsyncMethod", "writeout-only"]);
    assert!(!Repo::open(&path).unwrap().is_durable());
    init(&path, None, &hooks("/bin/true")).unwrap();
    assert_eq!((setting("core.fsync"), setting("core.fsyncMethod")), ("all".to_owned(), "fsync".to_owned()));
    assert!(Repo::open(&path).unwrap().is_durable());
    assert!(!path.join("refs/barista").exists(), "nothing of ours lies in the repository");
}

#[test]
fn a_hook_that_a_power_cut_left_is_seen_and_written_anew() {
    let work = Work::new();
    let path = work.root.path().join("cafe.git");
    init(&path, None, &hooks("/bin/true")).unwrap();
    let (hook, look) = (path.join("hooks/pre-receive"), || look_at_hook(&path, "pre-receive"));
    assert_eq!(look(), HookState::Runs);
    assert_eq!(look_at_hook(&path, "post-receive"), HookState::Missing);
    for left in ["", "\0\0\0\0\0\0"] {
        fs::write(&hook, left).unwrap();
        assert_eq!(look(), HookState::Empty);
        init(&path, None, &hooks("/bin/true")).unwrap();
        assert_eq!(look(), HookState::Runs);
    }
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(look(), HookState::NotExecutable);
    init(&path, None, &hooks("/bin/true")).unwrap();
    assert_eq!(look(), HookState::Runs);

    // Who owns the repository may put anything in the hook's place; nobody waits at it.
    fs::remove_file(&hook).unwrap();
    nix::unistd::mkfifo(&hook, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(look(), HookState::Runs, "what is not read is not said to be empty");
    assert!(matches!(init(&path, None, &hooks("/bin/true")), Err(InitError::ForeignHook(_))));
}

#[test]
fn a_file_that_is_exchanged_for_another_kind_is_not_opened() {
    let work = Work::new();
    work.write("site.toml", "name = \"lucky-cat\"\n");
    nix::unistd::mkfifo(&work.tree.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let tree = directory::read(&work.tree).unwrap();
    assert!(matches!(&tree.entries["fifo"], Entry::Unreadable(why) if why.contains("neither a file nor a directory")));
    assert!(matches!(&tree.entries["site.toml"], Entry::File(_)));
}

#[test]
fn a_tree_of_a_few_objects_that_unfolds_without_end_is_no_site() {
    let work = Work::new();
    work.commit("first");
    let tree = |lines: &str| {
        let path = work.root.path().join("lines");
        std::fs::write(&path, lines).unwrap();
        let made = std::process::Command::new("git")
            .current_dir(&work.tree)
            .args(["mktree"])
            .stdin(std::fs::File::open(&path).unwrap())
            .output()
            .unwrap();
        assert!(made.status.success());
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    };
    let mut inner = tree("");
    for _ in 0..25 {
        let lines: String = ('a'..='z').map(|name| format!("040000 tree {inner}\t{name}\n")).collect();
        inner = tree(&lines);
    }
    let commit = work.git(&["commit-tree", "-m", "a bomb", &inner]);
    let read = Repo::open(&work.tree).unwrap().tree(&id(commit.trim()));
    assert!(read.is_err_and(|error| error.to_string().contains("not a site") || format!("{error:?}").contains("Entries")));
}
