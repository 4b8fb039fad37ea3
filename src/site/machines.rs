//! The rules of `machines/*.toml`: names and addresses that belong to one machine each, and what it boots.
//!
//! **Invariant:** the first that claims a name or an address has it; the second is the finding, and says where the first is.

use super::{
    Firmware, Gateway, Login, Machine, PxeStrategy,
    images::{Images, Use},
    networks::{self, Networks, Whole},
    options,
    raw::{Address, DefaultsTable, MachineTable, Spanned},
    report::{FileId, Place, Report, error},
    settings::{self, Settings},
    table::Table,
};
use crate::names::{DhcpOptions, ImageName, Interval, Iqn, MacAddr, MachineName, Platform, VgName};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

/// The longest target or initiator name (RFC 7143 §4.2.7.1).
const LONGEST_IQN: usize = 223;
/// Entries of one menu: what two screens of 25 lines hold.
const LONGEST_MENU: usize = 40;
/// What a VG's and an LV's name may measure together (lvm(8)): they become one device-mapper name.
const LONGEST_VOLUME: usize = 126;

/// All machines of a site, and who has which name and address.
#[derive(Default)]
pub(super) struct Machines {
    /// Machines without a problem of their own.
    pub(super) by_name: BTreeMap<MachineName, Machine>,
    /// Every name that is taken, also by machines with problems.
    pub(super) names: BTreeMap<MachineName, Place>,
    macs: BTreeMap<MacAddr, Place>,
    addresses: BTreeMap<Ipv4Addr, Place>,
    twins: Twins,
    /// Where firmware was said that an image does not boot by.
    firmware: BTreeSet<(Place, ImageName)>,
    /// How many entries there are, good or not.
    pub(super) entries: usize,
    /// Whether every file and every machine's name was understood.
    pub(super) whole: Whole,
}

impl Machines {
    /// None yet, of files that were or were not all readable.
    pub(super) fn new(whole: Whole) -> Self {
        Self { whole, ..Self::default() }
    }
}

/// Entries that are the same machine, as far as they say: that is one mistake, and not one for each of its names and addresses.
#[derive(Default)]
struct Twins {
    /// The entry of each name and address that was taken.
    entries: BTreeMap<Place, Place>,
    /// Which entry was told to be which other's twin.
    told: BTreeSet<(Place, Place)>,
}

/// What the machines of one file have unless they say otherwise.
pub(super) struct Defaults<'f> {
    boot: Option<&'f Spanned<Vec<Spanned<ImageName>>>>,
    firmware: Option<(Firmware, Place)>,
    menu_timeout: Interval,
    loader: Option<String>,
    pxe: Option<PxeStrategy>,
    options: DhcpOptions,
    gateway: Gateway,
    chap: Option<&'f Spanned<bool>>,
    /// True if a boot list of defaults may stand on a line that was reported.
    boot_is_excused: Excused,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Excused {
    Yes,
    No,
}

/// What machines are judged against.
pub(super) struct MachineRules<'s> {
    pub(super) settings: &'s Settings,
    pub(super) images: &'s Images,
}

