//! What every part of the planner looks at: the site beside the stock, the exports, and who is at work.
//!
//! **Invariant:** each list is walked once beside the others, for a host has ten thousand machines and looking each of them up would
//! take longer the more there are.

use super::exports::{Exports, Shown};
use crate::desired::{Desired, SeatId, Storage};
use crate::names::{DiskId, ImageName, MachineName, Mark};
use crate::observed::{Disk, Lio, Observation, Offer, Offered, Seen, Stock, Vg, occupancy::Occupancy};
use crate::site::Consent;
use std::collections::{BTreeMap, BTreeSet};

/// Desired and observed storage side by side; exists only when both could be read.
pub(super) struct Context<'a> {
    pub desired: &'a Desired,
    pub storage: &'a Storage,
    pub observation: &'a Observation,
    pub vg: &'a Vg,
    pub stock: &'a Stock,
    pub exports: Exports<'a>,
    /// What the alias of a backstore of ours says.
    pub mark: String,
    /// The record of what was offered, if it reads and belongs to this store.
    pub offered: Option<&'a Offered>,
    /// What an agent knows of who is at work.
    pub occupancy: Option<&'a Occupancy>,
    /// Our disks of seats, by the machine's name of today.
    pub by_machine: BTreeMap<&'a MachineName, Vec<(&'a DiskId, &'a Disk)>>,
    /// Images that stand beside a system disk somewhere.
    pub data_images: BTreeSet<&'a ImageName>,
    /// What was written to devices since the kernel made them.
    written: BTreeMap<(u32, u32), u64>,
}

/// Which of several disks that took each other's place one is: the latest is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Place {
    /// The number of its last offer.
    offered: Option<u64>,
    /// The epoch in which it was made, and the number of the offer that came next; nothing of one that is clean.
    made: Option<(Option<u64>, Option<u64>)>,
}

impl<'a> Context<'a> {
    pub fn new(
        desired: &'a Desired,
        storage: &'a Storage,
        observation: &'a Observation,
        vg: &'a Vg,
        lio: &'a Lio,
        stock: &'a Stock,
    ) -> Self {
        let mark = Mark::alias(&desired.site);
        let exports = Exports::of_lio(lio, stock, &desired.site, storage.iqn_prefix(), storage.portal(), &mark);
        let epoch = vg.lvs.get(storage.pool().as_str()).and_then(|pool| crate::observed::epoch_of(&pool.tags));
        let belongs = |offered: &&Offered| offered.belongs(&stock.store, epoch) && !stock.is_ahead_of(offered);
        let offered = observation.offered.present().filter(belongs);
        let mut by_machine: BTreeMap<&MachineName, Vec<_>> = BTreeMap::new();
        for (id, disk) in &stock.disks {
            let Some(machine) = id.machine() else { continue };
            by_machine.entry(storage.machine_now(machine)).or_default().push((id, disk));
        }
        let occupancy = observation.occupancy.as_ref().filter(|known| known.boot_id == observation.boot_id);
        let data = storage.seats.values().flat_map(|seat| seat.disks.iter().skip(1));
        let data_images = data.map(|disk| &disk.image).collect();
        let written = observation.written.iter().filter_map(|(device, count)| {
            let (major, minor) = device.split_once(':')?;
            Some(((major.parse().ok()?, minor.parse().ok()?), *count))
        });
        let written = written.collect();
        Self { desired, storage, observation, vg, stock, exports, mark, offered, occupancy, by_machine, data_images, written }
    }

    /// `vg/lv`.
    pub fn path(&self, name: impl std::fmt::Display) -> String {
        format!("{}/{name}", self.storage.vg())
    }

    /// Whether the site consents in writing to the end of this.
    pub fn consents(&self, consent: &Consent) -> bool {
        let given = &self.desired.policy.may_destroy;
        given.contains(&Consent::Everything) || given.contains(consent)
    }

