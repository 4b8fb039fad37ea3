//! The kernel's iSCSI target as an exporter.
//!
//! **Invariant:** no portal group is turned on before it is on record that its disks were offered; none is taken down with somebody on
//! it: it is looked at, turned off and looked at again, and where its counters moved in between it is turned on again.

mod idle;
mod lower;
mod op;
#[cfg(test)]
mod tests;
mod worker;

use super::{Exporter, Shown};
use crate::host::offered::Record;
use crate::host::{Command, System, chain};
use crate::names::{DiskId, Handle, Iqn, Lun, MachineName};
use crate::observed::Boot;
use crate::plan::{ChangeId, ExportOp, Outcome, PortalGroup, TargetPlan, TargetSeen};
use op::ConfigFsOp;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};
use worker::Worker;

/// How long loading the modules may take.
const MODPROBE_DEADLINE: Duration = Duration::from_secs(60);

/// The modules that a target needs.
pub(in crate::host) const MODULES: [&str; 3] = ["target_core_mod", "target_core_iblock", "iscsi_target_mod"];

/// The kernel's iSCSI target, for one run.
pub struct Lio<'a> {
    system: &'a System,
    state: PathBuf,
    worker: Worker,
    device: Box<dyn Fn(&DiskId) -> String + 'a>,
    shown: Shown,
}

/// What a target that is to be let in to needs first.
struct Opening {
    at: usize,
    name: String,
    machine: MachineName,
    disks: Vec<Handle>,
    boot: Boot,
}

impl<'a> Lio<'a> {
    /// For one run: `deadline` is how long the kernel may take over one change, `device` gives the device of a disk.
    pub fn new(
        system: &'a System,
        state: impl Into<PathBuf>,
        deadline: Duration,
        device: impl Fn(&DiskId) -> String + 'a,
    ) -> Self {
        let worker = Worker::new(system.configfs.clone(), deadline);
        Self { system, state: state.into(), worker, device: Box::new(device), shown: Shown::default() }
    }

    /// Runs several lists of changes, and tells those that went well from those that did not.
    fn run(&mut self, runs: Vec<(usize, Vec<ConfigFsOp>)>, outcomes: &mut BTreeMap<usize, Outcome>) {
        let (places, ops): (Vec<usize>, Vec<Vec<ConfigFsOp>>) = runs.into_iter().unzip();
        self.worker.perform_all(ops, |at, result| {
            if let Err(outcome) = result {
                outcomes.insert(places[at], outcome);
            }
        });
    }

