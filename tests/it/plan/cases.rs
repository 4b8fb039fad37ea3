//! Plans by example: `tests/cases/plan/<case>/` has a site, a host as it was observed, and the plan that follows; its README says how
//! to add one.

use crate::room::{Files, Room, cafe, compute, prepare, text};
use barista::host::render_ops;
use barista::observed::{FileStamp, Observation, Seen};
use jiff::Timestamp;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Writes what is compared otherwise.
const UPDATE: &str = "UPDATE_CASES";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/plan")
}

/// Whether the cases are to be written anew.
fn is_updating() -> bool {
    std::env::var_os(UPDATE).is_some()
}

/// The plan of a case and its operations.
fn plan_of(files: &Files, observed: &str) -> (String, String) {
    let observation: Observation = serde_json::from_str(observed).unwrap_or_else(|error| panic!("observed.json: {error}"));
    let plan = compute(&prepare(files), &observation);
    (text(&plan), render_ops(&plan))
}

/// Files below a directory by their path from there.
fn read_site(root: &Path, below: &Path, files: &mut Files) {
    for entry in fs::read_dir(below).unwrap_or_else(|error| panic!("{}: {error}", below.display())) {
        let path = entry.expect("lists").path();
        if path.is_dir() {
            read_site(root, &path, files);
        } else {
            let name = path.strip_prefix(root).expect("is below").display().to_string();
            files.insert(name, fs::read_to_string(&path).expect("is text"));
        }
    }
}

/// What this machine's file system says of the sources is another with every run, and no plan goes by it.
fn steady(observation: &mut Observation) {
    let moment: Timestamp = "2026-11-01T00:00:00Z".parse().expect("a moment");
    for (source, number) in observation.sources.values_mut().zip(1..) {
        if let Seen::Present(source) = source {
            let size = source.stamp.size;
            source.stamp = FileStamp { device: 1, inode: number, size, modified: moment, status_changed: moment };
        }
    }
}

impl Room {
    /// Keeps this moment as a case, where cases are written anew: the site that is to come, and the host as it is.
    pub fn keep_as_case(&self, name: &str, files: &Files) {
        if !is_updating() {
            return;
        }
        let case = directory().join(name);
        drop(fs::remove_dir_all(&case));
        for (path, text) in files {
            let path = case.join("site").join(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("writable");
            fs::write(path, text.trim_start()).expect("writable");
        }
        let mut observation = self.observe(&prepare(files));
        steady(&mut observation);
        let observation = serde_json::to_string_pretty(&observation).expect("serialises");
        let observed = observation.replace(&self.state.path().display().to_string(), "/var/lib/barista") + "\n";
        let (plan, ops) = plan_of(files, &observed);
        fs::write(case.join("observed.json"), observed).expect("writable");
        fs::write(case.join("plan.txt"), plan).expect("writable");
        fs::write(case.join("ops.txt"), ops).expect("writable");
    }
}

#[test]
fn every_case_is_planned_as_its_files_say() {
    let mut wrong = Vec::new();
    let mut count = 0;
    let mut cases: Vec<PathBuf> =
        fs::read_dir(directory()).expect("there are cases").map(|entry| entry.expect("lists").path()).collect();
    cases.sort();
    for case in cases.into_iter().filter(|path| path.is_dir()) {
        count += 1;
        let mut files = Files::new();
        read_site(&case.join("site"), &case.join("site"), &mut files);
        let read = |name: &str| fs::read_to_string(case.join(name)).unwrap_or_default();
        let (plan, ops) = plan_of(&files, &read("observed.json"));
        for (name, is) in [("plan.txt", plan), ("ops.txt", ops)] {
            if is_updating() {
                fs::write(case.join(name), is).expect("writable");
            } else if read(name) != is {
                let diff =
                    similar::TextDiff::from_lines(read(name).as_str(), is.as_str()).unified_diff().context_radius(3).to_string();
                wrong.push(format!("{}/{name}:\n{diff}", case.display()));
            }
        }
    }
    assert!(count > 0, "no case was found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bb_what_was_changed_by_hand_is_put_back() {
    let room = Room::new();
    room.settle(&cafe(1));
    let target = room.target("pc01", "beta");
    let group = format!("iscsi/{target}/tpgt_1");
    let tree = room.host.system().configfs;
    tree.write(&format!("{group}/attrib/demo_mode_write_protect"), "0").expect("writable");
    tree.write(&format!("{group}/param/HeaderDigest"), "CRC32C").expect("writable");
    room.keep_as_case("bb_attributes_were_changed_by_hand", &cafe(1));
    room.settle(&cafe(1));
}

#[test]
fn r_a_used_side_of_one_of_many_seats_touches_nothing_of_the_others() {
    let room = Room::new();
    room.settle(&cafe(3));
    room.use_seat(&cafe(3), "pc01", "alpha");
    room.keep_as_case("r_one_of_three_seats_was_used", &cafe(3));
    let plan = room.plan(&cafe(3));
    assert!(
        plan.open().all(|change| change.subject.machine().is_none_or(|machine| machine.as_str() == "pc01")),
        "{}",
        text(&plan)
    );
}
