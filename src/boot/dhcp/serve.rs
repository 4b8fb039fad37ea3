//! The DHCP loop: datagrams in, decisions made one after the other, leases on disk, replies out.
//!
//! **Invariant:** one task owns the leases, and no acknowledgement of a lease leaves before its line is on disk. EFFECTS.
#![expect(clippy::disallowed_methods, reason = "effect room: the DHCP loop and its clock")]

use super::{
    decide::{Answer, Arrival, Door, Offering, decide},
    describe::{address_seen, describe, event_kind, is_worth_recording},
    journal::{Journal, Opened},
    leases::{LeaseChange, Leases},
    packet::parse,
    reply::{Reply, ReplyKind},
    socket::{Datagram, Socket},
};
use crate::boot::serve::{Happening, Recorder, Served};
use jiff::Timestamp;
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// Requests decided before one sync of the journal: a room that starts at once shares it.
const BATCH: usize = 64;
/// Requests that may wait; beyond it they are dropped in the kernel, and their ROMs ask again.
pub const BACKLOG: usize = 1024;

/// A datagram and the door it came to.
#[derive(Debug)]
pub struct Incoming {
    socket: Arc<Socket>,
    datagram: Datagram,
}

/// The doors that are open, by interface and door.
#[derive(Debug)]
pub struct Doors {
    open: BTreeMap<(String, Door), (Arc<Socket>, JoinHandle<()>)>,
    incoming: mpsc::Sender<Incoming>,
}

impl Doors {
    /// No doors yet; what they hear goes to `incoming`.
    pub fn new(incoming: mpsc::Sender<Incoming>) -> Self {
        Self { open: BTreeMap::new(), incoming }
    }

    /// Closes doors that are not wanted or whose interface is gone, and says which wanted ones are not open.
    pub fn close_others(&mut self, wanted: &BTreeMap<(String, Door), u16>) -> Vec<(String, Door, u16)> {
        self.open.retain(|key, (socket, task)| {
            let keep = wanted.contains_key(key) && socket.is_alive() && !task.is_finished();
            match keep {
                true => socket.refresh(),
                false => task.abort(),
            }
            keep
        });
        let missing = wanted.iter().filter(|(key, _)| !self.open.contains_key(*key));
        missing.map(|((interface, door), port)| (interface.clone(), *door, *port)).collect()
    }

    /// Opens one door.
    pub fn open(&mut self, interface: &str, door: Door, port: u16) -> io::Result<()> {
        let socket = Arc::new(Socket::open(interface, port, door)?);
        let task = tokio::spawn(hear(socket.clone(), self.incoming.clone()));
        self.open.insert((interface.to_owned(), door), (socket, task));
        Ok(())
    }
}

impl Drop for Doors {
    fn drop(&mut self) {
        self.open.values().for_each(|(_, task)| task.abort());
    }
}

/// Hands what a door hears to the desk, until its interface goes away.
async fn hear(socket: Arc<Socket>, incoming: mpsc::Sender<Incoming>) {
    loop {
        match socket.receive().await {
            Ok(datagram) => {
                if incoming.send(Incoming { socket: socket.clone(), datagram }).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(interface = socket.interface, %error, "a DHCP socket failed; it is opened again");
                return;
            }
        }
    }
}

/// Answers until all doors are closed.
pub async fn serve_dhcp(
    mut incoming: mpsc::Receiver<Incoming>,
    served: watch::Receiver<Arc<Served>>,
    recorder: Arc<Recorder>,
    opened: Opened,
) {
    let Opened { journal, mut leases, .. } = opened;
    let journal = Arc::new(Mutex::new(journal));
    let mut batch = Vec::with_capacity(BATCH);
    while incoming.recv_many(&mut batch, BATCH).await > 0 {
        let served = served.borrow().clone();
        let (mut replies, mut changes) = (Vec::new(), Vec::new());
        for Incoming { socket, datagram } in batch.drain(..) {
            let (reply, change) = answer(&socket, &datagram, &served, &mut leases, &recorder);
            changes.extend(change);
            replies.extend(reply.map(|reply| (socket, reply)));
        }
        let written = write(&journal, changes, &leases).await;
        for (socket, reply) in replies {
            let may_leave = written.is_ok() || reply.kind != ReplyKind::Ack || is_reservation(&reply, &served);
            if !may_leave {
                continue;
            }
            if let Err(error) = socket.send(&reply) {
                tracing::warn!(interface = socket.interface, mac = %reply.mac, %error, "a DHCP reply could not be sent");
            }
        }
    }
}

fn answer(
    socket: &Socket,
    datagram: &Datagram,
    served: &Served,
    leases: &mut Leases,
    recorder: &Recorder,
) -> (Option<Reply>, Option<LeaseChange>) {
    let request = match parse(&datagram.bytes) {
        Ok(request) => request,
        Err(error) => {
            tracing::debug!(interface = socket.interface, source = %datagram.source, %error, "no DHCP request");
            return (None, None);
        }
    };
    let addresses = socket.addresses();
    let arrival = Arrival {
        interface: &socket.interface,
        addresses: &addresses,
        destination: datagram.destination,
        source: datagram.source,
        door: socket.door,
    };
    let offering = Offering { table: &served.table, loaders: &served.loaders };
    let now = Timestamp::now();
    let decision = decide(&request, &arrival, offering, leases, now);
    if let Some(change) = decision.change {
        leases.apply(change);
    }
    let what = describe(&request, &decision, offering);
    match is_worth_recording(&decision) {
        true => {
            let service = match (&decision.answer, socket.door) {
                (_, Door::BootServer) => "proxydhcp",
                (Answer::Offer(reply) | Answer::Ack(reply), _) if reply.yiaddr.is_unspecified() => "proxydhcp",
                _ => "dhcp",
            };
            let kind = event_kind(&request, &decision, offering);
            recorder.record(request.mac, address_seen(&request, &decision), Happening { service, kind, what });
        }
        false => tracing::debug!(mac = %request.mac, interface = socket.interface, "{what}"),
    }
    let reply = match decision.answer {
        Answer::Offer(reply) | Answer::Ack(reply) | Answer::Nak(reply, _) => Some(reply),
        Answer::Noted(_) | Answer::Ignore(_) => None,
    };
    (reply, decision.change)
}

/// Writes changes to the journal, off the loop's thread.
async fn write(journal: &Arc<Mutex<Journal>>, changes: Vec<LeaseChange>, leases: &Leases) -> io::Result<()> {
    if !changes.iter().any(|change| change.is_durable()) {
        return Ok(());
    }
    let journal = journal.clone();
    let long = lock(&journal).is_long(leases).then(|| leases.clone());
    let written = tokio::task::spawn_blocking(move || {
        let mut journal = lock(&journal);
        journal.append(&changes)?;
        if let Some(Err(error)) = long.map(|leases| journal.compact(&leases)) {
            tracing::warn!(%error, "the lease journal cannot be written anew; it grows on");
        }
        Ok(())
    });
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
