//! Image versions: filling them, growing them, and their end.
//!
//! **Invariant:** a version is cloned only when its mark says that it is ready, and holds what it was filled with for ever. Only one
//! that says it is unfinished is garbage; it is removed only with written consent and when nothing was made from it.

use super::builder::{Intent, PlanBuilder, Work};
use super::context::Context;
use super::pool::PoolState;
use super::seats::rounded;
use super::{Action, DiskOp, Disruption, Hold, Reason, SourceProblem, Subject};
use crate::desired::{Source, Version, VersionId};
use crate::names::{DiskId, Mark};
use crate::observed::{Access, Disk, Filling, HeldOpen, Naming, Power, Seen, Settled};
use crate::site::Consent;

pub(super) fn plan_versions(context: &Context<'_>, pool: &PoolState, builder: &mut PlanBuilder) {
    for (id, version) in &context.storage.versions {
        let subject = Subject::version(&id.image, &id.version);
        let disk = id.disk();
        if let Some(name) = context.stock.taken.get(&disk) {
            let hold = match context.stock.strays.get(name) {
                Some(_) => Hold::Stray { name: name.clone(), what: "its marks do not agree".to_owned() },
                None => Hold::Foreign { what: format!("a volume {}", context.path(name)) },
            };
            let intent = Intent::new(Action::Create, describe(version), Reason::Wanted, Work::Version(Vec::new()));
            builder.add(subject, intent.held(Some(hold)));
            continue;
        }
        let former = context.storage.moved_images.get(&id.image).into_iter().flatten();
        let former = former.map(|image| DiskId::version(image, &id.version));
        let former = former.filter_map(|old| Some((context.stock.disks.get(&old)?, old))).next();
        let intent = match (context.stock.disks.get(&disk), former) {
            (Some(seen), _) => keep(context, id, version, seen, builder),
            (None, Some((seen, old))) if seen.marks.filling != Filling::Unfinished => Some(rename(id, seen, old)),
            (None, _) => Some(fill(context, id, version, None)),
        };
        let Some(mut intent) = intent else { continue };
        let makes = matches!(intent.action, Action::Create | Action::Replace);
        if makes {
            gate_source(context, version, pool, &mut intent);
            gate_content(context, id, version, &mut intent);
            intent.after.extend(pool.made_by.clone());
        }
        for hold in [pool.no_touch.as_ref(), pool.no_new.as_ref().filter(|_| makes)].into_iter().flatten() {
            intent.hold(hold.clone());
        }
        builder.add(subject, intent);
    }
    plan_ends(context, pool, builder);
}

fn describe(version: &Version) -> String {
    match &version.source {
        Source::Blank => format!("blank, {}", version.size),
        Source::File { path, .. } => format!("from {path}, {}", version.size),
    }
}

/// What fills a version: it can be cloned only after the last of it.
fn fill(context: &Context<'_>, id: &VersionId, version: &Version, over: Option<&Disk>) -> Intent {
    let disk = id.disk();
    let mut marks = vec![
        Mark::OURS.to_owned(),
        Mark::tag(Mark::SITE, &context.desired.site),
        Mark::tag(Mark::IMAGE, &id.image),
        Mark::tag(Mark::VERSION, &id.version),
        Mark::FILLING.to_owned(),
    ];
    let mut ops: Vec<DiskOp> =
        over.iter().map(|seen| DiskOp::Remove { disk: disk.clone(), handle: seen.handle.clone() }).collect();
    if let Source::File { path, .. } = &version.source {
        marks.push(Mark::tag(Mark::SOURCE, source_mark(path)));
    }
    ops.push(DiskOp::Create { disk: disk.clone(), size: rounded(context, version.size), marks });
    if let Source::File { path, format, sha256 } = &version.source {
        ops.push(DiskOp::Fill {
            disk: disk.clone(),
            path: path.clone(),
            format: *format,
            size: version.size,
            sha256: sha256.clone().or_else(|| known_content(context, id)),
            reserve: context.storage.reserve,
        });
    }
    ops.push(DiskOp::Seal { disk });
    match over {
        None => Intent::new(Action::Create, describe(version), Reason::Wanted, Work::Version(ops)),
        Some(seen) => {
            Intent::new(Action::Replace, describe(version), Reason::CutOff, Work::Version(ops)).touching([&seen.handle])
        }
    }
}

