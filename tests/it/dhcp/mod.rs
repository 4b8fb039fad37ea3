//! DHCP on real wires, with real clients.

pub mod clients;
pub mod conflicts;
pub mod crash;
pub mod load;
pub mod wires;
