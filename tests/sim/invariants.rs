//! What must hold after every effect, whatever goes wrong: the promises, told from what the world itself knows.

use crate::cafe::{ALPHA, Reset, VG};
use crate::machines::Phase;
use crate::world::{Inner, MINUTE, SECOND, Sim};
use barista::host::fake::{Content, VolumeGlance};
use barista::names::{DiskId, Handle, Mark};
use barista::observed::{Observation, parse_offered};
use barista::plan::{Plan, Prepared};
use barista::site::Consent;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How long a machine may fail to reach its disk while nothing is wrong outside.
const PATIENCE: u64 = 15 * MINUTE;

/// How long a machine may wait for a disk while nothing is wrong outside.
const LONGEST_WAIT: u64 = 30 * MINUTE;

/// What the world itself knows.
#[derive(Debug, Default)]
pub struct Truth {
    /// The sources that are whole, by what they hold.
    pub whole: BTreeMap<String, usize>,
    /// Disks that some commit said are kept, by their UUID: machine's card and image's slot.
    pub kept: BTreeMap<String, (usize, usize)>,
    /// Which boot of which machine an operating system used a disk under that is made for one boot.
    pub used: BTreeMap<String, (usize, u64)>,
    /// What a target's name showed first.
    pub shows: BTreeMap<String, String>,
    /// What is not ours.
    pub foreign: BTreeMap<String, VolumeGlance>,
    /// Volumes of a moment ago, by UUID.
    pub volumes: BTreeMap<String, VolumeGlance>,
    /// Versions that were ready, by UUID: what they were filled with.
    pub versions: BTreeMap<String, String>,
    pub apply_began: Option<u64>,
    /// Seats that had a disk.
    pub seats: BTreeSet<(usize, usize)>,
    /// Disks that another tool did away with, or wrote to.
    pub excused: BTreeSet<String>,
}

/// After every effect.
pub fn after_effect(sim: &Sim, effect: &str) {
    let kind = effect.split(' ').next().unwrap_or_default();
    match kind {
        "lvremove" | "lvrename" | "qemu-img" | "blkdiscard" | "lvcreate" | "hand" | "lvchange" => volumes(sim, effect),
        "write" if effect.ends_with("/enable") => target_turned(sim, effect),
        "symlink" if effect.contains("/tpgt_1/lun/") => target_turned(sim, effect),
        _ => {}
    }
    if matches!(kind, "write" | "rmdir" | "unlink") {
        sessions_lost(sim, effect);
    }
}

fn target_of(effect: &str) -> Option<&str> {
    effect.split_once(" iscsi/")?.1.split('/').next()
}

/// Sessions that an effect ended belong to nobody who is at work.
fn sessions_lost(sim: &Sim, effect: &str) {
    let lost = sim.host.take_lost_sessions();
    if lost.is_empty() {
        return;
    }
    let mut inner = sim.lock();
    for lost in lost {
        let is_it = |session: &&crate::world::Session| {
            (&session.target, &session.initiator, &session.isid) == (&lost.target, &lost.initiator, &lost.isid)
        };
        let Some(session) = inner.sessions.iter().find(is_it).cloned() else { continue };
        inner.sessions.retain(|other| other.id != session.id);
        if !session.is_alive {
            continue;
        }
        let began = inner.truth.apply_began.unwrap_or(inner.now);
        // Whoever came after the look that the effect follows from notices a pause; the others nothing.
        if session.since + SECOND < began {
            let (card, target) = (session.card, &session.target);
            inner.breaks(format!("`{effect}` cut the session of machine {card}, which is at work on {target}"));
        }
        inner.notice(session.card);
    }
}

