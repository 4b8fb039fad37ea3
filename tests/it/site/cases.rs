//! Sites in folders: `tests/cases/site/valid/<case>/` load without a finding of weight, `invalid/<case>/` load to exactly
//! `findings.txt`. `UPDATE_CASES=1` rewrites the latter; the difference is reviewed like code.

use barista::diagnostic::Severity;
use barista::site::{Checked, Entry, Tree, load};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// A directory as a tree. `findings.txt` is the case's own. A name ending in `.link` is a link to what the file says.
pub fn tree_of(root: &Path) -> Tree {
    let mut entries = BTreeMap::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory of the repository") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(root).expect("below its root").to_str().expect("UTF-8").to_owned();
            let bytes = fs::read(&path).expect("readable");
            match name.strip_suffix(".link") {
                _ if name == "findings.txt" => {}
                Some(link) => {
                    let target = String::from_utf8(bytes).expect("UTF-8").trim().to_owned();
                    entries.insert(link.to_owned(), Entry::Symlink(target));
                }
                None => {
                    entries.insert(name, Entry::File(bytes));
                }
            }
        }
    }
    Tree { entries }
}

pub fn house() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn cases(kind: &str) -> Vec<PathBuf> {
    let root = house().join("tests/cases/site").join(kind);
    let mut all: Vec<PathBuf> = fs::read_dir(root).expect("the cases").map(|entry| entry.expect("readable").path()).collect();
    all.sort();
    assert!(!all.is_empty());
    all
}

/// What is wrong; what merely follows is asked for by itself.
fn printed(checked: &Checked) -> String {
    let wrong = checked.findings.iter().filter(|finding| finding.severity != Severity::Note);
    wrong.map(|finding| format!("{finding}\n")).collect()
}

#[test]
fn a_check_says_where_a_reset_costs_a_wait() {
    let notes = |tree: &Tree| -> Vec<String> {
        let notes = load(tree).findings.into_iter().filter(|finding| finding.severity == Severity::Note);
        notes.map(|finding| finding.to_string()).collect()
    };
    let mut tree = tree_of(&house().join("site-example"));
    let found = notes(&tree);
    assert!(
        matches!(&found[..], [one] if one.contains("images/win11.toml:11:") && one.contains("games is the same disk")),
        "{found:?}"
    );
    for (mode, heard) in [("proxy", true), ("off", false)] {
        let lan = "interface = \"br0\"\nsubnet = \"192.168.1.0/24\"\nmode = ".to_owned() + &format!("{mode:?}\n");
        tree.entries.insert("network/lan.toml".to_owned(), Entry::File(lan.into_bytes()));
        let found = notes(&tree);
        let unheard = found.iter().filter(|note| note.contains("network/lan.toml:3:") && note.contains("three fetches")).count();
        assert_eq!(unheard == 0, heard, "{mode}: {found:?}");
    }
}

#[test]
fn the_example_site_has_nothing_to_find() {
    let checked = load(&tree_of(&house().join("site-example")));
    assert_eq!(printed(&checked), "");
    let site = checked.site.expect("no finding, so a site");
    assert_eq!((site.machines.len(), site.images.len(), site.networks.len()), (22, 6, 1));
}

/// As editors of Windows save it; iPXE takes the mark for a part of the first word.
#[test]
fn a_template_is_read_without_the_mark_of_byte_order() {
    let mut tree = tree_of(&house().join("site-example"));
    tree.entries.insert("templates/machine.ipxe".to_owned(), Entry::File("\u{feff}#!ipxe\nshell\n".into()));
    let site = load(&tree).site.expect("nothing is wrong");
    assert_eq!(site.templates["machine.ipxe"], "#!ipxe\nshell\n");
    assert!(barista::plan::prepare(&site).is_ok());
}

#[test]
fn valid_sites_load() {
    for case in cases("valid") {
        let checked = load(&tree_of(&case));
        assert_eq!(printed(&checked), "", "{}", case.display());
        assert!(checked.site.is_some(), "{}", case.display());
    }
}

