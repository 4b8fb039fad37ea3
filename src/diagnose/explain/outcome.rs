//! What came of a boot, decided from the last thing that happened in it.
//!
//! **Invariant:** a cause is named only where the events leave no other place for the boot to be; what lies beyond the services
//! (a menu, the operating system) is said to be unseen.

use super::{
    Disk,
    cause::{Cause, Finding},
};
use crate::names::{ClientArch, ImageName, MacAddr};
use crate::{
    boot::loaders::{AUTOEXEC, usual_loader},
    transcript::{Asker, DhcpAnswer, Event, EventKind, Silence},
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::{collections::BTreeSet, net::Ipv4Addr};

/// A ROM's longest pause between two tries is 32 s, and a silent transfer is given up after 31 s.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// From the script to the disk: a menu of a minute, and ten tries of three seconds to log in.
const SCRIPT_PATIENCE: SignedDuration = SignedDuration::from_secs(120);
/// A script that is fetched this often in one boot leads nowhere.
const LOOP: usize = 3;

/// What came of a boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(tag = "is", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Outcome {
    /// The machine runs what it was to boot, as far as this server can see.
    Booted {
        /// What shows it.
        shown_by: String,
    },
    /// It has everything from this server; what it did then is not seen here.
    HandedOver {
        /// Why it is not seen.
        because: String,
    },
    /// It may still be going on.
    Underway,
    /// It waits for its disk, and asks again and again.
    Waits(Finding),
    /// No boot: an operating system that keeps its address.
    SystemOnly,
    /// It stopped.
    Stopped(Finding),
}

/// Where a boot stands among the machine's boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Another one followed.
    Earlier,
    /// The last one.
    Last,
}

/// What an outcome depends on besides the boot's own events.
pub(super) struct Around<'a> {
    pub disk: &'a Disk,
    pub now: Timestamp,
    pub others: &'a BTreeSet<Ipv4Addr>,
    pub mac: Option<MacAddr>,
}

/// Decides what came of a boot.
pub(super) fn decide(events: &[Event], place: Place, around: &Around<'_>) -> Outcome {
    let kinds = || events.iter().map(|event| &event.kind);
    let idle = events.last().map_or(SignedDuration::ZERO, |event| around.now.duration_since(event.at));
    let is_waiting = |patience| place == Place::Last && idle < patience;
    let stopped = |cause: Cause| Outcome::Stopped(cause.finding());
    if let Some(first) = kinds().position(|kind| matches!(kind, EventKind::Script { .. })) {
        return decide_scripted(&events[first..], place, around, is_waiting(SCRIPT_PATIENCE));
    }
    let milestone = events.iter().enumerate().rev().find(|(n, event)| is_milestone(&event.kind, &events[..*n]));
    match milestone.map(|(_, event)| &event.kind) {
        None if kinds().any(|kind| kind.asker().is_some()) => Outcome::SystemOnly,
        None => Outcome::HandedOver { because: "nothing of these events tells of a boot".to_owned() },
        Some(kind) => match certain(kind, events) {
            // This does not pass by waiting.
            Some(cause) => stopped(cause),
            None if is_waiting(PATIENCE) => Outcome::Underway,
            None => own_way(kind, events).unwrap_or_else(|| stopped(likely(kind, events, around))),
        },
    }
}

/// Whether an event shows how far a boot came.
fn is_milestone(kind: &EventKind, before: &[Event]) -> bool {
    match kind {
        EventKind::Dhcp { asker, .. } => *asker != Asker::System,
        EventKind::LoaderMissing { file } => runs(before).is_none() || !is_optional(file),
        EventKind::LoaderSent { .. }
        | EventKind::LoaderBrokenOff { .. }
        | EventKind::LoaderStalled { .. }
        | EventKind::HttpLoader { .. }
        | EventKind::FirstScript => true,
        // A machine that is sent back comes again by the first script.
        EventKind::SentBack { .. } => true,
        EventKind::Script { .. }
        | EventKind::Assigned { .. }
        | EventKind::Waiting { .. }
        | EventKind::Refused { .. }
        | EventKind::ForeignFetch { .. }
        | EventKind::AssetSent { .. }
        | EventKind::AssetMissing { .. }
        | EventKind::Overheard
        | EventKind::Other => false,
    }
}

