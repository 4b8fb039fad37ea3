//! What to write in place of a value that is not legal.
//!
//! **Invariant:** what is advised is legal: it went through the parser of the value's own type.

mod address;
mod quantity;

use super::Consent;
use super::{
    raw::{Address, AddressRange, AssetPath, DomainName, InterfaceName, LoaderPath, SourcePath, Subnet},
    schema::{self, Form},
};
use crate::names::{Bytes, Interval, Iqn, LvName, MacAddr, MachineName, Percent, PoolSize, VersionName, VgName};
use address::{address, mac, range, subnet};
pub(super) use address::{netmask, range_and_lease, two_ranges};
use quantity::{bare_time, percent, size, time};
use std::str::FromStr;

/// The value to write for a key of a file, in TOML, where something near to it was written; `raw` is without quotes.
pub(super) fn value(path: &str, key: &str, raw: &str) -> Option<String> {
    let raw = raw.trim();
    match schema::form_of(path, key)? {
        Form::Flag => flag(raw).map(str::to_owned),
        Form::Number => raw.parse::<u32>().ok().map(|number| number.to_string()),
        // What the kernel is told are words on one line.
        Form::Text(_) if key == "args" && raw.starts_with('[') => {
            let words: Vec<&str> = raw.split('"').skip(1).step_by(2).collect();
            (!words.is_empty()).then(|| quote(&words.join(" ")))
        }
        // A list of one is that one.
        Form::Text(kind) if raw.starts_with('[') && kind != "AddressRange" => match items(raw)[..] {
            [one] => text(kind_of(path, key, kind), one).map(|text| quote(&text)),
            _ => None,
        },
        Form::Text("Interval") => text("Interval", raw).or_else(|| bare_time(key, raw)).map(|text| quote(&text)),
        Form::Text(kind) => text(kind_of(path, key, kind), raw).map(|text| quote(&text)),
        Form::List(kind) => {
            let items: Option<Vec<String>> = items(raw).iter().map(|item| text(kind, item).map(|text| quote(&text))).collect();
            items.filter(|items| !items.is_empty()).map(|items| format!("[{}]", items.join(", ")))
        }
        Form::Table | Form::Tables => None,
    }
}

/// The same for one entry of a list; several where it holds several.
pub(super) fn item(path: &str, key: &str, raw: &str) -> Option<String> {
    let Form::List(kind) = schema::form_of(path, key)? else { return None };
    let parts = if raw.contains(SEPARATORS) { items(raw) } else { vec![raw.trim()] };
    let texts: Option<Vec<String>> = parts.iter().map(|part| text(kind, part).map(|text| quote(&text))).collect();
    texts.filter(|texts| !texts.is_empty()).map(|texts| texts.join(", "))
}

/// What sets the entries of a list apart.
const SEPARATORS: &[char] = &[',', '，', '、', ';', '；'];

/// A text in TOML's quotes.
pub(super) fn quote(text: &str) -> String {
    if text.contains(['"', '\\']) && !text.contains('\'') {
        return format!("'{text}'");
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// `true` or `false` for the words that other languages have for them.
pub(super) fn flag(raw: &str) -> Option<&'static str> {
    match raw.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" | "y" | "enable" | "enabled" | "是" => Some("true"),
        "no" | "false" | "off" | "0" | "n" | "disable" | "disabled" | "否" => Some("false"),
        _ => None,
    }
}

/// The entries of a list, however they are set apart.
pub(super) fn items(raw: &str) -> Vec<&str> {
    let inner = raw.trim().trim_start_matches(['[', '(', '{']).trim_end_matches([']', ')', '}', ',', ';']);
    let separators: &[char] = if inner.contains(SEPARATORS) { SEPARATORS } else { &[' ', '\t', '\n'] };
    let marks = |c: char| c.is_whitespace() || "\"'“”‘’`".contains(c);
    inner.split(separators).map(|item| item.trim_matches(marks)).filter(|item| !item.is_empty()).collect()
}

