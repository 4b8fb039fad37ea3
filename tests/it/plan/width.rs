//! The plan of a café of forty machines is read on a terminal of 80 columns and 30 lines. The texts are those of
//! `tests/cases/plan_text/`; `UPDATE_CASES=1` rewrites them, the difference is reviewed like code.

use crate::room::{Files, Room, cafe, disk, text, with};
use std::fs;
use unicode_width::UnicodeWidthStr as _;

const MACHINES: usize = 40;

/// Insists that a plan's text is the one of a file, and fits.
fn expect_text(name: &str, found: &str) {
    let file = crate::site::cases::house().join(format!("tests/cases/plan_text/{name}.txt"));
    if std::env::var_os("UPDATE_CASES").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, found).unwrap();
    }
    let wide: Vec<&str> = found.lines().filter(|line| line.width() > 80).collect();
    assert!(wide.is_empty(), "{name}: wider than 80 columns: {wide:#?}\n{found}");
    assert!(found.lines().count() <= 30, "{name}: {} lines\n{found}", found.lines().count());
    assert_eq!(found, fs::read_to_string(&file).unwrap_or_default(), "{name}");
}

/// Forty machines, a Windows that is reset, a Ubuntu that is kept, and games.
fn room() -> Files {
    let mut files = cafe(MACHINES);
    let mut put = |name: &str, text: String| drop(files.insert(format!("images/{name}.toml"), text));
    put("alpha", disk("alpha", "every-boot", "2026-10", &["2026-10"], "title = \"视窗 11 电竞版\"\ndata-disks = [\"games\"]"));
    files
}

/// The same with a new version of Windows, at which every machine's disk changes.
fn next(files: &Files) -> Files {
    let versions =
        disk("alpha", "every-boot", "2026-11", &["2026-10", "2026-11"], "title = \"视窗 11 电竞版\"\ndata-disks = [\"games\"]");
    let mut files = files.clone();
    files.insert("images/alpha.toml".to_owned(), versions);
    files
}

#[test]
fn the_first_plan_of_forty_machines_fits_a_terminal() {
    let house = Room::new();
    expect_text("first", &text(&house.plan(&room())));
}

#[test]
fn a_new_version_for_forty_machines_fits_a_terminal() {
    let house = Room::new();
    let files = room();
    house.settle(&files);
    expect_text("current_changed", &text(&house.plan(&next(&files))));
}

#[test]
fn a_new_version_of_a_kept_disk_for_forty_machines_fits_a_terminal() {
    let house = Room::new();
    let files = room();
    house.settle(&files);
    let mut next = files.clone();
    next.insert("images/beta.toml".to_owned(), disk("beta", "on-update", "2", &["1", "2"], ""));
    expect_text("kept_disk_replaced", &text(&house.plan(&next)));
    let half = with(&files, "images/games.toml", "size = \"64MiB\"", "size = \"128MiB\"");
    expect_text("data_disk_grows", &text(&house.plan(&half)));
}

#[test]
fn a_cafe_whose_volume_group_is_missing_is_told_so_in_a_terminal_of_text() {
    let house = Room::empty();
    expect_text("no_volume_group", &text(&house.plan(&room())));
}
