//! What becomes of each clone, before anybody asks whether its seat is free.
//!
//! **Invariant:** a clone that is kept by policy goes only with written consent; a clone whose history is unknown counts
//! as written.

use super::context::{Context, Joined, reset_text, tag};
use super::draft::{Draft, Drafted, Work};
use super::in_use::targets_of;
use super::pool::Pool;
use super::version::{Growth, grow, words};
use super::{Action, Disruption, Gate, Hold, Subject};
use crate::desired::{CloneVolume, Mark};
use crate::names::{LvName, MachineName};
use crate::observed::Lv;
use crate::site::{Consent, Reset};
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of a volume of a seat.
pub(super) enum Fate {
    /// It stays as it is.
    Keep,
    /// It stays, with this change to it.
    Change(Box<Drafted>),
}

impl Fate {
    /// The change, if there is one.
    pub fn change(&self) -> Option<&Drafted> {
        match self {
            Self::Keep => None,
            Self::Change(change) => Some(change),
        }
    }

    /// Whether what its backstore shows will be gone or moved when the plan is carried out.
    pub fn takes_volume_away(&self) -> bool {
        self.change()
            .is_some_and(|change| change.is_open() && matches!(change.action, Action::Replace | Action::Remove | Action::Rename))
    }

    /// Whether the volume is there and usable before or once the plan is carried out.
    pub fn leaves_volume(&self) -> bool {
        self.change().is_none_or(|change| change.is_open() || !matches!(change.action, Action::Create))
    }
}

/// The fates of a machine's clones by volume: desired ones and those the site no longer names. What is not among them stays.
pub(super) type Fates = BTreeMap<LvName, Fate>;

pub(super) fn decide_fates(context: &Context<'_>, pool: &Pool, draft: &Draft) -> BTreeMap<MachineName, Fates> {
    let mut fates: BTreeMap<MachineName, Fates> = BTreeMap::new();
    let mut renamed = BTreeSet::new();
    for joined in context.clones.iter().filter(|joined| !stands(context, joined)) {
        let (name, clone) = (joined.name, joined.clone);
        let fate = if let Some(lv) = joined.lv {
            keep_or_replace(context, name, clone, lv)
        } else if context.foreign(name).is_some() {
            let mut change = create(context, name, clone, "the site asks for it");
            change.hold(Hold::Foreign { what: format!("a volume {}", context.path(name)) });
            Fate::Change(Box::new(change))
        } else if let Some((old, lv)) = former(context, clone) {
            renamed.insert(old.as_str());
            Fate::Change(Box::new(move_clone(context, name, clone, old, lv)))
        } else {
            Fate::Change(Box::new(create(context, name, clone, &format!("{} boots {}", clone.machine, clone.image))))
        };
        if fate.change().is_some() {
            fates.entry(clone.machine.clone()).or_default().insert(name.clone(), fate);
        }
    }
    for (name, lv) in context.others.iter().filter(|(name, _)| !renamed.contains(name)) {
        let (Some(machine), Ok(name)) = (Context::machine_of(lv), name.parse::<LvName>()) else { continue };
        let change = remove(context, &name, &machine, lv);
        fates.entry(machine).or_default().insert(name, Fate::Change(Box::new(change)));
    }
    for change in fates.values_mut().flatten().filter_map(|(_, fate)| match fate {
        Fate::Change(change) => Some(change),
        Fate::Keep => None,
    }) {
        let makes = matches!(change.action, Action::Create | Action::Replace);
        // A clone that is made anew gives back first what was written to the old one: a full pool is no reason to keep that.
        let is_new = change.action == Action::Create;
        for hold in [pool.no_touch.as_ref(), pool.no_new.as_ref().filter(|_| is_new)].into_iter().flatten() {
            change.hold(hold.clone());
        }
        if makes {
            change.after.extend(pool.made_by.clone());
        }
        let waits = change.after.iter().find(|subject| draft.changes.get(subject).is_some_and(|other| !other.is_open())).cloned();
        if let Some(subject) = waits {
            change.hold(Hold::After { subject: subject.to_string() });
        }
    }
    fates
}

/// Whether a clone is there as it should be and clean where it should be: what [`keep_or_replace`] keeps, without a look at its
/// tags.
fn stands(context: &Context<'_>, &Joined { name, clone, lv, is_marked }: &Joined<'_>) -> bool {
    let is_whole = |lv: &Lv| lv.active && !lv.skip_activation && matches!(grow(context, lv.size, clone.size), Growth::None);
    let is_clean = |lv: &Lv| clone.reset != Reset::EveryBoot || !is_used(context, lv);
    let Some(lv) = lv.filter(|lv| is_marked && is_whole(lv) && is_clean(lv)) else { return false };
    debug_assert!(matches!(keep_or_replace(context, name, clone, lv), Fate::Keep), "{name} stands, and would change");
    true
}

