//! `barista machine import`: takes machines over from dnsmasq, ISC dhcpd, Kea, /etc/ethers or a table.
//!
//! **Invariant:** where a file contradicts the site or itself nothing is written; importing the same file again changes nothing.

mod files;

use super::{check, explain, in_site, load};
use crate::cli::{
    edits::{self, DryRunArgument, FileChange, Written},
    failure::{Exit, Failure},
    output,
};
use crate::diagnostic::{self, Code, Diagnostic, Severity};
use crate::exchange::import::{self, ClashKind, Format, Machine, Merged, Naming};
use crate::names::ImageName;
use crate::names::clean;
use crate::site::{self, Added, Addressing, Edit, ImageKind, NewMachine, Places, Role, Site, TextPlace, Tree, places};
use clap::ValueEnum;
use files::Sources;
use std::{collections::BTreeMap, path::PathBuf};

/// Where machines go unless another file is named.
const USUAL_FILE: &str = "machines/imported.toml";

/// Arguments of `machine import`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The files, or directories of such files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// What the files are [default: by their names, or by what they hold]
    #[arg(long, value_name = "FORMAT")]
    format: Option<FileFormat>,
    /// The site's directory [default: the current directory]
    #[arg(long, value_name = "DIR")]
    site: Option<PathBuf>,
    /// The file of the site that the machines go into [default: machines/imported.toml]
    #[arg(long, value_name = "FILE")]
    file: Option<String>,
    /// What machines of a new file boot; the first by itself [may be repeated] [default: what most machines of the site boot]
    #[arg(long, value_name = "IMAGE", value_delimiter = ',')]
    boot: Vec<ImageName>,
    #[command(flatten)]
    how: DryRunArgument,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FileFormat {
    /// A table: name, Ethernet address and IP address, parted by commas, semicolons or tabs
    #[value(alias = "tsv", alias = "excel", alias = "table")]
    Csv,
    /// dnsmasq.conf, or a file of its conf-dir
    Dnsmasq,
    /// A file of dnsmasq's dhcp-hostsfile
    DnsmasqHosts,
    /// /etc/ethers
    Ethers,
    /// dhcpd.conf of ISC DHCP
    #[value(alias = "dhcpd", alias = "isc")]
    IscDhcp,
    /// Kea's configuration of DHCPv4
    Kea,
}

impl From<FileFormat> for Format {
    fn from(format: FileFormat) -> Self {
        match format {
            FileFormat::Csv => Self::Csv,
            FileFormat::Dnsmasq => Self::Dnsmasq,
            FileFormat::DnsmasqHosts => Self::DnsmasqHosts,
            FileFormat::Ethers => Self::Ethers,
            FileFormat::IscDhcp => Self::IscDhcp,
            FileFormat::Kea => Self::Kea,
        }
    }
}

/// Runs `machine import`.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let root = arguments.site.clone().unwrap_or_else(|| PathBuf::from("."));
    let (tree, site) = load(&root)?;
    let sources = Sources::read(&arguments.files, arguments.format.map(Format::from))?;
    for (file, left) in &sources.left {
        output::note(format!("not taken over: {file}:{}: {}", left.line, clean(&left.what)));
    }
    for (file, mended) in &sources.mended {
        output::note(format!("mended: {file}:{}: {}", mended.line, clean(&mended.what)));
    }
    let merged = import::merge(&sources.reservations);
    let (fresh, there, findings) = compare(&merged, &site, &places(&tree), &sources);
    if !findings.is_empty() {
        return Err(Failure::Findings(findings));
    }
    if fresh.is_empty() {
        if there == 0 {
            // Nothing looked at is not all well.
            let error = anyhow::anyhow!("these files name no machine that could be taken over; nothing was written");
            let hint = match sources.left.is_empty() {
                true => "they are empty: name the file that has the machines' Ethernet addresses",
                false if arguments.format.is_some() => files::TABLE,
                false => "the lines above say why, each of its own; --format says what a file is",
            };
            return Err(Failure::hinted(error, hint));
        }
        output::note(match there {
            1 => "the machine is there already; nothing was written".to_owned(),
            n => format!("all {n} machines are there already; nothing was written"),
        });
        return Ok(Exit::Done);
    }
    for machine in &fresh {
        say_naming(machine);
    }
    let edit = make_edit(arguments, &tree, &site, &fresh)?;
    check(tree, std::slice::from_ref(&edit)).map_err(|found| {
        Failure::Findings(found.into_iter().map(|finding| at_source(finding, &edit, &fresh, &sources)).collect())
    })?;
    let change = FileChange { path: edit.file.clone(), before: edit.before.clone(), after: edit.after.clone() };
    if edits::carry_out(&root, &[change], arguments.how)? == Written::Yes {
        let also = if there == 0 { String::new() } else { format!("; {there} were there already") };
        let n = match fresh.len() {
            1 => "1 machine".to_owned(),
            n => format!("{n} machines"),
        };
        output::note(format!("added {n} to {0}{also}; look at what they boot, then: git add {0} && git commit", edit.file));
    }
    Ok(Exit::Done)
}

