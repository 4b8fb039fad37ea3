//! The body of an answer: bytes in memory, or a stretch of a file read a piece at a time.
//!
//! **Invariant:** a connection holds one piece of a file, however large the file and however slow its client; a file that shrank
//! while it was sent breaks the connection, it never fills the promised length with something else. EFFECTS: reads files.
#![expect(
    clippy::disallowed_methods,
    reason = "effect room: reads pieces of files, on a thread where the disk must be waited for"
)]

use hyper::body::{Body, Bytes, Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags};
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

/// One piece. It is copied in and out while it is in the processor's cache: a mebibyte costs a third more, 64 KiB no less.
const PIECE: usize = 256 << 10;
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
    buffers: Buffers,
    /// A read that waits for the disk.
    reading: Option<JoinHandle<io::Result<Piece>>>,
}

impl Stretch {
    /// So many bytes of a file from one on.
    pub fn new(file: File, at: u64, left: u64, buffers: Buffers) -> Self {
        Self { file: Arc::new(file), at, left, buffers, reading: None }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = match &mut self.reading {
            Some(reading) => {
                let read = ready!(Pin::new(reading).poll(context));
                self.reading = None;
                read.unwrap_or_else(|panic| Err(io::Error::other(panic)))
            }
            None => match self.read_cached() {
                Some(read) => read,
                None => {
                    self.reading = Some(self.read_from_disk());
                    return self.poll_piece(context);
                }
            },
        };
        Poll::Ready(Some(piece.and_then(|piece| match piece.length {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file shrank while it was sent")),
            length => {
                self.at += length as u64;
                self.left -= length as u64;
                Ok(Bytes::from_owner(piece))
            }
        })))
    }

    fn wanted(&self) -> usize {
        usize::try_from(self.left).map_or(PIECE, |left| left.min(PIECE))
    }

    /// What the page cache has, without waiting; `None` where it has nothing, or the file system cannot tell.
    fn read_cached(&self) -> Option<io::Result<Piece>> {
        let (wanted, mut piece) = (self.wanted(), self.buffers.take());
        let slice = IoSliceMut::new(&mut piece.buffer[..wanted]);
        match rustix::io::preadv2(&*self.file, &mut [slice], self.at, ReadWriteFlags::NOWAIT) {
            Ok(length) => {
                piece.length = length;
                Some(Ok(piece))
            }
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::INTR) => None,
            Err(error) => Some(Err(error.into())),
        }
    }

    fn read_from_disk(&self) -> JoinHandle<io::Result<Piece>> {
        let (file, at, wanted, mut piece) = (self.file.clone(), self.at, self.wanted(), self.buffers.take());
        spawn_blocking(move || {
            piece.length = file.read_at(&mut piece.buffer[..wanted], at)?;
            Ok(piece)
        })
    }
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
