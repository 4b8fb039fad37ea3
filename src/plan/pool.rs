//! The thin pool: making it, keeping its record, and whether anything may be made in it.

use super::builder::{Intent, PlanBuilder, Work};
use super::context::Context;
use super::{Action, DiskOp, Hidden, Hold, PoolProblem, PortalGroup, Purpose, Reason, ShownTogether, Subject};
use crate::desired::Backing;
use crate::names::{Bytes, Handle, LvName, Mark, PoolSize, SiteName};
use crate::observed::{DevicesFile, Hundredths, Lv, LvKind, Vg, epoch_of, epochs_of, server_boot};
use std::time::Duration;

/// Smallest chunk of a thin pool, and the right one for many snapshots: the first write to a shared chunk copies all of it.
const CHUNK: u64 = 64 << 10;

/// What 64 KiB chunks can address is 15.88 TiB; above this the chunk doubles.
const CHUNK_COVERS: u64 = 15 << 40;

/// Metadata per chunk (thin-provisioning.rst: 48 bytes a mapping), with a third more for the roots of many snapshots.
const METADATA_PER_CHUNK: u64 = 64;
const METADATA_SMALLEST: u64 = 4 << 20;
const METADATA_LARGEST: u64 = 15 << 30;

/// Text metadata of one tagged thin snapshot; LVM's area is fixed when the volume group is made.
const VG_METADATA_PER_VOLUME: u64 = 800;

/// The volume that is made and removed to have LVM talk to the pool.
const MESSENGER: &str = "barista.messenger";

/// How full the pool's metadata may be before nothing new is made: full metadata needs offline repair.
const METADATA_FULL: Hundredths = Hundredths(90_00);

/// How long an epoch of the record of what was offered lasts: a backup of the record that is older is known by it.
const EPOCH_LASTS: Duration = Duration::from_secs(24 * 3600);

/// What may be done in the pool, decided once for the whole plan.
pub(super) struct PoolState {
    /// Why no disk may be made, if none may.
    pub no_new: Option<Hold>,
    /// Why no disk may be touched at all, if none may.
    pub no_touch: Option<Hold>,
    /// The change that makes the pool or begins its record, which everything new in it comes after.
    pub made_by: Option<Subject>,
    /// Whether it is there and whole already.
    pub is_there: bool,
    /// Free bytes above the reserve, while known.
    pub spare: Option<Bytes>,
    /// The epoch of the record of what was offered in which new disks are made.
    pub epoch: u64,
    /// The number of the record of what is offered next.
    pub after: u64,
}

pub(super) fn subject(context: &Context<'_>) -> Subject {
    Subject::Pool { name: context.path(context.storage.pool()) }
}

pub(super) fn plan_pool(context: &Context<'_>, builder: &mut PlanBuilder) -> PoolState {
    let storage = context.storage;
    let path = context.path(storage.pool());
    let mut state = PoolState { no_new: None, no_touch: None, made_by: None, is_there: false, spare: None, epoch: 0, after: 0 };
    let held = |problem: PoolProblem| Some(Hold::Pool { problem });
    let Backing::Thin { create_pool, .. } = &storage.backing;
    let there = context.vg.lvs.get(storage.pool().as_str());
    let mut ops = Vec::new();
    let mut reason = Reason::Wanted;
    let mut detail = String::new();
    let whole = there.filter(|lv| !is_half_made_pool(lv, &context.desired.site));
    state.is_there = whole.is_some();
    match (whole.map(|lv| (lv, &lv.kind)), create_pool) {
        (None, Some(share)) if !storage.versions.is_empty() => {
            let made = new_pool(context, *share, there);
            if made.size.0 < context.vg.extent.0.max(1) {
                let problem = PoolProblem::NoRoom { group: storage.vg().to_string(), free: made.free.rounded().to_string() };
                state.no_new = held(problem);
            }
            detail =
                format!("{} of {} free, chunks of {}", made.size.rounded(), made.free.rounded(), Bytes(CHUNK.max(made.chunk.0)));
            if there.is_some() {
                reason = Reason::CutOff;
            }
            state.spare = Some(made.size);
            ops.extend(made.ops);
        }
        (None, Some(_)) => return state,
        (None, None) => {
            state.no_touch = held(PoolProblem::NoPool { pool: path });
            return state;
        }
        (Some((lv, LvKind::ThinPool { data, metadata, needs_check, health, .. })), _) => {
            if *needs_check || matches!(health.as_str(), "failed" | "metadata_read_only") {
                let sick = if *needs_check { "needs check" } else { health.as_str() };
                state.no_touch = held(PoolProblem::Sick { pool: path, state: sick.to_owned() });
                return state;
            }
            match (data, metadata) {
                (Some(data), Some(metadata)) => {
                    let floor = u32::from(100 - storage.reserve.get()) * 100;
                    let spare = u128::from(lv.size.0) * u128::from(floor.saturating_sub(data.0)) / 10_000;
                    state.spare = Some(Bytes(spare as u64));
                    if health == "out_of_data" || data.0 > floor {
                        state.no_new = held(PoolProblem::Full { pool: path, data: data.0, reserve: storage.reserve.get() });
                    } else if *metadata > METADATA_FULL {
                        state.no_new = held(PoolProblem::MetadataFull { pool: path, metadata: metadata.0 / 100 });
                    }
                }
                _ if !storage.versions.is_empty() => {
                    ops.push(DiskOp::ActivatePool);
                    reason = Reason::Inactive;
                    state.no_new = held(PoolProblem::WasInactive { pool: path });
                }
                _ => {}
            }
        }
        (Some(_), _) => {
            state.no_touch = Some(Hold::Foreign { what: format!("a volume {path} that is no thin pool") });
            return state;
        }
    }
    plan_record(context, whole, &mut state, &mut ops, &mut reason);
    if !ops.is_empty() {
        let makes = ops.iter().any(|op| matches!(op, DiskOp::MakePool { .. }));
        let action = if makes { Action::Create } else { Action::Alter };
        let mut intent = Intent::new(action, detail, reason, Work::Pool(ops));
        if intent.reason == Reason::OldEpoch {
            intent = intent.upkeep();
        }
        if makes && let Some(hold) = state.no_new.clone() {
            intent.hold(hold);
        }
        let only_raises =
            matches!(&intent.work, Work::Pool(ops) if ops.iter().all(|op| matches!(op, DiskOp::RaiseRecord { .. })));
        builder.add(subject(context), intent);
        state.made_by = Some(subject(context)).filter(|_| !only_raises);
    }
    state
}

