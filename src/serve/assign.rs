//! Asks the agent over `renew.sock` which disks a boot gets.
//!
//! **Invariant:** no answer is waited for beyond the budget, none is read beyond its bound, and what comes too much is turned away at
//! once: one machine, one address or a silent agent costs the others nothing. EFFECTS: one connection for each question.
#![expect(clippy::disallowed_methods, reason = "effect room: connects to the agent's socket")]

use crate::{
    boot::assignment::{Answer, DocumentError, LONGEST, Request, SOCKET},
    names::MachineName,
    transcript::Reservation,
};
use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::{sleep, timeout},
};

/// How long an answer is waited for. iPXE gives a script thirty seconds, and a new disk takes a fraction of one.
pub const BUDGET: Duration = Duration::from_secs(3);
/// The first wait where the agent's backlog is full, and the longest.
const FULL: Duration = Duration::from_millis(5);
const LONGEST_FULL: Duration = Duration::from_millis(100);
/// Questions at once: a room that starts at once has its answers in milliseconds, so more means that the agent is slow.
const MOST: usize = 64;
/// Questions at once for one machine: it has two cards, or it was reset while it asked.
const MOST_FOR_A_MACHINE: usize = 2;
/// And so many of them for addresses that are not that machine's, though it has one: whoever fetches another's script leaves it a turn.
const MOST_OF_OTHERS_FOR_A_MACHINE: usize = 1;
/// Questions at once for such addresses, of all machines.
const MOST_OF_OTHERS: usize = MOST / 2;
/// Questions at once for one address: some machines behind one that translates theirs.
const MOST_FOR_AN_ADDRESS: usize = 8;

/// The agent, as `serve` knows it.
#[derive(Debug)]
pub struct Agent {
    socket: PathBuf,
    asking: Arc<Mutex<Asking>>,
    said: Mutex<Option<String>>,
}

/// Questions under way.
#[derive(Debug, Default)]
struct Asking {
    all: usize,
    others: usize,
    machines: BTreeMap<MachineName, usize>,
    others_for: BTreeMap<MachineName, usize>,
    peers: BTreeMap<IpAddr, usize>,
}

/// One question under way; it makes room when it is dropped.
#[derive(Debug)]
struct Turn {
    asking: Arc<Mutex<Asking>>,
    machine: MachineName,
    peer: IpAddr,
    reservation: Reservation,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// More ask than are let.
    #[error("more questions are under way than are let")]
    TooMany,
    /// The agent's socket is not there, or breaks off.
    #[error("{} cannot be asked", socket.display())]
    Socket {
        /// The socket.
        socket: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// No answer in time.
    #[error("{} did not answer in {} ms", socket.display(), budget.as_millis())]
    Silent {
        /// The socket.
        socket: PathBuf,
        /// The time it had.
        budget: Duration,
    },
    /// An answer that cannot be used.
    #[error("the answer of {} cannot be used", socket.display())]
    Answer {
        /// The socket.
        socket: PathBuf,
        /// What is wrong with it.
        #[source]
        source: DocumentError,
    },
}

impl Agent {
    /// The agent that listens in this run directory.
    pub fn new(run: &Path) -> Self {
        Self { socket: run.join(SOCKET), asking: Arc::default(), said: Mutex::default() }
    }

