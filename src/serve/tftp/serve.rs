//! The TFTP loop: one thread, one socket that hears requests, one socket for each transfer.
//!
//! **Invariant:** transfers are counted before anything is allocated for them, in all and for each address; which one gives way is
//! decided by `room`. The caps are silent, for a machine that hears nothing asks again. EFFECTS: sockets, timers and a
//! thread; decides nothing.
#![expect(clippy::disallowed_methods, reason = "effect room: TFTP sockets, their clock and their thread")]

use super::{
    netascii::NetasciiFiles,
    request::{Opening, ReadRequest, Refusal, parse_opening},
    room::{Life, Peer, Room, Running, find_room},
    session::Outcome,
    transfer::{Buffers, Transfer},
};
use crate::{
    serve::{Boots, Happening, LONGEST_NAME, Recorder, Served, shown},
    transcript::EventKind,
};
use hyper::body::Bytes;
use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    io::Errno,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tokio::sync::{oneshot, watch};

/// Time for running transfers to end when the service stops.
const DRAIN: Duration = Duration::from_secs(5);
/// A request that came while the same machine's last transfer was ending is good for this long.
const FRESH: Duration = Duration::from_secs(1);
/// The same request within this is one that the network doubled: no machine asks again so soon.
const DOUBLED: Duration = Duration::from_millis(200);
/// Sockets that are looked after between two looks at all of them.
const EVENTS: usize = 256;
/// Requests that are taken between two looks at the transfers. What runs comes before what begins: a room that asks at once is then
/// not served block by block all together, where every machine waits until nearly the end.
const REQUESTS: usize = 1;

/// What an event is about: these two, and from `FIRST_TRANSFER` on a transfer.
const LISTENER: u64 = 0;
const STOP: u64 = 1;
const FIRST_TRANSFER: u64 = 2;

/// Answers until told to stop, then lets running transfers end.
///
/// The socket is bound to one address: a transfer's own socket takes it over, for ROMs drop an answer from another.
pub async fn serve_tftp(
    socket: UdpSocket,
    served: watch::Receiver<Arc<Served>>,
    (recorder, boots): (Arc<Recorder>, Arc<Boots>),
    stop: oneshot::Receiver<()>,
) {
    let (ended, mut end) = oneshot::channel::<()>();
    let started = io::pipe().and_then(|(stopped, stopping)| {
        let mut transfers = Transfers::new(socket, &stopped, served, (recorder, boots))?;
        let work = move || {
            if let Err(error) = transfers.run(&stopped) {
                tracing::error!(%error, "the TFTP service ended");
            }
            drop(ended);
        };
        // A loop of its own makes two system calls for a block, where a task of the runtime makes three and changes threads.
        thread::Builder::new().name("tftp".to_owned()).spawn(work)?;
        Ok(stopping)
    });
    let stopping = match started {
        Ok(stopping) => stopping,
        Err(error) => return tracing::error!(%error, "the TFTP service cannot start"),
    };
    tokio::select! {
        _ = stop => {}
        _ = &mut end => return,
    }
    // The loop sees its end of the pipe closed; so it does if this future is dropped.
    drop(stopping);
    // The thread says nothing, it only ends.
    let _ = end.await;
}

/// All transfers.
struct Transfers {
    epoll: OwnedFd,
    listener: UdpSocket,
    local: IpAddr,
    served: watch::Receiver<Arc<Served>>,
    recorder: Arc<Recorder>,
    boots: Arc<Boots>,
    texts: NetasciiFiles,
    running: BTreeMap<u64, Transfer>,
    of_peer: BTreeMap<SocketAddr, u64>,
    /// When each is looked at: at its deadline or before, so that a deadline that only moves on moves nothing here.
    looks: BTreeSet<(Instant, u64)>,
    /// The number of the next transfer.
    next: u64,
    /// The end of the service, once it was told to stop.
    until: Option<Instant>,
    buffers: Buffers,
}

impl Transfers {
    fn new(
        listener: UdpSocket,
        stopped: &impl AsFd,
        served: watch::Receiver<Arc<Served>>,
        (recorder, boots): (Arc<Recorder>, Arc<Boots>),
    ) -> io::Result<Self> {
        let local = listener.local_addr()?.ip();
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        // The end of a pipe that closes needs no flag.
        epoll::add(&epoll, stopped, EventData::new_u64(STOP), EventFlags::empty())?;
        Ok(Self {
            epoll,
            listener,
            local,
            served,
            recorder,
            boots,
            texts: NetasciiFiles::default(),
            running: BTreeMap::new(),
            of_peer: BTreeMap::new(),
            looks: BTreeSet::new(),
            next: FIRST_TRANSFER,
            until: None,
            buffers: Buffers::default(),
        })
    }

