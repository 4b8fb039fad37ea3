//! What a site needs of files on its server: the program that checks thin pools, the image store with the sources of its versions, and the
//! CHAP secrets.
//!
//! **Invariant:** changes nothing, and says no secret; a source is missed only where the version that is filled from it is not there.
#![expect(clippy::disallowed_methods, reason = "effect room: looks into the image store")]

use super::{Check, Facts, Privilege};
use crate::boot::chap;
use crate::desired::{Login, Source};
use crate::host::{Command, CommandError, Scope, System, read_secrets};
use crate::names::MachineName;
use crate::observed::{Seen, Vg};
use crate::plan::{Prepared, what_waits};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    time::Duration,
};

/// It only says its version.
const DEADLINE: Duration = Duration::from_secs(20);

/// What was found of a site's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteFiles {
    /// Whether thin_check runs; LVM calls it whenever it activates a thin pool.
    pub thin_check: Seen<()>,
    /// The image store.
    pub image_store: String,
    /// The sources that are not there, by what is filled from them.
    pub missing_sources: Seen<BTreeMap<String, String>>,
    /// The machines that have a CHAP secret; absent where the file is.
    pub secrets: Seen<BTreeSet<MachineName>>,
    /// The machines that `serve` has a secret for.
    pub served_secrets: BTreeSet<MachineName>,
}

/// Looks at a site's files.
pub(super) fn look(system: &System, prepared: &Prepared, state: &Path, vg: &Seen<Vg>) -> SiteFiles {
    let thin_check = match system.commands.run(&Command::new(["thin_check", "-V"], DEADLINE)) {
        Ok(_) => Seen::Present(()),
        Err(CommandError::Missing { .. }) => Seen::Absent,
        Err(error) => Seen::Unreadable(error.to_string()),
    };
    let store = Scope::image_store(prepared, state);
    let secrets = match prepared.table.chap_secrets.as_deref().map(Path::new) {
        None => Seen::Absent,
        Some(path) => match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Seen::Absent,
            Err(_) | Ok(_) => {
                read_secrets(path).map_or_else(Seen::Unreadable, |secrets| Seen::Present(secrets.keys().cloned().collect()))
            }
        },
    };
    SiteFiles {
        thin_check,
        image_store: store.display().to_string(),
        missing_sources: missing_sources(prepared, &store, vg),
        secrets,
        served_secrets: read_secrets(&state.join(chap::PATH)).map_or_else(|_| BTreeSet::new(), |it| it.into_keys().collect()),
    }
}

fn missing_sources(prepared: &Prepared, store: &Path, vg: &Seen<Vg>) -> Seen<BTreeMap<String, String>> {
    match fs::read_dir(store) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Seen::Absent,
        Err(error) => return Seen::Unreadable(format!("{}: {error}", store.display())),
    }
    let mut missing = BTreeMap::new();
    for (id, version) in prepared.desired.storage.iter().flat_map(|storage| &storage.versions) {
        let Source::File { path, .. } = &version.source else { continue };
        let is_filled = |vg: &Vg| id.disk().lv_name().is_ok_and(|name| vg.lvs.contains_key(name.as_str()));
        if vg.present().is_some_and(is_filled) {
            continue;
        }
        match fs::metadata(store.join(path)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => drop(missing.insert(id.to_string(), path.to_string())),
            Err(error) => return Seen::Unreadable(format!("{}: {error}", store.join(path).display())),
        }
    }
    Seen::Present(missing)
}

/// Decides on what was found.
pub(super) fn judge(facts: &Facts, prepared: &Prepared) -> Vec<Check> {
    let mut checks = Vec::new();
    if prepared.desired.storage.is_some() {
        checks.push(judge_thin_check(facts));
        checks.extend(judge_store(facts));
    }
    checks.extend(judge_secrets(facts, prepared));
    checks
}

fn judge_thin_check(facts: &Facts) -> Check {
    let about = "programs";
    match &facts.files.thin_check {
        Seen::Present(()) => Check::ok(about, "thin_check is there"),
        Seen::Absent => {
            let what = "thin_check is not installed: LVM runs it before it activates a thin pool, and activates none without";
            Check::problem(
                about,
                "thin-check-missing",
                what,
                "install the package thin-provisioning-tools (device-mapper-persistent-data)",
            )
        }
        Seen::Unreadable(reason) => Check::unseen(about, reason.clone(), "see that `thin_check -V` runs by hand"),
    }
}

fn judge_store(facts: &Facts) -> Vec<Check> {
    let about = "images";
    let store = &facts.files.image_store;
    match &facts.files.missing_sources {
        Seen::Absent => {
            let what = format!("the image store {store} is not there");
            let mend =
                format!("mkdir -p {store}, and copy the sources of the site's versions there; or set image-store in site.toml");
            vec![Check::problem(about, "image-store-missing", what, mend)]
        }
        Seen::Unreadable(reason) => {
            let mend = facts.privilege.mend("see that root can read it: a network file system may refuse root");
            vec![Check::unseen(about, reason.clone(), mend)]
        }
        Seen::Present(missing) if missing.is_empty() => {
            vec![Check::ok(about, format!("{store} has what versions are still to be filled from"))]
        }
        Seen::Present(missing) => {
            let told = |(version, source): (&String, &String)| {
                let what = format!("{version} cannot be filled: {store} has no {source}");
                let mend = format!("copy it there, or take the version out of its file in images/ ({version})");
                Check::warning(about, "source-missing", what, mend)
            };
            missing.iter().map(told).collect()
        }
    }
}

fn judge_secrets(facts: &Facts, prepared: &Prepared) -> Vec<Check> {
    let about = "secrets";
    let Some(path) = &prepared.table.chap_secrets else { return Vec::new() };
    let seats = prepared.desired.storage.iter().flat_map(|storage| &storage.seats);
    let needed: BTreeSet<&MachineName> = seats.filter(|(_, seat)| seat.login == Login::Chap).map(|(id, _)| &id.machine).collect();
    match &facts.files.secrets {
        Seen::Absent => {
            let comes_to = what_waits(needed, &facts.files.served_secrets).text;
            let what = format!("the file of the CHAP secrets, {path}, is not there: {comes_to}");
            let mend = format!(
                "install -m 600 /dev/null {path}, and write [MACHINE] and below it secret = \"…\" for each that has chap = true"
            );
            vec![Check::problem(about, "secrets-missing", what, mend)]
        }
        Seen::Unreadable(reason) => match facts.privilege {
            Privilege::User => vec![Check::unseen(about, reason.clone(), "run it as root")],
            Privilege::Root => {
                vec![Check::problem(
                    about,
                    "secrets-unreadable",
                    format!("{reason}: {}", what_waits(needed, &facts.files.served_secrets).text),
                    format!("chown root {path}; chmod 600 {path}; mend what it says"),
                )]
            }
        },
        Seen::Present(known) => {
            let without: Vec<&str> =
                needed.iter().filter(|machine| !known.contains(**machine)).map(|machine| machine.as_str()).collect();
            if without.is_empty() {
                return vec![Check::ok(about, format!("{path} has a secret for each machine with chap = true"))];
            }
            let what = format!("{path} has no secret of {}", without.join(", "));
            let mend = format!("write [{}] and below it secret = \"12 to 16 bytes\" into it", without.join("], ["));
            vec![Check::problem(about, "secret-missing", what, mend)]
        }
    }
}
