//! One transfer as a state machine: datagrams and time-outs in, datagrams and what to wait for out.
//!
//! **Invariant:** an acknowledgement sends what its window has room for and nothing that is on its way; what repeats one sends nothing
//! by itself, so no packet from outside makes a storm, nor does one that the network doubles or delays. A silent machine ends its transfer in
//! about half a minute. PURE: the time is the one since the transfer began.

use super::{
    request::{ReadRequest, encode},
    retransmit::{Pace, Retransmit, Sent},
};
use hyper::body::Bytes;
use std::time::Duration;
use tftpd::{OptionType, Packet, TransferOption};

/// The block size without an option (RFC 1350).
const DEFAULT_BLOCK: usize = 512;
/// The smallest block that may be asked for (RFC 2348).
const SMALLEST_BLOCK: u64 = 8;
/// The largest window: 64 full blocks are under 100 kB, less than any receive buffer a loader has.
const LARGEST_WINDOW: u64 = 64;

/// Opcode and number before a block's bytes.
const BLOCK_HEADER: usize = 4;
/// The opcode of what ends a transfer (RFC 1350 §5).
const ERROR: [u8; 2] = [0, 5];
/// What nothing follows from.
const WAIT_ON: Step = Step { send: Outgoing::Nothing, next: Next::WaitOn };

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What to send; [`Session::lay_out`] writes the datagrams.
    pub send: Outgoing,
    /// And then.
    pub next: Next,
}

/// What a step sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outgoing {
    /// Nothing.
    Nothing,
    /// What is granted of the machine's options.
    Options,
    /// Blocks, counted from one and without the wrap of the wire.
    Blocks {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
}

/// What follows a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Wait anew, this long.
    Wait(Duration),
    /// Wait on as before.
    WaitOn,
    /// The transfer is over.
    Done(Outcome),
}

/// Datagrams one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagrams<'a> {
    /// All of them.
    pub bytes: &'a [u8],
    /// The length of each but the last, which may be shorter.
    pub each: usize,
}

/// How a transfer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Every block is acknowledged.
    Complete,
    /// The machine ended it before the first block: it wanted the size.
    Probe,
    /// The machine ended it.
    Aborted,
    /// The machine went silent.
    GaveUp,
}

/// One transfer.
#[derive(Debug, Clone)]
pub struct Session {
    data: Bytes,
    blksize: usize,
    window: u64,
    waits: Retransmit,
    /// Set until the options are acknowledged.
    oack: Option<Vec<u8>>,
    /// The last block the machine has acknowledged; blocks count from one and do not wrap here.
    acked: u64,
    /// The last block that was sent.
    sent: u64,
    /// The block whose repeated acknowledgement has already been answered.
    answered: Option<u64>,
    /// Whether what is on its way is sent again soon, unless the transfer goes on before.
    is_doubtful: bool,
    /// The last block that had been sent when a window was last sent again, until it is acknowledged whole.
    sent_before: Option<u64>,
}

impl Session {
    /// Opens a transfer of a file in the form it is sent in; no block is larger than `largest_block`, which is what the path carries without fragments.
    pub fn open(request: &ReadRequest, file: &Bytes, largest_block: usize) -> (Self, Step) {
        let data = file.clone();
        let wishes = request.wishes;
        let blksize = wishes.blksize.filter(|size| *size >= SMALLEST_BLOCK).map(|size| size.min(largest_block as u64));
        let window = wishes.windowsize.filter(|size| *size >= 1).map(|size| size.min(LARGEST_WINDOW));
        let timeout = wishes.timeout.filter(|seconds| (1..=255).contains(seconds));
        let granted: Vec<_> = [
            (OptionType::BlockSize, blksize),
            (OptionType::TransferSize, wishes.tsize.map(|_| data.len() as u64)),
            (OptionType::Timeout, timeout),
            (OptionType::WindowSize, window),
        ]
        .into_iter()
        .filter_map(|(option, value)| Some(TransferOption { option, value: value? }))
        .collect();
        let pace = if window.is_some_and(|window| window > 1) { Pace::Windows } else { Pace::Blocks };
        let mut session = Self {
            data,
            blksize: blksize.map_or(DEFAULT_BLOCK, |size| size as usize),
            window: window.unwrap_or(1),
            waits: Retransmit::new(timeout.map(Duration::from_secs), pace),
            oack: (!granted.is_empty()).then(|| encode(&Packet::Oack(granted))),
            acked: 0,
            sent: 0,
            answered: None,
            is_doubtful: false,
            sent_before: None,
        };
        let step = session.send_on(Duration::ZERO);
        (session, step)
    }

    /// Takes a datagram from the machine.
    pub fn hear(&mut self, datagram: &[u8], at: Duration) -> Step {
        // Whatever its code: the codec knows those of the RFCs, and a machine that has gone away hears no second block.
        if datagram.starts_with(&ERROR) {
            return done(if self.acked == 0 { Outcome::Probe } else { Outcome::Aborted });
        }
        match Packet::deserialize(datagram) {
            Ok(Packet::Ack(block)) => self.hear_ack(block, at),
            _ => WAIT_ON,
        }
    }