/// A target that is on shows only disks that are on record, each kept disk is shown once, and its name never shows another disk.
fn target_turned(sim: &Sim, effect: &str) {
    let Some(name) = target_of(effect) else { return };
    let Some(target) = sim.host.target(name).filter(|target| target.is_on) else { return };
    let shown: Vec<(u16, String, String)> =
        target.luns.iter().filter_map(|(lun, vg, lv)| Some((*lun, sim.host.volume(vg, lv)?.0, lv.clone()))).collect();
    let record = sim.host.file(&sim.path().join(barista::host::offered::PATH));
    let offered = record.and_then(|bytes| parse_offered(&bytes, None).ok()).map(|known| known.offered);
    for (_, uuid, lv) in &shown {
        // What is older than the record is known not to be clean by its mark.
        let epoch: Option<u64> =
            sim.host.volumes().iter().find(|volume| volume.uuid == *uuid).and_then(|volume| {
                volume.tags.iter().find_map(|tag| tag.strip_prefix(&format!("{}=", Mark::EPOCH))?.parse().ok())
            });
        let is_known = |offered: &barista::observed::Offered| {
            offered.disks.contains_key(&Handle::new(uuid.as_str())) || epoch.is_none_or(|epoch| epoch < offered.begun)
        };
        if !offered.as_ref().is_some_and(is_known) {
            sim.lock().breaks(format!("{name} is on and {lv} is not on record as offered"));
        }
    }
    let system = shown.iter().find(|(lun, _, _)| *lun == 0).map(|(_, uuid, _)| uuid.clone());
    if let Some(uuid) = system {
        let mut inner = sim.lock();
        let before = inner.truth.shows.entry(name.to_owned()).or_insert_with(|| uuid.clone()).clone();
        let has_side = name.rsplit('-').next().is_some_and(|tail| tail.len() == 8) && name.contains('-');
        if before != uuid && has_side {
            inner.breaks(format!("{name} showed disk {before} and shows {uuid} now"));
        }
    }
    let kept: Vec<(String, String)> = {
        let inner = sim.lock();
        shown
            .iter()
            .filter(|(_, uuid, _)| inner.truth.kept.contains_key(uuid))
            .map(|(_, uuid, lv)| (uuid.clone(), lv.clone()))
            .collect()
    };
    if kept.is_empty() {
        return;
    }
    let all = sim.host.targets();
    for (_, lv) in kept {
        let by: Vec<&str> = all
            .iter()
            .filter(|target| target.is_on && target.luns.iter().any(|(_, _, name)| *name == lv))
            .map(|target| target.name.as_str())
            .collect();
        if by.len() > 1 {
            sim.lock().breaks(format!("kept disk {lv} is shown by {by:?}"));
        }
    }
}

/// What became of volumes: nobody's disk went or changed under them, nothing kept went without consent, nothing foreign was touched.
fn volumes(sim: &Sim, effect: &str) {
    let now: BTreeMap<String, VolumeGlance> =
        sim.host.volumes().into_iter().map(|volume| (volume.uuid.clone(), volume)).collect();
    let mut inner = sim.lock();
    let gone: Vec<VolumeGlance> =
        inner.truth.volumes.iter().filter(|(uuid, _)| !now.contains_key(*uuid)).map(|(_, volume)| volume.clone()).collect();
    for volume in &gone {
        if inner.truth.excused.contains(&volume.uuid) {
            continue;
        }
        removed(&mut inner, volume, effect);
    }
    for (uuid, before) in inner.truth.foreign.clone() {
        if inner.truth.excused.contains(&uuid) {
            continue;
        }
        if now.get(&uuid) != Some(&before) {
            inner.breaks(format!("`{effect}` touched {}/{}, which is not ours", before.vg, before.name));
        }
    }
    for card in 0..inner.machines.len() {
        let Some(system) = &inner.machines[card].system else { continue };
        let (disks, target) = (system.disks.clone(), system.target.clone());
        for (_, uuid, content) in disks {
            if let Some(is) = now.get(&uuid)
                && is.content != content
                && !inner.truth.excused.contains(&uuid)
                && effect.contains(&is.name)
            {
                inner.breaks(format!("`{effect}` changed {} under machine {card}, which is at work on {target}", is.name));
            }
        }
    }
    inner.truth.volumes = now;
    versions(sim, &mut inner);
}

