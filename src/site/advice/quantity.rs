//! Sizes, times and percentages as people write them.
//!
//! **Invariant:** nothing is left out of what was written: where anything is not understood there is no advice.

use super::is_legal;
use crate::names::Interval;

/// The number that a text begins with, and what follows it in lower case.
fn number(raw: &str) -> (&str, String) {
    let end = raw.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(raw.len());
    (&raw[..end], raw[end..].trim().to_lowercase())
}

/// A size in the largest unit that it is whole in.
pub fn size(raw: &str) -> Option<String> {
    // 64,5GiB, as most of Europe writes it.
    let raw = &raw.replacen(',', ".", 1);
    let (count, unit) = number(raw);
    let (unit, smaller) = match unit.chars().next() {
        None | Some('g') => ("GiB", "MiB"),
        Some('t') => ("TiB", "GiB"),
        Some('m') => ("MiB", "KiB"),
        Some('k') => ("KiB", "B"),
        Some(_) => return None,
    };
    if !count.contains('.') {
        return Some(format!("{count}{unit}"));
    }
    let parts = count.parse::<f64>().ok()? * 1024.0;
    Some(format!("{}{smaller}", parts.round()))
}

/// What people call the units of time.
const UNITS: [(&str, &[&str]); 4] = [
    ("s", &["s", "sec", "secs", "second", "seconds", "秒", "秒钟"]),
    ("m", &["m", "min", "mins", "minute", "minutes", "分", "分钟"]),
    ("h", &["h", "hr", "hrs", "hour", "hours", "小时", "个小时", "时"]),
    ("d", &["d", "day", "days", "天", "日"]),
];

/// Numbers, each with its unit; nothing where anything is left over, for then the time would be another.
pub fn time(raw: &str) -> Option<String> {
    let mut rest = raw.trim();
    let mut found = String::new();
    while !rest.is_empty() {
        let (count, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len()));
        let after = after.trim_start();
        let (word, after) = after.split_at(after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len()));
        // A month to who writes it so; a minute is a small letter.
        let word = if word == "M" { return None } else { word.to_lowercase() };
        let (unit, _) = UNITS.iter().find(|(_, names)| names.contains(&word.as_str()))?;
        found += &format!("{count}{unit}");
        rest = after.trim_start();
    }
    Some(found)
}

/// A number without a unit: seconds where so few are not too few for the key, else hours of a day.
pub fn bare_time(key: &str, raw: &str) -> Option<String> {
    let number: u64 = raw.parse().ok()?;
    let fewest = match key {
        "lease-time" => 120,
        "quiet" | "outage-quiet" => 600,
        _ => 0,
    };
    let unit = match number {
        number if number >= fewest => "s",
        // Nobody writes more hours than a day has.
        0..=24 => "h",
        _ => return None,
    };
    Some(format!("{number}{unit}")).filter(|time| is_legal::<Interval>(time))
}

/// A part of a hundred.
pub fn percent(raw: &str) -> Option<String> {
    let (count, unit) = number(raw);
    // lvcreate(8) says of what it is a part; a number of bytes is none.
    if !["", "%", "%free", "%vg", "percent", "per cent"].contains(&unit.as_str()) {
        return None;
    }
    let percent: f64 = count.parse().ok()?;
    let percent = if percent > 0.0 && percent <= 1.0 && unit.is_empty() { percent * 100.0 } else { percent };
    (percent <= 100.0).then(|| format!("{}%", percent.round()))
}
