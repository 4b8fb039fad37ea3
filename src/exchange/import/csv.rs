//! A table of machines, as a spreadsheet or an inventory writes it.
//!
//! **Invariant:** a row that holds an Ethernet address is never taken for the names of the columns. Whatever is not taken over is told,
//! and so is a column that is not.

mod columns;
mod fields;

use super::{Imported, Reservation, SyntaxError, line_of, parse_mac};
use columns::{Column, counting, is_head, judge_columns, refuse_two};
use csv::{ReaderBuilder, StringRecord, Trim};
use fields::{delimiter, has_mac, holds_mac, is_ip, no_mac, plain, with_commas, words};

/// A row, and its line.
type Row = (u32, StringRecord);

pub(super) fn parse(text: &str) -> Result<Imported, SyntaxError> {
    let text = with_commas(text);
    let text = text.as_ref();
    let delimiter = delimiter(text);
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .comment(Some(b'#'))
        .delimiter(delimiter)
        .from_reader(text.as_bytes());
    let mut rows: Vec<Row> = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| {
            let line = error.position().map_or(1, |position| position.line() as u32);
            SyntaxError { line, what: "does not read as a row of a table".to_owned() }
        })?;
        let line = line(text, record.position().map_or(0, |position| position.byte() as usize));
        if record.iter().any(|field| is_swallowed(field, delimiter, (text, line))) {
            return Err(SyntaxError { line, what: "a quotation mark that begins a field here is not closed".to_owned() });
        }
        let record: StringRecord = record.iter().map(plain).collect();
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
    let columns = judge_columns(heads, rows)?;
    let counts = if heads.is_none() { counting(rows) } else { None };
    if heads.is_none() {
        refuse_two(rows)?;
    }
    if let (Some(_), Some((line, _))) = (counts, rows.first()) {
        imported.leave(*line, "the first column, which counts the rows");
    }
    if let Some((line, heads)) = heads {
        for (at, head) in heads.iter().enumerate().filter(|(_, head)| !head.is_empty()) {
            if !columns.get(at).is_some_and(|column| column.is_used()) {
                imported.leave(*line, format!("the column {head:?}"));
            }
        }
    }
    for (line, record) in rows {
        let columns = if heads.is_some() { Columns::Judged(&columns) } else { Columns::ByShape { passed_over: counts } };
        read_row(&mut imported, *line, record, columns);
    }
    Ok(imported)
}

/// How a row's fields are told apart.
#[derive(Clone, Copy)]
enum Columns<'c> {
    /// The table has heads, and its columns were judged.
    Judged(&'c [Column]),
    /// It has none: each field by its shape, but for a column that counts the rows.
    ByShape { passed_over: Option<usize> },
}

/// Whether a quoted field goes on over what are fields and rows of their own: its quotation mark has no end where it should.
fn is_swallowed(field: &str, delimiter: u8, (text, line): (&str, u32)) -> bool {
    let parts = || field.split([char::from(delimiter), '\n']).map(str::trim).filter(|part| !part.is_empty());
    let is_cut_off = || text[line_start(text, line)..].bytes().filter(|byte| *byte == b'"').count() % 2 == 1;
    field.contains(char::from(delimiter))
        && parts().any(has_mac)
        && !parts().all(has_mac)
        && (field.contains('\n') || is_cut_off())
}

/// Where a line begins.
fn line_start(text: &str, line: u32) -> usize {
    text.split_inclusive('\n').take((line as usize).saturating_sub(1)).map(str::len).sum()
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
    let names = |(_, record): &Row| record.iter().filter(|field| is_head(field)).count();
    let named = rows[..first].iter().position(|row| names(row) > 0 && !row.1.iter().any(holds_mac));
    // One that names nothing we know, right above the machines, is of as many fields as they have.
    let width = |(_, record): &Row| record.iter().filter(|field| !field.is_empty()).count();
    let above = first.checked_sub(1).filter(|at| rows.get(first).is_some_and(is_machine) && width(&rows[*at]) > 1);
    let above = above.filter(|at| !rows[*at].1.iter().any(holds_mac));
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

fn read_row(imported: &mut Imported, line: u32, record: &StringRecord, columns: Columns<'_>) {
    let mut machine = Reservation { line, name: None, declared: None, macs: Vec::new(), ip: None };
    let (mut no_macs, mut no_ips) = (Vec::new(), Vec::new());
    let is_mac = |at: usize| matches!(columns, Columns::Judged(columns) if columns.get(at) == Some(&Column::Mac));
    let has_own = record.iter().enumerate().any(|(at, field)| is_mac(at) && has_mac(field));
    for (at, field) in record.iter().enumerate().filter(|(_, field)| !field.is_empty()) {
        let column = match columns {
            Columns::Judged(columns) => match columns.get(at) {
                // A row whose Ethernet address slipped into another column has one all the same.
                Some(column) if *column != Column::Other && !has_own && has_mac(field) => Some(Column::Mac),
                column => column.copied(),
            },
            Columns::ByShape { passed_over } if passed_over == Some(at) => Some(Column::Number),
            Columns::ByShape { .. } => Some(shape(field, &machine)),
        };
        match column {
            Some(Column::Mac) => {
                let (macs, others): (Vec<_>, Vec<_>) = words(field).partition(|word| parse_mac(word).is_some());
                // A field that holds none is told as a whole: "#N/A" is one thing.
                no_macs.extend(if macs.is_empty() { vec![field] } else { others });
                machine.macs.extend(macs.into_iter().filter_map(parse_mac));
            }
            Some(Column::Ip) => match machine.ip {
                None if is_ip(field) => machine.ip = imported.read_ip(line, field),
                _ => no_ips.push(field),
            },
            Some(Column::Name) if machine.name.is_none() => machine.name = Some(field.to_owned()),
            // A column without a use was told once, at its head.
            Some(Column::Unknown | Column::Other | Column::Number) => {}
            Some(Column::Name) | None => imported.leave(line, format!("the field {field:?}")),
        }
    }
    // A row that is not taken over is told once, whatever is wrong with it.
    if machine.macs.is_empty() {
        let why = match no_macs.first() {
            Some(word) => no_mac(word),
            None if record.iter().any(holds_mac) => {
                "its Ethernet address is no field of its own: a comma, a semicolon or a tab parts fields".to_owned()
            }
            None => "it names no Ethernet address".to_owned(),
        };
        return imported.leave(line, format!("{:?}: {why}", spelled(record)));
    }
    for word in no_macs {
        imported.leave(line, no_mac(word));
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
