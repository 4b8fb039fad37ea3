//! Real pushes through the hooks of a real repository, and an agent that follows it.

use crate::cafe::Cafe;
use crate::push::git::{git, text};
use barista::host::{RunDir, lock::lock_in};
use std::{
    fs, thread,
    time::{Duration, Instant},
};

#[test]
fn a_commit_with_findings_never_reaches_the_branch() {
    let cafe = Cafe::with_repository();
    cafe.work.write("images/local.toml", "kind = \"lokal\"\n");
    cafe.work.commit("a slip");
    let (went, told) = cafe.push("HEAD:main");
    assert!(
        !went && told.contains("error[unknown-value]: images/local.toml:1:8: ") && told.contains("hint: did you mean \"local\""),
        "{told}"
    );
    assert!(told.contains("refused: 1 error, 0 warnings; the café stays as it is"), "{told}");
    assert!(!git(&cafe.repository, &["rev-parse", "--verify", "-q", "main"]).status.success());
    // The objects were read where git keeps them until a push is accepted, and are gone with the push.
    assert_eq!(text(&git(&cafe.repository, &["count-objects"]).stdout).trim(), "0 objects, 0 kilobytes");
}

#[test]
fn a_good_commit_is_accepted_with_its_plan() {
    let cafe = Cafe::with_repository();
    let commit = cafe.work.commit("open the café");
    let (went, told) = cafe.push("HEAD:main");
    assert!(went && told.contains("+   boot pc01") && told.contains("open the café"), "{told}");
    assert!(told.contains("no agent runs here"), "{told}");
    assert_eq!(text(&git(&cafe.repository, &["rev-parse", "main"]).stdout).trim(), commit);
}

#[test]
fn history_is_neither_rewritten_nor_deleted_and_other_branches_are_kept() {
    let cafe = Cafe::with_repository();
    cafe.work.commit("open the café");
    assert!(cafe.push("HEAD:main").0);
    let (went, told) = cafe.push("HEAD:refs/heads/idea");
    assert!(went && told.contains("refs/heads/idea: kept, not applied; this café follows main"), "{told}");

    cafe.work.git(&["commit", "-q", "--amend", "-m", "rewritten"]);
    let (went, told) = cafe.push("+HEAD:main");
    assert!(!went && told.contains("does not descend from the commit there"), "{told}");
    let (went, told) = cafe.push(":main");
    assert!(!went && told.contains("cannot be deleted"), "{told}");
    let (went, told) = cafe.push("HEAD:refs/barista/applied");
    assert!(!went && told.contains("the host's own record"), "{told}");
}

#[test]
fn a_push_is_applied_and_the_pusher_reads_what_came_of_it() {
    let cafe = Cafe::with_repository();
    let agent = cafe.agent();
    let commit = cafe.work.commit("open the café");
    let (went, told) = cafe.push("HEAD:main");
    assert!(went && told.contains("\"open the café\" applied; "), "{told}");
    let table = fs::read_to_string(cafe.state.join("boot/table.json")).unwrap();
    assert!(table.contains("pc01"));
    let record = fs::read_to_string(cafe.state.join("applied.json")).unwrap();
    assert!(record.contains(&commit), "{record}");
    assert!(!cafe.repository.join("refs/barista").exists(), "the host writes nothing into what others may write");

    cafe.seats(2);
    let second = cafe.work.commit("add pc02");
    assert!(cafe.push("HEAD:main").0);
    let status = cafe.status_when("the second commit is served", |status| status["serving"]["revision"]["id"] == second.as_str());
    assert_eq!((&status["last"]["revision"]["id"], &status["held"]), (&second.as_str().into(), &serde_json::json!([])));
    let told = cafe.barista(&["status"]);
    assert_eq!(told.status.code(), Some(0));
    assert!(text(&told.stdout).contains(&format!("cafe    at {} \"add pc02\"", &second[..7])), "{}", text(&told.stdout));
    assert_eq!(agent.stop(), Some(0));
    assert!(text(&cafe.barista(&["status"]).stdout).contains("does not run"));
}

