//! The HTTP loop: accepts, bounds and times connections.
//!
//! **Invariant:** a slow or silent client costs one connection for ten seconds, never the service; running out of descriptors
//! pauses it and no more. EFFECTS: sockets and timers; decides nothing.
#![expect(clippy::disallowed_methods, reason = "effect room: HTTP connections")]

use super::answer::{Source, answer};
use crate::boot::serve::{Recorder, Served};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, net::IpAddr, path::PathBuf, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, oneshot, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

/// Connections at once: a room of 200 machines with two each, and descriptors to spare.
const MOST_CONNECTIONS: usize = 512;
/// A request's head must be here in this time.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// A request's head may be this long; iPXE's is under one kilobyte.
const LONGEST_HEAD: usize = 32 << 10;
/// Time for running answers to end when the service stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Before accepting again when no descriptor is left.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// What every connection answers from.
#[derive(Debug, Clone)]
pub struct Shared {
    /// What is served.
    pub served: watch::Receiver<Arc<Served>>,
    /// The directory of the assets.
    pub assets: PathBuf,
    /// Where answers to machines are written down.
    pub recorder: Arc<Recorder>,
}

/// Answers until told to stop, then lets running answers end.
pub async fn serve_http(listener: TcpListener, shared: Shared, mut stop: oneshot::Receiver<()>) {
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let (closing, closed) = watch::channel(());
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        tokio::select! {
            _ = &mut stop => break,
            Some(_) = connections.join_next() => {}
            (slot, accepted) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let (shared, closed) = (shared.clone(), closed.clone());
                    connections.spawn(async move {
                        connection(stream, peer.ip(), shared, closed).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "an HTTP connection could not be accepted");
                    sleep(OUT_OF_DESCRIPTORS).await;
                }
            },
        }
    }
    drop(listener);
    drop(closing);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN, drained).await.is_err() {
        tracing::warn!("HTTP answers were cut off at the end of the service");
    }
}

async fn connection(stream: TcpStream, peer: IpAddr, shared: Shared, mut closed: watch::Receiver<()>) {
    // Nagle's algorithm would hold every small script back for 40 ms.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY");
    }
    let service = service_fn(|request: Request<Incoming>| {
        let shared = shared.clone();
        async move {
            let served = shared.served.borrow().clone();
            let source = Source { served: &served, assets: &shared.assets, recorder: &shared.recorder, peer };
            Ok::<_, Infallible>(answer(request, source).await)
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(LONGEST_HEAD)
            .serve_connection(TokioIo::new(stream), service)
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
