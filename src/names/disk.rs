//! What a disk is for, and the name that follows from it.
//!
//! **Invariant:** one name for one identity and back: machine and image names hold no dot, so a name reads without doubt. A name
//! alone proves nothing: whose disk it is stands in its marks as well, and both must agree.

use super::{ImageName, LvName, MachineName, NameError, VersionName};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// One of the disks that a seat has for one image; a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Side(char);

impl Side {
    /// The first side.
    pub const A: Self = Self('a');

    /// Every side there can be. A seat's system disk has three at most; a data disk that two systems of a machine share may need
    /// more letters.
    pub fn all() -> impl Iterator<Item = Self> {
        ('a'..='z').map(Self)
    }
}

impl FromStr for Side {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut chars = text.chars();
        match (chars.next(), chars.next()) {
            (Some(letter @ 'a'..='z'), None) => Ok(Self(letter)),
            _ => Err(NameError::new("side", text, "is not one lower-case letter")),
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

super::string_form!(Side, "side of a seat, such as a", "^[a-z]$");

/// The UUID that a store gives to each of its objects, as the store spells it; no two objects ever share one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Handle(String);

impl Handle {
    /// A handle as the store spells it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a disk is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum DiskId {
    /// A version of an image: filled once and only read since.
    Version {
        /// The image.
        image: ImageName,
        /// The version.
        version: VersionName,
    },
    /// A machine's disk of an image.
    Seat {
        /// The machine.
        machine: MachineName,
        /// The image.
        image: ImageName,
        /// Which of its sides.
        side: Side,
    },
    /// The disk on which an image's next version is made; always kept.
    Author {
        /// The image.
        image: ImageName,
    },
    /// A person's own disk; always kept.
    Personal {
        /// Whose.
        owner: MachineName,
    },
    /// What was captured to become a version; always kept.
    Capture {
        /// The image.
        image: ImageName,
        /// The version.
        version: VersionName,
    },
}

impl DiskId {
    /// A version's disk.
    pub fn version(image: &ImageName, version: &VersionName) -> Self {
        Self::Version { image: image.clone(), version: version.clone() }
    }

    /// A seat's disk.
    pub fn seat(machine: &MachineName, image: &ImageName, side: Side) -> Self {
        Self::Seat { machine: machine.clone(), image: image.clone(), side }
    }

    /// The machine it belongs to, if it is a seat's.
    pub fn machine(&self) -> Option<&MachineName> {
        match self {
            Self::Seat { machine, .. } => Some(machine),
            Self::Version { .. } | Self::Author { .. } | Self::Personal { .. } | Self::Capture { .. } => None,
        }
    }

    /// The volume's name.
    pub fn lv_name(&self) -> Result<LvName, NameError> {
        match self {
            Self::Version { image, version } => format!("img.{image}.{version}"),
            Self::Seat { machine, image, side } => format!("seat.{machine}.{image}.{side}"),
            Self::Author { image } => format!("author.{image}"),
            Self::Personal { owner } => format!("personal.{owner}"),
            Self::Capture { image, version } => format!("capture.{image}.{version}"),
        }
        .parse()
    }

    /// What a volume of this name is for; `None` for a name that no disk of ours has.
    pub fn of_lv(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once('.')?;
        match kind {
            "img" | "capture" => {
                let (image, version) = rest.split_once('.')?;
                let (image, version) = (image.parse().ok()?, version.parse().ok()?);
                Some(if kind == "img" { Self::Version { image, version } } else { Self::Capture { image, version } })
            }
            "seat" => {
                let mut parts = rest.split('.');
                let (machine, image, side) = (parts.next()?, parts.next()?, parts.next()?);
                let id = Self::Seat { machine: machine.parse().ok()?, image: image.parse().ok()?, side: side.parse().ok()? };
                parts.next().is_none().then_some(id)
            }
            "author" => Some(Self::Author { image: rest.parse().ok()? }),
            "personal" => Some(Self::Personal { owner: rest.parse().ok()? }),
            _ => None,
        }
    }
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { image, version } => write!(f, "{image}@{version}"),
            Self::Seat { machine, image, side } => write!(f, "{machine}.{image}.{side}"),
            Self::Author { image } => write!(f, "author.{image}"),
            Self::Personal { owner } => write!(f, "personal.{owner}"),
            Self::Capture { image, version } => write!(f, "capture.{image}@{version}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_reads_back_as_what_it_names() {
        for name in
            ["img.win11.2026-11", "img.ubuntu.24.04.1", "seat.pc01.win11.a", "author.win11", "personal.ana", "capture.win11.2"]
        {
            let id = DiskId::of_lv(name).unwrap_or_else(|| panic!("{name} does not read"));
            assert_eq!(id.lv_name().map(|lv| lv.to_string()).as_deref(), Ok(name));
        }
    }

    #[test]
    fn other_names_are_no_disks_of_ours() {
        for name in [
            "pool",
            "lvol0",
            "seat.pc01.win11",
            "seat.pc01.win11.ab",
            "seat.pc01.win11.a.b",
            "img.win11",
            "backup.pc01.x",
            "seat.PC.x.a",
        ] {
            assert_eq!(DiskId::of_lv(name), None, "{name}");
        }
    }
}
