//! The DHCP loop: datagrams in, decisions made one after the other, leases on disk, replies out.
//!
//! **Invariant:** one task owns the leases, and no acknowledgement of a lease leaves before its line is on disk. EFFECTS.
#![expect(clippy::disallowed_methods, reason = "effect room: the DHCP loop and its journal's thread")]

use super::{
    desk::Desk,
    doors::{Incoming, What},
    journal::{Journal, Opened},
    leases::{LeaseChange, Leases},
    reply::{Reply, ReplyKind},
    socket::Sound,
};
use crate::boot::serve::{Recorder, Served};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::{mpsc, watch};

/// Requests decided before one sync of the journal: a room that starts at once shares it.
const BATCH: usize = 64;
/// Requests that may wait; beyond it they are dropped in the kernel, and their ROMs ask again.
pub const BACKLOG: usize = 1024;

/// Answers until all doors are closed.
pub async fn serve_dhcp(
    mut incoming: mpsc::Receiver<Incoming>,
    served: watch::Receiver<Arc<Served>>,
    recorder: Arc<Recorder>,
    opened: Opened,
) {
    let Opened { journal, leases, .. } = opened;
    let journal = Arc::new(Mutex::new(journal));
    let mut desk = Desk::new(leases, recorder);
    let mut batch = Vec::with_capacity(BATCH);
    while incoming.recv_many(&mut batch, BATCH).await > 0 {
        // One table for the whole batch, and each answer from one table alone.
        let served = served.borrow().clone();
        let (mut replies, mut probes, mut changes) = (Vec::new(), Vec::new(), Vec::new());
        for Incoming { socket, what } in batch.drain(..) {
            match what {
                What::Heard(Sound::Datagram(datagram)) => {
                    let told = desk.answer(&socket, &datagram, &served);
                    changes.extend(told.change);
                    probes.extend(told.probe.map(|ip| (socket.clone(), ip)));
                    replies.extend(told.reply.map(|reply| (socket, reply)));
                }
                What::Heard(Sound::Overheard(overheard)) => changes.extend(desk.overhear(&socket, overheard, &served)),
                What::Reminder => probes.extend(desk.ask_after(&socket, &served).into_iter().map(|ip| (socket.clone(), ip))),
            }
        }
        let written = write(&journal, changes, desk.leases()).await;
        for (socket, reply) in replies {
            let may_leave = written.is_ok() || reply.kind != ReplyKind::Ack || is_reservation(&reply, &served);
            if !may_leave {
                continue;
            }
            if let Err(error) = socket.send(&reply) {
                tracing::warn!(interface = socket.interface, mac = %reply.mac, %error, "a DHCP reply could not be sent");
            }
        }
        probes.into_iter().for_each(|(socket, ip)| socket.probe(ip));
    }
}

/// Writes changes to the journal, off the loop's thread.
async fn write(journal: &Arc<Mutex<Journal>>, changes: Vec<LeaseChange>, leases: &Leases) -> io::Result<()> {
    if !changes.iter().any(|change| change.is_durable()) {
        return Ok(());
    }
    let journal = journal.clone();
    let whole = lock(&journal).must_be_rewritten(leases).then(|| leases.clone());
    let written = tokio::task::spawn_blocking(move || lock(&journal).write(&changes, whole.as_ref()));
    written.await.unwrap_or_else(|panic| Err(io::Error::other(panic))).inspect_err(|error| {
        tracing::error!(%error, "the lease journal cannot be written; only reserved addresses are acknowledged");
    })
}

fn lock(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A reservation stands in the table: it needs no journal to survive.
fn is_reservation(reply: &Reply, served: &Served) -> bool {
    served.table.machine(reply.mac).is_some_and(|(_, machine)| machine.ip == Some(reply.yiaddr))
}
