//! The files of an import, with those that they include.
//!
//! **Invariant:** reads regular files of bounded size and number, each once; what is included and cannot be read is an error.
#![expect(clippy::disallowed_methods, reason = "effect room: reads the files that are imported")]

use super::FileFormat;
use crate::cli::{elsewhere, failure::Failure};
use crate::diagnostic::{self, Code, Diagnostic, Severity};
use crate::exchange::import::{self, Format, Include, Left, Place, Reach, Reservation, SyntaxError};
use crate::names::{NotUtf8, SAVE_AS_UTF8, clean, utf8, utf16};
use clap::ValueEnum as _;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs,
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// More than a hundred thousand machines take.
const LARGEST: u64 = 16 << 20;
/// More files than any server's configuration has.
const MOST_FILES: usize = 1000;

/// What the files hold.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Their machines, each with its file.
    pub reservations: Vec<(String, Reservation)>,
    /// What is not taken over, each with its file.
    pub left: Vec<(String, Left)>,
    /// What is taken over in another spelling, each with its file.
    pub mended: Vec<(String, Left)>,
    texts: BTreeMap<String, String>,
    /// What is named as a part of them and was not read.
    unread: Vec<Diagnostic>,
}

/// A file to read, and what named it.
struct Wanted {
    path: PathBuf,
    format: Option<Format>,
    by: Option<(String, Include)>,
}

/// What to do about a file of no kind that is read.
fn what_to_do(text: &str) -> String {
    let lines = || text.lines().map(str::trim);
    if lines().any(|line| line == "[[machine]]") {
        return "that is a file of a site: copy it into the directory machines/".to_owned();
    }
    // A section of OpenWrt's /etc/config; its dnsmasq reads what is made of it.
    if lines().any(|line| line.starts_with("config host") || line.starts_with("config dnsmasq")) {
        return format!(
            "that is OpenWrt's own form: copy the file /tmp/etc/dnsmasq.conf.* of that router, and import it with --format dnsmasq; or {TABLE}"
        );
    }
    if lines().find(|line| !line.is_empty()).is_some_and(|first| first.starts_with('<')) {
        return format!("a page of the web or XML is not read: {TABLE}");
    }
    let names = import::possible(text).into_iter().filter_map(|format| {
        let known = FileFormat::value_variants().iter().find(|known| Format::from(**known) == format)?;
        Some(format!("--format {}", known.to_possible_value()?.get_name()))
    });
    match names.collect::<Vec<_>>().as_slice() {
        [] => TABLE.to_owned(),
        several => format!("say it with {}; or {TABLE}", several.join(" or ")),
    }
}

/// What to do about a file that is of no kind that is read.
pub(super) const TABLE: &str =
    "make a table of it: the line name,mac,ip, and below it a line for each machine; save it as machines.csv";

/// A file that was named and cannot be read, with what to do about it.
fn refuse(path: &Path, error: io::Error) -> Failure {
    let shown = path.display();
    let wants = "import reads files of this one";
    if let Err(refused) = elsewhere::refuse(path, wants, "download it, and name the file") {
        return refused;
    }
    let hint = match error.kind() {
        _ if path == Path::new("-") => "standard input is not read: write it to a file, and name that".to_owned(),
        io::ErrorKind::NotFound => {
            "name a file that is there: a .csv, dnsmasq.conf, dhcpd.conf, Kea's .json or /etc/ethers".to_owned()
        }
        io::ErrorKind::PermissionDenied => "run it as somebody who may read that file".to_owned(),
        _ => format!("copy what it says into a file, and name that in place of {shown}"),
    };
    Failure::hinted(anyhow::Error::from(error).context(format!("cannot read {shown}")), hint)
}

