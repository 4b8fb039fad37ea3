//! TOML text becomes the types of [`super::raw`], with every problem of form found on the way.
//!
//! serde stops at the first problem. So the text is parsed once into a tree that knows its places, and when a type refuses
//! the tree, the finding is recorded, the offending entry is cut out, and the type reads the tree again.
//!
//! **Invariant:** one problem is one finding; an entry that was cut out is remembered, so that it is not called missing too.

use super::{
    advice, keys,
    raw::Spanned,
    report::{FileId, Place, Problem, Report, error},
    schema::{self, Form, Shape},
    spelling, words,
};
use crate::names::Platform;
use ipnet::Ipv4Net;
use serde::de::DeserializeOwned;
use serde_spanned::Spanned as Located;
use std::{net::Ipv4Addr, ops::Range};
use toml::de::{DeTable, DeValue, ValueDeserializer};

/// How often one table is read again before the rest of its problems waits for the next check.
const ATTEMPTS: usize = 50;

/// Takes the entries of an array of tables out of a table, to be read one by one; leaves anything else there.
pub(super) fn take_entries<'a>(table: &mut DeTable<'a>, key: &str) -> Vec<Located<DeValue<'a>>> {
    match table.get(key).map(Located::get_ref) {
        Some(DeValue::Array(_)) => match table.remove(key).map(Located::into_inner) {
            Some(DeValue::Array(entries)) => entries.into_iter().collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Reads a file's table; `T::default()` if nothing of it can be read. `sections` are its keys that are tables.
pub(super) fn read_file<T: DeserializeOwned + Default>(
    report: &mut Report<'_>,
    file: FileId,
    mut table: DeTable<'_>,
    sections: &[&str],
) -> T {
    // serde's derived types would take an array for a table, its values by position.
    for section in sections {
        let Some(value) = table.get(*section).filter(|value| !value.get_ref().is_table()) else { continue };
        let problem = error("table-expected", file.at(value.span().start as u32), format!("{section} must be a table"));
        let example = example_table(section, "").map(|example| format!(": {example}")).unwrap_or_default();
        report.push(problem.hint(format!("write [{section}] on a line of its own, and its keys below it{example}")));
        report.mark_broken(file, 0, section);
        table.remove(*section);
    }
    read(report, file, Located::new(0..0, DeValue::Table(table))).unwrap_or_default()
}

/// Reads the entries of an array of tables, each for itself, so that a problem costs one entry and not the file.
pub(super) fn read_entries<T: DeserializeOwned>(
    report: &mut Report<'_>,
    file: FileId,
    (entries, key): (Vec<Located<DeValue<'_>>>, &str),
) -> Vec<Spanned<T>> {
    entries
        .into_iter()
        .filter_map(|entry| {
            let start = entry.span().start as u32;
            if entry.get_ref().as_table().is_some_and(DeTable::is_empty) {
                let line = report.slice(file, start as usize, usize::MAX).lines().next().unwrap_or("");
                let header = line.trim_start_matches('[').split(']').next().unwrap_or("").trim().to_owned();
                let problem = error("empty-entry", file.at(start), format!("nothing stands below this [[{header}]]"));
                report.push(problem.hint("write its keys below it, or remove the line").alike(""));
                report.mark_broken(file, 0, &header);
                return None;
            }
            if !entry.get_ref().is_table() {
                let written = report.slice(file, entry.span().start, entry.span().end).trim_matches(['"', '\'']);
                let hint = advice::moved(key, written)
                    .map(|entry| format!("write moved = [{entry}]"))
                    .unwrap_or_else(|| format!("write [[{key}]] on a line of its own, and its keys below it"));
                let problem = error("table-expected", file.at(start), format!("each entry of {key} must be a table"));
                report.push(problem.hint(hint).alike(key));
                return None;
            }
            read(report, file, entry).map(|value| Spanned { value, start })
        })
        .collect()
}

/// Reads a value as a type, cutting out what the type refuses; `None` if it refuses the whole.
fn read<T: DeserializeOwned>(report: &mut Report<'_>, file: FileId, mut value: Located<DeValue<'_>>) -> Option<T> {
    for _ in 0..ATTEMPTS {
        let refusal = match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(read) => return Some(read),
            Err(refusal) => refusal,
        };
        let span = refusal.span().unwrap_or_else(|| value.span());
        let start = value.span().start as u32;
        let cut = cut(value.get_mut(), start, &span);
        let key = if let Cut::Entry { key, .. } = &cut { key } else { "" };
        let (problem, Meant { here, at_top }) = explain(report, file, (refusal.message(), key), &span);
        report.push(problem);
        let Cut::Entry { table, key } = cut else {
            report.give_up(file);
            return None;
        };
        report.mark_broken(file, table, &key);
        for meant in here {
            report.mark_broken(file, table, meant);
        }
        for meant in at_top {
            report.mark_broken(file, 0, meant);
        }
    }
    let rule = format!("more than {ATTEMPTS} problems in one table; the rest is not listed");
    report
        .push(error("too-many-problems", file.at(value.span().start as u32), rule).hint("mend the ones listed and check again"));
    report.give_up(file);
    None
}

/// What became of an attempt to cut an entry out.
enum Cut {
    /// It was this key of the table that begins there.
    Entry { table: u32, key: String },
    /// It was an element of this array itself.
    Element,
    /// It is not in here.
    Nothing,
}

/// Cuts out the smallest entry that stands at `span`.
fn cut(value: &mut DeValue<'_>, start: u32, span: &Range<usize>) -> Cut {
    match value {
        DeValue::Table(table) => cut_table(table, start, span),
        DeValue::Array(array) => {
            let mut here = None;
            for (at, entry) in array.as_mut().iter_mut().enumerate() {
                let own = entry.span();
                match cut(entry.get_mut(), own.start as u32, span) {
                    Cut::Nothing if covers(&own, span) => here = Some(at),
                    Cut::Nothing => {}
                    done => return done,
                }
            }
            if let Some(here) = here {
                let entries = array.iter().enumerate();
                *array = entries.filter(|(at, _)| *at != here).map(|(_, entry)| entry.clone()).collect();
                return Cut::Element;
            }
            Cut::Nothing
        }
        _ => Cut::Nothing,
    }
}

fn cut_table(table: &mut DeTable<'_>, start: u32, span: &Range<usize>) -> Cut {
    let mut found = None;
    for (key, value) in table.iter_mut() {
        let own = value.span();
        let here = || Cut::Entry { table: start, key: key.get_ref().to_string() };
        match cut(value.get_mut(), own.start as u32, span) {
            Cut::Nothing if covers(&key.span(), span) || covers(&own, span) => found = Some(key.get_ref().to_string()),
            Cut::Nothing => {}
            Cut::Element => return here(),
            done => return done,
        }
    }
    let Some(key) = found else { return Cut::Nothing };
    table.remove(key.as_str());
    Cut::Entry { table: start, key }
}

fn covers(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

/// Which keys were meant by an unknown one: of its own table, and of the file's top. They are not called missing as well.
#[derive(Default)]
struct Meant {
    here: Vec<&'static str>,
    at_top: Vec<&'static str>,
}

/// Says a refusal in our words; also which keys were meant by an unknown one.
fn explain(report: &Report<'_>, file: FileId, (message, key): (&str, &str), span: &Range<usize>) -> (Problem, Meant) {
    let place = file.at(span.start as u32);
    let path = report.path(file);
    let slice = report.slice(file, span.start, span.end);
    let written = slice.trim_matches(['"', '\'']);
    let legal = legal_words(message);
    if message.starts_with("unknown field") {
        let is_header = report.slice(file, span.start.saturating_sub(1), span.start) == "[";
        let shape = if is_header { Shape::Header } else { Shape::Pair };
        let advice = keys::advise(path, (written, shape), &legal);
        let problem = error("unknown-key", place, format!("unknown key {written:?}")).hint(advice.hint);
        let own = schema::key(path, written).filter(|key| schema::form_of_top(path, key).is_some());
        let meant = Meant { here: advice.meant, at_top: own.into_iter().chain(advice.owner).collect() };
        return match (advice.owner, advice.alike) {
            (Some(owner), _) => (problem.alike(format!("below {owner}")), meant),
            (None, Some(alike)) => (problem.alike(alike), meant),
            (None, None) => (problem, meant),
        };
    }
    if message.starts_with("unknown variant") {
        let meant = words::value(key, written, &legal).map(|word| format!("did you mean \"{word}\"? "));
        let guess = meant.unwrap_or_else(|| spelling::did_you_mean(written, legal.iter().copied()));
        let quoted: Vec<String> = legal.iter().map(|word| format!("\"{word}\"")).collect();
        let hint = format!("{guess}legal here: {}", quoted.join(", "));
        return (error("unknown-value", place, format!("unknown value {written:?} of {key}")).hint(hint), Meant::default());
    }
    let words = schema::words_of(path, key);
    // An enumeration's own refusal of what is no text; it would take a table where one of its words had any fields.
    if message == "wanted string or table" && !words.is_empty() {
        let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        let problem = error("text-expected", place, format!("{key} takes a word in double quotes, and this is none"));
        return (problem.hint(format!("legal here: {}", quoted.join(", "))), Meant::default());
    }
    if message.starts_with("invalid type") {
        let advised = advice::value(path, key, written).map(|value| format!("write {key} = {value}"));
        let advised = advised.or_else(|| advice::several(path, key, written));
        let advised = words::left_out(key, written).map(str::to_owned).or(advised);
        let advised = advised.or_else(|| advice::two_ranges(key, written));
        let advised = advised.or_else(|| table_to_write(report.header_before(file, span.start), path, key, written));
        return (wrong_type(place, (path, key, slice), message, advised).alike(format!("{key} {message}")), Meant::default());
    }
    let in_list = matches!(schema::form_of(path, key), Some(Form::List(_)));
    let near = if in_list { advice::item(path, key, written) } else { advice::value(path, key, written) };
    // What was written is not to be written again.
    let near = near.filter(|near| near.trim_matches(['"', '\'']) != written);
    let advised = near.map(|near| if in_list { format!("write {near}") } else { format!("write {key} = {near}") });
    // What differs from line to line does not make another mistake of it.
    let kind = message.replacen(&format!("{written:?}"), "", 1);
    let kind = kind.split("; the subnet is").next().unwrap_or(&kind).to_owned();
    let bounds = message.strip_prefix("invalid value: integer ").and_then(|rest| rest.split_once("expected "));
    let said = match bounds {
        Some((_, bounds)) => {
            format!("{key} is {written}, and must be {}", in_tomls_words(&format!("expected {bounds}")).replace("expected ", ""))
        }
        None => in_tomls_words(message),
    };
    let problem = error(code_of(message), place, said).alike(kind);
    let of_path = || if code_of(message) == "invalid-path" { advice::store(path, key, written) } else { None };
    let nothing = || words::left_out(key, written).map(str::to_owned);
    let several = || advice::several(path, key, written).or_else(|| advice::range_and_lease(key, written));
    let of_mask = || if key == "subnet" { network_of(report, file, written) } else { None };
    match advised
        .filter(|_| nothing().is_none())
        .or_else(nothing)
        .or_else(several)
        .or_else(of_path)
        .or_else(of_mask)
        .or_else(|| example_of(key, message))
    {
        Some(hint) => (problem.hint(hint), Meant::default()),
        None => (problem, Meant::default()),
    }
}

/// What to write where a netmask stands in place of the network: the one that the file's range and router are of.
fn network_of(report: &Report<'_>, file: FileId, written: &str) -> Option<String> {
    let prefix = advice::netmask(written)?;
    let text = report.slice(file, 0, usize::MAX);
    let lines = text.lines().map(str::trim_start).filter(|line| line.starts_with("range") || line.starts_with("router"));
    let words = lines.flat_map(|line| line.split(|c: char| !c.is_ascii_digit() && c != '.'));
    let network = words.filter_map(|word| word.parse::<Ipv4Addr>().ok()).find_map(|known| Ipv4Net::new(known, prefix).ok());
    let of = "that is a netmask; write the network that it is of, and the mask as its prefix";
    Some(match network {
        Some(network) => format!("{of}: subnet = \"{}\"", network.trunc()),
        None => format!("{of}, such as \"192.168.1.0/{prefix}\""),
    })
}

/// What a table looks like on one line; `written` may be one of its values.
fn example_table(key: &str, written: &str) -> Option<String> {
    Some(match key {
        "loader" => {
            let platform =
                if written.is_empty() || Platform::UefiX64.takes(written) { Platform::UefiX64 } else { Platform::Bios };
            let file = if advice::is_loader(written) { written } else { "ipxe.efi" };
            format!("loader = {{ {platform} = \"{file}\" }}")
        }
        "pxe" => format!("pxe = {{ {} = \"menu\" }}", Platform::UefiX64),
        "options" => "options = { ntp-servers = [\"192.168.1.2\"] }".to_owned(),
        _ => return None,
    })
}

/// What to write for a table within a table: on one line, or with a header that names both.
fn table_to_write(header: Option<&str>, path: &str, key: &str, written: &str) -> Option<String> {
    if schema::form_of(path, key) != Some(Form::Table) || schema::form_of_top(path, key).is_some() {
        return None;
    }
    let owners = schema::tables_with(path, key);
    let owner = owners.iter().find(|owner| Some(owner.as_str()) == header).or(owners.first())?;
    let example = example_table(key, written).map(|example| format!("{example}; or ")).unwrap_or_default();
    Some(format!("write {example}[{owner}.{key}] on a line of its own, and its keys below it"))
}

/// A value of another type than its key takes.
fn wrong_type(place: Place, (path, key, slice): (&str, &str, &str), message: &str, advised: Option<String>) -> Problem {
    let found = message.strip_prefix("invalid type: ").and_then(|rest| rest.split([',', ' ']).next()).unwrap_or("");
    let found = match found {
        "integer" | "floating" => "a number",
        "boolean" => "true or false",
        "string" => "a text",
        "sequence" => "a list",
        "map" if !slice.starts_with(['[', '{']) => "a date",
        "map" => "a table",
        _ => "a date",
    };
    let (code, wanted, hint) = match schema::form_of(path, key) {
        Some(Form::Flag) => ("flag-expected", "true or false", format!("write {key} = true, or {key} = false, without quotes")),
        Some(Form::Number) => ("number-expected", "a whole number", format!("write {key} = and a whole number, without quotes")),
        Some(Form::Text(_)) => ("text-expected", "a text in double quotes", advice::such_as(path, key)),
        Some(Form::List(_)) => ("list-expected", "a list of texts in [ ]", advice::such_as(path, key)),
        Some(Form::Table) => ("table-expected", "a table", format!("write [{key}] on a line of its own, and its keys below it")),
        Some(Form::Tables) => {
            ("table-expected", "a list of tables", format!("write [[{key}]] on a line of its own, and its keys below it"))
        }
        None => ("wrong-type", "something else", String::new()),
    };
    if hint.is_empty() {
        return error(code, place, in_tomls_words(message));
    }
    let message = match found == "a list" && matches!(schema::form_of(path, key), Some(Form::List(_))) {
        true => format!("an entry of {key} is no text in double quotes"),
        false => format!("{key} takes {wanted}, and this is {found}"),
    };
    error(code, place, message).hint(advised.unwrap_or(hint))
}

/// serde speaks of Rust's types; people who write TOML do not.
fn in_tomls_words(message: &str) -> String {
    let words = [
        ("a sequence", "a list"),
        (": sequence", ": list"),
        (": map", ": table"),
        ("expected u16", "expected a whole number from 0 to 65535"),
        ("expected u32", "expected a whole number from 0 to 4294967295"),
    ];
    words.into_iter().fold(message.to_owned(), |text, (word, ours)| match text.strip_suffix(word) {
        Some(before) => format!("{before}{ours}"),
        None if word.starts_with(':') => text.replacen(&format!("invalid type{word},"), &format!("invalid type{ours},"), 1),
        None => text,
    })
}

/// The code of a value that its type refuses, by what the value should have been.
fn code_of(message: &str) -> &'static str {
    let codes = [
        ("MAC address ", "invalid-mac"),
        ("address ", "invalid-address"),
        ("subnet ", "invalid-subnet"),
        ("range ", "invalid-range"),
        ("size ", "invalid-size"),
        ("duration ", "invalid-duration"),
        ("percentage ", "invalid-percentage"),
        ("title ", "invalid-title"),
        ("source ", "invalid-path"),
        ("asset path ", "invalid-path"),
        ("directory ", "invalid-path"),
        ("file ", "invalid-path"),
        ("loader ", "invalid-path"),
        ("site name ", "invalid-name"),
        ("machine name ", "invalid-name"),
        ("image name ", "invalid-name"),
        ("version name ", "invalid-name"),
    ];
    codes.iter().find(|(what, _)| message.starts_with(what)).map_or("invalid-value", |(_, code)| code)
}

/// What a value looks like that nothing near to it is known for.
fn example_of(key: &str, message: &str) -> Option<String> {
    let begins = |what: &str| message.starts_with(what);
    let hint = match code_of(message) {
        _ if key == "may-destroy" => {
            "write \"win11@2026-10\" for a version, \"pc03.ubuntu\" for a machine's disk, or \"*\" for everything"
        }
        "invalid-name" if begins("version name ") => "write letters a-z, digits, '-' and '.', such as \"2026-11\"",
        "invalid-name" if begins("image name ") => {
            "write the name of an image, which is that of its file in images/ without .toml: letters a-z, digits and '-'"
        }
        "invalid-name" if begins("site name ") => "write letters a-z, digits and '-', such as \"lucky-cat\"",
        "invalid-name" => "write letters a-z, digits and '-', such as \"cashier-1\"",
        "invalid-path"
            if begins("asset path ") && ["must measure", "an empty part"].iter().any(|rule| message.contains(rule)) =>
        {
            "write the path of a file below the asset store, such as \"debian/linux\""
        }
        "invalid-path" if begins("asset path ") || begins("loader ") => {
            "rename the file: letters, digits, '.', '_', '+' and '-' are understood everywhere, but '-' not in front"
        }
        "invalid-path" if begins("source ") => {
            "rename the file, such as to win11-2026-11.raw: no ':', no '\\', and no '-' in front"
        }
        "invalid-path" if key == "loaders" => "write the whole path of a directory of the server, such as \"/usr/lib/ipxe\"",
        "invalid-path" if begins("file ") => "write the whole path of a file of the server, such as \"/etc/barista/chap.toml\"",
        "invalid-path" => "write the whole path of a directory of the server, such as \"/srv/images\"",
        "invalid-address" => "write four numbers from 0 to 255 with dots between, such as \"192.168.1.101\"",
        "invalid-subnet" => "write the first address and the length of its prefix, such as \"192.168.1.0/24\"",
        "invalid-range" => "write the first and the last address, such as \"192.168.1.200-192.168.1.249\"",
        "invalid-size" => "write a number and its unit, such as \"64GiB\"",
        "invalid-duration" if message.ends_with("ten years are the most") => "write a shorter time, such as \"7d\"",
        "invalid-duration" => "write a number and its unit, such as \"5s\", \"10m\" or \"8h\"",
        "invalid-percentage" => "write a number and %, such as \"10%\"",
        "invalid-title" if message.contains("wider than") => {
            "write it shorter: at most 72 columns, so that a menu has room for it"
        }
        "invalid-title" if message.contains("must not be empty") => "write a name for people, or leave title out",
        "invalid-title" => "write it on one line, without control characters, and without what iPXE reads as script",
        _ if begins("menu title ") => "write it in letters of English, digits and blanks, at most 72; title takes any language",
        _ if begins("args ") => "write the kernel's own words on one line, in ASCII: a ${…} is iPXE's, and not the kernel's",
        _ if begins("key ") => "write the one key of a keyboard that chooses it, such as \"w\" or \"1\"",
        "invalid-mac" => {
            "write the card's own six pairs of 0-9 and a-f, such as \"88:ae:dd:05:08:fa\"; ipconfig /all shows it as Physical Address"
        }
        _ if begins("interface name ") => "write the name that `ip -br link` shows on the server, such as \"eno1\"",
        _ if begins("IQN ") => {
            "write iqn., a year and month in which you held a domain, and the domain reversed, such as \"iqn.2026-11.local.cafe\""
        }
        _ if begins("volume group name ") => "write the name that `vgs` shows on the server, such as \"cafe\"",
        _ if begins("logical volume name ") => "write the name that `lvs` shows on the server, such as \"pool\"",
        _ if begins("sha256 ") => "write what sha256sum prints before the file's name",
        _ if begins("domain ") => "write names of letters, digits and '-' with dots between, such as \"cafe.example\"",
        _ if begins("invalid value: integer ") => {
            return Some(format!("write {key} = and a whole number within these bounds, without quotes"));
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// The words that serde lists after "expected", each in backquotes. All of them are ours; the word before may be anything.
fn legal_words(message: &str) -> Vec<&str> {
    let list = message.rfind(", expected ").map_or("", |at| &message[at..]);
    list.split('`').skip(1).step_by(2).collect()
}