/// A source's path as a mark spells it: LVM allows few characters in a tag (lvm(8), "Valid tag characters").
pub fn source_mark(path: &str) -> String {
    let spell = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'+' | b'.' | b'-' | b'/' => (byte as char).to_string(),
        other => format!("!{other:02x}"),
    };
    // A tag measures 1024 characters at most, its key included.
    path.bytes().map(spell).collect::<String>().chars().take(900).collect()
}

/// The content that a version of this name had when disks were made from it that are still there.
fn witness<'a>(context: &Context<'a>, id: &VersionId) -> Option<(&'a DiskId, &'a Disk)> {
    context.stock.disks.iter().find(|(disk, seen)| match disk {
        DiskId::Seat { image, .. } => {
            *context.storage.image_now(image) == id.image
                && seen.marks.version.as_ref() == Some(&id.version)
                && seen.marks.sha256.is_some()
        }
        _ => false,
    })
}

fn known_content(context: &Context<'_>, id: &VersionId) -> Option<String> {
    witness(context, id).and_then(|(_, disk)| disk.marks.sha256.clone())
}

/// A version's name never stands for other content than it did.
fn gate_content(context: &Context<'_>, id: &VersionId, version: &Version, intent: &mut Intent) {
    let Some((disk, seen)) = witness(context, id) else { return };
    if let (Source::File { sha256: Some(is), .. }, Some(was)) = (&version.source, &seen.marks.sha256)
        && !is.eq_ignore_ascii_case(was)
    {
        intent.hold(Hold::OtherContent { witness: disk.clone(), was: was.clone(), is: is.clone() });
    }
}

fn gate_source(context: &Context<'_>, version: &Version, pool: &PoolState, intent: &mut Intent) {
    let Source::File { path, .. } = &version.source else { return };
    let seen = context.observation.sources.get(path).unwrap_or(&Seen::Absent);
    let unreadable = |what: &str| SourceProblem::Unreadable { what: what.to_owned() };
    let problem = match seen {
        Seen::Absent => Some(SourceProblem::Absent),
        Seen::Unreadable(why) => Some(unreadable(why)),
        Seen::Present(file) if file.settled != Settled::Yes => Some(SourceProblem::Unsettled),
        Seen::Present(file) => match &file.disk_size {
            Seen::Absent => Some(SourceProblem::Empty),
            Seen::Unreadable(why) => Some(unreadable(why)),
            Seen::Present(disk) if disk.0 == 0 => Some(SourceProblem::Empty),
            Seen::Present(disk) if *disk > version.size => {
                Some(SourceProblem::TooLarge { disk: disk.to_string(), size: version.size.to_string() })
            }
            Seen::Present(_) => pool.spare.filter(|spare| file.allocated > *spare).map(|spare| SourceProblem::NoRoom {
                takes: file.allocated.rounded().to_string(),
                spare: spare.rounded().to_string(),
            }),
        },
    };
    if let Some(problem) = problem {
        intent.hold(Hold::Source { path: path.clone(), problem });
    }
}

