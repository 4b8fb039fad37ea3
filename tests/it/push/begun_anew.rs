//! A repository that was thrown away and made anew, on a host that remembers the former one.

use crate::cafe::Cafe;
use crate::cli::operator::ended;
use crate::push::git::text;
use std::{fs, path::Path};

/// fluxcd/flux2#805: the order of the first steps is a circle, each of which needs the other. Here it was the second beginning: a
/// repository that was thrown away and made anew took no push, and the hint of each step led to another that failed.
#[test]
fn a_cafe_that_is_begun_anew_is_told_at_each_step_what_to_do_and_that_works() {
    let (cafe, _agent, first) = Cafe::serving();
    fs::remove_dir_all(&cafe.repository).unwrap();
    let repository = cafe.repository.to_str().unwrap();
    assert_eq!(cafe.barista(&["init", repository]).status.code(), Some(0));
    let command = format!("barista init --accept-history {repository}");
    cafe.until("status says what to do", || {
        let (code, told, _) = ended(&cafe.barista(&["status"]));
        code == Some(3)
            && told.contains(&format!(
                "head    main has no commit: push one; where the repository was begun anew, first: {command}\n"
            ))
    });

    fs::remove_dir_all(cafe.work.tree.join(".git")).unwrap();
    cafe.work.git(&["init", "-q", "-b", "main"]);
    cafe.work.git(&["remote", "add", "cafe", repository]);
    cafe.seats(2);
    let anew = cafe.work.commit("begin again");
    let (went, told) = cafe.push("HEAD:main");
    let refused = format!(
        "refused: this host was last at {}, which {} does not descend from, and the branch is empty: where the repository was begun \
         anew, say so on the server and push again: {command}",
        &first[..7],
        &anew[..7]
    );
    assert!(!went && told.contains(&refused), "{told}");
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    let (code, data, beside) = ended(&cafe.barista(&[&words[..], &["--dry-run"]].concat()));
    let said = "main has no commit; the next one would be accepted, whatever its history; nothing was written\n";
    assert_eq!((code, data.as_str(), beside.as_str()), (Some(0), "", said));
    assert!(!cafe.push("HEAD:main").0, "nothing was written");
    let (code, data, beside) = ended(&cafe.barista(&words));
    let said = format!(
        "main has no commit; the next one is accepted, whatever its history; the café stays at {} until it is pushed\n",
        &first[..7]
    );
    assert_eq!((code, data, beside), (Some(0), String::new(), said));
    let (went, told) = cafe.push("HEAD:main");
    assert!(went && told.contains("\"begin again\" applied; "), "{told}");
    cafe.status_when("it is served", |status| status["serving"]["revision"]["id"] == anew.as_str());
    // It was accepted once: another history is refused as ever.
    assert_eq!(text(&cafe.barista(&["status"]).stdout).matches("head    ").count(), 0);
    cafe.work.git(&["commit", "-q", "--amend", "-m", "rewritten"]);
    let (went, told) = cafe.push("+HEAD:main");
    assert!(!went && told.contains("pull first"), "{told}");
    assert!(Path::new(repository).join("HEAD").is_file());
}

/// A record that does not read is not one that says nothing: the copy of the last good commit beside it says where this host is.
#[test]
fn a_cafe_that_is_begun_anew_with_a_damaged_record_is_told_so_and_takes_the_next_push() {
    let (cafe, agent, first) = Cafe::serving();
    drop(agent);
    let record = cafe.state.join("applied.json");
    let mut bytes = fs::read(&record).unwrap();
    bytes[3] ^= 0x80;
    fs::write(&record, &bytes).unwrap();
    fs::remove_dir_all(&cafe.repository).unwrap();
    let repository = cafe.repository.to_str().unwrap();
    assert_eq!(cafe.barista(&["init", repository]).status.code(), Some(0));
    let (code, _, said) = ended(&cafe.barista(&["init", "--accept-history", repository]));
    assert_eq!(code, Some(0));
    let short = &first[..7];
    assert!(said.contains("does not read") && said.contains(&format!("this host was last at {short}")), "{said}");
    assert!(said.contains(&format!("the next one is accepted, whatever its history; the café stays at {short}")), "{said}");

    let _agent = cafe.agent();
    fs::remove_dir_all(cafe.work.tree.join(".git")).unwrap();
    cafe.work.git(&["init", "-q", "-b", "main"]);
    cafe.work.git(&["remote", "add", "cafe", repository]);
    cafe.seats(2);
    let anew = cafe.work.commit("begin again");
    let (went, told) = cafe.push("HEAD:main");
    assert!(went && told.contains("\"begin again\" applied; "), "{told}");
    cafe.status_when("it is served", |status| status["serving"]["revision"]["id"] == anew.as_str());
}
