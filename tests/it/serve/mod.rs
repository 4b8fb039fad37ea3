//! The serving half, as clients and floods meet it.

pub mod assign;
pub mod assign_dhcp;
pub mod assign_limits;
pub mod boot_table;
pub mod chap;
pub mod fuzz;
pub mod http;
pub mod http_limits;
pub mod in_namespace;
pub mod kinds;
pub mod netns;
pub mod path_mtu;
pub mod process;
pub mod service;
pub mod siege;
pub mod tftp;
pub mod tftp_peers;