impl Sources {
    /// Reads files and directories, and what they include.
    pub fn read(paths: &[PathBuf], format: Option<Format>) -> Result<Self, Failure> {
        let mut sources = Self::default();
        let mut findings = Vec::new();
        let mut done = BTreeSet::new();
        let mut wanted: VecDeque<Wanted> = paths.iter().map(|path| Wanted { path: path.clone(), format, by: None }).collect();
        while let Some(next) = wanted.pop_front() {
            let shown = next.path.display().to_string();
            let entry = fs::canonicalize(&next.path).and_then(|path| Ok((fs::metadata(&path)?.is_dir(), path)));
            let read = entry.and_then(|(is_directory, path)| {
                if !done.insert(path.clone()) {
                    return Ok(None);
                }
                if done.len() > MOST_FILES {
                    return Err(io::Error::other(format!("there are more than {MOST_FILES} files")));
                }
                Ok(Some(if is_directory { Read::Directory(list(&path)?) } else { Read::File(read_file(&path)?) }))
            });
            match (read, &next.by) {
                (Ok(None), _) => {}
                (Ok(Some(Read::Directory(names))), _) => {
                    let is_read = |name: &String| next.by.as_ref().is_none_or(|(_, include)| include.takes(name));
                    let below = names.into_iter().filter(is_read).map(|name| Wanted {
                        path: next.path.join(name),
                        format: next.format,
                        by: next.by.clone(),
                    });
                    // Its files come where it is named.
                    below.rev().for_each(|file| wanted.push_front(file));
                }
                (Ok(Some(Read::File(bytes))), _) => match read_text(&shown, next.format, bytes) {
                    Ok(text) => {
                        if let Err(error) = sources.take(&next, &shown, text, &mut wanted)? {
                            findings.push(finding(&shown, error, &sources));
                        }
                    }
                    Err(refused) => findings.push(*refused),
                },
                (Err(error), Some((by, include))) => {
                    findings.push(missing(by, include, format!("{shown} cannot be read: {error}"), &sources));
                }
                (Err(error), None) => return Err(refuse(&next.path, error)),
            }
        }
        findings.append(&mut sources.unread);
        if findings.is_empty() { Ok(sources) } else { Err(Failure::Findings(findings)) }
    }

    /// Takes in what a file holds; the inner error is that it does not read as what it is.
    fn take(
        &mut self,
        file: &Wanted,
        shown: &str,
        text: String,
        wanted: &mut VecDeque<Wanted>,
    ) -> Result<Result<(), SyntaxError>, Failure> {
        let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let format = file.format.or_else(|| import::recognise(&name, &text));
        let Some(format) = format else {
            let error = anyhow::anyhow!("{shown} tells neither by its name nor by its lines what it is");
            return Err(Failure::hinted(error, what_to_do(&text)));
        };
        let text = import::with_line_feeds(&text).into_owned();
        let parsed = import::parse(format, &text);
        self.texts.insert(shown.to_owned(), text);
        let imported = match parsed {
            Ok(imported) => imported,
            Err(error) => return Ok(Err(error)),
        };
        for deletion in &imported.deletions {
            // dhcpd reads its journal after its configuration, and what is deleted there is deleted.
            self.reservations.retain(|(_, earlier)| earlier.declared.as_ref() != Some(&deletion.declared));
        }
        self.mended.extend(imported.mended.into_iter().map(|mended| (shown.to_owned(), mended)));
        self.reservations.extend(imported.machines.into_iter().map(|machine| (shown.to_owned(), machine)));
        self.left.extend(imported.left.into_iter().map(|left| (shown.to_owned(), left)));
        let directory = file.path.parent().unwrap_or(Path::new(""));
        for include in imported.includes.into_iter().rev() {
            // An absolute path stays as it is.
            let path = directory.join(&include.path);
            if include.reach == Reach::File && path.is_dir() {
                self.unread.push(missing(shown, &include, format!("{} is a directory, and no file", path.display()), self));
                continue;
            }
            wanted.push_front(Wanted { path, format: Some(include.format), by: Some((shown.to_owned(), include)) });
        }
        Ok(Ok(()))
    }

