//! From a site and an observation to a plan.

use super::boot::{plan_boot, published};
use super::clone::decide_fates;
use super::context::Context;
use super::draft::{Draft, Drafted};
use super::glob::{Targets, narrow};
use super::lio::{is_our_hba, kernel_ops};
use super::order::arrange;
use super::pool::{gate_vg_metadata, note_vg_metadata, plan_delivery, plan_pool};
use super::render::counted;
use super::seat::plan_seats;
use super::version::{plan_version_ends, plan_versions};
use super::{Action, Disruption, Gate, Hold, Plan, Revision, Subject, VERSION};
use crate::boot::compute_table;
use crate::boot::ipxe::TemplateError;
use crate::boot::table::BootTable;
use crate::desired::{self, Desired, Storage};
use crate::names::Bytes;
use crate::observed::{Lio, Observation, Seen};
use crate::site::{Finding, Severity, Site};

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
pub fn prepare(site: &Site) -> Result<Prepared, Vec<Finding>> {
    let desired = desired::compute(site).map_err(|error| {
        let rule = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        let file = "site.toml".to_owned();
        let message = format!("{error}{rule}");
        vec![Finding { file, line: 0, column: 0, severity: Severity::Error, message, text: None, hint: None }]
    })?;
    let table = compute_table(&desired)
        .map_err(|errors| errors.into_iter().map(|error| template_finding(site, error)).collect::<Vec<_>>())?;
    Ok(Prepared { desired, table })
}

fn template_finding(site: &Site, error: TemplateError) -> Finding {
    let template = site.templates.get(error.file.trim_start_matches("templates/"));
    let text = template.and_then(|text| text.lines().nth((error.line as usize).checked_sub(1)?)).map(str::to_owned);
    Finding {
        column: u32::from(error.line > 0),
        file: error.file,
        line: error.line,
        severity: Severity::Error,
        message: error.message,
        text,
        hint: Some(TEMPLATE_VALUES.to_owned()),
    }
}

/// The ordered changes that make the host what the site says.
pub fn compute(prepared: &Prepared, observation: &Observation, revision: Revision, targets: &Targets) -> Plan {
    let mut draft = Draft::default();
    let desired = &prepared.desired;
    if let Some(storage) = &desired.storage {
        plan_storage(desired, storage, observation, &mut draft);
    }
    let before = published(observation, &prepared.table, &mut draft);
    note_assets(prepared, observation, &mut draft);
    plan_boot(desired, &prepared.table, before.as_deref(), observation.secrets.served, &mut draft);
    limit_destruction(desired, &mut draft);
    narrow(&mut draft, targets);
    draft.hold_what_waits();
    let (changes, notes, steps) = arrange(draft, &prepared.table, before.as_deref());
    Plan { version: VERSION, site: desired.site.clone(), revision, changes, notes, steps }
}

fn plan_storage(desired: &Desired, storage: &Storage, observation: &Observation, draft: &mut Draft) {
    let vg = match &observation.vg {
        Seen::Present(vg) => vg,
        Seen::Absent => {
            let reason =
                format!("there is no volume group {vg}; make it with vgcreate --metadatasize 16m {vg} <device>", vg = storage.vg);
            return hold_storage(storage, Hold::Pool { reason }, draft);
        }
        Seen::Unreadable(why) => return hold_storage(storage, Hold::Unreadable { what: why.clone() }, draft),
    };
    let nothing = Lio::default();
    let lio = match &observation.lio {
        Seen::Present(lio) => lio,
        Seen::Absent => &nothing,
        Seen::Unreadable(why) => return hold_storage(storage, Hold::Unreadable { what: why.clone() }, draft),
    };
    // With no target at all nobody has brought the fabric in yet, whatever else of LIO is loaded.
    let kernel = Some(Subject::Kernel).filter(|_| lio.targets.is_empty() && !storage.targets.is_empty());
    if let Some(subject) = &kernel {
        let mut change = Drafted::new(Action::Create, "load its modules", "targets are to be made and the kernel has none yet");
        change.work.early = kernel_ops();
        draft.add(subject.clone(), change);
    }
    note_vg_metadata(vg, draft);
    let context = Context::new(desired, storage, observation, vg, lio);
    let mut pool = plan_pool(&context, draft);
    pool.no_new = pool.no_new.take().or_else(|| gate_vg_metadata(&context, new_volumes(&context)));
    plan_versions(&context, &pool, draft);
    draft.hold_what_waits();
    let fates = decide_fates(&context, &pool, draft);
    plan_seats(&context, &pool, fates, kernel.as_ref(), draft);
    plan_version_ends(&context, &pool, draft);
    plan_delivery(&context, &pool, draft);
    note_due(draft);
    for hba in lio.empty_hbas.iter().filter(|path| is_our_hba(path)) {
        let is_built_again = draft
            .changes
            .values()
            .any(|change| change.work.build.contains(&super::Op::ConfigFs(super::ConfigFsOp::Mkdir(format!("core/{hba}")))));
        if !is_built_again {
            let mut change = Drafted::new(Action::Remove, "empty directory", "a run that was cut off left it")
                .disrupting(Disruption::DropsSession);
            change.work.teardown.push(super::Op::ConfigFs(super::ConfigFsOp::Rmdir(format!("core/{hba}"))));
            draft.add(Subject::Backstore(hba.clone()), change);
        }
    }
}

