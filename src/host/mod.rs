//! The only room that touches the host: observing it, and applying a plan to it.
//!
//! **Invariant:** apply interprets a plan and chooses nothing; what was not read is said to be unreadable.

mod activity;
mod apply;
mod devices_file;
pub mod doctor;
pub mod fake;
mod interrupt;
mod kernel;
pub mod lock;
mod observe;
mod ports;
mod preflight;
mod programs;
mod run_dir;
mod seat;
mod secrets;
mod store;
mod system;
mod transcript;
pub mod untrusted;

pub use activity::{Look, decide_activity, is_firmware, remember};
pub use apply::{ApplyContext, CONFIGFS_DEADLINE, Progress, Silent, apply};
pub use devices_file::{DevicesFile, devices_file_in_use};
pub use interrupt::Interrupt;
pub use kernel::{KernelConfigFs, RunningKernel, TARGET_ROOT};
pub use lock::{Lock, LockError, lock};
pub use observe::{Scope, observe};
pub use ports::{Command, CommandError, Commands, ConfigFs, Kernel, Kind, Output};
pub use preflight::{Needs, Problem, preflight};
pub use programs::{Programs, programs_running};
pub use run_dir::RunDir;
pub use seat::{SeatSeen, observe_seat};
pub use secrets::read_secrets;
pub use store::{write_atomically, write_private};
pub use system::System;
pub use transcript::read_transcript;

use secrets::publish_secrets;
use store::write_shared;
