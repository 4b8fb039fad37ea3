//! The thin pool: making it, and whether anything may be made in it.

use super::context::{Context, bears_marks};
use super::draft::{Draft, Drafted};
use super::op::Op;
use super::version::words;
use super::{Action, Hold, Subject};
use crate::desired::Mark;
use crate::names::{Bytes, LvName, Share, SiteName};
use crate::observed::{Hundredths, Lv, LvKind, Vg};

/// Smallest chunk of a thin pool, and the right one for many snapshots: the first write to a shared chunk copies all of it.
const CHUNK: u64 = 64 << 10;

/// What 64 KiB chunks can address is 15.88 TiB; above this the chunk doubles.
const CHUNK_COVERS: u64 = 15 << 40;

/// Metadata per chunk (thin-provisioning.rst: 48 bytes a mapping), with a third more for the roots of many snapshots.
const METADATA_PER_CHUNK: u64 = 64;
const METADATA_SMALLEST: u64 = 4 << 20;
const METADATA_LARGEST: u64 = 15 << 30;

/// Text metadata of one tagged thin snapshot; LVM's area is fixed when the volume group is made.
const VG_METADATA_PER_VOLUME: u64 = 700;

/// The volume that is made and removed to have LVM talk to the pool.
const MESSENGER: &str = "barista.messenger";

/// How full the pool's metadata may be before nothing new is made: full metadata needs offline repair.
const METADATA_FULL: Hundredths = Hundredths(90_00);

/// What may be done in the pool, decided once for the whole plan.
pub(super) struct Pool {
    /// Why no volume may be made, if none may.
    pub no_new: Option<Hold>,
    /// Why no volume may be touched at all, if none may.
    pub no_touch: Option<Hold>,
    /// The change that makes the pool, which everything in it comes after.
    pub made_by: Option<Subject>,
    /// Whether discards reach the pool.
    pub discards: bool,
    /// Free bytes above the reserve, while known.
    pub spare: Option<Bytes>,
}

pub(super) fn plan_pool(context: &Context<'_>, draft: &mut Draft) -> Pool {
    let storage = context.storage;
    let path = context.path(&storage.pool);
    let mut pool = Pool { no_new: None, no_touch: None, made_by: None, discards: true, spare: None };
    let held = |reason: String| Some(Hold::Pool { reason });
    let there = context.vg.lvs.get(storage.pool.as_str());
    let Some(lv) = there.filter(|lv| !is_half_made_pool(lv, &context.desired.site)) else {
        match storage.create_pool {
            Some(share) if !storage.versions.is_empty() => plan_new_pool(context, draft, share, there, &mut pool),
            Some(_) => {}
            None => {
                pool.no_touch = held(format!("there is no thin pool {path}; make it, or set create-pool = true under [storage]"));
            }
        }
        return pool;
    };
    let LvKind::ThinPool { data, metadata, needs_check, health, discards, .. } = &lv.kind else {
        pool.no_touch = Some(Hold::Foreign { what: format!("a volume {path} that is no thin pool") });
        return pool;
    };
    pool.discards = discards != "ignore";
    if *needs_check || matches!(health.as_str(), "failed" | "metadata_read_only") {
        let state = if *needs_check { "needs check" } else { health.as_str() };
        pool.no_touch =
            held(format!("thin pool {path} is in state \"{state}\"; deactivate it and run lvconvert --repair {path}"));
        return pool;
    }
    match (data, metadata) {
        (Some(data), Some(metadata)) => {
            let floor = u32::from(100 - storage.reserve.get()) * 100;
            pool.spare = Some(Bytes((u128::from(lv.size.0) * u128::from(floor.saturating_sub(data.0)) / 10_000) as u64));
            if health == "out_of_data" || data.0 > floor {
                pool.no_new = held(format!(
                    "thin pool {path} is {}.{:02} % full and the site reserves {}; remove something or lvextend it",
                    data.0 / 100,
                    data.0 % 100,
                    storage.reserve
                ));
            } else if *metadata > METADATA_FULL {
                pool.no_new = held(format!(
                    "the metadata of thin pool {path} is {} % full; lvextend --poolmetadatasize +1G {path}",
                    metadata.0 / 100
                ));
            }
        }
        _ if !storage.versions.is_empty() => {
            let mut change = Drafted::new(Action::Alter, "activate", "it is inactive, and nobody can tell how full it is");
            change.work.early.push(Op::Run(words(&["lvchange", "-ay", &path])));
            draft.add(Subject::Pool(storage.vg.clone(), storage.pool.clone()), change);
            pool.no_new = held(format!("thin pool {path} was inactive; how full it is shows once it is active"));
        }
        _ => {}
    }
    pool
}

/// Whether this is all that `lvcreate --type thin-pool` came to before it was cut off: LVM first commits the pool's metadata, as a
/// plain volume with the pool's name and tags, and turns that into a pool with its next commit. There is nothing in it.
pub fn is_half_made_pool(lv: &Lv, site: &SiteName) -> bool {
    matches!(&lv.kind, LvKind::Other(segment) if segment == "linear" || segment == "striped")
        && bears_marks(lv, &Mark::tag(Mark::SITE, site))
        && lv.size.0 <= METADATA_LARGEST
        && !lv.open
}

