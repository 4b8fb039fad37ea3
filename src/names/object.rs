//! Names and marks of the objects on the host.
//!
//! **Invariant:** a name is a function of what it names and of nothing else; no two things share one, because machine and
//! image names hold no dot.

use super::{Handle, ImageName, Iqn, MachineName, NameError, Side, SiteName};
use std::sync::LazyLock;
use uuid::Uuid;

/// The HBA numbers of our backstores: far above those that rtslib gives out, which begin at 0.
pub const BACKSTORE_RANGE: std::ops::Range<u32> = 100_000..100_000 + (1 << 24);

/// The name of a machine's disk in LIO: `<site>.<machine>.<image>.<side>`.
pub fn backstore_name(site: &SiteName, machine: &MachineName, image: &ImageName, side: Side) -> String {
    format!("{site}.{machine}.{image}.{side}")
}

/// Whose disk a backstore of a site shows, by its name; without a side it was made before seats had sides.
pub fn parse_backstore_name(site: &SiteName, name: &str) -> Option<(MachineName, ImageName, Option<Side>)> {
    let mut parts = name.strip_prefix(site.as_str())?.strip_prefix('.')?.split('.');
    let (machine, image) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let side = parts.next().map(str::parse).transpose().ok()?;
    parts.next().is_none().then_some((machine, image, side))
}

/// A disk's unit serial number: a UUIDv5 (RFC 9562 §5.5) of site, machine and image, so that it is the same on every side, outlives
/// every renewal and Windows keeps knowing its disk.
pub fn serial(site: &SiteName, machine: &MachineName, image: &ImageName) -> String {
    Uuid::new_v5(&namespace(), format!("{site}.{machine}.{image}").as_bytes()).to_string()
}

/// Whose disks a target shows, by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TargetId {
    /// The machine.
    pub machine: MachineName,
    /// The image it boots.
    pub image: ImageName,
    /// The side and what tells this disk from every other that had its name; none on a target that was made before seats had sides.
    pub side: Option<(Side, String)>,
}

/// What the name of a target ends in: eight hex digits of its disks' UUIDs, so that no name ever comes back with other content.
pub fn target_tail<'a>(disks: impl IntoIterator<Item = &'a Handle>) -> String {
    let text: Vec<&str> = disks.into_iter().map(Handle::as_str).collect();
    let (high, _) = Uuid::new_v5(&namespace(), format!("target {}", text.join(" ")).as_bytes()).as_u64_pair();
    format!("{:08x}", high >> 32)
}

/// The name of a target: `<iqn-prefix>:<machine>.<image>.<side>-<8 hex>`.
pub fn target_name(prefix: &Iqn, target: &TargetId) -> Result<Iqn, NameError> {
    let TargetId { machine, image, side } = target;
    match side {
        Some((side, tail)) => prefix.join(&format!("{machine}.{image}.{side}-{tail}")),
        None => prefix.join(&format!("{machine}.{image}")),
    }
}

/// Reads the name of a target of ours; `None` for any other.
pub fn parse_target(prefix: &Iqn, name: &str) -> Option<TargetId> {
    let mut parts = name.strip_prefix(prefix.as_str())?.strip_prefix(':')?.split('.');
    let (machine, image) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let side = match parts.next() {
        None => None,
        Some(last) => {
            let (side, tail) = last.split_once('-')?;
            let is_hex = tail.len() == 8 && tail.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            Some((side.parse().ok()?, is_hex.then(|| tail.to_owned())?))
        }
    };
    parts.next().is_none().then_some(TargetId { machine, image, side })
}

/// The HBA number a backstore is given first; a taken one is stepped over by the plan.
pub fn backstore_number(name: &str) -> u32 {
    let (high, _) = Uuid::new_v5(&namespace(), format!("hba {name}").as_bytes()).as_u64_pair();
    BACKSTORE_RANGE.start + (high % (1 << 24)) as u32
}

/// The namespace of all our UUIDs: that of the name `barista`.
fn namespace() -> Uuid {
    static OURS: LazyLock<Uuid> = LazyLock::new(|| Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"barista"));
    *OURS
}

/// Our marks on objects: LVM tags and the text in a backstore's alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark;

impl Mark {
    /// On everything of ours.
    pub const OURS: &str = "barista";
    /// A version that is not filled to its end.
    pub const FILLING: &str = "barista.state=filling";
    /// A version that may be cloned.
    pub const READY: &str = "barista.state=ready";
    /// Keys of the tags that carry a value.
    pub const SITE: &str = "barista.site";
    /// See [`Mark::SITE`].
    pub const IMAGE: &str = "barista.image";
    /// See [`Mark::SITE`].
    pub const VERSION: &str = "barista.version";
    /// See [`Mark::SITE`].
    pub const MACHINE: &str = "barista.machine";
    /// The reset policy a clone was made under; read when neither its machine nor its image is in the site any more.
    pub const RESET: &str = "barista.reset";
    /// The count of the record of what was offered when a disk was made; a disk without it is older than that record.
    pub const EPOCH: &str = "barista.epoch";
    /// The number of the next record of what was offered when a disk was made: a record that did not come so far is an older one that
    /// was put back.
    pub const AFTER: &str = "barista.after";
    /// On a disk that a side has for itself: the image the seat boots and the side, `win11.a`.
    pub const SIDE: &str = "barista.side";
    /// On a seat's disk: the number of its LUN.
    pub const LUN: &str = "barista.lun";
    /// The SHA-256 of the file a version was filled from; on a clone, that of its version.
    pub const SHA256: &str = "barista.sha256";
    /// The file a version was filled from, so far as a tag can spell it.
    pub const SOURCE: &str = "barista.source";
    /// The UUID of the version's volume that a clone was made of.
    pub const BASE: &str = "barista.base";

    /// A tag with a value.
    pub fn tag(key: &str, value: impl std::fmt::Display) -> String {
        format!("{key}={value}")
    }

    /// The mark in a backstore's alias.
    pub fn alias(site: &SiteName) -> String {
        format!("barista site={site}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_targets_name_reads_back_and_other_names_are_not_ours() {
        let prefix: Iqn = "iqn.2026-11.example.cat".parse().expect("legal");
        for local in ["pc01.win11.a-0123abcd", "pc01.win11"] {
            let name = format!("{prefix}:{local}");
            let target = parse_target(&prefix, &name).unwrap_or_else(|| panic!("{name} does not read"));
            assert_eq!(target_name(&prefix, &target).map(|iqn| iqn.to_string()).as_deref(), Ok(name.as_str()));
        }
        for local in [
            "pc01",
            "pc01.win11.a",
            "pc01.win11.a-xyz",
            "pc01.win11.ab-0123abcd",
            "pc01.win11.a-0123ABCD",
            "pc01.win11.a-0123abcd.x",
        ] {
            assert_eq!(parse_target(&prefix, &format!("{prefix}:{local}")), None, "{local}");
        }
        assert_eq!(parse_target(&prefix, "iqn.2026-11.example.cats:pc01.win11"), None);
    }

    #[test]
    fn another_disk_gives_another_name() {
        let (one, other) = (Handle::new("x9Yz"), Handle::new("x9Yy"));
        assert_ne!(target_tail([&one]), target_tail([&other]));
        assert_ne!(target_tail([&one, &other]), target_tail([&one]));
        assert_eq!(target_tail([&one]).len(), 8);
    }
}
