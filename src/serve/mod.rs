//! The service: opens the ports the boot table names, keeps them open, and answers from the table alone.
//!
//! **Invariant:** the last good table keeps serving; nothing here waits on git or LVM, on the agent only an entry that it assigns a
//! disk to, and nothing needs root.
//! EFFECTS: sockets, the clock, and files under the state directory.

mod assign;
mod boots;
pub mod claims;
pub mod dhcp;
pub mod http;
mod listeners;
mod loader_files;
mod privileges;
mod recorder;
mod source;
pub mod tftp;

pub use assign::{Agent, AskError, BUDGET};
pub use boots::Boots;
pub use privileges::{PrivilegeError, USUAL_USER, drop_privileges};
pub use recorder::{Flush, Happening, LONGEST_NAME, Recorder, shown};
pub use source::{HttpState, Served};

use self::{
    listeners::ListenerSet,
    source::{Polls, TableSource},
};
use crate::serve::{
    dhcp::journal::{Journal, why},
    http::{assets::Assets, serve::Shared},
};
use std::{
    future::Future,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{oneshot, watch},
    time::{MissedTickBehavior, interval, timeout},
};

/// How often the table, the interfaces and the transcript are looked after.
const TICK: Duration = Duration::from_secs(1);

/// How long the end may wait for a disk: what a hanging one has not taken by then is not worth a room that is not served.
const LONGEST_END: Duration = Duration::from_secs(10);

/// The usual run directory.
pub const USUAL_RUN: &str = "/run/barista";

/// What to serve from, and through which ports.
#[derive(Debug)]
pub struct ServeOptions {
    /// The state directory.
    pub state: PathBuf,
    /// The run directory, where the agent listens.
    pub run: PathBuf,
    /// The ports; the defaults are what machines ask.
    pub ports: Ports,
    /// Sockets that are already open.
    pub sockets: Sockets,
    /// Sent once, when the sockets of the first table are open.
    pub ready: Option<oneshot::Sender<Listening>>,
    /// Called at each turn of the loop: whoever watches it learns that it goes on.
    pub alive: fn(),
}

impl ServeOptions {
    /// The service of a state directory, at the ports that machines ask.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self {
            state: state.into(),
            run: USUAL_RUN.into(),
            ports: Ports::default(),
            sockets: Sockets::default(),
            ready: None,
            alive: || {},
        }
    }
}

/// The ports of the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// DHCP, 67.
    pub dhcp: u16,
    /// The PXE boot server, 4011.
    pub boot_server: u16,
    /// TFTP, 69.
    pub tftp: u16,
    /// HTTP; `None` is the table's.
    pub http: Option<u16>,
}

impl Default for Ports {
    fn default() -> Self {
        use crate::serve::dhcp::model::{BOOT_SERVER_PORT, SERVER_PORT};
        Self { dhcp: SERVER_PORT, boot_server: BOOT_SERVER_PORT, tftp: 69, http: None }
    }
}

/// Sockets that are already open, used whatever address the table names. Each is bound to one address.
#[derive(Debug, Default)]
pub struct Sockets {
    /// For TFTP.
    pub tftp: Option<std::net::UdpSocket>,
    /// For HTTP.
    pub http: Option<std::net::TcpListener>,
}

/// Where the service listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// TFTP; `None` while its address is not on this host or its port is another program's.
    pub tftp: Option<SocketAddr>,
    /// HTTP; `None` while its address is not on this host or its port is another program's.
    pub http: Option<SocketAddr>,
}

