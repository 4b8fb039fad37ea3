//! From a site and an observation to a plan: intents, then gates to a fixpoint, then operations from final gates only.

use super::boot::{plan_boot, published, resolve_disks};
use super::builder::{Intent, PlanBuilder, Work};
use super::context::Context;
use super::exports::is_our_hba;
use super::gate::{gate_count, gate_left_behind, gate_paused};
use super::glob::{Targets, narrow};
use super::order::arrange;
use super::pool::{gate_vg_metadata, no_group, note_vg_metadata, plan_delivery, plan_pool};
use super::seats::{Machines, plan_seats};
use super::versions::{gate_ends, plan_versions};
use super::{Action, Change, ExportOp, Hold, Plan, Reason, Revision, Subject, VERSION};
use crate::boot::compute_table;
use crate::boot::ipxe::TemplateError;
use crate::boot::table::BootTable;
use crate::desired::{self, Desired, Storage};
use crate::diagnostic::{Code, Diagnostic, Place, Severity};
use crate::names::{Bytes, DiskId, ImageName};
use crate::observed::{Lio, Observation, Seen, Stock};
use crate::site::{Consent, Site};
use std::collections::BTreeSet;

/// A site with everything that follows from it alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The objects that should exist.
    pub desired: Desired,
    /// What machines should be told.
    pub table: BootTable,
}

/// What a template may name, for the hint of one that names something else.
const TEMPLATE_VALUES: &str = "a template may name site and base; machine.ipxe also machine.name, .ip, .macs, .initiator, \
     .gateway and .chap, timeout_ms, and entries with .name, .title, .key, .kind, .target, .root_path, .disks (.drive, .root_path), \
     .kernel, .initrd and .args";

/// Names every object and renders every script; what fails is a finding of the site.
pub fn prepare(site: &Site) -> Result<Prepared, Vec<Diagnostic>> {
    let desired = desired::compute(site).map_err(|error| {
        let rule = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        let (code, place) = (Code::new("name-too-long"), Place::whole("site.toml"));
        let message = format!("{error}{rule}");
        vec![Diagnostic { place, severity: Severity::Error, code, message, hint: None, also: Vec::new() }]
    })?;
    let table = compute_table(&desired)
        .map_err(|errors| errors.into_iter().map(|error| template_finding(site, error)).collect::<Vec<_>>())?;
    Ok(Prepared { desired, table })
}

fn template_finding(site: &Site, error: TemplateError) -> Diagnostic {
    let template = site.templates.get(error.file.trim_start_matches("templates/"));
    let text = template.and_then(|text| text.lines().nth((error.line as usize).checked_sub(1)?)).map(str::to_owned);
    let place = Place { column: u32::from(error.line > 0), file: error.file, line: error.line, width: 0, text };
    let (code, hint) = (Code::new("template"), Some(TEMPLATE_VALUES.to_owned()));
    Diagnostic { place, severity: Severity::Error, code, message: error.message, hint, also: Vec::new() }
}

/// The ordered changes that make the host what the site says.
pub fn compute(prepared: &Prepared, observation: &Observation, revision: Revision, targets: &Targets) -> Plan {
    let mut builder = PlanBuilder::default();
    let desired = &prepared.desired;
    let stock = stock_of(desired, observation);
    let nothing = Lio::default();
    let context = match (&desired.storage, &stock, &observation.vg, &observation.lio) {
        (Some(storage), Some(stock), Seen::Present(vg), Seen::Present(lio)) => {
            Some(Context::new(desired, storage, observation, vg, lio, stock))
        }
        (Some(storage), Some(stock), Seen::Present(vg), Seen::Absent) => {
            Some(Context::new(desired, storage, observation, vg, &nothing, stock))
        }
        _ => None,
    };
    let machines = match (&desired.storage, &context) {
        (Some(storage), Some(context)) => plan_storage(context, storage, &mut builder),
        (Some(storage), None) => {
            hold_storage(storage, unseen(storage, observation), &mut builder);
            Machines::new()
        }
        (None, _) => {
            gate_left_behind(desired, observation, &mut builder);
            Machines::new()
        }
    };
    let seen = context.as_ref().map(|context| (context, &machines));
    let before = published(observation, &prepared.table, &mut builder);
    let table = resolve_disks(seen, &prepared.table, before.as_deref(), &builder);
    note_assets(prepared, observation, &mut builder);
    plan_boot(desired, &table, before.as_deref(), observation, &mut builder);
    gate_count(desired, observation, &mut builder);
    narrow(&mut builder, targets);
    gate_paused(observation, &mut builder);
    builder.hold_what_waits();
    let (changes, notes, steps) = arrange(context.as_ref(), builder, &table, before.as_deref());
    let is_changed = |image: &ImageName| {
        changes.iter().any(|change: &Change| matches!(&change.subject, Subject::Version { image: of, .. } if of == image))
    };
    let titles = desired.titles.clone().into_iter().filter(|(image, _)| is_changed(image)).collect();
    Plan { version: VERSION, site: desired.site.clone(), revision, titles, changes, notes, steps }
}

