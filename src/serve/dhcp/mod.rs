//! DHCP, proxyDHCP and the PXE boot server: parse, classify, decide, encode over values; one loop that owns the sockets.
//!
//! **Invariant:** every answer is decided in [`decide`] from values alone; [`serve`] and [`journal`] only carry it out.
//! What passes beside the doors, duplicate addresses and other servers, is judged in [`squatters`] and [`alarm`]; a search for an
//! IPv6 router is ended by [`router`].

pub mod alarm;
pub mod allocate;
pub mod arp;
pub mod boot_info;
pub mod chained;
pub mod classify;
pub mod decide;
pub mod describe;
mod desk;
pub mod doors;
mod ear;
pub mod frame;
pub mod journal;
pub mod leases;
pub mod model;
pub mod options;
pub mod packet;
mod place;
pub mod probe;
mod proxy;
pub mod reply;
pub mod rival;
pub mod router;
pub mod serve;
mod server;
mod socket;
pub mod squatters;
#[cfg(test)]
mod tests;
