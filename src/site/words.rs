//! Words of other programs and of other languages, and the keys and values of a site that they mean.
//!
//! **Invariant:** a word is only ever a hint; what it leads to is a word of the schema (tests in this file).

use super::schema;

/// Values that people write, by key, and the word of the site that they mean.
const VALUES: [(&str, &str, &[&str]); 14] = [
    ("kind", "disk", &["windows", "win10", "win11", "iscsi", "qcow2", "vhd", "vhdx", "raw", "img", "vm", "san", "image", "磁盘"]),
    ("kind", "linux", &["kernel", "pxe", "debian", "ubuntu", "installer", "live", "netboot"]),
    ("kind", "local", &["hdd", "ssd", "harddisk", "hard-disk", "localboot", "local-disk", "本地", "硬盘"]),
    (
        "reset",
        "every-boot",
        &["always", "daily", "reboot", "on-reboot", "on-boot", "boot", "each-boot", "yes", "还原", "每次启动", "重启还原"],
    ),
    ("reset", "never", &["no", "none", "off", "keep", "persistent", "manual", "不还原", "保留", "从不"]),
    ("reset", "on-update", &["update", "on-change", "version", "更新", "更新时"]),
    ("firmware", "bios", &["legacy", "csm", "mbr", "pcbios"]),
    ("firmware", "uefi", &["efi", "gpt", "uefi-x64", "secure-boot"]),
    ("firmware", "any", &["both", "all", "auto", "uefi+bios"]),
    ("mode", "server", &["dhcp", "on", "enable", "enabled", "yes", "full", "服务器", "开启", "启用"]),
    ("mode", "proxy", &["proxydhcp", "proxy-dhcp", "pxe", "router", "代理"]),
    ("mode", "off", &["disable", "disabled", "none", "no", "external", "关闭", "禁用"]),
    ("role", "data", &["data-disk", "games", "second", "数据", "数据盘"]),
    ("role", "system", &["boot", "os", "root", "c", "系统", "系统盘"]),
];

/// Keys as router pages and spreadsheets in Chinese have them.
const KEYS: [(&str, &[&str]); 10] = [
    ("name", &["名称", "名字", "主机名", "机器名", "计算机名", "客户端名"]),
    ("mac", &["mac地址", "物理地址", "网卡地址", "网卡"]),
    ("ip", &["ip地址", "静态ip", "静态地址"]),
    ("boot", &["启动", "启动项", "镜像", "系统"]),
    ("router", &["网关", "默认网关", "网关地址", "路由器"]),
    ("dns", &["dns服务器", "首选dns", "首选dns服务器", "域名服务器"]),
    ("subnet", &["子网", "网段", "子网掩码"]),
    ("range", &["地址池", "地址范围", "ip范围"]),
    ("lease-time", &["租期", "租约", "租约时间", "地址租期", "有效时间"]),
    ("interface", &["接口", "网口"]),
];

/// The legal word that a value of a key was meant to be.
pub(super) fn value(key: &str, written: &str, legal: &[&str]) -> Option<&'static str> {
    let written = written.trim().to_lowercase().replace([' ', '_'], "-");
    let meant = VALUES.iter().find(|(of, word, names)| *of == key && legal.contains(word) && names.contains(&written.as_str()));
    meant.map(|(_, word, _)| *word)
}

/// The key of a file that a word of another language means.
pub(super) fn key(path: &str, written: &str) -> Option<&'static str> {
    let written = written.trim().to_lowercase();
    let (key, _) = KEYS.iter().find(|(_, names)| names.contains(&written.as_str()))?;
    schema::form_of(path, key).map(|_| *key)
}

/// What is written where a key has no value: the key may be left out, and that has a meaning.
pub(super) fn left_out(key: &str, written: &str) -> Option<&'static str> {
    let nothing = ["", "-", "none", "no", "null", "nil", "false", "auto", "dhcp", "any", "无", "自动", "0.0.0.0"];
    if !nothing.contains(&written.trim().to_lowercase().as_str()) {
        return None;
    }
    match key {
        "ip" => Some("leave ip out: the machine is then given an address of its network's range"),
        "router" => Some("leave router out: machines are then told of no router"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_leads_to_one_of_the_schema() {
        for (key, word, names) in VALUES {
            let path = if key == "mode" { "network/lan.toml" } else { "images/a.toml" };
            let legal = schema::words_of(path, key);
            assert!(legal.contains(&word), "{key} = {word:?} is not of {legal:?}");
            for name in names {
                assert!(!legal.contains(name), "{name} is a word of the site's own");
                assert_eq!(value(key, name, &legal), Some(word), "{name}");
            }
        }
        for (word, names) in KEYS {
            let path = if schema::form_of("machines/a.toml", word).is_some() { "machines/a.toml" } else { "network/lan.toml" };
            for name in names {
                assert_eq!(key(path, name), Some(word), "{name}");
            }
        }
        assert_eq!(key("site.toml", "网关"), None, "the key is of another file");
    }
}