    /// The last offer of a disk, by whatever record reads. By one that does not belong no disk is clean, and none is the latest.
    pub fn offer(&self, disk: &Disk) -> Option<&'a Offer> {
        self.observation.offered.present()?.disks.get(&disk.handle)
    }

    /// Which of several disks that took each other's place a disk is: by when it was offered last, and where no record that belongs
    /// knows that, by when it was made.
    pub fn place(&self, disk: &Disk) -> Place {
        let offered = self.offered.and_then(|offered| Some(offered.disks.get(&disk.handle)?.sequence));
        let made = if self.is_clean(disk) { None } else { Some((disk.marks.epoch, disk.marks.after)) };
        Place { offered, made }
    }

    /// Whether a disk is clean: made under the record of what was offered, which belongs to its store and does not name it, and
    /// nothing was written to it since the kernel made its device.
    pub fn is_clean(&self, disk: &Disk) -> bool {
        let Some(offered) = self.offered else { return false };
        let is_known = disk.marks.epoch.is_some_and(|made| (offered.begun..=offered.epoch).contains(&made));
        is_known && !offered.disks.contains_key(&disk.handle) && !self.is_written(disk)
    }

    /// Whether something was written to a disk since the kernel made its device, or nobody can tell.
    pub fn is_written(&self, disk: &Disk) -> bool {
        let Some(device) = disk.device else { return false };
        self.written.get(&device).is_none_or(|written| *written > 0)
    }

    /// What bears a mark of ours that contradicts itself, under the name of a disk that a machine has of an image.
    pub fn stray_of(&self, machine: &MachineName, image: &crate::names::ImageName) -> Option<super::Hold> {
        let is_its = |name: &str| matches!(DiskId::of_lv(name), Some(DiskId::Seat { machine: of, image: its, .. }) if of == *machine && its == *image);
        let (name, stray) = self.stock.strays.iter().find(|(name, _)| is_its(name))?;
        Some(super::Hold::Stray { name: name.clone(), what: super::words::stray_text(stray) })
    }

    /// What shows a disk.
    pub fn shown(&self, disk: &Disk) -> Option<&Shown<'a>> {
        self.exports.shown.get(&disk.device?)
    }

    /// The seats that the site wants of a machine.
    pub fn wanted<'s>(
        &'s self,
        machine: &MachineName,
    ) -> impl Iterator<Item = (&'a SeatId, &'a crate::desired::DiskSeat)> + use<'a, 's> {
        // The first image's name there can be: no name is less than "0".
        let first = SeatId { machine: machine.clone(), image: "0".parse().expect("a digit is a name") };
        let machine = machine.clone();
        self.storage.seats.range(first..).take_while(move |(id, _)| id.machine == machine)
    }

    /// A version's disk, if it may be cloned.
    pub fn ready(&self, version: &DiskId) -> Option<&'a Disk> {
        self.stock.disks.get(version).filter(|disk| disk.marks.filling == crate::observed::Filling::Ready)
    }

    /// The file that secrets are read from: the site's, or what stands for it.
    pub fn secrets_file(&self) -> Option<String> {
        let file = self.storage.chap_secrets()?;
        Some(self.observation.secrets.stand_in.as_ref().map_or_else(|| file.to_owned(), |stand_in| stand_in.file.clone()))
    }

    /// Why a machine's secret is not there, where it has to prove itself.
    pub fn secret_missing(&self, machine: &MachineName, seat: &crate::desired::DiskSeat) -> Option<super::Hold> {
        let file = self.storage.chap_secrets().filter(|_| seat.login == crate::desired::Login::Chap)?;
        match &self.observation.secrets.machines {
            Seen::Present(machines) if machines.contains(machine) => None,
            Seen::Unreadable(why) => Some(super::Hold::Unreadable { what: why.clone() }),
            Seen::Present(_) | Seen::Absent => Some(match &self.observation.secrets.stand_in {
                // Nobody knows whether the file has it.
                Some(stand_in) => super::Hold::Unreadable { what: stand_in.why.clone() },
                None => super::Hold::Secret { machine: machine.clone(), file: file.to_owned() },
            }),
        }
    }
}
