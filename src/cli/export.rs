//! `barista export`: what to put into another DHCP server.

use super::{
    arguments::SiteArguments,
    failure::{Exit, Failure},
    output, source,
};
use crate::exchange::export::{Dialect, Which, export};
use crate::plan;
use clap::ValueEnum;

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Which server
    server: Server,
    #[command(flatten)]
    site: SiteArguments,
    /// All networks, not only those with mode = "off"
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Server {
    /// A file for dnsmasq's conf-dir
    Dnsmasq,
    /// A file for an include of ISC dhcpd
    #[value(alias = "dhcpd", alias = "isc")]
    IscDhcp,
    /// A configuration for Kea
    Kea,
}

/// Runs `export`.
pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let site = source::load(&arguments.site.source().read()?)?;
    let prepared = plan::prepare(&site).map_err(Failure::Findings)?;
    let dialect = match arguments.server {
        Server::Dnsmasq => Dialect::Dnsmasq,
        Server::IscDhcp => Dialect::IscDhcp,
        Server::Kea => Dialect::Kea,
    };
    let which = if arguments.all { Which::All } else { Which::Off };
    let Some(text) = export(&prepared.table, which, dialect) else {
        let error = anyhow::anyhow!("no network of the site has mode = \"off\"");
        return Err(Failure::hinted(error, "add --all to export the others too; then do not let two servers answer one network"));
    };
    output::data(&text)?;
    Ok(Exit::Done)
}
