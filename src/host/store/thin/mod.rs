//! Thin volumes of LVM as a store of disks.
//!
//! **Invariant:** before anything is changed the group is read once, and an op whose object is not there under the UUID it expects
//! fails by itself; ops of one change go in order, and those of different changes share one `lvm` process.

mod command;
mod shell;
mod transaction;

use super::{Advance, Store, left_out};
use crate::host::{Command, System, offered::Record};
use crate::names::{Bytes, DiskId, Handle, LvName, Mark};
use crate::observed::{Boot, LV_FIELDS, Lv, TRANSACTION_FIELD, lvs, parse_lvs};
use crate::plan::{ChangeId, DiskOp, Outcome, Pool, ShownTogether};
use command::{Change, LvmCommand};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Mutex,
    time::Duration,
};

/// How long one program may run: activating a large pool checks its metadata for minutes.
const PROGRAM_DEADLINE: Duration = Duration::from_secs(600);

/// Volumes of a group by name.
type Volumes = BTreeMap<String, Lv>;

/// A thin pool.
pub struct Thin<'a> {
    system: &'a System,
    pool: Pool,
    state: PathBuf,
    /// SHA-256 of what versions were filled with in this run.
    filled: Mutex<BTreeMap<DiskId, String>>,
}

/// What an op comes to.
enum Lowered {
    /// These commands, in order.
    Commands(Vec<LvmCommand>),
    /// The record of what was offered begins anew or gets another epoch, then these commands.
    Record { epoch: u64, step: RecordStep, commands: Vec<LvmCommand> },
}

/// What becomes of the record of what was offered.
enum RecordStep {
    Begin(Vec<ShownTogether>),
    Raise,
}

impl<'a> Thin<'a> {
    /// The pool of a plan's ops; `state` is the state directory.
    pub fn new(system: &'a System, pool: Pool, state: impl Into<PathBuf>) -> Self {
        Self { system, pool, state: state.into(), filled: Mutex::default() }
    }

    /// Where it is.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Keeps what a version was filled with, for its mark.
    pub fn remember_filled(&self, disk: &DiskId, sha256: String) {
        self.filled.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(disk.clone(), sha256);
    }

    fn volumes(&self) -> Result<Volumes, String> {
        self.report(LV_FIELDS).and_then(|report| parse_lvs(&report).map_err(|error| crate::host::chain(&error)))
    }

    /// The volumes before anything is changed. What a power cut interrupted is finished first: it stands in the same report.
    fn first_look(&self) -> Result<Volumes, String> {
        let report = self.report(&format!("{LV_FIELDS},{TRANSACTION_FIELD}"))?;
        transaction::finish_interrupted(self.system, self.pool.vg.as_str(), &report);
        parse_lvs(&report).map_err(|error| crate::host::chain(&error))
    }

    fn report(&self, fields: &str) -> Result<String, String> {
        let argv = lvs(fields, self.pool.vg.as_str());
        let output = self.system.commands.succeed(&Command::new(argv, PROGRAM_DEADLINE));
        output.map(|output| output.stdout).map_err(|error| crate::host::chain(&error))
    }

