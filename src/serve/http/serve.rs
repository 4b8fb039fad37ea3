//! The HTTP loop: accepts, bounds and times connections.
//!
//! **Invariant:** a slow or silent client costs one connection for as long as nobody else wants it, never the service; running out
//! of descriptors pauses it and no more. EFFECTS: sockets and timers; decides nothing.
#![expect(clippy::disallowed_methods, reason = "effect room: HTTP connections")]

use super::{
    answer::{Source, answer},
    assets::Assets,
    connections::{Activity, Admission, Busy, Connections, Peer},
    sendfile::Sendfile,
    write_timeout::Watched,
};
use crate::serve::{Agent, Boots, Recorder, Served};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioTimer;
use std::{collections::BTreeMap, convert::Infallible, net::IpAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout},
};

/// A request's head must be here in this time, and on a connection that is kept the next one as well.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// A request's head may be this long; iPXE's is under one kilobyte.
const LONGEST_HEAD: usize = 32 << 10;
/// Time for running answers to end when the service stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Before accepting again when no descriptor is left, or no connection can make room.
const FULL: Duration = Duration::from_millis(100);

/// What every connection answers from.
#[derive(Debug, Clone)]
pub struct Shared {
    /// What is served.
    pub served: watch::Receiver<Arc<Served>>,
    /// The asset store.
    pub assets: Arc<Assets>,
    /// Where answers to machines are written down.
    pub recorder: Arc<Recorder>,
    /// The boots that were begun.
    pub boots: Arc<Boots>,
    /// Who assigns disks.
    pub agent: Arc<Agent>,
}

/// Answers until told to stop, then lets running answers end.
pub async fn serve_http(listener: TcpListener, shared: Shared, mut stop: oneshot::Receiver<()>) {
    let (closing, closed) = watch::channel(());
    let epoch = Instant::now();
    let mut tasks = JoinSet::new();
    let mut connections = Connections::none();
    let mut aborts: BTreeMap<_, AbortHandle> = BTreeMap::new();
    loop {
        let has_room = connections.has_room(epoch.elapsed());
        tokio::select! {
            _ = &mut stop => break,
            Some(ended) = tasks.join_next_with_id() => {
                let id = match ended {
                    Ok((id, ())) => id,
                    Err(error) => {
                        if error.is_panic() {
                            tracing::error!(%error, "an HTTP connection ended badly");
                        }
                        error.id()
                    }
                };
                connections.close(&id);
                aborts.remove(&id);
            }
            () = sleep(FULL), if !has_room => {}
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, peer)) => {
                    let whom = match shared.boots.is_machine(&shared.served.borrow().table, peer.ip()) {
                        true => Peer::Machine(peer.ip()),
                        false => Peer::Stranger(peer.ip()),
                    };
                    match connections.admit(whom, epoch.elapsed()) {
                        Admission::Welcome => {}
                        Admission::Instead(quiet) => {
                            connections.close(&quiet);
                            aborts.remove(&quiet).inspect(AbortHandle::abort);
                        }
                        Admission::Refused => {
                            tracing::debug!(%peer, "too many HTTP connections of one address");
                            continue;
                        }
                    }
                    let activity = Activity::default();
                    activity.touch(epoch.elapsed());
                    let running = connection(stream, peer.ip(), shared.clone(), closed.clone(), (activity.clone(), epoch));
                    let task = tasks.spawn(running);
                    connections.open(task.id(), whom, activity);
                    aborts.insert(task.id(), task);
                }
                Err(error) => {
                    tracing::warn!(%error, "an HTTP connection could not be accepted");
                    sleep(FULL).await;
                }
            },
        }
    }
    drop(listener);
    drop(closing);
    let drained = async { while tasks.join_next().await.is_some() {} };
    if timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("HTTP answers were cut off at the end of the service");
    }
}

async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    shared: Shared,
    mut closed: watch::Receiver<()>,
    (activity, epoch): (Activity, Instant),
) {
    // Nagle's algorithm would hold every small script back for 40 ms.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY");
    }
    let sendfile = Sendfile::default();
    let stream = Watched::new(stream, activity.clone(), epoch, sendfile.clone());
    let (shared, activity, sendfile) = (&shared, &activity, &sendfile);
    let service = service_fn(|request: Request<Incoming>| async move {
        activity.touch(epoch.elapsed());
        let served = shared.served.borrow().clone();
        let source = Source {
            served: &served,
            assets: &shared.assets,
            recorder: &shared.recorder,
            boots: &shared.boots,
            agent: &shared.agent,
            peer,
            busy: Busy { activity, now: epoch.elapsed() },
            sendfile,
        };
        Ok::<_, Infallible>(answer(&request, source).await)
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            // A client may end its own side once it has asked (busybox nc, `curl` through some proxies), and still waits for its answer.
            // One that is dead takes nothing, and ends by its write deadline.
            .half_close(true)
            .max_buf_size(LONGEST_HEAD)
            // What stands for a file's bytes must not be copied together with the head.
            .writev(true)
            // GRUB 2.06, Red Hat's of today and shim up to 15.4 look for "Content-Length" as every other server writes it, and wait,
            // or take a file for empty, where they find none (rhboot/grub2#216, rhboot/shim#403).
            .title_case_headers(true)
            .serve_connection(stream, service)
    );
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = closed.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "an HTTP connection ended early");
    }
}
