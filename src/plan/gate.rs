//! Gates over the whole plan: how much may lose data, and what would be left behind.
//!
//! **Invariant:** what is held still counts, and so does what went before: a plan that is held for too much does not go in portions.
//! What protects data, what shows disks that are there, and what makes clean ones, is never held for it.

use super::builder::{Intent, PlanBuilder, Work};
use super::{Disruption, Hold, Purpose, Reason, Subject};
use crate::desired::Desired;
use crate::names::{BACKSTORE_RANGE, Mark, parse_target};
use crate::observed::{LvKind, Observation, Seen};
use crate::site::Consent;
use std::collections::BTreeMap;

/// Holds the plan when more kept disks and versions lose their data than the site allows, since it last said how many may.
pub(super) fn gate_count(desired: &Desired, observation: &Observation, builder: &mut PlanBuilder) {
    let allowed = desired.policy.max_destroy;
    let counts = |intent: &&Intent| intent.purpose == Purpose::Site;
    let planned = builder.intents.values().filter(counts).map(lost).sum::<u32>();
    let journal = observation.commands.present();
    let before = journal.filter(|journal| journal.allowance == Some(allowed)).map_or(0, |journal| journal.destroyed);
    let destroys = planned + before;
    let is_unreadable = match (&observation.commands, planned) {
        (Seen::Unreadable(why), 1..) => Some(why.clone()),
        _ => None,
    };
    if planned == 0 || destroys <= allowed && is_unreadable.is_none() {
        return;
    }
    let hold = match is_unreadable {
        Some(what) => Hold::Unreadable { what },
        None => Hold::TooMuch { destroys, allowed },
    };
    let goes_on = |subject: &Subject, intent: &Intent| {
        let shows = matches!(intent.work, Work::Show(..) | Work::Protect(..) | Work::Kernel | Work::Live(..) | Work::Pool(..));
        // Nor is a machine kept from booting by an entry that is new, or by its former one that makes way for it.
        let is_heirs = intent.after.iter().any(|after| matches!(after, Subject::Boot { .. }));
        let tells = matches!(intent.work, Work::Boot(None)) || matches!(intent.work, Work::Boot(_)) && is_heirs;
        // A clean disk for the next boot, and what it is a clone of, take nothing from anybody.
        let makes = matches!(intent.work, Work::MakeSide(..) | Work::Version(..)) && intent.disruption != Disruption::LosesData;
        shows || tells || makes || intent.purpose == Purpose::Upkeep || matches!(subject, Subject::Kernel)
    };
    for (_, intent) in builder.intents.iter_mut().filter(|(subject, intent)| !goes_on(subject, intent)) {
        intent.hold(hold.clone());
    }
}

/// Holds what failed a short while ago.
pub(super) fn gate_paused(observation: &Observation, builder: &mut PlanBuilder) {
    if observation.paused.is_empty() {
        return;
    }
    for (subject, intent) in builder.intents.iter_mut().filter(|(_, intent)| intent.is_open()) {
        if let Some(paused) = observation.paused.get(&subject.to_string()) {
            intent.hold(Hold::Backoff { failures: paused.failures, error: paused.error.clone() });
        }
    }
}

/// How many kept disks and versions lose their data by an intent.
pub(super) fn lost(intent: &Intent) -> u32 {
    match &intent.work {
        _ if intent.disruption != Disruption::LosesData => 0,
        Work::RemoveSide(_, _, disks) => disks.len() as u32,
        _ => 1,
    }
}

/// Holds everything about disks while objects of the site lie where it no longer looks: in another volume group or pool, or under
/// another prefix. The consent to everything, `"*"`, lets them be left behind.
pub(super) fn gate_left_behind(desired: &Desired, observation: &Observation, builder: &mut PlanBuilder) {
    let mut behind: BTreeMap<String, u32> = BTreeMap::new();
    for (group, count) in &observation.elsewhere {
        behind.insert(format!("volume group {group}"), *count);
    }
    let ours = Mark::tag(Mark::SITE, &desired.site);
    if let (Some(storage), Some(vg)) = (&desired.storage, observation.vg.present()) {
        for lv in vg.lvs.values() {
            if let LvKind::Thin { pool, .. } = &lv.kind
                && pool != storage.pool().as_str()
                && lv.tags.contains(Mark::OURS)
                && lv.tags.contains(&ours)
            {
                *behind.entry(format!("thin pool {}/{pool}", storage.vg())).or_default() += 1;
            }
        }
    }
    let mark = Mark::alias(&desired.site);
    if let Some(lio) = observation.lio.present() {
        let is_ours = |path: &str| lio.backstores.get(path).is_some_and(|backstore| backstore.alias == mark) && in_range(path);
        for (name, target) in &lio.targets {
            let prefix = desired.storage.as_ref().map(|storage| storage.iqn_prefix());
            if prefix.is_some_and(|prefix| parse_target(prefix, name).is_some()) {
                continue;
            }
            let mut links = target.tpgs.values().flat_map(|tpg| tpg.luns.values()).filter_map(|lun| lun.link.as_ref()).peekable();
            // One that somebody else made over one of our disks is another matter: its seat waits.
            let is_named_so = name
                .rsplit_once(':')
                .is_some_and(|(prefix, _)| prefix.parse().is_ok_and(|prefix| parse_target(&prefix, name).is_some()));
            if links.peek().is_some() && is_named_so && links.all(|(_, path)| is_ours(path)) {
                let prefix = name.rsplit_once(':').map_or("", |(prefix, _)| prefix);
                *behind.entry(format!("targets of {prefix}")).or_default() += 1;
            }
        }
    }
    let consents = desired.policy.may_destroy.contains(&Consent::Everything);
    for (what, count) in behind {
        if consents {
            builder.note(&*what, format!("{count} objects of this site are left there"));
            continue;
        }
        let subject = Subject::Pool { name: what.clone() };
        let intent = Intent::new(super::Action::Alter, "", Reason::Unwanted, Work::Pool(Vec::new()));
        builder.add(subject, intent.held(Some(Hold::LeftBehind { what, count })));
    }
}

fn in_range(path: &str) -> bool {
    let hba = path.split('/').next().unwrap_or("");
    hba.strip_prefix("iblock_").and_then(|n| n.parse().ok()).is_some_and(|n: u32| BACKSTORE_RANGE.contains(&n))
}