/// Says which seats are reset when their machines are off: nothing changes until then, and nobody should wonder.
fn note_due(draft: &mut Draft) {
    const NAMED: usize = 8;
    if draft.due.is_empty() {
        return;
    }
    let mut names: Vec<String> = draft.due.iter().take(NAMED).cloned().collect();
    if draft.due.len() > NAMED {
        names.push(format!("{} more", draft.due.len() - NAMED));
    }
    draft.note("reset", format!("{}: used, and made anew once the machine is off", names.join(", ")));
}

/// Volumes that the site names and the host does not have.
fn new_volumes(context: &Context<'_>) -> u64 {
    let clones = context.clones.iter().filter(|clone| clone.lv.is_none()).map(|clone| clone.name);
    let names = context.storage.versions.keys().chain(clones);
    names.filter(|name| !context.vg.lvs.contains_key(name.as_str())).count() as u64
}

/// Nothing can be concluded about volumes and targets: one change says so for all of them, and machines that would need
/// new targets wait for it.
fn hold_storage(storage: &Storage, hold: Hold, draft: &mut Draft) {
    if storage.versions.is_empty() && storage.targets.is_empty() {
        draft.note(format!("volume group {}", storage.vg), hold.to_string());
        return;
    }
    let count = [(storage.versions.len(), "version"), (storage.clones.len(), "clone"), (storage.targets.len(), "target")]
        .map(|(count, noun)| counted(count, noun))
        .join(", ");
    let mut change = Drafted::new(Action::Alter, count, "nothing is known of what is there");
    change.hold(hold);
    let pool = Subject::Pool(storage.vg.clone(), storage.pool.clone());
    draft.add(pool.clone(), change);
    for (name, target) in &storage.targets {
        let mut change = Drafted::new(
            Action::Create,
            format!("initiator {}", target.initiator),
            format!("{} boots {}", target.machine, target.image),
        );
        change.after.insert(pool.clone());
        draft.add(Subject::Target(name.to_string()), change);
    }
}

fn note_assets(prepared: &Prepared, observation: &Observation, draft: &mut Draft) {
    for asset in &prepared.table.assets {
        match observation.assets.get(asset) {
            Some(Seen::Present(Bytes(0))) => draft.note(format!("asset {asset}"), "it is empty"),
            Some(Seen::Present(_)) => {}
            Some(Seen::Unreadable(why)) => draft.note(format!("asset {asset}"), format!("it cannot be read: {why}")),
            Some(Seen::Absent) | None => draft
                .note(format!("asset {asset}"), "it is not in the asset store; machines that boot it will say so and try again"),
        }
    }
}

/// Holds the whole plan when it destroys more volumes than the site allows at once. A clone that is made anew by its
/// policy does not count; a volume that goes for good does. What offers a disk that is there is no part of it: after a power cut
/// the machines come back to theirs.
fn limit_destruction(desired: &Desired, draft: &mut Draft) {
    let is_destroyed = |subject: &Subject, change: &Drafted| {
        let for_good = matches!((subject, change.action), (Subject::Volume(..), Action::Remove));
        change.is_open() && for_good
    };
    let destroys = draft.changes.iter().filter(|(subject, change)| is_destroyed(subject, change)).count() as u32;
    let allowed = desired.policy.max_destroy;
    if destroys > allowed {
        let brings_back = |subject: &Subject, change: &Drafted| {
            matches!((subject, change.action), (Subject::Kernel | Subject::Target(_), Action::Create))
        };
        for (_, change) in draft.changes.iter_mut().filter(|(subject, change)| !brings_back(subject, change)) {
            change.hold(Hold::TooMuch { destroys, allowed });
        }
    }
}

impl Plan {
    /// Changes that may go ahead.
    pub fn open(&self) -> impl Iterator<Item = &super::Change> {
        self.changes.iter().filter(|change| change.is_open())
    }

    /// Changes that wait for something, with what they wait for; what `--target` left out is not among them.
    pub fn held(&self) -> impl Iterator<Item = (&super::Change, &Hold)> {
        self.changes.iter().filter_map(|change| match &change.gate {
            Gate::Held(hold) if *hold != Hold::NotTargeted => Some((change, hold)),
            Gate::Held(_) | Gate::Open => None,
        })
    }

    /// Whether nothing is left to do; held changes may remain.
    pub fn is_converged(&self) -> bool {
        self.open().next().is_none()
    }
}

impl super::Change {
    /// Whether it may go ahead.
    pub fn is_open(&self) -> bool {
        self.gate == Gate::Open
    }
}
