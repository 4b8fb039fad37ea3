//! What of a file is sent, decided from the request's conditions and what is known of the file.
//!
//! **Invariant:** a part is sent only of the very file the client has the rest of; what does not read is answered with the
//! whole file, never with a wrong part. PURE. Follows RFC 9110 §13 and §14.

use hyper::{
    HeaderMap, Method,
    header::{HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE},
};
use std::time::SystemTime;

/// What is known of a file without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its bytes.
    pub size: u64,
    /// When it was last written, to the second, as HTTP says it.
    pub modified: SystemTime,
    /// Its strong validator, in quotes.
    pub tag: String,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection {
    /// All of it: 200.
    Whole,
    /// From this byte, so many: 206.
    Part {
        /// The first byte.
        from: u64,
        /// How many.
        length: u64,
    },
    /// Nothing, the client has it: 304.
    NotModified,
    /// Nothing, for it is not what the client takes it for: 412.
    PreconditionFailed,
    /// Nothing, for the file ends before the part begins: 416.
    Unsatisfiable,
}

/// Decides what is sent, in the order of RFC 9110 §13.2.2.
///
/// Only GET has parts: HEAD says what the whole is (§14.2).
pub fn select(method: &Method, headers: &HeaderMap, facts: &Facts) -> Selection {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let date = |name: HeaderName| httpdate::parse_http_date(text(name)?).ok();
    let strong = |tags: &str| tags.trim() == "*" || tags.split(',').any(|tag| tag.trim() == facts.tag);
    // A proxy may have weakened the tag on its way; for "do you have this?" that is good enough (§8.8.3.2).
    let weak = |tags: &str| strong(tags) || tags.split(',').any(|tag| tag.trim().strip_prefix("W/") == Some(&facts.tag));
    let matches = match text(IF_MATCH) {
        Some(tags) => strong(tags),
        None => date(IF_UNMODIFIED_SINCE).is_none_or(|since| facts.modified <= since),
    };
    if !matches {
        return Selection::PreconditionFailed;
    }
    let known = match text(IF_NONE_MATCH) {
        Some(tags) => weak(tags),
        None => date(IF_MODIFIED_SINCE).is_some_and(|since| facts.modified <= since),
    };
    if known {
        return Selection::NotModified;
    }
    let same = headers.get(IF_RANGE).is_none_or(|condition| {
        let condition = condition.to_str().unwrap_or_default();
        condition == facts.tag || httpdate::parse_http_date(condition).is_ok_and(|date| date == facts.modified)
    });
    match headers.get(RANGE).filter(|_| method == Method::GET) {
        Some(range) if same => range.to_str().ok().map_or(Selection::Whole, |range| part(range, facts.size)),
        _ => Selection::Whole,
    }
}