    fn run(&mut self, stopped: &impl AsFd) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        while self.until.is_none() || !self.running.is_empty() {
            let now = Instant::now();
            if self.until.is_some_and(|until| now >= until) {
                tracing::warn!("TFTP transfers were cut off at the end of the service");
                break;
            }
            let next = self.looks.first().map(|(at, _)| *at).into_iter().chain(self.until).min();
            let wait = next.and_then(|at| Timespec::try_from(at.saturating_duration_since(now)).ok());
            match epoll::wait(&self.epoll, spare_capacity(&mut events), wait.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut is_asked = false;
            for event in events.drain(..) {
                match event.data.u64() {
                    STOP => {
                        epoll::delete(&self.epoll, stopped)?;
                        epoll::delete(&self.epoll, &self.listener)?;
                        self.until = Some(Instant::now() + DRAIN);
                    }
                    LISTENER => is_asked = true,
                    transfer => self.step(transfer, Transfer::hear),
                }
            }
            if is_asked {
                self.take_requests();
            }
            self.look(Instant::now());
        }
        Ok(())
    }

    /// Takes requests that are there.
    fn take_requests(&mut self) {
        for _ in 0..REQUESTS {
            let (length, peer) = match self.listener.recv_from(&mut *self.buffers.incoming) {
                Ok(heard) => heard,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // A port that was closed meanwhile shows as an error of the next call, and means nothing here.
                Err(error) => return tracing::debug!(%error, "TFTP socket"),
            };
            let served = self.served.borrow().clone();
            if let Some((request, file)) = self.open(length, peer, &served) {
                match self.texts.form(&request, file) {
                    Some(file) => self.ask(peer, request, file, &served),
                    None => {
                        self.recorder.record_address(peer.ip(), Happening::loader_too_large("tftp", &request.name));
                        self.refuse(Refusal::TooLargeAsText, peer);
                    }
                }
            }
        }
    }

    /// The request and the file of a first datagram; whatever it cannot have is refused at once.
    fn open(&self, length: usize, peer: SocketAddr, served: &Served) -> Option<(ReadRequest, Bytes)> {
        let refusal = match parse_opening(&self.buffers.incoming[..length]) {
            Opening::Ignore => return None,
            Opening::Refuse(refusal) => refusal,
            Opening::Read(request) => match served.loaders.find(&request.name) {
                Some((_, file)) => return Some((request, file.clone())),
                None if served.loaders.is_left_out(&request.name) => {
                    self.recorder.record_address(peer.ip(), Happening::loader_too_large("tftp", &request.name));
                    Refusal::TooLarge
                }
                None => {
                    self.recorder.record_address(peer.ip(), Happening::loader_missing("tftp", &request.name));
                    Refusal::NotFound
                }
            },
        };
        self.refuse(refusal, peer);
        None
    }

    fn refuse(&self, refusal: Refusal, peer: SocketAddr) {
        if let Err(error) = self.listener.send_to(&refusal.packet(), peer) {
            tracing::debug!(%peer, %error, "a TFTP refusal could not be sent");
        }
    }

    /// Starts a transfer, unless the machine already has this file coming or there are too many.
    fn ask(&mut self, peer: SocketAddr, request: ReadRequest, file: Bytes, served: &Served) {
        // What it said to its last transfer before it asked: that this one is over, perhaps.
        if let Some(token) = self.of_peer.get(&peer).copied() {
            self.step(token, Transfer::hear);
        }
        let known = self.of_peer.get(&peer).and_then(|token| Some((*token, self.running.get_mut(token)?)));
        match known {
            Some((token, running)) if running.request == request => {
                running.again = Some((Instant::now(), request, file));
                match running.heard {
                    // It heard nothing so far, so what came first is lost; or the network doubled its request.
                    None if running.sent.elapsed() >= DOUBLED => self.step(token, Transfer::begin_again),
                    Some(heard) if heard.elapsed() >= FRESH => self.start_anew(token),
                    // A duplicate, or a machine that was reset a moment ago: which of the two shows when the next wait ends.
                    _ => {}
                }
            }
            // Another file, or other options: it has begun again.
            Some((token, _)) => {
                self.remove(token);
                self.start(peer, request, file, served.largest_block);
            }
            None => match self.make_room(peer.ip(), served) {
                true => self.start(peer, request, file, served.largest_block),
                false => tracing::debug!(%peer, "too many TFTP transfers; this one waits until it asks again"),
            },
        }
    }

    /// Makes room for a transfer of this address, by ending one that is worth less than it; whether there is room.
    fn make_room(&mut self, newcomer: IpAddr, served: &Served) -> bool {
        let whose = |ip: IpAddr| if self.boots.is_machine(&served.table, ip) { Peer::Machine } else { Peer::Stranger };
        let running = |(token, transfer): (&u64, &Transfer)| {
            let ip = transfer.peer.ip();
            // Whose the address of one is that never took anything does not matter, for anybody can write it.
            let life = transfer.heard.map_or(Life::Silent, |_| Life::Heard(whose(ip)));
            Running { token: *token, ip, life, begun: transfer.begun }
        };
        let all: Vec<Running> = self.running.iter().map(running).collect();
        match find_room(&all, newcomer, whose(newcomer)) {
            Room::Free => true,
            Room::InPlaceOf(token) => self.remove(token).is_some(),
            Room::Full => false,
        }
    }

