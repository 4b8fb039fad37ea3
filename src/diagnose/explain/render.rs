//! An explanation as text: facts, then each boot step by step, then the cause and the mend.
//!
//! **Invariant:** shows nothing that the document does not hold.

use super::{Boot, Disk, Explanation, Finding, Initiator, Outcome, Step};
use crate::desired::NetworkMode;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use std::fmt::Write as _;

/// The text; `most` boots at most, the last ones, with the times of a time zone.
pub fn render(explanation: &Explanation, most: usize, zone: &TimeZone) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail, here and below.
    let _ = writeln!(text, "{}", title(explanation));
    facts(&mut text, explanation);
    let skipped = explanation.boots.len().saturating_sub(most);
    for (n, boot) in explanation.boots.iter().enumerate().skip(skipped) {
        let number = format!("boot {} of {}", n + 1, explanation.boots.len());
        render_boot(&mut text, boot, &number, explanation.at, zone);
    }
    if let Some(finding) = &explanation.silence {
        text.push('\n');
        render_finding(&mut text, "it stopped", finding);
    }
    text
}

fn title(explanation: &Explanation) -> String {
    let macs = explanation.macs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let name = explanation.machine.as_ref().map_or("unknown machine", |machine| machine.name.as_str());
    match explanation.address {
        Some(address) => format!("{name}  {macs}  {address}"),
        None => format!("{name}  {macs}"),
    }
}

fn facts(text: &mut String, explanation: &Explanation) {
    let mut line = |label: &str, value: String| {
        let _ = writeln!(text, "  {label:<9}{value}");
    };
    match &explanation.machine {
        None => line("site", "it is in no file of the site".to_owned()),
        Some(machine) => {
            let ip = machine.ip.map_or("no reserved address".to_owned(), |ip| format!("reserved {ip}"));
            line("site", format!("boots {} by itself, {ip}", machine.default));
        }
    }
    for (name, network) in &explanation.networks {
        let mode = match network.mode {
            NetworkMode::Server => "this server hands out addresses",
            NetworkMode::Proxy => "beside another DHCP server",
            NetworkMode::Off => "DHCP is off here",
        };
        line("network", format!("{name} {} on {}: {mode}", network.subnet, network.interface));
    }
    line(
        "disk",
        match &explanation.disk {
            Disk::NoTarget => "this host has no target for it".to_owned(),
            Disk::Free { targets, .. } => format!("{}: nobody is logged in now", targets.join(" ")),
            Disk::LoggedIn { target, from, by } => {
                let who = match by {
                    Initiator::Firmware => "iPXE",
                    Initiator::System => "an operating system",
                };
                format!("{target}: {who} is logged in from {from}")
            }
            Disk::Unreadable { reason } => format!("could not be looked at: {reason}"),
        },
    );
}

fn render_boot(text: &mut String, boot: &Boot, number: &str, now: Timestamp, zone: &TimeZone) {
    let ago = span(now.duration_since(boot.began));
    let _ = writeln!(text, "\n{number}  {}  ({ago} ago)", boot.began.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z"));
    let mut steps = boot.steps.iter().peekable();
    while let Some(step) = steps.next() {
        let mut repeated = 1;
        let mut last: &Step = step;
        while let Some(same) = steps.next_if(|next| next.what == step.what) {
            (repeated, last) = (repeated + 1, same);
        }
        let (clock, begun) = (step.at.to_zoned(zone.clone()).strftime("%H:%M:%S"), seconds(step.since_begin));
        let waited = if step.since_last > 0 { format!("(+{})", seconds(step.since_last)) } else { String::new() };
        let times = match repeated {
            1 => String::new(),
            n => format!("  [{n} times in {}]", seconds(last.since_begin - step.since_begin)),
        };
        let _ = writeln!(text, "  {clock}  {begun:>10} {waited:>13} {:<9} {}{times}", step.service, step.what);
    }
    let mut verdict = |told: String| {
        let _ = writeln!(text, "  => {told}");
    };
    match &boot.outcome {
        Outcome::Booted { shown_by } => verdict(format!("it booted: {shown_by}")),
        Outcome::HandedOver { because } => verdict(format!("it has all it asked for; {because}")),
        Outcome::Underway => verdict("it may still be going on".to_owned()),
        Outcome::SystemOnly => verdict("no boot: an operating system that keeps its address".to_owned()),
        Outcome::Waits(finding) => render_finding(text, "it goes on asking", finding),
        Outcome::Stopped(finding) => render_finding(text, "it stopped", finding),
    }
}

fn render_finding(text: &mut String, verdict: &str, finding: &Finding) {
    let _ = writeln!(
        text,
        "  => {verdict}: {}\n     mend: {}",
        finding.diagnostic.message,
        finding.diagnostic.hint.as_deref().unwrap_or_default()
    );
}

/// `0.012 s`, and in minutes or hours what is longer.
fn seconds(milliseconds: i64) -> String {
    match milliseconds {
        ..=119_999 => format!("{}.{:03} s", milliseconds / 1000, milliseconds.rem_euclid(1000)),
        120_000..=7_199_999 => format!("{} min", milliseconds / 60_000),
        _ => format!("{} h", milliseconds / 3_600_000),
    }
}

/// `42 s`, `5 min`, `3 h` or `2 d`.
pub(super) fn span(duration: SignedDuration) -> String {
    match duration.as_secs() {
        seconds @ ..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds @ 7200..=172_799 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}
