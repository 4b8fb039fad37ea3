//! The boots of the room, and who has which address, in memory that DHCP, TFTP and HTTP share.
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
    serve::{claims::Heard, dhcp::leases::LeaseChange},
};
use fs_err as fs;
use rustix::{
    rand::{GetRandomFlags, getrandom},
    time::{ClockId, clock_gettime},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, Ipv4Addr},
    sync::{Mutex, MutexGuard},
};

/// Where the kernel says its name for this run.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Addresses kept for the DHCP service, which takes them with each packet: more is a room that asks nothing.
const MOST_LOADED: usize = 4096;

/// The boots of the room.
#[derive(Debug)]
pub struct Boots {
    boot_id: String,
    heard: Mutex<Heard>,
    /// Whose each address is or was last. No more than there are leases.
    leased: Mutex<BTreeMap<Ipv4Addr, MacAddr>>,
    /// From where loaders were fetched whole, until the DHCP service has taken note of it.
    loaded: Mutex<BTreeSet<Ipv4Addr>>,
}

impl Boots {
    /// None yet. Where the kernel does not say its name for this run, nobody can believe a stamp, and machines boot all the same.
    pub fn open() -> Self {
        Self { boot_id: boot_id(), heard: Mutex::default(), leased: Mutex::default(), loaded: Mutex::default() }
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
        if let Some((name, machine)) = table.machine(mac) {
            let leased = self.leased();
            let is_its_own = |ip: Ipv4Addr| leased.get(&ip).is_some_and(|holder| machine.macs.contains(holder));
            self.heard().note_discover(table, name, Discover { at: boottime(), address }, is_its_own);
        }
    }

    /// Takes note of a change of who has which address.
    pub fn note_lease(&self, change: LeaseChange) {
        let mut leased = self.leased();
        match change {
            LeaseChange::Bind { ip, mac, .. } | LeaseChange::Quarantine { ip, by: Some(mac), .. } => {
                leased.insert(ip, mac);
            }
            LeaseChange::Release { ip } | LeaseChange::Quarantine { ip, by: None, .. } => {
                leased.remove(&ip);
            }
            // Nobody else has it so far.
            LeaseChange::Offer { .. } | LeaseChange::Withdraw { .. } | LeaseChange::Decline { .. } => {}
        }
    }

    /// Whether a peer of a socket has an address that is reserved for a machine of the site or that one of its machines leases.
    pub fn is_machine(&self, table: &FixedTable, peer: IpAddr) -> bool {
        let is_leased = |ip: Ipv4Addr| self.leased().get(&ip).is_some_and(|mac| table.machine(*mac).is_some());
        table.is_machine(peer) || matches!(peer.to_canonical(), IpAddr::V4(ip) if is_leased(ip))
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

    /// Takes note that a loader was fetched whole by TFTP, which nobody does from an address that is not its own.
    pub fn note_loader_fetch(&self, peer: IpAddr) {
        let mut loaded = self.loaded();
        if let IpAddr::V4(ip) = peer.to_canonical()
            && loaded.len() < MOST_LOADED
        {
            loaded.insert(ip);
        }
    }

    /// From where loaders were fetched since this was asked last.
    pub fn take_loader_fetches(&self) -> BTreeSet<Ipv4Addr> {
        std::mem::take(&mut self.loaded())
    }

    fn loaded(&self) -> MutexGuard<'_, BTreeSet<Ipv4Addr>> {
        self.loaded.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn leased(&self) -> MutexGuard<'_, BTreeMap<Ipv4Addr, MacAddr>> {
        self.leased.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::table::BootTable;
    use jiff::Timestamp;

    #[test]
    fn an_address_that_a_machine_leases_is_a_machines_as_one_that_is_reserved_is_and_a_strangers_is_not() {
        let machine = |mac: &str, ip: Option<&str>| serde_json::json!({ "macs": [mac], "ip": ip, "firmware": null, "default": "x", "script": "" });
        let text = serde_json::json!({
            "version": 2, "site": "cat", "tftp-address": "10.0.0.2", "http-address": "10.0.0.2", "http-port": 8080, "loaders": null,
            "networks": {}, "unknown-script": "", "assets": [],
            "machines": { "pc01": machine("02:00:00:00:00:01", Some("10.0.0.11")), "pc02": machine("02:00:00:00:00:02", None) } });
        let table: FixedTable = BootTable::parse(&text.to_string()).expect("a table").into();
        let (boots, ip) = (Boots::open(), |last| Ipv4Addr::new(10, 0, 0, last));
        let mac = |last| MacAddr::from_octets([2, 0, 0, 0, 0, last]).expect("a unicast address");
        let bind =
            |last, card| LeaseChange::Bind { ip: ip(last), mac: mac(card), until: Timestamp::MAX, lasts: None, since: None };
        let is_machine = |last| boots.is_machine(&table, IpAddr::V6(ip(last).to_ipv6_mapped()));
        assert!(is_machine(11) && !is_machine(200));
        [bind(200, 2), bind(201, 9)].into_iter().for_each(|change| boots.note_lease(change));
        assert!(is_machine(200) && !is_machine(201));
        // It was declined or given back in its name, and it answers; then another has it.
        boots.note_lease(LeaseChange::Decline { ip: ip(200), mac: mac(2), until: Timestamp::MAX });
        boots.note_lease(LeaseChange::Quarantine { ip: ip(200), by: Some(mac(2)), until: Timestamp::MAX });
        assert!(is_machine(200));
        boots.note_lease(bind(200, 9));
        assert!(!is_machine(200));
        boots.note_lease(bind(200, 2));
        boots.note_lease(LeaseChange::Release { ip: ip(200) });
        assert!(!is_machine(200));
    }
}
