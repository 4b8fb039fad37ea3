//! What the kernel's target shows, as facts about our disks; and what of a target is not as it should be.
//!
//! A target is ours by its name, a backstore by the mark in its alias. **Invariant:** a LUN is never swapped under a session: what
//! cannot be put back under one is a rebuild, which its seat has to be free for.

use super::{Discards, GroupSeen, LunPlan, PortalGroup, Standing, TargetPlan, TargetSeen};
use crate::names::{
    BACKSTORE_RANGE, DiskId, Iqn, Lun, MachineName, Portal, SiteName, TargetId, backstore_number, parse_backstore_name,
    parse_target,
};
use crate::observed::lio_attributes::{self, Attribute, Drift, PutBack, drift};
use crate::observed::occupancy::{commands_of, session_of};
use crate::observed::{Attributes, Backstore, Lio, LoginSeen, Seen, Session, Stock, Target, Tpg};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// The portal group's tag: one target serves one machine, so one group is enough.
pub const TPG: u16 = 1;

/// What INQUIRY says, fixed so that Windows keeps its disk whatever backs it.
pub const INQUIRY: [(&str, &str); 3] = [("vendor_id", "barista"), ("product_id", "seat"), ("revision", "1")];

/// What the kernel shows of ours.
pub(super) struct Exports<'a> {
    /// Our targets by name.
    pub targets: BTreeMap<&'a str, Offering<'a>>,
    /// The same by the machine that their names say.
    pub by_machine: BTreeMap<MachineName, Vec<&'a str>>,
    /// Backstores by the device they hold; the kernel lets only one hold it.
    pub shown: BTreeMap<(u32, u32), Shown<'a>>,
    /// The device of each backstore that has one, by its path.
    pub paths: BTreeMap<&'a str, (u32, u32)>,
    /// Our backstores that no target shows.
    pub idle: Vec<&'a str>,
    /// A target that is not ours and keeps ours from listening.
    pub stranger: Option<&'a str>,
    /// Whether any target is there at all.
    pub is_empty: bool,
    numbers: RefCell<BTreeSet<u32>>,
    right: RefCell<Vec<Right<'a>>>,
}

/// Attributes of which none had drifted; those of most objects are the same to the letter.
struct Right<'a> {
    seen: &'a Attributes,
    table: &'static [Attribute],
    given: Given,
}

/// What attributes must say that depend on the site.
type Given = &'static [(&'static str, &'static str)];

/// A target of ours.
pub(super) struct Offering<'a> {
    pub name: &'a str,
    pub id: TargetId,
    pub seen: &'a Target,
    pub portal_group: PortalGroup,
    /// Its disks by number; none for a LUN that shows no disk of ours.
    pub luns: BTreeMap<Lun, Option<&'a DiskId>>,
}

/// A backstore that holds a device.
pub(super) struct Shown<'a> {
    pub path: &'a str,
    pub backstore: &'a Backstore,
    pub owner: Owner,
    /// The targets whose LUNs lead to it.
    pub targets: Vec<&'a str>,
}

/// Whose a backstore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Ours,
    Foreign,
}

