//! What shows disks to machines: the port to an exporter, and the exporters there are.
//!
//! **Invariant:** an adapter turns each op into changes of the kernel's tree and chooses nothing but this: a target is taken down
//! only while nobody is on it, and is put up again where somebody came in between.

pub mod lio;

use crate::names::{Handle, ImageName, Iqn, MachineName};
use crate::plan::{ChangeId, ExportOp, Outcome};
use std::collections::BTreeMap;

/// What an exporter finds out while it works: names of targets that follow from disks which this run made.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The target that every boot of a machine gets for an image.
    pub fixed: BTreeMap<(MachineName, ImageName), Iqn>,
}

/// An exporter of disks.
pub trait Exporter {
    /// Carries ops out, those of different changes at once where it can; `told` is called with the place of each op and its outcome.
    /// `handles` are the UUIDs of disks that were made since the plan was.
    fn perform(
        &mut self,
        ops: &[(ChangeId, ExportOp)],
        handles: &BTreeMap<crate::names::DiskId, Handle>,
        told: &mut dyn FnMut(usize, Outcome),
    );

    /// What it found out so far.
    fn shown(&self) -> &Shown;
}
