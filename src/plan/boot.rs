//! The boot table: what is published against what should be.
//!
//! **Invariant:** a machine of the site is known as itself at once: while its disk is not there, its script says what that waits for. A
//! machine that has an entry keeps its default until the disk of a new one exists, and one that may be at work keeps its entry, its
//! address and its way back in.

use super::builder::{Intent, PlanBuilder, Work};
use super::context::Context;
use super::render::counted;
use super::seats::Machines;
use super::view::{Kind, MachineSeen, SideSeen, State};
use super::{Action, Gate, Hold, Reason, Sign, Subject};
use crate::boot::table::{BootMachine, BootTable, Way};
use crate::desired::{Desired, Seat, SeatId};
use crate::names::{DhcpOptions, ImageName, Iqn, MacAddr, MachineName, OptionRule};
use crate::observed::{Observation, Seen, ServedSecrets};
use similar::TextDiff;
use std::borrow::Cow;
use std::cell::LazyCell;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// What is published, as far as it reads as a table.
pub(super) fn published<'a>(
    observation: &Observation,
    table: &'a BootTable,
    builder: &mut PlanBuilder,
) -> Option<Cow<'a, BootTable>> {
    match &observation.published {
        Seen::Absent => None,
        Seen::Unreadable(why) => {
            builder.note("boot table", format!("the published one cannot be read: {why}"));
            None
        }
        Seen::Present(text) if table.is_rendered_as(text) => Some(Cow::Borrowed(table)),
        Seen::Present(text) => match BootTable::parse(text) {
            Ok(table) => Some(Cow::Owned(table)),
            Err(error) => {
                builder.note("boot table", format!("the published one does not read: {error}"));
                None
            }
        },
    }
}

/// The table with the targets of disks that every boot has. One that this plan makes has no name yet; apply fills it in. A seat whose
/// disk is to be exchanged or renamed at its next boot is assigned it by the agent.
pub(super) fn resolve_disks<'t, 'a>(
    context: Option<(&Context<'a>, &Machines<'a>)>,
    table: &'t BootTable,
    before: Option<&BootTable>,
    builder: &PlanBuilder,
) -> Cow<'t, BootTable> {
    let has_fixed = table.machines.values().any(|machine| machine.disks.values().any(|disk| disk.way == Way::Fixed));
    if !has_fixed {
        return Cow::Borrowed(table);
    }
    let mut resolved = table.clone();
    for (name, machine) in &mut resolved.machines {
        let seen = context.and_then(|(context, machines)| Some((context, machines.get(name)?)));
        let Some((context, seen)) = seen else {
            // Nobody can tell what stands: what machines were told last goes on.
            if let Some(old) = before.and_then(|table| table.machines.get(name)) {
                for (image, disk) in &mut machine.disks {
                    if let Some(known) = old.disks.get(image) {
                        disk.clone_from(known);
                    }
                }
            }
            continue;
        };
        if !machine.disks.values().any(|disk| disk.way == Way::Fixed) {
            continue;
        }
        for (image, disk) in machine.disks.iter_mut().filter(|(_, disk)| disk.way == Way::Fixed) {
            (disk.way, disk.target) = fixed(context, seen, name, image, builder);
        }
    }
    Cow::Owned(resolved)
}

fn fixed<'a>(
    context: &Context<'a>,
    seen: &MachineSeen<'a>,
    machine: &MachineName,
    image: &ImageName,
    builder: &PlanBuilder,
) -> (Way, Option<Iqn>) {
    let id = SeatId { machine: machine.clone(), image: image.clone() };
    let Some(seat) = context.storage.seats.get(&id) else { return (Way::Fixed, None) };
    let lasting = || seen.of(&id).filter(|side| side.kind == Kind::Lasting);
    let current =
        lasting().filter(|side| side.state != State::Fresh).max_by_key(|side| (side.place, std::cmp::Reverse(side.letter)));
    let is_made = |(subject, intent): (&Subject, &Intent)| {
        matches!(subject, Subject::Disk { machine: of, image: its, .. } if of == machine && its == image)
            && intent.is_open()
            && intent.action == Action::Replace
    };
    let waiting =
        lasting().any(|side| side.state == State::Fresh && side.is_current(context, seat)) || builder.intents.iter().any(is_made);
    let name = |side: &SideSeen<'a>| match side.target {
        Some(target) => target.parse().ok(),
        // Shown by this plan, under its own name.
        None => super::target::shape_of(context, seen, side, Some(seat)).plan.name,
    };
    match current {
        // Its first disk: there, made by this plan, or made once it can be.
        None => (Way::Fixed, lasting().min_by_key(|side| side.letter).and_then(name)),
        Some(_) if waiting => (Way::Assigned, None),
        Some(side) => {
            let subject = Subject::side(&side.named.machine, &side.named.image, side.letter);
            let waits = builder
                .intents
                .get(&subject)
                .is_some_and(|intent| !intent.is_open() && matches!(intent.work, Work::Rename(..) | Work::ShowAnew(..)));
            if waits || side.named != side.seat { (Way::Assigned, None) } else { (Way::Fixed, name(side)) }
        }
    }
}

