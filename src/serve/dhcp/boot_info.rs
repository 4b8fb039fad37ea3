//! What a machine is told to boot, and how a reply says it.
//!
//! **Invariant:** a client that is not booting is told nothing, and every architecture has one answer in every mode (C13).

use super::{
    classify::{Ability, Client, PiModel},
    model::{BootInfo, Case, NoBoot, Port, Reply},
    options::{self, ipxe, pxe},
    packet::Request,
};
use crate::{
    boot::loaders::{NoLoader, Starter},
    desired::{NetworkMode, PxeStrategy},
    names::{ClientArch, Platform},
    serve::HttpState,
};
use std::net::Ipv4Addr;

/// Decides what a client is told to boot.
pub(super) fn decide_boot(case: &Case<'_>) -> BootInfo {
    let table = case.offering.table;
    let told = match case.client {
        Client::Plain => Err(NoBoot::Plain),
        Client::PxeFirmware { arch } => loader(case, arch, Starter::Firmware)
            .map(|(platform, file)| BootInfo::Loader { file, strategy: strategy(case, platform) }),
        Client::Etherboot | Client::Bootp if case.network.mode == NetworkMode::Proxy => Err(NoBoot::NotByProxy),
        Client::Etherboot | Client::Bootp => loader(case, ClientArch::BIOS, Starter::Firmware)
            .map(|(_, file)| BootInfo::Loader { file, strategy: PxeStrategy::Plain }),
        Client::HttpBoot { .. } | Client::Ipxe { ability: Ability::Able, .. } if case.offering.http == HttpState::Closed => {
            Err(NoBoot::NoHttp)
        }
        Client::HttpBoot { arch } => loader(case, arch, Starter::Firmware)
            .map(|(_, file)| BootInfo::HttpLoader(format!("{}/loaders/{file}", table.http_base()))),
        // Beside a router too: a U-Boot of old drops an offer without an address, and one with SERVERIP_FROM_PROXYDHCP waits for it.
        Client::UBoot { .. } => own_files(case),
        Client::RaspberryPi(model) => match case.offering.loaders.has_near_root(model.needed_file()) {
            true => Ok(BootInfo::PiMenu(model)),
            false => Err(NoBoot::PiFiles(model.needed_file())),
        },
        // Our own loader cannot be told from a ROM's iPXE: both say `iPXE` and list features. So the list decides, and a
        // loader that lacks them itself comes back here.
        Client::Ipxe { ability: Ability::Lacking, .. } | Client::Gpxe { .. }
            if case.offering.chainload_loops.is_looping(case.request.mac, case.request.xid, case.now) =>
        {
            Err(NoBoot::Loop)
        }
        Client::Ipxe { arch, ability: Ability::Lacking } | Client::Gpxe { arch } => {
            // A whole address: a ROM's iPXE does not look for a bare name on next-server (C12).
            loader(case, arch.unwrap_or(ClientArch::BIOS), Starter::Ipxe)
                .map(|(_, file)| BootInfo::BetterIpxe(format!("tftp://{}/{file}", table.tftp_address)))
        }
        Client::Ipxe { ability: Ability::Able, .. } => Ok(BootInfo::Script(format!("{}/boot.ipxe", table.http_base()))),
    };
    told.unwrap_or_else(BootInfo::Nothing)
}

/// The loader of an architecture: the machine's where its firmware can start it, else its network's, else the usual one.
fn loader(case: &Case<'_>, arch: ClientArch, starter: Starter) -> Result<(Platform, String), NoBoot> {
    let platform = arch.platform().ok_or(NoBoot::Arch(arch))?;
    let machine = case.offering.table.machine(case.request.mac).and_then(|(_, machine)| machine.loader.as_deref());
    let network = case.network.loading.loader.get(&platform).map(String::as_str);
    let wanted = machine.filter(|file| platform.takes(file)).or(network);
    Ok((platform, case.offering.loaders.choose(platform, starter, wanted)?.to_owned()))
}

/// Where a U-Boot's files are; the machine's loader stands in for the name it would make up, unless that is for its UEFI part.
fn own_files(case: &Case<'_>) -> Result<BootInfo, NoBoot> {
    let machine = case.offering.table.machine(case.request.mac).and_then(|(_, machine)| machine.loader.as_deref());
    let Some(wanted) = machine.filter(|file| !Platform::UefiArm64.takes(file)) else { return Ok(BootInfo::OwnFiles) };
    let (file, _) = case.offering.loaders.find(wanted).ok_or_else(|| NoLoader::Missing(wanted.to_owned()))?;
    Ok(BootInfo::Loader { file: file.to_owned(), strategy: PxeStrategy::Plain })
}

fn strategy(case: &Case<'_>, platform: Platform) -> PxeStrategy {
    // Firmware that comes to the boot server, or has chosen from a menu, came for the file whatever it was offered (C6).
    if case.arrival.port == Port::BootServer || case.request.boot_item.is_some() {
        return PxeStrategy::File;
    }
    let machine = case.offering.table.machine(case.request.mac).and_then(|(_, machine)| machine.pxe);
    machine.or_else(|| case.network.loading.pxe.get(&platform).copied()).unwrap_or_default()
}

