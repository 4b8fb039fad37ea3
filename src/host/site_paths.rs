//! Judges the paths of this host that a site names, by what root allows on it.
//!
//! **Invariant:** nothing is read or served at a path that is not allowed. A new commit that names one comes out as findings and not as
//! a site; one that was applied before goes on without the path, so that what root lists takes no seat away.

use super::settings::{HostSettings, Purpose, SettingsError};
use crate::site::{Checked, HostPath, HostPathKey};
use std::path::Path;

/// The same site with a finding for each path that this host does not allow; `state` is the state directory.
pub fn judge_paths(checked: Checked, state: &Path) -> Checked {
    let settings = HostSettings::of_process(state);
    checked.judge_paths(|path| allow(&settings, path).err())
}

/// The site of a commit that was applied before, without the image store that this host does not allow any more: its seats go on, and
/// nothing is filled from there. Loaders are judged by `serve`, and secrets were root's to write.
pub fn forgo_paths(checked: Checked, state: &Path) -> Checked {
    let settings = HostSettings::of_process(state);
    let is_refused = |path: &HostPath| path.key == HostPathKey::ImageStore && allow(&settings, path).is_err();
    let forgoes = checked.paths.iter().any(is_refused);
    let site = checked.site.map(|mut site| {
        let storage = site.storage.as_mut().filter(|_| forgoes);
        // Not the usual one: what lies there under the same name is another file.
        let nowhere = state.join("not-allowed").display().to_string();
        storage.into_iter().for_each(|storage| storage.image_store = Some(nowhere.clone()));
        site
    });
    Checked { site, ..checked }
}

fn allow(settings: &Result<HostSettings, SettingsError>, named: &HostPath) -> Result<(), (String, String)> {
    let purpose = match named.key {
        HostPathKey::Loaders => Purpose::Loaders,
        HostPathKey::ImageStore => Purpose::ImageStore,
        HostPathKey::ChapSecrets => Purpose::Secrets,
    };
    let about = format!("{} = {:?}", named.key, named.path);
    let settings = settings.as_ref().map_err(|error| {
        let message = format!("{about} cannot be allowed: {error}");
        (message, format!("mend {} on the server, as root", error.path.display()))
    })?;
    settings.allow(purpose, Path::new(&named.path)).map(drop).map_err(|refusal| {
        let listed: Vec<String> = settings.listed(purpose).iter().map(|path| path.display().to_string()).collect();
        let hint = format!(
            "allowed are {}; root adds to them under [allowed-paths] {} in {} on the server",
            listed.join(", "),
            purpose.key(),
            settings.path().display()
        );
        (format!("{about} {refusal}"), hint)
    })
}
