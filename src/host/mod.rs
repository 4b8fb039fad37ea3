//! The only room that touches the host: observing it, and applying a plan to it.
//!
//! **Invariant:** apply interprets a plan and chooses nothing; what was not read is said to be unreadable.

mod activity;
mod apply;
pub mod doctor;
pub mod fake;
mod image;
mod kernel;
mod lock;
mod lvm_config;
mod observe;
mod ports;
mod preflight;
mod programs;
mod seat;
mod secrets;
mod store;
mod system;

pub use activity::{Look, decide_activity, is_firmware, remember};
pub use apply::{ApplyContext, CONFIGFS_DEADLINE, Progress, Silent, apply};
pub use image::{BlockDevices, FillError, FillRequest, Filled, VolumeState, fill};
pub use kernel::{KernelConfigFs, RunningKernel, TARGET_ROOT};
pub use lock::{Lock, LockError, lock};
pub use observe::{Depth, Scope, observe, observe_to};
pub use ports::{
    BLOCK, Command, CommandError, Commands, ConfigFs, Disks, Ended, FillDisk, FillSource, Kernel, Kind, Output, Watch,
};
pub use preflight::{Needs, Problem, preflight};
pub use programs::Programs;
pub use seat::{SeatSeen, observe_seat};
pub use secrets::read_secrets;
pub use store::write_atomically;
pub use system::System;

use secrets::publish_secrets;
use store::write_shared;
