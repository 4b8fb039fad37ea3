//! `/etc/barista/host.toml`: what root says of this host, which no commit can change.
//!
//! A site may name directories and files of the server: where the loaders lie, where the images lie, which file holds the CHAP secrets.
//! Whoever may push could so have any file of the host served. **Invariant:** a path that a site names counts by where it leads, links
//! and all; it must lie below a directory that this file lists for its purpose, and never in the state directory outside the
//! directories that are made for it. A file that anybody but root may write, or that does not read, allows nothing; one without the end of
//! its last line, or that ends with a table that says nothing, is half written and does not read. A process that goes on follows it by
//! [`FollowedSettings`].
#![expect(clippy::disallowed_methods, reason = "effect room: reads root's file about this host, and where paths lead")]

mod followed;

pub use followed::FollowedSettings;

use serde::Deserialize;
use std::{
    collections::BTreeMap,
    env, fmt, fs,
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// Where the file lies.
pub const USUAL: &str = "/etc/barista/host.toml";

/// Names another file, for tests and for a second barista on one host.
const VARIABLE: &str = "BARISTA_HOST_TOML";

/// It is a page of text.
const LARGEST: u64 = 1 << 20;

/// What a path is named for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// The directory of the loaders, all of which is served to anybody.
    Loaders,
    /// The directory of image sources, which root reads.
    ImageStore,
    /// The file of the CHAP secrets, which root reads.
    Secrets,
}

impl Purpose {
    /// Its key in `[allowed-paths]`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Loaders => "loaders",
            Self::ImageStore => "image-store",
            Self::Secrets => "secrets",
        }
    }

    /// The directory of the state directory that is made for it.
    fn own(self) -> Option<&'static str> {
        match self {
            Self::Loaders => Some("loaders"),
            Self::ImageStore => Some("images"),
            Self::Secrets => None,
        }
    }

    /// What is allowed where the file does not say: where distributions and this program's own README put such files.
    fn usual(self) -> &'static [&'static str] {
        match self {
            Self::Loaders => &["/usr/lib/ipxe", "/usr/share/ipxe", "/srv/loaders"],
            Self::ImageStore => &["/srv/images"],
            Self::Secrets => &["/etc/barista"],
        }
    }
}

/// The file, as it is written.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct HostFile {
    /// Directories below which a site may name paths of this host, by what they are named for.
    allowed_paths: AllowedPathsTable,
}

/// A list that is given replaces its default whole.
#[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
struct AllowedPathsTable {
    /// For `loaders`; everything in it is served to anybody on the machines' network.
    #[schemars(with = "Vec<PathBuf>")]
    loaders: Option<Vec<PathBuf>>,
    /// For `image-store`.
    #[schemars(with = "Vec<PathBuf>")]
    image_store: Option<Vec<PathBuf>>,
    /// For `chap-secrets`.
    #[schemars(with = "Vec<PathBuf>")]
    secrets: Option<Vec<PathBuf>>,
}

/// What root says of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSettings {
    path: PathBuf,
    state: PathBuf,
    allowed: BTreeMap<Purpose, Vec<PathBuf>>,
    source: Source,
}

/// Whether root says anything in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// At least one list is given.
    Listed,
    /// None is.
    Defaults,
}

/// Why the file cannot be used; then no path of a site is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {what}", path.display())]
pub struct SettingsError {
    /// The file.
    pub path: PathBuf,
    /// What is the matter.
    pub what: String,
}

/// Why a path is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAllowed {
    /// barista keeps its own there: secrets, leases, records.
    State(PathBuf),
    /// No listed directory holds it.
    Unlisted(PathBuf),
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(real) => write!(f, "leads to {}, where barista keeps its own files", real.display()),
            Self::Unlisted(real) => write!(f, "leads to {}, which this host does not allow", real.display()),
        }
    }
}

impl HostSettings {
    /// Those of this host for a state directory; the defaults where there is no file. One that was changed a moment ago is waited for, for
    /// somebody may be writing it.
    pub fn of_process(state: &Path) -> Result<Self, SettingsError> {
        Self::read_settled(&place(), state)
    }

    /// Reads a file.
    pub fn read(path: &Path, state: &Path) -> Result<Self, SettingsError> {
        let text = match read(path) {
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        };
        Self::of_text(text, path, state)
    }

