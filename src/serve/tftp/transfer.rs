//! One transfer's socket: what its session says is sent, what the machine says is heard.
//!
//! **Invariant:** a window is given to the kernel with one call where it can cut it (UDP segmentation offload), and block by block
//! where it refuses; the machine sees the same datagrams. EFFECTS: a socket; decides nothing.
#![expect(clippy::disallowed_methods, reason = "effect room: a transfer's socket")]

use super::{
    request::ReadRequest,
    session::{Datagrams, Next, Outcome, Session, Step},
};
use hyper::body::Bytes;
use nix::{
    errno::Errno,
    sys::socket::{setsockopt, sockopt::UdpGsoSegment},
};
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

/// Longer than any request; RFC 2347 keeps requests to 512 bytes.
const LONGEST: usize = 2048;
/// Datagrams that the kernel cuts from one at most.
const MOST_SEGMENTS: usize = 64;
/// What one call can hand over: IPv4's longest packet without its headers.
const MOST_BYTES: usize = 65_507;
/// What the kernel says where a device, a tunnel or the path's MTU stands against cutting.
const REFUSALS: [Errno; 5] = [Errno::EINVAL, Errno::EIO, Errno::EMSGSIZE, Errno::ENOPROTOOPT, Errno::EOPNOTSUPP];

/// A transfer that runs.
#[derive(Debug)]
pub struct Transfer {
    /// The machine.
    pub peer: SocketAddr,
    /// What it asked for.
    pub request: ReadRequest,
    /// When it asked.
    pub begun: Instant,
    /// When the wait is over.
    pub deadline: Instant,
    /// When the loop looks at it.
    pub look: Instant,
    /// When something was last sent.
    pub sent: Instant,
    /// When it last took something; never, for one that has only asked.
    pub heard: Option<Instant>,
    /// The same request once more: a duplicate, or the real one of a ROM that asked for the size first, whose end of the
    /// probe is still on its way to the other socket.
    pub again: Option<(Instant, ReadRequest, Bytes)>,
    session: Session,
    socket: UdpSocket,
    cutting: Cutting,
}

/// Whether the kernel cuts windows into datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cutting {
    /// Nothing needed it so far.
    Untried,
    /// It does.
    On,
    /// It refused.
    Off,
}

/// What all transfers share: what is sent and heard passes through here.
#[derive(Debug)]
pub struct Buffers {
    outgoing: Vec<u8>,
    /// Where a datagram is heard.
    pub incoming: Box<[u8; LONGEST]>,
}

impl Default for Buffers {
    fn default() -> Self {
        Self { outgoing: Vec::new(), incoming: Box::new([0; LONGEST]) }
    }
}

impl Transfer {
    /// Opens a socket of its own for a transfer, and sends what comes first.
    pub fn start(
        local: IpAddr,
        peer: SocketAddr,
        request: ReadRequest,
        (file, largest_block): (&Bytes, usize),
        buffers: &mut Buffers,
    ) -> io::Result<Self> {
        let begun = Instant::now();
        let socket = UdpSocket::bind(SocketAddr::new(local, 0))?;
        socket.connect(peer)?;
        socket.set_nonblocking(true)?;
        // A router with a smaller MTU cuts what is too long for it; a block that must not be cut never arrives.
        set_ip_mtu_discover(&socket, Ipv4PathMtuDiscovery::DONT)?;
        let (session, step) = Session::open(&request, file, largest_block);
        let (heard, again, cutting) = (None, None, Cutting::Untried);
        let mut transfer =
            Self { peer, request, begun, deadline: begun, look: begun, sent: begun, heard, again, session, socket, cutting };
        transfer.take(step, begun, buffers)?;
        transfer.look = transfer.deadline;
        Ok(transfer)
    }

