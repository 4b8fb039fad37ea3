//! What a plan says of the disks that boots wait for, in the codes that a booting machine is told.
//!
//! **Invariant:** pure; only a disk whose making the plan carries out is told as being made.

use crate::boot::assignment::WaitCode;
use crate::names::{ImageName, MachineName};
use crate::plan::{Action, Gate, Hold, Plan, PoolProblem, Subject};
use std::collections::BTreeMap;

/// The disks that a plan makes or would make.
#[derive(Debug, Default)]
pub struct Planned {
    /// Of each machine and image: nothing stops it, or this does.
    disks: BTreeMap<MachineName, BTreeMap<ImageName, Option<WaitCode>>>,
    /// What stops all of them.
    all: Option<WaitCode>,
}

impl Planned {
    /// By a plan.
    pub fn of(plan: &Plan) -> Self {
        let mut planned = Self::default();
        for change in &plan.changes {
            let stops = match &change.gate {
                Gate::Open => None,
                Gate::Held(hold) => Some(code_of(hold)),
            };
            match (&change.subject, change.action) {
                (
                    Subject::Side { machine, image, .. } | Subject::Disk { machine, image, .. },
                    Action::Create | Action::Replace,
                ) => {
                    let known = planned.disks.entry(machine.clone()).or_default().entry(image.clone()).or_insert(stops);
                    *known = known.and(stops);
                }
                (Subject::Pool { .. }, _) => planned.all = planned.all.or(stops),
                _ => {}
            }
        }
        planned
    }

    /// Why a machine waits that has none of these images' disks: one is being made, something stops that, or none is to be made now.
    pub fn why<'i>(&self, machine: &MachineName, images: impl Iterator<Item = &'i ImageName>) -> WaitCode {
        let of = self.disks.get(machine);
        let told: Vec<Option<WaitCode>> = images.filter_map(|image| of?.get(image).copied()).collect();
        let stops = told.iter().flatten().next().copied().or(self.all);
        stops.unwrap_or(if told.is_empty() { WaitCode::NoCleanSide } else { WaitCode::Making })
    }
}

fn code_of(hold: &Hold) -> WaitCode {
    match hold {
        Hold::Filling { .. } | Hold::Source { .. } => WaitCode::Filling,
        Hold::After { subject } if matches!(**subject, Subject::Version { .. }) => WaitCode::Filling,
        Hold::Pool {
            problem:
                PoolProblem::Full { .. }
                | PoolProblem::MetadataFull { .. }
                | PoolProblem::MetadataArea { .. }
                | PoolProblem::NoRoom { .. },
        } => WaitCode::NoSpace,
        _ => WaitCode::Held,
    }
}