/// What runs on a machine that asks for files by names of its own: the last program it fetched, or its U-Boot; where no name
/// tells a program, the first file.
fn runs(events: &[Event]) -> Option<String> {
    let fetched = |event: &Event| match &event.kind {
        EventKind::LoaderSent { file, .. } | EventKind::HttpLoader { file } => Some(file.clone()),
        _ => None,
    };
    let program = events.iter().rev().find_map(|event| match event.kind.asker() {
        Some((Asker::UBoot, _)) => Some("U-Boot".to_owned()),
        _ => fetched(event).filter(|file| is_program(file)),
    });
    program.or_else(|| events.iter().find_map(fetched))
}

/// Whether a file by its name is one that firmware or a shim starts, and not what a running loader reads.
fn is_program(file: &str) -> bool {
    let name = file.to_ascii_lowercase();
    [".efi", ".kpxe", ".pxe", ".0"].iter().any(|ending| name.ends_with(ending))
}

/// What loaders look for and do without: iPXE its script (from version 2 on), a shim revocations and further certificates, GRUB
/// the lists of its modules, U-Boot a device tree (a directory, where its board names none).
fn is_optional(file: &str) -> bool {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file).to_ascii_lowercase();
    let is_shims = name.starts_with("revocations") || name.starts_with("shim_certificate");
    is_shims || name == AUTOEXEC || name.is_empty() || name.ends_with(".lst") || name.ends_with(".dtb")
}

/// What came of a boot whose loader went its own way: such a loader has no use for our scripts.
fn own_way(kind: &EventKind, events: &[Event]) -> Option<Outcome> {
    let by = runs(events)?;
    let has = match kind {
        EventKind::LoaderSent { file, .. } if *file != by && !is_program(file) && !is_optional(file) => Some(file),
        EventKind::LoaderMissing { .. } => None,
        _ => return None,
    };
    if let Some((Asker::System, _)) = events.iter().rev().find_map(|event| event.kind.asker()) {
        return Some(Outcome::Booted { shown_by: "an operating system asked for its address".to_owned() });
    }
    has.map(|file| Outcome::HandedOver {
        because: format!("{by} runs there and has {file}; what it makes of that is not seen from here"),
    })
}

/// The cause that an event is by itself.
fn certain(kind: &EventKind, events: &[Event]) -> Option<Cause> {
    if let EventKind::LoaderMissing { file } = kind {
        if runs(events).is_some() {
            // It goes on to the next name.
            return None;
        }
        return Some(Cause::StrangeFile { file: file.clone() });
    }
    let EventKind::Dhcp { asker, arch, answer, .. } = kind else { return None };
    match answer {
        // It has no loader, or comes back from it again and again.
        DhcpAnswer::Offered { boot: None, .. } | DhcpAnswer::Acknowledged { boot: None, .. } if *asker == Asker::LackingIpxe => {
            None
        }
        DhcpAnswer::Offered { boot: None, .. } | DhcpAnswer::Acknowledged { boot: None, .. } => Some(no_loader(*arch)),
        DhcpAnswer::Ignored { because } => match because {
            Silence::NoNetwork => Some(Cause::NoNetwork),
            Silence::NetworkOff => Some(Cause::NetworkOff),
            Silence::NoLoaderForArch => Some(no_loader(*arch)),
            Silence::LoaderMissing { file } => Some(Cause::LoaderMissing { file: file.clone() }),
            Silence::NoAddress => Some(Cause::NoAddress),
            Silence::OtherServer { .. } | Silence::Other => None,
        },
        DhcpAnswer::Refused if !asker.is_firmware() => None,
        DhcpAnswer::Refused => Some(Cause::AddressRefused),
        DhcpAnswer::Offered { .. } | DhcpAnswer::Acknowledged { .. } | DhcpAnswer::Noted => None,
    }
}