/// The disks of the site's store.
pub fn stock_of(desired: &Desired, observation: &Observation) -> Option<Stock> {
    let storage = desired.storage.as_ref()?;
    let vg = observation.vg.present()?;
    let explains = |was: &DiskId, now: &DiskId| match (was, now) {
        (DiskId::Seat { machine, image, side }, DiskId::Seat { machine: m, image: i, side: s }) => {
            (storage.machine_now(machine), storage.image_now(image), side) == (m, i, s)
        }
        (DiskId::Version { image, version }, DiskId::Version { image: i, version: v }) => {
            (storage.image_now(image), version) == (i, v)
        }
        _ => false,
    };
    Some(Stock::of_thin(vg, &desired.site, explains))
}

/// Why nothing can be planned for disks.
fn unseen(storage: &Storage, observation: &Observation) -> Hold {
    match (&observation.vg, &observation.lio) {
        (Seen::Absent, _) => no_group(storage, observation.devices_file),
        (Seen::Unreadable(what), _) | (_, Seen::Unreadable(what)) => Hold::Unreadable { what: what.clone() },
        _ => Hold::Unreadable { what: "the disks of the site".to_owned() },
    }
}

/// Plans disks and targets; the machines as they were seen, none where all is held.
fn plan_storage<'a>(context: &Context<'a>, storage: &Storage, builder: &mut PlanBuilder) -> Machines<'a> {
    gate_left_behind(context.desired, context.observation, builder);
    if builder.intents.values().any(|intent| !intent.is_open()) {
        let hold = builder.intents.values().find_map(|intent| match &intent.gate {
            super::Gate::Held(hold) => Some(hold.clone()),
            super::Gate::Open => None,
        });
        hold_storage(storage, hold.expect("one is held"), builder);
        return Machines::new();
    }
    // With no target at all nobody has brought the fabric in yet, whatever else of LIO is loaded.
    if context.exports.is_empty && !storage.seats.is_empty() {
        builder.add(Subject::Kernel, Intent::new(Action::Create, "", Reason::Wanted, Work::Kernel));
    }
    note_vg_metadata(context.vg, builder);
    for (name, stray) in &context.stock.strays {
        builder.note(format!("volume {}", context.path(name)), super::words::stray_text(stray));
    }
    let mut pool = plan_pool(context, builder);
    pool.no_new = pool.no_new.take().or_else(|| gate_vg_metadata(context, new_disks(context)));
    plan_versions(context, &pool, builder);
    gate_paused(context.observation, builder);
    builder.hold_what_waits();
    let machines = plan_seats(context, &pool, builder);
    let shows = |intent: &Intent| matches!(intent.work, Work::Show(..) | Work::ShowAnew(..) | Work::MakeSide(_, Some(_)));
    if !builder.intents.values().any(|intent| intent.is_open() && shows(intent)) {
        builder.intents.remove(&Subject::Kernel);
    }
    builder.hold_what_waits();
    gate_ends(context, builder);
    plan_delivery(context, &pool, builder);
    plan_debris(context, builder);
    note_consents(context, builder);
    let shows = |intent: &Intent| matches!(intent.work, Work::MakeSide(_, Some(_)) | Work::Show(..) | Work::ShowAnew(..));
    if builder.intents.contains_key(&Subject::Kernel) {
        for intent in builder.intents.values_mut().filter(|intent| shows(intent)) {
            intent.after.insert(Subject::Kernel);
        }
    }
    machines
}

/// Consents that are not about anything any more, or not yet: whoever reads the site should not take them for something that waits.
fn note_consents(context: &Context<'_>, builder: &mut PlanBuilder) {
    const LISTED: usize = 10;
    let storage = context.storage;
    let given = &context.desired.policy.may_destroy;
    if given.is_empty() {
        return;
    }
    let now = |consent: Consent| match consent {
        Consent::Everything => Consent::Everything,
        Consent::Version(image, version) => Consent::Version(storage.image_now(&image).clone(), version),
        Consent::Clone(machine, image) => {
            Consent::Clone(storage.machine_now(&machine).clone(), storage.image_now(&image).clone())
        }
    };
    // What bears such a name and is none of our disks, or contradicts itself, may yet be what is meant.
    let disks = context.stock.disks.keys().chain(context.stock.taken.keys()).cloned();
    let ends = |disk: DiskId| match disk {
        DiskId::Version { image, version } => Some(Consent::Version(image, version)),
        DiskId::Seat { machine, image, .. } => Some(Consent::Clone(machine, image)),
        _ => None,
    };
    let about: BTreeSet<Consent> = disks.filter_map(ends).map(now).collect();
    let mut idle = given.iter().filter(|consent| **consent != Consent::Everything && !about.contains(&now((*consent).clone())));
    for consent in idle.by_ref().take(LISTED) {
        builder.note("policy.may-destroy", format!("{consent} consents to nothing: there is no such disk"));
    }
    match idle.count() {
        0 => {}
        more => builder.note("policy.may-destroy", format!("{more} more consent to nothing")),
    }
}

