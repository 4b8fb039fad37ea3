//! One machine's volumes, backstores and targets together: what comes down, what changes beneath, what goes up.
//!
//! **Invariant:** everything that would disturb a running machine hangs on one teardown, which is held as a whole while
//! the seat is in use and checks once more that it is not before it begins.

use super::clone::{Fate, Fates};
use super::context::{Context, tag};
use super::draft::{Draft, Drafted};
use super::gather::{Seat, for_each_seat};
use super::in_use::sign_of_use;
use super::lio::{
    Numbers, backstore_matches, backstore_ops, backstore_teardown, is_our_backstore, target_difference, target_ops,
    target_teardown,
};
use super::op::Op;
use super::pool::Pool;
use super::render::counted;
use super::version::words;
use super::{Action, Disruption, Hold, Subject};
use crate::desired::{self, Login, Mark};
use crate::names::{Iqn, LvName, MachineName};
use crate::observed::Seen;
use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};

/// What of it comes down, the paths of the backstores that stay, by name, and what is to become of its volumes.
struct Down<'a> {
    targets: BTreeMap<&'a str, String>,
    backstores: BTreeSet<&'a str>,
    staying: BTreeMap<&'a str, &'a str>,
    actions: BTreeMap<LvName, Action>,
}

pub(super) fn plan_seats(
    context: &Context<'_>,
    pool: &Pool,
    fates: BTreeMap<MachineName, Fates>,
    kernel: Option<&Subject>,
    draft: &mut Draft,
) {
    let mut numbers = Numbers::new(context);
    for_each_seat(context, fates, |seat, own| plan_seat(context, pool, seat, own, kernel, &mut numbers, draft));
}

fn plan_seat(
    context: &Context<'_>,
    pool: &Pool,
    seat: &Seat<'_>,
    mut fates: Fates,
    kernel: Option<&Subject>,
    numbers: &mut Numbers,
    draft: &mut Draft,
) {
    // Most seats are as they should be, and nobody asks whether those are in use.
    if fates.is_empty() && stands(context, pool, seat) {
        return;
    }
    let in_use = LazyCell::new(|| sign_of_use(context, &seat.machine));
    for (name, fate) in &mut fates {
        if in_use.as_ref().is_some_and(|sign| withhold(&seat.machine, sign, fate)) {
            let label = name.as_str().trim_start_matches("seat.").trim_end_matches(".a");
            draft.due.insert(label.to_owned());
        }
    }
    let blocked = block_targets(context, seat, &mut fates);
    let down = decide_down(context, pool, seat, &fates, &blocked);
    let mut changes = down_changes(context, seat, &down, &fates);
    changes.extend(fates.into_iter().filter_map(|(name, fate)| match fate {
        Fate::Change(change) => Some((Subject::Volume(context.storage.vg.clone(), name), *change)),
        Fate::Keep => None,
    }));
    changes.extend(build_targets(context, pool, seat, &down, &blocked, kernel, numbers));
    let disturbs = |subject: &Subject, change: &Drafted| match subject {
        Subject::Volume(..) => matches!(change.action, Action::Remove | Action::Replace | Action::Rename),
        _ => change.disruption != Disruption::None,
    };
    for (_, change) in changes.iter_mut().filter(|(subject, change)| disturbs(subject, change)) {
        if let Some(sign) = in_use.as_ref() {
            change.hold(Hold::InUse { machine: seat.machine.clone(), sign: sign.clone() });
        }
    }
    let leader =
        changes.iter_mut().find(|(subject, change)| change.is_open() && disturbs(subject, change)).map(|(subject, change)| {
            change.work.teardown = teardown_ops(seat, &down);
            change.work.admits = admit_use(context, &down, seat);
            subject.clone()
        });
    for (subject, mut change) in changes {
        if leader.as_ref().is_some_and(|leader| *leader != subject) && disturbs(&subject, &change) {
            change.after.extend(leader.clone());
        }
        draft.add(subject, change);
    }
}

