//! Kea's configuration: `reservations` of the server, its shared networks and its subnets; JSON with comments and includes.
//!
//! Kea's parser takes `#`, `//` and `/* */` comments, `<?include "file"?>` wherever a value or a member may stand, and a comma too many
//! (Kea Administrator Reference Manual, "Configuration Format"). These become blanks of the same length, so that every value keeps its
//! line. **Invariant:** a reservation is what stands in a list of `reservations`, at any depth that Kea has one.

use super::{Format, Imported, Include, Reach, Reservation, SyntaxError, line_of, parse_mac};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Keys that hold what has reservations in it.
const HOLDERS: [&str; 4] = ["Dhcp4", "subnet4", "shared-networks", "reservations"];
/// Keys that say nothing that could be taken over.
const EMPTY: [&str; 4] = ["id", "name", "comment", "user-context"];

type Object<'a> = BTreeMap<String, &'a RawValue>;

pub(super) fn parse(text: &str) -> Result<Imported, SyntaxError> {
    let (plain, includes) = plain(text)?;
    // An included file may hold a value, members of an object, or elements of a list.
    let forms = [plain.clone(), format!("{{{plain}}}"), format!("[{plain}]")];
    let mut first = None;
    for form in &forms {
        match serde_json::from_str::<&RawValue>(form) {
            Ok(value) => {
                let mut reader = Reader { text: form, imported: Imported { includes, ..Imported::default() } };
                let is_list_of_hosts = value.get().starts_with('[');
                reader.walk(value, if is_list_of_hosts { "reservations" } else { "" });
                return Ok(reader.imported);
            }
            Err(error) => drop(first.get_or_insert(error)),
        }
    }
    match first {
        Some(error) => {
            let (line, column, said) = (error.line() as u32, error.column(), error.to_string());
            let said = said.split(" at line ").next().unwrap_or(&said);
            Err(SyntaxError { line, what: format!("not JSON as Kea reads it, at column {column}: {said}") })
        }
        None => Ok(Imported::default()),
    }
}

struct Reader<'a> {
    text: &'a str,
    imported: Imported,
}

impl<'a> Reader<'a> {
    fn line(&self, value: &RawValue) -> u32 {
        // Every value is a slice of the text.
        line_of(self.text, (value.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize))
    }

    /// Goes through a value that stands under a key.
    fn walk(&mut self, value: &'a RawValue, key: &str) {
        if let Ok(list) = serde_json::from_str::<Vec<&RawValue>>(value.get()) {
            list.into_iter().for_each(|element| self.walk(element, key));
            return;
        }
        let Ok(object) = serde_json::from_str::<Object<'a>>(value.get()) else { return };
        let is_holder = object.contains_key("subnet") || HOLDERS.iter().any(|holder| object.contains_key(*holder));
        // One by its duid or client-id is a reservation too; what has an hw-address is one also in a file by itself.
        if object.contains_key("hw-address") || key == "reservations" && !is_holder {
            return self.reservation(value, &object);
        }
        for (key, value) in object {
            if HOLDERS.contains(&key.as_str()) {
                self.walk(value, &key);
            } else if !EMPTY.contains(&key.as_str()) && !is_empty(value) {
                let line = self.line(value);
                self.imported.leave(line, key);
            }
        }
    }

    fn reservation(&mut self, value: &RawValue, object: &Object<'_>) {
        let line = self.line(value);
        let text = |key: &str| object.get(key).and_then(|value| serde_json::from_str::<String>(value.get()).ok());
        let (hardware, address, name) =
            (text("hw-address"), text("ip-address"), text("hostname").filter(|name| !name.is_empty()));
        let who = name.clone().or(hardware.clone()).or(address.clone()).unwrap_or_default();
        let Some(mac) = hardware.as_deref().and_then(parse_mac) else {
            return self.imported.leave(line, format!("the reservation of {who:?}: it has no hw-address of an Ethernet card"));
        };
        let ip = address.as_deref().and_then(|address| self.imported.read_ip(line, address));
        if let (Some(address), None) = (&address, ip) {
            let rest = "the machine is taken over without a reserved address";
            self.imported.leave(line, format!("{who}: {address:?} is no IPv4 address; {rest}"));
        }
        for (key, value) in object {
            if !["hw-address", "ip-address", "hostname", "comment", "user-context"].contains(&key.as_str()) && !is_empty(value) {
                let line = self.line(value);
                self.imported.leave(line, format!("{who}: {key}"));
            }
        }
        self.imported.machines.push(Reservation { line, name, declared: None, macs: vec![mac], ip });
    }
}

