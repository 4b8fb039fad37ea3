//! The plan as text, for a tired person: grouped, counted, what dies first.
//!
//! **Invariant:** says nothing the plan does not hold; machines of which the same is said stand in one line.

use super::words::{hold_text, hold_text_of_many, reason_text};
use super::{Action, Change, Disruption, Gate, Hold, Plan, Purpose, Reason, Subject};
use crate::names::MachineName;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};
use unicode_width::UnicodeWidthStr as _;

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Grouped lines, without daily work.
    Grouped,
    /// Every change on a line of its own.
    Everything,
}

/// The widest line, where words allow it.
const WIDTH: usize = 80;

/// Lines of which nearly the same is said are one from here on.
const FEW: usize = 4;

/// The plan for people, as `plan` prints it.
pub fn render_text(plan: &Plan) -> String {
    render(plan, Detail::Grouped)
}

/// The plan for people, with so much of it.
pub fn render(plan: &Plan, detail: Detail) -> String {
    let is_shown = |change: &&Change| {
        change.gate != Gate::Held(Hold::NotTargeted) && (change.purpose == Purpose::Site || detail == Detail::Everything)
    };
    let shown: Vec<&Change> = plan.changes.iter().filter(is_shown).collect();
    let revision = short(plan);
    let mut text = String::new();
    if shown.is_empty() {
        notes(plan, &mut text);
        _ = writeln!(text, "No changes. The host matches {revision}.");
        daily(plan, &mut text);
        return text;
    }
    let subject = if plan.revision.subject.is_empty() { String::new() } else { format!(" {:?}", plan.revision.subject) };
    _ = writeln!(text, "Plan for {} at {revision}{subject}", plan.site);
    let mut lines = group(&shown, detail);
    lines.sort_by(|a, b| (a.rank, &a.first).cmp(&(b.rank, &b.first)));
    name_images(plan, &mut lines);
    let who = lines.iter().map(|line| line.who().chars().count()).max().unwrap_or(0).min(28);
    for line in &lines {
        line.write(who, &mut text);
    }
    notes(plan, &mut text);
    _ = writeln!(text, "{}", summary(plan));
    daily(plan, &mut text);
    text
}

/// Puts the title of an image beside its name once, where its own changes begin, if a line has room for it.
fn name_images(plan: &Plan, lines: &mut [Line<'_>]) {
    for (image, title) in &plan.titles {
        let begins = |line: &&mut Line<'_>| line.first == "version" && line.what.split('@').next() == Some(image.as_str());
        if let Some(line) = lines.iter_mut().find(begins) {
            let titled = format!("{} \"{title}\"", line.what);
            // The mark, the word version and the blanks between take the rest.
            if titled.width() <= WIDTH - 20 {
                line.what = titled;
            }
        }
    }
}

/// What goes on whatever the site says, in one line: `Daily work: 2 disks for a next boot, 1 used disk goes.`
fn daily(plan: &Plan, text: &mut String) {
    let open: Vec<&Change> = plan.open().filter(|change| change.purpose == Purpose::Upkeep).collect();
    let count = |is: fn(Action) -> bool| open.iter().filter(|change| is(change.action)).count();
    let made = count(|action| matches!(action, Action::Create | Action::Replace));
    let gone = count(|action| action == Action::Remove);
    let sorts = [
        (made, "disk for a next boot", "disks for a next boot"),
        (gone, "used disk goes", "used disks go"),
        (open.len() - made - gone, "other", "others"),
    ];
    let said = sorts.iter().filter(|(count, ..)| *count > 0).map(|(count, one, many)| match count {
        1 => format!("1 {one}"),
        _ => format!("{count} {many}"),
    });
    let said: Vec<String> = said.collect();
    if !said.is_empty() {
        _ = writeln!(text, "Daily work: {}.", said.join(", "));
    }
}

fn short(plan: &Plan) -> &str {
    plan.revision.id.get(..7).filter(|_| plan.revision.id.len() == 40).unwrap_or(&plan.revision.id)
}

/// Changes of which the same is said.
struct Line<'a> {
    rank: u8,
    mark: &'static str,
    machines: BTreeSet<&'a MachineName>,
    first: String,
    what: String,
    said: String,
    /// What is said of it together with others.
    of_many: String,
    diff: &'a [String],
}

