//! What every part of the planner looks at.

use crate::desired::{Desired, Mark, Storage};
use crate::names::{LvName, MachineName};
use crate::observed::{Lio, Lv, LvKind, Observation, Vg};
use crate::site::{Consent, Reset};
use std::collections::BTreeMap;

/// Desired and observed storage side by side; exists only when both could be read.
pub(super) struct Context<'a> {
    pub desired: &'a Desired,
    pub storage: &'a Storage,
    pub observation: &'a Observation,
    pub vg: &'a Vg,
    pub lio: &'a Lio,
    /// Our volumes by name.
    pub ours: BTreeMap<&'a str, &'a Lv>,
}

/// The value of a tag, if the volume carries it.
pub(super) fn tag<'a>(lv: &'a Lv, key: &str) -> Option<&'a str> {
    lv.tags.iter().find_map(|tag| tag.strip_prefix(key)?.strip_prefix('='))
}

impl<'a> Context<'a> {
    pub fn new(desired: &'a Desired, storage: &'a Storage, observation: &'a Observation, vg: &'a Vg, lio: &'a Lio) -> Self {
        let site = Mark::tag(Mark::SITE, &desired.site);
        let ours = vg
            .lvs
            .iter()
            .filter(|(_, lv)| lv.tags.contains(Mark::OURS) && lv.tags.contains(&site) && matches!(lv.kind, LvKind::Thin { .. }))
            .map(|(name, lv)| (name.as_str(), lv))
            .collect();
        Self { desired, storage, observation, vg, lio, ours }
    }

    /// Our volume of this name.
    pub fn our(&self, name: &LvName) -> Option<&'a Lv> {
        self.ours.get(name.as_str()).copied()
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
        tag(lv, Mark::MADE) == Some(self.observation.boot_id.as_str())
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

/// A policy as its tag and the site spell it.
pub(super) fn reset_text(reset: Reset) -> &'static str {
    match reset {
        Reset::EveryBoot => "every-boot",
        Reset::OnUpdate => "on-update",
        Reset::Never => "never",
    }
}
