//! The words the house is built from: one newtype and one parser for each.
//!
//! **Invariant:** a value of one of these types is legal wherever it may be printed (IQN, LVM, DNS, iPXE);
//! nothing downstream escapes or checks it again.

mod arch;
mod bytes;
mod interval;
mod iqn;
mod label;
mod lvm;
mod mac;
mod portal;
mod share;

pub use arch::ClientArch;
pub use bytes::Bytes;
pub use interval::Interval;
pub use iqn::Iqn;
pub use label::{ImageName, MachineName, NetworkName, SiteName, VersionName};
pub use lvm::{LvName, VgName};
pub use mac::MacAddr;
pub use portal::{Lun, Portal};
pub use share::{Percent, Share};

/// A text that is not a legal value of its type: what it was meant to be, the text, and the rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} {rule}")]
pub struct NameError {
    /// What the text was meant to be, in the field's own words.
    pub what: &'static str,
    /// The text as it was given.
    pub text: String,
    /// The rule, as the end of a sentence: "must not be empty".
    pub rule: String,
}

impl NameError {
    pub(crate) fn new(what: &'static str, text: &str, rule: impl Into<String>) -> Self {
        Self { what, text: text.chars().take(120).collect(), rule: rule.into() }
    }
}

/// Derives the string forms (Display is the caller's): serde as a string, `TryFrom`, and a schema with a pattern.
macro_rules! string_form {
    ($type:ident, $title:literal, $pattern:literal) => {
        impl TryFrom<String> for $type {
            type Error = crate::names::NameError;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $title, "pattern": $pattern })
            }
        }
    };
}
pub(crate) use string_form;