    /// Turns an op into commands, where its object is what it expects. `now` is the group with the effects of the ops before it.
    fn lower(&self, op: &DiskOp, now: &BTreeMap<String, Known>) -> Result<Lowered, String> {
        let name = |disk: &DiskId| disk.lv_name().map_err(|error| error.to_string());
        let same = |disk: &DiskId, handle: &Handle| {
            let name = name(disk)?;
            match now.get(name.as_str()) {
                Some(known) if known.handle.as_ref().is_none_or(|is| is == handle) => Ok(name),
                Some(known) => Err(format!(
                    "{}/{name} is another volume now ({} and not {handle}): the plan is out of date",
                    self.pool.vg,
                    known.handle.as_ref().map_or("unknown", Handle::as_str)
                )),
                None => Err(format!("{}/{name} is gone: the plan is out of date", self.pool.vg)),
            }
        };
        let maybe = |disk: &DiskId, handle: &Option<Handle>| match handle {
            Some(handle) => same(disk, handle),
            None => name(disk),
        };
        let change = |name, change| Lowered::Commands(vec![LvmCommand::Change { name, change }]);
        let one = |command| Lowered::Commands(vec![command]);
        Ok(match op {
            DiskOp::MakePool { size, metadata, chunk, marks } => one(LvmCommand::CreatePool {
                name: self.pool.pool.clone(),
                size: *size,
                metadata: *metadata,
                chunk: *chunk,
                tags: marks.clone(),
            }),
            DiskOp::RemoveHalfMadePool { handle } => {
                let known = now.get(self.pool.pool.as_str()).and_then(|known| known.handle.as_ref());
                if known.is_some_and(|known| known != handle) {
                    return Err(format!("{}/{} is another volume now: the plan is out of date", self.pool.vg, self.pool.pool));
                }
                one(LvmCommand::Remove { names: vec![self.pool.pool.clone()] })
            }
            DiskOp::ActivatePool => one(LvmCommand::Activate { names: vec![self.pool.pool.clone()] }),
            DiskOp::Deliver { volume, size, left, marks } => {
                let make = LvmCommand::CreateThin {
                    name: volume.clone(),
                    pool: self.pool.pool.clone(),
                    size: *size,
                    tags: marks.clone(),
                };
                let remove = LvmCommand::Remove { names: vec![volume.clone()] };
                Lowered::Commands([make].into_iter().filter(|_| left.is_none()).chain([remove]).collect())
            }
            DiskOp::BeginRecord { from, to, shown, .. } => Lowered::Record {
                epoch: *to,
                step: RecordStep::Begin(shown.clone()),
                commands: vec![epoch_mark(&self.pool, from, *to)],
            },
            DiskOp::RaiseRecord { from, to } => {
                Lowered::Record { epoch: *to, step: RecordStep::Raise, commands: vec![epoch_mark(&self.pool, from, *to)] }
            }
            DiskOp::Create { disk, size, marks } => {
                one(LvmCommand::CreateThin { name: name(disk)?, pool: self.pool.pool.clone(), size: *size, tags: marks.clone() })
            }
            DiskOp::Clone { disk, base, base_handle, marks } => {
                let origin = maybe(base, base_handle)?;
                let mut tags = marks.clone();
                if base_handle.is_none() {
                    // The version was made since the plan was: what a clone says of it is known only now.
                    let known = now.get(origin.as_str()).ok_or_else(|| format!("{}/{origin} is not there", self.pool.vg))?;
                    tags.extend(known.handle.iter().map(|handle| Mark::tag(Mark::BASE, handle)));
                    tags.extend(known.sha256.iter().map(|sha256| Mark::tag(Mark::SHA256, sha256)));
                    if !known.is_ready {
                        return Err(format!("{}/{origin} is not filled", self.pool.vg));
                    }
                }
                one(LvmCommand::Snapshot { name: name(disk)?, origin, tags })
            }
            DiskOp::Seal { disk } => {
                let name = name(disk)?;
                let filled = self.filled.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                let mut marks: Vec<Change> = vec![Change::RemoveTag(Mark::FILLING.into()), Change::AddTag(Mark::READY.into())];
                marks.extend(filled.get(disk).map(|sha256| Change::AddTag(Mark::tag(Mark::SHA256, sha256))));
                Lowered::Commands(vec![
                    LvmCommand::Change { name: name.clone(), change: vec![Change::ReadOnly] },
                    LvmCommand::Change { name, change: marks },
                ])
            }
            DiskOp::Mark { disk, handle, remove, add } => {
                let marks = remove.iter().cloned().map(Change::RemoveTag).chain(add.iter().cloned().map(Change::AddTag));
                change(maybe(disk, handle)?, marks.collect())
            }
            DiskOp::Rename { from, to, handle } => one(LvmCommand::Rename { from: same(from, handle)?, to: name(to)? }),
            DiskOp::Grow { disk, handle, to } => one(LvmCommand::Extend { name: maybe(disk, handle)?, size: *to }),
            DiskOp::KeepActive { disk, handle } => change(same(disk, handle)?, vec![Change::DoNotSkip]),
            DiskOp::Protect { disk, handle } => change(same(disk, handle)?, vec![Change::ReadOnly]),
            DiskOp::Activate { disk, handle } => one(LvmCommand::Activate { names: vec![same(disk, handle)?] }),
            DiskOp::Remove { disk, handle } => match now.get(name(disk)?.as_str()) {
                // Removed by an earlier run that was cut off.
                None => Lowered::Commands(Vec::new()),
                Some(_) => one(LvmCommand::Remove { names: vec![same(disk, handle)?] }),
            },
            DiskOp::Fill { .. } => return Err("a fill is no command of the store".to_owned()),
        })
    }
}

