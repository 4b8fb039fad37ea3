//! `[options]` as it is spelled: DHCP options by name or number.
//!
//! **Invariant:** every key and every value keeps its place, and only the shapes that some option takes are read: what an
//! option means by its value is judged afterwards.

use super::Spanned;
use crate::names::{OPTION_RULES, OptionForm, OptionOwner};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use std::{borrow::Cow, fmt};

/// Options with their values, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::site) struct OptionsTable(pub(in crate::site) Vec<(Spanned<String>, Spanned<OptionValue>)>);

/// A value as it is spelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::site) enum OptionValue {
    Text(String),
    Number(i64),
    Flag(bool),
    List(Vec<Spanned<OptionValue>>),
}

impl<'de> Deserialize<'de> for OptionsTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table;
        impl<'de> Visitor<'de> for Table {
            type Value = OptionsTable;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OptionsTable, A::Error> {
                let mut options = Vec::new();
                while let Some(option) = map.next_entry()? {
                    options.push(option);
                }
                Ok(OptionsTable(options))
            }
        }
        deserializer.deserialize_map(Table)
    }
}

impl<'de> Deserialize<'de> for OptionValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;
        impl<'de> Visitor<'de> for Value {
            type Value = OptionValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a whole number, true or false, or an array of texts or numbers")
            }
            fn visit_str<E>(self, text: &str) -> Result<OptionValue, E> {
                Ok(OptionValue::Text(text.to_owned()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<OptionValue, E> {
                Ok(OptionValue::Number(number))
            }
            fn visit_bool<E>(self, flag: bool) -> Result<OptionValue, E> {
                Ok(OptionValue::Flag(flag))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<OptionValue, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(OptionValue::List(list))
            }
        }
        deserializer.deserialize_any(Value)
    }
}

impl JsonSchema for OptionsTable {
    fn schema_name() -> Cow<'static, str> {
        "OptionsTable".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut properties = serde_json::Map::new();
        for rule in OPTION_RULES.iter().filter(|rule| !matches!(rule.owner, OptionOwner::Server(_))) {
            let mut schema = form_schema(rule.form);
            schema.insert("description".into(), format!("Option {}.", rule.number).into());
            properties.insert(rule.name.to_owned(), schema.to_value());
        }
        json_schema!({
            "description": "DHCP options by name, or by number in quotes; an option without a name here takes a text, \"hex:…\", or numbers of one octet.",
            "type": "object",
            "properties": properties,
            "patternProperties": { "^[0-9]{1,3}$": {} },
            "additionalProperties": false,
        })
    }
}

fn form_schema(form: OptionForm) -> Schema {
    let address = "^([0-9]{1,3}\\.){3}[0-9]{1,3}$";
    let list = |pattern: &str| json_schema!({ "type": ["string", "array"], "pattern": pattern, "items": { "type": "string", "pattern": pattern } });
    match form {
        OptionForm::Address => json_schema!({ "type": "string", "pattern": address }),
        OptionForm::Addresses => list(address),
        OptionForm::Text => json_schema!({ "type": "string" }),
        OptionForm::Domains => list("^[a-z0-9.-]+$"),
        OptionForm::Routes => list("^[0-9./]+ via [0-9.]+$"),
        OptionForm::Flag => json_schema!({ "type": "boolean" }),
        OptionForm::Number8 => json_schema!({ "type": "integer", "minimum": 0, "maximum": u8::MAX }),
        OptionForm::Number16 => json_schema!({ "type": "integer", "minimum": 0, "maximum": u16::MAX }),
        OptionForm::Number32 => json_schema!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
        OptionForm::Signed32 => json_schema!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX }),
        OptionForm::Octets => json_schema!({
            "type": ["string", "integer", "array"], "minimum": 0, "maximum": u8::MAX,
            "items": { "type": "integer", "minimum": 0, "maximum": u8::MAX },
        }),
    }
}