/// Whether everything that the site wants of a seat is there and nothing else, and nothing of it waits.
fn stands(context: &Context<'_>, pool: &Pool, seat: &Seat<'_>) -> bool {
    let is_wanted_there = |(name, wanted): (&&Iqn, &&desired::Target)| {
        seat.targets.contains_key(name.as_str()) && secret_missing(context, wanted).is_none()
    };
    seat.wanted.iter().all(is_wanted_there) && portal_taken(context).is_none() && {
        let down = decide_down(context, pool, seat, &Fates::new(), &BTreeMap::new());
        down.targets.is_empty() && down.backstores.is_empty()
    }
}

/// Targets that could not be put up again if they were taken down, and why: they stay as they are, and so does what they
/// show.
fn block_targets<'a>(context: &Context<'_>, seat: &Seat<'a>, fates: &mut Fates) -> BTreeMap<&'a str, Hold> {
    let mut blocked = BTreeMap::new();
    for (name, wanted) in &seat.wanted {
        let missing =
            wanted.luns.values().find(|backstore| fates.get(&backstore.volume).is_some_and(|fate| !fate.leaves_volume()));
        let hold = missing
            .map(|backstore| Hold::After {
                subject: Subject::Volume(context.storage.vg.clone(), backstore.volume.clone()).to_string(),
            })
            .or_else(|| wanted.luns.values().find_map(|backstore| shown_elsewhere(context, &backstore.volume)))
            .or_else(|| portal_taken(context))
            .or_else(|| secret_missing(context, wanted));
        let Some(hold) = hold else { continue };
        for backstore in wanted.luns.values() {
            if let Some(Fate::Change(change)) = fates.get_mut(&backstore.volume).filter(|fate| fate.takes_volume_away()) {
                change.hold(Hold::After { subject: Subject::Target(name.to_string()).to_string() });
            }
        }
        blocked.insert(name.as_str(), hold);
    }
    blocked
}

/// Keeps the hands off a volume whose seat is in use. A renewal that is only due because the seat was used is not even
/// pending: it is due when the machine is off; true for such a one.
fn withhold(machine: &MachineName, sign: &str, fate: &mut Fate) -> bool {
    let Fate::Change(change) = fate else { return false };
    if !matches!(change.action, Action::Replace | Action::Remove | Action::Rename) {
        return false;
    }
    if change.work.is_renewal {
        *fate = Fate::Keep;
        return true;
    }
    change.hold(Hold::InUse { machine: machine.clone(), sign: sign.to_owned() });
    false
}

fn decide_down<'a>(
    context: &Context<'a>,
    pool: &Pool,
    seat: &Seat<'a>,
    fates: &Fates,
    blocked: &BTreeMap<&str, Hold>,
) -> Down<'a> {
    let wanted = |name: &str| seat.wanted.values().flat_map(|target| target.luns.values()).find(|lun| lun.name == name);
    let actions = fates.iter().filter_map(|(name, fate)| Some((name.clone(), fate.change()?.action))).collect();
    let mut down = Down { targets: BTreeMap::new(), backstores: BTreeSet::new(), staying: BTreeMap::new(), actions };
    let standing =
        seat.targets.iter().filter(|(name, _)| blocked.contains_key(*name)).flat_map(|(_, target)| target.tpgs.values());
    let held_up: BTreeSet<&str> =
        standing.flat_map(|tpg| tpg.luns.values()).filter_map(|lun| lun.link.as_ref()).map(|(_, path)| path.as_str()).collect();
    for (path, backstore) in &seat.backstores {
        let name = path.split_once('/').map_or("", |(_, name)| name);
        if held_up.contains(*path) {
            continue;
        }
        let stays = wanted(name).is_some_and(|wanted| {
            let device = backstore.device.filter(|device| context.devices.get(device) == Some(&wanted.volume.as_str()));
            let taken_away = fates.get(&wanted.volume).is_some_and(Fate::takes_volume_away);
            !taken_away && backstore_matches(backstore, wanted, device, pool.discards, &context.mark)
        });
        if stays && !down.staying.contains_key(name) {
            down.staying.insert(name, path);
        } else {
            down.backstores.insert(path);
        }
    }
    for (name, target) in seat.targets.iter().filter(|(name, _)| !blocked.contains_key(*name)) {
        let difference = match seat.wanted.iter().find(|(wanted, _)| wanted.as_str() == *name) {
            Some((_, wanted)) => target_difference(context, target, wanted, &down.staying),
            None => Some("the site no longer has it".to_owned()),
        };
        if let Some(difference) = difference {
            down.targets.insert(name, difference);
        }
    }
    down
}

