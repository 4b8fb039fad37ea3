//! What a push wants, as git tells its hooks, and what to make of it.
//!
//! Follows githooks(5): one line `<old> <new> <name>` per reference, an id of zeroes for none. **Invariant:** pure; only the
//! followed branch is ever applied, and only forwards; no push makes so many references, or so deep a one, or so many bytes of other
//! branches, that reading the repository passes its bounds; none makes a name by which git itself shows something else than is applied, or
//! one that keeps the followed branch out; and no effect is counted on that git may refuse afterwards.

use super::{
    Branch, CommitId,
    resolve::{reads_as_id, reads_as_place, short_names},
};
use std::path::Path;

/// The most references of a repository to which a push adds one: each is a file, with directories of its own, and the agent looks at no
/// more than a hundred thousand files. What is pushed to the followed branch is taken whatever their number.
pub const MOST_REFERENCES: usize = 1000;

/// The most that the objects of a repository take when something else than the followed branch is pushed: git bounds one push
/// (`receive.maxInputSize`), and nothing bounds their sum. A site is text; ten years of it are a few megabytes.
pub const MOST_OBJECT_BYTES: u64 = 1 << 30;

/// Where git looks for an object that it is to show in another's place (git-replace(1)).
pub(super) const REPLACEMENTS: &str = "refs/replace/";

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
    if update.name != followed.reference() && update.new.is_none() {
        return Concern::Pass(format!("{}: to be deleted; this café follows {followed}", update.name));
    }
    if update.name != followed.reference() {
        return Concern::Pass(format!("{}: kept, not applied; this café follows {followed}", update.name));
    }
    match &update.new {
        Some(new) => Concern::Check(update.clone(), new.clone()),
        None => Concern::Refuse(format!("{followed} is the branch this café follows and cannot be deleted")),
    }
}

/// Whether git takes the deletion of a branch by a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletions {
    /// It does.
    Taken,
    /// It refuses each by itself, after its hooks have agreed to the push as a whole.
    Refused,
}

/// Why a push may not make the references that it makes, in a repository that has so many; what it moves and deletes it may.
///
/// No deletion makes room in the same push: git takes each by itself, and may refuse it, or find that there is nothing to delete.
pub fn crowds(updates: &[RefUpdate], followed: &Branch, present: usize, repository: &Path) -> Option<String> {
    let made = updates.iter().filter(|update| update.old.is_none() && update.new.is_some());
    let made = made.filter(|update| update.name != followed.reference()).count();
    let after = present.saturating_add(made);
    let at = repository.display();
    (made > 0 && after > MOST_REFERENCES).then(|| {
        format!(
            "the repository would have {after} references, and no push may make them more than {MOST_REFERENCES}; {followed} alone is \
             applied: push it alone, or delete others first, on the server: `git -C {at} for-each-ref` lists them, `git -C {at} \
             update-ref -d NAME` deletes one"
        )
    })
}

/// Why a push may bring no more objects, in a repository whose objects and those of the push take so many bytes together; the followed
/// branch is taken whatever they take.
pub fn fills(updates: &[RefUpdate], followed: &Branch, bytes: u64, repository: &Path) -> Option<String> {
    let brings = |update: &RefUpdate| update.new.is_some() && update.name != followed.reference();
    let (at, most) = (repository.display(), MOST_OBJECT_BYTES >> 20);
    (bytes > MOST_OBJECT_BYTES && updates.iter().any(brings)).then(|| {
        format!(
            "with this push the repository would take {} MiB, and only {followed} is taken beyond {most} MiB: push it alone, or make room on \
             the server: `git -C {at} update-ref -d NAME` for what nobody needs, and then `git -C {at} gc --prune=now`",
            bytes >> 20
        )
    })
}

/// Why git will not delete what a push deletes, and who can.
pub fn undeletable(update: &RefUpdate, deletions: Deletions, repository: &Path) -> Option<String> {
    let is_refused = deletions == Deletions::Refused && update.new.is_none() && update.name.starts_with("refs/heads/");
    is_refused.then(|| {
        let (name, at) = (&update.name, repository.display());
        format!("no push deletes {name} here (receive.denyDeletes): on the server, `git -C {at} update-ref -d {name}` does")
    })
}

/// Why git cannot make the followed branch though its commit is good, beside references of these names.
pub fn kept_out(in_the_way: &[String], followed: &Branch, repository: &Path) -> Option<String> {
    let first = in_the_way.first()?;
    let at = repository.display();
    Some(format!(
        "{} cannot be made while {} is there: on the server, `git -C {at} update-ref -d {first}` deletes it",
        followed.reference(),
        in_the_way.join(", ")
    ))
}

