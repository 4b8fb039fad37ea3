//! Reads LVM's JSON reports (lvmreport(7), fields of lvs(8) and vgs(8)).
//!
//! **Invariant:** pure, and strict: a field that is missing or has an unknown form is an error, never a default. All values
//! arrive as strings; an empty one means "not applicable" and only where LVM really prints it so.

use super::{Hundredths, Lv, LvKind, Tags, Vg};
use crate::names::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// What every report is asked for: machine-readable, sizes in bytes, flags as numbers.
pub const REPORT_OPTIONS: [&str; 6] = ["--reportformat", "json", "--units", "b", "--nosuffix", "--binary"];

/// The fields of a volume group that [`parse_vg`] reads, for `vgs -o`.
pub const VG_FIELDS: &str = "vg_name,vg_uuid,vg_size,vg_free,vg_extent_size,vg_mda_size,vg_mda_free";

/// The fields of a volume that [`parse_lvs`] reads, for `lvs -o`.
pub const LV_FIELDS: &str = "lv_name,lv_uuid,lv_size,segtype,pool_lv,origin,data_percent,metadata_percent,lv_active,lv_device_open,\
lv_tags,lv_health_status,lv_attr,lv_skip_activation,lv_kernel_major,lv_kernel_minor,chunk_size,discards,lv_check_needed";

/// The command that reports these fields of a volume, or of all volumes of a group.
pub fn lvs<'a>(fields: &'a str, of: &'a str) -> impl Iterator<Item = &'a str> {
    ["lvs"].into_iter().chain(REPORT_OPTIONS).chain(["-o", fields, of])
}

/// A report that does not read as one.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// Not JSON, or not LVM's report.
    #[error("LVM's report does not read as one")]
    Malformed(#[source] serde_json::Error),
    /// A field is missing.
    #[error("LVM's report of {object} lacks the field {field}")]
    Missing {
        /// The volume or volume group.
        object: String,
        /// The field's name.
        field: &'static str,
    },
    /// A field holds something else than LVM is known to print.
    #[error("LVM's report of {object} says {text:?} for {field}")]
    Odd {
        /// The volume or volume group.
        object: String,
        /// The field's name.
        field: &'static str,
        /// What it says.
        text: String,
    },
}

#[derive(Deserialize)]
pub(super) struct Document<'t> {
    #[serde(borrow)]
    pub(super) report: Vec<Section<'t>>,
}

#[derive(Deserialize)]
pub(super) struct Section<'t> {
    #[serde(borrow, default)]
    vg: Vec<Row<'t>>,
    #[serde(borrow, default)]
    pub(super) lv: Vec<Row<'t>>,
}

/// The fields of one object with their values, as they stand in the report.
pub(super) struct Row<'t>(Vec<(Text<'t>, Text<'t>)>);

/// A string, in the report's own memory where nothing in it was escaped.
#[derive(Deserialize)]
struct Text<'t>(#[serde(borrow)] Cow<'t, str>);

impl<'de: 't, 't> Deserialize<'de> for Row<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Row<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("fields with strings for values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row<'de>, A::Error> {
                let mut fields = Vec::with_capacity(20);
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Row(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl Row<'_> {
    fn get(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name.0 == field).map(|(_, value)| &*value.0)
    }

    fn name(&self) -> String {
        self.get("lv_name").or_else(|| self.get("vg_name")).unwrap_or("an unnamed object").to_owned()
    }

    pub(super) fn text(&self, field: &'static str) -> Result<&str, ReportError> {
        self.get(field).ok_or_else(|| ReportError::Missing { object: self.name(), field })
    }

    fn odd(&self, field: &'static str, text: &str) -> ReportError {
        ReportError::Odd { object: self.name(), field, text: text.to_owned() }
    }

    fn bytes(&self, field: &'static str) -> Result<Bytes, ReportError> {
        let text = self.text(field)?;
        text.parse().map(Bytes).map_err(|_| self.odd(field, text))
    }

    /// A flag under `--binary`: 0, 1, or -1 for "unknown", which `unknown` stands for.
    fn flag(&self, field: &'static str, unknown: Option<bool>) -> Result<bool, ReportError> {
        match (self.text(field)?, unknown) {
            ("1", _) => Ok(true),
            ("0", _) => Ok(false),
            ("-1" | "", Some(unknown)) => Ok(unknown),
            (text, _) => Err(self.odd(field, text)),
        }
    }

    fn hundredths(&self, field: &'static str) -> Result<Option<Hundredths>, ReportError> {
        let text = self.text(field)?;
        if text.is_empty() {
            return Ok(None);
        }
        parse_hundredths(text).map(Some).ok_or_else(|| self.odd(field, text))
    }

    /// Major and minor number; both are -1 while the volume is inactive.
    fn device(&self) -> Result<Option<(u32, u32)>, ReportError> {
        let number = |field| {
            let text = self.text(field)?;
            text.parse::<i64>().map_err(|_| self.odd(field, text))
        };
        let (major, minor) = (number("lv_kernel_major")?, number("lv_kernel_minor")?);
        Ok(u32::try_from(major).ok().zip(u32::try_from(minor).ok()))
    }
}

