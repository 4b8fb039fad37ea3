//! What a push wants, as git tells its hooks, and what to make of it.
//!
//! Follows githooks(5): one line `<old> <new> <name>` per reference, an id of zeroes for none. **Invariant:** pure; only the
//! followed branch is ever applied, and only forwards; no push makes so many references, or so deep a one, that reading the repository
//! passes its bounds.

use super::{
    Branch, CommitId,
    resolve::{reads_as_id, reads_as_place, short_names},
};

/// The most references of a repository to which a push adds one: each is a file, with directories of its own, and the agent looks at no
/// more than a hundred thousand files. What is pushed to the followed branch is taken whatever their number.
pub const MOST_REFERENCES: usize = 1000;

/// The most parts of a reference's name: each but the last is a directory.
const MOST_PARTS: usize = 12;

/// One reference that a push moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// Where it was, if it was there.
    pub old: Option<CommitId>,
    /// Where it is to be; none is its deletion.
    pub new: Option<CommitId>,
    /// Its full name.
    pub name: String,
}

/// A line that is no reference update.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line:?} is no reference update as githooks(5) has it")]
pub struct UpdateError {
    /// The line.
    pub line: String,
}

/// What to make of one reference update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concern {
    /// The followed branch is to be at this commit: check it.
    Check(RefUpdate, CommitId),
    /// It must not happen, and why.
    Refuse(String),
    /// It is none of our concern; the pusher is told so.
    Pass(String),
}

/// Reads what git writes to a receive hook's standard input.
pub fn parse_updates(text: &str) -> Result<Vec<RefUpdate>, UpdateError> {
    text.lines().map(parse_update).collect()
}

fn parse_update(line: &str) -> Result<RefUpdate, UpdateError> {
    let error = || UpdateError { line: line.chars().take(200).collect() };
    let mut words = line.splitn(3, ' ');
    let (Some(old), Some(new), Some(name)) = (words.next(), words.next(), words.next()) else {
        return Err(error());
    };
    let id = |word: &str| {
        if word.len() == 40 && word.bytes().all(|b| b == b'0') { Ok(None) } else { word.parse().map(Some).map_err(|_| error()) }
    };
    Ok(RefUpdate { old: id(old)?, new: id(new)?, name: name.to_owned() })
}

/// Says what to make of a reference update, in a repository whose followed branch is this.
pub fn weigh(update: &RefUpdate, followed: &Branch) -> Concern {
    if update.name.starts_with("refs/barista/") {
        return Concern::Refuse(format!("{} is the host's own record", update.name));
    }
    if let Some(why) = misleads(update, followed) {
        return Concern::Refuse(format!("{} {why}", update.name));
    }
    if update.new.is_some() && update.name != followed.reference() && update.name.split('/').count() > MOST_PARTS {
        return Concern::Refuse(format!("{} has more than {MOST_PARTS} parts", update.name));
    }
    if update.name != followed.reference() {
        return Concern::Pass(format!("{}: kept, not applied; this café follows {followed}", update.name));
    }
    match &update.new {
        Some(new) => Concern::Check(update.clone(), new.clone()),
        None => Concern::Refuse(format!("{followed} is the branch this café follows and cannot be deleted")),
    }
}

/// Why a push may not make the references that it makes, in a repository that has so many; what it moves and deletes it may.
pub fn crowds(updates: &[RefUpdate], followed: &Branch, present: usize) -> Option<String> {
    let made = updates.iter().filter(|update| update.old.is_none() && update.new.is_some());
    let made = made.filter(|update| update.name != followed.reference()).count();
    let deleted = updates.iter().filter(|update| update.old.is_some() && update.new.is_none()).count();
    let after = present.saturating_sub(deleted).saturating_add(made);
    (made > 0 && after > MOST_REFERENCES).then(|| {
        format!(
            "the repository would have {after} references, and no push may make them more than {MOST_REFERENCES}; {followed} alone is \
             applied: push it alone, or delete others first (git ls-remote lists them, git push --delete takes them away)"
        )
    })
}

