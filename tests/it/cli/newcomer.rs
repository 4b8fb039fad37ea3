//! What a newcomer types: `tests/cases/site/newcomer/<case>/cafe/` is a small site with one mistake, and `output.txt` all that
//! `barista check` says there, with its exit code. `UPDATE_CASES=1` rewrites; the difference is reviewed like code.
//! A case with a `directory.txt` runs in that directory, seen from the site.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

fn cases() -> Vec<PathBuf> {
    let root = crate::site::cases::house().join("tests/cases/site/newcomer");
    let mut all: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// Standard output, standard error and the exit code of `check` in a directory.
fn check(directory: &Path, arguments: &[&str]) -> (String, String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_barista"));
    let output = command.arg("check").args(arguments).current_dir(directory).env_clear().output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

#[test]
fn a_newcomers_mistake_is_one_finding_that_says_what_to_write() {
    let cases = cases();
    assert!(cases.len() >= 180, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let elsewhere = tempfile::tempdir().unwrap();
        let at = fs::read_to_string(case.join("directory.txt")).unwrap_or_default();
        let directory = match at.trim() {
            "elsewhere" => elsewhere.path().to_owned(),
            at => case.join("cafe").join(at),
        };
        let (data, beside, code) = check(&directory, &[]);
        let printed = format!("{data}{beside}exit {}\n", code.unwrap());
        let printed = printed.replace(&*elsewhere.path().to_string_lossy(), "/elsewhere");
        let printed = printed.replace(&*case.to_string_lossy(), "/srv");
        let file = case.join("output.txt");
        if std::env::var_os("UPDATE_CASES").is_some() {
            fs::write(&file, &printed).unwrap();
        }
        let expected = fs::read_to_string(&file).unwrap_or_default();
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        if printed != expected {
            wrong.push(format!("{name}\n--- expected\n{expected}--- found\n{printed}"));
        }
        let findings =
            printed.lines().filter(|line| ["error", "warning", "note"].iter().any(|word| line.starts_with(word))).count();
        let two = [
            "a_version_that_looks_like_a_date",
            "a_version_that_looks_like_a_number",
            "gateway_and_netmask",
            "a_copy_that_an_editor_left",
            // A machine that is there twice, and two with the card of another.
            "a_copy_of_a_row_that_was_changed_in_part",
        ]
        .contains(&name.as_str());
        if findings != if two { 2 } else { 1 } {
            wrong.push(format!("{name}: {findings} findings for one mistake\n{printed}"));
        }
        if !printed.contains("\n  hint: ") {
            wrong.push(format!("{name}: no hint\n{printed}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_check_of_a_large_directory_that_is_no_site_ends_at_once() {
    let start = Instant::now();
    let (_, beside, code) = check(Path::new("/"), &[]);
    assert_eq!(code, Some(1));
    assert!(beside.contains("is no site") && beside.contains("hint: "), "{beside}");
    assert!(start.elapsed().as_secs() < 10, "took {:?}", start.elapsed());
}