/// Types whose schema stands within the key's own.
fn kind_of(path: &str, key: &str, kind: &'static str) -> &'static str {
    match (kind, key) {
        ("", "subnet") => "Subnet",
        ("", "name") if path.starts_with("images/") => "VersionName",
        ("", "name" | "from" | "to") => "MachineName",
        ("", "address") => "Address",
        ("", "interface") => "InterfaceName",
        ("", "domain") => "DomainName",
        _ => kind,
    }
}

fn is_legal<T: FromStr>(text: &str) -> bool {
    text.parse::<T>().is_ok()
}

/// A legal text of a type that is near to what was written.
fn text(kind: &str, raw: &str) -> Option<String> {
    let check: fn(&str) -> bool = match kind {
        "Bytes" => is_legal::<Bytes>,
        "Interval" => is_legal::<Interval>,
        "Percent" => is_legal::<Percent>,
        "PoolSize" => is_legal::<PoolSize>,
        "MacAddr" => is_legal::<MacAddr>,
        "Address" | "Relays" => is_legal::<Address>,
        "Subnet" => is_legal::<Subnet>,
        "AddressRange" => is_legal::<AddressRange>,
        "ImageName" | "MachineName" | "SiteName" | "NetworkName" => is_legal::<MachineName>,
        "VersionName" => is_legal::<VersionName>,
        "SourcePath" => is_legal::<SourcePath>,
        "AssetPath" => is_legal::<AssetPath>,
        "LoaderPath" => is_legal::<LoaderPath>,
        "Consent" => is_legal::<Consent>,
        "VgName" => is_legal::<VgName>,
        "LvName" => is_legal::<LvName>,
        "Iqn" => is_legal::<Iqn>,
        "InterfaceName" => is_legal::<InterfaceName>,
        "DomainName" => is_legal::<DomainName>,
        _ => return Some(raw.to_owned()),
    };
    if check(raw) {
        return Some(raw.to_owned());
    }
    let raw = &half_width(raw);
    let near = match kind {
        "Bytes" => size(raw),
        "Interval" => time(raw),
        "Percent" => percent(raw),
        "PoolSize" => percent(raw).or_else(|| size(raw)),
        "MacAddr" => mac(raw),
        "Address" | "Relays" => address(raw),
        "Subnet" => subnet(raw),
        "AddressRange" => range(raw),
        "SourcePath" | "AssetPath" | "LoaderPath" => file(kind, raw),
        "VersionName" => name(raw, "."),
        // A reference names what is there: what stands around its name is left off, and no other name is made of it.
        "ImageName" => Some(image_of(raw).to_lowercase()),
        "Consent" => Some(raw.split('@').map(str::trim).collect::<Vec<_>>().join("@").replace(['/', ' '], ".")),
        // eno1.5@eno1, as `ip link` shows a VLAN and what it is on.
        "InterfaceName" => raw.split_once('@').map(|(name, _)| name.to_owned()),
        "VgName" => volume_group(raw),
        "DomainName" => Some(raw.trim_matches('.').to_lowercase()),
        "Iqn" if is_legal::<Iqn>(&raw.to_lowercase()) => Some(raw.to_lowercase()),
        "LvName" => raw.rsplit('/').next().map(str::to_owned),
        "Iqn" => name(raw, ".")
            .filter(|name| !name.is_empty() && !name.starts_with("iqn"))
            .map(|name| format!("iqn.2026-11.local.{name}")),
        _ => name(raw, ""),
    };
    near.filter(|near| check(near))
}

/// A text without what a Chinese keyboard makes wide, and without characters that nobody sees; also as TOML escapes them.
fn half_width(raw: &str) -> String {
    let unseen = |c: &char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{ad}');
    let escaped = ["\\u200b", "\\u200B", "\\u200c", "\\u200C", "\\u200d", "\\u200D", "\\u2060", "\\ufeff", "\\uFEFF"];
    let raw = escaped.iter().fold(raw.to_owned(), |text, escape| text.replace(escape, ""));
    let narrow = |c: char| match c {
        '。' | '．' => '.',
        '\u{3000}' => ' ',
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xFEE0).unwrap_or(c),
        c => c,
    };
    raw.chars().filter(|c| !unseen(c)).map(narrow).collect()
}

/// A path of Windows or of the whole server becomes one within its store; `None` where it is not seen to lie in one: what is left of
/// it would name another file, or none.
fn file(kind: &str, raw: &str) -> Option<String> {
    // Also as TOML escapes it.
    let path = raw.replace("\\\\", "/").replace('\\', "/");
    if !is_absolute(&path) {
        return Some(path.trim_start_matches("./").to_owned());
    }
    let stores: &[&str] = match kind {
        "SourcePath" => &["images"],
        "AssetPath" => &["assets"],
        _ => &["ipxe", "loaders"],
    };
    let parts: Vec<&str> = path.split('/').collect();
    let store = parts.iter().position(|part| stores.contains(part))?;
    Some(parts[store + 1..].join("/"))
}

