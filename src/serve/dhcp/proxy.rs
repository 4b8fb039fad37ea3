//! Decides beside another DHCP server: boot information only, on port 67 and as the boot server on port 4011.
//!
//! **Invariant:** gives no address, refuses none, and is silent to whoever does not boot.
//! Follows the PXE 2.1 specification §2.2 and what EDK2, iPXE and BIOS ROMs were seen to take.

use super::{
    boot_info::{add_boot, decide_boot},
    classify::Client,
    model::{Answer, BootInfo, Case, Destination, IgnoreReason, Port, Reply, ReplyKind},
    options,
    packet::MessageKind,
};
use std::net::Ipv4Addr;

/// Decides on port 67.
pub(super) fn decide_proxy(case: &Case<'_>) -> Answer {
    let request = case.request;
    match request.kind {
        _ if case.client == Client::Plain => Answer::Ignore(IgnoreReason::NotBooting),
        MessageKind::Discover => boot_reply(case, ReplyKind::Offer),
        // A REQUEST names the server whose offer was taken. One that names us is meant for the boot server, whatever
        // port it came to.
        MessageKind::Request if case.speaks_to_us() == Some(true) => boot_reply(case, ReplyKind::Ack),
        MessageKind::Request => match request.server_id {
            Some(server) => Answer::Ignore(IgnoreReason::OtherServer(server)),
            None => Answer::Ignore(IgnoreReason::ProxyOnly),
        },
        MessageKind::Inform if request.boot_item.is_some() => boot_reply(case, ReplyKind::Ack),
        MessageKind::Inform | MessageKind::Decline | MessageKind::Release | MessageKind::Bootp => {
            Answer::Ignore(IgnoreReason::ProxyOnly)
        }
    }
}

/// Decides on port 4011.
pub(super) fn decide_boot_server(case: &Case<'_>) -> Answer {
    match (case.request.kind, case.client, case.speaks_to_us()) {
        (_, Client::Plain, _) => Answer::Ignore(IgnoreReason::NotBooting),
        (MessageKind::Request | MessageKind::Inform, _, Some(true) | None) => boot_reply(case, ReplyKind::Ack),
        (MessageKind::Request | MessageKind::Inform, _, Some(false)) => {
            Answer::Ignore(IgnoreReason::OtherServer(case.request.server_id.unwrap_or(Ipv4Addr::UNSPECIFIED)))
        }
        (MessageKind::Discover | MessageKind::Decline | MessageKind::Release | MessageKind::Bootp, _, _) => {
            Answer::Ignore(IgnoreReason::WrongPort)
        }
    }
}

fn boot_reply(case: &Case<'_>, kind: ReplyKind) -> Answer {
    let boot = decide_boot(case);
    if let BootInfo::Nothing(reason) = boot {
        return Answer::Ignore(IgnoreReason::NoBoot(reason));
    }
    let source = case.arrival.source;
    let to = match case.arrival.port {
        // The port it asked from: EDK2 listens on 4011 there, iPXE on 68 (C8).
        Port::BootServer if !source.ip().is_unspecified() && case.request.giaddr.is_none() => Destination::Unicast(source),
        _ => case.destination(Ipv4Addr::UNSPECIFIED),
    };
    let mut reply = Reply::to(case.request, kind, case.local, to);
    if kind == ReplyKind::Offer {
        // A client without an address hears nothing else (C4).
        reply.set_broadcast();
    } else {
        // yiaddr stays zero as in the offer: iPXE drops an answer whose yiaddr differs (C8).
        reply.ciaddr = case.request.ciaddr.unwrap_or(Ipv4Addr::UNSPECIFIED);
    }
    add_boot(&mut reply, case, boot);
    if !matches!(case.client, Client::HttpBoot { .. }) {
        // Without it an offer of no address is no proxy's offer; iPXE looks for it too.
        reply.add_text(options::VENDOR_CLASS, "PXEClient");
    }
    match kind {
        ReplyKind::Offer => Answer::Offer(reply),
        ReplyKind::Ack | ReplyKind::Nak | ReplyKind::Bootp => Answer::Ack(reply),
    }
}
