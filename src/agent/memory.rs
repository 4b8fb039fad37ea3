//! What the agent knows of what was applied: the host's record, and the text of the commits that matter.
//!
//! **Invariant:** the text of a good commit is on disk before the record names it, and that of any other before anything of it is done:
//! where it cannot be written, nothing is. A copy that does not read is never taken for one that is not there: where both records of
//! what was begun are damaged, nobody knows what it was. What was read of a commit once is never asked of the repository again.

use super::{
    applied,
    last_good::{self, SiteText},
    step::LeftAt,
};
use crate::deploy::{
    CommitId,
    patience::{FOR_FILES, FOR_REFERENCES, within},
    repo::{Repo, RepoError},
    select::History,
};
use crate::host::chain;
use crate::observed::Seen;
use std::{io, path::Path, rc::Rc};

/// What is known of what was applied.
pub(super) struct Memory<'a> {
    repository: &'a Path,
    state: &'a Path,
    /// The record, as it was read or written last.
    history: History,
    /// The text of the last good commit.
    good: Option<Rc<SiteText>>,
    /// The text of the commit that the host was brought to last, or is being brought to.
    current: Option<Rc<SiteText>>,
    /// The commits whose texts lie in the state directory as one and as the other.
    kept: Option<CommitId>,
    kept_current: Option<CommitId>,
    /// Where the host is left, by the records; by this process once it has brought the host anywhere.
    left: LeftAt,
}

/// Whether something was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorded {
    /// The text of the commit was.
    Anew,
    /// It was there.
    Already,
}

impl<'a> Memory<'a> {
    /// What earlier agents left.
    pub fn new(repository: &'a Path, state: &'a Path) -> Self {
        let [good, current] = copies(state);
        let left = left_at(&current, applied::read_begun(state));
        let [good, current] = [good, current].map(|copy| copy.present().cloned().map(Rc::new));
        let id = |text: &Rc<SiteText>| text.commit.id.clone();
        let (kept, kept_current) = (good.as_ref().map(id), current.as_ref().map(id));
        let history = known_history(repository, state, kept.as_ref(), &left);
        Self { repository, state, history, good, current, kept, kept_current, left }
    }

    /// The record.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Whether the text of a commit is there that the host can be brought to without its repository.
    pub fn has_text(&self) -> bool {
        self.good.is_some() || self.current.is_some()
    }

    /// Takes in what a person has written into the record since.
    pub fn take_in_record(&mut self) {
        match applied::read(self.state) {
            Seen::Present(History { applied, accepted }) => {
                let applied = applied.or_else(|| self.history.applied.clone());
                self.history = History { applied, accepted };
            }
            Seen::Absent | Seen::Unreadable(_) => {}
        }
    }

    /// Looks which text the state directory still has: somebody may have removed or damaged it.
    pub fn look_what_is_kept(&mut self) {
        let [good, current] = copies(self.state);
        // Until this process has brought the host anywhere, a person may say where it is by removing records.
        if self.current.is_none() {
            self.left = left_at(&current, applied::read_begun(self.state));
        }
        [self.kept, self.kept_current] = [good, current].map(|copy| copy.present().map(|text| text.commit.id.clone()));
    }

    /// Whether a commit's text is at hand.
    pub fn knows(&self, commit: &CommitId) -> bool {
        self.known(commit).is_some()
    }

    fn known(&self, commit: &CommitId) -> Option<&Rc<SiteText>> {
        [&self.current, &self.good].into_iter().flatten().find(|text| text.commit.id == *commit)
    }

    /// The text of a commit.
    pub fn read(&self, commit: &CommitId) -> Result<Rc<SiteText>, String> {
        if let Some(text) = self.known(commit) {
            return Ok(Rc::clone(text));
        }
        let (path, id) = (self.repository.to_owned(), commit.clone());
        let read = within(self.repository, FOR_FILES, move || {
            let repo = Repo::open(&path)?;
            let tree = repo.tree(&id)?;
            Ok::<_, RepoError>(SiteText { commit: repo.resolve(id.as_str())?, tree })
        });
        read.map(Rc::new).map_err(|error| chain(&error))
    }

    /// The commit that the host was brought to last, by this process or an earlier one, or is being brought to, as far as that is
    /// known.
    pub fn left(&self) -> &LeftAt {
        &self.left
    }

    /// Whether the host is at a commit already, or on the way to it, so that not writing so changes nothing.
    pub fn is_at(&self, commit: &CommitId) -> bool {
        match &self.left {
            LeftAt::Commit(at) => at == commit,
            LeftAt::LastGood => self.history.applied.as_ref() == Some(commit),
            LeftAt::Unreadable => false,
        }
    }