/// A volume went.
fn removed(inner: &mut Inner, volume: &VolumeGlance, effect: &str) {
    for card in 0..inner.machines.len() {
        let Some(system) = &inner.machines[card].system else { continue };
        if !system.disks.iter().any(|(_, uuid, _)| *uuid == volume.uuid) {
            continue;
        }
        // The site's `quiet` is a bet, and it may be lost.
        let silent = inner.now.saturating_sub(system.contact);
        let policy = &inner.agent.prepared.desired.policy;
        let needed = if system.was_lost_with_others { policy.outage_quiet } else { policy.quiet };
        let (target, minutes) = (system.target.clone(), silent / MINUTE);
        if u128::from(silent) + 1000 >= needed.duration().as_millis() {
            if let Some(system) = &mut inner.machines[card].system {
                system.is_forfeited = true;
            }
            inner.count("bets lost");
            inner.tell(|| format!("the bet on machine {card} is lost after {minutes} min"));
        } else {
            inner.breaks(format!(
                "`{effect}` destroyed {} under machine {card}, which was last heard {minutes} min ago on {target}",
                volume.name
            ));
        }
    }
    if let Some((card, slot)) = inner.truth.kept.get(&volume.uuid).copied() {
        let given = &inner.agent.prepared.desired.policy.may_destroy;
        let names = inner.cafe.machines[card].iter().chain(&inner.cafe.former[card]).cloned().collect::<Vec<_>>();
        let images =
            std::iter::once(&inner.cafe.images[slot].name).chain(&inner.cafe.images[slot].former).cloned().collect::<Vec<_>>();
        let is_given = given.contains(&Consent::Everything)
            || given.iter().any(|consent| match consent {
                Consent::Clone(machine, image) => {
                    names.iter().any(|name| name == machine.as_str()) && images.iter().any(|name| name == image.as_str())
                }
                _ => false,
            });
        if !is_given {
            inner.breaks(format!("`{effect}` destroyed {}, which is kept, without consent", volume.name));
        }
    }
}

/// A version that is ready holds what its mark says, and that is a source as it was when it was whole.
fn versions(sim: &Sim, inner: &mut Inner) {
    let fills = sim.host.fills();
    let ready: Vec<VolumeGlance> = inner
        .truth
        .volumes
        .values()
        .filter(|volume| {
            volume.name.starts_with("img.")
                && volume.tags.iter().any(|tag| tag == Mark::READY)
                && !inner.truth.excused.contains(&volume.uuid)
                && !inner.truth.foreign.contains_key(&volume.uuid)
        })
        .cloned()
        .collect();
    for volume in ready {
        let Some(fill) = fills.iter().rev().find(|fill| fill.uuid == volume.uuid) else {
            inner.breaks(format!("{} is ready and was never filled", volume.name));
            continue;
        };
        let before = inner.truth.versions.entry(volume.uuid.clone()).or_insert_with(|| fill.sha256.clone()).clone();
        if before != fill.sha256 {
            inner.breaks(format!("{} was ready with other content before", volume.name));
        }
        if !inner.truth.whole.contains_key(&fill.sha256) {
            inner.breaks(format!("{} is ready and holds a part of its source", volume.name));
        }
        let mark = volume.tags.iter().find_map(|tag| tag.strip_prefix(&format!("{}=", Mark::SHA256)).map(str::to_owned));
        if mark.as_deref() != Some(fill.sha256.as_str()) {
            inner.breaks(format!("{} holds {} and its mark says {mark:?}", volume.name, fill.sha256));
        }
    }
}

/// Firmware reached a disk: it is there for it.
pub fn firmware_came(sim: &Sim, card: usize, target: &str) {
    if let Some(glance) = sim.host.target(target)
        && glance.luns.is_empty()
    {
        sim.lock().breaks(format!("machine {card} was told {target}, which shows no disk"));
    }
}

/// An operating system came to a target.
pub fn system_came(sim: &Sim, card: usize, slot: usize, target: &str, disks: &[(u16, String, Content)]) {
    let mut inner = sim.lock();
    let key = (card, inner.machines[card].boot);
    let now: BTreeMap<String, VolumeGlance> =
        sim.host.volumes().into_iter().map(|volume| (volume.uuid.clone(), volume)).collect();
    for (lun, uuid, content) in disks {
        let Some(volume) = now.get(uuid) else { continue };
        let owner = DiskId::of_lv(&volume.name).and_then(|id| id.machine().cloned());
        if let Some(owner) = owner
            && inner.cafe.card(&owner).is_some_and(|of| of != inner.machines[card].seems)
        {
            inner.breaks(format!("machine {card} runs on {}, which is another's", volume.name));
        }
        let is_for_one_boot = volume.tags.iter().any(|tag| tag.starts_with(&format!("{}=", Mark::SIDE)));
        if !is_for_one_boot {
            continue;
        }
        let other = inner.truth.used.get(uuid).filter(|used| **used != key).copied();
        // A session between two looks without a single write leaves nothing, and its machine is on no disk any more.
        if let Some((by, boot)) = other.filter(|(by, _)| *by != card || content.writes > 0) {
            inner.breaks(format!(
                "machine {card} boot {} runs on LUN {lun} of {target}, on which boot {boot} of machine {by} ran",
                key.1
            ));
        } else if content.writes > 0 {
            inner.breaks(format!("machine {card} begins on LUN {lun} of {target}, to which was written"));
        }
        inner.truth.used.insert(uuid.clone(), key);
    }
    if disks.iter().all(|(lun, _, _)| *lun != 0) {
        inner.breaks(format!("machine {card} runs on {target}, which shows no system disk"));
    }
    let is_kept = inner.cafe.images[slot].reset == Reset::Never;
    if is_kept
        && let Some((_, uuid, _)) = disks.first()
        && inner.agent.prepared.desired.storage.is_some()
    {
        let seems = inner.machines[card].seems;
        inner.truth.kept.insert(uuid.clone(), (seems, slot));
    }
    inner.truth.volumes = now;
}