/// Has LVM hand its pool what it still keeps for it, where a volume of it is to be activated. LVM writes a new volume down before it
/// has the kernel make it; cut off in between, it refuses to activate the volume ("No data available") until it makes or removes
/// another one. So one is made and removed.
pub(super) fn plan_delivery(context: &Context<'_>, pool: &Pool, draft: &mut Draft) {
    let storage = context.storage;
    let Ok(name) = MESSENGER.parse::<LvName>() else { return };
    let subject = Subject::Pool(storage.vg.clone(), storage.pool.clone());
    let is_left = context.our(&name).is_some();
    let wakes = draft.changes.values().any(|change| change.is_open() && !change.work.activates.is_empty());
    let may_make = pool.no_new.is_none() && pool.made_by.is_none() && context.foreign(&name).is_none();
    if pool.no_touch.is_some() || draft.changes.contains_key(&subject) || !(is_left || wakes && may_make) {
        return;
    }
    let reason = "a volume is inactive, as one is whose making was cut off";
    let mut change = Drafted::new(Action::Alter, "have LVM hand over what it kept for it", reason);
    let (path, size, ours) =
        (context.path(&name), format!("{}b", context.vg.extent.0), Mark::tag(Mark::SITE, &context.desired.site));
    let make = ["lvcreate", "-y", "-V", &size, "-T", &context.path(&storage.pool), "-n", MESSENGER];
    let make = [&make[..], &["--addtag", Mark::OURS, "--addtag", &ours]].concat();
    let commands = [&make[..], &["lvremove", "-f", "-y", &path]];
    change.work.early.extend(commands.into_iter().skip(usize::from(is_left)).map(|command| Op::Run(words(command))));
    draft.add(subject, change);
}

/// Warns while there is still room: the area cannot be made larger in place.
pub(super) fn note_vg_metadata(vg: &Vg, draft: &mut Draft) {
    // LVM writes the new text beside the old one, so half of the area is what volumes can use.
    let usable = vg.metadata_size.0 / 2;
    if vg.metadata_free.0 * 5 < usable {
        let free = vg.metadata_free.rounded();
        let message = format!(
            "its metadata area has {free} left, enough for about {} volumes",
            vg.metadata_free.0 / VG_METADATA_PER_VOLUME
        );
        draft.note(format!("volume group {}", vg.name), message);
    }
}

/// Says before it is met that the volume group's own metadata will not hold so many volumes.
pub(super) fn gate_vg_metadata(context: &Context<'_>, new_volumes: u64) -> Option<Hold> {
    let free = context.vg.metadata_free.0;
    (new_volumes > 0 && new_volumes.saturating_mul(VG_METADATA_PER_VOLUME) > free).then(|| Hold::Pool {
        reason: format!(
            "volume group {} has {} of metadata area free, too little for {new_volumes} more volumes; \
             make the group with vgcreate --metadatasize 16m or larger",
            context.storage.vg,
            context.vg.metadata_free.rounded()
        ),
    })
}

fn plan_new_pool(context: &Context<'_>, draft: &mut Draft, share: Share, half_made: Option<&Lv>, pool: &mut Pool) {
    let storage = context.storage;
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
    let size = down(wanted.min(free.0.saturating_sub(2 * metadata)));
    let subject = Subject::Pool(storage.vg.clone(), storage.pool.clone());
    let mut change = Drafted::new(
        Action::Create,
        format!("{} of {} free, chunks of {}", Bytes(size).rounded(), free.rounded(), Bytes(chunk)),
        if half_made.is_some() {
            "making it was cut off before there was anything in it, and create-pool is true"
        } else {
            "it is absent and create-pool is true"
        },
    );
    if size < extent {
        change.hold(Hold::Pool {
            reason: format!("volume group {} has {} free, too little for a thin pool", storage.vg, free.rounded()),
        });
    }
    let make = [
        "lvcreate",
        "-y",
        "--type",
        "thin-pool",
        "-L",
        &format!("{size}b"),
        "--poolmetadatasize",
        &format!("{metadata}b"),
        "-c",
        &format!("{chunk}b"),
        "-Z",
        "y",
        "--discards",
        "passdown",
        "-n",
        storage.pool.as_str(),
        "--addtag",
        Mark::OURS,
        "--addtag",
        &Mark::tag(Mark::SITE, &context.desired.site),
        storage.vg.as_str(),
    ];
    if half_made.is_some() {
        let path = context.path(&storage.pool);
        change.work.early.push(Op::Run(words(&["lvremove", "-f", "-y", &path])));
    }
    change.work.early.push(Op::Run(words(&make)));
    draft.add(subject.clone(), change);
    pool.made_by = Some(subject);
    pool.spare = Some(Bytes(size));
}
