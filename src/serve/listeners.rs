//! Opens the ports the table names, and opens them again when it or the interfaces change.
//!
//! **Invariant:** a port that cannot be opened costs no other port; after the first table it is said once and tried each second.
//! EFFECTS: sockets and tasks.
#![expect(clippy::disallowed_methods, reason = "effect room: opens the services' sockets")]

use super::{Listening, Ports, ServeError, Served, Sockets};
use crate::{
    desired::NetworkMode,
    serve::{
        dhcp::{
            journal::Opened,
            listeners::Listeners,
            model::Port,
            serve::{BACKLOG, serve_dhcp},
        },
        http::serve::{Shared, serve_http},
        tftp::serve::serve_tftp,
    },
};
use nix::errno::Errno;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{SocketAddr, UdpSocket},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

/// Connections that may wait to be accepted: a room that starts at once.
const LISTEN_BACKLOG: u32 = 1024;

/// A service that runs at an address.
#[derive(Debug)]
struct Running {
    wanted: SocketAddr,
    at: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// All ports of the service.
#[derive(Debug)]
pub struct ListenerSet {
    ports: Ports,
    given: Sockets,
    shared: Shared,
    dhcp: Listeners,
    service: JoinHandle<()>,
    tftp: Option<Running>,
    http: Option<Running>,
    said: BTreeSet<String>,
}

impl ListenerSet {
    /// All listeners, closed.
    pub fn new(ports: Ports, given: Sockets, shared: Shared, leases: Opened) -> Self {
        let (incoming, heard) = mpsc::channel(BACKLOG);
        let service =
            tokio::spawn(serve_dhcp(heard, shared.served.clone(), shared.recorder.clone(), shared.boots.clone(), leases));
        Self { ports, given, shared, dhcp: Listeners::new(incoming), service, tftp: None, http: None, said: BTreeSet::new() }
    }

    /// Where the services listen.
    pub fn listening(&self) -> Listening {
        let at = |running: &Option<Running>| running.as_ref().map(|running| running.at);
        Listening { tftp: at(&self.tftp), http: at(&self.http) }
    }

    /// Opens the ports of the first table; a port that is taken or not permitted is an error the operator must mend.
    pub fn open_first(&mut self) -> Result<(), ServeError> {
        let failures = self.open();
        let (later, now): (Vec<_>, Vec<_>) = failures.into_iter().partition(is_for_later);
        self.say(later);
        now.into_iter().next().map_or(Ok(()), Err)
    }

    /// Opens what is not open, closes what is not wanted.
    pub fn keep_open(&mut self) {
        let failures = self.open();
        self.say(failures);
    }

    /// Closes all ports and lets what runs end.
    pub async fn close(self) {
        drop(self.dhcp);
        for running in [self.tftp, self.http].into_iter().flatten() {
            // A service that has ended already needs no word.
            let _ = running.stop.send(());
            if let Err(error) = running.task.await {
                tracing::error!(%error, "a service ended badly");
            }
        }
        if let Err(error) = self.service.await {
            tracing::error!(%error, "the DHCP service ended badly");
        }
    }

    fn open(&mut self) -> Vec<ServeError> {
        let served = self.shared.served.borrow().clone();
        let mut failures = self.open_dhcp(&served);
        let table = &served.table;
        let tftp = SocketAddr::new(table.tftp_address.into(), self.ports.tftp);
        let http = SocketAddr::new(table.http_address.into(), self.ports.http.unwrap_or(table.http_port));
        if must_open(&mut self.tftp, tftp) {
            let opened = self.open_tftp(tftp).map_err(|error| ServeError::open("TFTP", tftp.port(), tftp.ip(), error));
            opened.map_or_else(|error| failures.push(error), |running| self.tftp = Some(running));
        }
        if must_open(&mut self.http, http) {
            let opened = self.open_http(http).map_err(|error| ServeError::open("HTTP", http.port(), http.ip(), error));
            opened.map_or_else(|error| failures.push(error), |running| self.http = Some(running));
        }
        failures
    }

    fn open_dhcp(&mut self, served: &Served) -> Vec<ServeError> {
        let mut wanted = BTreeMap::new();
        for network in served.table.networks.values().filter(|network| network.mode != NetworkMode::Off) {
            wanted.insert((network.interface.clone(), Port::Dhcp), self.ports.dhcp);
            wanted.insert((network.interface.clone(), Port::BootServer), self.ports.boot_server);
        }
        let mut failures = Vec::new();
        for (interface, port, number) in self.dhcp.close_others(&wanted) {
            match self.dhcp.open(&interface, port, number) {
                Ok(()) => tracing::info!(interface, port = number, "listening for DHCP"),
                Err(error) => failures.push(ServeError::open("DHCP", number, &interface, error)),
            }
        }
        failures
    }

    fn open_tftp(&mut self, wanted: SocketAddr) -> io::Result<Running> {
        let socket = match self.given.tftp.take() {
            Some(given) => given,
            None => UdpSocket::bind(wanted)?,
        };
        let at = socket.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let known = (self.shared.recorder.clone(), self.shared.boots.clone());
        let task = tokio::spawn(serve_tftp(socket, self.shared.served.clone(), known, stopped));
        tracing::info!(%at, "listening for TFTP");
        Ok(Running { wanted, at, stop, task })
    }

    fn open_http(&mut self, wanted: SocketAddr) -> io::Result<Running> {
        let listener = match self.given.http.take() {
            Some(given) => {
                given.set_nonblocking(true)?;
                TcpListener::from_std(given)?
            }
            None => {
                let socket = tokio::net::TcpSocket::new_v4()?;
                // A restart must not wait for the last connections' TIME_WAIT.
                socket.set_reuseaddr(true)?;
                socket.bind(wanted)?;
                socket.listen(LISTEN_BACKLOG)?
            }
        };
        let at = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve_http(listener, self.shared.clone(), stopped));
        tracing::info!(%at, "listening for HTTP");
        Ok(Running { wanted, at, stop, task })
    }

    /// Says each failure once, until it is over.
    fn say(&mut self, failures: Vec<ServeError>) {
        let now: BTreeSet<String> = failures.iter().map(sentence).collect();
        for fresh in now.difference(&self.said) {
            tracing::warn!("{fresh}; tried again each second");
        }
        self.said = now;
    }
}

/// Whether a service is to be opened: there is none, it ended, or its address is another one now.
fn must_open(running: &mut Option<Running>, wanted: SocketAddr) -> bool {
    match running.take() {
        // Sockets that were given serve whatever address the table names.
        Some(kept) if !kept.task.is_finished() && (kept.wanted == wanted || kept.at != kept.wanted) => {
            *running = Some(kept);
            false
        }
        Some(old) => {
            // It ends on its own: running answers and transfers are let finish.
            let _ = old.stop.send(());
            true
        }
        None => true,
    }
}

/// Whether a failure may pass by itself: an interface or an address that is not there yet.
fn is_for_later(failure: &ServeError) -> bool {
    let ServeError::Socket { source, .. } = failure else { return false };
    let absent = [Errno::ENODEV, Errno::ENXIO, Errno::EADDRNOTAVAIL, Errno::ENETDOWN];
    source.raw_os_error().is_some_and(|code| absent.contains(&Errno::from_raw(code)))
}

fn sentence(failure: &ServeError) -> String {
    match std::error::Error::source(failure) {
        Some(source) => format!("{failure}: {source}"),
        None => failure.to_string(),
    }
}