fn is_empty(value: &RawValue) -> bool {
    matches!(value.get(), "null" | "\"\"") || matches!(value.get().split_whitespace().collect::<String>().as_str(), "[]" | "{}")
}

/// The text as plain JSON, each byte in its place, and the files it includes.
fn plain(text: &str) -> Result<(String, Vec<Include>), SyntaxError> {
    let mut out = text.as_bytes().to_vec();
    let mut includes = Vec::new();
    let mut holders = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let unclosed = |what: &str| SyntaxError { line: line_of(text, at), what: format!("this {what} is not closed") };
        let until = |end: &str, what: &str| rest.find(end).map(|found| found + end.len()).ok_or_else(|| unclosed(what));
        let length = if rest.starts_with('"') {
            string_length(rest).ok_or_else(|| unclosed("string"))?
        } else if rest.starts_with('#') || rest.starts_with("//") {
            let length = rest.find('\n').unwrap_or(rest.len());
            blank(&mut out[at..at + length]);
            length
        } else if rest.starts_with("/*") {
            let length = until("*/", "comment")?;
            blank(&mut out[at..at + length]);
            length
        } else if rest.starts_with("<?include") {
            let length = until("?>", "include")?;
            let path = rest[..length].split('"').nth(1).unwrap_or_default().to_owned();
            includes.push(Include {
                line: line_of(text, at),
                path,
                format: Format::Kea,
                reach: Reach::File,
                endings: Vec::new(),
            });
            blank(&mut out[at..at + length]);
            let before = out[..at].iter().rev().find(|byte| !byte.is_ascii_whitespace());
            // In an object it stands for members, anywhere else for a value.
            if before == Some(&b':') || holders.last() == Some(&b'[') {
                out[at..at + 4].copy_from_slice(b"null");
            }
            length
        } else {
            match rest.as_bytes()[0] {
                open @ (b'[' | b'{') => holders.push(open),
                b']' | b'}' => drop(holders.pop()),
                _ => {}
            }
            rest.chars().next().map_or(1, char::len_utf8)
        };
        at += length;
    }
    drop_commas(&mut out);
    String::from_utf8(out).map(|text| (text, includes)).map_err(|_| SyntaxError { line: 1, what: "this is not UTF-8".to_owned() })
}

/// The length of the string that a text begins with.
fn string_length(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn blank(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
}

/// Takes away commas that have nothing before or behind them.
fn drop_commas(text: &mut [u8]) {
    let mut is_quoted = false;
    let mut is_escaped = false;
    // Where the last comma stands that has had nothing behind it so far, and whether one would have something before it.
    let (mut comma, mut has_value) = (None, false);
    for at in 0..text.len() {
        let byte = text[at];
        if is_quoted {
            match byte {
                _ if is_escaped => is_escaped = false,
                b'\\' => is_escaped = true,
                b'"' => is_quoted = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b',' if comma.is_some() || !has_value => text[at] = b' ',
            b',' => comma = Some(at),
            b']' | b'}' => {
                if let Some(comma) = comma.take() {
                    text[comma] = b' ';
                }
                has_value = true;
            }
            byte if byte.is_ascii_whitespace() => {}
            byte => {
                comma = None;
                has_value = !matches!(byte, b'[' | b'{');
                is_quoted = byte == b'"';
            }
        }
    }
    if let Some(comma) = comma {
        text[comma] = b' ';
    }
}
