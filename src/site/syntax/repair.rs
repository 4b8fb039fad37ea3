//! One statement that is not TOML: what is wrong with it, and how it should be written.
//!
//! **Invariant:** what is advised as a whole line is TOML; a mistake that no rule knows is said to be unknown.

use super::{
    super::{
        advice,
        schema::{self, Form},
        words,
    },
    is_toml,
    statement::pair,
};
use crate::names::MacAddr;
use std::{net::Ipv4Addr, ops::Range};

/// A mistake, and the statement without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Repair {
    pub(super) code: &'static str,
    /// What is at fault, in bytes of the statement.
    pub(super) at: Range<usize>,
    pub(super) message: String,
    /// The statement as it should be written.
    pub(super) text: String,
    /// What to do, where it is not to write `text`.
    pub(super) hint: Option<String>,
    /// What the same mistake in another statement has too.
    pub(super) kind: String,
}

/// Rules, the surest first. Each changes a statement or does not know what is wrong with it.
const RULES: [fn(&str, &str) -> Option<Repair>; 19] = [
    of_dnsmasq,
    of_dhcpd,
    row_of_a_table,
    full_width,
    foreign_comment,
    foreign_key,
    wrong_equals,
    missing_equals,
    blank_in_key,
    two_on_a_line,
    text_after_value,
    backslashes,
    quotes,
    list,
    inline_table,
    flag_word,
    nothing,
    missing_value,
    unquoted,
];

/// What is wrong with a statement of a file; a statement with several mistakes is shown without any of them.
pub(super) fn find(path: &str, statement: &str) -> Option<Repair> {
    let all = || RULES.iter().filter_map(|rule| rule(path, statement));
    if let Some(one) = all().find(|repair| is_toml(&repair.text) || repair.hint.is_some()) {
        return Some(one);
    }
    let (mut text, mut first): (String, Option<Repair>) = (statement.to_owned(), None);
    for rule in RULES {
        let Some(repair) = rule(path, &text) else { continue };
        text.clone_from(&repair.text);
        let first = first.get_or_insert(repair);
        if is_toml(&text) {
            return Some(Repair { text, ..first.clone() });
        }
    }
    None
}

fn repair(code: &'static str, at: Range<usize>, message: impl Into<String>, text: String) -> Option<Repair> {
    let kind = text.split('=').next().unwrap_or("").trim().to_owned();
    Some(Repair { code, at, message: message.into(), text, hint: None, kind })
}

/// `dhcp-host=88:ae:dd:05:08:fa,pc01`: a line of another server's file, which the importer reads.
fn of_dnsmasq(_: &str, statement: &str) -> Option<Repair> {
    let found = pair(statement).filter(|pair| {
        let key = pair.key.trim_start_matches("--");
        matches!(key, "dhcp-host" | "dhcp-range" | "dhcp-boot" | "dhcp-option" | "dhcp-match" | "pxe-service")
            && !pair.value.starts_with(['"', '\'', '['])
    })?;
    let hint = "remove these lines; `barista machine import /etc/dnsmasq.conf` takes its machines over".to_owned();
    repair("line-of-dnsmasq", 0..statement.len(), format!("{} is a line of dnsmasq, and not of a site", found.key), String::new())
        .map(|repair| Repair { hint: Some(hint), kind: "dnsmasq".to_owned(), ..repair })
}

/// `hardware ethernet 88:ae:dd:05:08:fa;`: a line of dhcpd.conf(5), which the importer reads.
fn of_dhcpd(_: &str, statement: &str) -> Option<Repair> {
    let line = statement.lines().next()?.trim();
    let words: Vec<&str> = line.split_whitespace().take(2).collect();
    let begins_block = line.contains('{') && matches!(words[..], ["host" | "subnet" | "group" | "pool" | "shared-network", _]);
    let says = line.ends_with([';', '}'])
        && matches!(words[..], ["hardware", "ethernet"] | ["fixed-address" | "option" | "filename" | "next-server", _]);
    if line.contains('=') || !(begins_block || says || line == "}") {
        return None;
    }
    let hint = "remove these lines; `barista machine import /etc/dhcp/dhcpd.conf` takes its machines over".to_owned();
    repair("line-of-dhcpd", 0..line.len(), "this is a line of dhcpd, and not of a site", String::new()).map(|repair| Repair {
        hint: Some(hint),
        kind: "dhcpd".to_owned(),
        ..repair
    })
}

