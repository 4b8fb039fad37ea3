//! What a machine is told to boot, and how a reply says it.
//!
//! **Invariant:** a client that is not booting is told nothing, and every architecture has one answer in every mode (C13).

use super::{
    classify::{Ability, Client},
    options::{self, ipxe, pxe},
    packet::Request,
    reply::Reply,
};
use crate::{
    boot::{
        loaders::{Loaders, loader_for},
        table::BootTable,
    },
    names::ClientArch,
};
use std::fmt;

/// What a machine is told to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootInfo {
    /// The script at this address.
    Script(String),
    /// This loader by TFTP, as firmware reads it.
    Loader(&'static str),
    /// A loader of ours at this TFTP address, for an iPXE that cannot do what the scripts need.
    BetterIpxe(String),
    /// The loader at this address, for firmware that boots over HTTP.
    HttpLoader(String),
    /// Nothing, and why.
    Nothing(NoBoot),
}

/// Why a client is told nothing to boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoBoot {
    /// It is not booting.
    #[error("it does not boot from the network")]
    Plain,
    /// No loader of ours runs there.
    #[error("no loader is for {0}")]
    Arch(ClientArch),
    /// The loader's file is not there.
    #[error("{0} is not among the loaders")]
    Missing(&'static str),
}

impl fmt::Display for BootInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Script(url) | Self::BetterIpxe(url) | Self::HttpLoader(url) => f.write_str(url),
            Self::Loader(file) => f.write_str(file),
            Self::Nothing(reason) => write!(f, "nothing to boot: {reason}"),
        }
    }
}

/// Decides what a client is told to boot.
pub fn decide_boot(client: Client, table: &BootTable, loaders: &Loaders) -> BootInfo {
    let loader = |arch: ClientArch| match loader_for(arch) {
        None => Err(NoBoot::Arch(arch)),
        Some(file) => loaders.find(file).map(|_| file).ok_or(NoBoot::Missing(file)),
    };
    let told = match client {
        Client::Plain => Err(NoBoot::Plain),
        Client::PxeFirmware { arch } => loader(arch).map(BootInfo::Loader),
        Client::HttpBoot { arch } => {
            loader(arch).map(|file| BootInfo::HttpLoader(format!("{}/loaders/{file}", table.http_base())))
        }
        // Our own loader cannot be told from a ROM's iPXE: both say `iPXE` and list features. So the list decides, and
        // a loader that lacks them itself comes back here and is chained again; the transcript then shows the loop.
        Client::Ipxe { arch, ability: Ability::Lacking } => loader(arch.unwrap_or(ClientArch::BIOS))
            // A whole address: a ROM's iPXE does not look for a bare name on next-server (C12).
            .map(|file| BootInfo::BetterIpxe(format!("tftp://{}/{file}", table.tftp_address))),
        Client::Ipxe { ability: Ability::Able, .. } => Ok(BootInfo::Script(format!("{}/boot.ipxe", table.http_base()))),
    };
    told.unwrap_or_else(BootInfo::Nothing)
}

/// Says it in a reply, in every place some firmware looks (C4, C5, C14, C16).
pub fn add_boot(reply: &mut Reply, request: &Request, client: Client, boot: &BootInfo, table: &BootTable) {
    match boot {
        BootInfo::Nothing(_) => {}
        BootInfo::HttpLoader(url) => {
            reply.set_boot_file(table.http_address, url);
            // Without it UEFI's HTTP boot ignores the reply.
            reply.add_text(options::VENDOR_CLASS, "HTTPClient");
        }
        BootInfo::Loader(file) => {
            reply.set_boot_file(table.tftp_address, file);
            reply.add_text(options::VENDOR_CLASS, "PXEClient");
            reply.options.insert(options::VENDOR_INFORMATION, vendor_information(request));
        }
        BootInfo::Script(url) | BootInfo::BetterIpxe(url) => reply.set_boot_file(table.tftp_address, url),
    }
    if matches!(client, Client::HttpBoot { .. }) {
        // The firmware takes siaddr for a TFTP server where it sees one beside the address.
        reply.options.remove(&options::TFTP_SERVER_NAME);
    }
}

/// Tells an iPXE that no proxyDHCP follows: it saves every boot two seconds (C10).
pub fn add_no_proxy(reply: &mut Reply, client: Client) {
    if matches!(client, Client::Ipxe { .. }) {
        reply.options.insert(options::IPXE, vec![ipxe::NO_PXEDHCP, 1, 1]);
    }
}

/// `06 01 08 ff`: use the file of this message and discover nothing; EDK2 and BIOS ROMs both boot with it (C5, C6, C7).
fn vendor_information(request: &Request) -> Vec<u8> {
    let mut data = vec![pxe::DISCOVERY_CONTROL, 1, pxe::USE_BOOT_FILE];
    if let Some(item) = request.boot_item.as_deref().filter(|item| item.len() <= usize::from(u8::MAX)) {
        data.extend([pxe::BOOT_ITEM, item.len() as u8]);
        data.extend_from_slice(item);
    }
    data.push(options::END);
    data
}
