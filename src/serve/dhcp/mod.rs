//! DHCP, proxyDHCP and the PXE boot server: parse, classify, decide, encode over values; one loop that owns the sockets.
//!
//! **Invariant:** every answer is decided in [`decide`] from values alone; [`serve`] and [`journal`] only carry it out.
//! [`address_conflict`] and [`rogue_server`] judge what is heard beside the requests: duplicate addresses and other servers.
//! [`router_advertisement`] ends a client's search for an IPv6 router.

pub mod address_conflict;
pub mod allocate;
pub mod arp;
pub mod boot_info;
pub mod chainload_loop;
pub mod classify;
pub mod clock;
pub mod decide;
pub mod describe;
pub mod frame;
pub mod journal;
pub mod leases;
pub mod listeners;
pub mod model;
pub mod options;
pub mod packet;
mod packet_socket;
pub mod probe;
pub mod promises;
mod proxy;
pub mod quirks;
pub mod reply;
pub mod rogue_server;
pub mod router_advertisement;
pub mod serve;
mod server;
pub mod server_reply;
mod service;
pub mod silence;
mod socket;
mod subnet_selection;
#[cfg(test)]
mod tests;