/// `pc01,88:ae:dd:05:08:fa,192.168.1.101`: a row of a spreadsheet or of a router's page.
fn row_of_a_table(_: &str, statement: &str) -> Option<Repair> {
    let line = statement.lines().next()?;
    let mut cells = line.split(|c: char| c.is_whitespace() || ",;|，；".contains(c));
    let is_mac = |cell: &str| cell.trim_matches('"').parse::<MacAddr>().is_ok();
    if line.contains(['=', '[', '{', '#']) || line.split_whitespace().next() == Some("mac") || !cells.any(is_mac) {
        return None;
    }
    let hint = "write [[machine]], and below it name, mac and ip on lines of their own; `barista machine import FILE` makes them of a table";
    repair("row-of-a-table", 0..line.len(), "this is a row of a table, and not TOML", String::new()).map(|repair| Repair {
        hint: Some(hint.to_owned()),
        kind: "row".to_owned(),
        ..repair
    })
}

/// The ASCII character that a typographic or full-width one stands for.
fn plain(c: char) -> Option<char> {
    Some(match c {
        '“' | '”' | '„' | '‟' | '«' | '»' | '「' | '」' | '『' | '』' | '‘' | '’' | '‚' | '`' | '´' => '"',
        '、' => ',',
        '【' | '〔' => '[',
        '】' | '〕' => ']',
        '。' => '.',
        '–' | '—' | '−' => '-',
        '\u{3000}' | '\u{a0}' | '\u{2002}'..='\u{200a}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xFEE0).filter(char::is_ascii)?,
        _ => return None,
    })
    .map(|c| if c == '\'' { '"' } else { c })
}

/// Quotes, commas and blanks of a Chinese keyboard or of a word processor.
fn full_width(_: &str, statement: &str) -> Option<Repair> {
    let (mut text, mut first, mut inside) = (String::with_capacity(statement.len()), None, None);
    for (at, c) in statement.char_indices() {
        // What stands in good quotes is left as it is.
        if matches!(c, '"' | '\'') {
            match inside {
                None => inside = Some(c),
                Some(open) if open == c => inside = None,
                Some(_) => {}
            }
        }
        match plain(c).filter(|_| inside.is_none()) {
            Some(plain) => {
                first.get_or_insert((at, c, plain));
                text.push(plain);
            }
            None if matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}') => {
                first.get_or_insert((at, c, ' '));
            }
            None => text.push(c),
        }
    }
    let (at, c, ascii) = first?;
    // A colon where the key ends stands for what TOML has there, and is mended by the rule for that.
    let ascii = if ascii == ':' && is_key(statement[..at].trim()) { '=' } else { ascii };
    let message = match ascii {
        ' ' => "an invisible or full-width blank stands here".to_owned(),
        ascii => format!("{c} is a full-width or typographic character; TOML needs {ascii}"),
    };
    let blank = text.trim().is_empty().then(|| "take the blank out of this empty line".to_owned());
    let text = if ascii == ' ' { text.trim().to_owned() } else { text };
    repair("full-width-punctuation", at..at + c.len_utf8(), message, text).map(|found| Repair {
        kind: ascii.to_string(),
        hint: blank,
        ..found
    })
}

/// Comments as other languages begin them.
fn foreign_comment(_: &str, statement: &str) -> Option<Repair> {
    let marks = ["//", "/*", "--", ";", "<!--", "REM ", "!"];
    if let Some(mark) = marks.iter().find(|mark| statement.starts_with(**mark)) {
        let rest = statement[mark.len()..].trim().trim_end_matches("*/").trim_end();
        let message = format!("a comment begins with #, and not with {}", mark.trim());
        return repair("comment-mark", 0..mark.len(), message, format!("# {rest}"))
            .map(|found| Repair { kind: "#".into(), ..found });
    }
    let outside = outside_quotes(statement);
    let (at, mark) = marks[..4].iter().find_map(|mark| {
        let at = outside.iter().copied().find(|at| statement[*at..].starts_with(mark))?;
        (*mark != ";" || !statement[at + 1..].trim().is_empty()).then_some((at, *mark))
    })?;
    let before = statement[..at].trim_end();
    let comment = statement[at + mark.len()..].trim().trim_end_matches("*/").trim_end();
    let message = format!("a comment begins with #, and not with {mark}");
    let found = repair("comment-mark", at..at + mark.len(), message, format!("{before}  # {comment}"));
    found.map(|found| Repair { kind: "#".into(), ..found })
}

