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
    socket::{Socket, Sound},
};
use crate::boot::serve::{Recorder, Served};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, timeout_at},
};

/// Requests decided before one sync of the journal: a room that starts at once shares it.
const BATCH: usize = 64;
/// Requests that may wait; beyond it they are dropped in the kernel, and their ROMs ask again.
pub const BACKLOG: usize = 1024;

/// The least time between two syncs of the journal: under load many acknowledgements share one, and a machine that asks by itself
/// waits for none but its own.
const BETWEEN_SYNCS: Duration = Duration::from_millis(2);

/// Acknowledgements that wait for the disk, with the table each was decided by.
#[derive(Default)]
struct Held {
    replies: Vec<(Arc<Socket>, Reply, Arc<Served>)>,
    changes: Vec<LeaseChange>,
}

impl Held {
    fn is_empty(&self) -> bool {
        self.replies.is_empty() && self.changes.is_empty()
    }
}

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
    let mut held = Held::default();
    let mut next_sync = Instant::now();
    loop {
        let heard = match held.is_empty() {
            true => incoming.recv_many(&mut batch, BATCH).await,
            // Past the time it takes what is there already, and nothing more is waited for.
            false => timeout_at(next_sync, incoming.recv_many(&mut batch, BATCH)).await.unwrap_or(batch.len()),
        };
        let is_closed = heard == 0 && incoming.is_closed();
        // One table for the whole batch, and each answer from one table alone.
        let served = served.borrow().clone();
        let mut probes = Vec::new();
        for Incoming { socket, what } in batch.drain(..) {
            let change = match what {
                What::Heard(Sound::Datagram(datagram)) => {
                    let told = desk.answer(&socket, &datagram, &served);
                    probes.extend(told.probe.map(|ip| (socket.clone(), ip)));
                    match told.reply {
                        Some(reply) if reply.kind == ReplyKind::Ack => held.replies.push((socket, reply, served.clone())),
                        // An offer promises nothing that the disk must know.
                        Some(reply) => send(&socket, &reply),
                        None => {}
                    }
                    told.change
                }
                What::Heard(Sound::Overheard(overheard)) => desk.overhear(&socket, overheard, &served),
                What::Reminder => {
                    probes.extend(desk.ask_after(&socket, &served).into_iter().map(|ip| (socket.clone(), ip)));
                    None
                }
            };
            held.changes.extend(change.filter(|change| change.is_durable()));
        }
        probes.into_iter().for_each(|(socket, ip)| socket.probe(ip));
        if !held.is_empty() && (is_closed || Instant::now() >= next_sync) {
            let Held { replies, changes } = std::mem::take(&mut held);
            let written = write(&journal, changes, desk.leases()).await;
            next_sync = Instant::now() + BETWEEN_SYNCS;
            for (socket, reply, served) in replies {
                if written.is_ok() || is_reservation(&reply, &served) {
                    send(&socket, &reply);
                }
            }
        }
        if is_closed {
            return;
        }
    }
}

fn send(socket: &Socket, reply: &Reply) {
    if let Err(error) = socket.send(reply) {
        tracing::warn!(interface = socket.interface, mac = %reply.mac, %error, "a DHCP reply could not be sent");
    }
}

/// Writes changes to the journal, off the loop's thread.
async fn write(journal: &Arc<Mutex<Journal>>, changes: Vec<LeaseChange>, leases: &Leases) -> io::Result<()> {
    if changes.is_empty() {
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