    /// Writes that the host is being brought to this; where that cannot be written, it is not.
    pub fn bring_to(&mut self, text: Rc<SiteText>) -> io::Result<()> {
        let id = &text.commit.id;
        if self.is_at(id) {
            // Written or not, its text is what the host is at.
            self.current = Some(Rc::clone(&text));
        }
        if self.kept_current.as_ref() != Some(id) {
            // A write that fails may have replaced the file all the same.
            self.kept_current = None;
            last_good::write(self.state, last_good::BROUGHT_TO, &text)?;
            self.kept_current = Some(id.clone());
        }
        let history = applied::read(self.state).present().cloned().unwrap_or_else(|| self.history.clone());
        applied::write_begun(self.state, &history, id)?;
        self.left = LeftAt::Commit(id.clone());
        self.current = Some(text);
        Ok(())
    }

    /// Records the commit that the host is at, and keeps its text; the text first.
    pub fn record(&mut self, commit: &CommitId) -> io::Result<Recorded> {
        let mut recorded = Recorded::Already;
        if let Some(text) = self.known(commit).cloned() {
            if self.kept.as_ref() != Some(commit) {
                last_good::write(self.state, last_good::PATH, &text)?;
                self.kept = Some(commit.clone());
                recorded = Recorded::Anew;
            }
            self.good = Some(text);
        }
        // What a person accepted meanwhile stands until it is applied.
        if applied::read(self.state).present().is_none_or(|history| history.applied.as_ref() != Some(commit)) {
            self.history = History { applied: Some(commit.clone()), accepted: None };
            applied::write(self.state, &self.history)?;
        }
        Ok(recorded)
    }
}

/// The kept text of the last good commit, and of the one that was begun.
fn copies(state: &Path) -> [Seen<SiteText>; 2] {
    [last_good::PATH, last_good::BROUGHT_TO].map(|place| last_good::read_copy(state, place))
}

/// Where the host is left, by the copy of what was begun and by the record that names it too. The copy is written first: where both
/// read and differ, the power went between them, before anything was done.
fn left_at(copy: &Seen<SiteText>, begun: Seen<CommitId>) -> LeftAt {
    match (copy, begun) {
        (Seen::Present(text), _) => LeftAt::Commit(text.commit.id.clone()),
        (_, Seen::Present(begun)) => LeftAt::Commit(begun),
        // Where an earlier version of this program wrote neither.
        (Seen::Absent, Seen::Absent) => LeftAt::LastGood,
        (Seen::Unreadable(_), _) | (_, Seen::Unreadable(_)) => LeftAt::Unreadable,
    }
}