/// Byte offsets of a statement's characters that stand outside of quotes.
fn outside_quotes(statement: &str) -> Vec<usize> {
    let mut inside = None;
    let mut outside = Vec::new();
    for (at, c) in statement.char_indices() {
        match (inside, c) {
            (None, '"' | '\'') => inside = Some(c),
            (None, _) => outside.push(at),
            (Some(open), c) if open == c => inside = None,
            (Some(_), _) => {}
        }
    }
    outside
}

fn is_key(text: &str) -> bool {
    let text = text.trim_matches('"');
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// `地址 = "…"`.
fn foreign_key(path: &str, statement: &str) -> Option<Repair> {
    let key = pair(statement)?.key;
    if key.is_ascii() || key.contains(['"', '\'']) || !key.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_') {
        return None;
    }
    let message = format!("{key} is no key: keys are English words in ASCII");
    let hint = match words::key(path, key) {
        Some("subnet") => "write subnet, with the network and the length of its prefix: subnet = \"192.168.1.0/24\"".to_owned(),
        Some(ours) => format!("write {ours} instead of {key}"),
        None => "write the key as the schemas have it, such as name, mac, ip, boot".to_owned(),
    };
    let hint = Some(hint);
    repair("key-not-ascii", 0..key.len(), message, String::new()).map(|found| Repair { hint, kind: key.to_owned(), ..found })
}

/// `{ address = "192.168.1.2"`.
fn inline_table(_: &str, statement: &str) -> Option<Repair> {
    let found = pair(statement)?;
    if !found.value.starts_with('{') || found.value.ends_with('}') || found.value.contains('\n') {
        return None;
    }
    let text = with_value(statement, found.at, found.value, &format!("{} }}", found.value));
    repair("bracket-not-closed", found.at..found.at + found.value.len(), "this table has no } at its end", text)
}

/// `key: value`, `key := value`, `key == value`, `key => value`.
fn wrong_equals(_: &str, statement: &str) -> Option<Repair> {
    let at = statement.find([':', '='])?;
    let key = statement[..at].trim();
    let sign_length = statement[at..].find(|c| !matches!(c, ':' | '=' | '>')).unwrap_or(statement.len() - at);
    let sign = &statement[at..at + sign_length];
    let value = statement[at + sign_length..].trim();
    if sign == "=" || !is_key(key) || value.is_empty() {
        return None;
    }
    let message = format!("between a key and its value stands =, and not {sign}");
    repair("equals-sign", at..at + sign.len(), message, format!("{} = {value}", key.trim_matches('"')))
        .map(|found| Repair { kind: sign.to_owned(), ..found })
}

/// `key "value"`, `key 192.168.1.1`.
fn missing_equals(path: &str, statement: &str) -> Option<Repair> {
    let line = statement.lines().next()?;
    let end = line.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')).filter(|at| *at > 0)?;
    let (key, value) = (&line[..end], line[end..].trim());
    if line.contains('=') || !is_key(key) || value.is_empty() || schema::form_of(path, key).is_none() {
        return None;
    }
    repair("equals-sign", end..end + 1, format!("between {key} and its value stands ="), format!("{key} = {value}"))
}

/// `lease time = "12h"`.
fn blank_in_key(path: &str, statement: &str) -> Option<Repair> {
    let found = pair(statement)?;
    let words: Vec<&str> = found.key.split_whitespace().collect();
    let key = words.join("-").to_ascii_lowercase();
    if words.len() < 2 || schema::form_of(path, &key).is_none() {
        return None;
    }
    let text = statement.replacen(found.key, &key, 1);
    let at = statement.find(found.key)?;
    repair("key-with-blank", at..at + found.key.len(), "a key has no blank", text)
}

