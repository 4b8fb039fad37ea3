//! Rules broken on purpose, outside the product: each puts one letter of what was once wrong back, and the simulation has to find it.

use crate::disturb::Disturbance;
use crate::world::{DAY, HOUR, MINUTE, Sim};
use barista::desired::Reset;
use barista::names::{Mark, Mono};
use barista::observed::occupancy::Occupancy;
use barista::observed::{Observation, Seen, Settled};
use barista::plan::{Plan, Prepared, Revision, Step, Targets};
use std::time::Duration;

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bite {
    /// A: quiet for a minute counts as off.
    QuietForAMinute,
    /// B: what was quiet before a start of the agent counts.
    QuietSinceBoot,
    /// F: what was kept once is kept only while the site says so.
    StampsAreIgnored,
    /// K: a source that is still being copied is taken for whole.
    HalfCopied,
    /// M: what was offered is forgotten where the kernel shows no target.
    ClearedIsClean,
    /// N: what is lowered of a held change is done.
    HeldIsLowered,
    /// Q: the old disk goes before the new one is made.
    OldGoesFirst,
}

impl Bite {
    /// What makes a difference to this rule and happens too seldom by itself: at noon of each day the network is away, machines leave
    /// the site, and an agent starts anew.
    pub fn provocation(self, days: u64) -> Vec<(u64, Disturbance)> {
        if !matches!(self, Self::QuietSinceBoot | Self::HeldIsLowered) {
            return Vec::new();
        }
        let cards: Vec<usize> = (0..8).collect();
        let daily = |day: u64| {
            let noon = day * DAY + 12 * HOUR;
            [
                (noon, Disturbance::Outage { cards: cards.clone(), time: 2 * HOUR }),
                (noon + 2 * MINUTE, Disturbance::RemoveMachine(day as usize)),
                (noon + 3 * MINUTE, Disturbance::RemoveMachine(day as usize + 2)),
                (noon + 4 * MINUTE, Disturbance::AgentDies(20 * MINUTE)),
            ]
        };
        (0..days).flat_map(daily).collect()
    }
}

/// What an agent that starts believes.
pub fn at_start(bite: Option<Bite>, known: &mut Occupancy, now: Mono) {
    if bite == Some(Bite::QuietSinceBoot) {
        known.at = now;
    }
}

/// What an observer makes of the host.
pub fn on_observation(bite: Option<Bite>, sim: &Sim, prepared: &Prepared, observation: &mut Observation) {
    // What an observer that asks the kernel who writes to a file sees.
    for name in &sim.lock().copying {
        if let Some(Seen::Present(file)) = observation.sources.get_mut(name) {
            file.settled = Settled::BeingWritten;
        }
    }
    match bite {
        Some(Bite::QuietForAMinute) => lengthen(observation, |now, sign, _| now.since(sign) >= Duration::from_secs(60)),
        // The grace counted from the boot of the server: ten minutes later whoever is silent is off.
        Some(Bite::QuietSinceBoot) => lengthen(observation, |now, _, since| {
            now.as_millis() > 600_000 && since > Mono::from_millis(20_000) && now.since(since) < Duration::from_secs(120)
        }),
        Some(Bite::StampsAreIgnored) => {
            let Seen::Present(vg) = &mut observation.vg else { return };
            let disks = prepared.desired.storage.iter().flat_map(|storage| storage.seats.values()).flat_map(|seat| &seat.disks);
            let kept: Vec<&str> = disks.filter(|disk| disk.reset == Reset::Never).map(|disk| disk.image.as_str()).collect();
            for lv in vg.lvs.values_mut() {
                let is_kept = lv.tags.value(Mark::IMAGE).is_some_and(|image| kept.contains(&image));
                if !is_kept && lv.tags.value(Mark::RESET) == Some("never") {
                    let text: Vec<String> = lv
                        .tags
                        .iter()
                        .filter(|tag| !tag.starts_with(Mark::RESET))
                        .map(ToString::to_string)
                        .chain([Mark::tag(Mark::RESET, "every-boot")])
                        .collect();
                    lv.tags = barista::observed::Tags::parse(&text.join(","));
                }
            }
        }
        Some(Bite::HalfCopied) => {
            for source in observation.sources.values_mut() {
                if let Seen::Present(file) = source {
                    file.settled = Settled::Yes;
                }
            }
        }
        Some(Bite::ClearedIsClean) => {
            let is_clear = observation.lio.present().is_none_or(|lio| lio.targets.is_empty());
            if is_clear && let Seen::Present(offered) = &mut observation.offered {
                offered.disks.clear();
                observation.written.clear();
            }
        }
        Some(Bite::HeldIsLowered | Bite::OldGoesFirst) | None => {}
    }
}

fn lengthen(observation: &mut Observation, counts: impl Fn(Mono, Mono, Mono) -> bool) {
    let Some(known) = &mut observation.occupancy else { return };
    let now = known.at;
    for watch in known.watches.values_mut().filter(|watch| watch.session.is_none()) {
        if counts(now, watch.sign, watch.since) {
            watch.quiet = Duration::from_secs(100 * 24 * 3600);
        }
    }
}

/// What a planner makes of an observation.
pub fn on_plan(bite: Option<Bite>, prepared: &Prepared, observation: &Observation, revision: Revision, plan: &mut Plan) {
    match bite {
        Some(Bite::HeldIsLowered) => {
            let mut bold = observation.clone();
            lengthen(&mut bold, |_, _, _| true);
            let bold = barista::plan::compute(prepared, &bold, revision, &Targets::default());
            // The targets of what is held here and would not be there.
            let held: Vec<_> =
                plan.changes.iter().filter(|change| !change.is_open()).map(|change| change.subject.clone()).collect();
            let mut more = Vec::new();
            for step in &bold.steps {
                let Step::Exports(ops) = step else { continue };
                for (id, op) in ops {
                    let subject = &bold.changes[id.0 as usize].subject;
                    if let Some(at) =
                        plan.changes.iter().position(|change| change.subject == *subject).filter(|_| held.contains(subject))
                    {
                        more.push((barista::plan::ChangeId(at as u32), op.clone()));
                    }
                }
            }
            // What was half taken away is not shown again either.
            let goes = |id: &barista::plan::ChangeId| {
                let subject = &plan.changes[id.0 as usize].subject;
                bold.changes.iter().any(|change| change.subject == *subject && change.action == barista::plan::Action::Remove)
            };
            for step in &mut plan.steps {
                if let Step::Exports(ops) = step {
                    ops.retain(|(id, _)| !goes(id));
                }
            }
            // Nothing of what is held is carried out by an interpreter, so it is not held.
            for (id, _) in &more {
                plan.changes[id.0 as usize].gate = barista::plan::Gate::Open;
            }
            if !more.is_empty() {
                plan.steps.insert(0, Step::Exports(more));
            }
        }
        Some(Bite::OldGoesFirst) => {
            let makes = |step: &Step| match step {
                Step::Disks { ops, .. } => ops.iter().any(|(_, op)| matches!(op, barista::plan::DiskOp::Remove { .. })),
                Step::Exports(ops) => ops.iter().any(|(_, op)| matches!(op, barista::plan::ExportOp::Withdraw { .. })),
                _ => false,
            };
            let (first, rest): (Vec<Step>, Vec<Step>) = std::mem::take(&mut plan.steps).into_iter().partition(makes);
            plan.steps = first.into_iter().chain(rest).collect();
            for change in &mut plan.changes {
                change.after.clear();
            }
        }
        _ => {}
    }
}