fn keep(context: &Context<'_>, id: &VersionId, version: &Version, seen: &Disk, builder: &mut PlanBuilder) -> Option<Intent> {
    let disk = id.disk();
    let about = id.to_string();
    if seen.marks.filling == Filling::Unfinished {
        if context.observation.filling.contains(&disk.lv_name().ok()?.to_string()) {
            builder.note(about, "it is being filled");
            return None;
        }
        return Some(fill(context, id, version, Some(seen)).disrupting(Disruption::Resets));
    }
    if seen.marks.filling == Filling::Unmarked {
        let hold = Hold::Stray {
            name: disk.to_string(),
            what: "it does not say whether it is whole; if it is, add the tag barista.state=ready".to_owned(),
        };
        return Some(
            Intent::new(Action::Alter, describe(version), differs("its mark is gone"), Work::Alter(Vec::new())).held(Some(hold)),
        );
    }
    note_content(id, version, seen, builder);
    let mut ops = Vec::new();
    let mut reason = None;
    if seen.naming == Naming::Behind {
        let lv = disk.lv_name().ok().and_then(|name| context.vg.lvs.get(name.as_str()));
        if let Some(was) = lv.and_then(|lv| lv.tags.value(Mark::IMAGE)) {
            let (remove, add) = (vec![Mark::tag(Mark::IMAGE, was)], vec![Mark::tag(Mark::IMAGE, &id.image)]);
            ops.push(DiskOp::Mark { disk: disk.clone(), handle: Some(seen.handle.clone()), remove, add });
            reason = Some(Reason::CutOff);
        }
    }
    if seen.access == Access::ReadWrite {
        ops.push(DiskOp::Protect { disk: disk.clone(), handle: seen.handle.clone() });
        reason = Some(differs("it can be written"));
    }
    let should = rounded(context, version.size);
    if seen.size < should {
        ops.push(DiskOp::Grow { disk: disk.clone(), handle: Some(seen.handle.clone()), to: should });
        reason = Some(Reason::Grew { from: seen.size.to_string(), to: should.to_string() });
    } else if seen.size > should {
        let message = format!("its disk measures {} and the image's size is {}; disks are never shrunk", seen.size, version.size);
        builder.note(about, message);
    }
    if matches!(seen.power, Power::ActiveOnce | Power::PassedOver) {
        ops.push(DiskOp::KeepActive { disk, handle: seen.handle.clone() });
        reason = reason.or(Some(Reason::Inactive));
    }
    let reason = reason?;
    Some(Intent::new(Action::Alter, describe(version), reason, Work::Alter(ops)).touching([&seen.handle]))
}

/// Says where the site names other content for a version than it has; what it has stays.
fn note_content(id: &VersionId, version: &Version, seen: &Disk, builder: &mut PlanBuilder) {
    let Source::File { path, sha256, .. } = &version.source else { return };
    let mend = "a version keeps what it was filled with; give the new content a new version";
    match (sha256, &seen.marks.sha256) {
        (Some(is), Some(was)) if !is.eq_ignore_ascii_case(was) => {
            builder.note(id.to_string(), format!("its sha256 in the site is {is} and it was filled with {was}; {mend}"));
        }
        (Some(is), None) => {
            builder
                .note(id.to_string(), format!("its sha256 in the site is {is}, and nobody wrote down what it was filled with"));
        }
        _ => {}
    }
    if let Some(was) = seen.marks.source.as_ref().filter(|was| **was != source_mark(path)) {
        builder.note(id.to_string(), format!("its source in the site is {path} and it was filled from {was}; {mend}"));
    }
}

fn differs(what: &str) -> Reason {
    Reason::Differs { what: what.to_owned() }
}

fn rename(id: &VersionId, seen: &Disk, old: DiskId) -> Intent {
    let reason = Reason::Moved { from: old.to_string() };
    let DiskId::Version { image, .. } = &old else { unreachable!("a former name of a version is a version's") };
    let (remove, add) = (vec![Mark::tag(Mark::IMAGE, image)], vec![Mark::tag(Mark::IMAGE, &id.image)]);
    let ops = vec![
        DiskOp::Rename { from: old, to: id.disk(), handle: seen.handle.clone() },
        DiskOp::Mark { disk: id.disk(), handle: Some(seen.handle.clone()), remove, add },
    ];
    Intent::new(Action::Rename, id.to_string(), reason, Work::Rename(None, Vec::new(), ops)).touching([&seen.handle])
}

