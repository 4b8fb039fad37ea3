//! Judges the paths of this host that a site names, by what root allows on it.
//!
//! **Invariant:** nothing is read or served at a path that is not allowed, whyever a site is looked at. A new commit that names one
//! comes out as findings and not as a site; one that the host was brought to before goes on without the path, so that what root lists
//! takes no seat away, and each path it goes without is said. A file of CHAP secrets that is withdrawn is to the plan as one that is
//! gone: the secrets that are served stand for it, and a seat is made new disks as before.

use super::settings::{HostSettings, Purpose, SettingsError};
use crate::diagnostic::{Diagnostic, Severity};
use crate::site::{Checked, HostPath, HostPathKey};
use std::path::{Component, Path, PathBuf};

/// What root allows on a host, or why that cannot be read.
pub type Allows = Result<HostSettings, SettingsError>;

/// The same site with a finding for each path that this host does not allow; `state` is the state directory.
pub fn judge_paths(checked: Checked, state: &Path) -> Checked {
    judge_paths_by(checked, &HostSettings::of_process(state))
}

/// The same by what a process that goes on knows root to allow.
pub fn judge_paths_by(checked: Checked, allows: &Allows) -> Checked {
    checked.judge_paths(|path| allow(allows, path).err())
}

/// The site of a commit that the host was brought to before, without the paths that this host does not allow any more. Its seats go on:
/// nothing is filled from such an image store and no secret is read from such a file, and what was filled and is served stays. Loaders are judged by `serve`, which serves none of them.
pub fn forgo_paths(checked: Checked, allows: &Allows, state: &Path) -> (Checked, Vec<Diagnostic>) {
    let mut forgone = Vec::new();
    let mut site = checked.site;
    for path in &checked.paths {
        let Err((message, mend)) = allow(allows, path) else { continue };
        let storage = site.as_mut().and_then(|site| site.storage.as_mut());
        // Not the usual place: what lies there under the same name is another file.
        let nowhere = || nowhere(state, Path::new(&path.path)).display().to_string();
        let comes_to = match path.key {
            HostPathKey::Loaders => "no loader of it is served",
            HostPathKey::ImageStore => {
                storage.into_iter().for_each(|storage| storage.image_store = Some(nowhere()));
                "no version is filled from it"
            }
            HostPathKey::ChapSecrets => {
                let iscsi = site.as_mut().and_then(|site| site.iscsi.as_mut());
                iscsi.into_iter().for_each(|iscsi| iscsi.chap_secrets = Some(nowhere()));
                "no secret is read from it; those that are served count on, and a machine that has none of them gets no new disk"
            }
        };
        let what = format!("{message}: {comes_to}");
        forgone.push(Diagnostic::whole(Severity::Warning, "path-not-allowed", path.key.to_string(), what, mend));
    }
    (Checked { site, ..checked }, forgone)
}

/// A path where nothing is, in a directory that root alone writes, by which a message still names the one that is meant.
fn nowhere(state: &Path, path: &Path) -> PathBuf {
    let names = path.components().filter(|component| matches!(component, Component::Normal(_)));
    state.join("not-allowed").join(names.collect::<PathBuf>())
}

fn allow(settings: &Allows, named: &HostPath) -> Result<(), (String, String)> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::{Entry, Tree};

    #[test]
    fn a_site_goes_on_without_each_path_that_is_not_allowed_and_each_is_said() {
        let files = [
            (
                "site.toml",
                "name = \"cat\"\n[server]\naddress = \"192.168.1.2\"\n[boot]\nloaders = \"/data/loaders\"\n[storage]\n\
                 volume-group = \"cafe\"\nthin-pool = \"pool\"\nimage-store = \"/data/images\"\n[iscsi]\n\
                 iqn-prefix = \"iqn.2026-01.org.example:cat\"\nchap-secrets = \"/root/chap.toml\"\n",
            ),
            ("network/lan.toml", "interface = \"lan0\"\nmode = \"off\"\nsubnet = \"192.168.1.0/24\"\n"),
            ("images/local.toml", "kind = \"local\"\n"),
            ("machines/a.toml", "[[machine]]\nname = \"pc01\"\nmac = \"88:ae:dd:05:08:01\"\nboot = [\"local\"]\n"),
        ];
        let entries = files.map(|(path, text)| (path.to_owned(), Entry::File(text.as_bytes().to_vec()))).into();
        let checked = crate::site::load(&Tree { entries });
        assert!(checked.site.is_some(), "{:?}", checked.findings);
        let state = Path::new("/nonexistent");
        assert!(judge_paths(checked.clone(), state).site.is_none());
        let (Checked { site, .. }, forgone) = forgo_paths(checked, &HostSettings::of_process(state), state);
        let site = site.expect("it goes on");
        let store = site.storage.as_ref().and_then(|storage| storage.image_store.clone());
        assert_eq!(store.as_deref(), Some("/nonexistent/not-allowed/data/images"));
        let secrets = site.iscsi.as_ref().and_then(|iscsi| iscsi.chap_secrets.clone());
        assert_eq!(secrets.as_deref(), Some("/nonexistent/not-allowed/root/chap.toml"));
        for (path, comes_to) in
            [("/data/loaders", "no loader"), ("/data/images", "no version is filled"), ("/root/chap.toml", "no secret is read")]
        {
            let said = forgone.iter().find(|forgone| forgone.message.contains(path)).expect("it is said");
            assert!(
                said.message.contains(comes_to) && said.hint.as_deref().is_some_and(|hint| hint.contains("[allowed-paths]")),
                "{said:?}"
            );
        }
    }
}
