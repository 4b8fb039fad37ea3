//! The host as the effects see it: its three ports in one value.

use super::kernel::{KernelConfigFs, RunningKernel};
use super::ports::{Commands, ConfigFs, Kernel};
use super::programs::Programs;
use std::sync::Arc;

/// A host: where programs run, the target subsystem, and the kernel's facts. Cheap to clone.
#[derive(Clone)]
pub struct System {
    /// Where programs run.
    pub commands: Arc<dyn Commands>,
    /// The target subsystem.
    pub configfs: Arc<dyn ConfigFs>,
    /// Facts about the kernel, and the clock.
    pub kernel: Arc<dyn Kernel>,
}

impl System {
    /// This host.
    pub fn real() -> Self {
        Self { commands: Arc::new(Programs), configfs: Arc::new(KernelConfigFs::default()), kernel: Arc::new(RunningKernel) }
    }
}