/// The changes that remove what nothing will stand for again.
fn down_changes(context: &Context<'_>, seat: &Seat<'_>, down: &Down<'_>, fates: &Fates) -> Vec<(Subject, Drafted)> {
    let mut changes = Vec::new();
    for (name, difference) in &down.targets {
        if seat.wanted.keys().any(|wanted| wanted.as_str() == *name) {
            continue;
        }
        let change =
            Drafted::new(Action::Remove, seat.machine.to_string(), difference.clone()).disrupting(Disruption::DropsSession);
        changes.push((Subject::Target((*name).to_owned()), change));
    }
    let explained = !changes.is_empty() || fates.values().any(Fate::takes_volume_away);
    for path in &down.backstores {
        let name = path.split_once('/').map_or("", |(_, name)| name);
        let wanted = seat.wanted.values().flat_map(|target| target.luns.values()).any(|backstore| backstore.name == name);
        if explained || wanted {
            continue;
        }
        let change = Drafted::new(Action::Remove, backstore_label(context, name), "nothing of the site shows it")
            .disrupting(Disruption::DropsSession);
        changes.push((Subject::Backstore((*path).to_owned()), change));
    }
    changes
}

fn backstore_label(context: &Context<'_>, name: &str) -> String {
    name.strip_prefix(&format!("{}.", context.desired.site)).unwrap_or(name).to_owned()
}

fn teardown_ops(seat: &Seat<'_>, down: &Down<'_>) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    for (name, target) in &seat.targets {
        for (initiator, acl) in target.tpgs.values().flat_map(|tpg| &tpg.acls) {
            ops.push(Op::RequireIdle {
                machine: seat.machine.clone(),
                target: (*name).to_owned(),
                initiator: initiator.clone(),
                commands: acl.luns.values().map(|map| map.commands).sum(),
            });
        }
    }
    ops.extend(down.targets.keys().flat_map(|name| target_teardown(name, seat.targets[name])));
    ops.extend(down.backstores.iter().flat_map(|path| backstore_teardown(path)));
    ops
}

/// Takes the witness "made in this boot" off a used clone before its counters go: should the run be cut off in between, the
/// next one would take it for unused.
fn admit_use(context: &Context<'_>, down: &Down<'_>, seat: &Seat<'_>) -> Vec<Vec<String>> {
    let used = down.backstores.iter().filter_map(|path| seat.backstores.get(path)).filter(|backstore| backstore.commands > 0);
    let mut commands = Vec::new();
    for backstore in used {
        let volume = backstore.device.and_then(|device| context.devices.get(&device));
        if let Some((name, made)) = volume.and_then(|name| Some((*name, tag(context.ours.get(name)?, Mark::MADE)?))) {
            commands.push(words(&["lvchange", "-y", "--deltag", &Mark::tag(Mark::MADE, made), &context.path(name)]));
        }
    }
    commands
}