    /// Takes the news that the wait is over.
    pub fn time_out(&mut self, at: Duration) -> Step {
        if std::mem::take(&mut self.is_doubtful) {
            // The machine said that it misses a block, and nothing came of what followed.
            self.answered = Some(self.acked);
            self.sent_before = Some(self.sent);
            return self.send_on(at);
        }
        if !self.waits.time_out(at) {
            return done(Outcome::GaveUp);
        }
        self.answered = None;
        self.sent_before = Some(self.sent);
        self.send_on(at)
    }

    /// What was sent first, once more, for a machine that asks again because it heard nothing of it.
    pub fn begin_again(&mut self, at: Duration) -> Step {
        self.send_on(at)
    }

    /// The bytes of the file as it is sent.
    pub fn size(&self) -> usize {
        self.data.len()
    }

    /// Writes what a step sends into a buffer that is used again and again.
    pub fn lay_out<'a>(&self, send: Outgoing, buffer: &'a mut Vec<u8>) -> Datagrams<'a> {
        buffer.clear();
        let each = match (send, &self.oack) {
            (Outgoing::Blocks { first, last }, _) => {
                (first..=last).for_each(|block| self.write_block(block, buffer));
                BLOCK_HEADER + self.blksize
            }
            (Outgoing::Options, Some(oack)) => {
                buffer.extend_from_slice(oack);
                oack.len()
            }
            _ => 1,
        };
        Datagrams { bytes: buffer, each }
    }

    fn hear_ack(&mut self, block: u16, at: Duration) -> Step {
        if self.oack.is_some() {
            if block != 0 {
                return WAIT_ON;
            }
            self.oack = None;
            self.waits.heard(at);
            return self.send_on(at);
        }
        // Sixteen bits on the wire, and a window is far smaller: one block between the last acknowledged and the last sent.
        let Some(block) = (self.acked..=self.sent).find(|known| *known as u16 == block) else { return WAIT_ON };
        let in_flight = self.sent - block;
        if block == self.acked {
            return self.hear_repeated(in_flight, at);
        }
        self.acked = block;
        self.answered = None;
        self.waits.heard(at);
        match (block == self.blocks(), in_flight) {
            (true, _) => done(Outcome::Complete),
            (false, 0) => {
                (self.is_doubtful, self.sent_before) = (false, None);
                self.send_on(at)
            }
            (false, _) if self.sent_before == Some(block) => self.slide(at),
            (false, _) => self.doubt(Outgoing::Nothing, at),
        }
    }

    /// What was sent again was not lost: the machine had all of it. Its window begins behind that, and so must ours.
    fn slide(&mut self, at: Duration) -> Step {
        let first = self.sent + 1;
        self.sent = (self.acked + self.window).min(self.blocks());
        let send = if first > self.sent { Outgoing::Nothing } else { Outgoing::Blocks { first, last: self.sent } };
        self.doubt(send, at)
    }

    /// An acknowledgement within the window: the block behind it is lost (RFC 7440 §4), or the machine has had a block twice, and the rest
    /// is on its way. Which of the two shows soon, when nothing comes of the rest.
    fn doubt(&mut self, send: Outgoing, at: Duration) -> Step {
        self.is_doubtful = true;
        Step { send, next: Next::Wait(self.waits.begin_soon(at)) }
    }

    /// The last acknowledgement once more. In a window, a machine that misses its first block says so (RFC 7440 §4), and many machines
    /// say it again for each block that follows (EDK2 does): the window is sent again once, and soon. Without windows it is a duplicate
    /// (RFC 1123 §4.2.3.1). After a time-out it is none: the machine lives and its block is lost, so it need not wait for the next one.
    fn hear_repeated(&mut self, in_flight: u64, at: Duration) -> Step {
        let is_overdue = self.waits.is_overdue();
        if in_flight == 0 || self.is_doubtful || self.answered == Some(self.acked) || self.window == 1 && !is_overdue {
            return WAIT_ON;
        }
        if self.window == 1 {
            self.answered = Some(self.acked);
            return self.send_on(at);
        }
        self.doubt(Outgoing::Nothing, at)
    }

    /// The window after the last acknowledged block, or the options while they are not acknowledged.
    fn send_on(&mut self, at: Duration) -> Step {
        let is_new = self.sent == self.acked;
        let (send, what) = match &self.oack {
            Some(_) => (Outgoing::Options, Sent::Other),
            None => {
                self.sent = (self.acked + self.window).min(self.blocks());
                (Outgoing::Blocks { first: self.acked + 1, last: self.sent }, if is_new { Sent::New } else { Sent::Other })
            }
        };
        Step { send, next: Next::Wait(self.waits.begin(what, at)) }
    }

    /// A last block is short, or empty where the size is a multiple of the block's (RFC 1350 §6).
    fn blocks(&self) -> u64 {
        (self.data.len() / self.blksize) as u64 + 1
    }

    fn write_block(&self, block: u64, buffer: &mut Vec<u8>) {
        let from = (block as usize - 1) * self.blksize;
        let to = (from + self.blksize).min(self.data.len());
        buffer.extend([0, 3]);
        // Block 65536 is 0 on the wire: what ROMs and every server since have done.
        buffer.extend((block as u16).to_be_bytes());
        buffer.extend_from_slice(&self.data[from..to]);
    }
}

fn done(outcome: Outcome) -> Step {
    Step { send: Outgoing::Nothing, next: Next::Done(outcome) }
}