/// Disks that the site needs and the store does not have: at least one for each seat.
fn new_disks(context: &Context<'_>) -> u64 {
    let has = |disk: &DiskId| context.stock.disks.contains_key(disk);
    let versions = context.storage.versions.keys().filter(|id| !has(&id.disk())).count();
    let seats = context.storage.seats.keys().filter(|id| {
        let disks = context.by_machine.get(&id.machine).into_iter().flatten();
        !disks.into_iter().any(|(disk, _)| super::view::image_of(disk) == Some(&id.image))
    });
    (versions + seats.count()) as u64
}

/// Empty directories and backstores of ours that nothing stands for.
fn plan_debris(context: &Context<'_>, builder: &mut PlanBuilder) {
    let Some(lio) = context.observation.lio.present() else { return };
    let mut taken = std::collections::BTreeSet::new();
    for intent in builder.intents.values() {
        match &intent.work {
            Work::MakeSide(_, Some(plan)) | Work::Show(_, _, plan) | Work::ShowAnew(_, _, _, plan) => {
                taken.extend(plan.luns.values().map(|lun| lun.backstore.clone()));
            }
            Work::RemoveSide(_, paths, _) | Work::Rename(_, paths, _) => taken.extend(paths.iter().cloned()),
            Work::Live(ops) => taken.extend(ops.iter().filter_map(|op| match op {
                ExportOp::RemoveBackstore { path } => Some(path.clone()),
                _ => None,
            })),
            _ => {}
        }
    }
    for hba in lio.empty_hbas.iter().filter(|path| is_our_hba(path)) {
        if !taken.iter().any(|path| path.split('/').next() == Some(hba)) {
            let op = ExportOp::RemoveDebris { path: format!("core/{hba}") };
            builder.add(
                Subject::Debris { path: format!("core/{hba}") },
                Intent::new(Action::Remove, "", Reason::CutOff, Work::Debris(op)),
            );
        }
    }
    for path in context.exports.idle.iter().filter(|path| !taken.contains(**path)) {
        let disk = lio.backstores.get(*path).and_then(|backstore| backstore.device);
        let is_waiting = disk.is_some_and(|device| context.stock.by_device().contains_key(&device));
        if !is_waiting {
            let op = ExportOp::RemoveBackstore { path: (*path).to_owned() };
            let subject = Subject::Debris { path: format!("core/{path}") };
            builder.add(subject, Intent::new(Action::Remove, "", Reason::CutOff, Work::Debris(op)));
        }
    }
}

/// Nothing can be concluded about disks and targets: one change says so for all of them, and machines that would need new ones wait
/// for it.
fn hold_storage(storage: &Storage, hold: Hold, builder: &mut PlanBuilder) {
    let pool = Subject::Pool { name: format!("{}/{}", storage.vg(), storage.pool()) };
    if storage.versions.is_empty() && storage.seats.is_empty() {
        builder.note(format!("volume group {}", storage.vg()), super::words::hold_text(&hold));
        return;
    }
    if !builder.intents.contains_key(&pool) {
        let detail = format!(
            "{} and {}",
            super::render::counted(storage.versions.len(), "version"),
            super::render::counted(storage.seats.len(), "seat")
        );
        builder.add(pool, Intent::new(Action::Alter, detail, Reason::Wanted, Work::Pool(Vec::new())).held(Some(hold)));
    }
}

fn note_assets(prepared: &Prepared, observation: &Observation, builder: &mut PlanBuilder) {
    for asset in &prepared.table.assets {
        match observation.assets.get(asset) {
            Some(Seen::Present(Bytes(0))) => builder.note(format!("asset {asset}"), "it is empty"),
            Some(Seen::Present(_)) => {}
            Some(Seen::Unreadable(why)) => builder.note(format!("asset {asset}"), format!("it cannot be read: {why}")),
            Some(Seen::Absent) | None => builder
                .note(format!("asset {asset}"), "it is not in the asset store; machines that boot it will say so and try again"),
        }
    }
}