/// Begins the record of what was offered where there is none that goes with this pool: nothing that is there is clean by the new one.
fn plan_record(context: &Context<'_>, pool: Option<&Lv>, state: &mut PoolState, ops: &mut Vec<DiskOp>, reason: &mut Reason) {
    let mark = pool.and_then(|pool| epoch_of(&pool.tags));
    if let Some(offered) = context.offered {
        (state.epoch, state.after) = (offered.epoch, offered.next);
        let observation = context.observation;
        let is_current =
            offered.server_boot == server_boot(&observation.boot_id) && observation.now.since(offered.since) < EPOCH_LASTS;
        // A raise that was cut off between the record and the pool's mark is finished before there is another.
        let lags = mark.is_some_and(|mark| mark < offered.epoch);
        if (!is_current || lags) && pool.is_some() {
            if ops.is_empty() {
                *reason = Reason::OldEpoch;
            }
            // What this plan makes is of the epoch before, so that nobody's disk waits for this.
            ops.push(DiskOp::RaiseRecord { from: mark, to: state.epoch + u64::from(!lags) });
        }
        return;
    }
    // No disk that is there is of an epoch that this record will come to.
    let marks = pool.into_iter().chain(context.vg.lvs.values()).flat_map(|lv| epochs_of(&lv.tags));
    let known = context.observation.offered.present().map_or(0, |offered| offered.epoch).max(marks.max().unwrap_or(0));
    let to = known + 1;
    state.epoch = to;
    if context.storage.seats.is_empty() && pool.is_some() {
        return;
    }
    if ops.is_empty() {
        *reason = Reason::NoRecord;
    }
    let handle = pool.map(|pool| Handle::new(&*pool.uuid));
    let (store, shown) = (context.stock.store.clone(), shown_together(context));
    let from = pool.map(|pool| epochs_of(&pool.tags).collect()).unwrap_or_default();
    ops.push(DiskOp::BeginRecord { from, to, store, pool: handle, shown });
}

/// Targets that show disks of every boot beside those of one.
fn shown_together(context: &Context<'_>) -> Vec<ShownTogether> {
    let shown = context.exports.targets.values().filter(|target| target.portal_group == PortalGroup::On).filter_map(|target| {
        let disks = target.luns.values().flatten().filter_map(|id| context.stock.disks.get(id));
        let (own, kept): (Vec<_>, Vec<_>) = disks.partition(|disk| disk.marks.side.is_some());
        let disks: Vec<Handle> = own.iter().chain(&kept).map(|disk| disk.handle.clone()).collect();
        (!own.is_empty() && !kept.is_empty()).then(|| ShownTogether { machine: target.id.machine.clone(), disks })
    });
    shown.collect()
}

/// Whether this is all that `lvcreate --type thin-pool` came to before it was cut off: LVM first commits the pool's metadata, as a
/// plain volume with the pool's name and tags, and turns that into a pool with its next commit. There is nothing in it.
pub fn is_half_made_pool(lv: &Lv, site: &SiteName) -> bool {
    matches!(&lv.kind, LvKind::Other(segment) if segment == "linear" || segment == "striped")
        && lv.tags.contains(Mark::OURS)
        && lv.tags.contains(&Mark::tag(Mark::SITE, site))
        && lv.size.0 <= METADATA_LARGEST
        && !lv.open
}

