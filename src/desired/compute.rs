//! Site to [`Desired`].

use super::{
    Attachment, Backstore, BaseVolume, CloneVolume, Desired, Entry, EntryKind, Room, Seat, Storage, Target, backstore_name,
    clone_name, serial, version_name,
};
use crate::names::{DhcpOptions, ImageName, Lun, LvName, MachineName, MenuKey, NameError, Portal};
use crate::site::{Disk, Image, ImageKind, Iscsi, Machine, Site};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

/// A name that the site's own rules should have refused.
#[derive(Debug, thiserror::Error)]
#[error("{object} cannot be named")]
pub struct NamingError {
    /// What it is the name of.
    pub object: String,
    /// The rule it breaks.
    #[source]
    pub source: NameError,
}

/// Every object that the site means, with its final name.
pub fn compute(site: &Site) -> Result<Desired, NamingError> {
    Ok(Desired {
        site: site.name.clone(),
        storage: compute_storage(site)?,
        policy: site.policy.clone(),
        room: compute_room(site)?,
    })
}

fn named<T>(object: impl std::fmt::Display, name: Result<T, NameError>) -> Result<T, NamingError> {
    name.map_err(|source| NamingError { object: object.to_string(), source })
}

fn disk_of(image: &Image) -> Option<&Disk> {
    match &image.kind {
        ImageKind::Disk(disk) => Some(disk),
        ImageKind::Linux(_) | ImageKind::Local => None,
    }
}

fn portal(site: &Site, iscsi: &Iscsi) -> Portal {
    Portal(SocketAddr::new(site.server.iscsi_address.into(), iscsi.port))
}

fn compute_storage(site: &Site) -> Result<Option<Storage>, NamingError> {
    let (Some(storage), Some(iscsi)) = (&site.storage, &site.iscsi) else {
        return Ok(None);
    };
    let mut desired = Storage {
        vg: storage.volume_group.clone(),
        pool: storage.thin_pool.clone(),
        create_pool: storage.create_pool,
        reserve: storage.reserve,
        image_store: storage.image_store.clone(),
        iqn_prefix: iscsi.iqn_prefix.clone(),
        portal: portal(site, iscsi),
        chap_secrets: iscsi.chap_secrets.clone(),
        versions: BTreeMap::new(),
        clones: BTreeMap::new(),
        targets: BTreeMap::new(),
    };
    for image in site.images.values() {
        for version in disk_of(image).into_iter().flat_map(|disk| disk.versions.values()) {
            let Some(disk) = disk_of(image) else { continue };
            let volume = named(&image.name, version_name(&image.name, &version.name))?;
            let formerly = former_images(site, &image.name)
                .map(|old| named(old, version_name(old, &version.name)))
                .collect::<Result<_, _>>()?;
            let base = BaseVolume {
                image: image.name.clone(),
                version: version.name.clone(),
                size: disk.size,
                source: version.source.clone(),
                formerly,
            };
            desired.versions.insert(volume, base);
        }
    }
    for machine in site.machines.values() {
        for image in &machine.boot {
            let Some(disk) = site.images.get(image).and_then(disk_of) else { continue };
            let mut luns = BTreeMap::new();
            for (number, attached) in std::iter::once(image).chain(&disk.data_disks).enumerate() {
                let (volume, clone) = compute_clone(site, machine, attached)?;
                let backstore = Backstore {
                    name: backstore_name(&site.name, &machine.name, attached),
                    volume: volume.clone(),
                    serial: serial(&site.name, &machine.name, attached),
                };
                luns.insert(Lun(number as u16), backstore);
                desired.clones.insert(volume, clone);
            }
            let initiator = named(&machine.name, iscsi.iqn_prefix.join(machine.name.as_str()))?;
            let name = named(&machine.name, iscsi.iqn_prefix.join(&format!("{}.{image}", machine.name)))?;
            desired.targets.insert(
                name,
                Target { machine: machine.name.clone(), image: image.clone(), initiator, login: machine.login, luns },
            );
        }
    }
    Ok(Some(desired))
}

