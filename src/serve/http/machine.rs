//! A machine's own script: its disks filled in, by the table or by what the agent assigns to this boot.
//!
//! **Invariant:** a disk is asked for only by a GET with the number of a boot that this service began; whatever else comes, and
//! whatever goes wrong, the machine is sent to the first script again or its script says why it waits. Entries that need no
//! assignment never wait for the agent.

use super::{
    answer::{Source, happening, text},
    body::Payload,
    route::{BootQuery, boot_query},
    script::again_script,
};
use crate::{
    boot::{
        assignment::{self, Assignment, Claims, Decided, WaitCode},
        chap,
        ipxe::markers::fill,
        table::{BootMachine, Way},
    },
    names::{ImageName, MacAddr, MachineName},
    serve::{AskError, BUDGET, Happening},
    transcript::{EventKind, Reservation},
};
use hyper::{Method, Request, Response, StatusCode};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

/// What each image whose disk a script attaches gets.
type Answered = BTreeMap<ImageName, Assignment>;

/// What a machine is told that asks for a disk.
enum ScriptDecision {
    /// Its script, filled in with this.
    Script(Answered),
    /// To begin again, and why.
    Again(&'static str),
}

/// Answers a fetch of a machine's script.
pub(super) async fn machine_script<B>(request: &Request<B>, mac: MacAddr, source: Source<'_>) -> Response<Payload> {
    let method = request.method();
    let Source { served, recorder, peer, .. } = source;
    let Some((name, machine)) = served.table.machine(mac) else {
        if *method == Method::GET {
            let kind = EventKind::Script { machine: None, default: None };
            recorder.record_fetch(
                mac,
                peer,
                reservation(source, None),
                vec![happening(kind, "gave the script for unknown machines")],
            );
        }
        return text(method, StatusCode::OK, served.table.unknown_script.clone());
    };
    let decision = match (machine.assigned().next(), method) {
        (None, _) => ScriptDecision::Script(fixed(machine)),
        // Firmware asks so for the length alone.
        (Some(_), &Method::HEAD) => ScriptDecision::Again("asked by HEAD"),
        (Some(_), _) => {
            let BootQuery { boot, uuid } = boot_query(request.uri().query().unwrap_or_default());
            let claims = boot.and_then(|boot| source.boots.note_fetch(&served.table, name, boot, peer));
            match boot.zip(claims) {
                Some((boot, claims)) => ask(name, machine, source, Asked { boot, uuid, claims }).await,
                None => ScriptDecision::Again("named no boot that this service knows"),
            }
        }
    };
    let base = served.table.http_base();
    let (script, happened) = match decision {
        ScriptDecision::Script(answered) => {
            let script = fill(&machine.script, name, &base, &answered);
            (chap::script_for(name, machine, script, &served.secrets, peer), happenings(name, machine, &answered))
        }
        ScriptDecision::Again(why) => {
            let kind = EventKind::SentBack { machine: name.clone() };
            (again_script(&base), vec![happening(kind, format!("asked for the script of {name} and {why}: sent to boot.ipxe"))])
        }
    };
    if *method == Method::GET {
        recorder.record_fetch(mac, peer, reservation(source, machine.ip), happened);
    }
    text(method, StatusCode::OK, script)
}

/// What the site says of the address that fetches the script of a machine with this reservation.
fn reservation(Source { served, peer, .. }: Source<'_>, own: Option<Ipv4Addr>) -> Reservation {
    match (peer.to_canonical(), own) {
        (IpAddr::V4(peer), Some(own)) if peer == own => Reservation::Own,
        (IpAddr::V4(peer), None) if !served.table.is_reserved(peer) => Reservation::Unsaid,
        _ => Reservation::Other,
    }
}

/// What a machine asks with.
struct Asked {
    boot: crate::names::BootNonce,
    uuid: Option<assignment::ClientUuid>,
    claims: Claims,
}

/// Asks the agent for the disks that the table does not name.
async fn ask(name: &MachineName, machine: &BootMachine, source: Source<'_>, asked: Asked) -> ScriptDecision {
    let Asked { boot, uuid, claims } = asked;
    let request = assignment::Request {
        version: assignment::VERSION,
        machine: name.clone(),
        boot,
        generation: source.served.generation.clone(),
        peer: source.peer.to_canonical(),
        uuid,
        entries: machine.assigned().cloned().collect(),
        claims,
        budget: u64::try_from(BUDGET.as_millis()).unwrap_or(u64::MAX),
    };
    source.busy.touch_for(BUDGET);
    let entries = match source.agent.ask(&request, reservation(source, machine.ip)).await.map(|answer| answer.decided) {
        Ok(Decided::Entries(entries)) => entries,
        Ok(Decided::Again { .. }) => return ScriptDecision::Again("the table has changed since"),
        Err(error) => {
            let code = match error {
                AskError::TooMany => WaitCode::TooMany,
                AskError::Socket { .. } | AskError::Silent { .. } | AskError::Answer { .. } => WaitCode::NoAgent,
            };
            request.entries.iter().map(|image| (image.clone(), Assignment::wait(code))).collect()
        }
    };
    // What was not asked for is not believed, and what is not answered waits.
    let mut answered = fixed(machine);
    for image in request.entries {
        let assignment = entries.get(&image).cloned().unwrap_or(Assignment::wait(WaitCode::NoAgent));
        answered.insert(image, assignment);
    }
    ScriptDecision::Script(answered)
}

/// The disks that are the same for every boot.
fn fixed(machine: &BootMachine) -> Answered {
    let fixed = machine.disks.iter().filter(|(_, disk)| disk.way == Way::Fixed);
    fixed
        .map(|(image, disk)| {
            let assignment = match &disk.target {
                Some(target) => Assignment::Assigned { target: target.clone() },
                None => Assignment::wait(WaitCode::Held),
            };
            (image.clone(), assignment)
        })
        .collect()
}

/// That the script was given, and what is to be known of its disks: each that was assigned, and each that waits.
fn happenings(name: &MachineName, machine: &BootMachine, answered: &Answered) -> Vec<Happening> {
    let kind = EventKind::Script { machine: Some(name.clone()), default: Some(machine.default.clone()) };
    let mut happened = vec![happening(kind, format!("gave the script of {name}, default {}", machine.default))];
    let is_assigned = |image: &ImageName| machine.disks.get(image).is_some_and(|disk| disk.way == Way::Assigned);
    for (image, assignment) in answered {
        let (machine, image) = (name.clone(), image.clone());
        let words = assignment.reason().unwrap_or_default();
        let waits = format!("{name} {image} {words}");
        match assignment {
            Assignment::Assigned { target } if is_assigned(&image) => {
                let what = format!("assigned {target} to this boot of {name} for {image}");
                happened.push(happening(EventKind::Assigned { machine, image, target: target.clone() }, what));
            }
            Assignment::Assigned { .. } => {}
            Assignment::Wait { code, .. } => {
                happened.push(happening(EventKind::Waiting { machine, image, code: *code }, waits));
            }
            Assignment::Refused { code, .. } => {
                happened.push(happening(EventKind::Refused { machine, image, code: *code }, waits));
            }
        }
    }
    happened
}