    /// The settings of a file's text, or of none.
    fn of_text(text: io::Result<Option<String>>, path: &Path, state: &Path) -> Result<Self, SettingsError> {
        let error = |what: String| SettingsError { path: path.to_owned(), what };
        let file = match text.map_err(|problem| error(problem.to_string()))? {
            None => HostFile::default(),
            Some(text) => {
                let file = toml::from_str(&text).map_err(|problem| {
                    let line = problem.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
                    error(format!("line {line}: {}", problem.message()))
                })?;
                if let Some(what) = half_written(&text) {
                    return Err(error(format!("{what}: write a whole file beside it, and rename that over it with mv")));
                }
                file
            }
        };
        let AllowedPathsTable { loaders, image_store, secrets } = file.allowed_paths;
        let is_listed = [&loaders, &image_store, &secrets].iter().any(|listed| listed.is_some());
        let source = if is_listed { Source::Listed } else { Source::Defaults };
        let mut allowed = BTreeMap::new();
        for (purpose, listed) in [(Purpose::Loaders, loaders), (Purpose::ImageStore, image_store), (Purpose::Secrets, secrets)] {
            let listed = listed.unwrap_or_else(|| purpose.usual().iter().map(PathBuf::from).collect());
            if let Some(relative) = listed.iter().find(|path| !path.is_absolute()) {
                return Err(error(format!("{}: {:?} does not begin with '/'", purpose.key(), relative.display().to_string())));
            }
            allowed.insert(purpose, listed);
        }
        let state = std::path::absolute(state).unwrap_or_else(|_| state.to_owned());
        Ok(Self { path: path.to_owned(), state, allowed, source })
    }

    /// The file they are read from, whether or not it is there.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file gives any list.
    fn lists_any(&self) -> bool {
        self.source == Source::Listed
    }

    /// The directories of a purpose.
    pub fn listed(&self, purpose: Purpose) -> Vec<PathBuf> {
        let own = purpose.own().map(|own| self.state.join(own));
        own.into_iter().chain(self.allowed.get(&purpose).into_iter().flatten().cloned()).collect()
    }

    /// Where a path leads, if a site may name it for this; what is not there yet counts by the part that is.
    pub fn allow(&self, purpose: Purpose, path: &Path) -> Result<PathBuf, NotAllowed> {
        let real = resolve(path);
        let state = resolve(&self.state);
        let is_own = purpose.own().is_some_and(|own| real.starts_with(resolve(&state.join(own))));
        if !is_own && (real.starts_with(&state) || state.starts_with(&real)) {
            return Err(NotAllowed::State(real));
        }
        match self.listed(purpose).iter().any(|listed| real.starts_with(resolve(listed))) {
            true => Ok(real),
            false => Err(NotAllowed::Unlisted(real)),
        }
    }
}

/// Where the file of this process lies.
pub fn place() -> PathBuf {
    env::var_os(VARIABLE).filter(|path| !path.is_empty()).map_or_else(|| USUAL.into(), PathBuf::from)
}

/// Why a text that reads is no whole file: whoever writes in place is not done yet, or was cut off at the end of a line.
fn half_written(text: &str) -> Option<&'static str> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Some("its last line has no end");
    }
    let last = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    last.starts_with('[').then_some("it ends with a table that says nothing")
}

/// Reads the file if root alone may write it. Whoever is not root, as in a trial, may have one of his own.
fn read(path: &Path) -> io::Result<String> {
    let flags = (nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOCTTY).bits();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("is no regular file"));
    }
    let is_roots = metadata.uid() == 0 || metadata.uid() == nix::unistd::geteuid().as_raw();
    if !is_roots || metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other("somebody else than root may write it: chown it to root and chmod it to 644"));
    }
    let mut text = String::new();
    file.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("is larger than {LARGEST} bytes")));
    }
    Ok(text)
}

