//! What each column of a table holds.
//!
//! **Invariant:** a column is what its head calls it; what its fields look like counts only where no head says it. Nothing is chosen
//! between two columns that may both be meant: the table is refused, with what to write.

use super::{
    Row, SyntaxError,
    fields::{has_mac, is_ip},
};
use std::collections::{BTreeMap, BTreeSet};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Name,
    Mac,
    Ip,
    /// The number of the row.
    Number,
    /// Nothing that is known.
    Unknown,
    /// An address of something else than the machine: of its router, its switch, its access point.
    Other,
}

impl Column {
    /// Whether its fields become part of a machine.
    pub(super) fn is_used(self) -> bool {
        matches!(self, Self::Name | Self::Mac | Self::Ip)
    }
}

/// The names of columns: letters and digits alone, in small letters. Spreadsheets of this trade are Chinese as often as English.
const NAMES: [(&str, Column); 71] = [
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
    ("gateway", Column::Other),
    ("defaultgateway", Column::Other),
    ("router", Column::Other),
    ("mask", Column::Other),
    ("netmask", Column::Other),
    ("subnetmask", Column::Other),
    ("subnet", Column::Other),
    ("network", Column::Other),
    ("scope", Column::Other),
    ("scopeid", Column::Other),
    ("broadcast", Column::Other),
    ("dns", Column::Other),
    ("dnsserver", Column::Other),
    ("nameserver", Column::Other),
    ("server", Column::Other),
    ("dhcpserver", Column::Other),
    ("switch", Column::Other),
    ("网关", Column::Other),
    ("子网掩码", Column::Other),
    ("掩码", Column::Other),
    ("交换机", Column::Other),
];

/// The letters and digits of a head, in small letters.
fn letters(head: &str) -> String {
    head.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn known(word: &str) -> Option<Column> {
    NAMES.iter().find(|(name, _)| *name == word).map(|(_, column)| *column)
}

/// What a column is called, if that is known: with what is not a letter or a digit taken out, and again with what is not ASCII.
fn column(head: &str) -> Option<Column> {
    let plain = letters(head);
    let ascii: String = plain.chars().filter(char::is_ascii).collect();
    known(&plain).or_else(|| known(&ascii).filter(|column| column.is_used()))
}

/// Whether a field is a name that columns have.
pub(super) fn is_head(field: &str) -> bool {
    column(field).is_some()
}

/// What a column is called where it is known that its row names columns: also with a number behind it, as `mac 2`.
fn called(head: &str) -> Column {
    let plain = letters(head);
    let stem = plain.trim_end_matches(|c: char| c.is_ascii_digit());
    column(head).or_else(|| known(stem).filter(|column| column.is_used())).unwrap_or(Column::Unknown)
}

/// What each column holds; none where the table has no heads.
pub(super) fn judge_columns(heads: Option<&Row>, rows: &[Row]) -> Result<Vec<Column>, SyntaxError> {
    let Some((line, heads)) = heads else { return Ok(Vec::new()) };
    let refuse = |what: String| Err(SyntaxError { line: *line, what });
    let width = rows.iter().map(|(_, record)| record.len()).max().unwrap_or(0).max(heads.len());
    let head = |at: usize| heads.get(at).unwrap_or_default();
    let mut columns: Vec<Column> = (0..width).map(|at| called(head(at))).collect();
    if let Some(twice) = there_twice(heads.iter().zip(&columns)) {
        return refuse(format!(
            "the column {twice:?} is there twice: of two tables side by side, put one below the other; \
             two Ethernet addresses of one PC are the columns mac 1 and mac 2"
        ));
    }
    for (wanted, what, call) in [
        (
            Column::Mac,
            "Ethernet",
            "call the one that the machines boot by mac, or both, where a PC has two cards, mac 1 and mac 2",
        ),
        (Column::Ip, "IPv4", "call the one that the machines are to get ip"),
    ] {
        let is = |field: &str| if wanted == Column::Mac { has_mac(field) } else { is_ip(field) };
        let named: Vec<usize> = (0..width).filter(|at| columns[*at] == wanted).collect();
        let alike: Vec<usize> = (0..width).filter(|at| columns[*at] == Column::Unknown && most(rows, *at, &is)).collect();
        let meant: Vec<usize> = match (named.is_empty(), wanted) {
            // What is the same in more rows than one is of the router, the switch or the access point.
            (true, _) => alike.iter().copied().filter(|at| !repeats(rows, *at)).collect(),
            // Two cards of one machine may be called by two words.
            (false, Column::Mac) => named.iter().copied().take(1).collect(),
            (false, _) => named.iter().copied().filter(|at| named.len() == 1 || most(rows, *at, &is)).collect(),
        };
        if let [one, other, ..] = meant[..] {
            let (one, other) = (head(one), head(other));
            return refuse(format!("the columns {one:?} and {other:?} both hold {what} addresses: {call}"));
        }
        for at in alike {
            columns[at] = if meant.contains(&at) { wanted } else { Column::Other };
        }
    }
    if !columns.contains(&Column::Name) {
        let of = |wanted: Column| (0..width).filter(|at| columns[*at] == wanted).find(|at| is_distinct(rows, *at));
        if let Some(at) = of(Column::Unknown).or_else(|| of(Column::Number)) {
            columns[at] = Column::Name;
        }
    }
    Ok(columns)
}

/// A head that is there twice, of a name or an address: also as `name 1` and `name 2`, which two cards of one machine are called alone.
fn there_twice<'h>(heads: impl Iterator<Item = (&'h str, &'h Column)>) -> Option<&'h str> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for (head, column) in heads.filter(|(_, column)| column.is_used()) {
        let plain = letters(head);
        let stem = match column {
            Column::Mac => plain.as_str(),
            _ => plain.trim_end_matches(|c: char| c.is_ascii_digit()),
        };
        if seen.insert(stem.to_owned(), head).is_some() {
            return Some(head);
        }
    }
    None
}