/// Reads `bytes=1-2`, `bytes=1-` and `bytes=-2`. Several parts at once may be answered with the whole (§14.2): nothing that
/// boots asks for them, and their sum can be larger than the file.
fn part(range: &str, size: u64) -> Selection {
    let Some((first, last)) = range.strip_prefix("bytes=").and_then(|range| range.trim().split_once('-')) else {
        return Selection::Whole;
    };
    let (from, to) = match (number(first), number(last)) {
        (Some(from), Some(to)) if from <= to => (from, to),
        (Some(from), None) if last.is_empty() => (from, u64::MAX),
        (None, Some(length)) if first.is_empty() => match length {
            0 => return Selection::Unsatisfiable,
            length => (size.saturating_sub(length), u64::MAX),
        },
        _ => return Selection::Whole,
    };
    match size.checked_sub(from).filter(|left| *left > 0) {
        Some(left) => Selection::Part { from, length: (to - from).saturating_add(1).min(left) },
        None => Selection::Unsatisfiable,
    }
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The media type of a file by its ending; firmware that boots over HTTP goes by it (UEFI 2.10 §24.7.2).
pub fn media_type(path: &str) -> &'static str {
    let ending = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending.to_ascii_lowercase());
    match ending.as_deref() {
        Some("efi") => "application/efi",
        Some("iso") => "application/vnd.efi-iso",
        Some("img") => "application/vnd.efi-img",
        Some("ipxe" | "cfg" | "ks" | "conf" | "txt" | "sh" | "list" | "preseed" | "seed" | "toml") => "text/plain; charset=utf-8",
        Some("json") => "application/json",
        Some("yaml" | "yml") => "application/yaml",
        Some("xml") => "application/xml",
        Some("html" | "htm") => "text/html; charset=utf-8",
        Some("gz" | "tgz") => "application/gzip",
        Some("zst") => "application/zstd",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Mon, 07 Nov 1994 08:49:37 GMT";
    const EARLIER: &str = "Sat, 05 Nov 1994 08:49:37 GMT";

    fn facts() -> Facts {
        Facts { size: 1000, modified: UNIX_EPOCH + Duration::from_secs(784_111_777), tag: "\"a\"".into() }
    }

    fn selected(headers: &[(HeaderName, &str)]) -> Selection {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().expect("legal")));
        select(&Method::GET, &headers.collect(), &facts())
    }

    #[test]
    fn a_part_is_what_was_asked_for_as_far_as_the_file_goes() {
        let part = |from, length| Selection::Part { from, length };
        for (range, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=10-19", part(10, 10)),
            ("bytes=990-", part(990, 10)),
            ("bytes=990-5000", part(990, 10)),
            ("bytes=0-18446744073709551615", part(0, 1000)),
            ("bytes=-10", part(990, 10)),
            ("bytes=-5000", part(0, 1000)),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=1000-", Selection::Unsatisfiable),
            ("bytes=1000-1001", Selection::Unsatisfiable),
            ("bytes=20-10", Selection::Whole),
            ("bytes=0-1,5-6", Selection::Whole),
            ("bytes=+1-2", Selection::Whole),
            ("bytes=-", Selection::Whole),
            ("bytes=99999999999999999999-", Selection::Whole),
            ("lines=1-2", Selection::Whole),
            ("", Selection::Whole),
        ] {
            assert_eq!(selected(&[(RANGE, range)]), expected, "{range}");
        }
    }

    #[test]
    fn a_part_of_another_file_becomes_the_whole_one() {
        let range = (RANGE, "bytes=0-9");
        for (condition, same) in
            [("\"a\"", true), (DATE, true), ("\"b\"", false), ("W/\"a\"", false), (LATER, false), (EARLIER, false), ("?", false)]
        {
            let part = matches!(selected(&[range.clone(), (IF_RANGE, condition)]), Selection::Part { .. });
            assert_eq!(part, same, "{condition}");
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        for (name, value, expected) in [
            (IF_NONE_MATCH, "\"a\"", Selection::NotModified),
            (IF_NONE_MATCH, "\"b\", W/\"a\"", Selection::NotModified),
            (IF_NONE_MATCH, "*", Selection::NotModified),
            (IF_NONE_MATCH, "\"b\"", Selection::Whole),
            (IF_MODIFIED_SINCE, DATE, Selection::NotModified),
            (IF_MODIFIED_SINCE, EARLIER, Selection::Whole),
            (IF_MODIFIED_SINCE, "yesterday", Selection::Whole),
            (IF_MATCH, "\"a\"", Selection::Whole),
            (IF_MATCH, "W/\"a\"", Selection::PreconditionFailed),
            (IF_MATCH, "\"b\"", Selection::PreconditionFailed),
            (IF_UNMODIFIED_SINCE, EARLIER, Selection::PreconditionFailed),
            (IF_UNMODIFIED_SINCE, DATE, Selection::Whole),
        ] {
            assert_eq!(selected(&[(name.clone(), value)]), expected, "{name}: {value}");
        }
        // A tag is better knowledge than a date.
        assert_eq!(selected(&[(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, DATE)]), Selection::Whole);
    }

    #[test]
    fn firmware_hears_the_type_it_goes_by() {
        for (path, expected) in [
            ("/shim/BOOTX64.EFI", "application/efi"),
            ("/a.iso", "application/vnd.efi-iso"),
            ("/a.b.img", "application/vnd.efi-img"),
            ("/menu.ipxe", "text/plain; charset=utf-8"),
            ("/rescue.d/vmlinuz", "application/octet-stream"),
            ("/.img/x", "application/octet-stream"),
        ] {
            assert_eq!(media_type(path), expected, "{path}");
        }
    }
}