#[test]
fn an_agent_refuses_what_no_hook_has_seen_and_keeps_the_last_good_commit() {
    let cafe = Cafe::with_repository();
    let agent = cafe.agent();
    let good = cafe.work.commit("open the café");
    assert!(cafe.push("HEAD:main").0);
    // Hooks can be bypassed by whoever may write the repository: the agent checks for itself.
    fs::remove_file(cafe.repository.join("hooks/pre-receive")).unwrap();
    cafe.work.write("images/local.toml", "kind = \"lokal\"\n");
    let bad = cafe.work.commit("a slip");
    assert!(cafe.push("HEAD:main").0);
    let status = cafe.status_when("the slip is refused", |status| !status["waiting"].is_null());
    assert_eq!(status["last"]["revision"]["id"], bad.as_str());
    assert_eq!(status["last"]["result"]["refused"]["findings"][0]["place"]["file"], "images/local.toml");
    assert_eq!(status["serving"]["revision"]["id"], good.as_str());
    assert_eq!(cafe.barista(&["status"]).status.code(), Some(3));
    assert_eq!(agent.stop(), Some(0));
}

#[test]
fn a_start_rebuilds_the_last_good_commit_from_the_repository_alone() {
    let cafe = Cafe::with_repository();
    let agent = cafe.agent();
    let good = cafe.work.commit("open the café");
    assert!(cafe.push("HEAD:main").0);
    assert_eq!(agent.stop(), Some(0));
    fs::remove_dir_all(&cafe.state).unwrap();
    let _agent = cafe.agent();
    cafe.status_when("the café is back", |status| status["serving"]["revision"]["id"] == good.as_str());
    assert!(cafe.state.join("boot/table.json").exists());
}

#[test]
fn what_goes_missing_while_an_agent_runs_is_put_back() {
    let cafe = Cafe::with_repository();
    let _agent = cafe.agent();
    cafe.work.commit("open the café");
    assert!(cafe.push("HEAD:main").0);
    fs::remove_file(cafe.state.join("boot/table.json")).unwrap();
    cafe.until("the table is back", || cafe.state.join("boot/table.json").exists());
}