pub(super) fn plan_boot(
    desired: &Desired,
    table: &BootTable,
    published: Option<&BootTable>,
    observation: &Observation,
    builder: &mut PlanBuilder,
) {
    let nothing = BTreeMap::new();
    let before = published.map_or(&nothing, |table| &table.machines);
    // Nothing new comes to most plans.
    let by_mac: LazyCell<BTreeMap<&MacAddr, &BootMachine>, _> =
        LazyCell::new(|| before.values().flat_map(|machine| machine.macs.iter().map(move |mac| (mac, machine))).collect());
    let unseen = unseen_storage(builder);
    // What machines were told cannot be read, and what of them is there cannot be seen: nothing is said anew.
    let is_blind = unseen.is_some() && !matches!(observation.published, Seen::Absent) && published.is_none();
    for (machine, old, new) in joined(before, &table.machines) {
        let mut intent = match (old, new) {
            (Some(old), Some(new)) if std::ptr::eq(old, new) || old == new => continue,
            (Some(old), Some(new)) => {
                let work = Work::Boot(Some(Box::new(old.clone())));
                let mut intent = Intent::new(Action::Alter, changed(old, new), unpublished(""), work);
                intent.diff = diff(&shown(old), &shown(new));
                intent
            }
            (None, Some(new)) => {
                Intent::new(Action::Create, format!("default {}", new.default), Reason::Wanted, Work::Boot(None))
            }
            (Some(old), None) => {
                let work = Work::Boot(Some(Box::new(old.clone())));
                Intent::new(Action::Remove, format!("default {}", old.default), Reason::Unwanted, work)
            }
            (None, None) => continue,
        };
        if is_blind {
            intent.hold(Hold::Unreadable { what: "the published boot table".to_owned() });
        }
        // One that had an entry, under whatever name, keeps its default until the disk of the new one is there.
        if let (Some(new), Some(seat)) = (new, desired.room.machines.get(machine))
            && let Some(attachment) = seat.entries.first().and_then(|entry| entry.kind.attachment())
            && let Some(had) =
                old.or_else(|| new.macs.iter().filter_map(|mac| by_mac.get(mac)).find(|old| is_heir(old, new)).copied())
            && may_keep(had, new, seat)
        {
            wait_for_disks(machine, &attachment.image, unseen.as_ref(), &mut intent, builder);
        }
        if let (Some(old), None) = (old, new) {
            match heir(old, table) {
                // The same machine under another name: it boots by its new entry, also while its disks have their old names.
                Some(heir) => drop(intent.after.insert(Subject::Boot { machine: heir.clone() })),
                None => wait_for_machine(desired, machine, unseen.as_ref(), &mut intent, builder),
            }
        }
        builder.add(Subject::Boot { machine: machine.clone() }, intent);
    }
    let tables_differ = published.is_none_or(|published| !same_but_for_machines(published, table));
    if tables_differ || observation.secrets.served == ServedSecrets::Other {
        let what = match published {
            None => "nothing is published yet",
            Some(_) if tables_differ => "networks, addresses or assets changed",
            Some(_) => "the CHAP secrets that are served are not those of the site's file",
        };
        let action = if published.is_some() { Action::Alter } else { Action::Create };
        let detail = format!("{}, {}", counted(table.networks.len(), "network"), counted(table.machines.len(), "machine"));
        let mut intent = Intent::new(action, detail, unpublished(what), Work::Table);
        intent.diff = published.map(|published| diff(&shown_networks(published), &shown_networks(table))).unwrap_or_default();
        if is_blind {
            intent.hold(Hold::Unreadable { what: "the published boot table".to_owned() });
        }
        builder.add(Subject::Table, intent);
    }
}

