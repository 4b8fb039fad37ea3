//! Finishes what a power cut interrupted between LVM and the kernel, before anything is made or removed in a pool.
//!
//! Where the kernel made a volume and had not counted it yet, LVM asks for it once more, hears that it exists, and refuses from then
//! on to make or remove anything in that pool ("Manual intervention may be required"). The kernel is told to count it, which is all
//! that LVM had left to do. **Invariant:** only for a volume of ours that the kernel shows, and only by one; no data is touched.

use super::PROGRAM_DEADLINE;
use crate::host::{Command, CommandError, Output, System, chain};
use crate::names::Mark;
use crate::observed::{NewestVolume, parse_newest_volumes, parse_pool_transaction};

/// Looks at the pools of a volume group that is about to be changed, by a report of it. What cannot be told is left alone: LVM says the
/// rest.
pub(super) fn finish_interrupted(system: &System, group: &str, report: &str) {
    for newest in parse_newest_volumes(report, Mark::OURS).unwrap_or_default() {
        finish(system, group, &newest);
    }
}

fn finish(system: &System, group: &str, NewestVolume { pool, volume, transaction }: &NewestVolume) {
    let device = format!("{}-{}-tpool", mapped(group), mapped(pool));
    let counted = run(system, ["dmsetup", "status", &device]).ok().and_then(|output| parse_pool_transaction(&output.stdout));
    if counted != Some(*transaction) {
        return;
    }
    let (from, to) = (transaction.to_string(), (transaction + 1).to_string());
    match run(system, ["dmsetup", "message", &device, "0", "set_transaction_id", &from, &to]) {
        Ok(_) => {
            tracing::warn!("thin pool {group}/{pool}: the making of {volume} had been cut off before it was counted; it is now")
        }
        Err(error) => tracing::warn!("thin pool {group}/{pool}: the making of {volume} was cut off: {}", chain(&error)),
    }
}

fn run<'a>(system: &System, argv: impl IntoIterator<Item = &'a str>) -> Result<Output, CommandError> {
    system.commands.succeed(&Command::new(argv, PROGRAM_DEADLINE))
}

/// A name as device-mapper has it.
fn mapped(name: &str) -> String {
    name.replace('-', "--")
}