/// True for the name of a file that can be a loader.
pub(super) fn is_loader(text: &str) -> bool {
    is_legal::<LoaderPath>(text)
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') || path.get(1..2) == Some(":")
}

/// What to do about a path that is not seen to lie in its store: where that is, and what the key then says.
pub(super) fn store(path: &str, key: &str, raw: &str) -> Option<String> {
    let (Form::Text(kind) | Form::List(kind)) = schema::form_of(path, key)? else { return None };
    let store = match kind {
        "SourcePath" => "the image store (image-store under [storage] in site.toml, else /var/lib/barista/images)",
        "AssetPath" => "the asset store, /var/lib/barista/assets",
        "LoaderPath" => "the directory of the loaders (loaders under [boot] in site.toml)",
        _ => return None,
    };
    let name = raw.rsplit(['/', '\\']).next().filter(|name| text(kind, name).is_some_and(|legal| legal == *name))?;
    Some(format!("the file must lie in {store}: copy it there and write {}, or its path below that", quote(name)))
}

/// What names an image in a path of its file, or in a version of it.
fn image_of(raw: &str) -> &str {
    let name = raw.rsplit(['/', '\\']).next().unwrap_or(raw);
    let name = name.split('@').next().unwrap_or(name).trim();
    [".toml", ".qcow2", ".raw", ".img", ".vhdx"].iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// The volume group of a path: `/dev/cafe`, `/dev/cafe/pool`, `cafe/pool`, and `/dev/mapper/cafe-pool` in device mapper's spelling.
fn volume_group(raw: &str) -> Option<String> {
    if let Some(mapped) = raw.strip_prefix("/dev/mapper/") {
        // A hyphen of a name is doubled there, so a single one ends it.
        let hidden = mapped.replace("--", "\0");
        return Some(hidden.split('-').next().unwrap_or(&hidden).replace('\0', "-"));
    }
    let path = raw.strip_prefix("/dev/").unwrap_or(raw);
    // A disk is no volume group, and /dev/sdb says nothing of one.
    let is_disk = ["sd", "nvme", "vd", "hd", "md"].iter().any(|disk| path.starts_with(disk)) && raw.starts_with("/dev/");
    path.split('/').next().filter(|_| !is_disk).map(str::to_owned)
}

/// What to write where one address takes the place of several.
pub(super) fn several(path: &str, key: &str, raw: &str) -> Option<String> {
    schema::form_of(path, "macs").filter(|_| key == "mac")?;
    let macs: Option<Vec<String>> = items(raw).iter().map(|item| text("MacAddr", item).map(|mac| quote(&mac))).collect();
    let macs = macs.filter(|macs| macs.len() > 1)?;
    Some(format!("write macs = [{}] instead of mac", macs.join(", ")))
}

/// A move as a table, of the two names that were written with something between them.
pub(super) fn moved(key: &str, raw: &str) -> Option<String> {
    let names: Vec<&str> =
        raw.split(|c: char| c.is_whitespace() || "-=>→:,".contains(c)).filter(|name| !name.is_empty()).collect();
    // A name may have hyphens: then the arrow is what parts them.
    let parted = ["->", "=>", "→"].iter().find_map(|arrow| raw.split_once(arrow)).map(|(from, to)| [from.trim(), to.trim()]);
    let names = parted.or_else(|| <[&str; 2]>::try_from(names).ok()).filter(|_| key == "moved")?;
    let [from, to] = names.map(|name| text("MachineName", name));
    Some(format!("{{ from = {}, to = {} }}", quote(&from?), quote(&to?)))
}

/// What to write for a key where nothing near to what is written is known: a value of its type.
pub(super) fn such_as(path: &str, key: &str) -> String {
    let example = |kind| {
        let kind = kind_of(path, key, kind);
        EXAMPLES.iter().find(|(of, _)| *of == kind).map(|(_, example)| *example)
    };
    match schema::form_of(path, key) {
        // Other programs have -1 for it.
        Some(Form::Text(_)) if key == "menu-timeout" => {
            "write menu-timeout = and a text in double quotes, such as menu-timeout = \"5s\"; no menu waits for ever, and \"1h\" is the longest".to_owned()
        }
        Some(Form::Text(kind)) => match example(kind) {
            Some(example) => format!("write {key} = and a text in double quotes, such as {key} = {}", quote(example)),
            None => format!("write {key} = and a text in double quotes"),
        },
        Some(Form::List(kind)) => match example(kind) {
            Some(example) => format!("write {key} = and a list of texts, such as {key} = [{}]", quote(example)),
            None => format!("write {key} = and a list of texts in double quotes, in [ ]"),
        },
        _ => format!("leave {key} out"),
    }
}

/// A legal value of each type that has a form of its own.
const EXAMPLES: [(&str, &str); 16] = [
    ("Bytes", "64GiB"),
    ("Interval", "8h"),
    ("Percent", "10%"),
    ("PoolSize", "90%"),
    ("MacAddr", "88:ae:dd:05:08:fa"),
    ("Address", "192.168.1.2"),
    ("Subnet", "192.168.1.0/24"),
    ("AddressRange", "192.168.1.200-192.168.1.249"),
    ("ImageName", "win11"),
    ("MachineName", "pc01"),
    ("VersionName", "2026-11"),
    ("AssetPath", "debian/linux"),
    ("InterfaceName", "eno1"),
    ("DomainName", "cafe.example"),
    ("VgName", "cafe"),
    ("LvName", "pool"),
];

/// A name in the letters that names are made of.
pub(super) fn name(raw: &str, dots: &str) -> Option<String> {
    let lower = raw.trim().trim_end_matches(".toml").to_lowercase();
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || dots.contains(c);
    if !lower.is_ascii() {
        return None;
    }
    let name: String = lower.chars().map(|c| if legal(c) { c } else { '-' }).collect();
    Some(name.trim_matches('-').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_legal_for_its_key() {
        for (kind, example) in EXAMPLES {
            assert_eq!(text(kind, example).as_deref(), Some(example), "{kind}");
            // A text that its type refuses has no near one.
            assert_ne!(text(kind, "…").as_deref(), Some("…"), "{kind} is a type that is checked");
        }
        assert_eq!(such_as("machines/a.toml", "boot"), "write boot = and a list of texts, such as boot = [\"win11\"]");
        assert_eq!(
            such_as("network/lan.toml", "range"),
            "write range = and a text in double quotes, such as range = \"192.168.1.200-192.168.1.249\""
        );
    }

    #[test]
    fn a_move_in_one_text_is_two_names() {
        for written in ["pc1 -> pc01", "pc1=>pc01", "pc1 pc01", "pc1 = pc01"] {
            assert_eq!(moved("moved", written).as_deref(), Some("{ from = \"pc1\", to = \"pc01\" }"), "{written}");
        }
        assert_eq!(moved("moved", "pc-1 -> pc-01").as_deref(), Some("{ from = \"pc-1\", to = \"pc-01\" }"));
        assert_eq!(moved("moved", "pc01"), None);
        assert_eq!(moved("machine", "pc1 -> pc01"), None);
    }

    #[test]
    fn what_is_nearly_right_is_answered_with_what_is_right() {
        for (path, key, raw, advised) in [
            ("images/a.toml", "size", "64", "\"64GiB\""),
            ("images/a.toml", "size", "64g", "\"64GiB\""),
            ("images/a.toml", "size", "120 Gb", "\"120GiB\""),
            ("images/a.toml", "size", "0.5TB", "\"512GiB\""),
            ("network/lan.toml", "interface", "[\"eno1\"]", "\"eno1\""),
            ("machines/a.toml", "boot", "[\"win11.toml\"]", "[\"win11\"]"),
            ("images/a.toml", "current", "2026-11", "\"2026-11\""),
            ("images/a.toml", "source", "D:\\images\\win11.vhdx", "\"win11.vhdx\""),
            ("images/a.toml", "source", "/srv/images/win11.raw", "\"win11.raw\""),
            ("images/a.toml", "source", "/srv/images/win11/win11.vhdx", "\"win11/win11.vhdx\""),
            ("images/a.toml", "kernel", "/var/lib/barista/assets/debian/linux", "\"debian/linux\""),
            ("images/a.toml", "kernel", "debian\\linux", "\"debian/linux\""),
            ("images/a.toml", "kernel", "debian\\\\linux", "\"debian/linux\""),
            ("machines/a.toml", "loader", "/usr/lib/ipxe/snponly.efi", "\"snponly.efi\""),
            ("site.toml", "menu-timeout", "5秒", "\"5s\""),
            ("site.toml", "reserve", "0.1", "\"10%\""),
            ("site.toml", "pool-size", "0.9", "\"90%\""),
            ("site.toml", "pool-size", "500G", "\"500GiB\""),
            ("site.toml", "create-pool", "Yes", "true"),
            ("site.toml", "port", "3260", "3260"),
            ("site.toml", "name", "Lucky Cat", "\"lucky-cat\""),
            ("network/lan.toml", "range", "192.168.1.100-200", "\"192.168.1.100-192.168.1.200\""),
            ("network/lan.toml", "range", "[\"192.168.1.9\", \"192.168.1.20\"]", "\"192.168.1.9-192.168.1.20\""),
            ("network/lan.toml", "range", "192.168.1.9 to 192.168.1.20", "\"192.168.1.9-192.168.1.20\""),
            ("network/lan.toml", "subnet", "192.168.1.0/255.255.255.0", "\"192.168.1.0/24\""),
            ("network/lan.toml", "subnet", "192.168.1.1", "\"192.168.1.0/24\""),
            ("network/lan.toml", "dns", "8.8.8.8 1.1.1.1", "[\"8.8.8.8\", \"1.1.1.1\"]"),
            ("machines/a.toml", "name", "PC_01", "\"pc-01\""),
            ("machines/a.toml", "name", "ＰＣ０１", "\"pc01\""),
            ("machines/a.toml", "name", "pc01\u{200b}", "\"pc01\""),
            ("machines/a.toml", "name", "pc01\\u200b", "\"pc01\""),
            ("machines/a.toml", "ip", "192。168。1。101", "\"192.168.1.101\""),
            ("machines/a.toml", "ip", "１９２．168.1.101", "\"192.168.1.101\""),
            ("network/lan.toml", "range", "192.168.1.249-192.168.1.200", "\"192.168.1.200-192.168.1.249\""),
            ("site.toml", "volume-group", "/dev/cafe", "\"cafe\""),
            ("site.toml", "volume-group", "/dev/cafe/pool", "\"cafe\""),
            ("site.toml", "thin-pool", "/dev/cafe/pool", "\"pool\""),
            ("site.toml", "iqn-prefix", "Lucky Cat", "\"iqn.2026-11.local.lucky-cat\""),
            ("site.toml", "may-destroy", "pc03/ubuntu", "[\"pc03.ubuntu\"]"),
            ("machines/a.toml", "mac", "88 AE DD 05 08 01", "\"88:ae:dd:05:08:01\""),
            ("machines/a.toml", "ip", "192.168.001.101/24", "\"192.168.1.101\""),
            ("machines/a.toml", "boot", "win11、ubuntu", "[\"win11\", \"ubuntu\"]"),
            ("machines/a.toml", "boot", "images/win11.toml", "[\"win11\"]"),
            ("images/a.toml", "attach", "images/win11.toml", "\"win11\""),
            ("images/a.toml", "attach", "win11@2026-11", "\"win11\""),
            ("network/lan.toml", "interface", "eno1.5@eno1", "\"eno1.5\""),
            ("network/lan.toml", "lease-time", "12", "\"12h\""),
            ("network/lan.toml", "lease-time", "43200", "\"43200s\""),
            ("network/lan.toml", "lease-time", "1小时30分钟", "\"1h30m\""),
            ("network/lan.toml", "lease-time", "12 Hours", "\"12h\""),
            ("site.toml", "quiet", "8", "\"8h\""),
            ("site.toml", "menu-timeout", "5", "\"5s\""),
        ] {
            assert_eq!(value(path, key, raw).as_deref(), Some(advised), "{key} = {raw}");
        }
        for (path, key, raw) in [
            ("machines/a.toml", "mac", "zz"),
            ("machines/a.toml", "name", "收银"),
            ("machines/a.toml", "ip", "pc01"),
            ("images/a.toml", "source", "/data/vm/win11.raw"),
            ("images/a.toml", "kernel", "/boot/vmlinuz"),
            // What is left over would be lost.
            ("network/lan.toml", "lease-time", "1mo"),
            ("network/lan.toml", "lease-time", "1M"),
            ("network/lan.toml", "lease-time", "60"),
            ("network/lan.toml", "lease-time", "1 h 30"),
            ("network/lan.toml", "lease-time", "12 houses"),
            ("network/lan.toml", "subnet", "255.255.255.0"),
            ("network/lan.toml", "subnet", "255.255.255.128/24"),
        ] {
            assert_eq!(value(path, key, raw), None, "{key} = {raw}");
        }
        for (raw, advised) in
            [("win11, debian", "\"win11\", \"debian\""), ("images/win11", "\"win11\""), ("win11@1", "\"win11\"")]
        {
            assert_eq!(item("machines/a.toml", "boot", raw).as_deref(), Some(advised), "{raw}");
        }
        assert_eq!(item("site.toml", "may-destroy", "win11 @ 2026-10").as_deref(), Some("\"win11@2026-10\""));
    }
}
