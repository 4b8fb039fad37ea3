//! What every part of the planner looks at.

use crate::desired::{CloneVolume, Desired, Mark, Storage};
use crate::names::{LvName, MachineName, Portal};
use crate::observed::{Backstore, Lio, Lv, LvKind, Observation, Target, Vg};
use crate::site::{Consent, Reset};
use std::collections::{BTreeMap, BTreeSet};

/// Desired and observed storage side by side; exists only when both could be read.
pub(super) struct Context<'a> {
    pub desired: &'a Desired,
    pub storage: &'a Storage,
    pub observation: &'a Observation,
    pub vg: &'a Vg,
    pub lio: &'a Lio,
    /// What the alias of a backstore of ours says.
    pub mark: String,
    /// Our volumes by name.
    pub ours: BTreeMap<&'a str, &'a Lv>,
    /// The site's clones, each beside our volume of that name.
    pub clones: Vec<Joined<'a>>,
    /// Our volumes that the site names no clone of.
    pub others: Vec<(&'a str, &'a Lv)>,
    /// Machines of which some clone was made before the kernel started.
    pub older: BTreeSet<&'a str>,
    /// Backstores by the device they hold; the kernel lets only one hold it.
    pub holders: BTreeMap<(u32, u32), (&'a str, &'a Backstore)>,
    /// Our volumes' names by their device.
    pub devices: BTreeMap<(u32, u32), &'a str>,
    /// A target that is not ours and keeps ours from listening.
    pub stranger: Option<&'a str>,
}

/// A clone of the site beside the volume of its name.
pub(super) struct Joined<'a> {
    pub name: &'a LvName,
    pub clone: &'a CloneVolume,
    pub lv: Option<&'a Lv>,
    /// Whether its tags say what they should; asked while they are at hand, for a host has a hundred thousand of them.
    pub is_marked: bool,
}

/// The value of a tag, if the volume carries it.
pub(super) fn tag<'a>(lv: &'a Lv, key: &str) -> Option<&'a str> {
    lv.tags.value(key)
}

/// Whether a volume carries our mark and this one, of a site.
pub(super) fn bears_marks(lv: &Lv, site: &str) -> bool {
    lv.tags.contains(Mark::OURS) && lv.tags.contains(site)
}

impl<'a> Context<'a> {
    pub fn new(desired: &'a Desired, storage: &'a Storage, observation: &'a Observation, vg: &'a Vg, lio: &'a Lio) -> Self {
        let site = Mark::tag(Mark::SITE, &desired.site);
        let is_ours = |lv: &Lv| bears_marks(lv, &site) && matches!(lv.kind, LvKind::Thin { .. });
        let absent = |(name, clone)| Joined { name, clone, lv: None, is_marked: false };
        let (mut clones, mut others, mut older) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut ours: Vec<(&str, &Lv)> = Vec::new();
        // Both are in order: one walk beside the other finds each volume, and looking each up takes longer the more there are.
        let mut wanted = storage.clones.iter().peekable();
        for (name, lv) in vg.lvs.iter().map(|(name, lv)| (name.as_str(), lv)).filter(|(_, lv)| is_ours(lv)) {
            ours.push((name, lv));
            let before = std::iter::from_fn(|| wanted.next_if(|(wanted, _)| wanted.as_str() < name));
            clones.extend(before.map(absent));
            match wanted.next_if(|(wanted, _)| wanted.as_str() == name) {
                Some((name, clone)) => {
                    let is_marked = is_marked(clone, lv, &observation.boot_id);
                    clones.push(Joined { name, clone, lv: Some(lv), is_marked });
                }
                None => others.push((name, lv)),
            }
            if !is_of_boot(lv, &observation.boot_id) {
                older.extend(tag(lv, Mark::MACHINE));
            }
        }
        clones.extend(wanted.map(absent));
        let ours = BTreeMap::from_iter(ours);
        let holders = lio.backstores.iter().filter_map(|(path, seen)| Some((seen.device?, (path.as_str(), seen)))).collect();
        let devices = ours.iter().filter_map(|(name, lv)| Some((lv.device?, *name))).collect();
        let stranger = stranger(storage, lio);
        let mark = Mark::alias(&desired.site);
        Self { desired, storage, observation, vg, lio, mark, ours, clones, others, older, holders, devices, stranger }
    }