/// `12.34` is 1234; LVM always prints two decimals.
fn parse_hundredths(text: &str) -> Option<Hundredths> {
    let (whole, part) = text.split_once('.')?;
    let part: u32 = (part.len() == 2).then(|| part.parse().ok())??;
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(part).map(Hundredths)
}

pub(super) fn parse_document(text: &str) -> Result<Document<'_>, ReportError> {
    serde_json::from_str(text).map_err(ReportError::Malformed)
}

/// Finds the volume group `name` in a report of all volume groups; `None` when LVM knows none of that name. It comes without
/// its volumes.
pub fn parse_vg(report: &str, name: &str) -> Result<Option<Vg>, ReportError> {
    let document = parse_document(report)?;
    let mut rows = document.report.iter().flat_map(|section| &section.vg);
    let Some(row) = rows.find(|row| row.get("vg_name") == Some(name)) else {
        return Ok(None);
    };
    parse_group(row, name).map(Some)
}

fn parse_group(row: &Row<'_>, name: &str) -> Result<Vg, ReportError> {
    Ok(Vg {
        name: name.to_owned(),
        uuid: row.text("vg_uuid")?.to_owned(),
        size: row.bytes("vg_size")?,
        free: row.bytes("vg_free")?,
        extent: row.bytes("vg_extent_size")?,
        metadata_size: row.bytes("vg_mda_size")?,
        metadata_free: row.bytes("vg_mda_free")?,
        lvs: BTreeMap::new(),
    })
}

/// Reads a report of the volumes of all groups, with the fields of both: the group `name` with its volumes, and how many volumes of
/// other groups carry a tag. The group is `None` where the report does not show it for certain: it has no volumes, there is none, or two
/// bear the name.
pub fn parse_groups(report: &str, name: &str, tag: &str) -> Result<(Option<Vg>, BTreeMap<String, u32>), ReportError> {
    let document = parse_document(report)?;
    let (mut vg, mut elsewhere): (Option<Vg>, BTreeMap<String, u32>) = (None, BTreeMap::new());
    let mut is_one = true;
    for row in document.report.iter().flat_map(|section| &section.lv) {
        let of = row.text("vg_name")?;
        if of != name {
            if Tags::parse(row.text("lv_tags")?).contains(tag) {
                *elsewhere.entry(of.to_owned()).or_default() += 1;
            }
            continue;
        }
        let vg = match &mut vg {
            Some(vg) => vg,
            None => vg.insert(parse_group(row, name)?),
        };
        is_one &= row.text("vg_uuid")? == vg.uuid;
        let volume = row.text("lv_name")?;
        if !volume.starts_with('[') {
            vg.lvs.insert(volume.to_owned(), parse_lv(row)?);
        }
    }
    Ok((vg.filter(|_| is_one), elsewhere))
}

