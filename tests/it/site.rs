//! Sites in folders: `tests/cases/site/valid/<case>/` load without a finding of weight, `invalid/<case>/` load to exactly
//! `findings.txt`. `UPDATE_CASES=1` rewrites the latter; the difference is reviewed like code.

use barista::site::{Checked, Entry, Severity, Tree, load};
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

fn printed(checked: &Checked) -> String {
    checked.findings.iter().map(|finding| format!("{finding}\n")).collect()
}

#[test]
fn the_example_site_has_nothing_to_find() {
    let checked = load(&tree_of(&house().join("site-example")));
    assert_eq!(printed(&checked), "");
    let site = checked.site.expect("no finding, so a site");
    assert_eq!((site.machines.len(), site.images.len(), site.networks.len()), (22, 6, 1));
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
