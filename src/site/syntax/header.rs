//! Headers: `[table]` where there is one, `[[table]]` where there may be many.
//!
//! **Invariant:** the header that is read instead is one of the file's schema.

use super::{
    super::{
        schema::{self, Form},
        spelling,
    },
    is_toml,
    repair::Repair,
};
use crate::names::MachineName;

/// What people call the tables of a site.
const CALLED: [(&str, &[&str]); 3] = [
    (
        "machine",
        &[
            "host",
            "hosts",
            "client",
            "clients",
            "pc",
            "pcs",
            "computer",
            "computers",
            "device",
            "devices",
            "node",
            "seat",
            "seats",
        ],
    ),
    ("defaults", &["global", "common", "all"]),
    ("server", &["host", "address"]),
];
/// Names that repeat what a file is, by what its path begins with: its keys need no header.
const FILE_ITSELF: [(&str, &[&str]); 3] = [
    ("site.toml", &["site", "general", "main", "global"]),
    ("network/", &["network", "general", "main"]),
    ("images/", &["image", "general", "main"]),
];

/// What stands around a header.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Around<'s> {
    /// The table whose header comes before it.
    pub(super) before: Option<&'s str>,
    /// Whether a `name` stands below it.
    pub(super) below: Below,
}

/// What stands below a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Below {
    /// No name.
    #[default]
    Unnamed,
    /// A name.
    Named,
}

/// What is wrong with a header, and how it is read instead.
pub(super) fn judge(path: &str, around: Around<'_>, statement: &str) -> Option<Repair> {
    let plain = statement.replace('［', "[").replace('］', "]").replace('【', "[").replace('】', "]");
    let inner = plain.trim_start_matches(['[', ' ']);
    let opened = plain[..plain.len() - inner.len()].matches('[').count();
    let end = inner.find([']', '\n', '#']).unwrap_or(inner.len());
    let name = inner[..end].trim().trim_matches(['"', '\'']);
    let after = &inner[end..];
    let rest = after.trim_start_matches([']', ' ']);
    let closed = after[..after.len() - rest.len()].matches(']').count();
    let (name, rest) = match closed {
        0 => name.split_once(' ').map_or((name, rest), |(name, _)| (name, &inner[name.len()..])),
        _ => (name, rest),
    };
    if opened == 0 || name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
        return None;
    }
    let (rest, comment) = match rest.trim_start().starts_with('#') {
        true => ("", rest.trim()),
        false => (rest.trim().trim_start_matches([':', ',', ';', '=', '{']).trim(), ""),
    };
    let (first, below) = name.split_once('.').map_or((name, None), |(first, below)| (first, Some(below)));
    let meant = meant(path, first);
    if meant.is_none()
        && let Some(repair) = below_its_table(path, around, statement, (first, below))
    {
        return Some(repair);
    }
    // [pc01] in a file of machines can only be a machine; [policy] is the table of another file.
    let is_machine = meant.is_none()
        && path.starts_with("machines/")
        && below.is_none()
        && schema::key(path, first).is_none()
        && !schema::is_table_elsewhere(path, first);
    let (meant, first, below) = match is_machine {
        true => (Some(("machine", Form::Tables)), "machine", Some(first)),
        false => (meant, first, below),
    };
    let Some((table, form)) = meant else {
        let is_called = |(file, names): &(&str, &[&str])| path.starts_with(file) && names.contains(&name);
        let is_stem = !path.starts_with("machines/") && path.ends_with(&format!("/{name}.toml"));
        return (is_stem || FILE_ITSELF.iter().any(is_called)).then(|| Repair {
            code: "header-not-needed",
            at: 0..statement.len(),
            message: format!("[{name}] is not needed: this file is the {name} already"),
            text: "#".to_owned(),
            hint: Some(format!("remove the line [{name}], and write its keys at the top of the file")),
            kind: name.to_owned(),
        });
    };
    let wanted = if form == Form::Tables { 2 } else { 1 };
    let (open, close) = ("[".repeat(wanted), "]".repeat(wanted));
    // [[machine]] pc01: one word behind the header of an entry is its name.
    let is_name = form == Form::Tables && below.is_none() && rest.parse::<MachineName>().is_ok();
    let (below, rest) = if is_name { (Some(rest), "") } else { (below, rest) };
    let named = below.filter(|_| form == Form::Tables);
    let path_below = below.filter(|_| named.is_none()).map(|below| format!(".{below}")).unwrap_or_default();
    let right = format!("{open}{table}{path_below}{close}");
    let written = format!("{}{first}{}", "[".repeat(opened), "]".repeat(opened));
    let (code, message) = if plain != statement {
        ("full-width-punctuation", format!("the brackets of {written} are full-width ones, and TOML needs [ and ]"))
    } else if table != first {
        ("unknown-key", format!("there is no table {written}"))
    } else if closed != opened {
        ("bracket-not-closed", "the brackets of this header do not match".to_owned())
    } else if let Some(below) = named {
        (
            "table-named-like-an-entry",
            format!("the name of a {table} is no part of its header: {below:?} is the value of its key name"),
        )
    } else if opened != wanted && wanted == 2 {
        ("double-brackets", format!("{written} needs double brackets, because there can be more than one {table}"))
    } else if opened != wanted {
        ("single-brackets", format!("{written} needs single brackets, because there is only one"))
    } else if !rest.is_empty() {
        ("text-after-header", "a header needs a line of its own".to_owned())
    } else {
        return None;
    };
    let own = around.below == Below::Named;
    let name_line = named.filter(|_| !own).map(|below| format!("\nname = {below:?}")).unwrap_or_default();
    // What is no TOML on a line of its own is not to be written there either, and takes nothing with it.
    let is_pair = is_toml(rest);
    let rest_line = if rest.is_empty() || !is_pair { String::new() } else { format!("\n{rest}") };
    let gap = if comment.is_empty() { "" } else { " " };
    let hint = match (&name_line[..], &rest_line[..]) {
        ("", "") if !is_pair => format!("write {right}, and below it a line for each key, such as: name = \"pc01\""),
        ("", "") => format!("write {right}"),
        ("", rest) => format!("write {right} and below it: {}", rest.trim()),
        (name, _) => format!("write {right} and below it: {}", name.trim()),
    };
    Some(Repair {
        code,
        at: 0..statement.len() - comment.len(),
        message,
        text: format!("{right}{gap}{comment}{name_line}{rest_line}"),
        hint: Some(hint),
        kind: format!("[{table}]"),
    })
}