/// The visible volumes of a report of one volume group; hidden ones, which LVM prints in brackets, are left out.
pub fn parse_lvs(report: &str) -> Result<BTreeMap<String, Lv>, ReportError> {
    let document = parse_document(report)?;
    let rows = document.report.iter().flat_map(|section| &section.lv);
    rows.filter_map(|row| match row.text("lv_name") {
        Ok(name) if name.starts_with('[') => None,
        Ok(name) => Some(parse_lv(row).map(|lv| (name.to_owned(), lv))),
        Err(error) => Some(Err(error)),
    })
    .collect()
}

/// How much of a thin volume has been written, from a report of that one volume with the field `data_percent`; unknown while it
/// is inactive. LVM prints `0.00` only when no chunk of it has.
pub fn parse_data_percent(report: &str) -> Result<Option<Hundredths>, ReportError> {
    let document = parse_document(report)?;
    let mut rows = document.report.iter().flat_map(|section| &section.lv);
    rows.next().map_or(Ok(None), |row| row.hundredths("data_percent"))
}

fn parse_lv(row: &Row<'_>) -> Result<Lv, ReportError> {
    let tags = Tags::parse(row.text("lv_tags")?);
    let attributes = row.text("lv_attr")?;
    Ok(Lv {
        uuid: row.text("lv_uuid")?.to_owned(),
        kind: parse_kind(row)?,
        size: row.bytes("lv_size")?,
        tags,
        active: match row.text("lv_active")? {
            "" => false,
            // Beside a plain "active" LVM says how a cluster holds it: "remotely" means that another host does.
            "active" | "local exclusive" | "locally" | "remotely" | "remote exclusive" => true,
            text => return Err(row.odd("lv_active", text)),
        },
        open: row.flag("lv_device_open", Some(false))?,
        // Not from lv_permissions: of an inactive volume that says "unknown" even where the metadata knows.
        read_only: match attributes.chars().nth(1) {
            Some('r' | 'R') => true,
            Some('w') => false,
            _ => return Err(row.odd("lv_attr", attributes)),
        },
        skip_activation: row.flag("lv_skip_activation", None)?,
        device: row.device()?,
    })
}