    /// Takes a datagram that is there; the outcome where it ends the transfer.
    pub fn hear(&mut self, buffers: &mut Buffers) -> io::Result<Option<Outcome>> {
        let length = match self.socket.recv(&mut *buffers.incoming) {
            Err(error) if is_for_later(&error) => return Ok(None),
            heard => heard?,
        };
        let now = Instant::now();
        let step = self.session.hear(&buffers.incoming[..length], now - self.begun);
        if step.next != Next::WaitOn {
            self.heard = Some(now);
        }
        self.take(step, now, buffers)
    }

    /// Sends what came first once more.
    pub fn begin_again(&mut self, buffers: &mut Buffers) -> io::Result<Option<Outcome>> {
        let now = Instant::now();
        let step = self.session.begin_again(now - self.begun);
        self.take(step, now, buffers)
    }

    /// Whether the machine has asked anew since it last took something: it was reset, and its ROM uses the same port again.
    pub fn has_begun_anew(&self) -> bool {
        self.again.as_ref().is_some_and(|(asked, ..)| self.heard.is_some_and(|heard| heard < *asked))
    }

    /// Takes the news that the wait is over; the outcome where that ends the transfer.
    pub fn time_out(&mut self, buffers: &mut Buffers) -> io::Result<Option<Outcome>> {
        let now = Instant::now();
        let step = self.session.time_out(now - self.begun);
        self.take(step, now, buffers)
    }

    /// The bytes of the file as it is sent.
    pub fn size(&self) -> usize {
        self.session.size()
    }

    fn take(&mut self, step: Step, now: Instant, buffers: &mut Buffers) -> io::Result<Option<Outcome>> {
        let datagrams = self.session.lay_out(step.send, &mut buffers.outgoing);
        if !datagrams.bytes.is_empty() {
            self.sent = now;
        }
        send(&self.socket, datagrams, &mut self.cutting)?;
        match step.next {
            Next::Done(outcome) => return Ok(Some(outcome)),
            Next::Wait(wait) => self.deadline = now + wait,
            Next::WaitOn => {}
        }
        Ok(None)
    }
}

impl AsFd for Transfer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn send(socket: &UdpSocket, Datagrams { bytes, each }: Datagrams<'_>, cutting: &mut Cutting) -> io::Result<()> {
    let mut rest = bytes;
    if bytes.len() > each && *cutting != Cutting::Off {
        rest = send_cut(socket, bytes, each, cutting)?;
    }
    rest.chunks(each).try_for_each(|datagram| send_one(socket, datagram))
}

/// Lets the kernel cut, as far as it does; what it would not.
fn send_cut<'a>(socket: &UdpSocket, bytes: &'a [u8], each: usize, cutting: &mut Cutting) -> io::Result<&'a [u8]> {
    let most = (MOST_BYTES / each).min(MOST_SEGMENTS) * each;
    let mut rest = bytes;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(most.min(rest.len()));
        let tried = match cutting {
            Cutting::Untried => setsockopt(socket, UdpGsoSegment, &(each as i32)).map_err(io::Error::from),
            _ => Ok(()),
        };
        match tried.and_then(|()| send_one(socket, now)) {
            Ok(()) => (*cutting, rest) = (Cutting::On, later),
            Err(error) if error.raw_os_error().is_some_and(|code| REFUSALS.contains(&Errno::from_raw(code))) => {
                tracing::debug!(%error, "the kernel does not cut TFTP windows; each block is sent by itself");
                *cutting = Cutting::Off;
                // A kernel that does not know the option has nothing to put back.
                let _ = setsockopt(socket, UdpGsoSegment, &0);
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(rest)
}

/// What finds no room in the socket's buffer is lost as on any full link, and is sent again as if it were.
fn send_one(socket: &UdpSocket, datagram: &[u8]) -> io::Result<()> {
    match socket.send(datagram) {
        Err(error) if is_for_later(&error) || error.raw_os_error() == Some(Errno::ENOBUFS as i32) => Ok(()),
        sent => sent.map(drop),
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