/// Has LVM hand its pool what it still keeps for it, where a volume of it is to be activated. LVM writes a new volume down before it
/// has the kernel make it; cut off in between, it refuses to activate the volume ("No data available") until it makes or removes
/// another one. So one is made and removed.
pub(super) fn plan_delivery(context: &Context<'_>, pool: &PoolState, builder: &mut PlanBuilder) {
    let Ok(volume) = MESSENGER.parse::<LvName>() else { return };
    let there = context.vg.lvs.get(MESSENGER);
    let ours = Mark::tag(Mark::SITE, &context.desired.site);
    let left = there.filter(|lv| lv.tags.contains(Mark::OURS) && lv.tags.contains(&ours)).map(|lv| Handle::new(&*lv.uuid));
    let activates = |op: &DiskOp| matches!(op, DiskOp::Activate { .. });
    let wakes = builder.intents.values().any(|intent| match &intent.work {
        Work::Show(_, ops, _) | Work::ShowAnew(_, _, ops, _) | Work::Alter(ops) => intent.is_open() && ops.iter().any(activates),
        _ => false,
    });
    let may_make = pool.no_new.is_none() && pool.is_there && (there.is_none() || left.is_some());
    if pool.no_touch.is_some() || !(left.is_some() || wakes && may_make) {
        return;
    }
    let size = Bytes(context.vg.extent.0);
    let op = DiskOp::Deliver { volume, size, left, marks: vec![Mark::OURS.to_owned(), ours] };
    match builder.intents.get_mut(&subject(context)) {
        Some(Intent { work: Work::Pool(ops), reason, purpose, .. }) => {
            let is_first = |op: &&DiskOp| matches!(op, DiskOp::ActivatePool);
            ops.insert(ops.iter().take_while(is_first).count(), op);
            if *reason == Reason::OldEpoch {
                (*reason, *purpose) = (Reason::Pending, Purpose::Site);
            }
        }
        Some(_) => {}
        None => builder.add(subject(context), Intent::new(Action::Alter, "", Reason::Pending, Work::Pool(vec![op]))),
    }
}

/// Warns while there is still room: the area cannot be made larger in place.
pub(super) fn note_vg_metadata(vg: &Vg, builder: &mut PlanBuilder) {
    // LVM writes the new text beside the old one, so half of the area is what volumes can use.
    let usable = vg.metadata_size.0 / 2;
    if vg.metadata_free.0 * 5 < usable {
        let free = vg.metadata_free.rounded();
        let message = format!(
            "its metadata area has {free} left, enough for about {} volumes",
            vg.metadata_free.0 / VG_METADATA_PER_VOLUME
        );
        builder.note(format!("volume group {}", vg.name), message);
    }
}

/// Says before it is met that the volume group's own metadata will not hold so many volumes.
pub(super) fn gate_vg_metadata(context: &Context<'_>, volumes: u64) -> Option<Hold> {
    let free = context.vg.metadata_free;
    (volumes > 0 && volumes.saturating_mul(VG_METADATA_PER_VOLUME) > free.0).then(|| Hold::Pool {
        problem: PoolProblem::MetadataArea { group: context.storage.vg().to_string(), free: free.rounded().to_string(), volumes },
    })
}

/// There is no such volume group.
pub(super) fn no_group(storage: &crate::desired::Storage, devices_file: DevicesFile) -> Hold {
    let hidden = match devices_file {
        DevicesFile::InUse => Hidden::Possibly,
        DevicesFile::None => Hidden::No,
    };
    Hold::Pool { problem: PoolProblem::NoGroup { group: storage.vg().to_string(), hidden } }
}

struct NewPool {
    ops: Vec<DiskOp>,
    size: Bytes,
    free: Bytes,
    chunk: Bytes,
}

fn new_pool(context: &Context<'_>, share: PoolSize, half_made: Option<&Lv>) -> NewPool {
    let free = Bytes(context.vg.free.0 + half_made.map_or(0, |lv| lv.size.0));
    let extent = context.vg.extent.0.max(1);
    let down = |bytes: u64| bytes / extent * extent;
    let up = |bytes: u64| bytes.div_ceil(extent) * extent;
    let wanted = share.of(free).0;
    let mut chunk = CHUNK;
    while wanted / (chunk / CHUNK) > CHUNK_COVERS {
        chunk *= 2;
    }
    let metadata = up((wanted / chunk * METADATA_PER_CHUNK).clamp(METADATA_SMALLEST, METADATA_LARGEST));
    // LVM keeps a spare of the same size for repairs.
    let size = Bytes(down(wanted.min(free.0.saturating_sub(2 * metadata))));
    let marks = vec![Mark::OURS.to_owned(), Mark::tag(Mark::SITE, &context.desired.site)];
    let mut ops: Vec<DiskOp> = half_made.iter().map(|lv| DiskOp::RemoveHalfMadePool { handle: Handle::new(&*lv.uuid) }).collect();
    ops.push(DiskOp::MakePool { size, metadata: Bytes(metadata), chunk: Bytes(chunk), marks });
    NewPool { ops, size, free, chunk: Bytes(chunk) }
}