fn say_naming(machine: &Machine) {
    let (place, name) = (format!("{}:{}", machine.place.file, machine.place.line), &machine.name);
    match &machine.naming {
        Naming::Given => {}
        Naming::Mended(spelled) => {
            output::note(format!("renamed: {place}: {:?} is no machine name, and becomes {name}", clean(spelled)));
        }
        Naming::Made => output::note(format!("named: {place}: it has no name, and becomes {name}")),
    }
}

/// The machines that are not in the site yet, how many are, and what contradicts the site or itself.
fn compare<'m>(merged: &'m Merged, site: &Site, there: &Places, sources: &Sources) -> (Vec<&'m Machine>, usize, Vec<Diagnostic>) {
    let mut findings = Vec::new();
    for clash in &merged.clashes {
        let other = TextPlace { file: clash.other.file.clone(), line: clash.other.line };
        let mend = match clash.kind {
            ClashKind::Contradiction => SAME,
            ClashKind::NameTwice => ANOTHER_NAME,
            ClashKind::AddressTwice => ANOTHER_ADDRESS,
            ClashKind::NamesMeet => "give one of them another name: a name has letters a-z, digits and '-' only",
        };
        findings.push(contradiction(&clash.place, clash.what.clone(), (Some(&other), mend), sources));
    }
    let (mut fresh, mut known) = (Vec::new(), 0);
    for machine in &merged.machines {
        let mut refuse = |what: String, other: Option<&TextPlace>, mend| {
            findings.push(contradiction(&machine.place, what, (other, mend), sources));
        };
        let owners = || machine.macs.iter().filter_map(|mac| site.machines.values().find(|other| other.macs.contains(mac)));
        if let Some(owner) = owners().next() {
            let has_name = machine.naming == Naming::Made || owner.name == machine.name;
            let has_address = machine.ip.is_none_or(|ip| owner.ip == Some(ip));
            let has_macs = machine.macs.iter().all(|mac| owner.macs.contains(mac));
            let place = machine.macs.iter().find_map(|mac| there.macs.get(mac));
            let mac = machine.macs.iter().find(|mac| owner.macs.contains(mac)).map(ToString::to_string).unwrap_or_default();
            match (has_name, has_address, has_macs) {
                (true, true, true) => known += 1,
                (false, _, _) => {
                    refuse(format!("{mac} is {}'s in the site, and here it is {}'s", owner.name, machine.name), place, SAME)
                }
                (true, false, _) => {
                    let ip = machine.ip.map(|ip| ip.to_string()).unwrap_or_default();
                    let has = owner.ip.map_or("no address".to_owned(), |ip| ip.to_string());
                    refuse(format!("{} has {has} in the site, and here it has {ip}", owner.name), place, SAME);
                }
                (true, true, false) => {
                    refuse(format!("{} has further Ethernet addresses here than in the site", owner.name), place, SAME);
                }
            }
        } else if let Some(other) = site.machines.get(&machine.name) {
            let what = format!("the site has a machine {} with another Ethernet address", other.name);
            refuse(what, there.names.get(&other.name), ANOTHER_NAME);
        } else if let Some((ip, other)) =
            machine.ip.and_then(|ip| Some((ip, site.machines.values().find(|other| other.ip == Some(ip))?)))
        {
            let what = format!("{ip} is {}'s in the site, and here it is {}'s", other.name, machine.name);
            refuse(what, there.ips.get(&ip), ANOTHER_ADDRESS);
        } else {
            fresh.push(machine);
        }
    }
    findings.sort();
    (fresh, known, findings)
}

/// A line of a file that is imported, as a whole.
fn place_in(place: &import::Place, sources: &Sources) -> diagnostic::Place {
    diagnostic::Place { file: place.file.clone(), line: place.line, column: 1, width: 0, text: sources.line(place) }
}

/// What to do about two that say different things.
const SAME: &str = "make both the same, or take one out";

/// What to do about two machines of one name.
const ANOTHER_NAME: &str = "give one of them another name; two cards of one PC are one machine with both Ethernet addresses";

