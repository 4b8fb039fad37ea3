//! The attributes of an object in configfs: one text, a line each.
//!
//! **Invariant:** in order of their names, each name once; a line end within a value is kept as `\n`. As with [tags](super::Tags),
//! a plan looks at those of every object, and one text is one piece of memory; those of most objects are the same and share it.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names and values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes(Arc<str>);

impl Attributes {
    /// Each name with its value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.split('\n').filter_map(|line| line.split_once('='))
    }

    /// The value of one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Whether none was seen.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(String, String)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(attributes: I) -> Self {
        let sorted = BTreeMap::from_iter(attributes);
        let text: String = sorted.into_iter().map(|(name, value)| format!("{name}={}\n", value.replace('\n', "\\n"))).collect();
        Self(text.into())
    }
}

impl Serialize for Attributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Attributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Self::from_iter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_a_map_in_a_file_and_found_by_name() {
        let text = r#"{"authentication":"0","info":"a=b\nc","model":""}"#;
        let attributes: Attributes = serde_json::from_str(text).expect("it reads");
        assert_eq!((attributes.get("authentication"), attributes.get("model")), (Some("0"), Some("")));
        assert_eq!((attributes.get("info"), attributes.get("c")), (Some(r"a=b\nc"), None), "a value never reads as two");
        assert_eq!(serde_json::to_string(&attributes).expect("it serialises"), text.replace(r"\n", r"\\n"));
        assert!(!attributes.is_empty() && Attributes::default().is_empty());
    }
}
