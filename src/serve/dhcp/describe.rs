//! For the transcript, as a value and in one sentence: what a client asked and what it was told.
//!
//! **Invariant:** no byte of the packet reaches the sentence unread: only parsed values are printed.

use super::{
    classify::{Ability, Client},
    model::{Answer, BootInfo, Decision, IgnoreReason, NoBoot, Port, Reply},
    options,
    packet::{MessageKind, Request},
};
use crate::boot::loaders::NoLoader;
use crate::transcript::{Asker, DhcpAnswer, DhcpMessage, EventKind, Silence};
use std::net::Ipv4Addr;

/// The sentence.
pub fn describe(request: &Request, decision: &Decision) -> String {
    let kind = match request.kind {
        MessageKind::Discover => "DISCOVER",
        MessageKind::Request => "REQUEST",
        MessageKind::Decline => "DECLINE",
        MessageKind::Release => "RELEASE",
        MessageKind::Inform => "INFORM",
        MessageKind::Bootp => "BOOTP",
    };
    let client = decision.client;
    let told = |verb: &str, reply: &Reply| {
        let address = match reply.yiaddr.is_unspecified() {
            true => String::new(),
            false => format!(" {}", reply.yiaddr),
        };
        match (client, &reply.boot) {
            (Client::Plain, _) | (_, None) => format!("{verb}{address}"),
            (_, Some(boot @ BootInfo::Nothing(_))) => format!("{verb}{address}, {boot}"),
            (_, Some(boot)) => format!("{verb}{address} with {boot}"),
        }
    };
    let outcome = match &decision.answer {
        Answer::Offer(reply) => told("offered", reply),
        Answer::Ack(reply) => told("acknowledged", reply),
        Answer::Nak(_, reason) => format!("refused: {reason}"),
        Answer::Noted(note) => format!("it {note}"),
        Answer::Ignore(reason) => format!("not answered: {reason}"),
    };
    format!("{kind} from {client}; {outcome}")
}

/// Which service of ours answered.
pub fn service_name(answer: &Answer, port: Port) -> &'static str {
    match (answer, port) {
        (_, Port::BootServer) => "proxydhcp",
        // Beside another server nothing is said of the network. The address alone does not tell: INFORM is given none anywhere.
        (Answer::Offer(reply) | Answer::Ack(reply), _) if !reply.options.contains_key(&options::SUBNET_MASK) => "proxydhcp",
        _ => "dhcp",
    }
}

/// The value.
pub fn event_kind(request: &Request, decision: &Decision) -> EventKind {
    let message = match request.kind {
        MessageKind::Discover => DhcpMessage::Discover,
        MessageKind::Request => DhcpMessage::Request,
        MessageKind::Decline => DhcpMessage::Decline,
        MessageKind::Release => DhcpMessage::Release,
        MessageKind::Inform => DhcpMessage::Inform,
        MessageKind::Bootp => DhcpMessage::Bootp,
    };
    let (asker, arch) = match decision.client {
        Client::PxeFirmware { arch } => (Asker::Firmware, Some(arch)),
        Client::Etherboot | Client::Bootp | Client::RaspberryPi(_) => (Asker::Firmware, None),
        Client::UBoot { arch } => (Asker::UBoot, arch),
        Client::Gpxe { arch } => (Asker::LackingIpxe, arch),
        Client::HttpBoot { arch } => (Asker::HttpFirmware, Some(arch)),
        Client::Ipxe { arch, ability: Ability::Able } => (Asker::Ipxe, arch),
        Client::Ipxe { arch, ability: Ability::Lacking } => (Asker::LackingIpxe, arch),
        Client::Plain => (Asker::System, None),
    };
    let address = |reply: &Reply| Some(reply.yiaddr).filter(|ip| !ip.is_unspecified());
    let boot = |reply: &Reply| match &reply.boot {
        None | Some(BootInfo::Nothing(_)) => None,
        Some(boot) => Some(boot.to_string()),
    };
    let answer = match &decision.answer {
        Answer::Offer(reply) => DhcpAnswer::Offered { address: address(reply), boot: boot(reply) },
        Answer::Ack(reply) => DhcpAnswer::Acknowledged { address: address(reply), boot: boot(reply) },
        Answer::Nak(..) => DhcpAnswer::Refused,
        Answer::Noted(_) => DhcpAnswer::Noted,
        Answer::Ignore(reason) => DhcpAnswer::Ignored { because: silence(reason) },
    };
    EventKind::Dhcp { message, asker, arch, answer }
}

fn silence(reason: &IgnoreReason) -> Silence {
    match reason {
        IgnoreReason::NoNetwork | IgnoreReason::UnknownRelay(_) | IgnoreReason::NotFromRelay { .. } => Silence::NoNetwork,
        IgnoreReason::Off(_) => Silence::NetworkOff,
        IgnoreReason::OtherServer(server) => Silence::OtherServer { server: *server },
        IgnoreReason::NoBoot(NoBoot::Arch(_)) => Silence::NoLoaderForArch,
        IgnoreReason::NoBoot(NoBoot::Loader(NoLoader::Missing(file) | NoLoader::Foreign { file, .. })) => {
            Silence::LoaderMissing { file: file.clone() }
        }
        IgnoreReason::NoBoot(NoBoot::PiFiles(file)) => Silence::LoaderMissing { file: (*file).to_owned() },
        IgnoreReason::NoAddress(_) => Silence::NoAddress,
        IgnoreReason::NoBoot(NoBoot::Plain | NoBoot::NotByProxy | NoBoot::NoHttp | NoBoot::Loop)
        | IgnoreReason::ProxyOnly
        | IgnoreReason::NotBooting
        | IgnoreReason::UnknownLease(_)
        | IgnoreReason::ForeignRelease { .. }
        | IgnoreReason::ForeignDecline { .. }
        | IgnoreReason::LateDecline(_)
        | IgnoreReason::NotReserved
        | IgnoreReason::Unclear
        | IgnoreReason::WrongPort => Silence::Other,
    }
}

/// The address a client is known by after this, where one shows.
pub fn address_seen(request: &Request, decision: &Decision) -> Option<Ipv4Addr> {
    match &decision.answer {
        Answer::Ack(reply) if !reply.yiaddr.is_unspecified() => Some(reply.yiaddr),
        // In proxy mode the address is another server's; the client says which it took.
        Answer::Ignore(IgnoreReason::OtherServer(_)) => request.requested,
        _ => request.working_address(),
    }
}

/// The offer to a machine that boots: a sign that its firmware or an iPXE runs.
pub fn offer_to_a_boot<'a>(request: &Request, decision: &'a Decision) -> Option<&'a Reply> {
    match &decision.answer {
        Answer::Offer(reply) if request.kind == MessageKind::Discover && decision.client != Client::Plain => Some(reply),
        _ => None,
    }
}

/// Whether the operator wants to read it: everything answered, every machine that tried to boot and was not, and every client
/// that took another server's word.
pub fn is_worth_recording(decision: &Decision) -> bool {
    match &decision.answer {
        Answer::Offer(_) | Answer::Ack(_) | Answer::Nak(..) | Answer::Noted(_) => true,
        Answer::Ignore(IgnoreReason::NoAddress(_) | IgnoreReason::OtherServer(_)) => true,
        Answer::Ignore(_) => decision.client != Client::Plain,
    }
}