impl MachineRules<'_> {
    /// Reads a file's `[defaults]`, and reports what is wrong with them once for all of its machines.
    pub(super) fn judge_defaults<'f>(
        &self,
        report: &mut Report<'_>,
        file: FileId,
        table: Option<&'f Spanned<DefaultsTable>>,
    ) -> Defaults<'f> {
        let site = self.settings.boot.menu_timeout;
        let excused = |owner: Table, report: &Report<'_>| if owner.excuses(report, "boot") { Excused::Yes } else { Excused::No };
        let Some(at) = table else {
            let root = Table::root(file);
            let boot_is_excused = if root.excuses(report, "defaults") { Excused::Yes } else { Excused::No };
            let options = DhcpOptions::default();
            return Defaults {
                boot: None,
                firmware: None,
                menu_timeout: site,
                loader: None,
                pxe: None,
                options,
                gateway: Gateway::Keep,
                chap: None,
                boot_is_excused,
            };
        };
        let DefaultsTable { boot, firmware, menu_timeout, loader, pxe, options, clear_gateway, chap } = &at.value;
        let boot = boot.as_ref();
        if let Some(list) = boot {
            self.judge_boot(report, Table::at(file, at.start), list);
        }
        Defaults {
            boot,
            firmware: firmware.as_ref().map(|firmware| (firmware.value, Table::at(file, at.start).of(firmware))),
            menu_timeout: menu_timeout.as_ref().map_or(site, |t| settings::judge_menu_timeout(report, file, t)),
            loader: loader.as_ref().map(|loader| loader.value.to_string()),
            pxe: pxe.as_ref().map(|pxe| pxe.value),
            options: options::judge(report, file, options.as_ref(), options::Of::Machine),
            gateway: clear_gateway.as_ref().map_or(Gateway::Keep, gateway),
            chap: chap.as_ref(),
            boot_is_excused: excused(Table::at(file, at.start), report),
        }
    }

    fn judge_boot(&self, report: &mut Report<'_>, owner: Table, list: &Spanned<Vec<Spanned<ImageName>>>) {
        let file = owner.file();
        if list.value.is_empty() && !owner.excuses(report, "boot") {
            report.push(
                error("empty-boot-list", file.at(list.start), "the boot list is empty")
                    .hint("name at least one image; the first is the default"),
            );
        }
        if list.value.len() > LONGEST_MENU {
            let message = format!("the boot list has {} entries; {LONGEST_MENU} are the most", list.value.len());
            report.push(
                error("boot-list-too-long", file.at(list.start), message)
                    .hint("nobody finds an entry in a longer menu; leave some out"),
            );
            return;
        }
        let (mut seen, mut keys) = (BTreeMap::new(), BTreeMap::new());
        for entry in &list.value {
            let place = file.at(entry.start);
            if let Some(key) = self.images.key(&entry.value)
                && let Some(other) = keys.insert(key, &entry.value).filter(|other| **other != entry.value)
            {
                let message = format!("images {other} and {} have the same key, {key}", entry.value);
                report.push(error("duplicate-menu-key", place, message).hint("give one of them another key, or none"));
            }
            if let Some(disk) = self.images.attached(&entry.value)
                && self.images.by_name.contains_key(disk)
                && !list.value.iter().any(|other| other.value == *disk)
            {
                let message = format!("image {} attaches {disk}, which is not in this boot list", entry.value);
                report.push(
                    error("attached-disk-not-in-boot-list", place, message)
                        .hint(format!("add \"{disk}\": a machine has the disks of its own entries only")),
                );
            }
            match seen.insert(&entry.value, place) {
                Some(first) => {
                    report.push(
                        error("duplicate-boot-entry", place, format!("image {} is in the boot list twice", entry.value))
                            .hint_at("the first is", first),
                    );
                }
                None => self.images.judge_use(report, place, &entry.value, &Use::Boot),
            }
        }
    }

    /// Judges one machine and takes it in.
    pub(super) fn judge(
        &self,
        report: &mut Report<'_>,
        (networks, machines): (&mut Networks, &mut Machines),
        (file, defaults): (FileId, &Defaults<'_>),
        entry: &Spanned<MachineTable>,
    ) {
        let owner = Table::at(file, entry.start);
        let MachineTable { name, mac: _, macs: _, ip, boot, firmware, menu_timeout, loader, pxe, options, clear_gateway, chap } =
            &entry.value;
        machines.entries += 1;
        let hint = "add a line such as: name = \"pc01\"";
        let named = owner.need(report, name, "name", ("a machine", hint));
        let whose = named.map_or_else(|| "a machine".to_owned(), |name| format!("machine {}", name.value));
        let fresh = match named {
            Some(name) => claim(report, (&mut machines.names, &mut machines.twins), name.value.clone(), (owner, name), "machine"),
            None => {
                machines.whole = Whole::No;
                false
            }
        };
        let macs = self.judge_macs(report, owner, &whose, &entry.value, machines);
        if let Some(ip) = ip {
            let place = owner.of(ip);
            if claim(report, (&mut machines.addresses, &mut machines.twins), ip.value.0, (owner, ip), "address") {
                networks::judge_reservation(report, networks, self.settings.server.as_ref(), (place, ip.value.0));
            }
        }
        if let Some(own) = boot {
            self.judge_boot(report, owner, own);
        }
        let list = boot.as_ref().or(defaults.boot);
        if list.is_none() && defaults.boot_is_excused == Excused::No && !owner.excuses(report, "boot") {
            let hint = "add boot = [\"…\"] to it, or to [defaults] of its file";
            report.push(error("nothing-to-boot", owner.place(), format!("{whose} has nothing to boot")).hint(hint).alike(""));
        }
        let entries = list.iter().flat_map(|list| &list.value).take(LONGEST_MENU);
        let boot: Vec<ImageName> = entries.map(|entry| entry.value.clone()).collect();
        let own_firmware = firmware.as_ref().map(|firmware| (firmware.value, owner.of(firmware)));
        if let Some(said) = own_firmware.or(defaults.firmware) {
            self.judge_firmware(report, machines, &whose, said, &boot);
        }
        let firmware = own_firmware.or(defaults.firmware).map(|(firmware, _)| firmware);
        let menu_timeout =
            menu_timeout.as_ref().map_or(defaults.menu_timeout, |timeout| settings::judge_menu_timeout(report, file, timeout));
        let options = options::judge(report, file, options.as_ref(), options::Of::Machine).over(&defaults.options);
        if let (Some(loader), Some(firmware)) = (loader, firmware) {
            judge_loader(report, owner.of(loader), &whose, (&loader.value.to_string(), firmware));
        }
        let loader = loader.as_ref().map(|loader| loader.value.to_string()).or_else(|| defaults.loader.clone());
        let pxe = pxe.as_ref().map(|pxe| pxe.value).or(defaults.pxe);
        let gateway = clear_gateway.as_ref().map_or(defaults.gateway, gateway);
        let login = self.judge_chap(report, owner, &whose, chap.as_ref().or(defaults.chap), ip.as_ref());
        let Some(name) = named else { return };
        self.judge_lengths(report, owner.of(name), &name.value, &boot);
        if fresh && !macs.is_empty() && !boot.is_empty() {
            let ip = ip.as_ref().map(|ip| ip.value.0);
            let name = name.value.clone();
            let machine =
                Machine { name: name.clone(), macs, ip, firmware, boot, menu_timeout, loader, pxe, options, gateway, login };
            machines.by_name.insert(name, machine);
        }
    }

    /// Secrets go to a reserved address only, so that no other machine is handed them.
    fn judge_chap(
        &self,
        report: &mut Report<'_>,
        owner: Table,
        whose: &str,
        chap: Option<&Spanned<bool>>,
        ip: Option<&Spanned<Address>>,
    ) -> Login {
        let Some(chap) = chap.filter(|chap| chap.value) else { return Login::Open };
        if ip.is_none() && !owner.excuses(report, "ip") {
            // Where chap stands in the defaults the machine is what to mend.
            let problem = error("chap-without-ip", owner.place(), format!("{whose} has chap = true and no ip"));
            report.push(problem.hint("reserve an address for it: its secret is handed to that address alone").alike(""));
        }
        if self.settings.iscsi.as_ref().is_some_and(|iscsi| iscsi.chap_secrets.is_none()) {
            let problem =
                error("chap-without-secrets", owner.of(chap), format!("{whose} has chap = true, and the site names no secrets"));
            report.push(problem.alike("").hint("add to [iscsi] in site.toml: chap-secrets = \"/etc/barista/chap.toml\""));
        }
        Login::Chap
    }

    fn judge_macs(
        &self,
        report: &mut Report<'_>,
        owner: Table,
        whose: &str,
        table: &MachineTable,
        machines: &mut Machines,
    ) -> Vec<MacAddr> {
        let (mac, macs) = (table.mac.as_ref(), table.macs.as_ref());
        let choice = "give exactly one of: mac = \"88:ae:dd:05:08:fa\", or macs = [\"…\", \"…\"]";
        match (mac, macs) {
            (Some(_), Some(macs)) => {
                report.push(error("mac-and-macs", owner.of(macs), format!("{whose} has both mac and macs")).hint(choice));
            }
            (None, Some(macs)) if macs.value.is_empty() && !owner.excuses(report, "macs") => {
                report.push(error("missing-mac", owner.of(macs), format!("{whose} has an empty list of macs")).hint(choice));
            }
            (None, None) if !owner.excuses(report, "mac") && !owner.excuses(report, "macs") => {
                report.push(error("missing-mac", owner.place(), format!("{whose} has no mac")).hint(choice).alike(""));
            }
            _ => {}
        }
        let all: Vec<&Spanned<MacAddr>> = mac.into_iter().chain(macs.into_iter().flat_map(|list| &list.value)).collect();
        for mac in &all {
            claim(report, (&mut machines.macs, &mut machines.twins), mac.value, (owner, mac), "MAC address");
        }
        all.into_iter().map(|mac| mac.value).collect()
    }

    /// Reports an image that cannot be booted by a machine's firmware, once for each place that says which it has.
    fn judge_firmware(
        &self,
        report: &mut Report<'_>,
        machines: &mut Machines,
        whose: &str,
        (firmware, place): (Firmware, Place),
        boot: &[ImageName],
    ) {
        for image in boot {
            let (own, other, spelled) = match (firmware, self.images.firmware(image)) {
                (Firmware::Bios, Some((Firmware::Uefi, other))) => ("BIOS", other, "uefi"),
                (Firmware::Uefi, Some((Firmware::Bios, other))) => ("UEFI", other, "bios"),
                _ => continue,
            };
            if machines.firmware.insert((place, image.clone())) {
                let message = format!("{whose} boots by {own}, but image {image} is firmware = \"{spelled}\"");
                let hint = format!("write firmware = \"{spelled}\" here, or make the image's \"any\"; the image's is");
                report.push(error("firmware-mismatch", place, message).hint_at(hint, other).alike(image.as_str()));
            }
        }
    }

    fn judge_lengths(&self, report: &mut Report<'_>, place: Place, name: &MachineName, boot: &[ImageName]) {
        let (prefix, group) = self.settings.disk_names();
        let machine = name.as_str().len();
        for image in boot.iter().flat_map(|image| self.images.disks(image)) {
            let image = image.as_str();
            let iqn = prefix.map_or(0, |prefix| Iqn::as_str(prefix).len() + 1) + machine + 1 + image.len();
            let volume = group.map_or(0, |group| VgName::as_str(group).len()) + "seat...a".len() + machine + image.len();
            if iqn > LONGEST_IQN {
                let message =
                    format!("the target of {name} and {image} would have a name of {iqn} bytes; {LONGEST_IQN} are allowed");
                let problem = error("name-too-long", place, message).alike("target");
                report.push(problem.hint("shorten the machine's name, the image's, or iqn-prefix"));
            }
            if volume > LONGEST_VOLUME {
                let message = format!(
                    "volume seat.{name}.{image}.a and its volume group would measure {volume} characters; LVM allows {LONGEST_VOLUME}"
                );
                let problem = error("name-too-long", place, message).alike("volume");
                report.push(problem.hint("shorten the machine's name, the image's, or the volume group's"));
            }
        }
    }
}

