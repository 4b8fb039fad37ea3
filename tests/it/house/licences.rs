//! What the program is linked with: every licence is one of a list, and what must not come in does not.
//!
//! Advisories are judged by name alone here, for a test asks nobody: what RUSTSEC calls unmaintained or unsound for good stands in
//! [`BANNED`]. Whoever releases runs `cargo deny check advisories` too, which fetches the database.

use serde_json::Value;
use std::{collections::BTreeMap, process::Command};

/// Licences of which one is enough; of an expression with AND each part must be here.
const ALLOWED: [&str; 11] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// What may not be linked, and why.
const BANNED: [(&str, &str); 14] = [
    ("openssl-sys", "the program speaks no TLS; it would tie it to a library of the host"),
    ("openssl", "likewise"),
    ("native-tls", "likewise"),
    ("libssh2-sys", "git2 reads repositories of this host only"),
    ("reqwest", "nothing is fetched"),
    ("async-std", "unmaintained (RUSTSEC-2025-0052); tokio is the one runtime"),
    ("atty", "unmaintained and unsound (RUSTSEC-2024-0375, RUSTSEC-2021-0145)"),
    ("ansi_term", "unmaintained (RUSTSEC-2021-0139)"),
    ("serde_yaml", "unmaintained (RUSTSEC-2024-0320)"),
    ("failure", "unmaintained and unsound (RUSTSEC-2020-0036, RUSTSEC-2019-0036)"),
    ("paste", "unmaintained (RUSTSEC-2024-0436)"),
    ("instant", "unmaintained (RUSTSEC-2024-0384)"),
    ("proc-macro-error", "unmaintained (RUSTSEC-2024-0370)"),
    ("users", "unmaintained and unsound (RUSTSEC-2023-0040, RUSTSEC-2023-0059)"),
];

/// Packages that may be there in two versions, for whoever needs the older one is not ours.
const TWICE: [&str; 2] = ["cpufeatures", "syn"];

fn packages() -> Vec<Value> {
    let words = ["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform"];
    let output = Command::new(env!("CARGO")).args(words).arg("x86_64-unknown-linux-gnu").output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages").clone();
    assert!(packages.len() > 100, "the whole graph");
    packages
}

fn text<'a>(package: &'a Value, key: &str) -> &'a str {
    package[key].as_str().unwrap_or_default()
}

/// Whether an SPDX expression is satisfied by the list; the older form has a slash for OR.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let of_and = |part: &str| {
        part.trim()
            .trim_matches(['(', ')'])
            .split(" OR ")
            .any(|licence| ALLOWED.contains(&licence.trim().trim_matches(['(', ')'])))
    };
    expression.split(" AND ").all(of_and)
}

#[test]
fn every_licence_is_one_of_the_list() {
    let wrong: Vec<String> = packages()
        .iter()
        .filter(|package| !is_allowed(text(package, "license")))
        .map(|package| format!("{} {}: {:?}", text(package, "name"), text(package, "version"), text(package, "license")))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_expression_is_read_as_spdx_means_it() {
    for good in [
        "MIT",
        "MIT OR GPL-3.0",
        "Unlicense/MIT",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0",
    ] {
        assert!(is_allowed(good), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-2.0", "AGPL-3.0/GPL-3.0"] {
        assert!(!is_allowed(bad), "{bad}");
    }
}

#[test]
fn what_is_banned_is_not_linked_and_nothing_is_there_twice_without_a_reason() {
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages() {
        versions.entry(text(&package, "name").to_owned()).or_default().push(text(&package, "version").to_owned());
    }
    for (name, why) in BANNED {
        assert!(!versions.contains_key(name), "{name}: {why}");
    }
    let twice: Vec<&String> = versions.iter().filter(|(_, versions)| versions.len() > 1).map(|(name, _)| name).collect();
    assert!(twice.iter().all(|name| TWICE.contains(&name.as_str())), "{twice:?}");
}