impl<'a> Exports<'a> {
    pub fn of_lio(lio: &'a Lio, stock: &'a Stock, site: &SiteName, prefix: &Iqn, portal: &Portal, mark: &str) -> Self {
        let devices = stock.by_device();
        let mut leads: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, target) in &lio.targets {
            let links = target.tpgs.values().flat_map(|tpg| tpg.luns.values()).filter_map(|lun| lun.link.as_ref());
            for (_, path) in links {
                leads.entry(path.as_str()).or_default().push(name);
            }
        }
        let mut exports = Self {
            targets: BTreeMap::new(),
            by_machine: BTreeMap::new(),
            shown: BTreeMap::new(),
            paths: BTreeMap::new(),
            idle: Vec::new(),
            stranger: stranger(portal, prefix, lio),
            is_empty: lio.targets.is_empty(),
            numbers: RefCell::new(taken_numbers(lio)),
            right: RefCell::default(),
        };
        for (name, seen) in &lio.targets {
            let Some(id) = parse_target(prefix, name) else { continue };
            exports.by_machine.entry(id.machine.clone()).or_default().push(name);
            let of_lun = |path: &str| devices.get(&lio.backstores.get(path)?.device?).copied();
            let luns = seen.tpgs.get(&TPG).into_iter().flat_map(|tpg| &tpg.luns);
            let luns = luns.map(|(lun, seen)| (*lun, seen.link.as_ref().and_then(|(_, path)| of_lun(path)))).collect();
            let is_on = seen.tpgs.values().any(|tpg| tpg.enabled);
            let portal_group = if is_on { PortalGroup::On } else { PortalGroup::Off };
            exports.targets.insert(name, Offering { name, id, seen, portal_group, luns });
        }
        for (path, backstore) in &lio.backstores {
            let targets = leads.remove(path.as_str()).unwrap_or_default();
            let owner = if is_our_backstore(site, path, backstore, mark) { Owner::Ours } else { Owner::Foreign };
            if owner == Owner::Ours && targets.is_empty() {
                exports.idle.push(path);
            }
            if let Some(device) = backstore.device {
                exports.paths.insert(path, device);
                exports.shown.insert(device, Shown { path, backstore, owner, targets });
            }
        }
        exports
    }

    /// What of these attributes does not say what it must.
    fn drift(&self, seen: &'a Attributes, table: &'static [Attribute], given: Given) -> Vec<Drift> {
        const ENOUGH: usize = 8;
        let is_it = |right: &Right<'_>| std::ptr::eq(right.table, table) && right.given == given && right.seen == seen;
        if self.right.borrow().iter().any(is_it) {
            return Vec::new();
        }
        let drifts = drift(seen, table, given);
        if drifts.is_empty() && self.right.borrow().len() < ENOUGH {
            self.right.borrow_mut().push(Right { seen, table, given });
        }
        drifts
    }

    /// A free HBA number for a backstore of this name, the same one whenever it is free, so that every new backstore gets a
    /// directory of its own, as rtslib expects.
    pub fn take_number(&self, name: &str) -> u32 {
        let first = backstore_number(name);
        let mut number = first;
        while !self.numbers.borrow_mut().insert(number) {
            number = if number + 1 < BACKSTORE_RANGE.end { number + 1 } else { BACKSTORE_RANGE.start };
            if number == first {
                break;
            }
        }
        number
    }
}

fn taken_numbers(lio: &Lio) -> BTreeSet<u32> {
    let paths = lio.backstores.keys().chain(&lio.empty_hbas);
    paths.filter_map(|path| path.split('/').next()?.rsplit_once('_')?.1.parse().ok()).collect()
}

/// A target that is not ours and listens on every address of the port keeps ours from listening on one (`kernel_bind` then
/// says EADDRINUSE, and the portal's directory is refused with EINVAL), unless ours was there first.
fn stranger<'a>(wanted: &Portal, prefix: &Iqn, lio: &'a Lio) -> Option<&'a str> {
    let portals = |target: &'a Target| target.tpgs.values().flat_map(|tpg| &tpg.portals);
    let is_ours = |name: &str| parse_target(prefix, name).is_some();
    if lio.targets.iter().any(|(name, target)| is_ours(name) && portals(target).any(|portal| portal == wanted)) {
        return None;
    }
    let taken = |portal: &Portal| portal.0.port() == wanted.0.port() && portal.0.ip().is_unspecified();
    lio.targets.iter().find(|(name, target)| !is_ours(name) && portals(target).any(taken)).map(|(name, _)| name.as_str())
}

/// Whether an observed backstore is ours: by its mark, or as the debris of a run that was cut off before the mark.
fn is_our_backstore(site: &SiteName, path: &str, backstore: &Backstore, mark: &str) -> bool {
    if !backstore.alias.is_empty() {
        return backstore.alias == mark;
    }
    let name = path.split_once('/').map_or("", |(_, name)| name);
    is_our_hba(path) && parse_backstore_name(site, name).is_some()
}

/// Whether an HBA directory has one of the numbers we give out.
pub(super) fn is_our_hba(path: &str) -> bool {
    let hba = path.split('/').next().unwrap_or("");
    hba.strip_prefix("iblock_").and_then(|n| n.parse().ok()).is_some_and(|n: u32| BACKSTORE_RANGE.contains(&n))
}

