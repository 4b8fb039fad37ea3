//! `barista machine list`: the machines of a site, and when each was last seen.
//!
//! **Invariant:** the site alone says what there is; a transcript that cannot be read leaves out when, and nothing else.

use crate::cli::{
    arguments::{JsonArgument, SiteArguments, StateArgument},
    clock,
    explain::read_transcript,
    failure::{Exit, Failure},
    output, source,
};
use crate::names::{ImageName, MacAddr, MachineName, NetworkName};
use crate::site::Site;
use crate::transcript::{MachineTranscript, Transcript};
use jiff::Timestamp;
use serde::Serialize;
use std::{collections::BTreeMap, net::Ipv4Addr};
use unicode_width::UnicodeWidthStr as _;

/// Arguments of `machine list`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    site: SiteArguments,
    #[command(flatten)]
    state: StateArgument,
    #[command(flatten)]
    json: JsonArgument,
}

/// The machines of a site, as a document.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) struct MachineList {
    /// The version of this document, 1.
    version: u32,
    /// By name.
    machines: Vec<ListedMachine>,
}

/// One machine of a site.
#[derive(Debug, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct ListedMachine {
    /// Its name.
    name: MachineName,
    /// Its Ethernet addresses.
    macs: Vec<MacAddr>,
    /// Its reserved address.
    ip: Option<Ipv4Addr>,
    /// The network of its reserved address, or else of the one it was last seen with.
    network: Option<NetworkName>,
    /// What it can boot; the first is what it boots by itself.
    boot: Vec<ImageName>,
    /// When it was last seen to ask for anything.
    #[schemars(with = "Option<String>")]
    last_seen: Option<Timestamp>,
}

/// Runs `machine list`.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let site = source::load(&arguments.site.source().read()?)?;
    let transcript = read_transcript(&arguments.state.state).unwrap_or_else(|failure| {
        output::note(format!("when machines were last seen is not known: {}", failure.in_passing()));
        None
    });
    let transcript = transcript.unwrap_or_else(Transcript::empty);
    let machines = list(&site, &transcript);
    if arguments.json.json {
        output::json(&MachineList { version: 1, machines })?;
        return Ok(Exit::Done);
    }
    if machines.is_empty() {
        output::note("the site has no machine");
        return Ok(Exit::Done);
    }
    output::data(&render(&machines, &site.titles()))?;
    Ok(Exit::Done)
}

fn list(site: &Site, transcript: &Transcript) -> Vec<ListedMachine> {
    let listed = site.machines.values().map(|machine| {
        let seen: Vec<&MachineTranscript> = machine.macs.iter().filter_map(|mac| transcript.machines.get(mac)).collect();
        let address = machine.ip.or_else(|| seen.iter().find_map(|seen| seen.address));
        let network = address.and_then(|ip| site.networks.iter().find(|(_, network)| network.subnet.contains(&ip)));
        let moments = seen.iter().filter_map(|seen| seen.events.last()).map(|event| event.until.unwrap_or(event.at));
        ListedMachine {
            name: machine.name.clone(),
            macs: machine.macs.clone(),
            ip: machine.ip,
            network: network.map(|(name, _)| name.clone()),
            boot: machine.boot.clone(),
            last_seen: moments.max(),
        }
    });
    listed.collect()
}

/// An image's name, with its title where it has one: `win11 (网吧系统)`.
fn titled(image: &ImageName, titles: &BTreeMap<ImageName, String>) -> String {
    titles.get(image).map_or_else(|| image.to_string(), |title| format!("{image} ({title})"))
}

/// A table: a line for each machine, its columns as wide as they have to be.
fn render(machines: &[ListedMachine], titles: &BTreeMap<ImageName, String>) -> String {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let words = |list: &[String]| list.join(" ");
    let row = |machine: &ListedMachine| {
        [
            machine.name.to_string(),
            words(&machine.macs.iter().map(ToString::to_string).collect::<Vec<_>>()),
            or_dash(machine.ip.map(|ip| ip.to_string())),
            or_dash(machine.network.as_ref().map(ToString::to_string)),
            words(&machine.boot.iter().map(|image| titled(image, titles)).collect::<Vec<_>>()),
            or_dash(machine.last_seen.map(clock::local)),
        ]
    };
    let heads = ["NAME", "MAC", "IP", "NETWORK", "BOOT", "LAST SEEN"].map(str::to_owned);
    let rows: Vec<[String; 6]> = std::iter::once(heads).chain(machines.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let line = |row: &[String; 6]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.width()))).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