/// Says it in a reply, in every place some firmware looks (C4, C5, C14, C16).
pub(super) fn add_boot(reply: &mut Reply, case: &Case<'_>, boot: BootInfo) {
    let table = case.offering.table;
    match &boot {
        BootInfo::Nothing(_) => {}
        BootInfo::OwnFiles => reply.set_boot_server(table.tftp_address),
        BootInfo::HttpLoader(url) => {
            reply.set_boot_file(table.http_address, url);
            // Without it UEFI's HTTP boot ignores the reply.
            reply.add_text(options::VENDOR_CLASS, "HTTPClient");
        }
        BootInfo::Loader { file, strategy } => match strategy {
            PxeStrategy::Plain => reply.set_boot_file(table.tftp_address, file),
            PxeStrategy::BootServer => set_boot_server(reply, case),
            PxeStrategy::Menu => {
                set_boot_server(reply, case);
                reply.options.insert(options::VENDOR_INFORMATION, menu(case.local, file));
            }
            PxeStrategy::File => {
                reply.set_boot_file(table.tftp_address, file);
                reply.add_text(options::VENDOR_CLASS, "PXEClient");
                reply.options.insert(options::VENDOR_INFORMATION, use_boot_file(case.request));
            }
        },
        BootInfo::PiMenu(model) => {
            reply.siaddr = table.tftp_address;
            reply.add_text(options::TFTP_SERVER_NAME, &table.tftp_address.to_string());
            reply.add_text(options::VENDOR_CLASS, "PXEClient");
            reply.options.insert(options::VENDOR_INFORMATION, pi_menu(*model));
        }
        BootInfo::Script(url) | BootInfo::BetterIpxe(url) => reply.set_boot_file(table.tftp_address, url),
    }
    if matches!(case.client, Client::HttpBoot { .. }) {
        // The firmware takes siaddr for a TFTP server where it sees one beside the address.
        reply.options.remove(&options::TFTP_SERVER_NAME);
    }
    reply.boot = Some(boot);
}

/// Tells an iPXE that no proxyDHCP follows: it saves every boot two seconds (C10).
pub(super) fn add_no_proxy(reply: &mut Reply, client: Client) {
    if matches!(client, Client::Ipxe { .. }) {
        reply.options.insert(options::IPXE, vec![ipxe::NO_PXEDHCP, 1, 1]);
    }
}

/// Names us as the boot server, which is asked on port 4011 and has the file.
fn set_boot_server(reply: &mut Reply, case: &Case<'_>) {
    reply.set_boot_server(case.local);
    reply.add_text(options::VENDOR_CLASS, "PXEClient");
}

/// `06 01 08 ff`: use the file of this message and discover nothing; EDK2 and BIOS ROMs both boot with it (C5, C6, C7).
fn use_boot_file(request: &Request) -> Vec<u8> {
    let mut data = vec![pxe::DISCOVERY_CONTROL, 1, pxe::USE_BOOT_FILE];
    if let Some(item) = request.boot_item.as_deref().filter(|item| item.len() <= usize::from(u8::MAX)) {
        data.extend([pxe::BOOT_ITEM, item.len() as u8]);
        data.extend_from_slice(item);
    }
    data.push(options::END);
    data
}

/// The first of the boot server types that are left to vendors (PXE 2.1 specification §2.2.3).
const SERVER_TYPE: [u8; 2] = [0x80, 0];
/// What a person reads of a file's name: a line of a screen of 80 columns.
const LONGEST_TITLE: usize = 64;

/// A menu of one item, taken at once, that the boot server at this address has.
fn menu(server: Ipv4Addr, title: &str) -> Vec<u8> {
    let title = &title.as_bytes()[..title.len().min(LONGEST_TITLE)];
    let mut data = vec![pxe::DISCOVERY_CONTROL, 1, pxe::NO_DISCOVERY];
    let servers = [&SERVER_TYPE[..], &[1], &server.octets()].concat();
    let items = [&SERVER_TYPE[..], &[title.len() as u8], title].concat();
    for (code, value) in [(pxe::BOOT_SERVERS, servers), (pxe::BOOT_MENU, items), (pxe::MENU_PROMPT, b"\0PXE".to_vec())] {
        data.extend([code, value.len() as u8]);
        data.extend_from_slice(&value);
    }
    data.push(options::END);
    data
}

/// The menu whose one item a Raspberry Pi looks for by its text; the ROM of the older ones wants three blanks behind it (C27).
fn pi_menu(model: PiModel) -> Vec<u8> {
    let title: &[u8] = match model {
        PiModel::Pi3 => b"Raspberry Pi Boot   ",
        PiModel::Pi4 | PiModel::Pi5 => b"Raspberry Pi Boot",
    };
    let mut data = vec![pxe::DISCOVERY_CONTROL, 1, pxe::NO_DISCOVERY, pxe::MENU_PROMPT, 4];
    data.extend_from_slice(b"\0PXE");
    data.extend([pxe::BOOT_MENU, title.len() as u8 + 3, 0, 0, title.len() as u8]);
    data.extend_from_slice(title);
    data.push(options::END);
    data
}