    /// Asks for somebody of whose address the site says this, and waits for the answer as long as [`BUDGET`].
    pub async fn ask(&self, request: &Request, reservation: Reservation) -> Result<Answer, AskError> {
        let _turn = Turn::take(&self.asking, &request.machine, request.peer, reservation).ok_or(AskError::TooMany)?;
        let asked = timeout(BUDGET, self.exchange(request)).await;
        let answered = asked.unwrap_or_else(|_| Err(AskError::Silent { socket: self.socket.clone(), budget: BUDGET }));
        self.say(answered.as_ref().err());
        answered
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, AskError> {
        let failed = |source| AskError::Socket { socket: self.socket.clone(), source };
        let line = self.exchange_lines(&request.render()).await.map_err(failed)?;
        Answer::parse(&line).map_err(|source| AskError::Answer { socket: self.socket.clone(), source })
    }

    /// One line there and one back; at most a byte more than an answer may have.
    async fn exchange_lines(&self, request: &str) -> io::Result<Vec<u8>> {
        let mut stream = self.connect().await?;
        stream.write_all(request.as_bytes()).await?;
        let mut stream = stream.take(LONGEST as u64 + 1);
        let mut answer = Vec::with_capacity(4096);
        while !answer.ends_with(b"\n") {
            if stream.read_buf(&mut answer).await? == 0 {
                break;
            }
        }
        Ok(answer)
    }

    /// Connects, as soon as there is room in the backlog: the kernel says EAGAIN while there is none (unix(7)).
    async fn connect(&self) -> io::Result<UnixStream> {
        let mut wait = FULL;
        loop {
            match UnixStream::connect(&self.socket).await {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(wait).await,
                connected => return connected,
            }
            wait = (wait * 2).min(LONGEST_FULL);
        }
    }

    /// Says what is the matter once, until it is another thing or over.
    fn say(&self, error: Option<&AskError>) {
        let now = error.map(|error| match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        });
        let mut said = lock(&self.said);
        if *said != now {
            match &now {
                Some(what) => tracing::warn!("machines wait for their disks: {what}"),
                None => tracing::info!("the agent answers again"),
            }
            *said = now;
        }
    }
}

impl Turn {
    fn take(asking: &Arc<Mutex<Asking>>, machine: &MachineName, peer: IpAddr, reservation: Reservation) -> Option<Self> {
        let mut under_way = lock(asking);
        let of = |counted: &BTreeMap<MachineName, usize>| counted.get(machine).copied().unwrap_or(0);
        let of_peer = under_way.peers.get(&peer).copied().unwrap_or(0);
        let is_full = under_way.all >= MOST || of(&under_way.machines) >= MOST_FOR_A_MACHINE || of_peer >= MOST_FOR_AN_ADDRESS;
        let has_others = under_way.others >= MOST_OF_OTHERS || of(&under_way.others_for) >= MOST_OF_OTHERS_FOR_A_MACHINE;
        if is_full || reservation == Reservation::Other && has_others {
            return None;
        }
        under_way.all += 1;
        *under_way.machines.entry(machine.clone()).or_default() += 1;
        *under_way.peers.entry(peer).or_default() += 1;
        if reservation == Reservation::Other {
            under_way.others += 1;
            *under_way.others_for.entry(machine.clone()).or_default() += 1;
        }
        Some(Self { asking: asking.clone(), machine: machine.clone(), peer, reservation })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut under_way = lock(&self.asking);
        under_way.all -= 1;
        leave(&mut under_way.machines, &self.machine);
        leave(&mut under_way.peers, &self.peer);
        if self.reservation == Reservation::Other {
            under_way.others -= 1;
            leave(&mut under_way.others_for, &self.machine);
        }
    }
}

fn leave<K: Ord + Clone>(counted: &mut BTreeMap<K, usize>, key: &K) {
    match counted.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        _ => drop(counted.remove(key)),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(asking: &Arc<Mutex<Asking>>, machine: usize, peer: u8) -> Option<Turn> {
        take_as(asking, machine, peer, Reservation::Own)
    }

    fn take_as(asking: &Arc<Mutex<Asking>>, machine: usize, peer: u8, reservation: Reservation) -> Option<Turn> {
        Turn::take(asking, &format!("pc{machine}").parse().expect("a machine"), IpAddr::from([10, 0, 0, peer]), reservation)
    }

    #[tokio::test]
    async fn a_backlog_that_is_full_for_a_while_costs_no_machine_its_disk() {
        let run = tempfile::tempdir().expect("a directory");
        let path = run.path().join(SOCKET);
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&socket2::SockAddr::unix(&path).expect("a path")).expect("bound");
        socket.listen(0).expect("it listens");
        let connect = || {
            let other = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).expect("a socket");
            other.set_nonblocking(true).expect("non-blocking");
            other.connect(&socket2::SockAddr::unix(&path).expect("a path")).map(|()| other)
        };
        let mut others = vec![connect().expect("there is room for one")];
        let full = loop {
            match connect() {
                Ok(other) => others.push(other),
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        let agent = Agent::new(run.path());
        let asks = async { agent.exchange_lines("who?\n").await.expect("an answer") };
        let makes_room = async {
            sleep(Duration::from_millis(50)).await;
            let answers = tokio::task::spawn_blocking(move || {
                loop {
                    let (stream, _) = socket.accept().expect("somebody");
                    let mut line = [0; 16];
                    // The others have hung up.
                    if io::Read::read(&mut &stream, &mut line).expect("it reads") > 0 {
                        return io::Write::write_all(&mut &stream, b"a disk\n").expect("it is sent");
                    }
                }
            });
            drop(others);
            answers.await.expect("no panic");
        };
        assert_eq!(timeout(BUDGET, async { tokio::join!(asks, makes_room).0 }).await.expect("in time"), b"a disk\n");
    }

    #[test]
    fn whoever_fetches_the_scripts_of_others_leaves_each_machine_its_turn() {
        let asking = Arc::default();
        let other = |machine, peer| take_as(&asking, machine, peer, Reservation::Other);
        let one = other(1, 1).expect("a turn");
        assert!(other(1, 2).is_none() && take(&asking, 1, 3).is_some(), "the other turn is the machine's own");
        let many: Vec<_> = (2..100).filter_map(|n| other(n, n as u8)).collect();
        assert_eq!(many.len(), MOST_OF_OTHERS - 1);
        assert!(take(&asking, 99, 200).is_some());
        drop((one, many));
        let asking = lock(&asking);
        assert!(asking.all == 0 && asking.others == 0 && asking.others_for.is_empty(), "{asking:?}");
    }

    #[test]
    fn neither_a_machine_nor_an_address_nor_all_of_them_ask_without_end() {
        let asking = Arc::default();
        let two: Vec<_> = (0..2).map(|n| take(&asking, 1, n).expect("a turn")).collect();
        assert!(take(&asking, 1, 2).is_none(), "a machine has two");
        let eight: Vec<_> = (10..18).map(|n| take(&asking, n, 9).expect("a turn")).collect();
        assert!(take(&asking, 18, 9).is_none(), "an address has eight");
        let rest: Vec<_> = (20..74).map(|n| take(&asking, n, n as u8).expect("a turn")).collect();
        assert!(take(&asking, 99, 99).is_none(), "all have 64");
        drop(two);
        assert!(take(&asking, 1, 2).is_some());
        drop((eight, rest));
        let asking = lock(&asking);
        assert!(asking.all == 0 && asking.machines.is_empty() && asking.peers.is_empty(), "{asking:?}");
    }
}
