//! Whether there is room where barista keeps its own files: the state directory, and the directory of locks and sockets.
//!
//! **Invariant:** changes nothing; a file system that both lie on is told once.

use super::{Check, Facts};
use crate::diagnostic::{Diagnostic, Place};
use crate::host::{LEAST_ROOM, Space, short_of};
use crate::observed::Seen;
use std::path::{Path, PathBuf};

/// Looks at the file systems of directories.
pub(super) fn look(directories: &[&Path]) -> Vec<(PathBuf, Seen<Space>)> {
    let mut found: Vec<(PathBuf, Seen<Space>)> = Vec::new();
    for directory in directories {
        let space = match Space::of(directory) {
            Ok(space) => Seen::Present(space),
            Err(error) => Seen::Unreadable(error.to_string()),
        };
        let id = space.present().map(|space| space.id);
        if id.is_none() || found.iter().all(|(_, other)| other.present().map(|other| other.id) != id) {
            found.push((directory.to_path_buf(), space));
        }
    }
    found
}

/// Decides on what was found.
pub(super) fn judge(facts: &Facts) -> Vec<Check> {
    let about = "disk";
    let check = |(directory, space): &(PathBuf, Seen<Space>)| {
        let shown = directory.display();
        match space {
            Seen::Present(space) => match space.shortage() {
                Some(shortage) => Check::Wrong(Diagnostic { place: Place::whole(about), ..short_of(directory, shortage) }),
                None => Check::ok(about, format!("{shown} can be written, and has {LEAST_ROOM} free or more")),
            },
            Seen::Unreadable(why) => {
                let what = format!("how much is free for {shown} could not be seen: {why}");
                Check::unseen(about, what, facts.privilege.mend(&format!("see what `df -h {shown}` says")))
            }
            Seen::Absent => Check::ok(about, format!("{shown} is not there yet")),
        }
    };
    facts.space.iter().map(check).collect()
}