/// `[loader]` below `[boot]`: a table of a table is named with both.
fn below_its_table(path: &str, around: Around<'_>, statement: &str, (name, below): (&str, Option<&str>)) -> Option<Repair> {
    let owners = schema::tables_with(path, name);
    let owner = owners.iter().find(|owner| Some(owner.as_str()) == around.before).or(owners.first())?;
    let below = below.map(|below| format!(".{below}")).unwrap_or_default();
    let right = format!("[{owner}.{name}{below}]");
    Some(Repair {
        code: "unknown-key",
        at: 0..statement.len(),
        message: format!("[{name}] is a table of {owner}, and its header names both"),
        hint: Some(format!("write {right}")),
        text: right,
        kind: name.to_owned(),
    })
}

/// A header without its brackets, or with others: `machine:`, `- machine`, `{machine}`, `[ [machine] ]`.
pub(super) fn judge_bare(path: &str, statement: &str) -> Option<Repair> {
    let outer: &[char] = &['[', ']', '(', ')', '{', '}', '<', '>', '*', '-', ':', '【', '】', ' '];
    let name = statement.trim_matches(outer);
    if statement.contains('\n') || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        return None;
    }
    let (table, form) = meant(path, name)?;
    let right = if form == Form::Tables { format!("[[{table}]]") } else { format!("[{table}]") };
    Some(Repair {
        code: "header-brackets",
        at: 0..statement.len(),
        message: format!("the header of {table} stands in brackets, and nothing else on its line"),
        hint: Some(format!("write {right}")),
        text: right,
        kind: table.to_owned(),
    })
}

