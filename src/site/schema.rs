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

/// Where in a file a key is legal: at its top, or in some of its tables.
struct Homes {
    is_at_top: bool,
    /// The tables, each as its header is written.
    headers: Vec<String>,
}

fn homes(path: &str, key: &str, wanted: Option<Shape>) -> Option<Homes> {
    let schema = of_path(path)?;
    let tables = schema.get("properties")?.as_object()?;
    let is_wanted = |field: &'static Value| wanted.is_none_or(|wanted| Shape::of(form(schema, field)) == wanted);
    let has = |table: &'static Value| {
        resolved(schema, table).get("properties").and_then(|fields| fields.get(key)).is_some_and(is_wanted)
    };
    let owner = |(name, table): (&String, &'static Value)| match table.get("items") {
        Some(items) if has(items) => Some(format!("[[{name}]]")),
        _ if has(table) => Some(format!("[{name}]")),
        _ => None,
    };
    let headers: Vec<String> = tables.iter().filter_map(owner).collect();
    let is_at_top = tables.get(key).is_some_and(is_wanted);
    (is_at_top || !headers.is_empty()).then_some(Homes { is_at_top, headers })
}

/// Whether something is written as a header or as a key with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `[name]` or `[[name]]`.
    Header,
    /// `name = …`.
    Pair,
}

impl Shape {
    fn of(form: Option<Form>) -> Self {
        if matches!(form, Some(Form::Table | Form::Tables)) { Self::Header } else { Self::Pair }
    }
}

/// Where else in a site's file a key is legal, in words; nothing where it is nowhere.
pub(super) fn elsewhere(path: &str, key: &str) -> Option<String> {
    let homes = homes(path, key, None)?;
    Some(match homes.is_at_top {
        true => format!("{key} belongs at the top of the file, before its first [table]"),
        false => format!("{key} belongs below {}", homes.headers.join(" or ")),
    })
}

/// The one table of a file that has a key, where it is one that stands there once.
pub(super) fn owner(path: &str, key: &str) -> Option<&'static str> {
    let schema = of_path(path)?;
    let has = |table: &Value| resolved(schema, table).get("properties").is_some_and(|fields| fields.get(key).is_some());
    let mut owners = schema.get("properties")?.as_object()?.iter().filter(|(_, table)| has(table));
    let (name, _) = owners.next().filter(|_| owners.next().is_none())?;
    Some(name.as_str())
}

/// The tables of a file that have a table of this name in them, as their headers name them.
pub(super) fn tables_with(path: &str, key: &str) -> Vec<String> {
    let headers = homes(path, key, Some(Shape::Header)).map(|homes| homes.headers).unwrap_or_default();
    headers.iter().map(|header| header.trim_matches(['[', ']']).to_owned()).collect()
}

/// The files of a site: what their paths begin with, and what they are called.
const FILES: [(&str, &str); 4] = [
    ("site.toml", "site.toml"),
    ("network/", "a file of network/"),
    ("images/", "a file of images/"),
    ("machines/", "a file of machines/"),
];

/// In which other file of a site something is legal that is written so, in words; one that has it in another form comes last.
pub(super) fn other_file(path: &str, key: &str, shape: Shape) -> Option<String> {
    let own = path.split_once('/').map_or("site.toml", |(directory, _)| directory);
    let others = || FILES.into_iter().filter(|(file, _)| !file.starts_with(own));
    let find = |wanted| others().find_map(|(file, words)| Some((words, homes(file, key, wanted)?)));
    let (words, homes) = find(Some(shape)).or_else(|| find(None))?;
    Some(match homes.is_at_top {
        true => words.to_owned(),
        false => format!("{words}, below {}", homes.headers.join(" or ")),
    })
}

/// The file of a site that a header names in place of being in it: `[network]` is a file of its own.
pub(super) fn file_called(path: &str, header: &str) -> Option<&'static str> {
    let (directory, file) = match header.trim_end_matches('s') {
        "network" => ("network/", "network/lan.toml, one file for each network"),
        "image" => ("images/", "images/win11.toml, one file for each image"),
        "machine" => ("machines/", "machines/room.toml, below [[machine]]"),
        "site" => ("site.toml", "site.toml"),
        _ => return None,
    };
    (!path.starts_with(directory)).then_some(file)
}

/// True for a table that stands at the top of another file of a site.
pub(super) fn is_table_elsewhere(path: &str, header: &str) -> bool {
    let is_other = |file: &str| file.split('/').next() != path.split('/').next();
    let has = |file: &str| matches!(form_of_top(file, header), Some(Form::Table | Form::Tables));
    file_called(path, header).is_some() || FILES.iter().any(|(file, _)| is_other(file) && has(file))
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
