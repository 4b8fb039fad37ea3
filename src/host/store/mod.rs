//! Where disks are: the port to a store, and the stores there are.
//!
//! A further backing is one file of facts in `observed`, one adapter here, one variant of `desired::Backing`, and cases.
//! **Invariant:** an adapter turns each op into commands and chooses nothing; it touches an object only under the UUID that the op
//! expects.

pub mod thin;

use crate::names::{DiskId, Handle};
use crate::plan::{ChangeId, DiskOp, Outcome};
use std::{collections::BTreeMap, ops::ControlFlow};

/// Is told how much of the work is done, of how much, and says whether it goes on.
pub type Advance<'a> = dyn FnMut(u64, u64) -> ControlFlow<()> + 'a;

/// What becomes of whatever does not begin any more.
pub fn left_out() -> Outcome {
    Outcome::Skipped("it was told to stop".to_owned())
}

/// A store of disks.
pub trait Store: Send + Sync {
    /// Finishes what a power cut interrupted between the store's own books and the kernel's. Then carries ops out in order, those of
    /// different changes at once where the store can; one outcome for each. A change's later ops are skipped after one that failed.
    /// `advance` is told after each program how much is done; where it breaks, no other begins, and what is left is skipped.
    fn perform(&self, ops: &[(ChangeId, DiskOp)], advance: &mut Advance<'_>) -> Vec<Outcome>;

    /// The UUIDs of these disks as they are now; one that is not there is left out.
    fn handles(&self, disks: &[DiskId]) -> Result<BTreeMap<DiskId, Handle>, String>;

    /// The device of a disk.
    fn device(&self, disk: &DiskId) -> String;
}
