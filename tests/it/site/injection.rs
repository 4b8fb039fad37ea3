//! No string of a site becomes a command of iPXE: each is replaced in turn by what iPXE would take apart, and either the
//! site is refused or the scripts keep the commands that they had.

use crate::site::cases::{house, tree_of};
use barista::plan::prepare;
use barista::site::{Entry, Tree, load, schemas};
use std::collections::BTreeSet;
use toml::{Table, Value};

/// What iPXE splits, joins, expands or drops (`core/exec.c`, `image/script.c`), and what templates and terminals read.
const SHARDS: [&str; 22] = [
    "\nshell",
    "\r\nshell",
    "\rshell",
    "\tshell",
    "\n:boot-win11\nshell",
    " && shell",
    " || shell",
    " ; shell",
    "&&shell",
    " ${shell}",
    "${shell}",
    "$",
    " #shell",
    "#shell",
    " \\",
    "\\\nshell",
    "\" shell",
    "' shell",
    " {{ base }} shell",
    " é shell",
    " \u{85}shell\u{202e}",
    " --shell",
];

/// The site that uses every key, with the built-in templates.
fn sample() -> Tree {
    let mut tree = tree_of(&house().join("tests/cases/site/valid/every_key_is_used"));
    tree.entries.retain(|path, _| !path.starts_with("templates/"));
    tree
}

fn tables(tree: &Tree) -> Vec<(String, Table)> {
    let files = tree.entries.iter().filter(|(path, _)| path.ends_with(".toml"));
    files
        .map(|(path, entry)| {
            let Entry::File(bytes) = entry else { panic!("{path} is a file") };
            (path.clone(), std::str::from_utf8(bytes).expect("UTF-8").parse().expect("TOML"))
        })
        .collect()
}

/// Every string of a document, in order; `visit` may change it.
fn strings(value: &mut Value, visit: &mut dyn FnMut(&mut String)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(values) => values.iter_mut().for_each(|value| strings(value, visit)),
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| strings(value, visit)),
        _ => {}
    }
}

fn keys(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        Value::Table(table) => table.iter().for_each(|(key, value)| {
            found.insert(key.clone());
            keys(value, found);
        }),
        _ => {}
    }
}

/// What iPXE would run: for each line its commands' words, labels as `:`; comments are dropped with all that follows them.
fn shape(script: &str) -> Vec<Vec<String>> {
    assert!(script.chars().all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic()), "{script:?}");
    let line = |line: &str| {
        if line.starts_with(':') {
            return vec![":".to_owned()];
        }
        assert!(!line.ends_with('\\'), "{line:?} is joined to the next");
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        assert!(words.iter().skip(1).all(|word| !word.starts_with('#')), "{line:?} is cut short");
        let commands = words.split(|word| matches!(*word, ";" | "&&" | "||"));
        commands.filter_map(|command| command.first().map(|word| (*word).to_owned())).collect()
    };
    script.lines().map(line).collect()
}

/// The shapes of a site's scripts; `None` when it is refused.
fn shapes(tree: &Tree) -> Option<Vec<Vec<Vec<String>>>> {
    let table = prepare(&load(tree).site?).expect("what check accepts renders").table;
    let scripts = table.machines.values().map(|machine| machine.script.as_str()).chain([table.unknown_script.as_str()]);
    for script in scripts.clone() {
        let expansions = script.split("${").skip(1).map(|rest| rest.split('}').next().expect("a part"));
        assert!(!expansions.clone().any(|name| name.contains("shell")), "{script}");
    }
    Some(scripts.map(shape).collect())
}

#[test]
fn no_string_of_a_site_becomes_a_command() {
    let whole_site = sample();
    let good = shapes(&whole_site).expect("the sample is good");
    let (mut tried, mut accepted) = (0, 0);
    for (path, table) in tables(&whole_site) {
        let mut whole = Value::Table(table);
        let mut count = 0;
        strings(&mut whole, &mut |_| count += 1);
        for index in 0..count {
            for shard in SHARDS {
                for before in [false, true] {
                    let mut changed = whole.clone();
                    let mut at = 0;
                    strings(&mut changed, &mut |text| {
                        if at == index {
                            *text = if before { format!("{shard}{text}") } else { format!("{text}{shard}") };
                        }
                        at += 1;
                    });
                    let mut tree = whole_site.clone();
                    let text = toml::to_string(&changed).expect("a document");
                    tree.entries.insert(path.clone(), Entry::File(text.into_bytes()));
                    tried += 1;
                    if let Some(found) = shapes(&tree) {
                        accepted += 1;
                        assert_eq!(found, good, "{path}: string {index} with {shard:?}");
                    }
                }
            }
        }
    }
    // Quotes in a title are fine, and a source's name never reaches a script; if nothing passed, nothing was tried.
    assert!(accepted > 20 && tried > 2000, "{accepted} of {tried}");
}

/// A file's name is a value too: that of an image and of a network.
#[test]
fn no_file_name_becomes_a_command() {
    let good = shapes(&sample()).expect("the sample is good");
    for shard in SHARDS {
        for (from, to) in [("images/other", "images"), ("network/other", "network"), ("machines/row-a", "machines")] {
            let mut tree = sample();
            let old = tree.entries.remove(&format!("{from}.toml"));
            let entry = old.unwrap_or_else(|| Entry::File(b"kind = \"local\"\n".to_vec()));
            tree.entries.insert(format!("{to}/x{shard}.toml"), entry);
            if let Some(found) = shapes(&tree) {
                assert_eq!(found, good, "{to}/x{shard:?}");
            }
        }
    }
}

/// The sample has every key that the schemas know, so a new field cannot be forgotten here. The names of DHCP options are many and
/// of a few forms, all of them in the sample, and no script has any.
#[test]
fn the_sample_uses_every_key() {
    fn known(schema: &serde_json::Value, found: &mut BTreeSet<String>) {
        match schema {
            serde_json::Value::Object(object) => {
                if let Some(serde_json::Value::Object(properties)) = object.get("properties") {
                    found.extend(properties.keys().cloned());
                }
                object.iter().filter(|(key, _)| *key != "OptionsTable").for_each(|(_, value)| known(value, found));
            }
            serde_json::Value::Array(values) => values.iter().for_each(|value| known(value, found)),
            _ => {}
        }
    }
    let (mut wanted, mut used) = (BTreeSet::new(), BTreeSet::new());
    schemas().into_iter().for_each(|(_, schema)| known(&schema, &mut wanted));
    tables(&sample()).into_iter().for_each(|(_, table)| keys(&Value::Table(table), &mut used));
    assert_eq!(wanted.difference(&used).collect::<Vec<_>>(), Vec::<&String>::new(), "keys that no file of the sample has");
}

#[test]
fn a_command_that_was_put_in_would_be_seen() {
    for (good, bad) in [("echo a\n", "echo a && shell\n"), ("echo a\n", "echo a\nshell\n"), (":a\n", "shell\n")] {
        assert_ne!(shape(good), shape(bad));
    }
}