#[test]
fn invalid_sites_are_answered_with_exactly_their_findings() {
    let mut wrong = Vec::new();
    for case in cases("invalid") {
        let checked = load(&tree_of(&case));
        let found = printed(&checked);
        let file = case.join("findings.txt");
        if std::env::var_os("UPDATE_CASES").is_some() {
            fs::write(&file, &found).expect("writable");
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- found\n{found}", case.display()));
        }
        assert!(!found.is_empty(), "{} has nothing wrong", case.display());
        let refused = checked.findings.iter().any(|finding| finding.severity == Severity::Error);
        assert_eq!(checked.site.is_none(), refused, "{}", case.display());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The example with one entry more, or another in its place, and what is found.
fn example_with(path: &str, entry: Entry) -> String {
    let mut tree = tree_of(&house().join("site-example"));
    tree.entries.insert(path.to_owned(), entry);
    printed(&load(&tree))
}

#[test]
fn what_cannot_be_read_is_never_taken_as_absent() {
    let denied = || Entry::Unreadable("permission denied".to_owned());
    for path in
        ["site.toml", "machines", "machines/row-a.toml", "images/games.toml", "network/lan.toml", "templates/machine.ipxe"]
    {
        let found = example_with(path, denied());
        assert!(
            found.starts_with(&format!("error[unreadable]: {path}: this cannot be read: permission denied\n")),
            "{path}: {found}"
        );
        assert_eq!(found.matches("error[").count(), 1, "nothing is called missing for it: {found}");
    }
    let found = example_with("images/win11.raw", Entry::TooLarge(70 << 20));
    assert!(found.starts_with("warning[disk-in-git]: images/win11.raw: this is a disk, and no text of a site"), "{found}");
    assert_eq!(example_with("photo.jpg", denied()), "", "what is never read need not be readable");
}

#[test]
fn a_path_stays_within_the_site() {
    for path in ["../site.toml", "images/../site.toml", "/site.toml", "images//a.toml", "images/a\u{1b}.toml", "machines/.", ""] {
        let found = example_with(path, Entry::File(Vec::new()));
        assert!(found.contains("is not one a site may hold"), "{path:?}: {found}");
    }
    let found = example_with("templates", Entry::File(Vec::new()));
    assert!(found.starts_with("error[not-a-directory]: templates: this is a file, and must be a directory"), "{found}");
}

#[test]
fn a_file_may_measure_one_mebibyte_and_no_more() {
    let comment = |size: usize| Entry::File([b"kind = \"local\" #".as_slice(), "x".repeat(size - 16).as_bytes()].concat());
    assert_eq!(example_with("images/other.toml", comment(1 << 20)), "");
    let found = example_with("images/other.toml", comment((1 << 20) + 1));
    assert!(
        found.starts_with("error[file-too-large]: images/other.toml: this file has 1048577 bytes and is larger than 1 MiB"),
        "{found}"
    );
}

#[test]
fn a_large_file_that_is_no_part_of_a_site_is_told_before_the_push_that_is_too_large() {
    for path in ["backup.bin", "assets/debian/linux", "images/setup.exe"] {
        let found = example_with(path, Entry::TooLarge((70 << 20) + 1));
        let said = format!("warning[large-in-git]: {path}: this file has 71 MiB, and is no part of a site: it is not read\n");
        assert!(found.contains(&said), "{path}: {found}");
        assert!(found.contains(&format!("git rm --cached '{path}'")) && !found.contains("error["), "{path}: {found}");
    }
    let found = example_with("images/other.toml", Entry::TooLarge((1 << 20) + 1));
    assert!(found.starts_with("error[file-too-large]: images/other.toml: this file has 1048577 bytes"), "{found}");
    assert_eq!(example_with("README.md", Entry::File(vec![b'x'; 1 << 20])), "", "a page of text is nobody's trouble");
}

/// A source of numbers that is the same on every run (Numerical Recipes' LCG, high bits).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

/// What mutations put in: what TOML, names, scripts and terminals are sensitive to.
const SHARDS: [&[u8]; 24] = [
    b"\"",
    b"'",
    b"[",
    b"]",
    b"[[",
    b"=",
    b"\n",
    b"\\u0000",
    b"${x}",
    b"..",
    b"/",
    b"\xff",
    b"\xe2\x80\xae",
    b"{",
    b"}",
    b",",
    b"-1",
    b"1e9",
    b"2026-11-14",
    b"true",
    b"\"\"\"",
    b"\r",
    b".a.b.c = 1\n",
    b"#",
];

fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let at = dice.below(bytes.len() + 1);
    match dice.below(5) {
        0 => {
            let end = (at + dice.below(12)).min(bytes.len());
            bytes.drain(at..end);
        }
        1 => {
            let shard = SHARDS[dice.below(SHARDS.len())];
            bytes.splice(at..at, shard.iter().copied());
        }
        2 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = dice.below(256) as u8;
            }
        }
        3 => {
            // A line twice: duplicate keys, duplicate tables.
            let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            if !lines.is_empty() {
                let line = lines[dice.below(lines.len())];
                lines.insert(dice.below(lines.len()), line);
                *bytes = lines.concat();
            }
        }
        _ => {
            // Two lines change places: keys move to other tables.
            let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            if !lines.is_empty() {
                let (a, b) = (dice.below(lines.len()), dice.below(lines.len()));
                lines.swap(a, b);
                *bytes = lines.concat();
            }
        }
    }
}