/// `name = "pc01", mac = "…"`.
fn two_on_a_line(path: &str, statement: &str) -> Option<Repair> {
    let outside = outside_quotes(statement);
    let first = statement.find('=')?;
    let equals = outside.into_iter().find(|at| *at > first && statement[*at..].starts_with('='))?;
    let before = statement[..equals].trim_end();
    let key = before.rsplit(|c: char| c.is_whitespace() || c == ',' || c == ';').next()?;
    let start = before.len() - key.len();
    let one = statement[..start].trim_end_matches([' ', '\t', ',', ';']);
    if statement.contains('\n') || statement.contains('{') || schema::form_of(path, key).is_none() || one.ends_with('=') {
        return None;
    }
    let text = format!("{one}\n{}", &statement[start..]);
    let hint = Some(format!("write two lines: {one} and {}", &statement[start..]));
    let found = repair("two-on-a-line", start..start + key.len(), format!("{key} needs a line of its own"), text);
    found.filter(|found| is_toml(&found.text)).map(|found| Repair { hint, kind: String::new(), ..found })
}

/// A comma, a semicolon, or anything else behind a value.
fn text_after_value(_: &str, statement: &str) -> Option<Repair> {
    let found = pair(statement)?;
    let value = found.value.trim_end_matches([',', ';', '.', ' ']);
    let left = found.value.len() - value.len();
    if left == 0 || value.is_empty() {
        return None;
    }
    let at = found.at + value.len();
    let mark = found.value[value.len()..].trim();
    let text = format!("{}{}", &statement[..at], &statement[at + left..]);
    let found = repair("text-after-value", at..at + left, format!("nothing stands behind a value: remove the {mark}"), text);
    found.map(|found| Repair { kind: mark.to_owned(), ..found })
}

/// `"D:\images\win11.vhdx"`.
fn backslashes(path: &str, statement: &str) -> Option<Repair> {
    let found = pair(statement)?;
    if !found.value.contains('\\') || found.value.starts_with(['[', '\'']) {
        return None;
    }
    let raw = found.value.trim_matches('"');
    let value = advice::value(path, found.key, raw).unwrap_or_else(|| advice::quote(raw));
    let is_source = matches!(schema::form_of(path, found.key), Some(Form::Text("SourcePath")));
    let message = match is_source {
        true => "this is a path of Windows; a source is a file of the server's image store, and its parts stand between /",
        false => "a \\ in double quotes begins an escape sequence",
    };
    repair("backslash", found.at..found.at + found.value.len(), message, with_value(statement, found.at, found.value, &value))
}

fn with_value(statement: &str, at: usize, old: &str, new: &str) -> String {
    format!("{}{new}{}", &statement[..at], &statement[at + old.len()..])
}

/// A quotation mark that is missing, doubled, or closed by another.
fn quotes(path: &str, statement: &str) -> Option<Repair> {
    let found = pair(statement)?;
    let marks = ['"', '\''];
    if found.value.starts_with('[') || !(found.value.starts_with(marks) || found.value.ends_with(marks)) {
        return None;
    }
    let whole = found.value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    if let Some(inner) =
        whole.filter(|inner| inner.contains('"') && !inner.contains(['\'', '\n', '\\']) && !inner.starts_with('"'))
    {
        let text = with_value(statement, found.at, found.value, &format!("'{inner}'"));
        let message = "a text with \" in it stands in single quotes";
        return repair("quote-in-text", found.at..found.at + found.value.len(), message, text);
    }
    let raw = found.value.trim_matches(marks);
    if raw.contains(['"', '\n']) {
        return None;
    }
    // An unclosed text takes its comment with it.
    let (raw, comment) = raw.split_once(" #").unwrap_or((raw, ""));
    let raw = raw.trim_end().trim_end_matches(marks);
    let value = advice::value(path, found.key, raw).unwrap_or_else(|| advice::quote(raw));
    let comment = if comment.is_empty() { String::new() } else { format!("  #{comment}") };
    let text = format!("{}{value}{comment}", &statement[..found.at]);
    let message = "the quotation marks of this text do not match";
    repair("quote-not-closed", found.at..found.at + found.value.len(), message, text)
}

