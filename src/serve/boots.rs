//! The boots of the room, in memory that DHCP and HTTP share.
//!
//! **Invariant:** nobody waits here for anything but the other's few instructions, and a stamp is of `CLOCK_BOOTTIME`, which no
//! clock that is set moves. EFFECTS: that clock, the kernel's random numbers, and its name for this run of the host.
#![expect(clippy::disallowed_methods, reason = "effect room: reads the name of this run of the host")]

use crate::{
    boot::{
        assignment::{Claims, Discover, Fetch, Stamp},
        table::FixedTable,
    },
    names::{BootNonce, MacAddr, MachineName},
    serve::claims::Heard,
};
use fs_err as fs;
use rustix::{
    rand::{GetRandomFlags, getrandom},
    time::{ClockId, clock_gettime},
};
use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, MutexGuard},
};

/// Where the kernel says its name for this run.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The boots of the room.
#[derive(Debug)]
pub struct Boots {
    boot_id: String,
    heard: Mutex<Heard>,
}

impl Boots {
    /// None yet. Where the kernel does not say its name for this run, nobody can believe a stamp, and machines boot all the same.
    pub fn open() -> Self {
        Self { boot_id: boot_id(), heard: Mutex::default() }
    }

    /// Begins a boot for whoever fetches the first script.
    pub fn begin(&self, peer: IpAddr) -> io::Result<BootNonce> {
        let mut octets = [0; 8];
        // So few are given whole.
        getrandom(&mut octets, GetRandomFlags::empty())?;
        let boot = BootNonce::from_octets(octets);
        self.heard().issue(boot, Fetch { at: boottime(), peer });
        Ok(boot)
    }

    /// Takes note of a DISCOVER that was answered, if it is of a machine of the site.
    pub fn note_discover(&self, table: &FixedTable, mac: MacAddr, address: Option<Ipv4Addr>) {
        if let Some((machine, _)) = table.machine(mac) {
            self.heard().note_discover(table, machine, Discover { at: boottime(), address });
        }
    }

    /// Takes note of a fetch of a machine's script, and says what can be claimed of its boot then; `None` for a boot that is not
    /// known, of which nothing is noted.
    pub fn note_fetch(&self, table: &FixedTable, machine: &MachineName, boot: BootNonce, peer: IpAddr) -> Option<Claims> {
        let mut heard = self.heard();
        heard.issued(boot)?;
        let at = boottime();
        heard.note_fetch(table, machine, Fetch { at, peer });
        heard.claims(machine, boot, peer, &self.boot_id, at)
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// The kernel's name for this run of the host; empty where it says none.
pub(super) fn boot_id() -> String {
    let read = fs::read_to_string(BOOT_ID).inspect_err(|error| tracing::warn!(%error, "this run of the host has no name"));
    read.unwrap_or_default().trim().to_owned()
}

/// The time since this run of the host began, sleep included.
pub(super) fn boottime() -> Stamp {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, nanoseconds) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    Stamp(seconds * 1000 + nanoseconds / 1_000_000)
}