fn build_targets(
    context: &Context<'_>,
    pool: &Pool,
    seat: &Seat<'_>,
    down: &Down<'_>,
    blocked: &BTreeMap<&str, Hold>,
    kernel: Option<&Subject>,
    numbers: &mut Numbers,
) -> Vec<(Subject, Drafted)> {
    let mut builds = Vec::new();
    let mut paths: BTreeMap<String, String> =
        down.staying.iter().map(|(name, path)| ((*name).to_owned(), (*path).to_owned())).collect();
    let mut builder: BTreeMap<String, Subject> = BTreeMap::new();
    for (name, wanted) in &seat.wanted {
        let difference = down.targets.get(name.as_str());
        let stands = seat.targets.contains_key(name.as_str());
        if stands && difference.is_none() && !blocked.contains_key(name.as_str()) {
            continue;
        }
        let subject = Subject::Target(name.to_string());
        let detail = format!("{}, initiator {}", counted(wanted.luns.len(), "LUN"), wanted.initiator);
        let mut change = match difference {
            Some(difference) => Drafted::new(Action::Replace, detail, difference.clone()),
            None if stands => Drafted::new(Action::Replace, detail, "it cannot be brought up to date yet"),
            None => Drafted::new(Action::Create, detail, format!("{} boots {}", wanted.machine, wanted.image)),
        };
        if stands {
            change.disruption = Disruption::DropsSession;
        }
        change.after.extend(kernel.cloned());
        if let Some(hold) = blocked.get(name.as_str()) {
            change.hold(hold.clone());
            builds.push((subject, change));
            continue;
        }
        for backstore in wanted.luns.values() {
            follow_volume(context, backstore, down.actions.get(&backstore.volume), &mut change);
            change.after.extend(builder.get(&backstore.name).cloned());
            if paths.contains_key(&backstore.name) {
                continue;
            }
            let torn_down = down.backstores.iter().find(|path| path.ends_with(&format!("/{}", backstore.name)));
            let path = match torn_down {
                Some(path) => (*path).to_owned(),
                None => format!("iblock_{}/{}", numbers.take(&backstore.name), backstore.name),
            };
            if torn_down.is_some() {
                change.disruption = Disruption::DropsSession;
            }
            change.work.build.extend(backstore_ops(context, &path, backstore, pool.discards));
            builder.insert(backstore.name.clone(), subject.clone());
            paths.insert(backstore.name.clone(), path);
        }
        change.work.build.extend(target_ops(context, name, wanted, &paths));
        builds.push((subject, change));
    }
    builds
}

/// Has a target come after what is done to a volume that it shows. One that is not there does not wait for a change that would take
/// the volume away and may not yet: a machine that was at work when the server lost power comes back to the disk it had.
fn follow_volume(context: &Context<'_>, shown: &desired::Backstore, action: Option<&Action>, change: &mut Drafted) {
    let subject = Subject::Volume(context.storage.vg.clone(), shown.volume.clone());
    change.after.insert(subject.clone());
    let Some(lv) = context.our(&shown.volume) else { return };
    if change.action == Action::Create && action == Some(&Action::Replace) {
        change.regardless.insert(subject);
    }
    if !lv.active && action != Some(&Action::Alter) {
        change.work.activates.push(context.path(&shown.volume));
    }
}

/// Nothing listens for ours while a stranger listens on every address of the port.
fn portal_taken(context: &Context<'_>) -> Option<Hold> {
    let port = context.storage.portal.0.port();
    context.stranger.map(|name| Hold::Foreign { what: format!("target {name}, which listens on every address of port {port},") })
}

/// A target that should ask for a secret never stands without one.
fn secret_missing(context: &Context<'_>, wanted: &desired::Target) -> Option<Hold> {
    let file = context.storage.chap_secrets.as_deref().filter(|_| wanted.login == Login::Chap)?;
    match &context.observation.secrets.machines {
        Seen::Present(machines) if machines.contains(&wanted.machine) => None,
        Seen::Unreadable(why) => Some(Hold::Unreadable { what: why.clone() }),
        Seen::Present(_) | Seen::Absent => {
            let machine = &wanted.machine;
            Some(Hold::Source { reason: format!("{file} has no [{machine}]; add it, and below it secret = \"12 to 16 bytes\"") })
        }
    }
}

/// Two backstores cannot hold one volume; one that is not ours comes first.
fn shown_elsewhere(context: &Context<'_>, volume: &LvName) -> Option<Hold> {
    let (path, _) = context.holder(context.our(volume)?).filter(|(path, seen)| !is_our_backstore(context, path, seen))?;
    Some(Hold::Foreign { what: format!("backstore {path}, which shows {},", context.path(volume)) })
}
