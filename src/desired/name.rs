//! Names and marks of the objects on the host.
//!
//! **Invariant:** a name is a function of what it names and of nothing else; no two things share one, because machine and
//! image names hold no dot.

use crate::names::{ImageName, LvName, MachineName, NameError, SiteName, VersionName};
use uuid::Uuid;

/// The HBA numbers of our backstores: far above those that rtslib gives out, which begin at 0.
pub const BACKSTORE_RANGE: std::ops::Range<u32> = 100_000..100_000 + (1 << 24);

/// The volume of an image version: `img.<image>.<version>`.
pub fn version_name(image: &ImageName, version: &VersionName) -> Result<LvName, NameError> {
    format!("img.{image}.{version}").parse()
}

/// The volume of a machine's clone: `seat.<machine>.<image>.a`.
pub fn clone_name(machine: &MachineName, image: &ImageName) -> Result<LvName, NameError> {
    format!("seat.{machine}.{image}.a").parse()
}

/// The name of a machine's disk in LIO: `<site>.<machine>.<image>`.
pub fn backstore_name(site: &SiteName, machine: &MachineName, image: &ImageName) -> String {
    format!("{site}.{machine}.{image}")
}

/// A disk's unit serial number: a UUIDv5 (RFC 9562 §5.5) of site, machine and image, so that it outlives every renewal of
/// the clone and Windows keeps knowing its disk.
pub fn serial(site: &SiteName, machine: &MachineName, image: &ImageName) -> String {
    Uuid::new_v5(&namespace(), backstore_name(site, machine, image).as_bytes()).to_string()
}

/// The HBA number a backstore is given first; a taken one is stepped over by the plan.
pub fn backstore_number(name: &str) -> u32 {
    let (high, _) = Uuid::new_v5(&namespace(), format!("hba {name}").as_bytes()).as_u64_pair();
    BACKSTORE_RANGE.start + (high % (1 << 24)) as u32
}

fn namespace() -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_DNS, b"barista")
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
    /// The kernel's boot id when a clone was made: LIO's counters vouch for it only within that boot.
    pub const MADE: &str = "barista.made";
    /// The SHA-256 of the file a version was filled from.
    pub const SHA256: &str = "barista.sha256";

    /// A tag with a value.
    pub fn tag(key: &str, value: impl std::fmt::Display) -> String {
        format!("{key}={value}")
    }

    /// The mark in a backstore's alias.
    pub fn alias(site: &SiteName) -> String {
        format!("barista site={site}")
    }
}
