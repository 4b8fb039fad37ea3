//! One transfer as a state machine: datagrams and time-outs in, datagrams and what to wait for out.
//!
//! **Invariant:** a datagram sends one window at most and an acknowledgement said twice sends it once, so no packet from outside
//! makes a storm; a silent machine ends its transfer in about half a minute.

use super::request::{ReadRequest, encode};
use hyper::body::Bytes;
use std::time::Duration;
use tftpd::{OptionType, Packet, TransferOption};

/// The block size without an option (RFC 1350).
const DEFAULT_BLOCK: usize = 512;
/// The smallest block that may be asked for (RFC 2348).
const SMALLEST_BLOCK: u64 = 8;
/// The largest window: 64 full blocks are under 100 kB, less than any receive buffer a loader has.
const LARGEST_WINDOW: u64 = 64;
/// Before the first retransmission; a lost packet costs a boot this long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// No wait is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(8);
/// Retransmissions before a machine counts as gone: 1 + 2 + 4 + 8 + 8 + 8 seconds.
const TRIES: u32 = 6;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Datagrams to send, in order.
    pub send: Vec<Vec<u8>>,
    /// And then.
    pub next: Next,
}

/// What follows a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Wait anew, this long.
    Wait(Duration),
    /// Wait on as before.
    WaitOn,
    /// The transfer is over.
    Done(Outcome),
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
    first_wait: Duration,
    /// Set until the options are acknowledged.
    oack: Option<Vec<u8>>,
    /// The last block the machine has acknowledged; blocks count from one and do not wrap here.
    acked: u64,
    /// The last block that was sent.
    sent: u64,
    /// The block whose repeated acknowledgement has already been answered.
    answered: Option<u64>,
    tries: u32,
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
        let mut session = Self {
            data,
            blksize: blksize.map_or(DEFAULT_BLOCK, |size| size as usize),
            window: window.unwrap_or(1),
            first_wait: timeout.map_or(FIRST_WAIT, Duration::from_secs),
            oack: (!granted.is_empty()).then(|| encode(&Packet::Oack(granted))),
            acked: 0,
            sent: 0,
            answered: None,
            tries: 0,
        };
        let step = session.send_on();
        (session, step)
    }

    /// Takes a datagram from the machine.
    pub fn hear(&mut self, datagram: &[u8]) -> Step {
        match Packet::deserialize(datagram) {
            Ok(Packet::Ack(block)) => self.hear_ack(block),
            Ok(Packet::Error { .. }) => {
                let outcome = if self.acked == 0 { Outcome::Probe } else { Outcome::Aborted };
                Step { send: Vec::new(), next: Next::Done(outcome) }
            }
            _ => wait_on(),
        }
    }

    /// Takes the news that the wait is over.
    pub fn time_out(&mut self) -> Step {
        self.tries += 1;
        if self.tries > TRIES {
            return Step { send: Vec::new(), next: Next::Done(Outcome::GaveUp) };
        }
        self.answered = None;
        let mut step = self.send_on();
        step.next = Next::Wait((self.first_wait * 2u32.saturating_pow(self.tries)).min(LONGEST_WAIT.max(self.first_wait)));
        step
    }

    /// The bytes of the file as it is sent.
    pub fn size(&self) -> usize {
        self.data.len()
    }

    fn hear_ack(&mut self, block: u16) -> Step {
        if self.oack.is_some() {
            if block != 0 {
                return wait_on();
            }
            self.oack = None;
            self.tries = 0;
            return self.send_on();
        }
        // Sixteen bits on the wire, and a window is far smaller: one block between the last acknowledged and the last sent.
        let Some(block) = (self.acked..=self.sent).find(|known| *known as u16 == block) else { return wait_on() };
        if block == self.acked {
            // In a window, a machine that misses its first block says the last one again (RFC 7440 §4): once is answered.
            // Without windows it is a duplicate, and an answer to it would double every packet from here on (RFC 1123 §4.2.3.1).
            // After a time-out it is no duplicate: the machine lives and its block is lost, so it need not wait for the next one.
            let lost = self.window > 1 || self.tries > 0;
            let missed = lost && self.sent > self.acked && self.answered != Some(block);
            self.answered = Some(block);
            return if missed { self.send_on() } else { wait_on() };
        }
        self.acked = block;
        self.answered = None;
        self.tries = 0;
        match block == self.blocks() {
            true => Step { send: Vec::new(), next: Next::Done(Outcome::Complete) },
            false => self.send_on(),
        }
    }

    /// The window after the last acknowledged block, or the options while they are not acknowledged.
    fn send_on(&mut self) -> Step {
        let send = match &self.oack {
            Some(oack) => vec![oack.clone()],
            None => {
                self.sent = (self.acked + self.window).min(self.blocks());
                (self.acked + 1..=self.sent).map(|block| self.data_packet(block)).collect()
            }
        };
        Step { send, next: Next::Wait(self.first_wait) }
    }

    /// A last block is short, or empty where the size is a multiple of the block's (RFC 1350 §6).
    fn blocks(&self) -> u64 {
        (self.data.len() / self.blksize) as u64 + 1
    }

    fn data_packet(&self, block: u64) -> Vec<u8> {
        let from = (block as usize - 1) * self.blksize;
        let to = (from + self.blksize).min(self.data.len());
        let mut packet = Vec::with_capacity(4 + to - from);
        packet.extend([0, 3]);
        // Block 65536 is 0 on the wire: what ROMs and every server since have done.
        packet.extend((block as u16).to_be_bytes());
        packet.extend_from_slice(&self.data[from..to]);
        packet
    }
}

fn wait_on() -> Step {
    Step { send: Vec::new(), next: Next::WaitOn }
}
