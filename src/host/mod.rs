//! The only room that touches the host: observing it, and applying a plan to it.
//!
//! **Invariant:** apply interprets a plan and chooses nothing; what was not read is said to be unreadable.

mod apply;
pub mod commands;
mod devices_file;
mod durable;
mod export;
#[cfg(any(test, feature = "test-support"))]
pub mod fake;
mod give;
mod image;
mod interrupt;
mod kernel;
pub mod lock;
mod lvm_config;
mod observe;
pub mod offered;
mod ports;
mod preflight;
mod programs;
mod render;
mod run_dir;
mod seat;
mod secrets;
pub mod settings;
mod site_paths;
mod space;
mod state_files;
mod store;
mod suspended;
mod system;
mod transcript;
mod trial;
pub mod untrusted;

pub use apply::{ApplyContext, CONFIGFS_DEADLINE, Fills, Progress, Running, Silent, apply};
pub use durable::{DurableFiles, Held, RealFiles};
pub use give::{GiveError, give};
pub use image::{BlockDevices, FillError, FillRequest, Filled, VolumeState, fill};
pub use interrupt::Interrupt;
pub use kernel::{KernelConfigFs, RunningKernel, TARGET_ROOT};
pub use lock::{Lock, LockError, lock};
pub use observe::{Depth, Scope, look, observe, observe_published, observe_to};
pub use ports::{
    BLOCK, Command, CommandError, Commands, ConfigFs, Disks, Ended, FillDisk, FillSource, Kernel, Kind, Output, Watch,
};
pub use preflight::{Needs, preflight};
pub use programs::{Programs, WhileWaiting, finish_programs, programs_running, while_waiting};
pub use render::render_ops;
pub use run_dir::RunDir;
pub use seat::{SeatSeen, observe_seat};
pub use secrets::read_secrets;
pub use settings::{FollowedSettings, HostSettings};
pub use site_paths::{Allows, forgo_paths, judge_paths, judge_paths_by};
pub use space::{Access, LEAST_ROOM, Shortage, Space, examine_space, short_of};
pub use state_files::{create_directory, write_atomically, write_private};
pub use suspended::{DeviceName, left_suspended, suspended_trouble};
pub use system::System;
pub use transcript::{TranscriptError, read_transcript};
pub use trial::{MEMORY as TRIAL_MEMORY, SECONDS as TRIAL_SECONDS, Trial, confine};

use secrets::publish_secrets;
use state_files::write_shared;

/// An error with all its causes on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
