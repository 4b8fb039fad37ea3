//! Names, addresses, sizes and times as newtypes, with one parser each.
//!
//! **Invariant:** a value of one of these types is legal wherever it may be printed (IQN, LVM, DNS, iPXE);
//! nothing downstream escapes or checks it again.

use std::{fmt, marker::PhantomData, str::FromStr};

mod arch;
mod bytes;
mod dhcp_option;
mod disk;
mod document;
mod encoding;
mod interval;
mod ipv4;
mod iqn;
mod key;
mod label;
mod lvm;
mod mac;
mod mono;
mod nonce;
mod object;
mod pool_size;
mod portal;
mod printable;
mod secret;

pub use arch::{ClientArch, Platform};
pub use bytes::Bytes;
pub use dhcp_option::{DhcpOptions, OPTION_RULES, OptionData, OptionForm, OptionOwner, OptionRule};
pub use disk::{DiskId, Handle, Side};
pub use document::{DocumentError, read_document};
pub use encoding::{NotUtf8, SAVE_AS_UTF8, utf8, utf16};
pub use interval::Interval;
pub use ipv4::near_ipv4;
pub use iqn::Iqn;
pub use key::MenuKey;
pub use label::{ImageName, MachineName, NetworkName, SiteName, VersionName};
pub use lvm::{LvName, VgName};
pub use mac::MacAddr;
pub use mono::Mono;
pub use nonce::BootNonce;
pub use object::{
    BACKSTORE_RANGE, Mark, TargetId, backstore_name, backstore_number, parse_backstore_name, parse_target, serial, target_name,
    target_tail,
};
pub use pool_size::{Percent, PoolSize};
pub use portal::{Lun, Portal};
pub use printable::{clean, clean_lines, is_harmful};
pub use secret::{Credentials, Secret};

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

/// Parses a text where the deserializer still knows its place, so that an error points at the text itself.
pub(crate) struct TextVisitor<T>(pub(crate) PhantomData<T>);

impl<T: FromStr<Err = NameError>> serde::de::Visitor<'_> for TextVisitor<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
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
                deserializer.deserialize_str(crate::names::TextVisitor(std::marker::PhantomData))
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
