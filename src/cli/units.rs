//! systemd's files for a host: two services, a user for the one that needs no root, the kernel's modules, and the state directory; and
//! root's own file about the host.
//!
//! **Invariant:** a file of systemd's is replaced when it is written again, and root's own file never is.
#![expect(clippy::disallowed_methods, reason = "effect room: writes systemd's files where it is told")]

use crate::host::create_directory;
use anyhow::Context as _;
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// Where a file goes below the directory, and what it is made from.
const FILES: [(&str, &str); 5] = [
    ("systemd/system/barista-agent.service", include_str!("units/barista-agent.service")),
    ("systemd/system/barista-serve.service", include_str!("units/barista-serve.service")),
    ("sysusers.d/barista.conf", include_str!("units/sysusers.conf")),
    ("tmpfiles.d/barista.conf", include_str!("units/tmpfiles.conf")),
    ("modules-load.d/barista.conf", include_str!("units/modules-load.conf")),
];

/// Root's own file, and what it is before root changes it.
const SETTINGS: (&str, &str) = ("barista/host.toml", include_str!("../host/host.toml"));

/// What the files name.
pub(super) struct Place {
    /// This program.
    pub program: PathBuf,
    /// The repository the agent follows.
    pub repository: PathBuf,
    /// The state directory.
    pub state: PathBuf,
}

/// The files by their paths below the directory, `/etc` but for packages and tests.
pub(super) fn files(place: &Place) -> Vec<(&'static str, String)> {
    FILES.into_iter().map(|(path, text)| (path, fill(text, place))).collect()
}

/// Root's own file, where it is still to be made.
pub(super) fn missing_settings(directory: &Path) -> Option<(&'static str, String)> {
    let (path, text) = SETTINGS;
    let is_absent = matches!(fs::symlink_metadata(directory.join(path)), Err(error) if error.kind() == io::ErrorKind::NotFound);
    is_absent.then(|| (path, text.to_owned()))
}

/// Writes the files below a directory; returns where.
pub(super) fn write(directory: &Path, place: &Place) -> anyhow::Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (path, text) in files(place) {
        let path = directory.join(path);
        let parent = path.parent().expect("a file below a directory has a parent");
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        fs::write(&path, text).with_context(|| cannot(&path))?;
        written.push(path);
    }
    let (path, text) = SETTINGS;
    let path = directory.join(path);
    create_directory(path.parent().expect("a file below a directory has a parent")).with_context(|| cannot(&path))?;
    let made = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path);
    match made.and_then(|mut file| file.write_all(text.as_bytes())) {
        Ok(()) => written.push(path),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error).with_context(|| cannot(&path)),
    }
    Ok(written)
}

fn cannot(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

fn fill(text: &str, place: &Place) -> String {
    let line = |line: &str| {
        // In a command line, and nowhere else, `$` stands for a variable; the program's own path is none of its arguments, and is
        // taken as it is (systemd.service(5), "Command lines").
        let argument = |path| if line.starts_with("Exec") { word(path).replace('$', "$$") } else { word(path) };
        let marks = [
            ("@BARISTA@", word(&place.program)),
            ("@REPOSITORY@", argument(&place.repository)),
            ("@STATE@", argument(&place.state)),
        ];
        marks.into_iter().fold(line.to_owned(), |line, (mark, path)| line.replace(mark, &path))
    };
    text.split_inclusive('\n').map(line).collect()
}

/// One word of a unit file: `%` is its own escape, and what separates words or quotes them needs quotes itself (systemd.syntax(7),
/// systemd.unit(5)).
fn word(path: &Path) -> String {
    let text = path.display().to_string().replace('\\', r"\\").replace('"', "\\\"").replace('%', "%%");
    if text.contains(|c: char| c.is_whitespace() || c == '\'') { format!("\"{text}\"") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mark_is_filled_and_words_stay_words() {
        let place = Place {
            program: "/opt/b%1$x/barista".into(),
            repository: "/srv/my $x café.git".into(),
            state: "/var/lib/jo's$x".into(),
        };
        for (path, text) in FILES {
            let filled = fill(text, &place);
            assert!(!["@BARISTA@", "@REPOSITORY@", "@STATE@"].iter().any(|mark| filled.contains(mark)), "{path}");
        }
        let agent = fill(FILES[0].1, &place);
        let line = "ExecStart=/opt/b%%1$x/barista agent --repo \"/srv/my $$x café.git\" --state \"/var/lib/jo's$$x\"\n";
        assert!(agent.contains(line), "{agent}");
        assert!(agent.contains("ReadWritePaths=\"/var/lib/jo's$x\" "), "a path is no command line: {agent}");
    }
}