/// What to say of references by which git shows other objects than are applied.
pub fn misshown(replacements: &[String], repository: &Path) -> Option<String> {
    let first = replacements.first()?;
    let at = repository.display();
    Some(format!(
        "git on the server shows another object in the place of one, by {}: what is applied is what was pushed; `git -C {at} update-ref \
         -d {first}` deletes it",
        replacements.join(", ")
    ))
}

/// Whether a reference of this name keeps the followed branch out: its directory would be a file, or its file a directory.
pub(super) fn stands_in_the_way(name: &str, followed: &Branch) -> bool {
    let followed = followed.reference();
    let is_below = |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
    is_below(name, &followed) || is_below(&followed, name)
}

/// Why a name would make another one ambiguous that an operator gives to `--rev`: `barista` refuses such a name, and git takes one of
/// its meanings. A reference that is there already may be deleted; the followed branch is the operator's own to name.
fn misleads(update: &RefUpdate, followed: &Branch) -> Option<&'static str> {
    if update.new.is_none() || update.name == followed.reference() {
        return None;
    }
    if update.name.starts_with(REPLACEMENTS) {
        return Some("would have git show another object in the place of one that is applied (git-replace(1))");
    }
    if stands_in_the_way(&update.name, followed) {
        return Some("keeps out the branch this café follows, for a name cannot be a file and a directory: give it another name");
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
            "refs/heads/main/x",
            "refs/heads/main/x/y",
            // go-gitea/gitea#19014, gittuf/gittuf#133: git shows what it names in the place of another object.
            &format!("refs/replace/{a}"),
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
        // mozilla-services/contile#196: a branch is a file, and what its name begins with is a directory.
        for (followed, name) in [("a/b", "refs/heads/a"), ("a/b/c", "refs/heads/a"), ("a/b", "refs/heads/a/b/c")] {
            assert!(matches!(weighed(followed, name, Some(&a)), Concern::Refuse(why) if why.contains("keeps out")), "{name}");
            assert!(matches!(weighed(followed, name, None), Concern::Pass(_)), "{name} may go again");
        }
        for (followed, name) in [("a/b", "refs/heads/a/c"), ("a/b", "refs/heads/a/bc"), ("ab", "refs/heads/a")] {
            assert!(matches!(weighed(followed, name, Some(&a)), Concern::Pass(_)), "{name}");
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
        let at = Path::new("/srv/cafe.git");
        let weighed = |updates: &[&RefUpdate], present| {
            crowds(&updates.iter().map(|update| (*update).clone()).collect::<Vec<_>>(), &main, present, at)
        };
        assert_eq!(weighed(&[&made], MOST_REFERENCES - 1), None);
        let why = weighed(&[&made], MOST_REFERENCES).expect("it is refused");
        assert!(why.contains("1001 references") && why.contains("`git -C /srv/cafe.git update-ref -d NAME`"), "{why}");
        assert!(weighed(&[&made, &deleted], MOST_REFERENCES).is_some(), "git may refuse the deletion, or find nothing to delete");
        assert_eq!(weighed(&[&first, &moved, &deleted], 100 * MOST_REFERENCES), None);
        let many: Vec<RefUpdate> = (0..=MOST_REFERENCES).map(|n| update(&None, &a, &format!("x{n}"))).collect();
        assert!(crowds(&many, &main, 0, at).is_some());

        // line/centraldogma#1307, go-gitea/gitea#3658: a bound of one push, and none of their sum.
        assert_eq!(fills(&[made.clone(), moved.clone()], &main, MOST_OBJECT_BYTES, at), None);
        assert!(fills(&[made], &main, MOST_OBJECT_BYTES + 1, at).is_some_and(|why| why.contains("gc --prune=now")));
        assert!(fills(&[moved], &main, MOST_OBJECT_BYTES + 1, at).is_some());
        assert_eq!(fills(&[first, deleted.clone()], &main, u64::MAX, at), None);

        assert_eq!(undeletable(&deleted, Deletions::Taken, at), None);
        let why = undeletable(&deleted, Deletions::Refused, at).expect("it is refused");
        assert!(why.contains("`git -C /srv/cafe.git update-ref -d refs/heads/y`"), "{why}");
        let tag = RefUpdate { name: "refs/tags/y".to_owned(), ..deleted };
        assert_eq!(undeletable(&tag, Deletions::Refused, at), None, "git refuses the deletion of branches alone");
    }

    #[test]
    fn a_line_that_git_did_not_write_is_refused() {
        for bad in ["", "x", "a b", "zz yy refs/heads/main", &format!("{} {} r", "0".repeat(64), "1".repeat(64))] {
            assert!(parse_updates(&format!("{bad}\n")).is_err(), "{bad:?} passed");
        }
        assert_eq!(parse_updates(""), Ok(Vec::new()));
    }
}
