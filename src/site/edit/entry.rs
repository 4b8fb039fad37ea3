//! One machines file as a document that can be written again, and further entries in it.
//!
//! **Invariant:** a new entry has its neighbours' keys in their order, and none of their comments.

use super::{Added, next::split};
use crate::names::MachineName;
use std::net::Ipv4Addr;
use toml_edit::{Array, ArrayOfTables, Decor, DocumentMut, Item, Table, TableLike, Value, value};

/// A machines file.
pub(super) struct Row<'t> {
    text: &'t str,
    document: DocumentMut,
}

impl<'t> Row<'t> {
    /// Reads a file; `None` if it is not TOML.
    pub fn parse(text: &'t str) -> Option<Self> {
        Some(Self { text, document: text.parse().ok()? })
    }

    /// The text it was read from.
    pub fn text(&self) -> &'t str {
        self.text
    }

    fn tables(&self) -> Vec<&dyn TableLike> {
        match self.document.get("machine") {
            Some(Item::ArrayOfTables(tables)) => tables.iter().map(|table| table as &dyn TableLike).collect(),
            Some(Item::Value(Value::Array(array))) => {
                array.iter().filter_map(|entry| entry.as_inline_table()).map(|table| table as &dyn TableLike).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The machines' names, in their order.
    pub fn names(&self) -> Vec<MachineName> {
        self.tables().into_iter().filter_map(|table| table.get("name")?.as_str()?.parse().ok()).collect()
    }

    /// The machines that have a reserved address.
    pub fn seats(&self) -> Vec<(MachineName, Ipv4Addr)> {
        let seat =
            |table: &dyn TableLike| Some((table.get("name")?.as_str()?.parse().ok()?, table.get("ip")?.as_str()?.parse().ok()?));
        self.tables().into_iter().filter_map(seat).collect()
    }

    /// The highest number that a name ends in.
    pub fn highest_number(&self) -> Option<u32> {
        self.names().iter().filter_map(|name| split(name.as_str())).map(|(_, number, _)| number).max()
    }

    /// The text with further machines at the end of the row.
    pub fn with(&self, machines: &[Added]) -> String {
        let mut document = self.document.clone();
        let shared = self.shared();
        for machine in machines {
            let fields: Vec<_> = own(machine).into_iter().chain(shared.iter().cloned()).collect();
            match document.get_mut("machine") {
                Some(Item::Value(Value::Array(array))) => push_inline(array, &fields),
                _ => self.push_table(&mut document, &fields),
            }
        }
        document.to_string()
    }

    fn push_table(&self, document: &mut DocumentMut, fields: &[(String, Item)]) {
        let tables = self.document.get("machine").and_then(Item::as_array_of_tables);
        // One that has its addresses under the same key is the better model.
        let addresses = fields.iter().map(|(key, _)| key.as_str()).find(|key| key.starts_with("mac")).unwrap_or("mac");
        let model = tables.and_then(|tables| tables.iter().filter(|table| table.contains_key(addresses)).last());
        let mut entry = model.cloned().unwrap_or_default();
        entry.set_position(None);
        fill(&mut entry, fields);
        if model.is_none() || is_commented(entry.decor()) || self.tables().len() == 1 {
            *entry.decor_mut() = Decor::new("\n", "");
        }
        push(document, entry);
    }

    /// What a new entry has of its neighbours.
    fn shared(&self) -> Vec<(String, Item)> {
        let tables = self.tables();
        let Some(last) = tables.last() else { return Vec::new() };
        let has_default_boot =
            self.document.get("defaults").and_then(Item::as_table_like).is_some_and(|it| it.contains_key("boot"));
        let spelled = |item: &Item| item.to_string().split('#').next().map(|text| text.trim().to_owned());
        let is_shared = |key: &str, item: &Item| {
            tables.iter().all(|table| table.get(key).is_some_and(|other| spelled(other) == spelled(item)))
        };
        // A machine must boot something; what its neighbour boots is the nearest.
        let is_wanted = |key: &str, item: &Item| is_shared(key, item) || (key == "boot" && !has_default_boot);
        let further = last.iter().filter(|(key, _)| !["name", "mac", "macs", "ip"].contains(key));
        further.filter(|(key, item)| is_wanted(key, item)).map(|(key, item)| (key.to_owned(), item.clone())).collect()
    }
}

/// A machine's own keys with their values.
fn own(machine: &Added) -> Vec<(String, Item)> {
    let mut fields = vec![("name".to_owned(), value(machine.name.as_str()))];
    fields.push(match machine.macs.as_slice() {
        [mac] => ("mac".to_owned(), value(mac.to_string())),
        macs => ("macs".to_owned(), value(macs.iter().map(ToString::to_string).collect::<Array>())),
    });
    fields.extend(machine.ip.map(|ip| ("ip".to_owned(), value(ip.to_string()))));
    fields
}

fn push_inline(array: &mut Array, fields: &[(String, Item)]) {
    let mut entry = array.iter().filter_map(Value::as_inline_table).last().cloned().unwrap_or_default();
    fill(&mut entry, fields);
    let decor = array.iter().last().map(|last| last.decor().clone());
    let mut entry = Value::InlineTable(entry);
    if let Some(decor) = decor.filter(|decor| !is_commented(decor)) {
        *entry.decor_mut() = decor;
    }
    array.push_formatted(entry);
}

fn push(document: &mut DocumentMut, entry: Table) {
    let machines = document.entry("machine").or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new()));
    if let Some(tables) = machines.as_array_of_tables_mut() {
        tables.push(entry);
    }
}

/// Makes an entry that was its neighbour's copy into one with these fields: keys keep their place and spacing, not their comments.
fn fill(entry: &mut dyn TableLike, fields: &[(String, Item)]) {
    let unwanted: Vec<String> =
        entry.iter().map(|(key, _)| key.to_owned()).filter(|key| fields.iter().all(|(k, _)| k != key)).collect();
    for key in unwanted {
        entry.remove(&key);
    }
    for (key, item) in fields {
        let mut item = item.clone();
        if let (Some(new), Some(old)) = (item.as_value_mut(), entry.get(key).and_then(Item::as_value)) {
            // Assigning a value drops its decor, and with it the spacing.
            *new.decor_mut() = plain(old.decor());
        }
        match entry.get_mut(key) {
            // Inserting anew would drop the key's own spacing.
            Some(slot) => *slot = item,
            None => drop(entry.insert(key, item)),
        }
        if let Some(mut key) = entry.key_mut(key) {
            let decor = plain(key.leaf_decor());
            *key.leaf_decor_mut() = decor;
        }
    }
}

/// A decor without its comments.
fn plain(decor: &Decor) -> Decor {
    let text = |raw: Option<&toml_edit::RawString>| {
        let text = raw.and_then(toml_edit::RawString::as_str).unwrap_or_default();
        if text.contains('#') { None } else { Some(text.to_owned()) }
    };
    let (prefix, suffix) = (decor.prefix(), decor.suffix());
    let mut plain = Decor::default();
    if let Some(prefix) = prefix.and_then(|raw| text(Some(raw))) {
        plain.set_prefix(prefix);
    }
    if let Some(suffix) = suffix.and_then(|raw| text(Some(raw))) {
        plain.set_suffix(suffix);
    }
    plain
}

fn is_commented(decor: &Decor) -> bool {
    let holds =
        |raw: Option<&toml_edit::RawString>| raw.and_then(toml_edit::RawString::as_str).is_some_and(|text| text.contains('#'));
    holds(decor.prefix()) || holds(decor.suffix())
}