/// What is known of a volume while ops are turned into commands.
struct Known {
    handle: Option<Handle>,
    sha256: Option<String>,
    is_ready: bool,
}

fn known(volumes: &Volumes) -> BTreeMap<String, Known> {
    let of = |lv: &Lv| Known {
        handle: Some(Handle::new(&*lv.uuid)),
        sha256: lv.tags.value(Mark::SHA256).map(str::to_owned),
        is_ready: lv.tags.contains(Mark::READY),
    };
    volumes.iter().map(|(name, lv)| (name.clone(), of(lv))).collect()
}

/// Takes the effect of a command into what is known, so that a change's later ops find their objects.
fn take_in(now: &mut BTreeMap<String, Known>, command: &LvmCommand) {
    match command {
        LvmCommand::Rename { from, to } => {
            if let Some(known) = now.remove(from.as_str()) {
                now.insert(to.to_string(), known);
            }
        }
        LvmCommand::Remove { names } => names.iter().for_each(|name| drop(now.remove(name.as_str()))),
        LvmCommand::CreatePool { name, .. } | LvmCommand::CreateThin { name, .. } | LvmCommand::Snapshot { name, .. } => {
            now.insert(name.to_string(), Known { handle: None, sha256: None, is_ready: false });
        }
        LvmCommand::Change { .. } | LvmCommand::Extend { .. } | LvmCommand::Activate { .. } => {}
    }
}

