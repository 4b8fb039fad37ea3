//! A table of machines, as a spreadsheet or an inventory writes it.
//!
//! **Invariant:** a column is what the first rows call it, else what most of its fields are; where no column is called the name, it is
//! the first that is left and says something else in each row. Whatever is not taken over is told, and so is a column that is not.

use super::{Imported, Reservation, SyntaxError, line_of, parse_mac};
use crate::names::near_ipv4;
use csv::{ReaderBuilder, StringRecord, Trim};
use std::collections::BTreeSet;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Name,
    Mac,
    Ip,
    /// The number of the row.
    Number,
}

/// The names of columns: letters and digits alone, in small letters. Spreadsheets of this trade are Chinese as often as English.
const NAMES: [(&str, Column); 50] = [
    ("name", Column::Name),
    ("hostname", Column::Name),
    ("host", Column::Name),
    ("machine", Column::Name),
    ("machinename", Column::Name),
    ("computer", Column::Name),
    ("computername", Column::Name),
    ("pc", Column::Name),
    ("pcname", Column::Name),
    ("seat", Column::Name),
    ("client", Column::Name),
    ("device", Column::Name),
    ("devicename", Column::Name),
    ("workstation", Column::Name),
    ("主机名", Column::Name),
    ("主机", Column::Name),
    ("计算机名", Column::Name),
    ("电脑名", Column::Name),
    ("机器名", Column::Name),
    ("名称", Column::Name),
    ("机号", Column::Name),
    ("座位", Column::Name),
    ("座位号", Column::Name),
    ("mac", Column::Mac),
    ("macs", Column::Mac),
    ("macaddress", Column::Mac),
    ("ethernet", Column::Mac),
    ("ethernetaddress", Column::Mac),
    ("physicaladdress", Column::Mac),
    ("lancard", Column::Mac),
    ("hardware", Column::Mac),
    ("hardwareaddress", Column::Mac),
    ("hwaddress", Column::Mac),
    ("物理地址", Column::Mac),
    ("网卡", Column::Mac),
    ("网卡地址", Column::Mac),
    ("ip", Column::Ip),
    ("ips", Column::Ip),
    ("ipaddress", Column::Ip),
    ("ipv4", Column::Ip),
    ("ipv4address", Column::Ip),
    ("address", Column::Ip),
    ("no", Column::Number),
    ("nr", Column::Number),
    ("id", Column::Number),
    ("number", Column::Number),
    ("index", Column::Number),
    ("row", Column::Number),
    ("序号", Column::Number),
    ("编号", Column::Number),
];

/// A row, and its line.
type Row = (u32, StringRecord);

pub(super) fn parse(text: &str) -> Result<Imported, SyntaxError> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .comment(Some(b'#'))
        .delimiter(delimiter(text))
        .from_reader(text.as_bytes());
    let mut rows: Vec<Row> = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(1, |position| position.line() as u32);
            SyntaxError { line, what: "does not read as a row of a table".to_owned() }
        })?;
        let line = line(text, record.position().map_or(0, |position| position.byte() as usize));
        // A row that a spreadsheet program left empty.
        if !record.iter().all(|field| field.trim_matches([',', ';', '\t', ' ']).is_empty()) {
            rows.push((line, record));
        }
    }
    let mut imported = Imported::default();
    let (heads, rows) = split(&mut imported, &rows);
    if let Some((line, heads)) = heads {
        refuse_leases(*line, heads)?;
        if rows.is_empty() {
            imported.leave(*line, format!("{:?} names columns, and no row stands below it", spelled(heads)));
            return Ok(imported);
        }
    }
    let columns = judge_columns(heads, rows);
    if let Some((line, heads)) = heads {
        for (at, head) in heads.iter().enumerate().filter(|(_, head)| !head.is_empty()) {
            if !matches!(columns.get(at), Some(Some(_))) {
                imported.leave(*line, format!("the column {head:?}"));
            }
        }
    }
    for (line, record) in rows {
        read_row(&mut imported, *line, record, heads.is_some(), &columns);
    }
    Ok(imported)
}

/// Kea's file of leases is such a table too, and a journal: a row says nothing without those that follow it.
fn refuse_leases(line: u32, heads: &StringRecord) -> Result<(), SyntaxError> {
    let has = |name: &str| heads.iter().any(|head| head == name);
    match has("hwaddr") && has("valid_lifetime") && has("expire") {
        true => Err(SyntaxError { line, what: "this is Kea's journal of leases, and no list of reservations".to_owned() }),
        false => Ok(()),
    }
}

/// The row that names the columns, if there is one, and the rows below it. A title above is told.
fn split<'r>(imported: &mut Imported, rows: &'r [Row]) -> (Option<&'r Row>, &'r [Row]) {
    let is_machine = |(_, record): &Row| record.iter().any(has_mac);
    let first = rows.iter().position(is_machine).unwrap_or(rows.len().min(1));
    let names = |(_, record): &Row| record.iter().filter(|field| column(field).is_some()).count();
    let named = rows[..first].iter().position(|row| names(row) > 0);
    // One that names nothing we know, right above the machines, is of as many fields as they have.
    let width = |(_, record): &Row| record.iter().filter(|field| !field.is_empty()).count();
    let above = first.checked_sub(1).filter(|at| rows.get(first).is_some_and(is_machine) && width(&rows[*at]) > 1);
    let is_address = |(_, record): &Row| record.iter().any(is_ip);
    let Some(at) = named.or(above.filter(|at| !is_address(&rows[*at]))) else { return (None, rows) };
    for (line, record) in &rows[..at] {
        imported.leave(*line, format!("{:?} above the table", spelled(record)));
    }
    if named.is_none() {
        imported.leave(rows[at].0, format!("{:?}: it is taken for the names of the columns", spelled(&rows[at].1)));
    }
    (Some(&rows[at]), &rows[at + 1..])
}