impl Offering<'_> {
    /// Its last session, an operating system's before a firmware's; what cannot be read is said to be so.
    pub fn session(&self) -> Seen<Session> {
        session_of(self.seen)
    }

    /// Commands on its LUNs and by its ACLs; they only grow while it stands.
    pub fn commands(&self) -> Seen<u64> {
        commands_of(self.seen)
    }

    /// The target with all that is to go when it goes; backstores that other targets show stay.
    pub fn as_seen(&self, exports: &Exports<'_>) -> TargetSeen {
        let group = |tpg: &Tpg| GroupSeen {
            state: if tpg.enabled { PortalGroup::On } else { PortalGroup::Off },
            luns: tpg.luns.iter().map(|(lun, seen)| (*lun, seen.link.as_ref().map(|(link, _)| link.clone()))).collect(),
            acls: tpg
                .acls
                .iter()
                .map(|(initiator, acl)| {
                    let luns = acl.luns.iter().map(|(lun, map)| (*lun, map.link.as_ref().map(|(link, _)| link.clone())));
                    (initiator.clone(), luns.collect())
                })
                .collect(),
            portals: tpg.portals.iter().copied().collect(),
        };
        let links = self.seen.tpgs.values().flat_map(|tpg| tpg.luns.values()).filter_map(|lun| lun.link.as_ref());
        let alone = |path: &&String| {
            let shown = exports.paths.get(path.as_str()).and_then(|device| exports.shown.get(device));
            shown.is_some_and(|shown| shown.owner == Owner::Ours && shown.targets.iter().all(|target| *target == self.name))
        };
        TargetSeen {
            name: self.name.to_owned(),
            groups: self.seen.tpgs.iter().map(|(tag, tpg)| (*tag, group(tpg))).collect(),
            commands: self.commands().present().copied().unwrap_or(0),
            backstores: links.map(|(_, path)| path).filter(alone).cloned().collect(),
        }
    }
}

/// What of a target is not as it should be.
pub(super) enum Fit {
    /// Nothing.
    Fits,
    /// Some of it, and it can be put back under a session: what differs, and what to do.
    Live(String, Vec<super::ExportOp>),
    /// Some of it, and the target has to be built anew: what differs.
    Rebuild(String),
}

/// What a portal group must say of logins: CHAP or none.
fn login_attributes(authenticates: bool) -> Given {
    // The kernel itself takes `None` out of the methods, or adds it, when `authentication` is written.
    if authenticates {
        &[("param/AuthMethod", "CHAP"), ("attrib/authentication", "1")]
    } else {
        &[("param/AuthMethod", "CHAP,None"), ("attrib/authentication", "0")]
    }
}

/// Portal group attributes that are set when it is made: CHAP or none, and whoever has no ACL does not see the target.
pub fn tpg_attributes(authenticates: bool) -> [(&'static str, &'static str); 2] {
    [("authentication", if authenticates { "1" } else { "0" }), ("demo_mode_discovery", "0")]
}

/// Attributes of a backstore that are set when it is made, and put back since, by their path in it: with them a seat's discards return space to the pool.
pub fn backstore_attributes(discards: Discards) -> Given {
    match discards {
        Discards::Free => &[("attrib/emulate_tpu", "1"), ("attrib/emulate_tpws", "1")],
        Discards::Refused => &[],
    }
}

/// Whether a backstore shows a disk in every respect that we set.
pub(super) fn backstore_stands<'a>(
    exports: &Exports<'a>,
    shown: &Shown<'a>,
    serial: &str,
    discards: Discards,
) -> Result<(), String> {
    let Shown { backstore, .. } = shown;
    if !backstore.enabled {
        return Err("its backstore is disabled".to_owned());
    }
    if backstore.serial != serial {
        return Err(format!("its serial is {:?}", backstore.serial));
    }
    if let Some(((name, should), is)) = INQUIRY.iter().zip(&backstore.inquiry).find(|((_, should), is)| is.trim() != *should) {
        return Err(format!("its {name} is {:?} and should be {should:?}", is.trim()));
    }
    let drifts = exports.drift(&backstore.attributes, &lio_attributes::BACKSTORE_ATTRIBUTES, backstore_attributes(discards));
    match drifts.iter().find(|drift| drift.put_back != PutBack::Live) {
        Some(drift) => Err(format!("the {} of its backstore is {:?} and should be {:?}", drift.path, drift.is, drift.should)),
        None => Ok(()),
    }
}

