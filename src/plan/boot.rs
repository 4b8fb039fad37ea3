//! The boot table: what is published against what should be.
//!
//! **Invariant:** a machine's default is never a target that does not exist: its entry waits for that target, and until then
//! the one published before stands. Another entry of its menu may not be there yet, and its script says so and tries again.

use super::draft::{Draft, Drafted};
use super::render::counted;
use super::{Action, Hold, Subject};
use crate::boot::table::{BootMachine, BootTable};
use crate::desired::Desired;
use crate::names::{DhcpOptions, MachineName, OptionRule};
use crate::observed::{Observation, Seen, ServedSecrets};
use similar::TextDiff;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// What is published, as far as it reads as a table.
pub(super) fn published<'a>(observation: &Observation, table: &'a BootTable, draft: &mut Draft) -> Option<Cow<'a, BootTable>> {
    match &observation.published {
        Seen::Absent => None,
        Seen::Unreadable(why) => {
            draft.note("boot table", format!("the published one cannot be read and is written anew: {why}"));
            None
        }
        Seen::Present(text) if table.is_rendered_as(text) => Some(Cow::Borrowed(table)),
        Seen::Present(text) => match BootTable::parse(text) {
            Ok(table) => Some(Cow::Owned(table)),
            Err(error) => {
                draft.note("boot table", format!("the published one is written anew: {error}"));
                None
            }
        },
    }
}

pub(super) fn plan_boot(
    desired: &Desired,
    table: &BootTable,
    published: Option<&BootTable>,
    secrets: ServedSecrets,
    draft: &mut Draft,
) {
    let nothing = BTreeMap::new();
    let before = published.map_or(&nothing, |table| &table.machines);
    let machines: BTreeSet<&MachineName> = before.keys().chain(table.machines.keys()).collect();
    for machine in machines {
        let mut change = match (before.get(machine), table.machines.get(machine)) {
            (Some(old), Some(new)) if std::ptr::eq(old, new) || old == new => continue,
            (Some(old), Some(new)) => {
                let what = if old.default != new.default {
                    format!("default {} -> {}", old.default, new.default)
                } else if old.script != new.script {
                    "its script".to_owned()
                } else if old.options != new.options {
                    "its DHCP options".to_owned()
                } else if (&old.loader, old.pxe) != (&new.loader, new.pxe) {
                    "its loader".to_owned()
                } else {
                    "its addresses".to_owned()
                };
                let mut change = Drafted::new(Action::Alter, what, "the site says otherwise than what is published");
                change.diff = diff(&shown(old), &shown(new));
                change.work.published = Some(old.clone());
                change
            }
            (None, Some(new)) => Drafted::new(Action::Create, format!("default {}", new.default), "the site has it"),
            (Some(old), None) => {
                let mut change = Drafted::new(Action::Remove, format!("default {}", old.default), "the site no longer has it");
                change.work.published = Some(old.clone());
                change
            }
            (None, None) => continue,
        };
        let default = desired.room.machines.get(machine).and_then(|seat| seat.entries.first());
        if let Some(attachment) = default.and_then(|entry| entry.kind.attachment()) {
            let subject = Subject::Target(attachment.target.to_string());
            if draft.changes.get(&subject).is_some_and(|change| change.action == Action::Create) {
                change.after.insert(subject);
            }
        }
        if change.action == Action::Remove {
            hold_while_removal_is_held(machine, &mut change, draft);
        }
        draft.add(Subject::Boot(machine.clone()), change);
    }
    let tables_differ = published.is_none_or(|published| !same_but_for_machines(published, table));
    if tables_differ || secrets == ServedSecrets::Other {
        let reason = match published {
            None => "nothing is published yet",
            Some(_) if tables_differ => "networks, addresses or assets changed",
            Some(_) => "the CHAP secrets that are served are not those of the site's file",
        };
        let action = if published.is_some() { Action::Alter } else { Action::Create };
        let detail = format!("{}, {}", counted(table.networks.len(), "network"), counted(table.machines.len(), "machine"));
        let mut change = Drafted::new(action, detail, reason);
        change.diff = published.map(|published| diff(&shown_networks(published), &shown_networks(table))).unwrap_or_default();
        draft.add(Subject::Table, change);
    }
}

/// A machine that is leaving but still in use keeps its entry: its address and its way back in.
fn hold_while_removal_is_held(machine: &MachineName, change: &mut Drafted, draft: &Draft) {
    let in_use = draft.changes.values().find_map(|other| match &other.gate {
        super::Gate::Held(hold @ Hold::InUse { machine: user, .. }) if user == machine => Some(hold.clone()),
        _ => None,
    });
    if let Some(hold) = in_use {
        change.hold(hold);
    }
}

/// What a person compares: what firmware is told before its script.
fn shown(machine: &BootMachine) -> String {
    let mut text = String::new();
    if let Some(loader) = &machine.loader {
        text.push_str(&format!("loader {loader}\n"));
    }
    if let Some(strategy) = machine.pxe {
        text.push_str(&format!("pxe {strategy}\n"));
    }
    text + &shown_options("", &machine.options) + &machine.script
}

/// The same of all networks.
fn shown_networks(table: &BootTable) -> String {
    let mut text = String::new();
    for (name, network) in &table.networks {
        for (platform, loader) in &network.loading.loader {
            text.push_str(&format!("network {name} loader {platform} {loader}\n"));
        }
        for (platform, strategy) in &network.loading.pxe {
            text.push_str(&format!("network {name} pxe {platform} {strategy}\n"));
        }
        text.push_str(&shown_options(&format!("network {name} "), &network.options));
    }
    text
}

fn shown_options(whose: &str, options: &DhcpOptions) -> String {
    let rules = options.iter().map(|(number, data)| (OptionRule::of(number), data));
    rules.map(|(rule, data)| format!("{whose}option {rule} {}\n", rule.show(data))).collect()
}

fn same_but_for_machines(published: &BootTable, table: &BootTable) -> bool {
    // Names every field, so that one that is added cannot be forgotten here.
    fn rest(table: &BootTable) -> impl PartialEq + '_ {
        let BootTable {
            version,
            site,
            tftp_address,
            http_address,
            http_port,
            loaders,
            networks,
            machines: _,
            unknown_script,
            assets,
            chap_secrets,
        } = table;
        (version, site, tftp_address, http_address, http_port, loaders, networks, unknown_script, assets, chap_secrets)
    }
    rest(published) == rest(table)
}

fn diff(old: &str, new: &str) -> Vec<String> {
    let diff = TextDiff::from_lines(old, new);
    let text = diff.unified_diff().context_radius(1).to_string();
    text.lines().filter(|line| !line.starts_with("@@")).map(str::to_owned).collect()
}