fn compute_clone(site: &Site, machine: &Machine, image: &ImageName) -> Result<(LvName, CloneVolume), NamingError> {
    let disk = site.images.get(image).and_then(disk_of).expect("a site names only images that exist, and data disks are disks");
    let machines: Vec<&MachineName> = std::iter::once(&machine.name).chain(former_machines(site, &machine.name)).collect();
    let images: Vec<&ImageName> = std::iter::once(image).chain(former_images(site, image)).collect();
    let mut names = machines
        .iter()
        .flat_map(|machine| images.iter().map(move |image| named(machine, clone_name(machine, image))))
        .collect::<Result<Vec<_>, _>>()?;
    let name = names.remove(0);
    let clone = CloneVolume {
        machine: machine.name.clone(),
        image: image.clone(),
        version: disk.current.clone(),
        base: named(image, version_name(image, &disk.current))?,
        size: disk.size,
        reset: disk.reset,
        formerly: names,
    };
    Ok((name, clone))
}

fn former_machines<'a>(site: &'a Site, machine: &MachineName) -> impl Iterator<Item = &'a MachineName> {
    site.moved_machines.get(machine).into_iter().flatten()
}

fn former_images<'a>(site: &'a Site, image: &ImageName) -> impl Iterator<Item = &'a ImageName> {
    site.moved_images.get(image).into_iter().flatten()
}

fn compute_room(site: &Site) -> Result<Room, NamingError> {
    let mut machines = BTreeMap::new();
    for machine in site.machines.values() {
        let initiator = match &site.iscsi {
            Some(iscsi) => Some(named(&machine.name, iscsi.iqn_prefix.join(machine.name.as_str()))?),
            None => None,
        };
        let keys = compute_keys(site, machine);
        let entries = machine.boot.iter().zip(keys).map(|(image, key)| compute_entry(site, machine, image, key));
        let entries = entries.collect::<Result<_, _>>()?;
        let seat = Seat {
            macs: machine.macs.clone(),
            ip: machine.ip,
            firmware: machine.firmware,
            menu_timeout: machine.menu_timeout,
            gateway: machine.gateway,
            login: machine.login,
            initiator,
            entries,
            loader: machine.loader.clone(),
            pxe: machine.pxe,
            options: compute_options(site, machine),
        };
        machines.insert(machine.name.clone(), seat);
    }
    Ok(Room {
        tftp_address: site.server.tftp_address,
        http_address: site.server.http_address,
        http_port: site.boot.http_port,
        loaders: site.boot.loaders.clone(),
        networks: site.networks.clone(),
        machines,
        templates: site.templates.clone(),
    })
}

fn compute_options(site: &Site, machine: &Machine) -> DhcpOptions {
    match machine.boot.first().and_then(|default| site.images.get(default)) {
        Some(image) => machine.options.over(&image.options),
        None => machine.options.clone(),
    }
}

/// The keys of a machine's menu: those that images ask for, then for each other the first character of its name that is
/// free, then any that is; so an entry that is added at the end changes no other's.
fn compute_keys(site: &Site, machine: &Machine) -> Vec<Option<MenuKey>> {
    let asked = |name: &ImageName| site.images.get(name).and_then(|image| image.key);
    let mut taken: BTreeSet<MenuKey> = machine.boot.iter().filter_map(asked).collect();
    let mut free = |name: &ImageName| {
        let key = name.as_str().chars().filter_map(MenuKey::of).chain(MenuKey::all()).find(|key| !taken.contains(key));
        taken.extend(key);
        key
    };
    machine.boot.iter().map(|name| asked(name).or_else(|| free(name))).collect()
}

fn compute_entry(site: &Site, machine: &Machine, name: &ImageName, key: Option<MenuKey>) -> Result<Entry, NamingError> {
    let image = site.images.get(name).expect("a site names only images that exist");
    let kind = match &image.kind {
        ImageKind::Disk(_) => EntryKind::Disk(compute_attachment(site, machine, name)?),
        ImageKind::Linux(linux) => EntryKind::Linux {
            kernel: linux.kernel.clone(),
            initrd: linux.initrd.clone(),
            args: linux.args.clone(),
            attach: linux.attach.as_ref().map(|disk| compute_attachment(site, machine, disk)).transpose()?,
        },
        ImageKind::Local => EntryKind::Local,
    };
    Ok(Entry { image: name.clone(), title: image.title.clone(), key, kind })
}

fn compute_attachment(site: &Site, machine: &Machine, name: &ImageName) -> Result<Attachment, NamingError> {
    let iscsi = site.iscsi.as_ref().expect("a site with a disk image says how its targets are named");
    let disk = site.images.get(name).and_then(disk_of).expect("only disks are attached");
    Ok(Attachment {
        target: named(&machine.name, iscsi.iqn_prefix.join(&format!("{}.{name}", machine.name)))?,
        portal: portal(site, iscsi),
        luns: (0..=disk.data_disks.len()).map(|number| Lun(number as u16)).collect(),
    })
}
