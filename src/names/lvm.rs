//! Names of volume groups and logical volumes (lvm(8), section "VALID NAMES").
//!
//! **Invariant:** LVM accepts the name for a volume of one's own; a name it reserves for hidden volumes is refused.

use super::{NameError, string_form};
use std::{borrow::Borrow, fmt, str::FromStr};

/// `NAME_LEN` of lvm2 less its terminator: what a VG's or an LV's name may measure.
const LONGEST: usize = 127;

/// Infixes that LVM gives to volumes it hides (lvm2 `lib/misc/lvm-string.c`).
const RESERVED_INFIXES: [&str; 15] = [
    "_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_iorig", "_mimage", "_mlog", "_pmspare", "_rimage", "_rmeta", "_tdata",
    "_tmeta", "_vdata", "_vorigin",
];
const RESERVED_PREFIXES: [&str; 2] = ["snapshot", "pvmove"];

fn parse_lvm(what: &'static str, text: &str) -> Result<String, NameError> {
    let refuse = |rule: String| Err(NameError::new(what, text, rule));
    if text.is_empty() || text.len() > LONGEST {
        return refuse("must measure 1 to 127 characters".into());
    }
    if let Some(bad) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "+_.-".contains(*c))) {
        return refuse(format!("holds {bad:?}; LVM allows a-z, A-Z, 0-9 and + _ . -"));
    }
    if text.starts_with('-') || text == "." || text == ".." {
        return refuse("must not begin with '-' nor be '.' or '..'".into());
    }
    Ok(text.to_owned())
}

/// A volume group's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VgName(String);

/// A logical volume's name within its volume group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LvName(String);

impl VgName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl LvName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name is ordered as its text, so a map by name is searched with text that nobody has parsed.
impl Borrow<str> for LvName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for VgName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        parse_lvm("volume group name", text).map(Self)
    }
}

impl FromStr for LvName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let name = parse_lvm("logical volume name", text)?;
        if let Some(prefix) = RESERVED_PREFIXES.iter().find(|prefix| name.starts_with(**prefix)) {
            return Err(NameError::new("logical volume name", text, format!("begins with {prefix:?}, which LVM reserves")));
        }
        if let Some(infix) = RESERVED_INFIXES.iter().find(|infix| name.contains(**infix)) {
            return Err(NameError::new("logical volume name", text, format!("holds {infix:?}, which LVM reserves")));
        }
        Ok(Self(name))
    }
}

impl fmt::Display for VgName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for LvName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

string_form!(VgName, "volume group name", "^[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,126}$");
string_form!(LvName, "logical volume name", "^[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,126}$");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lvm_reserves_is_refused() {
        for good in ["pool", "img.win11.2026-11", "seat.pc01.win11.a"] {
            assert!(good.parse::<LvName>().is_ok(), "{good} refused");
        }
        for bad in ["", "-a", "..", "a b", "a:b", "snapshot1", "pvmove0", "x_tdata", "lvol0_pmspare", &"x".repeat(128)] {
            assert!(bad.parse::<LvName>().is_err(), "{bad} passed");
        }
        assert!("snapshot".parse::<VgName>().is_ok(), "LVM reserves that prefix for volumes only");
    }
}
