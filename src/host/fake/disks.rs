//! Disks that are filled, in the fake.
//!
//! **Invariant:** until a fill is finished the volume holds part of something; afterwards its checksum is of what was written, so
//! that a test can compare it with the source's.

use super::{Content, FakeHost};
use crate::host::{Disks, FillDisk, FillSource};
use nix::errno::Errno;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, io};

struct FakeDisk {
    host: FakeHost,
    device: String,
    source: String,
    size: u64,
    pieces: BTreeMap<u64, Vec<u8>>,
}

impl Disks for FakeHost {
    fn open_for_fill(&self, device: &str, source: &FillSource<'_>) -> io::Result<Box<dyn FillDisk>> {
        let mut world = self.world();
        world.tree_effect(&format!("open {device}"))?;
        let (vg, name) = world.lvm.by_path(device).ok_or(Errno::ENOENT)?;
        let lv = world.lvm.lv(&vg, &name).ok_or(Errno::ENOENT)?;
        if lv.read_only {
            return Err(Errno::EACCES.into());
        }
        if world.lvm.is_open(lv) {
            return Err(Errno::EBUSY.into());
        }
        let (device, source, size) = (device.to_owned(), source.path.to_owned(), source.size);
        Ok(Box::new(FakeDisk { host: self.clone(), device, source, size, pieces: BTreeMap::new() }))
    }
}

impl FillDisk for FakeDisk {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut world = self.host.world();
        world.tree_effect(&format!("write {}", self.device))?;
        let (vg, name) = world.lvm.by_path(&self.device).ok_or(Errno::EIO)?;
        let lv = world.lvm.lv(&vg, &name).ok_or(Errno::EIO)?;
        if offset + bytes.len() as u64 > lv.size {
            return Err(Errno::ENOSPC.into());
        }
        world.lvm.write_to(&vg, &name, bytes.len() as u64);
        self.pieces.insert(offset, bytes.to_vec());
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        let mut world = self.host.world();
        world.tree_effect(&format!("flush {}", self.device))?;
        let (vg, name) = world.lvm.by_path(&self.device).ok_or(Errno::EIO)?;
        let lv = world.lvm.lv_mut(&vg, &name).ok_or(Errno::EIO)?;
        let sha256 = checksum(&self.pieces, self.size);
        lv.content = Content { file: Some(self.source), sha256: Some(sha256.clone()), writes: 0 };
        let filled = super::Filled { uuid: lv.uuid.clone(), sha256 };
        world.fills.push(filled);
        Ok(())
    }
}

/// Of the first `size` bytes of a disk of zeros with these pieces in it.
fn checksum(pieces: &BTreeMap<u64, Vec<u8>>, size: u64) -> String {
    let (mut hasher, mut at) = (Sha256::new(), 0);
    let zeros = |hasher: &mut Sha256, mut count: u64| {
        while count > 0 {
            let some = count.min(4096);
            hasher.update(&[0; 4096][..some as usize]);
            count -= some;
        }
    };
    for (offset, bytes) in pieces {
        zeros(&mut hasher, offset - at);
        let within = (bytes.len() as u64).min(size.saturating_sub(*offset));
        hasher.update(&bytes[..within as usize]);
        at = offset + within;
    }
    zeros(&mut hasher, size.saturating_sub(at));
    hasher.finalize().iter().map(|octet| format!("{octet:02x}")).collect()
}