/// The volume this clone was before its machine or image moved, if it still bears an old name.
fn former<'a>(context: &Context<'a>, clone: &'a CloneVolume) -> Option<(&'a LvName, &'a Lv)> {
    clone.formerly.iter().find_map(|old| Some((old, context.our(old)?)))
}

fn describe(clone: &CloneVolume) -> String {
    format!("clone of {}@{}, {}", clone.image, clone.version, clone.size)
}

fn create_command(context: &Context<'_>, name: &LvName, clone: &CloneVolume) -> Vec<String> {
    let tags = [
        Mark::OURS.to_owned(),
        Mark::tag(Mark::SITE, &context.desired.site),
        Mark::tag(Mark::MACHINE, &clone.machine),
        Mark::tag(Mark::IMAGE, &clone.image),
        Mark::tag(Mark::VERSION, &clone.version),
        Mark::tag(Mark::RESET, reset_text(clone.reset)),
        Mark::tag(Mark::MADE, &context.observation.boot_id),
    ];
    // -kn: a thin snapshot is passed over at activation otherwise, and after a power cut no seat would come back.
    let mut command = words(&["lvcreate", "-y", "-s", "-k", "n", "-n", name.as_str()]);
    command.extend(tags.into_iter().flat_map(|tag| ["--addtag".to_owned(), tag]));
    command.push(context.path(&clone.base));
    command
}

fn create(context: &Context<'_>, name: &LvName, clone: &CloneVolume, reason: &str) -> Drafted {
    let mut change = Drafted::new(Action::Create, describe(clone), reason);
    make(context, name, clone, &mut change);
    change
}

/// Adds what makes the clone from its version, and waits for that version.
fn make(context: &Context<'_>, name: &LvName, clone: &CloneVolume, change: &mut Drafted) {
    change.work.creates.push(create_command(context, name, clone));
    change.after.insert(Subject::Volume(context.storage.vg.clone(), clone.base.clone()));
}

fn keep_or_replace(context: &Context<'_>, name: &LvName, clone: &CloneVolume, lv: &Lv) -> Fate {
    let version = tag(lv, Mark::VERSION).unwrap_or("");
    let updated = version != clone.version.as_str();
    let consent = || Consent::Clone(clone.machine.clone(), clone.image.clone());
    let keeps = clone.reset == Reset::Never || Context::is_kept(lv);
    let reason = match clone.reset {
        Reset::Never if !updated || !context.desired.policy.may_destroy.contains(&consent()) => None,
        _ if updated => Some(format!("{} went from {version} to {}", clone.image, clone.version)),
        Reset::EveryBoot if is_used(context, lv) => Some(format!("it was written, and {} is reset at every boot", clone.image)),
        _ => None,
    };
    let Some(reason) = reason else {
        return alter(context, name, clone, lv);
    };
    let mut change = Drafted::new(Action::Replace, describe(clone), reason).disrupting(Disruption::DestroysData);
    change.work.is_renewal = !updated;
    if keeps && !context.consents(&consent()) {
        change.hold(Hold::NoConsent { consent: format!("{}.{}", clone.machine, clone.image) });
    }
    change.work.removes.push(context.path(name));
    make(context, name, clone, &mut change);
    hold_if_held_open(context, name, lv, &mut change);
    Fate::Change(Box::new(change))
}

/// Whether anything may have been written since the clone was made; LIO's counters are the witness, within one boot of
/// the kernel.
fn is_used(context: &Context<'_>, lv: &Lv) -> bool {
    !context.is_of_this_boot(lv) || context.holder(lv).is_some_and(|(_, backstore)| backstore.commands > 0)
}

/// Holds a change that takes a volume away while something that is not ours has it open.
fn hold_if_held_open(context: &Context<'_>, name: &LvName, lv: &Lv, change: &mut Drafted) {
    match context.holder(lv) {
        Some((path, backstore)) if backstore.alias != context.mark => {
            change.hold(Hold::Foreign { what: format!("backstore {path}, which shows {},", context.path(name)) });
        }
        None if lv.open => {
            change.hold(Hold::Foreign { what: format!("something on this host that holds {} open", context.path(name)) })
        }
        _ => {}
    }
}

