//! Files that are not read: which of them were meant to be, and what to do about it.
//!
//! **Invariant:** a file that was meant to be part of the site and is not read refuses the commit, for what it says would
//! look absent; only what is clearly something else is a warning.

use super::{Entry, Tree, report::Report, spelling};
use crate::diagnostic::Severity;

/// The directories of a site.
pub(super) const DIRECTORIES: [&str; 4] = ["images", "machines", "network", "templates"];
/// Templates that there are to override.
const TEMPLATES: [&str; 2] = ["machine.ipxe", "unknown.ipxe"];
/// Endings that editors, git and people give to copies.
const COPIES: [&str; 11] = ["~", ".bak", ".old", ".orig", ".rej", ".save", ".swp", ".swo", ".tmp", ".disabled", ".off"];

/// Endings of disks and of what is installed from: they lie on the server, and never in git.
const DISKS: [&str; 9] = [".qcow2", ".raw", ".img", ".vhd", ".vhdx", ".vmdk", ".vdi", ".iso", ".wim"];

/// What Windows and others put into every directory that somebody looks at.
const BY_ITSELF: [&str; 4] = ["desktop.ini", "Thumbs.db", "ehthumbs.db", "Icon\r"];

/// What a file is to a site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is read.
    Read,
    /// It is something else.
    Stranger,
    /// It was meant to be read from this directory, or as this file, and was reported.
    Meant(&'static str),
}

/// The directory of a site that a name of another directory means, without doubt.
pub(super) fn meant_directory(name: &str) -> Option<&'static str> {
    let stem = |name: &str| name.to_ascii_lowercase().trim_end_matches('s').to_owned();
    DIRECTORIES.into_iter().find(|directory| stem(directory) == stem(name))
}

/// What desktops and people put behind the name of a copy, and before it.
const BEHIND: [&str; 11] = ["copy", "副本", "的副本", "复件", "kopie", "copie", "copia", "コピー", "backup", "bak", "old"];
const BEFORE: [&str; 4] = ["Copy of ", "复件 ", "Kopie von ", "Copie de "];

/// The name among others of which this one is a copy's: `room (1)`, `room - 副本`, `Copy of room`.
pub(super) fn copied_from<'s>(stem: &str, mut others: impl Iterator<Item = &'s str>) -> Option<&'s str> {
    let is_mark = |rest: &str| {
        let word = rest.trim_matches(|c: char| c.is_ascii_digit() || " -_.()（）".contains(c)).to_lowercase();
        BEHIND.contains(&word.as_str()) || word.is_empty() && rest.contains(['(', '（'])
    };
    others.find(|other| match stem.strip_prefix(other) {
        Some(rest) => is_mark(rest),
        None => BEFORE.iter().any(|before| stem.strip_prefix(before) == Some(other)),
    })
}