/// A system reached its old target again: its disks are as it left them.
pub fn system_is_back(sim: &Sim, card: usize) {
    let target = match &sim.lock().machines[card].system {
        Some(system) => system.target.clone(),
        None => return,
    };
    let disks = crate::systems::disks_of(sim, &target);
    let mut inner = sim.lock();
    let Some(system) = inner.machines[card].system.clone() else { return };
    for (lun, uuid, content) in &system.disks {
        if inner.truth.excused.contains(uuid) {
            continue;
        }
        match disks.iter().find(|(number, _, _)| number == lun) {
            Some((_, is, now)) if is == uuid && now == content => {}
            Some((_, is, _)) if is != uuid => {
                inner.breaks(format!("LUN {lun} of {target} was disk {uuid} to machine {card} and is {is} now"));
            }
            Some((_, _, now)) => {
                inner.breaks(format!("LUN {lun} of {target} held {content:?} to machine {card} and holds {now:?} now"))
            }
            None => inner.breaks(format!("LUN {lun} of {target} went away under machine {card}")),
        }
    }
}

/// A system does not reach its target: that ends once nothing is wrong outside.
pub fn system_is_lost(sim: &Sim, inner: &mut Inner, card: usize, why: &str) {
    let Some(system) = inner.machines[card].system.clone() else { return };
    let can = inner.server_up && inner.agent.is_up && inner.machines[card].has_link && inner.has_carrier;
    if !can {
        return;
    }
    // What the site's `quiet` gave away.
    let there: BTreeSet<String> = sim.host.volumes().into_iter().map(|volume| volume.uuid).collect();
    if system.disks.iter().any(|(_, uuid, _)| !there.contains(uuid))
        && inner.machines[card].system.as_ref().is_some_and(|system| system.is_forfeited)
    {
        return;
    }
    // A rename goes by the same bet: the disk is there, under its new name.
    let policy = &inner.agent.prepared.desired.policy;
    let needed = if system.was_lost_with_others { policy.outage_quiet } else { policy.quiet };
    let silent = u128::from(inner.now.saturating_sub(system.contact));
    if sim.host.target(&system.target).is_none() && silent + 1000 >= needed.duration().as_millis() {
        inner.count("bets lost");
        if let Some(system) = &mut inner.machines[card].system {
            system.is_forfeited = true;
        }
        return;
    }
    let since = system.lost.unwrap_or(inner.now).max(inner.fine_since).max(inner.agent.since);
    if inner.now.saturating_sub(since) > PATIENCE {
        let target = system.target;
        inner.breaks(format!("machine {card} is at work and does not reach {target} for {} min: {why}", PATIENCE / MINUTE));
    }
}

/// A machine waits: that ends, while nothing is wrong outside.
pub fn waits(inner: &mut Inner, card: usize, since: u64) {
    let fine = inner.fine_since.max(inner.agent.since).max(inner.machines[card].link_since);
    let can = inner.server_up && inner.agent.is_up && inner.machines[card].has_link;
    let why = inner.machines[card].waits.as_ref().map(|(_, why)| why.clone()).unwrap_or_default();
    if why.is_empty() {
        inner.breaks(format!("machine {card} waits and is not told why"));
    }
    // Another machine with its address is at work on its disk.
    let is_double = inner.machines[card].seems != card;
    let is_refused = is_double || why.starts_with("refused") || why == "unknown";
    if why == "Filling" && !inner.copying.is_empty() {
        // Somebody is still copying what its disk is to be made of.
        inner.fine_since = inner.now;
        return;
    }
    if can && !is_refused && inner.now.saturating_sub(since.max(fine)) > LONGEST_WAIT {
        inner.breaks(format!("machine {card} waits for {} min: {why}", LONGEST_WAIT / MINUTE));
    }
}

