//! The schemas of a site's files and of the documents: what is committed in `schemas/` is what the types say. `UPDATE_SCHEMAS=1` rewrites.

use crate::site::cases::house;
use barista::site::schemas;
use std::{collections::BTreeSet, fs, path::Path};

#[test]
fn committed_schemas_are_the_generated_ones() {
    let generated = tempfile::tempdir().expect("a directory");
    let program = env!("CARGO_BIN_EXE_barista");
    let status = std::process::Command::new(program).args(["schema", "--write"]).arg(generated.path()).status().expect("runs");
    assert!(status.success());
    let directory = house().join("schemas");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        for name in names(generated.path()) {
            fs::copy(generated.path().join(&name), directory.join(&name)).expect("writable");
        }
    }
    assert_eq!(names(&directory), names(generated.path()));
    for name in names(&directory) {
        let text = |directory: &Path| fs::read_to_string(directory.join(&name)).expect("UTF-8");
        let (committed, made) = (text(&directory), text(generated.path()));
        let differs = committed.lines().zip(made.lines()).find(|(old, new)| old != new);
        assert_eq!(differs, None, "{name} has drifted: run the tests with UPDATE_SCHEMAS=1");
        assert_eq!(committed.len(), made.len(), "{name} has drifted: run the tests with UPDATE_SCHEMAS=1");
    }
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8")).collect()
}

/// Each file of the example names its schema in its first line, by a path that leads there.
#[test]
fn every_file_of_the_example_names_its_schema() {
    let example = house().join("site-example");
    let mut named = BTreeSet::new();
    for directory in ["", "network", "images", "machines"] {
        for entry in fs::read_dir(example.join(directory)).expect("a directory of the example") {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                continue;
            }
            let text = fs::read_to_string(&path).expect("UTF-8");
            let target = text.lines().next().and_then(|line| line.strip_prefix("#:schema ")).expect("a schema line");
            let schema = path.parent().unwrap_or(Path::new("")).join(target);
            assert!(schema.is_file(), "{} names {target}", path.display());
            named.insert(schema.file_name().expect("a file").to_owned());
        }
    }
    assert_eq!(named.len(), schemas().len(), "each schema is used");
}

/// Schemas are for TOML: an optional key may be absent, never null, and an unknown key is an error everywhere.
#[test]
fn schemas_know_no_null_and_no_unknown_key() {
    for (name, schema) in schemas() {
        let text = schema.to_string();
        assert!(!text.contains("\"null\""), "{name}");
        let tables = text.matches("\"properties\":{").count() - text.matches("\"properties\":{\"kind\":{\"const\"").count();
        assert_eq!(text.matches("\"additionalProperties\":false").count(), tables, "{name}");
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{name}");
        assert!(schema["title"].as_str().is_some_and(|title| title.starts_with("barista: ")), "{name}");
    }
}
