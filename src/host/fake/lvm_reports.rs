//! The JSON reports of `vgs` and `lvs` over the fake's volume groups.
//!
//! **Invariant:** the form of lvm2 2.03.16: every value a string, unknown ones empty or -1, and an empty report beside the refusal
//! when the group is not there.

use super::arguments::Arguments;
use super::lvm::{FakeKind, FakeLv, FakeVg, Lvm, Refusal};
use serde_json::Value;

/// Hundredths of a per cent as LVM prints them; a little is never printed as nothing.
fn per_cent(part: u64, whole: u64) -> String {
    let hundredths = if whole == 0 { 0 } else { u128::from(part) * 10_000 / u128::from(whole) };
    let hundredths = if part > 0 { hundredths.max(1) } else { 0 };
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Answers `vgs` or `lvs`: the report, and the refusal if there is one.
pub(super) fn report(lvm: &Lvm, program: &str, words: &[String]) -> (String, Option<Refusal>) {
    // To a report `-a` means hidden volumes too, which this fake has none of; to other commands it means activation.
    let words: Vec<String> = words.iter().filter(|word| *word != "-a").cloned().collect();
    let arguments = match Arguments::parse(&words) {
        Ok(arguments) => arguments,
        Err(refusal) => return (String::new(), Some(refusal)),
    };
    let fields: Vec<&str> = arguments.value("--options").unwrap_or("vg_name").split(',').map(str::trim).collect();
    let mut rows = String::new();
    let mut refusal = None;
    let names: Vec<String> =
        if arguments.operands.is_empty() { lvm.vgs.keys().cloned().collect() } else { arguments.operands.clone() };
    for operand in names {
        let (vg, only) = operand.split_once('/').map_or((operand.as_str(), None), |(vg, lv)| (vg, Some(lv)));
        let Some(group) = lvm.vgs.get(vg) else {
            refusal = Some((5, format!("Volume group \"{vg}\" not found\n  Cannot process volume group {vg}")));
            continue;
        };
        if program == "vgs" {
            row(&mut rows, &fields, |field| vg_field(vg, group, field));
            continue;
        }
        let lvs: Vec<(&String, &FakeLv)> = group.lvs.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)).collect();
        if let (true, Some(only)) = (lvs.is_empty(), only) {
            refusal = Some((5, format!("Failed to find logical volume \"{vg}/{only}\"")));
        }
        for (name, lv) in lvs {
            row(&mut rows, &fields, |field| match field.starts_with("vg_") {
                true => vg_field(vg, group, field),
                false => lv_field(lvm, group, name, lv, field),
            });
        }
    }
    let section = if program == "vgs" { "vg" } else { "lv" };
    (
        format!(
            "  {{\n      \"report\": [\n          {{\n              \"{section}\": [\n{rows}\n              ]\n          }}\n      ]\n  }}\n"
        ),
        refusal,
    )
}

/// Adds a row as LVM prints one.
fn row(rows: &mut String, fields: &[&str], value: impl Fn(&str) -> String) {
    if !rows.is_empty() {
        rows.push_str(",\n");
    }
    rows.push_str("                  {");
    for (at, field) in fields.iter().enumerate() {
        let value = value(field);
        let is_plain = value.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
        let quoted = if is_plain { format!("\"{value}\"") } else { Value::String(value).to_string() };
        rows.extend([if at > 0 { ", " } else { "" }, "\"", field, "\":", &quoted]);
    }
    rows.push('}');
}

fn vg_field(name: &str, vg: &FakeVg, field: &str) -> String {
    match field {
        "vg_name" => name.to_owned(),
        "vg_uuid" => format!("fake-vg-{name}"),
        "vg_size" => vg.size.to_string(),
        "vg_free" => vg.free().to_string(),
        "vg_extent_size" => vg.extent.to_string(),
        "vg_mda_size" => vg.metadata_size.to_string(),
        "vg_mda_free" => vg.metadata_free().to_string(),
        _ => String::new(),
    }
}

