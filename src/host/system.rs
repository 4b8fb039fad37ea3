//! The host as the effects see it: its ports in one value.

use super::durable::{DurableFiles, RealFiles};
use super::image::BlockDevices;
use super::kernel::{KernelConfigFs, RunningKernel};
use super::ports::{Commands, ConfigFs, Disks, Kernel};
use super::programs::Programs;
use std::sync::Arc;

/// A host: where programs run, the target subsystem, disks, and the kernel's facts. Cheap to clone.
#[derive(Clone)]
pub struct System {
    /// Where programs run.
    pub commands: Arc<dyn Commands>,
    /// The target subsystem.
    pub configfs: Arc<dyn ConfigFs>,
    /// Disks that are filled.
    pub disks: Arc<dyn Disks>,
    /// Facts about the kernel, and the clock.
    pub kernel: Arc<dyn Kernel>,
    /// Root's own records.
    pub files: Arc<dyn DurableFiles>,
}

impl System {
    /// This host.
    pub fn real() -> Self {
        Self {
            commands: Arc::new(Programs),
            configfs: Arc::new(KernelConfigFs::default()),
            disks: Arc::new(BlockDevices),
            kernel: Arc::new(RunningKernel),
            files: Arc::new(RealFiles),
        }
    }
}