#[test]
fn two_agents_never_share_a_state_directory() {
    let cafe = Cafe::with_repository();
    let _agent = cafe.agent();
    let second = cafe.barista(&["agent", "--repo", cafe.repository.to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another agent already runs on"), "{}", text(&second.stderr));
}

#[test]
fn agent_and_serve_end_together_and_in_order() {
    let cafe = Cafe::with_repository();
    let both = cafe.start("run");
    cafe.work.commit("open the café");
    let (went, told) = cafe.push("HEAD:main");
    assert!(went && told.contains("\"open the café\" applied; "), "{told}");
    cafe.until("the transcript is kept by serve", || cafe.state.join("serve").exists());
    assert_eq!(both.stop(), Some(0));

    // What serve needs cannot be had: the agent must not go on alone as if nothing were wrong.
    fs::remove_dir_all(cafe.state.join("serve")).unwrap();
    fs::write(cafe.state.join("serve"), "in the way").unwrap();
    let user: &[&str] = if nix::unistd::geteuid().is_root() { &["--user", "root"] } else { &[] };
    let ended = cafe.barista(&[&["run", "--repo", cafe.repository.to_str().unwrap()], user].concat());
    assert_eq!(ended.status.code(), Some(1));
    assert!(text(&ended.stderr).contains("error: the service cannot keep its files"), "{}", text(&ended.stderr));
}

#[test]
fn whoever_waits_for_an_agent_that_is_killed_is_told_at_once() {
    let cafe = Cafe::with_repository();
    let agent = cafe.agent();
    // The agent waits for the host's lock, so that the push stays unapplied.
    let lock = lock_in(&RunDir::new(cafe.work.root.path().join("run"))).unwrap();
    let commit = cafe.work.commit("open the café");
    let begun = Instant::now();
    let told = thread::scope(|scope| {
        let pushing = scope.spawn(|| cafe.push("HEAD:main"));
        cafe.status_when("the agent has seen the commit", |status| status["last"]["result"] == "waiting");
        let status = text(&cafe.barista(&["status"]).stdout);
        assert!(status.contains("waits: somebody else is applying") && !status.contains("is being applied"), "{status}");
        drop(agent);
        pushing.join().unwrap().1
    });
    assert!(told.contains("the agent has stopped before") && told.contains("systemctl start barista-agent"), "{told}");
    assert!(begun.elapsed() < Duration::from_secs(60), "nobody waits for a dead agent to the end");
    let status = text(&cafe.barista(&["status"]).stdout);
    assert!(status.contains("was being applied when the agent stopped") && !status.contains("is being applied"), "{status}");

    // The next agent knows that it is another one's attempt, and makes its own.
    drop(lock);
    let _agent = cafe.agent();
    cafe.status_when("it is served", |status| status["serving"]["revision"]["id"] == commit.as_str());
}

#[test]
fn whoever_waits_for_a_commit_that_is_superseded_is_told_at_once() {
    let cafe = Cafe::with_repository();
    let _agent = cafe.agent();
    let lock = lock_in(&RunDir::new(cafe.work.root.path().join("run"))).unwrap();
    let first = cafe.work.commit("open the café");
    let begun = Instant::now();
    thread::scope(|scope| {
        let pushing = scope.spawn(|| cafe.push("HEAD:main"));
        cafe.status_when("the agent has seen the commit", |status| status["last"]["revision"]["id"] == first.as_str());
        cafe.seats(2);
        let second = cafe.work.commit("add pc02");
        let behind = scope.spawn(|| cafe.push("HEAD:main"));
        cafe.status_when("the agent has seen the second", |status| status["last"]["revision"]["id"] == second.as_str());
        let (went, told) = pushing.join().unwrap();
        assert!(went && told.contains("is superseded: the branch is at"), "{told}");
        drop(lock);
        let (went, told) = behind.join().unwrap();
        assert!(went && told.contains("\"add pc02\" applied; "), "{told}");
    });
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_push_that_makes_too_many_references_is_refused_and_the_followed_branch_is_taken() {
    let cafe = Cafe::with_repository();
    let commit = cafe.work.commit("open the café");
    assert!(cafe.push("HEAD:main").0);
    let lines: String = (0..999).map(|n| format!("{commit} refs/tags/t{n:04}\n")).collect();
    fs::write(cafe.repository.join("packed-refs"), format!("# pack-refs with: peeled fully-peeled sorted \n{lines}")).unwrap();
    let (went, told) = cafe.push("HEAD:refs/heads/idea");
    assert!(!went && told.contains("would have 1001 references"), "{told}");
    let advised = format!("`git -C {} update-ref -d NAME`", cafe.repository.canonicalize().unwrap().display());
    assert!(told.replace("\nremote: ", " ").contains(&advised), "{told}");
    cafe.seats(2);
    cafe.work.commit("add pc02");
    let (went, told) = cafe.push("HEAD:main");
    assert!(went, "{told}");
    // A deletion in the same push makes no room, for git may refuse it; what is advised does.
    let both = cafe.work.try_git(&["push", "cafe", "HEAD:refs/heads/idea", ":refs/tags/t0000"]);
    assert!(!both.status.success() && text(&both.stderr).contains("would have 1001 references"), "{}", text(&both.stderr));
    assert!(git(&cafe.repository, &["update-ref", "-d", "refs/tags/t0001"]).status.success());
    let (went, told) = cafe.push("HEAD:refs/heads/idea");
    assert!(went, "{told}");
    let (went, told) = cafe.push(":refs/tags/t0000");
    assert!(went, "{told}");
}

// AdaCore/git-hooks#5: a refusal of a deletion that does not say what to do.
#[test]
fn who_deletes_a_branch_is_told_the_command_that_deletes_it_and_it_does() {
    let cafe = Cafe::with_repository();
    cafe.work.commit("open the café");
    assert!(cafe.push("HEAD:main").0 && cafe.push("HEAD:refs/heads/idea").0);
    let (went, told) = cafe.push(":refs/heads/idea");
    let command = format!("git -C {} update-ref -d refs/heads/idea", cafe.repository.canonicalize().unwrap().display());
    assert!(!went && told.contains("refused: no push deletes refs/heads/idea here"), "{told}");
    assert!(told.replace("\nremote: ", " ").contains(&command), "{told}");
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    assert!(git(&cafe.repository, &words).status.success());
    assert!(!git(&cafe.repository, &["rev-parse", "--verify", "-q", "refs/heads/idea"]).status.success());
}

// mozilla-services/contile#196: a branch that is a file keeps out one that needs a directory of that name, and the other way round.
#[test]
fn no_push_keeps_the_first_commit_out_and_where_a_name_does_the_pusher_reads_which() {
    let cafe = Cafe::with_repository();
    let commit = cafe.work.commit("open the café");
    let (went, told) = cafe.push("HEAD:refs/heads/main/x");
    assert!(!went && told.contains("refused: refs/heads/main/x keeps out"), "{told}");
    // It was there before the branch was followed.
    assert!(cafe.push("HEAD:refs/heads/other").0);
    assert!(git(&cafe.repository, &["update-ref", "refs/heads/main/x", &commit]).status.success());
    let (went, told) = cafe.push("HEAD:main");
    assert!(!went && told.contains("cannot be made while refs/heads/main/x is there"), "{told}");
    assert!(!told.contains("Plan:") && told.contains("update-ref -d refs/heads/main/x"), "{told}");
    assert!(git(&cafe.repository, &["update-ref", "-d", "refs/heads/main/x"]).status.success());
    let (went, told) = cafe.push("HEAD:main");
    assert!(went, "{told}");
}

// go-gitea/gitea#19014, gittuf/gittuf#133: git shows a harmless commit in the place of the one that is applied.
#[test]
fn a_reference_that_has_git_show_another_commit_is_refused_and_changes_nothing_of_what_is_read() {
    let cafe = Cafe::with_repository();
    cafe.work.commit("open the café");
    assert!(cafe.push("HEAD:main").0);
    let harmless = cafe.work.git(&["commit-tree", "-p", "HEAD", "-m", "Correct a comment", "HEAD^{tree}"]);
    cafe.work.write("images/local.toml", "kind = \"lokal\"\n");
    let evil = cafe.work.commit("a slip");
    let (went, told) = cafe.push(&format!("{harmless}:refs/replace/{evil}"));
    assert!(!went && told.contains(&format!("refused: refs/replace/{evil} would have git show another object")), "{told}");
    // By whoever may write the repository: git is misled, and the commit itself is read all the same.
    assert!(cafe.push(&format!("{harmless}:refs/heads/harmless")).0);
    assert!(git(&cafe.repository, &["update-ref", &format!("refs/replace/{evil}"), &harmless]).status.success());
    let (went, told) = cafe.push("HEAD:main");
    assert!(
        !went && told.contains("images/local.toml:1:8: ") && told.contains("shows another object in the place of one"),
        "{told}"
    );
    fs::remove_file(cafe.repository.join("hooks/pre-receive")).unwrap();
    assert!(cafe.push("HEAD:main").0);
    assert_eq!(text(&git(&cafe.repository, &["log", "-1", "--format=%s", "main"]).stdout).trim(), "Correct a comment");
    let checked = cafe.barista(&["check", "--repo", cafe.repository.to_str().unwrap(), "--rev", "main"]);
    assert!(checked.status.code() == Some(1), "{}", text(&checked.stderr));
    assert!(text(&checked.stdout).contains("images/local.toml:1:8: "), "{}", text(&checked.stdout));
}

// line/centraldogma#1307, go-gitea/gitea#3658: a bound of one push, and none of a repository.
#[test]
fn beyond_a_gibibyte_of_objects_the_followed_branch_alone_is_taken() {
    let cafe = Cafe::with_repository();
    cafe.work.commit("open the café");
    assert!(cafe.push("HEAD:main").0 && cafe.push("HEAD:refs/heads/idea").0);
    let pack = cafe.repository.join("objects/pack/tmp_pack_left");
    fs::File::create(&pack).and_then(|file| file.set_len(1 << 30)).unwrap();
    cafe.seats(2);
    cafe.work.commit("add pc02");
    let (went, told) = cafe.push("HEAD:refs/heads/idea");
    assert!(!went && told.contains("would take 1024 MiB") && told.contains("gc --prune=now"), "{told}");
    let (went, told) = cafe.push("HEAD:main");
    assert!(went, "{told}");
}

// argoproj/argo-cd#25599: a name with two meanings, of which one was pushed.
#[test]
fn no_namespace_lets_a_push_make_the_followed_branch_ambiguous() {
    let cafe = Cafe::with_repository();
    let commit = cafe.work.commit("open the café");
    assert!(cafe.push("HEAD:main").0);
    for name in ["main", &commit[..7], "main/HEAD"] {
        let (went, told) = cafe.push(&format!("HEAD:refs/remotes/{name}"));
        assert!(!went && told.contains(&format!("refused: refs/remotes/{name} ")), "{told}");
    }
    let repository = cafe.repository.to_str().unwrap();
    for name in ["main", &commit[..7]] {
        assert_eq!(cafe.barista(&["check", "--repo", repository, "--rev", name]).status.code(), Some(0), "{name}");
    }
}

#[test]
fn a_pusher_is_told_of_the_repository_by_a_path_that_means_the_same_to_its_owner() {
    let cafe = Cafe::with_repository();
    cafe.work.commit("open the café");
    fs::create_dir_all(cafe.repository.join("objects/info")).unwrap();
    fs::write(cafe.repository.join("objects/info/alternates"), "/nonexistent/objects\n").unwrap();
    let (went, told) = cafe.push("HEAD:main");
    let alternates = cafe.repository.canonicalize().unwrap().join("objects/info/alternates");
    assert!(!went && told.replace("\nremote: ", "").contains(alternates.to_str().unwrap()), "{told}");
}