/// What to do about two machines of one IPv4 address.
const ANOTHER_ADDRESS: &str =
    "give one of them another address; two cards of one PC are one machine with both Ethernet addresses";

fn contradiction(
    place: &import::Place,
    message: String,
    (other, mend): (Option<&TextPlace>, &str),
    sources: &Sources,
) -> Diagnostic {
    let other = other.map_or("in the site".to_owned(), |other| format!("at {}:{}", other.file, other.line));
    Diagnostic {
        place: place_in(place, sources),
        severity: Severity::Error,
        code: Code::new("contradicts-another-machine"),
        message,
        hint: Some(format!("the other stands {other}; {mend}")),
        also: Vec::new(),
    }
}

/// The edit that adds the machines: to the file that is named or usual, or as a new one.
fn make_edit(arguments: &Arguments, tree: &Tree, site: &Site, fresh: &[&Machine]) -> Result<Edit, Failure> {
    let root = arguments.site.clone().unwrap_or_else(|| PathBuf::from("."));
    let file = arguments.file.as_deref().map_or_else(|| Ok(USUAL_FILE.to_owned()), |file| in_site(file, &root))?;
    if !tree.entries.contains_key(&file) {
        let boot = match arguments.boot.as_slice() {
            [] => usual_boot(site)?,
            named => named.to_vec(),
        };
        let added = fresh.iter().map(|machine| Added { name: machine.name.clone(), macs: machine.macs.clone(), ip: machine.ip });
        let files = arguments.files.iter().filter_map(|file| Some(file.file_name()?.to_string_lossy().into_owned()));
        let title = format!("Machines that were taken over from {}.", clean(&files.collect::<Vec<_>>().join(", ")));
        return Ok(site::new_row(tree, &file, &title, &boot, added.collect()));
    }
    if !arguments.boot.is_empty() {
        let message = format!("--boot is for a new file, and {file} says itself what its machines boot");
        return Err(Failure::Mistyped { message, hint: "leave --boot out, or name a new file with --file".to_owned() });
    }
    let new = |machine: &&Machine| NewMachine {
        macs: machine.macs.clone(),
        naming: site::Naming::Given(machine.name.clone()),
        addressing: machine.ip.map_or(Addressing::Unreserved, Addressing::Given),
        file: Some(file.clone()),
    };
    let mut edits = site::add_machines(tree, site, &fresh.iter().map(new).collect::<Vec<_>>()).map_err(explain)?;
    edits.pop().ok_or_else(|| anyhow::anyhow!("no machine is left to add").into())
}

/// What most machines of the site boot; where there is none, the one image there is.
fn usual_boot(site: &Site) -> Result<Vec<ImageName>, Failure> {
    let mut counts: BTreeMap<&Vec<ImageName>, usize> = BTreeMap::new();
    site.machines.values().for_each(|machine| *counts.entry(&machine.boot).or_default() += 1);
    if let Some((boot, _)) = counts.into_iter().max_by_key(|(_, count)| *count) {
        return Ok(boot.clone());
    }
    let boots = |kind: &ImageKind| !matches!(kind, ImageKind::Disk(disk) if disk.role == Role::Data);
    let images: Vec<&ImageName> = site.images.values().filter(|image| boots(&image.kind)).map(|image| &image.name).collect();
    match images.as_slice() {
        [one] => Ok(vec![(*one).clone()]),
        several => {
            let names = several.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
            Err(Failure::Usage(format!("what do these machines boot? --boot IMAGE; the site has {names}")))
        }
    }
}

/// A finding in a text that was not written, at the line that it came from.
fn at_source(finding: Diagnostic, edit: &Edit, fresh: &[&Machine], sources: &Sources) -> Diagnostic {
    if finding.place.file != edit.file || finding.place.line == 0 {
        return finding;
    }
    let lines: Vec<&str> = edit.after.lines().collect();
    let at = (finding.place.line as usize).min(lines.len());
    let begin = lines[..at].iter().rposition(|line| line.trim_start().starts_with("[[machine]]")).unwrap_or(0);
    let name =
        lines[begin..].iter().find_map(|line| line.trim_start().strip_prefix("name").and_then(|rest| rest.split('"').nth(1)));
    let Some(machine) = fresh.iter().find(|machine| Some(machine.name.as_str()) == name) else { return finding };
    Diagnostic {
        place: place_in(&machine.place, sources),
        message: format!("{}: {}", machine.name, finding.message),
        also: Vec::new(),
        ..finding
    }
}