    /// Our volume of this name.
    pub fn our(&self, name: &LvName) -> Option<&'a Lv> {
        self.ours.get(name.as_str()).copied()
    }

    /// The backstore that holds this volume's device, ours or not.
    pub fn holder(&self, lv: &Lv) -> Option<(&'a str, &'a Backstore)> {
        self.holders.get(&lv.device?).copied()
    }

    /// What stands under this name and is not ours.
    pub fn foreign(&self, name: &LvName) -> Option<&'a Lv> {
        self.vg.lvs.get(name.as_str()).filter(|_| !self.ours.contains_key(name.as_str()))
    }

    /// `vg/lv`.
    pub fn path(&self, lv: impl std::fmt::Display) -> String {
        format!("{}/{lv}", self.storage.vg)
    }

    /// Whether the site consents in writing to the end of this.
    pub fn consents(&self, consent: &Consent) -> bool {
        let given = &self.desired.policy.may_destroy;
        given.contains(&Consent::Everything) || given.contains(consent)
    }

    /// Whether a clone was made since the kernel started, so that LIO's counters cover its whole life.
    pub fn is_of_this_boot(&self, lv: &Lv) -> bool {
        is_of_boot(lv, &self.observation.boot_id)
    }

    /// Whether the clone was made under a policy that keeps it; a clone that does not say is taken to be kept.
    pub fn is_kept(lv: &Lv) -> bool {
        !matches!(tag(lv, Mark::RESET), Some("every-boot" | "on-update"))
    }

    /// The machine a clone belongs to, by its tag.
    pub fn machine_of(lv: &Lv) -> Option<MachineName> {
        tag(lv, Mark::MACHINE)?.parse().ok()
    }
}

/// Whether a clone's tags say what they should, and that it was made in this boot where that is asked of it.
fn is_marked(clone: &CloneVolume, lv: &Lv, boot_id: &str) -> bool {
    let wanted = [
        (Mark::MACHINE, clone.machine.as_str()),
        (Mark::IMAGE, clone.image.as_str()),
        (Mark::VERSION, clone.version.as_str()),
        (Mark::RESET, reset_text(clone.reset)),
    ];
    wanted.into_iter().all(|(key, value)| tag(lv, key) == Some(value))
        && (clone.reset != Reset::EveryBoot || is_of_boot(lv, boot_id))
}

fn is_of_boot(lv: &Lv, boot_id: &str) -> bool {
    tag(lv, Mark::MADE) == Some(boot_id)
}

/// A target that is not ours and listens on every address of the port keeps ours from listening on one (`kernel_bind` then
/// says EADDRINUSE, and the portal's directory is refused with EINVAL), unless ours was there first.
fn stranger<'a>(storage: &Storage, lio: &'a Lio) -> Option<&'a str> {
    let prefix = format!("{}:", storage.iqn_prefix);
    let portals = |target: &'a Target| target.tpgs.values().flat_map(|tpg| &tpg.portals);
    let is_ours = |name: &str| name.starts_with(&prefix);
    let listens = |target: &'a Target| portals(target).any(|portal| *portal == storage.portal);
    if lio.targets.iter().any(|(name, target)| is_ours(name) && listens(target)) {
        return None;
    }
    let taken = |portal: &Portal| portal.0.port() == storage.portal.0.port() && portal.0.ip().is_unspecified();
    lio.targets.iter().find(|(name, target)| !is_ours(name) && portals(target).any(taken)).map(|(name, _)| name.as_str())
}

/// A policy as its tag and the site spell it.
pub(super) fn reset_text(reset: Reset) -> &'static str {
    match reset {
        Reset::EveryBoot => "every-boot",
        Reset::OnUpdate => "on-update",
        Reset::Never => "never",
    }
}
