//! The shape of the house: which room may use which, and how large a room may be.

use barista::serve::dhcp::quirks::QUIRKS;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// What each room may use. A room stands for its files; where a part of a room has its own place in the order, the longer
/// name wins.
const EDGES: &[(&str, &[&str])] = &[
    ("names", &[]),
    ("book", &[]),
    ("diagnostic", &[]),
    ("site", &["names", "diagnostic"]),
    ("observed", &["names"]),
    ("boot::table", &["names", "desired"]),
    ("boot::assignment", &["names"]),
    ("transcript", &["names", "boot::assignment"]),
    ("desired", &["names", "site"]),
    // What the plan compares and publishes.
    ("boot", &["names", "desired", "boot"]),
    ("plan", &["names", "diagnostic", "site", "desired", "observed", "boot", "transcript"]),
    // The one function that opens what others may write; repositories are such too.
    ("host::untrusted", &["names", "observed"]),
    // What root says of this host; the serving half, which is another user's process, reads it for itself.
    ("host::settings", &[]),
    ("host", &["names", "diagnostic", "site", "desired", "observed", "plan", "boot", "transcript"]),
    // Serving stands above the boot table alone: no packet parser knows of plans or the host.
    ("serve", &["names", "desired", "boot", "transcript", "host::settings"]),
    ("deploy", &["names", "site", "observed", "host::untrusted"]),
    ("agent", &["names", "diagnostic", "site", "desired", "observed", "plan", "host", "boot", "serve", "transcript", "deploy"]),
    ("diagnose", &["names", "diagnostic", "site", "desired", "observed", "plan", "host", "boot", "serve", "transcript"]),
    ("exchange", &["names", "desired", "boot"]),
    (
        "cli",
        &[
            "names",
            "diagnostic",
            "site",
            "desired",
            "observed",
            "plan",
            "host",
            "boot",
            "serve",
            "transcript",
            "deploy",
            "agent",
            "diagnose",
            "exchange",
        ],
    ),
    ("main", &["cli"]),
];

/// No file is larger: past this it is two rooms.
const LARGEST_FILE: usize = 600;

#[test]
fn rooms_use_only_what_stands_below_them() {
    let mut offences = Vec::new();
    for file in sources(Path::new("src")).into_iter().filter(|path| !is_tests(path)) {
        let Some(room) = room_of_file(&file) else { continue };
        let text = fs::read_to_string(&file).unwrap();
        for (line, used) in uses(&text) {
            let used_room = room_of_path(&used);
            if used_room != room && !allowed(room, used_room, &used) {
                offences.push(format!("{}:{line}: {room} uses crate::{used}", file.display()));
            }
        }
    }
    assert!(offences.is_empty(), "edges that the house does not have:\n{}", offences.join("\n"));
}

#[test]
fn no_file_outgrows_its_room() {
    let long = |path: &Path, most: usize| {
        let lines = fs::read_to_string(path).unwrap().lines().count();
        (lines > most).then(|| format!("{}: {lines} lines, more than {most}", path.display()))
    };
    let mut offences: Vec<String> = [Path::new("src"), Path::new("tests")]
        .into_iter()
        .flat_map(sources)
        .filter_map(|path| long(&path, LARGEST_FILE))
        .collect();
    offences.extend(long(Path::new("src/main.rs"), 39));
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn every_module_opens_with_what_it_is_for() {
    let bare: Vec<PathBuf> = sources(Path::new("src"))
        .into_iter()
        .filter(|path| !is_tests(path) && !fs::read_to_string(path).unwrap().starts_with("//! "))
        .collect();
    assert!(bare.is_empty(), "no //! at the top of {bare:?}");
}

#[test]
fn the_reader_of_use_lines_finds_every_form() {
    let text = "use crate::{\n    names::{MacAddr, Iqn},\n    plan,\n};\nuse crate::boot::table::BootTable;\n//! crate::cli::commands\nlet x = crate::host::apply();\npub(crate) use a;\nuse crate::boot::{table::BootTable, chap};\n";
    let found: Vec<String> = uses(text).into_iter().map(|(line, path)| format!("{line} {path}")).collect();
    assert_eq!(
        found,
        [
            "1 names::MacAddr",
            "1 names::Iqn",
            "1 plan",
            "5 boot::table::BootTable",
            "7 host::apply",
            "9 boot::table::BootTable",
            "9 boot::chap"
        ]
    );
    assert_eq!(room_of_path("boot::table::BootTable"), "boot::table");
    assert_eq!(room_of_path("boot::chap"), "boot");
    assert!(allowed("plan", "boot::table", "boot::table::BootTable") && !allowed("plan", "serve", "serve::Served"));
}

fn allowed(room: &str, used_room: &str, used: &str) -> bool {
    // lib.rs declares only; what is named there that is no room is a macro or a constant of the crate.
    let Some((_, below)) = EDGES.iter().find(|(name, _)| *name == room) else { return false };
    below.contains(&used_room) || below.iter().any(|b| used_room.starts_with(&format!("{b}::")) || used == *b)
}

/// A room's own tests, `tests.rs` or what lies in `tests/`, stand outside the order.
fn is_tests(path: &Path) -> bool {
    path.with_extension("").iter().any(|part| part == "tests")
}

/// Every `.rs` file below a directory, sorted.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The room a file belongs to; none for lib.rs, the map.
fn room_of_file(file: &Path) -> Option<&'static str> {
    let path = file.strip_prefix("src").unwrap().with_extension("");
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    (parts != ["lib"]).then(|| room_of_path(&parts.join("::")))
}

