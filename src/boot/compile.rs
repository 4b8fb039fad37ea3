//! The boot table of a site.
//!
//! **Invariant:** pure; every machine has its script, and every template that fails is reported, not the first alone.

use super::ipxe::{Scripts, TemplateError};
use super::table::{BootDisk, BootMachine, BootTable, VERSION, Way};
use crate::desired::{Attachment, Desired, EntryKind, Reset, Room, Seat};
use crate::names::ImageName;
use std::collections::{BTreeMap, BTreeSet};

/// The table that `serve` needs for this site, or every template that does not render.
pub fn compute_table(desired: &Desired) -> Result<BootTable, Vec<TemplateError>> {
    let room = &desired.room;
    let mut table = BootTable {
        version: VERSION,
        site: desired.site.clone(),
        tftp_address: room.tftp_address,
        http_address: room.http_address,
        http_port: room.http_port,
        loaders: room.loaders.clone(),
        chap_secrets: desired.storage.as_ref().and_then(|storage| storage.chap_secrets().map(str::to_owned)),
        networks: room.networks.clone(),
        machines: BTreeMap::new(),
        unknown_script: String::new(),
        assets: assets(room),
    };
    let scripts = Scripts::new(&desired.site, table.http_base(), &room.templates).map_err(|error| vec![error])?;
    let mut errors = BTreeSet::new();
    match scripts.unknown() {
        Ok(script) => table.unknown_script = script,
        Err(error) => drop(errors.insert(error)),
    }
    for (name, seat) in &room.machines {
        let Some(default) = seat.entries.first() else { continue };
        match scripts.machine(name, seat) {
            Ok(script) => {
                let machine = BootMachine {
                    macs: seat.macs.clone(),
                    ip: seat.ip,
                    firmware: seat.firmware,
                    default: default.image.to_string(),
                    script,
                    disks: disks(seat),
                    loader: seat.loader.clone(),
                    pxe: seat.pxe,
                    options: seat.options.clone(),
                };
                table.machines.insert(name.clone(), machine);
            }
            Err(error) => drop(errors.insert(error)),
        }
    }
    if errors.is_empty() { Ok(table) } else { Err(errors.into_iter().collect()) }
}

/// The disks that a machine's script attaches. What is reset at every boot is assigned to each; any other is the same for every
/// boot, and the plan names its target once there is one.
fn disks(seat: &Seat) -> BTreeMap<ImageName, BootDisk> {
    let attachments = seat.entries.iter().filter_map(|entry| entry.kind.attachment());
    let disk = |attachment: &Attachment| {
        let way = match attachment.reset {
            Reset::EveryBoot => Way::Assigned,
            Reset::OnUpdate | Reset::Never => Way::Fixed,
        };
        (attachment.image.clone(), BootDisk { target: None, way })
    };
    attachments.map(disk).collect()
}

fn assets(room: &Room) -> BTreeSet<String> {
    let mut assets = BTreeSet::new();
    for entry in room.machines.values().flat_map(|seat| &seat.entries) {
        if let EntryKind::Linux { kernel, initrd, .. } = &entry.kind {
            assets.insert(kernel.clone());
            assets.extend(initrd.iter().cloned());
        }
    }
    assets
}
