//! What a plan comes to on the fakes: its cases, its promises, its words.

pub mod cases;
pub mod converge;
pub mod emptied;
pub mod fill;
pub mod options;
pub mod peers_disks;
pub mod power_cut;
pub mod promises_change;
pub mod promises_data;
pub mod promises_host;
pub mod promises_seats;
pub mod promises_upgrade;
pub mod width;