    /// Loads the modules that are not loaded. What is there is not asked of modprobe: within the agent's unit it sees no module files.
    fn load_kernel(&self) -> Result<(), Outcome> {
        let missing: Vec<&str> = MODULES.into_iter().filter(|module| !self.system.kernel.has_module(module)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let command = Command::new(["modprobe", "-a"].into_iter().chain(missing), MODPROBE_DEADLINE);
        self.system.commands.succeed(&command).map(drop).map_err(|error| Outcome::Failed(chain(&error)))
    }

    /// Takes targets down that nobody is on.
    fn withdraw(&mut self, targets: &[(usize, &MachineName, &TargetSeen)], outcomes: &mut BTreeMap<usize, Outcome>) {
        let look =
            |lio: &Self, (at, machine, target): &(usize, &MachineName, &TargetSeen), outcomes: &mut BTreeMap<usize, Outcome>| {
                match idle::require_idle(lio.system, machine, target) {
                    Ok(()) => true,
                    Err(outcome) => {
                        outcomes.insert(*at, outcome);
                        false
                    }
                }
            };
        let free: Vec<_> = targets.iter().filter(|target| look(self, target, outcomes)).copied().collect();
        self.run(free.iter().map(|(at, _, target)| (*at, lower::close(target))).collect(), outcomes);
        let closed: Vec<_> = free.into_iter().filter(|(at, ..)| !outcomes.contains_key(at)).collect();
        let (still, moved): (Vec<_>, Vec<_>) = closed.into_iter().partition(|target| look(self, target, outcomes));
        // Somebody came between the look and the end: what it had is put back before it notices more than a pause.
        let mut ignored = BTreeMap::new();
        self.run(moved.iter().map(|(at, _, target)| (*at, lower::reopen(target))).collect(), &mut ignored);
        self.run(still.iter().map(|(at, _, target)| (*at, lower::removal(target))).collect(), outcomes);
    }

    /// Puts targets up, closed; those that are to let machines in come back.
    fn build(
        &mut self,
        plans: &[(usize, &TargetPlan)],
        handles: &BTreeMap<DiskId, Handle>,
        outcomes: &mut BTreeMap<usize, Outcome>,
    ) -> Vec<Opening> {
        let (mut runs, mut openings) = (Vec::new(), Vec::new());
        for (at, plan) in plans {
            match self.prepare(plan, handles) {
                Err(error) => drop(outcomes.insert(*at, Outcome::Failed(error))),
                Ok((name, disks)) => {
                    let mut ops = lower::backstores(plan, |lun| (self.device)(&lun.disk));
                    ops.extend(lower::target(plan, name.as_str()));
                    runs.push((*at, ops));
                    if plan.portal_group == PortalGroup::On {
                        let boot = Boot::try_from(plan.record.clone()).unwrap_or(Boot::SeenOn);
                        openings.push(Opening { at: *at, name: name.to_string(), machine: plan.machine.clone(), disks, boot });
                    }
                    self.shown.fixed.insert((plan.machine.clone(), plan.image.clone()), name);
                }
            }
        }
        self.run(runs, outcomes);
        openings.retain(|opening| !outcomes.contains_key(&opening.at));
        openings
    }

    /// A target's name and the UUIDs of its disks, each of which is what the plan expects.
    fn prepare(&self, plan: &TargetPlan, handles: &BTreeMap<DiskId, Handle>) -> Result<(Iqn, Vec<Handle>), String> {
        let handle = |disk: &DiskId, expected: Option<&Handle>| match (handles.get(disk), expected) {
            (None, _) => Err(format!("{disk} is not there")),
            (Some(is), Some(expected)) if is != expected => {
                Err(format!("{disk} is another volume now ({is} and not {expected}): the plan is out of date"))
            }
            (Some(is), _) => Ok(is.clone()),
        };
        let disks = plan.luns.values().map(|lun| handle(&lun.disk, lun.handle.as_ref())).collect::<Result<Vec<_>, _>>()?;
        let own = plan.own.iter().map(|disk| handle(disk, None)).collect::<Result<Vec<_>, _>>()?;
        Ok((lower::name_of(plan, &own)?, disks))
    }

    /// Lets machines in, after that is on record.
    fn open(&mut self, openings: Vec<Opening>, outcomes: &mut BTreeMap<usize, Outcome>) {
        let record = Record::new(self.system, &self.state);
        let mut runs = Vec::new();
        for Opening { at, name, machine, disks, boot } in openings {
            match record.offer_unrecorded(&disks, &machine, boot) {
                Ok(()) => runs.push((at, vec![lower::open(&name)])),
                Err(error) => drop(outcomes.insert(at, Outcome::Failed(chain(&error)))),
            }
        }
        self.run(runs, outcomes);
    }

    /// What an op that neither builds nor withdraws comes to.
    fn small(op: &ExportOp) -> Vec<ConfigFsOp> {
        match op {
            ExportOp::LoadKernel => vec![ConfigFsOp::Mkdir("iscsi".to_owned())],
            ExportOp::RemoveBackstore { path } => lower::backstore_removal(path).into(),
            ExportOp::RemoveDebris { path } => vec![ConfigFsOp::Rmdir(path.clone())],
            ExportOp::Mend { writes } => {
                writes.iter().map(|(path, value)| ConfigFsOp::Write { path: path.clone(), value: value.clone() }).collect()
            }
            ExportOp::Admit { target, initiator, luns } => {
                let tpg = format!("iscsi/{target}/tpgt_{}", crate::plan::TPG);
                let mut ops = vec![ConfigFsOp::Mkdir(format!("{tpg}/acls/{initiator}"))];
                ops.extend(luns.iter().flat_map(|lun| lower::mapped(&tpg, initiator.as_str(), *lun)));
                ops
            }
            ExportOp::Move { backstore, from, to } => lower::moved(backstore, from.as_ref(), to),
            ExportOp::Build(_) | ExportOp::Open { .. } | ExportOp::Withdraw { .. } => Vec::new(),
        }
    }
}

impl Exporter for Lio<'_> {
    fn perform(
        &mut self,
        ops: &[(ChangeId, ExportOp)],
        handles: &BTreeMap<DiskId, Handle>,
        told: &mut dyn FnMut(usize, Outcome),
    ) {
        let mut outcomes: BTreeMap<usize, Outcome> = BTreeMap::new();
        for (at, (_, op)) in ops.iter().enumerate() {
            if matches!(op, ExportOp::LoadKernel)
                && let Err(outcome) = self.load_kernel()
            {
                outcomes.insert(at, outcome);
            }
        }
        let withdrawn: Vec<_> = ops
            .iter()
            .enumerate()
            .filter_map(|(at, (_, op))| match op {
                ExportOp::Withdraw { machine, target } => Some((at, machine, &**target)),
                _ => None,
            })
            .collect();
        self.withdraw(&withdrawn, &mut outcomes);
        // What comes after a withdrawal that did not go well stays as it is.
        let failed =
            |outcomes: &BTreeMap<usize, Outcome>| -> BTreeSet<ChangeId> { outcomes.keys().map(|at| ops[*at].0).collect() };
        let skip = |outcomes: &mut BTreeMap<usize, Outcome>, at: usize| {
            outcomes.entry(at).or_insert_with(|| Outcome::Skipped("what comes before it did not go well".to_owned()));
        };
        let stopped = failed(&outcomes);
        let mut runs = Vec::new();
        for (at, (change, op)) in ops.iter().enumerate() {
            let small = Self::small(op);
            match (small.is_empty(), stopped.contains(change)) {
                (false, true) => skip(&mut outcomes, at),
                (false, false) => runs.push((at, small)),
                (true, _) => {}
            }
        }
        self.run(runs, &mut outcomes);
        let stopped = failed(&outcomes);
        let mut plans = Vec::new();
        for (at, (change, op)) in ops.iter().enumerate() {
            match op {
                ExportOp::Build(_) | ExportOp::Open { .. } if stopped.contains(change) => skip(&mut outcomes, at),
                ExportOp::Build(plan) => plans.push((at, &**plan)),
                _ => {}
            }
        }
        let mut openings = self.build(&plans, handles, &mut outcomes);
        for (at, (change, op)) in ops.iter().enumerate() {
            if let ExportOp::Open { target, machine, disks, record } = op
                && !stopped.contains(change)
            {
                let boot = Boot::try_from(record.clone()).unwrap_or(Boot::SeenOn);
                openings.push(Opening { at, name: target.to_string(), machine: machine.clone(), disks: disks.clone(), boot });
            }
        }
        self.open(openings, &mut outcomes);
        for at in 0..ops.len() {
            told(at, outcomes.remove(&at).unwrap_or(Outcome::Done));
        }
    }

