//! The fake as a stage for whole days: who watches its effects, what other tools do to it, and glances at all of it.
//!
//! **Invariant:** an audience is told of an effect once it is done and nothing is locked, so that it may act itself.

use super::lio::{Lio, Session};
use super::tree::Node;
use super::{FakeHost, Fault, World};
use std::sync::{Arc, PoisonError};

/// Whoever is told of each effect.
pub(super) type Audience = Arc<dyn Fn(&str) + Send + Sync>;

/// A version that was filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    /// The volume's UUID.
    pub uuid: String,
    /// The SHA-256 of what the file held at that moment.
    pub sha256: String,
}

/// A session that a change of the tree ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionLost {
    /// The target.
    pub target: String,
    /// The initiator.
    pub initiator: String,
    /// The initiator's part of its identifier.
    pub isid: String,
}

/// A volume at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeGlance {
    /// The group.
    pub vg: String,
    /// Its name.
    pub name: String,
    /// Its UUID.
    pub uuid: String,
    /// What it holds.
    pub content: super::Content,
    /// Its tags.
    pub tags: Vec<String>,
}

/// A target at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetGlance {
    /// Its name.
    pub name: String,
    /// Whether its portal group is on.
    pub is_on: bool,
    /// The volumes its LUNs show, by their numbers: group and name.
    pub luns: Vec<(u16, String, String)>,
}