/// Reports a file that is not read.
pub(super) fn judge(report: &mut Report<'_>, tree: &Tree, (directory, name): (&str, &str), entry: &Entry) -> Standing {
    let path = if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") };
    let mut warn = |code, message: &str, hint: String| {
        report.push_path(code, &path, Severity::Warning, message, hint);
        Standing::Stranger
    };
    if COPIES.iter().any(|ending| name.ends_with(ending)) || name.starts_with('#') {
        let is_ours = !directory.is_empty() || name.starts_with("site.toml");
        return match is_ours {
            true => warn("copy-of-a-file", "this is a copy of a file and is not read", "delete it".to_owned()),
            false => Standing::Stranger,
        };
    }
    let last = name.rsplit('/').next().unwrap_or(name);
    if !directory.is_empty() && BY_ITSELF.iter().any(|made| last.eq_ignore_ascii_case(made)) {
        return warn(
            "not-read",
            "a desktop makes this file by itself, and it is not read",
            format!("delete it: git rm --cached {path}"),
        );
    }
    if DISKS.iter().any(|ending| last.to_ascii_lowercase().ends_with(ending)) {
        let hint = format!(
            "put it into the image store of the server, and take it out of git: git rm --cached '{path}'; \
             a push of it may be too large until it is out of every commit that is pushed"
        );
        return warn("disk-in-git", "this is a disk, and no text of a site: it is not read", hint);
    }
    if let Entry::TooLarge(size) = entry
        && !(DIRECTORIES.contains(&directory) && name.ends_with(".toml"))
        && meant_toml(last).is_none()
    {
        warn_of_size(report, &path, *size);
        return Standing::Stranger;
    }
    match DIRECTORIES.into_iter().find(|known| *known == directory) {
        None => judge_root(report, tree, name, entry),
        Some("templates") if TEMPLATES.contains(&name) => Standing::Read,
        Some("templates") => {
            let guess = spelling::did_you_mean(name, TEMPLATES);
            let hint = format!("{guess}templates that can be overridden: {}", TEMPLATES.join(", "));
            warn("unknown-template", "there is no template of this name to override", hint)
        }
        Some(_) if !name.contains('/') && name.ends_with(".toml") => Standing::Read,
        Some(known) => {
            let Some(stem) = meant_toml(last) else {
                let hint = format!("files of {directory}/ end in .toml");
                return warn("not-read", "this file is not part of a site and is not read", hint);
            };
            let (code, message) = match name.split_once('/') {
                Some(_) => ("file-too-deep", "this file lies too deep and is not read".to_owned()),
                None => ("file-ending", "the name of this file does not end in .toml, so it is not read".to_owned()),
            };
            // images/win11/image.toml is images/win11.toml; row.toml of machines/north keeps its own name.
            let generic = ["image", "network", "machine", "machines", "index", "main", "config"].contains(&stem);
            let parent = name.rsplit('/').nth(1).filter(|_| generic).unwrap_or(stem);
            let hint = match last.to_ascii_lowercase() {
                lower if lower.ends_with(".toml") && name.contains('/') => format!("move it to {directory}/{parent}.toml"),
                lower if [".yaml", ".yml", ".json"].iter().any(|ending| lower.ends_with(ending)) => {
                    format!("write it as TOML in {directory}/{parent}.toml")
                }
                _ => format!("rename it to {directory}/{parent}.toml; Windows hides endings until you switch that off"),
            };
            report.push_path(code, &path, Severity::Error, message, hint);
            Standing::Meant(known)
        }
    }
}

/// Reports a file that is no part of a site and is too large for git: each push carries it, and so does every copy ever after.
pub(super) fn warn_of_size(report: &mut Report<'_>, path: &str, size: u64) {
    let message = format!("this file has {} MiB, and is no part of a site: it is not read", size.div_ceil(1 << 20));
    let hint = format!(
        "kernels lie in the asset store of the server, /var/lib/barista/assets, and disks in its image store; take it out of git: \
         git rm --cached '{path}', out of every commit that is pushed, for one push may measure 64 MiB"
    );
    report.push_path("large-in-git", path, Severity::Warning, message, hint);
}

/// The stem of a file that was meant to be TOML.
fn meant_toml(name: &str) -> Option<&str> {
    let endings = [".toml.txt", ".toml", ".tml", ".tom", ".tolm", ".yaml", ".yml", ".json", ".ini", ".conf"];
    let lower = name.to_ascii_lowercase();
    let ending = endings.into_iter().find(|ending| lower.ends_with(ending))?;
    name.get(..name.len() - ending.len())
}

/// True for a name that is taken for a misspelled `site`.
fn is_near_site(stem: &str) -> bool {
    spelling::nearest(stem, ["site"]).is_some()
}

