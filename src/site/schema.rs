//! The schemas of a site's files, for editors that complete and check TOML (`#:schema` in a file's first line).
//!
//! **Invariant:** generated from the types that the reader uses, so that an editor and `check` never disagree on a key.
//! JSON Schema draft 2020-12.

use super::raw::{ImageFile, MachinesFile, NetworkFile, SiteFile};
use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::Value;
use std::collections::BTreeMap;

/// The schemas by file name.
pub fn schemas() -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("site.schema.json", schema_of::<SiteFile>()),
        ("network.schema.json", schema_of::<NetworkFile>()),
        ("image.schema.json", schema_of::<ImageFile>()),
        ("machines.schema.json", schema_of::<MachinesFile>()),
    ])
}

/// Where else in a site's file a key is legal, in words; nothing where it is nowhere.
pub(super) fn elsewhere(path: &str, key: &str) -> Option<String> {
    let schema = match path.split_once('/') {
        None => schema_of::<SiteFile>(),
        Some(("network", _)) => schema_of::<NetworkFile>(),
        Some(("images", _)) => schema_of::<ImageFile>(),
        Some(("machines", _)) => schema_of::<MachinesFile>(),
        Some(_) => return None,
    };
    let tables = schema.get("properties")?.as_object()?;
    if tables.contains_key(key) {
        return Some(format!("{key} belongs at the top of the file, before its first [table]"));
    }
    let named = |table: &Value| {
        let name = table.get("$ref")?.as_str()?.strip_prefix("#/$defs/")?;
        schema.get("$defs")?.get(name)
    };
    let has = |table: &Value| named(table).unwrap_or(table).get("properties").is_some_and(|fields| fields.get(key).is_some());
    let owner = |(name, table): (&String, &Value)| match table.get("items") {
        Some(items) if has(items) => Some(format!("[[{name}]]")),
        _ if has(table) => Some(format!("[{name}]")),
        _ => None,
    };
    let owners: Vec<String> = tables.iter().filter_map(owner).collect();
    (!owners.is_empty()).then(|| format!("{key} belongs below {}", owners.join(" or ")))
}

fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(remove_null));
    settings.into_generator().into_root_schema_for::<T>().to_value()
}

/// An optional key may be left out; TOML has no null that it could be set to.
fn remove_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    let Some(Value::Array(choices)) = schema.get_mut("anyOf") else { return };
    choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
    if let [Value::Object(only)] = choices.as_slice() {
        let only = only.clone();
        schema.remove("anyOf");
        for (key, value) in only {
            schema.ensure_object().entry(key).or_insert(value);
        }
    }
}
