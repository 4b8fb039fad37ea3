//! A table of machines, as a spreadsheet or an inventory writes it.
//!
//! **Invariant:** columns are known by the names in the first row where it has any, else each field by its shape; a column is never
//! guessed by its place.

use super::{Imported, Reservation, SyntaxError, line_of, parse_mac};
use csv::{ReaderBuilder, StringRecord, Trim};
use std::net::Ipv4Addr;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    Mac,
    Ip,
}

/// The names of columns, without blanks, dashes and capitals.
const NAMES: [(&str, Column); 16] = [
    ("name", Column::Name),
    ("hostname", Column::Name),
    ("host", Column::Name),
    ("machine", Column::Name),
    ("mac", Column::Mac),
    ("macs", Column::Mac),
    ("macaddress", Column::Mac),
    ("ethernet", Column::Mac),
    ("ethernetaddress", Column::Mac),
    ("hardware", Column::Mac),
    ("hwaddress", Column::Mac),
    ("ip", Column::Ip),
    ("ipaddress", Column::Ip),
    ("ipv4", Column::Ip),
    ("ipv4address", Column::Ip),
    ("address", Column::Ip),
];

pub(super) fn parse(text: &str) -> Result<Imported, SyntaxError> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .comment(Some(b'#'))
        .delimiter(delimiter(text))
        .from_reader(text.as_bytes());
    let mut imported = Imported::default();
    let mut heads: Option<Vec<(String, Option<Column>)>> = None;
    let mut is_first = true;
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(1, |position| position.line() as u32);
            SyntaxError { line, what: "does not read as a row of a table".to_owned() }
        })?;
        let line = line(text, record.position().map_or(0, |position| position.byte() as usize));
        if record.iter().all(str::is_empty) {
            continue;
        }
        if std::mem::take(&mut is_first)
            && let Some(found) = read_heads(&record)
        {
            for (head, _) in found.iter().filter(|(head, column)| column.is_none() && !head.is_empty()) {
                imported.leave(line, format!("the column {head:?}"));
            }
            heads = Some(found);
            continue;
        }
        read_row(&mut imported, line, &record, heads.as_deref());
    }
    Ok(imported)
}

/// The line of the record that is read from an offset on: lines that are empty or comments may come before it.
fn line(text: &str, from: usize) -> u32 {
    let mut at = from.min(text.len());
    for line in text[at..].split_inclusive('\n') {
        if !line.trim().is_empty() && !line.starts_with('#') {
            break;
        }
        at += line.len();
    }
    line_of(text, at)
}

/// What parts the fields: of the three, the one that the first row has most of.
fn delimiter(text: &str) -> u8 {
    let first = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).unwrap_or_default();
    let count = |delimiter: u8| {
        let mut is_quoted = false;
        let outside = first.bytes().filter(|byte| {
            is_quoted ^= *byte == b'"';
            *byte == delimiter && !is_quoted
        });
        outside.count()
    };
    [b'\t', b';', b','].into_iter().max_by_key(|delimiter| count(*delimiter)).unwrap_or(b',')
}

/// The columns, where a row names them: one of them at least, and no field of it is an Ethernet address.
fn read_heads(record: &StringRecord) -> Option<Vec<(String, Option<Column>)>> {
    let column = |field: &str| {
        let plain: String = field.chars().filter(char::is_ascii_alphanumeric).collect();
        NAMES.iter().find(|(name, _)| plain.eq_ignore_ascii_case(name)).map(|(_, column)| *column)
    };
    let heads: Vec<_> = record.iter().map(|field| (field.to_owned(), column(field))).collect();
    let is_heads = heads.iter().any(|(_, column)| column.is_some()) && record.iter().all(|field| parse_mac(field).is_none());
    is_heads.then_some(heads)
}

fn read_row(imported: &mut Imported, line: u32, record: &StringRecord, heads: Option<&[(String, Option<Column>)]>) {
    let mut machine = Reservation { line, name: None, macs: Vec::new(), ip: None };
    for (at, field) in record.iter().enumerate().filter(|(_, field)| !field.is_empty()) {
        let column = match heads {
            Some(heads) => heads.get(at).map(|(_, column)| *column),
            None => Some(Some(shape(field, &machine))),
        };
        match column {
            Some(Some(Column::Mac)) => {
                for word in field.split([' ', ',', ';', '/']).filter(|word| !word.is_empty()) {
                    match parse_mac(word) {
                        Some(mac) => machine.macs.push(mac),
                        None => imported.leave(line, format!("{word:?} is no Ethernet address of a machine")),
                    }
                }
            }
            Some(Some(Column::Ip)) => match field.parse::<Ipv4Addr>() {
                Ok(ip) if machine.ip.is_none() => machine.ip = Some(ip),
                Ok(ip) => imported.leave(line, format!("the further address {ip}")),
                Err(_) => imported.leave(line, format!("{field:?} is no IPv4 address")),
            },
            Some(Some(Column::Name)) if machine.name.is_none() => machine.name = Some(field.to_owned()),
            // A column without a use was told once, at its head.
            Some(None) => {}
            Some(Some(Column::Name)) | None => imported.leave(line, format!("the field {field:?}")),
        }
    }
    if machine.macs.is_empty() {
        let row = record.iter().filter(|field| !field.is_empty()).collect::<Vec<_>>().join(", ");
        return imported.leave(line, format!("{row:?}: it names no Ethernet address"));
    }
    imported.machines.push(machine);
}

/// What a field of a table without heads is.
fn shape(field: &str, machine: &Reservation) -> Column {
    if field.parse::<Ipv4Addr>().is_ok() {
        Column::Ip
    } else if machine.macs.is_empty() && parse_mac(field.split([' ', '/']).next().unwrap_or_default()).is_some() {
        Column::Mac
    } else {
        Column::Name
    }
}
