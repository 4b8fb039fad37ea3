//! Volume groups with a thin pool, and LVM's and device-mapper's rules.
//!
//! **Invariant:** refuses what lvm2 2.03.16 refuses with its exit status (3: bad arguments, 5: failure); content is a small tag, so
//! that a test can tell a clone from its image and a clean volume from a written one.

use crate::observed::DiskIo;
use nix::errno::Errno;
use std::collections::{BTreeMap, BTreeSet};

/// Device-mapper's usual major number.
const MAJOR: u32 = 253;

/// What one tagged thin snapshot costs in the group's metadata area.
const METADATA_COST: u64 = 390;

/// What a volume holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Content {
    /// The file it, or what it is a snapshot of, was filled from.
    pub file: Option<String>,
    /// The SHA-256 of that file, by what was written or, where qemu-img wrote, by what it read.
    pub sha256: Option<String>,
    /// Writes that are in it, its ancestors' too.
    pub writes: u64,
}

/// What sort of volume it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FakeKind {
    Pool { data: u64, metadata: u64 },
    Thin { pool: String, origin: Option<String> },
    Plain,
}

/// A volume of the fake.
#[derive(Debug, Clone)]
pub(super) struct FakeLv {
    pub(super) uuid: String,
    pub(super) kind: FakeKind,
    pub(super) size: u64,
    pub(super) tags: BTreeSet<String>,
    pub(super) minor: Option<u32>,
    pub(super) read_only: bool,
    pub(super) skip: bool,
    pub(super) content: Content,
    /// Bytes of the pool that only this volume uses.
    pub(super) mapped: u64,
    /// What its device has done since it was activated; none while it is inactive.
    pub(super) io: Option<DiskIo>,
    /// Whether LVM has written it down and the kernel has not made it yet.
    pub(super) is_pending: bool,
}

/// A volume group of the fake.
#[derive(Debug, Clone)]
pub(super) struct FakeVg {
    pub(super) size: u64,
    pub(super) extent: u64,
    pub(super) metadata_size: u64,
    pub(super) lvs: BTreeMap<String, FakeLv>,
}

/// A refusal: exit status and what is said on standard error.
pub(super) type Refusal = (i32, String);

#[derive(Debug, Clone, Default)]
pub(super) struct Lvm {
    pub(super) vgs: BTreeMap<String, FakeVg>,
    /// Devices that something holds open exclusively.
    held: BTreeSet<(u32, u32)>,
    made: u64,
    /// Devices the kernel has made since it booted.
    devices: u64,
}

impl FakeVg {
    pub(super) fn metadata_free(&self) -> u64 {
        // Two copies of the text must fit (the area is circular).
        (self.metadata_size / 2).saturating_sub(self.lvs.len() as u64 * METADATA_COST)
    }

    pub(super) fn free(&self) -> u64 {
        let held = self.lvs.values().map(|lv| match lv.kind {
            // The spare copy of the metadata is as large again.
            FakeKind::Pool { data, metadata } => data + 2 * metadata,
            FakeKind::Thin { .. } => 0,
            FakeKind::Plain => lv.size,
        });
        self.size - held.sum::<u64>()
    }

    pub(super) fn round_up(&self, size: u64) -> u64 {
        size.div_ceil(self.extent) * self.extent
    }

    /// Bytes of a pool in use.
    pub(super) fn used(&self, pool: &str) -> u64 {
        let of_pool = self.lvs.values().filter(|lv| matches!(&lv.kind, FakeKind::Thin { pool: own, .. } if own == pool));
        of_pool.map(|lv| lv.mapped).sum()
    }

    pub(super) fn is_full(&self, pool: &str) -> bool {
        self.lvs.get(pool).is_some_and(|lv| matches!(lv.kind, FakeKind::Pool { data, .. } if self.used(pool) >= data))
    }

    /// Whether there is room for one volume more, in the pool and in the metadata area.
    pub(super) fn admit(&self, name: &str, pool: Option<&str>) -> Result<(), Refusal> {
        if self.lvs.contains_key(name) {
            return Err((5, format!("Logical Volume \"{name}\" already exists in volume group")));
        }
        if let Some(pool) = pool {
            if !matches!(self.lvs.get(pool), Some(FakeLv { kind: FakeKind::Pool { .. }, .. })) {
                return Err((5, format!("Pool {pool} not found in Volume group.")));
            }
            if self.is_full(pool) {
                return Err((5, format!("Cannot create new thin volume, free space in thin pool {pool} reached threshold.")));
            }
        }
        if self.metadata_free() < METADATA_COST {
            return Err((5, "VG metadata too large for circular buffer".to_owned()));
        }
        Ok(())
    }
}