impl Store for Thin<'_> {
    fn perform(&self, ops: &[(ChangeId, DiskOp)], advance: &mut Advance<'_>) -> Vec<Outcome> {
        let volumes = match self.first_look() {
            Ok(volumes) => volumes,
            Err(error) => return vec![Outcome::Failed(error); ops.len()],
        };
        let mut now = known(&volumes);
        let mut outcomes: Vec<Outcome> = vec![Outcome::Done; ops.len()];
        let mut commands: Vec<(usize, ChangeId, LvmCommand)> = Vec::new();
        let mut failed: BTreeMap<ChangeId, String> = BTreeMap::new();
        for (at, (change, op)) in ops.iter().enumerate() {
            if let Some(error) = failed.get(change) {
                outcomes[at] = Outcome::Failed(error.clone());
                continue;
            }
            match self.lower(op, &now) {
                Ok(Lowered::Commands(lowered)) => {
                    lowered.iter().for_each(|command| take_in(&mut now, command));
                    commands.extend(lowered.into_iter().map(|command| (at, *change, command)));
                }
                // What stands before it has to be done first: the pool may only now be made.
                Ok(Lowered::Record { epoch, step, commands: marks }) => {
                    let before = std::mem::take(&mut commands);
                    if shell::run(self, before, &mut outcomes, &mut failed, advance).is_break() {
                        outcomes[at..].fill(left_out());
                        return outcomes;
                    }
                    if outcomes[at] == Outcome::Done && !failed.contains_key(change) {
                        let begun = match step {
                            RecordStep::Begin(shown) => self.begin_record(epoch, &shown),
                            RecordStep::Raise => self.raise_record(epoch),
                        };
                        match begun {
                            Ok(()) => commands.extend(marks.into_iter().map(|command| (at, *change, command))),
                            Err(error) => {
                                failed.insert(*change, error.clone());
                                outcomes[at] = Outcome::Failed(error);
                            }
                        }
                    }
                }
                Err(error) => {
                    failed.insert(*change, error.clone());
                    outcomes[at] = Outcome::Failed(error);
                }
            }
        }
        // What is left out then says so in its own place.
        let _ = shell::run(self, commands, &mut outcomes, &mut failed, advance);
        for (at, (change, _)) in ops.iter().enumerate() {
            if let (Outcome::Done, Some(error)) = (&outcomes[at], failed.get(change)) {
                // An earlier op of the change failed after this one had been turned into commands, and it was not run.
                let is_later =
                    ops[..at].iter().enumerate().any(|(before, (of, _))| of == change && outcomes[before] != Outcome::Done);
                if is_later {
                    outcomes[at] = Outcome::Failed(error.clone());
                }
            }
        }
        outcomes
    }

    fn handles(&self, disks: &[DiskId]) -> Result<BTreeMap<DiskId, Handle>, String> {
        let volumes = self.volumes()?;
        let handle = |disk: &DiskId| {
            let name = disk.lv_name().ok()?;
            Some((disk.clone(), Handle::new(&*volumes.get(name.as_str())?.uuid)))
        };
        Ok(disks.iter().filter_map(handle).collect())
    }

    fn device(&self, disk: &DiskId) -> String {
        let name = disk.lv_name().map_or_else(|_| disk.to_string(), |name| name.to_string());
        format!("/dev/{}/{name}", self.pool.vg)
    }
}

impl Thin<'_> {
    fn raise_record(&self, epoch: u64) -> Result<(), String> {
        let volumes = self.volumes()?;
        let there: BTreeSet<&str> = volumes.values().map(|volume| &*volume.uuid).collect();
        let record = Record::new(self.system, &self.state);
        record.raise(epoch, |disk| there.contains(disk.as_str())).map_err(|error| error.to_string())
    }

    fn begin_record(&self, epoch: u64, shown: &[ShownTogether]) -> Result<(), String> {
        let argv = ["vgs"].into_iter().chain(crate::observed::REPORT_OPTIONS).chain(["-o", crate::observed::VG_FIELDS]);
        let report =
            self.system.commands.succeed(&Command::new(argv, PROGRAM_DEADLINE)).map_err(|error| crate::host::chain(&error))?;
        let vg = crate::observed::parse_vg(&report.stdout, self.pool.vg.as_str()).map_err(|error| crate::host::chain(&error))?;
        let store = vg.ok_or_else(|| format!("volume group {} is gone", self.pool.vg))?.uuid;
        let record = Record::new(self.system, &self.state);
        let begun = record.begin(&Handle::new(store), epoch);
        let offer = |shown: &ShownTogether| record.offer(&shown.disks, &shown.machine, Boot::SeenOn);
        begun.and_then(|()| shown.iter().try_for_each(offer)).map_err(|error| error.to_string())
    }
}

/// Writes an epoch on the pool, in place of these.
fn epoch_mark<'a>(pool: &Pool, from: impl IntoIterator<Item = &'a u64>, to: u64) -> LvmCommand {
    let mut marks: Vec<Change> = from.into_iter().map(|from| Change::RemoveTag(Mark::tag(Mark::EPOCH, from))).collect();
    marks.push(Change::AddTag(Mark::tag(Mark::EPOCH, to)));
    LvmCommand::Change { name: pool.pool.clone(), change: marks }
}