/// Reports a loader that the machine's own firmware cannot start.
fn judge_loader(report: &mut Report<'_>, place: Place, whose: &str, (loader, firmware): (&str, Firmware)) {
    let (platform, spelled, hint) = match firmware {
        Firmware::Bios => (Platform::Bios, "BIOS", "BIOS starts files such as undionly.kpxe, ipxe.pxe or pxelinux.0"),
        Firmware::Uefi => (Platform::UefiX64, "UEFI", "UEFI starts files whose names end in .efi"),
        Firmware::Any => return,
    };
    if !platform.takes(loader) {
        report.push(
            error("loader-of-other-firmware", place, format!("{whose} boots by {spelled}, and loader {loader} is not for it"))
                .hint(hint),
        );
    }
}

fn gateway(clear: &Spanned<bool>) -> Gateway {
    if clear.value { Gateway::Clear } else { Gateway::Keep }
}

/// Judges the length of the volumes of images' versions.
pub(super) fn judge_version_lengths(report: &mut Report<'_>, settings: &Settings, images: &Images) {
    let (_, Some(group)) = settings.disk_names() else { return };
    for (image, version, place) in images.versions() {
        let volume = group.as_str().len() + "img..".len() + image.as_str().len() + version.as_str().len();
        if volume > LONGEST_VOLUME {
            let message = format!(
                "volume img.{image}.{version} and its volume group would measure {volume} characters; LVM allows {LONGEST_VOLUME}"
            );
            report.push(
                error("name-too-long", place, message).hint("shorten the version's name, the image's, or the volume group's"),
            );
        }
    }
}

