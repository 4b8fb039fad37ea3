//! LVM commands as values: how each is typed, and whether it has had its effect.
//!
//! **Invariant:** pure; one renderer, and nothing reads a command line back. LVM's messages differ between versions and are full of
//! other devices' troubles, and one exit status stands for many volumes: the state is the only witness.

use crate::names::{Bytes, LvName, VgName};
use crate::observed::{Lv, LvKind};
use std::collections::BTreeMap;

/// One command on one volume, or on many where LVM takes many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LvmCommand {
    /// Makes a thin pool.
    CreatePool { name: LvName, size: Bytes, metadata: Bytes, chunk: Bytes, tags: Vec<String> },
    /// Makes an empty thin volume.
    CreateThin { name: LvName, pool: LvName, size: Bytes, tags: Vec<String> },
    /// Makes a thin snapshot.
    Snapshot { name: LvName, origin: LvName, tags: Vec<String> },
    /// Gives a volume another name.
    Rename { from: LvName, to: LvName },
    /// Alters what LVM writes down of a volume.
    Change { name: LvName, change: Vec<Change> },
    /// Makes a volume larger.
    Extend { name: LvName, size: Bytes },
    /// Activates volumes, those that are passed over too.
    Activate { names: Vec<LvName> },
    /// Removes volumes.
    Remove { names: Vec<LvName> },
}

/// What is altered of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It carries this tag.
    AddTag(String),
    /// It does not.
    RemoveTag(String),
    /// It can only be read.
    ReadOnly,
    /// It is activated with the others.
    DoNotSkip,
}

impl LvmCommand {
    /// The words of its command line.
    pub fn words(&self, vg: &VgName) -> Vec<String> {
        let path = |name: &LvName| format!("{vg}/{name}");
        let tags = |tags: &[String]| tags.iter().flat_map(|tag| ["--addtag".to_owned(), tag.clone()]).collect::<Vec<_>>();
        let bytes = |bytes: Bytes| format!("{}b", bytes.0);
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
        match self {
            Self::CreatePool { name, size, metadata, chunk, tags: marks } => {
                let (size, metadata, chunk) = (bytes(*size), bytes(*metadata), bytes(*chunk));
                let mut words = own(&["lvcreate", "-y", "--type", "thin-pool", "-L", &size, "--poolmetadatasize", &metadata]);
                words.extend(own(&["-c", &chunk, "-Z", "y", "--discards", "passdown", "-n", name.as_str()]));
                words.extend(tags(marks));
                words.push(vg.to_string());
                words
            }
            Self::CreateThin { name, pool, size, tags: marks } => {
                let mut words = own(&["lvcreate", "-y", "-V", &bytes(*size), "-T", &path(pool), "-n", name.as_str()]);
                words.extend(tags(marks));
                words
            }
            Self::Snapshot { name, origin, tags: marks } => {
                // -kn: a thin snapshot is passed over at activation otherwise, and after a power cut no seat would come back.
                let mut words = own(&["lvcreate", "-y", "-s", "-k", "n", "-n", name.as_str()]);
                words.extend(tags(marks));
                words.push(path(origin));
                words
            }
            Self::Rename { from, to } => own(&["lvrename", vg.as_str(), from.as_str(), to.as_str()]),
            Self::Change { name, change } => {
                let mut words = own(&["lvchange", "-y"]);
                for change in change {
                    words.extend(match change {
                        Change::AddTag(tag) => own(&["--addtag", tag]),
                        Change::RemoveTag(tag) => own(&["--deltag", tag]),
                        Change::ReadOnly => own(&["-p", "r"]),
                        Change::DoNotSkip => own(&["-k", "n"]),
                    });
                }
                words.push(path(name));
                words
            }
            Self::Extend { name, size } => own(&["lvextend", "-L", &bytes(*size), &path(name)]),
            Self::Activate { names } => {
                own(&["lvchange", "-y", "-a", "y", "-K"]).into_iter().chain(names.iter().map(path)).collect()
            }
            Self::Remove { names } => own(&["lvremove", "-f", "-y"]).into_iter().chain(names.iter().map(path)).collect(),
        }
    }