fn group<'a>(shown: &[&'a Change], detail: Detail) -> Vec<Line<'a>> {
    let mut lines: BTreeMap<(u8, &'static str, String, String, String), Line<'a>> = BTreeMap::new();
    for change in shown {
        let (rank, mark) = mark(change);
        let (first, what) = name(&change.subject);
        let said = said(change, hold_text);
        let key = match (detail, change.subject.machine(), change.diff.is_empty()) {
            (Detail::Grouped, Some(_), true) => (rank, mark, String::new(), what.clone(), said.clone()),
            _ => (rank, mark, first.clone(), what.clone(), said.clone()),
        };
        let line = lines.entry(key).or_insert_with(|| Line {
            rank,
            mark,
            machines: BTreeSet::new(),
            first,
            what,
            said,
            of_many: said_of_many(change),
            diff: &change.diff,
        });
        line.machines.extend(change.subject.machine());
    }
    let lines = lines.into_values().collect();
    match detail {
        Detail::Grouped => fold_alike(fold_waiting(lines)),
        Detail::Everything => lines,
    }
}

/// Forty machines that are held for the same reason are one fact, though each has its own name in it.
fn fold_alike(lines: Vec<Line<'_>>) -> Vec<Line<'_>> {
    let kind = |line: &Line<'_>| {
        let is_one = line.said == line.of_many || !line.diff.is_empty();
        (!is_one).then(|| (line.rank, line.what.clone(), line.of_many.clone()))
    };
    let mut counts: BTreeMap<(u8, String, String), usize> = BTreeMap::new();
    lines.iter().filter_map(kind).for_each(|kind| *counts.entry(kind).or_default() += 1);
    let mut folded: Vec<Line<'_>> = Vec::with_capacity(lines.len());
    let mut first: BTreeMap<(u8, String, String), usize> = BTreeMap::new();
    for line in lines {
        let Some(kind) = kind(&line).filter(|kind| counts.get(kind).is_some_and(|count| *count > FEW)) else {
            folded.push(line);
            continue;
        };
        match first.get(&kind).and_then(|at| folded.get_mut(*at)) {
            Some(first) => first.machines.extend(line.machines),
            None => {
                first.insert(kind, folded.len());
                folded.push(Line { said: line.of_many.clone(), ..line });
            }
        }
    }
    folded
}

