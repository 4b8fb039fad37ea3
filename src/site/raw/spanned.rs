//! A value and where it stands.
//!
//! **Invariant:** transparent to schemas: [`Spanned<T>`] is described as `T`.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use serde_spanned::Spanned as Located;
use std::borrow::Cow;

/// A value with the byte offset at which it (or its table's header) begins in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::site) struct Spanned<T> {
    /// The value.
    pub(in crate::site) value: T,
    /// The byte offset.
    pub(in crate::site) start: u32,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Located::<T>::deserialize(deserializer)?;
        Ok(Self { start: spanned.span().start as u32, value: spanned.into_inner() })
    }
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