/// Two maps walked beside each other, in the order of their keys.
fn joined<'m, K: Ord, V>(
    one: &'m BTreeMap<K, V>,
    other: &'m BTreeMap<K, V>,
) -> impl Iterator<Item = (&'m K, Option<&'m V>, Option<&'m V>)> {
    let (mut one, mut other) = (one.iter().peekable(), other.iter().peekable());
    std::iter::from_fn(move || {
        let next = match (one.peek(), other.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        let left = if next.is_le() { one.next() } else { None };
        let right = if next.is_ge() { other.next() } else { None };
        let key = left.or(right)?.0;
        Some((key, left.map(|(_, value)| value), right.map(|(_, value)| value)))
    })
}

fn unpublished(what: &str) -> Reason {
    Reason::Unpublished { what: what.to_owned() }
}

/// What of a machine's entry is another, in a phrase.
fn changed(old: &BootMachine, new: &BootMachine) -> String {
    if old.default != new.default {
        format!("default {} → {}", old.default, new.default)
    } else if old.script != new.script {
        "its script".to_owned()
    } else if old.options != new.options {
        "its DHCP options".to_owned()
    } else if (&old.loader, old.pxe) != (&new.loader, new.pxe) {
        "its loader".to_owned()
    } else if old.disks != new.disks {
        "its disks".to_owned()
    } else {
        "its addresses".to_owned()
    }
}

/// The change that stands for all disks where none can be seen.
fn unseen_storage(builder: &PlanBuilder) -> Option<Subject> {
    let is_all = |(subject, intent): &(&Subject, &Intent)| {
        matches!(subject, Subject::Pool { .. }) && !intent.is_open() && matches!(&intent.work, Work::Pool(ops) if ops.is_empty())
    };
    builder.intents.iter().find(is_all).map(|(subject, _)| subject.clone())
}

/// Has a change of an entry wait for the first disk of its default.
fn wait_for_disks(
    machine: &MachineName,
    image: &ImageName,
    unseen: Option<&Subject>,
    intent: &mut Intent,
    builder: &PlanBuilder,
) {
    if intent.action == Action::Create {
        intent.after.extend(unseen.cloned());
    }
    let first = |subject: &&Subject| match subject {
        Subject::Side { machine: of, image: its, .. } | Subject::Disk { machine: of, image: its, .. } => {
            of == machine && its == image
        }
        _ => false,
    };
    for subject in builder.intents.keys().filter(first) {
        let made = &builder.intents[subject];
        if made.action == Action::Create && made.reason == Reason::Wanted {
            intent.after.insert(subject.clone());
        }
    }
    // What its script hooks must be there: a lasting disk whose target is to be built anew comes first.
    for (subject, made) in builder.intents.iter().filter(|(subject, _)| first(subject)) {
        if matches!(made.work, Work::ShowAnew(..)) && matches!(subject, Subject::Side { .. }) {
            intent.after.insert(subject.clone());
        }
    }
}

/// The machine that has all addresses of one that is leaving.
fn heir<'t>(old: &BootMachine, table: &'t BootTable) -> Option<&'t MachineName> {
    table.machines.iter().find(|(_, machine)| is_heir(old, machine)).map(|(name, _)| name)
}

/// Whether a machine can go on with the entry that it had: what it boots by itself is still the site's, and its addresses nobody else's.
fn may_keep(had: &BootMachine, new: &BootMachine, seat: &Seat) -> bool {
    seat.entries.iter().any(|entry| entry.image.as_str() == had.default) && is_heir(had, new)
}

fn is_heir(old: &BootMachine, new: &BootMachine) -> bool {
    !old.macs.is_empty() && old.macs.iter().all(|mac| new.macs.contains(mac))
}

/// A machine that is leaving keeps its entry until everything of it is gone.
fn wait_for_machine(
    desired: &Desired,
    machine: &MachineName,
    unseen: Option<&Subject>,
    intent: &mut Intent,
    builder: &PlanBuilder,
) {
    intent.after.extend(unseen.cloned());
    for (subject, other) in &builder.intents {
        if subject.machine() != Some(machine) || matches!(subject, Subject::Boot { .. }) {
            continue;
        }
        match &other.gate {
            // Kept data that waits for consent is no sign of its machine.
            Gate::Held(hold @ (Hold::Occupied { .. } | Hold::Unreadable { .. })) => intent.hold(hold.clone()),
            Gate::Held(_) => {}
            // A disk that waits for its new name is let in under it meanwhile; one is shown again because somebody may be at work on it.
            Gate::Open
                if matches!((&other.work, &other.reason), (Work::Live(_), Reason::Moved { .. }))
                    || matches!(other.work, Work::Show(..) | Work::ShowAnew(..)) =>
            {
                intent.hold(Hold::Occupied { machine: machine.clone(), sign: Sign::MayBeOn });
            }
            Gate::Open => drop(intent.after.insert(subject.clone())),
        }
    }
    if unseen.is_some() && desired.storage.is_some() {
        intent.hold(Hold::Unreadable { what: format!("whether {machine} is at work") });
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