/// What of a target's objects can be put back under a session: what differs, and the writes.
fn live_drift<'a>(
    seen: &Offering<'a>,
    tpg: &'a Tpg,
    wanted: &TargetPlan,
    exports: &Exports<'a>,
) -> (Vec<String>, Vec<(String, String)>, Option<String>) {
    let (mut what, mut writes, mut rebuild) = (Vec::new(), Vec::new(), None);
    let base = format!("iscsi/{}/tpgt_{TPG}", seen.name);
    let mut take = |object: &str, path: &str, drifts: Vec<Drift>| {
        for drift in drifts {
            what.push(format!("{} of {object} is {:?} and should be {:?}", drift.path, drift.is, drift.should));
            match drift.put_back {
                PutBack::Live => writes.push((format!("{path}/{}", drift.write_path), drift.write)),
                // It would end the session: what its free seat is rebuilt for.
                PutBack::EndsSessions | PutBack::NeedsRebuild => rebuild = what.last().cloned(),
            }
        }
    };
    let given = login_attributes(wanted.secrets.is_some());
    take("its portal group", &base, exports.drift(&tpg.attributes, &lio_attributes::TPG_ATTRIBUTES, given));
    for (initiator, acl) in &tpg.acls {
        take(
            initiator,
            &format!("{base}/acls/{initiator}"),
            exports.drift(&acl.attributes, &lio_attributes::ACL_ATTRIBUTES, &[]),
        );
    }
    for (lun, shown) in &tpg.luns {
        let path = format!("{base}/lun/lun_{lun}");
        take(&format!("LUN {lun}"), &path, exports.drift(&shown.attributes, &lio_attributes::LUN_ATTRIBUTES, &[]));
        let Some((_, backstore)) = &shown.link else { continue };
        if let Some(shown) = exports.paths.get(backstore.as_str()).and_then(|device| exports.shown.get(device)) {
            let drifts = exports.drift(
                &shown.backstore.attributes,
                &lio_attributes::BACKSTORE_ATTRIBUTES,
                backstore_attributes(wanted.discards),
            );
            take(&format!("the backstore of LUN {lun}"), &format!("core/{backstore}"), drifts);
        }
    }
    (what, writes, rebuild)
}

/// Compares a target with the one that should stand in its place.
pub(super) fn fit<'a>(seen: &Offering<'a>, wanted: &TargetPlan, exports: &Exports<'a>) -> Fit {
    let Some(tpg) = seen.seen.tpgs.get(&TPG).filter(|_| seen.seen.tpgs.len() == 1) else {
        return Fit::Rebuild("it has no portal group 1, or others beside it".to_owned());
    };
    let shows = |((lun, plan), (seen_lun, link)): ((&Lun, &LunPlan), (&Lun, &crate::observed::TpgLun))| {
        lun == seen_lun && plan.stands == Standing::Stands && link.link.as_ref().is_some_and(|(_, path)| *path == plan.backstore)
    };
    if tpg.luns.len() != wanted.luns.len() || !wanted.luns.iter().zip(&tpg.luns).all(shows) {
        return Fit::Rebuild("its disks are not the ones it should show".to_owned());
    }
    if !tpg.portals.iter().eq([&wanted.portal]) {
        return Fit::Rebuild(format!("it should listen on {}", wanted.portal));
    }
    let mut live = Vec::new();
    let mut what = Vec::new();
    for initiator in &wanted.initiators {
        match tpg.acls.get(initiator.as_str()) {
            None if wanted.secrets.is_none() => {
                what.push(format!("{initiator} cannot reach it"));
                live.push(super::ExportOp::Admit {
                    target: seen.name.parse().expect("a target of ours has a legal name"),
                    initiator: initiator.clone(),
                    luns: wanted.luns.keys().copied().collect(),
                });
            }
            None => return Fit::Rebuild(format!("{initiator} cannot reach it")),
            Some(acl) => {
                let is_whole = acl.luns.keys().eq(wanted.luns.keys())
                    && acl.luns.iter().all(|(lun, map)| map.link.as_ref().is_some_and(|(_, to)| to == lun) && !map.write_protect);
                if !is_whole {
                    return Fit::Rebuild(format!("{initiator} does not reach all of it"));
                }
                if wanted.secrets.is_some() && acl.login != LoginSeen::Same {
                    return Fit::Rebuild(format!("the secret of {} is another one", wanted.machine));
                }
            }
        }
    }
    if let Some(other) = tpg.acls.keys().find(|name| !wanted.initiators.iter().any(|wanted| wanted.as_str() == name.as_str())) {
        return Fit::Rebuild(format!("{other} reaches it as well"));
    }
    let (differences, writes, rebuild) = live_drift(seen, tpg, wanted, exports);
    if let Some(rebuild) = rebuild {
        return Fit::Rebuild(rebuild);
    }
    what.extend(differences);
    let mut writes = writes;
    if wanted.secrets.is_none() && tpg.attributes.get("attrib/authentication") == Some("1") {
        // What nobody is asked for any more is not left lying about.
        for initiator in tpg.acls.keys() {
            let clear = |part| (format!("iscsi/{}/tpgt_{TPG}/acls/{initiator}/auth/{part}", seen.name), "NULL".to_owned());
            writes.extend(["userid", "password"].map(clear));
        }
    }
    if !writes.is_empty() {
        live.push(super::ExportOp::Mend { writes });
    }
    if live.is_empty() { Fit::Fits } else { Fit::Live(what.join("; "), live) }
}