/// The table of the file's schema that a header means.
fn meant(path: &str, name: &str) -> Option<(&'static str, Form)> {
    let tables = schema::tables(path, Form::Table).into_iter().map(|table| (table, Form::Table));
    let all: Vec<(&'static str, Form)> =
        tables.chain(schema::tables(path, Form::Tables).into_iter().map(|table| (table, Form::Tables))).collect();
    let find = |name: &str| all.iter().copied().find(|(table, _)| *table == name);
    find(name).or_else(|| {
        if schema::form_of_top(path, name).is_some() {
            return None;
        }
        let lower = name.to_ascii_lowercase();
        let called = CALLED.iter().filter(|(_, names)| names.contains(&lower.as_str())).find_map(|(table, _)| find(table));
        called.or_else(|| find(spelling::nearest(name, all.iter().map(|(table, _)| *table))?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_the_one_that_was_meant() {
        for (path, written, code, read) in [
            ("machines/a.toml", "[machine]", "double-brackets", "[[machine]]"),
            ("machines/a.toml", "[[defaults]]", "single-brackets", "[defaults]"),
            ("machines/a.toml", "[defaults", "bracket-not-closed", "[defaults]"),
            ("machines/a.toml", "[[machine] # till", "bracket-not-closed", "[[machine]] # till"),
            ("machines/a.toml", "[[machines]]", "unknown-key", "[[machine]]"),
            ("machines/a.toml", "[[client]]", "unknown-key", "[[machine]]"),
            ("machines/a.toml", "【defaults】", "full-width-punctuation", "[defaults]"),
            ("machines/a.toml", "[machine.pc01]", "table-named-like-an-entry", "[[machine]]\nname = \"pc01\""),
            ("machines/a.toml", "[[machine]] name = \"pc01\"", "text-after-header", "[[machine]]\nname = \"pc01\""),
            ("machines/a.toml", "[pc01]", "table-named-like-an-entry", "[[machine]]\nname = \"pc01\""),
            ("machines/a.toml", "[[machine]] pc01", "table-named-like-an-entry", "[[machine]]\nname = \"pc01\""),
            ("machines/a.toml", "[[machine]] the first one", "text-after-header", "[[machine]]"),
            ("machines/a.toml", "[options]", "unknown-key", "[defaults.options]"),
            ("site.toml", "[loader]", "unknown-key", "[boot.loader]"),
            ("images/a.toml", "[version]", "double-brackets", "[[version]]"),
            ("site.toml", "[site]", "header-not-needed", "#"),
            ("network/lan.toml", "[lan]", "header-not-needed", "#"),
            ("machines/a.toml", "machine:", "header-brackets", "[[machine]]"),
            ("machines/a.toml", "- machine", "header-brackets", "[[machine]]"),
            ("machines/a.toml", "[ [machine] ]", "header-brackets", "[[machine]]"),
            ("machines/a.toml", "{{defaults}}", "header-brackets", "[defaults]"),
        ] {
            let found = judge(path, Around::default(), written)
                .or_else(|| judge_bare(path, written))
                .map(|repair| (repair.code, repair.text));
            assert_eq!(found, Some((code, read.to_owned())), "{written}");
        }
        for (path, right) in [
            ("machines/a.toml", "[[machine]]"),
            ("site.toml", "[boot.loader]"),
            ("images/a.toml", "[[version]] # x"),
            ("site.toml", "[zoo]"),
        ] {
            assert!(judge(path, Around::default(), right).is_none(), "{right}");
        }
        // The table of another file is no machine, and no file is another.
        for (path, wrong) in [
            ("machines/a.toml", "[policy]"),
            ("machines/a.toml", "[network]"),
            ("machines/a.toml", "[server]"),
            ("site.toml", "[network]"),
            ("site.toml", "[image]"),
            ("network/lan.toml", "[image]"),
        ] {
            assert_eq!(judge(path, Around::default(), wrong), None, "{path}: {wrong}");
        }
        let named = Around { below: Below::Named, ..Around::default() };
        let found = judge("machines/a.toml", named, "[[pc01]]").map(|repair| repair.text);
        assert_eq!(found.as_deref(), Some("[[machine]]"), "its name stands below it already");
        let machine = Around { before: Some("machine"), ..Around::default() };
        let found = judge("machines/a.toml", machine, "[options]").map(|repair| repair.text);
        assert_eq!(found.as_deref(), Some("[machine.options]"));
    }
}
