//! The DHCP sockets that are open, and what they receive on its way to the service.
//!
//! **Invariant:** a port whose interface is gone is closed, and one of the same name that comes back is opened anew. EFFECTS.
#![expect(clippy::disallowed_methods, reason = "effect room: tasks that listen")]

use super::{
    model::Port,
    socket::{Received, Socket},
};
use std::{collections::BTreeMap, io, sync::Arc, time::Duration};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

/// How often the service is reminded of each port.
const REMINDER: Duration = Duration::from_secs(1);

/// What comes to the service, and from which port.
#[derive(Debug)]
pub struct Incoming {
    pub(super) socket: Arc<Socket>,
    pub(super) what: What,
}

/// What comes to the service.
#[derive(Debug)]
pub(super) enum What {
    /// Something was heard.
    Received(Received),
    /// A second has passed.
    Reminder,
}

/// The ports that are open, by interface and port.
#[derive(Debug)]
pub struct Listeners {
    open: BTreeMap<(String, Port), (Arc<Socket>, JoinHandle<()>)>,
    incoming: mpsc::Sender<Incoming>,
}

impl Listeners {
    /// No ports yet; what they hear goes to `incoming`.
    pub fn new(incoming: mpsc::Sender<Incoming>) -> Self {
        Self { open: BTreeMap::new(), incoming }
    }

    /// Closes ports that are not wanted or whose interface is gone, and says which wanted ones are not open.
    pub fn close_others(&mut self, wanted: &BTreeMap<(String, Port), u16>) -> Vec<(String, Port, u16)> {
        self.open.retain(|key, (socket, task)| {
            let keep = wanted.contains_key(key) && socket.is_alive() && !task.is_finished();
            match keep {
                true => socket.refresh(),
                false => task.abort(),
            }
            keep
        });
        let missing = wanted.iter().filter(|(key, _)| !self.open.contains_key(*key));
        missing.map(|((interface, port), number)| (interface.clone(), *port, *number)).collect()
    }

    /// Opens one port.
    pub fn open(&mut self, interface: &str, port: Port, number: u16) -> io::Result<()> {
        let socket = Arc::new(Socket::open(interface, number, port)?);
        let task = tokio::spawn(hear(socket.clone(), self.incoming.clone()));
        self.open.insert((interface.to_owned(), port), (socket, task));
        Ok(())
    }
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.open.values().for_each(|(_, task)| task.abort());
    }
}

/// Hands what a port hears to the service, until its interface goes away.
async fn hear(socket: Arc<Socket>, incoming: mpsc::Sender<Incoming>) {
    let mut reminder = interval(REMINDER);
    reminder.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let what = tokio::select! {
            heard = socket.receive() => match heard {
                Ok(received) => What::Received(received),
                Err(error) => {
                    tracing::warn!(interface = socket.interface, %error, "a DHCP socket failed; it is opened again");
                    return;
                }
            },
            _ = reminder.tick() => What::Reminder,
        };
        let is_machine = matches!(what, What::Received(Received::Datagram(_)));
        let incoming_one = Incoming { socket: socket.clone(), what };
        // Machines wait for the service; what is merely overheard is dropped when it is busy.
        let closed = match is_machine {
            true => incoming.send(incoming_one).await.is_err(),
            false => matches!(incoming.try_send(incoming_one), Err(mpsc::error::TrySendError::Closed(_))),
        };
        if closed {
            return;
        }
    }
}