impl FakeLv {
    /// Counts what was written to its device or discarded; a part of a sector is written as a whole one.
    pub(super) fn count(&mut self, bytes: u64) {
        if let Some(io) = &mut self.io {
            io.writes += bytes.div_ceil(512);
        }
    }

    pub(super) fn deactivate(&mut self) {
        (self.minor, self.io) = (None, None);
    }
}

impl Lvm {
    pub(super) fn add(&mut self, vg: &str, name: &str, mut lv: FakeLv) {
        self.made += 1;
        lv.uuid = format!("fake-{:08}", self.made);
        if let Some(vg) = self.vgs.get_mut(vg) {
            vg.lvs.insert(name.to_owned(), lv);
        }
    }

    /// Has the kernel make what is written down for a pool; LVM does so when it makes or removes another volume of it.
    pub(super) fn deliver(&mut self, vg: &str, of_pool: &str) {
        for lv in self.vgs.get_mut(vg).into_iter().flat_map(|group| group.lvs.values_mut()) {
            if matches!(&lv.kind, FakeKind::Thin { pool, .. } if pool == of_pool) {
                lv.is_pending = false;
            }
        }
    }

    pub(super) fn activate(&mut self, vg: &str, name: &str) {
        let used: BTreeSet<u32> = self.vgs.values().flat_map(|vg| vg.lvs.values()).filter_map(|lv| lv.minor).collect();
        let free = (0..).find(|minor| !used.contains(minor));
        let diskseq = self.devices + 1;
        if let Some(lv) = self.lv_mut(vg, name)
            && lv.minor.is_none()
        {
            (lv.minor, lv.io) = (free, Some(DiskIo { diskseq, writes: 0 }));
            self.devices = diskseq;
        }
    }

    pub(super) fn lv(&self, vg: &str, name: &str) -> Option<&FakeLv> {
        self.vgs.get(vg)?.lvs.get(name)
    }

    pub(super) fn lv_mut(&mut self, vg: &str, name: &str) -> Option<&mut FakeLv> {
        self.vgs.get_mut(vg)?.lvs.get_mut(name)
    }

    /// The volume that a device path or number leads to, while it is active.
    pub(super) fn by_path(&self, path: &str) -> Option<(String, String)> {
        let (vg, name) = path.strip_prefix("/dev/")?.split_once('/')?;
        self.lv(vg, name)?.minor?;
        Some((vg.to_owned(), name.to_owned()))
    }

    pub(super) fn by_number(&self, number: (u32, u32)) -> Option<(String, String)> {
        let lvs = self.vgs.iter().flat_map(|(vg, group)| group.lvs.iter().map(move |(name, lv)| (vg, name, lv)));
        let mut found = lvs.filter(|(_, _, lv)| lv.minor.map(|minor| (MAJOR, minor)) == Some(number));
        found.next().map(|(vg, name, _)| (vg.clone(), name.clone()))
    }

    /// Opens a device exclusively, as a backstore does.
    pub(super) fn claim(&mut self, path: &str, readonly: bool) -> Result<(u32, u32), Errno> {
        let (vg, name) = self.by_path(path).ok_or(Errno::ENOENT)?;
        let lv = self.lv(&vg, &name).ok_or(Errno::ENOENT)?;
        let number = (MAJOR, lv.minor.ok_or(Errno::ENOENT)?);
        if lv.read_only && !readonly {
            return Err(Errno::EACCES);
        }
        if self.held.insert(number) { Ok(number) } else { Err(Errno::EBUSY) }
    }

    pub(super) fn release(&mut self, number: (u32, u32)) {
        self.held.remove(&number);
    }

    pub(super) fn is_open(&self, lv: &FakeLv) -> bool {
        lv.minor.is_some_and(|minor| self.held.contains(&(MAJOR, minor)))
    }

    pub(super) fn device(lv: &FakeLv) -> Option<(u32, u32)> {
        lv.minor.map(|minor| (MAJOR, minor))
    }

    /// Writes to a volume through an open device.
    pub(super) fn write_to(&mut self, vg: &str, name: &str, bytes: u64) {
        if let Some(lv) = self.lv_mut(vg, name) {
            lv.content.writes += 1;
            lv.count(bytes);
            lv.mapped = (lv.mapped + bytes).min(lv.size);
        }
    }

    /// What a boot of the host leaves: nothing is open, and only what is not passed over is active.
    pub(super) fn reboot(&mut self) {
        self.held.clear();
        self.devices = 0;
        let mut names = Vec::new();
        for (vg, group) in &mut self.vgs {
            for (name, lv) in &mut group.lvs {
                lv.deactivate();
                if !lv.skip && !lv.is_pending {
                    names.push((vg.clone(), name.clone()));
                }
            }
        }
        for (vg, name) in names {
            self.activate(&vg, &name);
        }
    }
}