    /// Whether the volume group is as the command would leave it.
    pub fn is_in_effect(&self, lvs: &BTreeMap<String, Lv>) -> bool {
        let lv = |name: &LvName| lvs.get(name.as_str());
        match self {
            Self::CreatePool { name, .. } => lv(name).is_some_and(|lv| lv.active && matches!(lv.kind, LvKind::ThinPool { .. })),
            // LVM writes a volume down before the kernel makes it: one that is inactive may not be there.
            Self::CreateThin { name, .. } | Self::Snapshot { name, .. } => lv(name).is_some_and(|lv| lv.active),
            Self::Rename { from, to } => lv(from).is_none() && lv(to).is_some(),
            Self::Change { name, change } => lv(name).is_some_and(|lv| {
                change.iter().all(|change| match change {
                    Change::AddTag(tag) => lv.tags.contains(tag),
                    Change::RemoveTag(tag) => !lv.tags.contains(tag),
                    Change::ReadOnly => lv.read_only,
                    Change::DoNotSkip => !lv.skip_activation,
                })
            }),
            // LVM rounds up to whole extents.
            Self::Extend { name, size } => lv(name).is_some_and(|lv| lv.size >= *size),
            Self::Activate { names } => names.iter().all(|name| lv(name).is_some_and(|lv| lv.active)),
            Self::Remove { names } => names.iter().all(|name| lv(name).is_none()),
        }
    }

    /// Whether it makes something that must not have been there before.
    pub fn makes(&self) -> bool {
        matches!(self, Self::CreatePool { .. } | Self::CreateThin { .. } | Self::Snapshot { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Tags;

    fn name(name: &str) -> LvName {
        name.parse().expect("legal")
    }

    fn lvs() -> BTreeMap<String, Lv> {
        let lv = Lv {
            uuid: String::new(),
            kind: LvKind::Thin { pool: "pool".into(), origin: None },
            size: Bytes(1 << 30),
            tags: Tags::parse("barista"),
            active: true,
            open: false,
            read_only: true,
            skip_activation: false,
            device: None,
        };
        [("a".to_owned(), lv)].into()
    }

    #[test]
    fn commands_are_typed_as_lvm_reads_them_and_the_state_bears_witness() {
        let vg: VgName = "cafe".parse().expect("legal");
        let change = |change| LvmCommand::Change { name: name("a"), change };
        for (command, line, effect) in [
            (
                LvmCommand::Snapshot { name: name("a"), origin: name("base"), tags: vec!["barista".into()] },
                "lvcreate -y -s -k n -n a --addtag barista cafe/base",
                true,
            ),
            (
                LvmCommand::CreateThin { name: name("b"), pool: name("pool"), size: Bytes(4096), tags: vec![] },
                "lvcreate -y -V 4096b -T cafe/pool -n b",
                false,
            ),
            (LvmCommand::Rename { from: name("a"), to: name("b") }, "lvrename cafe a b", false),
            (LvmCommand::Rename { from: name("c"), to: name("a") }, "lvrename cafe c a", true),
            (change(vec![Change::AddTag("barista".into())]), "lvchange -y --addtag barista cafe/a", true),
            (
                change(vec![Change::RemoveTag("barista".into()), Change::ReadOnly]),
                "lvchange -y --deltag barista -p r cafe/a",
                false,
            ),
            (change(vec![Change::ReadOnly]), "lvchange -y -p r cafe/a", true),
            (LvmCommand::Extend { name: name("a"), size: Bytes(2 << 30) }, "lvextend -L 2147483648b cafe/a", false),
            (LvmCommand::Activate { names: vec![name("a")] }, "lvchange -y -a y -K cafe/a", true),
            (LvmCommand::Remove { names: vec![name("b"), name("c")] }, "lvremove -f -y cafe/b cafe/c", true),
            (LvmCommand::Remove { names: vec![name("a")] }, "lvremove -f -y cafe/a", false),
        ] {
            assert_eq!(command.words(&vg).join(" "), line);
            assert_eq!(command.is_in_effect(&lvs()), effect, "{line}");
        }
    }
}
