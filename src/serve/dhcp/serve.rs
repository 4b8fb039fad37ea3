//! The DHCP loop: datagrams in, decisions made one after the other, leases on disk, replies out.
//!
//! **Invariant:** one task owns the leases, and no acknowledgement of a lease that is new to its client leaves before its line is on
//! disk; what else leaves, though the disk fails or hangs, [`super::promises`] says. A disk that hangs stops no answer. EFFECTS.
#![expect(clippy::disallowed_methods, reason = "effect room: the DHCP loop and its journal's thread")]

use super::{
    journal::{Journal, Opened, why},
    leases::{LeaseChange, Leases},
    listeners::{Incoming, What},
    model::Reply,
    packet_socket::Overheard,
    promises::{Departure, Disk, PATIENCE, Promise, Unwritten},
    service::{DhcpService, Response},
    socket::{Received, Socket},
};
use crate::serve::{Boots, Recorder, Served};
use std::{
    collections::BTreeSet,
    future::pending,
    io,
    net::Ipv4Addr,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinHandle, spawn_blocking},
    time::{Instant, sleep_until},
};

/// Requests decided in one go, and acknowledgements that are worth a sync at once: a longer burst of them would overrun the
/// receive buffer of a relay.
const BATCH: usize = 64;
/// Requests that may wait, for the service or for the disk; beyond it they are dropped, and their ROMs ask again.
pub const BACKLOG: usize = 1024;

/// The least time between two syncs of the journal: under load many acknowledgements share one, and a machine that asks by itself
/// waits for none but its own.
const BETWEEN_SYNCS: Duration = Duration::from_millis(5);

/// The operator is told again of a journal that cannot be written after this.
const SAID_EVERY: Duration = Duration::from_secs(60);

/// An acknowledgement that waits for the disk.
struct PendingAck {
    socket: Arc<Socket>,
    reply: Reply,
    promise: Promise,
}

/// What waits for the disk.
#[derive(Default)]
struct Unsynced {
    promises: Vec<PendingAck>,
    changes: Vec<LeaseChange>,
    overflow: Overflow,
}

/// Whether more has changed than waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Overflow {
    #[default]
    None,
    /// The next write needs all leases.
    Some,
}

/// A sync that is under way, and what leaves when it has succeeded.
struct Writing {
    begun: Instant,
    promises: Vec<PendingAck>,
    done: JoinHandle<io::Result<()>>,
}

impl Unsynced {
    /// Keeps a change for the next write; beyond the bound that all leases are to be written.
    fn change(&mut self, change: LeaseChange) {
        match self.changes.len() < BACKLOG {
            true => self.changes.push(change),
            false => self.overflow = Overflow::Some,
        }
    }

    /// The addresses whose lines wait.
    fn addresses(&self) -> BTreeSet<Ipv4Addr> {
        let bound = |change: &LeaseChange| if let LeaseChange::Bind { ip, .. } = change { Some(*ip) } else { None };
        self.changes.iter().filter_map(bound).collect()
    }

    /// Keeps an acknowledgement; beyond the bound its client has to ask again.
    fn hold(&mut self, pending: PendingAck) {
        if self.promises.len() < BACKLOG {
            self.promises.push(pending);
        }
    }
}

/// Answers until all ports are closed.
pub async fn serve_dhcp(
    mut incoming: mpsc::Receiver<Incoming>,
    served: watch::Receiver<Arc<Served>>,
    recorder: Arc<Recorder>,
    boots: Arc<Boots>,
    opened: Opened,
) {
    let Opened { journal, leases, clock, .. } = opened;
    let journal = Arc::new(Mutex::new(journal));
    let mut service = DhcpService::new(leases, clock, recorder, boots);
    let mut batch = Vec::with_capacity(BATCH);
    let (mut held, mut writing) = (Unsynced::default(), None);
    let (mut unwritten, mut said) = (Unwritten::default(), None);
    let mut next_sync = pin!(sleep_until(Instant::now()));
    let mut patience = pin!(sleep_until(Instant::now()));
    let mut disk = Disk::Answers;
    let mut is_closed = false;
    loop {
        let waits_for_disk = writing.is_none() && !held.changes.is_empty();
        if waits_for_disk && (is_closed || held.changes.len() >= BATCH || next_sync.deadline() <= Instant::now()) {
            writing = Some(write(&journal, std::mem::take(&mut held), service.leases()));
            patience.as_mut().reset(Instant::now() + PATIENCE);
            continue;
        }
        if is_closed && writing.is_none() {
            return;
        }
        tokio::select! {
            biased;
            (promises, written) = ended(&mut writing) => {
                say(&written, &mut said);
                disk = Disk::Answers;
                if written.is_ok() {
                    let waiting = held.addresses();
                    unwritten.note_written(|ip| held.overflow == Overflow::Some || waiting.contains(&ip));
                }
                keep(promises, &written, &unwritten);
                next_sync.as_mut().reset(Instant::now() + BETWEEN_SYNCS);
            }
            () = next_sync.as_mut(), if waits_for_disk => {}
            () = patience.as_mut(), if disk == Disk::Answers && writing.is_some() => {
                disk = Disk::Hangs;
                if let Some(Writing { begun, promises, .. }) = &mut writing {
                    say_late(*begun, &mut said);
                    release(promises, &unwritten);
                }
                release(&mut held.promises, &unwritten);
            }
            // What comes while the disk is at work is decided meanwhile, as far as it may wait for the next sync.
            heard = incoming.recv_many(&mut batch, BATCH), if !is_closed && (disk == Disk::Hangs || held.changes.len() < BACKLOG) => {
                is_closed = heard == 0;
                // One table for the whole batch, and each answer from one table alone.
                let served = served.borrow().clone();
                batch.drain(..).for_each(|incoming| {
                    answer(&mut service, incoming, &served, &mut held, (&mut unwritten, disk));
                });
            }
        }
    }
}