/// Two hundred seats that wait for one image are one fact.
fn fold_waiting(lines: Vec<Line<'_>>) -> Vec<Line<'_>> {
    let waits = |line: &Line<'_>| line.said.starts_with("waits for ");
    if lines.iter().filter(|line| waits(line)).count() <= FEW {
        return lines;
    }
    let (waiting, mut rest): (Vec<_>, Vec<_>) = lines.into_iter().partition(waits);
    let mut by: BTreeMap<String, Vec<Line<'_>>> = BTreeMap::new();
    for line in waiting {
        by.entry(line.said.clone()).or_default().push(line);
    }
    for (said, lines) in by {
        let machines = lines.iter().flat_map(|line| line.machines.iter().copied()).collect();
        let what = counted(lines.len(), "change");
        rest.push(Line { rank: 9, mark: "!  ", machines, first: what.clone(), what, of_many: said.clone(), said, diff: &[] });
    }
    rest
}

/// What dies comes first.
fn mark(change: &Change) -> (u8, &'static str) {
    let rank = match (&change.gate, change.disruption, change.action) {
        (Gate::Held(_), Disruption::LosesData, _) => 2,
        (Gate::Held(_), ..) => 8,
        (Gate::Open, Disruption::LosesData, _) => 1,
        (Gate::Open, _, Action::Remove) => 3,
        (Gate::Open, _, Action::Replace) => 4,
        (Gate::Open, _, Action::Create) => 5,
        (Gate::Open, _, Action::Alter | Action::Rename) => 6,
    };
    let mark = match (&change.gate, change.action) {
        (Gate::Held(_), _) => "!  ",
        (_, Action::Create) => "+  ",
        (_, Action::Alter | Action::Rename) => "~  ",
        (_, Action::Replace) => "-/+",
        (_, Action::Remove) => "-  ",
    };
    (rank, mark)
}

/// Who a line is about, where it is no machine, and what of it.
fn name(subject: &Subject) -> (String, String) {
    match subject {
        Subject::Kernel => ("kernel".to_owned(), "target subsystem".to_owned()),
        Subject::Pool { name } => ("pool".to_owned(), name.clone()),
        Subject::Version { image, version } => ("version".to_owned(), format!("{image}@{version}")),
        Subject::Side { machine, image, .. } => (machine.to_string(), image.to_string()),
        Subject::Disk { machine, image, .. } => (machine.to_string(), image.to_string()),
        Subject::Debris { path } => ("debris".to_owned(), path.clone()),
        Subject::Boot { machine } => (format!("boot {machine}"), "boot".to_owned()),
        Subject::Table => ("boot table".to_owned(), String::new()),
    }
}

/// What is said of a change together with others; the same as of itself where no name is in it.
fn said_of_many(change: &Change) -> String {
    match change.subject.machine() {
        Some(_) => said(change, hold_text_of_many),
        None => said(change, hold_text),
    }
}

fn said(change: &Change, hold_text: fn(&Hold) -> String) -> String {
    let reason = reason_text(&change.reason);
    match &change.gate {
        Gate::Held(hold @ Hold::After { .. }) => hold_text(hold),
        Gate::Held(hold) => {
            let verb = match change.action {
                Action::Create => "create",
                Action::Alter => "change",
                Action::Rename => "rename",
                Action::Replace => "replace",
                Action::Remove => "remove",
            };
            format!("{verb} held: {} ({reason})", hold_text(hold))
        }
        Gate::Open => {
            let detail = match &change.reason {
                Reason::CurrentChanged { from: Some(from), to } => format!("{from} → {to}"),
                _ => change.detail.clone(),
            };
            let loses = match change.disruption {
                Disruption::LosesData => "  LOSES KEPT DATA (consented)",
                Disruption::None | Disruption::DropsSession | Disruption::Resets => "",
            };
            let gap = if detail.is_empty() { "" } else { "  " };
            format!("{detail}{loses}{gap}{reason}")
        }
    }
}

impl Line<'_> {
    fn who(&self) -> String {
        match self.machines.len() {
            0 => self.first.clone(),
            1 if self.first.starts_with("boot ") => self.first.clone(),
            _ if self.what == "boot" => format!("boot {}", ranges(&self.machines)),
            _ => ranges(&self.machines),
        }
    }

    fn write(&self, width: usize, text: &mut String) {
        let what = if self.what == "boot" { "" } else { self.what.as_str() };
        let head = format!("  {} {:width$}  {what}", self.mark, self.who());
        let words = format!("{}  {}", head.trim_end(), self.said);
        wrap(&words, text);
        for line in self.diff {
            _ = writeln!(text, "        {line}");
        }
    }
}

/// Breaks a line at a blank where it is too wide; what goes on is indented.
fn wrap(line: &str, text: &mut String) {
    let mut rest = line.trim_end();
    let mut indent = "";
    while rest.width() + indent.len() > WIDTH {
        let most = WIDTH - indent.len();
        // A Chinese character takes two columns.
        let fits = |at: &usize| rest[..*at].width() <= most;
        let cut = rest.match_indices(' ').map(|(at, _)| at).filter(|at| *at > 24).take_while(fits).last();
        let Some(cut) = cut else { break };
        _ = writeln!(text, "{indent}{}", rest[..cut].trim_end());
        rest = rest[cut..].trim_start();
        indent = "          ";
    }
    _ = writeln!(text, "{indent}{rest}");
}