/// Why nothing came after an event that is well in itself.
fn likely(kind: &EventKind, events: &[Event], around: &Around<'_>) -> Cause {
    match kind {
        EventKind::LoaderSent { file, .. } | EventKind::HttpLoader { file } => match is_chained_again(events) {
            true => Cause::LoaderLoop { file: file.clone() },
            false => Cause::LoaderSilent { file: file.clone(), firmware: firmware_of(events) },
        },
        EventKind::LoaderBrokenOff { file } | EventKind::LoaderStalled { file } => {
            Cause::TransferUnfinished { file: file.clone() }
        }
        EventKind::LoaderMissing { file } => Cause::NextFileMissing { by: runs(events).unwrap_or_default(), file: file.clone() },
        EventKind::FirstScript | EventKind::SentBack { .. } => Cause::MachineScriptNotFetched,
        EventKind::Dhcp { asker, answer, .. } => likely_after_dhcp(*asker, answer, events, around),
        _ => Cause::NeverHeard,
    }
}

fn likely_after_dhcp(asker: Asker, answer: &DhcpAnswer, events: &[Event], around: &Around<'_>) -> Cause {
    if asker == Asker::LackingIpxe && is_chained_again(events) {
        return Cause::LoaderLoop { file: told_boot(events, asker).unwrap_or_default() };
    }
    let not_fetched = |boot: Option<String>| match (asker, boot) {
        (Asker::Ipxe, Some(url)) => Cause::ScriptNotFetched { url },
        (_, Some(file)) => Cause::LoaderNotFetched { file },
        (_, None) => no_loader(None),
    };
    match answer {
        DhcpAnswer::Acknowledged { boot, .. } => not_fetched(boot.clone()),
        // Beside another server the machine takes its address there; that it did is all that is seen of it.
        DhcpAnswer::Ignored { because: Silence::OtherServer { server } } => match is_beside_another(events) {
            true => not_fetched(told_boot(events, asker)),
            false => Cause::OtherServer { server: *server },
        },
        DhcpAnswer::Offered { address: None, .. } => Cause::NoAddressFromOther,
        DhcpAnswer::Offered { .. } => Cause::OfferUnanswered { others: around.others.iter().copied().collect() },
        DhcpAnswer::Refused => Cause::AddressRefused,
        DhcpAnswer::Ignored { .. } | DhcpAnswer::Noted => Cause::NotAnswered,
    }
}

/// What the boot's own script led to.
fn decide_scripted(events: &[Event], place: Place, around: &Around<'_>, is_waiting: bool) -> Outcome {
    let kinds = || events.iter().map(|event| &event.kind);
    let stopped = |cause: Cause| Outcome::Stopped(cause.finding());
    let last_script = kinds().rev().find_map(|kind| match kind {
        EventKind::Script { machine, .. } => Some(machine.as_ref()),
        _ => None,
    });
    if let (Some(None), Some(mac)) = (last_script, around.mac) {
        return stopped(Cause::UnknownMachine { mac });
    }
    if let Some(path) = kinds().find_map(|kind| match kind {
        EventKind::AssetMissing { path } => Some(path),
        _ => None,
    }) {
        return stopped(Cause::AssetMissing { path: path.clone() });
    }
    if let Some((Asker::System, _)) = events.last().and_then(|event| event.kind.asker()) {
        return Outcome::Booted { shown_by: "an operating system asked for its address".to_owned() };
    }
    if let Some(cause) = waits_for(events) {
        return match is_waiting {
            true => Outcome::Waits(cause.finding()),
            false => stopped(cause),
        };
    }
    // Asking again is what a waiting script does.
    let waited = kinds().rposition(EventKind::is_of_a_wait);
    let since = waited.map_or(0, |waited| waited + 1);
    let fetched = kinds().skip(since).filter(|kind| matches!(kind, EventKind::Script { .. })).count();
    if fetched >= LOOP {
        return stopped(Cause::ScriptLoop { times: fetched as u64 });
    }
    if kinds().any(|kind| matches!(kind, EventKind::AssetSent { .. })) {
        return Outcome::Booted { shown_by: "it fetched the files that its script names".to_owned() };
    }
    match place {
        Place::Earlier => Outcome::HandedOver { because: "it was started again; what it did before is not kept".to_owned() },
        Place::Last => decide_disk(events, around, is_waiting),
    }
}