    /// The text at a place, fit for a terminal.
    pub fn line(&self, place: &Place) -> Option<String> {
        let text = self.texts.get(&place.file)?.lines().nth((place.line as usize).checked_sub(1)?)?;
        Some(clean(&text.replace('\t', " ")).trim_end().chars().take(200).collect()).filter(|text: &String| !text.is_empty())
    }
}

enum Read {
    Directory(Vec<String>),
    File(Vec<u8>),
}

fn finding(file: &str, error: SyntaxError, sources: &Sources) -> Diagnostic {
    let SyntaxError { line, what } = error;
    let place = super::place_in(&Place { file: file.to_owned(), line }, sources);
    let hint = Some("nothing was taken over; mend the line, or say with --format what the file is".to_owned());
    let (code, message, also) = (Code::new("not-understood"), clean(&what), Vec::new());
    Diagnostic { place, severity: Severity::Error, code, message, hint, also }
}

/// A file that another names as a part of it, and that was not read: what it holds is not absent.
fn missing(by: &str, include: &Include, message: String, sources: &Sources) -> Diagnostic {
    let place = super::place_in(&Place { file: by.to_owned(), line: include.line }, sources);
    let hint = Some("nothing was taken over; copy that file here too, or take this line out of a copy".to_owned());
    let (code, message, also) = (Code::new("include-not-read"), clean(&message), Vec::new());
    Diagnostic { place, severity: Severity::Error, code, message, hint, also }
}

/// The files of a directory as dnsmasq's conf-dir takes them: not what an editor
/// (`~` behind, `#` around) or a package leaves, nor what is hidden.
fn list(directory: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_left_over = name.starts_with('.')
            || name.ends_with('~')
            || name.contains(".dpkg-")
            || (name.starts_with('#') && name.ends_with('#'));
        if !is_left_over && fs::metadata(entry.path())?.is_file() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // A pipe or a terminal would otherwise be waited for.
    let file = fs::OpenOptions::new().read(true).custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20)));
    }
    Ok(bytes)
}

/// What spreadsheet programs keep: a ZIP archive (.xlsx, .ods), or a compound file (.xls).
fn is_workbook(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(&[0xD0, 0xCF, 0x11, 0xE0])
}

/// A file's text, or why it has none that can be used.
fn read_text(shown: &str, format: Option<Format>, bytes: Vec<u8>) -> Result<String, Box<Diagnostic>> {
    let refuse = |code, (line, column), message: String, hint: &str| {
        let place = diagnostic::Place { file: shown.to_owned(), line, column, width: 0, text: None };
        let (severity, code, hint) = (Severity::Error, Code::new(code), Some(hint.to_owned()));
        Err(Box::new(Diagnostic { place, severity, code, message, hint, also: Vec::new() }))
    };
    if is_workbook(&bytes) {
        let hint = "save it from the spreadsheet program as CSV UTF-8, and import that file";
        return refuse("workbook", (0, 0), "this is a workbook, which only a spreadsheet program reads".to_owned(), hint);
    }
    if let Some(text) = utf16(&bytes) {
        return Ok(text);
    }
    match utf8(&bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(problem @ NotUtf8::Utf16) => refuse("not-utf8", (0, 0), problem.to_string(), SAVE_AS_UTF8),
        Err(problem @ NotUtf8::Byte { line, column, .. }) => {
            // Servers read only ASCII; old files of theirs have Latin-1 in comments. A table is read by people, letter by letter.
            let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            let name = Path::new(shown).file_name().unwrap_or_default().to_string_lossy().into_owned();
            match format.or_else(|| import::recognise(&name, &text)) {
                None | Some(Format::Csv) => {
                    let hint = "save the table as CSV UTF-8; in Excel: Save as, CSV UTF-8 (comma delimited)";
                    refuse("not-utf8", (line, column), problem.to_string(), hint)
                }
                Some(_) => Ok(text),
            }
        }
    }
}
