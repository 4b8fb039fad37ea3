//! Site to [`Desired`].

use super::{
    Attachment, Backing, Desired, DiskSeat, Entry, EntryKind, Export, Room, Seat, SeatDisk, SeatId, Storage, Version, VersionId,
};
use crate::names::{DhcpOptions, DiskId, ImageName, Lun, MenuKey, NameError, Portal, Side, TargetId, serial, target_name};
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
        titles: site.titles(),
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
        backing: Backing::Thin {
            vg: storage.volume_group.clone(),
            pool: storage.thin_pool.clone(),
            create_pool: storage.create_pool,
        },
        export: Export::Lio {
            iqn_prefix: iscsi.iqn_prefix.clone(),
            portal: portal(site, iscsi),
            chap_secrets: iscsi.chap_secrets.clone(),
        },
        reserve: storage.reserve,
        image_store: storage.image_store.clone(),
        versions: BTreeMap::new(),
        seats: BTreeMap::new(),
        moved_machines: site.moved_machines.clone(),
        moved_images: site.moved_images.clone(),
    };
    for image in site.images.values() {
        let Some(disk) = disk_of(image) else { continue };
        for version in disk.versions.values() {
            let id = VersionId { image: image.name.clone(), version: version.name.clone() };
            named(&id, id.disk().lv_name())?;
            desired.versions.insert(id, Version { size: disk.size, source: version.source.clone() });
        }
    }
    for machine in site.machines.values() {
        for image in machine.boot.iter().filter_map(|image| attached(site, image)) {
            let id = SeatId { machine: machine.name.clone(), image: image.clone() };
            let Some(disk) = site.images.get(image).and_then(disk_of) else { continue };
            let disks = std::iter::once(image).chain(&disk.data_disks).map(|image| compute_disk(site, machine, image));
            let seat = DiskSeat {
                initiator: named(&machine.name, iscsi.iqn_prefix.join(machine.name.as_str()))?,
                login: machine.login,
                disks: disks.collect::<Result<_, _>>()?,
            };
            let longest =
                TargetId { machine: machine.name.clone(), image: image.clone(), side: Some((Side::A, "00000000".to_owned())) };
            named(&id, target_name(&iscsi.iqn_prefix, &longest))?;
            desired.seats.insert(id, seat);
        }
    }
    Ok(Some(desired))
}

/// The disk image that a menu's entry attaches.
fn attached<'a>(site: &'a Site, entry: &'a ImageName) -> Option<&'a ImageName> {
    match &site.images.get(entry)?.kind {
        ImageKind::Disk(_) => Some(entry),
        ImageKind::Linux(linux) => linux.attach.as_ref(),
        ImageKind::Local => None,
    }
}

fn compute_disk(site: &Site, machine: &Machine, image: &ImageName) -> Result<SeatDisk, NamingError> {
    let disk = site.images.get(image).and_then(disk_of).expect("a site names only images that exist, and data disks are disks");
    named(&machine.name, DiskId::seat(&machine.name, image, Side::A).lv_name())?;
    Ok(SeatDisk {
        image: image.clone(),
        version: disk.current.clone(),
        size: disk.size,
        reset: disk.reset,
        serial: serial(&site.name, &machine.name, image),
    })
}

fn compute_room(site: &Site) -> Result<Room, NamingError> {
    let mut machines = BTreeMap::new();
    for machine in site.machines.values() {
        let initiator = match &site.iscsi {
            Some(iscsi) => Some(named(&machine.name, iscsi.iqn_prefix.join(machine.name.as_str()))?),
            None => None,
        };
        let keys = compute_keys(site, machine);
        let entries = machine.boot.iter().zip(keys).map(|(image, key)| compute_entry(site, image, key)).collect();
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

fn compute_entry(site: &Site, name: &ImageName, key: Option<MenuKey>) -> Entry {
    let image = site.images.get(name).expect("a site names only images that exist");
    let kind = match &image.kind {
        ImageKind::Disk(_) => EntryKind::Disk(compute_attachment(site, name)),
        ImageKind::Linux(linux) => EntryKind::Linux {
            kernel: linux.kernel.clone(),
            initrd: linux.initrd.clone(),
            args: linux.args.clone(),
            attach: linux.attach.as_ref().map(|disk| compute_attachment(site, disk)),
        },
        ImageKind::Local => EntryKind::Local,
    };
    Entry { image: name.clone(), title: image.menu_title.clone(), key, kind }
}

fn compute_attachment(site: &Site, name: &ImageName) -> Attachment {
    let iscsi = site.iscsi.as_ref().expect("a site with a disk image says how its targets are named");
    let disk = site.images.get(name).and_then(disk_of).expect("only disks are attached");
    let data = disk.data_disks.iter().filter_map(|image| site.images.get(image).and_then(disk_of));
    let resets = std::iter::once(disk).chain(data).map(|disk| disk.reset);
    Attachment {
        image: name.clone(),
        portal: portal(site, iscsi),
        // The strictest of them: where one disk is reset at every boot, each boot gets disks of its own.
        reset: resets.min().unwrap_or(disk.reset),
        luns: (0..=disk.data_disks.len()).map(|number| Lun(number as u16)).collect(),
    }
}