impl FakeHost {
    /// Has somebody told of every effect from now on, once it is done.
    pub fn after_each_effect(&self, audience: impl Fn(&str) + Send + Sync + 'static) {
        *self.shared.audience.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(audience));
    }

    /// Tells nobody any more.
    pub fn without_audience(&self) {
        *self.shared.audience.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Tells the audience of effects that it was not told of.
    pub(super) fn tell(&self) {
        let Some(audience) = self.shared.audience.lock().unwrap_or_else(PoisonError::into_inner).clone() else { return };
        loop {
            let mut world = self.world();
            let Some(effect) = world.effects.get(world.told).cloned() else { return };
            world.told += 1;
            drop(world);
            audience(&effect);
        }
    }

    /// Counts whatever changed what an observer could see: first all but what initiators' commands change, then those. Time is not
    /// counted.
    pub fn changes(&self) -> (u64, u64) {
        let world = self.world();
        (world.changes, world.commands)
    }

    /// An attribute that counts.
    pub fn counter(&self, path: &str) -> Option<u64> {
        self.world().lio.as_ref()?.read(path).ok()?.parse().ok()
    }

    /// A target's commands and the writes to its disks, as an observer sums them up.
    pub fn counters(&self, name: &str) -> Option<(u64, Option<u64>)> {
        let world = self.world();
        let lio = world.lio.as_ref()?;
        let tpg = format!("iscsi/{name}/tpgt_1");
        let number = |path: &str| lio.tree.value(path).ok().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        let (mut commands, mut writes) = (0, Some(0));
        for lun in lio.tree.directory(&format!("{tpg}/lun")).ok()?.children.keys() {
            let Some((_, backstore)) = lio.tree.link_in(&format!("{tpg}/lun/{lun}")) else { continue };
            commands += number(&format!("{tpg}/lun/{lun}/statistics/scsi_tgt_port/in_cmds"));
            let io = lio.volume_of(&backstore, &world.lvm).and_then(|(vg, lv)| world.lvm.lv(&vg, &lv)?.io);
            writes = writes.zip(io).map(|(sum, io)| sum + io.writes);
        }
        for (initiator, node) in &lio.tree.directory(&format!("{tpg}/acls")).ok()?.children {
            let Node::Directory(acl) = node else { continue };
            for lun in acl.children.keys().filter(|lun| lio.is_mapped(&format!("{tpg}/acls/{initiator}/{lun}"))) {
                commands += number(&format!("{tpg}/acls/{initiator}/{lun}/statistics/scsi_auth_intr/num_cmds"));
            }
        }
        Some((commands, writes))
    }

    /// Whether every effect fails from now on, until [`Self::revive`].
    pub fn is_down(&self) -> bool {
        let world = self.world();
        matches!(world.fault, Fault::From(at) if world.effects.len() as u64 >= at)
    }

    /// Whether an injected failure is still to come, or goes on.
    pub fn is_armed(&self) -> bool {
        let world = self.world();
        match world.fault {
            Fault::None => false,
            Fault::Once(at) => (world.effects.len() as u64) < at,
            Fault::From(_) => true,
        }
    }

    /// Logs an initiator in with an ISID and from an address of its own; one that is there with that ISID is replaced.
    pub fn login_as(&self, target: &str, initiator: &str, isid: &str, address: &str) -> Result<(), String> {
        self.end_session(target, initiator, isid);
        self.login_from(target, initiator, isid, address)
    }

    /// Ends one session, as its initiator or a timeout does.
    pub fn end_session(&self, target: &str, initiator: &str, isid: &str) {
        let mut world = self.world();
        world.changes += 1;
        if let Some(lio) = &mut world.lio {
            let is_it = |session: &Session| {
                (session.target.as_str(), session.initiator.as_str(), session.isid.as_str()) == (target, initiator, isid)
            };
            lio.sessions.retain(|session| !is_it(session));
        }
    }

    /// Sessions that changes of the tree ended since this was asked last.
    pub fn take_lost_sessions(&self) -> Vec<SessionLost> {
        let mut world = self.world();
        let lost = world.lio.as_mut().map(|lio| std::mem::take(&mut lio.lost)).unwrap_or_default();
        lost.into_iter().map(|lost| SessionLost { target: lost.target, initiator: lost.initiator, isid: lost.isid }).collect()
    }

    /// Every volume.
    pub fn volumes(&self) -> Vec<VolumeGlance> {
        let world = self.world();
        let all = world.lvm.vgs.iter().flat_map(|(vg, group)| group.lvs.iter().map(move |(name, lv)| (vg, name, lv)));
        let glance = |(vg, name, lv): (&String, &String, &super::FakeLv)| VolumeGlance {
            vg: vg.clone(),
            name: name.clone(),
            uuid: lv.uuid.clone(),
            content: lv.content.clone(),
            tags: lv.tags.iter().cloned().collect(),
        };
        all.map(glance).collect()
    }

    /// The UUID and the content of a volume.
    pub fn volume(&self, vg: &str, name: &str) -> Option<(String, super::Content)> {
        self.world().lvm.lv(vg, name).map(|lv| (lv.uuid.clone(), lv.content.clone()))
    }

    /// Every target.
    pub fn targets(&self) -> Vec<TargetGlance> {
        let world = self.world();
        let Some(lio) = &world.lio else { return Vec::new() };
        let Ok(iscsi) = lio.tree.directory("iscsi") else { return Vec::new() };
        let names = iscsi.children.iter().filter(|(name, node)| name.starts_with("iqn.") && matches!(node, Node::Directory(_)));
        names.map(|(name, _)| glance(&world, lio, name)).collect()
    }

    /// One target.
    pub fn target(&self, name: &str) -> Option<TargetGlance> {
        let world = self.world();
        let lio = world.lio.as_ref()?;
        lio.tree.directory(&format!("iscsi/{name}")).ok()?;
        Some(glance(&world, lio, name))
    }

    /// What volumes were filled with, in order.
    pub fn fills(&self) -> Vec<Filled> {
        self.world().fills.clone()
    }

    /// `targetctl clear`: every target and backstore goes, whoever is on it.
    pub fn clear_targets(&self) {
        let mut world = self.world();
        world.changes += 1;
        let World { lio: Some(lio), lvm, .. } = &mut *world else { return };
        for number in lio.devices.values().filter_map(|device| device.number) {
            lvm.release(number);
        }
        *lio = Lio::new();
    }
}

fn glance(world: &World, lio: &Lio, name: &str) -> TargetGlance {
    let tpg = format!("iscsi/{name}/tpgt_1");
    let is_on = lio.tree.value(&format!("{tpg}/enable")) == Ok("1");
    let luns = lio.tree.directory(&format!("{tpg}/lun")).map(|luns| luns.children.keys().cloned().collect::<Vec<_>>());
    let shown = |lun: &String| {
        let (_, backstore) = lio.tree.link_in(&format!("{tpg}/lun/{lun}"))?;
        let (vg, volume) = lio.volume_of(&backstore, &world.lvm)?;
        Some((lun.strip_prefix("lun_")?.parse().ok()?, vg, volume))
    };
    TargetGlance { name: name.to_owned(), is_on, luns: luns.unwrap_or_default().iter().filter_map(shown).collect() }
}
