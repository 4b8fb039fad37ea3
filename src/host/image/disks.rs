//! Real disks that are filled.
//!
//! **Invariant:** what is reported as written has passed the host's page cache, for LIO reads the device below it; nobody else holds
//! the disk meanwhile.
#![expect(clippy::disallowed_methods, reason = "effect room: opens block devices")]

use crate::host::ports::{BLOCK, Disks, FillDisk, FillSource};
use nix::{errno::Errno, fcntl::OFlag};
use std::{
    fs, io,
    os::unix::fs::{FileExt, OpenOptionsExt},
};

/// Disks of this host.
#[derive(Debug, Clone, Copy, Default)]
pub struct BlockDevices;

struct BlockDevice(fs::File);

impl Disks for BlockDevices {
    /// `O_EXCL` on a block device: fails while it is mounted, exported or otherwise claimed (open(2)).
    fn open_for_fill(&self, device: &str, _: &FillSource<'_>) -> io::Result<Box<dyn FillDisk>> {
        let open = |flags: OFlag| fs::OpenOptions::new().write(true).custom_flags(flags.bits()).open(device);
        let flags = OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let file = match open(flags | OFlag::O_DIRECT) {
            // What is no block device may not have it; it is flushed at the end like one.
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => open(flags)?,
            opened => opened?,
        };
        Ok(Box::new(BlockDevice(file)))
    }
}

impl FillDisk for BlockDevice {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        debug_assert!(offset.is_multiple_of(BLOCK as u64) && bytes.len().is_multiple_of(BLOCK), "O_DIRECT wants whole blocks");
        self.0.write_all_at(bytes, offset)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.0.sync_all()
    }
}