/// The end of versions that the site no longer lists.
fn plan_ends(context: &Context<'_>, pool: &PoolState, builder: &mut PlanBuilder) {
    for (disk, seen) in &context.stock.disks {
        let DiskId::Version { image, version } = disk else { continue };
        let id = VersionId { image: image.clone(), version: version.clone() };
        let now = VersionId { image: context.storage.image_now(image).clone(), version: version.clone() };
        let moves = now != id && context.storage.versions.contains_key(&now) && !context.stock.disks.contains_key(&now.disk());
        if context.storage.versions.contains_key(&id) || moves {
            continue;
        }
        let is_garbage = seen.marks.filling == Filling::Unfinished;
        if is_garbage && context.observation.filling.iter().any(|name| disk.lv_name().is_ok_and(|lv| lv.as_str() == name)) {
            continue;
        }
        let disruption = if is_garbage { Disruption::Resets } else { Disruption::LosesData };
        let work = Work::RemoveVersion(disk.clone(), seen.handle.clone());
        let mut intent = Intent::new(Action::Remove, seen.size.to_string(), Reason::Unwanted, work)
            .disrupting(disruption)
            .touching([&seen.handle])
            .held(pool.no_touch.clone());
        if !is_garbage && !context.consents(&Consent::Version(image.clone(), version.clone())) {
            intent.hold(Hold::NoConsent { consent: format!("{image}@{version}") });
        }
        if seen.held == HeldOpen::Open {
            intent.hold(Hold::Foreign { what: format!("something that holds {disk} open") });
        }
        builder.add(Subject::version(image, version), intent);
    }
}

/// Holds the end of a version while a disk that was made from it stays; must come when it is known which disks go.
pub(super) fn gate_ends(context: &Context<'_>, builder: &mut PlanBuilder) {
    let mut ends: Vec<(Subject, DiskId)> = Vec::new();
    for (subject, intent) in &builder.intents {
        if let Work::RemoveVersion(disk, _) = &intent.work {
            ends.push((subject.clone(), disk.clone()));
        }
    }
    if ends.is_empty() {
        return;
    }
    let mut going: std::collections::BTreeMap<&DiskId, Subject> = std::collections::BTreeMap::new();
    for (subject, intent) in builder.intents.iter().filter(|(_, intent)| intent.is_open()) {
        if let Work::RemoveSide(_, _, disks) = &intent.work {
            for (disk, _) in disks {
                if let Some((known, _)) = context.stock.disks.get_key_value(disk) {
                    going.insert(known, subject.clone());
                }
            }
        }
    }
    for (subject, version) in ends {
        let DiskId::Version { image, version: name } = &version else { continue };
        let handle = context.stock.disks.get(&version).map(|seen| &seen.handle);
        let (mut staying, mut after) = (Vec::new(), Vec::new());
        for (disk, seen) in &context.stock.disks {
            let by_name = matches!(disk, DiskId::Seat { image: of, .. } if of == image || context.storage.image_now(of) == image)
                && seen.marks.version.as_ref() == Some(name);
            let is_clone = match &seen.marks.base {
                Some(base) => Some(base) == handle,
                None => by_name,
            };
            if !is_clone || disk.machine().is_none() {
                continue;
            }
            match going.get(disk) {
                Some(subject) => after.push(subject.clone()),
                None => staying.push(disk.clone()),
            }
        }
        // What is made from it in this very plan stays as well.
        let made = builder.intents.values().filter(|intent| intent.is_open()).any(|intent| match &intent.work {
            Work::MakeSide(ops, _) => ops.iter().any(|op| matches!(op, DiskOp::Clone { base, .. } if *base == version)),
            _ => false,
        });
        let Some(intent) = builder.intents.get_mut(&subject) else { continue };
        intent.after.extend(after);
        if let Some(first) = staying.first() {
            intent.hold(Hold::HasClones { clone: first.clone(), count: staying.len() as u32 });
        } else if made {
            intent.hold(Hold::HasClones { clone: version.clone(), count: 1 });
        }
    }
}
