//! Reads the texts that LIO generates in configfs (`drivers/target/target_core_*.c`, `iscsi_target_configfs.c`).
//!
//! **Invariant:** pure; a text of unknown form gives an error, never a fact.

use super::lio_attributes::{PORT_GROUP, PORT_OFFLINE};
use super::{Attributes, Session};
use crate::names::{Lun, Portal};

/// A text of configfs that does not read as what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}")]
pub struct TextError {
    /// What it should have been.
    pub what: &'static str,
    /// Its beginning.
    pub text: String,
}

fn refuse(what: &'static str, text: &str) -> TextError {
    TextError { what, text: text.chars().take(120).collect() }
}

/// Reads `0` or `1`: `enable`, `write_protect`.
pub fn parse_flag(text: &str) -> Result<bool, TextError> {
    match text.trim_end() {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(refuse("0 or 1", text)),
    }
}

/// Reads a counter such as `statistics/scsi_lu/num_cmds`.
pub fn parse_counter(text: &str) -> Result<u64, TextError> {
    text.trim_end().parse().map_err(|_| refuse("a counter", text))
}

/// Reads the sectors written and discarded from `/sys/dev/block/<device>/stat` (Documentation/block/stat.rst), as one number. The
/// counts of requests are left out: device-mapper counts a flush as a write of no sectors.
pub fn parse_disk_writes(stat: &str) -> Result<u64, TextError> {
    let numbers: Option<Vec<u64>> = stat.split_whitespace().map(|word| word.parse().ok()).collect();
    match numbers.as_deref() {
        Some([_, _, _, _, _, _, written, _, _, _, _, _, _, discarded, ..]) => Ok(written.wrapping_add(*discarded)),
        _ => Err(refuse("the statistics of a disk", stat)),
    }
}

/// Reads `wwn/vpd_unit_serial`: what follows `T10 VPD Unit Serial Number: `.
pub fn parse_unit_serial(text: &str) -> Result<String, TextError> {
    let serial = text.trim_end_matches('\n').strip_prefix("T10 VPD Unit Serial Number:");
    serial.map(|serial| serial.trim().to_owned()).ok_or_else(|| refuse("a unit serial number", text))
}

/// Reads the device of an iblock backstore from its `info`; `None` while it is not enabled, and for other plugins.
pub fn parse_device(info: &str) -> Result<Option<(u32, u32)>, TextError> {
    if !info.starts_with("Status:") {
        return Err(refuse("a backstore's info", info));
    }
    // The UDEV PATH before it is free text, so the numbers are looked for from the end.
    let Some(at) = info.rfind("Major: ") else {
        return Ok(None);
    };
    let mut words = info[at..].split_whitespace();
    let numbers = (words.next(), words.next(), words.next(), words.next());
    let (Some("Major:"), Some(major), Some("Minor:"), Some(minor)) = numbers else {
        return Err(refuse("a backstore's info", &info[at..]));
    };
    match (major.parse(), minor.parse()) {
        (Ok(0), Ok(0)) => Ok(None),
        (Ok(major), Ok(minor)) => Ok(Some((major, minor))),
        _ => Err(refuse("a backstore's info", &info[at..])),
    }
}

/// Reads an ACL's `info`: its last session, or none. The ISID comes out as twelve hex digits whatever the kernel's spacing.
pub fn parse_session(info: &str) -> Result<Option<Session>, TextError> {
    if info.starts_with("No active iSCSI Session") {
        return Ok(None);
    }
    let between = |start: &str, end: &str| {
        let (_, rest) = info.split_once(start)?;
        Some(rest.split_once(end)?.0.trim())
    };
    let isid = between("ISID: 0x", "TSIH:").map(|isid| isid.split_whitespace().collect::<String>().to_ascii_lowercase());
    let address = between("Address ", " TCP").or_else(|| between("Address ", " "));
    match (isid, address) {
        (Some(isid), address) if isid.len() == 12 && isid.bytes().all(|b| b.is_ascii_hexdigit()) => {
            // A session that is between two connections has no address for a moment.
            Ok(Some(Session { isid, address: address.unwrap_or_default().to_owned(), since: None }))
        }
        _ => Err(refuse("a session", info)),
    }
}

/// Reads the ALUA lines of a LUN, `alua_tg_pt_gp`: its group, and whether its port is offline (`core_alua_show_tg_pt_gp_info`).
pub fn parse_port_group(text: &str) -> Result<Attributes, TextError> {
    let value = |title: &str| text.lines().find_map(|line| line.strip_prefix(title)).map(|value| value.trim().to_owned());
    let found = (value("TG Port Alias:"), value("TG Port Secondary Access State:"));
    let (Some(group), Some(offline)) = found else { return Err(refuse("the ALUA lines of a LUN", text)) };
    Ok([(PORT_GROUP.to_owned(), group), (PORT_OFFLINE.to_owned(), offline)].into_iter().collect())
}