/// A list with a missing bracket, comma or quotation mark; several values without brackets.
fn list(path: &str, statement: &str) -> Option<Repair> {
    let found = pair(statement)?;
    let is_list = matches!(schema::form_of(path, found.key), Some(Form::List(_)));
    let bare = !found.value.starts_with('[');
    let items = advice::items(found.value);
    if items.is_empty() || (bare && !is_list) || found.value.contains('{') {
        return None;
    }
    let plain = || format!("[{}]", items.iter().map(|item| advice::quote(item)).collect::<Vec<_>>().join(", "));
    let value = advice::value(path, found.key, found.value).unwrap_or_else(plain);
    let text = with_value(statement, found.at, found.value, &value);
    let (code, message) = if bare {
        ("list-expected", format!("{} is a list: its entries stand in [ ]", found.key))
    } else if !found.value.ends_with(']') {
        ("bracket-not-closed", "this list has no ] at its end".to_owned())
    } else if items.iter().all(|item| found.value.contains(&format!("\"{item}\""))) {
        ("comma-missing", "between the entries of a list stands a comma".to_owned())
    } else {
        ("text-not-quoted", "each entry of this list needs double quotes".to_owned())
    };
    let width = found.value.lines().next().unwrap_or("").len();
    repair(code, found.at..found.at + width, message, text)
}

/// `yes`, `True`, `on`.
fn flag_word(path: &str, statement: &str) -> Option<Repair> {
    let found = pair(statement)?;
    let form = schema::form_of(path, found.key);
    let flag = advice::flag(found.value).filter(|flag| form == Some(Form::Flag) || found.value.eq_ignore_ascii_case(flag))?;
    let text = with_value(statement, found.at, found.value, flag);
    let message = format!("{} is written {flag}", found.value);
    repair("flag-expected", found.at..found.at + found.value.len(), message, text)
}

/// `null`, `None`, `nil`.
fn nothing(_: &str, statement: &str) -> Option<Repair> {
    let found = pair(statement)?;
    if !["null", "none", "nil", "~"].contains(&found.value.to_ascii_lowercase().as_str()) {
        return None;
    }
    let found_at = found.at..found.at + found.value.len();
    let message = format!("TOML has no {}: a key that has no value is left out", found.value);
    let hint = Some(format!("remove the line {}", statement.trim()));
    repair("value-missing", found_at, message, String::new()).map(|found| Repair { hint, ..found })
}

/// `ip =`.
fn missing_value(_: &str, statement: &str) -> Option<Repair> {
    let equals = statement.find('=')?;
    let key = statement[..equals].trim();
    let rest = statement[equals + 1..].trim();
    if !is_key(key) || !(rest.is_empty() || rest.starts_with('#')) {
        return None;
    }
    let hint = Some(format!("write a value behind {key} =, or remove the line"));
    let found = repair("value-missing", equals..equals + 1, format!("{key} has no value"), String::new());
    found.map(|found| Repair { hint, kind: key.to_owned(), ..found })
}

/// A text without quotation marks.
fn unquoted(path: &str, statement: &str) -> Option<Repair> {
    let found = pair(statement)?;
    if !found.key.split('.').all(is_key) || found.value.is_empty() || found.value.contains(['"', '\n', '[', '{']) {
        return None;
    }
    let key = found.key.rsplit('.').next().unwrap_or(found.key);
    let near = advice::value(path, key, found.value);
    let is_number = schema::form_of(path, key) == Some(Form::Number);
    let hint = (is_number && near.is_none()).then(|| format!("write {key} = and a whole number, without quotes"));
    let value = near.unwrap_or_else(|| advice::quote(found.value));
    let text = with_value(statement, found.at, found.value, &value);
    let (code, what) = kind_of(found.value);
    let (code, message) = match is_number {
        true => ("number-expected", format!("{key} takes a whole number: digits without a 0 in front")),
        false => (code, format!("{what} needs double quotes")),
    };
    let text = if hint.is_some() { String::new() } else { text };
    repair(code, found.at..found.at + found.value.len(), message, text).map(|repair| Repair {
        hint,
        kind: key.to_owned(),
        ..repair
    })
}

fn kind_of(value: &str) -> (&'static str, &'static str) {
    let net = value.split(['/', '-']).next().unwrap_or("").trim();
    let digits = value.bytes().all(|byte| byte.is_ascii_digit() || b".-".contains(&byte));
    let pairs = value.split([':', '-']).filter(|part| part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit())).count();
    if net.parse::<Ipv4Addr>().is_ok() {
        ("address-not-quoted", "an address")
    } else if pairs == 6 {
        ("mac-not-quoted", "a MAC address")
    } else if digits {
        ("version-not-quoted", "a name that looks like a number or a date")
    } else {
        ("text-not-quoted", "a text")
    }
}
