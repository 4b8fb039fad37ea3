//! The fields of a table: what parts them, and what one looks like.
//!
//! **Invariant:** a field is judged as a whole; what a spreadsheet program puts around a text is no part of it.

use super::parse_mac;
use crate::names::near_ipv4;
use std::borrow::Cow;

/// A line that says something.
fn first_line(text: &str) -> &str {
    text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).unwrap_or_default()
}

/// How often a character stands in a line outside of quotation marks.
fn count(line: &str, wanted: char) -> usize {
    let mut is_quoted = false;
    let outside = line.chars().filter(|character| {
        is_quoted ^= *character == '"';
        *character == wanted && !is_quoted
    });
    outside.count()
}

/// A text whose fields are parted by commas where it has the full-width ones of a Chinese keyboard alone.
pub(super) fn with_commas(text: &str) -> Cow<'_, str> {
    let first = first_line(text);
    let has = |wanted: &[char]| wanted.iter().any(|wanted| count(first, *wanted) > 0);
    match has(&['，', '；']) && !has(&[',', ';', '\t', '|']) {
        true => Cow::Owned(text.replace('，', ",").replace('；', ";")),
        false => Cow::Borrowed(text),
    }
}

/// What parts the fields: of tab, semicolon and comma the one that the first row has most of; a bar where it has none of them.
pub(super) fn delimiter(text: &str) -> u8 {
    let first = first_line(text);
    let most = ['\t', ';', ','].into_iter().max_by_key(|delimiter| count(first, *delimiter)).unwrap_or(',');
    match most {
        most if count(first, most) > 0 || count(first, '|') == 0 => u8::try_from(most).unwrap_or(b','),
        _ => b'|',
    }
}

/// A field without what makes a spreadsheet program take it for text: `="…"`, or an apostrophe before it.
pub(super) fn plain(field: &str) -> &str {
    let formula = field.strip_prefix("=\"").and_then(|rest| rest.strip_suffix('"'));
    formula.or_else(|| field.strip_prefix('\'')).unwrap_or(field).trim()
}

/// The words of a field that may hold several addresses.
pub(super) fn words(field: &str) -> impl Iterator<Item = &str> {
    field.split(|c: char| c.is_whitespace() || ",;/|".contains(c)).filter(|word| !word.is_empty())
}

/// Whether a field is an IPv4 address, as people write one.
pub(super) fn is_ip(field: &str) -> bool {
    near_ipv4(field).is_some()
}

/// Whether a field begins with an Ethernet address.
pub(super) fn has_mac(field: &str) -> bool {
    words(field).next().and_then(parse_mac).is_some()
}

/// Whether a field holds what is meant as an Ethernet address, wherever it stands in it and whatever is wrong with it.
pub(super) fn holds_mac(field: &str) -> bool {
    let is_octet = |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_meant = |word: &str| {
        [':', '-'].iter().any(|separator| word.split(*separator).count() >= 6 && word.split(*separator).all(is_octet))
    };
    field
        .split(|c: char| !(c.is_ascii_alphanumeric() || ":-.".contains(c)))
        .any(|word| is_meant(word.trim_matches(['.', ':', '-'])) || parse_mac(word).is_some())
}

/// Why a field is no Ethernet address.
pub(super) fn no_mac(field: &str) -> String {
    let is_number = field.parse::<f64>().is_ok() && field.contains(['.', 'e', 'E']);
    let why =
        if is_number { ": a spreadsheet program made a number of it; format the column as text, and write it again" } else { "" };
    format!("{field:?} is no Ethernet address of a machine{why}")
}