/// What a clone that stays needs: to be active, to grow, to carry the tags of today.
fn alter(context: &Context<'_>, name: &LvName, clone: &CloneVolume, lv: &Lv) -> Fate {
    let mut work = Work::default();
    let mut reasons = Vec::new();
    if let Some(retag) = retag(context, name, clone, lv) {
        work.creates.push(retag);
        reasons.push("its tags say otherwise".to_owned());
    }
    if let Growth::To(size) = grow(context, lv.size, clone.size) {
        work.creates.push(words(&["lvextend", "-L", &format!("{}b", size.0), &context.path(name)]));
        reasons.push(format!("the image grew from {} to {}", lv.size, clone.size));
    }
    if lv.skip_activation {
        work.creates.push(words(&["lvchange", "-y", "-k", "n", &context.path(name)]));
        reasons.push("it would be passed over when the host starts".to_owned());
    }
    if !lv.active {
        work.activates.push(context.path(name));
        reasons.push("it is inactive".to_owned());
    }
    if reasons.is_empty() {
        return Fate::Keep;
    }
    let mut change = Drafted::new(Action::Alter, describe(clone), reasons.join("; "));
    change.work = work;
    Fate::Change(Box::new(change))
}

/// The command that makes a clone's tags say whose it is and how it is reset; none when they do.
fn retag(context: &Context<'_>, name: &LvName, clone: &CloneVolume, lv: &Lv) -> Option<Vec<String>> {
    let mut tags = Vec::new();
    let reset = if clone.reset != Reset::Never && Context::is_kept(lv) { Reset::Never } else { clone.reset };
    let wanted = [(Mark::MACHINE, clone.machine.as_str()), (Mark::IMAGE, clone.image.as_str()), (Mark::RESET, reset_text(reset))];
    for (key, value) in wanted {
        let before = tag(lv, key);
        if before == Some(value) {
            continue;
        }
        tags.extend(before.into_iter().flat_map(|before| words(&["--deltag", &Mark::tag(key, before)])));
        tags.extend(words(&["--addtag", &Mark::tag(key, value)]));
    }
    (!tags.is_empty()).then(|| [words(&["lvchange", "-y"]), tags, vec![context.path(name)]].concat())
}

/// A clone that has another name so far: it keeps what it holds, unless its policy has it made anew anyway.
fn move_clone(context: &Context<'_>, name: &LvName, clone: &CloneVolume, old: &LvName, lv: &Lv) -> Drafted {
    let version = tag(lv, Mark::VERSION).unwrap_or("");
    let is_outdated = version != clone.version.as_str() && clone.reset != Reset::Never && !Context::is_kept(lv);
    let mut change = if is_outdated {
        let reason = format!("it moved, and {} went from {version} to {}", clone.image, clone.version);
        let mut change = Drafted::new(Action::Replace, format!("{} in place of {old}", describe(clone)), reason);
        change.disruption = Disruption::DestroysData;
        change.work.removes.push(context.path(old));
        make(context, name, clone, &mut change);
        change
    } else {
        let mut change = Drafted::new(Action::Rename, format!("from {old}, {}", describe(clone)), "the site says it moved");
        change.work.renames.push(words(&["lvrename", context.storage.vg.as_str(), old.as_str(), name.as_str()]));
        change.work.renames.extend(retag(context, name, clone, lv));
        change
    };
    if !is_outdated && !lv.active {
        change.work.activates.push(context.path(name));
    }
    // The machine may be running under its old name: what shows the volume there goes first, or nothing does.
    if let Some(machine) = Context::machine_of(lv) {
        change.after.extend(targets_of(context, &machine).map(|(target, _)| Subject::Target(target.clone())));
    }
    hold_if_held_open(context, old, lv, &mut change);
    change
}

fn remove(context: &Context<'_>, name: &LvName, machine: &MachineName, lv: &Lv) -> Drafted {
    let image = tag(lv, Mark::IMAGE).unwrap_or("");
    let reason = if context.desired.room.machines.contains_key(machine) {
        format!("{machine} no longer has {image}")
    } else {
        format!("the site has no machine {machine}")
    };
    let mut change =
        Drafted::new(Action::Remove, format!("clone of {image}@{}, {}", tag(lv, Mark::VERSION).unwrap_or(""), lv.size), reason)
            .disrupting(Disruption::DestroysData);
    change.work.removes.push(context.path(name));
    let consented = match image.parse() {
        Ok(image) => context.consents(&Consent::Clone(machine.clone(), image)),
        Err(_) => context.consents(&Consent::Everything),
    };
    if Context::is_kept(lv) && !consented {
        change.gate = Gate::Held(Hold::NoConsent { consent: format!("{machine}.{image}") });
    }
    hold_if_held_open(context, name, lv, &mut change);
    change
}
