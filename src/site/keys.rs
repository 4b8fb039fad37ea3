//! Keys that a site does not have: what other programs call the same thing, and where a key belongs.
//!
//! **Invariant:** a key is only ever advised where it is legal.

use super::{
    schema::{self, Shape},
    spelling,
};

/// What other DHCP servers, boot servers and diskless systems call a key of ours; the first that is legal is meant.
const CALLED: [(&[&str], &[&str]); 27] = [
    (&["router"], &["gateway", "gw", "default-gateway", "default-router", "routers"]),
    (&["name"], &["hostname", "host-name", "host", "pc", "pc-name", "computer-name", "machine-name", "id", "label"]),
    (&["dns"], &["nameserver", "nameservers", "name-server", "dns-server", "dns-servers", "domain-name-servers"]),
    (&["ip"], &["address", "ip-address", "ipaddr", "ip-addr", "ipv4", "fixed-address", "static-ip"]),
    (
        &["mac", "macs"],
        &["mac-address", "macaddr", "hwaddr", "hardware", "hardware-ethernet", "ethernet", "physical-address", "mac-addresses"],
    ),
    (
        &["boot"],
        &[
            "boot-order",
            "image",
            "images",
            "os",
            "system",
            "default-image",
            "disk",
            "boot-image",
            "menu",
            "default",
            "boot-default",
        ],
    ),
    (&["args"], &["append", "cmdline", "kernel-args", "kernel-parameters", "boot-args", "params", "parameters"]),
    (&["range"], &["dhcp-range", "pool", "ip-range", "ip-pool", "address-range", "dynamic"]),
    (&["lease-time"], &["lease", "leasetime", "default-lease-time", "max-lease-time", "ttl"]),
    (&["subnet"], &["network", "cidr", "net", "netmask", "mask", "subnet-mask", "prefix"]),
    (&["interface"], &["nic", "iface", "device", "dev", "listen"]),
    (&["domain"], &["domain-name", "search"]),
    (&["mode"], &["dhcp", "dhcp-mode"]),
    (&["menu-timeout"], &["timeout", "menu-delay", "wait"]),
    (&["kind"], &["type", "format"]),
    (&["current"], &["version", "current-version", "active", "default-version", "default"]),
    (&["source"], &["file", "path", "filename", "url", "src", "image-file", "vhd", "disk-file"]),
    (&["sha256"], &["checksum", "hash", "sha256sum", "digest"]),
    (&["size"], &["capacity", "disk-size", "length"]),
    (&["reset"], &["restore", "clean", "volatile", "persistent", "readonly", "snapshot"]),
    (&["title"], &["description", "display-name", "caption", "menu-name", "comment"]),
    (&["volume-group"], &["vg", "vgname", "vg-name", "lvm", "group"]),
    (&["thin-pool"], &["pool", "pool-name", "thinpool"]),
    (&["iqn-prefix"], &["iqn", "target", "target-name", "prefix"]),
    (&["image-store"], &["image-dir", "images-dir", "image-path", "path", "store"]),
    (&["address"], &["ip", "server-ip", "listen", "next-server", "host", "server"]),
    (&["loader"], &["bootfile", "boot-file", "filename", "kernel-file", "ipxe"]),
];

/// What to do about an unknown key.
pub(super) struct Advice {
    /// In words.
    pub(super) hint: String,
    /// The keys that were meant: they are not called missing as well.
    pub(super) meant: Vec<&'static str>,
    /// The table that it belongs below: every key that stands too early is the same mistake, and the table is not called missing.
    pub(super) owner: Option<&'static str>,
    /// What several unknown keys have in common that are one mistake.
    pub(super) alike: Option<&'static str>,
}

impl Advice {
    fn hint(hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), meant: Vec::new(), owner: None, alike: None }
    }
}

/// Says what an unknown key was meant to be; `legal` are the keys of its table.
pub(super) fn advise(path: &str, (written, shape): (&str, Shape), legal: &[&str]) -> Advice {
    let spelled = written.to_ascii_lowercase().replace(['_', ' '], "-");
    let legal_here = || format!("legal here: {}", legal.join(", "));
    let called = CALLED.iter().filter(|(_, names)| names.contains(&spelled.as_str()));
    let called: Vec<&'static str> = called.flat_map(|(keys, _)| keys.iter().copied()).filter(|key| legal.contains(key)).collect();
    if ["netmask", "mask", "subnet-mask", "prefix"].contains(&spelled.as_str()) && legal.contains(&"subnet") {
        let hint = "the netmask is part of subnet: write subnet = \"192.168.1.0/24\", and remove this line; /24 is 255.255.255.0";
        return Advice::hint(hint);
    }
    let own_file = Some(spelled.as_str()).filter(|_| shape == Shape::Header).and_then(|name| schema::file_called(path, name));
    if let Some(file) = own_file {
        return Advice::hint(format!("what stands below [{written}] belongs into {file}"));
    }
    if let Some(advice) = reworked(&spelled, legal) {
        return advice;
    }
    if let Some(key) = called.first() {
        return Advice { meant: called.clone(), ..Advice::hint(format!("write {key} instead of {written}")) };
    }
    if let Some(near) = spelling::nearest(written, legal.iter().copied()) {
        let meant = schema::key(path, near).into_iter().collect();
        return Advice { meant, ..Advice::hint(format!("did you mean \"{near}\"?")) };
    }
    if let Some(hint) = worked_out(&spelled) {
        return Advice::hint(format!("remove this line: {hint}"));
    }
    // The header was forgotten: then it is not called missing as well.
    if let Some(owner) = schema::owner(path, &spelled).filter(|owner| legal.contains(owner)) {
        let hint = format!("write [{owner}] on a line of its own before it; legal here: {}", legal.join(", "));
        return Advice { meant: vec![owner], ..Advice::hint(format!("{spelled} belongs below [{owner}]: {hint}")) };
    }
    let owner = schema::owner(path, &spelled).filter(|_| schema::form_of_top(path, &spelled).is_none());
    let other = schema::elsewhere(path, &spelled);
    let other = other.or_else(|| Some(format!("{spelled} belongs into {}", schema::other_file(path, &spelled, shape)?)));
    let hint = match other {
        Some(other) => format!("{other}; {}", legal_here()),
        None => legal_here(),
    };
    Advice { owner, ..Advice::hint(hint) }
}