fn parse_kind(row: &Row<'_>) -> Result<LvKind, ReportError> {
    Ok(match row.text("segtype")? {
        "thin" => LvKind::Thin {
            pool: row.text("pool_lv")?.to_owned(),
            origin: Some(row.text("origin")?).filter(|origin| !origin.is_empty()).map(str::to_owned),
        },
        "thin-pool" => LvKind::ThinPool {
            data: row.hundredths("data_percent")?,
            metadata: row.hundredths("metadata_percent")?,
            needs_check: row.flag("lv_check_needed", Some(false))?,
            health: row.text("lv_health_status")?.to_owned(),
            chunk: row.bytes("chunk_size")?,
            discards: row.text("discards")?.to_owned(),
        },
        other => LvKind::Other(other.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_cents_are_read_without_rounding() {
        for (text, hundredths) in [("0.00", 0), ("10.09", 1009), ("100.00", 10_000)] {
            assert_eq!(parse_hundredths(text), Some(Hundredths(hundredths)));
        }
        for bad in ["", "10", "10.1", "10.123", "-1.00", "a.bc"] {
            assert_eq!(parse_hundredths(bad), None, "{bad} passed");
        }
    }

    #[test]
    fn a_report_that_lacks_a_field_is_an_error_and_not_a_default() {
        let report = r#"{"report":[{"lv":[{"lv_name":"pool","lv_uuid":"u"}]}]}"#;
        assert_eq!(parse_lvs(report).expect_err("lacks fields").to_string(), "LVM's report of pool lacks the field lv_tags");
        assert!(matches!(parse_lvs("{\"report\": ["), Err(ReportError::Malformed(_))));
        assert!(matches!(parse_vg("", "cafe"), Err(ReportError::Malformed(_))));
    }

    #[test]
    fn a_real_report_reads_as_it_was_printed() {
        let lvs = parse_lvs(include_str!("../../tests/fixtures/lvm/lvs.cafe.json")).expect("reads");
        let names: Vec<&str> = lvs.keys().map(String::as_str).collect();
        let seats = ["seat.pc01.win11.a", "seat.pc02.win11.a", "seat.pc03.win11.a", "seat.pc04.win11.a"];
        assert_eq!(names[..2], ["img.win11.1", "pool"], "hidden volumes are left out");
        assert_eq!(names[2..], seats);
        let (image, pool, seat) = (&lvs["img.win11.1"], &lvs["pool"], &lvs["seat.pc03.win11.a"]);
        assert!(image.read_only && image.active && !image.open && !image.skip_activation);
        assert_eq!(image.device, Some((253, 4)));
        assert_eq!(image.tags, Tags::parse("barista,barista.image=win11"));
        assert_eq!(image.kind, LvKind::Thin { pool: "pool".into(), origin: None });
        assert_eq!(seat.kind, LvKind::Thin { pool: "pool".into(), origin: Some("img.win11.1".into()) });
        assert_eq!((seat.size, seat.read_only), (Bytes(1 << 30), false));
        let LvKind::ThinPool { data, metadata, needs_check, health, chunk, discards } = &pool.kind else {
            panic!("the pool is {:?}", pool.kind)
        };
        assert_eq!((*data, *metadata, *needs_check), (Some(Hundredths(0)), Some(Hundredths(1009)), false));
        assert_eq!((health.as_str(), *chunk, pool.open, discards.as_str()), ("", Bytes(64 << 10), true, "passdown"));
    }

    #[test]
    fn a_real_volume_group_reads_as_it_was_printed() {
        let vg = parse_vg(include_str!("../../tests/fixtures/lvm/vgs.json"), "cafe").expect("reads").expect("is there");
        assert_eq!((vg.size, vg.free, vg.extent), (Bytes(8_568_963_072), Bytes(4_139_778_048), Bytes(4 << 20)));
        assert_eq!((vg.metadata_size, vg.metadata_free), (Bytes(17_821_696), Bytes(8_906_240)));
        assert_eq!(parse_vg(include_str!("../../tests/fixtures/lvm/vgs.none.json"), "cafe").expect("reads"), None);
    }

    #[test]
    fn a_report_of_all_groups_shows_the_group_only_where_it_is_the_only_one_of_its_name() {
        let row = |vg: &str, uuid: &str, lv: &str, tags: &str| {
            let text = r#"{"vg_name":"VG","vg_uuid":"UUID","vg_size":"9","vg_free":"1","vg_extent_size":"1","vg_mda_size":"1",
                "vg_mda_free":"1","lv_name":"LV","lv_uuid":"u","lv_size":"1","segtype":"linear","pool_lv":"","origin":"","lv_active":"",
                "lv_device_open":"-1","lv_tags":"TAGS","lv_attr":"-wi-------","lv_skip_activation":"0","lv_kernel_major":"-1",
                "lv_kernel_minor":"-1"}"#;
            text.replace("UUID", uuid).replace("VG", vg).replace("LV", lv).replace("TAGS", tags)
        };
        let parse = |rows: &[String]| {
            let (vg, elsewhere) =
                parse_groups(&format!(r#"{{"report":[{{"lv":[{}]}}]}}"#, rows.join(",")), "cafe", "mine").expect("reads");
            (vg.map(|vg| (vg.uuid, vg.lvs.into_keys().collect::<Vec<_>>())), elsewhere)
        };
        let (own, other) = (row("cafe", "1", "a", "mine"), row("spare", "2", "b", "x,mine"));
        let all = [own.clone(), row("cafe", "1", "[b]", ""), other.clone(), row("spare", "2", "c", "theirs")];
        assert_eq!(parse(&all), (Some(("1".to_owned(), vec!["a".to_owned()])), [("spare".to_owned(), 1)].into()));
        assert_eq!(parse(&[other]).0, None, "it has no volumes, or is not there");
        assert_eq!(parse(&[own, row("cafe", "3", "a", "mine")]).0, None, "two bear the name");
    }

    #[test]
    fn a_volume_group_that_is_not_listed_is_none() {
        assert_eq!(parse_vg(r#"{"report":[{"vg":[]}]}"#, "cafe").expect("reads"), None);
    }
}