/// Why the service cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Somebody else has the port.
    #[error("{service} cannot open port {port} on {place}: another program has it")]
    Taken {
        /// `DHCP`, `TFTP` or `HTTP`.
        service: &'static str,
        /// The port.
        port: u16,
        /// The interface or address.
        place: String,
    },
    /// The program may not.
    #[error("{service} cannot open port {port} on {place}: it is not permitted")]
    NotPermitted {
        /// `DHCP`, `TFTP` or `HTTP`.
        service: &'static str,
        /// The port.
        port: u16,
        /// The interface or address.
        place: String,
    },
    /// Anything else about a socket.
    #[error("{service} cannot open port {port} on {place}")]
    Socket {
        /// `DHCP`, `TFTP` or `HTTP`.
        service: &'static str,
        /// The port.
        port: u16,
        /// The interface or address.
        place: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The leases cannot be kept.
    #[error("the service cannot keep its files in {}", directory.display())]
    State {
        /// The directory.
        directory: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

impl ServeError {
    /// What the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Taken { service: "DHCP", port, .. } if *port != crate::serve::dhcp::model::SERVER_PORT => {
                Some("find the other program (ss -lunp) and stop it; any account of this host may have the port")
            }
            Self::Taken { service: "DHCP", .. } => Some(
                "stop the other DHCP server of this host (dnsmasq, isc-dhcp-server, kea), or set mode = \"off\" for the network",
            ),
            Self::Taken { service: "TFTP", .. } => Some("stop the other TFTP server of this host (tftpd-hpa, atftpd, dnsmasq)"),
            Self::Taken { .. } => Some("stop the other program, or set another http-port under [boot]"),
            Self::NotPermitted { .. } => Some(
                "give it CAP_NET_BIND_SERVICE and CAP_NET_RAW (systemd: AmbientCapabilities=), or run it as root; \
                 Linux before 5.7 needs CAP_NET_RAW to bind to an interface at all",
            ),
            Self::Socket { .. } => None,
            Self::State { source, .. } => Some(match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "no space is left on its disk: make some (df, du)",
                io::ErrorKind::ReadOnlyFilesystem => "its file system is read-only, as after an error of the disk: see dmesg",
                _ => "--state must be a directory this user can write",
            }),
        }
    }

    fn open(service: &'static str, port: u16, place: impl ToString, source: io::Error) -> Self {
        let place = place.to_string();
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::Taken { service, port, place },
            io::ErrorKind::PermissionDenied => Self::NotPermitted { service, port, place },
            _ => Self::Socket { service, port, place, source },
        }
    }
}

/// Serves booting machines until `stop` completes.
///
/// Its loop waits for no file: whoever watches it would take a hanging disk for a hanging service, and end one that answers.
/// Waits for the first table, and fails only where a port of that one is not permitted. What another program has, or what cannot be
/// opened later, is said and tried again, and everything else goes on; a table whose HTTP port cannot be had is served when it can, and
/// the last one until then.
pub async fn serve(options: ServeOptions, stop: impl Future) -> Result<(), ServeError> {
    let ServeOptions { state, run, ports, sockets, ready, alive } = options;
    let directory = state.join("serve");
    let failed = |source| ServeError::State { directory: directory.clone(), source };
    let opened = Journal::open(&directory).map_err(failed)?;
    if let Some(damage) = &opened.damaged {
        tracing::warn!("{damage}; reserved addresses are not concerned");
    }
    if let Some(trouble) = &opened.trouble {
        tracing::error!("the lease journal cannot be written: {}; only reserved addresses are given anew", why(trouble));
    }
    let recorder = Arc::new(Recorder::new(&state));
    let boots = Arc::new(Boots::open());
    let agent = Arc::new(Agent::new(&run));
    let mut polls = Polls::begin(TableSource::new(&state));
    let mut stop = pin!(stop);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);

    let first = loop {
        tokio::select! {
            _ = stop.as_mut() => return Ok(()),
            served = polls.next() => if let Some(served) = served {
                break served;
            },
            _ = tick.tick() => alive(),
        }
    };
    recorder.know(&first.table);
    let (publish, served) = watch::channel(Arc::new(first));
    let shared = Shared { served, assets: Arc::new(Assets::new(assets(&state))), recorder: recorder.clone(), boots, agent };
    let mut listeners = ListenerSet::new(ports, sockets, publish, shared, opened);
    listeners.open_first()?;
    if let Some(ready) = ready {
        // Nobody has to listen.
        let _ = ready.send(listeners.listening());
    }
    loop {
        tokio::select! {
            _ = stop.as_mut() => break,
            served = polls.next() => if let Some(served) = served {
                recorder.know(&served.table);
                listeners.keep_open(Some(served));
            },
            _ = tick.tick() => {
                alive();
                listeners.keep_open(None);
                recorder.begin_flush();
            }
        }
    }
    let end = async {
        listeners.close().await;
        recorder.flush(Flush::Last).await;
    };
    if timeout(LONGEST_END, end).await.is_err() {
        tracing::warn!("ended without a last word on disk: it has not answered for {} s", LONGEST_END.as_secs());
    }
    Ok(())
}

/// The directory of the assets.
fn assets(state: &Path) -> PathBuf {
    state.join("assets")
}