    fn shown(&self) -> &Shown {
        &self.shown
    }
}

/// An op as a person would type it; what is known only when it runs stands in angle brackets.
pub fn render(op: &ExportOp, device: impl Fn(&DiskId) -> String) -> Vec<String> {
    let lines = |ops: Vec<ConfigFsOp>| ops.iter().map(op::render).collect::<Vec<_>>();
    match op {
        ExportOp::LoadKernel => [format!("modprobe -a {}", MODULES.join(" "))].into_iter().chain(lines(Lio::small(op))).collect(),
        ExportOp::Build(plan) => {
            let name = plan.name.as_ref().map_or_else(
                || format!("{}:{}.{}.{}-<8 hex of its disks>", plan.prefix, plan.named.0, plan.named.1, plan.side),
                ToString::to_string,
            );
            let mut text = lines(lower::backstores(plan, |lun| device(&lun.disk)));
            text.extend(lines(lower::target(plan, &name)));
            if plan.portal_group == PortalGroup::On {
                text.push(format!("record its disks as offered to {}", plan.machine));
                text.push(op::render(&lower::open(&name)));
            }
            text
        }
        ExportOp::Open { target, machine, .. } => {
            vec![format!("record its disks as offered to {machine}"), op::render(&lower::open(target.as_str()))]
        }
        ExportOp::Withdraw { target, .. } => {
            let require = format!("require nobody on {}, {} commands served", target.name, target.commands);
            let mut text = vec![require.clone()];
            text.extend(lines(lower::close(target)));
            text.push(require);
            text.extend(lines(lower::removal(target)));
            text
        }
        _ => lines(Lio::small(op)),
    }
}

/// Turns a portal group on for a boot, after that is on record: what an assignment does.
pub(crate) fn offer(
    system: &System,
    record: &Record<'_>,
    target: &Iqn,
    machine: &MachineName,
    disks: &[Handle],
    boot: Boot,
) -> Result<(), String> {
    record.offer(disks, machine, boot).map_err(|error| chain(&error))?;
    let path = format!("iscsi/{target}/tpgt_{}/enable", crate::plan::TPG);
    match system.configfs.read(&path) {
        Ok(on) if on == "1" => Ok(()),
        Ok(_) => system.configfs.write(&path, "1").map_err(|error| format!("{path}: {error}")),
        Err(error) => Err(format!("{path}: {error}")),
    }
}

/// Takes a disk's LUN from one target and puts it on another; both are turned off, or nobody is on them.
pub(crate) fn move_lun(
    system: &System,
    backstore: &str,
    from: Option<&(Iqn, Lun, Vec<String>)>,
    to: &(Iqn, Lun, Iqn),
) -> Result<(), String> {
    perform(system, lower::moved(backstore, from, to))
}

/// Makes the backstores of a target that are not there.
pub(crate) fn make_backstores(system: &System, plan: &TargetPlan) -> Result<(), String> {
    let device = |disk: &DiskId| {
        let name = disk.lv_name().map_or_else(|_| disk.to_string(), |name| name.to_string());
        format!("/dev/{}/{name}", plan.pool.vg)
    };
    perform(system, lower::backstores(plan, |lun| device(&lun.disk)))
}

fn perform(system: &System, ops: Vec<ConfigFsOp>) -> Result<(), String> {
    let mut outcome = Ok(());
    let mut worker = Worker::new(system.configfs.clone(), crate::host::CONFIGFS_DEADLINE);
    worker.perform_all(vec![ops], |_, result| outcome = result);
    outcome.map_err(|outcome| match outcome {
        Outcome::Failed(error) | Outcome::Stuck(error) | Outcome::Skipped(error) => error,
        Outcome::Done | Outcome::Background => String::new(),
    })
}