/// Machine names with runs of numbers drawn together: `pc01–pc38 (38)`, `pc03, pc09`.
fn ranges(machines: &BTreeSet<&MachineName>) -> String {
    let split = |name: &str| {
        let at = name.len() - name.chars().rev().take_while(char::is_ascii_digit).count();
        name[at..].parse::<u64>().ok().map(|number| (name[..at].to_owned(), name.len() - at, number))
    };
    let mut runs: Vec<(String, String, usize)> = Vec::new();
    let mut last: Option<(String, usize, u64)> = None;
    for machine in machines {
        let name = machine.as_str();
        let key = split(name);
        let follows = match (&last, &key) {
            (Some((stem, width, number)), Some((other, its, next))) => (stem, width, number + 1) == (other, its, *next),
            _ => false,
        };
        match runs.last_mut().filter(|_| follows) {
            Some((_, end, count)) => (*end, *count) = (name.to_owned(), *count + 1),
            None => runs.push((name.to_owned(), name.to_owned(), 1)),
        }
        last = key;
    }
    let shown = runs.iter().map(|(first, end, count)| match count {
        1 => first.clone(),
        2 => format!("{first}, {end}"),
        _ => format!("{first}–{end}"),
    });
    let text = shown.collect::<Vec<_>>().join(", ");
    match machines.len() {
        0..=2 => text,
        count => format!("{text} ({count})"),
    }
}

/// A number with its noun: `1 network`, `2 networks`, `3 boot entries`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    match (count, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ies"),
        (_, None) => format!("{count} {noun}s"),
    }
}

fn notes(plan: &Plan, text: &mut String) {
    for note in &plan.notes {
        wrap(&format!("  note: {}: {}", note.about, note.message), text);
    }
}

/// How many changes of each sort: `2 to create, 1 to change, 38 to replace, 0 to destroy; 2 kept disks lose data. 1 held.`
fn summary(plan: &Plan) -> String {
    let site = || plan.open().filter(|change| change.purpose == Purpose::Site);
    let count = |actions: &[Action]| site().filter(|change| actions.contains(&change.action)).count();
    let loses: u32 = site().map(|change| change.loses).sum();
    let loses = match loses {
        0 => String::new(),
        1 => "; 1 kept disk or version loses its data".to_owned(),
        _ => format!("; {loses} kept disks or versions lose their data"),
    };
    format!(
        "Plan: {} to create, {} to change, {} to replace, {} to destroy{loses}. {} held.",
        count(&[Action::Create]),
        count(&[Action::Alter, Action::Rename]),
        count(&[Action::Replace]),
        count(&[Action::Remove]),
        plan.held().count()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_in_a_row_are_one_range() {
        let names = |list: &[&str]| -> Vec<MachineName> { list.iter().map(|name| name.parse().expect("legal")).collect() };
        for (list, shown) in [
            (&["pc01"][..], "pc01"),
            (&["pc03", "pc09"], "pc03, pc09"),
            (&["pc01", "pc02", "pc03"], "pc01–pc03 (3)"),
            (&["pc01", "pc02", "pc04", "pc05", "pc06", "till"], "pc01, pc02, pc04–pc06, till (6)"),
            (&["a9", "a10"], "a10, a9"),
        ] {
            let list = names(list);
            assert_eq!(ranges(&list.iter().collect()), shown);
        }
    }

    #[test]
    fn a_chinese_line_is_broken_by_the_columns_that_it_takes() {
        let mut text = String::new();
        wrap(&"网吧系统 ".repeat(20), &mut text);
        assert!(text.lines().all(|line| line.width() <= WIDTH) && text.lines().count() > 2, "{text}");
    }

    #[test]
    fn a_long_line_is_broken_at_a_blank() {
        let mut text = String::new();
        wrap(&"word ".repeat(30), &mut text);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH) && text.lines().count() > 1, "{text}");
    }
}