fn lv_field(lvm: &Lvm, group: &FakeVg, name: &str, lv: &FakeLv, field: &str) -> String {
    let number = |flag: bool| u8::from(flag).to_string();
    let device = Lvm::device(lv);
    match field {
        "lv_name" => name.to_owned(),
        "lv_uuid" => lv.uuid.clone(),
        "lv_size" => lv.size.to_string(),
        "lv_attr" => attributes(lvm, group, name, lv),
        "lv_active" => if lv.minor.is_some() { "active" } else { "" }.to_owned(),
        "lv_device_open" => device.map_or("-1".into(), |_| number(is_open(lvm, group, name, lv))),
        "lv_tags" => lv.tags.iter().cloned().collect::<Vec<_>>().join(","),
        "lv_skip_activation" => number(lv.skip),
        "lv_kernel_major" => device.map_or("-1".into(), |(major, _)| major.to_string()),
        "lv_kernel_minor" => device.map_or("-1".into(), |(_, minor)| minor.to_string()),
        _ => kind_field(group, name, lv, field),
    }
}

fn kind_field(group: &FakeVg, name: &str, lv: &FakeLv, field: &str) -> String {
    match (&lv.kind, field) {
        (FakeKind::Thin { .. }, "segtype") => "thin".into(),
        (FakeKind::Thin { pool, .. }, "pool_lv") => pool.clone(),
        (FakeKind::Thin { origin, .. }, "origin") => origin.clone().unwrap_or_default(),
        (FakeKind::Thin { .. }, "data_percent") if lv.minor.is_some() => per_cent(lv.mapped, lv.size),
        (FakeKind::Thin { .. }, "chunk_size") => "0".into(),
        (FakeKind::Pool { .. }, "segtype") => "thin-pool".into(),
        (FakeKind::Pool { data, .. }, "data_percent") if lv.minor.is_some() => per_cent(group.used(name).min(*data), *data),
        (FakeKind::Pool { metadata, .. }, "metadata_percent") if lv.minor.is_some() => {
            per_cent(group.lvs.len() as u64 * 4096, *metadata)
        }
        (FakeKind::Pool { .. }, "lv_check_needed") => if lv.minor.is_some() { "0" } else { "-1" }.into(),
        (FakeKind::Pool { .. }, "lv_health_status") if group.is_full(name) => "out_of_data".into(),
        (FakeKind::Pool { .. }, "chunk_size") => "65536".into(),
        (FakeKind::Plain, "segtype") => "linear".into(),
        (FakeKind::Plain, "chunk_size") => "0".into(),
        (FakeKind::Plain, "discards") => String::new(),
        (_, "lv_check_needed") => "-1".into(),
        (_, "discards") => "passdown".into(),
        _ => String::new(),
    }
}

/// A pool is held open by its own volumes.
fn is_open(lvm: &Lvm, group: &FakeVg, name: &str, lv: &FakeLv) -> bool {
    let is_active_in_pool = |lv: &FakeLv| lv.minor.is_some() && matches!(&lv.kind, FakeKind::Thin { pool, .. } if pool == name);
    lvm.is_open(lv) || group.lvs.values().any(is_active_in_pool)
}

/// The ten characters of lvs(8), section "NOTES".
fn attributes(lvm: &Lvm, group: &FakeVg, name: &str, lv: &FakeLv) -> String {
    let kind = match lv.kind {
        FakeKind::Pool { .. } => 't',
        FakeKind::Thin { .. } => 'V',
        FakeKind::Plain => '-',
    };
    let permission = if lv.read_only { 'r' } else { 'w' };
    let active = if lv.minor.is_some() { 'a' } else { '-' };
    let open = if lv.minor.is_some() && is_open(lvm, group, name, lv) { 'o' } else { '-' };
    let skip = if lv.skip { 'k' } else { '-' };
    format!("{kind}{permission}i-{active}{open}tz-{skip}")
}
