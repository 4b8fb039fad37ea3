//! Image versions: filling them, growing them, and their end.
//!
//! **Invariant:** a version is cloned only when its tag says it is ready; it is removed only with written consent and
//! when no clone of it is left, for LVM itself would not object.

use super::context::{Context, tag};
use super::draft::{Draft, Drafted};
use super::op::Op;
use super::pool::Pool;
use super::{Action, Disruption, Hold, Subject};
use crate::desired::{BaseVolume, Mark, Source, SourceFormat};
use crate::names::{Bytes, LvName};
use crate::observed::{Lv, Seen};
use crate::site::Consent;

pub(super) fn plan_versions(context: &Context<'_>, pool: &Pool, draft: &mut Draft) {
    for (name, base) in &context.storage.versions {
        let subject = Subject::Volume(context.storage.vg.clone(), name.clone());
        if context.foreign(name).is_some() {
            let mut change = Drafted::new(Action::Create, describe(base), "the site lists it");
            change.hold(Hold::Foreign { what: format!("a volume {}", context.path(name)) });
            draft.add(subject, change);
            continue;
        }
        let former = base.formerly.iter().find_map(|old| Some((old, context.our(old)?)));
        let change = match (context.our(name), former) {
            (Some(lv), _) => keep_version(context, name, base, lv, draft),
            (None, Some((old, lv))) if lv.tags.contains(Mark::READY) => Some(rename_version(context, name, base, old, lv)),
            (None, _) => {
                Some(fill_version(context, name, base, Drafted::new(Action::Create, describe(base), "the site lists it")))
            }
        };
        let Some(mut change) = change else { continue };
        let makes = matches!(change.action, Action::Create | Action::Replace);
        if makes {
            gate_source(context, base, pool, &mut change);
            change.after.extend(pool.made_by.clone());
        }
        for hold in [pool.no_touch.as_ref(), pool.no_new.as_ref().filter(|_| makes)].into_iter().flatten() {
            change.hold(hold.clone());
        }
        draft.add(subject, change);
    }
}

fn describe(base: &BaseVolume) -> String {
    let source = match &base.source {
        Source::Blank => "blank",
        Source::File { path, .. } => path,
    };
    format!("{}@{} from {source}, {}", base.image, base.version, base.size)
}

/// The commands that fill a version: it is cloneable only after the last of them.
fn fill_version(context: &Context<'_>, name: &LvName, base: &BaseVolume, mut change: Drafted) -> Drafted {
    let storage = context.storage;
    let path = context.path(name);
    let run = |words: &[&str]| Op::Run(words.iter().map(|word| (*word).to_owned()).collect());
    let mut tags = vec![
        Mark::OURS.to_owned(),
        Mark::tag(Mark::SITE, &context.desired.site),
        Mark::tag(Mark::IMAGE, &base.image),
        Mark::tag(Mark::VERSION, &base.version),
        Mark::FILLING.to_owned(),
    ];
    let ops = &mut change.work.early;
    if let Source::File { path, sha256: Some(sha256), .. } = &base.source {
        ops.push(Op::Verify { path: path.clone(), sha256: sha256.clone() });
        tags.push(Mark::tag(Mark::SHA256, sha256));
    }
    if context.our(name).is_some() {
        ops.push(run(&["lvremove", "-f", "-y", &path]));
    }
    let size = format!("{}b", base.size.0);
    let pool = context.path(&storage.pool);
    let mut words = vec!["lvcreate", "-y", "-V", &size, "-T", &pool, "-n", name.as_str()];
    words.extend(tags.iter().flat_map(|tag| ["--addtag", tag.as_str()]));
    ops.push(run(&words));
    if let Source::File { path, format, .. } = &base.source {
        ops.push(Op::Fill {
            path: path.clone(),
            format: format_name(*format).to_owned(),
            vg: storage.vg.clone(),
            lv: name.clone(),
            size: base.size,
            pool: storage.pool.clone(),
            reserve: storage.reserve,
        });
    }
    ops.push(run(&["lvchange", "-y", "-p", "r", &path]));
    ops.push(run(&["lvchange", "-y", "--deltag", Mark::FILLING, "--addtag", Mark::READY, &path]));
    change
}

/// The name that qemu-img has for a format.
fn format_name(format: SourceFormat) -> &'static str {
    match format {
        SourceFormat::Raw => "raw",
        SourceFormat::Qcow2 => "qcow2",
        SourceFormat::Vhdx => "vhdx",
    }
}

fn gate_source(context: &Context<'_>, base: &BaseVolume, pool: &Pool, change: &mut Drafted) {
    let Source::File { path, .. } = &base.source else { return };
    let seen = context.observation.sources.get(path).unwrap_or(&Seen::Absent);
    let reason = match seen {
        Seen::Absent => Some(format!("source {path} is not in the image store")),
        Seen::Unreadable(why) => Some(format!("source {path} cannot be read: {why}")),
        Seen::Present(file) => match &file.disk_size {
            Seen::Absent => Some(format!("source {path} holds no disk")),
            Seen::Unreadable(why) => Some(format!("source {path} cannot be read: {why}")),
            Seen::Present(disk) if disk.0 == 0 => Some(format!("source {path} is empty")),
            Seen::Present(disk) if *disk > base.size => {
                Some(format!("the disk in {path} measures {disk} and the image's size is {}", base.size))
            }
            Seen::Present(_) => pool.spare.filter(|spare| file.allocated > *spare).map(|spare| {
                let (takes, spare) = (file.allocated.rounded(), spare.rounded());
                format!("source {path} takes {takes} and the thin pool has {spare} to spare above its reserve")
            }),
        },
    };
    if let Some(reason) = reason {
        change.hold(Hold::Source { reason });
    }
}