/// A commit was taken by the agent: what it says is kept is kept from now on.
pub fn commit_taken(sim: &Sim, inner: &mut Inner) {
    for volume in sim.host.volumes().into_iter().filter(|volume| volume.vg == VG) {
        let Some(DiskId::Seat { machine, image, .. }) = DiskId::of_lv(&volume.name) else { continue };
        let (Some(card), Some(slot)) = (inner.cafe.card(&machine), inner.cafe.slot(&image)) else { continue };
        if inner.truth.foreign.contains_key(&volume.uuid) || inner.cafe.images[slot].reset != Reset::Never {
            continue;
        }
        let is_for_one_boot = volume.tags.iter().any(|tag| tag.starts_with(&format!("{}=", Mark::SIDE)));
        let was_last = inner.machines[card].last_used.get(&slot).is_some_and(|used| used.contains(&volume.uuid));
        let is_at_work = inner.machines[card].system.is_some();
        if !is_for_one_boot || was_last && is_at_work && slot == ALPHA {
            inner.truth.kept.insert(volume.uuid, (card, slot));
        }
    }
}

/// A plan was made.
pub fn planned(sim: &Sim, prepared: &Arc<Prepared>, observation: &Observation, plan: &Plan) {
    // The same observation gives the same plan.
    let again = sim.lock().rng.chance(2);
    if again && sim.lock().options.bite.is_none() {
        let twice = barista::plan::compute(prepared, observation, plan.revision.clone(), &barista::plan::Targets::default());
        if twice != *plan {
            sim.lock().breaks("the same observation gave two plans".to_owned());
        }
    }
}

/// A plan was carried out, well or not: a seat that had a disk has one.
pub fn after_apply(sim: &Sim) {
    if sim.host.is_down() {
        return;
    }
    let mut has: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut inner = sim.lock();
    for volume in sim.host.volumes() {
        if let Some(DiskId::Seat { machine, image, .. }) = DiskId::of_lv(&volume.name)
            && let (Some(card), Some(slot)) = (inner.cafe.card(&machine), inner.cafe.slot(&image))
        {
            has.insert((card, slot));
        }
    }
    let wanted: Vec<(usize, usize)> = inner
        .truth
        .seats
        .iter()
        .copied()
        .filter(|(card, slot)| {
            let storage = inner.agent.prepared.desired.storage.as_ref();
            storage.is_some_and(|storage| {
                storage
                    .seats
                    .keys()
                    .any(|seat| inner.cafe.card(&seat.machine) == Some(*card) && inner.cafe.slot(&seat.image) == Some(*slot))
            })
        })
        .collect();
    for seat in wanted {
        if !has.contains(&seat) {
            inner.breaks(format!("the seat of machine {} and image {} had a disk and has none", seat.0, seat.1));
        }
    }
    inner.truth.seats = has;
    if let Some(crash) = sim.host.crashes().first() {
        inner.breaks(format!("`{crash}` would have crashed the kernel"));
    }
}

/// At the end: faults are over, machines are off, nights have passed. Nothing is left to do, and every machine boots.
pub fn at_the_end(sim: &Sim) {
    let last = sim.lock().agent.last.clone();
    let mut inner = sim.lock();
    match last {
        None => inner.breaks("no plan was made at all".to_owned()),
        Some(plan) if !plan.is_converged() => {
            let open: Vec<String> = plan
                .open()
                .map(|change| format!("{:?} {} ({})", change.action, change.subject, barista::plan::reason_text(&change.reason)))
                .collect();
            inner.breaks(format!("a day after the last fault the café does not converge: {}", open.join("; ")));
        }
        Some(_) => {}
    }
    let up = inner.machines.iter().filter(|machine| machine.phase != Phase::Off).count();
    if up > 0 {
        inner.breaks(format!("{up} machines are not off"));
    }
}
