//! Opens the ports the table names, opens them again when it or the interfaces change, and publishes the table to the services.
//!
//! **Invariant:** a port that cannot be opened costs no other port; it is said once and tried each second, at the start too. An open port
//! is closed only when the one that takes its place is open. No service knows of a table whose HTTP port is not ours while another is: the
//! ports above 1023 are anybody's of this host, and a machine runs what it fetches there. EFFECTS: sockets and tasks.
#![expect(clippy::disallowed_methods, reason = "effect room: opens the services' sockets")]

use super::{HttpState, Listening, Ports, ServeError, Served, Sockets};
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
    sync::Arc,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
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
    publish: watch::Sender<Arc<Served>>,
    /// The newest table, as it was read.
    newest: Served,
    /// How the services know of it; not at all while another is served.
    published: Option<HttpState>,
    dhcp: Listeners,
    service: JoinHandle<()>,
    tftp: Option<Running>,
    http: Option<Running>,
    said: BTreeSet<String>,
}

impl ListenerSet {
    /// All listeners, closed, for a table that was published without its HTTP.
    pub fn new(ports: Ports, given: Sockets, publish: watch::Sender<Arc<Served>>, shared: Shared, leases: Opened) -> Self {
        let newest = shared.served.borrow().as_ref().clone();
        let (incoming, heard) = mpsc::channel(BACKLOG);
        let service =
            tokio::spawn(serve_dhcp(heard, shared.served.clone(), shared.recorder.clone(), shared.boots.clone(), leases));
        let dhcp = Listeners::new(incoming);
        Self {
            ports,
            given,
            shared,
            publish,
            newest,
            published: Some(HttpState::Closed),
            dhcp,
            service,
            tftp: None,
            http: None,
            said: BTreeSet::new(),
        }
    }

    /// Where the services listen.
    pub fn listening(&self) -> Listening {
        let at = |running: &Option<Running>| running.as_ref().map(|running| running.at);
        Listening { tftp: at(&self.tftp), http: at(&self.http) }
    }

    /// Opens the ports of the first table; one that is not permitted is an error the operator must mend, and any other is waited for.
    pub fn open_first(&mut self) -> Result<(), ServeError> {
        let failures = self.open();
        let (later, now): (Vec<_>, Vec<_>) = failures.into_iter().partition(is_for_later);
        self.say(later);
        now.into_iter().next().map_or(Ok(()), Err)
    }

    /// Opens what is not open, closes what is not wanted, for the newest table where there is another.
    pub fn keep_open(&mut self, fresh: Option<Served>) {
        if let Some(fresh) = fresh {
            self.newest = fresh;
            self.published = None;
        }
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
        // HTTP and TFTP first: whoever asks by DHCP is sent there.
        let mut failures: Vec<_> = self.open_http().err().into_iter().collect();
        let served = self.shared.served.borrow().clone();
        failures.extend(self.open_tftp(&served).err());
        failures.extend(self.open_dhcp(&served));
        failures
    }

    /// Opens HTTP where the newest table wants it, and publishes that table, or leaves the one that is served with the port it names.
    fn open_http(&mut self) -> Result<(), ServeError> {
        let table = &self.newest.table;
        let wanted = SocketAddr::new(table.http_address.into(), self.ports.http.unwrap_or(table.http_port));
        if is_open(self.http.as_ref(), wanted) {
            self.publish(HttpState::Open);
            return Ok(());
        }
        match self.bind_http(wanted) {
            Ok(running) => {
                let before = self.http.replace(running);
                self.publish(HttpState::Open);
                stop(before);
                Ok(())
            }
            Err(error) => {
                drop(self.http.take_if(|running| running.task.is_finished()));
                let error = ServeError::open("HTTP", wanted.port(), wanted.ip(), error);
                match self.http {
                    None => self.publish(HttpState::Closed),
                    Some(_) if self.said.contains(&sentence(&error)) => {}
                    Some(_) => tracing::warn!(
                        "the last table is served on, with the HTTP port that it names: no machine is sent to one that is not ours"
                    ),
                }
                Err(error)
            }
        }
    }

    /// Lets the services know of the newest table, where they do not yet.
    fn publish(&mut self, http: HttpState) {
        if self.published != Some(http) {
            self.publish.send_replace(Arc::new(self.newest.clone().with_http(http)));
            self.published = Some(http);
        }
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

    fn open_tftp(&mut self, served: &Served) -> Result<(), ServeError> {
        let wanted = SocketAddr::new(served.table.tftp_address.into(), self.ports.tftp);
        if is_open(self.tftp.as_ref(), wanted) {
            return Ok(());
        }
        let running = self.bind_tftp(wanted).map_err(|error| ServeError::open("TFTP", wanted.port(), wanted.ip(), error))?;
        stop(self.tftp.replace(running));
        Ok(())
    }

    fn bind_tftp(&mut self, wanted: SocketAddr) -> io::Result<Running> {
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

    fn bind_http(&mut self, wanted: SocketAddr) -> io::Result<Running> {
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
        let mut now = BTreeSet::new();
        for failure in failures {
            let told = sentence(&failure);
            if !self.said.contains(&told) {
                let hint = failure.hint().unwrap_or("look at the interface and its addresses (ip address)");
                tracing::warn!("{told}; tried again each second: {hint}");
            }
            now.insert(told);
        }
        self.said = now;
    }
}

/// Whether a service runs, and at this address. Sockets that were given serve whatever address the table names.
fn is_open(running: Option<&Running>, wanted: SocketAddr) -> bool {
    running.is_some_and(|kept| !kept.task.is_finished() && (kept.wanted == wanted || kept.at != kept.wanted))
}

/// Has a service end on its own: running answers and transfers are let finish.
fn stop(running: Option<Running>) {
    if let Some(running) = running {
        // One that has ended already needs no word.
        let _ = running.stop.send(());
    }
}

/// Whether a failure may pass by itself: an interface or an address that is not there yet, or another program, which any account of
/// this host may run at the ports above 1023.
fn is_for_later(failure: &ServeError) -> bool {
    let absent = [Errno::ENODEV, Errno::ENXIO, Errno::EADDRNOTAVAIL, Errno::ENETDOWN];
    match failure {
        ServeError::Taken { .. } => true,
        ServeError::Socket { source, .. } => source.raw_os_error().is_some_and(|code| absent.contains(&Errno::from_raw(code))),
        ServeError::NotPermitted { .. } | ServeError::State { .. } => false,
    }
}

fn sentence(failure: &ServeError) -> String {
    match std::error::Error::source(failure) {
        Some(source) => format!("{failure}: {source}"),
        None => failure.to_string(),
    }
}