/// Why a name would make another one ambiguous that an operator gives to `--rev`: `barista` refuses such a name, and git takes one of
/// its meanings. A reference that is there already may be deleted; the followed branch is the operator's own to name.
fn misleads(update: &RefUpdate, followed: &Branch) -> Option<&'static str> {
    if update.new.is_none() || update.name == followed.reference() {
        return None;
    }
    short_names(&update.name).find_map(|(before, short)| {
        if reads_as_id(short) {
            return Some("reads as the id of a commit: give it another name");
        }
        if short == followed.as_str() || short == "HEAD" {
            return Some("has the name of what is followed: give it another name");
        }
        // Below refs/ alone, heads/idea is the branch itself.
        (before != "refs/" && reads_as_place(short)).then_some("reads as the name of another reference")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_followed_branch_is_checked_and_it_cannot_be_deleted() {
        let (zero, a, b) = ("0".repeat(40), "a".repeat(40), "b".repeat(40));
        let main: Branch = "main".parse().expect("legal");
        let text = format!(
            "{a} {b} refs/heads/main\n{a} {zero} refs/heads/main\n{zero} {b} refs/heads/topic\n{a} {b} refs/barista/applied\n"
        );
        let updates = parse_updates(&text).expect("well formed");
        let concerns: Vec<_> = updates.iter().map(|u| weigh(u, &main)).collect();
        assert_eq!(concerns[0], Concern::Check(updates[0].clone(), b.parse().expect("hex")));
        assert!(matches!(&concerns[1], Concern::Refuse(why) if why.contains("cannot be deleted")));
        assert!(matches!(&concerns[2], Concern::Pass(note) if note.contains("follows main")));
        assert!(matches!(&concerns[3], Concern::Refuse(_)));
        assert_eq!(updates[2].old, None);
    }

    // argoproj/argo-cd#25599: a branch and a tag of one name, and one of them is deployed, whichever.
    #[test]
    fn no_pushed_name_makes_another_name_ambiguous() {
        let a = "a".repeat(40);
        let weighed = |branch: &str, name: &str, new: Option<&str>| {
            let new = new.map(|new| new.parse().expect("hex"));
            let update = RefUpdate { old: None, new, name: name.to_owned() };
            weigh(&update, &branch.parse().expect("legal"))
        };
        for name in [
            "refs/heads/951b1ff",
            "refs/tags/951b1ff",
            "refs/heads/CAFE",
            &format!("refs/heads/{a}"),
            "refs/tags/main",
            "refs/tags/HEAD",
            "refs/heads/HEAD",
            "refs/heads/heads/main",
            "refs/heads/refs/heads/main",
            "refs/tags/tags/v1",
            "refs/remotes/main",
            "refs/remotes/951b1ff",
            "refs/remotes/main/HEAD",
            "refs/remotes/951b1ff/HEAD",
            "refs/remotes/heads/main",
            "refs/main",
            "refs/951b1ff",
        ] {
            assert!(matches!(weighed("main", name, Some(&a)), Concern::Refuse(why) if why.starts_with(name)), "{name}");
            assert!(matches!(weighed("main", name, None), Concern::Pass(_)), "{name} may go again");
        }
        for name in [
            "refs/heads/idea",
            "refs/tags/v1.0",
            "refs/heads/abc",
            "refs/heads/feature/cafe",
            "refs/notes/cafe",
            "refs/remotes/origin/main",
        ] {
            assert!(matches!(weighed("main", name, Some(&a)), Concern::Pass(_)), "{name}");
        }
        // Whatever namespace a followed branch's name begins with.
        assert!(matches!(weighed("notes/x", "refs/notes/x", Some(&a)), Concern::Refuse(_)));
        let deep = format!("refs/heads/{}x", "d/".repeat(20));
        assert!(matches!(weighed("main", &deep, Some(&a)), Concern::Refuse(why) if why.contains("parts")));
        assert!(matches!(weighed("cafe", "refs/heads/cafe", Some(&a)), Concern::Check(..)), "the operator chose it");
    }

    #[test]
    fn a_push_makes_no_reference_beyond_the_bound_and_the_followed_branch_is_always_taken() {
        let a: Option<CommitId> = "a".repeat(40).parse().ok();
        let update = |old: &Option<CommitId>, new: &Option<CommitId>, name: &str| RefUpdate {
            old: old.clone(),
            new: new.clone(),
            name: format!("refs/heads/{name}"),
        };
        let main: Branch = "main".parse().expect("legal");
        let (made, deleted, moved) = (update(&None, &a, "x"), update(&a, &None, "y"), update(&a, &a, "z"));
        let first = update(&None, &a, "main");
        let weighed = |updates: &[&RefUpdate], present| {
            crowds(&updates.iter().map(|update| (*update).clone()).collect::<Vec<_>>(), &main, present)
        };
        assert_eq!(weighed(&[&made], MOST_REFERENCES - 1), None);
        assert!(
            weighed(&[&made], MOST_REFERENCES).is_some_and(|why| why.contains("1001 references") && why.contains("--delete"))
        );
        assert_eq!(weighed(&[&made, &deleted], MOST_REFERENCES), None, "one goes for it");
        assert_eq!(weighed(&[&first, &moved, &deleted], 100 * MOST_REFERENCES), None);
        let many: Vec<RefUpdate> = (0..=MOST_REFERENCES).map(|n| update(&None, &a, &format!("x{n}"))).collect();
        assert!(crowds(&many, &main, 0).is_some());
    }

    #[test]
    fn a_line_that_git_did_not_write_is_refused() {
        for bad in ["", "x", "a b", "zz yy refs/heads/main", &format!("{} {} r", "0".repeat(64), "1".repeat(64))] {
            assert!(parse_updates(&format!("{bad}\n")).is_err(), "{bad:?} passed");
        }
        assert_eq!(parse_updates(""), Ok(Vec::new()));
    }
}