/// A path without links; of one that is not there, or that this user cannot follow, the part that can be followed and then the rest.
fn resolve(path: &Path) -> PathBuf {
    let mut above = path;
    let mut rest = Vec::new();
    loop {
        if let Ok(real) = fs::canonicalize(above) {
            return rest.iter().rev().fold(real, |path: PathBuf, name| path.join(name));
        }
        match (above.parent(), above.file_name()) {
            (Some(parent), Some(name)) => {
                rest.push(name);
                above = parent;
            }
            _ => return path.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn settings(state: &Path, text: &str) -> Result<HostSettings, SettingsError> {
        let path = state.join("host.toml");
        fs::write(&path, text).expect("written");
        HostSettings::read(&path, state)
    }

    #[test]
    fn what_a_host_does_not_list_is_not_allowed_and_its_own_files_never() {
        let root = tempfile::tempdir().expect("a directory");
        let state = root.path().join("state");
        for directory in ["boot", "serve", "images", "loaders/pi", "assets"] {
            fs::create_dir_all(state.join(directory)).expect("made");
        }
        let listed = root.path().join("listed");
        fs::create_dir_all(listed.join("inner")).expect("made");
        let text = format!("[allowed-paths]\nloaders = [{listed:?}]\nimage-store = [{:?}]\n", root.path());
        let host = settings(&state, &text).expect("reads");
        let allowed = |purpose, path: &Path| host.allow(purpose, path).is_ok();
        for (purpose, path) in [
            (Purpose::Loaders, listed.clone()),
            (Purpose::Loaders, listed.join("inner")),
            (Purpose::Loaders, listed.join("not/there/yet")),
            (Purpose::Loaders, state.join("loaders")),
            (Purpose::Loaders, state.join("loaders/pi")),
            (Purpose::ImageStore, state.join("images")),
            (Purpose::ImageStore, root.path().join("elsewhere")),
            (Purpose::Secrets, "/etc/barista/chap.toml".into()),
        ] {
            assert!(allowed(purpose, &path), "{purpose:?} {path:?}");
        }
        let forbidden = ["/", "/etc", "/proc", "/proc/self", "/sys", "/dev", "/root", "/home", "/boot", "/usr/lib/ipxe"];
        for path in forbidden.iter().map(PathBuf::from).chain([root.path().to_owned(), root.path().join("listed-not")]) {
            assert!(!allowed(Purpose::Loaders, &path), "{path:?}");
        }
        // What is listed above it does not open the state directory.
        for path in ["", "boot", "serve", "assets", "boot/chap.json", "loaders"].map(|name| state.join(name)) {
            assert!(matches!(host.allow(Purpose::ImageStore, &path), Err(NotAllowed::State(_))), "{path:?}");
        }
        assert!(
            matches!(host.allow(Purpose::ImageStore, root.path()), Err(NotAllowed::State(_))),
            "it holds the state directory"
        );
    }

    #[test]
    fn a_link_counts_by_where_it_leads() {
        let root = tempfile::tempdir().expect("a directory");
        let (state, listed) = (root.path().join("state"), root.path().join("listed"));
        fs::create_dir_all(state.join("boot")).expect("made");
        fs::create_dir(&listed).expect("made");
        symlink("/etc", listed.join("etc")).expect("linked");
        symlink(state.join("boot"), listed.join("boot")).expect("linked");
        symlink(&listed, root.path().join("alias")).expect("linked");
        let host = settings(&state, &format!("[allowed-paths]\nloaders = [{listed:?}]\n")).expect("reads");
        assert!(matches!(host.allow(Purpose::Loaders, &listed.join("etc")), Err(NotAllowed::Unlisted(_))));
        assert!(matches!(host.allow(Purpose::Loaders, &listed.join("etc/none/x")), Err(NotAllowed::Unlisted(_))));
        assert!(matches!(host.allow(Purpose::Loaders, &listed.join("boot")), Err(NotAllowed::State(_))));
        assert_eq!(host.allow(Purpose::Loaders, &root.path().join("alias")).ok(), fs::canonicalize(&listed).ok());
    }

    #[test]
    fn a_file_that_somebody_else_may_write_or_that_does_not_read_allows_nothing() {
        let root = tempfile::tempdir().expect("a directory");
        let said = |text: &str| settings(root.path(), text).err().map(|error| error.what);
        assert_eq!(said(""), None);
        assert!(said("[allowed-paths]\nloader = []\n").is_some_and(|what| what.contains("line 2") && what.contains("loaders")));
        assert!(said("[allowed-paths]\nloaders = [\"srv\"]\n").is_some_and(|what| what.contains("does not begin with '/'")));
        assert!(said("[allowed-paths]\nloaders = []").is_some_and(|what| what.contains("no end") && what.contains("mv")));
        assert!(said("# a word\n[allowed-paths]\n\n").is_some_and(|what| what.contains("says nothing")));
        let path = root.path().join("host.toml");
        fs::write(&path, "").expect("written");
        for mode in [0o664, 0o646, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its own");
            assert!(HostSettings::read(&path, root.path()).is_err_and(|error| error.what.contains("chmod")), "{mode:o}");
        }
        fs::remove_file(&path).expect("removed");
        assert!(HostSettings::read(&path, root.path()).is_ok(), "no file is the defaults");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("made");
        assert!(HostSettings::read(&path, root.path()).is_err_and(|error| error.what.contains("regular file")));
    }

    #[test]
    fn the_file_that_init_writes_is_the_defaults() {
        let root = tempfile::tempdir().expect("a directory");
        let written = settings(root.path(), include_str!("host.toml")).expect("reads");
        let none = HostSettings::read(&root.path().join("none"), root.path()).expect("reads");
        assert_eq!(written.allowed, none.allowed);
        let shown: String = include_str!("host.toml")
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(|line| line.contains(" = ["))
            .map(|line| format!("{line}\n"))
            .collect();
        let shown = settings(root.path(), &format!("[allowed-paths]\n{shown}")).expect("what is shown reads");
        assert_eq!(shown.allowed, none.allowed, "what is shown as the default is the default");
    }
}
