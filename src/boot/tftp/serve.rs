//! The TFTP loop: one socket that hears requests, one task and one socket for each transfer.
//!
//! **Invariant:** transfers are counted before anything is allocated for them, in all and for each address; the caps are
//! silent, for a machine that hears nothing asks again. EFFECTS: sockets and timers; decides nothing.
#![expect(clippy::disallowed_methods, reason = "effect room: TFTP sockets and their clock")]

use super::{
    request::{Opening, ReadRequest, Refusal, parse_opening},
    session::{Next, Outcome, Session, Step},
    texts::Texts,
};
use crate::boot::{
    serve::{Happening, Recorder, Served},
    transcript::EventKind,
};
use hyper::body::Bytes;
use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::UdpSocket,
    sync::{oneshot, watch},
    task::{AbortHandle, Id, JoinError, JoinSet},
    time::{Instant, timeout, timeout_at},
};

/// Transfers at once: a room of 200 machines with some that asked twice, and descriptors to spare.
const MOST_TRANSFERS: usize = 512;
/// Transfers at once for one address: a ROM has one, a test bench behind one address a few.
const MOST_FOR_ONE: usize = 16;
/// Time for running transfers to end when the service stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Longer than any request; RFC 2347 keeps requests to 512 bytes.
const LONGEST: usize = 2048;

/// A request that came while the same machine's last transfer was ending is good for this long.
const FRESH: Duration = Duration::from_secs(1);

/// A transfer that runs.
struct Running {
    task: Id,
    file: String,
    abort: AbortHandle,
    /// The same request once more: a duplicate, or the real one of a ROM that asked for the size first, whose end of the
    /// probe is still on its way to the other socket.
    again: Option<(Instant, ReadRequest, Bytes)>,
}

/// All transfers.
struct Transfers {
    tasks: JoinSet<Option<Outcome>>,
    running: BTreeMap<SocketAddr, Running>,
    texts: Texts,
    local: IpAddr,
    recorder: Arc<Recorder>,
}

/// Answers until told to stop, then lets running transfers end.
///
/// The socket is bound to one address: a transfer's own socket takes it over, for ROMs drop an answer from another.
pub async fn serve_tftp(
    socket: UdpSocket,
    served: watch::Receiver<Arc<Served>>,
    recorder: Arc<Recorder>,
    mut stop: oneshot::Receiver<()>,
) {
    let local = match socket.local_addr() {
        Ok(address) => address.ip(),
        Err(error) => return tracing::error!(%error, "the TFTP socket has no address"),
    };
    let mut transfers = Transfers { tasks: JoinSet::new(), running: BTreeMap::new(), texts: Texts::default(), local, recorder };
    let mut datagram = [0; LONGEST];
    loop {
        tokio::select! {
            biased;
            _ = &mut stop => break,
            Some(ended) = transfers.tasks.join_next_with_id() => {
                let largest_block = served.borrow().largest_block;
                transfers.end(ended, largest_block);
            }
            heard = socket.recv_from(&mut datagram) => match heard {
                // A port that was closed meanwhile shows as an error of the next call, and means nothing here.
                Err(error) => tracing::debug!(%error, "TFTP socket"),
                Ok((length, peer)) => {
                    let served = served.borrow().clone();
                    if let Some((request, file)) = open(&socket, &datagram[..length], peer, &served, &transfers.recorder).await {
                        let file = transfers.texts.form(&request, file);
                        transfers.ask(peer, request, file, served.largest_block);
                    }
                }
            },
        }
    }
    let drained = async { while transfers.tasks.join_next().await.is_some() {} };
    if timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("TFTP transfers were cut off at the end of the service");
    }
}

impl Transfers {
    /// Starts a transfer, unless the machine already has this file coming or there are too many.
    fn ask(&mut self, peer: SocketAddr, request: ReadRequest, file: Bytes, largest_block: usize) {
        match self.running.get_mut(&peer) {
            Some(running) if running.file == request.name => running.again = Some((Instant::now(), request, file)),
            Some(running) => {
                running.abort.abort();
                self.start(peer, request, file, largest_block);
            }
            None => {
                let of_peer = self.running.keys().filter(|known| known.ip() == peer.ip()).count();
                match self.running.len() < MOST_TRANSFERS && of_peer < MOST_FOR_ONE {
                    true => self.start(peer, request, file, largest_block),
                    false => tracing::warn!(%peer, "too many TFTP transfers; this one waits until it asks again"),
                }
            }
        }
    }

