//! DHCP, proxyDHCP and the PXE boot server: parse, classify, decide, encode over values; one loop that owns the sockets.
//!
//! **Invariant:** every answer is decided in [`decide`] from values alone; [`serve`] and [`journal`] only carry it out.

pub mod allocate;
pub mod boot_info;
pub mod classify;
pub mod decide;
pub mod describe;
pub mod frame;
pub mod journal;
pub mod leases;
pub mod options;
pub mod packet;
pub mod probe;
mod proxy;
pub mod reply;
pub mod serve;
mod server;
mod socket;
#[cfg(test)]
mod tests;
