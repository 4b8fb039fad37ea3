//! The tags of a volume, as LVM prints them: one text.
//!
//! **Invariant:** sorted, each tag once, and none holds a comma, which LVM allows in no tag (lvm(8)). A host has ten of them for
//! every volume, and a plan looks at all: in one text they are one piece of memory.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::collections::BTreeSet;

/// Between two tags.
const COMMA: char = ',';

/// The tags of one volume.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tags(String);

impl Tags {
    /// Reads a list with commas between, in any order.
    pub fn parse(text: &str) -> Self {
        let tags: BTreeSet<&str> = text.split(COMMA).filter(|tag| !tag.is_empty()).collect();
        Self(tags.into_iter().collect::<Vec<_>>().join(","))
    }

    /// Each tag, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(COMMA).filter(|tag| !tag.is_empty())
    }

    /// Whether the volume carries this tag.
    pub fn contains(&self, tag: &str) -> bool {
        self.iter().any(|known| known == tag)
    }

    /// The value of a tag `key=value`; two values are none.
    pub fn value(&self, key: &str) -> Option<&str> {
        match self.values(key) {
            Values::One(value) => Some(value),
            Values::None | Values::Several(..) => None,
        }
    }

    /// What a tag `key=value` says.
    pub fn values(&self, key: &str) -> Values<'_> {
        let mut values = self.iter().filter_map(|tag| tag.strip_prefix(key)?.strip_prefix('='));
        match (values.next(), values.next()) {
            (None, _) => Values::None,
            (Some(value), None) => Values::One(value),
            (Some(one), Some(other)) => Values::Several(one, other),
        }
    }
}

/// What the tags of one key say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values<'a> {
    /// Nothing.
    None,
    /// This.
    One(&'a str),
    /// Two things, or more: neither is believed.
    Several(&'a str, &'a str),
}

impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tags = Vec::<String>::deserialize(deserializer)?;
        match tags.iter().find(|tag| tag.contains(COMMA)) {
            Some(tag) => Err(D::Error::custom(format_args!("no tag of LVM's holds a comma, and {tag:?} does"))),
            None => Ok(Self::parse(&tags.join(","))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_a_set_whatever_order_they_come_in() {
        let tags = Tags::parse("b=2,a,,a,b");
        assert_eq!(tags, Tags::parse("a,b,b=2"));
        assert_eq!(tags.iter().collect::<Vec<_>>(), ["a", "b", "b=2"]);
        assert_eq!((tags.value("b"), tags.value("a"), tags.value("")), (Some("2"), None, None));
        assert_eq!(Tags::parse("k=1,k=2").values("k"), Values::Several("1", "2"));
        assert_eq!(Tags::parse("k=1,k=2").value("k"), None, "neither is believed");
        assert!(tags.contains("b") && !tags.contains("b=") && !tags.contains("") && !tags.contains("a,b"));
        assert_eq!(Tags::default().iter().count(), 0);
    }

    #[test]
    fn tags_are_a_list_in_a_file() {
        let text = serde_json::to_string(&Tags::parse("b,a")).expect("it serialises");
        assert_eq!(text, r#"["a","b"]"#);
        assert_eq!(serde_json::from_str::<Tags>(&text).expect("it reads"), Tags::parse("a,b"));
        assert!(serde_json::from_str::<Tags>(r#"["a,b"]"#).is_err());
    }
}
