//! The schemas of a site's files, for editors that complete and check TOML (`#:schema` in a file's first line).
//!
//! **Invariant:** generated from the types that the reader uses, so that an editor and `check` never disagree on a key.
//! JSON Schema draft 2020-12.

use super::raw::{ImageFile, MachinesFile, NetworkFile, SiteFile};
use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::Value;
use std::{collections::BTreeMap, sync::LazyLock};

/// The schemas by file name.
pub fn schemas() -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("site.schema.json", schema_of::<SiteFile>()),
        ("network.schema.json", schema_of::<NetworkFile>()),
        ("image.schema.json", schema_of::<ImageFile>()),
        ("machines.schema.json", schema_of::<MachinesFile>()),
    ])
}

/// The schemas of a site's files, made once.
static SCHEMAS: LazyLock<BTreeMap<&'static str, Value>> = LazyLock::new(schemas);

/// The schema of the file at a path of the site.
fn of_path(path: &str) -> Option<&'static Value> {
    let name = match path.split_once('/') {
        None => "site.schema.json",
        Some(("network", _)) => "network.schema.json",
        Some(("images", _)) => "image.schema.json",
        Some(("machines", _)) => "machines.schema.json",
        Some(_) => return None,
    };
    SCHEMAS.get(name)
}

/// What a key's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Number,
    /// A text of this type of [`crate::names`] or [`super::raw`]; "" where any text is taken.
    Text(&'static str),
    /// A list of such texts.
    List(&'static str),
    /// A table of its own.
    Table,
    /// Any number of tables: `[[name]]`.
    Tables,
}

/// The tables of a file that are written `[name]`, and those that are written `[[name]]`.
pub(super) fn tables(path: &str, wanted: Form) -> Vec<&'static str> {
    let Some(schema) = of_path(path) else { return Vec::new() };
    let fields = schema.get("properties").and_then(Value::as_object);
    let fields = fields.into_iter().flatten();
    fields.filter(|(_, field)| form(schema, field) == Some(wanted)).map(|(key, _)| key.as_str()).collect()
}

/// A key of a file, wherever in it it is legal.
pub(super) fn key(path: &str, key: &str) -> Option<&'static str> {
    let tables = of_path(path)?.get("properties")?.as_object()?;
    let inner = |table: &'static Value| {
        let fields = resolved(of_path(path)?, table.get("items").unwrap_or(table)).get("properties")?.as_object()?;
        fields.get_key_value(key)
    };
    let found = tables.get_key_value(key).or_else(|| tables.values().find_map(inner));
    found.map(|(key, _)| key.as_str())
}

/// What a key takes at the top of a file.
pub(super) fn form_of_top(path: &str, key: &str) -> Option<Form> {
    let schema = of_path(path)?;
    form(schema, schema.get("properties")?.get(key)?)
}

/// What a key takes, wherever in the file it is legal.
pub(super) fn form_of(path: &str, key: &str) -> Option<Form> {
    let schema = of_path(path)?;
    let tables = schema.get("properties")?.as_object()?;
    let own = tables.get(key);
    let inner =
        || tables.values().find_map(|table| resolved(schema, table.get("items").unwrap_or(table)).get("properties")?.get(key));
    form(schema, own.or_else(inner)?)
}

/// The words that a key takes; none where it takes others too.
pub(super) fn words_of(path: &str, key: &str) -> Vec<&'static str> {
    let Some(schema) = of_path(path) else { return Vec::new() };
    let Some(tables) = schema.get("properties").and_then(Value::as_object) else { return Vec::new() };
    let inner = |table: &'static Value| resolved(schema, table.get("items").unwrap_or(table)).get("properties")?.get(key);
    let Some(field) = tables.get(key).or_else(|| tables.values().find_map(inner)) else { return Vec::new() };
    let target = resolved(schema, field);
    let choices = target.get("oneOf").and_then(Value::as_array).map_or(vec![target], |choices| choices.iter().collect());
    let words = |choice: &'static Value| match (choice.get("const"), choice.get("enum")) {
        (Some(word), _) => word.as_str().into_iter().collect(),
        (None, Some(Value::Array(words))) => words.iter().filter_map(Value::as_str).collect(),
        (None, _) => Vec::new(),
    };
    choices.into_iter().flat_map(words).collect()
}

fn resolved<'s>(schema: &'s Value, field: &'s Value) -> &'s Value {
    let name = field.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix("#/$defs/"));
    name.and_then(|name| schema.get("$defs")?.get(name)).unwrap_or(field)
}

fn form(schema: &'static Value, field: &'static Value) -> Option<Form> {
    let name = |field: &'static Value| {
        field.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix("#/$defs/")).unwrap_or("")
    };
    let target = resolved(schema, field);
    if let Some(items) = target.get("items") {
        let item = resolved(schema, items);
        return Some(if item.get("properties").is_some() { Form::Tables } else { Form::List(name(items)) });
    }
    if target.get("anyOf").or_else(|| target.get("oneOf")).is_some() {
        return Some(Form::Text(name(field)));
    }
    match target.get("type").and_then(Value::as_str)? {
        "boolean" => Some(Form::Flag),
        "integer" => Some(Form::Number),
        "object" => Some(Form::Table),
        "string" => Some(Form::Text(name(field))),
        _ => None,
    }
}

/// Where else in a site's file a key is legal, in words; nothing where it is nowhere.
pub(super) fn elsewhere(path: &str, key: &str) -> Option<String> {
    let schema = of_path(path)?;
    let tables = schema.get("properties")?.as_object()?;
    if tables.contains_key(key) {
        return Some(format!("{key} belongs at the top of the file, before its first [table]"));
    }
    let has = |table: &Value| resolved(schema, table).get("properties").is_some_and(|fields| fields.get(key).is_some());
    let owner = |(name, table): (&String, &Value)| match table.get("items") {
        Some(items) if has(items) => Some(format!("[[{name}]]")),
        _ if has(table) => Some(format!("[{name}]")),
        _ => None,
    };
    let owners: Vec<String> = tables.iter().filter_map(owner).collect();
    (!owners.is_empty()).then(|| format!("{key} belongs below {}", owners.join(" or ")))
}

/// The one table of a file that has a key, where it is one that stands there once.
pub(super) fn owner(path: &str, key: &str) -> Option<&'static str> {
    let schema = of_path(path)?;
    let has = |table: &Value| resolved(schema, table).get("properties").is_some_and(|fields| fields.get(key).is_some());
    let mut owners = schema.get("properties")?.as_object()?.iter().filter(|(_, table)| has(table));
    let (name, _) = owners.next().filter(|_| owners.next().is_none())?;
    Some(name.as_str())
}

/// In which other files of a site a key is legal, in words.
pub(super) fn other_file(path: &str, key: &str) -> Option<&'static str> {
    let files = [
        ("site.toml", "site.toml"),
        ("network/", "a file of network/"),
        ("images/", "a file of images/"),
        ("machines/", "a file of machines/"),
    ];
    let own = path.split_once('/').map_or("site.toml", |(directory, _)| directory);
    files.into_iter().find(|(file, _)| !file.starts_with(own) && form_of(file, key).is_some()).map(|(_, words)| words)
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