/// The room a path below `crate::` belongs to.
fn room_of_path(path: &str) -> &'static str {
    let belongs = |name: &str| path == name || path.strip_prefix(name).is_some_and(|rest| rest.starts_with("::"));
    let rooms: BTreeMap<usize, &'static str> =
        EDGES.iter().filter(|(name, _)| belongs(name)).map(|(name, _)| (name.len(), *name)).collect();
    rooms.into_values().next_back().unwrap_or_else(|| panic!("crate::{path} belongs to no room of the house"))
}

/// Every path below `crate::` that a file names outside comments, with its line; groups are taken apart.
fn uses(text: &str) -> Vec<(usize, String)> {
    let code: String = text
        .lines()
        .map(|line| if line.trim_start().starts_with("//") { "\n".to_owned() } else { format!("{line}\n") })
        .collect();
    let mut found = Vec::new();
    for (at, mark) in code.match_indices("crate::") {
        if code[..at].ends_with("$") || code[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let mut paths = Vec::new();
        expand(&code[at + mark.len()..], "", &mut paths);
        found.extend(paths.into_iter().map(|path| (line, path)));
    }
    found
}

/// Takes one path or group apart and returns what is left of the text behind it.
fn expand<'a>(text: &'a str, prefix: &str, found: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = expand(rest, prefix, found).trim_start().trim_start_matches(',').trim_start();
            match rest.strip_prefix('}') {
                Some(after) => return after,
                None if rest.is_empty() => return rest,
                None => {}
            }
        }
    }
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '*')).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    if word.is_empty() {
        // Something that is no path: leave the group, if we are in one.
        return text.get(1..).unwrap_or_default();
    }
    let path = if prefix.is_empty() { word.to_owned() } else { format!("{prefix}::{word}") };
    if let Some(below) = rest.strip_prefix("::") {
        return expand(below, &path, found);
    }
    found.push(path);
    let rest = rest.trim_start();
    rest.strip_prefix("as ")
        .map_or(rest, |alias| alias.trim_start().trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_'))
}

#[test]
fn every_reference_to_a_quirk_has_its_row_and_every_row_its_test() {
    let files = [Path::new("src"), Path::new("tests")].into_iter().flat_map(sources);
    let texts: Vec<(PathBuf, String)> = files.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect();
    let known: Vec<String> = QUIRKS.iter().map(|quirk| quirk.number.to_string()).collect();
    let mut offences = Vec::new();
    let mut referred = BTreeMap::new();
    for (path, text) in &texts {
        for (line, number) in text.lines().enumerate().flat_map(|(n, line)| quirks_of(line).map(move |number| (n + 1, number))) {
            referred.insert(number.clone(), ());
            if !known.contains(&number) {
                offences.push(format!("{}:{line}: C{number} has no row", path.display()));
            }
        }
    }
    for quirk in QUIRKS {
        let missing = quirk.tests.iter().filter(|test| !texts.iter().any(|(_, text)| text.contains(&format!("fn {test}("))));
        offences.extend(missing.map(|test| format!("C{}: there is no test {test}", quirk.number)));
        if !referred.contains_key(&quirk.number.to_string()) {
            offences.push(format!("C{}: nothing refers to it", quirk.number));
        }
    }
    assert!(QUIRKS.is_sorted_by_key(|quirk| quirk.number) && offences.is_empty(), "{}", offences.join("\n"));
}

/// The quirks a line refers to: `(C13)`, `C13, C14` in a comment, `_c13` in a test's name.
fn quirks_of(line: &str) -> impl Iterator<Item = String> {
    let is_name = line.trim_start().starts_with("fn ");
    let is_comment = line.contains("//") || line.contains('"');
    let words = line.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter_map(move |word| {
        let digits = if is_name { word.strip_prefix('c')? } else { word.strip_prefix('C').filter(|_| is_comment)? };
        let is_number = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.to_owned())
    })
}