fn judge_root(report: &mut Report<'_>, tree: &Tree, name: &str, entry: &Entry) -> Standing {
    let Some(stem) = meant_toml(name) else { return Standing::Stranger };
    let is_toml = name.ends_with(".toml");
    let text = match entry {
        Entry::File(bytes) => String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]).into_owned(),
        Entry::Symlink(_) | Entry::TooLarge(_) | Entry::Unreadable(_) => String::new(),
    };
    let has = |word: &str| text.lines().any(|line| line.trim_start().starts_with(word));
    let meant = match stem.to_ascii_lowercase().as_str() {
        lower if !tree.entries.contains_key("site.toml") && is_near_site(lower) => Some("site.toml"),
        _ if !is_toml && !name.to_ascii_lowercase().contains(".toml") => None,
        lower if meant_directory(lower).is_some() => meant_directory(lower),
        _ if has("[[machine]]") || has("[machine]") => Some("machines"),
        _ if has("subnet") => Some("network"),
        _ if has("kind") => Some("images"),
        _ => None,
    };
    let (message, hint) = match meant {
        Some("site.toml") => {
            ("this file is not read: its name must be site.toml".to_owned(), "rename it to site.toml".to_owned())
        }
        Some("machines") => {
            ("machines are read from the directory machines/".to_owned(), format!("move this file to machines/{stem}.toml"))
        }
        Some("network") => {
            let file = if meant_directory(stem).is_some() { "lan" } else { stem };
            ("networks are read from the directory network/".to_owned(), format!("move this file to network/{file}.toml"))
        }
        Some("images") => {
            let file = if meant_directory(stem).is_some() { "win11" } else { stem };
            let hint = format!("move this file to images/{file}.toml: each image is a file, and the file's name is the image's");
            ("images are read from the directory images/".to_owned(), hint)
        }
        _ if is_toml => {
            let guess = spelling::did_you_mean(name, ["site.toml"]);
            let hint = format!("{guess}other TOML files belong into {}", DIRECTORIES[..3].join(", "));
            report.push_path("not-read", name, Severity::Warning, "this file is not part of a site and is not read", hint);
            return Standing::Stranger;
        }
        _ => return Standing::Stranger,
    };
    report.push_path("file-misplaced", name, Severity::Error, message, hint);
    meant.map_or(Standing::Stranger, Standing::Meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_known_by_its_name_beside_that_of_the_original() {
        for copy in
            ["room - 副本", "room (1)", "room - Copy", "room - Copy (2)", "room（2）", "room copy", "room-old", "Copy of room"]
        {
            assert_eq!(copied_from(copy, ["other", "room"].into_iter()), Some("room"), "{copy}");
        }
        for other in ["room", "room-2", "room2", "room-b", "roomcopies", "broom (1)"] {
            assert_eq!(copied_from(other, ["room", other].into_iter()), None, "{other}");
        }
    }

    #[test]
    fn a_file_that_was_meant_is_an_error_and_a_copy_is_a_warning() {
        let machine = || Entry::File(b"[[machine]]\n".to_vec());
        for (directory, name, standing) in [
            ("machines", "row-a.toml", Standing::Read),
            ("machines", "row-a.TOML", Standing::Meant("machines")),
            ("network", "lan.toml.txt", Standing::Meant("network")),
            ("images", "win11/image.toml", Standing::Meant("images")),
            ("images", "win11.yaml", Standing::Meant("images")),
            ("machines", "row-a.toml~", Standing::Stranger),
            ("machines", "row-a.toml.bak", Standing::Stranger),
            ("images", "win11.raw", Standing::Stranger),
            ("machines", "desktop.ini", Standing::Stranger),
            ("images", "Thumbs.db", Standing::Stranger),
            ("", "machines.toml", Standing::Meant("machines")),
            ("", "row-a.toml", Standing::Meant("machines")),
            ("", "Site.toml", Standing::Meant("site.toml")),
            ("", "docker-compose.yml", Standing::Stranger),
            ("", "Makefile", Standing::Stranger),
        ] {
            let mut report = Report::default();
            assert_eq!(judge(&mut report, &Tree::default(), (directory, name), &machine()), standing, "{directory}/{name}");
            assert_eq!(report.is_clean(), !matches!(standing, Standing::Meant(_)), "{directory}/{name}");
        }
    }
}
