//! One machines file as a document that can be written again, and a further entry in it.
//!
//! **Invariant:** a new entry has its neighbours' keys in their order, and none of their comments.

use super::next::split;
use crate::names::{MacAddr, MachineName};
use std::net::Ipv4Addr;
use toml_edit::{ArrayOfTables, Decor, DocumentMut, Item, Table, TableLike, Value, value};

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

    /// The text with one more machine at the end of the row.
    pub fn with(&self, mac: MacAddr, name: &MachineName, ip: Option<Ipv4Addr>) -> String {
        let mut document = self.document.clone();
        let fields = self.fields(mac, name, ip);
        match document.get_mut("machine") {
            Some(Item::Value(Value::Array(array))) => {
                let mut entry = array.iter().filter_map(Value::as_inline_table).last().cloned().unwrap_or_default();
                fill(&mut entry, &fields);
                let decor = array.iter().last().map(|last| last.decor().clone());
                let mut entry = Value::InlineTable(entry);
                if let Some(decor) = decor.filter(|decor| !is_commented(decor)) {
                    *entry.decor_mut() = decor;
                }
                array.push_formatted(entry);
            }
            machines => {
                let last = machines.as_ref().and_then(|item| item.as_array_of_tables()).and_then(|tables| {
                    // One with a single address is the better model for one with a single address.
                    tables.iter().filter(|table| table.contains_key("mac")).last().or_else(|| tables.iter().last())
                });
                let mut entry = last.cloned().unwrap_or_default();
                entry.set_position(None);
                fill(&mut entry, &fields);
                if last.is_none() || is_commented(entry.decor()) || self.tables().len() == 1 {
                    *entry.decor_mut() = Decor::new("\n", "");
                }
                push(&mut document, entry);
            }
        }
        document.to_string()
    }

    /// The keys of the new entry with their values.
    fn fields(&self, mac: MacAddr, name: &MachineName, ip: Option<Ipv4Addr>) -> Vec<(String, Item)> {
        let mut fields = vec![("name".to_owned(), value(name.as_str())), ("mac".to_owned(), value(mac.to_string()))];
        fields.extend(ip.map(|ip| ("ip".to_owned(), value(ip.to_string()))));
        let tables = self.tables();
        let Some(last) = tables.last() else { return fields };
        let has_default_boot =
            self.document.get("defaults").and_then(Item::as_table_like).is_some_and(|it| it.contains_key("boot"));
        for (key, item) in last.iter().filter(|(key, _)| !["name", "mac", "macs", "ip"].contains(key)) {
            let spelled = |item: &Item| item.to_string().split('#').next().map(|text| text.trim().to_owned());
            let shared = tables.iter().all(|table| table.get(key).is_some_and(|other| spelled(other) == spelled(item)));
            // A machine must boot something; what its neighbour boots is the nearest.
            if shared || (key == "boot" && !has_default_boot) {
                fields.push((key.to_owned(), item.clone()));
            }
        }
        fields
    }
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
