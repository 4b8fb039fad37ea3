//! The body of an answer: bytes in memory, or a part of a file, read a piece at a time.
//!
//! **Invariant:** a connection holds one piece of a file, however large the file and however slow its client; a file that shrank
//! while it was sent breaks the connection, it never fills the promised length with something else. EFFECTS: reads files.
#![expect(
    clippy::disallowed_methods,
    reason = "effect room: reads pieces of files, on a thread where the disk must be waited for"
)]

use super::sendfile::{Sendfile, shrank};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use rustix::io::ReadWriteFlags;
use std::{
    fs::File,
    future::Future,
    io::{self, IoSliceMut},
    os::unix::fs::FileExt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};
use tokio::task::{JoinHandle, spawn_blocking};

/// One piece: what a connection holds where the disk had to be read.
pub const PIECE: usize = 256 << 10;
/// Buffers kept for the next piece; 8 MiB.
const SPARE: usize = 32;

/// The body of an answer.
#[derive(Debug)]
pub enum Payload {
    /// Bytes in memory; none when they are sent.
    Memory(Option<Bytes>),
    /// A stretch of a file.
    File(Stretch),
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self::Memory(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Memory(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::File(stretch) => stretch.poll_piece(context).map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Memory(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Self::File(stretch) => stretch.left,
        })
    }
}

/// A stretch of a file.
#[derive(Debug)]
pub struct Stretch {
    file: Arc<File>,
    at: u64,
    left: u64,
    store: Store,
    /// A read that waits for the disk.
    reading: Option<JoinHandle<io::Result<Piece>>>,
}

/// What the pieces of files need: buffers, and the way past them.
#[derive(Debug, Clone)]
pub struct Store {
    /// Where a piece goes that had to be read.
    pub buffers: Buffers,
    /// Where a piece goes that the kernel can send by itself.
    pub sendfile: Sendfile,
}

impl Stretch {
    /// So many bytes of a file from one on.
    pub fn new(file: File, at: u64, left: u64, store: Store) -> Self {
        Self { file: Arc::new(file), at, left, store, reading: None }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if self.reading.is_none() && self.is_in_memory() {
            let bytes = self.store.sendfile.promise(&self.file, self.at, self.wanted());
            return self.hand_on(bytes);
        }
        let (file, at, wanted, buffers) = (&self.file, self.at, self.wanted(), &self.store.buffers);
        let reading = self.reading.get_or_insert_with(|| read_from_disk(file.clone(), at, wanted, buffers.take()));
        let read = ready!(Pin::new(reading).poll(context));
        self.reading = None;
        match read.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            Ok(piece) if piece.length == 0 => Poll::Ready(Some(Err(shrank()))),
            Ok(piece) => self.hand_on(Bytes::from_owner(piece)),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn hand_on(&mut self, bytes: Bytes) -> Poll<Option<io::Result<Bytes>>> {
        self.at += bytes.len() as u64;
        self.left -= bytes.len() as u64;
        Poll::Ready(Some(Ok(bytes)))
    }

    fn wanted(&self) -> usize {
        usize::try_from(self.left).map_or(PIECE, |left| left.min(PIECE))
    }

    /// Whether the next piece is in the page cache, as far as its two ends tell: the kernel fills what lies between. A file
    /// system that cannot tell counts as one that has to be waited for.
    fn is_in_memory(&self) -> bool {
        let ends = [self.at, self.at + self.wanted() as u64 - 1];
        ends.into_iter().all(|at| {
            let mut byte = [0];
            rustix::io::preadv2(&*self.file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT) == Ok(1)
        })
    }
}

fn read_from_disk(file: Arc<File>, at: u64, wanted: usize, mut piece: Piece) -> JoinHandle<io::Result<Piece>> {
    spawn_blocking(move || {
        piece.length = file.read_at(&mut piece.buffer[..wanted], at)?;
        Ok(piece)
    })
}

/// Buffers that are used again, so that no piece costs fresh pages.
#[derive(Debug, Clone, Default)]
pub struct Buffers(Arc<Mutex<Vec<Box<[u8]>>>>);

impl Buffers {
    fn take(&self) -> Piece {
        let spare = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let buffer = spare.unwrap_or_else(|| vec![0; PIECE].into_boxed_slice());
        Piece { buffer, length: 0, home: self.clone() }
    }
}

/// A filled buffer, which goes home when it is sent.
#[derive(Debug)]
struct Piece {
    buffer: Box<[u8]>,
    length: usize,
    home: Buffers,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut spare = self.home.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(std::mem::take(&mut self.buffer));
        }
    }
}
