//! A plan's operations as a person would type them: exactly what apply would run.
//!
//! **Invariant:** by the adapters' own renderers; says nothing that the steps do not hold.

use super::{export::lio, store::thin};
use crate::names::DiskId;
use crate::plan::{ChangeId, Plan, Pool, Step, subject_text};
use std::fmt::Write;

/// Every step, one line for each command, under the change it belongs to.
pub fn render_ops(plan: &Plan) -> String {
    let mut text = String::new();
    let mut heading = None;
    let mut head = |text: &mut String, id: Option<ChangeId>| {
        if heading != Some(id) {
            let name = id.and_then(|id| plan.changes.get(id.0 as usize)).map(|change| subject_text(&change.subject));
            _ = writeln!(text, "# {}", name.unwrap_or_else(|| "boot table".to_owned()));
            heading = Some(id);
        }
    };
    for step in &plan.steps {
        match step {
            Step::Disks { pool, ops } => {
                for (id, op) in ops {
                    head(&mut text, Some(*id));
                    thin::render(pool, op).iter().for_each(|line| text.push_str(&format!("{line}\n")));
                }
            }
            Step::Fill { pool, change, ops } => {
                head(&mut text, Some(*change));
                ops.iter().flat_map(|op| thin::render(pool, op)).for_each(|line| text.push_str(&format!("{line}\n")));
            }
            Step::Exports(ops) => {
                for (id, op) in ops {
                    head(&mut text, Some(*id));
                    let device = |disk: &DiskId| device(op, disk);
                    lio::render(op, device).iter().for_each(|line| text.push_str(&format!("{line}\n")));
                }
            }
            Step::Publish { table, .. } => {
                head(&mut text, None);
                _ = writeln!(text, "publish {} machines, {} networks", table.machines.len(), table.networks.len());
            }
        }
    }
    text
}

fn device(op: &crate::plan::ExportOp, disk: &DiskId) -> String {
    let crate::plan::ExportOp::Build(plan) = op else { return String::new() };
    let Pool { vg, .. } = &plan.pool;
    let name = disk.lv_name().map_or_else(|_| disk.to_string(), |name| name.to_string());
    format!("/dev/{vg}/{name}")
}
