//! Files that are of another format altogether.
//!
//! **Invariant:** a file with a line of TOML in it is not taken for another format. One whose lines nothing in TOML ends has no lines.

use super::super::{networks::Whole, report::SyntaxProblem};

/// Says of which other format a file is, if it is of one that is known.
pub(super) fn recognize(text: &str) -> Option<SyntaxProblem> {
    if let Some(end) = text.find('\r').filter(|_| text.trim_end().contains('\r') && !text.contains('\n')) {
        return Some(SyntaxProblem {
            code: "line-ends",
            offset: end,
            width: Some(1),
            end: 0,
            message: "the lines of this file end with CR alone, which TOML takes for one line".to_owned(),
            hint: "save it with Unix (LF) or Windows (CRLF) line ends".to_owned(),
            kind: "line ends".to_owned(),
            read: Whole::No,
        });
    }
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let first = lines().next()?;
    if let Some(conflict) = lines().find(|line| line.starts_with("<<<<<<< ")) {
        return Some(SyntaxProblem {
            code: "merge-conflict",
            offset: text.find(conflict).unwrap_or(0),
            width: Some(conflict.len()),
            end: 0,
            message: "git left a conflict in this file".to_owned(),
            hint: "keep one of the two texts, and remove the lines that begin with <<<<<<<, ======= and >>>>>>>".to_owned(),
            kind: "conflict".to_owned(),
            read: Whole::No,
        });
    }
    let format = if begins_json(first) {
        "JSON"
    } else if first.starts_with('<') {
        "XML or HTML"
    } else if lines().any(is_toml) {
        return None;
    } else if first == "---" || lines().filter(|line| is_yaml(line)).count() >= 2 {
        "YAML"
    } else if lines().filter(|line| line.ends_with(['{', ';'])).count() >= 2 {
        "the configuration of another program"
    } else {
        return None;
    };
    Some(SyntaxProblem {
        code: "not-toml",
        offset: text.find(first).unwrap_or(0),
        width: Some(first.len()),
        end: 0,
        message: format!("this file is {format}, and must be TOML"),
        hint: "write lines such as: name = \"pc01\"; see the site-example directory".to_owned(),
        kind: format.to_owned(),
        read: Whole::No,
    })
}

fn begins_json(line: &str) -> bool {
    line.starts_with('{') || line == "[" || line.starts_with("[{") || line.starts_with("[ {")
}

fn is_toml(line: &str) -> bool {
    line.contains('=') || line.starts_with('[')
}

/// True for `key: value`, `key:` and `- entry`.
fn is_yaml(line: &str) -> bool {
    let line = line.strip_prefix("- ").unwrap_or(line);
    let word = |key: &str| !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    line.split_once(':').is_some_and(|(key, rest)| word(key.trim()) && (rest.is_empty() || rest.starts_with(' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_lines() {
        for (text, format) in [
            ("{\n  \"name\": \"x\"\n}", Some("JSON")),
            ("[\n {}\n]", Some("JSON")),
            ("---\nname: x\n", Some("YAML")),
            ("machines:\n  - name: pc01\n    mac: x\n", Some("YAML")),
            ("<xml>", Some("XML or HTML")),
            ("a = 1\n<<<<<<< HEAD\nb = 1\n=======\n", Some("conflict")),
            ("host pc01 {\n  fixed-address 1;\n}\n", Some("the configuration of another program")),
            ("name: \"x\"\nmac = \"y\"\nip: z\n", None),
            ("[[machine]]\nname: pc01\nmac: x\n", None),
            ("", None),
            ("[[machine]]\rname = \"pc01\"\r", Some("line ends")),
            ("a = 1\r", None),
        ] {
            assert_eq!(recognize(text).map(|problem| problem.kind).as_deref(), format, "{text}");
        }
    }
}