/// Takes a name or an address for a machine; false, and a finding, if another has it.
fn claim<K: Ord + std::fmt::Display, T>(
    report: &mut Report<'_>,
    (taken, twins): (&mut BTreeMap<K, Place>, &mut Twins),
    key: K,
    (owner, value): (Table, &Spanned<T>),
    what: &str,
) -> bool {
    let place = owner.of(value);
    if let Some(first) = taken.get(&key) {
        let other = twins.entries.get(first).copied().unwrap_or(*first);
        if twins.told.insert((owner.place(), other)) {
            // A row that was copied in part is one mistake, and not one for each machine.
            let kind = format!("{what} {}", report.path(first.file()));
            let problem = error("duplicate", place, format!("{what} {key} is there twice")).hint_at("the first is", *first);
            report.push(problem.alike(kind));
        }
        return false;
    }
    twins.entries.insert(place, owner.place());
    taken.insert(key, place);
    true
}

#[cfg(test)]
mod tests {
    use crate::names::{ImageName, Iqn, LvName, MachineName, VersionName, VgName};
    use std::collections::BTreeSet;

    /// Device-mapper's name of a volume: `-` doubled within VG and LV, one between (lvm2 `dm_build_dm_name`).
    fn mapped(group: &VgName, volume: &LvName) -> String {
        format!("{}-{}", group.as_str().replace('-', "--"), volume.as_str().replace('-', "--"))
    }