/// What a column is called, if that is known: with what is not a letter or a digit taken out, and again with what is not ASCII.
fn column(head: &str) -> Option<Column> {
    let plain: String = head.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    let ascii: String = plain.chars().filter(char::is_ascii).collect();
    let known = |word: &str| NAMES.iter().find(|(name, _)| *name == word).map(|(_, column)| *column);
    known(&plain).or_else(|| known(&ascii).filter(|column| *column != Column::Number))
}

/// What each column holds; `None` for one without a use.
fn judge_columns(heads: Option<&Row>, rows: &[Row]) -> Vec<Option<Column>> {
    let Some((_, heads)) = heads else { return Vec::new() };
    let width = rows.iter().map(|(_, record)| record.len()).max().unwrap_or(0).max(heads.len());
    let fields = |at: usize| rows.iter().filter_map(move |(_, record)| record.get(at)).filter(|field| !field.is_empty());
    let most = |at: usize, is: &dyn Fn(&str) -> bool| {
        let (all, such) = (fields(at).count(), fields(at).filter(|field| is(field)).count());
        all > 0 && such * 2 > all
    };
    let judge = |at: usize| match heads.get(at).and_then(column) {
        Some(known) => Some(known),
        None if most(at, &|field| has_mac(field)) => Some(Column::Mac),
        None if most(at, &is_ip) => Some(Column::Ip),
        None => None,
    };
    let mut columns: Vec<Option<Column>> = (0..width).map(judge).collect();
    if !columns.contains(&Some(Column::Name)) {
        let is_distinct = |at: &usize| {
            let different: BTreeSet<&str> = fields(*at).collect();
            !different.is_empty() && different.len() == fields(*at).count()
        };
        let of = |wanted: Option<Column>| (0..width).filter(|at| columns[*at] == wanted).find(is_distinct);
        if let Some(at) = of(None).or_else(|| of(Some(Column::Number))) {
            columns[at] = Some(Column::Name);
        }
    }
    columns.into_iter().map(|column| column.filter(|column| *column != Column::Number)).collect()
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

fn read_row(imported: &mut Imported, line: u32, record: &StringRecord, has_heads: bool, columns: &[Option<Column>]) {
    let mut machine = Reservation { line, name: None, declared: None, macs: Vec::new(), ip: None };
    let (mut no_macs, mut no_ips) = (Vec::new(), Vec::new());
    let is_mac = |at: usize| columns.get(at) == Some(&Some(Column::Mac));
    let has_own = record.iter().enumerate().any(|(at, field)| is_mac(at) && has_mac(field));
    for (at, field) in record.iter().enumerate().filter(|(_, field)| !field.is_empty()) {
        let column = match columns.get(at) {
            // A row whose Ethernet address slipped into another column has one all the same.
            Some(_) if !has_own && has_mac(field) => Some(Some(Column::Mac)),
            Some(column) => Some(*column),
            None if has_heads => None,
            None => Some(Some(shape(field, &machine))),
        };
        match column {
            Some(Some(Column::Mac)) => {
                for word in words(field) {
                    match parse_mac(word) {
                        Some(mac) => machine.macs.push(mac),
                        None => no_macs.push(word),
                    }
                }
            }
            Some(Some(Column::Ip)) => match machine.ip {
                Some(_) if is_ip(field) => imported.leave(line, format!("the further address {field}")),
                None if is_ip(field) => machine.ip = imported.read_ip(line, field),
                _ => no_ips.push(field),
            },
            Some(Some(Column::Name)) if machine.name.is_none() => machine.name = Some(field.to_owned()),
            // A column without a use was told once, at its head.
            Some(None | Some(Column::Number)) => {}
            Some(Some(Column::Name)) | None => imported.leave(line, format!("the field {field:?}")),
        }
    }
    // A row that is not taken over is told once, whatever is wrong with it.
    if machine.macs.is_empty() {
        let why = match no_macs.first() {
            Some(word) => format!("{word:?} is no Ethernet address of a machine"),
            None => "it names no Ethernet address".to_owned(),
        };
        return imported.leave(line, format!("{:?}: {why}", spelled(record)));
    }
    for word in no_macs {
        imported.leave(line, format!("{word:?} is no Ethernet address of a machine"));
    }
    for field in no_ips {
        let rest = if machine.ip.is_none() { "; the machine is taken over without a reserved address" } else { "" };
        imported.leave(line, format!("{field:?} is no IPv4 address{rest}"));
    }
    imported.machines.push(machine);
}

/// A row as it is told.
fn spelled(record: &StringRecord) -> String {
    record.iter().filter(|field| !field.is_empty()).collect::<Vec<_>>().join(", ")
}

fn words(field: &str) -> impl Iterator<Item = &str> {
    field.split([' ', ',', ';', '/']).filter(|word| !word.is_empty())
}

/// Whether a field is an IPv4 address, as people write one.
fn is_ip(field: &str) -> bool {
    near_ipv4(field).is_some()
}

/// Whether a field begins with an Ethernet address.
fn has_mac(field: &str) -> bool {
    words(field).next().and_then(parse_mac).is_some()
}

/// What a field of a table without heads is.
fn shape(field: &str, machine: &Reservation) -> Column {
    // Twelve digits are an address that lost its dots once the row has its Ethernet address.
    if is_ip(field) && (field.contains('.') || !machine.macs.is_empty()) {
        Column::Ip
    } else if machine.macs.is_empty() && has_mac(field) {
        Column::Mac
    } else {
        Column::Name
    }
}