fn keep_version(context: &Context<'_>, name: &LvName, base: &BaseVolume, lv: &Lv, draft: &mut Draft) -> Option<Drafted> {
    let path = context.path(name);
    if !lv.tags.contains(Mark::READY) {
        let reason = "an earlier run did not fill it to its end; nothing was cloned from it";
        let change = Drafted::new(Action::Replace, describe(base), reason).disrupting(Disruption::DestroysData);
        return Some(fill_version(context, name, base, change));
    }
    if let (Source::File { sha256: Some(now), .. }, Some(then)) = (&base.source, tag(lv, Mark::SHA256))
        && now != then
    {
        let message = "its sha256 in the site is not that of the file it was filled from; give the new content a new version";
        draft.note(format!("{}@{}", base.image, base.version), message);
    }
    let mut commands = Vec::new();
    let mut reasons = Vec::new();
    if !lv.read_only {
        commands.push(words(&["lvchange", "-y", "-p", "r", &path]));
        reasons.push("it can be written".to_owned());
    }
    match grow(context, lv.size, base.size) {
        Growth::None => {}
        Growth::To(size) => {
            commands.push(words(&["lvextend", "-L", &format!("{}b", size.0), &path]));
            reasons.push(format!("the image grew from {} to {}", lv.size, base.size));
        }
        Growth::Shrink => draft.note(
            format!("{}@{}", base.image, base.version),
            format!("its volume measures {} and the image's size is {}; volumes are never shrunk", lv.size, base.size),
        ),
    }
    (!commands.is_empty()).then(|| {
        let mut change = Drafted::new(Action::Alter, describe(base), reasons.join("; "));
        change.work.creates = commands;
        change
    })
}

fn rename_version(context: &Context<'_>, name: &LvName, base: &BaseVolume, old: &LvName, lv: &Lv) -> Drafted {
    let mut change = Drafted::new(Action::Rename, format!("from {old}"), "its image moved to a new name");
    let path = context.path(name);
    let mut retag = words(&["lvchange", "-y", "--addtag", &Mark::tag(Mark::IMAGE, &base.image), &path]);
    if let Some(image) = tag(lv, Mark::IMAGE) {
        retag.splice(2..2, words(&["--deltag", &Mark::tag(Mark::IMAGE, image)]));
    }
    change.work.renames = vec![words(&["lvrename", context.storage.vg.as_str(), old.as_str(), name.as_str()]), retag];
    change
}

/// The end of versions that the site no longer lists.
pub(super) fn plan_version_ends(context: &Context<'_>, pool: &Pool, draft: &mut Draft) {
    for (name, lv) in &context.others {
        let is_version = tag(lv, Mark::MACHINE).is_none() && tag(lv, Mark::VERSION).is_some();
        if !is_version || context.storage.versions.contains_key(*name) {
            continue;
        }
        let Ok(name) = name.parse::<LvName>() else { continue };
        if context.storage.versions.iter().any(|(now, base)| base.formerly.contains(&name) && context.our(now).is_none()) {
            continue;
        }
        let (image, version) = (tag(lv, Mark::IMAGE).unwrap_or(""), tag(lv, Mark::VERSION).unwrap_or(""));
        let label = format!("{image}@{version}");
        let mut change =
            Drafted::new(Action::Remove, format!("image version {label}, {}", lv.size), "the site no longer lists it")
                .disrupting(Disruption::DestroysData);
        change.work.late_removes.push(context.path(&name));
        if let Some(hold) = &pool.no_touch {
            change.hold(hold.clone());
        }
        let consented = match (image.parse(), version.parse()) {
            (Ok(image), Ok(version)) => context.consents(&Consent::Version(image, version)),
            _ => context.consents(&Consent::Everything),
        };
        if lv.tags.contains(Mark::READY) && !consented {
            change.hold(Hold::NoConsent { consent: label });
        }
        if lv.open {
            change.hold(Hold::Foreign { what: format!("something that holds {} open", context.path(&name)) });
        }
        gate_clones(context, image, version, &mut change, draft);
        draft.add(Subject::Volume(context.storage.vg.clone(), name), change);
    }
}

/// Holds the end of a version while a clone of it stays.
fn gate_clones(context: &Context<'_>, image: &str, version: &str, change: &mut Drafted, draft: &Draft) {
    let mut staying = Vec::new();
    for (clone, lv) in &context.ours {
        if tag(lv, Mark::MACHINE).is_none() || tag(lv, Mark::IMAGE) != Some(image) || tag(lv, Mark::VERSION) != Some(version) {
            continue;
        }
        let path = context.path(clone);
        let going = draft.changes.iter().find(|(_, planned)| planned.is_open() && planned.work.removes.contains(&path));
        match going {
            Some((subject, _)) => drop(change.after.insert(subject.clone())),
            None => staying.push(*clone),
        }
    }
    if let Some(first) = staying.first() {
        change.hold(Hold::HasClones { clone: (*first).to_owned(), count: staying.len() as u32 });
    }
}

/// How a volume's size compares with the one it should have.
pub(super) enum Growth {
    None,
    To(Bytes),
    Shrink,
}

/// Compares in whole extents, the unit LVM rounds up to.
pub(super) fn grow(context: &Context<'_>, is: Bytes, should: Bytes) -> Growth {
    let extent = context.vg.extent.0.max(1);
    let rounded = should.0.div_ceil(extent) * extent;
    match is.0.cmp(&rounded) {
        std::cmp::Ordering::Less => Growth::To(Bytes(rounded)),
        std::cmp::Ordering::Equal => Growth::None,
        std::cmp::Ordering::Greater => Growth::Shrink,
    }
}

/// One command line.
pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
