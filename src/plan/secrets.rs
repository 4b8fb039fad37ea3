//! What it comes to that the file of the CHAP secrets cannot be read.
//!
//! **Invariant:** pure; says only what the plan does: a machine whose secret is served goes on with it, and one that has none gets no new
//! disk.

use super::Prepared;
use crate::desired::Login;
use crate::diagnostic::{Diagnostic, Severity};
use crate::names::MachineName;
use crate::observed::{Observation, Seen};
use std::collections::BTreeSet;

/// Machines that are named; the rest is counted.
const NAMED: usize = 6;

/// The code of what is said of such a file.
pub const UNREADABLE: &str = "secrets-unreadable";

/// What is wrong with the file of the CHAP secrets, and what waits for it; nothing where it reads, or no machine has to prove itself.
pub fn secrets_trouble(prepared: &Prepared, observation: &Observation) -> Option<Diagnostic> {
    let storage = prepared.desired.storage.as_ref()?;
    let file = storage.chap_secrets()?;
    let seats = storage.seats.iter().filter(|(_, seat)| seat.login == Login::Chap);
    let needed: BTreeSet<&MachineName> = seats.map(|(id, _)| &id.machine).collect();
    let none = BTreeSet::new();
    let (why, known) = match (&observation.secrets.stand_in, &observation.secrets.machines) {
        (Some(stand_in), machines) => (&stand_in.why, machines.present().unwrap_or(&none)),
        (None, Seen::Unreadable(why)) => (why, &none),
        (None, Seen::Present(_) | Seen::Absent) => return None,
    };
    if needed.is_empty() {
        return None;
    }
    let comes_to = what_waits(needed, known);
    let severity = if comes_to.waits { Severity::Error } else { Severity::Warning };
    let hint = format!("put the file back, root's alone: chown root {file}; chmod 600 {file}");
    Some(Diagnostic::whole(severity, UNREADABLE, file, format!("{why}: {}", comes_to.text), hint))
}

/// What it comes to for machines that have to prove themselves, by those whose secret is served.
pub struct ComesTo {
    /// In a sentence.
    pub text: String,
    /// Whether any machine waits.
    pub waits: bool,
}

/// Says which machines go on with the secret that is served, and which wait.
pub fn what_waits(needed: BTreeSet<&MachineName>, served: &BTreeSet<MachineName>) -> ComesTo {
    let without: Vec<&str> =
        needed.iter().filter(|machine| !served.contains(**machine)).map(|machine| machine.as_str()).collect();
    let named = match without.len().checked_sub(NAMED) {
        Some(rest @ 1..) => format!("{} and {rest} more", without[..NAMED].join(", ")),
        _ => without.join(", "),
    };
    let text = match (without.is_empty(), without.len() == needed.len()) {
        (true, _) => "every machine goes on with the secret that is served to it, and a secret that is changed there is not seen"
            .to_owned(),
        (false, true) => format!("no secret is served, and no new disk is made for {named}"),
        (false, false) => format!("those that are served count on; none is served to {named}, for which no new disk is made"),
    };
    ComesTo { text, waits: !without.is_empty() }
}