/// Answers what came; what must be on disk before its answer leaves is held.
fn answer(
    service: &mut DhcpService,
    Incoming { socket, what }: Incoming,
    served: &Arc<Served>,
    held: &mut Unsynced,
    (unwritten, disk): (&mut Unwritten, Disk),
) {
    let change = match what {
        What::Received(Received::Datagram(datagram)) => {
            let Response { reply, change, promise, probe } = service.answer(&socket, &datagram, served);
            match (reply, change) {
                (Some(reply), Some(change)) if change.is_durable() => {
                    let promise = if is_reservation(&reply, served) { Promise::Reservation } else { promise };
                    match unwritten.promise(promise, reply.yiaddr, disk) {
                        Departure::Now => send(&socket, &reply),
                        Departure::OnceWritten => held.hold(PendingAck { socket: socket.clone(), reply, promise }),
                    }
                }
                // An offer promises nothing that the disk must know.
                (Some(reply), _) => send(&socket, &reply),
                (None, _) => {}
            }
            probe.into_iter().for_each(|ip| socket.probe(ip));
            change
        }
        What::Received(Received::Overheard(Overheard::Solicitation(solicitation))) => {
            if service.is_waiting(solicitation.mac) {
                socket.end_router_search(&solicitation);
            }
            None
        }
        What::Received(Received::Overheard(Overheard::Reply(heard))) => {
            service.overhear_reply(&socket, heard, &served.table);
            None
        }
        What::Received(Received::Overheard(Overheard::Claim(claim))) => service.overhear_claim(&socket, claim, served),
        What::Reminder => {
            service.ask_after(&socket, served).into_iter().for_each(|ip| socket.probe(ip));
            None
        }
    };
    change.filter(|change| change.is_durable()).into_iter().for_each(|change| held.change(change));
}

/// Sends what is on disk now. What could not be written is not acknowledged, but for what the disk keeps for its client already.
fn keep(promises: Vec<PendingAck>, written: &io::Result<()>, unwritten: &Unwritten) {
    for PendingAck { socket, reply, promise } in promises {
        if written.is_ok() || unwritten.is_kept_by_disk(promise, reply.yiaddr) {
            send(&socket, &reply);
        }
    }
}

/// Sends, of what waits for a disk that hangs, what it keeps for its client already.
fn release(promises: &mut Vec<PendingAck>, unwritten: &Unwritten) {
    let leaving = promises.extract_if(.., |pending| unwritten.is_kept_by_disk(pending.promise, pending.reply.yiaddr));
    leaving.for_each(|PendingAck { socket, reply, .. }| send(&socket, &reply));
}

/// Tells the operator of a disk that does not answer.
fn say_late(begun: Instant, said: &mut Option<Instant>) {
    if said.is_none_or(|at| at.elapsed() >= SAID_EVERY) {
        *said = Some(Instant::now());
        tracing::error!(
            "a write of the lease journal has not ended for {} ms: its disk hangs; leases that are on disk are renewed, and only reserved addresses are given anew",
            begun.elapsed().as_millis()
        );
    }
}

/// Tells the operator of a journal that cannot be written, once in a while, and of its end.
fn say(written: &io::Result<()>, said: &mut Option<Instant>) {
    match (written, *said) {
        (Ok(()), None) => {}
        (Ok(()), Some(_)) => {
            *said = None;
            tracing::info!("the lease journal is written again");
        }
        (Err(_), Some(at)) if at.elapsed() < SAID_EVERY => {}
        (Err(error), _) => {
            *said = Some(Instant::now());
            tracing::error!(
                "the lease journal cannot be written: {}; leases that are on disk are renewed, and only reserved addresses are given anew",
                why(error)
            );
        }
    }
}

fn send(socket: &Socket, reply: &Reply) {
    if let Err(error) = socket.send(reply) {
        tracing::warn!(interface = socket.interface, mac = %reply.mac, %error, "a DHCP reply could not be sent");
    }
}

/// Begins to write changes to the journal, off the loop's thread.
fn write(journal: &Arc<Mutex<Journal>>, Unsynced { promises, changes, overflow }: Unsynced, leases: &Leases) -> Writing {
    let is_needed = overflow == Overflow::Some || lock(journal).must_be_rewritten(leases);
    let whole = is_needed.then(|| leases.clone());
    let journal = journal.clone();
    let done = spawn_blocking(move || {
        // Where the journal cannot be written anew, what stands in for the changes that did not wait is every lease.
        let changes = match (overflow, &whole) {
            (Overflow::Some, Some(leases)) => leases.changes().collect(),
            _ => changes,
        };
        lock(&journal).write(&changes, whole.as_ref())
    });
    Writing { begun: Instant::now(), promises, done }
}

/// Waits for the end of a write; for ever, where there is none.
async fn ended(writing: &mut Option<Writing>) -> (Vec<PendingAck>, io::Result<()>) {
    let Some(Writing { done, .. }) = writing else { return pending().await };
    let written = done.await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
    (writing.take().map(|writing| writing.promises).unwrap_or_default(), written)
}

fn lock(journal: &Mutex<Journal>) -> MutexGuard<'_, Journal> {
    journal.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A reservation stands in the table: it needs no journal to survive.
fn is_reservation(reply: &Reply, served: &Served) -> bool {
    served.table.machine(reply.mac).is_some_and(|(_, machine)| machine.ip == Some(reply.yiaddr))
}
