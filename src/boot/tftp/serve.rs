//! The TFTP loop: one socket that hears requests, one task and one socket for each transfer.
//!
//! **Invariant:** transfers are counted before anything is allocated for them, in all and for each address; the caps are
//! silent, for a machine that hears nothing asks again. EFFECTS: sockets and timers; decides nothing.
#![expect(clippy::disallowed_methods, reason = "effect room: TFTP sockets and their clock")]

use super::{
    request::{Opening, ReadRequest, Refusal, loader_name, parse_opening},
    session::{Next, Outcome, Session},
};
use crate::boot::serve::{Recorder, Served};
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
    task::{AbortHandle, Id, JoinSet},
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

/// A transfer that runs.
struct Running {
    task: Id,
    file: String,
    abort: AbortHandle,
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
    let mut transfers = JoinSet::new();
    let mut running: BTreeMap<SocketAddr, Running> = BTreeMap::new();
    let mut datagram = [0; LONGEST];
    loop {
        tokio::select! {
            _ = &mut stop => break,
            Some(ended) = transfers.join_next_with_id() => {
                let task = match ended {
                    Ok((task, ())) => task,
                    Err(error) => error.id(),
                };
                running.retain(|_, transfer| transfer.task != task);
            }
            heard = socket.recv_from(&mut datagram) => match heard {
                // A port that was closed meanwhile shows as an error of the next call, and means nothing here.
                Err(error) => tracing::debug!(%error, "TFTP socket"),
                Ok((length, peer)) => {
                    let served = served.borrow().clone();
                    if let Some((request, file)) = open(&socket, &datagram[..length], peer, &served, &recorder).await
                        && may_start(&mut running, peer, &request.name)
                    {
                        let transfer = transfer(socket.local_addr(), peer, request.clone(), file, served.largest_block, recorder.clone());
                        let abort = transfers.spawn(transfer);
                        running.insert(peer, Running { task: abort.id(), file: request.name, abort });
                    }
                }
            },
        }
    }
    let drained = async { while transfers.join_next().await.is_some() {} };
    if timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("TFTP transfers were cut off at the end of the service");
    }
}

/// Whether a transfer may start; a machine that asks for the same file again already has it coming.
fn may_start(running: &mut BTreeMap<SocketAddr, Running>, peer: SocketAddr, file: &str) -> bool {
    match running.get(&peer) {
        Some(transfer) if transfer.file == file => return false,
        Some(transfer) => transfer.abort.abort(),
        None => {}
    }
    let of_peer = running.keys().filter(|known| known.ip() == peer.ip()).count();
    let may = running.len() < MOST_TRANSFERS && of_peer < MOST_FOR_ONE;
    if !may {
        tracing::warn!(%peer, file, running = running.len(), "too many TFTP transfers; this one waits until it asks again");
    }
    may
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
        Opening::Read(request) => match served.loaders.find(loader_name(&request.name)) {
            Some((_, file)) => return Some((request, file.clone())),
            None => {
                record(recorder, peer.ip(), format!("asked for {:?}, which is not among the loaders", shown(&request.name)));
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
    local: io::Result<SocketAddr>,
    peer: SocketAddr,
    request: ReadRequest,
    file: Bytes,
    largest_block: usize,
    recorder: Arc<Recorder>,
) {
    let begun = Instant::now();
    let (mut session, step) = Session::open(&request, &file, largest_block);
    drop(file);
    let name = shown(&request.name);
    match run(local, peer, &mut session, step).await {
        Ok(Outcome::Complete) => {
            let (size, seconds) = (session.size(), begun.elapsed().as_secs_f32());
            record(&recorder, peer.ip(), format!("fetched {name}: {size} bytes in {seconds:.1} s"));
        }
        Ok(Outcome::Probe) => tracing::debug!(%peer, name, "asked for the size"),
        Ok(Outcome::Aborted) => record(&recorder, peer.ip(), format!("broke off {name}")),
        Ok(Outcome::GaveUp) => record(&recorder, peer.ip(), format!("went silent during {name}")),
        Err(error) => tracing::warn!(%peer, name, %error, "a TFTP transfer failed"),
    }
}

async fn run(
    local: io::Result<SocketAddr>,
    peer: SocketAddr,
    session: &mut Session,
    mut step: super::session::Step,
) -> io::Result<Outcome> {
    let socket = UdpSocket::bind(SocketAddr::new(local?.ip(), 0)).await?;
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

fn record(recorder: &Recorder, peer: IpAddr, what: String) {
    recorder.record_address(peer, "tftp", what);
}