    /// Ends a transfer whose machine has asked anew, and begins that one.
    fn start_anew(&mut self, token: u64) {
        let Some(Transfer { peer, again: Some((_, request, file)), .. }) = self.remove(token) else { return };
        let largest_block = self.served.borrow().largest_block;
        self.start(peer, request, file, largest_block);
    }

    fn start(&mut self, peer: SocketAddr, request: ReadRequest, file: Bytes, largest_block: usize) {
        let name = shown(&request.name, LONGEST_NAME);
        let started =
            Transfer::start(self.local, peer, request, (&file, largest_block), &mut self.buffers).and_then(|transfer| {
                epoll::add(&self.epoll, &transfer, EventData::new_u64(self.next), EventFlags::IN)?;
                Ok(transfer)
            });
        match started {
            Ok(transfer) => {
                self.looks.insert((transfer.look, self.next));
                self.of_peer.insert(peer, self.next);
                self.running.insert(self.next, transfer);
                self.next += 1;
            }
            Err(error) => tracing::warn!(%peer, name, %error, "a TFTP transfer failed"),
        }
    }

    /// Steps a transfer, and ends it where that is its last step.
    fn step(&mut self, token: u64, step: fn(&mut Transfer, &mut Buffers) -> io::Result<Option<Outcome>>) {
        // It may have ended by an event that came with this one.
        let Some(transfer) = self.running.get_mut(&token) else { return };
        match step(transfer, &mut self.buffers) {
            Ok(None) if transfer.deadline >= transfer.look => {}
            Ok(None) => {
                self.looks.remove(&(transfer.look, token));
                transfer.look = transfer.deadline;
                self.looks.insert((transfer.look, token));
            }
            Ok(Some(outcome)) => self.end(token, Some(outcome)),
            // Its port is closed: it is gone, or has what it wanted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => self.end(token, Some(Outcome::Aborted)),
            Err(error) => {
                tracing::warn!(peer = %transfer.peer, name = shown(&transfer.request.name, LONGEST_NAME), %error, "a TFTP transfer failed");
                self.end(token, None);
            }
        }
    }

    /// Looks at the transfers whose wait may be over.
    fn look(&mut self, now: Instant) {
        while let Some((_, token)) = self.looks.first().copied().filter(|(at, _)| *at <= now) {
            self.looks.pop_first();
            if let Some(transfer) = self.running.get(&token).filter(|transfer| transfer.deadline <= now) {
                match transfer.has_begun_anew() {
                    true => self.start_anew(token),
                    false => self.step(token, Transfer::time_out),
                }
            }
            if let Some(transfer) = self.running.get_mut(&token) {
                transfer.look = transfer.deadline;
                self.looks.insert((transfer.look, token));
            }
        }
    }

    fn remove(&mut self, token: u64) -> Option<Transfer> {
        let transfer = self.running.remove(&token)?;
        self.looks.remove(&(transfer.look, token));
        self.of_peer.remove(&transfer.peer);
        Some(transfer)
    }

    /// Ends a transfer; what the machine asked for meanwhile begins where this one was not what it wanted.
    fn end(&mut self, token: u64, outcome: Option<Outcome>) {
        let Some(mut transfer) = self.remove(token) else { return };
        if let Some(outcome) = outcome {
            tell(&self.recorder, &transfer, outcome);
            if matches!(outcome, Outcome::Complete) {
                self.boots.note_loader_fetch(transfer.peer.ip());
            }
        }
        if let (Some(Outcome::Probe | Outcome::Aborted), Some((at, request, file)), None) =
            (outcome, transfer.again.take(), self.until)
            && at.elapsed() < FRESH
        {
            let largest_block = self.served.borrow().largest_block;
            self.start(transfer.peer, request, file, largest_block);
        }
    }
}

/// Says how a transfer ended.
fn tell(recorder: &Recorder, transfer: &Transfer, outcome: Outcome) {
    let (peer, name) = (transfer.peer, shown(&transfer.request.name, LONGEST_NAME));
    let (kind, what) = match outcome {
        Outcome::Complete => {
            let (size, took) = (transfer.size(), transfer.begun.elapsed());
            let what = format!("fetched {name}: {size} bytes in {:.1} s", took.as_secs_f32());
            let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            (EventKind::LoaderSent { file: name, bytes: size as u64, milliseconds }, what)
        }
        Outcome::Probe => return tracing::debug!(%peer, name, "asked for the size"),
        Outcome::Aborted => {
            let what = format!("broke off {name}");
            (EventKind::LoaderBrokenOff { file: name }, what)
        }
        Outcome::GaveUp => {
            let what = format!("went silent during {name}");
            (EventKind::LoaderStalled { file: name }, what)
        }
    };
    record(recorder, peer.ip(), kind, what);
}

fn record(recorder: &Recorder, peer: IpAddr, kind: EventKind, what: String) {
    recorder.record_address(peer, Happening { service: "tftp", kind, what });
}