/// Reads a directory name such as `lun_3`.
pub fn parse_lun_directory(name: &str) -> Result<Lun, TextError> {
    name.strip_prefix("lun_").and_then(|n| n.parse().ok()).map(Lun).ok_or_else(|| refuse("lun_<number>", name))
}

/// Reads a directory name such as `tpgt_1`.
pub fn parse_tpg_directory(name: &str) -> Result<u16, TextError> {
    name.strip_prefix("tpgt_").and_then(|n| n.parse().ok()).ok_or_else(|| refuse("tpgt_<number>", name))
}

/// Reads a directory name below `np/`.
pub fn parse_portal_directory(name: &str) -> Result<Portal, TextError> {
    name.parse().map_err(|_| refuse("a portal", name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_counters_are_numbers_and_nothing_else() {
        assert_eq!((parse_flag("0"), parse_flag("1\n")), (Ok(false), Ok(true)));
        assert_eq!(parse_counter("184467\n"), Ok(184_467));
        for bad in ["", "2", "yes", "-1"] {
            assert!(parse_flag(bad).is_err(), "{bad:?} passed");
        }
        assert!(parse_counter("many").is_err());
    }

    #[test]
    fn real_backstores_tell_their_device_once_they_are_enabled() {
        for (info, device) in [
            (include_str!("../../tests/fixtures/configfs/backstore-info.new"), None),
            (include_str!("../../tests/fixtures/configfs/backstore-info.not-enabled"), None),
            (include_str!("../../tests/fixtures/configfs/backstore-info.enabled"), Some((253, 4))),
            (include_str!("../../tests/fixtures/configfs/backstore-info.exported"), Some((253, 4))),
            ("Status: ACTIVATED  Max Queue Depth: 0\n        TCM FILEIO ID: 0        File: /p  Size: 9", None),
        ] {
            assert_eq!(parse_device(info), Ok(device), "{info}");
        }
        assert!(parse_device("").is_err());
        assert!(parse_device("Status: x\nMajor: a Minor: b").is_err());
    }

    #[test]
    fn real_sessions_are_read_with_isid_and_address() {
        let none = include_str!("../../tests/fixtures/configfs/acl-info.none");
        assert_eq!(parse_session(none), Ok(None));
        let session = parse_session(include_str!("../../tests/fixtures/configfs/acl-info.open-iscsi")).expect("reads");
        let expected = Session { isid: "00023d000001".into(), address: "127.0.0.1".into(), since: None };
        assert_eq!(session, Some(expected));
        let ipxe = parse_session(include_str!("../../tests/fixtures/configfs/acl-info.ipxe")).expect("reads").expect("is there");
        assert_eq!((ipxe.isid.as_str(), ipxe.address.as_str()), ("40002723f3a6", "10.9.0.2"));
        assert!(parse_session("InitiatorName: x\nLIO Session ID: 1   ISID: 0x00 02  TSIH: 1").is_err());
        assert!(parse_session("").is_err(), "an empty text says nothing about sessions");
    }

    #[test]
    fn a_unit_serial_is_what_follows_its_title() {
        let text = include_str!("../../tests/fixtures/configfs/vpd_unit_serial");
        assert_eq!(parse_unit_serial(text).as_deref(), Ok("11111111-2222-3333-4444-555555555555"));
        assert_eq!(parse_unit_serial("T10 VPD Unit Serial Number: ").as_deref(), Ok(""));
        assert!(parse_unit_serial("something else").is_err());
    }

    #[test]
    fn sectors_written_and_discarded_are_counted_and_requests_are_not() {
        let stat = "     413        0    19370      220       52        0     1024       31        0      200      251        3        0     2048        0       17       12";
        assert_eq!(parse_disk_writes(stat), Ok(1024 + 2048));
        assert!(parse_disk_writes("1 2 3 4 5 6 7 8 9 10 11").is_err(), "a kernel that does not count discards is no witness");
        assert!(parse_disk_writes("").is_err());
    }

    #[test]
    fn a_luns_port_group_is_read_from_its_lines() {
        let text = "TG Port Alias: default_tg_pt_gp\nTG Port Group ID: 0\nTG Port Primary Access State: Active/Optimized\nTG Port Primary \
                    Access Status: None\nTG Port Secondary Access State: Offline\nTG Port Secondary Access Status: None";
        let seen = parse_port_group(text).expect("reads");
        assert_eq!((seen.get("alua_tg_pt_gp"), seen.get("alua_tg_pt_offline")), (Some("default_tg_pt_gp"), Some("Offline")));
        assert!(parse_port_group("").is_err());
    }

    #[test]
    fn directories_are_read_by_their_kernel_names() {
        assert_eq!(parse_lun_directory("lun_12"), Ok(Lun(12)));
        assert_eq!(parse_tpg_directory("tpgt_1"), Ok(1));
        assert!(parse_lun_directory("lun_").is_err());
        assert!(parse_tpg_directory("tpg_1").is_err());
        assert!(parse_portal_directory("[2001:db8::1]:3260").is_ok());
        assert!(parse_portal_directory("nonsense").is_err());
    }
}