/// What holds for every tree whatever is in it.
fn assert_sound(tree: &Tree) {
    let checked = load(tree);
    let refused = checked.findings.iter().any(|finding| finding.severity == Severity::Error);
    assert_eq!(checked.site.is_none(), refused, "{}", printed(&checked));
    assert!(checked.findings.is_sorted());
    for finding in &checked.findings {
        assert!(!finding.place.file.is_empty() && !finding.message.is_empty());
        assert_eq!(finding.place.line == 0, finding.place.column == 0, "{finding}");
        let code = finding.code.as_str();
        assert!(!code.is_empty() && code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{code}");
        assert!(finding.also.is_sorted() && finding.also.iter().all(|line| *line > finding.place.line), "{finding}");
        let shown = finding.to_string();
        assert!(!shown.replace('\n', "").contains(char::is_control), "{shown:?}");
        if let (Some(Entry::File(bytes)), 1..) = (tree.entries.get(&finding.place.file), finding.place.line) {
            let line = bytes.split(|byte| *byte == b'\n').nth(finding.place.line as usize - 1);
            let line = line.unwrap_or_else(|| panic!("{finding}: the file has no such line"));
            assert!(finding.place.column as usize <= line.len() + 1, "{finding}: the line has no such column");
        }
    }
    assert_eq!(load(tree), checked, "the same tree, the same answer");
}

#[test]
fn a_damaged_site_is_answered_and_never_believed() {
    let mut dice = Dice(7);
    let mut sites = cases("valid");
    sites.push(house().join("site-example"));
    for site in sites {
        let whole = tree_of(&site);
        for _ in 0..200 {
            let mut tree = whole.clone();
            for _ in 0..=dice.below(4) {
                let pick = dice.below(tree.entries.len());
                if let Some(Entry::File(bytes)) = tree.entries.values_mut().nth(pick) {
                    mutate(bytes, &mut dice);
                }
            }
            assert_sound(&tree);
        }
    }
}

#[test]
fn noise_is_answered_in_bounded_time_and_bounded_words() {
    let mut dice = Dice(11);
    let whole = tree_of(&house().join("site-example"));
    let letters = |alphabet: &[u8], size: usize, dice: &mut Dice| -> Vec<u8> {
        (0..size).map(|_| alphabet[dice.below(alphabet.len())]).collect()
    };
    let any: Vec<u8> = (0..=255).collect();
    // The largest file that is read; an unoptimized build is given less of it.
    let size = if cfg!(debug_assertions) { 1 << 16 } else { (1 << 20) - 1 };
    let noises = [
        letters(&any, size, &mut dice),
        letters(b"[]{}=.,\"'# \nab1", size, &mut dice),
        letters(b"[", size, &mut dice),
        letters(b"[\n", size, &mut dice),
        letters(b"a=\n", size, &mut dice),
        letters(b"\"", size, &mut dice),
        b"[[machine]]\n".repeat(size / 12),
        b"a.b.c.d.e.f.g.h=1\n".repeat(size / 18),
        [b"x = ", b"[".repeat(size - 10).as_slice()].concat(),
        [b"boot = [", b"1,".repeat(size / 2 - 10).as_slice(), b"]"].concat(),
        [b"[defaults]\nboot = [", b"\"win11\",".repeat(size / 8 - 10).as_slice(), b"]"].concat(),
        (0..size / 12).flat_map(|n| format!("k{n:07} = 1\n").into_bytes()).collect(),
        (0..size / 12).flat_map(|n| format!("[t{n:07}]\n").into_bytes()).collect(),
    ];
    for (index, noise) in noises.into_iter().enumerate() {
        for path in ["site.toml", "machines/row-a.toml", "images/win11.toml", "network/lan.toml"] {
            let mut tree = whole.clone();
            tree.entries.insert(path.to_owned(), Entry::File(noise.clone()));
            let start = std::time::Instant::now();
            let checked = load(&tree);
            let taken = start.elapsed();
            assert!(checked.site.is_none(), "noise {index} in {path} made a site");
            assert!(checked.findings.len() < 500, "noise {index} in {path}: {} findings", checked.findings.len());
            assert!(printed(&checked).len() < 1_000_000, "noise {index} in {path}");
            // Far above what it takes, far below what a pusher would wait; the machine may be busy.
            assert!(taken.as_secs() < 30, "noise {index} in {path} took {taken:?}");
        }
    }
}

/// A site of so many machines: `machines/` files of 5,000 each, every machine with an address and two images.
fn crowd(machines: u32) -> Tree {
    let mut tree = tree_of(&house().join("site-example"));
    tree.entries.retain(|path, _| !path.starts_with("machines/"));
    let lan = "interface = \"eno1\"\nmode = \"server\"\nsubnet = \"10.0.0.0/8\"\nrouter = \"10.255.0.1\"\n";
    tree.entries.insert("network/lan.toml".to_owned(), Entry::File(lan.into()));
    for first in (0..machines).step_by(5000) {
        let mut text = String::from("[defaults]\nboot = [\"win11\", \"ubuntu\"]\nfirmware = \"uefi\"\n");
        for n in first..machines.min(first + 5000) {
            let [_, a, b, c] = n.to_be_bytes();
            let (octet, last) = (n / 250, n % 250 + 1);
            let ip = format!("10.{}.{}.{last}", octet / 256, octet % 256);
            text += &format!("[[machine]]\nname = \"pc{n:06}\"\nmac = \"88:ae:dd:{a:02x}:{b:02x}:{c:02x}\"\nip = \"{ip}\"\n");
        }
        tree.entries.insert(format!("machines/row-{first:06}.toml"), Entry::File(text.into_bytes()));
    }
    tree
}

#[test]
fn two_thousand_machines_load() {
    let checked = load(&crowd(2000));
    assert_eq!(checked.site.map(|site| site.machines.len()), Some(2000), "{:?}", checked.findings.first());
}

#[test]
#[ignore = "a hundred thousand machines are for an optimized build"]
fn a_hundred_thousand_machines_load_in_seconds() {
    let tree = crowd(100_000);
    let start = std::time::Instant::now();
    let checked = load(&tree);
    assert!(start.elapsed().as_secs() < 10, "took {:?}", start.elapsed());
    assert_eq!(checked.site.map(|site| site.machines.len()), Some(100_000), "{:?}", checked.findings.first());
}

#[test]
fn a_script_longer_than_any_ipxe_reads_is_refused() {
    let mut files = crate::room::cafe(1);
    files.insert("templates/machine.ipxe".into(), "#!ipxe\n{{ \"x\" * 20000000 }}\n".into());
    let entries = files.into_iter().map(|(path, text)| (path, Entry::File(text.into_bytes()))).collect();
    let site = load(&Tree { entries }).site.expect("its TOML is right");
    let refused = barista::plan::prepare(&site).expect_err("20 MB");
    assert!(refused[0].to_string().contains("longer than 256 KiB"), "{refused:?}");
}