/// Refuses a table without heads whose rows have two addresses of one kind, each in a field of its own.
pub(super) fn refuse_two(rows: &[Row]) -> Result<(), SyntaxError> {
    for (line, record) in rows {
        let several = |is: &dyn Fn(&str) -> bool| record.iter().filter(|field| is(field)).count() > 1;
        let what = match (several(&has_mac), several(&|field| field.contains('.') && is_ip(field))) {
            (true, _) => "Ethernet",
            (_, true) => "IPv4",
            (false, false) => continue,
        };
        let what = format!(
            "a row has two {what} addresses, and no line above says which is the machine's: write one that names the columns, \
             such as name,mac,mac 2,ip; of two tables side by side, put one below the other"
        );
        return Err(SyntaxError { line: *line, what });
    }
    Ok(())
}

/// The first column of a table without heads, where it counts the rows and another says something else in each.
pub(super) fn counting(rows: &[Row]) -> Option<usize> {
    let counts = (1..).zip(rows).all(|(n, (_, record))| record.get(0).and_then(|field| field.parse().ok()) == Some(n));
    let width = rows.iter().map(|(_, record)| record.len()).max().unwrap_or(0);
    let is_free = |at: &usize| !most(rows, *at, &has_mac) && !most(rows, *at, &is_ip);
    (counts && (1..width).filter(is_free).any(|at| is_distinct(rows, at))).then_some(0)
}

fn fields(rows: &[Row], at: usize) -> impl Iterator<Item = &str> {
    rows.iter().filter_map(move |(_, record)| record.get(at)).filter(|field| !field.is_empty())
}

/// Whether more than half of a column's fields are such.
fn most(rows: &[Row], at: usize, is: &dyn Fn(&str) -> bool) -> bool {
    let (all, such) = (fields(rows, at).count(), fields(rows, at).filter(|field| is(field)).count());
    all > 0 && such * 2 > all
}

fn is_distinct(rows: &[Row], at: usize) -> bool {
    let different: BTreeSet<&str> = fields(rows, at).collect();
    !different.is_empty() && different.len() == fields(rows, at).count()
}

/// Whether more than half of a column's fields say what another of its rows says.
fn repeats(rows: &[Row], at: usize) -> bool {
    let different: BTreeSet<&str> = fields(rows, at).collect();
    fields(rows, at).count() > 1 && different.len() * 2 <= fields(rows, at).count()
}
