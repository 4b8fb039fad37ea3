//! One sentence for the transcript: what a client asked and what it was told.
//!
//! **Invariant:** no byte of the packet reaches the sentence unread: only parsed values are printed.

use super::{
    boot_info::BootInfo,
    classify::Client,
    decide::{Answer, Decision, IgnoreReason},
    packet::{MessageKind, Request},
    reply::Reply,
};
use std::net::Ipv4Addr;

/// The sentence.
pub fn describe(request: &Request, decision: &Decision) -> String {
    let kind = match request.kind {
        MessageKind::Discover => "DISCOVER",
        MessageKind::Request => "REQUEST",
        MessageKind::Decline => "DECLINE",
        MessageKind::Release => "RELEASE",
        MessageKind::Inform => "INFORM",
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

/// The address a client is known by after this, where one shows.
pub fn address_seen(request: &Request, decision: &Decision) -> Option<Ipv4Addr> {
    match &decision.answer {
        Answer::Ack(reply) if !reply.yiaddr.is_unspecified() => Some(reply.yiaddr),
        // In proxy mode the address is another server's; the client says which it took.
        Answer::Ignore(IgnoreReason::OtherServer(_)) => request.requested,
        _ => request.ciaddr,
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