/// Keys whose value is another one here: several that are one, and what stands for something else.
fn reworked(spelled: &str, legal: &[&str]) -> Option<Advice> {
    let ends =
        ["start", "end", "first", "last", "limit", "count", "range-start", "range-end", "pool-start", "pool-end", "start-ip"];
    let servers = ["dns1", "dns2", "dns-1", "dns-2", "primary-dns", "secondary-dns", "preferred-dns", "alternate-dns"];
    let all: [(&'static str, &str, &[&'static str]); 4] = [
        ("range", "the first and the last address are one key: write range = \"192.168.1.200-192.168.1.249\"", &ends[..]),
        ("dns", "all name servers are one list: write dns = [\"192.168.1.1\", \"8.8.8.8\"]", &servers),
        (
            "sha256",
            "sha256 alone is compared: write what sha256sum prints, or leave this line out",
            &["md5", "sha1", "sha512", "crc32"],
        ),
        (
            "volume-group",
            "write volume-group = \"cafe\", the name that `vgs` shows; of an empty disk it is made by `vgcreate cafe /dev/sdb`",
            &["device", "devices", "disk", "disks", "pv", "zpool", "partition"],
        ),
    ];
    // `[[version]]` says its name in a key of that name.
    if spelled == "version" && legal.contains(&"blank") {
        return Some(Advice { meant: vec!["name"], ..Advice::hint("write name instead of version") });
    }
    let (key, hint, names) = all.into_iter().find(|(key, _, names)| legal.contains(key) && names.contains(&spelled))?;
    Some(Advice { meant: vec![key], alike: Some(names[0]), ..Advice::hint(hint) })
}

/// What people configure elsewhere and a site does not: barista works it out.
fn worked_out(key: &str) -> Option<&'static str> {
    Some(match key {
        "root-path" | "iscsi-target" | "target" | "lun" => "barista names the disk of each machine by itself",
        "initiator" | "iqn" => "barista names the initiator of each machine by itself",
        "broadcast" | "broadcast-address" => "it follows from subnet",
        "next-server" | "tftp-server" | "tftp-server-name" => "machines are told the [server] address of site.toml",
        "gateway" | "router" | "dns" | "netmask" => "machines are told what the file of their network says: see network/",
        "enabled" | "enable" | "active" | "disabled" => "what is written is in use; to switch it off, put # before its lines",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_program_leads_to_ours() {
        let network = ["interface", "mode", "subnet", "range", "router", "dns", "domain", "lease-time"];
        let machine = ["name", "mac", "macs", "ip", "boot", "menu-timeout"];
        for (path, legal, written, hint) in [
            ("network/lan.toml", &network[..], "gateway", "write router instead of gateway"),
            ("network/lan.toml", &network, "dns_server", "write dns instead of dns_server"),
            ("network/lan.toml", &network, "netmask", "the netmask is part of subnet"),
            ("machines/a.toml", &machine, "hostname", "write name instead of hostname"),
            ("machines/a.toml", &machine, "address", "write ip instead of address"),
            ("machines/a.toml", &machine, "boot-order", "write boot instead of boot-order"),
            ("machines/a.toml", &machine, "gateway", "remove this line: machines are told"),
            ("machines/a.toml", &machine, "size", "size belongs into a file of images/"),
            ("machines/a.toml", &machine, "nmae", "did you mean \"name\"?"),
            ("machines/a.toml", &machine, "colour", "legal here: name, mac"),
        ] {
            let advice = advise(path, (written, Shape::Pair), legal);
            assert!(advice.hint.starts_with(hint), "{written}: {}", advice.hint);
        }
        for (path, written, shape, hint) in [
            // A list of images is a machine's; a table of this name is the site's.
            (
                "images/a.toml",
                "boot",
                Shape::Pair,
                "boot belongs into a file of machines/, below [defaults] or [[machine]]; legal",
            ),
            ("images/a.toml", "boot", Shape::Header, "boot belongs into site.toml; legal"),
            ("site.toml", "network", Shape::Header, "what stands below [network] belongs into network/lan.toml"),
            ("machines/a.toml", "policy", Shape::Header, "policy belongs into site.toml; legal"),
            ("machines/a.toml", "volume-group", Shape::Pair, "volume-group belongs into site.toml, below [storage]; legal"),
        ] {
            let advice = advise(path, (written, shape), &["name"]);
            assert!(advice.hint.starts_with(hint), "{written}: {}", advice.hint);
        }
    }
}
