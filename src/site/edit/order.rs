//! The order of keys in a site's tables: that in which their types declare them.
//!
//! **Invariant:** taken from the types that the reader uses, so that a new key has its place by being declared.

use crate::names::MachineName;
use crate::site::raw::{
    BootTable, DefaultsTable, ImageFile, IscsiTable, MachineTable, MachinesFile, Move, NetworkFile, PolicyTable, ServerTable,
    SiteFile, StorageTable, VersionTable,
};
use serde::{
    Deserialize, Deserializer, de,
    de::{Visitor, value::Error},
    forward_to_deserialize_any,
};

/// The keys of a table of one of a site's files, in their order; `table` is empty for the file's own. `None` for a table whose keys have
/// no order of their own.
pub(super) fn keys(path: &str, table: &str) -> Option<&'static [&'static str]> {
    match (path.split_once('/').map_or(path, |(directory, _)| directory), table) {
        ("site.toml", "") => fields::<SiteFile>(),
        ("site.toml", "server") => fields::<ServerTable>(),
        ("site.toml", "storage") => fields::<StorageTable>(),
        ("site.toml", "iscsi") => fields::<IscsiTable>(),
        ("site.toml", "boot") => fields::<BootTable>(),
        ("site.toml", "policy") => fields::<PolicyTable>(),
        ("network", "") => fields::<NetworkFile>(),
        ("images", "") => fields::<ImageFile>(),
        ("images", "version") => fields::<VersionTable>(),
        ("machines", "") => fields::<MachinesFile>(),
        ("machines", "defaults") => fields::<DefaultsTable>(),
        ("machines", "machine") => fields::<MachineTable>(),
        ("images" | "machines", "moved") => fields::<Move<MachineName>>(),
        _ => None,
    }
}

/// The fields of a type, as serde's derived reader names them.
fn fields<'de, T: Deserialize<'de>>() -> Option<&'static [&'static str]> {
    let mut fields = None;
    // The probe takes the names and then refuses to go on.
    drop(T::deserialize(Probe(&mut fields)));
    fields
}

struct Probe<'p>(&'p mut Option<&'static [&'static str]>);

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = Some(fields);
        self.refuse()
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        self.refuse()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map enum identifier ignored_any
    }
}

impl Probe<'_> {
    fn refuse<T>(&self) -> Result<T, Error> {
        Err(de::Error::custom("only the names of the fields are asked for"))
    }
}

#[cfg(test)]
mod tests {
    use super::keys;

    #[test]
    fn keys_come_in_the_order_in_which_their_types_declare_them() {
        assert_eq!(keys("site.toml", ""), Some(&["name", "server", "storage", "iscsi", "boot", "policy"][..]));
        assert_eq!(keys("machines/a.toml", "machine").map(|keys| &keys[..4]), Some(&["name", "mac", "macs", "ip"][..]));
        assert_eq!(keys("images/a.toml", "moved"), Some(&["from", "to"][..]));
        assert_eq!(keys("machines/a.toml", "options"), None);
        for (path, table) in [("site.toml", "server"), ("site.toml", "storage"), ("site.toml", "iscsi"), ("site.toml", "boot")] {
            assert!(keys(path, table).is_some_and(|keys| keys.len() > 1), "{table}");
        }
    }
}