/// An op as a person would type it; what is known only when it runs stands in angle brackets.
pub fn render(pool: &Pool, op: &DiskOp) -> Vec<String> {
    let name = |disk: &DiskId| disk.lv_name().unwrap_or_else(|_| "unnamed".parse::<LvName>().expect("a word is a name"));
    let words = |commands: Vec<LvmCommand>| commands.iter().map(|command| command.words(&pool.vg).join(" ")).collect::<Vec<_>>();
    let change = |disk: &DiskId, change| words(vec![LvmCommand::Change { name: name(disk), change }]);
    match op {
        DiskOp::MakePool { size, metadata, chunk, marks } => words(vec![LvmCommand::CreatePool {
            name: pool.pool.clone(),
            size: *size,
            metadata: *metadata,
            chunk: *chunk,
            tags: marks.clone(),
        }]),
        DiskOp::RemoveHalfMadePool { .. } => words(vec![LvmCommand::Remove { names: vec![pool.pool.clone()] }]),
        DiskOp::ActivatePool => words(vec![LvmCommand::Activate { names: vec![pool.pool.clone()] }]),
        DiskOp::Deliver { volume, size, left, marks } => {
            let make = LvmCommand::CreateThin { name: volume.clone(), pool: pool.pool.clone(), size: *size, tags: marks.clone() };
            let remove = LvmCommand::Remove { names: vec![volume.clone()] };
            words([make].into_iter().filter(|_| left.is_none()).chain([remove]).collect())
        }
        DiskOp::BeginRecord { from, to, .. } => {
            let mut lines = vec![format!("begin the record of what was offered, epoch {to}")];
            lines.extend(words(vec![epoch_mark(pool, from, *to)]));
            lines
        }
        DiskOp::RaiseRecord { from, to } => {
            let mut lines = vec![format!("raise the record of what was offered to epoch {to}")];
            lines.extend(words(vec![epoch_mark(pool, from, *to)]));
            lines
        }
        DiskOp::Create { disk, size, marks } => {
            words(vec![LvmCommand::CreateThin { name: name(disk), pool: pool.pool.clone(), size: *size, tags: marks.clone() }])
        }
        DiskOp::Fill { disk, path, format, sha256, .. } => {
            let sha256 = sha256.as_ref().map_or_else(String::new, |sha256| format!(", sha256 {sha256}"));
            vec![format!("fill {}/{} from {path} ({format}{sha256})", pool.vg, name(disk))]
        }
        DiskOp::Seal { disk } => {
            let marks = vec![
                Change::RemoveTag(Mark::FILLING.into()),
                Change::AddTag(Mark::READY.into()),
                Change::AddTag(Mark::tag(Mark::SHA256, "<found>")),
            ];
            let mut lines = change(disk, vec![Change::ReadOnly]);
            lines.extend(change(disk, marks));
            lines
        }
        DiskOp::Clone { disk, base, base_handle, marks } => {
            let mut tags = marks.clone();
            if base_handle.is_none() {
                tags.push(Mark::tag(Mark::BASE, format!("<uuid of {base}>")));
            }
            words(vec![LvmCommand::Snapshot { name: name(disk), origin: name(base), tags }])
        }
        DiskOp::Mark { disk, remove, add, .. } => {
            change(disk, remove.iter().cloned().map(Change::RemoveTag).chain(add.iter().cloned().map(Change::AddTag)).collect())
        }
        DiskOp::Rename { from, to, .. } => words(vec![LvmCommand::Rename { from: name(from), to: name(to) }]),
        DiskOp::Grow { disk, to, .. } => words(vec![LvmCommand::Extend { name: name(disk), size: Bytes(to.0) }]),
        DiskOp::KeepActive { disk, .. } => change(disk, vec![Change::DoNotSkip]),
        DiskOp::Protect { disk, .. } => change(disk, vec![Change::ReadOnly]),
        DiskOp::Activate { disk, .. } => words(vec![LvmCommand::Activate { names: vec![name(disk)] }]),
        DiskOp::Remove { disk, .. } => words(vec![LvmCommand::Remove { names: vec![name(disk)] }]),
    }
}
