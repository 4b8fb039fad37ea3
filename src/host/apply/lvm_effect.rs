//! Tells from a report whether an LVM command has had its effect.
//!
//! **Invariant:** pure. LVM's messages differ between versions and are full of other devices' troubles, and one exit status
//! stands for many volumes: the state is the only witness. A command that is not known here has no witness.

use crate::observed::{Lv, LvKind};
use std::collections::BTreeMap;

/// Whether the volume group is as `words`, applied to `volume` (`vg/lv`) where the command names it last, would leave it; `None`
/// when that cannot be told.
pub(super) fn is_in_effect(words: &[String], volume: Option<&str>, lvs: &BTreeMap<String, Lv>) -> Option<bool> {
    let (command, rest) = words.split_first()?;
    let flag = |names: &[&str]| value_of(rest, names);
    let named = volume.or_else(|| rest.last().map(String::as_str)).map(lv_name)?;
    match command.as_str() {
        "lvcreate" => {
            let made = lvs.get(flag(&["-n", "--name"])?);
            let wants_pool = flag(&["--type"]) == Some("thin-pool");
            // LVM writes a volume down before the kernel makes it: one that is inactive may not be there.
            Some(made.is_some_and(|lv| lv.active && (!wants_pool || matches!(lv.kind, LvKind::ThinPool { .. }))))
        }
        "lvremove" => Some(!lvs.contains_key(named)),
        "lvrename" => {
            let (from, to) = (rest.get(rest.len().checked_sub(2)?)?, rest.last()?);
            Some(!lvs.contains_key(lv_name(from)) && lvs.contains_key(lv_name(to)))
        }
        "lvchange" => Some(lvs.get(named).is_some_and(|lv| is_changed(rest, lv))),
        "lvextend" => {
            // LVM rounds up to whole extents.
            let wanted: u64 = flag(&["-L", "--size"])?.strip_suffix(['b', 'B'])?.parse().ok()?;
            Some(lvs.get(named).is_some_and(|lv| lv.size.0 >= wanted))
        }
        _ => None,
    }
}

fn is_changed(rest: &[String], lv: &Lv) -> bool {
    let ignores_skip = rest.iter().any(|word| word == "-K");
    let mut words = rest.iter().map(String::as_str);
    while let Some(word) = words.next() {
        // `-p r` and `-pr` are the same to LVM.
        let (option, value) = match word {
            "--addtag" | "--deltag" | "-p" | "-a" | "-k" => (word, words.next().unwrap_or_default()),
            _ => word.split_at_checked(2).unwrap_or((word, "")),
        };
        let as_said = match (option, value) {
            ("--addtag", tag) => lv.tags.contains(tag),
            ("--deltag", tag) => !lv.tags.contains(tag),
            ("-p", permission) => lv.read_only == (permission == "r"),
            ("-a", "n") => !lv.active,
            ("-a", _) => lv.active || (lv.skip_activation && !ignores_skip),
            ("-k", skip) => lv.skip_activation == (skip == "y"),
            _ => true,
        };
        if !as_said {
            return false;
        }
    }
    true
}

fn value_of<'a>(words: &'a [String], names: &[&str]) -> Option<&'a str> {
    let at = words.iter().position(|word| names.contains(&word.as_str()))?;
    words.get(at + 1).map(String::as_str)
}

/// `pool` of `cafe/pool`.
pub(super) fn lv_name(volume: &str) -> &str {
    volume.rsplit('/').next().unwrap_or(volume)
}

/// The volume group that a command speaks of: in its first word of the form `vg/lv`, or the first of `lvrename vg old new`.
pub(super) fn group_of(words: &[String]) -> Option<&str> {
    let rest = words.get(1..)?;
    let qualified = rest.iter().filter(|word| !word.starts_with('-')).find_map(|word| word.split_once('/'));
    match (qualified, words[0].as_str()) {
        (Some((vg, _)), _) => Some(vg),
        (None, "lvrename") => rest.get(rest.len().checked_sub(3)?).map(String::as_str),
        (None, _) => rest.last().map(String::as_str),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Bytes;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn lvs() -> BTreeMap<String, Lv> {
        let lv = Lv {
            uuid: String::new(),
            kind: LvKind::Thin { pool: "pool".into(), origin: None },
            size: Bytes(1 << 30),
            tags: crate::observed::Tags::parse("barista"),
            active: true,
            open: false,
            read_only: true,
            skip_activation: false,
            device: None,
        };
        [("a".to_owned(), lv)].into()
    }

    #[test]
    fn the_state_bears_witness_for_each_command() {
        for (line, effect) in [
            ("lvcreate -s -kn -n a --addtag barista cafe/base", Some(true)),
            ("lvcreate -s -kn -n b cafe/base", Some(false)),
            ("lvcreate --type thin-pool -n a cafe", Some(false)),
            ("lvremove -f -y cafe/a", Some(false)),
            ("lvremove -f -y cafe/b", Some(true)),
            ("lvrename cafe/b cafe/a", Some(true)),
            ("lvrename cafe a b", Some(false)),
            ("lvchange --addtag barista -pr cafe/a", Some(true)),
            ("lvchange --deltag barista cafe/a", Some(false)),
            ("lvchange -y -p r --addtag barista cafe/a", Some(true)),
            ("lvchange -y -p rw cafe/a", Some(false)),
            ("lvchange -y -k n cafe/a", Some(true)),
            ("lvchange -y -a y -K cafe/a", Some(true)),
            ("lvchange -an cafe/a", Some(false)),
            ("lvchange -ay cafe/b", Some(false)),
            ("lvextend -L 1000000000b cafe/a", Some(true)),
            ("lvextend -L 2000000000b cafe/a", Some(false)),
            ("lvextend -L 2g cafe/a", None),
        ] {
            assert_eq!(is_in_effect(&words(line), None, &lvs()), effect, "{line}");
        }
        assert_eq!(is_in_effect(&words("lvremove -f -y"), Some("cafe/a"), &lvs()), Some(false));
    }

    #[test]
    fn commands_tell_their_volume_group() {
        for line in ["lvcreate -s -n a cafe/base", "lvrename cafe a b", "lvremove -f -y cafe/a", "lvcreate -L 1g -n a cafe"] {
            assert_eq!(group_of(&words(line)), Some("cafe"), "{line}");
        }
    }
}
