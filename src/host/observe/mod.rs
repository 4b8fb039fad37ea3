//! Looks at the host and writes down what is there.
//!
//! **Invariant:** changes nothing. What could not be read is `Unreadable` with the thing and the mend in its reason; absent is
//! only what was looked for with success and is not there.

mod files;
mod lio;
mod lvm;

pub use files::observe_published;
pub use lio::Depth;
pub(super) use lio::read_target_now;

use super::apply::filling;
use super::commands::Commands;
use super::offered::Record;
use super::{System, secrets::observe_secrets};
use crate::desired::{Source, SourceFormat};
use crate::names::{Iqn, Mark, Mono, SiteName, VgName};
use crate::observed::occupancy::{Look, Network};
use crate::observed::{Observation, SecretsSeen, Seen, ServedSecrets, Vg};
use crate::plan::Prepared;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// What to look at: what the site owns, and the files that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The site; backstores whose name begins with it and a dot are its own.
    pub site: SiteName,
    /// The volume group; none when the site has no disks, and then neither LVM nor configfs is looked at.
    pub vg: Option<VgName>,
    /// What the names of the site's targets begin with, before a colon.
    pub iqn_prefix: Option<Iqn>,
    /// The directory of image sources.
    pub image_store: PathBuf,
    /// Files of the image store that some version still needs, by their path in the site.
    pub sources: BTreeMap<String, SourceFormat>,
    /// The directory of assets.
    pub assets_dir: PathBuf,
    /// Files of the asset store that scripts name.
    pub assets: BTreeSet<String>,
    /// The interfaces that machines are reached through.
    pub interfaces: BTreeSet<String>,
    /// The state directory.
    pub state: PathBuf,
    /// The file of the CHAP secrets.
    pub chap_secrets: Option<PathBuf>,
}

impl Scope {
    /// What to look at for a site; `state` is the state directory.
    pub fn of(prepared: &Prepared, state: &Path) -> Self {
        let storage = prepared.desired.storage.as_ref();
        let versions = storage.into_iter().flat_map(|storage| storage.versions.values());
        let sources = versions.filter_map(|version| match &version.source {
            Source::Blank => None,
            Source::File { path, format, .. } => Some((path.clone(), *format)),
        });
        Self {
            site: prepared.desired.site.clone(),
            vg: storage.map(|storage| storage.vg().clone()),
            iqn_prefix: storage.map(|storage| storage.iqn_prefix().clone()),
            image_store: Self::image_store(prepared, state),
            sources: sources.collect(),
            assets_dir: state.join("assets"),
            assets: prepared.table.assets.clone(),
            interfaces: prepared.table.networks.values().map(|network| network.interface.clone()).collect(),
            state: state.to_owned(),
            chap_secrets: prepared.table.chap_secrets.as_ref().map(PathBuf::from),
        }
    }

    /// Where image sources lie: where the site says, else `images/` below the state directory.
    pub fn image_store(prepared: &Prepared, state: &Path) -> PathBuf {
        let named = prepared.desired.storage.as_ref().and_then(|storage| storage.image_store.as_ref());
        named.map_or_else(|| state.join("images"), PathBuf::from)
    }
}

/// Looks at everything once. What an agent knows of who is at work is the caller's to add.
pub fn observe(system: &System, scope: &Scope) -> Observation {
    observe_to(system, scope, Depth::Whole)
}

/// Looks at the host once, at configfs as deep as said.
pub fn observe_to(system: &System, scope: &Scope, depth: Depth<'_>) -> Observation {
    let (secrets, stand_in) = observe_secrets(scope.chap_secrets.as_deref(), &scope.state);
    let known = secrets.present().cloned().unwrap_or_default();
    // What was being filled before LVM was asked may be whole by now; by its report it is not.
    let filled_before = filling(&scope.state);
    let (vg, elsewhere) = lvm::observe_groups(system, &scope.site, scope.vg.as_ref(), depth);
    let lio = match &scope.iqn_prefix {
        Some(prefix) => lio::observe_lio(system, &scope.site, prefix, known, depth),
        None => Seen::Absent,
    };
    let offered = match &scope.vg {
        Some(_) => Record::new(system, &scope.state).read(),
        None => Seen::Absent,
    };
    Observation {
        at: system.kernel.now(),
        now: Mono::from(system.kernel.boottime()),
        boot_id: system.kernel.boot_id(),
        elsewhere,
        devices_file: crate::host::devices_file::devices_file(system),
        written: written(system, &vg),
        vg,
        lio,
        offered,
        occupancy: None,
        paused: Default::default(),
        waiting: BTreeMap::new(),
        published: files::observe_published(&scope.state),
        sources: files::observe_sources(system, scope),
        filling: filling(&scope.state).into_iter().chain(filled_before).collect(),
        assets: files::observe_assets(scope),
        secrets: SecretsSeen {
            served: match stand_in {
                Some(_) => ServedSecrets::Same,
                None => files::observe_served_secrets(&scope.state, &secrets),
            },
            stand_in,
            machines: match secrets {
                Seen::Absent => Seen::Absent,
                Seen::Present(secrets) => Seen::Present(secrets.into_keys().collect()),
                Seen::Unreadable(why) => Seen::Unreadable(why),
            },
        },
        commands: Commands::new(system, &scope.state).read(),
    }
}

/// The look at who is at work that an observation is.
pub fn look(system: &System, scope: &Scope, observation: &Observation) -> Option<Look> {
    let prefix = scope.iqn_prefix.as_ref()?;
    // A site none of whose interfaces is known here is served through others.
    let up = scope.interfaces.is_empty() || scope.interfaces.iter().any(|interface| system.kernel.has_carrier(interface));
    let network = if up { Network::Up } else { Network::Down };
    Some(Look::of_lio(observation.now, &observation.lio, prefix, &observation.written, network))
}

/// Writes to the devices of volumes since they were made.
fn written(system: &System, vg: &Seen<Vg>) -> BTreeMap<String, u64> {
    let devices = vg.present().into_iter().flat_map(|vg| vg.lvs.values()).filter(|lv| lv.tags.contains(Mark::OURS));
    let devices = devices.filter_map(|lv| lv.device);
    let written =
        |device: (u32, u32)| Some((format!("{}:{}", device.0, device.1), system.kernel.disk_io(device).present()?.writes));
    devices.filter_map(written).collect()
}
