//! `barista explain`: why a machine did or did not boot.
#![expect(clippy::disallowed_methods, reason = "effect room: reads the transcript, the boot table and the clock")]

use super::{
    arguments::{JsonArgument, StateArgument},
    failure::{Exit, Failure},
    output,
};
use crate::agent::occupancy;
use crate::host::{self, SeatSeen, System, TranscriptError, observe_seat};
use crate::names::{DocumentError, MachineName, Mono};
use crate::observed::{Seen, Target, occupancy::is_firmware};
use crate::{
    boot::table::{self, BootTable},
    diagnose::explain::{self, Disk, Evidence, Initiator},
    transcript::{self, Transcript},
};
use jiff::{Timestamp, tz::TimeZone};
use rustix::{
    fs::{Access, AtFlags},
    io::Errno,
};
use std::{collections::BTreeMap, io, path::Path};

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A machine's name, its Ethernet address in any spelling, or its IP address
    machine: String,
    #[command(flatten)]
    state: StateArgument,
    #[command(flatten)]
    json: JsonArgument,
    /// How many boots to show, the last ones; the document has them all
    #[arg(long, value_name = "N", default_value_t = 3)]
    boots: usize,
}

/// Runs `explain`.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let state = &arguments.state.state;
    let (table, transcript) = (read_table(state)?, need_transcript(state)?);
    let evidence = Evidence { table: table.as_ref(), transcript: &transcript, now: Timestamp::now() };
    let Some(subject) = explain::find(&arguments.machine, evidence) else {
        if table.is_none() {
            // What was never published is not known to be absent.
            let error = anyhow::anyhow!("no site was applied here yet, so {:?} is not known by this name", arguments.machine);
            return Err(Failure::hinted(
                error,
                "`barista status` says what was pushed and why it is not applied; an Ethernet address is explained at once",
            ));
        }
        let error = anyhow::anyhow!("{:?} is no machine of the site, and no address that was ever seen", arguments.machine);
        return Err(Failure::hinted(
            error,
            "name a machine, an Ethernet address or an IP address; `barista machine seen` lists strangers",
        ));
    };
    let disk = match &subject.name {
        Some(name) => {
            let system = System::real();
            describe_disk(observe_seat(&system, name), name, last_used(&system, name, state))
        }
        None => Disk::NoTarget,
    };
    let explanation = explain::explain(&subject, disk, evidence);
    if arguments.json.json {
        output::json(&explanation)?;
    } else {
        output::data(&explain::render(&explanation, arguments.boots.max(1), &TimeZone::system()))?;
    }
    let is_known = explanation.machine.is_some() || subject.macs.iter().any(|mac| transcript.machines.contains_key(mac));
    Ok(if is_known { Exit::Done } else { Exit::Error })
}

/// The published boot table; `None` when nothing was published yet.
pub(super) fn read_table(state: &Path) -> Result<Option<BootTable>, Failure> {
    let path = state.join(table::PATH);
    let parsed = read(&path)?.map(|text| BootTable::parse(&text)).transpose();
    parsed.map_err(|error| {
        let hint = mend_document(&error, "barista-agent");
        Failure::hinted(anyhow::Error::from(error).context(format!("{} does not read", path.display())), hint)
    })
}

/// The transcript; `None` when the service has kept none yet.
pub(super) fn read_transcript(state: &Path) -> Result<Option<Transcript>, Failure> {
    host::read_transcript(state).map_err(|error| {
        let hint = match &error {
            TranscriptError::Document { source, .. } => mend_document(source, "barista-serve"),
            TranscriptError::Closed(_) if is_denied(&state.join(transcript::PATH)) => AS_ROOT.to_owned(),
            TranscriptError::Closed(_) => "move it away, and then: systemctl restart barista-serve".to_owned(),
        };
        Failure::hinted(error, hint)
    })
}

/// What to do where this user may not read.
pub(super) const AS_ROOT: &str = "run it as root, or as the user of the service";

/// What to do about a document that a service writes, by why it does not read.
pub(super) fn mend_document(error: &DocumentError, service: &str) -> String {
    match error {
        DocumentError::Empty | DocumentError::Damaged(_) => format!("systemctl restart {service}, which writes it anew"),
        DocumentError::Newer { .. } => {
            "this is an older barista than the one that runs: `type -a barista` shows which there are".to_owned()
        }
        DocumentError::Older { .. } => format!("systemctl restart {service}, which then runs as this barista"),
    }
}

/// True if this user may not read a file, whatever is in it. Asks without opening: a FIFO that somebody put there would wait.
fn is_denied(path: &Path) -> bool {
    rustix::fs::accessat(rustix::fs::CWD, path, Access::READ_OK, AtFlags::EACCESS) == Err(Errno::ACCESS)
}

/// The same for whoever asks who was seen: where nobody listened, nobody was.
pub(super) fn need_transcript(state: &Path) -> Result<Transcript, Failure> {
    read_transcript(state)?.ok_or_else(|| {
        let path = state.join(transcript::PATH);
        let error = anyhow::anyhow!("nothing was ever asked of this server: there is no {}", path.display());
        Failure::hinted(error, "start the service: systemctl start barista-serve; or name its --state")
    })
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs_err::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(Failure::hinted(error, AS_ROOT)),
        Err(error) => Err(error.into()),
    }
}

/// When a machine's disks last showed a sign of life, as far as a running agent knows.
fn last_used(system: &System, machine: &MachineName, state: &Path) -> Option<Timestamp> {
    let now = Mono::from(system.kernel.boottime());
    let known = occupancy::read(state, &system.kernel.boot_id(), now)?;
    let watches = known.watches.values().filter(|watch| watch.machine == machine.as_str() && watch.commands > 0);
    let ago = now.since(watches.map(|watch| watch.sign).max()?);
    Timestamp::now().checked_sub(jiff::SignedDuration::try_from(ago).ok()?).ok()
}

/// A machine's targets as the explanation wants them.
fn describe_disk(seen: SeatSeen, machine: &MachineName, last_used: Option<Timestamp>) -> Disk {
    let targets = match seen.targets {
        Seen::Absent => return Disk::NoTarget,
        Seen::Unreadable(reason) => return Disk::Unreadable { reason },
        Seen::Present(targets) => targets,
    };
    if let Some(disk) = logged_in(&targets, machine) {
        return disk;
    }
    let is_disabled = |target: &Target| target.tpgs.values().all(|tpg| !tpg.enabled);
    let disabled = targets.iter().filter(|(_, target)| is_disabled(target)).map(|(name, _)| name.clone()).collect();
    Disk::Free { targets: targets.into_keys().collect(), disabled, last_used }
}

/// Who is logged in; an operating system before a firmware.
fn logged_in(targets: &BTreeMap<String, Target>, machine: &MachineName) -> Option<Disk> {
    let of_machine = |initiator: &str| initiator.rsplit(':').next() == Some(machine.as_str());
    let mut sessions = Vec::new();
    for (name, target) in targets {
        for (_, acl) in target.tpgs.values().flat_map(|tpg| &tpg.acls).filter(|(initiator, _)| of_machine(initiator)) {
            match &acl.session {
                Seen::Present(session) => sessions.push((name, session)),
                Seen::Absent => {}
                Seen::Unreadable(reason) => return Some(Disk::Unreadable { reason: reason.clone() }),
            }
        }
    }
    let (target, session) = sessions.into_iter().min_by_key(|(_, session)| is_firmware(session))?;
    let by = if is_firmware(session) { Initiator::Firmware } else { Initiator::System };
    Some(Disk::LoggedIn { target: target.clone(), from: session.address.clone(), by })
}