    fn start(&mut self, peer: SocketAddr, request: ReadRequest, file: Bytes, largest_block: usize) {
        let name = request.name.clone();
        let abort = self.tasks.spawn(transfer(self.local, peer, request, file, largest_block, self.recorder.clone()));
        self.running.insert(peer, Running { task: abort.id(), file: name, abort, again: None });
    }

    fn end(&mut self, ended: Result<(Id, Option<Outcome>), JoinError>, largest_block: usize) {
        let (task, outcome) = match ended {
            Ok(ended) => ended,
            Err(error) => (error.id(), None),
        };
        let Some(peer) = self.running.iter().find(|(_, running)| running.task == task).map(|(peer, _)| *peer) else { return };
        let again = self.running.remove(&peer).and_then(|running| running.again);
        if let (Some(Outcome::Probe | Outcome::Aborted), Some((at, request, file))) = (outcome, again)
            && at.elapsed() < FRESH
        {
            self.start(peer, request, file, largest_block);
        }
    }
}

/// The request and the file of a first datagram; whatever it cannot have is refused at once.
async fn open(
    socket: &UdpSocket,
    datagram: &[u8],
    peer: SocketAddr,
    served: &Served,
    recorder: &Recorder,
) -> Option<(ReadRequest, Bytes)> {
    let refusal = match parse_opening(datagram) {
        Opening::Ignore => return None,
        Opening::Refuse(refusal) => refusal,
        Opening::Read(request) => match served.loaders.find(&request.name) {
            Some((_, file)) => return Some((request, file.clone())),
            None => {
                let file = shown(&request.name);
                let what = format!("asked for {file:?}, which is not among the loaders");
                record(recorder, peer.ip(), EventKind::LoaderMissing { file }, what);
                Refusal::NotFound
            }
        },
    };
    if let Err(error) = socket.send_to(&refusal.packet(), peer).await {
        tracing::debug!(%peer, %error, "a TFTP refusal could not be sent");
    }
    None
}

async fn transfer(
    local: IpAddr,
    peer: SocketAddr,
    request: ReadRequest,
    file: Bytes,
    largest_block: usize,
    recorder: Arc<Recorder>,
) -> Option<Outcome> {
    let begun = Instant::now();
    let (mut session, step) = Session::open(&request, &file, largest_block);
    drop(file);
    let name = shown(&request.name);
    let outcome = match run(local, peer, &mut session, step).await {
        Ok(outcome) => outcome,
        // Its port is closed: it is gone, or has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Outcome::Aborted,
        Err(error) => {
            tracing::warn!(%peer, name, %error, "a TFTP transfer failed");
            return None;
        }
    };
    match outcome {
        Outcome::Complete => {
            let (size, took) = (session.size(), begun.elapsed());
            let what = format!("fetched {name}: {size} bytes in {:.1} s", took.as_secs_f32());
            let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            record(&recorder, peer.ip(), EventKind::LoaderSent { file: name, bytes: size as u64, milliseconds }, what);
        }
        Outcome::Probe => tracing::debug!(%peer, name, "asked for the size"),
        Outcome::Aborted => {
            let what = format!("broke off {name}");
            record(&recorder, peer.ip(), EventKind::LoaderBrokenOff { file: name }, what);
        }
        Outcome::GaveUp => {
            let what = format!("went silent during {name}");
            record(&recorder, peer.ip(), EventKind::LoaderStalled { file: name }, what);
        }
    }
    Some(outcome)
}

async fn run(local: IpAddr, peer: SocketAddr, session: &mut Session, mut step: Step) -> io::Result<Outcome> {
    let socket = UdpSocket::bind(SocketAddr::new(local, 0)).await?;
    socket.connect(peer).await?;
    let mut datagram = [0; LONGEST];
    let mut deadline = Instant::now();
    loop {
        for packet in &step.send {
            socket.send(packet).await?;
        }
        match step.next {
            Next::Done(outcome) => return Ok(outcome),
            Next::Wait(wait) => deadline = Instant::now() + wait,
            Next::WaitOn => {}
        }
        step = match timeout_at(deadline, socket.recv(&mut datagram)).await {
            Err(_) => session.time_out(),
            Ok(heard) => session.hear(&datagram[..heard?]),
        };
    }
}

/// A name from the wire, fit for a sentence.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}

fn record(recorder: &Recorder, peer: IpAddr, kind: EventKind, what: String) {
    recorder.record_address(peer, Happening { service: "tftp", kind, what });
}