/// What this host has applied: the commit whose text it keeps, which is written before the record; without it, what the record says.
/// Where there is no record, an earlier version of this program may have left one in the repository.
fn known_history(repository: &Path, state: &Path, kept: Option<&CommitId>, left: &LeftAt) -> History {
    let record = applied::read(state);
    if let Seen::Unreadable(why) = &record {
        tracing::warn!("{why}; the copy of the last good commit stands for it");
    }
    let known = record.present().cloned().unwrap_or_default();
    let applied = match (kept, &record) {
        (Some(kept), _) => Some(kept.clone()),
        (None, Seen::Absent) => {
            let path = repository.to_owned();
            let read = move || Repo::open(&path)?.applied_by_earlier_version();
            let found = within(repository, FOR_REFERENCES, read);
            found.unwrap_or_else(|error| {
                tracing::debug!("no earlier record of what was applied: {}", chain(&error));
                None
            })
        }
        (None, _) => known.applied.clone(),
    };
    let history = History { applied, ..known };
    // A record that may have named what was begun is not replaced by one that does not.
    if kept.is_some()
        && *left != LeftAt::Unreadable
        && let Err(error) = applied::write(state, &history)
    {
        tracing::warn!("{} cannot be written: {error}", state.join(applied::PATH).display());
    }
    history
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests write files")]
mod tests {
    use super::*;
    use crate::{deploy::Commit, site::Tree};
    use std::fs;

    fn text(digit: char) -> SiteText {
        let commit = Commit { id: digit.to_string().repeat(40).parse().expect("hex"), subject: String::new() };
        SiteText { commit, tree: Tree::default() }
    }

    #[test]
    fn a_cut_between_text_and_record_leaves_the_newer_commit() {
        let root = tempfile::tempdir().expect("a directory");
        let state = root.path();
        let [old, new] = ['a', 'b'].map(text);
        applied::write(state, &History { applied: Some(old.commit.id.clone()), accepted: None }).expect("written");
        last_good::write(state, last_good::PATH, &new).expect("written");
        let memory = Memory::new(Path::new("/nonexistent"), state);
        assert_eq!(memory.history().applied, Some(new.commit.id.clone()));
        assert_eq!(memory.read(&new.commit.id).expect("is kept").commit, new.commit);
        assert!(memory.read(&old.commit.id).is_err());
        assert_eq!(applied::read(state).present(), Some(memory.history()));
    }

    #[test]
    fn what_is_accepted_stands_until_a_commit_is_applied() {
        let root = tempfile::tempdir().expect("a directory");
        let [old, new] = ['a', 'b'].map(text);
        let (old_id, new_id) = (old.commit.id.clone(), new.commit.id.clone());
        let mut memory = Memory::new(Path::new("/nonexistent"), root.path());
        memory.bring_to(Rc::new(old)).expect("written");
        assert_eq!(memory.record(&old_id).expect("written"), Recorded::Anew);
        let accepted = History { applied: Some(old_id.clone()), accepted: Some(new_id.clone()) };
        applied::write(root.path(), &accepted).expect("written");
        assert_eq!(memory.record(&old_id).expect("written"), Recorded::Already, "a look at the old one");
        memory.take_in_record();
        assert_eq!(memory.history(), &accepted);
        memory.bring_to(Rc::new(new)).expect("written");
        memory.record(&new_id).expect("written");
        assert_eq!(applied::read(root.path()).present(), Some(&History { applied: Some(new_id), accepted: None }));
    }

    #[test]
    fn what_was_begun_is_known_after_a_restart_with_its_text() {
        let root = tempfile::tempdir().expect("a directory");
        let [good, begun] = ['a', 'b'].map(text);
        let ids = [good.commit.id.clone(), begun.commit.id.clone()];
        let mut memory = Memory::new(Path::new("/nonexistent"), root.path());
        memory.bring_to(Rc::new(good)).expect("written");
        memory.record(&ids[0]).expect("written");
        memory.bring_to(Rc::new(begun.clone())).expect("written");
        let after = Memory::new(Path::new("/nonexistent"), root.path());
        assert_eq!((after.left(), &after.history().applied), (&LeftAt::Commit(ids[1].clone()), &Some(ids[0].clone())));
        assert_eq!(*after.read(&ids[1]).expect("is kept"), begun);
        assert!(after.knows(&ids[0]) && after.knows(&ids[1]));
    }

    #[test]
    fn a_damaged_copy_of_what_was_begun_never_leads_to_the_last_good_commit() {
        let root = tempfile::tempdir().expect("a directory");
        let [good, begun] = ['a', 'b'].map(text);
        let ids = [good.commit.id.clone(), begun.commit.id.clone()];
        let mut memory = Memory::new(Path::new("/nonexistent"), root.path());
        memory.bring_to(Rc::new(good)).expect("written");
        memory.record(&ids[0]).expect("written");
        memory.bring_to(Rc::new(begun)).expect("written");
        let left = || Memory::new(Path::new("/nonexistent"), root.path()).left().clone();
        let (copy, record) = (root.path().join(last_good::BROUGHT_TO), root.path().join(applied::PATH));
        let whole = fs::read(&copy).expect("reads");
        for at in [0, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&copy, changed).expect("written");
            assert_eq!(left(), LeftAt::Commit(ids[1].clone()), "byte {at}: the record names it too");
        }
        let named = fs::read(&record).expect("reads");
        fs::write(&record, "").expect("written");
        assert_eq!(left(), LeftAt::Unreadable);
        let mut memory = Memory::new(Path::new("/nonexistent"), root.path());
        assert!(!memory.is_at(&ids[0]) && !memory.is_at(&ids[1]));
        fs::write(&record, &named).expect("written");
        fs::remove_file(&copy).expect("removed");
        assert_eq!(left(), LeftAt::Commit(ids[1].clone()), "one that is gone is no permission either");
        // A person removes both, and is understood without a restart.
        fs::remove_file(&record).expect("removed");
        memory.look_what_is_kept();
        assert_eq!(memory.left(), &LeftAt::LastGood);
    }

    #[test]
    fn what_cannot_be_written_down_is_not_begun() {
        let root = tempfile::tempdir().expect("a directory");
        let [old, new] = ['a', 'b'].map(text);
        let ids = [old.commit.id.clone(), new.commit.id.clone()];
        let mut memory = Memory::new(Path::new("/nonexistent"), root.path());
        memory.bring_to(Rc::new(old.clone())).expect("written");
        memory.record(&ids[0]).expect("written");
        // Neither root nor anybody else writes a file into a file.
        fs::rename(root.path().join("last-good"), root.path().join("away")).expect("moved");
        fs::write(root.path().join("last-good"), "").expect("written");
        memory.look_what_is_kept();
        assert!(memory.bring_to(Rc::new(new.clone())).is_err());
        assert!(memory.bring_to(Rc::new(old)).is_err() && memory.is_at(&ids[0]) && !memory.is_at(&ids[1]));
        assert!(memory.record(&ids[0]).is_err(), "nor is it recorded without its text");
        fs::remove_file(root.path().join("last-good")).expect("removed");
        memory.bring_to(Rc::new(new)).expect("there is room again");
        assert!(memory.is_at(&ids[1]));
        memory.record(&ids[1]).expect("written");
        assert_eq!(applied::read(root.path()).present().and_then(|history| history.applied.clone()), Some(ids[1].clone()));
    }
}