    #[test]
    fn no_two_objects_share_a_volume_a_mapping_or_a_name_on_the_wire() {
        let labels = ["a", "b", "a-b", "a--b", "b-a", "img", "seat", "1", "a-1"];
        let versions = ["1", "1.0", "a", "a.b", "a-b", "1.a", "b.a"];
        let groups = ["cafe", "cafe-img", "c.a", "cafe--x"].map(|group| group.parse::<VgName>().expect("legal"));
        let prefix: Iqn = "iqn.2026-11.example.x".parse().expect("legal");
        let (mut volumes, mut wire) = (BTreeSet::new(), BTreeSet::new());
        for image in labels.map(|name| name.parse::<ImageName>().expect("legal")) {
            for version in versions.map(|name| name.parse::<VersionName>().expect("legal")) {
                for group in &groups {
                    let volume: LvName = format!("img.{image}.{version}").parse().expect("legal");
                    assert!(volumes.insert(mapped(group, &volume)), "{volume}");
                }
            }
            for machine in labels.map(|name| name.parse::<MachineName>().expect("legal")) {
                for (group, side) in groups.iter().flat_map(|group| ["a", "b"].map(|side| (group, side))) {
                    let volume: LvName = format!("seat.{machine}.{image}.{side}").parse().expect("legal");
                    assert!(volumes.insert(mapped(group, &volume)), "{volume}");
                }
                assert!(wire.insert(prefix.join(&format!("{machine}.{image}")).expect("legal")));
            }
        }
        for machine in labels {
            assert!(wire.insert(prefix.join(machine).expect("legal")), "a machine's initiator is no target");
        }
    }
}