/// Why the machine waits, by what its last script said of the image it boots by itself, or of any where that one has its disk.
fn waits_for(events: &[Event]) -> Option<Cause> {
    let last = events.iter().rposition(|event| matches!(event.kind, EventKind::Script { .. }))?;
    let EventKind::Script { default, .. } = &events[last].kind else { return None };
    let is_default = |image: &ImageName| default.as_deref() == Some(image.as_str());
    let said = || events[last..].iter().map(|event| &event.kind);
    let of_default = |kind: &&EventKind| match kind {
        EventKind::Waiting { image, .. } | EventKind::Refused { image, .. } => is_default(image),
        _ => false,
    };
    let has_default = said().any(|kind| matches!(kind, EventKind::Assigned { image, .. } if is_default(image)));
    // A menu whose own choice has its disk waits for nobody.
    let kind = said().find(of_default).or_else(|| said().find(|kind| kind.is_of_a_wait()).filter(|_| !has_default))?;
    match kind {
        EventKind::Waiting { image, code, .. } => Some(Cause::NoDisk { image: image.clone(), code: *code }),
        EventKind::Refused { image, code, .. } => Some(Cause::DiskRefused { image: image.clone(), code: *code }),
        _ => None,
    }
}

fn decide_disk(events: &[Event], around: &Around<'_>, is_waiting: bool) -> Outcome {
    let fetched = events.first().map(|event| event.at);
    match around.disk {
        Disk::LoggedIn { target, .. } => Outcome::Booted { shown_by: format!("it is logged in to {target}") },
        Disk::Free { last_used, .. } if *last_used >= fetched && last_used.is_some() => {
            Outcome::Booted { shown_by: "its disk was in use after that, and is free now".to_owned() }
        }
        _ if is_waiting => Outcome::Underway,
        Disk::Free { disabled, targets, .. } if !targets.is_empty() && disabled.len() == targets.len() => {
            Outcome::Stopped(Cause::TargetDisabled { target: disabled[0].clone() }.finding())
        }
        Disk::Free { targets, .. } => Outcome::Stopped(Cause::NoSession { targets: targets.clone() }.finding()),
        Disk::NoTarget => Outcome::HandedOver {
            because: "this host has no disk for it; if its default image is a disk, `barista plan` says why there is none"
                .to_owned(),
        },
        Disk::Unreadable { reason } => {
            Outcome::HandedOver { because: format!("whether it logged in to its disk could not be seen: {reason}") }
        }
    }
}

/// The cause of having no loader for an architecture: none is known, or its file is not there.
fn no_loader(arch: Option<ClientArch>) -> Cause {
    match arch.map(|arch| (arch, arch.platform().map(usual_loader))) {
        Some((_, Some(file))) => Cause::LoaderMissing { file: file.to_owned() },
        Some((arch, None)) => Cause::NoLoaderForArch { arch },
        None => Cause::NotAnswered,
    }
}

/// Whether an iPXE was given a loader of ours and came back lacking the same.
fn is_chained_again(events: &[Event]) -> bool {
    let lacking = |event: &&Event| matches!(event.kind.asker(), Some((Asker::LackingIpxe, _)));
    let first = events.iter().position(|event| lacking(&event));
    let sent = |event: &Event| matches!(event.kind, EventKind::LoaderSent { .. });
    first.is_some_and(|first| {
        let sent_at = events[first..].iter().position(sent).map(|n| first + n);
        sent_at.is_some_and(|sent_at| events[sent_at..].iter().any(|event| lacking(&event)))
    })
}

/// Whether offers came without an address: then another server hands them out.
fn is_beside_another(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event.kind, EventKind::Dhcp { answer: DhcpAnswer::Offered { address: None, .. }, .. }))
}

/// What the asker was last told to boot.
fn told_boot(events: &[Event], of: Asker) -> Option<String> {
    events.iter().rev().find_map(|event| match &event.kind {
        EventKind::Dhcp { asker, answer: DhcpAnswer::Offered { boot, .. } | DhcpAnswer::Acknowledged { boot, .. }, .. }
            if *asker == of =>
        {
            boot.clone()
        }
        _ => None,
    })
}

fn firmware_of(events: &[Event]) -> Option<ClientArch> {
    events.iter().find_map(|event| event.kind.asker().filter(|(asker, _)| asker.is_firmware())?.1)
}
